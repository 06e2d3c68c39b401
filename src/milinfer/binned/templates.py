"""Histogram templates of one or two observables, morphed in the parameters; their likelihood.

Templates as a notebook shows them, and as an Arrow table: one row for each bin and sample.

Histograms of templates as JSON in the UHI serialisation, which every histogram library reads.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.binning import fit_bins
from milinfer.binned.histograms import TemplateAxis, bin_index, bin_names, fill_histogram, make_axes
from milinfer.exceptions import MilinferWarning, TemplateError
from milinfer.likelihood.observables import Observable
from milinfer.samples.sample import Sample, SampleSet
from milinfer.typing import FloatArray, IntArray, PathLikeStr, Point
from milinfer.utils.display import (
    arrow_table,
    html_facts,
    html_histogram,
    measured,
    point_cells,
    point_types,
)
from milinfer.utils.files import parse_json, write_whole
from milinfer.utils.points import format_point, point_id
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit, point_matrix

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.binned.template_cost import TemplateCost
    from milinfer.binned.template_diagnosis import TemplateDiagnosis

__all__ = [
    "Observable",
    "Templates",
    "html_templates",
    "load_histograms",
    "save_histograms",
    "templates_table",
]


# Points at which the range of several parameters is searched for negative yields.
_SCAN = 2000


@dataclass(frozen=True, eq=False)
class Templates:
    """Expected cross-section of each bin as a polynomial in the parameters.

    Bins of two observables are kept as one flat list, the second observable running fastest.

    Parameters
    ----------
    axes
        One or two observables with their edges.
    basis, fit
        Polynomial of each bin, in pb.
    histograms
        ``hist.Hist`` of each sample in pb, with variances.
    points
        Parameter values of the samples, shape (n_samples, n_parameters).
    luminosity
        In 1/fb; None where only the shape is used.
    background
        ``hist.Hist`` of the background in pb, or None; already part of the polynomials.
    """

    axes: tuple[TemplateAxis, ...]
    basis: PolynomialBasis
    fit: PolynomialFit
    histograms: tuple[Any, ...]
    points: FloatArray
    luminosity: float | None = None
    background: Any = None

    @classmethod
    def from_samples(
        cls,
        samples: SampleSet,
        observable: Observable | tuple[Observable, Observable],
        *,
        bins: int | ArrayLike | tuple[int | ArrayLike, int | ArrayLike] = 20,
        degree: int = 4,
        luminosity: float | None = None,
        background: Sample | None = None,
        min_effective: float | None = None,
        name: str | tuple[str, str] | None = None,
    ) -> Templates:
        """Fill templates at every sample and fit a polynomial to each bin.

        The errors of the fit are those of the fitted, not of the observed contents: observed ones
        favour bins that fluctuated down, by about one event of each.

        Parameters
        ----------
        samples
            With cross-sections in pb.
        observable
            Name of a feature, or a function of a sample that returns (n_events,); or a pair of
            these.  :mod:`milinfer.likelihood.observables` makes functions of models.
        bins
            Number of bins of equal content over all samples, or the edges (see also
            :func:`milinfer.binned.binning.fisher_bins`); for two observables a pair of these, or
            one number for both.
        degree
            Of the polynomial.
        luminosity
            In 1/fb; needed for a fit with the rate.
        background
            Events that do not depend on the parameters, with a cross-section: they add to the
            constant term of each bin, and their variance to its covariance.
        min_effective
            Merge neighbouring bins until each has as many effective events in every sample; of one
            observable only.  Default: bins stay as they are, and poor ones draw a warning.
        name
            Of the observable, or a pair; default: of the feature or function.

        Raises
        ------
        TemplateError
            If a bin is empty at some point or negative at the reference, a value is not finite, or
            the points do not determine the polynomial.
        SampleError
            If a sample has no cross-section.

        Warns
        -----
        MilinferWarning
            If a bin is not fit for use, see :meth:`diagnose`.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2)
        >>> float(templates.fractions({"mu": 0.2}).sum().round(12))
        1.0
        """
        axes = make_axes(samples, observable, bins, name, min_effective)
        histograms = tuple(fill_histogram(axes, s) for s in samples)
        contents = np.stack([h.values().ravel() for h in histograms])
        variances = np.stack([h.variances().ravel() for h in histograms])
        if not np.all(variances > 0):
            k, b = np.argwhere(~(variances > 0))[0]
            msg = (
                f"bin {b} {bin_names(axes)[b]} is empty at {samples[int(k)].label}; use fewer or "
                "wider bins, or more events"
            )
            raise TemplateError(msg)
        basis = PolynomialBasis(samples.parameters, degree)
        points = point_matrix(samples.parameters, [s.point for s in samples])
        fit = _fit(basis, points, contents, variances)
        extra = None
        if background is not None:
            extra = fill_histogram(axes, background)
            # The constant is the first monomial.
            fit.coefficients[0] += extra.values().ravel()
            fit.covariance[:, 0, 0] += extra.variances().ravel()
        templates = cls(
            axes=axes,
            basis=basis,
            fit=fit,
            histograms=histograms,
            points=points,
            luminosity=luminosity,
            background=extra,
        )
        templates.cross_sections(templates.reference)
        problems = templates.diagnose().problems
        if problems:
            more = f" (and {len(problems) - 1} more: templates.diagnose())" if problems[1:] else ""
            warnings.warn(f"{problems[0]}{more}", MilinferWarning, stacklevel=2)
        return templates

    def __repr__(self) -> str:
        names = ", ".join(self.basis.parameters)
        return (
            f"Templates({self.observable_name}, {self.n_bins} bins, degree {self.basis.degree} in "
            f"{names}, {len(self.points)} samples)"
        )

    def _repr_html_(self) -> str:

        return html_templates(self)

    def to_table(self) -> pa.Table:
        """A row for each bin and sample; see :func:`milinfer.binned.templates.templates_table`."""
        return templates_table(self)

    @property
    def observable_name(self) -> str:
        """Name of the observable, or of both."""
        return " × ".join(a.name for a in self.axes)

    @property
    def edges(self) -> FloatArray:
        """Edges of the one observable, shape (n_bins + 1,).

        Raises
        ------
        TemplateError
            If there are two; take ``axes[k].edges``.
        """
        if len(self.axes) > 1:
            msg = f"{self.observable_name} has edges on two axes; take templates.axes[k].edges"
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
                f"bin {b} {self.bin_names[b]} is morphed to {yields[b]:g} at {format_point(point)};"
                " use wider bins, more events, or stay closer to the samples"
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
        return self._events_per_pb() * self.cross_sections(point)

    def relative_errors(self, point: Point) -> FloatArray:
        """Relative Monte-Carlo error of each bin at a point, shape (n_bins,).

        From the covariance of the fitted polynomial; it grows away from the samples.
        """
        variance = self.basis.variance(self.fit, self.basis.array(point))[0]
        errors: FloatArray = np.sqrt(variance) / self.cross_sections(point)
        return errors

    def information(self, point: Point, *, rate: bool = False) -> FloatArray:
        """Fisher information of the histogram, shape (n_parameters, n_parameters).

        Parameters
        ----------
        point
            Where.
        rate
            Of the expected dataset, its number of events included; otherwise of the shape, for one
            event.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
        >>> templates = Templates.from_samples(samples, "x0", bins=20, degree=2)
        >>> bool(0.8 < templates.information({"mu": 0.0})[0, 0] < 1.05)
        True
        """
        sigma = self.cross_sections(point)
        slope = self.basis.design_gradient(self.basis.array(point)) @ self.fit.coefficients
        scale = self._events_per_pb() if rate else 1.0 / sigma.sum()
        if not rate:
            slope = slope - slope.sum(axis=1, keepdims=True) * sigma / sigma.sum()
        found: FloatArray = scale * np.einsum("pb,qb,b->pq", slope, slope, 1.0 / sigma)
        return found

    @cached_property
    def reference(self) -> Point:
        """The point of the samples that is nearest to the origin."""
        span = np.abs(self.points).max(axis=0)
        distance = np.linalg.norm(self.points / np.where(span > 0, span, 1.0), axis=1)
        values = self.points[int(np.argmin(distance))].tolist()
        return dict(zip(self.basis.parameters, values, strict=True))

    @cached_property
    def scan_points(self) -> FloatArray:
        """Points all over the range of the samples, shape (m, n_parameters)."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        each = 1001 if len(low) == 1 else max(3, round(_SCAN ** (1 / len(low))))
        axes = [np.linspace(a, b, each) for a, b in zip(low, high, strict=True)]
        return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Range of the samples, by parameter, in which costs may be minimised.

        For one parameter only the part of it, around the reference, in which every bin is
        positive.
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

    def diagnose(self, n_events: float | None = None) -> TemplateDiagnosis:
        """Check every bin: events expected and simulated, sign, and the fit of the polynomial.

        Parameters
        ----------
        n_events
            Events of the dataset; default: what the luminosity gives at the reference.
        """
        from milinfer.binned.template_diagnosis import diagnose_templates

        return diagnose_templates(self, n_events)

    @cached_property
    def basis_points(self) -> FloatArray:
        """Points of the morphing basis, shape (n_coefficients, n_parameters)."""
        return self.basis.choose_points(self.points)

    def basis_yields(self, scale: float) -> FloatArray:
        """Yields of the fitted polynomials at the basis points, (n_coefficients, n_bins)."""
        return np.stack([scale * self.cross_sections(self.point(p)) for p in self.basis_points])

    def point(self, values: Sequence[float] | FloatArray) -> Point:
        """Parameter values by name."""
        return dict(zip(self.basis.parameters, map(float, values), strict=True))

    def workspace(
        self, counts: ArrayLike | None = None, *, mc_stat: bool = True, name: str | None = None
    ) -> dict[str, Any]:
        """HistFactory workspace with one sample for each point of the morphing basis.

        See :func:`milinfer.binned.template_cost.template_workspace`.
        """
        from milinfer.binned.template_cost import template_workspace

        return template_workspace(self, counts, mc_stat=mc_stat, name=name)

    def cost(
        self,
        data: Sample | ArrayLike,
        *,
        rate: bool = False,
        mc_stat: bool = True,
        name: str | None = None,
    ) -> TemplateCost:
        """Cost −2 ln L of a dataset through pyhf.

        See :class:`milinfer.binned.template_cost.TemplateCost`.

        Parameters
        ----------
        data
            A dataset, or counts of shape (n_bins,), whole or not (Asimov).
        rate
            Whether the number of events counts too; otherwise the shape alone.
        mc_stat
            Whether the templates have Monte-Carlo errors (``staterror``), profiled.
        name
            Of the pyhf channel; default: of the observable.

        Raises
        ------
        TemplateError
            If the counts do not fit the templates, or a fit with the rate has no luminosity.
        """
        from milinfer.binned.template_cost import TemplateCost

        if isinstance(data, Sample):
            data.require_data()
        counts = self.counts(data) if isinstance(data, Sample) else np.asarray(data, np.float64)
        return TemplateCost(self, counts, rate=rate, mc_stat=mc_stat, name=name)

    def _events_per_pb(self) -> float:
        if self.luminosity is None:
            msg = f"{self.observable_name}: expected yields need luminosity= in 1/fb"
            raise TemplateError(msg)
        return 1000.0 * self.luminosity


def _fit(
    basis: PolynomialBasis, points: FloatArray, contents: FloatArray, variances: FloatArray
) -> PolynomialFit:
    """Polynomial of each bin, with the variances that the polynomial itself expects."""
    fit = fit_bins(basis, points, contents, np.sqrt(variances))
    for _ in range(3):
        expected = basis.value(fit, points)
        # Kept near one: where weights have both signs, contents say little about variances.
        usable = (contents > 0) & (expected > 0)
        ratio = np.divide(expected, contents, where=usable, out=np.ones_like(contents))
        fit = fit_bins(basis, points, contents, np.sqrt(variances * np.clip(ratio, 0.2, 5.0)))
    return fit


def templates_table(templates: Templates) -> pa.Table:
    """One row for each bin of each sample.

    Columns: ``point.PARAMETER``, ``bin``, ``OBSERVABLE.low`` and ``OBSERVABLE.high`` for each
    observable, ``cross_section`` and ``cross_section_error`` of the filled histogram,
    ``fitted`` and ``fitted_error`` of the polynomial, all in pb.  The polynomial contains the
    background, if there is one; the histograms of the samples do not.

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
    """Facts of templates, and the histogram at the reference where there is one observable.

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
        "polynomial": f"degree {templates.basis.degree}, {len(templates.points)} samples in "
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
    shown = html_facts(f"Templates of {templates.observable_name}", facts)
    if len(templates.axes) > 1:
        return shown
    (axis,) = templates.axes
    return f"<div>{html_histogram(axis.edges, sigma, axis.name)}{shown}</div>"


def save_histograms(templates: Templates, path: PathLikeStr) -> None:
    """Write the histogram of each sample, with variances, in pb.

    The file is a JSON object: name of the point (``c_HW_m0p5``) → histogram in the serialisation
    of the Universal Histogram Interface.  The metadata of each hold ``point``
    (``c_HW=-0.5``) and ``unit``, in hist ``h.point`` and ``h.unit``.

    Parameters
    ----------
    templates
        Whose ``histograms`` to write.
    path
        JSON file.

    Examples
    --------
    >>> import tempfile
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_histograms(templates, Path(folder, "h.json"))
    ...     histograms = load_histograms(Path(folder, "h.json"))
    >>> list(histograms), histograms["mu_0"] == templates.histograms[1]
    (['mu_m0p5', 'mu_0', 'mu_0p5'], True)
    """
    import uhi.io.json as uhi_json

    content: dict[str, Any] = {}
    for values, h in zip(templates.points.tolist(), templates.histograms, strict=True):
        point = dict(zip(templates.basis.parameters, values, strict=True))
        # The schema of UHI allows text and numbers here; hist makes attributes of them.
        item = h._to_uhi_()
        notes = {**item.get("metadata", {}), "point": format_point(point), "unit": "pb"}
        content[point_id(point)] = {**item, "metadata": notes}
    write_whole(path, json.dumps(content, default=uhi_json.default, indent=1) + "\n")


def load_histograms(path: PathLikeStr) -> dict[str, Any]:
    """Read histograms in the UHI serialisation.

    Parameters
    ----------
    path
        JSON file: an object with a histogram for each name, or one histogram, which then has
        the name of the file; from any library.

    Returns
    -------
    dict
        Name → ``hist.Hist``.

    Raises
    ------
    TemplateError
        If the file is no such JSON.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "h.json").write_text('{"h": 1}')
    ...     try:
    ...         load_histograms(Path(folder, "h.json"))
    ...     except TemplateError as error:
    ...         print(str(error).replace(folder, ""))
    /h.json: 'h' is no histogram in the UHI serialisation ...
    """
    import hist
    import uhi.io.json as uhi_json

    try:
        content = parse_json(
            Path(path).read_text(encoding="utf-8"), object_hook=uhi_json.object_hook
        )
        # UHI allows a file of one histogram as well as one of several by name.
        named = {Path(path).stem: content} if "uhi_schema" in content else dict(content)
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} is no JSON object of histograms: {error}; write it again"
        raise TemplateError(msg) from error
    histograms = {}
    for name, item in named.items():
        if not isinstance(item, dict) or "uhi_schema" not in item:
            msg = f"{path}: {name!r} is no histogram in the UHI serialisation (no uhi_schema)"
            raise TemplateError(msg)
        try:
            histograms[name] = hist.Hist(item)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path}: the histogram {name!r} is damaged: {error!r}; write it again"
            raise TemplateError(msg) from error
    return histograms
