"""Asimov data of unbinned likelihoods: expected numbers, no score at the point, widths of toys."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.likelihood.asimov import asimov_cost, asimov_sample
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_terms
from shifted_gaussian import SHIFT, Shift, exact_shift, quantiles
from shifted_gaussian import nominal as samples

SIGNAL, BACKGROUND = 400.0, 100.0
TRIGGER = NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})


def exact():
    """The exact response with a yield that does not depend on shift."""
    return Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), quantiles())


def ratio(sample):
    """Of N(2, 1) to N(0, 1)."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


@pytest.fixture(scope="module")
def terms():
    return systematic_terms(
        gaussian.MeanModel(),
        rate=SIGNAL,
        responses={"signal": exact()},
        backgrounds={"other": (ratio, BACKGROUND)},
        uncertainties=[TRIGGER],
        luminosity_uncertainty=0.02,
        norm_constraints={"other": 0.2},
        reference=0.0,
    )


@pytest.fixture(scope="module")
def events():
    other = gaussian.generate(4000, 2.0, seed=12)
    return {
        "signal": gaussian.generate(8000, 0.0, seed=11),
        "other": mil.Sample(other.features, other.feature_names, process="other"),
    }


POINT = {"mu": 0.3, "other_norm": 1.2, "shift": 0.5, "trigger": -0.5, "lumi": 1.01}


# κ of a table of events is exact at shift = 0 alone.
EXACT = POINT | {"shift": 0.0}


@pytest.mark.parametrize("point", [{}, {"mu": 0.3}, EXACT])
def test_the_score_of_the_model_vanishes_at_the_point(terms, events, point):
    cost = asimov_cost(terms, events, **point)
    at = terms.start | point
    assert np.abs(cost.grad(*at.values())).max() < 1e-6
    assert cost.n_events == pytest.approx(sum(cost.expected_events(**at).values()), rel=1e-12)


def test_a_fit_gives_back_the_point(terms, events):
    cost = asimov_cost(terms, events, POINT)
    m = minuit(cost)
    m.tol = 1e-4
    m.migrad()
    for name, value in POINT.items():
        assert m.values[name] == pytest.approx(value, abs=2e-3 * m.errors[name]), name


def test_the_balance_is_a_small_change(terms, events):
    """Of the order of the Monte-Carlo error: 12 000 events know a mean to a percent."""
    balanced = asimov_sample(terms, events, **POINT)
    x, w = balanced.column("x0"), balanced.weights
    shapes = {"signal": 0.3 + 0.5 * SHIFT, "other": 2.0}
    yields = asimov_cost(terms, events, **POINT).expected_events(**POINT)
    mean = sum(yields[k] * shapes[k] for k in shapes) / sum(yields.values())
    assert np.average(x, weights=w) == pytest.approx(mean, abs=0.02)
    assert balanced.provenance["asimov"]["mu"] == 0.3


def test_events_that_are_no_match_are_said(terms, events):
    few = {name: s.take(slice(40)) for name, s in events.items()}
    with pytest.warns(MilinferWarning, match="had to change by .* not normalised"):
        asimov_cost(terms, few, mu=0.5)
    one = {"signal": events["signal"].take(slice(2)), "other": events["other"].take(slice(1))}
    with pytest.raises(ModelError, match="no weights of these 3 events can give the density"):
        asimov_cost(terms, one, mu=0.5)


def test_yields_that_densities_contradict_are_said():
    """κ of 20 000 random events slopes by 0.3/√20 000, and the density by nothing."""
    terms = systematic_terms(
        gaussian.MeanModel(), rate=400.0, responses={"signal": exact_shift()}, reference=0.0
    )
    with pytest.warns(MilinferWarning, match=r"off by .* standard deviations in"):
        asimov_cost(terms, gaussian.generate(8000, 0.0, seed=11))


class Bent(Shift):
    """Hardly more than a shift: its score is nearly that of mu, and the yields know it is not."""

    def event_columns(self, sample):
        columns = super().event_columns(sample)
        x = sample.column("x0").astype(np.float64)
        columns[:, 0] += (0.01 * (x**2 - 1)).astype(np.float32)
        return columns


def test_weights_are_not_bent_to_follow_yields():
    """Regression: the small difference of two scores was balanced by changes of 7 %."""
    response = Bent(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), samples())
    terms = systematic_terms(
        gaussian.MeanModel(), rate=400.0, responses={"signal": response}, reference=0.0
    )
    with pytest.warns(MilinferWarning, match=r"off by .* standard deviations in"):
        sample = asimov_sample(terms, gaussian.generate(8000, 0.0, seed=11))
    change = np.log(sample.weights / (400 / 8000))
    assert np.sqrt(np.mean(change**2)) < 0.05


def test_the_width_is_that_of_the_median_toy():
    """Of Gaussian events of known mean: 1/√N, and with a shift that is measured to 1 beside it."""
    terms = systematic_terms(
        gaussian.MeanModel(),
        rate=200.0,
        responses={"signal": exact()},
        uncertainties=[TRIGGER],
        reference=0.0,
    )
    cost = asimov_cost(terms, gaussian.generate(4000, 0.0, seed=3))
    expected = np.sqrt(1 / 200 + SHIFT**2)
    asimov = mil.profile_interval(cost, "mu")
    assert asimov.width / 2 == pytest.approx(expected, rel=0.02)
    toys = mil.Toys(gaussian.samples(20_000, [0.0], seed=4), n_events=200, seed=5, poisson=True)
    profiled = mil.ProfiledSystematics(terms)
    ensemble = toys.run([profiled], 0.0, 300)["profiled"]
    widths = [
        mil.profile_interval(LikelihoodOf(ensemble, k), "mu").width for k in range(0, 300, 10)
    ]
    assert asimov.width == pytest.approx(np.median(widths), rel=0.02)


def LikelihoodOf(ensemble, k):  # noqa: N802
    from milinfer.likelihood.cost import LikelihoodCost

    surface = ensemble.interpolation.surface(ensemble.values[k])
    return LikelihoodCost(surface, "mu", n_events=ensemble.n_events)


def test_simulation_of_the_point_is_scaled_to_the_yields(terms):
    moved = {
        "signal": gaussian.generate(3000, 0.3, seed=1),
        "other": mil.Sample(gaussian.generate(500, 2.0, seed=2).features, ("x0",), process="other"),
    }
    cost = asimov_cost(terms, moved, density="simulation", mu=0.3, other_norm=0.5)
    assert cost.n_events == pytest.approx(SIGNAL + 0.5 * BACKGROUND)
    sample = asimov_sample(terms, moved, density="simulation", mu=0.3, other_norm=0.5)
    assert sample.weights[:3000].sum() == pytest.approx(SIGNAL)
    m = minuit(cost).migrad()
    # 3000 events know a mean to 0.02, and the shift is constrained.
    assert m.values["mu"] == pytest.approx(0.3, abs=0.1)


def test_luminosity_scales_numbers_and_errors(terms, events):
    three = terms.scaled(3.0)
    cost = asimov_cost(three, events)
    assert cost.n_events == pytest.approx(3 * (SIGNAL + BACKGROUND))
    fixed = ["other_norm", "shift", "trigger", "lumi"]
    one = mil.profile_interval(asimov_cost(terms, events), "mu", fixed=fixed)
    assert mil.profile_interval(cost, "mu", fixed=fixed).width == pytest.approx(
        one.width / np.sqrt(3), rel=1e-2
    )
    with pytest.raises(ConfigurationError, match="must be positive, not 0"):
        terms.scaled(0.0)


def test_toys_have_an_expectation():
    samples = quadratic.samples(2000, [{"c1": -1.0}, {"c1": 0.0}, {"c1": 1.0}], seed=1)
    rate = mil.Rate.from_samples(samples, luminosity=0.1, degree=2)
    toys = mil.Toys(mil.EventPool(samples, degree=2), n_events=None, seed=2, rate=rate)
    sample = toys.asimov(0.3)
    assert len(sample) == 6000
    assert sample.weights.sum() == pytest.approx(rate(c1=0.3))
    assert toys.asimov({"c1": 0.3}, luminosity=10).weights.sum() == pytest.approx(10 * rate(c1=0.3))
    oracle = mil.Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 21), degree=2)
    cost = dataset_cost(oracle, sample, reference=0.0, rate=rate)
    m = minuit(cost, c1=0.1).migrad()
    error = toys.run([oracle], 0.3, 300)["oracle"].theta_hat.std()
    assert m.values["c1"] == pytest.approx(0.3, abs=0.5 * error)


def test_equal_weights_of_asimov_data_are_data():
    """Regression: they look like the weights of simulation, which a cost refuses."""
    sample = mil.Toys(gaussian.samples(1000, [0.0], seed=1), n_events=100, seed=2).asimov(0.0)
    assert sample.weights[0] == 0.1
    cost = dataset_cost(gaussian.MeanModel(), sample, reference=0.0)
    assert cost.n_events == pytest.approx(100)


def test_what_does_not_go_together_is_refused(terms, events):
    with pytest.raises(ParameterError, match=r"mus is not a parameter .*did you mean mu"):
        asimov_cost(terms, events, mus=0.3)
    with pytest.raises(ParameterError, match="mu has two values"):
        asimov_cost(terms, events, {"mu": 0.1}, mu=0.3)
    with pytest.raises(SampleError, match="give events for each process"):
        asimov_cost(terms, events["signal"])
    with pytest.raises(SampleError, match="must be at the reference of the model, mu=0"):
        asimov_cost(terms, events | {"signal": gaussian.generate(100, 0.3, seed=1)})
    with pytest.raises(ParameterError, match="choose 'model' or 'simulation'"):
        asimov_cost(terms, events, density="data")
    with pytest.raises(ParameterError, match="outside"):
        asimov_cost(terms, events, mu=7.0)
