"""Evaluate networks as graphs, because for few events Python takes longer than the arithmetic.

Keras calls one layer after the other, which takes several milliseconds for a small network even for
few events.  A graph runs the same kernels in the same order in less than a millisecond.

Importing this module imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from milinfer.learning.networks.backend import has_lost_threads, require_threads, tf
from milinfer.typing import Float32Array

__all__ = ["evaluate"]

_GRAPHS: WeakKeyDictionary[Any, Callable[..., Any]] = WeakKeyDictionary()
_LOCK = Lock()


def evaluate(model: Any, *inputs: Float32Array) -> Float32Array:
    """Return the outputs of a Keras model, with dropout off, from a graph that the model keeps.

    The graph uses the current weights, because it contains the variables of the model, not their
    values.

    Parameters
    ----------
    model
        Model with one or more inputs.
    inputs
        One array for each input; their first axis may have any length.

    Raises
    ------
    ModelError
        If the process was forked after TensorFlow was used, and TensorFlow uses more than one
        thread.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.learning.networks.backend import keras
    >>> inputs = keras.Input((2,))
    >>> model = keras.Model(inputs, keras.ops.sum(inputs, axis=1))
    >>> evaluate(model, np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    array([3., 7.], dtype=float32)
    """
    require_threads()
    if has_lost_threads():  # graphs run in threads, layer after layer does not need any
        return np.asarray(model(_as_called(inputs), training=False))
    with _LOCK:
        graph = _GRAPHS.get(model)
        if graph is None:
            graph = _GRAPHS[model] = _traced(model)
    return np.asarray(graph(*inputs))


def _traced(model: Any) -> Callable[..., Any]:
    """Trace a model once for all lengths of the first axis."""
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]
    # The graph is a value in a dictionary whose key is the model: it must not refer to the model.
    weak = ref(model)

    def call(*inputs: Any) -> Any:
        return weak()(_as_called(inputs), training=False)  # type: ignore[misc]  # whoever calls has it

    graph: Callable[..., Any] = tf.function(
        call, input_signature=specs, autograph=False
    ).get_concrete_function()
    return graph


def _as_called(inputs: tuple[Any, ...]) -> Any:
    """Return the argument of a model: its only input, or a list of inputs."""
    return inputs[0] if len(inputs) == 1 else list(inputs)
