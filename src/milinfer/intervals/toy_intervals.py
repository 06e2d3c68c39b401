"""Compute intervals of many toys at once, from −2ΔlnL with or without a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.belt import Belt, bounded_estimates
from milinfer.intervals.calibration import Calibration, calibrated_toys
from milinfer.intervals.profile_constants import profile_statistic
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.confidence_levels import CL68, chi2_quantile, require_level
from milinfer.utils.display import brief, html_facts, measured
from milinfer.utils.points import only

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ToyIntervals", "belt_excess", "toy_intervals"]

# Values of the parameter at which toys are compared with a threshold.
_FINE = 801
# The same for one of several parameters, where every value needs a search for the others.
_FINE_PROFILE = 161


class ToyIntervals(NamedTuple):
    """Intervals of many toys in one parameter.

    Parameters
    ----------
    truth
        True value of the parameter.
    estimate, low, high
        For each toy, the estimate and the lower and upper end of the interval, shape (n_toys,).
    covers
        For each toy, whether the interval contains the true value, shape (n_toys,).
    """

    truth: float
    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    covers: BoolArray

    def __repr__(self) -> str:
        return brief(self)

    def _repr_html_(self) -> str:
        n = len(self.covers)
        covered = float(np.mean(self.covers)) if n else float("nan")
        facts = {
            "truth": f"{self.truth:.4g}",
            "toys": n,
            "covered": measured(covered, float(np.sqrt(covered * (1 - covered) / max(n, 1)))),
            "mean width": measured(float(np.mean(self.high - self.low)) if n else None),
        }
        return html_facts("Intervals of toys", facts)

    def to_table(self) -> pa.Table:
        """Return a table with one row for each toy: ``estimate``, ``low``, ``high``, ``covers``."""
        import pyarrow as pa

        columns = ("estimate", "low", "high", "covers")
        return pa.table({name: getattr(self, name) for name in columns})


def toy_intervals(
    ensemble: ToyEnsemble,
    calibration: Calibration | None = None,
    cl: float = CL68,
    *,
    belt: Belt | None = None,
    parameter: str | None = None,
) -> ToyIntervals:
    """Compute the interval of every toy, with or without a calibration or a belt.

    The ends of an interval are the two values, one on each side of the estimate, at which −2ΔlnL
    first exceeds the threshold.  With a belt, a confidence set may consist of several intervals;
    the interval is then the one that contains the value whose statistic is farthest below the
    critical value.  Both ends are NaN if the belt accepts no value.

    The function uses a fine grid with linear interpolation for all toys at once, which is precise
    enough for figures and mean widths.  For the interval of one dataset use
    :func:`~milinfer.likelihood.fits.profile_interval`.

    Parameters
    ----------
    ensemble
        Toys in one parameter, or in several if `parameter` is given.
    calibration
        Calibration of the model of the toys; None: no calibration.
    cl
        Confidence level.
    belt
        Belt of the model of the toys, instead of a calibration.  If the belt was made with a
        calibration, this calibration is applied to the toys.
    parameter
        With several parameters: the parameter whose intervals are computed, with all other
        parameters profiled.  For a widened calibration, the error of the calibration is computed at
        the true values of the other parameters.

    Raises
    ------
    CalibrationError
        If `cl` is not between 0 and 1; if it is not a level of the calibration or the belt; if both
        a calibration and a belt are given; or if a belt is given together with one of several
        parameters.
    ParameterError
        If `parameter` is not one of the parameters, or is missing although there are several.
    """
    require_level(cl)
    if belt is not None and calibration is not None:
        msg = (
            "a belt applies its own calibration to the toys; give a belt or a calibration, not both"
        )
        raise CalibrationError(msg)
    if parameter is not None and len(ensemble.point) > 1:
        if belt is not None:
            msg = (
                "a belt in several parameters has regions, and no intervals of one parameter; give "
                "a calibration"
            )
            raise CalibrationError(msg)
        return _profiled(ensemble, calibration, cl, parameter)
    if belt is not None:
        return _between(belt_excess(belt, ensemble, cl), belt.limits[0], belt, ensemble, cl)
    limits = ensemble.range if calibration is None else calibration.limits[0]
    fine = np.linspace(*limits, _FINE)
    threshold = float(chi2_quantile(cl, 1))

    def statistic(theta: float) -> FloatArray:
        if calibration is None:
            return ensemble.test_statistic(theta)
        return calibration.statistic(ensemble, theta, cl)

    excess = np.stack([statistic(float(t)) for t in fine], axis=1) - threshold
    estimate = (
        ensemble.theta_hat
        if calibration is None
        else calibration.correct_estimate(ensemble.theta_hat)
    )
    low, high = _crossings(excess, limits)
    covers = statistic(ensemble.truth) <= threshold
    return ToyIntervals(truth=ensemble.truth, estimate=estimate, low=low, high=high, covers=covers)


def _profiled(
    ensemble: ToyEnsemble, calibration: Calibration | None, cl: float, parameter: str
) -> ToyIntervals:
    """Intervals of one parameter, with the others profiled."""
    names = list(ensemble.point)
    if parameter not in names:
        msg = f"{parameter!r} is not one of the parameters {', '.join(names)}"
        raise ParameterError(msg)
    k, threshold = names.index(parameter), float(chi2_quantile(cl, 1))
    own = None if calibration is None else calibration.profiled(parameter)
    box = ensemble.interpolation.limits if own is None else own.limits

    def statistic(value: float) -> FloatArray:
        if own is None:
            return profile_statistic(ensemble, k, value, box)
        return own.statistic(ensemble, list({**ensemble.point, parameter: value}.values()), cl)

    fine = np.linspace(*box[k], _FINE_PROFILE)
    excess = np.stack([statistic(float(t)) for t in fine], axis=1) - threshold
    low, high = _crossings(excess, box[k])
    estimate = ensemble.theta_hat
    if own is not None:
        estimate = own.correct_estimate(estimate)
    truth = ensemble.point[parameter]
    covers = statistic(truth) <= threshold
    return ToyIntervals(truth=truth, estimate=estimate[:, k], low=low, high=high, covers=covers)


def belt_excess(belt: Belt, ensemble: ToyEnsemble, cl: float) -> FloatArray:
    """Compute how far the statistic of each toy is outside the accepted values of a belt.

    Parameters
    ----------
    belt
        Belt in one parameter.
    ensemble
        Toys of the model of the belt.
    cl
        Level of the belt.

    Returns
    -------
    ndarray
        The distance for values of the parameter at equal steps over the range of the belt, shape
        (n_toys, n_values).  It is not positive for values in the confidence set.

    Raises
    ------
    CalibrationError
        If the toys belong to another model than the belt or their number of events differs, or if
        `cl` is not a level of the belt.
    """
    belt.contains_truth(ensemble.with_truth({only(belt.parameters): belt.limits[0][0]}), cl)
    if belt.calibration is not None:
        ensemble = calibrated_toys(belt.calibration, ensemble)
    fine = np.linspace(*belt.limits[0], _FINE)
    if belt.ordering == "likelihood-ratio":
        bounded = ensemble.interpolation.extrema(ensemble.values, belt.bounds)
        at = ensemble.interpolation.values_at(ensemble.values, fine)
        q = 2 * (bounded.maximum[:, None] - at)
        excess: FloatArray = np.maximum(q, 0.0) - belt.critical(cl)(fine)
        return excess
    theta_hat = bounded_estimates(ensemble, belt.bounds)[:, None]
    lower, upper = belt.acceptance(cl)
    sides = [lower(fine) - theta_hat] if lower is not None else []
    sides += [theta_hat - upper(fine)] if upper is not None else []
    out: FloatArray = np.max(sides, axis=0)
    return out


def _between(
    excess: FloatArray, limits: tuple[float, float], belt: Belt, ensemble: ToyEnsemble, cl: float
) -> ToyIntervals:
    low, high = _crossings(excess, limits)
    empty = np.min(excess, axis=1) > 0
    return ToyIntervals(
        truth=ensemble.truth,
        estimate=bounded_estimates(ensemble, belt.bounds),
        low=np.where(empty, np.nan, low),
        high=np.where(empty, np.nan, high),
        covers=belt.contains_truth(ensemble, cl),
    )


def _crossings(excess: FloatArray, limits: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Zeros of the excess on both sides of its minimum, for each toy.

    An interval that leaves the range ends at its limit.
    """
    fine = np.linspace(*limits, excess.shape[1])
    best = np.argmin(excess, axis=1)
    rows, columns = np.arange(len(excess)), np.arange(len(fine))
    above = excess > 0
    left = np.where(above & (columns < best[:, None]), columns, -1).max(axis=1)
    right = np.where(above & (columns > best[:, None]), columns, len(fine)).min(axis=1)

    def crossing(outside: IntArray, inside: IntArray, edge: float) -> FloatArray:
        inside_grid = (outside >= 0) & (outside < len(fine))
        o, i = np.clip(outside, 0, len(fine) - 1), np.clip(inside, 0, len(fine) - 1)
        rise = excess[rows, o] - excess[rows, i]
        share = -excess[rows, i] / np.where(rise == 0, 1.0, rise)
        return np.where(inside_grid, fine[i] + share * (fine[o] - fine[i]), edge)

    return crossing(left, left + 1, limits[0]), crossing(right, right - 1, limits[1])
