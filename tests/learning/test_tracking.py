"""Trackers hear everything, change nothing, and say so when they fail."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, ModelError, TrackingError
from milinfer.learning.bag_likelihood import log_training
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.learning.tracking import (
    GuardedTracker,
    MLflowTracker,
    TensorBoardTracker,
    Tracker,
    WandbTracker,
    flat_numbers,
    flat_settings,
    png_bytes,
)


class Memory:
    """Keeps what it is told."""

    def __init__(self):
        self.parameters, self.metrics, self.figures, self.files = {}, [], [], []
        self.closed = 0

    def log_parameters(self, parameters):
        self.parameters |= parameters

    def log_metrics(self, metrics, step):
        self.metrics.append((step, dict(metrics)))

    def log_figure(self, name, figure):
        self.figures.append((name, png_bytes(figure)))

    def log_artifact(self, path):
        self.files.append(str(path))

    def close(self):
        self.closed += 1


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(400, [-0.5, 0.0, 0.5], seed=1)


MODEL = mil.BagLikelihood(
    head="multiclass",
    bag_size=5,
    ensemble=2,
    seed=3,
    training=TrainingConfig(epochs=3, batch_events=200),
)


@pytest.fixture(scope="module")
def tracked(samples):
    tracker = Memory()
    return MODEL.fit(samples, tracker=tracker), tracker


def test_every_epoch_of_every_network_is_logged(tracked):
    model, tracker = tracked
    logged = {}
    for step, metrics in tracker.metrics:
        for name, value in metrics.items():
            logged.setdefault(name, []).append((step, value))
    expected = {
        f"multiclass/{name}/network_{k}": list(enumerate(values))
        for k, history in enumerate(model.fitted.history)
        for name, values in history.items()
    }
    assert logged == expected
    assert len(expected) == 6
    assert tracker.closed == 0


def test_settings_are_logged_as_they_are_used(tracked):
    _, tracker = tracked
    assert tracker.parameters["multiclass.seed"] == 3
    assert tracker.parameters["multiclass.degree"] == 2  # "auto" for three points
    assert tracker.parameters["multiclass.training.epochs"] == 3
    assert tracker.parameters["multiclass.network.hidden"] == (64, 64, 64)


def test_tracking_changes_no_weight(samples, tracked):
    assert MODEL.fit(samples).digest == tracked[0].digest


def test_reports_come_while_training_goes_on(samples):
    order = []

    class Live(Memory):
        def log_metrics(self, metrics, step):  # noqa: ARG002
            order.append(("tracker", step))

    one = replace(MODEL, ensemble=1)
    one.fit(samples, tracker=Live(), on_epoch=lambda r: order.append(("callback", r.epoch)))
    assert order == [(who, epoch) for epoch in range(3) for who in ("callback", "tracker")]


def test_a_trained_model_logs_the_same(tracked):
    model, live = tracked
    later = Memory()
    log_training(later, model)
    assert later.metrics == live.metrics
    assert later.parameters.keys() == live.parameters.keys()
    with pytest.raises(ModelError, match="not trained"):
        log_training(Memory(), MODEL)


def test_a_failing_tracker_stops_the_training(samples):
    class Full(Memory):
        def log_metrics(self, metrics, step):  # noqa: ARG002
            raise OSError("disk full")

    with pytest.raises(TrackingError, match=r"Full\.log_metrics failed: OSError: disk full"):
        MODEL.fit(samples, tracker=Full())


def test_what_is_no_tracker_is_refused_before_training(samples):
    with pytest.raises(ConfigurationError, match="has no log_parameters, log_metrics"):
        MODEL.fit(samples, tracker=print)


def test_errors_of_milinfer_pass_the_guard():
    class Picky(Memory):
        def log_artifact(self, path):  # noqa: ARG002
            msg = "no files"
            raise ConfigurationError(msg)

    with pytest.raises(ConfigurationError, match="no files"):
        GuardedTracker(Picky()).log_artifact("a")


def test_a_guard_hands_everything_on(tmp_path):
    memory = Memory()
    guarded = GuardedTracker(memory)
    assert isinstance(guarded, Tracker)
    guarded.log_parameters({"a": 1})
    guarded.log_metrics({"b": 2.0}, 3)
    guarded.log_figure("f", Figure())
    guarded.log_artifact(tmp_path)
    guarded.close()
    assert (memory.parameters, memory.metrics) == ({"a": 1}, [(3, {"b": 2.0})])
    assert memory.figures[0][0] == "f"
    assert (memory.files, memory.closed) == ([str(tmp_path)], 1)


def test_only_png_files_are_figures(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    with pytest.raises(ConfigurationError, match=r"a\.svg is not a PNG"):
        png_bytes(tmp_path / "a.svg")


NAMES = st.sampled_from(["a", "b", "interval68"])
NUMBERS = st.none() | st.booleans() | st.integers(-99, 99) | st.floats() | st.just("words")
VALUES = NUMBERS | st.lists(NUMBERS, max_size=3) | st.dictionaries(NAMES, NUMBERS, max_size=2)


@given(st.dictionaries(NAMES, VALUES, max_size=2))
def test_flat_numbers_are_finite_and_flat(summary):
    for name, value in flat_numbers(summary).items():
        assert isinstance(value, float)
        assert abs(value) < float("inf")
        assert name


@given(
    st.dictionaries(
        st.text("ab", min_size=1), st.dictionaries(st.text("ab", min_size=1), st.integers())
    )
)
def test_flat_settings_lose_nothing(settings):
    flat = flat_settings(settings, "m")
    inside = {f"m.{a}.{b}": v for a, inner in settings.items() for b, v in inner.items()}
    assert {k: v for k, v in flat.items() if v != {}} == inside


def test_numbers_of_a_summary():
    summary = json.loads('{"a": {"interval68": [-1, 2], "name": "x", "ok": true, "n": [1, 2, 3]}}')
    assert flat_numbers(summary, "s") == {"s/a/interval68/low": -1.0, "s/a/interval68/high": 2.0}


def figure():
    made = Figure(figsize=(2, 1))
    made.add_subplot().plot([0, 1])
    return made


def tell(tracker, tmp_path):
    """The same to every tracker."""
    assert isinstance(tracker, Tracker)
    guarded = GuardedTracker(tracker)
    guarded.log_parameters({"m.head": "multiclass", "m.hidden": (64, 64), "m.label": None})
    guarded.log_parameters({f"many.{k}": k for k in range(250)})
    for network in range(2):
        for epoch in range(3):
            guarded.log_metrics({f"m/loss/network_{network}": network + 0.5**epoch}, epoch)
    guarded.log_figure("coverage", figure())
    (tmp_path / "summary.json").write_text("{}")
    guarded.log_artifact(tmp_path / "summary.json")


@pytest.fixture
def events(tmp_path):
    """Values by tag and step, from the event file of a TensorBoardTracker."""
    from milinfer.learning.networks.backend import tf

    with TensorBoardTracker(tmp_path / "run") as tracker:
        tell(tracker, tmp_path)
    (file,) = (tmp_path / "run").glob("events.out.tfevents.*")
    found = {}
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            found[value.tag, event.step] = (plugin, tf.make_ndarray(value.tensor))
    return found


def test_tensorboard_has_every_number(events, tmp_path):
    for network in range(2):
        for epoch in range(3):
            plugin, value = events[f"m/loss/network_{network}", epoch]
            assert (plugin, float(value)) == ("scalars", network + 0.5**epoch)
    plugin, cells = events["parameters", 0]
    assert plugin == "text"
    assert dict(cells.tolist()) == {
        b"m.head": b"multiclass",
        b"m.hidden": b"(64, 64)",
        b"m.label": b"None",
    }
    assert events["parameters", 1][1].shape == (250, 2)
    plugin, (width, height, png) = events["coverage", 0]
    assert (plugin, width, height) == ("images", b"300", b"150")
    assert png.startswith(b"\x89PNG")
    assert (tmp_path / "run" / "artifacts" / "summary.json").read_text() == "{}"


def test_tensorboard_itself_reads_it(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    with TensorBoardTracker(tmp_path / "run") as tracker:
        tell(tracker, tmp_path)
    read = EventAccumulator(str(tmp_path / "run")).Reload()
    scalars = [float(make_ndarray(e.tensor_proto)) for e in read.Tensors("m/loss/network_1")]
    assert scalars == [2.0, 1.5, 1.25]


def test_tensorboard_shows_numbers_before_the_end(tmp_path):
    from milinfer.learning.networks.backend import tf

    tracker = TensorBoardTracker(tmp_path)
    tracker.log_metrics({"loss": 0.5}, 0)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    assert len(list(tf.data.TFRecordDataset(str(file)))) == 2  # its version, and the loss
    tracker.close()


@pytest.fixture
def store(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.filterwarnings("default")  # MLflow uses what SQLAlchemy has deprecated
def test_mlflow_has_every_number(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # artefacts of a database are beside the process
    from mlflow import MlflowClient

    with MLflowTracker("vbf", "first", store) as tracker:
        tell(tracker, tmp_path)
        tracker.log_metrics({"a+b": 1.0}, 0)
    client = MlflowClient(tracking_uri=store)
    run = client.get_run(tracker.run_id)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == "vbf"
    assert run.data.params["m.hidden"] == "(64, 64)"
    assert len(run.data.params) == 253
    for network in range(2):
        history = client.get_metric_history(tracker.run_id, f"m/loss/network_{network}")
        assert [(m.step, m.value) for m in history] == [
            (epoch, network + 0.5**epoch) for epoch in range(3)
        ]
    assert run.data.metrics["a_b"] == 1.0
    files = {f.path for f in client.list_artifacts(tracker.run_id)}
    assert files == {"figures", "summary.json"}
    (drawn,) = client.list_artifacts(tracker.run_id, "figures")
    assert drawn.path == "figures/coverage.png"


@pytest.mark.filterwarnings("default")  # as above
def test_mlflow_says_which_run_failed(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from mlflow import MlflowClient

    def fails():
        with MLflowTracker("vbf", store=store) as made:
            runs.append(made.run_id)
            raise ValueError

    runs = []
    with pytest.raises(ValueError):  # noqa: PT011  # our own
        fails()
    assert MlflowClient(tracking_uri=store).get_run(runs[0]).info.status == "FAILED"


def wandb_records(file):
    """Records of a ``.wandb`` file, which is a LevelDB log behind a header of seven bytes."""
    content, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:  # no chunk begins so close to the end of a block
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_wandb_has_every_number(tmp_path):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    with WandbTracker("vbf", "first", tmp_path, offline=True) as tracker:
        tell(tracker, tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    records, until = [], time.monotonic() + 60
    # The service of wandb writes when the run is finished already.
    while not any(r.WhichOneof("record_type") == "exit" for r in records):
        assert time.monotonic() < until, "wandb has not written the end of the run"
        time.sleep(0.1)
        records = [wandb_internal_pb2.Record.FromString(r) for r in wandb_records(file)]
    rows = [
        {i.key or "/".join(i.nested_key): i.value_json for i in r.history.item}
        for r in records
        if r.WhichOneof("record_type") == "history"
    ]
    for network in range(2):
        name = f"m/loss/network_{network}"
        logged = {int(r["epoch"]): float(r[name]) for r in rows if name in r}
        assert logged == {epoch: network + 0.5**epoch for epoch in range(3)}
    settings = {
        i.key or ".".join(i.nested_key): i.value_json for r in records for i in r.config.update
    }
    assert settings["m.head"] == '"multiclass"'
    assert settings["m.hidden"] == '"(64, 64)"'
    assert settings["many.249"] == "249"
    (run,) = {r.run.display_name for r in records if r.WhichOneof("record_type") == "run"}
    assert run == "first"
    artifacts = [r.artifact for r in records if r.WhichOneof("record_type") == "artifact"]
    artifacts += [r.request.log_artifact.artifact for r in records]
    contents = [c.path for a in artifacts for c in a.manifest.contents]
    assert "summary.json" in contents
    (drawn,) = tmp_path.glob("wandb/offline-run-*/files/media/images/**/*.png")
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [("mlflow", MLflowTracker, "mlflow"), ("wandb", WandbTracker, "wandb")],
)
def test_what_is_not_installed_is_named(monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf'pip install "milinfer\[{extra}\]"'):
        make("vbf")


def test_values_are_those_of_floats(tmp_path):
    """Scalars of event files are float32: what is read back is the nearest of these."""
    from milinfer.learning.networks.backend import tf

    value = 1.0 + 1e-9
    with TensorBoardTracker(tmp_path) as tracker:
        tracker.log_metrics({"a": value}, 0)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    *_, last = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    event = tf.compat.v1.Event.FromString(last)
    assert tf.make_ndarray(event.summary.value[0].tensor) == np.float32(value)


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match=r"TensorBoardTracker\('.*file/run'\) failed"):
        TensorBoardTracker(tmp_path / "file" / "run")


def test_a_store_of_mlflow_that_cannot_be_is_named(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(TrackingError, match=r"MLflowTracker\('vbf', store='odd://here'\) failed"):
        MLflowTracker("vbf", store="odd://here")
