"""Export to ONNX: the same numbers in another runtime, and what the file says about itself."""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import pytest

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.members import MemberLayout, build_member, member_seeds
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.onnx import ACTIVATIONS, FORMAT
from random_networks import random_networks

TRAINING = TrainingConfig(epochs=1, batch_events=500, learning_rate=3e-3)
PLAIN = NetworkConfig((8,), batch_norm=False, dropout=0.0, l2=0.0)
FULL = NetworkConfig((8, 8), "elu", batch_norm=True, dropout=0.1, l2=1e-3)
GELU = NetworkConfig((8, 8), "gelu", batch_norm=False, dropout=0.05, l2=0.0)
VALUES = [-0.5, -0.25, 0.0, 0.25, 0.5]
STEPS = (-0.5, 0.0, 0.5)
LINE = gaussian.samples(1_500, VALUES, seed=3, n_features=2)
SHORT = gaussian.samples(1_500, STEPS, seed=3, n_features=2)
CURVE = quadratic.samples(1_000, [{"c1": a} for a in STEPS], seed=4)
PLANE = quadratic.samples(500, [{"c1": a, "c2": b} for a in STEPS for b in STEPS], seed=5)


def events(samples):
    if samples in (LINE, SHORT):
        return gaussian.generate(1_000, 0.1, seed=9, n_features=2)
    point = {"c1": 0.2, "c2": -0.1}
    return quadratic.generate(1_000, {p: point[p] for p in samples.parameters}, seed=10)


def fitted(samples, **options):
    settings = {"seed": 1, "network": PLAIN, "training": TRAINING}
    with random_networks():
        return BagLikelihood(**{"head": "multiclass"} | settings | options).fit(samples)


def with_weights(model, size, **changes):
    """Model with random weights in all layers, batch normalisation included."""
    rng = np.random.default_rng(7)
    changed = dataclasses.replace(model, **changes)
    fitted = model.fitted
    layout = MemberLayout.of(changed, fitted.where, fitted.mean, fitted.variance)
    members = []
    for seeds in member_seeds(changed):
        networks = build_member(changed, fitted.where, layout, seeds)
        for weight in (w for n in networks for w in n.event_model.weights):
            values = rng.normal(0, size, weight.shape)
            weight.assign(0.1 + np.abs(values) if "variance" in weight.path else values)
        members.append(layout.trained(networks))
    fitted = dataclasses.replace(
        fitted,
        members=tuple(members),
        z=fitted.z * len(members),
        log_z=fitted.log_z * len(members),
        scale=fitted.scale * len(members),
    )
    return dataclasses.replace(changed, _fitted=fitted)


def session(model, folder):
    path = folder / "model.onnx"
    model.export_onnx(path)
    onnx.checker.check_model(path, full_check=True)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def assert_equal(model, data, folder, atol=1e-5):
    (found,) = session(model, folder).run(None, {"features": data.features})
    expected = model.event_llr(data)
    assert found.dtype == expected.dtype == np.float64
    assert np.std(expected) > 1e-4  # not a network that gives zero
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=atol)


POLYNOMIAL = {"head": "polynomial", "order": 1}


@pytest.fixture(scope="module")
def model():
    return fitted(LINE, bag_size=5)


@pytest.fixture(scope="module")
def quadratic_model():
    return fitted(SHORT, **POLYNOMIAL)


@pytest.fixture(scope="module")
def binary():
    return fitted(SHORT, head="binary", bag_size=1, network=FULL)


CASES = {
    "multiclass": (LINE, {"bag_size": 5, "network": FULL}),
    "multiclass, free logits": (SHORT, {"bag_size": 5, "degree": None, "network": GELU}),
    "multiclass, sum": (SHORT, {"bag_size": 5, "pooling": "sum", "reference": 0.5}),
    "multiclass, two parameters": (PLANE, {"bag_size": 5, "degree": 2, "ensemble": 2}),
    "polynomial, hard": (CURVE, POLYNOMIAL | {"network": GELU}),
    "polynomial, order 2": (LINE, POLYNOMIAL | {"order": 2, "network": FULL}),
    "polynomial, joint": (CURVE, POLYNOMIAL | {"labels": "joint", "score_weight": 0.1}),
    "polynomial, hard, two parameters": (PLANE, POLYNOMIAL | {"ensemble": 2}),
    "polynomial, joint, two parameters": (PLANE, POLYNOMIAL | {"labels": "joint"}),
    "parametrised": (LINE, {"head": "parametrised", "bag_size": 5, "network": FULL}),
    "parametrised, two parameters": (PLANE, {"head": "parametrised", "bag_size": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_onnx_gives_the_numbers_of_event_llr(case, tmp_path):
    samples, options = CASES[case]
    assert_equal(fitted(samples, **options), events(samples), tmp_path)


def test_binary_networks(binary, tmp_path):
    assert_equal(binary, events(SHORT), tmp_path)
    assert_equal(with_weights(binary, 0.5, bag_size=5, ensemble=2), events(SHORT), tmp_path)


@pytest.mark.parametrize("loss", ["mse", "square-root", "mlc-exponential", "mlc-linear"])
def test_losses_beyond_their_caps(loss, binary, tmp_path):
    steep = with_weights(binary, 100.0, loss=loss, network=NetworkConfig((), batch_norm=False))
    data = events(SHORT)
    outputs = np.asarray(steep.fitted.members[0][0].event_model(data.features, training=False))
    assert outputs.min() < -60  # each loss has its own ratio out there
    assert outputs.max() > 60
    # Such outputs have rounding errors of 1e-5, and mlc-linear has slopes of up to 100.
    assert_equal(steep, data, tmp_path, atol=1e-3)


@pytest.mark.parametrize("average", ["log-ratio", "ratio", "probability"])
@pytest.mark.parametrize("head", ["multiclass", "polynomial"])
def test_averages_of_an_ensemble(head, average, model, quadratic_model, tmp_path):
    one = model if head == "multiclass" else quadratic_model
    assert_equal(with_weights(one, 0.3, ensemble=3, average=average), events(LINE), tmp_path)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations(activation, model, tmp_path):
    network = NetworkConfig((16, 16), activation, batch_norm=activation in ("elu", "silu"))
    assert_equal(with_weights(model, 0.5, network=network), events(LINE), tmp_path)


def test_a_loaded_model_and_any_number_of_events(model, tmp_path):
    model.save(tmp_path / "model")
    running = session(BagLikelihood.load(tmp_path / "model"), tmp_path)
    for n in (0, 1, 7):
        data = events(LINE).take(slice(0, n))
        (found,) = running.run(["log_ratio"], {"features": data.features})
        assert found.shape == (n, len(VALUES))
        np.testing.assert_allclose(found, model.event_llr(data), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[:, 2], 0)  # the reference


def test_large_outputs(model, tmp_path):
    features = np.float32([[1e4, -1e4], [-1e6, 1e6]])
    (found,) = session(model, tmp_path).run(None, {"features": features})
    np.testing.assert_allclose(found, model.event_llr(features), rtol=1e-5)


def test_the_file_describes_itself(tmp_path):
    plane = fitted(PLANE, **POLYNOMIAL)
    running = session(plane, tmp_path)
    metadata = {k: json.loads(v) for k, v in running.get_modelmeta().custom_metadata_map.items()}
    points = np.array(metadata.pop("points"))
    np.testing.assert_array_equal(points, plane.interpolation.grid)
    assert metadata == {
        "format": FORMAT,
        "milinfer_version": version("milinfer"),
        "head": "polynomial",
        "feature_names": list(plane.feature_names),
        "parameters": ["c1", "c2"],
        "reference": [0.0, 0.0],
    }
    (given,), (returned,) = running.get_inputs(), running.get_outputs()
    assert (given.name, given.type) == ("features", "tensor(float)")
    assert given.shape == ["n_events", len(plane.feature_names)]
    assert (returned.name, returned.type) == ("log_ratio", "tensor(double)")
    assert returned.shape == ["n_events", len(points)]


def test_what_cannot_be_exported_is_named(model, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="not trained"):
        BagLikelihood(head="multiclass").export_onnx(path)
    attention = fitted(LINE, bag_size=5, pooling="attention")
    with pytest.raises(ModelError, match=r"attention pooling .* no ratio of single events"):
        attention.export_onnx(path)
    network = NetworkConfig((8,), "hard_tanh", batch_norm=False)
    with pytest.raises(ModelError, match="activation 'hard_tanh' cannot be exported"):
        with_weights(model, 1.0, network=network).export_onnx(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        model.export_onnx(tmp_path / "nowhere" / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigurationError, match=r"needs onnx; .*milinfer\[onnx\]"):
        model.export_onnx(path)
    assert not list(tmp_path.iterdir())
