r"""The likelihood of many histograms with Monte-Carlo errors, profiled bin by bin.

In HistFactory's form of Barlow and Beeston's likelihood ("lite", ``staterror``), the expectation
:math:`y_b` of a bin is multiplied by a factor :math:`\gamma_b` with a Gaussian constraint
:math:`(\gamma_b - 1)/\delta_b`.  Given :math:`y_b` and the count :math:`n_b`, the best one solves
:math:`\gamma^2 + (y\delta^2 - 1)\gamma - n\delta^2 = 0` (Conway, arXiv:1103.0354), so that no
minimiser is needed.  A fit of the shape has a common scale besides, found by Newton's method.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from milinfer.exceptions import FitError
from milinfer.typing import FloatArray

__all__ = ["ProfiledBins", "profile_bins", "profile_log_likelihood"]

_MAX_STEPS = 100
# Of ln(scale): the likelihood is flat there, so that its error is the square of this.
_TOLERANCE = 1e-11
# Numbers held at once; larger blocks do not fit in the caches.
_BLOCK = 50_000


class ProfiledBins(NamedTuple):
    """The best factors.

    Parameters
    ----------
    gammas
        Shape (n_sets, n_points, n_bins).
    scale
        Of all bins, shape (n_sets, n_points); ones for a fit with the rate.
    """

    gammas: FloatArray
    scale: FloatArray


def profile_bins(
    counts: FloatArray, expected: FloatArray, relative: FloatArray, *, rate: bool
) -> ProfiledBins:
    """Factors of the bins that maximise the likelihood of counts.

    Parameters
    ----------
    counts
        Not negative, shape (n_sets, n_bins).
    expected
        Positive, shape (n_points, n_bins).
    relative
        Relative Monte-Carlo errors of the expectations, shape (n_bins,); zeros leave the factors
        at one.
    rate
        Whether the expected total is known; otherwise a common scale is profiled too.

    Raises
    ------
    FitError
        If the scale does not converge: errors near 100 % leave the shape undetermined.

    Examples
    --------
    >>> import numpy as np
    >>> found = profile_bins(np.array([[90.0, 110.0]]), np.array([[100.0, 100.0]]),
    ...                      np.array([0.1, 0.1]), rate=True)
    >>> found.gammas.round(3)
    array([[[0.949, 1.049]]])
    """
    n = counts[:, None, :]
    total = counts.sum(axis=1)[:, None]
    variance = relative**2

    def solve(y: FloatArray) -> tuple[FloatArray, FloatArray]:
        linear = 1.0 - y * variance
        root = np.sqrt(linear**2 + 4.0 * n * variance)
        return (linear + root) / 2.0, root

    shape = (len(counts), len(expected))
    if rate:
        return ProfiledBins(
            np.broadcast_to(solve(expected[None])[0], (*shape, counts.shape[1])), np.ones(shape)
        )
    scale = np.broadcast_to(total / expected.sum(axis=1), shape).copy()
    filled = np.broadcast_to(total > 0, shape)
    for _ in range(_MAX_STEPS):
        y = scale[:, :, None] * expected[None]
        gammas, root = solve(y)
        product = y * gammas
        found = product.sum(axis=2)
        # d ln Σyγ / d ln scale: near one, and negative only where factors fall below 1/2.
        rise = np.sum(product * (2 * gammas - 1) / np.where(root > 0, root, 1.0), axis=2)
        slope = np.divide(rise, found, where=filled, out=np.ones(shape))
        step = np.log(np.divide(total, found, where=filled, out=np.ones(shape)))
        step = np.clip(step / np.where(slope > 1e-9, slope, 1.0), -0.5, 0.5)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            return ProfiledBins(gammas, scale)
        scale *= np.exp(step)
    msg = (
        f"the Monte-Carlo factors of {counts.shape[1]} bins did not converge (relative errors up "
        f"to {relative.max():.0%}); use wider bins or more simulated events"
    )
    raise FitError(msg)


def profile_log_likelihood(
    counts: FloatArray, expected: FloatArray, relative: FloatArray, *, rate: bool
) -> FloatArray:
    """Profiled ln L of many sets of counts at many expectations, up to a constant of the set.

    Parameters
    ----------
    counts, expected, relative, rate
        As for :func:`profile_bins`.

    Returns
    -------
    ndarray
        Shape (n_sets, n_points).

    Examples
    --------
    Without Monte-Carlo errors, a multinomial likelihood:

    >>> import numpy as np
    >>> counts, expected = np.array([[30.0, 70.0]]), np.array([[1.0, 1.0], [2.0, 3.0]])
    >>> values = profile_log_likelihood(counts, expected, np.zeros(2), rate=False)[0]
    >>> bool(np.isclose(values[1] - values[0], 30 * np.log(0.4 / 0.5) + 70 * np.log(0.6 / 0.5)))
    True
    """
    from scipy.special import xlogy

    step = max(1, _BLOCK // max(expected.size, 1))
    inverse = np.divide(1.0, relative**2, where=relative > 0, out=np.zeros_like(relative))
    out = np.empty((len(counts), len(expected)))
    for k in range(0, len(counts), step):
        n = counts[k : k + step]
        gammas, scale = profile_bins(n, expected, relative, rate=rate)
        y = gammas * (scale[:, :, None] * expected[None])
        out[k : k + step] = np.sum(xlogy(n[:, None, :], y) - y, axis=2)
        out[k : k + step] -= 0.5 * (gammas - 1.0) ** 2 @ inverse
    return out
