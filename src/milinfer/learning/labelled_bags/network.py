"""Network of labelled bags: embedding of the instances, pooling, and a linear layer.

Predictions run over instances without padding, in float64, and are reduced bag by bag: they do not
depend on what else is predicted in the same call.  Importing this module imports Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from milinfer.learning.labelled_bags.ragged import RaggedBags
from milinfer.learning.networks.backend import keras, tf
from milinfer.learning.networks.layers import Dropout
from milinfer.learning.networks.pooling import BagPooling, segment_reduce
from milinfer.typing import FloatArray

__all__ = ["LabelledNetwork", "LabelledNetworkSpec"]

_CHUNK = 65_536
"""Instances in one call of a prediction, so that memory does not grow with the data."""


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
        See :class:`milinfer.learning.networks.pooling.BagPooling`.
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

    @property
    def dropout_states(self) -> list[Any]:
        """Variables (2,) of the layers with dropout: a seed, and how often the layer ran."""
        layers = [layer for layer in self._embedding if isinstance(layer, Dropout)]
        return [layer.seed_generator.state for layer in layers if layer.rate]

    @property
    def dropout_seeds(self) -> list[int]:
        """Seeds of these layers."""
        return [int(np.asarray(state)[0]) for state in self.dropout_states]

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
        shape = (-1, tf.shape(instances)[1], embedded.shape[-1])
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
