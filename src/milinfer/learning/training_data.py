"""Samples as a training takes them: in order, checked, with their moments and sketches.

Sums over all events of streamed samples: moments, sums of weights, normalisations.

What takes more than one pass over the events (the normalisation of samples that overlap, by
:func:`~milinfer.samples.reweighting.bennett`) takes it over a file without a name that holds a few
numbers for each event, not its features.  Importing this module does not import Keras.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ModelError, SampleError
from milinfer.learning.networks.heads import PolynomialHead
from milinfer.samples.fingerprints import sketch, sketch_each, sketch_of_union, with_union
from milinfer.samples.reweighting import bennett, class_points, joint_density
from milinfer.samples.sample import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.samples.weights import WeightSums
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.polynomials import PolynomialBasis

__all__ = [
    "matching",
    "moments",
    "ordered",
    "require_bags",
    "require_weights",
    "streamed_joint_total",
    "streamed_moments",
    "streamed_normalisation",
    "streamed_sketches",
    "streamed_weights",
    "training_sketches",
]


_Samples = TypeVar("_Samples", bound=SampleSet | StreamedSamples)
_RESOLUTION = 4 * np.finfo(np.float32).eps  # of a feature, relative to its mean


def ordered(samples: _Samples) -> _Samples:
    """Samples in ascending order of their points."""
    if not samples.parameters:
        msg = "the samples have no parameter; give them parameter points"
        raise ModelError(msg)
    order = sorted(range(len(samples)), key=lambda i: tuple(samples[i].point.values()))
    ordered = tuple(samples[i] for i in order)
    return dataclasses.replace(samples, samples=ordered)  # type: ignore[arg-type]  # of its kind


def matching(validation: SampleSet, samples: SampleSet | StreamedSamples) -> SampleSet:
    """Validation samples, if they are of the same features and points as the training samples."""
    if validation.feature_names != samples.feature_names:
        msg = f"validation= has features {validation.feature_names}, not {samples.feature_names}"
        raise ModelError(msg)
    mine, theirs = class_points(samples), class_points(validation)
    same = validation.parameters == samples.parameters and mine.shape == theirs.shape
    if not same or not np.allclose(mine, theirs, rtol=0, atol=1e-9):
        msg = f"validation= has samples at {theirs.tolist()}, not at {mine.tolist()}"
        raise ModelError(msg)
    return validation


def training_sketches(
    samples: SampleSet | StreamedSamples, validation: SampleSet | None
) -> tuple[str, ...]:
    """Fingerprints of all events that affect the weights of a network."""
    events = (
        streamed_sketches(samples) if isinstance(samples, StreamedSamples) else sketch_each(samples)
    )
    return events if validation is None else (*events, *sketch_each(validation))


def require_weights(samples: SampleSet | StreamedSamples) -> None:
    """Refuse samples whose weights do not sum to something positive."""
    if isinstance(samples, StreamedSamples):
        return  # summed, and refused, where the pieces are read
    for s in samples:
        total = float(s.weights.sum())
        if not total > 0:
            msg = (
                f"{s.label}: the weights of its {len(s)} events sum to {total:g}; a sample to "
                "train on needs a positive sum of weights"
            )
            raise SampleError(msg)


def require_bags(samples: SampleSet | StreamedSamples, bag_size: int, purpose: str) -> None:
    """Refuse samples that do not fill a bag, for training or another purpose."""
    if isinstance(samples, StreamedSamples):
        return
    for s in samples:
        if len(s) < bag_size:
            msg = (
                f"{s.label} has {len(s)} events to {purpose}, which cannot fill one bag of "
                f"{bag_size}; use more events, smaller bags or another validation_fraction"
            )
            raise SampleError(msg)
        if not s.weights.sum() > 0:
            msg = (
                f"{s.label}: the weights of the {len(s)} events to {purpose} sum to "
                f"{s.weights.sum():g}, as negative ones outweigh the others; use more events, or "
                "another seed"
            )
            raise SampleError(msg)


def moments(samples: SampleSet | StreamedSamples) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of each feature over all samples, each sample counting alike."""
    if isinstance(samples, StreamedSamples):
        mean, variance = streamed_moments(samples)
    else:
        weights = np.concatenate([np.abs(s.weights) / np.abs(s.weights).sum() for s in samples])
        features = np.concatenate([s.features for s in samples])
        mean = np.average(features, axis=0, weights=weights)
        variance = np.average((features - mean) ** 2, axis=0, weights=weights)
    wide = variance > np.finfo(np.float32).max
    if wide.any():
        name = samples.feature_names[int(np.argmax(wide))]
        msg = f"feature {name!r} has values too large for float32; look for outliers in it"
        raise ModelError(msg)
    # A spread that float32 does not resolve is rounding, which must not be blown up to one.
    resolved = variance > (_RESOLUTION * np.abs(mean)) ** 2
    if not resolved.any():
        names = ", ".join(samples.feature_names)
        msg = f"no feature varies from event to event ({names}): there is nothing to learn from"
        raise SampleError(msg)
    # A constant feature carries nothing; a variance of one keeps it at zero after centring.
    return mean, np.where(resolved, variance, 1.0)


_ROWS = 1 << 20


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
    return WeightSums(total=sums[0], absolute=sums[1], square=sums[2])


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
        each[k] = sketch_of_union([each[k], sketch(part)])
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
