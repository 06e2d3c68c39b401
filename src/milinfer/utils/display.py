"""Show results as HTML in notebooks, as tables on terminals, as Arrow tables or as short texts.

HTML uses the colours of the page, so that it is readable in light and dark themes.  Text in HTML is
escaped.

Arrow tables have two columns for each measured quantity, one for its value and one for its error.
Unknown values are null.  ``pyarrow.Table.to_pandas`` converts them to data frames, and
``pyarrow.parquet.write_table`` writes them to files.
"""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError
from milinfer.typing import Point

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = [
    "UNKNOWN",
    "arrow_table",
    "brief",
    "html_facts",
    "html_histogram",
    "html_table",
    "measured",
    "point_cells",
    "point_types",
    "ranges",
    "rich_table",
    "shortened",
    "tuples_table",
]


UNKNOWN = "—"
"""Text shown for a missing number."""

# Of longer arrays, lists and texts only the size is shown.
_FEW, _LONG = 8, 80


def measured(value: float | None, error: float | None = None, unit: str = "") -> str:
    """Write a number with its error, to two digits of the error, and with its unit.

    Parameters
    ----------
    value
        The number.  None or NaN means that it is unknown.
    error
        Standard error, in the same unit.  None or NaN means that it is unknown.
    unit
        Unit of the number and its error.

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
    # An error of zero may be a rounding error after arithmetic; it is not shown.
    if error is None or not math.isfinite(error) or error <= 1e-12 * abs(value):
        return f"{value:.5g}{unit}"
    decimals = 1 - math.floor(math.log10(error))
    if decimals > 6 or abs(value) >= 1e7:
        return f"{value:.5g} ± {error:.2g}{unit}"
    decimals = max(decimals, 0)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}{unit}"


def shortened(names: Sequence[str], most: int = _FEW) -> str:
    """Write a list of names; a long list is cut, and the number of missing names is added.

    Examples
    --------
    >>> shortened(["a", "b"]), shortened(["a", "b", "c"], most=2)
    ('a, b', 'a, b and 1 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def ranges(limits: Mapping[str, tuple[float, float] | None]) -> str:
    """Write the names of parameters, and their limits if they have limits.

    Examples
    --------
    >>> ranges({"mu": (0.0, np.inf), "c_HW": (-1.0, 1.0), "jes": None})
    'mu in [0, inf], c_HW in [-1, 1], jes'
    """
    texts = [
        name if pair is None else f"{name} in [{pair[0]:g}, {pair[1]:g}]"
        for name, pair in limits.items()
    ]
    return shortened(texts)


def brief(instance: Any, *, leave_out: Sequence[str] = ()) -> str:
    """Write a dataclass or a named tuple as text, with the shapes of long arrays, not their values.

    Parameters
    ----------
    instance
        A dataclass or a named tuple.
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
    texts = [f"{n}={_short(getattr(instance, n))}" for n in names if n not in leave_out]
    return f"{type(instance).__name__}({', '.join(texts)})"


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


def percent(fraction: float, *errors: float | None) -> str:
    """Write a fraction in percent, with its error: all given errors added in quadrature.

    Parameters
    ----------
    fraction
        The fraction.
    errors
        Independent standard errors of the fraction.  An error that is None or NaN is unknown, and
        is left out.

    Examples
    --------
    >>> percent(0.6827, 0.01, 0.02), percent(0.6827, 0.01, None)
    ('68.3±2.2%', '68.3±1.0%')
    """
    known = [e for e in errors if e is not None and not math.isnan(e)]
    return f"{100 * fraction:.1f}±{math.hypot(*known):.1%}"


def html_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    marked: tuple[str, Mapping[str, str]] | None = None,
) -> str:
    """Make an HTML table of texts, all escaped.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        Texts of the cells of each row, one for each column.
    title
        Title above the table.
    marked
        Column with coloured cells: its name, and for each text of a cell the colour.

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
    """Make an HTML table of names and values, escaped; names with an empty value are left out.

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
    """Draw the outline of a histogram as SVG, in the colour of the text.

    Parameters
    ----------
    edges
        Finite edges, shape (n_bins + 1,).
    contents
        Contents of the bins, shape (n_bins,).  The height of a bin is its content divided by its
        width.
    label
        Label under the axis.

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


# Control characters of terminals or of the direction of text, except tab and newline.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Replace control characters by their numbers, so that a terminal does not obey them.

    Names in files from other people may contain control characters that move the cursor of a
    terminal or set its title.

    Examples
    --------
    >>> print(printable("vbf\x1b[2J"))
    vbf\x1b[2J
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def rich_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Sequence[str] = (),
    no_wrap: bool = False,
    caption: str = "",
    **style: Any,
) -> Table:
    """Make a table for the terminal.  Cells are plain texts: ``[r]`` is not read as a style.

    Parameters
    ----------
    title, header, rows
        As for :func:`html_table`.
    left
        Names of columns that are aligned to the left.  The first column always is.
    no_wrap
        Whether cells stay on one line.
    caption
        Text below the table.
    style
        Further arguments of ``rich.table.Table``.

    Examples
    --------
    >>> rich_table("t", ["a", "b"], [["[red]", "1"]]).row_count
    1
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(printable(title), "table.title"),
        caption=Text(printable(caption), "table.caption") if caption else None,
        **style,
    )
    for i, name in enumerate(header):
        is_left = i == 0 or name in left
        table.add_column(
            Text(printable(name)), justify="left" if is_left else "right", no_wrap=no_wrap
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def arrow_table(types: Mapping[str, type], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Make an Arrow table from rows.

    Parameters
    ----------
    types
        For each column, in order, its type: ``str``, ``float``, ``int`` or ``bool``.
    rows
        For each row, its values by name of the column.  A missing value, None or NaN becomes null.

    Returns
    -------
    pyarrow.Table
        Table with all columns, even if there are no rows.

    Raises
    ------
    ConfigurationError
        If a row has a column that is not in `types`.

    Examples
    --------
    >>> table = arrow_table({"a": float, "n": int}, [{"a": 0.5, "n": 1}, {"a": float("nan")}])
    >>> table.column_names, table.to_pylist()
    (['a', 'n'], [{'a': 0.5, 'n': 1}, {'a': None, 'n': None}])
    """
    import pyarrow as pa

    arrow = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    unknown = {name for row in rows for name in row} - set(types)
    if unknown:
        msg = f"columns {sorted(unknown)} have no type; there are {list(types)}"
        raise ConfigurationError(msg)
    return pa.table(
        {
            name: pa.array([_cell(row.get(name), kind) for row in rows], arrow[kind])
            for name, kind in types.items()
        }
    )


def _cell(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is float:
        number = float(value)
        return None if np.isnan(number) else number
    return kind(value)


def point_types(parameters: Sequence[str]) -> dict[str, type]:
    """Return names and types of the columns of a parameter point.

    Examples
    --------
    >>> point_types(["c_HW"])
    {'point.c_HW': <class 'float'>}
    """
    return {f"point.{name}": float for name in parameters}


def point_cells(point: Point) -> dict[str, float]:
    """Return the values of a parameter point by name of the column.

    Examples
    --------
    >>> point_cells({"c_HW": 0.5})
    {'point.c_HW': 0.5}
    """
    return {f"point.{name}": value for name, value in point.items()}


def tuples_table(
    kind: type, records: Sequence[Any], extra: Sequence[str] = (), **fixed: str
) -> pa.Table:
    """Make an Arrow table from named tuples; fields that are numbers, texts or points are columns.

    Parameters
    ----------
    kind
        Class of the named tuples.
    records
        One named tuple for each row; all points must have the same parameters.
    extra
        Names of properties of `kind` that are added as columns at the end.  They must be numbers.
    fixed
        Names and texts of further columns, which become the first columns of the table.  A text is
        the same in all rows.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> class Found(NamedTuple):
    ...     point: Point
    ...     value: float
    >>> tuples_table(Found, [Found({"mu": 0.5}, 1.0)], model="m").to_pylist()
    [{'model': 'm', 'point.mu': 0.5, 'value': 1.0}]
    """
    types: dict[str, type] = dict.fromkeys(fixed, str)
    points: list[str] = []
    for name, hint in get_type_hints(kind).items():
        if hint in (str, float, int, bool):
            types[name] = hint
        elif get_origin(hint) is get_origin(Point) and records:
            points.append(name)
            types |= point_types(list(getattr(records[0], name)))
    types |= dict.fromkeys(extra, float)
    rows = []
    for record in records:
        row: dict[str, Any] = {n: getattr(record, n) for n in types if hasattr(record, n)} | fixed
        for name in points:
            row |= point_cells(getattr(record, name))
        rows.append(row)
    return arrow_table(types, rows)
