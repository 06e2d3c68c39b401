"""Expected results of an analysis with nuisance parameters, and the parts of its error.

This module is the part of :mod:`milinfer.workflow.systematics` that uses Asimov data and computes
impacts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import MilinferWarning
from milinfer.intervals.expected import ExpectedInterval, expected_interval
from milinfer.intervals.ranking import ErrorPart, NuisanceImpacts, nuisance_impacts
from milinfer.likelihood.asimov import asimov_cost
from milinfer.plotting.expected import plot_expected
from milinfer.plotting.likelihood import plot_impacts
from milinfer.toys.pool import EventPool
from milinfer.utils.confidence_levels import CL68, CL95

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.likelihood.fits import Interval
    from milinfer.likelihood.systematics import SystematicTerms
    from milinfer.samples.sample import Sample
    from milinfer.samples.sample_set import SampleSet
    from milinfer.toys.ensemble import ToyEnsemble
    from milinfer.typing import Point
    from milinfer.workflow.html_report import Report

__all__ = [
    "NuisanceExpectation",
    "add_expectation",
    "expectation_figures",
    "expected_of",
    "impacts_of",
    "impacts_on_asimov",
]


@dataclass(frozen=True, eq=False)
class NuisanceExpectation:
    """Expected intervals, and impacts, which give the parts of the error of the estimate.

    Parameters
    ----------
    impacts
        Impacts of the nuisance parameters on the parameter of interest; None if there are none.
    of_asimov
        True: the impacts are from a fit of Asimov data, as in a blind analysis.  False: they are
        from the fit of the data.
    intervals
        Expected 68.27 % and 95.45 % intervals; empty if there are no toys.
    remarks
        Warnings of the fits, as texts.
    """

    impacts: NuisanceImpacts | None = None
    of_asimov: bool = False
    intervals: tuple[ExpectedInterval, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """Text for captions that says which data were fitted for the impacts."""
        return "of Asimov data" if self.of_asimov else "of the data"

    @property
    def parts(self) -> tuple[ErrorPart, ...]:
        """Parts of the error: each nuisance parameter, then statistical, systematic and total."""
        return () if self.impacts is None else self.impacts.breakdown()

    def to_dict(self) -> dict[str, Any]:
        """Entries of the section ``systematics`` of ``summary.json``."""
        out: dict[str, Any] = {}
        if self.impacts is not None:
            out["error_parts"] = {p.name: p.error for p in self.parts}
            out["error_parts_of"] = "Asimov data" if self.of_asimov else "data"
        if self.intervals:
            out["expected"] = {
                f"{round(100 * i.cl):d}": {
                    "interval": [i.low, i.high],
                    "low_bands": i.lows.tolist(),
                    "high_bands": i.highs.tolist(),
                    "n_toys": i.n_toys,
                    "n_cut": i.n_cut,
                }
                for i in self.intervals
            }
        if self.remarks:
            out["remarks"] = list(self.remarks)
        return out


@contextmanager
def _remarks(into: list[str]) -> Iterator[None]:
    """Collect warnings, which are part of the result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MilinferWarning)
        yield
    for w in caught:
        if issubclass(w.category, MilinferWarning):
            into.append(str(w.message))
        else:
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def impacts_of(cost: Any, parameter: str, start: Point) -> NuisanceExpectation:
    """Compute the impacts of a fit with nuisance parameters, by all definitions.

    Raises
    ------
    FitError
        If a fit is not valid.
    """
    remarks: list[str] = []
    with _remarks(remarks):
        found = nuisance_impacts(cost, parameter, start=start)
    return NuisanceExpectation(impacts=found, remarks=tuple(remarks))


def impacts_on_asimov(
    terms: SystematicTerms,
    samples: SampleSet,
    truth: Point,
    *,
    weight_degree: int | None = None,
) -> NuisanceExpectation:
    """Compute impacts with Asimov data at nominal nuisance parameters, without using the data.

    Parameters
    ----------
    terms, samples, weight_degree
        As for :func:`expected_of`.
    truth
        Values of the parameters of interest.

    Raises
    ------
    MilinferError
        If there are no events at the reference, or a fit is not valid.
    """
    remarks: list[str] = []
    with _remarks(remarks):
        cost = asimov_cost(terms, _reference_events(terms, samples, weight_degree), truth)
        found = nuisance_impacts(cost, terms.parameters[0], start=truth)
    return NuisanceExpectation(impacts=found, of_asimov=True, remarks=tuple(remarks))


def _reference_events(
    terms: SystematicTerms, samples: SampleSet, weight_degree: int | None
) -> Sample:
    """Nominal events of the signal at the reference, or weighted to it."""
    reference = dict(zip(terms.parameters, terms.mixture.reference.tolist(), strict=True))
    if weight_degree is None:
        return samples.at(**reference)
    return EventPool(samples, weight_degree).reweighted(reference)


def expected_of(
    terms: SystematicTerms,
    samples: SampleSet,
    toys: ToyEnsemble,
    *,
    weight_degree: int | None = None,
) -> NuisanceExpectation:
    """Compute the expected intervals at the true value of toys with nominal nuisance parameters.

    Parameters
    ----------
    terms
        Terms of the likelihood of the signal.
    samples
        Nominal events of the signal: at the reference, or with weights with which they can be
        reweighted to it.
    toys
        Toys of the same likelihood, in which the nuisance parameters were profiled.
    weight_degree
        Degree of the event weights.

    Raises
    ------
    MilinferError
        If there are no events at the reference, or an interval cannot be computed.
    """
    events = _reference_events(terms, samples, weight_degree)
    remarks: list[str] = []
    with _remarks(remarks):
        cost = asimov_cost(terms, events, toys.point)
        intervals = tuple(expected_interval(toys, cost, cl=cl) for cl in (CL68, CL95))
    return NuisanceExpectation(intervals=intervals, remarks=tuple(remarks))


def add_expectation(report: Report, found: NuisanceExpectation) -> None:
    """Add a table of the parts of the error and a table of expected intervals to a report.

    Examples
    --------
    >>> from milinfer.workflow.html_report import Report
    >>> report = Report("mu")
    >>> add_expectation(report, NuisanceExpectation(remarks=("jes reaches its limit",)))
    >>> "jes reaches its limit" in report.to_html()
    True
    """
    if found.impacts is not None:
        report.table(
            ["part", f"error of {found.impacts.parameters[0]}"],
            [[p.name, f"{p.error:.4g}"] for p in found.parts],
            f"Parts of the error of the fit {found.subject} with nuisance parameters: shifts of "
            "the estimate when each auxiliary measurement moves by its error, and the statistical "
            "error from the events. They add in quadrature.",
        )
    for interval in found.intervals:
        report.table(
            ["of", "estimate", "from", "to", "width"],
            [
                [row["of"], *(f"{row[n]:+.3f}" for n in ("estimate", "low", "high", "width"))]
                for row in interval.to_table().to_pylist()
            ],
            f"Expected {interval.cl:.2%} interval at {interval.parameter} = {interval.truth:g}, "
            "from "
            f"Asimov data and with bands from {interval.n_toys} toys"
            + (
                f"; {interval.n_cut} of these intervals reach the end of the range."
                if interval.n_cut
                else "."
            ),
        )
    for remark in found.remarks:
        report.text(f"Note: {remark}.")


def expectation_figures(
    found: NuisanceExpectation, observed: Interval | None
) -> dict[str, tuple[Figure, str]]:
    """Draw the ranking of impacts and the expected interval; return them by name, with captions.

    Examples
    --------
    >>> expectation_figures(NuisanceExpectation(), None)
    {}
    """
    out: dict[str, tuple[Figure, str]] = {}
    if found.impacts is not None and any(np.isfinite(p.error) for p in found.parts):
        parameter = found.impacts.parameters[0]
        out["nuisance_impacts"] = (
            plot_impacts(found.impacts, parameter),
            (
                f"Fit {found.subject}: shift of {parameter} with each nuisance parameter fixed one "
                "error from its fitted value and all others refitted. Frames: the same for one "
                "error of its auxiliary measurement. Right: pulls."
            ),
        )
    if found.intervals:
        inner = found.intervals[0]
        name = "with nuisance parameters"
        seen = None if observed is None else {name: (observed.low, observed.high)}
        out["nuisance_expected"] = (
            plot_expected({name: inner}, seen),
            (
                f"Expected {inner.cl:.2%} interval at {inner.parameter} = {inner.truth:g}, with "
                "the bands from toys, and the observed interval."
            ),
        )
    return out
