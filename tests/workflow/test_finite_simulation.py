"""The error from the finite simulation in an analysis: configured, measured, reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import quadratic
from milinfer.exceptions import ConfigurationError
from milinfer.intervals.calibration import Calibration
from milinfer.workflow.finite_simulation import TrainingError, training_errors

# Pools of few events, which make a test short; that they are small is tested elsewhere.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning"),
    pytest.mark.filterwarnings("ignore:pyhf:UserWarning"),
]

CONFIGURATION = """
[analysis]
workers = 1
[samples]
features = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"]
[[samples.train]]
path = "sm.parquet"
[data]
path = "data.parquet"
[[model]]
head = "polynomial"
labels = "joint"
order = 1
ensemble = 4
bootstrap = true
epochs = 12
batch_events = 800
[toys]
number = 200
weight_degree = 2
simulation_error = true
calibrate_at = [-0.3, 0.0, 0.3]
cover_at = [0.0]
belt_at = [-0.3, 0.0, 0.3]
[templates]
observable = "x0"
bins = 4
"""
NAME = "polynomial-joint"


def call(*arguments):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation")
    quadratic.generate(8000, {"c1": 0.0}, seed=1).to_file(folder / "sm.parquet")
    quadratic.generate(1000, {"c1": 0.1}, seed=2).as_data().to_file(folder / "data.parquet")
    (folder / "analysis.toml").write_text(CONFIGURATION, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def summary(folder, write_pictures):
    """Figures that take long to draw are left out; other reports have them."""
    with write_pictures("simulation"), pytest.MonkeyPatch.context() as patch:
        for name in ("_data_figures", "_calibration_figures"):
            patch.setattr(f"milinfer.workflow.report.{name}", lambda *_: {})
        return mil.run_analysis(folder / "analysis.toml")


@pytest.fixture(scope="module")
def parts(folder, summary):
    """Model, data and calibration of the run."""
    out = folder / "results"
    return (
        mil.BagLikelihood.load(out / "models" / NAME),
        mil.Sample.from_file(folder / "data.parquet").as_data(),
        Calibration.load(out / "calibrations" / f"{NAME}.json"),
    )


def test_the_error_is_that_of_the_model_and_the_data(summary, parts):
    model, data, _ = parts
    assert model.bootstrap
    error = mil.simulation_error(model, data)
    assert error.estimate_error[0] > 0
    own = summary["simulation_error"][NAME]
    assert own["members"] == 4
    assert own["c1"]["estimate_error"] == pytest.approx(error.estimate_error[0], rel=1e-6)
    wide = mil.profile_interval(mil.add_simulation_error(model.cost(data), error), "c1")
    assert own["c1"]["interval68"] == pytest.approx([wide.low, wide.high], abs=1e-4)
    narrow = mil.profile_interval(model.cost(data), "c1")
    assert wide.width > narrow.width


def test_calibrated_intervals_contain_the_error_of_the_calibration(summary, parts):
    model, data, calibration = parts
    own = summary[NAME]
    assert (own["calibrated"], own["widened"]) == (True, True)
    assert calibration.widen
    cost = model.cost(data)
    wide, narrow = (mil.profile_interval(calibration(cost, widen=w), "c1") for w in (True, False))
    assert own["interval68"] == pytest.approx([wide.low, wide.high], abs=1e-4)
    assert wide.width > narrow.width
    # Histograms are not calibrated, and a belt has the error in its own toys.
    assert summary["pyhf"]["widened"] is False
    assert own["neyman68"]


def test_the_report_says_it(summary, folder):
    page = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "Finite simulation" in page
    assert f"{summary['simulation_error'][NAME]['c1']['estimate_error']:.3f}" in page
    assert "including the error of the calibration" in page
    assert (folder / "results" / "plots" / "simulation.svg").is_file()


def test_commands_train_and_fit_with_it(folder, parts, tmp_path):
    train = ("train", folder / "sm.parquet", "--head", "polynomial", "--labels", "joint")
    options = ("--order", 1, "--epochs", 2, "--batch-events", 1000, "--points=-0.5,0,0.5")
    out = tmp_path / "model"
    call(*train, *options, "--ensemble", 4, "--bootstrap", "--out", out)
    model = mil.BagLikelihood.load(out)
    assert model.bootstrap
    assert "bootstrap" in call("inspect", out)
    data, figures = folder / "data.parquet", tmp_path / "fit.json"
    printed = call("fit", data, "--model", out, "--simulation-error", "--json", figures)
    assert "from simulation" in printed
    own = json.loads(figures.read_text())[NAME]
    error = mil.simulation_error(model, parts[1])
    assert own["simulation_error"]["c1"]["estimate_error"] == pytest.approx(error.estimate_error[0])
    wide = mil.profile_interval(mil.add_simulation_error(model.cost(parts[1]), error), "c1")
    assert own["interval68"] == pytest.approx([wide.low, wide.high])


def test_a_calibrated_fit_has_the_error_of_its_calibration(folder, parts, tmp_path):
    model, data, calibration = parts
    calibration.widened()
    file, figures = tmp_path / "calibration.json", tmp_path / "fit.json"
    plain = calibration.__class__(**{**calibration.__dict__, "widen": False})
    plain.save(file)
    arguments = ("fit", folder / "data.parquet", "--model", folder / "results" / "models" / NAME)
    for option, widen in (((), False), (("--simulation-error",), True)):
        call(*arguments, "--calibration", file, *option, "--json", figures)
        own = json.loads(figures.read_text())[NAME]
        interval = mil.profile_interval(plain(model.cost(data), widen=widen), "c1")
        assert own["widened"] is widen
        assert own["simulation_error"] is None
        assert own["interval68"] == pytest.approx([interval.low, interval.high])


def test_a_model_without_bootstrap_is_an_error_that_says_what_to_do(folder, tmp_path):
    train = ("train", folder / "sm.parquet", "--head", "polynomial", "--labels", "joint")
    options = ("--order", 1, "--epochs", 1, "--batch-events", 4000, "--points=-0.5,0,0.5")
    call(*train, *options, "--out", tmp_path / "model")
    arguments = ["fit", folder / "data.parquet", "--model", tmp_path / "model"]
    result = CliRunner().invoke(cli, [*map(str, arguments), "--simulation-error"])
    assert result.exit_code != 0
    assert "bootstrap=True" in result.output
    few = [*map(str, (*train, *options)), "--bootstrap", "--out", str(tmp_path / "few")]
    result = CliRunner().invoke(cli, few)
    assert result.exit_code != 0
    assert "needs 4 members or more" in result.output


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("bootstrap = true", "bootstrap = true needs 4 networks or more .better 16"),
        ("bootstrap = true\nensemble = 16\npooling = 'max'", "scores whole bags"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, lines, words):
    text = f'[[samples.train]]\npath = "a"\n[data]\npath = "b"\n[[model]]\n{lines}\n'
    (tmp_path / "analysis.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        mil.plan_analysis(tmp_path / "analysis.toml")


def test_several_parameters_have_an_error_each():
    samples = quadratic.samples(1500, [{"c1": 0.0, "c2": 0.0}], seed=1)
    data = quadratic.generate(500, {"c1": 0.0, "c2": 0.0}, seed=2).as_data()
    points = [{"c1": a, "c2": b} for a, b in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1))]
    model = mil.BagLikelihood(
        head="polynomial",
        labels="joint",
        order=1,
        points=points,
        ensemble=4,
        bootstrap=True,
        training=mil.TrainingConfig(4, 250, 3e-3, 1e-4, schedule="cosine"),
    ).fit(samples)
    cost = model.cost(data)
    measured = training_errors([model], {model.name: cost}, data)[model.name]
    assert isinstance(measured, TrainingError), measured
    content = measured.to_dict()
    for name in ("c1", "c2"):
        own = content[name]
        assert own["estimate_error"] > 0
        plain = mil.profile_interval(cost, name)
        assert np.diff(own["interval68"])[0] > plain.width
        assert own["interval95"][0] < own["interval68"][0] < own["interval68"][1]


def test_what_cannot_be_measured_is_said():
    """A range that ends inside the interval is no reason to end the analysis."""
    samples = quadratic.samples(300, [{"c1": v} for v in (-0.02, 0.0, 0.02)], seed=1)
    data = quadratic.generate(100, {"c1": 0.0}, seed=2).as_data()
    model = mil.BagLikelihood(
        head="polynomial",
        labels="joint",
        order=1,
        ensemble=4,
        bootstrap=True,
        network=mil.NetworkConfig((4,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        training=mil.TrainingConfig(1, 300, 1e-3, 1e-3, schedule="cosine"),
    ).fit(samples)
    found = training_errors([model], {model.name: model.cost(data)}, data)
    assert str(found[model.name]).startswith("not measured: ")
    assert training_errors([model], {}, data) == {}
