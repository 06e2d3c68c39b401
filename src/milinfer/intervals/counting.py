"""Compute Feldman–Cousins intervals for counting experiments, from a list of all outcomes.

G. J. Feldman and R. D. Cousins, Phys. Rev. D 57 (1998) 3873, physics/9711021.  An outcome is a
possible result of the experiment, for example an observed number of events.  The probability of
every outcome is known, so that critical values are exact and no pseudo-experiments are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import norm, poisson

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.confidence_sets import ConfidenceSet, accepted_runs, confidence_set
from milinfer.intervals.critical_values import exact_critical_values
from milinfer.typing import BoolArray, FloatArray
from milinfer.utils.confidence_levels import require_level
from milinfer.utils.display import brief

__all__ = ["EnumeratedBelt", "belt_from_outcomes", "feldman_cousins"]


# Range of larger backgrounds that is searched for a longer interval, and its step: as a function of
# the background, the upper end is a saw-tooth whose teeth are narrower than this range.
_TOOTH, _TOOTH_STEP = 3.0, 0.02
# Values of μ whose outcomes are enumerated together: numpy's calls cost less than their work, and
# tables of many counts take little memory.
_TOGETHER = 64


def feldman_cousins(
    n: int, background: float = 0.0, cl: float = 0.9, *, monotone: bool = True
) -> ConfidenceSet:
    """Compute the Feldman–Cousins interval of a Poisson signal μ ≥ 0 over a known background.

    It reproduces tables II–IX of Feldman and Cousins, Phys. Rev. D 57 (1998) 3873.  If the accepted
    values of μ have a gap, the interval includes the gap, as in the paper.

    Parameters
    ----------
    n
        Observed number of events.
    background
        Expected number of background events, known exactly.
    cl
        Confidence level.  Because the number of events is discrete, the coverage is in general
        larger than `cl`.
    monotone
        Whether to make the upper end as high as in the tables of the paper.  There the upper end
        never rises if the background becomes larger: it is the highest of the upper ends for this
        background and all larger backgrounds.  This matters if `n` is far below the background: for
        n = 0 and a background of 3.0 the upper end is 1.08 with ``monotone=True`` and 0.95 with
        ``monotone=False``.

    Raises
    ------
    ParameterError
        If `n` or `background` is negative or `cl` is not between 0 and 1.

    Examples
    --------
    >>> print(feldman_cousins(4, background=3.0, cl=0.9))
    mu = 1, [0, 5.597] at 90.00 % CL
    """
    require_level(cl, ParameterError)
    if n < 0 or int(n) != n or not 0 <= background < np.inf:
        msg = f"n = {n} and background = {background} must not be negative"
        raise ParameterError(msg)
    z = float(norm.ppf((1 + cl) / 2))
    top = max(n - background, 0) + z**2 + (z + 1) * np.sqrt(n + 1) + 4
    step = 0.01 * max(1.0, np.sqrt(n) / 3)
    grid = np.linspace(0, top, int(np.ceil(top / step)) + 1)
    parts = np.array_split(grid, int(np.ceil(len(grid) / _TOGETHER)))
    interval = _hull(
        confidence_set(
            lambda mu: float(_counts(np.array([mu]), n, background, cl).excess[n, 0]),
            grid,
            parameter="mu",
            cl=cl,
            estimate=max(n - background, 0.0),
            error=lambda _: 0.0,
            values=np.concatenate([_counts(mu, n, background, cl).excess[n] for mu in parts]),
        )
    )
    if not monotone:
        return interval
    high = interval.high
    for b in background + np.arange(_TOOTH_STEP, _TOOTH, _TOOTH_STEP):
        window = np.arange(max(high - 2 * _TOOTH_STEP, 0), high + 0.5, _TOOTH_STEP / 4)
        near = window[_counts(window, n, float(b), cl).accepted[n]]
        if len(near):
            high = max(high, _tip(n, float(b), cl, float(near[-1]), background))
    return replace(interval, intervals=((interval.low, high),))


def _counts(mu: FloatArray, n: int, background: float, cl: float) -> EnumeratedBelt:
    """Belt at values of μ, for all counts up to `n` and up to what μ makes likely."""
    most = max(n, int(poisson.isf(1e-12, float(mu.max()) + background))) + 2
    counts = np.arange(most + 1, dtype=np.float64)
    expected = mu + background
    log_likelihood = _log_poisson(counts[:, None], expected)
    log_best = _log_poisson(counts, np.maximum(counts, background))
    return belt_from_outcomes(mu, log_likelihood, log_best, np.exp(log_likelihood).T, cl)


def _log_poisson(n: FloatArray, mean: FloatArray) -> FloatArray:
    return np.asarray(xlogy(n, mean) - mean - gammaln(n + 1), dtype=np.float64)


def _tip(n: int, background: float, cl: float, mu: float, lowest: float) -> float:
    """Highest accepted μ in the wedge of accepted (background, μ) around a point.

    The upper edge of the wedge falls with the background, but more slowly than the lower edge,
    which has slope −1 (the critical value depends on their sum).  The wedge is therefore narrowest
    at its highest point.
    """
    step = _TOOTH_STEP
    while step > 1e-5:
        earlier = background - step
        probes = mu + np.arange(0, 2.5 * step, step / 20)
        accepted = _counts(probes, n, earlier, cl).accepted[n] if earlier >= lowest else [False]
        if np.any(accepted):
            background, mu = earlier, float(probes[accepted][-1])
        else:
            step /= 2
    return mu


def _hull(disjoint: ConfidenceSet) -> ConfidenceSet:
    """Return one interval from the lowest to the highest accepted value."""
    return replace(
        disjoint,
        intervals=((disjoint.low, disjoint.high),),
        errors=((disjoint.errors[0][0], disjoint.errors[-1][1]),),
        at_bound=((disjoint.at_bound[0][0], disjoint.at_bound[-1][1]),),
    )


@dataclass(frozen=True, eq=False)
class EnumeratedBelt:
    """Confidence belt with likelihood-ratio ordering, for an experiment with known outcomes.

    An outcome is a possible result of the experiment.  :func:`belt_from_outcomes` makes the belt.

    Parameters
    ----------
    points
        Values of the parameter, ascending, shape (n_points,).
    cl
        Confidence level.
    statistic
        Test statistic q of every outcome at every point, shape (n_outcomes, n_points).
    critical
        Critical value c at every point, shape (n_points,); outcomes with q ≤ c are accepted.
    estimates
        For every outcome, the one of `points` at which its likelihood is highest, shape
        (n_outcomes,).
    coverage
        At every point, the probability of all accepted outcomes together, shape (n_points,).  It is
        at least `cl`.
    """

    points: FloatArray
    cl: float
    statistic: FloatArray
    critical: FloatArray
    estimates: FloatArray
    coverage: FloatArray

    def __repr__(self) -> str:
        return brief(self)

    @property
    def excess(self) -> FloatArray:
        """Statistic minus critical value, shape (n_outcomes, n_points); not positive: accepted."""
        return self.statistic - self.critical

    @property
    def accepted(self) -> BoolArray:
        """Whether a point is in the confidence set of an outcome, shape (n_outcomes, n_points)."""
        return np.asarray(self.statistic <= self.critical)

    def confidence_set(self, outcome: int, parameter: str = "mu") -> ConfidenceSet:
        """Return the confidence set of an outcome.

        The ends of each interval are the first and the last accepted point.  The argument `outcome`
        is the number of the outcome, counted from 0.
        """
        runs = accepted_runs(self.accepted[outcome])
        last = len(self.points) - 1
        return ConfidenceSet(
            parameter=parameter,
            cl=self.cl,
            intervals=tuple((float(self.points[a]), float(self.points[b])) for a, b in runs),
            errors=((0.0, 0.0),) * len(runs),
            at_bound=tuple((a == 0, b == last) for a, b in runs),
            estimate=float(self.estimates[outcome]),
        )


def belt_from_outcomes(
    points: FloatArray,
    log_likelihood: FloatArray,
    log_best: FloatArray,
    probability: FloatArray,
    cl: float,
) -> EnumeratedBelt:
    """Make a belt with likelihood-ratio ordering, for an experiment with known outcomes.

    An outcome is a possible result of the experiment, for example an observed number of events.
    See Feldman and Cousins, Phys. Rev. D 57 (1998) 3873, §IV.

    Parameters
    ----------
    points
        Values of the parameter, ascending, shape (n_points,).
    log_likelihood
        ln L of every outcome at every point, shape (n_outcomes, n_points).
    log_best
        For every outcome, the highest ln L at any physical value of the parameter, shape
        (n_outcomes,).  The value of the parameter at this maximum need not be one of `points`.
    probability
        Probability of every outcome at every point, shape (n_points, n_outcomes).  Each row sums to
        1.
    cl
        Confidence level.

    Raises
    ------
    CalibrationError
        If shapes do not agree, if a probability is negative, or if the probabilities at a point do
        not sum to 1 within 1e-6, so that outcomes are missing.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> belt = belt_from_outcomes(np.array([0.0, 1.0]), np.log(p.T), np.log(p.max(axis=0)), p, 0.5)
    >>> belt.accepted.tolist()
    [[True, False], [False, True]]
    >>> print(belt.confidence_set(1))
    mu = 1, [1, 1] at 50.00 % CL
    """
    require_level(cl)
    n_outcomes, n_points = len(log_best), len(points)
    if log_likelihood.shape != (n_outcomes, n_points) or probability.T.shape != (
        n_outcomes,
        n_points,
    ):
        msg = (
            f"log_likelihood {log_likelihood.shape} and probability {probability.shape} do not fit "
            f"{n_outcomes} outcomes at {n_points} points"
        )
        raise CalibrationError(msg)
    missing = float(np.abs(probability.sum(axis=1) - 1).max())
    if missing > 1e-6:
        msg = (
            f"the probabilities of all outcomes differ from 1 by {missing:.2g} in sum; enumerate "
            "more outcomes"
        )
        raise CalibrationError(msg)
    statistic = 2 * (log_best[:, None] - log_likelihood)
    # An outcome that cannot happen at a point has an infinite statistic there.
    possible = np.isfinite(statistic)
    weights = np.where(possible, probability.T, 0.0)
    if not np.all(weights >= 0) or not np.all(weights.sum(axis=0) > 0):
        msg = "probability must not be negative, nor 0 for all outcomes with a finite likelihood"
        raise CalibrationError(msg)
    critical = exact_critical_values(np.where(possible, statistic, np.inf), weights, cl)
    coverage = np.where(statistic <= critical, weights, 0.0).sum(axis=0)
    estimates = points[np.argmax(log_likelihood, axis=1)]
    return EnumeratedBelt(
        points=points,
        cl=cl,
        statistic=statistic,
        critical=critical,
        estimates=estimates,
        coverage=coverage,
    )
