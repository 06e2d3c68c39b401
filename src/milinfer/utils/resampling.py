"""Compute statistics of many bootstrap samples at once; one numpy call per sample would be slow."""

from __future__ import annotations

from collections.abc import Iterator

from milinfer.typing import FloatArray

__all__ = ["covariances", "samples_at_once"]

_NUMBERS = 1_000_000
"""Largest number of values in a block, if it has more than one sample."""


def samples_at_once(n_samples: int, n: int) -> Iterator[range]:
    """Divide bootstrap samples into blocks that fit into memory, and yield the numbers in each.

    Parameters
    ----------
    n_samples
        Number of bootstrap samples.
    n
        Number of values in a bootstrap sample.

    Examples
    --------
    >>> [len(block) for block in samples_at_once(200, 10_000)]
    [100, 100]
    >>> [len(block) for block in samples_at_once(2, 10_000_000)]
    [1, 1]
    """
    size = max(1, _NUMBERS // max(n, 1))
    for start in range(0, n_samples, size):
        yield range(start, min(start + size, n_samples))


def covariances(values: FloatArray) -> FloatArray:
    """Compute the covariance matrix of each of many samples, as :func:`numpy.cov` does for one.

    Parameters
    ----------
    values
        Samples, each with n values in P dimensions; shape (n_samples, n, P).

    Returns
    -------
    ndarray
        Covariance matrices, shape (n_samples, P, P).

    Examples
    --------
    >>> import numpy as np
    >>> values = np.random.default_rng(1).normal(size=(4, 9, 2))
    >>> bool(np.allclose(covariances(values)[3], np.cov(values[3].T)))
    True
    """
    centred = values - values.mean(axis=1, keepdims=True)
    found: FloatArray = centred.swapaxes(1, 2) @ centred / (values.shape[1] - 1)
    return found
