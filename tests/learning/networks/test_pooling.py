"""Pooling of events into bags: padded and ragged, against closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.learning.networks.backend import keras
from milinfer.learning.networks.pooling import POOLINGS, BagPooling, segment_reduce
from milinfer.samples.bags import bag_offsets

WIDTH = 3


ATTENTIONS = ("attention", "gated-attention")


LAYERS = {kind: BagPooling(kind, WIDTH, 4, sharpness=1.5, seed=5) for kind in POOLINGS}


# Enough: what breaks one bag breaks nearly all, and each kind of pooling has its own.
few_examples = settings(max_examples=8, deadline=None)


every_kind = pytest.mark.parametrize("kind", POOLINGS)


bag_sizes = st.lists(st.integers(1, 7), min_size=1, max_size=5)


seeds = st.integers(0, 2**32 - 1)


def embeddings(n_events, seed, scale=2.0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (n_events, WIDTH)).astype(np.float32)


def offsets_of(sizes):
    return np.concatenate([[0], np.cumsum(sizes)])


def padded(events, sizes, rng, extra=0, value=None):
    """Bags in an array, events in random rows of it, and the mask of the events."""
    rows = max(sizes) + extra
    if value is None:
        bags = rng.uniform(-1e4, 1e4, (len(sizes), rows, events.shape[1])).astype(np.float32)
    else:
        bags = np.full((len(sizes), rows, events.shape[1]), value, np.float32)
    mask = np.zeros(bags.shape[:2], bool)
    for b, (start, size) in enumerate(zip(offsets_of(sizes), sizes, strict=False)):
        where = np.sort(rng.choice(rows, size, replace=False))
        bags[b, where] = events[start : start + size]
        mask[b, where] = True
    return bags, mask


def ragged(layer, events, sizes):
    summary = np.asarray(layer.summarise(events))
    reduced = segment_reduce(summary, offsets_of(sizes), layer.reduction)
    return np.asarray(layer.finish(reduced, sizes))


def pool(layer, *bags):
    """Of one bag, without padding."""
    return np.asarray(layer(np.stack(bags).astype(np.float32)))


def gradients(layer, bags, mask):
    """Of the sum of squared outputs, with respect to the embedding and to the weights."""
    import tensorflow as tf

    bags = tf.constant(bags)
    with tf.GradientTape() as tape:
        tape.watch(bags)
        loss = tf.reduce_sum(layer(bags, mask=mask) ** 2)
    weights = [w.value for w in layer.trainable_weights]
    first, *rest = tape.gradient(loss, [bags, *weights])
    return first.numpy(), [np.asarray(g) for g in rest]


@every_kind
@few_examples
@given(n_events=st.integers(1, 12), seed=seeds)
def test_the_order_of_events_is_irrelevant(kind, n_events, seed):
    events = embeddings(n_events, seed)
    shuffled = np.random.default_rng(seed).permutation(events)
    np.testing.assert_allclose(
        pool(LAYERS[kind], shuffled), pool(LAYERS[kind], events), rtol=1e-5, atol=1e-5
    )


@every_kind
@few_examples
@given(sizes=bag_sizes, extra=st.integers(0, 6), seed=seeds)
def test_padding_is_irrelevant(kind, sizes, extra, seed):
    events = embeddings(sum(sizes), seed)
    rng = np.random.default_rng(seed)
    expected = np.concatenate(
        [pool(LAYERS[kind], events[a:b]) for a, b in pairwise(offsets_of(sizes))]
    )
    for value in (None, 0.0, 1e30, np.nan):
        bags, mask = padded(events, sizes, rng, extra, value)
        output = np.asarray(LAYERS[kind](bags, mask=mask))
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@every_kind
@few_examples
@given(sizes=bag_sizes, seed=seeds)
def test_ragged_bags_give_what_padded_bags_give(kind, sizes, seed):
    events = embeddings(sum(sizes), seed)
    bags, mask = padded(events, sizes, np.random.default_rng(seed), extra=2)
    output = ragged(LAYERS[kind], events, sizes)
    assert output.dtype == np.float64
    assert output.shape == (len(sizes), LAYERS[kind].output_width)
    np.testing.assert_allclose(
        output, np.asarray(LAYERS[kind](bags, mask=mask)), rtol=2e-5, atol=2e-5
    )


@every_kind
@few_examples
@given(n_events=st.integers(2, 30), cut=st.floats(0.01, 0.99), seed=seeds)
def test_halves_make_the_whole(kind, n_events, cut, seed):
    layer = LAYERS[kind]
    summary = np.asarray(layer.summarise(embeddings(n_events, seed)))
    assert summary.shape == (n_events, layer.summary_width)
    half = min(max(1, int(cut * n_events)), n_events - 1)
    halves = segment_reduce(summary, np.array([0, half, n_events]), layer.reduction)
    (whole,) = segment_reduce(summary, np.array([0, n_events]), layer.reduction)
    if layer.reduction == "sum":
        np.testing.assert_allclose(halves.sum(axis=0), whole, rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(halves.max(axis=0), whole)


@every_kind
@few_examples
@given(sizes=bag_sizes, scale=st.sampled_from([0.0, 1.0, 30.0, 1e3]), seed=seeds)
def test_gradients_are_finite_and_ignore_padding(kind, sizes, scale, seed):
    events = embeddings(sum(sizes), seed, scale)
    bags, mask = padded(events, sizes, np.random.default_rng(seed), extra=1)
    bags[~mask] = np.nan
    of_events, of_weights = gradients(LAYERS[kind], bags, mask)
    assert np.all(np.isfinite(of_events))
    assert np.all(of_events[~mask] == 0)
    assert all(np.all(np.isfinite(g)) for g in of_weights)
    assert len(of_weights) == {"attention": 3, "gated-attention": 5}.get(kind, 0)


@every_kind
def test_gradients_are_those_of_finite_differences(kind):
    events = embeddings(5, 3)[None]
    mask = np.array([[True, True, False, True, True]])
    of_events, of_weights = gradients(LAYERS[kind], events, mask)
    rng = np.random.default_rng(1)
    step = rng.normal(size=events.shape).astype(np.float32) * 1e-2

    def loss(x):
        return float(np.sum(np.asarray(LAYERS[kind](x, mask=mask), np.float64) ** 2))

    slope = (loss(events + step) - loss(events - step)) / 2
    assert slope == pytest.approx(float(np.sum(of_events * step)), rel=1e-2, abs=1e-4)
    assert all(np.any(g != 0) for g in of_weights)


@every_kind
@few_examples
@given(seed=seeds, scale=st.sampled_from([1.0, 1e2, 1e4]))
def test_any_embedding_gives_finite_numbers(kind, seed, scale):
    events = embeddings(1_000, seed, scale)
    assert np.all(np.isfinite(np.asarray(LAYERS[kind].summarise(events))))
    assert np.all(np.isfinite(pool(LAYERS[kind], events)))


@every_kind
def test_an_empty_bag_is_not_a_number_and_leaves_the_others_alone(kind):
    events = embeddings(3, 1)
    bags = np.stack([events, events])
    mask = np.array([[True] * 3, [False] * 3])
    output = np.asarray(LAYERS[kind](bags, mask=mask))
    np.testing.assert_array_equal(output[:1], np.asarray(LAYERS[kind](bags, mask=mask | True))[:1])
    assert np.all(np.isnan(output[1]))


@every_kind
@pytest.mark.parametrize("shape", [(2, 1), (1, 3)])
def test_a_mask_is_broadcast(kind, shape):
    bags = np.stack([embeddings(3, 1), embeddings(3, 2)])
    mask = np.ones(shape, bool)
    np.testing.assert_allclose(LAYERS[kind](bags, mask=mask), LAYERS[kind](bags), rtol=1e-6)


@every_kind
def test_a_model_comes_back_from_its_file(kind, tmp_path):
    events = keras.Input((None, 2))
    mask = keras.Input((None,), dtype="bool")
    dense = keras.layers.Dense(WIDTH, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer = BagPooling(kind, WIDTH, 4, sharpness=0.7, seed=9)
    model = keras.Model([events, mask], layer(dense(events), mask=mask))
    assert model.output_shape == (None, WIDTH)
    for weight in layer.weights:
        weight.assign(weight + 0.25)  # not what the seed gives
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    rng = np.random.default_rng(2)
    data = [rng.normal(size=(4, 5, 2)).astype(np.float32), rng.random((4, 5)) < 0.7]
    data[1][:, 0] = True
    np.testing.assert_array_equal(np.asarray(again(data)), np.asarray(model(data)), strict=True)
    assert again.layers[-1].get_config() == layer.get_config()


# A sum and a maximum of summaries.
@pytest.mark.parametrize("kind", ["gated-attention", "max"])
def test_a_model_trains_and_its_summaries_are_those_of_one_event_each(kind):
    """A model of single events, made of the trained layers, feeds the ragged path."""
    features = keras.Input((None, 2))
    dense = keras.layers.Dense(WIDTH, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer = BagPooling(kind, WIDTH, 4, seed=9)
    model = keras.Model(features, layer(dense(features)))
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    rng = np.random.default_rng(2)
    data = rng.normal(size=(32, 5, 2)).astype(np.float32)
    target = np.zeros((32, WIDTH), np.float32)
    before = np.mean(np.square(model(data)))
    model.fit(data, target, epochs=3, batch_size=8, shuffle=False, verbose=0)
    assert np.mean(np.square(model(data))) < before
    one = keras.Input((2,))
    event_model = keras.Model(one, layer.summarise(dense(one)))
    summary = np.asarray(event_model(data.reshape(-1, 2)))
    reduced = segment_reduce(summary, bag_offsets(160, 5), layer.reduction)
    np.testing.assert_allclose(
        np.asarray(layer.finish(reduced, np.full(32, 5))),
        np.asarray(model(data)),
        rtol=1e-4,
        atol=1e-5,
    )


@few_examples
@given(n_events=st.integers(1, 20), seed=seeds)
def test_mean_sum_and_max(n_events, seed):
    events = embeddings(n_events, seed)
    for kind, expected in (("mean", np.mean), ("sum", np.sum), ("max", np.max)):
        np.testing.assert_allclose(
            pool(LAYERS[kind], events)[0], expected(events, axis=0), rtol=1e-5, atol=1e-5
        )


@few_examples
@given(st.lists(st.floats(1e-6, 1 - 1e-3), min_size=1, max_size=20))
def test_noisy_or_of_known_probabilities(p):
    p = np.array(p)
    none = np.prod(1 - p)
    layer = BagPooling("noisy-or", 1)
    log_odds = pool(layer, np.log(p / (1 - p))[:, None])[0, 0]
    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(1 - none, rel=1e-4)
    expected = np.log(-np.expm1(np.log1p(-p).sum()) / none)
    assert log_odds == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_noisy_or_keeps_its_digits_at_both_ends():
    layer = BagPooling("noisy-or", 1)
    # Many surely negative events: the odds add up.  Surely positive ones: so do the log-odds.
    rare, sure = np.full((8, 1), -40.0), np.full((8, 1), 40.0)
    np.testing.assert_allclose(pool(layer, rare, sure)[:, 0], [-40 + np.log(8), 320], rtol=1e-6)
    np.testing.assert_allclose(pool(layer, rare[:1], sure[:1])[:, 0], [-40, 40], rtol=1e-6)
    beyond = pool(layer, np.full((8, 1), -1e4))
    np.testing.assert_allclose(beyond, -80 + np.log(8), rtol=1e-6)


@few_examples
@given(n_events=st.integers(1, 20), seed=seeds)
def test_log_sum_exp_goes_from_the_mean_to_the_maximum(n_events, seed):
    events = embeddings(n_events, seed)
    events = np.clip(events, -2, 2)
    previous = events.mean(axis=0) - 1e-4
    for sharpness in (0.02, 1.0, 5.0, 24.0):  # 48 / 24 = 2: the events are used as they are
        output = pool(BagPooling("log-sum-exp", WIDTH, sharpness=sharpness), events)[0]
        z = sharpness * events.astype(np.float64)
        expected = np.log(np.mean(np.exp(z), axis=0)) / sharpness
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
        assert np.all(output >= previous - 1e-4)
        assert np.all(output <= events.max(axis=0) + 1e-4)
        previous = output
    assert np.all(output >= events.max(axis=0) - np.log(n_events) / 24 - 1e-4)
    nearly_mean = pool(BagPooling("log-sum-exp", WIDTH, sharpness=0.02), events)[0]
    np.testing.assert_allclose(nearly_mean, events.mean(axis=0), atol=0.02 * 4 / 2 + 1e-4)


@pytest.mark.parametrize("kind", ATTENTIONS)
@few_examples
@given(n_events=st.integers(1, 20), seed=seeds)
def test_attention_is_the_softmax_of_its_scores(kind, n_events, seed):
    layer = LAYERS[kind]
    events = embeddings(n_events, seed)
    weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
    hidden = np.tanh(events @ weights[0] + weights[1])
    if kind == "gated-attention":
        hidden /= 1 + np.exp(-(events @ weights[3] + weights[4]))
    scores = np.exp(hidden @ weights[2])
    attention = scores / scores.sum()
    np.testing.assert_allclose(
        pool(layer, events)[0], np.sum(attention * events, axis=0), rtol=1e-4, atol=1e-5
    )
    summary = np.asarray(layer.summarise(events), np.float64)
    np.testing.assert_allclose(summary[:, -1:] / summary[:, -1].sum(), attention, rtol=1e-4)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_without_scores_is_the_mean(kind):
    layer = BagPooling(kind, WIDTH, 4)
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    events = embeddings(9, 4)
    np.testing.assert_allclose(pool(layer, events), [events.mean(axis=0)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("size", [1e3, -1e3])
def test_attention_scores_are_bounded(kind, size):
    layer = BagPooling(kind, WIDTH, 4)
    layer.set_weights([np.full_like(w, size) for w in layer.get_weights()])
    events = np.ones((2, WIDTH), np.float32)
    weight = np.asarray(layer.summarise(events))[:, -1]
    assert np.all(np.exp(-10.001) <= weight)
    assert np.all(weight <= np.exp(10.001))


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_weights_follow_from_the_seed_alone(kind):
    keras.utils.set_random_seed(1)
    first = BagPooling(kind, WIDTH, seed=3).get_weights()
    keras.utils.set_random_seed(2)
    again = BagPooling(kind, WIDTH, seed=3).get_weights()
    other = BagPooling(kind, WIDTH, seed=4).get_weights()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    if kind == "gated-attention":
        assert not np.array_equal(first[0], first[3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "median"}, "unknown pooling 'median'; use one of mean, sum, attention, gated-"),
        ({"width": 0}, "width=0"),
        ({"attention_width": -1}, "attention_width=-1"),
        ({"sharpness": 0.0}, "sharpness=0.0"),
        ({"sharpness": np.nan}, "sharpness=nan"),
        ({"sharpness": np.inf}, "sharpness=inf"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BagPooling(**{"kind": "mean", "width": 2} | options)


@every_kind
def test_an_embedding_of_another_width_is_refused(kind):
    with pytest.raises(ConfigurationError, match=rf"width {WIDTH}.*\(2, {WIDTH + 1}\)"):
        LAYERS[kind].summarise(np.ones((2, WIDTH + 1), np.float32))
    with pytest.raises(ConfigurationError, match=f"width {WIDTH}"):
        LAYERS[kind](np.ones((1, 2, WIDTH + 1), np.float32))


def test_half_precision_is_only_used_on_request():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        assert BagPooling("attention", 2).compute_dtype == "float32"
        assert BagPooling("mean", 2, dtype="float64").compute_dtype == "float64"
    finally:
        keras.mixed_precision.set_dtype_policy(before)


@few_examples
@given(sizes=bag_sizes, seed=seeds, reduction=st.sampled_from(["sum", "max"]))
def test_segments_are_those_of_a_loop(sizes, seed, reduction):
    summary = embeddings(sum(sizes), seed)
    offsets = offsets_of(sizes)
    expected = [
        getattr(np, reduction)(summary[a:b].astype(np.float64), axis=0)
        for a, b in pairwise(offsets)
    ]
    reduced = segment_reduce(summary, offsets, reduction)
    assert reduced.dtype == np.float64
    np.testing.assert_allclose(reduced, expected, rtol=1e-12, atol=1e-12)


def test_sums_of_many_events_keep_their_digits():
    summary = np.full((100_000, 1), 0.1, np.float32)
    reduced = segment_reduce(summary, np.array([0, 100_000]), "sum")
    assert reduced[0, 0] == pytest.approx(100_000 * float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 2, 2, 4], "bag 1 is empty: its offsets are 2 and 2"),
        ([0, 0, 4], "bag 0 is empty"),
        ([0, 4, 4], "bag 1 is empty"),
        ([0, 3, 2, 4], "bag 1 is empty: its offsets are 3 and 2"),
        ([1, 4], "from 1 to 4; they must run from 0 to the 4 events"),
        ([0, 3], "from 0 to 3"),
        ([0, 5], "from 0 to 5"),
        ([[0, 4]], r"offsets of shape \(1, 2\)"),
        ([0.0, 4.0], "type float64"),
    ],
)
@pytest.mark.parametrize("reduction", ["sum", "max"])
def test_offsets_that_lose_events_are_refused(offsets, message, reduction):
    with pytest.raises(SampleError, match=message):
        segment_reduce(np.ones((4, 2)), np.array(offsets), reduction)


def test_unsigned_offsets_are_checked_too():
    with pytest.raises(SampleError, match="bag 1 is empty"):
        segment_reduce(np.ones((4, 2)), np.array([0, 3, 2, 4], np.uint32), "sum")


def test_no_bags_of_no_events():
    with pytest.raises(SampleError, match="offsets are empty"):
        segment_reduce(np.ones((0, 2)), np.array([], np.int64), "sum")
    assert segment_reduce(np.ones((0, 2)), np.array([0]), "sum").shape == (0, 2)
    assert segment_reduce(np.ones((0, 2)), np.array([0]), "max").shape == (0, 2)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ConfigurationError, match="unknown reduction 'min'; use one of sum, max"):
        segment_reduce(np.ones((4, 2)), np.array([0, 4]), "min")
