"""What a call of the cost costs, by the model behind it, for 1000 events and for a million.

python benchmarks/cost.py [--quick]

The reference is the same likelihood written down plainly: ln r of every event at every call.  The
last line on standard output is one line of JSON: microseconds of a value and of a gradient,
milliseconds of MIGRAD and MINOS, and of a call with a million events; the largest error of the
value between the points against the plain sum, relative to Λ.
"""

from __future__ import annotations

import argparse
import json
import time
import timeit
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from iminuit import Minuit
from quick_size import parse, small

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.oracle import reweight_coefficients

POINTS = [{"c1": float(v)} for v in np.linspace(-1, 1, 9)]
THETA = np.linspace(-0.3, 0.3, 61)
QUICK = {"train": 3000, "many": 20_000, "toys": 100, "seconds": 0.002}


def microseconds(call: Callable[[], Any], seconds: float) -> float:
    """Best of five means."""
    timer = timeit.Timer(call)
    number = max(1, int(seconds / timer.timeit(1)))
    return min(timer.repeat(5, number)) / number * 1e6


def measure(cost: Any, seconds: float) -> dict[str, float]:
    t = timeit.default_timer()
    cost(0.05)
    first = timeit.default_timer() - t

    def fit() -> Minuit:
        return Minuit(cost, c1=0.0).migrad().minos()

    t = timeit.default_timer()
    m = fit()
    fresh = timeit.default_timer() - t
    assert m.valid, m
    return {
        "call_us": microseconds(lambda: cost(0.0512), seconds),
        "grad_us": microseconds(lambda: cost.grad(0.0512), seconds),
        "first_call_ms": first * 1e3,
        "first_migrad_minos_ms": fresh * 1e3,
        "migrad_minos_ms": microseconds(fit, seconds) / 1e3,
    }


class Plain:
    """−2 Σ ln r at every call, from the exact polynomial of every event."""

    def __init__(self, data: mil.Sample, total: np.ndarray) -> None:
        self._events, self._total = reweight_coefficients(data, "c1", 2), total

    def __call__(self, theta: float) -> float:
        powers = theta ** np.arange(3)
        at = np.log(self._events @ powers) - np.log(self._total @ powers)
        return float(-2 * np.sum(at - np.log(self._events[:, 0]) + np.log(self._total[0])))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=10_000, help="training events a point")
    parser.add_argument("--many", type=int, default=1_000_000, help="events of the large dataset")
    parser.add_argument("--toys", type=int, default=500, help="for each truth, to calibrate")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each timing")
    args = parse(parser, QUICK, arguments)
    start = time.perf_counter()
    samples = quadratic.samples(args.train, POINTS, seed=1)
    # Events of their own: toys of training events calibrate nothing, and are no data.
    pool = mil.EventPool(quadratic.samples(args.train, POINTS, seed=5), degree=2)
    oracle = mil.Oracle.from_sample(samples[4], "c1", np.linspace(-1, 1, 41), degree=2)
    steps = {
        "network": NetworkConfig((32, 32)),
        "training": TrainingConfig(epochs=20, batch_events=5000),
    }
    smooth = {
        "network": NetworkConfig((32, 32), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        "training": TrainingConfig(5, 2048, 2e-3, 2e-5, schedule="cosine"),
    }
    models: dict[str, Any] = {"oracle": oracle}
    networks = {
        "polynomial": mil.BagLikelihood(
            head="polynomial", labels="joint", order=1, seed=1, **smooth
        ),
        "multiclass": mil.BagLikelihood(head="multiclass", bag_size=50, seed=1, **steps),
    }
    for name, network in networks.items():
        models[name] = small(network, args.quick, learns=True).fit(samples)
    data = mil.Toys(pool, n_events=1000, seed=2).dataset({"c1": 0.05}).as_data()
    n_many = args.many
    many = mil.Toys(pool, n_events=n_many, seed=3).dataset({"c1": 0.05}).as_data()
    rate = mil.Rate.from_samples(samples, luminosity=1.0, degree=2)
    truths = [-0.2, -0.1, 0.0, 0.1, 0.2]
    rows: dict[str, Any] = {}
    for name, model in models.items():
        cost = dataset_cost(model, data, reference=0.0)
        toys = mil.Toys(pool, n_events=1000, seed=4).scan([model], truths, args.toys)[model.name]
        rows[name] = {
            "plain": measure(cost, args.seconds),
            "with_rate": measure(dataset_cost(model, data, reference=0.0, rate=rate), args.seconds),
            "calibrated": measure(mil.calibrate(toys)(cost), args.seconds),
        }
        t = time.perf_counter()
        cost = dataset_cost(model, many, reference=0.0)
        made = time.perf_counter() - t
        rows[name]["many"] = {"n_events": n_many, "made_s": made, **measure(cost, args.seconds)}
    reference = Plain(data, oracle.total)
    exact = np.array([reference(t) for t in THETA])
    found = np.array([dataset_cost(oracle, data, reference=0.0)(t) for t in THETA])
    many_reference = Plain(many, oracle.total)
    worst = {key: max(rows[name]["plain"][key] for name in rows) for key in ("call_us", "grad_us")}
    kinds = ("plain", "with_rate", "calibrated")
    print(
        json.dumps(
            {
                **worst,
                "migrad_minos_ms": max(
                    rows[n][k]["first_migrad_minos_ms"] for n in rows for k in kinds
                ),
                "million_events_ms": max(rows[n]["many"]["call_us"] for n in rows) / 1e3,
                "ratio_plain": microseconds(lambda: reference(0.0512), args.seconds)
                / rows["oracle"]["plain"]["call_us"],
                "ratio_plain_many": microseconds(lambda: many_reference(0.0512), args.seconds)
                / rows["oracle"]["many"]["call_us"],
                "error": float(np.abs(found - exact).max() / np.abs(exact).max()),
                "rows": rows,
                "seconds": time.perf_counter() - start,
            }
        )
    )


if __name__ == "__main__":
    main()
