"""Whether the files to be read are there."""

from __future__ import annotations

from pathlib import Path

from milinfer.exceptions import MissingFileError
from milinfer.typing import PathLikeStr

__all__ = ["require_file"]


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
