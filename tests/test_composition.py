"""Bags from events (f_{1→N}) and events from bags (f_{N→1})."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.bags import bag_offsets
from milinfer.composition import bag_log_ratio
from milinfer.datasets import gaussian
from milinfer.exceptions import ParameterError
from milinfer.likelihood import BagLikelihood
from milinfer.networks import NetworkConfig
from milinfer.training import TrainingConfig


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
        bag_size=4,
        seed=1,
        network=NetworkConfig(hidden=(8,), batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(epochs=1, batch_events=400),
        degree=None,
    ).fit(samples)
    data = gaussian.generate(40, 0.2, seed=4)
    bags = data.features.reshape(10, 4, 1)
    logits = np.asarray(model.fitted.members[0][0].bag_model(bags, training=False), dtype=float)
    composed = bag_log_ratio(model.event_llr(data), bag_offsets(40, 4))
    np.testing.assert_allclose(composed, logits - logits[:, :1], rtol=1e-4, atol=1e-5)
    assert np.ptp(composed[:, 1]) > 0
