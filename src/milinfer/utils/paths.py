"""Whether the files to be read are there, and what is in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from milinfer.exceptions import MissingFileError
from milinfer.typing import PathLikeStr

__all__ = ["file_hash", "require_file"]


def file_hash(path: PathLikeStr) -> str:
    """SHA-256 of the content of a file, read in blocks.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a")
    ...     _ = file.write_bytes(b"")
    ...     file_hash(file)[:8]
    'e3b0c442'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_file(path: PathLikeStr) -> None:
    """Refuse a path that is no file of this machine.

    Raises
    ------
    MissingFileError
        If there is nothing, or a folder; names the path.

    Examples
    --------
    >>> require_file("absent.lhe")
    Traceback (most recent call last):
    milinfer.exceptions.MissingFileError: there is no file absent.lhe; correct the path
    """
    if Path(path).is_dir():
        msg = f"{path} is a folder; give the path of a file"
        raise MissingFileError(msg)
    if not Path(path).exists():
        msg = f"there is no file {path}; correct the path"
        raise MissingFileError(msg)
