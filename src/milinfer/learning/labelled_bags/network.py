"""Network of labelled bags: layers for instances, pooling, a linear layer, and its training.

Predictions are computed in float64 and without padding.  The prediction for a bag does not depend
on the other bags in the same call.

In :mod:`milinfer.learning.networks.training` every epoch draws new bags of one size.  Here the bags
are given: each has a label, and they may have different sizes.  The bags of a batch are padded to
the size of the largest bag, and a mask marks the padding.  For a small network, TensorFlow needs
more time to trace the graph than to train.  Networks of one architecture therefore share their
graphs.  For this purpose the graphs contain neither weights nor data nor seeds, and all weights are
passed to them as one vector.  The graphs of the last few architectures are kept.

Importing this module imports Keras.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.learning.labelled_bags.ragged import RaggedBags, bag_rows
from milinfer.learning.networks.backend import keras, require_threads, tf
from milinfer.learning.networks.layers import Dropout
from milinfer.learning.networks.pooling import BagPooling, segment_reduce
from milinfer.typing import Float32Array, FloatArray, IntArray

__all__ = ["BagFit", "LabelledNetwork", "LabelledNetworkSpec", "train_on_labels"]


_CHUNK = 65_536
"""Instances in one call of a prediction, so that memory does not grow with the data."""


@dataclass(frozen=True)
class LabelledNetworkSpec:
    """Architecture and seed of a :class:`LabelledNetwork`.

    Parameters
    ----------
    n_inputs, n_outputs
        Number of features of an instance, and number of outputs for a bag.
    hidden, activation, dropout
        Layers that process an instance.
    pooling, attention_width, sharpness
        See :class:`milinfer.learning.networks.pooling.BagPooling`.
    seed
        Random seed of initial weights and dropout.
    bag_hidden
        Widths of layers between the pooling and the last layer.
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
    bag_hidden: tuple[int, ...] = ()


class LabelledNetwork:
    """Network of layers for instances, pooling, optional layers for the bag, and a linear layer.

    With noisy-or pooling the layers for instances end in the log-odds of each instance, and the
    pooling computes the output.  The network can be pickled.

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
        require_threads()
        self.spec = spec
        n_seeds = 2 * len(spec.hidden) + 2 + 2 * len(spec.bag_hidden)
        seeds = iter(np.random.SeedSequence(spec.seed).generate_state(n_seeds).tolist())

        def dense(width: int, bias: float = 0.0) -> Any:
            return keras.layers.Dense(
                width,
                kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                bias_initializer=keras.initializers.Constant(bias),
                dtype=dtype,
            )

        self._dense: list[Any] = []

        def block(width: int) -> list[Any]:
            self._dense.append(dense(width))
            activation = keras.layers.Activation(spec.activation, dtype=dtype)
            dropout = Dropout(spec.dropout, seed=next(seeds), dtype=dtype)
            return [self._dense[-1], activation, dropout]

        self._embedding: list[Any] = [layer for width in spec.hidden for layer in block(width)]
        noisy_or = spec.pooling == "noisy-or"
        width = spec.hidden[-1] if spec.hidden else spec.n_inputs
        # Instances start with a low probability of being positive.  With even odds nearly every
        # bag would be positive with certainty, and the gradient would vanish.
        last = dense(1, -3.0) if noisy_or else dense(spec.n_outputs)
        if noisy_or:
            self._embedding.append(last)
            width = 1
        self.pool = BagPooling(
            spec.pooling, width, spec.attention_width, spec.sharpness, next(seeds), dtype=dtype
        )
        self._head: list[Any] = [layer for width in spec.bag_hidden for layer in block(width)]
        if not noisy_or:
            self._head.append(last)
        self._dense.append(last)
        self._dtype = dtype
        self.outputs(RaggedBags(np.zeros((1, spec.n_inputs)), np.array([0, 1])))  # creates weights

    @property
    def variables(self) -> list[Any]:
        """Weights to train."""
        layers = [*self._dense, self.pool]
        return [w for layer in layers for w in layer.trainable_weights]

    @property
    def kernels(self) -> list[Any]:
        """Weights without biases, of all layers except the pooling."""
        return [layer.kernel for layer in self._dense]

    @property
    def dropout_states(self) -> list[Any]:
        """State of each layer with dropout: a variable with its seed and its number of runs."""
        layers = [x for x in (*self._embedding, *self._head) if isinstance(x, Dropout)]
        return [layer.seed_generator.state for layer in layers if layer.rate]

    @property
    def dropout_seeds(self) -> list[int]:
        """Seeds of the layers with dropout."""
        return [int(np.asarray(state)[0]) for state in self.dropout_states]

    def weights(self) -> list[Any]:
        """Values of the weights, as arrays."""
        return [np.array(keras.ops.convert_to_numpy(v)) for v in self.variables]

    def set_weights(self, values: list[Any]) -> None:
        """Set the weights to values in the order of :meth:`weights`."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.spec, self._dtype, self.weights())

    def padded(self, instances: Any, mask: Any, *, training: bool) -> Any:
        """Return the outputs of padded bags.

        `instances` has the shape (n_bags, n_rows, n_inputs).  `mask` has the shape (n_bags, n_rows)
        and is False for padding.
        """
        flat = tf.reshape(instances, (-1, self.spec.n_inputs))
        embedded = self._run(self._embedding, flat, training=training)
        shape = (-1, tf.shape(instances)[1], embedded.shape[-1])
        pooled = self.pool(tf.reshape(embedded, shape), mask=mask)
        return self._run(self._head, pooled, training=training)

    def _embed(self, x: Any) -> Any:
        return self._run(self._embedding, x, training=False)

    @staticmethod
    def _run(layers: list[Any], x: Any, *, training: bool) -> Any:
        for layer in layers:
            x = layer(x, training=training) if isinstance(layer, Dropout) else layer(x)
        return x

    def outputs(self, bags: RaggedBags) -> FloatArray:
        """Return the outputs of bags, shape (n_bags, n_outputs)."""
        summaries = self._over_chunks(lambda x: self.pool.summarise(self._embed(x)), bags)
        reduced = segment_reduce(summaries, bags.offsets, self.pool.reduction)
        pooled = self.pool.finish(tf.cast(reduced, self._dtype), bags.sizes)
        return np.asarray(self._run(self._head, pooled, training=False), dtype=np.float64)

    def instance_weights(self, bags: RaggedBags) -> FloatArray:
        """Return the weight of each instance in the pooling, shape (n_instances,).

        For noisy-or pooling, it is the probability that the instance is positive.
        """
        if self.spec.pooling == "noisy-or":
            return self._over_chunks(lambda x: tf.sigmoid(self._embed(x)), bags)[:, 0]
        if self.spec.pooling in {"attention", "gated-attention"}:
            scores = self._over_chunks(lambda x: self.pool.summarise(self._embed(x))[:, -1:], bags)
            total = segment_reduce(scores, bags.offsets, "sum")
            return (scores / np.repeat(total, bags.sizes, axis=0))[:, 0]
        share = {"mean": 1 / bags.sizes, "sum": np.ones(len(bags.sizes))}[self.spec.pooling]
        return np.repeat(share, bags.sizes)

    def instance_outputs(self, bags: RaggedBags) -> FloatArray:
        """Return the output of the last layer for each instance, without the bias of the layer.

        The shape is (n_instances, n_outputs).  If there are no layers for the bag, multiply these
        outputs by the instance weights and add them up: the sum is the output of the bag without
        the bias.
        """
        kernel = keras.ops.convert_to_numpy(self._dense[-1].kernel)
        parts: FloatArray = self._over_chunks(self._embed, bags) @ kernel
        return parts

    def _over_chunks(self, function: Any, bags: RaggedBags) -> FloatArray:
        require_threads()
        x = bags.instances
        parts = [x[i : i + _CHUNK] for i in range(0, len(x), _CHUNK)]
        outputs = [np.asarray(function(tf.constant(p, dtype=self._dtype))) for p in parts]
        return np.concatenate(outputs).astype(np.float64)


def _rebuild(spec: LabelledNetworkSpec, dtype: str, weights: list[Any]) -> LabelledNetwork:
    network = LabelledNetwork(spec, dtype)
    network.set_weights(weights)
    return network


_COMPILED_FROM = 20_000
"""XLA compiles an epoch if padded bags have more rows than this."""

_ARCHITECTURES = 16
"""Architectures whose graphs are kept."""

_MEAN_DECAY, _SQUARE_DECAY, _EPSILON = 0.9, 0.999, 1e-7  # Adam's, as in Keras


@dataclass(frozen=True)
class BagFit:
    """Settings of a training on labelled bags.

    Parameters
    ----------
    loss
        ``"binary"``, ``"classes"`` (targets are class numbers) or ``"squared"``.
    epochs, patience
        Largest number of epochs, and number of epochs without a lower validation loss after which
        the learning rate is halved.  The training stops after twice this number of epochs.
    batch_size
        Number of bags in a batch.
    learning_rate
        Initial learning rate of the Adam optimiser.
    l2
        Factor on the sum of squared weights in the loss.
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
    weights: FloatArray | None = None,
) -> tuple[LabelledNetwork, dict[str, list[float]]]:
    """Train a network, and keep the weights of the epoch with the best validation loss.

    Parameters
    ----------
    spec, fit
        Architecture, and settings of the training.
    bags, targets
        All bags, and one number for each bag.
    train, validation
        Indices of the bags for training, and of the bags for early stopping.
    rng
        Random generator of the order of the bags.
    weights
        Positive weight of each bag in the loss.  Only the ratios of the weights matter.  None: all
        bags have weight 1.

    Returns
    -------
    tuple
        The network in float64, and the history: ``loss`` and ``val_loss`` of each epoch.

    Raises
    ------
    ModelError
        If the loss is not finite.
    """
    require_threads(compiled=True)
    network = LabelledNetwork(spec, "float64")
    rows, present = bag_rows(bags.offsets)
    weights = np.ones(len(targets)) if weights is None else weights / weights[train].mean()
    data = _Data(
        tf.constant(bags.instances, tf.float32),
        tf.constant(rows, tf.int32),
        tf.constant(present),
        tf.constant(targets, tf.float32),
        tf.constant(weights, tf.float32),
    )
    # Compilation takes two seconds or more, longer than the training on a small table.
    graphs = _graphs(replace(spec, seed=0), fit.loss, rows.size > _COMPILED_FROM)
    state = _State.at_start(network)
    seeds = tf.constant(network.dropout_seeds, tf.uint32)
    batch = min(fit.batch_size, len(train))
    n_batches = len(train) // batch
    history: dict[str, list[float]] = {"loss": [], "val_loss": []}
    best, best_weights, waited = np.inf, state.weights, 0
    rate, l2 = fit.learning_rate, tf.constant(fit.l2, tf.float32)
    parts = np.array_split(validation, -(-len(validation) // max(fit.batch_size, 1024)))
    held_out = [tf.constant(part, tf.int32) for part in parts]
    shares = [weights[part].sum() for part in parts]
    for number in range(fit.epochs):
        # The few bags that do not fill a batch differ from epoch to epoch.
        order = rng.permutation(train)[: n_batches * batch].reshape(n_batches, batch)
        drawn, step = tf.constant(order, tf.int32), tf.constant(rate, tf.float32)
        state, mean = graphs.epoch(state, data, drawn, seeds, step, l2)
        value = float(mean)
        scores = [float(graphs.score(state.weights, data, part)) for part in held_out]
        val_loss = float(np.average(scores, weights=shares))
        if not np.isfinite(value) or not np.isfinite(val_loss):
            msg = (
                f"the training loss became {value} (validation: {val_loss}) in epoch {number + 1}; "
                "look for outliers in the features, or lower learning_rate"
            )
            raise ModelError(msg)
        history["loss"].append(value)
        history["val_loss"].append(val_loss)
        if val_loss < best:
            best, best_weights, waited = val_loss, state.weights, 0
            continue
        waited += 1
        if waited >= 2 * fit.patience:
            break
        if waited % fit.patience == 0:
            rate /= 2
    network.set_weights(_Layout.of(network).arrays(np.asarray(best_weights)))
    return network, history


class _Data(NamedTuple):
    """Instances (n, n_inputs), and rows, padding mask, targets and weights of bags."""

    instances: Any
    rows: Any
    present: Any
    targets: Any
    weights: Any


class _State(NamedTuple):
    """All weights as one vector, Adam's means of gradients and squares, and number of steps."""

    weights: Any
    mean: Any
    square: Any
    steps: Any

    @classmethod
    def at_start(cls, network: LabelledNetwork) -> _State:
        weights = np.concatenate([w.ravel() for w in network.weights()]).astype(np.float32)
        zeros = tf.zeros(weights.shape)
        return cls(tf.constant(weights), zeros, zeros, tf.constant(0))


class _Layout(NamedTuple):
    """Shapes and sizes of the variables in the vector of all weights."""

    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, network: LabelledNetwork) -> _Layout:
        shapes = tuple(tuple(v.shape) for v in network.variables)
        return cls(shapes, tuple(int(np.prod(s)) for s in shapes))

    def tensors(self, vector: Any) -> list[Any]:
        parts = tf.split(vector, self.sizes)
        return [tf.reshape(p, s) for p, s in zip(parts, self.shapes, strict=True)]

    def arrays(self, vector: Float32Array) -> list[Float32Array]:
        parts = np.split(vector, np.cumsum(self.sizes)[:-1])
        return [p.reshape(s) for p, s in zip(parts, self.shapes, strict=True)]


@lru_cache(maxsize=_ARCHITECTURES)
def _graphs(spec: LabelledNetworkSpec, loss: str, compiled: bool) -> _Graphs:
    return _Graphs(spec, loss, compiled)


class _Graphs:
    """Graphs of one architecture: an epoch of Adam, and the loss, from weights, data and seeds."""

    def __init__(self, spec: LabelledNetworkSpec, loss: str, compiled: bool) -> None:
        self._network = LabelledNetwork(spec, "float32")
        self._layout, self._loss = _Layout.of(self._network), loss
        kernels = {id(kernel) for kernel in self._network.kernels}
        marks = [id(variable) in kernels for variable in self._network.variables]
        self._decayed = np.repeat(np.array(marks, np.float32), self._layout.sizes)
        one, real = tf.TensorSpec((), tf.float32), tf.TensorSpec((None,), tf.float32)
        data = _Data(
            tf.TensorSpec((None, spec.n_inputs), tf.float32),
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None), tf.bool),
            real,
            real,
        )
        vector = tf.TensorSpec((sum(self._layout.sizes),), tf.float32)
        state = _State(vector, vector, vector, tf.TensorSpec((), tf.int32))
        chosen, batches = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
        seeds = tf.TensorSpec((len(self._network.dropout_seeds),), tf.uint32)
        # Batches and bags may have any size: one graph serves all data of an architecture.
        inputs = (state, data, batches, seeds, one, one)
        epoch = tf.function(self._one_epoch, inputs, autograph=False, jit_compile=compiled)
        score = tf.function(self._one_score, (vector, data, chosen), autograph=False)
        # Keeps the graphs themselves, because looking them up takes as long as a short epoch.
        self.epoch, self.score = epoch.get_concrete_function(), score.get_concrete_function()

    def _one_epoch(
        self, state: _State, data: _Data, batches: Any, seeds: Any, rate: Any, l2: Any
    ) -> tuple[_State, Any]:
        n_batches = tf.shape(batches)[0]

        def step(b: Any, state: _State, total: Any) -> tuple[Any, _State, Any]:
            state, value = self._step(state, _gather_bags(data, batches[b]), seeds, rate, l2)
            return b + 1, state, total + value

        start = (tf.constant(0), state, tf.constant(0.0))
        _, state, total = tf.while_loop(lambda b, *_: b < n_batches, step, start)
        return state, total / tf.cast(n_batches, tf.float32)

    def _step(
        self, state: _State, batch: _Batch, seeds: Any, rate: Any, l2: Any
    ) -> tuple[_State, Any]:
        steps = state.steps + 1
        with tf.GradientTape() as tape:
            tape.watch(state.weights)
            value = l2 * tf.reduce_sum(tf.square(self._decayed * state.weights))
            losses = self._losses(state.weights, batch, (seeds, steps))
            # Not divided by the sum of weights of the batch, which would bias the mean.
            value += tf.reduce_mean(batch.weights * losses)
        gradient = tape.gradient(value, state.weights)
        mean = state.mean + (gradient - state.mean) * (1 - _MEAN_DECAY)
        square = state.square + (tf.square(gradient) - state.square) * (1 - _SQUARE_DECAY)
        n = tf.cast(steps, tf.float32)
        rate *= tf.sqrt(1 - _SQUARE_DECAY**n) / (1 - _MEAN_DECAY**n)
        weights = state.weights - rate * mean / (tf.sqrt(square) + _EPSILON)
        return _State(weights, mean, square, steps), value

    def _one_score(self, weights: Any, data: _Data, chosen: Any) -> Any:
        batch = _gather_bags(data, chosen)
        total = tf.reduce_sum(batch.weights * self._losses(weights, batch))
        return total / tf.reduce_sum(batch.weights)

    def _losses(self, weights: Any, batch: _Batch, dropout: tuple[Any, Any] | None = None) -> Any:
        """Return the loss of each bag; as in training if `dropout` has seeds and step number."""
        values = list(zip(self._network.variables, self._layout.tensors(weights), strict=True))
        if dropout is not None:
            seeds, step = dropout
            states = self._network.dropout_states
            values += [
                (state, tf.stack([seeds[i], tf.cast(step, tf.uint32)]))
                for i, state in enumerate(states)
            ]
        with keras.StatelessScope(state_mapping=values):
            outputs = self._network.padded(
                batch.instances, batch.present, training=dropout is not None
            )
        if self._loss == "binary":
            logits = outputs[:, 0]
            return tf.nn.sigmoid_cross_entropy_with_logits(batch.targets, logits)
        if self._loss == "classes":
            classes = tf.cast(batch.targets, tf.int32)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(classes, outputs)
        return tf.square(outputs[:, 0] - batch.targets)


class _Batch(NamedTuple):
    """Instances (n_bags, n_rows, n_inputs), padding mask, targets and weights of a batch."""

    instances: Any
    present: Any
    targets: Any
    weights: Any


def _gather_bags(data: _Data, chosen: Any) -> _Batch:
    """Select some bags."""
    instances = tf.gather(data.instances, tf.gather(data.rows, chosen))
    parts = (data.present, data.targets, data.weights)
    return _Batch(instances, *(tf.gather(part, chosen) for part in parts))
