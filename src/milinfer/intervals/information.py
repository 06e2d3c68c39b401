"""Measure the information of an estimator with toys: response, I_eff, Bartlett ratio, widths.

I_MLE = 1/Var(θ̂) overestimates the information if the estimates are pulled towards the middle of
the range.  milinfer therefore uses I_eff = R²/Var(θ̂), with the response R = dE[θ̂]/dθ, for all
statements about sensitivity; it follows from the Cramér–Rao bound for a biased estimator.  I_curv =
E[−d²Λ/dθ²] at θ̂ is the information that follows from the curvature of Λ(θ) = ln L(θ)/L(θ0) alone
([AS], eq. 17).

At the true value an exact Λ obeys the Bartlett identities: the score dΛ/dθ has mean zero, and its
variance and the mean of −d²Λ/dθ² are both equal to the Fisher information.  If Λ is multiplied by a
wrong factor s, the variance of the score becomes s² times as large, but the curvature only s times.
Comparing the variance with the curvature therefore shows whether Λ has a wrong factor.  I_eff does
not change with the factor; it shows how much information is lost.

:func:`information` measures these quantities in one parameter, :func:`information_matrix` in
several.  :func:`relative_information`, :func:`information_ratios` and :func:`relative_widths`
compare methods with a reference method on the same toys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.response import mean_response
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.ensemble import GROUPS, ToyEnsemble, require_one_kind, truths
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import arrow_table, html_table, measured, tuples_table
from milinfer.utils.points import format_point
from milinfer.utils.resampling import covariances, samples_at_once

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Information",
    "InformationMatrix",
    "InformationRatio",
    "RelativeInformation",
    "RelativeWidth",
    "information",
    "information_matrix",
    "information_ratios",
    "relative_information",
    "relative_widths",
    "variance_with_error",
]


class Information(NamedTuple):
    """Information of an estimate θ̂ of one parameter θ, for datasets of `n_events` events.

    Λ(θ) is the log-likelihood ratio ln L(θ)/L(θ0), and E and Var are mean and variance over toys.
    All errors are standard errors.  The error of a quantity that contains R² includes the error of
    R.  The errors of means over toys (`info_curv`, `curv_truth`, `score_mean`) include the
    statistical fluctuation of the finite pool of simulated events
    (:attr:`milinfer.toys.ensemble.ToyEnsemble.mean_error`).  The errors of variances include this
    fluctuation only if its effect on the variance is known
    (:attr:`~milinfer.toys.ensemble.ToyEnsemble.pool_variance_error`).

    Parameters
    ----------
    theta
        True value of the toys.
    n_events, n_toys
        Number of events in a toy, and number of toys.
    info_mle, info_mle_error
        I_MLE = 1/Var(θ̂) ([AS], §C.2).
    response, response_error
        Response R = dE[θ̂]/dθ, the change of the mean estimate with the true value.
    info_eff, info_eff_error
        I_eff = R²/Var(θ̂), to compare with the Fisher information.
    info_width, info_width_error
        R² divided by the squared half-width of the interval that contains the central 68.27 % of
        θ̂.  This half-width does not depend on tails, unlike Var(θ̂).  The error is computed by a
        bootstrap.
    info_curv, info_curv_error
        I_curv = E[−d²Λ/dθ²] at θ̂.
    bartlett_ratio, bartlett_ratio_error
        I_curv/I_eff, which is 1 if intervals have the right width.  The error is computed by a
        bootstrap of the toys, because I_curv and I_eff of the same toys are correlated.
    score_mean, score_mean_error
        E[dΛ/dθ] at the true value; 0 for an exact Λ (first Bartlett identity).
    info_score, info_score_error
        Var(dΛ/dθ) at the true value.
    curv_truth, curv_truth_error
        E[−d²Λ/dθ²] at the true value; equal to `info_score` for an exact Λ (second Bartlett
        identity).
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
        """Return a table with one row, whose columns are the fields."""
        return tuples_table(Information, [self])


def variance_with_error(values: FloatArray) -> tuple[float, float]:
    """Compute the sample variance and its standard error; the values need not be Gaussian.

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
    """Measure the information of an estimate of one parameter with toys.

    The result contains the response R = dE[θ̂]/dθ, the information R²/Var(θ̂), and tests of the
    Bartlett identities.

    Parameters
    ----------
    at
        Toys at the true value of interest.
    ensembles
        Toys at several true values around the one of `at`, from which the response is computed;
        `at` may be one of them.  Without them, the response is assumed to be 1, with the error 0.
    n_bootstrap, seed
        Number of bootstrap samples of the toys, and their random seed.  The bootstrap gives the
        errors of `info_width` and `bartlett_ratio`.

    Raises
    ------
    CalibrationError
        If the estimates have no spread.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(20_000, [0.0], seed=1), n_events=100, seed=2)
    >>> result = information(toys.run([model], 0.0, 500)["mean"])
    >>> abs(result.info_score - 100) < 3 * result.info_score_error, round(result.curv_truth)
    (True, 100)
    """
    response, response_error = mean_response(ensembles).slope(at.truth) if ensembles else (1.0, 0.0)
    theta_hat = at.theta_hat.reshape(at.n_toys)
    curvature = at.extremum.curvature.reshape(at.n_toys)
    variance, variance_error = variance_with_error(theta_hat)
    half_width = float(_half_widths(theta_hat[None])[0])
    if not (variance > 0 and half_width > 0):
        msg = (
            f"{at.model}: most estimates at {at.truth:g} are equal (mean {theta_hat.mean():g}), "
            "and the information cannot be computed from a spread of zero; check whether the "
            "maxima lie at the edge of the "
            "range"
        )
        raise CalibrationError(msg)
    # The finite pool makes spreads uncertain as well; for models of bags by an unknown amount.
    pool = at.variance_error
    relative = float(np.hypot(variance_error / variance, pool))
    relative_response = 2 * response_error / response
    info_eff = response**2 / variance
    info_curv, info_curv_error = _mean_with_error(curvature, at.reuse)

    rng = np.random.default_rng(seed)
    widths, products = np.empty(n_bootstrap), np.empty(n_bootstrap)
    for k in range(n_bootstrap):
        drawn = rng.integers(at.n_toys, size=at.n_toys)
        # Scale the shift of the mean, as if the finite pool were drawn anew as well.
        curved = info_curv + (curvature[drawn].mean() - info_curv) * np.sqrt(1 + at.reuse)
        widths[k] = _half_widths(theta_hat[drawn][None])[0]
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
    """Mean over toys, and its standard error, which includes the error from the finite pool."""
    return float(values.mean()), float(values.std(ddof=1) * np.sqrt((1 + reuse) / len(values)))


def _half_widths(values: FloatArray) -> FloatArray:
    """Half of the central 68.27 % of values, along the second axis."""
    low, high = np.quantile(values, [0.158655, 0.841345], axis=1)
    return np.asarray((high - low) / 2)


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


class InformationMatrix(NamedTuple):
    """Information of estimates θ̂ of P parameters; the errors are computed by a bootstrap.

    Λ(θ) is the log-likelihood ratio ln L(θ)/L(θ0).

    Parameters
    ----------
    parameters
        Names of the parameters, in the order of the matrices.
    response
        Response R.  Its element (j, k) is dE[θ̂_j]/dθ_k, the derivative of the mean estimate of
        parameter j with respect to the true value of parameter k.  Shape (P, P).
    info_eff
        I_eff = Rᵀ Var(θ̂)⁻¹ R, to compare with the Fisher information, shape (P, P).
    info_curv
        I_curv = E[−∂²Λ/∂θ_j∂θ_k] at θ̂, shape (P, P).
    response_error, info_eff_error, info_curv_error
        Standard error of each element of the three matrices, each of shape (P, P).
    """

    parameters: tuple[str, ...]
    response: FloatArray
    response_error: FloatArray
    info_eff: FloatArray
    info_eff_error: FloatArray
    info_curv: FloatArray
    info_curv_error: FloatArray

    def __repr__(self) -> str:
        return f"InformationMatrix({', '.join(self.parameters)})"

    @property
    def unresponsive(self) -> tuple[str, ...]:
        """Sentences about parameters whose estimates do not follow the true value.

        There is one sentence for each such parameter.  A parameter is listed if the diagonal
        element of `response` that belongs to it is, in absolute value, smaller than 0.5 and smaller
        than three times its standard error.  There are three possible reasons: the features have no
        information about the sign of the parameter (CP-even features, for example, have none about
        a CP-odd operator); there are too few events; or the estimator has learned nothing.
        """
        found = []
        for k, name in enumerate(self.parameters):
            value, error = float(self.response[k, k]), float(self.response_error[k, k])
            if abs(value) < _NO_RESPONSE * error and abs(value) < _SMALL_RESPONSE:
                found.append(
                    f"the estimates of {name} do not follow its true value (response {value:.2f} ± "
                    f"{error:.2f}): the features may have no information about its sign, as "
                    "CP-even features have none about a CP-odd operator"
                )
        return tuple(found)

    def _repr_html_(self) -> str:
        header = ("row", "column", "response", "I_eff", "I_curv")
        rows = [
            [
                row["row"],
                row["column"],
                *(measured(row[n], row[f"{n}_error"]) for n in ("response", *_MATRICES)),
            ]
            for row in self.to_table().to_pylist()
        ]
        return html_table(header, rows, title=f"Information about {', '.join(self.parameters)}")

    def to_table(self) -> pa.Table:
        """Return a table with a row for each element: ``row``, ``column``, matrices and errors."""
        names = [f"{n}{error}" for n in ("response", *_MATRICES) for error in ("", "_error")]
        rows = [
            {"row": a, "column": b, **{n: getattr(self, n)[i, j] for n in names}}
            for i, a in enumerate(self.parameters)
            for j, b in enumerate(self.parameters)
        ]
        return arrow_table({"row": str, "column": str, **dict.fromkeys(names, float)}, rows)


_MATRICES = ("info_eff", "info_curv")
# Standard errors from zero, and size, below which estimates do not follow a parameter.
_NO_RESPONSE, _SMALL_RESPONSE = 3.0, 0.5


class RelativeInformation(NamedTuple):
    """Information of an estimator, relative to a reference estimator that uses the same toys.

    With P parameters, "information" means the P-th root of the determinant of the information
    matrix.  The volume of confidence regions depends only on this number.

    Parameters
    ----------
    ratio, ratio_error
        I_eff = R²/Var(θ̂) of the estimator, divided by I_eff of the reference.
    width_ratio, width_ratio_error
        The same ratio, but in both I_eff the variance is replaced by the squared half-width of the
        interval that contains the central 68.27 % of the estimates.  This half-width does not
        depend on tails.
    response, response_error
        Response R = dE[θ̂]/dθ of the estimator.  With several parameters, it is the mean of the
        diagonal elements of R.
    bartlett_ratio, bartlett_ratio_error
        Bartlett ratio I_curv/I_eff of the estimator, in which I_curv = E[−d²Λ/dθ²] at θ̂.
    bartlett_difference, bartlett_difference_error
        Bartlett ratio of the estimator minus the Bartlett ratio of the reference.
    """

    ratio: float
    ratio_error: float
    width_ratio: float
    width_ratio_error: float
    response: float
    response_error: float
    bartlett_ratio: float
    bartlett_ratio_error: float
    bartlett_difference: float
    bartlett_difference_error: float

    def _repr_html_(self) -> str:
        names = ("ratio", "width_ratio", "response", "bartlett_ratio", "bartlett_difference")
        rows = [
            [n.replace("_", " "), measured(getattr(self, n), getattr(self, f"{n}_error"))]
            for n in names
        ]
        return html_table(("quantity", "value"), rows, title="Relative to the reference")

    def to_table(self) -> pa.Table:
        """Return a table with one row, whose columns are the fields."""
        return tuples_table(RelativeInformation, [self])


def information_matrix(
    ensembles: Sequence[ToyEnsemble], *, n_bootstrap: int = 200, seed: int = 0
) -> InformationMatrix:
    """Measure response and information in one parameter or several.

    Parameters
    ----------
    ensembles
        Toys of one model at several true points.  The first element contains the toys at the point
        of interest; the other elements contain toys at points around it, in every direction of the
        parameters.  The response is the slope of a linear fit to the mean estimates, so place the
        points symmetrically around the first one.  The error of the response includes the
        statistical fluctuation of the finite pools of simulated events.
    n_bootstrap
        Number of bootstrap samples of the toys.
    seed
        Seed of the bootstrap.

    Raises
    ------
    CalibrationError
        If the points do not differ in every direction of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.surface_box import ChebyshevBox
    >>> from milinfer.toys.toys import Toys
    >>> class Exact:
    ...     name, parameters = "exact", ("c1", "c2")
    ...     interpolation = ChebyshevBox(-np.ones(2), np.ones(2), 6)
    ...     def event_llr(self, sample):
    ...         return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)
    >>> points = [{"c1": a, "c2": b} for a, b in [(0, 0), (0.3, 0), (-0.3, 0), (0, 0.3), (0, -0.3)]]
    >>> toys = Toys(quadratic.samples(20_000, points, seed=1), n_events=500, seed=2)
    >>> result = information_matrix([toys.run([Exact()], p, 100)["exact"] for p in points])
    >>> np.abs(result.response - np.eye(2)).max() < 0.3
    np.True_
    """
    _require_spanning(ensembles)
    measured = [value[0] for value in _measure(ensembles)]
    rng = np.random.default_rng(seed)
    replicas = [_measure(ensembles, d) for d in _bootstrap_samples(ensembles, n_bootstrap, rng)]
    errors = [np.std(np.concatenate([r[i] for r in replicas]), axis=0, ddof=1) for i in range(3)]
    return InformationMatrix(
        parameters=tuple(ensembles[0].point),
        response=measured[0],
        response_error=errors[0],
        info_eff=measured[1],
        info_eff_error=errors[1],
        info_curv=measured[2],
        info_curv_error=errors[2],
    )


def relative_information(
    ensembles: Sequence[ToyEnsemble],
    reference: Sequence[ToyEnsemble],
    *,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> RelativeInformation:
    """Compare the information of an estimator with the information of a reference.

    The estimator and the reference must use the same toys.  The bootstrap that gives the errors
    resamples the toys of both together.  Fluctuations of the toys and of the finite pools of events
    are common to both, and therefore cancel in the error of the ratio.

    Parameters
    ----------
    ensembles, reference
        Toys of the estimator and of the reference at the same points.  To get the same toys, pass
        both models in one call of :meth:`milinfer.toys.toys.Toys.run`.  The first point is the
        point of interest; see :func:`information_matrix`.
    n_bootstrap, seed
        Number of bootstrap samples, and their seed.

    Raises
    ------
    CalibrationError
        If `ensembles` and `reference` do not contain the same toys, or the estimates do not vary
        from toy to toy.
    """
    for group in (ensembles, reference):
        _require_spanning(group)
    if [_toys_of(e) for e in ensembles] != [_toys_of(e) for e in reference]:
        names = f"{ensembles[0].model} and {reference[0].model}"
        msg = f"{names} were not run on the same toys; pass both models to Toys.run"
        raise CalibrationError(msg)

    def figures(draws: Sequence[_Draws] | None) -> FloatArray:
        mine, theirs = _measure(ensembles, draws), _measure(reference, draws)
        size = [_sizes(m[1]) for m in (mine, theirs)]
        bartlett = [_sizes(m[2]) / _sizes(m[1]) for m in (mine, theirs)]
        return np.stack(
            [
                size[0] / size[1],
                _sizes(mine[3]) / _sizes(theirs[3]),
                np.trace(mine[0], axis1=1, axis2=2) / mine[0].shape[1],
                bartlett[0],
                bartlett[0] - bartlett[1],
            ],
            axis=1,
        )

    rng = np.random.default_rng(seed)
    values = figures(None)[0]
    replicas = [figures(d) for d in _bootstrap_samples(ensembles, n_bootstrap, rng)]
    errors = np.std(np.concatenate(replicas), axis=0, ddof=1)
    ratio, width_ratio, response, bartlett_ratio, bartlett_difference = zip(
        values.tolist(), errors.tolist(), strict=True
    )
    return RelativeInformation(
        ratio=ratio[0],
        ratio_error=ratio[1],
        width_ratio=width_ratio[0],
        width_ratio_error=width_ratio[1],
        response=response[0],
        response_error=response[1],
        bartlett_ratio=bartlett_ratio[0],
        bartlett_ratio_error=bartlett_ratio[1],
        bartlett_difference=bartlett_difference[0],
        bartlett_difference_error=bartlett_difference[1],
    )


def _toys_of(e: ToyEnsemble) -> tuple[object, ...]:
    """Key of an ensemble: equal for the same toys."""
    return e.point, e.pool_id, e.pieces, e.n_toys, e.n_events, e.poisson


def _require_spanning(ensembles: Sequence[ToyEnsemble]) -> None:
    require_one_kind(ensembles)
    points = truths(ensembles)
    if np.linalg.matrix_rank(points - points[0]) < points.shape[1]:
        msg = f"the points {points.tolist()} do not span the parameters; add neighbouring points"
        raise CalibrationError(msg)
    _require_scatter(ensembles[0])


def _require_scatter(ensemble: ToyEnsemble) -> None:
    """Refuse estimates that do not vary from toy to toy, which have no information."""
    estimates = _estimates(ensemble)
    if np.linalg.matrix_rank(np.atleast_2d(np.cov(estimates.T))) < estimates.shape[1]:
        msg = (
            f"the estimates of {ensemble.model} at {format_point(ensemble.point)} do not vary from "
            f"toy to toy in every parameter (the first is {estimates[0].tolist()}), so they have "
            "no information; check the training of the model and the range of its parameters"
        )
        raise CalibrationError(msg)


def _sizes(matrices: FloatArray) -> FloatArray:
    """P-th root of each determinant, shape (n_samples,); NaN if it is not positive."""
    determinants = np.linalg.det(matrices)
    possible = np.where(determinants > 0, determinants, np.nan)
    sizes: FloatArray = possible ** (1 / matrices.shape[1])
    return sizes


class _Draws(NamedTuple):
    """Bootstrap samples: toys of an ensemble, and fluctuations of the groups of its pool.

    Shapes (n_samples, n_toys) and (n_samples, GROUPS).
    """

    rows: IntArray
    pool: FloatArray


def _bootstrap_samples(
    ensembles: Sequence[ToyEnsemble], n_samples: int, rng: np.random.Generator
) -> Iterator[list[_Draws]]:
    """Draw bootstrap samples of each ensemble; ensembles of one pool share its fluctuation."""
    p = len(ensembles[0].point)
    for block in samples_at_once(n_samples, p**2 * max(e.n_toys for e in ensembles)):
        rows: list[list[IntArray]] = [[] for _ in ensembles]
        pools: list[list[FloatArray]] = [[] for _ in ensembles]
        for _ in block:
            fluctuations: dict[str, FloatArray] = {}
            for e, own, pool in zip(ensembles, rows, pools, strict=True):
                if e.pool_id not in fluctuations:
                    fluctuations[e.pool_id] = rng.normal(size=GROUPS)
                own.append(rng.integers(e.n_toys, size=e.n_toys))
                pool.append(fluctuations[e.pool_id])
        yield [_Draws(np.array(r), np.array(z)) for r, z in zip(rows, pools, strict=True)]


def _measure(
    ensembles: Sequence[ToyEnsemble], draws: Sequence[_Draws] | None = None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Response, I_eff, I_curv and I_eff by widths of each bootstrap sample, (n_samples, P, P).

    Without `draws` there is one sample, which contains all toys once.
    """
    points = np.array([list(e.point.values()) for e in ensembles])
    p = points.shape[1]
    curvature = ensembles[0].extremum.curvature.reshape(-1, p, p)
    if draws is None:
        estimates = [_estimates(e)[None] for e in ensembles]
        means = np.array([_means(e, t, None) for e, t in zip(ensembles, estimates, strict=True)])
        info_curv = curvature.mean(axis=0)[None]
    else:
        pairs = list(zip(ensembles, draws, strict=True))
        estimates = [_estimates(e)[d.rows] for e, d in pairs]
        means = np.array([_means(e, t, d.pool) for (e, d), t in zip(pairs, estimates, strict=True)])
        info_curv = curvature[draws[0].rows].mean(axis=1)
    design = np.column_stack([np.ones(len(points)), points])
    # All samples at once: each has a column for each parameter.
    slopes = np.linalg.lstsq(design, means.reshape(len(points), -1), rcond=None)[0]
    response = np.moveaxis(slopes[1:].reshape(p, -1, p), 0, 2)
    covariance = covariances(estimates[0])
    # A bootstrap sample of few different estimates may be singular, if all toys are not.
    inverse = np.linalg.pinv(covariance)
    transposed = response.swapaxes(1, 2)
    info_eff = transposed @ inverse @ response
    # Central 68.27 % widths along the principal axes stand in for the standard deviations.
    axes = np.linalg.eigh(covariance)[1]
    widths = _half_widths(estimates[0] @ axes)
    robust = axes * widths[:, None, :] ** 2 @ axes.swapaxes(1, 2)
    # Widths are zero if most estimates are equal, at an end of the range.
    return response, info_eff, info_curv, transposed @ np.linalg.pinv(robust) @ response


def _estimates(ensemble: ToyEnsemble) -> FloatArray:
    return ensemble.theta_hat.reshape(ensemble.n_toys, -1)


def _means(ensemble: ToyEnsemble, drawn: FloatArray, pool: FloatArray | None) -> FloatArray:
    """Mean estimate of each sample, (n_samples, P).

    In a bootstrap sample the finite pool fluctuates as well; see :mod:`milinfer.toys.ensemble`.  If
    the influence of the events of the pool is unknown, the shift of the toys is scaled by
    ``sqrt(1 + reuse)`` instead.
    """
    centre = _estimates(ensemble).mean(axis=0)
    moved = drawn.mean(axis=1) - centre
    if pool is None:
        mean: FloatArray = centre + moved
    elif ensemble.pool_influence is None:
        mean = centre + moved * np.sqrt(1 + ensemble.reuse)
    else:
        spread = _estimates(ensemble).std(axis=0, ddof=1)
        shift = spread * np.sqrt(ensemble.n_events) * (pool @ ensemble.pool_influence.shift)
        mean = centre + moved + shift
    return mean


class InformationRatio(NamedTuple):
    """Effective information I_eff of a method relative to I_eff of a reference method.

    Parameters
    ----------
    name, reference
        Names of the method and of the reference.
    ratio, error
        I_eff of the method divided by I_eff of the reference.  The error is computed by a bootstrap
        of the common toys.
    """

    name: str
    reference: str
    ratio: float
    error: float


class RelativeWidth(NamedTuple):
    r"""Width of an interval with the right coverage, relative to a reference method.

    Parameters
    ----------
    name
        Name of the method.
    ratio, error
        :math:`\sqrt{I_\mathrm{eff}^\mathrm{ref}/I_\mathrm{eff}}`: the width of the method divided
        by the width of the reference.  The error is computed by a bootstrap of the common toys.
    """

    name: str
    ratio: float
    error: float


def information_ratios(
    toys: Mapping[str, Sequence[ToyEnsemble]],
    reference: str,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> tuple[InformationRatio, ...]:
    """Compare the information I_eff of all methods with I_eff of a reference method.

    I_eff is computed as in :func:`milinfer.information`.  Fluctuations of the toys and of the pools
    of events are common to the method and the reference, and therefore cancel in the error of the
    ratio.

    Parameters
    ----------
    toys
        For each method (by name), its toys at several true values: first at the value of interest,
        then at values around it.  All methods must use the same toys.
    reference
        Name of the reference method.
    n_bootstrap, seed
        Number of bootstrap samples for the errors, and their seed.

    Raises
    ------
    CalibrationError
        If the reference is not among the methods, or the toys are not the same.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.models import Renamed
    >>> from milinfer.toys.toys import Toys
    >>> models = [gaussian.MeanModel(), Renamed(gaussian.MeanModel(), "other")]
    >>> pool = gaussian.samples(20_000, [0.0, -0.2, 0.2], seed=1)
    >>> toys = Toys(pool, n_events=100, seed=2).scan(models, [0.0, -0.2, 0.2], 200)
    >>> [(r.name, round(r.ratio, 6)) for r in information_ratios(toys, "mean")]
    [('mean', 1.0), ('other', 1.0)]
    """
    if reference not in toys:
        msg = f"the reference {reference!r} is not among the methods {list(toys)}"
        raise CalibrationError(msg)
    info = {name: _information(ensembles) for name, ensembles in toys.items()}
    ratios = []
    for name, ensembles in toys.items():
        r = relative_information(ensembles, toys[reference], n_bootstrap=n_bootstrap, seed=seed)
        ratio = info[name] / info[reference]
        ratios.append(InformationRatio(name, reference, ratio, ratio * r.ratio_error / r.ratio))
    return tuple(ratios)


def _information(ensembles: Sequence[ToyEnsemble]) -> float:
    return information(ensembles[0], ensembles, n_bootstrap=2).info_eff


def relative_widths(
    toys: Mapping[str, Sequence[ToyEnsemble]],
    histograms: Sequence[str],
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> tuple[RelativeWidth, ...]:
    r"""Compare the interval width of each method with the width of the best histogram.

    Here the width of a method is :math:`1/\sqrt{I_\mathrm{eff}}`.  It is the width of an interval
    with the claimed coverage, even if the intervals of the method without calibration have another
    width.

    Parameters
    ----------
    toys
        For each method (by name), its toys at several true values: first at the value of interest,
        then at values around it.  All methods must use the same toys.
    histograms
        Names of the methods that are histograms.  The reference is the histogram with the largest
        I_eff in these toys.
    n_bootstrap, seed
        Number of bootstrap samples for the errors, and their seed.

    Raises
    ------
    CalibrationError
        If there is no histogram among the methods, or the toys are not the same.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.models import Renamed
    >>> from milinfer.toys.toys import Toys
    >>> models = [gaussian.MeanModel(), Renamed(gaussian.MeanModel(), "histogram")]
    >>> pool = gaussian.samples(20_000, [0.0, -0.2, 0.2], seed=1)
    >>> toys = Toys(pool, n_events=100, seed=2).scan(models, [0.0, -0.2, 0.2], 200)
    >>> [(w.name, round(w.ratio, 6)) for w in relative_widths(toys, ["histogram"])]
    [('mean', 1.0), ('histogram', 1.0)]
    """
    candidates = [name for name in histograms if name in toys]
    if not candidates:
        msg = f"none of the histograms {list(histograms)} is among the methods {list(toys)}"
        raise CalibrationError(msg)
    best = max(candidates, key=lambda name: _information(toys[name]))
    return tuple(
        RelativeWidth(r.name, float(r.ratio**-0.5), float(r.ratio**-1.5 * r.error / 2))
        for r in information_ratios(toys, best, n_bootstrap=n_bootstrap, seed=seed)
    )
