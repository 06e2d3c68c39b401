"""Base classes of the readers and writers of event files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import starmap
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.io.event_record.branches import (
    PART,
    FileMetadata,
    left_out,
    needed_branches,
    to_branches,
    weight_branch,
)
from milinfer.io.event_record.info import LHEInfo, LHEWeight
from milinfer.io.event_record.nanoaod import (
    WeightEntry,
    entry_description,
    is_weight_vector,
    weights_of_file,
)
from milinfer.io.event_record.record import EventColumns
from milinfer.typing import AwkwardArray, IntArray, PathLikeStr

__all__ = ["ColumnReader", "ColumnWriter", "EventWriter"]


class EventWriter:
    """Write event records to a file in chunks; a failure leaves no incomplete file.

    Parameters
    ----------
    path
        File to write.
    info
        Header and ``<init>`` of the events.

    Attributes
    ----------
    n_events
        Number of events written so far.
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
        """Write the end of the file, or raise an error if there are no events."""
        raise NotImplementedError


class ColumnWriter(EventWriter):
    """Write files with columns.  All chunks must have the same weight ids."""

    def __init__(self, path: PathLikeStr, info: LHEInfo) -> None:
        super().__init__(path, info)
        self._weights: dict[str, str] | None = None

    def _finish(self) -> None:
        if self.n_events == 0:
            msg = f"{self.path}: there are no events to write; give at least one"
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
        Number of events in the file.
    info
        Header and ``<init>`` of the events.  If another program has written the file, it contains
        no processes.  ``info.weights`` lists all weights of the events.
    left_out
        Branches and trees of the file that are not part of the event record.
    """

    info: LHEInfo
    n_events: int
    left_out: tuple[str, ...]

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
        names = list(branches)
        self.n_events = n_events
        self._relative: frozenset[str] = frozenset()
        if metadata is None:
            needed_branches(names, {}, self.name)  # first: it says what kind of file this is
            vectors = {name: self._n_weights(name) for name in names if is_weight_vector(name)}
            self._weights, self._relative = weights_of_file(names, vectors)
            weights = tuple(starmap(self._weight, self._weights.items()))
            self.info = replace(LHEInfo.unknown(), weights=weights)
        else:
            content = FileMetadata.from_json(metadata, self.name)
            self.info, self._weights = content.info, content.weights
        self._branches = needed_branches(names, self._weights, self.name)
        self.left_out = left_out(names, self._branches, is_ours=metadata is not None)

    def _weight(self, name: str, identity: str) -> LHEWeight:
        """Entry of ``info`` for a weight that the header does not describe."""
        branch, entry = weight_branch(name), WeightEntry.parse(name)
        description = entry_description(self._title(branch), entry.position if entry else 0)
        return LHEWeight(identity, description, branch if entry else "")

    def _n_weights(self, branch: str) -> int | None:
        """Length of the first list in a branch that is not empty; None if it has no lists."""
        for lengths in self._lengths(branch):
            if lengths is None:
                return None
            if lengths.any():
                return int(lengths[np.argmax(lengths > 0)])
        return 0

    def _lengths(self, branch: str) -> Iterator[IntArray | None]:
        """Number of entries of each event in a branch, for some events at a time."""
        raise NotImplementedError

    def _title(self, branch: str) -> str:  # noqa: ARG002
        """Title of a branch, if the kind of file has titles."""
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def chunks(self, chunk_size: int) -> Iterator[AwkwardArray]:
        """Yield event records in chunks of at most ``chunk_size``.

        Raises
        ------
        SampleError
            If a column cannot be read.
        """
        for columns in self.columns(chunk_size):
            yield columns.record()

    def columns(self, chunk_size: int) -> Iterator[EventColumns]:
        """Yield flat columns of about ``chunk_size`` events at a time.

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
