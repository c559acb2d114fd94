"""Batched log-likelihood with shared prefixes, for HfReader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reread.errors import ReaderError
from reread.protocols import Scored
from reread.reading.prefill import Prefilled, Shared, batches, prefill, select_rows

if TYPE_CHECKING:
    import torch

    from reread.reading.local import HfReader


@dataclass(frozen=True, slots=True)
class Tokens:
    """One request as token ids."""

    prefix: list[int]
    continuations: list[list[int]]


def score_requests(reader: HfReader, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
    """See HfReader.loglikelihood."""
    return score_tokens(reader, tokenise(reader, requests))


def score_tokens(reader: HfReader, tokens: Sequence[Tokens]) -> list[Scored]:
    """The log-likelihoods of requests that are split into tokens already."""
    import torch

    for request in tokens:
        reader.check_length(len(request.prefix), max(map(len, request.continuations)) - 1)
        reader.check_ids([request.prefix, *request.continuations])
    results: list[Scored | None] = [None] * len(tokens)
    score = _score_wholly if reader.cache_kind == "recurrent" else _score_batch
    # A row's share of memory: its prefix, and a copy of its cache for every continuation of several tokens.
    widths = [max(1, sum(len(c) > 1 for c in t.continuations)) for t in tokens]
    with torch.inference_mode():
        for batch, shared in batches(reader, [t.prefix for t in tokens], widths, reader.score_tokens):

            def work(part: list[int], shared: Shared | None = shared) -> list[Scored]:
                return score(reader, [tokens[i] for i in part], shared)

            for i, one in zip(batch, reader.in_memory(work, batch), strict=True):
                if any(map(math.isnan, one.logprobs)):
                    raise ReaderError(not_finite(reader))
                results[i] = one
    return [scored for scored in results if scored is not None]


def tokenise(reader: HfReader, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Tokens]:
    """Split every request into prefix and continuation tokens by lm-evaluation-harness' convention."""
    prefixes: list[str] = []
    wholes: list[str] = []
    for prefix, continuations in requests:
        if not continuations:
            raise ReaderError("a log-likelihood request has no continuation; give at least one")
        prefixes.append(prefix.rstrip())
        wholes.extend(prefix + continuation for continuation in continuations)
    prefix_ids, whole_ids = reader.encode(prefixes), reader.encode(wholes)
    tokens, at = [], 0
    for (prefix, continuations), ids in zip(requests, prefix_ids, strict=True):
        if prefix.strip():
            rows = [whole[len(ids) :] for whole in whole_ids[at : at + len(continuations)]]
        else:
            bare = reader.tokenizer(
                [prefix + continuation for continuation in continuations], add_special_tokens=False
            )["input_ids"]
            first = reader.prefix_token
            ids = [first]
            rows = [row[1:] if row[:1] == ids and len(row) > 1 else row for row in bare]
        at += len(continuations)
        for continuation, row in zip(continuations, rows, strict=True):
            if not row:
                raise ReaderError(
                    f"the continuation {continuation[:40]!r} adds no token to its prefix; it cannot be scored"
                )
        tokens.append(Tokens(ids, rows))
    return tokens


def _score_batch(reader: HfReader, batch: list[Tokens], shared: Shared | None) -> list[Scored]:
    """One forward pass over the prefixes, one over the tails of the longer continuations."""
    long = [(b, c) for b, request in enumerate(batch) for c, row in enumerate(request.continuations) if len(row) > 1]
    state = prefill(reader, [request.prefix for request in batch], shared, keep_cache=bool(long))
    firsts = [[row[0] for row in request.continuations] for request in batch]
    logprobs = _gather_first(state.logits_BxV, firsts)
    likeliest_B = state.logits_BxV.argmax(dim=-1).tolist()
    greedy = [[first == likeliest for first in own] for own, likeliest in zip(firsts, likeliest_B, strict=True)]
    if long:
        rows = [batch[b].continuations[c] for b, c in long]
        tails = _score_tails(reader, state, [b for b, _ in long], rows)
        for (b, c), (tail, is_greedy) in zip(long, tails, strict=True):
            logprobs[b][c] += tail
            greedy[b][c] &= is_greedy
    return [
        Scored(
            logprobs=tuple(logprobs[b]),
            n_tokens=tuple(map(len, request.continuations)),
            n_prompt_tokens=len(request.prefix),
            n_computed_tokens=len(request.prefix) + sum(len(row) - 1 for row in request.continuations),
            greedy=tuple(greedy[b]),
        )
        for b, request in enumerate(batch)
    ]


def _score_wholly(reader: HfReader, batch: list[Tokens], _: Shared | None) -> list[Scored]:
    """Prefix and continuation together, for caches that cannot be continued; each request by itself.

    Padded on the right without a mask: in a causal model, recurrent or not, what follows changes nothing.
    """
    import torch

    found = []
    for request in batch:
        # Continuations that differ in their last token alone share a row.
        inputs = list(dict.fromkeys(tuple(row[:-1]) for row in request.continuations))
        longest = max(map(len, inputs))
        ids = [[*request.prefix, *row, *[0] * (longest - len(row))] for row in inputs]
        output = reader.forward(
            input_ids=torch.tensor(ids, device=reader.device), use_cache=False, n_logits=longest + 1
        )
        logits_RxTxV = output.logits.float()
        norm_RxT = torch.logsumexp(logits_RxTxV, dim=-1)
        likeliest_RxT = logits_RxTxV.argmax(dim=-1).tolist()
        logprobs = []
        for row in request.continuations:
            r = inputs.index(tuple(row[:-1]))
            steps = torch.arange(len(row), device=reader.device)
            chosen = logits_RxTxV[r, steps, torch.tensor(row, device=reader.device)] - norm_RxT[r, : len(row)]
            logprobs.append(float(chosen.double().sum()))
        found.append(
            Scored(
                logprobs=tuple(logprobs),
                n_tokens=tuple(map(len, request.continuations)),
                n_prompt_tokens=len(request.prefix),
                n_computed_tokens=sum(len(request.prefix) + len(row) for row in inputs),
                greedy=tuple(
                    likeliest_RxT[inputs.index(tuple(row[:-1]))][: len(row)] == row for row in request.continuations
                ),
            )
        )
    return found


def not_finite(reader: HfReader) -> str:
    """The sentence about a model whose output is no number."""
    return (
        f"{reader.spec} computes values that are no numbers (NaN); its weights are damaged, or its dtype "
        "overflows: try dtype float32 or bfloat16"
    )


def _gather_first(logits_BxV: torch.Tensor, firsts: list[list[int]]) -> list[list[float]]:
    import torch

    widest = max(map(len, firsts))
    index = torch.tensor([row + [0] * (widest - len(row)) for row in firsts], device=logits_BxV.device)
    norm_B = torch.logsumexp(logits_BxV, dim=-1, keepdim=True)
    values: list[list[float]] = (logits_BxV.gather(1, index) - norm_B).double().tolist()
    return [row[: len(first)] for row, first in zip(values, firsts, strict=True)]


def _score_tails(
    reader: HfReader, state: Prefilled, owners: list[int], rows: list[list[int]]
) -> list[tuple[float, bool]]:
    """Log-probability of every row's tokens after its first, given the cache of its owner's prefix, and whether each
    of them is the likeliest."""
    import torch

    index = torch.tensor(owners, device=reader.device)
    select_rows(state.cache, index)
    longest = max(map(len, rows)) - 1
    # Padded on the right: what follows a row's own tokens cannot change them.
    inputs = torch.tensor([row[:-1] + [0] * (longest + 1 - len(row)) for row in rows], device=reader.device)
    targets = torch.tensor([row[1:] + [0] * (longest + 1 - len(row)) for row in rows], device=reader.device)
    valid = torch.tensor([[i < len(row) - 1 for i in range(longest)] for row in rows], device=reader.device)
    steps = torch.arange(1, longest + 1, device=reader.device)
    past = inputs.new_ones(len(rows), state.n_slots) if state.mask_BxP is None else state.mask_BxP[index]
    output = reader.forward(
        input_ids=inputs,
        attention_mask=torch.cat([past, torch.ones_like(inputs)], dim=1),
        position_ids=state.last_B[index, None] + steps,
        past_key_values=state.cache,
        use_cache=True,
        n_logits=longest,
    )
    logits_RxTxV = output.logits.float()
    chosen = logits_RxTxV.gather(2, targets[..., None])[..., 0] - torch.logsumexp(logits_RxTxV, dim=-1)
    total: list[float] = torch.where(valid, chosen, 0.0).double().sum(dim=1).tolist()
    greedy: list[bool] = ((logits_RxTxV.argmax(dim=-1) == targets) | ~valid).all(dim=1).tolist()
    return list(zip(total, greedy, strict=True))
