"""Events to learn a response from that do not fit into memory.

Streamed variations are read in parts.  A pass over them gives sums of weights, moments and the
held-out events, which stay in memory, and keeps the nominal events in temporary files, for their
mean response.  In another one the events to train on, stacked and with
their weights at all base points, go to temporary files, an event and its varied copies to the same
file at random.  The pieces of an epoch are made of these files.
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

# Files of a piece: each epoch has other pieces, made of other files.
_FILES = 8
# Fewer nominal events in a file would not be equal numbers of events in all.
_FEW = 20


@dataclass(frozen=True, eq=False)
class StreamedEvents:
    """The events of streamed variations to train on: all but those that are held out.

    Parameters
    ----------
    variations
        All events.
    held_out
        Share of the events in each of two held-out parts; 0 if others are held out.
    seed
        Seed of the split.
    names
        Nuisance parameters, if only variations by some of them count.
    totals
        Sums of the weights of the events to train on; :func:`read_streamed` gives them.
    """

    variations: StreamedVariations
    held_out: float
    seed: int
    names: tuple[str, ...] | None = None
    totals: EventTotals | None = None

    @property
    def outline(self) -> ProcessVariations:
        """All samples with one event of weight 1."""
        return self._restricted(self.variations.outline)

    def splits(
        self, nominal: NominalFiles | None = None
    ) -> Iterator[tuple[ProcessVariations, ...]]:
        """Yield events to train on and the two held-out parts, if there are any.

        Parameters
        ----------
        nominal
            Where the nominal events of all parts are kept as well.
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
        Events that stop the training and give the scale, and those that check it; None if none are
        held out.
    mean, variance
        Moments of the features.
    weight_sums
        Sums of the nominal weights at each point, over all events.
    totals
        Sums of the weights of the events to train on, for each of the base points.
    n_train
        Nominal events, and those of feature variations, to train on.
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
        The events.
    groups
        Nuisance parameters and base points of each network.

    Raises
    ------
    SampleError
        If a file has changed, or no feature varies.
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
    """Number of nominal events, and of varied ones with features of their own."""
    nominal = sum(len(s) for s in process.nominal)
    return nominal + sum(len(v.sample) for v in process.variations if not v.weights_only)


def _together(parts: Sequence[ProcessVariations]) -> ProcessVariations | None:
    if not parts:
        return None
    joined = joined_variations([(p.nominal, p.variations) for p in parts], scaled=True)
    return ProcessVariations(*joined)


class _TemporaryFolder:
    """Folder of files that is removed with this object."""

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
    """Nominal events of parts in temporary files, which are removed with this object."""

    def __init__(self) -> None:
        super().__init__()
        self._n_samples: list[int] = []

    def append(self, nominal: SampleSet) -> None:
        """Add the events of a part.

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
    """Stacked events in temporary files, which are removed with this object.

    Parameters
    ----------
    base
        The base points.
    n_pieces
        Pieces of an epoch.
    n_files
        Files, as many for each piece.
    """

    def __init__(self, base: BasePoints, n_pieces: int, n_files: int) -> None:
        super().__init__()
        self.base, self.n_pieces = base, n_pieces
        self.n_rows = np.zeros(n_files, dtype=np.int64)
        self._n_nominal = np.zeros(n_files, dtype=np.int64)
        self._total = 0.0
        self._like: ResponseEvents | None = None

    def append(self, events: ResponseEvents, rng: np.random.Generator) -> None:
        """Add events, of which each file gets an equal part at random.

        Parameters
        ----------
        events
            Shares of all events.  Those that belong together come into the same file.
        rng
            Random generator of the parts.

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
        # Number of each nominal event in its file.
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
        """Events of some files, with weights that sum to the number of events over all files."""
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
        """Yield all events in pieces; each has files at random, if there is a random generator."""
        order = np.arange(len(self.n_rows)) if rng is None else rng.permutation(len(self.n_rows))
        for numbers in order.reshape(self.n_pieces, -1):
            yield self.read(numbers)

    def bags(self) -> StreamedBags:
        """Bags of one event for training."""
        from milinfer.learning.networks.training_bags import PairedEvents, StreamedBags

        # All pieces have this many events, so that one compilation serves all.  The few more that
        # some have are left out, which are other ones in every epoch.
        n_drawn = int(self.n_rows.min()) * (len(self.n_rows) // self.n_pieces)

        def pieces(rng: np.random.Generator) -> Iterator[TrainingBags]:
            return read_ahead(PairedEvents(piece, n_drawn) for piece in self.in_pieces(rng))

        return StreamedBags(self.n_pieces, n_drawn * self.n_pieces, pieces)


def _kinds(events: ResponseEvents) -> dict[str, np.dtype[Any]]:
    """Types of the rows of nominal and varied events in files."""
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
    """Factors and places of weights, which are the same for all events."""
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
    """File of each group of events, shape (n_groups,): equal numbers of events in all files."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    files = np.empty(len(sizes), dtype=np.int64)
    # Another first file each time: the same one would get what is left over of every part.
    first = int(rng.integers(n_files))
    files[order] = (np.floor(middle * n_files / len(groups)).astype(np.int64) + first) % n_files
    return files
