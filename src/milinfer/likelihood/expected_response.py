r"""Compute how the expected number of events of a process depends on nuisance parameters.

The expected number of events ν(θ, α) of a process is the nominal number ν(θ, 0) times the mean
response

.. math:: \kappa(\theta, \alpha) = E_{x \sim p(\cdot|\theta)}\, S(x; \alpha, \theta)
          = \nu(\theta, \alpha) / \nu(\theta, 0).

Here p is the density of the events at θ and nominal nuisance parameters.  The response S is the
differential cross-section at nuisance parameters α divided by its value at α = 0.

κ is computed from simulated nominal events and the response, not from the yields of the varied
samples, so that the likelihood is normalised for any learned response.
:func:`milinfer.diagnose_response` checks that κ agrees with the yields of the varied samples.

ln κ is stored as one spline for each nuisance parameter and a small polynomial for each pair.
Products of three or more nuisance parameters are neglected, because they are of third order in the
effects of the nuisance parameters.  All coefficients are polynomials in the parameters of interest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from milinfer.exceptions import ModelError, SampleError
from milinfer.likelihood.code4 import log_interpolation
from milinfer.likelihood.response_terms import ResponseTable, ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import WeightSums
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, point_matrix

__all__ = [
    "ExpectedResponse",
    "LogYield",
    "expected_response",
    "expected_response_of_parts",
    "weight_sums_at_points",
    "weights_at",
    "weights_at_points",
]

# Values of a nuisance parameter, in units of its limit, at which ln κ is computed; four of them are
# used for pairs.
_NODES = np.linspace(-1.0, 1.0, 25)
_PAIR_NODES = np.array([4, 8, 16, 20])
_PAIR_POWERS = ((1, 1), (2, 1), (1, 2), (2, 2))
_NONE = np.empty(0)
_BLOCKS = 20
_MOST_DEGREES = 4


class LogYield(NamedTuple):
    """ln κ at one point, and its derivatives.

    κ is the expected number of events divided by its nominal value.

    Parameters
    ----------
    value
        ln κ.
    nuisances
        Derivative with respect to each nuisance parameter, shape (n_nuisances,).
    parameters
        Derivative with respect to each parameter of interest, shape (n_parameters,).
    """

    value: float
    nuisances: FloatArray
    parameters: FloatArray


@dataclass(frozen=True, eq=False)
class ExpectedResponse:
    """κ(θ, α), the expected number of events of a process divided by its nominal value.

    :func:`expected_response` computes it.

    Parameters
    ----------
    nuisances
        Names of the nuisance parameters α.
    limits
        Largest absolute value of each nuisance parameter, shape (n_nuisances,).
    basis
        Monomials of the parameters of interest θ; None if the process does not depend on θ.
    singles
        Coefficients of the splines, shape (n_replicas, n_nuisances, n_cells, 4, n_monomials),
        highest power first.  The first replica is computed from all events.  Each other replica
        leaves out some events, to determine the Monte-Carlo error.
    pairs
        Symmetric matrices M for pairs of nuisance parameters, shape (n_replicas, n_monomials, 2
        n_nuisances, 2 n_nuisances).  A matrix M adds v·M·v to ln κ, with v = (u, u²) and u = α
        divided by its limit.
    """

    nuisances: tuple[str, ...]
    limits: FloatArray
    basis: PolynomialBasis | None
    singles: FloatArray
    pairs: FloatArray

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters of interest on which the expected number of events depends."""
        return self.basis.parameters if self.basis is not None else ()

    def log_yield(self, alpha: FloatArray, theta: FloatArray | None = None) -> LogYield:
        """Return ln κ and its derivatives at one point.

        κ is the expected number of events divided by its nominal value.

        Parameters
        ----------
        alpha
            Values of the nuisance parameters, shape (n_nuisances,).
        theta
            Values of the parameters of interest, shape (n_parameters,); needed if κ depends on
            them.
        """
        return LogYield(*self._log_yield(0, alpha, theta))

    def error(self, alpha: FloatArray, theta: FloatArray | None = None) -> float:
        """Return the Monte-Carlo error of ln κ, from replicas that each leave out some events.

        κ is the expected number of events divided by its nominal value.
        """
        replicas = range(1, len(self.singles))
        values = np.array([self._log_yield(r, alpha, theta)[0] for r in replicas])
        n = len(values)
        return float(np.sqrt((n - 1) / n * np.sum((values - values.mean()) ** 2)))

    @cached_property
    def exponents(self) -> IntArray:
        """Powers of the parameters of interest in the monomials.

        The shape is (n_monomials, n_parameters).
        """
        return self.basis.exponents if self.basis is not None else np.empty((1, 0), dtype=np.int64)

    def _log_yield(
        self, replica: int, alpha: FloatArray, theta: FloatArray | None
    ) -> tuple[float, FloatArray, FloatArray]:
        """Ln κ, and its derivatives by nuisance parameters and parameters of interest."""
        from milinfer.likelihood.nuisance_kernels import log_yield

        if self.basis is None:
            theta = _NONE
        elif theta is None:
            msg = f"the expected yield depends on {', '.join(self.parameters)}; give their values"
            raise ModelError(msg)
        singles, pairs = self.singles[replica], self.pairs[replica]
        return log_yield(singles, pairs, self.limits, self.exponents, alpha, theta)


def weights_at_points(samples: SampleSet) -> list[tuple[Point, list[FloatArray | None]]]:
    """Return the weights of events at every parameter point at which a sample has weights.

    Returns
    -------
    list
        Pairs of a point and a list.  The list contains, for each sample, the weights of its events
        at this point, shape (n_events,), or None if the sample has no weights there.

    Examples
    --------
    >>> samples = SampleSet((Sample(np.zeros((2, 1)), ("x",), point={"c": 0.0},
    ...     reweights={"c1": [1.0, 2.0]}, reweight_points={"c1": {"c": 1.0}}),))
    >>> [(point, weights[0].tolist()) for point, weights in weights_at_points(samples)]
    [({'c': 0.0}, [1.0, 1.0]), ({'c': 1.0}, [1.0, 2.0])]
    """
    names = samples.parameters
    points: dict[tuple[float, ...], Point] = {}
    for sample in samples:
        for point in (sample.point, *sample.reweight_points.values()):
            if set(point) == set(names):
                points.setdefault(tuple(point[n] for n in names), point)
    return [(point, [weights_at(s, point) for s in samples]) for point in points.values()]


def weights_at(sample: Sample, point: Point) -> FloatArray | None:
    """Return the weights of events at a parameter point; None if the sample has no weights there.

    Examples
    --------
    >>> sample = Sample(np.zeros((2, 1)), ("x",), point={"c": 0.0},
    ...     reweights={"c1": [1.0, 2.0]}, reweight_points={"c1": {"c": 1.0}})
    >>> weights_at(sample, {"c": 1.0}), weights_at(sample, {"c": 0.5})
    (array([1., 2.]), None)
    """
    if sample.point == point:
        return sample.weights
    for name, at in sample.reweight_points.items():
        if at == point:
            return sample.reweights[name]
    return None


def expected_response(
    table: Callable[[Sample], ResponseTable], nominal: SampleSet
) -> ExpectedResponse:
    """Compute the mean response S of nominal events at every point for which they have weights.

    Parameters
    ----------
    table
        Function that computes the response of the events of a sample, such as
        :meth:`milinfer.likelihood.responses.Response.table`.
    nominal
        Nominal samples of the process at one or several points; weights at other points are also
        used.

    Raises
    ------
    SampleError
        If the weights at a point do not sum to a positive number.
    ModelError
        If a mean of S is not positive, so that its logarithm is not defined.

    Examples
    --------
    >>> terms = ResponseTerms.of(["jes"])
    >>> nominal = SampleSet((Sample(np.random.default_rng(1).normal(size=(5000, 1)), ("x",)),))
    >>> kappa = expected_response(
    ...     lambda s: ResponseTable(terms, np.c_[0.1 * s.features, 0 * s.features]), nominal)
    >>> value, error = kappa.log_yield(np.array([1.0])).value, kappa.error(np.array([1.0]))
    >>> bool(abs(value - 0.1**2 / 2) < 4 * error), bool(0.5e-3 < error < 3e-3)
    (True, True)
    """
    return expected_response_of_parts(table, [nominal], weight_sums_at_points(nominal))


def weight_sums_at_points(nominal: SampleSet) -> list[list[WeightSums | None]]:
    """Return the sums of the weights of :func:`weights_at_points`, for each point and sample.

    Examples
    --------
    >>> weight_sums_at_points(SampleSet((Sample(np.zeros((2, 1)), ("x",)),)))[0][0].total
    np.float64(2.0)
    """
    return [
        [None if w is None else WeightSums.over(w) for w in weights]
        for _, weights in weights_at_points(nominal)
    ]


def expected_response_of_parts(
    table: Callable[[Sample], ResponseTable],
    parts: Iterable[SampleSet],
    weight_sums: Sequence[Sequence[WeightSums | None]],
) -> ExpectedResponse:
    """Compute the mean response S of nominal events that are read in several parts.

    It is the result of :func:`expected_response` for all parts together.

    Parameters
    ----------
    table
        Function that computes the response of the events of a sample.
    parts
        The parts.  Each contains events of every nominal sample, and the weights of all parts have
        the same normalisation.
    weight_sums
        Sums of the weights of all parts, from :func:`weight_sums_at_points`.

    Raises
    ------
    SampleError
        If the weights at a point do not sum to a positive number.
    ModelError
        If a mean of S is not positive, so that its logarithm is not defined.
    """
    from scipy.interpolate import CubicSpline

    sums: _Sums | None = None
    for nominal in parts:
        at_points = weights_at_points(nominal)
        if sums is None:
            points = [point for point, _ in at_points]
            _require_positive_weights(nominal, points, weight_sums)
        tables = [table(s) for s in nominal]
        terms, parameters = tables[0].terms, nominal.parameters
        if sums is None:
            sums = _Sums.zero(len(points), len(terms.nuisances))
        _add(sums, tables, at_points, terms, weight_sums)
        del nominal, tables, at_points  # frees them before the next part is read
    assert sums is not None
    basis, to_monomials = _theta_basis(parameters, points)
    singles, pairs = [], []
    for left_out in (None, *range(_BLOCKS)):
        keep = np.arange(_BLOCKS) != (-1 if left_out is None else left_out)
        totals = sums.totals[:, keep].sum(axis=1)
        means = sums.singles[:, keep].sum(axis=1) / totals[:, None, None]
        pair_means = sums.pairs[:, keep].sum(axis=1) / totals[:, None, None, None]
        _require_positive(means, terms.nuisances)
        log_single = np.log(means)  # (points, nuisances, nodes)
        spline = CubicSpline(_NODES, np.moveaxis(log_single, -1, 0), axis=0)
        # (4, cells, points, nuisances) → (nuisances, cells, 4, monomials)
        singles.append(np.einsum("dcjk,pj->kcdp", spline.c, to_monomials))
        of_pairs = np.einsum("jqd,pj->pqd", _pair_fit(pair_means, log_single), to_monomials)
        pairs.append(_symmetric(of_pairs, len(terms.nuisances)))
    return ExpectedResponse(
        nuisances=terms.nuisances,
        limits=np.array([high for _, high in terms.limits]),
        basis=basis,
        singles=np.stack(singles),
        pairs=np.stack(pairs),
    )


def _require_positive(means: FloatArray, names: Sequence[str]) -> None:
    if not np.all(means > 0):
        k = int(np.argwhere(~(means > 0))[0][1])
        msg = (
            f"the mean response to {names[k]} is not positive because events of negative weight "
            "dominate; use more events, or a lower limit="
        )
        raise ModelError(msg)


def _pair_fit(means: FloatArray, log_single: FloatArray) -> FloatArray:
    """Return the contributions of pairs to ln κ, shape (n_points, n_pairs, 4)."""
    index = list(combinations(range(log_single.shape[1]), 2))
    u = _NODES[_PAIR_NODES]
    grid = np.array([[a**p * b**q for p, q in _PAIR_POWERS] for a in u for b in u])
    inverse = np.linalg.pinv(grid)
    at_nodes = log_single[:, :, _PAIR_NODES]
    out = np.zeros((len(means), len(index), len(_PAIR_POWERS)))
    for q, (k, m) in enumerate(index):
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = np.log(means[:, q]) - at_nodes[:, k, :, None] - at_nodes[:, m, None, :]
        out[:, q] = rest.reshape(len(means), -1) @ inverse.T
    if not np.isfinite(out).all():
        msg = (
            "the mean response to two nuisance parameters together is not positive; use more "
            "events, or a lower limit="
        )
        raise ModelError(msg)
    return out


def _symmetric(coefficients: FloatArray, n: int) -> FloatArray:
    """Matrices of the pairs, (n_monomials, 2n, 2n), from coefficients (n_monomials, n_pairs, 4)."""
    out = np.zeros((len(coefficients), 2 * n, 2 * n))
    for q, (k, m) in enumerate(combinations(range(n), 2)):
        for d, (p, r) in enumerate(_PAIR_POWERS):
            row, column = k + n * (p - 1), m + n * (r - 1)
            out[:, row, column] = out[:, column, row] = coefficients[:, q, d] / 2
    return out


def _theta_basis(
    names: tuple[str, ...], points: Sequence[Point]
) -> tuple[PolynomialBasis | None, FloatArray]:
    """Return the monomials of θ, and the matrix from values at the points to coefficients."""
    if not names or len(points) == 1:
        return None, np.full((1, len(points)), 1 / len(points))
    theta = point_matrix(names, points)
    for degree in range(_MOST_DEGREES, 0, -1):
        basis = PolynomialBasis(names, degree)
        design = basis.design(theta)
        if len(theta) >= len(basis) and np.linalg.cond(design) < 1e6:
            inverse: FloatArray = np.asarray(np.linalg.pinv(design), dtype=np.float64)
            return basis, inverse
    return None, np.full((1, len(points)), 1 / len(points))


class _Sums(NamedTuple):
    """Weighted sums over the events of each part, at every point.

    `totals` (n_points, n_blocks) are sums of weights, `singles` (…, n_nuisances, n_nodes) sums of S
    for one nuisance parameter, and `pairs` (…, n_pairs, 4, 4) for two.
    """

    totals: FloatArray
    singles: FloatArray
    pairs: FloatArray

    @classmethod
    def zero(cls, n_points: int, n_nuisances: int) -> _Sums:
        """Sums over no events."""
        n_pairs = n_nuisances * (n_nuisances - 1) // 2
        return cls(
            np.zeros((n_points, _BLOCKS)),
            np.zeros((n_points, _BLOCKS, n_nuisances, len(_NODES))),
            np.zeros((n_points, _BLOCKS, n_pairs, len(_PAIR_NODES), len(_PAIR_NODES))),
        )


def _require_positive_weights(
    nominal: SampleSet,
    points: Sequence[Point],
    weight_sums: Sequence[Sequence[WeightSums | None]],
) -> None:
    for point, row in zip(points, weight_sums, strict=True):
        for sample, own in zip(nominal, row, strict=True):
            if own is not None and not own.total > 0:
                msg = (
                    f"{sample.label}: the weights at {format_point(point)} sum to {own.total:g}; "
                    "omit this weight or this sample"
                )
                raise SampleError(msg)


def _add(
    sums: _Sums,
    tables: Sequence[ResponseTable],
    at_points: Sequence[tuple[Point, Sequence[FloatArray | None]]],
    terms: ResponseTerms,
    weight_sums: Sequence[Sequence[WeightSums | None]],
) -> None:
    """Add the events of some tables to the sums."""
    k = len(terms.nuisances)
    index = list(combinations(range(k), 2))
    rows, columns = np.array(index, dtype=np.int64).reshape(-1, 2).T
    for number, table in enumerate(tables):
        n = len(table.columns)
        bounds = np.linspace(0, n, _BLOCKS + 1).astype(np.int64)
        scaled = []
        for (_, weights), row in zip(at_points, weight_sums, strict=True):
            own, whole = weights[number], row[number]
            if own is not None and whole is not None:
                # Samples count in proportion to their statistical power at this point.
                own = own / whole.total * whole.effective_number()
            scaled.append(own)
        for block in range(_BLOCKS):
            part = slice(bounds[block], bounds[block + 1])
            piece = table.take(part)
            responses: _PartResponses | None = None
            for j, (point, own) in enumerate(
                (p, w) for (p, _), w in zip(at_points, scaled, strict=True)
            ):
                if own is None:
                    continue
                if responses is None or terms.parameters:
                    responses = _part_responses(piece, point)
                w = own[part]
                sums.totals[j, block] += w.sum()
                flat = responses.singles.reshape(len(w), -1)
                sums.singles[j, block] += (w @ flat).reshape(k, len(_NODES))
                if not index:
                    continue
                nodes = responses.singles[:, :, _PAIR_NODES].reshape(len(w), -1)
                both = ((nodes * w[:, None]).T @ nodes).reshape(
                    k, len(_PAIR_NODES), k, len(_PAIR_NODES)
                )
                sums.pairs[j, block] += both[rows, :, columns, :]
                for q, crossing in responses.cross.items():
                    first, second = index[q]
                    corrected = np.einsum(
                        "i,ia,ib,iab->ab",
                        w,
                        responses.singles[:, first, _PAIR_NODES],
                        responses.singles[:, second, _PAIR_NODES],
                        crossing - 1,
                        optimize=True,
                    )
                    sums.pairs[j, block, q] += corrected


class _PartResponses(NamedTuple):
    """S of one nuisance parameter at the nodes (n, n_nuisances, n_nodes), and factors of pairs."""

    singles: FloatArray
    cross: dict[int, FloatArray]


def _part_responses(table: ResponseTable, point: Point) -> _PartResponses:
    terms = table.terms
    theta = np.array([point[n] for n in terms.parameters]) if terms.parameters else None
    mixing = terms.mixing(theta)
    columns = np.tensordot(
        table.columns.astype(np.float64).reshape(len(table.columns), len(mixing), terms.n_terms),
        mixing,
        axes=(1, 0),
    )
    limits = np.array([high for _, high in terms.limits])
    k = len(terms.nuisances)
    logs = np.empty((len(columns), k, len(_NODES)))
    for j in range(k):
        alpha = _NODES * limits[j]
        if terms.interpolation == "code4":
            for m, a in enumerate(alpha.tolist()):
                logs[:, j, m] = log_interpolation(a, columns[:, j], columns[:, k + j])[0]
            continue
        alone = np.count_nonzero(terms.exponents, axis=1) == 1
        own = np.flatnonzero(alone & (terms.exponents[:, j] > 0))
        logs[:, j] = columns[:, own] @ (alpha[None] ** terms.exponents[own, j][:, None])
    cross: dict[int, FloatArray] = {}
    if terms.interpolation == "polynomial":
        for q, (a, b) in enumerate(combinations(range(k), 2)):
            mixed = np.flatnonzero((terms.exponents[:, a] > 0) & (terms.exponents[:, b] > 0))
            if len(mixed):
                x, y = _NODES[_PAIR_NODES] * limits[a], _NODES[_PAIR_NODES] * limits[b]
                factors = (
                    x[None, :, None] ** terms.exponents[mixed, a][:, None, None]
                    * y[None, None, :] ** terms.exponents[mixed, b][:, None, None]
                )
                cross[q] = np.exp(np.tensordot(columns[:, mixed], factors, axes=1))
    return _PartResponses(np.exp(logs), cross)
