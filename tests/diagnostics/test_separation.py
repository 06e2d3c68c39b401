"""Divergences from likelihood ratios, against quadrature, and mutual information."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from milinfer.datasets import gaussian
from milinfer.diagnostics.roc import roc_curve
from milinfer.diagnostics.separation import (
    area_of_bags,
    divergence,
    joint_and_product,
    largest_distance,
    relative_distance,
    squared_distance,
)
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.losses import loss
from milinfer.samples.sample import Sample

KINDS = ("kullback-leibler", "jensen-shannon", "triangular", "squared-hellinger")
LOSSES = ("mlc-exponential", "bce", "mse", "square-root")
SHIFT = 0.4  # of two Gaussians N(±SHIFT, 1), whose log-ratio is 2·SHIFT·x


@cache
def by_quadrature(kind):
    def integrand(x):
        one, zero = norm.pdf(x, SHIFT), norm.pdf(x, -SHIFT)
        return {
            "kullback-leibler": one * np.log(one / zero),
            "jensen-shannon": one / 2 * np.log(2 * one / (one + zero))
            + zero / 2 * np.log(2 * zero / (one + zero)),
            "triangular": (one - zero) ** 2 / (one + zero) / 2,
            "squared-hellinger": (np.sqrt(one) - np.sqrt(zero)) ** 2 / 2,
        }[kind]

    return quad(integrand, -12, 12)[0]


def gaussians(n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(SHIFT, 1, n), rng.normal(-SHIFT, 1, n)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_ratio_gives_the_divergence_and_its_error(kind):
    exact = by_quadrature(kind)
    pulls = []
    for seed in range(200):
        one, zero = gaussians(1000, seed)
        found = divergence(kind, 2 * SHIFT * one, 2 * SHIFT * zero)
        pulls.append((found.value - exact) / found.error)
    # The standard deviation of 200 pulls is 1 ± 0.05, their mean 0 ± 0.07.
    assert abs(np.std(pulls) - 1) < 0.2
    assert abs(np.mean(pulls)) < 0.3


@settings(deadline=None)  # quadrature, the first time
@given(
    slope=st.floats(-1, 2),
    shift=st.floats(-0.5, 0.5),
    bend=st.floats(-0.3, 0.3),
    kind=st.sampled_from(KINDS),
)
def test_any_other_ratio_gives_less(slope, shift, bend, kind):
    x = np.linspace(-9, 9, 20_001)
    wrong = slope * x + shift + bend * np.sin(x)
    found = divergence(kind, wrong, wrong, norm.pdf(x, SHIFT), norm.pdf(x, -SHIFT))
    assert found.value <= by_quadrature(kind) + 1e-9


@pytest.mark.parametrize(("kind", "name"), list(zip(KINDS, LOSSES, strict=True)))
def test_it_is_the_value_of_the_loss_at_its_minimum(kind, name):
    """Table I: the loss of the package, at the outputs that stand for the exact ratio."""
    one, zero = gaussians(500, 1)
    x = np.concatenate([one, zero]).astype(np.float32)
    labels = np.repeat([[0.0, 1.0], [1.0, 0.0]], 500, axis=0).astype(np.float32)
    values = np.asarray(loss(name)(2 * SHIFT * x[:, None], labels), dtype=np.float64)
    minimum = values[:500].mean() + values[500:].mean()
    expected = {
        "kullback-leibler": -minimum,
        "jensen-shannon": -minimum / 2 + np.log(2),
        "triangular": 1 - 2 * minimum,
        "squared-hellinger": 1 - minimum / 2,
    }[kind]
    assert divergence(kind, 2 * SHIFT * one, 2 * SHIFT * zero).value == pytest.approx(
        expected, abs=1e-5
    )


def test_weights_count():
    one, zero = gaussians(20_000, 2)
    # The reference drawn from the numerator, and weighted back.
    found = divergence(
        "kullback-leibler", 2 * SHIFT * one, 2 * SHIFT * one, None, np.exp(-2 * SHIFT * one)
    )
    assert abs(found.value - 2 * SHIFT**2) < 4 * found.error
    assert abs(divergence("jensen-shannon", 0 * one, 0 * zero).value) < 1e-12


def test_the_mutual_information_of_correlated_gaussians():
    correlation = 0.6
    rng = np.random.default_rng(3)

    def events(n):
        x = rng.normal(size=(n, 2)) @ np.linalg.cholesky([[1, correlation], [correlation, 1]]).T
        return Sample(x, ("x", "y"))

    model = BagLikelihood(
        head="binary",
        loss="mlc-exponential",
        bag_size=1,
        network=NetworkConfig((32, 32), "silu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(10, 2000, 1e-2, 1e-4, schedule="cosine"),
        seed=1,
    ).fit(joint_and_product(events(30_000), ["y"], seed=1))
    product, joint = joint_and_product(events(20_000), ["y"], seed=2)
    found = divergence(
        "kullback-leibler", model.event_llr(joint)[:, 1], model.event_llr(product)[:, 1]
    )
    exact = -np.log(1 - correlation**2) / 2
    assert found.value < exact + 3 * found.error
    assert found.value > 0.9 * exact - 3 * found.error


def test_exchanged_columns_keep_their_distributions():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(500, 1)) + np.array([[0.0, 1.0, 2.0]])
    product, joint = joint_and_product(Sample(x, ("a", "b", "c")), ["c", "a"], seed=5)
    assert (product.point, joint.point) == ({"joint": 0.0}, {"joint": 1.0})
    for name in "abc":
        assert np.array_equal(np.sort(product.column(name)), np.sort(joint.column(name)))
    # Columns that are exchanged stay together.
    assert np.allclose(product.column("c") - product.column("a"), 2, atol=1e-5)
    assert abs(np.corrcoef(product.column("a"), product.column("b"))[0, 1]) < 0.15
    again = joint_and_product(Sample(x, ("a", "b", "c")), ["c", "a"], seed=5)[0]
    assert np.array_equal(again.features, product.features)


@pytest.mark.parametrize("columns", [["z"], [], ["x", "y"], ["x", "z"]])
def test_columns_that_cannot_be_exchanged_are_refused(columns):
    with pytest.raises(SampleError, match="give some, but not all, of x, y"):
        joint_and_product(Sample(np.zeros((3, 2)), ("x", "y")), columns, seed=1)


def test_what_has_no_divergence_is_refused():
    with pytest.raises(SampleError, match="different weights"):
        joint_and_product(Sample(np.zeros((2, 2)), ("x", "y"), np.array([1.0, 2.0])), ["y"], seed=1)
    with pytest.raises(ConfigurationError, match="no divergence 'chi2'; choose one of kull"):
        divergence("chi2", np.zeros(3), np.zeros(3))
    with pytest.raises(SampleError, match=r"numerator have shape \(1,\)"):
        divergence("triangular", np.zeros(1), np.zeros(3))
    with pytest.raises(SampleError, match="reference: value or weight of event 1 is not finite"):
        divergence("triangular", np.zeros(2), np.array([0.0, np.inf]))
    with pytest.raises(SampleError, match="reference: the sum of the weights is not positive"):
        divergence("triangular", np.zeros(2), np.zeros(2), None, np.array([1.0, -1.0]))


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
