"""Chunking: speed by unit, and the sentence splitter beside pysbd and syntok on the same real texts, in one run.

Agreement is the F1 of sentence ends within lines (ends of lines are each splitter's own convention).

    python benchmarks/chunking.py

Reads REREAD_DATA or ../shared/data; the peers are `pip install pysbd syntok`, left out where they are not installed.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from reread.corpus.chunk import ChunkUnit, chunk
from reread.corpus.sentences import sentence_spans
from reread.types import Document

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
SAMPLE_CHARS = 6000


def texts() -> dict[str, list[str]]:
    found = {}
    for path in sorted((DATA / "corpora").glob("*.jsonl.gz")):
        with gzip.open(path) as file:
            found[path.name] = [json.loads(line)["text"] for number, line in enumerate(file) if number % 10 == 0]
    return found


def best_of(n: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def splitters() -> dict[str, Callable[[str], set[int]]]:
    found: dict[str, Callable[[str], set[int]]] = {"reread": lambda text: {end for _, end in sentence_spans(text)}}
    try:
        import pysbd

        segmenter = pysbd.Segmenter(language="en", clean=False, char_span=True)
        found["pysbd"] = lambda text: {len(text[: span.end].rstrip()) for span in segmenter.segment(text)}
    except ImportError:
        pass
    try:
        from syntok import segmenter as syntok

        def ends(text: str) -> set[int]:
            last = [list(sentence)[-1] for paragraph in syntok.analyze(text) for sentence in paragraph]
            return {token.offset + len(token.value) for token in last}

        found["syntok"] = ends
    except ImportError:
        pass
    return found


def within_lines(text: str, ends: set[int]) -> set[int]:
    return {end for end in ends if 0 < end < len(text) and not text[end : end + 3].lstrip(" ").startswith("\n")}


def main() -> None:
    by_file = texts()
    documents = [Document("d", text, "f") for group in by_file.values() for text in group]
    n_bytes = sum(len(document.text.encode()) for document in documents)
    print(f"{len(documents):,} documents, {n_bytes / 1e6:.1f} MB; passages of 256 words\n")
    print("| unit | overlap | passages | MB/s |\n|---|---:|---:|---:|")
    settings: list[tuple[ChunkUnit, int]] = [("words", 0), ("words", 32), ("sentences", 0), ("sentences", 32)]
    for unit, overlap in settings:
        passages = [len(list(chunk(document, 256, overlap, unit))) for document in documents]
        seconds = best_of(3, lambda u=unit, o=overlap: [list(chunk(d, 256, o, u)) for d in documents])  # type: ignore[misc]
        print(f"| {unit} | {overlap} | {sum(passages):,} | {n_bytes / 1e6 / seconds:.1f} |")
    draw = random.Random(0)
    sample = [t[:SAMPLE_CHARS] for group in by_file.values() for t in draw.sample(group, min(6, len(group)))]
    sample_bytes = sum(len(text.encode()) for text in sample)
    rivals = splitters()
    ends = {name: [within_lines(t, split(t)) for t in sample] for name, split in rivals.items()}
    print(f"\n{len(sample)} texts of at most {SAMPLE_CHARS:,} characters\n")
    print("| splitter | MB/s | ends within lines | " + " | ".join(f"agreement with {name}" for name in rivals) + " |")
    print("|---|---:|---:|" + "---:|" * len(rivals))
    for name, split in rivals.items():
        seconds = best_of(1 if name == "pysbd" else 3, lambda s=split: [s(text) for text in sample])  # type: ignore[misc]
        counts = sum(map(len, ends[name]))
        cells = []
        for other in rivals:
            both = sum(len(a & b) for a, b in zip(ends[name], ends[other], strict=True))
            cells.append(f"{2 * both / (counts + sum(map(len, ends[other]))):.3f}")
        print(f"| {name} | {sample_bytes / 1e6 / seconds:.2f} | {counts:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
