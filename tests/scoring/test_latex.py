from __future__ import annotations

import threading
import time

import pytest

from reread.scoring import latex, scorer_for
from reread.types import Question

pytest.importorskip("math_verify")

HALF = Question("1", "math500", "", "?", None, (r"\frac{1}{2}",), meta={"kind": "latex"})


@pytest.mark.parametrize(
    "reply", [r"\boxed{\dfrac12}", r"\boxed{0.5}", r"\boxed{\frac{2}{4}}", r"Answer: $\frac{1}{2}$"]
)
def test_equal_values_in_other_words_are_right(reply: str) -> None:
    scorer = scorer_for(HALF)
    assert scorer.score(scorer.extract(reply, HALF), HALF) == 1.0


@pytest.mark.parametrize("reply", [r"\boxed{\frac{1}{3}}", r"\boxed{2}", r"\boxed{}", "half", r"\boxed{\frac{1}{2"])
def test_other_values_are_wrong(reply: str) -> None:
    scorer = scorer_for(HALF)
    assert scorer.score(scorer.extract(reply, HALF), HALF) == 0.0


def test_sets_intervals_and_text_answers_compare() -> None:
    scorer = scorer_for("latex")
    assert scorer.same(r"\left(3, \frac{\pi}{2}\right)", r"(3,\pi/2)")
    assert scorer.same(r"\text{Evelyn}", r"\text{Evelyn}")
    assert not scorer.same(r"(1,2)", r"[1,2]")


def test_a_comparison_that_never_ends_is_cut_off_and_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latex, "TIME_LIMIT_S", 1.5)
    scorer = scorer_for("latex")
    started = time.monotonic()
    assert not scorer.same("9" * 20 + "^{" + "9" * 8 + "}", "1")
    assert time.monotonic() - started < 30
    monkeypatch.setattr(latex, "TIME_LIMIT_S", 20.0)
    assert scorer.same("0.25", r"\frac{1}{4}")


def test_an_answer_that_cannot_be_compared_costs_its_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latex, "TIME_LIMIT_S", 1.5)
    scorer = scorer_for("latex")
    endless = "8" * 20 + "^{" + "9" * 8 + "}"
    assert not scorer.same(endless, r"\frac{1}{3}")
    started = time.monotonic()
    assert not any(scorer.same(endless, rf"\frac{{{i}}}{{7}}") for i in range(1, 7))
    assert time.monotonic() - started < 1.0
    # Its counterpart was not to blame.
    monkeypatch.setattr(latex, "TIME_LIMIT_S", 20.0)
    assert scorer.same(r"\frac{1}{3}", r"\frac{2}{6}")


@pytest.mark.parametrize(
    ("a", "b", "equal"), [("7", "7", True), ("07", "7", True), ("-0", "0", True), ("7", "8", False)]
)
def test_whole_numbers_are_compared_by_value(a: str, b: str, equal: bool) -> None:
    assert scorer_for("latex").same(a, b) is equal
    assert latex._verified(a, b) is equal  # as math-verify has it


def test_comparisons_work_from_threads() -> None:
    scorer = scorer_for("latex")
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(scorer.same(rf"\frac{{{i}}}{{2}}", str(i / 2))))
        for i in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_a_killed_worker_is_started_again() -> None:
    scorer = scorer_for("latex")
    assert scorer.same("3", r"\frac{6}{2}")
    process = latex._worker()._process
    assert process is not None
    process.kill()
    process.wait()
    assert scorer.same("4", r"\frac{8}{2}")
