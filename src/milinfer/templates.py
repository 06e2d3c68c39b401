"""Histogram templates of one observable, morphed in the parameters, and their pyhf likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import SampleError, TemplateError
from milinfer.morphing import PolynomialBasis, PolynomialFit, point_matrix
from milinfer.points import format_point
from milinfer.samples import Sample, SampleSet
from milinfer.typing import FloatArray, IntArray, Point

if TYPE_CHECKING:
    from milinfer.template_cost import TemplateCost

__all__ = ["Observable", "Templates"]

Observable = str | Callable[[Sample], FloatArray]


@dataclass(frozen=True, eq=False)
class Templates:
    """Expected cross-section of each bin as a polynomial in the parameters.

    Parameters
    ----------
    observable
        Name of a feature, or a function of a :class:`~milinfer.Sample`.
    observable_name
        Name for axes and messages.
    edges
        Bin edges, shape (n_bins + 1,); the outer bins also take what lies beyond, so that no
        event is lost.
    basis, fit
        Polynomial of each bin, in pb.
    histograms
        ``hist.Hist`` of each sample in pb, with variances.
    points
        Parameter values of the samples, shape (n_samples, n_parameters).
    luminosity
        In 1/fb; None where only the shape is used.
    """

    observable: Observable
    observable_name: str
    edges: FloatArray
    basis: PolynomialBasis
    fit: PolynomialFit
    histograms: tuple[Any, ...]
    points: FloatArray
    luminosity: float | None = None

    @classmethod
    def from_samples(
        cls,
        samples: SampleSet,
        observable: Observable,
        *,
        bins: int | ArrayLike = 20,
        degree: int = 4,
        luminosity: float | None = None,
        name: str | None = None,
    ) -> Templates:
        """Fill templates at every sample and fit a polynomial to each bin.

        Parameters
        ----------
        samples
            With cross-sections in pb.
        observable
            Name of a feature, or a function of a sample that returns (n_events,).
        bins
            Number of bins of equal content over all samples, or the edges.
        degree
            Of the polynomial.
        luminosity
            In 1/fb; needed for a fit with the rate.
        name
            Of the observable; default: of the feature or function.

        Raises
        ------
        TemplateError
            If a bin is empty at some point, a value is not finite, or the points do not determine
            the polynomial.
        SampleError
            If a sample has no cross-section.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2)
        >>> float(templates.fractions({"mu": 0.2}).sum().round(12))
        1.0
        """
        import hist

        title = name or (observable if isinstance(observable, str) else observable.__name__)
        values = [_values(s, observable, title) for s in samples]
        edges = _edges(bins, values, title)
        histograms = []
        contents = np.empty((len(samples), len(edges) - 1))
        variances = np.empty_like(contents)
        for k, (sample, x) in enumerate(zip(samples, values, strict=True)):
            if not np.isfinite(sample.cross_section):
                msg = f"{sample.label} has no cross-section; give cross_section= in pb"
                raise SampleError(msg)
            # The mean weight is the cross-section, whatever the normalisation of the weights.
            weights = sample.weights * (sample.cross_section / sample.weights.sum())
            h = hist.Hist(
                hist.axis.Variable(edges, name="x", label=title, flow=False),
                storage=hist.storage.Weight(),
            )
            h.fill(np.clip(x, edges[0], np.nextafter(edges[-1], -np.inf)), weight=weights)
            view = h.view()
            contents[k], variances[k] = view["value"], view["variance"]
            if not np.all(variances[k] > 0):
                b = int(np.argmin(variances[k]))
                msg = (
                    f"{title}: bin {b} [{edges[b]:g}, {edges[b + 1]:g}) is empty at "
                    f"{sample.label}; use fewer or wider bins"
                )
                raise TemplateError(msg)
            histograms.append(h)
        basis = PolynomialBasis(samples.parameters, degree)
        points = point_matrix(samples.parameters, [s.point for s in samples])
        return cls(
            observable,
            title,
            edges,
            basis,
            basis.fit(points, contents, np.sqrt(variances)),
            tuple(histograms),
            points,
            luminosity,
        )

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def values(self, sample: Sample) -> FloatArray:
        """The observable of each event, shape (n_events,)."""
        return _values(sample, self.observable, self.observable_name)

    def bin_index(self, sample: Sample) -> IntArray:
        """Bin of each event, shape (n_events,)."""
        inside = np.searchsorted(self.edges, self.values(sample), side="right") - 1
        index: IntArray = np.clip(inside, 0, self.n_bins - 1).astype(np.int64)
        return index

    def counts(self, sample: Sample) -> FloatArray:
        """Weighted counts of a dataset, shape (n_bins,)."""
        return np.bincount(self.bin_index(sample), sample.weights, self.n_bins).astype(np.float64)

    def cross_sections(self, point: Point) -> FloatArray:
        """Cross-section of each bin in pb at a point, shape (n_bins,).

        Raises
        ------
        TemplateError
            If a bin is not positive there; the message names bin and point.
        """
        sigma: FloatArray = (self.basis.design(self.basis.array(point)) @ self.fit.coefficients)[0]
        self.require_positive(sigma, point)
        return sigma

    def require_positive(self, yields: FloatArray, point: Point) -> None:
        """Raise unless all bins are positive."""
        if not np.all(yields > 0):
            b = int(np.argmin(yields))
            msg = (
                f"{self.observable_name}: bin {b} [{self.edges[b]:g}, {self.edges[b + 1]:g}) is "
                f"morphed to {yields[b]:g} at {format_point(point)}; use wider bins, more events, "
                "or stay closer to the samples"
            )
            raise TemplateError(msg)

    def fractions(self, point: Point) -> FloatArray:
        """Share of each bin, shape (n_bins,), summing to one."""
        sigma = self.cross_sections(point)
        share: FloatArray = sigma / sigma.sum()
        return share

    def expected(self, point: Point) -> FloatArray:
        """Expected events in each bin, shape (n_bins,).

        Raises
        ------
        TemplateError
            Without a luminosity.
        """
        if self.luminosity is None:
            msg = f"{self.observable_name}: expected yields need luminosity= in 1/fb"
            raise TemplateError(msg)
        return 1000.0 * self.luminosity * self.cross_sections(point)

    @cached_property
    def basis_points(self) -> FloatArray:
        """Points of the morphing basis, shape (n_coefficients, n_parameters)."""
        return self.basis.choose_points(self.points)

    def basis_yields(self, scale: float) -> FloatArray:
        """Yields of the fitted polynomials at the basis points, (n_coefficients, n_bins)."""
        names = self.basis.parameters
        return np.stack(
            [
                scale * self.cross_sections(dict(zip(names, p.tolist(), strict=True)))
                for p in self.basis_points
            ]
        )

    def cost(self, data: Sample | ArrayLike, *, rate: bool = False) -> TemplateCost:
        """Cost −2 ln L of a dataset through pyhf; see :class:`milinfer.template_cost.TemplateCost`.

        Parameters
        ----------
        data
            A dataset, or counts of shape (n_bins,).
        rate
            Whether the number of events counts too; otherwise the shape alone.
        """
        from milinfer.template_cost import TemplateCost

        if isinstance(data, Sample):
            data.require_data()
        counts = (
            self.counts(data) if isinstance(data, Sample) else np.asarray(data, dtype=np.float64)
        )
        return TemplateCost(self, counts, rate=rate)


def _values(sample: Sample, observable: Observable, title: str) -> FloatArray:
    values = np.asarray(
        sample.column(observable) if isinstance(observable, str) else observable(sample),
        dtype=np.float64,
    )
    if values.shape != (len(sample),) or not np.isfinite(values).all():
        msg = f"{title} of {sample.label} must be finite and of shape ({len(sample)},)"
        raise TemplateError(msg)
    return values


def _edges(bins: int | ArrayLike, values: list[FloatArray], title: str) -> FloatArray:
    if isinstance(bins, (int, np.integer)):
        edges = np.quantile(np.concatenate(values), np.linspace(0, 1, int(bins) + 1))
        edges[-1] = np.nextafter(edges[-1], np.inf)
    else:
        edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 3 or not np.all(np.diff(edges) > 0):
        msg = f"{title}: {bins!r} does not give two or more ascending bins; give the edges yourself"
        raise TemplateError(msg)
    return edges
