"""Find the ranges of a confidence set around minima other than the lowest one.

A cost with several minima has a confidence set of several ranges if −2 ln L at another minimum is
higher than at the lowest one by less than the quantile of χ².
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from iminuit import Minuit

from milinfer.exceptions import MilinferError
from milinfer.typing import FloatArray

__all__ = ["other_ranges"]


def other_ranges(
    parameter: str,
    interval: tuple[float, float],
    values: FloatArray,
    rise: FloatArray,
    allowed: float,
    fit_at: Callable[[float], Minuit],
    lowest: float,
) -> tuple[tuple[float, float], ...]:
    """Return the ranges of a confidence set outside an interval, from low to high.

    Each range begins with values of a scan that belong to the set.  A fit from the best of them
    finds the minimum, and MINOS the ends at which the profiled cost reaches the allowed rise.  If
    the fit leaves the range, its ends are interpolated between the values of the scan.

    Parameters
    ----------
    parameter
        Name of the parameter.
    interval
        Ends of the interval around the lowest minimum.
    values, rise
        Equally spaced values of the parameter, and the rise of the cost there above its lowest
        minimum, both of shape (n,).
    allowed
        Rise of the cost at the ends of the confidence set.
    fit_at
        Function that makes a Minuit object of the cost, with the parameter at the given value and
        the others at the values of the lowest minimum.
    lowest
        The cost at its lowest minimum.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.fits import minuit
    >>> cost = NormalConstraint("mu", 0.5, 0.1)
    >>> values = np.linspace(-1, 1, 201)
    >>> rise = np.array([cost(value) + 0.2 for value in values])
    >>> ((low, high),) = other_ranges("mu", (-0.6, -0.4), values, rise, 1.0,
    ...     lambda value: minuit(cost, mu=value), lowest=-0.2)
    >>> round(low, 3), round(high, 3)
    (0.411, 0.589)
    """
    step = values[1] - values[0]
    # A step away from the ends, where rounding matters.
    outside = (values < interval[0] - step) | (values > interval[1] + step)
    inside_set = np.flatnonzero(outside & (rise < allowed))
    if not len(inside_set):
        return ()
    groups = np.split(inside_set, np.flatnonzero(np.diff(inside_set) > 1) + 1)
    found: list[tuple[float, float]] = []
    for group in groups:
        first, last = int(group[0]), int(group[-1])
        around = values[first] - step, values[last] + step
        best = float(values[group[np.argmin(rise[group])]])
        ends = _around_minimum(fit_at(best), parameter, around, allowed + lowest)
        if ends is None:
            ends = (
                _crossing(values, rise, first, -1, allowed),
                _crossing(values, rise, last, 1, allowed),
            )
        if found and ends[0] <= found[-1][1]:
            low, high = found.pop()
            ends = low, max(high, ends[1])
        found.append(ends)
    return tuple(found)


def _around_minimum(
    m: Minuit, parameter: str, around: tuple[float, float], highest: float
) -> tuple[float, float] | None:
    """Ends at which the profiled cost is as high as allowed; None if the fit goes elsewhere."""
    try:
        m.migrad()
        estimate = float(m.values[parameter])
        if not (m.valid and around[0] <= estimate <= around[1] and m.fval < highest):
            return None
        # MINOS goes to where the cost has risen to the level of the whole set.  It takes numbers
        # below one for probabilities, and others for numbers of standard deviations.
        deviations = math.sqrt(highest - m.fval)
        m.minos(
            parameter, cl=deviations if deviations >= 1 else math.erf(deviations / math.sqrt(2))
        )
    except (MilinferError, RuntimeError):
        return None
    error, (low, high) = m.merrors[parameter], m.limits[parameter]
    if not (
        (error.lower_valid or error.at_lower_limit) and (error.upper_valid or error.at_upper_limit)
    ):
        return None
    return (
        float(low if error.at_lower_limit else estimate + error.lower),
        float(high if error.at_upper_limit else estimate + error.upper),
    )


def _crossing(values: FloatArray, rise: FloatArray, k: int, side: int, allowed: float) -> float:
    """Value between point k and its neighbour at which the rise is as large as allowed."""
    other = k + side
    if not (0 <= other < len(values) and np.isfinite(rise[other]) and rise[other] > rise[k]):
        return float(values[k])
    share = min((allowed - rise[k]) / (rise[other] - rise[k]), 1.0)
    return float(values[k] + share * (values[other] - values[k]))
