"""BM25 over the shards' raw postings, exact, with the statistics of the whole store.

score(passage) = Σ over query terms of qtf · idf · tf / (tf + k1·(1 − b + b·length/average)), with Lucene's
idf = ln(1 + (N − df + ½)/(df + ½)) (Robertson and Zaragoza 2009; Lucene's BM25Similarity leaves the factor k1 + 1
out, as we do). df, N and the average length are sums over all shards, so the score of a passage does not depend on
how the store is cut. Terms are added in one order (rarest first) in float32, so it does not even in the last bit.

Rare terms are summed densely; once no unseen passage can reach the k-th best score, the common terms are looked up
for the remaining candidates only (the idea of MaxScore, Turtle and Flood 1995). Questions in plain words gain most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.lexical import LexicalShard, stems_of

Array = npt.NDArray[Any]

SAFETY = 1e-4
"""Scores are float32 sums of at most some hundred terms: bounds are loosened by this share before they exclude."""

BUCKETS = 1024
"""Resolution at which the k-th best score is known while scoring."""
LOOKUP_COST = 16
"""A binary search in a term's postings costs about as much as adding this many postings."""


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    term: str
    weight: float
    """qtf · idf"""
    df: int


def weigh_terms(query: str, shards: Sequence[LexicalShard], n_passages: int) -> list[WeightedTerm]:
    """The query's terms that the store holds, with their weights, the heaviest first; terms break ties."""
    weighted = []
    for term, qtf in Counter(stems_of(query)).items():
        df = 0
        for shard in shards:
            start, end = shard.postings(term)
            df += end - start
        if df:
            idf = math.log(1 + (n_passages - df + 0.5) / (df + 0.5))
            weighted.append(WeightedTerm(term, qtf * idf, df))
    return sorted(weighted, key=lambda item: (-item.weight, item.term))


def best_in_shard(
    shard: LexicalShard,
    terms: Sequence[WeightedTerm],
    average_length: float,
    k: int,
    threshold: float,
    hidden: Array,
) -> tuple[Array, Array]:
    """(rows, float32 scores) that hold every passage of the shard's top k scoring at least `threshold`, ties included.

    hidden: bool (n,), or empty where nothing is hidden. Rows come unordered; more than k may come.
    """
    spans = np.array([shard.postings(item.term) for item in terms], dtype=np.int64).reshape(-1, 2)
    weights = np.array([item.weight for item in terms], dtype=np.float32)
    present = spans[:, 1] > spans[:, 0]
    spans, weights = spans[present], weights[present]
    if not weights.size:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    remaining = np.cumsum(weights[::-1], dtype=np.float64)[::-1] * (1 + SAFETY)
    rows, scores = _kernel()(
        shard.rows,
        shard.tfs,
        shard.norms(average_length),
        spans[:, 0].copy(),
        spans[:, 1].copy(),
        weights,
        remaining,
        k,
        threshold * (1 - SAFETY),
        hidden,
    )
    if scores.size > k:
        floor = np.partition(scores, scores.size - k)[scores.size - k]
        kept = scores >= floor
        rows, scores = rows[kept], scores[kept]
    return rows, scores


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., tuple[Array, Array]]:
    import numba

    try:
        compiled: Callable[..., tuple[Array, Array]] = numba.njit(nogil=True, cache=True)(_best_rows)
    except RuntimeError:
        # No folder to cache in (a read-only installation without a home): compile in every process.
        compiled = numba.njit(nogil=True)(_best_rows)
    return compiled


def _best_rows(  # type: ignore[no-untyped-def]  # numba infers the types
    rows, tfs, norms, starts, ends, weights, remaining, k, threshold, hidden
):
    n_terms = weights.size
    scores = np.zeros(norms.size, dtype=np.float32)
    seen = np.empty(norms.size + 1, dtype=np.uint32)
    counts = np.zeros(BUCKETS, dtype=np.int64)
    n_seen = 0
    n_left = 0
    for t in range(n_terms):
        n_left += ends[t] - starts[t]
    closed = False
    for t in range(n_terms + 1):
        # Once a while, and at the end: which of the seen passages can still be among the best, and can any other?
        if t == n_terms or (t > 0 and not closed and n_left > n_seen):
            left = remaining[t] if t < n_terms else 0.0
            # The k-th best score so far, to within a bucket, from below.
            scale = (BUCKETS - 1) / remaining[0]
            counts[:] = 0
            for i in range(n_seen):
                row = seen[i]
                if hidden.size == 0 or not hidden[row]:
                    counts[int(scores[row] * scale)] += 1
            floor = threshold
            n_above = 0
            for bucket in range(BUCKETS - 1, -1, -1):
                n_above += counts[bucket]
                if n_above >= k:
                    floor = max(floor, bucket / scale * (1 - SAFETY))
                    break
            if t == n_terms or left < floor:
                closed = True
                kept = 0
                for i in range(n_seen):
                    row = seen[i]
                    seen[kept] = row
                    kept += scores[row] + left >= floor and (hidden.size == 0 or not hidden[row])
                n_seen = kept
        if t == n_terms:
            break
        start = starts[t]
        end = ends[t]
        weight = weights[t]
        n_left -= end - start
        if not closed:
            for i in range(start, end):
                row = rows[i]
                tf = np.float32(tfs[i])
                before = scores[row]
                seen[n_seen] = row
                n_seen += before == 0
                scores[row] = before + weight * (tf / (tf + norms[row]))
        elif n_seen * LOOKUP_COST < end - start:
            for i in range(n_seen):
                row = seen[i]
                low = start
                high = end
                while low < high:
                    middle = (low + high) >> 1
                    if rows[middle] < row:
                        low = middle + 1
                    else:
                        high = middle
                if low < end and rows[low] == row:
                    tf = np.float32(tfs[low])
                    scores[row] += weight * (tf / (tf + norms[row]))
        else:
            for i in range(start, end):
                row = rows[i]
                tf = np.float32(tfs[i])
                scores[row] += weight * (tf / (tf + norms[row]))
    best = np.empty(n_seen, dtype=np.float32)
    for i in range(n_seen):
        best[i] = scores[seen[i]]
    return seen[:n_seen].copy(), best
