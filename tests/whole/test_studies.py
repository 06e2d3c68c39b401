"""Every study runs, its statements hold, and its page says what its result says."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = sorted(p.stem for p in STUDIES.glob("*.py") if "STUDY = Study(" in p.read_text("utf-8"))


@pytest.fixture
def frame(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    return importlib.import_module("frame")


def load(name):
    sys.modules.pop(name, None)
    return importlib.import_module(name).STUDY


def test_there_are_studies():
    assert NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_quick_size_runs_and_its_statements_hold(frame, name, tmp_path):
    study = load(name)
    if study.needs and not os.environ.get(study.needs):
        with pytest.raises(frame.StudyError, match=study.needs):
            frame.run(study, ["--out", str(tmp_path)])
        return
    frame.run(study, ["--out", str(tmp_path)])
    record = json.loads((tmp_path / f"{name}-quick.json").read_text("utf-8"))
    assert record["results"]
    assert len(list(tmp_path.glob("*.svg"))) == len(study.figures(record["results"]))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_made_from_the_committed_result(frame, name):
    """Nobody edits a number by hand, and what the page says holds."""
    study = load(name)
    record = frame.committed(name)
    study.check(record["results"])
    written = (frame.PAGES / f"{name}.md").read_text("utf-8")
    assert frame.page(study, record) == written
    for title in study.figures(record["results"]):
        assert (frame.ROOT / "docs/figures/studies" / frame._file(study, title)).is_file()
