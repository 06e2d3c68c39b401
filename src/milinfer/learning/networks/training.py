"""Train networks of bags, with new bags in every epoch.

A small network trains in less time than TensorFlow and XLA need to compile its graph.  One graph
therefore trains all networks that differ only in their variables (the members of an ensemble, or
trainings on other data), and the last few graphs are kept.  Batches are selected by index from
tensors that are not moved, so only the batch itself is copied.  No Python code runs for a batch.

Importing this module imports Keras.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import Any

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.learning.networks.backend import keras, require_threads, tf
from milinfer.learning.networks.configs import BATCH_EVENTS, TrainingConfig
from milinfer.learning.networks.losses import RatioLoss, loss, paired_cross_entropy
from milinfer.learning.networks.network import BagNetwork
from milinfer.learning.networks.training_bags import EpochBags, StreamedBags, TrainingBags

__all__ = ["FEW_STEPS", "TrainingLoop", "copy_variables", "total_loss", "train_network"]


# A loop that was compiled for more batch sizes than this is not kept.
_MOST_SHAPES = 16
# XLA takes two seconds to compile a step of a small network, and saves 2 to 4 ms in each step.
FEW_STEPS = 300
"""XLA does not compile trainings of at most this number of steps."""


def train_network(
    network: BagNetwork,
    train: TrainingBags | StreamedBags,
    validation: TrainingBags,
    config: TrainingConfig,
    seed: np.random.SeedSequence,
    *,
    loss_name: str = "cross-entropy",
    score_weight: float = 0.0,
    keep_last: bool = False,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, list[float]]:
    """Train a bag network and restore its best weights.

    Parameters
    ----------
    network
        Network of :func:`milinfer.learning.networks.network.build_network`.
    train, validation
        Events for training and events for early stopping.  No event may be in both.  Training
        events may be read in pieces; the optimiser keeps its state from one piece to the next.
    config
        Settings of the optimiser.
    seed
        Random seed of the grouping into bags.  Every epoch has another grouping.
    loss_name
        Name in :data:`milinfer.learning.networks.losses.LOSSES`, ``"score"`` for the error of the
        score alone, or ``"pairs"`` for
        :func:`~milinfer.learning.networks.losses.paired_cross_entropy`.
    score_weight
        Weight of the squared error of the score in the loss, if the targets have scores.
    keep_last
        Keep the last weights of a cosine schedule instead of the weights with the lowest validation
        loss.  If ratios are close to one, the loss hardly changes from epoch to epoch, and its
        minimum is accidental.
    on_epoch
        Function that is called as ``on_epoch(epoch, logs)`` after every epoch.

    Returns
    -------
    dict
        The history: one value per epoch for each of ``loss``, ``val_loss``, ``learning_rate``.

    Raises
    ------
    ModelError
        If the loss is not finite, or the trained network has the same output for all bags.
    """
    require_threads(compiled=True)
    train_seed, validation_seed = seed.spawn(2)
    held_out = validation.draw(np.random.default_rng(validation_seed))
    # Not by idle loops: the last digits would depend on previous trainings.
    compiled = not _is_short(train, config, validation.bag_size)
    decay = config.weight_decay
    kind = (_kind(network, validation, loss_name, score_weight), compiled, decay)
    loop = _IDLE_LOOPS.take(kind)
    if loop is None:
        combined = _named_loss(loss_name, validation.n_classes, score_weight)
        model = network.structure.build_blank().bag_model
        loop = TrainingLoop(model, combined, compiled=compiled, weight_decay=decay)
    try:
        history = _train(
            loop,
            network,
            train,
            validation,
            config,
            train_seed,
            held_out,
            on_epoch,
            keep_last=keep_last,
        )
    finally:
        # After an error too: the next training starts from other variables.
        if loop.n_shapes <= _MOST_SHAPES:
            _IDLE_LOOPS.give_back(kind, loop)
    _require_alive(network, validation, held_out)
    return history


def _train(
    loop: TrainingLoop,
    network: BagNetwork,
    train: TrainingBags | StreamedBags,
    validation: TrainingBags,
    config: TrainingConfig,
    seed: np.random.SeedSequence,
    held_out: EpochBags,
    on_epoch: Callable[[int, dict[str, float]], None] | None,
    *,
    keep_last: bool,
) -> dict[str, list[float]]:
    """Run the epochs, leave the best weights in the network, and return the history."""
    loop.start(network.bag_model, config.learning_rate)
    model, optimizer = loop.model, loop.optimizer
    history: dict[str, list[float]] = {"loss": [], "val_loss": [], "learning_rate": []}
    best, best_weights, waited = np.inf, model.get_weights(), 0
    for epoch in range(config.epochs):
        rates = _rates(config, epoch, float(optimizer.learning_rate.numpy()))
        value = _one_epoch(loop, train, config, rates, seed.spawn(1)[0])
        val_loss = loop.evaluate(validation, held_out, config.batch_events or BATCH_EVENTS[1])
        logs = {"loss": value, "val_loss": val_loss, "learning_rate": rates[1]}
        for name, number in logs.items():
            history[name].append(number)
        if not np.isfinite(value) or not np.isfinite(val_loss):
            msg = (
                f"the training loss became {value} (validation: {val_loss}) in epoch {epoch + 1}; "
                "look for outliers in the features, or lower learning_rate"
            )
            raise ModelError(msg)
        if on_epoch is not None:
            copy_variables(model, network.bag_model)
            on_epoch(epoch, logs)
        if val_loss < best:
            best, best_weights, waited = val_loss, model.get_weights(), 0
            continue
        waited += 1
        if config.schedule == "plateau":
            if waited >= 2 * config.patience:
                break
            if waited % config.patience == 0:
                optimizer.learning_rate.assign(max(rates[1] / 2, config.min_learning_rate))
        elif config.schedule == "anneal" and waited >= config.patience:
            if rates[1] / 3 < config.min_learning_rate:
                break
            model.set_weights(best_weights)
            optimizer.learning_rate.assign(rates[1] / 3)
            waited = 0
    if not (keep_last and config.schedule == "cosine"):
        model.set_weights(best_weights)
    copy_variables(model, network.bag_model)
    return history


def _is_short(train: TrainingBags | StreamedBags, config: TrainingConfig, bag_size: int) -> bool:
    """Return whether a training has so few steps that compilation with XLA takes longer."""
    if config.epochs > FEW_STEPS:
        return False
    if isinstance(train, StreamedBags):
        n_pieces, n_bags = train.n_pieces, train.n_bags
    else:
        n_pieces, n_bags = 1, len(train.draw(np.random.default_rng(0)).index)
    batch_events = config.batch_for(n_bags, bag_size)
    n_batches = n_pieces * _n_batches(max(1, n_bags // n_pieces), bag_size, batch_events)
    return config.epochs * n_batches <= FEW_STEPS


def _n_batches(n_bags: int, bag_size: int, batch_events: int) -> int:
    return min(max(1, n_bags * bag_size // batch_events), n_bags)


def _require_alive(network: BagNetwork, bags: TrainingBags, drawn: EpochBags) -> None:
    """Raise if a network has the same output for all bags, so that its likelihood is flat."""
    index, labels, _, theta = (x[:64] for x in drawn)
    # An input θ is the same for all bags, so that the output must depend on the events.
    inputs, _ = bags.batch(index, labels, np.full_like(theta, theta[0]))
    outputs = np.asarray(network.bag_model(inputs, training=False))
    if len(outputs) > 1 and not np.ptp(outputs, axis=0).any():
        msg = (
            "the training failed: the network gives the same output for all bags; lower "
            "learning_rate, choose another activation or seed, or a weaker regularisation"
        )
        raise ModelError(msg)


class IdleLoops:
    """Compiled training loops that are not in use, for the last few kinds of networks.

    A training takes a loop out, so that trainings in several threads never share a loop.

    Parameters
    ----------
    n_kinds
        Number of kinds of networks whose loops are kept.
    """

    def __init__(self, n_kinds: int) -> None:
        self._n_kinds = n_kinds
        self._loops: OrderedDict[Hashable, list[TrainingLoop]] = OrderedDict()
        self._lock = Lock()

    def take(self, kind: Hashable) -> TrainingLoop | None:
        """Take out a loop of this kind; None if there is none."""
        with self._lock:
            loops = self._loops.get(kind)
            return loops.pop() if loops else None

    def give_back(self, kind: Hashable, loop: TrainingLoop) -> None:
        """Keep a loop for later use, and drop the kind that was kept for the longest time."""
        with self._lock:
            self._loops.setdefault(kind, []).append(loop)
            self._loops.move_to_end(kind)
            while len(self._loops) > self._n_kinds:
                self._loops.popitem(last=False)

    def clear(self) -> None:
        """Forget all loops."""
        with self._lock:
            self._loops.clear()

    def __len__(self) -> int:
        return len(self._loops)


_IDLE_LOOPS = IdleLoops(n_kinds=8)


def _kind(network: BagNetwork, bags: TrainingBags, loss_name: str, score_weight: float) -> Hashable:
    """Return everything that a graph contains; networks with equal results share a graph."""
    places = [(tuple(v.shape), str(v.dtype), v.value.device) for v in network.bag_model.variables]
    data = (type(bags).__name__, sorted(bags.data), bags.n_classes, bags.bag_size)
    return _hashable((network.structure, places, data, loss_name, score_weight))


def _hashable(value: Any) -> Hashable:
    """Return the content of settings and arrays in a form that can be compared and looked up."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if dataclasses.is_dataclass(value):
        # Its fields, without the properties that it has cached.
        fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return type(value).__qualname__, _hashable(fields)
    if isinstance(value, Mapping):
        return tuple((key, _hashable(v)) for key, v in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_hashable(v) for v in value)
    hashable: Hashable = value
    return hashable


def _rates(config: TrainingConfig, epoch: int, current: float) -> tuple[float, float]:
    """Return the learning rates at the start and at the end of an epoch."""
    if config.schedule != "cosine":
        return current, current
    low, high = config.min_learning_rate, config.learning_rate
    start, end = (np.cos(np.pi * np.array([epoch, epoch + 1]) / config.epochs) + 1) / 2
    return float(low + (high - low) * start), float(low + (high - low) * end)


def _one_epoch(
    loop: TrainingLoop,
    train: TrainingBags | StreamedBags,
    config: TrainingConfig,
    rates: tuple[float, float],
    seed: np.random.SeedSequence,
) -> float:
    """Train on all pieces of an epoch; return the mean loss."""
    rng = np.random.default_rng(seed)
    if not isinstance(train, StreamedBags):
        drawn = train.draw(rng)
        return loop.train(train, drawn, config.batch_for(*drawn.index.shape), rates)[0]
    stops = np.linspace(*rates, train.n_pieces + 1)
    losses, sizes = [], []
    # Another thread reads pieces ahead, with its own random generator.
    pieces = train.pieces(np.random.default_rng(seed.spawn(1)[0]))
    for bags, start, stop in zip(pieces, stops[:-1], stops[1:], strict=True):
        drawn = bags.draw(rng)
        batch_events = config.batch_for(train.n_pieces * len(drawn.index), bags.bag_size)
        value, n_batches = loop.train(bags, drawn, batch_events, (start, stop))
        losses.append(value)
        sizes.append(n_batches)
    return float(np.average(losses, weights=sizes))


def copy_variables(source: Any, target: Any) -> None:
    """Copy weights, moving averages and states of dropout from one model to another."""
    for value, variable in zip(source.variables, target.variables, strict=True):
        variable.assign(value)


class TrainingLoop:
    """Optimiser steps of an epoch as one graph, so that Python runs once per epoch, not per batch.

    Batches are selected by index from tensors on the device of the network.  XLA compiles each step
    as a whole, unless `compiled` is false.  `weight_decay` shrinks only the kernels of dense
    layers.
    """

    def __init__(
        self,
        model: Any,
        total_loss: Callable[[Any, Any], Any],
        *,
        compiled: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        self.model, self._total_loss = model, total_loss
        self.optimizer = keras.optimizers.Adam(weight_decay=weight_decay or None)
        if weight_decay:
            others = [v for v in model.trainable_variables if v.name != "kernel"]
            self.optimizer.exclude_from_weight_decay(var_list=others)
        self.optimizer.build(model.trainable_variables)
        # Without XLA a function of its own would only take longer to trace.
        self._step = (
            tf.function(self._one_step, jit_compile=True, autograph=False)
            if compiled
            else self._one_step
        )
        self._graphs: dict[str, Any] = {}
        self._batches: set[int] = set()

    @property
    def n_shapes(self) -> int:
        """How often a step was compiled: once for each number of bags in a batch."""
        return len(self._batches)

    def start(self, model: Any, learning_rate: float) -> None:
        """Start a new training from the variables of a model of the same structure."""
        copy_variables(model, self.model)
        for variable in self.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self.optimizer.learning_rate.assign(learning_rate)

    def train(
        self, bags: TrainingBags, drawn: EpochBags, batch_events: int, rates: tuple[float, float]
    ) -> tuple[float, int]:
        """Run an epoch or a piece of it; return the mean loss and the number of batches."""
        n_bags, bag_size = drawn.index.shape
        n_batches = _n_batches(n_bags, bag_size, batch_events)
        # Batches have one size, so that one compilation serves all.  The few bags that are left
        # over, fewer than there are batches, differ from epoch to epoch.
        batch = n_bags // n_batches
        self._batches.add(batch)
        rows = slice(0, n_batches * batch)
        grouped = [tf.reshape(x[rows], (n_batches, batch, *x.shape[1:])) for x in drawn]
        learning_rates = tf.constant(np.linspace(*rates, n_batches), dtype=tf.float32)
        value = self._graph(self._one_epoch, bags, [*grouped, learning_rates], open_axes=2)
        return float(value), n_batches

    def evaluate(self, bags: TrainingBags, drawn: EpochBags, batch_events: int) -> float:
        """Return the mean loss over all bags, without dropout and with regularisation."""
        size = max(1, 16 * batch_events // drawn.index.shape[1])
        total = 0.0
        for start in range(0, len(drawn.index), size):
            part = [tf.constant(x[start : start + size]) for x in drawn]
            total += float(self._graph(self._one_score, bags, part))
        regularisation = float(sum(self.model.losses, start=0.0))
        return total / float(np.sum(drawn.weights, dtype=np.float64)) + regularisation

    def _graph(
        self,
        function: Callable[..., Any],
        bags: TrainingBags,
        tensors: list[Any],
        open_axes: int = 1,
    ) -> Any:
        """Trace a function once for all numbers of events, bags and batches, and run it.

        The data are arguments, because a graph that contains them cannot be used for other data.
        """
        data_specs = {name: _open_spec(x, 1) for name, x in bags.data.items()}
        specs = [_open_spec(x, open_axes) for x in tensors]
        key = f"{function.__name__} {type(bags).__name__} {[*data_specs.items()]} {specs}"
        if key not in self._graphs:
            graph = tf.function(lambda data, *rest: function(bags, data, *rest), autograph=False)
            self._graphs[key] = graph.get_concrete_function(data_specs, *specs)
        return self._graphs[key](bags.data, *tensors)

    def _one_epoch(
        self,
        bags: TrainingBags,
        data: Mapping[str, Any],
        index: Any,
        labels: Any,
        weights: Any,
        theta: Any,
        rates: Any,
    ) -> Any:
        def one_batch(b: Any, total: Any) -> tuple[Any, Any]:
            inputs, targets = bags.batch(index[b], labels[b], theta[b], data)
            self.optimizer.learning_rate.assign(rates[b])
            value = self._step(inputs, targets, weights[b])
            return b + 1, total + tf.cast(value, tf.float64)

        n_batches = tf.shape(index)[0]
        start = (tf.constant(0), tf.constant(0.0, tf.float64))
        # One after the other, because each batch starts from the variables after the last batch.
        _, total = tf.while_loop(
            lambda b, _: b < n_batches, one_batch, start, parallel_iterations=1
        )
        return total / tf.cast(n_batches, tf.float64)

    def _one_step(self, inputs: Any, targets: Any, weights: Any) -> Any:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            losses = self._total_loss(targets, self.model(inputs, training=True))
            value = tf.reduce_mean(losses * weights) + sum(self.model.losses)
        self.optimizer.apply(tape.gradient(value, variables), variables)
        return value

    def _one_score(
        self,
        bags: TrainingBags,
        data: Mapping[str, Any],
        index: Any,
        labels: Any,
        weights: Any,
        theta: Any,
    ) -> Any:
        inputs, targets = bags.batch(index, labels, theta, data)
        losses = self._total_loss(targets, self.model(inputs, training=False))
        return tf.reduce_sum(tf.cast(losses * weights, tf.float64))


def _open_spec(tensor: Any, axes: int) -> Any:
    """Return shape and type of a tensor whose first axes may have any length."""
    shape = tuple(tensor.shape)
    open_shape = (*[None] * min(axes, len(shape)), *shape[axes:])
    return tf.TensorSpec(open_shape, tf.as_dtype(tensor.dtype))


def _named_loss(name: str, n_classes: int, score_weight: float) -> Callable[[Any, Any], Any]:
    """Return the function that computes the loss from targets and outputs, by name."""
    if name == "pairs":
        return lambda targets, outputs: paired_cross_entropy(outputs, targets)
    return total_loss(None if name == "score" else loss(name), n_classes, score_weight)


def total_loss(
    ratio: RatioLoss | None, n_classes: int, score_weight: float
) -> Callable[[Any, Any], Any]:
    """Return the loss of each bag, with the squared error of the score if `score_weight` is set."""
    ops = keras.ops

    def total(targets: Any, outputs: Any) -> Any:
        if not score_weight and ratio is not None:
            return ratio(outputs, targets)
        labels, scores = targets[:, :n_classes], targets[:, n_classes:]
        value = 0.0 if ratio is None else ratio(outputs[:, :n_classes], labels)
        # Each point counts in proportion to the probability that the event comes from it.
        squared = ops.square(outputs[:, n_classes:] - scores)
        n_parameters = squared.shape[1] // n_classes
        weights = ops.repeat(labels, n_parameters, axis=1)
        return value + score_weight * ops.sum(weights * squared, axis=1)

    return total
