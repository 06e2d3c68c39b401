"""Read flat Parquet and ROOT files, with one number for each event in each column.

Columns are read on demand.  Files that milinfer has written also contain a description of their
sample: in the schema metadata (Parquet), or in a string in the folder of the tree (ROOT).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import MilinferError, SampleError
from milinfer.io.event_range import EventRange
from milinfer.io.event_record.info import point_from_json
from milinfer.io.event_record.nanoaod import objects_hint
from milinfer.io.parquet import arrow_file
from milinfer.io.root import open_root, root_trees
from milinfer.typing import PathLikeStr
from milinfer.utils.display import shortened
from milinfer.utils.files import parse_json, require_file

__all__ = [
    "FORMAT",
    "KEY",
    "KIND",
    "TREE",
    "FlatTable",
    "ParquetTable",
    "RootTable",
    "RowGroupTable",
    "sample_metadata",
]

TREE: Final = "Features"
KEY: Final = "milinfer"
KIND: Final = "sample"
FORMAT: Final = 1


class FlatTable:
    """Columns of a flat file, read on demand, and its metadata.

    Parameters
    ----------
    path
        The file.
    columns
        Mapping from the name of each column to its name in the file.
    metadata
        Description of a sample that milinfer has written; None for other files.
    """

    def __init__(
        self, path: PathLikeStr, columns: Mapping[str, str], metadata: dict[str, Any] | None
    ) -> None:
        self.path = path
        self.columns = dict(columns)
        self.metadata = metadata

    @property
    def first_event(self) -> int:
        """Number of the first event that is read, counted from the start of the file."""
        return 0

    @property
    def has_events(self) -> bool:
        """Whether the file contains event records, and not features."""
        return self.metadata is None and any(name.startswith("LHEPart_") for name in self.columns)

    @property
    def n_events(self) -> int:
        """Number of events in the file."""
        raise NotImplementedError

    def read(
        self, names: Iterable[str], events: EventRange | None = None
    ) -> dict[str, NDArray[Any]]:
        """Read some columns, each of shape (n_events,), for all events or a range of events.

        Raises
        ------
        SampleError
            If the file is damaged, or if a column does not have one number for each event.
        """
        raise NotImplementedError

    def _numbers(self, array: NDArray[Any], name: str, first: int) -> NDArray[Any]:
        """Check that a column has one number for each event."""
        place = f"{self.path}: column {name!r}"
        remedy = "choose a column with one number for each event"
        if array.dtype.kind == "O" and len(array) and _is_list(array[0]):
            lengths = np.array([len(value) if _is_list(value) else 1 for value in array])
            event = int(np.argmax(lengths != 1))
            msg = (
                f"{place} is not one number in event {first + event} (counted from 0), "
                f"but {lengths[event]}; {remedy}"
            )
            raise SampleError(msg)
        if array.dtype.kind not in "fiub" or array.ndim != 1:
            msg = f"{place} is not one number for each event; {remedy}"
            raise SampleError(msg)
        missing = np.ma.getmaskarray(array)
        if missing.any():
            event = first + int(np.argmax(missing))
            msg = (
                f"{place} is not finite in event {event} (counted from 0): its value is missing; "
                "produce the file again"
            )
            raise SampleError(msg)
        return np.asarray(array)

    def require(self, names: Iterable[str]) -> None:
        """Raise if columns are missing.

        Raises
        ------
        SampleError
            If a column is missing.  The message names the missing columns and the columns of the
            file.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            hint = objects_hint(set(self.columns))
            msg = (
                f"{self.path} has no columns {shortened(missing)}; it has "
                f"{shortened(list(self.columns)) or 'none'}: compute them again, or name others"
            )
            if hint:
                msg = f"{self.path} has no columns of features, such as {missing[0]}; {hint}"
            raise SampleError(msg)


class ParquetTable(FlatTable):
    """Columns of a Parquet file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SampleError
        If the file is damaged.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pyarrow as pa
    >>> import pyarrow.parquet as pq
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.parquet")
    ...     pq.write_table(pa.table({"x": [0.5, 1.5], "y": [1, 2]}), file)
    ...     table = ParquetTable(file)
    ...     list(table.columns), table.metadata, table.read(["x"])
    (['x', 'y'], None, {'x': array([0.5, 1.5])})
    """

    def __init__(self, path: PathLikeStr) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        require_file(path, or_address=True)
        try:
            schema = pq.read_schema(arrow_file(path))
        except (pa.ArrowInvalid, pa.ArrowIOError) as error:
            msg = f"{path}: this is not a complete Parquet file ({error}); copy or produce it again"
            raise SampleError(msg) from error
        text = (schema.metadata or {}).get(KEY.encode())
        metadata = sample_metadata(text.decode() if text else None, path)
        super().__init__(path, {name: name for name in schema.names}, metadata)

    @property
    def n_events(self) -> int:
        """Number of events in the file."""
        import pyarrow.parquet as pq

        return int(pq.read_metadata(arrow_file(self.path)).num_rows)

    def read(
        self, names: Iterable[str], events: EventRange | None = None
    ) -> dict[str, NDArray[Any]]:
        """Read some columns, of shape (n_events,) each; see :meth:`FlatTable.read`."""
        import pyarrow as pa

        columns = list(names)
        try:
            table = self._read(columns) if events is None else self._read_range(columns, events)
            first = self.first_event + (0 if events is None else events.start)
            return {name: self._numbers(_masked(table[name]), name, first) for name in columns}
        except KeyError as error:
            msg = f"{self.path}: a column is there twice ({error}); give its columns other names"
            raise SampleError(msg) from error
        except MemoryError as error:
            raise self._too_large(len(columns)) from error
        except (pa.ArrowException, OSError) as error:
            msg = f"{self.path}: this file is damaged ({error}); copy or produce it again"
            raise SampleError(msg) from error

    def categories(
        self, name: str, events: EventRange | None = None
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Read a column of texts with few distinct values, such as names of processes.

        Parameters
        ----------
        name
            The column.
        events
            Range of events to read; default: all events.

        Returns
        -------
        codes
            For each event, the position of its text in `names`, shape (n_events,).
        names
            The distinct texts, in order of appearance.

        Raises
        ------
        SampleError
            If the file is damaged or has no column with this name, or if the column has missing
            values or values that are not texts.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import pyarrow as pa
        >>> import pyarrow.parquet as pq
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "a.parquet")
        ...     pq.write_table(pa.table({"process": ["ww", "zz", "ww"]}), file)
        ...     ParquetTable(file).categories("process")
        (array([0, 1, 0]), ('ww', 'zz'))
        """
        import pyarrow as pa

        self.require([name])
        try:
            table = self._read([name]) if events is None else self._read_range([name], events)
            column = table[name].combine_chunks()
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                msg = f"{self.path}: column {name!r} is of {column.type}; choose a column of texts"
                raise SampleError(msg)
            if column.null_count:
                event = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                event += self.first_event + (0 if events is None else events.start)
                msg = (
                    f"{self.path}: column {name!r} has no text in event {event} (counted from 0); "
                    "produce the file again"
                )
                raise SampleError(msg)
            coded = column.dictionary_encode()
        except (pa.ArrowException, OSError) as error:
            msg = f"{self.path}: this file is damaged ({error}); copy or produce it again"
            raise SampleError(msg) from error
        return coded.indices.to_numpy().astype(np.int64), tuple(coded.dictionary.to_pylist())

    def _too_large(self, n_columns: int) -> SampleError:
        """Error with the memory that the columns need; a small file may contain many numbers."""
        n = self.n_events
        size = f"{8 * n * n_columns / 1e9:.1f} GB"
        msg = (
            f"{self.path}: its {n} events with {n_columns} columns need {size} or more, but there "
        )
        return SampleError(msg + "is not that much memory; read fewer columns, or split the file")

    def _read(self, names: list[str]) -> Any:
        import pyarrow.parquet as pq

        # `read_table` would import pandas, which takes longer than to read a file.
        with pq.ParquetFile(arrow_file(self.path)) as file:
            return file.read(columns=names)

    def _read_range(self, names: list[str], events: EventRange) -> Any:
        """Read the row groups with events of the range, and remove other events."""
        import pyarrow.parquet as pq

        file = pq.ParquetFile(arrow_file(self.path))
        footer = file.metadata
        events.require_within(footer.num_rows, self.path)
        stops = np.cumsum([footer.row_group(i).num_rows for i in range(footer.num_row_groups)])
        first = int(np.searchsorted(stops, events.start, side="right"))
        last = int(np.searchsorted(stops, events.stop, side="left"))
        table = file.read_row_groups(range(first, last + 1), columns=names)
        start = int(stops[first - 1]) if first else 0
        return table.slice(events.start - start, events.n_events)


class RowGroupTable(ParquetTable):
    """Columns of a Parquet file, read one row group at a time while the file stays open.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    sizes
        Numbers of events in the row groups.
    number
        Number of the row group that :meth:`read` reads.

    Raises
    ------
    SampleError
        If the file is damaged.
    """

    def __init__(self, path: PathLikeStr) -> None:
        import pyarrow.parquet as pq

        super().__init__(path)
        # Opened only once: the metadata of a file are large, and pyarrow leaves them to the
        # collector of circular references.
        self._file = pq.ParquetFile(arrow_file(path))
        footer = self._file.metadata
        self.sizes = tuple(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
        self.number = 0

    @property
    def first_event(self) -> int:
        """Number of the first event that is read, counted from the start of the file."""
        return sum(self.sizes[: self.number])

    def _read(self, names: list[str]) -> Any:
        return self._file.read_row_group(self.number, columns=names)


class RootTable(FlatTable):
    """Columns of a TTree or RNTuple.

    Parameters
    ----------
    path
        The file.
    tree
        Name of the tree.  Default: the tree of a sample or of an event file (``Features``,
        ``Events``); if there is no tree with these names, the only tree of the file.

    Raises
    ------
    SampleError
        If the file is damaged, or if `tree` is not given and the default is not clear.
    """

    def __init__(self, path: PathLikeStr, tree: str | None) -> None:
        try:
            with open_root(path) as file:
                text = str(file[KEY]) if KEY in file else None
                metadata = sample_metadata(text, path)
                trees = root_trees(file)
                name = tree or next((t for t in (TREE, "Events") if t in trees), None)
                name = name or (trees[0] if len(trees) == 1 else None)
                if name not in trees:
                    problem = f"no tree {name!r}" if name else "several trees, or none"
                    msg = f"{path} has {problem}; name one with tree=: {shortened(trees) or 'none'}"
                    raise SampleError(msg)
                stored = [str(key) for key in file[name].keys()]  # noqa: SIM118
        except MilinferError:
            raise
        except Exception as error:
            msg = f"{path}: this cannot be read as a ROOT file ({error}); copy or produce it again"
            raise SampleError(msg) from error
        self.tree: str = name
        branches = (metadata or {}).get("branches", {})
        super().__init__(path, {branches.get(s, s): s for s in stored}, metadata)

    @property
    def n_events(self) -> int:
        """Number of events in the file."""
        with open_root(self.path) as file:
            return int(file[self.tree].num_entries)

    def read(
        self, names: Iterable[str], events: EventRange | None = None
    ) -> dict[str, NDArray[Any]]:
        """Read some columns, of shape (n_events,) each; see :meth:`FlatTable.read`."""
        columns = list(names)
        if events is not None:
            events.require_within(self.n_events, self.path)
        start, stop = (None, None) if events is None else events
        try:
            with open_root(self.path) as file:
                branches = {self.columns[name] for name in columns}
                arrays = _arrays(
                    file[self.tree],
                    filter_name=lambda branch: branch in branches,
                    entry_start=start,
                    entry_stop=stop,
                )
        except Exception as error:
            msg = f"{self.path}: this file is damaged ({error}); copy or produce it again"
            raise SampleError(msg) from error
        first = 0 if events is None else events.start
        return {name: self._numbers(arrays[self.columns[name]], name, first) for name in columns}


def _arrays(tree: Any, **options: Any) -> dict[str, NDArray[Any]]:
    """Branches by name; a branch of lists becomes an array of objects, which is refused later."""
    import awkward as ak

    try:
        arrays: dict[str, NDArray[Any]] = tree.arrays(library="np", **options)
    except ValueError:
        # uproot 5.7 cannot make numpy arrays of the lists of an RNTuple.
        columns = tree.arrays(library="ak", **options)
        return {
            name: np.asarray(columns[name])
            if columns[name].ndim == 1
            else _objects(ak.to_list(columns[name]))
            for name in columns.fields
        }
    return arrays


def _objects(lists: list[Any]) -> NDArray[Any]:
    """Array of lists, with one dimension even if all lists are equally long."""
    out = np.empty(len(lists), dtype=object)
    out[:] = [np.asarray(one) for one in lists]
    return out


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _masked(column: Any) -> NDArray[Any]:
    """Column of a Parquet file; missing values are masked, whereas pyarrow makes them NaN."""
    import pyarrow as pa

    is_number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if column.num_chunks and not column.null_count and is_number:
        # `to_numpy` of pyarrow would import pandas, which takes longer than to read a file.
        chunks = [np.from_dlpack(chunk) for chunk in column.chunks]
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    values: NDArray[Any] = column.to_numpy()
    if not column.null_count:
        return values
    return np.ma.masked_array(values, column.is_null().to_numpy())


def sample_metadata(text: str | None, path: PathLikeStr) -> dict[str, Any] | None:
    """Parse the description of a sample in a file of milinfer; None for other files.

    Raises
    ------
    SampleError
        If the description is damaged or has another format.

    Examples
    --------
    >>> sample_metadata('{"kind": "sample", "point": {"c_HW": 0.5}}', "a.root")["point"]
    {'c_HW': 0.5}
    """
    if text is None:
        return None
    try:
        metadata = parse_json(text)
        if metadata.get("kind") != KIND:
            return None
        if metadata.get("format", FORMAT) != FORMAT:
            msg = f"format {metadata['format']}, this milinfer reads {FORMAT}"
            raise ValueError(msg)
        for name, is_right in _METADATA.items():
            if name in metadata and not is_right(metadata[name]):
                msg = f"{name} is {metadata[name]!r}"
                raise ValueError(msg)
        # A point of null: the parameter point of the events is unknown.
        points = [metadata["point"]] if metadata.get("point") is not None else []
        for point in (*points, *metadata.get("reweight_points", {}).values()):
            point_from_json(point)
    except (ValueError, AttributeError, RecursionError) as error:
        msg = f"{path}: its milinfer metadata cannot be read ({error}); write it again"
        raise SampleError(msg) from error
    return dict(metadata)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


_METADATA: Final[Mapping[str, Callable[[Any], bool]]] = {
    "features": _texts,
    "reweights": _texts,
    "process": lambda value: isinstance(value, str),
    "cross_section": _number,
    "cross_section_error": _number,
    "reweight_points": lambda value: isinstance(value, dict),
    "provenance": lambda value: isinstance(value, dict),
    "branches": lambda value: isinstance(value, dict) and _texts(list(value.values())),
}
