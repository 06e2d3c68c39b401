"""Check templates for bins with too few events, negative bins and polynomials that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.binned.template_histograms import TemplateHistograms
from milinfer.typing import Point
from milinfer.utils.display import html_table, rich_table, tuples_table
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = [
    "BinDiagnosis",
    "TemplateDiagnosis",
    "circular_edges",
    "diagnose_templates",
    "few_events",
]

# Of fewer events that the information comes from, the likelihood is far from a parabola.
_FEW_EVENTS = 10.0
# Below this, the error of a bin is above 32 % and far from Gaussian.
FEW_EFFECTIVE = 10.0
_MIN_P_VALUE = 1e-6


def few_events(information_events: Mapping[str, float]) -> tuple[str, ...]:
    """Text with problem and advice for each parameter whose information comes from too few events.

    Parameters
    ----------
    information_events
        Result of :meth:`milinfer.Templates.information_events`.

    Examples
    --------
    >>> few_events({"mu": 4.2, "nu": 40.0, "unknown": np.nan})
    ('the information on mu comes from effectively 4.2 events, fewer than 10: ...',)
    """
    return tuple(
        f"the information on {parameter} comes from effectively {number:.2g} events, fewer than "
        f"{_FEW_EVENTS:g}: intervals may not cover, so check the coverage with toys"
        for parameter, number in information_events.items()
        if number < _FEW_EVENTS
    )


def circular_edges(name: str) -> str:
    """Text with problem and advice if edges were chosen with the same events that fill the bins.

    Examples
    --------
    >>> circular_edges("x0")
    'the edges of x0 were chosen on the events that fill its bins, so its slope is too steep: ...'
    """
    return (
        f"the edges of {name} were chosen on the events that fill its bins, so its slope is too "
        "steep: choose the edges on other events"
    )


class BinDiagnosis(NamedTuple):
    """Diagnosis of one bin.

    Parameters
    ----------
    number, name
        Index and name of the bin.
    share
        Fraction of the events at the reference that are in this bin.
    expected
        Number of data events expected in the bin at the reference; NaN if neither the luminosity
        nor the number of data events is known.
    effective
        Effective number of simulated events in the bin at the reference.  It is 1/δ², where δ is
        the relative error of the bin's polynomial.
    smallest_effective
        Effective number of events (Σw)²/Σw² of the sample that has fewest in the bin.  It is given
        only for information, because the polynomial uses all samples.
    p_value
        p-value of the fit of the polynomial to the samples; NaN if the fit has no degrees of
        freedom.  Templates with a `weight_degree` are not fitted.  For these the p-value compares
        the histogram of each sample with the polynomial from all events; NaN if there is only one
        sample.
    negative_at
        Point at which the polynomial is not positive, in the range that the samples cover; None if
        there is no such point.
    problems
        The problems of the bin in words; empty if it has none.
    """

    number: int
    name: str
    share: float
    expected: float
    effective: float
    smallest_effective: float
    p_value: float
    negative_at: Point | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class TemplateDiagnosis:
    """Diagnosis of all bins of templates.  It can be iterated over, printed and shown as a table.

    Parameters
    ----------
    title
        Name of the observable.
    reference
        Parameter point at which yields and errors are given.
    rows
        Diagnosis of each bin.
    circular
        Observables whose edges were chosen with the same events that fill the bins.
    information_events
        For each parameter, the effective number of data events from which the information on it
        comes (:meth:`milinfer.Templates.information_events`).  Empty if the number of data events
        is unknown.
    """

    title: str
    reference: Point
    rows: tuple[BinDiagnosis, ...]
    circular: tuple[str, ...] = ()
    information_events: Mapping[str, float] = field(default_factory=dict)

    def __iter__(self) -> Iterator[BinDiagnosis]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems of the whole histogram, and those of single bins with the bin's name."""
        return (
            *self._common_problems,
            *(f"bin {r.number} {r.name}: {p}" for r in self.rows for p in r.problems),
        )

    @property
    def _common_problems(self) -> tuple[str, ...]:
        edges = (circular_edges(name) for name in self.circular)
        return (*edges, *few_events(self.information_events))

    @property
    def passed(self) -> bool:
        """True if there is no problem."""
        return not self.problems

    def __str__(self) -> str:
        """Lines of text, one for each bin."""
        lines = [f"{self.title} at {format_point(self.reference)}"]
        lines += [f"  {problem}" for problem in self._common_problems]
        for r in self.rows:
            expected = "" if np.isnan(r.expected) else f", {r.expected:.1f} expected"
            verdict = "; ".join(r.problems) or "ok"
            lines.append(
                f"  bin {r.number} {r.name}: {r.share:.1%}{expected}, {r.effective:.0f} effective "
                f"events: {verdict}"
            )
        return "\n".join(lines)

    header = ("bin", "share", "expected", "effective", "least", "p-value", "problems")

    def table_rows(self) -> list[list[str]]:
        """Rows of the table, each a list of texts."""
        return [
            [
                f"{r.number} {r.name}",
                f"{r.share:.1%}",
                "—" if np.isnan(r.expected) else f"{r.expected:.1f}",
                f"{r.effective:.0f}",
                f"{r.smallest_effective:.0f}",
                "—" if np.isnan(r.p_value) else f"{r.p_value:.2g}",
                "; ".join(r.problems) or "—",
            ]
            for r in self.rows
        ]

    def __repr__(self) -> str:
        bad = len(self.problems)
        return f"TemplateDiagnosis({self._heading}, {len(self)} bins, {bad} problems)"

    @property
    def _heading(self) -> str:
        return f"{self.title} at {format_point(self.reference)}"

    def to_rich(self) -> Table:
        """Make a table for the terminal."""
        return rich_table(self._heading, self.header, self.table_rows(), left=["problems"])

    def _repr_html_(self) -> str:
        return html_table(self.header, self.table_rows(), title=self._heading)

    def to_table(self) -> pa.Table:
        """Make a table with one row for each bin.

        The columns are the fields of :class:`BinDiagnosis` that are numbers or text, and
        ``problems``, in which the problems of a bin are joined by semicolons.
        """
        numbers = tuples_table(BinDiagnosis, self.rows)
        return numbers.append_column("problems", [["; ".join(r.problems) for r in self.rows]])


def diagnose_templates(
    templates: TemplateHistograms, n_events: float | None = None
) -> TemplateDiagnosis:
    """Check every bin of templates.

    Parameters
    ----------
    templates
        Templates of the histogram.
    n_events
        Number of events of the dataset; default: the number expected at the reference for the
        luminosity of the templates.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=[-9, -0.5, 0.5, 9], degree=2)
    >>> diagnosis = diagnose_templates(templates, n_events=12)
    >>> diagnosis.passed, diagnosis.problems[0]
    (False, 'the information on mu comes from effectively 6.8 events, fewer than 10: ...')
    """
    from scipy.stats import chi2

    at = templates.reference
    values = templates.basis.value(templates.fit, templates.basis.array(at))[0]
    total = float(values.sum())
    share = values / total
    expected = np.full(templates.n_bins, np.nan)
    if n_events is not None:
        expected = n_events * share
    elif templates.luminosity is not None:
        expected = 1000.0 * templates.luminosity * values
    variance = templates.basis.variance(templates.fit, templates.basis.array(at))[0]
    # A bin that is negative at the reference has no effective events.
    # Contents without errors count as those of any number of events.
    effective = np.divide(
        np.maximum(values, 0.0) ** 2, variance, where=variance > 0, out=np.full(len(values), np.inf)
    )
    squares = np.stack([h.variances().ravel() for h in templates.histograms])
    sums = np.stack([h.values().ravel() for h in templates.histograms])
    smallest = (np.maximum(sums, 0.0) ** 2 / np.where(squares > 0, squares, 1.0)).min(axis=0)
    ndf = templates.fit.ndf
    if templates.closure is not None:
        p_values = templates.closure
        misfit = (
            "the histograms of the samples differ from the histogram of all events, reweighted to "
            "their"
        )
        misfit, remedy = f"{misfit} points", "check the weights and the cross-sections"
    else:
        p_values = chi2.sf(templates.fit.chi2, ndf) if ndf else np.full(templates.n_bins, np.nan)
        misfit = f"not a polynomial of degree {templates.basis.degree}"
        remedy = "raise the degree, or check the weights"
    scan = templates.scan_points
    negative = templates.basis.value(templates.fit, scan) <= 0
    rows = []
    for b, name in enumerate(templates.bin_names):
        negative_at = None
        if negative[:, b].any():
            # Of all such points the one nearest to the reference, as it matters most.
            bad = scan[negative[:, b]]
            span = np.maximum(np.ptp(scan, axis=0), 1e-300)
            distance = np.linalg.norm((bad - templates.basis.array(at)) / span, axis=1)
            nearest = bad[int(np.argmin(distance))].tolist()
            negative_at = dict(zip(templates.basis.parameters, nearest, strict=True))
        problems = []
        # A tolerance, so that rounding does not decide whether exactly ten events are enough.
        if effective[b] < FEW_EFFECTIVE * (1 - 1e-9):
            problems.append(
                f"{effective[b]:.2g} effective simulated events, below "
                f"{FEW_EFFECTIVE:g}: use fewer or wider bins, or more events"
            )
        if negative_at is not None:
            problems.append(
                f"the polynomial is not positive at {format_point(negative_at)}: "
                "use wider bins, a lower degree or more events"
            )
        if p_values[b] < _MIN_P_VALUE:
            problems.append(f"{misfit} (p = {p_values[b]:.1g}): {remedy}")
        rows.append(
            BinDiagnosis(
                number=b,
                name=name,
                share=float(share[b]),
                expected=float(expected[b]),
                effective=float(effective[b]),
                smallest_effective=float(smallest[b]),
                p_value=float(p_values[b]),
                negative_at=negative_at,
                problems=tuple(problems),
            )
        )
    size = float(expected.sum())
    return TemplateDiagnosis(
        title=templates.observable_name,
        reference=at,
        rows=tuple(rows),
        circular=templates.circular,
        information_events={} if np.isnan(size) else templates.information_events(at, size),
    )
