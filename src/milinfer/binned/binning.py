"""Choose bin edges: for equal contents, for enough events, or for the most information.

:func:`fisher_bins` starts from a fine histogram and merges its bins so that they keep the most
Fisher information at a point.  The information is a sum over bins, so the best way to merge a given
fine histogram is found exactly, by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.weighted_templates import (
    EventYields,
    cross_section_weights,
    event_yields,
    require_yields,
)
from milinfer.exceptions import ParameterError, TemplateError
from milinfer.likelihood.observables import Observable, observable_name, observable_values
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit, point_matrix

__all__ = [
    "BinEdges",
    "best_merge",
    "bin_of_values",
    "bins_with_enough",
    "checked_edges",
    "fisher_bins",
    "fit_bins",
    "polynomial_degree",
    "quantile_bins",
    "too_few_events",
    "yields_of",
]


def checked_edges(edges: ArrayLike, name: str) -> FloatArray:
    """Check bin edges and return them as an array, shape (n_bins + 1,).

    Raises
    ------
    TemplateError
        If the edges are not finite, do not ascend, or make fewer than two bins.

    Examples
    --------
    >>> checked_edges([0, 1, 2], "m_ll")
    array([0., 1., 2.])
    """
    array = np.asarray(edges, dtype=np.float64)
    good = array.ndim == 1 and len(array) >= 3 and np.isfinite(array).all()
    if not (good and np.all(np.diff(array) > 0)):
        msg = f"{name}: give at least three ascending, finite edges, not {edges!r}"
        raise TemplateError(msg)
    return array


def quantile_bins(values: Sequence[FloatArray], n_bins: int, name: str) -> FloatArray:
    """Choose edges so that all bins have the same number of events, all samples counted together.

    Parameters
    ----------
    values
        Values of the observable, one array of shape (n_events,) for each sample.
    n_bins
        Number of bins.
    name
        Name of the observable, for messages.

    Returns
    -------
    ndarray
        Edges, shape (n_bins + 1,); the last edge is just above the largest value.

    Raises
    ------
    TemplateError
        If `n_bins` is less than two, or so many events have the same value that two edges coincide.

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
            f"{name}: {n_bins} quantiles do not give two or more bins, because too many events "
            "have "
            "the same value; give the edges explicitly"
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

    The bin with the fewest effective events is merged with one of its two neighbours, the one with
    fewer effective events.  This is repeated until all bins have enough.

    Parameters
    ----------
    edges
        Edges to start from, shape (n_bins + 1,).  The first and the last bin also contain the
        events beyond the outer edges.
    values, weights
        The observable and the weights in each sample, each of shape (n_events,).
    minimum
        Smallest number of effective events that a bin may have; a bin with 10 has an error of 32 %.
    name
        Name of the observable, for messages.

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
        index = bin_of_values(edges, x)
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


# A smaller share of the events is that of an empty bin, up to rounding of either sign.
_EMPTY = 1e-12


class BinEdges(np.ndarray[Any, np.dtype[np.float64]]):
    """Array of bin edges, shape (n_bins + 1,), that records with which events they were chosen.

    It behaves like any array.  Fingerprints of these events are kept, so that milinfer notices if a
    histogram is filled with the same events.

    Attributes
    ----------
    chosen_on
        Fingerprints of these events (:mod:`milinfer.samples.fingerprints`); empty if the edges were
        chosen without events.

    Examples
    --------
    >>> edges = BinEdges.of([0.0, 1.0, 4.0], chosen_on=("a1",))
    >>> float(edges[1]), edges.chosen_on, np.diff(edges).tolist()
    (1.0, ('a1',), [1.0, 3.0])
    """

    chosen_on: tuple[str, ...]

    @classmethod
    def of(cls, edges: ArrayLike, chosen_on: Sequence[str]) -> BinEdges:
        """Make bin edges from an array and the fingerprints for `chosen_on`."""
        made = np.array(edges, dtype=np.float64).view(cls)
        made.chosen_on = tuple(chosen_on)
        return made

    def __array_finalize__(self, other: Any) -> None:
        # Parts and copies were chosen on the same events.
        self.chosen_on = getattr(other, "chosen_on", ())


def fisher_bins(
    samples: SampleSet,
    observable: Observable,
    n_bins: int,
    at: Point,
    *,
    degree: int | None = None,
    weight_degree: int | None = None,
    n_fine: int | None = None,
    min_effective: float = 10.0,
    min_share: float = 0.0,
    yields: EventYields | None = None,
) -> BinEdges:
    """Choose edges for one observable so that the bins keep the most Fisher information.

    The information is that of the shape, at the point `at`.  With several parameters it is a
    matrix.  It is measured relative to the information matrix of a fine histogram, and its trace is
    maximised.

    Parameters
    ----------
    samples
        Samples with cross-sections in pb.
    observable
        Name of a feature, or a function of a sample.
    n_bins
        Number of bins.
    at
        Parameter point at which the information is taken.
    degree
        Degree of the polynomial in the parameters that describes each fine bin; default:
        `weight_degree` if that is given, and 4 if not.
    weight_degree
        Degree of the event weights, if these are polynomials in the parameters; all events then
        contribute at every θ, as in :meth:`milinfer.Templates.from_samples`.  None: each sample
        contributes at its own point.
    n_fine
        Number of bins of the fine histogram; it is rounded up to a multiple of `n_bins`.  The fine
        bins have equal content.  Default: the first of the numbers 200, 100, 50 and `n_bins` with
        which no fine bin is empty at the point `at`.
    min_effective
        Smallest number of effective events (Σw)²/Σw² that a bin may have.  Without `weight_degree`
        every sample must have this number in the bin.  With `weight_degree` all samples together
        must have it, with their weights at the point `at`.
    min_share
        Smallest fraction of the expected events that a bin may have at the point `at`, such as five
        divided by the number of data events.
    yields
        Result of :func:`milinfer.binned.weighted_templates.event_yields` for these samples.
        Default: it is computed, which takes a second for some 100 000 events.

    Returns
    -------
    BinEdges
        Edges, shape (n_bins + 1,), for ``Templates.from_samples(bins=…)`` with other samples.

    Raises
    ------
    TemplateError
        If every choice of edges leaves a bin below `min_effective` or `min_share`, or the fine
        histogram cannot be made.
    SampleError
        If a sample has no cross-section, or the event weights are not polynomials of degree
        `weight_degree`.

    Notes
    -----
    Fill the templates with other samples.  The choice of edges follows the fluctuations of the
    events in the fine bins, so the chosen bins seem to have too much information *in these
    samples*.  If the same samples fill the templates, the templates change too steeply with θ,
    estimates are pulled to the reference, and intervals are too short.

    Examples
    --------
    Two bins of a Gaussian keep at best 2/π of the information about its mean:

    >>> from milinfer.binned.templates import Templates
    >>> from milinfer.datasets import gaussian
    >>> first, second = (gaussian.samples(50_000, [-0.3, 0.0, 0.3], seed=s) for s in (1, 2))
    >>> edges = fisher_bins(first, "x0", 2, {"mu": 0.0}, degree=2)
    >>> templates = Templates.from_samples(second, "x0", bins=edges, degree=2)
    >>> bool(abs(templates.information({"mu": 0.0})[0, 0] - 2 / np.pi) < 0.03)
    True
    """
    name = observable_name(observable)
    if n_bins < 2:
        msg = f"{name}: n_bins = {n_bins}, but a shape needs two or more bins"
        raise TemplateError(msg)
    degree = polynomial_degree(degree, weight_degree)
    values = [observable_values(s, observable, name) for s in samples]
    yields = yields_of(samples, weight_degree, yields)
    for least in (200, 100, 50, n_bins) if n_fine is None else (n_fine,):
        fine = n_bins * max(1, -(-least // n_bins))
        edges = quantile_bins(values, fine, name)
        if yields is None:
            basis, fit = _fit_fine(samples, values, edges, degree)
        else:
            basis = yields.basis
            fit = yields.fill([bin_of_values(edges, x) for x in values], fine)
        share, slope = _share_and_slope(basis, fit, at)
        if share.min() > _EMPTY:
            break
    # Relative to the information of all fine bins, the scale of a parameter does not matter.
    full = np.einsum("pb,qb,b->pq", slope, slope, 1.0 / _require_positive(share, edges, at, name))
    slope = np.asarray(np.linalg.solve(np.linalg.cholesky(full), slope), dtype=np.float64)
    weights = [s.weights for s in samples]
    if yields is not None:
        values, weights = [np.concatenate(values)], [yields.at(yields.basis.array(at))]
    events = np.stack([_weight_sums(w, x, edges) for w, x in zip(weights, values, strict=True)])
    chosen = best_merge(
        share[:, None], slope[:, :, None], events[..., None], n_bins, min_effective, min_share
    )
    if chosen is None:
        raise TemplateError(
            too_few_events(name, str(n_bins), at, min_effective, min_share, yields is not None)
        )
    return BinEdges.of(edges[chosen], sketch_each(samples))


def yields_of(
    samples: SampleSet, weight_degree: int | None, yields: EventYields | None
) -> EventYields | None:
    """What the events contribute at every θ: `yields` if given, or computed from the weights.

    The result is None if neither `yields` nor `weight_degree` is given.

    Raises
    ------
    TemplateError
        If `yields` belong to other samples, or have another degree.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(5, [{"c1": 0.5}], seed=1)
    >>> yields_of(samples, None, None)
    >>> yields_of(samples, 2, event_yields(samples, 2)).basis.degree
    2
    """
    if yields is not None:
        require_yields(yields, samples, weight_degree)
        return yields
    return None if weight_degree is None else event_yields(samples, weight_degree)


def best_merge(
    share: FloatArray,
    slope: FloatArray,
    events: FloatArray,
    n_bins: int,
    min_effective: float,
    min_share: float,
) -> IntArray | None:
    """Merge fine bins into the bins with the most information; None if that is impossible.

    The fine bins form a table.  Neighbouring rows are merged, in the same way in all columns.

    Parameters
    ----------
    share
        Share of the events in each fine bin, shape (n_rows, n_columns).
    slope
        Derivatives of the shares with respect to the P parameters, shape (P, n_rows, n_columns),
        in units in which the information matrix of the fine histogram is the unit matrix.
    events
        Σw and Σw² of each sample, shape (n_samples, 2, n_rows, n_columns).
    n_bins
        Number of rows after merging.
    min_effective, min_share
        Smallest number of effective events (in every sample) and smallest share of the events that
        a bin may have.

    Returns
    -------
    ndarray or None
        Rows at which the merged bins begin, and at the end `n_rows`; shape (n_bins + 1,).

    Examples
    --------
    The slope changes its sign in the middle:

    >>> share, slope = np.full((4, 1), 0.25), np.array([[[-1.0], [-1.0], [1.0], [1.0]]])
    >>> best_merge(share, slope, np.ones((1, 2, 4, 1)), 2, 1.0, 0.0)
    array([0, 2, 4])
    """
    # best[j]: largest information of the first j rows in k bins.
    # previous[k][j]: the row at which the last of those k bins begins.
    n_rows = len(share)
    best = np.full(n_rows + 1, -np.inf)
    best[0] = 0.0
    previous = np.zeros((n_bins, n_rows + 1), dtype=np.int64)
    gain = np.zeros((n_rows + 1, n_rows + 1))
    for c in range(share.shape[1]):
        gain += _bin_information(
            _cumulative(share[None, :, c])[0],
            _cumulative(slope[:, :, c]),
            np.stack([_cumulative(e) for e in events[..., c]]),
            min_effective,
            min_share,
        )
    for k in range(n_bins):
        total = best[:, None] + gain
        previous[k] = np.argmax(total, axis=0)
        best = np.max(total, axis=0)
    if not np.isfinite(best[-1]):
        return None
    chosen = [n_rows]
    for k in reversed(range(n_bins)):
        chosen.append(int(previous[k][chosen[-1]]))
    return np.array(chosen[::-1], dtype=np.int64)


def too_few_events(
    name: str, bins: str, at: Point, min_effective: float, min_share: float, weighted: bool
) -> str:
    """Text of the error message if no choice of bins has enough events.

    Examples
    --------
    >>> too_few_events("x0", "8", {"c": 0.0}, 10.0, 0.0, weighted=True)
    'x0: there are no 8 bins with 10 effective events at c=0; use fewer bins or more events'
    """
    return (
        f"{name}: there are no {bins} bins with {min_effective:g} effective events "
        f"{f'at {format_point(at)}' if weighted else 'in every sample'}"
        + (f" and a share of at least {min_share:.2g} there" if min_share else "")
        + "; use fewer bins or more events"
    )


def fit_bins(
    basis: PolynomialBasis, points: FloatArray, contents: FloatArray, errors: FloatArray
) -> PolynomialFit:
    """Fit a polynomial in the parameters to the contents of each bin.

    See :meth:`PolynomialBasis.fit`.

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


def polynomial_degree(degree: int | None, weight_degree: int | None) -> int:
    """Degree of the polynomials of the bins: `degree` or `weight_degree`, or 4 if both are None.

    Raises
    ------
    TemplateError
        If `degree` and `weight_degree` are both given and differ.

    Examples
    --------
    >>> polynomial_degree(None, None), polynomial_degree(None, 2)
    (4, 2)
    """
    if degree is not None and weight_degree is not None and degree != weight_degree:
        msg = (
            f"degree = {degree} differs from weight_degree = {weight_degree}, which already is the "
            "degree of the bins; omit degree"
        )
        raise TemplateError(msg)
    default = 4 if weight_degree is None else weight_degree
    return default if degree is None else degree


def _fit_fine(
    samples: SampleSet, values: Sequence[FloatArray], edges: FloatArray, degree: int
) -> tuple[PolynomialBasis, PolynomialFit]:
    """Polynomials of the fine bins.

    All bins are fitted with the same errors, so that the polynomials of merged bins are the sums.
    """
    basis = PolynomialBasis(samples.parameters, degree)
    points = point_matrix(samples.parameters, [s.point for s in samples])
    contents = np.empty((len(samples), len(edges) - 1))
    errors = np.empty_like(contents)
    for k, (sample, x) in enumerate(zip(samples, values, strict=True)):
        weights = cross_section_weights(sample)
        contents[k] = np.bincount(bin_of_values(edges, x), weights, len(edges) - 1)
        errors[k] = np.sqrt(np.sum(weights**2))
    return basis, fit_bins(basis, points, contents, errors)


def _share_and_slope(
    basis: PolynomialBasis, fit: PolynomialFit, at: Point
) -> tuple[FloatArray, FloatArray]:
    """Share of each bin (n_bins,) and its derivatives (n_parameters, n_bins) at a point."""
    theta = basis.array(at)
    sigma = (basis.design(theta) @ fit.coefficients)[0]
    slope = basis.design_gradient(theta) @ fit.coefficients
    share = sigma / sigma.sum()
    return share, slope / sigma.sum() - share * (slope.sum(axis=1, keepdims=True) / sigma.sum())


def _require_positive(share: FloatArray, edges: FloatArray, at: Point, name: str) -> FloatArray:
    if not np.all(share > 0):
        b = int(np.argmin(share))
        msg = (
            f"{name}: bin [{edges[b]:.4g}, {edges[b + 1]:.4g}) has the fraction {share[b]:.2g} of "
            f"the events at {format_point(at)}, which is not positive; use fewer bins, or more "
            "events"
        )
        raise TemplateError(msg)
    return share


def _bin_information(
    share: FloatArray, slope: FloatArray, events: FloatArray, minimum: float, least: float
) -> FloatArray:
    """Information of the bin from fine edge i to j, shape (i, j); −∞ if it has too few events."""
    width = share[None, :] - share[:, None]
    information = np.zeros_like(width)
    for row in slope:
        information += (row[None, :] - row[:, None]) ** 2
    enough = np.ones(width.shape, dtype=bool)
    for w, w2 in zip(events[:, 0], events[:, 1], strict=True):
        total, squares = w[None, :] - w[:, None], w2[None, :] - w2[:, None]
        enough &= (squares > 0) & (np.maximum(total, 0.0) ** 2 >= minimum * squares * (1 - 1e-9))
    good = np.triu(enough, 1) & (width > 0) & (width >= least * (1 - 1e-9))
    return np.where(good, information / np.where(good, width, 1.0), -np.inf)


def _weight_sums(weights: FloatArray, x: FloatArray, edges: FloatArray) -> FloatArray:
    """Σw and Σw² of each bin, shape (2, n_bins)."""
    index = bin_of_values(edges, x)
    return np.stack([np.bincount(index, p, len(edges) - 1) for p in (weights, weights**2)])


def _cumulative(values: FloatArray) -> FloatArray:
    """Sums of the first 0, 1, … bins, shape (…, n_bins + 1)."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)


def bin_of_values(edges: FloatArray, x: FloatArray) -> IntArray:
    """Bin of each value, shape (n,); the first and the last bin take values beyond the edges.

    Examples
    --------
    >>> bin_of_values(np.array([0.0, 1.0, 2.0]), np.array([-3.0, 1.0, 5.0]))
    array([0, 1, 1])
    """
    inside = np.searchsorted(edges, x, side="right") - 1
    index: IntArray = np.clip(inside, 0, len(edges) - 2).astype(np.int64)
    return index
