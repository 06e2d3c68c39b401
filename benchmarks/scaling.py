"""How time and memory grow with events, toys, features and points of θ.

python benchmarks/scaling.py [--quick] [--figure scaling.svg]

Every point is measured in a process of its own, so that peak memory can be measured too.  The last
line on standard output is one line of JSON.  It has for each series the values x, seconds and peak
memory in MB, the exponent of x in the time (from the three largest x), and the bytes for each unit
of x.  With --quick all points but the last are measured in this process, which starts faster; the
series in features and in points of θ have a tenth of their events and toys, the series in toys a
tenth of its events, and networks for costs and training have 4 features instead of 8.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from quick_size import parse, small

SERIES = {
    "events: read from LHE": (10**3, 10**4, 10**5, 10**6),
    "events: make a cost": (10**3, 10**4, 10**5, 10**6, 10**7),
    "events: call a cost": (10**3, 10**4, 10**5, 10**6, 10**7),
    "events: train, one epoch": (10**3, 10**4, 10**5, 10**6),
    "toys of 1000 events": (10**3, 10**4, 10**5, 10**6),
    "events in each of 1000 toys": (10**2, 10**3, 10**4, 10**5),
    "features: 100 000 events through a network": (4, 16, 64, 256),
    "points of θ: 10 000 toys": (5, 20, 80, 320),
}
_BLOCK = 1_000_000
QUICK = {"points": 2, "processes": 1}


@cache
def model(n_features: int, quick: bool) -> Any:
    """A small multi-class network; only its speed matters here."""
    import milinfer as mil
    from milinfer.learning.networks.configs import TrainingConfig

    network = mil.BagLikelihood(
        head="multiclass", bag_size=50, degree=2, seed=1, training=TrainingConfig(epochs=1)
    )
    points = (-0.5, 0.0, 0.5)
    train = mil.SampleSet(tuple(events(1000, n_features, p) for p in points))
    return small(network, quick).fit(train)


def events(n: int, n_features: int, mu: float = 0.0) -> Any:
    """Normally distributed features of mean μ."""
    import milinfer as mil

    rng = np.random.default_rng(round(1000 * mu) + 5000)
    x = np.empty((n, n_features), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        x[start:stop] = rng.normal(mu, 1, (stop - start, n_features))
    return mil.Sample(x, tuple(f"x{k}" for k in range(n_features)), point={"mu": mu})


class Known:
    """ln r of a normal distribution at K points."""

    name, parameters = "known", ("mu",)

    def __init__(self, n_points: int) -> None:
        from milinfer.likelihood.surface import Interpolation

        self.interpolation = Interpolation(np.linspace(-1, 1, n_points), "polynomial", 2)

    def event_llr(self, sample: Any) -> np.ndarray:
        grid, x = self.interpolation.grid, sample.column("x0").astype(np.float64)
        return x[:, None] * grid - grid**2 / 2


def usual_features(quick: bool) -> int:
    """Number of features in series in which it does not grow."""
    return 4 if quick else 8


def seconds_of(call: Callable[[], Any], repeats: int = 3) -> float:
    call()
    return min(timeit.repeat(call, number=1, repeat=repeats))


def toys_of(n_toys: int, n_events: int, n_points: int, n_pool: int = 100_000) -> float:
    import milinfer as mil

    toys = mil.Toys(mil.SampleSet((events(n_pool, 1),)), n_events=n_events, seed=1)
    known = Known(n_points)
    toys.run([known], 0.0, 100)
    start = time.perf_counter()
    ensemble = toys.run([known], 0.0, n_toys)["known"]
    ensemble.test_statistic(0.0)
    return time.perf_counter() - start


def one(name: str, x: int, quick: bool) -> float:
    from milinfer.likelihood.cost import dataset_cost

    if name == "events: read from LHE":
        return read_lhe(x)
    if name == "events: make a cost":
        network, data = model(usual_features(quick), quick), events(x, usual_features(quick))
        return seconds_of(lambda: dataset_cost(network, data, reference=0.0), 1 if x > 1e6 else 3)
    if name == "events: call a cost":
        network, data = model(usual_features(quick), quick), events(x, usual_features(quick))
        cost = dataset_cost(network, data, reference=0.0)
        return seconds_of(lambda: [cost(0.1) for _ in range(1000)]) / 1000
    if name == "events: train, one epoch":
        return epoch(x, quick)
    if name == "toys of 1000 events":
        return toys_of(x, 100 if quick else 1000, 20)
    if name == "events in each of 1000 toys":
        return toys_of(1000, x, 20)
    if name == "features: 100 000 events through a network":
        network, data = model(x, quick), events(10_000 if quick else 100_000, x)
        return seconds_of(lambda: network.event_llr(data))
    if name == "points of θ: 10 000 toys":
        return toys_of(1_000 if quick else 10_000, 1000, x)
    raise ValueError(name)


def seconds_and_peak(name: str, x: int, quick: bool) -> list[float]:
    """Time of one point, and the largest memory of this process so far."""
    seconds = one(name, x, quick)
    return [seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]


def in_own_process(name: str, x: int) -> list[float]:
    command = [sys.executable, __file__, "--one", name, str(x)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{name} at {x}:\n{done.stderr}"
        raise SystemExit(msg)
    return json.loads(done.stdout.splitlines()[-1])


def read_lhe(n: int) -> float:
    import milinfer as mil
    from milinfer.datasets import vbf_hww
    from milinfer.io import events as files

    record, info = vbf_hww.generate(1000, {"c_HW": 0.0}, seed=1).to_events()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "events.lhe")
        with files.open_writer(path, info) as writer:
            for _ in range(n // 1000):
                writer.write(record)
        return seconds_of(
            lambda: mil.Sample.from_file(path, features="vbf_2l2j", point={"c_HW": 0.0}), 1
        )


def epoch(n: int, quick: bool) -> float:
    """Median time from the end of an epoch to the end of the next."""
    import milinfer as mil
    from milinfer.learning.networks.configs import TrainingConfig

    points = (-0.5, 0.0, 0.5)
    samples = mil.SampleSet(tuple(events(n // 3, usual_features(quick), p) for p in points))
    ends: list[float] = []
    epochs = 12 if n < 10**6 else 4
    network = mil.BagLikelihood(
        head="multiclass", bag_size=50, seed=1, training=TrainingConfig(epochs, patience=epochs)
    )
    small(network, quick).fit(samples, on_epoch=lambda _: ends.append(time.perf_counter()))
    return float(np.median(np.diff(ends)))


def exponent(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(np.log(x[-3:]), np.log(np.maximum(y[-3:], 1e-9)), 1)[0])


def figure(found: dict[str, dict[str, Any]], path: str) -> None:
    import matplotlib.pyplot as plt
    import mplhep as hep
    from matplotlib.ticker import NullFormatter

    hep.style.use("CMS")
    fig, axes = plt.subplots(1, 2, figsize=(18, 9.5))
    for (name, row), marker in zip(found.items(), "osD^v<>p", strict=True):
        label = f"{name} ($x^{{{row['exponent']:.2f}}}$)"
        axes[0].plot(row["x"], row["seconds"], marker=marker, label=label)
        axes[1].plot(row["x"], row["peak_mb"], marker=marker)
    axes[0].set_ylabel("time [s]")
    axes[1].set(ylabel="peak memory [MB]", ylim=(100, 3000))
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="number")
        ax.yaxis.set_minor_formatter(NullFormatter())
    handles = axes[0].get_legend_handles_labels()
    fig.legend(*handles, loc="lower center", ncols=2, fontsize=18)
    fig.tight_layout(rect=(0, 0.24, 1, 1))
    fig.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points",
        type=int,
        help="measure only this many points of each series, the smallest; default: all",
    )
    parser.add_argument(
        "--processes",
        type=int,
        help="run only the last so many points in processes of their own; default: all points",
    )
    parser.add_argument("--figure", help="write a figure to this file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parse(parser, QUICK, arguments)
    if args.one:
        print(json.dumps(seconds_and_peak(args.one[0], int(args.one[1]), args.quick)))
        return
    left = sum(len(values[: args.points]) for values in SERIES.values())
    found: dict[str, dict[str, Any]] = {}
    for name, values in SERIES.items():
        x = values[: args.points]
        rows = []
        for v in x:
            own_process = args.processes is None or left <= args.processes
            rows.append(
                in_own_process(name, v) if own_process else seconds_and_peak(name, v, args.quick)
            )
            left -= 1
            print(f"{name}, {v}: {rows[-1][0]:.3g} s, {rows[-1][1]:.0f} MB", file=sys.stderr)
        seconds, peak = (list(column) for column in zip(*rows, strict=True))
        found[name] = {
            "x": x,
            "seconds": seconds,
            "peak_mb": peak,
            "exponent": exponent(x, seconds),
            "bytes_each": (peak[-1] - peak[0]) * 2**20 / (x[-1] - x[0]),
        }
    if args.figure:
        figure(found, args.figure)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
