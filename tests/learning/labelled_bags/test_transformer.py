"""Transformers of scikit-learn on the instances of bags."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import milinfer as mil
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.learning import InstanceTransformer

RNG = np.random.default_rng(4)
BAGS = [RNG.normal(2, 3, size=(n, 2)) for n in RNG.integers(1, 5, 30)]
FRAMES = [
    pd.DataFrame(bag, columns=["pt", "eta"], index=[f"{b}.{i}" for i in range(len(bag))])
    for b, bag in enumerate(BAGS)
]
SCALED = StandardScaler().fit(np.concatenate(BAGS))


@parametrize_with_checks([InstanceTransformer(StandardScaler())])
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def test_bags_and_tables_are_transformed_alike():
    model = InstanceTransformer(StandardScaler()).fit(BAGS)
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    for one, bag in zip(model.transform(BAGS), BAGS, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_allclose(one, SCALED.transform(bag))
    table = model.transform(np.concatenate(BAGS))
    np.testing.assert_array_equal(table, np.concatenate(model.transform(BAGS)))
    with pytest.raises(SampleError, match="X has 1 features, but InstanceTransformer is expec"):
        model.transform([bag[:, :1] for bag in BAGS])


def test_output_is_in_named_tables_with_the_index_of_each_bag():
    model = InstanceTransformer(StandardScaler()).set_output(transform="pandas")
    for fitted in (model.fit(FRAMES), clone(model).fit(FRAMES)):
        for one, frame in zip(fitted.transform(FRAMES), FRAMES, strict=True):
            expected = pd.DataFrame(SCALED.transform(frame.to_numpy()), frame.index, frame.columns)
            pd.testing.assert_frame_equal(one, expected)
    arrays = clone(model).fit(BAGS).transform(BAGS)
    assert list(arrays[3].columns) == ["x0", "x1"]
    assert list(arrays[3].index) == list(range(len(BAGS[3])))
    plain = model.set_output(transform="default").transform(FRAMES)
    assert isinstance(plain[0], np.ndarray)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(InstanceTransformer(PCA(1)).fit_transform(FRAMES)[0], pd.DataFrame)


def test_names_are_checked_and_changed_as_the_inner_transformer_says():
    model = InstanceTransformer(PCA(1)).fit(FRAMES)
    assert list(model.feature_names_in_) == ["pt", "eta"]
    assert list(model.get_feature_names_out()) == ["pca0"]
    same = InstanceTransformer(StandardScaler()).fit(FRAMES)
    assert list(same.get_feature_names_out()) == ["pt", "eta"]
    with pytest.raises(SampleError, match="feature names should match"):
        model.transform([f[["eta", "pt"]] for f in FRAMES])


def test_columns_are_chosen_by_name():
    inner = make_column_transformer((StandardScaler(), ["eta"]), remainder="passthrough")
    done = InstanceTransformer(inner).fit_transform(FRAMES)
    np.testing.assert_allclose(done[2][:, 0], SCALED.transform(BAGS[2])[:, 1])
    np.testing.assert_array_equal(done[2][:, 1], BAGS[2][:, 0])


def test_a_pipeline_hands_names_on():
    labels = np.arange(30) % 2
    model = make_pipeline(
        InstanceTransformer(StandardScaler()), mil.BagClassifier(hidden=(4,), epochs=1)
    )
    model.set_output(transform="pandas").fit(FRAMES, labels)
    assert list(model[-1].feature_names_in_) == ["pt", "eta"]
    assert list(model[:-1].get_feature_names_out()) == ["pt", "eta"]


def test_sparse_results_become_tables():
    bags = [np.array([[0.0], [1.0]]), np.array([[2.0]])]
    done = InstanceTransformer(OneHotEncoder()).fit_transform(bags)
    np.testing.assert_array_equal(done[0], [[1, 0, 0], [0, 1, 0]])


def test_a_transformer_without_named_output_is_refused():
    class Plain(sklearn.base.BaseEstimator):
        def fit(self, X):  # noqa: ARG002
            return self

        def transform(self, X):
            return X

    model = InstanceTransformer(Plain()).set_output(transform="pandas")
    with pytest.raises(ConfigurationError, match="Plain has no set_output"):
        model.fit(BAGS)
    assert InstanceTransformer(FunctionTransformer(np.abs)).fit_transform(BAGS)[0].min() >= 0
