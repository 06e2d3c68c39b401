"""Rename the parameters of a cost, so that it can be added to costs with other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from iminuit import describe
from iminuit.cost import Cost, CostSum, NormalConstraint

from milinfer.exceptions import ParameterError
from milinfer.likelihood.auxiliary import AuxiliaryMeasurement
from milinfer.likelihood.named_cost import NamedCost
from milinfer.typing import FloatArray
from milinfer.utils.display import shortened
from milinfer.utils.keywords import did_you_mean

__all__ = ["RenamedCost", "renamed"]


class RenamedCost(NamedCost):
    """A cost with other parameter names.

    Limits, starting values, fixed parameters and constraints have the new names, so
    :func:`~milinfer.likelihood.fits.minuit` and sums accept it like the original cost.

    Parameters
    ----------
    cost
        Any cost.
    names
        New name of each parameter of the cost, in the order of the parameters.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.cost import dataset_cost
    >>> data = gaussian.generate(100, 0.1, seed=1).as_data()
    >>> cost = dataset_cost(gaussian.MeanModel(), data, reference=0.0)
    >>> other = RenamedCost(cost, {"mu": "m"})
    >>> list(describe(other)), other(m=0.3) == cost(mu=0.3)
    (['m'], True)
    """

    def __init__(self, cost: Cost, names: Mapping[str, str]) -> None:
        self.cost, self.names = cost, dict(names)
        limits = describe(cost, annotations=True)
        super().__init__({new: limits[old] for old, new in names.items()}, 0)

    def __repr__(self) -> str:
        new = ", ".join(f"{a} → {b}" for a, b in self.names.items() if a != b)
        return f"RenamedCost({self.cost!r}: {new})"

    @property
    def start(self) -> dict[str, float]:
        """Starting values of fits."""
        return {self.names[n]: x for n, x in getattr(self.cost, "start", {}).items()}

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of parameters that are fixed at their starting values."""
        return tuple(self.names[n] for n in getattr(self.cost, "fixed", ()))

    @property
    def constrained(self) -> tuple[str, ...]:
        """Names of parameters whose constraint is part of the cost."""
        return tuple(self.names[n] for n in getattr(self.cost, "constrained", ()))

    @property
    def constraints(self) -> tuple[AuxiliaryMeasurement, ...]:
        """Auxiliary measurements that are part of the cost."""
        return tuple(
            c._replace(name=self.names[c.name]) for c in getattr(self.cost, "constraints", ())
        )

    def without_constraints(self, names: Sequence[str]) -> RenamedCost:
        """Return the same cost without the constraints of some parameters.

        Raises
        ------
        ParameterError
            If the cost has no constraint of a parameter.
        """
        given = (names,) if isinstance(names, str) else tuple(names)
        old = [self._old(name) for name in given]
        cost: Any = self.cost
        return RenamedCost(cost.without_constraints(old), self.names)

    def measuring(self, **measured: float) -> RenamedCost:
        """Return the same cost with new results of its auxiliary measurements, for toys.

        Raises
        ------
        ParameterError
            If the cost has no constraint of a parameter.
        """
        old = {self._old(name): value for name, value in measured.items()}
        cost: Any = self.cost
        return RenamedCost(cost.measuring(**old), self.names)

    def _old(self, name: str) -> str:
        """Name of a constrained parameter in the cost itself."""
        if name not in self.constrained:
            known = shortened(self.constrained) or "no parameter"
            msg = f"this cost has no constraint of {name}; it has those of {known}"
            raise ParameterError(msg + did_you_mean(name, self.constrained))
        return next(old for old, new in self.names.items() if new == name)

    def _errordef(self) -> float:
        return float(self.cost.errordef)

    def _ndata(self) -> float:
        return float(self.cost.ndata)

    def _has_grad(self) -> bool:
        return bool(self.cost.has_grad)

    def _value(self, args: Sequence[float]) -> float:
        return float(self.cost(*args))

    def _grad(self, args: Sequence[float]) -> FloatArray:
        gradient: FloatArray = self.cost.grad(*args)
        return gradient


def renamed(cost: Cost, names: Mapping[str, str]) -> Cost:
    """Return a cost with some parameters renamed.

    A sum of costs stays a sum, and a ``NormalConstraint`` of iminuit stays a ``NormalConstraint``.
    Without new names the cost itself is returned.

    Parameters
    ----------
    cost
        Any cost.
    names
        New name for each parameter to rename.

    Raises
    ------
    ParameterError
        If the cost does not have a parameter, or two parameters would have the same name.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["a", "b"], [0.0, 1.0], [1.0, 1.0])
    >>> list(describe(renamed(both, {"a": "b", "b": "a"})))
    ['b', 'a']
    >>> renamed(both, {"a": "b"})
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: a and b would both be called b; rename b as well, or ...
    """
    own = list(describe(cost))
    for name in names:
        if name not in own:
            msg = f"there is no parameter {name} to rename; there are {shortened(own)}"
            raise ParameterError(msg + did_you_mean(name, own))
    new: dict[str, str] = {}
    for name in own:
        target = names.get(name, name)
        twice = [other for other, taken in new.items() if taken == target]
        if twice:
            first, second = twice[0], name
            other = second if names.get(second, second) == second else first
            msg = (
                f"{first} and {second} would both be called {target}; rename {other} as well, or "
                "choose another name"
            )
            raise ParameterError(msg)
        new[name] = target
    if all(a == b for a, b in new.items()):
        return cost
    if isinstance(cost, CostSum):
        return CostSum(*(renamed(t, {n: new[n] for n in describe(t)}) for t in cost))
    if isinstance(cost, NormalConstraint):
        # The constructor takes errors, the attribute contains variances.
        spread = cost.covariance if cost.covariance.ndim > 1 else np.sqrt(cost.covariance)
        return NormalConstraint([*new.values()], cost.value, spread)
    return RenamedCost(cost, new)
