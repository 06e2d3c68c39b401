"""Histograms at several parameter points, with a polynomial in the parameters for each bin.

The class is `TemplateHistograms`.  Costs and diagnoses use it, and :class:`milinfer.Templates`
fills it from samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.binning import bins_with_enough, checked_edges, quantile_bins
from milinfer.binned.weighted_templates import EventYields, cross_section_weights
from milinfer.exceptions import TemplateError
from milinfer.likelihood.observables import Observable, observable_name, observable_values
from milinfer.samples.fingerprints import any_shared, sketch_each
from milinfer.samples.reweighting import class_points
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit

__all__ = [
    "TemplateAxis",
    "TemplateHistograms",
    "as_counts",
    "bin_index",
    "bin_names",
    "circular_axes",
    "fill_histogram",
    "histogram_axes",
    "histogram_of",
    "make_axes",
]


@dataclass(frozen=True, eq=False)
class TemplateAxis:
    """One observable with its edges.

    Parameters
    ----------
    observable
        Name of a feature, or a function of a :class:`~milinfer.Sample`.
    name
        Name of the observable on axes and in messages.
    edges
        Bin edges, shape (n_bins + 1,).  Events beyond the outer edges are in the first or the last
        bin, so that no event is lost.
    chosen_on
        Fingerprints of the events with which the edges were chosen; see
        :class:`~milinfer.binned.binning.BinEdges`.
    """

    observable: Observable
    name: str
    edges: FloatArray
    chosen_on: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.edges) - 1

    def values(self, sample: Sample) -> FloatArray:
        """Value of the observable of each event, shape (n_events,)."""
        return observable_values(sample, self.observable, self.name)

    def inside(self, sample: Sample) -> FloatArray:
        """Value of the observable of each event, moved inside the outer edges.

        The result has the shape (n_events,).
        """
        low, high = self.edges[0], np.nextafter(self.edges[-1], -np.inf)
        return np.clip(self.values(sample), low, high)

    def index(self, sample: Sample) -> IntArray:
        """Bin of each event, shape (n_events,)."""
        bins = np.searchsorted(self.edges, self.inside(sample), side="right") - 1
        index: IntArray = bins.astype(np.int64)
        return index

    def label(self, b: int) -> str:
        """Text of a bin, such as ``"q0_pt [20, 45)"``."""
        return f"{self.name} [{self.edges[b]:.4g}, {self.edges[b + 1]:.4g})"


def bin_index(axes: Sequence[TemplateAxis], sample: Sample) -> IntArray:
    """Number of the bin of each event, shape (n_events,); the last axis runs fastest.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> axis = TemplateAxis("x0", "x0", np.array([-9.0, 0.0, 9.0]))
    >>> sample = gaussian.generate(3, 0.0, seed=1)
    >>> sample.column("x0").round(2), bin_index([axis], sample)
    (array([0.35, 0.82, 0.33], dtype=float32), array([1, 1, 1]))
    """
    shape = tuple(len(a) for a in axes)
    return np.ravel_multi_index(tuple(a.index(sample) for a in axes), shape).astype(np.int64)


def bin_names(axes: Sequence[TemplateAxis]) -> tuple[str, ...]:
    """Names of all bins, in the order in which :func:`bin_index` numbers them.

    Examples
    --------
    >>> pt = TemplateAxis("q0_pt", "q0_pt", np.array([20.0, 45.0, 80.0]))
    >>> phi = TemplateAxis("d_phi_qq", "d_phi_qq", np.array([-1.0, 0.0, 1.0]))
    >>> bin_names([pt, phi])[1]
    'q0_pt [20, 45) × d_phi_qq [0, 1)'
    """
    rows = product(*([a.label(b) for b in range(len(a))] for a in axes))
    return tuple(" × ".join(row) for row in rows)


def make_axes(
    samples: SampleSet,
    observable: Observable | tuple[Observable, Observable],
    bins: Any,
    name: str | tuple[str, str] | None = None,
    min_effective: float | None = None,
    yields: EventYields | None = None,
) -> tuple[TemplateAxis, ...]:
    """Make the axes of one observable or two.

    Parameters
    ----------
    samples
        Samples whose quantiles become edges if `bins` is a number.
    observable
        A feature or a function, or a pair of these.
    bins
        Number of bins, or edges.  If it is a number, the edges are quantiles.  For two observables
        a pair of these, or one number for both.
    name
        Name of the observable, or a pair of names; default: the name of the feature or function.
    min_effective
        Neighbouring bins are merged until every bin has this many effective events in every sample.
        Only for one observable.
    yields
        Result of :func:`milinfer.binned.weighted_templates.event_yields`: what the events
        contribute at every θ.  If it is given, `min_effective` counts all events, reweighted to the
        point of each sample, instead of the events of the sample.

    Raises
    ------
    TemplateError
        If bins and observables do not fit together, or edges do not ascend.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(100, [-0.5, 0.5], seed=1, n_features=2)
    >>> [len(a) for a in make_axes(samples, ("x0", "x1"), (3, [-1.0, 0.0, 1.0]))]
    [3, 2]
    """
    observables = observable if isinstance(observable, tuple) else (observable,)
    names = name if isinstance(name, tuple) else (name,) * len(observables)
    each = bins
    if isinstance(bins, (int, np.integer)) or len(observables) == 1:
        each = (bins,) * len(observables)
    if not (len(observables) in {1, 2} and len(names) == len(each) == len(observables)):
        msg = (
            f"{len(observables)} observables, bins={bins!r} and name={name!r} do not match; give "
            "one observable, or two with a pair of bins and (optionally) a pair of names"
        )
        raise TemplateError(msg)
    if len(observables) == 2 and isinstance(name, str):
        msg = f"{name!r} cannot be the name of two observables; give name=(first, second)"
        raise TemplateError(msg)
    axes = []
    for one, one_name, one_bins in zip(observables, names, each, strict=True):
        title = one_name or observable_name(one)
        values = [observable_values(s, one, title) for s in samples]
        if isinstance(one_bins, (int, np.integer)):
            edges = quantile_bins(values, int(one_bins), title)
        else:
            edges = checked_edges(one_bins, title)
        if min_effective is not None:
            if len(observables) > 1:
                msg = (
                    f"{title}: min_effective= merges bins on one axis, but there are "
                    f"{len(observables)}; choose edges for which templates.diagnose() passes"
                )
                raise TemplateError(msg)
            weights = [s.weights for s in samples]
            if yields is not None:
                values = [np.concatenate(values)] * len(samples)
                weights = [yields.at(point) for point in class_points(samples)]
            edges = bins_with_enough(edges, values, weights, min_effective, title)
        axes.append(TemplateAxis(one, title, edges, getattr(one_bins, "chosen_on", ())))
    if len({a.name for a in axes}) < len(axes):
        msg = f"both observables are called {axes[0].name!r}; give name=(first, second)"
        raise TemplateError(msg)
    return tuple(axes)


def circular_axes(axes: Sequence[TemplateAxis], samples: SampleSet) -> tuple[str, ...]:
    """Names of the observables whose edges were chosen with events of the given samples.

    Examples
    --------
    >>> from milinfer.binned.binning import fisher_bins
    >>> from milinfer.datasets import gaussian
    >>> first, second = (gaussian.samples(2000, [-0.3, 0.0, 0.3], seed=s) for s in (1, 2))
    >>> axes = make_axes(second, "x0", fisher_bins(first, "x0", 4, {"mu": 0.0}, degree=2))
    >>> circular_axes(axes, second), circular_axes(axes, first)
    ((), ('x0',))
    """
    if not any(axis.chosen_on for axis in axes):
        return ()
    own = sketch_each(samples)
    return tuple(axis.name for axis in axes if any_shared(axis.chosen_on, own))


def fill_histogram(axes: Sequence[TemplateAxis], sample: Sample) -> Any:
    """Fill a weighted ``hist.Hist`` from a sample, in pb: the sum of its bins is the cross-section.

    Events beyond the outer edges are in the first or the last bin.

    Raises
    ------
    SampleError
        If the sample has no cross-section, or the sum of its weights is not positive.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> axis = TemplateAxis("x0", "x0", np.array([-1.0, 0.0, 1.0]))
    >>> h = fill_histogram([axis], gaussian.generate(100, 0.0, seed=1))
    >>> round(h.sum().value, 12)
    1.0
    """
    weights = cross_section_weights(sample)
    histogram = _empty_histogram(axes)
    histogram.fill(*(a.inside(sample) for a in axes), weight=weights)
    return histogram


def histogram_of(axes: Sequence[TemplateAxis], values: FloatArray, variances: FloatArray) -> Any:
    """Make a ``hist.Hist`` from contents in pb and variances, in the bin order of `bin_index`.

    Examples
    --------
    >>> axis = TemplateAxis("x0", "x0", np.array([-1.0, 0.0, 1.0]))
    >>> histogram_of([axis], np.array([1.0, 2.0]), np.array([0.1, 0.2])).sum().value
    3.0
    """
    histogram = _empty_histogram(axes)
    shape = tuple(len(a) for a in axes)
    histogram.view()["value"] = values.reshape(shape)
    histogram.view()["variance"] = variances.reshape(shape)
    return histogram


def histogram_axes(axes: Sequence[TemplateAxis]) -> tuple[Any, ...]:
    """Make axes for ``hist.Hist``, called ``axis_0`` and ``axis_1``, with the observable as label.

    Examples
    --------
    >>> histogram_axes([TemplateAxis("x0", "x0", np.array([-1.0, 0.0, 1.0]))])[0].label
    'x0'
    """
    import hist

    return tuple(
        hist.axis.Variable(a.edges, name=f"axis_{k}", label=a.name, flow=False)
        for k, a in enumerate(axes)
    )


def _empty_histogram(axes: Sequence[TemplateAxis]) -> Any:
    import hist

    return hist.Hist(*histogram_axes(axes), storage=hist.storage.Weight())


def as_counts(counts: ArrayLike, n_bins: int, name: str) -> FloatArray:
    """Check observed counts and return them as an array, shape (n_bins,).

    Counts need not be whole numbers (Asimov data).

    Raises
    ------
    TemplateError
        If the number of counts is not `n_bins`, a count is negative or not finite, or all are zero.

    Examples
    --------
    >>> as_counts([3, 0], 2, "x0")
    array([3., 0.])
    """
    array = np.asarray(counts, dtype=np.float64)
    good = array.shape == (n_bins,) and np.all(np.isfinite(array) & (array >= 0))
    if not (good and array.sum() > 0):
        msg = (
            f"{name}: the counts must be {n_bins} numbers that are finite, not negative and not "
            "all "
            f"zero; they have the shape {array.shape} and are {array.tolist()}"
        )
        raise TemplateError(msg)
    return array


# Points at which the range of several parameters is searched for negative yields.
_SCAN = 2000
# Relative change of the bins, of all together, that rounding explains.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class TemplateHistograms:
    """Expected cross-section of each bin as a polynomial in the parameters.

    :class:`milinfer.Templates` is a subclass that is filled from samples.

    If there are two observables, all bins are kept in one list, in which the second observable runs
    fastest.

    Parameters
    ----------
    axes
        One or two observables with their edges.
    basis, fit
        Polynomial of each bin, in pb.
    histograms
        ``hist.Hist`` at each point, in pb, with variances.  It contains the sample at this point
        or, with `weight_degree`, all events reweighted to this point.
    points
        Parameter values of the samples and, with `weight_degree`, also of the event weights; shape
        (n_points, n_parameters).
    luminosity
        Integrated luminosity in 1/fb; None if only the shape is used.
    background
        ``hist.Hist`` of the background in pb, or None.  It is already part of the polynomials.
    weight_degree
        Degree of the event weights as polynomials in the parameters, if all events contribute at
        every θ through their weights.  None if polynomials were fitted to the histograms of the
        samples.
    closure
        With `weight_degree`: for each bin the p-value of a comparison of the histogram of each
        sample with the polynomials
        (:meth:`milinfer.binned.weighted_templates.EventYields.closure`).  None without
        `weight_degree`.
    circular
        Observables whose edges were chosen with the same events that fill the bins.
    """

    axes: tuple[TemplateAxis, ...]
    basis: PolynomialBasis
    fit: PolynomialFit
    histograms: tuple[Any, ...]
    points: FloatArray
    luminosity: float | None = None
    background: Any = None
    weight_degree: int | None = None
    closure: FloatArray | None = None
    circular: tuple[str, ...] = ()

    def __repr__(self) -> str:
        names = ", ".join(self.basis.parameters)
        return (
            f"{type(self).__name__}({self.observable_name}, {self.n_bins} bins, "
            f"degree {self.basis.degree} in {names}, {self.filling})"
        )

    @property
    def filling(self) -> str:
        """Text such as ``"3 samples"``, or ``"all events at 3 points"`` with `weight_degree`."""
        if self.weight_degree is None:
            return f"{len(self.points)} samples"
        return f"all events at {len(self.points)} points"

    @property
    def observable_name(self) -> str:
        """Name of the observable, or the names of the two observables."""
        return " × ".join(a.name for a in self.axes)

    @property
    def edges(self) -> FloatArray:
        """Edges of the bins if there is one observable, shape (n_bins + 1,).

        Raises
        ------
        TemplateError
            If there are two observables.  Their edges are in ``axes[k].edges``.
        """
        if len(self.axes) > 1:
            msg = (
                f"{self.observable_name} are two observables; use templates.axes[0].edges and "
                "templates.axes[1].edges"
            )
            raise TemplateError(msg)
        return self.axes[0].edges

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(np.prod([len(a) for a in self.axes]))

    @cached_property
    def bin_names(self) -> tuple[str, ...]:
        """Names of the bins, such as ``"q0_pt [20, 45) × d_phi_qq [-1, 0)"``."""
        return bin_names(self.axes)

    def bin_index(self, sample: Sample) -> IntArray:
        """Bin of each event, shape (n_events,)."""
        return bin_index(self.axes, sample)

    def counts(self, sample: Sample) -> FloatArray:
        """Weighted counts of a dataset, shape (n_bins,)."""
        return np.bincount(self.bin_index(sample), sample.weights, self.n_bins).astype(np.float64)

    def cross_sections(self, point: Point) -> FloatArray:
        """Cross-section of each bin in pb at a point, shape (n_bins,).

        Raises
        ------
        TemplateError
            If the cross-section of a bin is not positive at the point.  The message names the bin
            and the point.
        """
        sigma: FloatArray = (self.basis.design(self.basis.array(point)) @ self.fit.coefficients)[0]
        self.require_positive(sigma, point)
        return sigma

    def require_positive(self, yields: FloatArray, point: Point) -> None:
        """Check that the values of all bins are positive, and raise a `TemplateError` if not."""
        if not np.all(yields > 0):
            b = int(np.argmin(yields))
            msg = (
                f"bin {b} {self.bin_names[b]} has the cross-section {yields[b]:g} pb at "
                f"{format_point(point)}, which is not positive; use wider bins, more events, or "
                "parameters closer to the samples"
            )
            raise TemplateError(msg)

    def fractions(self, point: Point) -> FloatArray:
        """Fraction of the cross-section in each bin at a point, shape (n_bins,)."""
        sigma = self.cross_sections(point)
        share: FloatArray = sigma / sigma.sum()
        return share

    def expected(self, point: Point) -> FloatArray:
        """Expected events in each bin at a point, shape (n_bins,).

        Raises
        ------
        TemplateError
            If the templates have no luminosity.
        """
        return self._events_per_pb() * self.cross_sections(point)

    def relative_errors(self, point: Point) -> FloatArray:
        """Relative Monte-Carlo error of each bin at a point, shape (n_bins,).

        It follows from the covariance of the fitted polynomial, and is larger at points far from
        the samples.
        """
        variance = self.basis.variance(self.fit, self.basis.array(point))[0]
        errors: FloatArray = np.sqrt(variance) / self.cross_sections(point)
        return errors

    def information(self, point: Point, *, rate: bool = False) -> FloatArray:
        """Fisher information of the histogram, shape (n_parameters, n_parameters).

        Parameters
        ----------
        point
            Parameter point at which the information is taken.
        rate
            True: information of the expected dataset, from its shape and its number of events.
            False: information of one event, from the shape alone.

        Examples
        --------
        >>> from milinfer.binned.templates import Templates
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=20, degree=2)
        >>> bool(0.8 < templates.information({"mu": 0.0})[0, 0] < 1.05)
        True
        """
        sigma = self.cross_sections(point)
        slope = self._slopes(point) if rate else self._slopes_of_shape(point)
        scale = self._events_per_pb() if rate else 1.0 / sigma.sum()
        matrix: FloatArray = scale * np.einsum("pb,qb,b->pq", slope, slope, 1.0 / sigma)
        return matrix

    def information_events(self, point: Point, n_events: float) -> dict[str, float]:
        """Effective number of data events from which the information on each parameter comes.

        This number is (Σ ν s²)²/Σ ν s⁴, summed over the bins.  Here ν is the expected number of
        events in a bin, and s is the derivative of ln(ν/Σν) with respect to the parameter.  If the
        number is small, the likelihood is far from a parabola, even if many events are expected in
        bins that do not depend on the parameter.  If the number is large, it does not matter that
        single bins are nearly empty.

        Parameters
        ----------
        point
            Parameter point at which the information is taken.
        n_events
            Number of events of the data.

        Returns
        -------
        dict
            A number for each parameter, by name; NaN if no bin depends on the parameter.

        Examples
        --------
        For the mean of a Gaussian it is a third of the events, because the fourth moment of the
        score is three times the square of the second moment:

        >>> from milinfer.binned.templates import Templates
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(50_000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=20, degree=2)
        >>> bool(abs(templates.information_events({"mu": 0.0}, 900)["mu"] - 300) < 50)
        True
        """
        sigma = self.cross_sections(point)
        share, score = sigma / sigma.sum(), self._slopes_of_shape(point) / sigma
        square, fourth = (score**power @ share for power in (2, 4))
        # Less than rounding over the range of the points is not a slope.
        depends = np.sqrt(square) * np.ptp(self.points, axis=0) > _ROUNDING
        known = np.divide(square**2, fourth, out=np.full(len(score), np.nan), where=depends)
        return dict(zip(self.basis.parameters, (n_events * known).tolist(), strict=True))

    def _slopes(self, point: Point) -> FloatArray:
        """Derivatives of the cross-sections of the bins, shape (n_parameters, n_bins)."""
        gradient: FloatArray = self.basis.design_gradient(self.basis.array(point))
        slopes: FloatArray = gradient @ self.fit.coefficients
        return slopes

    def _slopes_of_shape(self, point: Point) -> FloatArray:
        """The same without the change of all bins by one factor."""
        sigma, slopes = self.cross_sections(point), self._slopes(point)
        of_shape: FloatArray = slopes - slopes.sum(axis=1, keepdims=True) * sigma / sigma.sum()
        return of_shape

    @cached_property
    def reference(self) -> Point:
        """The point among `points` that is nearest to the origin."""
        span = np.abs(self.points).max(axis=0)
        distance = np.linalg.norm(self.points / np.where(span > 0, span, 1.0), axis=1)
        values = self.points[int(np.argmin(distance))].tolist()
        return dict(zip(self.basis.parameters, values, strict=True))

    @cached_property
    def scan_points(self) -> FloatArray:
        """Points that cover the range of `points`, shape (m, n_parameters)."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        each = 1001 if len(low) == 1 else max(3, round(_SCAN ** (1 / len(low))))
        axes = [np.linspace(a, b, each) for a, b in zip(low, high, strict=True)]
        return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Range of each parameter in which costs may be minimised.

        It is the range of `points`.  With one parameter, it is reduced to the part around the
        reference in which the content of every bin is positive.
        """
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        limits = {
            name: (float(a), float(b))
            for name, a, b in zip(self.basis.parameters, low, high, strict=True)
        }
        if len(limits) > 1:
            return limits
        (name,) = limits
        grid = self.scan_points[:, 0]
        bad = grid[np.any(self.basis.value(self.fit, grid[:, None]) <= 0, axis=1)]
        centre, step = self.reference[name], grid[1] - grid[0]
        first = max(limits[name][0], max(bad[bad < centre], default=-np.inf) + step)
        last = min(limits[name][1], min(bad[bad > centre], default=np.inf) - step)
        return {name: (float(first), float(last))}

    @cached_property
    def basis_points(self) -> FloatArray:
        """Points of the morphing basis, shape (n_coefficients, n_parameters)."""
        return self.basis.choose_points(self.points)

    def basis_yields(self, scale: float) -> FloatArray:
        """Cross-section of each bin at each point of the morphing basis, multiplied by `scale`.

        The result has the shape (n_coefficients, n_bins).
        """
        return np.stack([scale * self.cross_sections(self.point(p)) for p in self.basis_points])

    def point(self, values: Sequence[float] | FloatArray) -> Point:
        """Make a mapping from parameter names to the given values."""
        return dict(zip(self.basis.parameters, map(float, values), strict=True))

    def _events_per_pb(self) -> float:
        if self.luminosity is None:
            msg = (
                f"{self.observable_name}: the templates have no luminosity, so their yields are "
                "unknown; make them with luminosity= in 1/fb"
            )
            raise TemplateError(msg)
        return 1000.0 * self.luminosity
