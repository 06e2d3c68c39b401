"""Minimise a smooth function inside a box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from milinfer.typing import FloatArray

__all__ = ["lowest_in_box"]


def lowest_in_box(
    function: Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """Find the minimum of a function in a box, by descending from a starting point.

    Parameters
    ----------
    function
        Function of a point of shape (n,) in the box.  It returns its value, and its gradient of
        shape (n,).
    start
        Starting point in the box, shape (n,).
    low, high
        Lowest and highest value of each coordinate in the box, shape (n,).

    Examples
    --------
    >>> lowest_in_box(lambda x: (float(x @ x), 2 * x), np.array([0.5]), *np.array([[0.2], [1.0]]))
    array([0.2])
    """
    from scipy.optimize import minimize

    span = high - low

    def in_unit_box(unit: FloatArray) -> tuple[float, FloatArray]:
        value, slope = function(np.clip(low + unit * span, low, high))
        return value, slope * span

    result = minimize(
        in_unit_box,
        (start - low) / span,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * len(low),
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500},
    )
    return np.asarray(np.clip(low + result.x * span, low, high), dtype=np.float64)
