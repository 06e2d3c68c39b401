"""What an experiment tracker has to know, and what trainings and analyses tell it.

Any object with the five methods of :class:`Tracker` is one; :mod:`milinfer.learning.trackers` has those for
TensorBoard, MLflow and Weights & Biases.  A tracker is told and never asked, so that it cannot
change a result; if it fails, so does the training, with a :class:`TrackingError` that says where.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from milinfer.exceptions import ConfigurationError, MilinferError, TrackingError
from milinfer.typing import PathLikeStr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.fitting import EpochReport

__all__ = [
    "GuardedTracker",
    "Tracker",
    "flat_numbers",
    "flat_settings",
    "log_training",
    "png_bytes",
    "tracked_epochs",
    "tracking_errors",
]

_PNG = b"\x89PNG\r\n\x1a\n"


@runtime_checkable
class Tracker(Protocol):
    """Where numbers, figures and files of a training or an analysis go.

    Examples
    --------
    >>> class Printed:
    ...     def log_parameters(self, parameters):
    ...         print(dict(parameters))
    ...     def log_metrics(self, metrics, step):
    ...         print(step, dict(metrics))
    ...     def log_figure(self, name, figure):
    ...         print(name)
    ...     def log_artifact(self, path):
    ...         print(path)
    ...     def close(self):
    ...         print("closed")
    >>> isinstance(Printed(), Tracker)
    True
    """

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Take settings by name, at the start."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Take numbers by name, such as ``multiclass/val_loss/network_0``, of an epoch."""

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Take a figure, or the path of a PNG file."""

    def log_artifact(self, path: PathLikeStr) -> None:
        """Take a file."""

    def close(self) -> None:
        """Finish, whole; called by who has made the tracker, not by a training."""


class GuardedTracker:
    """A tracker whose failures say what failed.

    Parameters
    ----------
    tracker
        The tracker.

    Raises
    ------
    ConfigurationError
        If it lacks a method of :class:`Tracker`.
    TrackingError
        From every method, if that of the tracker fails.

    Examples
    --------
    >>> GuardedTracker(print)
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ConfigurationError: tracker=... has no log_parameters, ...
    """

    def __init__(self, tracker: Tracker) -> None:
        names = ("log_parameters", "log_metrics", "log_figure", "log_artifact", "close")
        missing = [n for n in names if not callable(getattr(tracker, n, None))]
        if missing:
            msg = (
                f"tracker={tracker!r} has no {', '.join(missing)}; see milinfer.learning.tracking.Tracker, "
                "or take one of milinfer.learning.trackers"
            )
            raise ConfigurationError(msg)
        self._tracker = tracker

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """See :meth:`Tracker.log_parameters`."""
        self._call("log_parameters", parameters)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """See :meth:`Tracker.log_metrics`."""
        self._call("log_metrics", metrics, step)

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """See :meth:`Tracker.log_figure`."""
        self._call("log_figure", name, figure)

    def log_artifact(self, path: PathLikeStr) -> None:
        """See :meth:`Tracker.log_artifact`."""
        self._call("log_artifact", path)

    def close(self) -> None:
        """See :meth:`Tracker.close`."""
        self._call("close")

    def _call(self, name: str, *values: Any) -> None:
        with tracking_errors(f"{type(self._tracker).__name__}.{name}"):
            getattr(self._tracker, name)(*values)


@contextmanager
def tracking_errors(what: str) -> Iterator[None]:
    """Turn an error of a tracker into one that says what failed.

    Examples
    --------
    >>> with tracking_errors("Printed.close"):
    ...     raise OSError("disk full")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.TrackingError: Printed.close failed: OSError: disk full; mend the tracker...
    """
    try:
        yield
    except MilinferError:
        raise
    except Exception as error:
        msg = (
            f"{what} failed: {type(error).__name__}: {error}; mend the tracker, or go on without "
            "one"
        )
        raise TrackingError(msg) from error


def tracked_epochs(
    tracker: Tracker, model: BagLikelihood, on_epoch: Callable[[EpochReport], None] | None = None
) -> Callable[[EpochReport], None]:
    """Log the settings of a model, and give what logs every epoch of its training.

    Parameters
    ----------
    tracker
        The tracker.
    model
        With network and training settings filled in.
    on_epoch
        Called with each report too, before the tracker.
    """
    guarded = GuardedTracker(tracker)
    guarded.log_parameters(_model_settings(model))

    def report(done: EpochReport) -> None:
        if on_epoch is not None:
            on_epoch(done)
        numbers = {
            "loss": done.loss,
            "val_loss": done.val_loss,
            "learning_rate": done.learning_rate,
        }
        guarded.log_metrics(_named(model.name, done.member, numbers), done.epoch)

    return report


def log_training(tracker: Tracker, model: BagLikelihood) -> None:
    """Log the settings and all epochs of a model that is trained already.

    Raises
    ------
    ModelError
        If the model is not trained.
    TrackingError
        If the tracker fails.
    """
    guarded = GuardedTracker(tracker)
    histories = model.fitted.history
    guarded.log_parameters(_model_settings(model))
    for k, history in enumerate(histories):
        for epoch, values in enumerate(zip(*history.values(), strict=True)):
            numbers = dict(zip(history, values, strict=True))
            guarded.log_metrics(_named(model.name, k, numbers), epoch)


def _named(model: str, network: int, numbers: Mapping[str, float]) -> dict[str, float]:
    # The quantity before the network: trackers draw what begins alike side by side.
    return {f"{model}/{name}/network_{network}": value for name, value in numbers.items()}


def _model_settings(model: BagLikelihood) -> dict[str, Any]:
    fields = {f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.repr}
    for name in ("network", "training"):
        fields[name] = dataclasses.asdict(fields[name])
    return flat_settings(fields, model.name)


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings of sections as one mapping; lists of numbers and texts stay what they are.

    Examples
    --------
    >>> flat_settings({"a": {"b": 1}, "c": [{"d": 2}], "e": (1, 2)}, "m")
    {'m.a.b': 1, 'm.c.0.d': 2, 'm.e': (1, 2)}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        sections = value
        if isinstance(value, Sequence) and value and all(isinstance(v, Mapping) for v in value):
            sections = dict(enumerate(value))
        flat |= flat_settings(sections, key) if isinstance(sections, Mapping) else {key: value}
    return flat


def flat_numbers(summary: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Finite numbers of a summary, by path; of a pair both ends, other lists and words not.

    Examples
    --------
    >>> flat_numbers({"a": {"b": 1, "ok": True}, "interval": [-1.0, 2.0], "name": "x", "c": None})
    {'a/b': 1.0, 'interval/low': -1.0, 'interval/high': 2.0}
    """
    flat: dict[str, float] = {}
    for name, value in summary.items():
        key = f"{prefix}/{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            flat |= flat_numbers(value, key)
        elif isinstance(value, (list, tuple)) and len(value) == 2:
            flat |= flat_numbers(dict(zip(("low", "high"), value, strict=True)), key)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat |= {key: float(value)} if math.isfinite(value) else {}
    return flat


def png_bytes(figure: Figure | PathLikeStr) -> bytes:
    """A figure as PNG, or the content of a PNG file.

    Raises
    ------
    ConfigurationError
        If the file is no PNG.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> png_bytes(Figure())[1:4]
    b'PNG'
    """
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()
    content = Path(figure).read_bytes()
    if not content.startswith(_PNG):
        msg = f"{figure} is no PNG file; give one, or a matplotlib figure"
        raise ConfigurationError(msg)
    return content
