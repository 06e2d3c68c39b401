"""Nuisance parameters in the learned likelihood of vbf_hww, against the exact one.

A signal model and a response are learned from simulated events with an energy scale of jets, an
energy scale of leptons, and a theory weight.  These likelihoods are fitted to the same toys of some
1000 events, at several true values of c_HW and of the nuisance parameters:

* ``learned``: the learned likelihood with its nuisance parameters;
* ``exact``: the exact density of the visible final state, with the same nuisance parameters; no
  likelihood of observables can be better;
* ``histogram``: the score in bins, with the same nuisance parameters as ``histosys`` (pyhf);
* ``ignoring``: the learned likelihood without nuisance parameters.

The last line on standard output is one line of JSON.  It has for each truth and method the bias of
the estimate in standard deviations, the mean error divided by the mean error of the exact fit,
means and widths of the pulls of the nuisance parameters, and how often the 68.27 % and the 95.45 %
intervals contain the truth.  For ``learned`` and ``ignoring`` the coverage is measured on more
toys, and also for the ``calibrated`` learned fit and a ``belt``, both made at nominal nuisance
parameters.  ``speed`` has CPU times of the cost and of a simple implementation that multiplies
ratios event by event, and profiled toys per second.

python benchmarks/systematics.py [--events 40000] [--toys 200] [--coverage-toys 2000] [--quick]

With ``--parts`` only some parts are measured.  With ``--into FILE`` they replace these parts in a
result that was written before, together with the options of each part.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from bars import short
from quick_size import parse, small
from scipy.stats import chi2

import milinfer as mil
from milinfer.binned import fisher_bins, varied_templates
from milinfer.datasets import gaussian, vbf_hww, vbf_hww_systematics
from milinfer.datasets.observable_systematics import EventDensities, ObservableCost
from milinfer.datasets.selected_cross_section import SelectedCrossSection
from milinfer.exceptions import MilinferError, MilinferWarning
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.coverage import coverage
from milinfer.likelihood.expected_response import ExpectedResponse, expected_response
from milinfer.likelihood.observables import score_observable
from milinfer.likelihood.profiled_systematics import ProfiledSystematics
from milinfer.likelihood.response_terms import ResponseTable, ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.systematics import (
    MixtureEvents,
    SystematicCost,
    SystematicTerms,
    systematic_terms,
)
from milinfer.utils.confidence_levels import CL68, CL95

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
# Where the response is linear in c_HW: wider, it would have to bend.
THETA_RANGE = (-0.5, 0.5)
SHIFTS = tuple(
    {name: side} for name in vbf_hww_systematics.NUISANCES for side in (-2.0, -1.0, 1.0, 2.0)
)
TRUTHS = (
    (0.0, {}),
    (0.0, {"jet_scale": 1.0}),
    (0.0, {"jet_scale": -1.0}),
    (0.0, {"jet_scale": 2.0}),
    (0.0, {"lepton_scale": 2.0}),
    (0.0, {"theory": 1.0}),
    (0.0, {"jet_scale": 1.0, "theory": -1.0}),
    (0.2, {}),
    (0.2, {"jet_scale": -2.0}),
)
NUISANCES = vbf_hww_systematics.NUISANCES
# Both sides of each are enough to see that it runs.
QUICK_SHIFTS = tuple(shift for shift in SHIFTS if abs(*shift.values()) == 1)
LEVELS = (CL68, CL95)
PARTS = ("speed", "coverage", "fits")
# Values of c_HW of the toys that tune calibration and belt.
TUNED_AT = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4)
GRID = Interpolation(np.linspace(-1, 1, 41), "spline")
QUICK = {
    "events": 600,
    "pool": 200,
    "toys": 2,
    "coverage_toys": 40,
    "tuning_toys": 40,
    "histogram_toys": 1,
    "coverage_pool": 600,
    "truths": 2,
    "simulated": 2000,
    "repeats": 3,
}


def message(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def shifts(options: argparse.Namespace) -> tuple[dict[str, float], ...]:
    """Values of the nuisance parameters at which events are simulated."""
    return QUICK_SHIFTS if options.quick else SHIFTS


def simulated(options: argparse.Namespace, seed: int) -> mil.ProcessVariations:
    """Simulated events at all points, nominal and with each shift."""
    return vbf_hww_systematics.variations(
        options.events,
        POINTS,
        shifts(options),
        seed=seed,
        features="vbf_2l2j",
        workers=options.workers,
    )


def learn(options: argparse.Namespace) -> tuple[mil.ProcessVariations, Any, Any]:
    """Simulated events, the model of the signal and its response."""
    process = simulated(options, seed=11)
    start = time.process_time()
    model = mil.BagLikelihood(head="polynomial", labels="joint", seed=1)
    model = small(model, options.quick, learns=True).fit(process.nominal)
    message(f"signal trained in {time.process_time() - start:.0f} s of CPU")
    start = time.process_time()
    response = mil.SystematicResponse(
        ensemble=1 if options.quick else 3,
        theta_dependent=True,
        theta_range={"c_HW": THETA_RANGE},
        seed=2,
    )
    response = small(response, options.quick).fit(process)
    message(f"response trained in {time.process_time() - start:.0f} s of CPU")
    return process, model, response


@dataclass
class Truth:
    """One truth, and the expected number of events in data."""

    point: float
    nuisances: dict[str, float]
    expected: float
    rng: np.random.Generator

    @property
    def label(self) -> str:
        return ",".join(f"{k}={v:g}" for k, v in {"c_HW": self.point, **self.nuisances}.items())

    def draw(self, n_events: int) -> tuple[np.ndarray, dict[str, float]]:
        """Events of a toy among so many, and its auxiliary measurements."""
        rows = self.rng.integers(n_events, size=self.rng.poisson(self.expected))
        noise = self.rng.normal(size=len(NUISANCES))
        measured = {
            n: self.nuisances.get(n, 0.0) + float(x) for n, x in zip(NUISANCES, noise, strict=True)
        }
        return rows, measured


@dataclass
class Fits:
    """Results of one method at one truth."""

    estimates: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    inside: list[tuple[bool, ...]] = field(default_factory=list)
    pulls: list[list[float]] = field(default_factory=list)
    constraints: list[list[float]] = field(default_factory=list)
    failed: int = 0

    def add(self, cost: Any, truth: Truth, names: tuple[str, ...]) -> None:
        """Fit a toy."""
        try:
            m = mil.minuit(cost).migrad()
            m.hesse()
            fixed = mil.minuit(cost, start=m.values.to_dict() | {"c_HW": truth.point})
            fixed.fixed["c_HW"] = True
            if fixed.nfit:
                fixed.migrad()
        except MilinferError as error:
            message(f"{truth.label}: {error}")
            self.failed += 1
            return
        if not (m.valid and (fixed.valid or not fixed.nfit)):
            self.failed += 1
            return
        at_truth = fixed.fval if fixed.nfit else cost(*fixed.values)
        self.estimates.append(m.values["c_HW"])
        self.errors.append(m.errors["c_HW"])
        q = at_truth - m.fval
        self.inside.append(tuple(bool(q < chi2.ppf(level, 1)) for level in LEVELS))
        self.pulls.append(
            [(m.values[n] - truth.nuisances.get(n, 0.0)) / m.errors[n] for n in names]
        )
        self.constraints.append([m.errors[n] for n in names])

    def figures(self, truth: float, names: tuple[str, ...], exact: Fits | None) -> dict[str, Any]:
        """Everything about these fits, with errors."""
        n = len(self.estimates)
        out: dict[str, Any] = {"fits": n, "failed": self.failed}
        if n < 2:
            return out
        estimates, errors = np.array(self.estimates), np.array(self.errors)
        spread = float(estimates.std(ddof=1))
        out |= {
            "bias_in_sigmas": float((estimates.mean() - truth) / errors.mean()),
            "bias_error": spread / float(errors.mean()) / n**0.5,
            "spread": spread,
            "mean_error": float(errors.mean()),
        }
        for k, level in enumerate(LEVELS):
            share = float(np.mean([i[k] for i in self.inside]))
            out[f"coverage_{100 * level:.2f}"] = share
            out[f"coverage_{100 * level:.2f}_error"] = (level * (1 - level) / n) ** 0.5
        for k, name in enumerate(names):
            pulls = np.array(self.pulls)[:, k]
            out[f"pull_{name}"] = float(pulls.mean())
            out[f"pull_width_{name}"] = float(pulls.std(ddof=1))
            out[f"constraint_{name}"] = float(np.mean(np.array(self.constraints)[:, k]))
        if exact is not None and len(exact.errors) == n:
            ratio = errors / np.array(exact.errors)
            out["error_over_exact"] = float(ratio.mean())
            out["error_over_exact_error"] = float(ratio.std(ddof=1) / n**0.5)
            shift = (estimates - np.array(exact.estimates)) / np.array(exact.errors)
            out["bias_to_exact"] = float(shift.mean())
            out["bias_to_exact_error"] = float(shift.std(ddof=1) / n**0.5)
            for k, name in enumerate(names):
                both = [np.mean(np.array(f.constraints)[:, k]) for f in (self, exact)]
                out[f"constraint_over_exact_{name}"] = float(both[0] / both[1])
                means = [np.mean(np.array(f.pulls)[:, k]) for f in (self, exact)]
                out[f"pull_to_exact_{name}"] = float(means[0] - means[1])
        return out


def exact_rate(
    nominal: mil.SampleSet, cross_section: SelectedCrossSection, luminosity: float
) -> mil.Rate:
    """Rate by the cross-section of the exact fit, whose statistics are not what is measured."""
    exact = [
        replace(s, cross_section=cross_section.value(s.point["c_HW"]), cross_section_error=0.0)
        for s in nominal
    ]
    return mil.Rate.from_samples(mil.SampleSet(tuple(exact)), luminosity=luminosity, degree=4)


def score_histogram(
    process: mil.ProcessVariations, model: Any, luminosity: float, options: argparse.Namespace
) -> Any:
    """The score in bins chosen on the events of training, with the variations of other events."""
    rest = simulated(options, seed=12)
    observable = score_observable(model, 0.0)
    n_bins = 6 if options.quick else 20
    edges = fisher_bins(
        process.nominal, observable, n_bins, {"c_HW": 0.0}, degree=4, weight_degree=4
    )
    templates = mil.Templates.from_samples(
        rest.nominal, observable, bins=edges, degree=4, weight_degree=4, luminosity=luminosity
    )
    return varied_templates(templates, rest)


def fit_toys(
    truths: list[Truth],
    terms: dict[str, SystematicTerms],
    histogram: Any,
    luminosity: float,
    cross_section: SelectedCrossSection,
    options: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    """Minuit fits of all methods on the same toys."""
    out: dict[str, dict[str, Any]] = {}
    for number, truth in enumerate(truths):
        events = vbf_hww_systematics.generate(
            options.pool,
            {"c_HW": truth.point},
            truth.nuisances,
            seed=100 + number,
            workers=options.workers,
        )
        sample = events.to_sample("vbf_2l2j").as_data()
        densities = EventDensities.from_events(events, workers=options.workers)
        fits = {name: Fits() for name in ("exact", "learned", "ignoring", "histogram")}
        for k in range(options.toys):
            rows, measured = truth.draw(len(sample))
            data = sample.take(rows)
            exact = ObservableCost(
                densities.take(rows), cross_section, luminosity=luminosity, measured=measured
            )
            fits["exact"].add(exact, truth, NUISANCES)
            learned = SystematicCost(terms["learned"], MixtureEvents.of(terms["learned"], data))
            fits["learned"].add(learned.measuring(**measured), truth, NUISANCES)
            bare = SystematicCost(terms["ignoring"], MixtureEvents.of(terms["ignoring"], data))
            fits["ignoring"].add(bare, truth, ())
            if k < options.histogram_toys:
                fits["histogram"].add(histogram.cost(data).measuring(**measured), truth, NUISANCES)
        exact_fits = fits["exact"]
        out[truth.label] = {
            name: f.figures(
                truth.point,
                () if name == "ignoring" else NUISANCES,
                None if name in ("exact", "histogram", "ignoring") else exact_fits,
            )
            for name, f in fits.items()
        }
        message(f"{truth.label}: {json.dumps(out[truth.label]['learned'])}")
    return out


def tuned(
    terms: SystematicTerms, rate: mil.Rate, options: argparse.Namespace
) -> dict[str, Calibration | Belt]:
    """Calibration and belt of the learned fit, from toys at nominal nuisance parameters."""
    events = vbf_hww_systematics.generate(
        options.coverage_pool, {"c_HW": 0.0}, seed=options.seed - 1, workers=options.workers
    )
    sample = events.to_sample("vbf_2l2j", vbf_hww.DEFAULT_WEIGHTS)
    toys = mil.Toys(mil.EventPool(mil.SampleSet((sample,)), 4), None, seed=6, rate=rate)
    model = ProfiledSystematics(terms, "learned", {}, GRID)
    scan = toys.scan([model], TUNED_AT, options.tuning_toys, workers=options.workers)["learned"]
    return {"calibrated": mil.calibrate(scan), "belt": mil.neyman(scan, cl=LEVELS)}


def coverage_of_profiles(
    truths: list[Truth],
    terms: dict[str, SystematicTerms],
    rate: mil.Rate,
    options: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    """Coverage of profiled likelihoods, on many toys."""
    out: dict[str, dict[str, Any]] = {}
    methods = tuned(terms["learned"], rate, options)
    for truth in truths:
        # Of more events than the fits, whose scatter the mean of all toys shares; the exact density
        # of so many would take hours.
        many = vbf_hww_systematics.generate(
            options.coverage_pool,
            {"c_HW": truth.point},
            truth.nuisances,
            seed=options.seed + len(out),
            workers=options.workers,
        )
        sample = replace(many.to_sample("vbf_2l2j").as_data(), point={"c_HW": truth.point})
        own = rate.scaled(truth.expected / rate.at({"c_HW": truth.point}))
        toys = mil.Toys(mil.SampleSet((sample,)), None, seed=7, rate=own)
        models = [
            ProfiledSystematics(terms["learned"], "learned", truth.nuisances, GRID),
            ProfiledSystematics(terms["ignoring"], "ignoring", {}, GRID),
        ]
        ensembles = toys.run(models, truth.point, options.coverage_toys, workers=options.workers)
        figures: dict[str, Any] = {}
        for name, ensemble in ensembles.items():
            figures[f"{name}_error"] = (LEVELS[0] * (1 - LEVELS[0]) / ensemble.n_toys) ** 0.5
            figures[f"{name}_bias_in_sigmas"] = float(
                (ensemble.theta_hat.mean() - truth.point) / ensemble.theta_hat.std()
            )
        judged = {name: (name, None) for name in ensembles}
        judged |= {name: ("learned", method) for name, method in methods.items()}
        for name, (model, method) in judged.items():
            for level in LEVELS:
                covered = coverage(ensembles[model], method, level, warn_of_pool=False)
                figures[f"{name}_{100 * level:.2f}"] = covered.coverage
                figures[f"{name}_{100 * level:.2f}_pool_error"] = covered.known_pool_error
        # A mean shift of this many standard deviations comes from the events of the pool alone.
        figures["pool_error_of_bias"] = (truth.expected / options.coverage_pool) ** 0.5
        out[truth.label] = figures
        message(f"{truth.label}: {json.dumps(figures)}")
    return out


@dataclass(frozen=True, eq=False)
class Waves(Response):
    """A response with made-up coefficients, for timing."""

    terms: ResponseTerms
    matrix: np.ndarray
    nominal: mil.SampleSet
    process: str = "signal"
    feature_names: tuple[str, ...] = ("x0",)
    digest: str = ""
    trained_on: tuple[str, ...] = ()
    expected: ExpectedResponse = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", expected_response(self.table, self.nominal))

    def event_columns(self, sample: mil.Sample) -> np.ndarray:
        x = sample.column("x0").astype(np.float64)
        shapes = np.stack([x, x**2 - 1, np.sin(x), np.cos(x)], axis=1)
        return (shapes @ self.matrix).astype(np.float32)


def timed_cost(n_nuisances: int, n_events: int) -> SystematicCost:
    """Cost of a signal and a background with a response each."""
    rng = np.random.default_rng(1)
    terms = ResponseTerms.of([f"alpha_{k}" for k in range(n_nuisances)])
    scale = np.tile([0.03, 0.003], n_nuisances)
    responses = {
        name: Waves(terms, rng.normal(size=(4, 2 * n_nuisances)) * scale, nominal, name)
        for name, nominal in (
            ("signal", gaussian.samples(4000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1)),
            ("other", mil.SampleSet((gaussian.generate(4000, 2.0, seed=3),))),
        )
    }
    n_signal = round(0.8 * n_events)
    parts = (
        gaussian.generate(n_signal, 0.1, seed=5),
        gaussian.generate(n_events - n_signal, 2.0, seed=6),
    )
    data = mil.Sample(np.concatenate([p.features for p in parts]), ("x0",))
    return mil.systematic_cost(
        gaussian.MeanModel(),
        data,
        rate=float(n_signal),
        reference=0.0,
        backgrounds={"other": (_far, float(n_events - n_signal))},
        norm_constraints={"other": 0.1},
        responses=responses,
    )


def _far(sample: mil.Sample) -> np.ndarray:
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def straightforward(cost: SystematicCost) -> Any:
    """The same value as one would first write it: loops over processes and terms."""
    terms, events = cost.terms, cost.events

    def value(*args: float) -> float:
        theta, norm, alpha = np.array(args[:1]), args[1], np.array(args[2:])
        total = np.zeros(len(events.weights))
        expected = 0.0
        for s, process in enumerate(terms.processes):
            table: ResponseTable = events.tables[process]
            response = np.ones(len(total))
            for k, exponents in enumerate(table.terms.exponents):
                factor = np.prod([a**p for a, p in zip(alpha, exponents, strict=True)])
                response = response * np.exp(factor * table.columns[:, k].astype(np.float64))
            kappa = terms.responses[process].expected
            own = theta if kappa.parameters else None
            log_yield = kappa.log_yield(alpha, own).value
            if s == 0:
                density = np.exp(events.surfaces.value(theta) - events.arrays.log_reference)
                yields = float(terms.mixture.signal(theta[None])[0])
                density = density * yields
            else:
                density = norm * np.exp(events.arrays.log_backgrounds[s - 1])
                yields = norm * float(terms.mixture.expected[s - 1])
            total += density * response
            expected += yields * np.exp(log_yield)
        start = terms.mixture.signal_at_reference + terms.mixture.expected.sum()
        constraint = np.sum(alpha**2) + ((norm - 1) / 0.1) ** 2
        return float(2 * (expected - start - np.sum(np.log(total))) + constraint)

    return value


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """CPU times of the cost with its gradient, and profiled toys per second of CPU, on one core."""
    out: dict[str, Any] = {}
    sizes = ((2, 200),) if options.quick else ((10, 1000), (50, 10_000))
    for n_nuisances, n_events in sizes:
        cost = timed_cost(n_nuisances, n_events)
        plain = straightforward(cost)
        start = np.array(list(cost.start.values()))
        rng = np.random.default_rng(2)
        points = start + 0.01 * rng.normal(size=(options.repeats, len(start)))
        times: dict[str, list[float]] = {"cost_and_gradient": [], "straightforward_value": []}
        for point in points.tolist():
            begin = time.process_time()
            value = cost(*point)
            cost.grad(*point)
            middle = time.process_time()
            other = plain(*point)
            times["cost_and_gradient"].append(middle - begin)
            times["straightforward_value"].append(time.process_time() - middle)
            if abs(value - other) > 1e-4:
                msg = f"the two costs differ: {value} and {other}"
                raise AssertionError(msg)
        out[f"{n_nuisances} nuisances, {n_events} events"] = {
            f"{name}_us": 1e6 * float(np.median(t)) for name, t in times.items()
        }
    n_toys = 5 if options.quick else 1000
    cost = timed_cost(5, 1000)
    toys = mil.Toys(
        gaussian.samples(20_000, [0.0], seed=1),
        n_events=800,
        seed=2,
        poisson=True,
        background=[mil.Background(gaussian.generate(20_000, 2.0, seed=3), 200)],
    )
    for half, n_points in ((0.25, 11), (0.5, 21), (1.0, 41)):
        grid = Interpolation(np.linspace(-half, half, n_points), "spline")
        model = ProfiledSystematics(cost.terms, grid=grid)
        toys.run([model], 0.0, 1)  # compiles
        begin = time.process_time()
        toys.run([model], 0.0, n_toys)
        name = f"profiled toys of 1000 events per second, 5 nuisances, {n_points} points"
        out[f"{name} to {half:g}"] = n_toys / (time.process_time() - begin)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=40_000, help="events of each nominal sample")
    parser.add_argument(
        "--pool", type=int, default=20_000, help="events at each truth from which toys are drawn"
    )
    parser.add_argument(
        "--toys", type=int, default=200, help="toys that Minuit fits, at each truth"
    )
    parser.add_argument(
        "--histogram-toys",
        type=int,
        default=100,
        help="toys that are also fitted with the histogram, at each truth",
    )
    parser.add_argument(
        "--coverage-toys",
        type=int,
        default=2000,
        help="profiled toys that measure coverage, at each truth",
    )
    parser.add_argument(
        "--tuning-toys",
        type=int,
        default=2000,
        help="toys for calibration and belt, at each of eight values",
    )
    parser.add_argument(
        "--coverage-pool",
        type=int,
        default=60_000,
        help="events from which the toys for calibration, belt and coverage are drawn",
    )
    parser.add_argument("--seed", type=int, default=500, help="seed of the events of these toys")
    parser.add_argument("--truths", type=int, default=len(TRUTHS), help="number of truths")
    parser.add_argument(
        "--simulated", type=int, default=200_000, help="events that give the cross-section"
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--expected", type=float, default=1000.0, help="expected events at the nominal point"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure"
    )
    parser.add_argument("--into", type=Path, help="result in which these parts are replaced")
    options = parse(parser, QUICK, arguments)
    result: dict[str, Any] = {"options": {}}
    if options.into is not None:
        result = json.loads(options.into.read_text(encoding="utf-8"))
    if "speed" in options.parts:
        result["speed"] = speed(options)
        message(json.dumps(result["speed"]))
    if {"coverage", "fits"} & set(options.parts):
        warnings.simplefilter("ignore", MilinferWarning)
        process, model, response = learn(options)
        cross_section = SelectedCrossSection.simulate(options.simulated, seed=3)
        luminosity = options.expected / cross_section.value(0.0) / 1000
        rate = exact_rate(process.nominal, cross_section, luminosity)
        terms = {
            "learned": systematic_terms(model, rate=rate, responses={"signal": response}),
            "ignoring": systematic_terms(model, rate=rate, responses={}),
        }
        truths = []
        for k, (point, nuisances) in enumerate(TRUTHS[: options.truths]):
            expected = 1000 * luminosity * cross_section.value(point, nuisances)
            rng = np.random.default_rng(1000 + k)
            truths.append(Truth(point=point, nuisances=dict(nuisances), expected=expected, rng=rng))
        if "coverage" in options.parts:
            result["coverage"] = coverage_of_profiles(truths, terms, rate, options)
        if "fits" in options.parts:
            histogram = None
            if options.histogram_toys:
                histogram = score_histogram(process, model, luminosity, options)
            result["fits"] = fit_toys(truths, terms, histogram, luminosity, cross_section, options)
    used = {k: v for k, v in vars(options).items() if k not in ("parts", "into")}
    result["options"] |= dict.fromkeys(options.parts, used)
    record = json.dumps(result | {"short": short("systematics", result)})
    if options.into is not None:
        options.into.write_text(record + "\n", encoding="utf-8")
    print(record)


if __name__ == "__main__":
    main()
