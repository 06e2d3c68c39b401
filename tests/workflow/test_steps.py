"""Steps are done again if, and only if, something they depend on has changed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys

import pytest

from milinfer.exceptions import ConfigurationError, MilinferWarning
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
        (lambda f: f.unlink(), "out/a.txt is missing"),
        (lambda f: f.write_text("b"), "out/a.txt has changed since it was written"),
    ],
)
def test_damaged_results_are_seen(write, damage, words):
    steps, step, _ = write
    steps.execute(step({}))
    damage(steps.folder / "out" / "a.txt")
    assert steps.state(step({})) == ("damaged", words)


RECORD = {"depends": {}, "files": {}, "done": "x", "seconds": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"depends": 1',
        # Regression: valid JSON of wrong types was an AttributeError.
        "null",
        *(
            json.dumps(RECORD | {name: value})
            for name in RECORD
            for value in (None, [], [1], True, {"a": 1})
            if (name, value) not in [("depends", {"a": 1}), ("seconds", True)]
        ),
        json.dumps({k: v for k, v in RECORD.items() if k != "seconds"}),
        "1" * 5000,
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_damaged_records_are_seen(write, text):
    steps, step, calls = write
    steps.execute(step({}))
    record = steps.folder / "steps" / "write.json"
    record.write_bytes(text if isinstance(text, bytes) else text.encode())
    state = steps.state(step({}))
    assert state.kind == "damaged"
    assert "write.json" in state.why
    steps.execute(step({}))
    assert len(calls) == 2
    assert steps.state(step({})).kind == "done"


@pytest.mark.parametrize("name", ["out", "a" * 5000, "a\0b", "../out/absent"])
def test_a_record_without_its_files_is_seen(write, name):
    steps, step, _ = write
    steps.execute(step({}))
    files = {} if name == "out" else {name: "0" * 64}
    (steps.folder / "steps" / "write.json").write_text(json.dumps(RECORD | {"files": files}))
    shutil.rmtree(steps.folder / "out")
    assert steps.state(step({})) == ("damaged", f"{name} is missing")


def test_a_folder_in_the_place_of_a_record_is_named(write):
    """Regression: an OSError, after which nothing said what to do."""
    steps, step, calls = write
    record = steps.folder / "steps" / "write.json"
    record.mkdir(parents=True)
    assert steps.state(step({})) == ("damaged", f"{record} is not a record of a step")
    with pytest.raises(ConfigurationError, match=r"write\.json is a folder, .*; move the folder"):
        steps.execute(step({}))
    record.rmdir()
    record.parent.rmdir()
    record.parent.write_text("")
    assert steps.state(step({})).kind == "new"
    with pytest.raises(
        ConfigurationError, match=r"steps cannot be a folder of records: .*move the file"
    ):
        steps.execute(step({}))
    assert not calls


def test_a_link_that_leads_nowhere_is_no_file(tmp_path):
    """Regression: a file was said to have its name."""
    for to, why in (
        ("nowhere/x", "link to nowhere/x, which does not exist"),
        ("loop", "link to loop"),
    ):
        folder = tmp_path / "loop"
        folder.symlink_to(to)
        with (
            pytest.raises(ConfigurationError, match=f"loop cannot be a folder .*: it is a {why}"),
            Steps(folder).locked(),
        ):
            pass
        folder.unlink()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, number):
    """Regression: no run was possible on such file systems, such as Lustre without flock."""

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.warns(MilinferWarning, match=f"of {tmp_path} has no locks, .*one at a time"),
        Steps(tmp_path).locked(),
    ):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_full_disk_names_the_lock(tmp_path):
    """Regression: the message named no file.  A limit on sizes stands for the disk."""
    code = (
        "import resource, signal\nfrom milinfer.workflow.steps import Steps\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        f"with Steps({str(tmp_path)!r}).locked():\n    pass\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1].endswith(f"File too large: '{tmp_path / '.lock'}'")


def test_a_step_that_fails_has_no_record(write):
    steps, step, _ = write
    steps.execute(step({}))

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps.execute(Step("write", {}, ("out",), fail))
    assert steps.state(step({})).kind == "new"


def test_a_step_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"did not write its file .*nothing\.txt"):
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
