"""What goes wrong around a program: full disks, and kills while it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import awkward as ak
import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import vbf_hww
from milinfer.io import events, lhe

CONVERTED = ("b.root", "b.parquet", "b.lhe", "b.lhe.gz")
TARGETS = (*CONVERTED, "f.parquet", "g.lhe")

# A limit on the size of files stands for the disk; a write beyond it fails as on a full one.
LIMITED = """
import resource, signal, sys
from milinfer.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for arguments in sys.argv[1:]:
    sys.argv = ["milinfer", *arguments.split("|")]
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are those of Unix")
def test_a_full_disk_leaves_no_half_of_a_file(tmp_path):
    lhe.write(
        tmp_path / "a.lhe",
        *vbf_hww.generate(2000, {"c_HW": 0.5}, seed=1).to_events(vbf_hww.DEFAULT_WEIGHTS),
    )
    (tmp_path / "old.root").write_text("an older file")
    targets = ["b.root", "b.parquet", "b.lhe", "b.lhe.gz", "old.root"]
    calls = [f"convert|{tmp_path}/a.lhe|--out|{tmp_path}/{t}" for t in targets]
    calls += [f"features|{tmp_path}/a.lhe|--out|{tmp_path}/f.{s}" for s in ("root", "parquet")]
    calls.append(f"generate|--events|500|--workers|1|--out|{tmp_path}/g.lhe")
    before = {p.name: p.stat().st_size for p in tmp_path.iterdir()}
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, *calls], check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == ["2"] * len(calls)
    assert "Traceback" not in run.stderr
    for name in [*targets, "f.root", "f.parquet", "g.lhe"]:
        assert f"'{tmp_path / name}'; check that file or folder" in run.stderr, name
    assert {p.name: p.stat().st_size for p in tmp_path.iterdir()} == before


# Every writer of Python, in one process with room for a hundred bytes in a file.
WRITERS = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.io import events

folder = Path(sys.argv[1])
samples = gaussian.samples(300, [-0.5, 0.0, 0.5], seed=1)
made = events.read(sys.argv[3])  # to generate them, a process of its own takes a second
record = made.events, made.info
varied = mil.Variation.of_features(samples[1], {"s": 1.0}, samples[1].features + 0.1)
writers = {
    "network": mil.BagLikelihood.load(sys.argv[2]).save,
    "trees": mil.BoostedLikelihood(reference=-0.5).fit(samples).save,
    "variations": mil.ProcessVariations(samples[1], [varied]).save,
    "e.root": lambda path: events.write(path, *record),
    "e.lhe": lambda path: events.write(path, *record),
    "e.parquet": lambda path: events.write(path, *record),
    "s.root": samples[0].to_file,
    "s.parquet": samples[0].to_file,
}
for name, write in writers.items():
    write(folder / name)
print("written", flush=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for name, write in writers.items():
    try:
        write(folder / name)
    except OSError as error:
        assert str(folder / name) in str(error) and ".partial-" not in str(error), error
        print(name, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are those of Unix")
def test_a_full_disk_leaves_older_models_and_events(tmp_path):
    """Regressions: HDF5 filled the screen, XGBoost named a temporary file, and an empty file
    took the place of older events in ROOT."""
    folder = tmp_path / "out"
    folder.mkdir()
    model = Path(__file__).parents[1] / "data" / "format4" / "multiclass"
    made = tmp_path / "made.lhe"
    lhe.write(made, *vbf_hww.generate(50, {"c_HW": 0.5}, seed=1).to_events(()))
    run = subprocess.run(
        [sys.executable, "-c", WRITERS, str(folder), str(model), str(made)],
        check=True,
        capture_output=True,
        text=True,
    )
    names = [
        "network",
        "trees",
        "variations",
        "e.root",
        "e.lhe",
        "e.parquet",
        "s.root",
        "s.parquet",
    ]
    assert run.stdout.split() == ["written", *names]
    assert "h5py" not in run.stderr
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)
    assert len(mil.BagLikelihood.load(folder / "network").fitted.points) > 0
    assert mil.BoostedLikelihood.load(folder / "trees").parameter == "mu"
    assert len(mil.ProcessVariations.load(folder / "variations").variations) == 1
    for name in ("e.root", "e.lhe", "e.parquet"):
        assert len(events.read(folder / name).events) == 50
    for name in ("s.root", "s.parquet"):
        assert len(mil.Sample.from_file(folder / name)) == 300


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_what_is_printed_is_lost_and_files_are_whole(command, tmp_path):
    """Regression: ``--json`` was not written, and Python ended with an exit code of its own."""
    lhe.write(tmp_path / "a.lhe", *vbf_hww.generate(50, seed=1).to_events())
    out, figures = tmp_path / "b.parquet", tmp_path / "f.json"
    arguments = [command, str(tmp_path / "a.lhe"), "--json", str(figures)]
    if command == "convert":
        arguments += ["--out", str(out)]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "milinfer", *arguments],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=buffered,
        )
    assert run.returncode == 2, run.stderr
    message = "Error: standard output cannot be written (No space left on device)"
    assert run.stderr.startswith(message)
    assert "files are complete" in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert json.loads(figures.read_text("utf-8"))
    if command == "convert":
        assert len(events.read(out).events) == 50


# Beyond the limit, the signal of which ends the process at once, as SIGKILL does.
KILLED = """
import os, resource, signal, sys
import milinfer.io.convert, milinfer.features.feature_set
import milinfer.samples.sample_files, milinfer.datasets.vbf_hww
from milinfer.cli import main
for arguments in sys.argv[1:]:
    sys.argv = ["milinfer", *arguments.split("|")]
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        main()
        os._exit(0)
    print(-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are those of Unix")
def test_a_kill_while_a_file_is_written(tmp_path):
    """The older file stays, the next run is as if nothing had been, and what was left is gone."""
    generated = vbf_hww.generate(2000, {"c_HW": 0.5}, seed=1)
    lhe.write(tmp_path / "a.lhe", *generated.to_events(vbf_hww.DEFAULT_WEIGHTS))
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    out.mkdir()
    undisturbed.mkdir()

    def calls(folder):
        converted = [f"convert|{tmp_path}/a.lhe|--out|{folder}/{t}" for t in CONVERTED]
        features = f"features|{tmp_path}/a.lhe|--out|{folder}/f.parquet"
        return [*converted, features, f"generate|--events|500|--workers|1|--out|{folder}/g.lhe"]

    for name in TARGETS:
        (out / name).write_text("an older file")
    command = [sys.executable, "-c", KILLED, *calls(out)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout.split() == [str(int(signal.SIGXFSZ))] * len(TARGETS), run.stderr
    for name in TARGETS:
        assert (out / name).read_text() == "an older file"
    left = [p for p in out.iterdir() if p.name not in TARGETS]
    assert {p.name.rpartition("-")[2] for p in left} == set(TARGETS)
    assert sum(0 < p.stat().st_size <= 50_000 for p in left) == len(TARGETS)
    for folder in (out, undisturbed):
        for arguments in calls(folder):
            result = CliRunner().invoke(cli, arguments.split("|"), catch_exceptions=False)
            assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == set(TARGETS)
    for name in TARGETS:
        if name.endswith(".root"):  # these have their time in them
            assert ak.array_equal(
                events.read(out / name).events, events.read(undisturbed / name).events
            )
        else:
            assert (out / name).read_bytes() == (undisturbed / name).read_bytes()
