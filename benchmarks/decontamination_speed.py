"""How fast decontamination is, beside a plain set of 13-word tuples, datatrove's filter and bare reading, in one run on
one core. Figures are megabytes of text a processor second; the fastest of three runs in turn.

Example: python benchmarks/decontamination_speed.py CORPUS.jsonl.gz mmlu:BENCHMARK.jsonl.gz --datatrove VENV/bin/python
(how to make that VENV: decontamination_datatrove.py)
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import decontamination_planted as planted

from reread.benchmarks import load_benchmark
from reread.corpus import Rejects, read_documents
from reread.decontaminate import QuestionIndex
from reread.decontaminate.tokens import tokenize

N = 13
N_RUNS = 3
DATATROVE_MEGABYTES = 5
"""It is far slower than the rest, so it gets a part of the text."""
WORD = re.compile(r"\w+")


def plain_grams(text: str) -> list[tuple[str, ...]]:
    """What most scripts do: lower-case words, all runs of 13."""
    words = WORD.findall(text.lower())
    return [tuple(words[i : i + N]) for i in range(len(words) - N + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("benchmark", nargs="+")
    parser.add_argument("--datatrove", help="a Python that has datatrove; left out without")
    asked = parser.parse_args()
    questions = [question for name in asked.benchmark for question in load_benchmark(name).questions]
    texts = [document.text for document in read_documents([asked.corpus], rejects=Rejects())]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    wanted = {gram for question in questions for gram in plain_grams(question.text)}
    QuestionIndex(questions[:1], fuzzy=True).find("compile first " * 9)
    began = time.process_time()
    index = QuestionIndex(questions, ngram=N)
    index_s = time.process_time() - began
    near = QuestionIndex(questions, ngram=N, fuzzy=True)

    def read() -> None:
        with gzip.open(asked.corpus, "rb") as file:
            for line in file:
                json.loads(line)

    rows: dict[str, Callable[[], object]] = {
        "plain 13-word set": lambda: [any(gram in wanted for gram in plain_grams(text)) for text in texts],
        "reread": lambda: [index.find(text) for text in texts],
        "reread, fuzzy too": lambda: [near.find(text) for text in texts],
        "reread's tokens alone": lambda: [tokenize(text) for text in texts],
        "reading alone (gunzip, JSON)": read,
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(N_RUNS):
        for name, work in rows.items():
            began = time.process_time()
            work()
            seconds[name].append(time.process_time() - began)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{Path(asked.corpus).name}: {megabytes:.1f} MB of text; {len(questions)} questions, indexed in {index_s:.2f} s"
    )
    print(f"most memory of the whole process, all indexes and texts in it: {gigabytes:.2f} GiB")
    for name in rows:
        print(f"{name:30s} {megabytes / min(seconds[name]):8.1f} MB/s")
    if asked.datatrove:
        part, size = [], 0
        for text in texts:
            if size < DATATROVE_MEGABYTES * 1e6:
                part.append(text)
                size += len(text.encode())
        taken = planted.run_datatrove(asked.datatrove, questions, part, stems=True)["seconds"]
        print(f"{'datatrove (' + f'{size / 1e6:.1f} MB of it)':30s} {size / 1e6 / taken:8.1f} MB/s")


if __name__ == "__main__":
    main()
