"""Reading of gzip files, by ISA-L where it installs: three times as fast as zlib."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from typing import IO, Final

from milinfer.typing import PathLikeStr

__all__ = ["DAMAGED", "open_gzip"]

# The dependency has a marker for its processors; on others zlib reads the same bytes.
_FAST: Final = importlib.util.find_spec("isal") is not None


def _damaged() -> tuple[type[Exception], ...]:
    if not _FAST:
        return (zlib.error, gzip.BadGzipFile)
    from isal import isal_zlib

    return (zlib.error, gzip.BadGzipFile, isal_zlib.error)


DAMAGED: Final = _damaged()
"""What reading a gzip file raises where its content is wrong; where it is cut: EOFError."""


def open_gzip(path: PathLikeStr) -> IO[bytes]:
    """Open a gzip file to read its bytes.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.gz")
    ...     _ = file.write_bytes(gzip.compress(b"text"))
    ...     with open_gzip(file) as opened:
    ...         opened.read()
    b'text'
    """
    if not _FAST:
        return gzip.open(path, "rb")
    from isal import igzip

    opened: IO[bytes] = igzip.open(path, "rb")
    return opened
