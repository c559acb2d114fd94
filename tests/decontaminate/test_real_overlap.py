"""What is known to lie in the real corpora is found there, and little else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from reread.benchmarks import load_benchmark
from reread.corpus import Rejects, read_documents
from reread.decontaminate import QuestionIndex, Summary, decontaminate

pytestmark = pytest.mark.realdata


def test_math500_is_found_in_math_by_document(realdata: Path) -> None:
    questions = load_benchmark(f"math500:{realdata}/benchmarks/math500_a.jsonl.gz").questions
    documents = read_documents([f"{realdata}/corpora/math_solutions.jsonl.gz"], rejects=Rejects())
    marked = found = missed = others = 0
    for cleaned in decontaminate(documents, QuestionIndex(questions), action="audit"):
        ids = {finding.question_id for finding in cleaned.findings}
        own = {cleaned.document.meta["math500_id"]} if cleaned.document.meta["in_math500"] else set()
        marked += len(own)
        found += len(ids & own)
        missed += len(own - ids)
        others += bool(ids - own)
    assert marked == 250
    assert found / marked >= 0.99
    assert others <= 2, "documents that hold another problem than the one marked"


def test_mmlu_in_math_is_high_school_mathematics_alone(realdata: Path) -> None:
    questions = load_benchmark(f"mmlu:{realdata}/benchmarks/mmlu_test_a.jsonl.gz").questions
    index = QuestionIndex(questions)
    summary = Summary.of(index)
    documents = read_documents([f"{realdata}/corpora/math_solutions.jsonl.gz"], rejects=Rejects())
    for _ in decontaminate(documents, index, action="audit", summary=summary):
        pass
    by_subject = summary.as_dict()["benchmarks"]["mmlu"]["by_subject"]
    assert {name for name, counts in by_subject.items() if counts["n_contaminated"]} == {"high_school_mathematics"}
    # 150 of the subject's 270 test questions are MATH problems; this file holds half of the questions.
    assert 65 <= by_subject["high_school_mathematics"]["n_contaminated"] <= 85


def test_one_leaked_moral_scenario_does_not_flag_the_others(realdata: Path) -> None:
    questions = load_benchmark(f"mmlu:{realdata}/benchmarks/mmlu_test_a.jsonl.gz").questions
    scenarios = [question for question in questions if question.subject == "moral_scenarios"]
    leaked = scenarios[len(scenarios) // 2]
    found = {finding.question_id for finding in QuestionIndex(questions).find(f"Seen online: {leaked.text}")}
    assert leaked.id in found
    assert len(found) <= 3
