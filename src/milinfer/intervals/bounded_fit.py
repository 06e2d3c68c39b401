"""Minimum of a cost inside physical bounds.

Minuit transforms parameters with limits, which makes a minimum *at* a limit hard to reach exactly;
a confidence belt needs it to the rounding error, as its pseudo-experiments have it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.extrema import Limits
from milinfer.likelihood.surface import Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.typing import FloatArray
from milinfer.utils.minimize import lowest_in_box

__all__ = ["BoundedMinimum", "bounded_minimum", "cost_value"]

# Points in each parameter at which the minimum is looked for first, by number of parameters.
_SCAN = {1: 401, 2: 31}


class BoundedMinimum(NamedTuple):
    """Position (n_parameters,) and value of the minimum of −2 ln L."""

    theta: FloatArray
    value: float


def cost_value(observed: LikelihoodCost | Surface | BoxSurface, theta: FloatArray) -> float:
    """−2 ln L at one point, shape (n_parameters,).

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
    """Lowest −2 ln L inside bounds, the global one as far as a scan finds it.

    Parameters
    ----------
    observed
        A cost, or a surface alone.
    bounds
        Of each parameter, inside the range of the surface.

    Examples
    --------
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = np.linspace(-1, 1, 9)
    >>> surface = Interpolation(grid, "polynomial", 2).surface(-50 * (grid + 0.1) ** 2)
    >>> found = bounded_minimum(surface, ((0.0, 1.0),))
    >>> found.theta.tolist(), round(found.value, 6)
    ([0.0], 1.0)
    """
    n = _SCAN.get(len(bounds), 9)
    axes = [np.linspace(low, high, n) for low, high in bounds]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(bounds))
    values = np.array([cost_value(observed, p) for p in points])
    best = int(np.argmin(values))
    if len(bounds) == 1:
        theta = _refined_1d(observed, axes[0], best)
    else:
        theta = _refined(observed, bounds, points[best])
    value = cost_value(observed, theta)
    # At a bound the optimiser stops a little inside of it; the scan has the point itself.
    if values[best] <= value:
        return BoundedMinimum(points[best], float(values[best]))
    return BoundedMinimum(theta, value)


def _refined_1d(
    observed: LikelihoodCost | Surface | BoxSurface, axis: FloatArray, best: int
) -> FloatArray:
    around = axis[max(best - 1, 0)], axis[min(best + 1, len(axis) - 1)]
    width = float(around[1] - around[0])
    found = minimize_scalar(
        lambda t: cost_value(observed, np.array([t])),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-7 * width},
    )
    return np.array([float(found.x)])


def _refined(
    observed: LikelihoodCost | Surface | BoxSurface, bounds: Limits, start: FloatArray
) -> FloatArray:
    def downhill(theta: FloatArray) -> tuple[float, FloatArray]:
        if isinstance(observed, LikelihoodCost):
            slope = np.asarray(observed.grad(*theta), dtype=np.float64)
        else:
            slope = -2 * observed.gradient(theta)
        return cost_value(observed, theta), slope

    return lowest_in_box(downhill, start, *np.array(bounds).T)
