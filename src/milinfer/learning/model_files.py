"""Save and load models as directories with ``model.json`` and weights, without pickle.

A directory is complete or absent, and every file is checked when it is read.  :func:`save_model`
and :func:`load_model` are for networks; the other functions are for every kind of model.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import MilinferError, ModelError
from milinfer.learning.fitted import Fitted
from milinfer.learning.members import MemberLayout, build_member, member_seeds
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.event_network import EventNetwork, weight_shapes
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.settings import (
    LikelihoodSettings,
    is_additive,
    is_normalised,
    settings_by_name,
)
from milinfer.learning.training_points import ModelPoints
from milinfer.typing import Float32Array, FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.files import atomic_folder, file_hash, parse_json
from milinfer.utils.json_fields import (
    array_field,
    flag_field,
    list_field,
    number_field,
    require_number_of_terms,
    text_field,
    whole_field,
)

if TYPE_CHECKING:
    from milinfer.learning.networks.network import BagNetwork

__all__ = [
    "FORMAT",
    "complete_content",
    "event_numbers",
    "histories",
    "history_entry",
    "load_model",
    "network_config",
    "new_model_folder",
    "pack_model",
    "read_content",
    "read_json",
    "read_weights",
    "require_unchanged",
    "save_model",
    "training_config",
    "unpack_model",
    "write_content",
]


FORMAT = 4
_CONTENT = "model.json"
_WEIGHTS = ".weights.h5"
# Exceptions that numpy, Keras and h5py raise for a damaged file.
_DAMAGED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
)
# Number of bytes of weights that is accepted for any network.
_SMALL = 1 << 16
_CONFIGS = ("network", "training")  # entries of their own in model.json


def save_model(settings: LikelihoodSettings, fitted: Fitted, path: PathLikeStr) -> None:
    """Save a trained likelihood to a directory.

    The directory is written under a temporary name and renamed at the end.  If the program is
    interrupted, no incomplete model is left under `path`.

    Parameters
    ----------
    settings
        Settings of the likelihood.
    fitted
        Result of the training.
    path
        Directory to write; an existing model is replaced.

    Raises
    ------
    ModelError
        If `path` exists and is not a saved model.
    """
    with new_model_folder(path) as folder:
        checksums = {}
        for m, member in enumerate(fitted.members):
            for label, network in zip(_labels(m, len(member)), member, strict=True):
                for name, part in _parts(label, network).items():
                    _require_space(folder / name, part)
                    part.save_weights(folder / name)
                    checksums[name] = file_hash(folder / name)
        content = {
            "format": FORMAT,
            "settings": {
                name: value
                for name, value in settings_by_name(settings).items()
                if name not in _CONFIGS
            },
            "network": dataclasses.asdict(fitted.network),
            "training": dataclasses.asdict(fitted.training),
            "parameters": fitted.parameters,
            "points": fitted.points.tolist(),
            "z": [z.tolist() for z in fitted.z],
            "log_z": [values.tolist() for values in fitted.log_z],
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
        write_content(folder, content)


def load_model(path: PathLikeStr) -> tuple[LikelihoodSettings, Fitted]:
    """Load a likelihood that :func:`save_model` has written to a directory.

    Raises
    ------
    ModelError
        If a file is missing, was changed or has another format; the message names the file.
    """
    folder = as_path(path)
    file = folder / _CONTENT
    content = read_json(file)
    if content.get("format") != FORMAT:
        msg = (
            f"{folder} has model format {content.get('format')}, but this milinfer reads {FORMAT}; "
            "load it with the version that saved it, or train again"
        )
        raise ModelError(msg)
    with _as_written(file):
        network = network_config(content["network"])
        training = training_config(content["training"])
        settings = LikelihoodSettings(
            **{"normalise": False} | _tuples(content["settings"]),
            network=network,
            training=training,
        )
        # Models of earlier versions have neither of these entries.
        flag_field("bootstrap", settings.bootstrap)
        flag_field("normalise", settings.normalise)
        mean, variance = _moments(content)
        parameters = [text_field("parameters", name) for name in content["parameters"]]
        points = array_field("points", content["points"], (len(content["points"]), len(parameters)))
        n_events, effective_events = event_numbers(content)
        n_files = len(content["weights"])
        _require_size(folder, n_files, settings, len(parameters), len(mean))
        model_points = ModelPoints.unchecked(settings, parameters, points)
        _require_members(content, settings.ensemble)
        layout = MemberLayout.of(settings, model_points, mean, variance)
        members = tuple(
            _read_member(
                folder,
                content["weights"],
                _labels(m, layout.n_networks),
                layout,
                cache(partial(build_member, settings, model_points, layout, seeds)),
                additive=is_additive(settings),
            )
            for m, seeds in enumerate(member_seeds(settings))
        )
        fitted = Fitted(
            where=model_points,
            members=members,
            z=tuple(array_field(f"z[{m}]", z) for m, z in enumerate(content["z"])),
            log_z=_log_normalisations(content, settings, model_points),
            scale=tuple(number_field("scale", scale) for scale in content["scale"]),
            feature_names=tuple(text_field("feature_names", n) for n in content["feature_names"]),
            mean=mean,
            variance=variance,
            network=network,
            training=training,
            history=histories(content["history"], sum(len(member) for member in members)),
            n_events=n_events,
            effective_events=effective_events,
            trained_on=tuple(text_field("trained_on", text) for text in content["trained_on"]),
        )
        _ = fitted.interpolation  # raises if the points have no curve between them
        return settings, fitted


@contextmanager
def _as_written(file: Path) -> Iterator[None]:
    """Replace errors of invalid content by an error that names the file."""
    try:
        yield
    except ModelError:
        raise
    except (MilinferError, *_DAMAGED) as error:
        msg = f"{file} is not a valid part of a model: {error!r}; restore it or train again"
        raise ModelError(msg) from error


def _read_member(
    folder: Path,
    checksums: Mapping[str, str],
    labels: Sequence[str],
    layout: MemberLayout,
    build: Callable[[], tuple[BagNetwork, ...]],
    *,
    additive: bool,
) -> tuple[TrainedNetwork, ...]:
    """Read the networks of a member; Keras builds them only if their pooling scores whole bags."""
    if not additive:
        built = build()
        for label, network in zip(labels, built, strict=True):
            for name, part in _parts(label, network).items():
                file = folder / name
                require_unchanged(file, checksums[name])
                with _as_written(file), warnings.catch_warnings():
                    warnings.simplefilter("error")  # Keras only warns of weights without a place
                    part.load_weights(file)
        return layout.trained(built)
    networks = []
    for k, label in enumerate(labels):
        file = folder / f"{label}{_WEIGHTS}"
        require_unchanged(file, checksums[file.name])
        with _as_written(file):
            weights = read_weights(file, layout.config, len(layout.mean), layout.head.n_outputs)
            event_network = EventNetwork(layout.config, layout.mean, layout.variance, weights)
            trained = TrainedNetwork.of_weights(event_network, partial(_network_of, build, k))
            trained.prepare()
        networks.append(trained)
    return tuple(networks)


def _network_of(build: Callable[[], tuple[BagNetwork, ...]], k: int) -> BagNetwork:
    return build()[k]


def read_weights(
    file: Path, config: NetworkConfig, n_inputs: int, n_outputs: int
) -> tuple[Float32Array, ...]:
    """Read the weights of an event model from a file of Keras, without Keras.

    Parameters
    ----------
    file
        HDF5 file that ``save_weights`` of Keras 3 has written.
    config, n_inputs, n_outputs
        Architecture, number of inputs and number of outputs of the network.

    Returns
    -------
    tuple of ndarray
        Weights in the order of :func:`milinfer.learning.networks.event_network.weight_shapes`.

    Raises
    ------
    ValueError, OSError
        If the file is damaged, or contains the weights of another network.
    """
    import h5py

    shapes = iter(weight_shapes(config, n_inputs, n_outputs))
    expected: dict[str, tuple[int, ...]] = {}
    # Keras numbers the layers of each kind.
    for i in range(len(config.hidden) + 1):
        suffix = f"_{i}" if i else ""
        is_last = i == len(config.hidden)
        for n in range(1 if config.batch_norm and not is_last else 2):
            expected[f"layers/dense{suffix}/vars/{n}"] = next(shapes)
        for n in range(4 if config.batch_norm and not is_last else 0):
            expected[f"layers/batch_normalization{suffix}/vars/{n}"] = next(shapes)
    with h5py.File(file, "r") as content:
        found: dict[str, tuple[int, ...]] = {}

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item.shape

        content.visititems(collect)
        if found != expected:
            name = next(n for n in (*expected, *found) if found.get(n) != expected.get(n))
            msg = f"{name} has shape {found.get(name)}, but the network needs {expected.get(name)}"
            raise ValueError(msg)
        return tuple(np.asarray(content[name], dtype=np.float32) for name in expected)


def network_config(entries: Mapping[str, Any]) -> NetworkConfig:
    """Build the architecture of the networks from the entries of ``model.json``.

    The widths of the layers are checked later, when the sizes of the files are known.

    Raises
    ------
    ValueError, TypeError
        If an entry is unknown or has a wrong value; the message names it.

    Examples
    --------
    >>> network_config({"hidden": [16, 8]}).hidden
    (16, 8)
    """
    config = NetworkConfig(**_tuples(entries))
    text_field("activation of the network", config.activation)
    flag_field("batch_norm of the network", config.batch_norm)
    number_field("l2 of the network", config.l2, least=0.0)
    if number_field("dropout of the network", config.dropout, least=0.0) >= 1:
        msg = f"dropout of the network is {config.dropout:g}, but must be below 1"
        raise ValueError(msg)
    return config


def training_config(entries: Mapping[str, Any]) -> TrainingConfig:
    """Build the settings of the training from the entries of ``model.json``.

    Raises
    ------
    ValueError, TypeError, ConfigurationError
        If an entry is unknown or has a wrong value; the message names it.

    Examples
    --------
    >>> training_config({"epochs": 3}).epochs
    3
    """
    for name, value in entries.items():
        label = f"{name} of the training"
        if name in ("learning_rate", "min_learning_rate", "weight_decay"):
            number_field(label, value, least=0.0)
        elif name in ("epochs", "patience") or (name == "batch_events" and value is not None):
            whole_field(label, value, least=1)
    return TrainingConfig(**entries)


def histories(entries: Any, n_networks: int) -> list[dict[str, list[float]]]:
    """Read the losses and learning rates of each network: lists with one value for each epoch.

    Raises
    ------
    ValueError
        If the number of entries is not `n_networks`, or an entry is wrong; the message names it.

    Examples
    --------
    >>> histories([{"loss": [1.5], "val_loss": [1.6]}], 1)
    [{'loss': [1.5], 'val_loss': [1.6]}]
    """
    if len(list_field("history", entries)) != n_networks:
        msg = f"history has {len(entries)} entries for {n_networks} networks"
        raise ValueError(msg)
    return [history_entry(f"history[{k}]", entry) for k, entry in enumerate(entries)]


def history_entry(name: str, entry: Any) -> dict[str, list[float]]:
    """Read the losses and other numbers that one training recorded in every epoch or round.

    Parameters
    ----------
    name
        Name of the entry, for the error message.
    entry
        Entry of the file.

    Raises
    ------
    ValueError
        If the losses are not finite numbers, or their lists differ in length; the message names the
        entry.

    Examples
    --------
    >>> history_entry("history", {"loss": [1.5, 1], "val_loss": [1.6, 1.2]})
    {'loss': [1.5, 1.0], 'val_loss': [1.6, 1.2]}
    >>> history_entry("history", {"loss": [1.5], "val_loss": [float("nan")]})
    Traceback (most recent call last):
    ValueError: history: val_loss is [nan], and not numbers that are all finite
    """
    if not isinstance(entry, dict):
        msg = f"{name} must contain the losses of a training by name"
        raise ValueError(msg)
    n_epochs = len(list_field(f"{name}: loss", entry["loss"]))
    if not n_epochs:
        msg = f"{name}: loss is empty, but needs one number for each epoch"
        raise ValueError(msg)
    numbers = {
        label: array_field(f"{name}: {label}", values, (n_epochs,))
        for label, values in {"val_loss": entry["val_loss"], **entry}.items()
    }
    return {label: numbers[label].tolist() for label in entry}


def _moments(content: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return the means and variances of the features."""
    n = len(list_field("feature_names", content["feature_names"]))
    mean = array_field("mean of the features", content["mean"], (n,))
    variance = array_field("variance of the features", content["variance"], (n,), least=0.0)
    return mean, variance


def event_numbers(content: Mapping[str, Any]) -> tuple[dict[str, int], float]:
    """Read the number of training events of each sample, and the effective number of all events.

    Raises
    ------
    ValueError
        If an entry is not a number; the message names the entry.

    Examples
    --------
    >>> event_numbers({"n_events": {"mu=0": 100}})
    ({'mu=0': 100}, 100.0)
    """
    samples = content["n_events"]
    if not isinstance(samples, dict):
        msg = f"n_events is {samples!r}, but must have one number for each sample"
        raise ValueError(msg)
    n_events = {name: whole_field(f"n_events of {name}", n) for name, n in samples.items()}
    effective = content.get("effective_events", float(sum(n_events.values())))
    return n_events, number_field("effective_events", effective, least=0.0)


def _require_size(
    folder: Path, n_files: int, settings: LikelihoodSettings, n_parameters: int, n_features: int
) -> None:
    """Raise if the settings imply a network with more numbers than its files have bytes.

    The check comes before the network is built, because settings can ask for any size.  Small
    networks are left to the checks of the files themselves.
    """
    files = list(folder.glob(f"*{_WEIGHTS}"))
    n_bytes = max(sum(file.stat().st_size for file in files), _SMALL)
    n_files = max(len(files), n_files)
    network = settings.network or settings.default_network
    widths = [n_features]
    for name in ("hidden", "bag_hidden"):
        widths += [whole_field(name, width, least=1) for width in getattr(network, name)]
    n_weights = sum(a * b for a, b in pairwise(widths))
    degrees = {"degree": settings.degree if isinstance(settings.degree, int) else 0}
    if settings.head == "polynomial":
        degrees["order"] = 2 * whole_field("order", settings.order)
        squares = settings.squares
        if squares is not None and whole_field("squares", squares, least=1) > n_bytes:
            msg = f"squares is {squares}, but the files of weights have {n_bytes} bytes"
            raise ValueError(msg)
    for name, degree in degrees.items():
        require_number_of_terms(
            f"bytes of weights for {name}", n_parameters, degree, n_bytes, at_most=True
        )
    if n_weights > n_bytes:
        msg = f"layers {widths} need {n_weights} weights, but their files have {n_bytes} bytes"
        raise ValueError(msg)
    if whole_field("ensemble", settings.ensemble, least=1) > n_files:
        msg = f"ensemble is {settings.ensemble}, but there are {n_files} files of weights"
        raise ValueError(msg)


def _log_normalisations(
    content: Mapping[str, Any], settings: LikelihoodSettings, where: ModelPoints
) -> tuple[FloatArray, ...]:
    """Return ln Z of each member at the points at which Λ is computed, or empty arrays."""
    if not is_normalised(settings):
        return (np.empty(0),) * len(content["z"])
    shape = (len(where.nodes),)
    return tuple(array_field(f"log_z[{m}]", v, shape) for m, v in enumerate(content["log_z"]))


def _require_members(content: Mapping[str, Any], n: int) -> None:
    for name in ("z", "scale"):
        if len(content[name]) != n:
            msg = f"{name} has {len(content[name])} entries for {n} members"
            raise ValueError(msg)


def pack_model(settings: LikelihoodSettings, fitted: Fitted) -> dict[str, bytes]:
    """Return the files of a saved model by name, to send the model to another process."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "model")
        save_model(settings, fitted, folder)
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def unpack_model(files: Mapping[str, bytes]) -> tuple[LikelihoodSettings, Fitted]:
    """Read settings and training result from the files of :func:`pack_model`.

    Raises
    ------
    ModelError
        Under the same conditions as for :func:`load_model`.
    """
    with tempfile.TemporaryDirectory() as parent:
        for name, content in files.items():
            if Path(name).name != name:
                msg = f"{name!r} is outside the folder of the model; pack the model again"
                raise ModelError(msg)
            Path(parent, name).write_bytes(content)
        return load_model(parent)


def _require_space(file: Path, part: Any) -> None:
    """Raise if the disk has no room for a file of weights.

    If HDF5 cannot write a file, it prints pages of errors that cannot be caught, and may end the
    process.
    """
    arrays = part.get_weights()
    # Includes what HDF5 adds for the file, and for each array and its groups.
    n_bytes = sum(array.nbytes for array in arrays) + 16_384 * (len(arrays) + 1)
    try:
        file.write_bytes(bytes(n_bytes))
    finally:
        file.unlink(missing_ok=True)


def _labels(member: int, n_networks: int) -> list[str]:
    """Return the beginning of the file names of the networks of a member."""
    if n_networks == 1:
        return [f"member_{member}"]
    return [f"member_{member}_point_{k}" for k in range(n_networks)]


def _parts(label: str, network: TrainedNetwork | BagNetwork) -> dict[str, Any]:
    """Return the Keras models that contain the weights of a network, by file name."""
    parts = {f"{label}{_WEIGHTS}": network.event_model}
    if network.bag_head is not None:
        parts[f"{label}_bag{_WEIGHTS}"] = network.bag_head
    return parts


def _json_value(value: Any) -> Any:
    """Convert numbers and arrays of numpy to Python."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    msg = f"{value!r} cannot be written to model.json"
    raise ModelError(msg)


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the tuples that JSON turns into lists."""

    def as_tuple(value: Any) -> Any:
        return tuple(as_tuple(v) for v in value) if isinstance(value, list) else value

    return {k: as_tuple(v) for k, v in settings.items()}


@contextmanager
def new_model_folder(path: PathLikeStr) -> Iterator[Path]:
    """Create the directory of a model; if the ``with`` block succeeds, it gets the name `path`.

    Inside the block, the directory has a temporary name, so that `path` is always complete or
    absent.  An older model at `path` is replaced.

    Raises
    ------
    ModelError
        If `path` exists and is not a saved model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     target = pathlib.Path(parent, "model")
    ...     with new_model_folder(target) as folder:
    ...         _ = (folder / "model.json").write_text("{}")
    ...         before = target.exists()
    ...     before, (target / _CONTENT).exists()
    (False, True)
    """
    target = as_path(path)
    if target.exists() and not (target / _CONTENT).exists():
        msg = f"{target} exists and is not a milinfer model; choose another directory"
        raise ModelError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as folder:
        yield folder


def write_content(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``model.json`` to the directory of a model.

    Raises
    ------
    ModelError
        If a value cannot be written as JSON.
    """
    text = json.dumps(content, indent=1, default=_json_value)
    (folder / _CONTENT).write_text(text, encoding="utf-8")


def read_content(folder: Path, file_format: str, reader: str) -> dict[str, Any]:
    """Read ``model.json`` from the directory of a saved model of the class `reader`.

    Raises
    ------
    ModelError
        If the file is missing or damaged, or has another format.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     write_content(Path(parent), {"format": 2})
    ...     read_content(Path(parent), "xgboost-2", "BoostedLikelihood")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: ... has model format 2, but BoostedLikelihood reads ...
    """
    content = read_json(folder / _CONTENT)
    if content.get("format") != file_format:
        msg = (
            f"{folder} has model format {content.get('format')}, but {reader} reads {file_format}; "
            "load it with the class that saved it"
        )
        raise ModelError(msg)
    return content


@contextmanager
def complete_content(folder: Path) -> Iterator[None]:
    """Replace errors of missing or wrong entries of ``model.json`` by an error that names the file.

    Raises
    ------
    ModelError
        If an entry is missing or has a wrong type.

    Examples
    --------
    >>> with complete_content(Path("model")):
    ...     {}["grid"]
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: model/model.json is not a complete model: 'grid'; train again
    """
    try:
        yield
    except MilinferError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        msg = f"{folder / _CONTENT} is not a complete model: {error}; train again"
        raise ModelError(msg) from error


def require_unchanged(file: Path, saved: str) -> None:
    """Raise if a file is missing, or if its checksum differs from `saved`, the saved checksum.

    Raises
    ------
    ModelError
        If one of these is the case; the message names the file.

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


def read_json(path: Path) -> dict[str, Any]:
    """Read ``model.json``.

    Raises
    ------
    ModelError
        If the file is missing or damaged.

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
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); give the folder of a model"
        raise ModelError(msg) from error
    except ValueError as error:
        msg = f"{path} is damaged ({error}); restore it or train again"
        raise ModelError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} does not contain a model; train again"
        raise ModelError(msg)
    return content
