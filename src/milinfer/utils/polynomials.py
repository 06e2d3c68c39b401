"""Evaluate and fit polynomials in several parameters, and choose points that determine them.

The squared amplitude of a process with one operator insertion is a quadratic polynomial in the
Wilson coefficients; with one insertion in production and one in decay it is quartic.  A polynomial
with n coefficients is determined by its values at n suitable points (:class:`PolynomialBasis`).

:class:`Series` and :class:`PiecewiseCubic` are for minimisers, which evaluate a function at single
points thousands of times.  Operations on numpy arrays are slow for this purpose: they take tens of
microseconds even for a single point.  Here a polynomial is evaluated as the product of a small
tensor with one vector for each parameter, and a spline as the cubic polynomial between two knots.
The values are the same as with array operations, apart from rounding.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, ParameterError
from milinfer.typing import FloatArray, IntArray, Point

__all__ = ["PiecewiseCubic", "PolynomialBasis", "PolynomialFit", "Series", "chebyshev_terms"]


# Above this condition number, rounding errors dominate the coefficients.
_MAX_CONDITION = 1e8


class PolynomialFit(NamedTuple):
    """Result of fits of polynomials to several quantities at the same points.

    Parameters
    ----------
    coefficients
        Fitted coefficients, shape (n_coefficients, n_quantities).
    covariance
        Covariance matrix of the coefficients of each quantity, shape (n_quantities, n_coefficients,
        n_coefficients).
    chi2
        χ² of each fit, shape (n_quantities,).
    ndf
        Degrees of freedom of each fit.
    """

    coefficients: FloatArray
    covariance: FloatArray
    chi2: FloatArray
    ndf: int


@dataclass(frozen=True)
class PolynomialBasis:
    """All monomials in named parameters, including products, up to a total degree.

    Parameters
    ----------
    parameters
        Names of the parameters, in order.
    degree
        Largest total degree.

    Raises
    ------
    ParameterError
        If there is no name, or a name is repeated.
    ConfigurationError
        If the degree is not a whole number of 0 or more.

    Examples
    --------
    >>> basis = PolynomialBasis(("c_HW", "c_W"), 2)
    >>> basis.exponents.tolist()
    [[0, 0], [0, 1], [1, 0], [0, 2], [1, 1], [2, 0]]
    >>> basis.design([[2.0, 3.0]])
    array([[1., 3., 2., 9., 6., 4.]])
    """

    parameters: tuple[str, ...]
    degree: int

    def __post_init__(self) -> None:
        if not self.parameters or len(set(self.parameters)) != len(self.parameters):
            msg = f"a polynomial needs parameters with different names, not {self.parameters}"
            raise ParameterError(msg)
        if self.degree != int(self.degree) or self.degree < 0:
            msg = f"the degree of a polynomial must be a whole number ≥ 0, not {self.degree}"
            raise ConfigurationError(msg)

    @cached_property
    def exponents(self) -> IntArray:
        """Exponents of the monomials, shape (n_coefficients, n_parameters), lowest degree first."""
        # Not all combinations of exponents, because most of them have a larger total degree.
        n = len(self.parameters)
        powers = [
            tuple(map(factors.count, range(n)))
            for total in range(int(self.degree) + 1)
            for factors in combinations_with_replacement(range(n), total)
        ]
        return np.array(sorted(powers, key=lambda e: (sum(e), e)), dtype=np.int64).reshape(
            len(powers), n
        )

    def __len__(self) -> int:
        return math.comb(len(self.parameters) + int(self.degree), int(self.degree))

    def array(self, point: Point) -> FloatArray:
        """Return the values of a point in the order of `parameters`, shape (n_parameters,).

        Raises
        ------
        ParameterError
            If the point does not have exactly these parameters.
        """
        return point_array(self.parameters, point)

    def design(self, theta: ArrayLike) -> FloatArray:
        """Evaluate the monomials at points of shape (m, n_parameters).

        The result has the shape (m, n_coefficients).
        """
        points = np.asarray(theta, dtype=np.float64).reshape(-1, len(self.parameters))
        monomials: FloatArray = np.prod(points[:, None, :] ** self.exponents[None], axis=2)
        return monomials

    def design_gradient(self, theta: ArrayLike) -> FloatArray:
        """Return derivatives of the monomials at a point, shape (n_parameters, n_coefficients)."""
        point = np.asarray(theta, dtype=np.float64).reshape(len(self.parameters))
        out = np.empty((len(point), len(self)))
        for k in range(len(point)):
            lowered = self.exponents.copy()
            lowered[:, k] = np.maximum(lowered[:, k] - 1, 0)
            out[k] = self.exponents[:, k] * np.prod(point[None] ** lowered, axis=1)
        return out

    def shift(self, centre: ArrayLike, half: ArrayLike) -> FloatArray:
        """Return the matrix that converts coefficients in x to coefficients in (x − centre)/half.

        Parameters
        ----------
        centre, half
            New origin and unit of each parameter, shape (n_parameters,).

        Examples
        --------
        >>> PolynomialBasis(("c",), 2).shift([1.0], [2.0]) @ [0.0, 0.0, 1.0]  # x² = (1 + 2 v)²
        array([1., 4., 4.])
        """
        centres, halves = (np.asarray(x, dtype=np.float64).tolist() for x in (centre, half))
        exponents = self.exponents.tolist()
        matrix = np.zeros((len(exponents), len(exponents)))
        for j, old in enumerate(exponents):
            for k, new in enumerate(exponents):
                if all(b <= a for a, b in zip(old, new, strict=True)):
                    matrix[k, j] = math.prod(
                        math.comb(a, b) * x ** (a - b) * h**b
                        for a, b, x, h in zip(old, new, centres, halves, strict=True)
                    )
        return matrix

    def require_determined(self, theta: FloatArray, what: str) -> None:
        """Raise an error if values at these points do not determine all coefficients.

        Raises
        ------
        ParameterError
            If there are too few points, if the monomials are linearly dependent at these points, or
            if a coordinate is not finite.
        """
        if not np.isfinite(theta).all():
            msg = f"{what}: the points {theta.tolist()} are not all finite; correct them"
            raise ParameterError(msg)
        n_points = len(np.unique(theta, axis=0))
        if n_points < len(self):
            msg = (
                f"{what}: a polynomial of degree {self.degree} in {', '.join(self.parameters)} has "
                f"{len(self)} coefficients and needs as many points, but there are {n_points}; "
                "lower the degree or add points"
            )
            raise ParameterError(msg)
        span = np.abs(theta).max(axis=0)
        condition = float(np.linalg.cond(self.design(theta / np.where(span > 0, span, 1.0))))
        if not condition < _MAX_CONDITION:
            msg = (
                f"{what}: the points {theta.tolist()} do not determine a polynomial of degree "
                f"{self.degree} (condition number {condition:.1g}); spread them more"
            )
            raise ParameterError(msg)

    def fit(self, theta: FloatArray, values: FloatArray, errors: FloatArray) -> PolynomialFit:
        """Fit a polynomial to each of several quantities, by weighted least squares.

        Parameters
        ----------
        theta
            Points, shape (m, n_parameters).
        values, errors
            Values of the quantities at the points, and their errors, shape (m, n_quantities).
            Errors must be positive.

        Raises
        ------
        ParameterError
            If the points do not determine the polynomial, if a value is not finite, or if an error
            is not positive.

        Examples
        --------
        >>> import numpy as np
        >>> basis = PolynomialBasis(("c",), 1)
        >>> fit = basis.fit(np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]]), np.ones((2, 1)))
        >>> fit.coefficients[:, 0].round(9)
        array([1., 2.])
        """
        self.require_determined(theta, "polynomial fit")
        good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
        if not good.all():
            m, q = np.argwhere(~good)[0]
            msg = (
                f"polynomial fit: quantity {q} at {theta[m].tolist()} is {values[m, q]:g} ± "
                f"{errors[m, q]:g}; values must be finite and errors positive"
            )
            raise ParameterError(msg)
        design = self.design(theta)
        # Monomials of large and small parameters differ by orders of magnitude: scale columns.
        scale = np.abs(design).max(axis=0)
        weighted = (design / scale)[None] / errors.T[:, :, None]
        inverse = np.linalg.pinv(weighted)
        coefficients = (inverse @ (values / errors).T[:, :, None])[:, :, 0].T / scale[:, None]
        covariance = inverse @ inverse.transpose(0, 2, 1) / np.outer(scale, scale)
        residuals = (values - design @ coefficients) / errors
        return PolynomialFit(
            coefficients, covariance, np.sum(residuals**2, axis=0), len(theta) - len(self)
        )

    def value(self, fit: PolynomialFit, theta: ArrayLike) -> FloatArray:
        """Return the fitted quantities at several points, shape (m, n_quantities).

        Examples
        --------
        >>> import numpy as np
        >>> basis = PolynomialBasis(("c",), 1)
        >>> points = np.array([[-1.0], [0.0], [1.0]])
        >>> fit = basis.fit(points, 2 + points, np.full((3, 1), 0.1))
        >>> basis.value(fit, [[0.5]]).round(9)
        array([[2.5]])
        """
        return self.design(theta) @ fit.coefficients

    def variance(self, fit: PolynomialFit, theta: ArrayLike) -> FloatArray:
        """Return the variances of the fitted quantities at several points, shape (m, n_quantities).

        Examples
        --------
        >>> import numpy as np
        >>> basis = PolynomialBasis(("c",), 1)
        >>> points = np.array([[-1.0], [1.0]])
        >>> fit = basis.fit(points, 2 + points, np.full((2, 1), 0.1))
        >>> basis.variance(fit, [[0.0], [1.0]]).round(9)
        array([[0.005], [0.01 ]])
        """
        design = self.design(theta)
        return np.asarray(np.einsum("mi,qij,mj->mq", design, fit.covariance, design))

    def morphing_matrix(self, basis_points: FloatArray) -> FloatArray:
        """Return the matrix M that gives the morphing weights as w(θ) = design(θ) @ M.

        With these weights, every polynomial t of this degree has the value t(θ) = Σ_k w_k(θ)
        t(θ_k); see :meth:`weights`.

        Parameters
        ----------
        basis_points
            The points θ_k, shape (n_coefficients, n_parameters).  There must be as many points as
            coefficients.

        Examples
        --------
        >>> import numpy as np
        >>> basis = PolynomialBasis(("c",), 2)
        >>> matrix = basis.morphing_matrix(np.array([[-1.0], [0.0], [1.0]]))
        >>> basis.design([[0.5]]) @ matrix
        array([[-0.125,  0.75 ,  0.375]])
        """
        self.require_determined(basis_points, "morphing basis")
        return np.asarray(np.linalg.inv(self.design(basis_points)), dtype=np.float64)

    def weights(self, theta: ArrayLike, basis_points: FloatArray) -> FloatArray:
        """Compute morphing weights w_k(θ) at several points, shape (m, n_coefficients).

        With these weights, every polynomial t of this degree has the value t(θ) = Σ_k w_k(θ)
        t(θ_k).

        Parameters
        ----------
        theta
            Points θ, shape (m, n_parameters).
        basis_points
            The points θ_k, shape (n_coefficients, n_parameters).  There must be as many points as
            coefficients.

        Raises
        ------
        ParameterError
            If the basis points do not determine the polynomial.

        Examples
        --------
        >>> import numpy as np
        >>> PolynomialBasis(("c",), 1).weights([[0.25]], np.array([[0.0], [1.0]]))
        array([[0.75, 0.25]])
        """
        return self.design(theta) @ self.morphing_matrix(basis_points)

    def choose_points(self, theta: FloatArray) -> FloatArray:
        """Choose points at which the values of a polynomial determine its coefficients well.

        As many points are chosen as there are coefficients, one after the other.  Each point is
        represented by its vector of monomials.  The next point is the point whose vector is
        farthest from all linear combinations of the vectors chosen before (pivoted QR
        decomposition).
        """
        from scipy.linalg import qr

        self.require_determined(theta, "morphing basis")
        span = np.abs(theta).max(axis=0)
        design = self.design(theta / np.where(span > 0, span, 1.0))
        _, _, pivots = qr(design.T, pivoting=True, mode="economic")
        basis_points: FloatArray = theta[np.sort(pivots[: len(self)])]
        return basis_points


def point_array(parameters: Sequence[str], point: Point) -> FloatArray:
    """Return the values of a point in the order of the parameters, shape (n_parameters,).

    Raises
    ------
    ParameterError
        If the point has other parameters, or a value is not a finite number.

    Examples
    --------
    >>> point_array(["a", "b"], {"b": 2.0, "a": 1.0})
    array([1., 2.])
    """
    given: object = point
    if not isinstance(given, Mapping):
        msg = f"{given!r} is not a point; give a value for each of {', '.join(parameters)} by name"
        raise ParameterError(msg)
    if set(point) != set(parameters):
        msg = f"the point has the parameters {tuple(point)}; give {tuple(parameters)}"
        raise ParameterError(msg)
    values = []
    for name in parameters:
        try:
            values.append(float(point[name]))
        except (OverflowError, TypeError, ValueError) as error:
            msg = f"the value of {name} is not a number: {error}"
            raise ParameterError(msg) from error
        if not math.isfinite(values[-1]):
            msg = f"{name} = {values[-1]:g}; give a finite value"
            raise ParameterError(msg)
    return np.array(values)


def point_matrix(parameters: Sequence[str], points: Sequence[Point]) -> FloatArray:
    """Convert points to an array of shape (m, n_parameters)."""
    return np.array([[float(p[name]) for name in parameters] for p in points])


_Terms: TypeAlias = tuple[list[float], list[float]]


@dataclass(frozen=True, eq=False)
class Series:
    """Polynomial in one or several parameters, for fast evaluation at single points.

    Parameters
    ----------
    coefficients
        Coefficients, shape (n_1, …, n_p) for p parameters.  Each coefficient multiplies a product
        of p terms, one in each parameter.
    low, high
        Ranges of the parameters that are scaled to [−1, 1], shape (n_parameters,).
    kind
        Kind of the terms: ``"chebyshev"`` for Chebyshev polynomials, ``"power"`` for powers.  They
        are evaluated at the scaled parameters.

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
        """Make a series from the coefficients of monomials in the scaled parameters.

        Parameters
        ----------
        exponents
            Exponents of each monomial, shape (n_terms, n_parameters), all different.
        coefficients
            Coefficients of the monomials, shape (n_terms,).
        low, high
            Ranges of the parameters that are scaled to [−1, 1], shape (n_parameters,).

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
        """Return the value at a point of shape (n_parameters,)."""
        value: FloatArray = self.coefficients
        for terms, _ in reversed(self._bases(point)):
            value = value @ np.array(terms)
        return float(value)

    def gradient(self, point: Sequence[float] | FloatArray) -> FloatArray:
        """Return the derivatives by the parameters at a point, shape (n_parameters,)."""
        bases = self._bases(point)
        out = np.empty(len(bases))
        # From the last parameter to the first: `slopes` are the derivatives with respect to the
        # parameters already summed, `value` is the tensor of the others.
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
    """Evaluate the Chebyshev polynomials T_0 … T_{n−1} and their derivatives at a number.

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
    """Powers 1, x, … x^(n−1) and their derivatives."""
    values, slopes = [1.0], [0.0]
    for k in range(1, n):
        slopes.append(k * values[-1])
        values.append(x * values[-1])
    return values, slopes


class PiecewiseCubic:
    """Cubic spline in one parameter, for fast evaluation at single points.

    Parameters
    ----------
    knots
        Knots in ascending order, shape (K,).
    coefficients
        Coefficients of the cubic polynomial in each interval between two knots, shape (4, K − 1),
        from the cubic to the constant term.  Its variable is the distance to the left knot.

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
        self.knots, self.coefficients = knots, coefficients
        self._knots: list[float] = knots.tolist()
        self._pieces: list[list[float]] = coefficients.T.tolist()

    def _piece(self, x: float) -> tuple[list[float], float]:
        cell = min(max(bisect_right(self._knots, x) - 1, 0), len(self._pieces) - 1)
        return self._pieces[cell], x - self._knots[cell]

    def value(self, point: Sequence[float] | FloatArray) -> float:
        """Return the value at a point of shape (1,)."""
        (c3, c2, c1, c0), d = self._piece(float(point[0]))
        return ((c3 * d + c2) * d + c1) * d + c0

    def gradient(self, point: Sequence[float] | FloatArray) -> FloatArray:
        """Return the derivative at a point of shape (1,), as an array of shape (1,)."""
        (c3, c2, c1, _), d = self._piece(float(point[0]))
        return np.array([(3 * c3 * d + 2 * c2) * d + c1])
