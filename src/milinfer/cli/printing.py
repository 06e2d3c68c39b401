"""Print the output of commands, even if writing to standard output fails.

If a line cannot be printed, the command still writes its files, and ends with exit code 2 and a
message.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from milinfer.utils.display import printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["echo", "lost_output", "show_table"]

# The first error of standard output in this process.
_LOST: list[OSError] = []


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, in which control characters are shown by their number."""
    if err:
        click.echo(printable(text), err=True)
        return
    with _printing():
        click.echo(printable(text))


def show_table(table: Table) -> None:
    """Print a table, as wide as the terminal."""
    from rich.console import Console

    with _printing():
        Console().print(table)


def lost_output() -> OSError | None:
    """Return the error with which printing failed, or None, and clear it."""
    return _LOST.pop() if _LOST else None


@contextmanager
def _printing() -> Iterator[None]:
    """Keep an error of standard output for the end of the command.

    A pipe that nobody reads any more ends the command at once, as click does it.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        _LOST[:] = [error]
        # Python would try once more when it ends, and replace the exit code by its own.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
