"""From events to samples: what a file says about its process, and what a selection does to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milinfer.exceptions import MilinferError, ParameterError, SampleError
from milinfer.features.balance import event_balance
from milinfer.samples.samples import Sample
from milinfer.typing import Float32Array, FloatArray, PathLikeStr, Point
from milinfer.utils.points import format_point, parse_point
from milinfer.utils.threads import in_order

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet, OnMissing
    from milinfer.io.event.event_columns import EventColumns
    from milinfer.io.event.info import LHEInfo
    from milinfer.io.lhe.limits import Limits

__all__ = [
    "resolve_point",
    "reweight_points",
    "same_point",
    "sample_from_events",
    "selected_cross_section",
]


def same_point(a: Point, b: Point) -> bool:
    """Whether two points have the same parameters with the same values.

    Examples
    --------
    >>> same_point({"c_HW": 0.5}, {"c_HW": 0.5 + 1e-12}), same_point({"c_HW": 0.5}, {})
    (True, False)
    """
    return a.keys() == b.keys() and all(
        math.isclose(a[k], b[k], rel_tol=1e-9, abs_tol=1e-9) for k in a
    )


def resolve_point(given: Point | None, own: Point | None, source: str) -> dict[str, float]:
    """Parameter point from what the user says and what the file says.

    Raises
    ------
    ParameterError
        If they disagree, or neither says anything.

    Examples
    --------
    >>> resolve_point(None, {"c_HW": 0.5}, "a.lhe")
    {'c_HW': 0.5}
    >>> resolve_point({"c_HW": 1.0}, {"c_HW": 0.5}, "a.lhe")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ParameterError: a.lhe is at c_HW=0.5, but point says c_HW=1; ...
    """
    if given is not None and own is not None and not same_point(given, own):
        mine, theirs = (format_point(p) or "no point" for p in (given, own))
        msg = (
            f"{source} is at {theirs}, but point says {mine}; correct it, or leave point out to "
            "take that of the file"
        )
        raise ParameterError(msg)
    point = given if given is not None else own
    if point is None:
        msg = (
            f"{source} does not say at which parameter point its events are; give "
            'point={"name": value}, or point={} for a process that depends on no parameter'
        )
        raise ParameterError(msg)
    return {str(k): float(v) for k, v in point.items()}


def own_point(info: LHEInfo | None) -> Point | None:
    """Point that a file carries; empty where it names a process without parameters."""
    if info is None:
        return None
    return {} if info.point is None and info.process is not None else info.point


def reweight_points(
    descriptions: Mapping[str, str], point: Point, known: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Points of the reweights whose description (or id) is a point in the same parameters.

    Examples
    --------
    >>> names = {"w1": "c_HW=0.5", "w2": "muR=2", "w3": ""}
    >>> reweight_points(names, {"c_HW": 0.0}, ["w1", "w2", "w3"])
    {'w1': {'c_HW': 0.5}}
    """
    points: dict[str, dict[str, float]] = {}
    for identity in known:
        for text in (descriptions.get(identity, ""), identity):
            try:
                found = parse_point(text)
            except ParameterError:
                continue
            if point and found.keys() == point.keys():
                points[identity] = {name: found[name] for name in point}
                break
    return points


def selected_cross_section(
    cross_section: float,
    error: float,
    all_events: tuple[float, float],
    selected: tuple[float, float],
) -> tuple[float, float]:
    """Cross-section in pb after a selection, with its error.

    Parameters
    ----------
    cross_section, error
        Of all events.
    all_events, selected
        Sum of weights and sum of squared weights.

    Examples
    --------
    >>> value, error = selected_cross_section(2.0, 0.0, (100.0, 100.0), (50.0, 50.0))
    >>> value, round(error, 12)
    (1.0, 0.1)
    """
    total, squares = all_events
    passed, squares_passed = selected
    if all_events == selected or total == 0:
        return cross_section, error
    fraction = passed / total
    rest = max(squares - squares_passed, 0.0)
    variance = ((1 - fraction) ** 2 * squares_passed + fraction**2 * rest) / total**2
    return cross_section * fraction, math.hypot(error * fraction, cross_section * variance**0.5)


class _Part(NamedTuple):
    """What becomes of one chunk of events."""

    first: int
    array: Float32Array
    weights: FloatArray
    reweights: dict[str, FloatArray]
    sums: FloatArray  # of weights and squared weights, of all events and of the rows
    rejected: Mapping[str, int]


def sample_from_events(
    path: PathLikeStr,
    features: FeatureSet,
    *,
    point: Point | None = None,
    process: str | None = None,
    on_missing: OnMissing = "raise",
    chunk_size: int = 50_000,
    tree: str = "Events",
    keep_reweights: bool = True,
    workers: int = 1,
    limits: Limits | None = None,
) -> Sample:
    """Read an event file in chunks and compute features; see :func:`milinfer.samples.sample_files.read_sample`.

    The sample is the same whatever the number of ``workers``, which are threads.

    Raises
    ------
    LHEError, SampleError
        If the file is damaged or has no events.
    FeatureError
        If events lack what the features need.
    ParameterError
        If the point is unknown or differs from that of the file.
    """
    from milinfer.io import events
    from milinfer.version import __version__

    def compute(part: tuple[int, EventColumns]) -> _Part:
        start, columns = part
        table = features.from_columns(
            columns, on_missing=on_missing, source=str(path), first_event=start
        )
        weights = np.asarray(columns.event["genWeight"], dtype=np.float64)
        kept = table.weights(weights)
        reweights = {
            name: table.weights(np.asarray(column, dtype=np.float64))
            for name, column in (columns.weights.items() if keep_reweights else ())
        }
        # not w @ w: BLAS would start threads of its own
        sums = np.array([[w.sum(), (w * w).sum()] for w in (weights, kept)])
        return _Part(start, table.array, kept, reweights, sums, table.rejected)

    first = 0

    def numbered(chunks: Iterable[EventColumns]) -> Iterator[tuple[int, EventColumns]]:
        nonlocal first
        for columns in chunks:
            start, first = first, first + len(columns.counts)
            yield start, columns

    with events.open_reader(path, tree=tree, workers=workers, limits=limits) as reader:
        parts = list(in_order(compute, numbered(reader.columns(chunk_size)), workers))
        info = reader.info
    if not parts:
        msg = f"{path}: there are no events in this file; produce it again"
        raise SampleError(msg)
    names = list(parts[0].reweights)
    for part in parts:
        if set(part.reweights) != set(names):
            msg = f"{path}: the weights change at event {part.first}; give every event the same"
            raise SampleError(msg)
    sums = np.sum([part.sums for part in parts], axis=0)
    point = resolve_point(point, own_point(info), str(path))
    cross_section, error = selected_cross_section(
        *((info.cross_section, info.cross_section_error) if info.processes else (math.nan,) * 2),
        (sums[0, 0], sums[0, 1]),
        (sums[1, 0], sums[1, 1]),
    )
    rejected: dict[str, int] = {}
    for part in parts:
        for reason, count in part.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    provenance: dict[str, Any] = {
        "files": [Path(path).name],
        "n_events": first,
        "features": features.name,
        "milinfer": __version__,
    }
    if info.processes:  # else the file does not know
        beams = zip(info.beams, info.energies, strict=True)
        provenance["beams"] = [[int(beam), float(energy)] for beam, energy in beams]
    if rejected:
        provenance["rejected"] = rejected
    array = np.concatenate([part.array for part in parts])
    event_balance(first, len(array), rejected, str(path))
    try:
        return Sample(
            array,
            features.names,
            np.concatenate([part.weights for part in parts]),
            point=point,
            process=process or info.process or "signal",
            cross_section=cross_section,
            cross_section_error=error,
            reweights={
                name: np.concatenate([part.reweights[name] for part in parts]) for name in names
            },
            reweight_points=reweight_points(
                {w.id: w.description for w in info.weights}, point, names
            ),
            provenance=provenance,
        )
    except MilinferError as problem:
        msg = f"{path}: {problem}"
        raise type(problem)(msg) from problem
