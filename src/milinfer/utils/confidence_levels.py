"""Define and check confidence levels, and compute quantiles of χ²."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincinv

from milinfer.exceptions import CalibrationError, MilinferError
from milinfer.typing import FloatArray

__all__ = ["CL68", "CL95", "chi2_quantile", "levels_of", "require_level", "same_level"]

# One and two standard deviations, rounded as usual.
CL68, CL95 = 0.6827, 0.9545


def require_level(
    cl: object, error: type[MilinferError] = CalibrationError, name: str = "cl"
) -> None:
    """Raise an error unless a confidence level is a number between 0 and 1.

    If the level looks like a percentage, the message says so.

    Parameters
    ----------
    cl
        Confidence level.
    error
        Class of the error.
    name
        Name of the argument.

    Raises
    ------
    MilinferError
        If `cl` is not between 0 and 1.  The class of the error is `error`.

    Examples
    --------
    >>> require_level(0.68)
    >>> require_level(68)
    Traceback (most recent call last):
    milinfer.exceptions.CalibrationError: cl = 68 is not a confidence level; give one between 0
    and 1: 68 % is cl=0.68
    """
    value = float(cl) if isinstance(cl, Real) else np.nan
    if 0 < value < 1:
        return
    shown = f"{value:g}" if isinstance(cl, Real) else repr(cl)
    msg = f"{name} = {shown} is not a confidence level; give one between 0 and 1"
    if 1 < value < 100:
        msg += f": {value:g} % is {name}={value / 100:g}"
    raise error(msg)


def same_level(cl: float, other: float) -> bool:
    """Tell whether two confidence levels are equal, apart from rounding errors.

    Examples
    --------
    >>> same_level(0.9, 1 - 0.1), same_level(0.68, 0.6827)
    (True, False)
    """
    return abs(cl - other) < 1e-9


def levels_of(cl: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several confidence levels as a tuple.

    Raises
    ------
    CalibrationError
        If a level is not between 0 and 1, or there are no levels.

    Examples
    --------
    >>> levels_of(0.9)
    (0.9,)
    """
    levels = tuple(cl) if isinstance(cl, Iterable) else (cl,)
    for level in levels:
        require_level(level)
    if not levels:
        msg = "cl is empty; give a confidence level between 0 and 1, or several"
        raise CalibrationError(msg)
    return tuple(float(level) for level in levels)


def chi2_quantile(cl: ArrayLike, ndf: int) -> FloatArray:
    """Compute quantiles of χ² with `ndf` degrees of freedom, in the shape of `cl`.

    The results are exactly those of ``scipy.stats.chi2.ppf``, but without importing scipy.stats,
    which takes longer than a fit.

    Parameters
    ----------
    cl
        Confidence levels, between 0 and 1.
    ndf
        Degrees of freedom, at least 1.

    Examples
    --------
    >>> chi2_quantile([0.6827, 0.9545], 1).round(2)
    array([1., 4.])
    """
    quantiles: FloatArray = 2 * gammaincinv(ndf / 2, np.asarray(cl, dtype=np.float64))
    return quantiles
