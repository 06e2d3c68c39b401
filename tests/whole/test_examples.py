"""Every example runs."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
# Those with a test of their own.
TESTED_BELOW = {"higgsml"}


@pytest.mark.early
# What a tiny training or few events are warned of is no concern here.
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
@pytest.mark.usefixtures("small_defaults")
@pytest.mark.parametrize(
    "path", [p for p in EXAMPLES if p.stem not in TESTED_BELOW], ids=lambda p: p.stem
)
def test_example_runs(path, monkeypatch, capsys):
    """In this process, where TensorFlow is loaded once."""
    monkeypatch.setattr(sys, "argv", [str(path), "--quick"])
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed
    if path.stem == "nanoaod":
        assert "200 events, 36 with two jets, 4 with two leptons" in printed
        assert "llr:c_HW=0.5:jes_up" in printed


# As above.
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
def test_higgsml_from_a_file_to_a_score(tmp_path, capsys):
    """And again with the models that the first run has saved."""
    main = runpy.run_path(str(EXAMPLES[0].with_name("higgsml.py")))["main"]
    arguments = ["--quick", "--models", str(tmp_path / "models")]
    results = []
    for more in ([], ["--experiments", "2"]):
        main([*arguments, *more])
        results.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    first, again = results
    estimates = [row["estimate"] for row in first["intervals"]]
    assert len(estimates) == 30
    assert abs(sum(estimates) / 30 - 1) < 0.15
    assert 0.2 < first["score"]["width"] < 0.4
    # Three binomial standard deviations below the level.
    assert first["score"]["coverage"] > 0.6827 - 3 * (0.6827 * 0.3173 / 30) ** 0.5
    for one, other in zip(again["intervals"], first["intervals"], strict=False):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize(("batch", "word"), [("htcondor", "condor_submit"), ("slurm", "#SBATCH")])
def test_jobs_of_a_cluster(batch, word):
    pytest.importorskip("dask_jobqueue")
    path = Path(__file__).parents[2] / "examples" / "on_a_cluster.py"
    command = [sys.executable, path, "--batch", batch, "--show-job"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert word in run.stdout
    assert "TF_NUM_INTRAOP_THREADS=1" in run.stdout
