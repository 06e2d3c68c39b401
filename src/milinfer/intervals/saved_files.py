"""Calibrations on disk, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.calibration import Calibration, Correct, Kind
from milinfer.intervals.response import Response
from milinfer.likelihood.models import ModelTag
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.files import parse_json, write_whole
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = [
    "calibration_from_dict",
    "calibration_to_dict",
    "load_calibration",
    "require_shapes",
    "save_calibration",
]

_FORMAT = 2
_ARRAYS = ("points", "c_bartlett", "c_bartlett_error", "c_coverage", "c_coverage_error")
_NAME = "calibration.json"


def save_calibration(calibration: Calibration, path: PathLikeStr) -> None:
    """Write a calibration to a JSON file, without loss.

    Parameters
    ----------
    calibration
        From :func:`milinfer.calibrate`.
    path
        File to write, or the directory of a saved model: the calibration is then kept with it.

    Examples
    --------
    See ``tests/test_calibration.py``.
    """
    text = json.dumps(calibration_to_dict(calibration), indent=1)
    write_whole(_file(path), text + "\n")


def load_calibration(path: PathLikeStr) -> Calibration:
    """Read a calibration that :func:`save_calibration` has written.

    Parameters
    ----------
    path
        The file, or the directory of a model that it was saved with.

    Raises
    ------
    CalibrationError
        If the file is not there, or not a calibration of this format.
    """
    file = _file(path)
    try:
        return calibration_from_dict(parse_json(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        msg = f"there is no calibration {file}; make one with milinfer.calibrate"
        raise CalibrationError(msg) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"{file} is not a calibration written by milinfer ({error}); calibrate again"
        raise CalibrationError(msg) from error


def calibration_to_dict(calibration: Calibration) -> dict[str, Any]:
    """Plain numbers, for JSON."""
    fields: dict[str, Any] = {
        f.name: getattr(calibration, f.name) for f in dataclasses.fields(calibration)
    }
    for name in _ARRAYS:
        fields[name] = fields[name].tolist()
    fields["tag"] = calibration.tag._asdict()
    fields["log_scales"] = [p.to_dict() for p in calibration.log_scales]
    fields["response"] = [p.to_dict() for p in calibration.response.shifts]
    return {"milinfer_calibration": _FORMAT, **fields}


def calibration_from_dict(content: dict[str, Any]) -> Calibration:
    """The calibration that :func:`calibration_to_dict` has written.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is something else, or of another format.
    """
    fields = dict(content)
    written = fields.pop("milinfer_calibration")
    if written != _FORMAT:
        msg = f"format {written}, this milinfer reads {_FORMAT}"
        raise ValueError(msg)
    for name in _ARRAYS:
        fields[name] = np.array(fields[name], dtype=np.float64)
    tag = fields["tag"]
    fields["tag"] = ModelTag(**tag | {"feature_names": tuple(tag["feature_names"])})
    fields["log_scales"] = tuple(SmoothPolynomial.from_dict(p) for p in fields["log_scales"])
    fields["response"] = Response(tuple(SmoothPolynomial.from_dict(p) for p in fields["response"]))
    for name in ("parameters", "cls", "pool_ids"):
        fields[name] = tuple(fields[name])
    fields["limits"] = tuple((float(a), float(b)) for a, b in fields["limits"])
    calibration = Calibration(**fields)
    _require_consistent(calibration)
    return calibration


def _require_consistent(calibration: Calibration) -> None:
    """Raise ``ValueError`` unless arrays and functions have the sizes that belong together."""
    n, p, n_cl = len(calibration.points), len(calibration.parameters), len(calibration.cls)
    require_shapes(
        {
            "points": (calibration.points, (n, p)),
            "c_bartlett": (calibration.c_bartlett, (n,)),
            "c_bartlett_error": (calibration.c_bartlett_error, (n,)),
            "c_coverage": (calibration.c_coverage, (n, n_cl)),
            "c_coverage_error": (calibration.c_coverage_error, (n, n_cl)),
            "limits": (np.array(calibration.limits), (p, 2)),
            "response": (np.zeros(len(calibration.response.shifts)), (p,)),
        }
    )
    if calibration.kind not in get_args(Kind) or calibration.correct not in get_args(Correct):
        msg = f"the kind {calibration.kind!r} or correction {calibration.correct!r} is unknown"
        raise ValueError(msg)
    if not all(0 < cl < 1 for cl in calibration.cls):
        msg = f"the confidence levels cls are {calibration.cls}, which are not between 0 and 1"
        raise ValueError(msg)
    if len(calibration.log_scales) not in (
        {0, 1, n_cl}
        if calibration.correct == "bias"
        else {1}
        if calibration.kind == "bartlett"
        else {n_cl}
    ):
        msg = f"there are {len(calibration.log_scales)} log_scales for {n_cl} levels"
        raise ValueError(msg)


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


def _file(path: PathLikeStr) -> Path:
    given = Path(path)
    return given / _NAME if given.is_dir() else given
