"""The Gaussian problem with nuisance parameters against integrals, derivatives and fits."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit import Minuit
from scipy.integrate import quad
from scipy.stats import kstest, norm

from milinfer.datasets import gaussian_systematics as problem
from milinfer.exceptions import ConfigurationError, ParameterError
from milinfer.samples.sample import Sample

POINTS = ({}, {"shift": 1.5}, {"width": -2.0}, {"shift": -1.0, "width": 1.0, "rate": 2.0})


@pytest.mark.parametrize("process", problem.PROCESSES)
@pytest.mark.parametrize("nuisances", POINTS)
def test_densities_integrate_to_one_and_responses_to_the_yield(process, nuisances):
    def density(x, nuisances=nuisances):
        return np.exp(problem.log_density(x, process, 0.4, nuisances))

    def response(x):
        return np.exp(problem.log_response(x, nuisances, process, 0.4)) * density(x, {})

    assert quad(density, -20, 20, limit=200)[0] == pytest.approx(1, abs=1e-9)
    kappa = problem.yield_factor(process, nuisances)
    assert quad(response, -20, 20, limit=200)[0] == pytest.approx(kappa, abs=1e-9)


@pytest.mark.parametrize("process", problem.PROCESSES)
@pytest.mark.parametrize("nuisances", POINTS)
def test_events_follow_the_density(process, nuisances):
    sample = problem.generate(20_000, process, 0.4, nuisances, seed=5)

    def cumulative(x):
        mode = 0.4 if process == "signal" else 2.0
        shift = {"signal": 0.3, "background": 0.2}[process] * nuisances.get("shift", 0)
        width = 1 + 0.1 * nuisances.get("width", 0) if process == "signal" else 1.5
        return norm.cdf(x, mode + shift, width)

    assert kstest(sample.column("x0").astype(float), cumulative).pvalue > 1e-3
    assert sample.cross_section == problem.yield_factor(process, nuisances)
    assert sample.process == process


def test_one_seed_gives_the_same_events_with_other_features():
    nominal, varied = (
        problem.generate(100, nuisances=n, seed=3).column("x0") for n in ({}, {"shift": 1.0})
    )
    np.testing.assert_allclose(varied - nominal, 0.3, atol=1e-6)


def test_cost_is_the_extended_likelihood_of_the_densities():
    data = problem.dataset(0.2, {"shift": 1.0}, signal=300, background=100, seed=1)
    measured = {"shift": 0.5, "background_norm": 1.2}
    cost = problem.GaussianCost(
        data, signal=300, background=100, background_constraint=0.2, measured=measured
    )
    point = {"mu": 0.3, "background_norm": 0.8, "shift": -0.7, "width": 1.1, "rate": -0.4}
    nuisances = {k: point[k] for k in problem.NUISANCES}
    x = data.column("x0").astype(float)

    def minus_two_log(mu, norm_b, nuisances):
        nu_s = 300 * problem.yield_factor("signal", nuisances)
        density = nu_s * np.exp(problem.log_density(x, "signal", mu, nuisances))
        density += 100 * norm_b * np.exp(problem.log_density(x, "background", mu, nuisances))
        return 2 * (nu_s + 100 * norm_b - np.log(density).sum())

    expected = minus_two_log(0.3, 0.8, nuisances) - minus_two_log(0.0, 1.0, {})
    expected += (-0.7 - 0.5) ** 2 + 1.1**2 + 0.4**2 + ((0.8 - 1.2) / 0.2) ** 2
    assert cost(**point) == pytest.approx(expected, abs=1e-8)
    free = problem.GaussianCost(data, signal=300, background=100, constrained=False)
    assert free(**free.start) == 0
    assert free(0.0, 1.0, 0.0, 0.0, 1.0) == pytest.approx(
        minus_two_log(0.0, 1.0, {"rate": 1.0}) - minus_two_log(0.0, 1.0, {}), abs=1e-8
    )


@pytest.mark.parametrize("point", [(0.3, 0.8, -0.7, 1.1, -0.4), (-0.5, 1.5, 2.0, -2.0, 2.0)])
def test_gradient_is_that_of_the_cost(point):
    data = problem.dataset(signal=300, background=100, seed=2)
    cost = problem.GaussianCost(data, signal=300, background=100, background_constraint=0.1)
    step = 1e-5
    numerical = [
        (cost(*(np.array(point) + h).tolist()) - cost(*(np.array(point) - h).tolist())) / (2 * step)
        for h in step * np.eye(5)
    ]
    np.testing.assert_allclose(cost.grad(*point), numerical, rtol=1e-6, atol=1e-5)


def test_curvature_at_the_expected_data_is_the_information():
    """Weighted points of the expected density stand for the mean of all datasets."""
    x = np.linspace(-12, 14, 20_001).astype(np.float32)
    step = np.gradient(x.astype(float))
    density = 600 * np.exp(problem.log_density(x)) + 200 * np.exp(
        problem.log_density(x, "background")
    )
    expected = Sample(x[:, None], ("x0",), density * step)
    options = {"signal": 600, "background": 200, "background_constraint": 0.1}
    cost = problem.GaussianCost(expected, **options)
    start, h = np.array(list(cost.start.values())), 1e-4
    curvature = [
        (cost.grad(*(start + e)) - cost.grad(*(start - e))) / (4 * h) for e in h * np.eye(5)
    ]
    information = problem.fisher_information(600, 200, background_constraint=0.1)
    np.testing.assert_allclose(curvature, information, rtol=1e-3, atol=0.02)
    m = Minuit(cost, **cost.start)
    m.hesse()
    np.testing.assert_allclose(m.errors["mu"], np.sqrt(np.linalg.inv(information)[0, 0]), rtol=1e-3)
    # What the nuisance parameters cost: without them the error is smaller.
    alone = information[:2, :2]
    assert np.linalg.inv(alone)[0, 0] < 0.6 * np.linalg.inv(information)[0, 0]


def test_fits_of_toys_scatter_by_the_information():
    """Mean and width of the pulls, where the auxiliary measurements fluctuate too."""
    rng = np.random.default_rng(8)
    truth = {"shift": 1.0, "width": -1.0, "rate": 1.0}
    options = {"signal": 800, "background": 200}
    estimates = []
    n_toys = 200
    for _ in range(n_toys):
        data = problem.dataset(0.1, truth, **options, seed=rng)
        measured = {k: v + rng.normal() for k, v in truth.items()}
        measured["background_norm"] = 1 + 0.1 * rng.normal()
        cost = problem.GaussianCost(data, **options, background_constraint=0.1, measured=measured)
        m = Minuit(cost, **cost.start).migrad()
        assert m.valid
        estimates.append((m.values["mu"], m.errors["mu"]))
    pulls = [(value - 0.1) / error for value, error in estimates]
    assert abs(np.mean(pulls)) < 4 / np.sqrt(n_toys)
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * n_toys))


def test_wrong_input():
    data = problem.dataset(signal=30, background=10, seed=2)
    with pytest.raises(ParameterError, match=r"no process 'sinal'.*signal"):
        problem.generate(5, "sinal", seed=1)
    with pytest.raises(ParameterError, match="no nuisance parameter 'widht'"):
        problem.log_density([0.0], nuisances={"widht": 1.0})
    with pytest.raises(ParameterError, match="width = -10 is not possible"):
        problem.generate(5, nuisances={"width": -10.0}, seed=1)
    with pytest.raises(ConfigurationError, match="signal=-1"):
        problem.GaussianCost(data, signal=-1, background=10)
    with pytest.raises(ConfigurationError, match="background_constraint=0"):
        problem.GaussianCost(data, signal=1, background=10, background_constraint=0.0)
    with pytest.raises(ParameterError, match=r"measured= contains \['mu'\]"):
        problem.GaussianCost(data, signal=1, background=10, measured={"mu": 0.0})
    with pytest.raises(ParameterError, match="width = -11"):
        problem.GaussianCost(data, signal=30, background=10)(0.0, 1.0, 0.0, -11.0, 0.0)


def test_events_far_away_do_not_underflow():
    far = Sample(np.array([[100.0]]), ("x0",))
    cost = problem.GaussianCost(far, signal=30, background=10)
    assert cost(0.0, 0.5, 0.0, 0.0, 0.0) == pytest.approx(2 * np.log(2) - 10)
    ratio = 30 * norm.pdf(1.0) / (30 * norm.pdf(1.0) + 10 * norm.pdf(1.0, 2, 1.5))
    near = problem.GaussianCost(Sample(np.ones((1, 1)), ("x0",)), signal=30, background=10)
    assert near(0.0, 0.0, 0.0, 0.0, 0.0) == pytest.approx(-2 * np.log(ratio) - 20)
