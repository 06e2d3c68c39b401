"""Feldman–Cousins intervals of a counting experiment and of a Gaussian with a bounded mean.

G. J. Feldman and R. D. Cousins, Phys. Rev. D 57 (1998) 3873, physics/9711021.  The same critical
values and confidence sets as everywhere in this package, with enumerated outcomes in the place of
pseudo-experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import norm, poisson

from milinfer.exceptions import ParameterError
from milinfer.intervals.confidence_sets import ConfidenceSet, confidence_set
from milinfer.intervals.enumerated import EnumeratedBelt, belt_from_outcomes
from milinfer.typing import FloatArray

__all__ = ["bounded_gaussian", "feldman_cousins"]

# Backgrounds above the given one at which a longer interval is looked for, and their step: upper
# ends are a saw-tooth in the background, with teeth narrower than the first.
_TOOTH, _TOOTH_STEP = 3.0, 0.02
# Step and half-width of the outcomes that stand for a continuous Gaussian one.
_X_STEP, _X_REACH = 1e-3, 7.0


def feldman_cousins(
    n: int, background: float = 0.0, cl: float = 0.9, *, monotone: bool = True
) -> ConfidenceSet:
    """Confidence interval of a Poisson signal μ ≥ 0 over a known background (§IV.A, tables II–IX).

    Where the accepted μ have a gap, the interval includes it, as in the paper.

    Parameters
    ----------
    n
        Observed number of events.
    background
        Expected number of background events, known exactly.
    cl
        Confidence level; the discreteness of counts makes the coverage larger.
    monotone
        Lengthen the interval so that its upper end does not rise with the background, as the
        tables of the paper do: it is then the highest upper end for this background or more
        of it.  Matters for counts far below the background, such as n = 0 at 3.0, where the
        construction alone ends at 0.95 and the table at 1.08.

    Raises
    ------
    ParameterError
        If `n` or `background` is negative or `cl` is not between 0 and 1.

    Examples
    --------
    >>> print(feldman_cousins(4, background=3.0, cl=0.9))
    mu = 1, [0, 5.597] at 90.00 % CL
    """
    if n < 0 or int(n) != n or not 0 <= background < np.inf or not 0 < cl < 1:
        msg = (
            f"n = {n}, background = {background}, cl = {cl}: give a count, a yield ≥ 0 and a level"
        )
        raise ParameterError(msg)
    z = float(norm.ppf((1 + cl) / 2))
    top = max(n - background, 0) + z**2 + (z + 1) * np.sqrt(n + 1) + 4
    step = 0.01 * max(1.0, np.sqrt(n) / 3)
    found = _hull(
        confidence_set(
            lambda mu: float(_counts(np.array([mu]), n, background, cl).excess[n, 0]),
            np.linspace(0, top, int(np.ceil(top / step)) + 1),
            parameter="mu",
            cl=cl,
            estimate=max(n - background, 0.0),
            error=lambda _: 0.0,
        )
    )
    if not monotone:
        return found
    high = found.high
    for b in background + np.arange(_TOOTH_STEP, _TOOTH, _TOOTH_STEP):
        window = np.arange(max(high - 2 * _TOOTH_STEP, 0), high + 0.5, _TOOTH_STEP / 4)
        near = window[_counts(window, n, float(b), cl).accepted[n]]
        if len(near):
            high = max(high, _tip(n, float(b), cl, float(near[-1]), background))
    return replace(found, intervals=((found.low, high),))


def _counts(mu: FloatArray, n: int, background: float, cl: float) -> EnumeratedBelt:
    most = max(n, int(poisson.isf(1e-12, float(mu.max()) + background))) + 2
    counts = np.arange(most + 1, dtype=np.float64)
    expected = mu + background
    log_likelihood = _log_poisson(counts[:, None], expected)
    log_best = _log_poisson(counts, np.maximum(counts, background))
    return belt_from_outcomes(mu, log_likelihood, log_best, np.exp(log_likelihood).T, cl)


def _log_poisson(n: FloatArray, mean: FloatArray) -> FloatArray:
    return np.asarray(xlogy(n, mean) - mean - gammaln(n + 1), dtype=np.float64)


def _tip(n: int, background: float, cl: float, mu: float, lowest: float) -> float:
    """Highest μ of the wedge of accepted (background, μ) that holds a point.

    Its upper edge falls with the background, slower than its lower one, which has slope −1 (the
    critical value depends on their sum); the wedge is thus narrowest where it is highest.
    """
    step = _TOOTH_STEP
    while step > 1e-5:
        earlier = background - step
        probes = mu + np.arange(0, 2.5 * step, step / 20)
        there = _counts(probes, n, earlier, cl).accepted[n] if earlier >= lowest else [False]
        if np.any(there):
            background, mu = earlier, float(probes[there][-1])
        else:
            step /= 2
    return mu


def _hull(found: ConfidenceSet) -> ConfidenceSet:
    return replace(
        found,
        intervals=((found.low, found.high),),
        errors=((found.errors[0][0], found.errors[-1][1]),),
        at_bound=((found.at_bound[0][0], found.at_bound[-1][1]),),
    )


def bounded_gaussian(x: float, cl: float = 0.9) -> ConfidenceSet:
    """Confidence interval of the mean μ ≥ 0 of a Gaussian of unit width (§IV.B, table X).

    Parameters
    ----------
    x
        Measured value, in units of the width.
    cl
        Confidence level.

    Raises
    ------
    ParameterError
        If `x` is not finite or `cl` is not between 0 and 1.

    Examples
    --------
    >>> print(bounded_gaussian(-1.0, cl=0.9))
    mu = 0, [0, 0.8135] at 90.00 % CL
    """
    if not np.isfinite(x) or not 0 < cl < 1:
        msg = f"x = {x}, cl = {cl}: give a finite measurement and a level between 0 and 1"
        raise ParameterError(msg)
    best = max(x, 0.0)
    reach = float(norm.ppf((1 + cl) / 2)) + 1
    grid = np.linspace(max(best - reach, 0.0), best + reach, 201)
    return _hull(
        confidence_set(
            _gaussian_excess(x, cl),
            grid,
            parameter="mu",
            cl=cl,
            estimate=best,
            error=lambda _: 0.0,
        )
    )


def _gaussian_excess(x: float, cl: float) -> Callable[[float], float]:
    edges = np.arange(-_X_REACH, _X_REACH + _X_STEP, _X_STEP)
    middle = (edges[1:] + edges[:-1]) / 2
    probability = np.diff(norm.cdf(edges))[None]

    def excess(mu: float) -> float:
        outcomes = mu + middle
        belt = belt_from_outcomes(
            np.array([mu]),
            -(middle[:, None] ** 2) / 2,
            -(np.minimum(outcomes, 0.0) ** 2) / 2,
            probability,
            cl,
        )
        q = (x - mu) ** 2 - min(x, 0.0) ** 2
        return float(q - belt.critical[0])

    return excess
