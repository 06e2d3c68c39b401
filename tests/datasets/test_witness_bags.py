"""Bags with witnesses: labels follow the rule, and who can learn it learns it."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets.witness_bags import witness_bags
from milinfer.exceptions import ConfigurationError

RULES = {"or": np.logical_or, "and": np.logical_and, "xor": np.logical_xor}


@pytest.mark.parametrize("rule", RULES)
def test_labels_follow_the_rule(rule):
    bags, labels, kinds = witness_bags(rule, 300, sizes=(2, 6), n_features=3, seed=4)
    counts = np.array([[np.sum(k == which) for which in (1, 2)] for k in kinds])
    assert counts.max() == 1
    np.testing.assert_array_equal(labels, RULES[rule](*counts.T))
    assert labels.mean() == 0.5
    # Every combination is there, in equal shares among bags of its label.
    combinations, numbers = np.unique(counts, axis=0, return_counts=True)
    assert len(combinations) == 4
    of_label = np.array([RULES[rule](*c) for c in combinations])
    for label in (False, True):
        np.testing.assert_allclose(numbers[of_label == label], 150 / np.sum(of_label == label))
    assert {len(bag) for bag in bags} == set(range(2, 7))
    assert [len(k) for k in kinds] == [len(bag) for bag in bags]


def test_witnesses_lie_apart():
    bags, _, kinds = witness_bags("or", 2000, distance=6.0, seed=5)
    instances, kind = np.concatenate(bags), np.concatenate(kinds)
    for which, center in enumerate(([0, 0, 0, 0], [6, 0, 0, 0], [0, 6, 0, 0])):
        of_kind = instances[kind == which]
        np.testing.assert_allclose(of_kind.mean(axis=0), center, atol=0.15)
        np.testing.assert_allclose(of_kind.std(axis=0), 1, atol=0.1)


def test_the_seed_decides():
    one, same, other = (witness_bags("and", 10, seed=s).bags[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "nand"}, "rule='nand' is not one of or, and, xor"),
        ({"n_bags": 0}, "n_bags=0"),
        ({"sizes": (1, 3)}, r"sizes=\(1, 3\)"),
        ({"n_features": 1}, "n_features=1"),
        ({"distance": np.inf}, "distance=inf"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        witness_bags(**{"rule": "or", "n_bags": 4, **options})


SETTINGS = {"hidden": (16,), "learning_rate": 0.01, "epochs": 50, "random_state": 1}


def accuracy(rule, pooling, **settings):
    train, test = (witness_bags(rule, n, sizes=(4, 8), seed=s) for n, s in ((800, 1), (400, 2)))
    model = mil.BagClassifier(pooling, **SETTINGS, **settings).fit(train.bags, train.labels)
    return model.score(test.bags, test.labels)


def test_who_can_learn_a_rule_learns_it():
    assert accuracy("or", "noisy-or") > 0.97
    assert accuracy("and", "max") > 0.97


@pytest.mark.early
def test_layers_after_the_pooling_learn_xor_of_sums():
    assert accuracy("xor", "sum") < 0.8
    assert accuracy("xor", "sum", bag_hidden=(16,)) > 0.95
