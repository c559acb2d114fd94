"""Prompts through a model: batches, the cache of what several of them share, and the cache's rows."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reread.reading.prefixes import group_by_prefix

if TYPE_CHECKING:
    import torch

    from reread.reading.local import HfReader

CPU_LEAST_SAVED = 64
"""Tokens that a shared prefix must spare: an extra pass over few tokens costs about as much as these."""
GPU_LEAST_SAVED = 4096
"""The same on a GPU, where a pass over few tokens takes as long as one over thousands (reasoned, not measured)."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The cache of tokens that a batch's rows all begin with, as one row."""

    cache: Any
    n_tokens: int


@dataclass(slots=True)
class Prefilled:
    """Rows that went through the model, and what continuing them needs."""

    logits_BxV: torch.Tensor
    """float32, after each row's last token."""
    cache: Any
    mask_BxP: torch.Tensor | None
    """Which slots of the cache hold tokens; None where all do."""
    last_B: torch.Tensor
    """Position of each row's last token."""
    n_slots: int


def cache_kind(model: Any) -> str:
    """How far the model's cache can be used: "full", "sliding" or "recurrent".

    full: every layer keeps every token, so a cache can be copied for several rows and continued behind padding.
    sliding: rows can be copied, but windows count slots, so that padding between tokens would be wrong.
    recurrent: states or unknown caches; nothing is padded and nothing continued by more than one token.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    if getattr(model, "_is_stateful", False):
        return "recurrent"
    try:
        layers = DynamicCache(config=model.config).layers
    except (AttributeError, KeyError, TypeError, ValueError):  # a configuration that no dynamic cache is made for
        return "recurrent"
    kinds = {type(layer) for layer in layers}
    if kinds <= {DynamicLayer}:
        return "full"
    return "sliding" if kinds <= {DynamicLayer, DynamicSlidingWindowLayer} else "recurrent"


def select_rows(cache: Any, index: torch.Tensor) -> None:
    """Keep the cache's rows `index`, in that order and as often as named; each layer on its own device."""
    for layer in cache.layers:
        if hasattr(layer, "batch_select_indices"):
            keys = getattr(layer, "keys", None)
            layer.batch_select_indices(index if keys is None else index.to(keys.device))
        else:
            layer.reorder_cache(index)


def batches(
    reader: HfReader, rows: Sequence[Sequence[int]], widths: Sequence[int], budget: int
) -> Iterator[tuple[list[int], Shared | None]]:
    """Indices of rows in batches of at most `budget` tokens, and the cache of what a batch's rows begin with.

    widths: how many copies of its cache each row will need. Rows that share a long beginning stand in one
    batch or in following ones, and the beginning goes through the model once. Longest rows come first.
    """
    if reader.cache_kind != "full" or len(rows) < 2 or not reader.share_prefixes:
        for batch in reader.batches([len(row) for row in rows], widths, budget):
            yield batch, None
        return
    least = CPU_LEAST_SAVED if reader.device.type == "cpu" else GPU_LEAST_SAVED
    kept: list[tuple[int, Any]] = []
    n_done = 0
    for group in group_by_prefix(rows, least):
        beginning = rows[group.sample]
        # A group comes right after those around it: what was kept at other cuts is another path's.
        kept = kept[: max(0, len(group.cuts) - 1)]
        if group.cuts:
            n_before, cache = kept[-1] if kept else (0, None)
            cache = _extend(reader, cache, n_before, beginning[n_before : group.length])
            kept.append((group.length, cache))
        members = group.members
        lengths = [len(rows[i]) for i in members]
        for batch in reader.batches(lengths, [widths[i] for i in members], budget, done=n_done, total=len(rows)):
            yield [members[i] for i in batch], Shared(kept[-1][1], group.length) if group.cuts else None
        n_done += len(members)


def prefill(
    reader: HfReader, rows: Sequence[Sequence[int]], shared: Shared | None = None, *, keep_cache: bool = True
) -> Prefilled:
    """One forward pass over the rows, behind the shared beginning that their cache holds already."""
    import torch

    n_before = shared.n_tokens if shared else 0
    ids, mask, positions = reader.pad_left([row[n_before:] for row in rows])
    inputs: dict[str, Any] = {}
    if shared:
        inputs["past_key_values"] = _copies(shared.cache, len(rows))
        positions = positions + n_before
        if mask is not None:
            mask = torch.cat([mask.new_ones(len(rows), n_before), mask], dim=1)
    output = reader.forward(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=keep_cache or shared is not None,
        n_logits=1,
        **inputs,
    )
    return Prefilled(
        logits_BxV=output.logits[:, -1].float(),
        cache=output.past_key_values if keep_cache else None,
        mask_BxP=mask,
        last_B=positions[:, -1],
        n_slots=n_before + ids.shape[1],
    )


def _extend(reader: HfReader, cache: Any, n_before: int, tokens: Sequence[int]) -> Any:
    """The cache of a longer beginning; the shorter one's stays as it is."""
    import torch

    def work(_: list[int]) -> list[Any]:
        ids = torch.tensor([list(tokens)], device=reader.device)
        positions = torch.arange(n_before, n_before + len(tokens), device=reader.device)[None]
        inputs = {} if cache is None else {"past_key_values": _copies(cache, 1)}
        output = reader.forward(input_ids=ids, position_ids=positions, use_cache=True, n_logits=1, **inputs)
        return [output.past_key_values]

    return reader.in_memory(work, [0])[0]


def _copies(cache: Any, n: int) -> Any:
    """The one-row cache as n rows. Layers grow by concatenation, never in place, so the original is safe."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in twin.layers:
        layer.keys = layer.keys.expand(n, *layer.keys.shape[1:])
        layer.values = layer.values.expand(n, *layer.values.shape[1:])
    return twin
