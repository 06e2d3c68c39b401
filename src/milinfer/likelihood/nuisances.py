"""How much each nuisance parameter of a fit moves the parameter of interest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.fits import minuit

if TYPE_CHECKING:
    from iminuit import Minuit
    from iminuit.cost import Cost

__all__ = ["Impact", "impacts"]


class Impact(NamedTuple):
    """What one nuisance parameter does to the parameter of interest.

    Parameters
    ----------
    name
        Of the nuisance parameter.
    value, lower, upper
        Its value at the minimum, and its MINOS errors, `lower` negative.
    down, up
        Shifts of the parameter of interest, everything else at its maximum again, where the
        nuisance parameter is at ``value + lower`` and at ``value + upper``.
    """

    name: str
    value: float
    lower: float
    upper: float
    down: float
    up: float

    @property
    def size(self) -> float:
        """The larger of the two shifts, without its sign."""
        return max(abs(self.down), abs(self.up))


def impacts(cost: Cost, parameter: str, **start: float) -> tuple[Impact, ...]:
    """Impacts of all other parameters of a cost on one of them, the largest first.

    Parameters
    ----------
    cost
        With the constraints of its nuisance parameters added.
    parameter
        The parameter of interest.
    **start
        Starting values, as for :func:`milinfer.minuit`.

    Raises
    ------
    ParameterError
        If the cost has no such parameter, or no other free one.
    FitError
        If a fit is not valid; says which.

    Examples
    --------
    Half of a nuisance parameter of error 0.2 goes into mu:

    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["mu", "norm"], [1.0, 1.0], [[0.05, 0.02], [0.02, 0.04]])
    >>> (found,) = impacts(both, "mu", mu=1.0, norm=1.0)
    >>> found.name, round(found.upper, 3), round(found.up, 3)
    ('norm', 0.2, 0.1)
    """
    best = minuit(cost, **start)
    others = [name for name in best.parameters if name != parameter and not best.fixed[name]]
    if parameter not in best.parameters or not others:
        msg = (
            f"impacts on {parameter} need a cost with it and with others; this one has "
            f"{', '.join(best.parameters)}"
        )
        raise ParameterError(msg)
    best.migrad()
    _require(best, "at its minimum")
    best.minos(*others)
    centre = best.values.to_dict()
    found = []
    for name in others:
        error = best.merrors[name]
        if not error.is_valid:
            msg = f"the MINOS error of {name} is not valid; look at its limits and its constraint"
            raise FitError(msg)
        shifts = []
        for side in (error.lower, error.upper):
            m = minuit(cost, **centre)
            m.values[name] = centre[name] + side
            m.fixed[name] = True
            m.migrad()
            _require(m, f"with {name} = {centre[name] + side:.4g}")
            shifts.append(float(m.values[parameter] - centre[parameter]))
        found.append(
            Impact(name, float(centre[name]), float(error.lower), float(error.upper), *shifts)
        )
    return tuple(sorted(found, key=lambda i: -i.size))


def _require(m: Minuit, where: str) -> None:
    if not m.valid:
        msg = f"the fit {where} is not valid; look at starting values and limits: {m.fmin}"
        raise FitError(msg)
