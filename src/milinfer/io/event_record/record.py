"""Hold the event record as awkward arrays with vector behaviour, or as flat columns.

:class:`EventColumns` contains flat columns, as stored in files.  :func:`make_events` makes awkward
arrays, with the methods of vectors, from flat columns.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milinfer.exceptions import LHEError
from milinfer.typing import AwkwardArray, FloatArray, IntArray
from milinfer.utils.display import shortened

__all__ = [
    "EVENT_FIELDS",
    "EventColumns",
    "MAY_BE_NAN",
    "MOMENTUM_FIELDS",
    "PARTICLE_FIELDS",
    "as_column",
    "first_not_finite",
    "flatten_events",
    "in_chunks",
    "make_events",
    "nan_counts",
]


PARTICLE_FIELDS: Final[dict[str, type[np.generic]]] = {
    "pdgId": np.int32,
    "status": np.int32,
    "mother1": np.int32,
    "mother2": np.int32,
    "color1": np.int32,
    "color2": np.int32,
    "px": np.float64,
    "py": np.float64,
    "pz": np.float64,
    "energy": np.float64,
    "mass": np.float64,
    "lifetime": np.float64,
    "spin": np.float64,
}
"""Fields of ``LHEPart`` and their types, in the order of a particle line of an LHE file."""

MOMENTUM_FIELDS: Final = ("px", "py", "pz", "energy", "mass")
"""Fields in GeV that must be finite."""

EVENT_FIELDS: Final[dict[str, type[np.generic]]] = {
    "LHE_processId": np.int32,
    "genWeight": np.float64,
    "LHE_scale": np.float64,
    "LHE_alphaQED": np.float64,
    "LHE_alphaQCD": np.float64,
}
"""Event-level fields and their types, in the order of an event line of an LHE file."""

# Values for "unknown" in the Les Houches accord.
_PARTICLE_DEFAULTS: Final = {"color1": 0, "color2": 0, "lifetime": 0.0, "spin": 9.0}
_EVENT_DEFAULTS: Final = {"LHE_scale": -1.0, "LHE_alphaQED": -1.0, "LHE_alphaQCD": -1.0}
_RECORD: Final = "LHEParticle"

MAY_BE_NAN: Final = tuple(_EVENT_DEFAULTS)
"""Event-level fields that no computation uses and some generators do not fill."""


@functools.cache
def register_behavior() -> None:
    """Give records named ``LHEParticle`` the methods of vector's ``Momentum4D``.

    The package vector refuses a ``Momentum4D`` with both an energy and a mass.  A generated
    particle has both, and they may disagree: off-shell W bosons, rounding, masses set by hand.
    ``LHEParticle`` has the same behaviour without this check; its kinematics use the energy.
    """
    import awkward as ak
    import vector
    from vector.backends.awkward import MomentumArray4D, MomentumRecord4D

    vector.register_awkward()

    def accept(self: Any) -> None:
        """Accept energy and mass side by side."""

    def without_check(base: Any, name: str) -> type:
        return type(name, (base,), {"__awkward_validation__": accept})

    for key, overload in list(ak.behavior.items()):
        if isinstance(key, tuple) and "Momentum4D" in key:
            # For example, both operands of a sum may be of either kind.
            choices = [("Momentum4D", _RECORD) if part == "Momentum4D" else (part,) for part in key]
            ak.behavior.update({k: overload for k in product(*choices) if _RECORD in k})
    ak.behavior["*", _RECORD] = without_check(MomentumArray4D, "LHEParticleArray")
    ak.behavior[_RECORD] = without_check(MomentumRecord4D, "LHEParticleRecord")


def make_events(
    counts: ArrayLike,
    particles: Mapping[str, ArrayLike],
    event: Mapping[str, ArrayLike],
    weights: Mapping[str, ArrayLike] | None = None,
) -> AwkwardArray:
    """Make an awkward event record from flat columns.

    Parameters
    ----------
    counts
        Number of particles of each event, shape (n_events,).
    particles
        Columns of shape (n_particles,) by name: ``px``, ``py``, ``pz``, ``energy``, ``mass`` in
        GeV, ``pdgId``, ``status``, ``mother1`` and ``mother2`` (counted from 1, as in LHE files),
        and optionally ``color1``, ``color2``, ``lifetime``, ``spin``.
    event
        Columns of shape (n_events,) by name: ``genWeight``, ``LHE_processId``, and optionally
        ``LHE_scale``, ``LHE_alphaQED``, ``LHE_alphaQCD``.
    weights
        Reweighting weights by id, each of shape (n_events,).

    Returns
    -------
    ak.Array
        Events with the fields ``LHEPart`` (a list of particles, with the behaviour of vector's
        ``Momentum4D``), ``genWeight``, ``LHE_processId``, ``LHE_scale``, ``LHE_alphaQED``,
        ``LHE_alphaQCD`` and, if there are weights, the record ``LHEWeight``.

    Raises
    ------
    LHEError
        If a column is missing, has a wrong length or does not consist of numbers.

    Examples
    --------
    >>> four = {"px": [3.0], "py": [4.0], "pz": [0.0], "energy": [5.0], "mass": [0.0]}
    >>> tags = {"pdgId": [11], "status": [1], "mother1": [0], "mother2": [0]}
    >>> events = make_events([1, 0], {**four, **tags},
    ...                      {"genWeight": [1.0, 2.0], "LHE_processId": [1, 1]})
    >>> events.LHEPart.pt.tolist(), events.genWeight.tolist()
    ([[5.0], []], [1.0, 2.0])
    """
    import awkward as ak

    register_behavior()
    n_particles = np.asarray(counts, dtype=np.int64)
    if n_particles.ndim != 1 or (n_particles < 0).any():
        msg = f"counts must be one number for each event and not negative, not {counts!r}"
        raise LHEError(msg)
    total = int(n_particles.sum())
    columns = {
        name: as_column(name, particles, _PARTICLE_DEFAULTS, dtype, total)
        for name, dtype in PARTICLE_FIELDS.items()
    }
    offsets = np.zeros(len(n_particles) + 1, dtype=np.int64)
    np.cumsum(n_particles, out=offsets[1:])
    content = ak.contents.RecordArray(
        [ak.contents.NumpyArray(column) for column in columns.values()],
        list(columns),
        parameters={"__record__": _RECORD},
    )
    fields: dict[str, Any] = {
        "LHEPart": ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)
    }
    for name, dtype in EVENT_FIELDS.items():
        fields[name] = ak.contents.NumpyArray(
            as_column(name, event, _EVENT_DEFAULTS, dtype, len(n_particles))
        )
    if weights:
        fields["LHEWeight"] = ak.contents.RecordArray(
            [
                ak.contents.NumpyArray(as_column(key, weights, {}, np.float64, len(n_particles)))
                for key in weights
            ],
            list(weights),
        )
    return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields)))


def flatten_events(
    events: AwkwardArray,
) -> tuple[IntArray, dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, FloatArray]]:
    """Convert an event record to flat columns; the inverse of :func:`make_events`.

    The columns are counts, particle columns, event columns and weights.

    Raises
    ------
    LHEError
        If ``LHEPart``, ``genWeight`` or another required field is missing.

    Examples
    --------
    >>> four = {"px": [3.0], "py": [4.0], "pz": [0.0], "energy": [5.0], "mass": [0.0]}
    >>> tags = {"pdgId": [11], "status": [1], "mother1": [0], "mother2": [0]}
    >>> events = make_events([1, 0], {**four, **tags},
    ...                      {"genWeight": [1.0, 2.0], "LHE_processId": [1, 1]})
    >>> counts, particles, event, weights = flatten_events(events)
    >>> counts.tolist(), particles["spin"].tolist(), weights
    ([1, 0], [9.0], {})
    """
    import awkward as ak

    names = ak.fields(events)
    if "LHEPart" not in names:
        msg = (
            f"these events have no LHEPart, only {shortened(names) or 'no named fields'}; make "
            "event records with make_events"
        )
        raise LHEError(msg)
    parts = ak.to_packed(events["LHEPart"])
    counts = ak.to_numpy(ak.num(parts, axis=1)).astype(np.int64)
    total = int(counts.sum())
    particles = {
        name: as_column(
            name,
            {k: ak.to_numpy(ak.flatten(parts[k], axis=1)) for k in ak.fields(parts) if k == name},
            _PARTICLE_DEFAULTS,
            dtype,
            total,
        )
        for name, dtype in PARTICLE_FIELDS.items()
    }
    event = {
        name: as_column(
            name,
            {name: ak.to_numpy(events[name])} if name in names else {},
            _EVENT_DEFAULTS,
            dtype,
            len(counts),
        )
        for name, dtype in EVENT_FIELDS.items()
    }
    weights: dict[str, FloatArray] = {}
    if "LHEWeight" in names:
        record = events["LHEWeight"]
        weights = {
            key: as_column(key, {key: ak.to_numpy(record[key])}, {}, np.float64, len(counts))
            for key in ak.fields(record)
        }
    return counts, particles, event, weights


def first_not_finite(
    counts: IntArray,
    particles: Mapping[str, NDArray[Any]],
    event: Mapping[str, NDArray[Any]],
    weights: Mapping[str, NDArray[Any]],
) -> tuple[int, str] | None:
    """Find the first event with a number that is not finite.

    The result is the number of the event and a description of the column, or None if all numbers
    are finite.  The scale and the couplings of an event may be NaN: some generators write NaN if
    they do not have the value, and no computation of milinfer uses the scale or the couplings.

    Examples
    --------
    >>> four = dict.fromkeys(MOMENTUM_FIELDS, np.array([1.0, np.inf]))
    >>> first_not_finite(np.array([0, 2]), four, {"genWeight": np.ones(2)}, {})
    (1, 'px of a particle is inf')
    """
    names = [*MOMENTUM_FIELDS, "lifetime", "spin"]
    columns = [(f"{n} of a particle", particles[n], True) for n in names if n in particles]
    columns.append(("the event weight genWeight", event["genWeight"], False))
    columns += [(name, event[name], False) for name in _EVENT_DEFAULTS if name in event]
    columns += [(f"the weight {key!r}", values, False) for key, values in weights.items()]
    for what, values, of_particles in columns:
        good = ~np.isinf(values) if what in MAY_BE_NAN else np.isfinite(values)
        if not good.all():
            row = int(np.argmin(good))
            description = f"{what} is {values[row]}"
            stops = np.cumsum(counts)
            return int(np.searchsorted(stops, row, "right")) if of_particles else row, description
    return None


def nan_counts(event: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Count the events whose scale or couplings are NaN, for each column that contains a NaN.

    Examples
    --------
    >>> nan_counts({"LHE_scale": np.ones(2), "LHE_alphaQCD": np.array([0.1, np.nan])})
    {'LHE_alphaQCD': 1}
    """
    counts = {
        name: int(np.count_nonzero(np.isnan(event[name]))) for name in MAY_BE_NAN if name in event
    }
    return {name: n for name, n in counts.items() if n}


def as_column(
    name: str,
    columns: Mapping[str, Any],
    defaults: Mapping[str, float],
    dtype: type[np.generic],
    length: int,
) -> NDArray[Any]:
    """Return one column in the given type, or its default value if it is missing.

    Raises
    ------
    LHEError
        If a column without default is missing, or if the column has a wrong length or an integer
        that is too large.

    Examples
    --------
    >>> as_column("spin", {}, {"spin": 9.0}, np.float64, 2)
    array([9., 9.])
    """
    if name not in columns:
        if name not in defaults:
            msg = f"the events have no column {name!r}, which an LHE event needs; add it"
            raise LHEError(msg)
        return np.full(length, defaults[name], dtype=dtype)
    column = np.asarray(columns[name])
    if column.dtype.kind not in "fiub":
        msg = f"column {name!r} is of type {column.dtype}; give numbers"
        raise LHEError(msg)
    if column.shape != (length,):
        msg = f"column {name!r} has shape {column.shape}; give an array of shape ({length},)"
        raise LHEError(msg)
    if np.issubdtype(dtype, np.integer) and column.dtype != dtype and column.size:
        limits = np.iinfo(dtype)  # type: ignore[type-var]
        bad = ~((column >= limits.min) & (column <= limits.max))
        if column.dtype.kind == "f":
            bad |= column != np.trunc(column)
        if bad.any():
            msg = (
                f"column {name!r} has {column[np.argmax(bad)]!r}, which is not a 32-bit integer; "
                "correct the file or the array"
            )
            raise LHEError(msg)
    return np.ascontiguousarray(column, dtype=dtype)


class EventColumns(NamedTuple):
    """Columns of some events, named as in the event record.

    Parameters
    ----------
    counts
        Number of particles of each event, shape (n_events,).
    particles
        Columns of shape (n_particles,), which may be read from a file on first use.
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
        """Convert to an awkward event record; see :func:`milinfer.io.lhe.make_events`."""
        return make_events(*self)

    def split(self, n: int) -> tuple[EventColumns, EventColumns]:
        """Split into the first ``n`` events and the remaining events, as views."""
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
    """Put the events in new chunks of ``chunk_size`` events; the last chunk may be smaller.

    Examples
    --------
    >>> three = EventColumns(np.zeros(3, int), {}, {"genWeight": np.array([0.5, 1.5, 2.5])}, {})
    >>> [chunk.event["genWeight"].tolist() for chunk in in_chunks([three, three], 4)]
    [[0.5, 1.5, 2.5, 0.5], [1.5, 2.5]]
    """
    waiting: deque[EventColumns] = deque()
    n_waiting = 0
    for part in parts:
        waiting.append(part)
        n_waiting += len(part.counts)
        while n_waiting >= chunk_size:
            n_waiting -= chunk_size
            yield _take(waiting, chunk_size)
    if n_waiting:
        yield _take(waiting, n_waiting)


def _take(waiting: deque[EventColumns], n: int) -> EventColumns:
    """Take the next ``n`` events from the queue."""
    parts: list[EventColumns] = []
    while n:
        columns = waiting.popleft()
        if len(columns.counts) > n:
            columns, rest = columns.split(n)
            waiting.appendleft(rest)
        parts.append(columns)
        n -= len(columns.counts)
    return parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: Sequence[EventColumns]) -> EventColumns:
    def join(columns: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}

    counts, particles, event, weights = zip(*parts, strict=True)
    return EventColumns(np.concatenate(counts), join(particles), join(event), join(weights))
