"""Model of a signal of known shape, whose strength μ (a factor on its yield) is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.likelihood.models import EventModel
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray
from milinfer.utils.arguments import positive_number
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit

__all__ = ["SignalStrength"]


@dataclass(frozen=True)
class SignalStrength(EventModel):
    """Model of a signal of known shape; its parameter is the signal strength μ.

    The strength multiplies the yield of the signal and changes nothing else.  You only need to
    learn the density ratios of the backgrounds to the signal.  Pass the model and :meth:`rate` to
    :func:`milinfer.mixture_cost` or :func:`milinfer.systematic_cost`.

    Parameters
    ----------
    parameter
        Name of the signal strength.
    bounds
        Range (low, high) of the signal strength.  It must be positive, because the logarithm of a
        yield of zero is not defined.

    Raises
    ------
    ParameterError
        If the range is not positive, or does not contain the reference μ = 1.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import gaussian
    >>> signal, background = gaussian.generate(90, 0.0, seed=1), gaussian.generate(400, 2.0, seed=2)
    >>> data = Sample(np.concatenate([signal.features, background.features]), ("x0",))
    >>> def ratio(sample):  # log of the density N(2, 1) over N(0, 1)
    ...     return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)
    >>> strength = SignalStrength()
    >>> cost = mil.mixture_cost(strength, data, rate=strength.rate(100.0),
    ...                         backgrounds={"bkg": (ratio, 400.0)})
    >>> interval = mil.profile_interval(cost, "mu")
    >>> bool(interval.low < 0.9 < interval.high)
    True
    """

    parameter: str = "mu"
    bounds: tuple[float, float] = (1e-3, 10.0)

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not 0 < low < 1 < high < np.inf:
            msg = f"the range of {self.parameter} must be positive and contain 1, not {self.bounds}"
            raise ParameterError(msg)

    @property
    def name(self) -> str:
        """Name of the model in tables and figures."""
        return "signal strength"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the signal strength, in a tuple."""
        return (self.parameter,)

    @property
    def reference(self) -> float:
        """Signal strength at which the yield is the expected yield."""
        return 1.0

    @property
    def interpolation(self) -> Interpolation:
        """Range of the signal strength, as an interpolation between its two ends."""
        return Interpolation(np.array(self.bounds), "polynomial", 1)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return zeros, because the density of the signal does not depend on μ.

        The shape is (n_events, 2).
        """
        return np.zeros((len(sample), 2))

    def rate(self, expected: float, *, luminosity: float = 1.0) -> Rate:
        """Return the expected number of signal events as a function of μ.

        Parameters
        ----------
        expected
            Expected number of signal events at μ = 1.
        luminosity
            Integrated luminosity in 1/fb, for records only.

        Raises
        ------
        ConfigurationError
            If `expected` or `luminosity` is not positive.

        Examples
        --------
        >>> SignalStrength().rate(50.0)(mu=2.0)
        100.0
        """
        n_expected = positive_number(expected, "the expected signal")
        basis = PolynomialBasis((self.parameter,), 1)
        slopes = np.asarray(basis.exponents).sum(axis=1, keepdims=True).astype(np.float64)
        n = len(slopes)
        fit = PolynomialFit(n_expected * slopes, np.zeros((1, n, n)), np.array([np.nan]), 0)
        return Rate(basis, fit, positive_number(luminosity, "the luminosity"))
