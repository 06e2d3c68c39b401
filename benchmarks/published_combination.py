"""Coverage of combinations of two published likelihoods, which are written to folders and read.

Two channels measure c1 of the quadratic problem with different events.  They share an efficiency,
for which there is a single auxiliary measurement.  In each toy the events of both channels are
generated anew, so that no finite set of events adds an error.  Each channel publishes its
likelihood, constraint included.  ``combination_sum``, which ``milinfer combine`` uses, reads the
folders and adds the likelihoods, with the constraint only once.  At six points (three values of c1,
two of the efficiency) the toys measure how often 68 % profile intervals of c1 contain the truth,
with the binomial error:

* ``networks``: the ratios of two networks that are trained on different events;
* ``exact``: the exact ratios, for the same toys.

The last line on standard output is one line of JSON.

python benchmarks/published_combination.py [--toys 100] [--events 5000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from combination import Exact
from quick_size import parse, small

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.exceptions import FitError, MilinferWarning
from milinfer.workflow.combination_file import CombinationFile, LikelihoodSection
from milinfer.workflow.combination_inputs import combination_sum, read_input

QUICK = {"toys": 1, "events": 300}
POINTS = [{"c1": c} for c in (-1.0, 0.0, 1.0)]
TRUTHS, SHIFTS = (-0.2, 0.0, 0.2), (0.0, 1.0)
EXPECTED = {"electrons": 200.0, "muons": 300.0}
UNCERTAINTY, CL = 0.05, 0.6827
SIDES = (1 / (1 + UNCERTAINTY), 1 + UNCERTAINTY)  # interpolated exactly: (1 + u)^α


def rates() -> dict[str, mil.Rate]:
    """Expected events of each channel as functions of c1."""
    rate = mil.Rate.from_samples(quadratic.samples(1, POINTS, seed=1), luminosity=1.0, degree=2)
    return {name: rate.scaled(n / rate(c1=0.0)) for name, n in EXPECTED.items()}


def published(
    model: Any, data: mil.Sample, rate: mil.Rate, measured: float, folder: Path
) -> LikelihoodSection:
    """Folder of one channel."""
    cost = mil.systematic_cost(
        model,
        data,
        rate=rate,
        reference=0.0,
        responses={},
        uncertainties=[mil.NormalisationUncertainty("efficiency", {"signal": SIDES})],
    )
    mil.publish(cost.measuring(efficiency=measured), folder)
    return LikelihoodSection(name=folder.name, path=str(folder))


def covered(sections: Sequence[LikelihoodSection], truth: float) -> bool | None:
    """Whether the interval of the combination contains the truth; None: there is no interval."""
    file = CombinationFile(likelihood=[*sections], shared=["c1", "efficiency"])
    cost = combination_sum(file, [read_input(file, s) for s in sections]).cost
    try:
        interval = mil.profile_interval(cost, "c1", CL)
    except FitError:
        return None
    return bool(interval.low <= truth <= interval.high)


def figures(contained: Sequence[bool | None]) -> dict[str, float]:
    """Coverage with its binomial error, of all toys: one without an interval does not cover."""
    n, coverage = len(contained), sum(c is True for c in contained) / len(contained)
    return {
        "coverage": coverage,
        "error": float(np.sqrt(coverage * (1 - coverage) / n)),
        "without_interval": sum(c is None for c in contained),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, publish and combine toys, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events", type=int, default=5_000, help="training events at each parameter point"
    )
    parser.add_argument("--toys", type=int, default=100, help="toys at each of six points")
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    rate = rates()
    networks: dict[str, mil.BagLikelihood] = {}
    for seed, name in enumerate(EXPECTED, start=1):
        if options.quick and networks:  # one training is enough to see that it runs
            networks[name] = next(iter(networks.values()))
            continue
        network = mil.BagLikelihood(head="polynomial", order=1, labels="joint", seed=seed)
        train = quadratic.samples(options.events, POINTS, seed=10 + seed)
        networks[name] = small(network, options.quick).fit(train)
    methods = {"networks": networks, "exact": dict.fromkeys(EXPECTED, Exact())}
    rows, seeds = [], np.random.SeedSequence(5)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for shift in SHIFTS:
            for c in TRUTHS:
                contained: dict[str, list[bool | None]] = {name: [] for name in methods}
                for seed in seeds.spawn(options.toys):
                    rng = np.random.default_rng(seed)
                    measured = float(rng.normal(shift, 1.0))
                    events = {
                        name: quadratic.generate(
                            int(rng.poisson(rate[name](c1=c) * SIDES[1] ** shift)),
                            {"c1": c},
                            seed=int(rng.integers(2**31)),
                        )
                        for name in EXPECTED
                    }
                    for method, models in methods.items():
                        sections = [
                            published(
                                models[name],
                                sample.as_data(),
                                rate[name],
                                measured,
                                Path(folder, name),
                            )
                            for name, sample in events.items()
                        ]
                        contained[method].append(covered(sections, c))
                for method, toys in contained.items():
                    rows.append({"method": method, "c1": c, "efficiency": shift} | figures(toys))
                    print(rows[-1], file=sys.stderr, flush=True)
    seconds = (time.process_time() - start) / (len(rows) * options.toys)
    mean = {
        method: {
            "coverage": float(np.mean([r["coverage"] for r in rows if r["method"] == method])),
            # The toys of all points are independent.
            "error": float(
                np.sqrt(np.sum([r["error"] ** 2 for r in rows if r["method"] == method]))
                / (len(TRUTHS) * len(SHIFTS))
            ),
        }
        for method in methods
    }
    record = {"rows": rows, "mean": mean, "n_toys": options.toys, "seconds_per_toy": seconds}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
