"""Toys and trainings on a cluster, with HTCondor or SLURM and dask-jobqueue.

python examples/on_a_cluster.py                    # two workers on this machine
python examples/on_a_cluster.py --quick            # little work for one in this process, for tests
python examples/on_a_cluster.py --batch htcondor   # jobs; pip install milinfer[cluster]
python examples/on_a_cluster.py --batch slurm
python examples/on_a_cluster.py --batch slurm --show-job   # only what would be submitted
"""

from __future__ import annotations

import argparse

from distributed import Client, LocalCluster

import milinfer as mil
from milinfer.datasets import quadratic

# One thread and one core for a worker: it trains one network at a time. TensorFlow takes all cores
# of a node otherwise, and networks are the same to the bit only where it has as many threads.
PROLOGUE = ["export TF_NUM_INTRAOP_THREADS=1"]


def cluster_of(batch: str, jobs: int, *, quick: bool = False) -> LocalCluster:
    """Workers that run as jobs of a batch system, or on this machine."""
    if batch == "local":
        workers = 1 if quick else 2
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=not quick,
            dashboard_address=":0",
        )
    if batch == "htcondor":
        from dask_jobqueue import HTCondorCluster as Cluster

        more = {"disk": "2 GB"}
    else:
        from dask_jobqueue import SLURMCluster as Cluster

        more = {"walltime": "02:00:00"}
    cluster = Cluster(
        cores=1,
        processes=1,
        memory="4 GB",
        job_script_prologue=PROLOGUE,
        scheduler_options={"dashboard_address": ":0"},
        **more,
    )
    cluster.scale(jobs=jobs)
    return cluster


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", choices=["local", "htcondor", "slurm"], default="local")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--show-job", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.show_job:
        with cluster_of(options.batch, 0) as cluster:
            print(cluster.job_script() if options.batch != "local" else cluster)
        return

    values = [{"c1": round(0.25 * k, 2)} for k in range(-4, 5)]
    n_pool, n_toys = (5_000, 200) if options.quick else (20_000, 1000)
    train = quadratic.samples(1_000, values, seed=1)
    pool = quadratic.samples(n_pool, [{"c1": c} for c in (-0.6, 0.0, 0.6)], seed=2)
    with (
        cluster_of(options.batch, options.jobs, quick=options.quick) as cluster,
        Client(cluster) as client,
    ):
        # Members of the ensemble are trained side by side; work waits for the first worker.
        settings = mil.BagLikelihood(head="polynomial", order=1, ensemble=2, seed=1)
        model = settings.fit(train, client=client)
        # What the model says of each event is sent to the workers once.
        toys = mil.Toys(mil.EventPool(pool, degree=2), n_events=1000, seed=3)
        truths = [round(0.1 * k, 1) + 0.0 for k in range(-3, 4)]
        ensembles = toys.scan([model], truths, n_toys, client=client)[model.name]
    calibration = mil.calibrate(ensembles)
    print(f"{model!r}\nc_cicc = {calibration.scale:.2f} ± {calibration.scale_error:.2f}")


if __name__ == "__main__":
    main()
