"""Exact inner-product search: blocked matrix product with a running top k over memory-mapped float16 vectors.

The scan's float32 sums depend on how the blocks are cut, so its scores only select; the candidates, with a margin,
are scored again in float64 in one fixed order. A passage's score is then the same however the store is cut.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK_ROWS = 8192
"""8192 × 1024 float32 are 32 MB: small enough for any machine, large enough for the matrix product's full speed."""
QUERY_ROWS = 256
MARGIN = 1e-4
"""Far above the float32 rounding of a unit vectors' product, far below differences that matter."""


def scan_shard(queries: Array, vectors: Array, k: int, floors: Array, hidden: Array) -> list[tuple[Array, Array]]:
    """For each query (rows, float64 scores) that hold the shard's top k scoring at least its floor, ties included.

    queries: float32 (q, d). vectors: float16 (n, d), memory-mapped. floors: float64 (q,), the k-th best score known
    from other shards, −inf at first. hidden: bool (n,), or empty where nothing is hidden. More than k may come.
    """
    product = _product()
    found: list[list[tuple[Array, Array]]] = [[] for _ in queries]
    floors = floors.astype(np.float64).copy()
    for first in range(0, len(vectors), BLOCK_ROWS):
        block = np.asarray(vectors[first : first + BLOCK_ROWS], dtype=np.float32)
        for q in range(0, len(queries), QUERY_ROWS):
            scores = product(queries[q : q + QUERY_ROWS], block)
            if hidden.size:
                scores[:, hidden[first : first + BLOCK_ROWS]] = -np.inf
            for i, row_scores in enumerate(scores, q):
                _keep_best(row_scores, first, k, i, floors, found)
    return [_rescore(queries[i], vectors, found[i], k) for i in range(len(queries))]


def _keep_best(
    scores: Array, first: int, k: int, query: int, floors: Array, found: list[list[tuple[Array, Array]]]
) -> None:
    """Adds the block's rows that may be among the query's best, and raises its floor."""
    rows = np.flatnonzero((scores >= floors[query] - MARGIN) & (scores > -np.inf))
    if not rows.size:
        return
    kept = scores[rows]
    if rows.size > k:
        block_floor = np.partition(kept, rows.size - k)[rows.size - k]
        best = kept >= block_floor - MARGIN
        rows, kept = rows[best], kept[best]
    found[query].append((rows + first, kept))
    if sum(len(part[0]) for part in found[query]) >= 4 * k:
        all_rows = np.concatenate([part[0] for part in found[query]])
        all_scores = np.concatenate([part[1] for part in found[query]])
        floor = np.partition(all_scores, all_scores.size - k)[all_scores.size - k]
        best = all_scores >= floor - MARGIN
        found[query] = [(all_rows[best], all_scores[best])]
        floors[query] = max(floors[query], float(floor))


def _rescore(query: Array, vectors: Array, parts: list[tuple[Array, Array]], k: int) -> tuple[Array, Array]:
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    rows = np.sort(np.concatenate([part[0] for part in parts]))
    # One row at a time in memory order, so that the sum's order is that of the dimensions alone.
    scores = (np.asarray(vectors[rows], dtype=np.float64) * query.astype(np.float64)).sum(axis=1)
    if rows.size > k:
        best = scores >= np.partition(scores, rows.size - k)[rows.size - k]
        rows, scores = rows[best], scores[best]
    return rows, scores


def _product() -> Callable[[Array, Array], Array]:
    """(queries, block) → scores float32, by torch where it is installed, else numpy."""
    if importlib.util.find_spec("torch") is None:
        return lambda queries, block: queries @ block.T
    import torch

    def product(queries: Array, block: Array) -> Array:
        scores: Array = (torch.from_numpy(queries) @ torch.from_numpy(block).T).numpy()
        return scores

    return product
