"""Compute sums Σ wᵢ ln pᵢ(u) over polynomials in several parameters u, at one point at a time.

The coefficients of each polynomial are one row of a table, and compiled loops sum over the rows
(:mod:`milinfer.likelihood.log_polynomial_kernels`).  If there are very many rows and two or three
parameters, boxes of u are compressed.  A box around a point is compressed once enough points in
this box have been requested.  Polynomials with no zero near the box are then replaced by one
Chebyshev series for the sum of their logarithms, with a bound for its error.  The few polynomials
with a zero near the box are still summed row by row.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.polynomials import PolynomialBasis, Series

__all__ = ["LogSums"]

# Number of rows that are summed at each call, in some 100 µs.
_FEW = 50_000
# Largest number of parameters for which boxes are compressed; the number of nodes is its power.
_PARAMETERS = 3
# Largest fraction of the rows that a compressed box may leave to be summed at each call.
_NEAR = 1 / 500
# Number of rows from which the size of the boxes is determined.
_SOME = 8_000
# Factor by which boxes are made smaller until few rows are left, and the largest number of times.
_NARROWER, _STEPS = 0.8, 300
# A polynomial is far from zero on a box if it stays within a factor of two of its value c₀ at the
# centre for all complex distances from the centre of at most _RADIUS half-widths.  There
# |p/c₀ − 1| ≤ ½ and |ln(p/c₀)| ≤ ln 2, also on the Bernstein ellipses of this radius, whose
# parameter rho is below.  In one parameter the error of interpolation in n + 1 Chebyshev points is
# at most 4 ln 2 · rho^−n / (rho − 1) per unit of weight (Trefethen, Approximation Theory and
# Approximation Practice, theorem 8.2).  In several parameters, each interpolation multiplies the
# errors of the next ones by its Lebesgue constant, at most 1 + 2/π · ln(n + 1) (theorem 15.2).
_RADIUS = 6.0
_RHO = _RADIUS + np.sqrt(_RADIUS**2 - 1)
_DEGREE = 12
_BOUND = float(4 * np.log(2) * _RHO**-_DEGREE / (_RHO - 1))
_LEBESGUE = float(1 + 2 / np.pi * np.log(_DEGREE + 1))
# Number of nodes whose sums over all rows take as long as one call without compression.
_NODES_A_CALL = 3
# Rows of a chunk while a box is compressed: whole blocks of the compiled loops.
_CHUNK = 1 << 16


class _Rows(NamedTuple):
    """Polynomials and their weights in the form of the compiled loops."""

    columns: FloatArray
    weights: FloatArray
    alike: BoolArray

    @classmethod
    def of(cls, columns: FloatArray, weights: FloatArray) -> _Rows:
        """Rows of the columns (n_monomials, n_rows)."""
        from milinfer.likelihood.log_polynomial_kernels import BLOCK

        columns = np.require(columns, np.float64, ["C", "W", "A"])
        weights = np.require(weights, np.float64, ["C", "W", "A"])
        starts = np.arange(0, len(weights), BLOCK)
        if not len(starts):
            return cls(columns, weights, np.zeros(0, dtype=np.bool_))
        alike = np.minimum.reduceat(weights, starts) == np.maximum.reduceat(weights, starts)
        return cls(columns, weights, alike)


class _Box(NamedTuple):
    """The sum on a box: one series, and the rows of polynomials that come near zero."""

    series: Series
    near: _Rows


class LogSums:
    r"""The function :math:`\sum_i w_i \ln p_i(u)` of several parameters u.

    A box is a range of u.  If values in a box are requested often, a shorter sum replaces the sum
    over the rows in this box (the box is compressed).  Its values differ from the exact ones by
    less than :attr:`bound`.

    Parameters
    ----------
    basis
        Monomials in u.
    coefficients
        Coefficients of the polynomials, shape (n_rows, n_monomials).  An array in Fortran order is
        not copied.
    weights
        Weights of the rows, shape (n_rows,), of any sign.
    centre
        Point at which all polynomials must be positive, shape (n_parameters,).  The size of the
        boxes is determined at this point.

    Examples
    --------
    >>> import numpy as np
    >>> basis = PolynomialBasis(("a", "b"), 2)
    >>> sums = LogSums(basis, np.array([[1.0, 0, 0, 1, 0, 1]]), np.array([2.0]), np.zeros(2))
    >>> round(sums.value(np.ones(2)), 12), sums.gradient(np.ones(2)).round(12)
    (2.197224577336, array([1.33333333, 1.33333333]))
    """

    def __init__(
        self,
        basis: PolynomialBasis,
        coefficients: FloatArray,
        weights: FloatArray,
        centre: FloatArray,
    ) -> None:
        self.basis = basis
        self._coefficients, self._weights, self._centre = coefficients, weights, centre
        # Number of requests of each box, and the compressed boxes, by position.
        self._calls: dict[tuple[int, ...], int] = {}
        self._boxes: dict[tuple[int, ...], _Box] = {}

    @property
    def bound(self) -> float:
        """Upper bound of the error, without rounding errors; 0 if no boxes are compressed."""
        if not self._compresses:
            return 0.0
        errors = sum(_LEBESGUE**k for k in range(len(self._centre)))
        return errors * _BOUND * float(np.abs(self._weights).sum())

    @property
    def n_boxes(self) -> int:
        """Number of boxes that have been compressed."""
        return len(self._boxes)

    def value(self, u: FloatArray) -> float:
        """Return the sum at one point, which has the shape (n_parameters,)."""
        box = self._box(u)
        if box is None:
            return self._sum(self._rows, u)
        return box.series.value(u) + self._sum(box.near, u)

    def gradient(self, u: FloatArray) -> FloatArray:
        """Return the derivatives of the sum at one point, shape (n_parameters,)."""
        box = self._box(u)
        if box is None:
            return self._slope(self._rows, u)
        return box.series.gradient(u) + self._slope(box.near, u)

    def values_at(self, points: FloatArray) -> FloatArray:
        """Return the sum at m points without compressed boxes, shape (m,).

        The points have the shape (m, n_parameters).
        """
        from milinfer.likelihood.log_polynomial_kernels import sums_of_logs

        return sums_of_logs(*self._rows, np.ascontiguousarray(self.basis.design(points)))

    @cached_property
    def _rows(self) -> _Rows:
        return _Rows.of(self._coefficients.T, self._weights)

    @cached_property
    def _chain(self) -> tuple[IntArray, IntArray]:
        """Return for each monomial another one, and the parameter it is multiplied with."""
        exponents = self.basis.exponents.tolist()
        places = {tuple(e): k for k, e in enumerate(exponents)}
        parents, factors = [0], [0]
        for e in exponents[1:]:
            factors.append(max(k for k, power in enumerate(e) if power))
            e[factors[-1]] -= 1
            parents.append(places[tuple(e)])
        return np.array(parents, dtype=np.int64), np.array(factors, dtype=np.int64)

    def _sum(self, rows: _Rows, u: FloatArray) -> float:
        from milinfer.likelihood.log_polynomial_kernels import sum_of_logs

        return sum_of_logs(*rows, *self._chain, u)

    def _slope(self, rows: _Rows, u: FloatArray) -> FloatArray:
        from milinfer.likelihood.log_polynomial_kernels import gradient_of_logs

        return gradient_of_logs(rows.columns, rows.weights, *self._chain, u)

    def __getstate__(self) -> dict[str, object]:
        # A copy of the coefficients, arranged in rows.
        return {key: value for key, value in self.__dict__.items() if key != "_rows"}

    # Boxes.

    @cached_property
    def _compresses(self) -> bool:
        return len(self._weights) > _FEW and len(self._centre) <= _PARAMETERS

    @cached_property
    def _half(self) -> FloatArray:
        """Half-widths of the boxes, shape (n_parameters,)."""
        some = self._rows.columns[:, :: -(-len(self._weights) // _SOME)]

        def reach(half: FloatArray) -> float:
            """Return how near to zero the polynomials come, except for a few rows."""
            return float(np.quantile(self._reach(self._local(some, self._centre, half)), 1 - _NEAR))

        half = np.ones(len(self._centre))
        for _ in range(_STEPS):
            if reach(half) <= 0.5:
                break
            half = min(half * (1 - (1 - _NARROWER) * np.eye(len(half))), key=reach)
        return half

    def _local(self, columns: FloatArray, centre: FloatArray, half: FloatArray) -> FloatArray:
        """Return the coefficients in (u − centre)/half, shape (n_monomials, n_rows)."""
        return np.asarray(self.basis.shift(centre, half) @ columns)

    def _reach(self, local: FloatArray) -> FloatArray:
        """Return max |p/c₀ − 1| on the discs of a box (n_rows,); ½ or less is far from zero."""
        degrees = self.basis.exponents[1:].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rest = _RADIUS**degrees @ np.abs(local[1:]) / local[0]
        return np.where(local[0] > 0, rest, np.inf)

    def _box(self, u: FloatArray) -> _Box | None:
        """Return the compressed box that contains a point, or None."""
        if not self._compresses:
            return None
        place = tuple(np.rint((u - self._centre) / (2 * self._half)).astype(np.int64).tolist())
        box = self._boxes.get(place)
        if box is None:
            self._calls[place] = self._calls.get(place, 0) + 1
            if self._calls[place] > (_DEGREE + 1) ** len(u) / _NODES_A_CALL:
                box = self._boxes[place] = self._compressed(self._centre + 2 * self._half * place)
        return box

    def _compressed(self, centre: FloatArray) -> _Box:
        from milinfer.likelihood.log_polynomial_kernels import sums_of_logs

        n, n_nodes = len(centre), _DEGREE + 1
        nodes = np.array(list(product(chebyshev.chebpts1(n_nodes), repeat=n)))
        monomials = np.ascontiguousarray(self.basis.design(nodes))
        sums, near = np.zeros(len(nodes)), []
        for start in range(0, len(self._weights), _CHUNK):
            columns, weights = (x[..., start : start + _CHUNK] for x in self._rows[:2])
            local = self._local(columns, centre, self._half)
            far = self._reach(local) <= 0.5
            near.append(np.flatnonzero(~far) + start)
            local, weights = local[:, far], weights[far]
            # Relative to the centre, all values are between ½ and 3/2.
            # Not a product of vectors, whose last digits depend on the number of threads.
            sums += np.sum(weights * np.log(local[0]))
            sums += sums_of_logs(*_Rows.of(local / local[0], weights), monomials)
        rows = np.concatenate(near)
        coefficients = sums.reshape((n_nodes,) * n)
        to_coefficients = chebyshev.chebvander(chebyshev.chebpts1(n_nodes), _DEGREE).T * (
            2 / n_nodes
        )
        to_coefficients[0] /= 2
        for axis in range(n):  # discrete orthogonality, parameter after parameter
            coefficients = np.moveaxis(
                np.tensordot(to_coefficients, coefficients, axes=(1, axis)), 0, axis
            )
        return _Box(
            Series(np.ascontiguousarray(coefficients), centre - self._half, centre + self._half),
            _Rows.of(self._rows.columns[:, rows], self._weights[rows]),
        )
