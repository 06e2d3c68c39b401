"""Measures of key instances, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import milinfer as mil
from milinfer.exceptions import SampleError

RNG = np.random.default_rng(8)
SIZES = RNG.integers(2, 9, 50)
TRUTH = [RNG.integers(0, 3, n) for n in SIZES]
VALUES = [t + RNG.normal(0, 2, len(t)).round() for t in TRUTH]  # with ties on both sides


def test_rank_accuracy_is_the_mean_of_spearmans_correlation():
    found = mil.learning.rank_accuracy(VALUES, TRUTH)
    judged = [b for b in range(50) if np.ptp(TRUTH[b]) > 0]
    expected = [
        spearmanr(VALUES[b], TRUTH[b]).statistic if np.ptp(VALUES[b]) else 0.0 for b in judged
    ]
    assert 40 < len(judged) < 50
    np.testing.assert_allclose(found.of_bags[judged], expected)
    assert np.isnan(np.delete(found.of_bags, judged)).all()
    assert found.value == pytest.approx(np.mean(expected))
    assert found.error == pytest.approx(np.std(expected, ddof=1) / np.sqrt(len(judged)))


def test_the_ends_of_the_scale():
    assert mil.learning.rank_accuracy([t**3 for t in TRUTH], TRUTH).value == pytest.approx(1)
    assert mil.learning.rank_accuracy([-t for t in TRUTH], TRUTH).value == pytest.approx(-1)
    assert mil.learning.rank_accuracy([0 * t for t in TRUTH], TRUTH).value == 0
    assert mil.learning.first_accuracy(TRUTH, TRUTH).value == 1


def test_first_accuracy_counts_key_instances_that_come_first():
    values, truth = [[0.2, 0.8], [0.9, 0.1], [0.5, 0.5], [1.0]], [[0, 1], [0, 1], [1, 0], [1]]
    found = mil.learning.first_accuracy(values, truth)
    np.testing.assert_array_equal(found.of_bags, [1, 0, 1, np.nan])
    assert found.value == pytest.approx(2 / 3)


def test_contributions_of_a_regression_rank_the_instances():
    """The label is the mean of the first number: contributions know it, attention need not."""
    bags = [RNG.uniform(size=(n, 2)) for n in RNG.integers(2, 7, 300)]
    truth = [bag[:, 0] for bag in bags]
    labels = np.array([t.mean() for t in truth])
    model = mil.BagRegressor("mean", hidden=(16,), epochs=40, learning_rate=0.02)
    contributions = model.fit(bags, labels).instance_contributions(bags)
    assert mil.learning.rank_accuracy(contributions, truth).value > 0.95


@pytest.mark.parametrize(
    ("values", "truth", "message"),
    [
        ([[1.0]], [[1.0], [2.0]], "values has 1 bags, but truth has 2"),
        ([[1.0, 2.0], [1.0]], [[1.0, 2.0], [1.0, 2.0]], r"bag 1: values has shape \(1,\)"),
        ([[[1.0], [2.0]]], [[1.0, 2.0]], "bag 0: values has shape"),
        ([[1.0, np.nan]], [[1.0, 2.0]], "bag 0: a number in values or truth is NaN"),
        ([[1.0, 2.0], [3.0]], [[1.0, 1.0], [2.0]], "cannot be evaluated"),
    ],
)
def test_what_cannot_be_judged_is_refused(values, truth, message):
    for measure in (mil.learning.rank_accuracy, mil.learning.first_accuracy):
        with pytest.raises(SampleError, match=message):
            measure(values, truth)
