"""Log-probabilities of a prompt from a completions server: `echo` with `logprobs`, or vLLM's `prompt_logprobs`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reread.errors import ReaderError
from reread.reading.replies import logprob_of

ECHO, PROMPT_LOGPROBS = "echo", "prompt_logprobs"
PROBE = "The sky is blue and the grass is green"
SHIFT_PROBES = (PROBE, "one two three four", "a b c d e", "b a b a b a")
"""Several: what is drawn may be the end of the text, or join the token before it."""
SAME_NATS = 0.25
"""Half-precision servers give the likeliest token's log-probability to within this, alone and in a batch."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a server says about one continuation."""

    logprob: float
    n_tokens: int
    n_all_tokens: int


def echo_body(method: str, prompt: str) -> dict[str, Any]:
    """The request's fields for one prompt. One token is generated and ignored: some servers refuse none."""
    body: dict[str, Any] = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0}
    return {**body, "echo": True, "logprobs": 1} if method == ECHO else {**body, "prompt_logprobs": 0}


def find_echo_method(
    ask: Callable[[Mapping[str, Any]], dict[str, Any] | None], methods: Sequence[str] = (ECHO, PROMPT_LOGPROBS)
) -> str | None:
    """The first of the ways that the server honours, tried on a short sentence; None for neither.

    Servers that do not know the fields often answer 200 and leave them out, so the reply itself is read. A server
    whose log-probabilities are those of other tokens (see _is_shifted) does not honour the way.
    """
    for method in methods:
        reply = ask(echo_body(method, PROBE))
        if reply is None:
            continue
        try:
            read = read_continuation(method, reply, PROBE[:-6], PROBE[-6:], "the server")
        except ReaderError:
            continue
        if read.n_tokens < read.n_all_tokens and not _is_shifted(ask, method):
            return method
    return None


def _is_shifted(ask: Callable[[Mapping[str, Any]], dict[str, Any] | None], method: str) -> bool:
    """Whether a token that was just generated has another log-probability once it is a part of the prompt.

    llama-cpp-python (0.3.36) reads a prompt's log-probabilities one position too late unless the model's tokenizer
    puts a beginning-of-text token first. False where this cannot be told.
    """
    for prompt in SHIFT_PROBES:
        reply = ask({"prompt": prompt, "max_tokens": 1, "temperature": 0.0, "logprobs": 1})
        choices = reply.get("choices") if reply else None
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
        text, drawn = choice.get("text"), logprob_of(choice)
        if not isinstance(text, str) or not text.strip() or drawn is None:
            continue
        again = ask(echo_body(method, prompt + text))
        try:
            read = read_continuation(method, again or {}, prompt, text, "the server")
        except ReaderError:
            continue
        if read.n_tokens == 1:
            return abs(read.logprob - drawn) > SAME_NATS
    return False


def read_continuation(method: str, reply: Mapping[str, Any], prefix: str, continuation: str, spec: str) -> Read:
    """The continuation's log-probability from a reply to echo_body(method, prefix + continuation)."""
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, Sequence) and choices and isinstance(choices[0], Mapping) else {}
    prompt = prefix + continuation
    tokens, logprobs, offsets = (_from_echo if method == ECHO else _from_prompt_logprobs)(choice, prompt)
    if not tokens:
        raise ReaderError(f"{spec} answered without the prompt's log-probabilities")
    # The prefix's trailing spaces belong to the continuation, as they do in lm-evaluation-harness.
    n_tokens = _n_tokens_from(tokens, offsets, prompt, len(prefix.rstrip()))
    parts = logprobs[len(logprobs) - n_tokens :]
    values = [part for part in parts if isinstance(part, int | float)]
    if not n_tokens or len(values) != len(parts):
        raise ReaderError(f"{spec} gave no log-probability for a part of {continuation[:40]!r}")
    return Read(float(sum(values)), n_tokens, len(tokens))


def _n_tokens_from(tokens: Sequence[str], offsets: Sequence[int] | None, prompt: str, start: int) -> int:
    """How many of the last tokens cover the prompt from character `start` on; 0 where that cannot be told."""
    wanted = prompt[start:]
    tail = ""
    for n, token in enumerate(reversed(tokens), 1):
        tail = token + tail
        if len(tail) >= len(wanted):
            if tail.endswith(wanted):
                return n
            break
    # Tokens that hold a part of a character do not spell the text; the server's offsets tell then.
    if offsets is None:
        return 0
    ends = [*offsets[1:], len(prompt)]
    return sum(end > start for end in ends)


_Parsed = tuple[list[str], list[Any], list[int] | None]
"""Tokens, their log-probabilities, and their character offsets where the server gives them."""


def _from_echo(choice: Mapping[str, Any], prompt: str) -> _Parsed:
    """The prompt's tokens with their log-probabilities, the generated token cut off."""
    found = choice.get("logprobs")
    text = choice.get("text")
    if not isinstance(found, Mapping) or not isinstance(text, str):
        return [], [], None
    tokens, logprobs = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(logprobs, list) or len(tokens) != len(logprobs):
        return [], [], None
    tokens = [str(token) for token in tokens]
    starts = _places(tokens, found.get("text_offset"), text, text.find(prompt))
    # The generated token is listed by most servers, not by all; and a beginning-of-text token may come first.
    spelled = "".join(tokens).find(prompt)
    if spelled >= 0:
        ends = list(itertools.accumulate(map(len, tokens)))
        n = next((n for n, end in enumerate(ends, 1) if end >= spelled + len(prompt)), 0)
        whole = n > 0 and ends[n - 1] == spelled + len(prompt)
    else:
        n = sum(start < len(prompt) for start in starts or ())
        whole = n > 0
    return (tokens[:n], logprobs[:n], starts[:n] if starts else None) if whole else ([], [], None)


def _places(tokens: Sequence[str], offsets: Any, text: str, at: int) -> list[int] | None:
    """Where each token begins, counted from the prompt, which stands at `at` of the text; None where the offsets are
    not the text's own: a whole token must stand in the text where its offset says."""
    if at < 0 or not isinstance(offsets, list) or len(offsets) != len(tokens):
        return None
    if not all(isinstance(offset, int) and offset >= 0 for offset in offsets) or offsets != sorted(offsets):
        return None
    for token, offset in zip(tokens, offsets, strict=True):
        if "\ufffd" not in token and not text.startswith(token, offset):
            return None
    return [offset - at for offset in offsets]


def _from_prompt_logprobs(choice: Mapping[str, Any], prompt: str) -> _Parsed:
    """vLLM: for every prompt token {id: {"logprob", "decoded_token", "rank"}}, None for the first."""
    found = choice.get("prompt_logprobs")
    if not isinstance(found, list):
        return [], [], None
    tokens: list[str] = []
    logprobs: list[Any] = []
    for entry in found:
        values = list(entry.values()) if isinstance(entry, Mapping) else []
        one = values[0] if values and isinstance(values[0], Mapping) else {}
        tokens.append(str(one.get("decoded_token") or ""))
        logprobs.append(one.get("logprob"))
    return tokens, logprobs, None
