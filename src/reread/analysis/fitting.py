"""The arithmetic of the fits, for many data sets at once: a bootstrap fits thousands of curves over one
ladder.

Accuracies are float64 (B, R): B data sets over the same R rungs. Each family offers `fit`, which returns
parameters (B, P) with NaN where no rising curve exists, and `inverse`, which returns log10 FLOPs: +inf at or
above the ceiling, -inf at or below the floor, NaN where the curve or the accuracy is missing. numpy alone,
so that it starts fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Predict = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""(x_R, params_BxP) → (accuracy_BxR, derivatives_BxRxP)"""

MAX_STEPS = 200
_SMALLEST_SPAN = 1e-3
_FLAT_SLOPE = 1e-6
"""Below this slope a curve gains nothing over any ladder, and its inverse is noise."""
_STEEPEST_SLOPE = 200.0
"""Natural-log units per decade; steeper is a step, which least squares would sharpen without end."""


@dataclass(frozen=True, slots=True)
class Params:
    """Fitted parameters of B curves over a ladder whose log10 FLOPs have the mean `x_mean`."""

    kind: str
    floor: float
    slope_B: Floats
    offset_B: Floats
    """Logistic: the logit at x_mean. Power: the log of the error (ceiling − accuracy) at x_mean."""
    ceiling_B: Floats
    x_mean: float


def fit_logistic(x_R: Floats, accuracy_BxR: Floats, weights_BxR: Floats, floor: float, ceiling: float | None) -> Params:
    """accuracy = floor + (ceiling − floor) / (1 + exp(−(slope·(x − x_mean) + offset))); ceiling None is
    fitted.
    """
    x_mean = float(x_R.mean())
    z_R = x_R - x_mean

    def predict(z: Floats, params: Floats) -> tuple[Floats, Floats]:
        slope, offset = params[:, 0:1], params[:, 1:2]
        span = (params[:, 2:3] if params.shape[1] == 3 else ceiling or 1.0) - floor
        share = 1 / (1 + np.exp(-np.clip(slope * z + offset, -500, 500)))
        bend = span * share * (1 - share)
        columns = [bend * z, bend]
        if params.shape[1] == 3:
            columns.append(share)
        return floor + span * share, np.stack(columns, axis=2)

    def start(guess_B: Floats) -> Floats:
        share = np.clip((accuracy_BxR - floor) / (guess_B[:, None] - floor), 0.02, 0.98)
        return _line(z_R, np.log(share / (1 - share)), weights_BxR)

    params = _fit_with_ceiling(z_R, accuracy_BxR, weights_BxR, floor, ceiling, predict, start)
    return _as_params("logistic", floor, params, ceiling, x_mean)


def fit_power(x_R: Floats, accuracy_BxR: Floats, weights_BxR: Floats, floor: float, ceiling: float | None) -> Params:
    """ceiling − accuracy = exp(offset − slope·(x − x_mean)): the error falls as a power of compute.

    The floor takes no part in the fit; it only says from where on an accuracy carries no information.
    """
    x_mean = float(x_R.mean())
    z_R = x_R - x_mean

    def predict(z: Floats, params: Floats) -> tuple[Floats, Floats]:
        slope, offset = params[:, 0:1], params[:, 1:2]
        top = params[:, 2:3] if params.shape[1] == 3 else ceiling or 1.0
        error = np.exp(np.clip(offset - slope * z, -500, 50))
        columns = [error * z, -error]
        if params.shape[1] == 3:
            columns.append(np.ones_like(error))
        return top - error, np.stack(columns, axis=2)

    def start(guess_B: Floats) -> Floats:
        error = np.log(np.maximum(guess_B[:, None] - accuracy_BxR, 0.01))
        line = _line(z_R, error, weights_BxR)
        return np.stack([-line[:, 0], line[:, 1]], axis=1)

    params = _fit_with_ceiling(z_R, accuracy_BxR, weights_BxR, floor, ceiling, predict, start)
    return _as_params("power", floor, params, ceiling, x_mean)


def predict_many(params: Params, x: Floats) -> Floats:
    """Accuracy (B, len(x)) of every curve at log10 FLOPs x."""
    z = x[None, :] - params.x_mean
    slope, offset, top = params.slope_B[:, None], params.offset_B[:, None], params.ceiling_B[:, None]
    if params.kind == "power":
        return top - np.exp(np.clip(offset - slope * z, -500, 50))
    return params.floor + (top - params.floor) / (1 + np.exp(-np.clip(slope * z + offset, -500, 500)))


def inverse_many(params: Params, accuracy_B: Floats) -> Floats:
    """Log10 FLOPs at which curve b reaches accuracy b; see the module's head for the infinities."""
    slope, offset, top = params.slope_B, params.offset_B, params.ceiling_B
    with np.errstate(divide="ignore", invalid="ignore"):
        if params.kind == "power":
            z = (offset - np.log(np.maximum(top - accuracy_B, 0.0))) / slope
        else:
            z = (np.log(np.maximum(accuracy_B - params.floor, 0.0) / (top - accuracy_B)) - offset) / slope
    x = z + params.x_mean
    x = np.where(accuracy_B <= params.floor, -np.inf, x)
    x = np.where(accuracy_B >= top, np.inf, x)
    return np.where(np.isnan(slope) | np.isnan(accuracy_B), np.nan, x)


def rising_steps(accuracy_BxR: Floats, weights_BxR: Floats) -> Floats:
    """The nearest sequences that never fall, in weighted least squares (isotonic regression).

    By the min–max formula (Barlow et al. 1972): level i = max over j ≤ i of min over k ≥ i of the mean of
    j..k. A ladder has a handful of rungs, so the cubic cost is nothing and all B sequences go through at
    once.
    """
    n_rungs = accuracy_BxR.shape[1]
    zeros = np.zeros((accuracy_BxR.shape[0], 1))
    sums = np.concatenate([zeros, np.cumsum(accuracy_BxR * weights_BxR, axis=1)], axis=1)
    totals = np.concatenate([zeros, np.cumsum(weights_BxR, axis=1)], axis=1)
    levels = np.empty_like(accuracy_BxR)
    for i in range(n_rungs):
        best = np.full(accuracy_BxR.shape[0], -np.inf)
        for j in range(i + 1):
            means = [(sums[:, k + 1] - sums[:, j]) / (totals[:, k + 1] - totals[:, j]) for k in range(i, n_rungs)]
            best = np.maximum(best, np.min(means, axis=0))
        levels[:, i] = best
    # A rung that stands alone keeps its accuracy to the last bit; the running sums have rounded it.
    return np.where(np.abs(levels - accuracy_BxR) < 1e-12, accuracy_BxR, levels)


def inverse_steps(x_R: Floats, levels_BxR: Floats, accuracy_B: Floats) -> Floats:
    """Log10 FLOPs at which the straight lines between rungs first reach the accuracy.

    Interpolation says nothing outside the ladder: +inf above its last rung, -inf below its first.
    """
    x = np.full(len(accuracy_B), np.inf)
    for k in reversed(range(len(x_R) - 1)):
        low, high = levels_BxR[:, k], levels_BxR[:, k + 1]
        inside = (low < accuracy_B) & (accuracy_B <= high)
        share = np.where(inside, (accuracy_B - low) / np.where(inside, high - low, 1.0), 0.0)
        x = np.where(inside, x_R[k] + share * (x_R[k + 1] - x_R[k]), x)
    x = np.where(accuracy_B == levels_BxR[:, 0], x_R[0], x)
    x = np.where(accuracy_B < levels_BxR[:, 0], -np.inf, x)
    flat = levels_BxR[:, -1] - levels_BxR[:, 0] < 1e-12
    return np.where(flat | np.isnan(accuracy_B), np.nan, x)


def _as_params(kind: str, floor: float, params_BxP: Floats, ceiling: float | None, x_mean: float) -> Params:
    slope = params_BxP[:, 0]
    slope = np.where(slope > _FLAT_SLOPE, slope, np.nan)
    tops = params_BxP[:, 2] if ceiling is None else np.full(len(slope), ceiling)
    return Params(kind, floor, slope, params_BxP[:, 1], tops, x_mean)


def _line(z_R: Floats, values_BxR: Floats, weights_BxR: Floats) -> Floats:
    """Weighted straight lines: (slope, value at z = 0), shape (B, 2)."""
    total = weights_BxR.sum(axis=1)
    z_mean = (weights_BxR * z_R).sum(axis=1) / total
    value_mean = (weights_BxR * values_BxR).sum(axis=1) / total
    z_apart = z_R[None, :] - z_mean[:, None]
    slope = (weights_BxR * z_apart * values_BxR).sum(axis=1) / (weights_BxR * z_apart**2).sum(axis=1)
    return np.stack([slope, value_mean - slope * z_mean], axis=1)


def _fit_with_ceiling(
    z_R: Floats,
    accuracy_BxR: Floats,
    weights_BxR: Floats,
    floor: float,
    ceiling: float | None,
    predict: Predict,
    start: Callable[[Floats], Floats],
) -> Floats:
    n_sets = accuracy_BxR.shape[0]
    if ceiling is not None:
        params, _ = _least_squares(z_R, accuracy_BxR, weights_BxR, predict, start(np.full(n_sets, ceiling)), floor)
        return params
    # A free ceiling has local minima: start from one near the data and from the middle. With the ceiling at
    # its bound of 1 the other two are fitted alone: a step cut off at the bound is no longer the best one.
    highest = np.maximum(accuracy_BxR.max(axis=1), floor + _SMALLEST_SPAN)
    top = np.ones(n_sets)
    bounded, best_cost = _least_squares(z_R, accuracy_BxR, weights_BxR, predict, start(top), floor)
    best = np.concatenate([bounded, top[:, None]], axis=1)
    for share in (0.1, 0.5):
        guess = np.minimum(1.0, highest + share * np.maximum(1 - highest, 0.01))
        first = np.concatenate([start(guess), guess[:, None]], axis=1)
        params, cost = _least_squares(z_R, accuracy_BxR, weights_BxR, predict, first, floor)
        better = cost < best_cost - 1e-12
        best[better], best_cost[better] = params[better], cost[better]
    return best


def _least_squares(
    z_R: Floats, y_BxR: Floats, w_BxR: Floats, predict: Predict, start_BxP: Floats, floor: float
) -> tuple[Floats, Floats]:
    """Levenberg–Marquardt on B data sets at once; slopes and ceilings are held inside their ranges."""
    params = _inside(start_BxP, floor)
    n_params = params.shape[1]
    damping = np.full(len(params), 1e-3)
    fitted, jacobian = predict(z_R, params)
    cost = (w_BxR * (y_BxR - fitted) ** 2).sum(axis=1)
    active = np.arange(len(params))
    for _ in range(MAX_STEPS):
        residual = y_BxR[active] - fitted[active]
        weighted = jacobian[active] * w_BxR[active][:, :, None]
        normal = np.einsum("brp,brq->bpq", weighted, jacobian[active])
        gradient = np.einsum("brp,br->bp", weighted, residual)
        diagonal = np.einsum("bpp->bp", normal)
        damped = normal + (damping[active, None] * (diagonal + 1e-12))[:, :, None] * np.eye(n_params)
        step = np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        trial = _inside(params[active] + step, floor)
        trial_fitted, trial_jacobian = predict(z_R, trial)
        trial_cost = (w_BxR[active] * (y_BxR[active] - trial_fitted) ** 2).sum(axis=1)
        better = trial_cost < cost[active]
        won = active[better]
        moved = np.abs(trial - params[active]).max(axis=1)
        params[won], fitted[won], jacobian[won] = trial[better], trial_fitted[better], trial_jacobian[better]
        cost[won] = trial_cost[better]
        # Never below rounding: points that all but coincide in effect leave the normal matrix singular.
        damping[active] = np.where(better, np.maximum(damping[active] * 0.2, 1e-12), damping[active] * 8)
        done = (moved < 1e-10) | (damping[active] > 1e12)
        active = active[~done]
        if not len(active):
            break
    return params, cost


def _inside(params_BxP: Floats, floor: float) -> Floats:
    params = params_BxP.copy()
    params[:, 0] = np.clip(params[:, 0], -_STEEPEST_SLOPE, _STEEPEST_SLOPE)
    params[:, 1] = np.clip(params[:, 1], -500, 500)
    if params.shape[1] == 3:
        params[:, 2] = np.clip(params[:, 2], floor + _SMALLEST_SPAN, 1.0)
    return params
