"""Answers to questions of a statistics committee about a fit, as numbers.

Goodness of fit for vbf_hww: a network learns the log-likelihood ratio Λ(c_HW).  Datasets are
simulated at c_HW = 0.1 and fitted.  :func:`milinfer.diagnostics.goodness_of_fit` tests each dataset
against simulated events, which event weights reweight to the fit.  There are three kinds of
datasets:

* ``as simulated``: the p-values have to be uniform (Kolmogorov-Smirnov test);
* ``jet scale +2 %``: jets in the data have 2 % more energy, which the model does not contain;
* ``background 5 %``: 5 % of the data events are from an unknown process, whose events combine the
  leptons and the jets of different VBF events at c_HW = 0.

No two datasets share events, and the datasets are compared with several independent simulations in
turn: datasets or a simulation in common would move all p-values together.  For each kind,
``goodness_of_fit`` has the fraction of datasets with p < 5 %, for every test and for all tests
together, with its binomial error.

``expected`` tests Asimov data, with Gaussian events and an uncertain background and trigger
efficiency.  It has the largest slope of −2 ln L at the point for which the Asimov data were made,
the width of their interval divided by the width of the median toy, and profiled toys per second of
CPU time.  ``impacts`` has the quadratic sum of the statistical and the systematic error divided by
the total error, and the largest difference to cabinetry in the ranking of a template fit, in units
of the error.

The last line on standard output is one line of JSON.

python benchmarks/committee.py [--events 40000] [--datasets 200] [--simulations 10] [--toys 1000]
                               [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from bars import short
from iminuit.cost import NormalConstraint
from quick_size import parse, small
from scipy.stats import kstest

import milinfer as mil
from milinfer.datasets import gaussian, gaussian_systematics, vbf_hww_systematics
from milinfer.diagnostics.fit_tests import goodness_of_fit
from milinfer.exceptions import MilinferError, MilinferWarning
from milinfer.likelihood.asimov import asimov_cost

QUICK = {"events": 500, "datasets": 2, "simulations": 2, "toys": 50, "data": 200, "repeats": 1}
POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TRUTH = 0.1
SIZE = 0.05
# jet_scale = 1 is 3 %
# Simulated samples come with variations; one of weights alone costs nothing.
CHEAP = ({"theory": 1.0},)
TWO_PERCENT = {"jet_scale": 2.0 / 3.0}


def message(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def sample_of(
    options: argparse.Namespace, value: float, seed: int, nuisances: dict[str, float] | None = None
) -> mil.Sample:
    """Selected events at a value of c_HW, enough for all datasets of a kind."""
    events = vbf_hww_systematics.generate(
        options.datasets * options.data,
        {"c_HW": value},
        nuisances,
        seed=seed,
        workers=options.workers,
    )
    return events.to_sample("vbf_2l2j")


def unknown(sample: mil.Sample, rng: np.random.Generator) -> mil.Sample:
    """Events whose leptons and jets are of different events."""
    features = np.array(sample.features)
    of_leptons = [k for k, name in enumerate(sample.feature_names) if "q" not in name]
    features[:, of_leptons] = features[rng.permutation(len(features))][:, of_leptons]
    return replace(sample, features=features)


def expected_results(options: argparse.Namespace) -> dict[str, float]:
    """Asimov data of a likelihood with nuisance parameters, beside toys."""

    def density_ratio(sample: mil.Sample) -> np.ndarray:
        return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)

    terms = mil.systematic_terms(
        gaussian.MeanModel(),
        rate=800.0,
        responses={},
        reference=0.0,
        backgrounds={"top": (density_ratio, 200.0)},
        norm_constraints={"top": 0.2},
        uncertainties=[mil.NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})],
    )
    signal = gaussian.generate(40_000, 0.0, seed=31)
    top = mil.Sample(gaussian.generate(10_000, 2.0, seed=32).features, ("x0",), process="top")
    processes = {"signal": signal, "top": top}
    asimov = asimov_cost(terms, processes, mu=0.1, trigger=0.5)
    point = {"mu": 0.1, "top_norm": 1.0, "trigger": 0.5}
    slopes = asimov.grad(*(point[name] for name in terms.names))
    toys = mil.Toys(
        mil.SampleSet((signal,)),
        800,
        seed=33,
        poisson=True,
        background=(mil.Background(top, 200.0),),
    )
    toys.run([mil.ProfiledSystematics(terms)], 0.0, 10)  # compiles
    start = time.process_time()
    ensemble = toys.run([mil.ProfiledSystematics(terms)], 0.0, options.toys)["profiled"]
    seconds = time.process_time() - start
    expected = mil.intervals.expected_interval(ensemble, asimov_cost(terms, processes))
    return {
        "largest_slope_at_the_point": float(np.max(np.abs(slopes))),
        "width_over_median_toy": expected.width / float(expected.widths[2]),
        "profiled_toys_per_second": options.toys / seconds,
    }


def impact_results() -> dict[str, float]:
    """Parts of an error, and a ranking beside that of cabinetry."""
    import cabinetry
    import pyhf

    data = gaussian_systematics.dataset(0.1, signal=2000, background=400, seed=1)
    cost = gaussian_systematics.GaussianCost(data, signal=2000, background=400, constrained=False)
    names = ["shift", "width", "rate", "background_norm"]
    constraint = NormalConstraint(names, [0, 0, 0, 1], [1, 1, 1, 0.1])
    impacts = mil.intervals.nuisance_impacts(cost + constraint, "mu")
    parts = {part.name: part.error for part in impacts.breakdown()}
    quadrature = float(np.hypot(parts["statistical"], parts["systematic"]))
    shifts = {"lo_data": [95.0, 92.0], "hi_data": [105.0, 87.0]}
    modifiers = [
        {"name": "xs", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
        {"name": "jes", "type": "histosys", "data": shifts},
        {"name": "stat", "type": "staterror", "data": [4.0, 3.0]},
    ]
    strength = [{"name": "mu", "type": "normfactor", "data": None}]
    samples = [
        {"name": "s", "data": [10.0, 40.0], "modifiers": strength},
        {"name": "b", "data": [100.0, 90.0], "modifiers": modifiers},
    ]
    model = pyhf.Model({"channels": [{"name": "SR", "samples": samples}]}, poi_name="mu")
    template = mil.PyhfCost(model, [108.0, 133.0])
    of_template = mil.intervals.nuisance_impacts(template, "mu", kinds=["prefit", "postfit"])
    ours = of_template.to_cabinetry()
    theirs = cabinetry.fit.ranking(model, template.data.tolist(), custom_fit=True, tolerance=1e-4)
    away = [
        np.max(np.abs(getattr(ours, name) - getattr(theirs, name)))
        for name in ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
    ]
    return {
        "quadrature_over_whole": quadrature / parts["total"],
        "ranking_to_cabinetry": float(np.max(away)) / float(of_template.errors[0]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, simulate, fit and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events", type=int, default=40_000, help="simulated events at each parameter point"
    )
    parser.add_argument("--data", type=int, default=1000, help="events in a dataset")
    parser.add_argument("--datasets", type=int, default=200, help="number of datasets of each kind")
    parser.add_argument(
        "--simulations",
        type=int,
        default=10,
        help="number of independent simulations, each with these events",
    )
    parser.add_argument("--toys", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    begin = time.process_time()
    process = vbf_hww_systematics.variations(
        options.events, POINTS, CHEAP, seed=21, features="vbf_2l2j", workers=options.workers
    )
    model = small(mil.BagLikelihood(head="polynomial", labels="joint", seed=1), options.quick)
    model = model.fit(process.nominal)
    message(f"trained: {time.process_time() - begin:.0f} s of CPU")
    simulations = [
        vbf_hww_systematics.variations(
            options.events, POINTS, CHEAP, seed=100 + k, features="vbf_2l2j",
            workers=options.workers,
        ).nominal
        for k in range(options.simulations)
    ]  # fmt: skip
    message(f"simulated: {time.process_time() - begin:.0f} s of CPU")
    rng = np.random.default_rng(23)
    true = sample_of(options, TRUTH, 24)
    moved = sample_of(options, TRUTH, 25, TWO_PERCENT)
    other = unknown(sample_of(options, 0.0, 26), rng)

    def part(sample: mil.Sample, k: int, n: int) -> mil.Sample:
        return sample.take(slice(k * options.data, k * options.data + n)).as_data()

    def mixed(k: int) -> mil.Sample:
        n = int(rng.binomial(options.data, 0.05))
        parts = part(true, k, options.data - n), part(other, k, n)
        return mil.Sample(
            np.concatenate([p.features for p in parts]), parts[0].feature_names
        ).as_data()

    cases: dict[str, Callable[[int], mil.Sample]] = {
        "as simulated": lambda k: part(true, k, options.data),
        "jet scale +2 %": lambda k: part(moved, k, options.data),
        "background 5 %": mixed,
    }
    figures: dict[str, dict[str, object]] = {}
    for name, make in cases.items():
        p_values: dict[str, list[float]] = {}
        failed = 0
        for k in range(options.datasets):
            data = make(k)
            simulation = simulations[k % options.simulations]
            try:
                result = goodness_of_fit(
                    model, data, simulation, degree=4, n_toys=options.toys, seed=k
                )
            except MilinferError as error:
                message(f"{name}: {error}")
                failed += 1
                continue
            p_values.setdefault("all tests", []).append(result.p_value)
            for test in result.tests:
                p_values.setdefault(test.name, []).append(test.p_value)
        figures[name] = {"datasets": options.datasets, "failed": failed, "tests": {}}
        for test_name, values in p_values.items():
            share = float(np.mean(np.array(values) < SIZE))
            figures[name]["tests"][test_name] = {  # type: ignore[index]
                "below_5_percent": share,
                "error": float(np.sqrt(share * (1 - share) / len(values))),
                "uniform_p_value": float(kstest(values, "uniform").pvalue),
            }
        message(f"{name}: {json.dumps(figures[name])}")
    message(f"{time.process_time() - begin:.0f} s of CPU")
    result = {
        "goodness_of_fit": figures,
        "expected": expected_results(options),
        "impacts": impact_results(),
    }
    print(json.dumps(result | {"short": short("committee", result)}))


if __name__ == "__main__":
    main()
