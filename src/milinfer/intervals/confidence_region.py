"""Confidence regions in two parameters: a grid that closes in, and outlines."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from milinfer.intervals.confidence_sets import ConfidenceRegion
from milinfer.intervals.critical_values import CriticalCurve
from milinfer.typing import FloatArray

__all__ = ["confidence_region"]

# Grids that each look at where the last one found accepted points.
_ZOOMS = 4


def confidence_region(
    statistic: Callable[[FloatArray], float],
    critical: CriticalCurve,
    parameters: tuple[str, str],
    estimate: FloatArray,
    *,
    cl: float,
    n_grid: int = 101,
) -> ConfidenceRegion:
    """Find the accepted values of two parameters.

    Parameters
    ----------
    statistic
        q(θ) of the data, θ of shape (2,).
    critical
        c(θ).
    parameters, estimate, cl
        As in :class:`~milinfer.intervals.confidence_sets.ConfidenceRegion`.
    n_grid
        Points of the last grid in each parameter; the ones that find the region have half of them.

    Examples
    --------
    >>> from milinfer.intervals.critical_values import InterpolatedCurve
    >>> corners = np.array([[-9.0, -9.0], [-9.0, 9.0], [9.0, -9.0], [9.0, 9.0]])
    >>> two = InterpolatedCurve(corners, np.full(4, 2.0), np.zeros(4))
    >>> region = confidence_region(lambda t: float(t @ t), two, ("a", "b"), np.zeros(2), cl=0.632)
    >>> print(f"{region.area / np.pi:.2f}")
    2.00
    """
    limits = np.array(critical.limits)
    box = limits
    for zoom in range(_ZOOMS):
        axes, excess = _scan(statistic, critical, box, n_grid // 2 + 1)
        steps = np.array([axis[1] - axis[0] for axis in axes])
        there = np.argwhere(excess <= 0)
        low = np.clip(estimate, limits[:, 0], limits[:, 1])
        found = np.vstack([box[:, 0] + there * steps, low])
        # Two steps of margin, so that the outline is inside.
        closer = np.stack([found.min(axis=0) - 2 * steps, found.max(axis=0) + 2 * steps], axis=1)
        closer = np.clip(closer, limits[:, :1], limits[:, 1:])
        shrunk = np.max(np.diff(closer) / np.diff(box))
        box = closer
        if zoom and shrunk > 0.7:
            break
    axes, excess = _scan(statistic, critical, box, n_grid)
    return ConfidenceRegion(
        parameters, cl, (axes[0], axes[1]), excess, _outlines(axes, excess), estimate
    )


def _scan(
    statistic: Callable[[FloatArray], float], critical: CriticalCurve, box: FloatArray, n: int
) -> tuple[list[FloatArray], FloatArray]:
    axes = [np.linspace(low, high, n) for low, high in box]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    q = np.array([max(statistic(p), 0.0) for p in points])
    return axes, (q - critical(points)).reshape(n, n)


def _outlines(axes: list[FloatArray], excess: FloatArray) -> tuple[FloatArray, ...]:
    from contourpy import FillType, contour_generator

    # The filled region rather than the line of level 0: closed along a bound, too.
    masked = np.ma.masked_invalid(excess.T)
    generator = contour_generator(
        axes[0], axes[1], masked, name="serial", fill_type=FillType.OuterOffset
    )
    filled: Any = generator.filled(-np.inf, 0.0)
    polygons, offsets = filled
    return tuple(
        np.asarray(polygon[a:b], dtype=np.float64)
        for polygon, ends in zip(polygons, offsets, strict=True)
        if polygon is not None and ends is not None
        for a, b in pairwise(ends.tolist())
    )
