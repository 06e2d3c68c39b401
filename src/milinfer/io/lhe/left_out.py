"""List the content of an LHE file outside the event record, which conversions leave out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable
from typing import Final

from milinfer.io.lhe.cleaning import CLOSE, EVENT, elements, without_comments

__all__ = ["attributes_left_out", "left_out_of_events", "left_out_of_init", "left_out_of_tag"]

_GROUP: Final = re.compile(rb"<eventgroup(?=[\s>])")
_HASH: Final = re.compile(rb"^[^\S\n]*#([A-Za-z]\w*)?.*$", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(rb"\s([A-Za-z_][\w.:-]*)\s*=\s*(?:\"[^\"]*\"|'[^']*')?")
_LONGEST: Final = 40
_WEIGHTS: Final = (b"rwgt", b"weights")


def left_out_of_events(text: bytes) -> tuple[str, ...]:
    r"""Name the content of events other than lines and weights.

    Parameters
    ----------
    text
        The first events of a file, with their comments; an incomplete event at the end is ignored.

    Examples
    --------
    >>> left_out_of_events(
    ...     b"<event npLO='1'>\n0 1 1.0 91.2 0.007 0.118\n#aMCatNLO 1 0\n<mgrwt> 2 </mgrwt>\n"
    ...     b"<rwgt><wgt id='a'>1</wgt></rwgt>\n# 12 34\n</event><!-- end -->"
    ... )
    ('comments after <init>', 'npLO of <event>', '<mgrwt>', 'lines #aMCatNLO', 'lines #')
    """
    names: dict[str, None] = {}
    plain, cut = without_comments(text)
    if cut or len(plain) < len(text):
        names["comments after <init>"] = None
    for chunk in CLOSE.split(plain)[:-1]:
        if _GROUP.search(chunk):
            names["<eventgroup>"] = None
        opening = EVENT.search(chunk)
        if opening is None:
            continue
        names |= dict.fromkeys(left_out_of_tag(opening.group(), "event"))
        for part in (chunk[: opening.start()], chunk[opening.end() :]):
            names |= dict.fromkeys(_elements_and_lines(part, _WEIGHTS))
    return tuple(names)


def left_out_of_tag(tag: bytes, name: str, kept: Collection[str] = ()) -> tuple[str, ...]:
    """Name the attributes of an opening tag that are not kept.

    Examples
    --------
    >>> left_out_of_tag(b'<LesHouchesEvents version="3.0" xmlns:x="a b=c">', "LesHouchesEvents",
    ...                 kept=["version"])
    ('xmlns:x of <LesHouchesEvents>',)
    """
    attributes = [_text(a) for a in _ATTRIBUTE.findall(tag)]
    return tuple(f"{a} of <{name}>" for a in attributes if a not in kept)


def left_out_of_init(text: bytes) -> tuple[str, ...]:
    r"""Name the content of ``<init>`` other than numbers and weights.

    Examples
    --------
    >>> left_out_of_init(b"1 2\n<generator name='x'>y</generator>\n# seed 7\n<!-- z -->")
    ('comments in <init>', '<generator>', 'lines # in <init>')
    """
    plain, cut = without_comments(text)
    names = ["comments in <init>"] if cut or len(plain) < len(text) else []
    others = _elements_and_lines(plain, (b"initrwgt",))
    return (*names, *(f"{n} in <init>" if n.startswith("lines") else n for n in others))


def attributes_left_out(root: ET.Element) -> tuple[str, ...]:
    """Name the attributes in ``<initrwgt>`` that are neither ids, descriptions nor group names.

    Examples
    --------
    >>> attributes_left_out(ET.fromstring(
    ...     "<initrwgt><weightgroup name='x' combine='hessian'><weight id='1' MUR='2'>up</weight>"
    ...     "<weight id='2' MUF='2'/></weightgroup></initrwgt>"))
    ('combine of <weightgroup>', 'MUR of <weight>')
    """
    names: dict[str, None] = {}
    for entry in root:
        if entry.tag == "weightgroup":
            taken = "name" if "name" in entry.attrib else "type"
            names |= dict.fromkeys(f"{a} of <weightgroup>" for a in entry.attrib if a != taken)
            if (entry.text or "").strip() or any((w.tail or "").strip() for w in entry):
                names["text in <weightgroup>"] = None
    for weight in root.iter("weight"):
        if (weight.text or "").strip():  # else they are the description
            names |= dict.fromkeys(f"{a} of <weight>" for a in weight.attrib if a != "id")
    return tuple(names)


def _elements_and_lines(text: bytes, kept: tuple[bytes, ...]) -> Iterable[str]:
    """Names of elements and of lines of comments, in the order of the text."""
    position, between = 0, []
    for element in elements(text):
        between.append(text[position : element.start])
        position = element.end
        if element.name not in kept:
            yield f"<{_text(element.name)}>"
    for word in _HASH.findall(b"\n".join([*between, text[position:]])):
        yield f"lines #{_text(word)}"


def _text(name: bytes) -> str:
    return name[:_LONGEST].decode(errors="replace")
