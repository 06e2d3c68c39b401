"""Open files at addresses, such as ``s3://bucket/events.parquet``, with fsspec."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from milinfer.exceptions import ConfigurationError, MilinferError, SampleError
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import is_address, path_text
from milinfer.utils.files import require_file

__all__ = ["open_bytes", "unreachable"]

_PACKAGES: Final = {
    "root": "fsspec-xrootd (pip install fsspec-xrootd, with xrootd of pip or conda-forge)",
    "http": "aiohttp (pip install aiohttp requests)",
    "https": "aiohttp (pip install aiohttp requests)",
    "s3": "s3fs (pip install s3fs)",
    "gs": "gcsfs (pip install gcsfs)",
    "gcs": "gcsfs (pip install gcsfs)",
    "abfs": "adlfs (pip install adlfs)",
    "az": "adlfs (pip install adlfs)",
}
# fsspec fetches larger pieces; this saves calls for short lines.
_BUFFER: Final = 1 << 16


def open_bytes(path: PathLikeStr) -> io.BufferedReader:
    """Open a local file, or a file at a network address, to read its bytes.

    Parameters
    ----------
    path
        Local file, or an address that fsspec supports (``s3://``, ``https://``, ``root://``, …).

    Returns
    -------
    io.BufferedReader
        The open file, which the caller must close.  A file at an address is not fetched as a whole:
        each part of it is fetched when it is read.

    Raises
    ------
    MissingFileError
        If there is no such local file.
    ConfigurationError
        If a package that is needed for this kind of address is missing.  The message names the
        package.
    SampleError
        If an address cannot be reached, either in this call or later, when the file is read.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/greeting.txt", b"hello")
    >>> with open_bytes("memory://greeting.txt") as file:
    ...     file.read()
    b'hello'
    """
    if not is_address(path):
        require_file(path)
        return Path(path).open("rb")
    import fsspec

    address = path_text(path)
    with _named(address):
        file = fsspec.open(address, "rb").open()
    return io.BufferedReader(_Remote(address, file), _BUFFER)


class _Remote(io.RawIOBase):
    """An open file of fsspec, whose errors name its address."""

    def __init__(self, address: str, file: Any) -> None:
        self._address = address
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def readinto(self, buffer: Any) -> int:
        with _named(self._address):
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _named(self._address):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _named(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each package has its own
        raise unreachable(address, error) from error


def unreachable(path: PathLikeStr, error: Exception) -> MilinferError:
    """Make the error for an address that cannot be read, because a package or the file is missing.

    Examples
    --------
    >>> unreachable("s3://bucket/a.root", ImportError("no s3fs"))
    ConfigurationError('s3://bucket/a.root: reading it needs s3fs (pip install s3fs): no s3fs. Or
    copy the file here')
    """
    if isinstance(error, ImportError):
        # In a chain, such as simplecache::s3://, the last one is that of the file.
        protocol = path_text(path).partition("://")[0].rpartition("::")[2]
        package = _PACKAGES.get(protocol, f"a package for {protocol}://")
        msg = f"{path}: reading it needs {package}: {error}. Or copy the file here"
        return ConfigurationError(msg)
    text = textwrap.shorten(str(error) or type(error).__name__, 300)
    msg = f"{path}: this cannot be read ({text}); correct the address, or copy the file here"
    return SampleError(msg)
