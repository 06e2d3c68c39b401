"""Read the training events of a response from files, if they do not fit into memory.

The events are read in parts, in two passes.  The first pass computes sums of weights and moments,
keeps the held-out events in memory, and writes the nominal events to temporary files, from which
the mean response is computed later.  The second pass writes the training events with their weights
at all base points to temporary files.  It assigns events to files at random, and an event and its
varied copies to the same file.  An epoch reads these files in pieces.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.learning.response_events import (
    BasePoints,
    EventTotals,
    ResponseEvents,
    added_sums,
    total_weight,
)
from milinfer.learning.training_data import MomentSums, resolved_moments
from milinfer.likelihood.expected_response import weight_sums_at_points
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streamed_variations import StreamedVariations
from milinfer.samples.variation_joining import joined_variations
from milinfer.samples.variations import ProcessVariations
from milinfer.samples.weights import WeightSums
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.parallel import read_ahead

if TYPE_CHECKING:
    from milinfer.learning.networks.training_bags import StreamedBags, TrainingBags

__all__ = ["StackedFiles", "StreamedEvents", "StreamedPass", "number_of_rows", "read_streamed"]

# Number of files in a piece; each epoch combines other files.
_FILES = 8
# With fewer nominal events per file, the files could not all have the same number of events.
_FEW = 20


@dataclass(frozen=True, eq=False)
class StreamedEvents:
    """Training events of streamed variations, that is, all events that are not held out.

    Parameters
    ----------
    variations
        All events.
    held_out
        Fraction of the events in each of two held-out parts; 0 if separate validation events are
        given.
    seed
        Random seed of the split.
    names
        Nuisance parameters; if given, only variations that shift these are read.
    totals
        Sums of the weights of the training events, from :func:`read_streamed`.
    """

    variations: StreamedVariations
    held_out: float
    seed: int
    names: tuple[str, ...] | None = None
    totals: EventTotals | None = None

    @property
    def outline(self) -> ProcessVariations:
        """Return all samples, each reduced to one event of weight 1."""
        return self._restricted(self.variations.outline)

    def splits(
        self, nominal: NominalFiles | None = None
    ) -> Iterator[tuple[ProcessVariations, ...]]:
        """Yield training events and, if events are held out, the two held-out parts.

        Parameters
        ----------
        nominal
            Files to which the nominal events of all parts are also written; None: do not write
            them.
        """
        for number, whole in enumerate(self.variations.parts()):
            if nominal is not None:
                nominal.append(whole.nominal)
            if not self.held_out:
                yield (whole,)
                continue
            seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
            fractions = [1 - 2 * self.held_out, self.held_out, self.held_out]
            yield whole.split(fractions, seed)
            del whole  # frees it before the next part is read

    def stacked(self, base: BasePoints, names: Sequence[str]) -> StackedFiles:
        """Write the events with their weights at base points to temporary files.

        Raises
        ------
        SampleError
            If a file has changed, or weights do not sum to a positive number.
        ConfigurationError
            If the disk is full.
        """
        assert self.totals is not None
        self.totals.require_positive(self.outline, base.points)
        varied = [not v.weights_only for v in self.outline.variations]
        rows = [*[True] * len(self.outline.nominal), *varied]
        n_rows = int(self.totals.n_events[rows].sum())
        n_pieces = max(1, -(-n_rows // self.variations.piece_events))
        n_nominal = int(self.totals.n_events[: len(self.outline.nominal)].sum())
        n_files = n_pieces * int(np.clip(n_nominal // n_pieces // _FEW, 1, _FILES))
        files = StackedFiles(base, n_pieces, n_files)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, n_files]))
        for parts in self.splits():
            train = self._restricted(parts[0])
            del parts
            files.append(ResponseEvents.part(train, base, names, self.totals), rng)
            del train
        return files

    def _restricted(self, process: ProcessVariations) -> ProcessVariations:
        return process if self.names is None else process.restricted(self.names)


class StreamedPass(NamedTuple):
    """Results of one pass over streamed variations.

    Parameters
    ----------
    stop, check
        Held-out events.  Those in `stop` decide when the training stops and determine the scale.
        Those in `check` check the result.  None if no events are held out.
    mean, variance
        Means and variances of the features.
    weight_sums
        Sums of the nominal weights of all events at each point.
    totals
        Sums of the weights of the training events, for each set of base points.
    n_train
        Number of training events: nominal events plus events of feature variations.
    nominal
        All nominal events.
    """

    stop: ProcessVariations | None
    check: ProcessVariations | None
    mean: FloatArray
    variance: FloatArray
    weight_sums: list[list[WeightSums | None]]
    totals: list[EventTotals]
    n_train: int
    nominal: NominalFiles


def read_streamed(
    events: StreamedEvents, groups: Sequence[tuple[Sequence[str], BasePoints]]
) -> StreamedPass:
    """Read streamed variations once, and keep the events that are held out.

    Parameters
    ----------
    events
        Streamed events.
    groups
        Nuisance parameters and base points of each network.

    Raises
    ------
    SampleError
        If a file has changed, or all features are constant.
    ConfigurationError
        If the disk is full.
    """
    outline = events.outline
    sums = MomentSums(len(outline.nominal), len(outline.feature_names))
    kept: tuple[list[ProcessVariations], ...] = ([], [])
    weight_sums: list[list[list[WeightSums | None]]] = []
    totals: list[list[EventTotals]] = [[] for _ in groups]
    n_train, nominal = 0, NominalFiles()
    for parts in events.splits(nominal):
        for part in parts:
            for k, sample in enumerate(part.nominal):
                sums.add(k, sample)
            weight_sums.append(weight_sums_at_points(part.nominal))
        train = parts[0]
        n_train += number_of_rows(train)
        for own, (names, base) in zip(totals, groups, strict=True):
            chosen = train if len(groups) == 1 else train.restricted(names)
            own.append(EventTotals.of(chosen, base.points))
        for held_out, part in zip(kept, parts[1:], strict=False):
            held_out.append(part)
        del parts, part, train  # frees them before the next part is read
    mean, variance = resolved_moments(*sums.moments, outline.feature_names)
    stop, check = map(_together, kept)
    return StreamedPass(
        stop=stop,
        check=check,
        mean=mean,
        variance=variance,
        weight_sums=added_sums(weight_sums),
        totals=[EventTotals.joined(own) for own in totals],
        n_train=n_train,
        nominal=nominal,
    )


def number_of_rows(process: ProcessVariations) -> int:
    """Return the number of nominal events plus the number of varied events with own features."""
    nominal = sum(len(s) for s in process.nominal)
    return nominal + sum(len(v.sample) for v in process.variations if not v.weights_only)


def _together(parts: Sequence[ProcessVariations]) -> ProcessVariations | None:
    if not parts:
        return None
    joined = joined_variations([(p.nominal, p.variations) for p in parts], scaled=True)
    return ProcessVariations(*joined)


class _TemporaryFolder:
    """Folder of files that is deleted with this object."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="milinfer-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def _full(self, error: Exception) -> ConfigurationError:
        size = sum(f.stat().st_size for f in self._folder.iterdir()) / 1e9
        return ConfigurationError(
            f"{self._folder} has too little space for {size:.1f} GB of training events ({error}); "
            "set TMPDIR to a folder on a larger disk"
        )


class NominalFiles(_TemporaryFolder):
    """Nominal events in temporary files, which are deleted with this object."""

    def __init__(self) -> None:
        super().__init__()
        self._n_samples: list[int] = []

    def append(self, nominal: SampleSet) -> None:
        """Append the events of a part.

        Raises
        ------
        ConfigurationError
            If the disk is full.
        """
        files = self._files(len(self._n_samples), len(nominal))
        try:
            for sample, file in zip(nominal, files, strict=True):
                sample.to_file(file)
        except (OSError, SampleError) as error:
            raise self._full(error) from error
        self._n_samples.append(len(nominal))

    def parts(self) -> Iterator[SampleSet]:
        """Yield the events of each part."""
        for number, n_samples in enumerate(self._n_samples):
            files = self._files(number, n_samples)
            yield SampleSet(tuple(Sample.from_file(file) for file in files))

    def _files(self, number: int, n_samples: int) -> list[Path]:
        return [self._folder / f"part_{number}_{k}.parquet" for k in range(n_samples)]


class StackedFiles(_TemporaryFolder):
    """Temporary files with events and, for each event, its weights at all base points.

    Base points are the values of the nuisance parameters at which there are events or weights.  The
    files are deleted with this object.

    Parameters
    ----------
    base
        The base points.
    n_pieces
        Number of pieces in which an epoch is read.
    n_files
        Number of files, a multiple of `n_pieces`.
    """

    def __init__(self, base: BasePoints, n_pieces: int, n_files: int) -> None:
        super().__init__()
        self.base, self.n_pieces = base, n_pieces
        self.n_rows = np.zeros(n_files, dtype=np.int64)
        self._n_nominal = np.zeros(n_files, dtype=np.int64)
        self._total = 0.0
        self._like: ResponseEvents | None = None

    def append(self, events: ResponseEvents, rng: np.random.Generator) -> None:
        """Append events; they are distributed over all files equally, and at random.

        Parameters
        ----------
        events
            Some of the events.  An event and its varied copies are written to the same file.
        rng
            Random generator of the distribution.

        Raises
        ------
        ConfigurationError
            If the disk is full.
        """
        if self._like is None:
            self._like = _without_events(events)
        self._total += total_weight(events)
        n_nominal, n_files = events.n_nominal, len(self.n_rows)
        files = _random_files(events.groups, n_files, rng)[events.groups]
        own, varied = files[:n_nominal], files[n_nominal:]
        # Index of each nominal event in its file.
        order = np.argsort(own, kind="stable")
        counts = np.bincount(own, minlength=n_files)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        number = np.full(int(events.groups.max()) + 1, -1, dtype=np.int64)
        number[order] = np.arange(n_nominal) - starts + self._n_nominal[own[order]]
        kinds = _kinds(events)
        nominal_rows = np.empty(n_nominal, dtype=kinds["nominal"])
        varied_rows = np.empty(len(varied), dtype=kinds["varied"])
        for rows, part in ((nominal_rows, slice(n_nominal)), (varied_rows, slice(n_nominal, None))):
            rows["features"] = events.features[part]
            rows["weights"] = events.weights[part]
            rows["label"] = events.labels[part]
        nominal_rows["soft"] = events.soft
        varied_rows["partner"] = number[events.groups[n_nominal:]]
        try:
            for name, rows, places in (
                ("nominal", nominal_rows, own),
                ("varied", varied_rows, varied),
            ):
                self._write(name, rows, places)
        except OSError as error:
            raise self._full(error) from error
        self._n_nominal += counts
        self.n_rows += np.bincount(files, minlength=n_files)

    def _write(self, name: str, rows: NDArray[Any], places: IntArray) -> None:
        ordered = rows[np.argsort(places, kind="stable")]
        stops = np.cumsum(np.bincount(places, minlength=len(self.n_rows)))
        for number, part in enumerate(np.split(ordered, stops[:-1])):
            with (self._folder / f"{name}_{number}").open("ab") as file:
                file.write(part.tobytes())

    def read(self, numbers: Sequence[int] | IntArray) -> ResponseEvents:
        """Read the events of some files.

        The weights are scaled so that their sum over all files is the number of all events.
        """
        like = self._like
        assert like is not None
        factor = float(self.n_rows.sum()) / self._total
        kinds = _kinds(like)
        nominal, varied = (
            [np.fromfile(self._folder / f"{name}_{number}", kinds[name]) for number in numbers]
            for name in kinds
        )
        n_nominal = sum(len(rows) for rows in nominal)
        groups, first = [np.arange(n_nominal)], 0
        next_group = n_nominal
        for own, copies in zip(nominal, varied, strict=True):
            alone = copies["partner"] < 0
            group = copies["partner"] + first
            group[alone] = next_group + np.arange(alone.sum())
            next_group += int(alone.sum())
            first += len(own)
            groups.append(group)
        rows = [*nominal, *varied]
        return ResponseEvents(
            base=self.base,
            features=np.concatenate([r["features"] for r in rows]),
            weights=factor * np.concatenate([r["weights"] for r in rows], dtype=np.float64),
            labels=np.concatenate([r["label"] for r in rows], dtype=np.int64),
            groups=np.concatenate(groups),
            factors=like.factors,
            varied=like.varied,
            soft=factor * np.concatenate([r["soft"] for r in nominal], dtype=np.float64),
            soft_places=like.soft_places,
            paired=like.paired,
            yield_errors=like.yield_errors,
        )

    def in_pieces(self, rng: np.random.Generator | None = None) -> Iterator[ResponseEvents]:
        """Yield all events in pieces of several files, in random order if `rng` is given."""
        order = np.arange(len(self.n_rows)) if rng is None else rng.permutation(len(self.n_rows))
        for numbers in order.reshape(self.n_pieces, -1):
            yield self.read(numbers)

    def bags(self) -> StreamedBags:
        """Return bags with one event each, for the training."""
        from milinfer.learning.networks.training_bags import PairedEvents, StreamedBags

        # All pieces have this many events, so that one compilation serves all.  The few additional
        # events of some pieces are left out; they are different events in every epoch.
        n_drawn = int(self.n_rows.min()) * (len(self.n_rows) // self.n_pieces)

        def pieces(rng: np.random.Generator) -> Iterator[TrainingBags]:
            return read_ahead(PairedEvents(piece, n_drawn) for piece in self.in_pieces(rng))

        return StreamedBags(self.n_pieces, n_drawn * self.n_pieces, pieces)


def _kinds(events: ResponseEvents) -> dict[str, np.dtype[Any]]:
    """Return the types of the rows of nominal and varied events in files."""
    both: list[Any] = [
        ("features", np.float32, events.features.shape[1:]),
        ("weights", np.float32, events.weights.shape[1:]),
        ("label", np.int32),
    ]
    return {
        "nominal": np.dtype([*both, ("soft", np.float32, events.soft.shape[1:])]),
        "varied": np.dtype([*both, ("partner", np.int64)]),
    }


def _without_events(events: ResponseEvents) -> ResponseEvents:
    """Return factors and positions of weights, which are the same for all events."""
    return ResponseEvents(
        base=events.base,
        features=np.empty((0, events.features.shape[1]), dtype=np.float32),
        weights=np.empty((0, events.weights.shape[1])),
        labels=events.labels[:0].copy(),
        groups=events.groups[:0].copy(),
        factors=events.factors,
        varied=events.varied,
        soft=np.empty((0, events.soft.shape[1])),
        soft_places=events.soft_places,
        paired=events.paired,
        yield_errors=events.yield_errors,
    )


def _random_files(groups: IntArray, n_files: int, rng: np.random.Generator) -> IntArray:
    """Assign each group of events to a file at random, with equal numbers of events in files."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    files = np.empty(len(sizes), dtype=np.int64)
    # The first file changes, because the same file would otherwise get every remainder.
    first = int(rng.integers(n_files))
    files[order] = (np.floor(middle * n_files / len(groups)).astype(np.int64) + first) % n_files
    return files
