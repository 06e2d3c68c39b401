"""Samples of one process at several parameter points."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.sample import Sample, require_same_beams
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Sample", "SampleSet"]


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of one process at several parameter points, with the same features.

    Raises
    ------
    SampleError
        If feature names or parameter names differ, or a point comes twice.

    Examples
    --------
    >>> import numpy as np
    >>> samples = SampleSet([Sample(np.zeros((4, 1)), ("x",), point={"mu": m}) for m in (0, 1)])
    >>> samples.parameters, samples.values("mu")
    (('mu',), array([0., 1.]))
    """

    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        samples = tuple(self.samples)
        object.__setattr__(self, "samples", samples)
        if not samples:
            msg = "a SampleSet needs at least one sample"
            raise SampleError(msg)
        first = samples[0]
        seen: set[tuple[tuple[str, float], ...]] = set()
        for sample in samples:
            if sample.feature_names != first.feature_names:
                missing = sorted(set(first.feature_names) ^ set(sample.feature_names))
                msg = (
                    f"{sample.label} and {first.label} have different features "
                    f"({', '.join(missing) or 'another order'})"
                )
                raise SampleError(msg)
            if tuple(sample.point) != tuple(first.point):
                msg = (
                    f"{sample.label} and {first.label} have different parameters; "
                    "give every sample the same parameter names, in the same order"
                )
                raise SampleError(msg)
            require_same_beams(sample, first)
            key = tuple(sample.point.items())
            if key in seen:
                msg = f"two samples for {sample.label}; join them with Sample.concatenate"
                raise SampleError(msg)
            seen.add(key)

    @classmethod
    def from_files(
        cls, files: Mapping[float, PathLikeStr], parameter: str, **options: Any
    ) -> SampleSet:
        """Read one file for each value of a parameter.

        Parameters
        ----------
        files
            ``{value: path}``; LHE, ROOT or Parquet.
        parameter
            Name of the parameter.
        options
            Passed to :func:`milinfer.samples.sample_files.read_sample` (``features=``, ``workers=`` and others).
        """
        return cls(
            tuple(
                Sample.from_file(path, point={parameter: float(value)}, **options)
                for value, path in files.items()
            )
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return self.samples[0].feature_names

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.samples[0].point)

    def values(self, parameter: str) -> FloatArray:
        """Values of one parameter, one for each sample.

        Raises
        ------
        ParameterError
            If the samples have no such parameter.
        """
        if parameter not in self.parameters:
            msg = f"unknown parameter {parameter!r}; the samples have {self.parameters}"
            raise ParameterError(msg)
        return np.array([s.point[parameter] for s in self.samples])

    @property
    def n_events(self) -> int:
        """Total number of events."""
        return sum(len(s) for s in self.samples)

    def at(self, **point: float) -> Sample:
        """The sample at one point.

        Raises
        ------
        ParameterError
            If there is none.
        """
        for sample in self.samples:
            if sample.point.keys() == point.keys() and all(
                np.isclose(sample.point[k], v, rtol=0, atol=1e-9) for k, v in point.items()
            ):
                return sample
        known = "; ".join(format_point(s.point) for s in self.samples)
        msg = f"no sample at {format_point(point)}; there are: {known}"
        raise ParameterError(msg)

    def split(self, fractions: Sequence[float], seed: int) -> tuple[SampleSet, ...]:
        """Split every sample by event, at random, into disjoint parts (before any bag is made)."""
        seeds = np.random.SeedSequence(seed).spawn(len(self.samples))
        parts = [s.split(fractions, seed=q) for s, q in zip(self.samples, seeds, strict=True)]
        return tuple(SampleSet(tuple(p[i] for p in parts)) for i in range(len(fractions)))

    def with_features(self, names: Sequence[str]) -> SampleSet:
        """The same events with a selection of feature columns, in the given order."""
        return SampleSet(
            tuple(
                dataclasses.replace(
                    s,
                    features=np.column_stack([s.column(n) for n in names]),
                    feature_names=tuple(names),
                )
                for s in self.samples
            )
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __repr__(self) -> str:
        return (
            f"SampleSet({len(self)} points in {', '.join(self.parameters) or 'no parameter'}, "
            f"{self.n_events} events, {len(self.feature_names)} features)"
        )

    def _repr_html_(self) -> str:
        from milinfer.samples.sample_tables import html_samples

        return html_samples(self)

    def to_table(self) -> pa.Table:
        """A row for each sample; see :func:`milinfer.samples.sample_tables.samples_table`."""
        from milinfer.samples.sample_tables import samples_table

        return samples_table(self)
