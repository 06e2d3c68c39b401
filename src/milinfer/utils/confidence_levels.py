"""Confidence levels: those of one and two standard deviations, and levels as a tuple."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CL68", "CL95", "levels_of"]

# Rounded as they are quoted; a belt or a calibration must be asked for the level that it was made
# for, to 1e-9.
CL68, CL95 = 0.6827, 0.9545


def levels_of(cl: float | Sequence[float]) -> tuple[float, ...]:
    """One confidence level or several, as a tuple.

    Examples
    --------
    >>> levels_of(0.9)
    (0.9,)
    """
    return (float(cl),) if isinstance(cl, int | float) else tuple(float(c) for c in cl)
