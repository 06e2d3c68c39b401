"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from milinfer.exceptions import MissingFileError
from milinfer.typing import PathLikeStr

__all__ = ["atomic_path", "named_errors", "write_whole"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: PathLikeStr) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place if the block succeeds.

    The temporary file has the same suffix, so that writers which look at it choose the same
    format.  If the block raises, the temporary file is removed and an older ``path`` stays.

    Raises
    ------
    MissingFileError
        If the directory does not exist.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = pathlib.Path(folder, "a.txt")
    ...     with atomic_path(target) as temporary:
    ...         _ = temporary.write_text("whole")
    ...         before = target.exists()
    ...     before, target.read_text()
    (False, 'whole')
    """
    target = Path(path)
    if not target.parent.is_dir():
        msg = f"cannot write {target}: the directory {target.parent} does not exist; make it first"
        raise MissingFileError(msg)
    temporary = target.with_name(f".partial-{secrets.token_hex(4)}-{target.name}")
    try:
        with named_errors(target):
            yield temporary
            os.replace(temporary, target)  # noqa: PTH105 - the same, and the intent is in the name
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named_errors(target: PathLikeStr) -> Iterator[None]:
    """Errors of a full disk, which name no file by themselves, name ``target``.

    Examples
    --------
    >>> with named_errors("a.root"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'a.root'
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error


def write_whole(path: PathLikeStr, content: str | bytes) -> None:
    r"""Write a file whole or not at all; text as UTF-8.

    Raises
    ------
    MissingFileError, OSError
        As for :func:`atomic_path`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(pathlib.Path(folder, "a.txt"), "θ")
    ...     pathlib.Path(folder, "a.txt").read_bytes()
    b'\xce\xb8'
    """
    raw = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(raw)
