"""Prepare training samples: order, checks, moments and fingerprints, and sums over streamed events.

The normalisation of samples that overlap (:func:`~milinfer.samples.reweighting.bennett`) reads the
events several times.  Streamed events are replaced by a temporary file with a few numbers for each
event, which is faster to read than the features.  Importing this module does not import Keras.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ModelError, SampleError
from milinfer.learning.networks.heads import PolynomialHead
from milinfer.samples.fingerprints import sketch, sketch_each, sketch_of_union, with_union
from milinfer.samples.reweighting import JointDensity, bennett, class_points, joint_density
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.samples.weights import WeightSums
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.polynomials import PolynomialBasis

__all__ = [
    "MomentSums",
    "moments",
    "on_disk",
    "require_bags",
    "require_matching",
    "require_weights",
    "resolved_moments",
    "sort_by_point",
    "streamed_event_weights",
    "streamed_joint_total",
    "streamed_moments",
    "streamed_normalisation",
    "streamed_sketches",
    "streamed_weights",
    "training_sketches",
]


_Samples = TypeVar("_Samples", bound=SampleSet | StreamedSamples)
# Smallest spread of a feature that float32 resolves, relative to its mean.
_RESOLUTION = 4 * np.finfo(np.float32).eps
# Number of events for which ratios are computed at once.
_ROWS = 1 << 20


def sort_by_point(samples: _Samples) -> _Samples:
    """Sort samples by their parameter points, in ascending order."""
    if not samples.parameters:
        msg = "the samples have no parameter; give them parameter points"
        raise ModelError(msg)
    order = sorted(range(len(samples)), key=lambda i: tuple(samples[i].point.values()))
    ordered = tuple(samples[i] for i in order)
    # The result has the same type as the argument.
    return dataclasses.replace(samples, samples=ordered)  # type: ignore[arg-type]


def require_matching(validation: SampleSet, samples: SampleSet | StreamedSamples) -> SampleSet:
    """Return the validation samples, or raise if features or points differ from the training."""
    if validation.feature_names != samples.feature_names:
        msg = (
            f"validation= has features {validation.feature_names}, not {samples.feature_names}; "
            "give it the same features"
        )
        raise ModelError(msg)
    train_points, points = class_points(samples), class_points(validation)
    same = validation.parameters == samples.parameters and train_points.shape == points.shape
    if not same or not np.allclose(train_points, points, rtol=0, atol=1e-9):
        msg = (
            f"validation= has samples at {points.tolist()}, not at {train_points.tolist()}; give "
            "it samples at the same points"
        )
        raise ModelError(msg)
    return validation


def training_sketches(
    samples: SampleSet | StreamedSamples, validation: SampleSet | None
) -> tuple[str, ...]:
    """Return the fingerprints of all events that affect the weights of a network."""
    events = (
        streamed_sketches(samples) if isinstance(samples, StreamedSamples) else sketch_each(samples)
    )
    return events if validation is None else (*events, *sketch_each(validation))


def require_weights(samples: SampleSet | StreamedSamples) -> None:
    """Raise if the weights of a sample do not sum to a positive number."""
    if isinstance(samples, StreamedSamples):
        return  # streamed_weights checks them when it reads the events
    for s in samples:
        total = float(s.weights.sum())
        if not total > 0:
            msg = (
                f"{s.label}: the weights of its {len(s)} events sum to {total:g}; a sample to "
                "train on needs a positive sum of weights"
            )
            raise SampleError(msg)


def require_bags(samples: SampleSet | StreamedSamples, bag_size: int, purpose: str) -> None:
    """Raise if a sample has too few events for a bag, or the sum of its weights is not positive."""
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
                f"{s.weights.sum():g}, because negative weights dominate; use more events, or "
                "another seed"
            )
            raise SampleError(msg)


def moments(samples: SampleSet | StreamedSamples) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of each feature over all samples, which get equal total weight."""
    if isinstance(samples, StreamedSamples):
        mean, variance = streamed_moments(samples)
    else:
        weights = np.concatenate([np.abs(s.weights) / np.abs(s.weights).sum() for s in samples])
        features = np.concatenate([s.features for s in samples])
        mean = np.average(features, axis=0, weights=weights)
        variance = np.average((features - mean) ** 2, axis=0, weights=weights)
    return resolved_moments(mean, variance, samples.feature_names)


def resolved_moments(
    mean: FloatArray, variance: FloatArray, feature_names: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Return means and variances; a feature that does not vary gets the variance 1.

    Raises
    ------
    ModelError
        If a feature has values too large for float32.
    SampleError
        If all features are constant.
    """
    wide = variance > np.finfo(np.float32).max
    if wide.any():
        name = feature_names[int(np.argmax(wide))]
        msg = f"feature {name!r} has values too large for float32; look for outliers in it"
        raise ModelError(msg)
    # A spread that float32 does not resolve is rounding, and must not be scaled to one.
    resolved = variance > (_RESOLUTION * np.abs(mean)) ** 2
    if not resolved.any():
        names = ", ".join(feature_names)
        msg = f"no feature varies from event to event ({names}); use features that vary"
        raise SampleError(msg)
    # A constant feature gets the variance one, so that it is zero after centring.
    return mean, np.where(resolved, variance, 1.0)


def streamed_weights(samples: StreamedSamples) -> WeightSums:
    """Return the sums of the weights of each sample.

    Raises
    ------
    SampleError
        If the weights of a sample do not sum to a positive number.
    """
    sums = np.zeros((3, len(samples)))
    for k, part in samples.in_order():
        w = part.weights
        sums[:, k] += w.sum(), np.abs(w).sum(), w @ w
    for sample, total in zip(samples, sums[0], strict=True):
        if not total > 0:
            msg = f"{sample.label}: the event weights sum to {total:g}; the sum must be positive"
            raise SampleError(msg)
    return WeightSums(total=sums[0], absolute=sums[1], square=sums[2])


def streamed_moments(samples: StreamedSamples) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of each feature over all samples, which get equal total weight.

    Parameters
    ----------
    samples
        Samples whose event weights may have any sign; their absolute values are used.

    Returns
    -------
    tuple of ndarray
        Means and variances, shape (n_features,) each.
    """
    sums = MomentSums(len(samples), len(samples.feature_names))
    for k, part in samples.in_order():
        sums.add(k, part)
    return sums.moments


class MomentSums:
    """Sums over events from which mean and variance of each feature are computed.

    Parameters
    ----------
    n_samples, n_features
        Number of samples, which get equal total weight, and number of features.

    Examples
    --------
    >>> sums = MomentSums(1, 1)
    >>> for x in (1.0, 3.0):
    ...     sums.add(0, Sample(np.full((5, 1), x), ("x",)))
    >>> sums.moments
    (array([2.]), array([1.]))
    """

    def __init__(self, n_samples: int, n_features: int) -> None:
        self._sums = np.zeros((3, n_samples, n_features))
        self._origin: FloatArray | None = None

    def add(self, k: int, part: Sample) -> None:
        """Add events of sample number `k`, weighted with the absolute values of their weights."""
        x = part.features.astype(np.float64)
        if self._origin is None:
            # Relative to a value close to the mean, so that no digits cancel in the variance.
            self._origin = x.mean(axis=0)
        x -= self._origin
        w = np.abs(part.weights)
        self._sums[:, k] += np.broadcast_to(w.sum(), x.shape[1]), w @ x, w @ x**2

    @property
    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Means and variances, shape (n_features,) each."""
        assert self._origin is not None
        first, second = self._sums[1:] / self._sums[0]
        mean = first.mean(axis=0)
        return mean + self._origin, np.maximum(second.mean(axis=0) - mean**2, 0.0)


def streamed_sketches(samples: StreamedSamples) -> tuple[str, ...]:
    """Return the fingerprints of each sample and of all samples together, as `sketch_each` does."""
    each = [""] * len(samples)
    for k, part in samples.in_order():
        each[k] = sketch_of_union([each[k], sketch(part)])
    return with_union(each)


def streamed_joint_total(
    samples: StreamedSamples, weights: WeightSums, points: FloatArray, degree: int
) -> tuple[FloatArray, float]:
    """Compute σ(θ)/σ(0) and the effective number of events of streamed samples.

    Parameters
    ----------
    samples
        Samples whose events have weights at other points.
    weights
        Sums of the weights of each sample.
    points
        Points between which the ratio is learned, shape (K, n_parameters).
    degree
        Degree of the polynomial in θ that describes the weight of an event.

    Returns
    -------
    tuple
        Coefficients of the polynomial, shape (n_coefficients,), and the effective number of events.

    Raises
    ------
    SampleError
        If weights are missing, or the weight of an event changes sign between the points.
    """
    basis = PolynomialBasis(samples.parameters, degree)
    sample_points, n = class_points(samples), samples.n_events
    design, one = basis.design(sample_points), np.eye(len(basis))[0]
    with on_disk(n, len(sample_points), len(basis)) as (ratios, polynomials, w):
        start = 0
        for k, part in samples.in_order(keep_reweights=True):
            joint = _part_density(part, degree, one)
            joint.at(np.concatenate([sample_points, points]))  # refuses what has no ratio there
            rows = slice(start, start + len(part))
            polynomials[rows] = joint.polynomials[0]
            ratios[rows] = joint.polynomials[0] @ design.T
            w[rows, 0] = part.weights / weights.total[k] / len(sample_points)
            start = rows.stop
        total = bennett(ratios, w[:, 0], polynomials)
        sigma, target_design = design @ total, basis.design(points)
        sums = np.zeros(2)
        for first in range(0, n, _ROWS):
            rows = slice(first, first + _ROWS)
            mixture = (ratios[rows] / sigma).mean(axis=1)
            density = (polynomials[rows] @ target_design.T / (target_design @ total)).mean(axis=1)
            target_weights = w[rows, 0] * density / mixture
            sums += target_weights.sum(), target_weights @ target_weights
    return total, float(sums[0] ** 2 / sums[1])


def streamed_normalisation(
    samples: StreamedSamples,
    weights: WeightSums,
    outputs: Callable[[Float32Array], Float32Array],
    head: PolynomialHead,
    held_out: tuple[Float32Array, FloatArray],
) -> FloatArray:
    """Compute the coefficients of Z(θ) from all events, so that E_θ0[r] = 1.

    Parameters
    ----------
    samples
        Events of the training.
    weights
        Sums of the weights of each sample.
    outputs
        Function that computes the outputs for the head from features of shape (n, n_features).
    head
        Head of the network.
    held_out
        Outputs and weights of the held-out events; the weights sum to one.

    Returns
    -------
    ndarray
        Coefficients of Z, shape (n_coefficients,).
    """
    sample_points, n = class_points(samples), samples.n_events
    rest, rest_weights = held_out
    with on_disk(n + len(rest), len(sample_points), len(head.basis)) as scratch:
        ratios, coefficients, w = scratch

        def put(start: int, part_outputs: Float32Array, part_weights: FloatArray) -> int:
            """Fill the rows from `start`; return the row after them."""
            rows = slice(start, start + len(part_outputs))
            ratios[rows] = head.ratios(part_outputs, sample_points)
            coefficients[rows] = head.coefficients(part_outputs)
            w[rows, 0] = part_weights
            return rows.stop

        share = n / (n + len(rest))
        start = 0
        for k, part in samples.in_order():
            shape_weights = part.weights / weights.total[k] / len(sample_points)
            start = put(start, outputs(part.features), share * shape_weights)
        put(start, rest, (1 - share) * rest_weights)
        return bennett(ratios, w[:, 0], coefficients)


def streamed_event_weights(
    samples: StreamedSamples,
    weights: WeightSums,
    joint: tuple[FloatArray, int, FloatArray] | None,
) -> Iterator[tuple[Float32Array, FloatArray]]:
    """Yield features of events, and weights that make them the equal mixture of the points.

    Parameters
    ----------
    samples
        Events of the training.
    weights
        Sums of the weights of each sample.
    joint
        For joint labels: the training points, the degree of the polynomial of the weight, and
        σ(θ)/σ(0).  None if the samples are at the training points.

    Yields
    ------
    tuple
        Features of shape (n, n_features) and weights of shape (n,) of some of the events.  The
        weights of all events sum to about one.
    """
    sample_points = class_points(samples)
    for k, part in samples.in_order(keep_reweights=joint is not None):
        w = part.weights / weights.total[k] / len(samples)
        if joint is not None:
            points, degree, total = joint
            basis = PolynomialBasis(samples.parameters, degree)
            density = _part_density(part, degree, total)
            design = basis.design(sample_points)
            mixture = (density.polynomials[0] @ design.T / (design @ total)).mean(axis=1)
            w = w * density.at(points)[0].mean(axis=1) / mixture
        yield part.features, w


def _part_density(part: Sample, degree: int, total: FloatArray) -> JointDensity:
    """Return the density of the events of a part, with σ(θ)/σ(0) from all events."""
    # Polynomials need no weights, and the weights of a row group may have any sum.
    plain = SampleSet((dataclasses.replace(part, weights=np.ones(len(part))),))
    return joint_density(plain, degree, total=total)


@contextmanager
def on_disk(n: int, *widths: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield arrays of n rows in temporary files: one for each width, and one of width 1."""
    with ExitStack() as stack:
        arrays = []
        for width in (*widths, 1):
            file = stack.enter_context(tempfile.TemporaryFile())
            arrays.append(np.memmap(file, np.float64, "w+", shape=(n, width)))
        yield tuple(arrays)
