"""Several costs in one fit: which parameters they share, and a Minuit that is ready to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import numpy as np
from iminuit import Minuit, describe
from iminuit.cost import Cost, CostSum

from milinfer.exceptions import ParameterError

__all__ = ["minuit", "shared_parameters"]


def shared_parameters(*costs: Cost, expected: Iterable[str] = ()) -> dict[str, tuple[int, ...]]:
    """Which of several costs has which parameter; the same name is the same parameter.

    Costs add (``unbinned + binned + constraint``).  A typo in a name then makes two parameters of
    one, and nothing complains: say which are expected to be shared.

    Parameters
    ----------
    costs
        Any iminuit costs; a sum counts as its terms.
    expected
        Names that at least two costs must have.

    Returns
    -------
    dict
        Name → positions of the costs that have it, of the terms in order.

    Raises
    ------
    ParameterError
        If an expected name is in fewer than two costs, or two costs have limits of a parameter
        that exclude each other.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> a = NormalConstraint(["mu", "norm"], [0.0, 1.0], [1.0, 0.1])
    >>> shared_parameters(a, NormalConstraint("norm", 1.0, 0.2))
    {'mu': (0,), 'norm': (0, 1)}
    >>> shared_parameters(a, NormalConstraint("nrom", 1.0, 0.2), expected=["norm"])
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: norm is in 1 of 2 costs (number 0), and was expected to be
    shared; did you mean nrom?
    """
    terms = _terms(costs)
    where: dict[str, tuple[int, ...]] = {}
    for k, term in enumerate(terms):
        for name in describe(term):
            where[name] = (*where.get(name, ()), k)
    for name in expected:
        if len(where.get(name, ())) < 2:
            have = ", ".join(map(str, where.get(name, ())))
            others = get_close_matches(name, [n for n in where if n != name])
            msg = (
                f"{name} is in {len(where.get(name, ()))} of {len(terms)} costs"
                + (f" (number {have})" if have else "")
                + ", and was expected to be shared"
                + (f"; did you mean {' or '.join(others)}?" if others else "; check its name")
            )
            raise ParameterError(msg)
    _common_limits(terms)
    return where


def minuit(cost: Cost, **start: float) -> Minuit:
    """Minuit with the starting values, the limits and the fixed parameters of a cost or a sum.

    Where several terms limit a parameter, the limits are what all of them allow: a sum of iminuit
    alone takes those of the first.  What one term wants fixed is fixed, at its starting value.

    Parameters
    ----------
    cost
        Any iminuit cost, sums included.
    start
        Starting values, before those of the costs (``start``); where neither has one, 0, moved
        inside the limits.

    Raises
    ------
    ParameterError
        If a name of ``start`` is no parameter, its value is outside the limits, or limits exclude
        each other.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> m = minuit(NormalConstraint("mu", 1.0, 0.5), mu=0.3)
    >>> print(f"{m.values['mu']:.3f}, {m.migrad().values['mu']:.3f}")
    0.300, 1.000
    """
    terms = _terms([cost])
    limits = _common_limits(terms)
    unknown = [n for n in start if n not in limits]
    if unknown:
        near = get_close_matches(unknown[0], limits) or list(limits)
        msg = f"{unknown[0]} is no parameter of this cost; it has {', '.join(near)}"
        raise ParameterError(msg)
    own: dict[str, float] = {}
    fixed: set[str] = set()
    for term in terms:
        given = getattr(term, "start", {})
        # Other classes of costs may use these names for something else.
        own = (dict(given) if isinstance(given, Mapping) else {}) | own
        held = getattr(term, "fixed", ())
        fixed |= set(held) if isinstance(held, tuple) else set()
    values = {}
    for name, (low, high) in limits.items():
        value = float(start.get(name, own.get(name, 0.0)))
        if not low <= value <= high:
            if name in start:
                msg = f"{name} = {value:g} is outside its limits [{low:g}, {high:g}]"
                raise ParameterError(msg)
            value = (
                (low + high) / 2 if np.isfinite(low + high) else float(np.clip(value, low, high))
            )
        values[name] = value
    m = Minuit(cost, **values)
    for name, pair in limits.items():
        m.limits[name] = pair
        m.fixed[name] = name in fixed
    return m


def _terms(costs: Iterable[Cost]) -> list[Cost]:
    return [t for cost in costs for t in (cost if isinstance(cost, CostSum) else [cost])]


def _common_limits(terms: Iterable[Cost]) -> dict[str, tuple[float, float]]:
    """What all costs allow, by parameter."""
    common: dict[str, tuple[float, float]] = {}
    for term in terms:
        for name, pair in describe(term, annotations=True).items():
            low, high = (-np.inf, np.inf) if pair is None else (float(x) for x in pair)
            before = common.get(name, (-np.inf, np.inf))
            common[name] = (max(low, before[0]), min(high, before[1]))
            if not common[name][0] < common[name][1]:
                msg = (
                    f"{name} is limited to [{before[0]:g}, {before[1]:g}] by one cost and to "
                    f"[{low:g}, {high:g}] by another; they cannot be the same parameter"
                )
                raise ParameterError(msg)
    return common
