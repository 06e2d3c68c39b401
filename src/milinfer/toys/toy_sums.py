"""Toys as sums over cached tables: all that is done for each toy, wherever it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np

from milinfer.likelihood.models import Model, is_additive, scores_bags
from milinfer.likelihood.segments import event_table, segment_llr
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.samples import Sample
from milinfer.toys.draws import STREAM, Draws
from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.parallel import Workers

__all__ = ["Table", "Tables", "Thrown", "throw"]

Table = FloatArray | Float32Array


class Thrown(NamedTuple):
    """What models say of toys.

    Parameters
    ----------
    surfaces
        By each model, shape (n_toys, K) each.
    counts
        Numbers of events, shape (n_toys,).
    """

    surfaces: list[FloatArray]
    counts: IntArray


class Tables:
    """What models say about events; a sample in use is never shown to them twice.

    Parameters
    ----------
    models
        Of events, bags, counts or datasets.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models
        self.reduced = tuple(_as_sum(m) for m in models)
        self._known: dict[int, list[Table]] = {}
        self._joined: list[Table] = []

    def of(self, samples: tuple[Sample, ...]) -> list[Table]:
        """One table for each model, with the events of all samples; the same list for the same."""
        keys = [id(s) for s in samples]
        if keys != list(self._known):
            # What is not in use any more is forgotten.
            self._known = {
                k: self._known[k] if k in self._known else [_table(m, s) for m in self._models]
                for k, s in zip(keys, samples, strict=True)
            }
            columns = zip(*self._known.values(), strict=True)
            self._joined = [c[0] if len(c) == 1 else np.concatenate(c) for c in columns]
        return self._joined


def _table(model: Model, sample: Sample) -> Table:
    table = event_table(model, sample)
    # Sums are float64; converting once is cheaper than for each stream.
    return np.ascontiguousarray(table, dtype=np.float64)


class _Sum(NamedTuple):
    """What is left of a model whose Λ is a sum over events, once it has seen them."""

    name: str
    parameters: tuple[str, ...]
    interpolation: Interpolation | ChebyshevBox
    additive: bool = True


def _as_sum(model: Model) -> Model:
    if not is_additive(model):
        return model
    return cast(Model, _Sum(model.name, model.parameters, model.interpolation))


class _Part(NamedTuple):
    """Toys of a stream, from the first to that before the last."""

    stream: int
    first: int
    last: int


def _parts(toys: range) -> list[_Part]:
    """What streams have of the toys."""
    return [
        _Part(k, max(toys.start - k * STREAM, 0), min(toys.stop - k * STREAM, STREAM))
        for k in range(toys.start // STREAM, -(-toys.stop // STREAM))
    ]


def throw(
    models: Sequence[Model],
    tables: Sequence[Table],
    draws: Draws,
    toys: range,
    crew: Workers,
    on_toys: Callable[[int], None] | None,
) -> Thrown:
    """Throw toys and evaluate all models on them.

    Parameters
    ----------
    models
        As :attr:`Tables.reduced` has them.
    tables
        What each has to say about each event, from :meth:`Tables.of`.
    draws
        Which events are in which toy.
    toys
        Numbers of the toys, in steps of one.
    crew
        Where to throw them.
    on_toys
        Called with the number of toys done since the last call.
    """
    # Which events a toy has, their weights alone tell.
    bare = replace(draws, pool=draws.pool._replace(samples=()))
    values: list[list[FloatArray]] = [[] for _ in models]
    counts = []
    for surfaces, drawn in crew.map(_stream, _parts(toys), models, tables, bare):
        for parts, part in zip(values, surfaces, strict=True):
            parts.append(part)
        counts.append(drawn)
        if on_toys is not None:
            on_toys(len(drawn))
    return Thrown([np.concatenate(parts) for parts in values], np.concatenate(counts))


def _stream(part: _Part, models: Sequence[Model], tables: Sequence[Table], draws: Draws) -> Thrown:
    """Surfaces by each model of some toys, and their numbers of events."""
    first, last = part.first, part.last
    # What a network makes of one bag depends in the last bit on how many others it gets with it:
    # always all of the stream.
    low, high = (0, STREAM) if any(scores_bags(m) for m in models) else (first, last)
    index, counts = draws.stream(part.stream, high)
    offsets = np.concatenate([[0], np.cumsum(counts)])[low : high + 1]
    index = index[offsets[0] : offsets[-1]]
    signs, offsets = draws.signs(index), offsets - offsets[0]
    pairs = zip(models, tables, strict=True)
    surfaces = [segment_llr(m, table, index, signs, offsets) for m, table in pairs]
    return Thrown([s[first - low : last - low] for s in surfaces], counts[first:last])
