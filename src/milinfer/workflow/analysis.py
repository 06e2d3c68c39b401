"""The inference half of the main job: one dataset, several methods, toys."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.binning import fisher_bins
from milinfer.binned.templates import Templates
from milinfer.diagnostics.diagnosis import Diagnosis, diagnose
from milinfer.exceptions import MilinferError, MilinferWarning, SampleError
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.coverage import coverage_scan
from milinfer.intervals.coverage_results import CoverageScan
from milinfer.intervals.neyman import neyman
from milinfer.intervals.relative_widths import (
    InformationRatio,
    RelativeWidth,
    information_ratios,
    relative_widths,
)
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.likelihood.models import Model, is_additive
from milinfer.likelihood.observables import Observable, log_ratio_observable, score_observable
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.unseen import require_unseen
from milinfer.samples.samples import Sample, SampleSet
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import ToyEnsemble, Toys
from milinfer.typing import FloatArray
from milinfer.utils.progress import progress
from milinfer.workflow.analysis_result import Analysis, AnalysisResult, summary_table
from milinfer.workflow.comparison import Comparison, MethodResult, assess
from milinfer.workflow.unavailable import Attempts, advice

if TYPE_CHECKING:
    from iminuit.cost import Cost

__all__ = ["Analysis", "AnalysisResult", "analyse", "classifier_output", "summary_table"]


def classifier_output(
    model: BagLikelihood, half_width: float = 0.3
) -> Callable[[Sample], FloatArray]:
    """Per-event classifier output: the log-ratio between two points on both sides of θ0.

    For small distances this is the learned score, the optimal observable for small deviations; see
    :func:`milinfer.likelihood.observables.log_ratio_observable`.

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
        If the data are empty, there are several evaluation samples and no `truth`, or the first
        model was trained on the events of `classifier_templates`.
    MilinferError
        If the first model cannot be evaluated at all; a note of the error says which settings bear
        on that.

    Warns
    -----
    MilinferWarning
        If another method fails; it is in `unavailable` of the result then, with the reason.  If one
        cannot be calibrated, or has no interval of the data or no belt; `problems` of its result
        say why, and the rest of it is as trained.
    """
    model, seed = analysis.model, analysis.seed
    if not len(analysis.data):
        msg = f"{analysis.data.label}: a dataset without events cannot be fitted"
        raise SampleError(msg)
    truth = _truth(analysis)
    attempts = Attempts(required=[model.name])
    binned = _histograms(analysis, attempts)
    models, costs = _methods(analysis, binned, attempts)
    toys, evaluated, belt_toys = _throw(analysis, models, len(analysis.data), truth)
    at_truth = {
        name: next(e for e in found if e.truth == truth) for name, found in evaluated.items()
    }
    # pyhf and the oracle stay as their users run them; the learned surface needs its calibration.
    learned = {m.name for m in analysis.models}
    methods: dict[str, MethodResult] = {}
    belts: dict[str, Belt] = {}
    for name, found in toys.items():
        with attempts(name, "toys"):
            methods[name] = assess(
                name,
                found,
                at_truth[name],
                cost=costs[name],
                calibrated=name in learned,
                required=False,
                seed=seed,
            )
    for name, found in belt_toys.items():
        if name in methods:
            try:
                belts[name] = neyman(found, calibration=methods[name].calibration)
            except MilinferError as error:
                methods[name] = _with_problem(methods[name], f"no belt: {error}")
    scan = CoverageScan(())
    for name, method in methods.items():
        shown: dict[str, Calibration | Belt | None] = {}
        if name == model.name:
            shown[f"{name}, as trained"] = None
        if name != model.name or method.applied is not None:
            shown[name] = method.applied
        if name == model.name and name in belts:
            shown[f"{name}, Neyman"] = belts[name]
        for label, used in shown.items():
            inside, problem = _inside(evaluated[name], used, label)
            scan += coverage_scan(inside, {label: used}, warn_of_pool=False)
            if problem:
                methods[name] = _with_problem(methods[name], problem)
    _warn_of_problems(methods.values())
    # The toys that the comparison takes I_eff from, so that ratios are those of its numbers.
    ordered = {name: [at_truth[name], *toys[name]] for name in methods}
    widths, ratios = _relative(ordered, [name for name in binned if name in methods], seed)
    return AnalysisResult(
        analysis,
        Comparison(tuple(methods.values())),
        {name: costs[name] for name in methods},
        {name: t for name, t in binned.items() if name in methods},
        {name: toys[name] for name in methods},
        {name: at_truth[name] for name in methods},
        scan,
        widths,
        belts,
        truth,
        ratios,
        {m.name: _diagnosis(m, analysis, len(analysis.data)) for m in analysis.models},
        unavailable=attempts.failed,
    )


def _truth(analysis: Analysis) -> float:
    """Where the methods are compared."""
    if analysis.truth is not None:
        return analysis.truth
    values = analysis.evaluation.values(analysis.model.parameter)
    if len(analysis.evaluation) != 1:
        msg = (
            f"evaluation samples are at {', '.join(f'{v:g}' for v in values)}: say at which value "
            "the methods are to be compared, with truth="
        )
        raise SampleError(msg)
    return float(values[0])


def _methods(
    analysis: Analysis, binned: dict[str, Templates], attempts: Attempts
) -> tuple[list[Model], dict[str, Cost]]:
    """Every method as a model for toys and as a cost of the data."""
    parameter = analysis.model.parameter
    low, high = analysis.model.interpolation.limits[0]
    fine = Interpolation(np.linspace(low, high, 81), "spline")
    models: list[Model] = []
    costs: dict[str, Cost] = {}
    for model in analysis.models:
        with attempts(model.name, "fit"):
            costs[model.name] = model.cost(analysis.data)
            models.append(model)
    for name, templates in binned.items():
        with attempts(name, "fit"):
            costs[name] = templates.cost(analysis.data, mc_stat=analysis.mc_stat)
            models.append(BinnedLLR(name, templates, parameter, fine, mc_stat=analysis.mc_stat))
    if analysis.oracle_pool is not None:
        with attempts("oracle", "oracle"):
            oracle = Oracle.from_sample(analysis.oracle_pool, parameter, fine.grid)
            costs[oracle.name] = oracle.cost(analysis.data)
            models.append(oracle)
    return models, costs


def _with_problem(method: MethodResult, problem: str) -> MethodResult:
    return replace(method, problems=(*method.problems, problem))


def _inside(
    ensembles: Sequence[ToyEnsemble], used: Calibration | Belt | None, label: str
) -> tuple[list[ToyEnsemble], str]:
    """Toys at truths where a calibration or belt is known, and which others there are."""
    if used is None:
        return list(ensembles), ""
    low, high = used.limits[0]
    inside = [e for e in ensembles if low <= e.truth <= high]
    beyond = ", ".join(f"{e.truth:g}" for e in ensembles if not low <= e.truth <= high)
    known = f"no coverage of {label} at {beyond}: it is known from {low:.4g} to {high:.4g}"
    return inside, known if beyond else ""


def _warn_of_problems(methods: Iterable[MethodResult]) -> None:
    for method in methods:
        for problem in method.problems:
            msg = f"{method.name}: {problem} ({advice('calibration')})"
            warnings.warn(msg, MilinferWarning, stacklevel=3)


def _relative(
    toys: dict[str, list[ToyEnsemble]], histograms: list[str], seed: int
) -> tuple[tuple[RelativeWidth, ...], tuple[InformationRatio, ...]]:
    """Widths over that of the best histogram, information over that of the oracle, or else of it.

    Without toys at a second truth there is no response, and nothing to compare with.
    """
    widths: tuple[RelativeWidth, ...] = ()
    if len({e.truth for e in next(iter(toys.values()))}) == 1:
        return widths, ()
    if histograms:
        widths = relative_widths(toys, histograms, seed=seed)
    reference = "oracle" if "oracle" in toys else None
    if reference is None and histograms:
        reference = min((w for w in widths if w.name in histograms), key=lambda w: w.ratio).name
    return widths, () if reference is None else information_ratios(toys, reference, seed=seed)


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


def _histograms(analysis: Analysis, attempts: Attempts) -> dict[str, Templates]:
    """Templates of one feature, of two, and of what the network makes of an event.

    Bins of one observable keep the most information at the reference, those of two are quantiles.
    """
    model, degree = analysis.model, analysis.degree
    at = {model.parameter: float(np.ravel(model.reference)[0])}
    found: dict[str, Templates] = {}

    def add(name: str, samples: SampleSet, observable: Callable[[], Observable]) -> None:
        with attempts(name, "templates"):
            of = observable()
            edges = fisher_bins(samples, of, analysis.bins, at, degree=degree)
            found[name] = Templates.from_samples(samples, of, bins=edges, degree=degree)

    add("pyhf", analysis.templates, lambda: analysis.observable)
    if analysis.second_observable is not None:
        with attempts("pyhf_2d", "templates"):
            found["pyhf_2d"] = Templates.from_samples(
                analysis.templates,
                (analysis.observable, analysis.second_observable),
                bins=analysis.bins_2d,
                degree=degree,
            )
    if (held_out := analysis.classifier_templates) is not None:
        require_unseen(model, held_out, "a histogram of what it makes of an event")
        add("pyhf_classifier", held_out, lambda: classifier_output(model))
        add("pyhf_score", held_out, lambda: score_observable(model, at[model.parameter]))
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
    learned = [m for m in models if m in analysis.models]
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
