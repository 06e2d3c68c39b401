"""Compute features inside coffea, with a processor that runs unchanged under every executor.

Chunks stay apart until :meth:`FeatureProcessor.postprocess` joins them by file and entry, so that
the order of events does not depend on the executor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

import awkward as ak
import numpy as np
from coffea.nanoevents import NanoAODSchema
from coffea.processor import ProcessorABC, column_accumulator

from milinfer.exceptions import FeatureError, SampleError
from milinfer.features.event_weights import event_weights
from milinfer.features.feature_set import (
    FeatureSet,
    FeatureTable,
    OnMissing,
    check_event_counts,
    feature_set,
    join_cutflows,
    weight_sums,
)
from milinfer.io.event_record.nanoaod import (
    ORIGINAL,
    WEIGHT,
    WeightEntry,
    are_relative,
    is_weight_vector,
    vector_weights,
)
from milinfer.typing import AwkwardArray, BoolArray, Float32Array, FloatArray, IntArray
from milinfer.utils.display import shortened

__all__ = ["Analysis", "EventSchema", "FeatureProcessor", "ObjectBuilder", "Selection", "chunk_key"]

Selection = Callable[[AwkwardArray], Any]
ObjectBuilder = Callable[[AwkwardArray], tuple[AwkwardArray, ...]]


class EventSchema(NanoAODSchema):  # type: ignore[misc]  # coffea has no types
    """``NanoAODSchema`` for files without event numbers and cross-references, such as LHE events.

    A class of its own, so that the switches of ``NanoAODSchema`` stay as they are.
    """

    error_missing_event_ids = False
    warn_missing_crossrefs = False
    event_ids: ClassVar[list[str]] = []


@dataclass(eq=False)
class _Chunk:
    """Rows of one chunk; two chunks with the same key mean that a file is read twice."""

    key: tuple[str, int]
    features: Float32Array  # (n_features, n_events)
    weights: FloatArray
    reweights: dict[str, FloatArray]
    cutflow: dict[str, dict[str, float | int]]

    def __add__(self, other: _Chunk) -> _Chunk:
        msg = (
            f"events from {self.key[1]} of {self.key[0]} come twice in one dataset; list each "
            "file once"
        )
        raise SampleError(msg)

    __iadd__ = __add__


class Analysis(NamedTuple):
    """Features of the selected events of a chunk.

    Parameters
    ----------
    table
        Features of the selected events.
    rows
        Number in the chunk of each event that has a row.
    cutflow
        Sums of weights after each step.
    rejected
        Number of events without a row, by reason.
    """

    table: FeatureTable
    rows: IntArray
    cutflow: dict[str, dict[str, float | int]]
    rejected: dict[str, int]


class FeatureProcessor(ProcessorABC):  # type: ignore[misc]  # coffea has no types
    """Compute features of selected events.

    It reads NanoAOD (``NanoAODSchema`` or :class:`EventSchema`) and flat files whose columns are
    the features already (``BaseSchema``), eager or virtual.
    :meth:`milinfer.Sample.from_accumulator` makes a sample of the output for a dataset.

    Parameters
    ----------
    features
        Feature set or its name.
    selection
        Called with the events; gives a mask of shape (n_events,) or a dict of named masks, applied
        one after the other and counted in the cut flow.
    objects
        Called with the selected events; gives the objects of the feature set in its order
        (leptons, jets) and, optionally, MET (a record with pt and phi); default: those of
        ``LHEPart``.
    weight
        Event weight; ``"auto"``: ``genWeight`` or ``weight``; None: all 1.
    reweights
        Whether the weights in ``LHEWeight`` (or ``weight:…`` columns) come along, and those of
        NanoAOD, which are relative to the weight of the event, as ``LHEReweightingWeight[3]``,
        multiplied by `weight`.
    on_missing
        ``"raise"`` or ``"reject"`` for selected events that lack what the features need.

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
    """

    def __init__(
        self,
        features: str | FeatureSet = "vbf_2l2j",
        *,
        selection: Selection | None = None,
        objects: ObjectBuilder | None = None,
        weight: str | None = "auto",
        reweights: bool = True,
        on_missing: OnMissing = "raise",
    ) -> None:
        self.features = feature_set(features)
        self.selection = selection
        self.objects = objects
        self.weight = weight
        self.reweights = reweights
        self.on_missing = on_missing

    def process(self, events: AwkwardArray) -> dict[str, Any]:
        """Process one chunk.

        Returns
        -------
        dict
            By dataset: ``cutflow`` (``n_events``, ``sum_of_weights``, ``sum_of_squared_weights``,
            ``n_negative`` after each step), the same sums of the rows, ``rejected`` by reason and
            ``chunks``, which :meth:`postprocess` turns into ``columns``, ``weight`` and
            ``reweights``.

        Raises
        ------
        FeatureError
            If events lack what the features need.
        SampleError
            If there is no weight, or it is missing, not finite or not one number in an event, or
            a mask has the wrong shape.
        """
        metadata = _metadata(events)
        source = source_of(events)
        weights = self._weights(events, source)
        table, rows, cutflow, rejected = self.analyse(events, weights)
        key = chunk_key(events)
        columns = np.stack(list(table.columns.values())) if table.columns else np.empty((0, 0))
        chunk = _Chunk(
            key=key,
            features=columns.astype(np.float32, copy=False),
            weights=weights[rows],
            reweights=self._reweights(events, rows, weights[rows], source or ""),
            cutflow={step: dict(sums) for step, sums in cutflow.items()},  # coffea adds in place
        )
        return {
            str(metadata.get("dataset", "dataset")): {
                "cutflow": cutflow,
                "rejected": rejected,
                **cutflow["features"],
                "chunks": {key: chunk},
            }
        }

    def analyse(self, events: AwkwardArray, weights: FloatArray) -> Analysis:
        """Select events and compute their features.

        Parameters
        ----------
        events
            Events of a chunk.
        weights
            Their weights, shape (n_events,), for the cut flow.

        Raises
        ------
        FeatureError, SampleError
            If events lack what the features need, or a mask has the wrong shape.
        """
        source = source_of(events)
        start = int(_metadata(events).get("entrystart", 0))
        n = len(events)
        cutflow = {"all": weight_sums(weights)}
        rejected: dict[str, int] = {}
        kept = np.ones(n, dtype=np.bool_)
        for name, mask in self._masks(events).items():
            before = int(np.count_nonzero(kept))
            kept &= mask
            rejected[name] = before - int(np.count_nonzero(kept))
            cutflow[name] = weight_sums(weights[kept])
        everything = bool(kept.all())
        numbers = start + np.flatnonzero(kept)
        table = self._table(events if everything else events[kept], source, numbers)
        rejected.update(table.rejected)
        rows = np.flatnonzero(kept)[table.kept]
        cutflow["features"] = weight_sums(weights[rows])
        check_event_counts(n, len(table), rejected, source or "the events")
        return Analysis(table, rows, cutflow, rejected)

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Join the chunks, by file name and entry.

        Raises
        ------
        SampleError
            If events read are not events kept + rejected, or reweights differ between files.
        """
        for dataset, output in accumulator.items():
            if "chunks" not in output:
                continue
            chunks = [chunk for _, chunk in sorted(output.pop("chunks").items())]
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
            for c in filled:
                difference = sorted(set(c.reweights) ^ set(names))
                if difference:
                    msg = (
                        f"{dataset}: not all files have the weights {shortened(difference)}: "
                        f"{filled[0].key[0]} and {c.key[0]} (from event {c.key[1]}) differ; read "
                        "them apart, or leave these weights out with reweights=False"
                    )
                    raise SampleError(msg)
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

    def _masks(self, events: AwkwardArray) -> dict[str, BoolArray]:
        if self.selection is None:
            return {}
        result = self.selection(events)
        masks = result if isinstance(result, Mapping) else {"selection": result}
        arrays: dict[str, BoolArray] = {}
        for name, mask in masks.items():
            if name in ("all", "features"):
                msg = f"the cut flow has its own step {name!r}; name the selection otherwise"
                raise SampleError(msg)
            array = np.asarray(ak.to_numpy(ak.fill_none(mask, value=False)))
            if array.shape != (len(events),) or array.dtype != np.bool_:
                msg = (
                    f"selection {name!r} is {array.dtype} of shape {array.shape}, but a mask is "
                    f"bool of shape ({len(events)},)"
                )
                raise SampleError(msg)
            arrays[str(name)] = array
        return arrays

    def _table(self, events: AwkwardArray, source: str | None, numbers: IntArray) -> FeatureTable:
        options: dict[str, Any] = {
            "on_missing": self.on_missing,
            "source": source,
            "first_event": numbers,
        }
        if self.objects is not None:
            return self.features(*self.objects(events), **options)
        fields = set(ak.fields(events))
        if fields.issuperset(self.features.names):
            return _flat_table(events, self.features.names)
        problem = f"neither LHEPart nor the columns of {self.features.name}"
        if "LHEPart" in fields:
            lacking = {"pdgId", "status"} - set(ak.fields(events["LHEPart"]))
            if not lacking or self.features.selector is not None:
                return self.features.from_lhe(events, **options)
            problem = f"LHEPart without {' and '.join(sorted(lacking))}, as in older NanoAOD"
        msg = (
            f"{source or 'the events'} have {problem}; give FeatureProcessor objects=, a function "
            "of the events that returns leptons and jets"
        )
        raise FeatureError(msg)

    def _weights(self, events: AwkwardArray, source: str | None) -> FloatArray:
        if self.weight is None:
            return np.ones(len(events))
        fields = ak.fields(events)
        names = ("genWeight", "weight") if self.weight == "auto" else (self.weight,)
        branch = next((name for name in names if name in fields), None)
        if branch is None:
            msg = (
                f"{source or 'the events'} have no weight {' or '.join(names)}; name it with "
                "weight=, or say weight=None if all weights are 1"
            )
            raise SampleError(msg)
        first = int(_metadata(events).get("entrystart", 0))
        return event_weights(events[branch], branch, source or "", first_event=first)

    def _reweights(
        self, events: AwkwardArray, rows: IntArray, weights: FloatArray, source: str
    ) -> dict[str, FloatArray]:
        """Weights at other points of some of the events, by name; ``weights`` are their own."""
        if not self.reweights:
            return {}
        numbers = rows + int(_metadata(events).get("entrystart", 0))
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


def _weight_columns(events: AwkwardArray) -> dict[str, tuple[AwkwardArray, str, bool]]:
    """Weights at other points in some events: column, branch and whether they are relative.

    The names are the part of a branch after ``LHEWeight_`` (or ``weight:``), or the branch itself
    if it has several weights for each event.
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


def _flat_table(events: AwkwardArray, names: tuple[str, ...]) -> FeatureTable:
    columns: dict[str, Float32Array] = {}
    for name in names:
        column = np.asarray(ak.to_numpy(events[name]))
        if column.ndim != 1:
            msg = f"column {name!r} is not one number for each event; give objects= instead"
            raise FeatureError(msg)
        columns[name] = column.astype(np.float32)
    return FeatureTable(columns, np.ones(len(events), dtype=np.bool_))


def source_of(events: AwkwardArray) -> str | None:
    """File that events come from, if they say so."""
    return str(_metadata(events).get("filename", "")) or None


def chunk_key(events: AwkwardArray) -> tuple[str, int]:
    """File and first entry of a chunk; random for events that are not from a file."""
    metadata = _metadata(events)
    source, start = source_of(events), int(metadata.get("entrystart", 0))
    return (source, start) if source and "entrystart" in metadata else (uuid4().hex, start)


def _metadata(events: AwkwardArray) -> Mapping[str, Any]:
    """Metadata of NanoEvents; empty for other arrays."""
    metadata = getattr(events, "metadata", None) if "metadata" not in ak.fields(events) else None
    return metadata if isinstance(metadata, Mapping) else {}
