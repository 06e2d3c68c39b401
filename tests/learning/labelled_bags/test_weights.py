"""Weights of bags and of classes, and ensembles.

That scikit-learn agrees on weights is among its checks in test_estimators.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import milinfer as mil
from milinfer.exceptions import ConfigurationError, SampleError

QUICK = {"hidden": (8,), "epochs": 8, "learning_rate": 0.02, "batch_size": 32}
RNG = np.random.default_rng(11)
BAGS = [RNG.uniform(size=(n, 2)) for n in RNG.integers(1, 6, 120)]
LABELS = np.array([bag[:, 0].max() > 0.8 for bag in BAGS]).astype(int)
MEANS = np.array([bag[:, 0].mean() for bag in BAGS])
WEIGHTS = RNG.integers(0, 4, 120).astype(float)
KINDS = [(mil.BagClassifier(**QUICK), LABELS), (mil.BagRegressor("mean", **QUICK), MEANS)]
both = pytest.mark.parametrize(("model", "labels"), KINDS)


def outputs(model, bags):
    return getattr(model, "decision_function", model.predict)(bags)


# --- weights of bags -------------------------------------------------------------------------


@both
def test_a_weight_is_a_number_of_copies(model, labels):
    """To the bit, in any order; bags of weight zero are as if they were not there."""
    weighted = clone(model).fit(BAGS, labels, sample_weight=WEIGHTS)
    copies = np.random.default_rng(1).permutation(np.repeat(np.arange(120), WEIGHTS.astype(int)))
    repeated = clone(model).fit([BAGS[b] for b in copies], labels[copies])
    np.testing.assert_array_equal(outputs(weighted, BAGS), outputs(repeated, BAGS))
    some = np.flatnonzero(WEIGHTS)
    without = clone(model).fit([BAGS[b] for b in some], labels[some], WEIGHTS[some])
    np.testing.assert_array_equal(outputs(without, BAGS), outputs(weighted, BAGS))
    unweighted = clone(model).fit(BAGS, labels)
    assert not np.allclose(outputs(unweighted, BAGS), outputs(weighted, BAGS), rtol=1e-3)
    np.testing.assert_array_equal(
        outputs(clone(model).fit(BAGS, labels, np.ones(120)), BAGS), outputs(unweighted, BAGS)
    )


@both
def test_only_ratios_of_weights_matter(model, labels):
    one, other = (clone(model).fit(BAGS, labels, WEIGHTS * f) for f in (1.0, 2.0**40))
    np.testing.assert_allclose(outputs(other, BAGS), outputs(one, BAGS), rtol=1e-4, atol=1e-4)


def test_the_loss_is_that_of_the_weights():
    """Of bags that all look alike, the optimum is the weighted mean of what they should give."""
    noise = np.random.default_rng(2).normal(0, 1e-9, (400, 1, 1))
    y = np.arange(400) % 2
    weights = np.where(y, 3.0, 1.0)
    model = mil.BagClassifier(**{**QUICK, "epochs": 60}).fit(noise, y, weights)
    mean = np.mean(model.predict_proba(noise)[:, 1])
    assert mean == pytest.approx(0.75, abs=0.05)
    regressor = mil.BagRegressor("mean", **QUICK).fit(noise, y, weights)
    assert regressor.y_mean_ == pytest.approx(0.75)
    assert np.mean(regressor.predict(noise)) == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(119), r"shape \(119,\); 120 bags need \(120,\)"),
        (np.ones((120, 1)), r"shape \(120, 1\)"),
        (np.where(np.arange(120) == 7, -1.0, 1.0), "sample_weight of bag 7 is -1.0"),
        (np.where(np.arange(120) == 7, np.nan, 1.0), "sample_weight of bag 7 is nan"),
        (np.zeros(120), "zero for all bags"),
        (["much"] * 120, "not a list of numbers"),
        (np.arange(120) == 5, "one bag, not counting copies"),
    ],
)
def test_weights_that_cannot_work_are_refused(weights, message):
    with pytest.raises(SampleError, match=message):
        mil.BagRegressor("mean", **QUICK).fit(BAGS, MEANS, sample_weight=weights)


def test_weights_are_routed_through_searches():
    with sklearn.config_context(enable_metadata_routing=True):
        model = mil.BagClassifier(**{**QUICK, "epochs": 2})
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"epochs": [1, 2]}, cv=2, refit=True)
        search.fit(BAGS, LABELS, sample_weight=WEIGHTS + 1)
    expected = clone(model).set_params(**search.best_params_).fit(BAGS, LABELS, WEIGHTS + 1)
    np.testing.assert_array_equal(search.predict_proba(BAGS), expected.predict_proba(BAGS))


# --- weights of classes ----------------------------------------------------------------------


def test_weights_of_classes_are_weights_of_their_bags():
    named = np.array(["none", "some"])[LABELS]
    by_class = mil.BagClassifier(**QUICK, class_weight={"none": 1, "some": 4}).fit(BAGS, named)
    by_bag = mil.BagClassifier(**QUICK).fit(BAGS, named, np.where(LABELS, 4.0, 1.0))
    # All but the standardisation of the features, which knows weights of bags alone.
    difference = by_class.predict_proba(BAGS) - by_bag.predict_proba(BAGS)
    assert np.max(np.abs(difference)) < 0.05
    plain = mil.BagClassifier(**QUICK).fit(BAGS, named)
    assert np.mean(by_class.predict_proba(BAGS) - plain.predict_proba(BAGS), axis=0)[1] > 0.1


def test_balanced_classes_count_alike_with_the_weights_of_bags():
    totals = np.bincount(LABELS, WEIGHTS)
    weights = {c: WEIGHTS.sum() / (2 * totals[c]) for c in (0, 1)}
    given = mil.BagClassifier(**QUICK, class_weight=weights).fit(BAGS, LABELS, WEIGHTS)
    balanced = mil.BagClassifier(**QUICK, class_weight="balanced").fit(BAGS, LABELS, WEIGHTS)
    np.testing.assert_array_equal(balanced.predict_proba(BAGS), given.predict_proba(BAGS))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("even", "class_weight='even' is neither 'balanced' nor a dictionary"),
        ({0: 1.0, 7: 2.0}, "class_weight="),
        ({0: 0.0}, "positive, finite weights"),
        (3.0, "class_weight=3.0"),
    ],
)
def test_weights_of_classes_that_cannot_work_are_refused(weights, message):
    with pytest.raises(ConfigurationError, match=message):
        mil.BagClassifier(**QUICK, class_weight=weights).fit(BAGS, LABELS)


# --- ensembles -------------------------------------------------------------------------------


def members(model):
    """Each member as a model of its own."""
    single = []
    for network in model.networks_:
        single.append(clone(model).set_params(ensemble=1))
        vars(single[-1]).update({k: v for k, v in vars(model).items() if k.endswith("_")})
        single[-1].networks_ = [network]
    return single


def test_an_ensemble_of_classifiers_averages_probabilities_and_weights():
    model = mil.BagClassifier(**QUICK, ensemble=3).fit(BAGS, LABELS)
    single = members(model)
    mean = np.mean([m.predict_proba(BAGS) for m in single], axis=0)
    np.testing.assert_allclose(model.predict_proba(BAGS), mean, rtol=1e-12)
    np.testing.assert_allclose(model.decision_function(BAGS), logit(mean[:, 1]), atol=1e-9)
    np.testing.assert_array_equal(model.predict(BAGS), model.classes_[np.argmax(mean, axis=1)])
    for b, weights in enumerate(model.instance_weights(BAGS)):
        parts = [m.instance_weights([BAGS[b]])[0] for m in single]
        np.testing.assert_allclose(weights, np.mean(parts, axis=0), rtol=1e-9)
        np.testing.assert_allclose(weights.sum(), 1)
    sums = np.array([c.sum() for c in model.instance_contributions(BAGS)])
    rest = np.mean([m.decision_function(BAGS) for m in single], axis=0) - sums
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)
    spread = np.std([m.predict_proba(BAGS)[:, 1] for m in single], axis=0)
    assert np.all(spread > 0)


def test_ensembles_of_three_classes_and_of_regressors():
    classes = np.digitize(MEANS, [0.4, 0.6])
    model = mil.BagClassifier("mean", **QUICK, ensemble=2).fit(BAGS, classes)
    mean = np.mean([m.predict_proba(BAGS) for m in members(model)], axis=0)
    np.testing.assert_allclose(model.predict_proba(BAGS), mean, rtol=1e-12)
    regressor = mil.BagRegressor("mean", **QUICK, ensemble=2).fit(BAGS, MEANS)
    mean = np.mean([m.predict(BAGS) for m in members(regressor)], axis=0)
    np.testing.assert_allclose(regressor.predict(BAGS), mean, rtol=1e-12)
    sums = np.array([c.sum() for c in regressor.instance_contributions(BAGS)])
    np.testing.assert_allclose(np.ptp(regressor.predict(BAGS) - sums), 0, atol=1e-12)


def test_larger_ensembles_begin_with_the_members_of_smaller_ones():
    one, three = (mil.BagClassifier(**QUICK, ensemble=n).fit(BAGS, LABELS) for n in (1, 3))
    assert len(three.networks_) == len(three.histories_) == 3
    np.testing.assert_array_equal(
        members(three)[0].decision_function(BAGS), one.decision_function(BAGS)
    )
    assert three.histories_[0] == one.histories_[0]
    assert three.histories_[1] != one.histories_[0]


def test_surely_negative_bags_keep_their_digits_in_ensembles():
    model = mil.BagClassifier("noisy-or", **QUICK, ensemble=2).fit(BAGS, LABELS)
    far = [np.full((1, 2), -300.0)]
    logits = [m.decision_function(far)[0] for m in members(model)]
    assert min(logits) < -40
    expected = np.log(np.mean(expit(logits)))
    assert model.decision_function(far)[0] == pytest.approx(expected, rel=1e-9)
