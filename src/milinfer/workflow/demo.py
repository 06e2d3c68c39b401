"""The demonstration: files of a process that is built into milinfer are simulated and analysed.

The files are made in the same way as those of a user: LHE files are generated, converted to ROOT
and read by a coffea processor.  Then ``milinfer run`` analyses them, with an ``analysis.toml`` that
is written to the folder.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.typing import PathLikeStr, Point
from milinfer.utils.files import file_hash, parse_json, write_whole
from milinfer.utils.points import format_point, point_id
from milinfer.utils.progress import progress
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.provenance import InputFile, Preparation, Provenance, StepRun
from milinfer.workflow.run import run_analysis

__all__ = [
    "ROLES",
    "DemoConfig",
    "DemoFile",
    "demo_command",
    "demo_files",
    "describe_steps",
    "paths_by_role",
    "run_demo",
    "run_on_files",
]


@dataclass(frozen=True)
class DemoConfig:
    """Size of the demonstration.

    Parameters
    ----------
    events
        Number of simulated training events at each of 21 values of c_HW from −1 to 1.
    pool_events
        Number of simulated events, at each of three values of c_HW around the truth, from which the
        toys for the calibration are drawn.  The same number of other events is simulated for the
        toys that measure coverage.  The events are reweighted to the values of c_HW between the
        three.  The number does not depend on `events`: if toys have N events and the pool has M,
        the finite pool shifts all toys together by sqrt(N/M) of the standard error of one toy.
    data_events
        Number of events in the dataset.
    truth
        Value of c_HW at which the dataset is simulated.
    seed
        Seed for generating events, splitting them, training, and toys.
    workers
        Number of processes.
    n_toys
        Number of toys at each true value.
    ensemble, bag_size, epochs
        Settings of the multi-class network.

    Examples
    --------
    >>> DemoConfig().events
    10000
    """

    events: int = 10_000
    pool_events: int = 40_000
    data_events: int = 1_000
    truth: float = 0.0
    seed: int = 1
    workers: int = 2
    n_toys: int = 2_000
    ensemble: int = 2
    bag_size: int = 50
    epochs: int = 60

    @property
    def training_values(self) -> tuple[float, ...]:
        """Values of c_HW at which the training samples are simulated."""
        return tuple(float(v) + 0.0 for v in np.round(np.linspace(-1, 1, 21), 1))

    @property
    def pool_values(self) -> tuple[float, ...]:
        """Values of c_HW at which the events for toys are simulated."""
        return self._around(3)

    def _around(self, n: int, reach: float = 0.3) -> tuple[float, ...]:
        """Values evenly spaced around the truth."""
        steps = np.linspace(-reach, reach, n)
        return tuple(float(np.round(self.truth + d, 6)) + 0.0 for d in steps)


ROLES = {"train": "training", "calib": "calibration", "eval": "evaluation", "data": "data"}
"""Role of a file, by the beginning of its name."""


@dataclass(frozen=True)
class DemoFile:
    """One file of events to generate; files of different roles have no events in common.

    Parameters
    ----------
    role
        One of :data:`ROLES`.
    point
        Parameter point at which the events are generated.
    n_events, seed
        Number of events to generate, and the seed.
    """

    role: str
    point: Point
    n_events: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the file without its suffix."""
        return f"{self.role}_{point_id(self.point)}"

    def path(self, folder: str, suffix: str) -> Path:
        """Path of the file, relative to the folder of the demo."""
        return Path(folder, self.name + suffix)

    def describe(self, directory: Path) -> InputFile:
        """Facts about the file for the provenance."""
        path = self.path("lhe", ".lhe.gz")
        return InputFile(
            role=ROLES[self.role],
            path=str(path),
            sha256=file_hash(directory / path),
            n_bytes=(directory / path).stat().st_size,
            n_events=self.n_events,
            content=f"vbf_hww at {format_point(self.point)}, seed {self.seed}",
        )


def demo_files(sizes: Sequence[tuple[str, Point, int]], seed: int) -> list[DemoFile]:
    """Make a `DemoFile` from each role, point and number of events, each with its own seed."""
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes))
    return [
        DemoFile(role=role, point=point, n_events=n_events, seed=int(own))
        for (role, point, n_events), own in zip(sizes, seeds, strict=True)
    ]


def paths_by_role(files: Sequence[DemoFile]) -> dict[str, list[str]]:
    """Paths of the feature files of each role, relative to the folder of the demo."""
    return {
        role: [str(f.path("features", ".parquet").as_posix()) for f in files if f.role == role]
        for role in ROLES
    }


def _files(config: DemoConfig) -> list[DemoFile]:
    sizes = [("train", v, config.events) for v in config.training_values]
    sizes += [("calib", v, config.pool_events) for v in config.pool_values]
    sizes += [("eval", v, config.pool_events) for v in config.pool_values]
    sizes += [("data", config.truth, config.data_events)]
    return demo_files([(role, {"c_HW": v}, n) for role, v, n in sizes], config.seed)


# The histograms of features are filled with all events of the training files, and the weights at
# the point in the middle normalise the exact ratio.
_ANALYSIS = """\
# The analysis of the demo, for `milinfer run`; see `milinfer init` for every key.
# The toys here are centred on the true value, which is known only in a demo; in an analysis, cover
# the full range that the data may prefer.
[analysis]
title = {title}
out = "."
seed = {seed}
workers = {workers}

[samples]
held_out = 0.2
[[samples.train]]
path = {train}
[[samples.tune]]
path = {calib}
[[samples.evaluate]]
path = {eval}

[data]
path = {data}
simulated = true

[[model]]
head = "polynomial"
labels = "joint"
[[model]]
head = "polynomial"
[[model]]
head = "multiclass"
bag_size = {bag_size}
normalise = false  # the logits as they were trained, as in the paper of this method
ensemble = {ensemble}
epochs = {epochs}

[toys]
number = {n_toys}
truth = {truth}
weight_degree = 4
calibrate_at = {calibrate_at}
cover_at = {cover_at}
belt_at = {belt_at}
oracle = true
oracle_at = {oracle_at}

[templates]
second_observable = "q0_pt"
held_out = true
"""


def _write_analysis(directory: Path, config: DemoConfig, files: list[DemoFile]) -> Path:
    """Write the ``analysis.toml`` of the demo, over the features of all files."""
    values: dict[str, Any] = dict(paths_by_role(files))
    values |= asdict(config) | {
        "title": f"c_HW from {config.data_events} events",
        "calibrate_at": config._around(7),
        "cover_at": config._around(5),
        # As far out as the 95.45 % sets of the data reach, and well inside the training range.
        "belt_at": config._around(25, reach=min(0.48, 0.8 - abs(config.truth))),
        "oracle_at": config.pool_values[1],
    }
    path = directory / "analysis.toml"
    # Texts, numbers and lists of these are the same in JSON and TOML.
    text = _ANALYSIS.format(**{key: json.dumps(value) for key, value in values.items()})
    write_whole(path, text)
    return path


def demo_command(settings: Mapping[str, Any], kind: str = "") -> str:
    """Return the command that repeats a demo, if sizes without an option are the defaults.

    Parameters
    ----------
    settings
        Settings of the demo, by name.
    kind
        Option that selects the demo, with a space after it; empty for the demo in one parameter.

    Examples
    --------
    >>> demo_command(asdict(DemoConfig()))
    'milinfer demo --events 10000 --data-events 1000 --pool-events 40000 --truth 0 --toys 2000
    --seed 1 --workers 2'
    """
    options = (
        "--events {events} --data-events {data_events} --pool-events {pool_events} "
        "--truth {truth:g} --toys {n_toys} --seed {seed} --workers {workers}"
    )
    return f"milinfer demo {kind}{options.format(**settings)}"


def run_demo(
    out: PathLikeStr, config: DemoConfig, *, echo: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Simulate files of events and analyse them.

    Parameters
    ----------
    out
        Folder to write: ``lhe/``, ``root/``, ``features/``, ``analysis.toml`` and the results of
        the analysis (``models/``, ``calibrations/``, ``belts/``, ``plots/``, ``summary.json``,
        ``report.html``).  The first model is also copied to ``model/``, each other model to
        ``model_NAME/``.  The calibration and the belt of the first model are also copied to
        ``calibration.json`` and ``belt.json``.
    config
        Numbers of events and other sizes, and the seed.
    echo
        Function that gets a line of text for each finished step.

    Returns
    -------
    dict
        Content of ``summary.json``.

    Raises
    ------
    ConfigurationError
        If the truth is so close to an end of the training range that the calibration has no room.
    """
    if abs(config.truth) > 0.5:
        msg = f"truth {config.truth:g} is too close to the ends of the training range [-1, 1]"
        raise ConfigurationError(msg)
    directory = Path(out)
    return run_on_files(
        directory,
        _files(config),
        partial(_write_analysis, directory, config),
        command=demo_command(asdict(config)),
        settings=asdict(config),
        echo=echo,
    )


def run_on_files(
    directory: Path,
    files: list[DemoFile],
    write_analysis: Callable[[list[DemoFile]], Path],
    *,
    command: str,
    settings: dict[str, Any],
    echo: Callable[[str], None],
) -> dict[str, Any]:
    """Generate files, analyse them, and copy the models and the first model's calibration.

    Parameters
    ----------
    directory
        Folder of the demo.
    files
        Files to generate.
    write_analysis
        Function that writes ``analysis.toml`` and returns its path.
    command, settings
        Command that repeats the demo, and its settings, which include ``seed`` and ``workers``.
    echo
        Function that gets a line of text for each finished step.

    Returns
    -------
    dict
        Content of ``summary.json``.
    """
    began = time.perf_counter()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    steps = _make_files(directory, settings["workers"], files, echo)
    provenance = Provenance(
        command=command,
        configuration=settings,
        inputs=tuple(f.describe(directory) for f in files),
        seeds={
            "generation of events": settings["seed"],
            "split of the training events": settings["seed"],
        },
        steps=tuple(steps),
        started=started,
    )
    analysis = AnalysisConfig.from_file(write_analysis(files))
    summary = run_analysis(
        analysis,
        # Without the lines about features that are copied.
        echo=lambda line: None if line.startswith("features-") else echo(line),
        preparation=Preparation(provenance, describe_steps),
    )
    _copy_results(directory, [model.title for model in analysis.model])
    # The step ends with the report, whose time cannot be in the report itself.
    record = parse_json((directory / "steps" / "inference.json").read_text(encoding="utf-8"))
    summary["seconds"]["report"] = record["seconds"] - summary["seconds"]["infer"]
    total = time.perf_counter() - began
    data = next(f for f in files if f.role == "data")
    echo(f"{'total':<28} {total:6.1f} s   truth {format_point(data.point)}")
    return summary


def describe_steps(provenance: Provenance) -> dict[str, Any]:
    """Name of the process, and the seconds that each kind of step took, for ``summary.json``."""
    seconds: dict[str, float] = {}
    for step in provenance.steps:
        kind = step.name.partition("-")[0].replace("inference", "infer")
        seconds[kind] = seconds.get(kind, 0.0) + step.seconds
    return {"process": "vbf_hww", "seconds": seconds}


def _make_files(
    directory: Path, workers: int, files: list[DemoFile], echo: Callable[[str], None]
) -> list[StepRun]:
    """Generate events, convert them to ROOT, and compute features from that with coffea."""
    from milinfer.io.convert import convert_many
    from milinfer.samples.run_features import run_features

    for folder in ("lhe", "root", "features"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    lhe_paths = [directory / f.path("lhe", ".lhe.gz") for f in files]
    root_paths = [directory / f.path("root", ".root") for f in files]

    def generate() -> str:
        _generate_all(files, lhe_paths, workers)
        total = sum(f.n_events for f in files)
        size = sum(p.stat().st_size for p in lhe_paths) / 1e6
        return f"{total} events in {len(files)} LHE files, {size:.0f} MB"

    def convert() -> str:
        done = convert_many(zip(lhe_paths, root_paths, strict=True), workers)
        return f"{sum(d.n_events_out for d in done)} events to ROOT"

    def features() -> str:
        samples = run_features(
            {f.name: [str(p)] for f, p in zip(files, root_paths, strict=True)},
            workers=workers,
        )
        for file in files:
            samples[file.name].to_file(directory / file.path("features", ".parquet"))
        return f"{sum(len(s) for s in samples.values())} events through the coffea processor"

    steps = []
    for step in (generate, convert, features):
        start = time.perf_counter()
        words = step()
        seconds = time.perf_counter() - start
        echo(f"{step.__name__:<28} {seconds:6.1f} s   {words}")
        steps.append(StepRun(step.__name__, "run", round(seconds, 2), words))
    return steps


def _copy_results(directory: Path, models: list[str]) -> None:
    """Copy models, and calibration and belt of the first one, to the names the demo documents."""
    for name in models:
        target = directory / ("model" if name == models[0] else f"model_{name}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(directory / "models" / name, target)
    for name in ("calibration", "belt"):
        source, target = directory / f"{name}s" / f"{models[0]}.json", directory / f"{name}.json"
        target.unlink(missing_ok=True)
        # A network that cannot be calibrated has neither.
        if source.exists():
            shutil.copyfile(source, target)


def _generate(file: DemoFile, path: Path) -> int:
    """Generate one LHE file in a separate process; returns its number of events."""
    from milinfer.datasets import vbf_hww
    from milinfer.io.lhe.writing import write

    generated = vbf_hww.generate(file.n_events, file.point, seed=file.seed)
    write(path, *generated.to_events(vbf_hww.default_weights(generated.operators)))
    return file.n_events


def _generate_all(files: list[DemoFile], paths: list[Path], workers: int) -> None:
    """Generate all LHE files, in several processes."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # Large files first, so that the workers finish together.
    jobs = sorted(zip(files, paths, strict=True), key=lambda job: -job[0].n_events)
    with progress("generating", sum(f.n_events for f in files)) as advance:
        if workers == 1:
            for job in jobs:
                advance(_generate(*job))
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = [pool.submit(_generate, *job) for job in jobs]
            for future in as_completed(futures):
                advance(future.result())
