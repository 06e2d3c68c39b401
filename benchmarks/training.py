"""Training speed in events per second, compared with a plain Keras pipeline and matrix products.

python benchmarks/training.py [--events 200000] [--batch 10000] [--repeats 6] [--quick]

The network of [AS] (36 features → 3 × (Dense 64, BatchNorm, ELU, Dropout 0.1, L2 1e-3) → mean
over the bag → softmax over 5 points; Adam) on bags of 1, 50 and 250 events.  The reference is what
public code of such analyses does: for each class a ``tf.data`` pipeline of events (shuffle, batch
into bags, label), with the classes taken in turns, shuffled and batched, and ``model.fit`` with its
defaults.  Both train whole epochs in turns in one process, drawing and shuffling of bags included.
The first epoch of each, with the compilation, does not count.  The last line on standard output is
one line of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from quick_size import parse

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.learning.networks.backend import keras, tf
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.heads import LinearHead
from milinfer.learning.networks.network import build_network
from milinfer.learning.networks.training import FEW_STEPS, train_network
from milinfer.learning.networks.training_bags import ClassBags

MEANS = [-0.5, -0.25, 0.0, 0.25, 0.5]
N_FEATURES = 36
QUICK = {
    "events": 5000,
    "batch": 1000,
    "repeats": 1,
    "bag_sizes": [50],
    "seconds": 0.02,
    "hidden": [16],
}


def reference_network(bag_size: int, hidden: Sequence[int]) -> keras.Model:
    """The same network from the layers of Keras."""
    bags = keras.Input((bag_size, N_FEATURES))
    x = keras.ops.reshape(bags, (-1, N_FEATURES))
    x = keras.layers.Normalization(mean=np.zeros(N_FEATURES), variance=np.ones(N_FEATURES))(x)
    for width in hidden:
        l2 = keras.regularizers.L2(1e-3)
        x = keras.layers.Dense(width, use_bias=False, kernel_regularizer=l2)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("elu")(x)
        x = keras.layers.Dropout(0.1)(x)
    x = keras.ops.mean(keras.ops.reshape(x, (-1, bag_size, hidden[-1])), axis=1)
    return keras.Model(bags, keras.layers.Dense(len(MEANS), activation="softmax")(x))


def reference_bags(samples: mil.SampleSet, bag_size: int, batch_events: int) -> tf.data.Dataset:
    """Dynamic bags by ``tf.data``: drawn anew in every epoch."""
    classes = []
    for k, sample in enumerate(samples):
        label = tf.one_hot(k, len(samples))
        events = tf.data.Dataset.from_tensor_slices(sample.features)
        bags = events.shuffle(len(sample)).batch(bag_size, drop_remainder=True)
        classes.append(bags.map(lambda x, y=label: (x, y), num_parallel_calls=tf.data.AUTOTUNE))
    # In turns: twice as fast as sample_from_datasets, which draws a class for each bag.
    turns = tf.data.Dataset.range(len(samples)).repeat(len(samples[0]) // bag_size)
    bags = tf.data.Dataset.choose_from_datasets(classes, turns)
    size = batch_events // bag_size
    return bags.shuffle(10 * size).batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class EpochTimer(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        self.seconds.append(time.perf_counter() - self._start)


def matrix_products(batch: int, hidden: Sequence[int], seconds: float) -> tuple[float, float]:
    """Events/s through the matrix products of all layers, forward and backward.

    The best of many by the clock, and the mean by the processor's time, which does not depend on
    what else the machine does.
    """
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.float32)

    widths = (N_FEATURES, *hidden, len(MEANS))
    weights = [normal(a, b) for a, b in itertools.pairwise(widths)]
    x = [normal(batch, width) for width in widths]

    @tf.function
    def step():
        products = []
        for w, before, after in zip(weights, x, x[1:], strict=False):
            products += [
                before @ w,
                tf.matmul(before, after, transpose_a=True),
                tf.matmul(after, w, transpose_b=True),
            ]
        return products

    step()
    best, steps, stop = np.inf, 0, time.perf_counter() + seconds
    cpu = time.process_time()
    while time.perf_counter() < stop:
        start = time.perf_counter()
        step()[-1].numpy()
        best = min(best, time.perf_counter() - start)
        steps += 1
    return batch / best, steps * batch / (time.process_time() - cpu)


def compare(bag_size: int, args: argparse.Namespace) -> dict[str, float]:
    """Events/s of milinfer, of the reference and of matrix products, in turns."""
    n = args.events // len(MEANS)
    samples = gaussian.samples(n, MEANS, seed=1, n_features=N_FEATURES)
    few = gaussian.samples(bag_size, MEANS, seed=2, n_features=N_FEATURES)  # to validate on
    one = np.ones(N_FEATURES)
    seed = np.random.SeedSequence(1)
    head = LinearHead(np.eye(len(MEANS)))
    network = build_network(NetworkConfig(tuple(args.hidden)), head, bag_size, 0 * one, one, seed)
    reference = reference_network(bag_size, args.hidden)
    reference.compile("adam", "categorical_crossentropy")
    bags, timer = reference_bags(samples, bag_size, args.batch), EpochTimer()
    ours, cpu, products = [], [], []
    start = (time.perf_counter(), time.process_time())
    # A training of few steps is not compiled by XLA; the speed is that of a longer one.
    epochs = args.repeats + 1
    if not args.quick:
        epochs = max(epochs, 1 + math.ceil(FEW_STEPS * args.batch / args.events))

    def in_turns(epoch: int, _logs: dict[str, float]) -> None:
        nonlocal start
        if epoch >= epochs - args.repeats:
            ours.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])
            products.append(matrix_products(args.batch, args.hidden, args.seconds / 2))
        if epoch >= epochs - args.repeats - 1:  # the first epoch of the reference is not counted
            reference.fit(bags, epochs=1, verbose=0, callbacks=[timer])
        start = (time.perf_counter(), time.process_time())

    train_network(
        network,
        ClassBags(samples, bag_size),
        ClassBags(few, bag_size),
        TrainingConfig(epochs, args.batch, schedule="cosine"),
        seed,
        on_epoch=in_turns,
    )
    rows = (ours, timer.seconds[1:])
    mine, theirs = (args.events / min(seconds) for seconds in rows)
    best, by_cpu = np.array(products).max(axis=0)
    return {
        "events_per_s": mine,
        "reference_events_per_s": theirs,
        "matrix_events_per_s": float(best),
        "ratio": mine / theirs,
        "ratio_of_medians": float(np.median(rows[1]) / np.median(rows[0])),
        "gemm_fraction": mine / float(best),
        "gemm_fraction_cpu": args.events / min(cpu) / float(by_cpu),
    }


def polynomial(args: argparse.Namespace) -> dict[str, float]:
    """The default network and batch of a polynomial head with joint labels."""
    rng = np.random.default_rng(3)
    plain = quadratic.samples(args.events // 5, [{"c1": c} for c in (-1, -0.5, 0, 0.5, 1)], seed=1)
    widened = []
    for sample in plain:
        noise = rng.normal(size=(len(sample), N_FEATURES - len(sample.feature_names)))
        names = (*sample.feature_names, *(f"noise{i}" for i in range(noise.shape[1])))
        features = np.column_stack([sample.features, noise])
        widened.append(replace(sample, features=features, feature_names=names))
    model = mil.BagLikelihood(head="polynomial", labels="joint", order=1, validation_fraction=0.01)
    training = replace(model.default_training, epochs=args.repeats + 1)
    network = replace(model.default_network, hidden=tuple(args.hidden))
    stamps: list[float] = []
    replace(model, network=network, training=training).fit(
        mil.SampleSet(tuple(widened)), on_epoch=lambda _: stamps.append(time.perf_counter())
    )
    speed = 0.99 * args.events / np.diff(stamps).min()
    return {
        "events_per_s": speed,
        "gemm_fraction": speed / matrix_products(2048, args.hidden, args.seconds)[0],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000, help="number of training events")
    parser.add_argument("--batch", type=int, default=10_000, help="events in a batch")
    parser.add_argument("--repeats", type=int, default=6, help="number of epochs that are timed")
    parser.add_argument("--bag-sizes", type=int, nargs="+", default=[1, 50, 250])
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="largest number of seconds for matrix products"
    )
    parser.add_argument(
        "--hidden", type=int, nargs="+", default=[64, 64, 64], help="widths of the layers"
    )
    args = parse(parser, QUICK, arguments)
    found = {f"n{n}": compare(n, args) for n in args.bag_sizes}
    found["joint"] = polynomial(args)
    for name, row in found.items():
        text = ", ".join(f"{k} {v:.3g}" for k, v in row.items())
        print(f"{name}: {text}", file=sys.stderr)
    result = {f"{key}_{name}": value for name, row in found.items() for key, value in row.items()}
    settings = {"events": args.events, "batch_events": args.batch, "repeats": args.repeats}
    devices = [d.device_type for d in tf.config.list_physical_devices()]
    print(json.dumps(result | settings | {"devices": devices}))


if __name__ == "__main__":
    main()
