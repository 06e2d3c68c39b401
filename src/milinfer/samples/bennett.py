"""Means under one density from the events of several: the multistate Bennett acceptance ratio."""

from __future__ import annotations

import warnings

import numpy as np

from milinfer.exceptions import MilinferWarning
from milinfer.typing import FloatArray

__all__ = ["bennett"]

_MAX_ITERATIONS = 1000
# Rows at a time: the arrays may be files mapped into memory, and nothing else grows with them.
_ROWS = 1 << 20


def bennett(
    ratios: FloatArray,
    weights: FloatArray,
    values: FloatArray,
    shares: FloatArray | None = None,
) -> FloatArray:
    r"""Means at the reference point from events of all points (multistate Bennett ratio).

    Events of the mixture of G densities :math:`q = \sum_g a_g r_g\,p_0/Z_g` give the mean of any
    quantity v under p_0 as :math:`\sum_i w_i v(x_i)\,p_0/q`, where the :math:`Z_g` are themselves
    such means: of the unnormalised ratios :math:`r_g`.  The equations are solved by iteration
    (Shirts and Chodera, J. Chem. Phys. 129, 124105, 2008).  All events determine the normalisation,
    not only those at the reference.

    Parameters
    ----------
    ratios
        Unnormalised :math:`r_g(x_i)` at the points of generation, shape (n_events, G), positive.
    weights
        Event weights, each sample's summing to its share, shape (n_events,).
    values
        Quantities to average, shape (n_events, n_values); the first must average to one.
    shares
        The shares :math:`a_g` of the samples, summing to one, shape (G,); default: even.

    Returns
    -------
    ndarray
        Shape (n_values,), the first being one.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import quadratic
    >>> sample = quadratic.generate(20_000, {"c1": 0.0}, seed=1)
    >>> theta = np.array([[0.0], [1.0]])
    >>> ratio = np.exp(quadratic.log_likelihood_ratio(sample.features, theta))
    >>> bennett(ratio[:, :1], np.full(20_000, 1 / 20_000), ratio).round(1)
    array([1., 1.])
    """
    normalisation = np.ones(ratios.shape[1])
    share = np.full(len(normalisation), 1 / len(normalisation)) if shares is None else shares
    for _ in range(_MAX_ITERATIONS):
        updated = _means(ratios, weights, ratios, share / normalisation)
        # Only ratios of the Z are determined; the scale follows from the first of the values.
        updated /= updated[0]
        converged = np.allclose(updated, normalisation / normalisation[0], rtol=1e-10, atol=0)
        normalisation = updated
        if converged:
            break
    else:
        msg = (
            f"the normalisation of the samples is not settled after {_MAX_ITERATIONS} iterations: "
            "the samples hardly overlap; add samples at points in between"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=2)
    means = _means(ratios, weights, values, share / normalisation)
    means /= means[0]
    return means


def _means(
    ratios: FloatArray, weights: FloatArray, values: FloatArray, mixture: FloatArray
) -> FloatArray:
    """Sums of the values with the weights over the mixture of ratios, shape (n_values,)."""
    total = np.zeros(values.shape[1])
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        total += (weights[rows] / (ratios[rows] @ mixture)) @ values[rows]
    return total
