"""Neyman constructions over outcomes that can be enumerated, without pseudo-experiments.

Counts, or a measured value in fine steps: the probability of every outcome is known, the critical
values are exact, and every outcome has its confidence set once and for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.confidence_sets import ConfidenceSet, accepted_runs
from milinfer.intervals.critical_values import critical_value
from milinfer.typing import BoolArray, FloatArray
from milinfer.utils.display import brief

__all__ = ["EnumeratedBelt", "belt_from_outcomes"]


@dataclass(frozen=True, eq=False)
class EnumeratedBelt:
    """Likelihood-ratio belt over enumerated outcomes.

    Parameters
    ----------
    points
        Values of the parameter, ascending, shape (n_points,).
    cl
        Confidence level.
    statistic
        q of every outcome at every point, shape (n_outcomes, n_points).
    critical
        c at every point, shape (n_points,); an outcome with q = c is accepted.
    estimates
        Point of the highest likelihood of every outcome, shape (n_outcomes,).
    coverage
        Probability of the accepted outcomes at every point, at least `cl`, shape (n_points,).
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
        """How far q is above c, shape (n_outcomes, n_points); accepted where not positive."""
        return self.statistic - self.critical

    @property
    def accepted(self) -> BoolArray:
        """Whether each point is in the set of each outcome, shape (n_outcomes, n_points)."""
        return np.asarray(self.statistic <= self.critical)

    def confidence_set(self, outcome: int, parameter: str = "mu") -> ConfidenceSet:
        """The set of an outcome; its ends are the outermost accepted of the points."""
        runs = accepted_runs(self.accepted[outcome])
        last = len(self.points) - 1
        return ConfidenceSet(
            parameter,
            self.cl,
            tuple((float(self.points[a]), float(self.points[b])) for a, b in runs),
            ((0.0, 0.0),) * len(runs),
            tuple((a == 0, b == last) for a, b in runs),
            float(self.estimates[outcome]),
        )


def belt_from_outcomes(
    points: FloatArray,
    log_likelihood: FloatArray,
    log_best: FloatArray,
    probability: FloatArray,
    cl: float,
) -> EnumeratedBelt:
    """Likelihood-ratio ordering of enumerated outcomes (Feldman and Cousins 1998, §IV).

    Parameters
    ----------
    points
        Values of the parameter, ascending, shape (n_points,).
    log_likelihood
        ln L of every outcome at every point, shape (n_outcomes, n_points).
    log_best
        Highest ln L of every outcome over the physical values, shape (n_outcomes,).
    probability
        Of every outcome at every point, shape (n_points, n_outcomes); rows sum to 1.
    cl
        Confidence level.

    Raises
    ------
    CalibrationError
        If shapes do not fit, or the outcomes are not all (a row does not sum to 1 within 1e-6).

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> belt = belt_from_outcomes(np.array([0.0, 1.0]), np.log(p.T), np.log(p.max(axis=0)), p, 0.5)
    >>> belt.accepted.tolist()
    [[True, False], [False, True]]
    >>> print(belt.confidence_set(1))
    mu = 1, [1, 1] at 50.00 % CL
    """
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
        msg = f"the probabilities of the outcomes miss 1 by {missing:.2g}; enumerate more outcomes"
        raise CalibrationError(msg)
    statistic = 2 * (log_best[:, None] - log_likelihood)
    critical = np.empty(n_points)
    coverage = np.empty(n_points)
    for k in range(n_points):
        # An outcome that cannot happen at this point has an infinite statistic there.
        possible = np.isfinite(statistic[:, k])
        weights = probability[k, possible]
        critical[k] = critical_value(statistic[possible, k], cl, weights).value
        coverage[k] = weights[statistic[possible, k] <= critical[k]].sum()
    estimates = points[np.argmax(log_likelihood, axis=1)]
    return EnumeratedBelt(points, cl, statistic, critical, estimates, coverage)
