"""Polynomials in the parameters: the form of every SMEFT cross-section, in total or in a bin.

A process with one operator insertion is quadratic in the Wilson coefficients; where production and
decay carry one each, quartic.  Templates at as many points as there are coefficients span it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, ParameterError, TemplateError
from milinfer.typing import FloatArray, IntArray, Point

__all__ = ["PolynomialBasis", "PolynomialFit"]

# Beyond this condition number the coefficients are noise.
_MAX_CONDITION = 1e8


class PolynomialFit(NamedTuple):
    """Polynomials fitted to several quantities at once.

    Parameters
    ----------
    coefficients
        Shape (n_coefficients, n_quantities).
    covariance
        Shape (n_quantities, n_coefficients, n_coefficients).
    chi2
        Shape (n_quantities,).
    ndf
        Degrees of freedom of each.
    """

    coefficients: FloatArray
    covariance: FloatArray
    chi2: FloatArray
    ndf: int


@dataclass(frozen=True)
class PolynomialBasis:
    """Monomials in named parameters up to a total degree, cross terms included.

    Parameters
    ----------
    parameters
        Names, in order.
    degree
        Largest total degree.

    Raises
    ------
    ParameterError
        If there are no names, or one comes twice.
    ConfigurationError
        If the degree is not a whole number ≥ 0.

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
        """Exponents of each monomial, shape (n_coefficients, n_parameters), by total degree."""
        powers = [
            e
            for e in product(range(self.degree + 1), repeat=len(self.parameters))
            if sum(e) <= self.degree
        ]
        return np.array(sorted(powers, key=lambda e: (sum(e), e)), dtype=np.int64).reshape(
            len(powers), len(self.parameters)
        )

    def __len__(self) -> int:
        return len(self.exponents)

    def array(self, point: Point) -> FloatArray:
        """Parameter values in the order of the basis, shape (n_parameters,).

        Raises
        ------
        ParameterError
            If the point has other parameters.
        """
        if set(point) != set(self.parameters):
            msg = f"the point has the parameters {tuple(point)}, expected {self.parameters}"
            raise ParameterError(msg)
        return np.array([float(point[name]) for name in self.parameters])

    def design(self, theta: ArrayLike) -> FloatArray:
        """Monomials at several points (m, n_parameters), shape (m, n_coefficients)."""
        points = np.asarray(theta, dtype=np.float64).reshape(-1, len(self.parameters))
        monomials: FloatArray = np.prod(points[:, None, :] ** self.exponents[None], axis=2)
        return monomials

    def design_gradient(self, theta: ArrayLike) -> FloatArray:
        """Derivatives of the monomials at one point, shape (n_parameters, n_coefficients)."""
        point = np.asarray(theta, dtype=np.float64).reshape(len(self.parameters))
        out = np.empty((len(point), len(self)))
        for k in range(len(point)):
            lowered = self.exponents.copy()
            lowered[:, k] = np.maximum(lowered[:, k] - 1, 0)
            out[k] = self.exponents[:, k] * np.prod(point[None] ** lowered, axis=1)
        return out

    def require_determined(self, theta: FloatArray, what: str) -> None:
        """Raise if points do not determine all coefficients.

        Raises
        ------
        TemplateError
            If there are too few points, or they lie so that monomials cannot be told apart.
        """
        if not np.isfinite(theta).all():
            msg = f"{what}: the points {theta.tolist()} are not all finite"
            raise TemplateError(msg)
        n_points = len(np.unique(theta, axis=0))
        if n_points < len(self):
            msg = (
                f"{what}: a polynomial of degree {self.degree} in {', '.join(self.parameters)} has "
                f"{len(self)} coefficients and needs as many points; there are {n_points}. Lower "
                "the degree or add points"
            )
            raise TemplateError(msg)
        span = np.abs(theta).max(axis=0)
        condition = float(np.linalg.cond(self.design(theta / np.where(span > 0, span, 1.0))))
        if not condition < _MAX_CONDITION:
            msg = (
                f"{what}: the points {theta.tolist()} do not determine a polynomial of degree "
                f"{self.degree} (condition number {condition:.1g}); spread them"
            )
            raise TemplateError(msg)

    def fit(self, theta: FloatArray, values: FloatArray, errors: FloatArray) -> PolynomialFit:
        """Weighted least squares of several quantities at the same points.

        Parameters
        ----------
        theta
            Points, shape (m, n_parameters).
        values, errors
            Shape (m, n_quantities); errors must be positive.

        Raises
        ------
        TemplateError
            If the points do not determine the polynomial, a value is not finite or an error is
            not positive.

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
            raise TemplateError(msg)
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
        """Fitted quantities at several points (m, n_parameters), shape (m, n_quantities).

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
        """Variances of the fitted quantities at several points, shape (m, n_quantities).

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
        """Matrix M with w(θ) = design(θ) @ M, so that Σ_k w_k(θ) t(θ_k) is t(θ).

        Parameters
        ----------
        basis_points
            As many points as coefficients, shape (n_coefficients, n_parameters).

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
        """Morphing weights w_k(θ) at several points, shape (m, n_coefficients).

        Σ_k w_k(θ) t(θ_k) is t(θ) for every polynomial t of the degree.

        Parameters
        ----------
        theta
            Shape (m, n_parameters).
        basis_points
            As many points as coefficients, shape (n_coefficients, n_parameters).

        Raises
        ------
        TemplateError
            If the basis points do not determine the polynomial.

        Examples
        --------
        >>> import numpy as np
        >>> PolynomialBasis(("c",), 1).weights([[0.25]], np.array([[0.0], [1.0]]))
        array([[0.75, 0.25]])
        """
        return self.design(theta) @ self.morphing_matrix(basis_points)

    def choose_points(self, theta: FloatArray) -> FloatArray:
        """Pick as many points as coefficients, so that the basis is well conditioned.

        Greedy: the point that is least explained by those already chosen (pivoted QR).
        """
        from scipy.linalg import qr

        self.require_determined(theta, "morphing basis")
        span = np.abs(theta).max(axis=0)
        design = self.design(theta / np.where(span > 0, span, 1.0))
        _, _, pivots = qr(design.T, pivoting=True, mode="economic")
        chosen: FloatArray = theta[np.sort(pivots[: len(self)])]
        return chosen


def point_matrix(parameters: Sequence[str], points: Sequence[Point]) -> FloatArray:
    """Points as an array of shape (m, n_parameters)."""
    return np.array([[float(p[name]) for name in parameters] for p in points])
