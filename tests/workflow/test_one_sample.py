"""An analysis of one file whose events carry weights, from configuration to report."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.exceptions import ConfigurationError

# Pools of few events, which make a test short; that they are small is tested elsewhere.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning"),
]

CONFIGURATION = """
[analysis]
title = "One file"
[samples]
features = ["d_phi_qq", "q0_pt", "m_ll", "pt_ll"]
[[samples.train]]
path = "sm.lhe.gz"
[data]
path = "data.lhe.gz"
[[model]]
head = "polynomial"
labels = "joint"
epochs = 8
batch_events = 128
[toys]
number = 100
weight_degree = 4
oracle = true
[templates]
bins = 5
"""


def generate(path, n, seed):
    options = ["--events", str(n), "--seed", str(seed), "--out", str(path), "--workers", "1"]
    done = CliRunner().invoke(cli, ["generate", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    generate(folder / "sm.lhe.gz", 4000, 1)
    generate(folder / "data.lhe.gz", 600, 2)
    return folder


@pytest.fixture(scope="module")
def finished(folder, few_pictures_of_a_module):
    return mil.run_analysis(write(folder, CONFIGURATION))


def write(folder, text):
    file = folder / "analysis.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.early
def test_one_file_is_enough(folder, finished):
    summary = finished
    assert summary["not_available"] == {}
    filled = {"bins": 5, "degree": 4, "filled_by": "weights"}
    assert summary["histograms"] == dict.fromkeys(("pyhf", "pyhf_classifier", "pyhf_score"), filled)
    for method in ("polynomial-joint", "oracle", "pyhf", "pyhf_classifier", "pyhf_score"):
        low, high = summary[method]["interval68"]
        assert -1 < low < summary[method]["estimate"] < high < 1
    # Truths in the inner half of the range of the weights.
    assert {row["point"]["c_HW"] for row in summary["coverage_scan"]} == {
        -0.5,
        -0.25,
        0.0,
        0.25,
        0.5,
    }
    diagnosis = summary["diagnostics"]["polynomial-joint"]
    assert "not diagnosed" not in diagnosis["verdict"]
    assert len(diagnosis["checks"]) > 5
    report = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "fill the histograms at every value of c_HW, through their weights" in report


@pytest.mark.early
def test_compare_on_the_command_line(folder, finished, monkeypatch):
    """Of the same model, on other events of the same point each; the figures are those above."""
    monkeypatch.setattr("milinfer.workflow.report.draw_figures", lambda _: {})
    for name, seed in (("tune", 3), ("evaluate", 4)):
        generate(folder / f"{name}.lhe.gz", 3000, seed)
    model, out = folder / "results" / "models" / "polynomial-joint", folder / "comparison"
    done = CliRunner().invoke(
        cli,
        [
            *("compare", str(folder / "data.lhe.gz"), "--model", str(model)),
            *("--templates", str(folder / "sm.lhe.gz"), "--bins", "5", "--weight-degree", "4"),
            *("--calibrate-on", str(folder / "tune.lhe.gz")),
            *("--evaluate-on", str(folder / "evaluate.lhe.gz"), "--toys", "100"),
            *("--out", str(out)),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["histograms"]["pyhf"]["filled_by"] == "weights"
    assert summary["pyhf"]["interval68"] == pytest.approx(finished["pyhf"]["interval68"], abs=0.2)
    assert len({row["point"]["c_HW"] for row in summary["coverage_scan"]}) == 5


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        (("weight_degree = 4\noracle = true", ""), ["give toys.weight_degree"]),
        (
            ('labels = "joint"', ""),
            ["model[1].labels = 'hard' trains a classifier between samples"],
        ),
        (("bins = 5", "bins = 5\ndegree = 3"), ["omit templates.degree"]),
        (("number = 100", "number = 100\ntruth = 1.5"), ["points, -1 to 1"]),
    ],
    ids=["no degree", "hard labels", "two degrees", "truth beyond the weights"],
)
def test_settings_that_one_file_cannot_have(folder, tmp_path, change, complaints):
    for name in ("sm.lhe.gz", "data.lhe.gz"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(ConfigurationError) as error:
        mil.run_analysis(write(tmp_path, CONFIGURATION.replace(*change)))
    for complaint in complaints:
        assert complaint in str(error.value)


def test_settings_are_refused_before_files_are_read_if_they_say_the_point(tmp_path):
    for name in ("sm.lhe.gz", "data.lhe.gz"):
        (tmp_path / name).write_text("no events")
    text = CONFIGURATION.replace('"sm.lhe.gz"', '"sm.lhe.gz"\npoint = { c_HW = 0.0 }')
    mil.plan_analysis(write(tmp_path, text))
    with pytest.raises(ConfigurationError, match="'hard' trains a classifier between samples"):
        mil.plan_analysis(write(tmp_path, text.replace('labels = "joint"', "")))
