"""HistFactory's interpolation code 4 between up and down variations (``normsys`` in pyhf)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from milinfer.typing import FloatArray

__all__ = ["CODE4_COEFFICIENTS", "log_interpolation"]

_ORDERS = np.arange(1, 7)
# Value, slope and curvature at ±1 of a polynomial of degree 6 that is one at zero.
_CONDITIONS = np.array(
    [
        sign ** (_ORDERS - order) * factor
        for order, factor in (
            (0, np.ones(6)),
            (1, _ORDERS),
            (2, _ORDERS * (_ORDERS - 1)),
        )
        for sign in (1.0, -1.0)
    ]
)
CODE4_COEFFICIENTS = np.linalg.inv(_CONDITIONS)
"""Coefficients of the six powers of α, from value, slope and curvature at +1 and at −1 each."""


def log_interpolation(
    alpha: float, log_up: ArrayLike, log_down: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    r"""Return the logarithm of HistFactory's interpolation code 4, and its derivative in α.

    The interpolation is exponential for \|α\| ≥ 1.  Between −1 and 1 it is a polynomial of degree
    6.  At ±1, its value, slope and curvature agree with the exponentials (CERN-OPEN-2012-016, as in
    pyhf).

    Parameters
    ----------
    alpha
        Value of the nuisance parameter α.
    log_up, log_down
        Logarithms of the factors on the nominal value at α = +1 and α = −1; arrays of any shape.

    Examples
    --------
    >>> value, slope = log_interpolation(1.0, np.log([1.1]), np.log([0.9]))
    >>> np.exp(value).round(12), slope.round(6)
    (array([1.1]), array([0.09531]))
    """
    up, down = np.asarray(log_up, dtype=np.float64), np.asarray(log_down, dtype=np.float64)
    if alpha >= 1:
        return alpha * up, up
    if alpha <= -1:
        return -alpha * down, -down
    high, low = np.exp(up), np.exp(down)
    # In the order of the conditions: value, slope and curvature, at +1 and −1 each.
    sides = np.stack([high - 1, low - 1, high * up, -low * down, high * up**2, low * down**2])
    coefficients = np.tensordot(CODE4_COEFFICIENTS, sides, axes=1)
    powers = alpha**_ORDERS
    slopes = _ORDERS * alpha ** (_ORDERS - 1)
    value = 1 + np.tensordot(powers, coefficients, axes=1)
    return np.log(value), np.tensordot(slopes, coefficients, axes=1) / value
