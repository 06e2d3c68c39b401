"""Train on nominal and varied events that do not fit into memory, from several folders.

Each folder has been written by :meth:`milinfer.ProcessVariations.save` and contains different
events of the same process, together with all their varied copies.  Names, points and numbers of
events are read first, from the lists of the folders and the metadata of the files.  The events are
read when they are needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.cross_sections import Combine, Part, join_cross_sections, require_combine
from milinfer.samples.fingerprints import sketch, sketch_of_union, with_union
from milinfer.samples.joining import part_of
from milinfer.samples.sample import Sample, require_same_beams
from milinfer.samples.sample_set import SampleSet, feature_count
from milinfer.samples.variation import Variation, named_errors_of
from milinfer.samples.variation_files import outline_folder, read_folder, read_weights
from milinfer.samples.variation_joining import joined_variations
from milinfer.samples.variations import ProcessVariations, variations_of_folder
from milinfer.typing import PathLikeStr
from milinfer.utils.display import html_table
from milinfer.utils.keywords import require_keywords

__all__ = ["StreamedVariations", "VariationFolder"]

# Memory is shared by the piece in training, the next piece, the events that are read, and the
# held-out events.
_SHARES = 4

_IN_MEMORY = frozenset(("variations", "nominal", "nominal_of", "yield_ratio", "save"))


@dataclass(frozen=True, eq=False)
class VariationFolder:
    """A folder written by :meth:`milinfer.ProcessVariations.save`, whose events are not read yet.

    Parameters
    ----------
    path
        The folder.
    outline
        The samples of the folder, but with only one event of weight 1 in each sample.  It gives
        names, points and kinds of variations.
    n_events
        Number of nominal events plus number of varied events.  Variations that change only weights
        do not count.
    fingerprint
        Fingerprint of the list of files in the folder.
    """

    path: Path
    outline: ProcessVariations
    n_events: int
    fingerprint: str

    @classmethod
    def open(cls, path: PathLikeStr) -> VariationFolder:
        """Find out what a folder contains, without reading its events.

        Raises
        ------
        SampleError
            If `path` is not a folder of variations, or if a file is missing or damaged.
        """
        nominal, stored, n_events, fingerprint = outline_folder(path)
        with named_errors_of(path):
            outline = variations_of_folder(nominal, stored)
        return cls(Path(path), outline, n_events, fingerprint)

    def read(self) -> ProcessVariations:
        """Read all events.

        Raises
        ------
        SampleError
            If a file is damaged, or has changed.
        """
        nominal, stored = read_folder(self.path, self.fingerprint)
        with named_errors_of(self.path):
            return variations_of_folder(nominal, stored)


@dataclass(frozen=True, eq=False)
class StreamedVariations:
    """Nominal and varied samples of one process in several folders, for training in parts.

    Training reads as many folders at a time as fit into memory.

    Parameters
    ----------
    folders
        Folders with different events of the process and the same variations; see
        :meth:`from_folders`.
    events_in_memory
        Largest number of events in memory.  Nominal events count, and varied events with their own
        features; variations that change only weights do not count.  At most a quarter of this
        number is read and used for training at a time.
    combine
        How folders are joined: ``"sum"`` for slices of the process, ``"mean"`` for runs; see
        :meth:`milinfer.Sample.concatenate`.

    Raises
    ------
    SampleError
        If a folder differs from the first folder in its process, features, points, weights or
        variations.
    ConfigurationError
        If `events_in_memory` is less than the largest folder needs.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> def part(seed):
    ...     nominal = Sample(np.random.default_rng(seed).normal(size=(1000, 1)), ("x",))
    ...     return ProcessVariations(nominal, [
    ...         Variation.of_features(nominal, {"s": a}, nominal.features + a) for a in (1, -1)])
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folders = [pathlib.Path(parent, str(seed)) for seed in (1, 2, 3)]
    ...     for seed, folder in enumerate(folders):
    ...         part(seed).save(folder)
    ...     streamed = StreamedVariations.from_folders(folders, events_in_memory=24_000)
    ...     numbers = [len(together.nominal[0]) for together in streamed.parts()]
    >>> streamed
    StreamedVariations(signal: 2 variations by s, 9000 events in 3 folders, 24000 in memory)
    >>> numbers
    [2000, 1000]
    """

    folders: tuple[VariationFolder, ...]
    events_in_memory: int = 2_000_000
    combine: Combine | None = None

    def __post_init__(self) -> None:
        require_combine(self.combine)
        if not self.folders:
            msg = "there are no folders of variations; give at least one"
            raise SampleError(msg)
        first = self.folders[0]
        for folder in self.folders[1:]:
            _require_same(first, folder)
        seen: dict[str, VariationFolder] = {}
        for folder in self.folders:
            same = seen.setdefault(folder.fingerprint, folder)
            if same is not folder:
                msg = f"{same.path} and {folder.path} have the same events; give each folder once"
                raise SampleError(msg)
        largest = max(self.folders, key=lambda f: f.n_events)
        if largest.n_events > self.piece_events:
            msg = (
                f"events_in_memory={self.events_in_memory} is too small: {largest.path} has "
                f"{largest.n_events} nominal and varied events, but one folder may use only a "
                f"quarter of the memory; give {_SHARES * largest.n_events} or more, or save the "
                "events in smaller parts (ProcessVariations.split)"
            )
            raise ConfigurationError(msg)

    @classmethod
    def from_folders(
        cls,
        folders: Sequence[PathLikeStr],
        *,
        events_in_memory: int = 2_000_000,
        combine: Combine | None = None,
    ) -> StreamedVariations:
        """Open folders that :meth:`milinfer.ProcessVariations.save` has written.

        Parameters
        ----------
        folders
            Paths of the folders.
        events_in_memory
            Largest number of events in memory.
        combine
            As in :meth:`milinfer.Sample.concatenate`.
        """
        paths = [folders] if isinstance(folders, str | PathLike) else list(folders)
        opened = tuple(VariationFolder.open(path) for path in paths)
        return cls(opened, events_in_memory, combine)

    @classmethod
    def from_files(
        cls,
        folder: PathLikeStr,
        nominal: PathLikeStr,
        varied: Mapping[Any, PathLikeStr] | None = None,
        features: Sequence[str] | None = None,
        *,
        event: str | Sequence[str] = "event",
        weights: str | None = None,
        weight_variations: Mapping[Any, str] | None = None,
        events_in_memory: int = 2_000_000,
        **options: Any,
    ) -> StreamedVariations:
        """Divide Parquet files of nominal and varied events into folders, and open the folders.

        An event and its varied copies are put into the same folder.  The order of the events in the
        files has no effect on this.

        Parameters
        ----------
        folder
            New folder.  It will contain a folder for each part of the events.  These folders are
            kept: open them again with :meth:`from_folders`.
        nominal
            Parquet file of the nominal events after the nominal selection.
        varied
            Parquet files of the varied events after the selection of the variation.  The keys are
            nuisance parameter and shift: ``{("jes", 1.0): "jes_up.parquet"}``.  A key with several
            pairs shifts several parameters.
        features
            Names of the columns to take; default: all columns of the nominal file that no other
            argument uses.
        event
            Column, or columns, of whole numbers that identify an event in all files.
        weights
            Column of event weights, in all files.
        weight_variations
            Columns of varied weights in the nominal file, ``{("muR", 1.0): "weight_muR_up"}``.
        events_in_memory
            Largest number of events in memory.
        options
            Further arguments of :class:`~milinfer.Sample`: ``point=``, ``process=``,
            ``cross_section=`` (of the nominal events, in pb).

        Raises
        ------
        SampleError
            If a file lacks columns, contains an event twice, or has a row that cannot be used.
        ConfigurationError
            If the folder is not empty.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> import pyarrow.parquet as pq
        >>> event, x = np.arange(1000), np.random.default_rng(1).normal(size=1000)
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = pathlib.Path(parent)
        ...     pq.write_table(pa.table({"event": event, "x": x}), folder / "nominal.parquet")
        ...     pq.write_table(pa.table({"event": event, "x": x + 0.1}), folder / "up.parquet")
        ...     StreamedVariations.from_files(
        ...         folder / "parts", folder / "nominal.parquet",
        ...         {("jes", 1.0): folder / "up.parquet"}, events_in_memory=4000)
        StreamedVariations(signal: 1 variations by jes, 2000 events in 3 folders, 4000 in memory)
        """
        from milinfer.samples.variation_parts import write_parts

        taken = ["features", "feature_names", "weights", "reweights", "reweight_points"]
        require_keywords(options, Sample, "StreamedVariations.from_files()", leave_out=taken)
        folders = write_parts(
            folder,
            nominal,
            varied or {},
            features,
            event=event,
            weights=weights,
            weight_variations=weight_variations or {},
            largest=events_in_memory // _SHARES,
            options=options,
        )
        return cls.from_folders(folders, events_in_memory=events_in_memory)

    @property
    def outline(self) -> ProcessVariations:
        """All samples, but with only one event of weight 1 in each sample.

        They give names, points and kinds of variations.
        """
        return self.folders[0].outline

    @property
    def process(self) -> str:
        """Name of the process."""
        return self.outline.process

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.outline.feature_names

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters, in the order of the variations."""
        return self.outline.nuisances

    @property
    def n_events(self) -> int:
        """Number of nominal and varied events; variations that change only weights do not count."""
        return sum(folder.n_events for folder in self.folders)

    @property
    def piece_events(self) -> int:
        """Largest number of events that are read and used for training at a time."""
        return self.events_in_memory // _SHARES

    @cached_property
    def survey(self) -> Survey:
        """Cross-sections and numbers of events of all folders together.

        They are computed from the weights of all events.
        """
        n_nominal = len(self.outline.nominal)
        n_samples = n_nominal + len(self.outline.variations)
        parts: list[list[Part]] = [[] for _ in range(n_samples)]
        numbers = [0] * n_samples
        first: tuple[Sample, ...] = ()
        for folder in self.folders:
            samples = self._weights(folder)
            first = first or samples
            for k, sample in enumerate(samples):
                require_same_beams(first[k], sample)
                part = part_of(sample)
                source = f"{folder.path} ({sample.label})"
                parts[k].append(part._replace(source=source))
                numbers[k] += len(sample)
        joined: list[_Joined] = []
        for k, own in enumerate(parts):
            if k >= n_nominal and self.outline.variations[k - n_nominal].partners is not None:
                # Weights and yields of the same events follow the nominal ones.
                nominal = self.outline.nominal_of(self.outline.variations[k - n_nominal])
                place = [s is nominal for s in self.outline.nominal].index(True)
                joined.append(joined[place])
                continue
            try:
                result = join_cross_sections(own, self.combine)
            except SampleError as error:
                msg = f"cannot join the folders of {first[k].label}: {error}"
                raise SampleError(msg) from error
            joined.append(_Joined(result.cross_section, result.error, tuple(result.factors)))
        labels = [s.label for s in self.outline.nominal]
        labels += [v.label for v in self.outline.variations]
        return Survey(
            joined=tuple(joined),
            n_events=dict(zip(labels, numbers, strict=True)),
        )

    @property
    def sketches(self) -> tuple[str, ...]:
        """Fingerprints of all samples that have their own features, and of their union.

        Folders that :meth:`parts` has not read yet are read now.
        """
        for number in range(len(self.folders)):
            if number not in self._sketches:
                self._read(number)
        of_folders = [self._sketches[number] for number in range(len(self.folders))]
        own = [sketch_of_union(of_sample) for of_sample in zip(*of_folders, strict=True)]
        return with_union([s for s in own if s])

    @cached_property
    def _sketches(self) -> dict[int, tuple[str, ...]]:
        """Fingerprints of the samples of the folders read so far; empty for varied weights."""
        return {}

    def _read(self, number: int) -> ProcessVariations:
        """Events of a folder, in the order of the first one."""
        process = self._ordered(self.folders[number].read())
        if number not in self._sketches:
            own = [True] * len(process.nominal) + [not v.weights_only for v in process.variations]
            self._sketches[number] = tuple(
                sketch(sample) if has_features else ""
                for sample, has_features in zip(_samples(process), own, strict=True)
            )
        return process

    def _weights(self, folder: VariationFolder) -> tuple[Sample, ...]:
        """Samples of a folder without features, in the order of the first one."""
        nominal, varied = read_weights(folder.path)
        by_key = {_key({}, s): s for s in (Sample(**f._asdict()) for f in nominal)}
        for variation, fields in zip(folder.outline.variations, varied, strict=True):
            by_key[_key(variation.nuisances, variation.sample)] = Sample(**fields._asdict())
        keys = [_key({}, s) for s in self.outline.nominal]
        keys += [_key(v.nuisances, v.sample) for v in self.outline.variations]
        return tuple(by_key[key] for key in keys)

    def parts(self) -> Iterator[ProcessVariations]:
        """Yield all events once, as many folders at a time as fit into memory.

        The weights of all parts have the same normalisation, and the cross-sections are those of
        all folders together.

        Raises
        ------
        SampleError
            If a file is damaged or has changed, or if folders cannot be joined.
        """
        for numbers in self._together:
            read = []
            for number in numbers:
                folder = self.folders[number]
                with named_errors_of(folder.path):
                    read.append(self._scaled(number, self._read(number)))
            if len(read) == 1:
                yield read[0]
                del read
                continue
            both = [(p.nominal, p.variations) for p in read]
            del read
            whole = ProcessVariations(*joined_variations(both, scaled=True))
            del both
            yield self._ordered(whole)
            del whole  # frees it before the next part

    @cached_property
    def _together(self) -> list[list[int]]:
        """Numbers of the folders that are read together: about equal numbers of events."""
        sizes = [folder.n_events for folder in self.folders]
        order = sorted(range(len(sizes)), key=lambda k: -sizes[k])
        n_parts = max(1, -(-sum(sizes) // self.piece_events))
        while True:
            parts: list[list[int]] = [[] for _ in range(n_parts)]
            filled = [0] * n_parts
            for k in order:
                emptiest = filled.index(min(filled))
                parts[emptiest].append(k)
                filled[emptiest] += sizes[k]
            if max(filled) <= self.piece_events:
                return [sorted(part) for part in parts if part]
            n_parts += 1

    def _ordered(self, process: ProcessVariations) -> ProcessVariations:
        """Samples and variations in the order of the first folder."""
        by_point = {_key({}, s): s for s in process.nominal}
        by_shift = {_key(v.nuisances, v.sample): v for v in process.variations}
        return ProcessVariations(
            SampleSet(tuple(by_point[_key({}, s)] for s in self.outline.nominal)),
            tuple(by_shift[_key(v.nuisances, v.sample)] for v in self.outline.variations),
        )

    def _scaled(self, number: int, process: ProcessVariations) -> ProcessVariations:
        """Events of a folder with the normalisation that they have in the whole."""
        joined = self.survey.joined
        n_nominal = len(process.nominal)

        def scaled(sample: Sample, own: _Joined, *, cross_section: bool) -> Sample:
            factor = own.factors[number]
            fields: dict[str, Any] = {}
            if factor != 1:
                fields["weights"] = sample.weights * factor
                fields["reweights"] = {k: w * factor for k, w in sample.reweights.items()}
            if cross_section:
                fields |= {"cross_section": own.cross_section, "cross_section_error": own.error}
            return dataclasses.replace(sample, **fields)

        nominal = tuple(
            scaled(s, own, cross_section=True)
            for s, own in zip(process.nominal, joined[:n_nominal], strict=True)
        )
        variations = []
        for variation, own in zip(process.variations, joined[n_nominal:], strict=True):
            sample = scaled(variation.sample, own, cross_section=variation.partners is None)
            variations.append(dataclasses.replace(variation, sample=sample))
        return ProcessVariations(SampleSet(nominal), tuple(variations))

    def __len__(self) -> int:
        return len(self.folders)

    def __getattr__(self, name: str) -> NoReturn:
        if name in _IN_MEMORY:
            msg = (
                f"{name!r} of streamed variations is not in memory: only SystematicResponse.fit "
                "accepts streamed variations; for anything else load one folder with "
                "ProcessVariations.load"
            )
            raise ConfigurationError(msg)
        msg = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        return (
            f"StreamedVariations({self.process}: {len(self.outline.variations)} variations by "
            f"{', '.join(self.nuisances)}, {self.n_events} events in {len(self)} folders, "
            f"{self.events_in_memory} in memory)"
        )

    def _repr_html_(self) -> str:
        rows = [[str(f.path), str(f.n_events)] for f in self.folders]
        title = (
            f"{self.process}: variations by {', '.join(self.nuisances)}; {self.n_events} events, "
            f"{feature_count(self.feature_names)}; at most {self.events_in_memory} in memory"
        )
        return html_table(("folder", "events"), rows, title=title)


class _Joined(NamedTuple):
    """Cross-section of the events of all folders, and the factor of the weights of each."""

    cross_section: float
    error: float
    factors: tuple[float, ...]


class Survey(NamedTuple):
    """Cross-sections and numbers of events of all folders together.

    Parameters
    ----------
    joined
        Cross-section and factors of each nominal sample, then of each variation.
    n_events
        Number of events of each nominal sample, then of each variation.
    """

    joined: tuple[_Joined, ...]
    n_events: dict[str, int]


def _samples(process: ProcessVariations) -> list[Sample]:
    return [*process.nominal, *(v.sample for v in process.variations)]


def _key(nuisances: Any, sample: Sample) -> tuple[Any, ...]:
    return tuple(sorted(nuisances.items())), tuple(sorted(sample.point.items()))


def _require_same(first: VariationFolder, other: VariationFolder) -> None:
    """Raise unless two folders have samples of the same kinds."""
    mine, own = first.outline, other.outline
    if own.process != mine.process:
        msg = (
            f"{other.path} is of {own.process}, but {first.path} is of {mine.process}; give "
            "folders of one process"
        )
        raise SampleError(msg)
    if own.feature_names != mine.feature_names:
        differ = sorted({*own.feature_names} ^ {*mine.feature_names})
        msg = (
            f"{other.path} and {first.path} have different features "
            f"({', '.join(differ) or 'another order'}); compute the same features for all"
        )
        raise SampleError(msg)
    points = [{_key({}, s): s for s in outline.nominal} for outline in (mine, own)]
    varied = [{_key(v.nuisances, v.sample): v for v in o.variations} for o in (mine, own)]
    kinds: list[tuple[str, list[dict[Any, Any]]]] = [
        ("nominal sample", [*points]),
        ("variation", [*varied]),
    ]
    for what, (here, there) in kinds:
        for key in sorted(here.keys() ^ there.keys()):
            lacking, having = (other, first) if key in here else (first, other)
            entry = here[key] if key in here else there[key]
            msg = (
                f"{lacking.path} has no {what} {entry.label}, which {having.path} has; give every "
                "folder the same variations at the same points"
            )
            raise SampleError(msg)
    for key, variation in varied[0].items():
        mine_is, other_is = _kind(variation), _kind(varied[1][key])
        if mine_is != other_is:
            msg = (
                f"variation {variation.label} is {mine_is} in {first.path} and "
                f"{other_is} in {other.path}; make it in the same way in all folders"
            )
            raise SampleError(msg)
    pairs = [(s, points[1][k]) for k, s in points[0].items()]
    pairs += [(v.sample, varied[1][k].sample) for k, v in varied[0].items()]
    for sample, again in pairs:
        same = sample.reweight_points == again.reweight_points
        if not same or {*sample.reweights} != {*again.reweights}:
            names = ", ".join(sorted({*sample.reweights} ^ {*again.reweights}))
            msg = (
                f"{sample.label} has other weights in {other.path} than in {first.path} "
                f"({names or 'at other points'}); give the events of all folders the same weights"
            )
            raise SampleError(msg)


def _kind(variation: Variation) -> str:
    if variation.weights_only:
        return "of weights"
    return "of other events" if variation.partners is None else "of features of the same events"
