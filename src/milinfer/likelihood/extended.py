"""Surfaces of the whole likelihood: shape and rate term on a grid fine enough for both.

A shape that a parabola describes does not make the rate term one.  Where a rate term is added to
surfaces they are therefore first written on a finer grid; dataset and toys alike.
"""

from __future__ import annotations

import numpy as np

from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.typing import FloatArray

__all__ = ["fine_degree", "finer", "resampled"]

_POINTS = 81
# Nodes grow with the power of the number of parameters.
_DEGREES = {1: 24, 2: 16}
_DEGREE = 10


def fine_degree(n_parameters: int) -> int:
    """Degree of a box that holds more than a parabola, in so many parameters.

    Examples
    --------
    >>> fine_degree(2)
    16
    """
    return _DEGREES.get(n_parameters, _DEGREE)


def finer(interpolation: Interpolation | ChebyshevBox) -> Interpolation | ChebyshevBox:
    """A grid on the same range that holds ln ν(θ) beside the shape.

    Examples
    --------
    >>> finer(Interpolation(np.linspace(-1, 1, 9), "polynomial", 2)).grid.shape
    (81,)
    """
    if isinstance(interpolation, ChebyshevBox):
        degree = max(interpolation.degree, fine_degree(interpolation.n_parameters))
        return ChebyshevBox(interpolation.low, interpolation.high, degree)
    n = max(_POINTS, 4 * len(interpolation.grid) - 3)
    return Interpolation(np.linspace(*interpolation.range, n), "spline")


def resampled(
    old: Interpolation | ChebyshevBox, values: FloatArray, new: Interpolation | ChebyshevBox
) -> FloatArray:
    """Surfaces (n_surfaces, K) of one grid at the points of another, (n_surfaces, K′).

    Examples
    --------
    >>> old = Interpolation(np.linspace(-1, 1, 5), "polynomial", 2)
    >>> new = Interpolation(np.linspace(-1, 1, 9), "spline")
    >>> values = resampled(old, -old.grid[None] ** 2, new)
    >>> np.allclose(values, -new.grid**2)
    True
    """
    if isinstance(old, Interpolation) and old.kind == "parabola":
        # Each surface has points of its own.
        return np.concatenate([old.values_at(row[None], new.grid) for row in values])
    matrix = old.values_at(np.eye(values.shape[1]), new.grid)
    # Not by BLAS, whose rounding depends on the number of rows: a surface is to be the same however
    # many others are with it.
    out: FloatArray = np.einsum("nk,km->nm", values, matrix)
    return out
