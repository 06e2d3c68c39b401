"""The optimiser's steps as graphs that serve all networks of a kind.

Batches are made by index from tensors that stay in place: no Python per batch, and nothing is
copied but the batch itself.  Importing this module imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from milinfer.learning.networks.backend import keras, tf
from milinfer.learning.networks.losses import RatioLoss
from milinfer.learning.networks.targets import EpochBags, TrainingBags

__all__ = ["TrainingLoop", "copy_variables", "total_loss"]


def copy_variables(source: Any, target: Any) -> None:
    """Weights, moving averages and the states of dropout."""
    for value, variable in zip(source.variables, target.variables, strict=True):
        variable.assign(value)


class TrainingLoop:
    """The optimiser's steps of an epoch as one graph: Python runs once an epoch, not once a batch.

    Batches are gathered by index from tensors that stay where the network runs, and each step is
    compiled as a whole.
    """

    def __init__(self, model: Any, total_loss: Callable[[Any, Any], Any]) -> None:
        self.model, self._total_loss = model, total_loss
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build(model.trainable_variables)
        self._step = tf.function(self._one_step, jit_compile=True, autograph=False)
        self._graphs: dict[str, Any] = {}
        self._batches: set[int] = set()

    @property
    def n_shapes(self) -> int:
        """Number of compilations of a step: one for each number of bags in a batch."""
        return len(self._batches)

    def start(self, model: Any, learning_rate: float) -> None:
        """Begin anew, from the variables of a model of the same kind."""
        copy_variables(model, self.model)
        for variable in self.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self.optimizer.learning_rate.assign(learning_rate)

    def train(
        self, bags: TrainingBags, drawn: EpochBags, batch_events: int, rates: tuple[float, float]
    ) -> tuple[float, int]:
        """Run an epoch, or a piece of it; returns the mean loss and the number of batches."""
        n_batches = min(max(1, drawn.index.size // batch_events), len(drawn.index))
        # Batches of one size, so that one compilation serves all; the few bags beyond, fewer than
        # there are batches, are others in every epoch.
        batch = len(drawn.index) // n_batches
        self._batches.add(batch)
        rows = slice(0, n_batches * batch)
        grouped = [tf.reshape(x[rows], (n_batches, batch, *x.shape[1:])) for x in drawn]
        learning_rates = tf.constant(np.linspace(*rates, n_batches), dtype=tf.float32)
        value = self._graph(self._one_epoch, bags, [*grouped, learning_rates], open_axes=2)
        return float(value), n_batches

    def evaluate(self, bags: TrainingBags, drawn: EpochBags, batch_events: int) -> float:
        """Mean loss over all bags, without dropout, and with the regularisation as in training."""
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

        The data are arguments: a graph that had them inside could not serve the next piece.
        """
        given = {name: _open(x, 1) for name, x in bags.data.items()}
        specs = [_open(x, open_axes) for x in tensors]
        key = f"{function.__name__} {type(bags).__name__} {[*given.items()]} {specs}"
        if key not in self._graphs:
            graph = tf.function(lambda data, *rest: function(bags, data, *rest), autograph=False)
            self._graphs[key] = graph.get_concrete_function(given, *specs)
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
        # One after the other: each begins with the variables that the one before has left.
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


def _open(tensor: Any, axes: int) -> Any:
    """The kind of a tensor whose first axes may have any length."""
    shape = tuple(tensor.shape)
    open_shape = (*[None] * min(axes, len(shape)), *shape[axes:])
    return tf.TensorSpec(open_shape, tf.as_dtype(tensor.dtype))


def total_loss(
    ratio: RatioLoss | None, n_classes: int, score_weight: float
) -> Callable[[Any, Any], Any]:
    """Loss of each bag, with the error of the score if that has a weight."""
    ops = keras.ops

    def total(targets: Any, outputs: Any) -> Any:
        if not score_weight and ratio is not None:
            return ratio(outputs, targets)
        labels, scores = targets[:, :n_classes], targets[:, n_classes:]
        value = 0.0 if ratio is None else ratio(outputs[:, :n_classes], labels)
        # At each point in proportion to the probability that the event comes from there.
        squared = ops.square(outputs[:, n_classes:] - scores)
        n_parameters = squared.shape[1] // n_classes
        weights = ops.repeat(labels, n_parameters, axis=1)
        return value + score_weight * ops.sum(weights * squared, axis=1)

    return total
