"""ONNX graphs under construction: nodes, constants, and the layers of a Keras network.

Importing this module imports neither Keras nor onnx.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from milinfer.exceptions import ModelError

__all__ = ["Graph", "network"]


class Graph:
    """Nodes and constants; values are known by name.

    Parameters
    ----------
    onnx
        The package.
    """

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float64) -> str:
        """Add a constant, and give its name."""
        name = f"constant_{len(self.initializers)}"
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        self.initializers.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Add a node with one output, and give the name of that."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self._append(operator, inputs, [name], options)
        return name

    def split(self, value: str, n: int) -> list[str]:
        """Split columns into n equal parts."""
        names = [f"split_{len(self.nodes)}_{part}" for part in range(n)]
        self._append("Split", (value,), names, {"axis": 1})
        return names

    def _append(
        self, operator: str, inputs: tuple[str, ...], outputs: list[str], options: dict[str, Any]
    ) -> None:
        node = self._onnx.helper.make_node(operator, inputs, outputs, name=outputs[0], **options)
        self.nodes.append(node)

    def double(self, value: str) -> str:
        """Cast to float64."""
        return self.add("Cast", value, to=self._onnx.TensorProto.DOUBLE)


def _gelu(graph: Graph, x: str) -> str:
    erf = graph.add("Erf", graph.add("Mul", x, graph.constant(np.sqrt(0.5), np.float32)))
    half = graph.add("Mul", x, graph.constant(0.5, np.float32))
    return graph.add("Mul", half, graph.add("Add", erf, graph.constant(1.0, np.float32)))


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda _, x: x,
    "elu": lambda graph, x: graph.add("Elu", x, alpha=1.0),
    "relu": lambda graph, x: graph.add("Relu", x),
    "leaky_relu": lambda graph, x: graph.add("LeakyRelu", x, alpha=0.2),
    "selu": lambda graph, x: graph.add("Selu", x),
    "gelu": _gelu,
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "sigmoid": lambda graph, x: graph.add("Sigmoid", x),
    "softplus": lambda graph, x: graph.add("Softplus", x),
    "softsign": lambda graph, x: graph.add("Softsign", x),
}
"""Activations of Keras, with the defaults of Keras."""


def network(graph: Graph, model: Any, x: str) -> str:
    """Add the chain of layers of a Keras model as they are at inference.

    Parameters
    ----------
    graph
        Takes the nodes.
    model
        Event model of a :class:`milinfer.learning.networks.network.BagNetwork`.
    x
        Name of the input, float32 of shape (n, n_inputs).

    Returns
    -------
    str
        Name of the output, float32 of shape (n, n_outputs).

    Raises
    ------
    ModelError
        If a layer or an activation has no counterpart here.
    """
    for layer in model.layers:
        x = _layer(graph, layer, x)
    return x


def _layer(graph: Graph, layer: Any, x: str) -> str:
    def weights(*names: str) -> list[str]:
        return [graph.constant(np.asarray(getattr(layer, n)), np.float32) for n in names]

    kind = type(layer).__name__
    if kind in ("InputLayer", "Dropout"):
        return x
    if kind == "Normalization":
        spread = np.maximum(np.sqrt(np.asarray(layer.variance)), 1e-7)  # as in Keras
        centred = graph.add("Sub", x, *weights("mean"))
        return graph.add("Div", centred, graph.constant(spread, np.float32))
    if kind == "Dense" and layer.use_bias:
        return graph.add("Gemm", x, *weights("kernel", "bias"))
    if kind == "Dense":
        return graph.add("MatMul", x, *weights("kernel"))
    if kind == "BatchNormalization":
        moments = weights("gamma", "beta", "moving_mean", "moving_variance")
        return graph.add("BatchNormalization", x, *moments, epsilon=float(layer.epsilon))
    name = layer.activation.__name__ if kind == "Activation" else None
    if name not in _ACTIVATIONS:
        what = f"a layer of kind {kind}" if name is None else f"activation {name!r}"
        msg = f"{what} cannot be exported; activations that can: {', '.join(_ACTIVATIONS)}"
        raise ModelError(msg)
    return _ACTIVATIONS[name](graph, x)
