"""Read and write the Parquet files of the FAIR Universe HiggsML data.

The public files (Zenodo, 10.5281/zenodo.15131565) have one row for each event, with measured
columns ``PRI_…``, ``weights``, ``labels`` (1: signal) and ``detailed_labels``.  Small files of the
organisers also have derived columns, which are computed again here.  A JSON file in the same folder
contains the expected number of events, which is the sum of the weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from milinfer.datasets.higgsml.events import COLUMNS, MISSING, PROCESSES, HiggsEvents
from milinfer.exceptions import SampleError
from milinfer.io.event_range import EventRange, EventSelection
from milinfer.io.flat_files import ParquetTable
from milinfer.io.parquet import arrow_file
from milinfer.typing import Float32Array, FloatArray, IntArray, PathLikeStr
from milinfer.utils.files import atomic_path, parse_json, write_whole

__all__ = ["read_events", "write_events"]

_WEIGHT, _LABEL, _PROCESS = "weights", "labels", "detailed_labels"
_TOTAL = "sum_weights"


def read_events(
    path: PathLikeStr, *, events: EventSelection | None = None, expected: float | None = None
) -> HiggsEvents:
    """Read events, with weights that sum to the expected number of events of the challenge.

    If only a part of a file is read, the weights of this part are scaled so that their sum is that
    of the whole file, as the organisers do.

    Parameters
    ----------
    path
        Parquet file.
    events
        Number N of the first rows, or a pair START, STOP; default: all rows.  The rows of the
        public file are in random order, so that each part has events of all processes.
    expected
        Expected number of events before the selection, which is the sum of the weights; default:
        ``sum_weights`` in the file ``…_metadata.json`` in the same folder.

    Raises
    ------
    SampleError
        If a file is missing or damaged, if a column is missing, or if a column has impossible
        values.  The message names file, column and event.
    ConfigurationError
        If `events` is not a range, or if `expected` is not positive.

    Examples
    --------
    >>> import tempfile
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_events(f"{folder}/events.parquet", generate(100, seed=1))
    ...     events = read_events(f"{folder}/events.parquet", events=300)
    >>> len(events), round(float(events.weights.sum()))
    (300, 1200)
    """
    table = ParquetTable(path)
    table.require([*COLUMNS, _WEIGHT, _LABEL, _PROCESS])
    rows = None if events is None else EventRange.of(events)
    first = 0 if rows is None else rows.start
    total = expected if expected is not None else _expected_events(Path(path))
    numbers = table.read([*COLUMNS, _WEIGHT, _LABEL], rows)
    columns = {name: numbers[name].astype(np.float32, copy=False) for name in COLUMNS}
    weights = numbers[_WEIGHT].astype(np.float64)
    if not len(weights):
        msg = f"{path} has no events; copy it again, or read other rows"
        raise SampleError(msg)
    _require_values(path, columns, weights, first)
    found = HiggsEvents(
        columns=columns,
        processes=_processes(table, rows, numbers[_LABEL], first),
        weights=weights,
        rows=np.arange(first, first + len(weights)),
    )
    return found.scaled_to(total)


def write_events(path: PathLikeStr, events: HiggsEvents) -> None:
    """Write events in the format of the challenge: a Parquet file and its JSON file.

    Parameters
    ----------
    path
        Parquet file; existing files are replaced.
    events
        Events of known processes.

    Raises
    ------
    SampleError
        If the process of an event is not known.

    Examples
    --------
    See :func:`read_events`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if (events.processes < 0).any():
        msg = "events of unknown process cannot be written as files of the challenge; remove them"
        raise SampleError(msg)
    target = Path(path)
    columns: dict[str, object] = {name: events.columns[name] for name in COLUMNS}
    columns[_WEIGHT] = events.weights.astype(np.float32)
    columns[_PROCESS] = np.array(PROCESSES)[events.processes]
    columns[_LABEL] = (events.processes == 0).astype(np.float32)
    with atomic_path(target) as temporary:
        pq.write_table(pa.table(columns), arrow_file(temporary, "wb"))
    total = {"total_rows": len(events), _TOTAL: float(events.weights.sum())}
    write_whole(_metadata_file(target), json.dumps(total, indent=2) + "\n")


def _metadata_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}_metadata.json")


def _expected_events(path: Path) -> float:
    """Expected events of a file, from the JSON file in the same folder."""
    file = _metadata_file(path)
    if not file.is_file():
        msg = (
            f"there is no file {file} with the expected number of events of {path.name}; copy it "
            "there, or give expected="
        )
        raise SampleError(msg)
    try:
        total = float(parse_json(file.read_text(encoding="utf-8"))[_TOTAL])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{file} has no number {_TOTAL!r} ({error}); copy it again, or give expected="
        raise SampleError(msg) from error
    if not 0 < total < np.inf:
        msg = f"{file}: {_TOTAL} is {total:g}; it must be positive"
        raise SampleError(msg)
    return total


def _require_values(
    path: PathLikeStr, columns: dict[str, Float32Array], weights: FloatArray, first: int
) -> None:
    """Raise if a value is not possible; −25 is only possible for jets, and means no jet."""
    checked: dict[str, FloatArray | Float32Array] = {**columns, _WEIGHT: weights}
    for name, values in checked.items():
        wrong = ~np.isfinite(values)
        if name == _WEIGHT or name.endswith("_pt") or name in {"PRI_met", "PRI_n_jets"}:
            wrong |= values < 0
        if name.startswith("PRI_jet_") and name != "PRI_jet_all_pt":
            wrong &= values != MISSING
        if wrong.any():
            event = int(np.argmax(wrong))
            msg = (
                f"{path}: column {name!r} is {values[event]:g} in event {first + event} (counted "
                "from 0), which is not possible; copy the file again"
            )
            raise SampleError(msg)
    for jet in ("leading", "subleading"):
        missing = np.stack(
            [columns[f"PRI_jet_{jet}_{part}"] == MISSING for part in ("pt", "eta", "phi")]
        )
        differ = missing.any(axis=0) != missing.all(axis=0)
        if differ.any():
            event = int(np.argmax(differ))
            msg = (
                f"{path}: only some of the columns 'PRI_jet_{jet}_…' are missing ({MISSING:g}) in "
                f"event {first + event} (counted from 0), not all three; copy the file again"
            )
            raise SampleError(msg)


def _processes(
    table: ParquetTable, rows: EventRange | None, labels: FloatArray, first: int
) -> IntArray:
    """Position of the process of each event, which has to agree with its label."""
    codes, names = table.categories(_PROCESS, rows)
    unknown = [name for name in names if name not in PROCESSES]
    if unknown:
        msg = (
            f"{table.path}: column {_PROCESS!r} contains {unknown[0]!r}; the processes are "
            f"{', '.join(PROCESSES)}"
        )
        raise SampleError(msg)
    processes = np.array([PROCESSES.index(name) for name in names], dtype=np.int64)[codes]
    differ = labels != (processes == 0)
    if differ.any():
        event = int(np.argmax(differ))
        msg = (
            f"{table.path}: event {first + event} (counted from 0) is of "
            f"{PROCESSES[processes[event]]} but has the label {labels[event]:g} (signal must have "
            "1, background 0); copy the file again"
        )
        raise SampleError(msg)
    return processes
