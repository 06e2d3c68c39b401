"""Samples as a notebook shows them, and sets of samples as Arrow tables: one row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.utils.display import html_facts, html_table, measured, shortened
from milinfer.utils.points import format_point
from milinfer.utils.tables import arrow_table, point_cells, point_types

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.samples.samples import Sample, SampleSet
    from milinfer.samples.streaming import StreamedSamples

__all__ = ["html_sample", "html_samples", "samples_table"]

_TYPES: Mapping[str, type] = {
    "n_events": int,
    "sum_of_weights": float,
    "negative_fraction": float,
    "effective_events": float,
    "cross_section": float,
    "cross_section_error": float,
}


def samples_table(samples: SampleSet) -> pa.Table:
    """One row for each sample.

    Columns: ``process``, ``point.PARAMETER``, ``n_events``, ``sum_of_weights``,
    ``negative_fraction`` (of the events), ``effective_events`` (Σw)²/Σw², ``cross_section`` and
    ``cross_section_error`` in pb.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> table = samples_table(gaussian.samples(100, [0.0, 0.5], seed=1))
    >>> table["point.mu"].to_pylist(), table["n_events"].to_pylist()
    ([0.0, 0.5], [100, 100])
    """
    types = {"process": str, **point_types(samples.parameters), **_TYPES}
    return arrow_table(types, [_row(s) for s in samples])


def _row(sample: Sample) -> dict[str, Any]:
    weights = sample.weights
    squares = float(weights @ weights)
    return {
        "process": sample.process,
        **point_cells(sample.point),
        "n_events": len(sample),
        "sum_of_weights": float(weights.sum()),
        "negative_fraction": float(np.mean(weights < 0)) if len(sample) else None,
        "effective_events": float(weights.sum()) ** 2 / squares if squares else 0.0,
        "cross_section": sample.cross_section,
        "cross_section_error": sample.cross_section_error,
    }


def html_sample(sample: Sample) -> str:
    """Facts of one sample.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> "100" in html_sample(gaussian.generate(100, 0.0, seed=1))
    True
    """
    row, negative = _row(sample), int(np.sum(sample.weights < 0))
    facts = {
        "events": row["n_events"],
        "sum of weights": f"{row['sum_of_weights']:.6g}",
        "effective events": f"{row['effective_events']:.6g}",
        "negative weights": f"{negative} ({row['negative_fraction']:.1%})" if negative else "",
        "cross-section": ""
        if np.isnan(sample.cross_section)
        else measured(sample.cross_section, sample.cross_section_error, "pb"),
        "features": f"{len(sample.feature_names)}: {shortened(sample.feature_names)}",
        "weights at other points": len(sample.reweights) or "",
    }
    return html_facts(sample.label, facts)


def html_samples(samples: SampleSet | StreamedSamples) -> str:
    """Table of samples, in memory or streamed, with the features under it.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> html_samples(gaussian.samples(100, [0.0, 0.5], seed=1)).count("<tr>")
    3
    """
    from milinfer.samples.streaming import StreamedSamples

    names = samples.feature_names
    features = f"{len(names)} feature{'' if len(names) == 1 else 's'}: {shortened(names)}"
    title = f"{samples.n_events} events, {features}"
    if isinstance(samples, StreamedSamples):
        rows = [[s.process, format_point(s.point), str(len(s)), str(s.path)] for s in samples]
        title += f"; at most {samples.events_in_memory} events in memory"
        return html_table(("process", "point", "events", "file"), rows, title=title)
    return html_table(
        ("process", "point", "events", "effective events", "cross-section"),
        _cells(samples.samples),
        title=title,
    )


def _cells(samples: Sequence[Sample]) -> list[list[str]]:
    rows = [(s, _row(s)) for s in samples]
    return [
        [
            s.process,
            format_point(s.point),
            str(len(s)),
            f"{row['effective_events']:.6g}",
            measured(s.cross_section, s.cross_section_error, "pb"),
        ]
        for s, row in rows
    ]
