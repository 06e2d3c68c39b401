"""Layers that compute what those of Keras compute."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2

from milinfer.learning.networks.backend import keras, tf
from milinfer.learning.networks.layers import BatchNormalization, Dropout

RNG = np.random.default_rng(1)


def value_and_gradients(layer, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * upstream)
    return [np.asarray(t) for t in (y, *tape.gradient(loss, [x, layer.gamma, layer.beta]))]


@pytest.mark.parametrize("offset", [0.0, 3.0, 20.0])
def test_batch_normalisation_is_that_of_keras(offset):
    # Widths from 0.1 to 10: float32 itself loses digits of the narrow ones far from zero.
    x = (RNG.normal(size=(500, 7)) * np.logspace(-1, 1, 7) + offset).astype(np.float32)
    upstream = RNG.normal(size=x.shape).astype(np.float32)
    layers = BatchNormalization(), keras.layers.BatchNormalization(momentum=0.9)
    gamma, beta = RNG.normal(size=(2, 7)).astype(np.float32)
    for layer in layers:
        layer.build(x.shape)
        layer.set_weights([gamma, beta, np.full(7, 0.9 * offset, np.float32), np.ones(7)])
    mine, theirs = (value_and_gradients(layer, x, upstream) for layer in layers)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * np.abs(b).max())
    for a, b in zip(layers[0].get_weights(), layers[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(*(layer(x) for layer in layers), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_batch_normalisation_is_that_of_differences():
    layer = BatchNormalization()
    x, upstream = RNG.normal(size=(2, 20, 3)).astype(np.float32)
    layer.build(x.shape)
    _, dx, *_ = value_and_gradients(layer, x, upstream)
    for row, column in ((0, 0), (7, 1), (19, 2)):
        step = np.zeros_like(x)
        step[row, column] = 1e-2
        up, down = (np.asarray(layer(x + s, training=True), float) for s in (step, -step))
        assert dx[row, column] == pytest.approx(np.sum((up - down) * upstream) / 2e-2, abs=2e-3)


def test_a_constant_column_is_normalised_to_nothing():
    x = np.full((50, 2), 7.0, np.float32)
    np.testing.assert_allclose(BatchNormalization()(x, training=True), 0, atol=1e-3)


def masks(rate, shape, n, seed=1, jit=False):
    layer = Dropout(rate, seed=seed)
    run = tf.function(lambda x: layer(x, training=True), jit_compile=jit)
    return np.stack([np.asarray(run(tf.ones(shape))) for _ in range(n)])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.83])
def test_dropped_numbers_are_as_many_as_asked_and_independent(rate):
    """Rows, columns, neighbours and steps: counts as binomial ones, no correlation."""
    shape, n = (2000, 64), 8
    y = masks(rate, shape, n)
    dropped = y == 0
    np.testing.assert_allclose(y[~dropped], 1 / (1 - rate), rtol=1e-6)
    total = dropped.size
    low, high = binom.interval(1 - 1e-4, total, rate)
    assert low <= dropped.sum() <= high
    for axes in ((0, 1), (0, 2), (1, 2)):
        counts = dropped.sum(axis=axes)
        trials = total // len(counts)
        statistic = np.sum((counts - trials * rate) ** 2) / (trials * rate * (1 - rate))
        assert 1e-4 < chi2.cdf(statistic, len(counts)) < 1 - 1e-4
    centred = (dropped - rate) / np.sqrt(rate * (1 - rate))
    pairs = {
        "steps": (centred[1:], centred[:-1]),
        "rows": (centred[:, 1:], centred[:, :-1]),
        "columns": (centred[:, :, 1:], centred[:, :, :-1]),
        "halves": (centred[:, :1000], centred[:, 1000:]),
        "distant steps": (centred[4:], centred[:-4]),
    }
    for name, (a, b) in pairs.items():
        assert abs(np.mean(a * b)) < 4.5 / np.sqrt(a.size), name
    flat = centred.reshape(n, -1)
    correlation = np.corrcoef(flat)[np.triu_indices(n, 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(flat.shape[1])


def test_seeds_give_masks_of_their_own_the_same_under_xla():
    first, again, other = (masks(0.3, (500, 16), 3, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.corrcoef(first.ravel(), other.ravel())[0, 1] == pytest.approx(0, abs=0.03)
    np.testing.assert_array_equal(masks(0.3, (500, 16), 3, jit=True) == 0, first == 0)


def test_nothing_is_dropped_without_need():
    x = tf.constant(RNG.normal(size=(4, 3)).astype(np.float32))
    np.testing.assert_array_equal(Dropout(0.5, seed=1)(x), x)
    np.testing.assert_array_equal(Dropout(0.0, seed=1)(x, training=True), x)


def test_gradients_pass_where_nothing_is_dropped():
    layer = Dropout(0.4, seed=3)
    x = tf.ones((100, 5))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)
