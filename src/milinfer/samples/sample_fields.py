"""The arguments of a sample, which readers of files return and writers of files take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from milinfer.typing import Float32Array, FloatArray, Point

__all__ = ["SampleFields"]


class SampleFields(NamedTuple):
    """The arguments of a :class:`~milinfer.samples.sample.Sample`, which documents them."""

    features: Float32Array
    feature_names: tuple[str, ...]
    weights: FloatArray
    point: Point
    process: str
    cross_section: float
    cross_section_error: float
    reweights: Mapping[str, FloatArray]
    reweight_points: Mapping[str, Point]
    provenance: Mapping[str, Any]
