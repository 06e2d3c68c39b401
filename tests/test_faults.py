"""What goes wrong around a program: full disks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from milinfer import lhe
from milinfer.datasets import vbf_hww

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
        assert f"'{tmp_path / name}'; see to that file or folder" in run.stderr, name
    assert {p.name: p.stat().st_size for p in tmp_path.iterdir()} == before
