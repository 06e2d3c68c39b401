"""Events from blocks of text: at once where the block is plain, by pylhe where it is not."""

from __future__ import annotations

import warnings
from array import array
from io import BytesIO
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import numpy as np

from milinfer.exceptions import LHEError
from milinfer.io.event.event_columns import EventColumns
from milinfer.io.event.info import LHEInfo
from milinfer.io.event.record import EVENT_FIELDS, PARTICLE_FIELDS, as_column, first_not_finite
from milinfer.io.lhe.cleaning import clean_events
from milinfer.io.lhe.columnar import parse_columns, repeated_tags
from milinfer.io.lhe.header import Preamble

__all__ = ["BlockParser"]

_PARTICLE: Final = attrgetter(
    "id", "status", "mother1", "mother2", "color1", "color2",
    "px", "py", "pz", "e", "m", "lifetime", "spin",
)  # fmt: skip
_EVENT: Final = attrgetter("pid", "weight", "scale", "aqed", "aqcd")
# What pylhe raises on lines that it cannot read.
_UNREADABLE: Final = (ValueError, IndexError, KeyError, OverflowError, AttributeError)


class BlockParser:
    """Parser of the blocks of one file; the first event settles which weights there are.

    Parameters
    ----------
    preamble
        Header and init of the file.
    name
        Of the file, for messages.

    Attributes
    ----------
    info
        Header and init as pylhe reads them.
    ids
        Weight ids, in the order of event 0.

    Raises
    ------
    LHEError
        If header or init cannot be read.
    """

    def __init__(self, preamble: Preamble, name: str) -> None:
        self.name = name
        self.ids: tuple[str, ...] = ()
        self._opening = preamble.for_pylhe()
        self._n_declared = len(preamble.weights)
        self._tags: tuple[bytes, ...] | None = None
        # before the block: what is wrong with an installation is not wrong with the file
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
        """Columns of event 0, given alone; from then on its weights are those of all events.

        Raises
        ------
        LHEError
            If it is damaged.
        """
        columns = self.slow(text, 0)
        cleaned, _ = clean_events(text, self.name, 0)
        self._tags = repeated_tags(cleaned, len(self.ids))
        return columns

    def fast(self, text: bytes) -> EventColumns | None:
        """Columns of a block that is plain, or is so once cleaned; else None, errors included.

        May be called from several threads at once, after :meth:`first`.
        """
        if self._tags is None:
            return None
        columns = parse_columns(text, self._tags, self.ids)
        if columns is None:
            try:
                # parse_columns reads no numbers but those of LHE
                cleaned, _ = clean_events(text, self.name, 0, numbers=False)
                columns = parse_columns(cleaned, self._tags, self.ids)
            except LHEError:
                return None  # read again by `slow`, which can say the number of the event
        return columns

    def slow(self, text: bytes, number: int) -> EventColumns:
        """Columns of any block, event by event with pylhe.

        Parameters
        ----------
        text
            Whole events.
        number
            Number of the first of them in the file, counted from 0.

        Raises
        ------
        LHEError
            If an event is damaged; names the file and the event.
        """
        text, n_weights = clean_events(text, self.name, number)
        counts, flat, heads, weights = array("q"), array("d"), array("d"), array("d")
        try:
            with _parse_warnings_as_errors():
                for event, expected in zip(self._pylhe(text).events, n_weights, strict=False):
                    counts.append(len(event.particles))
                    flat.extend(chain.from_iterable(map(_PARTICLE, event.particles)))
                    heads.extend(_EVENT(event.eventinfo))
                    given: dict[str, float] = event.weights
                    if given or expected != (0, -1) or self.ids:
                        weights.extend(self._weights(given, expected, number + len(counts) - 1))
        except LHEError:
            raise
        except (*_UNREADABLE, RuntimeWarning) as error:
            what = f"cannot be read ({error!r}); correct its lines or produce the file again"
            raise self._fail(number + len(counts), what) from error
        if len(counts) != len(n_weights):
            what = f"cannot be read, though it is there, as are {len(n_weights)} events"
            raise self._fail(number + len(counts), what + "; produce the file again")
        return self._columns(number, counts, flat, heads, weights)

    def _pylhe(self, events: bytes) -> Any:
        import pylhe

        return pylhe.LHEFile.frombuffer(BytesIO(self._opening + events + b"</LesHouchesEvents>\n"))

    def _weights(self, given: dict[str, float], expected: tuple[int, int], number: int) -> Any:
        if number == 0:
            self.ids = tuple(given)
            self.info = self.info.with_weights(self.ids)
        n_elements, n_listed = expected
        if n_listed < 0 and n_elements != len(given):
            what = f"has {n_elements} <wgt> but {len(given)} different ids; rename the duplicates"
            raise self._fail(number, what)
        # where an event has both, they may say the same weights
        if n_listed >= 0 and n_elements == 0 and n_listed != self._n_declared:
            what = (
                f"has {n_listed} numbers in <weights>, but <initrwgt> declares "
                f"{self._n_declared}; correct one of them"
            )
            raise self._fail(number, what)
        if tuple(given) == self.ids:
            return given.values()
        differ = sorted(set(self.ids) ^ set(given))
        if differ:
            side = "lacks" if differ[0] in self.ids else "has, unlike event 0,"
            what = f"{side} the weight {differ[0]!r} ({len(differ)} ids differ from event 0)"
            raise self._fail(number, what + "; every event needs the same weights")
        return [given[key] for key in self.ids]

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
    """pylhe only warns where XML is broken."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("error", message="Parse Error", category=RuntimeWarning)
