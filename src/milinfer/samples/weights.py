"""Effective numbers of weighted events, and means over them."""

from __future__ import annotations

import numpy as np

from milinfer.samples.sample import SampleSet
from milinfer.typing import FloatArray

__all__ = [
    "effective_number",
    "effective_sample_size",
    "effective_size",
    "mixture_shares",
    "weighted_mean",
    "weighted_ratio",
]


def mixture_shares(samples: SampleSet) -> FloatArray:
    """Shares of samples in their mixture, by what their events are worth; (n_samples,), sum 1.

    Where weights are equal that is their number.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> mixture_shares(gaussian.samples(10, [0.0, 0.5], seed=1))
    array([0.5, 0.5])
    """
    sizes = np.array([effective_number(s.weights) for s in samples])
    return np.asarray(sizes / sizes.sum(), dtype=np.float64)


def effective_number(weights: FloatArray) -> float:
    """(Σ|w|)²/Σw²; toys draw by |w| and keep the sign, so that signs do not enter here.

    Examples
    --------
    >>> import numpy as np
    >>> effective_number(np.array([1.0, -1.0, 1.0]))
    3.0
    """
    return float(np.abs(weights).sum() ** 2 / np.sum(weights**2))


def effective_sample_size(weights: FloatArray, bag_size: int = 1) -> float:
    r"""Number of unweighted events (bags) with the same statistical power.

    For events :math:`(\sum w)^2 / \sum w^2`; for bags of signed weights the number of bags times
    :math:`(\sum w / \sum |w|)^{2 N_B}`.

    Examples
    --------
    >>> import numpy as np
    >>> effective_sample_size(np.array([1.0, 1.0, 1.0, -1.0]))
    1.0
    """
    total = weights.sum()
    events = float(total**2 / np.sum(weights**2))
    if bag_size == 1:
        return events
    dilution = float(total / np.abs(weights).sum()) ** (2 * bag_size)
    return float(np.abs(weights).sum() ** 2 / np.sum(weights**2)) / bag_size * dilution


def effective_size(weights: FloatArray) -> FloatArray:
    """Number of unweighted events with the same relative error, along the first axis.

    Examples
    --------
    >>> import numpy as np
    >>> print(effective_size(np.array([1.0, 1.0, 1.0, -1.0])))
    1.0
    """
    square: FloatArray = np.square(weights).sum(axis=0)
    size: FloatArray = np.square(weights.sum(axis=0)) / np.where(square > 0, square, 1.0)
    return size


def weighted_mean(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean over weighted events, and its standard error; negative weights subtract.

    Parameters
    ----------
    values
        Shape (n,) or (n, m).
    weights
        Shape (n,).

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
    """Ratio of two means over the same events, and its error with their correlation.

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
