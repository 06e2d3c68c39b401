"""Read and write event records in ROOT files: a NanoAOD-like TTree or an RNTuple."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ConfigurationError, MilinferError, SampleError
from milinfer.io.event_record.base_classes import ColumnReader, ColumnWriter
from milinfer.io.event_record.branches import PART, from_branches
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.nanoaod import objects_hint
from milinfer.io.event_record.record import EventColumns, in_chunks
from milinfer.typing import AwkwardArray, IntArray, PathLikeStr
from milinfer.utils.addresses import unreachable
from milinfer.utils.arguments import is_address, local_path
from milinfer.utils.display import shortened
from milinfer.utils.files import atomic_path, require_file

__all__ = ["Ntuple", "RootReader", "RootWriter", "open_root", "root_trees"]


Ntuple = Literal["ttree", "rntuple"]

_KEY = "milinfer"
_BASKET = 50_000  # events; readers decompress no less than this at a time


class RootWriter(ColumnWriter):
    """Write event records to a ROOT file in chunks; a failure leaves no incomplete file.

    The tree ``Events`` has the branches of NanoAOD (``LHEPart_pt``, …, ``genWeight``, ``run``,
    ``luminosityBlock``, ``event``) and further branches for a lossless record, such as the exact
    momenta ``LHEPart_exact_px``, ….  Their names are not ``LHEPart_px``, …, because coffea refuses
    files that have ``LHEPart_px`` and ``LHEPart_pt``.  The string ``milinfer`` in the file contains
    header, ``<init>`` and weight ids.

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
    ...     file = pathlib.Path(folder, "e.root")
    ...     with RootWriter(file, lhe.LHEInfo(processes=())) as writer:
    ...         writer.write(events)
    ...     with RootReader(file) as reader:
    ...         reader.n_events
    1
    """

    def __init__(self, path: PathLikeStr, info: LHEInfo, ntuple: Ntuple = "ttree") -> None:
        if ntuple not in ("ttree", "rntuple"):
            msg = f"ntuple is {ntuple!r}; choose 'ttree' or 'rntuple'"
            raise ConfigurationError(msg)
        super().__init__(path, info)
        self.ntuple = ntuple
        self._file: Any = None

    def __enter__(self) -> Self:
        import uproot

        temporary = self._stack.enter_context(atomic_path(self.path))
        try:
            # a little larger than with zlib, and read four times as fast
            file = uproot.recreate(temporary, compression=uproot.LZ4(1))
            self._file = self._stack.enter_context(file)
        except BaseException as error:
            # Not close(): it does not know of the error, and would write an empty file.
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _finish(self) -> None:
        super()._finish()
        self._file[_KEY] = self._metadata()

    def write(self, events: AwkwardArray) -> None:
        """Append events.

        Raises
        ------
        SampleError
            If the events lack a column, or if their weights are not those of the events before.
        """
        for start in range(0, len(events), _BASKET):
            self._extend(events[start : start + _BASKET])

    def _extend(self, events: AwkwardArray) -> None:
        import awkward as ak

        counts, particles, scalars = self._columns(events)
        jagged = {name: ak.unflatten(column, counts) for name, column in particles.items()}
        if self.ntuple == "ttree":
            columns = {"LHEPart": ak.zip(jagged), **scalars}
        else:
            columns = {**{PART + name: column for name, column in jagged.items()}, **scalars}
            columns["nLHEPart"] = counts.astype(np.int32)
        if self.n_events:
            self._file["Events"].extend(columns)
        elif self.ntuple == "ttree":
            types = {name: values.dtype for name, values in scalars.items()}
            self._file.mktree("Events", {"LHEPart": columns["LHEPart"].type.content, **types})
            self._file["Events"].extend(columns)
        else:
            self._file.mkrntuple("Events", columns)
        self.n_events += len(counts)


class RootReader(ColumnReader):
    """Read event records from a ROOT file, TTree or RNTuple, in chunks.

    Attributes
    ----------
    n_events
        Number of events in the file.
    info
        Header and ``<init>``.  If another program has written the file, it contains no processes.

    Raises
    ------
    SampleError
        If the file has no tree of this name or lacks branches.  The message names the file and the
        branches.

    Examples
    --------
    See :class:`RootWriter`.
    """

    def __init__(self, path: PathLikeStr, tree: str = "Events") -> None:
        super().__init__(path, open_root(path))
        try:
            if tree not in self._file:
                names = shortened(self._file.keys(cycle=False)) or "nothing"
                msg = (
                    f"{path}: there is no tree {tree!r} in this file, only {names}; name another "
                    f"with tree={_hint(self._file)}"
                )
                raise SampleError(msg)
            self._tree = self._file[tree]
            text = str(self._file[_KEY]) if _KEY in self._file else None
            self._describe(text, self._tree.keys(), int(self._tree.num_entries))
            others = [name for name in root_trees(self._file) if name != tree]
            self.left_out += tuple(f"the tree {name}" for name in others)
        except MilinferError:
            self.close()
            raise
        except Exception as error:
            self.close()
            msg = f"{path}: this ROOT file is damaged ({error}); copy or produce it again"
            raise SampleError(msg) from error

    def chunks(self, chunk_size: int) -> Iterator[AwkwardArray]:
        """Yield event records in chunks of ``chunk_size``; the last chunk may be smaller.

        Raises
        ------
        SampleError
            If a branch cannot be read.
        """
        for columns in in_chunks(self.columns(chunk_size), chunk_size):
            yield columns.record()

    def columns(self, chunk_size: int) -> Iterator[EventColumns]:
        """Yield flat columns of about ``chunk_size`` events at a time, which are read on first use.

        If a basket or a cluster of the file has more than ``chunk_size`` events, the chunks have
        the size of the basket or cluster, so that nothing is decompressed twice.

        Raises
        ------
        SampleError
            If a branch cannot be read.  The error is raised when the branch is used first.
        """
        starts = self._starts()
        start = 0
        while start < self.n_events:
            stop = max(start + chunk_size, starts[np.searchsorted(starts, start, side="right")])
            stop = starts[np.searchsorted(starts, stop, side="right") - 1]
            yield self._read(start, int(stop))
            start = int(stop)

    def _starts(self) -> IntArray:
        """Events at which all branches begin a new basket or a new cluster, and the end."""
        if hasattr(self._tree, "common_entry_offsets"):
            offsets = self._tree.common_entry_offsets(filter_name=self._branches)
        else:
            offsets = [c.num_first_entry for c in self._tree.cluster_summaries]
        return np.unique([*offsets, 0, self.n_events])

    def _read(self, start: int, stop: int) -> EventColumns:
        # the particles of every file have it
        lengths, ids = self._load(PART + "pdgId", start, stop)
        counts = self._require_lists(lengths)

        def load(name: str) -> tuple[IntArray | None, NDArray[Any]]:
            return (counts, ids) if name == PART + "pdgId" else self._load(name, start, stop)

        return from_branches(
            self._branches,
            self._weights,
            load,
            counts,
            source=self.name,
            first=start,
            relative=self._relative,
        )

    def _lengths(self, branch: str) -> Iterator[IntArray | None]:
        for start in (0, *range(1, self.n_events, _BASKET)):
            stop = min(1 if start == 0 else start + _BASKET, self.n_events)
            yield self._load(branch, start, stop)[0]

    def _title(self, branch: str) -> str:
        return str(getattr(self._tree[branch], "title", ""))

    def _load(self, name: str, start: int, stop: int) -> tuple[IntArray | None, NDArray[Any]]:
        import awkward as ak

        array = self._array(name, start, stop)
        if array.ndim == 1:
            return None, np.asarray(ak.to_numpy(array))
        counts = np.asarray(ak.num(array, axis=1), dtype=np.int64)
        flat = ak.flatten(array, axis=1)
        if flat.ndim != 1:
            msg = f"{self.name}: {name} is not a list of numbers for each event; produce it again"
            raise SampleError(msg)
        return counts, np.asarray(ak.to_numpy(flat))

    def _array(self, name: str, start: int, stop: int) -> Any:
        try:
            return self._tree[name].array(entry_start=start, entry_stop=stop)
        except Exception as error:
            msg = (
                f"{self.name}: events {start} to {stop - 1} (counted from 0) cannot be read "
                f"({error}); copy or produce the file again"
            )
            raise SampleError(msg) from error


def root_trees(file: Any) -> list[str]:
    """Return the names of the TTrees and RNTuples in an open ROOT file."""
    kinds = file.classnames().items()
    trees = (name for name, kind in kinds if kind == "TTree" or "RNTuple" in kind)
    return list(dict.fromkeys(name.partition(";")[0] for name in trees))


def _hint(file: Any) -> str:
    """Advice for a file of ATLAS, whose tree has another name."""
    name = "CollectionTree"
    if name not in file:
        return ""
    hint = objects_hint({str(key) for key in file[name].keys()})  # noqa: SIM118 - uproot's keys
    return f", or {hint}" if hint else ""


def open_root(path: PathLikeStr) -> Any:
    """Open a ROOT file to read.

    Parameters
    ----------
    path
        Local file, or an address that uproot supports (``root://``, ``https://``, ``s3://``, …).

    Returns
    -------
    uproot.ReadOnlyDirectory
        Open file without a cache; the caller closes it.

    Raises
    ------
    MissingFileError
        If there is no such file.
    ConfigurationError
        If an address needs a package that is missing; the message names it.
    SampleError
        If the file is not a ROOT file or is truncated, or if an address cannot be reached.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.root")
    ...     _ = file.write_text("something else")
    ...     try:
    ...         open_root(file)
    ...     except SampleError as error:
    ...         print(str(error).replace(folder, "").partition(" (")[0])
    /a.root: this cannot be opened as a ROOT file
    """
    import uproot

    local = not is_address(path)
    place = local_path(path)
    if local:
        require_file(place)
    try:
        # Memory mapping is faster, and a cache would keep a second copy.
        options = {"handler": uproot.MemmapSource} if local else {}
        file = uproot.open(place, array_cache=None, **options)
    except Exception as error:
        if not local:
            raise unreachable(path, error) from error
        msg = f"{path}: this cannot be opened as a ROOT file ({error}); copy or produce it again"
        raise SampleError(msg) from error
    # A truncated file may still contain all that uproot reads on opening.
    size = Path(place).stat().st_size if local else file.file.fEND
    if size < file.file.fEND:
        file.close()
        msg = (
            f"{path}: this ROOT file is truncated: it has {size} of {file.file.fEND} bytes; copy "
            "or produce it again"
        )
        raise SampleError(msg)
    return file
