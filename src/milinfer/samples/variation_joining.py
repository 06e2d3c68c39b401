"""Join variations of several files of one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.samples.cross_sections import Combine, varied_cross_section
from milinfer.samples.joining import join_factors, joined_events
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.typing import Point
from milinfer.utils.points import format_point

__all__ = ["joined_variations"]


def joined_variations(
    parts: Sequence[tuple[SampleSet, Sequence[Variation]]],
    combine: Combine | None = None,
    *,
    scaled: bool = False,
) -> tuple[SampleSet, tuple[Variation, ...]]:
    """Join the nominal samples of several parts, and their variations, separately at each point.

    See :meth:`milinfer.ProcessVariations.concatenate`.

    Parameters
    ----------
    parts
        Nominal samples and variations of each part.
    combine
        As in :meth:`milinfer.Sample.concatenate`.
    scaled
        True if the weights of all parts already have the same normalisation, and each part has the
        cross-section of all parts together.  Weights and cross-section are then not changed.

    Raises
    ------
    SampleError
        If a part lacks a variation that another part has at the same point.
    """
    points: list[Point] = []
    for nominal, _ in parts:
        points += [s.point for s in nominal if s.point not in points]
    joined, variations = [], []
    for point in points:
        samples, by_shifts = [], []
        for nominal, varied in parts:
            here = [s for s in nominal if s.point == point]
            if here:
                samples += here
                own = [v for v in varied if v.sample.point == point]
                by_shifts.append({frozenset(v.nuisances.items()): v for v in own})
        factors = [1.0] * len(samples)
        if not scaled and len(samples) > 1:
            factors = list(join_factors(samples, combine))
        joined.append(_as_they_are(samples) if scaled else Sample.concatenate(samples, combine))
        for key in dict.fromkeys(key for of_part in by_shifts for key in of_part):
            pairs = zip(samples, by_shifts, strict=True)
            lacking = [sample for sample, of_part in pairs if key not in of_part]
            if lacking:
                files = ", ".join(map(str, lacking[0].provenance.get("files", ())))
                msg = (
                    f"{files or lacking[0].label}: there is no variation "
                    f"{format_point(dict(key))}, which other files have; give every file the same "
                    "variations"
                )
                raise SampleError(msg)
            same = [of_part[key] for of_part in by_shifts]
            variations.append(_joined(same, samples, joined[-1], factors, combine, scaled=scaled))
    return SampleSet(tuple(joined)), tuple(variations)


def _joined(
    same: Sequence[Variation],
    samples: Sequence[Sample],
    nominal: Sample,
    factors: Sequence[float],
    combine: Combine | None,
    *,
    scaled: bool,
) -> Variation:
    """Join one variation of several files; `samples` are the nominal ones, `nominal` is joined."""
    first = same[0]
    kinds = {(v.partners is None, v.weights_only) for v in same}
    names = {tuple(sorted(v.sample.reweights)) for v in same}
    if len(kinds) > 1 or len(names) > 1:
        msg = (
            f"variation {first.label}: in some files it changes weights, in others features or "
            "events, or its events carry different weights; make it in the same way for all files"
        )
        raise SampleError(msg)
    if first.partners is None:
        others = [v.sample for v in same]
        sample = _as_they_are(others) if scaled else Sample.concatenate(others, combine)
        return dataclasses.replace(first, sample=sample)
    if len(same) == 1:
        return first
    starts = np.cumsum([0, *(len(s) for s in samples)])
    partners = np.concatenate(
        [
            np.where(v.partners >= 0, v.partners + start, -1)  # type: ignore[operator]
            for v, start in zip(same, starts[:-1], strict=True)
        ]
    )
    events = joined_events([v.sample for v in same], factors)
    cross_section, error = varied_cross_section(
        nominal.cross_section, nominal.cross_section_error, nominal.weights, events["weights"]
    )
    sample = dataclasses.replace(
        first.sample, **events, cross_section=cross_section, cross_section_error=error
    )
    return dataclasses.replace(first, sample=sample, partners=partners)


def _as_they_are(samples: Sequence[Sample]) -> Sample:
    """All events with their weights, and the cross-section of the first sample."""
    events = joined_events(samples, [1.0] * len(samples))
    return dataclasses.replace(samples[0], **events)
