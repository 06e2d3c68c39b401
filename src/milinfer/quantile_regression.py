"""Critical values from one pseudo-experiment at each of many parameter values.

Belts in several parameters would need pseudo-experiments at very many points.  A quantile
regression learns c(θ) from a single one at each θ drawn over the range (Dalmasso, Izbicki and Lee,
arXiv:2002.10399; "Likelihood-free frequentist inference", arXiv:2107.03920, algorithm 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.stats import norm

from milinfer.critical import PolynomialCurve, polynomial_design
from milinfer.exceptions import CalibrationError
from milinfer.surface import Limits
from milinfer.typing import FloatArray

__all__ = ["quantile_regression"]


def quantile_regression(
    theta: ArrayLike,
    statistic: ArrayLike,
    cl: float,
    degree: int = 2,
    *,
    limits: Limits | None = None,
) -> PolynomialCurve:
    r"""Estimate the critical value c(θ) as a polynomial that minimises the pinball loss.

    The loss is :math:`\sum_i \max(cl\,(q_i - c(\theta_i)), (cl - 1)(q_i - c(\theta_i)))`, a linear
    programme that is solved in its dual form (Koenker, *Quantile Regression*, 2005, ch. 6).  The
    covariance is the sandwich of ch. 3 there, with the density of q at the quantile estimated from
    the quantiles a bandwidth above and below (Hendricks and Koenker; bandwidth of Hall and
    Sheather), so that it is right where the scale of q depends on θ.

    Parameters
    ----------
    theta
        Parameters of each pseudo-experiment, shape (n,) or (n, n_parameters).
    statistic
        Its test statistic at its own θ, shape (n,).
    cl
        Confidence level.
    degree
        Total degree of the polynomial.
    limits
        Range of each parameter that θ was drawn from; by default that of `theta`.

    Returns
    -------
    PolynomialCurve
        Critical value with its error.

    Raises
    ------
    CalibrationError
        If shapes do not fit, there are too few pseudo-experiments, or the programme has no
        solution.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> theta = rng.uniform(-1, 1, 5000)
    >>> q = (1 + theta / 2) * rng.chisquare(1, 5000)
    >>> curve = quantile_regression(theta, q, 0.6827, 1, limits=((-1.0, 1.0),))
    >>> print(f"{curve(0.0)[0]:.1f} {curve(1.0)[0]:.1f}")
    1.0 1.5
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
    if limits is None:
        low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        limits = tuple(zip(low, high, strict=True))
    design = polynomial_design(points, limits, degree)
    n, n_terms = design.shape
    half = min(_hall_sheather(n, cl), (1 - cl) / 2, cl / 2)
    if n * half < 5 * n_terms:
        msg = (
            f"{n} toys are too few for a polynomial of {n_terms} terms at cl = {cl:.2%}; throw "
            f"{int(np.ceil(5 * n_terms / half))} or more"
        )
        raise CalibrationError(msg)
    coefficients = _pinball(design, q, cl)
    rise = design @ (_pinball(design, q, cl + half) - _pinball(design, q, cl - half))
    # Fitted quantiles may cross in corners with few toys: their density is then not known, and a
    # floor keeps them from dominating.
    density = 2 * half / np.maximum(rise, 1e-2 * np.median(np.abs(rise)))
    bread = np.linalg.inv((design * density[:, None]).T @ design)
    covariance = cl * (1 - cl) * bread @ (design.T @ design) @ bread
    return PolynomialCurve(limits, degree, coefficients, np.asarray(covariance, dtype=np.float64))


def _hall_sheather(n: int, cl: float) -> float:
    """Bandwidth in probability for the density at a quantile (Koenker 2005, ch. 4)."""
    z = float(norm.ppf(cl))
    ratio = 1.5 * float(norm.pdf(z)) ** 2 / (2 * z**2 + 1)
    return float(n ** (-1 / 3) * norm.ppf(0.975) ** (2 / 3) * ratio ** (1 / 3))


def _pinball(design: FloatArray, q: FloatArray, cl: float) -> FloatArray:
    solved = linprog(
        -q, A_eq=design.T, b_eq=(1 - cl) * design.sum(axis=0), bounds=(0, 1), method="highs"
    )
    if not solved.success:
        msg = f"the quantile regression has no solution ({solved.message}); lower the degree"
        raise CalibrationError(msg)
    return np.asarray(-solved.eqlin.marginals, dtype=np.float64)
