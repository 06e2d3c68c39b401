"""Results as a notebook and a terminal show them: few numbers, with errors, never long arrays.

HTML takes its colours from the page, so that it is read on light and dark themes, and everything
that comes from a user is escaped.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "UNKNOWN",
    "brief",
    "html_facts",
    "html_histogram",
    "html_table",
    "measured",
    "rich_table",
    "shortened",
]

UNKNOWN = "—"
"""What stands for a number that is not known."""

# Longer arrays, lists and texts are shown by their size.
_FEW, _LONG = 8, 80


def measured(value: float | None, error: float | None = None, unit: str = "") -> str:
    """A number with its error to two digits, and its unit.

    Parameters
    ----------
    value
        None and NaN are not known.
    error
        Standard error in the same unit; None and NaN are not known.
    unit
        Of both.

    Examples
    --------
    >>> measured(0.31234, 0.0213), measured(1234.5, 56.0, "pb"), measured(float("nan"))
    ('0.312 ± 0.021', '1234 ± 56 pb', '—')
    >>> measured(0.5), measured(2.5e-7, 1e-8)
    ('0.5', '2.5e-07 ± 1e-08')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    unit = f" {unit}" if unit else ""
    # What arithmetic leaves of an error that is zero is none.
    if error is None or not math.isfinite(error) or error <= 1e-12 * abs(value):
        return f"{value:.5g}{unit}"
    decimals = 1 - math.floor(math.log10(error))
    if decimals > 6 or abs(value) >= 1e7:
        return f"{value:.5g} ± {error:.2g}{unit}"
    decimals = max(decimals, 0)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}{unit}"


def shortened(names: Sequence[str], most: int = _FEW) -> str:
    """Names, or the first of them and how many more there are.

    Examples
    --------
    >>> shortened(["a", "b"]), shortened(["a", "b", "c"], most=2)
    ('a, b', 'a, b and 1 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def brief(instance: Any, *, leave_out: Sequence[str] = ()) -> str:
    """Text of a dataclass or a named tuple with shapes in the place of long arrays.

    Parameters
    ----------
    instance
        Of a dataclass or a named tuple.
    leave_out
        Fields that are not shown.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> class Found(NamedTuple):
    ...     name: str
    ...     values: np.ndarray
    ...     close: np.ndarray
    >>> brief(Found("a", np.zeros((1000, 3)), np.array([1.0, 2.5])))
    "Found(name='a', values=array of shape (1000, 3), close=[1, 2.5])"
    """
    if dataclasses.is_dataclass(instance):
        names = [f.name for f in dataclasses.fields(instance) if f.repr]
    else:
        names = list(instance._fields)
    shown = [f"{n}={_short(getattr(instance, n))}" for n in names if n not in leave_out]
    return f"{type(instance).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.ndim == 1 and len(value) <= _FEW and value.dtype.kind in "fiu":
            return "[" + ", ".join(f"{v:.5g}" for v in value.tolist()) + "]"
        return f"array of shape {value.shape}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, Mapping)) and len(value) > _FEW:
        return f"{type(value).__name__} of {len(value)}"
    if type(value) is tuple:
        return f"({', '.join(map(_short, value))}{',' * (len(value) == 1)})"
    text = repr(value)
    if len(text) <= _LONG:
        return text
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return f"{type(value).__name__}(…)"


def html_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    marked: tuple[str, Mapping[str, str]] | None = None,
) -> str:
    """HTML table of texts, all of them escaped.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        Cells, as many in each row as there are columns.
    title
        Above the table.
    marked
        Name of a column, and the colour of its cells by their text.

    Examples
    --------
    >>> html_table(["a"], [["<b>"]])
    '<table><thead><tr><th style="text-align:left">a</th></tr></thead>...&lt;b&gt;...</table>'
    """
    column, colours = marked or ("", {})

    def style(name: str, cell: str) -> str:
        # Words to the left, numbers to the right; a number may have an error or a unit.
        left = name == header[0] or cell[:1] not in {*"0123456789+-−["}
        marks = name == column and cell in colours
        colour = f";font-weight:bold;color:{colours[cell]}" if marks else ""
        return f"text-align:{'left' if left else 'right'}{colour}"

    head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style(name, cell)}">{html.escape(cell)}</td>'
            for name, cell in zip(header, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_facts(title: str, facts: Mapping[str, Any]) -> str:
    """HTML table of names and values, escaped; facts without a value are left out.

    Examples
    --------
    >>> html_facts("Sample", {"events": 3, "unit": ""})
    '<table><caption>Sample</caption>...<th ...>events</th><td ...>3</td></tr></tbody></table>'
    """
    left = ' style="text-align:left"'
    body = "".join(
        f"<tr><th{left}>{html.escape(name)}</th><td{left}>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if str(value) != ""
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{body}</tbody></table>"


def html_histogram(edges: ArrayLike, contents: ArrayLike, label: str) -> str:
    """Outline of a histogram as SVG in the colour of the text.

    Parameters
    ----------
    edges
        Finite edges, shape (n_bins + 1,).
    contents
        Shape (n_bins,); drawn per width of the bin.
    label
        Under the axis.

    Examples
    --------
    >>> html_histogram([0, 1, 3], [1.0, 1.0], "x").count("polyline")
    1
    """
    x, y = np.asarray(edges, np.float64), np.asarray(contents, np.float64)
    density = y / np.diff(x)
    highest = max(float(density.max(initial=0.0)), np.finfo(np.float64).tiny)
    across = 240 * (x - x[0]) / (x[-1] - x[0])
    up = -90 * density / highest
    outline = [(0.0, 0.0)]
    for low, high, value in zip(across[:-1], across[1:], up, strict=True):
        outline += [(low, value), (high, value)]
    points = " ".join(f"{a:.4g},{b:.4g}" for a, b in [*outline, (240.0, 0.0)])
    text = 'style="fill:currentColor;font-size:11px"'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -100 260 130" width="320">'
        '<line x1="0" y1="0" x2="240" y2="0" style="stroke:currentColor"/>'
        f'<polyline points="{points}" style="fill:none;stroke:currentColor"/>'
        f'<text x="0" y="13" text-anchor="start" {text}>{x[0]:.4g}</text>'
        f'<text x="240" y="13" text-anchor="end" {text}>{x[-1]:.4g}</text>'
        f'<text x="120" y="26" text-anchor="middle" {text}>{html.escape(label)}</text></svg>'
    )


def rich_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Sequence[str] = (),
    no_wrap: bool = False,
    **style: Any,
) -> Table:
    """Table for the terminal; its cells are text and no markup.

    Parameters
    ----------
    title, header, rows
        As of :func:`html_table`.
    left
        Columns of words, beside the first.
    no_wrap
        Whether cells stay on one line.
    style
        Passed to ``rich.table.Table``.

    Examples
    --------
    >>> rich_table("t", ["a", "b"], [["[red]", "1"]]).row_count
    1
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), **style)
    for i, name in enumerate(header):
        is_left = i == 0 or name in left
        table.add_column(Text(name), justify="left" if is_left else "right", no_wrap=no_wrap)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
