"""Fit polynomials in the parameters to noisy values at a few points.

Toys are generated at a few parameter points, but the bias of estimates and the calibration constant
c_cicc are needed at all points.  Therefore polynomials in the parameters are fitted to these
quantities, with the lowest degree that describes the values within their errors.  The fit uses the
full covariance matrix of the values: values at several points are correlated if their toys are
drawn from one pool of events, because of the statistical fluctuation of the pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from milinfer.exceptions import CalibrationError
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import brief
from milinfer.utils.json_fields import (
    array_field,
    list_field,
    number_field,
    require_number_of_terms,
    text_field,
    whole_field,
)
from milinfer.utils.polynomials import PolynomialBasis, Series

__all__ = ["SPARE_DEGREES", "SmoothPolynomial", "fit_smooth"]

# If the p-value of a fit is below this, the degree is increased.
_MIN_P_VALUE = 0.05
# A term of one to three errors may be too small for the p-value, and may be even or odd: add both.
SPARE_DEGREES = 2
# Single points are evaluated with a tensor of (degree + 1)^n_parameters numbers; its logarithm.
_LARGEST_TENSOR = 24


@dataclass(frozen=True, eq=False)
class SmoothPolynomial:
    """Polynomial in the parameters, with errors.

    It is fitted to values at points in a box, and is continued outside the box.

    Parameters
    ----------
    basis
        Monomials in the parameters, scaled to −1 … 1 in the box.
    coefficients, covariance
        Coefficients, shape (n_coefficients,), and their covariance matrix, shape (n_coefficients,
        n_coefficients).
    low, high
        Corners of the box that contains the fitted points, shape (n_parameters,).
    beyond
        How the function continues outside the box, where the polynomial is not reliable:
        ``"tangent"`` as a linear function, ``"flat"`` as a constant.
    chi2, ndf
        χ² of the fit and its degrees of freedom.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[-1.0], [0.0], [1.0]])
    >>> line = fit_smooth(("c",), x, 0.5 * x[:, 0], np.eye(3) * 0.01, beyond="tangent")
    >>> print(line([0.5, 2.0]).round(6), line.error([0.0]).round(4))
    [0.25 1.  ] [0.0577]
    """

    basis: PolynomialBasis
    coefficients: FloatArray
    covariance: FloatArray
    low: FloatArray
    high: FloatArray
    beyond: Literal["tangent", "flat"]
    chi2: float
    ndf: int

    def __repr__(self) -> str:
        return brief(self)

    @classmethod
    def zero(
        cls,
        basis: PolynomialBasis,
        points: FloatArray,
        beyond: Literal["tangent", "flat"] = "flat",
    ) -> SmoothPolynomial:
        """Make a polynomial whose coefficients are 0; its box contains the given points.

        `points` has the shape (n, n_parameters).
        """
        n, low, high = len(basis), points.min(axis=0), points.max(axis=0)
        return cls(
            basis=basis,
            coefficients=np.zeros(n),
            covariance=np.zeros((n, n)),
            low=low,
            high=high,
            beyond=beyond,
            chi2=0.0,
            ndf=0,
        )

    @property
    def p_value(self) -> float:
        """Probability of a larger χ²; 1 if there are no degrees of freedom."""
        return float(chdtrc(self.ndf, self.chi2)) if self.ndf else 1.0

    @property
    def good(self) -> bool:
        """Whether the polynomial describes the fitted values (p-value of 5 % or more)."""
        return self.p_value >= _MIN_P_VALUE

    def __call__(self, theta: ArrayLike) -> FloatArray:
        """Evaluate at points (m, n_parameters), or (m,) for one parameter; shape (m,)."""
        value: FloatArray = self.terms(theta) @ self.coefficients
        return value

    def at(self, point: FloatArray) -> float:
        """Return the value at a point of shape (n_parameters,); faster than calling the object."""
        return self._series.value(point) if self._inside(point) else float(self(point)[0])

    def gradient_at(self, point: FloatArray) -> FloatArray:
        """Return the derivatives by the parameters at one point, shape (n_parameters,)."""
        if self._inside(point):
            return self._series.gradient(point)
        slope: FloatArray = self.gradient(point)[0]
        return slope

    def _inside(self, point: FloatArray) -> bool:
        return all(low < x < high for x, (low, high) in zip(point, self._box, strict=True))

    @cached_property
    def _box(self) -> list[tuple[float, float]]:
        return list(zip(self.low.tolist(), self.high.tolist(), strict=True))

    @cached_property
    def _series(self) -> Series:
        return Series.of_monomials(self.basis.exponents, self.coefficients, self.low, self.high)

    def error(self, theta: ArrayLike) -> FloatArray:
        """Return the standard errors at points of shape (m, n_parameters); result of shape (m,)."""
        return np.asarray(np.sqrt(self.variance(theta)))

    def variance(self, theta: ArrayLike) -> FloatArray:
        """Return the squared standard errors at points of shape (m, n_parameters), shape (m,)."""
        terms = self.terms(theta)
        variance = np.einsum("mi,ij,mj->m", terms, self.covariance, terms)
        return np.asarray(np.maximum(variance, 0.0))

    def variance_gradient(self, theta: ArrayLike) -> FloatArray:
        """Return the derivatives of :meth:`variance` at several points, shape (m, n_parameters)."""
        slope: FloatArray = 2 * np.einsum(
            "mi,ij,mpj->mp", self.terms(theta), self.covariance, self._gradient_terms(theta)
        )
        return slope

    def gradient(self, theta: ArrayLike) -> FloatArray:
        """Return the derivatives by the parameters at several points, shape (m, n_parameters)."""
        slope: FloatArray = self._gradient_terms(theta) @ self.coefficients
        return slope

    def gradient_error(self, theta: ArrayLike) -> FloatArray:
        """Return the standard errors of :meth:`gradient`, shape (m, n_parameters)."""
        terms = self._gradient_terms(theta)
        variance = np.einsum("mpi,ij,mpj->mp", terms, self.covariance, terms)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain numbers, for JSON."""
        return {
            "parameters": list(self.basis.parameters),
            "degree": self.basis.degree,
            "coefficients": self.coefficients.tolist(),
            "covariance": self.covariance.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "beyond": self.beyond,
            "chi2": self.chi2,
            "ndf": self.ndf,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SmoothPolynomial:
        """Make a polynomial from the result of :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `content` does not describe a polynomial.
        """
        parameters = tuple(text_field("parameters", n) for n in content["parameters"])
        degree = whole_field("degree", content["degree"])
        n, p = len(list_field("coefficients", content["coefficients"])), len(parameters)
        # before any object of this size is made
        require_number_of_terms("coefficients", p, degree, n)
        if p * math.log2(degree + 1) > _LARGEST_TENSOR:
            msg = f"degree {degree} in {p} parameters is too large to be evaluated at single points"
            raise ValueError(msg)
        if content["beyond"] not in ("tangent", "flat"):
            msg = f"beyond is {content['beyond']!r}"
            raise ValueError(msg)
        arrays = {
            name: array_field(name, content[name], shape)
            for name, shape in {
                "coefficients": (n,),
                "covariance": (n, n),
                "low": (p,),
                "high": (p,),
            }.items()
        }
        for name, least in (
            ("variances", arrays["covariance"].diagonal().min()),
            ("ranges from low to high", (arrays["high"] - arrays["low"]).min()),
        ):
            if least < 0:
                msg = f"there are {name} below zero: {least:g}"
                raise ValueError(msg)
        return cls(
            PolynomialBasis(parameters, degree),
            **arrays,
            beyond=content["beyond"],
            chi2=number_field("chi2", content["chi2"]),
            ndf=whole_field("ndf", content["ndf"]),
        )

    def _scaled_points(self, theta: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Points clipped to the box, in scaled parameters; the excess; and d(scaled)/dθ."""
        points = np.asarray(theta, dtype=np.float64).reshape(-1, len(self.low))
        # If the box has no extent in a parameter, it still needs a scale; the polynomial is flat.
        half = np.where(self.high > self.low, (self.high - self.low) / 2, 1.0)
        scaled = (points - (self.high + self.low) / 2) / half
        inside = np.clip(scaled, -1.0, 1.0)
        return inside, scaled - inside, 1 / half

    def terms(self, theta: ArrayLike) -> FloatArray:
        """Return the monomials, continued outside the box, at points: shape (m, n_coefficients)."""
        inside, excess, _ = self._scaled_points(theta)
        terms = self.basis.design(inside)
        if self.beyond == "tangent" and excess.any():
            unit = np.eye(len(self.low), dtype=np.int64)
            for k, axis in enumerate(unit):
                terms = terms + excess[:, k, None] * _monomial_derivatives(self.basis, inside, axis)
        return terms

    def _gradient_terms(self, theta: ArrayLike) -> FloatArray:
        inside, excess, scale = self._scaled_points(theta)
        unit = np.eye(len(self.low), dtype=np.int64)
        out = np.empty((len(inside), len(self.low), len(self.basis)))
        for k, axis in enumerate(unit):
            slope = _monomial_derivatives(self.basis, inside, axis)
            beyond = excess[:, k, None] != 0
            if self.beyond == "flat":
                slope = np.where(beyond, 0.0, slope)
            else:
                # The tangent plane changes along the parameters that are inside the box.
                bend = sum(
                    excess[:, j, None] * _monomial_derivatives(self.basis, inside, axis + other)
                    for j, other in enumerate(unit)
                )
                slope = np.where(beyond, slope, slope + bend)
            out[:, k] = slope * scale[k]
        return out


def fit_smooth(
    parameters: Sequence[str],
    points: FloatArray,
    values: FloatArray,
    covariance: FloatArray,
    *,
    beyond: Literal["tangent", "flat"],
    degree: int | None = None,
    lowest: int = 0,
    highest: int | None = None,
    spare: int = 0,
) -> SmoothPolynomial:
    """Fit a polynomial by generalised least squares.

    Parameters
    ----------
    parameters
        Names of the parameters.
    points
        Points, shape (n, n_parameters).
    values, covariance
        Values at the points, shape (n,), and their covariance matrix, shape (n, n).
    beyond
        How the function continues outside the range of the points; see :class:`SmoothPolynomial`.
    degree
        Degree of the polynomial.  Default: the lowest degree, from `lowest` on, whose p-value is at
        least 5 %; if there is none, the highest degree that was tried.
    lowest, highest
        Lowest and highest degree that is tried.  Without `highest`, all degrees that the points
        determine are tried.
    spare
        Number of degrees that are added to the lowest accepted degree, as long as there are more
        points than coefficients.  It is not used if `degree` is given.  Reason: a term whose size
        is one to three times its error is not seen by the p-value, but the errors of a fit without
        this term would be too small; see :data:`SPARE_DEGREES`.

    Raises
    ------
    CalibrationError
        If the points do not determine a polynomial of this degree.
    """
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    last = len(points) - 1 if highest is None else highest
    best: SmoothPolynomial | None = None
    accepted: int | None = None
    for d in [degree] if degree is not None else range(lowest, last + 1):
        basis = PolynomialBasis(tuple(parameters), d)
        if len(basis) > len(points) or (accepted is not None and len(basis) == len(points)):
            break
        zero = SmoothPolynomial.zero(basis, points, beyond)
        design = whitening @ zero.terms(points)
        if np.linalg.matrix_rank(design) < len(basis):
            break
        # Not the normal equations: they would square the condition number.
        inverse = np.asarray(np.linalg.pinv(design), dtype=np.float64)
        normal = inverse @ inverse.T
        coefficients = inverse @ (whitening @ values)
        residuals = whitening @ values - design @ coefficients
        best = replace(
            zero,
            coefficients=coefficients,
            covariance=normal,
            chi2=float(residuals @ residuals),
            ndf=len(points) - len(basis),
        )
        if accepted is None and best.good:
            accepted = d
        if accepted is not None and d >= accepted + spare:
            break
    if best is None:
        d = lowest if degree is None else degree
        needed = len(PolynomialBasis(tuple(parameters), d))
        msg = (
            f"a polynomial of degree {d} in {', '.join(parameters)} needs toys at {needed} true "
            f"values or more that determine it, but there are {len(np.unique(points, axis=0))}; "
            "generate toys at more true values, or lower the degree"
        )
        raise CalibrationError(msg)
    return best


def _monomial_derivatives(
    basis: PolynomialBasis, points: FloatArray, orders: IntArray
) -> FloatArray:
    """Partial derivatives of the monomials at several points, shape (m, n_coefficients)."""
    exponents = basis.exponents
    factor = np.ones(len(exponents))
    for k, order in enumerate(orders):
        for step in range(order):
            factor *= np.maximum(exponents[:, k] - step, 0)
    lowered = np.maximum(exponents - orders, 0)
    monomials: FloatArray = factor * np.prod(points[:, None, :] ** lowered[None], axis=2)
    return monomials
