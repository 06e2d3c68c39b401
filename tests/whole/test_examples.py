"""Every example runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path):
    run = subprocess.run([sys.executable, path], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout
    if path.stem == "nanoaod":
        assert "200 events, 36 with two jets, 4 with two leptons" in run.stdout
        assert "llr:c_HW=0.5:jes_up" in run.stdout


@pytest.mark.parametrize(("batch", "word"), [("htcondor", "condor_submit"), ("slurm", "#SBATCH")])
def test_jobs_of_a_cluster(batch, word):
    pytest.importorskip("dask_jobqueue")
    path = Path(__file__).parents[2] / "examples" / "on_a_cluster.py"
    command = [sys.executable, path, "--batch", batch, "--show-job"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert word in run.stdout
    assert "TF_NUM_INTRAOP_THREADS=1" in run.stdout
