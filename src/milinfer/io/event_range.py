"""Read only a range of the events of a file, such as the first thousand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.io.event_record.record import EventColumns
from milinfer.typing import PathLikeStr

__all__ = ["EventRange", "EventSelection", "events_in_range"]

EventSelection: TypeAlias = int | Sequence[int]
"""The first N events, or the events from START up to but not including STOP."""


class EventRange(NamedTuple):
    """Events of a file from ``start`` up to but not including ``stop``, counted from 0."""

    start: int
    stop: int

    @classmethod
    def of(cls, events: EventSelection) -> EventRange:
        """Make a range from a number N (the first N events) or a pair (START, STOP).

        Raises
        ------
        ConfigurationError
            If `events` is neither a number nor a pair, or if the range contains no events.

        Examples
        --------
        >>> EventRange.of(1000), EventRange.of((1000, 2000))
        (EventRange(start=0, stop=1000), EventRange(start=1000, stop=2000))
        """
        numbers: list[Any] = [0, events] if isinstance(events, int) else list(events)
        if len(numbers) != 2 or not all(_is_whole(n) for n in numbers):
            msg = f"events={events!r}: give the number N of the first events, or START and STOP"
            raise ConfigurationError(msg)
        start, stop = numbers
        if not 0 <= start < stop:
            msg = (
                f"events={events!r} has no events; give N > 0, or START and STOP with "
                "0 <= START < STOP"
            )
            raise ConfigurationError(msg)
        return cls(start, stop)

    @classmethod
    def parse(cls, text: str) -> EventRange:
        """Make a range from text, ``N`` or ``START:STOP``.

        Raises
        ------
        ConfigurationError
            If `text` has neither of these forms.

        Examples
        --------
        >>> EventRange.parse("1000:2000")
        EventRange(start=1000, stop=2000)
        """
        try:
            first, *others = (int(part) for part in text.split(":"))
        except ValueError as error:
            msg = f"events={text!r}: give the number N of the first events, or START:STOP"
            raise ConfigurationError(msg) from error
        return cls.of((first, *others) if others else first)

    @property
    def n_events(self) -> int:
        """Number of events in the range."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.start}:{self.stop}"

    def overlaps(self, other: EventRange) -> bool:
        """Tell whether two ranges have events in common.

        Examples
        --------
        >>> EventRange(0, 10).overlaps(EventRange(9, 20)), EventRange(0, 9).overlaps((9, 20))
        (True, False)
        """
        return self.start < other[1] and other[0] < self.stop

    def require_within(self, n_events: int, path: PathLikeStr) -> None:
        """Raise if a file of `n_events` events does not contain this whole range.

        Raises
        ------
        SampleError
            If the file ends before the end of the range.  The message names the number of events of
            the file, and the range.

        Examples
        --------
        >>> EventRange(0, 10).require_within(7, "a.lhe")
        Traceback (most recent call last):
        milinfer.exceptions.SampleError: a.lhe has 7 events, but events= asks for ...
        """
        if n_events < self.stop:
            msg = (
                f"{path} has {n_events} events, but events= asks for events up to {self.stop}; ask "
                "for fewer events"
            )
            raise SampleError(msg)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def events_in_range(
    chunks: Iterable[EventColumns], events: EventRange | None, path: PathLikeStr
) -> Iterator[tuple[int, EventColumns]]:
    """Yield the events of a range in chunks, with the number of the first event of each chunk.

    Reading stops at the end of the range.

    Parameters
    ----------
    chunks
        Chunks of the file, from its first event on.
    events
        The range; None for all events.
    path
        The file, for messages.

    Raises
    ------
    SampleError
        If the file ends before the end of the range.

    Examples
    --------
    >>> import numpy as np
    >>> five = EventColumns(np.zeros(5, int), {}, {"genWeight": np.arange(5.0)}, {})
    >>> parts = events_in_range([five, five], EventRange(3, 7), "a.lhe")
    >>> [(first, part.event["genWeight"].tolist()) for first, part in parts]
    [(3, [3.0, 4.0]), (5, [0.0, 1.0])]
    """
    first = 0
    for chunk in chunks:
        n = len(chunk.counts)
        if events is None:
            yield first, chunk
        elif first + n > events.start:
            skipped = max(events.start - first, 0)
            part = chunk.split(skipped)[1] if skipped else chunk
            wanted = min(first + n, events.stop) - first - skipped
            yield first + skipped, part.split(wanted)[0] if wanted < len(part.counts) else part
        first += n
        if events is not None and first >= events.stop:
            return
    if events is not None:
        events.require_within(first, path)
