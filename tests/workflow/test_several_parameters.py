"""An analysis in two parameters, from configuration to report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import quadratic
from milinfer.exceptions import ConfigurationError
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.workflow.blinding import pseudo_data
from milinfer.workflow.inspection import inspect_file
from reports import without_links

# Pools of few events, which make a test short; that they are small is tested elsewhere.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning"),
    pytest.mark.filterwarnings("ignore:pyhf:UserWarning"),
]

CONFIGURATION = """
[analysis]
title = "Two parameters"
workers = 1
[samples]
features = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"]
[[samples.train]]
path = "sm.parquet"
[data]
path = "data.parquet"
simulated = true
[[model]]
head = "polynomial"
labels = "joint"
order = 1
reference = { c1 = 0.0, c2 = 0.0 }
epochs = 4
batch_events = 250
[toys]
number = 100
truth = { c2 = -0.1, c1 = 0.1 }
weight_degree = 2
oracle = true
calibrate_at = [
  { c1 = -0.5, c2 = -0.5 }, { c1 = -0.5, c2 = 0.5 }, { c1 = 0.0, c2 = 0.0 },
  { c1 = 0.5, c2 = -0.5 }, { c1 = 0.5, c2 = 0.5 },
]
cover_at = [{ c1 = 0.2, c2 = 0.3 }]
belt_at = [
  { c1 = -0.7, c2 = -0.7 }, { c1 = -0.7, c2 = 0.7 }, { c1 = 0.0, c2 = 0.0 },
  { c1 = 0.7, c2 = -0.7 }, { c1 = 0.7, c2 = 0.7 },
]
[templates]
observable = "x0"
bins = 6
"""
POINT = {"c1": 0.1, "c2": -0.1}
METHODS = ("polynomial-joint", "pyhf", "pyhf_scores", "oracle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    origin = {"c1": 0.0, "c2": 0.0}
    quadratic.generate(12_000, origin, seed=1).to_file(folder / "sm.parquet")
    quadratic.generate(1000, POINT, seed=2).as_data().to_file(folder / "data.parquet")
    (folder / "analysis.toml").write_text(CONFIGURATION, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def summary(folder, few_pictures_of_a_module):
    return mil.run_analysis(folder / "analysis.toml")


def test_every_method_has_intervals_of_each_parameter(summary):
    assert summary["poi"] == ["c1", "c2"]
    assert summary["truth"] == POINT
    assert summary["not_available"] == {}
    for method in METHODS:
        own = summary[method]
        assert own["calibrated"] is (method == "polynomial-joint")
        for name in ("c1", "c2"):
            inner, outer = own[name]["interval68"], own[name]["interval95"]
            if method == "pyhf" and inner is None:  # one feature does not know both
                continue
            assert inner[0] < own[name]["estimate"] < inner[1]
            assert own["estimate"][name] == own[name]["estimate"]
            if outer is not None:
                assert outer[0] < inner[0]
                assert outer[1] > inner[1]
            assert own[name]["others_fixed"]["interval68"] is not None
            assert 0 <= own[name]["coverage68"] <= 1
            assert own[name]["coverage68_error"] < 0.06
        assert 0 <= own["region"]["coverage95"] <= 1
        assert own["n_toys"] == 100


def test_intervals_are_those_of_the_cost_and_its_calibration(folder, summary):
    model = mil.BagLikelihood.load(folder / "results" / "models" / "polynomial-joint")
    cost = model.cost(mil.Sample.from_file(folder / "data.parquet"))
    calibration = Calibration.load(folder / "results" / "calibrations" / "polynomial-joint.json")
    own = summary["polynomial-joint"]["c1"]
    start = summary["polynomial-joint"]["estimate"]
    for key, cl in (("interval68", CL68), ("interval95", CL95)):
        calibrated = calibration(cost, cl, parameter="c1")
        for costs, figures in ((cost, own["as_trained"]), (calibrated, own)):
            exact = mil.profile_interval(costs, "c1", cl, start=start)
            assert figures[key] == pytest.approx([exact.low, exact.high], abs=1e-3)
    constant = calibration.profiled("c1").scale_at(list(POINT.values()))
    assert (own["c_cicc"], own["c_cicc_error"]) == pytest.approx(constant)


def test_the_matrix_of_information_is_near_the_exact_one(summary):
    exact = quadratic.fisher_information(1000, 2)
    matrix = np.array(summary["pyhf_scores"]["information"]["info_eff"])
    error = np.array(summary["pyhf_scores"]["information"]["info_eff_error"])
    assert matrix.shape == (2, 2)
    # A histogram of learned scores knows no more than there is; 100 toys say so to 20 %.
    assert np.all(np.diag(matrix) < np.diag(exact) + 4 * np.diag(error))
    assert np.all(np.diag(matrix) > 0.2 * np.diag(exact))
    assert summary["oracle"]["information"]["relative"] == pytest.approx(1.0)
    assert summary["oracle"]["information"]["relative_to"] == "oracle"
    assert 0 < summary["pyhf_scores"]["information"]["relative"] < 1


def test_contours_and_regions_contain_the_estimate(folder, summary):
    own = summary["polynomial-joint"]
    line = np.array(own["contours"]["c1,c2"]["0.6827"])
    for k, name in enumerate(("c1", "c2")):
        assert line[:, k].min() < own["estimate"][name] < line[:, k].max()
        (low, high), *_ = own["region"]["neyman68"][name]
        assert low < own["estimate"][name] < high
    assert own["region"]["neyman68"]["area"] < own["region"]["neyman95"]["area"]
    assert own["contours_as_trained"]["c1,c2"]["0.6827"] != own["contours"]["c1,c2"]["0.6827"]
    belt = Belt.load(folder / "results" / "belts" / "polynomial-joint.json")
    assert len(belt.points) == 5
    assert own["correlation"]["c1,c2"] == pytest.approx(0.2, abs=0.3)


def test_toys_are_where_the_configuration_says(summary):
    assert {tuple(p.values()) for p in summary["calibrated_at"]} == {
        *((-0.5, -0.5), (-0.5, 0.5), (0.0, 0.0), (0.5, -0.5), (0.5, 0.5))
    }
    rows = summary["coverage_scan"]
    assert {r["of"] for r in rows} == {"region", "c1", "c2"}
    assert {tuple(r["point"].values()) for r in rows} == {(0.1, -0.1), (0.2, 0.3)}
    assert "polynomial-joint, Neyman" in {r["method"] for r in rows if r["of"] == "region"}


def test_a_feature_that_does_not_know_a_parameter_says_so(summary):
    """x0 changes with c1 alone."""
    (sentence, *_) = summary["pyhf"]["not_constrained"]
    assert sentence.startswith("the data do not constrain c2")
    assert summary["pyhf"]["c2"]["interval68"] is None
    assert summary["pyhf"]["directions"][0]["constrained"] is False


def test_the_fit_is_tested_and_the_histograms_filled_by_weights(summary):
    assert 0 <= summary["goodness_of_fit"]["p_value"] <= 1
    assert summary["histograms"]["pyhf_scores"]["filled_by"] == "weights"
    assert summary["provenance"]["seeds"]["toys for coverage"] == 2


def test_the_network_is_diagnosed_along_lines(summary):
    diagnosis = summary["diagnostics"]["polynomial-joint"]
    assert set(diagnosis["lines"]) == {"c1", "c2", "c1 + c2"}
    assert all(len(d["checks"]) > 5 for d in diagnosis["lines"].values())
    assert diagnosis["skipped"] == {}


def test_report_table_and_inspect(folder, summary):
    text = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "ratio of determinants" in text
    assert "the data do not constrain c2" in text
    assert len(list((folder / "results" / "plots").glob("contours_c1_c2.*"))) == 2
    assert "The interval of c1 from the data (" in without_links(text)
    assert "twenty simulated datasets of this size at c1=0.1,c2=-0.1 (line)" in without_links(text)
    # The lowest coverage of regions, from a small pool, has the error from this pool beside it.
    regions = [r for r in summary["coverage_scan"] if r["of"] == "region" and r["cl"] == CL68]
    lowest = min(
        (r for r in regions if r["method"] == "polynomial-joint"), key=lambda r: r["coverage"]
    )
    assert lowest["pool_error"] > lowest["error"]
    cell = "{coverage:.1%} ± {error:.1%} ± {pool_error:.1%} (event pool)".format(**lowest)
    assert cell in without_links(text)
    done = CliRunner().invoke(cli, ["report", str(folder / "results")])
    assert done.exit_code == 0, done.output
    assert "c1, c2, truth c1=0.1,c2=-0.1" in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines() if "report.html" not in line)
    facts = inspect_file(folder / "results")
    assert facts["parameters"] == "c1, c2"
    assert "68.3 % in [" in facts["polynomial-joint"]


def test_a_second_run_does_nothing(folder, summary):
    lines = []
    assert mil.run_analysis(folder / "analysis.toml", echo=lines.append) == json.loads(
        (folder / "results" / "summary.json").read_text(encoding="utf-8")
    )
    assert all(line.endswith("done before") for line in lines)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("truth = { c2 = -0.1, c1 = 0.1 }", "truth = 0.1"), "write a table with a value for each"),
        (("truth = { c2 = -0.1,", "truth = { c3 = -0.1,"), "toys.truth: c3 is not one of"),
        (("truth = { c2 = -0.1, c1", "truth = { c1"), "toys.truth: c2 has no value"),
        (("reference = { c1 = 0.0, c2 = 0.0 }", "reference = { c1 = 0.0 }"), r"model\[1\].refer"),
        (('path = "data.parquet"', 'path = "data.parquet"\nluminosity = 3.0'), "data.luminosity"),
        (("weight_degree = 2\noracle = true", ""), "toys at c1=-0.5,c2=-0.5: "),
        (
            ("truth = { c2 = -0.1,", "truth = { c2 = -1.1,"),
            "toys.truth: .* outside the range of the trai",
        ),
        (("cover_at", "belt_at = [{ c1 = 0.0, c2 = 0.0 }]\ncover_at"), "do not span"),
    ],
    ids=["number", "name", "missing", "reference", "rate", "no weights", "outside", "no span"],
)
def test_what_several_parameters_cannot_have(folder, tmp_path, change, complaint):
    for name in ("sm.parquet", "data.parquet"):
        (tmp_path / name).symlink_to(folder / name)
    text = CONFIGURATION.replace(*change)
    assert text != CONFIGURATION
    if complaint == "do not span":
        text = text[: text.rindex("belt_at")] + text[text.index("[templates]") :]
    (tmp_path / "analysis.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=complaint):
        mil.run_analysis(tmp_path / "analysis.toml")


def test_nuisances_and_belts_of_five_parameters_are_refused_before_files_are_read(tmp_path):
    for name in ("sm.parquet", "data.parquet"):
        (tmp_path / name).write_text("no events")
    point = '"sm.parquet"\npoint = { a = 0.0, b = 0.0, c = 0.0, d = 0.0, e = 0.0 }'
    text = CONFIGURATION.replace('"sm.parquet"', point).replace("{ c2 = -0.1, c1 = 0.1 }", "0.0")
    text = text.replace("reference = { c1 = 0.0, c2 = 0.0 }", "")
    text = (
        text[: text.index("calibrate_at")] + "belt_at = [0.0]\n" + text[text.index("[templates]") :]
    )
    text += '[[systematics]]\nname = "jes"\nkind = "scale"\nup = 1.1\ndown = 0.9\n'
    (tmp_path / "analysis.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        mil.plan_analysis(tmp_path / "analysis.toml")
    assert "one parameter of interest" in str(error.value)
    assert "a belt gives regions of two parameters" in str(error.value)
    assert "handles at most 4 parameters" in str(error.value)


def test_pseudo_data_of_a_blind_analysis():
    samples = quadratic.samples(500, [{"c1": 0.0, "c2": 0.0}], seed=1)
    data = pseudo_data(samples, POINT, 100, weight_degree=2, seed=1)
    assert len(data) == 100
    assert set(data.weights) == {1.0}
