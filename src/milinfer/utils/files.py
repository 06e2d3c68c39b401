"""Write files and folders without ever leaving incomplete ones, and check files before reading.

If a process is killed while it writes, no incomplete file has the final name.  JSON that cannot be
parsed always raises a ``ValueError``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from milinfer.exceptions import ConfigurationError, MilinferError, MissingFileError
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import as_path, is_address, path_text

__all__ = [
    "atomic_folder",
    "atomic_path",
    "file_hash",
    "file_name",
    "named_errors",
    "parse_json",
    "portable_name",
    "require_file",
    "try_lock",
    "write_whole",
]


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Bytes of a name: file systems allow 255, and nested writers add two prefixes of 18 bytes.
_LONGEST_NAME = 210
# Errors of flock on network file systems, such as Lustre without the option flock.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def atomic_path(path: PathLikeStr) -> Iterator[Path]:
    """Yield the path of a temporary file to write; it replaces ``path`` at the end of the block.

    The temporary file is in the folder of ``path`` and has the same suffix, so that writers choose
    the same format.  If the block raises an error, the temporary file is removed, and an existing
    file ``path`` is not changed.  Temporary files that killed processes have left are removed, too;
    temporary files of running processes are not.  If ``path`` is a symbolic link, the file that it
    points to is replaced.

    Raises
    ------
    MissingFileError
        If the directory does not exist.
    ConfigurationError
        If ``path`` is a folder, a device or a pipe.

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
    target = _behind_links(path)
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "a device or a pipe"
        msg = f"cannot write {_shown(path, target)}: it is {kind}; give the path of a file"
        raise ConfigurationError(msg)
    with _temporary_beside(target, path, Path.touch) as temporary:
        try:
            yield temporary
            os.replace(temporary, target)  # noqa: PTH105 - the intent is in the name
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: PathLikeStr) -> Iterator[Path]:
    """Yield the path of a temporary folder to fill; it replaces ``path`` at the end of the block.

    If the block raises an error, the temporary folder is removed; see :func:`atomic_path`.

    Raises
    ------
    MissingFileError
        If the parent directory does not exist.
    ConfigurationError
        If ``path`` is a file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     target = pathlib.Path(parent, "model")
    ...     for word in ("older", "newer"):
    ...         with atomic_folder(target) as folder:
    ...             _ = (folder / "a.txt").write_text(word)
    ...     (target / "a.txt").read_text(), len(list(pathlib.Path(parent).iterdir()))
    ('newer', 1)
    """
    target = _behind_links(path)
    if target.exists() and not target.is_dir():
        msg = (
            f"cannot write {_shown(path, target)}: it is a file; give the path of a folder, or "
            "move the file"
        )
        raise ConfigurationError(msg)
    with _temporary_beside(target, path, Path.mkdir) as temporary:
        older = _beside(target)
        try:
            yield temporary
            # Two renames, so that the target is missing only for a very short time.
            if target.exists():
                target.rename(older)
            temporary.rename(target)
        finally:
            if older.exists() and not target.exists():
                older.rename(target)
            for left in (temporary, older):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _temporary_beside(
    target: Path, given: PathLikeStr, make: Callable[[Path], None]
) -> Iterator[Path]:
    """Make a locked temporary file or folder beside ``target``; remove those of dead processes."""
    if not target.parent.is_dir():
        msg = (
            f"cannot write {_shown(given, target)}: the directory {target.parent} does not exist; "
            "make it first"
        )
        raise MissingFileError(msg)
    temporary = _beside(target)
    with named_errors(target, temporary):
        _remove_left_over(target)
        make(temporary)
        # Writers can open the path again: the lock belongs to the file, not to the name.
        with _lock(temporary):
            yield temporary


def _behind_links(path: PathLikeStr) -> Path:
    """Return the file or folder that a symbolic link points to; other paths are not changed."""
    target = as_path(path)
    for _ in range(40):  # as many as Linux follows
        # /dev/stdout points to such a name of an open file, which must not be replaced.
        if os.path.realpath(target.parent).startswith("/proc/"):
            msg = f"cannot write {path}: it is a device or a pipe; give the path of a file"
            raise ConfigurationError(msg)
        if not target.is_symlink():
            return target
        target = target.parent / target.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _shown(path: PathLikeStr, target: Path) -> str:
    """The given path and, if it is a link, its target."""
    return f"{path}" if Path(path) == target else f"{path}, which points to {target}"


def _beside(target: Path) -> Path:
    return target.with_name(f".partial-{secrets.token_hex(4)}-{_end_of_name(target)}")


def _end_of_name(target: Path) -> str:
    """Name of a file, without its first characters if another prefix would make it too long."""
    name = target.name
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[1:]
    return name


def _remove_left_over(target: Path) -> None:
    """Remove temporary files of ``target`` without a lock, whose processes were killed."""
    entries: list[Path] = []
    end = f"-{_end_of_name(target)}"
    with suppress(PermissionError):  # a folder that may be written but not listed
        entries += target.parent.iterdir()  # not glob: a name may have characters of patterns
    for entry in entries:
        # Temporary files of nested writers begin with two such prefixes.
        if not (entry.name.startswith(".partial-") and entry.name.endswith(end)):
            continue
        # Another process may remove it first, or own it.
        with suppress(FileNotFoundError, PermissionError), _lock(entry) as is_ours:
            if is_ours and entry.is_dir():
                shutil.rmtree(entry)
            elif is_ours:
                entry.unlink()


@contextmanager
def _lock(path: Path) -> Iterator[bool | None]:
    """Lock an existing file or folder; yield None if the system or the file system cannot."""
    if os.name == "nt":  # pragma: no cover
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY)
    is_locked = None
    try:
        with suppress(OSError):  # some file systems of networks
            is_locked = try_lock(descriptor)
        yield is_locked
    finally:
        os.close(descriptor)


def try_lock(file: IO[Any] | int) -> bool | None:
    """Lock an open file, or a descriptor, until it is closed or the process ends.

    Returns
    -------
    bool or None
        True if the file is now locked by the caller, False if another process or another open file
        has locked it, and None if the file system (or Windows) has no such locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, open(file.name) as again:
    ...     try_lock(file), try_lock(again)
    (True, False)
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover  # Windows
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


@contextmanager
def named_errors(target: PathLikeStr, temporary: Path | None = None) -> Iterator[None]:
    """Add the name of ``target`` to errors that name no file, such as "no space left on device".

    If an error names ``temporary`` or a file in the folder ``temporary``, this name is replaced by
    ``target``, because users do not know the temporary file.

    Examples
    --------
    >>> with named_errors("a.root"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'a.root'
    >>> with named_errors("a.root", Path(".partial-1-a.root")):
    ...     raise OSError(errno.EACCES, "Permission denied", ".partial-1-a.root")
    Traceback (most recent call last):
    PermissionError: [Errno 13] Permission denied: 'a.root'
    """
    try:
        yield
    except OSError as error:
        names = [Path(n) for n in (error.filename, error.filename2) if isinstance(n, str | Path)]
        inside = [
            n.relative_to(temporary) for n in names if temporary and n.is_relative_to(temporary)
        ]
        is_full = error.errno in _FULL and not names
        if isinstance(error, MilinferError) or error.errno is None or not (inside or is_full):
            raise
        # OSError chooses the subclass, such as PermissionError, by the number.
        name = str(Path(target, *inside[:1]))
        raise OSError(error.errno, os.strerror(error.errno), name) from error


def write_whole(path: PathLikeStr, content: str | bytes) -> None:
    r"""Write a file from bytes, or from text as UTF-8; a failure leaves no incomplete file.

    Characters that UTF-8 cannot represent, such as ``\udcff`` from names of files that are not
    valid text, are escaped.

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
    raw = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(raw)


def file_hash(path: PathLikeStr) -> str:
    """Compute the SHA-256 of the content of a file, which is read in blocks.

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


def file_name(path: PathLikeStr) -> str:
    """Return the last part of a path or an address.

    Examples
    --------
    >>> file_name("data/a.root"), file_name("https://host/a.root?token=1")
    ('a.root', 'a.root')
    """
    return Path(urlsplit(path_text(path)).path if is_address(path) else path).name


def portable_name(text: str) -> str:
    """Replace characters that a file system may refuse by underscores.

    Examples
    --------
    >>> portable_name("c_HW/Λ²")
    'c_HW___'
    """
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", text)


def require_file(path: PathLikeStr, *, or_address: bool = False) -> None:
    """Raise an error unless a path is an existing file.

    Parameters
    ----------
    path
        Path of a file.
    or_address
        Whether network addresses are allowed.  The function does not check whether a file exists at
        an address.

    Raises
    ------
    MissingFileError
        If there is no file, if the path is a folder, or if it is an address and `or_address` is
        False.  The message names the path.

    Examples
    --------
    >>> require_file("absent.lhe")
    Traceback (most recent call last):
    milinfer.exceptions.MissingFileError: there is no file absent.lhe; correct the path
    """
    if is_address(path):
        if or_address:
            return
        msg = (
            f"{path}: only events and features (LHE, ROOT, Parquet) are read from an address; copy "
            "the file to this machine, and give its path"
        )
        raise MissingFileError(msg)
    if Path(path).is_dir():
        msg = f"{path} is a folder; give the path of a file"
        raise MissingFileError(msg)
    if not Path(path).exists():
        msg = f"there is no file {path}; correct the path"
        raise MissingFileError(msg)


def parse_json(text: str, **options: Any) -> Any:
    """Parse JSON like ``json.loads``, but lists nested too deep raise a ``ValueError``, too.

    Raises
    ------
    ValueError
        If the text is not JSON.

    Examples
    --------
    >>> parse_json("[1]")
    [1]
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: its lists or objects are nested too deep
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        msg = "its lists or objects are nested too deep"
        raise ValueError(msg) from None
