"""The stream between the file and pylhe: counts, checks and cleans, event by event."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from milinfer.exceptions import LHEError
from milinfer.lhe.preamble import read_preamble
from milinfer.typing import PathLikeStr

__all__ = ["CleanStream"]

_BLOCK: Final = 1 << 15  # larger ones make pylhe slower
_LARGEST_EVENT: Final = 1 << 24
_GZIP: Final = b"\x1f\x8b"
_COMMENT: Final = re.compile(rb"<!--.*?-->", re.DOTALL)
_EVENT: Final = re.compile(rb"<event(?=[\s>])[^>]*>")
_CLOSE: Final = re.compile(rb"</event\s*>")
_END: Final = re.compile(rb"</LesHouchesEvents\s*>")
_ELEMENT: Final = re.compile(rb"<([A-Za-z_][\w.:-]*)(?:\s[^>]*?)?(?:/>|>.*?</\1\s*>)", re.DOTALL)
_GROUP: Final = re.compile(rb"</?eventgroup(?=[\s>])[^>]*>")
_HASH: Final = re.compile(rb"^\s*#.*$", re.MULTILINE)
_STRAY_AND: Final = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)")


class CleanStream:
    """An LHE file as a stream of bytes that pylhe reads without losing or accepting anything.

    Events keep their lines and weights; comments, ``<mgrwt>``, ``<scales>`` and other elements
    that carry no data of the event record are left out.  The structure is checked on the way, so
    that every event of the file is counted and none can vanish.

    Parameters
    ----------
    path
        File, plain or gzip (told by its content).

    Attributes
    ----------
    name
        Of the file, for messages.
    preamble
        What stands before the events.
    n_events
        Events passed on so far; all of them once the stream is exhausted.
    finished
        Whether the closing tag has been seen.
    n_weights
        For each event not yet taken from here: number of its ``<wgt>`` elements, or −1 if it
        uses ``<weights>``.

    Raises
    ------
    LHEError
        While opening or reading, if the file is damaged.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.lhe")
    ...     _ = file.write_text('''<LesHouchesEvents version="3.0">
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init>
    ... <event>
    ... 0 1 1.0 91.2 0.007 0.118
    ... <mgrwt> dropped </mgrwt>
    ... </event>
    ... </LesHouchesEvents>''')
    ...     with CleanStream(file) as stream:
    ...         text = b"".join(iter(stream.read, b""))
    ...         stream.n_events, b"mgrwt" in text
    (1, False)
    """

    def __init__(self, path: PathLikeStr) -> None:
        self.name = str(path)
        self.n_events = 0
        self.finished = False
        self.n_weights: deque[int] = deque()
        with Path(path).open("rb") as file:
            compressed = file.read(2) == _GZIP
        self._raw = gzip.open(path, "rb") if compressed else Path(path).open("rb")  # noqa: SIM115
        try:
            self.preamble, self._rest = read_preamble(self._block, self.name)
        except BaseException:
            self._raw.close()
            raise
        self._pieces = self._generate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002
        """Next piece of the clean text, of any length; empty at the end."""
        return next(self._pieces, b"")

    def _fail(self, what: str) -> LHEError:
        return LHEError(f"{self.name}: {what}")

    def _fail_event(self, what: str) -> LHEError:
        return LHEError(f"{self.name}: event {self.n_events} (counted from 0) {what}")

    def _block(self) -> bytes:
        try:
            return self._raw.read(_BLOCK)
        except EOFError as error:
            msg = (
                f"the gzip file is truncated (at least {self.n_events} whole events, then "
                f"event {self.n_events}, counted from 0, is cut); copy or produce it again"
            )
            raise self._fail(msg) from error
        except (zlib.error, gzip.BadGzipFile) as error:
            msg = (
                f"the gzip file is corrupt ({error}) after event {self.n_events - 1} (counted "
                "from 0) or soon after; copy or produce it again"
            )
            raise self._fail(msg) from error

    def _generate(self) -> Iterator[bytes]:
        yield self.preamble.for_pylhe()
        buffer, at_end = self._rest, False
        self._rest = b""
        while True:
            held = b""
            if b"<!--" in buffer:
                buffer = _COMMENT.sub(b"", buffer)
                opened = buffer.find(b"<!--")
                if opened >= 0:
                    buffer, held = buffer[:opened], buffer[opened:]
            chunks = _CLOSE.split(buffer)
            buffer = chunks.pop() + held
            if chunks and self.n_events == 0:
                yield self._clean(chunks.pop(0))  # alone: enough to know the weights
            if chunks:
                yield b"".join([self._clean(chunk) for chunk in chunks])
            if at_end:
                break
            if len(buffer) > _LARGEST_EVENT:
                msg = "is never closed by </event>; the file is damaged, produce it again"
                raise self._fail_event(msg)
            block = self._block()
            at_end = not block
            buffer += block
        self._finish(buffer)
        yield b"</LesHouchesEvents>\n"

    def _clean(self, chunk: bytes) -> bytes:
        """Make one event (all up to its closing tag) clean, and count it."""
        opening = _EVENT.search(chunk)
        if opening is None:
            msg = "ends with </event> but has no <event>; correct the file"
            raise self._fail_event(msg)
        if chunk[: opening.start()].strip():
            self._check_gap(chunk[: opening.start()])
        body = chunk[opening.end() :]
        if b"<event" in body and _EVENT.search(body):
            msg = "is not closed before the next <event>: the event is cut; produce the file again"
            raise self._fail_event(msg)
        cut = body.find(b"<")
        kept = b""
        if cut >= 0:
            body, kept = self._elements(body, cut)
        text = body.strip()
        if b"#" in text or b"\r" in text or b"\n\n" in text:
            rows = [row.strip() for row in text.splitlines()]
            text = b"\n".join([row for row in rows if row and not row.startswith(b"#")])
        self._check_count(text)
        if b"&" in text:
            text = _STRAY_AND.sub(b"&amp;", text)
        self.n_weights.append(-1 if b"<weights" in kept else kept.count(b"<wgt"))
        self.n_events += 1
        return b"<event>\n" + text + b"\n" + kept + b"</event>\n"

    def _check_count(self, text: bytes) -> None:
        """Refuse an event whose number of particle lines is not the NUP of its event line."""
        if not text:
            msg = "has no event line; correct or remove it"
            raise self._fail_event(msg)
        first = text.split(None, 1)[0]
        try:
            claimed = int(float(first))
        except (ValueError, OverflowError) as error:
            msg = f"begins with {first[:60].decode(errors='replace')!r}, not with an event line"
            raise self._fail_event(msg + "; correct the file") from error
        given = text.count(b"\n")
        if claimed != given:
            msg = (
                f"claims {claimed} particles but has {given} particle lines; "
                "produce the file again, or correct the event"
            )
            raise self._fail_event(msg)

    def _elements(self, body: bytes, cut: int) -> tuple[bytes, bytes]:
        """Split an event body into its lines, and the weight elements as strict XML."""
        rest = body[cut:].strip()
        plain = rest.startswith(b"<rwgt>") and rest.endswith(b"</rwgt>") and b"&" not in rest
        if plain and rest.count(b"<") == 2 + 2 * rest.count(b"<wgt"):
            return body[:cut], rest
        lines, kept, position = [], [], 0
        for element in _ELEMENT.finditer(body, cut):
            lines.append(body[position : element.start()])
            position = element.end()
            if element.group(1) in (b"rwgt", b"weights"):
                kept.append(element.group())
        lines.append(body[position:])
        text, weights = b"\n".join(lines), b"".join(kept)
        if b"<" in _HASH.sub(b"", text):
            stray = text[text.index(b"<") :].splitlines()[0][:60].decode(errors="replace")
            msg = f"contains {stray!r}, which is not a whole element; correct the event"
            raise self._fail_event(msg)
        if b"<" in text:
            text = _HASH.sub(b"", text)
        return text, _STRAY_AND.sub(b"&amp;", weights) if b"&" in weights else weights

    def _check_gap(self, gap: bytes) -> None:
        """Refuse text between events that may be a damaged event, or another file."""
        if _END.search(gap) or b"<LesHouchesEvents" in gap:
            msg = (
                f"there are events after </LesHouchesEvents> (from event {self.n_events}, counted "
                "from 0): LHE files were joined; split them, since their <init> may differ"
            )
            raise self._fail(msg)
        left = _HASH.sub(b"", _GROUP.sub(b"", _ELEMENT.sub(b"", gap))).strip()
        if left:
            text = left[:60].decode(errors="replace")
            msg = f"has {text!r} before it, outside any event; correct the file"
            raise self._fail_event(msg)

    def _finish(self, tail: bytes) -> None:
        end = _END.search(tail)
        if end is None:
            if b"<event" in tail and _EVENT.search(tail):
                where = f"inside event {self.n_events} (counted from 0)"
            else:
                where = f"after {self.n_events} whole events"
            msg = (
                f"the file is truncated: it ends {where}, without </LesHouchesEvents>; "
                "copy or produce it again"
            )
            raise self._fail(msg)
        if tail[: end.start()].strip():
            self._check_gap(tail[: end.start()])
        after = tail[end.end() :]
        if b"<LesHouchesEvents" in after or b"<event" in after:
            self._check_gap(tail)
        self.finished = True
