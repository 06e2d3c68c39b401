"""Make the figures, the report and the summary of an analysis, and write them to a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from milinfer.binned.template_diagnosis import few_events
from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.intervals.coverage import CoverageScan
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.plotting import coverage as coverage_figures
from milinfer.plotting import results as plotting
from milinfer.plotting import samples as histogram_figures
from milinfer.plotting.coverage import plot_belt
from milinfer.plotting.diagnostics import diagnostic_figures, plot_relative_widths
from milinfer.plotting.finite_simulation import plot_simulation_error
from milinfer.plotting.fit_tests import plot_fit_tests
from milinfer.plotting.style import method_title
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import EventPool
from milinfer.typing import PathLikeStr
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.files import write_whole
from milinfer.utils.points import format_point
from milinfer.workflow.comparison import advice
from milinfer.workflow.finite_simulation import TrainingError, add_training_errors
from milinfer.workflow.html_report import Report
from milinfer.workflow.report_parts import (
    add_fit_tests,
    add_provenance,
    calibration_words,
    datasets_caption,
    write_figures,
)
from milinfer.workflow.several_parameters import SeveralResult
from milinfer.workflow.several_report import build_several_report, draw_several
from milinfer.workflow.systematics import NuisanceResult
from milinfer.workflow.systematics_report import add_nuisances, nuisance_figures

if TYPE_CHECKING:
    from iminuit.cost import Cost
    from matplotlib.figure import Figure

    from milinfer.intervals.calibration import Calibration
    from milinfer.likelihood.fits import Interval
    from milinfer.workflow.analysis_result import AnalysisResult
    from milinfer.workflow.analysis_settings import Analysis
    from milinfer.workflow.comparison import MethodResult

__all__ = ["build_report", "draw_figures", "write_report"]


def write_report(result: AnalysisResult | SeveralResult, directory: PathLikeStr) -> None:
    """Write ``summary.json``, ``report.html`` and the figures (PNG and SVG) of an analysis.

    Parameters
    ----------
    result
        Result of :func:`milinfer.workflow.analysis.analyse` or, with several parameters, of
        :func:`milinfer.workflow.several_parameters.analyse_several`.
    directory
        Folder to write to; it is created if it does not exist.
    """
    if isinstance(result, SeveralResult):
        drawn = write_figures(draw_several(result), directory)
        report = build_several_report(result, drawn)
    else:
        drawn = write_figures(draw_figures(result), directory)
        report = build_report(result, drawn)
    summary = json.dumps(result.summary(), indent=2) + "\n"
    write_whole(Path(directory) / "summary.json", summary)
    report.write(Path(directory) / "report.html")


def build_report(result: AnalysisResult, drawn: Mapping[str, tuple[Figure | str, str]]) -> Report:
    """Build the report of an analysis.

    Parameters
    ----------
    result
        Result of :func:`milinfer.workflow.analysis.analyse`.
    drawn
        Figures by name, each with its caption.  A figure may be given as SVG.
    """
    analysis, comparison = result.analysis, result.comparison
    model = analysis.model
    learned = comparison[model.name]
    n = len(analysis.data)
    report = Report(analysis.title or f"{model.parameter} from {n} events", _headline(result))

    def show(*names: str) -> None:
        for name in names:
            if name in drawn:
                report.figure(*drawn[name])

    report.section("Result")
    _executive_table(report, result)
    report.section("Likelihood of the data")
    more = (
        ", and of the learned likelihood before and after calibration" if learned.calibrated else ""
    )
    report.text(
        f"−2ΔlnL of the same {n} events from each method{more}. The dotted lines are the "
        "thresholds of the 68.27 % and 95.45 % intervals."
        if any(m.intervals is not None for m in comparison)
        else "No method has an interval for these data inside the range."
    )
    show("scans", "surface")
    report.section("Intervals")
    show("intervals", "datasets")
    if model.name in result.belts:
        report.text(_belt_text(result))
        show("belt")
    report.section("Goodness of fit")
    add_fit_tests(report, result.analysis.model.name, result.fit_tests)
    show("fit_tests")
    report.section("Calibration")
    report.text(_calibration_text(learned))
    show("scale", "bias", "ladder")
    add_training_errors(report, result.training_errors, widened=analysis.simulation_error)
    show("simulation")
    report.section("Coverage")
    report.text(_coverage_text(result))
    show("coverage", "coverage_scan", "estimates")
    report.section("Diagnostics")
    _diagnostics(report, result)
    show(*(name for name in drawn if name.startswith("diagnosis_")))
    report.section("Comparison")
    report.text(
        f"{_filling_text(result)} pyhf fits the shape of the histograms, without the number of "
        "events, as the network does. Bin edges of a histogram of one observable are chosen to "
        "maximise the Fisher information. The fit includes the Monte-Carlo errors of the templates "
        "(Barlow and Beeston, one factor for each bin)."
    )
    report.table(
        list(comparison.header),
        [[method_title(row[0]), *row[1:]] for row in comparison.rows()],
        "I_eff = R²/Var(θ̂) for datasets of this size, with the response R = dE[θ̂]/dθ. "
        "Bartlett: I_curv/I_eff. ms: time for one fit with both intervals.",
    )
    show("widths", *(f"templates_{name}" for name in result.templates))
    if result.systematics is not None:
        add_nuisances(report, result.systematics, drawn)
    report.section("Training")
    for trained in analysis.models:
        fitted = trained.fitted
        effective, n_bag = fitted.effective_events, trained.events_in_bag
        report.text(
            f"{method_title(trained.name)}: {trained.ensemble} network(s), trained on "
            f"{'single events' if n_bag == 1 else f'bags of {n_bag} events'}"
            f", from {sum(fitted.n_events.values())} events at {len(fitted.grid)} points between "
            f"{fitted.grid[0]:g} and {fitted.grid[-1]:g}. The training set of the last network is "
            f"equivalent to {effective:.0f} unweighted events."
        )
    show("training", "features")
    report.section("Provenance")
    add_provenance(report, result.summary())
    return report


def _headline(result: AnalysisResult) -> str:
    """State the result in one or two sentences."""
    analysis = result.analysis
    parameter = analysis.model.parameter
    learned = result.comparison[analysis.model.name]
    point = f"{parameter} = {result.truth:g}"
    compared = f"Truth: {point}." if analysis.simulated else f"Methods are compared at {point}."
    if analysis.blinding is not None:
        compared += f" {analysis.blinding.sentence}"
    if learned.intervals is None:
        return f"No interval of {parameter} from the learned likelihood, see below. {compared}"
    inner = learned.intervals[0]
    covered = (
        "as trained (not calibrated); such intervals contain the true value in "
        f"{learned.coverages[0].with_errors()} of the toys"
    )
    kind = covered if learned.applied is None else calibration_words(learned.applied)
    return (
        f"{parameter} = {inner.estimate:+.3f}, {inner.cl:.2%} interval "
        f"[{inner.low:+.3f}, {inner.high:+.3f}] from a learned likelihood, {kind}. {compared}"
    )


def _executive_table(report: Report, result: AnalysisResult) -> None:
    """Add a table with one line for each method, with the numbers of the summary."""
    comparison = result.comparison
    ratios = {r.name: r for r in result.information}
    reference = next(iter(ratios.values())).reference if ratios else ""
    rows = []
    for m in comparison:
        ends = [f"[{i.low:+.3f}, {i.high:+.3f}]" for i in m.intervals or ()] or ["—", "—"]
        ratio = ratios.get(m.name)
        rows.append(
            [
                method_title(m.name),
                "—" if m.intervals is None else f"{m.intervals[0].estimate:+.3f}",
                *ends,
                m.coverages[0].with_errors(),
                m.coverages[1].with_errors(),
                f"{m.information.info_eff:.0f} ± {m.information.info_eff_error:.0f}",
                "—" if ratio is None else f"{ratio.ratio:.2f} ± {ratio.error:.2f}",
                _verdict(result, m.name),
            ]
        )
    rows += [
        [method_title(name), *["—"] * 7, "not available, see below"] for name in result.unavailable
    ]
    of = f"I_eff / {method_title(reference)}" if reference else "I_eff, relative"
    header = [
        "method",
        result.analysis.model.parameter,
        f"{CL68:.2%} interval",
        f"{CL95:.2%} interval",
        f"coverage {CL68:.2%}",
        f"coverage {CL95:.2%}",
        "I_eff",
        of,
        "diagnostics",
    ]
    report.table(
        header,
        rows,
        f"The same {len(result.analysis.data)} events and the same {result.analysis.n_toys} toys, "
        "fitted with each method. Coverages are given with binomial "
        f"errors{_pool_phrase(result)}; "
        "I_eff is the information about the parameter in a dataset of this size"
        + (
            f"; the next column divides it by that of {method_title(reference)} on the same toys."
            if reference
            else "."
        ),
        {"diagnostics": "text"},
    )
    for name, failure in result.unavailable.items():
        report.text(f"{method_title(name)} is not available: {failure.reason} ({failure.advice}).")
    for m in comparison:
        for problem in m.problems:
            report.text(f"{method_title(m.name)}: {problem} ({advice('calibration')}).")


_POOL_BARS = (
    "Thick bars are Clopper–Pearson errors; thin bars also include the error from the finite event "
    "pool."
)


def _pool_phrase(result: AnalysisResult) -> str:
    """Part of a caption: how far the finite pool of events may shift the coverages."""
    errors = [c.pool_error for m in result.comparison for c in m.coverages]
    largest = max((e for e in errors if not np.isnan(e)), default=0.0)
    if not largest:
        return ""
    toy_error = max(c.error for m in result.comparison for c in m.coverages)
    more = ", which dominates: use more events" if largest > toy_error else ""
    return (
        ", and all toys are drawn from the same simulated events, which may shift every coverage "
        f"by up to {largest:.1%}{more}"
    )


def _verdict(result: AnalysisResult, name: str) -> str:
    if name in result.diagnoses:
        diagnosis = result.diagnoses[name]
        if not isinstance(diagnosis, Diagnosis):
            return diagnosis
        if diagnosis.failures:
            failed = f"{len(diagnosis.failures)} of {len(diagnosis.checks)} checks failed"
            return f"do not trust as it is: {failed}"
        if not diagnosis.undecided:
            return diagnosis.verdict
        undecided = f"{len(diagnosis.undecided)} of {len(diagnosis.checks)} undecided"
        deviating = (*diagnosis.significant, *diagnosis.fluctuations)
        if not deviating:
            return f"nothing wrong found, {undecided}"
        deviations = ", ".join(f"{c.name} ({c.pull:.1f}σ)" for c in deviating)
        return f"deviations in {deviations}; {undecided}"
    if name in result.templates:
        found = result.templates[name].diagnose(len(result.analysis.data))
        problems = sum(bool(b.problems) for b in found)
        verdicts = [f"{problems} of {len(found)} bins with a problem"] if problems else []
        if few_events(found.information_events):
            verdicts.append("information from few events")
        return "; ".join(verdicts) or f"{len(found)} bins without a problem"
    return "exact by construction"


def _filling_text(result: AnalysisResult) -> str:
    """Where the histograms come from at every value of the parameter."""
    of_weights = [n for n, t in result.templates.items() if t.weight_degree is not None]
    morphed = [n for n in result.templates if n not in of_weights]
    parameter = result.analysis.model.parameter
    filled = (
        f"All simulated events fill the histograms at every value of {parameter}, through their "
        "weights. The content of a bin is a sum of polynomials, so no morphing is fitted."
    )
    fitted = "The histograms are morphed with a polynomial fitted through all samples."
    if of_weights and morphed:
        return f"{filled} The samples of {', '.join(morphed)} have no weights: {fitted}"
    return filled if of_weights else fitted


def _diagnostics(report: Report, result: AnalysisResult) -> None:
    """Add verdict and checks of every learned model."""
    report.text(
        "The checks test identities that an exact likelihood ratio fulfils, on events that were "
        "not used for the training. A check is undecided if there are too few events to see a "
        "deviation that would matter."
    )
    for name, diagnosis in result.diagnoses.items():
        if not isinstance(diagnosis, Diagnosis):
            report.text(f"{method_title(name)}: {diagnosis}.")
            continue
        report.table(
            list(Diagnosis.header),
            diagnosis.rows(),
            f"{method_title(name)}, datasets of {diagnosis.n_events} events: {diagnosis.verdict}.",
            {"measured": "text", "outcome": "text", "meaning": "text"},
        )


def _coverage_text(result: AnalysisResult) -> str:
    analysis, model = result.analysis, result.analysis.model
    evaluated = result.evaluation_toys[model.name]
    pools = (
        evaluated.n_effective,
        min(e.n_effective for e in result.calibration_toys[model.name]),
    )
    shift = float(np.sqrt(sum(len(analysis.data) / pool for pool in pools)))
    return (
        f"Coverage is measured on {analysis.n_toys} toys at {model.parameter} = {result.truth:g} "
        "(and as many at other values), from events that were used neither for training nor for "
        f"calibration. All toys are drawn from a pool equivalent to {evaluated.n_effective:.0f} "
        f"unweighted events at that value, each used {evaluated.reuse:.0f} times on average; the "
        "statistical fluctuation of this pool, and of the calibration pool, shifts all toys "
        f"together by about {shift:.2f} standard errors. The fluctuation of the first pool alone "
        f"changes the coverage by {evaluated.pool_coverage_error(CL68):.2%}, which is not part of "
        "the "
        "binomial error."
    )


def _calibration_text(learned: MethodResult) -> str:
    calibration = learned.applied
    if calibration is None:
        return (
            "There is no calibration; the reason is below the first table. Intervals and coverages "
            f"of {method_title(learned.name)} are those of the uncalibrated network."
        )
    theta = learned.information.theta
    levels = []
    for cl in calibration.cls:
        c, error = calibration.scale_at(theta, cl)
        levels.append(f"{c:.3f} ± {error:.3f} for {cl:.2%} intervals")
    bartlett = "; ".join(
        f"{c:.2f} ± {e:.2f} at {t:g}"
        for t, c, e in zip(
            calibration.thetas, calibration.c_bartlett, calibration.c_bartlett_error, strict=True
        )
    )
    bias, bias_error = calibration.bias(theta)
    return (
        "c_cicc, the factor by which Λ is multiplied to give correct coverage, is a function of "
        f"the parameter; at {theta:g} it is {' and '.join(levels)}. From the Bartlett ratio it "
        f"would be {bartlett}. The bias of the estimate at {theta:g}, which is corrected, is "
        f"{bias:+.4f} ± {bias_error:.4f}. {calibration.n_toys} toys at each of "
        f"{len(calibration.points)} values, from independent events."
        + (
            " The intervals include the error of this calibration, which comes from its finite "
            "pool of events."
            if calibration.widen
            else ""
        )
    )


def _belt_text(result: AnalysisResult) -> str:
    name = result.analysis.model.name
    belt = result.belts[name]
    inner, outer = (result.neyman_interval(name, cl) for cl in (CL68, CL95))
    at_bound = [ends for found in (inner, outer) if found for ends in found.at_bound]
    cut_off = " The confidence set ends at the edge of the belt, and may extend further."
    return (
        f"Toys at {len(belt.points)} values of {belt.parameters[0]} between {belt.limits[0][0]:g} "
        f"and {belt.limits[0][1]:g}, {min(belt.n_toys)} at each, ordered by likelihood ratio "
        f"(Feldman and Cousins). No asymptotic formula is used. {inner}; {outer}."
        f"{cut_off if np.any(at_bound) else ''}"
    )


def _with_titles(scan: CoverageScan) -> CoverageScan:
    """Replace names of methods by their titles in the rows of a scan."""
    rows = []
    for row in scan:
        name, separator, rest = row.method.partition(", ")
        rows.append(row._replace(method=method_title(name) + separator + rest))
    return CoverageScan(tuple(rows))


def _data_figures(result: AnalysisResult) -> dict[str, tuple[Figure, str]]:
    """Draw scans and intervals of the data from every method that has intervals."""
    analysis, comparison = result.analysis, result.comparison
    model, raw = analysis.model, result.costs[analysis.model.name]
    fitted = {m.name: m.intervals for m in comparison if m.intervals is not None}
    if not fitted:
        return {}
    first = method_title(model.name)
    scans: dict[str, Cost] = {f"{first}, as trained": raw}
    for name, cost in result.costs.items():
        if (applied := comparison[name].applied) is not None:
            assert isinstance(cost, LikelihoodCost)
            scans[method_title(name)] = applied(cost)
        elif name != model.name:
            scans[method_title(name)] = cost
    low = min(outer.low for _, outer in fitted.values())
    high = max(outer.high for _, outer in fitted.values())
    margin = 0.15 * (high - low)
    limits = [c._parameters[model.parameter] for c in scans.values()]
    window = (
        max(low - margin, *(a for a, _ in limits)),
        min(high + margin, *(b for _, b in limits)),
    )
    return {
        "scans": (
            plotting.plot_scans(
                scans,
                model.parameter,
                window,
                result.known_truth,
                dashed=[f"{first}, as trained"],
            ),
            (
                f"The same dataset fitted with every method. “{first}, as trained” is "
                "the uncalibrated network."
            ),
        ),
        "intervals": (
            plotting.plot_intervals(
                {method_title(name): interval for name, interval in fitted.items()},
                result.known_truth,
            ),
            "Estimates with 68.27 % (thick) and 95.45 % (thin) intervals"
            + (". The dashed line is the truth." if analysis.simulated else "."),
        ),
    } | _among_others(result, fitted)


def _among_others(
    result: AnalysisResult, fitted: Mapping[str, tuple[Interval, Interval]]
) -> dict[str, tuple[Figure, str]]:
    """Draw the interval of the data above those of toys: one in three misses the truth."""
    name, parameter = result.analysis.model.name, result.analysis.model.parameter
    if name not in fitted:
        return {}
    toys = toy_intervals(result.evaluation_toys[name], result.comparison[name].applied)
    caption = datasets_caption(
        f"The interval of the data from {method_title(name)}", f"{parameter} = {result.truth:g}"
    )
    return {"datasets": (plotting.plot_datasets(fitted[name][0], toys), caption)}


def _calibration_figures(
    result: AnalysisResult, calibration: Calibration
) -> dict[str, tuple[Figure, str]]:
    """Draw the effect of the calibration of the first model, and its constants."""
    model, raw = result.analysis.model, result.costs[result.analysis.model.name]
    assert isinstance(raw, LikelihoodCost)
    toys, title = result.evaluation_toys[model.name], method_title(model.name)
    return {
        "ladder": (
            plotting.plot_ladder(
                toy_intervals(toys), toy_intervals(toys, calibration), parameter=model.parameter
            ),
            "Intervals of the first 50 evaluation toys, before and after calibration.",
        ),
        "surface": (
            coverage_figures.plot_calibrated(raw, calibration, truth=result.known_truth),
            f"{title}: −2ΔlnL and the 68.27 % interval before and after calibration.",
        ),
        "scale": (
            coverage_figures.plot_scale(calibration),
            (
                "c_cicc that gives correct coverage at each true value, and the function that is "
                "applied."
            ),
        ),
        "bias": (
            plotting.plot_response(result.calibration_toys[model.name], calibration),
            f"Bias of {title} on the calibration toys, with the fitted curve.",
        ),
    }


def _ends_and_middle(analysis: Analysis) -> SampleSet:
    """Samples at both ends of the range and in between; of one sample its events, reweighted."""
    samples, model = analysis.templates, analysis.model
    values = samples.values(model.parameter)
    if len(values) > 1 or analysis.weight_degree is None:
        ends = [int(np.argmin(values)), int(np.argmin(np.abs(values))), int(np.argmax(values))]
        return SampleSet(tuple(samples[i] for i in dict.fromkeys(ends)))
    low, high = model.interpolation.limits[0]
    reference = float(np.ravel(model.reference)[0])
    return SampleSet(
        tuple(
            EventPool(samples, analysis.weight_degree).reweighted({model.parameter: value})
            for value in sorted({low, reference, high})
        )
    )


def draw_figures(result: AnalysisResult) -> dict[str, tuple[Figure, str]]:
    """Draw all figures of an analysis; return each figure, by name, with its caption."""
    analysis, comparison = result.analysis, result.comparison
    model = analysis.model
    learned = comparison[model.name]
    calibration = learned.applied
    raw = result.costs[model.name]
    out: dict[str, tuple[Figure, str]] = {}

    feature_names = analysis.templates.feature_names
    names = [n for n in analysis.drawn_features if n in feature_names] or list(feature_names[:3])
    if names:
        out["features"] = (
            histogram_figures.plot_features(_ends_and_middle(analysis), names),
            (
                "Distributions of simulated features, at both ends of the parameter range and "
                "in between."
            ),
        )
    out["training"] = (
        plotting.plot_training(model.fitted.history),
        (
            "Loss of each network of the ensemble. The weights with the lowest validation loss are "
            "kept."
        ),
    )
    out |= _data_figures(result)
    for name, templates in result.templates.items():
        truth = {model.parameter: result.truth}
        n = len(analysis.data)
        reference = {model.parameter: float(np.ravel(model.reference)[0])}
        named = "truth" if analysis.simulated else "compared at"
        points = {named: truth} if reference == truth else {"reference": reference, named: truth}
        if (intervals := comparison[name].intervals) is not None:
            points["best fit"] = {model.parameter: intervals[0].estimate}
        expected = {
            f"{label}: {format_point({k: round(v, 3) for k, v in p.items()})}": n
            * templates.fractions(p)
            for label, p in points.items()
        }
        if len(templates.axes) > 1:
            # Two observables: a table is clearer than a picture of 32 numbered bins.
            continue
        out[f"templates_{name}"] = (
            histogram_figures.plot_templates(
                templates.axes[0].edges,
                expected,
                templates.counts(analysis.data),
                templates.observable_name,
                templates.relative_errors(next(iter(points.values()))),
            ),
            f"Data and expectation in the bins of {templates.observable_name}.",
        )
    if result.widths:
        out["widths"] = (
            plot_relative_widths([w._replace(name=method_title(w.name)) for w in result.widths]),
            "Width 1/√I_eff of an interval with correct coverage, relative to the best histogram.",
        )
    out["estimates"] = (
        plotting.plot_estimates({method_title(n): e for n, e in result.evaluation_toys.items()}),
        "Estimates of every method on the same evaluation toys, before bias correction.",
    )
    rows = {f"{method_title(model.name)}, as trained": learned.coverages_raw}
    rows |= {
        method_title(m.name): m.coverages
        for m in comparison
        if m is not learned or calibration is not None
    }
    out["coverage"] = (
        plotting.plot_coverage(rows),
        "Coverage on evaluation toys. The dashed line is the nominal level. " + _POOL_BARS,
    )
    if calibration is not None:
        out |= _calibration_figures(result, calibration)
    simulation = result.training_errors.get(model.name)
    if isinstance(simulation, TrainingError):
        out["simulation"] = (
            plot_simulation_error(simulation.error, result.known_truth),
            f"{method_title(model.name)} as trained, with the error from the finite simulation.",
        )
    if len({r.theta for r in result.coverage}) > 1:
        out["coverage_scan"] = (
            coverage_figures.plot_coverage_scan(_with_titles(result.coverage)),
            "Coverage at different true values. The bands are one and two binomial errors around "
            "the nominal level. " + _POOL_BARS,
        )
    if model.name in result.belts:
        assert isinstance(raw, LikelihoodCost)
        out["belt"] = (
            plot_belt(result.belts[model.name], CL68, raw),
            (
                "Neyman belt: the confidence set contains the values at which the statistic of the "
                "data is below the critical value."
            ),
        )
    if isinstance(result.fit_tests, GoodnessOfFit) and result.fit_tests.histograms:
        out["fit_tests"] = (
            plot_fit_tests(result.fit_tests),
            "Ratio of the data to simulated events at the fit, in bins of about equal content.",
        )
    if isinstance(result.systematics, NuisanceResult):
        out |= nuisance_figures(result.systematics, result.known_truth)
    diagnosis = result.diagnoses.get(model.name)
    if isinstance(diagnosis, Diagnosis):
        out |= {f"diagnosis_{name}": drawn for name, drawn in diagnostic_figures(diagnosis).items()}
    return out
