"""Base classes of the readers and writers of event files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.io.event_record.branches import (
    PART,
    FileMetadata,
    needed_branches,
    other_branches,
    to_branches,
)
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.record import EventColumns
from milinfer.typing import AwkwardArray, IntArray, PathLikeStr

__all__ = ["ColumnReader", "ColumnWriter", "EventWriter"]


class EventWriter:
    """Write event records to a file in chunks; it appears when complete, or not at all.

    Parameters
    ----------
    path
        File to write.
    info
        Header and init.

    Attributes
    ----------
    n_events
        Events written so far.
    """

    def __init__(self, path: PathLikeStr, info: LHEInfo) -> None:
        self.path = path
        self.info = info
        self.n_events = 0
        self._stack = ExitStack()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as caught:
            self._stack.__exit__(type(caught), caught, caught.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def _finish(self) -> None:
        """Write the end of the file, or refuse to if there are no events."""
        raise NotImplementedError


class ColumnWriter(EventWriter):
    """Writer of files in columns, whose weights are those of the first chunk."""

    def __init__(self, path: PathLikeStr, info: LHEInfo) -> None:
        super().__init__(path, info)
        self._weights: dict[str, str] | None = None

    def _finish(self) -> None:
        if self.n_events == 0:
            msg = f"{self.path}: there are no events to write"
            raise SampleError(msg)

    def _columns(
        self, events: AwkwardArray
    ) -> tuple[IntArray, dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Columns of some events; see :func:`milinfer.io.event_record.branches.to_branches`."""
        import awkward as ak

        if self._weights is None:
            ids = ak.fields(events["LHEWeight"]) if "LHEWeight" in ak.fields(events) else []
            self._weights = FileMetadata.branches(ids)
        return to_branches(events, self._weights, self.n_events, str(self.path))

    def _metadata(self) -> str:
        """Header, init and weight ids as text; complete after the first chunk."""
        weights = self._weights or {}
        return FileMetadata(self.info.with_weights(weights.values()), weights).to_json()


class ColumnReader:
    """Read event records from a file in columns, in chunks.

    Parameters
    ----------
    path
        The file, for messages.
    file
        The open file, closed by :meth:`close`.

    Attributes
    ----------
    n_events
        Events in the file.
    info
        Header and init; without processes where milinfer has not written the file.
    left_out
        Branches that are not read; those of files of other programs, such as NanoAOD.
    """

    left_out: tuple[str, ...]
    info: LHEInfo
    n_events: int

    def __init__(self, path: PathLikeStr, file: Any) -> None:
        self.name = str(path)
        self._file = file

    def _describe(self, metadata: str | None, branches: Iterable[str], n_events: int) -> None:
        """Set ``info``, the branches to read and ``n_events`` from the metadata of the file.

        Raises
        ------
        SampleError
            If the metadata are damaged, or branches are missing.
        """
        content = FileMetadata(LHEInfo.unknown(), {})
        if metadata is not None:
            content = FileMetadata.from_json(metadata, self.name)
        self.info = content.info
        self._weights = content.weights
        names = tuple(branches)
        self._branches = needed_branches(names, self._weights, self.name)
        self.left_out = other_branches(names, self._branches)
        self.n_events = n_events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def chunks(self, chunk_size: int) -> Iterator[AwkwardArray]:
        """Event records in chunks of at most ``chunk_size``.

        Raises
        ------
        SampleError
            If a column cannot be read.
        """
        for columns in self.columns(chunk_size):
            yield columns.record()

    def columns(self, chunk_size: int) -> Iterator[EventColumns]:
        """Flat columns of about ``chunk_size`` events at a time.

        Raises
        ------
        SampleError
            If a column cannot be read.
        """
        raise NotImplementedError

    def _require_lists(self, counts: IntArray | None) -> IntArray:
        """Numbers of particles, from the lengths of the lists in ``LHEPart_pdgId``."""
        if counts is None:
            msg = (
                f"{self.name}: {PART}pdgId is one number for each event, not a list for its "
                "particles; produce the file again"
            )
            raise SampleError(msg)
        return counts
