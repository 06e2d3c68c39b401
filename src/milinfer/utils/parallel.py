"""Run independent tasks in this thread, in several threads, or on workers of a dask cluster.

Each task computes the result for one item.  It uses only this item and objects that are common to
all items, and the results are in the order of the items.  Therefore the results do not depend on
where the tasks run.  Threads make numpy and Arrow faster, because these release Python's global
lock.  :func:`in_order` keeps only a few items in memory.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferWarning
from milinfer.utils.arguments import require_whole_number

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as ClusterFuture

__all__ = [
    "Workers",
    "client_type",
    "in_order",
    "read_ahead",
    "require_client",
    "require_workers",
]


T = TypeVar("T")
R = TypeVar("R")

# A task costs the scheduler about 2 ms.
_TASK_SECONDS = 0.2
# Tasks for each thread of the cluster: one that runs, and one that waits.
_IN_FLIGHT = 2
# All workers may be lost this many times in a row before we give up.
_ATTEMPTS = 5
# After this time without workers a warning says that the work waits.
_SILENT_SECONDS = 60.0
# How often the state of a lost connection is looked at.
_LOOK_SECONDS = 0.1


def require_client(client: Any, workers: int = 1) -> None:
    """Raise an error unless `client` is None, or a dask client without several workers.

    Raises
    ------
    ConfigurationError
        If `client` is something else, or if `workers` is more than 1 as well.  The message says
        what to give instead.

    Examples
    --------
    >>> require_client("tcp://node:8786")
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: client= is a str, not a distributed.Client: ...
    """
    require_workers(workers)
    if client is None:
        return
    kind = client_type("client=")
    if not isinstance(client, kind) or client.asynchronous:
        what = f"a {type(client).__name__}"
        if isinstance(client, kind):
            what = "an asynchronous one"
        msg = (
            f"client= is {what}, not a distributed.Client: give Client(address) or Client(cluster)"
        )
        raise ConfigurationError(msg)
    if workers > 1:
        msg = (
            f"workers={workers} sets the workers on this machine, client= a cluster; give only one "
            "of the two"
        )
        raise ConfigurationError(msg)


def client_type(feature: str) -> Any:
    """Return the class of dask clients.

    Raises
    ------
    ConfigurationError
        If dask is not installed; the message names the feature that needs it.

    Examples
    --------
    >>> client_type("client=").__name__
    'Client'
    """
    try:
        from distributed import Client
    except ImportError as error:
        msg = f"{feature} needs dask.distributed: pip install milinfer[dask]"
        raise ConfigurationError(msg) from error
    return Client


class Workers:
    """Run independent tasks in threads or on a dask cluster.

    On a cluster, items are sent in batches, so that a task takes about 0.2 s, and each thread of a
    worker has at most two tasks.  Objects that are common to all items are sent to all workers
    once, and stay there as long as consecutive calls use them.  If a worker dies, another worker
    repeats its tasks.  A common object is sent again if its last copy is lost, or if the scheduler
    is started again at the same address.  Errors of workers are raised in this process.  Warnings
    of workers are issued in this process, provided that each worker has one thread, as recommended.

    Parameters
    ----------
    threads
        Number of threads of this process.  With 1, all tasks run in the calling thread.
    client
        Client of a dask cluster, which runs the tasks instead of threads.  If the cluster has no
        worker yet, the tasks wait for the first one.

    Raises
    ------
    ConfigurationError
        If both several threads and a client are given, or if `client` is not a
        ``distributed.Client``.

    Examples
    --------
    >>> def scaled(item, factor):
    ...     return factor * item
    >>> list(Workers(2).map(scaled, range(4), 10))
    [0, 10, 20, 30]
    """

    def __init__(self, threads: int = 1, client: Client | None = None) -> None:
        require_client(client, threads)
        self._threads = threads
        self._client = client
        self._sent: dict[int, tuple[Any, ClusterFuture]] = {}

    def map(self, function: Callable[..., R], items: Sequence[T], *shared: Any) -> Iterator[R]:
        """Yield the results of ``function(item, *shared)`` in the order of the items.

        Parameters
        ----------
        function
            Function that is called for each item.  For a cluster it must be picklable.
        items
            Items.  For a cluster they should be small, because they are sent with the tasks.
        shared
            Objects that are needed for all items.  An object that is identical (``is``) to one of
            the last call is not sent again.

        Raises
        ------
        ConfigurationError
            If an object cannot be sent, if the scheduler cannot be reached, or if a batch was tried
            on several workers and each of them died.
        """
        if self._client is not None:
            yield from self._on_cluster(self._client, function, items, shared)
        else:
            yield from in_order(lambda item: function(item, *shared), items, self._threads)

    def _on_cluster(
        self,
        client: Client,
        function: Callable[..., R],
        items: Sequence[T],
        shared: tuple[Any, ...],
    ) -> Iterator[R]:
        from distributed.scheduler import KilledWorker

        name = getattr(function, "__name__", "work").strip("_")

        def submit(batch: Sequence[T]) -> ClusterFuture:
            key = f"{name}-{uuid4().hex}"
            return client.submit(_work, function, list(batch), *parts, key=key, pure=False)

        pending: deque[_Batch] = deque()
        start, seconds, losses = 0, np.inf, 0
        parts = self._send(client, shared)
        try:
            while start < len(items) or pending:
                threads = _threads(client)
                while start < len(items) and len(pending) < _IN_FLIGHT * threads:
                    stop = start + _batch_size(len(items) - start, threads, seconds)
                    pending.append(_Batch(items[start:stop], submit(items[start:stop])))
                    start = stop
                batch = pending[0]
                try:
                    results, seconds, worker_warnings = _result(client, batch.future)
                except CancelledError as error:
                    # The shared objects were lost with the workers that held them, or with the
                    # scheduler that knew of them.
                    losses += 1
                    _require_hope(client, losses, error)
                    self._sent.clear()
                    parts = self._send(client, shared)
                    for other in pending:
                        if other.future.status != "finished":
                            other.future = submit(other.items)
                    continue
                except KilledWorker as error:
                    msg = (
                        f"{error.allowed_failures + 1} workers in a row died while they worked on "
                        f"the same task ({name}); read their logs, because most often they are out "
                        "of memory. If they were only preempted, raise dask's setting "
                        "distributed.scheduler.allowed-failures"
                    )
                    raise ConfigurationError(msg) from error
                pending.popleft()
                losses = 0
                for warning in worker_warnings:
                    warnings.warn_explicit(**warning)
                yield from results
        finally:
            if pending and client.status == "running":
                client.cancel([batch.future for batch in pending])

    def _send(self, client: Client, shared: tuple[Any, ...]) -> list[ClusterFuture]:
        """Return futures of the common objects on the workers, and send missing objects."""
        _wait_for_workers(client)
        # Objects that this call does not use are released, here and on the workers.
        self._sent = {id(x): self._sent[id(x)] for x in shared if id(x) in self._sent}
        for part in shared:
            if id(part) not in self._sent:
                self._sent[id(part)] = part, _scatter(client, part)
        return [self._sent[id(part)][1] for part in shared]


@dataclass
class _Batch:
    items: Sequence[Any]
    future: ClusterFuture


def _batch_size(left: int, threads: int, seconds: float) -> int:
    """Number of items of the next task: enough to outweigh its cost, few enough for all threads."""
    fair = -(-left // (_IN_FLIGHT * threads))
    return max(1, min(fair, int(min(_TASK_SECONDS / max(seconds, 1e-9), left))))


def _scatter(client: Client, part: Any) -> ClusterFuture:
    """Send an object to all workers; try again if one dies meanwhile."""
    attempt = 0
    while True:
        try:
            # Not hashed, because this would read every byte to avoid a rare second copy.
            return client.scatter([part], broadcast=True, hash=False)[0]
        except TypeError as error:
            msg = (
                f"a {type(part).__name__} cannot be sent to workers ({error}); define the "
                "functions of a model in a module, or work without client="
            )
            raise ConfigurationError(msg) from error
        except (OSError, KeyError, CancelledError) as error:  # KeyError: a worker has gone
            attempt += 1
            _require_hope(client, attempt, error)
            _wait_for_workers(client)


def _result(client: Client, future: ClusterFuture) -> Any:
    """Wait for the result of a task; warn if the cluster has lost all of its workers."""
    while True:
        try:
            return future.result(timeout=_SILENT_SECONDS)
        except TimeoutError:
            if future.done():  # an error of the task, or a result that arrived just now
                return future.result()
            _wait_for_workers(client)


def _wait_for_workers(client: Client) -> None:
    """Wait for a worker as long as it takes, as in the queue of a batch system, and warn."""
    while True:
        try:
            _asked(client, lambda: client.wait_for_workers(1, timeout=_SILENT_SECONDS))
        except TimeoutError:
            warnings.warn(
                f"the cluster has had no workers for {_SILENT_SECONDS:g} s, and the tasks wait for "
                "a worker; check the scheduler and the queue of the batch system",
                MilinferWarning,
                stacklevel=2,
            )
        else:
            return


def _threads(client: Client) -> int:
    """Current number of threads of the cluster, at least one."""
    return max(1, sum(int(n) for n in _asked(client, client.nthreads).values()))


def _asked(client: Client, question: Callable[[], R]) -> R:
    """Ask the scheduler, again if the connection is lost meanwhile and comes back."""
    losses = 0
    while True:
        try:
            return question()
        except TimeoutError:
            raise
        except (AttributeError, OSError) as error:  # without a scheduler, some attributes are None
            losses += 1
            time.sleep(_LOOK_SECONDS)  # until the client has seen that the connection is lost
            _require_hope(client, 0, error)
            if losses >= _ATTEMPTS:
                msg = f"the dask scheduler does not answer ({error}); read its log"
                raise ConfigurationError(msg) from error


def _require_hope(client: Client, losses: int, error: BaseException) -> None:
    """Raise if the scheduler is gone, or if workers keep dying before they return results.

    While the client tries to connect to its scheduler again, this waits.

    Raises
    ------
    ConfigurationError
        The message gives the reason.
    """
    while client.status == "connecting":
        time.sleep(_LOOK_SECONDS)
    if client.status != "running":
        msg = (
            "the connection to the dask scheduler is lost; start the cluster again, and read its "
            "log. To wait longer for a scheduler that starts again at the same address, raise "
            "dask's distributed.comm.timeouts.connect"
        )
        raise ConfigurationError(msg) from error
    if losses >= _ATTEMPTS:
        msg = (
            f"all workers of the cluster were lost {losses} times before any task finished; read "
            "their logs, because most often they are out of memory"
        )
        raise ConfigurationError(msg) from error


def _work(
    function: Callable[..., R], items: Sequence[T], *shared: Any
) -> tuple[list[R], float, list[dict[str, Any]]]:
    """Run a batch on a worker; return its results, seconds for each item, and warnings."""
    from distributed import get_worker

    start = time.perf_counter()
    worker_warnings: list[dict[str, Any]] = []
    if get_worker().state.nthreads == 1:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results = [function(item, *shared) for item in items]
        for w in caught:
            note = {"category": w.category, "filename": w.filename, "lineno": w.lineno}
            worker_warnings.append({"message": str(w.message), **note})
    else:  # warnings cannot be recorded safely in threads: they stay in the worker's log
        results = [function(item, *shared) for item in items]
    return results, (time.perf_counter() - start) / len(items), worker_warnings


def require_workers(workers: int) -> None:
    """Raise an error if fewer than one worker is requested.

    Raises
    ------
    ConfigurationError
        If `workers` is less than 1.

    Examples
    --------
    >>> require_workers(0)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: workers must be at least 1, but it is 0
    """
    require_whole_number(workers, "workers")


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[R]:
    """Call a function for each item, in threads, and yield the results in the order of the items.

    Parameters
    ----------
    function
        Function that is called once for each item.  With several workers, several threads call it
        at the same time.
    items
        Arguments of the function.  Only a few items for each worker are taken in advance.
    workers
        Number of threads.  With 1, the function runs in the calling thread.

    Yields
    ------
    Any
        Results.  If the function fails for an item, its error is raised when the result of this
        item is due; errors of later items are ignored.  Results and errors therefore do not depend
        on the number of workers.

    Raises
    ------
    ConfigurationError
        If `workers` is less than 1.

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
                    item = next(source)
                except StopIteration:
                    break
                except BaseException:
                    # Results of the items before the error come first, as with one worker.
                    while pending:
                        yield pending.popleft().result()
                    raise
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator, while a thread prepares the next item in advance.

    Examples
    --------
    >>> list(read_ahead(iter([1, 2, 3])))
    [1, 2, 3]
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        next_item = thread.submit(next, items, end)
        while (item := next_item.result()) is not end:
            next_item = thread.submit(next, items, end)
            yield item  # type: ignore[misc]  # not the sentinel
            del item  # keeps one item in memory, not two, while waiting
