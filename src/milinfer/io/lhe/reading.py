"""Read LHE files in bounded memory, in parallel, with pylhe as the parser of record."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final, NamedTuple, Self

from milinfer.exceptions import ConfigurationError, LHEError
from milinfer.io.event.event_columns import EventColumns, in_chunks
from milinfer.io.event.info import LHEInfo
from milinfer.io.lhe.blocks import BlockReader
from milinfer.io.lhe.limits import Limits
from milinfer.io.lhe.parsing import BlockParser
from milinfer.typing import AwkwardArray, PathLikeStr
from milinfer.utils.threads import in_order, require_workers

__all__ = ["LHEFile", "LHEReader", "iterate", "read", "read_info"]

# Of text: enough for whole columns to pay, and no more than the caches of a processor hold.
_SMALLEST_BLOCK: Final = 1 << 16
_LARGEST_BLOCK: Final = 1 << 20


class LHEFile(NamedTuple):
    """Events (awkward record, see :func:`milinfer.io.lhe.make_events`) and what belongs to them."""

    events: AwkwardArray
    info: LHEInfo


class LHEReader:
    """An open LHE file: ``info`` at once, events by :meth:`chunks`.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    workers
        Threads that parse; the events and errors are the same whatever their number.
    limits
        Largest sizes of header, events and lines; the defaults of :class:`Limits` if None.

    Attributes
    ----------
    info
        Header and init; complete (with ids of undeclared weights) after the first chunk.
    n_events
        Events given out so far.

    Raises
    ------
    LHEError
        If the file is damaged.

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
    ... 0 1 0.5 91.2 0.007 0.118
    ... </event>
    ... </LesHouchesEvents>'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "z.lhe")
    ...     _ = file.write_text(text)
    ...     with lhe.LHEReader(file) as reader:
    ...         reader.info.version, sum(len(chunk) for chunk in reader.chunks(1000))
    ('3.0', 1)
    """

    def __init__(
        self, path: PathLikeStr, workers: int = 1, *, limits: Limits | None = None
    ) -> None:
        require_workers(workers)
        self.n_events = 0
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
        """Header and init."""
        return self._parser.info

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()
        self._file.close()

    def chunks(self, chunk_size: int) -> Iterator[AwkwardArray]:
        """Events in chunks of ``chunk_size``, the last one smaller.

        Another call goes on where the one before it has stopped, with its ``chunk_size``.

        Raises
        ------
        LHEError
            If the file is damaged or has no events; names the event, counted from 0.
        """
        for columns in self.columns(chunk_size):
            yield columns.record()

    def columns(self, chunk_size: int) -> Iterator[EventColumns]:
        """The same as :meth:`chunks` in flat columns, which is faster.

        Raises
        ------
        LHEError
            If the file is damaged or has no events; names the event, counted from 0.
        """
        if chunk_size < 1:
            msg = f"chunk_size must be at least 1, but it is {chunk_size}"
            raise ConfigurationError(msg)
        if self._source is None:
            self._source = self._blocks(chunk_size)
            self._chunks = in_chunks(self._source, chunk_size)
        for columns in self._chunks:
            self.n_events += len(columns.counts)
            yield columns
        if self.n_events == 0:
            msg = f"{self._file.name}: there are no events in this file; produce it again"
            raise LHEError(msg)

    def _blocks(self, chunk_size: int) -> Generator[EventColumns]:
        """Columns of each block in order, a few blocks for each worker ahead."""
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
    """Events of an LHE file in chunks, in bounded memory.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    chunk_size
        Events a chunk; the last one is smaller.
    workers
        Threads that parse.
    limits
        Largest sizes of header, events and lines; see :class:`Limits`.

    Yields
    ------
    ak.Array
        Event records; see :func:`milinfer.io.lhe.make_events` for the fields.

    Raises
    ------
    LHEError
        If the file is damaged or has no events; names the file and the event, counted from 0.
        Events before the damage may have been given out by then.

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
        Events made into a record at a time.
    workers
        Threads that parse.
    limits
        Largest sizes of header, events and lines; see :class:`Limits`.

    Returns
    -------
    LHEFile
        ``events`` and ``info``.

    Raises
    ------
    LHEError
        If the file is damaged or has no events; names the file and the event, counted from 0.

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
    """Read what an LHE file says of itself: header, init, and the weights of its first event.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    limits
        Largest sizes of header, events and lines; see :class:`Limits`.

    Raises
    ------
    LHEError
        If the file is damaged up to there; the other events are not looked at.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import lhe
    >>> text = '''<LesHouchesEvents version="3.0">
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init>
    ... </LesHouchesEvents>'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "z.lhe")
    ...     _ = file.write_text(text)
    ...     lhe.read_info(file).energies
    (6500.0, 6500.0)
    """
    with LHEReader(path, limits=limits) as reader:
        next(reader._blocks(1), None)
        return reader.info
