"""Ratios that are divided by their means over the events of the training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.bag_likelihood import BagLikelihood, single_models
from milinfer.learning.members import MemberTask
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.training_points import ModelPoints
from milinfer.samples import sample_files
from milinfer.samples.reweighting import bennett
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from random_networks import random_networks

PLAIN = NetworkConfig((16,), "elu", batch_norm=False, dropout=0.0, l2=0.0)
LONGER = TrainingConfig(6, 1000, 1e-2, 1e-4, schedule="cosine")
VALUES = [-0.5, -0.25, 0.0, 0.25, 0.5]
HEADS = {
    "multiclass": {},
    "free logits": {"degree": None, "interpolation_kind": "spline"},
    "binary": {"head": "binary", "interpolation_kind": "spline"},
    "parametrised": {"head": "parametrised"},
    "sum": {"pooling": "sum"},
}


def estimator(**options):
    settings = {
        "bag_size": 5, "seed": 2, "network": NetworkConfig((8,)),
        "training": TrainingConfig(2, 2000),
        "normalise": True,
    }  # fmt: skip
    return BagLikelihood(**{"head": "multiclass"} | settings | options)


@pytest.fixture(scope="module")
def samples():
    """Samples of different sizes, one with negative weights."""
    each = [
        gaussian.generate(n, v, seed=k)
        for k, (n, v) in enumerate(zip((900, 2000, 1500, 1000, 1800), VALUES, strict=True))
    ]
    signs = np.where(np.arange(len(each[3])) % 8 == 0, -1.0, 1.0)
    each[3] = dataclasses.replace(each[3], weights=signs)
    return SampleSet(tuple(each))


@pytest.fixture(scope="module")
def parts(samples):
    """Events to train on, and to validate with."""
    return samples.split([0.8, 0.2], seed=1)


def means(model, parts):
    """Means of the ratios at θ0 over all events: what E_θ0[r] = 1 is about."""
    n = sum(part.n_events for part in parts)
    ratios = np.exp(np.concatenate([model.event_llr(s) for part in parts for s in part]))
    weights = np.concatenate(
        [
            s.weights / s.weights.sum() / len(part) * part.n_events / n
            for part in parts
            for s in part
        ]
    )
    return bennett(ratios, weights, np.column_stack([np.ones(len(ratios)), ratios]))[1:]


@pytest.mark.parametrize("head", HEADS)
def test_ratios_have_a_mean_of_one_over_the_events_of_the_training(parts, head):
    with random_networks():
        raw = estimator(**HEADS[head], normalise=False).fit(*parts)
        model = estimator(**HEADS[head]).fit(*parts)
    assert np.abs(means(raw, parts) - 1).max() > 1e-3
    np.testing.assert_allclose(means(model, parts), 1, rtol=1e-8)
    test, shift, scale = parts[1][1], model.fitted.log_z[0], model.fitted.scale[0]
    assert shift[2] == 0
    assert scale != 1
    expected = scale * raw.event_llr(test) - shift
    np.testing.assert_allclose(model.event_llr(test), expected, atol=1e-12)
    assert model.digest != raw.digest


def test_a_network_that_is_not_sure_enough_is_scaled():
    """Regression: ratios that are too flat had maxima too far out once they were normalised."""
    wide = gaussian.samples(6000, VALUES, seed=1).split([0.8, 0.2], seed=1)
    options = {"head": "parametrised", "symmetric": False, "network": PLAIN, "training": LONGER}
    model = estimator(**options).fit(*wide)
    unscaled = dataclasses.replace(model, _fitted=dataclasses.replace(model.fitted, scale=(1.0,)))
    assert model.fitted.scale[0] > 1.2
    for mean in (-0.25, 0.25):
        data = gaussian.generate(20_000, mean, seed=9)
        error = [abs(m.surface(data).extremum.theta_hat[0] - mean) for m in (model, unscaled)]
        assert error[0] < 0.05 < error[1]


def test_each_member_is_normalised_and_saved(parts, tmp_path):
    with random_networks():
        model = estimator(ensemble=2).fit(*parts)
    for member in single_models(model):
        np.testing.assert_allclose(means(member, parts), 1, rtol=1e-8)
    model.save(tmp_path / "model")
    back = BagLikelihood.load(tmp_path / "model")
    np.testing.assert_array_equal(back.event_llr(parts[1][0]), model.event_llr(parts[1][0]))
    assert back.digest == model.digest


def test_streamed_events_normalise_as_those_in_memory(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_files, "ROW_GROUP", 300)
    train, rest = parts
    files = {}
    for sample in train:
        files[sample.point["mu"]] = tmp_path / f"{sample.point['mu']}.parquet"
        sample.to_file(files[sample.point["mu"]])
    streamed = StreamedSamples.from_files(files, "mu", events_in_memory=6000)
    model = estimator().fit(streamed, rest)
    np.testing.assert_allclose(means(model, parts), 1, rtol=1e-6)


def test_several_parameters():
    points = [{"c1": a, "c2": b} for a in (-0.3, 0.0, 0.3) for b in (-0.3, 0.0, 0.3)]
    both = quadratic.samples(500, points, seed=3).split([0.8, 0.2], seed=1)
    with random_networks():
        model = estimator(bag_size=2, network=PLAIN).fit(*both)
    at_points = model.interpolation.values_at(
        np.concatenate([model.event_llr(s) for part in both for s in part]),
        np.array([list(p.values()) for p in points]),
    )
    n = sum(part.n_events for part in both)
    weights = np.concatenate(
        [np.full(len(s), part.n_events / n / 9 / len(s)) for part in both for s in part]
    )
    ratios = np.exp(at_points)
    found = bennett(ratios, weights, np.column_stack([np.ones(len(ratios)), ratios]))[1:]
    # Between the nodes of the box the polynomial of ln Z is an interpolation.
    np.testing.assert_allclose(found, 1, rtol=2e-3)


def test_joint_labels():
    points = [{"c1": v} for v in (-0.3, 0.0, 0.3)]
    both = quadratic.samples(4000, points, seed=3).split([0.8, 0.2], seed=1)
    model = estimator(labels="joint", order=1, bag_size=1, network=PLAIN, training=LONGER).fit(
        *both
    )
    # Even samples of other events: their means are those of all events within their errors.
    other = quadratic.samples(20_000, points, seed=9)
    assert np.abs(np.log(means(model, [other]))).max() < 0.02


def test_bags_that_are_scored_as_a_whole_are_not_normalised(parts):
    with random_networks():
        model = estimator(pooling="attention").fit(*parts)
    assert not len(model.fitted.log_z[0])
    with pytest.raises(ConfigurationError, match="normalise='yes' must be True or False"):
        estimator(normalise="yes").fit(*parts)


def test_ratios_that_overflow_are_refused(parts):
    with random_networks():
        settings = estimator(bag_size=1).fit(*parts)
    fitted = settings.fitted
    network = fitted.members[0][0].event_network
    weights = tuple(np.full_like(w, 1e3) if w.ndim == 2 else w for w in network.weights)
    steep = dataclasses.replace(network, weights=weights)
    task = MemberTask(settings, ModelPoints.of(settings, parts[0]), *parts)
    with pytest.raises(ModelError, match="no positive, finite means"):
        task.normalisation([TrainedNetwork(steep, fitted.members[0][0].build)])
