"""Read the input files of an analysis, and check its configuration before training starts.

Files are hashed, converted to columns of features, and split into events for training, for
calibration ("tune") and for coverage ("evaluate").  Settings that cannot work are found here, and
not after hours of training.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from milinfer.exceptions import (
    ConfigurationError,
    FeatureError,
    MilinferWarning,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.io.event_range import EventRange
from milinfer.samples.cross_sections import Combine
from milinfer.samples.file_points import ReweightPoints
from milinfer.samples.sample import Sample, check_sample_counts, read_data
from milinfer.samples.sample_set import SampleSet, split_rows_each
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.files import file_hash
from milinfer.workflow.configuration import AnalysisConfig, FilesSection, ToysSection
from milinfer.workflow.provenance import InputFile, input_file
from milinfer.workflow.steps import content_hash
from milinfer.workflow.true_points import (
    configuration_error,
    model_fields,
    number_of,
    require_names,
    require_several_parameters,
)

__all__ = [
    "AnalysisInputs",
    "PartRows",
    "Parts",
    "ROLES",
    "SourceFile",
    "numbers_of",
    "require_features",
    "require_files",
    "require_parameters",
    "require_other_files",
    "require_points",
    "require_pools",
    "require_several",
    "require_truths",
    "inner_values",
    "training_values",
    "truths",
    "warn_of_bins",
]


ROLES = ("train", "tune", "evaluate", "data")
"""Purposes of input files."""

_Part = TypeVar("_Part")

_SUFFIXES = (".gz", ".lhe", ".parquet", ".root")
# Bytes of a name that leave room, within the 255 of most file systems, for what is added to it.
_LONGEST = 200


@dataclass(frozen=True)
class SourceFile:
    """One input file, and the file of features that is computed from it.

    Parameters
    ----------
    path, section
        Path of the file, and the section of the configuration that names it.
    depends
        Everything on which the features depend: settings, and the hash of the file.
    sha256
        SHA-256 of the content of the file.
    """

    path: Path
    section: FilesSection
    depends: Mapping[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file without suffixes, followed by a hash of `depends`.

        Long names are cut, and bytes that are not UTF-8 are left out.
        """
        stem = self.path.name
        while Path(stem).suffix.lower() in _SUFFIXES:
            stem = Path(stem).stem
        stem = os.fsencode(stem)[:_LONGEST].decode(errors="ignore")
        return f"{stem}-{content_hash(self.depends)[:8]}"

    @property
    def output(self) -> str:
        """Path of the file of features, relative to the folder of the results."""
        return f"features/{self.name}.parquet"


class Parts(NamedTuple):
    """Simulated events, divided by their purpose.

    Parameters
    ----------
    train
        Events for the training.
    held_out
        Events that are not used for any training; they fill histograms of a network's output.
    tune, evaluate
        Events for the toys from which calibrations and belts are made, and events for the toys that
        measure coverage.
    templates
        Events for the histograms of features: the training events and, if ``templates.held_out`` is
        true, the held-out events.
    """

    train: SampleSet
    held_out: SampleSet
    tune: SampleSet
    evaluate: SampleSet
    templates: SampleSet


class PartRows(NamedTuple):
    """Which events of `samples.train` belong to each part: their rows, for each sample.

    Parameters
    ----------
    train, held_out, evaluate
        As for :class:`Parts`, an array of row numbers for each sample.  `evaluate` is None if its
        events are in other files.
    """

    train: tuple[IntArray, ...]
    held_out: tuple[IntArray, ...]
    evaluate: tuple[IntArray, ...] | None


class AnalysisInputs:
    """Input files of an analysis by role, checked as far as this is possible without their events.

    Parameters
    ----------
    config
        Configuration of the analysis.
    on_file
        Function that is called with the path of each file before the file is hashed.

    Raises
    ------
    ConfigurationError
        If files are missing, the same events have two roles, or settings cannot work.
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
            config,
            {
                role: [(f.path, f.sha256, f.section.event_range) for f in self.files[role]]
                for role in ROLES[:3]
            },
        )

    def _sections(self, role: str) -> Sequence[FilesSection]:
        if role == "data":
            data = self.config.data
            names = ("path", "weight", "tree", "events", "slice")
            return [FilesSection(**{name: getattr(data, name) for name in names})]
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
            "samples.invisible": sorted(samples.invisible),
            "samples.visible": sorted(samples.visible),
            "events": section.event_range,
            "samples.parameters": None if role == "data" else samples.parameters,
            "samples.reweight_points": None if role == "data" else self._reweight_points[1],
            "point": section.point,
            "process": section.process,
            "cross_section": section.cross_section,
            "weight": section.weight,
            "tree": section.tree,
            "data": role == "data",
        }

    @cached_property
    def _reweight_points(self) -> tuple[ReweightPoints | None, Any]:
        """Points of weights from the user, and a hash that shows whether they have changed."""
        points = self.config.samples.reweight_points
        if not isinstance(points, str):
            return points, points
        (card,) = self.config.files(points)
        return card, file_hash(card)

    def names(self, role: str) -> list[str]:
        """Names of the files of a role.  If the content of a file changes, its name changes."""
        return [f.name for f in self.files[role]]

    def unique(self) -> tuple[SourceFile, ...]:
        """All files.  A file that has several roles is listed only once."""
        return tuple({f.name: f for role in ROLES for f in self.files[role]}.values())

    def make_features(self, source: SourceFile) -> str:
        """Compute and write the features of a file; return a line with its numbers of events."""
        read = read_data if source.depends["data"] else Sample.from_file
        sample = read(source.path, **self.reading_options(source))
        target = self.config.out / source.output
        target.parent.mkdir(parents=True, exist_ok=True)
        sample.to_file(target)
        return check_sample_counts(sample, str(source.path))

    def reading_options(self, source: SourceFile) -> dict[str, Any]:
        """Options with which :meth:`Sample.from_file` reads a file."""
        samples, section = self.config.samples, source.section
        options: dict[str, Any] = {
            "point": section.point,
            "features": samples.features,
            "process": section.process,
            "on_missing": samples.on_missing,
            "workers": self.config.analysis.workers,
            "tree": section.tree,
            "cross_section": section.cross_section,
            "events": section.event_range,
            "invisible": samples.invisible,
            "visible": samples.visible,
        }
        if section.weight is not None:
            options["weight"] = section.weight or None
        if not source.depends["data"]:
            options["parameters"] = samples.parameters
            options["reweight_points"] = self._reweight_points[0]
        return options

    def data(self) -> Sample:
        """Read the dataset.  If its files are simulated, their cross-sections are not used."""
        parts = [
            replace(s, cross_section=math.nan, cross_section_error=math.nan)
            for s in self._read("data")
        ]
        return Sample.concatenate(parts).as_data()

    def split(self) -> Parts:
        """Read all simulated events and split them by purpose."""
        if self.config.samples.tune:
            simulation, tune, evaluate = (self._set(r) for r in ("train", "tune", "evaluate"))
        else:
            x, y = self.config.samples.fractions
            simulation, tune, evaluate = self._set("train").split(
                [1 - x - y, x, y], seed=self.config.analysis.seed
            )
        train, held_out = self._hold_out(simulation)
        return Parts(
            train=train,
            held_out=held_out,
            tune=tune,
            evaluate=evaluate,
            templates=simulation if self.config.templates.held_out else train,
        )

    def training(self) -> tuple[SampleSet, SampleSet]:
        """Read the training events and the held-out events, and no files of other roles."""
        if self.config.samples.tune:
            return self._hold_out(self._set("train"))
        parts = self.split()
        return parts.train, parts.held_out

    def rows(self, numbers: Sequence[int]) -> PartRows:
        """Compute which events of `samples.train` are in each part of :meth:`split`.

        Parameters
        ----------
        numbers
            Number of events of each sample.
        """
        seed, part = self.config.analysis.seed, self.config.samples.held_out
        simulation: Sequence[IntArray] = [np.arange(n) for n in numbers]
        evaluate = None
        if not self.config.samples.tune:
            x, y = self.config.samples.fractions
            simulation, _, evaluate = split_rows_each(numbers, [1 - x - y, x, y], seed)
        inner = split_rows_each([len(rows) for rows in simulation], [1 - part, part], seed)
        train, held_out = (
            tuple(rows[k] for rows, k in zip(simulation, chosen, strict=True)) for chosen in inner
        )
        return PartRows(train, held_out, evaluate)

    def _hold_out(self, train: SampleSet) -> tuple[SampleSet, SampleSet]:
        part = self.config.samples.held_out
        train, held_out = train.split([1 - part, part], seed=self.config.analysis.seed)
        return train, held_out

    def facts(self) -> tuple[InputFile, ...]:
        """Facts about each file for the provenance, with paths from the configuration's folder."""
        facts = []
        for role in ROLES:
            for source, sample in zip(self.files[role], self._read(role), strict=True):
                fact = input_file(role, source.path, sample, sha256=source.sha256)
                facts.append(fact._replace(path=_path_in(source.path, self.config.folder)))
        return tuple(facts)

    def _read(self, role: str) -> list[Sample]:
        read = read_data if role == "data" else Sample.from_file
        return [read(self.config.out / f.output) for f in self.files[role]]

    def combine(self) -> dict[str, Any]:
        """How files of one point are joined, within each table of files and between tables."""
        samples = self.config.samples
        blocks = {role: [s.combine for s in self._sections(role)] for role in ROLES[:3]}
        return {"blocks": samples.combine, **blocks}

    def _set(self, role: str) -> SampleSet:
        """Samples of a role: files of a block are joined first, then blocks of one point."""
        return SampleSet(tuple(self.joined(role, self._read(role), SampleSet.by_point)))

    def joined(
        self,
        role: str,
        parts: Iterable[_Part],
        join: Callable[[Sequence[_Part], Combine | None], Iterable[_Part]],
    ) -> list[_Part]:
        """Join the files of a role: first those of each table of files, then the tables.

        Parameters
        ----------
        role
            One of :data:`ROLES`.
        parts
            One object for each file of the role, for example a sample.
        join
            Function that joins some of the parts, with ``combine`` of the configuration as second
            argument.

        Raises
        ------
        SampleError
            If the parts do not fit together.  The message names the keys of the configuration.
        """
        samples = self.config.samples
        blocks: dict[int, list[_Part]] = {}
        for source, part in zip(self.files[role], parts, strict=True):
            # Blocks that say nothing are joined with the others in one step.
            key = id(source.section) if source.section.combine else 0
            blocks.setdefault(key, []).append(part)
        combine = {id(f.section): f.section.combine for f in self.files[role]}
        try:
            of_blocks = [
                one
                for key, of_block in blocks.items()
                for one in (join(of_block, combine[key]) if key else of_block)
            ]
            return list(join(of_blocks, samples.combine))
        except SampleError as error:
            msg = (
                f"samples.{role}: {error} (combine in [[samples.{role}]] is for the files of one "
                "block, combine in [samples] for blocks of one point)"
            )
            raise SampleError(msg) from error


def _path_in(path: Path, folder: Path) -> str:
    """Path relative to a folder; a path outside of the folder stays as it is."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


# Numbers of true values if the configuration gives none and events carry weights.
_TRUTHS = {"calibrate_at": 7, "cover_at": 5}

# Effective events per bin that `fisher_bins` needs in every sample.
_IN_A_BIN = 10.0


def require_features(config: AnalysisConfig) -> None:
    """Check that the observables of histograms are features.

    Raises
    ------
    ConfigurationError
        If an observable is not one of the features.  The message names the key of the
        configuration.
    """
    from milinfer.features.feature_set import feature_set

    names = config.samples.features
    if isinstance(names, str):
        try:
            names = list(feature_set(names).names)
        except FeatureError as error:
            raise configuration_error(config, [f"samples.features: {error}"]) from error
    for key in ("observable", "second_observable"):
        name = getattr(config.templates, key)
        if name is not None and name not in names:
            msg = (
                f"templates.{key}: {name!r} is not one of the features; choose from "
                f"{', '.join(names)}"
            )
            raise configuration_error(config, [msg])


def require_files(config: AnalysisConfig) -> None:
    """Check that all files of an analysis exist.

    Raises
    ------
    ConfigurationError
        If a file is missing.  The message has one line for each missing file.
    """
    samples = config.samples
    sections = [*samples.train, *samples.tune, *samples.evaluate]
    missing = []
    for path in (*(s.path for s in sections), config.data.path):
        try:
            config.files(path)
        except ConfigurationError as error:
            missing.append(str(error))
    if missing:
        raise ConfigurationError("\n".join(dict.fromkeys(missing)))


def require_parameters(samples: SampleSet) -> None:
    """Check that samples have parameters.

    Raises
    ------
    ConfigurationError
        If they have none.  The message says what to write into the configuration.
    """
    if not samples.parameters:
        msg = (
            "samples.train: the events have no parameters, so there is no parameter to fit; give "
            "every file a point, such as point = { c_HW = 0.5 }"
        )
        raise ConfigurationError(msg)


def require_points(config: AnalysisConfig) -> None:
    """Check that true values fit to the training points, if these are in the configuration.

    Raises
    ------
    ConfigurationError
        For the reasons in :func:`require_several` and :func:`require_truths`.
    """
    points = [section.point for section in config.samples.train]
    names = tuple(points[0] or ())
    if len(names) > 1 and None not in points:
        require_several_parameters(config, names)
    elif all(p is not None and len(p) == 1 for p in points):
        require_names(config, names)
        values = np.unique([next(iter(p.values())) for p in points if p])
        require_several(config, values)
        if len(values) > 1:  # else the weights of the events say how far it reaches
            require_truths(config, values, weighted=config.toys.weight_degree is not None)


def require_several(config: AnalysisConfig, values: FloatArray) -> None:
    """Check that the settings use the weights of events if all samples are at one point.

    Parameters
    ----------
    config
        Configuration of the analysis.
    values
        Value of the parameter for each training sample, shape (n_samples,).

    Raises
    ------
    ConfigurationError
        If all samples are at one point, and a setting does not use the weights.  The message names
        the keys of the settings.
    """
    if len(np.unique(values)) > 1:
        return
    one = f"samples.train: all events are at {float(values[0]):g}, and"
    problems = []
    if config.toys.weight_degree is None:
        problems.append(
            f"{one} toys at other values need event weights; give "
            "toys.weight_degree, the degree of these weights in the parameter, or add samples"
        )
    problems += [
        f"{one} model[{k + 1}].labels = 'hard' trains a classifier between samples; use labels = "
        "'joint', which learns from the event weights at other points, or add samples"
        for k, model in enumerate(config.model)
        if model.labels == "hard"
    ]
    if problems:
        raise configuration_error(config, problems)


def training_values(config: AnalysisConfig, train: SampleSet) -> FloatArray:
    """Training values of the parameter in the range that every model learns, in ascending order.

    They are the values of the samples or, if all samples are at one point, those of the event
    weights.

    Raises
    ------
    ConfigurationError
        If all samples are at one point, and a setting does not use event weights or events have
        none.
    """
    from milinfer.learning.settings import LikelihoodSettings
    from milinfer.learning.training_points import training_points

    require_several(config, train.values(train.parameters[0]))
    values: list[FloatArray] = []
    for k, model in enumerate(config.model):
        try:
            fields = model_fields(model, train.parameters)
            points = training_points(LikelihoodSettings(**fields), train)
        except (ConfigurationError, ModelError) as error:
            raise configuration_error(config, [f"model[{k + 1}]: {error}"]) from error
        values.append(np.unique(points))
    low, high = max(v[0] for v in values), min(v[-1] for v in values)
    return np.array([v for v in values[0] if low <= v <= high])


def require_truths(config: AnalysisConfig, values: FloatArray, *, weighted: bool) -> None:
    """Check the true values, and the degree of the templates.

    Parameters
    ----------
    config
        Configuration of the analysis.
    values
        Training values of the parameter, shape (n_points,).
    weighted
        Whether events contribute to the histograms at every value through their weights.  If not,
        the events of a sample contribute at its own value.

    Raises
    ------
    ConfigurationError
        If a true value is outside the range of the training points, or templates cannot have the
        degree that is set.  The message names the keys of the settings.
    """
    low, high = float(values.min()), float(values.max())
    toys = config.toys
    truths_by_key = {"truth": [number_of(toys.truth)]} | {
        key: numbers_of(toys, key) for key in ("calibrate_at", "cover_at", "belt_at")
    }
    problems = [
        f"toys.{key}: {value:g} is outside the range of the training points, {low:g} to {high:g}"
        for key, true_values in truths_by_key.items()
        for value in true_values
        if not low <= value <= high
    ]
    distinct = len(np.unique(values))
    degree = config.templates.degree
    if weighted and degree not in (None, toys.weight_degree):
        problems.append(
            f"templates.degree = {degree} differs from toys.weight_degree = {toys.weight_degree}, "
            "which already is the degree of the histograms; omit templates.degree"
        )
    if not weighted and (degree or 4) >= distinct:
        problems.append(
            f"templates.degree = {degree or 4} needs samples at {(degree or 4) + 1} points, but "
            f"there are {distinct}"
        )
    if problems:
        raise configuration_error(config, problems)


def require_other_files(
    config: AnalysisConfig, files: Mapping[str, Sequence[tuple[Path, str, EventRange | None]]]
) -> None:
    """Check that no events of a file are used twice.

    No event may have two roles, such as training and calibration.  Slices of a file that have the
    same role may not overlap.

    Parameters
    ----------
    config
        Configuration of the analysis.
    files
        For each role its files.  Each file has a path, a hash, and the range of events that are
        read (None: all events).

    Raises
    ------
    ConfigurationError
        If events are used twice.  The message names the file and the roles.
    """
    seen: dict[str, list[tuple[str, Path, EventRange | None]]] = {}
    of = "" if config.source is None else f"{config.source}: "
    for role, entries in files.items():
        for path, content, events in entries:
            for first, other, others in seen.setdefault(content, []):
                if events is not None and others is not None and not events.overlaps(others):
                    continue
                if first != role:
                    msg = (
                        f"{of}samples.{first} and samples.{role} have the same events "
                        f"({_named(other, others)}, {_named(path, events)}); they need "
                        "independent events: give other files or slices, or split one file with "
                        "samples.fractions"
                    )
                    raise ConfigurationError(msg)
                if events is not None or others is not None:
                    msg = (
                        f"{of}samples.{role} has the same events twice ({_named(other, others)}, "
                        f"{_named(path, events)}); give slices that do not overlap"
                    )
                    raise ConfigurationError(msg)
            seen[content].append((role, path, events))


def _named(path: Path, events: EventRange | None) -> str:
    return str(path) if events is None else f"{path}, events {events}"


def require_pools(
    config: AnalysisConfig, tune: SampleSet, evaluate: SampleSet, limits: tuple[float, float]
) -> None:
    """Check that there are events from which toys can be drawn at all true values.

    Parameters
    ----------
    config
        Configuration of the analysis.
    tune, evaluate
        Events for the toys of calibrations and belts, and events for the toys of coverages.
    limits
        Range of the training points; default true values are inside it.

    Raises
    ------
    ConfigurationError
        If there is no sample at a true value, no event has a density there, or the weights of an
        event are not a polynomial of degree `toys.weight_degree`.  The message names the key and
        the value.
    """
    from milinfer.toys.pool import EventPool

    toys, parameter = config.toys, tune.parameters[0]
    problems = []
    for role, samples, key, listed in (
        ("tune", tune, "calibrate_at", {"belt_at": numbers_of(toys, "belt_at")}),
        ("evaluate", evaluate, "cover_at", {"truth": [number_of(toys.truth)]}),
    ):
        try:
            pool = EventPool(samples, toys.weight_degree)
        except SampleError as error:
            degree = f"toys.weight_degree = {toys.weight_degree}"
            problems.append(f"{degree}, events to {role} with: {error}")
            continue
        try:
            truths_by_key: Mapping[str, Sequence[float]] = {
                key: truths(toys, key, samples.values(parameter), limits),
                **listed,
            }
        except ConfigurationError as error:
            truths_by_key = listed
            problems.append(str(error))
        for name, values in truths_by_key.items():
            for value in values:
                try:
                    pool.at({parameter: value})
                except (ParameterError, SampleError) as error:
                    problems.append(f"toys.{name}, toys at {value:g}: {error}")
    if toys.oracle_at is not None:
        try:
            tune.at(**{parameter: number_of(toys.oracle_at)})
        except ParameterError as error:
            problems.append(f"toys.oracle_at, events to tune with: {error}")
    if problems:
        raise configuration_error(config, problems)


def numbers_of(toys: ToysSection, key: str) -> tuple[float, ...]:
    """True values of the one parameter in the configuration; empty if it has none."""
    return tuple(number_of(value) for value in getattr(toys, key))


def truths(
    toys: ToysSection, key: str, values: FloatArray, limits: tuple[float, float]
) -> tuple[float, ...]:
    """True values in the configuration, or default values in the inner half of the range."""
    configured = numbers_of(toys, key)
    if configured:
        return configured
    centre, reach = (limits[0] + limits[1]) / 2, (limits[1] - limits[0]) / 4
    if toys.weight_degree is not None:
        return inner_values(limits, _TRUTHS[key])
    inside = np.sort(values[np.abs(values - centre) <= reach * (1 + 1e-9)])
    if not len(inside):
        inner = f"[{limits[0]:g}, {limits[1]:g}]"
        msg = f"toys.{key}: no sample is in the inner half of {inner}; give toys.{key}"
        raise ConfigurationError(msg)
    return tuple(inside.tolist())


def inner_values(limits: tuple[float, float], number: int) -> tuple[float, ...]:
    """Evenly spaced values in the inner half of a range.

    Examples
    --------
    >>> inner_values((-1.0, 1.0), 3)
    (-0.5, 0.0, 0.5)
    """
    centre, reach = (limits[0] + limits[1]) / 2, (limits[1] - limits[0]) / 4
    # Rounding makes 0.1 equal the 0.1 of a sample, in spite of the arithmetic of linspace.
    spaced = np.linspace(centre - reach, centre + reach, number).round(10) + 0.0
    return tuple(spaced.tolist())


def warn_of_bins(config: AnalysisConfig, train: SampleSet, held_out: SampleSet) -> None:
    """Warn, before training, if a histogram will have too few events per bin.

    Warns
    -----
    MilinferWarning
        If a sample has too few effective events (Σw)²/Σw² for the number of bins.  The message
        names the keys.
    """
    from milinfer.binned.weighted_templates import carry_weights
    from milinfer.samples.weights import effective_number

    for samples, methods in (
        (train, "histograms of features"),
        (held_out, "histograms of the output of the network"),
    ):
        sizes = [effective_number(s.weights) for s in samples]
        poorest, smallest = samples[int(np.argmin(sizes))].label, min(sizes)
        if carry_weights(samples, config.toys.weight_degree):
            poorest, smallest = "all samples together", sum(sizes)
        bins = config.templates.bins
        if smallest < bins * _IN_A_BIN:
            msg = (
                f"templates.bins = {bins}: {poorest} has {smallest:.0f} effective events for "
                f"the {methods}, but {bins} bins need {bins * _IN_A_BIN:.0f} or more, so there "
                "will be no such histograms. Use fewer bins, a larger samples.held_out or more "
                "events"
            )
            warnings.warn(msg, MilinferWarning, stacklevel=2)
