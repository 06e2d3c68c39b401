"""A whole analysis from its configuration: cached, resumed, and equal to an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import gaussian
from milinfer.exceptions import MilinferError, MilinferWarning, TrackingError

pytestmark = [
    # Pools of few events, which make a test short; that they are small is tested elsewhere.
    pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning"),
    pytest.mark.usefixtures("one_picture"),
]

VALUES = (-1.0, 0.0, 1.0)
CONFIGURATION = """
[analysis]
title = "A mean & its <error>"
[samples]
features = ["x0", "x1"]
[[samples.train]]
path = "mc/*.parquet"
[data]
path = "data.parquet"
[[model]]
head = "multiclass"
bag_size = 10
epochs = 4
[toys]
number = 200
[templates]
observable = "x0"
bins = 4
degree = 2
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "mc").mkdir()
    for k, sample in enumerate(gaussian.samples(4000, VALUES, seed=1, n_features=2)):
        sample.to_file(folder / "mc" / f"mu{k}.parquet")
    gaussian.generate(300, 0.1, seed=9, n_features=2).to_file(folder / "data.parquet")
    return folder


def copy(inputs, folder, text=CONFIGURATION):
    (folder / "mc").symlink_to(inputs / "mc")
    (folder / "data.parquet").symlink_to(inputs / "data.parquet")
    file = folder / "analysis.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """A run that nobody stopped."""
    file = copy(inputs, tmp_path_factory.mktemp("finished"))
    lines = []
    summary = mil.run_analysis(file, echo=lines.append)
    return file, summary, lines


def states(file):
    return {s.step.name.split("-")[0]: s.state for s in mil.plan_analysis(file).planned()}


def figures(folder):
    """All figures of a summary; there are no times in it."""
    return json.loads((folder / "results" / "summary.json").read_text(encoding="utf-8"))


def test_a_run_leaves_what_it_promises(finished):
    file, summary, lines = finished
    out = file.parent / "results"
    assert {"multiclass", "pyhf"} <= summary.keys()
    assert summary == figures(file.parent)
    assert len(lines) == 6
    assert sum("4000 events in, 4000 out, 0 rejected" in line for line in lines) == 3
    assert mil.BagLikelihood.load(out / "models" / "multiclass").name == "multiclass"
    assert (out / "calibrations" / "multiclass.json").is_file()
    assert not (out / "belts").exists()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "A mean &amp; its &lt;error&gt;" in page
    assert "Truth:" not in page
    assert "compared at mu = 0" in page


def test_nothing_is_done_twice(finished):
    file, summary, _ = finished
    lines = []
    assert mil.run_analysis(file, echo=lines.append) == summary
    assert [line.split()[-2:] for line in lines] == [["done", "before"]] * 6


def test_only_what_depends_on_a_change_is_done_again(finished):
    file, _, _ = finished
    text = file.read_text(encoding="utf-8")
    try:
        file.write_text(text.replace("number = 200", "number = 300"), encoding="utf-8")
        found = states(file)
        assert (found["features"].kind, found["train"].kind) == ("done", "done")
        assert found["inference"] == ("changed", "toys.number")
        file.write_text(text.replace("epochs = 4", "epochs = 5"), encoding="utf-8")
        found = states(file)
        assert found["train"] == ("changed", "model.epochs")
        assert found["inference"] == ("changed", "model multiclass")
    finally:
        file.write_text(text, encoding="utf-8")
    assert all(state.kind == "done" for state in states(file).values())


def test_a_changed_input_is_seen(inputs, tmp_path):
    file = copy(inputs, tmp_path)
    before = [s.step.name for s in mil.plan_analysis(file).planned()]
    (tmp_path / "data.parquet").unlink()
    gaussian.generate(100, 0.2, seed=9, n_features=2).to_file(tmp_path / "data.parquet")
    after = [s.step.name for s in mil.plan_analysis(file).planned()]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True] * 3 + [False] + [True] * 2


def test_damage_is_repaired(finished):
    file, summary, _ = finished
    out = file.parent / "results"
    whole = {
        path: path.read_bytes()
        for path in (next((out / "features").glob("mu1-*")), out / "models/multiclass/model.json")
    }
    for path, content in whole.items():
        path.write_bytes(content[:-10])
    found = mil.plan_analysis(file).planned()
    assert [s.state.kind for s in found].count("damaged") == 2
    assert found[-1].state.kind == "done"
    features, model = whole
    model.write_bytes(whole[model])
    lines = []
    assert mil.run_analysis(file, echo=lines.append) == summary
    assert sum("done before" in line for line in lines) == 5
    assert features.read_bytes() == whole[features]


def without_times(value):
    """Without what is of one run: its times, and which of its steps were done before."""
    if isinstance(value, dict):
        return {
            k: without_times(v)
            for k, v in value.items()
            if not k.endswith("seconds") and k != "run"
        }
    return value


def test_a_result_says_where_it_comes_from(finished):
    file, summary, _ = finished
    facts = summary["provenance"]
    inputs = {i["path"]: i for i in facts["inputs"]}
    assert set(inputs) == {"mc/mu0.parquet", "mc/mu1.parquet", "mc/mu2.parquet", "data.parquet"}
    for name, found in inputs.items():
        content = (file.parent / name).read_bytes()
        assert found["sha256"] == hashlib.sha256(content).hexdigest()
        assert found["n_bytes"] == len(content)
        assert found["n_events"] == (300 if name == "data.parquet" else 4000)
    assert inputs["data.parquet"]["role"] == "data"
    assert facts["configuration"]["toys"]["number"] == 200
    assert facts["seeds"]["splits of samples"] == facts["seed"] == 1
    steps = facts["run"]["steps"]
    assert [s["state"] for s in steps] == ["run"] * 6
    assert steps[-1]["name"] == "inference"
    assert facts["run"]["seconds"] == pytest.approx(sum(s["seconds"] for s in steps))
    sources = {s["role"]: s["source"] for s in facts["samples"]}
    assert sources["data"] == "milinfer.datasets.gaussian, seed 9"
    page = (file.parent / "results" / "report.html").read_text(encoding="utf-8")
    assert all(i["sha256"] in page for i in facts["inputs"])
    assert "templates" in sources


# Runs each line as a command, in a process of its own; where a function is called for the nth time,
# that process kills itself.  What they need is imported once.
# Nothing is drawn, as in the runs of this process.
FORKS = """
import importlib, json, os, signal, sys
from milinfer.cli import main
from milinfer.toys import toys
from milinfer.workflow import analysis, report, run

report.draw_figures = lambda _: {}

def dies_within(name, call):
    module, _, function = name.rpartition(".")
    owner = importlib.import_module(module)
    inside, calls = getattr(owner, function), []
    def deadly(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return inside(*args, **kwargs)
    setattr(owner, function, deadly)

for line in sys.stdin:
    arguments, deadly = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        dies_within(*deadly)
        sys.argv = ["milinfer", *arguments]
        try:
            main()
        finally:
            sys.stderr.flush()
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Runs a command; returns its exit status and its output."""
    printed = tmp_path_factory.mktemp("forks") / "printed"
    with (
        printed.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as forks,
    ):

        def start(*arguments, deadly):
            forks.stdin.write(json.dumps([arguments, deadly]) + "\n")
            forks.stdin.flush()
            return int(forks.stdout.readline()), printed.read_text()

        yield start
        forks.stdin.close()


@pytest.mark.early
def test_a_run_that_was_killed_goes_on(finished, start, tmp_path):
    """A kill costs its step alone, and the result is that of a run that was not, to the last digit.

    What such a run has left is not a result.
    """
    whole, summary, _ = finished
    folder = tmp_path / "copy"
    shutil.copytree(whole.parent, folder, symlinks=True)
    file, results = folder / whole.name, folder / "results"
    (record,) = (results / "steps").glob("features-mu1-*")
    for step in (record, results / "steps" / "inference.json"):
        step.unlink()
    assert [s.state.kind for s in mil.plan_analysis(file).planned()].count("new") == 2
    # While it throws toys; when half of the results are in their places.
    for deadly in (("milinfer.toys.toys.throw", 2), ("milinfer.workflow.run._put", 3)):
        status, printed = start("run", str(file), deadly=deadly)
        assert status == -signal.SIGKILL, printed
        found = mil.plan_analysis(file).planned()
        assert [s.state.kind for s in found] == ["done"] * 5 + ["new"]
    assert [p for p in results.iterdir() if p.name.startswith(".results-")]
    resumed = mil.run_analysis(file)
    assert without_times(resumed) == without_times(summary)
    run = resumed["provenance"]["run"]
    assert [s["state"] for s in run["steps"]] == ["cached"] * 5 + ["run"]
    assert run["seconds"] == run["steps"][-1]["seconds"] > 0
    names = [{p.name for p in out.iterdir()} for out in (results, whole.parent / "results")]
    assert names[0] == names[1]
    assert not [p for p in folder.rglob(".*") if p.name != ".lock"]


def test_a_model_that_cannot_be_calibrated_does_not_fail_the_run(finished, tmp_path):
    """Regression: it ended with code 2 after all work, because calibrations/ was empty."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0].parent, folder, symlinks=True)
    file = folder / finished[0].name
    # Toys at the ends of the range have their maximum there.
    text = CONFIGURATION.replace("[toys]\n", "[toys]\ncalibrate_at = [-1.0, 0.0, 1.0]\n")
    file.write_text(text, encoding="utf-8")
    figures_file = tmp_path / "s.json"
    with pytest.warns(MilinferWarning, match="multiclass: not calibrated: "):
        shown = CliRunner().invoke(cli, ["run", str(file), "--json", str(figures_file)])
    assert shown.exit_code == 0, shown.output
    (problem,) = json.loads(figures_file.read_text("utf-8"))["multiclass"]["problems"]
    assert problem.startswith("not calibrated: ")
    page = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "not calibrated: " in page
    assert list((folder / "results" / "calibrations").iterdir()) == []
    assert states(file)["inference"].kind == "done"


def test_the_commands(finished, inputs, tmp_path):
    file, summary, _ = finished
    runner = CliRunner()
    shown = runner.invoke(cli, ["run", str(file), "--json", str(tmp_path / "s.json")])
    assert shown.exit_code == 0, shown.output
    assert "report.html" in shown.output
    assert json.loads((tmp_path / "s.json").read_text("utf-8"))["poi"] == summary["poi"]
    dry = runner.invoke(cli, ["run", str(copy(inputs, tmp_path)), "--dry-run"])
    assert dry.exit_code == 0
    assert dry.output.count("to do") == 6
    assert not (tmp_path / "results").exists()
    told = runner.invoke(cli, ["inspect", str(file)])
    assert "split off train" in told.output
    made = runner.invoke(cli, ["init", str(tmp_path / "new.toml")])
    assert made.exit_code == 0
    assert mil.AnalysisConfig.from_file(tmp_path / "new.toml").model[0].head == "polynomial"


def test_flat_files_of_others(inputs, tmp_path):
    """Columns with weights and trees of other names, whose cross-section the configuration says."""
    import uproot

    file = copy(inputs, tmp_path)
    blocks = []
    for k, path in enumerate(sorted((tmp_path / "mc").glob("*.parquet"))):
        sample = mil.Sample.from_file(path)
        columns = {n: sample.column(n) for n in sample.feature_names}
        with uproot.recreate(tmp_path / f"{k}.root") as out:
            out["events"] = columns | {"w": sample.weights}
        mu = sample.point["mu"]
        blocks.append(
            f'[[samples.train]]\npath = "{k}.root"\npoint = {{ mu = {mu} }}\n'
            'cross_section = 0.5\nweight = "w"\ntree = "events"\n'
        )
    text = CONFIGURATION.replace('[[samples.train]]\npath = "mc/*.parquet"\n', "".join(blocks))
    file.write_text(text, encoding="utf-8")
    plan = mil.plan_analysis(file)
    for step, _ in plan.planned()[:3]:
        plan.execute(step)
    found = [mil.Sample.from_file(p) for p in (tmp_path / "results" / "features").iterdir()]
    assert {s.cross_section for s in found} == {0.5}
    assert sorted(s.point["mu"] for s in found) == list(VALUES)


def test_errors_of_steps_come_through(inputs, tmp_path):
    text = CONFIGURATION.replace('"x0", "x1"', '"x0", "y"')
    with pytest.raises(MilinferError, match="y"):
        mil.run_analysis(copy(inputs, tmp_path, text))
    assert not list((tmp_path / "results" / "features").glob("*"))


class Memory:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.parameters, self.metrics, self.figures, self.files = {}, {}, [], []

    def log_parameters(self, parameters):
        self.parameters |= parameters

    def log_metrics(self, metrics, step):
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append((step, value))

    def log_figure(self, name, figure):
        assert figure.suffix == ".png"
        self.figures.append(name)

    def log_artifact(self, path):
        self.files.append(path.name)

    def close(self):
        raise AssertionError("a tracker that was handed over stays open")


def test_a_tracker_hears_of_everything_and_changes_nothing(inputs, finished, tmp_path):
    file = copy(inputs, tmp_path)
    tracker = Memory()
    summary = mil.run_analysis(file, tracker=tracker)
    assert without_times(summary) == without_times(finished[1])
    losses = tracker.metrics["multiclass/val_loss/network_0"]
    history = mil.BagLikelihood.load(tmp_path / "results/models/multiclass").fitted.history
    assert losses == list(enumerate(history[0]["val_loss"]))
    estimate = summary["multiclass"]["interval68"]
    assert tracker.metrics["summary/multiclass/interval68/low"] == [(0, estimate[0])]
    assert tracker.metrics["summary/pyhf/coverage68"] == [(0, summary["pyhf"]["coverage68"])]
    assert tracker.parameters["analysis.toys.number"] == 200
    assert tracker.parameters["analysis.samples.train.0.path"] == "mc/*.parquet"
    assert tracker.parameters["multiclass.training.epochs"] == 4
    assert set(tracker.figures) == {p.stem for p in (tmp_path / "results/plots").glob("*.png")}
    assert tracker.files == ["summary.json", "report.html"]
    # A run that finds everything done tells a tracker the same.
    again = Memory()
    mil.run_analysis(file, tracker=again)
    assert (again.metrics, again.figures) == (tracker.metrics, tracker.figures)


def test_the_configuration_names_a_tracker(finished):
    file, summary, _ = finished
    text = file.read_text(encoding="utf-8")
    try:
        section = '[tracking]\nto = "tensorboard"\nexperiment = "vbf"\nrun = "first"\n'
        file.write_text(text + section, encoding="utf-8")
        # What is tracked is not part of what is done.
        assert {s.kind for s in states(file).values()} == {"done"}
        assert mil.run_analysis(file) == summary
    finally:
        file.write_text(text, encoding="utf-8")
    folder = file.parent / "results" / "tensorboard" / "vbf" / "first"
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert (folder / "artifacts" / "report.html").is_file()


def test_a_tracker_that_fails_stops_the_run(inputs, tmp_path):
    class Full(Memory):
        def log_metrics(self, metrics, step):  # noqa: ARG002
            raise OSError("disk full")

    file = copy(inputs, tmp_path)
    with pytest.raises(TrackingError, match=r"Full\.log_metrics failed: OSError: disk full"):
        mil.run_analysis(file, tracker=Full())
    assert states(file)["train"].kind == "new"
