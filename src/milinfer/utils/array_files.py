"""Read arrays from numpy files that may be damaged or come from an unknown source.

Pickled arrays are refused.  If a file cannot be read, every function raises a ``ValueError`` that
says what is wrong, instead of one of the many kinds of errors of numpy and zip.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_array", "read_arrays"]


def read_array(path: Path) -> NDArray[Any]:
    """Read the array of an ``.npy`` file.

    Raises
    ------
    ValueError
        If the file does not have this format.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "a.npy"), [1, 2])
    ...     read_array(Path(folder, "a.npy"))
    array([1, 2])
    """
    # Opened here, because numpy does not close a file that it cannot read.
    with _value_errors(), path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        msg = "it has several arrays, not one"
        raise ValueError(msg)


def read_arrays(path: Path, *, compressed: bool = True) -> dict[str, NDArray[Any]]:
    """Read all arrays of an ``.npz`` file, as a dictionary.

    Parameters
    ----------
    path
        The file.
    compressed
        Whether compressed arrays are allowed.  A small file with compressed arrays may need much
        memory; arrays that are not compressed need at most the size of the file.

    Raises
    ------
    ValueError
        If the file does not have this format, or contains compressed arrays although `compressed`
        is False.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "a.npz"), x=[1, 2])
    ...     read_arrays(Path(folder, "a.npz"))
    {'x': array([1, 2])}
    """
    with _value_errors(), path.open("rb") as file:
        if not compressed:
            _require_stored(path)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            msg = "it has one array without a name"
            raise ValueError(msg)
        arrays = {name: loaded[name] for name in loaded.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # numpy returns bytes for other content
                msg = f"{name} in it is not an array"
                raise ValueError(msg)
        return arrays


def _require_stored(path: Path) -> None:
    """Refuse compressed or overlapping parts, which may unpack to much more than the file size."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        msg = "its arrays are compressed"
        raise ValueError(msg)
    if sum(part.file_size for part in parts) > path.stat().st_size:
        msg = "its arrays are larger than the file"
        raise ValueError(msg)


@contextmanager
def _value_errors() -> Iterator[None]:
    try:
        yield
    except ValueError:
        raise
    except MemoryError as error:  # the header of a small file may claim very many numbers
        msg = "it has an array that does not fit into the memory"
        raise ValueError(msg) from error
    except (
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(str(error) or type(error).__name__) from error
