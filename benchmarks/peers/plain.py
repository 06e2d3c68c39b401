"""What the script of every peer shares: plain arrays in, tables of log-ratios out, time and memory.

It needs numpy alone, so that it runs in the environment of each peer.  The arrays are described in
the README.json that ``data.py`` writes beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

# Events that are evaluated at once, and datasets of which the time is taken.
BLOCK = 20_000
TIMED = 20


@dataclass(frozen=True)
class Events:
    """Events as columns of arrays: x, theta, coefficients, and others that a problem has."""

    arrays: Mapping[str, np.ndarray]

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.arrays[name]
        except KeyError as error:
            msg = f"these events have no {name!r}, but {', '.join(self.arrays)}"
            raise AttributeError(msg) from error

    def __len__(self) -> int:
        return len(self.arrays["x"])

    def take(self, rows: Any) -> Events:
        """Some of the events."""
        return Events({name: values[rows] for name, values in self.arrays.items()})


@dataclass(frozen=True)
class Problem:
    """Events of training, calibration and evaluation, and what is known of them."""

    folder: Path
    facts: Mapping[str, Any]
    train: Events
    calibration: Events
    evaluation: Events
    toys: np.ndarray

    @property
    def grid(self) -> np.ndarray:
        """Points at which the training events were generated, and at which Λ is wanted."""
        return np.asarray(self.facts["grid"])

    def density(self, events: Events, theta: Any) -> np.ndarray:
        """p(x, z|θ) of events at points, up to a constant of each event, (n_events, K)."""
        powers = np.vander(np.atleast_1d(theta), events.coefficients.shape[1], increasing=True)
        ratio: np.ndarray = events.coefficients @ powers.T / (powers @ self.facts["total"])
        return ratio

    def joint_ratio(self, events: Events, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p(x, z|θ)/p(x, z|0) and d/dθ ln p(x, z|θ), each event at its own θ."""
        c, total = events.coefficients, np.asarray(self.facts["total"])
        powers = np.vander(theta, c.shape[1], increasing=True)
        slopes = np.zeros_like(powers)
        slopes[:, 1:] = powers[:, :-1] * np.arange(1, c.shape[1])
        value, sigma = (c * powers).sum(axis=1), powers @ total
        ratio = value / sigma / (c[:, 0] / total[0])
        score = (c * slopes).sum(axis=1) / value - slopes @ total / sigma
        return ratio, score

    def at_random_points(self, n: int, rng: np.random.Generator) -> tuple[Events, np.ndarray]:
        """Training events that follow p(x|θ) at θ drawn evenly from the range, and these θ.

        Each comes from the sample whose point is the nearest, by its weight at θ: as MadMiner's
        SampleAugmenter draws with ``sample_only_from_closest_benchmark``.
        """
        values = np.unique(self.train.theta)
        theta = np.sort(rng.uniform(values[0], values[-1], n))
        # As many points as MadMiner's tutorials take, so that each needs its weights once.
        points = np.array([part.mean() for part in np.array_split(theta, min(1000, n))])
        sizes = [len(part) for part in np.array_split(theta, min(1000, n))]
        rows = []
        for point, size in zip(points, sizes, strict=True):
            nearest = np.flatnonzero(self.train.theta == values[np.argmin(np.abs(values - point))])
            near = self.train.take(nearest)
            both = self.density(near, [point, near.theta[0]])
            share = both[:, 0] / both[:, 1]
            rows.append(rng.choice(nearest, size, p=share / share.sum()))
        return self.train.take(np.concatenate(rows)), np.repeat(points, sizes)

    def weights_at(self, theta: Any) -> np.ndarray:
        """Weights with which all training events together follow p(x|θ), (n_events, K)."""
        values, counts = np.unique(self.train.theta, return_counts=True)
        mixture = self.density(self.train, values) @ (counts / counts.sum())
        weights: np.ndarray = self.density(self.train, theta) / mixture[:, None]
        return weights / weights.sum(axis=0)


@dataclass(frozen=True)
class Fitted:
    """A trained peer.

    Parameters
    ----------
    evaluate
        Log-ratios of events to θ = 0 at the points of `grid`, (n_events, K).
    grid
        The points; None: those of the problem.
    kind, degree
        Curve between the points, as of :class:`milinfer.likelihood.surface.Interpolation`.
    settings
        What is not a default of the peer.
    source
        Where its authors recommend these settings.
    dataset
        Λ of one dataset at the points, (K,); None: the sum of `evaluate`.
    timed
        Datasets of which the time is taken.
    """

    evaluate: Callable[[Events], np.ndarray]
    settings: str
    source: str
    grid: np.ndarray | None = None
    kind: str = "spline"
    degree: int = 4
    dataset: Callable[[Events], np.ndarray] | None = None
    timed: int = TIMED
    facts: Mapping[str, Any] = field(default_factory=dict)


Method = Callable[[Problem, int, bool], Fitted]
Interval = Callable[[np.ndarray], tuple[float, float]]


def read(folder: Path) -> Problem:
    """A problem from the arrays of its folder."""
    facts = json.loads((folder / "problem.json").read_text(encoding="utf-8"))
    parts = {}
    for name in ("train", "calibration", "evaluation"):
        with np.load(folder / f"{name}.npz") as file:
            parts[name] = Events({key: file[key] for key in file.files})
    with np.load(folder / "toys.npz") as file:
        toys = file["index"]
    return Problem(folder, facts, toys=toys, **parts)


def read_bags(file: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Labelled bags, each of shape (n_instances, n_features), and their labels."""
    with np.load(file) as arrays:
        bags = np.split(arrays["x"], arrays["offsets"][1:-1])
        return bags, arrays["label"]


def cores() -> int:
    """Threads that each peer may use."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def processor_seconds() -> float:
    """Processor time of this process and of those that it has started."""
    own, children = (resource.getrusage(who) for who in (
        resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    ))  # fmt: skip
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_megabytes() -> float:
    """Largest memory that this process, or one that it has started, had in use."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return max(
        resource.getrusage(who).ru_maxrss / unit
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result of a call, its processor seconds, and its seconds by the clock."""
    processor, clock = processor_seconds(), time.perf_counter()
    result = call()
    return result, processor_seconds() - processor, time.perf_counter() - clock


def _table(fitted: Fitted, events: Events) -> np.ndarray:
    """Log-ratios of all events, block by block."""
    starts = range(0, len(events), BLOCK)
    return np.concatenate(
        [
            np.asarray(fitted.evaluate(events.take(slice(a, a + BLOCK))), dtype=np.float64)
            for a in starts
        ]
    )


def measure(problem: Problem, method: Method, seed: int, quick: bool, out: Path) -> dict[str, Any]:
    """Train, evaluate all events, and write the table; returns what was recorded."""
    before = peak_megabytes()
    fitted, train_cpu, train_wall = timed(lambda: method(problem, seed, quick))
    grid = problem.grid if fitted.grid is None else fitted.grid
    tables, evaluate_cpu, evaluate_wall = timed(
        lambda: [_table(fitted, events) for events in (problem.calibration, problem.evaluation)]
    )
    for table, events in zip(tables, (problem.calibration, problem.evaluation), strict=True):
        if table.shape != (len(events), len(grid)) or not np.all(np.isfinite(table)):
            msg = (
                f"log-ratios of shape {table.shape}, {np.sum(~np.isfinite(table))} of them not "
                f"finite, for {len(events)} events at {len(grid)} points"
            )
            raise ValueError(msg)
    one = fitted.dataset or (lambda events: _table(fitted, events).sum(axis=0))
    number = 1 if quick else min(fitted.timed, len(problem.toys))
    datasets = [problem.evaluation.take(rows) for rows in problem.toys[:number]]
    one(datasets[0])  # what is compiled or allocated once
    found, dataset_cpu, _ = timed(lambda: np.stack([one(events) for events in datasets]))
    summed = np.stack([tables[1][rows].sum(axis=0) for rows in problem.toys[:number]])
    centre = int(np.argmin(np.abs(grid)))
    difference = (found - found[:, [centre]]) - (summed - summed[:, [centre]])
    events = len(problem.calibration) + len(problem.evaluation)
    np.savez(
        out,
        grid=grid,
        calibration=tables[0].astype(np.float32),
        evaluation=tables[1].astype(np.float32),
    )
    return {
        "kind": fitted.kind,
        "degree": fitted.degree,
        "settings": fitted.settings,
        "source": fitted.source,
        **_costs(train_cpu, train_wall),
        "evaluate_cpu_us_per_event": evaluate_cpu / events * 1e6,
        "evaluate_wall_us_per_event": evaluate_wall / events * 1e6,
        "points": len(grid),
        "dataset_cpu_ms": dataset_cpu / number * 1e3,
        "dataset_difference": float(np.abs(difference).max()),
        "arrays_mb": before,
        **fitted.facts,
    }


def _costs(cpu: float, wall: float) -> dict[str, float]:
    """Threads, seconds of the training, and the most memory until now."""
    return {
        "cores": cores(),
        "train_cpu_s": cpu,
        "train_wall_s": wall,
        "peak_mb": peak_megabytes(),
    }


def measure_bags(
    folder: Path, method: Callable[..., Callable[[list[np.ndarray]], np.ndarray]], seed: int,
    quick: bool, out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Train on labelled bags, and write the predictions for others."""
    task = json.loads((folder / "problem.json").read_text(encoding="utf-8"))["task"]
    bags, labels = read_bags(folder / "train.npz")
    others, _ = read_bags(folder / "evaluation.npz")
    model, cpu, wall = timed(lambda: method(task, bags, labels, seed, quick))
    found, evaluate_cpu, _ = timed(lambda: np.asarray(model(others), dtype=np.float64))
    np.savez(out, prediction=found)
    return {
        "settings": method.__doc__.splitlines()[0],
        "evaluate_cpu_us_per_bag": evaluate_cpu / len(others) * 1e6,
        **_costs(cpu, wall),
    }


def measure_intervals(
    folder: Path, method: Callable[..., Interval], seed: int, quick: bool, out: Path
) -> dict[str, Any]:
    """Prepare a method, make the interval of every dataset, and write their ends."""
    facts = json.loads((folder / "problem.json").read_text(encoding="utf-8"))
    with np.load(folder / "datasets.npz") as file:
        datasets = file["x"]
    interval, cpu, wall = timed(lambda: method(facts, seed, quick))
    interval(datasets[0])  # what is compiled or allocated once
    ends, each_cpu, _ = timed(lambda: np.array([interval(x) for x in datasets]))
    np.savez(out, interval=ends)
    return {
        "settings": method.__doc__.splitlines()[0],
        "interval_cpu_ms": each_cpu / len(datasets) * 1e3,
        **_costs(cpu, wall),
    }


def main(
    packages: Sequence[str] | Mapping[str, str],
    methods: Mapping[str, Method],
    bag_methods: Mapping[str, Any] | None = None,
    interval_methods: Mapping[str, Any] | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Command of a peer: one method on one problem, with a record beside the table.

    Packages are names of distributions, or names with versions where these are known.
    """
    bag_methods, interval_methods = bag_methods or {}, interval_methods or {}
    parser = argparse.ArgumentParser(description=main.__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print methods and versions, and stop")
    parser.add_argument("--folder", type=Path, help="of the problem")
    parser.add_argument("--out", type=Path, help="name of the table, without its ending")
    parser.add_argument("--method", choices=[*methods, *bag_methods, *interval_methods])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    known = packages if isinstance(packages, Mapping) else {p: version(p) for p in packages}
    versions = {"python": sys.version.split()[0], **known}
    if options.list:
        listed = {
            "methods": list(methods),
            "bag_methods": list(bag_methods),
            "interval_methods": list(interval_methods),
        }
        print(json.dumps(listed | {"versions": versions}))
        return
    table, record = options.out.with_suffix(".npz"), options.out.with_suffix(".json")
    if options.method in methods:
        problem = read(options.folder)
        figures = measure(problem, methods[options.method], options.seed, options.quick, table)
    else:
        of_bags = options.method in bag_methods
        other = (bag_methods if of_bags else interval_methods)[options.method]
        call = measure_bags if of_bags else measure_intervals
        figures = call(options.folder, other, options.seed, options.quick, table)
    record.write_text(
        json.dumps({"method": options.method, "versions": versions} | figures, indent=1) + "\n",
        encoding="utf-8",
    )
