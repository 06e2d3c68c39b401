"""Read how nuisance parameters vary the simulated events of an analysis.

Each file of events is read a second time with the variations that ``[[systematics]]`` describes,
and nominal and varied events are written to a folder.  A varied event is used for the same purpose
as its nominal event: training, histograms, or coverage.  Events for training and histograms can
also come from folders instead of files (``folders`` in ``[response]``).  These folders are read in
pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.sample import Sample, split_rows
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streamed_variations import StreamedVariations
from milinfer.samples.variation import Variation
from milinfer.samples.variation_files import MANIFEST, is_variation_folder
from milinfer.samples.variation_joining import joined_variations
from milinfer.samples.variations import ProcessVariations, select_together
from milinfer.typing import BoolArray, IntArray
from milinfer.utils.files import file_hash
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.inputs import AnalysisInputs, SourceFile
from milinfer.workflow.steps import content_hash
from milinfer.workflow.systematics_sections import SystematicSection, VariedFilesSection

__all__ = ["VariationInputs", "VariedParts", "VariedSource", "split_variations"]

_Varied = tuple[SampleSet, Sequence[Variation]]


class VariedParts(NamedTuple):
    """Nominal and varied events, divided by their purpose.

    Parameters
    ----------
    train, held_out
        Variations of the events in the parts `train` and `held_out` of
        :class:`milinfer.workflow.inputs.Parts`.  If events come from folders, `train` is all
        folders except the last one, and `held_out` is the last one.
    evaluate
        Variations of the events that measure coverage; None if there are none.
    """

    train: ProcessVariations | StreamedVariations
    held_out: ProcessVariations
    evaluate: ProcessVariations | None


@dataclass(frozen=True)
class VariedSource:
    """A file of nominal events, and everything on which its variations depend.

    Parameters
    ----------
    source
        The file of nominal events.
    depends
        Settings and hashes of files on which the variations depend.
    files
        Varied files, by the name of the systematic uncertainty.
    saved
        Folder that ``ProcessVariations.save`` has written and that contains the file; None if the
        file is in no such folder.
    """

    source: SourceFile
    depends: dict[str, Any]
    files: dict[str, VariedFilesSection]
    saved: Path | None

    @property
    def output(self) -> str:
        """Path of the folder of the variations, relative to the folder of the results."""
        return f"variations/{self.source.name}"


class VariationInputs:
    """Variations of the files of an analysis, for the training and for the coverage.

    Parameters
    ----------
    config
        Configuration of the analysis.
    inputs
        Nominal files of the analysis.

    Raises
    ------
    ConfigurationError
        If varied files are missing or belong to no nominal file, if saved variations are used and a
        nominal file is not in their folder, or if `folders` do not match the analysis.
    SampleError
        If folders are damaged, or do not all have the same process and the same variations.
    """

    def __init__(self, config: AnalysisConfig, inputs: AnalysisInputs) -> None:
        self.config = config
        self._inputs = inputs
        folders = config.response.folders
        roles = (None if folders else "train", "evaluate" if config.samples.evaluate else None)
        self._roles = tuple(role for role in roles if role)
        self._sections = config.shape_systematics
        self._sources: dict[str, VariedSource] = {}
        self._streamed = None if folders is None else self._opened(folders)
        if not self._sections:
            return
        of_files = self._files_by_nominal()
        for role in self._roles:
            for source in inputs.files[role]:
                varied = self._source(source, of_files.get(source.path.resolve(), {}))
                if varied is not None:
                    self._sources[source.name] = varied

    def _opened(self, patterns: str | Sequence[str]) -> StreamedVariations:
        """All folders, whose events are not read yet."""
        given = [patterns] if isinstance(patterns, str) else patterns
        lists = self.config.files([f"{pattern}/{MANIFEST}" for pattern in given])
        section = self.config.response
        memory = section.events_in_memory
        streamed = StreamedVariations.from_folders(
            [path.parent for path in dict.fromkeys(lists)],
            combine=section.combine,
            **({} if memory is None else {"events_in_memory": memory}),
        )
        if len(streamed) < 2:
            msg = (
                f"response.folders: there is only one folder, {streamed.folders[0].path}; give two "
                "or "
                "more, because the last one is held out (ProcessVariations.split makes them)"
            )
            raise ConfigurationError(msg)
        names = {s.name for s in self._sections}
        differ = sorted(names ^ {*streamed.nuisances})
        if differ:
            where = "[[systematics]]" if differ[0] in streamed.nuisances else "the folders"
            msg = (
                f"response.folders: {where} lacks {', '.join(differ)}; the folders have variations "
                f"of {', '.join(streamed.nuisances)}, but [[systematics]] has "
                f"{', '.join(sorted(names)) or 'none'}"
            )
            raise ConfigurationError(msg)
        return streamed

    def _files_by_nominal(self) -> dict[Path, dict[str, VariedFilesSection]]:
        """Varied files of each nominal file; all of them exist."""
        known = {f.path.resolve() for role in self._roles for f in self._inputs.files[role]}
        found: dict[Path, dict[str, VariedFilesSection]] = {}
        for k, section in enumerate(self.config.systematics, start=1):
            for entry in section.files:
                for path in (entry.up, entry.down):
                    self.config.files(path)
                nominal = self.config.files(entry.of)
                if len(nominal) > 1 or nominal[0].resolve() not in known:
                    msg = (
                        f"systematics[{k}]: {section.name}: {entry.of!r} is not one of the files "
                        f"of {' and '.join(f'samples.{role}' for role in self._roles)}; correct "
                        "of"
                    )
                    raise ConfigurationError(msg)
                found.setdefault(nominal[0].resolve(), {})[section.name] = entry
        return found

    def _source(
        self, source: SourceFile, files: dict[str, VariedFilesSection]
    ) -> VariedSource | None:
        """The variations of a file, or None if it has none."""
        of_events = [s for s in self._sections if s.event_variations()]
        saved_names = [s.name for s in self._sections if s.kind == "saved"]
        saved = None
        if saved_names:
            saved = source.path.parent
            if not is_variation_folder(saved):
                msg = (
                    f"{source.path} has no {MANIFEST} in the same folder, which kind = 'saved' of "
                    f"{saved_names[0]} needs: give the nominal files in a folder that "
                    "ProcessVariations.save has written"
                )
                raise ConfigurationError(msg)
            if source.section.event_range is not None:
                msg = (
                    f"{source.path}: only some of its events are read, but the variations of "
                    f"{saved_names[0]} were saved for all events; omit events and slice"
                )
                raise ConfigurationError(msg)
        if not of_events and not files and saved is None:
            return None
        depends = {
            **source.depends,
            "systematics": [s.model_dump(exclude={"files"}) for s in (*of_events, *self._saved)],
            "files": {
                name: [file_hash(self.config.files(p)[0]) for p in (entry.up, entry.down)]
                + [entry.up_cross_section, entry.down_cross_section]
                for name, entry in files.items()
            },
            # It lists the other files of the folder with their hashes.
            "saved": None if saved is None else file_hash(saved / MANIFEST),
        }
        return VariedSource(source, depends, files, saved)

    @property
    def _saved(self) -> tuple[SystematicSection, ...]:
        return tuple(s for s in self._sections if s.kind == "saved")

    @property
    def depends(self) -> dict[str, str]:
        """Hash of each input from which the response is learned, by name."""
        if self._streamed is not None:
            folders = enumerate(self._streamed.folders)
            return {f"{k} {f.path.name}": f.fingerprint for k, f in folders}
        return {v.source.name: content_hash(v.depends) for v in self.sources}

    def __bool__(self) -> bool:
        return bool(self._sources) or self._streamed is not None

    @property
    def sources(self) -> tuple[VariedSource, ...]:
        """Nominal files that have variations."""
        return tuple(self._sources.values())

    def names(self) -> dict[str, list[str]]:
        """Names of the files, for each role that has variations."""
        return {role: self._inputs.names(role) for role in self._roles}

    def make(self, varied: VariedSource) -> str:
        """Read a file with its variations and write them; return a line with their yields."""
        source = varied.source
        options = self._inputs.reading_options(source)
        of_events = [v for s in self._sections for v in s.event_variations()]
        if of_events:
            process = ProcessVariations.from_file(source.path, variations=of_events, **options)
            nominal, variations = process.nominal[0], [*process.variations]
        else:
            nominal, variations = Sample.from_file(source.path, **options), []
        for name, entry in varied.files.items():
            variations += self._of_files(name, entry, options, nominal)
        if varied.saved is not None:
            variations += self._of_folder(varied.saved, source.path, nominal)
        process = ProcessVariations(SampleSet((nominal,)), tuple(variations))
        target = self.config.out / varied.output
        target.parent.mkdir(parents=True, exist_ok=True)
        process.save(target)
        yields = ", ".join(
            f"{v.label.partition(' of ')[0]}: {process.yield_ratio(v).value:.3f}"
            for v in process.variations
        )
        return f"{len(nominal)} events; yields over the nominal one at {yields}"

    def _of_files(
        self, name: str, entry: VariedFilesSection, options: dict[str, Any], nominal: Sample
    ) -> list[Variation]:
        """Variations that are other files of events."""
        out = []
        for side, path, cross_section in (
            (1.0, entry.up, entry.up_cross_section),
            (-1.0, entry.down, entry.down_cross_section),
        ):
            (file,) = self.config.files(path)
            sample = Sample.from_file(file, **{**options, "cross_section": cross_section})
            if sample.point != nominal.point:
                msg = (
                    f"{file} of {name} is {sample.label}, but {entry.of} is {nominal.label}; give "
                    "varied files at the point of the nominal file"
                )
                raise SampleError(msg)
            out.append(Variation({name: side}, sample))
        return out

    def _of_folder(self, folder: Path, path: Path, nominal: Sample) -> list[Variation]:
        """Variations saved in the folder of the nominal file."""
        process = ProcessVariations.load(folder)
        names = {s.name for s in self._saved}
        chosen = [
            v
            for v in process.variations
            if {n for n, x in v.nuisances.items() if x} <= names and v.sample.point == nominal.point
        ]
        for name in sorted(names):
            if not any(v.nuisances.get(name) for v in chosen):
                msg = (
                    f"{folder}: no variation of {path.name} shifts {name}; there are variations by "
                    f"{', '.join(process.nuisances)}"
                )
                raise SampleError(msg)
        columns = nominal.feature_names
        return [replace(v, sample=SampleSet((v.sample,)).with_features(columns)[0]) for v in chosen]

    def training(self) -> ProcessVariations | StreamedVariations:
        """Read the variations of the training events."""
        if self._streamed is not None:
            return self._to_train_on(self._streamed)
        return self.split().train

    @staticmethod
    def _to_train_on(streamed: StreamedVariations) -> StreamedVariations:
        return replace(streamed, folders=streamed.folders[:-1])

    def split(self) -> VariedParts:
        """Read all variations and split them in the same way as the nominal events.

        Raises
        ------
        SampleError
            If no training file has variations, or the nominal events differ from those of the
            analysis.
        """
        if self._streamed is not None:
            held_out = self._streamed.folders[-1].read()
            return VariedParts(
                self._to_train_on(self._streamed), held_out, self._joined("evaluate")
            )
        process = self._joined("train")
        if process is None:
            msg = "no file of samples.train has variations; add these files to systematics"
            raise SampleError(msg)
        rows = self._inputs.rows([len(s) for s in process.nominal])
        chosen = [rows.train, rows.held_out, *([rows.evaluate] if rows.evaluate else [])]
        train, held_out, *others = split_variations(process, chosen, self.config.analysis.seed)
        evaluate = others[0] if others else self._joined("evaluate")
        return VariedParts(train, held_out, evaluate)

    def _joined(self, role: str) -> ProcessVariations | None:
        """Variations of all files of a role; None without any."""
        if role not in self._roles or not any(
            f.name in self._sources for f in self._inputs.files[role]
        ):
            return None

        def read(source: SourceFile) -> _Varied:
            sample = Sample.from_file(self.config.out / source.output)
            varied = self._sources.get(source.name)
            if varied is None:
                return SampleSet((sample,)), ()
            process = ProcessVariations.load(self.config.out / varied.output)
            if not np.array_equal(process.nominal[0].features, sample.features):
                msg = (
                    f"{source.path}: its nominal events were read differently with and without "
                    "variations; this is a bug in milinfer; please report it"
                )
                raise SampleError(msg)
            return process.nominal, process.variations

        ((nominal, variations),) = self._inputs.joined(
            role,
            [read(f) for f in self._inputs.files[role]],
            lambda parts, combine: [joined_variations(parts, combine)],
        )
        return ProcessVariations(nominal, tuple(variations))


def split_variations(
    process: ProcessVariations, rows: Sequence[Sequence[IntArray]], seed: int
) -> tuple[ProcessVariations, ...]:
    """Split variations into parts; each varied event goes to the part of its nominal event.

    Parameters
    ----------
    process
        Nominal and varied events of a process.
    rows
        For each part, the rows of its nominal events in each nominal sample.
    seed
        Seed for varied events that have no nominal event.  They are divided among the parts at
        random, in the same proportions as the nominal events.

    Examples
    --------
    >>> nominal = Sample(np.arange(4.0)[:, None], ("x",))
    >>> process = ProcessVariations(
    ...     nominal, [Variation.of_features(nominal, {"scale": 1.0}, nominal.features + 1)])
    >>> one, other = split_variations(process, [[np.array([2])], [np.array([0, 3])]], seed=1)
    >>> other.nominal[0].features[:, 0], other.variations[0].sample.features[:, 0]
    (array([0., 3.], dtype=float32), array([1., 4.], dtype=float32))
    """
    totals = [len(s) for s in process.nominal]
    shares = [sum(map(len, part)) / sum(totals) for part in rows]
    nominal: list[list[BoolArray]] = []
    for part in rows:
        masks = [np.zeros(n, dtype=np.bool_) for n in totals]
        for mask, of_sample in zip(masks, part, strict=True):
            mask[of_sample] = True
        nominal.append(masks)
    varied: list[list[BoolArray]] = [[] for _ in rows]
    places = {id(s): k for k, s in enumerate(process.nominal)}
    seeds = np.random.SeedSequence(seed).spawn(len(process.variations))
    for variation, of_variation in zip(process.variations, seeds, strict=True):
        n = len(variation.sample)
        partners = np.full(n, -1) if variation.partners is None else variation.partners
        alone = np.flatnonzero(partners < 0)
        k = places[id(process.nominal_of(variation))]
        drawn = split_rows(len(alone), shares, of_variation)
        for masks, of_part, random in zip(varied, nominal, drawn, strict=True):
            keep = of_part[k][np.maximum(partners, 0)] & (partners >= 0)
            keep[alone[random]] = True
            masks.append(keep)
    return tuple(
        select_together(process, of_nominal, of_varied)
        for of_nominal, of_varied in zip(nominal, varied, strict=True)
    )
