"""Select the events of a chunk and compute their features, as a coffea processor does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

import awkward as ak
import numpy as np

from milinfer.exceptions import FeatureError, SampleError
from milinfer.features.feature_set import (
    FeatureSet,
    FeatureTable,
    OnMissing,
    check_event_counts,
    weight_sums,
)
from milinfer.typing import AwkwardArray, BoolArray, Float32Array, FloatArray, IntArray

__all__ = [
    "Analysis",
    "ChunkFeatures",
    "ObjectBuilder",
    "Selection",
    "chunk_key",
    "chunk_metadata",
    "source_of",
]

Selection = Callable[[AwkwardArray], Any]
ObjectBuilder = Callable[[AwkwardArray], tuple[AwkwardArray, ...]]


class Analysis(NamedTuple):
    """Features of the selected events of a chunk.

    Parameters
    ----------
    table
        Features of the selected events.
    rows
        For each event in the table, its position in the chunk (counted from 0).
    cutflow
        Sums of weights after each step.
    rejected
        Number of events that are not in the table, by reason.
    """

    table: FeatureTable
    rows: IntArray
    cutflow: dict[str, dict[str, float | int]]
    rejected: dict[str, int]


@dataclass(frozen=True)
class ChunkFeatures:
    """Compute the features of a chunk, with the arguments of :class:`~milinfer.FeatureProcessor`.

    Parameters
    ----------
    features
        Feature set.
    selection
        Function that returns masks of the events to keep; None: keep all events.
    objects
        Function that returns the objects (leptons, jets, …) from which the features are computed.
        None: use the particles of ``LHEPart``, or columns of the events that are already features.
    on_missing
        For a selected event without the objects that the features need: ``"raise"`` an error, or
        ``"reject"`` the event.

    Examples
    --------
    >>> events = ak.Array({"x": [0.5, 1.5, 2.5]})
    >>> flat = FeatureSet("flat", {"x": lambda o: o.x}, collections=())
    >>> chunk = ChunkFeatures(flat, selection=lambda events: {"x > 1": events.x > 1})
    >>> chunk.analyse(events, np.ones(3)).rows
    array([1, 2])
    """

    features: FeatureSet
    selection: Selection | None = None
    objects: ObjectBuilder | None = None
    on_missing: OnMissing = "raise"

    def analyse(self, events: AwkwardArray, weights: FloatArray) -> Analysis:
        """Select events and compute their features.

        Parameters
        ----------
        events
            Events of a chunk.
        weights
            Weights of the events, shape (n_events,). They are only used for the cut flow.

        Raises
        ------
        FeatureError, SampleError
            If events lack what the features need, or a mask has the wrong shape.
        """
        source = source_of(events)
        start = int(chunk_metadata(events).get("entrystart", 0))
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

    def _masks(self, events: AwkwardArray) -> dict[str, BoolArray]:
        if self.selection is None:
            return {}
        result = self.selection(events)
        masks = result if isinstance(result, Mapping) else {"selection": result}
        arrays: dict[str, BoolArray] = {}
        for name, mask in masks.items():
            if name in ("all", "features"):
                msg = f"the cut flow has a standard step {name!r}; rename the selection"
                raise SampleError(msg)
            array = np.asarray(ak.to_numpy(ak.fill_none(mask, value=False)))
            if array.shape != (len(events),) or array.dtype != np.bool_:
                msg = (
                    f"selection {name!r} returns {array.dtype} of shape {array.shape}; return a "
                    f"mask, bool of shape ({len(events)},)"
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
            f"{source or 'the events'} have {problem}; give objects= of FeatureProcessor, a "
            "function of the events that returns leptons and jets"
        )
        raise FeatureError(msg)


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
    """Return the file of the events, if it is recorded."""
    return str(chunk_metadata(events).get("filename", "")) or None


def chunk_key(events: AwkwardArray) -> tuple[str, int]:
    """Return file and first entry of a chunk; a random key if the events are not from a file."""
    metadata = chunk_metadata(events)
    source, start = source_of(events), int(metadata.get("entrystart", 0))
    return (source, start) if source and "entrystart" in metadata else (uuid4().hex, start)


def chunk_metadata(events: AwkwardArray) -> Mapping[str, Any]:
    """Return the metadata of NanoEvents; empty for other arrays."""
    metadata = getattr(events, "metadata", None) if "metadata" not in ak.fields(events) else None
    return metadata if isinstance(metadata, Mapping) else {}
