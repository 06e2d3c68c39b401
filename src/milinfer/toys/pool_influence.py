"""What a finite pool of events does to all toys drawn from it, event by event.

No number of toys averages the fluctuation of their common pool away.  To first order an estimate
moves with the sum of the influences of its events, so the pool moves the mean of θ̂ with the sum of
all of theirs, and the spread of θ̂ with the sum of their squares.  Toys at two truths from one pool
move together as far as the same events count in both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.typing import Float32Array, FloatArray

__all__ = ["GROUPS", "PoolInfluence", "pool_influence"]

# Events are kept in so many groups: enough for covariances to 4 %, few enough to keep for each
# ensemble of toys. Event i is in group i mod GROUPS.
GROUPS = 1024


class PoolInfluence(NamedTuple):
    """How far groups of events of the pool move mean and spread of θ̂; shape (GROUPS, n_parameters).

    Parameters
    ----------
    shift
        Of the mean of θ̂, in standard deviations of the estimates of one event.  The sum of squares
        is one over the effective number of events.
    spread
        Relative, of Var(θ̂).
    variance_error
        Standard error of Var(θ̂) from all events, relative; for several parameters the largest.
    """

    shift: FloatArray
    spread: FloatArray
    variance_error: float


def pool_influence(
    interpolation: Interpolation | ChebyshevBox,
    table: FloatArray | Float32Array,
    weights: FloatArray,
    point: FloatArray,
    log_rate: FloatArray | None = None,
) -> PoolInfluence | None:
    r"""Influence of the events of a pool on toys drawn from it.

    The influence of an event on θ̂ is :math:`y_i = d\lambda_i/d\theta` at the truth.  The variance
    of θ̂ is known from the pool no better than that of y: to
    :math:`\sqrt{(\kappa - 1)/n_\mathrm{eff}}` with the kurtosis κ of y, or for weighted events to
    :math:`\sqrt{\sum_i w_i^2 (y_i^2/\sigma_y^2 - 1)^2}/\sum_i |w_i|`, the same where weights do not
    go with y.

    Parameters
    ----------
    interpolation, table
        The surfaces of the events; Λ at the grid points, shape (n_events, K).
    weights
        Of the events, shape (n_events,); the sign of a weight is that of its influence.
    point
        The truth, shape (n_parameters,).
    log_rate
        ln ν at the grid points, shape (K,), where Λ includes the rate: numbers fluctuate then, and
        a common part of the influences counts for the spread.

    Returns
    -------
    PoolInfluence or None
        None where surfaces have no slope (``kind="points"``, or events that say nothing).

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(20_000, 1))
    >>> grid = np.linspace(-1, 1, 5)
    >>> table = grid * x - grid**2 / 2
    >>> found = pool_influence(Interpolation(grid, "spline"), table, np.ones(20_000), np.zeros(1))
    >>> round(found.variance_error * 100, 1)  # sqrt(2 / 20 000)
    1.0
    >>> round(1 / float((found.shift**2).sum()) / 20_000, 1)
    1.0
    """
    if isinstance(interpolation, Interpolation) and interpolation.kind == "points":
        return None
    slope = _slope(interpolation, point)
    influence = np.sign(weights)[:, None] * (table @ slope)
    share = np.abs(weights) / np.abs(weights).sum()
    centred = influence - _mean(share, influence)
    own = _mean(share, centred**2)
    if log_rate is None:
        influence = centred
    else:
        influence += log_rate @ slope
    square = influence**2
    variance = _mean(share, square)
    if not (np.all(own > 0) and np.all(variance > 0)):
        return None
    spread = share[:, None] * (square / variance - 1)
    # In units of the spread of θ̂, which for a fluctuating number is that of y itself.
    shift = share[:, None] * centred / np.sqrt(variance)
    return PoolInfluence(
        _grouped(shift), _grouped(spread), float(np.sqrt(np.sum(spread**2, axis=0)).max())
    )


def _grouped(values: FloatArray) -> FloatArray:
    """Sums of the values of the groups, (GROUPS, n_parameters)."""
    whole = len(values) // GROUPS * GROUPS
    sums = values[:whole].reshape(-1, GROUPS, values.shape[1]).sum(axis=0)
    sums[: len(values) - whole] += values[whole:]
    grouped: FloatArray = sums
    return grouped


def _mean(share: FloatArray, values: FloatArray) -> FloatArray:
    # Not by BLAS: its threads wait for each other longer than these sums take, at every truth.
    mean: FloatArray = np.sum(share[:, None] * values, axis=0)
    return mean


def _slope(interpolation: Interpolation | ChebyshevBox, point: FloatArray) -> FloatArray:
    """The slope of a surface at a point as a sum over its values, (K, n_parameters)."""
    low, high = np.array(interpolation.limits).T
    steps = np.diag(1e-3 * (high - low))
    unit = np.eye(len(interpolation.grid))
    if isinstance(interpolation, Interpolation):
        # A parabola is fitted about the highest point: a high ridge at the truth keeps it there.
        k = np.arange(len(unit))
        ridge = -100.0 * np.abs(k - np.argmin(np.abs(interpolation.grid - point[0])))
        unit = np.concatenate([unit, np.zeros((1, len(unit)))]) + ridge
    columns = []
    for step in steps:
        up, down = (
            interpolation.evaluate(unit, np.tile(at, (len(unit), 1)))
            for at in (point + step, point - step)
        )
        difference = (up - down).reshape(len(unit)) / (2 * step.max())
        columns.append(difference)
    matrix: FloatArray = np.stack(columns, axis=1)
    if isinstance(interpolation, Interpolation):
        matrix = matrix[:-1] - matrix[-1]
    return matrix
