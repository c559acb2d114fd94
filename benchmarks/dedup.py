"""Near-duplicates: what `reread dedup` finds beside datasketch and brute force, how fast, and in how much memory.

Three tables, in Markdown. (1) Quality: documents that an exact greedy pass would drop (Jaccard of word 5-grams at
least 0.8 to an earlier one that stays), on real passages as they are and with planted edits; recall and precision of
reread and of datasketch's MinHashLSH as its documentation uses it (128 permutations, candidates taken as duplicates)
and with candidates checked by its own estimate. (2) Speed, both on the same texts in turns, one thread, best of two.
(3) Peak memory of `dedup_corpus` over generated corpora of growing size, each in a process of its own.

    python benchmarks/dedup.py [--largest 1000000]

Reads REREAD_DATA or ../shared/data; the peer is `pip install datasketch`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from reread.corpus.dedup.cluster import decide
from reread.corpus.dedup.sketch import SketchSettings, band_keys, content_key, normalise, shingles, sketch

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
THRESHOLD = 0.8
EDITS = (0.01, 0.02, 0.05, 0.10, 0.20)


def texts_of(*names: str) -> list[str]:
    found = []
    for name in names:
        with gzip.open(DATA / "corpora" / f"{name}.jsonl.gz") as file:
            found += [json.loads(line)["text"] for line in file]
    return found


def edited(text: str, share: float, draw: random.Random) -> str:
    words = text.split()
    for place in draw.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = f"edit{draw.randrange(10**6)}"
    return " ".join(words)


def grams_of(texts: Sequence[str]) -> list[set[str]]:
    return [{gram for grams in shingles(normalise(text), 5) for gram in grams} for text in texts]


def similar_pairs(sets: Sequence[set[str]]) -> list[list[tuple[int, float]]]:
    """Of each document the earlier ones with a Jaccard similarity of at least THRESHOLD, exactly, by brute force."""
    from scipy.sparse import csr_matrix

    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(gram, len(numbers)) for grams in sets for gram in grams]
    ends = np.concatenate(([0], np.cumsum([len(grams) for grams in sets])))
    matrix = csr_matrix((np.ones(len(columns), dtype=np.int32), columns, ends), shape=(len(sets), len(numbers)))
    sizes = np.diff(ends)
    found: list[list[tuple[int, float]]] = []
    for first in range(0, len(sets), 500):
        block = (matrix[first : first + 500] @ matrix.T).tocsr()
        for row in range(block.shape[0]):
            others = block.indices[block.indptr[row] : block.indptr[row + 1]]
            shared = block.data[block.indptr[row] : block.indptr[row + 1]]
            similarity = shared / (sizes[first + row] + sizes[others] - shared)
            chosen = (others < first + row) & (similarity >= THRESHOLD)
            found.append(sorted(zip(others[chosen].tolist(), similarity[chosen].tolist(), strict=True)))
    return found


def greedy(pairs: Sequence[Sequence[tuple[int, float]]]) -> set[int]:
    dropped: set[int] = set()
    for document, earlier in enumerate(pairs):
        if any(other not in dropped for other, _ in earlier):
            dropped.add(document)
    return dropped


def by_reread(texts: Sequence[str]) -> set[int]:
    chosen = SketchSettings(THRESHOLD)
    normal = [normalise(text) for text in texts]
    keys = np.array([np.frombuffer(content_key(text), dtype="<u8") for text in normal])
    sketches = sketch(normal, chosen)
    decisions = decide(keys, sketches, band_keys(sketches, *chosen.bands), THRESHOLD)
    return set(np.flatnonzero(decisions["kept"] >= 0).tolist())


def by_datasketch(texts: Sequence[str], checked: bool = False) -> set[int]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    dropped = set()
    kept = {}
    for number, text in enumerate(texts):
        grams = [gram.encode() for part in shingles(normalise(text), 5) for gram in part]
        signature = MinHash(num_perm=128, seed=1)
        if grams:
            signature.update_batch(grams)
        similar = index.query(signature)
        if checked:
            similar = [key for key in similar if kept[key].jaccard(signature) >= THRESHOLD]
        if similar:
            dropped.add(number)
        else:
            index.insert(number, signature)
            kept[number] = signature
    return dropped


METHODS: dict[str, Callable[[Sequence[str]], set[int]]] = {
    "reread (256, checked)": by_reread,
    "datasketch (128)": by_datasketch,
    "datasketch (128, checked)": lambda texts: by_datasketch(texts, checked=True),
}


def quality() -> None:
    draw = random.Random(0)
    long = [t for t in texts_of("wikipedia_passages", "medquad") if 80 <= len(t.split()) <= 600]
    originals = draw.sample(long, 1500)
    planted = [*originals, *(edited(text, share, draw) for share in EDITS for text in originals)]
    header, footer = (" ".join(draw.sample(long, 1)[0].split()[:60]) for _ in range(2))
    boilerplate = [f"{header} {text} {footer}" for text in draw.sample(long, 1500)]
    samples = {
        "Wikipedia passages, as they are": texts_of("wikipedia_passages"),
        f"1,500 real texts and {len(EDITS)} edits of each": planted,
        "1,500 real texts with a shared header and footer": boilerplate,
    }
    print("| sample | documents | duplicates (exact greedy) | method | found | recall | precision |")
    print("|---|---:|---:|---|---:|---:|---:|")
    planted_found = {}
    for name, texts in samples.items():
        # Documents too short for a 5-gram are compared as wholes.
        sets = [grams or {normalise(text)} for text, grams in zip(texts, grams_of(texts), strict=True)]
        pairs = similar_pairs(sets)
        truth = greedy(pairs)
        for method, run in METHODS.items():
            found = run(texts)
            if texts is planted:
                planted_found[method] = found
            recall = f"{len(found & truth) / len(truth):.3f}" if truth else "–"
            precision = f"{len(found & truth) / len(found):.3f}" if found else "–"
            print(f"| {name} | {len(texts):,} | {len(truth):,} | {method} | {len(found):,} | {recall} | {precision} |")
    sets = grams_of(planted)
    print("\n| words edited | Jaccard, mean | at least 0.8 | " + " | ".join(f"dropped by {m}" for m in METHODS) + " |")
    print("|---:|---:|---:|" + "---:|" * len(METHODS))
    n = len(originals)
    for step, share in enumerate(EDITS, 1):
        copies = range(step * n, (step + 1) * n)
        similarity = [len(sets[c] & sets[c - step * n]) / len(sets[c] | sets[c - step * n]) for c in copies]
        cells = [f"{np.mean([c in planted_found[m] for c in copies]):.3f}" for m in METHODS]
        above = np.mean(np.array(similarity) >= THRESHOLD)
        print(f"| {share:.0%} | {np.mean(similarity):.3f} | {above:.3f} | {' | '.join(cells)} |")


def speed() -> None:
    texts = texts_of("wikipedia_passages", "planetmath")
    n_bytes = sum(len(text.encode()) for text in texts)
    by_reread(texts[:50])
    rivals = {
        "reread (256 permutations)": by_reread,
        "datasketch (128 permutations)": by_datasketch,
    }
    best = dict.fromkeys(rivals, float("inf"))
    for _ in range(2):
        for name, run in rivals.items():
            start = time.perf_counter()
            run(texts)
            best[name] = min(best[name], time.perf_counter() - start)
    print(f"\n{len(texts):,} documents, {n_bytes / 1e6:.1f} MB, one thread, texts in memory to decisions:\n")
    print("| | seconds | documents/s | MB/s |\n|---|---:|---:|---:|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} | {len(texts) / seconds:,.0f} | {n_bytes / 1e6 / seconds:.1f} |")


def write_generated(path: Path, n: int) -> int:
    """Documents of 60 words, one in five an edit of an earlier one; returns the bytes of text."""
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}{d}" for a in "bdfgklmnpr" for b in "aeiou" for c in "bdfgklmnpr" for d in "aeiou"])
    n_bytes = 0
    earlier: list[str] = []
    with path.open("w") as file:
        for first in range(0, n, 1000):
            for number, row in enumerate(words[rng.integers(0, len(words), (min(1000, n - first), 60))]):
                if number % 5 == 4 and len(earlier) > 10:
                    copy = earlier[int(rng.integers(len(earlier)))].split()
                    copy[int(rng.integers(60))] = "edited"
                    text = " ".join(copy)
                else:
                    text = " ".join(row.tolist())
                    if number % 50 == 0:
                        earlier.append(text)
                n_bytes += len(text)
                file.write(f'{{"id": "{first + number}", "text": "{text}"}}\n')
    return n_bytes


def measured_run(source: Path, out: Path) -> None:
    """One run in this process; prints its figures as JSON."""
    from reread.corpus.dedup import dedup_corpus

    peak = {"RssAnon": 0, "VmRSS": 0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for line in Path("/proc/self/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if key in peak:
                    peak[key] = max(peak[key], int(value.split()[0]) // 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    summary = dedup_corpus([str(source)], out)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    print(json.dumps({**peak, "seconds": seconds, "near": summary["n_near"], "exact": summary["n_exact"]}))


def memory(largest: int) -> None:
    print(
        "\n| documents | MB of text | seconds, files to files | documents/s | near "
        "| peak MB, anonymous | with mapped files |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    n = 10_000
    while n <= largest:
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder) / "in.jsonl", Path(folder) / "out"
            n_bytes = write_generated(source, n)
            command = [sys.executable, __file__, "--run", str(source), str(out)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(result.stdout)
            print(
                f"| {n:,} | {n_bytes / 1e6:.0f} | {row['seconds']:.1f} | {n / row['seconds']:,.0f} | {row['near']:,} | "
                f"{row['RssAnon']} | {row['VmRSS']} |",
                flush=True,
            )
        n *= 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=1_000_000, help="documents of the largest generated corpus")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        measured_run(Path(arguments.run[0]), Path(arguments.run[1]))
        return
    quality()
    speed()
    memory(arguments.largest)


if __name__ == "__main__":
    main()
