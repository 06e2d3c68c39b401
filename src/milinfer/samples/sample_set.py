"""Sets of samples of one process at several parameter points, with the same features.

A notebook shows a set as a table with one row for each sample.  :meth:`SampleSet.to_table` makes an
Arrow table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.sample import Sample, require_same_beams, sample_row, split_rows
from milinfer.typing import FloatArray, IntArray, PathLikeStr, Point
from milinfer.utils.display import (
    arrow_table,
    html_table,
    measured,
    point_types,
    shortened,
)
from milinfer.utils.keywords import require_keywords
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.samples.cross_sections import Combine

__all__ = ["SampleSet", "feature_count", "html_samples", "samples_table", "split_rows_each"]


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of one process at several parameter points, with the same features.

    Raises
    ------
    SampleError
        If feature names or parameter names differ, or if two samples have the same point.

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
        points: set[tuple[tuple[str, float], ...]] = set()
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
            if key in points:
                msg = f"two samples for {sample.label}; join them with Sample.concatenate"
                raise SampleError(msg)
            points.add(key)

    @classmethod
    def by_point(cls, samples: Iterable[Sample], combine: Combine | None = None) -> SampleSet:
        """Make a set of any number of samples; samples at the same point are concatenated.

        The points are in the order in which they first occur.  `combine` says whether samples at
        the same point are slices or runs of the process; see :meth:`Sample.concatenate`.

        Raises
        ------
        SampleError
            If there are no samples, or if they cannot be joined to a set.

        Examples
        --------
        >>> import numpy as np
        >>> parts = [Sample(np.zeros((2, 1)), ("x",), point={"mu": m}) for m in (0.5, 0, 0.5)]
        >>> [(s.point, len(s)) for s in SampleSet.by_point(parts)]
        [({'mu': 0.5}, 4), ({'mu': 0.0}, 2)]
        """
        groups: dict[tuple[tuple[str, float], ...], list[Sample]] = {}
        for sample in samples:
            groups.setdefault(tuple(sample.point.items()), []).append(sample)
        return cls(tuple(Sample.concatenate(group, combine) for group in groups.values()))

    @classmethod
    def from_files(
        cls, files: Mapping[float, PathLikeStr], parameter: str, **options: Any
    ) -> SampleSet:
        """Read one file for each value of a parameter.

        Parameters
        ----------
        files
            Mapping from the value of the parameter to a path of an LHE, ROOT or Parquet file.
        parameter
            Name of the parameter.
        options
            Passed to :func:`milinfer.samples.sample_files.read_sample` (``features=``, ``workers=``
            and others).

        Raises
        ------
        SampleError
            If `files` is not a dictionary.
        """
        given: object = files
        if not isinstance(given, Mapping):
            msg = (
                f"SampleSet.from_files() takes a dictionary, {{value: path}}, not a "
                f"{type(given).__name__}; read files that record their points with "
                "SampleSet([Sample.from_file(path) for path in paths])"
            )
            raise SampleError(msg)
        return cls(
            tuple(
                Sample.from_file(path, point={parameter: float(value)}, **options)
                for value, path in files.items()
            )
        )

    @classmethod
    def from_arrays(
        cls, data: Any, features: str | Sequence[str] | None = None, *, points: Any, **options: Any
    ) -> SampleSet:
        """Make a set from arrays, a data frame or awkward records, with one sample for each point.

        Every row is in exactly one sample; the rows of a sample keep their order.

        Parameters
        ----------
        data, features
            As for :meth:`Sample.from_arrays`; columns that `points` or other arguments use are not
            features.
        points
            Parameter point of each row: the name of a column (or several names), or a mapping of
            parameters to columns, ``{"mu": array}``.  The samples are in ascending order of the
            first parameter, then of the next.
        options
            ``weights``, ``reweights`` and ``reweight_points`` as for :meth:`Sample.from_arrays`.

            ``process``: the name of the process.

            ``labels``: a label for each row (a column or its name).  If it is given, `points` must
            be a mapping from each label to its point, ``{"sm": {"mu": 0.0}}``, and the samples are
            in the order of this mapping.

            ``cross_section`` and ``cross_section_error`` in pb: a number, a column that is constant
            in each sample, or a mapping with a number for each sample.  The keys of this mapping
            are the values of the parameter; for several parameters, tuples of values; with
            ``labels``, the labels.

        Raises
        ------
        SampleError
            As for :meth:`Sample.from_arrays`; also if points differ by rounding only, or if labels
            are unknown.

        Examples
        --------
        >>> data = {"x": [0.1, 0.2, 0.3, 0.4], "mu": [1, 0, 1, 0], "w": [1.0, 1.0, 0.5, 0.5]}
        >>> samples = SampleSet.from_arrays(data, points="mu", weights="w")
        >>> [(s.point, s.column("x").tolist(), s.weights.tolist()) for s in samples]
        [({'mu': 0.0}, [0.2..., 0.4...], [1.0, 0.5]), ({'mu': 1.0}, [0.1..., 0.3...], [1.0, 0.5])]
        """
        from milinfer.samples.arrays import point_fields

        taken = ["data", "features", "points"]
        require_keywords(options, point_fields, "SampleSet.from_arrays()", leave_out=taken)
        parts = point_fields(data, features, points=points, **options)
        return cls(tuple(Sample(**fields) for fields in parts))

    @classmethod
    def from_accumulator(
        cls,
        output: Mapping[str, Any],
        features: Sequence[str] | None = None,
        *,
        points: Mapping[str, Point],
        **options: Any,
    ) -> SampleSet:
        """Make a set from the output of a coffea processor, with one sample for each dataset.

        Parameters
        ----------
        output
            Accumulators by dataset, as for :meth:`Sample.from_accumulator`.
        features
            Columns to take, in this order; default: all, in the order of the first dataset.
        points
            Mapping from the name of a dataset to its parameter point.  Datasets that are not in
            this mapping are left out.
        options
            As for :meth:`Sample.from_accumulator`, but ``cross_section``, ``cross_section_error``
            and ``sum_of_weights`` are mappings from the name of a dataset to a number.

        Raises
        ------
        SampleError
            As for :meth:`Sample.from_accumulator`; the message names dataset and column.

        Examples
        --------
        >>> import numpy as np
        >>> from milinfer.features.feature_set import FeatureTable
        >>> table = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))
        >>> output = {"sm": table.accumulate(), "bsm": table.accumulate()}
        >>> SampleSet.from_accumulator(output, points={"sm": {"mu": 0.0}, "bsm": {"mu": 1.0}})
        SampleSet(2 points in mu, 6 events, 1 features)
        """
        from milinfer.samples.accumulators import accumulator_fields, dataset_fields

        taken = ["output", "features", "point", "dataset"]
        where = "SampleSet.from_accumulator()"
        require_keywords(options, accumulator_fields, where, leave_out=taken)
        parts = dataset_fields(output, features, points=points, **options)
        return cls(tuple(Sample(**fields) for fields in parts))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return self.samples[0].feature_names

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.samples[0].point)

    def values(self, parameter: str) -> FloatArray:
        """Return the value of one parameter for each sample, shape (n_samples,).

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
        """Return the sample at one point.

        Raises
        ------
        ParameterError
            If there is no sample at this point.
        """
        for sample in self.samples:
            if sample.point.keys() == point.keys() and all(
                np.isclose(sample.point[k], v, rtol=0, atol=1e-9) for k, v in point.items()
            ):
                return sample
        points = "; ".join(format_point(s.point) for s in self.samples)
        msg = f"no sample at {format_point(point)}; there are: {points}"
        raise ParameterError(msg)

    def split(self, fractions: Sequence[float], seed: int) -> tuple[SampleSet, ...]:
        """Split the events of every sample at random into disjoint parts; see `Sample.split`."""
        rows = split_rows_each([len(s) for s in self.samples], fractions, seed)
        return tuple(
            SampleSet(tuple(s.take(r) for s, r in zip(self.samples, part, strict=True)))
            for part in rows
        )

    def with_features(self, names: Sequence[str]) -> SampleSet:
        """Select feature columns, in the given order."""
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
        return html_samples(self)

    def to_table(self) -> pa.Table:
        """Make a table of the samples; see :func:`milinfer.samples.sample_set.samples_table`."""
        return samples_table(self)


_TYPES: Mapping[str, type] = {
    "n_events": int,
    "sum_of_weights": float,
    "negative_fraction": float,
    "effective_events": float,
    "cross_section": float,
    "cross_section_error": float,
}


def split_rows_each(
    numbers: Sequence[int], fractions: Sequence[float], seed: int
) -> tuple[tuple[IntArray, ...], ...]:
    """Draw the rows of each part of :meth:`SampleSet.split`, for each sample.

    Parameters
    ----------
    numbers
        Number of events of each sample.
    fractions, seed
        As for :meth:`SampleSet.split`.

    Examples
    --------
    >>> first, second = split_rows_each([4, 2], [0.5, 0.5], seed=1)
    >>> [len(rows) for rows in first]
    [2, 1]
    """
    seeds = np.random.SeedSequence(seed).spawn(len(numbers))
    rows = [split_rows(n, fractions, q) for n, q in zip(numbers, seeds, strict=True)]
    return tuple(zip(*rows, strict=True))


def samples_table(samples: SampleSet) -> pa.Table:
    """Make an Arrow table with one row for each sample.

    Columns: ``process``, ``point.PARAMETER``, ``n_events``, ``sum_of_weights``,
    ``negative_fraction`` (fraction of events with negative weights), ``effective_events``
    (Σw)²/Σ(w²), ``cross_section`` and ``cross_section_error`` in pb.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> table = samples_table(gaussian.samples(100, [0.0, 0.5], seed=1))
    >>> table["point.mu"].to_pylist(), table["n_events"].to_pylist()
    ([0.0, 0.5], [100, 100])
    """
    types = {"process": str, **point_types(samples.parameters), **_TYPES}
    return arrow_table(types, [sample_row(s) for s in samples])


def feature_count(names: Sequence[str]) -> str:
    """Write the number and the names of features as a text, for titles.

    Examples
    --------
    >>> feature_count(("x", "y"))
    '2 features: x, y'
    """
    return f"{len(names)} feature{'' if len(names) == 1 else 's'}: {shortened(names)}"


def html_samples(samples: SampleSet) -> str:
    """Make an HTML table of samples, with the features in its title.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> html_samples(gaussian.samples(100, [0.0, 0.5], seed=1)).count("<tr>")
    3
    """
    return html_table(
        ("process", "point", "events", "effective events", "cross-section"),
        _cells(samples.samples),
        title=f"{samples.n_events} events, {feature_count(samples.feature_names)}",
    )


def _cells(samples: Sequence[Sample]) -> list[list[str]]:
    rows = [(s, sample_row(s)) for s in samples]
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
