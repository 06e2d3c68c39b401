"""Estimators of labelled bags: the interface of scikit-learn, invariances, and what they find."""

from __future__ import annotations

import pickle
import subprocess
import sys

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_classifier_not_supporting_multiclass,
    check_classifiers_classes,
    check_classifiers_train,
    check_estimators_dtypes,
    parametrize_with_checks,
)

import milinfer as mil
from milinfer.exceptions import ConfigurationError, ModelError, SampleError
from milinfer.learning.networks.pooling import POOLINGS

SMALL = {"hidden": (16,), "epochs": 60, "learning_rate": 0.02}
few_examples = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def bags_with_a_large_number(n, seed, largest=6):
    """Bags of one to `largest` pairs of numbers; positive where one has a large first number."""
    rng = np.random.default_rng(seed)
    bags = [rng.uniform(size=(size, 2)) for size in rng.integers(1, largest + 1, n)]
    return bags, np.array([bag[:, 0].max() > 0.8 for bag in bags]).astype(int)


TRAIN, LABELS = bags_with_a_large_number(300, 1)
TEST, TEST_LABELS = bags_with_a_large_number(200, 2)
MEANS = np.array([3 * bag[:, 0].mean() + 5 for bag in TRAIN])
TEST_MEANS = np.array([3 * bag[:, 0].mean() + 5 for bag in TEST])


@pytest.fixture(scope="module")
def classifiers():
    return {
        kind: mil.BagClassifier(kind, **SMALL, sharpness=5.0).fit(TRAIN, LABELS)
        for kind in POOLINGS
    }


@pytest.fixture(scope="module")
def regressors():
    # Classifiers show that every pooling learns.
    kinds = ("mean", "sum", "gated-attention")
    return {kind: mil.BagRegressor(kind, **SMALL).fit(TRAIN, MEANS) for kind in kinds}


# --- what they find --------------------------------------------------------------------------


@pytest.mark.early
def test_every_pooling_learns(classifiers, regressors):
    """A mean cannot tell one large number from some middling ones as well as the others can."""
    for kind, model in classifiers.items():
        least = 0.8 if kind in {"mean", "sum"} else 0.9
        assert model.score(TEST, TEST_LABELS) > least, kind
    for kind in ("mean", "gated-attention"):
        assert regressors[kind].score(TEST, TEST_MEANS) > 0.95, kind


@pytest.mark.early
@pytest.mark.parametrize("kind", ["attention", "noisy-or"])
def test_the_key_instance_is_the_large_number(kind, classifiers):
    model = classifiers[kind]
    positive = [bag for bag, label in zip(TEST, TEST_LABELS, strict=True) if label]
    first = [ranked[0] for ranked in model.key_instances(positive)]
    found = [bag[i, 0] > 0.8 for bag, i in zip(positive, first, strict=True)]
    assert np.mean(found) > 0.9


@pytest.mark.early
def test_weights_are_shares_of_attention_or_probabilities(classifiers):
    for kind in ("attention", "gated-attention"):
        for bag, weights in zip(TEST, classifiers[kind].instance_weights(TEST), strict=True):
            assert weights.shape == (len(bag),)
            assert np.all(weights > 0)
            assert np.sum(weights) == pytest.approx(1, rel=1e-12)
    model = classifiers["noisy-or"]
    expected = [1 - np.prod(1 - p) for p in model.instance_weights(TEST)]
    np.testing.assert_allclose(model.predict_proba(TEST)[:, 1], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.early
def test_contributions_sum_to_the_prediction_but_for_a_constant(classifiers, regressors):
    for kind in ("mean", "sum", "attention", "gated-attention"):
        models = [(classifiers[kind], classifiers[kind].decision_function)]
        if kind in regressors:
            models.append((regressors[kind], regressors[kind].predict))
        for model, predict in models:
            sums = np.array([c.sum() for c in model.instance_contributions(TEST)])
            rest = predict(TEST) - sums
            np.testing.assert_allclose(rest, rest[0], rtol=1e-9, atol=1e-9)
            assert np.std(sums) > 0.1


@pytest.mark.early
def test_what_a_pooling_does_not_give_is_refused(classifiers, regressors):
    for kind in ("mean", "sum", "max", "log-sum-exp"):
        with pytest.raises(ConfigurationError, match=f"{kind} pooling gives instances no weights"):
            classifiers[kind].instance_weights(TEST)
    for kind in ("noisy-or", "max", "log-sum-exp"):
        with pytest.raises(ConfigurationError, match=f"with {kind} pooling .* is not a sum over"):
            classifiers[kind].instance_contributions(TEST)
    layered = mil.BagClassifier(hidden=(4,), bag_hidden=(4,), epochs=1).fit(TRAIN, LABELS)
    with pytest.raises(ConfigurationError, match="with bag_hidden a prediction is not a sum"):
        layered.instance_contributions(TEST)
    with pytest.raises(ConfigurationError, match="neither 'weights' nor"):
        regressors["mean"].key_instances(TEST, by="size")


def bags_of_two_moons(n, seed, size=40):
    """Points of one moon and columns of noise; in positive bags some points are of the other."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    witness = (rng.uniform(size=(n, size)) < 0.05) & (labels[:, None] == 1)
    alone = (labels == 1) & ~witness.any(axis=1)
    witness[alone, rng.integers(size, size=n)[alone]] = True
    angle = rng.uniform(0, np.pi, (n, size))
    x = np.where(witness, 1 - np.cos(angle), np.cos(angle))
    y = np.where(witness, 0.5 - np.sin(angle), np.sin(angle))
    points = np.stack([x, y], axis=-1) + rng.normal(0, 0.1, (n, size, 2))
    return np.concatenate([points, rng.normal(size=(n, size, 6))], axis=-1), labels


@pytest.mark.slow
def test_the_defaults_find_a_curved_border():
    """With ReLU and a patience of 5, the defaults once were 0.925."""
    train, test = bags_of_two_moons(1000, [0, 1]), bags_of_two_moons(2000, [0, 2])
    model = mil.BagClassifier(random_state=0).fit(*train)
    assert model.score(*test) > 0.95


# --- invariances -----------------------------------------------------------------------------


def outputs(model, bags):
    return getattr(model, "decision_function", model.predict)(bags)


@pytest.mark.early
@few_examples
@given(data=st.data())
def test_order_and_company_are_irrelevant(classifiers, regressors, data):
    """Neither the order of instances nor the other bags of a call change what a bag gets."""
    models = st.sampled_from([*classifiers.values(), *regressors.values()])
    model, seed = data.draw(models), data.draw(seeds)
    bags, _ = bags_with_a_large_number(data.draw(st.integers(1, 6)), seed, 9)
    expected = outputs(model, bags)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(bag)) for bag in bags]
    shuffled = [bag[order] for bag, order in zip(bags, orders, strict=True)]
    np.testing.assert_allclose(outputs(model, shuffled), expected, rtol=1e-9, atol=1e-9)
    alone = np.concatenate([outputs(model, [bag]) for bag in bags])
    np.testing.assert_allclose(alone, expected, rtol=1e-9, atol=1e-9)
    if model.pooling in {"attention", "gated-attention", "noisy-or"}:
        weights = zip(
            model.instance_weights(bags), orders, model.instance_weights(shuffled), strict=True
        )
        for one, order, other in weights:
            np.testing.assert_allclose(other, one[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "bag_hidden"), [*((kind, ()) for kind in POOLINGS), ("attention", (3, 2))]
)
def test_padded_training_batches_give_what_predictions_give(kind, bag_hidden):
    """What the loss sees, padded and in float32, is what is predicted without padding."""
    from milinfer.learning.labelled_bags.network import LabelledNetwork, LabelledNetworkSpec
    from milinfer.learning.labelled_bags.ragged import bag_rows, ragged_bags

    bags = ragged_bags(TEST[:20])
    spec = LabelledNetworkSpec(2, 1, (4,), "tanh", 0.5, kind, 3, 2.0, 3, bag_hidden)
    rows, present = bag_rows(bags.offsets)
    extra = np.zeros((len(rows), 2), int)
    rows, present = np.hstack([rows, extra]), np.hstack([present, extra.astype(bool)])
    padded = bags.instances[rows].astype(np.float32)
    padded[~present] = np.random.default_rng(1).normal(0, 1e3, padded[~present].shape)
    trained, predicting = LabelledNetwork(spec, "float32"), LabelledNetwork(spec, "float64")
    predicting.set_weights(trained.weights())
    seen = trained.padded(padded, present, training=False)
    expected = predicting.outputs(bags)
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(np.asarray(seen), expected, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_result():
    settings = {**SMALL, "epochs": 5, "dropout": 0.2}
    first, again, other = (
        mil.BagClassifier(**settings, random_state=s).fit(TRAIN, LABELS).predict_proba(TEST)
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    generators = [
        mil.BagClassifier(**settings, random_state=np.random.default_rng(1)) for _ in range(2)
    ]
    one, two = (m.fit(TRAIN, LABELS).predict_proba(TEST) for m in generators)
    np.testing.assert_array_equal(one, two)


def test_all_forms_of_bags_are_one():
    model = mil.BagClassifier(**{**SMALL, "epochs": 2})
    expected = clone(model).fit(TRAIN, LABELS).predict_proba(TEST)
    awkward = clone(model).fit(ak.Array([b.tolist() for b in TRAIN]), LABELS)
    np.testing.assert_array_equal(awkward.predict_proba(TEST), expected)
    cube = np.array([np.resize(bag, (3, 2)) for bag in TRAIN])
    trained = clone(model).fit(cube, LABELS)
    np.testing.assert_array_equal(trained.decision_function(list(cube)), outputs(trained, cube))


# --- scikit-learn ----------------------------------------------------------------------------

# The interface does not depend on layers, each of which has to be built and traced.
QUICK = {"hidden": (), "epochs": 8, "learning_rate": 0.1}


@pytest.mark.early
@parametrize_with_checks(
    [
        # With two networks: one alone is a mean of one.
        mil.BagClassifier(**QUICK, ensemble=2),
        mil.BagRegressor("mean", **QUICK),
    ]
)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    """All checks of scikit-learn, on tables, whose rows are bags of one instance."""
    check(estimator)


def test_scikit_learn_finds_nothing_wrong_with_two_classes_alone():
    """What noisy-or has in common with other poolings is checked with these."""
    model = mil.BagClassifier("noisy-or", **QUICK)
    for check in (
        check_classifier_not_supporting_multiclass,
        check_classifiers_train,
        check_classifiers_classes,
        check_estimators_dtypes,
    ):
        check("BagClassifier", clone(model))


def test_pipelines_cross_validation_and_grids():
    model = make_pipeline(
        mil.learning.InstanceTransformer(StandardScaler()),
        mil.BagClassifier("noisy-or", hidden=(8,), epochs=30, learning_rate=0.03),
    )
    scores = cross_val_score(model, TRAIN, LABELS, cv=3)
    assert scores.shape == (3,)
    assert np.mean(scores) > 0.85
    search = GridSearchCV(model, {"bagclassifier__epochs": [1, 30]}, cv=2).fit(TRAIN, LABELS)
    assert search.best_params_ == {"bagclassifier__epochs": 30}
    awkward = ak.Array([bag.tolist() for bag in TRAIN])
    np.testing.assert_array_equal(cross_val_score(model, awkward, LABELS, cv=3), scores)


def test_settings_survive_cloning_and_models_survive_pickling():
    model = mil.BagRegressor("gated-attention", **{**SMALL, "epochs": 2}).fit(TRAIN, MEANS)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "networks_")
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(TEST), model.predict(TEST))


def test_labels_of_any_kind_and_more_classes_than_two():
    names = np.array(["low", "middle", "top"])[
        np.digitize([b[:, 0].mean() for b in TRAIN], [0.4, 0.6])
    ]
    model = mil.BagClassifier("mean", **SMALL).fit(TRAIN, names)
    assert list(model.classes_) == ["low", "middle", "top"]
    assert model.score(TRAIN, names) > 0.9
    probabilities = model.predict_proba(TEST)
    assert probabilities.shape == (len(TEST), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert model.decision_function(TEST).shape == (len(TEST), 3)
    assert model.instance_contributions(TEST)[0].shape == (len(TEST[0]), 3)
    with pytest.raises(ConfigurationError, match="differ from class to class"):
        model.key_instances(TEST, by="contributions")
    with pytest.raises(ConfigurationError, match="works for two classes, not 3"):
        mil.BagClassifier("noisy-or").fit(TRAIN, names)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pooling": "median"}, "unknown pooling 'median'"),
        ({"hidden": (8, 0)}, "hidden="),
        ({"bag_hidden": (0,)}, "bag_hidden="),
        ({"bag_hidden": (4,), "pooling": "noisy-or"}, "leave bag_hidden empty"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"l2": -1.0}, "l2=-1.0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"patience": 0}, "patience=0"),
        ({"ensemble": 0}, "ensemble=0"),
        ({"activation": "step"}, "activation"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ConfigurationError, match=message):
        mil.BagClassifier(**setting).fit(TRAIN, LABELS)


def test_data_that_cannot_work_are_refused():
    with pytest.raises(ModelError, match="one class"):
        mil.BagClassifier().fit(TRAIN, np.ones(len(TRAIN)))
    with pytest.raises(SampleError, match="two bags"):
        mil.BagClassifier().fit(TRAIN[:1], LABELS[:1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        mil.BagClassifier().fit(TRAIN, LABELS[:-1])
    with pytest.raises(SampleError, match="y of bag 2 is nan"):
        mil.BagRegressor("mean").fit(TRAIN, np.where(np.arange(len(MEANS)) == 2, np.nan, MEANS))
    with pytest.raises(ConfigurationError, match="noisy-or pooling gives probabilities"):
        mil.BagRegressor("noisy-or").fit(TRAIN, MEANS)
    model = mil.BagClassifier(**{**SMALL, "epochs": 1}).fit(TRAIN, LABELS)
    with pytest.raises(SampleError, match="X has 1 features, but BagClassifier is expecting 2"):
        model.predict([bag[:, :1] for bag in TEST])
    with pytest.raises(ModelError, match="training loss became"):
        mil.BagRegressor("sum", **{**SMALL, "learning_rate": 1e30}).fit(TRAIN, MEANS)


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "import milinfer as mil\n"
        "try: mil.BagClassifier\n"
        "except mil.exceptions.ConfigurationError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert 'pip install "milinfer[sklearn]"' in done.stdout
