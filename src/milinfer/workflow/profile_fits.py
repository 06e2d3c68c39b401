"""Fit a likelihood, and compute profile intervals and profiles of its parameters of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost

from milinfer.exceptions import FitError, ParameterError
from milinfer.intervals.several_fit import interval_or_reason
from milinfer.likelihood.fits import Interval, minuit
from milinfer.likelihood.scans import ProfileScan, profiled_costs, profiling_minuit

__all__ = ["profile_about", "profile_fits"]

# A minimum that is lower by more than this is another one.
_LOWER = 1e-3
_RESTARTS = 3
# Points of a profile.
_N_PROFILE = 41


def profile_fits(
    cost: Cost, levels: Mapping[str, Sequence[float]], *, problems: list[str], words: str = ""
) -> tuple[Minuit, dict[str, list[Interval | None]]]:
    """Fit all parameters, and compute profile intervals of the parameters of interest.

    Parameters
    ----------
    cost
        −2 ln L.
    levels
        For each parameter of interest, by name, the confidence levels of its intervals.
    problems
        List to which sentences are added that say which intervals are missing and why.
    words
        Text that is added after "the fit" in messages.

    Returns
    -------
    Minuit
        The fit of all parameters, after ``hesse``.  If the computation of an interval finds a lower
        minimum, the fit is repeated from there.
    dict
        Intervals of each parameter of interest, in the order of its levels; None for an interval
        that is missing.

    Raises
    ------
    FitError
        If there is no valid minimum.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> fit, intervals = profile_fits(NormalConstraint("mu", 1.0, 0.5), {"mu": [0.9]}, problems=[])
    >>> round(fit.values["mu"], 3), round(intervals["mu"][0].high, 3)
    (1.0, 1.822)
    """
    m = _migrad(minuit(cost), words)
    for _ in range(_RESTARTS):
        missing: list[str] = []
        point = m.values.to_dict()
        intervals = {
            name: [
                interval_or_reason(cost, name, cl, point, words=words, problems=missing)
                for cl in given
            ]
            for name, given in levels.items()
        }
        others = [i.minuit for made in intervals.values() for i in made if i is not None]
        lowest = min(others, key=lambda other: float(other.fval), default=m)
        if m.valid and lowest.fval >= m.fval - _LOWER:
            break
        m = _migrad(minuit(cost, start=lowest.values.to_dict()), words)
    else:
        msg = (
            f"the fit{words} has no valid minimum; check ranges and constraints of its parameters: "
            f"{m.fmin}"
        )
        raise FitError(msg)
    problems += missing
    m.hesse()
    return m, intervals


def _migrad(m: Minuit, words: str) -> Minuit:
    # The default leaves estimates off by up to a percent of their error.
    m.tol = 1e-4
    try:
        return m.migrad()
    except ParameterError as error:  # at its limits MINUIT asks for nan
        msg = f"the fit{words} does not converge: {error}"
        raise FitError(msg) from error


def profile_about(
    cost: Cost, best: Minuit, parameter: str, window: tuple[float, float], what: str
) -> ProfileScan:
    """Compute the profile of a parameter in a range, starting at the minimum of a fit.

    Parameters
    ----------
    cost
        −2 ln L.
    best
        Fit of all parameters, after ``migrad`` and ``hesse``.
    parameter
        Name of the parameter.
    window
        Range of its values in the profile.
    what
        Name of the likelihood, for messages.

    Raises
    ------
    FitError
        If a fit of the other parameters is not valid.  The message gives the value of the
        parameter.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["mu", "nu"], [1.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> best = minuit(both).migrad().hesse()
    >>> scan = profile_about(both, best, "mu", (-1.0, 3.0), "both")
    >>> len(scan.values), scan.rises[[0, 10, 40]].round(4).tolist()
    (41, [4.0, 1.0, 4.0])
    """
    m = profiling_minuit(cost, [parameter])
    m.values[:] = best.values
    estimate = float(best.values[parameter])
    values = np.linspace(*window, _N_PROFILE)
    first = int(np.argmin(np.abs(values - estimate)))
    costs = profiled_costs(m, [parameter], values[:, None], first, what)
    return ProfileScan(
        parameter=parameter,
        estimate=estimate,
        error=float(best.errors[parameter]),
        values=values,
        rises=costs - float(best.fval),
    )
