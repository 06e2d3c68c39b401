"""Every example runs."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
# What a tiny training or few events are warned of is no concern here.
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path, monkeypatch, capsys):
    """In this process, where TensorFlow is loaded once."""
    monkeypatch.setattr(sys, "argv", [str(path), "--quick"])
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed
    if path.stem == "nanoaod":
        assert "200 events, 36 with two jets, 4 with two leptons" in printed
        assert "llr:c_HW=0.5:jes_up" in printed
    if path.stem == "higgsml":
        result = json.loads(printed.splitlines()[-1])
        estimates = [row["estimate"] for row in result["intervals"]]
        assert len(estimates) == 30
        assert abs(sum(estimates) / 30 - 1) < 0.15
        # Three binomial standard deviations below the level.
        assert result["score"]["coverage"] > 0.6827 - 3 * (0.6827 * 0.3173 / 30) ** 0.5
        assert 0.2 < result["score"]["width"] < 0.4


@pytest.mark.parametrize(("batch", "word"), [("htcondor", "condor_submit"), ("slurm", "#SBATCH")])
def test_jobs_of_a_cluster(batch, word):
    pytest.importorskip("dask_jobqueue")
    path = Path(__file__).parents[2] / "examples" / "on_a_cluster.py"
    command = [sys.executable, path, "--batch", batch, "--show-job"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert word in run.stdout
    assert "TF_NUM_INTRAOP_THREADS=1" in run.stdout
