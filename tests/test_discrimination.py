"""Distances per event: closed forms, coverage of the errors, areas of bags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.datasets import gaussian
from milinfer.diagnostics.roc import roc_curve
from milinfer.diagnostics.separation import (
    area_of_bags,
    largest_distance,
    relative_distance,
    squared_distance,
)
from milinfer.exceptions import SampleError


def events(seed, n=4000, mu=0.1):
    """x of the even mixture of N(±mu, 1), noise, and the exact log-ratio."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=2 * n) + np.repeat([-mu, mu], n)
    return x, rng.normal(size=2 * n), 2 * mu * x


def test_errors_cover():
    """Pulls of the closed forms 4μ² and 1/(1 + noise²) over 300 samples have unit width."""
    pulls = []
    for seed in range(300):
        x, noise, llr = events(seed)
        own, part = squared_distance(x + noise, llr), relative_distance(x + noise, llr)
        pulls.append([(own.value - 0.02) / own.error, (part.value - 0.5) / part.error])
    for of_one in np.array(pulls).T:
        assert abs(of_one.mean()) < 0.25
        assert 0.85 < of_one.std() < 1.15


def test_the_exact_log_ratio_fluctuates_less_than_means():
    x, noise, llr = events(1)
    means = [x[len(x) // 2 :].mean() - x[: len(x) // 2].mean()]
    found = squared_distance(x, llr)
    direct_error = 2 * means[0] * np.sqrt(2 / (len(x) / 2))
    assert found.error < 0.3 * direct_error
    np.testing.assert_allclose(relative_distance(np.tanh(llr / 2), llr), (1, 0), atol=1e-12)
    assert relative_distance(x, llr).value > 0.999
    assert relative_distance(noise, llr).value < 0.01


@settings(max_examples=50, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-5, 5), sign=st.sampled_from([1, -1]))
def test_scale_and_shift_of_a_score_do_not_matter(scale, shift, sign):
    x, noise, llr = events(2, 500)
    expected = relative_distance(x + noise, llr)
    found = relative_distance(sign * scale * (x + noise) + shift, llr)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(mu=st.floats(0.05, 1.5), power=st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_no_score_is_farther_apart_than_the_best(mu, power):
    x, noise, llr = events(6, 2_000, mu)
    best = largest_distance(llr).value
    for score in (llr, np.sign(llr) * np.abs(llr) ** power, x + noise):
        assert relative_distance(score, llr).value < 1 + 1e-9
        assert squared_distance(score, llr).value < best * (1 + 1e-9)


def test_areas_are_those_of_bags():
    rng = np.random.default_rng(4)
    x, noise, llr = events(3, 100_000)
    found = squared_distance(x + noise, llr)
    bags = [(rng.normal(m, np.sqrt(2), (4000, 100))).sum(axis=1) for m in (0.1, -0.1)]
    roc = roc_curve(*bags)
    assert abs(roc.auc - float(area_of_bags(found.value, 100))) < 4 * roc.auc_error


def test_far_hypotheses_have_the_variance_between_them_taken_out():
    """N(±1, 1), d² = 4 of the sum of x."""
    x, _, llr = events(5, 200_000, mu=1.0)
    found = squared_distance(x, llr)
    assert abs(found.value - 4) < 4 * found.error
    assert found.error < 0.05


def test_what_is_no_score_is_refused():
    llr = gaussian.log_likelihood_ratio([0.1, 0.2, 0.3], 0.5)
    with pytest.raises(SampleError, match=r"shape \(2,\)"):
        squared_distance([1.0, 2.0], llr)
    with pytest.raises(SampleError, match="score of event 1 is not finite"):
        squared_distance([1.0, np.nan, 2.0], llr)
    with pytest.raises(SampleError, match="log-ratio is the same"):
        relative_distance(llr, [0.0, 0.0, 0.0])
