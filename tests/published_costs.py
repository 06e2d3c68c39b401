"""Costs of every kind that can be published, for the tests and for the files that are kept."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import jsonschema
import numpy as np
import pyhf
from iminuit.cost import NormalConstraint

import milinfer as mil
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.binned.template_cost import TemplateCost
from milinfer.datasets import gaussian, quadratic
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.simulation_widening import add_simulation_error
from milinfer.learning.bootstrap import bootstrap_groups
from milinfer.learning.finite_simulation import SimulationError
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.linear_terms import linear_cost
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.mixture import MixtureCost, mixture_cost
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.publishing import published_schema
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.likelihood.systematics import (
    NormalisationUncertainty,
    SystematicCost,
    systematic_cost,
)
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from models import GRID, Bags, GaussianMean, gaussian_samples, linear_rate
from responses import ShiftAndTilt, nominal_events

N = 120
VALIDATOR = jsonschema.Draft202012Validator(published_schema())


def normal_events(n: int = N, seed: int = 1) -> Sample:
    return Sample(np.random.default_rng(seed).normal(0.1, 1, (n, 1)), ("x",))


def weighted(data: Sample, seed: int = 2) -> Sample:
    """Data with efficiencies as weights, and some of them subtracted."""
    weights = np.random.default_rng(seed).choice([-0.5, 1.0, 1.2, 0.8], len(data))
    return Sample(data.features, data.feature_names, weights)


@cache
def operators(n: int = N) -> Sample:
    return quadratic.generate(n, {"c1": 0.2, "c2": -0.1}, seed=3).as_data()


@cache
def one_operator(n: int = N) -> Sample:
    return quadratic.generate(n, {"c1": 0.2}, seed=3).as_data()


def oracle(n: int = N) -> Oracle:
    return Oracle.from_sample(one_operator(n), "c1", np.linspace(-1, 1, 21), degree=2)


def two_operators(n: int = N) -> Oracle:
    box = ChebyshevBox(-np.ones(2), np.ones(2), 6)
    return Oracle.from_sample(operators(n), ("c1", "c2"), box, degree=2)


def rate_of(names: tuple[str, ...], total: float = 200.0) -> Rate:
    points = [
        dict(zip(names, p, strict=True)) for p in product((-1.0, 0.0, 1.0), repeat=len(names))
    ]
    samples = quadratic.samples(1, points, seed=1)
    rate = Rate.from_samples(samples, luminosity=1.0, degree=2)
    return rate.scaled(total / rate(**dict.fromkeys(names, 0.0)))


def surface_cost(kind: str, **options: float) -> LikelihoodCost:
    """Λ of data that a network with several classes gives at nine points."""
    interpolation = Interpolation(np.linspace(-1, 1, 9), kind, **options)  # type: ignore[arg-type]
    model = GaussianMean(interpolation=interpolation)
    return dataset_cost(model, weighted(normal_events()), reference=0.0, rate=linear_rate())


class Box:
    """Λ of events in a box of two parameters."""

    name, parameters, reference = "two", ("c1", "c2"), 0.0
    interpolation = ChebyshevBox(-np.ones(2), np.ones(2), 5)

    def event_llr(self, sample: Sample) -> np.ndarray:
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)


def box_cost() -> LikelihoodCost:
    return dataset_cost(Box(), operators(), reference=0.0)


class Means:
    """Λ of two means, too narrow and with a bias."""

    name, parameters = "means", ("a", "b")
    interpolation = ChebyshevBox(-np.ones(2), np.ones(2), 3)

    def event_llr(self, sample: Sample) -> np.ndarray:
        d = self.interpolation.grid - np.array([0.05, -0.1])
        x = sample.features.astype(np.float64)
        return 2 * (x @ d.T - np.einsum("ki,ki->k", d, d) / 2)


def means(n: int, seed: int, a: float = 0.0, b: float = 0.0) -> Sample:
    features = np.random.default_rng(seed).normal((a, b), 1.0, (n, 2))
    return Sample(features, ("x", "y"), point={"a": a, "b": b})


def calibration(model: GaussianMean, *, rate: bool = False, **options: object) -> mil.Calibration:
    truths = [-0.3, 0.0, 0.3]
    n_events, nu = (None, linear_rate()) if rate else (N, None)
    toys = mil.Toys(gaussian_samples(truths, 6000, 1), n_events, seed=5, rate=nu)
    ensembles = [toys.run([model], truth, 200)["gaussian"] for truth in truths]
    return calibrate(ensembles, n_bootstrap=20, cl=(0.6827, 0.9545), **options)


def calibrated(*, widen: bool = False, rate: bool = False, **options: object) -> LikelihoodCost:
    model = GaussianMean(0.5, 0.1)
    nu = linear_rate() if rate else None
    cost = dataset_cost(model, normal_events(), reference=0.0, rate=nu)
    return calibration(model, rate=rate, **options)(cost, 0.9545, widen=widen)


@cache
def calibration_in_two() -> mil.Calibration:
    points = [{"a": a, "b": b} for a, b in product((-0.2, 0.0, 0.2), repeat=2)]
    pool = SampleSet(tuple(means(4000, 7 + k, **point) for k, point in enumerate(points)))
    toys = mil.Toys(pool, n_events=N, seed=5)
    ensembles = [toys.run([Means()], point, 100)["means"] for point in points]
    return calibrate(ensembles, n_bootstrap=20)


def calibrated_in_two() -> LikelihoodCost:
    """With constants of regions, and for the widening those of intervals of each."""
    cost = dataset_cost(Means(), means(N, 3, 0.1, -0.1).as_data(), reference=0.0)
    return calibration_in_two()(cost, widen=True)


def with_simulation_error() -> LikelihoodCost:
    groups = bootstrap_groups(16)
    shifts = np.random.default_rng(2).normal(0.1, 0.05, 16)
    cost = dataset_cost(GaussianMean(), normal_events(), reference=0.0, rate=linear_rate())
    error = SimulationError(
        parameters=("mu",),
        interpolation=GRID,
        values=-100 / 2 * (GRID.grid - shifts[:, None]) ** 2,
        estimate=np.array([shifts.mean()]),
        estimates=shifts[:, None],
        groups=groups,
    )
    return add_simulation_error(cost, error)


def first(sample: Sample) -> np.ndarray:
    return sample.features[:, 0].astype(np.float64) * 0.5


def last(sample: Sample) -> np.ndarray:
    """Not where the first feature is small: such events are not background."""
    x = sample.features[:, -1].astype(np.float64)
    return np.where(x > np.median(x) - 1, -0.5 * x - 0.2, -np.inf)


def mixture(kind: str, *, extended: bool = True) -> MixtureCost:
    backgrounds = {"one": (first, 40.0), "other": (last, 20.0)}
    if kind == "polynomials":
        return mixture_cost(
            two_operators(),
            operators(),
            rate=rate_of(("c1", "c2")),
            backgrounds=backgrounds,
            extended=extended,
        )
    if kind == "box":
        data = weighted(operators())
        return mixture_cost(Box(), data, rate=150.0, backgrounds=backgrounds, extended=extended)
    interpolation = Interpolation(np.linspace(-1, 1, 9), kind, 4)  # type: ignore[arg-type]
    model = GaussianMean(interpolation=interpolation)
    data = normal_events()
    return mixture_cost(
        model, data, rate=linear_rate(), reference=0.0, backgrounds=backgrounds, extended=extended
    )


@cache
def nominal(points: tuple[float, ...] = (0.0,)) -> SampleSet:
    return SampleSet(tuple(nominal_events(500, 1 + k, m) for k, m in enumerate(points)))


def systematic(interpolation: str = "polynomial", **options: object) -> SystematicCost:
    """Two processes with responses to two nuisance parameters, and all kinds of uncertainties."""
    in_theta = {} if interpolation == "code4" else {"cross_terms": True}
    signal = ResponseTerms.of(
        ["shift", "tilt"],
        interpolation=interpolation,  # type: ignore[arg-type]
        parameters={"mu": (-1.0, 1.0)},
        **in_theta,
    )
    other = ResponseTerms.of(["tilt"], interpolation=interpolation)  # type: ignore[arg-type]
    values = np.random.default_rng(4).normal((0.1, 0.0), 1.0, (N, 2))
    given: dict[str, object] = {
        "rate": linear_rate(),
        "reference": 0.0,
        "backgrounds": {"one": (first, 40.0), "other": (last, 20.0)},
        "responses": {
            "signal": ShiftAndTilt(signal, nominal((-1.0, -0.5, 0.0, 0.5, 1.0)), interaction=0.1),
            "one": ShiftAndTilt(other, nominal(), process="one"),
        },
        "uncertainties": [
            NormalisationUncertainty("tilt", {"signal": (0.97, 1.04)}),
            NormalisationUncertainty("efficiency", {"signal": (0.98, 1.02), "other": (0.9, 1.2)}),
        ],
        "luminosity_uncertainty": 0.02,
        "norm_constraints": {"one": 0.2},
    }
    return systematic_cost(GaussianMean(), Sample(values, ("x", "y")), **(given | options))


class Members:
    """An ensemble of two polynomial heads, whose log-ratios are averaged."""

    name, parameters, reference = "members", ("c1",), 0.0
    interpolation = Interpolation(np.linspace(-1, 1, 21), "spline")

    def log_polynomials(self, data: Sample) -> LogPolynomials:
        one = oracle().log_polynomials(data)
        other = one.coefficients.copy()
        other[:, 1:] *= 0.8
        return replace(
            one,
            coefficients=np.concatenate([one.coefficients, other]),
            weights=np.tile(one.weights, 2) / 2,
        )

    def event_llr(self, sample: Sample) -> np.ndarray:
        sums = self.log_polynomials(sample)
        rows = np.log([sums.at(np.array([c])) for c in self.interpolation.grid])
        members = rows.reshape(len(rows), 2, -1)
        each = np.mean(members[:, :, :-1] - members[:, :, -1:], axis=1).T
        return each - each[:, [10]]


def systematic_polynomials() -> SystematicCost:
    """One signal, whose events are polynomials, with an uncertainty of its yield."""
    return systematic_cost(
        Members(),
        one_operator(),
        rate=rate_of(("c1",)),
        responses={},
        uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.95, 1.06)})],
        extended=False,
    )


def workspace_cost() -> PyhfCost:
    normfactor = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "s", "data": [5.0, 9.0], "modifiers": [normfactor]},
        {
            "name": "b",
            "data": [20.0, 12.0],
            "modifiers": [
                {"name": "norm", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
                {"name": "stat", "type": "staterror", "data": [2.0, 3.0]},
                {"name": "poisson", "type": "shapesys", "data": [4.0, 3.0]},
                {
                    "name": "tilt",
                    "type": "histosys",
                    "data": {"hi_data": [21.0, 11.0], "lo_data": [19.0, 13.0]},
                },
            ],
        },
    ]
    other = {"name": "c", "data": [30.0], "modifiers": [{**samples[1]["modifiers"][0]}]}
    spec = {
        "channels": [
            {"name": "SR", "samples": samples},
            {"name": "CR", "samples": [other]},
        ],
        "parameters": [{"name": "mu", "bounds": [[0.0, 5.0]], "inits": [1.0]}],
    }
    model = pyhf.Model(spec, poi_name="mu")
    return PyhfCost(model, [33.0, 24.0, 22.0]).measuring(norm=0.3)


@cache
def templates() -> mil.Templates:
    samples = gaussian.samples(2000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1)
    return mil.Templates.from_samples(samples, "x0", bins=6, degree=2, luminosity=0.1)


def histogram(**options: bool) -> TemplateCost:
    return templates().cost(gaussian.generate(N, 0.1, seed=2), **options)


def histogram_in_two() -> TemplateCost:
    points = [{"c1": a, "c2": b} for a, b in product((-0.5, 0.0, 0.5), repeat=2)]
    samples = quadratic.samples(2000, points, seed=1)
    edges = [-10.0, -0.5, 0.5, 10.0]
    made = mil.Templates.from_samples(samples, samples[0].feature_names[0], bins=edges, degree=2)
    return made.cost(operators())


def tied_workspace() -> PyhfCost:
    """Templates whose normalisation factors are polynomials in the parameter."""
    counts = np.full(templates().n_bins, 20.0)
    return mil.import_workspace(mil.export_workspace(templates(), counts, mc_stat=True))


def combined() -> object:
    """Two channels and measurements of their parameters."""
    binned = workspace_cost().without_constraints(["tilt", "poisson[0]"])
    both = NormalConstraint(["mu", "norm"], [0.1, 0.2], [[0.5, 0.1], [0.1, 1.0]])
    return systematic() + binned + both + 2.5


def channels() -> object:
    """Two sets of data with one parameter in common, and a measurement of another."""
    in_one = dataset_cost(oracle(), one_operator(), reference=0.0, rate=rate_of(("c1",)))
    return in_one + box_cost() + NormalConstraint("c2", 0.1, 0.4)


def many_polynomials() -> LikelihoodCost:
    """So many events that the cost compresses intervals."""
    return dataset_cost(oracle(4000), one_operator(4000), reference=0.0, rate=rate_of(("c1",)))


COSTS = {
    "polynomial": lambda: surface_cost("polynomial", degree=4),
    "spline": lambda: surface_cost("spline"),
    "parabola": lambda: surface_cost("parabola", window=0.5),
    "bags": lambda: dataset_cost(Bags(), normal_events(30), reference=0.0),
    "box": box_cost,
    "log polynomials": lambda: dataset_cost(
        oracle(), weighted_operator(), reference=0.2, rate=rate_of(("c1",))
    ),
    "log polynomials of many events": many_polynomials,
    "log polynomials in two parameters": lambda: dataset_cost(
        two_operators(), operators(), reference=0.0, rate=rate_of(("c1", "c2"))
    ),
    "linear terms": lambda: linear_cost(
        Oracle.from_sample(one_operator(), "c1", np.linspace(-0.3, 0.3, 21), degree=2),
        one_operator(),
        rate=rate_of(("c1",)),
    ),
    "calibrated": calibrated,
    "calibrated, scale only": lambda: calibrated(correct="scale"),
    "calibrated, bias only": lambda: calibrated(correct="bias", kind="bartlett"),
    "calibrated with the rate": lambda: calibrated(rate=True),
    "widened": lambda: calibrated(widen=True),
    "widened in two parameters": calibrated_in_two,
    "simulation error": with_simulation_error,
    "mixture of polynomials": lambda: mixture("polynomials"),
    "mixture of splines": lambda: mixture("spline", extended=False),
    "mixture of series": lambda: mixture("polynomial"),
    "mixture in a box": lambda: mixture("box", extended=False),
    "systematic": systematic,
    "systematic, code 4": lambda: systematic(
        "code4", extended=False, unconstrained=["tilt", "lumi"]
    ).measuring(one_norm=1.1),
    "systematic, signal alone": lambda: systematic(
        backgrounds={}, responses={}, norm_constraints={}, uncertainties=[SIGNAL_ALONE]
    ),
    "systematic polynomials": systematic_polynomials,
    "workspace": workspace_cost,
    "histogram": histogram_in_two,
    "histogram with the rate": lambda: histogram(rate=True),
    "histogram without errors": lambda: histogram(mc_stat=False),
    "tied workspace": tied_workspace,
    "channels": channels,
    "combined": combined,
    "constraint": lambda: NormalConstraint(["a", "b"], [0.0, 1.0], [0.5, 2.0]),
}
SIGNAL_ALONE = NormalisationUncertainty("efficiency", {"signal": (0.9, 1.05)})


def weighted_operator() -> Sample:
    data = one_operator()
    weights = np.random.default_rng(2).choice([1.0, 1.2, 0.8], len(data))
    return replace(data, weights=weights)
