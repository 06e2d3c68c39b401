"""Find confidence sets of one parameter, regions of two, and minima inside physical bounds.

A Neyman construction computes a function h(θ) from the data and accepts θ if h(θ) is not positive.
The accepted values may form one interval, several intervals, or none.  In one parameter,
:func:`confidence_set` evaluates h on a grid and then refines the ends of the intervals.  In two
parameters, :func:`confidence_region` narrows a grid to the accepted points and finds the contours
around these points.

:func:`bounded_minimum` finds the lowest −2 ln L inside bounds.  Minuit does not do this well
enough: it transforms parameters with limits, so that it never reaches a minimum *at* a limit
exactly.  In the toys of a belt, the minimum is exact except for rounding, and the minimum of the
data must be as exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError
from milinfer.intervals.critical_values import CriticalCurve
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.surface import Limits, Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.typing import BoolArray, FloatArray
from milinfer.utils.display import UNKNOWN, arrow_table, html_table, measured
from milinfer.utils.minimize import lowest_in_box

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BoundedMinimum",
    "ConfidenceRegion",
    "ConfidenceSet",
    "accepted_runs",
    "bounded_minimum",
    "confidence_region",
    "confidence_set",
    "cost_value",
]


@dataclass(frozen=True)
class ConfidenceSet:
    """Confidence set of one parameter: the values that a Neyman construction accepts.

    Parameters
    ----------
    parameter
        Name of the parameter.
    cl
        Confidence level.
    intervals
        Ends ``(low, high)`` of each interval, in ascending order.  There may be several intervals
        if the likelihood has several maxima, and none if no value is accepted.
    errors
        Standard errors of the two ends of each interval, due to the finite number of toys; 0 at a
        bound.
    at_bound
        For each end of each interval, whether it is a physical bound or the end of the range of the
        belt.  Values outside the range of the belt were not tested.
    estimate
        Maximum-likelihood estimate inside the physical bounds.

    Examples
    --------
    >>> interval = ConfidenceSet("mu", 0.9, ((0.0, 1.5),), ((0.0, 0.1),), ((True, False),), 0.2)
    >>> 1.0 in interval, 2.0 in interval
    (True, False)
    >>> print(interval)
    mu = 0.2, [0, 1.5] at 90.00 % CL
    """

    parameter: str
    cl: float
    intervals: tuple[tuple[float, float], ...]
    errors: tuple[tuple[float, float], ...]
    at_bound: tuple[tuple[bool, bool], ...]
    estimate: float

    @property
    def empty(self) -> bool:
        """Whether no value is accepted."""
        return not self.intervals

    @property
    def low(self) -> float:
        """Lowest accepted value.  A ParameterError is raised if no value is accepted."""
        self._require_values()
        return self.intervals[0][0]

    @property
    def high(self) -> float:
        """Highest accepted value.  A ParameterError is raised if no value is accepted."""
        self._require_values()
        return self.intervals[-1][1]

    @property
    def width(self) -> float:
        """Sum of the widths of the intervals."""
        return float(sum(high - low for low, high in self.intervals))

    def __contains__(self, theta: float) -> bool:
        return any(low <= theta <= high for low, high in self.intervals)

    def __str__(self) -> str:
        ends = " ∪ ".join(f"[{low:.4g}, {high:.4g}]" for low, high in self.intervals)
        level = f"{self.cl * 100:.2f} % CL"
        return f"{self.parameter} = {self.estimate:.4g}, {ends or 'no value accepted'} at {level}"

    def _repr_html_(self) -> str:
        rows = [
            [
                measured(low, low_error) + " (bound)" * low_bound,
                measured(high, high_error) + " (bound)" * high_bound,
            ]
            for (low, high), (low_error, high_error), (low_bound, high_bound) in zip(
                self.intervals, self.errors, self.at_bound, strict=True
            )
        ]
        return html_table(("from", "to"), rows, title=str(self))

    def to_table(self) -> pa.Table:
        """Return an Arrow table with one row for each interval.

        Columns: ``parameter``, ``cl``, ``estimate``, ``low``, ``low_error``, ``low_at_bound``,
        ``high``, ``high_error``, ``high_at_bound``.
        """
        types: dict[str, type] = {"parameter": str, "cl": float, "estimate": float}
        for end in ("low", "high"):
            types |= {end: float, f"{end}_error": float, f"{end}_at_bound": bool}
        rows = []
        for values, errors, bounds in zip(self.intervals, self.errors, self.at_bound, strict=True):
            row = {"parameter": self.parameter, "cl": self.cl, "estimate": self.estimate}
            for k, end in enumerate(("low", "high")):
                row |= {end: values[k], f"{end}_error": errors[k], f"{end}_at_bound": bounds[k]}
            rows.append(row)
        return arrow_table(types, rows)

    def _require_values(self) -> None:
        if self.empty:
            msg = (
                f"no value of {self.parameter} is accepted at {self.cl:.2%}, so the set has no "
                "ends; check `empty` first"
            )
            raise ParameterError(msg)


@dataclass(frozen=True, eq=False)
class ConfidenceRegion:
    """Confidence region of two parameters: the values that a Neyman construction accepts.

    Parameters
    ----------
    parameters
        Names of the parameters.
    cl
        Confidence level.
    axes
        Values of the first and of the second parameter that form the grid, shapes (n_x,) and
        (n_y,).
    excess
        Test statistic q(θ) minus its critical value c(θ) on the grid, shape (n_x, n_y).  A point is
        accepted if this difference is not positive.  The difference is NaN at points where the
        critical value is unknown.
    contours
        Closed contours around the region, each with the shape (n_vertices, 2).  The last vertex
        repeats the first.
    estimate
        Maximum-likelihood estimate inside the physical bounds, shape (2,).
    """

    parameters: tuple[str, str]
    cl: float
    axes: tuple[FloatArray, FloatArray]
    excess: FloatArray
    contours: tuple[FloatArray, ...]
    estimate: FloatArray

    def __repr__(self) -> str:
        x, y = self.parameters
        return (
            f"ConfidenceRegion({x} = {self.estimate[0]:.4g}, {y} = {self.estimate[1]:.4g}, "
            f"{self.cl:.2%} CL, {len(self.contours)} contours)"
        )

    def _repr_html_(self) -> str:
        rows = []
        for k, name in enumerate(self.parameters):
            values = [contour[:, k] for contour in self.contours]
            ends = (
                f"[{min(v.min() for v in values):.4g}, {max(v.max() for v in values):.4g}]"
                if values
                else UNKNOWN
            )
            rows.append([name, measured(float(self.estimate[k])), ends])
        title = f"{self.cl:.2%} region, {len(self.contours)} contours"
        title += ", reaches the edge of the grid" if self.at_bound else ""
        return html_table(("parameter", "estimate", "contours between"), rows, title=title)

    def to_table(self) -> pa.Table:
        """Return a table of the vertices of all contours: ``contour``, ``point.PARAMETER``."""
        import pyarrow as pa

        vertices = np.concatenate([np.empty((0, 2)), *self.contours])
        number = np.repeat(np.arange(len(self.contours)), [len(c) for c in self.contours])
        points = {f"point.{n}": vertices[:, k] for k, n in enumerate(self.parameters)}
        return pa.table({"contour": number.astype(np.int64), **points})

    @property
    def accepted(self) -> BoolArray:
        """Accepted points of the grid, shape (n_x, n_y)."""
        return np.asarray(self.excess <= 0)

    @property
    def at_bound(self) -> bool:
        """Whether the region reaches the edge of the grid, or of the range of known c(θ)."""
        finite = np.isfinite(self.excess)
        core = finite.copy()
        core[[0, -1], :] = core[:, [0, -1]] = False
        core[1:-1, 1:-1] &= (
            finite[:-2, 1:-1] & finite[2:, 1:-1] & finite[1:-1, :-2] & finite[1:-1, 2:]
        )
        return bool(np.any(self.accepted & ~core))

    @property
    def area(self) -> float:
        """Area of the region: the number of accepted grid points times the area of a grid cell."""
        cell = [axis[1] - axis[0] for axis in self.axes]
        return float(self.accepted.sum() * cell[0] * cell[1])

    def projection(self, parameter: str) -> tuple[tuple[float, float], ...]:
        """Project the region onto one parameter, and return the intervals that it covers there.

        A value of the parameter belongs to the projection if it is accepted together with at least
        one value of the other parameter.

        The coverage of the projection is at least the coverage of the region.  The ends of the
        intervals are interpolated between points of the grid.

        Raises
        ------
        ParameterError
            If `parameter` is not one of the parameters of the region.
        """
        if parameter not in self.parameters:
            msg = f"{parameter!r} is not one of the parameters {self.parameters} of this region"
            raise ParameterError(msg)
        k = self.parameters.index(parameter)
        lowest = np.min(np.where(np.isnan(self.excess), np.inf, self.excess), axis=1 - k)
        axis = self.axes[k]
        out = []
        for first, last in accepted_runs(lowest <= 0):
            low = _between(axis, lowest, first, first - 1)
            out.append((low, _between(axis, lowest, last, last + 1)))
        return tuple(out)


def _between(axis: FloatArray, excess: FloatArray, inside: int, outside: int) -> float:
    """Zero of the excess between two grid points, by a line; at the edge the inner point."""
    if not 0 <= outside < len(axis) or not np.isfinite(excess[outside]):
        return float(axis[inside])
    share = excess[inside] / (excess[inside] - excess[outside])
    return float(axis[inside] + share * (axis[outside] - axis[inside]))


def accepted_runs(accepted: ArrayLike) -> list[tuple[int, int]]:
    """Find the runs of accepted points, and return the first and the last index of each run.

    Examples
    --------
    >>> accepted_runs([True, True, False, True])
    [(0, 1), (3, 3)]
    """
    padded = np.concatenate([[False], np.asarray(accepted, dtype=bool), [False]])
    change = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(change[::2], change[1::2], strict=True)]


def _last_accepted(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Accepted value next to the end of an interval, by bisection."""
    # A root finder would stop at the first zero, but for enumerated outcomes h is exactly 0 on
    # stretches, and jumps at their ends.
    for _ in range(60):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return inside


def confidence_set(
    excess: Callable[[float], float],
    grid: FloatArray,
    *,
    parameter: str,
    cl: float,
    estimate: float,
    error: Callable[[float], float],
    values: FloatArray | None = None,
) -> ConfidenceSet:
    """Find the accepted values of one parameter.

    Parameters
    ----------
    excess
        Function h(θ).  A value θ is accepted if h(θ) is not positive.  h may have jumps, and it may
        be 0 on whole intervals.
    grid
        Ascending values at which h is evaluated.  An interval, or a gap between two intervals, may
        be missed if it is narrower than a step of the grid.  The first and the last value are
        physical bounds or the ends of the range of the belt.
    parameter, cl, estimate
        As in :class:`ConfidenceSet`.
    error
        Function that returns the standard error of h(θ).  The error of an end of an interval is the
        error of h divided by the slope of h, both at this end.
    values
        Values of h on the grid.  Default: `excess` is called for each value of the grid.

    Examples
    --------
    >>> result = confidence_set(lambda t: t**2 - 1, np.linspace(-0.5, 2, 101), parameter="mu",
    ...     cl=0.68, estimate=0.0, error=lambda t: 0.02)
    >>> result.intervals, result.at_bound
    (((-0.5, 1.0),), ((True, False),))
    >>> round(result.errors[0][1], 6)
    0.01
    """
    if values is None:
        values = np.array([excess(float(t)) for t in grid])
    step = float(np.median(np.diff(grid))) / 10

    def end(inside: int, outside: int) -> tuple[float, float, bool]:
        if not 0 <= outside < len(grid):
            return float(grid[inside]), 0.0, True
        root = _last_accepted(excess, float(grid[inside]), float(grid[outside]))
        left, right = max(root - step, float(grid[0])), min(root + step, float(grid[-1]))
        slope = abs(excess(right) - excess(left)) / (right - left)
        return root, error(root) / slope if slope > 0 else np.inf, False

    ends = [(end(a, a - 1), end(b, b + 1)) for a, b in accepted_runs(values <= 0)]
    return ConfidenceSet(
        parameter=parameter,
        cl=cl,
        intervals=tuple((low[0], high[0]) for low, high in ends),
        errors=tuple((low[1], high[1]) for low, high in ends),
        at_bound=tuple((low[2], high[2]) for low, high in ends),
        estimate=estimate,
    )


# Number of times that the grid is narrowed to the accepted points.
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
        Function that returns the test statistic q(θ) of the data, for θ of shape (2,).
    critical
        Critical value c(θ).  The point θ is accepted if q(θ) ≤ c(θ).
    parameters, estimate, cl
        As in :class:`~milinfer.intervals.confidence_sets.ConfidenceRegion`.
    n_grid
        Number of points in each parameter of the last grid.  The grids before it, which find the
        region, have half as many points.

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
        accepted_index = np.argwhere(excess <= 0)
        low = np.clip(estimate, limits[:, 0], limits[:, 1])
        inside_points = np.vstack([box[:, 0] + accepted_index * steps, low])
        # Two steps of margin, so that the outline is inside.
        lowest, highest = inside_points.min(axis=0), inside_points.max(axis=0)
        next_box = np.stack([lowest - 2 * steps, highest + 2 * steps], axis=1)
        next_box = np.clip(next_box, limits[:, :1], limits[:, 1:])
        ratio = np.max(np.diff(next_box) / np.diff(box))
        box = next_box
        if zoom and ratio > 0.7:
            break
    axes, excess = _scan(statistic, critical, box, n_grid)
    return ConfidenceRegion(
        parameters=parameters,
        cl=cl,
        axes=(axes[0], axes[1]),
        excess=excess,
        contours=_outlines(axes, excess),
        estimate=estimate,
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

    # Contours of the filled region, unlike the line of level 0, are closed also along a bound.
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


# Points in each parameter of the scan for the minimum, by number of parameters.
_SCAN = {1: 401, 2: 31}


class BoundedMinimum(NamedTuple):
    """Position of the minimum of −2 ln L, shape (n_parameters,), and its value."""

    theta: FloatArray
    value: float


def cost_value(observed: LikelihoodCost | Surface | BoxSurface, theta: FloatArray) -> float:
    """Evaluate −2 ln L at one point of shape (n_parameters,).

    Examples
    --------
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = np.linspace(-1, 1, 9)
    >>> surface = Interpolation(grid, "polynomial", 2).surface(-50 * grid**2)
    >>> round(cost_value(surface, np.array([0.1])), 6)
    1.0
    """
    if isinstance(observed, LikelihoodCost):
        return float(observed(*theta))
    return -2.0 * observed.value(theta)


def bounded_minimum(
    observed: LikelihoodCost | Surface | BoxSurface, bounds: Limits
) -> BoundedMinimum:
    """Find the minimum of −2 ln L inside bounds, by a scan that is refined around its lowest point.

    Parameters
    ----------
    observed
        A cost, or a surface Λ(θ).
    bounds
        Bounds of each parameter, inside the range in which `observed` is defined.

    Examples
    --------
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = np.linspace(-1, 1, 9)
    >>> surface = Interpolation(grid, "polynomial", 2).surface(-50 * (grid + 0.1) ** 2)
    >>> minimum = bounded_minimum(surface, ((0.0, 1.0),))
    >>> minimum.theta.tolist(), round(minimum.value, 6)
    ([0.0], 1.0)
    """
    n = _SCAN.get(len(bounds), 9)
    axes = [np.linspace(low, high, n) for low, high in bounds]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(bounds))
    values = np.array([cost_value(observed, p) for p in points])
    best = int(np.argmin(values))
    if len(bounds) == 1:
        theta = _local_minimum_1d(observed, axes[0], best)
    else:
        theta = _local_minimum(observed, bounds, points[best])
    value = cost_value(observed, theta)
    # The optimiser stops a little inside a bound; the scan contains the bound itself.
    if values[best] <= value:
        return BoundedMinimum(points[best], float(values[best]))
    return BoundedMinimum(theta, value)


def _local_minimum_1d(
    observed: LikelihoodCost | Surface | BoxSurface, axis: FloatArray, best: int
) -> FloatArray:
    from scipy.optimize import minimize_scalar

    around = axis[max(best - 1, 0)], axis[min(best + 1, len(axis) - 1)]
    width = float(around[1] - around[0])
    minimum = minimize_scalar(
        lambda t: cost_value(observed, np.array([t])),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-7 * width},
    )
    return np.array([float(minimum.x)])


def _local_minimum(
    observed: LikelihoodCost | Surface | BoxSurface, bounds: Limits, start: FloatArray
) -> FloatArray:
    def downhill(theta: FloatArray) -> tuple[float, FloatArray]:
        if isinstance(observed, LikelihoodCost):
            slope = np.asarray(observed.grad(*theta), dtype=np.float64)
        else:
            slope = -2 * observed.gradient(theta)
        return cost_value(observed, theta), slope

    return lowest_in_box(downhill, start, *np.array(bounds).T)
