"""Figures of an analysis, with their captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milinfer import coverage_figures, histogram_figures, plotting
from milinfer.belt_figures import plot_belt
from milinfer.cost import LikelihoodCost
from milinfer.coverage_results import CoverageScan
from milinfer.coverages import CL68
from milinfer.diagnostic_figures import diagnostic_figures
from milinfer.diagnostics import Diagnosis
from milinfer.figure_style import method_title
from milinfer.information_figures import plot_relative_widths
from milinfer.intervals import toy_intervals
from milinfer.points import format_point
from milinfer.samples import SampleSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.analysis import AnalysisResult

__all__ = ["figures"]


def _titled(scan: CoverageScan) -> CoverageScan:
    """The same rows, with the titles of the methods."""
    rows = []
    for row in scan:
        name, separator, rest = row.method.partition(", ")
        rows.append(row._replace(method=method_title(name) + separator + rest))
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
            histogram_figures.plot_features(shown, names),
            "Simulated features at both ends of the parameter range and in between.",
        )
    out["training"] = (
        plotting.plot_training(model.fitted.history),
        "Loss of each network of the ensemble; the weights of the best validation loss are kept.",
    )
    raw = result.costs[model.name]
    scans = {
        f"{method_title(model.name)}, as trained": raw,
        method_title(model.name): calibration(raw),
    }
    scans |= {
        method_title(n): comparison[n].calibration(c) if comparison[n].calibrated else c
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
            dashed=[f"{method_title(model.name)}, as trained"],
        ),
        "The same dataset by every method. Dashed: the learned surface before calibration.",
    )
    out["intervals"] = (
        plotting.plot_intervals(
            {method_title(m.name): m.intervals for m in comparison if m.intervals is not None},
            result.truth,
        ),
        "Estimates with 68.27 % (thick) and 95.45 % (thin) intervals; dashed: the truth.",
    )
    for name, templates in result.templates.items():
        truth = {model.parameter: result.truth}
        best = {model.parameter: comparison[name].intervals[0].estimate}  # type: ignore[index]
        n = len(analysis.data)
        reference = {model.parameter: float(np.ravel(model.reference)[0])}
        points = {"reference": reference, "truth": truth, "best fit": best}
        if reference == truth:
            points = {"truth": truth, "best fit": best}
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
    toys = result.evaluation_toys[model.name]
    out["ladder"] = (
        plotting.plot_ladder(
            toy_intervals(toys), toy_intervals(toys, calibration), parameter=model.parameter
        ),
        "Intervals of the first 50 evaluation toys, before and after calibration.",
    )
    rows = {f"{method_title(model.name)}, as trained": learned.coverages_raw}
    rows |= {method_title(m.name): m.coverages for m in comparison}
    out["coverage"] = (
        plotting.plot_coverage(rows),
        "Coverage on evaluation toys, with Clopper–Pearson errors; dashed: what is claimed.",
    )
    out["surface"] = (
        coverage_figures.plot_calibrated(raw, calibration, truth=result.truth),
        f"{method_title(model.name)}: surface and 68.27 % interval before and after calibration.",
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
        f"Bias of {method_title(model.name)} on the calibration toys, and its fit.",
    )
    diagnosis = result.diagnoses.get(model.name)
    if isinstance(diagnosis, Diagnosis):
        out |= {f"diagnosis_{name}": drawn for name, drawn in diagnostic_figures(diagnosis).items()}
    return out
