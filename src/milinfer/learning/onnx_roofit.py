"""Export ln r(x|θ) of one event to ONNX for RooFit, which evaluates it with SOFIE.

``RooONNXFunc`` of RooFit needs graphs whose inputs have fixed shapes and whose output is one
float32 number.  The inputs of the exported graph are the features of an event and the parameters,
and its output is ln r at any θ, without interpolation.  The graph contains only operators that
SOFIE translates to C++: products, sums, activations and one logarithm.

Importing this module imports neither Keras nor onnx.
"""

from __future__ import annotations

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.learning.fitted import Fitted
from milinfer.learning.networks.heads import SMALLEST_RATIO, PolynomialHead
from milinfer.learning.onnx import INPUT, OUTPUT, Graph, network, require_onnx, write_graph
from milinfer.learning.settings import LikelihoodSettings
from milinfer.typing import IntArray, PathLikeStr

__all__ = ["ACTIVATIONS", "PARAMETERS", "export_for_roofit"]

PARAMETERS = "parameters"
# SOFIE has no operator for the other activations.
ACTIVATIONS = (
    "linear", "elu", "relu", "leaky_relu", "selu", "gelu", "silu", "swish", "tanh", "sigmoid",
)  # fmt: skip


def export_for_roofit(settings: LikelihoodSettings, fitted: Fitted, path: PathLikeStr) -> None:
    """Write an ONNX graph that computes ln p(x|θ)/p(x|θ0) of one event at any θ.

    The inputs are ``features``, float32 of shape (1, n_features) in the order of
    ``fitted.feature_names``, and ``parameters``, float32 of shape (1, n_parameters) in the order of
    ``fitted.parameters``.  The output ``log_ratio`` is float32 of shape (1, 1).  The metadata of
    the file, in JSON, are ``format``, ``milinfer_version``, ``head``, ``feature_names``,
    ``parameters``, ``reference`` and ``limits`` (range of each parameter in the training).

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
        If the head is not polynomial, the ensemble does not average log-ratios, or SOFIE has no
        operator for the activation.
    """
    if settings.head != "polynomial":
        msg = (
            f"head={settings.head!r} gives ln r at the training points alone, and RooFit needs it "
            "at any value of the parameters; train with head='polynomial', or export for "
            "onnxruntime with export_onnx(path)"
        )
        raise ModelError(msg)
    n_members = len(fitted.members)
    if n_members > 1 and settings.average != "log-ratio":
        msg = (
            f"average={settings.average!r} of an ensemble needs operators that SOFIE does not "
            "have; train with average='log-ratio'"
        )
        raise ModelError(msg)
    activation = fitted.network.activation
    if activation not in ACTIVATIONS:
        msg = (
            f"activation {activation!r} cannot be exported for RooFit; train with one of "
            f"{', '.join(ACTIVATIONS)}"
        )
        raise ModelError(msg)
    graph = Graph(require_onnx())
    head = fitted.polynomial
    amplitude = _monomials(graph, head, head.amplitude_exponents)
    squared = _monomials(graph, head, head.basis.exponents)
    members = [
        _log_ratio(graph, fitted, number, head, amplitude, squared) for number in range(n_members)
    ]
    total = members[0]
    for member in members[1:]:
        total = graph.add("Add", total, member)
    share = graph.constant([[1.0 / n_members]], np.float32)
    result = graph.add("Mul", total, share, output=OUTPUT)
    metadata = {
        "head": settings.head,
        "feature_names": fitted.feature_names,
        "parameters": fitted.parameters,
        "reference": fitted.where.reference.tolist(),
        "limits": dict(zip(fitted.parameters, fitted.interpolation.limits, strict=True)),
    }
    inputs = {INPUT: (1, len(fitted.feature_names)), PARAMETERS: (1, len(fitted.parameters))}
    write_graph(graph, inputs, result, (1, 1), metadata, path, single=True)


def _monomials(graph: Graph, head: PolynomialHead, exponents: IntArray) -> str:
    """Add the monomials of (θ − θ0)/scale, shape (1, J), as products of one factor per degree.

    A factor is one of the parameters, or the number 1.
    """
    # The parameters of each monomial, repeated according to their exponents.
    chosen = [np.repeat(np.arange(len(row)), row) for row in exponents]
    product = ""
    for d in range(max(len(places) for places in chosen)):
        kernel, bias = np.zeros(exponents.T.shape), np.ones(len(exponents))
        for j, places in enumerate(chosen):
            if d < len(places):
                p = places[d]
                kernel[p, j] = 1.0 / head.scale[p]
                bias[j] = -head.reference[p] / head.scale[p]
        factor = graph.dense(PARAMETERS, kernel, bias)
        product = graph.add("Mul", product, factor) if product else factor
    return product


def _log_ratio(
    graph: Graph,
    fitted: Fitted,
    number: int,
    head: PolynomialHead,
    amplitude: str,
    squared: str,
) -> str:
    """Add ln r of one member, shape (1, 1): `heads.PolynomialHead.log_ratio`."""
    outputs = network(graph, fitted.members[number][0], INPUT, fitted.scale[number])
    n, j = 1 + head.n_squares, head.n_monomials
    # Each square has its own outputs; all squares have the same monomials.
    repeated = graph.dense(amplitude, np.tile(np.eye(j), n), np.zeros(n * j))
    terms = graph.add("Mul", outputs, repeated)
    # The first amplitude interferes with the amplitude at θ0.
    sums = graph.dense(terms, np.repeat(np.eye(n), j, axis=0), np.eye(n)[0])
    squares = graph.add("Mul", sums, sums)
    total = graph.dense(squares, np.ones((n, 1)), np.array([SMALLEST_RATIO]))
    z = graph.dense(squared, fitted.z[number][:, None], np.zeros(1))
    return graph.add("Sub", graph.add("Log", total), graph.add("Log", z))
