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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.analyser import stems_of
from reread.datastore.bm25_kernel import BUCKETS, compiled
from reread.datastore.lexical import LexicalShard, joined_terms

Array = npt.NDArray[Any]

QUERIES_AT_ONCE = 256
"""Queries that one call of the compiled loop takes: bounds its memory."""


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    term: str
    weight: float
    """qtf · idf"""
    df: int


@dataclass(frozen=True, slots=True)
class BestRows:
    """A query's best passages, ties at the k-th included, in no order; shard numbers, rows, float32 scores."""

    shards: Array
    rows: Array
    scores: Array


def document_frequencies(shards: Sequence[LexicalShard], terms: Sequence[str]) -> dict[str, int]:
    """In how many of the shards' passages each term occurs. Sums over parts of a store are the store's."""
    totals = np.zeros(len(terms), dtype=np.int64)
    data, ends = joined_terms(terms)
    for shard in shards:
        totals += shard.dfs(shard.find_joined(data, ends))
    return dict(zip(terms, totals.tolist(), strict=True))


def weigh_queries(queries: Sequence[str], shards: Sequence[LexicalShard], n_passages: int) -> list[list[WeightedTerm]]:
    """Each query's terms that the store holds, with their weights, the heaviest first; terms break ties."""
    counts = [Counter(stems_of(query)) for query in queries]
    dfs = document_frequencies(shards, list(dict.fromkeys(term for count in counts for term in count)))
    return [weigh(count, dfs, n_passages) for count in counts]


def weigh(term_counts: Mapping[str, int], dfs: Mapping[str, int], n_passages: int) -> list[WeightedTerm]:
    """A query's terms with their weights, from how often it holds each and in how many passages each occurs."""
    weighted = []
    for term, qtf in term_counts.items():
        if df := dfs[term]:
            idf = math.log(1 + (n_passages - df + 0.5) / (df + 0.5))
            weighted.append(WeightedTerm(term, qtf * idf, df))
    return sorted(weighted, key=lambda item: (-item.weight, item.term))


def best_rows(
    shards: Sequence[LexicalShard],
    queries: Sequence[Sequence[WeightedTerm]],
    average_length: float,
    k: int,
    hidden: Mapping[int, Array] | None = None,
    n_threads: int = 1,
) -> list[BestRows]:
    """Of every query all passages that score at least as much as its k-th best does.

    hidden: per shard number bool (n,), the passages that must not be found. n_threads: queries are divided among so
    many; results do not depend on it.
    """
    at_once = max(1, min(QUERIES_AT_ONCE, -(-len(queries) // n_threads)))
    groups = [queries[i : i + at_once] for i in range(0, len(queries), at_once)]

    def search(group: Sequence[Sequence[WeightedTerm]]) -> list[BestRows]:
        return _best_of_group(shards, group, average_length, k, hidden or {})

    if n_threads > 1 and len(groups) > 1:
        with ThreadPoolExecutor(n_threads) as threads:
            found = list(threads.map(search, groups))
    else:
        found = [search(group) for group in groups]
    return [best for group in found for best in group]


def _best_of_group(
    shards: Sequence[LexicalShard],
    queries: Sequence[Sequence[WeightedTerm]],
    average_length: float,
    k: int,
    hidden: Mapping[int, Array],
) -> list[BestRows]:
    n = len(queries)
    terms = list(dict.fromkeys(item.term for query in queries for item in query))
    number_of = {term: i for i, term in enumerate(terms)}
    term_numbers = np.array([number_of[item.term] for query in queries for item in query], dtype=np.int64)
    weights = np.array([item.weight for query in queries for item in query], dtype=np.float32)
    query_ends = np.zeros(n + 1, dtype=np.int64)
    np.cumsum([len(query) for query in queries], out=query_ends[1:])
    data, ends = joined_terms(terms)
    search, merge = compiled()
    counts = np.zeros((n, BUCKETS), dtype=np.int32)
    floors = np.zeros(n, dtype=np.float64)
    parts = []
    for number, shard in enumerate(shards):
        places = shard.find_joined(data, ends)
        parts.append(
            search(
                *(shard.ends, shard.rows, shard.tfs, shard.lengths, shard.norms(average_length)),
                *(query_ends, places[term_numbers], weights),
                *(k, counts, floors, hidden.get(number, _NOTHING_HIDDEN)),
            )
        )
    sizes = np.cumsum([0, *(len(rows) for rows, _, _ in parts)])
    all_ends = np.array(
        [part_ends + size for (_, _, part_ends), size in zip(parts, sizes, strict=False)], dtype=np.int64
    )
    numbers, rows, scores, best_ends = merge(
        np.concatenate([rows for rows, _, _ in parts]) if parts else _NO_ROWS,
        np.concatenate([scores for _, scores, _ in parts]) if parts else _NO_SCORES,
        all_ends.reshape(len(parts), n),
        k,
    )
    return [BestRows(numbers[a:b], rows[a:b], scores[a:b]) for a, b in pairwise([0, *best_ends.tolist()])]


_NOTHING_HIDDEN = np.empty(0, dtype=np.bool_)
_NO_ROWS = np.empty(0, dtype=np.int64)
_NO_SCORES = np.empty(0, dtype=np.float32)
