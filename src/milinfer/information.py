"""What an estimator makes of the data: response, effective information, Bartlett ratio.

I_MLE = 1/Var(θ̂) flatters an estimator that is pulled towards the middle.  Cramér–Rao for a biased
estimator gives I_eff = R²/Var(θ̂) with the response R = dE[θ̂]/dθ; every claim about sensitivity
uses I_eff.  I_curv = E[−d²T/dθ²] at θ̂ is what the surface itself claims (seed 001, eq. 17).

At the true value an exact surface obeys the Bartlett identities: the score dΛ/dθ has mean zero, and
its variance is the mean of −d²Λ/dθ², and both are the Fisher information.  A surface of the wrong
scale s has the variance s² times and the curvature s times too large, so the two tell a wrong scale
from lost information, which I_eff alone does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.surface_box import ChebyshevBox
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

    Errors are standard errors.  Those of all that is divided by R² or multiplied by it contain the
    error of the response; those of means over toys (`info_curv`, `curv_truth`, `score_mean`)
    contain the fluctuation of the finite pool, as :attr:`milinfer.toys.ToyEnsemble.mean_error`.

    Parameters
    ----------
    theta
        True value of the toys.
    n_events, n_toys
        Events in a toy, and toys.
    info_mle, info_mle_error
        1/Var(θ̂) (seed 001, §C.2).
    response, response_error
        R = dE[θ̂]/dθ.
    info_eff, info_eff_error
        R²/Var(θ̂), to compare with the Fisher information.
    info_width, info_width_error
        R² over the squared half-width of the central 68.27 % of θ̂: it does not care for tails.
        Error from the bootstrap.
    info_curv, info_curv_error
        E[−d²Λ/dθ²] at θ̂.
    bartlett_ratio, bartlett_ratio_error
        I_curv/I_eff, 1 where intervals have the right width.  Curvature and spread come from the
        same toys, so the error is from a joint bootstrap of both.
    score_mean, score_mean_error
        E[dΛ/dθ] at the truth: 0 (first Bartlett identity).
    info_score, info_score_error
        Var(dΛ/dθ) at the truth.
    curv_truth, curv_truth_error
        E[−d²Λ/dθ²] at the truth: equal to `info_score` (second Bartlett identity).
    """

    theta: float
    n_events: int
    n_toys: int
    info_mle: float
    info_mle_error: float
    response: float
    response_error: float
    info_eff: float
    info_eff_error: float
    info_width: float
    info_width_error: float
    info_curv: float
    info_curv_error: float
    bartlett_ratio: float
    bartlett_ratio_error: float
    score_mean: float
    score_mean_error: float
    info_score: float
    info_score_error: float
    curv_truth: float
    curv_truth_error: float


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


def information(
    at: ToyEnsemble,
    ensembles: Sequence[ToyEnsemble] = (),
    *,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Information:
    """Measure information, response and Bartlett identities on toys.

    Parameters
    ----------
    at
        Toys at the true value in question.
    ensembles
        Toys at neighbouring values (`at` may be among them), which give the response; none: the
        response is taken as 1, with no error.
    n_bootstrap, seed
        Resamplings of the toys, for the errors of `info_width` and `bartlett_ratio`.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.surface import Interpolation
    >>> from milinfer.toys import Toys
    >>> class Exact:
    ...     name, parameters = "exact", ("mu",)
    ...     interpolation = Interpolation(np.linspace(-1, 1, 5), "polynomial", 2)
    ...     def event_llr(self, sample):
    ...         return gaussian.log_likelihood_ratio(sample.column("x0"), self.interpolation.grid)
    >>> toys = Toys(gaussian.samples(20_000, [0.0], seed=1), n_events=100, seed=2)
    >>> found = information(toys.run([Exact()], 0.0, 500)["exact"])
    >>> abs(found.info_score - 100) < 3 * found.info_score_error, round(found.curv_truth)
    (True, 100)
    """
    response, response_error = mean_response(ensembles).slope(at.truth) if ensembles else (1.0, 0.0)
    theta_hat = at.theta_hat.reshape(at.n_toys)
    curvature = at.extremum.curvature.reshape(at.n_toys)
    variance, variance_error = variance_with_error(theta_hat)
    relative, relative_response = variance_error / variance, 2 * response_error / response
    info_eff = response**2 / variance
    info_curv, info_curv_error = _mean_with_error(curvature, at.reuse)
    half_width = _half_width(theta_hat)

    rng = np.random.default_rng(seed)
    widths, products = np.empty(n_bootstrap), np.empty(n_bootstrap)
    for k in range(n_bootstrap):
        drawn = rng.integers(at.n_toys, size=at.n_toys)
        # A mean moves as if the finite pool were drawn anew, too: it does so by a factor.
        curved = info_curv + (curvature[drawn].mean() - info_curv) * np.sqrt(1 + at.reuse)
        widths[k] = _half_width(theta_hat[drawn])
        products[k] = curved * np.var(theta_hat[drawn], ddof=1)
    info_width = (response / half_width) ** 2
    ratio = info_curv / info_eff
    ratio_relative = float(np.std(products, ddof=1)) / (info_curv * variance)

    score, bend = _at_truth(at)
    score_mean, score_mean_error = _mean_with_error(score, at.reuse)
    info_score, info_score_error = variance_with_error(score)
    curv_truth, curv_truth_error = _mean_with_error(bend, at.reuse)
    return Information(
        theta=at.truth,
        n_events=at.n_events,
        n_toys=at.n_toys,
        info_mle=1 / variance,
        info_mle_error=relative / variance,
        response=response,
        response_error=response_error,
        info_eff=info_eff,
        info_eff_error=info_eff * float(np.hypot(relative, relative_response)),
        info_width=info_width,
        info_width_error=info_width
        * float(np.hypot(2 * np.std(widths, ddof=1) / half_width, relative_response)),
        info_curv=info_curv,
        info_curv_error=info_curv_error,
        bartlett_ratio=ratio,
        bartlett_ratio_error=abs(ratio) * float(np.hypot(ratio_relative, relative_response)),
        score_mean=score_mean,
        score_mean_error=score_mean_error,
        info_score=info_score,
        info_score_error=info_score_error,
        curv_truth=curv_truth,
        curv_truth_error=curv_truth_error,
    )


def _mean_with_error(values: FloatArray, reuse: float) -> tuple[float, float]:
    """Mean over toys and its standard error, with that of the finite pool behind them."""
    return float(values.mean()), float(values.std(ddof=1) * np.sqrt((1 + reuse) / len(values)))


def _half_width(values: FloatArray) -> float:
    """Half of the central 68.27 %."""
    low, high = np.quantile(values, [0.158655, 0.841345])
    return float(high - low) / 2


def _at_truth(at: ToyEnsemble) -> tuple[FloatArray, FloatArray]:
    """dΛ/dθ and −d²Λ/dθ² of each toy at the true value, shape (n_toys,) each."""
    interpolation = at.interpolation
    if isinstance(interpolation, ChebyshevBox):
        here = np.full((at.n_toys, 1), at.truth)
        slope, hessian = interpolation._derivatives(interpolation.coefficients(at.values), here)
        return slope[:, 0], -hessian[:, 0, 0]
    truth = np.full(at.n_toys, at.truth)
    return (
        interpolation.evaluate(at.values, truth, 1),
        -interpolation.evaluate(at.values, truth, 2),
    )
