"""Fit one dataset in several parameters with several methods, and test all methods on toys.

The steps are the same as in :func:`milinfer.workflow.analysis.analyse` for one parameter, with the
same samples, trained models and settings
(:class:`~milinfer.workflow.analysis_settings.Analysis`).  The results of each method are: intervals
of every parameter, with all other parameters profiled; contours; correlations; an information
matrix; and the coverage of its regions and intervals at several points.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.templates import Templates
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.diagnostics.several_diagnosis import SeveralDiagnosis, diagnose_lines
from milinfer.exceptions import MilinferError, MilinferWarning
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.confidence_sets import ConfidenceRegion
from milinfer.intervals.coverage import Asymptotic, Coverage, CoverageScan, coverage_scan
from milinfer.intervals.information import (
    InformationMatrix,
    RelativeInformation,
    information_matrix,
    relative_information,
)
from milinfer.intervals.neyman import neyman
from milinfer.intervals.several_fit import JointFit, joint_fit
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import Model
from milinfer.likelihood.oracle import Oracle
from milinfer.samples.sample import Sample
from milinfer.toys.ensemble import ToyEnsemble, truths
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import html_table
from milinfer.utils.points import format_point
from milinfer.workflow.analysis import (
    fitted_methods,
    plain,
    require_events,
    tested_fit,
    throw_toys,
    warn_of_problems,
)
from milinfer.workflow.analysis_result import provenance_facts
from milinfer.workflow.analysis_settings import Analysis, reference_point
from milinfer.workflow.comparison import Attempts, Unavailable
from milinfer.workflow.finite_simulation import (
    TrainingError,
    simulation_facts,
    training_errors,
)
from milinfer.workflow.histograms import histograms
from milinfer.workflow.provenance import Provenance
from milinfer.workflow.several_inputs import PointsOfToys
from milinfer.workflow.summary_parts import (
    diagnosis_facts,
    failure_facts,
    fit_test_facts,
    histogram_facts,
)

if TYPE_CHECKING:
    from iminuit.cost import Cost

__all__ = ["REGION", "SeveralMethod", "SeveralResult", "analyse_several"]

REGION = "region"
"""Name under which the coverages of the joint region of all parameters are kept."""

_LEVELS = {"68": CL68, "95": CL95}
# Bootstrap samples of matrices of information, and points of a region in each parameter.
_BOOTSTRAPS, _GRID = 100, 61


@dataclass(frozen=True, eq=False)
class SeveralMethod:
    """Results of one method with several parameters.

    Parameters
    ----------
    name
        Name of the method.
    fit
        Fit of the data; None if the fit failed.
    calibration
        Calibration that is applied to the method; None if no calibration is applied.
    information
        Response and information at the true value, computed with the evaluation toys; None if they
        are not known.
    relative
        Information divided by the information of the method `reference` from the same toys; None if
        it is not known.
    reference
        Name of the method with which the information is compared.
    regions
        Neyman regions of the data at 68.27 % and 95.45 %, under the names ``"68"`` and ``"95"``.
    problems
        Sentences that say which results are missing and why.
    """

    name: str
    fit: JointFit | None
    calibration: Calibration | None = None
    information: InformationMatrix | None = None
    relative: RelativeInformation | None = None
    reference: str = ""
    regions: dict[str, ConfidenceRegion] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether a calibration is applied."""
        return self.calibration is not None


@dataclass(frozen=True, eq=False)
class SeveralResult:
    """Result of an analysis with several parameters: all methods compared, and data of the figures.

    Parameters
    ----------
    analysis, points
        Input of :func:`analyse_several`.
    methods
        Results of each method, by its name.
    costs
        Cost of the data for each method, by the name of the method.
    templates
        Templates of each histogram method, by its name.
    calibration_toys, evaluation_toys
        For each method, by its name, toys at several true values.  The first of the evaluation toys
        are at ``points.truth``.
    belts
        Neyman belts of learned models, by the name of the model.
    coverage
        Coverages of the joint regions, under the name ``"region"``, and of the intervals of each
        parameter, under its name.
    fit_tests
        Goodness-of-fit tests of the first model with the data, or the reason why there are none.
    diagnoses
        Diagnosis of each learned model along lines through θ0 in the space of the parameters, or
        the reason why the diagnosis is missing.
    linear
        For each method, by its name, an uncalibrated fit of the data with only the linear terms of
        the likelihood ratio, or the reason why this fit is missing.
    training_errors
        Error of the estimates due to the finite number of training events, for each model that was
        trained on bootstrap samples; or the reason why this error is missing.
    unavailable
        Reason why a method failed, by the name of the method.
    provenance
        Files, seeds, settings and steps.  The function that calls :func:`analyse_several` fills
        them in.
    extra
        Further entries of ``summary.json``.
    """

    analysis: Analysis
    points: PointsOfToys
    methods: dict[str, SeveralMethod]
    costs: dict[str, Cost]
    templates: dict[str, Templates]
    calibration_toys: dict[str, list[ToyEnsemble]]
    evaluation_toys: dict[str, list[ToyEnsemble]]
    belts: dict[str, Belt]
    coverage: dict[str, CoverageScan]
    fit_tests: GoodnessOfFit | str = "not tested"
    diagnoses: dict[str, SeveralDiagnosis | str] = field(default_factory=dict)
    linear: dict[str, JointFit | str] = field(default_factory=dict)
    training_errors: dict[str, TrainingError | str] = field(default_factory=dict)
    unavailable: dict[str, Unavailable] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.analysis.model.parameters

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Calibrations that are applied, by the name of the model."""
        made = {name: m.calibration for name, m in self.methods.items()}
        return {name: c for name, c in made.items() if c is not None}

    def coverage_at_truth(self, target: str, method: str) -> dict[str, Coverage]:
        """Return the coverages of a method at ``points.truth``, by name: ``"68"`` and ``"95"``."""
        rows = {}
        for key, cl in _LEVELS.items():
            for row in self.coverage[target]:
                if row.method == method and row.cl == cl and row.point == self.points.truth:
                    rows[key] = row
        return rows

    def __repr__(self) -> str:
        return f"SeveralResult({', '.join(self.parameters)}: {', '.join(self.methods)})"

    def _repr_html_(self) -> str:
        rows = [
            [name, *(f"{v:+.3f}" for v in m.fit.estimate.values())]
            for name, m in self.methods.items()
            if m.fit is not None
        ]
        title = f"{', '.join(self.parameters)}, compared at {format_point(self.points.truth)}"
        problems = [
            f"<p>{html.escape(f'{name}: {problem}')}</p>"
            for name, m in self.methods.items()
            for problem in m.problems
        ]
        table = html_table(("method", *self.parameters), rows, title=title)
        return f"<div>{table}{''.join(problems)}</div>"

    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        a = self.analysis
        blinding = {} if a.blinding is None else {"blinding": a.blinding.to_dict()}
        return {
            "poi": list(self.parameters),
            "truth": dict(self.points.truth),
            "simulated": a.simulated,
            "n_events": len(a.data),
            **{name: self._method(name) for name in self.methods},
            "not_available": failure_facts(self.unavailable),
            "coverage_scan": [
                {"of": target, **row}
                for target, scan in self.coverage.items()
                for row in scan.to_dict()
            ],
            "histograms": histogram_facts(self.templates),
            "goodness_of_fit": fit_test_facts(self.fit_tests),
            "diagnostics": diagnosis_facts(self.diagnoses),
            "calibrated_at": [dict(p) for p in self.points.calibrate_at],
            **simulation_facts(self.training_errors),
            **blinding,
            **self.extra,
            "provenance": provenance_facts(a, self.provenance),
        }

    def _method(self, name: str) -> dict[str, Any]:
        """Results of one method, with those of each parameter under its name."""
        method = self.methods[name]
        widened = method.calibration is not None and method.calibration.widen
        content: dict[str, Any] = {"calibrated": method.calibrated, "widened": widened}
        content |= {} if method.fit is None else method.fit.to_dict()
        for target in (REGION, *self.parameters):
            own = content.setdefault(target, {})
            calibration = method.calibration
            if calibration is not None and target != REGION:
                k = self.parameters.index(target)
                at = list(self.points.truth.values())
                own["bias"] = float(np.ravel(calibration.response.bias([at]))[k])
                own["bias_error"] = float(np.ravel(calibration.response.bias_error([at]))[k])
                calibration = calibration.profiled(target)
            if calibration is not None:
                at = list(self.points.truth.values())
                own["c_cicc"], own["c_cicc_error"] = calibration.scale_at(at)
            for label, suffix in ((name, ""), (f"{name}, as trained", "_uncalibrated")):
                for key, row in self.coverage_at_truth(target, label).items():
                    own[f"coverage{key}{suffix}"] = row.coverage
                    own[f"coverage{key}{suffix}_error"] = row.error
                    own[f"coverage{key}{suffix}_pool_error"] = row.known_pool_error
        content["information"] = self._information(method)
        for key, region in method.regions.items():
            content[REGION][f"neyman{key}"] = {
                "area": region.area,
                "at_bound": region.at_bound,
                **{p: [list(i) for i in region.projection(p)] for p in self.parameters},
            }
        linear = self.linear.get(name)
        if linear is not None:
            content["linear_terms"] = (
                {"problems": [linear]}
                if isinstance(linear, str)
                else {**linear.to_dict(), "problems": [*linear.problems]}
            )
        rows = [r for r in self.coverage[REGION] if r.method == name]
        content["n_toys"] = rows[0].n_toys if rows else None
        if method.problems:
            content["problems"] = list(method.problems)
        return content

    def _information(self, method: SeveralMethod) -> dict[str, Any] | None:
        matrix = method.information
        if matrix is None:
            return None
        content: dict[str, Any] = {
            f"{n}{error}": getattr(matrix, f"{n}{error}").tolist()
            for n in ("response", "info_eff", "info_curv")
            for error in ("", "_error")
        }
        if method.relative is not None:
            content["relative"] = method.relative.ratio
            content["relative_error"] = method.relative.ratio_error
            content["relative_to"] = method.reference
        return content


def analyse_several(analysis: Analysis, points: PointsOfToys) -> SeveralResult:
    """Fit the data in several parameters with every method, and test all methods on the same toys.

    Learned models are calibrated.  Histograms and the exact likelihood ratio are used without
    calibration.

    Parameters
    ----------
    analysis
        Samples, models and settings.  The true values in `analysis` are not used.
    points
        Points of the toys.

    Raises
    ------
    SampleError
        If the data are empty, or the first model was trained on the events of
        `classifier_templates`.
    MilinferError
        If the first model cannot be evaluated at all.

    Warns
    -----
    MilinferWarning
        If a method other than the first model fails; ``unavailable`` of the result gives the
        reason.  Also if a result of a method is missing; ``problems`` of the method gives the
        reason.
    """
    require_events(analysis)
    model, seed = analysis.model, analysis.seed
    attempts = Attempts(required=[model.name])
    binned = histograms(analysis, attempts)
    models, costs = _methods(analysis, binned, attempts)
    cover_at = [points.truth, *(p for p in points.cover_at if p != points.truth)]
    toys, evaluated, belt_toys = throw_toys(
        analysis,
        models,
        calibrate_at=points.calibrate_at,
        cover_at=cover_at,
        belt_at=points.belt_at,
    )
    learned = {m.name for m in analysis.models}
    methods: dict[str, SeveralMethod] = {}
    coverages = {target: CoverageScan(()) for target in (REGION, *model.parameters)}
    for name, ensembles in toys.items():
        with attempts(name, "toys"):
            method, of_method = _assess(
                name,
                costs[name],
                ensembles,
                evaluated[name],
                calibrated=name in learned,
                widen=analysis.simulation_error,
                seed=seed,
            )
            methods[name] = method
            coverages = {t: scan + of_method[t] for t, scan in coverages.items()}
    belts: dict[str, Belt] = {}
    for name, ensembles in belt_toys.items():
        if name in methods:
            belt, methods[name] = _with_belt(methods[name], costs[name], ensembles)
            if belt is None:
                continue
            belts[name] = belt
            inside, problem = _inside(evaluated[name], belt, f"{name}, Neyman")
            methods[name] = _with_problem(methods[name], problem)
            label = f"{name}, Neyman"
            coverages[REGION] += coverage_scan(inside, {label: belt}, warn_of_pool=False)
    methods = _relative(methods, evaluated, toys, seed)
    for name, method in methods.items():
        # That a histogram of one feature does not constrain all parameters is no surprise.
        named = method.fit.unconstrained if method.fit is not None and name in learned else ()
        warn_of_problems(name, [*(d.sentence for d in named), *method.problems])
    return SeveralResult(
        analysis=analysis,
        points=points,
        methods=methods,
        costs={name: costs[name] for name in methods},
        templates={name: t for name, t in binned.items() if name in methods},
        calibration_toys={name: toys[name] for name in methods},
        evaluation_toys={name: evaluated[name] for name in methods},
        belts=belts,
        coverage=coverages,
        fit_tests=tested_fit(analysis),
        linear={
            m.name: _linear_fit(m, analysis.data)
            for m in models
            if isinstance(m, BagLikelihood | Oracle) and m.name in methods
        },
        diagnoses={m.name: _diagnosis(m, analysis) for m in analysis.models},
        training_errors=training_errors(analysis.models, costs, analysis.data),
        unavailable=attempts.failed,
    )


def _linear_fit(model: BagLikelihood | Oracle, data: Sample) -> JointFit | str:
    """Fit the data with the linear terms alone, or say why that is impossible."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = joint_fit(model.cost(data, terms="linear"))
    except MilinferError as error:
        return str(error)
    said = [str(w.message) for w in caught if issubclass(w.category, MilinferWarning)]
    return replace(fit, problems=(*said, *fit.problems))


def _diagnosis(model: BagLikelihood, analysis: Analysis) -> SeveralDiagnosis | str:
    """Diagnose a model on events not used for its training, or say why that is impossible."""
    if not model.additive:
        return "not diagnosed: its score of a bag is not a sum over events"
    try:
        return diagnose_lines(
            model,
            analysis.evaluation,
            weight_degree=analysis.weight_degree,
            n_events=len(analysis.data),
            n_toys=analysis.n_toys,
            seed=analysis.seed,
        )
    except MilinferError as error:
        return f"not diagnosed: {error}"


def _methods(
    analysis: Analysis, binned: dict[str, Templates], attempts: Attempts
) -> tuple[list[Model], dict[str, Cost]]:
    """Make every method twice: as a model for toys and as a cost of the data."""
    names, box = analysis.model.parameters, analysis.model.interpolation
    reference = tuple(reference_point(analysis.model).values())
    degree = analysis.weight_degree
    if degree is None:  # without weights there is no oracle
        analysis = replace(analysis, oracle_pool=None)
    return fitted_methods(
        analysis,
        binned,
        attempts,
        lambda name, t: BinnedLLR(name, t, names, box, reference, mc_stat=analysis.mc_stat),
        lambda pool: Oracle.from_sample(
            pool,
            names,
            box,  # type: ignore[arg-type]  # a box, as there are several parameters
            degree=degree,  # type: ignore[arg-type]  # there is one where there is a pool
            reference=reference,
        ),
    )


def _assess(
    name: str,
    cost: Cost,
    toys: Sequence[ToyEnsemble],
    evaluated: Sequence[ToyEnsemble],
    *,
    calibrated: bool,
    widen: bool,
    seed: int,
) -> tuple[SeveralMethod, dict[str, CoverageScan]]:
    """Calibrate a method on one set of toys, measure it on another, and fit the data."""
    problems: list[str] = []
    calibration = None
    if calibrated:
        try:
            calibration = replace(calibrate(toys, seed=seed), widen=widen)
        except MilinferError as error:
            problems.append(f"not calibrated: {str(error).removeprefix(f'{name}: ')}")
    fit = None
    try:
        fit = joint_fit(cost, calibration)
        problems += fit.problems
    except MilinferError as error:  # also of a histogram that has no yield somewhere
        problems.append(f"no fit of the data: {error}")
    information = None
    try:
        information = information_matrix(
            _near_truth(evaluated, toys), n_bootstrap=_BOOTSTRAPS, seed=seed
        )
    except (MilinferError, np.linalg.LinAlgError) as error:
        problems.append(f"no information: {error}")
    if information is not None and calibrated:
        # Of a histogram of one feature it is no surprise.
        problems += information.unresponsive
    coverages, more = _coverages(name, evaluated, calibration)
    problems += more
    return (
        SeveralMethod(name, fit, calibration, information, problems=tuple(problems)),
        coverages,
    )


def _coverages(
    name: str, evaluated: Sequence[ToyEnsemble], calibration: Calibration | None
) -> tuple[dict[str, CoverageScan], list[str]]:
    """Coverage of regions and of intervals of each parameter, as trained and calibrated."""
    parameters = tuple(evaluated[0].point)
    scans, problems = {}, []
    for target in (REGION, *parameters):
        own = None if target == REGION else target
        label = name if calibration is None else f"{name}, as trained"
        scan = coverage_scan(evaluated, {label: Asymptotic(own)}, warn_of_pool=False)
        if calibration is not None:
            inside, problem = _inside(evaluated, calibration, name)
            problems += [problem] if problem and own is None else []
            applied = calibration if own is None else calibration.profiled(own)
            if inside:
                scan += coverage_scan(inside, {name: applied}, warn_of_pool=False)
        scans[target] = scan
    return scans, problems


def _inside(
    ensembles: Sequence[ToyEnsemble], applied: Calibration | Belt, label: str
) -> tuple[list[ToyEnsemble], str]:
    """Toys at points inside a calibration or belt, and a sentence about the others."""
    low, high = np.array(applied.limits).T
    points = truths(ensembles)
    kept = np.all((points >= low) & (points <= high), axis=1)
    inside = [e for e, good in zip(ensembles, kept, strict=True) if good]
    beyond = "; ".join(format_point(e.point) for e in ensembles if e not in inside)
    box = ", ".join(
        f"{name} from {a:.4g} to {b:.4g}"
        for name, (a, b) in zip(ensembles[0].point, applied.limits, strict=True)
    )
    return inside, f"no coverage of {label} at {beyond}: it was measured in {box}" if beyond else ""


def _near_truth(evaluated: Sequence[ToyEnsemble], toys: Sequence[ToyEnsemble]) -> list[ToyEnsemble]:
    """Toys at the truth, and neighbouring toys for the response."""
    points = truths(evaluated)
    if np.linalg.matrix_rank(points - points[0]) == points.shape[1]:
        return list(evaluated)
    return [evaluated[0], *toys]


def _with_problem(method: SeveralMethod, problem: str) -> SeveralMethod:
    return replace(method, problems=(*method.problems, problem)) if problem else method


def _with_belt(
    method: SeveralMethod, cost: Cost, ensembles: Sequence[ToyEnsemble]
) -> tuple[Belt | None, SeveralMethod]:
    """Belt of a learned model, and its regions of the data."""
    assert isinstance(cost, LikelihoodCost)
    try:
        belt = neyman(ensembles, calibration=plain(method.calibration))
        regions = {key: belt.region(cost, cl, _GRID) for key, cl in _LEVELS.items()}
    except MilinferError as error:
        return None, _with_problem(method, f"no belt: {error}")
    method = replace(method, regions=regions)
    for key, region in regions.items():
        if region.at_bound:
            method = _with_problem(
                method,
                f"the Neyman region of the data at {_LEVELS[key]:.2%} ends at the edge of the "
                "belt, "
                "and may extend further; widen the range of belt_at",
            )
    return belt, method


def _relative(
    methods: dict[str, SeveralMethod],
    evaluated: dict[str, list[ToyEnsemble]],
    toys: dict[str, list[ToyEnsemble]],
    seed: int,
) -> dict[str, SeveralMethod]:
    """Information of all methods relative to the exact ratio or, without it, to two scores."""
    reference = next((n for n in ("oracle", "pyhf_scores") if n in methods), None)
    if reference is None:
        return methods
    compared = {}
    for name, method in methods.items():
        compared[name] = method
        if method.information is None or methods[reference].information is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MilinferWarning)
            relative = relative_information(
                _near_truth(evaluated[name], toys[name]),
                _near_truth(evaluated[reference], toys[reference]),
                n_bootstrap=_BOOTSTRAPS,
                seed=seed,
            )
        compared[name] = replace(method, relative=relative, reference=reference)
    return compared
