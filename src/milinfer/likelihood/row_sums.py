"""Compiled sums (numba) of the rows of tables, used for toys, bootstraps and bags.

Eight rows are added at a time, in pairs and for all columns at once, and their sum is added to the
sum of the toy, bootstrap or bag.  The order is the same on every machine and does not depend on
other sums, so a toy has the same last bits in every run.

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from milinfer.exceptions import SampleError
from milinfer.typing import Float32Array, FloatArray, IntArray

__all__ = ["row_sums"]


def row_sums(
    table: FloatArray | Float32Array, index: IntArray, weights: FloatArray, offsets: IntArray
) -> FloatArray:
    """Return weighted sums of rows over consecutive segments, in float64, shape (n_segments, K).

    A segment is a toy, a bootstrap or a bag.

    Parameters
    ----------
    table
        Table of numbers, shape (n_rows, K), float32 or float64; other types are converted.
    index
        Row of each term, shape (n_terms,).
    weights
        Weight of each term, shape (n_terms,).
    offsets
        Segment ``s`` has the terms ``offsets[s]`` to ``offsets[s + 1] - 1``; shape
        (n_segments + 1,).  Empty segments sum to zero.

    Raises
    ------
    SampleError
        If a term has no row or no weight, or the segments do not fit the terms.

    Examples
    --------
    >>> table = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> row_sums(table, np.array([0, 2, 2]), np.array([1.0, 1.0, -1.0]), np.array([0, 2, 3]))
    array([[  4.,  40.],
           [ -3., -30.]])
    """
    rows = np.ascontiguousarray(index, dtype=np.int64)
    edges = np.ascontiguousarray(offsets, dtype=np.int64)
    _require_terms(len(table), rows, weights, edges)
    # Ones are not read, and may be a view of a single one.
    factors = None if np.all(weights == 1.0) else np.ascontiguousarray(weights, dtype=np.float64)
    single = table.dtype == np.float32
    numbers = np.ascontiguousarray(table, dtype=np.float32 if single else np.float64)
    out = np.empty((len(edges) - 1, numbers.shape[1]))
    _add(numbers, rows, factors, edges, out)
    return out


def _require_terms(n_rows: int, rows: IntArray, weights: FloatArray, offsets: IntArray) -> None:
    """Raise if compiled loops, which do not check bounds, would read beyond an array."""
    if len(rows) and not (rows.min() >= 0 and rows.max() < n_rows):
        msg = (
            f"events {rows.min()} to {rows.max()} were asked for, but the table has {n_rows} events"
        )
        raise SampleError(msg)
    if len(weights) != len(rows):
        msg = f"{len(weights)} weights were given for {len(rows)} events"
        raise SampleError(msg)
    fits = len(offsets) > 0 and offsets[0] >= 0 and offsets[-1] <= len(rows)
    if not (fits and np.all(np.diff(offsets) >= 0)):
        msg = f"segments from {offsets[:1]} to {offsets[-1:]} do not divide {len(rows)} events"
        raise SampleError(msg)


# Without fastmath nothing is reordered or fused: the bits are those of the order written here.
@njit(cache=True, nogil=True, error_model="numpy")
def _add(table, index, weights, offsets, out):  # type: ignore[no-untyped-def]
    """Compute sums of rows; weights None mean ones, for which numba compiles a separate loop."""
    for s in range(len(offsets) - 1):
        total = out[s]
        total[:] = 0.0
        i, stop = offsets[s], offsets[s + 1]
        while i + 8 <= stop:
            a, b, c, d = (
                table[index[i]], table[index[i + 1]], table[index[i + 2]], table[index[i + 3]]
            )  # fmt: skip
            e, f, g, h = (
                table[index[i + 4]], table[index[i + 5]], table[index[i + 6]], table[index[i + 7]]
            )  # fmt: skip
            if weights is None:
                for j in range(len(total)):
                    low = (np.float64(a[j]) + b[j]) + (np.float64(c[j]) + d[j])
                    high = (np.float64(e[j]) + f[j]) + (np.float64(g[j]) + h[j])
                    total[j] += low + high
            else:
                p, q, r, t = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
                u, v, w, x = weights[i + 4], weights[i + 5], weights[i + 6], weights[i + 7]
                for j in range(len(total)):
                    low = (p * a[j] + q * b[j]) + (r * c[j] + t * d[j])
                    high = (u * e[j] + v * f[j]) + (w * g[j] + x * h[j])
                    total[j] += low + high
            i += 8
        while i < stop:
            row = table[index[i]]
            weight = 1.0 if weights is None else weights[i]
            for j in range(len(total)):
                total[j] += weight * row[j]
            i += 1
