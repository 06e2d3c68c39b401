"""One file whose weights span two parameters: `milinfer train`, then `milinfer fit`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import chi2

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import quadratic
from milinfer.exceptions import MilinferWarning
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.workflow.inspection import inspect_file

# Pools of few events, which make a test short; that they are small is tested elsewhere.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*the shared pool of events adds:UserWarning"),
    pytest.mark.filterwarnings("ignore:pyhf:UserWarning"),
    pytest.mark.filterwarnings("ignore:with linear terms alone:UserWarning"),
]


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    origin = {"c1": 0.0, "c2": 0.0}
    quadratic.generate(6000, origin, seed=1).to_file(folder / "one.parquet")
    for name, n in (("data", 1500), ("few", 15)):
        events = quadratic.generate(n, {"c1": 0.1, "c2": -0.1}, seed=2)
        events.as_data().to_file(folder / f"{name}.parquet")
    settings = ("--head", "polynomial", "--labels", "joint", "--order", 1, "--epochs", 5)
    call(
        *("train", folder / "one.parquet", *settings, "--batch-events", 250),
        *("--out", folder / "model", "--json", folder / "train.json"),
    )
    return folder


def test_training_points_are_those_of_the_weights(folder):
    points = json.loads((folder / "train.json").read_text())["points"]
    assert sorted(map(tuple, points)) == [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]


def test_an_order_that_the_weights_do_not_fix_is_refused(folder):
    printed = call(
        *("train", folder / "one.parquet", "--head", "polynomial", "--labels", "joint"),
        *("--out", folder / "other"),
        code=2,
    )
    assert "weights at 9 values of c1, c2, but a polynomial of degree 4 needs 15" in printed
    assert "(--order=1 of a model is degree 2)" in printed


def test_fit_gives_both_parameters(folder):
    out, figures = folder / "fit.svg", folder / "fit.json"
    printed = call(
        *("fit", folder / "data.parquet", "--model", folder / "model"),
        *("--out", out, "--json", figures),
    )
    assert "NOT calibrated" in printed
    assert "correlation of c1 and c2: " in printed
    content = json.loads(figures.read_text())
    assert (content["parameters"], content["n_events"]) == (["c1", "c2"], 1500)
    result = content["polynomial-joint"]
    model = mil.BagLikelihood.load(folder / "model")
    cost = model.cost(mil.Sample.from_file(folder / "data.parquet"))
    best = [result[p]["estimate"] for p in ("c1", "c2")]
    assert cost(*best) == pytest.approx(result["minus_two_log_likelihood"], abs=1e-6)
    for parameter in ("c1", "c2"):
        for key, cl in (("interval68", CL68), ("interval95", CL95)):
            exact = mil.profile_interval(cost, parameter, cl)
            assert result[parameter][key] == pytest.approx([exact.low, exact.high], abs=2e-4)
            assert f"{exact.low:+.3f}"[:5] in printed
    covariance = np.array(mil.minuit(cost).migrad().covariance)
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert result["correlation"]["c1,c2"] == pytest.approx(correlation, abs=0.02)
    # Every point of a contour is as far above the minimum as the level says.
    for cl in (CL68, CL95):
        points = np.array(result["contours"]["c1,c2"][f"{cl:.4f}"])
        rise = np.array([cost(*p) for p in points]) - result["minus_two_log_likelihood"]
        np.testing.assert_allclose(rise, chi2.ppf(cl, 2), rtol=0.02)
    assert out.read_text().startswith("<?xml")


def test_what_leaves_the_range_is_said(folder):
    figures = folder / "few.json"
    arguments = ("fit", folder / "few.parquet", "--model", folder / "model")
    printed = call(*arguments, "--json", figures)
    assert "contour of c1 and c2 at 95.45%" in printed
    result = json.loads(figures.read_text())["polynomial-joint"]
    assert result["contours"]["c1,c2"]["0.9545"] is None
    assert result["c1"]["interval95"] is None
    assert any("no 95.45% interval of c1" in problem for problem in result["problems"])
    printed = call(*arguments, "--out", folder / "few.svg", code=2)
    assert "no contour of c1 and c2 lies inside the range of the model" in printed
    assert not (folder / "few.svg").exists()


@pytest.fixture(scope="module")
def toys(folder):
    """Other events, a calibration and a belt of the model."""
    origin = {"c1": 0.0, "c2": 0.0}
    for name, seed in (("calib", 3), ("eval", 4)):
        quadratic.generate(8000, origin, seed=seed).to_file(folder / f"{name}.parquet")
    options = ("--model", folder / "model", "--events-per-toy", 1500, "--weight-degree", 2)
    options += ("--toys", 100, "--workers", 1)
    calibration, belt = folder / "calibration.json", folder / "belt.json"
    printed = {
        "calibrate": call(
            *("calibrate", folder / "calib.parquet", *options, "--out", calibration),
            *("--json", folder / "calibrate-figures.json"),
        ),
        "neyman": call(
            *("neyman", folder / "calib.parquet", *options, "--calibration", calibration),
            *("--at", "c1=-0.6:0.6:2,c2=-0.6:0.6:2", "--at", "c2=0,c1=0"),
            *("--out", belt, "--json", folder / "neyman-figures.json"),
        ),
        "coverage": call(
            *("coverage", folder / "eval.parquet", *options, "--calibration", calibration),
            *("--belt", belt, "--at", "c1=0,c2=0", "--at", "c1=0.3,c2=-0.3"),
            *("--out", folder / "coverage.svg", "--json", folder / "coverage-figures.json"),
        ),
    }
    return options, calibration, belt, printed


def test_calibrate_and_neyman_give_points_and_constants(folder, toys):
    printed = toys[-1]
    assert "9 points in c1, c2" in printed["calibrate"]
    figures = json.loads((folder / "calibrate-figures.json").read_text())
    calibration = mil.Calibration.load(toys[1])
    assert figures["poi"] == ["c1", "c2"]
    assert figures["points"] == calibration.points.tolist()
    assert figures["region"]["c_cicc"] == pytest.approx(calibration.scale)
    assert figures["c2"]["c_cicc"] == pytest.approx(calibration.profiled("c2").scale)
    belt = json.loads((folder / "neyman-figures.json").read_text())
    assert len(belt["points"]) == 5
    assert belt["points"][-1] == [0.0, 0.0]
    facts = inspect_file(toys[1])
    assert facts["parameters"] == "c1, c2"
    assert "±" in facts["c_cicc of c1"]
    assert inspect_file(toys[2])["parameters"] == "c1, c2"


def test_coverage_is_that_of_regions_and_of_each_parameter(folder, toys):
    figures = json.loads((folder / "coverage-figures.json").read_text())
    rows = figures["rows"]
    assert {r["of"] for r in rows} == {"region", "c1", "c2"}
    assert {r["method"] for r in rows if r["of"] == "region"} == {
        *("as trained", "calibrated", "Neyman belt")
    }
    assert {r["method"] for r in rows if r["of"] == "c1"} == {"as trained", "calibrated"}
    assert {tuple(r["point"].values()) for r in rows} == {(0.0, 0.0), (0.3, -0.3)}
    for row in rows:
        assert abs(row["coverage"] - row["cl"]) < 0.3
    assert "intervals of c2, others profiled" in toys[-1]["coverage"]
    assert (folder / "coverage.svg").read_text().startswith("<?xml")


def test_fit_with_calibration_and_belt(folder, toys):
    _, calibration, belt, _ = toys
    figures = folder / "calibrated.json"
    printed = call(
        *("fit", folder / "data.parquet", "--model", folder / "model", "--json", figures),
        *("--calibration", calibration, "--belt", belt, "--out", folder / "calibrated.svg"),
    )
    assert "NOT calibrated" not in printed
    assert "Neyman region, 68.27%: c1 in [" in printed
    own = json.loads(figures.read_text())["polynomial-joint"]
    cost = mil.BagLikelihood.load(folder / "model").cost(
        mil.Sample.from_file(folder / "data.parquet")
    )
    applied = mil.Calibration.load(calibration)
    exact = mil.profile_interval(applied(cost, CL68, parameter="c2"), "c2", CL68)
    assert own["c2"]["interval68"] == pytest.approx([exact.low, exact.high], abs=1e-3)
    assert own["c2"]["as_trained"]["interval68"] != own["c2"]["interval68"]
    fixed = own["c1"]["others_fixed"]["interval68"]
    as_trained = own["c1"]["as_trained"]["interval68"]
    assert fixed[1] - fixed[0] < as_trained[1] - as_trained[0] + 1e-6
    assert own["calibrated"] is True
    assert own["region"]["neyman95"]["area"] > own["region"]["neyman68"]["area"] > 0


@pytest.mark.early
def test_compare_in_two_parameters(folder, toys, monkeypatch):
    """Without figures, which are those of a run."""
    monkeypatch.setattr("milinfer.workflow.report.draw_several", lambda _: {})
    printed = call(
        *("compare", folder / "data.parquet", "--model", folder / "model", "--bins", 6),
        *("--templates", folder / "calib.parquet", "--observable", "x0", "--toys", 100),
        *("--calibrate-on", folder / "calib.parquet", "--evaluate-on", folder / "eval.parquet"),
        *("--weight-degree", 2, "--truth", "c2=-0.1,c1=0.1", "--out", folder / "comparison"),
        *("--at", "c1=-0.4,c2=0", "--at", "c1=0.4,c2=0", "--at", "c1=0,c2=0.4"),
    )
    assert "c1, c2, compared at c1=0.1,c2=-0.1" in printed
    summary = json.loads((folder / "comparison" / "summary.json").read_text())
    assert summary["truth"] == {"c1": 0.1, "c2": -0.1}
    assert len(summary["calibrated_at"]) == 3
    assert summary["polynomial-joint"]["c1"]["interval68"] is not None


@pytest.mark.parametrize(
    ("command", "more", "complaint"),
    [
        ("calibrate", ("--truths", "-0.5,0.5"), "--truths gives values of one parameter"),
        ("calibrate", ("--at", "c1=0.5"), "c1=0.5 is not a point in c1, c2"),
        (
            "calibrate",
            ("--at", "c1=0,c2=0", "--truths", "0"),
            "both set the true points",
        ),
        ("neyman", ("--bounds", "0", "1"), "--bounds applies to models of one parameter"),
    ],
)
def test_options_of_one_parameter_are_refused(folder, toys, command, more, complaint):
    printed = call(
        *(command, folder / "calib.parquet", *toys[0], *more, "--out", folder / "x.json"), code=2
    )
    assert complaint in " ".join(printed.split())


def test_fit_with_linear_terms_only(folder):
    figures = folder / "linear.json"
    printed = call(
        *("fit", folder / "data.parquet", "--model", folder / "model", "--terms", "linear"),
        *("--json", figures),
    )
    assert "linear terms only" in printed
    content = json.loads(figures.read_text())
    assert content["terms"] == "linear"
    model = mil.BagLikelihood.load(folder / "model")
    data = mil.Sample.from_file(folder / "data.parquet")
    with pytest.warns(MilinferWarning, match="linear terms alone"):
        cost = model.cost(data, terms="linear")
    exact = mil.profile_interval(cost, "c1", CL68)
    own = content["polynomial-joint"]["c1"]["interval68"]
    assert own == pytest.approx([exact.low, exact.high], abs=1e-3)
