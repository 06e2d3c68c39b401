"""Figures of an analysis, with their captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.intervals.coverage import CL68
from milinfer.intervals.coverage_results import CoverageScan
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.plotting import coverage as coverage_figures
from milinfer.plotting import results as plotting
from milinfer.plotting import samples as histogram_figures
from milinfer.plotting.belt_figures import plot_belt
from milinfer.plotting.diagnostics import diagnostic_figures
from milinfer.plotting.information_figures import plot_relative_widths
from milinfer.plotting.style import method_title
from milinfer.samples.samples import SampleSet
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from iminuit.cost import Cost
    from matplotlib.figure import Figure

    from milinfer.intervals.calibration import Calibration
    from milinfer.workflow.analysis import AnalysisResult

__all__ = ["figures"]


def _titled(scan: CoverageScan) -> CoverageScan:
    """The same rows, with the titles of the methods."""
    rows = []
    for row in scan:
        name, separator, rest = row.method.partition(", ")
        rows.append(row._replace(method=method_title(name) + separator + rest))
    return CoverageScan(tuple(rows))


def _of_data(result: AnalysisResult) -> dict[str, tuple[Figure, str]]:
    """Scans and intervals of the data by every method that has intervals."""
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
                scans, model.parameter, window, result.truth, dashed=[f"{first}, as trained"]
            ),
            "The same dataset by every method. Dashed: the learned surface "
            + ("before calibration." if comparison[model.name].calibrated else "as trained."),
        ),
        "intervals": (
            plotting.plot_intervals(
                {method_title(name): found for name, found in fitted.items()}, result.truth
            ),
            "Estimates with 68.27 % (thick) and 95.45 % (thin) intervals; dashed: the truth.",
        ),
    }


def _of_calibration(
    result: AnalysisResult, calibration: Calibration
) -> dict[str, tuple[Figure, str]]:
    """What the calibration of the first model does, and what it comes from."""
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
            coverage_figures.plot_calibrated(raw, calibration, truth=result.truth),
            f"{title}: surface and 68.27 % interval before and after calibration.",
        ),
        "scale": (
            coverage_figures.plot_scale(calibration),
            "The constant that makes intervals cover, at each true value, and what is applied.",
        ),
        "bias": (
            plotting.plot_response(result.calibration_toys[model.name], calibration),
            f"Bias of {title} on the calibration toys, and its fit.",
        ),
    }


def figures(result: AnalysisResult) -> dict[str, tuple[Figure, str]]:
    """All figures of an analysis with their captions, by name."""
    analysis, comparison = result.analysis, result.comparison
    model = analysis.model
    learned = comparison[model.name]
    calibration = learned.applied
    raw = result.costs[model.name]
    out: dict[str, tuple[Figure, str]] = {}

    values = analysis.templates.values(model.parameter)
    ends = [int(np.argmin(values)), int(np.argmin(np.abs(values))), int(np.argmax(values))]
    known = analysis.templates.feature_names
    names = [n for n in analysis.drawn_features if n in known] or list(known[:3])
    if names:
        shown = SampleSet(tuple(analysis.templates[i] for i in ends))
        out["features"] = (
            histogram_figures.plot_features(shown, names),
            "Simulated features at both ends of the parameter range and in between.",
        )
    out["training"] = (
        plotting.plot_training(model.fitted.history),
        "Loss of each network of the ensemble; the weights of the best validation loss are kept.",
    )
    out |= _of_data(result)
    for name, templates in result.templates.items():
        truth = {model.parameter: result.truth}
        n = len(analysis.data)
        reference = {model.parameter: float(np.ravel(model.reference)[0])}
        points = (
            {"truth": truth} if reference == truth else {"reference": reference, "truth": truth}
        )
        if (intervals := comparison[name].intervals) is not None:
            points["best fit"] = {model.parameter: intervals[0].estimate}
        expected = {
            f"{label}: {format_point({k: round(v, 3) for k, v in p.items()})}": n
            * templates.fractions(p)
            for label, p in points.items()
        }
        if len(templates.axes) > 1:
            # Of two observables: a table says more than a picture of 32 numbered bins.
            continue
        out[f"templates_{name}"] = (
            histogram_figures.plot_templates(
                templates.axes[0].edges,
                expected,
                templates.counts(analysis.data),
                templates.observable_name,
                templates.relative_errors(next(iter(points.values()))),
            ),
            f"Data and morphed templates of {templates.observable_name}.",
        )
    if result.widths:
        out["widths"] = (
            plot_relative_widths([w._replace(name=method_title(w.name)) for w in result.widths]),
            "Width of an interval that covers, 1/√I_eff, over that of the best histogram.",
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
        "Coverage on evaluation toys, with Clopper–Pearson errors; dashed: what is claimed.",
    )
    if calibration is not None:
        out |= _of_calibration(result, calibration)
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
    diagnosis = result.diagnoses.get(model.name)
    if isinstance(diagnosis, Diagnosis):
        out |= {f"diagnosis_{name}": drawn for name, drawn in diagnostic_figures(diagnosis).items()}
    return out
