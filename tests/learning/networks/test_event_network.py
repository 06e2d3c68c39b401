"""Networks as arrays: numpy gives the numbers of Keras, whatever events stand beside an event."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.exceptions import ModelError
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.networks.event_network import ACTIVATIONS, EventNetwork, weight_shapes
from milinfer.learning.networks.heads import LinearHead
from milinfer.learning.networks.network import build_network
from milinfer.learning.networks.trained_network import TrainedNetwork

RNG = np.random.default_rng(1)


def networks(n_inputs=3, n_outputs=4, **options):
    """A Keras network with random weights, and the same as arrays."""
    config = NetworkConfig(**({"hidden": (16, 24)} | options))
    mean, variance = RNG.normal(size=n_inputs) * 10, RNG.uniform(0.1, 4, n_inputs)
    head, seed = LinearHead(np.eye(n_outputs)), np.random.SeedSequence(1)
    built = build_network(config, head, 1, mean, variance, seed)
    model = built.event_model
    model.set_weights(
        [w.numpy() + RNG.uniform(0, 0.5, w.shape).astype(np.float32) for w in model.weights]
    )
    return model, TrainedNetwork.of(built, mean, variance)


def events(n, n_inputs=3):
    return (10 * RNG.normal(size=(n, n_inputs))).astype(np.float32)


def require_close(outputs, expected):
    """Equal but for the rounding of sums in float32, whose terms are as large as any output."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_numbers_are_those_of_keras(activation):
    model, network = networks(activation=activation, batch_norm=False)
    features = events(500)
    require_close(network.outputs(features), model(features, training=False))


@pytest.mark.parametrize("options", [{}, {"hidden": ()}, {"hidden": (64, 64, 64), "dropout": 0.0}])
@pytest.mark.parametrize("n_outputs", [1, 7])
def test_every_architecture_has_the_numbers_of_keras(options, n_outputs):
    model, network = networks(n_outputs=n_outputs, **options)
    features = events(500)
    require_close(network.outputs(features), model(features, training=False))
    weights = [w.shape for w in network.weights]
    assert weights == weight_shapes(network.event_network.config, 3, n_outputs)


def test_other_activations_are_evaluated_by_keras():
    model, network = networks(activation="hard_sigmoid")
    assert not network.event_network.is_evaluated
    features = events(48)
    require_close(network.outputs(features), model(features, training=False))


@pytest.mark.parametrize("n_inputs", [1, 3])
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_an_event_does_not_depend_on_its_neighbours(n_inputs, n_outputs):
    """Nor on where it stands, on the chunks, and on the number of threads."""
    _, network = networks(n_inputs, n_outputs)
    features = events(70_000, n_inputs)
    whole = network.outputs(features)
    for start, stop in ((0, 1), (5, 12), (100, 148), (4000, 4200), (1, 70_000), (69_999, 70_000)):
        part = network.outputs(features[start:stop])
        np.testing.assert_array_equal(part, whole[start:stop])
    assert network.outputs(features[:0]).shape == (0, n_outputs)


def test_threads_change_nothing(monkeypatch):
    _, network = networks()
    features = events(70_000)
    outputs = []
    for n in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", n)
        outputs.append(network.outputs(features))
    np.testing.assert_array_equal(*outputs)


def test_weights_of_another_network_are_refused():
    _, network = networks()
    weights = network.event_network.weights
    with pytest.raises(ModelError, match=r"do not belong to a network of layers \[3, 8, 4\]"):
        EventNetwork(NetworkConfig(hidden=(8,)), np.zeros(3), np.ones(3), weights)
    with pytest.raises(ModelError, match="do not belong"):
        EventNetwork(network.event_network.config, np.zeros(3), np.ones(2), weights)
