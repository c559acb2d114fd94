"""Which server is behind an address, where it names itself, and the fields that are its own.

Names and fields are those of the servers' documentation and sources: vLLM (structured_outputs since 0.12, guided_choice
before it; prompt_logprobs), SGLang (regex), llama.cpp (grammar). docs/serving.md says what each is used for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

VLLM, SGLANG, LLAMA_CPP, OLLAMA = "vllm", "sglang", "llama.cpp", "ollama"
OWNERS = {"vllm": VLLM, "sglang": SGLANG, "llamacpp": LLAMA_CPP, "library": OLLAMA}
"""What each writes as `owned_by` into its list of models."""
MARKS = (("/version", "version", VLLM), ("/api/version", "version", OLLAMA), ("/props", "total_slots", LLAMA_CPP))
"""Paths that only one of them has, with a field of the answer; for models that somebody renamed."""
TRIAL_CHOICES = ("quartz", "zephyr")
"""Words that no model answers a greeting with, unless it is held to them."""


def find_server(look: Callable[[str], Any]) -> str:
    """The server's name by its own word (VLLM, SGLANG, LLAMA_CPP, OLLAMA), "" where it gives none it is known by."""
    models = look("/v1/models")
    listed = models.get("data") if isinstance(models, dict) else None
    for model in listed if isinstance(listed, list) else []:
        owner = model.get("owned_by") if isinstance(model, dict) else None
        if isinstance(owner, str) and owner in OWNERS:
            return OWNERS[owner]
    for path, field, name in MARKS:
        found = look(path)
        if isinstance(found, dict) and field in found:
            return name
    return ""


def find_context(look: Callable[[str], Any], model: str) -> int | None:
    """Tokens that a prompt and its reply may take together, by the server's own word; None where it gives none.

    vLLM and SGLang write max_model_len into their list of models, llama.cpp a slot's n_ctx into /props (the list says
    what the model was trained with).
    """
    models = look("/v1/models")
    listed = models.get("data") if isinstance(models, dict) else None
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("id") == model and (length := _length(entry.get("max_model_len"))):
            return length
    props = look("/props")
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    return _length(settings.get("n_ctx")) if isinstance(settings, dict) else None


def _length(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def choice_fields(server: str, choices: Sequence[str]) -> list[dict[str, Any]]:
    """Request fields that hold the reply to one of the choices, the newest way first; none for other servers."""
    if server == VLLM:
        return [{"structured_outputs": {"choice": list(choices)}}, {"guided_choice": list(choices)}]
    if server == SGLANG:
        # A space needs no escape, and not every engine knows one.
        return [{"regex": "(" + "|".join(re.escape(choice).replace("\\ ", " ") for choice in choices) + ")"}]
    if server == LLAMA_CPP:
        return [{"grammar": "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)}]
    return []
