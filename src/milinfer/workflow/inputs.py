"""Files of an analysis: hashed, turned into columns of features, and split by what they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from milinfer.exceptions import ParameterError
from milinfer.samples.samples import Sample, SampleSet
from milinfer.utils.paths import file_hash
from milinfer.workflow.analysis_checks import (
    require_features,
    require_files,
    require_other_files,
    require_points,
)
from milinfer.workflow.configuration import AnalysisConfig, FilesSection
from milinfer.workflow.provenance import InputFile, input_file
from milinfer.workflow.steps import content_hash

__all__ = ["ROLES", "AnalysisInputs", "Parts", "SourceFile"]

ROLES = ("train", "tune", "evaluate", "data")
"""What events are for."""

_SUFFIXES = (".gz", ".lhe", ".parquet", ".root")


@dataclass(frozen=True)
class SourceFile:
    """One file of events, and the columns it becomes.

    Parameters
    ----------
    path, section
        The file, and the section of the configuration that names it.
    depends
        All that decides on the columns.
    sha256
        Of its content.
    """

    path: Path
    section: FilesSection
    depends: Mapping[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        """Of the file without what says its format, and a hash of what the columns depend on."""
        stem = self.path.name
        while Path(stem).suffix.lower() in _SUFFIXES:
            stem = Path(stem).stem
        return f"{stem}-{content_hash(self.depends)[:8]}"

    @property
    def output(self) -> str:
        """File of its columns, in the folder of the results."""
        return f"features/{self.name}.parquet"


class Parts(NamedTuple):
    """Simulated events by what they are for: held out is what no training has seen."""

    train: SampleSet
    held_out: SampleSet
    tune: SampleSet
    evaluate: SampleSet


class AnalysisInputs:
    """All files of an analysis by role, checked as far as is possible without opening them.

    Parameters
    ----------
    config
        The analysis.
    on_file
        Called with each file before its content is hashed.

    Raises
    ------
    ConfigurationError
        If files are missing or in two roles, or settings cannot work.
    """

    def __init__(self, config: AnalysisConfig, on_file: Callable[[Path], None]) -> None:
        self.config = config
        self.files: dict[str, list[SourceFile]] = {}
        require_features(config)
        require_files(config)
        require_points(config)
        hashes: dict[Path, str] = {}
        for role in ROLES:
            self.files[role] = []
            for section in self._sections(role):
                for path in config.files(section.path):
                    if path not in hashes:
                        on_file(path)
                        hashes[path] = file_hash(path)
                    depends = self._depends(section, hashes[path], role)
                    self.files[role].append(SourceFile(path, section, depends, hashes[path]))
        require_other_files(
            config, {r: [(f.path, f.sha256) for f in self.files[r]] for r in ROLES[:3]}
        )

    def _sections(self, role: str) -> Sequence[FilesSection]:
        if role == "data":
            data = self.config.data
            return [FilesSection(path=data.path, weight=data.weight, tree=data.tree)]
        sections: Sequence[FilesSection] = getattr(self.config.samples, role)
        return sections

    def _depends(self, section: FilesSection, content: str, role: str) -> dict[str, Any]:
        from milinfer.version import __version__

        samples = self.config.samples
        return {
            "file": content,
            "milinfer": __version__,
            "samples.features": samples.features,
            "samples.on_missing": samples.on_missing,
            "point": section.point,
            "process": section.process,
            "cross_section": section.cross_section,
            "weight": section.weight,
            "tree": section.tree,
            "data": role == "data",
        }

    def names(self, role: str) -> list[str]:
        """Names of the files of a role, which change with their content."""
        return [f.name for f in self.files[role]]

    def unique(self) -> tuple[SourceFile, ...]:
        """Every file once, whatever the number of its roles."""
        return tuple({f.name: f for role in ROLES for f in self.files[role]}.values())

    def make_features(self, source: SourceFile) -> str:
        """Write the columns of a file; returns what became of its events."""
        from milinfer.samples.sample_files import read_sample, sample_balance, write_sample

        samples, given = self.config.samples, source.section
        options: dict[str, Any] = {
            "features": samples.features,
            "process": given.process,
            "on_missing": samples.on_missing,
            "workers": self.config.analysis.workers,
            "tree": given.tree,
            "cross_section": given.cross_section,
        }
        if given.weight is not None:
            options["weight"] = given.weight or None
        try:
            sample = read_sample(source.path, point=given.point, **options)
        except ParameterError:
            if not source.depends["data"]:
                raise
            sample = read_sample(source.path, point={}, **options)  # data are at no point
        target = self.config.out / source.output
        target.parent.mkdir(parents=True, exist_ok=True)
        write_sample(sample, target)
        return sample_balance(sample, str(source.path))

    def data(self) -> Sample:
        """The dataset."""
        return Sample.concatenate(self._read("data")).as_data()

    def split(self) -> Parts:
        """All simulated events, by what they are for."""
        if self.config.samples.tune:
            return Parts(*self.training(), self._set("tune"), self._set("evaluate"))
        x, y = self.config.samples.fractions
        seed = self.config.analysis.seed
        train, tune, evaluate = self._set("train").split([1 - x - y, x, y], seed=seed)
        return Parts(*self._hold_out(train), tune, evaluate)

    def training(self) -> tuple[SampleSet, SampleSet]:
        """Events to train on, and those held out; files of other roles are not read."""
        if self.config.samples.tune:
            return self._hold_out(self._set("train"))
        return self.split()[:2]

    def _hold_out(self, train: SampleSet) -> tuple[SampleSet, SampleSet]:
        part = self.config.samples.held_out
        train, held_out = train.split([1 - part, part], seed=self.config.analysis.seed)
        return train, held_out

    def facts(self) -> tuple[InputFile, ...]:
        """What the provenance says of each file; paths as the configuration's folder sees them."""
        found = []
        for role in ROLES:
            for source, sample in zip(self.files[role], self._read(role), strict=True):
                fact = input_file(role, source.path, sample, sha256=source.sha256)
                found.append(fact._replace(path=_shown(source.path, self.config.folder)))
        return tuple(found)

    def _read(self, role: str) -> list[Sample]:
        return [Sample.from_file(self.config.out / f.output) for f in self.files[role]]

    def _set(self, role: str) -> SampleSet:
        by_point: dict[tuple[tuple[str, float], ...], list[Sample]] = {}
        for sample in self._read(role):
            by_point.setdefault(tuple(sample.point.items()), []).append(sample)
        return SampleSet(tuple(Sample.concatenate(group) for group in by_point.values()))


def _shown(path: Path, folder: Path) -> str:
    """A path as the configuration's folder sees it; outside of it, as it is."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
