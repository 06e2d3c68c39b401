"""Arrow tables: typed columns, nulls for what is not known."""

from __future__ import annotations

import math
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import ConfigurationError
from milinfer.typing import Point
from milinfer.utils.display import arrow_table, point_cells, point_types, tuples_table

TYPES = {"a": float, "n": int, "s": str, "b": bool}
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "a": st.none() | st.floats(),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "s": st.none() | st.text(st.characters(codec="utf-8")),
        "b": st.none() | st.booleans(),
    },
)


@given(st.lists(ROWS, max_size=4))
def test_rows_come_back(rows):
    table = arrow_table(TYPES, rows)
    assert table.schema.types == [pa.float64(), pa.int64(), pa.string(), pa.bool_()]
    for given_row, row in zip(rows, table.to_pylist(), strict=True):
        for name in TYPES:
            value = given_row.get(name)
            missing = value is None or (isinstance(value, float) and math.isnan(value))
            assert row[name] == (None if missing else value)


def test_a_column_without_a_type_is_refused():
    with pytest.raises(ConfigurationError, match=r"columns \['c'\] have no type"):
        arrow_table(TYPES, [{"c": 1}])


def test_points_are_columns():
    point = {"c_HW": 0.5, "c_W": -1.0}
    assert point_cells(point).keys() == point_types(list(point)).keys()


def test_named_tuples_leave_out_what_is_no_number():
    class Found(NamedTuple):
        name: str
        point: Point
        values: tuple[float, ...]
        count: int

        @property
        def twice(self) -> float:
            return 2.0 * self.count

    rows = tuples_table(Found, [Found("x", {"mu": 1.0}, (1.0,), 3)], ["twice"], model="m")
    assert rows.to_pylist() == [
        {"model": "m", "name": "x", "point.mu": 1.0, "count": 3, "twice": 6.0}
    ]
