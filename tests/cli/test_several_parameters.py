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
from milinfer.utils.confidence_levels import CL68, CL95


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


def test_calibrations_and_belts_of_one_parameter_are_refused(folder):
    some_file = folder / "train.json"
    for option in ("--calibration", "--belt"):
        printed = call(
            *("fit", folder / "data.parquet", "--model", folder / "model", option, some_file),
            code=2,
        )
        assert "are for one parameter, and the model has c1, c2" in printed
    for command in ("calibrate", "neyman"):
        printed = call(
            *(command, folder / "one.parquet", "--model", folder / "model"),
            *("--events-per-toy", 100, "--out", folder / "x.json"),
            code=2,
        )
        assert "this command is for one" in printed
