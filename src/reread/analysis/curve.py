"""Accuracy against training FLOPs: one curve through the base rungs, and its inverse.

The default is the paper's form (arXiv 2511.04234): a logistic in log10 FLOPs between a floor (chance) and a
ceiling, both fixed, fitted by unweighted least squares. The ceiling matters: the multiplier of a strong arm
is read off where the curve flattens. So two other fits stand beside it, a power law of the error and
straight lines between the rungs, and the ceiling can be left free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from reread.analysis import fitting
from reread.analysis.fitting import Floats, Params
from reread.errors import FitError, UsageError

Kind = Literal["logistic", "power", "linear"]
KINDS: tuple[Kind, ...] = ("logistic", "power", "linear")
Weights = Literal["none", "binomial"]
WEIGHTS: tuple[Weights, ...] = ("none", "binomial")

MMLU_CEILING = 0.9407
"""The ceiling that the paper held fixed for MMLU: 0.25 + 0.6907 (facts of arXiv 2511.04234)."""

DEFAULT_CEILINGS = {"mmlu": MMLU_CEILING, "mmlu_redux": MMLU_CEILING}
DEFAULT_FLOOR = 0.25
"""Chance with four options."""

MIN_RISE_Z = 3.0
"""A baseline's rise over the ladder, in standard errors, below which no multiplier is read off a run."""


@dataclass(frozen=True, slots=True)
class FitChoice:
    """How the curve is to be fitted."""

    kind: Kind = "logistic"
    floor: float = DEFAULT_FLOOR
    ceiling: float | None = MMLU_CEILING
    """Fixed ceiling in (floor, 1]; None leaves it free. Straight lines have none."""
    weights: Weights = "none"
    """"none" is the paper's; "binomial" weighs every rung by n / (p·(1 − p))."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown fit {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.weights not in WEIGHTS:
            raise UsageError(f"unknown weights {self.weights!r}; choose one of {', '.join(WEIGHTS)}")
        if not 0 <= self.floor < 1:
            raise UsageError(f"the floor is an accuracy between 0 and 1, such as 0.25; got {self.floor:g}")
        if self.ceiling is not None and not self.floor < self.ceiling <= 1:
            raise UsageError(
                f"the ceiling must lie above the floor {self.floor:g} and at most at 1; got {self.ceiling:g}"
            )

    @property
    def name(self) -> str:
        """Such as "logistic, ceiling 0.9407 fixed"."""
        if self.kind == "linear":
            return "straight lines between rungs"
        shape = "logistic" if self.kind == "logistic" else "power law"
        top = "free" if self.ceiling is None else f"{self.ceiling:g} fixed"
        weighed = ", binomial weights" if self.weights == "binomial" else ""
        return f"{shape}, ceiling {top}{weighed}"


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted curve. Which fields are numbers depends on its kind; straight lines have only knots."""

    kind: Kind
    name: str
    floor: float
    ceiling: float | None
    slope: float | None
    """Logistic: natural-log units per decade of FLOPs. Power law: the exponent b in error ∝ FLOPs^−b."""
    midpoint_flops: float | None
    """FLOPs at which the accuracy is half-way between floor and ceiling."""
    min_flops: float
    max_flops: float
    """The ladder's range; outside it the curve is extrapolated."""
    knots: tuple[tuple[float, float], ...] = ()
    """Straight lines: (FLOPs, accuracy) of every rung after the fall-free adjustment."""
    rmse: float | None = None
    """Root mean square distance of the base rungs from the curve, in accuracy."""
    ceiling_free: bool = False
    """The ceiling was fitted, not given."""

    def accuracy_at(self, flops: float) -> float | None:
        """Accuracy at a training compute; None outside the ladder for straight lines."""
        x = np.array([math.log10(flops)])
        if self.kind == "linear":
            if not self.min_flops <= flops <= self.max_flops:
                return None
            return float(np.interp(x, *self._knots())[0])
        return float(fitting.predict_many(self._params(), x)[0, 0])

    def flops_at(self, accuracy: float) -> float | None:
        """Training FLOPs at which the curve reaches an accuracy.

        inf at or above the ceiling, 0.0 at or below the floor (no compute at all gives that); for straight
        lines these are the last and the first rung. None where the answer is no finite number a computer can
        hold.
        """
        if self.kind == "linear":
            x_R, level_R = self._knots()
            x = fitting.inverse_steps(x_R, level_R[None, :], np.array([accuracy]))
        else:
            x = fitting.inverse_many(self._params(), np.array([accuracy]))
        return _flops(float(x[0]))

    def why_no_inverse(self, accuracy: float) -> str | None:
        """One clause that says why `flops_at` has no finite positive number; None where it has one."""
        flops = self.flops_at(accuracy)
        if flops is None:
            return f"accuracy {accuracy:.4g} lies so close to the curve's end that its compute has no bound"
        if 0 < flops < math.inf:
            return None
        end = "above" if flops else "below"
        if self.kind == "linear":
            return f"accuracy {accuracy:.4g} is {end} every base rung, and straight lines do not extrapolate"
        edge = f"ceiling {self.ceiling:.4g}" if flops else f"floor {self.floor:.4g}"
        return f"accuracy {accuracy:.4g} is at or {end} the curve's {edge}"

    def is_extrapolated(self, flops: float | None) -> bool:
        """Whether a compute lies outside the ladder (a hair of rounding allowed)."""
        return flops is None or not self.min_flops * (1 - 1e-9) <= flops <= self.max_flops * (1 + 1e-9)

    def _knots(self) -> tuple[Floats, Floats]:
        knots = np.array(self.knots, dtype=np.float64)
        return np.log10(knots[:, 0]), knots[:, 1]

    def _params(self) -> Params:
        assert self.slope is not None and self.midpoint_flops is not None and self.ceiling is not None
        if self.kind == "power":
            slope, offset = self.slope * math.log(10), math.log((self.ceiling - self.floor) / 2)
        else:
            slope, offset = self.slope, 0.0
        one = np.ones(1)
        middle = math.log10(self.midpoint_flops)
        return Params(self.kind, self.floor, slope * one, offset * one, self.ceiling * one, middle)


def fit_curve(
    train_flops: Sequence[float],
    accuracy: Sequence[float],
    n: Sequence[int | None] | None = None,
    choice: FitChoice | None = None,
) -> Curve:
    """The curve through the base rungs, by least squares in accuracy.

    train_flops: positive, one a rung, in any order. accuracy: in [0, 1]. n: questions a rung, needed for
    binomial weights. Raises FitError when the points carry no rising curve, with the reason in one sentence.
    """
    choice = choice or FitChoice()
    x_R, accuracy_R, weights_R = checked_ladder(train_flops, accuracy, n, choice)
    if choice.kind == "linear":
        levels = fitting.rising_steps(accuracy_R[None, :], weights_R[None, :])[0]
        if levels[-1] - levels[0] < 1e-12:
            raise FitError(_no_rise(accuracy_R))
        knots = tuple(zip(sorted(map(float, train_flops)), map(float, levels), strict=True))
        rmse = float(np.sqrt(np.mean((levels - accuracy_R) ** 2)))
        return Curve("linear", choice.name, choice.floor, None, None, None, knots[0][0], knots[-1][0], knots, rmse)
    params = fit_params(x_R, accuracy_R[None, :], weights_R[None, :], choice)
    slope, offset, top = float(params.slope_B[0]), float(params.offset_B[0]), float(params.ceiling_B[0])
    if math.isnan(slope):
        raise FitError(_no_rise(accuracy_R))
    rmse = float(np.sqrt(np.mean((fitting.predict_many(params, x_R)[0] - accuracy_R) ** 2)))
    if choice.kind == "power":
        midpoint = params.x_mean + (offset - math.log((top - choice.floor) / 2)) / slope
        slope /= math.log(10)
    else:
        midpoint = params.x_mean - offset / slope
    midpoint_flops = _flops(midpoint)
    if not midpoint_flops or math.isinf(midpoint_flops):
        raise FitError(
            f"the base accuracies ({_listed(accuracy_R)}) rise too little for a curve, whose midpoint would "
            f"lie at 10^{midpoint:.0f} FLOPs; add rungs further apart, or check floor {choice.floor:g} and "
            f"ceiling {top:g}"
        )
    lowest, highest = float(min(train_flops)), float(max(train_flops))
    free = choice.ceiling is None
    return Curve(choice.kind, choice.name, choice.floor, top, slope, midpoint_flops, lowest, highest, (), rmse, free)


def choose_fit(
    benchmark: str = "",
    *,
    kind: str = "logistic",
    floor: float | None = None,
    ceiling: float | str | None = None,
    weights: str = "none",
) -> FitChoice:
    """A fit as a person asks for it: `ceiling` is a number, "free", or None for the benchmark's known one.

    Raises UsageError where the ceiling is not given and the benchmark has no known one: the multiplier hangs
    on it, so it is never guessed.
    """
    top: float | None
    if ceiling is None:
        top = DEFAULT_CEILINGS.get(benchmark.lower())
        if top is None and kind != "linear":
            about = f" for benchmark {benchmark!r}" if benchmark else ""
            raise UsageError(
                f"no ceiling is known{about}: give --ceiling with the accuracy that no amount of training "
                "passes, or "
                f"`--ceiling free`, or name the benchmark (the default {MMLU_CEILING} holds for mmlu alone)"
            )
    elif isinstance(ceiling, str):
        if ceiling == "free":
            top = None
        else:
            try:
                top = float(ceiling)
            except ValueError:
                raise UsageError(f"the ceiling is a number such as 0.94, or `free`; got {ceiling!r}") from None
    else:
        top = ceiling
    return FitChoice(cast(Kind, kind), DEFAULT_FLOOR if floor is None else floor, top, cast(Weights, weights))


def checked_ladder(
    train_flops: Sequence[float], accuracy: Sequence[float], n: Sequence[int | None] | None, choice: FitChoice
) -> tuple[Floats, Floats, Floats]:
    """(log10 FLOPs, accuracies, weights) of the base rungs in order of compute; FitError where no fit is
    possible.
    """
    flops_R, accuracy_R = np.asarray(train_flops, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if flops_R.shape != accuracy_R.shape or (n is not None and len(n) != len(flops_R)):
        raise FitError(f"{len(flops_R)} training FLOPs for {len(accuracy_R)} accuracies; give one of each a rung")
    if not (np.isfinite(flops_R) & (flops_R > 0)).all():
        raise FitError(f"training FLOPs must be positive numbers; got {_listed(flops_R)}")
    if not ((accuracy_R >= 0) & (accuracy_R <= 1)).all():
        raise FitError(f"accuracies are shares between 0 and 1; got {_listed(accuracy_R)}")
    order = np.argsort(flops_R, kind="stable")
    flops_R, accuracy_R = flops_R[order], accuracy_R[order]
    n_numbers = 3 if choice.ceiling is None and choice.kind != "linear" else 2
    n_distinct = len(np.unique(flops_R))
    if n_distinct < n_numbers:
        raise FitError(
            f"{choice.name}: {n_numbers} numbers cannot be fitted to {n_distinct} base rungs; "
            f"give rungs of at least {n_numbers} different training FLOPs"
        )
    if len(flops_R) > n_distinct and choice.kind == "linear":
        raise FitError("two base rungs have the same training FLOPs; straight lines need one accuracy each")
    fixed_top = choice.ceiling if choice.kind != "linear" else None
    if fixed_top is not None and accuracy_R.max() > fixed_top:
        raise FitError(
            f"a base rung's accuracy {accuracy_R.max():.4g} is above the fixed ceiling {fixed_top:g}; "
            "give a higher ceiling, or `free`"
        )
    return np.log10(flops_R), accuracy_R, _weights(accuracy_R, n, order, choice.weights)


def rise_z(train_flops: Sequence[float], accuracy: Sequence[float], n: Sequence[int]) -> float:
    """How surely accuracy rises with log10 FLOPs: the linear trend over its standard error (binomial variances).

    A baseline that does not rise gives no curve to read compute off: a flat line crosses every accuracy somewhere.
    0.0 where there is no trend to speak of: all rungs of one compute, or all accuracies 0 or 1.
    """
    x, y, size = (np.asarray(values, dtype=np.float64) for values in (np.log10(train_flops), accuracy, n))
    x = x - x.mean()
    variance = y.mean() * (1 - y.mean()) / size
    error = math.sqrt(float((x * x) @ variance))
    return float(x @ y) / error if error else 0.0


def fit_params(x_R: Floats, accuracy_BxR: Floats, weights_BxR: Floats, choice: FitChoice) -> Params:
    """Fits of many data sets over one ladder; kinds with parameters only."""
    fit = fitting.fit_power if choice.kind == "power" else fitting.fit_logistic
    return fit(x_R, accuracy_BxR, weights_BxR, choice.floor, choice.ceiling)


def binomial_weights(accuracy: Floats, n: Floats) -> Floats:
    """n / (p·(1 − p)), with p kept half a question away from 0 and 1, scaled to mean 1."""
    share = np.clip(accuracy, 0.5 / n, 1 - 0.5 / n)
    weights = n / (share * (1 - share))
    return np.asarray(weights / weights.mean(axis=-1, keepdims=True))


def _weights(accuracy_R: Floats, n: Sequence[int | None] | None, order: np.ndarray, weights: Weights) -> Floats:
    if weights == "none":
        return np.ones_like(accuracy_R)
    if n is None or any(not count for count in n):
        raise FitError("binomial weights need the number of questions n of every base rung; give it in each row")
    return binomial_weights(accuracy_R, np.asarray(n, dtype=np.float64)[order])


def _flops(x: float) -> float | None:
    """10**x with its infinities kept; None for NaN and for what a float cannot hold."""
    if math.isnan(x):
        return None
    if math.isinf(x):
        return math.inf if x > 0 else 0.0
    return 10.0**x if -300 < x < 300 else None


def _no_rise(accuracy_R: Floats) -> str:
    if accuracy_R.min() == accuracy_R.max():
        return (
            f"every base accuracy is {accuracy_R[0]:.4g}: more compute bought nothing on this ladder, so no "
            "accuracy has an equivalent compute; add rungs further apart"
        )
    return (
        f"the base accuracies do not rise with training FLOPs ({_listed(accuracy_R)}, smallest rung first), "
        "so no accuracy has an equivalent compute; check the rows, or add rungs further apart"
    )


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
