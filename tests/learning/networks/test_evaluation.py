"""Networks as graphs: the numbers are those of Keras, and no graph keeps its model."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.networks.evaluation import evaluate
from milinfer.learning.networks.heads import LinearHead
from milinfer.learning.networks.network import build_network
from milinfer.learning.networks.trained_network import keras_outputs

RNG = np.random.default_rng(1)


def network(pooling="mean", **options):
    config = NetworkConfig(**({"hidden": (16, 16)} | options))
    seed = np.random.SeedSequence(1)
    head = LinearHead(np.eye(3))
    return build_network(config, head, 5, np.zeros(2), np.ones(2), seed, pooling=pooling)


def assert_same_numbers(found, expected):
    """Kernels that a graph joins round differently from separate ones on some processors."""
    expected = np.asarray(expected)
    rounding = 4 * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("activation", "batch_norm"),
    [("elu", True), ("gelu", False), ("relu", False), ("silu", True), ("tanh", False)],
)
def test_the_numbers_are_those_of_keras(activation, batch_norm):
    model = network(activation=activation, batch_norm=batch_norm).event_model
    for n in (1, 48, 1000):
        events = RNG.normal(size=(n, 2)).astype(np.float32)
        assert_same_numbers(evaluate(model, events), model(events, training=False))


@pytest.mark.parametrize("pooling", ["attention", "max"])
def test_the_numbers_of_bags_are_those_of_keras(pooling):
    parts = network(pooling, bag_hidden=(8,))
    events = RNG.normal(size=(40, 2)).astype(np.float32)
    summaries = evaluate(parts.event_model, events)
    assert_same_numbers(summaries, parts.event_model(events, training=False))
    counts = RNG.integers(1, 9, 40).astype(np.float32)
    expected = parts.bag_head([summaries, counts], training=False)
    assert_same_numbers(evaluate(parts.bag_head, summaries, counts), expected)


def test_weights_that_change_later_count():
    model = network().event_model
    events = RNG.normal(size=(10, 2)).astype(np.float32)
    before = evaluate(model, events)
    model.set_weights([2 * w for w in model.get_weights()])
    after = evaluate(model, events)
    assert not np.array_equal(after, before)
    assert_same_numbers(after, model(events, training=False))


def test_one_graph_serves_all_lengths(monkeypatch):
    model = network().event_model
    called = []
    call = type(model).__call__
    monkeypatch.setattr(
        type(model), "__call__", lambda *a, **k: called.append(None) or call(*a, **k)
    )
    for n in (0, 1, 7, 500):
        assert keras_outputs(model, np.zeros((n, 2), np.float32)).shape == (n, 3)
    assert len(called) == 1


def test_no_graph_keeps_its_model():
    gc.freeze()  # what is there already need not be searched
    model = network().event_model
    evaluate(model, np.zeros((1, 2), np.float32))
    weak = weakref.ref(model)
    del model
    gc.collect()
    assert weak() is None
