"""Builds of 10,000 to 1,000,000 passages with BM25: speed, memory, disk, and time a query.

    python benchmarks/build_scale.py [--sizes 10000,100000,1000000] [--workers 1] [--queries 200]

The corpus is generated worlds of 50,000 documents with different seeds, one JSON line a document, written beforehand
to a temporary folder and deleted at the end. Each build runs in a process of its own. Memory is the largest sum, over
that process and its children, of anonymous resident memory (files mapped into memory are not in it, as the system may
drop them at any time); it is sampled every 20 ms from /proc, so Linux only. Time a query: k = 10, one query a call,
scoring and reading the ten passages, in a process that has just opened the store; the median of three rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WORLD_ARTICLES = 33_334
"""With its exercise pages, 50,001 documents."""

BUILD = """
import json, sys, time
from pathlib import Path
from reread.datastore import build
if __name__ == "__main__":
    start = time.perf_counter()
    report = build([sys.argv[1]], Path(sys.argv[2]), workers=int(sys.argv[3]))
    count = {"passages": report.n_passages, "shards": report.n_shards}
    print(json.dumps({"seconds": time.perf_counter() - start, **count}))
"""

SEARCH = """
import json, statistics, sys, time
from pathlib import Path
from reread.datastore import Datastore
store = Datastore.open(Path(sys.argv[1]))
queries = json.loads(Path(sys.argv[2]).read_text())
store.search(queries[:3], 10)
rounds = []
for _ in range(3):
    start = time.perf_counter()
    for query in queries:
        store.search([query], 10)
    rounds.append((time.perf_counter() - start) / len(queries))
print(json.dumps({"query_s": statistics.median(rounds)}))
"""


def corpus_lines(n: int) -> Iterator[str]:
    """n documents of worlds with the seeds 0, 1, 2 ...; ids carry the seed."""
    from reread.world import World
    from reread.world.write import document_row

    seed = 0
    while n > 0:
        for document in World(seed, WORLD_ARTICLES).documents():
            row = document_row(document)
            yield json.dumps({**row, "id": f"{seed}-{row['id']}"}, ensure_ascii=False) + "\n"
            n -= 1
            if n == 0:
                return
        seed += 1


def anonymous_bytes(pid: int) -> int:
    """Of a process and its descendants."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += 1024 * int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += anonymous_bytes(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def run_measured(script: str, folder: Path, *arguments: object) -> tuple[dict[str, float], int]:
    """What the script printed, and the most anonymous memory it held."""
    path = folder / "script.py"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(path), *map(str, arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(0.02)
    assert process.stdout is not None
    printed = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{path.name} failed with code {process.returncode}")
    return json.loads(printed), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {size: (folder / f"{size}.jsonl").open("w", encoding="utf-8") for size in sizes}
        for number, line in enumerate(corpus_lines(max(sizes))):
            for size, file in files.items():
                if number < size:
                    file.write(line)
        for file in files.values():
            file.close()
        from reread.world import World

        questions = [question.text for question in World(0, WORLD_ARTICLES).questions("world", options.queries)]
        (folder / "queries.json").write_text(json.dumps(questions))
        columns = ("documents", "passages", "shards", "seconds", "passages/s", "peak memory")
        print("|", " | ".join([*columns, "corpus bytes a passage", "bytes a passage", "ms a query"]), "|")
        print("|---:" * 9 + "|")
        for size in sizes:
            corpus, store = folder / f"{size}.jsonl", folder / f"store-{size}"
            built, peak = run_measured(BUILD, folder, corpus, store, options.workers)
            searched, _ = run_measured(SEARCH, folder, store, folder / "queries.json")
            n_bytes = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
            n = built["passages"]
            print(
                f"| {size:,} | {n:,} | {built['shards']} | {built['seconds']:.1f} | {n / built['seconds']:,.0f} | "
                f"{peak / 1e6:,.0f} MB | {corpus.stat().st_size / n:.0f} | {n_bytes / n:.0f} | "
                f"{1000 * searched['query_s']:.2f} |",
                flush=True,
            )
            shutil.rmtree(store)
            corpus.unlink()


if __name__ == "__main__":
    main()
