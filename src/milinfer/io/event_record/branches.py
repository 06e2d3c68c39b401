"""Convert between the event record and flat, NanoAOD-like branches of files."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import LHEError, SampleError
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.nanoaod import (
    WEIGHT,
    WeightEntry,
    objects_hint,
    vector_weights,
)
from milinfer.io.event_record.record import (
    EVENT_FIELDS,
    PARTICLE_FIELDS,
    EventColumns,
    flatten_events,
)
from milinfer.typing import AwkwardArray, FloatArray
from milinfer.utils.display import shortened
from milinfer.utils.files import parse_json

__all__ = [
    "FileMetadata",
    "from_branches",
    "left_out",
    "needed_branches",
    "to_branches",
    "weight_branch",
]

PART: Final = "LHEPart_"
# coffea refuses a collection with both pt, eta, phi, mass and px, py, pz, energy.
_EXACT: Final = {name: f"exact_{name}" for name in ("px", "py", "pz", "energy")}
_NANOAOD: Final = ("pt", "eta", "phi", "mass", "pdgId", "status")
_MOTHERS: Final = {"mother1": "firstMotherIdx", "mother2": "lastMotherIdx"}  # of NanoAOD, from 0
_NEEDED: Final = (*_EXACT.values(), "mass", "pdgId", "status", "mother1", "mother2")


class FileMetadata:
    """Header, ``<init>`` and weight ids that a ROOT or Parquet file stores with its columns.

    Parameters
    ----------
    info
        Header and ``<init>`` of the events.
    weights
        Weight id of each branch ``LHEWeight_…``.

    Examples
    --------
    >>> metadata = FileMetadata(LHEInfo(processes=()), FileMetadata.branches(["mu=0.5", "mu-0.5"]))
    >>> metadata.weights
    {'LHEWeight_mu_0_5': 'mu=0.5', 'LHEWeight_mu_0_5_2': 'mu-0.5'}
    >>> FileMetadata.from_json(metadata.to_json(), "a.root").weights == metadata.weights
    True
    """

    def __init__(self, info: LHEInfo, weights: Mapping[str, str]) -> None:
        self.info = info
        self.weights = dict(weights)

    @staticmethod
    def branches(ids: Iterable[str]) -> dict[str, str]:
        """Make a branch name (only letters, digits and underscores) for each weight id."""
        names: dict[str, str] = {}
        for identity in ids:
            base = WEIGHT + (re.sub(r"\W", "_", identity, flags=re.ASCII) or "_")
            name, count = base, 1
            while name in names:
                count += 1
                name = f"{base}_{count}"
            names[name] = identity
        return names

    def to_json(self) -> str:
        """Convert to text."""
        content = {"format": 1, "info": self.info.to_json(), "weights": self.weights}
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str, source: str) -> FileMetadata:
        """Make the metadata from the text of :meth:`to_json`.

        Raises
        ------
        SampleError
            If the text has not been written by :meth:`to_json`.
        """
        try:
            content = parse_json(text)
            weights = content["weights"]
            if not all(isinstance(name, str) for name in weights.values()):
                msg = f"the weights {weights} are not names"
                raise TypeError(msg)
            return cls(LHEInfo.from_json(content["info"]), weights)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            msg = f"{source}: its milinfer metadata cannot be read ({error!r}); convert it again"
            raise SampleError(msg) from error


def to_branches(
    events: AwkwardArray, weights: Mapping[str, str], first: int, target: str
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Convert an event record to the columns of a file.

    Parameters
    ----------
    events
        Event record; see :func:`milinfer.io.lhe.make_events`.
    weights
        Weight id of each weight branch.
    first
        Number of events already in the file.
    target
        Name of the file, for messages.

    Returns
    -------
    tuple
        Three items: the number of particles of each event; the columns of particles, shape
        (n_particles,), whose names are without ``LHEPart_``; and the columns of events, shape
        (n_events,).

    Raises
    ------
    SampleError
        If the events lack a column, or if their weights are not those of `weights`.
    """
    try:
        counts, particles, event, reweights = flatten_events(events)
    except LHEError as error:
        msg = f"{target}: {error}"
        raise SampleError(msg) from error
    if set(reweights) != set(weights.values()):
        msg = (
            f"{target}: from event {first} (counted from 0) the weights are {list(reweights)}, "
            f"but they were {list(weights.values())}; give every event the same weights"
        )
        raise SampleError(msg)
    n = len(counts)
    scalars: dict[str, NDArray[Any]] = {
        "run": np.ones(n, dtype=np.uint32),
        "luminosityBlock": np.ones(n, dtype=np.uint32),
        "event": np.arange(first + 1, first + n + 1, dtype=np.uint64),
        **event,
        **{name: reweights[identity] for name, identity in weights.items()},
    }
    exact = {_EXACT.get(name, name): column for name, column in particles.items()}
    return counts, {**_nanoaod(particles), **exact}, scalars


def _nanoaod(particles: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Momenta as in NanoAOD, which stores ``incomingpz`` of incoming partons and no direction."""
    incoming = particles["status"] == -1
    pt = np.hypot(particles["px"], particles["py"])
    forward = pt == 0
    with np.errstate(over="ignore"):
        eta = np.arcsinh(particles["pz"] / np.where(forward, 1.0, pt))
    pt, eta = np.where(incoming, 0.0, pt), np.where(incoming | forward, 0.0, eta)
    phi = np.where(incoming, 0.0, np.arctan2(particles["py"], particles["px"]))
    pz = np.where(incoming | forward, particles["pz"], 0.0)
    return {"pt": pt, "eta": eta, "phi": phi, "incomingpz": pz}


def _require_numbers(
    name: str,
    lengths: NDArray[np.int64] | None,
    values: NDArray[Any],
    counts: NDArray[np.int64],
    source: str,
    first: int,
) -> NDArray[Any]:
    """Return the numbers of a branch, or raise if shape or type are wrong."""

    def fail(what: str, event: int | None = None) -> NoReturn:
        place = "" if event is None else f"event {first + event} (counted from 0): "
        msg = f"{source}: {place}{name} {what}; correct it, or produce the file again"
        raise SampleError(msg)

    of_particles = name.startswith(PART)
    if of_particles != (lengths is not None):
        kinds = ("one number for each event", "a list with one entry for each particle")
        fail(f"is {kinds[not of_particles]}, not {kinds[of_particles]}")
    if lengths is not None and not np.array_equal(lengths, counts):
        event = int(np.argmax(lengths != counts))
        fail(f"has {lengths[event]} numbers for {counts[event]} particles", event)
    if values.dtype.kind not in "fiub":
        fail("has no numbers")
    field = name.removeprefix(PART)
    kind = PARTICLE_FIELDS.get(field) if of_particles else EVENT_FIELDS.get(field)
    if kind is np.int32 and values.dtype != np.int32:
        limits = np.iinfo(np.int32)
        good = (values >= limits.min) & (values <= limits.max)
        if values.dtype.kind == "f":
            good &= np.where(good, values, 0.0) == np.trunc(np.where(good, values, 0.0))
        if not good.all():
            row = int(np.argmin(good))
            event = int(np.searchsorted(np.cumsum(counts), row, "right")) if of_particles else row
            fail(f"is {values[row]}, which is not a 32-bit integer", event)
    return values


class LazyColumns(Mapping[str, NDArray[Any]]):
    """Columns that are read from a file on first use.

    Parameters
    ----------
    names
        Name of each column in the file.
    load
        Reads a column by its name in the file.

    Examples
    --------
    >>> columns = LazyColumns({"px": "exact_px"}, lambda name: np.array([len(name)]))
    >>> columns["px"], "exact_px" in columns
    (array([8]), False)
    """

    def __init__(self, names: Mapping[str, str], load: Callable[[str], NDArray[Any]]) -> None:
        self._names = dict(names)
        self._load = load
        self._read: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._read:
            self._read[name] = self._load(self._names[name])
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def from_branches(
    branches: Iterable[str],
    weights: Mapping[str, str],
    load: Callable[[str], tuple[NDArray[np.int64] | None, NDArray[Any]]],
    counts: NDArray[np.int64],
    *,
    source: str,
    first: int,
    relative: frozenset[str] = frozenset(),
) -> EventColumns:
    """Convert the columns of a file to the event record; the inverse of :func:`to_branches`.

    NanoAOD files from other programs lack some columns.  For these files, momenta are computed from
    ``pt``, ``eta``, ``phi`` and ``mass`` in single precision, mothers are mostly missing, and the
    process id is 0.

    Parameters
    ----------
    branches
        Branches to read.
    weights
        Weight id of each weight branch, or of each number in a branch (``LHEPdfWeight[3]``).
    relative
        Weights that are relative to the weight of the event; they are multiplied by this weight.
    load
        Function that reads a branch and returns two items: the length of the list of each event,
        shape (n_events,), and an array of all numbers.  The first item is None if the branch has
        one number for each event.
    counts
        Number of particles of each event.
    source, first
        Name of the file, and number of the first of these events in the file, for messages.

    Raises
    ------
    SampleError
        If a column has wrong lengths, does not consist of numbers, or has fractions instead of
        integers.  The error is raised when the column is read.
    """

    def column(name: str) -> NDArray[Any]:
        lengths, values = load(name)
        return _require_numbers(name, lengths, values, counts, source, first)

    sizes = Counter(e.branch for e in map(WeightEntry.parse, weights) if e is not None)

    @functools.cache
    def vector(branch: str) -> FloatArray:
        numbers = first + np.arange(len(counts))
        return vector_weights(branch, *load(branch), sizes[branch], source=source, numbers=numbers)

    def weight(name: str) -> NDArray[Any]:
        entry = WeightEntry.parse(name)
        values = column(name) if entry is None else vector(entry.branch)[:, entry.position]
        # The product of two numbers in single precision is exact: dividing gives them back.
        return (
            np.multiply(values, event["genWeight"], dtype=np.float64)
            if name in relative
            else values
        )

    names = set(branches)
    event: Mapping[str, NDArray[Any]]
    event = LazyColumns({name: name for name in EVENT_FIELDS if name in names}, column)
    particles: Mapping[str, NDArray[Any]]
    if PART + "exact_px" in names:
        stored = {name: PART + _EXACT.get(name, name) for name in PARTICLE_FIELDS}
        particles = LazyColumns({k: v for k, v in stored.items() if v in names}, column)
    else:
        nanoaod = {name.removeprefix(PART): column(name) for name in names if name.startswith(PART)}
        particles = _from_nanoaod(nanoaod)
        event = {"LHE_processId": np.zeros(len(counts), dtype=np.int32), **event}
    return EventColumns(
        counts, particles, event, LazyColumns({key: name for name, key in weights.items()}, weight)
    )


def _from_nanoaod(particles: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in particles.items()}
    pt, eta, phi, mass = (columns[name] for name in ("pt", "eta", "phi", "mass"))
    px, py = pt * np.cos(phi), pt * np.sin(phi)
    pz = pt * np.sinh(eta)
    if "incomingpz" in columns:
        pz = np.where(columns["incomingpz"] == 0, pz, columns["incomingpz"])
    momentum = (px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2))
    none = np.full(len(pt), -1, dtype=np.int32)
    mothers = {
        name: np.asarray(particles.get(index, none), dtype=np.int32) + np.int32(1)
        for name, index in _MOTHERS.items()
    }
    tags = {name: particles[name] for name in ("pdgId", "status", "spin") if name in particles}
    return {**dict(zip(_EXACT, momentum, strict=True)), "mass": mass, **mothers, **tags}


def needed_branches(available: Iterable[str], weights: Mapping[str, str], source: str) -> list[str]:
    """List the branches to read for an event record.

    Raises
    ------
    SampleError
        If branches are missing; the message names the file and the branches.

    Examples
    --------
    >>> needed_branches(["x", "genWeight"], {}, "a.root")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.SampleError: a.root: the branches LHEPart_exact_px, ... are missing, ...
    """
    names = set(available)
    nanoaod = [PART + name for name in _NANOAOD] + ["genWeight"]
    branches_of_weights = list(dict.fromkeys(weight_branch(name) for name in weights))
    if PART + "exact_px" not in names and names.issuperset(nanoaod):
        others = [PART + name for name in ("incomingpz", "spin", *_MOTHERS.values())]
        others += EVENT_FIELDS
        return list(
            dict.fromkeys([*nanoaod, *(n for n in others if n in names), *branches_of_weights])
        )
    needed = [PART + name for name in _NEEDED] + ["genWeight", "LHE_processId", *weights]
    missing = [name for name in needed if name not in names]
    hint = objects_hint(names)
    lacks_weight = names.issuperset(nanoaod[:-1]) and "genWeight" not in names
    if lacks_weight and not hint:
        msg = (
            f"{source}: no generator events can be read, because there is no genWeight; keep this "
            "branch when skimming events"
        )
        raise SampleError(msg)
    if missing and hint:
        fields = [name for name in _NANOAOD if PART + name not in names]
        problem = "it has no LHEPart, the particles of the hard process"
        if len(fields) < len(_NANOAOD):
            problem = f"its LHEPart have no {', '.join(fields)}, as in older NanoAOD"
        if not fields:
            problem = "it has no genWeight"
        msg = f"{source}: no generator events can be read, because {problem}; {hint}"
        raise SampleError(msg)
    if missing:
        msg = (
            f"{source}: the branches {shortened(missing, 10)} are missing, so this file has no "
            "event records written by milinfer; read its reconstructed objects or features "
            "instead, or convert the LHE file"
        )
        raise SampleError(msg)
    branches = [PART + _EXACT.get(name, name) for name in PARTICLE_FIELDS] + [
        *EVENT_FIELDS,
        *branches_of_weights,
    ]
    return [name for name in branches if name in names]


def weight_branch(weight: str) -> str:
    """Return the branch from which a weight is read; a branch may contain several weights.

    Examples
    --------
    >>> weight_branch("LHEWeight_sm"), weight_branch("PSWeight[0]")
    ('LHEWeight_sm', 'PSWeight')
    """
    entry = WeightEntry.parse(weight)
    return weight if entry is None else entry.branch


def left_out(
    available: Iterable[str], branches: Sequence[str], *, is_ours: bool
) -> tuple[str, ...]:
    """List the branches of a file that are not part of the event record.

    Branches that only contain the lengths of lists, such as ``nMuon``, are not listed.

    Parameters
    ----------
    available
        Branches of the file.
    branches
        Branches that are read.
    is_ours
        Whether milinfer wrote the file.  If so, the branches of event numbers, pT, η, φ and
        incoming momenta are not listed, because milinfer computed them from the record.

    Examples
    --------
    >>> left_out(["nMuon", "Muon_pt", "genWeight"], ["genWeight"], is_ours=False)
    ('Muon_pt',)
    """
    names = list(available)
    known = {*branches, *(PART + name for name in ("pt", "eta", "phi", "incomingpz") if is_ours)}
    known |= {"run", "luminosityBlock", "event"} if is_ours else set()
    # Branches with the lengths of lists, and uproot's names for columns of lists in an RNTuple.
    known |= {f"n{name.partition('_')[0]}" for name in names} | {f"n{name}" for name in names}
    return tuple(name for name in names if name not in known and not name.startswith("_collection"))
