"""Work in threads, in order and in bounded memory: for numpy and Arrow, which release the lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from milinfer.exceptions import ConfigurationError

__all__ = ["in_order", "read_ahead", "require_workers"]

T = TypeVar("T")
R = TypeVar("R")


def require_workers(workers: int) -> None:
    """Refuse to work with nobody.

    Raises
    ------
    ConfigurationError
        If there are no workers.

    Examples
    --------
    >>> require_workers(0)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: workers must be at least 1, but it is 0
    """
    if workers < 1:
        msg = f"workers must be at least 1, but it is {workers}"
        raise ConfigurationError(msg)


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[R]:
    """Results of a function in the order of its arguments.

    Parameters
    ----------
    function
        Called once for each item; from several threads at once if there are several workers.
    items
        Arguments, taken from here a few for each worker ahead of the results.
    workers
        Threads; with 1, everything happens in this one.

    Yields
    ------
    Any
        What the function gives.  Its first error is raised in the place of its result, and the
        later ones never, so that what is seen does not depend on the number of workers.

    Raises
    ------
    ConfigurationError
        If there are no workers.

    Examples
    --------
    >>> list(in_order(lambda x: x**2, range(5), workers=2))
    [0, 1, 4, 9, 16]
    """
    require_workers(workers)
    if workers == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    source = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                try:
                    item = next(source, pending)
                except BaseException:
                    # what comes before it is given out first, as with one worker
                    while pending:
                        yield pending.popleft().result()
                    raise
                if item is pending:
                    break
                pending.append(pool.submit(function, item))  # type: ignore[arg-type]
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one being made in a thread while one is in use.

    Examples
    --------
    >>> list(read_ahead(iter([1, 2, 3])))
    [1, 2, 3]
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]  # the end is no item
            del item  # not two of them, while one is awaited
