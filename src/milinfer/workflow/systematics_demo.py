"""The demonstration with nuisance parameters: energy scales, a theory weight, and an exact fit.

Events of the process that is built into milinfer are generated with their variations.
``milinfer run`` analyses them, with an ``analysis.toml`` that is written to the folder.  The exact
likelihood of the visible final state is fitted to the same data, for comparison.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from milinfer.datasets import vbf_hww, vbf_hww_systematics
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.observable_systematics import EventDensities, ObservableCost
from milinfer.datasets.selected_cross_section import SelectedCrossSection
from milinfer.exceptions import ConfigurationError
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations
from milinfer.typing import PathLikeStr, Point
from milinfer.utils.files import file_hash, write_whole
from milinfer.utils.points import format_point
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.demo import demo_command, describe_steps
from milinfer.workflow.provenance import (
    ExactLikelihood,
    InputFile,
    Preparation,
    Provenance,
    StepRun,
)
from milinfer.workflow.run import run_analysis

__all__ = ["SystematicsDemoConfig", "run_systematics_demo"]

_FEATURES = "vbf_2l2j"


@dataclass(frozen=True)
class SystematicsDemoConfig:
    """Size of the demonstration with nuisance parameters.

    Parameters
    ----------
    events
        Number of simulated training events at each of five values of c_HW.
    pool_events
        Number of simulated events at the truth for the toys of the calibration.  The same number of
        other events is simulated for the toys that measure coverage.
    data_events
        Expected number of events in the dataset.
    truth
        Value of c_HW at which the dataset is simulated.
    seed
        Seed for generating events, splitting them, training, and toys.
    workers
        Number of processes and threads.
    n_toys
        Number of toys at each true value.
    cross_section_events
        Number of events, at each of three values of c_HW, with which the cross-sections are
        computed.  All samples and the exact fit use these cross-sections.
    epochs, batch_events
        Settings of the two trainings, of the likelihood ratio and of the response.  None: their
        defaults.

    Examples
    --------
    >>> SystematicsDemoConfig().events
    10000
    """

    events: int = 10_000
    pool_events: int = 20_000
    data_events: int = 1_000
    truth: float = 0.0
    seed: int = 1
    workers: int = 2
    n_toys: int = 2_000
    cross_section_events: int = 50_000
    epochs: int | None = None
    batch_events: int | None = None

    @property
    def training_values(self) -> tuple[float, ...]:
        """Values of c_HW at which the training samples are simulated."""
        return (-1.0, -0.5, 0.0, 0.5, 1.0)


# Every nuisance parameter at one standard deviation up and down.
_SHIFTS: tuple[Point, ...] = tuple(
    {name: side} for name in vbf_hww_systematics.NUISANCES for side in (-1.0, 1.0)
)

_ANALYSIS = """\
# The analysis of the demo, for `milinfer run`; see `milinfer init` for every key.
[analysis]
title = {title}
out = "."
seed = {seed}
workers = {workers}

[samples]
features = {features}
held_out = 0.3
[[samples.train]]
path = "train/nominal_*.parquet"
[[samples.tune]]
path = "tune.parquet"
[[samples.evaluate]]
path = "evaluate/nominal_*.parquet"

[data]
path = "data.parquet"
simulated = true
luminosity = {luminosity}

[[model]]
head = "polynomial"
labels = "joint"
{training}
{systematics}
[response]
{training}
[toys]
number = {n_toys}
truth = {truth}
weight_degree = 4
calibrate_at = {calibrate_at}
cover_at = [{truth}]

[templates]
bins = 12
"""


def run_systematics_demo(
    out: PathLikeStr,
    config: SystematicsDemoConfig,
    *,
    echo: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Simulate events with their variations, and analyse them.

    Parameters
    ----------
    out
        Folder to write.  It gets ``train/``, ``evaluate/``, ``tune.parquet``, ``data.parquet``,
        ``analysis.toml`` and the results of the analysis.
    config
        Numbers of events and other sizes, and the seed.
    echo
        Function that gets a line of text for each finished step.

    Returns
    -------
    dict
        Content of ``summary.json``.  Its entry ``systematics`` contains the exact fit under the
        name ``exact``.

    Raises
    ------
    ConfigurationError
        If the truth is so close to an end of the training range that the calibration has no room.
    """
    if abs(config.truth) > 0.5:
        msg = f"truth {config.truth:g} is too close to the ends of the training range [-1, 1]"
        raise ConfigurationError(msg)
    directory, began = Path(out), time.perf_counter()
    directory.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    data = _generate(directory, config)
    seconds = time.perf_counter() - began
    words = f"{5 * config.events} events to train on, with {len(_SHIFTS)} variations"
    echo(f"{'generate':<28} {seconds:6.1f} s   {words}")
    provenance = Provenance(
        command=demo_command(asdict(config), "--systematics "),
        configuration=asdict(config),
        inputs=tuple(_described(directory)),
        seeds={"generation of events": config.seed},
        steps=(StepRun("generate", "run", round(seconds, 2), words),),
        started=started,
    )
    analysis = AnalysisConfig.from_file(_write_analysis(directory, config, data.luminosity))
    summary = run_analysis(
        analysis,
        echo=lambda line: None if line.startswith(("features-", "variations-")) else echo(line),
        preparation=Preparation(
            provenance,
            describe_steps,
            ExactLikelihood(
                lambda: _exact_cost(data, config.workers),
                {"cross_section_events": config.cross_section_events, "seed": config.seed},
            ),
        ),
    )
    total = time.perf_counter() - began
    echo(f"{'total':<28} {total:6.1f} s   truth {format_point({'c_HW': config.truth})}")
    return summary


def _seeds(config: SystematicsDemoConfig) -> list[int]:
    """Seeds of training, pools, data, number of data, and exact cross-section."""
    return [int(s) for s in np.random.SeedSequence(config.seed).generate_state(6)]


class _Data(NamedTuple):
    """The events of the dataset, with the true values used to generate them."""

    events: GeneratedEvents
    cross_section: SelectedCrossSection
    luminosity: float


def _generate(directory: Path, config: SystematicsDemoConfig) -> _Data:
    """Write all samples; all have cross-sections of one simulation, which then do not differ."""
    train, evaluate, tune, data, number, simulated = _seeds(config)
    point, workers = {vbf_hww.PARAMETER: config.truth}, config.workers
    cross_section = SelectedCrossSection.simulate(
        config.cross_section_events, seed=simulated, workers=workers
    )
    for folder, n, values, seed in (
        ("train", config.events, config.training_values, train),
        ("evaluate", config.pool_events, (config.truth,), evaluate),
    ):
        process = vbf_hww_systematics.variations(
            n, values, _SHIFTS, seed=seed, features=_FEATURES, workers=workers
        )
        _with_cross_sections(process, cross_section).save(directory / folder)
    tuning = vbf_hww_systematics.generate(config.pool_events, point, seed=tune, workers=workers)
    sample = tuning.to_sample(_FEATURES, vbf_hww.DEFAULT_WEIGHTS)
    sample.to_file(directory / "tune.parquet")
    luminosity = config.data_events / (1000 * cross_section.value(config.truth))
    observed = int(np.random.default_rng(number).poisson(config.data_events))
    events = vbf_hww_systematics.generate(observed, point, seed=data, workers=workers)
    events.to_sample(_FEATURES).as_data().to_file(directory / "data.parquet")
    return _Data(events, cross_section, luminosity)


def _with_cross_sections(
    process: ProcessVariations, cross_section: SelectedCrossSection
) -> ProcessVariations:
    """The same events with these cross-sections; variations are scaled by their weights."""
    nominal, variations = [], []
    for sample in process.nominal:
        value = cross_section.value(sample.point[vbf_hww.PARAMETER])
        error = value * max(cross_section.relative_error(sample.point[vbf_hww.PARAMETER]), 1e-3)
        factor = value / sample.cross_section
        nominal.append(replace(sample, cross_section=value, cross_section_error=error))
        variations += [
            replace(
                v,
                sample=replace(
                    v.sample,
                    cross_section=factor * v.sample.cross_section,
                    cross_section_error=factor * v.sample.cross_section_error,
                ),
            )
            for v in process.variations
            if v.sample.point == sample.point
        ]
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(variations))


def _exact_cost(data: _Data, workers: int) -> ObservableCost:
    """Exact cost of the data; the momenta of data are those that are observed."""
    densities = EventDensities.from_events(data.events, workers=workers)
    return ObservableCost(densities, data.cross_section, luminosity=data.luminosity)


def _described(directory: Path) -> list[InputFile]:
    """The files of events."""
    roles = {"train": "training", "evaluate": "evaluation"}
    found = [
        (role, path)
        for folder, role in roles.items()
        for path in sorted((directory / folder).glob("*.parquet"))
    ]
    found += [("calibration", directory / "tune.parquet"), ("data", directory / "data.parquet")]
    return [
        InputFile(
            role=role,
            path=path.relative_to(directory).as_posix(),
            sha256=file_hash(path),
            n_bytes=path.stat().st_size,
            n_events=pq.ParquetFile(path).metadata.num_rows,
            content="vbf_hww with nuisance parameters",
        )
        for role, path in found
    ]


def _write_analysis(directory: Path, config: SystematicsDemoConfig, luminosity: float) -> Path:
    """Write the ``analysis.toml`` of the demo."""
    systematics = "".join(
        f'[[systematics]]\nname = "{name}"\nkind = "saved"\n'
        for name in vbf_hww_systematics.NUISANCES
    )
    training = "".join(
        f"{key} = {value}\n"
        for key in ("epochs", "batch_events")
        if (value := getattr(config, key)) is not None
    )
    reach = np.linspace(-0.3, 0.3, 7)
    values: dict[str, Any] = {
        **asdict(config),
        "title": f"c_HW from {config.data_events} events, with energy scales and a theory weight",
        "features": _FEATURES,
        "luminosity": luminosity,
        "calibrate_at": [float(np.round(config.truth + d, 6)) + 0.0 for d in reach],
    }
    path = directory / "analysis.toml"
    # Texts, numbers and lists of these are the same in JSON and TOML.
    fields = {key: json.dumps(value) for key, value in values.items()}
    write_whole(path, _ANALYSIS.format(**fields, systematics=systematics, training=training))
    return path
