"""Evaluate trained networks of a likelihood with numpy if possible, and with Keras otherwise.

Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from milinfer.learning.networks.event_network import EventNetwork
from milinfer.typing import Float32Array, FloatArray

if TYPE_CHECKING:
    from milinfer.learning.networks.network import BagNetwork

__all__ = ["TrainedNetwork", "keras_outputs"]

_ROWS = 48  # a multiple of the blocks of rows of matrix products: 4, 6, 8, 12, 16
_CHUNK = 1365 * _ROWS


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """Trained network, which Keras builds only if it is needed.

    Parameters
    ----------
    event_network
        The network as arrays; None if its pooling scores whole bags.
    build
        Function that builds the Keras models with the trained weights.
    """

    event_network: EventNetwork | None
    build: Callable[[], BagNetwork]

    @classmethod
    def of(cls, network: BagNetwork, mean: FloatArray, variance: FloatArray) -> TrainedNetwork:
        """Create the object from a trained network, and means and variances of its inputs."""
        if network.bag_head is not None:
            return cls(None, lambda: network)
        weights = tuple(np.asarray(w) for w in network.event_model.get_weights())
        event_network = EventNetwork(network.structure.config, mean, variance, weights)
        return cls(event_network, lambda: network)

    @classmethod
    def of_weights(
        cls, event_network: EventNetwork, untrained: Callable[[], BagNetwork]
    ) -> TrainedNetwork:
        """Create the object from weights, and from a function that builds the untrained network."""

        def build() -> BagNetwork:
            network = untrained()
            network.event_model.set_weights(list(event_network.weights))
            return network

        return cls(event_network, build)

    @cached_property
    def keras(self) -> BagNetwork:
        """The Keras models, which are built when they are first used."""
        return self.build()

    def prepare(self) -> None:
        """Build the Keras models now, unless numpy evaluates the network; raise if this fails."""
        if self.event_network is None or not self.event_network.is_evaluated:
            _ = self.keras

    @property
    def event_model(self) -> Any:
        """Keras model that computes outputs or summaries of events from their features."""
        return self.keras.event_model

    @property
    def bag_head(self) -> Any:
        """Keras model that computes outputs of bags; None if Λ is a sum over events."""
        return None if self.event_network is not None else self.keras.bag_head

    @property
    def reduction(self) -> Literal["sum", "max"]:
        """How the summaries of a bag are combined."""
        return "sum" if self.event_network is not None else self.keras.reduction

    @property
    def weights(self) -> list[Float32Array]:
        """All weights, in the order of Keras."""
        if self.event_network is not None:
            return list(self.event_network.weights)
        parts = (self.keras.event_model, self.keras.bag_head)
        return [np.asarray(w) for part in parts for w in part.get_weights()]

    def outputs(self, features: Float32Array) -> Float32Array:
        """Return the outputs of events, or their summaries, shape (n_events, n_outputs)."""
        network = self.event_network
        if network is not None and network.is_evaluated:
            return network(features)
        return keras_outputs(self.event_model, features)


def keras_outputs(model: Any, inputs: Float32Array) -> Float32Array:
    """Return the outputs of a Keras model for many events, in chunks to limit the memory."""
    from milinfer.learning.networks.evaluation import evaluate

    parts = [np.empty((0, model.output_shape[-1]), np.float32)]
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        n_events = len(chunk)
        # In whole blocks of rows an event does not depend on its neighbours, as in EventNetwork.
        if n_missing := -n_events % _ROWS:
            chunk = np.concatenate([chunk, np.zeros((n_missing, chunk.shape[1]), chunk.dtype)])
        parts.append(evaluate(model, chunk)[:n_events])
    return np.concatenate(parts)
