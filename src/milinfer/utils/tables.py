"""Results as Arrow tables: one named and typed column for each number and for its error.

``pyarrow.Table.to_pandas`` makes a data frame of them, ``pyarrow.parquet.write_table`` a file.
What is not known is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.typing import Point

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["arrow_table", "point_cells", "point_types", "tuples_table"]


def arrow_table(types: Mapping[str, type], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Table of rows.

    Parameters
    ----------
    types
        ``str``, ``float``, ``int`` or ``bool`` of each column, in order.
    rows
        Values by column; missing ones, None and NaN are null.

    Returns
    -------
    pyarrow.Table
        With all columns also where there is no row.

    Raises
    ------
    ConfigurationError
        If a row has a column that `types` does not name.

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
    """Columns of a parameter point.

    Examples
    --------
    >>> point_types(["c_HW"])
    {'point.c_HW': <class 'float'>}
    """
    return {f"point.{name}": float for name in parameters}


def point_cells(point: Point) -> dict[str, float]:
    """Their values.

    Examples
    --------
    >>> point_cells({"c_HW": 0.5})
    {'point.c_HW': 0.5}
    """
    return {f"point.{name}": value for name, value in point.items()}


def tuples_table(
    kind: type, records: Sequence[Any], extra: Sequence[str] = (), **fixed: str
) -> pa.Table:
    """Table of named tuples: their fields that are a number, a text or a point, in order.

    Parameters
    ----------
    kind
        Class of the named tuples.
    records
        One for each row; points of one table have the same parameters.
    extra
        Properties of `kind`, each a number, that become columns at the end.
    fixed
        Columns of text that are the same in all rows, in front.

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
