"""The report in a real browser, at the width of a screen and of a telephone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from browser import find_browser, open_page
from milinfer.plotting.results import plot_training
from milinfer.workflow.html_report import Report
from milinfer.workflow.report import build_report, draw_figures
from reports import small_result

WIDTHS = (1280, 420)
REFERENCE = Path(__file__).parents[1] / "pictures"
# Figures are compared as 48 × 32 grey points each: text is drawn as paths and does not depend on
# fonts, where lines fall between pixels does not matter, and a curve that moves does.
SHAPE = (32, 48)
# Root of the mean square of the difference, over that of the ink (white paper left out): 1 where a
# figure is empty, whatever the part of the paper that is white.
TOLERANCE = 0.3

pytestmark = [
    pytest.mark.skipif(
        find_browser() is None,
        reason="no browser: install chromium, or name a Chrome in the environment variable CHROME",
    ),
]


@pytest.fixture(scope="module")
def html():
    result = small_result()
    return build_report(result, draw_figures(result)).to_html()


@pytest.fixture(scope="module")
def opened(html, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return {width: open_page(html, width, folder) for width in WIDTHS}


def part(picture, box):
    left, top, width, height = (round(v) for v in box)
    return picture[top : top + height, left : left + width]


def thumbnail(picture):
    """Means over blocks, in [0, 1], shape SHAPE."""
    from PIL import Image

    image = Image.fromarray(picture).resize(SHAPE[::-1], Image.Resampling.BOX)
    return np.asarray(image) / 255


def thumbnails(layout, picture):
    return np.stack([thumbnail(part(picture, box)) for box in layout.figures])


def differences(found, expected):
    """One number for each figure."""
    ink = np.mean((1 - expected) ** 2, axis=(1, 2))
    return np.sqrt(np.mean((found - expected) ** 2, axis=(1, 2)) / ink)


def small_page():
    """A page of one figure, a wide table and text, without an analysis."""
    report = Report("Report", "What is found.")
    report.section("Figures")
    report.text("One figure and one table.")
    report.figure(plot_training([{"loss": [2.0, 1.5], "val_loss": [2.1, 1.7]}]), "Loss.")
    report.table([f"column {k}" for k in range(30)], [[f"{k / 7:.6f}" for k in range(30)]])
    return report.to_html()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_small_page_fits_its_window(width, tmp_path):
    """What the tests of the whole report look at, which are slow, of a page with one figure."""
    layout, picture = open_page(small_page(), width, tmp_path)
    assert layout.window == width
    assert layout.page <= width
    assert picture.shape == (layout.height, width)
    assert layout.font >= 12
    ((table, room),) = layout.tables
    assert table > room
    ((left, _, size, _),) = layout.figures
    assert left >= 0
    assert left + size <= width
    ((_, _, drawn, _),) = layout.drawings
    assert drawn >= 480
    assert part(picture, layout.figures[0]).std() > 8


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window(opened, width):
    layout, picture = opened[width]
    assert layout.window == width
    assert layout.page <= width
    assert picture.shape == (layout.height, width)
    for left, _, size, _ in layout.figures:
        assert left >= 0
        assert left + size <= width
    # Text of tables, too, is no smaller than this.
    assert layout.font >= 12


@pytest.mark.slow
def test_tables_and_figures_scroll_by_themselves_where_they_are_wide(opened):
    wide, narrow = (opened[width][0] for width in WIDTHS)
    assert any(table > room for table, room in narrow.tables)
    executive, room = wide.tables[0]
    assert executive <= 1.1 * room  # fonts differ
    # Wider than the window, so that 10 points of its text stay 10 pixels or more.
    assert all(box[2] >= 480 for box in narrow.drawings)


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_no_figure_is_empty(opened, width):
    layout, picture = opened[width]
    assert len(layout.figures) > 15
    for box in layout.figures:
        assert part(picture, box).std() > 8


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_figures_look_as_they_did(opened, width, request):
    """Where a figure has changed on purpose, run this file with PYTHONPATH=tests."""
    found = thumbnails(*opened[width])
    expected = read(width)
    assert found.shape == expected.shape, "a figure is missing or new"
    away = differences(found, expected)
    assert away.max() < TOLERANCE, dict(enumerate(away.round(3)))


@pytest.mark.slow
def test_a_missing_or_another_figure_is_noticed(html, opened, tmp_path):
    """The comparison fails where it should: one figure emptied, and two exchanged."""
    layout, picture = opened[1280]
    expected = thumbnails(layout, picture)
    emptied = re.sub(r"(<figure>.*?<svg [^>]*>).*?</svg>", r"\1</svg>", html, count=1, flags=re.S)
    # An empty picture keeps its place: the rest of the page is where it was.
    _, shot = open_page(emptied, 1280, tmp_path, layout)
    away = differences(thumbnails(layout, shot), expected)
    assert away[0] > 2 * TOLERANCE
    assert away[1:].max() < TOLERANCE
    assert part(shot, layout.figures[0]).std() < 8
    exchanged = expected[[1, 0, *range(2, len(expected))]]
    assert differences(exchanged, expected)[0] > TOLERANCE


def read(width):
    from PIL import Image

    with Image.open(REFERENCE / f"report-{width}.png") as image:
        rows = np.asarray(image.convert("L")) / 255
    return rows.reshape(-1, *SHAPE)


def write(folder):
    """Pictures of all figures under each other, one file for each width."""
    from PIL import Image

    REFERENCE.mkdir(exist_ok=True)
    result = small_result()
    page = build_report(result, draw_figures(result)).to_html()
    for width in WIDTHS:
        small = thumbnails(*open_page(page, width, folder))
        rows = (255 * small).round().astype(np.uint8).reshape(-1, SHAPE[1])
        Image.fromarray(rows).save(REFERENCE / f"report-{width}.png", optimize=True)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
