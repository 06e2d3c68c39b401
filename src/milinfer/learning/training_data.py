"""Samples as a training takes them: in order, checked, with their moments and sketches."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np

from milinfer.exceptions import ModelError, SampleError
from milinfer.learning.streamed_sums import streamed_moments, streamed_sketches
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.reweighting import class_points
from milinfer.samples.samples import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray

__all__ = ["matching", "moments", "ordered", "require_bags", "require_weights", "seen"]

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


def seen(samples: SampleSet | StreamedSamples, validation: SampleSet | None) -> tuple[str, ...]:
    """Sketches of all events that decide on the weights of a network."""
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
