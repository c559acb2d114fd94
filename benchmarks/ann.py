"""Approximate vector search: recall, speed and resident memory beside FAISS flat and FAISS without re-scoring.

    python benchmarks/ann.py [VECTORS.npz]

400,000 generated clustered vectors of 384 dimensions in four shards (or X float16 (n, d) and Q float32 of the file
given, such as a real model's). Resident memory is what a process of its own gains by opening the index and answering
1,000 queries (anonymous and file-backed pages). About four minutes on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

N, DIMENSION, SHARD_ROWS, K = 400_000, 384, 100_000, 10


def made() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, DIMENSION), dtype=np.float32)
    vectors = np.empty((N, DIMENSION), np.float16)
    for first in range(0, N, 50_000):
        block = centres[rng.integers(2000, size=50_000)] + rng.standard_normal((50_000, DIMENSION), dtype=np.float32)
        vectors[first : first + 50_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    queries = vectors[rng.integers(N, size=1000)].astype(np.float32)
    queries += 0.03 * rng.standard_normal(queries.shape, dtype=np.float32)
    return vectors, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def opened(folder: Path) -> list[SimpleNamespace]:
    """The shards as the index reads them: their vectors and what shard.json says of those."""
    shards = []
    for path in sorted((folder / "shards").iterdir()):
        vectors = np.load(path / "vectors.npy", mmap_mode="r")
        facts = {"dimension": vectors.shape[1], "files": {"vectors.npy": {"sha256": path.name}}}
        shards.append(SimpleNamespace(folder=path, vectors=vectors, n_passages=len(vectors), facts=facts))
    return shards


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssFile"))) / 1024


def answer(folder: Path, what: str) -> None:
    """In a process of its own: memory gained, milliseconds a query and the rows found, as files."""
    import faiss

    from reread.datastore import ann, vector_kernels
    from reread.datastore.exact import ExactIndex

    shards, queries = opened(folder), np.load(folder / "queries.npy")
    # Machine code is loaded before memory is counted.
    vector_kernels.exact_scores(
        np.zeros((1, 8), np.uint16), np.zeros(1, np.int64), np.zeros((1, 8)), np.zeros(1, np.int64), np.zeros(1)
    )
    exact = ExactIndex([s.n_passages for s in shards], lambda n: shards[n].vectors, queries.shape[1])
    before = resident_mb()
    if what == "flat":
        flat = faiss.IndexFlatIP(queries.shape[1])
        for shard in shards:
            flat.add(shard.vectors.astype(np.float32))
        run = lambda some: flat.search(some, K)[1]  # noqa: E731
        queries = queries[:200]
    else:
        settings = [ann.AnnSetting(**s) for s in json.loads((folder / "settings.json").read_text())]
        index = ann.AnnIndex(shards, exact, settings)
        if what == "reread":
            run = lambda some: best(index.search(some, K))  # noqa: E731
        else:
            share = index.setting(K).probed_share
            run = lambda some: index.candidates(some, share, K, {})  # noqa: E731
    run(queries[:10])
    start = time.perf_counter()
    rows = np.concatenate([run(queries[i : i + 200]) for i in range(0, len(queries), 200)])
    taken = (time.perf_counter() - start) / len(queries) * 1000
    np.save(folder / f"{what}.npy", rows)
    (folder / f"{what}.json").write_text(json.dumps({"ms": taken, "mb": resident_mb() - before}))


def best(found: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.array([rows[np.lexsort((rows, -scores))][:K] for rows, scores in found])


def main() -> None:
    from reread.datastore import ann
    from reread.datastore.exact import ExactIndex

    if len(sys.argv) > 1 and not sys.argv[1].isdecimal():
        file = np.load(sys.argv[1])
        vectors, queries = file["X"], file["Q"]
    else:
        vectors, queries = made()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, first in enumerate(range(0, len(vectors), SHARD_ROWS)):
            (folder / "shards" / f"{number:05d}").mkdir(parents=True)
            np.save(folder / "shards" / f"{number:05d}" / "vectors.npy", vectors[first : first + SHARD_ROWS])
        np.save(folder / "queries.npy", queries)
        shards = opened(folder)
        start = time.perf_counter()
        entries = [ann._index_shard(shard) for shard in shards]
        built = time.perf_counter() - start
        start = time.perf_counter()
        settings = ann._tune(shards, 0.95, None)
        tuned = time.perf_counter() - start
        (folder / "settings.json").write_text(json.dumps([ann.asdict(setting) for setting in settings]))
        exact = ExactIndex([s.n_passages for s in shards], lambda n: shards[n].vectors, vectors.shape[1])
        truth = best(exact.search(queries, K))
        n_bytes = sum(entry["files"]["ann.faiss"]["bytes"] for entry in entries if entry["index"])
        print(
            f"{len(vectors):,} × {vectors.shape[1]}, {len(shards)} shards, {len(queries)} queries; "
            f"built in {built:.0f} s, tuned in {tuned:.0f} s; ann.faiss {n_bytes / 1e6:.0f} MB in all; {settings[0]}\n"
        )
        print("| what | recall@10 | ms a query | resident MB | of flat's |\n|---|---|---|---|---|")
        results = {}
        for what in ("flat", "reread", "faiss"):
            subprocess.run([sys.executable, __file__, "0", name, what], check=True)
            results[what] = json.loads((folder / f"{what}.json").read_text())
        names = {"flat": "FAISS IndexFlatIP, float32", "reread": "reread ann", "faiss": "the same lists, no re-scoring"}
        for what, result in results.items():
            found = np.load(folder / f"{what}.npy")
            recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth, strict=False)])
            share = result["mb"] / results["flat"]["mb"]
            print(f"| {names[what]} | {recall:.3f} | {result['ms']:.3f} | {result['mb']:.0f} | {share:.1%} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["0"]:
        answer(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
