"""Check the types of arguments.  The error messages say which values are allowed."""

from __future__ import annotations

import math
import os
import reprlib
from numbers import Integral
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from milinfer.exceptions import ConfigurationError
from milinfer.typing import PathLikeStr

__all__ = [
    "as_path",
    "is_address",
    "local_path",
    "path_text",
    "positive_number",
    "require_seed",
    "require_whole_number",
    "short_repr",
]


def short_repr(value: object) -> str:
    """Write a value like ``repr``, but shortened if it is long.

    Examples
    --------
    >>> short_repr(None), short_repr(10**5000)
    ('None', 'a number of too many digits')
    """
    if isinstance(value, int) and abs(value) > 10**30:  # Python makes no text of one of 5000 digits
        return "a number of too many digits"
    return reprlib.repr(value)


def path_text(path: object) -> str:
    """Return the path or address of a file or folder as text.

    Raises
    ------
    ConfigurationError
        If `path` is neither text nor a ``pathlib.Path``, or contains a NUL character.

    Examples
    --------
    >>> path_text("root://host//a.root")
    'root://host//a.root'
    >>> path_text(None)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: None is not a path; give the path of a file or folder as
    a text or a pathlib.Path
    """
    text: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or "\0" in text:
        msg = (
            f"{short_repr(path)} is not a path; give the path of a file or folder as a text or a "
            "pathlib.Path"
        )
        raise ConfigurationError(msg)
    return text


def is_address(path: object) -> bool:
    """Tell whether a path is an address on a network, such as ``root://…``.

    Examples
    --------
    >>> is_address("root://host//a.root"), is_address("a.root"), is_address("file:///a.root")
    (True, False, False)
    """
    text = path_text(path)
    return "://" in text and not text.startswith("file://")


def local_path(path: PathLikeStr) -> PathLikeStr:
    """Return the path of a ``file://`` address; other paths and addresses are not changed.

    Examples
    --------
    >>> local_path("file:///tmp/my%20file.root"), local_path("root://host//a.root")
    ('/tmp/my file.root', 'root://host//a.root')
    """
    text = path_text(path)
    return url2pathname(urlsplit(text).path) if text.startswith("file://") else path


def as_path(path: object) -> Path:
    """Convert an argument for a file or a folder on this machine to a path.

    Raises
    ------
    ConfigurationError
        As for :func:`path_text`, or if `path` is an address on a network.

    Examples
    --------
    >>> as_path("model/model.json").name
    'model.json'
    """
    if is_address(path):
        msg = (
            f"{path} is an address, and only events and features (LHE, ROOT, Parquet) are read "
            "from addresses; use a path on this machine, and copy the file or folder"
        )
        raise ConfigurationError(msg)
    return Path(local_path(path_text(path)))


def require_whole_number(value: object, name: str, *, least: int = 1) -> None:
    """Raise an error unless a value is a whole number of at least ``least``.

    Raises
    ------
    ConfigurationError
        If the value is not such a number.  The message names the argument.

    Examples
    --------
    >>> require_whole_number(0, "chunk_size")
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: chunk_size must be at least 1, but it is 0
    >>> require_whole_number("many", "chunk_size")
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: chunk_size must be a whole number, but it is 'many'
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        msg = f"{name} must be a whole number, but it is {short_repr(value)}"
        raise ConfigurationError(msg)
    if value < least:
        msg = f"{name} must be at least {least}, but it is {value}"
        raise ConfigurationError(msg)


def require_seed(seed: object) -> None:
    """Raise an error unless numpy accepts a value as a random seed.

    Raises
    ------
    ConfigurationError
        If numpy does not accept it.

    Examples
    --------
    >>> require_seed("first")
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: seed='first' is not a seed; give a whole number of 0 or
    more
    """
    from numpy.random import Generator, SeedSequence

    if isinstance(seed, Generator | SeedSequence):
        return
    try:
        SeedSequence(seed)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        msg = f"seed={short_repr(seed)} is not a seed; give a whole number of 0 or more"
        raise ConfigurationError(msg) from error


def positive_number(value: object, what: str) -> float:
    """Check that a value is a finite number above 0, and return it.

    Raises
    ------
    ConfigurationError
        If the value is anything else.

    Examples
    --------
    >>> positive_number(-1, "the rate")
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: the rate must be positive, not -1
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if isinstance(value, str | bool) or not 0 < number < math.inf:
        text = f"{value:g}" if isinstance(value, float) else short_repr(value)
        msg = f"{what} must be positive, not {text}"
        raise ConfigurationError(msg)
    return number
