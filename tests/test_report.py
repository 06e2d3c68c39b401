"""The HTML report."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from milinfer.report import Report, svg_text


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

    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "milinfer"}):
        assert draw() == draw()


def test_it_writes_utf8(tmp_path):
    Report("Λ(θ)").write(tmp_path / "r.html")
    assert "Λ(θ)" in (tmp_path / "r.html").read_text(encoding="utf-8")
