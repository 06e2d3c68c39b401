"""Compute the profile likelihood: along one parameter for figures, or at given points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost
from numpy.typing import ArrayLike

from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.fits import minuit
from milinfer.typing import FloatArray
from milinfer.utils.display import arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ProfileScan", "profile_scan", "profiled_costs", "profiling_minuit"]


@dataclass(frozen=True, eq=False)
class ProfileScan:
    """Profile likelihood of one parameter, from :func:`profile_scan`.

    Parameters
    ----------
    parameter
        Name of the parameter.
    estimate, error
        Fitted value of the parameter and its HESSE error.
    values
        Values of the parameter, shape (n,).
    rises
        −2 ln L at these values, with all other parameters fitted, minus −2 ln L at the minimum;
        shape (n,).
    """

    parameter: str
    estimate: float
    error: float
    values: FloatArray
    rises: FloatArray

    def to_table(self) -> pa.Table:
        """Return a table with one row for each value, and two columns: PARAMETER and ``rise``.

        PARAMETER is the name of the parameter.
        """
        rows = [
            {self.parameter: v, "rise": r} for v, r in zip(self.values, self.rises, strict=True)
        ]
        return arrow_table({self.parameter: float, "rise": float}, rows)

    def to_cabinetry(self) -> Any:
        """Return the scan in the form that ``cabinetry.visualize.scan`` draws.

        Returns
        -------
        cabinetry.fit.ScanResults
            The numbers of this scan.

        Raises
        ------
        ImportError
            If cabinetry is not installed.
        """
        from cabinetry.fit import ScanResults

        return ScanResults(self.parameter, self.estimate, self.error, self.values, self.rises)


def profile_scan(
    m: Minuit, parameter: str, values: ArrayLike | None = None, *, n: int = 21
) -> ProfileScan:
    """Compute the profile likelihood of one parameter at several of its values.

    At each value, all other parameters are fitted.

    Parameters
    ----------
    m
        Minuit object after ``migrad`` and ``hesse``.
    parameter
        Name of the parameter.
    values
        Values of the parameter.  Default: `n` values within two errors of the fitted value, inside
        the limits.
    n
        Number of default values.

    Raises
    ------
    FitError
        If the fit, or the fit at one of the values, is not valid; the message names the value.
    ParameterError
        If the fit does not have this parameter, or a value is outside its limits.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> m = Minuit(NormalConstraint("mu", 1.0, 0.5), mu=0.0).migrad()
    >>> profile_scan(m.hesse(), "mu", [0.5, 2.0]).rises.round(3).tolist()
    [1.0, 4.0]
    """
    if parameter not in m.parameters:
        msg = f"{parameter} is not a parameter of this fit; it has {', '.join(m.parameters)}"
        raise ParameterError(msg)
    if not m.valid:
        msg = (
            "the fit has no valid minimum to start the scan from; call migrad() and hesse(): "
            f"{m.fmin}"
        )
        raise FitError(msg)
    low, high = m.limits[parameter]
    estimate, error = float(m.values[parameter]), float(m.errors[parameter])
    if values is None:
        values = np.linspace(max(estimate - 2 * error, low), min(estimate + 2 * error, high), n)
    grid = np.asarray(values, dtype=np.float64)
    if not np.all((grid >= low) & (grid <= high)):
        msg = f"the values to scan must be inside the limits of {parameter}, [{low:g}, {high:g}]"
        raise ParameterError(msg)
    _, costs, valid = m.mnprofile(parameter, grid=grid)
    if not np.all(valid):
        msg = (
            f"the fit at {parameter} = {grid[int(np.argmin(valid))]:.4g} is not valid; scan a "
            "smaller range"
        )
        raise FitError(msg)
    rises = np.asarray(costs, dtype=np.float64) - float(m.fval)
    return ProfileScan(parameter, estimate, error, grid, rises)


def profiling_minuit(cost: Cost, parameters: Sequence[str], *, tolerance: float = 1e-4) -> Minuit:
    """Create a Minuit object that fits all parameters except the parameters of interest.

    Parameters
    ----------
    cost
        Cost or sum of costs.
    parameters
        Names of the parameters of interest, which are fixed.
    tolerance
        Tolerance of Minuit.  It stops if the estimated distance to the minimum in −2 ln L is below
        0.002 times this number.

    Raises
    ------
    ParameterError
        If the cost does not have a parameter; the message lists its parameters.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["mu", "nu"], [1.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> profiling_minuit(both, ["mu"]).fixed.to_dict()
    {'mu': True, 'nu': False}
    """
    m = minuit(cost)
    for name in parameters:
        if name not in m.parameters:
            msg = f"{name} is not a parameter of this cost; it has {', '.join(m.parameters)}"
            raise ParameterError(msg)
        m.fixed[name] = True
    m.tol = tolerance
    return m


def profiled_costs(
    m: Minuit, parameters: Sequence[str], points: FloatArray, first: int, what: str
) -> FloatArray:
    """Return −2 ln L at values of the parameters of interest, with all other parameters fitted.

    Parameters
    ----------
    m
        Result of :func:`profiling_minuit`; its values are the starting values.
    parameters
        Names of the parameters of interest.
    points
        Values of the parameters of interest, shape (n, n_parameters).
    first
        Index of the point that is fitted first.  The other points follow on both sides of it, and
        each fit starts from the result of its neighbour.
    what
        Name of the likelihood, for messages.

    Returns
    -------
    ndarray
        Profiled −2 ln L at each point, shape (n,).

    Raises
    ------
    FitError
        If a fit is not valid; the message names the point.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["mu", "nu"], [1.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> m = profiling_minuit(both, ["mu"])
    >>> profiled_costs(m, ["mu"], np.array([[0.0], [1.0], [3.0]]), 1, "both").round(6).tolist()
    [1.0, 0.0, 4.0]
    """
    costs = np.empty(len(points))
    begin = np.array(m.values)
    errors = np.array(m.errors)
    for places in (range(first, len(points)), range(first - 1, -1, -1)):
        m.values[:] = begin
        for k in places:
            for name, value in zip(parameters, points[k].tolist(), strict=True):
                m.values[name] = value
            if not m.nfit:
                costs[k] = float(m.fcn(m.values))
                continue
            problem = _problem_of_fit(m)
            if problem:
                # The step sizes of the last fit may not be suitable here.
                m.values[:] = np.where(list(m.fixed), m.values, begin)
                m.errors[:] = errors
                strategy, m.strategy = m.strategy.strategy, 2
                problem = _problem_of_fit(m)
                m.strategy = strategy
            if problem:
                at = dict(zip(parameters, points[k].tolist(), strict=True))
                msg = f"{what}: the fit of the nuisance parameters at {at} failed: {problem}"
                raise FitError(msg)
            costs[k] = float(m.fval)
            if k == first:
                begin = np.array(m.values)
    return costs


def _problem_of_fit(m: Minuit) -> str:
    """Run a fit and describe its problem; the result is empty if there is none."""
    try:
        m.migrad()
    except ParameterError as error:  # Minuit may ask for values that are not numbers
        return str(error)
    return "" if m.valid else "no valid minimum"
