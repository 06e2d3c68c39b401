"""Files of columns: those that need more memory than there is, numbers, and columns of texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milinfer.exceptions import SampleError
from milinfer.io.event_range import EventRange
from milinfer.io.flat_files import ParquetTable, RowGroupTable


def test_a_small_file_of_very_many_events_says_how_much_memory_they_need(tmp_path, monkeypatch):
    """4 MB hold 5e8 equal numbers; it was called damaged."""
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": pa.repeat(0.5, 1_000_000), "y": pa.repeat(1, 1_000_000)}), file)
    assert file.stat().st_size < 10_000

    def fail(*arguments, **options):
        raise pa.ArrowMemoryError("malloc of size 8000000 failed")

    monkeypatch.setattr(pq.ParquetFile, "read", fail)
    with pytest.raises(SampleError, match=r"a\.parquet: its 1000000 events with 2 col"):
        ParquetTable(file).read(["x", "y"])


def test_texts_with_few_values(tmp_path):
    texts = ["ww", "zz", "ww", "tt"]
    columns = {
        "process": texts,
        "coded": pa.array(texts).dictionary_encode(),
        "gap": ["ww", "zz", None, "tt"],
        "x": [0.0, 1.0, 2.0, 3.0],
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    table = ParquetTable(path)
    for name in ("process", "coded"):
        codes, names = table.categories(name)
        assert [names[k] for k in codes] == texts
        codes, names = table.categories(name, EventRange(1, 3))
        assert [names[k] for k in codes] == texts[1:3]
    with pytest.raises(SampleError, match=r"column 'gap' has no text in event 2 \(counted"):
        table.categories("gap", EventRange(1, 4))
    with pytest.raises(SampleError, match="column 'x' is of double; choose a column of texts"):
        table.categories("x")
    with pytest.raises(SampleError, match=r"has no columns proces; it has process, coded"):
        table.categories("proces")


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    """Regression: one row group of such a file ended with a KeyError."""
    file = tmp_path / "twice.parquet"
    columns = [pa.array([1.0, 2.0]), pa.array([3.0, 4.0])]
    pq.write_table(pa.table(columns, names=["x", "x"]), file)
    for table in (ParquetTable(file), RowGroupTable(file)):
        with pytest.raises(
            SampleError, match=r"twice\.parquet: a column is there twice .*Field .x. exists"
        ):
            table.read(["x"])


def test_numbers_of_several_row_groups_have_the_types_of_their_columns(tmp_path):
    file = tmp_path / "groups.parquet"
    columns = {
        "x": np.array([0.5, -1.5, 2.5], np.float32),
        "n": np.array([1, 2, 3], np.int16),
        "is_signal": np.array([True, False, True]),
    }
    for row_group_size in (3, 2):
        pq.write_table(pa.table(columns), file, row_group_size=row_group_size)
        read = ParquetTable(file).read(columns)
        for name, column in columns.items():
            np.testing.assert_array_equal(read[name], column, strict=True)
    pq.write_table(pa.table(columns).slice(0, 0), file)
    assert ParquetTable(file).read(["x"])["x"].shape == (0,)
