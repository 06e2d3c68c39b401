"""Figure of the error of a learned likelihood due to the finite simulation it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milinfer.intervals.simulation_widening import add_simulation_error
from milinfer.learning.finite_simulation import SimulationError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.plotting.style import PALETTE, figure_of, parameter_label, styled
from milinfer.utils.confidence_levels import CL68, CL95, chi2_quantile
from milinfer.utils.points import only

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_simulation_error"]

# −2ΔlnL is drawn up to here: the interval of 95.45 % is at 4.
_TOP = 8.0


def plot_simulation_error(error: SimulationError, truth: float | None = None) -> Figure:
    r"""Draw −2ΔlnL of one dataset with its error due to the finite training simulation.

    The band is one standard error of the difference between the curve at θ and the curve at the
    estimate.  Thin lines are the single networks of the ensemble.  The dashed line is the cost that
    includes the simulation error (:func:`milinfer.add_simulation_error`).

    Parameters
    ----------
    error
        Result of :func:`milinfer.simulation_error`, with one parameter.
    truth
        True value, drawn as a line.

    Raises
    ------
    ParameterError
        If there are several parameters.

    Examples
    --------
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = Interpolation(np.linspace(-1, 1, 21), "spline")
    >>> shifts = np.array([0.0, 0.0, 0.1, -0.1])
    >>> error = SimulationError(
    ...     parameters=("mu",), interpolation=grid, estimate=np.zeros(1),
    ...     values=-50 * (grid.grid - shifts[:, None]) ** 2, estimates=shifts[:, None],
    ...     groups=np.array([0, 0, 1, 2]))
    >>> len(plot_simulation_error(error).axes[0].collections)
    1
    """
    parameter = only(error.parameters)
    surface = error.interpolation.surface(error.mean)
    cost = LikelihoodCost(surface, parameter, n_events=0)
    widened = add_simulation_error(cost, error)
    low, high = error.interpolation.limits[0]
    theta = np.linspace(low, high, 401)
    best = float(surface.extremum.theta_hat[0])
    central = np.array([cost(t) for t in theta]) - cost(best)
    near = theta[central < _TOP]
    window = (float(near[0]), float(near[-1]))
    theta = np.linspace(*window, 201)
    central = np.array([cost(t) for t in theta]) - cost(best)
    band = 2 * error.error_at(theta)
    members = error.values - error.interpolation.values_at(error.values, [best])
    with styled():
        figure, axis = figure_of()
        for row in error.interpolation.values_at(members, theta):
            axis.plot(theta, -2 * row, color=PALETTE[7], lw=0.5, alpha=0.6)
        axis.fill_between(
            theta, central - band, central + band, color=PALETTE[0], alpha=0.3, lw=0,
            label="error from simulation",
        )  # fmt: skip
        axis.plot(theta, central, color=PALETTE[0], label="as trained")
        axis.plot(
            theta, [widened(t) for t in theta], color=PALETTE[1], ls="--",
            label="with the error from simulation",
        )  # fmt: skip
        for cl in (CL68, CL95):
            level = float(chi2_quantile(cl, 1))
            axis.axhline(level, color="gray", lw=0.8, ls=":")
            axis.text(window[1], level, f" {cl:.2%}", va="center", fontsize=8, color=PALETTE[7])
        if truth is not None:
            axis.axvline(truth, color="gray", lw=0.8, label="truth")
        axis.set_xlim(*window)
        axis.set_ylim(0, _TOP)
        axis.set_xlabel(parameter_label(parameter))
        axis.set_ylabel(r"$-2\,\Delta\ln L$")
        figure.legend(loc="outside upper center", ncols=2)
    return figure
