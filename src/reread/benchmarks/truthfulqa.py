"""TruthfulQA (MC1): Measuring How Models Mimic Human Falsehoods.

Lin, Hilton, Evans; arXiv 2109.07958; Apache-2.0.
Convention: one right option among the MC1 targets, by likelihood. The published lists put the right option
first, so they are ordered here by a hash of their content. The number of options differs by question, and
so does chance.
"""

from __future__ import annotations

from collections.abc import Mapping

from reread.benchmarks.parse import choice_question, parse_choice
from reread.benchmarks.spec import BenchmarkSpec, Hub, Row, RowError
from reread.questions import LETTERS
from reread.types import Question


def parse_truthfulqa(row: Row, spec: BenchmarkSpec) -> Question:
    """MC1 targets as {option: 0 or 1} or as {choices, labels}; or our own field names."""
    targets = row.get("mc1_targets")
    if targets is None:
        return parse_choice(row, spec)
    if not isinstance(targets, Mapping):
        raise RowError("mc1_targets", "expected {option: 0 or 1} or {choices, labels}")
    if "labels" in targets:
        labelled = list(zip(targets["choices"], targets["labels"], strict=True))
    else:
        labelled = list(targets.items())
    choices = [str(choice) for choice, _ in labelled]
    right = [LETTERS[i] for i, (_, label) in enumerate(labelled) if label == 1]
    if len(right) != 1 or not 2 <= len(choices) <= len(LETTERS):
        raise RowError("mc1_targets", f"expected one right option among 2 to 26, found {len(right)} of {len(choices)}")
    return choice_question(row, spec, choices, right, shuffle=True)


SPEC = BenchmarkSpec(
    name="truthfulqa",
    title="TruthfulQA: Measuring How Models Mimic Human Falsehoods",
    authors="Lin et al.",
    arxiv="2109.07958",
    licence="Apache-2.0",
    kind="letter",
    hub=Hub("truthfulqa/truthful_qa", "multiple_choice", {"validation": "validation"}),
    parse=parse_truthfulqa,
    n_shots=0,
    forms=("cloze", "letters", "chat"),
    templates={"cloze": "Q: {question}\nA:"},
)
