"""Read LHE files in bounded memory, with pylhe as the parser."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Iterator
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Final, NamedTuple, Self

import numpy as np

from milinfer.exceptions import ConfigurationError, LHEError
from milinfer.lhe.info import LHEInfo
from milinfer.lhe.record import EVENT_FIELDS, MOMENTUM_FIELDS, PARTICLE_FIELDS, make_events
from milinfer.lhe.stream import CleanStream
from milinfer.typing import AwkwardArray, PathLikeStr

__all__ = ["LHEFile", "LHEReader", "iterate", "read", "read_info"]

_PARTICLE: Final = attrgetter(
    "id", "status", "mother1", "mother2", "color1", "color2",
    "px", "py", "pz", "e", "m", "lifetime", "spin",
)  # fmt: skip
_EVENT: Final = attrgetter("pid", "weight", "scale", "aqed", "aqcd")
# What pylhe raises on lines that it cannot read.
_UNREADABLE: Final = (ValueError, IndexError, KeyError, OverflowError, AttributeError)


class LHEFile(NamedTuple):
    """Events (awkward record, see :func:`milinfer.lhe.make_events`) and what belongs to them."""

    events: AwkwardArray
    info: LHEInfo


class LHEReader:
    """An open LHE file: ``info`` at once, events by :meth:`chunks`.

    Parameters
    ----------
    path
        LHE file, plain or gzip.

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
    >>> from milinfer import lhe
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

    def __init__(self, path: PathLikeStr) -> None:
        import pylhe

        self.n_events = 0
        self._ids: tuple[str, ...] = ()
        self._stream = CleanStream(path)
        try:
            with _parse_warnings_as_errors():
                parsed = pylhe.LHEFile.frombuffer(self._stream)
            self.info = self._stream.preamble.info(parsed.init)
        except (*_UNREADABLE, RuntimeWarning, StopIteration) as error:
            self.close()
            if isinstance(error, LHEError):
                raise
            msg = f"{path}: the header or <init> block cannot be read ({error}); correct it"
            raise LHEError(msg) from error
        self._events = iter(parsed.events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def chunks(self, chunk_size: int) -> Iterator[AwkwardArray]:
        """Events in chunks of ``chunk_size``, the last one smaller.

        Raises
        ------
        LHEError
            If the file is damaged or has no events; names the event, counted from 0.
        """
        if chunk_size < 1:
            msg = f"chunk_size must be at least 1, but it is {chunk_size}"
            raise ConfigurationError(msg)
        while True:
            # before anything is given out: a warning of pylhe must not fall outside
            with _parse_warnings_as_errors():
                events = self._take(chunk_size)
            if events is None:
                break
            self.n_events += len(events)
            yield events
        if not self._stream.finished or self._stream.n_events != self.n_events:
            msg = (
                f"{self._stream.name}: the file has {self._stream.n_events} events, but only "
                f"{self.n_events} could be read; produce it again"
            )
            raise LHEError(msg)
        if self.n_events == 0:
            msg = f"{self._stream.name}: there are no events in this file; produce it again"
            raise LHEError(msg)

    def _take(self, n: int) -> AwkwardArray | None:
        counts, flat, heads, weights = array("q"), array("d"), array("d"), array("d")
        n_weights, first = self._stream.n_weights, self.n_events
        try:
            for event in islice(self._events, n):
                counts.append(len(event.particles))
                flat.extend(chain.from_iterable(map(_PARTICLE, event.particles)))
                heads.extend(_EVENT(event.eventinfo))
                given: dict[str, float] = event.weights
                expected = n_weights.popleft()
                if given or expected or self._ids:
                    number = first + len(counts) - 1
                    weights.extend(self._weights(given, expected, number))
        except LHEError:
            raise
        except (*_UNREADABLE, RuntimeWarning) as error:
            what = f"cannot be read ({error!r}); correct its lines or produce the file again"
            raise self._fail(first + len(counts), what) from error
        return self._build(counts, flat, heads, weights) if counts else None

    def _weights(self, given: dict[str, float], expected: int, number: int) -> Any:
        if number == 0:
            self._ids = tuple(given)
            self.info = self.info.with_weights(self._ids)
        if expected >= 0 and expected != len(given):
            what = f"has {expected} <wgt> but {len(given)} different ids; rename the duplicates"
            raise self._fail(number, what)
        if tuple(given) == self._ids:
            return given.values()
        differ = sorted(set(self._ids) ^ set(given))
        if differ:
            side = "lacks" if differ[0] in self._ids else "has, unlike event 0,"
            what = f"{side} the weight {differ[0]!r} ({len(differ)} ids differ from event 0)"
            raise self._fail(number, what + "; every event needs the same weights")
        return [given[key] for key in self._ids]

    def _build(
        self, counts: array[int], flat: array[float], heads: array[float], weights: array[float]
    ) -> AwkwardArray:
        number = np.frombuffer(counts, dtype=np.int64)
        particle = np.frombuffer(flat).reshape(-1, len(PARTICLE_FIELDS)) if flat else None
        if particle is None:
            particle = np.empty((0, len(PARTICLE_FIELDS)))
        columns = dict(zip(PARTICLE_FIELDS, particle.T, strict=True))
        event = dict(zip(EVENT_FIELDS, np.frombuffer(heads).reshape(-1, 5).T, strict=True))
        reweights = np.frombuffer(weights).reshape(len(number), -1) if weights else None
        owner = np.repeat(np.arange(len(number)), number)
        for name in MOMENTUM_FIELDS:
            self._require_finite(columns[name], f"{name} of a particle", owner)
        self._require_finite(event["genWeight"], "the event weight (XWGTUP)", None)
        named = {}
        if reweights is not None:
            named = dict(zip(self._ids, reweights.T, strict=True))
            for key, values in named.items():
                self._require_finite(values, f"the weight {key!r}", None)
        try:
            return make_events(number, columns, event, named)
        except LHEError as error:
            stop = self.n_events + len(number) - 1
            msg = f"{self._stream.name}: events {self.n_events} to {stop} (counted from 0): {error}"
            raise LHEError(msg) from error

    def _require_finite(self, values: Any, what: str, owner: Any) -> None:
        good = np.isfinite(values)
        if not good.all():
            row = int(np.argmin(good))
            event = self.n_events + int(row if owner is None else owner[row])
            raise self._fail(event, f"{what} is {values[row]}; remove or correct the event")

    def _fail(self, event: int, what: str) -> LHEError:
        return LHEError(f"{self._stream.name}: event {event} (counted from 0): {what}")


class _parse_warnings_as_errors(warnings.catch_warnings):  # noqa: N801
    """pylhe only warns where XML is broken."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("error", message="Parse Error", category=RuntimeWarning)


def iterate(path: PathLikeStr, chunk_size: int = 50_000) -> Iterator[AwkwardArray]:
    """Events of an LHE file in chunks, in bounded memory.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    chunk_size
        Events a chunk; the last one is smaller.

    Yields
    ------
    ak.Array
        Event records; see :func:`milinfer.lhe.make_events` for the fields.

    Raises
    ------
    LHEError
        If the file is damaged or has no events; names the file and the event, counted from 0.
        Events before the damage may have been given out by then.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer import lhe
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
    with LHEReader(path) as reader:
        yield from reader.chunks(chunk_size)


def read(path: PathLikeStr, chunk_size: int = 50_000) -> LHEFile:
    """Read a whole LHE file; :func:`iterate` takes less memory.

    Parameters
    ----------
    path
        LHE file, plain or gzip.
    chunk_size
        Events parsed at a time.

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
    >>> from milinfer import lhe
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

    with LHEReader(path) as reader:
        chunks = list(reader.chunks(chunk_size))
        return LHEFile(chunks[0] if len(chunks) == 1 else ak.concatenate(chunks), reader.info)


def read_info(path: PathLikeStr) -> LHEInfo:
    """Read what an LHE file says of itself: header, init, and the weights of its first event.

    Raises
    ------
    LHEError
        If the file is damaged up to there; the other events are not looked at.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer import lhe
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
    with LHEReader(path) as reader, _parse_warnings_as_errors():
        reader._take(1)
        return reader.info
