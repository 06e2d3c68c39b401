"""Log trainings and analyses with TensorBoard, MLflow, Weights & Biases or another tracker.

Any object with the five methods of :class:`Tracker` is a tracker.  Trackers only receive values, so
they cannot change results.  If a tracker fails, the training stops with a :class:`TrackingError`
that names the failing call.

Each tracker of this module imports its package when it is created.  The trackers are context
managers: if an error leaves the ``with`` block, the run is marked as failed.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from milinfer.exceptions import ConfigurationError, MilinferError, TrackingError
from milinfer.learning.settings import LikelihoodSettings, settings_by_name
from milinfer.typing import PathLikeStr
from milinfer.utils.display import arrow_table

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from milinfer.learning.networks.network import BagNetwork

__all__ = [
    "EpochReport",
    "GuardedTracker",
    "MLflowTracker",
    "TensorBoardTracker",
    "Tracker",
    "WandbTracker",
    "flat_numbers",
    "flat_settings",
    "history_table",
    "log_history",
    "png_bytes",
    "tracked_epochs",
    "tracking_errors",
]


_PNG = b"\x89PNG\r\n\x1a\n"


@runtime_checkable
class Tracker(Protocol):
    """Interface of an object that logs numbers, figures and files of a training or an analysis.

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
        """Log settings by name; called at the start."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers of an epoch by name, such as ``multiclass/val_loss/network_0``."""

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Log a figure, given as a figure or as the path of a PNG file."""

    def log_artifact(self, path: PathLikeStr) -> None:
        """Log a file."""

    def close(self) -> None:
        """Write everything and close; whoever created the tracker must call this method."""


class GuardedTracker:
    """Tracker that calls another tracker and names the failing call in errors.

    Parameters
    ----------
    tracker
        Tracker to call.

    Raises
    ------
    ConfigurationError
        If `tracker` lacks a method of :class:`Tracker`.
    TrackingError
        If a method of `tracker` fails; every method can raise it.

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
                f"tracker={tracker!r} has no {', '.join(missing)}; see milinfer.Tracker, or use a "
                "tracker from milinfer.learning.tracking"
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
    """Replace an error of a tracker by a TrackingError that names the failing call.

    Examples
    --------
    >>> with tracking_errors("Printed.close"):
    ...     raise OSError("disk full")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.TrackingError: Printed.close failed: OSError: disk full; fix the tracker...
    """
    try:
        yield
    except MilinferError:
        raise
    except Exception as error:
        msg = (
            f"{what} failed: {type(error).__name__}: {error}; fix the tracker, or continue "
            "without one"
        )
        raise TrackingError(msg) from error


@dataclass(frozen=True)
class EpochReport:
    """Progress of a training, reported after an epoch.

    Parameters
    ----------
    member, n_members
        Index of the network, and number of networks.  With a binary head each member of the
        ensemble has several networks.
    epoch, n_epochs
        Index of the epoch, and the largest possible number of epochs.
    loss, val_loss, learning_rate
        Training loss, validation loss and learning rate of this epoch.
    network
        The network with its weights after this epoch; None if a cluster trains it.
    """

    member: int
    n_members: int
    epoch: int
    n_epochs: int
    loss: float
    val_loss: float
    learning_rate: float
    network: BagNetwork | None = field(default=None, compare=False, repr=False)


def tracked_epochs(
    tracker: Tracker,
    settings: LikelihoodSettings,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Callable[[EpochReport], None]:
    """Log the settings, and return a function that logs every epoch of a training.

    Parameters
    ----------
    tracker
        Tracker that receives the settings and the epochs.
    settings
        Settings of the likelihood, with ``network`` and ``training`` filled in.
    on_epoch
        Function that is also called with each report, before the tracker gets the report.
    """
    guarded = GuardedTracker(tracker)
    guarded.log_parameters(_tracked_settings(settings))

    def log(report: EpochReport) -> None:
        if on_epoch is not None:
            on_epoch(report)
        losses = {
            "loss": report.loss,
            "val_loss": report.val_loss,
            "learning_rate": report.learning_rate,
        }
        guarded.log_metrics(_metrics(settings.name, report.member, losses), report.epoch)

    return log


def log_history(
    tracker: Tracker,
    settings: LikelihoodSettings,
    histories: Sequence[Mapping[str, Sequence[float]]],
) -> None:
    """Log the settings and all epochs of a finished training.

    Parameters
    ----------
    tracker
        Tracker that receives the settings and the epochs.
    settings
        Settings of the likelihood, with ``network`` and ``training`` filled in.
    histories
        Losses and learning rate of each network, one value per epoch.

    Raises
    ------
    TrackingError
        If the tracker fails.
    """
    guarded = GuardedTracker(tracker)
    guarded.log_parameters(_tracked_settings(settings))
    for network, history in enumerate(histories):
        for epoch, values in enumerate(zip(*history.values(), strict=True)):
            losses = dict(zip(history, values, strict=True))
            guarded.log_metrics(_metrics(settings.name, network, losses), epoch)


def _metrics(model: str, network: int, losses: Mapping[str, float]) -> dict[str, float]:
    """Return losses with the names that trackers show."""
    # The quantity comes first, because trackers draw names with the same beginning side by side.
    return {f"{model}/{name}/network_{network}": value for name, value in losses.items()}


def _tracked_settings(settings: LikelihoodSettings) -> dict[str, Any]:
    """Return settings with the names that trackers show."""
    values = settings_by_name(settings)
    for name in ("network", "training"):
        values[name] = dataclasses.asdict(values[name])
    return flat_settings(values, settings.name)


def history_table(history: Sequence[Mapping[str, Sequence[float]]]) -> pa.Table:
    """Return a table with one row for each network and epoch; both are counted from 0.

    Parameters
    ----------
    history
        Losses and learning rate of each network, one value per epoch.

    Examples
    --------
    >>> history_table([{"loss": [0.5, 0.4]}, {"loss": [0.6]}]).to_pylist()[-1]
    {'network': 1, 'epoch': 0, 'loss': 0.6}
    """
    names = list(dict.fromkeys(name for h in history for name in h))
    rows = [
        {"network": k, "epoch": epoch, **dict(zip(h, values, strict=True))}
        for k, h in enumerate(history)
        for epoch, values in enumerate(zip(*h.values(), strict=True))
    ]
    return arrow_table({"network": int, "epoch": int, **dict.fromkeys(names, float)}, rows)


def flat_settings(
    settings: Mapping[str, Any], prefix: str = "", index: str = ".{}"
) -> dict[str, Any]:
    """Return the settings of nested sections as one flat dictionary.

    Parameters
    ----------
    settings
        Settings by name.  A section is a dictionary, and several sections are a list of
        dictionaries.  Lists of numbers and texts are kept as values.
    prefix
        Text at the beginning of every key.
    index
        Format of the number of a section in a list of sections.

    Examples
    --------
    >>> flat_settings({"a": {"b": 1}, "c": [{"d": 2}], "e": (1, 2)}, "m")
    {'m.a.b': 1, 'm.c.0.d': 2, 'm.e': (1, 2)}
    >>> flat_settings({"c": [{"d": 2}], "point": {}}, index="[{}]")
    {'c[0].d': 2, 'point': {}}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and value:
            flat |= flat_settings(value, key, index)
        elif isinstance(value, Sequence) and value and all(isinstance(v, Mapping) for v in value):
            for number, section in enumerate(value):
                flat |= flat_settings(section, key + index.format(number), index)
        else:
            flat[key] = value
    return flat


def flat_numbers(summary: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers of a nested summary, with their paths as keys.

    A pair of numbers gives two entries, ``low`` and ``high``.  Longer lists and texts are left out.

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
    """Return a figure as PNG, or the content of a PNG file.

    Raises
    ------
    ConfigurationError
        If the file is not a PNG file.

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
        msg = f"{figure} is not a PNG file; give a PNG file or a matplotlib figure"
        raise ConfigurationError(msg)
    return content


# Largest number of entries that MLflow accepts in one call.
_BATCH = 100


def _import_package(module: str, what: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{what} needs {module}; install it with: pip install "milinfer[{extra}]"'
        raise ConfigurationError(msg) from error


class _Run:
    """Base class of trackers that close at the end of a ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._end(failed=kind is not None)

    def close(self) -> None:
        """Finish the run and mark it as successful."""
        self._end(failed=False)

    def _end(self, *, failed: bool) -> None:
        with tracking_errors(f"{type(self).__name__}.close"):
            self._finish(failed=failed)

    def _finish(self, *, failed: bool) -> None:
        raise NotImplementedError


class TensorBoardTracker(_Run):
    """Log to event files for TensorBoard; only TensorFlow is needed to write them.

    To display the run, use ``pip install tensorboard`` and ``tensorboard --logdir FOLDER``.
    TensorBoard cannot display artefacts; they are copied to ``artifacts/`` in the folder.

    Parameters
    ----------
    folder
        Folder of this run; it is created if it does not exist.

    Raises
    ------
    TrackingError
        If milinfer cannot write to the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TensorBoardTracker(folder) as tracker:
    ...         tracker.log_metrics({"loss": 0.5}, step=0)
    ...     print(len(list(Path(folder).glob("events.out.tfevents.*"))))
    1
    """

    def __init__(self, folder: PathLikeStr) -> None:
        from milinfer.learning.networks.backend import tf

        self._tf, self.folder = tf, Path(folder)
        with tracking_errors(f"TensorBoardTracker({str(folder)!r})"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = tf.summary.create_file_writer(str(self.folder))
        self._n_texts = 0

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Write settings as a table under the tag ``parameters``, one step for each call."""
        cells = [[name, str(value)] for name, value in parameters.items()]
        self._write("parameters", cells, self._n_texts, "text", 2)
        self._n_texts += 1

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in metrics.items():
            self._write(name, self._tf.constant(value, self._tf.float32), step, "scalars", 1)
        self._writer.flush()

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Write an image."""
        png = png_bytes(figure)
        # A PNG file begins with its width and height.
        size = [str(int.from_bytes(png[i : i + 4], "big")).encode() for i in (16, 20)]
        self._write(name, [*size, png], 0, "images", 3)
        self._writer.flush()

    def log_artifact(self, path: PathLikeStr) -> None:
        """Copy a file."""
        (self.folder / "artifacts").mkdir(exist_ok=True)
        shutil.copy2(path, self.folder / "artifacts")

    def _write(self, tag: str, value: Any, step: int, plugin: str, data_class: int) -> None:
        # TensorBoard has tf.summary.scalar and similar functions; TensorFlow has what they write.
        metadata = self._tf.compat.v1.SummaryMetadata(data_class=data_class)
        metadata.plugin_data.plugin_name = plugin
        with self._writer.as_default():
            self._tf.summary.write(tag, value, step=step, metadata=metadata)

    def _finish(self, *, failed: bool) -> None:  # noqa: ARG002  # event files have no status
        self._writer.close()


class MLflowTracker(_Run):
    """Log to a run of MLflow.

    The tracker has its own MLflow client, and does not change a run that you have opened with
    ``mlflow.start_run``.  Characters that MLflow does not allow in names are replaced by ``_``.

    Parameters
    ----------
    experiment
        Name of the experiment; it is created if it does not exist.
    run
        Name of the run; default: a name that MLflow chooses.
    store
        Tracking URI: the address of a server, or a database such as ``"sqlite:///mlflow.db"``.  A
        database needs the complete MLflow package (``pip install mlflow``).  Default: the tracking
        URI in the configuration of MLflow.

    Raises
    ------
    ConfigurationError
        If MLflow is not installed.
    TrackingError
        If MLflow cannot reach the store.

    Examples
    --------
    >>> MLflowTracker("vbf", store="http://localhost:5000")  # doctest: +SKIP
    """

    def __init__(
        self, experiment: str = "milinfer", run: str | None = None, store: str | None = None
    ) -> None:
        mlflow = _import_package("mlflow", "MLflowTracker", "mlflow")
        self._entities = import_module("mlflow.entities")
        with tracking_errors(f"MLflowTracker({experiment!r}, store={store!r})"):
            self._client = mlflow.MlflowClient(tracking_uri=store)
            stored = self._client.get_experiment_by_name(experiment)
            number = (
                self._client.create_experiment(experiment)
                if stored is None
                else stored.experiment_id
            )
            self.run_id: str = self._client.create_run(number, run_name=run).info.run_id

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters; MLflow refuses a second value for the same name."""
        entries = [self._entities.Param(_mlflow_name(n), str(v)) for n, v in parameters.items()]
        for k in range(0, len(entries), _BATCH):
            self._client.log_batch(self.run_id, params=entries[k : k + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log all metrics of one step in one call."""
        now = round(1000 * time.time())
        entries = [
            self._entities.Metric(_mlflow_name(n), float(v), now, step) for n, v in metrics.items()
        ]
        for k in range(0, len(entries), _BATCH):
            self._client.log_batch(self.run_id, metrics=entries[k : k + _BATCH])

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Log a PNG file in the folder ``figures``."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{_mlflow_name(name).replace('/', '_')}.png")
            file.write_bytes(png_bytes(figure))
            self._client.log_artifact(self.run_id, str(file), "figures")

    def log_artifact(self, path: PathLikeStr) -> None:
        """Log a file."""
        self._client.log_artifact(self.run_id, str(path))

    def _finish(self, *, failed: bool) -> None:
        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def _mlflow_name(name: str) -> str:
    return re.sub(r"[^\w/.\- ]", "_", name)


class WandbTracker(_Run):
    """Log to a run of Weights & Biases.

    Parameters
    ----------
    project
        Name of the project.
    run
        Name of the run; default: a name that Weights & Biases chooses.
    folder
        Folder in which files of the run are written to ``wandb/``; default: the working directory.
    offline
        Whether to send nothing and keep all data in the folder; ``wandb sync`` sends them later.

    Raises
    ------
    ConfigurationError
        If wandb is not installed.
    TrackingError
        If the run cannot be started.

    Examples
    --------
    >>> WandbTracker("vbf", offline=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        project: str = "milinfer",
        run: str | None = None,
        folder: PathLikeStr | None = None,
        *,
        offline: bool = False,
    ) -> None:
        self._wandb = _import_package("wandb", "WandbTracker", "wandb")
        with tracking_errors(f"WandbTracker({project!r})"):
            self.run = self._wandb.init(
                project=project,
                name=run,
                dir=None if folder is None else str(folder),
                mode="offline" if offline else None,
                reinit="create_new",
                settings=self._wandb.Settings(silent=True),
            )
        self._defined_metrics: set[str] = set()

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Update the configuration of the run."""
        plain = (bool, int, float, str, type(None))
        self.run.config.update(
            {n: v if isinstance(v, plain) else str(v) for n, v in parameters.items()}
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics with ``epoch`` on the horizontal axis.

        (wandb requires that the steps of a run increase, but the epochs of every network start at
        0.)
        """
        for name in metrics.keys() - self._defined_metrics:
            self.run.define_metric(name, step_metric="epoch")
            self._defined_metrics.add(name)
        self.run.log({"epoch": step, **metrics})

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Log an image."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "figure.png")
            file.write_bytes(png_bytes(figure))
            self.run.log({f"figures/{name}": self._wandb.Image(str(file))})

    def log_artifact(self, path: PathLikeStr) -> None:
        """Log a file as an artefact with the name of the file."""
        name = re.sub(r"[^\w.\-]", "_", Path(path).name)
        artifact = self._wandb.Artifact(f"{self.run.id}-{name}", type="result")
        artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def _finish(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))
