"""The section about nuisance parameters in a report: its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scipy.interpolate import CubicSpline

from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.diagnostics.response_diagnosis import ResponseDiagnosis
from milinfer.plotting.fit_tests import plot_fit_tests
from milinfer.plotting.likelihood import plot_impacts, plot_pulls
from milinfer.plotting.response_diagnostics import response_figures
from milinfer.plotting.results import plot_datasets, plot_scans
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.points import format_point
from milinfer.workflow.comparison import Unavailable
from milinfer.workflow.html_report import Report
from milinfer.workflow.report_parts import datasets_caption
from milinfer.workflow.systematics import (
    CALIBRATED,
    IGNORING,
    LEARNED,
    NuisanceFit,
    NuisanceResult,
)
from milinfer.workflow.systematics_expected import add_expectation, expectation_figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["add_nuisances", "nuisance_figures"]

_TITLES = {
    "learned": "learned, with nuisance parameters",
    "calibrated": "learned, with nuisance parameters, calibrated",
    "ignoring": "learned, nuisance parameters ignored",
    "histogram": "histogram of the score, with nuisance parameters",
    "exact": "exact likelihood, with nuisance parameters",
}


# In legends, where there is less room.
_SHORT = {"ignoring": "ignoring them"}


def add_nuisances(
    report: Report,
    result: NuisanceResult | Unavailable,
    drawn: Mapping[str, tuple[Figure | str, str]],
) -> None:
    """Add the section about nuisance parameters to a report.

    Parameters
    ----------
    report
        Report to add to.
    result
        Result of the fits, or the reason why there are none.
    drawn
        Figures of :func:`nuisance_figures`, each with its caption.  A figure may be given as SVG.

    Examples
    --------
    >>> report = Report("c_HW")
    >>> add_nuisances(report, Unavailable("systematics", "fit", "no luminosity"), {})
    >>> "Nuisance parameters" in report.to_html()
    True
    """
    report.section("Nuisance parameters")
    if isinstance(result, Unavailable):
        report.text(f"There is no fit with nuisance parameters: {result.reason}.")
        return
    counted = "counts" if result.extended else "does not count"
    report.text(
        f"The same data are fitted with the nuisance parameters {', '.join(result.nuisances)}, "
        "each "
        f"with its auxiliary measurement. The number of events {counted}. "
        f"{_calibration_text(result)}"
    )
    report.table(
        [
            "fit",
            result.parameter,
            f"{CL68:.2%} interval",
            f"{CL95:.2%} interval",
            "nuisance parameters fixed",
        ],
        [_row(fit) for fit in result.fits.values()],
        "Profile likelihood intervals. Last column: the 68.27 % interval with the nuisance "
        "parameters fixed at their fitted values.",
    )
    for problem in result.problems:
        report.text(f"Missing: {problem}.")
    if any(fit.nuisances for fit in result.fits.values()):
        report.table(
            ["nuisance parameter", *(_TITLES.get(n, n) for n in _with_pulls(result))],
            _pull_rows(result),
            "Fitted values with MINOS errors (HESSE errors for the histogram). Before the fit each "
            "parameter is 0 ± 1; the luminosity is 1.",
        )
    for name in drawn:
        if name.startswith("nuisance_"):
            report.figure(*drawn[name])
    if result.fit_tests is not None:
        report.table(
            list(GoodnessOfFit.header),
            result.fit_tests.rows(),
            f"Goodness of the fit with nuisance parameters. {result.fit_tests.sentence}",
        )
        if "goodness_of_systematic_fit" in drawn:
            report.figure(*drawn["goodness_of_systematic_fit"])
    if result.diagnosis is not None:
        report.table(
            list(ResponseDiagnosis.header),
            result.diagnosis.rows(),
            f"The {result.diagnosis.title}. It was checked on varied events that were not used for "
            "training. A check is undecided if there are too few events to see a deviation that "
            "would matter.",
            {"measured": "text", "outcome": "text", "meaning": "text"},
        )
        for name in drawn:
            if name.startswith("response_"):
                report.figure(*drawn[name])
    if result.coverage:
        report.table(
            [
                "true values",
                "fit",
                f"coverage {CL68:.2%}",
                f"coverage {CL95:.2%}",
                "bias in standard deviations",
            ],
            [
                [
                    format_point(c.nuisances) or "nominal",
                    _TITLES.get(c.method, c.method),
                    c.inner.with_errors(),
                    c.outer.with_errors(),
                    f"{c.bias:+.2f} ± {c.bias_error:.2f}",
                ]
                for c in result.coverage
            ],
            f"Toys at {result.parameter} = {result.truth:g}, {result.coverage[0].inner.n_toys} at "
            "each point. Their events are simulated with the true values, not reweighted by the "
            "learned response; auxiliary measurements are drawn around these values. Coverages "
            "have a binomial error and, if it is larger, an error from the finite event pool; the "
            "error of the bias includes both.",
            {"fit": "text"},
        )
    add_expectation(report, result.expectation)


def _calibration_text(result: NuisanceResult) -> str:
    """Describe the calibration of the fit with nuisance parameters."""
    calibration = result.calibration
    if calibration is None:
        return (
            "The learned likelihood is not calibrated here: the constants of the calibration are "
            "valid only for the fit without nuisance parameters."
        )
    c, c_error = calibration.scale_at(result.truth)
    bias, bias_error = calibration.bias(result.truth)
    return (
        "The profile likelihood has its own calibration (c_cicc and bias), from toys in which all "
        "auxiliary measurements are drawn around the nominal values and all nuisance parameters "
        "are profiled. The events of these toys are used neither for training nor for the "
        "coverage: at "
        f"{result.parameter} = {result.truth:g} c_cicc is {c:.3f} ± {c_error:.3f} and the bias "
        f"{bias:+.4f} ± {bias_error:.4f}; {calibration.n_toys} toys at each of "
        f"{len(calibration.points)} values."
    )


def _row(fit: NuisanceFit) -> list[str]:
    return [
        _TITLES.get(fit.name, fit.name),
        f"{fit.inner.estimate:+.3f}",
        *(
            "—" if i is None else f"[{i.low:+.3f}, {i.high:+.3f}]"
            for i in (fit.inner, fit.outer, fit.statistical)
        ),
    ]


def _with_pulls(result: NuisanceResult) -> list[str]:
    return [name for name, fit in result.fits.items() if fit.nuisances]


def _pull_rows(result: NuisanceResult) -> list[list[str]]:
    """Value and errors of each nuisance parameter in each fit."""
    rows = []
    for name in result.nuisances:
        cells = [name]
        for fit_name in _with_pulls(result):
            of_name = [i for i in result.fits[fit_name].nuisances if i.name == name]
            cells.append(
                f"{of_name[0].value:+.3f} {of_name[0].lower:+.3f} {of_name[0].upper:+.3f}"
                if of_name
                else "—"
            )
        rows.append(cells)
    return rows


def nuisance_figures(result: NuisanceResult, truth: float | None) -> dict[str, tuple[Figure, str]]:
    """Draw profiles, pulls, impacts and checks of the response; return them by name, with captions.

    Parameters
    ----------
    result
        Fits to draw.
    truth
        True value of the parameter of interest in the data, drawn as a line; None: it is not known.

    Examples
    --------
    >>> nuisance_figures(NuisanceResult("mu", 0.0, ("shift",), True, {}), truth=None)
    {}
    """
    out: dict[str, tuple[Figure, str]] = {}
    profiles = {n: f.profile for n, f in result.fits.items() if f.profile.size}
    if profiles:
        ends = next(iter(profiles.values()))[0, [0, -1]]
        out["nuisance_profile"] = (
            plot_scans(
                {_SHORT.get(n, n): CubicSpline(*p) for n, p in profiles.items()},
                result.parameter,
                (float(ends[0]), float(ends[1])),
                truth,
                dashed=[_SHORT[IGNORING]],
            ),
            "Profile likelihood of the same data, with nuisance parameters and without.",
        )
    drawn_beside = [n for n in (CALIBRATED, LEARNED) if n in result.datasets and n in result.fits]
    if drawn_beside:
        name = drawn_beside[0]
        out["nuisance_datasets"] = (
            plot_datasets(result.fits[name].inner, result.datasets[name]),
            datasets_caption(
                f"The interval of the data ({_TITLES[name]})",
                f"{result.parameter} = {result.truth:g} and nominal nuisance parameters",
            ),
        )
    pulls = {_SHORT.get(n, n): f.nuisances for n, f in result.fits.items() if f.nuisances}
    if pulls:
        out["nuisance_pulls"] = (
            plot_pulls(pulls),
            (
                "Fitted nuisance parameters, in errors of their auxiliary measurements. The bands "
                "are one and two of these errors."
            ),
        )
    fit = result.fits.get(LEARNED)
    if fit is not None and fit.nuisances:
        out["nuisance_impacts"] = (
            plot_impacts(fit.nuisances, result.parameter),
            (
                f"Shift of {result.parameter} with each nuisance parameter fixed at the ends of "
                "its MINOS interval and all others refitted."
            ),
        )
    if result.fit_tests is not None and result.fit_tests.histograms:
        out["goodness_of_systematic_fit"] = (
            plot_fit_tests(result.fit_tests),
            (
                "Ratio of the data to simulated events at the fit with nuisance parameters, the "
                "worst-described feature first. The band is the error of the fit and of the "
                "simulation."
            ),
        )
    if result.diagnosis is not None:
        drawn = response_figures(result.diagnosis)
        out |= {f"response_{name}": figure for name, figure in drawn.items()}
    return out | expectation_figures(result.expectation, None if fit is None else fit.inner)
