"""Compute sums, effective numbers and means of weighted events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from milinfer.typing import FloatArray

__all__ = [
    "WeightSums",
    "effective_number",
    "mixture_shares",
    "weighted_mean",
    "weighted_ratio",
]


class WeightSums(NamedTuple):
    """Sums over weighted events: numbers, or arrays with one entry for each set of events.

    Parameters
    ----------
    total, absolute, square
        Σw, Σ|w|, Σw².
    """

    total: FloatArray
    absolute: FloatArray
    square: FloatArray

    @classmethod
    def over(cls, weights: FloatArray) -> WeightSums:
        """Sum over the first axis.

        Examples
        --------
        >>> import numpy as np
        >>> WeightSums.over(np.array([[1.0, 2.0], [1.0, -1.0]])).effective_number()
        array([2. , 0.2])
        """
        return cls(
            total=weights.sum(axis=0),
            absolute=np.abs(weights).sum(axis=0),
            square=np.square(weights).sum(axis=0),
        )

    def effective_number(self, bag_size: int = 1) -> FloatArray:
        """Effective numbers of events, or of bags; see :func:`effective_number`."""
        square = np.where(self.square > 0, self.square, 1.0)
        if bag_size == 1:
            return np.asarray(self.total**2 / square)
        absolute = np.where(self.absolute > 0, self.absolute, 1.0)
        dilution = (self.total / absolute) ** (2 * bag_size)
        return np.asarray(self.absolute**2 / square / bag_size * dilution)


def effective_number(weights: FloatArray, bag_size: int = 1) -> float:
    r"""Number of unweighted events (or bags) with the statistical power of the weighted events.

    For events, it is :math:`(\sum w)^2 / \sum w^2`.  For bags of N events with positive and
    negative weights, it is :math:`(\sum |w|)^2 / (N \sum w^2)` times
    :math:`(\sum w / \sum |w|)^{2 N}`.

    Toys draw events with probabilities in proportion to ``|w|`` and give each event the sign of its
    weight.  For the pool of a toy, the effective number of events is therefore
    ``effective_number(np.abs(weights))``, which negative weights do not reduce.

    Parameters
    ----------
    weights
        Event weights, shape (n_events,).
    bag_size
        Events in a bag.

    Returns
    -------
    float
        The effective number; 0 if there are no events, or if all weights are 0.

    Examples
    --------
    >>> import numpy as np
    >>> weights = np.array([1.0, 1.0, 1.0, -1.0])
    >>> effective_number(weights), effective_number(np.abs(weights))
    (1.0, 4.0)
    >>> effective_number(np.ones(100), bag_size=10)
    10.0
    """
    return float(WeightSums.over(weights).effective_number(bag_size))


def mixture_shares(weights: Iterable[FloatArray]) -> FloatArray:
    """Return the fraction of each sample in a mixture, in proportion to its effective events.

    If all weights of a sample are equal, its effective number of events is its number of events.

    Parameters
    ----------
    weights
        The event weights of each sample.

    Returns
    -------
    ndarray
        The fractions, shape (n_samples,), summing to one.

    Examples
    --------
    >>> import numpy as np
    >>> mixture_shares([np.ones(10), np.full(30, 2.0)])
    array([0.25, 0.75])
    """
    sizes = np.array([effective_number(np.abs(w)) for w in weights])
    return np.asarray(sizes / sizes.sum(), dtype=np.float64)


def weighted_mean(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute the mean of values over weighted events, and its standard error.

    Parameters
    ----------
    values
        Values of the n events, shape (n,); or m values for each event, shape (n, m).
    weights
        Weights of the events, shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> mean, error = weighted_mean(np.array([1.0, 3.0, 9.0, 9.0]), np.array([1.0, 1.0, 1.0, -1.0]))
    >>> print(mean)
    2.0
    """
    total = weights.sum()
    mean = weights @ values / total
    squares = np.square(weights) @ np.square(values - mean)
    # The factor n/(n − 1) of equal weights, for any weights.
    fraction = np.square(weights).sum() / np.square(np.abs(weights).sum())
    error = np.sqrt(squares / max(1 - fraction, fraction)) / abs(total)
    return np.asarray(mean), np.asarray(error)


def weighted_ratio(
    numerator: FloatArray, denominator: FloatArray, weights: FloatArray
) -> tuple[float, float]:
    """Compute the ratio of two means over the same events, and its error.

    The error takes into account that the two means are correlated.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_ratio(np.array([2.0, 4.0]), np.array([1.0, 2.0]), np.ones(2))
    (2.0, 0.0)
    """
    below = float(weights @ denominator)
    ratio = float(weights @ numerator) / below
    error = np.sqrt(np.square(weights) @ np.square(numerator - ratio * denominator)) / abs(below)
    return ratio, float(error)
