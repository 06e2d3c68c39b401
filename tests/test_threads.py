"""In order, in bounded memory, and with the same error whatever the number of threads."""

from __future__ import annotations

import threading
import time

import pytest

from milinfer.exceptions import ConfigurationError
from milinfer.utils.parallel import in_order, read_ahead


def collect(seen: list, results) -> None:
    """Unlike list(), it keeps what came before an error."""
    for result in results:
        seen.append(result)  # noqa: PERF402


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order(workers):
    def slow_first(x: int) -> int:
        time.sleep(0.02 if x == 0 else 0)
        return -x

    assert list(in_order(slow_first, range(30), workers)) == [-x for x in range(30)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_first_error_in_order(workers):
    def fail(x: int) -> int:
        if x in (3, 4):
            time.sleep(0.02 if x == 3 else 0)
            raise ValueError(x)
        return x

    seen = []
    with pytest.raises(ValueError, match="3"):
        collect(seen, in_order(fail, range(10), workers))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_source_comes_after_the_results(workers):
    def source():
        yield from range(4)
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        collect(seen, in_order(str, source(), workers))
    assert seen == ["0", "1", "2", "3"]


def test_few_in_flight():
    """And none is left; other tests of the same process may have threads of their own."""
    taken, before = [], threading.active_count()

    def source():
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(lambda x: x, source(), workers=2)
    next(results)
    assert len(taken) <= 6
    results.close()
    assert threading.active_count() <= before


def test_no_workers():
    with pytest.raises(ConfigurationError, match="workers"):
        list(in_order(str, [1], 0))


def test_reading_ahead_keeps_order_and_passes_errors_on():
    def numbers():
        yield 1
        yield 2
        msg = "no third"
        raise ValueError(msg)

    items = read_ahead(numbers())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(items)
