"""Draw the events of each toy from a pool; they depend only on seed, true point and toy number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.samples.sample import Sample
from milinfer.toys.pool import PointPool
from milinfer.typing import FloatArray, Int32Array, IntArray, Point
from milinfer.utils.points import format_point

__all__ = ["STREAM", "Draws", "seed_keys"]

# Toys that share one random stream. Part of the definition of "the same toys": do not change.
STREAM = 100
# Keys that make random permutations of the pool independent of the streams.
_ORDER, _MIX = 1, 2
# With more rows than this for each draw, plain bisection is faster than making a table.
_FEW = 32


def seed_keys(point: Point) -> tuple[int, ...]:
    """Return the keys of the random streams of a true point.

    Two points have different keys, so that their toys are independent.

    Examples
    --------
    >>> seed_keys({"mu": 0.0}) == seed_keys({"mu": -0.0}), seed_keys({"mu": 0.0})
    (True, (0,))
    """
    # + 0.0: −0 is 0
    return tuple(int(np.float64(value + 0.0).view(np.uint64)) for value in point.values())


@dataclass(frozen=True, eq=False)
class Draws:
    """The sequence of toys of one seed at one true point.

    The toys are drawn in groups of :data:`STREAM` toys; a group is called a stream.

    Parameters
    ----------
    pool
        Events of all processes.
    point
        The true point.
    seed
        Random seed.
    expected
        Mean number of events of each process in a toy, the signal first, shape (n_processes,).
    sizes
        Number of events of each process in the pool, shape (n_processes,).
    poisson
        Whether the numbers of events fluctuate.
    disjoint
        None: events are drawn with replacement.  A number: events are drawn without replacement,
        for at most this number of toys.

    Raises
    ------
    SampleError
        If toys are to be drawn without replacement from weighted events, or from too few events.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.pool import EventPool
    >>> pool = EventPool(gaussian.samples(1000, [0.0], seed=1)).at({"mu": 0.0})
    >>> one = np.array([50.0]), np.array([1000])
    >>> index, counts = Draws(pool, {"mu": 0.0}, 1, *one, poisson=False).stream(0)
    >>> index.shape, counts.shape
    ((5000,), (100,))
    """

    pool: PointPool
    point: Point
    seed: int
    expected: FloatArray
    sizes: IntArray
    poisson: bool
    disjoint: int | None = None

    def __post_init__(self) -> None:
        if self.disjoint is not None:
            self._require_enough(self.disjoint)

    @property
    def mean(self) -> float:
        """Mean number of events in a toy."""
        total = float(self.expected.sum())
        return round(total) if total.is_integer() or not self.poisson else total

    @cached_property
    def _bounds(self) -> IntArray:
        """First row of each process in the pool, and the end, shape (n_processes + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @cached_property
    def _uniform(self) -> bool:
        weights = self.pool.weights
        return bool(np.all(weights == weights[0]))

    @cached_property
    def _search(self) -> WeightedSearch:
        return WeightedSearch(np.abs(self.pool.weights))

    @cached_property
    def _signs(self) -> FloatArray | None:
        signs = np.sign(self.pool.weights)
        return None if np.all(signs == 1) else signs

    def signs(self, index: IntArray) -> FloatArray:
        """Return the sign of the weight of each event.

        If all signs are 1, the result is a view that takes no memory.
        """
        return np.broadcast_to(1.0, len(index)) if self._signs is None else self._signs[index]

    def stream(self, number: int, last: int = STREAM) -> tuple[IntArray, IntArray]:
        """Draw the toys of a stream.

        Returns the pool rows of all events, one toy after the other, and the number of events of
        each toy.

        The rows end with the toy before `last`, because later toys of the stream are not needed.
        If events are drawn without replacement, the rows end with the last toy of `disjoint`.
        """
        rng = self._rng(number)
        if self.disjoint is not None:
            return self._without_replacement(number)
        counts = (
            rng.poisson(self.mean, STREAM)
            if self.poisson
            else np.full(STREAM, int(self.mean), dtype=np.int64)
        )
        total = int(counts[:last].sum())
        n = len(self.pool.weights)
        if self._uniform:
            return rng.integers(n, size=total), counts
        return self._search.find(rng.random(total)), counts

    def dataset(self, toy: int) -> Sample:
        """Return the events of one toy as a dataset (weights ±1)."""
        last = toy % STREAM + 1
        index, counts = self.stream(toy // STREAM, last)
        stop = int(counts[:last].sum())
        return self.pool.take(index[stop - int(counts[last - 1]) : stop], self.point)

    def _rng(self, *numbers: int) -> np.random.Generator:
        keys = (*seed_keys(self.point), *numbers)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=keys))

    def _numbers(self, number: int) -> IntArray:
        """Number of events of each process in each toy of a stream, (STREAM, n_processes)."""
        rng = self._rng(number)
        if self.poisson:
            return rng.poisson(self.expected, (STREAM, len(self.expected)))
        return rng.multinomial(int(self.mean), self.expected / self.expected.sum(), STREAM)

    @cached_property
    def _events_before(self) -> IntArray:
        """Number of events of each process before each toy, (disjoint + 1, n_processes)."""
        assert self.disjoint is not None
        streams = -(-self.disjoint // STREAM)
        numbers = np.concatenate([self._numbers(k) for k in range(streams)])[: self.disjoint]
        return np.concatenate([np.zeros((1, len(self.sizes)), np.int64), numbers.cumsum(axis=0)])

    @cached_property
    def _orders(self) -> list[IntArray]:
        """Rows of each process in random order."""
        return [
            low + self._rng(k, _ORDER).permutation(int(size))
            for k, (low, size) in enumerate(zip(self._bounds[:-1], self.sizes, strict=True))
        ]

    def _require_enough(self, n_toys: int) -> None:
        at = format_point(self.point)
        for low, high in pairwise(self._bounds):
            weights = self.pool.weights[low:high]
            if weights[0] <= 0 or np.any(weights != weights[0]):
                msg = (
                    f"disjoint toys at {at} need events of equal positive weights, but these have "
                    f"weights from {weights.min():g} to {weights.max():g}; draw with replacement "
                    "(disjoint=False), or unweight the events"
                )
                raise SampleError(msg)
        enough = np.all(self._events_before[1:] <= self.sizes, axis=1)
        if not enough.all():
            msg = (
                f"{n_toys} disjoint toys of {self.mean:g} events at {at} need more events than the "
                f"{int(self.sizes.sum())} of the pool, which are enough for "
                f"{int(np.argmin(enough))} toys; ask for fewer toys, or generate more events"
            )
            raise SampleError(msg)

    def _without_replacement(self, number: int) -> tuple[IntArray, IntArray]:
        before = self._events_before[number * STREAM : (number + 1) * STREAM + 1]
        counts = np.diff(before.sum(axis=1))
        if len(self.sizes) == 1:
            return self._orders[0][before[0, 0] : before[-1, 0]], counts
        rng = self._rng(number, _MIX)
        toys = []
        for start, stop in pairwise(before):
            parts = [o[a:b] for o, a, b in zip(self._orders, start, stop, strict=True)]
            # Shuffle the processes, as in data, because bags are made of neighbouring events.
            toys.append(rng.permutation(np.concatenate(parts)))
        return np.concatenate(toys), counts


class WeightedSearch:
    """Choose rows with probabilities in proportion to weights, as by a binary search.

    A table of the rows at equal steps of the cumulative weight (Chen and Asau, 1974) leaves one or
    two comparisons for most draws.

    Parameters
    ----------
    weights
        Weights of the rows, not negative, shape (n,).

    Examples
    --------
    >>> WeightedSearch(np.array([1.0, 2.0, 1.0])).find(np.array([0.1, 0.3, 0.7, 0.8]))
    array([0, 1, 1, 2])
    """

    def __init__(self, weights: FloatArray) -> None:
        self._cumulative = np.cumsum(weights)

    @cached_property
    def _first(self) -> Int32Array:
        from milinfer.toys.weighted_search import first_rows  # numba takes long to import

        return first_rows(self._cumulative)

    def find(self, uniforms: FloatArray) -> IntArray:
        """Find the rows for numbers in [0, 1), shape (m,)."""
        n = len(self._cumulative)
        if len(uniforms) * _FEW < n:
            # Making the table would take longer than it saves.
            heights = uniforms * self._cumulative[-1]
            few = np.searchsorted(self._cumulative, heights, side="right")
            return np.asarray(np.minimum(few, n - 1))
        from milinfer.toys.weighted_search import find_rows  # numba takes long to import

        return find_rows(uniforms, self._cumulative, self._first)
