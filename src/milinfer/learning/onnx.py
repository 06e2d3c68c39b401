"""Export trained likelihoods to ONNX, for programs that have neither Keras nor milinfer.

One ONNX file computes the same numbers as
:meth:`milinfer.learning.bag_likelihood.BagLikelihood.event_llr`.  It contains the networks of all
members, the head, the held-out scale, the normalisation Z(θ), the average over the members and the
subtraction at θ0.  The networks compute in float32, as in Keras; everything after their outputs is
in float64, as in :mod:`milinfer.learning.fitted`.

The graph is written layer by layer, with operators of operator set 17, which every runtime has.
Importing this module imports neither Keras nor onnx.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.fitted import Fitted
from milinfer.learning.networks.heads import SMALLEST_RATIO
from milinfer.learning.networks.losses import MAX_EXPONENT, MIN_LINEAR_RATIO
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.response_members import ResponseNetwork
from milinfer.learning.settings import LikelihoodSettings
from milinfer.typing import Float32Array, FloatArray, PathLikeStr
from milinfer.utils.files import write_whole

if TYPE_CHECKING:
    from milinfer.learning.response_members import ResponsePart
    from milinfer.learning.response_scale import ResponseScale
    from milinfer.likelihood.response_terms import ResponseTerms

__all__ = [
    "ACTIVATIONS",
    "COLUMNS",
    "FORMAT",
    "Graph",
    "INPUT",
    "OUTPUT",
    "export_onnx",
    "export_response",
    "network",
    "read_metadata",
    "require_onnx",
    "write_graph",
]


FORMAT = 1
INPUT, OUTPUT, COLUMNS = "features", "log_ratio", "columns"
_OPSET, _IR_VERSION = 17, 8


def export_onnx(settings: LikelihoodSettings, fitted: Fitted, path: PathLikeStr) -> None:
    """Write an ONNX graph that computes log-ratios of events with a trained likelihood.

    The input ``features`` is float32 of shape (n_events, n_features), in the order of
    ``fitted.feature_names``.  The output ``log_ratio`` is float64 of shape (n_events, K).  It
    contains ln p(x|θ_k)/p(x|θ0) at the K parameter points at which Λ is computed, as
    :meth:`~milinfer.learning.bag_likelihood.BagLikelihood.event_llr` returns it.

    The metadata of the file, in JSON, are ``format``, ``milinfer_version``, ``head``,
    ``feature_names``, ``parameters``, ``points`` (K lists of parameter values) and ``reference``.

    Parameters
    ----------
    settings
        Settings of the likelihood.
    fitted
        Result of the training.
    path
        File to write; an existing file is replaced.

    Raises
    ------
    ConfigurationError
        If the package onnx is not installed.
    ModelError
        If the pooling scores whole bags, or a layer or activation cannot be written with these
        operators.
    """
    if not fitted.additive:
        msg = (
            f"{settings.pooling} pooling with bag layers {fitted.network.bag_hidden} scores bags "
            "as a whole, so there is no ratio of single events to export; use save(), or train "
            "with pooling='mean' and without bag_hidden"
        )
        raise ModelError(msg)
    graph = Graph(require_onnx())
    ratios = [_member(graph, settings, fitted, number) for number in range(len(fitted.members))]
    result = graph.add("Identity", _average(graph, ratios, settings.average), output=OUTPUT)
    metadata = {
        "head": settings.head,
        "feature_names": fitted.feature_names,
        "parameters": fitted.parameters,
        "points": fitted.where.nodes.tolist(),
        "reference": fitted.where.reference.tolist(),
    }
    rows = "n_events"
    write_graph(
        graph,
        {INPUT: (rows, len(fitted.feature_names))},
        result,
        (rows, len(fitted.where.nodes)),
        metadata,
        path,
    )


def export_response(
    members: Sequence[Sequence[ResponsePart]],
    scale: ResponseScale,
    feature_names: Sequence[str],
    terms: ResponseTerms,
    path: PathLikeStr,
) -> None:
    """Write an ONNX graph that computes the response columns of events.

    The input ``features`` is the same as for :func:`export_onnx`.  The output ``columns`` is
    float64 of shape (n_events, n_columns).  It contains the columns of
    :meth:`~milinfer.learning.systematic_response.SystematicResponse.event_columns`.  The metadata
    of the file, in JSON, are ``format``, ``milinfer_version``, ``head``, ``feature_names``,
    ``nuisances``, ``terms``, ``exponents``, ``interpolation``, ``limits``, ``parameters``,
    ``centre`` and ``half``.

    Parameters
    ----------
    members
        Networks of each member of the ensemble.
    scale
        Factors and constants of the columns.
    feature_names, terms
        Names of the features, and terms of the response in the nuisance parameters.
    path
        File to write; an existing file is replaced.

    Raises
    ------
    ConfigurationError
        If the package onnx is not installed.
    ModelError
        If the response consists of boosted trees, or ONNX export does not know an activation.
    """
    graph = Graph(require_onnx())
    parts = []
    for member in members:
        for part in member:
            predictor = part.predictor
            if not isinstance(predictor, ResponseNetwork):
                msg = (
                    "boosted trees cannot be exported to ONNX; use save(), or classifier='network'"
                )
                raise ModelError(msg)
            place = np.zeros((len(part.places), terms.n_columns))
            place[np.arange(len(place)), part.places] = predictor.size / len(members)
            outputs = graph.double(network(graph, predictor.network, INPUT))
            parts.append(graph.add("MatMul", outputs, graph.constant(place * scale.factors)))
    total = graph.constant(scale.constants)
    for columns in parts:
        total = graph.add("Add", columns, total)
    result = graph.add("Identity", total, output=COLUMNS)
    metadata = {
        "head": "response",
        "feature_names": tuple(feature_names),
        "nuisances": terms.nuisances,
        "terms": terms.names,
        "exponents": terms.exponents.tolist(),
        "interpolation": terms.interpolation,
        "limits": terms.limits,
        "parameters": terms.parameters,
        "centre": terms.centre.tolist(),
        "half": terms.half.tolist(),
    }
    rows = "n_events"
    inputs = {INPUT: (rows, len(feature_names))}
    write_graph(graph, inputs, result, (rows, terms.n_columns), metadata, path)


def write_graph(
    graph: Graph,
    inputs: Mapping[str, Sequence[int | str]],
    output: str,
    shape: Sequence[int | str],
    metadata: Mapping[str, Any],
    path: PathLikeStr,
    *,
    single: bool = False,
) -> None:
    """Write a graph with metadata to an ONNX file.

    Parameters
    ----------
    graph
        Graph with its nodes and constants.
    inputs
        Mapping from the name of each input, which is float32, to its shape.
    output, shape
        Name and shape of the output.
    metadata
        Entries in addition to format and version, each written as JSON.
    path
        File to write; an existing file is replaced.
    single
        Whether the output is float32 (True) or float64 (False).
    """
    onnx = require_onnx()
    helper, types = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "milinfer",
            [value(name, types.FLOAT, list(size)) for name, size in inputs.items()],
            [value(output, types.FLOAT if single else types.DOUBLE, list(shape))],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="milinfer",
        producer_version=version("milinfer"),
    )
    content = {"format": FORMAT, "milinfer_version": version("milinfer"), **metadata}
    helper.set_model_props(proto, {name: json.dumps(value) for name, value in content.items()})
    onnx.checker.check_model(proto, full_check=True)
    write_whole(path, proto.SerializeToString())


def read_metadata(path: PathLikeStr) -> dict[str, Any]:
    """Read the metadata of an ONNX file that :func:`export_onnx` has written.

    Raises
    ------
    ConfigurationError
        If the package onnx is not installed.
    ModelError
        If the file was not written by milinfer.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.onnx")
    ...     _ = file.write_bytes(b"no graph")
    ...     read_metadata(file)
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: ... is not an ONNX file written by milinfer; export ...
    """
    onnx = require_onnx()
    damaged = import_module("google.protobuf.message").DecodeError
    try:
        proto = onnx.load(str(path), load_external_data=False)
        content = {p.key: json.loads(p.value) for p in proto.metadata_props}
    except (damaged, ValueError) as error:
        content, cause = {}, error
    else:
        cause = None
    if content.get("format") != FORMAT:
        msg = f"{path} is not an ONNX file written by milinfer; export the model again"
        raise ModelError(msg) from cause
    return content


def require_onnx() -> Any:
    """Return the package onnx.

    Raises
    ------
    ConfigurationError
        If the package is not installed.
    """
    try:
        import_module("onnx.checker")
        import_module("onnx.numpy_helper")
        return import_module("onnx")
    except ImportError as error:
        msg = 'export_onnx needs onnx; install it with: pip install "milinfer[onnx]"'
        raise ConfigurationError(msg) from error


def _member(graph: Graph, settings: LikelihoodSettings, fitted: Fitted, number: int) -> str:
    """Add the log-ratios of one member, zero at the reference: `fitted.member_log_ratios`."""
    member = fitted.members[number]
    nodes = fitted.where.nodes
    if settings.head == "polynomial":  # zero at the reference by construction
        outputs = network(graph, member[0], INPUT)
        return _polynomial(graph, fitted, number, outputs)
    share = 1.0 if settings.pooling == "sum" else 1.0 / settings.events_in_bag
    if settings.head == "multiclass":
        outputs = graph.double(network(graph, member[0], INPUT))
        combine = fitted.linear.functions
    elif settings.head == "binary":
        scores = [_ratio(graph, settings.loss, network(graph, n, INPUT)) for n in member]
        outputs = graph.add("Concat", *scores, axis=1)
        combine = np.delete(np.eye(len(nodes)), fitted.reference_index, axis=0)
    else:
        tiled = _with_theta(graph, fitted.scaled(nodes), len(fitted.feature_names))
        scores_of_all = _ratio(graph, settings.loss, network(graph, member[0], tiled))
        shape = graph.constant([-1, len(nodes)], np.int64)
        outputs = graph.add("Reshape", scores_of_all, shape)
        combine = np.eye(len(nodes))
    # Linear from here on: one matrix combines outputs, averages them and subtracts the reference.
    matrix = (combine - combine @ fitted.at_reference[:, None]) * share
    log_z = fitted.log_z[number]
    if not len(log_z):
        return graph.add("MatMul", outputs, graph.constant(matrix))
    matrix = matrix * fitted.scale[number]
    ratios = graph.add("MatMul", outputs, graph.constant(matrix))
    return graph.add("Sub", ratios, graph.constant(log_z - log_z @ fitted.at_reference))


def _with_theta(graph: Graph, theta: FloatArray, n_features: int) -> str:
    """Add the features of every event joined with every point, (n_events · K, n_features + P)."""
    k, n_parameters = theta.shape
    events = graph.add("Unsqueeze", INPUT, graph.constant([1], np.int64))
    events = graph.add("Expand", events, graph.constant([1, k, 1], np.int64))
    n_events = graph.add("Shape", INPUT, start=0, end=1)
    shape = graph.add("Concat", n_events, graph.constant([1, 1], np.int64), axis=0)
    points = graph.add("Expand", graph.constant(theta[None], np.float32), shape)
    both = graph.add("Concat", events, points, axis=2)
    flat = graph.constant([-1, n_features + n_parameters], np.int64)
    return graph.add("Reshape", both, flat)


def _ratio(graph: Graph, loss: str | None, outputs: str) -> str:
    """Add the log-ratio of two classes from outputs (n, 1): `losses.RatioLoss.log_ratio`."""
    o = graph.double(outputs)
    if loss in (None, "bce", "mse"):
        return o
    if loss == "square-root":
        half, cap = graph.add("Mul", o, graph.constant(0.5)), graph.constant(MAX_EXPONENT)
        below = graph.add("Min", graph.add("Neg", half), cap)
        return graph.add("Sub", graph.add("Min", half, cap), below)
    zero, one = graph.constant(0.0), graph.constant(1.0)
    if loss == "mlc-exponential":
        cap = graph.constant(MAX_EXPONENT)
        above = graph.add("Max", graph.add("Sub", o, cap), zero)
        tangent = graph.add("Log", graph.add("Add", above, one))
        return graph.add("Add", graph.add("Min", o, cap), tangent)
    if loss == "mlc-linear":
        least = graph.constant(MIN_LINEAR_RATIO)
        line = graph.add("Add", o, one)
        below = graph.add("Max", graph.add("Sub", least, line), zero)
        logarithm = graph.add("Log", graph.add("Max", line, least))
        return graph.add("Sub", logarithm, graph.add("Div", below, least))
    msg = f"loss {loss!r} cannot be exported"
    raise ModelError(msg)


def _polynomial(graph: Graph, fitted: Fitted, number: int, outputs: str) -> str:
    """Add ln r of a polynomial head: `heads.PolynomialHead.log_ratio`."""
    head, nodes = fitted.polynomial, fitted.where.nodes
    scale = graph.constant(fitted.scale[number], np.float32)
    scaled = graph.double(graph.add("Mul", outputs, scale))
    design = graph.constant(head.design(nodes).T)
    squares = []
    for m, part in enumerate(graph.split(scaled, 1 + head.n_squares)):
        amplitude = graph.add("MatMul", part, design)
        if m == 0:
            amplitude = graph.add("Add", amplitude, graph.constant(1.0))
        squares.append(graph.add("Mul", amplitude, amplitude))
    total = squares[0]
    for square in [*squares[1:], graph.constant(SMALLEST_RATIO)]:
        total = graph.add("Add", total, square)
    normaliser = graph.constant(head.normaliser(nodes, fitted.z[number]))
    return graph.add("Sub", graph.add("Log", total), normaliser)


def _average(graph: Graph, ratios: list[str], average: str) -> str:
    """Add the average over the members: `fitted.average_log_ratio`."""
    first = graph.constant([0], np.int64)
    members = [graph.add("Unsqueeze", r, first) for r in ratios]
    stacked = graph.add("Concat", *members, axis=0)
    if average == "log-ratio":
        return graph.add("ReduceMean", stacked, axes=[0], keepdims=0)
    if average == "ratio":
        total = graph.add("ReduceLogSumExp", stacked, axes=[0], keepdims=0)
        return graph.add("Sub", total, graph.constant(np.log(len(ratios))))
    # Ratios are one at θ0, so the probability of θ0 is one over their sum.
    sums = graph.add("ReduceLogSumExp", stacked, axes=[2], keepdims=1)
    at_reference = graph.add("ReduceLogSumExp", graph.add("Neg", sums), axes=[0], keepdims=0)
    logs = graph.add("LogSoftmax", stacked, axis=2)
    total = graph.add("ReduceLogSumExp", logs, axes=[0], keepdims=0)
    return graph.add("Sub", total, at_reference)


class Graph:
    """ONNX graph under construction; its values are identified by name.

    Parameters
    ----------
    onnx
        The Python package onnx.
    """

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float64) -> str:
        """Add a constant, and return its name."""
        name = f"constant_{len(self.initializers)}"
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        self.initializers.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Add a node with one output, and return the name of the output."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self._append(operator, inputs, [name], options)
        return name

    def split(self, value: str, n: int) -> list[str]:
        """Split columns into n equal parts, and return their names."""
        names = [f"split_{len(self.nodes)}_{part}" for part in range(n)]
        self._append("Split", (value,), names, {"axis": 1})
        return names

    def _append(
        self, operator: str, inputs: tuple[str, ...], outputs: list[str], options: dict[str, Any]
    ) -> None:
        node = self._onnx.helper.make_node(operator, inputs, outputs, name=outputs[0], **options)
        self.nodes.append(node)

    def dense(
        self, x: str, kernel: FloatArray | Float32Array, bias: FloatArray | Float32Array
    ) -> str:
        """Add a dense layer in float32: kernel of shape (n_in, n_out), bias of shape (n_out,)."""
        return self.add(
            "Gemm", x, self.constant(kernel, np.float32), self.constant(bias, np.float32)
        )

    def double(self, value: str) -> str:
        """Add a conversion to float64, and return the name of the result."""
        return self.add("Cast", value, to=self._onnx.TensorProto.DOUBLE)


def _gelu(graph: Graph, x: str) -> str:
    erf = graph.add("Erf", graph.add("Mul", x, graph.constant(np.sqrt(0.5), np.float32)))
    half = graph.add("Mul", x, graph.constant(0.5, np.float32))
    return graph.add("Mul", half, graph.add("Add", erf, graph.constant(1.0, np.float32)))


def _silu(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda _, x: x,
    "elu": lambda graph, x: graph.add("Elu", x, alpha=1.0),
    "relu": lambda graph, x: graph.add("Relu", x),
    "leaky_relu": lambda graph, x: graph.add("LeakyRelu", x, alpha=0.2),
    "selu": lambda graph, x: graph.add("Selu", x),
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "sigmoid": lambda graph, x: graph.add("Sigmoid", x),
    "softplus": lambda graph, x: graph.add("Softplus", x),
    "softsign": lambda graph, x: graph.add("Softsign", x),
}
"""Activations of Keras, with the defaults of Keras."""


def network(graph: Graph, trained: TrainedNetwork, x: str, scale: float = 1.0) -> str:
    """Add the layers of a network from the event features to the outputs.

    Parameters
    ----------
    graph
        Graph to which the nodes are added.
    trained
        The network.
    x
        Name of the input in the graph, float32 of shape (n, n_inputs).
    scale
        Factor on the outputs.

    Returns
    -------
    str
        Name of the output in the graph, float32 of shape (n, n_outputs).

    Raises
    ------
    ModelError
        If ONNX export does not know the activation.
    """
    events = trained.event_network
    assert events is not None  # who calls has refused poolings of whole bags
    name = events.config.activation
    if name not in ACTIVATIONS:
        msg = (
            f"activation {name!r} cannot be exported to ONNX; train with one of "
            f"{', '.join(ACTIVATIONS)}"
        )
        raise ModelError(msg)
    mean, width = events.standardisation
    x = graph.add("Sub", x, graph.constant(mean[None], np.float32))
    x = graph.add("Div", x, graph.constant(width[None], np.float32))
    hidden, (kernel, bias) = events.layers
    for layer in hidden:
        x = ACTIVATIONS[name](graph, graph.dense(x, *layer))
    return graph.dense(x, scale * kernel.astype(np.float64), scale * bias.astype(np.float64))
