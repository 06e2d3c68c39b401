"""Every study runs, its statements hold, and its page says what its result says."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from functools import cache

import pytest

from studies.common import frame

MODULES = frame.modules()
DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+")


# Few steps at a high rate: between two kinds of processor the last digits grow to differences of up
# to 0.0075 or 11 %, and of up to 0.1 (a mean over 20 datasets, whose error is 0.05).
GROWS = {
    "gaussian_regression": {"relative": 0.15, "absolute": 0.01},
    "vbf_regression": {"relative": 0.15, "absolute": 0.15},
}


def differences(then, now, name="", relative=0.02, absolute=5e-4):
    """What is not the same number, within what other processors make of the same training."""
    if isinstance(then, dict) and isinstance(now, dict):
        if then.keys() != now.keys():
            return [f"{name}: other keys"]
        pairs = [(f"{name}/{k}", then[k], now[k]) for k in then]
    elif isinstance(then, list) and isinstance(now, list):
        if len(then) != len(now):
            return [f"{name}: other length"]
        pairs = [(f"{name}/{i}", *both) for i, both in enumerate(zip(then, now, strict=True))]
    elif isinstance(then, float) or isinstance(now, float):
        same = math.isclose(then, now, rel_tol=relative, abs_tol=absolute)
        return [] if same else [f"{name}: {then} and {now}"]
    else:
        return [] if then == now else [f"{name}: {then!r} and {now!r}"]
    return [line for x, a, b in pairs for line in differences(a, b, x, relative, absolute)]


def test_differences_are_found():
    then = {"a": [1.0, {"b": "x"}], "n": 3}
    assert differences(then, {"a": [1.01, {"b": "x"}], "n": 3}) == []
    assert differences(then, {"a": [1.05, {"b": "y"}], "n": 4}) == [
        "/a/0: 1.0 and 1.05",
        "/a/1/b: 'x' and 'y'",
        "/n: 3 and 4",
    ]
    assert differences(then, {"a": [1.0], "n": 3}) == ["/a: other length"]
    assert differences(then, {"a": then["a"]}) == [": other keys"]


def test_there_are_studies():
    assert MODULES


def test_a_bar_in_a_cell_does_not_end_the_cell():
    """Regression: |x| < 2 in a heading, which made a table into plain text."""
    assert frame.markdown(["|x|"], [["a"]]) == "| \\|x\\| |\n| --- |\n| a |"


def test_quick_results_of_cheap_studies_are_committed():
    """A reader who runs the quick size can compare; the test above does."""
    found = [p.stem.removesuffix("-quick") for p in frame.RESULTS.glob("*-quick.json")]
    assert set(found) <= set(MODULES)
    assert len(found) >= 8
    for name in found:
        record = json.loads((frame.RESULTS / f"{name}-quick.json").read_text("utf-8"))
        assert record["command"] == frame.command(name, "quick", 0)
        assert not frame.older(frame.load(name), record)
        frame.hold(frame.load(name), record)


@pytest.mark.early
@pytest.mark.parametrize("name", MODULES)
def test_the_quick_size_runs_and_its_statements_hold(name, tmp_path):
    study = frame.load(name)
    if study.needs and not os.environ.get(study.needs):
        with pytest.raises(frame.StudyError, match=study.needs):
            frame.run(study, ["--out", str(tmp_path)])
        return
    drawn = []

    def figures(results):
        drawn.append(study.figures(results))
        return drawn[-1]

    frame.run(study._replace(figures=figures), ["--out", str(tmp_path)])
    record = json.loads((tmp_path / f"{name}-quick.json").read_text("utf-8"))
    assert record["results"]
    before = frame.RESULTS / f"{name}-quick.json"
    if before.is_file():
        committed = json.loads(before.read_text("utf-8"))
        grows = GROWS.get(name, {})
        assert differences(committed["results"], record["results"], **grows) == []
    assert len(list(tmp_path.glob("*.svg"))) == len(drawn[0])


OLD = pytest.mark.xfail(strict=True, reason="takes half an hour of processor time to make again")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=OLD) if n == "parametrised" else n for n in MODULES]
)
def test_no_page_is_older_than_the_code_it_depends_on(name):
    study, record = frame.load(name), frame.committed(name)
    how = frame.command(name, record["size"], record["seed"])
    assert not frame.older(study, record), f"run {how} again"


def test_a_changed_setting_or_version_makes_a_page_old():
    study, record = frame.load("classifier_losses"), frame.committed("classifier_losses")
    assert not frame.older(study, record)
    text = frame.older(study._replace(version=study.version + 1), record)
    assert "version" in text

    def otherwise(size):
        settings = study.settings(size)
        return {**settings, "training": dataclasses.replace(settings["training"], epochs=3)}

    other = study._replace(settings=otherwise)
    assert frame.older(other, record) == "these settings have changed: training, epochs"
    assert "**Older than the code:** these settings" in frame.block(other, record)

    def added(size):
        return {**study.settings(size), "an option that came later": True}

    assert not frame.older(study._replace(settings=added), record)
    fewer = {k: v for k, v in study.settings("full").items() if k != "network"}
    assert "network" in frame.older(study._replace(settings=lambda _: fewer), record)


@cache
def published(name):
    """A study, whose figures are made once, and its committed result."""
    study, record = frame.load(name), frame.committed(name)
    made = study.figures(record["results"])
    return study._replace(figures=lambda _: made), record


@pytest.mark.parametrize("name", MODULES)
def test_numbers_in_prose_are_those_of_the_results(name):
    study, record = published(name)
    prose, quotes = frame.closing(name), study.quotes(record["results"])
    for quote in quotes:
        assert quote in prose
    known = set(DECIMAL.findall(" ".join([frame.block(study, record), *quotes])))
    assert set(DECIMAL.findall(prose)) <= known


@pytest.mark.parametrize("name", MODULES)
def test_the_page_is_made_from_the_committed_result(name):
    """Nobody edits a number by hand, and what the page says holds."""
    study, record = published(name)
    frame.hold(study, record)
    written = (frame.PAGES / f"{name}.md").read_text("utf-8")
    assert frame.page(study, record) == written
    assert record["command"] == frame.command(name, record["size"], record["seed"])
    assert f"python -m {MODULES[name]} " in record["command"]
    for title in study.figures(record["results"]):
        assert (frame.ROOT / "docs/figures/studies" / frame._file(study, title)).is_file()
