"""Write event records to LHE files, in which every number keeps its exact value."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import IO, Any, Final, Self
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from milinfer.exceptions import LHEError
from milinfer.io.event_record.base_classes import EventWriter
from milinfer.io.event_record.info import LHEInfo, LHEWeight
from milinfer.io.event_record.record import first_not_finite, flatten_events
from milinfer.typing import AwkwardArray, FloatArray, PathLikeStr
from milinfer.utils.files import atomic_path
from milinfer.utils.gzip_files import packed

__all__ = ["LHEWriter", "write"]

_AT_ONCE: Final = 10_000
_RESERVED: Final = ("</header", "<initrwgt", "<milinfer")
_ATTRIBUTE: Final = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


class LHEWriter(EventWriter):
    """Write an LHE file in chunks; a failure leaves no incomplete file.

    Parameters
    ----------
    path
        File to write; gzip if it ends in ``.gz``.
    info
        Header and ``<init>``.  If weights of the events are missing in ``info.weights``, the file
        declares them, too.

    Attributes
    ----------
    n_events
        Number of events written so far.

    Raises
    ------
    LHEError
        If the events cannot be written as LHE: if a column is missing, if a number is not finite
        (scale and couplings may be NaN), if chunks have different weights, or if there are no
        events.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import lhe
    >>> four = {"px": [3.0], "py": [4.0], "pz": [0.0], "energy": [5.0], "mass": [0.0]}
    >>> tags = {"pdgId": [11], "status": [1], "mother1": [0], "mother2": [0]}
    >>> events = lhe.make_events([1], {**four, **tags},
    ...                          {"genWeight": [1.0], "LHE_processId": [1]})
    >>> info = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "e.lhe.gz")
    ...     with lhe.LHEWriter(file, info) as writer:
    ...         writer.write(events)
    ...         writer.write(events)
    ...     len(lhe.read(file).events)
    2
    """

    def __init__(self, path: PathLikeStr, info: LHEInfo) -> None:
        super().__init__(path, info)
        self._ids: tuple[str, ...] | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        temporary = self._stack.enter_context(atomic_path(self.path))
        try:
            raw = self._stack.enter_context(temporary.open("wb"))
            self._file = raw
            if temporary.suffix == ".gz":
                self._file = self._stack.enter_context(packed(raw))
        except BaseException as error:
            # Not close(): it does not know of the error, and would write an empty file.
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _finish(self) -> None:
        if self.n_events == 0:
            msg = f"{self.path}: there are no events to write; an LHE file needs at least one"
            raise LHEError(msg)
        self._put(b"</LesHouchesEvents>\n")

    def _put(self, data: Any) -> None:
        if self._file is None:
            msg = f"{self.path}: the writer is not open; use it in a with statement"
            raise LHEError(msg)
        self._file.write(data)

    def write(self, events: AwkwardArray) -> None:
        """Append events.

        Raises
        ------
        LHEError
            If the events cannot be written; see :class:`LHEWriter`.
        """
        if len(events) == 0:
            return
        for start in range(0, len(events), _AT_ONCE):
            counts, particles, event, weights = self._flatten(events[start : start + _AT_ONCE])
            ids = tuple(weights)
            if self._ids is None:
                self._ids = ids
                self._put(_preamble(self.info.with_weights(ids), str(self.path)).encode())
            if set(ids) != set(self._ids):
                msg = (
                    f"{self.path}: from event {self.n_events} (counted from 0) the weights are "
                    f"{list(ids)}, but they were {list(self._ids)}; give every event the same "
                    "weights"
                )
                raise LHEError(msg)
            bad = first_not_finite(counts, particles, event, weights)
            if bad is not None:
                msg = (
                    f"{self.path}: event {self.n_events + bad[0]} (counted from 0): {bad[1]}, but "
                    "an LHE file needs finite numbers; remove or correct the event"
                )
                raise LHEError(msg)
            self._put(_event_text(counts, particles, event, {i: weights[i] for i in self._ids}))
            self.n_events += len(counts)

    def _flatten(self, events: AwkwardArray) -> Any:
        try:
            return flatten_events(events)
        except LHEError as error:
            msg = f"{self.path}: {error}"
            raise LHEError(msg) from error


def write(path: PathLikeStr, events: AwkwardArray, info: LHEInfo) -> None:
    """Write events to an LHE file, in which every number keeps its exact value.

    Parameters
    ----------
    path
        File to write; gzip if it ends in ``.gz``.
    events
        Event records, from :func:`milinfer.io.lhe.read` or :func:`milinfer.io.lhe.make_events`.
    info
        Header and ``<init>``; process and point are written to the header.

    Raises
    ------
    LHEError
        If the events cannot be written as LHE.  A file that existed before is kept.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import lhe
    >>> four = {"px": [0.1], "py": [1 / 3], "pz": [0.0], "energy": [5.0], "mass": [0.0]}
    >>> tags = {"pdgId": [11], "status": [1], "mother1": [0], "mother2": [0]}
    >>> events = lhe.make_events([1], {**four, **tags},
    ...                          {"genWeight": [1.0], "LHE_processId": [1]},
    ...                          {"c_HW_1": [0.7]})
    >>> info = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),), point={"c_HW": 0.5})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "e.lhe")
    ...     lhe.write(file, events, info)
    ...     back = lhe.read(file)
    >>> float(back.events.LHEPart["py"][0, 0]) == 1 / 3, back.info.point
    (True, {'c_HW': 0.5})
    """
    with LHEWriter(path, info) as writer:
        writer.write(events)


def _event_text(
    counts: Any,
    particles: Mapping[str, Any],
    event: Mapping[str, Any],
    weights: Mapping[str, FloatArray],
) -> memoryview:
    """Write events as text; Arrow converts whole columns, in the shortest exact form."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def text(values: Any) -> Any:
        texts = pc.cast(pa.array(values), pa.large_string())
        negative = np.isnan(values) & np.signbit(values)  # Arrow would write nan
        return pc.if_else(negative, "-nan", texts) if negative.any() else texts

    def plain(value: str) -> Any:
        return pa.scalar(value, pa.large_string())

    lines = pc.binary_join_element_wise(*(text(v) for v in particles.values()), plain(" "))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    block = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets), lines), plain("\n"))
    head = pc.binary_join_element_wise(text(counts), *(text(v) for v in event.values()), plain(" "))
    pieces = [plain("<event>\n"), head, plain("\n"), block]
    between = "\n<rwgt>\n"
    for key, values in weights.items():
        pieces += [plain(f"{between}<wgt id={_attribute(key)}>"), text(values)]
        between = "</wgt>\n"
    pieces.append(plain("</wgt>\n</rwgt>\n</event>\n" if weights else "\n</event>\n"))
    event_texts = pc.binary_join_element_wise(*pieces, plain(""))
    bounds = np.frombuffer(event_texts.buffers()[1], dtype=np.int64)[event_texts.offset :]
    return memoryview(event_texts.buffers()[2])[int(bounds[0]) : int(bounds[len(event_texts)])]


def _attribute(value: str) -> str:
    return quoteattr(value, _ATTRIBUTE)


def _number(value: float) -> str:
    return repr(int(value)) if value == math.floor(value) and abs(value) < 1e15 else repr(value)


def _preamble(info: LHEInfo, name: str) -> str:
    """Text before the first event."""
    if info.beams == (0, 0):
        msg = (
            f"{name}: these events have no beams and processes of the run, which an LHE file "
            "needs; write ROOT or Parquet, or give an LHEInfo with beams and energies"
        )
        raise LHEError(msg)
    milinfer_block: dict[str, Any] = {}
    if info.process is not None:
        milinfer_block["process"] = info.process
    if info.point is not None:
        milinfer_block["point"] = {str(key): float(value) for key, value in info.point.items()}
    header = info.header
    if header and not _is_xml(header):
        milinfer_block["cdata"] = True
        header = f"<![CDATA[{header.replace(']]>', ']]]]><![CDATA[>')}]]>"
    reserved_words = [word for word in _RESERVED if word in info.header]
    if reserved_words or not _is_xml(header):
        what = (
            f"contains {reserved_words[0]!r}"
            if reserved_words
            else "has characters that XML does not allow"
        )
        msg = f"{name}: info.header {what}; remove this from the header text"
        raise LHEError(msg)
    lines = [f"<LesHouchesEvents version={_attribute(info.version)}>", "<header>"]
    if milinfer_block:
        text = json.dumps(milinfer_block).replace("&", r"\u0026").replace("<", r"\u003c")
        lines.append(f"<milinfer>{text}</milinfer>")
    if info.weights:
        lines += ["<initrwgt>", *_declarations(info.weights), "</initrwgt>"]
    lines += [f"{header}</header>", "<init>"]
    run = [*info.beams, *info.energies, *info.pdf_groups, *info.pdf_sets]
    run += [info.weighting_strategy, len(info.processes)]
    lines.append(" ".join(map(_number, run)))
    lines += [" ".join(map(_number, process)) for process in info.processes]
    return "\n".join([*lines, "</init>", ""])


def _declarations(weights: tuple[LHEWeight, ...]) -> Iterator[str]:
    for group, members in groupby(weights, key=lambda weight: weight.group):
        if group:
            yield f"<weightgroup name={_attribute(group)}>"
        for weight in members:
            description = escape(weight.description, {"\r": "&#13;"})
            yield f"<weight id={_attribute(weight.id)}>{description}</weight>"
        if group:
            yield "</weightgroup>"


def _is_xml(text: str) -> bool:
    try:
        ET.fromstring(f"<header>{text}</header>")
    except (ET.ParseError, ValueError):
        return False
    return True
