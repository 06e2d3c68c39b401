"""Choose bins in two observables so that they keep the most Fisher information at a point.

The bins form a grid, given by the edges of the first and of the second observable.  If the edges of
one observable are fixed, the best edges of the other observable are found exactly
(:func:`milinfer.binned.binning.best_merge`).  :func:`fisher_grid` does this for the two observables
in turn until the edges no longer change.
"""

from __future__ import annotations

import numpy as np

from milinfer.binned.binning import (
    BinEdges,
    best_merge,
    bin_of_values,
    fit_bins,
    polynomial_degree,
    quantile_bins,
    too_few_events,
    yields_of,
)
from milinfer.binned.weighted_templates import EventYields, cross_section_weights, weight_points
from milinfer.exceptions import TemplateError
from milinfer.likelihood.observables import Observable, observable_name, observable_values
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, point_matrix

__all__ = ["events_at", "fisher_grid"]

# Least number of rows and of columns of the fine histogram.
_FINE = 120
# Information of one event over the range of the points that is no more than rounding: weights are
# polynomials to 1e-6.
_NOTHING = 1e-12
# Turns after which edges are taken as they are; they rarely change after five.
_TURNS = 30


def events_at(
    samples: SampleSet, at: Point, degree: int | None = None, yields: EventYields | None = None
) -> tuple[FloatArray, FloatArray]:
    """Cross-section that each event contributes at a point, and its derivatives.

    Parameters
    ----------
    samples
        Samples with cross-sections in pb.
    at
        Parameter point.
    degree
        Degree of the polynomial through the samples, used if `yields` is None; default: 4.
    yields
        Result of :func:`milinfer.binned.weighted_templates.event_yields`: what the events
        contribute at every θ through their weights.  None: the events of a sample belong to its own
        point, and a polynomial through the samples gives their contribution at other points.

    Returns
    -------
    tuple of ndarray
        Cross-sections of the events, shape (n_events,), and derivatives with respect to the
        parameters, shape (n_parameters, n_events), in pb.  The events are in the order of the
        samples.

    Raises
    ------
    TemplateError
        If the samples do not determine the polynomial.
    SampleError
        If a sample has no cross-section.

    Examples
    --------
    A line through samples at −1 and +1 has at 0 half of their sum, and the slope is half of their
    difference:

    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(100, [-1.0, 1.0], seed=1)
    >>> value, slope = events_at(samples, {"mu": 0.0}, degree=1)
    >>> (100 * value[[0, -1]]).round(9), (100 * slope[:, [0, -1]]).round(9)
    (array([0.5, 0.5]), array([[-0.5,  0.5]]))
    """
    if yields is not None:
        theta = yields.basis.array(at)
        gradient = yields.basis.design_gradient(theta)
        return yields.at(theta), np.concatenate([gradient @ p.T for p in yields.polynomials], 1)
    basis = PolynomialBasis(samples.parameters, polynomial_degree(degree, None))
    points = point_matrix(samples.parameters, [s.point for s in samples])
    weights = [cross_section_weights(s) for s in samples]
    # The fit is linear in the contents, if all bins of a sample have the same error.
    errors = np.array([np.sqrt(np.sum(w**2)) for w in weights])
    one = np.eye(len(weights))
    fit = fit_bins(basis, points, one, np.repeat(errors[:, None], len(weights), axis=1))
    theta = basis.array(at)
    value = (basis.design(theta) @ fit.coefficients)[0]
    slope = basis.design_gradient(theta) @ fit.coefficients
    return (
        np.concatenate([w * v for w, v in zip(weights, value, strict=True)]),
        np.concatenate([w * v[:, None] for w, v in zip(weights, slope.T, strict=True)], axis=1),
    )


def fisher_grid(
    samples: SampleSet,
    observables: tuple[Observable, Observable],
    n_bins: tuple[int, int],
    at: Point,
    *,
    degree: int | None = None,
    weight_degree: int | None = None,
    min_effective: float = 10.0,
    min_share: float = 0.0,
    yields: EventYields | None = None,
) -> tuple[BinEdges, BinEdges]:
    """Choose edges for two observables whose grid of bins keeps the most Fisher information.

    The information is that of the shape, at the point `at`.  With several parameters it is a
    matrix.  It is measured relative to the information matrix of a grid of bins with equal content
    on each axis, and its trace is maximised.  If the bins of this grid have enough events, the
    chosen bins have at least its information.

    Parameters
    ----------
    samples
        Samples with cross-sections in pb.
    observables
        Two features, or functions of a sample.  Take observables that are not correlated, such as
        :func:`milinfer.likelihood.observables.independent_scores`.  If they are correlated, the
        corners of the grid are nearly empty.
    n_bins
        Number of bins of the first and of the second observable.
    at
        Parameter point at which the information is taken.
    degree, weight_degree, min_effective, min_share, yields
        As for :func:`milinfer.binned.binning.fisher_bins`; the minima hold for every bin of the
        grid.

    Returns
    -------
    tuple of BinEdges
        Edges of both observables, for ``Templates.from_samples(bins=…)`` with other samples.

    Raises
    ------
    TemplateError
        If every choice of edges leaves a bin below `min_effective` or `min_share`, or the
        observables are not sensitive to a parameter.
    SampleError
        If a sample has no cross-section, or the event weights are not polynomials of degree
        `weight_degree`.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> at = {"c1": 0.0, "c2": 0.0}
    >>> samples = quadratic.samples(20_000, [at], seed=1)
    >>> first, second = fisher_grid(samples, ("x1", "x3"), (6, 4), at, weight_degree=2)
    >>> len(first), len(second)
    (7, 5)
    """
    names = tuple(observable_name(o) for o in observables)
    title = " × ".join(names)
    if min(n_bins) < 2:
        msg = f"{title}: n_bins = {n_bins}; each axis needs two or more bins"
        raise TemplateError(msg)
    degree = polynomial_degree(degree, weight_degree)
    yields = yields_of(samples, weight_degree, yields)
    value, slope = events_at(samples, at, degree, yields)
    fine, index = [], []
    for observable, name, n in zip(observables, names, n_bins, strict=True):
        values = [observable_values(s, observable, name) for s in samples]
        fine.append(quantile_bins(values, n * -(-_FINE // n), name))
        index.append(bin_of_values(fine[-1], np.concatenate(values)))
    if yields is None:
        own = np.concatenate([np.full(len(s), k) for k, s in enumerate(samples)])
        weights = [np.where(own == k, np.concatenate([s.weights for s in samples]), 0.0)
                   for k in range(len(samples))]  # fmt: skip
    else:
        weights = [value]
    total = value.sum()
    share = value / total
    tables = np.stack(
        [
            _table(index, fine, column)
            for column in (
                share,
                *(slope / total - share * (slope.sum(axis=1, keepdims=True) / total)),
                *(w**power for w in weights for power in (1, 2)),
            )
        ]
    )
    edges = [np.linspace(0, len(f) - 1, n + 1).astype(np.int64)
             for f, n in zip(fine, n_bins, strict=True)]  # fmt: skip
    n_parameters = len(slope)
    normalised = _normalised(tables, edges, n_parameters, np.ptp(weight_points(samples), axis=0))
    if normalised is None:
        msg = (
            f"{title} are not sensitive to a parameter, or to a combination of parameters, at "
            f"{format_point(at)}; use other observables"
        )
        raise TemplateError(msg)
    tables[1 : n_parameters + 1] = normalised
    for _ in range(_TURNS):
        before = [e.tolist() for e in edges]
        for axis in (0, 1):
            # Rows are merged next, columns are as they are.
            merged = _merged(tables, 2 - axis, edges[1 - axis])
            rows = merged if axis == 0 else merged.swapaxes(1, 2)
            chosen = best_merge(
                rows[0],
                rows[1 : n_parameters + 1],
                rows[n_parameters + 1 :].reshape(len(weights), 2, *rows.shape[1:]),
                n_bins[axis],
                min_effective,
                min_share,
            )
            if chosen is None:
                bins = " × ".join(map(str, n_bins))
                raise TemplateError(
                    too_few_events(title, bins, at, min_effective, min_share, yields is not None)
                )
            edges[axis] = chosen
        if [e.tolist() for e in edges] == before:
            break
    sketches = sketch_each(samples)
    first, second = (BinEdges.of(f[e], sketches) for f, e in zip(fine, edges, strict=True))
    return first, second


def _table(index: list[IntArray], fine: list[FloatArray], column: FloatArray) -> FloatArray:
    """Sums of a column of the events in each fine bin of two observables."""
    shape = tuple(len(f) - 1 for f in fine)
    flat = np.ravel_multi_index(tuple(index), shape)
    sums = np.bincount(flat, column, shape[0] * shape[1]).astype(np.float64)
    return sums.reshape(shape)


def _merged(tables: FloatArray, axis: int, edges: IntArray) -> FloatArray:
    """Tables whose bins are merged on one axis."""
    merged: FloatArray = np.add.reduceat(tables, edges[:-1], axis=axis)
    return merged


def _normalised(
    tables: FloatArray, edges: list[IntArray], n_parameters: int, spans: FloatArray
) -> FloatArray | None:
    """Slopes in units in which the information of the quantiles is the unit matrix.

    None if they have no information about a parameter, or a combination of them, within the points.
    """
    grid = _merged(_merged(tables, 1, edges[0]), 2, edges[1])
    filled = grid[0] > 0
    share, slope = grid[0][filled], grid[1 : n_parameters + 1, filled]
    full = np.einsum("pb,qb,b->pq", slope, slope, 1.0 / share)
    if np.linalg.eigvalsh(full * np.outer(spans, spans))[0] <= _NOTHING:
        return None
    columns = tables[1 : n_parameters + 1]
    solved = np.linalg.solve(np.linalg.cholesky(full), columns.reshape(n_parameters, -1))
    return np.asarray(solved, dtype=np.float64).reshape(columns.shape)
