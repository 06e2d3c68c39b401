"""Read the beginning of an LHE file up to the first event: header, ``<initrwgt>`` and ``<init>``.

:class:`Limits` contains the largest allowed sizes of the parts of a file.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from milinfer.exceptions import ConfigurationError, LHEError
from milinfer.io.event_record.info import LHEInfo, LHEProcess, LHEWeight, point_from_json
from milinfer.io.lhe.cleaning import without_comments, without_elements, wrong_closing
from milinfer.io.lhe.left_out import attributes_left_out, left_out_of_init, left_out_of_tag
from milinfer.utils.files import parse_json

__all__ = ["Limits", "Preamble", "read_preamble"]


_ROOT: Final = re.compile(rb"<LesHouchesEvents(?=[\s>])[^<>]*>")
_TAG: Final = re.compile(rb"<(!--|/?[A-Za-z_][\w.:-]*)")
_FIRST_EVENT: Final = re.compile(rb"^[ \t]*<event[\s>]", re.MULTILINE)
_STRAY_AND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)")
_STRAY_LESS: Final = re.compile(r"<(?!/?(?:initrwgt|weightgroup|weight)(?=[\s/>]))")
_DTD: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
_FORTRAN: Final = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")  # 1.0D+02
_CDATA: Final = re.compile(r"<!\[CDATA\[(.*)\]\]>(?:\r?\n)?", re.DOTALL)
_NOT_LHE_AFTER: Final = 1 << 20
_LARGEST_PIECE: Final = 1 << 22
_INIT_NUMBERS: Final = 10
_PROCESS_NUMBERS: Final = 4
_PROCESS_WORDS: Final = ("cross-section", "error of the cross-section", "maximum weight", "number")


@dataclass(frozen=True)
class Preamble:
    """Content of an LHE file before its first event.

    Parameters
    ----------
    header
        Text inside ``<header>``, without ``<initrwgt>`` and without the block that milinfer writes.
    init
        Lines of ``<init>`` with numbers.
    weights
        The weights that ``<initrwgt>`` declares.
    version
        LHE version.
    milinfer_block
        Content of the block that milinfer writes; empty in files of other programs.
    left_out
        Names of content that is in none of these: elements, attributes, comments.
    """

    header: str
    init: tuple[str, ...]
    weights: tuple[LHEWeight, ...]
    version: str
    milinfer_block: dict[str, Any]
    left_out: tuple[str, ...] = ()

    def for_pylhe(self) -> bytes:
        """Write header and ``<init>`` as strict XML that pylhe can read."""
        lines = [f"<LesHouchesEvents version={quoteattr(self.version)}>", "<header>"]
        if self.weights:
            lines += ["<initrwgt>", '<weightgroup name="all">']
            lines += [f"<weight id={quoteattr(w.id)}> </weight>" for w in self.weights]
            lines += ["</weightgroup>", "</initrwgt>"]
        lines += ["</header>", "<init>", *self.init, "</init>", ""]
        return "\n".join(lines).encode()

    def info(self, init: Any) -> LHEInfo:
        """Make an :class:`LHEInfo` from this text and the numbers of pylhe's ``LHEInit``."""
        run = init.initInfo
        return LHEInfo(
            processes=tuple(
                LHEProcess(p.xSection, p.error, p.unitWeight, p.procId) for p in init.procInfo
            ),
            beams=(run.beamA, run.beamB),
            energies=(run.energyA, run.energyB),
            pdf_groups=(run.PDFgroupA, run.PDFgroupB),
            pdf_sets=(run.PDFsetA, run.PDFsetB),
            weighting_strategy=run.weightingStrategy,
            weights=self.weights,
            version=self.version,
            header=self.header,
            process=self.milinfer_block.get("process"),
            point=self.milinfer_block.get("point"),
        )


class _Growing:
    """Bytes of a file that grow on demand, up to a limit."""

    def __init__(self, more: Callable[[], bytes], name: str, limits: Limits) -> None:
        self.more = more
        self.name = name
        self.limits = limits
        self.data = b""

    def grow(self) -> bool:
        if len(self.data) > self.limits.header:
            msg = (
                f"{self.name}: there is no end of <init> within {self.limits.header} bytes of the "
                "header; the file is damaged, produce it again, or allow larger headers with "
                "limits=Limits(header=...) or convert --size-limit"
            )
            raise LHEError(msg)
        # twice as much each time, because all data are copied
        blocks = [self.more()]
        size = len(blocks[0])
        while blocks[-1] and size < min(len(self.data), _LARGEST_PIECE):
            blocks.append(self.more())
            size += len(blocks[-1])
        self.data = b"".join([self.data, *blocks])
        return size > 0

    def search(
        self, pattern: re.Pattern[bytes], start: int, stop: re.Pattern[bytes] | None = None
    ) -> re.Match[bytes] | None:
        """First match at or after ``start`` and before the end or a match of ``stop``."""
        at = start
        while True:
            match = pattern.search(self.data, at)
            # a match at the end of the data may be incomplete
            if match is not None and match.end() < len(self.data):
                return match
            if stop is not None and stop.search(self.data, at):
                return match
            at = max(start, len(self.data) - 4096)
            if not self.grow():
                return pattern.search(self.data, at)


def read_preamble(
    more: Callable[[], bytes], name: str, limits: Limits | None = None
) -> tuple[Preamble, bytes]:
    r"""Read an LHE file up to the end of ``<init>``.

    Parameters
    ----------
    more
        Function that returns the next block of the file, empty at the end.
    name
        Name of the file, for messages.
    limits
        Largest sizes of header, events and lines; the defaults of :class:`Limits` if None.

    Returns
    -------
    tuple
        The preamble, and the text after it that has already been read.

    Raises
    ------
    LHEError
        If the file is not an LHE file, or if its header or ``<init>`` is damaged.

    Examples
    --------
    >>> text = b'''<LesHouchesEvents version="3.0"><header>a & b</header>
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init>
    ... <event>'''
    >>> blocks = iter([text])
    >>> preamble, rest = read_preamble(lambda: next(blocks, b""), "a.lhe")
    >>> preamble.header, len(preamble.init), rest
    ('a & b', 2, b'\n<event>')
    """
    text = _Growing(more, name, limits or Limits())
    position, root, version = _root(text, name)
    left_out = ["comments before <init>"] if b"<!--" in text.data[:position] else []
    left_out += left_out_of_tag(root, "LesHouchesEvents", kept=["version"])
    headers: list[bytes] = []
    while True:
        tag = text.search(_TAG, position)
        if tag is None:
            msg = f"{name}: the file ends before <init>; it is truncated, copy or produce it again"
            raise LHEError(msg)
        opening = tag.group(1)
        if opening in (b"event", b"/LesHouchesEvents"):
            msg = f"{name}: there is no <init> block before the events; an LHE file needs one"
            raise LHEError(msg)
        if opening == b"!--":
            end = text.search(re.compile(rb"-->"), tag.end())
            inside = b""
        else:
            inside, end = _element(text, tag)
        if end is None:
            msg = (
                f"{name}: <{opening.decode()}> is never closed; "
                "the file is truncated or damaged, copy or produce it again"
            )
            wrong = wrong_closing(text.data[tag.end() :], opening.decode(errors="replace"))
            if wrong is not None:
                msg = f"{name}: <{opening.decode()}> is closed by {wrong}; correct the tag"
            raise LHEError(msg)
        position = end.end()
        if opening in (b"header", b"init"):
            tag_text = text.data[tag.start() : text.data.index(b">", tag.end())]
            left_out += left_out_of_tag(tag_text, opening.decode())
        if opening == b"header":
            headers.append(inside)
        elif opening == b"init":
            init_text = inside
            break
        else:
            comment = opening == b"!--"
            left_out.append("comments before <init>" if comment else f"<{_decode(opening)}>")
    text.limits.require_lines(text.data[:position], name, "the header")
    init = _init_lines(init_text, name)
    # some generators declare the weights in <init>
    _, declared = without_elements(init_text, b"initrwgt")
    header, weights, block_content, attributes = _header(b"".join(headers), declared, name)
    preamble = Preamble(
        header=header,
        init=init,
        weights=weights,
        version=version,
        milinfer_block=block_content,
        left_out=tuple(dict.fromkeys([*left_out, *attributes, *left_out_of_init(init_text)])),
    )
    return preamble, text.data[position:]


def _root(text: _Growing, name: str) -> tuple[int, bytes, str]:
    """Position after the root tag, the tag, and the LHE version that it states."""
    while True:
        match = _ROOT.search(text.data)
        if match is not None:
            break
        if len(text.data) > _NOT_LHE_AFTER or not text.grow():
            if not text.data.strip():
                msg = f"{name}: the file is empty; produce it again"
            else:
                msg = f"{name}: this is not an LHE file, there is no <LesHouchesEvents> in it"
            raise LHEError(msg)
    before = text.data[: match.start()].removeprefix(b"\xef\xbb\xbf").strip()
    if before and not before.startswith(b"<"):
        msg = f"{name}: this is not an LHE file, it does not begin with <LesHouchesEvents>"
        raise LHEError(msg)
    if _DTD.search(without_comments(before)[0]):
        msg = (
            f"{name}: there is a document type definition before <LesHouchesEvents>, which is not "
            "supported; remove it"
        )
        raise LHEError(msg)
    version = re.search(rb"version\s*=\s*[\"']([^\"']*)[\"']", match.group())
    stated = _decode(version.group(1)) if version else "1.0"
    return match.end(), match.group(), stated


def _element(text: _Growing, tag: re.Match[bytes]) -> tuple[bytes, re.Match[bytes] | None]:
    """Content of the element with this opening tag, and its closing tag."""
    opened = text.search(re.compile(rb">"), tag.end())
    if opened is None or tag.group(1).startswith(b"/"):
        return b"", opened
    if text.data[opened.start() - 1 : opened.start()] == b"/":
        return b"", opened
    closing = re.compile(rb"</" + re.escape(tag.group(1)) + rb"\s*>")
    end = text.search(closing, opened.end(), stop=_FIRST_EVENT)
    return (text.data[opened.end() : end.start()] if end else b""), end


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _init_lines(inside: bytes, name: str) -> tuple[str, ...]:
    """Run line and process lines of ``<init>``; other text after them is allowed."""
    text, _ = without_elements(without_comments(inside)[0])
    lines = [_FORTRAN.sub("e", line.strip()) for line in _decode(text).splitlines()]
    lines = [line.split("#")[0] for line in lines if line and not line.startswith("#")]
    n_announced = _number_of_processes(lines, name)
    n_processes = sum(1 for _ in takewhile(_is_process, lines[1:]))
    if n_announced != n_processes:
        msg = (
            f"{name}: <init> announces {n_announced} processes but has {n_processes} "
            "process lines; correct the number (NPRUP) or the lines"
        )
        raise LHEError(msg)
    for number, line in enumerate(lines[1 : 1 + n_processes]):
        _check_process(line, f"{name}: <init>", number)
    return tuple(lines[: 1 + n_processes])


def _number_of_processes(lines: Sequence[str], name: str) -> int:
    """Check the numbers of the run line, and return the last."""
    if not lines:
        msg = f"{name}: the <init> block is empty; produce the file again"
        raise LHEError(msg)
    words = lines[0].split()[:_INIT_NUMBERS]
    try:
        if len(words) < _INIT_NUMBERS:
            msg = f"its first line has {len(words)} numbers, not {_INIT_NUMBERS}"
            raise ValueError(msg)
        # pylhe would round: only the energies, the third and fourth, need not be whole numbers.
        for k, word in enumerate(words):
            if k in (2, 3):
                int(float(word))  # finite
            else:
                _whole(word)
        return _whole(words[-1])
    except (ValueError, OverflowError) as error:
        msg = f"{name}: the <init> block cannot be read ({error}); produce the file again"
        raise LHEError(msg) from error


def _check_process(line: str, source: str, number: int) -> None:
    """Refuse a process line with a number that is not finite, or an id that is not whole."""
    for word, what in zip(line.split(), _PROCESS_WORDS, strict=False):
        if not math.isfinite(float(word)):
            msg = (
                f"{source}: the {what} of process {number} (counted from 0) is {word}; "
                "correct the line, or produce the file again"
            )
            raise LHEError(msg)
    identity = line.split()[3]
    if not float(identity).is_integer():
        msg = (
            f"{source}: process {number} (counted from 0) has the id {identity}, "
            "which is not a whole number; correct the line"
        )
        raise LHEError(msg)


def _whole(word: str) -> int:
    if not float(word).is_integer():
        msg = f"{word} in its first line is not a whole number"
        raise ValueError(msg)
    return int(float(word))


def _is_process(line: str) -> bool:
    words = line.split()
    try:
        return len([float(word) for word in words[:_PROCESS_NUMBERS]]) == _PROCESS_NUMBERS
    except ValueError:
        return False


def _header(
    inside: bytes, elsewhere: list[bytes], name: str
) -> tuple[str, tuple[LHEWeight, ...], dict[str, Any], list[str]]:
    """Split a header into its own text, the weights and the block of milinfer.

    The last result lists content that is left out of the declarations of weights.
    """
    text = inside.removeprefix(b"\r").removeprefix(b"\n")
    text, blocks = without_elements(text, b"milinfer", with_line_end=True)
    block_content = _milinfer_block(blocks[0], name) if blocks else {}
    text, declarations = without_elements(text, b"initrwgt", with_line_end=True)
    weights: list[LHEWeight] = []
    left_out: list[str] = []
    for declared in declarations:
        weights += _weights(declared, name, left_out)
    header_ids = {weight.id for weight in weights}
    for declared in elsewhere:  # often a copy of the weights in the header
        weights += [w for w in _weights(declared, name, left_out) if w.id not in header_ids]
    header = _decode(text)
    if block_content.pop("cdata", False):
        wrapped = _CDATA.fullmatch(header)
        if wrapped is not None:
            header = wrapped.group(1).replace("]]]]><![CDATA[>", "]]>")
    ids = [weight.id for weight in weights]
    twice = sorted(i for i, n in Counter(ids).items() if n > 1)
    if twice:
        msg = (
            f"{name}: <initrwgt> declares the weight ids {', '.join(map(repr, twice))} more than "
            "once; rename them"
        )
        raise LHEError(msg)
    return header, tuple(weights), block_content, left_out


def _milinfer_block(block: bytes, name: str) -> dict[str, Any]:
    """Content of milinfer's block: ``process`` (text), ``point`` (numbers by name)."""
    try:
        content = parse_json(_decode(block).removeprefix("<milinfer>").removesuffix("</milinfer>"))
        process, point = content.get("process"), content.get("point")
        if point is not None:
            content["point"] = point_from_json(point)
        if not (process is None or isinstance(process, str)):
            msg = f"the process {process!r} is not a text"
            raise TypeError(msg)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{name}: the <milinfer> block of the header cannot be read ({error}); remove it"
        raise LHEError(msg) from error
    return dict(content)


def _weights(element: bytes, name: str, left_out: list[str]) -> list[LHEWeight]:
    """Weights that an ``<initrwgt>`` declares; the names of other content go to `left_out`."""
    plain, _ = without_comments(element)
    if len(plain) < len(element):
        left_out.append("comments in <initrwgt>")
    text = _decode(plain)
    clean = _STRAY_LESS.sub("&lt;", _STRAY_AND.sub("&amp;", text))
    try:
        root = ET.fromstring(clean)
    except ET.ParseError as error:
        msg = f"{name}: <initrwgt> cannot be read ({error}); correct that block"
        raise LHEError(msg) from error
    left_out += attributes_left_out(root)
    weights: list[LHEWeight] = []
    for entry in root:
        group = entry.get("name", entry.get("type", "")) if entry.tag == "weightgroup" else ""
        for weight in entry.iter("weight"):
            attributes = dict(weight.attrib)
            identity = attributes.pop("id", None)
            if identity is None:
                msg = f"{name}: a <weight> in <initrwgt> has no id; give it one"
                raise LHEError(msg)
            description = (weight.text or "").strip() or " ".join(
                f"{key}={value}" for key, value in attributes.items()
            )
            weights.append(LHEWeight(identity, description, group))
    return weights


@dataclass(frozen=True)
class Limits:
    """Largest sizes of the parts of an LHE file, in bytes, after decompression.

    Larger parts are an error.  The limits protect the memory against damaged or malicious files,
    such as a gzip file of a few kilobytes that unpacks to many gigabytes.  Files of generators are
    far below these limits.

    Parameters
    ----------
    header
        Largest size of the text before the first event.
    event
        Largest size of an event.
    line
        Largest size of a line.

    Raises
    ------
    ConfigurationError
        If a limit is less than 1.

    Examples
    --------
    >>> Limits(header=1 << 30).header
    1073741824
    >>> Limits(line=0)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: the limit 'line' is 0; give a number of bytes, ...
    """

    header: int = 1 << 26
    event: int = 1 << 24
    line: int = 1 << 20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                msg = f"the limit {field.name!r} is {value}; give a number of bytes, at least 1"
                raise ConfigurationError(msg)

    def require_lines(self, text: bytes, name: str, part: str) -> None:
        r"""Raise if a line of a text is too long.

        Raises
        ------
        LHEError
            If a line is too long.  The message names the file and the line.

        Examples
        --------
        >>> Limits(line=3).require_lines(b"ab\ncdef\n", "a.lhe", "the header")
        Traceback (most recent call last):
        milinfer.exceptions.LHEError: a.lhe: line 2 of the header has more than 3 bytes; ...
        """
        if len(text) <= self.line:
            return
        start, number = 0, 1
        while len(text) - start > self.line:
            end = text.rfind(b"\n", start, start + self.line + 1)
            if end < 0:
                msg = (
                    f"{name}: line {number} of {part} has more than {self.line} bytes; the file "
                    "is damaged, produce it again, or allow longer lines with "
                    "limits=Limits(line=...) or convert --size-limit"
                )
                raise LHEError(msg)
            number += text.count(b"\n", start, end + 1)
            start = end + 1
