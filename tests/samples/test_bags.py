"""Grouping of events into bags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.datasets import gaussian
from milinfer.exceptions import ParameterError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.samples.bags import bag_log_ratio, bag_offsets, draw_bags, listed_bags
from milinfer.samples.sample import Sample
from milinfer.samples.weights import effective_number


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 20), st.sampled_from([1.0, 2.5]), st.integers(0, 99))
def test_events_of_equal_weight_are_used_once(n_events, bag_size, weight, seed):
    if n_events < bag_size:
        return
    draw = draw_bags(np.full(n_events, weight), bag_size, np.random.default_rng(seed))
    assert draw.index.shape == (n_events // bag_size, bag_size)
    assert len(np.unique(draw.index)) == draw.index.size
    assert np.all(draw.weights == 1)


def test_leftover_events_get_their_turn():
    rng = np.random.default_rng(1)
    used = {int(i) for _ in range(200) for i in draw_bags(np.ones(7), 3, rng).index.ravel()}
    assert used == set(range(7))


def test_signed_weights_are_unbiased():
    """E over weighted bags of Π f(x_i) is (Σ w f / Σ w)^N_B."""
    rng = np.random.default_rng(2)
    weights = rng.normal(1, 0.6, 2_000)
    values = rng.random(2_000)
    draw = draw_bags(weights, 3, rng, n_bags=400_000)
    product = draw.weights * np.prod(values[draw.index], axis=1)
    expected = (weights @ values / weights.sum()) ** 3
    assert abs(product.mean() - expected) < 4 * product.std() / np.sqrt(len(product))
    assert np.any(draw.weights < 0)


def test_too_few_events_are_an_error():
    with pytest.raises(SampleError, match="3 events cannot fill one bag of 5"):
        draw_bags(np.ones(3), 5, np.random.default_rng(1))
    with pytest.raises(SampleError, match="positive sum"):
        draw_bags(np.array([1.0, -2.0, 0.5]), 1, np.random.default_rng(1))


@given(st.integers(1, 100), st.integers(1, 30))
def test_offsets_lose_nothing(n_events, bag_size):
    sizes = np.diff(bag_offsets(n_events, bag_size))
    assert sizes.sum() == n_events
    assert np.all(sizes[:-1] == bag_size)
    assert 0 < sizes[-1] <= bag_size


def test_effective_number():
    assert effective_number(np.full(10, 3.0)) == pytest.approx(10)
    assert effective_number(np.ones(100), 10) == pytest.approx(10)
    mixed = np.array([1.0] * 9 + [-1.0])
    assert effective_number(mixed, 5) == pytest.approx(10 / 5 * 0.8**10)


def test_a_bag_is_the_sum_over_its_events():
    ratios = np.random.default_rng(1).normal(size=(10, 3))
    by_hand = [ratios[a:b].sum(axis=0) for a, b in ((0, 4), (4, 8), (8, 10))]
    np.testing.assert_allclose(bag_log_ratio(ratios, bag_offsets(10, 4)), by_hand)
    np.testing.assert_allclose(
        bag_log_ratio(ratios[:, 0], bag_offsets(10, 4)), np.array(by_hand)[:, 0]
    )


def test_empty_bags_and_events_outside_add_nothing():
    out = bag_log_ratio([100.0, 1.0, 2.0, 3.0, 100.0], [1, 1, 3, 3, 4, 4])
    np.testing.assert_array_equal(out, [0, 3, 0, 3, 0])
    assert bag_log_ratio(np.zeros((0, 2)), [0, 0]).shape == (1, 2)
    assert bag_log_ratio([1.0], [0]).shape == (0,)


def test_sums_are_in_float64():
    ratios = np.full(1_000_000, 0.1, dtype=np.float32)
    expected = 1e6 * float(np.float32(0.1))
    np.testing.assert_allclose(bag_log_ratio(ratios, [0, len(ratios)]), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("ratios", "offsets", "match"),
    [
        (np.zeros(3), [0, 4], "at most 3 events"),
        (np.zeros(3), [2, 1], "must ascend"),
        (np.zeros(3), [-1, 2], "must ascend"),
        (np.zeros(3), [], "n_bags"),
        (np.zeros(3), [0.0, 3.0], "float64"),
        (np.zeros((1, 1, 1)), [0, 1], "n_events"),
    ],
)
def test_offsets_that_make_no_bags_are_refused(ratios, offsets, match):
    with pytest.raises(ParameterError, match=match):
        bag_log_ratio(ratios, offsets)


def test_the_event_ratio_of_a_bag_network_composes_to_its_bag_ratio():
    """`BagLikelihood.event_llr` is f_{N→1}: summed over a bag it is the log-ratio of the bag."""
    samples = gaussian.samples(500, [0.0, 0.5], seed=3)
    model = BagLikelihood(
        head="multiclass",
        bag_size=4,
        seed=1,
        network=NetworkConfig(hidden=(8,), batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(epochs=1, batch_events=400),
        degree=None,
        normalise=False,
    ).fit(samples)
    data = gaussian.generate(40, 0.2, seed=4)
    bags = data.features.reshape(10, 4, 1)
    logits = np.asarray(
        model.fitted.members[0][0].keras.bag_model(bags, training=False), dtype=float
    )
    composed = bag_log_ratio(model.event_llr(data), bag_offsets(40, 4))
    np.testing.assert_allclose(composed, logits - logits[:, :1], rtol=1e-4, atol=1e-5)
    assert np.ptp(composed[:, 1]) > 0


def test_a_listed_bag_holds_its_events_in_order():
    events = gaussian.generate(11, 0.5, seed=1, n_features=2)
    bags = listed_bags(events, 3)
    assert bags.feature_names == ("x0[0]", "x1[0]", "x0[1]", "x1[1]", "x0[2]", "x1[2]")
    np.testing.assert_array_equal(bags.features, events.features[:9].reshape(3, 6))
    assert bags.point == events.point
    ordered = listed_bags(events, 3, sort_by="x1")
    for row, bag in zip(ordered.features, events.features[:9].reshape(3, 3, 2), strict=True):
        np.testing.assert_array_equal(row.reshape(3, 2), bag[np.argsort(-bag[:, 1])])


def test_lists_of_events_that_cannot_be_are_refused():
    events = gaussian.generate(4, 0.5, seed=1)
    with pytest.raises(SampleError, match="4 events do not fill one bag of 5"):
        listed_bags(events, 5)
    with pytest.raises(SampleError, match="do not fill one bag of 0"):
        listed_bags(events, 0)
    with pytest.raises(SampleError, match="the weights of the events differ"):
        listed_bags(Sample(np.zeros((2, 1)), ("x",), np.array([1.0, 2.0])), 2)
    with pytest.raises(SampleError, match="no feature 'y'"):
        listed_bags(events, 2, sort_by="y")
