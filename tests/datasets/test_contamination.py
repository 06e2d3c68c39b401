"""Contaminated samples and bags; exact answers against brute force and statistics."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.datasets import gaussian
from milinfer.datasets.contamination import (
    composition_llr,
    contaminate,
    contaminated_bags,
    mixture_llr,
)
from milinfer.diagnostics.roc import auc_difference, roc_curve
from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet


def numbered(n, first=0, weights=None, **options):
    """Events that are recognised by their feature."""
    return Sample(np.arange(first, first + n, dtype=float)[:, None], ("x",), weights, **options)


def signal(n=40, weights=None):
    return SampleSet(
        (numbered(n, 0, weights, point={"mu": 0.0}), numbered(n, 1000, point={"mu": 1.0}))
    )


@settings(max_examples=50, deadline=None)
@given(ratio=st.floats(0, 3), seed=st.integers(0, 5))
def test_mixtures_have_every_signal_event_and_no_background_event_twice(ratio, seed):
    background = numbered(240, -500)
    mixed = contaminate(signal(), background, ratio, seed=seed)
    seen = np.concatenate([s.features[:, 0] for s in mixed])
    assert len(np.unique(seen)) == len(seen)
    for before, after in zip(signal(), mixed, strict=True):
        x = after.features[:, 0]
        assert set(before.features[:, 0]) <= set(x)
        assert np.sum(x < 0) == round(40 * ratio) == len(x) - 40
        assert after.point == before.point
        np.testing.assert_array_equal(after.weights, 1)


def test_which_background_events_depends_on_the_seed_alone():
    background = numbered(200, -500)
    one, same, other = (contaminate(signal(), background, 0.5, seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one.features, same.features)
    assert not np.array_equal(one.features, other.features)


def test_the_share_of_weight_is_that_of_events():
    weights = np.linspace(0.5, 3, 40)
    background = numbered(100, -500, np.linspace(7, 9, 100))
    first, second = contaminate(signal(weights=weights), background, 0.5)
    for mixed in (first, second):
        is_signal = mixed.features[:, 0] >= 0
        np.testing.assert_allclose(mixed.weights[is_signal].mean(), 1)
        np.testing.assert_allclose(mixed.weights[~is_signal].mean(), 1)
    np.testing.assert_allclose(first.weights[:40] / weights, 1 / weights.mean())


def test_mixtures_refuse_what_cannot_be():
    with pytest.raises(ParameterError, match="ratio=-1"):
        contaminate(signal(), numbered(10), -1)
    with pytest.raises(SampleError, match="80 events are needed, 1 for each of 80"):
        contaminate(signal(), numbered(79), 1)
    with pytest.raises(SampleError, match="same order"):
        contaminate(signal(), Sample(np.zeros((99, 1)), ("y",)), 1)
    with pytest.raises(SampleError, match="positive mean weight"):
        contaminate(signal(), numbered(99, 0, np.tile([1.0, -1.0, -1.0], 33)), 1)


@settings(max_examples=50, deadline=None)
@given(n_signal=st.integers(1, 7), n_background=st.integers(0, 9))
def test_bags_have_their_composition_and_every_event_once(n_signal, n_background):
    bags = contaminated_bags(numbered(50), numbered(60), n_signal, n_background, seed=3)
    n_bags = min(50 // n_signal, 60 // n_background if n_background else 50)
    assert bags.signal.shape == (n_bags, n_signal)
    assert bags.background.shape == (n_bags, n_background)
    for rows in (bags.signal, bags.background):
        assert len(np.unique(rows)) == rows.size
    np.testing.assert_array_equal(bags.weights, 1)
    inside = bags.gather(np.arange(50.0), -1 - np.arange(60.0))
    np.testing.assert_array_equal((inside >= 0).sum(axis=1), n_signal)
    less = bags.with_background(n_background // 2)
    np.testing.assert_array_equal(less.signal, bags.signal)
    np.testing.assert_array_equal(less.background, bags.background[:, : n_background // 2])


def test_bags_of_weighted_events_carry_both_weights():
    weights = np.where(np.arange(400) % 10 == 0, -1.0, 1.0)
    bags = contaminated_bags(numbered(400, 0, weights), numbered(400, 0, weights), 3, 2, seed=1)
    signs = np.prod(np.sign(bags.gather(weights, weights)), axis=1)
    np.testing.assert_allclose(bags.weights, signs * (1 / 0.8) ** 5)


def test_bags_refuse_what_cannot_be():
    sample = numbered(10)
    with pytest.raises(ParameterError, match="n_signal=0"):
        contaminated_bags(sample, sample, 0, 1)
    with pytest.raises(SampleError, match="do not fill 3 bags with 4"):
        contaminated_bags(sample, sample, 4, 1, n_bags=3)
    with pytest.raises(SampleError, match="do not fill 1 bags with 11"):
        contaminated_bags(sample, sample, 1, 11)
    with pytest.raises(ParameterError, match="have 1 background events each, not 2"):
        contaminated_bags(sample, sample, 1, 1).with_background(2)


def densities(x, mu):
    """Exact λ and ln b of N(mu, 1) against N(0, 1), and of N(1.5, 1) against N(0, 1)."""
    return mu * x - mu**2 / 2, 1.5 * x - 1.5**2 / 2


@settings(max_examples=50, deadline=None)
@given(ratio=st.floats(0, 50))
def test_a_mixture_is_the_ratio_of_two_sums(ratio):
    llr, other = densities(np.linspace(-4, 4, 9), 0.3)
    expected = np.log((np.exp(llr) + ratio * np.exp(other)) / (1 + ratio * np.exp(other)))
    np.testing.assert_allclose(mixture_llr(llr, other, ratio), expected, atol=1e-12)


def test_densities_beyond_floating_point_stay_finite():
    out = mixture_llr([900.0, 900.0, -900.0], [-900.0, 900.0, 0.0], 1.0)
    np.testing.assert_allclose(out, [900, np.log(2), -np.log(2)])
    assert np.isfinite(composition_llr([[900.0, -900.0]], [[-900.0, 900.0]], 1)).all()


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 6), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_known_composition_sums_over_all_choices(n, k, seed):
    k = min(k, n)
    rng = np.random.default_rng(seed)
    llr, other = rng.normal(size=(2, 3, n))
    for bag in range(3):

        def total(of_signal, bag=bag):
            return sum(
                np.prod([np.exp(of_signal[i] if i in chosen else other[bag, i]) for i in range(n)])
                for chosen in combinations(range(n), k)
            )

        expected = np.log(total(llr[bag]) / total(np.zeros(n)))
        np.testing.assert_allclose(composition_llr(llr, other, k)[bag], expected, rtol=1e-9)


def test_without_background_every_answer_is_the_sum():
    llr = np.random.default_rng(1).normal(size=(4, 7))
    np.testing.assert_allclose(composition_llr(llr, np.zeros((4, 7)), 7), llr.sum(axis=1))
    np.testing.assert_array_equal(mixture_llr(llr, np.zeros((4, 7)), 0), llr)


def test_a_composition_refuses_shapes_and_numbers_that_do_not_fit():
    for shape, n in (((3,), 1), ((2, 3), 0), ((2, 3), 4)):
        with pytest.raises(ParameterError, match="give"):
            composition_llr(np.zeros(shape), np.zeros(shape), n)


def test_knowing_more_never_separates_less():
    """Labels beat the number of signal events, which beats the share; areas on the same bags."""
    rng = np.random.default_rng(5)
    scores = []
    for mu in (0.5, 0.0):
        x = np.concatenate([rng.normal(mu, 1, (4000, 20)), rng.normal(1.5, 1, (4000, 20))], axis=1)
        llr, other = densities(x, 0.5)
        scores.append(
            (
                llr[:, :20].sum(axis=1),
                composition_llr(llr, other, 20),
                mixture_llr(llr, other, 1.0).sum(axis=1),
                llr.sum(axis=1),
            )
        )
    pairs = list(zip(*scores, strict=True))
    gains = [auc_difference(a, b) for a, b in pairwise(pairs)]
    # With known numbers the mean of x tells, and here it tells much.
    assert gains[0].value > 10 * gains[0].error
    assert gains[1].value > 5 * gains[1].error
    assert roc_curve(*pairs[2]).auc > 0.75


def test_exact_ratios_of_the_mixture_are_calibrated():
    """E_θ0[exp Λ] = 1 for either, over bags of their own kind."""
    rng = np.random.default_rng(6)
    n = 40_000
    is_signal = np.arange(8) < 4
    x = np.where(is_signal, rng.normal(0, 1, (n, 8)), rng.normal(1.5, 1, (n, 8)))
    ratio = np.exp(composition_llr(*densities(x, 0.3), 4))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(n)
    mixed = np.where(rng.random((n, 8)) < 0.5, rng.normal(0, 1, (n, 8)), rng.normal(1.5, 1, (n, 8)))
    ratio = np.exp(mixture_llr(*densities(mixed, 0.3), 1.0).sum(axis=1))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(n)


def test_a_model_trained_on_contaminated_events_learns_the_mixture():
    from milinfer.learning.boosted_trees import BoostedLikelihood

    background = gaussian.generate(24_000, 1.5, seed=8)
    pure = gaussian.samples(12_000, [0.0, 0.5], seed=7)
    model = BoostedLikelihood(seed=1).fit(contaminate(pure, background, 1.0))
    x = np.linspace(-1.5, 3, 10)
    found = model.event_llr(Sample(x[:, None], ("x0",)))[:, 1]
    llr, other = densities(x, 0.5)
    exact = mixture_llr(llr, other, 1.0)
    assert np.abs(found - exact).max() < 0.5 * np.abs(found - llr).max()
    assert np.corrcoef(found, exact)[0, 1] > 0.9
