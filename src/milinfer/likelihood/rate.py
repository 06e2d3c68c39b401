"""Expected number of events ν(θ) as a polynomial, and the rate term of the likelihood.

A SMEFT cross-section is a polynomial in the Wilson coefficients, and so is the expected number of
events.  The coefficients are fitted to the cross-sections of samples, which have Monte-Carlo
errors.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, ndtr, ndtri

from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ParameterError,
    SampleError,
)
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, Point
from milinfer.utils.arguments import positive_number
from milinfer.utils.confidence_levels import CL68
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit, Series, point_matrix

__all__ = ["Rate", "warn_of_rate_error"]

# Largest error of ν, in Poisson errors, that a likelihood may neglect: it costs 1 % of coverage.
_MAX_ERROR = 0.2
# A smaller p-value of the fit is not a fluctuation.
_MIN_P_VALUE = 1e-6


@dataclass(frozen=True, eq=False)
class Rate:
    """Expected number of events ν(θ) as a polynomial in the parameters θ.

    Create it with :meth:`from_samples`.

    Parameters
    ----------
    basis
        Monomials in the parameters.
    fit
        Coefficients of the monomials (numbers of events), their covariance, and the χ² of the fit.
    luminosity
        Integrated luminosity in 1/fb.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.samples.sample import Sample
    >>> from milinfer.samples.sample_set import SampleSet
    >>> samples = SampleSet(tuple(
    ...     Sample(np.zeros((1, 1)), ("x",), point={"c": c}, cross_section=1 + c + c**2,
    ...            cross_section_error=0.01) for c in (-1.0, 0.0, 1.0, 2.0)))
    >>> rate = Rate.from_samples(samples, luminosity=10.0, degree=2)
    >>> round(rate(c=0.5), 6)
    17500.0
    >>> rate.value([[0.5], [1.0]]).round(6)
    array([17500., 30000.])
    >>> rate.ndf
    1
    """

    basis: PolynomialBasis
    fit: PolynomialFit
    luminosity: float

    @classmethod
    def from_samples(
        cls,
        samples: SampleSet,
        *,
        luminosity: float,
        degree: int = 4,
        efficiency: ArrayLike = 1.0,
    ) -> Rate:
        """Fit ν(θ) to the cross-sections of samples, by weighted least squares.

        Parameters
        ----------
        samples
            Samples with cross-sections in pb and their errors.  If all errors are zero, the
            cross-sections count as exact: the fit minimises relative deviations, its covariance is
            zero and its χ² is NaN.
        luminosity
            Integrated luminosity in 1/fb (cross-sections in pb are multiplied by 1000).
        degree
            Degree of the polynomial: 4 if operators enter both production and decay, 2 if they
            enter only one of them.
        efficiency
            Fraction of the events that the analysis keeps, in (0, 1]: one number, or one for each
            sample, shape (n_samples,).

        Raises
        ------
        SampleError
            If a sample has no cross-section or a wrong error, or if there are too few points for
            the polynomial, or points too close to each other; the message says how many points are
            needed.
        ConfigurationError
            If the luminosity is not positive, or an efficiency is not in (0, 1].

        Warns
        -----
        MilinferWarning
            If the polynomial does not describe the cross-sections (p-value below 1e-6).
        """
        if not (np.isfinite(luminosity) and luminosity > 0):
            msg = f"luminosity must be positive, in 1/fb; it is {luminosity:g}"
            raise ConfigurationError(msg)
        shares = np.asarray(efficiency, dtype=np.float64)
        if shares.shape not in {(), (len(samples),)} or not np.all((shares > 0) & (shares <= 1)):
            msg = (
                f"efficiency must be one number in (0, 1], or {len(samples)} of them, one for "
                f"each sample; it is {efficiency!r}"
            )
            raise ConfigurationError(msg)
        scale = 1000.0 * luminosity * np.broadcast_to(shares, len(samples))[:, None]  # pb → events
        values = scale * np.array([[s.cross_section] for s in samples])
        errors = scale * _errors(samples)
        exact = not errors.any()
        if exact:
            # Any common relative error gives the cross-sections the same weights.
            errors = np.abs(values) + 1e-9 * np.abs(values).max()
        basis = PolynomialBasis(samples.parameters, degree)
        theta = point_matrix(samples.parameters, [s.point for s in samples])
        try:
            fit = basis.fit(theta, values, errors)
        except ParameterError as error:
            msg = f"the cross-sections of {len(samples)} samples do not give ν(θ): {error}"
            raise SampleError(msg) from error
        if exact:
            fit = fit._replace(
                covariance=np.zeros_like(fit.covariance), chi2=np.full_like(fit.chi2, np.nan)
            )
        rate = cls(basis, fit, luminosity)
        rate._warn_of_bad_fit()
        return rate

    def with_background(self, n_expected: float) -> Rate:
        """Return the sum of this rate and a constant number of background events.

        Costs of data with backgrounds need the rate of all events.  Toys need the rate of the
        signal only, because they add their backgrounds to it.

        Parameters
        ----------
        n_expected
            Expected number of background events, which counts as exactly known.

        Raises
        ------
        ConfigurationError
            If `n_expected` is negative or not finite.

        Examples
        --------
        >>> from milinfer.datasets import quadratic
        >>> samples = quadratic.samples(1, [{"c1": -1.0}, {"c1": 0.0}, {"c1": 1.0}], seed=1)
        >>> rate = Rate.from_samples(samples, luminosity=0.1, degree=2)
        >>> round(rate(c1=0.0)), round(rate.with_background(20.0)(c1=0.0))
        (100, 120)
        """
        if not (np.isfinite(n_expected) and n_expected >= 0):
            msg = f"n_expected of the background must be 0 or more, not {n_expected:g}"
            raise ConfigurationError(msg)
        constant = np.all(np.asarray(self.basis.exponents) == 0, axis=1)
        raised = self.fit.coefficients + n_expected * constant[:, None]
        return replace(self, fit=self.fit._replace(coefficients=raised))

    def scaled(self, luminosity: float) -> Rate:
        """Return the rate at another luminosity.

        Parameters
        ----------
        luminosity
            Factor on the luminosity of this rate.

        Raises
        ------
        ConfigurationError
            If the factor is not positive.

        Examples
        --------
        >>> from milinfer.datasets import quadratic
        >>> samples = quadratic.samples(1, [{"c1": -1.0}, {"c1": 0.0}, {"c1": 1.0}], seed=1)
        >>> rate = Rate.from_samples(samples, luminosity=0.1, degree=2).scaled(3.0)
        >>> round(rate(c1=0.0)), round(rate.luminosity, 6)
        (300, 0.3)
        """
        require_factor(luminosity)
        fit = self.fit._replace(
            coefficients=self.fit.coefficients * luminosity,
            covariance=self.fit.covariance * luminosity**2,
        )
        return replace(self, fit=fit, luminosity=self.luminosity * luminosity)

    def linear(self) -> Rate:
        """Return the rate with constant and linear terms only, from an expansion around zero.

        Examples
        --------
        >>> from milinfer.datasets import quadratic
        >>> samples = quadratic.samples(1, [{"c1": -1.0}, {"c1": 0.0}, {"c1": 1.0}], seed=1)
        >>> rate = Rate.from_samples(samples, luminosity=0.1, degree=2).linear()
        >>> round(rate(c1=0.5))
        100
        """
        kept = np.asarray(self.basis.exponents).sum(axis=1) <= 1
        fit = self.fit._replace(
            coefficients=self.fit.coefficients * kept[:, None],
            covariance=self.fit.covariance * np.outer(kept, kept),
        )
        return replace(self, fit=fit)

    def _warn_of_bad_fit(self) -> None:
        if self.ndf and chdtrc(self.ndf, self.chi2) < _MIN_P_VALUE:
            msg = (
                f"a polynomial of degree {self.basis.degree} does not describe the cross-sections "
                f"(χ² = {self.chi2:.4g} for {self.ndf} degrees of freedom); raise the degree, or "
                "check the errors"
            )
            warnings.warn(msg, MilinferWarning, stacklevel=3)

    @property
    def coefficients(self) -> FloatArray:
        """Coefficients, in numbers of events and in the order of ``basis.exponents``."""
        return self.fit.coefficients[:, 0]

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the coefficients, shape (n_coefficients, n_coefficients)."""
        covariance: FloatArray = self.fit.covariance[0]
        return covariance

    @property
    def chi2(self) -> float:
        """χ² of the fit; NaN for exact cross-sections."""
        return float(self.fit.chi2[0])

    @property
    def ndf(self) -> int:
        """Degrees of freedom of the fit."""
        return self.fit.ndf

    def __call__(self, **point: float) -> float:
        """Return ν at a point, given as keywords such as ``c_HW=0.3``.

        Raises
        ------
        ParameterError
            If ν is not positive at the point, or the names are not the parameters of the rate.
        """
        return self._positive(self.basis.array(point))

    def at(self, point: Point) -> float:
        """Return the expected number of events ν at a point, which is given as a dictionary."""
        return self(**dict(point))

    def value(self, theta: ArrayLike) -> FloatArray:
        """Return the expected number of events ν at several points.

        Parameters
        ----------
        theta
            Points, shape (m, n_parameters), or (m,) for one parameter.

        Returns
        -------
        ndarray
            Expected numbers of events, shape (m,).

        Raises
        ------
        ParameterError
            If ν is not positive at a point; the message names the point.
        """
        points = np.asarray(theta, dtype=np.float64).reshape(-1, len(self.basis.parameters))
        values = self.basis.value(self.fit, points)[:, 0]
        bad = ~(values > 0)
        if bad.any():
            k = int(np.argmax(bad))
            at = format_point(dict(zip(self.basis.parameters, points[k].tolist(), strict=True)))
            msg = (
                f"the expected yield is {values[k]:g} at {at}; stay inside the range of the samples"
            )
            raise ParameterError(msg)
        return values

    def _positive(self, theta: ArrayLike) -> float:
        point = np.asarray(theta, dtype=np.float64).reshape(-1)
        if point.size != len(self.basis.parameters):
            msg = (
                f"{point.size} values given for the parameters {self.basis.parameters}; give one "
                "value for each"
            )
            raise ParameterError(msg)
        nu = self._series.value(point)
        return nu if nu > 0 else float(self.value(point[None])[0])  # which says what is wrong

    @cached_property
    def _series(self) -> Series:
        return Series.of_monomials(self.basis.exponents, self.coefficients)

    def error(self, **point: float) -> float:
        """Return the standard error of ν at a point, due to the errors of the cross-sections."""
        return float(np.sqrt(self.basis.variance(self.fit, self.basis.array(point))[0, 0]))

    def gradient(self, theta: ArrayLike) -> FloatArray:
        """Return dν/dθ at one point, shape (n_parameters,)."""
        return self._series.gradient(np.asarray(theta, dtype=np.float64).reshape(-1))

    def rate_term(self, theta: ArrayLike, reference: ArrayLike, n_events: float) -> float:
        """Return the rate term of Λ: ν(θ0) − ν(θ) + N ln(ν(θ)/ν(θ0)).

        It is the logarithm of the ratio of the Poisson probabilities of N events at θ and at θ0,
        where ν is the expected number of events (Azakli and Stelzer [AS], eq. 1).

        Parameters
        ----------
        theta, reference
            Points θ and θ0, shape (n_parameters,), or a number for one parameter.
        n_events
            Number of events N.

        Raises
        ------
        ParameterError
            If ν is not positive at θ or θ0.
        """
        nu, nu0 = self._positive(theta), self._positive(reference)
        return nu0 - nu + n_events * float(np.log(nu / nu0))

    @overload
    def rate_term_gradient(self, theta: float, reference: float, n_events: float) -> float: ...
    @overload
    def rate_term_gradient(
        self, theta: FloatArray, reference: ArrayLike, n_events: float
    ) -> FloatArray: ...
    def rate_term_gradient(
        self, theta: float | FloatArray, reference: ArrayLike, n_events: float
    ) -> float | FloatArray:
        """Return the derivative of :meth:`rate_term` with respect to θ.

        The result is a number if θ is a number, else it has shape (n_parameters,).
        """
        del reference
        slope = self.gradient(theta) * (n_events / self._positive(theta) - 1.0)
        return float(slope[0]) if np.ndim(theta) == 0 else slope


def require_factor(luminosity: float) -> None:
    """Raise unless a ratio of luminosities is a positive number.

    Examples
    --------
    >>> require_factor(0.0)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: a luminosity over another must be positive, not 0
    """
    positive_number(luminosity, "a luminosity over another")


def warn_of_rate_error(rate: Rate, reference: ArrayLike, n_background: float = 0.0) -> None:
    """Warn if the error of ν(θ) due to the cross-sections is too large to be neglected.

    Parameters
    ----------
    rate
        Expected number of signal events.
    reference
        Reference point θ0, at which the error is compared with the Poisson error.
    n_background
        Number of events of other processes, whose fluctuations increase the Poisson error.

    Warns
    -----
    MilinferWarning
        If the error of ν(θ0) is a fifth or more of the Poisson error of all events.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(1, [{"c1": -1.0}, {"c1": 0.0}, {"c1": 1.0}], seed=1)
    >>> warn_of_rate_error(Rate.from_samples(samples, luminosity=0.1, degree=2), 0.0)  # exact
    """
    names = rate.basis.parameters
    values = np.broadcast_to(np.asarray(reference, dtype=np.float64), len(names))
    point = dict(zip(names, values.tolist(), strict=True))
    nu, error = rate.at(point), rate.error(**point)
    share = error / float(np.sqrt(nu + n_background))
    if share < _MAX_ERROR:
        return
    lost = CL68 - float(2 * ndtr(ndtri((1 + CL68) / 2) / np.hypot(1, share)) - 1)
    msg = (
        f"the cross-sections give ν = {nu:.4g} ± {error:.2g} events at {format_point(point)}, but "
        f"the likelihood treats ν as exact. The error is {share:.2g} of the Poisson error of all "
        f"events: intervals from the rate alone cover {lost:.1%} less than {CL68:.2%}. Give "
        "cross-sections with smaller errors, or use milinfer.systematic_cost with a normalisation "
        "uncertainty of the signal"
    )
    warnings.warn(msg, MilinferWarning, stacklevel=4)


def _errors(samples: SampleSet) -> FloatArray:
    """Return the errors of the cross-sections in pb, (n_samples, 1): all positive, or all zero."""
    for s in samples:
        if not (np.isfinite(s.cross_section) and np.isfinite(s.cross_section_error)):
            msg = (
                f"{s.label} has no cross-section with error; give cross_section= and "
                "cross_section_error= in pb"
            )
            raise SampleError(msg)
    errors = np.array([[s.cross_section_error] for s in samples])
    wrong = errors[:, 0] < 0 if not errors.any() else errors[:, 0] <= 0
    if wrong.any():
        s = samples[int(np.argmax(wrong))]
        msg = (
            f"{s.label} has the cross-section error {s.cross_section_error:g} pb; errors must be "
            "positive, or zero at all points where the cross-sections are exact"
        )
        raise SampleError(msg)
    return errors
