"""Batched log-likelihood with shared prefixes, for HfReader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reread.errors import ReaderError
from reread.protocols import Scored

if TYPE_CHECKING:
    import torch

    from reread.reading.local import HfReader


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One request as token ids."""

    prefix: list[int]
    continuations: list[list[int]]


def score_requests(reader: HfReader, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
    """See HfReader.loglikelihood."""
    import torch

    tokens = tokenise(reader, requests)
    for request in tokens:
        reader.check_length(len(request.prefix), max(map(len, request.continuations)) - 1)
    results: list[Scored | None] = [None] * len(tokens)
    # A row's share of memory: its prefix, and a copy of its cache for every continuation of several tokens.
    costs = [len(t.prefix) * max(1, sum(len(c) > 1 for c in t.continuations)) for t in tokens]

    def work(batch: list[int]) -> list[Scored]:
        return _score_batch(reader, [tokens[i] for i in batch])

    with torch.inference_mode():
        for batch in reader.batches(costs):
            for i, scored in zip(batch, reader.in_memory(work, batch), strict=True):
                results[i] = scored
    return [scored for scored in results if scored is not None]


def tokenise(reader: HfReader, requests: Sequence[tuple[str, Sequence[str]]]) -> list[_Tokens]:
    """Split every request into prefix and continuation tokens by lm-evaluation-harness' convention."""
    prefixes: list[str] = []
    wholes: list[str] = []
    for prefix, continuations in requests:
        if not continuations:
            raise ReaderError("a log-likelihood request has no continuation; give at least one")
        stripped = prefix.rstrip()
        spaces = prefix[len(stripped) :] if stripped else ""
        prefixes.append(stripped or prefix)
        wholes.extend((stripped or prefix) + spaces + continuation for continuation in continuations)
    prefix_ids, whole_ids = reader.encode(prefixes), reader.encode(wholes)
    tokens, at = [], 0
    for (prefix, continuations), ids in zip(requests, prefix_ids, strict=True):
        if prefix:
            rows = [whole[len(ids) :] for whole in whole_ids[at : at + len(continuations)]]
        else:
            bare = reader.tokenizer(list(continuations), add_special_tokens=False)["input_ids"]
            first = reader.prefix_token
            ids = [first]
            rows = [row[1:] if row[:1] == ids and len(row) > 1 else row for row in bare]
        at += len(continuations)
        for continuation, row in zip(continuations, rows, strict=True):
            if not row:
                raise ReaderError(
                    f"the continuation {continuation[:40]!r} adds no token to its prefix; it cannot be scored"
                )
        tokens.append(_Tokens(ids, rows))
    return tokens


def _score_batch(reader: HfReader, batch: list[_Tokens]) -> list[Scored]:
    """One forward pass over the prefixes, one over the tails of the longer continuations."""
    ids, mask, positions = reader.pad_left([request.prefix for request in batch])
    long = [(b, c) for b, request in enumerate(batch) for c, row in enumerate(request.continuations) if len(row) > 1]
    output = reader.model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=bool(long), logits_to_keep=1
    )
    first_logits_BxV = output.logits[:, -1].float()
    firsts = [[row[0] for row in request.continuations] for request in batch]
    logprobs = _gather_first(first_logits_BxV, firsts)
    if long:
        rows = [batch[b].continuations[c] for b, c in long]
        owners = [b for b, _ in long]
        tails = _score_tails(reader, output.past_key_values, mask, positions, owners, rows)
        for (b, c), tail in zip(long, tails, strict=True):
            logprobs[b][c] += tail
    return [
        Scored(
            logprobs=tuple(logprobs[b]),
            n_tokens=tuple(map(len, request.continuations)),
            n_prompt_tokens=len(request.prefix),
            n_computed_tokens=len(request.prefix) + sum(len(row) - 1 for row in request.continuations),
        )
        for b, request in enumerate(batch)
    ]


def _gather_first(logits_BxV: torch.Tensor, firsts: list[list[int]]) -> list[list[float]]:
    import torch

    widest = max(map(len, firsts))
    index = torch.tensor([row + [0] * (widest - len(row)) for row in firsts], device=logits_BxV.device)
    norm_B = torch.logsumexp(logits_BxV, dim=-1, keepdim=True)
    values: list[list[float]] = (logits_BxV.gather(1, index) - norm_B).double().tolist()
    return [row[: len(first)] for row, first in zip(values, firsts, strict=True)]


def _score_tails(
    reader: HfReader,
    cache: Any,
    mask: torch.Tensor | None,
    positions: torch.Tensor,
    owners: list[int],
    rows: list[list[int]],
) -> list[float]:
    """Log-probability of every row's tokens after its first, given the cache of its owner's prefix."""
    import torch

    index = torch.tensor(owners, device=reader.device)
    cache.batch_select_indices(index)
    longest = max(map(len, rows)) - 1
    # Padded on the right: what follows a row's own tokens cannot change them.
    inputs = torch.tensor([row[:-1] + [0] * (longest + 1 - len(row)) for row in rows], device=reader.device)
    targets = torch.tensor([row[1:] + [0] * (longest + 1 - len(row)) for row in rows], device=reader.device)
    valid = torch.tensor([[i < len(row) - 1 for i in range(longest)] for row in rows], device=reader.device)
    steps = torch.arange(1, longest + 1, device=reader.device)
    past = torch.ones_like(positions)[index] if mask is None else mask[index]
    output = reader.model(
        input_ids=inputs,
        attention_mask=torch.cat([past, torch.ones_like(inputs)], dim=1),
        position_ids=positions[index, -1:] + steps,
        past_key_values=cache,
        use_cache=True,
    )
    logits_RxTxV = output.logits.float()
    chosen = logits_RxTxV.gather(2, targets[..., None])[..., 0] - torch.logsumexp(logits_RxTxV, dim=-1)
    total: list[float] = torch.where(valid, chosen, 0.0).double().sum(dim=1).tolist()
    return total
