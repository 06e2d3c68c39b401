"""What an estimator makes of the data: response, effective information, Bartlett ratio.

I_MLE = 1/Var(θ̂) flatters an estimator that is pulled towards the middle.  Cramér–Rao for a biased
estimator gives I_eff = R²/Var(θ̂) with the response R = dE[θ̂]/dθ; every claim about sensitivity
uses I_eff.  I_curv = E[−d²T/dθ²] at θ̂ is what the surface itself claims (seed 001, eq. 17).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.toys import ToyEnsemble
from milinfer.typing import FloatArray

__all__ = [
    "Information",
    "MeanResponse",
    "information",
    "mean_response",
    "variance_with_error",
]


class MeanResponse(NamedTuple):
    """E[θ̂] as a polynomial in θ, fitted to toys at several true values.

    Parameters
    ----------
    coefficients
        Lowest power first.
    covariance
        Of the coefficients.
    domain
        Smallest and largest true value of the toys; beyond them the polynomial is continued by
        its tangent, since a parabola through three points may turn around there.
    """

    coefficients: FloatArray
    covariance: FloatArray
    domain: tuple[float, float]

    def means(self, theta: FloatArray) -> FloatArray:
        """E[θ̂] at many θ, of the shape of `theta`."""
        polynomial = np.polynomial.Polynomial(self.coefficients)
        inside = np.clip(theta, *self.domain)
        value: FloatArray = polynomial(inside) + polynomial.deriv()(inside) * (theta - inside)
        return value

    def mean(self, theta: float) -> float:
        """E[θ̂] at θ."""
        return float(self.means(np.asarray(theta, dtype=np.float64)))

    def slope(self, theta: float) -> tuple[float, float]:
        """Response R = dE[θ̂]/dθ and its error."""
        basis = self._derivatives(float(np.clip(theta, *self.domain)))
        return float(basis @ self.coefficients), float(np.sqrt(basis @ self.covariance @ basis))

    def mean_error(self, theta: float) -> float:
        """Standard error of :meth:`mean`."""
        inside = float(np.clip(theta, *self.domain))
        basis = np.power(inside, np.arange(len(self.coefficients)))
        basis = basis + self._derivatives(inside) * (theta - inside)
        return float(np.sqrt(basis @ self.covariance @ basis))

    def _derivatives(self, theta: float) -> FloatArray:
        powers = np.arange(len(self.coefficients))
        basis: FloatArray = powers * np.power(float(theta), np.maximum(powers - 1.0, 0.0))
        return basis


class Information(NamedTuple):
    """Information of one estimator about one parameter, for datasets of `n_events`.

    Errors are standard errors; those of I_eff contain the error of the response.
    ``info_width`` is R² over the squared half-width of the central 68.27 % of θ̂: it does not care
    for tails.
    """

    theta: float
    n_events: float
    n_toys: int
    info_mle: float
    info_mle_error: float
    response: float
    response_error: float
    info_eff: float
    info_eff_error: float
    info_width: float
    info_curv: float
    info_curv_error: float
    bartlett_ratio: float
    bartlett_ratio_error: float


def variance_with_error(values: FloatArray) -> tuple[float, float]:
    """Sample variance and its standard error, without assuming a Gaussian.

    Examples
    --------
    >>> import numpy as np
    >>> variance, error = variance_with_error(np.random.default_rng(1).normal(size=10_000))
    >>> abs(variance - 1) < 3 * error
    True
    """
    n = len(values)
    variance = float(np.var(values, ddof=1))
    fourth = float(np.mean((values - values.mean()) ** 4))
    return variance, float(np.sqrt(max(fourth - variance**2 * (n - 3) / (n - 1), 0.0) / n))


def mean_response(ensembles: Sequence[ToyEnsemble], degree: int | None = None) -> MeanResponse:
    """Fit E[θ̂] against θ, weighted by the errors of the means (finite pools included).

    Parameters
    ----------
    ensembles
        Toys of one model at different true values.
    degree
        Of the polynomial; default 1 for two values, 2 for more (1 again, with a warning, if the
        parabola turns around among the values).  With a single value the response
        is taken as 1 and only the shift is fitted, as in seed 001, eq. 35.

    Raises
    ------
    CalibrationError
        If the ensembles are of different models, or too few for the degree.
    """
    if len({(e.model, e.parameter, e.n_events) for e in ensembles}) != 1:
        msg = "the toys must be of one model, one parameter and one dataset size"
        raise CalibrationError(msg)
    truths = np.array([e.truth for e in ensembles])
    means = np.array([e.theta_hat.mean() for e in ensembles])
    errors = np.array([e.mean_error for e in ensembles])
    if len(np.unique(truths)) == 1 and degree is None:
        weight = 1 / errors**2
        shift = np.average(means - truths, weights=weight)
        covariance = np.zeros((2, 2))
        covariance[0, 0] = 1 / weight.sum()
        return MeanResponse(np.array([shift, 1.0]), covariance, (truths.min(), truths.max()))
    order = min(2, len(np.unique(truths)) - 1) if degree is None else degree
    if len(np.unique(truths)) < order + 1:
        msg = f"a response of degree {order} needs toys at {order + 1} true values or more"
        raise CalibrationError(msg)
    vander = np.polynomial.polynomial.polyvander(truths, order) / errors[:, None]
    covariance = np.linalg.inv(vander.T @ vander)
    coefficients = covariance @ vander.T @ (means / errors)
    ends = [coefficients[1] + 2 * coefficients[2] * t for t in truths] if order == 2 else [1.0]
    if degree is None and min(ends) <= 0:
        msg = (
            f"{ensembles[0].model}: the parabola through the mean estimates turns around between "
            f"{truths.min():g} and {truths.max():g}; a line is fitted instead. Larger pools for "
            "the toys make the means more precise"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=2)
        return mean_response(ensembles, degree=1)
    return MeanResponse(coefficients, covariance, (float(truths.min()), float(truths.max())))


def information(at: ToyEnsemble, ensembles: Sequence[ToyEnsemble] = ()) -> Information:
    """Measure information, response and Bartlett ratio on toys.

    Parameters
    ----------
    at
        Toys at the true value in question.
    ensembles
        Toys at neighbouring values (`at` may be among them), which give the response; none: the
        response is taken as 1, with no error.
    """
    response, response_error = mean_response(ensembles).slope(at.truth) if ensembles else (1.0, 0.0)
    variance, variance_error = variance_with_error(at.theta_hat)
    low, high = np.quantile(at.theta_hat, [0.158655, 0.841345])
    relative = variance_error / variance
    info_eff = response**2 / variance
    info_eff_error = info_eff * float(np.hypot(relative, 2 * response_error / response))
    curvature = at.extremum.curvature
    info_curv = float(curvature.mean())
    info_curv_error = float(curvature.std(ddof=1) / np.sqrt(at.n_toys))
    ratio = info_curv / info_eff
    return Information(
        at.truth,
        at.n_events,
        at.n_toys,
        1 / variance,
        relative / variance,
        response,
        response_error,
        info_eff,
        info_eff_error,
        float(response**2 / ((high - low) / 2) ** 2),
        info_curv,
        info_curv_error,
        ratio,
        ratio * float(np.hypot(info_eff_error / info_eff, info_curv_error / info_curv)),
    )
