"""Pages quote what results of benchmarks say; figures that no result has are known.

The build of the documentation reads the same results (``docs/quoted.py``).
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import load_script

ROOT = Path(__file__).parents[2]
quoted = load_script(ROOT / "docs" / "quoted.py")
PAGES = {name: path.read_text("utf-8") for name, path in quoted.pages().items()}

# A figure with an error was measured.  These have no result that is kept: the command beside each
# makes it again, and whoever does so may keep the result and quote that.
WITHOUT_RESULT = {
    "docs/demo.md": {
        *("0.882 ± 0.005",),  # an earlier rule for bins
        *("0.930 ± 0.019", "0.820 ± 0.024", "0.534 ± 0.020", "0.352 ± 0.016"),
        *("66.4 ± 1.5 ± 1.1", "68.0 ± 1.5 ± 1.0", "69.6 ± 1.5 ± 0.6", "67.2 ± 1.5 ± 0.3"),
        *("65.1 ± 1.5 ± 2.3",),  # milinfer demo --operators 2
    },
    "docs/explain/coverage.md": {"0.029 ± 0.006"},
    "docs/howto/goodness_of_fit.md": {"0.52 ± 0.03", "0.53 ± 0.03"},
    "docs/performance.md": {"0.890 ± 0.001", "0.920 ± 0.001"},
}
# Those of examples in the text, which nobody measured, and pages whose code is run at the build or
# that have a result and a test of their own.
EXAMPLES = {
    "docs/configuration.md": {"0 ± 1"},
    "docs/howto/combine.md": {"0 ± 1", "1 ± 0.02"},
    "docs/howto/higgsml.md": {"0 ± 1", "1 ± 0.01", "1 ± 0.02", "1 ± 0.25", "1 ± 0.001"},
    "docs/howto/profiled_belts.md": {"15 ± 6"},
}
ELSEWHERE = ("docs/studies/", "docs/tutorials/")
MEASURED = re.compile(r"[-+−]?\d[\d.]*(?: ± \d+(?:\.\d+)?)+")
CODE = re.compile(r"^(```|:::).*?^\1$|`[^`\n]*`", flags=re.MULTILINE | re.DOTALL)


def prose(page):
    """A page without code, and without the figures that are read from results."""
    return CODE.sub("", quoted.plain(page, PAGES[page], instead=""))


@pytest.mark.parametrize("page", sorted(page for page, text in PAGES.items() if "{{" in text))
def test_a_page_says_what_results_say(page):
    new = quoted.filled(page, PAGES[page])
    assert new == PAGES[page], "python docs/quoted.py --write"


@pytest.mark.parametrize("page", sorted(p for p in PAGES if not p.startswith(ELSEWHERE)))
def test_a_figure_with_an_error_is_read_from_a_result(page):
    known = WITHOUT_RESULT.get(page, set()) | EXAMPLES.get(page, set())
    assert set(MEASURED.findall(prose(page))) == known


# Of bounds and other mathematics, of single datasets, and of settings.
OTHER_DECIMALS = {"2.6", "1.1", "0.15", "0.3", "0.2", "0.9", "8.5"}
OTHER_DECIMALS |= {"0.890", "0.920", "0.001"}  # without a result, as above


def test_every_decimal_of_the_page_on_performance_is_read_from_a_result():
    found = re.findall(r"(?<![\w.])\d+\.\d+", prose("docs/performance.md"))
    assert set(found) == OTHER_DECIMALS


def test_there_are_pages_that_quote():
    quoting = {page for page, text in PAGES.items() if text != quoted.plain(page, text)}
    assert {"README.md", "docs/performance.md", "docs/heads.md"} < quoting
    assert len(quoting) >= 15


def scaled(value, factor):
    """Every number of a result, times a factor."""
    if isinstance(value, dict):
        return {key: scaled(item, factor) for key, item in value.items()}
    if isinstance(value, list):
        return [scaled(item, factor) for item in value]
    return value * factor if isinstance(value, float) else value


def test_another_result_is_another_page(monkeypatch):
    """The build reads results; and whatever the source says, the site says what they do."""
    found = dict(quoted.results())
    speed = found["training"]["events_per_s_n1"]
    now, twice = quoted.digits(speed, 3), quoted.digits(2 * speed, 3)
    found["training"] = scaled(found["training"], 2)
    monkeypatch.setattr(quoted, "results", lambda: found)
    page = "docs/performance.md"
    assert f"| {now}<!--" in PAGES[page]
    source = [PAGES[page]]
    connected = {}

    depends = []
    environment = SimpleNamespace(note_dependency=depends.append)
    app = SimpleNamespace(connect=connected.setdefault, env=environment)
    quoted.setup(app)
    connected["source-read"](app, page.removeprefix("docs/").removesuffix(".md"), source)
    assert str(quoted.RESULTS / "training.json") in depends
    assert f"| {twice} |" in source[0]
    assert f"| {now}" not in source[0]
    assert "<!--" not in source[0]


def test_a_key_that_is_missing_ends_the_build():
    found = copy.deepcopy(dict(quoted.results()))
    del found["training"]["ratio_n50"]
    with pytest.raises(
        quoted.QuoteError, match=r"performance\.md quotes .*no attribute 'ratio_n50'"
    ):
        quoted.filled("docs/performance.md", PAGES["docs/performance.md"], found)


FOUND = {
    "a": {"b": 5.25, "b_error": 0.31, "rows": [{"k": 1, "v": 7.4}, {"k": 2, "v": 12345.6}]},
    "word": "no number",
}


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("5 to 9<!-- {{ places(a.b) }} to {{ digits(a.rows[1].v, 3) }} --> s", "5 to 12 300"),
        ("of 5 0.1 ± 1.2<!-- {{ with_error(a, 'b', 1, 10) }} -->", "of 5 52.5 ± 3.1"),
        ("−3<!-- {{ places(-a.b) }} -->", "−5"),
        ("3<!-- {{ places(-a.b / 1e3) }} -->", "0"),
        ("7<!-- {{ places(only(a.rows, k=1).v, 2) }} -->", "7.40"),
        ("7<!-- {{ places(max(column(a.rows, 'v')) / 1e3, 1) }} -->", "12.3"),
        (
            "<!-- {% for r in a.rows %}\n| {{ r.k }} |{% endfor %} -->\n\n| 3 |\n\n<!-- end -->",
            "| 1",
        ),
    ],
)
def test_figures_are_written_where_they_stand(source, filled):
    new = quoted.filled("page.md", source, FOUND)
    assert quoted.filled("page.md", new, FOUND) == new
    text = quoted.filled("page.md", source, FOUND, keep=False)
    assert text.startswith(filled)
    assert "<!--" not in text
    assert quoted.plain("page.md", new) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("5<!-- {{ places(a.c) }} -->", "no attribute 'c'"),
        ("5<!-- {{ places(c.b) }} -->", "'c' is undefined"),
        ("5<!-- {{ places(word) }} -->", "'no number' is no finite number"),
        ("5<!-- {{ places(only(a.rows, k=3).v) }} -->", "0 rows have"),
        ("five<!-- {{ places(a.b) }} -->", "no such figures before it"),
        ("5 and 6<!-- {{ places(a.b) }} to {{ places(a.b) }} -->", "no such figures before it"),
        ("| 5<!-- {{ a.b | round }} --> |", "ends the cell"),
        ("<!-- {{ a.b }} -->\n\ntext\n", "is no template"),
        ("text\n\n<!-- end -->\n", "is no template"),
        ("5<!-- {{ places(a.b -->", "is no template"),
    ],
)
def test_what_cannot_be_read_from_a_result_is_said(source, message):
    with pytest.raises(quoted.QuoteError, match=re.escape(message)):
        quoted.filled("page.md", source, FOUND)


def test_the_command_writes_what_results_say(monkeypatch, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("4<!-- {{ places(a.b) }} -->\n", encoding="utf-8")
    monkeypatch.setattr(quoted, "pages", lambda: {"page.md": page})
    monkeypatch.setattr(quoted, "results", lambda: FOUND)
    assert quoted.main([]) == 1
    assert "+5<!--" in capsys.readouterr().out
    assert page.read_text("utf-8").startswith("4")
    assert quoted.main(["--write"]) == 0
    assert page.read_text("utf-8") == "5<!-- {{ places(a.b) }} -->\n"
    assert quoted.main([]) == 0
