"""The bill adds up, and break-even is where the two costs cross."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.analysis.ledger import BreakEven, Charge, bill, break_even
from reread.errors import UsageError
from reread.evaluation.changes import Outcome, changes


def crossing(**different: float | None) -> BreakEven:
    numbers: dict[str, float | None] = {
        "train_flops": 1e12,
        "equivalent_flops": 5e12,
        "index_flops": 1e11,
        "flops_per_question": 3e8,
        "baseline_flops_per_question": 1e8,
    }
    return break_even("r1", "retrieval", **{**numbers, **different})  # type: ignore[arg-type]


@given(st.floats(1e6, 1e24), st.floats(1.01, 50), st.floats(0, 0.9), st.floats(1e3, 1e12), st.floats(1.01, 100))
def test_at_break_even_both_ways_cost_the_same(
    spent: float, multiplier: float, index_share: float, baseline: float, times: float
) -> None:
    index = index_share * spent * (multiplier - 1)
    found = crossing(
        train_flops=spent,
        equivalent_flops=spent * multiplier,
        index_flops=index,
        flops_per_question=baseline * times,
        baseline_flops_per_question=baseline,
    )
    assert found.n_questions is not None
    training_more = spent * multiplier + found.n_questions * baseline
    retrieving = spent + index + found.n_questions * baseline * times
    assert training_more == pytest.approx(retrieving)


def test_an_index_dearer_than_the_training_never_pays() -> None:
    found = crossing(index_flops=1e14)
    assert found.n_questions == 0.0
    assert "indexing alone" in (found.reason or "")


def test_an_arm_worth_nothing_never_pays() -> None:
    assert crossing(equivalent_flops=5e11).n_questions == 0.0


def test_an_arm_that_costs_nothing_a_question_has_no_break_even() -> None:
    found = crossing(flops_per_question=1e8)
    assert found.n_questions is None and found.reason


def test_without_an_equivalent_compute_there_is_no_break_even() -> None:
    found = crossing(equivalent_flops=None)
    assert found.n_questions is None and found.extra_training_flops is None
    assert "no equivalent training compute" in (found.reason or "")


CHARGES = [
    Charge("train", 1e12, "r1"),
    Charge("train", 4e12, "r2"),
    Charge("index", 1e9),
    Charge("prompt", 10.0, "r1", "baseline"),
    Charge("search", 3.0, "r1", "retrieval"),
    Charge("prompt", 20.0, "r1", "retrieval"),
    Charge("prompt", 5.0, "r1", "retrieval"),
    Charge("prompt", 40.0, "r2", "baseline"),
]


def test_the_bill_charges_every_stage_once_an_arm() -> None:
    rows = {(row.rung, row.arm): row for row in bill(CHARGES)}
    assert set(rows) == {("r1", "baseline"), ("r1", "retrieval"), ("r2", "baseline")}
    assert rows["r1", "retrieval"].by_stage == {"train": 1e12, "index": 1e9, "search": 3.0, "prompt": 25.0}
    assert list(rows["r1", "retrieval"].by_stage) == ["train", "index", "search", "prompt"]
    for row in rows.values():
        assert row.total_flops == math.fsum(row.by_stage.values())


def test_an_arm_that_never_searched_does_not_pay_for_the_index() -> None:
    rows = {(row.rung, row.arm): row for row in bill(CHARGES)}
    assert "index" not in rows["r1", "baseline"].by_stage


def test_impossible_charges_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown ledger stage 'lunch'"):
        Charge("lunch", 1.0)
    with pytest.raises(UsageError, match="≥ 0"):
        Charge("train", math.nan)


def test_changes_are_paired_and_count_unparsed_answers() -> None:
    a = {
        "q1": Outcome("A", 0.0),
        "q2": Outcome("B", 1.0),
        "q3": Outcome("C", 0.0),
        "only a": Outcome("A", 1.0),
    }
    b = {
        "q1": Outcome("B", 1.0),
        "q2": Outcome(None, 0.0),
        "q3": Outcome("D", 0.0),
        "only b": Outcome("A", 1.0),
    }
    found = changes(a, b)
    assert (found.n, found.changed, found.mended, found.broken) == (3, 3, ("q1",), ("q2",))
    assert found.changed_frac == 1.0 and found.mended_frac == pytest.approx(1 / 3)
    assert changes({}, {}).changed_frac is None
