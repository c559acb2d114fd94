"""The multiplier: training FLOPs that the base curve asks for an arm's accuracy, over those that were spent.

    multiplier = curve⁻¹(accuracy of the arm) / training FLOPs of its rung

A reader that was not trained on this ladder has no FLOPs of its own that mean anything on this curve, so it
is divided by the curve's inverse at its own baseline (arXiv 2511.04234 does so for Llama 3.1 8B Instruct).
The interval comes from refitting the curve on resampled accuracies; it holds the sampling of questions, not
the choice of the curve, which `sensitivity` shows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, geometric_mean, median

import numpy as np

from reread.analysis import fitting
from reread.analysis.curve import (
    Curve,
    FitChoice,
    Kind,
    binomial_weights,
    checked_ladder,
    fit_curve,
    fit_params,
)
from reread.analysis.fitting import Floats
from reread.errors import FitError, UsageError

BASELINE = "baseline"
N_RESAMPLES = 2000
SENSITIVITY_CEILINGS = (0.85, 0.90, 0.9407, 1.0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One arm's accuracy on one rung, or on an outside reader (no train_flops)."""

    arm: str
    train_flops: float | None
    accuracy: float
    n: int | None = None
    reader: str = ""


@dataclass(frozen=True, slots=True)
class Points:
    """What a multiplier is computed from: one benchmark's base rungs and arms."""

    base: tuple[Measurement, ...]
    """The arm `baseline` on every rung; it makes the curve."""
    arms: tuple[Measurement, ...]
    """Every other arm, on rungs and outside readers."""
    outside_baselines: Mapping[str, Measurement] = field(default_factory=dict)
    """The arm `baseline` of readers with no train_flops, by reader."""
    benchmark: str = ""

    @staticmethod
    def of(rows: Sequence[Measurement], benchmark: str = "") -> Points:
        """Sorts measurements into base, arms and outside baselines; UsageError on what cannot be told
        apart.
        """
        base = [row for row in rows if row.arm == BASELINE and row.train_flops is not None]
        outside = [row for row in rows if row.arm == BASELINE and row.train_flops is None]
        arms = tuple(row for row in rows if row.arm != BASELINE)
        if not base:
            raise UsageError("no rows make the curve: give the arm `baseline` with its train_flops for every rung")
        seen: set[tuple[str, float | None, str]] = set()
        for row in rows:
            # A reader's name does not make a second baseline of a rung: the curve has one accuracy a compute.
            makes_curve = row.arm == BASELINE and row.train_flops is not None
            key = (row.arm, row.train_flops, "" if makes_curve else row.reader)
            if key in seen:
                where = f"train_flops {row.train_flops:g}" if row.train_flops else f"reader {row.reader!r}"
                raise UsageError(f"arm {row.arm!r} has two rows with {where}; keep one")
            seen.add(key)
        baselines = {row.reader: row for row in outside}
        for row in arms:
            if row.train_flops is None and row.reader not in baselines:
                raise UsageError(
                    f"arm {row.arm!r} of reader {row.reader!r} has no train_flops, and that reader has no "
                    "`baseline` row to compare with; add one of the two"
                )
        return Points(tuple(base), arms, baselines, benchmark)


@dataclass(frozen=True, slots=True)
class Resamples:
    """Accuracies under joint resampling of the questions, aligned with a Points' rows; B resamples."""

    base_BxR: Floats
    arms_BxP: Floats
    outside_BxK: Floats | None = None
    """Outside baselines, in the order of `Points.outside_baselines`."""


@dataclass(frozen=True, slots=True)
class Multiplier:
    """What one arm is worth in training compute."""

    arm: str
    reader: str
    train_flops: float | None
    accuracy: float
    equivalent_flops: float | None
    """Training FLOPs at which the base curve reaches the arm's accuracy; None where it never does."""
    multiplier: float | None
    low: float | None
    """Ends of the interval; None where that end has no bound, or where no interval can be given."""
    high: float | None
    extrapolated: bool
    """The equivalent compute lies outside the ladder, so the curve's form decides it."""
    reason: str | None = None
    """Why a number is missing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A fitted curve with every arm's multiplier."""

    curve: Curve
    multipliers: tuple[Multiplier, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over the rungs of one arm; rungs without a multiplier are left out and counted."""

    n_rungs: int
    n_missing: int
    mean: float
    geometric_mean: float
    median: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The multipliers under one other fit or ceiling."""

    fit: str
    curve: Curve | None
    values: tuple[float | None, ...]
    """In the order of `Points.arms`."""
    reason: str | None = None


def multipliers(
    points: Points,
    choice: FitChoice | None = None,
    *,
    resamples: Resamples | None = None,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Measured:
    """The curve through `points.base` and the multiplier of each of `points.arms`, in their order.

    With `resamples` the interval keeps the pairing of arms and rungs over the same questions. Without,
    accuracies are drawn from binomials of size n, independently, which is wider than the truth for arms that
    share questions; rows without n have no interval. Raises FitError where the base points carry no rising
    curve.
    """
    choice = choice or FitChoice()
    base = points.base
    curve = fit_curve([_flops_of(row) for row in base], [row.accuracy for row in base], [row.n for row in base], choice)
    drawn = resamples or _binomial_resamples(points, n_resamples, seed)
    logs = _resampled_logs(points, drawn, choice) if drawn else None
    found = []
    for i, row in enumerate(points.arms):
        point = _point(curve, row, points.outside_baselines.get(row.reader))
        if logs is not None and drawn is not None and not np.isnan(drawn.arms_BxP[:, i]).all():
            point = _with_interval(point, logs[:, i], confidence)
        elif point.reason is None:
            point = replace(point, reason="no interval: the number of questions n is not given")
        found.append(point)
    return Measured(curve, tuple(found))


def sensitivity(
    points: Points,
    choice: FitChoice | None = None,
    ceilings: Sequence[float | None] = (*SENSITIVITY_CEILINGS, None),
) -> tuple[Sensitivity, ...]:
    """The points under the chosen fit, then under other ceilings (None = free) of its form, then under
    other forms.
    """
    choice = choice or FitChoice()
    kind: Kind = "logistic" if choice.kind == "linear" else choice.kind
    # A ceiling that a base rung has passed already is no candidate.
    lowest = max([choice.floor, *(row.accuracy for row in points.base)])
    choices = [choice]
    choices += [replace(choice, kind=kind, ceiling=c) for c in ceilings if c is None or c > lowest]
    other: Kind = "power" if kind == "logistic" else "logistic"
    choices += [replace(choice, kind=other), replace(choice, kind=other, ceiling=None)]
    choices.append(replace(choice, kind="linear", weights="none"))
    rows = []
    for each in dict.fromkeys(choices):
        try:
            measured = multipliers(points, each, n_resamples=0)
        except FitError as error:
            rows.append(Sensitivity(each.name, None, (None,) * len(points.arms), str(error)))
        else:
            values = tuple(point.multiplier for point in measured.multipliers)
            rows.append(Sensitivity(each.name, measured.curve, values))
    return tuple(rows)


def summary(found: Sequence[Multiplier]) -> Summary | None:
    """Mean, geometric mean and median of the multipliers that exist; None where none does."""
    values = [point.multiplier for point in found if point.multiplier is not None]
    if not values:
        return None
    return Summary(len(values), len(found) - len(values), fmean(values), geometric_mean(values), median(values))


def _point(curve: Curve, row: Measurement, own_baseline: Measurement | None) -> Multiplier:
    equivalent = curve.flops_at(row.accuracy)
    reason = curve.why_no_inverse(row.accuracy)
    spent, spent_is_outside = row.train_flops, False
    if spent is None:
        assert own_baseline is not None
        spent = curve.flops_at(own_baseline.accuracy)
        why = curve.why_no_inverse(own_baseline.accuracy)
        reason = reason or (f"the reader's own baseline has no place on the curve: {why}" if why else None)
        spent_is_outside = curve.is_extrapolated(spent)
    extrapolated = curve.is_extrapolated(equivalent) or spent_is_outside
    value = None
    if reason is None and equivalent is not None and spent is not None:
        value = equivalent / spent
    finite = equivalent if equivalent is not None and 0 < equivalent < math.inf else None
    return Multiplier(
        row.arm, row.reader, row.train_flops, row.accuracy, finite, value, None, None, extrapolated, reason
    )


def _binomial_resamples(points: Points, n_resamples: int, seed: int) -> Resamples | None:
    """Parametric bootstrap; columns of arms without n stay NaN. None where the curve itself has no n."""
    if n_resamples == 0 or any(not row.n for row in points.base):
        return None
    rng = np.random.default_rng(seed)

    def draw(rows: Sequence[Measurement]) -> Floats:
        columns = np.full((n_resamples, len(rows)), np.nan)
        for i, row in enumerate(rows):
            if row.n:
                columns[:, i] = rng.binomial(row.n, row.accuracy, size=n_resamples) / row.n
        return columns

    return Resamples(draw(points.base), draw(points.arms), draw(list(points.outside_baselines.values())))


def _resampled_logs(points: Points, drawn: Resamples, choice: FitChoice) -> Floats:
    """Log10 multipliers (B, P): +inf beyond the ceiling, -inf below the floor, NaN where no curve rises."""
    base = points.base
    order = sorted(range(len(base)), key=lambda i: _flops_of(base[i]))
    x_R, _, weights_R = checked_ladder(
        [_flops_of(row) for row in base], [row.accuracy for row in base], [row.n for row in base], choice
    )
    accuracy_BxR = drawn.base_BxR[:, order]
    weights_BxR = np.broadcast_to(weights_R, accuracy_BxR.shape)
    if choice.weights == "binomial":
        weights_BxR = binomial_weights(accuracy_BxR, np.array([base[i].n for i in order], dtype=np.float64))
    if choice.kind == "linear":
        levels = fitting.rising_steps(accuracy_BxR, weights_BxR)

        def inverse(accuracy_B: Floats) -> Floats:
            return fitting.inverse_steps(x_R, levels, accuracy_B)
    else:
        params = fit_params(x_R, accuracy_BxR, weights_BxR, choice)

        def inverse(accuracy_B: Floats) -> Floats:
            return fitting.inverse_many(params, accuracy_B)

    readers = list(points.outside_baselines)
    logs = np.empty_like(drawn.arms_BxP)
    for i, row in enumerate(points.arms):
        logs[:, i] = inverse(drawn.arms_BxP[:, i])
        if row.train_flops is not None:
            logs[:, i] -= math.log10(row.train_flops)
        elif drawn.outside_BxK is not None:
            with np.errstate(invalid="ignore"):
                logs[:, i] -= inverse(drawn.outside_BxK[:, readers.index(row.reader)])
        else:
            logs[:, i] = np.nan
    return logs


def _with_interval(point: Multiplier, logs_B: Floats, confidence: float) -> Multiplier:
    """Percentile interval; a resample that decides nothing (NaN) counts as open on both sides."""
    tail = (1 - confidence) / 2
    lows = np.sort(np.where(np.isnan(logs_B), -np.inf, logs_B))
    highs = np.sort(np.where(np.isnan(logs_B), np.inf, logs_B))
    low, high = lows[math.floor(tail * len(lows))], highs[math.ceil((1 - tail) * len(highs)) - 1]
    reason = point.reason
    if math.isinf(high):
        share = float(np.isinf(highs).mean())
        reason = reason or f"no upper end: {share:.0%} of the resamples lie beyond what the curve can reach"
    return replace(
        point,
        low=10.0 ** float(low) if -300 < low < 300 else None,
        high=10.0 ** float(high) if -300 < high < 300 else None,
        reason=reason,
    )


def _flops_of(row: Measurement) -> float:
    assert row.train_flops is not None
    return row.train_flops
