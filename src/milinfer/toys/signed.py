"""Correct toys of events with negative weights, so that they fluctuate like data.

A generator at next-to-leading order makes events with negative weights.  Suppose that n events are
drawn for a toy, with probabilities in proportion to their absolute weights, and that each event
counts with the sign of its weight.  The toy then describes only n·f events of data, but it
fluctuates like n events.  Here f is the sum of the weights divided by the sum of their absolute
values.  Intervals calibrated with such toys are too wide by a factor 1/√f.
"""

from __future__ import annotations

import numpy as np

from milinfer.toys.ensemble import PoolInfluence
from milinfer.typing import FloatArray, IntArray

__all__ = ["as_data", "influence_as_data", "net_share"]


def net_share(weights: FloatArray) -> float:
    """Divide the sum of the weights by the sum of their absolute values.

    Examples
    --------
    >>> net_share(np.array([1.0, 1.0, 1.0, -1.0]))
    0.5
    """
    return float(weights.sum() / np.abs(weights).sum())


def as_data(
    surfaces: FloatArray,
    counts: IntArray,
    ratios: FloatArray,
    weights: FloatArray,
    slope: FloatArray | None,
) -> FloatArray:
    r"""Correct Λ of toys of signed events, so that its mean and fluctuation agree with data.

    λ is the log-likelihood ratio of an event, and λ′ its derivative at the true value.  A bar is a
    mean with the signed weights, λ̄ = Σwλ/Σw, and ⟨⟩ is a mean with their absolute values.  For
    data of n events, the mean of Λ is n λ̄, and the variance of the slope of Λ at the true value is
    n Var(λ′).  For toys of n signed events, the mean is n f λ̄ and the variance is n (⟨λ′²⟩ − f²
    λ̄′²), where f is :func:`net_share` of the weights.  The distance of each toy from the mean of
    the toys is therefore multiplied by a factor and added to the mean of data.  The factor is the
    standard deviation of data divided by the standard deviation of toys.  Higher moments are of the
    next order in 1/n; only the even moments are approximately right.

    Parameters
    ----------
    surfaces
        Signed sums of log-ratios, shape (n_toys, K).
    counts
        Number of events drawn for each toy, shape (n_toys,).
    ratios, weights
        Log-ratios and weights of the events of the pool, shapes (n_events, K) and (n_events,).
    slope
        Factors with which the K values are summed to the slope at the true value, shape (K,
        n_parameters); None if Λ has no slope.  With several parameters, there is a ratio of
        standard deviations for each of them, and the geometric mean of these ratios is used.

    Returns
    -------
    ndarray
        Corrected Λ of the toys, shape (n_toys, K).

    Examples
    --------
    >>> grid = np.linspace(-1, 1, 5)
    >>> toys = as_data(np.zeros((1, 5)), np.array([4]), np.ones((4, 5)), np.array([1, 1, 1, -1.0]),
    ...                None)
    >>> toys.tolist()  # a toy of two events each way has no net event; data of four have four
    [[2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    net = net_share(weights)
    share = np.abs(weights) / np.abs(weights).sum()
    mean: FloatArray = (weights / weights.sum()) @ ratios
    stretch = 1.0
    if slope is not None:
        score = ratios @ slope
        centre = mean @ slope
        of_data = (weights / weights.sum()) @ score**2 - centre**2
        of_toys = share @ score**2 - (net * centre) ** 2
        if np.all(of_data > 0) and np.all(of_toys > 0):
            stretch = float(np.exp(np.mean(np.log(of_data / of_toys)) / 2))
    drawn = counts[:, None] * mean
    out: FloatArray = drawn + stretch * (surfaces - net * drawn)
    return out


def influence_as_data(influence: PoolInfluence, weights: FloatArray) -> PoolInfluence:
    """Compute the influence of a pool on toys that are corrected by :func:`as_data`.

    The corrected toys fluctuate like data, but the pool error is still that of signed events.
    Relative to the fluctuation of a toy it is larger, so all numbers are divided by f from
    :func:`net_share`.

    Examples
    --------
    >>> pool = PoolInfluence(np.ones((1, 1)), np.ones((1, 1)), 0.1)
    >>> influence_as_data(pool, np.array([1.0, 1.0, 1.0, -1.0])).variance_error
    0.2
    """
    net = net_share(weights)
    return PoolInfluence(
        shift=influence.shift / net,
        spread=influence.spread / net,
        variance_error=influence.variance_error / net,
    )
