"""Write formulas as MathML when the site is built, so that no page needs a network to show them.

Browsers draw MathML themselves.  Tall brackets and sums need a font for mathematics, which not
every computer has, so the site has a copy of Latin Modern Math (GUST Font License).  A command that
the converter does not know is a warning, and so an error of ``sphinx-build -W``.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

__all__ = ["FONT", "mathml", "setup"]

FONT = Path(str(files("mplhep_data"))) / "fonts" / "latinmodernmath" / "latinmodern-math.otf"
"""Font of the formulas; ``_static/milinfer.css`` names it."""

_LOG = logging.getLogger(__name__)

# Browsers put no space around ln and exp, and much around bars and slashes.
_NAME = re.compile(r"<m[io]>([a-z]{2,})</m[io]>(<mo[^>]*>(?:\(|&#x00028;))?")
_BAR = re.compile(r"<mo((?: [^>]*)?)>(&#x0007C;|&#x0002F;|[|/])</mo>")


def mathml(formula: str, *, display: str = "inline") -> str:
    r"""Return a formula of TeX as MathML.

    Parameters
    ----------
    formula
        Text between the dollar signs.
    display
        ``"inline"`` in a line of text, ``"block"`` on a line of its own.

    Raises
    ------
    ValueError
        If a part of it cannot be converted.

    Examples
    --------
    >>> mathml("x").partition("<mrow>")[2]
    '<mi>x</mi></mrow></math>'
    >>> mathml(r"\nosuchcommand x")
    Traceback (most recent call last):
        ...
    ValueError: a part of the formula \nosuchcommand x cannot be written as MathML
    """
    text = convert(formula, display=display)
    # The converter writes a character that means something in HTML as its number.
    if "\\" in text or "&#x0005C;" in text:
        msg = f"a part of the formula {formula} cannot be written as MathML"
        raise ValueError(msg)
    text = _NAME.sub(_spaced_name, text)
    return _BAR.sub(r'<mo lspace="0.08em" rspace="0.08em"\1>\2</mo>', text)


def _spaced_name(match: re.Match[str]) -> str:
    """Write the name of a function as an operator, with a space before what it is applied to."""
    name, bracket = match.groups(default="")
    right = "0" if bracket else "0.167em"
    return f'<mo lspace="0.167em" rspace="{right}">{name}</mo>{bracket}'


def _append(writer: Any, node: nodes.Element, display: str) -> None:
    tag = "div" if display == "block" else "span"
    writer.body.append(writer.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
    try:
        writer.body.append(mathml(node.astext(), display=display))
    except Exception as error:
        # Converters raise errors of many kinds; the build reports each with its place.
        _LOG.warning("%s", error or repr(error), location=node)
    writer.body.append(f"</{tag}>")
    raise nodes.SkipNode


def _inline(writer: Any, node: nodes.math) -> None:
    _append(writer, node, "inline")


def _block(writer: Any, node: nodes.math_block) -> None:
    _append(writer, node, "block")


def setup(app: Any) -> dict[str, bool]:
    """Add the renderer; Sphinx calls this."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
