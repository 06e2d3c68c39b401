"""Read and write samples (Parquet, ROOT) without loss, and compute features of event files.

Functions that read return :class:`~milinfer.samples.sample_fields.SampleFields`, the arguments of a
:class:`~milinfer.samples.sample.Sample`, and functions that write take them.  In this way the
module does not depend on the class, which checks the arguments.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ConfigurationError, ParameterError, SampleError
from milinfer.features.event_weights import event_weights
from milinfer.io.event_range import EventRange, EventSelection
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.nanoaod import objects_hint
from milinfer.io.flat_files import (
    FORMAT,
    KEY,
    KIND,
    TREE,
    FlatTable,
    ParquetTable,
    RootTable,
    RowGroupTable,
)
from milinfer.io.parquet import arrow_file
from milinfer.samples.file_points import (
    POINT_NOTE,
    WEIGHTS_NOTE,
    FilePoints,
    ParameterNames,
    ReweightPoints,
    file_points,
    resolve_point,
    with_notes,
)
from milinfer.samples.sample_fields import SampleFields
from milinfer.typing import FloatArray, PathLikeStr, Point
from milinfer.utils.arguments import as_path, local_path
from milinfer.utils.display import shortened
from milinfer.utils.files import atomic_path, file_name

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet, OnMissing
    from milinfer.features.variations import EventVariation
    from milinfer.io.lhe.header import Limits
    from milinfer.samples.event_samples import VariedFields

__all__ = [
    "ROW_GROUP",
    "RowGroups",
    "flat_table",
    "read_events",
    "read_sample",
    "write_sample",
]


WEIGHT: Final = "weight"
ROW_GROUP: Final = 65_536
"""Events in a row group of a Parquet file, the smallest piece that streaming reads at a time."""


def write_sample(sample: SampleFields, path: PathLikeStr) -> None:
    """Write a sample to a Parquet or ROOT file without loss; the suffix determines the format.

    The columns are the features (float32) in their order, ``weight`` (float64) and one
    ``weight:<name>`` for each reweight.  In a ROOT file they are branches of the TTree
    ``Features``, and ``_`` replaces characters that branch names cannot have.  Point, process,
    cross-section and provenance are in the schema metadata (Parquet) or in the string ``milinfer``
    (ROOT).  If writing fails, no incomplete file is left.

    Parameters
    ----------
    sample
        Events to write.
    path
        File ending in ``.parquet`` or ``.root``.

    Raises
    ------
    ConfigurationError
        If the suffix is not one of these.
    SampleError
        If a feature has the name of a weight, or if JSON cannot store the provenance.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from milinfer.samples.sample import Sample
    >>> sample = Sample(np.ones((2, 1)), ("x",), np.array([0.1, -0.2]), point={"mu": 0.5})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.parquet")
    ...     write_sample(sample.fields, file)
    ...     fields = read_sample(file)
    >>> fields.feature_names, fields.point, fields.weights.tolist()
    (('x',), {'mu': 0.5}, [0.1, -0.2])
    """
    target = as_path(path)
    columns: dict[str, NDArray[Any]] = dict(
        zip(sample.feature_names, np.ascontiguousarray(sample.features.T), strict=True)
    )
    extra = {WEIGHT: sample.weights, **{f"{WEIGHT}:{k}": v for k, v in sample.reweights.items()}}
    clash = sorted(columns.keys() & extra.keys())
    if clash:
        msg = f"{target}: features have the names of weights: {clash}; rename them"
        raise SampleError(msg)
    columns |= extra
    suffix = target.suffix.lower()
    if suffix not in (".parquet", ".pq", ".root"):
        msg = f"{target}: samples are written to .parquet or .root; choose one of these"
        raise ConfigurationError(msg)
    metadata = _metadata(sample, target)
    with atomic_path(target) as temporary:
        if suffix == ".root":
            _write_root(temporary, columns, metadata)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            table = pa.table({name: pa.array(column) for name, column in columns.items()})
            text = json.dumps(metadata, allow_nan=False).encode()
            pq.write_table(
                table.replace_schema_metadata({KEY.encode(): text}),
                arrow_file(temporary, "wb"),
                compression="zstd",
                use_dictionary=False,  # slower and larger for numbers that rarely repeat
                row_group_size=ROW_GROUP,
            )


def _metadata(sample: SampleFields, target: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "features": list(sample.feature_names),
        "reweights": list(sample.reweights),
        "point": None
        if sample.provenance.get(POINT_NOTE) and not sample.point
        else dict(sample.point),
        "process": sample.process,
        "cross_section": _number(sample.cross_section),
        "cross_section_error": _number(sample.cross_section_error),
        "reweight_points": {name: dict(point) for name, point in sample.reweight_points.items()},
        "provenance": dict(sample.provenance),
    }
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        msg = (
            f"{target}: point or provenance of {sample.process} cannot be written ({error}); use "
            "only finite numbers, texts, lists and dicts in the provenance"
        )
        raise SampleError(msg) from error
    return metadata


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _write_root(path: Path, columns: Mapping[str, NDArray[Any]], metadata: dict[str, Any]) -> None:
    import uproot

    branches: dict[str, str] = {}
    for name in columns:
        base = re.sub(r"[^\w+-]", "_", name, flags=re.ASCII) or "_"
        branch, count = base, 1
        while branch in branches or (branch != name and branch in columns):
            count += 1
            branch = f"{base}_{count}"
        branches[branch] = name
    text = json.dumps({**metadata, "branches": branches}, allow_nan=False)
    arrays = {branch: columns[name] for branch, name in branches.items()}
    with uproot.recreate(path) as file:
        file.mktree(TREE, {branch: array.dtype for branch, array in arrays.items()})
        if len(columns[WEIGHT]):
            file[TREE].extend(arrays)
        file[KEY] = text


def read_sample(
    path: PathLikeStr,
    *,
    features: str | FeatureSet | Sequence[str] | None = None,
    point: Point | None = None,
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    process: str | None = None,
    weight: str | None = WEIGHT,
    cross_section: float | None = None,
    cross_section_error: float | None = None,
    keep_reweights: bool = True,
    on_missing: OnMissing = "raise",
    chunk_size: int = 50_000,
    tree: str | None = None,
    workers: int = 1,
    limits: Limits | None = None,
    missing_point: Point | None = None,
    events: EventSelection | None = None,
    invisible: Iterable[int] = (),
    visible: Iterable[int] = (),
) -> SampleFields:
    """Read the fields of a sample from a file of features, or compute them from a file of events.

    Users call :meth:`milinfer.Sample.from_file`, which takes the same options.

    Parameters
    ----------
    path
        Sample written by :func:`write_sample`; event file (LHE, ROOT or Parquet); or a flat
        Parquet or ROOT file of another program, with one number for each event and column.  The
        path can also be an address, such as ``root://host//file.root`` or
        ``s3://bucket/file.parquet``.
    features
        Feature set, its name, or names of columns.  Default: all features of a sample,
        ``"vbf_2l2j"`` for event files.  Flat files of other programs need names.
    point, process
        Parameter point (``{}`` for a process that depends on no parameter) and process name;
        default: point and process stored in the file.
    parameters
        Names of the parameters, or a mapping from each name to block and number in the parameter
        card of the file's header, such as ``{"c_HW": "SMEFT 7", "c_HWtil": "SMEFTcpv 4"}``.  The
        points of the events and of their weights are then read from the card and from descriptions
        and ids of the weights.  Default: the parameters of `point`, or of the point that the file
        stores.
    reweight_points
        Points of the weights, if the file does not store them: ``{"rwgt_7": {"c_HW": 0.5}}``, or a
        list in the order of the weights; see :func:`milinfer.samples.file_points.file_points`.  For
        flat files of other programs: a mapping from each column with weights at another point to
        that point.
    weight
        Weight column of a flat file of another program; None if all weights are 1.
    cross_section, cross_section_error
        Cross-section and its error in pb; default: the values in the file.
    keep_reweights
        Whether to read the weights at other points.  In NanoAOD a branch contains several weights.
        These weights get names such as ``"LHEReweightingWeight[3]"``, and are multiplied by the
        event weight if they are stored relative to it.
    on_missing
        What to do with events that lack particles or columns that the features need: ``"raise"`` an
        error, or ``"reject"`` the events.  The number of rejected events is in
        ``provenance["rejected"]``.  The cross-section of the sample is that of the events that are
        kept.
    chunk_size
        Number of events in memory at a time while features are computed.
    tree
        Name of the TTree or RNTuple in a ROOT file.
    workers
        Number of threads that parse LHE files and compute features.  It has no effect on the
        result.
    limits
        Largest sizes of the parts of an LHE file; see :class:`milinfer.io.lhe.Limits`.
    missing_point
        Parameter point if neither `point` nor the file gives one; default: an error.
    events
        Number N of events to read from the start (``events=1000``), or a pair START, STOP
        (``events=(1000, 2000)``, without STOP).  milinfer assumes that these events are a random
        part of the file, and gives them the cross-section of the whole file.
    invisible, visible
        Absolute PDG ids of final-state particles that escape the detector (`invisible`) or are
        measured (`visible`).  For these particles, the lists of :mod:`milinfer.features.visibility`
        are not used.

    Raises
    ------
    SampleError, LHEError
        If the file is damaged or lacks columns.
    FeatureError
        If events lack what the features need.
    ParameterError
        If the point is unknown, or if `point` differs from the point in the file.

    Examples
    --------
    See :func:`write_sample`.
    """
    path = local_path(path)
    table = flat_table(path, tree)
    if table is None or table.has_events:
        fields, _ = read_events(
            path,
            table,
            features=features,
            weight=weight,
            invisible=invisible,
            visible=visible,
            point=point,
            parameters=parameters,
            reweight_points=reweight_points,
            process=process,
            on_missing=on_missing,
            chunk_size=chunk_size,
            keep_reweights=keep_reweights,
            workers=workers,
            limits=limits,
            missing_point=missing_point,
            events=events,
            cross_section_is_known=cross_section is not None,
        )
    else:
        fields = _read_table(
            table,
            _column_names(features),
            point=point,
            parameters=parameters,
            reweight_points=reweight_points,
            process=process,
            weight=weight,
            keep_reweights=keep_reweights,
            missing_point=missing_point,
            events=None if events is None else EventRange.of(events),
        )
    if cross_section is not None:
        fields = fields._replace(cross_section=cross_section)
    if cross_section_error is not None:
        fields = fields._replace(cross_section_error=cross_section_error)
    return fields


def _column_names(features: FeatureSet | str | Sequence[str] | None) -> Sequence[str] | None:
    """Columns of features; None: those that the file names."""
    if features is None or isinstance(features, list | tuple):
        return features  # feature sets are made with awkward, which takes long to import
    from milinfer.features.feature_set import FeatureSet, feature_set

    return feature_set(features).names if isinstance(features, str | FeatureSet) else features


def flat_table(path: PathLikeStr, tree: str | None) -> FlatTable | None:
    """Open the table of events or features in a Parquet or ROOT file; None for LHE files."""
    from milinfer.io.events import kind_of

    kind = kind_of(path)
    if kind == "parquet":
        return ParquetTable(path)
    return RootTable(path, tree) if kind == "root" else None


def read_events(
    path: PathLikeStr,
    table: FlatTable | None,
    variations: Sequence[EventVariation] = (),
    *,
    features: str | FeatureSet | Sequence[str] | None = None,
    weight: str | None = WEIGHT,
    invisible: Iterable[int] = (),
    visible: Iterable[int] = (),
    events: EventSelection | None = None,
    **options: Any,
) -> tuple[SampleFields, list[VariedFields]]:
    """Compute features of the events of a file, and of variations of these events.

    `table` is the result of :func:`flat_table` for `path`.  For the other parameters see
    :func:`read_sample` and :func:`milinfer.samples.event_samples.samples_from_events`.

    Raises
    ------
    SampleError, LHEError
        If the file is damaged, or if `weight` is not the name of the event weight.
    FeatureError
        If events lack particles or columns that the features need.
    ParameterError
        If the point is unknown, or if `point` differs from the point in the file.
    """
    from milinfer.features.feature_set import FeatureSet, feature_set
    from milinfer.samples.event_samples import samples_from_events

    if weight not in (WEIGHT, "genWeight"):
        msg = (
            f"{path}: weight={weight!r} works only for flat files, but this is a file of event "
            "records, with the weight genWeight; omit weight=, or use another branch with "
            "milinfer.run_features(..., weight=...)"
        )
        raise SampleError(msg)
    chosen = (
        feature_set(features or "vbf_2l2j")
        if features is None or isinstance(features, str | FeatureSet)
        else feature_set("vbf_2l2j").select(features)
    )
    return samples_from_events(
        path,
        chosen.with_visibility(invisible, visible),
        variations,
        tree=table.tree if isinstance(table, RootTable) else "Events",
        events=None if events is None else EventRange.of(events),
        **options,
    )


class RowGroups:
    """A Parquet file of features, read a row group at a time.

    Parameters
    ----------
    path
        Sample written by :func:`write_sample`, or a flat file of another program.
    features, point
        As in :func:`read_sample`.

    Raises
    ------
    SampleError
        If the file is damaged.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.samples.sample import Sample
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.parquet")
    ...     Sample(np.ones((70_000, 1)), ("x",)).to_file(file)
    ...     groups = RowGroups(file)
    ...     groups.sizes, groups.read(1).features.shape
    ((65536, 4464), (4464, 1))
    """

    def __init__(
        self,
        path: PathLikeStr,
        *,
        features: Sequence[str] | None = None,
        point: Point | None = None,
    ) -> None:
        self._table = RowGroupTable(path)
        self._options = (features, point)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of events in the row groups."""
        return self._table.sizes

    def read(self, number: int, *, keep_reweights: bool = True) -> SampleFields:
        """Read the events of one row group.

        Raises
        ------
        SampleError
            If the file is damaged or lacks columns.
        ParameterError
            If the point is unknown, or if `point` differs from the point in the file.
        """
        self._table.number = number
        features, point = self._options
        return _read_table(self._table, features, point=point, keep_reweights=keep_reweights)


def _read_table(
    table: FlatTable,
    features: Sequence[str] | None,
    *,
    point: Point | None = None,
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    process: str | None = None,
    weight: str | None = WEIGHT,
    keep_reweights: bool = True,
    missing_point: Point | None = None,
    events: EventRange | None = None,
) -> SampleFields:
    metadata = table.metadata or {}
    names = features if features is not None else metadata.get("features")
    if names is None:
        advice = objects_hint(set(table.columns)) or (
            f"name them with features=[…]; it has {shortened(list(table.columns))}"
        )
        msg = f"{table.path} does not record which of its columns are features; {advice}"
        raise ParameterError(msg)
    reweights = _reweight_columns(table, reweight_points) if keep_reweights else {}
    columns = [*names, *([weight] if weight else []), *reweights.values()]
    if len(set(names)) != len(list(names)):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        msg = f"{table.path}: features name a column twice: {shortened(twice)}"
        raise SampleError(msg)
    table.require([*names, *reweights.values()])
    if weight and weight not in table.columns:
        msg = (
            f"{table.path} has no weight column {weight!r}; it has "
            f"{shortened(list(table.columns))}: give its name as weight=, or weight=None if all "
            "weights are 1"
        )
        raise SampleError(msg)
    stored: dict[str, Any] = metadata.get("reweight_points", {}) if keep_reweights else {}
    points = file_points(
        replace(LHEInfo.unknown(), point=metadata.get("point")),
        list(reweights),
        point=point,
        parameters=parameters,
        reweight_points=reweight_points if keep_reweights else None,
        source=str(table.path),
    )
    if points.point is None and missing_point is None:
        resolve_point(None, None, str(table.path))
    if reweight_points is None and metadata.get("point") is not None:
        points = points._replace(reweight_points=stored)  # not by ids: the file knows better
    arrays = table.read(dict.fromkeys(columns), events)
    empty = np.empty((0, 0), dtype=np.float32)
    n = len(next(iter(arrays.values()), empty))
    data = np.empty((n, len(names)), dtype=np.float32)
    with np.errstate(over="ignore"):  # infinite values are refused later
        for i, name in enumerate(names):
            data[:, i] = arrays[name]

    first_event = table.first_event + (0 if events is None else events.start)

    def weights_in(column: str) -> FloatArray:
        return event_weights(
            arrays[column], f"column {column!r}", str(table.path), first_event=first_event
        )

    provenance = metadata.get("provenance", {"files": [file_name(table.path)]})
    if events is not None:
        provenance = {**provenance, "n_events": n, "events": list(events)}
        provenance.pop("rejected", None)

    def number(key: str) -> float:
        value = metadata.get(key)
        return math.nan if value is None else float(value)

    return SampleFields(
        features=data,
        feature_names=tuple(names),
        weights=weights_in(weight) if weight else np.ones(n),
        point=(missing_point or {}) if points.point is None else points.point,
        process=process or metadata.get("process", "signal"),
        cross_section=number("cross_section"),
        cross_section_error=number("cross_section_error"),
        reweights={name: weights_in(column) for name, column in reweights.items()},
        reweight_points=points.reweight_points,
        provenance=_stored_notes(provenance, points),
    )


def _reweight_columns(table: FlatTable, points: ReweightPoints | None) -> dict[str, str]:
    """Columns of the weights at other points, by name of the weight."""
    if table.metadata is not None:
        return {name: f"{WEIGHT}:{name}" for name in table.metadata.get("reweights", ())}
    if points is None:
        return {}
    if not isinstance(points, Mapping):
        msg = (
            f"{table.path}: reweight_points is a list, but needs the names of columns in a flat "
            'file; give the point of each column, as in reweight_points={"w_up": {"c_HW": 0.5}}'
        )
        raise ParameterError(msg)
    return {name: name for name in points}


def _stored_notes(provenance: Mapping[str, Any], points: FilePoints) -> dict[str, Any]:
    """Provenance with the reasons that the file itself gives for weights without a point."""
    reasons: dict[str, list[str]] = provenance.get(WEIGHTS_NOTE, {})
    own = {identity: reason for reason, ids in reasons.items() for identity in ids}
    without = {i: r for i, r in own.items() if i not in points.reweight_points}
    return with_notes(provenance, points._replace(without_point=without))
