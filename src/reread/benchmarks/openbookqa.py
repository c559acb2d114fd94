"""OpenBookQA: Can a Suit of Armor Conduct Electricity?

Mihaylov, Clark, Khot, Sabharwal; arXiv 1809.02789; Apache-2.0.
Convention: likelihood of the option text after the bare question stem, normalised by its length.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec, Hub

SPEC = BenchmarkSpec(
    name="openbookqa",
    title="Can a Suit of Armor Conduct Electricity? A New Dataset for Open Book Question Answering",
    authors="Mihaylov et al.",
    arxiv="1809.02789",
    licence="Apache-2.0",
    kind="letter",
    hub=Hub("allenai/openbookqa", "main", {"test": "test", "train": "train", "validation": "validation"}),
    n_shots=0,
    forms=("cloze", "letters", "chat"),
)
