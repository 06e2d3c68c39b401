"""Shortest times of toys and trainings: in this process, in threads, on two dask workers.

python benchmarks/cluster.py
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from distributed import Client, LocalCluster

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.likelihood.oracle import Oracle
from milinfer.utils.parallel import Workers


def nothing(item: int) -> int:
    return item


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--toys", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    samples = quadratic.samples(100_000, [{"c1": -0.5}, {"c1": 0.5}], seed=1)
    oracle = Oracle.from_sample(samples[0], "c1", [0.1 * k for k in range(-10, 11)], degree=2)
    pool = mil.EventPool(samples, degree=2)
    toys = mil.Toys(pool, n_events=1000, seed=2)
    train = quadratic.samples(5_000, [{"c1": 0.25 * k} for k in range(-4, 5)], seed=3)
    quick = TrainingConfig(epochs=10)
    bags = mil.BagLikelihood(pooling="attention", seed=1, training=quick).fit(train)
    two = mil.BagLikelihood(ensemble=2, seed=1, training=quick)
    seconds: dict[str, float] = {}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        n_bags = given.toys // 20
        # In turns, so that the load of the machine is that of all.
        jobs = {
            "one task": lambda: list(Workers(client=client).map(nothing, [0])),
            "toys, here": lambda: toys.run([oracle], 0.1, given.toys),
            "toys, 2 threads": lambda: toys.run([oracle], 0.1, given.toys, workers=2),
            "toys, 2 workers": lambda: toys.run([oracle], 0.1, given.toys, client=client),
            "toys of bags, here": lambda: toys.run([bags], 0.1, n_bags),
            "toys of bags, 2 workers": lambda: toys.run([bags], 0.1, n_bags, client=client),
            "ensemble of 2, here": lambda: two.fit(train),
            "ensemble of 2, 2 workers": lambda: two.fit(train, client=client),
        }
        for _ in range(given.repeats):
            for name, job in jobs.items():
                start = time.perf_counter()
                job()
                took = time.perf_counter() - start
                seconds[name] = min(took, seconds.get(name, took))
    for name, shortest in seconds.items():
        print(f"{name:<28} {shortest:8.3f} s")
    if given.json is not None:
        figures = {"toys": given.toys, "cores": os.cpu_count(), "seconds": seconds}
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
