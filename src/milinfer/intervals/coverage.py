"""How often intervals contain the truth: coverage, as a function of θ, for every method.

Coverage is measured on toys from events that did not tune the method; toys of the tuning events are
refused.  Every number has a binomial error and the error from the finite pool of events, and a
method is judged at all truths together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from scipy.stats import binomtest, chi2

from milinfer.exceptions import CalibrationError, MilinferWarning, ParameterError
from milinfer.intervals.coverage_results import Coverage, CoverageScan, binomial_errors
from milinfer.intervals.response import require_one_kind
from milinfer.likelihood.unseen import require_unseen_toys
from milinfer.toys.pool import share_events
from milinfer.toys.toys import ToyEnsemble
from milinfer.typing import BoolArray
from milinfer.utils.points import format_point

__all__ = [
    "Asymptotic",
    "IntervalMethod",
    "coverage",
    "coverage_scan",
    "require_other_events",
    "warn_of_pools",
]

CL68, CL95 = 0.6827, 0.9545

# By which the truth is moved to see how the coverage depends on it, in standard deviations of θ̂.
_STEP = 0.25


class IntervalMethod(Protocol):
    """What makes intervals: a calibration, a belt, or the asymptotic formula."""

    @property
    def pool_ids(self) -> tuple[str, ...]:
        """Sketches of the events that tuned it."""

    def contains_truth(self, ensemble: ToyEnsemble, cl: float) -> BoolArray:
        """Whether the interval of each toy contains its truth, shape (n_toys,)."""


class Asymptotic:
    """{θ: 2 [Λ(θ̂) − Λ(θ)] ≤ quantile of χ²}, the surface taken at its word.

    Examples
    --------
    >>> Asymptotic().pool_ids
    ()
    """

    @property
    def pool_ids(self) -> tuple[str, ...]:
        """No events tuned it."""
        return ()

    def contains_truth(self, ensemble: ToyEnsemble, cl: float) -> BoolArray:
        """Whether the interval of each toy contains its truth, shape (n_toys,)."""
        values = list(ensemble.point.values())
        theta = values[0] if len(values) == 1 else values
        return np.asarray(ensemble.test_statistic(theta) <= chi2.ppf(cl, len(values)))


def coverage(
    ensemble: ToyEnsemble,
    method: IntervalMethod | None = None,
    cl: float = CL68,
    *,
    name: str | None = None,
    warn_of_pool: bool = True,
) -> Coverage:
    """Measure how often intervals contain the truth.

    Parameters
    ----------
    ensemble
        Toys at the truth.
    method
        What makes the intervals, tuned on other events; None takes the surface at its word.
    cl
        Confidence level claimed.
    name
        Of the method; default: its class.
    warn_of_pool
        Whether to warn of a pool that is too small.

    Raises
    ------
    CalibrationError
        If the toys come from events that tuned the method, or `cl` is not between 0 and 1.

    Warns
    -----
    MilinferWarning
        If the pool of events is too small for the precision that the number of toys claims.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(100_000, [0.1], seed=1), n_events=100, seed=2)
    >>> measured = coverage(toys.run([model], 0.1, 1000)["mean"])
    >>> abs(measured.pull) < 4
    True
    """
    if not 0 < cl < 1:
        msg = f"cl = {cl:g} is not a confidence level; give one between 0 and 1"
        raise CalibrationError(msg)
    chosen = Asymptotic() if method is None else method
    label = name or ("as it is" if method is None else type(method).__name__.lower())
    require_other_events(ensemble, chosen.pool_ids, label)
    inside = chosen.contains_truth(ensemble, cl)
    n, k = len(inside), int(inside.sum())
    p = k / n
    exact = binomtest(k, n).proportion_ci(0.6827, method="exact")
    shift = _pool_shift(ensemble, chosen, cl)
    measured = Coverage(
        ensemble.model,
        label,
        ensemble.point,
        cl,
        p,
        float(np.sqrt(p * (1 - p) / n)),
        float(exact.low),
        float(exact.high),
        n,
        float(np.hypot(ensemble.pool_coverage_error(cl), shift)),
    )
    if warn_of_pool:
        warn_of_pools([measured])
    return measured


def _pool_shift(ensemble: ToyEnsemble, method: IntervalMethod, cl: float) -> float:
    """Change of the coverage when the pool shifts all estimates by its standard error.

    Of first order where intervals are biased: their coverage has a slope in θ there.
    """
    estimates = ensemble.theta_hat.reshape(ensemble.n_toys, -1)
    spread = estimates.std(axis=0, ddof=1)
    slope = np.zeros(len(spread))
    for k, name in enumerate(ensemble.point):
        ends = []
        for step in (-_STEP * spread[k], _STEP * spread[k]):
            moved = replace(ensemble, point={**ensemble.point, name: ensemble.point[name] + step})
            moved.__dict__["extremum"] = ensemble.extremum  # of the same surfaces
            try:
                ends.append((step, float(method.contains_truth(moved, cl).mean())))
            except (CalibrationError, ParameterError):
                # Beyond the range of a belt or a calibration: the slope to the other side, then.
                ends.append((0.0, float(method.contains_truth(ensemble, cl).mean())))
        (left, low), (right, high) = ends
        slope[k] = (high - low) / (right - left) if right > left else np.nan
    covariance = np.atleast_2d(np.cov(estimates.T)) * ensemble.reuse / ensemble.n_toys
    return float(np.sqrt(slope @ covariance @ slope))


def coverage_scan(
    ensembles: Sequence[ToyEnsemble],
    methods: Mapping[str, IntervalMethod | None],
    cls: Sequence[float] = (CL68, CL95),
    *,
    warn_of_pool: bool = True,
    on_row: Callable[[int], None] | None = None,
) -> CoverageScan:
    """Coverage of several methods on the same toys at several truths.

    Parameters
    ----------
    ensembles
        Toys of one model at different truths.
    methods
        By name; None takes the surface at its word.
    cls
        Confidence levels.
    warn_of_pool
        Whether to warn, once, of pools that are too small; see :func:`coverage`.
    on_row
        Called with 1 after each coverage.

    Raises
    ------
    CalibrationError
        If the toys do not belong together, or tuned one of the methods.

    Examples
    --------
    See :func:`coverage` for one truth, and ``benchmarks/interval_coverage.py`` for a whole scan.
    """
    require_one_kind(ensembles)
    rows = []
    for name, method in methods.items():
        for cl in cls:
            for ensemble in ensembles:
                rows.append(coverage(ensemble, method, cl, name=name, warn_of_pool=False))
                if on_row is not None:
                    on_row(1)
    if warn_of_pool:
        warn_of_pools(rows)
    return CoverageScan(tuple(rows))


def warn_of_pools(rows: Sequence[Coverage]) -> None:
    """Warn, once, if the pools of events are too small for what the numbers of toys claim.

    Examples
    --------
    >>> row = Coverage("m", "belt", {"mu": 0.0}, 0.6827, 0.70, 0.01, 0.69, 0.71, 2000, 0.002)
    >>> warn_of_pools([row])
    """
    claimed = np.array([binomial_errors(r.cl, r.n_toys) for r in rows])
    # Models of bags do not know their pool error: nothing is compared then.
    excess = np.array([r.pool_error for r in rows]) / claimed
    bad = np.flatnonzero(excess > 1)
    if not len(bad):
        return
    k = int(bad[np.argmax(excess[bad])])
    worst = rows[k]
    msg = (
        f"{worst.model}, {worst.method} at {format_point(worst.point)}: {worst.n_toys} toys claim "
        f"a coverage to {claimed[k]:.2%}, but the pool of events that they share may shift it by "
        f"{worst.pool_error:.2%} ({len(bad)} of {len(rows)} coverages are such); use a larger pool"
    )
    warnings.warn(msg, MilinferWarning, stacklevel=3)


def require_other_events(ensemble: ToyEnsemble, pool_ids: Sequence[str], method: str) -> None:
    """Raise if toys were drawn from the events that trained a model or tuned a method.

    Raises
    ------
    CalibrationError
        If they share events.
    """
    require_unseen_toys([ensemble])
    if any(share_events(ensemble.pool_id, other) for other in pool_ids):
        msg = (
            f"these toys of {ensemble.model} at {format_point(ensemble.point)} come from the same "
            f"events that tuned the calibration ({method}): what they say of it means nothing; "
            "draw them from other events"
        )
        raise CalibrationError(msg)
