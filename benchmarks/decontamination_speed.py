"""How fast decontamination is, beside a plain set of 13-word tuples and beside bare reading, in one run on one core.

Example: python benchmarks/decontamination_speed.py CORPUS.jsonl.gz mmlu:BENCHMARK.jsonl.gz
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from reread.benchmarks import load_benchmark
from reread.corpus import Rejects, read_documents
from reread.decontaminate import QuestionIndex

N = 13
WORD = re.compile(r"\w+")


def plain_grams(text: str) -> list[tuple[str, ...]]:
    """What most scripts do: lower-case words, all runs of 13."""
    words = WORD.findall(text.lower())
    return [tuple(words[i : i + N]) for i in range(len(words) - N + 1)]


def cpu_seconds(work: Callable[[], object], n_runs: int = 3) -> float:
    """Processor seconds of the fastest of several runs."""
    times = []
    for _ in range(n_runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def main(corpus: str, benchmark: str) -> None:
    questions = load_benchmark(benchmark).questions
    texts = [document.text for document in read_documents([corpus], rejects=Rejects())]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    wanted = {gram for question in questions for gram in plain_grams(question.text)}
    QuestionIndex(questions[:1]).find("compile first")
    began = time.process_time()
    index = QuestionIndex(questions, ngram=N)
    index_s = time.process_time() - began

    def read() -> None:
        with gzip.open(corpus, "rb") as file:
            for line in file:
                json.loads(line)

    rows = {
        "plain 13-word set": cpu_seconds(lambda: [any(gram in wanted for gram in plain_grams(text)) for text in texts]),
        "reread": cpu_seconds(lambda: [index.find(text) for text in texts]),
        "reading alone (gunzip, JSON)": cpu_seconds(read),
    }
    print(f"{Path(corpus).name}: {megabytes:.1f} MB of text; {len(questions)} questions, indexed in {index_s:.2f} s")
    for name, seconds in rows.items():
        print(f"{name:30s} {megabytes / seconds:8.1f} MB/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
