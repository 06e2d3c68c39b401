"""What became worse since the last release, by more than its error, is told, and nothing else."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import pytest

from scripts import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trend():
    return load_script(ROOT / "benchmarks" / "trend.py")


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
    times = {figure.file for figure in trend.FIGURES if figure.error == trend.BY_RUNS}
    assert {name.split("/")[0] for name, f in figures.items() if f.error is None} <= times
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
    release = trend.of_release(trend.releases()[version])
    for path in trend.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), encoding="utf-8")
    then = trend.measured(trend.read(tmp_path))
    if then == release:
        assert trend.main(["--results", str(tmp_path)]) == 0
    (tmp_path / "retrained.json").unlink()
    operators = json.loads((tmp_path / "many_operators.json").read_text("utf-8"))
    operators["rows"]["5"]["info_ratio"] /= 2
    (tmp_path / "many_operators.json").write_text(json.dumps(operators), encoding="utf-8")
    capsys.readouterr()
    assert trend.main(["--results", str(tmp_path), "--json", str(tmp_path / "out.txt")]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert json.loads((tmp_path / "out.txt").read_text("utf-8")) == found
    gone = [name for name in then if name.startswith("retrained/")]
    assert set(gone) <= set(found["vanished"])
    (row,) = [row for row in found["worse"] if row["figure"] == "many_operators/rows/5/info_ratio"]
    assert row["now"] == operators["rows"]["5"]["info_ratio"]
    assert row["sigmas"] > 10
    name = next(name for name in release if name.startswith("efficiency/"))
    trend.show(found | {"worse": [row | {"figure": name}]}, version, 1.0)
    assert "[quadratic" in capsys.readouterr().err  # brackets are no markup
    assert "many_operators/rows/5/info_ratio" in printed.err
    assert f"{gone[0]}: {version} has it" in printed.err.replace("\n", " ")


def test_an_error_that_no_result_has_is_that_of_repeated_runs(trend, tmp_path):
    """Of a release or of today's results, whichever has it."""
    figures = {}
    for name, ratio in {"result": 20.0, "a": 9.0, "b": 10.0, "c": 11.0}.items():
        (tmp_path / name).mkdir()
        text = json.dumps({"ratio_predict": ratio})
        (tmp_path / name / "toys.json").write_text(text, encoding="utf-8")
        figures[name] = trend.measured(trend.read(tmp_path / name))
    result, *runs = figures.values()
    alone, known = trend.with_runs(result, runs[:1]), trend.with_runs(result, runs)
    assert alone["toys/ratio_predict"].error is None
    assert known["toys/ratio_predict"].error == pytest.approx(2.0)
    for version, of in (("1.2", known), ("1.10", alone)):
        trend.write(trend.record(version, of), tmp_path / "releases" / f"{version}.json")
    kept = trend.releases(tmp_path / "releases")
    assert list(kept) == ["1.2", "1.10"]
    assert trend.of_release(kept["1.2"]) == known
    slower = {name: figure._replace(value=14.0) for name, figure in alone.items()}
    for then, now in ((known, slower), (alone, trend.with_runs(slower, runs))):
        (row,) = trend.compare(then, now, 1.0)["worse"]
        error = 2.0 if then is known else 1.4
        assert row["sigmas"] == pytest.approx(6.0 / error / 2**0.5)
    # Without any error nothing can be judged, and that is told.
    found = trend.compare(alone, slower, 1.0)
    assert found["worse"] == []
    (row,) = found["without_error"]
    assert (row["figure"], row["then"], row["now"]) == ("toys/ratio_predict", 20.0, 14.0)


def test_a_release_is_kept_once(trend, capsys):
    with pytest.raises(SystemExit):
        trend.main(["--record", list(trend.releases())[-1]])
    assert "kept already" in capsys.readouterr().err


def test_a_figure_without_the_error_it_should_have_is_named(trend, tmp_path):
    (tmp_path / "retrained.json").write_text('{"methods": {"a": {"0": {"mean": 1}}}}')
    with pytest.raises(LookupError, match=r"retrained/methods/a/0/mean needs .*'mean_error'"):
        trend.measured(trend.read(tmp_path))
