"""From a spec to an embedder."""

from __future__ import annotations

from reread.embed.endpoint import EndpointEmbedder
from reread.embed.local import LocalEmbedder
from reread.errors import UsageError
from reread.protocols import Embedder


def make_embedder(spec: str, *, batch_size: int = 32, device: str | None = None) -> Embedder:
    """The embedder that the spec names: `st:NAME_OR_PATH` or `openai:MODEL@URL`.

    batch_size: texts in one forward pass or request. device: such as "cpu" or "cuda", for st: only; None takes a GPU
    where there is one. Raises UsageError for another spec, MissingExtra where the package for it is not installed.
    """
    kind, _, name = spec.partition(":")
    if not name:
        raise UsageError(f"{spec!r} names no embedder; use st:NAME_OR_PATH or openai:MODEL@URL")
    if kind == "st":
        return LocalEmbedder(name, batch_size=batch_size, device=device)
    if kind == "openai":
        return EndpointEmbedder(name, batch_size=batch_size)
    raise UsageError(f"unknown embedder {spec!r}; use st:NAME_OR_PATH or openai:MODEL@URL")
