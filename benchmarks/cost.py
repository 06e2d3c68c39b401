"""Time of a call of the cost, for different models, with 1000 events and with a million.

python benchmarks/cost.py [--quick]

The reference is a plain implementation of the same likelihood, which computes ln r of every event
at every call.  The last line on standard output is one line of JSON.  It has the time of a value
and of a gradient in microseconds, of MIGRAD, of MINOS and of a call with a million events in
milliseconds,
and the largest error of the value between the training points, compared with the plain sum and
relative to the log-likelihood ratio Λ.

``several`` is about the exact ratio of the quadratic problem in several parameters; with degree 4
it is a product of two quadratics, as for production and decay.  In a range ("box") of the
parameters the sum over events is replaced by a polynomial.  By number of parameters and degree, and
then by number of events, there are

* ``call_us`` and ``grad_us``, for compressed boxes; ``summed_call_us`` and ``summed_grad_us``, if
  all events are summed; ``plain_us`` and ``plain_grad_us``, for numpy: microseconds of a value and
  of a gradient;
* ``box_ms``, the time to compress a box, and ``calls_to_box``, the number of calls before that
  (zero for few events, for which no box is made);
* ``migrad_ms``, the time of MIGRAD with a new cost, and ``calls``, the number of calls in it;
* ``error``, the largest deviation of values from numpy (relative if they are above one) and of
  gradients (relative), and ``bound``, the proven bound on the error of the boxes.
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
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.oracle import reweight_coefficients
from milinfer.likelihood.surface_box import UntabulatedBox
from milinfer.samples.reweighting import reweight_polynomial
from milinfer.utils.polynomials import PolynomialBasis

POINTS = [{"c1": float(v)} for v in np.linspace(-1, 1, 9)]
THETA = np.linspace(-0.3, 0.3, 61)
# With more events to train on there are over 300 steps, which XLA would compile.
QUICK = {"train": 2000, "many": 30_000, "toys": 100, "seconds": 0.002}


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def microseconds(call: Callable[[], Any], seconds: float, clock: str = "wall") -> float:
    """Best of five means."""
    timer = timeit.Timer(call, timer=CLOCKS[clock])
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


def event_polynomials(n: int, degree: int, n_events: int) -> tuple[PolynomialBasis, np.ndarray]:
    """Ratio of each event and, last, its mean, as polynomials in n parameters."""
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    basis = PolynomialBasis(tuple(zero), degree)
    square = PolynomialBasis(basis.parameters, 2)
    one, *others = (
        reweight_polynomial(quadratic.generate(n_events, zero, seed=seed), square)
        for seed in range(degree // 2)
    )
    if not others:
        rows = one
    else:
        rows = np.zeros((n_events, len(basis)))
        places = {tuple(e): k for k, e in enumerate(basis.exponents.tolist())}
        for j, k in np.ndindex(len(square), len(square)):
            exponents = square.exponents[j] + square.exponents[k]
            rows[:, places[tuple(exponents.tolist())]] += one[:, j] * others[0][:, k]
    return basis, np.concatenate([rows, rows.mean(axis=0, keepdims=True)])


def measure_several(
    n: int, degree: int, n_events: int, seconds: float, clock: str
) -> dict[str, float]:
    """Cost of the exact ratio in several parameters, against numpy."""
    now = CLOCKS[clock]
    basis, rows = event_polynomials(n, degree, n_events)
    weights = np.append(np.ones(n_events), -float(n_events))
    ends = np.ones(n)

    def new() -> tuple[LogPolynomials, mil.LikelihoodCost]:
        exact = LogPolynomials(basis, 0 * ends, ends, rows, weights, -ends, ends, 0 * ends)
        surface = UntabulatedBox(-ends, ends).exact_surface(exact)
        return exact, mil.LikelihoodCost(surface, basis.parameters, n_events=n_events)

    at_zero = weights @ np.log(rows[:, 0])

    def plain(*theta: float) -> float:
        return float(-2 * (weights @ np.log(rows @ basis.design(theta)[0]) - at_zero))

    def plain_grad(*theta: float) -> np.ndarray:
        at = rows @ basis.design(theta)[0]
        return -2 * (weights / at) @ (rows @ basis.design_gradient(theta).T)

    point = (0.3 / np.sqrt(n_events) * (-1.0) ** np.arange(n)).tolist()
    sums, cost = new()
    cost(*point)
    few: dict[str, float] = {"box_ms": 0.0, "calls_to_box": 0.0}
    # A new cost sums all events; each call below is one of a new cost, or of few events.
    fresh = [new()[1] for _ in range(5)] if sums.bound else [cost]
    for each in fresh:
        each(*point)
    summed = {
        "summed_call_us": min(microseconds(lambda c=c: c(*point), 0.0, clock) for c in fresh),
        "summed_grad_us": min(microseconds(lambda c=c: c.grad(*point), 0.0, clock) for c in fresh),
    }
    errors = [abs(cost(*point) - plain(*point)) / max(1.0, abs(plain(*point)))]
    while sums.bound and not few["box_ms"]:
        start = now()
        cost(*point)
        elapsed = 1e3 * (now() - start)
        few["calls_to_box"] += 1
        if sums.n_boxes:
            few["box_ms"] = elapsed
    errors += [
        abs(cost(*point) - plain(*point)) / max(1.0, abs(plain(*point))),
        float(np.abs(cost.grad(*point) - plain_grad(*point)).max())
        / float(np.abs(plain_grad(*point)).max()),
    ]
    figures = {
        "call_us": microseconds(lambda: cost(*point), seconds, clock),
        "grad_us": microseconds(lambda: cost.grad(*point), seconds, clock),
        **(summed if sums.bound else {}),
        "plain_us": microseconds(lambda: plain(*point), seconds, clock),
        "plain_grad_us": microseconds(lambda: plain_grad(*point), seconds, clock),
    }
    fit = Minuit(new()[1], *[0.0] * n, name=basis.parameters)
    start = now()
    fit.migrad()
    assert fit.valid, fit
    return {
        "monomials": len(basis),
        **figures,
        **few,
        "migrad_ms": 1e3 * (now() - start),
        "calls": fit.nfcn + fit.ngrad,
        "error": max(errors),
        "bound": sums.bound,
    }


def all_several(n_many: int, seconds: float, clock: str) -> dict[str, dict[str, Any]]:
    """Each problem in several parameters, by parameters and degree, and by events."""
    several: dict[str, dict[str, Any]] = {}
    sizes = [(2, 2, 10_000), (2, 2, n_many), (2, 4, 10_000), (2, 4, n_many)]
    for n, degree, n_events in [*sizes, (5, 2, 1000), (10, 2, 1000)]:
        of_kind = several.setdefault(f"{n} parameters, degree {degree}", {})
        of_kind[str(n_events)] = measure_several(n, degree, n_events, seconds, clock)
    return several


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--train", type=int, default=10_000, help="training events at each parameter point"
    )
    parser.add_argument("--many", type=int, default=1_000_000, help="events in the large dataset")
    parser.add_argument("--toys", type=int, default=500, help="calibration toys at each true value")
    parser.add_argument("--seconds", type=float, default=0.2, help="seconds for each timing")
    parser.add_argument(
        "--several",
        action="store_true",
        help="measure only several parameters (the entry 'several' of the result)",
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="clock for several parameters; use cpu if other programs run at the same time",
    )
    args = parse(parser, QUICK, arguments)
    start = time.perf_counter()
    several = all_several(args.many, args.seconds, args.clock)
    if args.several:
        print(
            json.dumps(
                {
                    "several": several,
                    "several_clock": args.clock,
                    "seconds": time.perf_counter() - start,
                }
            )
        )
        return
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
                "several": several,
                "several_clock": args.clock,
                "seconds": time.perf_counter() - start,
            }
        )
    )


if __name__ == "__main__":
    main()
