"""The multiplier on the paper's points, and the honesty of its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reread.analysis.curve import FitChoice
from reread.analysis.multiplier import (
    Measurement,
    Multiplier,
    Points,
    Resamples,
    multipliers,
    sensitivity,
    summary,
)
from reread.analysis.published import READER, paper_points, published_accuracy, published_multipliers
from reread.errors import FitError, UsageError
from reread.evaluation.statistics import bootstrap_means

PAPER_LADDER = [5.28, 7.17, 4.74, 4.23, 2.88]
PAPER_READER = {"sc": 2.10, "retrieval": 2.78, "rerank": 3.56, "rerank+sc": 8.14, "rerank+sc+vr": 11.10}
FLOPS = [1e18, 1e19, 1e20, 1e21]
BASE = [0.35, 0.48, 0.60, 0.70]


def ladder(arms: dict[float, float], n: int | None = 1000) -> Points:
    base = [Measurement("baseline", f, a, n) for f, a in zip(FLOPS, BASE, strict=True)]
    return Points.of([*base, *(Measurement("retrieval", f, a, n) for f, a in arms.items())])


def on_ladder(found: tuple[Multiplier, ...]) -> list[Multiplier]:
    return [point for point in found if point.train_flops]


def test_the_papers_curve_and_multipliers_come_out() -> None:
    measured = multipliers(paper_points())
    assert measured.curve.slope == pytest.approx(0.797, abs=0.002)
    assert measured.curve.midpoint_flops == pytest.approx(2.48e22, rel=0.01)
    assert [point.multiplier for point in on_ladder(measured.multipliers)] == [
        pytest.approx(value, rel=0.025) for value in PAPER_LADDER
    ]


def test_the_papers_outside_reader_comes_out() -> None:
    measured = multipliers(paper_points())
    found = {point.arm: point.multiplier for point in measured.multipliers if point.reader == READER}
    assert found == {arm: pytest.approx(value, rel=0.01) for arm, value in PAPER_READER.items()}


def test_the_papers_last_two_multipliers_are_flagged_as_extrapolated() -> None:
    flags = [point.extrapolated for point in on_ladder(multipliers(paper_points()).multipliers)]
    assert flags == [False, False, False, True, True]


def test_the_published_figures_are_those_of_the_golden_test() -> None:
    assert [p.value for p in published_multipliers() if p.train_flops] == PAPER_LADDER
    assert {p.arm: p.value for p in published_multipliers() if not p.train_flops} == PAPER_READER
    assert published_accuracy("math500", "rerank+sc+vr") == 0.644
    assert published_accuracy("simpleqa", "sc") is None
    assert published_accuracy("nq_open", "baseline") is None


def test_binomial_weights_move_the_papers_slope() -> None:
    measured = multipliers(paper_points(), FitChoice(weights="binomial"))
    assert measured.curve.slope == pytest.approx(0.785, abs=0.002)


def test_the_papers_last_multiplier_hangs_on_the_ceiling() -> None:
    points = paper_points()
    last = {row.fit: row.values[4] for row in sensitivity(points)}
    assert last["logistic, ceiling free"] is None
    low, high = last["logistic, ceiling 1 fixed"], last["logistic, ceiling 0.85 fixed"]
    assert low is not None and high is not None and high > 4 * low


def test_the_mean_is_the_papers() -> None:
    over_rungs = summary(on_ladder(multipliers(paper_points()).multipliers))
    assert over_rungs is not None
    assert over_rungs.mean == pytest.approx(4.86, abs=0.03)
    assert over_rungs.geometric_mean == pytest.approx(4.66, abs=0.03)
    assert summary([]) is None


def test_an_arm_as_good_as_the_curve_is_worth_one() -> None:
    measured = multipliers(ladder({}), FitChoice(ceiling=0.95))
    reached = measured.curve.accuracy_at(1e19)
    assert reached is not None
    found = multipliers(ladder({1e19: reached}), FitChoice(ceiling=0.95)).multipliers[0]
    assert found.multiplier == pytest.approx(1.0)
    assert found.low is not None and found.high is not None and found.low < 1 < found.high


def test_an_arm_above_the_ceiling_has_no_multiplier_but_a_lower_end() -> None:
    found = multipliers(ladder({1e19: 0.80}, n=200), FitChoice(ceiling=0.8)).multipliers[0]
    assert found.multiplier is None and found.equivalent_flops is None
    assert found.extrapolated and "ceiling" in (found.reason or "")
    assert found.low is not None and found.high is None


def test_an_arm_below_chance_has_no_multiplier() -> None:
    found = multipliers(ladder({1e19: 0.2}), FitChoice(ceiling=0.95)).multipliers[0]
    assert (found.multiplier, found.low, found.high) == (None, None, None)
    assert "floor" in (found.reason or "")


def test_a_point_near_the_ceiling_keeps_its_value_while_its_upper_end_is_open() -> None:
    found = multipliers(ladder({1e21: 0.775}, n=150), FitChoice(ceiling=0.8)).multipliers[0]
    assert found.multiplier is not None and found.low is not None
    assert found.high is None and found.extrapolated
    assert "no upper end" in (found.reason or "")


def test_without_n_there_is_a_value_and_no_interval() -> None:
    found = multipliers(ladder({1e19: 0.6}, n=None), FitChoice(ceiling=0.95)).multipliers[0]
    assert found.multiplier is not None
    assert (found.low, found.high) == (None, None)
    assert "n is not given" in (found.reason or "")


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    slope, midpoint, ceiling, n, spent = 0.8, 1e20, 0.9, 800, 1e20
    flops = np.array(FLOPS)

    def accuracy(x: np.ndarray | float) -> np.ndarray:
        return np.asarray(0.25 + (ceiling - 0.25) / (1 + np.exp(-slope * (np.log10(x) - np.log10(midpoint)))))

    truth, held, runs = 5.0, 0, 200
    for seed in range(runs):
        base = rng.binomial(n, accuracy(flops)) / n
        arm = rng.binomial(n, accuracy(truth * spent)) / n
        rows = [Measurement("baseline", f, a, n) for f, a in zip(FLOPS, base.tolist(), strict=True)]
        points = Points.of([*rows, Measurement("retrieval", spent, float(arm), n)])
        found = multipliers(points, FitChoice(ceiling=ceiling), n_resamples=400, seed=seed).multipliers[0]
        held += found.low is not None and found.high is not None and found.low <= truth <= found.high
    assert 0.90 <= held / runs <= 0.99


def test_pairing_narrows_the_interval_of_correlated_arms() -> None:
    rng = np.random.default_rng(1)
    easiness = rng.random((2000, 1))
    scores = (easiness > 1 - np.array([[*BASE, 0.62]])).astype(float)
    accuracy = scores.mean(axis=0).tolist()
    rows = [Measurement("baseline", f, a, 2000) for f, a in zip(FLOPS, accuracy, strict=False)]
    points = Points.of([*rows, Measurement("retrieval", 1e20, accuracy[4], 2000)])
    means = bootstrap_means(scores)
    paired = multipliers(points, FitChoice(ceiling=0.9), resamples=Resamples(means[:, :4], means[:, 4:]))
    alone = multipliers(points, FitChoice(ceiling=0.9))
    widths = [
        math.log(m.multipliers[0].high / m.multipliers[0].low)  # type: ignore[operator]
        for m in (paired, alone)
    ]
    assert widths[0] < 0.7 * widths[1]
    assert paired.multipliers[0].multiplier == alone.multipliers[0].multiplier


def test_the_seed_matters_and_repeats() -> None:
    points = ladder({1e19: 0.6})
    first, again, other = (multipliers(points, seed=seed).multipliers for seed in (1, 1, 2))
    assert first == again
    assert first[0].low != other[0].low
    assert first[0].multiplier == other[0].multiplier


def test_a_ladder_without_baseline_is_refused() -> None:
    with pytest.raises(UsageError, match="give the arm `baseline`"):
        Points.of([Measurement("retrieval", 1e19, 0.5)])


def test_a_repeated_rung_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'baseline' has two rows with train_flops 1e\+19"):
        Points.of([Measurement("baseline", 1e19, 0.5, None, "a"), Measurement("baseline", 1e19, 0.6, None, "b")])


def test_an_outside_reader_without_its_own_baseline_is_refused() -> None:
    with pytest.raises(UsageError, match="that reader has no `baseline` row"):
        Points.of([Measurement("baseline", 1e19, 0.5), Measurement("retrieval", None, 0.6, None, "llama")])


def test_an_outside_baseline_at_chance_gives_no_multiplier_and_says_so() -> None:
    rows = [Measurement("baseline", f, a, 500) for f, a in zip(FLOPS, BASE, strict=True)]
    rows += [
        Measurement("baseline", None, 0.25, 500, "tiny"),
        Measurement("retrieval", None, 0.5, 500, "tiny"),
    ]
    found = multipliers(Points.of(rows), FitChoice(ceiling=0.95)).multipliers[0]
    assert found.multiplier is None
    assert "own baseline has no place" in (found.reason or "")


def test_a_flat_ladder_is_refused_before_any_multiplier() -> None:
    rows = [Measurement("baseline", f, 0.25, 500) for f in FLOPS]
    with pytest.raises(FitError, match="bought nothing"):
        multipliers(Points.of([*rows, Measurement("retrieval", 1e19, 0.5, 500)]))


@pytest.mark.parametrize("kind", ["logistic", "power", "linear"])
@pytest.mark.parametrize("ceiling", [0.95, None])
def test_two_thousand_resamples_take_less_than_half_a_second(kind: str, ceiling: float | None) -> None:
    import time

    began = time.process_time()
    multipliers(paper_points(), FitChoice(kind, ceiling=ceiling))  # type: ignore[arg-type]
    assert time.process_time() - began < 0.5
