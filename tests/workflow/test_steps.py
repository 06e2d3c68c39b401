"""Steps are done again if, and only if, something they depend on has changed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from milinfer.exceptions import ConfigurationError
from milinfer.utils.files import file_hash
from milinfer.workflow.steps import Step, Steps, content_hash


@pytest.fixture
def write(tmp_path):
    """A step that writes a file and counts how often."""
    calls = []

    def step(depends, text="a"):
        def run():
            calls.append(1)
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out" / "a.txt").write_text(text)
            return "written"

        return Step("write", depends, ("out",), run)

    return Steps(tmp_path), step, calls


def test_a_step_that_is_done_stays_done(write):
    steps, step, _ = write
    assert steps.state(step({"n": 1})).kind == "new"
    assert steps.execute(step({"n": 1})) == "written"
    assert Steps(steps.folder).state(step({"n": 1})) == ("done", "")


def test_what_has_changed_is_named(write):
    steps, step, _ = write
    steps.execute(step({"n": 1, "seed": 2, "points": (1.0, 2.0)}))
    assert steps.state(step({"n": 1, "seed": 2, "points": [1.0, 2.0]})).kind == "done"
    assert steps.state(step({"n": 3, "more": 1, "points": (1.0, 2.0)})) == (
        "changed",
        "more, n, seed",
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.unlink(), "out/a.txt is gone"),
        (lambda f: f.write_text("b"), "out/a.txt is not as it was written"),
    ],
)
def test_damaged_results_are_seen(write, damage, words):
    steps, step, _ = write
    steps.execute(step({}))
    damage(steps.folder / "out" / "a.txt")
    assert steps.state(step({})) == ("damaged", words)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"depends": 1'])
def test_damaged_records_are_seen(write, text):
    steps, step, _ = write
    steps.execute(step({}))
    (steps.folder / "steps" / "write.json").write_text(text)
    state = steps.state(step({}))
    assert state.kind == "damaged"
    assert "write.json" in state.why


def test_a_step_that_fails_has_no_record(write):
    steps, step, _ = write
    steps.execute(step({}))

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps.execute(Step("write", {}, ("out",), fail))
    assert steps.state(step({})).kind == "new"


def test_a_step_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"was to write .*nothing\.txt"):
        Steps(tmp_path).execute(Step("idle", {}, ("nothing.txt",), lambda: ""))


def test_an_empty_folder_is_a_result(tmp_path):
    """Regression: no model could be calibrated, and the run ended with an error after all work."""

    def run():
        (tmp_path / "calibrations").mkdir()
        return "nothing to write"

    step = Step("inference", {}, ("calibrations",), run)
    assert Steps(tmp_path).execute(step) == "nothing to write"
    assert Steps(tmp_path).state(step) == ("done", "")


def test_two_runs_in_one_folder_are_refused(tmp_path):
    code = (
        "import sys\nfrom milinfer.workflow.steps import Steps\n"
        f"with Steps({str(tmp_path)!r}).locked():\n"
        "    print('in', flush=True)\n    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    with (
        pytest.raises(ConfigurationError, match=f"process {other.pid}"),
        Steps(tmp_path).locked(),
    ):
        pass
    other.kill()
    other.communicate()
    with Steps(tmp_path).locked():  # the lock of a run that was killed is gone
        pass


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    (tmp_path / "b").write_bytes(b"abc" * 999_999 + b"abd")
    assert file_hash(tmp_path / "a") != file_hash(tmp_path / "b")
    assert content_hash(json.loads('{"a": [1, 2.5], "b": null}')) == content_hash(
        {"b": None, "a": (1, 2.5)}
    )
