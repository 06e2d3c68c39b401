"""Belts on disk, as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.belt import Belt, Ordering
from milinfer.intervals.critical_values import PolynomialCurve
from milinfer.intervals.saved_files import (
    calibration_from_dict,
    calibration_to_dict,
    require_shapes,
)
from milinfer.likelihood.models import ModelTag
from milinfer.typing import PathLikeStr
from milinfer.utils.files import parse_json, write_whole
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = ["is_belt", "load_belt", "save_belt"]

_FORMAT = 1
_ARRAYS = ("points", "lower", "lower_error", "upper", "upper_error")


def save_belt(belt: Belt, path: PathLikeStr) -> None:
    """Write a belt to a JSON file, without loss.

    Parameters
    ----------
    belt
        From :func:`milinfer.neyman`.
    path
        File to write.
    """
    fields = {f.name: getattr(belt, f.name) for f in dataclasses.fields(belt)}
    for name in _ARRAYS:
        # JSON has no infinity: an end that is open is null.
        fields[name] = [
            [x if np.isfinite(x) else None for x in row] for row in fields[name].tolist()
        ]
    own = belt.calibration
    fields["calibration"] = None if own is None else calibration_to_dict(own)
    fields["regression"] = [[_curve_to_dict(c) for c in level] for level in belt.regression]
    text = json.dumps({"milinfer_belt": _FORMAT, **fields}, indent=1, allow_nan=False)
    write_whole(path, text + "\n")


def load_belt(path: PathLikeStr) -> Belt:
    """Read a belt that :func:`save_belt` has written.

    Raises
    ------
    CalibrationError
        If the file is not a belt of this format.
    """
    try:
        fields = parse_json(Path(path).read_text(encoding="utf-8"))
        if fields.pop("milinfer_belt") != _FORMAT:
            msg = f"{path} is a belt of another format; make it again"
            raise CalibrationError(msg)
        for name in _ARRAYS:
            endless = -np.inf if name == "lower" else np.inf
            rows = [[endless if x is None else x for x in row] for row in fields[name]]
            fields[name] = np.array(rows, dtype=np.float64)
        name, events_in_bag, features, digest = fields["tag"]
        fields["tag"] = ModelTag(name, events_in_bag, tuple(features), digest)
        fields["bounds"] = tuple((float(low), float(high)) for low, high in fields["bounds"])
        for name in ("parameters", "cl", "n_toys", "pool_ids"):
            fields[name] = tuple(fields[name])
        fields["regression"] = tuple(
            (_curve_from_dict(lower), _curve_from_dict(upper))
            for lower, upper in fields["regression"]
        )
        own = fields["calibration"]
        fields["calibration"] = None if own is None else calibration_from_dict(own)
        belt = Belt(**fields)
        n, p, n_cl = len(belt.points), len(belt.parameters), len(belt.cl)
        ends = {name: (getattr(belt, name), (n, n_cl)) for name in _ARRAYS if name != "points"}
        bounds = {"bounds": (np.array(belt.bounds), (p, 2))}
        require_shapes({"points": (belt.points, (n, p)), **ends, **bounds})
        if belt.ordering not in get_args(Ordering):
            msg = f"the ordering {belt.ordering!r} is unknown"
            raise ValueError(msg)
        if not all(0 < cl < 1 for cl in belt.cl):
            msg = f"the confidence levels cl are {belt.cl}, which are not between 0 and 1"
            raise ValueError(msg)
        return belt
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CalibrationError):
            raise
        msg = f"{path} is not a belt written by milinfer ({error!r}); make it again"
        raise CalibrationError(msg) from error


def is_belt(path: PathLikeStr) -> bool:
    """Whether a JSON file says of itself that it is a belt.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.json")
    ...     _ = file.write_text('{"milinfer_calibration": 2}')
    ...     is_belt(file)
    False
    """
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and "milinfer_belt" in content


def _curve_to_dict(curve: PolynomialCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {"logarithmic": curve.logarithmic, **curve.polynomial.to_dict()}


def _curve_from_dict(content: dict[str, Any] | None) -> PolynomialCurve | None:
    if content is None:
        return None
    return PolynomialCurve(SmoothPolynomial.from_dict(content), bool(content["logarithmic"]))
