"""Pages in a headless browser: their layout in numbers, and as a picture."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import NamedTuple

import numpy as np

# A window of a browser is 500 pixels wide at least; narrower pages are looked at in a frame.
_NARROWEST = 500
_MEASURE = """
<script>
addEventListener("load", () => {
  const box = e => { const r = e.getBoundingClientRect();
    return [r.left + scrollX, r.top + scrollY, r.width, r.height]; };
  const all = s => Array.from(document.querySelectorAll(s));
  const found = {
    window: document.documentElement.clientWidth,
    page: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    figures: all("figure > .scroll").map(box),
    drawings: all("figure svg").map(box),
    tables: all("div.scroll > table").map(t => [t.scrollWidth, t.parentElement.clientWidth]),
    font: Math.min(...all("p, td, th, figcaption, a").map(
      e => parseFloat(getComputedStyle(e).fontSize))),
  };
  const text = JSON.stringify(found);
  if (parent !== window) { parent.postMessage(text, "*"); return; }
  const pre = document.createElement("pre");
  pre.id = "found"; pre.hidden = true; pre.textContent = text; document.body.append(pre);
});
</script>
"""
_FRAME = """<!DOCTYPE html><html><body style="margin:0">
<iframe src="{source}" style="border:0;width:{width}px;height:{height}px"></iframe>
<script>addEventListener("message", e => {{
  const pre = document.createElement("pre"); pre.id = "found"; pre.hidden = true;
  pre.textContent = e.data; document.body.append(pre); }});</script></body></html>
"""


class Layout(NamedTuple):
    """What a browser has made of a page; boxes are left, top, width, height in pixels."""

    window: float
    page: float
    height: float
    figures: list[list[float]]
    drawings: list[list[float]]
    tables: list[list[float]]
    font: float


def find_browser() -> str | None:
    """The browser that CHROME names, or the first of the usual names."""
    given = os.environ.get("CHROME")
    if given:
        return shutil.which(given)
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((found for found in map(shutil.which, names) if found), None)


def open_page(
    html: str, width: int, folder: Path, known: Layout | None = None
) -> tuple[Layout, np.ndarray]:
    """Lay a page out at a width: its layout, and the whole of it in grey, shape (height, width).

    With `known`, the layout of a page of the same boxes, it is not measured again.
    """
    page = folder / f"page-{width}.html"
    page.write_text(html.replace("</head>", f"{_MEASURE}</head>"), encoding="utf-8")
    first = known or _laid_out(page, width, 900, folder)
    # A whole page is as high as it is at this width.
    height = int(np.ceil(first.height))
    picture = folder / f"picture-{width}.png"
    _browser(_target(page, width, height, folder), width, height, f"--screenshot={picture}")
    from PIL import Image

    with Image.open(picture) as image:
        return first, np.asarray(image.convert("L"))[:height, :width]


def _laid_out(page: Path, width: int, height: int, folder: Path) -> Layout:
    target = _target(page, width, height, folder)
    dom = _browser(target, width, height, "--virtual-time-budget=5000", "--dump-dom")
    match = re.search(r'<pre id="found"[^>]*>(.*?)</pre>', dom, re.DOTALL)
    assert match, f"the browser did not measure {page}"
    return Layout(**json.loads(unescape(match[1])))


def _target(page: Path, width: int, height: int, folder: Path) -> Path:
    if width >= _NARROWEST:
        return page
    frame = folder / f"frame-{width}.html"
    text = _FRAME.format(source=page.name, width=width, height=height)
    frame.write_text(text, encoding="utf-8")
    return frame


def _browser(page: Path, width: int, height: int, *options: str) -> str:
    browser = find_browser()
    assert browser
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--no-first-run", "--force-device-scale-factor=1", "--disable-dev-shm-usage"),
        f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={max(width, _NARROWEST)},{height}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout
