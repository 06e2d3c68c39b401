"""Load functions compiled by numba without importing the packages that extend numba.

When numba loads the first function, even from its cache, it first imports all extensions that are
installed.  The extensions of awkward and vector take a second of processor time, but functions of
plain arrays do not need them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["load_loops"]


def load_loops(*loops: tuple[Any, tuple[Any, ...]]) -> None:
    """Load functions from numba's cache for given types of arguments, or compile them.

    The extensions of numba are not imported here.  numba imports them when a further function is
    loaded or compiled, so that a user's own functions of awkward arrays work as usual.

    Parameters
    ----------
    loops
        Pairs of a function made by ``numba.njit`` and a tuple of the types of its arguments.

    Examples
    --------
    >>> from numba import njit, types
    >>> @njit
    ... def double(x):
    ...     return 2 * x
    >>> load_loops((double, (types.float64,)))
    >>> double.signatures
    [(float64,)]
    """
    with _extensions_later():
        for function, types in loops:
            function.compile(types)


@contextmanager
def _extensions_later() -> Iterator[None]:
    """Leave the extensions of numba to the next function that it loads."""
    from numba.core import entrypoints

    # Another thread may need the extensions now.  A numba that has no such mark imports them now,
    # which takes longer and changes nothing else.
    if threading.active_count() > 1 or getattr(entrypoints, "_already_initialized", True):
        yield
        return
    entrypoints._already_initialized = True
    try:
        yield
    finally:
        entrypoints._already_initialized = False
