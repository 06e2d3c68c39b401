"""Expected yield ν(θ) as a polynomial, and the rate term of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, SampleError
from milinfer.morphing import PolynomialBasis, PolynomialFit, point_matrix
from milinfer.points import format_point
from milinfer.samples import SampleSet
from milinfer.typing import FloatArray, Point

__all__ = ["Rate"]


@dataclass(frozen=True, eq=False)
class Rate:
    """Expected number of events as a function of the parameters.

    Parameters
    ----------
    basis
        Monomials.
    fit
        Coefficients in events, with covariance and χ².
    luminosity
        In 1/fb.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.samples import Sample, SampleSet
    >>> samples = SampleSet(tuple(
    ...     Sample(np.zeros((1, 1)), ("x",), point={"c": c}, cross_section=1 + c + c**2,
    ...            cross_section_error=0.01) for c in (-1.0, 0.0, 1.0, 2.0)))
    >>> rate = Rate.from_samples(samples, luminosity=10.0, degree=2)
    >>> round(rate(c=0.5), 6)
    17500.0
    """

    basis: PolynomialBasis
    fit: PolynomialFit
    luminosity: float

    @classmethod
    def from_samples(
        cls, samples: SampleSet, *, luminosity: float, degree: int = 4, efficiency: float = 1.0
    ) -> Rate:
        """Fit ν(θ) to the cross-sections of samples.

        Parameters
        ----------
        samples
            With cross-sections in pb and their errors.
        luminosity
            In 1/fb.
        degree
            4 where production and decay carry an operator each, 2 for one of them.
        efficiency
            Share of the events that the analysis keeps, the same at all points.

        Raises
        ------
        SampleError
            If a sample has no cross-section.
        TemplateError
            If the points do not determine the polynomial.
        """
        for s in samples:
            if not (np.isfinite(s.cross_section) and np.isfinite(s.cross_section_error)):
                msg = f"{s.label} has no cross-section with error; give cross_section= in pb"
                raise SampleError(msg)
        basis = PolynomialBasis(samples.parameters, degree)
        scale = 1000.0 * luminosity * efficiency  # pb → events
        values = scale * np.array([[s.cross_section] for s in samples])
        errors = scale * np.array([[s.cross_section_error] for s in samples])
        if not np.all(errors > 0):
            # Exact cross-sections: any common relative error weighs them alike.
            errors = 1e-6 * np.abs(values)
        theta = point_matrix(samples.parameters, [s.point for s in samples])
        return cls(basis, basis.fit(theta, values, errors), luminosity)

    def __call__(self, **point: float) -> float:
        """ν at a point.

        Raises
        ------
        ParameterError
            If ν is not positive there.
        """
        return self._positive(self.basis.array(point))

    def _positive(self, theta: FloatArray) -> float:
        value = float((self.basis.design(theta) @ self.fit.coefficients)[0, 0])
        if not value > 0:
            where = format_point(dict(zip(self.basis.parameters, theta.tolist(), strict=True)))
            msg = (
                f"the expected yield is {value:g} at {where}; stay inside the range of the samples"
            )
            raise ParameterError(msg)
        return value

    def error(self, **point: float) -> float:
        """Standard error of ν at a point, from the Monte-Carlo errors of the cross-sections."""
        row = self.basis.design(self.basis.array(point))[0]
        return float(np.sqrt(row @ self.fit.covariance[0] @ row))

    def gradient(self, theta: ArrayLike) -> FloatArray:
        """dν/dθ at parameter values (n_parameters,), shape (n_parameters,)."""
        return (self.basis.design_gradient(theta) @ self.fit.coefficients)[:, 0]

    def rate_term(self, theta: float, reference: float, n_events: float) -> float:
        """ν(θ0) − ν(θ) + N ln(ν(θ)/ν(θ0)) (seed 001, eq. 1), for one parameter."""
        nu, nu0 = self._positive(np.array([theta])), self._positive(np.array([reference]))
        return nu0 - nu + n_events * float(np.log(nu / nu0))

    def rate_term_gradient(self, theta: float, reference: float, n_events: float) -> float:
        """Derivative of :meth:`rate_term` with respect to θ (θ0 drops out)."""
        del reference
        return float(self.gradient([theta])[0]) * (
            n_events / self._positive(np.array([theta])) - 1.0
        )

    def at(self, point: Point) -> float:
        """ν at a point given as a mapping."""
        return self(**dict(point))
