"""BM25's inner loop over one shard, in the subset of Python that numba compiles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from reread.datastore.lexical_kernels import BLOCK_BITS

SAFETY = 1e-4
"""Scores are float32 sums of at most some hundred terms: bounds are loosened by this share before they exclude."""
BUCKETS = 1024
"""Resolution at which the k-th best score is known while scoring."""
LOOKUP_COST = 16
"""A binary search in a term's postings costs about as much as adding this many postings."""


def search(  # type: ignore[no-untyped-def]  # numba infers the types
    ends, rows, tfs, norms, query_ends, places, weights, heaps, heap_sizes, hidden
):
    """(rows, scores, where each query's end) of all passages that can be among the best of their query.

    ends, rows, tfs, norms: the shard's. places, weights: of all queries' terms, each query's heaviest first; place −1
    for a term that the shard does not hold. heaps (Q, k), heap_sizes: the best scores of each query in the shards
    before, least first; they take up those of this one. hidden: bool, or empty.
    """
    n_rows = norms.size
    n_blocks = ends.shape[1]
    k = heaps.shape[1]
    totals = np.zeros(n_rows, dtype=np.float32)
    seen = np.empty(n_rows + 1, dtype=np.uint32)
    counts = np.zeros(BUCKETS, dtype=np.int64)
    out_rows = np.empty(1024, dtype=np.int64)
    out_scores = np.empty(1024, dtype=np.float32)
    out_ends = np.empty(len(heaps), dtype=np.int64)
    n_out = 0
    longest = 0
    for query in range(len(heaps)):
        longest = max(longest, query_ends[query + 1] - query_ends[query])
    remaining = np.zeros(longest + 1, dtype=np.float64)
    for query in range(len(heaps)):
        first = query_ends[query]
        n_terms = query_ends[query + 1] - first
        heap = heaps[query]
        heap_size = heap_sizes[query]
        floor = np.float64(heap[0]) * (1 - SAFETY) if heap_size == k else 0.0
        remaining[n_terms] = 0.0
        n_left = 0
        for t in range(n_terms - 1, -1, -1):
            remaining[t] = remaining[t + 1]
            place = places[first + t]
            if place >= 0:
                remaining[t] += np.float64(weights[first + t]) * (1 + SAFETY)
                n_left += np.int64(ends[place, n_blocks - 1]) - (
                    np.int64(ends[place - 1, n_blocks - 1]) if place else 0
                )
        n_seen = 0
        n_live = 0
        closed = False
        for t in range(n_terms + 1):
            # Once a while, and at the end: which of the seen passages can still be among the best, and can any other?
            if t == n_terms or (not closed and (n_left > n_seen or t == 0)):
                left = remaining[t]
                if not closed:
                    n_live = n_seen
                if t > 0 and n_live >= k:
                    # The k-th best score so far, to within a bucket, from below.
                    scale = (BUCKETS - 1) / remaining[0]
                    counts[:] = 0
                    for i in range(n_live):
                        row = seen[i]
                        if hidden.size == 0 or not hidden[row]:
                            counts[int(totals[row] * scale)] += 1
                    n_above = 0
                    for bucket in range(BUCKETS - 1, -1, -1):
                        n_above += counts[bucket]
                        if n_above >= k:
                            floor = max(floor, bucket / scale * (1 - SAFETY))
                            break
                if t == n_terms or left < floor:
                    closed = True
                    n_kept = 0
                    for i in range(n_live):
                        row = seen[i]
                        if totals[row] + left >= floor and (hidden.size == 0 or not hidden[row]):
                            # The others stay behind them: their totals are to be cleared at the end.
                            seen[i] = seen[n_kept]
                            seen[n_kept] = row
                            n_kept += 1
                    n_live = n_kept
            if t == n_terms:
                break
            place = places[first + t]
            if place < 0:
                continue
            weight = weights[first + t]
            start = np.int64(ends[place - 1, n_blocks - 1]) if place else 0
            for block in range(n_blocks):
                end = np.int64(ends[place, block])
                base = block << BLOCK_BITS
                n_left -= end - start
                if not closed:
                    for i in range(start, end):
                        row = base + rows[i]
                        tf = np.float32(tfs[i])
                        before = totals[row]
                        seen[n_seen] = row
                        n_seen += before == 0
                        totals[row] = before + weight * (tf / (tf + norms[row]))
                elif n_live * LOOKUP_COST < end - start:
                    for i in range(n_live):
                        row = seen[i]
                        if row >> BLOCK_BITS != block:
                            continue
                        low = start
                        high = end
                        wanted = row & 0xFFFF
                        while low < high:
                            middle = (low + high) >> 1
                            if rows[middle] < wanted:
                                low = middle + 1
                            else:
                                high = middle
                        if low < end and rows[low] == wanted:
                            tf = np.float32(tfs[low])
                            totals[row] += weight * (tf / (tf + norms[row]))
                elif n_live:
                    for i in range(start, end):
                        row = base + rows[i]
                        tf = np.float32(tfs[i])
                        before = totals[row]
                        if before > 0:
                            totals[row] = before + weight * (tf / (tf + norms[row]))
                start = end
        begin = n_out
        for i in range(n_live):
            row = seen[i]
            score = totals[row]
            if heap_size == k and score < heap[0]:
                continue
            if n_out == len(out_rows):
                out_rows = np.concatenate((out_rows, np.empty_like(out_rows)))
                out_scores = np.concatenate((out_scores, np.empty_like(out_scores)))
            out_rows[n_out] = row
            out_scores[n_out] = score
            n_out += 1
            if heap_size < k:
                at = heap_size
                heap_size += 1
                while at > 0 and heap[(at - 1) >> 1] > score:
                    heap[at] = heap[(at - 1) >> 1]
                    at = (at - 1) >> 1
                heap[at] = score
            elif score > heap[0]:
                at = 0
                while True:
                    child = 2 * at + 1
                    if child >= k:
                        break
                    if child + 1 < k and heap[child + 1] < heap[child]:
                        child += 1
                    if heap[child] >= score:
                        break
                    heap[at] = heap[child]
                    at = child
                heap[at] = score
        heap_sizes[query] = heap_size
        if heap_size == k:
            n_out_all = n_out
            n_out = begin
            for i in range(begin, n_out_all):
                if out_scores[i] >= heap[0]:
                    out_rows[n_out] = out_rows[i]
                    out_scores[n_out] = out_scores[i]
                    n_out += 1
        out_ends[query] = n_out
        for i in range(n_seen):
            totals[seen[i]] = 0
    return out_rows[:n_out].copy(), out_scores[:n_out].copy(), out_ends


@functools.cache
def compiled() -> Callable[..., Any]:
    """The loop, compiled on first use (numba keeps the machine code on disk for the next process)."""
    import numba

    try:
        loop: Callable[..., Any] = numba.njit(search, nogil=True, cache=True)
    except RuntimeError:
        # No folder to cache in (a read-only installation without a home): compile in every process.
        loop = numba.njit(search, nogil=True)
    return loop
