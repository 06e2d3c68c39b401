r"""Compute the score of the FAIR Universe HiggsML challenge from intervals.

.. math:: s = -\ln[(w + 0.001)\,f(c)]

The score is high for short intervals with the right coverage.  w is the mean width of the intervals
of N pseudo-experiments, and c is the fraction of the intervals that contain the true value.  With
:math:`\sigma = \sqrt{p\,(1 - p)/N}` and p = 0.6827, the penalty for a wrong coverage is

.. math:: f = 1 \text{ for } |c - p| \le 2\sigma,\quad
          1 + \left|\frac{c - (p - 2\sigma)}{\sigma}\right|^4 \text{ below},\quad
          1 + \left|\frac{c - (p + 2\sigma)}{\sigma}\right|^3 \text{ above.}

The package HiggsML 0.1.5 and the scoring program of the competition (arXiv:2410.02867) use this
formula.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import SampleError
from milinfer.utils.confidence_levels import CL68

__all__ = ["QuantileScore", "coverage_penalty", "quantile_score"]

_EPSILON = 1e-3


class QuantileScore(NamedTuple):
    """Score of the intervals of several pseudo-experiments.

    Parameters
    ----------
    score
        Score s; higher is better.
    width
        Mean width w of the intervals.
    coverage, coverage_error
        Fraction c of the intervals that contain the true value, and its binomial error.
    penalty
        Penalty f(c) for a wrong coverage; 1 for the right coverage.
    n_experiments
        Number of intervals.
    """

    score: float
    width: float
    coverage: float
    coverage_error: float
    penalty: float
    n_experiments: int


def quantile_score(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> QuantileScore:
    """Compute the score of the intervals of pseudo-experiments.

    Parameters
    ----------
    truth
        True value of μ, or one value for each pseudo-experiment, shape (n,).
    low, high
        Ends of the intervals, shape (n,).

    Raises
    ------
    SampleError
        If there is no interval, if the shapes differ, or if a number is not finite.

    Examples
    --------
    >>> result = quantile_score([1.0, 1.0, 2.0], [0.5, 0.8, 2.1], [1.5, 1.4, 2.9])
    >>> round(result.width, 3), round(result.coverage, 3), result.penalty
    (0.8, 0.667, 1.0)
    >>> round(result.score, 3)
    0.222
    """
    ends = np.stack([np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)])
    values = np.asarray(truth, dtype=np.float64)
    if ends.ndim != 2 or not ends.shape[1] or values.shape not in {(), ends.shape[1:]}:
        msg = (
            f"truth has the shape {values.shape}, and the intervals {ends.shape[1:]}; give at "
            "least one interval, and one true value or one for each interval"
        )
        raise SampleError(msg)
    bad = ~np.isfinite(ends).all(axis=0) | ~np.isfinite(values)
    if bad.any():
        msg = f"interval {int(np.argmax(bad))} or its true value is not finite; repeat its fit"
        raise SampleError(msg)
    width = float(np.mean(np.abs(ends[1] - ends[0])))
    n = ends.shape[1]
    coverage = float(np.mean((ends[0] <= values) & (values <= ends[1])))
    penalty = coverage_penalty(coverage, n)
    return QuantileScore(
        score=float(-np.log((width + _EPSILON) * penalty)),
        width=width,
        coverage=coverage,
        coverage_error=float(np.sqrt(coverage * (1 - coverage) / n)),
        penalty=penalty,
        n_experiments=n,
    )


def coverage_penalty(coverage: float, n_experiments: int) -> float:
    """Compute the penalty f(c), a factor on the mean width of intervals with wrong coverage.

    Parameters
    ----------
    coverage
        Measured coverage c.
    n_experiments
        Number N of intervals, which determines the range of c without a penalty.

    Examples
    --------
    >>> coverage_penalty(0.68, 1000), round(coverage_penalty(0.60, 1000), 1)
    (1.0, 172.5)
    """
    sigma = float(np.sqrt(CL68 * (1 - CL68) / n_experiments))
    below, above = CL68 - 2 * sigma - coverage, coverage - CL68 - 2 * sigma
    if below > 0:
        return 1 + (below / sigma) ** 4
    return 1 + (above / sigma) ** 3 if above > 0 else 1.0
