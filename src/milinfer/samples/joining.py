"""Join samples of one point: their events, weights, cross-sections and origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.samples.cross_sections import Combine, JoinedCrossSection, Part, join_cross_sections
from milinfer.samples.weights import WeightSums
from milinfer.typing import Float32Array, FloatArray

__all__ = ["Joinable", "join_factors", "joined_events", "joined_fields", "part_of"]


class Joinable(Protocol):
    """The properties of a :class:`~milinfer.samples.sample.Sample` that are needed to join it."""

    @property
    def label(self) -> str:
        """Process and point, for messages."""
        ...

    @property
    def features(self) -> Float32Array:
        """Features, shape (n_events, n_features)."""
        ...

    @property
    def weights(self) -> FloatArray:
        """Event weights, shape (n_events,)."""
        ...

    @property
    def reweights(self) -> Mapping[str, FloatArray]:
        """Weights at other points, by name."""
        ...

    @property
    def cross_section(self) -> float:
        """Cross-section in pb."""
        ...

    @property
    def cross_section_error(self) -> float:
        """Error of the cross-section in pb."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Origin of the events."""
        ...


def joined_fields(samples: Sequence[Joinable], combine: Combine | None) -> dict[str, Any]:
    """Return the fields of one sample with the events of several samples.

    See :meth:`milinfer.Sample.concatenate`.

    Raises
    ------
    SampleError
        If the samples cannot be joined with this `combine`, for example because their
        cross-sections differ and `combine` is None.
    """
    joined = _joined(samples, combine)
    return {
        **joined_events(samples, joined.factors),
        "cross_section": joined.cross_section,
        "cross_section_error": joined.error,
    }


def join_factors(samples: Sequence[Joinable], combine: Combine | None) -> Sequence[float]:
    """Return the factors by which joining the samples multiplies their weights, one per sample.

    Raises
    ------
    SampleError
        If the samples cannot be joined with this `combine`, for example because their
        cross-sections differ and `combine` is None.
    """
    return _joined(samples, combine).factors


def joined_events(samples: Sequence[Joinable], factors: Sequence[float]) -> dict[str, Any]:
    """Join the features, scaled weights and origin of the events of several samples."""

    def join(columns: Sequence[FloatArray]) -> FloatArray:
        pairs = zip(columns, factors, strict=True)
        return np.concatenate([c if f == 1 else c * f for c, f in pairs])

    return {
        "features": np.concatenate([s.features for s in samples]),
        "weights": join([s.weights for s in samples]),
        "reweights": {
            name: join([s.reweights[name] for s in samples]) for name in samples[0].reweights
        },
        "provenance": _joined_provenance([s.provenance for s in samples], factors),
    }


def _joined(samples: Sequence[Joinable], combine: Combine | None) -> JoinedCrossSection:
    try:
        return join_cross_sections([part_of(s) for s in samples], combine)
    except SampleError as error:
        msg = f"cannot concatenate the samples of {samples[0].label}: {error}"
        raise SampleError(msg) from error


def part_of(sample: Joinable) -> Part:
    """Collect the properties of a sample that are needed to join it with others."""
    files = sample.provenance.get("files", ())
    return Part(
        source=", ".join(map(str, files)) or repr(sample),
        cross_section=float(sample.cross_section),
        error=float(sample.cross_section_error),
        n_events=len(sample.weights),
        weights=WeightSums.over(sample.weights),
        origin=sample.provenance,
        n_generated=sample.provenance.get("n_events"),
    )


def _joined_provenance(
    provenances: Sequence[Mapping[str, Any]], factors: Sequence[float]
) -> dict[str, Any]:
    """Origin of joined events: all files, and the sums of the numbers of events."""
    joined = dict(provenances[0])
    if all(p == joined for p in provenances):
        return joined
    for of_one_file in ("events", "cutflow"):
        joined.pop(of_one_file, None)
    if all("cutflow" in p for p in provenances):
        from milinfer.features.feature_set import join_cutflows

        joined["cutflow"] = join_cutflows(
            [
                {step: _scaled(sums, factor) for step, sums in p["cutflow"].items()}
                for p, factor in zip(provenances, factors, strict=True)
            ]
        )
    if any("files" in p for p in provenances):
        joined["files"] = list(dict.fromkeys(f for p in provenances for f in p.get("files", ())))
    if all("n_events" in p for p in provenances):
        joined["n_events"] = sum(p["n_events"] for p in provenances)
        rejected = [p.get("rejected", {}) for p in provenances]
        reasons = dict.fromkeys(reason for r in rejected for reason in r)
        if reasons:
            joined["rejected"] = {k: sum(r.get(k, 0) for r in rejected) for k in reasons}
    return joined


def _scaled(sums: Mapping[str, float | int], factor: float) -> dict[str, float | int]:
    """Sums of a step of a cut flow, for weights times a factor."""
    powers = {"sum_of_weights": 1, "sum_of_squared_weights": 2}
    return {k: v * factor ** powers[k] if k in powers else v for k, v in sums.items()}
