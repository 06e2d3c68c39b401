"""File formats of calibrations and belts: convert their fields to JSON and back, without loss.

The functions convert plain dictionaries of fields.  :meth:`Calibration.save
<milinfer.intervals.calibration.Calibration.save>`, :meth:`Belt.save
<milinfer.intervals.belt.Belt.save>` and their ``load`` use them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from milinfer.intervals.critical_values import PolynomialCurve
from milinfer.intervals.profile_constants import ProfileConstants
from milinfer.intervals.response import Response
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.surface import Limits
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.files import parse_json
from milinfer.utils.json_fields import (
    array_field,
    flag_field,
    list_field,
    number_field,
    require_number_of_terms,
    text_field,
    whole_field,
)
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
    "require_points",
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
_PROFILE_ARRAYS = ("c_bartlett", "c_bartlett_error", "c_coverage", "c_coverage_error")
_BELT_ARRAYS = ("points", "lower", "lower_error", "upper", "upper_error")
_NAME = "calibration.json"


def fields_of(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as a dictionary, in order, without copying the values."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def calibration_file(path: PathLikeStr) -> Path:
    """Return the file of a calibration.  The argument is this file, or the directory of a model.

    Examples
    --------
    >>> calibration_file("a.json").name, calibration_file(".").name
    ('a.json', 'calibration.json')
    """
    file = as_path(path)
    return file / _NAME if file.is_dir() else file


def calibration_content(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the fields of a calibration to the content of its JSON file."""
    content = dict(fields)
    for name in _CALIBRATION_ARRAYS:
        content[name] = content[name].tolist()
    content["tag"] = fields["tag"]._asdict()
    content["log_scales"] = [p.to_dict() for p in fields["log_scales"]]
    content["response"] = [p.to_dict() for p in fields["response"].shifts]
    # A calibration of one parameter has neither, so that its file is that of earlier versions.
    del content["profiles"], content["interest"], content["widen"]
    del content["residuals"]
    if fields["residuals"] is not None:
        content["residuals"] = fields["residuals"].tolist()
    if fields["widen"]:
        content["widen"] = True
    if fields["profiles"]:
        content["profiles"] = [_profile_content(x) for x in fields["profiles"]]
    if fields["interest"] is not None:
        content["interest"] = fields["interest"]
    if not fields["profiled_truth"]:
        del content["profiled_truth"]
    return {"milinfer_calibration": _CALIBRATION_FORMAT, **content}


def calibration_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the content of the JSON file of a calibration to the fields of the calibration.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `content` is not of this kind, or has another format.
    """
    fields = dict(content)
    _require_format(fields.pop("milinfer_calibration"), _CALIBRATION_FORMAT)
    for name in _CALIBRATION_ARRAYS:
        least = 0.0 if name.endswith("_error") else -np.inf
        fields[name] = array_field(name, fields[name], least=least)
    tag = fields["tag"]
    fields["tag"] = _tag(tag["name"], tag["events_in_bag"], tag["feature_names"], tag["digest"])
    fields["log_scales"] = _polynomials("log_scales", fields["log_scales"])
    fields["response"] = Response(_polynomials("response", fields["response"]))
    for name in ("parameters", "pool_ids"):
        fields[name] = _texts(name, fields[name])
    fields["cls"] = tuple(number_field("cls", x) for x in list_field("cls", fields["cls"]))
    fields["limits"] = _ranges("limits", fields["limits"])
    fields["n_events"] = number_field("n_events", fields["n_events"], least=0.0)
    fields["n_toys"] = whole_field("n_toys", fields["n_toys"], least=1)
    fields["extended"] = flag_field("extended", fields["extended"])
    fields["profiles"] = tuple(
        _profile(f"profiles[{k}]", item)
        for k, item in enumerate(list_field("profiles", fields.get("profiles", [])))
    )
    if "residuals" in fields:
        fields["residuals"] = array_field("residuals", fields["residuals"])
    if "widen" in fields:
        fields["widen"] = flag_field("widen", fields["widen"])
    if "interest" in fields:
        fields["interest"] = text_field("interest", fields["interest"])
    if "profiled_truth" in fields:
        fields["profiled_truth"] = _profiled_truth(fields["profiled_truth"])
    return fields


def _profiled_truth(content: Any) -> dict[str, tuple[float, float]]:
    """Ranges of true values of profiled parameters, by name."""
    if not isinstance(content, dict):
        msg = f"profiled_truth is {content!r}, and not a range for each name"
        raise ValueError(msg)
    ranges = _ranges("profiled_truth", list(content.values())) if content else ()
    return dict(zip(content, ranges, strict=True))


def _profile_content(constants: ProfileConstants) -> dict[str, Any]:
    content = fields_of(constants)
    for name in _PROFILE_ARRAYS:
        content[name] = content[name].tolist()
    return {**content, "log_scales": [p.to_dict() for p in constants.log_scales]}


def _profile(name: str, content: Any) -> ProfileConstants:
    arrays = {
        key: array_field(
            f"{key} in {name}", content[key], least=0.0 if key.endswith("_error") else -np.inf
        )
        for key in _PROFILE_ARRAYS
    }
    return ProfileConstants(
        parameter=text_field(f"parameter in {name}", content["parameter"]),
        log_scales=_polynomials(f"log_scales in {name}", content["log_scales"]),
        **arrays,
    )


def _require_format(number: Any, readable: int) -> None:
    if number != readable:
        msg = f"format {number}, this milinfer reads {readable}"
        raise ValueError(msg)


def _tag(name: Any, events_in_bag: Any, features: Any, digest: Any) -> ModelTag:
    return ModelTag(
        text_field("the name in tag", name),
        whole_field("events_in_bag in tag", events_in_bag, least=1),
        _texts("feature_names in tag", features),
        text_field("the digest in tag", digest),
    )


def _texts(name: str, content: Any) -> tuple[str, ...]:
    return tuple(text_field(name, text) for text in list_field(name, content))


def _ranges(name: str, content: Any) -> Limits:
    """Lower and upper ends of the parameters."""
    rows = array_field(name, content, (len(list_field(name, content)), 2)).tolist()
    if any(low > high for low, high in rows):
        msg = f"{name} are {rows}, of which one ends below its beginning"
        raise ValueError(msg)
    return tuple((low, high) for low, high in rows)


def _polynomials(name: str, content: Any) -> tuple[SmoothPolynomial, ...]:
    return tuple(
        _polynomial(f"{name}[{k}]", item) for k, item in enumerate(list_field(name, content))
    )


def _polynomial(name: str, content: Any) -> SmoothPolynomial:
    """Read a polynomial; an error names the damaged one."""
    try:
        return SmoothPolynomial.from_dict(content)
    except KeyError as error:
        msg = f"{name} has no {error}"
        raise ValueError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{name}: {error}"
        raise ValueError(msg) from error


def belt_content(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the fields of a belt to the content of its JSON file.

    The field ``calibration`` must be None, or already converted by :func:`calibration_content`.
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
    """Convert the content of the JSON file of a belt to the fields of the belt.

    The field ``calibration`` is not converted; use :func:`calibration_fields` for it.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `content` is not of this kind, or has another format.
    """
    fields = dict(content)
    _require_format(fields.pop("milinfer_belt"), _BELT_FORMAT)
    for name in _BELT_ARRAYS:
        open_end = name != "points"
        infinity = -np.inf if name == "lower" else np.inf
        rows = [
            [infinity if x is None and open_end else x for x in list_field(name, row)]
            for row in list_field(name, fields[name])
        ]
        least = 0.0 if name.endswith("_error") else -np.inf
        fields[name] = array_field(name, rows, least=least, infinite=open_end)
    fields["tag"] = _tag(*fields["tag"])
    fields["bounds"] = _ranges("bounds", fields["bounds"])
    for name in ("parameters", "pool_ids"):
        fields[name] = _texts(name, fields[name])
    fields["cl"] = tuple(number_field("cl", x) for x in list_field("cl", fields["cl"]))
    fields["n_toys"] = tuple(
        whole_field("n_toys", n, least=1) for n in list_field("n_toys", fields["n_toys"])
    )
    fields["n_events"] = number_field("n_events", fields["n_events"], least=0.0)
    fields["extended"] = flag_field("extended", fields["extended"])
    if "profiled_truth" in fields:
        fields["profiled_truth"] = _profiled_truth(fields["profiled_truth"])
    # Files of earlier versions do not say it.
    fields["poisson"] = flag_field("poisson", fields.get("poisson", True))
    if fields["smooth"] not in (None, "auto"):
        degree = whole_field("smooth", fields["smooth"])
        n, p = len(fields["points"]), len(fields["parameters"])
        require_number_of_terms("points to smooth", p, degree, n, at_most=True)
    fields["regression"] = tuple(
        tuple(_curve(f"regression[{k}]", end) for end in _pair(f"regression[{k}]", level))
        for k, level in enumerate(list_field("regression", fields["regression"]))
    )
    return fields


def _pair(name: str, content: Any) -> list[Any]:
    if len(list_field(name, content)) != 2:
        msg = f"{name} has {len(content)} ends, and not 2"
        raise ValueError(msg)
    return list(content)


def is_belt(path: PathLikeStr) -> bool:
    """Tell whether a JSON file is marked as a belt.

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
        content = parse_json(as_path(path).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and "milinfer_belt" in content


def require_shapes(arrays: Mapping[str, tuple[FloatArray, tuple[int, ...]]]) -> None:
    """Raise ``ValueError`` unless each array has the shape that is given with it.

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


def require_points(points: FloatArray, functions: Mapping[str, Sequence[SmoothPolynomial]]) -> None:
    """Raise ``ValueError`` unless there are points, and the functions have as many parameters.

    Examples
    --------
    >>> require_points(np.zeros((0, 1)), {})
    Traceback (most recent call last):
    ValueError: there are no points
    """
    if not points.size:
        msg = "there are no points"
        raise ValueError(msg)
    for name, polynomials in functions.items():
        for k, polynomial in enumerate(polynomials):
            if len(polynomial.low) != points.shape[1]:
                msg = f"{name}[{k}] has {len(polynomial.low)} parameters, and not {points.shape[1]}"
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


def _curve(name: str, content: Any) -> PolynomialCurve | None:
    if content is None:
        return None
    polynomial = _polynomial(name, content)
    logarithmic = flag_field(f"logarithmic in {name}", content["logarithmic"])
    return PolynomialCurve(polynomial, logarithmic)
