"""Shortest time of toys and of trainings in this process, in threads, and on dask workers.

python benchmarks/cluster.py [--quick]
python benchmarks/cluster.py --hosts 2 --rate 1gbit   # as root, see hosts.py

The last line on standard output is one line of JSON.  With --quick the worker is a thread of this
process, so that TensorFlow is imported only once.  With --hosts the scheduler and each worker have
a network of their own, and use TLS.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster
from hosts import client_of_hosts
from quick_size import parse, small

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.likelihood.oracle import Oracle
from milinfer.utils.parallel import Workers

QUICK = {"repeats": 1, "toys": 200, "pool": 5_000, "train": 200, "workers": 1}


@contextmanager
def cluster_of(options: argparse.Namespace) -> Iterator[Client]:
    """Client of the workers."""
    if options.hosts:
        with client_of_hosts(options.hosts, options.rate) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=options.workers,
            threads_per_worker=1,
            processes=options.workers > 1,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of timings; the shortest counts"
    )
    parser.add_argument("--toys", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--pool", type=int, default=100_000, help="events of each sample from which toys are drawn"
    )
    parser.add_argument(
        "--train", type=int, default=5_000, help="training events at each parameter point"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        help="number of dask workers; with 1 it is a thread of this process",
    )
    parser.add_argument(
        "--hosts",
        type=int,
        help="number of workers, each with a network of its own (as root); replaces --workers",
    )
    parser.add_argument("--rate", help="speed of the network of each host, such as 1gbit")
    options = parse(parser, QUICK, arguments)
    samples = quadratic.samples(options.pool, [{"c1": -0.5}, {"c1": 0.5}], seed=1)
    oracle = Oracle.from_sample(samples[0], "c1", [0.1 * k for k in range(-10, 11)], degree=2)
    pool = mil.EventPool(samples, degree=2)
    toys = mil.Toys(pool, n_events=1000, seed=2)
    train = quadratic.samples(options.train, [{"c1": 0.25 * k} for k in range(-4, 5)], seed=3)
    quick = TrainingConfig(epochs=10)
    one = mil.BagLikelihood(head="multiclass", pooling="attention", seed=1, training=quick)
    bags = small(one, options.quick).fit(train)
    two = small(
        mil.BagLikelihood(head="multiclass", ensemble=2, seed=1, training=quick), options.quick
    )
    seconds: dict[str, float] = {}
    with cluster_of(options) as client:
        n_bags = options.toys // 20
        on = f"{options.hosts} hosts" if options.hosts else f"{options.workers} workers"
        # In turns, so that the load of the machine is that of all.
        jobs = {
            "one task": lambda: list(Workers(client=client).map(int, [0])),
            "toys, here": lambda: toys.run([oracle], 0.1, options.toys),
            "toys, 2 threads": lambda: toys.run([oracle], 0.1, options.toys, workers=2),
            f"toys, {on}": lambda: toys.run([oracle], 0.1, options.toys, client=client),
            "toys of bags, here": lambda: toys.run([bags], 0.1, n_bags),
            f"toys of bags, {on}": lambda: toys.run([bags], 0.1, n_bags, client=client),
            "ensemble of 2, here": lambda: two.fit(train),
            f"ensemble of 2, {on}": lambda: two.fit(train, client=client),
        }
        for _ in range(options.repeats):
            for name, job in jobs.items():
                start = time.perf_counter()
                job()
                took = time.perf_counter() - start
                seconds[name] = min(took, seconds.get(name, took))
    for name, shortest in seconds.items():
        print(f"{name:<28} {shortest:8.3f} s")
    figures = {"toys": options.toys, "cores": os.cpu_count(), "seconds": seconds}
    print(json.dumps(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
