# mypy: ignore-errors
# (numba infers the loops' types)
"""BM25's inner loop over one shard, in the subset of Python that numba compiles.

Passages are scored window by window, so that the running sums stay in the first-level cache. In every window the
heavy terms' postings are added up; then only those passages count on which the light terms can still lift to the
k-th best score so far, and where these are few, the light terms are looked up for them alone (MaxScore: Turtle and
Flood 1995; by windows: Lucene's MaxScoreBulkScorer). Terms are always added in the order given, so a score has the
same bits whatever was skipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from reread.datastore.lexical_kernels import BLOCK_BITS, BLOCK_ROWS

SAFETY = 1e-4
"""Bounds are loosened by this share, and by float32's for every term added, before they exclude."""
ROUNDING = 2.0**-23
WINDOW = 4096
STRIDE = 64
"""Sums compared at once when looking for candidates."""
BUCKETS = 1024
"""Resolution at which the k-th best score is known while scoring."""
PATIENCE = 8
"""Windows for which looking up is not tried again after one in which adding was cheaper."""
LOOKUP_COST = 16
"""A binary search in a term's postings costs about as much as adding this many postings."""


def search(ends, rows, tfs, lengths, norm_of, query_ends, places, weights, k, counts, floors, hidden):
    """(rows, scores, where each query's end) of all passages that can be among the best of their query.

    ends, rows, tfs, lengths: the shard's; norm_of: k1·(1 − b + b·length/average) of each length. places, weights: of
    all queries' terms, each query's heaviest first; place −1 for a term that the shard does not hold. counts
    (Q, BUCKETS), floors (Q): how many passages of the shards before have a score in each bucket of the query's range,
    and a score that k of them reach; they take up this shard's. hidden: bool, or empty.
    """
    n_rows = lengths.size
    n_blocks = ends.shape[1]
    sums = np.zeros(WINDOW, dtype=np.float32)
    # Scores are never negative, and such floats are in the order of their bits: integers compare faster.
    bits = sums.view(np.int32)
    threshold = np.zeros(1, dtype=np.float32)
    threshold_bits = threshold.view(np.int32)
    candidates = np.empty(WINDOW, dtype=np.int64)
    out_rows = np.empty(1024, dtype=np.int64)
    out_scores = np.empty(1024, dtype=np.float32)
    out_ends = np.empty(len(floors), dtype=np.int64)
    n_out = 0
    longest = 0
    for query in range(len(floors)):
        longest = max(longest, query_ends[query + 1] - query_ends[query])
    remaining = np.empty(longest + 1, dtype=np.float64)
    at = np.empty(longest, dtype=np.int64)
    stop = np.empty(longest, dtype=np.int64)
    begin_of = np.empty(longest, dtype=np.int64)
    weight_of = np.empty(longest, dtype=np.float32)
    place_of = np.empty(longest, dtype=np.int64)
    for query in range(len(floors)):
        begin = n_out
        whole = 0.0
        n_terms = 0
        for t in range(query_ends[query], query_ends[query + 1]):
            whole += np.float64(weights[t])
            if places[t] >= 0:
                place_of[n_terms] = places[t]
                weight_of[n_terms] = weights[t]
                n_terms += 1
        if n_terms == 0:
            out_ends[query] = n_out
            continue
        safety = SAFETY + n_terms * ROUNDING
        remaining[n_terms] = 0.0
        for t in range(n_terms - 1, -1, -1):
            remaining[t] = remaining[t + 1] + np.float64(weight_of[t]) * (1 + safety)
        # No score reaches the sum of the weights; the loosening keeps rounding within the buckets.
        scale = BUCKETS / (whole * (1 + safety))
        count = counts[query]
        floor = floors[query]
        floor_bucket = int(floor * scale + 0.5)
        n_above = 0
        for bucket in range(floor_bucket, BUCKETS):
            n_above += count[bucket]
        n_heavy = n_terms
        patience = 0
        for block in range(n_blocks):
            while n_heavy > 0 and remaining[n_heavy - 1] < floor:
                n_heavy -= 1
            if n_heavy == 0:
                break
            block_start = block << BLOCK_BITS
            block_size = min(BLOCK_ROWS, n_rows - block_start)
            for t in range(n_terms):
                if block > 0:
                    at[t] = ends[place_of[t], block - 1]
                elif place_of[t] > 0:
                    at[t] = ends[place_of[t] - 1, n_blocks - 1]
                else:
                    at[t] = 0
                stop[t] = ends[place_of[t], block]
                begin_of[t] = at[t]
            window = 0
            share = WINDOW / max(block_size, WINDOW)
            light_postings = 0.0
            for t in range(n_heavy, n_terms):
                light_postings += share * (stop[t] - at[t])
            while n_heavy > 0:
                # The next window that holds a posting of a heavy term.
                first = block_size
                for t in range(n_heavy):
                    if at[t] < stop[t]:
                        first = min(first, np.int64(rows[at[t]]))
                if first >= block_size:
                    break
                window = first // WINDOW * WINDOW
                window_end = window + WINDOW
                base = block_start + window
                window_lengths = lengths[base : min(base + WINDOW, n_rows)]
                n_light = n_terms - n_heavy
                n_candidates = -1
                is_lookup = False
                patience = max(patience - 1, 0)
                for t in range(n_terms + 1):
                    if t in (n_heavy, n_terms):
                        # Those that the light terms can lift to the k-th best, or at the end those that reach it.
                        threshold[0] = max(floor - remaining[t], 1e-30)
                        least = threshold_bits[0] - np.int32(1)
                        if t < n_terms and patience == 0:
                            n_candidates = 0
                            for i in range(WINDOW):
                                n_candidates += bits[i] > least
                            is_lookup = n_candidates * n_light * LOOKUP_COST < light_postings
                            if not is_lookup:
                                patience = PATIENCE
                        if (is_lookup and t < n_terms) or (not is_lookup and t == n_terms):
                            n_candidates = 0
                            for start in range(0, WINDOW, STRIDE):
                                stride = bits[start : start + STRIDE]
                                sign = np.int32(0)
                                for i in range(STRIDE):
                                    sign |= least - stride[i]
                                if sign < 0:
                                    for i in range(STRIDE):
                                        candidates[n_candidates] = start + i
                                        n_candidates += stride[i] > least
                    if t == n_terms or n_candidates == 0:
                        break
                    weight = weight_of[t]
                    begin_at = at[t]
                    end_at = stop[t]
                    if t >= n_heavy and begin_at < end_at and rows[begin_at] < window:
                        # Left behind where no candidates were.
                        n = end_at - begin_at
                        while n > 1:
                            half = n >> 1
                            if rows[begin_at + half - 1] < window:
                                begin_at += half
                            n -= half
                        begin_at += rows[begin_at] < window
                    if begin_at < end_at and rows[end_at - 1] >= window_end:
                        low = begin_at
                        n = end_at - low
                        while n > 1:
                            half = n >> 1
                            if rows[low + half - 1] < window_end:
                                low += half
                            n -= half
                        end_at = low + (rows[low] < window_end)
                    at[t] = end_at
                    if not is_lookup:
                        for j in range(begin_at, end_at):
                            row = np.uint64(rows[j]) - np.uint64(window)
                            tf = np.float32(tfs[j])
                            sums[row] += weight * (tf / (tf + norm_of[window_lengths[row]]))
                        continue
                    left = remaining[t + 1]
                    n_kept = 0
                    for c in range(n_candidates):
                        row = candidates[c]
                        if begin_at < end_at:
                            wanted = window + row
                            low = begin_at
                            n = end_at - low
                            while n > 1:
                                half = n >> 1
                                if rows[low + half - 1] < wanted:
                                    low += half
                                n -= half
                            if rows[low] == wanted:
                                tf = np.float32(tfs[low])
                                sums[row] += weight * (tf / (tf + norm_of[window_lengths[row]]))
                        candidates[n_kept] = row
                        n_kept += sums[row] + left >= floor
                    n_candidates = n_kept
                while n_out + n_candidates > len(out_rows):
                    out_rows = np.concatenate((out_rows, np.empty_like(out_rows)))
                    out_scores = np.concatenate((out_scores, np.empty_like(out_scores)))
                for c in range(n_candidates):
                    row = candidates[c]
                    if hidden.size and hidden[base + row]:
                        continue
                    score = sums[row]
                    out_rows[n_out] = base + row
                    out_scores[n_out] = score
                    n_out += 1
                    bucket = min(int(score * scale), BUCKETS - 1)
                    count[bucket] += 1
                    n_above += bucket >= floor_bucket
                for i in range(WINDOW):
                    sums[i] = 0
                if n_above >= k:
                    while n_above - count[floor_bucket] >= k:
                        n_above -= count[floor_bucket]
                        floor_bucket += 1
                    floor = max(floor, floor_bucket / scale * (1 - safety))
                    while n_heavy > 0 and remaining[n_heavy - 1] < floor:
                        n_heavy -= 1
                        light_postings += share * (stop[n_heavy] - begin_of[n_heavy])
        floors[query] = floor
        n_found = n_out
        n_out = begin
        for i in range(begin, n_found):
            out_rows[n_out] = out_rows[i]
            out_scores[n_out] = out_scores[i]
            n_out += out_scores[i] >= floor
        out_ends[query] = n_out
    return out_rows[:n_out].copy(), out_scores[:n_out].copy(), out_ends


def merge(all_rows, all_scores, all_ends, k):
    """(shards, rows, scores, where each query's end): of every query those that reach its k-th best score.

    all_rows, all_scores: what `search` gave of all shards, one behind the other; all_ends (S, Q): where they end.
    """
    n_shards, n_queries = all_ends.shape
    shards = np.empty(len(all_rows), dtype=np.int64)
    rows = np.empty(len(all_rows), dtype=np.int64)
    scores = np.empty(len(all_rows), dtype=np.float32)
    ends = np.empty(n_queries, dtype=np.int64)
    n = 0
    for query in range(n_queries):
        begin = n
        for shard in range(n_shards):
            if query > 0:
                start = all_ends[shard, query - 1]
            else:
                start = all_ends[shard - 1, n_queries - 1] if shard else 0
            for i in range(start, all_ends[shard, query]):
                shards[n] = shard
                rows[n] = all_rows[i]
                scores[n] = all_scores[i]
                n += 1
        if n - begin > k:
            least = np.partition(scores[begin:n], n - begin - k)[n - begin - k]
            found = n
            n = begin
            for i in range(begin, found):
                shards[n] = shards[i]
                rows[n] = rows[i]
                scores[n] = scores[i]
                n += scores[i] >= least
        ends[query] = n
    return shards[:n].copy(), rows[:n].copy(), scores[:n].copy(), ends


@functools.cache
def compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(search, merge), compiled on first use (numba keeps the machine code on disk for the next process)."""
    import numba

    try:
        return numba.njit(search, nogil=True, cache=True), numba.njit(merge, nogil=True, cache=True)
    except RuntimeError:
        # No folder to cache in (a read-only installation without a home): compile in every process.
        return numba.njit(search, nogil=True), numba.njit(merge, nogil=True)
