r"""Widen intervals by the error due to the finite number of simulated training events.

Let :math:`q(\theta) = 2[\Lambda(\hat\theta) - \Lambda(\theta)]`, with the estimate
:math:`\hat\theta` at the maximum of Λ.  For the exact Λ, √q at the true value (with the sign of the
deviation) is a standard normal variable.  After a training with a finite number of events,
:math:`\Lambda(\theta) - \Lambda(\hat\theta)` has an error with the standard deviation
:math:`s(\theta)`.  It changes √q by an amount of the size :math:`s/\sqrt q`, in the same way for
every dataset.  The variance of √q over datasets and trainings is therefore :math:`1 + s^2/q`, and
intervals from the statistic

.. math:: \frac{q(\theta)}{1 + s^2(\theta)/q(\theta)}

have the claimed coverage, averaged over trainings.  For a Gaussian likelihood, s² and q are both
proportional to (θ − θ̂)².  The estimate then does not change, and its variance is exactly
:math:`\sigma^2 = \sigma_\mathrm{stat}^2 + \sigma_\mathrm{sim}^2`, the sum of the variances due to
data and simulation.

An alternative would be to write the error as a sum of components :math:`v_k(\theta)` with Gaussian
factors :math:`\eta_k`, and to profile over these factors:

.. math:: \min_\eta \Big[q - 2\sum_k \eta_k v_k + \sum_k \eta_k^2\Big] = q - s^2.

To first order in s²/q, this gives the same statistic.  But q − s² has no minimum if s² grows faster
than q away from the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from milinfer.exceptions import CalibrationError, ModelError, ParameterError
from milinfer.learning.finite_simulation import SimulationError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.linear_terms import is_linear
from milinfer.likelihood.published_parts import ArrayStore, published_correction
from milinfer.likelihood.published_terms import published_surface
from milinfer.likelihood.surface import Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.typing import FloatArray

__all__ = ["add_simulation_error"]

# If q + s² is smaller than this, q and s² are rounding errors, and any factor will do.
_TINY = 1e-8


def add_simulation_error(cost: LikelihoodCost, error: SimulationError) -> LikelihoodCost:
    """Widen the cost of a dataset by the error due to the finite number of training events.

    The estimate does not change.  For a Gaussian likelihood, the error of the estimate becomes
    √(σ_stat² + σ_sim²), where σ_stat is the error due to the data and σ_sim the error due to the
    finite simulation.  A calibrated cost must not be widened in this way: the calibration has
    already measured the effect of the training, with other events, and has an error of its own
    (``calibration(cost, widen=True)``).

    Parameters
    ----------
    cost
        Cost of the dataset, not calibrated.
    error
        Result of :func:`milinfer.simulation_error` for the same model and dataset.

    Returns
    -------
    LikelihoodCost
        The widened cost.

    Raises
    ------
    CalibrationError
        If the cost is calibrated or already widened.
    ModelError
        If the cost belongs to another model than the error, or if it has only linear terms
        (``terms="linear"``); the error is computed for all terms.
    ParameterError
        If cost and error do not have the same parameters and the same range.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.fits import profile_interval
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = Interpolation(np.linspace(-1, 1, 21), "spline")
    >>> cost = LikelihoodCost(grid.surface(-50 * grid.grid**2), "mu", n_events=100)
    >>> shifts = np.array([0.0, 0.0, 0.1, -0.1])  # of the estimates by the members
    >>> error = SimulationError(
    ...     parameters=("mu",), interpolation=grid, estimate=np.zeros(1),
    ...     values=-50 * (grid.grid - shifts[:, None]) ** 2, estimates=shifts[:, None],
    ...     groups=np.array([0, 0, 1, 2]))
    >>> error.estimate_error.round(4)
    array([0.1049])
    >>> interval = profile_interval(add_simulation_error(cost, error), "mu")
    >>> round(interval.high, 3) == round(float(np.hypot(0.1, error.estimate_error[0])), 3)
    True
    """
    if cost.correction is not None:
        msg = (
            "this cost is calibrated or already widened; give the uncalibrated cost, or use "
            "calibration(cost, widen=True) to include the error of a calibration"
        )
        raise CalibrationError(msg)
    _require_same_model(cost, error)
    same = cost.parameters == error.parameters and np.allclose(
        cost.surface.limits, error.interpolation.limits
    )
    if not same:
        msg = (
            f"the error was computed for {', '.join(error.parameters)} in "
            f"{error.interpolation.limits}, but the cost depends on {', '.join(cost.parameters)} "
            f"in {cost.surface.limits}; use the same model for both"
        )
        raise ParameterError(msg)
    # The rate term is in the surface, so that the estimate stays the same.
    surface = cost.corrected(_Widened(cost.surface, error), with_rate=True).surface
    return cost.corrected(_Widened(surface, error), with_rate=True)


def _require_same_model(cost: LikelihoodCost, error: SimulationError) -> None:
    """Refuse the error of another likelihood, which may be larger or smaller."""
    if cost.tag is None or error.tag is None or cost.tag.digest == error.tag.digest:
        return
    if is_linear(cost.tag):
        msg = (
            f"this cost has only the linear terms of {error.tag.name}, but simulation_error "
            "measures the error of Λ with all terms; use model.cost(data) with all terms, or quote "
            "the linear fit without this error and state that"
        )
    else:
        msg = (
            f"the cost belongs to {cost.tag.name}, but the error to {error.tag.name} or to another "
            "training of it; use the same trained model for both"
        )
    raise ModelError(msg)


@dataclass(frozen=True, eq=False)
class _Widened:
    """The factor q/(q + s²) on a surface Λ, at points of shape (n_parameters,)."""

    surface: Surface | BoxSurface
    error: SimulationError

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        return self.surface.limits

    def require_interval(self, parameter: str, cl: float, fixed: Sequence[str]) -> None:
        """Allow intervals of any parameter and level."""

    def forward(self, theta: FloatArray) -> FloatArray:
        return theta

    def jacobian(self, theta: FloatArray) -> FloatArray:
        return np.eye(len(theta))

    @cached_property
    def components(self) -> tuple[Surface | BoxSurface, ...]:
        """Independent deviations v(θ) of one standard error."""
        origin = self.surface.extremum.theta_hat.reshape(-1)
        rows = self.error.components(origin)
        return tuple(self.error.interpolation.surface(row) for row in rows)

    @cached_property
    def _maximum(self) -> float:
        return float(self.surface.extremum.maximum[0])

    def _both(self, theta: FloatArray) -> tuple[float, float]:
        """Q and s²."""
        q = max(2 * (self._maximum - self.surface.value(theta)), 0.0)
        return q, sum(v.value(theta) ** 2 for v in self.components)

    def scale(self, theta: FloatArray) -> float:
        q, s2 = self._both(theta)
        return 1.0 if q + s2 < _TINY else q / (q + s2)

    def scale_gradient(self, theta: FloatArray) -> FloatArray:
        q, s2 = self._both(theta)
        if q + s2 < _TINY:
            return np.zeros(len(theta))
        q_slope = -2 * self.surface.gradient(theta)
        s2_slope = 2 * sum(v.value(theta) * v.gradient(theta) for v in self.components)
        slope: FloatArray = (q_slope * s2 - q * s2_slope) / (q + s2) ** 2
        return slope


@published_correction.register
def _(correction: _Widened, arrays: ArrayStore) -> dict[str, Any]:
    return {
        "kind": "simulation_error",
        "components": [
            published_surface(component, arrays.within(f"component{k}"))
            for k, component in enumerate(correction.components)
        ],
    }
