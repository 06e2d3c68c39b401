r"""Elements and comments in text that is only nearly XML, found in one pass.

Patterns such as ``<(\w+)>.*?</\1>`` look to the end of the text for every tag that is never
closed: a damaged or hostile file of some megabytes would take hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Element", "elements", "without_comments", "without_elements"]

_OPEN: Final = re.compile(rb"<([A-Za-z_][\w.:-]*)(?:\s[^<>]*)?/?>")
_REST_OF_CLOSING: Final = re.compile(rb"\s*>")
_MOST_UNCLOSED: Final = 100  # of different names; each costs one look to the end


class Element(NamedTuple):
    """Where an element begins and ends in a text, and its content between the tags."""

    name: bytes
    start: int
    inside: slice
    end: int


def elements(text: bytes, start: int = 0) -> Iterator[Element]:
    """Outermost elements of a text, in order; tags that are never closed are passed over.

    Parameters
    ----------
    text
        Anything.
    start
        Where to begin.

    Yields
    ------
    Element
        An element ends at the first closing tag of its name.

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
    """A text without its elements, and these.

    Parameters
    ----------
    text
        Anything.
    only
        Name of the elements to take out; default: all.
    with_line_end
        Whether the end of the line behind an element goes with it.

    Examples
    --------
    >>> without_elements(b"1 <a>2</a> 3 <b>4</b>", only=b"a")
    (b'1  3 <b>4</b>', [b'<a>2</a>'])
    """
    kept: list[bytes] = []
    taken: list[bytes] = []
    position = 0
    for element in elements(text) if only is None else _named(text, only):
        kept.append(text[position : element.start])
        taken.append(text[element.start : element.end])
        position = element.end
        if with_line_end:
            position += text.startswith(b"\r\n", position)
            position += text.startswith(b"\n", position)
    return b"".join([*kept, text[position:]]), taken


def _named(text: bytes, name: bytes) -> Iterator[Element]:
    """Elements of one name, also inside others."""
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
    """A text without XML comments, and the comment at its end that is not closed.

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
    """Where the first ``</name>`` begins and ends."""
    tag = b"</" + name
    while (position := text.find(tag, position)) >= 0:
        rest = _REST_OF_CLOSING.match(text, position + len(tag))
        if rest is not None:
            return position, rest.end()
        position += len(tag)
    return None
