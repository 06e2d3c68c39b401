"""The HTML report."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from milinfer.intervals.information import relative_information
from milinfer.workflow.html_report import Report, svg_text
from milinfer.workflow.report import write_report
from reports import small_result

EVIL = "<script>alert('x')</script>&\"$"


def make() -> Report:
    report = Report("A & B", "lead <script>alert(1)</script>")
    report.section("First <b>")
    report.table(["<i>", "n"], [["x & y", "1"]], "caption <u>")
    for _ in range(2):
        figure = Figure()
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1])
        axis.set_title("<title>")
        report.figure(figure, "a figure")
    return report


def test_every_user_string_is_escaped():
    page = make().to_html()
    for bad in ("<script>", "<i>", "<u>", "First <b>"):
        assert bad not in page


def test_ids_are_unique_and_the_page_is_well_formed():
    page = make().to_html()
    root = ET.fromstring(
        page.split("<!DOCTYPE html>\n")[1]
        .replace('<meta charset="utf-8">', "")
        .replace('<meta name="viewport" content="width=device-width, initial-scale=1">', "")
    )
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert len(ids) > 10


def test_equal_figures_give_equal_bytes():
    def draw() -> str:
        figure = Figure()
        figure.subplots().plot([0, 1], [1, 0])
        return svg_text(figure)

    # Whatever the settings of who calls: ids would be drawn at random without a salt.
    assert draw() == draw()


def test_it_writes_utf8(tmp_path):
    Report("Λ(θ)").write(tmp_path / "r.html")
    assert "Λ(θ)" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report in which every name that a user chooses is hostile.

    Its figures are not laid out, and no PNG is drawn, which has no markup: both take longer than
    the analysis, and other reports have them.
    """
    folder = tmp_path_factory.mktemp("report")
    result = small_result(parameter=EVIL, process=EVIL, title=EVIL, label=EVIL)

    @contextmanager
    def not_laid_out(figure):
        figure.set_layout_engine(None)
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("milinfer.workflow.report_parts.laid_out", not_laid_out)
        patch.setattr("milinfer.workflow.report_parts.png_bytes", lambda _: b"a PNG")
        write_report(result, folder)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return result, summary, (folder / "report.html").read_text(encoding="utf-8"), folder


class Tables(HTMLParser):
    """Tables of a page as lists of rows of text."""

    def __init__(self):
        super().__init__()
        self.found, self.inside, self.heads = [], False, []

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.found.append([])
        elif tag == "tr":
            self.found[-1].append([])
        elif tag in ("td", "th"):
            self.found[-1][-1].append("")
            self.inside = True
            if tag == "th":
                self.heads.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.found[-1][-1][-1] += data


def tables(page):
    parser = Tables()
    parser.feed(page)
    return parser


def test_no_name_of_a_user_becomes_markup(written):
    _, _, page, folder = written
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert") > 10
    for path in (folder / "plots").glob("*.svg"):
        root = ET.parse(path).getroot()
        assert not [e for e in root.iter() if e.tag.endswith("script")]


def test_the_page_is_accessible(written):
    page = written[2]
    assert '<html lang="en">' in page
    found = tables(page)
    assert found.heads
    assert set(found.heads) == {"row", "col"}
    for svg in re.findall(r"<svg [^>]*>", page):
        assert 'role="img"' in svg
        assert re.search(r'aria-label="[^"]{20,}', svg)
    # Complete without scripts, styles and pictures from elsewhere.
    assert not re.search(r"<script|<link|(src|href)=[\"']https?:|@import", page)


def test_the_executive_table_says_what_the_summary_says(written):
    result, summary, page, _ = written
    header, *rows = tables(page).found[0]
    names = [m.name for m in result.comparison]
    assert len(rows) == len(names)
    for name, row in zip(names, rows, strict=True):
        figures = summary[name]
        shown = dict(zip(header, row, strict=True))
        assert shown[EVIL] == f"{figures['estimate']:+.3f}"
        for key, column in (("interval68", "68.27% interval"), ("interval95", "95.45% interval")):
            assert shown[column] == "[" + ", ".join(f"{v:+.3f}" for v in figures[key]) + "]"
        for level, column in (("68", "coverage 68.27%"), ("95", "coverage 95.45%")):
            value, error = (figures[f"coverage{level}{end}"] for end in ("", "_error"))
            assert shown[column] == f"{value:.1%} ± {error:.1%}"
        assert shown["I_eff"] == f"{figures['info_eff']:.0f} ± {figures['info_eff_error']:.0f}"
        ratio = f"{figures['info_relative']:.2f} ± {figures['info_relative_error']:.2f}"
        assert shown["I_eff / pyhf, feature"] == ratio
    assert dict(zip(header, rows[0], strict=True))["diagnostics"].startswith("do not trust")
    assert summary["diagnostics"][EVIL]["passed"] is False


def test_ratios_and_widths_are_those_of_the_table(written):
    """Regression: widths took the response from other toys than I_eff, and disagreed with it."""
    result, summary, _, _ = written
    best = max(result.templates, key=lambda name: summary[name]["info_eff"])
    for name, (ratio, error) in summary["width_over_best_histogram"].items():
        expected = summary[best]["info_eff"] / summary[name]["info_eff"]
        assert ratio == pytest.approx(np.sqrt(expected), rel=1e-9)
        assert summary[name]["info_relative"] == pytest.approx(1 / expected, rel=1e-9)
        toys = [[result.evaluation_toys[n], *result.calibration_toys[n]] for n in (name, best)]
        other = relative_information(*toys, n_bootstrap=50)
        assert summary[name]["info_relative_error"] == pytest.approx(other.ratio_error, rel=0.5)
        assert error == pytest.approx(summary[name]["info_relative_error"] * ratio**3 / 2, rel=1e-6)


def test_the_provenance_is_complete(written):
    _, summary, page, _ = written
    facts = summary["provenance"]
    assert facts["seed"] == 11
    assert facts["seeds"]["toys for coverage"] == 12
    assert facts["seeds"][f"training of {EVIL}"] == 7
    assert {"milinfer", "numpy", "tensorflow", "pyhf", "matplotlib"} <= facts["versions"].keys()
    assert facts["inputs"][0]["sha256"] == "0" * 64
    assert facts["run"]["steps"][0]["state"] == "cached"
    roles = {s["role"]: s for s in facts["samples"]}
    assert roles["toys for coverage"]["n_events"] == 120_000
    assert roles["templates"]["source"] == "tests.reports, seeds 4, 4, 4, 4, 4"
    text = " ".join(cell for table in tables(page).found for row in table for cell in row)
    for words in ("from the cache", "0" * 64, facts["python"], facts["versions"]["numpy"]):
        assert words in text
    assert facts["run"]["started"] in page


def test_every_figure_of_the_report_is_a_file_too(written):
    _, _, page, folder = written
    names = {p.stem for p in (folder / "plots").glob("*.svg")}
    assert names == {p.stem for p in (folder / "plots").glob("*.png")}
    assert page.count("<figure>") == len(names)
