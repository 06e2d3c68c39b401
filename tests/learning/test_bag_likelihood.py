"""The learned likelihood: training, additivity, files."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ModelError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood, single_models
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.samples.sample import Sample
from random_networks import random_networks

VALUES = [-0.5, -0.25, 0.0, 0.25, 0.5]
NETWORK = NetworkConfig(hidden=(16,), batch_norm=False, dropout=0.0, l2=0.0)
TRAINING = TrainingConfig(epochs=12, batch_events=4_000, learning_rate=6e-3)


def estimator(**options):
    settings = {"bag_size": 5, "degree": 2, "seed": 1, "network": NETWORK, "training": TRAINING}
    # Λ is then the sum of what the networks give; normalised ratios have their own module.
    settings |= {"head": "multiclass", "normalise": False}
    return BagLikelihood(**settings | options)


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(8_000, VALUES, seed=3, n_features=2)


@pytest.fixture(scope="module")
def model(samples):
    return estimator().fit(samples)


def test_the_gaussian_likelihood_ratio_is_learned(model):
    test = gaussian.generate(20_000, 0.0, seed=9, n_features=2)
    learned = model.event_llr(test)
    exact = gaussian.log_likelihood_ratio(test.column("x0"), np.array(VALUES))
    # The error of λ(x) against its spread: what costs information.
    for k in (0, 4):
        assert np.std(learned[:, k] - exact[:, k]) < 0.15 * np.std(exact[:, k])
    assert learned.dtype == np.float64
    np.testing.assert_array_equal(learned[:, 2], 0)  # the reference


def test_the_mean_is_measured(model):
    estimates = []
    for seed in range(40):
        data = gaussian.generate(500, 0.1, seed=100 + seed, n_features=2)
        estimates.append(model.surface(data).extremum.theta_hat[0])
    error = 1 / np.sqrt(500 * 40)
    # 40 000 training events fix the mean to 0.005; a network of that size adds as much.
    assert abs(np.mean(estimates) - 0.1) < 3 * np.hypot(error, 0.01)
    assert np.std(estimates) == pytest.approx(1 / np.sqrt(500), rel=0.4)


def test_the_sum_over_events_is_the_sum_over_bags(model):
    data = gaussian.generate(60, 0.2, seed=4, n_features=2)
    bags = data.features.reshape(12, 5, 2)
    logits = np.asarray(
        model.fitted.members[0][0].keras.bag_model(bags, training=False), dtype=float
    )
    by_bags = (logits - logits[:, 2:3]).sum(axis=0)
    np.testing.assert_allclose(model.surface(data).values, by_bags, rtol=1e-4, atol=1e-5)


def test_leftover_events_count(model):
    data = gaussian.generate(63, 0.2, seed=4, n_features=2)
    parts = [model.surface(data.take(s)).values for s in (slice(0, 60), slice(60, None))]
    np.testing.assert_allclose(model.surface(data).values, sum(parts), atol=1e-9)
    assert np.abs(parts[1]).max() > 0


def test_the_same_seed_gives_the_same_model(samples):
    short = TrainingConfig(epochs=2, batch_events=4_000)
    test = samples[0].take(slice(0, 100))
    # With batch normalisation and dropout, which have random numbers and moments of their own.
    full = NetworkConfig(hidden=(16,))
    models = [estimator(training=short, network=full, seed=s).fit(samples) for s in (5, 5, 6)]
    llr = [m.event_llr(test) for m in models]
    np.testing.assert_array_equal(llr[0], llr[1])
    assert not np.array_equal(llr[0], llr[2])


def test_an_ensemble_averages_log_ratios(samples):
    short = TrainingConfig(epochs=1, batch_events=4_000)
    seen = []
    model = estimator(training=short, ensemble=2).fit(samples, on_epoch=seen.append)
    assert [(r.member, r.epoch) for r in seen] == [(0, 0), (1, 0)]
    assert [r.network.event_model for r in seen] == [m[0].event_model for m in model.fitted.members]
    test = samples[0].take(slice(0, 50))
    logits = [
        np.asarray(m[0].event_model(test.features, training=False)) for m in model.fitted.members
    ]
    mean = model.fitted.linear.log_ratio(np.mean(logits, axis=0, dtype=float))
    np.testing.assert_allclose(model.event_llr(test), (mean - mean[:, 2:3]) / 5, atol=1e-7)


def test_free_logits_are_the_papers(samples):
    short = TrainingConfig(epochs=1, batch_events=4_000)
    with random_networks():
        model = estimator(training=short, degree=None, interpolation_kind="spline").fit(samples)
    assert model.fitted.members[0][0].event_model.get_layer("head").units == len(VALUES)
    assert model.interpolation.kind == "spline"


def test_order_of_features_does_not_matter_but_their_presence_does(model):
    data = gaussian.generate(50, 0.0, seed=4, n_features=2)
    swapped = Sample(data.features[:, ::-1], ("x1", "x0"), point=data.point)
    np.testing.assert_array_equal(model.event_llr(swapped), model.event_llr(data))
    with pytest.raises(SampleError, match="x1"):
        model.event_llr(Sample(data.features[:, :1], ("x0",)))


def test_mistakes_are_named(samples):
    with pytest.raises(ModelError, match="not trained"):
        estimator().surface(samples[0])
    with pytest.raises(ModelError, match="cannot be determined from these 5 points"):
        estimator(degree=5).fit(samples)
    with pytest.raises(ModelError, match="reference mu = 3"):
        estimator(reference=3.0).fit(samples)


def test_a_saved_model_gives_the_same_numbers(model, tmp_path):
    model.save(tmp_path / "m")
    model.save(tmp_path / "m")  # a model may be replaced
    back = BagLikelihood.load(tmp_path / "m")
    data = gaussian.generate(500, 0.1, seed=4, n_features=2)
    np.testing.assert_array_equal(back.event_llr(data), model.event_llr(data))
    assert back.fitted.history == model.fitted.history
    assert back.feature_names == ("x0", "x1")
    assert repr(back) == repr(model)


def test_a_saved_model_does_not_depend_on_defaults(samples, tmp_path):
    """Regression: bags of the default size came back as those of another version's default."""
    short = TrainingConfig(epochs=1, batch_events=4_000)
    with random_networks():
        model = BagLikelihood(head="multiclass", training=short).fit(samples)
    model.save(tmp_path / "m")
    settings = json.loads((tmp_path / "m" / "model.json").read_text())["settings"]
    assert settings["bag_size"] == model.events_in_bag == 10


def test_damaged_models_are_refused(model, tmp_path):
    with pytest.raises(ModelError, match=r"no model\.json"):
        BagLikelihood.load(tmp_path)
    folder = tmp_path / "m"
    model.save(folder)
    weights = folder / "member_0.weights.h5"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="differs from what was saved"):
        BagLikelihood.load(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="is missing"):
        BagLikelihood.load(folder)
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(ModelError, match="format 99"):
        BagLikelihood.load(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        BagLikelihood.load(folder)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ModelError, match="not a milinfer model"):
        model.save(other)


SMALL = gaussian.samples(400, [-0.5, 0.0, 0.5], seed=3)
PLANE = quadratic.samples(
    300, [{"c1": a, "c2": b} for a, b in ((0, 0), (1, 0), (0, 1), (-1, 1))], seed=3
)
KINDS = {
    "binary": (SMALL, {"head": "binary", "loss": "mse"}),
    "parametrised": (SMALL, {"head": "parametrised", "average": "ratio", "ensemble": 2}),
    "polynomial": (
        PLANE,
        {
            "head": "polynomial",
            "labels": "joint",
            "order": 1,
            "bag_size": 1,
            "score_weight": np.float64(0.1),
            "points": np.array([[0, 0], [1, 0], [0, 1], [1.0, 1.0]]),
            "reference": np.zeros(2),
        },
    ),
    "pooled": (SMALL, {"pooling": "gated-attention", "ensemble": 2}),
    "deep sets": (SMALL, {"network": dataclasses.replace(NETWORK, bag_hidden=(4,))}),
    "sum": (SMALL, {"pooling": "sum", "degree": None, "interpolation_kind": "polynomial"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_comes_back_from_its_directory(kind, tmp_path):
    train, options = KINDS[kind]
    short = TrainingConfig(epochs=1, batch_events=500)
    with random_networks():
        model = estimator(training=short, **options).fit(train)
    model.save(tmp_path / "m")
    back = BagLikelihood.load(tmp_path / "m")
    data = train[0].take(slice(0, 43))
    np.testing.assert_array_equal(back.surface(data).values, model.surface(data).values)
    if model.additive:
        np.testing.assert_array_equal(back.event_llr(data), model.event_llr(data))
    assert repr(back) == repr(model)
    assert (back.name, back.parameters, back.additive, back.reduction) == (
        model.name,
        model.parameters,
        model.additive,
        model.reduction,
    )
    for name in ("history", "scale", "n_events", "effective_events", "network", "training"):
        assert getattr(back.fitted, name) == getattr(model.fitted, name)
    np.testing.assert_array_equal(back.fitted.points, model.fitted.points)
    back.save(tmp_path / "again")  # what was loaded can be saved
    again = BagLikelihood.load(tmp_path / "again")
    np.testing.assert_array_equal(again.surface(data).values, model.surface(data).values)


def test_damaged_weights_of_a_bag_head_are_refused(tmp_path):
    short = TrainingConfig(epochs=1, batch_events=500)
    with random_networks():
        estimator(training=short, pooling="attention").fit(SMALL).save(tmp_path / "m")
    weights = tmp_path / "m" / "member_0_bag.weights.h5"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"member_0_bag\.weights\.h5 differs from what was saved"):
        BagLikelihood.load(tmp_path / "m")
    weights.unlink()
    with pytest.raises(ModelError, match=r"member_0_bag\.weights\.h5 is missing"):
        BagLikelihood.load(tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [
        {"network": [1, 2]},
        {"training": {"schedule": "linear"}},
        {"weights": {}},
        {"points": []},
        {"settings": {"colour": "red"}},
        {"mean": None},
    ],
)
def test_incomplete_descriptions_are_refused(change, model, tmp_path):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        ModelError, match=r"(model\.json|weights\.h5) is not a valid part of a model"
    ):
        BagLikelihood.load(tmp_path / "m")


def test_simulated_weights_are_no_data(model):
    """Regression: LHE weights (the cross-section) once scaled the likelihood of a dataset."""
    data = gaussian.generate(50, 0.0, seed=4, n_features=2)
    simulated = dataclasses.replace(data, weights=np.full(50, 0.037))
    with pytest.raises(SampleError, match="as_data"):
        model.cost(simulated)
    assert model.cost(simulated.as_data())(0.1) == model.cost(data)(0.1)
    with pytest.raises(SampleError, match="differ"):
        dataclasses.replace(data, weights=np.arange(1.0, 51.0)).as_data()


SMALL_NETWORK = NetworkConfig(hidden=(8,), batch_norm=False, dropout=0.0, l2=0.0)
SHORT_TRAINING = TrainingConfig(epochs=2, batch_events=500)
POINTS = [{"c1": c} for c in (-1.0, -0.5, 0.0, 0.5, 1.0)]


@pytest.mark.parametrize(
    ("head", "bag_size", "average"),
    [
        ("multiclass", 5, "log-ratio"),
        ("polynomial", 1, "log-ratio"),
        ("polynomial", 1, "ratio"),
        ("parametrised", 5, "log-ratio"),
        ("binary", 5, "log-ratio"),
    ],
)
def test_members_make_the_ensemble(head, bag_size, average):
    samples = quadratic.samples(400, POINTS, seed=1)
    settings = BagLikelihood(
        head=head,
        bag_size=bag_size,
        average=average,
        ensemble=2,
        order=1,
        network=SMALL_NETWORK,
        training=SHORT_TRAINING,
    )
    with random_networks():
        model = settings.fit(samples)
    parts = [m.event_llr(samples[0]) for m in single_models(model)]
    assert np.abs(parts[0] - parts[1]).max() > 1e-3
    together = np.mean(parts, axis=0)
    if average == "ratio":
        together = np.log(np.mean(np.exp(parts), axis=0))
    np.testing.assert_allclose(model.event_llr(samples[0]), together, atol=1e-6)


def test_members_are_whole_models():
    samples = gaussian.samples(300, [-0.5, 0.0, 0.5], seed=1)
    settings = BagLikelihood(
        head="multiclass", ensemble=3, bag_size=5, network=SMALL_NETWORK, training=SHORT_TRAINING
    )
    with random_networks():
        model = settings.fit(samples)
    members = single_models(model)
    assert len({m.digest for m in members} | {model.digest}) == 4
    for k, member in enumerate(members):
        assert member.ensemble == 1
        assert member.fitted.history == [model.fitted.history[k]]
        # A sum over the same events, in an order that is numpy's business.
        np.testing.assert_allclose(
            member.surface(samples[0]).values,
            model.member_surfaces(samples[0])[k].values,
            rtol=1e-12,
        )


def test_an_untrained_model_has_no_members():
    with pytest.raises(ModelError, match="not trained"):
        single_models(BagLikelihood(head="multiclass"))
