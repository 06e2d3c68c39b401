"""Bag networks in Keras: event embedding φ(x), mean over the bag, head.

The network of seed 001, §B.2.1: normalisation → 3 × (Dense 64, BatchNorm, ELU, Dropout 0.1,
L2 1e-3) → mean over the bag (the "Asimov vector") → linear layer, whose softmax gives the class
probabilities.  Because the last layer is linear, the logits of a bag are the mean of the logits
of its events: a dataset needs one pass of :attr:`BagNetwork.event_model` and sums after that.

Importing this module imports Keras.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from milinfer.typing import FloatArray


@contextmanager
def _start_up_messages_held() -> Iterator[None]:
    """Keep what TensorFlow's libraries write to standard error while they are loaded.

    They report on instruction sets and on GPUs that are not there before any log level is read.
    If loading fails, everything is shown.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard error has nothing to hold
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

with _start_up_messages_held():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs now, while messages are held

__all__ = ["BagNetwork", "NetworkConfig", "build_network"]


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of the event embedding and its regularisation.

    Examples
    --------
    >>> NetworkConfig().hidden
    (64, 64, 64)
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    activation: str = "elu"
    batch_norm: bool = True
    dropout: float = 0.1
    l2: float = 1e-3


class BagNetwork(NamedTuple):
    """Two views of the same layers.

    Parameters
    ----------
    bag_model
        (n_bags, bag_size, n_features) → logits (n_bags, n_outputs); this one is trained.
    event_model
        (n_events, n_features) → logits of single events (n_events, n_outputs).
    """

    bag_model: Any
    event_model: Any


def build_network(
    config: NetworkConfig,
    basis: FloatArray,
    bag_size: int,
    mean: FloatArray,
    variance: FloatArray,
    seed: np.random.SeedSequence,
) -> BagNetwork:
    """Build an untrained network; weights and dropout follow from the seed alone.

    Parameters
    ----------
    config
        Architecture.
    basis
        Functions of θ at the K parameter points, shape (n_functions, K).  The head is a linear
        layer with one output for each function, and the logits are its product with the basis:
        the identity gives each class a logit of its own (seed 001), polynomials in θ give logits
        that are smooth in θ by construction.
    bag_size
        Events in a training bag.
    mean, variance
        Of the features over the training set, shape (n_features,).
    seed
        Source of the initial weights; no global seed is read or set.

    Examples
    --------
    >>> import numpy as np
    >>> network = build_network(NetworkConfig(hidden=(8,)), np.eye(3), 5, np.zeros(2), np.ones(2),
    ...                         np.random.SeedSequence(1))
    >>> network.bag_model.output_shape, network.event_model.output_shape
    ((None, 3), (None, 3))
    """
    seeds = iter(seed.generate_state(2 * len(config.hidden) + 1).tolist())
    n_features = len(mean)
    layers: list[Any] = [
        keras.layers.Normalization(
            mean=mean.astype(np.float32), variance=variance.astype(np.float32), name="normalization"
        )
    ]
    for i, width in enumerate(config.hidden):
        layers.append(
            keras.layers.Dense(
                width,
                use_bias=not config.batch_norm,
                kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                kernel_regularizer=keras.regularizers.L2(config.l2) if config.l2 else None,
                name=f"dense_{i}",
            )
        )
        if config.batch_norm:
            layers.append(keras.layers.BatchNormalization(name=f"batch_norm_{i}"))
        layers.append(keras.layers.Activation(config.activation, name=f"activation_{i}"))
        dropout_seed = next(seeds)
        if config.dropout:
            layers.append(
                keras.layers.Dropout(config.dropout, seed=dropout_seed, name=f"dropout_{i}")
            )
    output = keras.layers.Dense(
        len(basis),
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        name="head",
    )
    functions = basis.astype(np.float32)

    def head(embedding: Any) -> Any:
        return keras.ops.matmul(output(embedding), functions)

    events = keras.Input((n_features,), name="events")
    x = events
    for layer in layers:
        x = layer(x)
    event_model = keras.Model(events, head(x), name="event_model")

    bags = keras.Input((bag_size, n_features), name="bags")
    # Embed the events as one flat batch: the same kernels as for single events, whatever N_B.
    x = keras.ops.reshape(bags, (-1, n_features))
    for layer in layers:
        x = layer(x)
    width = config.hidden[-1] if config.hidden else n_features
    asimov = keras.ops.mean(keras.ops.reshape(x, (-1, bag_size, width)), axis=1)
    return BagNetwork(keras.Model(bags, head(asimov), name="bag_model"), event_model)
