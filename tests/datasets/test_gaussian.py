"""Gaussian examples against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from milinfer.datasets import gaussian

N = 40_000


@pytest.mark.parametrize("mu", [-0.7, 0.0, 1.5])
def test_moments_of_the_features(mu):
    sample = gaussian.generate(N, mu, seed=5, n_features=3)
    mean, std = sample.features.mean(axis=0), sample.features.std(axis=0)
    np.testing.assert_allclose(mean, [mu, 0, 0], atol=4 / np.sqrt(N))
    np.testing.assert_allclose(std, 1.0, atol=4 / np.sqrt(2 * N))
    assert np.abs(np.corrcoef(sample.features.T)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(N)
    assert sample.point == {"mu": mu}
    assert sample.feature_names == ("x0", "x1", "x2")


def test_likelihood_ratio_is_that_of_the_densities():
    x, mu, reference = np.linspace(-4, 4, 9), np.array([-1.0, 0.2, 3.0]), -0.3
    expected = norm.logpdf(x[:, None], mu) - norm.logpdf(x[:, None], reference)
    result = gaussian.log_likelihood_ratio(x, mu, reference)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(gaussian.log_likelihood_ratio(x, 0.2, reference), result[:, 1])
    np.testing.assert_array_equal(gaussian.log_likelihood_ratio(x, reference, reference), 0.0)


def test_information_is_the_variance_of_the_score():
    x = gaussian.generate(N, 0.4, seed=6).column("x0").astype(float)
    h = 1e-4
    score = (
        gaussian.log_likelihood_ratio(x, 0.4 + h) - gaussian.log_likelihood_ratio(x, 0.4 - h)
    ) / (2 * h)
    np.testing.assert_allclose(score, x - 0.4, atol=1e-8)
    assert gaussian.fisher_information(N) == N
    assert N * score.var() == pytest.approx(gaussian.fisher_information(N), rel=4 * np.sqrt(2 / N))


def test_ratios_have_a_mean_of_one_under_the_reference():
    x = gaussian.generate(N, 0.0, seed=7).column("x0").astype(float)
    ratio = np.exp(gaussian.log_likelihood_ratio(x, 0.5))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(N)


def test_seeds():
    one, same, other = (gaussian.generate(50, 0.1, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.features, same.features)
    assert not np.array_equal(one.features, other.features)
    samples = gaussian.samples(50, [0.0, 0.0001], seed=1)
    assert not np.allclose(samples[0].features, samples[1].features, atol=0.01)


def test_two_gaussians_lie_at_plus_and_minus_epsilon():
    samples = gaussian.two_gaussians(N, epsilon=0.25, seed=3)
    np.testing.assert_array_equal(samples.values("mu"), [-0.25, 0.25])
    for s in samples:
        assert abs(s.column("x0").mean() - s.point["mu"]) < 4 / np.sqrt(N)
