"""Events as flat columns, as they are in files: no record, no vectors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from milinfer.io.event.record import make_events
from milinfer.typing import AwkwardArray, IntArray

__all__ = ["EventColumns", "in_chunks"]


class EventColumns(NamedTuple):
    """Columns of some events, named as in the event record.

    Parameters
    ----------
    counts
        Number of particles of each event, shape (n_events,).
    particles
        Columns of shape (n_particles,); may be read from a file when they are asked for.
    event, weights
        Columns of shape (n_events,).

    Examples
    --------
    >>> part = dict.fromkeys(["px", "py", "pz", "energy", "mass", "pdgId", "status"], [1])
    >>> columns = EventColumns(np.array([1]), {**part, "mother1": [0], "mother2": [0]},
    ...                        {"genWeight": [1.5], "LHE_processId": [1]}, {})
    >>> columns.record().genWeight.tolist()
    [1.5]
    """

    counts: IntArray
    particles: Mapping[str, NDArray[Any]]
    event: Mapping[str, NDArray[Any]]
    weights: Mapping[str, NDArray[Any]]

    def record(self) -> AwkwardArray:
        """As an awkward event record; see :func:`milinfer.io.lhe.make_events`."""
        return make_events(*self)

    def split(self, n: int) -> tuple[EventColumns, EventColumns]:
        """The first ``n`` events, and the others, as views."""
        k = int(self.counts[:n].sum())
        return self._cut(slice(n), slice(k)), self._cut(slice(n, None), slice(k, None))

    def _cut(self, events: slice, particles: slice) -> EventColumns:
        return EventColumns(
            self.counts[events],
            {name: column[particles] for name, column in self.particles.items()},
            {name: column[events] for name, column in self.event.items()},
            {name: column[events] for name, column in self.weights.items()},
        )


def in_chunks(parts: Iterable[EventColumns], chunk_size: int) -> Iterator[EventColumns]:
    """The same events in chunks of ``chunk_size``, the last one smaller.

    Examples
    --------
    >>> three = EventColumns(np.zeros(3, int), {}, {"genWeight": np.array([0.5, 1.5, 2.5])}, {})
    >>> [chunk.event["genWeight"].tolist() for chunk in in_chunks([three, three], 4)]
    [[0.5, 1.5, 2.5, 0.5], [1.5, 2.5]]
    """
    held: deque[EventColumns] = deque()
    n_held = 0
    for part in parts:
        held.append(part)
        n_held += len(part.counts)
        while n_held >= chunk_size:
            n_held -= chunk_size
            yield _take(held, chunk_size)
    if n_held:
        yield _take(held, n_held)


def _take(held: deque[EventColumns], n: int) -> EventColumns:
    """Take the next ``n`` events from those held."""
    parts: list[EventColumns] = []
    while n:
        columns = held.popleft()
        if len(columns.counts) > n:
            columns, rest = columns.split(n)
            held.appendleft(rest)
        parts.append(columns)
        n -= len(columns.counts)
    return parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: Sequence[EventColumns]) -> EventColumns:
    def joined(columns: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}

    counts, particles, event, weights = zip(*parts, strict=True)
    return EventColumns(np.concatenate(counts), joined(particles), joined(event), joined(weights))
