"""Intervals from a cost with MINOS, and of many toys at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost
from scipy.stats import chi2

from milinfer.exceptions import FitError
from milinfer.intervals.calibration import Calibration
from milinfer.toys.toys import ToyEnsemble
from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.display import brief, html_facts, measured, shortened
from milinfer.utils.tables import tuples_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Interval", "ToyIntervals", "profile_interval", "toy_intervals"]


class Interval(NamedTuple):
    """Estimate and profile-likelihood interval of one parameter."""

    parameter: str
    estimate: float
    low: float
    high: float
    cl: float
    error: float
    minuit: Minuit

    @property
    def width(self) -> float:
        """Full width."""
        return self.high - self.low

    def __str__(self) -> str:
        down, up = self.low - self.estimate, self.high - self.estimate
        return f"{self.parameter} = {self.estimate:.4g} {down:+.2g} {up:+.2g} at {self.cl:.2%} CL"

    def __repr__(self) -> str:
        # Without the tables of Minuit, which `interval.minuit` shows.
        return brief(self, leave_out=("minuit",))

    def _repr_html_(self) -> str:
        facts = {
            "estimate": measured(self.estimate, self.error),
            f"{self.cl:.2%} interval": f"[{self.low:.4g}, {self.high:.4g}]",
            "minimum": "valid" if self.minuit.valid else "not valid",
            "fitted": shortened(list(self.minuit.parameters)),
        }
        return html_facts(self.parameter, facts)

    def to_table(self) -> pa.Table:
        """One row: ``parameter``, ``estimate``, ``low``, ``high``, ``cl``, ``error``."""
        return tuples_table(Interval, [self])


class ToyIntervals(NamedTuple):
    """Intervals of many toys, every array of shape (n_toys,)."""

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


def profile_interval(cost: Cost, parameter: str, cl: float = 0.6827, **start: float) -> Interval:
    """Minimise a cost and take the profile-likelihood interval of one parameter with MINOS.

    Parameters
    ----------
    cost
        Any iminuit cost, sums included.
    parameter
        Parameter of interest; all others are profiled.
    cl
        Confidence level of the interval (one parameter: Δ(−2 ln L) = χ²₁ quantile).
    start
        Starting values; default 0, moved inside the limits.

    Raises
    ------
    FitError
        If MIGRAD, HESSE or MINOS is not valid, or the interval runs into a limit.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> interval = profile_interval(NormalConstraint("mu", 1.0, 0.5), "mu")
    >>> print(f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]")
    1.00 [0.50, 1.50]
    """
    values = {}
    for name, limits in cost._parameters.items():
        value = start.get(name, 0.0)
        if limits is not None:
            low, high = (float(x) for x in limits)
            if not low < value < high:
                value = (low + high) / 2 if np.isfinite(low + high) else max(low, min(high, value))
        values[name] = value
    m = Minuit(cost, **values)
    # The default of 0.1 leaves estimates off by up to a percent of their error.
    m.tol = 1e-4
    m.migrad()
    _require(m.valid, m, f"MIGRAD did not converge for {parameter}")
    m.hesse()
    _require(m.valid, m, f"HESSE failed for {parameter}")
    m.minos(parameter, cl=cl)
    merror = m.merrors[parameter]
    _require(
        bool(merror.is_valid and not merror.at_lower_limit and not merror.at_upper_limit),
        m,
        f"MINOS found no {cl:.2%} interval of {parameter} inside its limits {m.limits[parameter]}",
    )
    estimate = float(m.values[parameter])
    return Interval(
        parameter,
        estimate,
        estimate + float(merror.lower),
        estimate + float(merror.upper),
        cl,
        float(m.errors[parameter]),
        m,
    )


def _require(valid: bool, m: Minuit, what: str) -> None:
    if not valid:
        msg = (
            f"{what} ({m.nfcn} calls, EDM {m.fmin.edm:.2g} for a goal of {m.fmin.edm_goal:.2g}); "
            "look at the surface, its range and the starting values"
        )
        raise FitError(msg)


def toy_intervals(
    ensemble: ToyEnsemble, calibration: Calibration | None = None, cl: float = 0.6827
) -> ToyIntervals:
    """Interval of every toy: the crossings of −2ΔlnL nearest to the estimate.

    Computed for all toys at once on a fine grid with linear interpolation, for figures and mean
    widths; the interval of one dataset is :func:`profile_interval`'s business.
    """
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
        found = (outside >= 0) & (outside < len(fine))
        o, i = np.clip(outside, 0, len(fine) - 1), np.clip(inside, 0, len(fine) - 1)
        rise = q[rows, o] - q[rows, i]
        share = (threshold - q[rows, i]) / np.where(rise == 0, 1.0, rise)
        return np.where(found, fine[i] + share * (fine[o] - fine[i]), edge)

    return ToyIntervals(
        ensemble.truth,
        estimate,
        crossing(left, left + 1, limits[0]),
        crossing(right, right - 1, limits[1]),
        statistic(ensemble.truth) <= threshold,
    )
