"""Trained models on disk: one directory with ``model.json`` and Keras weights, never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.typing import PathLikeStr

if TYPE_CHECKING:
    from milinfer.likelihood import BagLikelihood

__all__ = ["load_model", "save_model"]

_FORMAT = 1
_SETTINGS = (
    "bag_size",
    "ensemble",
    "interpolation_kind",
    "degree",
    "window",
    "reference",
    "validation_fraction",
    "seed",
)


def save_model(model: BagLikelihood, path: PathLikeStr) -> None:
    """Save a trained likelihood to a directory.

    The directory is written beside its place and then renamed, so that it is whole or not there.

    Parameters
    ----------
    model
        Trained likelihood.
    path
        Directory; replaced if it is a model already.

    Raises
    ------
    ModelError
        If the model is not trained, or `path` is something else than a model.
    """
    from milinfer.networks import NetworkConfig
    from milinfer.training import TrainingConfig

    fitted = model.fitted
    target = Path(path)
    if target.exists() and not (target / "model.json").exists():
        msg = f"{target} exists and is not a milinfer model; choose another directory"
        raise ModelError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        checksums = {}
        for k, network in enumerate(fitted.members):
            name = f"member_{k}.weights.h5"
            network.event_model.save_weights(folder / name)
            checksums[name] = _checksum(folder / name)
        content = {
            "format": _FORMAT,
            "head": "multiclass",
            "settings": {name: getattr(model, name) for name in _SETTINGS},
            "network": dataclasses.asdict(model.network or NetworkConfig()),
            "training": dataclasses.asdict(model.training or TrainingConfig()),
            "parameter": fitted.parameter,
            "grid": fitted.grid.tolist(),
            "feature_names": list(fitted.feature_names),
            "mean": fitted.mean.tolist(),
            "variance": fitted.variance.tolist(),
            "history": fitted.history,
            "n_events": fitted.n_events,
            "weights": checksums,
            "versions": {p: version(p) for p in ("milinfer", "keras", "tensorflow", "numpy")},
        }
        (folder / "model.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        folder.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load_model(path: PathLikeStr) -> BagLikelihood:
    """Load a likelihood that :func:`save_model` has written.

    Raises
    ------
    ModelError
        If something is missing, was changed or is of another format; the message names it.
    """
    from milinfer.likelihood import BagLikelihood, _Fitted
    from milinfer.networks import NetworkConfig, build_network
    from milinfer.training import TrainingConfig

    folder = Path(path)
    content = _read_json(folder / "model.json")
    if content.get("format") != _FORMAT:
        msg = f"{folder} has model format {content.get('format')}, this milinfer reads {_FORMAT}"
        raise ModelError(msg)
    try:
        network_config = NetworkConfig(
            **content["network"] | {"hidden": tuple(content["network"]["hidden"])}
        )
        grid, mean, variance = (np.array(content[k]) for k in ("grid", "mean", "variance"))
        settings = content["settings"]
        members = []
        for name, checksum in content["weights"].items():
            file = folder / name
            if not file.exists() or _checksum(file) != checksum:
                what = "differs from what was saved" if file.exists() else "is missing"
                msg = f"{file} {what}; restore it or train again"
                raise ModelError(msg)
            network = build_network(
                network_config,
                BagLikelihood(**settings).basis(grid),
                settings["bag_size"],
                mean,
                variance,
                np.random.SeedSequence(0),
            )
            network.event_model.load_weights(file)
            members.append(network)
        return BagLikelihood(
            **settings,
            network=network_config,
            training=TrainingConfig(**content["training"]),
            _fitted=_Fitted(
                tuple(members),
                content["parameter"],
                grid,
                tuple(content["feature_names"]),
                mean,
                variance,
                content["history"],
                content["n_events"],
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        msg = f"{folder / 'model.json'} is not a complete model: {error}; train again"
        raise ModelError(msg) from error


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{path.parent} is not a milinfer model: it has no {path.name}"
        raise ModelError(msg) from error
    except ValueError as error:
        msg = f"{path} is damaged ({error}); restore it or train again"
        raise ModelError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} does not hold a model; train again"
        raise ModelError(msg)
    return content
