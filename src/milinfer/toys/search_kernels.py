"""Compiled search (numba) for the rows of a pool that random numbers choose by weight.

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from milinfer.typing import FloatArray, IntArray

__all__ = ["rows_of"]

# Rows that a search goes through one by one; many light events in a row are left to bisection.
_STEPS = 8


def rows_of(uniforms: FloatArray, cumulative: FloatArray, first: IntArray) -> IntArray:
    """First row whose cumulative weight is above each number of [0, 1), times all the weight.

    Parameters
    ----------
    uniforms
        Shape (m,).
    cumulative
        Cumulative weights, ascending, shape (n,).
    first
        A row at or before that of the numbers from k/n on, for each k below n; shape (n,).

    Examples
    --------
    >>> cumulative = np.array([1.0, 3.0, 4.0])
    >>> rows_of(np.array([0.1, 0.3, 0.7, 0.8]), cumulative, np.array([0, 1, 1]))
    array([0, 1, 1, 2])
    """
    out = np.empty(len(uniforms), dtype=np.int64)
    _find(uniforms, cumulative, first, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _find(uniforms, cumulative, first, out):  # type: ignore[no-untyped-def]
    n = len(cumulative)
    total = cumulative[n - 1]
    for k in range(len(uniforms)):
        height = uniforms[k] * total
        row = first[min(int(uniforms[k] * n), n - 1)]
        steps = 0
        while row < n - 1 and cumulative[row] <= height and steps < _STEPS:
            row += 1
            steps += 1
        if cumulative[row] <= height:
            # The last row takes what rounding leaves over.
            row = min(np.searchsorted(cumulative, height, side="right"), n - 1)
        out[k] = row
