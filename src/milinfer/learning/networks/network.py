"""Build networks of bags in Keras: layers for events, pooling over the bag, head.

The network of Azakli and Stelzer [AS], §B.2.1, is: normalisation → 3 × (Dense 64, BatchNorm, ELU,
Dropout 0.1, L2 1e-3) → mean over the bag (the "Asimov vector") → linear layer, whose softmax gives
the class probabilities.  Because the last layer is linear, the logits of a bag are the mean of the
logits of its events.  For Λ of a dataset, :attr:`BagNetwork.event_model` therefore runs once on
every event, and the rest is sums.

A polynomial head computes ln r of each event, and ln r of a bag is their sum.  With poolings that
are neither mean nor sum (attention, noisy-or, …) the event model ends in a summary of each event,
and ``bag_head`` turns the combined summaries of a bag into outputs.

Importing this module imports Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from milinfer.learning.networks.backend import keras, require_threads
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.learning.networks.layers import BatchNormalization, Dropout
from milinfer.learning.networks.pooling import BagPooling
from milinfer.typing import FloatArray

__all__ = ["BagNetwork", "NetworkStructure", "build_network"]


ADDITIVE_POOLINGS = ("mean", "sum")
"""Poolings with which Λ of a bag is a sum over events, if only a linear layer follows."""


@dataclass(frozen=True, eq=False)
class NetworkStructure:
    """Everything that defines a network except its variables.

    A compiled graph contains the structure and takes the variables as input, so one graph can train
    all networks of one structure.

    Parameters
    ----------
    config, head, bag_size, points, pooling
        As for :func:`build_network`.
    n_inputs
        Number of inputs for each event.
    log_z_known, score_known
        Whether ln Z at the points is given, and whether its gradient is given.
    """

    config: NetworkConfig
    head: LinearHead | PolynomialHead
    bag_size: int
    n_inputs: int
    points: FloatArray | None
    pooling: str
    log_z_known: bool
    score_known: bool

    def build_blank(self) -> BagNetwork:
        """Build an untrained network of this structure, into which variables can be copied."""
        zeros = None if self.points is None else np.zeros(self.points.shape)
        return build_network(
            self.config,
            self.head,
            self.bag_size,
            np.zeros(self.n_inputs),
            np.ones(self.n_inputs),
            np.random.SeedSequence(0),
            points=self.points,
            log_z=zeros[:, 0] if self.log_z_known and zeros is not None else None,
            score_offset=zeros if self.score_known else None,
            pooling=self.pooling,
        )


class BagNetwork(NamedTuple):
    """Models that share the layers of one network.

    Parameters
    ----------
    bag_model
        Keras model for the training.  Its input has the shape (n_bags, bag_size, n_inputs).  Its
        output has the shape (n_bags, …) and is the input of the loss.
    event_model
        Keras model for single events.  Its input has the shape (n_events, n_inputs).  Its outputs
        are the outputs for the head, shape (n_events, n_outputs), or, if there is a `bag_head`, the
        summaries of the events, shape (n_events, S).
    structure
        Everything that defines the network except its variables.
    bag_head
        Keras model that computes the outputs for the head from the combined summaries of bags,
        shape (n_bags, S), and their numbers of events, shape (n_bags,).  None if Λ is a sum over
        events.
    reduction
        How the summaries of a bag are combined: ``"sum"`` or ``"max"``.
    """

    bag_model: Any
    event_model: Any
    structure: NetworkStructure
    bag_head: Any = None
    reduction: Literal["sum", "max"] = "sum"


class _SubtractConstants(keras.layers.Layer):  # type: ignore[misc]  # keras has no type information
    """Subtracts given numbers (n,), which are a variable so that no graph contains them."""

    def __init__(self, values: Any, name: str) -> None:
        super().__init__(name=name, trainable=False)
        self._start = keras.initializers.Constant(np.asarray(values, np.float32))
        self._width = len(values)

    def build(self, _: Any) -> None:
        self.value = self.add_weight(
            shape=(self._width,), initializer=self._start, trainable=False, name="constants"
        )

    def call(self, x: Any) -> Any:
        return x - self.value


class _Standardisation(keras.layers.Layer):  # type: ignore[misc]  # keras has no type information
    """Keras's normalisation with mean and width as variables, so that no graph contains them."""

    def __init__(self, mean: FloatArray, variance: FloatArray) -> None:
        super().__init__(name="standardised", trainable=False)
        width = np.maximum(np.sqrt(variance.astype(np.float32)), np.float32(1e-7))
        self._start = {"mean": mean.astype(np.float32), "width": width}

    def build(self, _: Any) -> None:
        self.mean, self.width = (
            self.add_weight(
                shape=values.shape,
                initializer=keras.initializers.Constant(values),
                trainable=False,
                name=name,
            )
            for name, values in self._start.items()
        )

    def call(self, x: Any) -> Any:
        return (x - self.mean) / self.width


class _LearnedOffsets(keras.layers.Layer):  # type: ignore[misc]  # keras has no type information
    """ln Z at the training points, learned as one number each."""

    def __init__(self, n_points: int, bag_size: int) -> None:
        super().__init__(name="offsets")
        self._shape, self._bag_size = (n_points,), float(bag_size)

    def build(self, _: Any) -> None:
        self.value = self.add_weight(shape=self._shape, initializer="zeros", name="log_z")

    def call(self, log_ratio: Any) -> Any:
        return log_ratio - self._bag_size * self.value


class _Half(keras.layers.Layer):  # type: ignore[misc]  # keras has no type information
    """One half of a pooling as a layer, so that the weights of the pooling belong to the model."""

    # Files of saved weights contain the name of this class, so it must not change.

    def __init__(self, pool: Any, half: str) -> None:
        super().__init__(name=half)
        self.pool, self._half = pool, half

    def call(self, *tensors: Any) -> Any:
        return getattr(self.pool, self._half)(*tensors)


def build_network(
    config: NetworkConfig,
    head: LinearHead | PolynomialHead,
    bag_size: int,
    mean: FloatArray,
    variance: FloatArray,
    seed: np.random.SeedSequence,
    *,
    points: FloatArray | None = None,
    log_z: FloatArray | None = None,
    score_offset: FloatArray | None = None,
    pooling: str = "mean",
) -> BagNetwork:
    """Build an untrained network, whose weights and dropout depend on the seed only.

    Parameters
    ----------
    config
        Architecture.
    head
        Meaning of the outputs as a function of θ.
    bag_size
        Number of events in a training bag.
    mean, variance
        Means and variances of the inputs over the training set, shape (n_inputs,).
    seed
        Random seed of the initial weights; global seeds are neither used nor set.
    points
        Training points of a polynomial head, shape (K, n_parameters).
    log_z
        ln Z at these points, shape (K,).  If None, the network learns ln Z.
    score_offset
        ∇ ln Z at these points, shape (K, n_parameters).  If given, the input of the loss contains
        the scores of the events after the log-ratios.
    pooling
        ``"mean"``, ``"sum"`` or another of :data:`milinfer.learning.networks.pooling.POOLINGS`.

    Examples
    --------
    >>> import numpy as np
    >>> network = build_network(NetworkConfig(hidden=(8,)), LinearHead(np.eye(3)), 5, np.zeros(2),
    ...                         np.ones(2), np.random.SeedSequence(1))
    >>> network.bag_model.output_shape, network.event_model.output_shape
    ((None, 3), (None, 3))
    """
    require_threads()
    structure = NetworkStructure(
        config=config,
        head=head,
        bag_size=bag_size,
        n_inputs=len(mean),
        points=points,
        pooling=pooling,
        log_z_known=log_z is not None,
        score_known=score_offset is not None,
    )
    n_layers = len(config.hidden) + len(config.bag_hidden)
    seeds = iter(seed.generate_state(2 * n_layers + 2).tolist())
    n_inputs = len(mean)
    normalisation = keras.layers.Normalization(
        mean=mean.astype(np.float32), variance=variance.astype(np.float32), name="normalization"
    )
    layers: list[Any] = []
    for i, width in enumerate(config.hidden):
        layers += _hidden(config, width, i, seeds)
    # A polynomial head starts near r = 1.  Amplitudes that cancel by chance would have unbounded
    # scores, from which training does not recover.
    start = 0.1 if isinstance(head, PolynomialHead) else 1.0
    output = _dense(head.n_outputs, next(seeds), "head", start)

    def embed(inputs: Any) -> Any:
        for layer in layers:
            inputs = layer(inputs)
        return inputs

    def in_bags(x: Any) -> Any:
        return keras.ops.reshape(x, (-1, bag_size, x.shape[-1]))

    events = keras.Input((n_inputs,), name="events")
    bags = keras.Input((bag_size, n_inputs), name="bags")
    # All events are one flat batch, so single events and bags of any size use the same kernels.
    rows = keras.ops.reshape(bags, (-1, n_inputs))
    embedded = embed(_Standardisation(mean, variance)(rows))
    if isinstance(head, PolynomialHead):
        if points is None:
            msg = "a polynomial head needs its training points"
            raise ValueError(msg)
        outputs = output(embedded)
        bag_outputs = keras.ops.sum(in_bags(head.tensor(points)(outputs)), axis=1)
        bag_outputs = (
            _LearnedOffsets(len(points), bag_size)(bag_outputs)
            if log_z is None
            else _SubtractConstants(bag_size * log_z.astype(np.float32), "known_log_z")(bag_outputs)
        )
        if score_offset is not None:
            score = keras.ops.sum(in_bags(head.score_tensor(points)(outputs)), axis=1)
            shift = bag_size * score_offset.reshape(-1).astype(np.float32)
            bag_outputs = keras.ops.concatenate(
                [bag_outputs, _SubtractConstants(shift, "known_score")(score)], axis=1
            )
        event_model = keras.Model(events, output(embed(normalisation(events))), name="event_model")
        return BagNetwork(keras.Model(bags, bag_outputs, name="bag_model"), event_model, structure)
    if pooling in ADDITIVE_POOLINGS and not config.bag_hidden:
        bag_outputs = head.tensor(output(keras.ops.mean(in_bags(embedded), axis=1)))
        if pooling == "sum":  # sum of the events' outputs, each of which contains the bias
            bag_outputs = bag_outputs * float(bag_size)
        event_model = keras.Model(events, output(embed(normalisation(events))), name="event_model")
        return BagNetwork(keras.Model(bags, bag_outputs, name="bag_model"), event_model, structure)
    width = config.hidden[-1] if config.hidden else n_inputs
    pool = BagPooling(pooling, width, seed=next(seeds))
    after = [
        layer
        for i, w in enumerate(config.bag_hidden, start=len(config.hidden))
        for layer in _hidden(config, w, i, seeds)
    ]

    def finish(x: Any) -> Any:
        for layer in after:
            x = layer(x)
        return output(x)

    bag_model = keras.Model(bags, head.tensor(finish(pool(in_bags(embedded)))), name="bag_model")
    event_model = keras.Model(
        events, _Half(pool, "summarise")(embed(normalisation(events))), name="event_model"
    )
    reduced = keras.Input((pool.summary_width,), name="reduced")
    counts = keras.Input((), name="counts")
    pooled = _Half(pool, "finish")(reduced, counts)
    bag_head = keras.Model([reduced, counts], finish(pooled), name="bag_head")
    return BagNetwork(
        bag_model=bag_model,
        event_model=event_model,
        structure=structure,
        bag_head=bag_head,
        reduction=pool.reduction,
    )


def _dense(width: int, seed: int, name: str, start: float = 1.0, **options: Any) -> Any:
    """Return a dense layer with initial weights of Glorot and Bengio, multiplied by `start`."""
    initializer = keras.initializers.VarianceScaling(start**2, "fan_avg", "uniform", seed=seed)
    return keras.layers.Dense(width, kernel_initializer=initializer, name=name, **options)


def _hidden(config: NetworkConfig, width: int, i: int, seeds: Iterator[int]) -> list[Any]:
    """Return the layers: dense, batch normalisation, activation and dropout."""
    regulariser = keras.regularizers.L2(config.l2) if config.l2 else None
    layers = [
        _dense(
            width,
            next(seeds),
            f"dense_{i}",
            use_bias=not config.batch_norm,
            kernel_regularizer=regulariser,
        )
    ]
    if config.batch_norm:
        layers.append(BatchNormalization(name=f"batch_norm_{i}"))
    layers.append(keras.layers.Activation(config.activation, name=f"activation_{i}"))
    seed = next(seeds)
    if config.dropout:
        layers.append(Dropout(config.dropout, seed=seed, name=f"dropout_{i}"))
    return layers
