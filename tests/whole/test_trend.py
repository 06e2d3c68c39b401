"""What became worse since the last release, by more than its error, is told, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trend():
    spec = importlib.util.spec_from_file_location("trend", ROOT / "benchmarks" / "trend.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # of a dataclass, which looks for the names of its types
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def committed(trend):
    return trend.read(trend.RESULTS)


def test_every_declaration_is_of_figures_that_are_there(trend, committed):
    for figure in trend.FIGURES:
        steps = figure.key.split("/")
        assert list(trend.walk(committed[figure.file], steps)), figure


def test_the_version_of_the_package_has_figures_with_errors(trend):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    figures = trend.of_release(trend.releases()[version])
    assert len(figures) > 100
    assert all(figure.error is not None for figure in figures.values())
    assert all(math.isfinite(figure.value) for figure in figures.values())


@pytest.mark.parametrize("sigmas", [5.0, 0.5, -5.0])
def test_a_figure_that_is_worse_by_more_than_its_error_is_told(trend, sigmas):
    """Each kind of figure once, made worse by so many errors of the difference."""
    release = trend.of_release(list(trend.releases().values())[-1])
    kinds = ("training/ratio_n1", "many_operators/rows/5/response_off")
    kinds += ("efficiency/rows[quadratic, multiclass-1, 20000]/response",)
    kinds += ("background/rows[network]/bias",)
    for name in kinds:
        then = {name: release[name]._replace(error=1e-3)}
        now = trend.made_worse(then, sigmas)
        found = trend.compare(then, now, 1.0)
        assert (found["compared"], found["measured_again"]) == (1, 1)
        assert [row["figure"] for row in found["worse"]] == ([name] if sigmas > 1 else [])
        for row in found["worse"]:
            assert row["sigmas"] == pytest.approx(sigmas)


def test_the_same_figures_are_no_news_and_one_that_vanished_is(trend, capsys, tmp_path):
    """From files to the exit code, with one result left out, and another without its rows."""
    version = list(trend.releases())[-1]
    release = trend.releases()[version]
    for path in trend.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), encoding="utf-8")
    then = trend.measured(trend.read(tmp_path))
    if then == trend.of_release(release):
        assert trend.main(["--results", str(tmp_path)]) == 0
    (tmp_path / "retrained.json").unlink()
    training = json.loads((tmp_path / "training.json").read_text("utf-8"))
    training["ratio_n1"] /= 3
    (tmp_path / "training.json").write_text(json.dumps(training), encoding="utf-8")
    capsys.readouterr()
    assert trend.main(["--results", str(tmp_path), "--json", str(tmp_path / "out.txt")]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert json.loads((tmp_path / "out.txt").read_text("utf-8")) == found
    gone = [name for name in then if name.startswith("retrained/")]
    assert set(gone) <= set(found["vanished"])
    (row,) = [row for row in found["worse"] if row["figure"] == "training/ratio_n1"]
    assert row["now"] == pytest.approx(row["then"] / 3, rel=0.5)
    assert row["sigmas"] > 1
    assert "training/ratio_n1" in printed.err
    assert f"{gone[0]}: {version} has it" in printed.err.replace("\n", " ")


def test_an_error_that_no_result_has_is_that_of_repeated_runs(trend, tmp_path):
    folders = [tmp_path / name for name in ("results", "a", "b")]
    for folder, ratio in zip(folders, (16.0, 15.0, 17.0), strict=True):
        folder.mkdir()
        text = json.dumps({"ratio_predict": ratio})
        (folder / "toys.json").write_text(text, encoding="utf-8")
    release = trend.record("1.2", folders[0], folders[1:])
    assert release["figures"] == {
        "toys/ratio_predict": {"value": 16.0, "error": 1.0, "better": "higher", "runs": 3}
    }
    alone = trend.record("1.2", folders[0], [])["figures"]["toys/ratio_predict"]
    assert alone["error"] is None
    trend.write(release, tmp_path / "releases" / "1.2.json")
    trend.write(release, tmp_path / "releases" / "1.10.json")
    kept = trend.releases(tmp_path / "releases")
    assert list(kept) == ["1.2", "1.10"]
    then = trend.of_release(kept["1.2"])
    # Without an error nothing can be told, and that is told.
    now = trend.measured(trend.read(folders[1]))
    assert trend.compare(then, now, 0.5)["worse"][0]["sigmas"] == pytest.approx(0.5**0.5)
    unknown = {name: figure._replace(error=None) for name, figure in then.items()}
    assert trend.compare(unknown, now, 0.5)["without_error"] == ["toys/ratio_predict"]


def test_a_release_is_kept_once(trend, capsys):
    with pytest.raises(SystemExit):
        trend.main(["--record", list(trend.releases())[-1]])
    assert "kept already" in capsys.readouterr().err


def test_a_figure_without_the_error_it_should_have_is_named(trend, tmp_path):
    (tmp_path / "retrained.json").write_text('{"methods": {"a": {"0": {"mean": 1}}}}')
    with pytest.raises(LookupError, match=r"retrained/methods/a/0/mean needs .*'mean_error'"):
        trend.measured(trend.read(tmp_path))
