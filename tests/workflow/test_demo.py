"""The demo is an analysis: what it writes is a configuration like any other."""

from __future__ import annotations

import json

import pytest

from milinfer.exceptions import ConfigurationError
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.demo import (
    DemoConfig,
    _files,
    _generate_all,
    _write_analysis,
    demo_files,
    describe_steps,
    run_demo,
)
from milinfer.workflow.provenance import Provenance, StepRun


def test_the_demo_writes_an_analysis_of_its_files(tmp_path):
    config = DemoConfig(truth=0.1, seed=7, n_toys=300)
    files = _files(config)
    analysis = AnalysisConfig.from_file(_write_analysis(tmp_path, config, files))
    assert analysis.out == tmp_path
    named = []
    for role in ("train", "tune", "evaluate"):
        (section,) = getattr(analysis.samples, role)
        named += section.path
    assert [*named, *analysis.data.path] == [f"features/{f.name}.parquet" for f in files]
    assert [m.title for m in analysis.model] == ["polynomial-joint", "polynomial", "multiclass"]
    assert analysis.toys.calibrate_at == [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4]
    assert len(analysis.toys.belt_at) == 25
    # Regression: it ended at ±0.3 of the truth, and cut off the sets of the data.
    assert (min(analysis.toys.belt_at), max(analysis.toys.belt_at)) == (-0.38, 0.58)
    assert (analysis.toys.truth, analysis.toys.oracle_at) == (0.1, 0.1)
    assert (analysis.analysis.seed, analysis.toys.number) == (7, 300)


def test_seconds_of_the_demo_are_those_of_all_steps_of_a_kind():
    names = ("generate", "features", "features-a-1", "train-a", "train-b-joint", "inference")
    steps = tuple(StepRun(name, "run", 1.0) for name in names)
    assert describe_steps(Provenance(steps=steps)) == {
        "process": "vbf_hww",
        "seconds": {"generate": 1.0, "features": 2.0, "train": 2.0, "infer": 1.0},
    }


def test_the_belt_stays_inside_the_training_range(tmp_path):
    config = DemoConfig(truth=-0.5)
    analysis = AnalysisConfig.from_file(_write_analysis(tmp_path, config, _files(config)))
    assert (min(analysis.toys.belt_at), max(analysis.toys.belt_at)) == (-0.8, -0.2)


def test_files_that_another_process_generates_are_the_same(tmp_path):
    files = demo_files([("train", {"c_HW": 0.5}, 100)], seed=3)
    content = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.lhe.gz"
        _generate_all(files, [path], workers)
        content.append(path.read_bytes())
    assert content[0] == content[1]


@pytest.mark.early
@pytest.mark.usefixtures("few_pictures")
# Of few events and short trainings, which make a test short.
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
def test_a_small_demo_has_all_its_parts(tmp_path):
    """At its own sizes it is tested by cli/test_cli.py::test_the_demo_meets_its_contract."""
    config = DemoConfig(
        events=300,
        pool_events=2000,
        data_events=1000,
        n_toys=100,
        workers=1,
        ensemble=1,
        bag_size=10,
        epochs=2,
    )
    lines = []
    summary = run_demo(tmp_path, config, echo=lines.append)
    assert summary["poi"] == "c_HW"
    assert lines[-1].startswith("total")
    for method in ("polynomial-joint", "pyhf", "oracle"):
        low, high = summary[method]["interval68"]
        assert low < summary[method]["estimate"] < high, method
        assert 0 < summary[method]["coverage68"] <= 1, method
    assert set(summary) >= {"polynomial", "multiclass", "pyhf_classifier", "diagnostics"}
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["oracle"] == summary["oracle"]
    assert "c_HW" in (tmp_path / "report.html").read_text()
    for name in ("model", "calibration.json", "belt.json", "analysis.toml"):
        assert (tmp_path / name).exists(), name


def test_a_truth_without_room_for_calibration_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="too close to the ends of the training range"):
        run_demo(tmp_path, DemoConfig(truth=0.6))
    assert not list(tmp_path.iterdir())
