"""Base class of the costs of milinfer, which accept parameters also by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from iminuit.cost import CHISQUARE, Cost

from milinfer.exceptions import ParameterError
from milinfer.typing import FloatArray
from milinfer.utils.arguments import short_repr
from milinfer.utils.keywords import did_you_mean

__all__ = ["NamedCost", "UnbinnedCost"]


class NamedCost(Cost):  # type: ignore[misc]  # iminuit has no type information here
    """Cost of iminuit that takes one number for each parameter, by position or by name.

    The cost class of iminuit does not check the number of values, and does not accept names.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.cost import dataset_cost
    >>> data = gaussian.generate(100, 0.1, seed=1).as_data()
    >>> cost = dataset_cost(gaussian.MeanModel(), data, reference=0.0)
    >>> cost(mu=0.1) == cost(0.1)
    True
    >>> cost()
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: this cost takes one number for each of mu, but mu is missing
    """

    def __call__(self, *args: float, **values: float) -> float:
        """Return −2 ln L, or χ², at a parameter point.

        Raises
        ------
        ParameterError
            If a parameter has no value or two values, or a value is not a number.
        """
        return float(super().__call__(*self._checked(args, values)))

    def grad(self, *args: float, **values: float) -> FloatArray:
        """Return the derivatives of the cost with respect to the parameters, shape (n_parameters,).

        Raises
        ------
        ParameterError
            Under the same conditions as for the cost itself.
        """
        return np.asarray(super().grad(*self._checked(args, values)))

    def _checked(self, args: Sequence[Any], values: Mapping[str, Any]) -> Sequence[Any]:
        # Calls by Minuit: the checks for other callers would take longer than some of the costs.
        if (
            values
            or len(args) != len(self._parameters)
            or any(type(a) not in (float, np.float64) for a in args)
        ):
            return self._in_order(args, values)
        return args

    def _in_order(self, args: Sequence[Any], values: Mapping[str, Any]) -> tuple[float, ...]:
        """Values of the parameters in order, from those by position and those by name."""
        names = list(self._parameters)
        takes = f"this cost takes one number for each of {', '.join(names)}"
        unknown = [name for name in values if name not in names]
        if unknown:
            msg = f"{takes}, but {unknown[0]} is not one of them"
            raise ParameterError(msg + did_you_mean(unknown[0], names))
        if len(args) > len(names):
            msg = f"{takes}, not {len(args)} values"
            raise ParameterError(msg)
        point = dict(zip(names, args, strict=False))
        twice = [name for name in point if name in values]
        if twice:
            msg = f"{twice[0]} is given twice, by position and by name; give it once"
            raise ParameterError(msg)
        point |= values
        missing = [name for name in names if name not in point]
        if missing:
            what = "is" if len(missing) == 1 else "are"
            msg = f"{takes}, but {', '.join(missing)} {what} missing"
            raise ParameterError(msg)
        for name, value in point.items():
            if np.ndim(value):
                msg = (
                    f"{name} is an array of shape {np.shape(value)}; a cost takes one number for "
                    f"each parameter; use [cost(x) for x in values] for a scan"
                )
                raise ParameterError(msg)
            try:
                number = math.nan if isinstance(value, str | bytes) else float(value)
            except (OverflowError, TypeError, ValueError):
                number = math.nan
            # A value of NaN is left to the check of the limits.
            if math.isnan(number) and not isinstance(value, float | np.floating):
                msg = f"{name} is {short_repr(value)}; a cost takes a number for each parameter"
                raise ParameterError(msg)
        return tuple(point[name] for name in names)


class UnbinnedCost(NamedCost):
    """Base class of unbinned costs −2 ln L with a gradient."""

    def _errordef(self) -> float:
        return float(CHISQUARE)

    def _ndata(self) -> float:
        return np.inf  # an unbinned likelihood, as iminuit counts

    def _has_grad(self) -> bool:
        return True
