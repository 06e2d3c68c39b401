"""Training of a small network on labelled bags of any sizes.

:mod:`milinfer.training` draws new bags in every epoch, all of one size; here bags and their labels
are given.  Batches are padded to the largest bag and masked.  Predictions run over instances
without padding, in float64, and are reduced bag by bag: they do not depend on what else is
predicted in the same call.  Importing this module imports Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from milinfer.backend import keras, tf
from milinfer.exceptions import ModelError
from milinfer.layers import Dropout
from milinfer.pooling import BagPooling, segment_reduce
from milinfer.ragged import RaggedBags, bag_rows
from milinfer.typing import FloatArray, IntArray

__all__ = ["BagFit", "LabelledNetwork", "LabelledNetworkSpec", "train_on_labels"]

_CHUNK = 65_536
"""Instances in one call of a prediction, so that memory does not grow with the data."""

_COMPILED_FROM = 10_000
"""Rows of padded bags from which on the step of the optimiser is compiled by XLA."""


@dataclass(frozen=True)
class LabelledNetworkSpec:
    """All that a :class:`LabelledNetwork` is built from.

    Parameters
    ----------
    n_inputs, n_outputs
        Features of an instance; numbers that a bag gets.
    hidden, activation, dropout
        Layers of the embedding of an instance.
    pooling, attention_width, sharpness
        See :class:`milinfer.pooling.BagPooling`.
    seed
        Of initial weights and dropout.
    """

    n_inputs: int
    n_outputs: int
    hidden: tuple[int, ...]
    activation: str
    dropout: float
    pooling: str
    attention_width: int
    sharpness: float
    seed: int


class LabelledNetwork:
    """Embedding of the instances, pooling, and a linear layer.

    With noisy-or pooling the embedding ends in the log-odds of each instance, and what the pooling
    gives is the output.  It can be pickled.

    Parameters
    ----------
    spec
        Architecture.
    dtype
        ``"float32"`` to train, ``"float64"`` to predict.

    Examples
    --------
    >>> import numpy as np
    >>> spec = LabelledNetworkSpec(2, 1, (4,), "relu", 0.0, "attention", 3, 1.0, seed=1)
    >>> network = LabelledNetwork(spec, "float64")
    >>> network.outputs(RaggedBags(np.zeros((5, 2)), np.array([0, 2, 5]))).shape
    (2, 1)
    """

    def __init__(self, spec: LabelledNetworkSpec, dtype: str) -> None:
        self.spec = spec
        seeds = iter(
            np.random.SeedSequence(spec.seed).generate_state(2 * len(spec.hidden) + 2).tolist()
        )

        def dense(width: int, bias: float = 0.0) -> Any:
            return keras.layers.Dense(
                width,
                kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                bias_initializer=keras.initializers.Constant(bias),
                dtype=dtype,
            )

        self._dense: list[Any] = []
        self._embedding: list[Any] = []
        for width in spec.hidden:
            self._dense.append(dense(width))
            self._embedding += [self._dense[-1], keras.layers.Activation(spec.activation)]
            self._embedding[-1].dtype_policy = dtype
            self._embedding.append(Dropout(spec.dropout, seed=next(seeds), dtype=dtype))
        noisy_or = spec.pooling == "noisy-or"
        width = spec.hidden[-1] if spec.hidden else spec.n_inputs
        # An instance starts as a rare positive one: with even odds nearly every bag would be
        # surely positive, where the gradient vanishes.
        last = dense(1, -3.0) if noisy_or else dense(spec.n_outputs)
        self._dense.append(last)
        if noisy_or:
            self._embedding.append(last)
            width = 1
        self._head = None if noisy_or else last
        self.pool = BagPooling(
            spec.pooling, width, spec.attention_width, spec.sharpness, next(seeds), dtype=dtype
        )
        self._dtype = dtype
        self.outputs(RaggedBags(np.zeros((1, spec.n_inputs)), np.array([0, 1])))  # makes weights

    @property
    def variables(self) -> list[Any]:
        """Weights to train."""
        layers = [*self._dense, self.pool]
        return [w for layer in layers for w in layer.trainable_weights]

    @property
    def kernels(self) -> list[Any]:
        """Weights without biases, of all layers but the pooling."""
        return [layer.kernel for layer in self._dense]

    def weights(self) -> list[Any]:
        """Values of the weights, as arrays."""
        return [np.array(keras.ops.convert_to_numpy(v)) for v in self.variables]

    def set_weights(self, values: list[Any]) -> None:
        """Set what :meth:`weights` gives."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.spec, self._dtype, self.weights())

    def padded(self, instances: Any, mask: Any, *, training: bool) -> Any:
        """Outputs of padded bags (n_bags, n_rows, n_inputs) with mask (n_bags, n_rows)."""
        flat = tf.reshape(instances, (-1, self.spec.n_inputs))
        embedded = self._embed(flat, training=training)
        shape = (-1, instances.shape[1], embedded.shape[-1])
        pooled = self.pool(tf.reshape(embedded, shape), mask=mask)
        return pooled if self._head is None else self._head(pooled)

    def _embed(self, x: Any, *, training: bool = False) -> Any:
        for layer in self._embedding:
            x = layer(x, training=training) if isinstance(layer, Dropout) else layer(x)
        return x

    def outputs(self, bags: RaggedBags) -> FloatArray:
        """Outputs of bags, shape (n_bags, n_outputs)."""
        summaries = self._over_chunks(lambda x: self.pool.summarise(self._embed(x)), bags)
        reduced = segment_reduce(summaries, bags.offsets, self.pool.reduction)
        pooled = self.pool.finish(tf.cast(reduced, self._dtype), bags.sizes)
        out = pooled if self._head is None else self._head(pooled)
        return np.asarray(out, dtype=np.float64)

    def instance_weights(self, bags: RaggedBags) -> FloatArray:
        """Share of each instance of the attention, or its probability; shape (n_instances,)."""
        if self.spec.pooling == "noisy-or":
            return self._over_chunks(lambda x: tf.sigmoid(self._embed(x)), bags)[:, 0]
        if self.spec.pooling in {"attention", "gated-attention"}:
            scores = self._over_chunks(lambda x: self.pool.summarise(self._embed(x))[:, -1:], bags)
            total = segment_reduce(scores, bags.offsets, "sum")
            return (scores / np.repeat(total, bags.sizes, axis=0))[:, 0]
        share = {"mean": 1 / bags.sizes, "sum": np.ones(len(bags.sizes))}[self.spec.pooling]
        return np.repeat(share, bags.sizes)

    def instance_outputs(self, bags: RaggedBags) -> FloatArray:
        """What the linear layer makes of each instance without its bias; (n_instances, n_outputs).

        Times the instance weights and summed over a bag, they are the outputs without the bias.
        """
        kernel = keras.ops.convert_to_numpy(self._dense[-1].kernel)
        parts: FloatArray = self._over_chunks(self._embed, bags) @ kernel
        return parts

    def _over_chunks(self, function: Any, bags: RaggedBags) -> FloatArray:
        x = bags.instances
        parts = [x[i : i + _CHUNK] for i in range(0, len(x), _CHUNK)]
        done = [np.asarray(function(tf.constant(p, dtype=self._dtype))) for p in parts]
        return np.concatenate(done).astype(np.float64)


def _restored(spec: LabelledNetworkSpec, dtype: str, weights: list[Any]) -> LabelledNetwork:
    network = LabelledNetwork(spec, dtype)
    network.set_weights(weights)
    return network


@dataclass(frozen=True)
class BagFit:
    """How to train.

    Parameters
    ----------
    loss
        ``"binary"``, ``"classes"`` (targets are class numbers) or ``"squared"``.
    epochs, patience
        Upper limit; epochs without a better validation loss before the learning rate is halved.
        Training stops after twice as many.
    batch_size
        Bags in a batch.
    learning_rate
        Adam's.
    l2
        Factor of the sum of squared weights in the loss.
    """

    loss: str
    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    l2: float


def train_on_labels(
    spec: LabelledNetworkSpec,
    bags: RaggedBags,
    targets: FloatArray,
    train: IntArray,
    validation: IntArray,
    fit: BagFit,
    rng: np.random.Generator,
) -> tuple[LabelledNetwork, dict[str, list[float]]]:
    """Train a network, and keep the weights of the epoch with the best validation loss.

    Parameters
    ----------
    spec, fit
        Architecture and how to train it.
    bags, targets
        All bags, and one number for each.
    train, validation
        Numbers of the bags to train on, and of those to stop by.
    rng
        Order of the bags.

    Returns
    -------
    tuple
        The network in float64, and the history: ``loss`` and ``val_loss`` of each epoch.

    Raises
    ------
    ModelError
        If the loss is not finite.
    """
    network = LabelledNetwork(spec, "float32")
    rows, present = bag_rows(bags.offsets)
    data = (
        tf.constant(bags.instances, tf.float32),
        tf.constant(rows, tf.int32),
        tf.constant(present),
        tf.constant(targets, tf.float32),
    )
    # Compiling takes two seconds or more, which a small table never earns back.
    compiled = rows.size > _COMPILED_FROM
    variables = network.variables
    optimizer = keras.optimizers.Adam(fit.learning_rate)
    optimizer.build(variables)

    def loss(chosen: Any, *, training: bool) -> Any:
        instances, rows, present, targets = data
        x = tf.gather(instances, tf.gather(rows, chosen))
        outputs = network.padded(x, tf.gather(present, chosen), training=training)
        return _mean_loss(fit.loss, outputs, tf.gather(targets, chosen))

    @tf.function(jit_compile=compiled)  # type: ignore[untyped-decorator]  # tensorflow is untyped
    def step(chosen: Any) -> Any:
        with tf.GradientTape() as tape:
            squares = [tf.reduce_sum(tf.square(k)) for k in network.kernels]
            value = loss(chosen, training=True) + fit.l2 * tf.add_n(squares)
        optimizer.apply(tape.gradient(value, variables), variables)
        return value

    @tf.function  # type: ignore[untyped-decorator]  # tensorflow is untyped
    def epoch(batches: Any) -> Any:
        total = tf.constant(0.0)
        for b in tf.range(tf.shape(batches)[0]):
            total += step(batches[b])
        return total / tf.cast(tf.shape(batches)[0], tf.float32)

    score = tf.function(lambda chosen: loss(chosen, training=False), reduce_retracing=True)
    batch = min(fit.batch_size, len(train))
    n_batches = len(train) // batch
    history: dict[str, list[float]] = {"loss": [], "val_loss": []}
    best, best_weights, waited = np.inf, network.weights(), 0
    parts = np.array_split(validation, -(-len(validation) // max(fit.batch_size, 1024)))
    held_out = [tf.constant(part, tf.int32) for part in parts]
    for number in range(fit.epochs):
        # The few bags that fill no batch are others in every epoch.
        order = rng.permutation(train)[: n_batches * batch].reshape(n_batches, batch)
        value = float(epoch(tf.constant(order, tf.int32)))
        scores = [float(score(part)) for part in held_out]
        val_loss = float(np.average(scores, weights=[len(part) for part in parts]))
        if not np.isfinite(value) or not np.isfinite(val_loss):
            msg = (
                f"the training loss became {value} (validation: {val_loss}) in epoch {number + 1}; "
                "look for outliers in the features, or lower learning_rate"
            )
            raise ModelError(msg)
        history["loss"].append(value)
        history["val_loss"].append(val_loss)
        if val_loss < best:
            best, best_weights, waited = val_loss, network.weights(), 0
            continue
        waited += 1
        if waited >= 2 * fit.patience:
            break
        if waited % fit.patience == 0:
            optimizer.learning_rate.assign(optimizer.learning_rate / 2)
    return _restored(spec, "float64", best_weights), history


def _mean_loss(kind: str, outputs: Any, targets: Any) -> Any:
    if kind == "binary":
        losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, outputs[:, 0])
    elif kind == "classes":
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(targets, tf.int32), outputs)
    else:
        losses = tf.square(outputs[:, 0] - targets)
    return tf.reduce_mean(losses)
