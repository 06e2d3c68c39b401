"""What networks are trained on: bags and what belongs to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from milinfer.datasets import quadratic
from milinfer.learning.networks.backend import keras
from milinfer.learning.networks.training_bags import ClassBags, PairBags
from milinfer.samples.reweighting import joint_targets
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

SIGMAS = 4


def numbered(sizes, values, weights=None):
    """Samples whose only feature is the number of the event."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return SampleSet(
        tuple(
            Sample(
                np.arange(a, a + n)[:, None],
                ("i",),
                point=dict(zip(("a", "b"), np.atleast_1d(v).tolist(), strict=False)),
                weights=None if weights is None else weights[a : a + n],
            )
            for a, n, v in zip(starts, sizes, values, strict=False)
        )
    )


def drawn(bags, seed=1):
    return bags.draw(np.random.default_rng(seed))


def tensors(bags, epoch):
    inputs, targets = bags.batch(epoch.index, epoch.labels, epoch.theta)
    return tuple(np.asarray(keras.ops.convert_to_numpy(t)) for t in (inputs, targets))


# --- classes ----------------------------------------------------------------------------------


def test_every_event_is_used_once_an_epoch():
    bags = ClassBags(numbered([60, 90], [0.0, 1.0]), 5)
    epoch = drawn(bags)
    np.testing.assert_array_equal(np.sort(epoch.index, axis=None), np.arange(150))
    np.testing.assert_array_equal(epoch.labels, epoch.index[:, 0] >= 60)
    np.testing.assert_array_equal((epoch.index >= 60).all(axis=1), epoch.labels == 1)


def test_points_count_alike_however_many_events_they_have():
    weights = np.random.default_rng(1).uniform(0.5, 2, 200)
    for options in ({}, {"weights": weights}):
        epoch = drawn(ClassBags(numbered([40, 100, 60], [0, 1, 2], **options), 4))
        total = np.bincount(epoch.labels, epoch.weights)
        np.testing.assert_allclose(total, total.mean(), rtol=1e-5)
        assert epoch.weights.mean() == pytest.approx(1, rel=1e-6)
        assert epoch.weights.dtype == np.float32


def test_bags_of_one_event_carry_its_weight():
    weights = np.random.default_rng(1).uniform(-0.2, 2, 100)
    epoch = drawn(ClassBags(numbered([30, 70], [0, 1], weights=weights), 1))
    share = np.concatenate([weights[:30] / weights[:30].sum(), weights[30:] / weights[30:].sum()])
    np.testing.assert_allclose(epoch.weights, 50 * share[epoch.index[:, 0]], rtol=1e-5)


def test_hard_labels_are_the_number_of_the_sample():
    bags = ClassBags(numbered([10, 10, 10], [0, 1, 2]), 5)
    epoch = drawn(bags)
    inputs, targets = tensors(bags, epoch)
    np.testing.assert_array_equal(inputs[:, :, 0], epoch.index)
    np.testing.assert_array_equal(targets, np.eye(3)[epoch.labels])
    assert not epoch.theta.any()


POINTS = np.array([[-0.6], [0.0], [0.8]])
SAMPLES = quadratic.samples(120, [{"c1": v} for v in POINTS[:, 0].tolist()], seed=1)
JOINT = joint_targets(SAMPLES, POINTS, 2).targets
LOG_RATIO = np.concatenate([t.log_ratio for t in JOINT])
SCORE = np.concatenate([t.score for t in JOINT])


@pytest.mark.parametrize("bag_size", [1, 6])
def test_soft_labels_are_the_posterior_of_the_bag(bag_size):
    bags = ClassBags(SAMPLES, bag_size, JOINT, scores=True)
    epoch = drawn(bags)
    _, targets = tensors(bags, epoch)
    expected = softmax(LOG_RATIO[epoch.index].sum(axis=1), axis=1)
    np.testing.assert_allclose(targets[:, :3], expected, rtol=1e-4, atol=1e-6)
    scores = SCORE[epoch.index].sum(axis=1).reshape(len(targets), -1)
    np.testing.assert_allclose(targets[:, 3:], scores, rtol=1e-5, atol=1e-4)


def test_soft_labels_average_to_the_hard_ones():
    # Over the even mixture, a posterior averages to the prior.
    samples = quadratic.samples(20_000, [{"c1": v} for v in POINTS[:, 0].tolist()], seed=2)
    bags = ClassBags(samples, 4, joint_targets(samples, POINTS, 2).targets)
    _, targets = tensors(bags, drawn(bags))
    error = targets.std(axis=0) / np.sqrt(len(targets))
    assert np.all(np.abs(targets.mean(axis=0) - 1 / 3) < SIGMAS * error)


def test_constants_of_events_do_not_cost_digits():
    shifted = [t._replace(log_ratio=t.log_ratio + 1e6) for t in JOINT]
    epoch = drawn(ClassBags(SAMPLES, 6, JOINT))
    one, other = (tensors(ClassBags(SAMPLES, 6, j), epoch)[1] for j in (JOINT, shifted))
    np.testing.assert_allclose(other, one, atol=1e-6)


def test_hard_labels_with_scores():
    bags = ClassBags(SAMPLES, 3, JOINT, scores=True, hard=True)
    epoch = drawn(bags)
    _, targets = tensors(bags, epoch)
    np.testing.assert_array_equal(targets[:, :3], np.eye(3)[epoch.labels])
    assert targets.shape == (120, 6)
    assert tensors(ClassBags(SAMPLES, 3, JOINT, hard=True), epoch)[1].shape == (120, 3)


def test_scores_of_several_parameters_follow_point_by_point():
    samples = quadratic.samples(40, [{"c1": 0.0, "c2": 0.0}], seed=3)
    points = np.array([[0.0, 0.0], [0.5, 0.1], [0.0, -1.0]])
    joint = joint_targets(samples, points, 2).targets
    bags = ClassBags(samples, 1, joint, scores=True)
    epoch = drawn(bags)
    _, targets = tensors(bags, epoch)
    assert bags.n_classes == 3
    scores = targets[:, 3:].reshape(-1, 3, 2)
    np.testing.assert_allclose(scores, joint[0].score[epoch.index[:, 0]], rtol=1e-5, atol=1e-5)


def test_single_events_carry_their_weight_in_the_even_mixture():
    samples = quadratic.samples(120, [{"c1": 0.0}, {"c1": 0.8}], seed=1)
    joint = joint_targets(samples, POINTS, 2).targets
    epoch = drawn(ClassBags(samples, 1, joint))
    weights = np.concatenate([t.weights for t in joint])
    np.testing.assert_allclose(
        epoch.weights, weights[epoch.index[:, 0]] / weights.mean(), rtol=1e-5
    )


# --- pairs ------------------------------------------------------------------------------------

VALUES = np.array([-0.3, -0.1, 0.0, 0.1, 0.2, 0.9])
REFERENCE, SIZE = 2, 200


def pairs(values=VALUES, reference=REFERENCE, bag_size=4, **options):
    points = np.asarray(values, float).reshape(len(values), -1)
    samples = numbered([SIZE] * len(points), points)
    return PairBags(samples, points, reference, bag_size, **options)


def sample_of(epoch):
    """Number of the sample of each bag."""
    number = epoch.index // SIZE
    assert np.all(number == number[:, :1])
    return number[:, 0]


@pytest.mark.parametrize("symmetric", [True, False])
def test_pairs_balance(symmetric):
    epoch = drawn(pairs(symmetric=symmetric))
    for k in np.unique(epoch.theta):
        at = epoch.theta == k
        positive, negative = (epoch.weights[at & (epoch.labels == y)].sum() for y in (1, 0))
        assert positive == pytest.approx(negative, rel=1e-5)
    assert set(epoch.theta) == set(range(6)) - (set() if symmetric else {REFERENCE})
    total = np.bincount(epoch.theta, epoch.weights)
    np.testing.assert_allclose(total[total > 0], total.max(), rtol=1e-5)
    assert epoch.weights.mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_pairs_belong_together_or_not(symmetric):
    epoch = drawn(pairs(symmetric=symmetric))
    number, positive = sample_of(epoch), epoch.labels == 1
    np.testing.assert_array_equal(number[positive], epoch.theta[positive])
    assert not np.any(number[~positive] == epoch.theta[~positive])
    elsewhere = ~positive & (epoch.theta != REFERENCE)
    assert np.all(number[elsewhere] == REFERENCE)


@pytest.mark.parametrize(
    ("values", "reference", "shares"),
    [
        (VALUES, 2, {1: 0.3, 3: 0.3, 4: 0.2, 0: 0.2}),
        ([-0.1, 0.0, 0.1, 0.2], 1, {0: 3 / 8, 2: 3 / 8, 3: 1 / 4}),
        ([0.0, 0.5], 0, {1: 1.0}),
        (
            [[0, 0], [1, 0], [0, 0.9], [2, 2], [-1.1, 0], [0, -1.2]],
            0,
            {2: 0.3, 1: 0.3, 4: 0.2, 5: 0.2},
        ),
    ],
)
def test_negatives_at_the_reference_are_neighbours(values, reference, shares):
    epoch = drawn(pairs(values, reference, bag_size=2))
    at = (epoch.theta == reference) & (epoch.labels == 0)
    weight = np.bincount(sample_of(epoch)[at], epoch.weights[at], minlength=len(values))
    count = np.bincount(sample_of(epoch)[at], minlength=len(values))
    for k in range(len(values)):
        assert weight[k] / weight.sum() == pytest.approx(shares.get(k, 0), rel=1e-5)
        assert count[k] == pytest.approx(100 * shares.get(k, 0), abs=0.6)


def test_every_event_sees_its_theta():
    bags = pairs([[0.0, 0.0], [0.5, -1.0], [1.0, 0.25]], 0)
    epoch = drawn(bags)
    inputs, targets = tensors(bags, epoch)
    points = np.array([[0.0, 0.0], [0.5, -1.0], [1.0, 0.25]])
    np.testing.assert_array_equal(inputs[:, :, 0], epoch.index)
    np.testing.assert_array_equal(
        inputs[:, :, 1:], np.repeat(points[epoch.theta][:, None], 4, axis=1)
    )
    np.testing.assert_array_equal(targets, np.eye(2)[epoch.labels])


def test_signed_weights_keep_the_balance():
    rng = np.random.default_rng(1)
    samples = numbered([1000] * 3, [-1.0, 0.0, 1.0])
    signed = SampleSet(
        tuple(replace(s, weights=rng.choice([1.0, 1.0, 1.0, 1.0, -1.0], 1000)) for s in samples)
    )
    epoch = drawn(PairBags(signed, np.array([[-1.0], [0.0], [1.0]]), 1, 1))
    positive = epoch.weights[epoch.labels == 1].sum()
    negative = epoch.weights[epoch.labels == 0].sum()
    assert (epoch.weights < 0).any()
    assert positive == pytest.approx(negative, rel=0.05)


# --- both -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bags", [ClassBags(numbered([100, 100], [0, 1]), 5), pairs()], ids=["classes", "pairs"]
)
def test_draws_follow_the_seed_and_differ_between_epochs(bags):
    one, same, other = drawn(bags), drawn(bags), drawn(bags, 2)
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.index, other.index)
    rng = np.random.default_rng(1)
    first, second = bags.draw(rng), bags.draw(rng)
    assert not np.array_equal(np.sort(first.index, axis=1), np.sort(second.index, axis=1))
    assert len(first.index) == len(second.index)
