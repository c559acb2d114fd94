"""What a completions or chat reply holds: texts, token counts and log-probabilities, none of them trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reread.errors import ReaderError
from reread.types import Sample

BYTES_PER_TOKEN = 4
"""Only for servers that report no usage."""
MOST_TOKENS = 10_000_000
"""A usage beyond this is no count: more than any context times any n."""


def usage_of(reply: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """(prompt tokens, completion tokens) as the server counts them; None where it gives no plausible count."""
    usage = reply.get("usage")
    if not isinstance(usage, Mapping):
        return None, None
    prompt_tokens, completion_tokens = (
        n if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MOST_TOKENS else None
        for n in (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    )
    return prompt_tokens, completion_tokens


def samples_of(reply: Mapping[str, Any], prompt: str, spec: str) -> list[Sample]:
    """One sample for each choice that came back; tokens of the reply are shared out over its choices.

    A choice that stands in the reply twice (same index, same text) is one sample. A choice without text (a tool
    call, or reasoning that found no end) is an empty one. Raises ReaderError for what is no completion.
    """
    choices = _choices(reply, spec)
    texts = [_text(choice) for choice in choices]
    prompt_tokens, completion_tokens = usage_of(reply)
    if prompt_tokens is None:
        prompt_tokens = len(prompt.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1
    if completion_tokens is None:
        counts = [len(text.encode()) // BYTES_PER_TOKEN + 1 for text in texts]
    else:
        counts = [completion_tokens // max(1, len(texts))] * len(texts)
        counts[:1] = [completion_tokens - sum(counts[1:])] if texts else []
    return [
        Sample(text, None, prompt_tokens if i == 0 else 0, count, logprob_of(choice))
        for i, (choice, text, count) in enumerate(zip(choices, texts, counts, strict=True))
    ]


def n_cut_short(reply: Mapping[str, Any]) -> int:
    """How many choices ended because max_tokens was reached."""
    choices = reply.get("choices")
    found = choices if isinstance(choices, list) else []
    return sum(isinstance(choice, Mapping) and choice.get("finish_reason") == "length" for choice in found)


def logprob_of(choice: Mapping[str, Any]) -> float | None:
    """Log-probability (nats) of the generated tokens in sum, where every one of them has one.

    Read in both shapes: `content[].logprob` (chat; llama.cpp's completions too) and `token_logprobs` (completions).
    """
    found = choice.get("logprobs")
    if not isinstance(found, Mapping):
        return None
    content, listed = found.get("content"), found.get("token_logprobs")
    if isinstance(content, list):
        values = [token.get("logprob") if isinstance(token, Mapping) else None for token in content]
    else:
        values = listed if isinstance(listed, list) else []
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not values or len(numbers) != len(values) or not all(math.isfinite(value) for value in numbers):
        return None
    return math.fsum(numbers)


def _choices(reply: Mapping[str, Any], spec: str) -> list[Mapping[str, Any]]:
    choices = reply.get("choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str):
        raise ReaderError(f"{spec} answered without choices; is it an OpenAI-compatible server?")
    seen = set()
    kept: list[Mapping[str, Any]] = []
    for choice in choices:
        if not isinstance(choice, Mapping):
            raise ReaderError(f"{spec} answered with a choice that is no object; is it an OpenAI-compatible server?")
        index = choice.get("index")
        if isinstance(index, int):
            if (index, _text(choice)) in seen:
                continue
            seen.add((index, _text(choice)))
        kept.append(choice)
    return kept


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(part for part in parts if isinstance(part, str))
    # A lone surrogate, which JSON can spell, is no text: no file could hold it.
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""
