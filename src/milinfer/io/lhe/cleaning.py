r"""Check the text of events, and keep only the content that pylhe reads without loss.

The text is not always valid XML.  Elements and comments are found in a single pass.  Patterns such
as ``<(\w+)>.*?</\1>`` would search to the end of the text for every tag that is never closed, so
that a damaged or malicious file of a few megabytes would take hours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple

from milinfer.exceptions import LHEError

__all__ = [
    "CLOSE",
    "END",
    "EVENT",
    "wrong_closing",
    "Element",
    "check_gap",
    "clean_events",
    "elements",
    "without_comments",
    "without_elements",
]


# A repeat in a pattern never accepts the beginning of the pattern, nor a line end after ^.
# Otherwise repeated text would be searched to its end from every position
# (tests/whole/test_patterns.py).
EVENT: Final = re.compile(rb"<event(?=[\s>])[^<>]*>")
CLOSE: Final = re.compile(rb"</event\s*>")
END: Final = re.compile(rb"</LesHouchesEvents\s*>")
_GROUP: Final = re.compile(rb"</?eventgroup(?=[\s>])[^<>]*>")
_HASH: Final = re.compile(rb"^[^\S\n]*#.*$", re.MULTILINE)
_FORTRAN: Final = re.compile(rb"(?<=[\d.])[dD](?=[+-]?\d)")  # 1.0D+02
_HEAD: Final = re.compile(rb"(?:[+-]?\d+\s+){2}")
_IDS: Final = re.compile(rb"\s*(?:[+-]?\d+\s+){6}")  # and all but the momenta of a particle
_NUMBERS: Final = 13
_TEXT: Final = re.compile(rb">[^<>]*<")
_STRAY_AND: Final = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)")


def clean_events(
    text: bytes, name: str, first: int, *, numbers: bool = True
) -> tuple[bytes, list[tuple[int, int]]]:
    r"""Keep only the lines and weights of events, and check that no line or weight is lost.

    Left out are ``<mgrwt>``, ``<scales>`` and other elements that are not part of the event record,
    blank lines, and lines that begin with ``#``.

    Parameters
    ----------
    text
        Complete events, without XML comments.
    name
        Name of the file, for messages.
    first
        Number of the first event in the file, counted from 0.
    numbers
        Whether to refuse numbers that Python accepts but LHE does not, such as ``1_000``.

    Returns
    -------
    tuple
        The cleaned text, and for each event the number of ``<wgt>`` elements and the number of
        values in ``<weights>`` (−1 if there is no ``<weights>``).

    Raises
    ------
    LHEError
        If an event is damaged; the message names the file and the event.

    Examples
    --------
    >>> text = b"<event>\n 0 1 1.0 91.2 0.007 0.118\n<mgrwt> x </mgrwt>\n# y\n</event>\n"
    >>> clean_events(text, "a.lhe", 0)
    (b'<event>\n0 1 1.0 91.2 0.007 0.118\n</event>\n', [(0, -1)])
    """
    cleaned: list[bytes] = []
    n_weights: list[tuple[int, int]] = []
    for number, chunk in enumerate(CLOSE.split(text)[:-1], first):
        lines, weights = _clean(_body(chunk, name, number), name, number, numbers)
        n_listed = _numbers_in_weights(weights)
        n_weights.append((weights.count(b"<wgt"), n_listed))
        if n_listed == 0:  # pylhe refuses an empty list, although it only means: no weights
            weights, _ = without_elements(weights, b"weights")
        cleaned.append(b"<event>\n" + lines + b"\n" + weights + b"</event>\n")
    return b"".join(cleaned), n_weights


def _numbers_in_weights(weights: bytes) -> int:
    """Number of values in ``<weights>`` of an event, −1 if there is no ``<weights>``."""
    if b"<weights" not in weights:
        return -1
    lists = [e.inside for e in elements(weights) if e.name == b"weights"]
    return sum(len(weights[inside].split()) for inside in lists)


def _fail(name: str, number: int, what: str) -> LHEError:
    return LHEError(f"{name}: event {number} (counted from 0) {what}")


def _body(chunk: bytes, name: str, number: int) -> bytes:
    """Text between the tags of an event, given the text up to the closing tag.

    Raises
    ------
    LHEError
        If an opening or closing tag is missing, or there is other text before the event.
    """
    opening = EVENT.search(chunk)
    if opening is None:
        msg = "ends with </event> but has no <event>; correct the file"
        raise _fail(name, number, msg)
    if chunk[: opening.start()].strip():
        check_gap(chunk[: opening.start()], name, number)
    body = chunk[opening.end() :]
    if b"<event" in body and EVENT.search(body):
        msg = "is not closed before the next <event>: the event is cut; produce the file again"
        raise _fail(name, number, msg)
    return body


def _clean(body: bytes, name: str, number: int, numbers: bool) -> tuple[bytes, bytes]:
    """Lines and weight elements of the body of one event."""
    cut = body.find(b"<")
    kept = b""
    if cut >= 0:
        body, kept = _elements(body, cut, name, number)
    text = body.strip()
    if b"D" in text or b"d" in text:
        text = _FORTRAN.sub(b"e", text)
    if b"D" in kept or b"d+" in kept or b"d-" in kept:
        kept = _TEXT.sub(lambda match: _FORTRAN.sub(b"e", match.group()), kept)
    if b"#" in text or b"\r" in text or b"\n\n" in text:
        rows = [row.strip() for row in text.splitlines()]
        text = b"\n".join([row for row in rows if row and not row.startswith(b"#")])
    _check_count(text, name, number)
    if numbers:
        _check_numbers(text, kept, name, number)
    return _STRAY_AND.sub(b"&amp;", text) if b"&" in text else text, kept


def _check_count(text: bytes, name: str, number: int) -> None:
    """Refuse an event whose number of particle lines is not the NUP of its event line."""
    if not text:
        raise _fail(name, number, "has no event line; correct or remove it")
    first = text.split(None, 1)[0]
    try:
        claimed = int(float(first))
    except (ValueError, OverflowError) as error:
        msg = f"begins with {first[:60].decode(errors='replace')!r}, not with an event line"
        raise _fail(name, number, msg + "; correct the file") from error
    n_lines = text.count(b"\n")
    if claimed != n_lines:
        msg = (
            f"claims {claimed} particles but has {n_lines} particle lines; "
            "produce the file again, or correct the event"
        )
        raise _fail(name, number, msg)


def _check_numbers(text: bytes, weights: bytes, name: str, number: int) -> None:
    """Refuse numbers that Python accepts but LHE does not: 0.5 as an id, 1_000."""
    unusual = _unusual_text(weights) if b"_" in weights or not weights.isascii() else None
    if unusual is not None:
        msg = f"has the weight {unusual.strip().decode(errors='replace')!r}, which is no "
        raise _fail(name, number, msg + "valid number; correct it")
    lines = text.split(b"\n")
    usual = b"_" not in text and text.isascii()
    if usual and _HEAD.match(text) and all(map(_IDS.match, lines[1:])):
        return
    for i, line in enumerate(lines):
        for k, word in enumerate(line.split()[:_NUMBERS]):
            if not usual and (b"_" in word or not word.isascii()):
                what = "no number of LHE"
            elif k < (6 if i else 2) and _fractional(word):
                what = "no whole number"
            else:
                continue
            line_name = f"particle {i} (counted from 1)" if i else "its event line"
            text_of_word = word.decode(errors="replace")
            msg = f"has {text_of_word!r} in {line_name}, which is {what}; correct it"
            raise _fail(name, number, msg)


def _unusual_text(weights: bytes) -> bytes | None:
    """First text between two tags with a character that no number in an LHE file has."""
    for match in _TEXT.finditer(weights):
        text = match.group()[1:-1]
        if b"_" in text or not text.isascii():
            return text
    return None


def _fractional(word: bytes) -> bool:
    try:
        value = float(word)
    except ValueError:
        return False  # the parser refuses it
    return math.isfinite(value) and not value.is_integer()


def _elements(body: bytes, cut: int, name: str, number: int) -> tuple[bytes, bytes]:
    """Split an event body into its lines and its weight elements, as strict XML."""
    rest = body[cut:].strip()
    plain = rest.startswith(b"<rwgt>") and rest.endswith(b"</rwgt>") and b"&" not in rest
    if plain and rest.count(b"<") == 2 + 2 * rest.count(b"<wgt"):
        return body[:cut], rest
    lines, kept, position = [], [], 0
    for element in elements(body, cut):
        lines.append(body[position : element.start])
        position = element.end
        if element.name in (b"rwgt", b"weights"):
            kept.append(body[element.start : element.end])
    lines.append(body[position:])
    text, weights = b"\n".join(lines), b"".join(kept)
    if b"<" in _HASH.sub(b"", text):
        stray = text[text.index(b"<") :].splitlines()[0][:60].decode(errors="replace")
        msg = f"contains {stray!r}, which is not a complete element; correct the event"
        raise _fail(name, number, msg)
    if b"<" in text:
        text = _HASH.sub(b"", text)
    return text, _STRAY_AND.sub(b"&amp;", weights) if b"&" in weights else weights


def wrong_closing(text: bytes, expected: str) -> str | None:
    r"""Find a misspelt closing tag in a text that lacks the correct tag; None if nothing is found.

    Examples
    --------
    >>> wrong_closing(b"1 2 3\n</LesHouchesEvent>\n", "LesHouchesEvents")
    '</LesHouchesEvent>'
    >>> wrong_closing(b"<rwgt></rwgt> 1 2", "event") is None
    True
    """
    names = [m.group(1).decode(errors="replace") for m in _CLOSING.finditer(text)]
    lower = {name.lower(): name for name in reversed(names) if name != expected}
    near = get_close_matches(expected.lower(), lower, 1, cutoff=0.8)
    return f"</{lower[near[0]]}>" if near else None


_CLOSING: Final = re.compile(rb"</([A-Za-z_][\w.:-]*)\s*>")


def check_gap(gap: bytes, name: str, number: int) -> None:
    r"""Refuse text before event ``number`` that may be a damaged event, or another file.

    Raises
    ------
    LHEError
        If there is text other than comment lines, complete elements and event groups.

    Examples
    --------
    >>> check_gap(b"<eventgroup>\n# random numbers 1 2\n", "a.lhe", 3)
    >>> check_gap(b"  2 -1 0 0", "a.lhe", 3)
    Traceback (most recent call last):
    ...
    milinfer.exceptions.LHEError: a.lhe: event 3 (counted from 0) has '2 -1 0 0' before it, ...
    """
    if END.search(gap) or b"<LesHouchesEvents" in gap:
        msg = (
            f"{name}: there are events after </LesHouchesEvents> (from event {number}, counted "
            "from 0), so several LHE files were joined; split them, because their <init> may differ"
        )
        raise LHEError(msg)
    rest, gap_elements = without_elements(_GROUP.sub(b"", gap))
    for element in gap_elements:
        if element.startswith((b"<init>", b"<init ", b"<header>", b"<header ")):
            what = element[1 : 1 + element[1:].index(b">")].split()[0].decode()
            msg = (
                f"has a second <{what}> before it, so several LHE files were joined; split them, "
                "because their beams and cross-sections may differ"
            )
            raise _fail(name, number, msg)
    rest = _HASH.sub(b"", rest).strip()
    if rest:
        text = rest[:60].decode(errors="replace")
        msg = f"has {text!r} before it, outside any event; correct the file"
        raise _fail(name, number, msg)


_OPEN: Final = re.compile(rb"<([A-Za-z_][\w.:-]*)(?:\s[^<>]*)?/?>")
_REST_OF_CLOSING: Final = re.compile(rb"\s*>")
_MOST_UNCLOSED: Final = 100  # with different names; each costs one search to the end


class Element(NamedTuple):
    """Position of an element in a text, and of the content between its tags."""

    name: bytes
    start: int
    inside: slice
    end: int


def elements(text: bytes, start: int = 0) -> Iterator[Element]:
    """Yield the outermost elements of a text in order; tags that are never closed are skipped.

    Parameters
    ----------
    text
        Text to search.
    start
        Position of the first character to search.

    Yields
    ------
    Element
        Position of an element, which ends at the first closing tag with its name.

    Examples
    --------
    >>> text = b"<a x='1'>1 <b/></a> <c/> <d>"
    >>> [(e.name, text[e.inside], e.end) for e in elements(text)]
    [(b'a', b'1 <b/>', 19), (b'c', b'', 24)]
    """
    unclosed: set[bytes] = set()
    position = start
    while opening := _OPEN.search(text, position):
        name, begin, position = opening.group(1), opening.start(), opening.end()
        if text[position - 2] == ord("/"):
            yield Element(name, begin, slice(position, position), position)
            continue
        if name in unclosed or len(unclosed) >= _MOST_UNCLOSED:
            continue
        closing = _closing(text, name, position)
        if closing is None:
            unclosed.add(name)
            continue
        yield Element(name, begin, slice(position, closing[0]), closing[1])
        position = closing[1]


def without_elements(
    text: bytes, only: bytes | None = None, *, with_line_end: bool = False
) -> tuple[bytes, list[bytes]]:
    """Remove elements from a text; return the rest of the text and the elements.

    Parameters
    ----------
    text
        Text to search.
    only
        Name of the elements to remove; default: all.
    with_line_end
        Whether to remove the line end after an element, too.

    Examples
    --------
    >>> without_elements(b"1 <a>2</a> 3 <b>4</b>", only=b"a")
    (b'1  3 <b>4</b>', [b'<a>2</a>'])
    """
    kept: list[bytes] = []
    taken: list[bytes] = []
    position = 0
    for element in elements(text) if only is None else _elements_of_name(text, only):
        kept.append(text[position : element.start])
        taken.append(text[element.start : element.end])
        position = element.end
        if with_line_end:
            position += text.startswith(b"\r\n", position)
            position += text.startswith(b"\n", position)
    return b"".join([*kept, text[position:]]), taken


def _elements_of_name(text: bytes, name: bytes) -> Iterator[Element]:
    """Elements with one name, also inside other elements."""
    tag = re.compile(rb"<" + re.escape(name) + rb"(?:\s[^<>]*)?/?>")
    position = 0
    while opening := tag.search(text, position):
        begin, position = opening.span()
        if text[position - 2] == ord("/"):
            yield Element(name, begin, slice(position, position), position)
            continue
        closing = _closing(text, name, position)
        if closing is None:
            return
        yield Element(name, begin, slice(position, closing[0]), closing[1])
        position = closing[1]


def without_comments(text: bytes) -> tuple[bytes, bytes]:
    """Remove XML comments from a text; return the rest and an unclosed comment at its end.

    Examples
    --------
    >>> without_comments(b"1 <!-- 2 --> 3 <!-- 4")
    (b'1  3 ', b'<!-- 4')
    """
    kept: list[bytes] = []
    position = 0
    while (opened := text.find(b"<!--", position)) >= 0:
        kept.append(text[position:opened])
        closed = text.find(b"-->", opened + 4)
        if closed < 0:
            return b"".join(kept), text[opened:]
        position = closed + 3
    return b"".join([*kept, text[position:]]), b""


def _closing(text: bytes, name: bytes, position: int) -> tuple[int, int] | None:
    """Start and end of the first ``</name>``."""
    tag = b"</" + name
    while (position := text.find(tag, position)) >= 0:
        rest = _REST_OF_CLOSING.match(text, position + len(tag))
        if rest is not None:
            return position, rest.end()
        position += len(tag)
    return None
