"""Calibrations on disk, as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from milinfer.calibration import Calibration
from milinfer.exceptions import CalibrationError
from milinfer.llr import ModelTag
from milinfer.response import Response
from milinfer.smooth import SmoothPolynomial
from milinfer.typing import PathLikeStr

__all__ = [
    "calibration_from_dict",
    "calibration_to_dict",
    "load_calibration",
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
    _file(path).write_text(text + "\n", encoding="utf-8")


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
        return calibration_from_dict(json.loads(file.read_text(encoding="utf-8")))
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
    return Calibration(**fields)


def _file(path: PathLikeStr) -> Path:
    given = Path(path)
    return given / _NAME if given.is_dir() else given
