"""Convert parameter points to text: ``{"c_HW": -0.5}``, ``"c_HW=-0.5"``, ``"c_HW_m0p5"``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from milinfer.exceptions import MilinferError, ParameterError, SampleError
from milinfer.typing import Point
from milinfer.utils.arguments import short_repr

__all__ = [
    "finite_point",
    "format_point",
    "only",
    "parse_point",
    "point_id",
    "shifts_of",
    "shifts_of_key",
]

_ITEM = re.compile(r"^\s*([A-Za-z_]\w*)\s*=\s*([^\s=]+)\s*$")


def format_point(point: Point) -> str:
    """Write a parameter point as text.

    Examples
    --------
    >>> format_point({"c_HW": 0.5, "c_W": -1.0})
    'c_HW=0.5,c_W=-1'
    """
    return ",".join(f"{name}={value:.12g}" for name, value in point.items())


def finite_point(
    point: object, label: str, error: type[MilinferError] = ParameterError
) -> dict[str, float]:
    """Check a parameter point that a user has given, and return it with values of type float.

    Parameters
    ----------
    point
        Mapping from the name of a parameter to its value.
    label
        Name of the file or sample to which the point belongs, for the message.
    error
        Class of the error.

    Raises
    ------
    MilinferError
        If `point` is not such a mapping, or a value is not a finite number.  The class of the error
        is `error`.

    Examples
    --------
    >>> finite_point({"c_HW": 1}, "a.lhe")
    {'c_HW': 1.0}
    >>> finite_point("c_HW=1", "a.lhe")
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: a.lhe: the point 'c_HW=1' must be finite numbers by name,
    as in {'c_HW': 0.5}
    """
    try:
        numbers = {str(k): float(v) for k, v in point.items()}  # type: ignore[attr-defined]
    except (OverflowError, TypeError, ValueError, AttributeError):
        numbers = {"": math.nan}
    if not all(math.isfinite(v) for v in numbers.values()):
        msg = (
            f"{label}: the point {short_repr(point)} must be finite numbers by name, as in "
            "{'c_HW': 0.5}"
        )
        raise error(msg)
    return numbers


def only(parameters: Sequence[str]) -> str:
    """Return the name of the parameter, if there is only one.

    Raises
    ------
    ParameterError
        If there are no parameters or several.

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
        If the text does not have this form, if a value is not a finite number, or if a name is
        repeated.

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
    """Name a point with letters, digits and underscores only, for weight ids, files or branches.

    Examples
    --------
    >>> point_id({"c_HW": -0.5})
    'c_HW_m0p5'
    """
    return "_".join(
        f"{name}_{value:.12g}".replace("-", "m").replace("+", "").replace(".", "p")
        for name, value in point.items()
    )


def shifts_of(nuisances: Point, label: str) -> dict[str, float]:
    """Check shifts of nuisance parameters, and return them with values of type float.

    Parameters
    ----------
    nuisances
        Mapping from the name of a nuisance parameter to its value.
    label
        Name of the variation, for messages.

    Raises
    ------
    SampleError
        If no nuisance parameter is shifted, if a shift is not finite, or if a name is not allowed.

    Examples
    --------
    >>> shifts_of({"jes": 1}, "a variation")
    {'jes': 1.0}
    """
    try:
        shifts: dict[Any, float] = {n: float(value) for n, value in nuisances.items()}
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        msg = f"{label}: {nuisances!r} are not shifts; give values by name, such as {{'jes': 1.0}}"
        raise SampleError(msg) from error
    if not any(shifts.values()):
        msg = (
            f"{label}: no nuisance parameter is shifted; shift at least one, and give nominal "
            "events as nominal"
        )
        raise SampleError(msg)
    for name, value in shifts.items():
        if not (isinstance(name, str) and name.isidentifier()):
            msg = f"{label}: {name!r} cannot name a nuisance parameter; use letters, digits and _"
            raise SampleError(msg)
        if not math.isfinite(value):
            msg = f"{label}: {name} is {value:g}; give a finite shift"
            raise SampleError(msg)
    return shifts


def shifts_of_key(key: object) -> dict[str, float]:
    """Convert shifts written as the key of a mapping to a mapping of names and values.

    Parameters
    ----------
    key
        One pair of name and value, such as ``("jes", 1.0)``, or a sequence of such pairs.

    Raises
    ------
    SampleError
        If the key has another form, if a name is repeated, or if nothing is shifted.

    Examples
    --------
    >>> shifts_of_key(("jes", 1)), shifts_of_key((("jes", 1), ("jer", -1)))
    ({'jes': 1.0}, {'jes': 1.0, 'jer': -1.0})
    """
    pairs = [key] if isinstance(key, tuple) and key and isinstance(key[0], str) else key
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, tuple) and len(pair) == 2 for pair in pairs
    ):
        msg = f"{key!r} is not a shift; write ('jes', 1.0), or (('jes', 1.0), ('jer', -1.0))"
        raise SampleError(msg)
    shifts = dict(pairs)
    if len(shifts) < len(pairs):
        msg = f"{key!r} names a nuisance parameter twice; give each once"
        raise SampleError(msg)
    return shifts_of(shifts, f"variation {key!r}")
