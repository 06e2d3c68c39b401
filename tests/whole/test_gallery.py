"""Every figure function is in the gallery, and every picture there is what it says."""

from __future__ import annotations

import ast
import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from milinfer import plotting
from scripts import load_script

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def gallery():
    return load_script(DOCS / "gallery.py")


def test_every_figure_function_has_one_picture(gallery):
    shown = [p.function for p in gallery.pictures() if p.module == "milinfer.plotting"]
    assert sorted(shown) == sorted(n for n in plotting.__all__ if n.startswith("plot_"))


def test_calls_and_captions_name_what_there_is(gallery):
    for p in gallery.pictures():
        if p.module.startswith("cabinetry"):
            pytest.importorskip("cabinetry")
        assert callable(getattr(importlib.import_module(p.module), p.function)), p.name
        ast.parse(p.call, mode="eval")
        assert p.caption.endswith(".")
        assert 40 < len(p.caption) < 250


def test_every_picture_is_there_and_small(gallery):
    names = {p.name for p in gallery.pictures()}
    assert {f.stem for f in gallery.FIGURES.glob("*.svg")} == names
    for name in names:
        path = gallery.FIGURES / f"{name}.svg"
        assert path.stat().st_size < gallery.LIMIT, name
        root = ET.parse(path).getroot()
        assert root.tag.endswith("svg")
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10, name
        assert "<dc:date>" not in path.read_text(encoding="utf-8")


def test_the_page_is_that_of_the_script(gallery):
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == gallery.page()


@pytest.mark.early
def test_the_gallery_is_drawn_again(gallery):
    """Not to the byte: trainings differ in the last digits from one processor to the next.

    Fewer events move curves, and sizes of pictures as little.  What a figure looks like is found
    when it is drawn, of which the file is only a part.
    """
    pytest.importorskip("cabinetry")
    for p, figure in gallery.figures(quick=True):
        figure.draw_without_rendering()
        root = ET.parse(gallery.FIGURES / f"{p.name}.svg").getroot()
        old = [float(root.get(key).removesuffix("pt")) for key in ("width", "height")]
        assert 72 * figure.get_size_inches() == pytest.approx(old, rel=0.1), p.name
