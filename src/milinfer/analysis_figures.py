"""Figures and report of an analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milinfer import coverage_figures, plotting
from milinfer.belt_figures import plot_belt
from milinfer.cost import LikelihoodCost
from milinfer.coverages import CL68, CL95, CoverageScan
from milinfer.information_figures import plot_relative_widths
from milinfer.intervals import toy_intervals
from milinfer.points import format_point
from milinfer.report import Report
from milinfer.samples import SampleSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.analysis import AnalysisResult
    from milinfer.comparison import MethodResult

__all__ = ["build_report", "figures"]

_TITLES = {
    "multiclass": "multi-class bags",
    "polynomial": "polynomial",
    "polynomial-joint": "polynomial, joint",
    "pyhf": "pyhf, feature",
    "pyhf_2d": "pyhf, two features",
    "pyhf_classifier": "pyhf, classifier",
    "pyhf_score": "pyhf, score",
    "oracle": "oracle",
}


def _title(name: str) -> str:
    return _TITLES.get(name, name)


def _titled(scan: CoverageScan) -> CoverageScan:
    """The same rows, with the titles of the methods."""
    rows = []
    for row in scan:
        name, separator, rest = row.method.partition(", ")
        rows.append(row._replace(method=_title(name) + separator + rest))
    return CoverageScan(tuple(rows))


def figures(result: AnalysisResult) -> dict[str, tuple[Figure, str]]:
    """All figures of an analysis with their captions, by name."""
    analysis, comparison = result.analysis, result.comparison
    model = analysis.model
    learned = comparison[model.name]
    calibration = learned.calibration
    out: dict[str, tuple[Figure, str]] = {}

    values = analysis.templates.values(model.parameter)
    ends = [int(np.argmin(values)), int(np.argmin(np.abs(values))), int(np.argmax(values))]
    known = analysis.templates.feature_names
    names = [n for n in analysis.drawn_features if n in known] or list(known[:3])
    if names:
        shown = SampleSet(tuple(analysis.templates[i] for i in ends))
        out["features"] = (
            plotting.plot_features(shown, names),
            "Simulated features at both ends of the parameter range and in between.",
        )
    out["training"] = (
        plotting.plot_training(model.fitted.history),
        "Loss of each network of the ensemble; the weights of the best validation loss are kept.",
    )
    raw = result.costs[model.name]
    scans = {f"{_title(model.name)}, as trained": raw, _title(model.name): calibration(raw)}
    others = [m.name for m in analysis.models[1:]]
    scans |= {
        _title(n): comparison[n].calibration(c) if n in others else c
        for n, c in result.costs.items()
        if n != model.name
    }
    fitted = [m.intervals for m in comparison if m.intervals is not None]
    low = min(outer.low for _, outer in fitted)
    high = max(outer.high for _, outer in fitted)
    margin = 0.15 * (high - low)
    limits = [c._parameters[model.parameter] for c in scans.values()]
    window = (
        max(low - margin, *(a for a, _ in limits)),
        min(high + margin, *(b for _, b in limits)),
    )
    out["scans"] = (
        plotting.plot_scans(
            scans,
            model.parameter,
            window,
            result.truth,
            dashed=[f"{_title(model.name)}, as trained"],
        ),
        "The same dataset by every method. Dashed: the learned surface before calibration.",
    )
    out["intervals"] = (
        plotting.plot_intervals(
            {_title(m.name): m.intervals for m in comparison if m.intervals is not None},
            result.truth,
        ),
        "Estimates with 68.27 % (thick) and 95.45 % (thin) intervals; dashed: the truth.",
    )
    for name, templates in result.templates.items():
        truth = {model.parameter: result.truth}
        best = {model.parameter: comparison[name].intervals[0].estimate}  # type: ignore[index]
        n = len(analysis.data)
        reference = {model.parameter: float(np.ravel(model.reference)[0])}
        expected = {
            f"{label}: {format_point({k: round(v, 3) for k, v in p.items()})}": n
            * templates.fractions(p)
            for label, p in (("reference", reference), ("truth", truth), ("best fit", best))
        }
        if len(templates.axes) > 1:
            # Of two observables: a table says more than a picture of 32 numbered bins.
            continue
        out[f"templates_{name}"] = (
            plotting.plot_templates(
                templates.axes[0].edges,
                expected,
                templates.counts(analysis.data),
                templates.observable_name,
            ),
            f"Data and morphed templates of {templates.observable_name}.",
        )
    if result.widths:
        out["widths"] = (
            plot_relative_widths([w._replace(name=_title(w.name)) for w in result.widths]),
            "Width of an interval that covers, 1/√I_eff, over that of the best histogram.",
        )
    out["estimates"] = (
        plotting.plot_estimates({_title(n): e for n, e in result.evaluation_toys.items()}),
        "Estimates of every method on the same evaluation toys, before bias correction.",
    )
    toys = result.evaluation_toys[model.name]
    out["ladder"] = (
        plotting.plot_ladder(toy_intervals(toys), toy_intervals(toys, calibration)),
        "Intervals of the first 50 evaluation toys, before and after calibration.",
    )
    rows = {f"{_title(model.name)}, as trained": learned.coverages_raw}
    rows |= {_title(m.name): m.coverages for m in comparison}
    out["coverage"] = (
        plotting.plot_coverage(rows),
        "Coverage on evaluation toys, with Clopper–Pearson errors.",
    )
    out["surface"] = (
        coverage_figures.plot_calibrated(raw, calibration, truth=result.truth),
        f"{_title(model.name)}: surface and 68.27 % interval before and after calibration.",
    )
    out["scale"] = (
        coverage_figures.plot_scale(calibration),
        "The constant that makes intervals cover, at each true value, and the functions applied.",
    )
    if len({r.theta for r in result.coverage}) > 1:
        out["coverage_scan"] = (
            coverage_figures.plot_coverage_scan(_titled(result.coverage)),
            "Coverage against the truth. Bands: one and two binomial errors around the claim.",
        )
    if model.name in result.belts:
        assert isinstance(raw, LikelihoodCost)
        out["belt"] = (
            plot_belt(result.belts[model.name], CL68, raw),
            "Neyman construction: accepted is where the data lie below the critical value of toys.",
        )
    out["bias"] = (
        plotting.plot_response(result.calibration_toys[model.name], calibration),
        f"Bias of {_title(model.name)} on the calibration toys, and the fit that corrects it.",
    )
    return out


def build_report(result: AnalysisResult, drawn: dict[str, tuple[Figure, str]]) -> Report:
    """The report of an analysis."""
    analysis, comparison = result.analysis, result.comparison
    model = analysis.model
    learned = comparison[model.name]
    assert learned.intervals is not None
    inner = learned.intervals[0]
    n = len(analysis.data)
    where = f"{model.parameter} = {result.truth:g}"
    report = Report(
        analysis.title or f"{model.parameter} from {n} events",
        f"{model.parameter} = {inner.estimate:+.3f}, {inner.cl:.2%} interval "
        f"[{inner.low:+.3f}, {inner.high:+.3f}] from a learned likelihood, calibrated on toys. "
        + (f"Truth: {where}." if analysis.simulated else f"Methods are compared at {where}."),
    )

    def show(*names: str) -> None:
        for name in names:
            if name in drawn:
                report.figure(*drawn[name])

    report.section("Result")
    report.table(
        list(comparison.header),
        [[_title(row[0]), *row[1:]] for row in comparison.rows()],
        f"The same {n} events, and the same {analysis.n_toys} evaluation toys, by each method. "
        "I_eff = R²/Var of the estimates, for datasets of this size. Coverages carry binomial "
        "errors.",
    )
    show("intervals", "scans")
    report.section("Calibration")
    report.text(_calibration_text(learned))
    show("surface", "scale", "bias", "ladder")
    report.section("Coverage")
    pools = (
        result.evaluation_toys[model.name].n_effective,
        min(e.n_effective for e in result.calibration_toys[model.name]),
    )
    shift = float(np.sqrt(sum(n / pool for pool in pools)))
    evaluated = result.evaluation_toys[model.name]
    report.text(
        f"Coverage is measured on {analysis.n_toys} toys at {model.parameter} = {result.truth:g} "
        "(and as many at other values) from events that neither trained nor calibrated anything. "
        f"They share a pool that counts as {evaluated.n_effective:.0f} events at that value, each "
        f"used {evaluated.reuse:.0f} times on average; the fluctuation of that pool, and of the "
        f"one for the calibration, shifts all of them together by {shift:.2f} standard errors or "
        f"so: {evaluated.pool_coverage_error(CL68):.2%} of coverage from the first, which is not "
        "part of the binomial error."
    )
    show("coverage", "coverage_scan", "estimates")
    if model.name in result.belts:
        report.section("Neyman construction")
        report.text(_belt_text(result))
        show("belt")
    report.section("Binned comparison")
    report.text(
        "The histograms are morphed with a polynomial fitted through all samples, and fitted with "
        "pyhf; only the shape counts, as for the network. Bins of one observable are those that "
        "keep the most information, and the Monte-Carlo errors of the templates are part of the "
        "fit (Barlow and Beeston's, one factor for each bin)."
    )
    show("widths", *(f"templates_{name}" for name in result.templates))
    report.section("Training")
    for trained in analysis.models:
        fitted = trained.fitted
        effective, n_bag = fitted.effective_events, trained.events_in_bag
        report.text(
            f"{_title(trained.name)}: {trained.ensemble} network(s) on "
            f"{'single events' if n_bag == 1 else f'bags of {n_bag} events'}"
            f", {sum(fitted.n_events.values())} events at {len(fitted.grid)} points between "
            f"{fitted.grid[0]:g} and {fitted.grid[-1]:g}."
            f" Those of the last training set count as {effective:.0f} without weights."
        )
    show("training", "features")
    report.section("Provenance")
    summary = result.summary()
    facts = summary["provenance"]
    rows = [[name, str(v)] for name, v in facts["versions"].items()]
    rows += [
        ["python", facts["python"]],
        ["machine", facts["machine"]],
        ["seed", str(facts["seed"])],
    ]
    rows += [[f"seconds: {k}", f"{v:.1f}"] for k, v in summary.get("seconds", {}).items()]
    report.table(["what", "value"], rows)
    return report


def _calibration_text(learned: MethodResult) -> str:
    calibration = learned.calibration
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
        "c_cicc, by which Λ is multiplied so that intervals cover, is a function of the parameter; "
        f"at {theta:g} it is {' and '.join(levels)}. By the Bartlett ratio it would be {bartlett}. "
        f"The bias of the estimate at {theta:g}, which is corrected, is {bias:+.4f} ± "
        f"{bias_error:.4f}. {calibration.n_toys} toys at each of {len(calibration.points)} values, "
        "from events of their own."
    )


def _belt_text(result: AnalysisResult) -> str:
    name = result.analysis.model.name
    belt = result.belts[name]
    inner, outer = (result.neyman_interval(name, cl) for cl in (CL68, CL95))
    return (
        f"Toys at {len(belt.points)} values of {belt.parameters[0]} between {belt.limits[0][0]:g} "
        f"and {belt.limits[0][1]:g}, {min(belt.n_toys)} at each, ordered by likelihood ratio "
        f"(Feldman and Cousins). No formula for the surface enters. {CL68:.2%}: {inner}; "
        f"{CL95:.2%}: {outer}."
    )
