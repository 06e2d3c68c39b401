"""ROOT files opened with every check: there, whole, and of that kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milinfer.exceptions import SampleError
from milinfer.typing import PathLikeStr
from milinfer.utils.paths import require_file

__all__ = ["open_root"]


def open_root(path: PathLikeStr) -> Any:
    """Open a ROOT file to read.

    Parameters
    ----------
    path
        File of this machine, or an address that uproot knows.

    Returns
    -------
    uproot.ReadOnlyDirectory
        Not cached; to be closed.

    Raises
    ------
    MissingFileError
        If there is no such file.
    SampleError
        If it is no ROOT file, or shorter than its own header says.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.root")
    ...     _ = file.write_text("something else")
    ...     try:
    ...         open_root(file)
    ...     except SampleError as error:
    ...         print(str(error).replace(folder, "").partition(" (")[0])
    /a.root: this cannot be opened as a ROOT file
    """
    import uproot

    local = "://" not in str(path)
    if local:
        require_file(path)
    try:
        # mapped into memory it is read faster; what is read is kept nowhere twice
        options = {"handler": uproot.MemmapSource} if local else {}
        file = uproot.open(path, array_cache=None, **options)
    except Exception as error:
        msg = f"{path}: this cannot be opened as a ROOT file ({error}); copy or produce it again"
        raise SampleError(msg) from error
    # A file without its end may still have all that uproot looks for at first.
    size = Path(path).stat().st_size if local else file.file.fEND
    if size < file.file.fEND:
        file.close()
        msg = (
            f"{path}: this ROOT file is truncated: it has {size} of {file.file.fEND} bytes; copy "
            "or produce it again"
        )
        raise SampleError(msg)
    return file
