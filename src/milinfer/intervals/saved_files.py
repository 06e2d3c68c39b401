"""File formats of calibrations and belts: fields to JSON and back, without loss.

The functions convert plain dictionaries of fields.  :meth:`Calibration.save
<milinfer.intervals.calibration.Calibration.save>`, :meth:`Belt.save
<milinfer.intervals.belt.Belt.save>` and their ``load`` use them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from milinfer.intervals.critical_values import PolynomialCurve
from milinfer.intervals.response import Response
from milinfer.likelihood.models import ModelTag
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.files import parse_json
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = [
    "belt_content",
    "belt_fields",
    "calibration_content",
    "calibration_fields",
    "calibration_file",
    "fields_of",
    "is_belt",
    "require_levels",
    "require_shapes",
]

_CALIBRATION_FORMAT, _BELT_FORMAT = 2, 1
_CALIBRATION_ARRAYS = (
    "points",
    "c_bartlett",
    "c_bartlett_error",
    "c_coverage",
    "c_coverage_error",
)
_BELT_ARRAYS = ("points", "lower", "lower_error", "upper", "upper_error")
_NAME = "calibration.json"


def fields_of(record: Any) -> dict[str, Any]:
    """Fields of a dataclass by name, in order; their values are not copied."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def calibration_file(path: PathLikeStr) -> Path:
    """File of a calibration, from its path or the directory of the model it is saved with.

    Examples
    --------
    >>> calibration_file("a.json").name, calibration_file(".").name
    ('a.json', 'calibration.json')
    """
    file = Path(path)
    return file / _NAME if file.is_dir() else file


def calibration_content(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the file of a calibration, from its fields."""
    content = dict(fields)
    for name in _CALIBRATION_ARRAYS:
        content[name] = content[name].tolist()
    content["tag"] = fields["tag"]._asdict()
    content["log_scales"] = [p.to_dict() for p in fields["log_scales"]]
    content["response"] = [p.to_dict() for p in fields["response"].shifts]
    return {"milinfer_calibration": _CALIBRATION_FORMAT, **content}


def calibration_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a calibration, from the content of its file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is something else, or of another format.
    """
    fields = dict(content)
    number = fields.pop("milinfer_calibration")
    if number != _CALIBRATION_FORMAT:
        msg = f"format {number}, this milinfer reads {_CALIBRATION_FORMAT}"
        raise ValueError(msg)
    for name in _CALIBRATION_ARRAYS:
        fields[name] = np.array(fields[name], dtype=np.float64)
    tag = fields["tag"]
    fields["tag"] = ModelTag(**tag | {"feature_names": tuple(tag["feature_names"])})
    fields["log_scales"] = tuple(SmoothPolynomial.from_dict(p) for p in fields["log_scales"])
    fields["response"] = Response(tuple(SmoothPolynomial.from_dict(p) for p in fields["response"]))
    for name in ("parameters", "cls", "pool_ids"):
        fields[name] = tuple(fields[name])
    fields["limits"] = tuple((float(a), float(b)) for a, b in fields["limits"])
    return fields


def belt_content(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the file of a belt, from its fields.

    Its ``calibration``, unless None, must already be the content of a calibration file.
    """
    content = dict(fields)
    for name in _BELT_ARRAYS:
        # JSON has no infinity: an end that is open is null.
        content[name] = [
            [x if np.isfinite(x) else None for x in row] for row in content[name].tolist()
        ]
    content["regression"] = [[_curve_content(c) for c in level] for level in fields["regression"]]
    return {"milinfer_belt": _BELT_FORMAT, **content}


def belt_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a belt, from the content of its file; ``calibration`` is still file content.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is something else, or of another format.
    """
    fields = dict(content)
    number = fields.pop("milinfer_belt")
    if number != _BELT_FORMAT:
        msg = f"format {number}, this milinfer reads {_BELT_FORMAT}"
        raise ValueError(msg)
    for name in _BELT_ARRAYS:
        infinity = -np.inf if name == "lower" else np.inf
        rows = [[infinity if x is None else x for x in row] for row in fields[name]]
        fields[name] = np.array(rows, dtype=np.float64)
    name, events_in_bag, features, digest = fields["tag"]
    fields["tag"] = ModelTag(name, events_in_bag, tuple(features), digest)
    fields["bounds"] = tuple((float(low), float(high)) for low, high in fields["bounds"])
    for name in ("parameters", "cl", "n_toys", "pool_ids"):
        fields[name] = tuple(fields[name])
    fields["regression"] = tuple(
        (_curve(lower), _curve(upper)) for lower, upper in fields["regression"]
    )
    return fields


def is_belt(path: PathLikeStr) -> bool:
    """Whether a JSON file is marked as a belt.

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


def require_shapes(arrays: Mapping[str, tuple[FloatArray, tuple[int, ...]]]) -> None:
    """Raise ``ValueError`` unless each array has its shape.

    Examples
    --------
    >>> require_shapes({"points": (np.zeros(2), (2, 1))})
    Traceback (most recent call last):
    ValueError: points have shape (2,), and not (2, 1)
    """
    for name, (array, shape) in arrays.items():
        if array.shape != shape:
            msg = f"{name} have shape {array.shape}, and not {shape}"
            raise ValueError(msg)


def require_levels(name: str, levels: tuple[float, ...]) -> None:
    """Raise ``ValueError`` unless all confidence levels are between 0 and 1.

    Examples
    --------
    >>> require_levels("cl", (0.9, 1.0))
    Traceback (most recent call last):
    ValueError: the confidence levels cl are (0.9, 1.0), which are not between 0 and 1
    """
    if not all(0 < level < 1 for level in levels):
        msg = f"the confidence levels {name} are {levels}, which are not between 0 and 1"
        raise ValueError(msg)


def _curve_content(curve: PolynomialCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {"logarithmic": curve.logarithmic, **curve.polynomial.to_dict()}


def _curve(content: dict[str, Any] | None) -> PolynomialCurve | None:
    if content is None:
        return None
    return PolynomialCurve(SmoothPolynomial.from_dict(content), bool(content["logarithmic"]))
