"""Compute the features of the nominal and the varied events of a file, in chunks.

The nominal events and each variation have their own selection.  An event may be kept by several of
these selections, by one or by none.  The weights of all kept events are stored once, and for each
selection the indices of its events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.features.event_weights import event_weights
from milinfer.features.feature_set import check_event_counts
from milinfer.io.event_range import EventRange, events_in_range
from milinfer.io.event_record.info import LHEInfo
from milinfer.samples.cross_sections import (
    cross_section_of_events,
    cross_section_source,
    needs_mixing,
    process_factors,
    selected_cross_section,
    warn_of_mean_weight,
)
from milinfer.samples.file_points import (
    ParameterNames,
    ReweightPoints,
    file_points,
    points_remedy,
    resolve_point,
    with_notes,
)
from milinfer.samples.sample_fields import SampleFields
from milinfer.typing import BoolArray, Float32Array, FloatArray, IntArray, PathLikeStr, Point
from milinfer.utils.files import file_name
from milinfer.utils.parallel import in_order
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet, FeatureTable, OnMissing
    from milinfer.features.variations import EventVariation
    from milinfer.io.event_record.record import EventColumns
    from milinfer.io.lhe.header import Limits

__all__ = ["VariedFields", "samples_from_events"]


class VariedFields(NamedTuple):
    """Events of a file at shifted nuisance parameters.

    Parameters
    ----------
    nuisances
        Shifted values.
    fields
        The varied events; None if only weights change.
    partners
        For each varied event, the number of the same event in the nominal sample, or −1 if the
        nominal selection rejects it; None if only weights change.
    weights
        Varied weights of the nominal events; None if features change.
    """

    nuisances: Point
    fields: SampleFields | None = None
    partners: IntArray | None = None
    weights: FloatArray | None = None


class _Rows(NamedTuple):
    """Events of a chunk that an analysis keeps."""

    array: Float32Array
    place: IntArray  # among the events of the chunk that any analysis keeps
    rejected: Mapping[str, int]
    n_scaled: int  # particles; −1 if nobody counts


class _Part(NamedTuple):
    """Results from one chunk of events."""

    first: int
    n_events: int
    rows: tuple[_Rows, ...]  # of the nominal analysis, then of each that changes features
    # Of the events that any analysis keeps:
    weights: FloatArray
    reweights: dict[str, FloatArray]
    varied_weights: tuple[FloatArray, ...]
    sums: FloatArray  # of weights and squared weights, of all events and of the nominal rows
    # Of all events, only where the weights of each process have a normalisation of their own:
    unmixed: tuple[IntArray, FloatArray, BoolArray] | None  # process, weight, whether it is kept


def samples_from_events(
    path: PathLikeStr,
    features: FeatureSet,
    variations: Sequence[EventVariation] = (),
    *,
    point: Point | None = None,
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    process: str | None = None,
    on_missing: OnMissing = "raise",
    chunk_size: int = 50_000,
    tree: str = "Events",
    keep_reweights: bool = True,
    workers: int = 1,
    limits: Limits | None = None,
    missing_point: Point | None = None,
    events: EventRange | None = None,
    cross_section_is_known: bool = False,
) -> tuple[SampleFields, list[VariedFields]]:
    """Read an event file once, in chunks, and compute the features of nominal and varied events.

    See :func:`milinfer.samples.sample_files.read_sample` for the parameters.  The ``workers`` are
    threads; their number has no effect on the result.

    Returns
    -------
    tuple
        The nominal events, and a list of variations.  The cross-sections of variations are NaN: the
        caller computes them from the nominal cross-section and the sums of the weights.

    Warns
    -----
    MilinferWarning
        If the mean weight contradicts the cross-section of ``<init>``, and the user gives no
        cross-section (`cross_section_is_known`).

    Raises
    ------
    LHEError, SampleError
        If the file is damaged or has no events.
    FeatureError
        If events lack what the features need.
    ParameterError
        If the point is unknown, or if it differs from the point in the file.
    """
    from milinfer.io.events import open_reader

    if events is not None:
        chunk_size = min(chunk_size, events.stop)
    with open_reader(path, tree=tree, workers=workers, limits=limits) as reader:
        mixing = needs_mixing(reader.info)

        def compute(chunk: tuple[int, EventColumns]) -> _Part:
            return _compute_part(
                chunk, features, variations, on_missing, keep_reweights, str(path), mixing
            )

        chunks = events_in_range(reader.columns(chunk_size), events, path)
        parts = list(in_order(compute, chunks, workers))
        info = reader.info
    names = _reweight_names(parts, path)
    points = file_points(
        info,
        names,
        point=point,
        parameters=parameters,
        reweight_points=reweight_points if keep_reweights else None,
        source=str(path),
    )
    parts, whole = _cross_section(parts, info, str(path), warn=not cross_section_is_known)
    sums = np.sum([part.sums for part in parts], axis=0)
    cross_section, error = selected_cross_section(
        *whole, (sums[0, 0], sums[0, 1]), (sums[1, 0], sums[1, 1])
    )
    if points.point is None and missing_point is None:
        resolve_point(None, None, str(path), points_remedy(info))

    def fields_of(k: int, names: Sequence[str], provenance: Mapping[str, Any]) -> SampleFields:
        array = np.concatenate([part.rows[k].array for part in parts])
        origin = {**_provenance(path, features, parts, info, k), **provenance}
        if events is not None:
            origin["events"] = list(events)
        rejected = origin.get("rejected", {})
        check_event_counts(origin["n_events"], len(array), rejected, str(path))
        return SampleFields(
            features=array,
            feature_names=features.names,
            weights=np.concatenate([_taken(part.weights, part.rows[k].place) for part in parts]),
            point=(missing_point or {}) if points.point is None else points.point,
            process=process or info.process or "signal",
            cross_section=np.nan,
            cross_section_error=np.nan,
            reweights={
                name: np.concatenate(
                    [_taken(part.reweights[name], part.rows[k].place) for part in parts]
                )
                for name in names
            },
            reweight_points=points.reweight_points,
            provenance=with_notes(origin, points) if k == 0 else origin,
        )

    nominal = fields_of(0, names, {})._replace(
        cross_section=cross_section, cross_section_error=error
    )
    with_points = [name for name in names if name in points.reweight_points]
    varied = []
    n_features = n_weights = 0
    for variation in variations:
        nuisances = dict(variation.nuisances)
        if _is_weight(variation):
            weights = np.concatenate(
                [part.varied_weights[n_weights][part.rows[0].place] for part in parts]
            )
            varied.append(VariedFields(nuisances, weights=weights))
            n_weights += 1
            continue
        n_features += 1
        if sum(part.rows[n_features].n_scaled for part in parts) == 0:
            msg = (
                f"{path}: the variation {format_point(nuisances)} scales "
                f"{getattr(variation, 'objects', 'particles')}, but no event has any; scale other "
                "objects"
            )
            raise SampleError(msg)
        fields = fields_of(n_features, with_points, {"nuisances": nuisances})
        varied.append(VariedFields(nuisances, fields, _partners(parts, n_features)))
    return nominal, varied


def _taken(column: FloatArray, index: IntArray) -> FloatArray:
    """Some entries of a column, by increasing index; all of them without a copy."""
    return column if len(index) == len(column) else column[index]


def _partners(parts: Sequence[_Part], k: int) -> IntArray:
    """Number of the same event among the nominal ones, −1 where these lack it."""
    start = 0
    partners = []
    for part in parts:
        nominal = part.rows[0].place
        place = np.full(len(part.weights), -1, dtype=np.int64)
        place[nominal] = start + np.arange(len(nominal))
        partners.append(place[part.rows[k].place])
        start += len(nominal)
    return np.concatenate(partners)


def _is_weight(variation: EventVariation) -> bool:
    from milinfer.features.variations import WeightVariation

    return isinstance(variation, WeightVariation)


def _cross_section(
    parts: list[_Part], info: LHEInfo, source: str, *, warn: bool
) -> tuple[list[_Part], tuple[float, float]]:
    """Cross-section of all events with its error, and parts whose weights are those of a mixture.

    The weights change where those of each process have a normalisation of their own.
    """
    if all(part.unmixed is None for part in parts):
        sums = np.sum([part.sums[0] for part in parts], axis=0)
        n = sum(part.n_events for part in parts)
        if warn:
            warn_of_mean_weight(info, n, float(sums[0]), float(sums[1]), source)
        return parts, cross_section_of_events(info, n, float(sums[0]), float(sums[1]))
    unmixed = [part.unmixed for part in parts if part.unmixed is not None]
    ids, weights = (np.concatenate([columns[k] for columns in unmixed]) for k in (0, 1))
    mixture = process_factors(info, ids, weights, source)
    mixed = []
    for part, (ids, weights, kept) in zip(parts, unmixed, strict=True):
        factors = np.array([mixture.factors[i] for i in ids.tolist()])
        rows = factors[kept]
        row_weights = part.weights * rows
        mixed.append(
            part._replace(
                weights=row_weights,
                reweights={name: column * rows for name, column in part.reweights.items()},
                varied_weights=tuple(column * rows for column in part.varied_weights),
                sums=_sums(weights * factors, row_weights[part.rows[0].place]),
            )
        )
    return mixed, (mixture.cross_section, mixture.error)


def _compute_part(
    chunk: tuple[int, EventColumns],
    features: FeatureSet,
    variations: Sequence[EventVariation],
    on_missing: OnMissing,
    keep_reweights: bool,
    source: str,
    mixing: bool,
) -> _Part:
    first, columns = chunk
    nominal = features.from_columns(
        columns, on_missing=on_missing, source=source, first_event=first
    )
    tables: list[tuple[FeatureTable, int]] = [(nominal, -1)]
    varied_weights = []
    if variations:
        from milinfer.features import variations as varying

        for variation in variations:
            if isinstance(variation, varying.WeightVariation):
                varied_weights.append(varying.varied_weights(variation, columns, source, first))
            else:
                tables.append(
                    varying.varied_table(
                        variation,
                        columns,
                        features,
                        on_missing=on_missing,
                        source=source,
                        first_event=first,
                    )
                )
    # Weights of all events, rejected ones included: they are part of the cross-section.
    weights = event_weights(columns.event["genWeight"], "genWeight", source, first_event=first)
    kept = np.logical_or.reduce([table.kept for table, _ in tables])
    rows = tuple(
        _Rows(table.array, np.flatnonzero(table.kept[kept]), table.rejected, n)
        for table, n in tables
    )

    def chosen(column: FloatArray) -> FloatArray:
        return column if kept.all() else column[kept]

    reweights = {
        name: chosen(event_weights(column, f"the weight {name!r}", source, first_event=first))
        for name, column in (columns.weights.items() if keep_reweights else ())
    }
    ids = np.asarray(columns.event["LHE_processId"], dtype=np.int64) if mixing else None
    return _Part(
        first=first,
        n_events=len(columns.counts),
        rows=rows,
        weights=chosen(weights),
        reweights=reweights,
        varied_weights=tuple(chosen(column) for column in varied_weights),
        sums=_sums(weights, weights[nominal.kept]),
        unmixed=None if ids is None else (ids, weights, kept),
    )


def _sums(*columns: FloatArray) -> FloatArray:
    """Sum of each column of weights, and of their squares."""
    # not w @ w: BLAS would start threads of its own
    return np.array([[w.sum(), (w * w).sum()] for w in columns])


def _reweight_names(parts: Sequence[_Part], path: PathLikeStr) -> list[str]:
    """Names of the weights at other points, which all parts must have."""
    if not parts:
        msg = f"{path}: there are no events in this file; produce it again"
        raise SampleError(msg)
    names = list(parts[0].reweights)
    for part in parts:
        if set(part.reweights) != set(names):
            msg = (
                f"{path}: the names of the weights change at event {part.first}; give every event "
                "the same weights"
            )
            raise SampleError(msg)
    return names


def _provenance(
    path: PathLikeStr, features: FeatureSet, parts: Sequence[_Part], info: LHEInfo, k: int
) -> dict[str, Any]:
    """Origin of the events that one of the analyses keeps."""
    from milinfer.version import __version__

    rejected: dict[str, int] = {}
    for part in parts:
        for reason, count in part.rows[k].rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    provenance: dict[str, Any] = {
        "files": [file_name(path)],
        "n_events": sum(part.n_events for part in parts),
        "features": features.name,
        "milinfer": __version__,
    }
    if info.processes:  # otherwise the beams are unknown
        beams = zip(info.beams, info.energies, strict=True)
        provenance["beams"] = [[int(beam), float(energy)] for beam, energy in beams]
    if cross_section_source(info) == "weights":
        provenance["cross_section"] = f"mean of the weights (IDWTUP {info.weighting_strategy})"
    if rejected:
        provenance["rejected"] = rejected
    return provenance
