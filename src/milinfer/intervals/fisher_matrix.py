"""Information in one parameter or several, and relative to a reference on the same toys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.response import require_one_kind, truths
from milinfer.toys.pool_influence import GROUPS
from milinfer.toys.toys import ToyEnsemble
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import html_table, measured
from milinfer.utils.tables import arrow_table, tuples_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "InformationMatrix",
    "RelativeInformation",
    "information_matrix",
    "relative_information",
]


class InformationMatrix(NamedTuple):
    """Information of one estimator about several parameters; errors from a bootstrap of the toys.

    Parameters
    ----------
    parameters
        Names, in the order of the matrices.
    response
        dE[θ̂_j]/dθ_k, shape (P, P).
    info_eff
        Rᵀ Var(θ̂)⁻¹ R, shape (P, P).
    info_curv
        E[−∂²Λ/∂θ_j∂θ_k] at θ̂, shape (P, P).
    response_error, info_eff_error, info_curv_error
        Of each element.
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
        """One row for each element: ``row``, ``column``, and every matrix with its error."""
        names = [f"{n}{error}" for n in ("response", *_MATRICES) for error in ("", "_error")]
        rows = [
            {"row": a, "column": b, **{n: getattr(self, n)[i, j] for n in names}}
            for i, a in enumerate(self.parameters)
            for j, b in enumerate(self.parameters)
        ]
        return arrow_table({"row": str, "column": str, **dict.fromkeys(names, float)}, rows)


_MATRICES = ("info_eff", "info_curv")


class RelativeInformation(NamedTuple):
    """Information of an estimator over that of a reference on the same toys.

    In several parameters the ratio is that of the P-th roots of the determinants: the volume of a
    confidence region, as a length.
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
        """One row with the fields as columns."""
        return tuples_table(RelativeInformation, [self])


def information_matrix(
    ensembles: Sequence[ToyEnsemble], *, n_bootstrap: int = 200, seed: int = 0
) -> InformationMatrix:
    """Measure response and information in one parameter or several.

    Parameters
    ----------
    ensembles
        Toys of one model; the first at the point in question, the others at neighbouring points
        that span the parameters.  The response is the slope of a linear fit to the mean estimates:
        place neighbours symmetrically.  Its error includes the fluctuation of the finite pools.
    n_bootstrap
        Resamplings of the toys.
    seed
        Of the bootstrap.

    Raises
    ------
    CalibrationError
        If the points do not span the parameters.

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
    measured = _measure(ensembles)
    rng = np.random.default_rng(seed)
    replicas = [_measure(ensembles, _resampled(ensembles, rng)) for _ in range(n_bootstrap)]
    errors = [np.std([r[i] for r in replicas], axis=0, ddof=1) for i in range(3)]
    return InformationMatrix(
        tuple(ensembles[0].point),
        measured[0],
        errors[0],
        measured[1],
        errors[1],
        measured[2],
        errors[2],
    )


def relative_information(
    ensembles: Sequence[ToyEnsemble],
    reference: Sequence[ToyEnsemble],
    *,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> RelativeInformation:
    """Compare an estimator with a reference on the same toys.

    The toys are resampled together, so that what both have in common (the toys, and the finite
    pools behind them) drops out of the error of the ratio.

    Parameters
    ----------
    ensembles, reference
        Toys of two models at the same points, from one run of :meth:`milinfer.toys.toys.Toys.run` each;
        see :func:`fisher_matrix`.
    n_bootstrap, seed
        Of the bootstrap.

    Raises
    ------
    CalibrationError
        If the toys are not the same.
    """
    for group in (ensembles, reference):
        _require_spanning(group)
    if [_toys_of(e) for e in ensembles] != [_toys_of(e) for e in reference]:
        names = f"{ensembles[0].model} and {reference[0].model}"
        msg = f"{names} were not run on the same toys; pass both to Toys.run"
        raise CalibrationError(msg)

    def figures(draws: Sequence[_Draw] | None) -> FloatArray:
        mine, theirs = _measure(ensembles, draws), _measure(reference, draws)
        size = [_size(m[1]) for m in (mine, theirs)]
        bartlett = [_size(m[2]) / _size(m[1]) for m in (mine, theirs)]
        return np.array(
            [
                size[0] / size[1],
                _size(mine[3]) / _size(theirs[3]),
                np.trace(mine[0]) / len(mine[0]),
                bartlett[0],
                bartlett[0] - bartlett[1],
            ]
        )

    rng = np.random.default_rng(seed)
    values = figures(None)
    replicas = [figures(_resampled(ensembles, rng)) for _ in range(n_bootstrap)]
    errors = np.std(replicas, axis=0, ddof=1)
    return RelativeInformation(*np.stack([values, errors], axis=1).ravel().tolist())


def _toys_of(e: ToyEnsemble) -> tuple[object, ...]:
    """What tells toys apart."""
    return e.point, e.pool_id, e.pieces, e.n_toys, e.n_events, e.poisson


def _require_spanning(ensembles: Sequence[ToyEnsemble]) -> None:
    require_one_kind(ensembles)
    points = truths(ensembles)
    if np.linalg.matrix_rank(points - points[0]) < points.shape[1]:
        msg = f"the points {points.tolist()} do not span the parameters; add neighbouring points"
        raise CalibrationError(msg)


def _size(matrix: FloatArray) -> float:
    """P-th root of the determinant; NaN where a matrix is not positive."""
    determinant = float(np.linalg.det(matrix))
    return determinant ** (1 / len(matrix)) if determinant > 0 else float("nan")


class _Draw(NamedTuple):
    """One bootstrap sample: toys of an ensemble, and a fluctuation of the groups of its pool."""

    rows: IntArray
    pool: FloatArray


def _resampled(ensembles: Sequence[ToyEnsemble], rng: np.random.Generator) -> list[_Draw]:
    """A bootstrap sample of each ensemble; those of one pool share its fluctuation."""
    pools: dict[str, FloatArray] = {}
    draws = []
    for e in ensembles:
        if e.pool_id not in pools:
            pools[e.pool_id] = rng.normal(size=GROUPS)
        draws.append(_Draw(rng.integers(e.n_toys, size=e.n_toys), pools[e.pool_id]))
    return draws


def _measure(
    ensembles: Sequence[ToyEnsemble], draws: Sequence[_Draw] | None = None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Response, I_eff, I_curv and I_eff by widths, of all toys or of a bootstrap sample."""
    rows = [None] * len(ensembles) if draws is None else [d.rows for d in draws]
    estimates = [_estimates(e, i) for e, i in zip(ensembles, rows, strict=True)]
    points = np.array([list(e.point.values()) for e in ensembles])
    design = np.column_stack([np.ones(len(points)), points])
    shifts = [None] * len(ensembles) if draws is None else [d.pool for d in draws]
    means = np.array([_mean(e, t, z) for e, t, z in zip(ensembles, estimates, shifts, strict=True)])
    slopes = np.linalg.lstsq(design, means, rcond=None)[0]
    response = slopes[1:].T
    covariance = np.atleast_2d(np.cov(estimates[0].T))
    info_eff = response.T @ np.linalg.inv(covariance) @ response
    p = points.shape[1]
    curvature = ensembles[0].extremum.curvature.reshape(-1, p, p)
    info_curv = (curvature if rows[0] is None else curvature[rows[0]]).mean(axis=0)
    # Central 68.27 % widths along the principal axes stand in for the standard deviations.
    axes = np.linalg.eigh(covariance)[1]
    low, high = np.quantile(estimates[0] @ axes, [0.158655, 0.841345], axis=0)
    robust = axes @ np.diag(((high - low) / 2) ** 2) @ axes.T
    return response, info_eff, info_curv, response.T @ np.linalg.inv(robust) @ response


def _estimates(ensemble: ToyEnsemble, index: IntArray | None) -> FloatArray:
    estimates = ensemble.theta_hat.reshape(ensemble.n_toys, -1)
    return estimates if index is None else estimates[index]


def _mean(ensemble: ToyEnsemble, drawn: FloatArray, pool: FloatArray | None) -> FloatArray:
    """Mean estimate; that of a bootstrap sample moves as if the finite pool were drawn anew too.

    See :mod:`milinfer.toys.pool_influence`.  Without known influences a pool shifts the mean by as much
    as ``n_toys · reuse`` toys would.
    """
    centre = _estimates(ensemble, None).mean(axis=0)
    moved = drawn.mean(axis=0) - centre
    if pool is None:
        mean: FloatArray = centre + moved
    elif ensemble.pool_influence is None:
        mean = centre + moved * np.sqrt(1 + ensemble.reuse)
    else:
        spread = _estimates(ensemble, None).std(axis=0, ddof=1)
        shift = spread * np.sqrt(ensemble.n_events) * (pool @ ensemble.pool_influence.shift)
        mean = centre + moved + shift
    return mean
