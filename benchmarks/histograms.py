"""How good is the best histogram, and how much of that do common ways to make it lose?

The score of a network at the standard model is histogrammed in several ways, and all of them are
measured on the same toys as the network itself:

* ``weighted``: bins of most information chosen on the events that the network was trained on,
  filled by other events, each at every value of c_HW through its weights;
* ``weighted, own edges``: the same, but the bins are chosen on the events that fill them;
* ``weighted quantiles``: bins of equal content;
* ``morphed`` and ``morphed, own edges``: each sample fills its own value, and a polynomial is
  fitted through the samples.

python benchmarks/histograms.py [--events 10000 2000] [--toys 2000] [--quick]

The last line on standard output is one line of JSON.  For each number of simulated events a point,
half of which train the network and half fill the histograms, it has of every method I_eff over that
of the network, the response, and the coverage of the asymptotic 68.27 % interval at nine values;
of ``weighted`` also the coverage by histograms that are filled anew, and how long it takes to
choose the bins of 200 000 events and to fill them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
from quick_size import parse, small
from vbf_samples import vbf_sample

import milinfer as mil
from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.binning import fisher_bins
from milinfer.datasets import vbf_hww
from milinfer.exceptions import MilinferError, MilinferWarning
from milinfer.intervals.coverage import coverage
from milinfer.intervals.information import information, information_ratios
from milinfer.likelihood.observables import score_observable
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.pool import EventPool

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TRUTHS = tuple(float(v) + 0.0 for v in np.linspace(-0.4, 0.4, 9).round(1))
AT = {"c_HW": 0.0}
GRID = Interpolation(np.linspace(-1, 1, 81), "spline")
CL = 0.6827
QUICK = {"events": [2000], "toys": 100, "pool": 4000, "fillings": 2, "bins": 6, "timed": 2000}


def samples(n_events: int, seed: int, points: Sequence[float] = POINTS) -> mil.SampleSet:
    seeds = np.random.SeedSequence(seed).generate_state(len(points))
    return mil.SampleSet(
        tuple(
            vbf_sample(vbf_hww.generate(n_events, {"c_HW": v}, seed=int(s)), v)
            for v, s in zip(points, seeds, strict=True)
        )
    )


def fill(filling, choosing, observable, bins, weight_degree):
    """Templates of the score; with `choosing` None the bins are quantiles."""
    edges = bins
    if choosing is not None:
        # As a plain array, so that the ways that are refused can be measured too.
        edges = np.asarray(
            fisher_bins(choosing, observable, bins, AT, degree=4, weight_degree=weight_degree)
        )
    return mil.Templates.from_samples(
        filling, observable, bins=edges, degree=4, weight_degree=weight_degree
    )


def make(name, templates):
    return BinnedLLR(name, templates, "c_HW", GRID)


def histograms(train, rest, observable, bins):
    """Every histogram that can be made of these events, and why others cannot."""
    ways = {
        "weighted": (train, 4),
        "weighted, own edges": (rest, 4),
        "weighted quantiles": (None, 4),
        "morphed": (train, None),
        "morphed, own edges": (rest, None),
    }
    models, failures = [], {}
    for name, (choosing, degree) in ways.items():
        try:
            models.append(make(name, fill(rest, choosing, observable, bins, degree)))
        except MilinferError as error:
            failures[name] = str(error)
    return models, failures


def measure(n_events: int, evaluation: EventPool, options: argparse.Namespace) -> dict:
    """Figures of all methods for a number of simulated events a point."""
    train, rest = samples(n_events, 11).split([0.5, 0.5], seed=12)
    model = mil.BagLikelihood(head="polynomial", labels="joint", seed=1)
    network = small(model, options.quick).fit(train)
    observable = score_observable(network, 0.0)
    models, failures = histograms(train, rest, observable, options.bins)
    toys = mil.Toys(evaluation, 1000, seed=32).scan(
        [network, *models], TRUTHS, options.toys, workers=options.workers
    )
    at_zero = TRUTHS.index(0.0)
    ordered = {name: [e[at_zero], *e] for name, e in toys.items()}
    figures: dict[str, dict] = {}
    for ratio in information_ratios(ordered, network.name, n_bootstrap=50):
        own = information(ordered[ratio.name][0], ordered[ratio.name], n_bootstrap=2)
        rows = [coverage(e, None, CL, warn_of_pool=False) for e in toys[ratio.name]]
        figures[ratio.name] = {
            "info_eff": own.info_eff,
            "info_eff_error": own.info_eff_error,
            "info_over_network": ratio.ratio,
            "info_over_network_error": ratio.error,
            "response": own.response,
            "response_error": own.response_error,
            "coverage": [row.coverage for row in rows],
            "coverage_error": [row.error for row in rows],
            "coverage_pool_error": [row.pool_error for row in rows],
        }
        print(n_events, ratio.name, figures[ratio.name], file=sys.stderr)
    refilled = filled_anew(n_events // 2, train, observable, evaluation, options)
    return {"methods": figures, "not_available": failures, "filled_anew": refilled}


def filled_anew(n_events, train, observable, evaluation, options) -> dict:
    """Coverage at 0 of histograms filled with other events each time, with the same bins.

    Toys of one histogram say how it covers; the mean over histograms says what an analysis can
    expect that has not made its histogram yet, and the scatter how much they differ.
    """
    rows = []
    for k in range(options.fillings):
        templates = fill(samples(n_events, 100 + k), train, observable, options.bins, 4)
        toys = mil.Toys(evaluation, 1000, seed=50 + k).run(
            [make("weighted", templates)], 0.0, options.toys
        )
        rows.append(coverage(toys["weighted"], None, CL, warn_of_pool=False).coverage)
    return {
        "n": len(rows),
        "coverage": float(np.mean(rows)),
        "coverage_error": float(np.std(rows, ddof=1) / np.sqrt(len(rows))),
        "scatter": float(np.std(rows, ddof=1)),
    }


def seconds(n_events: int, bins: int) -> float:
    """Time to choose bins on events and to fill them with others, degree 4."""
    first, second = (samples(n_events // len(POINTS), seed) for seed in (71, 72))
    observable = first.feature_names[0]
    start = time.perf_counter()
    edges = fisher_bins(first, observable, bins, AT, weight_degree=4)
    mil.Templates.from_samples(second, observable, bins=edges, weight_degree=4)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 2000], help="a point")
    parser.add_argument("--toys", type=int, default=2000, help="for each truth")
    parser.add_argument("--pool", type=int, default=500_000, help="events that measure")
    parser.add_argument("--bins", type=int, default=20)
    parser.add_argument("--fillings", type=int, default=20, help="histograms that are filled anew")
    parser.add_argument("--timed", type=int, default=200_000, help="events to fill in time")
    parser.add_argument("--workers", type=int, default=1)
    options = parse(parser, QUICK, arguments)
    # Poor bins are part of what is measured.
    warnings.simplefilter("ignore", MilinferWarning)
    evaluation = EventPool(samples(options.pool // len(POINTS), 22), 4)
    rows = {str(n): measure(n, evaluation, options) for n in options.events}
    figures = {"rows": rows, "truths": TRUTHS, "seconds": seconds(options.timed, options.bins)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
