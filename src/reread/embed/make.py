"""From a spec to an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reread.embed.endpoint import EndpointEmbedder
from reread.embed.local import LocalEmbedder
from reread.errors import UsageError
from reread.protocols import Embedder

OPTIONS = ("dim", "backend", "precision", "devices")


def make_embedder(
    spec: str, *, batch_size: int | None = None, device: str | None = None, devices: Sequence[str] = ()
) -> Embedder:
    """The embedder that the spec names: `st:NAME_OR_PATH` or `openai:MODEL@URL`.

    st: takes options behind a question mark, such as `st:Qwen/Qwen3-Embedding-0.6B?dim=256&precision=float32`: dim
    (the first so many dimensions, which the embedder's `spec` keeps), backend (auto, torch, openvino), precision
    (auto, float32, bfloat16), devices (two or more with commas, or all GPUs: `all`). batch_size: texts in one forward
    pass or request at most; None takes what is fast. device: such as "cpu" or "cuda", for st: only; None takes a GPU
    where there is one. Raises UsageError for another spec, MissingExtra where the package for it is not installed.
    """
    kind, _, name = spec.partition(":")
    if not name:
        raise UsageError(f"{spec!r} names no embedder; use st:NAME_OR_PATH or openai:MODEL@URL")
    if kind == "st":
        name, options = _options(spec, name)
        return LocalEmbedder(name, batch_size=batch_size, device=device, **{"devices": devices, **options})
    if kind == "openai":
        return EndpointEmbedder(name, batch_size=batch_size)
    raise UsageError(f"unknown embedder {spec!r}; use st:NAME_OR_PATH or openai:MODEL@URL")


def _options(spec: str, name: str) -> tuple[str, dict[str, Any]]:
    """The name, and the options behind it as LocalEmbedder takes them."""
    bare, _, given = name.rpartition("?")
    if not bare:
        return name, {}
    options: dict[str, Any] = {}
    for part in given.split("&"):
        key, _, value = part.partition("=")
        if key not in OPTIONS or not value or key in options:
            raise UsageError(
                f"{spec!r} has the option {part!r}; use st:NAME?KEY=VALUE with the keys {', '.join(OPTIONS)}, "
                "each once, with & between them"
            )
        options[key] = value
    if "dim" in options:
        if not options["dim"].isascii() or not options["dim"].isdigit():
            raise UsageError(f"dim in {spec!r} must be a whole number, not {options['dim']!r}")
        options["dim"] = int(options["dim"])
    if "devices" in options:
        options["devices"] = _devices(options["devices"])
    return bare, options


def _devices(given: str) -> tuple[str, ...]:
    if given != "all":
        return tuple(device.strip() for device in given.split(","))
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
