"""Load compiled loops (numba) without the packages that extend numba.

Before it loads the first function, even from its cache, numba imports every extension that is
installed.  Those of awkward and vector take a second of processor time, and loops over plain
arrays need neither.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["load_loops"]


def load_loops(*loops: tuple[Any, tuple[Any, ...]]) -> None:
    """Load functions for given types of arguments, or compile them if numba has not cached them.

    numba imports its extensions when it next compiles or loads a function for other types, so that
    awkward arrays in functions of a user work as usual.

    Parameters
    ----------
    loops
        Functions of ``numba.njit``, each with the types of its arguments.

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
