"""Read LHE files from disk in blocks of complete events, for the parsers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Final, Self

from milinfer.exceptions import LHEError
from milinfer.io.lhe.cleaning import CLOSE, END, EVENT, check_gap, without_comments, wrong_closing
from milinfer.io.lhe.header import Limits, read_preamble
from milinfer.io.lhe.left_out import left_out_of_events
from milinfer.typing import PathLikeStr
from milinfer.utils.addresses import open_bytes
from milinfer.utils.gzip_files import DAMAGED, open_gzip

__all__ = ["BlockReader"]

_PIECE: Final = 1 << 16
_BEGINNING: Final = 1 << 14
_GZIP: Final = b"\x1f\x8b"


class BlockReader:
    """Reader of an LHE file in blocks of complete events, without comments.

    Parameters
    ----------
    path
        File, plain or gzip (recognised by its content).
    limits
        Largest sizes of the parts of the file.

    Attributes
    ----------
    name
        Name of the file, for messages.
    preamble
        Header and ``<init>``.
    left_out
        Names of content that is neither in ``preamble`` nor in the lines and weights of the first
        events.  The list is complete only after a call of :meth:`first_event`.

    Raises
    ------
    LHEError
        If header or ``<init>`` is not complete.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.lhe")
    ...     _ = file.write_text('''<LesHouchesEvents version="3.0">
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init><event>1</event><event>2</event><!-- end --><event>3</event></LesHouchesEvents>''')
    ...     with BlockReader(file) as reader:
    ...         first, others = reader.first_event(), list(reader.blocks(1000))
    ...         reader.finish(n_events=3)
    >>> first, others
    (b'<event>1</event>', [b'<event>2</event><event>3</event>'])
    """

    def __init__(self, path: PathLikeStr, limits: Limits | None = None) -> None:
        self.name = str(path)
        self.limits = limits or Limits()
        self._rest = b""  # without comments
        self._open_comment = b""  # a comment that has not been closed
        self._damage: Callable[[int], str] | None = None
        self._file = open_bytes(path)
        compressed = self._file.peek(2)[:2] == _GZIP
        # if a gzip file is cut, the data of the last call are lost
        self._piece = _PIECE if compressed else sys.maxsize
        self._raw = open_gzip(self._file) if compressed else self._file
        try:
            self.preamble, beyond = read_preamble(self._first_pieces, self.name, self.limits)
        except BaseException:
            self.close()
            raise
        self.left_out = self.preamble.left_out
        self._beginning = beyond[:_BEGINNING]  # the first events as they are in the file
        self._append(beyond)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        self._file.close()

    def first_event(self) -> bytes:
        """Return the text up to the end of the first event; empty if there is no event."""
        while not (close := CLOSE.search(self._rest)):
            if not self._grow(self._as_much_again()):
                return b""
        text, self._rest = self._rest[: close.end()], self._rest[close.end() :]
        names = left_out_of_events(self._beginning if CLOSE.search(self._beginning) else text)
        self.left_out = tuple(dict.fromkeys([*self.left_out, *names]))
        return text

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield blocks of about ``size`` bytes, each up to the end of an event.

        The blocks stop at the end of the file, or at a place where the file cannot be read.  In the
        second case, :meth:`finish` raises.
        """
        more = True
        while more:
            more = self._grow(max(size - len(self._rest), self._as_much_again()))
            end = _last_close(self._rest)
            if end:
                text, self._rest = self._rest[:end], self._rest[end:]
                self.limits.require_lines(text, self.name, "a block of events")
                yield text

    def finish(self, n_events: int) -> None:
        """Check the text after the last event, once all blocks have been taken.

        Parameters
        ----------
        n_events
            Number of events of the file, for messages.

        Raises
        ------
        LHEError
            If the file is truncated or corrupt, or has text after its closing tag.
        """
        if self._damage is not None:
            msg = f"{self.name}: {self._damage(n_events)}"
            raise LHEError(msg)
        tail = self._rest + self._open_comment
        end = END.search(tail)
        before = tail if end is None else tail[: end.start()]
        inside = b"<event" in before and EVENT.search(before) is not None
        if inside or end is None:
            self._require_right_tag(before, n_events if inside else None)
        if end is None:
            if inside:
                place = f"inside event {n_events} (counted from 0)"
            else:
                place = f"after {n_events} whole events"
            msg = (
                f"{self.name}: the file is truncated: it ends {place}, without "
                "</LesHouchesEvents>; copy or produce it again"
            )
            raise LHEError(msg)
        if before.strip():
            check_gap(before, self.name, n_events)
        after = tail[end.end() :]
        if b"<LesHouchesEvents" in after or b"<event" in after:
            check_gap(tail, self.name, n_events)

    def _require_right_tag(self, text: bytes, event: int | None) -> None:
        """Raise if the event or the file is closed by a misspelt tag."""
        expected = "LesHouchesEvents" if event is None else "event"
        wrong = wrong_closing(text, expected)
        if wrong is not None:
            where = "the file" if event is None else f"event {event} (counted from 0)"
            msg = (
                f"{self.name}: {where} ends with {wrong} instead of </{expected}>; correct the tag"
            )
            raise LHEError(msg)

    def _first_pieces(self) -> bytes:
        piece = self._read(_PIECE)
        if self._damage is not None and not piece:
            msg = f"{self.name}: {self._damage(0)}"
            raise LHEError(msg)
        return piece

    def _as_much_again(self) -> int:
        """Size of the next piece of an event that has no end yet: all of it is searched again."""
        n = len(self._rest)
        return max(_PIECE, min(n, self.limits.event - n + 1))

    def _grow(self, size: int) -> bool:
        """Read more text; tell whether there was any."""
        if len(self._rest) + len(self._open_comment) > self.limits.event:
            self._damage = _NeverClosed(self.limits.event)
        piece = self._read(size)
        if len(self._beginning) < _BEGINNING:
            self._beginning += piece[:_BEGINNING]
        self._append(piece)
        return bool(piece)

    def _append(self, piece: bytes) -> None:
        """Add text without its comments."""
        text, self._open_comment = self._open_comment + piece, b""
        if b"!" not in text and not self._rest.endswith((b"<!", b"<!-")):
            self._rest += text
            return
        self._rest, self._open_comment = without_comments(self._rest + text)

    def _read(self, size: int) -> bytes:
        """Next bytes; empty at the end of the file or if the rest cannot be read."""
        pieces: list[bytes] = []
        left = size
        while left > 0 and self._damage is None:
            try:
                piece = self._raw.read(min(left, self._piece))
            except EOFError:
                self._damage = _truncated_gzip
            except DAMAGED as error:
                self._damage = _Corrupt(str(error))
            else:
                if not piece:
                    break
                pieces.append(piece)
                left -= len(piece)
        return b"".join(pieces)


def _last_close(buffer: bytes) -> int:
    """Position of the end of the last complete event; 0 if there is none."""
    end = buffer.rfind(b"</event>")
    end = 0 if end < 0 else end + len(b"</event>")
    if b"</event" in buffer[end:]:  # closed in an unusual way
        for close in CLOSE.finditer(buffer, end):
            end = close.end()
    return end


class _NeverClosed:
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, n_events: int) -> str:
        return (
            f"event {n_events} (counted from 0) is never closed by </event>, or has more than "
            f"{self.limit} bytes; the file is damaged, produce it again, or allow larger events "
            "with limits=Limits(event=...) or convert --size-limit"
        )


def _truncated_gzip(n_events: int) -> str:
    return (
        f"the gzip file is truncated (at least {n_events} whole events, then "
        f"event {n_events}, counted from 0, is cut); copy or produce it again"
    )


class _Corrupt:
    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, n_events: int) -> str:
        return (
            f"the gzip file is corrupt ({self.what}) after event {n_events - 1} (counted "
            "from 0) or soon after; copy or produce it again"
        )
