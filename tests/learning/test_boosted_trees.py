"""Boosted trees against exact likelihood ratios; weights, seeds, search and files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys

import numpy as np
import pytest

from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, ModelError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.boosted_trees import BoostedLikelihood, BoostedSettings
from milinfer.likelihood.models import LLRModel
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

VALUES = [-0.5, -0.25, 0.0, 0.25, 0.5]
FEW = BoostedSettings(n_estimators=20, early_stopping=5)
# No term of the loss that a common factor on all weights would change.
FREE = dataclasses.replace(FEW, min_child_weight=0.0, reg_lambda=0.0, subsample=1.0)


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(8_000, VALUES, seed=3, n_features=2)


@pytest.fixture(scope="module")
def model(samples):
    return BoostedLikelihood(seed=1).fit(samples)


@pytest.fixture(scope="module")
def pair():
    return gaussian.two_gaussians(4_000, epsilon=0.3, seed=2)


@pytest.fixture(scope="module")
def binary(pair):
    return BoostedLikelihood(reference=-0.3, settings=FEW).fit(pair)


def slope_and_kept(learned, exact):
    """Slope of the learned log-ratio in the exact one, and the share of information it keeps.

    For small signals, an estimate by the sum of a score has the information that the score's
    squared correlation with the exact one says.
    """
    return np.polyfit(exact, learned, 1)[0], np.corrcoef(exact, learned)[0, 1] ** 2


def test_two_gaussians_have_their_exact_ratio():
    test = gaussian.generate(20_000, 0.0, seed=9)
    exact = gaussian.log_likelihood_ratio(test.column("x0"), 0.1, -0.1)
    results = []
    for seed in range(4):
        pair = gaussian.two_gaussians(40_000, epsilon=0.1, seed=100 + seed)
        model = BoostedLikelihood(reference=-0.1, seed=seed).fit(pair)
        results.append(slope_and_kept(model.log_ratio(test), exact))
        assert results[-1][1] > 0.92  # less than 8 % of the information lost, each time
    slopes = np.array(results)[:, 0]
    error = slopes.std(ddof=1) / np.sqrt(len(slopes))
    # Early stopping shrinks: by 6 % here; 64 000 training events fix the slope to 2 %.
    assert slopes.std(ddof=1) < 0.06
    assert 0.90 - 3 * error < slopes.mean() < 1 + 3 * error


def test_the_gaussian_mean_has_its_exact_ratio(model):
    test = gaussian.generate(20_000, 0.0, seed=9, n_features=2)
    learned = model.event_llr(test)
    exact = gaussian.log_likelihood_ratio(test.column("x0"), np.array(VALUES))
    for k in (0, 4):
        slope, kept = slope_and_kept(learned[:, k], exact[:, k])
        assert abs(slope - 1) < 0.2
        assert kept > 0.9
    assert learned.dtype == np.float64
    np.testing.assert_array_equal(learned[:, 2], 0)  # the reference
    assert isinstance(model, LLRModel)
    assert (model.name, model.parameter) == ("xgboost", "mu")


def test_the_mean_is_measured(model):
    n_toys, n_events = 200, 500
    means, variances = [], []
    for truth in (-0.1, 0.1):
        data = gaussian.generate(n_toys * n_events, truth, seed=70, n_features=2)
        toys = model.event_llr(data).reshape(n_toys, n_events, -1).sum(axis=1)
        estimates = model.interpolation.extrema(toys).theta_hat
        means.append(estimates.mean())
        variances.append(estimates.var(ddof=1))
    # 32 000 training events fix the mean to 0.0056; trees waste some of it.
    assert abs(np.mean(means)) < 3 * np.hypot(0.01, 1 / np.sqrt(2 * n_toys * n_events))
    response = (means[1] - means[0]) / 0.2
    assert 0.8 < response < 1.3
    kept = response**2 / np.mean(variances) / gaussian.fisher_information(n_events)
    # The error is that of two variances from 200 toys each; the bound is Cramér and Rao's.
    assert 0.85 < kept < 1 + 3 * np.sqrt(2 / (2 * n_toys))


def test_the_surface_is_the_sum_over_events(model):
    data = gaussian.generate(60, 0.2, seed=4, n_features=2)
    np.testing.assert_allclose(model.surface(data).values, model.event_llr(data).sum(axis=0))
    assert model.cost(data).n_events == 60
    assert model.event_llr(data.take(slice(0, 0))).shape == (0, 5)


def test_weights_make_a_sample_of_another_point():
    standard, pool = (gaussian.generate(30_000, 0.0, seed=s) for s in (20, 30))
    ratio = np.exp(gaussian.log_likelihood_ratio(pool.column("x0"), 0.5))
    # With the scale of a cross-section, which must not matter.
    weighted = dataclasses.replace(pool, weights=ratio * 1e-6, point={"mu": 0.5})
    model = BoostedLikelihood(seed=1).fit(SampleSet((standard, weighted)))
    test = gaussian.generate(20_000, 0.0, seed=9)
    exact = gaussian.log_likelihood_ratio(test.column("x0"), 0.5)
    slope, kept = slope_and_kept(model.log_ratio(test), exact)
    assert abs(slope - 1) < 0.12
    assert kept > 0.97


@pytest.mark.parametrize("values", [[0.0, 0.5], [-0.5, 0.0, 0.5]])
def test_a_weight_of_two_is_an_event_twice(values):
    # In steps of a tenth, so that the bins of the histogram are the values in both cases.
    raw = gaussian.samples(2_000, values, seed=5)
    raw = SampleSet(tuple(dataclasses.replace(s, features=s.features.round(1)) for s in raw))
    twice, doubled = [], []
    for s in raw:
        heavy = s.column("x0") > 0.7
        twice.append(s + s.take(np.flatnonzero(heavy)))
        doubled.append(dataclasses.replace(s, weights=np.where(heavy, 2.0, 1.0)))
    validation = gaussian.samples(500, values, seed=6)
    test = gaussian.generate(500, 0.0, seed=7)
    ratios = [
        BoostedLikelihood(settings=FREE).fit(SampleSet(tuple(s)), validation).event_llr(test)
        for s in (twice, doubled, tuple(raw))
    ]
    np.testing.assert_allclose(ratios[0], ratios[1], atol=1e-4)
    assert np.abs(ratios[0] - ratios[2]).max() > 0.05  # and weights do something


def test_the_scale_of_the_weights_does_not_matter(pair, binary):
    scaled = SampleSet(
        tuple(
            dataclasses.replace(s, weights=s.weights * f)
            for s, f in zip(pair, (2.0**-20, 2.0**7), strict=True)
        )
    )
    again = BoostedLikelihood(reference=-0.3, settings=FEW).fit(scaled)
    np.testing.assert_array_equal(again.log_ratio(pair[0]), binary.log_ratio(pair[0]))


def test_classes_of_different_size_count_alike(pair):
    few = SampleSet((pair[0], pair[1].take(slice(0, 1_000))))
    model = BoostedLikelihood(reference=-0.3, settings=FEW).fit(few)
    # ln p/p0 is odd around 0 here; counted by events it would be lower by ln 4 = 1.39.
    middle = Sample(np.linspace(-0.5, 0.5, 101)[:, None], ("x0",))
    assert abs(model.log_ratio(middle).mean()) < 0.15


def test_the_seed_decides(samples):
    test = samples[0].take(slice(0, 200))
    few = dataclasses.replace(FEW, n_estimators=5)
    llr = [BoostedLikelihood(seed=s, settings=few).fit(samples).event_llr(test) for s in (5, 5, 6)]
    np.testing.assert_array_equal(llr[0], llr[1])
    assert not np.array_equal(llr[0], llr[2])


def test_early_stopping_keeps_the_best_round(model):
    history = model.fitted.history
    rounds = model.fitted.booster.num_boosted_rounds()
    assert rounds == np.argmin(history["val_loss"]) + 1
    assert len(history["val_loss"]) == rounds + model.fitted.settings.early_stopping
    # Events of no information cost ln K; the exact ratio gains a little.
    assert min(history["val_loss"]) < np.log(len(VALUES))


def test_order_of_samples_and_features_does_not_matter(samples, model):
    data = gaussian.generate(50, 0.0, seed=4, n_features=2)
    swapped = Sample(data.features[:, ::-1], ("x1", "x0"), point=data.point)
    np.testing.assert_array_equal(model.event_llr(swapped), model.event_llr(data))
    with pytest.raises(SampleError, match="x1"):
        model.event_llr(Sample(data.features[:, :1], ("x0",)))
    held_out = gaussian.samples(500, VALUES, seed=8, n_features=2)
    fits = [
        BoostedLikelihood(settings=FEW).fit(train, test).event_llr(data)
        for train, test in (
            (samples, held_out),
            (SampleSet(samples.samples[::-1]), held_out.with_features(["x1", "x0"])),
        )
    ]
    np.testing.assert_array_equal(*fits)


def test_a_binary_classifier_has_a_ratio_but_no_curve(pair, binary):
    llr = binary.event_llr(pair[1])
    assert llr.shape == (4_000, 2)
    np.testing.assert_array_equal(llr[:, 0], 0)
    np.testing.assert_array_equal(llr[:, 1], binary.log_ratio(pair[1]))
    assert binary.log_ratio(pair[0]).mean() < 0 < binary.log_ratio(pair[1]).mean()
    other = BoostedLikelihood(reference=0.3, settings=FEW).fit(pair)
    # The reference at the other end: the same ratio, but for its sign.
    np.testing.assert_allclose(
        other.log_ratio(pair[1]), -binary.log_ratio(pair[1]), rtol=1e-4, atol=1e-4
    )
    for curve in (lambda: binary.interpolation, lambda: binary.surface(pair[0])):
        with pytest.raises(ModelError, match="three or more samples"):
            curve()


@pytest.mark.parametrize("values", [[-0.3, 0.3], [-0.3, 0.0, 0.3]])
def test_a_search_finds_its_best_trial(values):
    settings = BoostedSettings(n_estimators=60)
    samples = gaussian.samples(600, values, seed=2)
    unfitted = BoostedLikelihood(reference=-0.3, trials=3, seed=4, settings=settings)
    seen = []
    model = unfitted.fit(samples, on_trial=seen.append)
    tried = model.fitted.tried
    assert [(r.number, r.n_trials) for r in seen] == [(0, 3), (1, 3), (2, 3)]
    pick = max if len(values) == 2 else min  # area under the curve, or log loss
    best = pick(tried, key=lambda t: t["value"])
    assert seen[-1].best == best["value"]
    for name, value in best.items():
        assert name == "value" or getattr(model.fitted.settings, name) == value
    assert set(best) - {"value"} == {
        "n_estimators",
        "max_depth",
        "learning_rate",
        "min_child_weight",
        "subsample",
        "reg_lambda",
    }
    assert model.settings is settings
    if len(values) == 2:
        assert 0.5 < best["value"] < 0.75  # exact: Φ(0.6/√2) = 0.664
        again = unfitted.fit(samples)
        assert again.fitted.tried == tried
        np.testing.assert_array_equal(again.event_llr(samples[0]), model.event_llr(samples[0]))


def test_a_saved_model_gives_the_same_numbers(model, binary, tmp_path):
    for given in (model, dataclasses.replace(binary, trials=7, window=0.3)):
        given.save(tmp_path / "m")  # a model may be replaced
        back = BoostedLikelihood.load(tmp_path / "m")
        data = gaussian.generate(500, 0.1, seed=4, n_features=len(given.feature_names))
        np.testing.assert_array_equal(back.event_llr(data), given.event_llr(data))
        for name in ("settings", "trials", "window", "reference", "parameter", "feature_names"):
            assert getattr(back, name) == getattr(given, name)
        for name in ("settings", "history", "tried", "n_events"):
            assert getattr(back.fitted, name) == getattr(given.fitted, name)
        assert repr(back) == repr(given)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_no_utf8(binary, tmp_path):
    """Regression: the model was said to be incomplete, because XGBoost cannot open the file."""
    folder = tmp_path / os.fsdecode(b"m\xff")
    binary.save(folder)
    assert BoostedLikelihood.load(folder).digest == binary.digest


def test_damaged_models_are_refused(binary, tmp_path):
    folder = tmp_path / "m"
    binary.save(folder)
    with pytest.raises(ModelError, match="xgboost-2"):
        BagLikelihood.load(folder)
    trees, text = folder / "trees.ubj", (folder / "model.json").read_text()
    whole = trees.read_bytes()
    trees.write_bytes(whole[:-1] + b"x")
    with pytest.raises(ModelError, match=r"trees\.ubj differs"):
        BoostedLikelihood.load(folder)
    trees.unlink()
    with pytest.raises(ModelError, match=r"trees\.ubj is missing"):
        BoostedLikelihood.load(folder)
    trees.write_bytes(whole)
    content = json.loads(text)
    (folder / "model.json").write_text(json.dumps(content | {"format": 1}))
    with pytest.raises(ModelError, match="the class that saved it"):
        BoostedLikelihood.load(folder)
    del content["grid"]
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="not a complete model: 'grid'"):
        BoostedLikelihood.load(folder)
    with pytest.raises(ModelError, match="not a milinfer model"):
        binary.save(tmp_path)


@pytest.mark.parametrize(
    ("history", "complaint"),
    [
        ({"loss": [0.6], "val_loss": [float("nan")]}, r"val_loss is \[nan\]"),
        ({"loss": ["low"], "val_loss": [0.6]}, r"loss is \['low'\]"),
        ([0.6], "history must contain the losses"),
    ],
    ids=["NaN", "words", "a list"],
)
def test_a_damaged_history_is_refused(history, complaint, binary, tmp_path):
    """Regression: it was found when it was shown, by whoever had loaded the model."""
    binary.save(tmp_path / "m")
    file = tmp_path / "m" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"history": history}))
    with pytest.raises(ModelError, match=rf"model\.json is not a complete model: .*{complaint}"):
        BoostedLikelihood.load(tmp_path / "m")


NAN = float("nan")


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("settings", "reference"), "x", "reference is 'x'"),
        (("settings", "window"), NAN, "window is nan"),
        (("settings", "seed"), -1, "seed is -1"),
        (("settings", "interpolation_kind"), ["x"], "interpolation_kind is"),
        (("used", "n_jobs"), 10**400, "n_jobs of the trees is"),
        (("used", "max_depth"), -1, "max_depth of the trees|max_depth = -1"),
        (("used", "subsample"), NAN, "subsample of the trees is nan"),
        (("grid",), [], "grid is"),
        (("grid",), [0.5, -0.5], "ascending"),
        (("grid",), [0.0, 0.5, 1.0], "2 ascending"),
        (("parameter",), [], "parameter is"),
        (("feature_names",), [], "XGBoost|feature|grid|model"),
        (("tried",), 3, "tried is 3"),
        (("trained_on",), "x", "trained_on is 'x'"),
    ],
)
def test_every_entry_is_checked(place, value, complaint, binary, tmp_path):
    """Regression: it was found in use, by errors of Python."""
    binary.save(tmp_path / "m")
    file = tmp_path / "m" / "model.json"
    content = json.loads(file.read_text())
    owner = content if len(place) == 1 else content[place[0]]
    owner[place[-1]] = value
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=complaint) as caught:
        BoostedLikelihood.load(tmp_path / "m")
    assert str(tmp_path / "m") in str(caught.value)


def test_trees_that_are_none_are_refused(binary, tmp_path):
    binary.save(tmp_path / "m")
    (tmp_path / "m" / "trees.ubj").write_bytes(b"{}")
    file = tmp_path / "m" / "model.json"
    content = json.loads(file.read_text())
    content["weights"]["trees.ubj"] = hashlib.sha256(b"{}").hexdigest()
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="XGBoost cannot read the trees"):
        BoostedLikelihood.load(tmp_path / "m")


def test_weights_that_trees_cannot_use_are_named(pair):
    weights = np.ones(4_000)
    weights[:3] = -1
    negative = SampleSet((pair[0], dataclasses.replace(pair[1], weights=weights)))
    for train, validation in ((negative, pair), (pair, negative)):
        with pytest.raises(ModelError, match=r"mu=0\.3: 3 of 4000 .* negative.* BagLikelihood"):
            BoostedLikelihood(reference=-0.3, trials=2).fit(train, validation)
    nothing = SampleSet((dataclasses.replace(pair[0], weights=np.zeros(4_000)), pair[1]))
    with pytest.raises(
        ModelError, match=r"mu=-0\.3: no event to train or validate on has a weight"
    ):
        BoostedLikelihood(reference=-0.3).fit(nothing)


def test_mistakes_are_named(samples, pair, model):
    with pytest.raises(ModelError, match="not trained"):
        BoostedLikelihood().event_llr(samples[0])
    with pytest.raises(ModelError, match="reference mu = 3"):
        BoostedLikelihood(reference=3.0).fit(samples)
    with pytest.raises(ModelError, match="two or more points"):
        BoostedLikelihood().fit(SampleSet((samples[2],)))
    with pytest.raises(ModelError, match="more than one log-ratio"):
        model.log_ratio(samples[0])
    with pytest.raises(ModelError, match="must be at the training points"):
        BoostedLikelihood(reference=-0.3).fit(pair, gaussian.samples(100, [-0.3, 0.2], seed=1))
    with pytest.raises(ConfigurationError, match=r"subsample = 1\.5"):
        BoostedSettings(subsample=1.5)
    with pytest.raises(ConfigurationError, match=r"folds = 1 must be at least 2"):
        BoostedSettings(folds=1)


@pytest.mark.parametrize("module", ["xgboost", "optuna"])
def test_a_missing_package_is_named(module, pair, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"need {module}; .*milinfer\[boosted\]"):
        BoostedLikelihood(reference=-0.3, trials=1).fit(pair)
