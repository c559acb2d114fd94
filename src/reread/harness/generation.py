"""lm-eval's generation settings as a reader takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reread.errors import UsageError

DEFAULT_MAX_TOKENS = 256
"""Where a task names no limit: lm-evaluation-harness' own."""
LIMIT_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""In the order in which lm-evaluation-harness reads them."""
NO_OPS: Mapping[str, tuple[Any, ...]] = {
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
    "typical_p": (None, 1),
    "num_beams": (None, 1),
    "repetition_penalty": (None, 1),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "use_cache": (None, True),
    "num_return_sequences": (None, 1),
    "pad_token_id": (None,),
}
"""Settings that reread has not → values at which they change nothing."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How one request's text is to be drawn."""

    stop: tuple[str, ...]
    max_tokens: int
    temperature: float
    top_p: float


def generation_of(asked: Mapping[str, Any], task: str) -> Generation:
    """Without `do_sample` a temperature above 0 samples; `do_sample: false` is greedy whatever the temperature is.

    Raises UsageError for a setting that would change what is drawn and that reread has not.
    """
    given = dict(asked)
    until = given.pop("until", None) or []
    limits = [given.pop(name, None) for name in LIMIT_NAMES]
    max_tokens = int(next((limit for limit in limits if limit is not None), DEFAULT_MAX_TOKENS))
    do_sample = given.pop("do_sample", None)
    temperature = float(given.pop("temperature", 0.0) or 0.0)
    top_p = given.pop("top_p", None)
    for name, value in given.items():
        if value not in NO_OPS.get(name, ()):
            raise UsageError(
                f"the task {task} asks for the generation setting {name}={value!r}, which reread has not; "
                f"take it out of the task, or set it off with --gen_kwargs"
            )
    if max_tokens < 1:
        raise UsageError(f"the task {task} asks for {max_tokens} tokens; max_gen_toks must be at least 1")
    return Generation(
        stop=(until,) if isinstance(until, str) else tuple(str(text) for text in until),
        max_tokens=max_tokens,
        temperature=0.0 if do_sample is False else temperature,
        top_p=1.0 if top_p is None else float(top_p),
    )
