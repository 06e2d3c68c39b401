"""The configuration file of an analysis: its sections, a reader, and a template.

Each section of ``analysis.toml`` is a class, and its attributes are the keys of the section.  A
configuration can therefore also be written in Python.  The reader reports all wrong keys at once,
with their allowed values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from milinfer.exceptions import ConfigurationError
from milinfer.io.event_range import EventRange
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import as_path, is_address
from milinfer.utils.files import write_whole
from milinfer.workflow.systematics_sections import (
    SECTION,
    ResponseSection,
    SystematicSection,
    require_different_names,
)
from milinfer.workflow.toml_files import NUMBER, TABLE, read_sections

__all__ = [
    "AnalysisConfig",
    "AnalysisSection",
    "DataSection",
    "FilesSection",
    "ModelSection",
    "ResponseSection",
    "SamplesSection",
    "SystematicSection",
    "TemplatesSection",
    "ToysSection",
    "TrackingSection",
    "init_analysis",
]


Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
# Names are parts of names of files, which have at most 255 bytes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=200)]
WeightPoint = dict[str, float] | str
# A value of the one parameter, or a table with a value of each of several.
TruePoint = Annotated[
    Annotated[float, Tag(NUMBER)] | Annotated[dict[str, float], Tag(TABLE)],
    Discriminator(lambda value: TABLE if isinstance(value, Mapping) else NUMBER),
]
Paths = str | Annotated[list[str], Field(min_length=1)]


class _Section(BaseModel):
    model_config = SECTION


class AnalysisSection(_Section):
    """``[analysis]``: settings for all steps.

    Attributes
    ----------
    title
        Heading of the report.
    out
        Folder of all results, relative to the configuration file.
    seed
        Seed for splitting samples, for training and for toys.
    workers
        Number of threads that read files and generate toys.
    """

    title: str = "Analysis"
    out: Annotated[str, Field(pattern=r"^[^\x00]+$")] = "results"
    seed: Annotated[int, Field(ge=0)] = 1
    workers: Positive = 2


class _EventsSection(_Section):
    """A section that names files, and optionally the events to read from them."""

    events: Positive | None = None
    slice: tuple[Annotated[int, Field(ge=0)], Positive] | None = None

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        if self.events is not None and self.slice is not None:
            msg = "has events and slice, which both select events; give only one of them"
            raise ValueError(msg)
        if self.slice is not None and self.slice[0] >= self.slice[1]:
            msg = (
                f"slice {list(self.slice)} selects no events; the second number must be larger "
                "than the first"
            )
            raise ValueError(msg)
        return self

    @property
    def event_range(self) -> EventRange | None:
        """The events of each file to read; None: all."""
        selection = self.slice if self.events is None else self.events
        return None if selection is None else EventRange.of(selection)


class FilesSection(_EventsSection):
    """``[[samples.train]]``, ``[[samples.tune]]`` and ``[[samples.evaluate]]``: files of one point.

    Attributes
    ----------
    path
        File, list of files, or pattern with ``*``; relative to the configuration file.
    point
        Parameter point; not needed if the file stores it.
    process
        Name of the process; not needed if the file stores it.
    cross_section
        Cross-section in pb after the selection.  Give it for flat files of columns, which do not
        store it.
    weight, tree
        For flat files: name of the column of weights, and name of the tree.  ``weight = ""`` means
        that events have no weights.
    combine
        How to join several files.  ``"sum"``: the files are slices of a process, and their
        cross-sections are added.  ``"mean"``: the files are runs of the same process.  Default:
        ``"mean"`` if their cross-sections agree.
    events
        Number of events to read from each file, starting with its first event.
    slice
        ``[START, STOP]``: the events START to STOP − 1 of each file are read, where the first event
        has the number 0.
    """

    path: Paths
    point: dict[str, float] | None = None
    process: str | None = None
    cross_section: Annotated[float, Field(gt=0)] | None = None
    weight: str | None = None
    tree: str | None = None
    combine: Literal["sum", "mean"] | None = None


class SamplesSection(_Section):
    """``[samples]``: simulated events.

    Attributes
    ----------
    features
        Name of the feature set that is computed from files of events; or, for flat files, the names
        of the columns to use.
    on_missing
        What to do with an event that lacks particles which the features need.  ``"raise"``: raise
        an error.  ``"reject"``: leave the event out and count it.
    parameters
        Names of the parameters.  Or a table with the block and number of each parameter in the
        parameter card of the files, such as ``{ c_HW = "SMEFT 7" }``; with this table, the points
        of events and of their weights are read from the files.
    reweight_points
        Points of the event weights, needed if the files do not contain them.  Give a table with a
        point for the id of each weight, such as ``{ rwgt_7 = { c_HW = 0.5 } }``, or a list of
        points in the order of the weights, or the path of a reweight card of MadGraph.
    train
        Files that are used for training and to fill histograms.
    tune, evaluate
        `tune`: files for the toys from which calibrations and belts are made.  `evaluate`: files
        for the toys that measure coverage.  If they are not given, a part of the events of `train`
        is set aside for each of these purposes.
    fractions
        Fractions of the events of `train` that are set aside for calibrations and for coverage, if
        `tune` and `evaluate` are not given.
    held_out
        Of the events of `train` that then remain, the fraction that is not used for training.
        These events fill the histogram of the network's output.
    combine
        How to join several tables of files, such as ``[[samples.train]]``, that have the same
        point.  The values are those of ``combine`` in :class:`FilesSection`.
    invisible, visible
        PDG ids of final-state particles that are not in the PDG numbering: `invisible` lists those
        that escape the detector, `visible` those that are measured.
    """

    features: str | list[str] = "vbf_2l2j"
    on_missing: Literal["raise", "reject"] = "raise"
    parameters: dict[str, str] | list[str] | None = None
    reweight_points: dict[str, WeightPoint | list[WeightPoint]] | list[WeightPoint] | str | None = (
        None
    )
    train: Annotated[list[FilesSection], Field(min_length=1)]
    tune: list[FilesSection] = []
    evaluate: list[FilesSection] = []
    fractions: tuple[Fraction, Fraction] = (0.2, 0.2)
    held_out: Fraction = 0.2
    combine: Literal["sum", "mean"] | None = None
    invisible: list[int] = []
    visible: list[int] = []

    @model_validator(mode="after")
    def _both_or_none(self) -> SamplesSection:
        if bool(self.tune) != bool(self.evaluate):
            missing = "evaluate" if self.tune else "tune"
            msg = f"has no files in {missing!r}; give both tune and evaluate, or neither"
            raise ValueError(msg)
        if sum(self.fractions) >= 1:
            shares = ", ".join(f"{f:g}" for f in self.fractions)
            msg = f"fractions [{shares}] leave no events to train on; give smaller fractions"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _same_parameters(self) -> SamplesSection:
        first_keys: dict[frozenset[str], str] = {}
        for role in ("train", "tune", "evaluate"):
            for k, section in enumerate(getattr(self, role), start=1):
                if section.point is not None:
                    first_keys.setdefault(frozenset(section.point), f"{role}[{k}].point")
        if len(first_keys) > 1:
            parameters = "; ".join(
                f"{key} has {', '.join(sorted(names)) or 'none'}"
                for names, key in first_keys.items()
            )
            msg = (
                f"the points have different parameters: {parameters}; give the same parameters in "
                "all "
                "points"
            )
            raise ValueError(msg)
        return self


class DataSection(_EventsSection):
    """``[data]``: the dataset to fit.

    Attributes
    ----------
    path
        File, list of files, or pattern with ``*``.
    weight, tree, events, slice
        See :class:`FilesSection`.
    simulated
        Whether the events are simulated at ``toys.truth``.  If so, the report says it.
    luminosity
        Integrated luminosity in 1/fb.  If it is given, the fit with nuisance parameters also uses
        the number of events.
    luminosity_uncertainty
        Relative uncertainty of the luminosity.
    blind
        Whether the analysis is blind: pseudo-data at ``toys.truth`` are fitted instead of the data,
        until ``milinfer unblind`` opens the data.
    expected_events
        Number of events in the pseudo-data; default: the number of events in the data.
    """

    path: Paths
    weight: str | None = None
    tree: str | None = None
    simulated: bool = False
    luminosity: Annotated[float, Field(gt=0)] | None = None
    luminosity_uncertainty: Annotated[float, Field(gt=0, lt=1)] | None = None
    blind: bool = False
    expected_events: Positive | None = None

    @model_validator(mode="after")
    def _number_of_blind_events(self) -> Self:
        if self.expected_events is not None and not self.blind:
            msg = (
                "expected_events is the number of pseudo-data in a blind analysis; add blind = "
                "true, or omit it"
            )
            raise ValueError(msg)
        if self.blind and self.luminosity is not None and self.expected_events is None:
            msg = (
                "a fit with luminosity uses the number of events, which must stay blind; give "
                "expected_events"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _uncertainty_of_something(self) -> Self:
        if self.luminosity_uncertainty is not None and self.luminosity is None:
            msg = "luminosity_uncertainty needs a luminosity; give luminosity in 1/fb"
            raise ValueError(msg)
        return self


class ModelSection(_Section):
    """``[[model]]``: a network.  If there are several, the report is mainly about the first.

    Attributes
    ----------
    name
        Name of the method in tables and files; default: the name of the head.
    head, labels, order, pooling, bag_size, normalise, ensemble, bootstrap, reference
        See :class:`milinfer.BagLikelihood`.  With `bootstrap` the report also gives the error that
        is due to the finite number of training events.
    epochs, batch_events
        Largest number of epochs, and number of events in a batch.  The default of `epochs` depends
        on the head.  The default of `batch_events` is a fixed number for a polynomial head.  For
        all other heads it is chosen so that an epoch has 20 steps.
    """

    name: Name | None = None
    head: Literal["multiclass", "polynomial", "parametrised"] = "multiclass"
    labels: Literal["hard", "joint"] = "hard"
    order: Annotated[int, Field(ge=1, le=2)] = 2
    pooling: Literal[
        "mean", "sum", "attention", "gated-attention", "noisy-or", "max", "log-sum-exp"
    ] = "mean"
    bag_size: Positive | None = None
    normalise: bool = True
    ensemble: Positive = 1
    bootstrap: bool = False
    reference: TruePoint = 0.0
    epochs: Positive | None = None
    batch_events: Positive | None = None

    @model_validator(mode="after")
    def _bootstrap_of_events(self) -> Self:
        if self.bootstrap and self.ensemble < 4:
            msg = (
                "bootstrap = true needs 4 networks or more (better 16), but ensemble is "
                f"{self.ensemble}; give ensemble = 16"
            )
            raise ValueError(msg)
        if self.bootstrap and self.pooling not in ("mean", "sum"):
            msg = (
                f"bootstrap = true needs the ratio of each event, but pooling = {self.pooling!r} "
                "scores whole bags; use pooling = 'mean'"
            )
            raise ValueError(msg)
        return self

    @property
    def title(self) -> str:
        """Name of the network: `name` if it is given, or the name of the head."""
        if self.name is not None:
            return self.name
        return self.head + ("-joint" if self.labels == "joint" else "")


class ToysSection(_Section):
    """``[toys]``: pseudo-experiments.

    A true value is a number.  With several parameters it is a table with a value for each
    parameter, such as ``{ c_HW = 0.1, c_HB = 0.0 }``, or the number ``0.0`` if all parameters are
    zero.

    Attributes
    ----------
    number
        Number of toys at each true value.
    truth
        True value at which the methods are compared.
    weight_degree
        Degree of the event weights as polynomials in the parameters.  Give it if events have
        weights at several points.  Toys can then be generated at any true value, and all events
        contribute to the histograms at every value.  Samples at one point are therefore enough.
    calibrate_at, cover_at
        True values of the toys for calibration and of the toys for coverage.  Default without
        `weight_degree`: the points of samples in the inner half of the range.  Default with
        `weight_degree`: 7 values (calibration) and 5 values (coverage) in the inner half of the
        range; with several parameters a lattice (calibration; 3 × 3 points with two parameters) and
        a cross (coverage), see :func:`milinfer.workflow.several_inputs.default_points`.
    belt_at
        True values of the toys for a Neyman belt; default: no belt is made.
    simulation_error
        Whether calibrated intervals, of the data and of toys, are widened by the error that is due
        to the finite number of calibration events (:meth:`milinfer.Calibration.widened`).
    oracle
        Whether to add the exact likelihood ratio, computed from the event weights, as a method.
    oracle_at
        Parameter point of the sample in `samples.tune` that normalises the exact likelihood ratio;
        default: the samples at all points together.
    """

    number: Annotated[int, Field(ge=100)] = 2000
    truth: TruePoint = 0.0
    weight_degree: Positive | None = None
    calibrate_at: list[TruePoint] = []
    cover_at: list[TruePoint] = []
    belt_at: list[TruePoint] = []
    simulation_error: bool = False
    oracle: bool = False
    oracle_at: TruePoint | None = None

    @model_validator(mode="after")
    def _oracle_needs_weights(self) -> ToysSection:
        if self.oracle and self.weight_degree is None:
            msg = "oracle = true computes the exact ratio from event weights; give weight_degree"
            raise ValueError(msg)
        if self.oracle_at is not None and not self.oracle:
            msg = "oracle_at is only for the exact ratio; give oracle = true, or omit oracle_at"
            raise ValueError(msg)
        return self


class TemplatesSection(_Section):
    """``[templates]``: the histograms of the pyhf fit.

    Attributes
    ----------
    observable, bins
        Feature of the histogram, and its number of bins.  The edges are chosen so that the bins
        keep the most information.
    second_observable, bins_2d
        For an additional histogram of two features: the second feature, and the numbers of bins.
        Default: there is no such histogram.
    degree
        Degree of the polynomial in the parameters that describes each bin.  Default:
        `toys.weight_degree` if it is given and the events have weights, and 4 if not.
    mc_stat
        Whether the fit of the histograms includes the Monte-Carlo errors of the templates.
    held_out
        Whether the events that `samples.held_out` excludes from the training also fill the
        histograms of features.
    """

    observable: str = "d_phi_qq"
    bins: Annotated[int, Field(ge=2)] = 20
    second_observable: str | None = None
    bins_2d: tuple[Positive, Positive] = (8, 4)
    degree: Positive | None = None
    mc_stat: bool = True
    held_out: bool = False


class TrackingSection(_Section):
    """``[tracking]``: the experiment tracker that records a run.

    Without this section nothing is tracked.

    Attributes
    ----------
    to
        Name of the tracker.  MLflow needs the extra ``mlflow``, Weights & Biases the extra
        ``wandb``.
    experiment
        Name of the experiment (MLflow), project (Weights & Biases) or folder (TensorBoard).
    run
        Name of the run; default: the time, or a name that the tracker chooses.
    store
        Where the runs are stored: a folder, relative to the configuration file, or for MLflow the
        tracking URI.  Default for TensorBoard: ``tensorboard`` in the folder of the results.
        Default for Weights & Biases: the folder of the results.  Default for MLflow: the URI in
        MLflow's own configuration.
    offline
        For Weights & Biases: whether to keep the run in the folder and send nothing.
    """

    to: Literal["tensorboard", "mlflow", "wandb"]
    experiment: Name = "milinfer"
    run: Name | None = None
    store: str | None = None
    offline: bool = False

    @model_validator(mode="after")
    def _offline_is_for_wandb(self) -> TrackingSection:
        if self.offline and self.to != "wandb":
            msg = f"offline = true works only with to = 'wandb'; omit it for {self.to!r}"
            raise ValueError(msg)
        return self


class AnalysisConfig(_Section):
    """Configuration of an analysis: the content of ``analysis.toml``.

    Parameters
    ----------
    analysis, samples, data, model, systematics, response, toys, templates, tracking
        Sections of ``analysis.toml``, each an object of its class.
    folder
        Folder to which relative paths refer.
    source
        Path of the file; it is used in messages.

    Examples
    --------
    >>> config = AnalysisConfig(
    ...     samples=SamplesSection(train=[FilesSection(path="mc/*.root")]),
    ...     data=DataSection(path="data.root"),
    ... )
    >>> config.out, config.model[0].title
    (PosixPath('results'), 'multiclass')
    """

    analysis: AnalysisSection = AnalysisSection()
    samples: SamplesSection
    data: DataSection
    model: Annotated[list[ModelSection], Field(min_length=1)] = [ModelSection()]
    systematics: list[SystematicSection] = []
    response: ResponseSection = ResponseSection()
    toys: ToysSection = ToysSection()
    templates: TemplatesSection = TemplatesSection()
    tracking: TrackingSection | None = None
    folder: Path = Field(default=Path(), exclude=True)
    source: Path | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _names_differ(self) -> AnalysisConfig:
        # Models are saved in folders of these names, and some file systems do not tell A from a.
        titles = [m.title.lower() for m in self.model]
        twice = sorted({m.title for m in self.model if titles.count(m.title.lower()) > 1})
        if twice:
            msg = f"two models are called {', '.join(twice)}; give each a different name"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _nuisances_differ(self) -> AnalysisConfig:
        samples = self.samples
        points = [s.point for s in (*samples.train, *samples.tune, *samples.evaluate) if s.point]
        require_different_names(
            self.systematics, {*(samples.parameters or ()), *(n for p in points for n in p)}
        )
        of_yields = [s.name for s in self.systematics if not s.changes_events]
        if of_yields and self.data.luminosity is None:
            msg = (
                f"systematics: {of_yields[0]} changes the number of events, but the number is "
                "fitted "
                "only with a luminosity; give data.luminosity in 1/fb"
            )
            raise ValueError(msg)
        return self

    @property
    def has_nuisances(self) -> bool:
        """Whether the analysis has nuisance parameters."""
        return bool(self.systematics) or self.data.luminosity_uncertainty is not None

    @property
    def shape_systematics(self) -> tuple[SystematicSection, ...]:
        """Systematic uncertainties that change features or weights of events."""
        return tuple(s for s in self.systematics if s.changes_events)

    @classmethod
    def from_file(cls, path: PathLikeStr) -> AnalysisConfig:
        r"""Read and check ``analysis.toml``.

        Parameters
        ----------
        path
            TOML file.  Relative paths in it refer to its folder.

        Raises
        ------
        ConfigurationError
            If the file cannot be read, or keys are wrong.  The message names every wrong key with
            its allowed values.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "analysis.toml")
        ...     _ = file.write_text('[data]\npath = "d.root"\n[samples]\ntrain = []\n')
        ...     AnalysisConfig.from_file(file)
        Traceback (most recent call last):
        ...
        milinfer.exceptions.ConfigurationError: .../analysis.toml:
          samples.train: List should have at least 1 item after validation, not 0
        """
        source = as_path(path)
        config = read_sections(cls, source)
        # Not as JSON, which has only names that are Unicode.
        return config.model_copy(update={"folder": source.parent, "source": source})

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return self.folder / self.analysis.out

    def files(self, paths: str | Sequence[str]) -> tuple[Path, ...]:
        """Find the files that match a ``path`` of the configuration, sorted for each pattern.

        Raises
        ------
        ConfigurationError
            If no file matches.
        """
        file_paths: list[Path] = []
        of = "" if self.source is None else f"{self.source}: "
        for text in [paths] if isinstance(paths, str) else paths:
            if "\0" in text:
                msg = f"{of}the path {text!r} has a zero byte; correct it"
                raise ConfigurationError(msg)
            if is_address(text):
                msg = (
                    f"{of}{text!r} is an address, but a run needs files on this machine; copy it, "
                    "or write its features with `milinfer features ADDRESS --out FILE.parquet`"
                )
                raise ConfigurationError(msg)
            path = self.folder / text
            # some versions of Python take it for one star
            if any("**" in part and part != "**" for part in path.parts):
                msg = f"{of}{text!r}: ** stands for folders and must be alone between slashes"
                raise ConfigurationError(msg + "; correct the path")
            try:
                if not any(c in text for c in "*?["):
                    matches = [path] if path.is_file() else []
                else:
                    start = Path(path.anchor) if path.is_absolute() else Path()
                    pattern = str(path.relative_to(start))
                    matches = sorted(p for p in start.glob(pattern) if p.is_file())
            except (ValueError, NotImplementedError) as error:
                msg = f"{of}{text!r} is not a pattern of files ({error}); correct the path"
                raise ConfigurationError(msg) from error
            except OSError as error:  # a name that is too long, a folder that may not be read
                short = text if len(text) < 200 else f"{text[:200]}…"
                msg = f"{of}cannot look for {short!r} ({error.strerror}); correct the path"
                raise ConfigurationError(msg) from error
            if not matches:
                msg = f"{of}no file {text!r} in {self.folder.resolve()}; correct the path"
                raise ConfigurationError(msg)
            file_paths += matches
        return tuple(file_paths)


def init_analysis(path: PathLikeStr = "analysis.toml", *, overwrite: bool = False) -> Path:
    """Write a configuration file with comments, as a start for your own analysis.

    Parameters
    ----------
    path
        File to write.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    ConfigurationError
        If the file exists already.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = init_analysis(pathlib.Path(folder, "analysis.toml"))
    ...     AnalysisConfig.from_file(file).model[0].head
    'polynomial'
    """
    target = as_path(path)
    if target.exists() and not overwrite:
        msg = f"{target} exists already; give another name, or overwrite=True to replace it"
        raise ConfigurationError(msg)
    if not target.parent.is_dir():
        msg = f"cannot write {target}: there is no folder {target.parent}; make it first"
        raise ConfigurationError(msg)
    text = files("milinfer.workflow").joinpath("analysis_template.toml").read_text(encoding="utf-8")
    write_whole(target, text)
    return target
