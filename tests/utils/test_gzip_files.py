"""Gzip files, with ISA-L and without."""

from __future__ import annotations

import gzip
import io

import pytest

from milinfer.utils import gzip_files

TEXT = b"".join(b"%d %.9f\n" % (k, k**0.5) for k in range(20_000))


@pytest.fixture(params=[True, False], ids=["isal", "zlib"])
def kind(request, monkeypatch):
    if request.param and not gzip_files._FAST:
        pytest.skip("isal has no wheel for this processor")
    monkeypatch.setattr(gzip_files, "_FAST", request.param)


@pytest.mark.usefixtures("kind")
def test_all_members_are_read(tmp_path):
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(TEXT, 6) + gzip.compress(TEXT, 1))
    with gzip_files.open_gzip(file) as opened:
        assert opened.read(5) == TEXT[:5]
        assert opened.read() == (TEXT + TEXT)[5:]


@pytest.mark.usefixtures("kind")
def test_a_cut_is_noticed(tmp_path):
    file = tmp_path / "a.gz"
    packed = gzip.compress(TEXT)
    for end in (len(packed) // 2, len(packed) - 9, len(packed) - 1):
        file.write_bytes(packed[:end])
        with gzip_files.open_gzip(file) as opened, pytest.raises(EOFError):
            opened.read()


@pytest.mark.usefixtures("kind")
def test_damage_is_noticed(tmp_path):
    file = tmp_path / "a.gz"
    packed = gzip.compress(TEXT)
    for place in (len(packed) // 2, len(packed) - 6):  # of the content, and of its checksum
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        with gzip_files.open_gzip(file) as opened, pytest.raises(gzip_files.DAMAGED):
            opened.read()


@pytest.mark.usefixtures("kind")
def test_what_is_packed_is_small_and_the_same_in_every_run():
    written = []
    for _ in range(2):
        file = io.BytesIO()
        with gzip_files.packed(file) as opened:
            for start in range(0, len(TEXT), 10_000):
                opened.write(TEXT[start : start + 10_000])
        written.append(file.getvalue())
    assert written[0] == written[1]
    assert gzip.decompress(written[0]) == TEXT
    assert len(written[0]) < 1.15 * len(gzip.compress(TEXT, 4))
