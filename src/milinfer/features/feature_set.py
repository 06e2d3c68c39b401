"""Compute named kinematic columns (features) of events, such as the set ``"vbf_2l2j"``.

A :class:`FeatureSet` is an ordered mapping from column names to functions of the leading objects of
an event.  It takes scikit-hep or coffea vectors, as jagged arrays or as one array for each leading
object; the arrays may be eager or virtual.  It computes about a million events per second.  The
result is a :class:`FeatureTable`, which coffea can accumulate.  :func:`check_event_counts` checks
that events read = events kept + events rejected.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import ArrayLike, NDArray

from milinfer.exceptions import FeatureError, SampleError
from milinfer.features.columns import (
    JETS,
    LEPTONS,
    Column,
    vbf_2l2j_columns,
    vbf_2l2j_invariant_columns,
)
from milinfer.features.event_weights import event_weights
from milinfer.features.momenta import Particles
from milinfer.features.objects import Collection, Objects, missing_momentum
from milinfer.features.visibility import UNKNOWN, VISIBLE, visibility
from milinfer.io.event_record.record import EventColumns
from milinfer.typing import AwkwardArray, BoolArray, Float32Array, FloatArray, IntArray
from milinfer.utils.arguments import short_repr
from milinfer.utils.display import shortened

__all__ = [
    "FeatureSet",
    "FeatureTable",
    "check_event_counts",
    "feature_set",
    "join_cutflows",
    "side_by_side",
    "weight_sums",
]


OnMissing: TypeAlias = Literal["raise", "reject"]


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Named features (kinematic columns), each a function of the leading objects of an event.

    Call it with arrays of objects to compute the features of events.

    Parameters
    ----------
    name
        Name of the set.
    columns
        Mapping from the name of each column, in order, to a function.  The function gets the
        leading objects (:class:`Objects`) and returns one value for each event.
    collections
        The kinds of object, and how many of each kind an event must have.  To compute features,
        call the feature set with one array for each kind, in this order.
    selector
        Function that :meth:`from_lhe` calls to select the objects.  It takes the events and returns
        a mapping from the name of each collection to its objects.  Default: the final-state
        particles with the ``pdg_ids`` of each collection.
    invisible, visible
        Absolute PDG ids of final-state particles that escape the detector (`invisible`) or are
        measured (`visible`).  They are added to the standard lists of
        :mod:`milinfer.features.visibility`.

    Raises
    ------
    FeatureError
        If there are no columns, or an id is both visible and invisible.

    Examples
    --------
    Define a set of two features of the two leading jets, and compute it for one event:

    >>> import awkward as ak
    >>> jets = ak.Array([[{"px": 30.0, "py": 0.0, "pz": 40.0, "mass": 0.0},
    ...                   {"px": -60.0, "py": 0.0, "pz": -80.0, "mass": 0.0}]])
    >>> dijet = FeatureSet(
    ...     "dijet",
    ...     {"m_jj": lambda o: o.jj.mass, "ht": lambda o: o.j0.pt + o.j1.pt},
    ...     collections=(Collection("jets", "j", 2),),
    ... )
    >>> table = dijet(jets)
    >>> table.names, table.array.round(3)
    (('m_jj', 'ht'), array([[141.421,  90.   ]], dtype=float32))
    """

    name: str
    columns: Mapping[str, Column]
    collections: tuple[Collection, ...] = (LEPTONS, JETS)
    selector: Callable[[AwkwardArray], Mapping[str, AwkwardArray]] | None = None
    invisible: frozenset[int] = frozenset()
    visible: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", dict(self.columns))
        object.__setattr__(self, "collections", tuple(self.collections))
        for name in ("invisible", "visible"):
            object.__setattr__(self, name, _absolute_ids(getattr(self, name), name))
        both = sorted(self.invisible & self.visible)
        if both:
            msg = f"{self.name}: the PDG ids {both} are both visible and invisible; choose one"
            raise FeatureError(msg)
        if not self.columns:
            msg = f"feature set {self.name!r} has no columns; give at least one"
            raise FeatureError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{c.count} {c.name}" for c in self.collections)
        return f"FeatureSet({self.name!r}, {len(self)} columns of {kinds})"

    def with_columns(self, **columns: Column) -> FeatureSet:
        """Add columns, or replace columns with the same name.

        Examples
        --------
        >>> more = feature_set("vbf_2l2j").with_columns(ht=lambda o: o.q0.pt + o.q1.pt)
        >>> len(more), more.names[-1]
        (37, 'ht')
        """
        return dataclasses.replace(
            self,
            name=f"{self.name}+{'+'.join(columns)}",
            columns={**self.columns, **columns},
        )

    def with_visibility(
        self, invisible: Iterable[int] = (), visible: Iterable[int] = ()
    ) -> FeatureSet:
        """Add PDG ids of particles that escape the detector, and of particles that are measured.

        Examples
        --------
        >>> feature_set("vbf_2l2j").with_visibility(invisible=[9000005]).invisible
        frozenset({9000005})
        """
        named = (_absolute_ids(ids, "ids") for ids in (invisible, visible))
        hidden, seen = named
        if not hidden and not seen:
            return self
        return dataclasses.replace(
            self,
            invisible=(self.invisible - seen) | hidden,
            visible=(self.visible - hidden) | seen,
        )

    def select(self, names: Sequence[str]) -> FeatureSet:
        """Select columns, in the given order.

        Raises
        ------
        FeatureError
            If there is no such column.

        Examples
        --------
        >>> feature_set("vbf_2l2j").select(["m_ll", "d_phi_qq"]).names
        ('m_ll', 'd_phi_qq')
        """
        given: object = names
        texts = isinstance(given, Iterable) and not isinstance(given, str)
        if not texts or not all(isinstance(name, str) for name in names):
            msg = (
                f"{self.name}: {short_repr(given)} is not a list of names of columns; give some of "
                f"{shortened(self.names)}"
            )
            raise FeatureError(msg)
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            msg = f"{self.name} has no columns {shortened(unknown)}; it has {', '.join(self.names)}"
            raise FeatureError(msg)
        return dataclasses.replace(
            self,
            name=f"{self.name}[{','.join(names)}]",
            columns={name: self.columns[name] for name in names},
        )

    def __call__(
        self,
        *objects: AwkwardArray,
        on_missing: OnMissing = "raise",
        source: str | None = None,
        first_event: int | IntArray = 0,
    ) -> FeatureTable:
        """Compute the columns.

        Parameters
        ----------
        objects
            One array of momenta for each collection (for ``vbf_2l2j``: leptons, jets), of shape
            (n_events, var): scikit-hep or coffea vectors in GeV, or a tuple of one-dimensional
            arrays, one for each leading object.  If an event has more objects than needed, those of
            highest pT are used.  One more argument can follow for the missing transverse momentum:
            a record with ``pt, phi`` or ``px, py``, or a record of the events.  From a record of
            the events, ``MET``, ``PuppiMET`` or ``PFMET`` is read; if there is none, the missing
            momentum is minus the sum of the visible particles of ``LHEPart``.  Without this
            argument, it is minus the sum of all given momenta.
        on_missing
            What to do with events that lack the needed particles or have momenta that are not
            finite: ``"raise"`` an error, or ``"reject"`` the events.  Rejected events have no row;
            ``table.kept`` marks the other events and ``table.rejected`` counts the rejected events.
        source, first_event
            Name of the file, and the number that the first event has in it (or the numbers of all
            events), for messages.

        Returns
        -------
        FeatureTable
            One row for each event that is kept.

        Raises
        ------
        FeatureError
            If an event lacks the particles that the features need, or the momenta are unusable.
        """
        n = len(self.collections)
        if len(objects) not in (n, n + 1):
            names = ", ".join(c.name for c in self.collections)
            msg = (
                f"{self.name} takes {names} and optionally the missing momentum or the events, "
                f"not {len(objects)} arguments"
            )
            raise FeatureError(msg)
        missing = [i for i, o in enumerate(objects) if o is None]
        if missing:
            what = [*(c.name for c in self.collections), "the missing momentum"][missing[0]]
            msg = f"{self.name}: {what} is None; give " + (
                "a record of pt and phi or the events; or omit it to use minus the sum of the "
                "given momenta"
                if missing[0] == n
                else "an array of momenta"
            )
            raise FeatureError(msg)
        particles = [Particles(o, c.name) for o, c in zip(objects, self.collections, strict=False)]
        if len({len(p) for p in particles}) > 1:
            lengths = ", ".join(f"{len(p)} of {p.name}" for p in particles)
            msg = f"the objects belong to different numbers of events: {lengths}"
            raise FeatureError(msg)
        events = objects[n] if len(objects) > n else None

        def visible_of(array: AwkwardArray) -> Particles:
            return self._visible(Particles(array, "LHEPart"), source, first_event)

        met = missing_momentum(particles, events, visible_of)
        if any(len(axis) != len(particles[0]) for axis in met):
            msg = f"MET has {len(met[0])} events, the objects have {len(particles[0])}"
            raise FeatureError(msg)
        return self._table(particles, met, on_missing, source, first_event)

    def from_lhe(
        self,
        events: AwkwardArray,
        *,
        on_missing: OnMissing = "raise",
        source: str | None = None,
        first_event: int | IntArray = 0,
    ) -> FeatureTable:
        """Compute the columns from the final-state particles of ``events.LHEPart``.

        Leptons are e, μ, τ; jets are gluons and the quarks d, u, s, c, b.  Hadrons, photons, and
        all particles with charge or colour are visible; see :mod:`milinfer.features.visibility`.
        Parameters and errors are the same as for a call of the feature set.
        """
        if "LHEPart" not in ak.fields(events):
            msg = (
                f"{source or 'these events'} have no LHEPart, only "
                f"{shortened(ak.fields(events)) or 'no fields'}; give the objects explicitly"
            )
            raise FeatureError(msg)
        if self.selector is not None:
            chosen = self.selector(events)
            return self(
                *(chosen[c.name] for c in self.collections),
                events,
                on_missing=on_missing,
                source=source,
                first_event=first_event,
            )
        parts = Particles(events["LHEPart"], "LHEPart")
        return self._from_generator(parts, on_missing, source, first_event)

    def from_columns(
        self,
        columns: EventColumns,
        *,
        on_missing: OnMissing = "raise",
        source: str | None = None,
        first_event: int | IntArray = 0,
    ) -> FeatureTable:
        """Compute features from flat columns; faster than :meth:`from_lhe`, with equal results.

        Examples
        --------
        >>> from milinfer.io.event_record.record import EventColumns
        >>> momenta = {"px": np.array([3.0]), "py": np.array([4.0]), "pz": np.zeros(1)}
        >>> tags = {"mass": np.zeros(1), "pdgId": np.array([11]), "status": np.array([1])}
        >>> events = EventColumns(np.array([1]), {**momenta, **tags}, {}, {})
        >>> one = Collection("leptons", "l", 1, frozenset({11}))
        >>> pt = FeatureSet("pt", {"pt": lambda o: o.get("l0", "pt")}, (one,))
        >>> pt.from_columns(events).array
        array([[5.]], dtype=float32)
        """
        if self.selector is not None:
            return self.from_lhe(
                columns.record(), on_missing=on_missing, source=source, first_event=first_event
            )
        parts = Particles.from_columns(columns.counts, columns.particles, "LHEPart")
        return self._from_generator(parts, on_missing, source, first_event)

    def _from_generator(
        self,
        parts: Particles,
        on_missing: OnMissing,
        source: str | None,
        first_event: int | IntArray,
    ) -> FeatureTable:
        visible = self._visible(parts, source, first_event)
        ids = np.abs(visible.column("pdgId"), dtype=np.int64)
        particles = [visible.subset(_lookup(ids, c.pdg_ids), c.name) for c in self.collections]
        met = missing_momentum([visible], None, lambda _: visible)
        return self._table(particles, met, on_missing, source, first_event)

    def _visible(
        self, parts: Particles, source: str | None, first_event: int | IntArray
    ) -> Particles:
        """Final-state particles that a detector sees."""
        final = parts.column("status") == 1
        ids = np.abs(parts.column("pdgId"), dtype=np.int64)  # −2³¹ has no int32
        states = visibility(ids, self.invisible, self.visible)
        unknown = final & (states == UNKNOWN)
        if unknown.any():
            k = int(np.argmax(unknown))
            event = int(np.searchsorted(parts.offsets, k, side="right")) - 1
            msg = (
                f"event {_event_number(first_event, event)} of {source or 'the events'} has a "
                f"final-state particle with the PDG id {parts.column('pdgId')[k]}, which is not in "
                f"the PDG numbering; give invisible={{{ids[k]}}} if it escapes the detector "
                f"(missing momentum), or visible={{{ids[k]}}} if it is measured"
            )
            raise FeatureError(msg)
        return parts.subset(final & (states == VISIBLE), "LHEPart")

    def _table(
        self,
        particles: Sequence[Particles],
        met: tuple[FloatArray, FloatArray],
        on_missing: OnMissing,
        source: str | None,
        first_event: int | IntArray,
    ) -> FeatureTable:
        given: object = on_missing
        if not (isinstance(given, str) and given in ("raise", "reject")):
            msg = f"on_missing is {short_repr(given)}; it can be 'raise' or 'reject'"
            raise FeatureError(msg)
        if not particles:
            msg = (
                f"{self.name} has no collections of particles, so it cannot be computed from "
                f"{source or 'events'}; give it collections, or read columns with these names"
            )
            raise FeatureError(msg)
        kept = np.ones(len(particles[0]), dtype=np.bool_)
        rejected: dict[str, int] = {}
        checks = [
            (f"fewer than {c.count} {c.name}", p.counts >= c.count)
            for p, c in zip(particles, self.collections, strict=True)
        ]
        finite = np.logical_and.reduce([p.finite_events() for p in particles])
        checks.append(("momenta that are not finite", finite & np.isfinite(met[0] + met[1])))
        for reason, good in checks:
            bad = kept & ~good
            count = int(np.count_nonzero(bad))
            if count and on_missing == "raise":
                place = f" of {source}" if source else ""
                number = _event_number(first_event, int(np.argmax(bad)))
                msg = (
                    f"event {number}{place} has {reason} ({count} of {len(kept)} events) and "
                    f"cannot be used by {self.name}; remove such events in the selection, or "
                    "reject and count them with on_missing='reject'"
                )
                raise FeatureError(msg)
            rejected[reason] = count
            kept &= good
        everything = bool(kept.all())
        by_key, index, sums = {}, {}, {}
        for p, c in zip(particles, self.collections, strict=True):
            chosen = p if everything else p.events(kept)
            leading = chosen.leading(c.count)
            for i, key in enumerate(c.keys):
                by_key[key], index[key] = chosen.at(leading[:, i])
            sums[c.prefix * c.count] = c.keys
        if not everything:
            met = (met[0][kept], met[1][kept])
        objects = Objects(by_key, index, met, {k: v for k, v in sums.items() if v})
        n = int(np.count_nonzero(kept))
        columns = {name: self._evaluate(name, objects, n) for name in self.columns}
        return FeatureTable(columns, kept, {k: v for k, v in rejected.items() if v})

    def _evaluate(self, name: str, objects: Objects, n: int) -> Float32Array:
        try:
            values = self.columns[name](objects)
        except (AttributeError, KeyError) as error:
            msg = f"column {name!r} of {self.name} cannot be computed: {error}"
            raise FeatureError(msg) from error
        column = np.asarray(values).astype(np.float32, copy=False)
        if column.shape != (n,):
            msg = f"column {name!r} of {self.name} has shape {column.shape} for {n} events"
            raise FeatureError(msg)
        return column


def _event_number(first_event: int | IntArray, k: int) -> int:
    """Number of event `k` in the file, from the number of the first event or of all events."""
    return int(first_event[k]) if isinstance(first_event, np.ndarray) else first_event + k


def _absolute_ids(ids: Iterable[Any], name: str) -> frozenset[int]:
    """PDG ids without their signs."""
    numbers = list(ids)
    if not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in numbers):
        msg = f"{name} is {ids!r}; give PDG ids, such as {{1000022, 52}}"
        raise FeatureError(msg)
    return frozenset(abs(int(i)) for i in numbers)


def _lookup(ids: NDArray[Any], absolute_ids: Sequence[int] | frozenset[int]) -> BoolArray:
    table = np.zeros(32, dtype=np.bool_)
    table[list(absolute_ids)] = True
    matches: BoolArray = table[np.minimum(ids, 31)]
    return matches


def _without_flavour(columns: dict[str, Column]) -> dict[str, Column]:
    """Remove the flavour of quarks, which a detector cannot measure."""
    flavours = tuple(f"{key}_id_" for key in JETS.keys)
    return {name: column for name, column in columns.items() if not name.startswith(flavours)}


_SETS: dict[str, Callable[[], dict[str, Column]]] = {
    "vbf_2l2j": vbf_2l2j_columns,
    "vbf_2l2j_invariant": vbf_2l2j_invariant_columns,
    "vbf_2l2j_reco": lambda: _without_flavour(vbf_2l2j_columns()),
    "vbf_2l2j_invariant_reco": lambda: _without_flavour(vbf_2l2j_invariant_columns()),
}


def feature_set(name: str | FeatureSet) -> FeatureSet:
    """Look up a feature set by name; a :class:`FeatureSet` is returned unchanged.

    ``"vbf_2l2j"``: 36 columns of two charged leptons, two jets and missing transverse momentum, in
    GeV and radians; leptons and jets are ordered by pT.  ``"vbf_2l2j_invariant"``: 50 columns of
    the same objects, with logarithms of momenta and masses.  These columns do not change if the
    event is rotated about the beam axis or if the two protons are exchanged.  A network needs fewer
    training events with these columns than with the 36 columns.  ``"vbf_2l2j_reco"`` and
    ``"vbf_2l2j_invariant_reco"`` do not use the flavour of jets, which is not measured in data; use
    them for reconstructed objects.

    Raises
    ------
    FeatureError
        If there is no set with this name.

    Examples
    --------
    >>> feature_set("vbf_2l2j")
    FeatureSet('vbf_2l2j', 36 columns of 2 leptons, 2 jets)
    >>> feature_set("vbf_2l2j").names[:4]
    ('l0_pt', 'l1_pt', 'q0_pt', 'q1_pt')
    >>> len(feature_set("vbf_2l2j_reco"))
    32
    """
    if isinstance(name, FeatureSet):
        return name
    if name not in _SETS:
        msg = f"unknown feature set {name!r}; known: {', '.join(_SETS)}; or give a FeatureSet"
        raise FeatureError(msg)
    return FeatureSet(name, _SETS[name]())


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Table of features, with one row for each kept event.

    A :class:`FeatureSet` computes it.

    Parameters
    ----------
    columns
        Mapping from the name of each column, in order, to a float32 array of shape (n_events,), in
        GeV and radians.
    kept
        Mask of the input events that have a row, shape (n_input,).
    rejected
        Number of input events that have no row, by reason.
    """

    columns: Mapping[str, Float32Array]
    kept: BoolArray
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)

    @property
    def array(self) -> Float32Array:
        """The columns as one array of shape (n_events, n_features), float32."""
        return side_by_side(list(self.columns.values()), len(self))

    def __len__(self) -> int:
        return int(np.count_nonzero(self.kept))

    def weights(self, weights: ArrayLike | AwkwardArray | None) -> FloatArray:
        """Return one weight for each row, given the weights of the rows or of all input events.

        Raises
        ------
        FeatureError
            If the number of weights is neither the number of rows nor the number of input events.
        SampleError
            If an event has no weight, several weights, or a weight that is not finite.
        """
        if weights is None:
            return np.ones(len(self))
        array = event_weights(weights, "the weight")
        if array.shape == self.kept.shape:
            return array if len(self) == len(array) else array[self.kept]
        if array.shape != (len(self),):
            msg = (
                f"weights have the shape {array.shape}; give one for each of the {len(self)} rows "
                f"or of all {len(self.kept)} events"
            )
            raise FeatureError(msg)
        return array

    def accumulate(
        self,
        weights: ArrayLike | AwkwardArray | None = None,
        reweights: Mapping[str, ArrayLike | AwkwardArray] | None = None,
    ) -> dict[str, Any]:
        """Make an accumulator for a coffea processor: columns, weights and sums of weights.

        :meth:`milinfer.Sample.from_accumulator` makes a sample from the accumulator.

        Parameters
        ----------
        weights
            Weights of all input events, or of the rows; default: all 1.
        reweights
            Weights at other parameter points or with other scales, by name.

        Returns
        -------
        dict
            ``columns`` (mapping from name to ``column_accumulator``), ``weight`` (a
            ``column_accumulator``), ``n_events``, ``n_negative``, ``sum_of_weights``,
            ``sum_of_squared_weights``, ``rejected``; with `reweights` also ``reweights``.

        Examples
        --------
        >>> import numpy as np
        >>> table = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))
        >>> output = table.accumulate([1.0, 2.0, -1.0])
        >>> output["n_events"], output["n_negative"], output["sum_of_weights"]
        (3, 1, 2.0)
        """
        from coffea.processor import column_accumulator

        w = self.weights(weights)
        others = {k: column_accumulator(self.weights(v)) for k, v in (reweights or {}).items()}
        return {
            "columns": {name: column_accumulator(c) for name, c in self.columns.items()},
            "weight": column_accumulator(w),
            **weight_sums(w),
            "rejected": dict(self.rejected),
            **({} if reweights is None else {"reweights": others}),
        }


def side_by_side(columns: Sequence[Float32Array], n: int) -> Float32Array:
    """Combine columns of shape (n,) into one array of shape (n, n_columns), float32.

    Examples
    --------
    >>> import numpy as np
    >>> side_by_side([np.zeros(2, np.float32), np.ones(2, np.float32)], 2)
    array([[0., 1.],
           [0., 1.]], dtype=float32)
    """
    array: Float32Array = np.empty((n, len(columns)), dtype=np.float32)
    for start in range(0, n, 8192):  # blocks of rows stay in the cache
        for i, column in enumerate(columns):
            array[start : start + 8192, i] = column[start : start + 8192]
    return array


def weight_sums(weights: FloatArray) -> dict[str, float | int]:
    """Compute counts and sums of weights, which coffea adds up over chunks.

    Examples
    --------
    >>> import numpy as np
    >>> weight_sums(np.array([1.0, -2.0]))["sum_of_squared_weights"]
    5.0
    """
    return {
        "n_events": len(weights),
        "n_negative": int(np.count_nonzero(weights < 0)),
        "sum_of_weights": float(weights.sum()),
        "sum_of_squared_weights": float((weights * weights).sum()),
    }


def join_cutflows(
    cutflows: Sequence[Mapping[str, Mapping[str, float | int]]],
) -> dict[str, dict[str, float | int]]:
    """Add up cut flows exactly, so that the result does not depend on the order of the cut flows.

    Examples
    --------
    >>> import numpy as np
    >>> one = {"all": weight_sums(np.ones(2))}
    >>> join_cutflows([one, one])["all"]["n_events"]
    4
    """
    total: dict[str, dict[str, float | int]] = {}
    for step, sums in cutflows[0].items():
        total[step] = {
            key: math.fsum(c[step][key] for c in cutflows)
            if isinstance(value, float)
            else sum(c[step][key] for c in cutflows)
            for key, value in sums.items()
        }
    return total


def check_event_counts(n_in: int, n_out: int, rejected: Mapping[str, int], source: str) -> str:
    """Check that events read = events kept + events rejected, and return these numbers as text.

    Parameters
    ----------
    n_in, n_out
        Events read, and events in the result.
    rejected
        Numbers of rejected events by reason.
    source
        Origin of the events, for messages.

    Raises
    ------
    SampleError
        If the numbers do not add up.

    Examples
    --------
    >>> check_event_counts(5, 3, {"fewer than 2 jets": 2}, "a.lhe")
    '5 events in, 3 out, 2 rejected (fewer than 2 jets: 2)'
    >>> check_event_counts(5, 4, {}, "a.lhe")
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: a.lhe: 5 events in, but 4 out and 0 rejected; ...
    """
    lost = sum(rejected.values())
    if n_out + lost != n_in:
        msg = f"{source}: {n_in} events in, but {n_out} out and {lost} rejected; please report this"
        raise SampleError(msg)
    reasons = ", ".join(f"{reason}: {n}" for reason, n in rejected.items() if n)
    return f"{n_in} events in, {n_out} out, {lost} rejected" + (f" ({reasons})" if reasons else "")
