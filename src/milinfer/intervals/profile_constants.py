"""Compute the calibration constants for the interval of one of several parameters.

The constant c(θ) of a joint region is chosen so that −2ΔlnL of all parameters follows χ² with one
degree of freedom per parameter.  This constant is in general wrong for intervals of a single
parameter: if Λ is too narrow in one direction and too wide in another, joint regions may have the
claimed coverage although intervals do not.  For the interval of one parameter, Λ is maximised over
all other parameters, and this *profile* statistic is compared with χ² of one degree of freedom.
Therefore each parameter needs its own constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from milinfer.likelihood.surface import Limits
from milinfer.likelihood.surface_box import ChebyshevBox, fine_degree
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.typing import FloatArray
from milinfer.utils.display import brief
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = ["ProfileConstants", "profile_statistic"]

# Toys whose profiles are searched at once: bounds the memory for any number of toys.
_BLOCK = 1000


@dataclass(frozen=True, eq=False)
class ProfileConstants:
    """Calibration constants for the interval of one parameter, with the other parameters profiled.

    Parameters
    ----------
    parameter
        Name of the parameter.
    c_bartlett, c_bartlett_error
        Bartlett ratio at each true point, and its bootstrap error, shape (n_points,).  It is the
        inverse variance of the bias-corrected estimate divided by the curvature of Λ, maximised
        over the other parameters.
    c_coverage, c_coverage_error
        Constants with which the interval has the claimed coverage, and their bootstrap errors,
        shape (n_points, n_cls).
    log_scales
        The functions ln c(θ) that are applied.  With ``kind="coverage"`` there is one function for
        each level; with ``kind="bartlett"`` there is a single function for all levels.
    """

    parameter: str
    c_bartlett: FloatArray
    c_bartlett_error: FloatArray
    c_coverage: FloatArray
    c_coverage_error: FloatArray
    log_scales: tuple[SmoothPolynomial, ...]

    def __repr__(self) -> str:
        return brief(self)


def profile_statistic(
    ensemble: ToyEnsemble,
    component: int,
    value: float,
    limits: Limits,
    mapped: Callable[[FloatArray], FloatArray] | None = None,
    scale: Callable[[FloatArray], FloatArray] | None = None,
) -> FloatArray:
    """Minimise the statistic 2 c(θ) [Λ(θ̂) − Λ(m(θ))] of each toy, with one parameter fixed.

    The result has the shape (n_toys,).

    Parameters
    ----------
    ensemble
        Toys in several parameters.
    component, value
        Number of the fixed parameter, counted from 0, and its value.
    limits
        Range of each parameter.  The parameters that are not fixed are varied inside their ranges.
    mapped
        Function that returns m(θ) for points of shape (m, n_parameters).  Default: m(θ) = θ.
    scale
        Function that returns c(θ) for such points, with the shape (m,).  Default: c(θ) = 1.

    Examples
    --------
    >>> from milinfer.likelihood.models import ModelTag
    >>> box = ChebyshevBox(-np.ones(2), np.ones(2), 3)
    >>> x, y = (box.grid - [0.2, 0.1]).T
    >>> surface = -50 * (x**2 + y**2 + x * y)
    >>> toys = ToyEnsemble(ModelTag("m"), {"a": 0.0, "b": 0.0}, box, surface[None], 100, False,
    ...                    10_000, "", 0)
    >>> profile_statistic(toys, 0, 0.0, box.limits).round(6)  # 100 · (1 − 1/4) · 0.2²
    array([3.])
    """
    low, high = np.array(limits).T
    others = [k for k in range(len(low)) if k != component]
    line = ChebyshevBox(low[others], high[others], fine_degree(len(others)))
    points = np.insert(line.grid, component, value, axis=1)
    at = points if mapped is None else mapped(points)
    edges = np.array(ensemble.interpolation.limits).T
    at = np.clip(at, *edges)
    factor = 1.0 if scale is None else scale(points)
    maximum = ensemble.extremum.maximum
    statistic = np.empty(ensemble.n_toys)
    for k in range(0, ensemble.n_toys, _BLOCK):
        part = slice(k, k + _BLOCK)
        drop = ensemble.interpolation.values_at(ensemble.values[part], at)
        drop = factor * (drop - maximum[part, None])
        statistic[part] = -2 * line.extrema(drop).maximum
    return np.maximum(statistic, 0.0)
