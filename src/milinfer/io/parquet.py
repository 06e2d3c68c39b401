"""Read and write event records in Parquet files, with the column names of the ROOT files."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.io.event_record.base_classes import ColumnReader, ColumnWriter
from milinfer.io.event_record.branches import PART, from_branches
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.record import EventColumns
from milinfer.typing import AwkwardArray, PathLikeStr
from milinfer.utils.addresses import open_bytes
from milinfer.utils.arguments import is_address
from milinfer.utils.files import atomic_path, require_file

__all__ = ["ParquetReader", "ParquetWriter", "arrow_file"]

_KEY = b"milinfer"


def arrow_file(path: PathLikeStr, mode: Literal["rb", "wb"] = "rb") -> Any:
    """Return something that pyarrow can open.

    The result is the path itself, or an open file if the path is an address or not UTF-8.

    Examples
    --------
    >>> arrow_file("a.parquet")
    'a.parquet'
    """
    if is_address(path):
        return open_bytes(path)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        import pyarrow as pa

        return pa.OSFile(os.fsencode(path), mode)
    return path


class ParquetWriter(ColumnWriter):
    """Write event records to a Parquet file in chunks; a failure leaves no incomplete file.

    Columns of particles are lists (``LHEPart_exact_px``, …), all other columns are numbers.  Header
    and ``<init>`` are in the metadata of the schema.

    Raises
    ------
    SampleError
        If the events lack a column, or if chunks have different weights.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import lhe
    >>> part = dict.fromkeys(["px", "py", "pz", "energy", "mass", "pdgId", "status"], [1])
    >>> events = lhe.make_events([1], {**part, "mother1": [0], "mother2": [0]},
    ...                          {"genWeight": [1.0], "LHE_processId": [1]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "e.parquet")
    ...     with ParquetWriter(file, lhe.LHEInfo(processes=())) as writer:
    ...         writer.write(events)
    ...     with ParquetReader(file) as reader:
    ...         reader.n_events
    1
    """

    def __init__(self, path: PathLikeStr, info: LHEInfo) -> None:
        super().__init__(path, info)
        self._temporary: Any = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        self._temporary = self._stack.enter_context(atomic_path(self.path))
        return self

    def write(self, events: AwkwardArray) -> None:
        """Append events.

        Raises
        ------
        SampleError
            If the events lack a column, or if their weights are not those of the events before.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if len(events) == 0:
            return
        counts, particles, scalars = self._columns(events)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        columns: dict[str, Any] = {name: pa.array(values) for name, values in scalars.items()}
        for name, values in particles.items():
            columns[PART + name] = pa.ListArray.from_arrays(offsets, pa.array(values))
        table = pa.table(columns)
        if self._writer is None:
            schema = table.schema.with_metadata({_KEY: self._metadata().encode()})
            # Numbers that rarely repeat would make dictionaries large and slow.
            target = arrow_file(self._temporary, "wb")
            writer = pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=False)
            self._writer = self._stack.enter_context(writer)
        self._writer.write_table(table.replace_schema_metadata(self._writer.schema.metadata))
        self.n_events += len(counts)


class ParquetReader(ColumnReader):
    """Read event records from a Parquet file in chunks.

    Attributes
    ----------
    n_events
        Number of events in the file.
    info
        Header and ``<init>``.  If another program has written the file, it contains no processes.

    Raises
    ------
    SampleError
        If the file is not a Parquet file or lacks columns; the message names the file and the
        columns.

    Examples
    --------
    See :class:`ParquetWriter`.
    """

    def __init__(self, path: PathLikeStr) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        require_file(path, or_address=True)
        try:
            file = pq.ParquetFile(arrow_file(path))
        except (pa.ArrowInvalid, pa.ArrowIOError) as error:
            msg = f"{path}: this is not a complete Parquet file ({error}); copy or produce it again"
            raise SampleError(msg) from error
        super().__init__(path, file)
        try:
            schema = file.schema_arrow
            text = (schema.metadata or {}).get(_KEY)
            metadata = None if text is None else text.decode()
            self._describe(metadata, schema.names, int(file.metadata.num_rows))
        except BaseException:
            self.close()
            raise

    def columns(self, chunk_size: int) -> Iterator[EventColumns]:
        """Yield flat columns of at most ``chunk_size`` events at a time.

        Raises
        ------
        SampleError
            If a column cannot be read.
        """
        import pyarrow as pa

        done = 0
        try:
            for batch in self._file.iter_batches(chunk_size, columns=self._branches):
                load = functools.partial(self._load, batch, done)
                counts = self._require_lists(load(PART + "pdgId")[0])
                yield from_branches(
                    self._branches,
                    self._weights,
                    load,
                    counts,
                    source=self.name,
                    first=done,
                    relative=self._relative,
                )
                done += len(counts)
        except MemoryError as error:
            msg = (
                f"{self.name}: event {done} (counted from 0) and those after it do not fit into "
                f"memory ({error}); read fewer events at a time"
            )
            raise SampleError(msg) from error
        except (pa.ArrowException, OSError) as error:
            msg = (
                f"{self.name}: event {done} (counted from 0) or one soon after cannot be read "
                f"({error}); copy or produce the file again"
            )
            raise SampleError(msg) from error

    def _lengths(self, branch: str) -> Iterator[NDArray[np.int64] | None]:
        done = 0
        for batch in self._file.iter_batches(columns=[branch]):
            yield self._load(batch, done, branch)[0]
            done += len(batch)

    def _load(
        self, batch: Any, first: int, name: str
    ) -> tuple[NDArray[np.int64] | None, NDArray[Any]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        column = batch[name]
        kind = column.type
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        if not any(is_list(kind) for is_list in lists):
            self._require_present(column, name, first)
            return None, np.asarray(column.to_numpy(zero_copy_only=False))
        self._require_present(column, name, first)
        counts = pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
        flat = column.flatten()
        self._require_present(flat, name, first, counts)
        return counts, np.asarray(flat.to_numpy(zero_copy_only=False))

    def _require_present(
        self, column: Any, name: str, first: int, counts: NDArray[np.int64] | None = None
    ) -> None:
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            if counts is not None:
                row = int(np.searchsorted(np.cumsum(counts), row, "right"))
            msg = (
                f"{self.name}: event {first + row} (counted from 0) has a missing value in {name}; "
                "produce the file again"
            )
            raise SampleError(msg)
