"""Readers whose every sample is known: what they say is a function of the seed, the prompt and the sample's number."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from reread.protocols import Scored
from reread.runs import content_seed
from reread.types import Sample

Says = Callable[[str, random.Random], str]
"""A prompt and a sample's own dice → the text said."""


class DiceReader:
    """Says what `says` makes of each prompt; a token costs one FLOP."""

    n_params: float | None = 0.5
    can = frozenset({"generate", "loglikelihood"})

    def __init__(self, says: Says, *, name: str = "dice", logprobs: bool = True, n_prompt_tokens: int = 10) -> None:
        self.spec = f"test:{name}"
        self.says = says
        self.logprobs = logprobs
        self.n_prompt_tokens = n_prompt_tokens
        self.calls: list[dict[str, Any]] = []

    def forward_flops(self, n_tokens: float, context: float) -> float:
        return n_tokens

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        temperature: float = 0.0,
        max_tokens: int = 64,
        seed: int = 0,
        stop: Sequence[str] = (),
        first: int = 0,
    ) -> list[list[Sample]]:
        self.calls.append({"prompts": list(prompts), "n": n, "first": first, "temperature": temperature})
        return [[self._sample(prompt, seed, k, k == first) for k in range(first, first + n)] for prompt in prompts]

    def _sample(self, prompt: str, seed: int, number: int, pays: bool) -> Sample:
        dice = random.Random(content_seed(seed, prompt, number))
        text = self.says(prompt, dice)
        return Sample(text, None, self.n_prompt_tokens if pays else 0, 1, -dice.random() if self.logprobs else None)

    def loglikelihood(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
        scored = []
        for prefix, continuations in requests:
            dice = random.Random(content_seed(prefix))
            logprobs = tuple(-3 * dice.random() for _ in continuations)
            scored.append(Scored(logprobs, (1,) * len(logprobs), 10, 10 + len(logprobs)))
        return scored

    @property
    def prompts(self) -> list[str]:
        return [prompt for call in self.calls for prompt in call["prompts"]]
