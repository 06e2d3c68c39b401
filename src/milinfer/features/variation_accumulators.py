"""Accumulate nominal and varied events inside a coffea processor.

An event may pass the nominal selection, the selection of a variation, or several selections.  The
accumulated columns have one entry for each event that passes any selection, and a mask for each
selection.  The columns of chunks and datasets can be joined in any order, because they contain no
event numbers, which would depend on the chunks before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import awkward as ak
import numpy as np
from coffea.processor import column_accumulator

from milinfer.exceptions import MilinferError, SampleError
from milinfer.features.chunk_features import (
    Analysis,
    ChunkFeatures,
    ObjectBuilder,
    Selection,
    chunk_key,
    source_of,
)
from milinfer.features.event_weights import all_weights, are_coffea_weights
from milinfer.features.feature_set import FeatureSet, OnMissing, feature_set
from milinfer.features.variations import require_finite
from milinfer.typing import AwkwardArray, BoolArray, FloatArray
from milinfer.utils.display import shortened
from milinfer.utils.points import format_point, shifts_of, shifts_of_key

__all__ = ["accumulate_variations"]

Shifts: TypeAlias = tuple[tuple[str, float], ...]
"""Names and values of the shifted nuisance parameters, used as a key that coffea can add."""

_IDENTITY: Final = ("run", "luminosityBlock", "event")
_SIDES: Final = {"up": 1.0, "down": -1.0}


def accumulate_variations(
    features: str | FeatureSet,
    events: AwkwardArray,
    variations: Mapping[Any, Any] | None = None,
    *,
    weights: Any,
    objects: ObjectBuilder | None = None,
    selection: Selection | None = None,
    reweights: Mapping[str, Any] | None = None,
    one_sided: Collection[str] = (),
    on_missing: OnMissing = "raise",
) -> dict[str, Any]:
    """Compute the features of nominal and varied events of a chunk, for a coffea processor.

    :meth:`milinfer.ProcessVariations.from_accumulator` makes samples from the result.
    :class:`~milinfer.FeatureProcessor` with ``variations=`` calls this function for every chunk.

    Parameters
    ----------
    features
        Feature set or its name.
    events
        All events of the chunk, before any selection.
    variations
        Mapping from the name of a nuisance parameter to its varied events, in one of these forms:

        - ``{"jes": {+1: events_up, -1: events_down}}``: the same events with changed objects;
        - ``{"jes": {+1: {"Jet": jets_up, "MET": met_up}, -1: …}}``: changed collections;
        - ``{"jes": {"Jet": jets.systematics.jes, "MET": met.systematics.jes}}``: systematics of
          coffea (``add_systematic``), or of ``CorrectedJetsFactory`` in ``jetmet_tools``
          (``jets.JES_jes``), with ``up`` and ``down``;
        - ``{(("jes", 1), ("jer", 1)): events}``: several nuisance parameters shifted together.

        The missing momentum of NanoAOD does not change with the jets automatically: vary it, too.
    weights
        Weights of all events: one number for each event, None (all are 1), or ``Weights`` of
        coffea, whose variations ``muRUp`` and ``muRDown`` are used for the nuisance parameter
        ``muR`` at ±1.  (If only the weight up was given, coffea takes nominal²/up as the weight
        down.) `weights` can also be a function that takes events and returns one of these forms.
        The function is called for varied events, too, so that scale factors are computed for the
        varied objects.
    objects, selection, on_missing
        As for :class:`~milinfer.FeatureProcessor`.  The functions are called for the nominal and
        for the varied events.
    reweights
        Weights of all events at other parameter points, by name.  If a variation changes the weight
        of an event, the weights of this event at other points are multiplied by the same factor.
    one_sided
        Names of nuisance parameters that are varied only up or only down.  All other nuisance
        parameters need a variation up and a variation down.

    Returns
    -------
    dict
        ``nominal``: the accumulated nominal events; ``variations`` and ``weight_variations``:
        varied events and varied weights, by the shifts of the nuisance parameters. coffea can add
        such dicts.

    Raises
    ------
    SampleError
        If the variation up or down is missing, if the varied events are not the same events as the
        nominal ones, or if a nuisance parameter varies both events and weights.
    FeatureError
        If events lack what the features need, or a feature is not finite.

    Examples
    --------
    >>> events = ak.Array({"x": [0.5, 1.5, 2.5]})
    >>> flat = FeatureSet("flat", {"x": lambda o: o.x}, collections=())
    >>> up, down = (ak.with_field(events, events.x + s, "x") for s in (0.6, -0.6))
    >>> output = accumulate_variations(flat, events, {"scale": {1: up, -1: down}}, weights=None,
    ...                                selection=lambda e: {"x > 1": e.x > 1})
    >>> [output["nominal"]["n_events"], *(v["n_events"] for v in output["variations"].values())]
    [2, 3, 1]
    """
    chunk = ChunkFeatures(feature_set(features), selection, objects, on_missing)
    n = len(events)
    place = _Place(source_of(events) or "the events", chunk_key(events)[1], n)
    nominal_weights = weights(events) if callable(weights) else weights
    w = _numbers(nominal_weights, place)
    others = {
        name: _numbers(column, place, f"the weight {name!r}")
        for name, column in (reweights or {}).items()
    }
    with_weights = _weight_variations(nominal_weights, place)
    with_events = _event_variations(variations or {}, events, n)
    _require_sides([*with_events, *with_weights], one_sided)
    both = sorted(_names(with_events) & _names(with_weights))
    if both:
        msg = (
            f"the nuisance parameter {both[0]} is used both to change events and to vary weights; "
            "give each a different name, or give weights= as a function of the varied events"
        )
        raise SampleError(msg)
    nominal = chunk.analyse(events, w)
    require_finite_rows(nominal, events)
    varied = []
    for shifts, changed in with_events.items():
        try:
            own = _numbers(weights(changed), place) if callable(weights) else w
            analysis = chunk.analyse(changed, own)
            require_finite_rows(analysis, changed)
        except MilinferError as error:
            msg = f"variation {format_point(dict(shifts))}: {error}"
            raise type(error)(msg) from error
        varied.append((shifts, own, analysis))
    kept = {shifts: _mask(analysis, n) for shifts, _, analysis in varied}
    selected = _mask(nominal, n)
    union = np.logical_or.reduce([selected, *kept.values()])

    def accumulated(analysis: Analysis, own: FloatArray, mask: BoolArray) -> dict[str, Any]:
        rows = analysis.rows
        ratio = np.divide(own, w, out=np.ones(n), where=w != 0)
        return {
            **analysis.table.accumulate(
                own[rows], {name: (c * ratio)[rows] for name, c in others.items()}
            ),
            "cutflow": {step: dict(sums) for step, sums in analysis.cutflow.items()},
            "rejected": dict(analysis.rejected),
            "kept": column_accumulator(mask[union]),
        }

    return {
        "nominal": accumulated(nominal, w, selected),
        "variations": {
            shifts: accumulated(analysis, own, kept[shifts]) for shifts, own, analysis in varied
        },
        "weight_variations": {
            shifts: column_accumulator(column[nominal.rows])
            for shifts, column in with_weights.items()
        },
        "chunks": {chunk_key(events): 1},
    }


def require_finite_rows(analysis: Analysis, events: AwkwardArray) -> None:
    """Raise if a feature of a selected event is not finite; the message names the event."""
    if all(np.isfinite(column).all() for column in analysis.table.columns.values()):
        return
    source, (_, start) = source_of(events), chunk_key(events)
    table = analysis.table
    kept = np.zeros(len(events), dtype=np.bool_)
    kept[analysis.rows] = True
    try:
        require_finite(type(table)(table.columns, kept), start)
    except MilinferError as error:
        msg = f"{source}: {error}" if source else str(error)
        raise type(error)(msg) from error


def _mask(analysis: Analysis, n: int) -> BoolArray:
    mask = np.zeros(n, dtype=np.bool_)
    mask[analysis.rows] = True
    return mask


class _Place(NamedTuple):
    """File and first event of a chunk, for messages, and its number of events."""

    source: str
    first_event: int
    n_events: int


def _numbers(weights: Any, place: _Place, name: str = "the weight") -> FloatArray:
    """One weight for each event."""
    return all_weights(
        weights, place.n_events, place.source, first_event=place.first_event, name=name
    )


def _weight_variations(weights: Any, place: _Place) -> dict[Shifts, FloatArray]:
    """Varied weights of all events by shifts, from the ``Weights`` of coffea."""
    varied: dict[Shifts, FloatArray] = {}
    if not are_coffea_weights(weights):
        return varied
    for modifier in sorted(weights.variations, key=lambda name: (name[:-2], name[-2:] != "Up")):
        side = next((s for s in _SIDES if modifier.endswith(s.capitalize())), None)
        if side is None:
            msg = f"the weight variation {modifier!r} must end in Up or Down; rename it"
            raise SampleError(msg)
        name = modifier[: -len(side)]
        shifts = shifts_of({name: _SIDES[side]}, f"weight variation {modifier!r}")
        column = weights.weight(modifier)
        varied[tuple(shifts.items())] = _numbers(column, place, f"the weight {modifier}")
    return varied


def _event_variations(
    variations: Mapping[Any, Any], events: AwkwardArray, n: int
) -> dict[Shifts, AwkwardArray]:
    """Varied events by their shifts."""
    varied: dict[Shifts, AwkwardArray] = {}
    for key, given in variations.items():
        if isinstance(key, str):
            sides = {
                tuple(shifts_of({key: value}, f"variation {key!r}").items()): changed
                for value, changed in _sides(key, given).items()
            }
        else:
            sides = {tuple(shifts_of_key(key).items()): given}
        for shifts, changed in sides.items():
            label = f"variation {format_point(dict(shifts))}"
            if shifts in varied:
                msg = f"{label} is given twice; give it once"
                raise SampleError(msg)
            if isinstance(changed, Mapping):
                changed = _with_collections(events, changed, label, n)  # noqa: PLW2901
            _require_same(events, changed, label)
            varied[shifts] = changed
    return varied


def _sides(name: str, given: Any) -> dict[float, Any]:
    """Events or systematics from the user, by the value of the nuisance parameter."""
    if not isinstance(given, Mapping) or not given:
        msg = (
            f"variation {name!r}: give events by value, as in {{+1: events_up, -1: events_down}}, "
            f"or systematics by collection, not {type(given).__name__}"
        )
        raise SampleError(msg)
    if not all(isinstance(collection, str) for collection in given):
        return dict(given)
    for collection, systematic in given.items():
        if not set(ak.fields(systematic)) >= set(_SIDES):
            there = shortened(ak.fields(systematic)) if isinstance(systematic, ak.Array) else ""
            msg = (
                f"variation {name!r}: {collection} has no up and down"
                f"{f', only {there}' if there else ''}; give a systematic of coffea, such as "
                "jets.systematics.jes, or collections by value: {+1: {'Jet': …}, -1: {'Jet': …}}"
            )
            raise SampleError(msg)
    return {
        value: {collection: systematic[side] for collection, systematic in given.items()}
        for side, value in _SIDES.items()
    }


def _with_collections(
    events: AwkwardArray, collections: Mapping[str, AwkwardArray], label: str, n: int
) -> AwkwardArray:
    """Events in which collections are replaced."""
    changed = events
    for name, collection in collections.items():
        if name not in ak.fields(events):
            msg = (
                f"{label}: the events have no collection {name!r} to replace; they have "
                f"{shortened(ak.fields(events))}"
            )
            raise SampleError(msg)
        if len(collection) != n:
            msg = f"{label}: {name} has {len(collection)} events; give all {n} events of the chunk"
            raise SampleError(msg)
        changed = ak.with_field(changed, collection, name)
    return changed


def _require_same(events: AwkwardArray, changed: Any, label: str) -> None:
    """Raise unless varied events are the nominal events in the same order."""
    if not isinstance(changed, ak.Array):
        msg = f"{label}: give events as an awkward array, not {type(changed).__name__}"
        raise SampleError(msg)
    if len(changed) != len(events):
        msg = (
            f"{label}: there are {len(changed)} varied but {len(events)} nominal events; vary all "
            "events, and select with selection=, which is called for nominal and varied events"
        )
        raise SampleError(msg)
    fields = set(ak.fields(events)) & set(ak.fields(changed))
    for name in _IDENTITY:
        if name in fields and events[name].ndim == 1:
            differ = ak.to_numpy(events[name]) != ak.to_numpy(changed[name])
            if differ.any():
                k = int(np.argmax(differ))
                msg = (
                    f"{label}: {name} of entry {k} is {changed[name][k]}, but {events[name][k]} in "
                    "the nominal events; give the same events in the same order"
                )
                raise SampleError(msg)


def _names(shifts: Iterable[Shifts]) -> set[str]:
    return {key[0][0] for key in shifts if len(key) == 1}


def _require_sides(shifts: Iterable[Shifts], one_sided: Collection[str]) -> None:
    """Raise unless each nuisance parameter is varied up and down."""
    given = list(shifts)
    allowed = {one_sided} if isinstance(one_sided, str) else set(one_sided)
    unknown = sorted(allowed - _names(given))
    if unknown:
        msg = f"one_sided contains {', '.join(unknown)}, which is not varied; remove it"
        raise SampleError(msg)
    for key in given:
        (name, value), *more = key
        if not more and name not in allowed and ((name, -value),) not in given:
            msg = (
                f"the nuisance parameter {name} is varied to {value:+g} but not to {-value:+g}; "
                f"give both sides, or one_sided=[{name!r}]"
            )
            raise SampleError(msg)
