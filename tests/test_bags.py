"""Grouping of events into bags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.exceptions import SampleError
from milinfer.samples.bags import bag_offsets, draw_bags
from milinfer.samples.weights import effective_sample_size


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


def test_effective_sample_size():
    assert effective_sample_size(np.full(10, 3.0)) == pytest.approx(10)
    assert effective_sample_size(np.ones(100), 10) == pytest.approx(10)
    mixed = np.array([1.0] * 9 + [-1.0])
    assert effective_sample_size(mixed, 5) == pytest.approx(10 / 5 * 0.8**10)
