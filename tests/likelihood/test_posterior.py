"""Posteriors against closed forms: conjugate and truncated Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, truncnorm

from milinfer.datasets import gaussian
from milinfer.exceptions import ParameterError
from milinfer.likelihood.models import dataset_surface
from milinfer.likelihood.posterior import Posterior

GRID = np.linspace(-1, 1, 2001)


@settings(deadline=None)
@given(
    mean=st.floats(-0.3, 0.3),
    events=st.integers(100, 2000),
    prior_mean=st.floats(-0.3, 0.3),
    prior_width=st.floats(0.05, 0.1),
)
def test_a_gaussian_prior_is_conjugate(mean, events, prior_mean, prior_width):
    log_ratio = -events * (GRID - mean) ** 2 / 2
    posterior = Posterior.from_log_ratios(
        GRID, log_ratio + 17, lambda t: 3 * np.exp(-((t - prior_mean) ** 2) / 2 / prior_width**2)
    )
    precision = events + prior_width**-2
    exact = norm((events * mean + prior_mean / prior_width**2) / precision, precision**-0.5)
    assert posterior.mean == pytest.approx(exact.mean(), abs=1e-7)
    assert posterior.standard_deviation == pytest.approx(exact.std(), rel=1e-5)
    assert posterior.median == pytest.approx(exact.median(), abs=2e-6)
    for p in (0.001, 0.16, 0.9):
        assert posterior.quantile(p) == pytest.approx(exact.ppf(p), abs=2e-5)
    assert np.allclose(posterior.interval(0.9), exact.interval(0.9), atol=2e-5)


def test_a_uniform_prior_truncates():
    """Many datasets at once, those beyond the ends of the range included."""
    theta = np.linspace(-0.5, 0.5, 1001)
    means = np.array([-0.7, -0.45, 0.0, 0.2, 0.5, 0.8])
    posterior = Posterior.from_log_ratios(theta, -50 * (theta - means[:, None]) ** 2)
    exact = [truncnorm((-0.5 - m) / 0.1, (0.5 - m) / 0.1, m, 0.1) for m in means]
    assert np.allclose(posterior.mean, [e.mean() for e in exact], atol=1e-5)
    assert np.allclose(posterior.standard_deviation, [e.std() for e in exact], rtol=1e-3)
    for p in (0.0, 0.1, 0.5, 0.9, 0.999):
        assert np.allclose(posterior.quantile(p), [e.ppf(p) for e in exact], atol=1e-5)
    assert np.allclose(np.trapezoid(posterior.density, theta, axis=1), 1)
    one = Posterior.from_log_ratios(theta, -50 * (theta - means[3]) ** 2)
    assert one.mean == posterior.mean[3]
    assert one.quantile(0.3).shape == ()
    assert one.quantile(0.3) == posterior.quantile(0.3)[3]


def test_credible_intervals_cover_over_the_prior():
    rng = np.random.default_rng(1)
    theta = np.linspace(-0.5, 0.5, 401)
    truth = rng.uniform(-0.5, 0.5, 4000)
    means = rng.normal(truth, 0.1)
    low, high = Posterior.from_log_ratios(theta, -50 * (theta - means[:, None]) ** 2).interval(0.68)
    covered = np.mean((low <= truth) & (truth <= high))
    assert abs(covered - 0.68) < 4 * np.sqrt(0.68 * 0.32 / 4000)


def test_the_mean_has_the_least_squared_error_and_the_median_the_least_absolute_one():
    rng = np.random.default_rng(2)
    theta = np.linspace(0, 1, 401)
    truth = rng.beta(2, 5, 20_000)
    means = rng.normal(truth, 0.3)
    posterior = Posterior.from_log_ratios(
        theta, -((theta - means[:, None]) ** 2) / 0.18, theta * (1 - theta) ** 4
    )
    estimates = {"mean": posterior.mean, "median": posterior.median, "best fit": means}
    squared = {k: np.mean((v - truth) ** 2) for k, v in estimates.items()}
    absolute = {k: np.mean(np.abs(v - truth)) for k, v in estimates.items()}
    assert min(squared, key=squared.get) == "mean"
    assert min(absolute, key=absolute.get) == "median"


def test_the_posterior_of_a_model_and_its_data():
    data = gaussian.generate(900, 0.2, seed=3)
    posterior = Posterior.from_surface(dataset_surface(gaussian.MeanModel(), data))
    assert posterior.mean == pytest.approx(data.column("x0").mean(), abs=1e-6)
    assert posterior.standard_deviation == pytest.approx(1 / 30, rel=1e-4)
    narrow = Posterior.from_surface(
        dataset_surface(gaussian.MeanModel(), data), lambda t: t < 0.2, n_points=4001
    )
    assert narrow.quantile(1.0) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(
    ("theta", "ratios", "prior", "message"),
    [
        ([0.0, 1.0], [0.0, 0.0], None, "three ascending points"),
        ([0.0, 2.0, 1.0], np.zeros(3), None, "three ascending points"),
        ([0.0, 1.0, 2.0], np.zeros(4), None, r"shape \(4,\); 3 points"),
        ([0.0, 1.0, 2.0], [[0, 0, 0], [0, 0, np.nan]], None, "dataset 1 at θ = 2 is not finite"),
        ([0.0, 1.0, 2.0], np.zeros(3), [1.0, -1.0, 1.0], "not negative"),
        ([0.0, 1.0, 2.0], np.zeros(3), [1.0, 1.0], r"shape \(2,\)"),
        ([0.0, 1.0, 2.0], np.zeros(3), np.zeros(3), "the prior is zero"),
        (np.linspace(0, 1, 5), -5e3 * (np.linspace(0, 1, 5) - 0.5) ** 2, None, "more points"),
    ],
)
def test_what_has_no_posterior_is_refused(theta, ratios, prior, message):
    with pytest.raises(ParameterError, match=message):
        Posterior.from_log_ratios(theta, ratios, prior)


def test_bad_probabilities_and_several_parameters_are_refused():
    posterior = Posterior.from_log_ratios(np.arange(9), np.zeros(9))
    with pytest.raises(ParameterError, match=r"not 1\.5"):
        posterior.quantile(1.5)
    from milinfer.likelihood.surface_box import ChebyshevBox

    box = ChebyshevBox(np.zeros(2), np.ones(2), 2)
    with pytest.raises(ParameterError, match="2 parameters"):
        Posterior.from_surface(box.surface(np.zeros(len(box.grid))))
