"""Every benchmark of the real data loads whole, with the counts that its README gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from reread.benchmarks import load_benchmark

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(
    ("name", "pattern", "n", "n_exemplars"),
    [
        ("mmlu", "mmlu_[dt]*", 7110, 280),
        ("mmlu_redux", "mmlu_redux_a*", 2742, 0),
        ("math500", "math500_a*", 250, 0),
        ("gsm8k", "gsm8k_*", 1319, 7473),
        ("simpleqa", "simpleqa_test*", 4326, 0),
        ("squad", "squad_dev_a*", 5307, 0),
        ("nq_open", "nq_open*", 3610, 8757),
        ("qed", "qed_nq_dev*", 1355, 0),
        ("triviaqa", "triviaqa*", 11313, 0),
        ("webquestions", "webquestions_test*", 2032, 0),
        ("arc_easy", "arc_easy*", 2376, 2249),
        ("arc_challenge", "arc_challenge*", 1172, 1119),
        ("openbookqa", "openbookqa*", 500, 4957),
        ("boolq", "boolq_dev*", 3270, 0),
        ("truthfulqa", "truthfulqa*", 817, 0),
        ("covidqa", "covidqa*", 1235, 0),
    ],
)
def test_real_file_loads_whole(realdata: Path, name: str, pattern: str, n: int, n_exemplars: int) -> None:
    benchmark = load_benchmark(f"{name}:{realdata}/benchmarks/{pattern}")
    assert (len(benchmark.questions), len(benchmark.exemplars)) == (n, n_exemplars)
    assert all(question.text and question.answers for question in benchmark.questions)


def test_mmlu_has_57_subjects_with_five_exemplars_each_at_most(realdata: Path) -> None:
    benchmark = load_benchmark(f"mmlu:{realdata}/benchmarks/mmlu_[dt]*")
    subjects = {question.subject for question in benchmark.questions}
    assert len(subjects) == 57
    assert {exemplar.subject for exemplar in benchmark.exemplars} == subjects


def test_2655_nq_questions_carry_their_paragraph(realdata: Path) -> None:
    benchmark = load_benchmark(f"nq_open:{realdata}/benchmarks/nq_open*")
    assert sum("gold_text" in question.meta for question in benchmark.questions) == 2655
