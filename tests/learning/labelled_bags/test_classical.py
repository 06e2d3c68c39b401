"""Bags for every estimator of scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import milinfer as mil
from milinfer.datasets import witness_bags
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.learning import BagSummary, InstanceWrapper

BAGS, LABELS, KINDS = witness_bags.witness_bags("or", 200, seed=1)
TEST, TEST_LABELS, TEST_KINDS = witness_bags.witness_bags("or", 200, seed=2)


@parametrize_with_checks(
    [
        BagSummary(),
        InstanceWrapper(LogisticRegression(max_iter=1000)),
        InstanceWrapper(LinearRegression()),
    ]
)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def test_summaries_are_what_numpy_says():
    found = BagSummary().fit_transform(BAGS)
    for row, bag in zip(found, BAGS, strict=True):
        parts = [bag.mean(0), bag.max(0), bag.min(0), bag.std(0), [len(bag)]]
        np.testing.assert_allclose(row, np.concatenate(parts), atol=1e-12)


def test_summaries_have_names():
    frames = [pd.DataFrame(bag, columns=list("abcd")) for bag in BAGS]
    summary = BagSummary(("size", "max")).set_output(transform="pandas").fit(frames)
    assert list(summary.transform(frames).columns) == ["size", "max_a", "max_b", "max_c", "max_d"]
    with pytest.raises(SampleError, match="feature names should match"):
        summary.transform([f[list("dcba")] for f in frames])
    assert list(BagSummary(("std",)).fit(BAGS).get_feature_names_out())[:2] == ["std_x0", "std_x1"]


def test_a_pipeline_classifies_bags():
    model = make_pipeline(BagSummary(("max",)), HistGradientBoostingClassifier(max_iter=20))
    assert np.mean(cross_val_score(model, BAGS, LABELS, cv=3)) > 0.95
    weighted = model.fit(BAGS, LABELS, histgradientboostingclassifier__sample_weight=LABELS + 1.0)
    assert weighted.score(TEST, TEST_LABELS) > 0.95


def test_instances_vote():
    """The bag has the largest, smallest or mean probability of its instances."""
    for pooling, function in (("mean", np.mean), ("max", np.max), ("min", np.min)):
        model = InstanceWrapper(KNeighborsClassifier(15), pooling).fit(BAGS, LABELS)
        found = model.predict_proba(TEST)[:, 1]
        expected = [function(model.estimator_.predict_proba(bag)[:, 1]) for bag in TEST]
        np.testing.assert_allclose(found, expected)
    named = np.array(["no", "yes"])[LABELS]
    model = InstanceWrapper(LogisticRegression(), "max").fit(BAGS, named)
    ranks = mil.learning.first_accuracy(model.instance_predictions(TEST), TEST_KINDS)
    assert ranks.value > 0.9
    assert set(model.predict(TEST)) <= {"no", "yes"}
    truth = np.array(["no", "yes"])[TEST_LABELS]
    assert model.score(TEST, truth) == np.mean(model.predict(TEST) == truth)
    assert roc_auc_score(TEST_LABELS, model.predict_proba(TEST)[:, 1]) > 0.95


def test_instances_of_a_regression_and_of_three_classes():
    means = np.array([bag[:, 0].mean() for bag in BAGS])
    model = InstanceWrapper(LinearRegression()).fit(BAGS, means)
    expected = [model.estimator_.predict(bag).mean() for bag in TEST]
    np.testing.assert_allclose(model.predict(TEST), expected)
    assert model.instance_predictions(TEST)[0].shape == (len(TEST[0]),)
    assert not hasattr(model, "predict_proba")
    three = np.arange(200) % 3
    probabilities = InstanceWrapper(LogisticRegression()).fit(BAGS, three).predict_proba(TEST)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    with pytest.raises(ConfigurationError, match="but there are 3 classes"):
        InstanceWrapper(LogisticRegression(), "max").fit(BAGS, three)


def test_the_weight_of_a_bag_is_that_of_its_instances():
    weights = np.where(LABELS, 5.0, 1.0)
    copies = np.repeat(np.arange(200), weights.astype(int))
    weighted = InstanceWrapper(LogisticRegression(tol=1e-10)).fit(BAGS, LABELS, weights)
    repeated = InstanceWrapper(LogisticRegression(tol=1e-10)).fit(
        [BAGS[b] for b in copies], LABELS[copies]
    )
    np.testing.assert_allclose(
        weighted.predict_proba(TEST), repeated.predict_proba(TEST), atol=1e-4
    )


def test_what_cannot_work_is_refused():
    for summaries in (("median",), (), "mean"):
        with pytest.raises(ConfigurationError, match="must list some of mean, max"):
            BagSummary(summaries).fit(BAGS)
    with pytest.raises(ConfigurationError, match="pooling='sum' is not one of mean, max, min"):
        InstanceWrapper(LogisticRegression(), "sum").fit(BAGS, LABELS)
    with pytest.raises(ConfigurationError, match="LinearSVC has no predict_proba"):
        InstanceWrapper(LinearSVC()).fit(BAGS, LABELS)
    with pytest.raises(ConfigurationError, match="KNeighborsClassifier accepts no sample_weight"):
        InstanceWrapper(KNeighborsClassifier()).fit(BAGS, LABELS, np.ones(200))
