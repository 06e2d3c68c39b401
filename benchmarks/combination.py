"""Coverage of a combined fit: a learned likelihood and a pyhf channel that share a nuisance.

A network learns the log-likelihood ratio Λ(c1) of the quadratic problem from few events, so that it
needs a calibration.  The efficiency is a nuisance parameter of its events and of a counting channel
with b + s (1 + c1 + c1²) expected events.  At each of nine points (three values of c1, three of the
efficiency) toys of both channels, auxiliary measurement included, measure how often 68 % intervals
of c1 contain the truth:

* ``as trained``: the sum of both costs, profiled;
* ``calibrated``: the same, after a calibration of the sum with toys from other events;
* ``exact``: the sum with the exact ratio of the events instead of the network.

Toys for the calibration are generated at the nominal efficiency.  The last line on standard output
is one line of JSON.

python benchmarks/combination.py [--events 1500] [--toys 1000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
import pyhf
from bars import short
from quick_size import parse, small

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.exceptions import MilinferWarning
from milinfer.likelihood.models import EventModel
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.pool import EventPool

QUICK = {"events": 4000, "toys": 6, "pool": 2000, "grid": 5, "calibrate_at": [-0.3, 0.0, 0.3]}
CALIBRATE_AT = (-0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45)
TRUTHS, SHIFTS = (-0.2, 0.0, 0.2), (-1.0, 0.0, 1.0)
N_EVENTS, SIGNAL, BACKGROUND, UNCERTAINTY = 300.0, 300.0, 100.0, 0.05
CL = 0.6827


class Exact(EventModel):
    """The exact ratio, of observables."""

    name, parameters = "exact", ("c1",)
    interpolation = Interpolation(np.linspace(-1, 1, 81), "spline")

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid[:, None])


def channel() -> mil.PyhfCost:
    """One bin; the constraint of the efficiency is in the term of the events."""
    sides = {"lo": 1 - UNCERTAINTY, "hi": 1 + UNCERTAINTY}
    shared = [{"name": "efficiency", "type": "normsys", "data": sides}]
    strength = [{"name": "strength", "type": "normfactor", "data": None}]
    samples = [
        {"name": "signal", "data": [SIGNAL], "modifiers": [*shared, *strength]},
        {"name": "background", "data": [BACKGROUND], "modifiers": shared},
    ]
    model = pyhf.Model({"channels": [{"name": "SR", "samples": samples}]}, poi_name=None)
    cost = mil.PyhfCost.tied(
        model,
        [SIGNAL + BACKGROUND],
        parameters=("c1",),
        weights=lambda c: {"strength": 1 + float(c[0]) + float(c[0]) ** 2},
        limits={"c1": (-1.0, 1.0)},
        start={"c1": 0.0},
    )
    return cost.without_constraints(["efficiency"])


def combination(
    model: object, pool: mil.SampleSet, seed: int, n_points: int, shift: float = 0.0
) -> mil.CombinedToys:
    """Toys of both terms at a value of the efficiency, which moves the number of events."""
    sides = (1 - UNCERTAINTY, 1 + UNCERTAINTY)
    terms = mil.systematic_terms(
        model,
        rate=N_EVENTS,
        responses={},
        reference=0.0,
        uncertainties=[mil.NormalisationUncertainty("efficiency", {"signal": sides})],
    )
    growth = (sides[1] if shift > 0 else 1 / sides[0]) ** shift
    toys = mil.Toys(EventPool(pool, 2), n_events=N_EVENTS * growth, seed=seed, poisson=True)
    parts = [mil.EventTerm(terms, toys), channel()]
    grid = Interpolation(np.linspace(-0.9, 0.9, n_points), "spline")
    return mil.CombinedToys(parts, "c1", grid, seed=seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, calibrate the sum, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events", type=int, default=1500, help="training events at each parameter point"
    )
    parser.add_argument(
        "--pool", type=int, default=100_000, help="events at each point from which toys are drawn"
    )
    parser.add_argument("--toys", type=int, default=1000, help="number of toys at each point")
    parser.add_argument(
        "--grid", type=int, default=13, help="number of values of c1 at which toys are profiled"
    )
    parser.add_argument(
        "--calibrate-at",
        type=float,
        nargs="+",
        default=CALIBRATE_AT,
        help="values of c1 of the toys that calibrate",
    )
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    points = [{"c1": c} for c in (-1.0, 0.0, 1.0)]
    train, tune, test = (
        quadratic.samples(n, points, seed=seed)
        for n, seed in ((options.events, 1), (options.pool, 2), (options.pool, 3))
    )
    network = small(
        mil.BagLikelihood(head="polynomial", order=1, labels="joint", seed=1), options.quick
    )
    network = network.fit(train)
    start = time.process_time()
    calibrating = combination(network, tune, 4, options.grid).scan(
        options.calibrate_at, options.toys
    )
    calibration = mil.calibrate(calibrating, cl=CL)
    seconds = (time.process_time() - start) / (len(options.calibrate_at) * options.toys)
    rows = []
    for shift in SHIFTS:
        truths = [{"c1": c, "efficiency": shift} for c in TRUTHS]
        for name, model in (("network", network), ("exact", Exact())):
            toys = combination(model, test, 5, options.grid, shift).scan(truths, options.toys)
            methods = {"exact": None}
            if name == "network":
                methods = {"as trained": None, "calibrated": calibration}
            for ensemble in toys:
                for method, applied in methods.items():
                    found = mil.coverage(ensemble, applied, CL, name=method, warn_of_pool=False)
                    rows.append(
                        {
                            "method": method,
                            "c1": ensemble.truth,
                            "efficiency": shift,
                            "coverage": found.coverage,
                            "error": found.error,
                            "pool_error": found.pool_error,
                        }
                    )
                    print(rows[-1], file=sys.stderr, flush=True)
    record = {"rows": rows, "n_toys": options.toys, "seconds_per_toy": seconds}
    print(json.dumps(record | {"short": short("combination", record)}))


if __name__ == "__main__":
    main()
