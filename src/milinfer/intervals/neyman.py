"""Make confidence belts from many toys at each point of a grid, or from one toy at many points.

:func:`neyman` needs a grid of true points, with enough toys at each point to measure a quantile.
:func:`regression_belt` uses quantile regression: it fits the accepted values as smooth functions of
θ to the toys of all true points together.  The true values can then be drawn at random, and about
2000 toys are enough for the full range.  If a polynomial describes the critical values,
:func:`neyman` with the argument `smooth` is as precise as :func:`regression_belt` for the same
number of toys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.belt import Belt, Ordering, Smooth, accepted_ends, true_points
from milinfer.intervals.calibration import Calibration, calibrated_toys
from milinfer.intervals.critical_values import PolynomialCurve, quantile_regression
from milinfer.likelihood.surface import Bounds, Limits
from milinfer.toys.ensemble import ToyEnsemble, profiled_ranges, require_toys
from milinfer.typing import FloatArray
from milinfer.utils.confidence_levels import CL68, CL95, levels_of

__all__ = ["neyman", "regression_belt"]


def neyman(
    ensembles: Sequence[ToyEnsemble],
    *,
    cl: float | Sequence[float] = (CL68, CL95),
    ordering: Ordering = "likelihood-ratio",
    bounds: Bounds | None = None,
    smooth: Smooth = "auto",
    calibration: Calibration | None = None,
) -> Belt:
    """Make a confidence belt from toys at a grid of true points.

    Parameters
    ----------
    ensembles
        Toys of one model: one :class:`~milinfer.toys.ensemble.ToyEnsemble` for each true point.  If
        you have very many points with one toy or a few toys each, use
        :func:`~milinfer.intervals.neyman.regression_belt`.
    cl
        Confidence levels.
    ordering
        Which values are accepted.  ``"likelihood-ratio"``: small values of the statistic q(θ) = 2
        [max Λ − Λ(θ)], as in the method of Feldman and Cousins (Phys. Rev. D 57 (1998) 3873, eq.
        4.1).  With several parameters, only this ordering is possible.  ``"central"``: θ̂ between
        its quantiles (1 − cl)/2 and (1 + cl)/2.  ``"upper"`` (for upper limits): θ̂ above its
        quantile 1 − cl.  ``"lower"`` (for lower limits): θ̂ below its quantile cl.
    bounds
        Physical bounds inside the range in which Λ is defined: ``(low, high)`` for one parameter, a
        list of such pairs for several.  An infinite bound means the end of this range.  The maximum
        of Λ is searched between the bounds.
    smooth
        A polynomial in θ can be fitted to the critical values c, to reduce their Monte-Carlo
        errors; if all c are above 0, it is fitted to ln c.  A number is the degree of this
        polynomial.  ``"auto"``: the lowest degree up to 6 that describes the critical values
        (p-value above 5 %).  If no degree does, which can happen near a physical bound, the
        critical values are interpolated linearly.  None: they are always interpolated linearly.
    calibration
        Calibration of the model.  It is applied to Λ of the toys and of datasets.  A belt without a
        calibration has the right coverage, too, but its critical values contain the bias of the
        estimates, which shifts with the statistical fluctuation of the pool of simulated events.

    Returns
    -------
    Belt
        The belt.  The errors of its ends are due to the finite number of toys.  For the orderings
        ``"central"``, ``"upper"`` and ``"lower"``, they also include the error due to the finite
        pool of simulated events, because a fluctuation of the pool shifts all estimates.

    Raises
    ------
    CalibrationError
        If the toys are of different kinds; if there are too few toys or too few points; if a point
        is outside the bounds; if the ordering is unknown; or if the ordering needs a single
        parameter and the toys have several.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> from milinfer.samples.sample_set import SampleSet
    >>> from milinfer.toys.toys import Toys
    >>> pool = SampleSet(tuple(
    ...     quadratic.generate(5000, {"c1": c}, seed=k) for k, c in enumerate([-0.3, 0.0, 0.3])))
    >>> oracle = Oracle.from_sample(pool.at(c1=0.0), "c1", np.linspace(-1, 1, 21), degree=2)
    >>> toys = Toys(pool, n_events=100, seed=1)
    >>> belt = neyman([toys.run([oracle], c, 200)["oracle"] for c in (-0.3, 0.0, 0.3)])
    >>> belt.upper.shape
    (3, 2)
    """
    levels = levels_of(cl)
    require_toys(ensembles)
    pool_ids = tuple(e.pool_id for e in ensembles)
    if calibration is not None:
        ensembles = [calibrated_toys(calibration, e) for e in ensembles]
        pool_ids += calibration.pool_ids
    points, allowed = true_points(ensembles, ordering, bounds)
    if len(np.unique(points, axis=0)) < len(points):
        msg = f"two ensembles are at the same point of {points.tolist()}; join them with + first"
        raise CalibrationError(msg)
    first = ensembles[0]
    ends = np.array([accepted_ends(e, levels, ordering, allowed) for e in ensembles])
    lower, lower_error, upper, upper_error = np.moveaxis(ends, 2, 0)
    belt = Belt(
        tag=first.tag,
        parameters=tuple(first.point),
        ordering=ordering,
        points=points,
        cl=levels,
        lower=lower,
        lower_error=lower_error,
        upper=upper,
        upper_error=upper_error,
        bounds=allowed,
        smooth=smooth,
        n_events=float(first.n_events),
        extended=first.extended,
        n_toys=tuple(e.n_toys for e in ensembles),
        pool_ids=pool_ids,
        calibration=calibration,
        poisson=first.poisson,
        profiled_truth=profiled_ranges(ensembles),
    )
    # Fail here rather than at the first dataset if a curve cannot be made.
    for level in levels:
        _ = belt.critical(level) if ordering == "likelihood-ratio" else belt.acceptance(level)
    return belt


# Points in each parameter at which the ends are listed, by number of parameters.
_LISTED = {1: 21, 2: 5}
# Number of surfaces whose maxima are searched at once, which bounds the memory.
_BLOCK = 1000


def regression_belt(
    ensembles: Sequence[ToyEnsemble],
    *,
    cl: float | Sequence[float] = (CL68, CL95),
    ordering: Ordering = "likelihood-ratio",
    bounds: Bounds | None = None,
    degree: int | Literal["auto"] = "auto",
    calibration: Calibration | None = None,
) -> Belt:
    """Make a confidence belt from one or a few toys at each of many true points.

    Parameters
    ----------
    ensembles
        Toys of one model, for example from ``Toys.scan(models, truths, n_toys=1)``.  Draw the true
        values from a uniform distribution over the range of the parameters: about 2000 values for
        one parameter, and about 5000 for two.
    cl, ordering, bounds, calibration
        As for :func:`milinfer.neyman`.
    degree
        Each end of the range of accepted values is described by a polynomial in θ of this degree.
        For likelihood-ratio ordering, the polynomial describes ln c, the logarithm of the largest
        accepted value of the test statistic.  ``"auto"`` takes the lowest degree for which the
        fraction of accepted toys does not depend on θ, and adds one; the result is at most 6.  See
        :func:`~milinfer.intervals.critical_values.quantile_regression`.

    Returns
    -------
    Belt
        Belt for the range of the true values.  The errors of its ends are computed by the
        regression.  They are due to the finite number of toys, and are larger towards the ends of
        the range and in regions with few true values.  For the orderings ``"central"``, ``"upper"``
        and ``"lower"``, they also include the error due to the finite pool of simulated events,
        because a fluctuation of the pool shifts all estimates.

    Raises
    ------
    CalibrationError
        If the toys are of different kinds; if there are too few toys; if a true value is outside
        the bounds; or if no polynomial describes the accepted values, which can happen near a
        physical bound.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> from milinfer.toys.pool import EventPool
    >>> from milinfer.toys.toys import Toys
    >>> samples = quadratic.samples(5000, [{"c1": c} for c in (-0.5, 0.0, 0.5)], seed=1)
    >>> oracle = Oracle.from_sample(samples[1], "c1", np.linspace(-1, 1, 21), degree=2)
    >>> toys = Toys(EventPool(samples, degree=2), n_events=100, seed=2)
    >>> truths = np.random.default_rng(3).uniform(-0.5, 0.5, 1000)
    >>> belt = regression_belt(toys.scan([oracle], truths, n_toys=1)["oracle"], cl=0.6827)
    >>> belt.n_toys, bool(0.7 < belt.critical()(0.0)[0] < 1.3)
    ((1000,), True)
    """
    levels = levels_of(cl)
    require_toys(ensembles)
    pool_ids = tuple(dict.fromkeys(e.pool_id for e in ensembles))
    if calibration is not None:
        ensembles = [calibrated_toys(calibration, e) for e in ensembles]
        pool_ids += calibration.pool_ids
    points, allowed = true_points(ensembles, ordering, bounds)
    first = ensembles[0]
    theta = np.repeat(points, [e.n_toys for e in ensembles], axis=0)
    estimates, statistic = _estimates_and_statistic(ensembles, theta, allowed)
    names = tuple(first.point)

    def curve(share: float) -> PolynomialCurve:
        if ordering == "likelihood-ratio":
            return quantile_regression(names, theta, statistic, share, degree, logarithmic=True)
        polynomial_curve = quantile_regression(names, theta, estimates, share, degree)
        return _add_pool_error(polynomial_curve, ensembles, theta, estimates)

    curves: list[tuple[PolynomialCurve | None, PolynomialCurve | None]] = []
    for level in levels:
        if ordering == "likelihood-ratio":
            curves.append((None, curve(level)))
            continue
        tail = (1 - level) / 2 if ordering == "central" else 1 - level
        lower = None if ordering == "lower" else curve(tail)
        curves.append((lower, None if ordering == "upper" else curve(1 - tail)))
    low, high = points.min(axis=0), points.max(axis=0)
    n = _LISTED.get(len(names), 3)
    axes = [np.linspace(a, b, n) for a, b in zip(low, high, strict=True)]
    listed_points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(names))
    open_end = 0.0 if ordering == "likelihood-ratio" else -np.inf
    lower_values, lower_errors = _ends_at([c for c, _ in curves], listed_points, open_end)
    upper_values, upper_errors = _ends_at([c for _, c in curves], listed_points, np.inf)
    return Belt(
        tag=first.tag,
        parameters=names,
        ordering=ordering,
        points=listed_points,
        cl=levels,
        lower=lower_values,
        lower_error=lower_errors,
        upper=upper_values,
        upper_error=upper_errors,
        bounds=allowed,
        smooth=None,
        n_events=float(np.mean([e.n_events for e in ensembles])),
        extended=first.extended,
        n_toys=(len(theta),),
        pool_ids=pool_ids,
        regression=tuple(curves),
        calibration=calibration,
        poisson=first.poisson,
        profiled_truth=profiled_ranges(ensembles),
    )


def _estimates_and_statistic(
    ensembles: Sequence[ToyEnsemble], theta: FloatArray, bounds: Limits
) -> tuple[FloatArray, FloatArray]:
    """Estimate between the bounds, and likelihood-ratio statistic at the truth, of every toy."""
    grid = ensembles[0].interpolation
    for e in ensembles:
        if not np.array_equal(e.interpolation.grid, grid.grid):
            msg = (
                f"Λ of the toys of {e.model} was computed at different values of the parameters "
                "than at the first true point; make all toys of a belt with the same model"
            )
            raise CalibrationError(msg)
    values = np.concatenate([e.values for e in ensembles])
    truth = theta[:, 0] if theta.shape[1] == 1 else theta
    estimates, statistic = [], []
    for k in range(0, len(values), _BLOCK):
        rows = slice(k, k + _BLOCK)
        extremum = grid.extrema(values[rows], bounds)
        at = grid.evaluate(values[rows], truth[rows])
        estimates.append(extremum.theta_hat)
        statistic.append(np.maximum(2 * (extremum.maximum - at), 0.0))
    return np.concatenate(estimates), np.concatenate(statistic)


def _add_pool_error(
    curve: PolynomialCurve,
    ensembles: Sequence[ToyEnsemble],
    theta: FloatArray,
    estimates: FloatArray,
) -> PolynomialCurve:
    """Add the error of the pool, which shifts all estimates together, to the constant term."""
    terms = curve.polynomial.terms(theta)
    mean = terms @ np.linalg.lstsq(terms, estimates, rcond=None)[0]
    share = float(np.mean([e.n_events / e.n_effective for e in ensembles]))
    covariance = curve.polynomial.covariance.copy()
    covariance[0, 0] += float(np.var(estimates - mean)) * share
    return replace(curve, polynomial=replace(curve.polynomial, covariance=covariance))


def _ends_at(
    curves: Sequence[PolynomialCurve | None], points: FloatArray, open_end: float
) -> tuple[FloatArray, FloatArray]:
    """Ends of the accepted values at points and their errors, each of shape (n, n_cl)."""
    n = len(points)
    values = [np.full(n, open_end) if c is None else c(points) for c in curves]
    errors = [np.zeros(n) if c is None else c.error(points) for c in curves]
    return np.stack(values, axis=1), np.stack(errors, axis=1)
