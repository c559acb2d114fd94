from __future__ import annotations

from collections.abc import Sequence

import pytest

from reread.protocols import Scored
from reread.scoring.simpleqa import SimpleQAGrader, parse_grade, simpleqa_scores
from reread.types import Question, Sample

QUESTION = Question("1", "simpleqa", "", "Who {reply} it?", None, ("Ann {question}",))


class Grader:
    """Says what it is told to and keeps what it was asked."""

    spec, can, n_params = "fake", frozenset({"generate"}), None

    def __init__(self, *replies: str) -> None:
        self.replies, self.asked = list(replies), []  # type: list[str], list[str]

    def generate(self, prompts: Sequence[str], **_: object) -> list[list[Sample]]:
        self.asked += prompts
        return [[Sample(self.replies.pop(0), None, 1, 1)] for _ in prompts]

    def loglikelihood(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
        raise AssertionError


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("A", "CORRECT"),
        ("B", "INCORRECT"),
        (" C.", "NOT_ATTEMPTED"),
        ("INCORRECT", "INCORRECT"),
        ("B: INCORRECT", "INCORRECT"),
        ("Not attempted", "NOT_ATTEMPTED"),
        ("**A**", "CORRECT"),
        ("The grade is B", "INCORRECT"),
        ("CORRECT or INCORRECT", None),
        ("Both agree", None),
        ("", None),
    ],
)
def test_grades_are_read_as_letters_and_as_words(reply: str, grade: str | None) -> None:
    assert parse_grade(reply) == grade


def test_graded_answer_has_a_score_and_a_grade() -> None:
    grader = SimpleQAGrader(Grader("A", "B", "what?"))
    assert grader.grade_answer(QUESTION, "Ann") == (1.0, "CORRECT")
    assert grader.grade_answer(QUESTION, "Bob") == (0.0, "INCORRECT")
    assert grader.grade_answer(QUESTION, "Eve") == (0.0, "UNPARSED")


def test_no_answer_is_not_attempted_and_not_asked_about() -> None:
    fake = Grader()
    assert SimpleQAGrader(fake).grade_answer(QUESTION, None) == (0.0, "NOT_ATTEMPTED")
    assert fake.asked == []


def test_marks_inside_question_and_answer_stay_as_they_are() -> None:
    fake = Grader("A")
    SimpleQAGrader(fake).grade_answer(QUESTION, "it was {answer}")
    assert "Question: Who {reply} it?\nKnown answer: Ann {question}\nReply: it was {answer}\n" in fake.asked[0]


def test_metrics_by_hand() -> None:
    scores = simpleqa_scores(["CORRECT"] * 3 + ["INCORRECT"] * 2 + ["NOT_ATTEMPTED"] * 4 + [None])
    assert (scores.correct, scores.incorrect, scores.not_attempted, scores.unparsed) == (0.3, 0.2, 0.4, 1)
    assert scores.correct_given_attempted == 0.6
    assert scores.f1 == pytest.approx(2 * 0.3 * 0.6 / 0.9)


def test_nothing_graded_is_none_and_not_zero() -> None:
    scores = simpleqa_scores([])
    assert (scores.n, scores.correct, scores.f1) == (0, None, None)
