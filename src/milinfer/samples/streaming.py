"""Train on samples that do not fit into memory, from Parquet files that are read in pieces.

Points, names and numbers of events are read from the metadata of the files.  The events are read
one row group at a time.  An epoch consists of several pieces: each piece is an ordinary
:class:`~milinfer.samples.sample_set.SampleSet` with events of every sample, from row groups in
random order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.sample import Sample, sample_of_file
from milinfer.samples.sample_files import RowGroups
from milinfer.samples.sample_set import SampleSet, feature_count
from milinfer.typing import BoolArray, PathLikeStr, Point
from milinfer.utils.arguments import as_path, is_address
from milinfer.utils.display import html_table
from milinfer.utils.files import file_name
from milinfer.utils.points import format_point

__all__ = ["StreamedSample", "StreamedSamples"]

# Memory is shared by the piece in training, the next piece, its row groups, and held-out events.
_SHARES = 4

# Attributes of samples in memory that streamed samples lack.
_IN_MEMORY = frozenset(
    ("features", "weights", "reweights", "column", "take", "values", "at", "with_features")
)


def _not_in_memory(what: StreamedSample | StreamedSamples, name: str) -> NoReturn:
    if name in _IN_MEMORY:
        msg = (
            f"{name!r} of streamed samples is not in memory: only BagLikelihood.fit takes streamed "
            "samples; for anything else read fewer events with SampleSet.from_files"
        )
        raise ConfigurationError(msg)
    msg = f"{type(what).__name__!r} object has no attribute {name!r}"
    raise AttributeError(msg)


@dataclass(frozen=True)
class StreamedSample:
    """Events of one process at one parameter point, in a Parquet file.

    Parameters
    ----------
    path
        The file, or its address.
    point
        Parameter point.
    process
        Name of the process.
    feature_names
        Names of the feature columns.
    groups
        Number of events in each row group of the file.
    """

    path: PathLikeStr
    point: Point
    process: str
    feature_names: tuple[str, ...]
    groups: tuple[int, ...]

    @classmethod
    def from_file(
        cls, path: PathLikeStr, *, point: Point | None = None, features: Sequence[str] | None = None
    ) -> StreamedSample:
        """Open a Parquet file of features; the events stay on disk.

        Raises
        ------
        ConfigurationError
            If `path` is not a Parquet file.
        SampleError
            If the file is damaged, or has no events.
        """
        file = path if is_address(path) else as_path(path)
        if not file_name(file).lower().endswith((".parquet", ".pq")):
            msg = f"{file}: only Parquet files of features can be streamed; write one with to_file"
            raise ConfigurationError(msg)
        groups = RowGroups(file, features=features, point=point)
        if not sum(groups.sizes):
            msg = f"{file} has no events; produce it again"
            raise SampleError(msg)
        first = sample_of_file(groups.read(0, keep_reweights=False), file)
        return cls(
            path=file,
            point=first.point,
            process=first.process,
            feature_names=first.feature_names,
            groups=groups.sizes,
        )

    @property
    def label(self) -> str:
        """Process and point, for messages."""
        return f"{self.process} at {format_point(self.point)}"

    def __len__(self) -> int:
        return sum(self.groups)

    def __getattr__(self, name: str) -> NoReturn:
        _not_in_memory(self, name)

    def empty(self) -> Sample:
        """Make a sample with the same point and features, but no events."""
        features = np.empty((0, len(self.feature_names)), np.float32)
        return Sample(features, self.feature_names, point=self.point, process=self.process)

    def read(self, numbers: Iterable[int], *, keep_reweights: bool = False) -> Iterator[Sample]:
        """Read some row groups, one after the other.

        Raises
        ------
        SampleError
            If the file is damaged, or has changed.
        """
        groups = RowGroups(self.path, features=self.feature_names, point=self.point)
        if groups.sizes != self.groups:
            msg = f"{self.path} has changed since training began; start again"
            raise SampleError(msg)
        for number in numbers:
            fields = groups.read(int(number), keep_reweights=keep_reweights)
            yield sample_of_file(fields, self.path)


@dataclass(frozen=True, eq=False)
class StreamedSamples:
    """Samples at several parameter points in Parquet files, for training in pieces.

    Training reads a few row groups of every file at a time, so that memory does not limit the
    number of events.

    Parameters
    ----------
    samples
        One streamed sample for each point; see :meth:`from_files`.
    events_in_memory
        Largest number of events in memory.  A quarter of this number is used for training at a
        time.
    held_out
        Fraction of the events that is left out for validation.
    seed
        Random seed of the split into training and validation.

    Raises
    ------
    SampleError
        If feature names or parameter names differ, or if two samples have the same point.
    ConfigurationError
        If `events_in_memory` is less than the row groups of the files need.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.datasets import gaussian
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = {mu: pathlib.Path(folder, f"{mu}.parquet") for mu in (0.0, 0.5)}
    ...     for sample, file in zip(gaussian.samples(1000, files, seed=1), files.values()):
    ...         sample.to_file(file)
    ...     samples = StreamedSamples.from_files(files, "mu", events_in_memory=10_000)
    ...     train, held_out = samples.split([0.8, 0.2], seed=1)
    ...     pieces = list(train.pieces(np.random.default_rng(1)))
    >>> samples
    StreamedSamples(2 points in mu, 2000 events, 1 features, 10000 in memory)
    >>> train.n_events + held_out.n_events, [piece.n_events for piece in pieces] == [train.n_events]
    (2000, True)
    """

    samples: tuple[StreamedSample, ...]
    events_in_memory: int = 2_000_000
    held_out: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        SampleSet(tuple(s.empty() for s in self.samples))  # has the same rules
        least = sum(max(s.groups) for s in self.samples)
        if self._piece_events < least:
            msg = (
                f"events_in_memory={self.events_in_memory} is too small: the largest row groups "
                f"of the {len(self)} samples have {least} events together, but they may use only a "
                f"quarter of the memory; give {_SHARES * least} or more, or write the files with "
                "smaller row groups (Sample.to_file does)"
            )
            raise ConfigurationError(msg)

    @classmethod
    def from_files(
        cls,
        files: Mapping[float, PathLikeStr],
        parameter: str,
        *,
        features: Sequence[str] | None = None,
        events_in_memory: int = 2_000_000,
    ) -> StreamedSamples:
        """Open one Parquet file for each value of a parameter.

        Parameters
        ----------
        files
            Mapping from the value of the parameter to the path of a Parquet file.
        parameter
            Name of the parameter.
        features
            Names of columns; default: all features of the files.
        events_in_memory
            Largest number of events in memory.
        """
        return cls(
            tuple(
                StreamedSample.from_file(path, point={parameter: float(value)}, features=features)
                for value, path in files.items()
            ),
            events_in_memory,
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return self.samples[0].feature_names

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.samples[0].point)

    @property
    def _piece_events(self) -> int:
        return self.events_in_memory // _SHARES

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of events of each sample, without events held out for validation."""
        return tuple(
            sum(
                int(self._training_mask(k, g).sum()) if self.held_out else n
                for g, n in enumerate(s.groups)
            )
            for k, s in enumerate(self.samples)
        )

    @property
    def n_events(self) -> int:
        """Total number of events, without events held out for validation."""
        return sum(self.counts)

    @property
    def n_pieces(self) -> int:
        """Number of pieces of an epoch."""
        return max(1, math.ceil(self.n_events / self._piece_events))

    def split(self, fractions: Sequence[float], seed: int) -> tuple[StreamedSamples, SampleSet]:
        """Split the events into a training part on disk and a validation part in memory.

        The validation part has at most a quarter of `events_in_memory` events, whatever the
        fractions.  Whether an event is for training or validation depends only on the seed and on
        its position in the file.

        Raises
        ------
        ConfigurationError
            If `fractions` are not two numbers that sum to one, or if the samples have been split
            before.
        """
        if len(fractions) != 2 or not np.isclose(sum(fractions), 1) or self.held_out:
            msg = (
                f"streamed samples can be split only once and in two parts, not in "
                f"{list(fractions)}; keep events for calibration and tests in separate files"
            )
            raise ConfigurationError(msg)
        held_out = min(fractions[1], self._piece_events / self.n_events)
        train = dataclasses.replace(self, held_out=held_out, seed=seed)
        held_out_samples = []
        for k, sample in enumerate(self.samples):
            everything = sample.read(range(len(sample.groups)), keep_reweights=True)
            parts = [
                part.take(np.flatnonzero(~train._training_mask(k, g)))
                for g, part in enumerate(everything)
            ]
            held_out_samples.append(Sample.concatenate(parts))
        return train, SampleSet(tuple(held_out_samples))

    def pieces(
        self, rng: np.random.Generator, *, keep_reweights: bool = False
    ) -> Iterator[SampleSet]:
        """Yield the pieces of an epoch, which together contain every event once.

        Row groups are read in random order, and each sample is spread evenly over the pieces.  All
        pieces have the same number of events, except for the last piece, which may have a few more.

        Parameters
        ----------
        rng
            Random generator for the order.
        keep_reweights
            Whether to read the weights at other points.
        """
        streams = [
            self._stream(k, rng.permutation(len(sample.groups)).tolist(), keep_reweights)
            for k, sample in enumerate(self.samples)
        ]
        waiting: dict[int, Sample] = {}
        for number in range(self.n_pieces):
            last = number == self.n_pieces - 1
            piece = []
            for k, stream in enumerate(streams):
                parts = [waiting.pop(k)] if k in waiting else []
                quota = self.counts[k] // self.n_pieces
                while last or sum(len(p) for p in parts) < quota:
                    more = next(stream, None)
                    if more is None:
                        break
                    parts.append(more)
                joined = Sample.concatenate(parts)
                if not last:
                    # A copy, so that the rest of `joined` is freed.
                    waiting[k] = joined.take(np.arange(quota, len(joined)))
                    joined = joined.take(slice(0, quota))
                piece.append(joined)
            yield SampleSet(tuple(piece))
            del piece, joined  # free them before the next piece

    def in_order(self, *, keep_reweights: bool = False) -> Iterator[tuple[int, Sample]]:
        """Yield the events of each row group with the number of their sample, in order.

        Events held out for validation are left out.
        """
        for k, sample in enumerate(self.samples):
            for part in self._stream(k, range(len(sample.groups)), keep_reweights):
                yield k, part

    def _stream(self, k: int, groups: Sequence[int], keep_reweights: bool) -> Iterator[Sample]:
        parts = self.samples[k].read(groups, keep_reweights=keep_reweights)
        for g, part in zip(groups, parts, strict=True):
            yield part.take(np.flatnonzero(self._training_mask(k, g))) if self.held_out else part

    def _training_mask(self, k: int, group: int) -> BoolArray:
        """Mask of the events of a row group that are not left out."""
        rng = np.random.default_rng([self.seed, k, group])
        return rng.random(self.samples[k].groups[group]) >= self.held_out

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[StreamedSample]:
        return iter(self.samples)

    def __getattr__(self, name: str) -> NoReturn:
        _not_in_memory(self, name)

    def __getitem__(self, index: int) -> StreamedSample:
        return self.samples[index]

    def __repr__(self) -> str:
        return (
            f"StreamedSamples({len(self)} points in {', '.join(self.parameters) or 'no parameter'},"
            f" {self.n_events} events, {len(self.feature_names)} features, "
            f"{self.events_in_memory} in memory)"
        )

    def _repr_html_(self) -> str:
        rows = [[s.process, format_point(s.point), str(len(s)), str(s.path)] for s in self]
        title = (
            f"{self.n_events} events, {feature_count(self.feature_names)}; "
            f"at most {self.events_in_memory} events in memory"
        )
        return html_table(("process", "point", "events", "file"), rows, title=title)
