"""Maxima of many surfaces at once, and the ranges in which they are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.typing import FloatArray

__all__ = ["Bounds", "Extremum", "Limits", "blocks", "restricted"]

Limits: TypeAlias = tuple[tuple[float, float], ...]
Bounds: TypeAlias = tuple[float, float] | Sequence[tuple[float, float]]

# Surfaces whose maxima are searched at once.
_BLOCK = 10_000


class Extremum(NamedTuple):
    """Maximum of many surfaces; every array has shape (n_surfaces,).

    Parameters
    ----------
    theta_hat
        Position of the maximum.
    maximum
        Λ there.
    curvature
        −d²Λ/dθ² there.
    at_edge
        Whether the maximum lies at an end of the range, where it says little.
    """

    theta_hat: FloatArray
    maximum: FloatArray
    curvature: FloatArray
    at_edge: np.ndarray[tuple[int], np.dtype[np.bool_]]


def restricted(limits: Limits, bounds: Bounds | None) -> Limits:
    """Physical bounds of each parameter inside the limits of a surface.

    Parameters
    ----------
    limits
        Range of each parameter.
    bounds
        ``(low, high)`` of each parameter, or of the one; an infinite end is that of the range, and
        None leaves all of it.

    Raises
    ------
    ParameterError
        If the bounds are not as many as the parameters, empty, or outside the range.

    Examples
    --------
    >>> restricted(((-1.0, 1.0),), (0.0, np.inf))
    ((0.0, 1.0),)
    """
    if bounds is None:
        return limits
    wanted = np.asarray(bounds, dtype=np.float64)
    if wanted.size != 2 * len(limits):
        msg = f"bounds = {bounds} are not (low, high) of each of {len(limits)} parameter(s)"
        raise ParameterError(msg)
    out = []
    for (low, high), (start, stop) in zip(wanted.reshape(-1, 2).tolist(), limits, strict=True):
        found = (start if low == -np.inf else low, stop if high == np.inf else high)
        if not start <= found[0] < found[1] <= stop:
            msg = (
                f"bounds ({low:g}, {high:g}) are not inside [{start:g}, {stop:g}], where the "
                "surface was learned; use an infinite end for one without a bound"
            )
            raise ParameterError(msg)
        out.append(found)
    return tuple(out)


def blocks(values: FloatArray) -> list[FloatArray]:
    """Surfaces (n, K) in parts whose maxima are looked for at once."""
    return [values[i : i + _BLOCK] for i in range(0, max(len(values), 1), _BLOCK)]
