r"""How well sums of event scores tell two hypotheses apart, per event, beside the best score.

The sum T of a score t over a bag of N independent events is normal for large N, and the two
hypotheses are :math:`d\sqrt N` standard deviations apart,

.. math:: d^2 = \frac{(E_1[t] - E_0[t])^2}{\tfrac12 (\mathrm{Var}_1[t] + \mathrm{Var}_0[t])},

whatever the size of the bags.  With the exact log-ratio λ no score has a larger d² than
:math:`g = 2\tanh(λ/2)`, which is λ itself for neighbouring hypotheses; there :math:`d^2 = I_1 Δθ^2`
with the Fisher information :math:`I_1` of one event, and the part of it that a learned score keeps
is :math:`1/(1 + σ_ε^2/(N_B I_1 Δθ^2))`, with the variance of the learned error ([AS], eq. 15).
The area under the ROC curve of bags is :math:`Φ(d \sqrt{N/2})`.  (For far hypotheses and small bags
the sum of λ separates better than that of g, as it is not normal.)

Where λ of every event is known, :math:`E_1[t] - E_0[t]` is the covariance of t with g over the even
mixture of both hypotheses.  That fluctuates far less than a difference of two means: for a weak
signal, as much as a correlation coefficient does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from milinfer.diagnostics.roc import Estimate
from milinfer.exceptions import SampleError
from milinfer.typing import FloatArray

__all__ = ["area_of_bags", "largest_distance", "relative_distance", "squared_distance"]


def squared_distance(score: ArrayLike, llr: ArrayLike) -> Estimate:
    """Squared distance d² per event between two hypotheses, by a score.

    Parameters
    ----------
    score
        t of events of the even mixture of both hypotheses (as many of the one as of the other),
        shape (n_events,).
    llr
        Exact log-ratio λ of the same events.

    Returns
    -------
    Estimate
        d² and its error.

    Raises
    ------
    SampleError
        If shapes disagree, numbers are not finite, or the score is constant.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=20_000) + np.repeat([-0.1, 0.1], 10_000)
    >>> found = squared_distance(x, 0.2 * x)  # exact: (0.2)²
    >>> abs(found.value - 0.04) < 4 * found.error, found.error < 0.0005
    (True, True)
    """
    value, influence = _squared(*_checked(score, llr))
    return Estimate(value, _error(influence))


def largest_distance(llr: ArrayLike) -> Estimate:
    """Largest squared distance d² per event that a score can have.

    Parameters
    ----------
    llr
        Exact log-ratio λ of events of the even mixture of both hypotheses, shape (n_events,).

    Raises
    ------
    SampleError
        As for :func:`squared_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=20_000) + np.repeat([-0.1, 0.1], 10_000)
    >>> found = largest_distance(0.2 * x)
    >>> abs(found.value - 0.04) < 4 * found.error
    True
    """
    exact, _ = _checked(llr, llr)
    value, influence = _squared(_best(exact), exact)
    return Estimate(value, _error(influence))


def relative_distance(score: ArrayLike, llr: ArrayLike) -> Estimate:
    """Squared distance by a score over the largest one, on the same events.

    It is the part of the information that the score keeps.

    Parameters
    ----------
    score, llr
        As for :func:`squared_distance`.

    Returns
    -------
    Estimate
        The ratio, and its error for these events; that of another training is not in it.

    Raises
    ------
    SampleError
        As for :func:`squared_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=20_000) + np.repeat([-0.1, 0.1], 10_000)
    >>> noisy = x + rng.normal(size=20_000)  # half of the information is lost
    >>> found = relative_distance(noisy, 0.2 * x)
    >>> abs(found.value - 0.5) < 4 * found.error, found.error < 0.01
    (True, True)
    """
    t, exact = _checked(score, llr)
    value, influence = _squared(t, exact)
    largest, of_largest = _squared(_best(exact), exact)
    ratio = value / largest
    return Estimate(ratio, _error((influence - ratio * of_largest) / largest))


def area_of_bags(squared: ArrayLike, bag_size: int) -> FloatArray:
    """Area under the ROC curve of sums over large bags, Φ(d√(N/2)).

    Parameters
    ----------
    squared
        d² per event, of any shape.
    bag_size
        N.

    Examples
    --------
    >>> area_of_bags(0.04, 100).round(3)
    np.float64(0.921)
    """
    area: FloatArray = ndtr(np.sqrt(np.asarray(squared, dtype=np.float64) * bag_size / 2))
    return area


def _squared(t: FloatArray, llr: FloatArray) -> tuple[float, FloatArray]:
    """d², and what each event adds to it to first order."""
    g = _best(llr)
    t, g = t - t.mean(), g - g.mean()
    difference = float(np.mean(t * g))
    # The variance of the mixture has that between the hypotheses in it.
    within = float(np.mean(t * t)) - difference**2 / 4
    value = difference**2 / within
    slope = 2 * difference / within + value * difference / (2 * within)
    influence = slope * (t * g - difference) - value / within * (t * t - np.mean(t * t))
    return value, influence


def _best(llr: FloatArray) -> FloatArray:
    g: FloatArray = 2 * np.tanh(llr / 2)
    return g


def _error(influence: FloatArray) -> float:
    return float(influence.std(ddof=1) / np.sqrt(len(influence)))


def _checked(score: ArrayLike, llr: ArrayLike) -> tuple[FloatArray, FloatArray]:
    t, exact = np.asarray(score, dtype=np.float64), np.asarray(llr, dtype=np.float64)
    if t.ndim != 1 or t.shape != exact.shape or len(t) < 2:
        msg = (
            f"scores of shape {t.shape} with log-ratios of shape {exact.shape}; give one of each "
            "for every event, in one dimension"
        )
        raise SampleError(msg)
    for name, values in (("score", t), ("log-ratio", exact)):
        if not np.isfinite(values).all():
            msg = f"the {name} of event {int(np.argmin(np.isfinite(values)))} is not finite"
            raise SampleError(msg)
        if np.ptp(values) == 0:
            msg = f"the {name} is the same for all events, and tells nothing apart"
            raise SampleError(msg)
    return t, exact
