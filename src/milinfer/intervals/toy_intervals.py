"""Intervals of many toys at once, from −2ΔlnL with or without a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import chi2

from milinfer.intervals.calibration import Calibration
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.confidence_levels import CL68, require_level
from milinfer.utils.display import brief, html_facts, measured

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ToyIntervals", "toy_intervals"]


class ToyIntervals(NamedTuple):
    """Intervals of many toys.

    Parameters
    ----------
    truth
        True value of the parameter.
    estimate, low, high
        Estimate and ends of the interval of each toy, shape (n_toys,).
    covers
        Whether each interval contains the truth, shape (n_toys,).
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
        """One row for each toy: ``estimate``, ``low``, ``high``, ``covers``."""
        import pyarrow as pa

        columns = ("estimate", "low", "high", "covers")
        return pa.table({name: getattr(self, name) for name in columns})


def toy_intervals(
    ensemble: ToyEnsemble, calibration: Calibration | None = None, cl: float = CL68
) -> ToyIntervals:
    """Interval of every toy: the crossings of −2ΔlnL nearest to the estimate.

    Computed for all toys at once on a fine grid with linear interpolation, for figures and mean
    widths; for the interval of one dataset use
    :func:`~milinfer.likelihood.fits.profile_interval`.

    Parameters
    ----------
    ensemble
        Toys in one parameter.
    calibration
        Calibration of their model; None: the surface as it is.
    cl
        Confidence level.

    Raises
    ------
    CalibrationError
        If `cl` is not between 0 and 1, or not a level of the calibration.
    """
    require_level(cl)
    limits = ensemble.range if calibration is None else calibration.limits[0]
    fine = np.linspace(*limits, 801)

    def statistic(theta: float) -> FloatArray:
        if calibration is None:
            return ensemble.test_statistic(theta)
        return calibration.statistic(ensemble, theta, cl)

    q = np.stack([statistic(float(t)) for t in fine], axis=1)
    threshold = float(chi2.ppf(cl, 1))
    best = np.argmin(q, axis=1)
    rows = np.arange(len(q))
    estimate = (
        ensemble.theta_hat
        if calibration is None
        else calibration.correct_estimate(ensemble.theta_hat)
    )
    columns = np.arange(len(fine))
    above = q > threshold
    left = np.where(above & (columns < best[:, None]), columns, -1).max(axis=1)
    right = np.where(above & (columns > best[:, None]), columns, len(fine)).min(axis=1)

    def crossing(outside: IntArray, inside: IntArray, edge: float) -> FloatArray:
        inside_grid = (outside >= 0) & (outside < len(fine))
        o, i = np.clip(outside, 0, len(fine) - 1), np.clip(inside, 0, len(fine) - 1)
        rise = q[rows, o] - q[rows, i]
        share = (threshold - q[rows, i]) / np.where(rise == 0, 1.0, rise)
        return np.where(inside_grid, fine[i] + share * (fine[o] - fine[i]), edge)

    return ToyIntervals(
        truth=ensemble.truth,
        estimate=estimate,
        low=crossing(left, left + 1, limits[0]),
        high=crossing(right, right - 1, limits[1]),
        covers=statistic(ensemble.truth) <= threshold,
    )
