"""Trackers hear everything, change nothing, and say so when they fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, ModelError, TrackingError
from milinfer.learning.networks.training import TrainingConfig
from milinfer.learning.tracking import (
    GuardedTracker,
    Tracker,
    flat_numbers,
    flat_settings,
    log_training,
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
    bag_size=5, ensemble=2, seed=3, training=TrainingConfig(epochs=3, batch_events=200)
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
    with pytest.raises(ConfigurationError, match=r"a\.svg is no PNG"):
        png_bytes(tmp_path / "a.svg")


NAMES = st.sampled_from(["a", "b", "interval68"])
NUMBERS = st.none() | st.booleans() | st.integers(-99, 99) | st.floats() | st.just("words")
VALUES = NUMBERS | st.lists(NUMBERS, max_size=3) | st.dictionaries(NAMES, NUMBERS)


@given(st.dictionaries(NAMES, VALUES))
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
