"""Show progress bars on terminals and in notebooks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from milinfer.exceptions import MilinferWarning

__all__ = ["in_notebook", "progress"]


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar: with rich on a terminal, with tqdm in a notebook.

    Nothing is shown if standard error is a file or a pipe.

    Parameters
    ----------
    description
        Text before the bar.
    total
        Number of steps; None if unknown.

    Yields
    ------
    callable
        Function to call after some steps, with the number of steps done since the last call.

    Warns
    -----
    MilinferWarning
        In a notebook without ipywidgets.  The bar is then shown as text.

    Examples
    --------
    >>> with progress("adding", total=3) as advance:
    ...     for _ in range(3):
    ...         advance(1)
    """
    if in_notebook():
        # The finished bar stays in the output of the cell.
        with _notebook_bar(description, total) as bar:
            yield bar.update
        return
    if not sys.stderr.isatty():
        yield lambda _steps: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", style="progress.description", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook.

    A notebook kernel has already imported IPython.  If IPython is not imported yet, the function
    returns False without importing it.

    Examples
    --------
    >>> in_notebook()
    False
    """
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_shell is None else get_shell()
    # Google Colab has a subclass of this class; IPython in a terminal has another class.
    return any(c.__name__ == "ZMQInteractiveShell" for c in type(shell).__mro__)


def _notebook_bar(description: str, total: float | None) -> Any:
    try:
        import ipywidgets  # noqa: F401  # tqdm needs it, and leaves half a bar behind without
    except ImportError as error:
        from tqdm import tqdm

        msg = (
            f"progress is shown as text ({error}): for a bar in the notebook, "
            "pip install ipywidgets and reload the page"
        )
        # Warn at the line that called progress(); contextlib is in between.
        warnings.warn(msg, MilinferWarning, stacklevel=4)
        return tqdm(desc=description, total=total, file=sys.stderr)
    from tqdm.notebook import tqdm_notebook

    return tqdm_notebook(desc=description, total=total)
