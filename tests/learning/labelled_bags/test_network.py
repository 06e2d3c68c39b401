"""Training on labelled bags: Adam as Keras has it, and graphs that networks share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import milinfer as mil
from milinfer.learning.labelled_bags.network import (
    BagFit,
    LabelledNetwork,
    LabelledNetworkSpec,
    train_on_labels,
)
from milinfer.learning.labelled_bags.ragged import bag_rows, ragged_bags
from milinfer.learning.networks.backend import keras, tf

RNG = np.random.default_rng(5)
BAGS = ragged_bags([RNG.normal(size=(n, 3)) for n in RNG.integers(1, 6, 40)])
LABELS = RNG.integers(2, size=40).astype(float)


@pytest.mark.parametrize("pooling", ["gated-attention", "noisy-or"])
def test_steps_are_those_of_keras(pooling):
    """Three steps on all bags at once, against the optimiser and the variables of Keras."""
    spec = LabelledNetworkSpec(3, 1, (5,), "tanh", 0.0, pooling, 4, 1.0, seed=2)
    fit = BagFit("binary", 3, 5, 40, 0.05, 1e-3)
    everything = np.arange(40)
    trained, history = train_on_labels(spec, BAGS, LABELS, everything, everything, fit, RNG)
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True)
    network = LabelledNetwork(spec, "float32")
    network.set_weights(LabelledNetwork(spec, "float64").weights())
    rows, present = bag_rows(BAGS.offsets)
    optimizer = keras.optimizers.Adam(fit.learning_rate)
    losses = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            outputs = network.padded(BAGS.instances[rows].astype("f"), present, training=True)
            values = tf.nn.sigmoid_cross_entropy_with_logits(
                LABELS.astype("f"), tf.reshape(outputs, [-1])
            )
            squares = [tf.reduce_sum(tf.square(k)) for k in network.kernels]
            loss = tf.reduce_mean(values) + fit.l2 * tf.add_n(squares)
        variables = [v.value for v in network.variables]
        optimizer.apply(tape.gradient(loss, variables), network.variables)
        losses.append(float(loss))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for one, other in zip(trained.weights(), network.weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_networks_that_share_graphs_do_not_share_weights():
    """Side by side in threads, each gives what it gives alone; dropout has seeds of its own."""
    bags = BAGS.split(BAGS.instances)

    def outputs(seed):
        model = mil.BagClassifier(hidden=(6,), dropout=0.3, epochs=8, random_state=seed)
        return model.fit(bags, LABELS).decision_function(bags)

    seeds = [1, 2, 1, 3]
    alone = [outputs(seed) for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(outputs, seeds))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(alone[0], alone[2])
    assert not np.allclose(alone[0], alone[1])


def test_compiled_and_interpreted_steps_agree(monkeypatch):
    from milinfer.learning.labelled_bags import network as bag_training

    spec = LabelledNetworkSpec(3, 1, (5,), "relu", 0.25, "attention", 4, 1.0, seed=2)
    fit = BagFit("squared", 4, 5, 16, 0.01, 1e-4)
    train, rest = np.arange(30), np.arange(30, 40)
    found = []
    for limit in (0, 10**9):
        monkeypatch.setattr(bag_training, "_COMPILED_FROM", limit)
        rng = np.random.default_rng(1)
        found.append(train_on_labels(spec, BAGS, LABELS, train, rest, fit, rng)[1])
    np.testing.assert_allclose(found[0]["loss"], found[1]["loss"], rtol=1e-4)
    np.testing.assert_allclose(found[0]["val_loss"], found[1]["val_loss"], rtol=1e-4)
