"""Compiled sums (numba) of logarithms of polynomials in several parameters, and their gradient.

Rows are summed in blocks that fit into the nearest cache, and the loops are written so that
compilers can process several rows with one instruction.  All sums are float64, in a fixed order and
on one thread.

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.compiled import load_loops

__all__ = ["BLOCK", "gradient_of_logs", "sum_of_logs", "sums_of_logs"]

# Sums may be reordered, so that several rows are added at once.
_SUMS = {"reassoc", "contract", "nsz"}
# Number of rows whose values are stored at once.
BLOCK = 1024
# Number of values with one weight of which one logarithm is taken; `_TAKEN` are left of a block.
_TAKEN = BLOCK // 8
# The product of eight numbers between these limits can be represented as a float.
_LOW, _HIGH = 1e-37, 1e37
# Smallest and largest normal numbers.
_LEAST, _MOST = 2.3e-308, 1.7e308


def sum_of_logs(
    columns: FloatArray,
    weights: FloatArray,
    alike: BoolArray,
    parents: IntArray,
    factors: IntArray,
    u: FloatArray,
) -> float:
    """Return the weighted sum of the logarithms of polynomials at one point.

    Parameters
    ----------
    columns
        Coefficients, one row for each monomial, shape (n_monomials, n_rows).
    weights
        Weights of the polynomials, shape (n_rows,).
    alike
        Whether the weights in each block of :data:`BLOCK` rows are all equal.
    parents, factors
        Monomial m is the monomial with the number ``parents[m]`` times the parameter with the
        number ``factors[m]``.  The first monomial is 1.
    u
        Point, shape (n_parameters,).
    """
    return float(_sum_of_logs(columns, weights, alike, parents, factors, u))


def gradient_of_logs(
    columns: FloatArray, weights: FloatArray, parents: IntArray, factors: IntArray, u: FloatArray
) -> FloatArray:
    """Return the derivatives of :func:`sum_of_logs` with respect to u, shape (n_parameters,).

    Parameters
    ----------
    columns, weights, parents, factors, u
        As for :func:`sum_of_logs`.
    """
    gradient: FloatArray = _gradient_of_logs(columns, weights, parents, factors, u)
    return gradient


def sums_of_logs(
    columns: FloatArray, weights: FloatArray, alike: BoolArray, monomials: FloatArray
) -> FloatArray:
    """Return the weighted sums of the logarithms of polynomials at many points, shape (m,).

    Parameters
    ----------
    columns, weights, alike
        As for :func:`sum_of_logs`.
    monomials
        Values of the monomials at each point, shape (m, n_monomials).
    """
    sums: FloatArray = _sums_of_logs(columns, weights, alike, monomials)
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
def _set_monomials(parents, factors, u, values):  # type: ignore[no-untyped-def]
    values[0] = 1.0
    for m in range(1, len(values)):
        values[m] = values[parents[m]] * u[factors[m]]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _evaluate(columns, start, stop, monomials, out):  # type: ignore[no-untyped-def]
    """Set the polynomials of a block; lowest and highest of them."""
    n, m = stop - start, 0
    column = columns[0, start:stop]
    for i in range(n):
        out[i] = monomials[0] * column[i]
    m = 1
    while m + 4 <= len(columns):
        # The block is read and written once for four columns.
        f1, f2, f3, f4 = monomials[m], monomials[m + 1], monomials[m + 2], monomials[m + 3]
        one, two = columns[m, start:stop], columns[m + 1, start:stop]
        three, four = columns[m + 2, start:stop], columns[m + 3, start:stop]
        for i in range(n):
            out[i] += (f1 * one[i] + f2 * two[i]) + (f3 * three[i] + f4 * four[i])
        m += 4
    while m < len(columns):
        f1, one = monomials[m], columns[m, start:stop]
        for i in range(n):
            out[i] += f1 * one[i]
        m += 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz", "reassoc"})
def _within(values, n, low, high):  # type: ignore[no-untyped-def]
    """Whether numbers lie between two others."""
    outside = 0
    for i in range(n):
        outside += 0 if (values[i] > low) & (values[i] < high) else 1
    return outside == 0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _block_sum(values, n, weights, alike):  # type: ignore[no-untyped-def]
    """Weighted sum of the logarithms of a block, whose values are overwritten."""
    total = 0.0
    if alike and n == BLOCK and _within(values, n, _LOW, _HIGH):
        # Logarithms take the most time, so one logarithm is taken of the product of eight numbers.
        half = BLOCK // 2
        while half >= _TAKEN:
            for i in range(half):
                values[i] *= values[i + half]
            half //= 2
        for i in range(_TAKEN):
            total += _log(values[i])
        return weights[0] * total
    if _within(values, n, _LEAST, _MOST):
        for i in range(n):
            total += weights[i] * _log(values[i])
        return total
    for i in range(n):
        total += weights[i] * np.log(values[i])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_of_logs(columns, weights, alike, parents, factors, u):  # type: ignore[no-untyped-def]
    monomials, values = np.empty(len(columns)), np.empty(BLOCK)
    _set_monomials(parents, factors, u, monomials)
    total, n = 0.0, len(weights)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        _evaluate(columns, start, stop, monomials, values)
        total += _block_sum(values, stop - start, weights[start:stop], alike[start // BLOCK])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _sums_of_logs(columns, weights, alike, monomials):  # type: ignore[no-untyped-def]
    totals, values = np.zeros(len(monomials)), np.empty(BLOCK)
    n = len(weights)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for k in range(len(monomials)):
            _evaluate(columns, start, stop, monomials[k], values)
            totals[k] += _block_sum(
                values, stop - start, weights[start:stop], alike[start // BLOCK]
            )
    return totals


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _gradient_of_logs(columns, weights, parents, factors, u):  # type: ignore[no-untyped-def]
    n_monomials, n = len(columns), len(weights)
    monomials, values, sums = np.empty(n_monomials), np.empty(BLOCK), np.zeros(n_monomials)
    _set_monomials(parents, factors, u, monomials)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        _evaluate(columns, start, stop, monomials, values)
        part = weights[start:stop]
        for i in range(stop - start):
            values[i] = part[i] / values[i]
        for m in range(1, n_monomials):
            column, total = columns[m, start:stop], 0.0
            for i in range(stop - start):
                total += column[i] * values[i]
            sums[m] += total
    slopes, gradient = np.zeros((n_monomials, len(u))), np.zeros(len(u))
    for m in range(1, n_monomials):
        for p in range(len(u)):
            slopes[m, p] = slopes[parents[m], p] * u[factors[m]]
        slopes[m, factors[m]] += monomials[parents[m]]
        for p in range(len(u)):
            gradient[p] += sums[m] * slopes[m, p]
    return gradient


_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_MANTISSA, _ONE = 0x000FFFFFFFFFFFFF, 0x3FF0000000000000
# A number whose last bits are those of an integer added to it: 1.5 · 2⁵².
_INTEGER, _INTEGER_BITS = 6755399441055744.0, 0x4338000000000000
# Coefficients of ln((1 + s)/(1 − s)) beyond 2 s, in powers of s² (Sun's fdlibm).
_L1, _L2, _L3 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01
_L4, _L5, _L6 = 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01
_L7 = 1.479819860511658591e-01


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _log(x):  # type: ignore[no-untyped-def]
    """Ln x of a normal number without branches, within one unit of the last place.

    The compiler turns it into instructions for several numbers at once.
    """
    bits = np.float64(x).view(np.int64)
    # Mantissas between √½ and √2; 0x95F62 is the difference between √2 and 2 in the upper bits.
    bits += 0x0009_5F62_0000_0000
    exponent = (bits >> 52) - 1023
    mantissa = np.int64((bits & _MANTISSA) + 0x3FE6_A09E_0000_0000).view(np.float64)
    k = np.int64(exponent + _INTEGER_BITS).view(np.float64) - _INTEGER
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (_L2 + w * (_L4 + w * _L6))
    odd = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7)))
    square = 0.5 * f * f
    return k * _LN2_HIGH - ((square - (s * (square + (even + odd)) + k * _LN2_LOW)) - f)


_ROW, _COLUMNS, _PLACES = types.float64[::1], types.float64[:, ::1], types.int64[::1]
load_loops(
    (_sum_of_logs, (_COLUMNS, _ROW, types.boolean[::1], _PLACES, _PLACES, _ROW)),
    (_gradient_of_logs, (_COLUMNS, _ROW, _PLACES, _PLACES, _ROW)),
)
