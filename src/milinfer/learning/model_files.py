"""Trained models on disk: one directory with ``model.json`` and Keras weights, never a pickle.

Directories of saved models: written whole or not at all, read with every check.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import MilinferError, ModelError
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.files import atomic_folder, file_hash, parse_json

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.network import BagNetwork

__all__ = [
    "FORMAT",
    "load_model",
    "new_model_folder",
    "pack_model",
    "read_json",
    "require_format",
    "require_unchanged",
    "save_model",
    "unpack_model",
]


FORMAT = 4
# What numpy, Keras and h5py make of a damaged file.
_DAMAGED = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError, Warning)
_OWN = ("network", "training", "_fitted")  # written in a form of their own


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
    fitted = model.fitted
    with new_model_folder(path) as folder:
        checksums = {}
        for name, part in _parts(fitted.members).items():
            part.save_weights(folder / name)
            checksums[name] = file_hash(folder / name)
        content = {
            "format": FORMAT,
            "settings": {
                f.name: getattr(model, f.name)
                for f in dataclasses.fields(model)
                if f.name not in _OWN
            },
            "network": dataclasses.asdict(fitted.network),
            "training": dataclasses.asdict(fitted.training),
            "parameters": fitted.parameters,
            "points": fitted.points.tolist(),
            "z": [z.tolist() for z in fitted.z],
            "scale": fitted.scale,
            "feature_names": fitted.feature_names,
            "mean": fitted.mean.tolist(),
            "variance": fitted.variance.tolist(),
            "history": fitted.history,
            "n_events": fitted.n_events,
            "effective_events": fitted.effective_events,
            "trained_on": fitted.trained_on,
            "weights": checksums,
            "versions": {p: version(p) for p in ("milinfer", "keras", "tensorflow", "numpy")},
        }
        text = json.dumps(content, indent=1, default=_plain)
        (folder / "model.json").write_text(text, encoding="utf-8")


def load_model(path: PathLikeStr) -> BagLikelihood:
    """Load a likelihood that :func:`save_model` has written.

    Raises
    ------
    ModelError
        If something is missing, was changed or is of another format; the message names it.
    """
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.fitting import Fitted, build_members
    from milinfer.learning.networks.configs import TrainingConfig
    from milinfer.learning.networks.network import NetworkConfig
    from milinfer.learning.training_points import ModelPoints

    folder = Path(path)
    file = folder / "model.json"
    content = read_json(file)
    if content.get("format") != FORMAT:
        msg = f"{folder} has model format {content.get('format')}, this milinfer reads {FORMAT}"
        raise ModelError(msg)
    try:
        network = NetworkConfig(**_tuples(content["network"]))
        training = TrainingConfig(**content["training"])
        model = BagLikelihood(**_tuples(content["settings"]), network=network, training=training)
        mean, variance = _moments(content)
        where = ModelPoints.of_model(model, content["parameters"], np.array(content["points"]))
        members = build_members(model, where, mean, variance)
        _require_members(content, len(members))
        for name, part in _parts(members).items():
            file = folder / name
            require_unchanged(file, content["weights"][name])
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Keras only warns of weights that it cannot place
                part.load_weights(file)
        file = folder / "model.json"
        fitted = Fitted(
            where=where,
            members=members,
            z=tuple(np.array(z) for z in content["z"]),
            scale=tuple(content["scale"]),
            feature_names=tuple(content["feature_names"]),
            mean=mean,
            variance=variance,
            network=network,
            training=training,
            history=content["history"],
            n_events=content["n_events"],
            effective_events=content["effective_events"],
            trained_on=tuple(content["trained_on"]),
        )
        loaded = dataclasses.replace(model, _fitted=fitted)
        _ = loaded.interpolation  # refuses points between which there is no curve
        return loaded
    except ModelError:
        raise
    except (MilinferError, *_DAMAGED) as error:
        msg = f"{file} is not as a model is written: {error!r}; restore it or train again"
        raise ModelError(msg) from error


def _moments(content: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Means and variances of the features."""
    n = len(content["feature_names"])
    found = []
    for name in ("mean", "variance"):
        values = np.array(content[name], dtype=np.float64)
        if values.shape != (n,) or not np.isfinite(values).all():
            msg = f"{name} is not one finite number for each of {n} features"
            raise ValueError(msg)
        found.append(values)
    return found[0], found[1]


def _require_members(content: Mapping[str, Any], n: int) -> None:
    for name in ("z", "scale"):
        if len(content[name]) != n:
            msg = f"{name} has {len(content[name])} entries for {n} members"
            raise ValueError(msg)


def pack_model(model: BagLikelihood) -> dict[str, bytes]:
    """The files of :func:`save_model` by name, to send a model to another process.

    Raises
    ------
    ModelError
        If the model is not trained.
    """
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "model")
        save_model(model, folder)
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def unpack_model(files: Mapping[str, bytes]) -> BagLikelihood:
    """The likelihood that :func:`pack_model` was given.

    Raises
    ------
    ModelError
        As :func:`load_model` does.
    """
    with tempfile.TemporaryDirectory() as parent:
        for name, content in files.items():
            if Path(name).name != name:
                msg = f"{name!r} leaves the folder of the model; pack it again"
                raise ModelError(msg)
            Path(parent, name).write_bytes(content)
        return load_model(parent)


def _parts(members: Sequence[Sequence[BagNetwork]]) -> dict[str, Any]:
    """Keras models that hold the weights of an ensemble, by file name."""
    parts = {}
    for m, member in enumerate(members):
        for k, network in enumerate(member):
            label = f"member_{m}" if len(member) == 1 else f"member_{m}_point_{k}"
            parts[f"{label}.weights.h5"] = network.event_model
            if network.bag_head is not None:
                parts[f"{label}_bag.weights.h5"] = network.bag_head
    return parts


def _plain(value: Any) -> Any:
    """Numbers and lists for what numpy has made of them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    msg = f"{value!r} cannot be written to model.json"
    raise ModelError(msg)


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the tuples that JSON turns into lists."""

    def as_tuple(value: Any) -> Any:
        return tuple(as_tuple(v) for v in value) if isinstance(value, list) else value

    return {k: as_tuple(v) for k, v in settings.items()}


@contextmanager
def new_model_folder(path: PathLikeStr) -> Iterator[Path]:
    """Directory to write a model into, which becomes `path` when the block ends well.

    It is written beside its place and then renamed, so that it is whole or not there; an older
    model in its place is replaced.

    Raises
    ------
    ModelError
        If `path` is something else than a model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     target = pathlib.Path(parent, "model")
    ...     with new_model_folder(target) as folder:
    ...         _ = (folder / "model.json").write_text("{}")
    ...         before = target.exists()
    ...     before, (target / "model.json").exists()
    (False, True)
    """
    target = Path(path)
    if target.exists() and not (target / "model.json").exists():
        msg = f"{target} exists and is not a milinfer model; choose another directory"
        raise ModelError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as folder:
        yield folder


def require_unchanged(file: Path, saved: str) -> None:
    """Refuse a file that is missing or has another checksum than the one `saved` with it.

    Raises
    ------
    ModelError
        The message names the file.

    Examples
    --------
    >>> require_unchanged(Path("trees.ubj"), "e3b0")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: trees.ubj is missing; restore it or train again
    """
    if not file.exists() or file_hash(file) != saved:
        what = "differs from what was saved" if file.exists() else "is missing"
        msg = f"{file} {what}; restore it or train again"
        raise ModelError(msg)


def require_format(folder: Path, content: dict[str, Any], known: str, reader: str) -> None:
    """Refuse the content of a ``model.json`` that another class has written.

    Raises
    ------
    ModelError
        The message names both formats.

    Examples
    --------
    >>> require_format(Path("model"), {"format": 2}, "xgboost-2", "BoostedLikelihood")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: model has model format 2, ...
    """
    if content.get("format") != known:
        msg = (
            f"{folder} has model format {content.get('format')}, and {reader} reads {known}; load "
            "it with the class that saved it"
        )
        raise ModelError(msg)


def read_json(path: Path) -> dict[str, Any]:
    """Content of ``model.json``.

    Raises
    ------
    ModelError
        If it is missing or damaged.

    Examples
    --------
    >>> read_json(Path("nowhere", "model.json"))
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: nowhere is not a milinfer model: it has no model.json
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
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
