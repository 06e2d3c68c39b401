"""Check keywords in functions that pass their keywords on to another function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from milinfer.exceptions import ConfigurationError

__all__ = ["did_you_mean", "require_keywords"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest similar known names, for the end of a message; empty if no name is similar.

    Examples
    --------
    >>> did_you_mean("weigth", ["weight", "point"]), did_you_mean("x", ["weight"])
    ('; did you mean weight?', '')
    """
    near = get_close_matches(name, list(known))
    return f"; did you mean {' or '.join(near)}?" if near else ""


def require_keywords(
    options: Mapping[str, object],
    function: Callable[..., Any],
    where: str,
    *,
    leave_out: Collection[str] = (),
) -> None:
    """Raise an error if keywords contain one that the function they are passed to does not have.

    Parameters
    ----------
    options
        Keywords that the user has given.
    function
        Function to which the keywords are passed on.
    where
        Name of the function that the user called, for the message.
    leave_out
        Arguments of `function` that the user cannot give.

    Raises
    ------
    ConfigurationError
        If a keyword is unknown; the message lists the known keywords.

    Examples
    --------
    >>> def read(path, *, point=None, process="signal"): ...
    >>> require_keywords({"point": {}}, read, "Sample.from_file()")
    >>> require_keywords({"proces": "a"}, read, "Sample.from_file()", leave_out=["path"])
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: Sample.from_file() has no keyword proces; it has point,
    process; did you mean process?
    """
    known = [name for name in inspect.signature(function).parameters if name not in leave_out]
    for name in options:
        if name not in known:
            msg = f"{where} has no keyword {name}; it has {', '.join(known)}"
            raise ConfigurationError(msg + did_you_mean(name, known))
