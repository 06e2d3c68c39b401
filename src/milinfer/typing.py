"""Array and parameter aliases shared by all modules."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Float32Array",
    "FloatArray",
    "Int32Array",
    "IntArray",
    "PathLikeStr",
    "Point",
    "Seed",
]

FloatArray: TypeAlias = NDArray[np.float64]
"""Sums, costs and gradients: always float64."""

Float32Array: TypeAlias = NDArray[np.float32]
"""Features and outputs of networks: float32."""

Int32Array: TypeAlias = NDArray[np.int32]
"""Array of int32."""

IntArray: TypeAlias = NDArray[np.int64]

BoolArray: TypeAlias = NDArray[np.bool_]

Point: TypeAlias = Mapping[str, float]
"""A parameter point, with values by name, such as ``{"c_HW": 0.5}``."""

PathLikeStr: TypeAlias = str | PathLike[str]

Seed: TypeAlias = int | np.random.SeedSequence | np.random.Generator

AwkwardArray: TypeAlias = Any
"""``awkward.Array``; written as ``Any``, so that this module does not import awkward."""
