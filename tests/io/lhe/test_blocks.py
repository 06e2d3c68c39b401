"""Blocks end where events end, whatever their size, and hold every event once."""

from __future__ import annotations

import gzip

import pytest

from milinfer.exceptions import LHEError
from milinfer.io.lhe import Limits, blocks
from milinfer.io.lhe.blocks import BlockReader


def taken(file, size: int) -> list[bytes]:
    with BlockReader(file) as reader:
        parts = [reader.first_event(), *reader.blocks(size)]
        reader.finish(0)
    return parts


@pytest.fixture
def small_pieces(monkeypatch):
    """Everything that can be cut is cut."""

    def set_size(size: int) -> None:
        monkeypatch.setattr(blocks, "_PIECE", size)

    return set_size


@pytest.mark.parametrize("size", [1, 5, 100, 10_000])
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_every_event_once(maker, small_pieces, size, piece):
    small_pieces(piece)
    events = [maker.event(weight=f"{i}.5") for i in range(7)]
    events[2] = events[2].replace("</event>", "</event \n>")
    text = maker.document(*events).encode()
    for data, name in ((text, "a.lhe"), (gzip.compress(text), "a.lhe.gz")):
        parts = taken(maker.file(data, name), size)
        assert b"".join(parts).strip() == "".join(events).strip().encode()
        assert all(part.rstrip().endswith(b">") and b"</event" in part for part in parts)
        assert parts[0].count(b"</event>") == 1


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 64])
def test_comments_are_left_out_wherever_they_are_cut(maker, small_pieces, piece):
    small_pieces(piece)
    a, b, c = (maker.event(weight=f"{i}.5") for i in range(3))
    inside = b.replace("</event>", "<!-- </event> <event> -- > --></event>")
    text = maker.document("<!-- <event></event> -->", a, "<!---->", inside, "<!-- ! -->", c)
    parts = taken(maker.file(text), 100)
    assert b"".join(parts).strip() == "".join([a, b, c]).strip().encode()


def test_blocks_are_as_large_as_asked_for(maker):
    events = [maker.event()] * 200
    parts = taken(maker.file(maker.document(*events)), 1 << 17)
    sizes = [len(part) for part in parts[1:-1]]
    assert all(size < (1 << 17) + len(events[0]) for size in sizes)


def test_a_gzip_file_is_read_up_to_where_it_is_cut(maker, small_pieces):
    small_pieces(64)
    events = [maker.event(weight=f"{i * 0.37}") for i in range(50)]
    data = gzip.compress(maker.document(*events).encode())
    file = maker.file(data[: len(data) * 3 // 4], "cut.lhe.gz")
    with BlockReader(file) as reader:
        n = sum(text.count(b"</event>") for text in [reader.first_event(), *reader.blocks(200)])
        assert n > 5
        with pytest.raises(LHEError, match=rf"truncated \(at least {n} whole events"):
            reader.finish(n)


def test_an_event_without_end(maker, monkeypatch):
    monkeypatch.setattr(blocks, "_PIECE", 100)
    text = maker.document(maker.event(), "<event>\n", "1 2 3\n" * 1000)
    with BlockReader(maker.file(text), Limits(event=1000)) as reader:
        assert len([reader.first_event(), *reader.blocks(100)]) == 1
        with pytest.raises(LHEError, match=r"event 1 .* never closed"):
            reader.finish(1)
