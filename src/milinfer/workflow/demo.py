"""The main job on embedded data, from LHE files to a report.

Every step goes through files, as an analysis does: LHE is generated, converted to ROOT, read by a
coffea processor; the network trains on the columns, and everything after that is toys.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.samples.sample import SampleSet
from milinfer.typing import PathLikeStr
from milinfer.utils.points import format_point, point_id
from milinfer.utils.progress import progress
from milinfer.workflow.provenance import Provenance, StepRun, input_file

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood

__all__ = ["DemoConfig", "run_demo"]


@dataclass(frozen=True)
class DemoConfig:
    """Size of the demonstration.

    Parameters
    ----------
    events
        Simulated training events at each of the 21 values of c_HW between −1 and 1.
    calibration_events, evaluation_events
        Events of the two pools that toys are drawn from, at each of three values of c_HW around
        the truth; reweighted, they serve all values in between.  They do not shrink with `events`:
        a pool of M events shifts all toys of N by sqrt(N/M) of their standard error.
    data_events
        Events of the dataset.
    truth
        c_HW of the dataset.
    seed
        Fixes everything.
    workers
        Processes.
    n_toys
        At each true value.
    ensemble, bag_size, epochs
        Of the multi-class network.

    Examples
    --------
    >>> DemoConfig().events
    10000
    """

    events: int = 10_000
    calibration_events: int = 40_000
    evaluation_events: int = 40_000
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
        """Values of c_HW of the training samples."""
        return tuple(float(v) + 0.0 for v in np.round(np.linspace(-1, 1, 21), 1))

    @property
    def pool_values(self) -> tuple[float, ...]:
        """Values of c_HW of the events that toys are drawn from."""
        return self._around(3)

    def _around(self, n: int) -> tuple[float, ...]:
        """Values evenly spaced around the truth."""
        return tuple(float(np.round(self.truth + d, 6)) + 0.0 for d in np.linspace(-0.3, 0.3, n))


@dataclass(frozen=True)
class _File:
    """One file to generate; each role has events of its own."""

    role: str
    value: float
    n_events: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.role}_{point_id({'c_HW': self.value})}"


_ROLES = {"train": "training", "calib": "calibration", "eval": "evaluation", "data": "data"}


def _command(config: DemoConfig) -> str:
    """What to type for the same result; sizes that the command does not know are defaults."""
    return (
        f"milinfer demo --events {config.events} --truth {config.truth:g} --toys {config.n_toys} "
        f"--seed {config.seed} --workers {config.workers}"
    )


def _files(config: DemoConfig) -> list[_File]:
    wanted = [("train", v, config.events) for v in config.training_values]
    wanted += [("calib", v, config.calibration_events) for v in config.pool_values]
    wanted += [("eval", v, config.evaluation_events) for v in config.pool_values]
    wanted += [("data", config.truth, config.data_events)]
    seeds = np.random.SeedSequence(config.seed).generate_state(len(wanted))
    return [_File(*w, seed=int(s)) for w, s in zip(wanted, seeds, strict=True)]


def _generate(file: _File, path: str) -> int:
    """Generate one LHE file (in a process of its own)."""
    from milinfer.datasets import vbf_hww
    from milinfer.io import lhe

    generated = vbf_hww.generate(file.n_events, {"c_HW": file.value}, seed=file.seed)
    lhe.write(path, *generated.to_events(vbf_hww.DEFAULT_WEIGHTS))
    return file.n_events


def run_demo(
    out: PathLikeStr, config: DemoConfig, *, echo: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Run the whole main job and write its results.

    Parameters
    ----------
    out
        Directory: ``lhe/``, ``root/``, ``features/``, ``model/``, ``calibration.json``,
        ``belt.json``, ``plots/``, ``summary.json``, ``report.html``.
    config
        Sizes and seed.
    echo
        Receives one line for each finished step.

    Returns
    -------
    dict
        Content of ``summary.json``.

    Raises
    ------
    ConfigurationError
        If the truth leaves no room for calibration inside the training range.
    """
    if abs(config.truth) > 0.5:
        msg = f"truth {config.truth:g} is too close to the ends of the training range [-1, 1]"
        raise ConfigurationError(msg)
    directory = Path(out)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    seconds: dict[str, float] = {}
    words_of: dict[str, str] = {}

    @contextmanager
    def step(name: str) -> Iterator[Callable[[str], None]]:
        start = time.perf_counter()
        words: list[str] = []
        yield words.append
        seconds[name] = time.perf_counter() - start
        words_of[name] = " ".join(words)
        echo(f"{name:<9} {seconds[name]:6.1f} s   {words_of[name]}")

    files = _files(config)
    total = sum(f.n_events for f in files)
    with step("generate") as say:
        for folder in ("lhe", "root", "features"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        lhe_paths = [directory / "lhe" / f"{f.name}.lhe.gz" for f in files]
        _in_processes(_generate, files, lhe_paths, config.workers, total)
        size = sum(p.stat().st_size for p in lhe_paths) / 1e6
        say(f"{total} events in {len(files)} LHE files, {size:.0f} MB")
    with step("convert") as say:
        from milinfer.io.convert import convert_many

        root_paths = [directory / "root" / f"{f.name}.root" for f in files]
        done = convert_many(zip(lhe_paths, root_paths, strict=True), config.workers)
        say(f"{sum(d.n_events_out for d in done)} events to ROOT")
    with step("features") as say:
        from milinfer.samples.run_features import run_features

        samples = run_features(
            {f.name: [str(p)] for f, p in zip(files, root_paths, strict=True)},
            workers=config.workers,
        )
        for name, sample in samples.items():
            sample.to_file(directory / "features" / f"{name}.parquet")
        say(f"{sum(len(s) for s in samples.values())} events through the coffea processor")

    def pick(role: str) -> SampleSet:
        return SampleSet(tuple(samples[f.name] for f in files if f.role == role))

    train, held_out = pick("train").split([0.8, 0.2], seed=config.seed)
    with step("train") as say:
        models = _train(train, config)
        model = models[0]
        for m in models:
            m.save(directory / ("model" if m is model else f"model_{m.name}"))
        say(f"{train.n_events} events: {', '.join(m.name for m in models)}")
    with step("infer") as say:
        from milinfer.workflow.analysis import Analysis, analyse

        data = samples[next(f.name for f in files if f.role == "data")]
        calibration = pick("calib")
        result = analyse(
            Analysis(
                models=models,
                data=data.as_data(),
                templates=pick("train"),
                classifier_templates=held_out,
                calibration=calibration,
                evaluation=pick("eval"),
                truth=config.truth,
                simulated=True,
                second_observable="q0_pt",
                weight_degree=4,
                calibrate_at=config._around(7),
                cover_at=config._around(5),
                belt_at=config._around(25),
                workers=config.workers,
                oracle_pool=calibration.at(c_HW=config.pool_values[1]),
                n_toys=config.n_toys,
                seed=config.seed,
            )
        )
        for older in ("calibration.json", "belt.json"):
            (directory / older).unlink(missing_ok=True)
        constants = result.comparison[model.name].calibration
        if constants is not None:
            constants.save(directory / "calibration.json")
        if model.name in result.belts:
            result.belts[model.name].save(directory / "belt.json")
        say(f"{config.n_toys} toys at each of 37 truths, {len(result.costs)} methods")
    with step("report") as say:
        result.extra.update(
            {"process": "vbf_hww", "training_events": train.n_events, "seconds": seconds}
        )
        result = replace(
            result,
            provenance=Provenance(
                command=_command(config),
                configuration=asdict(config),
                inputs=tuple(
                    input_file(
                        _ROLES[f.role],
                        path,
                        samples[f.name],
                        content=f"vbf_hww at {format_point({'c_HW': f.value})}, seed {f.seed}",
                    )._replace(path=str(path.relative_to(directory)))
                    for f, path in zip(files, lhe_paths, strict=True)
                ),
                seeds={
                    "generation of events": config.seed,
                    "split of the training events": config.seed,
                },
                steps=tuple(
                    StepRun(k, "run", round(v, 2), words_of[k]) for k, v in seconds.items()
                ),
                started=started,
            ),
        )
        shutil.rmtree(directory / "plots", ignore_errors=True)
        result.write(directory)
        say(f"{directory / 'report.html'}")
    truth = format_point({"c_HW": config.truth})
    echo(f"{'total':<9} {sum(seconds.values()):6.1f} s   truth {truth}")
    return result.summary()


def _train(train: SampleSet, config: DemoConfig) -> tuple[BagLikelihood, ...]:
    """The polynomial head with what reweighted events know and without, and the paper's network."""
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.configs import TrainingConfig

    estimators = (
        BagLikelihood(head="polynomial", labels="joint", seed=config.seed),
        BagLikelihood(head="polynomial", seed=config.seed),
        BagLikelihood(
            bag_size=config.bag_size,
            ensemble=config.ensemble,
            seed=config.seed,
            training=TrainingConfig(epochs=config.epochs),
        ),
    )
    trained = []
    with progress("training", len(estimators)) as advance:
        for estimator in estimators:
            trained.append(estimator.fit(train))
            advance(1)
    return tuple(trained)


def _in_processes(
    function: Callable[[_File, str], int],
    files: list[_File],
    paths: list[Path],
    workers: int,
    total: int,
) -> None:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # Large files first, so that the workers finish together.
    order = sorted(range(len(files)), key=lambda i: -files[i].n_events)
    with progress("generating", total) as advance:
        if workers == 1:
            for i in order:
                advance(function(files[i], str(paths[i])))
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = [pool.submit(function, files[i], str(paths[i])) for i in order]
            for future in as_completed(futures):
                advance(future.result())
