"""Calibrations on disk, as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from milinfer.calibration import Calibration
from milinfer.exceptions import CalibrationError
from milinfer.information import MeanResponse
from milinfer.typing import PathLikeStr

__all__ = ["load_calibration", "save_calibration"]

_FORMAT = 1
_ARRAYS = (
    "thetas",
    "c_bartlett",
    "c_bartlett_error",
    "c_coverage",
    "c_coverage_error",
    "scale_coefficients",
    "scale_covariance",
)


def save_calibration(calibration: Calibration, path: PathLikeStr) -> None:
    """Write a calibration to a JSON file, without loss.

    Parameters
    ----------
    calibration
        From :func:`milinfer.calibrate`.
    path
        File to write.
    """
    fields = {f.name: getattr(calibration, f.name) for f in dataclasses.fields(calibration)}
    for name in _ARRAYS:
        fields[name] = fields[name].tolist()
    fields["response"] = [np.asarray(part).tolist() for part in calibration.response]
    text = json.dumps({"milinfer_calibration": _FORMAT, **fields}, indent=1)
    Path(path).write_text(text + "\n", encoding="utf-8")


def load_calibration(path: PathLikeStr) -> Calibration:
    """Read a calibration that :func:`save_calibration` has written.

    Raises
    ------
    CalibrationError
        If the file is not a calibration of this format.
    """
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        if fields.pop("milinfer_calibration") != _FORMAT:
            msg = f"{path} is a calibration of another format; calibrate again"
            raise CalibrationError(msg)
        for name in _ARRAYS:
            fields[name] = np.array(fields[name], dtype=np.float64)
        coefficients, covariance, domain = fields["response"]
        fields["response"] = MeanResponse(
            np.array(coefficients), np.array(covariance), (float(domain[0]), float(domain[1]))
        )
        fields["pool_ids"] = tuple(fields["pool_ids"])
        fields["limits"] = tuple(fields["limits"])
        return Calibration(**fields)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        msg = f"{path} is not a calibration written by milinfer ({error!r}); calibrate again"
        raise CalibrationError(msg) from error
