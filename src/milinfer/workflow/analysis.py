"""Inference: fit one dataset by several methods and measure all of them on the same toys.

:class:`Analysis` holds samples, trained models and settings, :func:`analyse` runs it, and
:class:`AnalysisResult` holds the numbers; figures and files are made in :mod:`workflow.report`.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.chosen_templates import (
    chosen_templates,
    filled_templates,
    score_templates,
)
from milinfer.binned.templates import Templates
from milinfer.binned.weighted_templates import (
    EventYields,
    carry_weights,
    event_yields,
)
from milinfer.diagnostics.diagnosis import Diagnosis, diagnose
from milinfer.diagnostics.fit_tests import GoodnessOfFit, goodness_of_fit
from milinfer.exceptions import MilinferError, MilinferWarning, SampleError, TemplateError
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.confidence_sets import ConfidenceSet
from milinfer.intervals.coverage import CoverageScan, coverage_scan
from milinfer.intervals.information import (
    InformationRatio,
    RelativeWidth,
    information_ratios,
    relative_widths,
)
from milinfer.intervals.neyman import neyman
from milinfer.learning.bag_likelihood import BagLikelihood, classifier_output
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import Model, require_unseen
from milinfer.likelihood.observables import Observable, score_observable
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.fingerprints import any_shared, sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from milinfer.typing import Point
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import html_table, measured, rich_table
from milinfer.utils.points import only
from milinfer.utils.progress import progress
from milinfer.workflow.blinding import Blinding
from milinfer.workflow.comparison import (
    Attempts,
    Comparison,
    MethodResult,
    Unavailable,
    advice,
    assess,
)
from milinfer.workflow.finite_simulation import (
    TrainingError,
    simulation_facts,
    training_errors,
)
from milinfer.workflow.inputs import inner_values
from milinfer.workflow.provenance import Provenance, sample_facts
from milinfer.workflow.several_summary import is_several, several_table
from milinfer.workflow.systematics import NuisanceResult

if TYPE_CHECKING:
    import pyarrow as pa
    from iminuit.cost import Cost
    from rich.table import Table

__all__ = [
    "Analysis",
    "AnalysisResult",
    "analyse",
    "fitted_methods",
    "histograms",
    "plain",
    "provenance_facts",
    "reference_point",
    "require_events",
    "summary_table",
    "tested_fit",
    "throw_toys",
    "warn_of_problems",
]


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
        If another method fails; `unavailable` of the result then gives the reason.  If a method
        cannot be calibrated, or has no interval of the data or no belt; `problems` of its result
        gives the reason, and the rest of its result is that of the uncalibrated method.
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
        cover_at=tuple(
            sorted({truth, *(analysis.cover_at or _truths(analysis, analysis.evaluation, 5))})
        ),
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
        warnings.filterwarnings("ignore", ".*turns around", MilinferWarning)
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
    """A calibration as a belt takes it: what widens intervals is in the toys of a belt."""
    return None if calibration is None else replace(calibration, widen=False)


def require_events(analysis: Analysis) -> None:
    """Refuse data without events.

    Raises
    ------
    SampleError
        Names the data.
    """
    if not len(analysis.data):
        msg = f"{analysis.data.label}: a dataset without events cannot be fitted"
        raise SampleError(msg)


def tested_fit(analysis: Analysis) -> GoodnessOfFit | str:
    """Test the data against the fit of the first model, or say why that is impossible."""
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
            f"evaluation samples are at {', '.join(f'{v:g}' for v in values)}: say at which value "
            "the methods are to be compared, with truth="
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
    """Make networks, histograms and the oracle twice: as models for toys and as costs of the data.

    Parameters
    ----------
    analysis
        The analysis.
    binned
        Histograms by name.
    attempts
        Keeps what fails.
    binned_model, oracle_of
        Make the model of a histogram, and the oracle from its pool.
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
    """A sentence about Neyman sets of the data that end only where the belt does; or nothing."""
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
        f"the Neyman set of the data at {' and '.join(levels)} is cut off at "
        f"{', '.join(f'{end:g}' for end in sorted(ends))}, where the belt ends: more values may "
        "belong to it; take belt_at further out"
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
    problem = f"no coverage of {label} at {beyond}: it is known from {low:.4g} to {high:.4g}"
    return inside, problem if beyond else ""


def warn_of_problems(name: str, problems: Iterable[str]) -> None:
    """Warn of what is missing of a method.

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
    """Diagnose a model on events that did not train it, or say why that is impossible."""
    if not model.additive:
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


def reference_point(model: BagLikelihood) -> dict[str, float]:
    """θ0 of a trained model, by the names of its parameters."""
    names = model.parameters
    values = np.broadcast_to(np.asarray(model.reference, dtype=np.float64), len(names))
    return dict(zip(names, values.tolist(), strict=True))


def histograms(analysis: Analysis, attempts: Attempts) -> dict[str, Templates]:
    """Fill templates of one feature, of two features, and of the output of the network.

    Of the output of a network in one parameter there are two, of its log-ratio and of its score; in
    two parameters there is the histogram of its two scores, and in more none.

    Bins of one observable keep the most information at the reference; those of two are quantiles.
    They are
    chosen on events that do not fill them: those of a feature on events that were held out from
    the training, those of the output of the network on the events that it was trained on.
    Events that carry weights fill all values; else a polynomial is fitted through the samples.
    """
    model = analysis.model
    at = reference_point(model)
    templates: dict[str, Templates] = {}
    # What the weights of events add is the same for all observables.
    known: dict[SampleSet, SampleSet | EventYields] = {}

    def through_weights(samples: SampleSet) -> SampleSet | EventYields:
        if samples not in known:
            degree = analysis.weight_degree
            if degree is not None and carry_weights(samples, degree):
                known[samples] = event_yields(samples, degree)
            else:
                known[samples] = samples
        return known[samples]

    parts: dict[tuple[SampleSet, SampleSet | None], tuple[SampleSet, SampleSet]] = {}

    def add(
        name: str,
        filling: SampleSet,
        others: SampleSet | None,
        observable: Callable[[], Observable],
    ) -> None:
        with attempts(name, "templates"):
            if (filling, others) not in parts:
                parts[filling, others] = _edges_and_contents(filling, others, analysis.seed)
            choosing, rest = parts[filling, others]
            templates[name] = chosen_templates(
                through_weights(choosing),
                through_weights(rest),
                observable(),
                analysis.bins,
                at,
                n_events=len(analysis.data),
                degree=analysis.degree,
            )

    held_out = analysis.classifier_templates
    add("pyhf", analysis.templates, held_out, lambda: analysis.observable)
    if analysis.second_observable is not None:
        with attempts("pyhf_2d", "templates"):
            templates["pyhf_2d"] = filled_templates(
                through_weights(analysis.templates),
                (analysis.observable, analysis.second_observable),
                analysis.bins_2d,
                degree=analysis.degree,
            )
    if held_out is not None:
        require_unseen(model, held_out, "a histogram of its output")
        others = analysis.templates if analysis.training is None else analysis.training
        if len(at) == 1:
            add("pyhf_classifier", held_out, others, lambda: classifier_output(model))
            score = partial(score_observable, model, at[model.parameter])
            add("pyhf_score", held_out, others, score)
        elif len(at) == 2:
            with attempts("pyhf_scores", "templates"):
                templates["pyhf_scores"] = _of_scores(analysis, others, held_out, at)
    return templates


def _of_scores(analysis: Analysis, choosing: SampleSet, filling: SampleSet, at: Point) -> Templates:
    """Histogram of two scores, with as many bins as the events allow, 12 × 12 at most."""
    weighted = carry_weights(filling, analysis.weight_degree)
    # An even share of forty simulated events, so that every bin has half of it or more.
    simulated = filling.n_events if weighted else min(len(s) for s in filling)
    bins = int(np.clip(np.sqrt(min(len(analysis.data) / 7, simulated / 40)), 2, 12))
    while True:
        try:
            return score_templates(
                analysis.model,
                choosing,
                filling,
                at=at,
                n_events=len(analysis.data),
                bins=(bins, bins),
                degree=analysis.degree,
                weight_degree=analysis.weight_degree if weighted else None,
            )
        except TemplateError:
            # Few simulated events fill few bins.
            bins -= 1
            if bins < 2:
                raise


def _edges_and_contents(
    filling: SampleSet, others: SampleSet | None, seed: int
) -> tuple[SampleSet, SampleSet]:
    """Samples to choose edges on and samples to fill bins with, of different events."""
    if others is not None and not any_shared(sketch_each(others), sketch_each(filling)):
        return others, filling
    choosing, rest = filling.split([_CHOOSE_EDGES, 1 - _CHOOSE_EDGES], seed)
    return choosing, rest


# Part of the events that choose edges where no others do.
_CHOOSE_EDGES = 0.2


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
    """Generate toys for calibration and coverage (all models) and for belts (learned models)."""
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


def _truths(analysis: Analysis, samples: SampleSet, number: int) -> tuple[float, ...]:
    """The points of samples or, of one whose events carry weights, some in the inner half."""
    values = np.sort(samples.values(analysis.model.parameter))
    if len(values) == 1 and analysis.weight_degree is not None:
        return inner_values(analysis.model.interpolation.limits[0], number)
    return tuple(float(v) for v in values)


@dataclass(frozen=True, eq=False)
class Analysis:
    """Samples, trained models and settings of one analysis.

    Parameters
    ----------
    models
        Trained likelihoods with different names; the report is about the first one.
    data
        Dataset to fit.
    templates
        Samples for the histograms.  Those of the classifier output must not be the events that
        the network was trained on; see `classifier_templates`.
    calibration
        Samples for the toys that tune calibrations and belts.
    evaluation
        Samples of other events, for coverage.
    truth
        True value at which the methods are compared; default: the point of the one evaluation
        sample.
    weight_degree
        Degree of the event weights in the parameter; toys can then be generated at any value, each
        from all events, and all events fill the histograms at every value if those of `templates`
        carry weights too.  None: only at the points of the samples.
    calibrate_at, cover_at, belt_at
        True values of the toys for calibrations, coverage and belts; default: the points of the
        samples, or of one whose events carry weights 7 and 5 values in the inner half of the range;
        and no belts.
    observable, bins, degree
        Feature and number of bins of the histogram, and degree of its polynomial; default: that of
        the weights, or 4.
    second_observable, bins_2d
        Second feature and numbers of bins of a histogram of two observables; None leaves it out.
    mc_stat
        Whether the Monte-Carlo errors of the templates count in the histograms' likelihoods.
    n_toys
        Number of toys at each true value.
    seed
        Seed of the toys.
    workers
        Number of threads that generate toys.
    classifier_templates
        Held-out samples for the histogram of the classifier output; None leaves that method out.
    oracle_pool
        Sample or samples that normalise the exact likelihood ratio; None leaves the oracle out.
    training
        Samples that the networks were trained on: the bins of histograms of their outputs are
        chosen on these events; default: `templates`.
    drawn_features
        Features to draw in the report; default if the samples have none of these: the first three.
    title
        Heading of the report.
    simulated
        Whether the data are simulated at `truth`; the report then says so.
    blinding
        Of a blind analysis, whether `data` are pseudo-data; None: the analysis is not blind.
    simulation_error
        Whether calibrated intervals contain the error of the calibration.
    """

    models: tuple[BagLikelihood, ...]
    data: Sample
    templates: SampleSet
    calibration: SampleSet
    evaluation: SampleSet
    truth: float | None = None
    weight_degree: int | None = None
    calibrate_at: tuple[float, ...] = ()
    cover_at: tuple[float, ...] = ()
    belt_at: tuple[float, ...] = ()
    observable: str = "d_phi_qq"
    bins: int = 20
    second_observable: str | None = None
    bins_2d: tuple[int, int] = (8, 4)
    degree: int | None = None
    mc_stat: bool = True
    n_toys: int = 1000
    seed: int = 1
    workers: int = 1
    classifier_templates: SampleSet | None = None
    oracle_pool: Sample | SampleSet | None = None
    training: SampleSet | None = None
    drawn_features: tuple[str, ...] = ("d_phi_qq", "q0_pt", "m_ll")
    title: str | None = None
    simulated: bool = False
    blinding: Blinding | None = None
    simulation_error: bool = False

    @property
    def model(self) -> BagLikelihood:
        """The first of the models."""
        return self.models[0]

    @property
    def calibration_values(self) -> tuple[float, ...]:
        """True values of the toys that tune calibrations."""
        return self.calibrate_at or _truths(self, self.calibration, 7)


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """Comparison of the methods, with what is needed to draw it.

    Parameters
    ----------
    analysis, comparison, costs, templates, calibration_toys, evaluation_toys, coverage, belts
        The input, and the results of each method on the data and the toys.
    truth
        True value at which the methods are compared.
    widths
        Widths over that of the best histogram; empty if the toys are at one truth only.
    information
        I_eff over that of the oracle, or of the best histogram if there is no oracle; empty if the
        toys are at one truth only.
    diagnoses
        Diagnosis of each learned model on events that did not train it, or a text with the reason
        why there is none.
    unavailable
        Methods that failed, by name, with the reason; they appear nowhere else in the result.
    provenance
        Files, seeds, settings and steps; the caller of :func:`analyse` fills them in.
    extra
        Further entries of ``summary.json``.
    systematics
        Fits with nuisance parameters, or why there are none; None if the analysis has no nuisance
        parameters.
    fit_tests
        Tests of the data against the fit of the first model, or a text with the reason why there
        are none.
    training_errors
        Errors from the finite simulation of the training, of models that were trained on bootstrap
        samples, or the reason why one has none.
    """

    analysis: Analysis
    comparison: Comparison
    costs: dict[str, Cost]
    templates: dict[str, Templates]
    calibration_toys: dict[str, list[ToyEnsemble]]
    evaluation_toys: dict[str, ToyEnsemble]
    coverage: CoverageScan
    widths: tuple[RelativeWidth, ...]
    belts: dict[str, Belt]
    truth: float
    information: tuple[InformationRatio, ...] = ()
    diagnoses: dict[str, Diagnosis | str] = field(default_factory=dict)
    unavailable: dict[str, Unavailable] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    extra: dict[str, Any] = field(default_factory=dict)
    systematics: NuisanceResult | Unavailable | None = None
    fit_tests: GoodnessOfFit | str = "not tested"
    training_errors: dict[str, TrainingError | str] = field(default_factory=dict)
    # Sets by method and level: summary and report ask for each several times.
    _neyman: dict[tuple[str, float], ConfidenceSet] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Calibrations of the learned models, applied or not, by name."""
        learned = {m.name for m in self.analysis.models}
        made = {m.name: m.calibration for m in self.comparison if m.name in learned}
        return {name: c for name, c in made.items() if c is not None}

    def __repr__(self) -> str:
        return f"AnalysisResult({', '.join(m.name for m in self.comparison)})"

    def _repr_html_(self) -> str:
        title = f"{self.analysis.model.parameter}, truth {self.truth:g}"
        rows = [[w.name, measured(w.ratio, w.error)] for w in self.widths]
        header = ("method", "width over that of the best histogram")
        parts = [self.comparison._repr_html_(), self.coverage._repr_html_()]
        parts += [html_table(header, rows)] if rows else []
        parts += [
            f"<p>{html.escape(f'{name} is not available: {failure.reason}')}</p>"
            for name, failure in self.unavailable.items()
        ]
        parts += [
            f"<p>{html.escape(f'{m.name}: {problem}')}</p>"
            for m in self.comparison
            for problem in m.problems
        ]
        return f"<div><p>{html.escape(title)}</p>{''.join(parts)}</div>"

    def to_table(self) -> pa.Table:
        """One row for each method; see :meth:`milinfer.workflow.Comparison.to_table`.

        Coverage at all truths is ``coverage.to_table()``.
        """
        return self.comparison.to_table()

    def neyman_interval(self, name: str, cl: float) -> ConfidenceSet | None:
        """Neyman interval of the data by one method, or None if it has no belt."""
        cost = self.costs[name]
        if name not in self.belts or not isinstance(cost, LikelihoodCost):
            return None
        if (name, cl) not in self._neyman:
            self._neyman[name, cl] = self.belts[name].interval(cost, cl)
        return self._neyman[name, cl]

    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        methods = self.comparison.to_dict()
        for name in self.belts:
            for key, cl in (("neyman68", CL68), ("neyman95", CL95)):
                interval = self.neyman_interval(name, cl)
                assert interval is not None
                methods[name][key] = [list(pair) for pair in interval.intervals]
                methods[name][f"{key}_error"] = [list(pair) for pair in interval.errors]
                methods[name][f"{key}_at_bound"] = [list(pair) for pair in interval.at_bound]
        for m in self.comparison:
            if m.problems:
                methods[m.name]["problems"] = list(m.problems)
        for r in self.information:
            methods[r.name]["info_relative"] = r.ratio
            methods[r.name]["info_relative_error"] = r.error
            methods[r.name]["info_relative_to"] = r.reference
        return {
            "poi": self.analysis.model.parameter,
            "truth": self.truth,
            "simulated": self.analysis.simulated,
            "n_events": len(self.analysis.data),
            **methods,
            "not_available": {
                name: {"stage": failure.stage, "reason": failure.reason}
                for name, failure in self.unavailable.items()
            },
            "coverage_scan": self.coverage.to_dict(),
            "histograms": {
                name: {
                    "bins": t.n_bins,
                    "degree": t.basis.degree,
                    "filled_by": "samples" if t.weight_degree is None else "weights",
                }
                for name, t in self.templates.items()
            },
            "width_over_best_histogram": {w.name: [w.ratio, w.error] for w in self.widths},
            "diagnostics": {
                name: {"verdict": d}
                if isinstance(d, str)
                # Histograms and curves are in the figures.
                else d.summary()
                for name, d in self.diagnoses.items()
            },
            **self._systematics(),
            "goodness_of_fit": {"problem": self.fit_tests}
            if isinstance(self.fit_tests, str)
            else self.fit_tests.to_dict(),
            **simulation_facts(self.training_errors),
            **self._blinding(),
            **self.extra,
            "provenance": provenance_facts(self.analysis, self.provenance),
        }

    def _blinding(self) -> dict[str, Any]:
        blinding = self.analysis.blinding
        return {} if blinding is None else {"blinding": blinding.to_dict()}

    def _systematics(self) -> dict[str, Any]:
        if self.systematics is None:
            return {}
        if isinstance(self.systematics, Unavailable):
            return {"systematics": {"problems": [self.systematics.reason]}}
        return {"systematics": self.systematics.to_dict()}


def provenance_facts(a: Analysis, provenance: Provenance) -> dict[str, Any]:
    """Versions, seeds, inputs and steps, with the seeds and samples of the analysis itself."""
    facts = provenance.to_dict()
    seeds = {
        "toys for calibration, bootstraps, diagnostics": a.seed,
        "toys for coverage": a.seed + 1,
        "toys for belts": a.seed + 2,
    } | {f"training of {m.name}": m.seed for m in a.models}
    roles: dict[str, Sequence[Sample]] = {
        "data": [a.data],
        "templates": a.templates.samples,
        "toys for calibration": a.calibration.samples,
        "toys for coverage": a.evaluation.samples,
    }
    if a.classifier_templates is not None:
        roles["templates of the classifier"] = a.classifier_templates.samples
    if a.oracle_pool is not None:
        pool = a.oracle_pool
        roles["normalisation of the oracle"] = [pool] if isinstance(pool, Sample) else [*pool]
    return {
        "seed": a.seed,
        **facts,
        "seeds": seeds | facts["seeds"],
        "samples": [sample_facts(role, samples) for role, samples in roles.items()],
    }


def _coverage_errors(summary: dict[str, Any]) -> str:
    """Errors of the coverages: from the number of toys, and from the events that toys share."""
    methods = [m for m in summary.values() if isinstance(m, dict) and "coverage68_error" in m]
    if not methods:
        return ""
    toys = max(m["coverage68_error"] for m in methods)
    pool = max((m.get("coverage68_pool_error") or 0.0 for m in methods), default=0.0)
    more = "; more than the toys: use more events" if pool > toys else ""
    return f"errors of the coverages, in quadrature: toys {toys:.1%}, events {pool:.1%}{more}"


def summary_table(summary: dict[str, Any]) -> Table:
    """Terminal table of a ``summary.json``.

    Examples
    --------
    >>> table = summary_table({"poi": "c_HW", "truth": 0.0, "pyhf": {"coverage68": 0.68}})
    >>> table.row_count
    1
    """
    from rich.box import SIMPLE_HEAD

    if is_several(summary):
        return several_table(summary)

    def signed(values: Any) -> str:
        return "—" if values is None else "[" + ", ".join(f"{v:+.2f}" for v in values) + "]"

    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "estimate": ("estimate", lambda v: "—" if v is None else f"{v:+.3f}"),
        "68.27% interval": ("interval68", signed),
        "I_eff": ("info_eff", lambda v: "—" if v is None else f"{v:.0f}"),
        "R": ("response", lambda v: "—" if v is None else f"{v:.2f}"),
        "c_cicc": ("c_cicc", lambda v: "—" if v is None else f"{v:.2f}"),
        "coverage": ("coverage68_with_error", str),
    }
    problems: list[str] = []
    rows: list[list[str]] = []
    for method, figures in summary.items():
        if isinstance(figures, dict) and "coverage68" in figures:
            error = np.hypot(
                figures.get("coverage68_error", 0.0), figures.get("coverage68_pool_error") or 0.0
            )
            figures = {  # noqa: PLW2901
                **figures,
                "coverage68_with_error": f"{100 * figures['coverage68']:.1f}±{error:.1%}",
            }
            if not figures.get("calibrated", True):
                figures = {**figures, "c_cicc": None}  # noqa: PLW2901  # not applied
            rows.append([method, *(show(figures.get(key)) for key, show in columns.values())])
            problems += [f"{method}: {problem}" for problem in figures.get("problems", ())]
    missing = summary.get("not_available", {})
    rows += [[method, "—", "not available", "—", "—", "—", "—"] for method in missing]
    compared = "truth" if summary.get("simulated") else "compared at"
    # Fits 80 columns with the longest names.
    return rich_table(
        f"{summary['poi']}, {compared} {summary['truth']:g}",
        ("method", *columns),
        rows,
        no_wrap=True,
        caption="\n".join(line for line in (_coverage_errors(summary), *problems) if line),
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )
