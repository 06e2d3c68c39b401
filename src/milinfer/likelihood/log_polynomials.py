r"""Λ(θ) of a dataset as a weighted sum of logarithms of polynomials, without interpolation.

In the exact ratio and in polynomial heads, the ratio of every event is a polynomial in θ (a squared
amplitude), divided by a polynomial that is common to all events.  Then :math:`\Lambda(\theta) =
\sum_i w_i \ln p_i(\theta)` is evaluated exactly.  An interpolation through points is not exact: an
event whose amplitude nearly vanishes at some θ makes a narrow dip in Λ.

If there are few events, all are summed at each call.  Many events are compressed, on one short
interval of θ at a time.  Polynomials with no zero near the interval are replaced by one Chebyshev
series for the sum of their logarithms, with a bound for its error.  The few polynomials with a zero
near the interval are still summed one by one.  With several parameters, there are boxes instead of
intervals; see :mod:`milinfer.likelihood.log_polynomial_boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from milinfer.likelihood.log_polynomial_boxes import LogSums
from milinfer.typing import BoolArray, FloatArray
from milinfer.utils.minimize import lowest_in_box
from milinfer.utils.polynomials import PolynomialBasis, Series

__all__ = ["LogPolynomials"]

# Number of events that are summed at each call, in about 10 µs.
_FEW = 1500
# Number of events that a compressed interval may leave to be summed at each call.
_NEAR = 200
# Largest number of times an interval is halved; 10⁸ events need fewer.
_HALVINGS = 24
# A polynomial is far from zero on an interval if it stays within a factor of two of its value at
# the centre on the disc of _RADIUS half-widths.  The modulus of its logarithm is then at most ln 2
# on the Bernstein ellipse inside this disc, whose parameter rho is below.  The error of
# interpolation in n + 1 Chebyshev points is at most 4 ln 2 · rho^−n / (rho − 1) per unit of weight
# (Trefethen, Approximation Theory and Approximation Practice, theorem 8.2).
_RADIUS = 3.0
_RHO = _RADIUS + np.sqrt(_RADIUS**2 - 1)
_DEGREE = 16
_BOUND = float(4 * np.log(2) * _RHO**-_DEGREE / (_RHO - 1))
# Newton steps after a search that is accurate to the square root of the float precision only.
_POLISH = 3
# Largest number of elements of a temporary array.
_CHUNK = 1 << 22


class _Cell(NamedTuple):
    """The sum on an interval: one series, and the rows of polynomials that come near zero."""

    series: Series
    rows: FloatArray
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class LogPolynomials:
    r"""Λ(θ) of a dataset as a sum: :math:`\sum_i w_i [\ln p_i(\theta) - \ln p_i(\theta_0)]`.

    Each :math:`p_i` is a polynomial in θ, one for each event and one for a common denominator.

    Parameters
    ----------
    basis
        Monomials in (θ − centre)/half.
    centre, half
        Centre and half width of the range of each parameter, shape (n_parameters,).
    coefficients
        Coefficients of the polynomials :math:`p_i` in `basis`, shape (n_rows, n_monomials): one row
        for each event, and one for the common denominator.
    weights
        Weights :math:`w_i`, shape (n_rows,), of any sign; the weight of the denominator is minus
        the sum of the weights of the events.
    low, high
        Corners of the box in which the polynomials are positive, shape (n_parameters,).
    reference
        Reference point θ0, shape (n_parameters,).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> total = LogPolynomials(PolynomialBasis(("c",), 2), 0 * one, one, np.array([[1.0, 0, 1]]),
    ...                        2 * one, -one, one, 0 * one)
    >>> round(total.value(one), 12), total.gradient(one).round(12)
    (1.38629436112, array([2.]))
    """

    basis: PolynomialBasis
    centre: FloatArray
    half: FloatArray
    coefficients: FloatArray
    weights: FloatArray
    low: FloatArray
    high: FloatArray
    reference: FloatArray

    def __post_init__(self) -> None:
        if self.n_parameters > 1:  # as compiled loops read them, so that they are held once
            object.__setattr__(self, "coefficients", np.asfortranarray(self.coefficients))

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return len(self.centre)

    @cached_property
    def bound(self) -> float:
        """Upper bound of the error of :meth:`value`, without rounding errors.

        It is 0 if no events are compressed.
        """
        if self.n_parameters > 1:
            return self._sums.bound
        return _BOUND * float(np.abs(self.weights).sum()) if self._halvings else 0.0

    @property
    def n_boxes(self) -> int:
        """Number of boxes (with one parameter: intervals) that have been compressed."""
        return self._sums.n_boxes if self.n_parameters > 1 else len(self._cells)

    def value(self, point: FloatArray) -> float:
        """Return Λ at one point, which has the shape (n_parameters,); it takes microseconds."""
        if self.n_parameters > 1:
            return self._sums.value(self._unit(point)) - self._offset
        monomials = self._monomials(point)
        if not self._halvings:
            return float(self.weights @ np.log(self.coefficients @ monomials)) - self._offset
        cell = self._cell(float(point[0]))
        near = cell.weights @ np.log(cell.rows @ monomials)
        return cell.series.value(point) + float(near) - self._offset

    def gradient(self, point: FloatArray) -> FloatArray:
        """Return the derivatives of Λ at one point, shape (n_parameters,)."""
        if self.n_parameters > 1:
            return self._sums.gradient(self._unit(point)) / self.half
        monomials, slopes = self._monomials(point), self._slopes(point)
        if not self._halvings:
            return _slope(self.coefficients, self.weights, monomials, slopes)
        cell = self._cell(float(point[0]))
        near = _slope(cell.rows, cell.weights, monomials, slopes)
        return cell.series.gradient(point) + near

    def at(self, point: FloatArray) -> FloatArray:
        """Return the values of the polynomials at one point, shape (n_rows,)."""
        return np.asarray(self.coefficients @ self._monomials(point), dtype=np.float64)

    def slopes_at(self, point: FloatArray) -> FloatArray:
        """Return the derivatives of the polynomials at one point, shape (n_rows, n_parameters)."""
        return np.asarray(self.coefficients @ self._slopes(point), dtype=np.float64)

    def values_at(self, points: FloatArray) -> FloatArray:
        """Return Λ at m points without compression, shape (m,).

        The points have the shape (m, n_parameters).
        """
        if self.n_parameters > 1:
            return self._sums.values_at(self._unit(points)) - self._offset
        total = np.zeros(len(points))
        step = max(1, _CHUNK // max(len(points), 1))
        for start in range(0, len(self.coefficients), step):
            rows = slice(start, start + step)
            total += self.weights[rows] @ np.log(self._raw(points, rows))
        return total - self._offset

    def hessian(self, point: FloatArray) -> FloatArray:
        """Return the second derivatives of Λ at one point, shape (n_parameters, n_parameters)."""
        u, p = self._unit_point(point), self.n_parameters
        unit = np.eye(p, dtype=np.int64)
        second = [
            _monomial_derivatives(self.basis, u, (unit[j] + unit[k]).tolist())
            for j in range(p)
            for k in range(p)
        ]
        bends = np.array(second).T / np.outer(self.half, self.half).ravel()
        columns = np.column_stack([self._monomials(point), self._slopes(point), bends])
        out = np.zeros((p, p))
        # All rows at once in one parameter; in several, p² columns would fill the memory.
        step = len(self.weights) if p == 1 else max(1, _CHUNK // columns.shape[1])
        for start in range(0, len(self.weights), step):
            weights = self.weights[start : start + step]
            derivatives = self.coefficients[start : start + step] @ columns
            relative = derivatives[:, 1:] / derivatives[:, :1]
            slope, bend = relative[:, :p], relative[:, p:].reshape(-1, p, p)
            out += np.tensordot(weights, bend, axes=1) - (slope.T * weights) @ slope
        return out

    def maximum_near(self, start: FloatArray) -> FloatArray:
        """Return the position of the maximum that is reached uphill from a point inside the box."""

        def downhill(at: FloatArray) -> tuple[float, FloatArray]:
            return -self.value(at), -self.gradient(at)

        point = lowest_in_box(downhill, start, self.low, self.high)
        for _ in range(_POLISH):
            curvature = -self.hessian(point)
            if np.linalg.eigvalsh(curvature)[0] <= 0:
                break
            step = np.linalg.solve(curvature, self.gradient(point))
            next_point = point + step
            inside = np.all((next_point > self.low) & (next_point < self.high))
            if not inside or self.value(next_point) < self.value(point):
                break
            point = next_point
        return point

    def derivatives_at(self, points: FloatArray, order: int) -> FloatArray:
        """Return Λ (order 0) or its first or second derivative at m points, for one parameter.

        The points have the shape (m, 1).
        """
        if order == 0:
            return self.values_at(points)
        if order == 1:
            return np.array([self.gradient(x)[0] for x in points])
        return np.array([self.hessian(x)[0, 0] for x in points])

    def _raw(self, points: FloatArray, rows: slice = slice(None)) -> FloatArray:
        design = self.basis.design((points - self.centre) / self.half)
        return np.asarray(self.coefficients[rows] @ design.T, dtype=np.float64)

    def _unit(self, points: FloatArray) -> FloatArray:
        """(θ − centre)/half of points (…, n_parameters)."""
        return np.asarray((points - self.centre) / self.half, dtype=np.float64)

    @cached_property
    def _sums(self) -> LogSums:
        """The sum in several parameters."""
        return LogSums(self.basis, self.coefficients, self.weights, self._unit(self.reference))

    def _unit_point(self, point: FloatArray) -> list[float]:
        """(θ − centre)/half."""
        return [(x - c) / h for x, c, h in zip(point.tolist(), *self._scaling, strict=True)]

    @cached_property
    def _scaling(self) -> tuple[list[float], list[float]]:
        return self.centre.tolist(), self.half.tolist()

    def _monomials(self, point: FloatArray) -> FloatArray:
        return _monomial_derivatives(self.basis, self._unit_point(point), (0,) * self.n_parameters)

    def _slopes(self, point: FloatArray) -> FloatArray:
        """Derivatives of the monomials, shape (n_monomials, n_parameters)."""
        u, p = self._unit_point(point), self.n_parameters
        slopes = [
            _monomial_derivatives(self.basis, u, tuple(int(j == k) for j in range(p)))
            for k in range(p)
        ]
        out: FloatArray = np.array(slopes).T / self.half
        return out

    @cached_property
    def _offset(self) -> float:
        if self.n_parameters > 1:
            return float(self._sums.values_at(self._unit(self.reference)[None])[0])
        return float(self.weights @ np.log(self._raw(self.reference[None])[:, 0]))

    # Intervals of one parameter.

    @cached_property
    def _halvings(self) -> int:
        """How often the range is halved; 0 if all rows are summed at each call."""
        if len(self.weights) <= _FEW:
            return 0
        for halvings in range(1, _HALVINGS):
            if np.sum(~self._split(self._interval(float(self.reference[0]), halvings))[0]) <= _NEAR:
                return halvings
        return _HALVINGS

    @cached_property
    def _cells(self) -> dict[float, _Cell]:
        """Intervals in use, by their centres."""
        return {}

    def _interval(self, x: float, halvings: int) -> tuple[float, float]:
        """Return centre and half-width of the interval that contains a value."""
        low, n = float(self.low[0]), 2**halvings
        width = (float(self.high[0]) - low) / n
        k = min(max(int((x - low) / width), 0), n - 1)
        return low + (k + 0.5) * width, width / 2

    def _split(self, interval: tuple[float, float]) -> tuple[BoolArray, FloatArray]:
        """Return whether polynomials are far from zero, and their coefficients at the centre."""
        middle, radius = interval
        u, scale = (middle - self.centre[0]) / self.half[0], radius / self.half[0]
        n = self.basis.degree + 1
        shift = np.array(
            [[comb(a, b) * u ** (a - b) * scale**b if b <= a else 0.0 for b in range(n)]
             for a in range(n)]
        )  # fmt: skip
        local = self.coefficients @ shift
        rest = np.abs(local[:, 1:]) @ (_RADIUS ** np.arange(1, n))
        return rest <= local[:, 0] / 2, local

    def _cell(self, x: float) -> _Cell:
        middle, radius = self._interval(x, self._halvings)
        cells = self._cells
        if middle not in cells:
            far, local = self._split((middle, radius))
            nodes = chebyshev.chebpts1(_DEGREE + 1)
            powers = nodes[:, None] ** np.arange(local.shape[1])
            total = np.zeros(len(nodes))
            chosen = np.flatnonzero(far)
            for start in range(0, len(chosen), _CHUNK // len(nodes)):
                rows = chosen[start : start + _CHUNK // len(nodes)]
                total += self.weights[rows] @ np.log(local[rows] @ powers.T)
            series = Series(
                np.asarray(chebyshev.chebfit(nodes, total, _DEGREE), dtype=np.float64),
                np.array([middle - radius]),
                np.array([middle + radius]),
            )
            cells[middle] = _Cell(series, self.coefficients[~far], self.weights[~far])
        return cells[middle]


def _slope(
    rows: FloatArray, weights: FloatArray, monomials: FloatArray, slopes: FloatArray
) -> FloatArray:
    """Derivatives of the weighted sum of ln(rows @ monomials), shape (n_parameters,)."""
    slope: FloatArray = (weights / (rows @ monomials)) @ (rows @ slopes)
    return slope


def _monomial_derivatives(
    basis: PolynomialBasis, u: Sequence[float], orders: Sequence[int]
) -> FloatArray:
    """Monomials at one scaled point, or partial derivatives of them, shape (n_monomials,)."""
    columns = []
    for x, order in zip(u, orders, strict=True):
        powers = [1.0]
        for _ in range(basis.degree):
            powers.append(powers[-1] * x)
        for _ in range(order):
            powers = [0.0, *(j * powers[j - 1] for j in range(1, len(powers)))]
        columns.append(np.array(powers))
    if len(columns) == 1:  # by degree, as the basis is
        return columns[0]
    out: FloatArray = np.prod(
        [column[powers] for column, powers in zip(columns, basis.exponents.T, strict=True)], axis=0
    )
    return out
