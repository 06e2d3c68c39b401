"""Where to put the edges of bins: equal contents, enough events, or the most information.

:func:`fisher_bins` merges a fine histogram into the bins that keep the most Fisher information at a
point.  The information of a set of bins is a sum over bins, so the best set for a given fine
histogram is found exactly, by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, TemplateError
from milinfer.likelihood.observables import Observable, observable_name, observable_values
from milinfer.samples.sample import SampleSet
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit, point_matrix

__all__ = [
    "binned_information",
    "bins_with_enough",
    "checked_edges",
    "fisher_bins",
    "fit_bins",
    "quantile_bins",
]


def checked_edges(edges: ArrayLike, name: str) -> FloatArray:
    """Edges as an array, shape (n_bins + 1,).

    Raises
    ------
    TemplateError
        Unless they ascend, are finite and make two or more bins.

    Examples
    --------
    >>> checked_edges([0, 1, 2], "m_ll")
    array([0., 1., 2.])
    """
    found = np.asarray(edges, dtype=np.float64)
    good = found.ndim == 1 and len(found) >= 3 and np.isfinite(found).all()
    if not (good and np.all(np.diff(found) > 0)):
        msg = f"{name}: {edges!r} are not the ascending edges of two or more bins"
        raise TemplateError(msg)
    return found


def quantile_bins(values: Sequence[FloatArray], n_bins: int, name: str) -> FloatArray:
    """Edges of bins with equal numbers of events of all samples together.

    Parameters
    ----------
    values
        The observable in each sample, each of shape (n_events,).
    n_bins
        Number of bins.
    name
        Of the observable, for messages.

    Returns
    -------
    ndarray
        Shape (n_bins + 1,); the last edge is just above the largest value.

    Raises
    ------
    TemplateError
        If there are fewer than two bins, or many events have the same value.

    Examples
    --------
    >>> import numpy as np
    >>> quantile_bins([np.arange(5.0)], 2, "x").round(6)
    array([0., 2., 4.])
    """
    edges = np.quantile(np.concatenate(values), np.linspace(0, 1, max(n_bins, 0) + 1))
    edges[-1] = np.nextafter(edges[-1], np.inf)
    if n_bins < 2 or not np.all(np.diff(edges) > 0):
        msg = (
            f"{name}: {n_bins} quantiles do not give two or more ascending bins; give the edges "
            "yourself"
        )
        raise TemplateError(msg)
    return edges


def bins_with_enough(
    edges: FloatArray,
    values: Sequence[FloatArray],
    weights: Sequence[FloatArray],
    minimum: float,
    name: str,
) -> FloatArray:
    """Drop edges until every bin has enough effective events (Σw)²/Σw² in every sample.

    The poorest bin is merged with the poorer of its neighbours, until there is none left.

    Parameters
    ----------
    edges
        Shape (n_bins + 1,); the outer bins take what lies beyond.
    values, weights
        The observable and the weights in each sample, each of shape (n_events,).
    minimum
        Effective events; 10 leave a bin an error of 32 %.
    name
        Of the observable, for messages.

    Raises
    ------
    TemplateError
        If fewer than two bins are left.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.1, 0.2, 0.3, 1.5, 2.1, 2.2])
    >>> bins_with_enough(np.array([0.0, 1, 2, 3]), [x], [np.ones(6)], 2.0, "x")
    array([0., 1., 3.])
    """
    edges = np.array(edges, dtype=np.float64)
    sums = np.empty((2, len(values), len(edges) - 1))
    for k, (x, w) in enumerate(zip(values, weights, strict=True)):
        index = _bin_index(edges, x)
        for row, power in enumerate((w, w**2)):
            sums[row, k] = np.bincount(index, power, len(edges) - 1)
    while True:
        squares = np.where(sums[1] > 0, sums[1], 1.0)
        effective = (np.maximum(sums[0], 0.0) ** 2 / squares).min(axis=0)
        if effective.min() >= minimum:
            return edges
        if len(edges) <= 3:
            msg = (
                f"{name}: no two bins have {minimum:g} effective events in every sample; use more "
                "events, or a smaller minimum"
            )
            raise TemplateError(msg)
        b = int(np.argmin(effective))
        # The edge to drop: towards the poorer neighbour, so that good bins stay as they are.
        sides = [e for e in (b, b + 1) if 0 < e < len(edges) - 1]
        drop = min(sides, key=lambda e: effective[e - 1 if e == b else e])
        edges = np.delete(edges, drop)
        sums[:, :, drop - 1] += sums[:, :, drop]
        sums = np.delete(sums, drop, axis=2)


_EMPTY = 1e-12  # an empty bin's share of the events, which rounding makes of either sign


def fisher_bins(
    samples: SampleSet,
    observable: Observable,
    n_bins: int,
    at: Point,
    *,
    degree: int = 4,
    n_fine: int | None = None,
    min_effective: float = 10.0,
) -> FloatArray:
    """Edges of the bins of one observable that keep the most Fisher information at a point.

    In several parameters: the most trace of the information relative to that of the fine histogram.
    Information is that of the shape.

    Parameters
    ----------
    samples
        With cross-sections in pb.
    observable
        Name of a feature, or a function of a sample.
    n_bins
        Number of bins.
    at
        Where.
    degree
        Of the polynomial of each fine bin.
    n_fine
        Least number of bins of the fine histogram; it has quantiles of all samples, a multiple of
        `n_bins`, so that the result is never worse than as many quantiles that have enough events.
        Default: 200, halved while a fine bin is empty at `at`.
    min_effective
        Least number of effective events (Σw)²/Σw² of a bin in every sample.

    Returns
    -------
    ndarray
        Shape (n_bins + 1,), for ``Templates.from_samples(bins=…)``.

    Raises
    ------
    TemplateError
        If no such bins have enough events, or the fine histogram cannot be made.

    Notes
    -----
    The edges are chosen on these samples, which flatters the information of the bins *on these
    samples* by some fine bins' worth of noise; the likelihood itself stays valid, as edges are
    fixed before data are seen.

    Examples
    --------
    Two bins of a Gaussian keep 2/π of the information about its mean, at best:

    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(50_000, [-0.3, 0.0, 0.3], seed=1)
    >>> edges = fisher_bins(samples, "x0", 2, {"mu": 0.0}, degree=2)
    >>> kept = binned_information(samples, "x0", edges, {"mu": 0.0}, degree=2)
    >>> bool(abs(kept[0, 0] - 2 / np.pi) < 0.03)
    True
    """
    name = observable_name(observable)
    if n_bins < 2:
        msg = f"{name}: n_bins = {n_bins}, but a shape has two or more bins"
        raise TemplateError(msg)
    values = [observable_values(s, observable, name) for s in samples]
    for wanted in (200, 100, 50, n_bins) if n_fine is None else (n_fine,):
        fine = n_bins * max(1, -(-wanted // n_bins))
        edges = quantile_bins(values, fine, name)
        share, slope = _shape(samples, values, edges, at, degree)
        if share.min() > _EMPTY:
            break
    # Relative to the information of all fine bins, parameters of any scale count alike.
    full = np.einsum("pb,qb,b->pq", slope, slope, 1.0 / _positive(share, edges, at, name))
    slope = np.asarray(np.linalg.solve(np.linalg.cholesky(full), slope), dtype=np.float64)
    sums = _cumulated(share[None]), _cumulated(slope)
    events = np.stack(
        [_cumulated(_effective(s.weights, x, edges)) for s, x in zip(samples, values, strict=True)]
    )
    # best[j]: the most information of the first j fine bins in k bins; came[k][j]: the last edge.
    best = np.full(fine + 1, -np.inf)
    best[0] = 0.0
    came = np.zeros((n_bins, fine + 1), dtype=np.int64)
    gain = _gains(sums[0][0], sums[1], events, min_effective)
    for k in range(n_bins):
        total = best[:, None] + gain
        came[k] = np.argmax(total, axis=0)
        best = np.max(total, axis=0)
    if not np.isfinite(best[-1]):
        msg = (
            f"{name}: there are no {n_bins} bins with {min_effective:g} effective events in every "
            "sample; use fewer bins or more events"
        )
        raise TemplateError(msg)
    chosen = [fine]
    for k in reversed(range(n_bins)):
        chosen.append(int(came[k][chosen[-1]]))
    found: FloatArray = edges[np.array(chosen[::-1])]
    return found


def binned_information(
    samples: SampleSet, observable: Observable, edges: ArrayLike, at: Point, *, degree: int = 4
) -> FloatArray:
    """Fisher information of the shape of a histogram about the parameters, for one event.

    Parameters
    ----------
    samples, observable, at, degree
        As for :func:`fisher_bins`.
    edges
        Shape (n_bins + 1,); the outer bins take what lies beyond.

    Returns
    -------
    ndarray
        Shape (n_parameters, n_parameters); in one parameter 1/σ² of an estimate from one event.

    Raises
    ------
    TemplateError
        If a bin is not positive at the point.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
    >>> edges = np.linspace(-2, 2, 30)
    >>> found = binned_information(samples, "x0", edges, {"mu": 0.0}, degree=2)
    >>> bool(0.9 < found[0, 0] < 1.05)
    True
    """
    name = observable_name(observable)
    values = [observable_values(s, observable, name) for s in samples]
    checked = checked_edges(edges, name)
    share, slope = _shape(samples, values, checked, at, degree)
    found: FloatArray = np.einsum(
        "pb,qb,b->pq", slope, slope, 1.0 / _positive(share, checked, at, name)
    )
    return found


def fit_bins(
    basis: PolynomialBasis, points: FloatArray, contents: FloatArray, errors: FloatArray
) -> PolynomialFit:
    """Fit a polynomial in the parameters to each bin; see :meth:`PolynomialBasis.fit`.

    Raises
    ------
    TemplateError
        If the points do not determine the polynomial, or a content or error cannot be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> basis = PolynomialBasis(("c",), 1)
    >>> fit = fit_bins(basis, np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]]), np.ones((2, 1)))
    >>> fit.coefficients[:, 0].round(9)
    array([1., 2.])
    """
    try:
        return basis.fit(points, contents, errors)
    except ParameterError as error:
        raise TemplateError(str(error)) from error


def _shape(
    samples: SampleSet, values: Sequence[FloatArray], edges: FloatArray, at: Point, degree: int
) -> tuple[FloatArray, FloatArray]:
    """Share of each bin (n_bins,) and its derivatives (n_parameters, n_bins) at a point.

    All bins are fitted with the same errors, so that the polynomials of merged bins are the sums.
    """
    basis = PolynomialBasis(samples.parameters, degree)
    points = point_matrix(samples.parameters, [s.point for s in samples])
    contents = np.empty((len(samples), len(edges) - 1))
    errors = np.empty_like(contents)
    for k, (sample, x) in enumerate(zip(samples, values, strict=True)):
        if not np.isfinite(sample.cross_section):
            msg = f"{sample.label} has no cross-section; give cross_section= in pb"
            raise TemplateError(msg)
        weights = sample.weights * (sample.cross_section / sample.weights.sum())
        contents[k] = np.bincount(_bin_index(edges, x), weights, len(edges) - 1)
        errors[k] = np.sqrt(np.sum(weights**2))
    fit = fit_bins(basis, points, contents, errors)
    where = basis.array(at)
    sigma = (basis.design(where) @ fit.coefficients)[0]
    slope = basis.design_gradient(where) @ fit.coefficients
    share = sigma / sigma.sum()
    return share, slope / sigma.sum() - share * (slope.sum(axis=1, keepdims=True) / sigma.sum())


def _positive(share: FloatArray, edges: FloatArray, at: Point, name: str) -> FloatArray:
    if not np.all(share > 0):
        b = int(np.argmin(share))
        msg = (
            f"{name}: bin [{edges[b]:.4g}, {edges[b + 1]:.4g}) is morphed to {share[b]:.2g} of the "
            f"events at {format_point(at)}; use fewer bins, or more events"
        )
        raise TemplateError(msg)
    return share


def _gains(share: FloatArray, slope: FloatArray, events: FloatArray, minimum: float) -> FloatArray:
    """Information of the bin from fine edge i to fine edge j, −∞ where it must not be: (i, j)."""
    width = share[None, :] - share[:, None]
    information = np.zeros_like(width)
    for row in slope:
        information += (row[None, :] - row[:, None]) ** 2
    enough = np.ones(width.shape, dtype=bool)
    for w, w2 in zip(events[:, 0], events[:, 1], strict=True):
        total, squares = w[None, :] - w[:, None], w2[None, :] - w2[:, None]
        enough &= (squares > 0) & (np.maximum(total, 0.0) ** 2 >= minimum * squares * (1 - 1e-9))
    good = np.triu(enough, 1) & (width > 0)
    return np.where(good, information / np.where(good, width, 1.0), -np.inf)


def _effective(weights: FloatArray, x: FloatArray, edges: FloatArray) -> FloatArray:
    """Σw and Σw² of each bin, shape (2, n_bins)."""
    index = _bin_index(edges, x)
    return np.stack([np.bincount(index, p, len(edges) - 1) for p in (weights, weights**2)])


def _cumulated(values: FloatArray) -> FloatArray:
    """Sums of the first 0, 1, … bins, shape (…, n_bins + 1)."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)


def _bin_index(edges: FloatArray, x: FloatArray) -> IntArray:
    inside = np.searchsorted(edges, x, side="right") - 1
    index: IntArray = np.clip(inside, 0, len(edges) - 2).astype(np.int64)
    return index
