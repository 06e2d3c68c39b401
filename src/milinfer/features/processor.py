"""Compute features inside coffea, with a processor that works with every executor.

:meth:`FeatureProcessor.postprocess` joins the chunks in the order of files and entries, so that the
order of events does not depend on the executor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import awkward as ak
import numpy as np
from coffea.nanoevents import NanoAODSchema
from coffea.processor import ProcessorABC, accumulate, column_accumulator

from milinfer.exceptions import SampleError
from milinfer.features.chunk_features import (
    ChunkFeatures,
    ObjectBuilder,
    Selection,
    chunk_key,
    chunk_metadata,
    source_of,
)
from milinfer.features.event_weights import all_weights, event_weights
from milinfer.features.feature_set import (
    FeatureSet,
    OnMissing,
    check_event_counts,
    feature_set,
    join_cutflows,
)
from milinfer.features.variation_accumulators import accumulate_variations
from milinfer.io.event_record.nanoaod import (
    ORIGINAL,
    WEIGHT,
    WeightEntry,
    are_relative,
    is_weight_vector,
    vector_weights,
)
from milinfer.typing import AwkwardArray, Float32Array, FloatArray, IntArray
from milinfer.utils.display import shortened
from milinfer.utils.points import format_point

__all__ = ["EventSchema", "FeatureProcessor"]

EventWeight: TypeAlias = str | Callable[[AwkwardArray], Any] | None
EventVariations: TypeAlias = Callable[[AwkwardArray], Mapping[Any, Any]]


class EventSchema(NanoAODSchema):  # type: ignore[misc]  # coffea has no types
    """``NanoAODSchema`` for files without event numbers and cross-references, such as LHE events.

    It is a separate class, so that the options of ``NanoAODSchema`` itself do not change.
    """

    error_missing_event_ids = False
    warn_missing_crossrefs = False
    event_ids: ClassVar[list[str]] = []


@dataclass(eq=False)
class _Apart:
    """Result that cannot be added; two chunks with the same key mean that a file is read twice."""

    key: tuple[str, int]

    def __add__(self, other: _Apart) -> _Apart:
        msg = (
            f"events from {self.key[1]} of {self.key[0]} appear twice in one dataset; list each "
            "file once"
        )
        raise SampleError(msg)

    __iadd__ = __add__


@dataclass(eq=False)
class _Chunk(_Apart):
    """Rows of one chunk."""

    features: Float32Array  # (n_features, n_events)
    weights: FloatArray
    reweights: dict[str, FloatArray]
    cutflow: dict[str, dict[str, float | int]]


@dataclass(eq=False)
class _VariedChunk(_Apart):
    """Result of ``accumulate_variations`` for one chunk."""

    output: dict[str, Any]


class FeatureProcessor(ProcessorABC):  # type: ignore[misc]  # coffea has no types
    """coffea processor that selects events and computes their features.

    It reads NanoAOD (``NanoAODSchema`` or :class:`EventSchema`) and flat files whose columns are
    already the features (``BaseSchema``).  The arrays may be eager or virtual.
    :meth:`milinfer.Sample.from_accumulator` makes a sample from the output for a dataset;
    :meth:`milinfer.ProcessVariations.from_accumulator` makes nominal and varied samples from an
    output with variations.

    Parameters
    ----------
    features
        Feature set or its name.
    selection
        Function that takes the events and returns a mask of shape (n_events,), or a dict of named
        masks.  Named masks are applied one after the other and counted in the cut flow.
    objects
        Function that takes the selected events and returns the objects in the order of the feature
        set (leptons, jets) and optionally MET (a record with pt and phi); default: the particles of
        ``LHEPart``.
    weight
        Name of the event weight; ``"auto"``: ``genWeight`` or ``weight``; None: all weights are 1.
        `weight` can also be a function that takes the events and returns one number for each event,
        or ``Weights`` of coffea.  With `variations`, the function is also called for varied events,
        and the variations of ``Weights`` are kept.
    reweights
        Whether to keep the weights in ``LHEWeight`` (or ``weight:…`` columns) and the weights of
        NanoAOD, such as ``LHEReweightingWeight[3]``.  Weights of NanoAOD are relative to the weight
        of the event, so milinfer multiplies them by `weight`.
    on_missing
        What to do with selected events that lack objects for the features: ``"raise"`` an error, or
        ``"reject"`` the events.
    variations
        Function that takes all events of a chunk and returns the varied events and weights, in the
        form described in :func:`~milinfer.accumulate_variations`.  The files are then read only
        once for nominal and varied events.
    one_sided
        Names of nuisance parameters that are varied only up or only down.

    Examples
    --------
    >>> import awkward as ak
    >>> events = ak.Array({"x": [0.5, 1.5, 2.5], "weight": [1.0, 1.0, -1.0]})
    >>> flat = FeatureSet("flat", {"x": lambda o: o.x}, collections=())
    >>> processor = FeatureProcessor(flat, selection=lambda events: {"x > 1": events.x > 1})
    >>> output = processor.postprocess(processor.process(events))["dataset"]
    >>> output["columns"]["x"].value, output["sum_of_weights"]
    (array([1.5, 2.5], dtype=float32), 0.0)
    >>> {name: step["n_events"] for name, step in output["cutflow"].items()}
    {'all': 3, 'x > 1': 2, 'features': 2}
    >>> def moved(events):
    ...     up, down = (ak.with_field(events, events.x + s, "x") for s in (0.6, -0.6))
    ...     return {"scale": {+1: up, -1: down}}
    >>> processor = FeatureProcessor(flat, selection=lambda events: events.x > 1, variations=moved)
    >>> output = processor.postprocess(processor.process(events))["dataset"]
    >>> [output["nominal"]["n_events"], *(v["n_events"] for v in output["variations"].values())]
    [2, 3, 1]
    """

    def __init__(
        self,
        features: str | FeatureSet = "vbf_2l2j",
        *,
        selection: Selection | None = None,
        objects: ObjectBuilder | None = None,
        weight: EventWeight = "auto",
        reweights: bool = True,
        on_missing: OnMissing = "raise",
        variations: EventVariations | None = None,
        one_sided: Collection[str] = (),
    ) -> None:
        self.features = feature_set(features)
        self.selection = selection
        self.objects = objects
        self.weight = weight
        self.reweights = reweights
        self.on_missing = on_missing
        self.variations = variations
        self.one_sided = one_sided
        given: Any = variations
        if given is not None and not callable(given):
            msg = (
                "variations= must be a function of the events of a chunk, not "
                f"{type(given).__name__}"
            )
            raise SampleError(msg)

    def process(self, events: AwkwardArray) -> dict[str, Any]:
        """Process one chunk.

        Returns
        -------
        dict
            For each dataset: ``cutflow`` (``n_events``, ``sum_of_weights``,
            ``sum_of_squared_weights`` and ``n_negative`` after each step), these four numbers for
            the kept events, ``rejected`` (the number of rejected events by reason), and ``chunks``,
            which :meth:`postprocess` replaces by ``columns``, ``weight`` and ``reweights``.  With
            variations: only ``chunks``, which :meth:`postprocess` replaces by ``nominal``,
            ``variations`` and ``weight_variations``.

        Raises
        ------
        FeatureError
            If events lack what the features need.
        SampleError
            If there is no weight, an event does not have one finite weight, or a mask has the wrong
            shape.
        """
        dataset = str(chunk_metadata(events).get("dataset", "dataset"))
        source = source_of(events)
        key = chunk_key(events)
        if self.variations is not None:
            return {dataset: {"chunks": {key: self._varied(events, source, key)}}}
        weights = self._weights(events, source)
        table, rows, cutflow, rejected = ChunkFeatures(
            self.features, self.selection, self.objects, self.on_missing
        ).analyse(events, weights)
        columns = np.stack(list(table.columns.values())) if table.columns else np.empty((0, 0))
        chunk = _Chunk(
            key=key,
            features=columns.astype(np.float32, copy=False),
            weights=weights[rows],
            reweights=self._reweights(events, rows, weights[rows], source or ""),
            cutflow={step: dict(sums) for step, sums in cutflow.items()},  # coffea adds in place
        )
        return {
            dataset: {
                "cutflow": cutflow,
                "rejected": rejected,
                **cutflow["features"],
                "chunks": {key: chunk},
            }
        }

    def _varied(
        self, events: AwkwardArray, source: str | None, key: tuple[str, int]
    ) -> _VariedChunk:
        """Nominal and varied events of a chunk."""
        assert self.variations is not None
        weights = self._weights(events, source)
        everything = np.arange(len(events))
        output = accumulate_variations(
            self.features,
            events,
            self.variations(events),
            weights=self.weight if callable(self.weight) else weights,
            objects=self.objects,
            selection=self.selection,
            reweights=self._reweights(events, everything, weights, source or ""),
            one_sided=self.one_sided,
            on_missing=self.on_missing,
        )
        return _VariedChunk(key, {**output, "chunks": {key: 1}})

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Join the chunks in the order of file names and entries.

        Raises
        ------
        SampleError
            If kept and rejected events do not add up to the events read, or files have different
            reweights.
        """
        for dataset, output in accumulator.items():
            if "chunks" not in output or "nominal" in output:
                continue
            chunks = [chunk for _, chunk in sorted(output.pop("chunks").items())]
            if self.variations is not None:
                output.update(_joined(chunks, self.features.names, str(dataset)))
                continue
            if any(set(c.cutflow) != set(chunks[0].cutflow) for c in chunks):
                msg = f"{dataset}: selection must give masks of the same names in all chunks"
                raise SampleError(msg)
            data = np.concatenate([c.features for c in chunks], axis=1)
            output["cutflow"] = join_cutflows([c.cutflow for c in chunks])
            output.update(output["cutflow"]["features"])
            n_in = output["cutflow"]["all"]["n_events"]
            check_event_counts(n_in, data.shape[1], output["rejected"], str(dataset))
            filled = [c for c in chunks if len(c.weights)] or chunks[:1]
            names = list(filled[0].reweights)
            _require_same_weights([(c.key, c.reweights) for c in filled], str(dataset))
            output["columns"] = {
                name: column_accumulator(column)
                for name, column in zip(self.features.names, data, strict=True)
            }
            output["weight"] = column_accumulator(np.concatenate([c.weights for c in chunks]))
            output["reweights"] = {
                name: column_accumulator(np.concatenate([c.reweights[name] for c in filled]))
                for name in names
            }
            output["rejected"] = {k: v for k, v in output["rejected"].items() if v}
        return accumulator

    def _weights(self, events: AwkwardArray, source: str | None) -> FloatArray:
        if self.weight is None or callable(self.weight):
            weights = self.weight(events) if callable(self.weight) else None
            start = chunk_key(events)[1]
            return all_weights(weights, len(events), source or "", first_event=start)
        fields = ak.fields(events)
        names = ("genWeight", "weight") if self.weight == "auto" else (self.weight,)
        branch = next((name for name in names if name in fields), None)
        if branch is None:
            msg = (
                f"{source or 'the events'} have no weight {' or '.join(names)}; give the name as "
                "weight=, or weight=None if all weights are 1"
            )
            raise SampleError(msg)
        first = int(chunk_metadata(events).get("entrystart", 0))
        return event_weights(events[branch], branch, source or "", first_event=first)

    def _reweights(
        self, events: AwkwardArray, rows: IntArray, weights: FloatArray, source: str
    ) -> dict[str, FloatArray]:
        """Weights of some events at other points, by name; ``weights`` are their own weights."""
        if not self.reweights:
            return {}
        numbers = rows + int(chunk_metadata(events).get("entrystart", 0))
        reweights: dict[str, FloatArray] = {}
        for name, (column, branch, relative) in _weight_columns(events).items():
            chosen = column[rows]
            named = {name: chosen}
            if relative and column.ndim == 2 and not ak.fields(column):
                lengths = np.asarray(ak.num(column, axis=1))
                n = int(lengths[np.argmax(lengths > 0)]) if len(lengths) else 0
                flat = np.asarray(ak.to_numpy(ak.flatten(chosen, axis=1)))
                table = vector_weights(
                    name, lengths[rows], flat, n, source=source or "the events", numbers=numbers
                )
                named = {str(WeightEntry(name, i)): table[:, i] for i in range(n)}
            for key, values in named.items():
                label = branch if key == name else key
                array = event_weights(values, label, source, first_event=numbers)
                reweights[key] = array * weights if relative else array
        return reweights


def _require_same_weights(
    chunks: Sequence[tuple[tuple[str, int], Mapping[str, Any]]], dataset: str
) -> None:
    """Raise if chunks, given by key and weights at other points, have different weight names."""
    (first, _), names = chunks[0]
    for (file, start), reweights in chunks:
        difference = sorted(set(reweights) ^ set(names))
        if difference:
            msg = (
                f"{dataset}: only one of {first} and {file} (from event {start}) has the weights "
                f"{shortened(difference)}; read these files separately, or omit these weights with "
                "reweights=False"
            )
            raise SampleError(msg)


def _joined(
    chunks: Sequence[_VariedChunk], features: Sequence[str], dataset: str
) -> dict[str, Any]:
    """Nominal and varied events of all chunks, in the order of the chunks."""
    outputs = [(c.key, c.output) for c in chunks]
    filled = [(k, o) for k, o in outputs if o["nominal"]["cutflow"]["all"]["n_events"]]
    filled = filled or outputs[:1]
    _require_same_weights([(key, o["nominal"]["reweights"]) for key, o in filled], dataset)
    place, first = filled[0]
    for key, output in filled:
        for kind in ("variations", "weight_variations"):
            difference = sorted(set(output[kind]) ^ set(first[kind]))
            if difference:
                msg = (
                    f"{dataset}: not all chunks have the variation "
                    f"{format_point(dict(difference[0]))}: the chunks from event {place[1]} of "
                    f"{place[0]} and from event {key[1]} of {key[0]} differ; vary the same "
                    "nuisance parameters in all chunks"
                )
                raise SampleError(msg)
    joined: dict[str, Any] = dict(accumulate([output for _, output in filled]))
    for part in (joined["nominal"], *joined["variations"].values()):
        # Some versions of coffea add up columns in any order.
        part["columns"] = {name: part["columns"][name] for name in features}
        n_in = part["cutflow"]["all"]["n_events"]
        check_event_counts(n_in, part["n_events"], part["rejected"], dataset)
        part["rejected"] = {k: v for k, v in part["rejected"].items() if v}
    return joined


def _weight_columns(events: AwkwardArray) -> dict[str, tuple[AwkwardArray, str, bool]]:
    """Weights at other points in events: column, branch and whether the weights are relative.

    The name of a weight is the part of the branch name after ``LHEWeight_`` (or ``weight:``), or
    the branch name itself if it has several weights for each event.
    """
    fields = ak.fields(events)
    columns: dict[str, tuple[AwkwardArray, str, bool]] = {}
    record = ak.fields(events["LHEWeight"]) if "LHEWeight" in fields else []
    if record:
        relative = are_relative(record)
        columns = {n: (events["LHEWeight"][n], WEIGHT + n, relative) for n in record}
    else:
        for prefix in (WEIGHT, "weight:", "weight_"):
            names = [f.removeprefix(prefix) for f in fields if f.startswith(prefix)]
            relative = prefix == WEIGHT and are_relative(names)
            columns |= {n: (events[prefix + n], prefix + n, relative) for n in names}
    columns.pop(ORIGINAL, None)
    vectors = [f for f in fields if is_weight_vector(f) and not ak.fields(events[f])]
    return columns | {name: (events[name], name, True) for name in vectors}
