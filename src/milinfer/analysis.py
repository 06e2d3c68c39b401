"""The inference half of the main job: one dataset, several methods, toys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from milinfer.analysis_result import Analysis, AnalysisResult, summary_table
from milinfer.belt_grid import neyman
from milinfer.binned import BinnedLLR
from milinfer.binning import fisher_bins
from milinfer.comparison import compare
from milinfer.coverages import CoverageScan, IntervalMethod, coverage_scan
from milinfer.diagnostics import Diagnosis, diagnose
from milinfer.exceptions import SampleError
from milinfer.likelihood import BagLikelihood
from milinfer.llr import Model, is_additive
from milinfer.observables import Observable, log_ratio_observable, score_observable
from milinfer.oracle import Oracle
from milinfer.pools import EventPool
from milinfer.progress import progress
from milinfer.relative_widths import (
    InformationRatio,
    RelativeWidth,
    information_ratios,
    relative_widths,
)
from milinfer.samples import Sample, SampleSet
from milinfer.surface import Interpolation
from milinfer.templates import Templates
from milinfer.toys import ToyEnsemble, Toys
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from iminuit.cost import Cost

__all__ = ["Analysis", "AnalysisResult", "analyse", "classifier_output", "summary_table"]


def classifier_output(
    model: BagLikelihood, half_width: float = 0.3
) -> Callable[[Sample], FloatArray]:
    """Per-event classifier output: the log-ratio between two points on both sides of θ0.

    For small distances this is the learned score, the optimal observable for small deviations; see
    :func:`milinfer.observables.log_ratio_observable`.

    Parameters
    ----------
    model
        Trained likelihood.
    half_width
        Distance of the two points from the reference.
    """
    centre = np.asarray(model.reference, dtype=np.float64)
    low, high = centre - half_width, centre + half_width
    return log_ratio_observable(model, low, high, name="classifier_output")


def analyse(analysis: Analysis) -> AnalysisResult:
    """Fit the data by every method, and measure all of them on the same toys.

    Raises
    ------
    SampleError
        If the data are empty, or there are several evaluation samples and no `truth`.
    """
    model, seed = analysis.model, analysis.seed
    parameter = model.parameter
    if not len(analysis.data):
        msg = f"{analysis.data.label}: a dataset without events cannot be fitted"
        raise SampleError(msg)
    truth = analysis.truth
    if truth is None:
        if len(analysis.evaluation) != 1:
            msg = (
                f"evaluation samples are at {analysis.evaluation.values(parameter)}: say at which "
                "value the methods are to be compared, with truth="
            )
            raise SampleError(msg)
        truth = float(analysis.evaluation.values(parameter)[0])
    n_events = len(analysis.data)
    low, high = model.interpolation.limits[0]
    fine = Interpolation(np.linspace(low, high, 81), "spline")
    binned = _histograms(analysis)
    models: list[Model] = list(analysis.models)
    models += [
        BinnedLLR(name, t, parameter, fine, mc_stat=analysis.mc_stat) for name, t in binned.items()
    ]
    costs: dict[str, Cost] = {m.name: m.cost(analysis.data) for m in analysis.models}
    costs |= {name: t.cost(analysis.data, mc_stat=analysis.mc_stat) for name, t in binned.items()}
    bound = ""
    if analysis.oracle_pool is not None:
        oracle = Oracle.from_sample(analysis.oracle_pool, parameter, fine.grid)
        models.append(oracle)
        costs[oracle.name] = oracle.cost(analysis.data)
        bound = oracle.name
    toys, evaluated, belt_toys = _throw(analysis, models, n_events, truth)
    at_truth = {
        name: next(e for e in found if e.truth == truth) for name, found in evaluated.items()
    }
    # pyhf and the oracle stay as their users run them; the learned surface needs its calibration.
    learned = {m.name for m in analysis.models}
    untouched = [m.name for m in models if m.name not in learned]
    comparison = compare(toys, at_truth, costs, uncalibrated=untouched, seed=seed)
    belts = {
        name: neyman(found, calibration=comparison[name].calibration)
        for name, found in belt_toys.items()
    }
    scan = CoverageScan(())
    for name, found in evaluated.items():
        methods: dict[str, IntervalMethod | None] = {}
        if name == model.name:
            methods[f"{name}, as trained"] = None
        methods[name] = comparison[name].applied
        if name == model.name and name in belts:
            methods[f"{name}, Neyman"] = belts[name]
        scan += coverage_scan(found, methods, warn_of_pool=False)
    widths: tuple[RelativeWidth, ...] = ()
    ratios: tuple[InformationRatio, ...] = ()
    # The toys that the comparison takes I_eff from, so that ratios are those of its numbers.
    ordered = {name: [at_truth[name], *toys[name]] for name in at_truth}
    if len({e.truth for e in next(iter(ordered.values()))}) > 1:
        widths = relative_widths(ordered, list(binned), seed=seed)
        best = min((w for w in widths if w.name in binned), key=lambda w: w.ratio).name
        ratios = information_ratios(ordered, bound or best, seed=seed)
    return AnalysisResult(
        analysis,
        comparison,
        costs,
        binned,
        toys,
        at_truth,
        scan,
        widths,
        belts,
        truth,
        ratios,
        {m.name: _diagnosis(m, analysis, n_events) for m in analysis.models},
    )


def _diagnosis(model: BagLikelihood, analysis: Analysis, n_events: int) -> Diagnosis | str:
    """Checks on events that did not train the model, or why there can be none."""
    if not is_additive(model):
        return "not diagnosed: its bags are more than the sum of their events"
    reference = float(np.ravel(model.reference)[0])
    for samples in (analysis.evaluation, analysis.classifier_templates):
        if samples is None or len(samples) < 2:
            continue
        if np.any(np.isclose(samples.values(model.parameter), reference, rtol=0, atol=1e-9)):
            return diagnose(
                model,
                samples,
                n_events=n_events,
                n_toys=analysis.n_toys,
                seed=analysis.seed,
                outside="drop",
            )
    return f"not diagnosed: no other events at the reference {model.parameter} = {reference:g}"


def _histograms(analysis: Analysis) -> dict[str, Templates]:
    """Templates of one feature, of two, and of what the network makes of an event.

    Bins of one observable keep the most information at the reference, those of two are quantiles.
    """
    model, degree = analysis.model, analysis.degree
    at = {model.parameter: float(np.ravel(model.reference)[0])}

    def of(samples: SampleSet, observable: Observable) -> Templates:
        edges = fisher_bins(samples, observable, analysis.bins, at, degree=degree)
        return Templates.from_samples(samples, observable, bins=edges, degree=degree)

    found = {"pyhf": of(analysis.templates, analysis.observable)}
    if analysis.second_observable is not None:
        found["pyhf_2d"] = Templates.from_samples(
            analysis.templates,
            (analysis.observable, analysis.second_observable),
            bins=analysis.bins_2d,
            degree=degree,
        )
    if analysis.classifier_templates is not None:
        found["pyhf_classifier"] = of(analysis.classifier_templates, classifier_output(model))
        found["pyhf_score"] = of(
            analysis.classifier_templates, score_observable(model, at[model.parameter])
        )
    return found


def _throw(
    analysis: Analysis, models: Sequence[Model], n_events: int, truth: float
) -> tuple[
    dict[str, list[ToyEnsemble]], dict[str, list[ToyEnsemble]], dict[str, list[ToyEnsemble]]
]:
    """Toys for calibration (all models), for coverage (all) and for belts (the learned ones)."""
    parameter, n, seed = analysis.model.parameter, analysis.n_toys, analysis.seed
    tuning, other = (
        EventPool(s, analysis.weight_degree) for s in (analysis.calibration, analysis.evaluation)
    )
    calibrate_at = analysis.calibrate_at or _values(analysis.calibration, parameter)
    cover_at = tuple(sorted({truth, *(analysis.cover_at or _values(other.samples, parameter))}))
    learned = list(analysis.models)
    jobs = (
        (tuning, seed, models, calibrate_at),
        (other, seed + 1, models, cover_at),
        (tuning, seed + 2, learned, analysis.belt_at),
    )
    found = []
    with progress("toys", n * sum(len(truths) for *_, truths in jobs)) as advance:
        for pool, own, shown, truths in jobs:
            toys = Toys(pool, n_events, own)
            found.append(
                toys.scan(shown, truths, n, workers=analysis.workers, on_toys=advance)
                if truths
                else {}
            )
    return found[0], found[1], found[2]


def _values(samples: SampleSet, parameter: str) -> tuple[float, ...]:
    return tuple(float(t) for t in np.sort(samples.values(parameter)))
