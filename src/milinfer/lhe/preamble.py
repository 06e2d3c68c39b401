"""All of an LHE file before its first event: header, ``<initrwgt>`` and ``<init>``."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from milinfer.exceptions import LHEError
from milinfer.lhe.info import LHEInfo, LHEProcess, LHEWeight

__all__ = ["Preamble", "read_preamble"]

_ROOT: Final = re.compile(rb"<LesHouchesEvents(?=[\s>])[^>]*>")
_TAG: Final = re.compile(rb"<(!--|/?[A-Za-z_][\w.:-]*)")
_FIRST_EVENT: Final = re.compile(rb"^[ \t]*<event[\s>]", re.MULTILINE)
_STRAY_AND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)")
_STRAY_LESS: Final = re.compile(r"<(?!/?(?:initrwgt|weightgroup|weight)(?=[\s/>]))")
_INITRWGT: Final = re.compile(r"<initrwgt(?=[\s>])[^>]*>.*?</initrwgt\s*>(?:\r?\n)?", re.DOTALL)
_MILINFER: Final = re.compile(r"<milinfer>(.*?)</milinfer>(?:\r?\n)?", re.DOTALL)
_CDATA: Final = re.compile(r"<!\[CDATA\[(.*)\]\]>(?:\r?\n)?", re.DOTALL)
_NOT_LHE_AFTER: Final = 1 << 20
_INIT_NUMBERS: Final = 10
_PROCESS_NUMBERS: Final = 4


@dataclass(frozen=True)
class Preamble:
    """What stands before the first event.

    Parameters
    ----------
    header
        Text inside ``<header>``, without ``<initrwgt>`` and milinfer's own block.
    init
        Lines of ``<init>`` that carry numbers.
    weights
        The weights that ``<initrwgt>`` declares.
    version
        LHE version.
    own
        Content of milinfer's own block; empty in files of others.
    """

    header: str
    init: tuple[str, ...]
    weights: tuple[LHEWeight, ...]
    version: str
    own: dict[str, Any]

    def for_pylhe(self) -> bytes:
        """Header and init as strict XML, with nothing in it that pylhe stumbles on."""
        lines = [f"<LesHouchesEvents version={quoteattr(self.version)}>", "<header>"]
        if self.weights:
            lines += ["<initrwgt>", '<weightgroup name="all">']
            lines += [f"<weight id={quoteattr(w.id)}> </weight>" for w in self.weights]
            lines += ["</weightgroup>", "</initrwgt>"]
        lines += ["</header>", "<init>", *self.init, "</init>", ""]
        return "\n".join(lines).encode()

    def info(self, init: Any) -> LHEInfo:
        """Join with the numbers of pylhe's ``LHEInit``."""
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
            process=self.own.get("process"),
            point=self.own.get("point"),
        )


class _Growing:
    """Bytes of a file that grow on demand."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self.more = more
        self.data = b""

    def grow(self) -> bool:
        block = self.more()
        self.data += block
        return bool(block)

    def search(
        self, pattern: re.Pattern[bytes], start: int, stop: re.Pattern[bytes] | None = None
    ) -> re.Match[bytes] | None:
        """First match at or after ``start``; gives up at the end, or where ``stop`` matches."""
        at = start
        while True:
            match = pattern.search(self.data, at)
            # a match that touches the end may be cut short
            if match is not None and match.end() < len(self.data):
                return match
            if stop is not None and stop.search(self.data, at):
                return match
            at = max(start, len(self.data) - 4096)
            if not self.grow():
                return pattern.search(self.data, at)


def read_preamble(more: Callable[[], bytes], name: str) -> tuple[Preamble, bytes]:
    r"""Read up to the end of ``<init>``.

    Parameters
    ----------
    more
        Gives the next block of the file, empty at the end.
    name
        Of the file, for messages.

    Returns
    -------
    tuple
        The preamble, and what has been read beyond it.

    Raises
    ------
    LHEError
        If this is not an LHE file, or its header or init block is damaged.

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
    text = _Growing(more)
    position, version = _root(text, name)
    headers: list[str] = []
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
            raise LHEError(msg)
        position = end.end()
        if opening == b"header":
            headers.append(_decode(inside))
        elif opening == b"init":
            init_text = _decode(inside)
            break
    init = _init_lines(init_text, name)
    # some generators declare the weights in <init>
    declared = _INITRWGT.findall(init_text)
    header, weights, own = _header("".join(headers), declared, name)
    return Preamble(header, init, weights, version, own), text.data[position:]


def _root(text: _Growing, name: str) -> tuple[int, str]:
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
    version = re.search(rb"version\s*=\s*[\"']([^\"']*)[\"']", match.group())
    return match.end(), _decode(version.group(1)) if version else "1.0"


def _element(text: _Growing, tag: re.Match[bytes]) -> tuple[bytes, re.Match[bytes] | None]:
    """Content of the element whose opening tag begins here, and its closing tag."""
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


def _init_lines(inside: str, name: str) -> tuple[str, ...]:
    plain = re.sub(r"<!--.*?-->", "", inside, flags=re.DOTALL)
    plain = re.sub(r"<([\w:.-]+)[^>]*?(?:/>|>.*?</\1\s*>)", "", plain, flags=re.DOTALL)
    lines = [line.strip() for line in plain.splitlines()]
    lines = [line.split("#")[0] for line in lines if line and not line.startswith("#")]
    try:
        if len(lines[0].split()) < _INIT_NUMBERS:
            raise ValueError(lines[0])
        n_processes = int(float(lines[0].split()[_INIT_NUMBERS - 1]))
    except (ValueError, IndexError, OverflowError) as error:
        msg = f"{name}: the <init> block cannot be read ({error}); produce the file again"
        raise LHEError(msg) from error
    found = next((i for i, line in enumerate(lines[1:]) if not _is_process(line)), len(lines) - 1)
    if n_processes != found:
        msg = (
            f"{name}: <init> announces {n_processes} processes but has {found} "
            "process lines; correct the number (NPRUP) or the lines"
        )
        raise LHEError(msg)
    return tuple(lines[: 1 + found])  # the accord allows other text after them


def _is_process(line: str) -> bool:
    words = line.split()
    try:
        return len([float(word) for word in words[:_PROCESS_NUMBERS]]) == _PROCESS_NUMBERS
    except ValueError:
        return False


def _header(
    inside: str, elsewhere: list[str], name: str
) -> tuple[str, tuple[LHEWeight, ...], dict[str, Any]]:
    """Split the text of the header into its own text, the weights and milinfer's block."""
    header = inside.removeprefix("\r").removeprefix("\n")
    own: dict[str, Any] = {}
    block = _MILINFER.search(header)
    if block is not None:
        try:
            own = dict(json.loads(block.group(1)))
        except (ValueError, TypeError) as error:
            msg = f"{name}: the <milinfer> block of the header is not JSON ({error}); remove it"
            raise LHEError(msg) from error
        header = header[: block.start()] + header[block.end() :]
    weights: list[LHEWeight] = []
    for declared in _INITRWGT.findall(header):
        weights += _weights(declared, name)
    known = {weight.id for weight in weights}
    for declared in elsewhere:  # often a copy of what the header has
        weights += [weight for weight in _weights(declared, name) if weight.id not in known]
    header = _INITRWGT.sub("", header)
    if own.pop("cdata", False):
        wrapped = _CDATA.fullmatch(header)
        if wrapped is not None:
            header = wrapped.group(1).replace("]]]]><![CDATA[>", "]]>")
    ids = [weight.id for weight in weights]
    twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        msg = (
            f"{name}: <initrwgt> declares the weight ids {', '.join(map(repr, twice))} more than "
            "once, so that weights cannot be told apart; rename them"
        )
        raise LHEError(msg)
    return header, tuple(weights), own


def _weights(text: str, name: str) -> list[LHEWeight]:
    clean = _STRAY_LESS.sub("&lt;", _STRAY_AND.sub("&amp;", re.sub(r"(?s)<!--.*?-->", "", text)))
    try:
        root = ET.fromstring(clean)
    except ET.ParseError as error:
        msg = f"{name}: <initrwgt> cannot be read ({error}); correct that block"
        raise LHEError(msg) from error
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
