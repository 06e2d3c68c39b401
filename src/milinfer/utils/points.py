"""Parameter points as text: ``{"c_HW": -0.5}`` ↔ ``"c_HW=-0.5"`` ↔ ``"c_HW_m0p5"``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from milinfer.exceptions import ParameterError
from milinfer.typing import Point

__all__ = ["format_point", "only", "parse_point", "point_id"]

_ITEM = re.compile(r"^\s*([A-Za-z_]\w*)\s*=\s*([^\s=]+)\s*$")


def format_point(point: Point) -> str:
    """Write a parameter point as text.

    Examples
    --------
    >>> format_point({"c_HW": 0.5, "c_W": -1.0})
    'c_HW=0.5,c_W=-1'
    """
    return ",".join(f"{name}={value:.12g}" for name, value in point.items())


def only(parameters: Sequence[str]) -> str:
    """Return the name of the only parameter.

    Raises
    ------
    ParameterError
        If there are none or several.

    Examples
    --------
    >>> only(["c_HW"])
    'c_HW'
    """
    if len(parameters) != 1:
        msg = f"this needs exactly one parameter, not {', '.join(parameters) or 'none'}"
        raise ParameterError(msg)
    return parameters[0]


def parse_point(text: str) -> dict[str, float]:
    """Read a parameter point from text such as ``"c_HW=0.5,c_W=-1"``.

    Raises
    ------
    ParameterError
        If the text is not of that form, a value is not a finite number or a name is repeated.

    Examples
    --------
    >>> parse_point("c_HW=0.5, c_W=-1")
    {'c_HW': 0.5, 'c_W': -1.0}
    """
    point: dict[str, float] = {}
    for item in text.split(","):
        match = _ITEM.match(item)
        try:
            value = float(match.group(2)) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or not math.isfinite(value):
            msg = f"{text!r} is not a parameter point; write it as 'c_HW=0.5' or 'c_HW=0.5,c_W=-1'"
            raise ParameterError(msg)
        if match.group(1) in point:
            msg = f"{text!r} gives {match.group(1)!r} twice"
            raise ParameterError(msg)
        point[match.group(1)] = value
    return point


def point_id(point: Point) -> str:
    """Name a point with letters, digits and underscores only (weight ids, file names, branches).

    Examples
    --------
    >>> point_id({"c_HW": -0.5})
    'c_HW_m0p5'
    """
    return "_".join(
        f"{name}_{value:.12g}".replace("-", "m").replace("+", "").replace(".", "p")
        for name, value in point.items()
    )
