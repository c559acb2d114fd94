"""Approximate vector search: recall, speed and resident memory beside FAISS flat, exact search and FAISS IVF-PQ.

    python benchmarks/ann.py [VECTORS.npz]

400,000 generated clustered vectors of 384 dimensions in a store of four shards (or X float16 (n, d) and Q float32
(q, d) of the file given, such as a real model's), indexed by `add_ann` as `reread build --ann` does, searched by
`Datastore.search`, 1,000 queries. Every searcher has a process of its own. Its memory is what /proc says is resident
after the queries, less what was resident before it opened anything, its libraries and its compiled loops loaded:
anonymous (RssAnon), and pages of mapped files (RssFile), which the system takes back when memory is short. About two
minutes on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from exact_search import made

SHARD_ROWS, QUERIES, K = 100_000, 1000, 10
AT_ONCE = 200
ALONE = 100
"""Queries asked one at a time."""
WARM_UP = 12_000
"""Passages of the small store whose search loads all code before memory is counted."""
SEARCHERS = {
    "flat": "FAISS IndexFlatIP, float32",
    "exact": "reread exact",
    "ann": "reread ann",
    "ivfpq": "FAISS IVF-PQ, no re-scoring",
}


class Given:
    """The embedder of texts that are the numbers of vectors made before."""

    spec = "benchmark:given"

    def __init__(self, vectors: np.ndarray, queries: np.ndarray) -> None:
        self.vectors, self.queries = vectors, queries

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self.vectors[[int(text) for text in texts]].astype(np.float32)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self.queries[[int(text) for text in texts]]


def make_store(folder: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    from reread.datastore import build
    from reread.types import Document

    documents = (Document(id=str(i), text=str(i), source="made") for i in range(len(vectors)))
    build([], folder, documents=documents, embedder=Given(vectors, queries), shard_passages=SHARD_ROWS)


def make_peers(folder: Path, vectors: np.ndarray, probed_share: float) -> tuple[str, float]:
    """Writes flat.faiss and ivfpq.faiss; returns what the latter is and the seconds that it took.

    IVF-PQ is one index over everything, of FAISS's fastest codes: reread's settings (lists by the number of vectors,
    two bits a dimension, the share of the lists visited), so that re-scoring is what differs. Eight-bit codes of as
    many bytes took FAISS over 90 seconds to train for 100,000 vectors on two cores, too long for this script.
    """
    import faiss

    n, dimension = vectors.shape
    flat = faiss.IndexFlatIP(dimension)
    for first in range(0, n, 10_000):
        flat.add(vectors[first : first + 10_000].astype(np.float32))
    faiss.write_index(flat, str(folder / "flat.faiss"))
    start = time.perf_counter()
    n_lists = int(2 ** round(np.log2(1.6 * np.sqrt(n))))
    kind = f"IVF{n_lists},PQ{dimension // 2}x4fs"
    index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.train(vectors[np.sort(np.random.default_rng(0).choice(n, min(n, 40 * n_lists), replace=False))].astype("f4"))
    for first in range(0, n, 50_000):
        index.add(vectors[first : first + 50_000].astype(np.float32))
    index.nprobe = max(1, round(probed_share * n_lists))
    faiss.write_index(index, str(folder / "ivfpq.faiss"))
    return f"{kind}, {index.nprobe} lists visited", time.perf_counter() - start


def resident_mb() -> np.ndarray:
    """Anonymous and file-backed megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kb = dict(line.split()[:2] for line in lines if line.startswith(("RssAnon", "RssFile")))
    return np.array([int(kb["RssAnon:"]), int(kb["RssFile:"])]) * 1024 / 1e6


def answer(folder: Path, what: str) -> None:
    """In a process of its own: memory, milliseconds a query and the passages found, as files."""
    import faiss

    from reread.datastore import Datastore

    queries = np.load(folder / "queries.npy")
    given = Given(np.empty((0, 0)), queries)

    def search(store: Datastore, some: range) -> np.ndarray:
        found = store.search([str(i) for i in some], K, what)
        return np.array([[int(hit.passage.id.split(":")[0]) for hit in hits] for hits in found])

    if what in ("exact", "ann"):
        search(Datastore.open(folder / "small", given), range(AT_ONCE))
    before = resident_mb()
    if what in ("exact", "ann"):
        store = Datastore.open(folder / "store", given)
        run = lambda some: search(store, some)  # noqa: E731
    else:
        index = faiss.read_index(str(folder / f"{what}.faiss"))
        run = lambda some: index.search(queries[some.start : some.stop], K)[1]  # noqa: E731
    run(range(10))
    opened = resident_mb()
    start = time.perf_counter()
    rows = np.concatenate([run(range(i, min(i + AT_ONCE, len(queries)))) for i in range(0, len(queries), AT_ONCE)])
    together = (time.perf_counter() - start) / len(queries) * 1000
    start = time.perf_counter()
    for i in range(ALONE):
        run(range(i, i + 1))
    alone = (time.perf_counter() - start) / ALONE * 1000
    mb = resident_mb()
    np.save(folder / f"{what}.npy", rows)
    (folder / f"{what}.json").write_text(
        json.dumps(
            {
                "together": together,
                "alone": alone,
                "opened": (opened - before).tolist(),
                "mb": (mb - before).tolist(),
                "whole": mb.sum(),
            }
        )
    )


def main() -> None:
    from reread.datastore.ann import add_ann

    if len(sys.argv) > 1:
        file = np.load(sys.argv[1])
        vectors, queries = file["X"], file["Q"].astype(np.float32)
    else:
        vectors, queries = made(QUERIES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "queries.npy", queries)
        make_store(folder / "small", vectors[:WARM_UP], queries)
        add_ann(folder / "small")
        make_store(folder / "store", vectors, queries)
        start = time.perf_counter()
        indexed: list[float] = []
        report = add_ann(folder / "store", progress=lambda *_: indexed.append(time.perf_counter() - start))
        tuned = time.perf_counter() - start - indexed[-1]
        peer, peer_s = make_peers(folder, vectors, report.settings[0].probed_share)
        flat_mb = vectors.size * 4 / 1e6
        results, found = {}, {}
        for what in SEARCHERS:
            subprocess.run([sys.executable, __file__, "--answer", name, what], check=True)
            results[what] = json.loads((folder / f"{what}.json").read_text())
            found[what] = np.load(folder / f"{what}.npy")
        print(
            f"{len(vectors):,} × {vectors.shape[1]}, {report.n_indexed} shards, {len(queries)} queries. add_ann: "
            f"indexed in {indexed[-1]:.0f} s, tuned in {tuned:.0f} s, {report.n_bytes / 1e6:.0f} MB on disk; visits "
            f"{report.settings[0].probed_share:.1%} of the lists, scores {report.settings[0].depth} candidates. "
            f"FAISS's IVF-PQ: {peer}, made in {peer_s:.0f} s.\n"
        )
        print(
            f"| what | recall@10 | ms a query, {AT_ONCE} at once | one at a time | anonymous MB, after 10 queries | "
            f"after all | file-backed MB | resident, of the flat index' {flat_mb:.0f} MB | whole process MB |\n"
            "|---|---|---|---|---|---|---|---|---|"
        )
        for what, result in results.items():
            recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found[what], found["exact"], strict=True)])
            print(
                f"| {SEARCHERS[what]} | {recall:.3f} | {result['together']:.2f} | {result['alone']:.2f} | "
                f"{result['opened'][0]:.1f} | {result['mb'][0]:.1f} | {result['mb'][1]:.1f} | "
                f"{sum(result['mb']) / flat_mb:.1%} | {result['whole']:.0f} |"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        answer(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
