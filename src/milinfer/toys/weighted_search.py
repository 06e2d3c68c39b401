"""Draw rows with probabilities in proportion to their weights, by a compiled search (numba).

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from milinfer.typing import FloatArray, Int32Array, IntArray

__all__ = ["find_rows", "first_rows"]

# Steps of the table for each row: with two, the right row is almost always the first one or the
# next one, which are compared without a branch.
_STEPS = 2
# Rows that are tried one by one; among more (many light events), bisection takes over.
_TRIES = 8


def first_rows(cumulative: FloatArray) -> Int32Array:
    """Make the table with which :func:`find_rows` starts its search.

    The total weight is divided into equal steps, two for each row.  The table contains, for each
    step, the row in which the step begins or the row before it.

    Parameters
    ----------
    cumulative
        Cumulative weights of fewer than 2³¹ rows, shape (n,).

    Returns
    -------
    ndarray
        A row for each step, shape (2 n,).

    Examples
    --------
    >>> first_rows(np.array([1.0, 3.0, 4.0]))
    array([0, 0, 1, 1, 1, 2], dtype=int32)
    """
    # Short integers, because more of the table stays in the caches of the processor.
    first = np.empty(_STEPS * len(cumulative), dtype=np.int32)
    _make(cumulative, first)
    return first


def find_rows(uniforms: FloatArray, cumulative: FloatArray, first: Int32Array) -> IntArray:
    """Find, for each number, the first row whose cumulative weight is larger than the number.

    Parameters
    ----------
    uniforms
        Numbers in [0, 1), as fractions of the total weight, shape (m,).
    cumulative
        Cumulative weights of the rows, shape (n,).
    first
        The table of :func:`first_rows`.

    Examples
    --------
    >>> cumulative = np.array([1.0, 3.0, 4.0])
    >>> find_rows(np.array([0.1, 0.3, 0.7, 0.8]), cumulative, first_rows(cumulative))
    array([0, 1, 1, 2])
    """
    rows = np.empty(len(uniforms), dtype=np.int64)
    _find(uniforms, cumulative, first, rows)
    return rows


@njit(cache=True, nogil=True)
def _make(cumulative, first):  # type: ignore[no-untyped-def]
    m, row = len(first), 0
    for step in range(m):
        # Begin a little early, so that rounding does not skip a row.
        height = step / m * cumulative[-1] * (1 - 1e-12)
        while row < len(cumulative) - 1 and cumulative[row] <= height:
            row += 1
        first[step] = row


@njit(cache=True, nogil=True)
def _find(uniforms, cumulative, first, rows):  # type: ignore[no-untyped-def]
    # Rounding may leave a number above the last cumulative weight: it gets the last row.
    end, m = len(cumulative) - 1, len(first)
    total = cumulative[end]
    for i in range(len(uniforms)):
        height = uniforms[i] * total
        row = int(first[int(uniforms[i] * m)])
        row = min(row + int(cumulative[row] <= height), end)
        if cumulative[row] <= height:
            row = _find_above(height, row, cumulative)
        rows[i] = row


@njit(cache=True, nogil=True)
def _find_above(height, row, cumulative):  # type: ignore[no-untyped-def]
    """Find the first row from `row` on whose cumulative weight is above a height, or the last."""
    end = len(cumulative) - 1
    last = min(row + _TRIES, end)
    while row < last and cumulative[row] <= height:
        row += 1
    high = end if row == last else row
    while row < high:
        middle = (row + high) // 2
        if cumulative[middle] <= height:
            row = middle + 1
        else:
            high = middle
    return row
