"""Figures and report of an analysis with several parameters."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.plotting import results as plotting
from milinfer.plotting import samples as histogram_figures
from milinfer.plotting.coverage import plot_region
from milinfer.plotting.fit_tests import plot_fit_tests
from milinfer.plotting.several_parameters import plot_contour_lines, plot_point_coverage
from milinfer.plotting.style import method_title
from milinfer.samples.sample_set import SampleSet
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import measured
from milinfer.utils.points import format_point
from milinfer.workflow.finite_simulation import add_training_errors
from milinfer.workflow.html_report import Report
from milinfer.workflow.report_parts import (
    Drawn,
    add_fit_tests,
    add_provenance,
    calibration_words,
    datasets_caption,
)
from milinfer.workflow.several_parameters import REGION, SeveralMethod, SeveralResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.intervals.coverage import CoverageScan
    from milinfer.likelihood.fits import Interval

__all__ = ["build_several_report", "draw_several"]

_NONE = "—"
# Simulated datasets that are drawn beside the data.
_DATASETS = 20


def draw_several(result: SeveralResult) -> dict[str, tuple[Figure, str]]:
    """Draw all figures of an analysis with several parameters; return them by name, with captions.

    Parameters
    ----------
    result
        Result of :func:`milinfer.workflow.several_parameters.analyse_several`.
    """
    analysis, model = result.analysis, result.analysis.model
    figures: dict[str, tuple[Figure, str]] = {}
    fitted = {name: m for name, m in result.methods.items() if m.fit is not None}
    for x, y in combinations(result.parameters, 2):
        figures |= _contour_figures(result, fitted, x, y)
    for name in result.parameters:
        figures |= _interval_figure(result, fitted, name)
        figures |= _among_others(result, name)
    for name, method in result.methods.items():
        if method.regions:
            figures[f"regions_{name}"] = (
                plot_region(*method.regions.values()),
                (
                    f"Neyman regions of the data from {method_title(name)}, from toys at "
                    f"{len(result.points.belt_at)} points; no asymptotic formula is used."
                ),
            )
    scans = {target: _titled(scan) for target, scan in result.coverage.items() if scan.rows}
    for key, cl in (("68", CL68), ("95", CL95)):
        caption = (
            f"Coverage of {cl:.2%} regions and of {cl:.2%} intervals of each parameter, at all "
            "points of the toys. The bands are one and two binomial errors around the nominal "
            "level. Thick bars are Clopper–Pearson errors; thin bars also include the error from "
            "the "
            "finite "
            "event pool."
        )
        figures[f"coverage_{key}"] = plot_point_coverage(scans, cl), caption
    if isinstance(result.fit_tests, GoodnessOfFit) and result.fit_tests.histograms:
        figures["fit_tests"] = (
            plot_fit_tests(result.fit_tests),
            "Ratio of the data to simulated events at the fit, in bins of about equal content.",
        )
    figures["training"] = (
        plotting.plot_training(model.fitted.history),
        (
            "Loss of each network of the ensemble. The weights with the lowest validation loss are "
            "kept."
        ),
    )
    feature_names = analysis.templates.feature_names
    names = [n for n in analysis.drawn_features if n in feature_names] or list(feature_names[:3])
    if names:
        first_samples = SampleSet(analysis.templates.samples[:4])
        figures["features"] = (
            histogram_figures.plot_features(first_samples, names),
            "Simulated features at the points of the samples"
            + (", the first four." if len(analysis.templates) > 4 else "."),
        )
    return figures


def _contour_figures(
    result: SeveralResult, fitted: dict[str, SeveralMethod], x: str, y: str
) -> dict[str, tuple[Figure, str]]:
    """Contours of a pair by all methods at 68.27 %, and by the first model at both levels."""
    first, simulated = result.analysis.model.name, result.analysis.simulated
    lines, estimates = {}, {}
    for name, method in fitted.items():
        assert method.fit is not None
        own = method.fit.applied_contours[x, y]
        if CL68 in own:
            lines[method_title(name)] = {CL68: own[CL68]}
            estimates[method_title(name)] = method.fit.estimate[x], method.fit.estimate[y]
    truth = result.points.truth[x], result.points.truth[y]
    point = format_point(result.points.truth)
    words = {
        "truth": truth,
        "truth_label": f"{'truth' if simulated else 'compared at'}: {point}",
    }
    figures = {}
    if lines:
        figures[f"contours_{x}_{y}"] = (
            plot_contour_lines(lines, estimates, x, y, **words),  # type: ignore[arg-type]
            f"{CL68:.2%} contours of the same data from every method whose contour lies inside the "
            "range (joint probability of both parameters"
            + (", all other parameters profiled" if len(result.parameters) > 2 else "")
            + "). The cross is the "
            + ("truth." if simulated else "point at which the methods are compared."),
        )
    if first not in fitted:
        return figures
    title, both, fit = method_title(first), {}, fitted[first].fit
    assert fit is not None
    if fit.contours[x, y]:
        label = f"{title}, as trained" if fit.calibrated_contours else title
        both[label] = fit.contours[x, y]
        estimates[label] = fit.best[x], fit.best[y]
    if fit.calibrated_contours and fit.calibrated_contours[x, y]:
        both[title] = fit.calibrated_contours[x, y]
        estimates[title] = fit.estimate[x], fit.estimate[y]
    if both:
        figures[f"levels_{x}_{y}"] = (
            plot_contour_lines(both, estimates, x, y, **words),  # type: ignore[arg-type]
            f"{CL68:.2%} and {CL95:.2%} contours by {title}"
            + (", as trained and calibrated." if len(both) > 1 else "."),
        )
    return figures


def _interval_figure(
    result: SeveralResult, fitted: dict[str, SeveralMethod], parameter: str
) -> dict[str, tuple[Figure, str]]:
    """Intervals of one parameter by every method."""
    pairs: dict[str, tuple[Interval, Interval]] = {}
    for name, method in fitted.items():
        assert method.fit is not None
        own = method.fit.applied[parameter]
        if own.inner is not None and own.outer is not None:
            pairs[method_title(name)] = own.inner, own.outer
    if not pairs:
        return {}
    simulated = result.analysis.simulated
    truth = result.points.truth[parameter] if simulated else None
    return {
        f"intervals_{parameter}": (
            plotting.plot_intervals(pairs, truth),
            f"{parameter}: estimates with 68.27 % (thick) and 95.45 % (thin) intervals, the other "
            "parameters profiled" + (". The dashed line is the truth." if simulated else "."),
        )
    }


def _among_others(result: SeveralResult, parameter: str) -> dict[str, tuple[Figure, str]]:
    """Interval of one parameter from the first model, above those of toys: a third misses."""
    name = result.analysis.model.name
    method = result.methods.get(name)
    own = None if method is None or method.fit is None else method.fit.applied[parameter]
    # A calibration that does not reach the toys has no coverage there, and no intervals.
    if method is None or own is None or own.inner is None:
        return {}
    if not result.coverage_at_truth(parameter, name):
        return {}
    toys = toy_intervals(
        result.evaluation_toys[name][0].first(_DATASETS), method.calibration, parameter=parameter
    )
    return {
        f"datasets_{parameter}": (
            plotting.plot_datasets(own.inner, toys, _DATASETS),
            datasets_caption(
                f"The interval of {parameter} from the data ({method_title(name)})",
                format_point(result.points.truth),
            ),
        )
    }


def _titled(scan: CoverageScan) -> CoverageScan:
    """Replace names of methods by their titles."""
    rows = []
    for row in scan:
        name, separator, rest = row.method.partition(", ")
        rows.append(row._replace(method=method_title(name) + separator + rest))
    return type(scan)(tuple(rows))


def build_several_report(result: SeveralResult, drawn: Drawn) -> Report:
    """Build the report of an analysis with several parameters.

    Parameters
    ----------
    result
        Result of :func:`milinfer.workflow.several_parameters.analyse_several`.
    drawn
        Figures by name, each with its caption.  A figure may be given as SVG.
    """
    analysis = result.analysis
    n, names = len(analysis.data), result.parameters
    title = analysis.title or f"{', '.join(names)} from {n} events"
    report = Report(title, _headline(result))

    def show(prefix: str) -> None:
        for name in drawn:
            if name == prefix or name.startswith(f"{prefix}_"):
                report.figure(*drawn[name])

    report.section("Result")
    for name in names:
        _parameter_table(report, result, name)
    _messages(report, result)
    report.section("Contours")
    show("contours")
    show("levels")
    _correlation_table(report, result)
    report.section("What the data constrain")
    _directions(report, result)
    report.section("Intervals")
    report.text(
        "For an interval of one parameter the other parameters are profiled. If they are fixed at "
        "their fitted values instead, intervals are shorter, but have correct coverage only if the "
        "true values of the other parameters are known."
    )
    _fixed_table(report, result)
    show("intervals")
    show("datasets")
    _linear_table(report, result)
    if result.belts:
        show("regions")
    report.section("Goodness of fit")
    add_fit_tests(report, analysis.model.name, result.fit_tests)
    show("fit_tests")
    report.section("Calibration")
    _calibration(report, result)
    add_training_errors(report, result.training_errors, widened=analysis.simulation_error)
    report.section("Coverage")
    report.text(
        f"Coverage is measured on {analysis.n_toys} toys at each of "
        f"{len({format_point(r.point) for r in result.coverage[REGION]})} points, from events that "
        "were used neither for training nor for calibration. A region covers if it contains the "
        "true "
        "point of all parameters, an interval if it contains the true value of its parameter."
    )
    _coverage_table(report, result)
    show("coverage")
    report.section("Diagnostics")
    _diagnostics(report, result)
    report.section("Information")
    _information(report, result)
    report.section("Training")
    for trained in analysis.models:
        fitted = trained.fitted
        ranges = ", ".join(
            f"{name} from {low:g} to {high:g}"
            for name, (low, high) in zip(names, trained.interpolation.limits, strict=True)
        )
        report.text(
            f"{method_title(trained.name)}: {trained.ensemble} network(s), "
            f"{sum(fitted.n_events.values())} events, learned between {len(fitted.points)} points "
            f"in {ranges}. The training set of the last network is equivalent to "
            f"{fitted.effective_events:.0f} unweighted events."
        )
    show("training")
    show("features")
    report.section("Provenance")
    add_provenance(report, result.summary())
    return report


def _headline(result: SeveralResult) -> str:
    """State the result in one or two sentences."""
    analysis = result.analysis
    first = result.methods.get(analysis.model.name)
    point = format_point(result.points.truth)
    compared = f"Truth: {point}." if analysis.simulated else f"Methods are compared at {point}."
    if analysis.blinding is not None:
        compared += f" {analysis.blinding.sentence}"
    names = ", ".join(result.parameters)
    if first is None or first.fit is None:
        return f"No fit of {names} by the learned likelihood, see below. {compared}"
    parts = []
    for name, own in first.fit.applied.items():
        if own.inner is None:
            parts.append(f"no {CL68:.2%} interval of {name}")
        else:
            parts.append(
                f"{name} = {own.estimate:+.3f} [{own.inner.low:+.3f}, {own.inner.high:+.3f}]"
            )
    kind = calibration_words(first.calibration) if first.calibration is not None else "as trained"
    text = f"{'; '.join(parts)}: {CL68:.2%} intervals from a learned likelihood, {kind}."
    flat = first.fit.unconstrained
    if flat:
        text += f" Not constrained: {', '.join(d.combination for d in flat)}."
    return f"{text} {compared}"


def _ends(interval: Interval | None) -> str:
    return _NONE if interval is None else f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def _parameter_table(report: Report, result: SeveralResult, parameter: str) -> None:
    """One line for each method: estimate, intervals, coverage, calibration of a parameter."""
    rows = []
    for name, method in result.methods.items():
        own = None if method.fit is None else method.fit.applied[parameter]
        covered = result.coverage_at_truth(parameter, name)
        constant = _NONE
        if method.calibration is not None:
            profiled = method.calibration.profiled(parameter)
            constant = "{:.2f} ± {:.2f}".format(
                *profiled.scale_at(list(result.points.truth.values()))
            )
        rows.append(
            [
                method_title(name),
                _NONE if own is None or own.error is None else f"{own.estimate:+.3f}",
                _ends(None if own is None else own.inner),
                _ends(None if own is None else own.outer),
                *(covered[k].with_errors() if k in covered else _NONE for k in ("68", "95")),
                constant,
            ]
        )
    rows += [[method_title(name), *[_NONE] * 6] for name in result.unavailable]
    header = [
        "method",
        parameter,
        f"{CL68:.2%} interval",
        f"{CL95:.2%} interval",
        f"coverage {CL68:.2%}",
        f"coverage {CL95:.2%}",
        "c_cicc",
    ]
    report.table(
        header,
        rows,
        f"{parameter}, with the other parameters profiled: the same "
        f"{len(result.analysis.data)} events, fitted with each method. Coverages at "
        f"{format_point(result.points.truth)} from {result.analysis.n_toys} toys, with binomial "
        "errors and, if it is larger, the error from the finite event pool.",
    )


def _messages(report: Report, result: SeveralResult) -> None:
    """Messages about missing results, with reasons."""
    for name, failure in result.unavailable.items():
        report.text(f"{method_title(name)} is not available: {failure.reason} ({failure.advice}).")
    for name, method in result.methods.items():
        for problem in method.problems:
            report.text(f"{method_title(name)}: {problem}.")


def _correlation_table(report: Report, result: SeveralResult) -> None:
    pairs = list(combinations(result.parameters, 2))
    rows = []
    for name, method in result.methods.items():
        own = None if method.fit is None else method.fit.correlations()
        cells = [_NONE] * len(pairs)
        if own is not None:
            cells = [f"{own[f'{x},{y}']:+.3f}" for x, y in pairs]
        rows.append([method_title(name), *cells])
    header = ["method", *(f"{x}, {y}" for x, y in pairs)]
    report.table(
        header, rows, "Correlations of the estimates, from the second derivatives of −2 ln L."
    )


def _directions(report: Report, result: SeveralResult) -> None:
    """Constraint of each method along each direction."""
    report.text(
        "Each direction is a combination of the parameters, in units of half of their trained "
        "range. "
        "Along some directions −2 ln L rises fast, along others slowly. A combination is not "
        "constrained if the trained range ends before −2 ln L has risen by one."
    )
    rows = []
    for name, method in result.methods.items():
        for d in method.fit.directions if method.fit is not None else ():
            low = "not inside the range" if d.down is None else f"{d.down:+.3f}"
            high = "not inside the range" if d.up is None else f"{d.up:+.3f}"
            rows.append([method_title(name), d.combination, f"{d.value:+.3f}", low, high])
    report.table(
        ["method", "combination", "at the fit", "from", "to"],
        rows,
        f"Ends of {CL68:.2%} intervals along each direction, not calibrated, the widest first.",
        {"combination": "text"},
    )
    for name, method in result.methods.items():
        for d in method.fit.unconstrained if method.fit is not None else ():
            report.text(f"{method_title(name)}: {d.sentence}.")


def _fixed_table(report: Report, result: SeveralResult) -> None:
    rows = []
    for name, method in result.methods.items():
        if method.fit is None:
            continue
        for parameter in result.parameters:
            trained = method.fit.as_trained[parameter]
            fixed = method.fit.others_fixed[parameter]
            rows.append(
                [
                    method_title(name),
                    parameter,
                    *(_ends(i) for i in (trained.inner, trained.outer, fixed.inner, fixed.outer)),
                ]
            )
    header = ["method", "parameter"]
    header += [f"{kind}, {cl:.2%}" for kind in ("profiled", "others fixed") for cl in (CL68, CL95)]
    report.table(header, rows, "Intervals of every method before calibration.")


def _linear_table(report: Report, result: SeveralResult) -> None:
    """Table of fits with and without squared coefficients."""
    rows, lines = [], []
    for name, linear in result.linear.items():
        full = result.methods[name].fit
        if isinstance(linear, str):
            lines.append(f"{method_title(name)}, linear terms only: {linear}.")
            continue
        lines += [f"{method_title(name)}, linear terms only: {line}." for line in linear.problems]
        for kind, fit in (("all", full), ("linear only", linear)):
            for parameter in result.parameters if fit is not None else ():
                assert fit is not None
                own = fit.as_trained[parameter]
                rows.append(
                    [
                        method_title(name),
                        kind,
                        parameter,
                        _NONE if own.error is None else f"{own.estimate:+.3f}",
                        _ends(own.inner),
                        _ends(own.outer),
                    ]
                )
    if rows:
        report.table(
            ["method", "terms", "parameter", "estimate", f"{CL68:.2%}", f"{CL95:.2%}"],
            rows,
            "Uncalibrated fits with all terms, and with the interference alone (linear in the "
            "parameters). The difference shows the effect of the squared operators.",
            {"terms": "text"},
        )
    for line in lines:
        report.text(line)


def _calibration(report: Report, result: SeveralResult) -> None:
    """Constants and biases of the calibrations, at every point."""
    made = result.calibrations
    if not made:
        report.text(
            "There is no calibration; the reason is below the first tables. Intervals, contours "
            "and coverages are those of the uncalibrated networks."
        )
    for name, calibration in made.items():
        biases = calibration.response.bias(calibration.points)
        errors = calibration.response.bias_error(calibration.points)
        profiled = [calibration.profiled(p) for p in result.parameters]
        rows = []
        for i, point in enumerate(calibration.points):
            named = dict(zip(result.parameters, point.tolist(), strict=True))
            cells = [
                f"{biases[i, k]:+.4f} ± {errors[i, k]:.4f}" for k in range(len(result.parameters))
            ]
            cells += [
                "{:.2f} ± {:.2f}".format(*c.scale_at(point, CL68)) for c in (calibration, *profiled)
            ]
            rows.append([format_point(named), *cells])
        header = ["true point", *(f"bias of {p}" for p in result.parameters)]
        header += ["c, region", *(f"c, {p}" for p in result.parameters)]
        report.table(
            header,
            rows,
            f"{method_title(name)}: bias of the estimates, which is corrected, and the constants "
            f"by which Λ is multiplied to give {CL68:.2%} regions and intervals of each parameter "
            f"correct coverage; {calibration.n_toys} toys at each point.",
        )


def _coverage_table(report: Report, result: SeveralResult) -> None:
    """Coverage of regions at all points together."""
    rows = []
    for target, scan in result.coverage.items():
        for method in scan.methods:
            for cl in scan.cls:
                own = sorted(scan.of(method, cl), key=lambda r: r.coverage)
                value, n, p = scan.chi2(method, cl)
                rows.append(
                    [
                        "regions" if target == REGION else target,
                        _title_of(method),
                        f"{cl:.2%}",
                        own[0].with_errors(),
                        own[-1].with_errors(),
                        f"{value / n:.2f}",
                        f"{p:.2g}",
                    ]
                )
    report.table(
        ["of", "method", "claimed", "lowest", "highest", "χ²/n", "p-value"],
        rows,
        "Coverage at all points together, with the binomial error and, if it is larger, the error "
        "from the finite event pool. χ² compares it with the nominal level, with both errors.",
        {"method": "text"},
    )


def _title_of(method: str) -> str:
    name, separator, rest = method.partition(", ")
    return method_title(name) + separator + rest


def _diagnostics(report: Report, result: SeveralResult) -> None:
    """Add verdict and checks of every learned model, along every line."""
    report.text(
        "The checks test identities that an exact likelihood ratio fulfils, on events that were "
        "not "
        "used for the training: along each parameter with the others at θ0, and along the diagonal "
        "of each pair of parameters. A check is undecided if there are too few events to see a "
        "deviation that would matter."
    )
    for name, diagnosis in result.diagnoses.items():
        if isinstance(diagnosis, str):
            report.text(f"{method_title(name)}: {diagnosis}.")
            continue
        report.text(f"{method_title(name)}: {diagnosis.verdict}.")
        for line, of_line in diagnosis.lines.items():
            report.table(
                list(Diagnosis.header),
                of_line.rows(),
                f"{method_title(name)} along {line}, datasets of {of_line.n_events} events: "
                f"{of_line.verdict}.",
                {"measured": "text", "outcome": "text", "meaning": "text"},
            )
        for line, reason in diagnosis.skipped.items():
            report.text(f"{method_title(name)} along {line}: {reason}.")


def _information(report: Report, result: SeveralResult) -> None:
    """Matrices of information and response at the truth."""
    names = result.parameters
    pairs = [(j, k) for j in range(len(names)) for k in range(j, len(names))]
    reference = next((m.reference for m in result.methods.values() if m.reference), "")
    rows, responses = [], []
    for name, method in result.methods.items():
        matrix = method.information
        if matrix is None:
            continue
        relative = _NONE
        if method.relative is not None:
            relative = measured(method.relative.ratio, method.relative.ratio_error)
        rows.append(
            [
                method_title(name),
                *(measured(matrix.info_eff[j, k], matrix.info_eff_error[j, k]) for j, k in pairs),
                relative,
            ]
        )
        responses.append(
            [
                method_title(name),
                *(
                    measured(matrix.response[j, k], matrix.response_error[j, k])
                    for j in range(len(names))
                    for k in range(len(names))
                ),
            ]
        )
    header = ["method", *(f"{names[j]}, {names[k]}" for j, k in pairs)]
    of = f"det, over {method_title(reference)}" if reference else "det, relative"
    report.table(
        [*header, of],
        rows,
        f"I_eff = Rᵀ Var⁻¹ R of the estimates, for datasets of {len(result.analysis.data)} events "
        f"at {format_point(result.points.truth)}; the last column is the "
        f"{_root(len(names))} root of the ratio of determinants, which scales like the area of a "
        "region.",
    )
    report.table(
        ["method", *(f"d{a}/d{b}" for a in names for b in names)],
        responses,
        "Response: change of the mean estimate of one parameter if the true value of another (or "
        "of "
        "the same) parameter changes by 1. Without bias the matrix has ones on the diagonal, and "
        "zeros elsewhere.",
    )
    if not np.isfinite([m.relative.ratio for m in result.methods.values() if m.relative]).all():
        report.text(
            "If a determinant is not positive, there are too few toys to determine the information "
            "in all directions."
        )


def _root(n: int) -> str:
    return {2: "square", 3: "third"}.get(n, f"{n}th")
