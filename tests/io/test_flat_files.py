"""Files of columns that need more memory than there is."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milinfer.exceptions import SampleError
from milinfer.io.flat_files import ParquetTable


def test_a_small_file_of_very_many_events_says_how_much_memory_they_need(tmp_path, monkeypatch):
    """4 MB hold 5e8 equal numbers; it was called damaged."""
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": pa.repeat(0.5, 1_000_000), "y": pa.repeat(1, 1_000_000)}), file)
    assert file.stat().st_size < 10_000

    def fail(*arguments, **options):
        raise pa.ArrowMemoryError("malloc of size 8000000 failed")

    monkeypatch.setattr(pq, "read_table", fail)
    with pytest.raises(SampleError, match=r"a\.parquet: its 1000000 events with 2 col"):
        ParquetTable(file).read(["x", "y"])
