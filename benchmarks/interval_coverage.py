"""Coverage of the intervals of every method at every truth, on events that were not used before.

* ``gaussian``: the mean of a Gaussian, from a likelihood ratio that is wrong by known factors;
* ``vbf_hww``: c_HW from trained networks, the exact likelihood ratio (oracle) and a histogram.

python benchmarks/interval_coverage.py [--problems gaussian vbf_hww] [--out DIR] [--quick]

Toys for calibrations and belts are drawn from one set of simulated events, toys that measure
coverage from another.  The last line on standard output is one line of JSON.  It has for each
problem, model, method, level and truth the coverage with its errors, and the time of 100 000 toys
with their estimates and test statistics.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from quick_size import parse, small
from vbf_samples import vbf_sample

import milinfer as mil
from milinfer.binned.binned_model import BinnedLLR
from milinfer.datasets import vbf_hww
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import CoverageScan, coverage_scan
from milinfer.likelihood.surface import Interpolation
from milinfer.plotting.coverage import plot_coverage_scan, plot_scale
from milinfer.toys.pool import EventPool

GRID = tuple(float(v) + 0.0 for v in np.round(np.linspace(-1, 1, 21), 1))
POOL_POINTS = (-0.8, -0.4, 0.0, 0.4, 0.8)
CALIBRATE_AT = tuple(float(v) + 0.0 for v in np.round(np.linspace(-0.6, 0.6, 13), 2))
BELT_AT = tuple(float(v) + 0.0 for v in np.round(np.linspace(-0.6, 0.6, 41), 3))
SMOOTH = Interpolation(np.linspace(-1, 1, 21), "polynomial", 4)
EVALUATE_AT = tuple(float(v) + 0.0 for v in np.round(np.linspace(-0.4, 0.4, 9), 2))
TRUTHS = (CALIBRATE_AT, BELT_AT, EVALUATE_AT)
QUICK_TRUTHS = (CALIBRATE_AT[::3], BELT_AT[::5], EVALUATE_AT[::4])
QUICK = {
    "heads": ["polynomial-joint"],
    "toys": 100,
    "tuning_toys": 100,
    "belt_toys": 100,
    "pool": 8000,
    "train": 1000,
    "points": 5,
    "workers": 1,
    "timed_toys": 1000,
}


@dataclass(frozen=True)
class Problem:
    """Models, and pools of events for tuning and for evaluation."""

    name: str
    models: tuple[object, ...]
    tuning: EventPool
    evaluation: EventPool
    n_events: int
    learned: tuple[str, ...]


@dataclass(frozen=True)
class WrongMean:
    """x ~ N(θ, 1), with a Λ(θ) whose curvature, response and bias are wrong by known factors."""

    name: str = "wrong"
    scale: float = 0.5
    response: float = 0.8
    shift: float = 0.05
    parameters: tuple[str, ...] = ("mu",)
    interpolation: Interpolation = SMOOTH

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        x = self.response * sample.features.astype(np.float64) + self.shift
        theta = self.interpolation.grid
        return self.scale * (theta * x - theta**2 / 2)


def _gaussian_pool(n: int, seed: int) -> mil.SampleSet:
    """Events with weights that make any θ: exp(θ x − θ²/2) is no polynomial, so one sample each."""
    rng = np.random.default_rng(seed)
    values = sorted(set(CALIBRATE_AT) | set(BELT_AT) | set(EVALUATE_AT))
    return mil.SampleSet(
        tuple(
            mil.Sample(rng.normal(v, 1, (n, 1)), ("x",), point={"mu": v}, cross_section=1.0)
            for v in values
        )
    )


def gaussian(pool_events: int) -> Problem:
    exact = WrongMean("exact", 1.0, 1.0, 0.0)
    pools = [EventPool(_gaussian_pool(pool_events, s)) for s in (1, 2)]
    return Problem("gaussian", (exact, WrongMean()), *pools, 100, ("exact", "wrong"))


def signed_angle(sample: mil.Sample) -> np.ndarray:
    """Azimuthal angle between the jets, with its sign."""
    return np.arctan2(sample.column("sin_dphi_q0_q1"), sample.column("cos_dphi_q0_q1"))


def _generate(job: tuple[float, int, int]) -> mil.Sample:
    """Events as they come out of the feature step, without the detour through files."""
    value, n, seed = job
    return vbf_sample(vbf_hww.generate(n, {"c_HW": value}, seed=seed), value)


def hww(options: argparse.Namespace) -> Problem:
    wanted = [(v, options.pool // len(POOL_POINTS)) for v in (*POOL_POINTS, *POOL_POINTS)]
    step = (len(GRID) - 1) // (options.points - 1)
    wanted += [(v, options.train) for v in GRID[::step]]
    seeds = np.random.SeedSequence(21).generate_state(len(wanted))
    jobs = [(v, n, int(s)) for (v, n), s in zip(wanted, seeds, strict=True)]
    if options.workers == 1:
        made = [_generate(job) for job in jobs]
    else:
        with ProcessPoolExecutor(options.workers) as pool:
            made = list(pool.map(_generate, jobs))
    k = len(POOL_POINTS)
    tuning, evaluation = (EventPool(mil.SampleSet(tuple(made[i : i + k])), 4) for i in (0, k))
    train = mil.SampleSet(tuple(made[2 * k :]))
    estimators = {
        "polynomial-joint": mil.BagLikelihood(head="polynomial", labels="joint", seed=1),
        "polynomial": mil.BagLikelihood(head="polynomial", seed=1),
        "multiclass": mil.BagLikelihood(head="multiclass", bag_size=50, normalise=False, seed=1),
    }
    models: list[object] = []
    for name in options.heads:
        start = time.perf_counter()
        models.append(small(estimators[name], options.quick).fit(train))
        print(f"{name}: trained in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    fine = np.linspace(-1, 1, 81)
    templates = mil.Templates.from_samples(train, signed_angle, bins=20, degree=4)
    models.append(BinnedLLR("pyhf", templates, "c_HW", Interpolation(fine, "spline")))
    models.append(mil.Oracle.from_sample(train.at(c_HW=0.0), "c_HW", fine))
    return Problem("vbf_hww", tuple(models), tuning, evaluation, 1000, tuple(options.heads))


def measure(
    problem: Problem, truths: Sequence[Sequence[float]], options: argparse.Namespace
) -> list[CoverageScan]:
    """Tune every method, then measure all of them."""
    tuning = mil.Toys(problem.tuning, problem.n_events, seed=31)
    evaluation = mil.Toys(problem.evaluation, problem.n_events, seed=32)
    learned = [m for m in problem.models if m.name in problem.learned]
    calibrate_at, belt_at, evaluate_at = truths
    workers, out = options.workers, options.out
    calibration_toys = tuning.scan(learned, calibrate_at, options.tuning_toys, workers=workers)
    belt_toys = mil.Toys(problem.tuning, problem.n_events, seed=33).scan(
        learned, belt_at, options.belt_toys, workers=workers
    )
    toys = evaluation.scan(problem.models, evaluate_at, options.toys, workers=workers)
    scans = []
    for model in problem.models:
        methods: dict[str, object] = {"as it is": None}
        if model.name in problem.learned:
            own = calibration_toys[model.name]
            at_zero = [e for e in own if abs(e.truth) < 1e-9]
            methods |= {
                "bias corrected": calibrate(own, correct="bias"),
                "[AS] (at 0)": calibrate(at_zero, cl=0.6827, kind="bartlett"),
                "c_cicc alone": calibrate(own, correct="scale"),
            }
            methods["calibrated"] = calibrated = calibrate(own)
            belt = belt_toys[model.name]
            methods["Neyman belt"] = mil.neyman(belt, calibration=calibrated)
            methods["Neyman belt, plain"] = mil.neyman(belt)
        scan = coverage_scan(toys[model.name], methods)
        scans.append(scan)
        # For the quick size a picture of each kind is enough.
        if out is not None and not (options.quick and any(out.iterdir())):
            name = f"{problem.name}_{model.name}"
            plot_coverage_scan(scan).savefig(out / f"coverage_{name}.svg")
            if model.name in problem.learned:
                plot_scale(methods["calibrated"]).savefig(out / f"scale_{name}.svg")
    return scans


def speed(problem: Problem, n_toys: int, workers: int) -> float:
    """Seconds for 100 000 toys of 1000 events with estimates and test statistics."""
    toys = mil.Toys(problem.evaluation, 1000, seed=41)
    start = time.perf_counter()
    ensemble = next(iter(toys.run([problem.models[0]], 0.0, n_toys, workers=workers).values()))
    ensemble.test_statistic(0.0)
    return (time.perf_counter() - start) * 100_000 / n_toys


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=["gaussian", "vbf_hww"])
    parser.add_argument("--heads", nargs="+", default=["polynomial-joint", "multiclass"])
    parser.add_argument(
        "--toys", type=int, default=2000, help="toys that measure coverage, at each true value"
    )
    parser.add_argument(
        "--tuning-toys", type=int, default=20_000, help="toys for calibrations, at each true value"
    )
    parser.add_argument(
        "--belt-toys", type=int, default=10_000, help="toys for belts, at each true value"
    )
    parser.add_argument(
        "--pool", type=int, default=500_000, help="events from which toys are drawn"
    )
    parser.add_argument(
        "--train", type=int, default=20_000, help="training events at each parameter point"
    )
    parser.add_argument("--points", type=int, default=len(GRID), help="number of training points")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None, help="folder for figures")
    parser.add_argument("--timed-toys", type=int, default=100_000, help="toys for the timing")
    options = parse(parser, QUICK, arguments)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, object] = {"rows": [], "toys_100k_s": {}, "seconds": {}}
    for name in options.problems:
        start = time.perf_counter()
        problem = gaussian(options.pool // 10) if name == "gaussian" else hww(options)
        print(f"{name}: prepared in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        for scan in measure(problem, QUICK_TRUTHS if options.quick else TRUTHS, options):
            for row in scan.table_rows():
                print(name, scan.rows[0].model, *row, sep="\t", file=sys.stderr)
            figures["rows"] += [{"problem": name, **r} for r in scan.to_dict()]
        figures["toys_100k_s"][name] = speed(problem, options.timed_toys, options.workers)
        figures["seconds"][name] = time.perf_counter() - start
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
