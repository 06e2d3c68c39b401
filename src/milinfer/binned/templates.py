"""Fill histogram templates of one or two observables from samples, fit them and show them.

`Templates` fills a histogram for each sample and fits a polynomial in the parameters to each bin.
If the events carry weights at several points, the weight of each event is a polynomial in the
parameters, and `Templates` can add these polynomials instead of fitting.  `templates_table` and
`html_templates` make tables of templates.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.binning import checked_edges, fit_bins, polynomial_degree, yields_of
from milinfer.binned.polynomial_histogram import PolynomialHistogram, monomial_name
from milinfer.binned.template_cost import TemplateCost, template_workspace
from milinfer.binned.template_diagnosis import TemplateDiagnosis, diagnose_templates
from milinfer.binned.template_histograms import (
    TemplateAxis,
    TemplateHistograms,
    bin_index,
    bin_names,
    circular_axes,
    fill_histogram,
    histogram_axes,
    histogram_of,
    make_axes,
)
from milinfer.binned.weighted_templates import EventYields, weight_points
from milinfer.exceptions import MilinferWarning, TemplateError
from milinfer.likelihood.observables import Observable, observable_name
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.display import (
    arrow_table,
    html_facts,
    html_histogram,
    measured,
    point_cells,
    point_types,
)
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit, point_matrix

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Templates",
    "html_templates",
    "templates_table",
]


@dataclass(frozen=True, eq=False, repr=False)
class Templates(TemplateHistograms):
    """Expected cross-section of each bin of a histogram as a polynomial in the parameters.

    Make it with :meth:`from_samples`.  If there are two observables, all bins are kept in one list,
    in which the second observable runs fastest.

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
    weight_degree, closure
        If all events contribute at every θ through their weights: degree of the weights as
        polynomials in the parameters, and for each bin the p-value of a comparison of the histogram
        of each sample with the polynomials.  None if polynomials were fitted to the histograms.
    circular
        Observables whose edges were chosen with the same events that fill the bins.
    """

    @classmethod
    def from_samples(
        cls,
        samples: SampleSet,
        observable: Observable | tuple[Observable, Observable],
        *,
        bins: int | ArrayLike | tuple[int | ArrayLike, int | ArrayLike] = 20,
        degree: int | None = None,
        weight_degree: int | None = None,
        luminosity: float | None = None,
        background: Sample | None = None,
        min_effective: float | None = None,
        name: str | tuple[str, str] | None = None,
        yields: EventYields | None = None,
    ) -> Templates:
        """Fill a histogram with each sample and fit a polynomial in the parameters to each bin.

        The fit uses the errors that are expected from the fitted polynomial.  The observed errors
        are smaller where a bin content has fluctuated down, so a fit with them would be too low by
        about one event in each bin.

        With `weight_degree` nothing is fitted.  Every event has weights at several points, and
        through these it contributes to its bin at every θ.  A single sample is therefore enough
        (:mod:`milinfer.binned.weighted_templates`).

        Parameters
        ----------
        samples
            Samples with cross-sections in pb.
        observable
            Name of a feature, or a function of a sample that returns an array of shape (n_events,).
            For two observables a pair of these.  :mod:`milinfer.likelihood.observables` makes such
            functions from models.
        bins
            Number of bins, or edges of the bins.  If it is a number, the bins have equal numbers of
            events of all samples together.  Edges from :func:`milinfer.binned.binning.fisher_bins`
            must have been chosen with other events.  For two observables a pair of these, or one
            number for both.
        degree
            Degree of the polynomial of each bin; default: `weight_degree` if that is given, and 4
            if not.
        weight_degree
            Degree of the event weights as polynomials in the parameters (2 for one operator
            insertion, 4 for production and decay), as for :class:`~milinfer.EventPool`.  All events
            then contribute at every θ.  None: each sample contributes at its own point.
        luminosity
            Integrated luminosity in 1/fb; needed for a fit with the rate.
        background
            Sample with a cross-section that does not depend on the parameters.  It is added to the
            constant term of each bin, and its variance to the variance of this term.
        min_effective
            Neighbouring bins are merged until each has this many effective events in every sample.
            With `weight_degree`, all events are reweighted to the point of each sample and counted
            together.  Only for one observable.  Default: keep all bins, and warn of bins with few
            events.
        name
            Name of the observable, or a pair of names; default: the name of the feature or
            function.
        yields
            Result of :func:`milinfer.binned.weighted_templates.event_yields` for these samples.
            Default: it is computed.  Give it if you make templates of several observables, so that
            it is computed only once.

        Raises
        ------
        TemplateError
            If a bin is empty in a sample or negative at the reference, a value is not finite, the
            points do not determine the polynomial, or `degree` differs from `weight_degree`.
        SampleError
            If a sample has no cross-section, or the event weights are not polynomials of degree
            `weight_degree`.

        Warns
        -----
        MilinferWarning
            If a bin has a problem (see :meth:`diagnose`), or the edges were chosen with events of
            these samples.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2)
        >>> float(templates.fractions({"mu": 0.2}).sum().round(12))
        1.0

        One sample whose events carry weights:

        >>> from milinfer.datasets import quadratic
        >>> sample = quadratic.samples(1000, [{"c1": 0.0}], seed=1)
        >>> Templates.from_samples(sample, "x0", bins=4, weight_degree=2)
        Templates(x0, 4 bins, degree 2 in c1, all events at 3 points)
        """
        degree = polynomial_degree(degree, weight_degree)
        basis = PolynomialBasis(samples.parameters, degree)
        closure: FloatArray | None = None
        yields = yields_of(samples, weight_degree, yields)
        if yields is None:
            axes = make_axes(samples, observable, bins, name, min_effective)
            histograms = tuple(fill_histogram(axes, s) for s in samples)
            contents = np.stack([h.values().ravel() for h in histograms])
            variances = np.stack([h.variances().ravel() for h in histograms])
            _require_filled(variances, axes, samples)
            points = point_matrix(samples.parameters, [s.point for s in samples])
            fit = _fit(basis, points, contents, variances)
        else:
            axes = make_axes(samples, observable, bins, name, min_effective, yields)
            bin_of_event = [bin_index(axes, s) for s in samples]
            names = bin_names(axes)
            fit = yields.fill(bin_of_event, len(names))
            closure = yields.closure(bin_of_event, fit)
            points = weight_points(samples)
            contents, variances = basis.value(fit, points), basis.variance(fit, points)
            if not np.all(variances.max(axis=0) > 0):
                b = int(np.argmin(variances.max(axis=0)))
                msg = f"bin {b} {names[b]} has no events; use fewer or wider bins, or more events"
                raise TemplateError(msg)
            histograms = tuple(
                histogram_of(axes, *both) for both in zip(contents, variances, strict=True)
            )
        background_histogram = None
        if background is not None:
            background_histogram = fill_histogram(axes, background)
            # The constant is the first monomial.
            fit.coefficients[0] += background_histogram.values().ravel()
            fit.covariance[:, 0, 0] += background_histogram.variances().ravel()
        templates = cls(
            axes=axes,
            basis=basis,
            fit=fit,
            histograms=histograms,
            points=points,
            luminosity=luminosity,
            background=background_histogram,
            weight_degree=weight_degree,
            closure=closure,
            circular=circular_axes(axes, samples),
        )
        # Raises if a bin is negative there.
        templates.cross_sections(templates.reference)
        _warn_of_problems(templates)
        return templates

    @classmethod
    def from_histogram(
        cls,
        histogram: PolynomialHistogram,
        observable: Observable | tuple[Observable, Observable],
        points: Sequence[Point],
        *,
        luminosity: float | None = None,
        name: str | tuple[str, str] | None = None,
    ) -> Templates:
        """Make templates from a histogram whose bin contents already are polynomials.

        The histogram does not record which events filled it, so :meth:`diagnose` cannot know
        whether its edges were chosen with the same events.

        Parameters
        ----------
        histogram
            Histogram of cross-sections in pb, with the covariance of the coefficients.  It has one
            or two axes with edges.  The contents of flow bins are added to the outer bins.
        observable
            Name of a feature, or a function of a sample, that gives the values of the observable on
            the axis.  For two axes a pair of these.
        points
            Parameter points that span the range in which the polynomials are valid.  Fits are
            limited to this range.  At least as many points are needed as a polynomial has
            coefficients.
        luminosity
            Integrated luminosity in 1/fb; needed for a fit with the rate.
        name
            Name of the observable, or a pair of names; default: the name of the feature or
            function.

        Raises
        ------
        TemplateError
            If the covariance is not known, the axes do not match the observables, or the content of
            a bin is not positive at the point nearest to the origin.
        ParameterError
            If a point has other parameters than the histogram, or there are too few points.

        Examples
        --------
        >>> from milinfer.datasets import quadratic
        >>> sample = quadratic.samples(1000, [{"c1": 0.0}], seed=1)
        >>> templates = Templates.from_samples(sample, "x0", bins=4, weight_degree=2)
        >>> histogram = templates.to_histogram()
        >>> Templates.from_histogram(histogram, "x0", [{"c1": -1.0}, {"c1": 0.0}, {"c1": 1.0}])
        Templates(x0, 4 bins, degree 2 in c1, all events at 3 points)
        """
        observables = observable if isinstance(observable, tuple) else (observable,)
        names = name if isinstance(name, tuple) else (name,) * len(observables)
        if histogram.covariance is None:
            msg = (
                f"the errors of {histogram!r} are missing; give it a covariance (zeros are allowed)"
            )
            raise TemplateError(msg)
        if not len(histogram.axes) == len(observables) == len(names) <= 2:
            msg = (
                f"{histogram!r} has {len(histogram.axes)} axes, but {len(observables)} observables "
                f"with {len(names)} names are given; templates have one or two axes"
            )
            raise TemplateError(msg)
        inside = histogram.without_flow()
        axes = tuple(
            TemplateAxis(one, own or observable_name(one), checked_edges(axis.edges, axis.label))
            for one, own, axis in zip(observables, names, inside.axes, strict=True)
        )
        basis = PolynomialBasis(histogram.parameters, histogram.degree)
        inside = inside.with_monomials(_monomials(basis)[0])
        n, order = len(basis), np.argsort(_monomials(basis)[1])
        covariance = inside.covariance.values().reshape(n, n, -1)[np.ix_(order, order)]
        fit = PolynomialFit(
            inside.coefficients.values().reshape(n, -1)[order],
            np.ascontiguousarray(covariance.transpose(2, 0, 1)),
            np.full(covariance.shape[2], np.nan),
            0,
        )
        matrix = np.stack([basis.array(p) for p in points])
        basis.require_determined(matrix, f"templates of {histogram!r}")
        templates = cls(
            axes=axes,
            basis=basis,
            fit=fit,
            histograms=tuple(
                histogram_of(axes, *both)
                for both in zip(basis.value(fit, matrix), basis.variance(fit, matrix), strict=True)
            ),
            points=matrix,
            luminosity=luminosity,
            weight_degree=histogram.degree,
            closure=np.full(covariance.shape[2], np.nan),
        )
        templates.cross_sections(templates.reference)
        return templates

    def to_histogram(self) -> PolynomialHistogram:
        """Return the cross-sections in pb as a histogram whose bin contents are polynomials.

        Multiply it by 1000 times the luminosity in 1/fb to get expected events.  Its axes are those
        of the histograms in ``histograms``.  It contains the background.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2)
        >>> histogram = templates.to_histogram()
        >>> histogram
        PolynomialHistogram(x0, 4 bins, degree 2 in mu)
        >>> bool(np.allclose(histogram.at({"mu": 0.1}).values(),
        ...                  templates.cross_sections({"mu": 0.1}), rtol=1e-14))
        True
        """
        monomials, order = _monomials(self.basis)
        shape = tuple(len(a) for a in self.axes)
        covariance = self.fit.covariance.transpose(1, 2, 0)[np.ix_(order, order)]
        return PolynomialHistogram.of_arrays(
            monomials,
            histogram_axes(self.axes),
            self.fit.coefficients[order].reshape(-1, *shape),
            covariance.reshape(len(order), len(order), *shape),
        )

    def _repr_html_(self) -> str:
        return html_templates(self)

    def to_table(self) -> pa.Table:
        """Make a table with one row for each bin at each point; see :func:`templates_table`."""
        return templates_table(self)

    def diagnose(self, n_events: float | None = None) -> TemplateDiagnosis:
        """Check in every bin the numbers of events, the sign, and whether the polynomial fits.

        Parameters
        ----------
        n_events
            Number of events of the dataset; default: the number expected at the reference for the
            luminosity of the templates.
        """
        return diagnose_templates(self, n_events)

    def workspace(
        self, counts: ArrayLike | None = None, *, mc_stat: bool = True, name: str | None = None
    ) -> dict[str, Any]:
        """Make a HistFactory workspace with one sample for each point of the morphing basis.

        See :func:`milinfer.binned.template_cost.template_workspace`.
        """
        return template_workspace(self, counts, mc_stat=mc_stat, name=name)

    def cost(
        self,
        data: Sample | ArrayLike,
        *,
        rate: bool = False,
        mc_stat: bool = True,
        name: str | None = None,
    ) -> TemplateCost:
        """Make the cost −2 ln L of a dataset for iminuit, with the likelihood of pyhf.

        See :class:`milinfer.binned.template_cost.TemplateCost`.

        Parameters
        ----------
        data
            A dataset, or counts of shape (n_bins,).  Counts need not be whole numbers (Asimov
            data).
        rate
            True: fit the shape and the number of events.  False: fit only the shape.
        mc_stat
            Whether to profile the Monte-Carlo errors of the templates (``staterror``).
        name
            Name of the pyhf channel; default: the name of the observable.

        Raises
        ------
        TemplateError
            If the counts do not fit the templates, or `rate` is True and the templates have no
            luminosity.
        """
        if isinstance(data, Sample):
            data.require_data()
        counts = self.counts(data) if isinstance(data, Sample) else np.asarray(data, np.float64)
        return TemplateCost(self, counts, rate=rate, mc_stat=mc_stat, name=name)


def _monomials(basis: PolynomialBasis) -> tuple[list[str], IntArray]:
    """Names of monomials, parameters in their order, and their places in the basis."""
    rows = basis.exponents.tolist()
    order = sorted(range(len(rows)), key=lambda k: (sum(rows[k]), [-e for e in rows[k]]))
    names = [monomial_name(dict(zip(basis.parameters, rows[k], strict=True))) for k in order]
    return names, np.array(order, dtype=np.int64)


def _require_filled(
    variances: FloatArray, axes: Sequence[TemplateAxis], samples: SampleSet
) -> None:
    """Raise unless every bin has events in every sample; variances (n_samples, n_bins)."""
    if not np.all(variances > 0):
        k, b = np.argwhere(~(variances > 0))[0]
        msg = (
            f"bin {b} {bin_names(axes)[b]} is empty at {samples[int(k)].label}; use fewer or "
            "wider bins, or more events"
        )
        raise TemplateError(msg)


def _warn_of_problems(templates: Templates) -> None:
    """Warn of the first problem of a bin, at the line that called ``from_samples``."""
    problems = templates.diagnose().problems
    if problems:
        more = f" (and {len(problems) - 1} more: templates.diagnose())" if problems[1:] else ""
        warnings.warn(f"{problems[0]}{more}", MilinferWarning, stacklevel=3)


def _fit(
    basis: PolynomialBasis, points: FloatArray, contents: FloatArray, variances: FloatArray
) -> PolynomialFit:
    """Fit a polynomial to each bin, with the variances that the polynomial itself expects."""
    fit = fit_bins(basis, points, contents, np.sqrt(variances))
    for _ in range(3):
        expected = basis.value(fit, points)
        # Kept near one: with weights of both signs, contents tell little about variances.
        usable = (contents > 0) & (expected > 0)
        ratio = np.divide(expected, contents, where=usable, out=np.ones_like(contents))
        fit = fit_bins(basis, points, contents, np.sqrt(variances * np.clip(ratio, 0.2, 5.0)))
    return fit


def templates_table(templates: Templates) -> pa.Table:
    """Make a table of templates with one row for each bin at each point.

    Columns: ``point.PARAMETER``, ``bin``, ``OBSERVABLE.low`` and ``OBSERVABLE.high`` for each
    observable, ``cross_section`` and ``cross_section_error`` of the filled histogram, ``fitted``
    and ``fitted_error`` of the polynomial.  Cross-sections are in pb.  If there is a background,
    the polynomial contains it and the filled histogram does not.  If the templates were made with
    ``weight_degree=`` (polynomials from the weights of each event) and have no background,
    polynomial and histogram are equal.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> table = templates_table(Templates.from_samples(samples, "x0", bins=4, degree=2))
    >>> table.num_rows, table.column_names[1:4]
    (12, ['bin', 'x0.low', 'x0.high'])
    """
    names = templates.basis.parameters
    ends = {f"{a.name}.{end}": float for a in templates.axes for end in ("low", "high")}
    values = ("cross_section", "cross_section_error", "fitted", "fitted_error")
    types = {**point_types(names), "bin": int, **ends, **dict.fromkeys(values, float)}
    shape = tuple(len(a) for a in templates.axes)
    rows: list[dict[str, Any]] = []
    for point, histogram in zip(templates.points, templates.histograms, strict=True):
        contents, variances = histogram.values().ravel(), histogram.variances().ravel()
        fitted = templates.basis.value(templates.fit, point[None])[0]
        errors = np.sqrt(templates.basis.variance(templates.fit, point[None])[0])
        for b in range(templates.n_bins):
            row: dict[str, Any] = {**point_cells(templates.point(point)), "bin": b}
            for axis, k in zip(templates.axes, np.unravel_index(b, shape), strict=True):
                row[f"{axis.name}.low"], row[f"{axis.name}.high"] = axis.edges[k : k + 2]
            numbers = (contents[b], np.sqrt(variances[b]), fitted[b], errors[b])
            rows.append(row | dict(zip(values, numbers, strict=True)))
    return arrow_table(types, rows)


def html_templates(templates: Templates) -> str:
    """Make an HTML table of templates; with one observable also a plot of it at the reference.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> "polyline" in html_templates(Templates.from_samples(samples, "x0", bins=4, degree=2))
    True
    """
    reference = templates.reference
    sigma = templates.cross_sections(reference)
    errors = sigma * templates.relative_errors(reference)
    problems = len(templates.diagnose().problems)
    ranges = [
        f"{n} from {low:.4g} to {high:.4g}"
        for n, low, high in zip(
            templates.basis.parameters,
            templates.points.min(axis=0),
            templates.points.max(axis=0),
            strict=True,
        )
    ]
    facts = {
        "bins": " × ".join(str(len(a)) for a in templates.axes),
        "polynomial": f"degree {templates.basis.degree}, {templates.filling} in "
        + ", ".join(ranges),
        f"cross-section at {format_point(reference)}": measured(
            float(sigma.sum()), float(np.sqrt(np.sum(errors**2))), "pb"
        ),
        "luminosity": "" if templates.luminosity is None else f"{templates.luminosity:g} /fb",
        "background": ""
        if templates.background is None
        else measured(float(templates.background.values().sum()), None, "pb"),
        "bins with problems": f"{problems}: see diagnose()" if problems else "none",
    }
    table = html_facts(f"Templates of {templates.observable_name}", facts)
    if len(templates.axes) > 1:
        return table
    (axis,) = templates.axes
    return f"<div>{html_histogram(axis.edges, sigma, axis.name)}{table}</div>"
