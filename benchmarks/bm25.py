"""BM25 beside bm25s and tantivy in one run: indexing, disk, memory and query time over the same real passages.

Passages: the corpora of the data folder in chunks of 100 words, at most 200,000. Queries: 1,000 questions of NQ-open.
One thread each. Every index is made in a process of its own, so that its peak memory is its own; queries are timed
in one process, the systems in turn, the best of several rounds. CPU seconds count, as other jobs may hold the cores.

Example: python benchmarks/bm25.py            (another number of passages: python benchmarks/bm25.py 50000)
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
N_PASSAGES = 200_000
N_QUERIES = 1000
CHUNK_WORDS = 100
SHARD_PASSAGES = 100_000
ROUNDS = 3
SYSTEMS = ("reread", "bm25s", "tantivy")
STEMMED = "english"


def make_passages(path: Path, n: int) -> int:
    """Writes an Arrow file of titles and texts; returns how many."""
    import pyarrow as pa

    from reread.corpus import Rejects, chunk, read_documents

    titles: list[str] = []
    texts: list[str] = []
    for file in sorted((DATA / "corpora").glob("*.jsonl.gz")):
        for document in read_documents([str(file)], rejects=Rejects()):
            for passage in chunk(document, CHUNK_WORDS, 0):
                titles.append(passage.title)
                texts.append(passage.text)
    table = pa.table({"title": titles[:n], "text": texts[:n]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return len(table)


def read_passages(path: Path) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()


def joined(table: Any) -> list[str]:
    pairs = zip(table.column("title").to_pylist(), table.column("text").to_pylist(), strict=True)
    return [text if not title or text.startswith(title) else f"{title}\n{text}" for title, text in pairs]


def index_reread(passages: Path, folder: Path) -> Callable[[], None]:
    from reread.datastore.lexical import LexicalWriter

    warm = LexicalWriter()
    warm.add_many(["compile first é"])
    warm.write(folder / "warm")
    table = read_passages(passages)

    def index() -> None:
        for number, first in enumerate(range(0, len(table), SHARD_PASSAGES)):
            writer = LexicalWriter()
            for batch in table.slice(first, SHARD_PASSAGES).to_batches(max_chunksize=1024):
                writer.add_arrow(batch.column("title"), batch.column("text"))
            writer.write(folder / "shards" / f"{number:05d}")

    return index


def index_bm25s(passages: Path, folder: Path) -> Callable[[], None]:
    import bm25s
    import Stemmer

    texts = joined(read_passages(passages))
    stemmer = Stemmer.Stemmer(STEMMED)

    def index() -> None:
        tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
        made = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
        made.index(tokens, show_progress=False)
        made.save(str(folder / "index"))

    return index


def index_tantivy(passages: Path, folder: Path) -> Callable[[], None]:
    import tantivy

    texts = joined(read_passages(passages))
    schema = tantivy.SchemaBuilder()
    schema.add_unsigned_field("number", stored=True)
    schema.add_text_field("text", tokenizer_name="en_stem")
    (folder / "index").mkdir(parents=True)
    made = tantivy.Index(schema.build(), path=str(folder / "index"))

    def index() -> None:
        writer = made.writer(heap_size=512 << 20, num_threads=1)
        for number, text in enumerate(texts):
            writer.add_document(tantivy.Document(number=number, text=text))
        writer.commit()
        writer.wait_merging_threads()

    return index


INDEXERS = {"reread": index_reread, "bm25s": index_bm25s, "tantivy": index_tantivy}


def memory_mb(field: str) -> float:
    """VmRSS (memory held now) or VmHWM (its peak) of this process; files that are mapped count too."""
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def index_here(system: str, passages: Path, folder: Path) -> None:
    """In a process of its own: makes the index, prints CPU and wall seconds and the memory it took."""
    work = INDEXERS[system](passages, folder)
    # The peak counts from here on: reading the passages and compiling are not part of it.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_mb("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "took_mb": memory_mb("VmHWM") - before}))


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def search_reread(folder: Path) -> Callable[[Sequence[str], int], object]:
    from reread.datastore.bm25 import best_rows, weigh_queries
    from reread.datastore.lexical import LexicalShard

    shards = [LexicalShard(path) for path in sorted((folder / "shards").iterdir())]
    n = sum(len(shard.lengths) for shard in shards)
    average = sum(int(shard.lengths.sum()) for shard in shards) / n

    def search(queries: Sequence[str], k: int) -> object:
        return best_rows(shards, weigh_queries(queries, shards, n), average, k)

    return search


def search_bm25s(folder: Path) -> Callable[[Sequence[str], int], object]:
    import bm25s
    import Stemmer

    made = bm25s.BM25.load(str(folder / "index"), backend="numba")
    made.activate_numba_scorer()
    stemmer = Stemmer.Stemmer(STEMMED)

    def search(queries: Sequence[str], k: int) -> object:
        tokens = bm25s.tokenize(list(queries), stopwords="en", stemmer=stemmer, show_progress=False)
        return made.retrieve(tokens, k=k, n_threads=1, show_progress=False)

    return search


def search_tantivy(folder: Path) -> Callable[[Sequence[str], int], object]:
    import tantivy

    made = tantivy.Index.open(str(folder / "index"))
    searcher = made.searcher()

    def search(queries: Sequence[str], k: int) -> object:
        found = []
        for query in queries:
            words = " ".join(re.findall(r"\w+", query.lower()))
            found.append(searcher.search(made.parse_query(words, ["text"]), k, count=False).hits)
        return found

    return search


SEARCHERS = {"reread": search_reread, "bm25s": search_bm25s, "tantivy": search_tantivy}


def main(n: int) -> None:
    with gzip.open(DATA / "benchmarks" / "nq_open.jsonl.gz", "rt", encoding="utf-8") as lines:
        queries = [json.loads(line)["question"] for line, _ in zip(lines, range(N_QUERIES), strict=False)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        passages = folder / "passages.arrow"
        n = make_passages(passages, n)
        megabytes = sum(len(text.encode()) for text in joined(read_passages(passages))) / 1e6
        print(
            f"{n:,} passages of up to {CHUNK_WORDS} words ({megabytes:.0f} MB of text with titles), one thread; "
            "memory: what indexing adds to the process that holds the passages\n"
        )
        print("| | passages/s (CPU) | MB/s (CPU) | CPU s | wall s | peak memory, MB | bytes a passage |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for system in SYSTEMS:
            command = [sys.executable, __file__, "--index", system, str(passages), str(folder / system)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            took = json.loads(said.splitlines()[-1])
            size = folder_bytes(folder / system / ("shards" if system == "reread" else "index"))
            print(
                f"| {system} | {n / took['cpu_s']:,.0f} | {megabytes / took['cpu_s']:.0f} | {took['cpu_s']:.1f} "
                f"| {took['wall_s']:.1f} | {took['took_mb']:.0f} | {size / n:.0f} |"
            )
        best: dict[tuple[str, str, int], float] = {}
        searchers = {system: SEARCHERS[system](folder / system) for system in SYSTEMS}
        for search in searchers.values():
            search(queries[:10], 10)
        for _ in range(ROUNDS):
            for k in (10, 100):
                for system, search in searchers.items():
                    began = time.process_time()
                    search(queries, k)
                    together = time.process_time() - began
                    began = time.process_time()
                    for query in queries:
                        search([query], k)
                    alone = time.process_time() - began
                    for how, seconds in (("batch", together), ("alone", alone)):
                        key = (system, how, k)
                        best[key] = min(best.get(key, 1e9), 1000 * seconds / len(queries))
    print(f"\nCPU milliseconds a query, {len(queries)} questions of NQ-open, ids only, best of {ROUNDS} rounds:\n")
    print("| | batch, k = 10 | batch, k = 100 | one by one, k = 10 | one by one, k = 100 |\n|---|---:|---:|---:|---:|")
    for system in SYSTEMS:
        cells = " | ".join(f"{best[system, how, k]:.3f}" for how in ("batch", "alone") for k in (10, 100))
        print(f"| {system} | {cells} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--index"]:
        index_here(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else N_PASSAGES)
