"""Compiled layers (numba) whose result for an event does not depend on other events.

BLAS computes the rows at the end of a block of a matrix in another way than other rows, so the last
bits of the result for an event depend on its position.  Here 64 events are computed side by side,
and for each event the same numbers are added in the same order.

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from milinfer.typing import Float32Array
from milinfer.utils.compiled import load_loops

__all__ = ["WIDTH", "dense", "exponential_units", "in_blocks", "in_rows"]

WIDTH = 64  # events side by side: the inputs and outputs of a layer of 64 stay in the fastest cache


def in_blocks(rows: Float32Array) -> Float32Array:
    """Arrange events in blocks of 64 for :func:`dense`, padded with zeros.

    The shape (n_events, n) becomes (n_blocks, n, 64).

    Examples
    --------
    >>> in_blocks(np.ones((65, 3), np.float32)).shape
    (2, 3, 64)
    """
    n_events, n = rows.shape
    padded = np.zeros((-(-n_events // WIDTH) * WIDTH, n), np.float32)
    padded[:n_events] = rows
    return np.ascontiguousarray(padded.reshape(-1, WIDTH, n).transpose(0, 2, 1))


def in_rows(blocks: Float32Array, n_events: int) -> Float32Array:
    """Undo :func:`in_blocks`: the shape (n_blocks, n, 64) becomes (n_events, n).

    Examples
    --------
    >>> in_rows(in_blocks(np.ones((65, 3), np.float32)), 65).shape
    (65, 3)
    """
    return blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:n_events]


def dense(x: Float32Array, kernel: Float32Array, bias: Float32Array) -> Float32Array:
    """Multiply events by a kernel of shape (n_in, n_out), and add a bias of shape (n_out,).

    Parameters
    ----------
    x
        Events arranged by :func:`in_blocks`, shape (n_blocks, n_in, 64).
    kernel, bias
        Weights of the layer.

    Returns
    -------
    ndarray
        Outputs of the layer, shape (n_blocks, n_out, 64).

    Examples
    --------
    >>> x = in_blocks(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    >>> in_rows(dense(x, np.array([[1.0], [10.0]], np.float32), np.ones(1, np.float32)), 2)
    array([[22.],
           [44.]], dtype=float32)
    """
    out = np.empty((len(x), len(bias), WIDTH), np.float32)
    _dense(x, np.ascontiguousarray(kernel), np.ascontiguousarray(bias), out)
    return out


def exponential_units(x: Float32Array, alpha: float = 1.0, scale: float = 1.0) -> Float32Array:
    """Replace x by scale · x if x > 0, and by scale · alpha · (exp x − 1) otherwise, in place.

    Examples
    --------
    >>> exponential_units(np.array([2.0, 0.0, np.nan, -1.0], np.float32)).round(3)
    array([ 2.   ,  0.   ,    nan, -0.632], dtype=float32)
    """
    below = np.empty_like(x)
    _not_above_zero(x.reshape(-1), below.reshape(-1))
    np.exp(below, out=below)
    factors = np.float32(scale), np.float32(scale * alpha)
    _above_and_below(x.reshape(-1), below.reshape(-1), *factors)
    return x


@njit(cache=True, nogil=True, error_model="numpy")
def _not_above_zero(x: Float32Array, out: Float32Array) -> None:
    for i in range(len(x)):
        out[i] = x[i] if x[i] < 0 else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _above_and_below(
    x: Float32Array, exponential: Float32Array, above: np.float32, below: np.float32
) -> None:
    for i in range(len(x)):
        # NaN stays NaN.
        x[i] = below * (exponential[i] - np.float32(1)) if x[i] <= 0 else above * x[i]


# Only a product and a sum may be fused; the order of the operations stays as written.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _dense(x: Float32Array, kernel: Float32Array, bias: Float32Array, out: Float32Array) -> None:
    n_in, n_out = kernel.shape
    # Sums of four outputs at a time, in an array that overlaps with no other.
    sums = np.empty((4, WIDTH), np.float32)
    for i in range(len(x)):
        events = x[i]
        for j in range(0, n_out - n_out % 4, 4):
            for q in range(4):
                for e in range(WIDTH):
                    sums[q, e] = bias[j + q]
            for k in range(0, n_in - 1, 2):
                a0, b0, c0, d0 = kernel[k, j], kernel[k, j + 1], kernel[k, j + 2], kernel[k, j + 3]
                a1, b1 = kernel[k + 1, j], kernel[k + 1, j + 1]
                c1, d1 = kernel[k + 1, j + 2], kernel[k + 1, j + 3]
                for e in range(WIDTH):
                    x0, x1 = events[k, e], events[k + 1, e]
                    sums[0, e] = (sums[0, e] + a0 * x0) + a1 * x1
                    sums[1, e] = (sums[1, e] + b0 * x0) + b1 * x1
                    sums[2, e] = (sums[2, e] + c0 * x0) + c1 * x1
                    sums[3, e] = (sums[3, e] + d0 * x0) + d1 * x1
            for k in range(n_in - n_in % 2, n_in):
                for q in range(4):
                    a0 = kernel[k, j + q]
                    for e in range(WIDTH):
                        sums[q, e] += a0 * events[k, e]
            for q in range(4):
                for e in range(WIDTH):
                    out[i, j + q, e] = sums[q, e]
        for j in range(n_out - n_out % 4, n_out):
            for e in range(WIDTH):
                sums[0, e] = bias[j]
            for k in range(n_in):
                a0 = kernel[k, j]
                for e in range(WIDTH):
                    sums[0, e] += a0 * events[k, e]
            for e in range(WIDTH):
                out[i, j, e] = sums[0, e]


_ROW, _BLOCKS = types.float32[::1], types.float32[:, :, ::1]
load_loops(
    (_dense, (_BLOCKS, types.float32[:, ::1], _ROW, _BLOCKS)),
    (_not_above_zero, (_ROW, _ROW)),
    (_above_and_below, (_ROW, _ROW, types.float32, types.float32)),
)
