"""Read LHE files in bounded memory and in parallel.

A block of simple events is parsed at once (:mod:`milinfer.io.lhe.columnar`).  All other blocks are
parsed by pylhe, event by event.
"""

from __future__ import annotations

import warnings
from array import array
from collections import Counter
from collections.abc import Generator, Iterator
from io import BytesIO
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple, Self

import numpy as np

from milinfer.exceptions import LHEError, MilinferWarning
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.record import (
    EVENT_FIELDS,
    PARTICLE_FIELDS,
    EventColumns,
    as_column,
    first_not_finite,
    in_chunks,
    nan_counts,
)
from milinfer.io.lhe.blocks import BlockReader
from milinfer.io.lhe.cleaning import clean_events
from milinfer.io.lhe.columnar import parse_columns, repeated_tags
from milinfer.io.lhe.header import Limits, Preamble
from milinfer.typing import AwkwardArray, PathLikeStr
from milinfer.utils.arguments import require_whole_number
from milinfer.utils.parallel import in_order, require_workers

__all__ = ["BlockParser", "LHEFile", "LHEReader", "iterate", "read", "read_info"]


# Bytes in a block: enough to make columns worthwhile, and few enough for the processor's caches.
_SMALLEST_BLOCK: Final = 1 << 16
_LARGEST_BLOCK: Final = 1 << 20


class LHEFile(NamedTuple):
    """Events (awkward record, see :func:`milinfer.io.lhe.make_events`), header and ``<init>``."""

    events: AwkwardArray
    info: LHEInfo


class LHEReader:
    """Reader of an LHE file: ``info`` is available at once, events by :meth:`chunks`.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    workers
        Number of threads that parse.  It has no effect on events and errors.
    limits
        Largest sizes of header, events and lines; the defaults of :class:`Limits` if None.

    Attributes
    ----------
    info
        Header and ``<init>``; ids of undeclared weights are added after the first chunk.
    n_events
        Number of events read so far.
    left_out
        Names of content that is in neither the events nor ``info``; complete after event 0 has been
        read.
    n_nan
        For each column of scales or couplings, the number of events in which it is NaN.  NaN is
        kept in the events, and a warning at the end of the file gives these numbers.

    Raises
    ------
    LHEError
        If the file is damaged.

    Examples
    --------
    See :func:`read` and :func:`iterate`, which use it.
    """

    def __init__(
        self, path: PathLikeStr, workers: int = 1, *, limits: Limits | None = None
    ) -> None:
        require_workers(workers)
        self.n_events = 0
        self.n_nan: Counter[str] = Counter()
        self.workers = workers
        self._source: Generator[EventColumns] | None = None
        self._chunks: Iterator[EventColumns] = iter(())
        self._file = BlockReader(path, limits)
        try:
            self._parser = BlockParser(self._file.preamble, self._file.name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def info(self) -> LHEInfo:
        """Header and ``<init>``."""
        return self._parser.info

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of content that is neither in events nor in ``info``; complete after event 0."""
        return self._file.left_out

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()
        self._file.close()

    def chunks(self, chunk_size: int) -> Iterator[AwkwardArray]:
        """Yield events in chunks of ``chunk_size``; the last chunk may be smaller.

        A second call continues after the events that the first call has yielded.  It uses the
        ``chunk_size`` of the first call.

        Raises
        ------
        LHEError
            If the file is damaged or has no events; the message names the event, counted from 0.
        """
        for columns in self.columns(chunk_size):
            yield columns.record()

    def columns(self, chunk_size: int) -> Iterator[EventColumns]:
        """Yield the events as flat columns, which is faster than :meth:`chunks`.

        Raises
        ------
        LHEError
            If the file is damaged or has no events; the message names the event, counted from 0.
        """
        require_whole_number(chunk_size, "chunk_size")
        if self._source is None:
            self._source = self._blocks(chunk_size)
            self._chunks = in_chunks(self._source, chunk_size)
        for columns in self._chunks:
            self.n_events += len(columns.counts)
            self.n_nan.update(nan_counts(columns.event))
            yield columns
        if self.n_events == 0:
            msg = f"{self._file.name}: there are no events in this file; produce it again"
            raise LHEError(msg)
        if self.n_nan:
            numbers = ", ".join(f"{name} in {n}" for name, n in self.n_nan.items())
            msg = (
                f"{self._file.name}: these numbers are NaN: {numbers} (of {self.n_events} events); "
                "they are kept, but no computation uses them"
            )
            warnings.warn(msg, MilinferWarning, stacklevel=2)

    def _blocks(self, chunk_size: int) -> Generator[EventColumns]:
        """Columns of each block in order; a few blocks for each worker are parsed in advance."""
        number = 0
        first = self._file.first_event()
        if first:
            yield self._parser.first(first)
            number = 1
        size = min(max(len(first) * chunk_size, _SMALLEST_BLOCK), _LARGEST_BLOCK)
        blocks = self._file.blocks(size)
        for text, columns in in_order(self._fast, blocks, self.workers):
            done = self._parser.slow(text, number) if columns is None else columns
            number += len(done.counts)
            yield done
        self._file.finish(number)

    def _fast(self, text: bytes) -> tuple[bytes, EventColumns | None]:
        return text, self._parser.fast(text)


def iterate(
    path: PathLikeStr,
    chunk_size: int = 50_000,
    *,
    workers: int = 1,
    limits: Limits | None = None,
) -> Iterator[AwkwardArray]:
    """Yield the events of an LHE file in chunks, in bounded memory.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    chunk_size
        Number of events in a chunk; the last chunk may be smaller.
    workers
        Number of threads that parse.
    limits
        Largest sizes of header, events and lines; see :class:`Limits`.

    Yields
    ------
    ak.Array
        Event records; see :func:`milinfer.io.lhe.make_events` for the fields.

    Raises
    ------
    LHEError
        If the file is damaged or has no events; the message names the file and the event, counted
        from 0.  Events before the damage may have been yielded already.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import lhe
    >>> text = '''<LesHouchesEvents version="3.0">
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init>''' + 3 * '''
    ... <event>
    ... 1 1 0.5 91.2 0.007 0.118
    ... 23 1 0 0 0 0 30 40 0 103.7 91.2 0 9
    ... </event>''' + "</LesHouchesEvents>"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "z.lhe")
    ...     _ = file.write_text(text)
    ...     [chunk.LHEPart.pt.tolist() for chunk in lhe.iterate(file, chunk_size=2)]
    [[[50.0], [50.0]], [[50.0]]]
    """
    with LHEReader(path, workers, limits=limits) as reader:
        yield from reader.chunks(chunk_size)


def read(
    path: PathLikeStr,
    chunk_size: int = 50_000,
    *,
    workers: int = 1,
    limits: Limits | None = None,
) -> LHEFile:
    """Read a whole LHE file; :func:`iterate` takes less memory.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    chunk_size
        Number of events that are converted to records at a time.
    workers
        Number of threads that parse.
    limits
        Largest sizes of header, events and lines; see :class:`Limits`.

    Returns
    -------
    LHEFile
        ``events`` (the event records) and ``info`` (header and ``<init>``).

    Raises
    ------
    LHEError
        If the file is damaged or has no events; the message names the file and the event, counted
        from 0.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import lhe
    >>> text = '''<LesHouchesEvents version="3.0">
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init>
    ... <event>
    ... 1 1 0.5 91.2 0.007 0.118
    ... 23 1 0 0 0 0 30 40 0 103.7 91.2 0 9
    ... </event>
    ... </LesHouchesEvents>'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "z.lhe")
    ...     _ = file.write_text(text)
    ...     events, info = lhe.read(file)
    >>> events.genWeight.tolist(), info.cross_section
    ([0.5], 1.5)
    """
    import awkward as ak

    with LHEReader(path, workers, limits=limits) as reader:
        chunks = list(reader.chunks(chunk_size))
        return LHEFile(chunks[0] if len(chunks) == 1 else ak.concatenate(chunks), reader.info)


def read_info(path: PathLikeStr, *, limits: Limits | None = None) -> LHEInfo:
    """Read the header, ``<init>`` and the weights of the first event of an LHE file.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    limits
        Largest sizes of header, events and lines; see :class:`Limits`.

    Raises
    ------
    LHEError
        If the file is damaged before the end of the first event.  Later events are not read.

    Examples
    --------
    See :func:`read`, whose ``info`` is the same.
    """
    with LHEReader(path, limits=limits) as reader:
        next(reader._blocks(1), None)
        return reader.info


_PARTICLE: Final = attrgetter(
    "id", "status", "mother1", "mother2", "color1", "color2",
    "px", "py", "pz", "e", "m", "lifetime", "spin",
)  # fmt: skip
_EVENT: Final = attrgetter("pid", "weight", "scale", "aqed", "aqcd")
# Errors that pylhe raises for lines that it cannot read.
_UNREADABLE: Final = (ValueError, IndexError, KeyError, OverflowError, AttributeError)


class BlockParser:
    """Parser of the blocks of one file; the first event defines the weight ids of all events.

    Parameters
    ----------
    preamble
        Header and ``<init>`` of the file.
    name
        Name of the file, for messages.

    Attributes
    ----------
    info
        Header and ``<init>`` as pylhe reads them.
    ids
        Weight ids, in the order of event 0.

    Raises
    ------
    LHEError
        If header or ``<init>`` cannot be read.
    """

    def __init__(self, preamble: Preamble, name: str) -> None:
        self.name = name
        self.ids: tuple[str, ...] = ()
        self._opening = preamble.for_pylhe()
        self._n_declared = len(preamble.weights)
        self._tags: tuple[bytes, ...] | None = None
        # Before the block: a broken installation is not an error of the file.
        import pylhe  # noqa: F401

        try:
            with _parse_warnings_as_errors():
                self.info: LHEInfo = preamble.info(self._pylhe(b"").init)
        except (*_UNREADABLE, RuntimeWarning, StopIteration) as error:
            if isinstance(error, LHEError):
                raise
            msg = f"{name}: the header or <init> block cannot be read ({error}); correct it"
            raise LHEError(msg) from error

    def first(self, text: bytes) -> EventColumns:
        """Parse event 0 alone; all later events must have the weight ids of event 0.

        Raises
        ------
        LHEError
            If the event is damaged.
        """
        columns = self.slow(text, 0)
        cleaned, _ = clean_events(text, self.name, 0)
        self._tags = repeated_tags(cleaned, len(self.ids))
        return columns

    def fast(self, text: bytes) -> EventColumns | None:
        """Parse a block of simple events; return None if it is not simple or has an error.

        After :meth:`first`, several threads may call this method at once.
        """
        if self._tags is None:
            return None
        columns = parse_columns(text, self._tags, self.ids)
        if columns is None:
            try:
                # parse_columns accepts only numbers that LHE allows
                cleaned, _ = clean_events(text, self.name, 0, numbers=False)
                columns = parse_columns(cleaned, self._tags, self.ids)
            except LHEError:
                return None  # `slow` reads it again and names the event
        return columns

    def slow(self, text: bytes, number: int) -> EventColumns:
        """Parse any block with pylhe, event by event.

        Parameters
        ----------
        text
            Complete events.
        number
            Number of the first of these events in the file, counted from 0.

        Raises
        ------
        LHEError
            If an event is damaged; the message names the file and the event.
        """
        text, n_weights = clean_events(text, self.name, number)
        counts, flat, heads, weights = array("q"), array("d"), array("d"), array("d")
        try:
            with _parse_warnings_as_errors():
                for event, expected in zip(self._pylhe(text).events, n_weights, strict=False):
                    counts.append(len(event.particles))
                    flat.extend(chain.from_iterable(map(_PARTICLE, event.particles)))
                    heads.extend(_EVENT(event.eventinfo))
                    reweights: dict[str, float] = event.weights
                    if reweights or expected != (0, -1) or self.ids:
                        weights.extend(self._weights(reweights, expected, number + len(counts) - 1))
        except LHEError:
            raise
        except (*_UNREADABLE, RuntimeWarning) as error:
            what = f"cannot be read ({error!r}); correct its lines or produce the file again"
            raise self._fail(number + len(counts), what) from error
        if len(counts) != len(n_weights):
            what = f"cannot be read: {len(n_weights)} events were expected in this block"
            raise self._fail(number + len(counts), what + "; produce the file again")
        return self._columns(number, counts, flat, heads, weights)

    def _pylhe(self, events: bytes) -> Any:
        import pylhe

        return pylhe.LHEFile.frombuffer(BytesIO(self._opening + events + b"</LesHouchesEvents>\n"))

    def _weights(self, reweights: dict[str, float], expected: tuple[int, int], number: int) -> Any:
        if number == 0:
            self.ids = tuple(reweights)
            self.info = self.info.with_weights(self.ids)
        n_elements, n_listed = expected
        if n_listed < 0 and n_elements != len(reweights):
            what = f"has {n_elements} <wgt> but {len(reweights)} different ids"
            what += "; rename the duplicates"
            raise self._fail(number, what)
        # An event with both elements may have the same weights twice.
        if n_listed >= 0 and n_elements == 0 and n_listed != self._n_declared:
            what = (
                f"has {n_listed} numbers in <weights>, but <initrwgt> declares "
                f"{self._n_declared}; correct one of them"
            )
            raise self._fail(number, what)
        if tuple(reweights) == self.ids:
            return reweights.values()
        differ = sorted(set(self.ids) ^ set(reweights))
        if differ:
            side = "lacks" if differ[0] in self.ids else "has, unlike event 0,"
            what = f"{side} the weight {differ[0]!r} ({len(differ)} ids differ from event 0)"
            raise self._fail(number, what + "; every event needs the same weights")
        return [reweights[key] for key in self.ids]

    def _columns(
        self,
        first: int,
        counts: array[int],
        flat: array[float],
        heads: array[float],
        weights: array[float],
    ) -> EventColumns:
        number = np.frombuffer(counts, dtype=np.int64)
        rows = np.array(flat).reshape(-1, len(PARTICLE_FIELDS)).T
        particles = dict(zip(PARTICLE_FIELDS, rows, strict=True))
        rows = np.array(heads).reshape(-1, len(EVENT_FIELDS)).T
        event = dict(zip(EVENT_FIELDS, rows, strict=True))
        rows = np.array(weights).reshape(len(number), -1).T
        reweights = dict(zip(self.ids, rows, strict=True))
        bad = first_not_finite(number, particles, event, reweights)
        if bad is not None:
            raise self._fail(first + bad[0], f"{bad[1]}; remove or correct the event")
        n_particles = int(number.sum())
        try:
            return EventColumns(
                number,
                {
                    name: as_column(name, particles, {}, dtype, n_particles)
                    for name, dtype in PARTICLE_FIELDS.items()
                },
                {
                    name: as_column(name, event, {}, dtype, len(number))
                    for name, dtype in EVENT_FIELDS.items()
                },
                reweights,
            )
        except LHEError as error:
            stop = first + len(number) - 1
            msg = f"{self.name}: events {first} to {stop} (counted from 0): {error}"
            raise LHEError(msg) from error

    def _fail(self, number: int, what: str) -> LHEError:
        return LHEError(f"{self.name}: event {number} (counted from 0): {what}")


class _parse_warnings_as_errors(warnings.catch_warnings):  # noqa: N801
    """Turns the warnings of pylhe about broken XML into errors."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("error", message="Parse Error", category=RuntimeWarning)
