"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from milinfer.exceptions import MissingFileError
from milinfer.typing import PathLikeStr

__all__ = ["atomic_path"]


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
        yield temporary
        os.replace(temporary, target)  # noqa: PTH105 - the same, and the intent is in the name
    finally:
        temporary.unlink(missing_ok=True)
