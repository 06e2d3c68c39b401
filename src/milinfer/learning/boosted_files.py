"""Boosted likelihoods on disk: ``model.json`` and XGBoost's own format, never a pickle."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

from milinfer.exceptions import MilinferError, ModelError
from milinfer.learning.boosted_trees import BoostedLikelihood, _Fitted
from milinfer.learning.model_folder import (
    new_model_folder,
    read_json,
    require_format,
    require_unchanged,
)
from milinfer.learning.trees import BoostedSettings, require
from milinfer.typing import PathLikeStr
from milinfer.utils.paths import file_hash

__all__ = ["load_boosted", "save_boosted"]

_FORMAT = "xgboost-2"
_TREES = "trees.ubj"
_SETTINGS = ("reference", "trials", "seed", "interpolation_kind", "window", "validation_fraction")
_PLAIN = ("parameter", "feature_names", "history", "tried", "n_events", "trained_on")


def save_boosted(model: BoostedLikelihood, path: PathLikeStr) -> None:
    """Save a trained likelihood to a directory.

    The directory is written beside its place and then renamed, so that it is whole or not there.

    Raises
    ------
    ModelError
        If the model is not trained, or `path` is something else than a model.
    """
    fitted = model.fitted
    with new_model_folder(path) as folder:
        fitted.booster.save_model(folder / _TREES)
        content = {
            "format": _FORMAT,
            "head": model.name,
            "settings": {name: getattr(model, name) for name in _SETTINGS},
            "given": model.settings and dataclasses.asdict(model.settings),
            "used": dataclasses.asdict(fitted.settings),
            "grid": fitted.grid.tolist(),
            **{name: getattr(fitted, name) for name in _PLAIN},
            "weights": {_TREES: file_hash(folder / _TREES)},
            "versions": {
                "milinfer": version("milinfer"),
                "numpy": np.__version__,
                "xgboost": require("xgboost").__version__,
            },
        }
        (folder / "model.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def load_boosted(path: PathLikeStr) -> BoostedLikelihood:
    """Load a likelihood that :func:`save_boosted` has written.

    Raises
    ------
    ModelError
        If something is missing, was changed or is of another format; the message names it.
    """
    folder = Path(path)
    content = read_json(folder / "model.json")
    require_format(folder, content, _FORMAT, "BoostedLikelihood")
    try:
        file = folder / _TREES
        require_unchanged(file, content["weights"][_TREES])
        given, used = content["given"], BoostedSettings(**content["used"])
        fitted = _Fitted(
            require("xgboost").Booster({"nthread": used.n_jobs}, model_file=file),
            used,
            np.array(content["grid"]),
            **{name: content[name] for name in _PLAIN}
            | {name: tuple(content[name]) for name in ("feature_names", "trained_on")},
        )
        return BoostedLikelihood(
            **content["settings"],
            settings=given and BoostedSettings(**given),
            _fitted=fitted,
        )
    except MilinferError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{folder / 'model.json'} is not a complete model: {error}; train again"
        raise ModelError(msg) from error
