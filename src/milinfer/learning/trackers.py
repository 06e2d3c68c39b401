"""TensorBoard, MLflow and Weights & Biases as trackers; each is imported when one is made.

All of them are context managers, which mark the run as failed if an error leaves the block.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from milinfer.exceptions import ConfigurationError
from milinfer.learning.tracking import png_bytes, tracking_errors
from milinfer.typing import PathLikeStr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MLflowTracker", "TensorBoardTracker", "WandbTracker"]

# What MLflow takes at once.
_BATCH = 100


def _imported(module: str, what: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{what} needs {module}; install it with: pip install "milinfer[{extra}]"'
        raise ConfigurationError(msg) from error


class _Run:
    """Closes at the end of a ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._end(failed=kind is not None)

    def close(self) -> None:
        """Finish the run as a success."""
        self._end(failed=False)

    def _end(self, *, failed: bool) -> None:
        with tracking_errors(f"{type(self).__name__}.close"):
            self._finish(failed=failed)

    def _finish(self, *, failed: bool) -> None:
        raise NotImplementedError


class TensorBoardTracker(_Run):
    """Event files for TensorBoard; nothing but TensorFlow is needed to write them.

    Look at them with ``pip install tensorboard`` and ``tensorboard --logdir FOLDER``.  Artefacts
    are copied to ``artifacts/`` in the folder, as TensorBoard has no place for them.

    Parameters
    ----------
    folder
        Of this run; made if it is not there.

    Raises
    ------
    TrackingError
        If the folder cannot be written to.

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
        # Width and height are at the start of every PNG file.
        size = [str(int.from_bytes(png[i : i + 4], "big")).encode() for i in (16, 20)]
        self._write(name, [*size, png], 0, "images", 3)
        self._writer.flush()

    def log_artifact(self, path: PathLikeStr) -> None:
        """Copy a file."""
        (self.folder / "artifacts").mkdir(exist_ok=True)
        shutil.copy2(path, self.folder / "artifacts")

    def _write(self, tag: str, value: Any, step: int, plugin: str, data_class: int) -> None:
        # tf.summary.scalar and its like are in TensorBoard, what they write is in TensorFlow.
        metadata = self._tf.compat.v1.SummaryMetadata(data_class=data_class)
        metadata.plugin_data.plugin_name = plugin
        with self._writer.as_default():
            self._tf.summary.write(tag, value, step=step, metadata=metadata)

    def _finish(self, *, failed: bool) -> None:  # noqa: ARG002  # event files have no status
        self._writer.close()


class MLflowTracker(_Run):
    """A run of MLflow, by its client: the run that ``mlflow.start_run`` may have open stays alone.

    Characters of names that MLflow does not allow become ``_``.

    Parameters
    ----------
    experiment
        Name of the experiment; made if it is not there.
    run
        Name of the run; default: one that MLflow makes up.
    store
        Tracking URI: a server, or a database such as ``"sqlite:///mlflow.db"``, which needs the
        whole of MLflow (``pip install mlflow``); default: as MLflow is configured.

    Raises
    ------
    ConfigurationError
        If MLflow is not installed.
    TrackingError
        If the store cannot be reached.

    Examples
    --------
    >>> MLflowTracker("vbf", store="http://localhost:5000")  # doctest: +SKIP
    """

    def __init__(
        self, experiment: str = "milinfer", run: str | None = None, store: str | None = None
    ) -> None:
        mlflow = _imported("mlflow", "MLflowTracker", "mlflow")
        self._entities = import_module("mlflow.entities")
        with tracking_errors(f"MLflowTracker({experiment!r}, store={store!r})"):
            self._client = mlflow.MlflowClient(tracking_uri=store)
            known = self._client.get_experiment_by_name(experiment)
            number = (
                self._client.create_experiment(experiment) if known is None else known.experiment_id
            )
            self.run_id: str = self._client.create_run(number, run_name=run).info.run_id

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters; MLflow refuses another value for a name that it has."""
        made = [self._entities.Param(_allowed(n), str(v)) for n, v in parameters.items()]
        for k in range(0, len(made), _BATCH):
            self._client.log_batch(self.run_id, params=made[k : k + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics, all of one step at the same time."""
        now = round(1000 * time.time())
        made = [self._entities.Metric(_allowed(n), float(v), now, step) for n, v in metrics.items()]
        for k in range(0, len(made), _BATCH):
            self._client.log_batch(self.run_id, metrics=made[k : k + _BATCH])

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Log a PNG file in the folder ``figures``."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{_allowed(name).replace('/', '_')}.png")
            file.write_bytes(png_bytes(figure))
            self._client.log_artifact(self.run_id, str(file), "figures")

    def log_artifact(self, path: PathLikeStr) -> None:
        """Log a file."""
        self._client.log_artifact(self.run_id, str(path))

    def _finish(self, *, failed: bool) -> None:
        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def _allowed(name: str) -> str:
    return re.sub(r"[^\w/.\- ]", "_", name)


class WandbTracker(_Run):
    """A run of Weights & Biases.

    Parameters
    ----------
    project
        Name of the project.
    run
        Name of the run; default: one that Weights & Biases makes up.
    folder
        Where its files go, in ``wandb/``; default: the working directory.
    offline
        Keep everything in the folder, and send nothing; ``wandb sync`` does so later.

    Raises
    ------
    ConfigurationError
        If wandb is not installed.
    TrackingError
        If the run cannot begin.

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
        self._wandb = _imported("wandb", "WandbTracker", "wandb")
        with tracking_errors(f"WandbTracker({project!r})"):
            self.run = self._wandb.init(
                project=project,
                name=run,
                dir=None if folder is None else str(folder),
                mode="offline" if offline else None,
                reinit="create_new",
                settings=self._wandb.Settings(silent=True),
            )
        self._known: set[str] = set()

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Update the configuration of the run."""
        plain = (bool, int, float, str, type(None))
        self.run.config.update(
            {n: v if isinstance(v, plain) else str(v) for n, v in parameters.items()}
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics against ``epoch``.

        Steps of the run itself only grow, and networks are trained one after the other.
        """
        for name in metrics.keys() - self._known:
            self.run.define_metric(name, step_metric="epoch")
            self._known.add(name)
        self.run.log({"epoch": step, **metrics})

    def log_figure(self, name: str, figure: Figure | PathLikeStr) -> None:
        """Log an image."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "figure.png")
            file.write_bytes(png_bytes(figure))
            self.run.log({f"figures/{name}": self._wandb.Image(str(file))})

    def log_artifact(self, path: PathLikeStr) -> None:
        """Log a file as an artefact of its name."""
        name = re.sub(r"[^\w.\-]", "_", Path(path).name)
        artifact = self._wandb.Artifact(f"{self.run.id}-{name}", type="result")
        artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def _finish(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))
