"""Functions of the parameters at one point: what a minimiser calls thousands of times.

Arrays of points cost tens of microseconds whatever their number, so single points have a way of
their own: polynomials as products of one small tensor with one vector for each parameter, splines
as one cubic.  Both are the same functions as for arrays, to rounding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.typing import FloatArray, IntArray

__all__ = ["PiecewiseCubic", "Series", "chebyshev_terms"]

_Terms: TypeAlias = tuple[list[float], list[float]]


@dataclass(frozen=True, eq=False)
class Series:
    """Polynomial in one or several parameters, with its gradient, at one point at a time.

    Parameters
    ----------
    coefficients
        Of the products of the terms of each parameter, shape (n_1, …, n_p).
    low, high
        Box that is scaled to −1 … 1 in each parameter, shape (n_parameters,).
    kind
        Terms: ``"chebyshev"`` polynomials, or ``"power"``.

    Examples
    --------
    >>> import numpy as np
    >>> parabola = Series(np.array([1.0, 0.0, 2.0]), np.array([-1.0]), np.array([1.0]), "power")
    >>> parabola.value([0.5]), parabola.gradient([0.5])
    (1.5, array([2.]))
    """

    coefficients: FloatArray
    low: FloatArray
    high: FloatArray
    kind: Literal["chebyshev", "power"] = "chebyshev"

    @classmethod
    def of_monomials(
        cls,
        exponents: IntArray,
        coefficients: FloatArray,
        low: ArrayLike = -1.0,
        high: ArrayLike = 1.0,
    ) -> Series:
        """Sum of monomials in the parameters, scaled if a box is given.

        Parameters
        ----------
        exponents
            Shape (n_terms, n_parameters), all different.
        coefficients
            Shape (n_terms,).
        low, high
            The box.

        Examples
        --------
        >>> import numpy as np
        >>> Series.of_monomials(np.array([[0, 1], [2, 0]]), np.array([3.0, 1.0])).value([2.0, 1.0])
        7.0
        """
        tensor = np.zeros(exponents.max(axis=0) + 1)
        tensor[tuple(exponents.T)] = coefficients
        n = exponents.shape[1]
        corners = [np.broadcast_to(np.asarray(x, dtype=np.float64), n) for x in (low, high)]
        return cls(tensor, corners[0], corners[1], "power")

    @cached_property
    def _scaling(self) -> list[tuple[float, float]]:
        """Factor and shift of each parameter."""
        factor = 2 / (self.high - self.low)
        shift = -(self.high + self.low) / (self.high - self.low)
        return list(zip(factor.tolist(), shift.tolist(), strict=True))

    @cached_property
    def _terms(self) -> Callable[[float, int], _Terms]:
        return chebyshev_terms if self.kind == "chebyshev" else _powers

    def _bases(self, point: Sequence[float] | FloatArray) -> list[_Terms]:
        return [
            self._terms(factor * float(x) + shift, n)
            for x, n, (factor, shift) in zip(
                point, self.coefficients.shape, self._scaling, strict=True
            )
        ]

    def value(self, point: Sequence[float] | FloatArray) -> float:
        """Value at a point (n_parameters,)."""
        value: FloatArray = self.coefficients
        for terms, _ in reversed(self._bases(point)):
            value = value @ np.array(terms)
        return float(value)

    def gradient(self, point: Sequence[float] | FloatArray) -> FloatArray:
        """Derivatives at a point (n_parameters,), shape (n_parameters,)."""
        bases = self._bases(point)
        out = np.empty(len(bases))
        # From the last parameter to the first: what stands for the derivative with respect to
        # those already summed, and the value of what is left.
        value: FloatArray = self.coefficients
        slopes: list[FloatArray] = []
        for k in reversed(range(len(bases))):
            terms, derived = (np.array(x) for x in bases[k])
            slopes = [slope @ terms for slope in slopes] + [value @ derived]
            value = value @ terms
        for k, slope in enumerate(reversed(slopes)):
            out[k] = self._scaling[k][0] * float(slope)
        return out


def chebyshev_terms(x: float, n: int) -> tuple[list[float], list[float]]:
    """T_0 … T_{n−1} at a number, and their derivatives.

    Examples
    --------
    >>> chebyshev_terms(0.5, 3)
    ([1.0, 0.5, -0.5], [0.0, 1.0, 2.0])
    """
    values, slopes = [1.0, x], [0.0, 1.0]
    for _ in range(n - 2):
        slopes.append(2 * (values[-1] + x * slopes[-1]) - slopes[-2])
        values.append(2 * x * values[-1] - values[-2])
    return values[:n], slopes[:n]


def _powers(x: float, n: int) -> _Terms:
    """1, x, … x^(n−1) and their derivatives."""
    values, slopes = [1.0], [0.0]
    for k in range(1, n):
        slopes.append(k * values[-1])
        values.append(x * values[-1])
    return values, slopes


class PiecewiseCubic:
    """Cubic spline in one parameter at one point at a time.

    Parameters
    ----------
    knots
        Ascending, shape (K,).
    coefficients
        From the cube to the constant, of the distance to the knot on the left, (4, K − 1).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.interpolate import CubicSpline
    >>> knots = np.linspace(-1, 1, 5)
    >>> cubic = PiecewiseCubic(knots, CubicSpline(knots, knots**3).c)
    >>> round(cubic.value([0.3]), 12), cubic.gradient([0.3]).round(12)
    (0.027, array([0.27]))
    """

    def __init__(self, knots: FloatArray, coefficients: FloatArray) -> None:
        self._knots: list[float] = knots.tolist()
        self._pieces: list[list[float]] = coefficients.T.tolist()

    def _piece(self, x: float) -> tuple[list[float], float]:
        cell = min(max(bisect_right(self._knots, x) - 1, 0), len(self._pieces) - 1)
        return self._pieces[cell], x - self._knots[cell]

    def value(self, point: Sequence[float] | FloatArray) -> float:
        """Value at a point (1,)."""
        (c3, c2, c1, c0), d = self._piece(float(point[0]))
        return ((c3 * d + c2) * d + c1) * d + c0

    def gradient(self, point: Sequence[float] | FloatArray) -> FloatArray:
        """Derivative at a point (1,), shape (1,)."""
        (c3, c2, c1, _), d = self._piece(float(point[0]))
        return np.array([(3 * c3 * d + 2 * c2) * d + c1])
