"""Pseudo-experiments per second, with the maximum-likelihood fit and the profile test statistic.

python benchmarks/toys.py [--quick]

Toys have 1000 events of vbf_hww, drawn from simulated events that are reweighted to the truth.
There are two references, measured in the same run.  The first evaluates the network for the events
of every toy (`model.predict`) and fits a parabola through the highest points; `agreement` is the
largest difference of Λ at the points on the same toys.  The second fits toys of a pyhf model with
20 bins, with a free fit and a fit at a fixed parameter.  The last line on standard output is
one line of JSON.  Rates are for a process bound to one core; belts are made on two.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from quick_size import parse, small
from vbf_samples import vbf_sample

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig

VALUES = (-0.5, -0.25, 0.0, 0.25, 0.5)
TRUTH, N_EVENTS, WINDOW = 0.1, 1000, 0.5
QUICK = {
    "events": 1000,
    "toys": 200,
    "reference_toys": 2,
    "belt_truths": 5,
    "workers": 1,
}


def by_predict(model: mil.BagLikelihood, toys: mil.Toys, n_toys: int) -> tuple[np.ndarray, float]:
    """Λ at the points by the network on every toy, (n_toys, K), and seconds a toy."""
    ((network,),) = model.fitted.members
    bag_model = network.keras.bag_model
    grid, size = model.fitted.grid, model.events_in_bag
    k0 = model.fitted.reference_index
    values, seconds = [], 0.0
    for number in range(n_toys):
        events = toys.dataset({"c_HW": TRUTH}, number).features
        start = time.perf_counter()
        logits = bag_model.predict(events.reshape(-1, size, events.shape[1]), verbose=0)
        llr = (logits - logits[:, k0 : k0 + 1]).astype(np.float64).sum(axis=0)
        near = np.abs(grid - grid[np.argmax(llr)]) <= WINDOW
        a, b, c = np.polyfit(grid[near], llr[near], 2)
        theta = -b / (2 * a)
        q = 2 * (np.polyval((a, b, c), theta) - np.polyval((a, b, c), TRUTH))
        assert np.isfinite(q)
        seconds += time.perf_counter() - start
        values.append(llr)
    return np.array(values), seconds / n_toys


def by_pyhf(n_toys: int) -> float:
    """Seconds a toy."""
    import pyhf

    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    rng = np.random.default_rng(1)
    signal = 50 + 30 * np.sin(np.linspace(0, 3, 20))
    background = 40 + 10 * rng.uniform(size=20)
    model = pyhf.simplemodels.uncorrelated_background(
        signal.tolist(), background.tolist(), (0.05 * background).tolist()
    )
    pars = np.array(model.config.suggested_init())
    sampled = model.make_pdf(pars).sample((n_toys,))
    start = time.perf_counter()
    for toy in sampled:
        _, best = pyhf.infer.mle.fit(toy, model, return_fitted_val=True)
        _, fixed = pyhf.infer.mle.fixed_poi_fit(1.0, toy, model, return_fitted_val=True)
        assert fixed - best > -1e-3
    return (time.perf_counter() - start) / n_toys


def ours(model: Any, toys: mil.Toys, n_toys: int) -> tuple[mil.ToyEnsemble, dict[str, float]]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # all threads on one core
    try:
        start = time.perf_counter()
        ensemble = toys.run([model], TRUTH, n_toys)[model.name]
        q = ensemble.test_statistic(TRUTH)
        assert np.isfinite(ensemble.theta_hat).all()
        assert np.isfinite(q).all()
        seconds = time.perf_counter() - start
    finally:
        os.sched_setaffinity(0, cores)
    return ensemble, {
        "points": ensemble.values.shape[1],
        "us_per_toy": seconds / n_toys * 1e6,
        "toys_per_s_per_core": n_toys / seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events",
        type=int,
        default=10_000,
        help="training events, and events for toys, at each point",
    )
    parser.add_argument("--toys", type=int, default=10_000)
    parser.add_argument(
        "--reference-toys", type=int, default=40, help="toys by model.predict and by pyhf"
    )
    parser.add_argument("--belt-truths", type=int, default=41, help="true values of the belt")
    parser.add_argument("--workers", type=int, default=2)
    args = parse(parser, QUICK, arguments)
    begin = time.perf_counter()
    train, evaluation = (
        mil.SampleSet(
            tuple(
                vbf_sample(vbf_hww.generate(args.events, {"c_HW": v}, seed=10 * s + k), v)
                for k, v in enumerate(VALUES)
            )
        )
        for s in (1, 2)
    )
    quick = TrainingConfig(epochs=10)
    smooth = TrainingConfig(4, 2048, 2e-3, 2e-5, schedule="cosine")
    plain = NetworkConfig()
    networks = {
        # Without normalisation, because the reference adds up the outputs of the network.
        "multiclass": mil.BagLikelihood(
            head="multiclass",
            bag_size=50,
            normalise=False,
            seed=1,
            network=plain,
            training=quick,
        ),
        "polynomial": mil.BagLikelihood(head="polynomial", labels="joint", seed=1, training=smooth),
        "attention": mil.BagLikelihood(
            head="multiclass", bag_size=50, pooling="attention", seed=1, training=quick
        ),
    }
    models = {n: small(network, args.quick).fit(train) for n, network in networks.items()}
    pool = mil.EventPool(evaluation, degree=4)
    toys = mil.Toys(pool, n_events=N_EVENTS, seed=3)
    n_toys = args.toys
    rows: dict[str, Any] = {}
    for name, model in models.items():
        ours(model, toys, 100)
        ensemble, rows[name] = ours(model, toys, n_toys)
        if name == "multiclass":
            values, reference = by_predict(model, toys, args.reference_toys)
            agreement = float(np.abs(values - ensemble.values[: args.reference_toys]).max())
    pyhf_seconds = by_pyhf(args.reference_toys)
    truths = np.linspace(-0.3, 0.3, args.belt_truths).tolist()
    for name in ("multiclass", "polynomial"):
        start = time.perf_counter()
        scan = toys.scan([models[name]], truths, n_toys, workers=args.workers)[models[name].name]
        belt = mil.neyman(scan, cl=0.6827)
        middle = scan[len(scan) // 2]
        interval = belt.interval(middle.interpolation.surface(middle.values[0]))
        assert interval.intervals
        rows[name]["belt_seconds"] = time.perf_counter() - start
    first = rows["multiclass"]
    print(
        json.dumps(
            {
                "ratio_predict": reference * 1e6 / first["us_per_toy"],
                "ratio_pyhf": pyhf_seconds * 1e6 / first["us_per_toy"],
                "toys_per_s_per_core": min(
                    rows[n]["toys_per_s_per_core"] for n in ("multiclass", "polynomial")
                ),
                "belt_seconds": max(rows[n]["belt_seconds"] for n in ("multiclass", "polynomial")),
                "predict_ms": reference * 1e3,
                "pyhf_ms": pyhf_seconds * 1e3,
                "agreement": agreement,
                "n_toys": n_toys,
                "pool_events": sum(len(s) for s in evaluation),
                "rows": rows,
                "seconds": time.perf_counter() - begin,
            }
        )
    )


if __name__ == "__main__":
    main()
