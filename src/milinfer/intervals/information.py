"""What an estimator makes of the data: response, effective information, Bartlett ratio.

I_MLE = 1/Var(θ̂) flatters an estimator that is pulled towards the middle.  Cramér–Rao for a biased
estimator gives I_eff = R²/Var(θ̂) with the response R = dE[θ̂]/dθ; every claim about sensitivity
uses I_eff.  I_curv = E[−d²T/dθ²] at θ̂ is what the surface itself claims ([AS], eq. 17).

At the true value an exact surface obeys the Bartlett identities: the score dΛ/dθ has mean zero, and
its variance is the mean of −d²Λ/dθ², and both are the Fisher information.  A surface of the wrong
scale s has the variance s² times and the curvature s times too large, so the two tell a wrong scale
from lost information, which I_eff alone does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.response import mean_response
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.toys import ToyEnsemble
from milinfer.typing import FloatArray
from milinfer.utils.display import html_table, measured
from milinfer.utils.tables import tuples_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Information",
    "information",
    "variance_with_error",
]


class Information(NamedTuple):
    """Information of one estimator about one parameter, for datasets of `n_events`.

    Errors are standard errors.  Those of all that is divided by R² or multiplied by it contain the
    error of the response; those of means over toys (`info_curv`, `curv_truth`, `score_mean`)
    contain the fluctuation of the finite pool, as :attr:`milinfer.toys.toys.ToyEnsemble.mean_error`, and
    those of variances that of :attr:`~milinfer.toys.toys.ToyEnsemble.pool_variance_error`, where it is
    known.

    Parameters
    ----------
    theta
        True value of the toys.
    n_events, n_toys
        Events in a toy, and toys.
    info_mle, info_mle_error
        1/Var(θ̂) ([AS], §C.2).
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
    n_events: float
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

    def __repr__(self) -> str:
        return (
            f"Information(at {self.theta:g}, {self.n_events:g} events, {self.n_toys} toys: "
            f"I_eff = {measured(self.info_eff, self.info_eff_error)}, "
            f"R = {measured(self.response, self.response_error)})"
        )

    def _repr_html_(self) -> str:
        names = {
            "info_mle": "1/Var(θ̂)",
            "response": "response R",
            "info_eff": "I_eff = R²/Var(θ̂)",
            "info_width": "I_eff from the central 68.27 %",
            "info_curv": "I_curv",
            "bartlett_ratio": "I_curv/I_eff",
            "score_mean": "mean score at the truth",
            "info_score": "variance of the score",
            "curv_truth": "curvature at the truth",
        }
        rows = [
            [text, measured(getattr(self, n), getattr(self, f"{n}_error"))]
            for n, text in names.items()
        ]
        title = f"Information at {self.theta:g}, {self.n_events:g} events, {self.n_toys} toys"
        return html_table(("quantity", "value"), rows, title=title)

    def to_table(self) -> pa.Table:
        """One row with the fields as columns."""
        return tuples_table(Information, [self])


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

    Raises
    ------
    CalibrationError
        If estimates have no spread.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(20_000, [0.0], seed=1), n_events=100, seed=2)
    >>> found = information(toys.run([model], 0.0, 500)["mean"])
    >>> abs(found.info_score - 100) < 3 * found.info_score_error, round(found.curv_truth)
    (True, 100)
    """
    response, response_error = mean_response(ensembles).slope(at.truth) if ensembles else (1.0, 0.0)
    theta_hat = at.theta_hat.reshape(at.n_toys)
    curvature = at.extremum.curvature.reshape(at.n_toys)
    variance, variance_error = variance_with_error(theta_hat)
    half_width = _half_width(theta_hat)
    if not (variance > 0 and half_width > 0):
        msg = (
            f"{at.model}: most estimates at {at.truth:g} are alike, of mean {theta_hat.mean():g}; "
            "a spread that is zero has no information: look whether maxima lie at the edge of the "
            "range"
        )
        raise CalibrationError(msg)
    # The pool makes spreads uncertain, too; for models of bags it is not known by how much.
    pool = float(np.nan_to_num(at.pool_variance_error))
    relative = float(np.hypot(variance_error / variance, pool))
    relative_response = 2 * response_error / response
    info_eff = response**2 / variance
    info_curv, info_curv_error = _mean_with_error(curvature, at.reuse)

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
    ratio_relative = float(np.hypot(np.std(products, ddof=1) / (info_curv * variance), pool))

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
        * float(
            np.hypot(2 * np.std(widths, ddof=1) / half_width, np.hypot(pool, relative_response))
        ),
        info_curv=info_curv,
        info_curv_error=info_curv_error,
        bartlett_ratio=ratio,
        bartlett_ratio_error=abs(ratio) * float(np.hypot(ratio_relative, relative_response)),
        score_mean=score_mean,
        score_mean_error=score_mean_error,
        info_score=info_score,
        info_score_error=float(np.hypot(info_score_error, pool * info_score)),
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
