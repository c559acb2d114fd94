"""The reader as lm-eval's requests need it: prompts that fit, scored or continued."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reread.answering.settings import Settings
from reread.errors import UsageError
from reread.harness.generation import Generation
from reread.harness.log import Spent
from reread.harness.records import Asked
from reread.harness.windows import cut_to, rolling_logprob, score_cut
from reread.protocols import Reader, Scored
from reread.reading import make_reader
from reread.reading.local import HfReader
from reread.reading.prompts import insert_passages
from reread.types import Hit, Sample

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request's context with its passages."""

    text: str
    hits: tuple[Hit, ...]
    """Those whose passages are in it, best first."""
    n_dropped: int


def reader_of(spec: str, device: str | None, settings: Mapping[str, Any]) -> Reader:
    """The reader, given prompts as lm-eval renders them. Raises UsageError for one that is no language model."""
    given = dict(settings)
    if spec.startswith("hf:"):
        # lm-eval renders chat templates itself (--apply_chat_template). Its default device is cuda:0, there or not.
        given |= {"chat": False} | ({"device": device} if device and _is_there(device) else {})
    reader = make_reader(spec, **given)
    if not isinstance(reader, Reader):
        raise UsageError(f"the reader {spec} is no language model: lm-eval asks for likelihoods or text")
    return reader


def _is_there(device: str) -> bool:
    if not device.startswith("cuda"):
        return True
    import torch

    return torch.cuda.is_available()


class Asker:
    """Asks one reader. A context that is too long for a local one by itself loses its beginning, as in lm-eval; a
    server's own limits hold otherwise."""

    def __init__(self, reader: Reader, settings: Settings, spent: Spent) -> None:
        self.reader = reader
        self.settings = settings
        self.spent = spent
        self._local = reader if isinstance(reader, HfReader) else None

    def prompt(self, one: Asked, hits: Sequence[Hit], room: int) -> Prompt:
        """The context with as many whole passages as leave `room` tokens."""
        limit: int | None = getattr(self.reader, "max_length", None)
        if limit is not None and room >= limit:
            raise UsageError(
                f"{one.key[0]} asks for {room} tokens after its prompt, and {self.reader.spec} takes {limit} in all; "
                "lower max_gen_toks (--gen_kwargs)"
            )
        budgets = [budget for budget in (self.settings.budget_tokens, limit and limit - room) if budget]
        text, kept = insert_passages(
            one.context,
            hits,
            at=one.at,
            chat=one.is_turn,
            layout=self.settings.layout,
            budget_tokens=min(budgets, default=None),
            count_tokens=getattr(self.reader, "count_tokens", None),
            control_tokens=getattr(self.reader, "control_tokens", ()),
        )
        return Prompt(text, kept, len(hits) - len(kept))

    def count(self, text: str) -> int:
        """Tokens of the text; at most its bytes where the reader cannot count."""
        count: Callable[[str], int] | None = getattr(self.reader, "count_tokens", None)
        return len(text.encode()) if count is None else count(text)

    def whole(self, text: str) -> float:
        """The log-probability (nats) of a whole text."""
        if self._local is not None:
            return rolling_logprob(self._local, text)
        return self.reader.loglikelihood([("", (text,))])[0].logprobs[0]

    def score(self, pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[Scored]:
        scored: dict[int, Scored] = {}
        for starts_with_bos, places in self._by_beginning([text for text, _ in pairs]).items():
            with self._as_written(starts_with_bos):
                scored.update(zip(places, self._loglikelihood([pairs[place] for place in places]), strict=True))
        return [scored[place] for place in range(len(pairs))]

    def _loglikelihood(self, pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[Scored]:
        return self.reader.loglikelihood(pairs) if self._local is None else score_cut(self._local, pairs)

    def is_greedy(self, scored: Scored, n: int, text: str, continuation: str, is_only: bool) -> bool:
        if scored.greedy is not None:
            return scored.greedy[n]
        if not is_only or "generate" not in self.reader.can:
            return False  # among several options lm-eval looks at log-probabilities alone
        (samples,) = self.reader.generate([text], max_tokens=max(1, scored.n_tokens[n]))
        return bool(samples) and samples[0].text.strip() == continuation.strip()

    def generate(self, asked: Mapping[int, tuple[str, Generation]]) -> dict[int, Sample]:
        """A sample for every place; equal prompts get different ones, unless they are greedy."""
        alike: dict[Generation, dict[str, list[int]]] = {}
        for place, (text, own) in asked.items():
            alike.setdefault(own, {}).setdefault(text, []).append(place)
        samples: dict[int, Sample] = {}
        for own, by_text in alike.items():
            self.reader.top_p = own.top_p  # type: ignore[attr-defined]
            for n in sorted({len(places) for places in by_text.values()}):
                texts = [text for text, places in by_text.items() if len(places) == n]
                for starts_with_bos, numbers in self._by_beginning(texts).items():
                    these = [texts[number] for number in numbers]
                    with self._as_written(starts_with_bos):
                        for text, drawn in zip(these, self._drawn(these, n, own), strict=True):
                            samples.update(zip(by_text[text], drawn, strict=True))
        return samples

    def _drawn(self, texts: Sequence[str], n: int, own: Generation) -> list[list[Sample]]:
        if self._local is not None:
            texts = cut_to(self._local, texts, own.max_tokens)
        drawn = self.reader.generate(
            texts,
            n=n,
            temperature=own.temperature,
            max_tokens=own.max_tokens,
            seed=self.settings.seed,
            stop=own.stop,
        )
        missing = sum(n - len(got) for got in drawn)
        if missing:
            logger.warning("%d texts never came from %s; they are empty", missing, self.reader.spec)
            self.spent.n_missing += missing
        return [[*got, *[Sample("", None, 0, 0)] * (n - len(got))] for got in drawn]

    def _by_beginning(self, texts: Sequence[str]) -> dict[bool, list[int]]:
        """Places of the texts that begin with the tokenizer's own beginning-of-text mark (True), and of the others."""
        mark = None if self._local is None else self._local.tokenizer.bos_token
        parted: dict[bool, list[int]] = {}
        for place, text in enumerate(texts):
            parted.setdefault(bool(mark) and text.startswith(str(mark)), []).append(place)
        return parted

    @contextlib.contextmanager
    def _as_written(self, starts_with_bos: bool) -> Iterator[None]:
        """A chat template wrote the mark already: the tokenizer must not put a second one before it."""
        if self._local is None or not starts_with_bos:
            yield
            return
        before = self._local.add_special_tokens
        self._local.add_special_tokens = False
        try:
            yield
        finally:
            self._local.add_special_tokens = before
