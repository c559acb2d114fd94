"""Exact vector search against FAISS IndexFlatIP and the bare matrix product, side by side in one run.

    python benchmarks/exact_search.py

400,000 generated clustered vectors of 384 dimensions, 200 queries in a batch, 1 and 2 threads. Every hit list is
checked: reread's scores must be FAISS's to 1e-5, and its passages the same but for scores that near to each other.
The median and the best of several interleaved rounds are shown; about three minutes on two cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

N, DIMENSION, QUERIES, ROUNDS = 400_000, 384, 200, 3


def made(n_queries: int = QUERIES) -> tuple[np.ndarray, np.ndarray]:
    """float16 (N, d) around 2,000 centres, as the store keeps them; float32 queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, DIMENSION), dtype=np.float32)
    vectors = np.empty((N, DIMENSION), np.float16)
    for first in range(0, N, 50_000):
        block = centres[rng.integers(2000, size=50_000)] + rng.standard_normal((50_000, DIMENSION), dtype=np.float32)
        vectors[first : first + 50_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    queries = vectors[rng.integers(N, size=n_queries)].astype(np.float32)
    queries += 0.03 * rng.standard_normal(queries.shape, dtype=np.float32)
    return vectors, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def same(found: list[tuple[np.ndarray, np.ndarray]], scores: np.ndarray, rows: np.ndarray, k: int) -> int:
    """Passages found by one side alone, all of them within 1e-5 of the k-th score; raises where they are not."""
    n_tied = 0
    for (mine, my_scores), their_scores, theirs in zip(found, scores, rows, strict=True):
        best = np.sort(my_scores)[::-1][:k]
        if not np.allclose(best, their_scores, atol=1e-5):
            raise SystemExit("the scores differ from FAISS's")
        score_of = dict(zip(mine.tolist(), my_scores.tolist(), strict=True))
        alone = set(mine.tolist()) ^ set(theirs.tolist())
        if any(score_of.get(row, best[-1]) > best[-1] + 1e-5 for row in alone):
            raise SystemExit("the passages differ from FAISS's")
        n_tied += len(alone)
    return n_tied


def measure(n_threads: int) -> None:
    import faiss
    import torch

    from reread.datastore import exact

    torch.set_num_threads(n_threads)
    faiss.omp_set_num_threads(n_threads)
    vectors, queries = made()
    single = vectors.astype(np.float32)
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(single)
    index = exact.ExactIndex([N], lambda number: vectors, DIMENSION)
    tensor, queries_t = torch.from_numpy(single), torch.from_numpy(queries)
    brain, queries_b = tensor.bfloat16(), queries_t.bfloat16()

    def bare(matrix: torch.Tensor, some: torch.Tensor) -> None:
        for first in range(0, N, exact.BLOCK_ROWS):
            some @ matrix[first : first + exact.BLOCK_ROWS].T

    def in_float32(k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        fastest = exact._product
        exact._product = lambda: (exact._torch_product, n_threads)
        try:
            return index.search(queries, k)
        finally:
            exact._product = fastest

    for k in (10, 100):
        cases: dict[str, Callable[[], object]] = {
            "FAISS IndexFlatIP": lambda: flat.search(queries, k),  # noqa: B023
            "reread exact": lambda: index.search(queries, k),  # noqa: B023
            "reread exact, float32 product": lambda: in_float32(k),  # noqa: B023
            "bare product, float32, blocked": lambda: bare(tensor, queries_t),
            "bare product, bfloat16, blocked": lambda: bare(brain, queries_b),
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, run in cases.items():
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) / QUERIES * 1000)
        n_tied = same(index.search(queries, k), *flat.search(queries, k), k)
        faiss_ms = min(times["FAISS IndexFlatIP"])
        for name, taken in times.items():
            note = f"same hits as FAISS ({n_tied} ties differ)" if name == "reread exact" else ""
            print(
                f"| {n_threads} | {k} | {name} | {min(taken):.2f} | {statistics.median(taken):.2f} | "
                f"{faiss_ms / min(taken):.1f}× | {note} |",
                flush=True,
            )


def main() -> None:
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]))
        return
    print(
        "| threads | k | what | ms a query, best | median | FAISS's time ÷ its | hits |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for n_threads in (1, 2):
        # Thread pools keep the size they began with: a process for each.
        environment = {**os.environ, "OMP_NUM_THREADS": str(n_threads), "OPENBLAS_NUM_THREADS": str(n_threads)}
        subprocess.run([sys.executable, __file__, str(n_threads)], env=environment, check=True)


if __name__ == "__main__":
    main()
