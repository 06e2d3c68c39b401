"""Sums over all events of streamed samples: moments, sums of weights, normalisations.

What takes more than one pass over the events (the normalisation of samples that overlap, by
:func:`~milinfer.samples.bennett.bennett`) takes it over a file without a name that holds a few numbers for
each event, not its features.  Importing this module does not import Keras.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.learning.networks.heads import PolynomialHead
from milinfer.samples.bennett import bennett
from milinfer.samples.fingerprints import joined, sketch, with_union
from milinfer.samples.reweighting import class_points, joint_density
from milinfer.samples.samples import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.polynomials import PolynomialBasis

__all__ = [
    "WeightSums",
    "streamed_joint_total",
    "streamed_moments",
    "streamed_normalisation",
    "streamed_sketches",
    "streamed_weights",
]

_ROWS = 1 << 20


class WeightSums(NamedTuple):
    """Sums over the events of each sample, shape (n_samples,).

    Parameters
    ----------
    total, absolute, square
        Σw, Σ|w|, Σw².
    """

    total: FloatArray
    absolute: FloatArray
    square: FloatArray

    def effective(self, bag_size: int) -> float:
        """As :func:`milinfer.samples.bags.effective_sample_size`, in events, of all samples together."""
        if bag_size == 1:
            return float(np.sum(self.total**2 / self.square))
        dilution = (self.total / self.absolute) ** (2 * bag_size)
        return float(np.sum(self.absolute**2 / self.square * dilution))


def streamed_weights(samples: StreamedSamples) -> WeightSums:
    """Sums of the weights of each sample.

    Raises
    ------
    SampleError
        If those of a sample do not sum to a positive number.
    """
    sums = np.zeros((3, len(samples)))
    for k, part in samples.in_order():
        w = part.weights
        sums[:, k] += w.sum(), np.abs(w).sum(), w @ w
    for sample, total in zip(samples, sums[0], strict=True):
        if not total > 0:
            msg = f"{sample.label}: the event weights sum to {total:g}; it must be positive"
            raise SampleError(msg)
    return WeightSums(*sums)


def streamed_moments(samples: StreamedSamples) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of each feature over all samples, each sample counting alike.

    Parameters
    ----------
    samples
        With weights of any sign, which count by their size.

    Returns
    -------
    tuple of ndarray
        Shape (n_features,) each.
    """
    n_features = len(samples.feature_names)
    sums = np.zeros((3, len(samples), n_features))
    origin: FloatArray | None = None
    for k, part in samples.in_order():
        x = part.features.astype(np.float64)
        if origin is None:
            origin = x.mean(axis=0)  # near the mean, so that no digits cancel in the variance
        x -= origin
        w = np.abs(part.weights)
        sums[:, k] += np.broadcast_to(w.sum(), n_features), w @ x, w @ x**2
    first, second = sums[1:] / sums[0]
    mean = first.mean(axis=0)
    return mean + origin, np.maximum(second.mean(axis=0) - mean**2, 0.0)


def streamed_sketches(samples: StreamedSamples) -> tuple[str, ...]:
    """Sketches of each sample and of all; see :func:`milinfer.samples.fingerprints.sketch_each`."""
    each = [""] * len(samples)
    for k, part in samples.in_order():
        each[k] = joined([each[k], sketch(part)])
    return with_union(each)


def streamed_joint_total(
    samples: StreamedSamples, weights: WeightSums, points: FloatArray, degree: int
) -> tuple[FloatArray, float]:
    """σ(θ)/σ(0) and the number of effective events, as of :func:`~milinfer.joint_targets`.

    Parameters
    ----------
    samples
        With weights at other points.
    weights
        Their sums.
    points
        Points to learn the ratio between, shape (K, n_parameters).
    degree
        Of the polynomial of the weight.

    Returns
    -------
    tuple
        Coefficients of the polynomial, shape (n_coefficients,), and the number.

    Raises
    ------
    SampleError
        If weights are missing, or those of an event change sign at a point.
    """
    basis = PolynomialBasis(samples.parameters, degree)
    own, n = class_points(samples), samples.n_events
    design, one = basis.design(own), np.eye(len(basis))[0]
    with _scratch(n, len(own), len(basis)) as (ratios, polynomials, w):
        start = 0
        for k, part in samples.in_order(keep_reweights=True):
            # Polynomials need no weights, and those of a row group may sum to anything.
            plain = SampleSet((dataclasses.replace(part, weights=np.ones(len(part))),))
            joint = joint_density(plain, degree, total=one)
            joint.at(np.concatenate([own, points]))  # refuses what has no ratio there
            rows = slice(start, start + len(part))
            polynomials[rows] = joint.polynomials[0]
            ratios[rows] = joint.polynomials[0] @ design.T
            w[rows, 0] = part.weights / weights.total[k] / len(own)
            start = rows.stop
        total = bennett(ratios, w[:, 0], polynomials)
        sigma_own, at = design @ total, basis.design(points)
        sums = np.zeros(2)
        for first in range(0, n, _ROWS):
            rows = slice(first, first + _ROWS)
            mixture = (ratios[rows] / sigma_own).mean(axis=1)
            density = (polynomials[rows] @ at.T / (at @ total)).mean(axis=1)
            even = w[rows, 0] * density / mixture
            sums += even.sum(), even @ even
    return total, float(sums[0] ** 2 / sums[1])


def streamed_normalisation(
    samples: StreamedSamples,
    weights: WeightSums,
    outputs: Callable[[Float32Array], Float32Array],
    head: PolynomialHead,
    held_out: tuple[Float32Array, FloatArray],
) -> FloatArray:
    """Coefficients of Z(θ) from all events, so that E_θ0[r] = 1.

    Parameters
    ----------
    samples
        Events that trained.
    weights
        Their sums.
    outputs
        Gives the outputs for the head from features (n, n_features).
    head
        What they mean.
    held_out
        Outputs and weights of the events that did not train, the weights summing to one.

    Returns
    -------
    ndarray
        Shape (n_coefficients,).
    """
    own, n = class_points(samples), samples.n_events
    rest, rest_weights = held_out
    with _scratch(n + len(rest), len(own), len(head.basis)) as (ratios, coefficients, w):

        def put(start: int, found: Float32Array, of_events: FloatArray) -> int:
            rows = slice(start, start + len(found))
            ratios[rows] = head.ratios(found, own)
            coefficients[rows] = head.coefficients(found)
            w[rows, 0] = of_events
            return rows.stop

        share = n / (n + len(rest))
        start = 0
        for k, part in samples.in_order():
            mine = part.weights / weights.total[k] / len(own)
            start = put(start, outputs(part.features), share * mine)
        put(start, rest, (1 - share) * rest_weights)
        return bennett(ratios, w[:, 0], coefficients)


@contextmanager
def _scratch(n: int, *widths: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Arrays of n rows and one more column, in files without names that vanish afterwards."""
    with ExitStack() as stack:
        arrays = []
        for width in (*widths, 1):
            file = stack.enter_context(tempfile.TemporaryFile())
            arrays.append(np.memmap(file, np.float64, "w+", shape=(n, width)))
        yield tuple(arrays)
