"""Run an analysis from its configuration: features, training, toys and report, step by step.

Every step reads the files that earlier steps have written, also if all steps are done in one run.
A run that was interrupted and resumed therefore gives the same result as a run without
interruption.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferError, MilinferWarning
from milinfer.learning.bag_likelihood import log_training
from milinfer.learning.model_files import FORMAT
from milinfer.learning.tracking import GuardedTracker, Tracker, flat_numbers, flat_settings
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import PathLikeStr
from milinfer.workflow.blinding import (
    BLIND,
    Blinding,
    Unblinding,
    frozen_hashes,
    pseudo_data,
    write_unblinding,
)
from milinfer.workflow.configuration import AnalysisConfig, ModelSection, ToysSection
from milinfer.workflow.inputs import (
    ROLES,
    AnalysisInputs,
    Parts,
    numbers_of,
    require_parameters,
    require_pools,
    require_truths,
    training_values,
    truths,
    warn_of_bins,
)
from milinfer.workflow.provenance import Preparation, Provenance, StepRun
from milinfer.workflow.several_inputs import PointsOfToys, points_of_toys, training_box
from milinfer.workflow.steps import Step, Steps, StepState, content_hash
from milinfer.workflow.true_points import model_fields, number_of, point_of, require_names
from milinfer.workflow.variation_inputs import VariationInputs

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.tracking import MLflowTracker, TensorBoardTracker, WandbTracker
    from milinfer.workflow.analysis_result import AnalysisResult
    from milinfer.workflow.comparison import Unavailable
    from milinfer.workflow.configuration import TrackingSection
    from milinfer.workflow.several_parameters import SeveralResult
    from milinfer.workflow.systematics import NuisanceInputs, NuisanceResult

__all__ = [
    "AnalysisPlan",
    "PlannedStep",
    "log_results",
    "open_tracker",
    "plan_analysis",
    "run_analysis",
    "unblind_analysis",
]


class PlannedStep(NamedTuple):
    """A step, and its state, which says whether it has to be done."""

    step: Step
    state: StepState


class AnalysisPlan:
    """The steps of an analysis in order, made by :func:`plan_analysis`.

    Parameters
    ----------
    config
        Configuration of the analysis.
    on_file
        Function that is called with the path of each input file before the file is hashed.

    Attributes
    ----------
    tracker
        Tracker to which the steps are logged, or None.
    preparation
        Additions to the result by the program that made the input files, or None.
    """

    tracker: Tracker | None = None
    preparation: Preparation | None = None

    def __init__(
        self, config: AnalysisConfig, on_file: Callable[[Path], None] = lambda _: None
    ) -> None:
        self.config = config
        _require_event_model(config)
        self._inputs = AnalysisInputs(config, on_file)
        self._variations = VariationInputs(config, self._inputs)
        self.steps = Steps(config.out)
        self._unblinding = Unblinding.load(config.out)
        self._require_blindness()
        self._ran: set[str] = set()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def planned(self) -> list[PlannedStep]:
        """All steps in order, each with its present state."""
        return [PlannedStep(step, self.steps.state(step)) for step in self._all()]

    def _all(self) -> list[Step]:
        make = self._inputs.make_features
        steps = [
            Step(f"features-{f.name}", f.depends, (f.output,), partial(make, f))
            for f in self._inputs.unique()
        ]
        steps += [
            Step(
                f"train-{m.title}",
                self._training_inputs(m),
                (self._model_folder(m),),
                partial(self._train, m),
            )
            for m in self.config.model
        ]
        steps += [
            Step(
                f"variations-{v.source.name}",
                v.depends,
                (v.output,),
                partial(self._variations.make, v),
            )
            for v in self._variations.sources
        ]
        if self._variations:
            steps.append(
                Step("response", self._response_inputs(), (_RESPONSE,), self._train_response)
            )
        return [*steps, self._inference()]

    def execute(self, step: Step) -> str:
        """Do a step.  Steps for which this was not called are "cached" in the report."""
        words = self.steps.execute(step)
        self._ran.add(step.name)
        return words

    def _training_inputs(self, model: ModelSection) -> dict[str, Any]:
        config = self.config
        return {
            "format": FORMAT,  # of saved models; it changes when defaults change
            **{f"model.{k}": v for k, v in model.model_dump().items() if k != "name"},
            "analysis.seed": config.analysis.seed,
            "samples.fractions": None if config.samples.tune else config.samples.fractions,
            "samples.held_out": config.samples.held_out,
            "samples.train": self._inputs.names("train"),
            "samples.combine": self._inputs.combine(),
        }

    def _response_inputs(self) -> dict[str, Any]:
        config = self.config
        return {
            **{f"response.{k}": v for k, v in config.response.model_dump().items()},
            "analysis.seed": config.analysis.seed,
            "samples.fractions": None if config.samples.tune else config.samples.fractions,
            "samples.held_out": config.samples.held_out,
            "samples.combine": self._inputs.combine(),
            "variations": self._variations.depends,
            "samples.train": self._inputs.names("train"),
        }

    def _inference(self) -> Step:
        config = self.config
        depends: dict[str, Any] = {f"samples.{r}": self._inputs.names(r) for r in ROLES}
        depends["samples.combine"] = self._inputs.combine()
        depends |= {
            f"model {m.title}": content_hash(self._training_inputs(m)) for m in config.model
        }
        for name in ("toys", "templates"):
            section = getattr(config, name).model_dump()
            depends |= {f"{name}.{key}": value for key, value in section.items()}
        depends["analysis.title"] = config.analysis.title
        depends["data.simulated"] = config.data.simulated
        if config.data.blind or self._unblinding is not None:
            depends["data.blind"] = BLIND if self._unblinding is None else self._unblinding.content
            depends["data.expected_events"] = config.data.expected_events
        if config.has_nuisances:
            depends["response"] = content_hash(self._response_inputs())
            depends["systematics"] = [s.model_dump() for s in config.systematics]
            for name in ("luminosity", "luminosity_uncertainty"):
                depends[f"data.{name}"] = getattr(config.data, name)
            exact = None if self.preparation is None else self.preparation.exact
            depends["exact"] = None if exact is None else dict(exact.depends)
        return Step("inference", depends, self._results, self._infer)

    @property
    def _results(self) -> tuple[str, ...]:
        belts = ("belts",) if self.config.toys.belt_at else ()
        return ("summary.json", "report.html", "plots", "calibrations", *belts)

    def _model_folder(self, model: ModelSection) -> str:
        return f"models/{model.title}"

    # --- blind analyses ------------------------------------------------------------------------

    def _require_blindness(self) -> None:
        """Refuse to open the data of a blind analysis by a change of its configuration."""
        if self.config.data.blind or self._unblinding is not None:
            return
        try:
            before = self.steps.record(self._inference())["depends"].get("data.blind")
        except (ValueError, OSError):  # there is none, or a damaged one: the step is done again
            return
        if before == BLIND:
            msg = (
                f"{self.config.out} contains a blind analysis; open its data with `milinfer "
                "unblind`, which keeps a record, or give another folder as analysis.out"
            )
            raise ConfigurationError(msg)

    def _frozen(self) -> dict[str, str]:
        of_data = {f"features-{name}" for name in self._inputs.names("data")}
        *before, inference = self._all()
        return frozen_hashes(self.steps, [s for s in before if s.name not in of_data], inference)

    def unblind(self, reason: str) -> Unblinding:
        """Open the data of a blind analysis.  The next run fits them.

        Parameters
        ----------
        reason
            Why the data are opened, for example who approved it.

        Raises
        ------
        ConfigurationError
            If the analysis is not blind, its data were opened before, or steps still have to be
            done.
        """
        if not self.config.data.blind:
            msg = "the data of this analysis are not blind: [data] has no blind = true"
            raise ConfigurationError(msg)
        if self._unblinding is None:
            waiting = [step.name for step, state in self.planned() if state.kind != "done"]
            if waiting:
                msg = (
                    "the blind analysis must be complete before the data are opened: "
                    f"{', '.join(waiting)} must still be done; use milinfer run first"
                )
                raise ConfigurationError(msg)
        self._unblinding = write_unblinding(self.config.out, reason, self._frozen())
        return self._unblinding

    def _blinding(self, data: Sample) -> Blinding | None:
        if not self.config.data.blind and self._unblinding is None:
            return None
        changed = () if self._unblinding is None else self._unblinding.changed_since(self._frozen())
        if changed:
            msg = f"the analysis has changed since its data were opened: {', '.join(changed)}"
            warnings.warn(msg, MilinferWarning, stacklevel=2)
        return Blinding(len(data), self._unblinding, changed)

    def _data(self, parts: Parts) -> Sample:
        """The data, or pseudo-data in their place."""
        config, data = self.config, self._inputs.data()
        if not config.data.blind or self._unblinding is not None:
            return data
        return pseudo_data(
            parts.evaluate,
            point_of(config.toys.truth, parts.evaluate.parameters),
            config.data.expected_events or len(data),
            weight_degree=config.toys.weight_degree,
            seed=config.analysis.seed,
        )

    # --- what the steps do ---------------------------------------------------------------------

    def _train(self, section: ModelSection) -> str:
        from milinfer.learning.bag_likelihood import BagLikelihood
        from milinfer.utils.progress import progress

        train = self._training_samples(first=section == self.config.model[0])
        fields = model_fields(section, train.parameters)
        model = BagLikelihood(**fields, label=section.title, seed=self.config.analysis.seed)
        options = {"epochs": section.epochs, "batch_events": section.batch_events}
        chosen: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        model = replace(model, training=replace(model.default_training, **chosen))
        epochs = section.ensemble * model.training.epochs  # type: ignore[union-attr]  # given above
        with progress(f"training {section.title}", epochs) as advance:
            model = model.fit(train, on_epoch=lambda _: advance(1), tracker=self.tracker)
        model.save(self.config.out / self._model_folder(section))
        losses = ", ".join(f"{min(h['val_loss']):.4f}" for h in model.fitted.history)
        return f"{train.n_events} events, validation loss {losses}"

    def _train_response(self) -> str:
        from milinfer.learning.response_stream import number_of_rows
        from milinfer.learning.systematic_response import SystematicResponse, default_training
        from milinfer.samples.streamed_variations import StreamedVariations
        from milinfer.utils.progress import progress

        train = self._variations.training()
        section = self.config.response
        options = {"epochs": section.epochs, "batch_events": section.batch_events}
        chosen: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        if isinstance(train, StreamedVariations):
            outline, rows = train.outline, train.n_events
        else:
            outline, rows = train, number_of_rows(train)
        training = replace(default_training(rows), **chosen)
        response = SystematicResponse(
            **section.settings(), training=training, seed=self.config.analysis.seed
        )
        with progress("training response", section.ensemble * training.epochs) as advance:
            response = response.fit(train, on_epoch=lambda _: advance(1))
        response.save(self.config.out / _RESPONSE)
        pulls = np.abs(response.fitted.closure.pulls)
        numbers = response.fitted.n_events
        variations = [v.label for v in outline.variations]
        n_nominal = sum(n for label, n in numbers.items() if label not in variations)
        return (
            f"{n_nominal} events, {len(variations)} variations; largest deviation of a yield "
            f"{pulls.max():.1f} errors"
        )

    def _training_samples(self, *, first: bool) -> SampleSet:
        """Events to train on; the first training also checks all other events."""
        from milinfer.binned.weighted_templates import carry_weights

        parts = self._inputs.split() if first else None
        train = self._inputs.training()[0] if parts is None else parts.train
        require_parameters(train)
        require_names(self.config, train.parameters)
        if len(train.parameters) > 1:
            box = training_box(self.config, train)
            if parts is not None:
                warn_of_bins(self.config, parts.templates, parts.held_out)
                points_of_toys(self.config, box, parts.tune, parts.evaluate)
            return train
        values = training_values(self.config, train)
        weighted = carry_weights(train, self.config.toys.weight_degree)
        require_truths(self.config, values, weighted=weighted)
        if parts is not None:
            warn_of_bins(self.config, parts.templates, parts.held_out)
            limits = (float(values.min()), float(values.max()))
            require_pools(self.config, parts.tune, parts.evaluate, limits)
        return train

    def log_done(self, step: Step) -> None:
        """Log the training of an earlier run to the tracker, if the step is a training."""
        from milinfer.learning.bag_likelihood import BagLikelihood

        for section in self.config.model:
            if self.tracker is not None and step.name == f"train-{section.title}":
                folder = self.config.out / self._model_folder(section)
                log_training(self.tracker, BagLikelihood.load(folder))

    def _infer(self) -> str:
        from milinfer.learning.bag_likelihood import BagLikelihood
        from milinfer.workflow.analysis import analyse
        from milinfer.workflow.analysis_settings import Analysis
        from milinfer.workflow.several_parameters import analyse_several

        config, toys, templates = self.config, self.config.toys, self.config.templates
        out, start = config.out, time.perf_counter()
        models = tuple(BagLikelihood.load(out / self._model_folder(m)) for m in config.model)
        parts = self._inputs.split()
        data = self._data(parts)
        blinding = self._blinding(data)
        blind = blinding is not None and blinding.unblinding is None
        several = len(models[0].parameters) > 1
        analysis = Analysis(
            models=models,
            data=data,
            templates=parts.templates,
            classifier_templates=parts.held_out,
            training=parts.train,
            calibration=parts.tune,
            evaluation=parts.evaluate,
            simulated=config.data.simulated or blind,
            blinding=blinding,
            title=config.analysis.title,
            weight_degree=toys.weight_degree,
            observable=templates.observable,
            bins=templates.bins,
            second_observable=templates.second_observable,
            bins_2d=templates.bins_2d,
            degree=templates.degree,
            mc_stat=templates.mc_stat,
            oracle_pool=_oracle_pool(toys, parts.tune),
            simulation_error=toys.simulation_error,
            n_toys=toys.number,
            seed=config.analysis.seed,
            workers=config.analysis.workers,
        )
        result: AnalysisResult | SeveralResult
        if several:
            result = analyse_several(analysis, self._points_of_toys(models, parts))
        else:
            parameter, limits = models[0].parameter, models[0].interpolation.limits[0]
            tuned, evaluated = (s.values(parameter) for s in (parts.tune, parts.evaluate))
            result = analyse(
                replace(
                    analysis,
                    truth=number_of(toys.truth),
                    calibrate_at=truths(toys, "calibrate_at", tuned, limits),
                    cover_at=truths(toys, "cover_at", evaluated, limits),
                    belt_at=numbers_of(toys, "belt_at"),
                )
            )
            if config.has_nuisances:
                result = replace(result, systematics=self._with_nuisances(result, parts))
        result.extra.update({"training_events": parts.train.n_events})
        kind = "pseudo-data (blind)" if blind else "data"
        words = f"{len(data)} events of {kind}, {toys.number} toys at each truth"
        inference = StepRun("inference", "run", round(time.perf_counter() - start, 2), words)
        provenance = self._provenance(models, inference)
        if self.preparation is not None:
            provenance = self.preparation.join(provenance)
            result.extra.update(self.preparation.describe(provenance))
        self._write_results(replace(result, provenance=provenance))
        return words

    def _points_of_toys(self, models: Sequence[BagLikelihood], parts: Parts) -> PointsOfToys:
        """Points of the toys in several parameters, inside the range of every model."""
        low = np.max([[a for a, _ in m.interpolation.limits] for m in models], axis=0)
        high = np.min([[b for _, b in m.interpolation.limits] for m in models], axis=0)
        limits = tuple(zip(low.tolist(), high.tolist(), strict=True))
        return points_of_toys(self.config, limits, parts.tune, parts.evaluate)

    def _with_nuisances(self, result: AnalysisResult, parts: Parts) -> NuisanceResult | Unavailable:
        """Fits with nuisance parameters, or why there are none."""
        from milinfer.workflow.comparison import Unavailable
        from milinfer.workflow.systematics import fit_with_nuisances

        try:
            return fit_with_nuisances(self._nuisance_inputs(result, parts))
        except MilinferError as error:
            failure = Unavailable("systematics", "fit", str(error))
            msg = f"no fit with nuisance parameters: {failure.reason}"
            warnings.warn(msg, MilinferWarning, stacklevel=2)
            return failure

    def _nuisance_inputs(self, result: AnalysisResult, parts: Parts) -> NuisanceInputs:
        """Inputs of the fits with nuisance parameters."""
        from milinfer.learning.systematic_response import SystematicResponse
        from milinfer.workflow.systematics import NuisanceInputs, signal_rate

        config, analysis = self.config, result.analysis
        model = next((m for m in analysis.models if m.additive), None)
        if model is None:
            raise ConfigurationError(_NO_RATIO)
        luminosity = config.data.luminosity
        varied = self._variations.split() if self._variations else None
        rate = templates = None
        if luminosity is not None:
            degree = analysis.weight_degree or config.templates.degree or 4
            few = len(parts.train) <= degree
            rate = signal_rate(
                parts.train,
                luminosity=luminosity,
                degree=degree,
                weight_degree=analysis.weight_degree if few else None,
            )
            # The score of the model that is fitted is its best observable.
            if "pyhf_score" in result.templates and model is analysis.model:
                templates = replace(result.templates["pyhf_score"], luminosity=luminosity)
        exact = None if self.preparation is None else self.preparation.exact
        return NuisanceInputs(
            model=model,
            data=analysis.data,
            truth=result.truth,
            response=SystematicResponse.load(config.out / _RESPONSE) if varied else None,
            uncertainties=tuple(
                s.uncertainty() for s in config.systematics if not s.changes_events
            ),
            rate=rate,
            luminosity_uncertainty=config.data.luminosity_uncertainty,
            calibration=parts.tune,
            calibrate_at=analysis.calibration_values,
            evaluation=parts.evaluate,
            varied=None if varied is None else varied.evaluate,
            held_out=None if varied is None else varied.held_out,
            templates=templates,
            template_variations=None if varied is None else varied.held_out,
            mc_stat=analysis.mc_stat,
            weight_degree=analysis.weight_degree,
            others={} if exact is None else {"exact": exact.make()},
            blind=config.data.blind and self._unblinding is None,
            n_toys=analysis.n_toys,
            seed=analysis.seed,
            workers=analysis.workers,
        )

    def _write_results(self, result: AnalysisResult | SeveralResult) -> None:
        """Write the results, calibrations and belts, replacing those of an earlier run."""
        from milinfer.workflow.report import write_report

        out = self.config.out
        # The folder is locked, so these belong to a run that was killed.
        for left in out.glob(".results-*"):
            shutil.rmtree(left)
        # The results of an earlier run stay until all new ones are written.
        with tempfile.TemporaryDirectory(dir=out, prefix=".results-") as parent:
            fresh = Path(parent)
            write_report(result, fresh)
            (fresh / "calibrations").mkdir()
            (fresh / "belts").mkdir()
            for name, calibration in result.calibrations.items():
                calibration.save(fresh / "calibrations" / f"{name}.json")
            for name, belt in result.belts.items():
                belt.save(fresh / "belts" / f"{name}.json")
            for name in self._results:
                _put(fresh / name, out / name)

    def _provenance(self, models: Sequence[BagLikelihood], inference: StepRun) -> Provenance:
        """Provenance from the files hashed for the plan and the records of the steps."""
        config = self.config
        steps = []
        for step in self._all()[:-1]:
            record = self.steps.record(step)
            state: Literal["run", "cached"] = "run" if step.name in self._ran else "cached"
            steps.append(StepRun(step.name, state, record["seconds"], record["done"]))
        seeds = {f"members of {m.name}": m.seed for m in models} | {
            "splits of samples": config.analysis.seed
        }
        return Provenance(
            command="milinfer run analysis.toml",
            # The address of a tracker may contain a password.
            configuration=config.model_dump(mode="json", exclude={"tracking"}),
            inputs=self._inputs.facts(),
            seeds=seeds,
            steps=(*steps, inference),
            started=self._started,
        )


_RESPONSE = "response"
_NO_RATIO = (
    "nuisance parameters need the ratio of each event, but every model scores whole bags; add a "
    "model with pooling = 'mean' or 'sum', such as head = 'polynomial'"
)


def _require_event_model(config: AnalysisConfig) -> None:
    """Refuse nuisance parameters if every network scores whole bags.

    Raises
    ------
    ConfigurationError
        If no model has the ratio of each event.
    """
    if config.has_nuisances and all(m.pooling not in ("mean", "sum") for m in config.model):
        msg = f"{config.source or 'analysis'}: {_NO_RATIO}"
        raise ConfigurationError(msg)


def _oracle_pool(toys: ToysSection, tune: SampleSet) -> Sample | SampleSet | None:
    """Events that normalise the exact ratio, or None if the configuration leaves it out."""
    if not toys.oracle:
        return None
    if toys.oracle_at is None:
        return tune
    return tune.at(**point_of(toys.oracle_at, tune.parameters))


def _put(source: Path, target: Path) -> None:
    """Move a file or folder, replacing an older one of that name."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif source.is_dir():  # which can take the place of a folder alone
        target.unlink(missing_ok=True)
    source.replace(target)


def plan_analysis(
    config: AnalysisConfig | PathLikeStr, *, on_file: Callable[[Path], None] = lambda _: None
) -> AnalysisPlan:
    """Find and hash the input files of an analysis, and plan its steps.

    Parameters
    ----------
    config
        Configuration, or the path of its file.
    on_file
        Function that is called with the path of each input file before the file is hashed.

    Returns
    -------
    AnalysisPlan
        The steps.  ``planned()`` lists them in order and says which have to be done, and why.

    Raises
    ------
    ConfigurationError
        If the configuration is wrong or a file is missing.

    Examples
    --------
    >>> plan_analysis("analysis.toml")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ConfigurationError: cannot read analysis.toml: ...
    """
    if not isinstance(config, AnalysisConfig):
        config = AnalysisConfig.from_file(config)
    return AnalysisPlan(config, on_file)


def unblind_analysis(config: AnalysisConfig | PathLikeStr, reason: str) -> Unblinding:
    """Open the data of a blind analysis, and record when, why, and with which settings and files.

    The result of the blind analysis is kept in ``blind_result/``.  The next run fits the data.

    Parameters
    ----------
    config
        Configuration with ``blind = true`` in ``[data]``, or the path of its file.
    reason
        Why the data are opened, for example who approved it.

    Returns
    -------
    Unblinding
        The record.  It is also written to ``unblinding.json`` in the folder of the results.

    Raises
    ------
    ConfigurationError
        If the analysis is not blind, its data were opened before, steps still have to be done, or
        another run is using the folder.

    Examples
    --------
    >>> unblind_analysis("analysis.toml", "approved on 1 March")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ConfigurationError: cannot read analysis.toml: ...
    """
    plan = plan_analysis(config)
    with plan.steps.locked():
        return plan.unblind(reason)


def run_analysis(
    config: AnalysisConfig | PathLikeStr,
    *,
    echo: Callable[[str], None] = lambda _: None,
    tracker: Tracker | None = None,
    preparation: Preparation | None = None,
) -> dict[str, Any]:
    """Run an analysis, without repeating steps that are already done.

    Parameters
    ----------
    config
        Configuration, or the path of its file.
    echo
        Function that is called with a line of text for each step.
    tracker
        Tracker to which the run is logged; it is not closed at the end.  Default: the tracker in
        ``[tracking]``, or none if there is no such section.  Epochs are logged while a network is
        trained.  Settings, trainings of earlier runs, numbers of the summary, figures and the
        report are logged even if no step had to be done.
    preparation
        Additions to the result, for programs such as ``milinfer demo`` that make the input files
        and then run the analysis.

    Returns
    -------
    dict
        Content of ``summary.json``.

    Raises
    ------
    ConfigurationError
        If the configuration is wrong, a file is missing, or another run is using the folder.
    TrackingError
        If the tracker fails.
    MilinferError
        If a step finds an error in its input.

    Examples
    --------
    >>> run_analysis("analysis.toml")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ConfigurationError: cannot read analysis.toml: ...
    """
    plan = plan_analysis(config)
    section = plan.config.tracking
    with plan.steps.locked(), ExitStack() as trackers:
        plan.tracker, plan.preparation = tracker, preparation
        if tracker is None and section is not None:
            plan.tracker = trackers.enter_context(open_tracker(plan.config, section))
        for step, state in plan.planned():
            if state.kind == "done":
                echo(f"{step.name:<28} done before")
                plan.log_done(step)
                continue
            began = time.perf_counter()
            words = plan.execute(step)
            echo(f"{step.name:<28} {time.perf_counter() - began:6.1f} s   {words}")
        text = (plan.config.out / "summary.json").read_text(encoding="utf-8")
        summary: dict[str, Any] = json.loads(text)
        if plan.tracker is not None:
            log_results(plan.tracker, plan.config, summary)
    return summary


def open_tracker(
    config: AnalysisConfig, section: TrackingSection
) -> AbstractContextManager[TensorBoardTracker | MLflowTracker | WandbTracker]:
    """Start a run of the tracker that ``[tracking]`` names.

    Parameters
    ----------
    config
        Configuration of the analysis.  Relative paths refer to its folder.
    section
        Section ``[tracking]``.

    Raises
    ------
    ConfigurationError
        If a package of the tracker is not installed.  The message names the extra with which to
        install it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.workflow.configuration import AnalysisConfig, DataSection, FilesSection
    >>> from milinfer.workflow.configuration import SamplesSection, TrackingSection
    >>> section = TrackingSection(to="tensorboard", run="first")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = AnalysisConfig(
    ...         samples=SamplesSection(train=[FilesSection(path="mc/*.root")]),
    ...         data=DataSection(path="data.root"), folder=pathlib.Path(folder))
    ...     with open_tracker(config, section) as tracker:
    ...         print(tracker.folder.relative_to(folder).as_posix())
    results/tensorboard/milinfer/first
    """
    from milinfer.learning.tracking import MLflowTracker, TensorBoardTracker, WandbTracker

    if section.to == "mlflow":
        return MLflowTracker(section.experiment, section.run, section.store)
    default = config.out / "tensorboard" if section.to == "tensorboard" else config.out
    folder = default if section.store is None else config.folder / section.store
    if section.to == "tensorboard":
        # TensorBoard draws runs in the same folder as one.
        run = section.run or time.strftime("%Y%m%d-%H%M%S")
        return TensorBoardTracker(folder / section.experiment / run)
    folder.mkdir(parents=True, exist_ok=True)
    return WandbTracker(section.experiment, section.run, folder, offline=section.offline)


def log_results(tracker: Tracker, config: AnalysisConfig, summary: Mapping[str, Any]) -> None:
    """Log the configuration, figures, report and all numbers of the summary to a tracker.

    Parameters
    ----------
    tracker
        Tracker to log to.
    config
        Configuration of a finished analysis.
    summary
        Content of ``summary.json`` of this analysis.

    Raises
    ------
    TrackingError
        If the tracker fails.
    """
    guarded = GuardedTracker(tracker)
    guarded.log_parameters(flat_settings(config.model_dump(exclude={"tracking"}), "analysis"))
    numbers = {k: v for k, v in summary.items() if k not in ("provenance", "coverage_scan")}
    guarded.log_metrics(flat_numbers(numbers, "summary"), 0)
    for figure in sorted((config.out / "plots").glob("*.png")):
        guarded.log_figure(figure.stem, figure)
    for name in ("summary.json", "report.html"):
        guarded.log_artifact(config.out / name)
