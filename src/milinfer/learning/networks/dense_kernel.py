"""Compiled dense layer (numba) in which events do not depend on each other, to the last bit.

BLAS treats the rows of a matrix in another way where they stand at the end of a block, so that the
last bits of an event depend on its place.  Here 64 events are computed side by side, each of them
by the same additions in the same order.

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from milinfer.typing import Float32Array

__all__ = ["WIDTH", "dense", "in_blocks", "in_rows"]

WIDTH = 64  # events side by side: the inputs and outputs of a layer of 64 stay in the fastest cache


def in_blocks(rows: Float32Array) -> Float32Array:
    """Arrange events for :func:`dense`: (n_events, n) → (n_blocks, n, 64), the rest zero.

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
    """Undo :func:`in_blocks`: (n_blocks, n, 64) → (n_events, n).

    Examples
    --------
    >>> in_rows(in_blocks(np.ones((65, 3), np.float32)), 65).shape
    (65, 3)
    """
    return blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:n_events]


def dense(x: Float32Array, kernel: Float32Array, bias: Float32Array) -> Float32Array:
    """Products with a kernel (n_in, n_out), plus a bias (n_out,).

    Parameters
    ----------
    x
        As of :func:`in_blocks`, shape (n_blocks, n_in, 64).
    kernel, bias
        Of the layer.

    Returns
    -------
    ndarray
        Shape (n_blocks, n_out, 64).

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


# Only products and sums may be joined to one operation: the order stays as it is written.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _dense(x: Float32Array, kernel: Float32Array, bias: Float32Array, out: Float32Array) -> None:
    n_in, n_out = kernel.shape
    whole = n_in - n_in % 4
    for i in range(len(x)):
        for j in range(0, n_out - 1, 2):
            one, two = out[i, j], out[i, j + 1]
            for e in range(WIDTH):
                one[e], two[e] = bias[j], bias[j + 1]
            for k in range(0, whole, 4):
                a0, a1, a2, a3 = kernel[k, j], kernel[k + 1, j], kernel[k + 2, j], kernel[k + 3, j]
                b0, b1 = kernel[k, j + 1], kernel[k + 1, j + 1]
                b2, b3 = kernel[k + 2, j + 1], kernel[k + 3, j + 1]
                x0, x1, x2, x3 = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
                for e in range(WIDTH):
                    one[e] = (((one[e] + a0 * x0[e]) + a1 * x1[e]) + a2 * x2[e]) + a3 * x3[e]
                    two[e] = (((two[e] + b0 * x0[e]) + b1 * x1[e]) + b2 * x2[e]) + b3 * x3[e]
            for k in range(whole, n_in):
                a0, b0, x0 = kernel[k, j], kernel[k, j + 1], x[i, k]
                for e in range(WIDTH):
                    one[e] += a0 * x0[e]
                    two[e] += b0 * x0[e]
        for j in range(n_out - n_out % 2, n_out):
            one = out[i, j]
            for e in range(WIDTH):
                one[e] = bias[j]
            for k in range(n_in):
                a0, x0 = kernel[k, j], x[i, k]
                for e in range(WIDTH):
                    one[e] += a0 * x0[e]
