"""Parse blocks of simple LHE events into columns, without a loop over events.

Nearly all LHE files have a simple form: an event line, particle lines with 13 numbers, and the same
``<wgt>`` elements in every event.  A block of such events is a sequence of numbers between repeated
tags.  Arrow converts all numbers to doubles at once, with the same rounding as Python's ``float``.
pylhe parses all other blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milinfer.io.event_record.record import (
    EVENT_FIELDS,
    MAY_BE_NAN,
    PARTICLE_FIELDS,
    EventColumns,
)
from milinfer.typing import FloatArray, IntArray

__all__ = ["parse_columns", "repeated_tags"]

_TAG: Final = re.compile(rb"<[^<>]*>")
_TAGS: Final = re.compile(rb"<[^<>]*>(?:[ \t\n]*<[^<>]*>)*")
_HEAD: Final = 1 + len(EVENT_FIELDS)
_ROW: Final = len(PARTICLE_FIELDS)
_INT32: Final = 2.0**31


def repeated_tags(event: bytes, n_weights: int) -> tuple[bytes, ...] | None:
    r"""List the tags of a cleaned event, which every event of a simple block must repeat.

    Parameters
    ----------
    event
        Text of one event.
    n_weights
        Number of distinct weights of the event.

    Returns
    -------
    tuple of bytes or None
        The tags in order; None if the event does not have the simple form.  If None, pylhe parses
        all blocks of the file.

    Examples
    --------
    >>> repeated_tags(b"<event>\n0 1 1 1 1 1\n<rwgt><wgt id='a'>1</wgt></rwgt></event>", 1)
    (b'<event>', b'<rwgt>', b"<wgt id='a'>", b'</wgt>', b'</rwgt>', b'</event>')
    """
    tags = tuple(_TAG.findall(event))
    weights = tags[2:-2] if n_weights else tags[1:-1]
    frame = (b"<event>", b"<rwgt>", b"</rwgt>", b"</event>") if n_weights else tags[:1] + tags[-1:]
    if (
        not tags
        or tags[0] != b"<event>"
        or tags[-1] != b"</event>"
        or len(weights) != 2 * n_weights
    ):
        return None
    if n_weights and (*tags[:2], *tags[-2:]) != frame:
        return None
    if any(not tag.startswith(b"<wgt") or tag.endswith(b"/>") for tag in weights[::2]):
        return None
    return tags if all(tag == b"</wgt>" for tag in weights[1::2]) else None


def parse_columns(
    text: bytes, tags: tuple[bytes, ...], ids: Sequence[str] = ()
) -> EventColumns | None:
    r"""Parse a block of events into columns; None if its form is not simple.

    Parameters
    ----------
    text
        Complete events.
    tags
        Result of :func:`repeated_tags`.
    ids
        Names of the weights.

    Returns
    -------
    EventColumns or None
        The numbers, exactly as pylhe reads them; None if anything is unusual or wrong.

    Examples
    --------
    >>> event = b"<event>\n1 7 0.5 91.2 0.007 0.118\n23 1 0 0 0 0 3. 4. 0. 5. 0. 0. 9.\n</event>\n"
    >>> columns = parse_columns(2 * event, (b"<event>", b"</event>"))
    >>> columns.counts, columns.particles["py"], columns.event["LHE_processId"]
    (array([1, 1]), array([4., 4.]), array([7, 7], dtype=int32))
    >>> parse_columns(event.replace(b"9.", b"nine"), (b"<event>", b"</event>")) is None
    True
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    characters = np.frombuffer(text, dtype=np.uint8)
    newline = characters == ord("\n")
    blank = characters == ord(" ")
    blank |= newline
    tag_starts, inside = _blank_tags(text, characters, blank, tags)
    if tag_starts is None or not (blank[0] and blank[-1]):
        return None
    edges = np.flatnonzero(blank[1:] != blank[:-1])
    if not len(edges):
        return None
    edges += 1
    starts, ends = edges[::2], edges[1::2]
    numbers = _numbers(text, edges)
    if numbers is None:
        return None
    n_weights = len(ids)
    first = np.searchsorted(starts, tag_starts[:, 0])
    length = np.diff(first, append=len(starts))
    counts, remainder = np.divmod(length - _HEAD - n_weights, _ROW)
    if not _nan_in_places(text, numbers, edges, first):
        return None
    if first[0] or remainder.any() or counts.min() < 0 or (numbers[first] != counts).any():
        return None
    last = first + length - n_weights - 1  # the last number before the weights
    rows = np.repeat(first + _HEAD - _ROW * _exclusive_sum(counts), counts)
    rows += _ROW * np.arange(len(rows))
    if (ends[last] > tag_starts[:, 1]).any() or not _in_lines(
        newline, edges, tag_starts, inside, first, last, rows, counts
    ):
        return None
    weights = last[:, None] + np.arange(1, n_weights + 1)
    if (
        n_weights
        and not (
            (starts[weights] > tag_starts[:, 2:-2:2]) & (ends[weights] <= tag_starts[:, 3:-2:2])
        ).all()
    ):
        return None
    particles = _record_columns(numbers, rows, PARTICLE_FIELDS)
    event = _record_columns(numbers, first + 1, EVENT_FIELDS)
    if particles is None or event is None:
        return None
    reweights = {key: numbers[column] for key, column in zip(ids, weights.T, strict=True)}
    return EventColumns(counts, particles, event, reweights)


def _blank_tags(
    text: bytes, characters: NDArray[np.uint8], blank: NDArray[np.bool_], tags: tuple[bytes, ...]
) -> tuple[IntArray | None, int]:
    """Find each tag of each event, shape (n_events, n_tags), and replace the tags by blanks.

    The function also returns the number of line ends between adjacent tags.
    """
    runs = _TAGS.findall(text, 0, text.find(b"</event>") + len(b"</event>"))
    places = np.flatnonzero(characters == ord("<"))
    n, remainder = divmod(len(places), len(tags))
    if tuple(_TAG.findall(b"".join(runs))) != tags or remainder or not n:
        return None, 0
    tag_starts = places.reshape(n, len(tags))
    i = 0
    for run in runs:  # of tags with nothing between them
        # views in which row k begins at character k
        shape = (len(text) - len(run) + 1, len(run))
        if tag_starts[-1, i] >= shape[0]:
            return None, 0
        windows = np.ndarray(shape, np.uint8, text, strides=(1, 1))
        if (windows[tag_starts[:, i]] != np.frombuffer(run, dtype=np.uint8)).any():
            return None, 0
        np.ndarray(shape, np.bool_, blank, strides=(1, 1))[tag_starts[:, i]] = True
        i += run.count(b"<")
    return tag_starts, n * b"".join(runs).count(b"\n")


def _numbers(text: bytes, edges: IntArray) -> FloatArray | None:
    """Convert the texts between edges to numbers; None if a text is infinite or no number."""
    import pyarrow as pa

    # an array of strings of which every other one, a gap, is missing: no copy of the text
    n = len(edges) - 1
    present = np.full((n + 7) // 8, 0b01010101, dtype=np.uint8)
    buffers = [pa.py_buffer(present), pa.py_buffer(edges), pa.py_buffer(text)]
    try:
        values = pa.Array.from_buffers(pa.large_string(), n, buffers).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    numbers = np.frombuffer(values.buffers()[1], dtype=np.float64)[:n:2]
    return None if np.isinf(numbers).any() else numbers


def _nan_in_places(text: bytes, numbers: FloatArray, edges: IntArray, first: IntArray) -> bool:
    """Whether NaN occurs only in scale and couplings, and in the form that pylhe reads."""
    unusual = np.flatnonzero(np.isnan(numbers))
    if not len(unusual):
        return True
    places = np.add.outer(first, [1 + list(EVENT_FIELDS).index(name) for name in MAY_BE_NAN])
    words = {text[edges[2 * k] : edges[2 * k + 1]].lower() for k in unusual}
    return bool(np.isin(unusual, places).all()) and words <= {b"nan", b"-nan"}


def _exclusive_sum(counts: IntArray) -> IntArray:
    total: IntArray = np.cumsum(counts) - counts
    return total


def _in_lines(
    newline: NDArray[np.bool_],
    edges: IntArray,
    tag_starts: IntArray,
    inside: int,
    first: IntArray,
    last: IntArray,
    rows: IntArray,
    counts: IntArray,
) -> bool:
    """Whether one line ends before each particle, and none elsewhere inside an event."""
    starts, ends = edges[::2], edges[1::2]
    # Nearly always a line ends directly after its last number.  It is then enough to count the
    # other line ends: those of weights, and those beside <event> and </event>.
    before, beyond = tag_starts[:, 0] + len(b"<event>"), tag_starts[:, -1] + len(b"</event>")
    after = np.count_nonzero(newline[np.concatenate([ends[last], before, beyond[:-1]])])
    for part in (newline[: tag_starts[0, 0]], newline[beyond[-1] :]):
        after += np.count_nonzero(part)
    if newline[ends[rows - 1]].all() and np.count_nonzero(newline) == len(rows) + after + inside:
        return True
    lines = np.append(np.flatnonzero(newline), np.iinfo(np.int64).max)
    at = np.searchsorted(lines, starts[first])
    if (at + counts >= len(lines)).any() or (lines[at + counts] < ends[last]).any():
        return False
    breaks = lines[np.repeat(at - _exclusive_sum(counts), counts) + np.arange(len(rows))]
    return bool(((breaks >= ends[rows - 1]) & (breaks < starts[rows])).all())


def _record_columns(
    numbers: FloatArray, rows: IntArray, fields: dict[str, type[np.generic]]
) -> dict[str, NDArray[Any]] | None:
    """Columns of the event record, from the numbers of each event."""
    columns: dict[str, NDArray[Any]] = {}
    rows = rows.copy()
    for name, dtype in fields.items():
        column = numbers[rows]
        rows += 1
        is_integer = np.issubdtype(dtype, np.integer)
        if is_integer and column.size and max(column.max(), -column.min()) >= _INT32:
            return None
        converted = column.astype(dtype, copy=False)
        if is_integer and (converted != column).any():
            return None
        columns[name] = converted
    return columns
