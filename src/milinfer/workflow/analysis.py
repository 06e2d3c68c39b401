"""Fit one dataset with several methods, and test all methods on the same toys.

:func:`analyse` runs an :class:`milinfer.workflow.analysis_settings.Analysis`.
:mod:`milinfer.workflow.report` makes figures and files from its result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.templates import Templates
from milinfer.diagnostics.diagnosis import Diagnosis, diagnose
from milinfer.diagnostics.fit_tests import GoodnessOfFit, goodness_of_fit
from milinfer.exceptions import (
    MilinferError,
    MilinferWarning,
    SampleError,
    TurningResponseWarning,
)
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.coverage import CoverageScan, coverage_scan
from milinfer.intervals.information import (
    InformationRatio,
    RelativeWidth,
    information_ratios,
    relative_widths,
)
from milinfer.intervals.neyman import neyman
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import Model
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from milinfer.typing import Point
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.points import only
from milinfer.utils.progress import progress
from milinfer.workflow.analysis_result import AnalysisResult
from milinfer.workflow.analysis_settings import Analysis
from milinfer.workflow.comparison import (
    Attempts,
    Comparison,
    MethodResult,
    advice,
    assess,
)
from milinfer.workflow.finite_simulation import training_errors
from milinfer.workflow.histograms import histograms
from milinfer.workflow.inputs import inner_values

if TYPE_CHECKING:
    from iminuit.cost import Cost


__all__ = [
    "analyse",
    "fitted_methods",
    "plain",
    "require_events",
    "tested_fit",
    "throw_toys",
    "warn_of_problems",
]


def analyse(analysis: Analysis) -> AnalysisResult:
    """Fit the data with every method, and test all methods on the same toys.

    Raises
    ------
    SampleError
        If the data are empty, there are several evaluation samples and no `truth`, or the first
        model was trained on the events of `classifier_templates`.
    MilinferError
        If the first model cannot be evaluated at all.  A note on the error lists settings that may
        help.

    Warns
    -----
    MilinferWarning
        If a method other than the first model fails.  ``unavailable`` of the result gives the
        reason.  Also if a method cannot be calibrated, or gives no interval for the data or no
        belt.  ``problems`` in the result of this method gives the reason.  A method that cannot be
        calibrated is used without calibration.
    """
    model, seed = analysis.model, analysis.seed
    require_events(analysis)
    only(model.parameters)
    truth = _truth(analysis)
    attempts = Attempts(required=[model.name])
    binned = histograms(analysis, attempts)
    models, costs = _methods(analysis, binned, attempts)
    toys, evaluated, belt_toys = throw_toys(
        analysis,
        models,
        calibrate_at=analysis.calibration_values,
        cover_at=tuple(sorted({truth, *analysis.coverage_values})),
        belt_at=analysis.belt_at,
    )
    at_truth = {
        name: next(e for e in ensembles if e.truth == truth)
        for name, ensembles in evaluated.items()
    }
    # pyhf and the oracle are used as their users run them; the learned surfaces are calibrated.
    learned = {m.name for m in analysis.models}
    methods: dict[str, MethodResult] = {}
    belts: dict[str, Belt] = {}
    for name, ensembles in toys.items():
        with attempts(name, "toys"):
            methods[name] = assess(
                name,
                ensembles,
                at_truth[name],
                cost=costs[name],
                calibrated=name in learned,
                widen=analysis.simulation_error,
                required=False,
                seed=seed,
            )
    for name, ensembles in belt_toys.items():
        if name in methods:
            try:
                belts[name] = neyman(ensembles, calibration=plain(methods[name].calibration))
            except MilinferError as error:
                methods[name] = _with_problem(methods[name], f"no belt: {error}")
    scan = CoverageScan(())
    for name, method in methods.items():
        interval_methods: dict[str, Calibration | Belt | None] = {}
        if name == model.name:
            interval_methods[f"{name}, as trained"] = None
        if name != model.name or method.applied is not None:
            interval_methods[name] = method.applied
        if name == model.name and name in belts:
            interval_methods[f"{name}, Neyman"] = belts[name]
        for label, applied in interval_methods.items():
            inside, problem = _inside(evaluated[name], applied, label)
            scan += coverage_scan(inside, {label: applied}, warn_of_pool=False)
            if problem:
                methods[name] = _with_problem(methods[name], problem)
    for name, method in methods.items():
        warn_of_problems(name, method.problems)
    # No warning: nothing has failed, and the sentence stands beside the result wherever it is.
    for name, belt in belts.items():
        if problem := _truncation(belt, costs[name]):
            methods[name] = _with_problem(methods[name], problem)
    # The comparison takes I_eff from these toys too, so that ratios agree with its numbers.
    ordered = {name: [at_truth[name], *toys[name]] for name in methods}
    with warnings.catch_warnings():
        # The response of a histogram may turn around far from the truth; it is not calibrated, and
        # of learned methods the calibration has warned of the same toys.
        warnings.simplefilter("ignore", TurningResponseWarning)
        widths, ratios = _relative(ordered, [name for name in binned if name in methods], seed)
    return AnalysisResult(
        analysis=analysis,
        comparison=Comparison(tuple(methods.values())),
        costs={name: costs[name] for name in methods},
        templates={name: t for name, t in binned.items() if name in methods},
        calibration_toys={name: toys[name] for name in methods},
        evaluation_toys={name: at_truth[name] for name in methods},
        coverage=scan,
        widths=widths,
        belts=belts,
        truth=truth,
        information=ratios,
        diagnoses={m.name: _diagnosis(m, analysis, len(analysis.data)) for m in analysis.models},
        fit_tests=tested_fit(analysis),
        training_errors=training_errors(analysis.models, costs, analysis.data),
        unavailable=attempts.failed,
    )


def plain(calibration: Calibration | None) -> Calibration | None:
    """Return a calibration without the widening by its own error, for belts."""
    return None if calibration is None else replace(calibration, widen=False)


def require_events(analysis: Analysis) -> None:
    """Check that the data have events.

    Raises
    ------
    SampleError
        If the data have no events.  The message names the data.
    """
    if not len(analysis.data):
        msg = (
            f"{analysis.data.label} has no events, so there is nothing to fit; check the selection"
        )
        raise SampleError(msg)


def tested_fit(analysis: Analysis) -> GoodnessOfFit | str:
    """Test how well the fit of the first model describes the data, or say why this failed."""
    try:
        return goodness_of_fit(
            analysis.model,
            analysis.data,
            analysis.evaluation,
            degree=analysis.weight_degree,
            n_toys=analysis.n_toys,
            seed=analysis.seed,
        )
    except MilinferError as error:
        return f"not tested: {error}"


def _truth(analysis: Analysis) -> float:
    """True value at which the methods are compared."""
    if analysis.truth is not None:
        return analysis.truth
    values = analysis.evaluation.values(analysis.model.parameter)
    if len(analysis.evaluation) != 1:
        msg = (
            f"evaluation samples are at {', '.join(f'{v:g}' for v in values)}: give the value at "
            "which to compare the methods, as truth="
        )
        raise SampleError(msg)
    return float(values[0])


def _methods(
    analysis: Analysis, binned: dict[str, Templates], attempts: Attempts
) -> tuple[list[Model], dict[str, Cost]]:
    """Make every method twice: as a model for toys and as a cost of the data."""
    parameter = analysis.model.parameter
    low, high = analysis.model.interpolation.limits[0]
    fine = Interpolation(np.linspace(low, high, 81), "spline")
    return fitted_methods(
        analysis,
        binned,
        attempts,
        lambda name, t: BinnedLLR(name, t, parameter, fine, mc_stat=analysis.mc_stat),
        lambda pool: Oracle.from_sample(pool, parameter, fine.grid),
    )


def fitted_methods(
    analysis: Analysis,
    binned: Mapping[str, Templates],
    attempts: Attempts,
    binned_model: Callable[[str, Templates], Model],
    oracle_of: Callable[[Sample | SampleSet], Oracle],
) -> tuple[list[Model], dict[str, Cost]]:
    """Make two objects for each method: a model for the toys and a cost of the data.

    Parameters
    ----------
    analysis
        Samples, models and settings; the networks are ``analysis.models``.
    binned
        Templates of the histograms, by name of the method.
    attempts
        Object that records the methods that fail.
    binned_model, oracle_of
        Functions that make the model of a histogram, and the oracle from its pool of events.
    """
    models: list[Model] = []
    costs: dict[str, Cost] = {}
    for model in analysis.models:
        with attempts(model.name, "fit"):
            costs[model.name] = model.cost(analysis.data)
            models.append(model)
    for name, templates in binned.items():
        with attempts(name, "fit"):
            costs[name] = templates.cost(analysis.data, mc_stat=analysis.mc_stat)
            models.append(binned_model(name, templates))
    if analysis.oracle_pool is not None:
        with attempts("oracle", "oracle"):
            oracle = oracle_of(analysis.oracle_pool)
            costs[oracle.name] = oracle.cost(analysis.data)
            models.append(oracle)
    return models, costs


def _with_problem(method: MethodResult, problem: str) -> MethodResult:
    return replace(method, problems=(*method.problems, problem))


def _truncation(belt: Belt, cost: Cost) -> str:
    """Sentence about Neyman sets of the data that are cut off at the edge of the belt; or empty."""
    if not isinstance(cost, LikelihoodCost):
        return ""
    levels, ends = [], set()
    for cl in (CL68, CL95):
        found = belt.interval(cost, cl)
        pairs = zip(found.intervals, found.at_bound, strict=True)
        cut = {e for interval, at in pairs for e, bound in zip(interval, at, strict=True) if bound}
        levels += [f"{cl:.2%}"] if cut else []
        ends |= cut
    if not ends:
        return ""
    return (
        f"the Neyman set of the data at {' and '.join(levels)} ends at "
        f"{', '.join(f'{end:g}' for end in sorted(ends))}, the edge of the belt, and may extend "
        "further; widen the range of belt_at"
    )


def _inside(
    ensembles: Sequence[ToyEnsemble], applied: Calibration | Belt | None, label: str
) -> tuple[list[ToyEnsemble], str]:
    """Toys at truths inside a calibration or belt, and a sentence about the others."""
    if applied is None:
        return list(ensembles), ""
    low, high = applied.limits[0]
    inside = [e for e in ensembles if low <= e.truth <= high]
    beyond = ", ".join(f"{e.truth:g}" for e in ensembles if not low <= e.truth <= high)
    problem = f"no coverage of {label} at {beyond}: it was measured from {low:.4g} to {high:.4g}"
    return inside, problem if beyond else ""


def warn_of_problems(name: str, problems: Iterable[str]) -> None:
    """Warn about problems of a method, for example missing results.

    Warns
    -----
    MilinferWarning
        Once for each problem.

    Examples
    --------
    >>> warn_of_problems("polynomial", [])
    """
    for problem in problems:
        msg = f"{name}: {problem} ({advice('calibration')})"
        warnings.warn(msg, MilinferWarning, stacklevel=3)


def _relative(
    toys: dict[str, list[ToyEnsemble]], histograms: list[str], seed: int
) -> tuple[tuple[RelativeWidth, ...], tuple[InformationRatio, ...]]:
    """Ratios of widths to the best histogram, and of information to the oracle.

    Without an oracle the information is compared with that of the best histogram.  Toys at one
    truth alone give no response, and so no ratios.
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
    """Diagnose a model on events not used for its training, or say why that is impossible."""
    if not model.additive:
        return "not diagnosed: its score of a bag is not a sum over events"
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
    low, high = model.interpolation.limits[0]
    if analysis.weight_degree is None or not low <= reference <= high:
        return f"not diagnosed: no other events at the reference {model.parameter} = {reference:g}"
    # Checks compare samples of different events: each part of the events goes to one value.
    values = sorted({reference, *inner_values((low, high), 2)})
    parts = analysis.evaluation.split([1 / len(values)] * len(values), analysis.seed)
    return diagnose(
        model,
        SampleSet(
            tuple(
                EventPool(part, analysis.weight_degree).reweighted({model.parameter: value})
                for part, value in zip(parts, values, strict=True)
            )
        ),
        n_events=n_events,
        n_toys=analysis.n_toys,
        seed=analysis.seed,
    )


def throw_toys(
    analysis: Analysis,
    models: Sequence[Model],
    *,
    calibrate_at: Sequence[float | Point],
    cover_at: Sequence[float | Point],
    belt_at: Sequence[float | Point],
) -> tuple[
    dict[str, list[ToyEnsemble]], dict[str, list[ToyEnsemble]], dict[str, list[ToyEnsemble]]
]:
    """Generate toys of all models for calibration and coverage, and of learned models for belts."""
    n, seed = analysis.n_toys, analysis.seed
    tuning, other = (
        EventPool(s, analysis.weight_degree) for s in (analysis.calibration, analysis.evaluation)
    )
    learned = [m for m in models if m in analysis.models]
    jobs = (
        (tuning, seed, models, calibrate_at),
        (other, seed + 1, models, cover_at),
        (tuning, seed + 2, learned, belt_at),
    )
    thrown = []
    with progress("toys", n * sum(len(truths) for *_, truths in jobs)) as advance:
        for pool, seed_of_toys, methods, truths in jobs:
            toys = Toys(pool, len(analysis.data), seed_of_toys)
            thrown.append(
                toys.scan(methods, truths, n, workers=analysis.workers, on_toys=advance)
                if truths
                else {}
            )
    return thrown[0], thrown[1], thrown[2]
