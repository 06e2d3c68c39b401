"""Hold the events of one process at one parameter point, as named feature columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milinfer.exceptions import MilinferError, SampleError
from milinfer.samples.cross_sections import cross_section_in_pb
from milinfer.samples.joining import joined_fields
from milinfer.samples.weights import effective_number
from milinfer.typing import BoolArray, Float32Array, FloatArray, IntArray, PathLikeStr, Point, Seed
from milinfer.utils.arguments import require_seed, short_repr
from milinfer.utils.display import (
    html_facts,
    measured,
    point_cells,
    shortened,
)
from milinfer.utils.keywords import require_keywords
from milinfer.utils.points import finite_point, format_point

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureTable
    from milinfer.samples.cross_sections import Combine
    from milinfer.samples.sample_fields import SampleFields
    from milinfer.typing import AwkwardArray

__all__ = [
    "Sample",
    "as_features",
    "html_sample",
    "read_data",
    "require_fractions",
    "require_same_beams",
    "check_sample_counts",
    "sample_of_file",
    "sample_row",
    "split_rows",
]


@dataclass(frozen=True, eq=False)
class Sample:
    """Events of one process at one parameter point.

    Parameters
    ----------
    features
        Array of shape (n_events, n_features); stored as float32.
    feature_names
        One name for each column.
    weights
        Event weights of shape (n_events,), float64, negative ones allowed; default: all 1.
    point
        Parameter point, such as ``{"c_HW": 0.5}``; empty for a process that does not depend on
        the parameters (a background).
    process
        Name of the process.
    cross_section, cross_section_error
        Cross-section and its error in pb, after all cuts; NaN if unknown.  The sum of the weights
        corresponds to this cross-section; the weights may have any normalisation.
    reweights
        Mapping from names to weights of the same events at other points, each of shape (n_events,).
    reweight_points
        Mapping from the name of a weight in `reweights` to its parameter point, if it is known.
    provenance
        Origin of the events.  JSON must be able to store it (numbers, texts, lists, dicts).

    Raises
    ------
    SampleError
        If shapes disagree, or if a feature or a weight is not finite.  The message names the event.

    Examples
    --------
    >>> import numpy as np
    >>> sample = Sample(np.zeros((3, 1)), ("x",), point={"mu": 0.5})
    >>> sample
    Sample(3 events, 1 feature, signal at mu=0.5)
    >>> sample.weights
    array([1., 1., 1.])
    """

    features: Float32Array
    feature_names: tuple[str, ...]
    weights: FloatArray = None  # type: ignore[assignment]  # filled in __post_init__
    point: Point = field(default_factory=dict)
    process: str = "signal"
    cross_section: float = float("nan")
    cross_section_error: float = float("nan")
    reweights: Mapping[str, FloatArray] = field(default_factory=dict)
    reweight_points: Mapping[str, Point] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        raw_features: ArrayLike = self.features
        raw_weights: ArrayLike | None = self.weights
        features = _numbers(raw_features, "features", np.float32, self.process)
        weights = np.ones(len(features)) if raw_weights is None else raw_weights
        put = object.__setattr__
        # first: labels of errors contain both
        process: object = self.process
        if not isinstance(process, str):
            msg = f"process={short_repr(process)} is not a name of a process; give a text"
            raise SampleError(msg)
        put(self, "point", finite_point(self.point, self.process, SampleError))
        for name in ("cross_section", "cross_section_error"):
            put(self, name, cross_section_in_pb(getattr(self, name), name, self.label))
        put(self, "features", features)
        put(self, "feature_names", tuple(self.feature_names))
        put(self, "weights", _numbers(weights, "'weight'", np.float64, self.label))
        put(
            self,
            "reweights",
            {
                k: _numbers(v, f"weight {k!r}", np.float64, self.label)
                for k, v in self.reweights.items()
            },
        )
        self._validate(raw_features)

    def _validate(self, raw_features: ArrayLike) -> None:
        """Refuse arrays that do not fit together or are not finite."""
        names, features = self.feature_names, self.features
        if features.ndim != 2 or features.shape[1] != len(names):
            msg = (
                f"{self.label}: features have shape {features.shape}, "
                f"but {len(names)} feature names are given"
            )
            raise SampleError(msg)
        if len(set(names)) != len(names):
            msg = f"{self.label}: feature names are not unique: {names}"
            raise SampleError(msg)
        n = len(features)
        for name, column in {"weight": self.weights, **self.reweights}.items():
            if column.shape != (n,):
                msg = f"{self.label}: {name!r} has shape {column.shape}, but there are {n} events"
                raise SampleError(msg)
            self._require_finite(np.isfinite(column), f"weight {name!r}")
        unknown = set(self.reweight_points) - set(self.reweights)
        if unknown:
            msg = (
                f"{self.label}: reweight_points contains unknown weights {sorted(unknown)}; give "
                "these reweights too"
            )
            raise SampleError(msg)
        if self.cross_section_error < 0:
            msg = (
                f"{self.label}: cross_section_error is {self.cross_section_error:g}; give a value "
                "that is not negative"
            )
            raise SampleError(msg)
        finite = np.isfinite(features)
        if not finite.all():
            column_index = int(np.argmin(finite.all(axis=0)))
            self._require_finite(
                finite[:, column_index],
                f"feature {names[column_index]!r}",
                "is too large for float32"
                if np.isfinite(np.asarray(raw_features, np.float64)).all()
                else "is not finite",
            )

    def _require_finite(self, good: BoolArray, what: str, wrong: str = "is not finite") -> None:
        if not good.all():
            event = int(np.argmin(good))
            msg = (
                f"{self.label}: {what} {wrong} in event {event} "
                f"({int((~good).sum())} such events); fix or reject these events"
            )
            raise SampleError(msg)

    @property
    def label(self) -> str:
        """Process and point, for messages."""
        return f"{self.process} at {format_point(self.point)}" if self.point else self.process

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.features)

    def __len__(self) -> int:
        return self.n_events

    def __repr__(self) -> str:
        plural = "" if len(self.feature_names) == 1 else "s"
        return (
            f"Sample({self.n_events} events, {len(self.feature_names)} feature{plural}, "
            f"{self.label})"
        )

    def _repr_html_(self) -> str:
        return html_sample(self)

    @property
    def fields(self) -> SampleFields:
        """The arguments from which this sample can be made again.  Files store them."""
        from milinfer.samples.sample_fields import SampleFields

        return SampleFields(**{name: getattr(self, name) for name in SampleFields._fields})

    def column(self, name: str) -> Float32Array:
        """Return one feature, shape (n_events,).

        Raises
        ------
        SampleError
            If there is no such feature.
        """
        if name not in self.feature_names:
            msg = f"{self.label} has no feature {name!r}; it has {', '.join(self.feature_names)}"
            raise SampleError(msg)
        return self.features[:, self.feature_names.index(name)]

    def take(self, index: IntArray | slice) -> Sample:
        """Select events by index, with their weights.  The cross-section does not change."""
        return dataclasses.replace(
            self,
            features=self.features[index],
            weights=self.weights[index],
            reweights={k: v[index] for k, v in self.reweights.items()},
        )

    def split(self, fractions: Sequence[float], seed: Seed) -> tuple[Sample, ...]:
        """Split the events at random into disjoint parts.

        The fractions must sum to one or less.  If they sum to one, every event is in exactly one
        part.

        Raises
        ------
        SampleError
            If the fractions are not positive, or if they sum to more than one.

        Examples
        --------
        >>> import numpy as np
        >>> sample = Sample(np.arange(10.0)[:, None], ("x",))
        >>> [len(part) for part in sample.split([0.6, 0.2, 0.2], seed=1)]
        [6, 2, 2]
        """
        rows = split_rows(self.n_events, fractions, seed)
        return tuple(self.take(part) for part in rows)

    def as_data(self) -> Sample:
        """Make a dataset of these events: all weights become one, as for data.

        Raises
        ------
        SampleError
            If the weights differ.  Draw a dataset from weighted events with
            :meth:`milinfer.Toys.dataset`.
        """
        if not np.all(self.weights == self.weights[:1]):
            msg = (
                f"{self.label}: the weights of the events differ, so they are not a dataset; draw "
                "a dataset from these events with Toys(...).dataset(...)"
            )
            raise SampleError(msg)
        return dataclasses.replace(self, weights=np.ones(self.n_events))

    def require_data(self) -> None:
        """Raise unless the weights are those of data, or of Asimov data.

        Raises
        ------
        SampleError
            If all weights are equal, but not 1.  Such events are simulated events, and their
            weights would scale the likelihood.
        """
        if "asimov" in self.provenance:
            return
        if self.n_events and self.weights[0] != 1 and np.all(self.weights == self.weights[0]):
            msg = (
                f"{self.label}: every event has the weight {self.weights[0]:g}, as in simulation; "
                "use sample.as_data() to fit these events as a dataset"
            )
            raise SampleError(msg)

    def __add__(self, other: Sample) -> Sample:
        """Concatenate two samples of the same process, point, features and cross-section."""
        return Sample.concatenate([self, other])

    @staticmethod
    def concatenate(samples: Sequence[Sample], combine: Combine | None = None) -> Sample:
        """Concatenate samples of the same process, point and features.

        Parameters
        ----------
        samples
            The samples.  Their order does not change cross-section and weights.
        combine
            ``"sum"`` for disjoint slices of a process (in HT, in m_jj): the cross-sections are
            added.  The weights of each slice are scaled so that their sum is in proportion to the
            cross-section of the slice; the weights at other points are scaled by the same factor.

            ``"mean"`` for runs of one process: the cross-sections are averaged.  If the runs have
            different mean weights, the weights are scaled to one mean.

            Default: ``"mean"`` if the cross-sections agree within their errors; an error if they do
            not agree.  See :func:`milinfer.samples.cross_sections.join_cross_sections`.

        Raises
        ------
        SampleError
            If process, point or features of the samples differ, or if their cross-sections differ
            and `combine` is not given.

        Examples
        --------
        >>> import numpy as np
        >>> low, high = (
        ...     Sample(np.zeros((2, 1)), ("x",), cross_section=s, cross_section_error=s / 100)
        ...     for s in (3.0, 1.0)
        ... )
        >>> joined = Sample.concatenate([low, high], combine="sum")
        >>> joined.cross_section, joined.weights
        (4.0, array([1.5, 1.5, 0.5, 0.5]))
        """
        if not samples:
            msg = "concatenate() got an empty list of samples; give at least one sample"
            raise SampleError(msg)
        first = samples[0]
        for other in samples[1:]:
            require_same_beams(first, other)
            differ = _differences(first, other)
            if differ:
                msg = f"cannot concatenate {_named(first)} and {_named(other)}: {'; '.join(differ)}"
                raise SampleError(msg)
        return dataclasses.replace(first, **joined_fields(samples, combine))

    def to_file(self, path: PathLikeStr) -> None:
        """Write to ``.parquet`` or ``.root`` without loss.

        See :func:`milinfer.samples.sample_files.write_sample`.
        """
        # Imported here, because the readers of event files take half a second to load.
        from milinfer.samples.sample_files import write_sample

        write_sample(self.fields, path)

    @staticmethod
    def from_file(path: PathLikeStr, **options: Any) -> Sample:
        """Read a sample from a file of features, or compute its features from a file of events.

        See :func:`milinfer.samples.sample_files.read_sample` for the options.
        """
        from milinfer.samples.sample_files import read_sample

        require_keywords(options, read_sample, "Sample.from_file()", leave_out=["path"])
        return sample_of_file(read_sample(path, **options), path)

    @staticmethod
    def from_table(
        table: FeatureTable, weights: ArrayLike | AwkwardArray | None = None, **options: Any
    ) -> Sample:
        """Make a sample from a table of features.

        Parameters
        ----------
        table
            Output of a :class:`~milinfer.FeatureSet`.
        weights
            Weights of the rows of the table, or of all events from which the features were
            computed; default: all 1.
        options
            Further arguments of :class:`~milinfer.Sample`: ``point=``, ``process=``, …

        Examples
        --------
        >>> import numpy as np
        >>> from milinfer.features.feature_set import FeatureTable
        >>> table = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))
        >>> Sample.from_table(table, point={"mu": 0.5})
        Sample(3 events, 1 feature, signal at mu=0.5)
        """
        taken = ["features", "feature_names", "weights"]
        require_keywords(options, Sample, "Sample.from_table()", leave_out=taken)
        return Sample(table.array, table.names, table.weights(weights), **options)

    @staticmethod
    def from_arrays(
        data: Any,
        features: str | Sequence[str] | None = None,
        *,
        weights: Any = None,
        reweights: Any = None,
        reweight_points: Mapping[str, Point] | Sequence[Point] | None = None,
        **options: Any,
    ) -> Sample:
        """Make a sample from arrays, a data frame or awkward records, one row for each event.

        Features are copied as float32, weights as float64.

        Parameters
        ----------
        data
            A data frame (pandas, polars), an Arrow table, awkward records with flat fields, a
            structured array, a mapping of names to columns, or a 2-D array.  The index of a data
            frame is ignored.  But if another argument is a pandas series, it must have the index of
            the data frame.
        features
            Names of the columns to take, in this order; for a 2-D array, the names of all its
            columns.  Default: all columns that no other argument uses.
        weights
            Event weights: the name of a column, or an array of shape (n_events,); default: all 1.
        reweights
            Weights of the same events at other points (not ratios): names of columns, a mapping of
            names to columns, or a 2-D array with one column for each of `reweight_points`.
        reweight_points
            The points of `reweights`: a mapping by name, or a list in the order of `reweights`.
        options
            Further arguments of :class:`~milinfer.Sample`: ``point=``, ``process=``,
            ``cross_section=``, …

        Raises
        ------
        SampleError
            If a column is missing, is used twice, or has an entry that is not a finite number.  The
            message names column and row.

        Examples
        --------
        >>> import numpy as np
        >>> x = np.array([[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]])
        >>> Sample.from_arrays(x, ["m_ll", "d_phi"], weights=np.ones(3), point={"mu": 0.5})
        Sample(3 events, 2 features, signal at mu=0.5)
        >>> columns = {"m_ll": x[:, 0], "genWeight": [1.0, 1.0, -1.0]}
        >>> Sample.from_arrays(columns, weights="genWeight", process="background").weights
        array([ 1.,  1., -1.])
        """
        from milinfer.samples.arrays import array_fields

        taken = ["features", "feature_names"]
        require_keywords(options, Sample, "Sample.from_arrays()", leave_out=taken)
        fields = array_fields(
            data, features, weights=weights, reweights=reweights, reweight_points=reweight_points
        )
        return Sample(**fields, **options)

    @staticmethod
    def from_accumulator(
        output: Any, features: Sequence[str] | None = None, *, point: Point, **options: Any
    ) -> Sample:
        """Make a sample from the output of a coffea processor for one dataset.

        Parameters
        ----------
        output
            The output of a :class:`~milinfer.FeatureProcessor` for a dataset (``output["tt"]``).
            If you write your own processor: the result of :meth:`FeatureTable.accumulate()
            <milinfer.features.feature_set.FeatureTable.accumulate>`, added up over chunks.  The
            sample keeps all weights and reweights; the cut flow is in ``provenance``.
        features
            Columns to take, in this order; default: all.
        point
            Parameter point; ``{}`` for a process that depends on no parameter, and for data.
        options
            ``process``: the name of the process.

            ``cross_section``, ``cross_section_error``: cross-section before any selection, and its
            error, in pb.  milinfer multiplies them by the fraction of the weights that pass the cut
            flow.

            ``sum_of_weights``: sum of the weights of all generated events.  Give it if the
            processor did not see all of these events (skims), or if there is no cut flow.

            ``reweight_points``: the points of the reweights, by name or in the order of the
            reweights; default: the points that the names state, such as ``"c_HW=0.5"`` or
            ``"c_HW_0p5"``.

        Raises
        ------
        SampleError
            If `output` is no such accumulator, or if a column does not have one finite number for
            each event.

        Examples
        --------
        >>> import awkward as ak
        >>> from milinfer.features.feature_set import FeatureSet
        >>> from milinfer.features.processor import FeatureProcessor
        >>> events = ak.Array({"x": [0.5, 1.5, 2.5, 3.5], "weight": [1.0, 1.0, 1.0, 1.0]})
        >>> flat = FeatureSet("flat", {"x": lambda o: o.x}, collections=())
        >>> processor = FeatureProcessor(flat, selection=lambda events: events.x > 1)
        >>> output = processor.postprocess(processor.process(events))
        >>> sample = Sample.from_accumulator(output["dataset"], point={"mu": 0}, cross_section=4.0)
        >>> sample, sample.cross_section
        (Sample(3 events, 1 feature, signal at mu=0), 3.0)
        """
        from milinfer.samples.accumulators import accumulator_fields

        taken = ["output", "features", "point"]
        require_keywords(options, accumulator_fields, "Sample.from_accumulator()", leave_out=taken)
        return Sample(**accumulator_fields(output, features, point=point, **options))


def _named(sample: Sample) -> str:
    """Name a sample with the files from which it was read."""
    files = sample.provenance.get("files", ())
    return f"{sample!r}" + (f" of {shortened(list(map(str, files)))}" if files else "")


def _differences(first: Sample, other: Sample) -> list[str]:
    """List the differences of two samples that cannot be joined."""
    differ = []
    for what, mine, others in (
        ("features", first.feature_names, other.feature_names),
        ("weights", tuple(first.reweights), tuple(other.reweights)),
    ):
        same = mine == others if what == "features" else set(mine) == set(others)
        if not same:
            names = [n for n in (*mine, *others) if (n in mine) != (n in others)]
            what_differs = f"only one has {shortened(names, 5)}" if names else "in another order"
            differ.append(f"different {what} ({what_differs})")
    if first.point != other.point:
        differ.append("different points")
    if first.process != other.process:
        differ.append("different processes")
    return differ


def require_fractions(fractions: object, *, of_all: bool = False) -> list[float]:
    """Check the fractions of a split, and return them as numbers.

    Parameters
    ----------
    fractions
        What was given.
    of_all
        True if the fractions must sum to 1, False if they may also sum to less.

    Raises
    ------
    SampleError
        If there are no fractions, if a fraction is not a positive number, or if the sum is wrong.

    Examples
    --------
    >>> require_fractions(["a half", 0.5])
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: fractions ['a half', 0.5] must be positive and sum to at most 1
    """
    numbers: list[float] = []
    if isinstance(fractions, Iterable) and not isinstance(fractions, str | bytes | Mapping):
        given = list(fractions)
        with suppress(OverflowError, TypeError, ValueError):
            numbers = [float(x) for x in given if not isinstance(x, str | bytes | bool)]
        total = sum(numbers)
        if (
            numbers
            and len(numbers) == len(given)
            and all(x > 0 for x in numbers)
            and (abs(total - 1) <= 1e-9 if of_all else total <= 1 + 1e-9)
        ):
            return numbers
    most = "" if of_all else "at most "
    msg = f"fractions {short_repr(fractions)} must be positive and sum to {most}1"
    raise SampleError(msg)


def split_rows(n_events: int, fractions: Sequence[float], seed: Seed) -> tuple[IntArray, ...]:
    """Draw the rows of each part of :meth:`Sample.split`.

    Raises
    ------
    SampleError
        If the fractions are not positive, or if they sum to more than one.

    Examples
    --------
    >>> [part.tolist() for part in split_rows(4, [0.5, 0.5], seed=1)]
    [[0, 1], [2, 3]]
    """
    fractions = require_fractions(fractions)
    require_seed(seed)
    edges = np.cumsum(fractions, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(n_events)
    stops = np.rint(np.minimum(edges, 1.0) * n_events).astype(int)
    starts = np.concatenate([[0], stops[:-1]])
    return tuple(order[a:b] for a, b in zip(starts, stops, strict=True))


def sample_of_file(fields: SampleFields, path: PathLikeStr) -> Sample:
    """Make a sample from the content of a file; errors name the file."""
    try:
        return Sample(**fields._asdict())
    except MilinferError as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error


def read_data(path: PathLikeStr, **options: Any) -> Sample:
    """Read a dataset; the file needs no parameter point.

    See :func:`milinfer.samples.sample_files.read_sample` for the options.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "data.parquet")
    ...     pq.write_table(pa.table({"x": [0.5, 1.5]}), file)
    ...     read_data(file, features=["x"], weight=None).point
    {}
    """
    return Sample.from_file(path, missing_point={}, **options)


def check_sample_counts(sample: Sample, source: str) -> str:
    """Check that events read = events kept + events rejected, and return these numbers as text.

    Raises
    ------
    SampleError
        If the numbers do not add up.

    Examples
    --------
    >>> import numpy as np
    >>> check_sample_counts(Sample(np.ones((2, 1)), ("x",)), "a.parquet")
    '2 events in, 2 out, 0 rejected'
    """
    from milinfer.features.feature_set import check_event_counts

    rejected = sample.provenance.get("rejected", {})
    n_events = sample.provenance.get("n_events", len(sample))
    return check_event_counts(n_events, len(sample), rejected, source)


def _numbers(
    values: ArrayLike, what: str, dtype: type[np.floating[Any]], label: str
) -> NDArray[np.floating[Any]]:
    """Convert to a contiguous array of real numbers."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            msg = f"they are of type {array.dtype}"
            raise TypeError(msg)
        with np.errstate(over="ignore"):  # what is infinite then is refused
            return np.ascontiguousarray(array, dtype=dtype)
    except (TypeError, ValueError) as error:
        msg = f"{label}: {what} must be an array of real numbers ({error})"
        raise SampleError(msg) from error


def require_same_beams(a: Sample, b: Sample) -> None:
    """Raise if the beams of two samples are known and differ."""
    mine, others = a.provenance.get("beams"), b.provenance.get("beams")
    if mine is not None and others is not None and mine != others:
        msg = (
            f"{a.label} and {b.label} were made with different beams ({mine} and {others}, PDG id "
            "and energy in GeV); do not use these samples together"
        )
        raise SampleError(msg)


def as_features(sample: Sample | ArrayLike, names: Sequence[str]) -> Float32Array:
    """Return the features of a sample in the order that a model expects.

    Raises
    ------
    SampleError
        If features are missing, or if an array has a wrong shape.
    """
    if isinstance(sample, Sample):
        if sample.feature_names == tuple(names):
            return sample.features
        missing = [n for n in names if n not in sample.feature_names]
        if missing:
            absent = ", ".join(missing)
            msg = f"{sample.label} has no features {absent}, which the model was trained on"
            raise SampleError(msg)
        return np.column_stack([sample.column(n) for n in names])
    array = np.asarray(sample, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != len(names):
        msg = f"the features have shape {array.shape}, but the model expects (n, {len(names)})"
        raise SampleError(msg)
    return array


def sample_row(sample: Sample) -> dict[str, Any]:
    """Numbers about a sample, for a row of a table."""
    weights = sample.weights
    return {
        "process": sample.process,
        **point_cells(sample.point),
        "n_events": len(sample),
        "sum_of_weights": float(weights.sum()),
        "negative_fraction": float(np.mean(weights < 0)) if len(sample) else None,
        "effective_events": effective_number(weights),
        "cross_section": sample.cross_section,
        "cross_section_error": sample.cross_section_error,
    }


def html_sample(sample: Sample) -> str:
    """Make an HTML table with the properties of one sample.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> "100" in html_sample(gaussian.generate(100, 0.0, seed=1))
    True
    """
    row, negative = sample_row(sample), int(np.sum(sample.weights < 0))
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
