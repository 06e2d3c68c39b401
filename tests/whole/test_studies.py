"""Every study runs, its statements hold, and its page says what its result says."""

from __future__ import annotations

import json
import os

import pytest

from studies.common import frame

MODULES = frame.modules()


def test_there_are_studies():
    assert MODULES


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_quick_size_runs_and_its_statements_hold(name, tmp_path):
    study = frame.load(name)
    if study.needs and not os.environ.get(study.needs):
        with pytest.raises(frame.StudyError, match=study.needs):
            frame.run(study, ["--out", str(tmp_path)])
        return
    frame.run(study, ["--out", str(tmp_path)])
    record = json.loads((tmp_path / f"{name}-quick.json").read_text("utf-8"))
    assert record["results"]
    assert len(list(tmp_path.glob("*.svg"))) == len(study.figures(record["results"]))


@pytest.mark.parametrize("name", MODULES)
def test_the_page_is_made_from_the_committed_result(name):
    """Nobody edits a number by hand, and what the page says holds."""
    study = frame.load(name)
    record = frame.committed(name)
    frame.hold(study, record)
    written = (frame.PAGES / f"{name}.md").read_text("utf-8")
    assert frame.page(study, record) == written
    assert record["command"] == frame.command(name, record["size"], record["seed"])
    assert f"python -m {MODULES[name]} " in record["command"]
    for title in study.figures(record["results"]):
        assert (frame.ROOT / "docs/figures/studies" / frame._file(study, title)).is_file()
