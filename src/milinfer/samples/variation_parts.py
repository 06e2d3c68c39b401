"""Divide Parquet files of nominal and varied events into folders that fit into memory.

The identifier of an event determines its folder, so that an event and its varied copies come into
the same folder.  The order of the events in the files has no effect on this.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.io.flat_files import ParquetTable
from milinfer.io.parquet import arrow_file
from milinfer.samples.fingerprints import mixed_hashes
from milinfer.samples.variation import named_errors_of
from milinfer.samples.variations import ProcessVariations
from milinfer.typing import IntArray, PathLikeStr
from milinfer.utils.files import atomic_folder

__all__ = ["write_parts"]

_ROWS: Final = 65_536
# A part is filled to this share on average: parts by chance differ by less.
_FILLED: Final = 0.8
# Files that are open at a time: systems allow some hundreds.
_OPEN: Final = 200


def write_parts(
    folder: PathLikeStr,
    nominal: PathLikeStr,
    varied: Mapping[Any, PathLikeStr],
    features: Sequence[str] | None,
    *,
    event: str | Sequence[str],
    weights: str | None,
    weight_variations: Mapping[Any, str],
    largest: int,
    options: Mapping[str, Any],
) -> list[Path]:
    """Divide files of nominal and varied events into several folders.

    Parameters
    ----------
    folder
        New folder, in which the folders are made.  If writing fails, no incomplete folder is left.
    nominal, varied, features, event, weights, weight_variations, options
        As for :meth:`milinfer.StreamedVariations.from_files`.
    largest
        Largest number of nominal and varied events in a folder.

    Returns
    -------
    list of Path
        The folders.

    Raises
    ------
    SampleError
        If a file lacks columns, or if a row cannot be used.
    ConfigurationError
        If `folder` exists and is not empty.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        msg = f"{target} is not empty; name a new folder for the parts"
        raise ConfigurationError(msg)
    if largest < 1:
        msg = "events_in_memory must be at least 4, because a part may use a quarter of it"
        raise ConfigurationError(msg)
    ids = [event] if isinstance(event, str) else list(event)
    of_nominal = ParquetTable(nominal)
    tables = [of_nominal, *(ParquetTable(path) for path in varied.values())]
    if features is None:
        # All columns of the nominal events that are not something else, as in memory.
        taken = {*ids, weights, *weight_variations.values()}
        features = [name for name in of_nominal.columns if name not in taken]
    columns = list(dict.fromkeys([*ids, *([weights] if weights else []), *features]))
    of_nominal.require(weight_variations.values())
    for table in tables:
        table.require(columns)
    n_rows = sum(table.n_events for table in tables)
    n_parts = max(1, int(np.ceil(n_rows / (_FILLED * largest))))
    with atomic_folder(target) as made, tempfile.TemporaryDirectory(dir=made) as scratch:
        for number, table in enumerate(tables):
            more = [] if number else weight_variations.values()
            chosen = list(dict.fromkeys([*columns, *more]))
            targets = [Path(scratch, f"{number}_{p}") for p in range(n_parts)]
            for first in range(0, n_parts, _OPEN):
                _divide(table, chosen, ids, targets, range(n_parts)[first : first + _OPEN])
        names = [f"part_{p:04d}" for p in range(n_parts)]
        for p, name in enumerate(names):
            frames = [_frame(Path(scratch, f"{n}_{p}")) for n in range(len(tables))]
            source = f"{nominal} and its variations, part {p} of {n_parts} (rows of this part)"
            with named_errors_of(source):
                part = ProcessVariations.from_arrays(
                    frames[0],
                    dict(zip(varied, frames[1:], strict=True)),
                    features,
                    event=event,
                    weights=weights,
                    weight_variations=weight_variations,
                    **options,
                )
            part.save(made / name)
            del frames, part  # frees them before the next part is read
    return [target / name for name in names]


def _divide(
    table: ParquetTable,
    columns: Sequence[str],
    ids: Sequence[str],
    targets: Sequence[Path],
    numbers: range,
) -> None:
    """Write the rows of some of the parts of a file to one file for each part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        file = pq.ParquetFile(arrow_file(table.path))
        schema = file.schema_arrow
        chosen = pa.schema([schema.field(name) for name in columns])
        writers = {p: stack.enter_context(pq.ParquetWriter(targets[p], chosen)) for p in numbers}
        first = 0
        try:
            for batch in file.iter_batches(_ROWS, columns=list(columns)):
                rows = pa.Table.from_batches([batch]).select(list(columns))
                part = _parts_of(rows, ids, len(targets), f"{table.path}", first)
                for p in {*np.unique(part).tolist()}.intersection(writers):
                    writers[p].write_table(rows.take(np.flatnonzero(part == p)))
                first += len(rows)
        except (pa.ArrowException, OSError) as error:
            msg = f"{table.path}: {error}; copy or produce it again, or find a larger disk"
            raise SampleError(msg) from error


def _parts_of(rows: Any, ids: Sequence[str], n_parts: int, path: str, first: int) -> IntArray:
    """Number of the part of each row: the same for all rows of an event."""
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for name in ids:
        column: NDArray[Any] = rows[name].to_numpy()
        if column.dtype.kind not in "iu":
            at = f" (row {first + int(np.argmax(np.isnan(column)))})" if _has_nan(column) else ""
            msg = (
                f"{path}: column {name!r} has no whole number for each event{at}; name columns "
                "such as run and event in event="
            )
            raise SampleError(msg)
        hashes = mixed_hashes(hashes, column.astype(np.uint64))
    return (hashes % np.uint64(n_parts)).astype(np.int64)


def _has_nan(column: NDArray[Any]) -> bool:
    return column.dtype.kind == "f" and bool(np.isnan(column).any())


def _frame(path: Path) -> dict[str, NDArray[Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}
