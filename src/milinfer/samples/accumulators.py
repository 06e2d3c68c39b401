"""Make samples from the output of coffea processors: columns of features, weights and cut flows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from milinfer.exceptions import MilinferError, SampleError
from milinfer.features.feature_set import check_event_counts
from milinfer.io.event_record.info import LHEInfo
from milinfer.samples.arrays import array_fields
from milinfer.samples.cross_sections import selected_cross_section
from milinfer.samples.file_points import (
    ParameterNames,
    ReweightPoints,
    file_points,
    with_notes,
)
from milinfer.samples.variation_arrays import VariedRows
from milinfer.typing import Point
from milinfer.utils.display import shortened
from milinfer.utils.points import format_point

__all__ = ["accumulator_fields", "dataset_fields", "varied_accumulators"]


def accumulator_fields(
    output: Any,
    features: Sequence[str] | None = None,
    *,
    point: Point,
    process: str = "signal",
    cross_section: float = math.nan,
    cross_section_error: float = math.nan,
    sum_of_weights: float | None = None,
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    info: LHEInfo | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Return the arguments of :class:`milinfer.Sample` for the events of an accumulator.

    See :meth:`milinfer.Sample.from_accumulator` for the parameters.  `info` is the header of the
    event files, if it was read.  If `dataset` is given, errors name it.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.features.feature_set import FeatureTable
    >>> table = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))
    >>> fields = accumulator_fields(table.accumulate(), point={"mu": 0.5})
    >>> fields["feature_names"], fields["point"], len(fields["weights"])
    (('x',), {'mu': 0.5}, 3)
    """
    try:
        _require_columns(output)
        reweights = output.get("reweights", {})
        points = file_points(
            info or LHEInfo.unknown(),
            list(reweights),
            point=point,
            parameters=parameters,
            reweight_points=reweight_points,
            source="the accumulator",
        )
        fields = array_fields(
            _values(output["columns"]),
            list(output["columns"]) if features is None else features,
            weights=_values(output)["weight"],
            reweights=_values(reweights),
            reweight_points=points.reweight_points,
        )
        n = len(fields["weights"])
        if output.get("n_events", n) != n:
            msg = (
                f"the accumulator counts {output['n_events']} events, but its columns have {n}; "
                "accumulate columns and counts of the same events"
            )
            raise SampleError(msg)
        cross_section, cross_section_error = _selected(
            output, cross_section, cross_section_error, sum_of_weights
        )
        provenance = with_notes(_provenance(output, n), points)
    except MilinferError as problem:
        if dataset is None:
            raise
        msg = f"dataset {dataset!r}: {problem}"
        raise type(problem)(msg) from problem
    return {
        **fields,
        "point": point,
        "process": process,
        "cross_section": cross_section,
        "cross_section_error": cross_section_error,
        "provenance": provenance,
    }


def dataset_fields(
    output: Any,
    features: Sequence[str] | None = None,
    *,
    points: Mapping[str, Point],
    cross_section: Mapping[str, float] | None = None,
    cross_section_error: Mapping[str, float] | None = None,
    sum_of_weights: Mapping[str, float] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the arguments of :class:`milinfer.Sample` for each dataset of a processor's output.

    See :meth:`milinfer.SampleSet.from_accumulator` for the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.features.feature_set import FeatureTable
    >>> table = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))
    >>> output = {"sm": table.accumulate(), "bsm": table.accumulate()}
    >>> parts = dataset_fields(output, points={"sm": {"mu": 0.0}, "bsm": {"mu": 1.0}})
    >>> [fields["point"] for fields in parts]
    [{'mu': 0.0}, {'mu': 1.0}]
    """
    missing = [name for name in points if name not in output]
    if missing:
        msg = (
            f"the output has no dataset {', '.join(map(repr, missing))}; it has "
            f"{shortened([repr(name) for name in output])}"
        )
        raise SampleError(msg)
    numbers: dict[str, Any] = {
        "cross_section": cross_section,
        "cross_section_error": cross_section_error,
        "sum_of_weights": sum_of_weights,
    }
    for name, given in numbers.items():
        if given is not None and not (isinstance(given, Mapping) and set(points) <= set(given)):
            msg = f"{name} is {given!r}; give one number for each dataset of points, by name"
            raise SampleError(msg)
    parts: list[dict[str, Any]] = []
    for name, point in points.items():
        own = {key: given[name] for key, given in numbers.items() if given is not None}
        # In the order of the first dataset: some versions of coffea add up columns in any order.
        names = features if features is not None or not parts else parts[0]["feature_names"]
        parts.append(
            accumulator_fields(output[name], names, point=point, dataset=name, **own, **options)
        )
        if features is None:
            _require_same(parts[0]["feature_names"], list(output[name]["columns"]), name)
    return parts


def varied_accumulators(
    output: Any, dataset: str | None = None
) -> tuple[dict[str, Any], list[VariedRows]]:
    """Split the output of a coffea processor into its nominal part and its variations.

    Parameters
    ----------
    output
        Output of :func:`milinfer.features.variation_accumulators.accumulate_variations`, added
        up over chunks.
    dataset
        Name of the dataset, for messages.

    Returns
    -------
    tuple
        Two items: the nominal accumulator, and a list with one tuple of four values for each
        variation.  The first value contains the shifts.  For a variation of features, the second
        value is the accumulator of the varied events, and the third value gives for each varied
        event its number in the nominal sample, or −1 if the nominal selection rejects it.  For a
        variation of weights, the fourth value contains the varied weights of the nominal events.
        The values that do not apply are None.

    Raises
    ------
    SampleError
        If `output` is no accumulator of variations, if chunks had different variations, or if
        events appear twice.
    """
    place = f"dataset {dataset!r}: " if dataset else ""
    if not isinstance(output, Mapping) or "nominal" not in output or "variations" not in output:
        inner = output if isinstance(output, Mapping) else {}
        names = [k for k, v in inner.items() if isinstance(v, Mapping) and "variations" in v]
        hint = f"; give output[{names[0]!r}]" if names else ""
        msg = (
            f"{place}this is no accumulator of variations, which has 'nominal' and 'variations'; "
            f"make one with milinfer.accumulate_variations{hint}"
        )
        raise SampleError(msg)
    twice = [key for key, count in output.get("chunks", {}).items() if count > 1]
    if twice:
        file, start = twice[0]
        msg = f"{place}events from {start} of {file} appear twice; list each file once"
        raise SampleError(msg)
    nominal = output["nominal"]
    kept = np.asarray(nominal["kept"].value)
    number = np.cumsum(kept) - 1
    number[~kept] = -1
    rows: list[VariedRows] = []
    advice = "make the same variations in every chunk, together with the nominal events"
    for shifts, varied in output["variations"].items():
        mask = np.asarray(varied["kept"].value)
        if len(mask) != len(kept):
            msg = (
                f"{place}variation {format_point(dict(shifts))} has {len(mask)} events, but the "
                f"nominal sample has {len(kept)}; {advice}"
            )
            raise SampleError(msg)
        rows.append((dict(shifts), varied, number[mask], None))
    for shifts, column in output["weight_variations"].items():
        weights = np.asarray(column.value)
        if len(weights) != int(kept.sum()):
            msg = (
                f"{place}the variation {format_point(dict(shifts))} has {len(weights)} weights for "
                f"{int(kept.sum())} events; {advice}"
            )
            raise SampleError(msg)
        rows.append((dict(shifts), None, None, weights))
    return {k: v for k, v in nominal.items() if k != "kept"}, rows


def _require_same(first: Sequence[str], names: Sequence[str], dataset: str) -> None:
    more = [name for name in names if name not in first]
    if more:
        msg = (
            f"dataset {dataset!r} has columns that the first dataset lacks ({', '.join(more)}); "
            "list the features common to all datasets in features="
        )
        raise SampleError(msg)


def _require_columns(output: Any) -> None:
    """Raise unless a value is an accumulator of columns; the error names its type."""
    if isinstance(output, Mapping) and {"columns", "weight"} <= set(output):
        return
    if isinstance(output, Mapping) and "chunks" in output:
        msg = "its chunks are not joined; run FeatureProcessor.postprocess on the output first"
        raise SampleError(msg)
    if isinstance(output, tuple):
        msg = "this is a tuple, as returned by a Runner with savemetrics=True; give its first entry"
        raise SampleError(msg)
    if isinstance(output, Mapping):
        inner = [
            name
            for name, value in output.items()
            if isinstance(value, Mapping) and "weight" in value
        ]
        there = shortened([repr(name) for name in output]) or "nothing"
        hint = f"; give output[{inner[0]!r}]" if inner else ""
        there = f"it has {there}"
    else:
        there, hint = f"it is a {type(output).__name__}", ""
    msg = (
        "an accumulator of events has 'columns' and 'weight', as made by FeatureProcessor and "
        f"FeatureTable.accumulate, but {there}{hint}"
    )
    raise SampleError(msg)


def _values(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of column accumulators."""
    return {name: getattr(column, "value", column) for name, column in columns.items()}


def _selected(
    output: Mapping[str, Any], cross_section: float, error: float, total: float | None
) -> tuple[float, float]:
    """Cross-section of the rows, from that of all events."""
    if math.isnan(cross_section):
        return cross_section, error
    passed = (output["sum_of_weights"], output["sum_of_squared_weights"])
    if total is not None:
        if not total > 0:
            msg = f"sum_of_weights is {total:g}; give the sum over all generated events"
            raise SampleError(msg)
        # The squares of events that nobody has seen: as large on average as those of the rows.
        squares = passed[1] * total / passed[0] if passed[0] else passed[1]
        return selected_cross_section(cross_section, error, (total, squares), passed)
    cutflow = output.get("cutflow", {})
    if "all" not in cutflow:
        msg = (
            "the accumulator has no cut flow, so the cross-section of its events is unknown; give "
            "sum_of_weights=, the sum over all events before any selection"
        )
        raise SampleError(msg)
    everything = cutflow["all"]
    return selected_cross_section(
        cross_section,
        error,
        (everything["sum_of_weights"], everything["sum_of_squared_weights"]),
        passed,
    )


def _provenance(output: Mapping[str, Any], n: int) -> dict[str, Any]:
    from milinfer.version import __version__

    rejected = dict(output.get("rejected", {}))
    provenance: dict[str, Any] = {"n_events": n + sum(rejected.values()), "milinfer": __version__}
    if "cutflow" in output:
        provenance["n_events"] = output["cutflow"]["all"]["n_events"]
        provenance["cutflow"] = output["cutflow"]
    check_event_counts(provenance["n_events"], n, rejected, "the accumulator")
    return {**provenance, "rejected": rejected}
