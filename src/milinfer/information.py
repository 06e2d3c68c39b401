"""What an estimator makes of the data: response, effective information, Bartlett ratio.

I_MLE = 1/Var(θ̂) flatters an estimator that is pulled towards the middle.  Cramér–Rao for a biased
estimator gives I_eff = R²/Var(θ̂) with the response R = dE[θ̂]/dθ; every claim about sensitivity
uses I_eff.  I_curv = E[−d²T/dθ²] at θ̂ is what the surface itself claims (seed 001, eq. 17).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from milinfer.response import mean_response
from milinfer.toys import ToyEnsemble
from milinfer.typing import FloatArray

__all__ = [
    "Information",
    "information",
    "variance_with_error",
]


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
