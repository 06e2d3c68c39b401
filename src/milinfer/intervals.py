"""Intervals from a cost, and how often they cover."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost
from scipy.stats import binomtest, chi2

from milinfer.calibration import Calibration
from milinfer.exceptions import CalibrationError, FitError
from milinfer.sketches import share_events
from milinfer.toys import ToyEnsemble
from milinfer.typing import BoolArray, FloatArray, IntArray

__all__ = ["Coverage", "Interval", "ToyIntervals", "coverage", "profile_interval", "toy_intervals"]


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


class Coverage(NamedTuple):
    """Share of the toys whose interval contains the truth.

    ``error`` is the binomial one, sqrt(p(1−p)/n); ``low`` and ``high`` bound the Clopper–Pearson
    68.27 % interval.
    """

    model: str
    theta: float
    cl: float
    coverage: float
    error: float
    low: float
    high: float
    n_toys: int


class ToyIntervals(NamedTuple):
    """Intervals of many toys, every array of shape (n_toys,)."""

    truth: float
    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    covers: BoolArray


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
        msg = f"{what}: {m.fmin}; look at the surface, its range and the starting values"
        raise FitError(msg)


def _statistic(ensemble: ToyEnsemble, calibration: Calibration | None, theta: float) -> FloatArray:
    if calibration is None:
        return ensemble.test_statistic(theta)
    if ensemble.model != calibration.model or ensemble.n_events != calibration.n_events:
        msg = (
            f"a calibration of {calibration.model} for {calibration.n_events} events cannot serve "
            f"toys of {ensemble.model} with {ensemble.n_events}"
        )
        raise CalibrationError(msg)
    scales = calibration.scales(ensemble.theta_hat)
    return scales * ensemble.test_statistic(calibration.forward(theta))


def coverage(
    ensemble: ToyEnsemble, calibration: Calibration | None = None, cl: float = 0.6827
) -> Coverage:
    """Measure how often {θ: −2ΔlnL(θ) ≤ χ²₁ quantile} contains the truth.

    Parameters
    ----------
    ensemble
        Toys at the truth.
    calibration
        Made on other events; None measures the surface as it is.
    cl
        Confidence level claimed.

    Raises
    ------
    CalibrationError
        If the toys come from the events that tuned the calibration.
    """
    if calibration is not None and any(
        share_events(ensemble.pool_id, p) for p in calibration.pool_ids
    ):
        msg = (
            f"these toys of {ensemble.model} at {ensemble.parameter} = {ensemble.truth:g} come "
            "from the events that tuned the calibration: it would mean nothing; use other events"
        )
        raise CalibrationError(msg)
    inside = _statistic(ensemble, calibration, ensemble.truth) <= chi2.ppf(cl, 1)
    n, k = len(inside), int(inside.sum())
    p = k / n
    exact = binomtest(k, n).proportion_ci(0.6827, method="exact")
    return Coverage(
        ensemble.model,
        ensemble.truth,
        cl,
        p,
        float(np.sqrt(p * (1 - p) / n)),
        float(exact.low),
        float(exact.high),
        n,
    )


def toy_intervals(
    ensemble: ToyEnsemble, calibration: Calibration | None = None, cl: float = 0.6827
) -> ToyIntervals:
    """Interval of every toy: the crossings of −2ΔlnL nearest to the estimate.

    Computed for all toys at once on a fine grid with linear interpolation, for figures and mean
    widths; the interval of one dataset is :func:`profile_interval`'s business.
    """
    limits = ensemble.range if calibration is None else calibration.limits
    fine = np.linspace(*limits, 801)
    q = np.stack([_statistic(ensemble, calibration, t) for t in fine], axis=1)
    threshold = float(chi2.ppf(cl, 1))
    best = np.argmin(q, axis=1)
    rows = np.arange(len(q))
    estimate = (
        ensemble.theta_hat if calibration is None else calibration.correct(ensemble.theta_hat)
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
        _statistic(ensemble, calibration, ensemble.truth) <= threshold,
    )
