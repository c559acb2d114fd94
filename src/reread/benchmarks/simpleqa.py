"""SimpleQA: Measuring short-form factuality in large language models.

Wei, Karina, Chung, et al.; arXiv 2411.04368; MIT.
Convention: a grader model says CORRECT, INCORRECT or NOT_ATTEMPTED (scoring/simpleqa.py); without a grader,
exact match and F1 by SQuAD's rules stand in and are named so.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec, Hub

SPEC = BenchmarkSpec(
    name="simpleqa",
    title="Measuring short-form factuality in large language models",
    authors="Wei et al.",
    arxiv="2411.04368",
    licence="MIT",
    kind="short",
    hub=Hub("basicv8vc/SimpleQA"),
    forms=("chat", "short"),
    templates={"short": "Question: {question}\nAnswer:"},
    grader="simpleqa",
)
