"""Vary the objects or the weights of events before features are computed.

A variation describes how events change if nuisance parameters are shifted.
:class:`ScaleVariation` scales the momenta of particles, :class:`FunctionVariation` calls a function
of the user, and :class:`WeightVariation` changes the weights of events.  :func:`up_and_down` makes
the variations of a nuisance parameter at +1 and −1.  :meth:`milinfer.ProcessVariations.from_file`
reads event files with these variations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Final, TypeAlias, TypeVar

import awkward as ak
import numpy as np

from milinfer.exceptions import FeatureError, MilinferError, SampleError
from milinfer.features.columns import JETS, LEPTONS
from milinfer.features.event_weights import event_weights
from milinfer.features.feature_set import FeatureSet, FeatureTable, OnMissing
from milinfer.io.event_record.record import MOMENTUM_FIELDS, EventColumns
from milinfer.typing import AwkwardArray, FloatArray, Point
from milinfer.utils.arguments import short_repr
from milinfer.utils.display import shortened
from milinfer.utils.keywords import did_you_mean, require_keywords
from milinfer.utils.points import format_point, shifts_of

__all__ = [
    "EventVariation",
    "FunctionVariation",
    "ScaleVariation",
    "WeightVariation",
    "require_one_meaning",
    "up_and_down",
    "varied_table",
    "varied_weights",
]

OBJECTS: Final[Mapping[str, frozenset[int]]] = {
    LEPTONS.name: LEPTONS.pdg_ids,
    JETS.name: JETS.pdg_ids,
    "photons": frozenset({22}),
    "electrons": frozenset({11}),
    "muons": frozenset({13}),
    "taus": frozenset({15}),
}
"""Absolute PDG ids of the objects that can be scaled by name."""


def _set_shifts(variation: EventVariation) -> None:
    label = type(variation).__name__
    object.__setattr__(variation, "nuisances", shifts_of(variation.nuisances, label))


@dataclass(frozen=True)
class ScaleVariation:
    """Variation that scales the four-momenta of some particles of the event record.

    Energy, momentum and mass of the chosen final-state particles are multiplied by a factor.
    Features are then computed as usual, so that objects are ordered and selected again.  The
    missing momentum changes accordingly, because for generated events it is minus the sum of the
    visible particles.

    Parameters
    ----------
    nuisances
        Values of the shifted nuisance parameters, ``{"jes": 1.0}``.
    factor
        Factor on energy, momentum and mass; positive and different from 1.
    objects
        Particles to scale: ``"jets"``, ``"leptons"``, ``"photons"``, ``"electrons"``, ``"muons"``,
        ``"taus"``, the name of a collection of the feature set, or absolute PDG ids.

    Raises
    ------
    SampleError
        If the factor is not positive or is one, or if `objects` is not a name or a list of ids.

    Examples
    --------
    >>> ScaleVariation({"jes": 1.0}, 1.03, objects="jets")
    ScaleVariation(nuisances={'jes': 1.0}, factor=1.03, objects='jets')
    """

    nuisances: Point
    factor: float
    objects: str | Collection[int] = "jets"

    def __post_init__(self) -> None:
        _set_shifts(self)
        try:
            factor = math.nan if isinstance(self.factor, str | bool) else float(self.factor)
        except (OverflowError, TypeError, ValueError):
            factor = math.nan
        if not 0 < factor < math.inf or factor == 1:
            msg = (
                f"{format_point(self.nuisances)}: the factor {self.factor!r} must be positive and "
                "different from 1; give a number such as 1.03"
            )
            raise SampleError(msg)
        given: object = self.objects
        if isinstance(given, str):
            return
        if not isinstance(given, Collection) or not all(isinstance(i, Integral) for i in given):
            msg = (
                f"{format_point(self.nuisances)}: objects={given!r} is neither a name such as "
                "'jets' nor a list of PDG ids"
            )
            raise SampleError(msg)

    def pdg_ids(self, features: FeatureSet) -> frozenset[int]:
        """Return the absolute PDG ids of the particles that are scaled.

        Raises
        ------
        SampleError
            If there are no objects of this name.
        """
        if not isinstance(self.objects, str):
            return frozenset(abs(int(i)) for i in self.objects)
        known = {**OBJECTS, **{c.name: c.pdg_ids for c in features.collections}}
        if not known.get(self.objects):
            msg = (
                f"{format_point(self.nuisances)}: there are no objects {self.objects!r} to scale; "
                f"the objects are {', '.join(n for n, ids in known.items() if ids)}, or give PDG "
                "ids"
            )
            raise SampleError(msg + did_you_mean(self.objects, known))
        return known[self.objects]

    def columns(self, columns: EventColumns, features: FeatureSet) -> tuple[EventColumns, int]:
        """Return events with scaled particles, and the number of scaled particles.

        Examples
        --------
        >>> from milinfer.features.feature_set import feature_set
        >>> part = {"px": [3.0], "py": [4.0], "pz": [0.0], "energy": [5.0], "mass": [0.0],
        ...         "pdgId": [21], "status": [1]}
        >>> events = EventColumns(np.array([1]), {k: np.array(v) for k, v in part.items()}, {}, {})
        >>> scaled, n = ScaleVariation({"jes": 1}, 1.1).columns(events, feature_set("vbf_2l2j"))
        >>> scaled.particles["energy"], n
        (array([5.5]), 1)
        """
        particles = columns.particles
        ids = list(self.pdg_ids(features))
        # int64, because the absolute value of −2³¹ has no int32
        chosen = np.isin(np.abs(particles["pdgId"], dtype=np.int64), ids)
        chosen &= particles["status"] == 1
        factors = np.where(chosen, self.factor, 1.0)
        scaled = {name: particles[name] * factors for name in MOMENTUM_FIELDS}
        changed = columns._replace(particles={**particles, **scaled})
        return changed, int(np.count_nonzero(chosen))


@dataclass(frozen=True)
class FunctionVariation:
    """Variation that changes events by a function, such as a resolution or a correction.

    Parameters
    ----------
    nuisances
        Values of the shifted nuisance parameters, ``{"jer": 1.0}``.
    function
        Function that takes events and returns the same events in the same order with changed
        particles.  The events are awkward records with ``events.LHEPart`` (with the methods of
        vectors), ``events.genWeight`` and ``events.event`` (the number of the event in its file,
        counted from 0).  Random numbers should be computed from ``events.event``, so that they do
        not depend on the division of a file into chunks.

    Notes
    -----
    The missing momentum changes accordingly, because it is minus the sum of the visible particles.
    Change the fields of the records (``px, py, pz, energy, mass``), or replace ``LHEPart`` by other
    records with ``pdgId`` and ``status``.

    Examples
    --------
    >>> def without_soft(events):
    ...     return ak.with_field(events, events.LHEPart[events.LHEPart.pt > 5], "LHEPart")
    >>> FunctionVariation({"threshold": 1.0}, without_soft).nuisances
    {'threshold': 1.0}
    """

    nuisances: Point
    function: Callable[[AwkwardArray], AwkwardArray]

    def __post_init__(self) -> None:
        _set_shifts(self)
        given: object = self.function
        if not callable(given):
            msg = (
                f"{format_point(self.nuisances)}: {given!r} is not a function; give a function "
                "that takes events and returns changed events"
            )
            raise SampleError(msg)

    def events(self, columns: EventColumns, first_event: int) -> AwkwardArray:
        """Return the changed events.

        Raises
        ------
        SampleError
            If the function does not return the same events.
        """
        record = _record(columns, first_event)
        changed = self.function(record)
        if not isinstance(changed, ak.Array) or not ak.fields(changed):
            msg = f"the function returns a {type(changed).__name__}; return the changed events"
            raise SampleError(msg)
        if len(changed) != len(record):
            msg = (
                f"the function returns {len(changed)} of {len(record)} events; return all events, "
                "and let the feature set reject events"
            )
            raise SampleError(msg)
        for name in ("event", "genWeight", "LHE_processId"):
            if name not in ak.fields(changed):
                msg = f"the function returns events without {name}; return all fields of the events"
                raise SampleError(msg)
            differ = ak.to_numpy(changed[name]) != ak.to_numpy(record[name])
            if differ.any():
                msg = (
                    f"the function changes {name} of event {first_event + int(np.argmax(differ))}; "
                    "return the same events in the same order, and change weights with "
                    "WeightVariation"
                )
                raise SampleError(msg)
        return changed


@dataclass(frozen=True)
class WeightVariation:
    """Variation that changes the weights of events, but not their particles.

    Parameters
    ----------
    nuisances
        Values of the shifted nuisance parameters, ``{"muR": 1.0}``.
    weight
        Name of a weight in the file (the id in an LHE file, ``"LHEScaleWeight[7]"`` in NanoAOD),
        its position among the weights (from 0), or a function.  The function takes events, as in
        :class:`FunctionVariation`, and returns for each event the factor on its weight.

    Examples
    --------
    >>> WeightVariation({"muR": 1.0}, "1002")
    WeightVariation(nuisances={'muR': 1.0}, weight='1002')
    """

    nuisances: Point
    weight: str | int | Callable[[AwkwardArray], Any]

    def __post_init__(self) -> None:
        _set_shifts(self)

    def weights(self, columns: EventColumns, source: str, first_event: int) -> FloatArray:
        """Return the varied weights of all events, shape (n_events,).

        Raises
        ------
        SampleError
            If there is no such weight, or it is missing or not finite in an event.
        """
        if callable(self.weight):
            factors = event_weights(
                self.weight(_record(columns, first_event)),
                "the factor that the function returns",
                source,
                first_event=first_event,
            )
            if factors.shape != columns.counts.shape:
                msg = (
                    f"the function returns {len(factors)} factors for {len(columns.counts)} "
                    "events; return one for each event"
                )
                raise SampleError(msg)
            nominal = columns.event["genWeight"]
            return event_weights(nominal, "genWeight", source, first_event=first_event) * factors
        name = self.named(list(columns.weights))
        return event_weights(
            columns.weights[name], f"the weight {name!r}", source, first_event=first_event
        )

    def named(self, names: Sequence[str]) -> str:
        """Return the name of the weight, given the names of all weights of the events.

        Raises
        ------
        SampleError
            If there is no such weight; the message lists the weights.

        Examples
        --------
        >>> WeightVariation({"muR": 1.0}, 1).named(["1001", "1002"])
        '1002'
        """
        weight = self.weight
        there = f"there are {shortened(names)}" if names else "the events have no other weights"
        if isinstance(weight, str):
            if weight not in names:
                msg = f"there is no weight {weight!r}; {there}{did_you_mean(weight, names)}"
                raise SampleError(msg)
            return weight
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight < len(names):
            msg = f"there is no weight {weight!r}, counted from 0; {there}"
            raise SampleError(msg)
        return names[weight]


EventVariation: TypeAlias = ScaleVariation | FunctionVariation | WeightVariation
"""Variations of the events of a file."""

_Kind = TypeVar("_Kind", ScaleVariation, FunctionVariation, WeightVariation)


def up_and_down(
    kind: type[_Kind], name: str, up: Any, down: Any, **options: Any
) -> tuple[_Kind, _Kind]:
    """Make the variations of one nuisance parameter at +1 and −1.

    Parameters
    ----------
    kind
        :class:`ScaleVariation`, :class:`FunctionVariation` or :class:`WeightVariation`.
    name
        Name of the nuisance parameter.
    up, down
        Factor, function or weight at +1 and at −1, as `kind` takes it.
    options
        Further arguments of `kind`, such as ``objects="jets"``.

    Returns
    -------
    tuple
        The variation up and the variation down.

    Raises
    ------
    SampleError
        If `up` or `down` is None, both are the same, or `kind` is not a kind of variation.
    ConfigurationError
        If there is no such option.

    Examples
    --------
    >>> [v.factor for v in up_and_down(ScaleVariation, "jes", 1.03, 0.97, objects="jets")]
    [1.03, 0.97]
    >>> up_and_down(WeightVariation, "muR", "LHEScaleWeight[7]", "LHEScaleWeight[1]")[1]
    WeightVariation(nuisances={'muR': -1.0}, weight='LHEScaleWeight[1]')
    """
    if up is None or down is None:
        msg = f"{name}: the {'up' if up is None else 'down'} variation is None; give both sides"
        raise SampleError(msg)
    if up is down or (type(up) is type(down) and not callable(up) and up == down):
        msg = f"{name}: up and down are both {up!r}; give two different variations"
        raise SampleError(msg)
    given: object = kind
    if not any(given is k for k in (ScaleVariation, FunctionVariation, WeightVariation)):
        msg = (
            "up_and_down() makes a ScaleVariation, FunctionVariation or WeightVariation, not "
            f"{short_repr(given)}; give one of these, as in "
            "up_and_down(ScaleVariation, 'jes', 1.03, 0.97)"
        )
        raise SampleError(msg)
    own: object = name
    if not isinstance(own, str):
        msg = f"up_and_down(): {short_repr(own)} is not a name of a nuisance parameter; give a text"
        raise SampleError(msg)
    require_keywords(options, kind, f"{kind.__name__}()")
    make: Callable[..., _Kind] = kind
    return make({name: 1.0}, up, **options), make({name: -1.0}, down, **options)


def require_one_meaning(variations: Iterable[EventVariation]) -> None:
    """Raise if two variations of a nuisance parameter differ in kind or in the scaled objects.

    Raises
    ------
    SampleError
        If two variations differ; the message names the nuisance parameter and describes both.

    Examples
    --------
    >>> require_one_meaning(
    ...     [ScaleVariation({"s": 1}, 1.1, "jets"), ScaleVariation({"s": -1}, 0.9, "photons")])
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: the nuisance parameter s is a scale of jets and a scale of ...
    """
    meanings: dict[str, str] = {}
    for variation in variations:
        given: object = variation
        if not isinstance(given, ScaleVariation | FunctionVariation | WeightVariation):
            star = isinstance(given, Sequence) and not isinstance(given, str)
            msg = (
                f"variations= has a {type(given).__name__}, which is not a variation; give a list, "
                + ("as [*up_and_down(...), *up_and_down(...)]" if star else "[variation, ...]")
            )
            raise SampleError(msg)
        if len(variation.nuisances) > 1:
            continue  # several nuisance parameters shifted together: no meaning of a single one
        meaning = {
            ScaleVariation: "a scale of",
            FunctionVariation: "a function of events",
            WeightVariation: "a weight",
        }[type(variation)]
        if isinstance(variation, ScaleVariation):
            objects = variation.objects
            meaning += f" {objects if isinstance(objects, str) else sorted(objects)}"
        for name in variation.nuisances:
            before = meanings.setdefault(name, meaning)
            if before != meaning:
                msg = (
                    f"the nuisance parameter {name} is {before} and {meaning}; give each a "
                    "different name, or combine both in one FunctionVariation"
                )
                raise SampleError(msg)


def varied_table(
    variation: ScaleVariation | FunctionVariation,
    columns: EventColumns,
    features: FeatureSet,
    *,
    on_missing: OnMissing,
    source: str,
    first_event: int,
) -> tuple[FeatureTable, int]:
    """Compute the features of varied events, and count the particles that were scaled.

    For a :class:`FunctionVariation` the number of particles is unknown; −1 is returned in its
    place.

    Raises
    ------
    MilinferError
        If the events lack what the features need, or a feature is not finite; the message names the
        file, the event and the variation.
    """
    options: dict[str, Any] = {
        "on_missing": on_missing,
        "source": source,
        "first_event": first_event,
    }
    with _named(variation, source):
        if isinstance(variation, ScaleVariation):
            changed, n = variation.columns(columns, features)
            table = features.from_columns(changed, **options)
        else:
            table = features.from_lhe(variation.events(columns, first_event), **options)
            n = -1
        require_finite(table, first_event)
    return table, n


def varied_weights(
    variation: WeightVariation, columns: EventColumns, source: str, first_event: int
) -> FloatArray:
    """Return the varied weights of all events; errors name the file and the variation.

    Raises
    ------
    SampleError
        If there is no such weight, or it is missing or not finite in an event.
    """
    with _named(variation, source):
        return variation.weights(columns, source, first_event)


def require_finite(table: FeatureTable, first_event: int = 0) -> None:
    """Raise if a feature of a kept event is not finite.

    Raises
    ------
    FeatureError
        The message names the feature and the event.

    Examples
    --------
    >>> require_finite(FeatureTable({"x": np.array([np.nan], "f4")}, np.array([False, True])))
    Traceback (most recent call last):
    milinfer.exceptions.FeatureError: the feature 'x' is nan in event 1 (counted from 0); ...
    """
    for name, column in table.columns.items():
        good = np.isfinite(column)
        if not good.all():
            row = int(np.argmin(good))
            event = first_event + int(np.flatnonzero(table.kept)[row])
            msg = (
                f"the feature {name!r} is {column[row]} in event {event} (counted from 0); correct "
                "the variation, or let the feature set reject such events"
            )
            raise FeatureError(msg)


@contextmanager
def _named(variation: EventVariation, source: str) -> Iterator[None]:
    """Add the names of the variation and the file to errors of milinfer."""
    try:
        yield
    except MilinferError as error:
        msg = f"variation {format_point(variation.nuisances)} of {source}: {error}"
        raise type(error)(msg) from error


def _record(columns: EventColumns, first_event: int) -> AwkwardArray:
    numbers = first_event + np.arange(len(columns.counts))
    return ak.with_field(columns.record(), numbers, "event")
