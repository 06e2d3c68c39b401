"""Compute critical values of a test statistic as a function of the parameters.

A Neyman construction accepts a value θ if the test statistic at θ is not above the critical value
c(θ).  The critical value is a quantile of the statistic in toys generated at θ.
:func:`critical_value` computes this quantile, and its error due to the finite number of toys.
:class:`InterpolatedCurve` and :func:`smooth_curve` give critical values between the points at which
toys were generated.

With several parameters, it takes very many toys to compute a quantile at each point of a grid.
:func:`quantile_regression` needs fewer toys: it fits a function c(θ) to toys at many random θ, with
one toy at each θ (Dalmasso, Izbicki and Lee, arXiv:2002.10399; "Likelihood-free frequentist
inference", arXiv:2107.03920, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.likelihood.surface import Limits
from milinfer.typing import BoolArray, FloatArray
from milinfer.utils.confidence_levels import require_level
from milinfer.utils.polynomials import PolynomialBasis
from milinfer.utils.smooth_polynomials import SmoothPolynomial, fit_smooth

__all__ = [
    "CriticalCurve",
    "CriticalValue",
    "InterpolatedCurve",
    "MAX_DEGREE",
    "PolynomialCurve",
    "critical_value",
    "exact_critical_values",
    "quantile_regression",
    "smooth_curve",
]


# A sum of probabilities this close to the confidence level differs from it only by rounding.
_ROUNDING = 1e-12
# Highest degree of a polynomial that is chosen automatically for critical values.
MAX_DEGREE = 6


class CriticalValue(NamedTuple):
    """A quantile of a statistic and its standard error (0 for exact probabilities)."""

    value: float
    error: float


def critical_value(
    statistic: ArrayLike, cl: float, weights: ArrayLike | None = None
) -> CriticalValue:
    r"""Compute the critical value of a test statistic q: the smallest c with P(q ≤ c) ≥ `cl`.

    For n pseudo-experiments sorted by q, c is the value of q with rank :math:`k = \lceil n\,cl
    \rceil` in ascending order.  The number of pseudo-experiments below the true quantile has a
    binomial distribution with the standard deviation :math:`s = \sqrt{n\,cl\,(1 - cl)}`.  The error
    of c is therefore half of the difference between the values of q with the ranks :math:`n\,cl +
    s` and :math:`n\,cl - s`; between two ranks q is interpolated linearly (David and Nagaraja,
    *Order Statistics*, §7.1).

    Parameters
    ----------
    statistic
        Test statistic of each pseudo-experiment, shape (n,); or, with `weights`, of each possible
        outcome of the experiment.
    cl
        Confidence level, between 0 and 1.
    weights
        Exact probability of each possible outcome, shape (n,), if `statistic` lists outcomes
        instead of pseudo-experiments.  The accepted outcomes together have at least the probability
        `cl`.  It is in general larger than `cl`, because outcomes are discrete, so the test is
        conservative.

    Raises
    ------
    CalibrationError
        If the statistic is empty or not finite, if `cl` or the weights are not probabilities, or if
        there are too few pseudo-experiments to compute the error.

    Examples
    --------
    >>> critical_value([0.0, 1.0, 2.0], 0.7, weights=[0.5, 0.3, 0.2])
    CriticalValue(value=1.0, error=0.0)
    >>> q = np.random.default_rng(1).chisquare(1, 10_000)
    >>> c = critical_value(q, 0.6827)
    >>> print(f"{c.value:.2f} ± {c.error:.2f}")
    0.99 ± 0.02
    """
    q = np.asarray(statistic, dtype=np.float64)
    if q.ndim != 1 or len(q) == 0 or not np.all(np.isfinite(q)):
        msg = f"statistic must be finite numbers of shape (n,); check it (its shape is {q.shape})"
        raise CalibrationError(msg)
    require_level(cl)
    if weights is not None:
        p = np.asarray(weights, dtype=np.float64)
        if p.shape != q.shape or not np.all(p >= 0) or not np.isfinite(p.sum()) or p.sum() <= 0:
            msg = f"weights must be {len(q)} probabilities, not negative and not all 0"
            raise CalibrationError(msg)
        return CriticalValue(float(exact_critical_values(q[:, None], p[:, None], cl)[0]), 0.0)
    n = len(q)
    spread = np.sqrt(n * cl * (1 - cl))
    if n * cl - spread < 1 or n * cl + spread > n:
        need = int(np.ceil(max(cl / (1 - cl), (1 - cl) / cl))) + 2
        msg = (
            f"{n} toys are too few for the error of the {cl:.2%} quantile; generate {need} or more"
        )
        raise CalibrationError(msg)
    ordered = np.sort(q)
    rank = int(np.ceil(n * cl * (1 - _ROUNDING)))
    below, above = np.interp([n * cl - spread, n * cl + spread], np.arange(1, n + 1), ordered)
    return CriticalValue(float(ordered[rank - 1]), float(above - below) / 2)


def exact_critical_values(statistic: FloatArray, probability: FloatArray, cl: float) -> FloatArray:
    """Compute critical values from the probabilities of all outcomes, for several points at once.

    The critical value of a point is the smallest c with P(q ≤ c) ≥ `cl`.

    Parameters
    ----------
    statistic
        Test statistic q of every outcome at every point, shape (n_outcomes, n_points).  It may be
        infinite for an outcome with probability 0.
    probability
        Probability of every outcome at every point, not negative, shape (n_outcomes, n_points).  A
        column does not need to sum to 1; it is divided by its sum.
    cl
        Confidence level, between 0 and 1.

    Examples
    --------
    >>> q, p = np.array([[0.0, 2.0], [1.0, np.inf]]), np.array([[0.5, 1.0], [0.5, 0.0]])
    >>> exact_critical_values(q, p, 0.7).tolist()
    [1.0, 2.0]
    """
    order = np.argsort(statistic, axis=0, kind="stable")
    cumulative = np.cumsum(np.take_along_axis(probability, order, axis=0), axis=0)
    # Positive, and at most the last sum: some outcome reaches it.
    reached = np.argmax(cumulative >= cl * cumulative[-1] * (1 - _ROUNDING), axis=0)
    rank = np.take_along_axis(order, reached[None], axis=0)
    return np.asarray(np.take_along_axis(statistic, rank, axis=0)[0], dtype=np.float64)


class CriticalCurve(Protocol):
    """Critical value as a function of the parameters.

    Call the curve with θ to get critical values; :meth:`error` returns their errors.  θ has the
    shape (m,) for one parameter and (m, n_parameters) for several; the result has the shape (m,).
    Outside `limits` a ParameterError is raised.
    """

    @property
    def limits(self) -> Limits:
        """Range of each parameter in which the curve is defined."""

    def __call__(self, theta: ArrayLike) -> FloatArray:
        """Return critical values."""

    def error(self, theta: ArrayLike) -> FloatArray:
        """Return the standard errors of the critical values."""


def _points(theta: ArrayLike, limits: Limits) -> FloatArray:
    points = np.asarray(theta, dtype=np.float64).reshape(-1, len(limits))
    low, high = np.array(limits).T
    slack = 1e-9 * (high - low)
    outside = ~np.all((points >= low - slack) & (points <= high + slack), axis=1)
    if outside.any():
        msg = (
            f"the critical value at θ = {points[outside][0]} is not defined outside {limits}; "
            "generate toys at points further out"
        )
        raise ParameterError(msg)
    return np.clip(points, low, high)


@dataclass(frozen=True, eq=False)
class InterpolatedCurve:
    """Linear interpolation of critical values between points.

    In several parameters the interpolation is linear over Delaunay triangles.  The error is
    interpolated linearly, too.  Between two points it is therefore larger than it would be with
    error propagation from the independent errors of the points.

    Parameters
    ----------
    points
        Points with a critical value, shape (n, n_parameters).
    values, errors
        Critical values at the points, and their errors, shape (n,).
    piled_up
        Only for one parameter: whether many estimates lie exactly at the point, for example because
        the point is a physical bound, shape (n,).  Between such a point and a neighbour without
        this property, the value at the point is used instead of the interpolation, so that more
        values are accepted.

    Examples
    --------
    >>> curve = InterpolatedCurve(np.array([[0.0], [1.0]]), np.array([1.0, 2.0]), np.full(2, 0.1))
    >>> float(curve(0.25)[0]), float(curve.error(0.25)[0])
    (1.25, 0.1)
    """

    points: FloatArray
    values: FloatArray
    errors: FloatArray
    piled_up: BoolArray | None = None

    def __post_init__(self) -> None:
        n, n_parameters = self.points.shape
        if len(np.unique(self.points, axis=0)) < n or n < n_parameters + 1:
            msg = (
                f"{n} points do not span {n_parameters} parameter(s), or a point is listed twice; "
                "give distinct points that vary every parameter"
            )
            raise CalibrationError(msg)

    @property
    def limits(self) -> Limits:
        """Range of the points in each parameter."""
        low, high = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        return tuple(zip(low, high, strict=True))

    def __call__(self, theta: ArrayLike) -> FloatArray:
        """Critical values, shape (m,)."""
        return np.asarray(self._at(theta)[0])

    def error(self, theta: ArrayLike) -> FloatArray:
        """Standard errors, shape (m,)."""
        return np.asarray(self._at(theta)[1])

    def _at(self, theta: ArrayLike) -> FloatArray:
        points = _points(theta, self.limits)
        if points.shape[1] == 1:
            order = np.argsort(self.points[:, 0])
            theta_grid = self.points[order, 0]
            value, error = (
                np.interp(points[:, 0], theta_grid, y[order]) for y in (self.values, self.errors)
            )
            if self.piled_up is not None:
                piled_up = self.piled_up[order]
                at = points[:, 0]
                right = np.searchsorted(theta_grid, at).clip(1, len(order) - 1)
                between = (at > theta_grid[right - 1]) & (at < theta_grid[right])
                for inner, outer in ((right - 1, right), (right, right - 1)):
                    at_edge = between & piled_up[inner] & ~piled_up[outer]
                    value = np.where(at_edge, self.values[order][inner], value)
            return np.array([value, error])
        return np.asarray(self._triangles(points), dtype=np.float64).T

    @cached_property
    def _triangles(self) -> Any:
        from scipy.interpolate import LinearNDInterpolator

        return LinearNDInterpolator(self.points, np.stack([self.values, self.errors], axis=1))


@dataclass(frozen=True, eq=False)
class PolynomialCurve:
    """Critical value as a polynomial in θ, defined in the range of θ in which it was fitted.

    Parameters
    ----------
    polynomial
        The polynomial for c(θ), or for ln c(θ).
    logarithmic
        Whether `polynomial` is ln c.

    Examples
    --------
    >>> theta = np.linspace(-1, 1, 9)[:, None]
    >>> curve = smooth_curve(("mu",), theta, np.exp(theta[:, 0]), np.full(9, 0.01))
    >>> print(curve(0.3).round(6), curve.polynomial.basis.degree, curve.polynomial.ndf)
    [1.349859] 1 7
    """

    polynomial: SmoothPolynomial
    logarithmic: bool = False

    @property
    def limits(self) -> Limits:
        """Range of each parameter in which the polynomial was fitted."""
        low, high = self.polynomial.low.tolist(), self.polynomial.high.tolist()
        return tuple(zip(low, high, strict=True))

    def __call__(self, theta: ArrayLike) -> FloatArray:
        """Critical values, shape (m,)."""
        value = self.polynomial(_points(theta, self.limits))
        return np.exp(value) if self.logarithmic else value

    def error(self, theta: ArrayLike) -> FloatArray:
        """Standard errors, shape (m,)."""
        error = self.polynomial.error(_points(theta, self.limits))
        return error * self(theta) if self.logarithmic else error


def smooth_curve(
    parameters: Sequence[str],
    points: FloatArray,
    values: FloatArray,
    errors: FloatArray,
    degree: int | None = None,
    *,
    logarithmic: bool = True,
) -> PolynomialCurve:
    """Fit a polynomial in θ to critical values, by least squares weighted with their errors.

    Parameters
    ----------
    parameters
        Names of the parameters.
    points
        Points with a critical value, shape (n, n_parameters).
    values, errors
        Critical values at the points, and their errors, shape (n,).
    degree
        Total degree; default: the lowest degree up to 6 that describes the values
        (:func:`~milinfer.utils.smooth_polynomials.fit_smooth`).
    logarithmic
        Whether to fit ln c instead of c, which keeps c positive.

    Raises
    ------
    CalibrationError
        If there are too few points for the degree, if an error is not positive, or if the logarithm
        is fitted and a value is not positive.

    Examples
    --------
    >>> theta = np.linspace(-1, 1, 9)[:, None]
    >>> curve = smooth_curve(("mu",), theta, 1 + np.abs(theta[:, 0]), np.full(9, 1e-4))
    >>> curve.polynomial.good
    False
    """
    if not np.all(errors > 0) or (logarithmic and not np.all(values > 0)):
        msg = (
            "smooth= needs critical values and errors above 0, but some are 0, as happens if the "
            "estimates of many toys lie at a bound; use smooth=None"
        )
        raise CalibrationError(msg)
    target, sigma = (np.log(values), errors / values) if logarithmic else (values, errors)
    fitted = fit_smooth(
        parameters,
        points,
        target,
        np.diag(sigma**2),
        beyond="flat",
        degree=degree,
        highest=MAX_DEGREE,
    )
    return PolynomialCurve(fitted, logarithmic)


# A statistic smaller than this, relative to the quantile of all toys, counts as 0.
_TINY = 1e-6


def quantile_regression(
    parameters: Sequence[str],
    theta: ArrayLike,
    statistic: ArrayLike,
    cl: float,
    degree: int | Literal["auto"] = "auto",
    *,
    logarithmic: bool = False,
    limits: Limits | None = None,
) -> PolynomialCurve:
    r"""Fit the critical value c(θ) of a statistic by a polynomial that minimises the pinball loss.

    The loss is :math:`\sum_i \max(cl\,(q_i - c(\theta_i)), (cl - 1)(q_i - c(\theta_i)))`.  Its
    minimum is found by linear programming, in the dual form (Koenker, *Quantile Regression*, 2005,
    ch. 6).  The covariance of the coefficients is the sandwich estimate of ch. 3 of this book.
    For this estimate the density of q at the quantile is needed.  It is computed from two further
    quantiles, one bandwidth above and one bandwidth below (Hendricks and Koenker; bandwidth of Hall
    and Sheather).  The covariance is therefore right even if the scale of q depends on θ.

    A rank-score test checks whether the degree is high enough (Gutenbrunner, Jurečková, Koenker and
    Portnoy, J. Nonparametr. Stat. 2 (1993) 307; weighted by density as in Koenker and Machado, JASA
    94 (1999) 1296).  It uses that, with a sufficient degree, the sign of :math:`q_i - c(\theta_i)`
    is not correlated with the terms of the next two degrees.  The attributes ``polynomial.chi2``
    and ``polynomial.ndf`` of the result are the χ² and the degrees of freedom of this test.

    Parameters
    ----------
    parameters
        Names of the parameters.
    theta
        Parameters of each pseudo-experiment, shape (n,) or (n, n_parameters).
    statistic
        Test statistic of each pseudo-experiment at its θ, shape (n,).
    cl
        Confidence level.
    degree
        Total degree of the polynomial.  ``"auto"`` takes the lowest degree that the rank-score test
        accepts (p-value above 5 %), and adds one; the result is at most 6.  With the additional
        degree, the error includes a term that is too small to be seen by the test.
    logarithmic
        Whether to fit ln c instead of c, which keeps c positive.
    limits
        Range of each parameter from which θ was drawn; default: the range of `theta`.

    Returns
    -------
    PolynomialCurve
        Critical value as a function of θ, with its error.

    Raises
    ------
    CalibrationError
        If shapes do not agree, if there are too few pseudo-experiments or values of θ, if the test
        accepts no degree, or if linear programming finds no solution.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> theta = rng.uniform(-1, 1, 2000)
    >>> q = (1 + theta / 2) * rng.chisquare(1, 2000)
    >>> curve = quantile_regression(("mu",), theta, q, 0.6827, limits=((-1.0, 1.0),))
    >>> bool(np.all(np.abs(curve([0.0, 1.0]) - [1.0, 1.5]) < 4 * curve.error([0.0, 1.0])))
    True
    """
    q = np.asarray(statistic, dtype=np.float64)
    points = np.asarray(theta, dtype=np.float64)
    points = points[:, None] if points.ndim == 1 else points
    if q.ndim != 1 or points.shape[:1] != q.shape or points.ndim != 2:
        msg = f"theta of shape {points.shape} and statistic of shape {q.shape} do not match"
        raise CalibrationError(msg)
    if not 0 < cl < 1 or not np.all(np.isfinite(q)):
        msg = f"cl = {cl} must be between 0 and 1, and the statistic finite"
        raise CalibrationError(msg)
    if logarithmic:
        q = _logarithm(q, cl)
    box = points if limits is None else np.array(limits).T

    def fitted(d: int) -> SmoothPolynomial:
        zero = SmoothPolynomial.zero(PolynomialBasis(tuple(parameters), d), box)
        return _fit(zero, points, q, cl)

    if degree != "auto":
        return PolynomialCurve(fitted(degree), logarithmic)
    for d in range(MAX_DEGREE):
        if fitted(d).good:
            # Terms too small for the test may still be several errors of a fit without them.
            return PolynomialCurve(fitted(d + 1), logarithmic)
    msg = (
        f"no polynomial below degree {MAX_DEGREE} in {', '.join(parameters)} describes the "
        f"{cl:.2%} quantile, as happens near a physical bound; generate many toys at each point of "
        "a grid instead (mil.neyman)"
    )
    raise CalibrationError(msg)


def _logarithm(q: FloatArray, cl: float) -> FloatArray:
    """Logarithm of a statistic, with all values next to 0 set to one small number."""
    # The fit depends only on whether a toy is above or below it.
    tiny = _TINY * float(np.quantile(q, cl))
    if not tiny > 0:
        msg = (
            f"the {cl:.2%} quantile of the statistic is not above 0, so it has no logarithm; use a "
            "higher cl, or generate many toys at each point of a grid (mil.neyman)"
        )
        raise CalibrationError(msg)
    return np.log(np.maximum(q, tiny))


def _fit(zero: SmoothPolynomial, points: FloatArray, q: FloatArray, cl: float) -> SmoothPolynomial:
    """Fit a polynomial of one degree; its χ² tests the terms of the next two degrees."""
    design = zero.terms(points)
    n, n_terms = design.shape
    half = min(_hall_sheather(n, cl), (1 - cl) / 2, cl / 2)
    if n * half < 5 * n_terms or np.linalg.matrix_rank(design) < n_terms:
        distinct, need = len(np.unique(points, axis=0)), int(np.ceil(5 * n_terms / half))
        msg = (
            f"{n} toys at {distinct} true values are too few for a polynomial of {n_terms} terms "
            f"at cl = {cl:.2%}; generate {need} or more, each at its own value"
        )
        raise CalibrationError(msg)
    coefficients, scores = _pinball(design, q, cl)
    rise = design @ (_pinball(design, q, cl + half)[0] - _pinball(design, q, cl - half)[0])
    # Fitted quantiles may cross in corners with few toys, where the density is then unknown; a
    # floor keeps these toys from dominating.
    density = 2 * half / np.maximum(rise, 1e-2 * np.median(np.abs(rise)))
    weighted = design * density[:, None]
    bread = np.linalg.inv(weighted.T @ design)
    covariance = cl * (1 - cl) * bread @ (design.T @ design) @ bread
    higher = PolynomialBasis(zero.basis.parameters, zero.basis.degree + 2)
    terms = replace(zero, basis=higher).terms(points)[:, n_terms:]
    # Remove the part of these terms that the fit itself can absorb.
    terms = terms - design @ (bread @ (weighted.T @ terms))
    directions, sizes, _ = np.linalg.svd(terms, full_matrices=False)
    directions = directions[:, sizes > 1e-9 * np.sqrt(n)]
    projections = directions.T @ (scores - (1 - cl))
    return replace(
        zero,
        coefficients=coefficients,
        covariance=np.asarray(covariance, dtype=np.float64),
        chi2=float(projections @ projections) / (cl * (1 - cl)),
        ndf=directions.shape[1],
    )


def _hall_sheather(n: int, cl: float) -> float:
    """Bandwidth in probability for the density at a quantile (Koenker 2005, ch. 4)."""
    z = float(ndtri(cl))
    density = float(np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
    ratio = 1.5 * density**2 / (2 * z**2 + 1)
    return float(n ** (-1 / 3) * ndtri(0.975) ** (2 / 3) * ratio ** (1 / 3))


def _pinball(design: FloatArray, q: FloatArray, cl: float) -> tuple[FloatArray, FloatArray]:
    """Coefficients, and the dual variables: 1 for toys above the fit, 0 below, in between on it."""
    from scipy.optimize import linprog

    # Nothing can be removed from this problem before it is solved: the search takes half the time.
    solved = linprog(
        -q,
        A_eq=design.T,
        b_eq=(1 - cl) * design.sum(axis=0),
        bounds=(0, 1),
        method="highs",
        options={"presolve": False},
    )
    if not solved.success:
        msg = f"the quantile regression has no solution ({solved.message}); lower the degree"
        raise CalibrationError(msg)
    return np.asarray(-solved.eqlin.marginals), np.asarray(solved.x)
