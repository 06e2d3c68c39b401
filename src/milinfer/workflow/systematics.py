"""Fit one dataset with and without nuisance parameters, and measure the coverage of these fits.

:func:`fit_with_nuisances` makes several fits: of the learned likelihood with the learned response
to nuisance parameters, of the same likelihood without nuisance parameters, of a histogram with the
same nuisance parameters, and of further costs if they are given.  If a fit fails, the others are
still made, and ``problems`` of the result says what is missing and why.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milinfer.binned.template_variations import VariedTemplates, varied_templates
from milinfer.binned.templates import Templates
from milinfer.binned.workspace_export import Systematic
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.diagnostics.nuisance_fit_tests import goodness_of_systematic_fit
from milinfer.diagnostics.response_diagnosis import ResponseDiagnosis, diagnose_response
from milinfer.exceptions import (
    FitError,
    MilinferError,
    MilinferWarning,
    SampleError,
    UnusedVariationWarning,
)
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import Coverage, coverage
from milinfer.intervals.toy_intervals import ToyIntervals, toy_intervals
from milinfer.likelihood.fits import Impact, Interval, impacts, minuit, profile_interval
from milinfer.likelihood.models import AnyModel
from milinfer.likelihood.profiled_systematics import ProfiledSystematics
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.responses import Response
from milinfer.likelihood.simulation_noise import yield_noise
from milinfer.likelihood.systematics import (
    LUMINOSITY,
    SIGNAL,
    MixtureEvents,
    NormalisationUncertainty,
    SystematicCost,
    SystematicTerms,
    systematic_terms,
)
from milinfer.samples.reweighting import reweight_polynomial
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from milinfer.typing import FloatArray, Point
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import rich_table
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis
from milinfer.workflow.comparison import fitted_intervals
from milinfer.workflow.summary_parts import coverage_cell, coverage_errors
from milinfer.workflow.systematics_expected import (
    NuisanceExpectation,
    expected_of,
    impacts_of,
    impacts_on_asimov,
)

if TYPE_CHECKING:
    from iminuit.cost import Cost
    from rich.table import Table

__all__ = [
    "NuisanceCoverage",
    "NuisanceFit",
    "NuisanceInputs",
    "NuisanceResult",
    "cross_section_at",
    "fit_with_nuisances",
    "signal_rate",
    "systematics_table",
]

LEARNED, CALIBRATED, IGNORING, HISTOGRAM = "learned", "calibrated", "ignoring", "histogram"
"""Names of the fits."""

# Values of the parameter of interest at which a profile is drawn.
_PROFILE = 31
# By how much of its error the Monte-Carlo errors of yields may move a parameter: the error in all
# is then larger by 12 %.
_NOISE = 0.5
# Estimates that differ by less are the same.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class NuisanceInputs:
    """Inputs of a fit with nuisance parameters.

    Parameters
    ----------
    model
        Model of the signal that gives likelihood ratios of single events.
    data
        The dataset.
    truth
        Value of the parameter of interest at which toys are generated.
    response
        Learned response of the signal to nuisance parameters; None if these change only yields.
    uncertainties
        Nuisance parameters that change only the yield.
    rate
        Expected number of events ν(θ).  None: the number of events is not fitted.
    luminosity_uncertainty
        Relative uncertainty of the luminosity.
    calibration, calibrate_at
        Nominal events for the toys that calibrate the fit with nuisance parameters, and true values
        of these toys.  None: the fit is not calibrated.
    evaluation
        Nominal events for the toys that measure the coverage.  They must be other events than those
        in `calibration`.
    varied
        Variations of the events in `evaluation`.  None: there are no toys at varied values of
        nuisance parameters that change the shape.
    held_out
        Variations of events with which the response is diagnosed.  These events neither train the
        response nor measure coverage.  None: there is no diagnosis.
    templates, template_variations
        Histogram of the signal, with a luminosity, and the variations of the events that fill it.
        None: no histogram is fitted.
    mc_stat
        Whether the fit of the histogram includes its Monte-Carlo errors.
    weight_degree
        Degree of the event weights as polynomials, if events are reweighted to `truth` for the
        toys.
    others
        Further costs of the same data with the same parameters, by name.
    reference
        θ0; needed only if the model does not record it.
    blind
        Whether the data are pseudo-data of a blind analysis.  Impacts are then computed with Asimov
        data.
    n_toys, seed, workers
        Number of toys at each point, seed of the toys, and number of threads.
    """

    model: AnyModel
    data: Sample
    truth: float
    response: Response | None
    uncertainties: tuple[NormalisationUncertainty, ...] = ()
    rate: Rate | None = None
    luminosity_uncertainty: float | None = None
    calibration: SampleSet | None = None
    calibrate_at: tuple[float, ...] = ()
    evaluation: SampleSet | None = None
    varied: ProcessVariations | None = None
    held_out: ProcessVariations | None = None
    templates: Templates | None = None
    template_variations: ProcessVariations | None = None
    mc_stat: bool = True
    weight_degree: int | None = None
    others: Mapping[str, Cost] = field(default_factory=dict)
    reference: float | None = None
    blind: bool = False
    n_toys: int = 1000
    seed: int = 1
    workers: int = 1

    def terms(self, *, nuisances: bool = True) -> SystematicTerms:
        """Make the terms of the likelihood, with or without nuisance parameters."""
        # Without a rate any constant does: it drops out of a likelihood of the shape.
        rate = float(max(len(self.data), 1)) if self.rate is None else self.rate
        if not nuisances:
            return systematic_terms(self.model, rate=rate, responses={}, reference=self.reference)
        return systematic_terms(
            self.model,
            rate=rate,
            responses={} if self.response is None else {SIGNAL: self.response},
            uncertainties=self.uncertainties,
            luminosity_uncertainty=self.luminosity_uncertainty,
            reference=self.reference,
        )


class NuisanceFit(NamedTuple):
    """Fit of the data by one method.

    Parameters
    ----------
    name
        Name of the method.
    inner, outer
        68.27 % and 95.45 % profile intervals.  `outer` is None if it would leave the range of the
        parameter.
    statistical
        68.27 % interval with all nuisance parameters fixed at their fitted values; None if there is
        none.
    nuisances
        For each nuisance parameter its fitted value, its MINOS errors, and how far it shifts the
        parameter of interest.  The parameter with the largest shift is first.
    profile
        Values of the parameter of interest, and −2 ln L at each of them with all other parameters
        fitted, shape (2, n).
    """

    name: str
    inner: Interval
    outer: Interval | None
    statistical: Interval | None
    nuisances: tuple[Impact, ...]
    profile: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Entries of ``summary.json``."""
        out: dict[str, Any] = {
            "estimate": self.inner.estimate,
            "interval68": [self.inner.low, self.inner.high],
        }
        if self.outer is not None:
            out["interval95"] = [self.outer.low, self.outer.high]
        if self.statistical is not None:
            out["statistical68"] = [self.statistical.low, self.statistical.high]
        if self.nuisances:
            out["pulls"] = {
                i.name: {"value": i.value, "error_down": -i.lower, "error_up": i.upper}
                for i in self.nuisances
            }
        # Those of a histogram are not computed.
        shifts = [i for i in self.nuisances if np.isfinite([i.down, i.up]).all()]
        if shifts:
            out["impacts"] = {i.name: {"down": i.down, "up": i.up} for i in shifts}
        return out


class NuisanceCoverage(NamedTuple):
    """Coverage of one method, from toys at one point of the nuisance parameters.

    Parameters
    ----------
    method
        Name of the method: :data:`LEARNED`, :data:`CALIBRATED` or :data:`IGNORING`.
    nuisances
        True values of those nuisance parameters that are not at their nominal value.
    inner, outer
        Coverage of the 68.27 % and of the 95.45 % intervals.
    bias, bias_error
        Mean of the estimates minus the true value, divided by the standard deviation of the
        estimates; and the error of this number, from the toys and from the event pool.
    """

    method: str
    nuisances: Point
    inner: Coverage
    outer: Coverage
    bias: float
    bias_error: float

    def to_dict(self) -> dict[str, Any]:
        """Entries of ``summary.json``."""
        return {
            "method": self.method,
            "point": dict(self.inner.point),
            "nuisances": dict(self.nuisances),
            "coverage68": self.inner.coverage,
            "coverage68_error": self.inner.error,
            "coverage68_pool_error": self.inner.known_pool_error,
            "coverage95": self.outer.coverage,
            "coverage95_error": self.outer.error,
            "coverage95_pool_error": self.outer.known_pool_error,
            "bias_in_sigmas": self.bias,
            "bias_in_sigmas_error": self.bias_error,
            "n_toys": self.inner.n_toys,
        }


@dataclass(frozen=True, eq=False)
class NuisanceResult:
    """Fits with and without nuisance parameters, and their coverage.

    Parameters
    ----------
    parameter, truth
        Name of the parameter of interest, and its true value in the toys.
    nuisances
        Names of the nuisance parameters.
    extended
        Whether the number of events is fitted.
    fits
        Fit of the data with each method, by its name.
    coverage
        Coverages at nominal and at varied values of the nuisance parameters.
    problems
        Sentences that say which results are missing and why.
    diagnosis
        Checks of the response with events that were not used for its training; None if there are no
        such checks.
    calibration
        Calibration of the fit with nuisance parameters, from toys with nuisance parameters at their
        nominal values; None if there are no such toys.
    expectation
        Expected intervals of the learned fit, and the parts of its error.
    fit_tests
        Goodness-of-fit tests of the learned fit; None if it was not tested.
    yield_noise
        For each estimate of the learned fit: how far it can be off because the mean of the response
        is computed from a finite number of simulated events, divided by the error of the estimate.
        Empty if there is no response.
    datasets
        Intervals of toys at nominal nuisance parameters, by the name of the method; empty without
        toys.
    """

    parameter: str
    truth: float
    nuisances: tuple[str, ...]
    extended: bool
    fits: Mapping[str, NuisanceFit]
    coverage: tuple[NuisanceCoverage, ...] = ()
    problems: tuple[str, ...] = ()
    diagnosis: ResponseDiagnosis | None = None
    calibration: Calibration | None = None
    expectation: NuisanceExpectation = field(default_factory=NuisanceExpectation)
    fit_tests: GoodnessOfFit | None = None
    yield_noise: Mapping[str, float] = field(default_factory=dict)
    datasets: Mapping[str, ToyIntervals] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Content of the section ``systematics`` of ``summary.json``."""
        out: dict[str, Any] = {
            "parameter": self.parameter,
            "nuisances": list(self.nuisances),
            "extended": self.extended,
            "fits": {name: fit.to_dict() for name, fit in self.fits.items()},
            "coverage": [c.to_dict() for c in self.coverage],
            "problems": list(self.problems),
            **self.expectation.to_dict(),
        }
        if self.yield_noise:
            out["yield_noise"] = dict(self.yield_noise)
        if self.diagnosis is not None:
            out["diagnosis"] = self.diagnosis.summary()
        if self.fit_tests is not None:
            out["goodness_of_fit"] = self.fit_tests.to_dict()
        if self.calibration is not None:
            bias, bias_error = self.calibration.bias(self.truth)
            c_cicc, c_cicc_error = self.calibration.scale_at(self.truth)
            out["calibration"] = {
                "c_cicc": c_cicc,
                "c_cicc_error": c_cicc_error,
                "bias": bias,
                "bias_error": bias_error,
                "calibrated_at": self.calibration.thetas.tolist(),
                "n_toys": self.calibration.n_toys,
            }
        return out


class _Guard:
    """Collects what fails."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        try:
            yield
        except MilinferError as error:
            self.problems.append(f"{what}: {error}")
            warnings.warn(f"nuisance parameters, {what}: {error}", MilinferWarning, stacklevel=3)


def fit_with_nuisances(inputs: NuisanceInputs) -> NuisanceResult:
    """Fit the data with and without nuisance parameters, and measure the coverage of these fits.

    Raises
    ------
    ModelError, ParameterError, ConfigurationError
        If the model, the response and the uncertainties do not fit together.

    Warns
    -----
    MilinferWarning
        If a fit or a coverage fails.  ``problems`` of the result gives the reason.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(1000, [0.0], seed=1)
    >>> result = fit_with_nuisances(NuisanceInputs(
    ...     model=gaussian.MeanModel(), data=gaussian.generate(200, 0.0, seed=2).as_data(),
    ...     truth=0.0, response=None, reference=0.0,
    ...     rate=signal_rate(samples, luminosity=0.2, degree=0),
    ...     uncertainties=(NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)}),)))
    >>> sorted(result.fits), result.problems
    (['ignoring', 'learned'], ())
    """
    terms, bare = inputs.terms(), inputs.terms(nuisances=False)
    extended, guard = inputs.rate is not None, _Guard()
    (parameter,) = terms.parameters
    fits: dict[str, NuisanceFit] = {}
    with guard("fit"):
        cost = SystematicCost(terms, MixtureEvents.of(terms, inputs.data), extended=extended)
        fits[LEARNED] = _fit(LEARNED, cost, parameter, guard)
    noise: Mapping[str, float] = {}
    if LEARNED in fits and inputs.response is not None:
        with guard("Monte-Carlo errors of yields"):
            noise = _yield_noise(cost, fits[LEARNED], guard)
    calibration = None
    if inputs.rate is not None and inputs.calibration is not None:
        with guard("calibration"):
            calibration = _calibration(inputs, inputs.rate, inputs.calibration, terms)
    if calibration is not None:
        with guard("calibrated fit"):
            profiled = ProfiledSystematics(terms, LEARNED).cost(inputs.data)
            both = fitted_intervals(LEARNED, profiled, parameter, calibration)
            fits[CALIBRATED] = NuisanceFit(CALIBRATED, *both, None, (), np.empty((2, 0)))
    with guard("fit without them"):
        plain = SystematicCost(bare, MixtureEvents.of(bare, inputs.data), extended=extended)
        fits[IGNORING] = _fit(IGNORING, plain, parameter, guard)
    if inputs.templates is not None:
        with guard("fit of the histogram"):
            fits[HISTOGRAM] = _fit(
                HISTOGRAM,
                _histogram_cost(inputs, inputs.templates),
                parameter,
                guard,
                nuisances=terms.nuisances,
            )
    for name, other in inputs.others.items():
        with guard(f"fit of {name}"):
            fits[name] = _fit(name, other, parameter, guard)
    diagnosis = None
    if inputs.response is not None and inputs.held_out is not None:
        with guard("diagnosis of the response"):
            diagnosis = _diagnosed(inputs, inputs.response, inputs.held_out, parameter)
    expectation = NuisanceExpectation()
    if fits.get(LEARNED) is not None and fits[LEARNED].nuisances:
        with guard("parts of the error"):
            expectation = _impacts(inputs, terms, cost, fits[LEARNED].inner.minuit.values.to_dict())
    fit_tests = None
    if LEARNED in fits and inputs.evaluation is not None:
        with guard("goodness of fit"):
            fit_tests = goodness_of_systematic_fit(
                cost,
                inputs.data,
                {SIGNAL: inputs.evaluation},
                degree=inputs.weight_degree,
                n_toys=inputs.n_toys,
                seed=inputs.seed,
            )
    rows: list[NuisanceCoverage] = []
    nominal: dict[str, ToyEnsemble] = {}
    if inputs.rate is None:
        guard.problems.append("coverage: toys need the expected yield; give data.luminosity")
    elif inputs.evaluation is not None:
        rows = _coverages(inputs, terms, bare, parameter, calibration, guard, nominal)
        if LEARNED in nominal:
            with guard("expected interval"):
                found = expected_of(
                    terms, inputs.evaluation, nominal[LEARNED], weight_degree=inputs.weight_degree
                )
                expectation = replace(
                    found,
                    impacts=expectation.impacts,
                    of_asimov=expectation.of_asimov,
                    remarks=(*expectation.remarks, *found.remarks),
                )
    fits = _profiles(fits, parameter, guard)
    datasets: dict[str, ToyIntervals] = {}
    if LEARNED in nominal:
        with guard("intervals of toys"):
            datasets[LEARNED] = toy_intervals(nominal[LEARNED])
            if calibration is not None:
                datasets[CALIBRATED] = toy_intervals(nominal[LEARNED], calibration)
    return NuisanceResult(
        parameter=parameter,
        truth=inputs.truth,
        nuisances=terms.nuisances + ((LUMINOSITY,) if terms.luminosity else ()),
        extended=extended,
        fits=fits,
        coverage=tuple(rows),
        problems=tuple(guard.problems),
        diagnosis=diagnosis,
        calibration=calibration,
        expectation=expectation,
        fit_tests=fit_tests,
        yield_noise=noise,
        datasets=datasets,
    )


def _yield_noise(cost: SystematicCost, fit: NuisanceFit, guard: _Guard) -> dict[str, float]:
    """How far the simulated events of the mean response move each estimate, in its errors."""
    m = minuit(cost, start=fit.inner.minuit.values.to_dict()).migrad()
    m.hesse()
    noise = yield_noise(cost, m)
    name, largest = max(noise.items(), key=lambda item: item[1])
    if largest > _NOISE:
        guard.problems.append(
            "fit: too few simulated events determine the expected yields. Their statistical error "
            f"shifts {name} by {largest:.2f} of its error, which does not include this shift; use "
            "more nominal events"
        )
    return noise


def _impacts(
    inputs: NuisanceInputs, terms: SystematicTerms, cost: SystematicCost, best: Point
) -> NuisanceExpectation:
    """Impacts on the fit of the data, or of Asimov data where the data are hidden."""
    (parameter,) = terms.parameters
    if not inputs.blind or inputs.evaluation is None:
        return impacts_of(cost, parameter, best)
    return impacts_on_asimov(
        terms, inputs.evaluation, {parameter: inputs.truth}, weight_degree=inputs.weight_degree
    )


def _calibration(
    inputs: NuisanceInputs, rate: Rate, samples: SampleSet, terms: SystematicTerms
) -> Calibration:
    """Constants of the fit with nuisance parameters, from toys at their nominal values."""
    toys = Toys(EventPool(samples, inputs.weight_degree), None, inputs.seed + 2, rate=rate)
    truths = inputs.calibrate_at or tuple(samples.values(*terms.parameters).tolist())
    model = ProfiledSystematics(terms, LEARNED)
    thrown = toys.scan([model], truths, inputs.n_toys, workers=inputs.workers)
    return calibrate(thrown[LEARNED], seed=inputs.seed)


def _diagnosed(
    inputs: NuisanceInputs, response: Response, held_out: ProcessVariations, parameter: str
) -> ResponseDiagnosis:
    """Checks of the response for a dataset of the size that is expected."""
    expected = float(len(inputs.data))
    if inputs.rate is not None:
        expected = inputs.rate.at({parameter: inputs.truth})
    return diagnose_response(response, held_out, n_events=max(round(expected), 1), seed=inputs.seed)


def _fit(
    name: str,
    cost: Cost,
    parameter: str,
    guard: _Guard,
    *,
    nuisances: Sequence[str] | None = None,
) -> NuisanceFit:
    """Intervals, pulls and impacts; of a histogram without impacts, as it has many parameters."""
    inner = profile_interval(cost, parameter)
    m = inner.minuit
    others = [n for n in m.parameters if n != parameter]
    best = m.values.to_dict()
    outer = statistical = None
    with guard(f"{CL95:.2%} interval of {name}"):
        outer = profile_interval(cost, parameter, CL95, start=best)
    if others:
        with guard(f"interval of {name} with nuisance parameters fixed"):
            statistical = profile_interval(cost, parameter, start=best, fixed=others)
    found: tuple[Impact, ...] = ()
    if nuisances is not None:
        found = tuple(
            Impact(n, best[n], -m.errors[n], m.errors[n], np.nan, np.nan)
            for n in others
            if n in nuisances
        )
    elif others:
        found = impacts(cost, parameter, start=best)
    return NuisanceFit(name, inner, outer, statistical, found, np.empty((2, 0)))


def _profiles(
    fits: Mapping[str, NuisanceFit], parameter: str, guard: _Guard
) -> dict[str, NuisanceFit]:
    """The fits with profiles over a common range; histograms are omitted because they take long."""
    drawn = [fit for name, fit in fits.items() if name != HISTOGRAM]
    if not drawn:
        return dict(fits)
    margin = 0.6 * max(f.inner.width for f in drawn)
    limits = [f.inner.minuit.limits[parameter] for f in drawn]
    low = max(min(f.inner.low for f in drawn) - margin, *(a for a, _ in limits))
    high = min(max(f.inner.high for f in drawn) + margin, *(b for _, b in limits))
    out = dict(fits)
    for fit in drawn:
        with guard(f"profile of {fit.name}"):
            theta, values, _ = fit.inner.minuit.mnprofile(
                parameter, size=_PROFILE, bound=(low, high)
            )
            out[fit.name] = fit._replace(profile=np.array([theta, values], dtype=np.float64))
    return out


def _histogram_cost(inputs: NuisanceInputs, templates: Templates) -> Cost:
    """Cost of a histogram with the same nuisance parameters."""
    more = [
        Systematic(u.name, low - 1.0, high - 1.0)
        for u in inputs.uncertainties
        for low, high in u.factors.values()
    ]
    options: dict[str, Any] = {
        "luminosity_uncertainty": inputs.luminosity_uncertainty,
        "mc_stat": inputs.mc_stat,
    }
    if inputs.template_variations is None:
        bare = VariedTemplates(
            templates=templates, systematics=(), background=(), shifts=(), closure=()
        )
        return bare.cost(inputs.data, systematics=more, **options)
    with warnings.catch_warnings():
        # Variations at ±2 and of several at once are of no use to HistFactory.
        warnings.simplefilter("ignore", UnusedVariationWarning)
        varied = varied_templates(templates, inputs.template_variations)
    return varied.cost(inputs.data, systematics=more, **options)


class _ToyPoint(NamedTuple):
    """True values of nuisance parameters, events there, and their expected number."""

    nuisances: Point
    pool: EventPool
    rate: Rate


def _coverages(
    inputs: NuisanceInputs,
    terms: SystematicTerms,
    bare: SystematicTerms,
    parameter: str,
    calibration: Calibration | None,
    guard: _Guard,
    nominal: dict[str, ToyEnsemble],
) -> list[NuisanceCoverage]:
    """Coverage with nuisance parameters and without, at nominal and varied values.

    Toys at nominal values are put into `nominal`, by method.
    """
    rows = []
    applied: tuple[tuple[str, str, Calibration | None], ...] = ((LEARNED, LEARNED, None),)
    if calibration is not None:
        applied += ((CALIBRATED, LEARNED, calibration),)
    applied += ((IGNORING, IGNORING, None),)
    for k, at in enumerate(_toy_points(inputs, terms, parameter, guard)):
        what = format_point(at.nuisances) or "nominal values"
        with guard(f"coverage at {what}"):
            toys = Toys(at.pool, None, inputs.seed + 3 + k, rate=at.rate)
            models = [
                ProfiledSystematics(terms, LEARNED, at.nuisances),
                ProfiledSystematics(bare, IGNORING),
            ]
            ensembles = toys.run(models, inputs.truth, inputs.n_toys, workers=inputs.workers)
            nominal |= {} if at.nuisances else ensembles
            for name, model, by in applied:
                with guard(f"coverage of {name} at {what}"):
                    rows.append(
                        _coverage_row(name, at.nuisances, ensembles[model], inputs.truth, by)
                    )
    return rows


def _coverage_row(
    name: str,
    nuisances: Point,
    ensemble: ToyEnsemble,
    truth: float,
    calibration: Calibration | None,
) -> NuisanceCoverage:
    estimates = ensemble.theta_hat.ravel()
    if calibration is not None:
        estimates = calibration.correct_estimate(estimates)
    spread = float(estimates.std(ddof=1))
    if spread <= _SAME * max(float(np.abs(estimates).max()), 1.0):
        msg = (
            f"all {len(estimates)} toys have the same estimate, {estimates[0]:g}: the model is not "
            "sensitive to the parameter; train on more events, or extend its range"
        )
        raise FitError(msg)
    inner, outer = (
        coverage(ensemble, calibration, cl, name=name, warn_of_pool=False) for cl in (CL68, CL95)
    )
    return NuisanceCoverage(
        method=name,
        nuisances=nuisances,
        inner=inner,
        outer=outer,
        bias=float(estimates.mean() - truth) / spread,
        bias_error=ensemble.mean_error / float(np.std(ensemble.theta_hat, ddof=1)),
    )


def _toy_points(
    inputs: NuisanceInputs, terms: SystematicTerms, parameter: str, guard: _Guard
) -> Iterator[_ToyPoint]:
    """Nominal values, and ±1 of each nuisance parameter that has events there."""
    assert inputs.evaluation is not None
    assert inputs.rate is not None
    point, degree = {parameter: inputs.truth}, inputs.weight_degree
    rate = inputs.rate
    pool = EventPool(inputs.evaluation, degree)
    yield _ToyPoint({}, pool, rate)
    factors = {u.name: u.factors[SIGNAL] for u in inputs.uncertainties}
    of_shapes = () if inputs.response is None else inputs.response.nuisances
    for name in terms.nuisances:
        for side in (-1.0, 1.0):
            factor, varied = factors.get(name, (1.0, 1.0))[int(side > 0)], pool
            if name in of_shapes:
                samples = _varied_samples(inputs.varied, {name: side})
                if samples is None:
                    guard.problems.append(
                        f"coverage at {name}={side:g}: samples.evaluate has no events with this "
                        "variation"
                    )
                    continue
                with guard(f"coverage at {name}={side:g}"):
                    assert inputs.varied is not None
                    factor *= cross_section_at(samples, point, degree) / cross_section_at(
                        inputs.varied.nominal, point, degree
                    )
                    varied = EventPool(samples, degree)
                    yield _ToyPoint({name: side}, varied, rate.scaled(factor))
                continue
            yield _ToyPoint({name: side}, varied, rate.scaled(factor))


def _varied_samples(process: ProcessVariations | None, shift: Point) -> SampleSet | None:
    """Samples of one variation at all parameter points, or None."""
    if process is None:
        return None
    samples = [
        v.sample
        for v in process.variations
        if {n: x for n, x in v.nuisances.items() if x} == dict(shift)
    ]
    return SampleSet(tuple(samples)) if samples else None


def cross_section_at(samples: SampleSet, point: Point, weight_degree: int | None = None) -> float:
    """Cross-section at a point, in pb.

    It is the cross-section of the sample at this point.  If there is none, it is computed from the
    nearest sample with its event weights.

    Raises
    ------
    SampleError
        If the cross-section is not known.
    ParameterError
        If there is no sample at the point, and `weight_degree` is not given.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(1000, [{"c1": 0.0}, {"c1": 1.0}], seed=1)
    >>> cross_section_at(samples, {"c1": 1.0}) == samples[1].cross_section
    True
    >>> ratio = cross_section_at(samples, {"c1": 0.9}, 2) / samples[1].cross_section
    >>> 0.8 < ratio < 1
    True
    """
    if weight_degree is None:
        return _known(samples.at(**point))
    (name,) = samples.parameters
    sample = min(samples, key=lambda s: abs(s.point[name] - point[name]))
    basis = PolynomialBasis((name,), weight_degree)
    sums = reweight_polynomial(sample, basis).sum(axis=0)
    at, own = (
        float((basis.design(np.array([[p[name]]])) @ sums)[0]) for p in (point, sample.point)
    )
    return _known(sample) * at / own


def _known(sample: Sample) -> float:
    if not sample.cross_section > 0:
        msg = f"{sample.label} has no cross-section; give cross_section in pb"
        raise SampleError(msg)
    return float(sample.cross_section)


def signal_rate(
    samples: SampleSet, *, luminosity: float, degree: int, weight_degree: int | None = None
) -> Rate:
    """Make the expected number of events ν(θ) of the signal.

    Parameters
    ----------
    samples
        Samples of the signal, with cross-sections.
    luminosity
        Integrated luminosity in 1/fb.
    degree
        Degree of the polynomial through the cross-sections.
    weight_degree
        Degree of the event weights as polynomials.  If it is given, the cross-sections at all
        points are computed with these weights.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(1000, [{"c1": 0.0}], seed=1)
    >>> rate = signal_rate(samples, luminosity=0.1, degree=4, weight_degree=2)
    >>> abs(rate(c1=0.0) / (100 * samples[0].cross_section) - 1) < 1e-9
    True
    """
    if weight_degree is None:
        return Rate.from_samples(samples, luminosity=luminosity, degree=degree)
    (name,) = samples.parameters
    own = samples.values(name)
    ends = (own.min(), own.max()) if len(np.unique(own)) > 1 else (own[0] - 1, own[0] + 1)
    first = samples[0]
    at_values = SampleSet(
        tuple(
            replace(
                first.take(slice(0, 1)),
                reweights={},
                reweight_points={},
                point={name: float(value)},
                cross_section=cross_section_at(samples, {name: float(value)}, weight_degree),
                cross_section_error=0.0,
            )
            for value in np.linspace(*ends, 2 * weight_degree + 1)
        )
    )
    return Rate.from_samples(at_values, luminosity=luminosity, degree=weight_degree)


def systematics_table(section: Mapping[str, Any]) -> Table:
    """Make a table for the terminal from the section ``systematics`` of a ``summary.json``.

    Examples
    --------
    >>> fit = {"estimate": 0.1, "interval68": [0.0, 0.2], "pulls": {
    ...     "jes": {"value": 0.1, "error_down": 0.9, "error_up": 0.9}}}
    >>> systematics_table({"parameter": "c", "nuisances": ["jes"], "extended": True,
    ...                    "fits": {"learned": fit}, "coverage": [], "problems": []}).row_count
    1
    """
    from rich.box import SIMPLE_HEAD

    if "fits" not in section:
        return rich_table(
            "nuisance parameters", ("fit", "reason"), [["none", "; ".join(section["problems"])]]
        )
    # Highest first, so that the lowest of each method is the one that stays.
    measured = sorted(section["coverage"], key=lambda row: -row["coverage68"])
    nominal, worst = (
        {row["method"]: coverage_cell(row) for row in measured if bool(row["nuisances"]) is varied}
        for varied in (False, True)
    )
    rows = []
    for name, fit in section["fits"].items():
        rows.append(
            [
                name,
                f"{fit['estimate']:+.2f}",
                _ends(fit["interval68"]),
                _ends(fit.get("statistical68")),
                nominal.get(name, "—"),
                worst.get(name, "—"),
            ]
        )
    kind = "with rate" if section["extended"] else "shape only"
    return rich_table(
        f"{section['parameter']} with {', '.join(section['nuisances'])} ({kind})",
        ("fit", "estimate", "68.27% interval", "fixed", "coverage", "at ±1"),
        rows,
        no_wrap=True,
        caption="\n".join(
            [
                (
                    "fixed: nuisance parameters fixed; at ±1: lowest coverage with a nuisance "
                    "parameter at ±1"
                ),
                *([coverage_errors(measured)] if measured else []),
                *section["problems"],
                *_said_of_response(section.get("diagnosis")),
            ]
        ),
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )


def _said_of_response(diagnosis: Mapping[str, Any] | None) -> list[str]:
    """Verdict of a diagnosis of the response, and what its failed checks mean."""
    if diagnosis is None:
        return []
    failed = [c for c in diagnosis["checks"] if c["outcome"] == "failed"]
    return [
        f"response: {diagnosis['verdict']}",
        *(f"response, {c['name']}: {c['meaning']}" for c in failed),
    ]


def _ends(interval: Sequence[float] | None) -> str:
    return "—" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"
