"""Critical values from one pseudo-experiment at each of many parameter values.

Belts in several parameters would need pseudo-experiments at very many points.  A quantile
regression learns c(θ) from a single one at each θ drawn over the range (Dalmasso, Izbicki and Lee,
arXiv:2002.10399; "Likelihood-free frequentist inference", arXiv:2107.03920, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.stats import norm

from milinfer.exceptions import CalibrationError
from milinfer.intervals.critical_values import MAX_DEGREE, PolynomialCurve
from milinfer.likelihood.extrema import Limits
from milinfer.typing import FloatArray
from milinfer.utils.polynomials import PolynomialBasis
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = ["quantile_regression"]

# What is smaller than this, relative to the quantile of all toys, is as good as 0.
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
    r"""Estimate the critical value c(θ) as a polynomial that minimises the pinball loss.

    The loss is :math:`\sum_i \max(cl\,(q_i - c(\theta_i)), (cl - 1)(q_i - c(\theta_i)))`, a linear
    programme that is solved in its dual form (Koenker, *Quantile Regression*, 2005, ch. 6).  The
    covariance is the sandwich of ch. 3 there, with the density of q at the quantile estimated from
    the quantiles a bandwidth above and below (Hendricks and Koenker; bandwidth of Hall and
    Sheather), so that it is right where the scale of q depends on θ.

    Whether a degree is enough says the rank-score test (Gutenbrunner, Jurečková, Koenker and
    Portnoy, J. Nonparametr. Stat. 2 (1993) 307; weighted by density as Koenker and Machado, JASA 94
    (1999) 1296): the toys above and below the fit must not go with the terms of the next two
    degrees, of which one is even and one is odd.  ``polynomial.chi2`` and ``ndf`` of the result are
    those of this test.

    Parameters
    ----------
    parameters
        Names.
    theta
        Parameters of each pseudo-experiment, shape (n,) or (n, n_parameters).
    statistic
        Its test statistic at its own θ, shape (n,).
    cl
        Confidence level.
    degree
        Total degree of the polynomial; ``"auto"`` takes one more, up to 6, than the lowest that the
        test accepts (p-value of 5 %), so that the error covers a term that the test cannot see.
    logarithmic
        Fit ln c, which keeps c positive, rather than c.
    limits
        Range of each parameter that θ was drawn from; by default that of `theta`.

    Returns
    -------
    PolynomialCurve
        Critical value with its error.

    Raises
    ------
    CalibrationError
        If shapes do not fit, there are too few pseudo-experiments or values of θ, no degree is
        accepted, or the programme has no solution.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> theta = rng.uniform(-1, 1, 5000)
    >>> q = (1 + theta / 2) * rng.chisquare(1, 5000)
    >>> curve = quantile_regression(("mu",), theta, q, 0.6827, limits=((-1.0, 1.0),))
    >>> bool(np.all(np.abs(curve([0.0, 1.0]) - [1.0, 1.5]) < 4 * curve.error([0.0, 1.0])))
    True
    """
    q = np.asarray(statistic, dtype=np.float64)
    points = np.asarray(theta, dtype=np.float64)
    points = points[:, None] if points.ndim == 1 else points
    if q.ndim != 1 or points.shape[:1] != q.shape or points.ndim != 2:
        msg = f"theta of shape {points.shape} and statistic of shape {q.shape} are not pairs"
        raise CalibrationError(msg)
    if not 0 < cl < 1 or not np.all(np.isfinite(q)):
        msg = f"cl = {cl} must be between 0 and 1, and the statistic finite; look at both"
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
        f"{cl:.2%} quantile, as near a physical bound; throw many toys at each of a grid of points "
        "instead (mil.neyman)"
    )
    raise CalibrationError(msg)


def _logarithm(q: FloatArray, cl: float) -> FloatArray:
    # A fit sees only whether a toy is above or below: all that is next to 0 may be one number.
    tiny = _TINY * float(np.quantile(q, cl))
    if not tiny > 0:
        msg = (
            f"the {cl:.2%} quantile of the statistic is not above 0, and has no logarithm; take a "
            "higher cl, or throw many toys at each of a grid of points (mil.neyman)"
        )
        raise CalibrationError(msg)
    return np.log(np.maximum(q, tiny))


def _fit(zero: SmoothPolynomial, points: FloatArray, q: FloatArray, cl: float) -> SmoothPolynomial:
    """Fit of one degree, with the χ² of the next two."""
    design = zero.terms(points)
    n, n_terms = design.shape
    half = min(_hall_sheather(n, cl), (1 - cl) / 2, cl / 2)
    if n * half < 5 * n_terms or np.linalg.matrix_rank(design) < n_terms:
        distinct, need = len(np.unique(points, axis=0)), int(np.ceil(5 * n_terms / half))
        msg = (
            f"{n} toys at {distinct} true values are too few for a polynomial of {n_terms} terms "
            f"at cl = {cl:.2%}; throw {need} or more, each at a value of its own"
        )
        raise CalibrationError(msg)
    coefficients, scores = _pinball(design, q, cl)
    rise = design @ (_pinball(design, q, cl + half)[0] - _pinball(design, q, cl - half)[0])
    # Fitted quantiles may cross in corners with few toys: their density is then not known, and a
    # floor keeps them from dominating.
    density = 2 * half / np.maximum(rise, 1e-2 * np.median(np.abs(rise)))
    weighted = design * density[:, None]
    bread = np.linalg.inv(weighted.T @ design)
    covariance = cl * (1 - cl) * bread @ (design.T @ design) @ bread
    higher = PolynomialBasis(zero.basis.parameters, zero.basis.degree + 2)
    terms = replace(zero, basis=higher).terms(points)[:, n_terms:]
    # What the fit itself may take up of them says nothing.
    terms = terms - design @ (bread @ (weighted.T @ terms))
    directions, sizes, _ = np.linalg.svd(terms, full_matrices=False)
    directions = directions[:, sizes > 1e-9 * np.sqrt(n)]
    lean = directions.T @ (scores - (1 - cl))
    return replace(
        zero,
        coefficients=coefficients,
        covariance=np.asarray(covariance, dtype=np.float64),
        chi2=float(lean @ lean) / (cl * (1 - cl)),
        ndf=directions.shape[1],
    )


def _hall_sheather(n: int, cl: float) -> float:
    """Bandwidth in probability for the density at a quantile (Koenker 2005, ch. 4)."""
    z = float(norm.ppf(cl))
    ratio = 1.5 * float(norm.pdf(z)) ** 2 / (2 * z**2 + 1)
    return float(n ** (-1 / 3) * norm.ppf(0.975) ** (2 / 3) * ratio ** (1 / 3))


def _pinball(design: FloatArray, q: FloatArray, cl: float) -> tuple[FloatArray, FloatArray]:
    """Coefficients, and the dual: 1 for toys above the fit, 0 below, between for those on it."""
    solved = linprog(
        -q, A_eq=design.T, b_eq=(1 - cl) * design.sum(axis=0), bounds=(0, 1), method="highs"
    )
    if not solved.success:
        msg = f"the quantile regression has no solution ({solved.message}); lower the degree"
        raise CalibrationError(msg)
    return np.asarray(-solved.eqlin.marginals), np.asarray(solved.x)
