"""MMLU: Measuring Massive Multitask Language Understanding.

Hendrycks, Burns, Basart, Zou, Mazeika, Song, Steinhardt; arXiv 2009.03300; MIT.
Convention: 57 subjects, 14 042 test questions; base models see five dev exemplars of the same subject and
are scored by the likelihood of the letters; instruct models reason first and end with `Answer: LETTER`.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec, Hub

SPEC = BenchmarkSpec(
    name="mmlu",
    title="Measuring Massive Multitask Language Understanding",
    authors="Hendrycks et al.",
    arxiv="2009.03300",
    licence="MIT",
    kind="letter",
    hub=Hub("cais/mmlu", "all", {"test": "test", "dev": "dev", "validation": "validation"}),
    n_shots=5,
    forms=("letters", "cloze", "chat"),
    templates={
        "intro": "The following are multiple choice questions (with answers) about {subject}.",
        "cloze": "Question: {question}\nAnswer:",
    },
)
