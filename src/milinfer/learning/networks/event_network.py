"""Evaluate trained networks of events without TensorFlow.

A trained network is a short chain of matrix products and activations.  numba and numpy compute it
nearly as fast as TensorFlow, whose import takes seconds and is not needed to evaluate a model.
Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.special import erf

from milinfer.exceptions import ModelError
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.cores import usable_cores

__all__ = ["ACTIVATIONS", "EventNetwork", "weight_shapes"]

_CHUNK: Final = 4096  # events whose layers stay in the cache
_LEAST_CHUNKS: Final = 4  # for each thread, which costs some time to start
_EPSILON: Final = 1e-3  # of batch normalisation in Keras
_NARROWEST: Final = 1e-7  # width of a feature in Keras's normalisation
# Constants of Klambauer, Unterthiner, Mayr, Hochreiter, arXiv:1706.02515.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def weight_shapes(config: NetworkConfig, n_inputs: int, n_outputs: int) -> list[tuple[int, ...]]:
    """Return the shapes of the weights of a network of events, in the order of Keras.

    Examples
    --------
    >>> weight_shapes(NetworkConfig(hidden=(8,), batch_norm=False), 2, 3)
    [(2, 8), (8,), (8, 3), (3,)]
    """
    shapes: list[tuple[int, ...]] = []
    widths = [n_inputs, *config.hidden]
    for before, width in pairwise(widths):
        # Batch normalisation (gamma, beta, moving moments) replaces the bias.
        shapes += [(before, width)] + [(width,)] * (4 if config.batch_norm else 1)
    return [*shapes, (widths[-1], n_outputs), (n_outputs,)]


@dataclass(frozen=True, eq=False)
class EventNetwork:
    """Network that computes outputs from the features of an event; its weights are arrays.

    Parameters
    ----------
    config
        Architecture.
    mean, variance
        Means and variances of the features, shape (n_inputs,).
    weights
        Weights of the layers in the order of Keras, see :func:`weight_shapes`.

    Raises
    ------
    ModelError
        If the weights do not fit this architecture.

    Examples
    --------
    >>> config = NetworkConfig(hidden=(), batch_norm=False)
    >>> weights = (np.array([[2.0]], np.float32), np.array([1.0], np.float32))
    >>> EventNetwork(config, np.zeros(1), np.ones(1), weights)(np.array([[3.0]], np.float32))
    array([[7.]], dtype=float32)
    """

    config: NetworkConfig
    mean: FloatArray
    variance: FloatArray
    weights: tuple[Float32Array, ...]

    def __post_init__(self) -> None:
        found = [w.shape for w in self.weights]
        expected = weight_shapes(self.config, len(self.mean), self.n_outputs)
        if found != expected or self.variance.shape != self.mean.shape:
            widths = [len(self.mean), *self.config.hidden, self.n_outputs]
            msg = f"weights of shapes {found} do not belong to a network of layers {widths}"
            raise ModelError(msg)

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return len(self.weights[-1]) if self.weights and self.weights[-1].ndim else 0

    @property
    def is_evaluated(self) -> bool:
        """Whether numpy can evaluate the network: its activation is in :data:`ACTIVATIONS`."""
        return self.config.activation in ACTIVATIONS

    def __call__(self, features: Float32Array) -> Float32Array:
        """Return the outputs of events, shape (n_events, n_outputs)."""
        features = np.asarray(features, dtype=np.float32)
        out = np.empty((len(features), self.n_outputs), np.float32)
        starts = range(0, len(features), _CHUNK)

        def fill(start: int) -> None:
            chunk = features[start : start + _CHUNK]
            out[start : start + _CHUNK] = self._outputs(chunk)

        n_threads = min(usable_cores(), len(starts) // _LEAST_CHUNKS)
        if n_threads > 1:
            with ThreadPoolExecutor(n_threads) as threads:
                list(threads.map(fill, starts))
        else:
            for start in starts:
                fill(start)
        return out

    def _outputs(self, features: Float32Array) -> Float32Array:
        # numba is imported only for the evaluation, because its import takes half a second.
        from milinfer.learning.networks.dense_kernel import dense, in_blocks, in_rows

        layers, (kernel, bias) = self.layers
        activation = ACTIVATIONS[self.config.activation]
        mean, width = self.standardisation
        x = in_blocks((features - mean) / width)
        for layer_kernel, layer_bias in layers:
            x = activation(dense(x, layer_kernel, layer_bias))
        return in_rows(dense(x, kernel, bias), len(features))

    @cached_property
    def standardisation(self) -> tuple[Float32Array, Float32Array]:
        """Mean and width of the features, as Keras uses them."""
        width = np.maximum(np.sqrt(self.variance.astype(np.float32)), np.float32(_NARROWEST))
        return self.mean.astype(np.float32), width

    @cached_property
    def layers(self) -> tuple[list[tuple[Float32Array, Float32Array]], Sequence[Float32Array]]:
        """Kernel and bias of each hidden layer and of the last layer.

        After the training, batch normalisation is a factor and a shift, which are included in the
        layer before it.
        """
        step = 5 if self.config.batch_norm else 2
        hidden = []
        for i in range(0, len(self.weights) - 2, step):
            kernel, *others = (w.astype(np.float64) for w in self.weights[i : i + step])
            bias = others[0]
            if self.config.batch_norm:
                gamma, beta, mean, variance = others
                factor = gamma / np.sqrt(variance + _EPSILON)
                kernel, bias = kernel * factor, beta - mean * factor
            hidden.append((kernel.astype(np.float32), bias.astype(np.float32)))
        return hidden, self.weights[-2:]


def _elu(x: Float32Array) -> Float32Array:
    from milinfer.learning.networks.dense_kernel import exponential_units

    return exponential_units(x)


def _selu(x: Float32Array) -> Float32Array:
    from milinfer.learning.networks.dense_kernel import exponential_units

    return exponential_units(x, _SELU_ALPHA, _SELU_SCALE)


def _sigmoid(x: Float32Array) -> Float32Array:
    # tanh does not overflow
    y: Float32Array = np.tanh(np.float32(0.5) * x)
    y += 1
    y *= np.float32(0.5)
    return y


def _softplus(x: Float32Array) -> Float32Array:
    y = np.abs(x)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    y += np.maximum(x, 0)
    return y


def _gelu(x: Float32Array) -> Float32Array:
    y: Float32Array = erf(x * np.float32(np.sqrt(0.5)))
    y += 1
    y *= x
    y *= np.float32(0.5)
    return y


ACTIVATIONS: Final[dict[str, Callable[[Float32Array], Float32Array]]] = {
    "linear": lambda x: x,
    "elu": _elu,
    "relu": lambda x: np.maximum(x, 0, out=x),
    "leaky_relu": lambda x: np.where(x < 0, np.float32(0.2) * x, x),
    "selu": _selu,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "tanh": lambda x: np.tanh(x, out=x),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
}
"""Activations of Keras that numpy evaluates, with Keras's defaults; they may overwrite x."""
