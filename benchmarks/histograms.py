"""How good is the best histogram, and how much information do common ways to fill it lose?

The score of a network at the standard model is histogrammed in several ways.  All histograms are
tested on the same toys as the network:

* ``weighted``: the bins with the most information are chosen on the training events of the network,
  and filled with other events, each of which contributes at every value of c_HW through its
  weights;
* ``weighted, own edges``: the same, but the bins are chosen on the events that fill them;
* ``weighted quantiles``: bins of equal content;
* ``morphed`` and ``morphed, own edges``: each sample contributes at its own value of c_HW, and a
  polynomial is fitted through the samples.

A second problem, ``quadratic2``, has two parameters and an exactly known likelihood.  A network
learns both parameters.  Besides the exact likelihood ratio there are histograms with bins chosen on
the training events:

* ``two scores``: 8 × 8 bins of the scores of the network in both parameters;
* ``two scores, quantiles``: the same number of bins, with equal content for each score;
* ``two exact scores``: like ``two scores``, but with the exact scores;
* ``one score``: 20 bins of the score of c1 alone.

python benchmarks/histograms.py [--problems vbf_hww quadratic2] [--events 10000 2000] [--toys 2000]
                                [--quick]

The last line on standard output is one line of JSON.  For vbf_hww half of the simulated events
train the network, and half fill the histograms.  For each number of events and each method there
are the effective information I_eff divided by I_eff of the network, at c_HW = 0 and ±0.3; the
response; and the coverage of the asymptotic 68.27 % interval at nine values.  For ``weighted``
there is also the coverage of histograms that are filled with new events, and the time to choose
bins on 200 000 events and to fill them.

``two_parameters`` has results at the standard model and away from it.  For each method there are
the matrix I_eff; the root of its determinant, divided by that of the exact ratio and of the network
on the same toys; the coverage of the asymptotic 68.27 % region; and the information on c1 that the
bins expect, divided by the exact one, with c2 known and with c2 fitted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
from bars import short
from quick_size import parse, small
from vbf_samples import POINTS, vbf_samples

import milinfer as mil
from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.binning import fisher_bins
from milinfer.binned.chosen_templates import chosen_templates, score_templates
from milinfer.binned.weighted_templates import event_yields
from milinfer.datasets import quadratic
from milinfer.exceptions import MilinferError, MilinferWarning
from milinfer.intervals.coverage import coverage
from milinfer.intervals.information import (
    information,
    information_matrix,
    information_ratios,
    relative_information,
)
from milinfer.likelihood.observables import score_observable
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.pool import EventPool

TRUTHS = tuple(float(v) + 0.0 for v in np.linspace(-0.4, 0.4, 9).round(1))
AT = {"c_HW": 0.0}
AWAY = (-0.3, 0.3)
GRID = Interpolation(np.linspace(-1, 1, 81), "spline")
CL = 0.6827
QUICK = {
    "events": [1000],
    "events_2": [2000],
    "toys": 100,
    "toys_2": 50,
    "pool": 4000,
    "fillings": 2,
    "bins": 6,
    "bins_2": 4,
    "timed": 1000,
    "bootstrap": 10,
}
ZERO = {"c1": 0.0, "c2": 0.0}
CORNERS = (ZERO, *({"c1": a, "c2": b} for a in (-0.7, 0.7) for b in (-0.7, 0.7)))
PLACES = {"standard model": ZERO, "away from it": {"c1": 0.4, "c2": 0.3}}
BOX = ChebyshevBox(np.full(2, -0.7), np.full(2, 0.7), 8)


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
    train, rest = vbf_samples(n_events, 11).split([0.5, 0.5], seed=12)
    model = mil.BagLikelihood(head="polynomial", labels="joint", seed=1)
    network = small(model, options.quick).fit(train)
    observable = score_observable(network, 0.0)
    models, failures = histograms(train, rest, observable, options.bins)
    toys = mil.Toys(evaluation, 1000, seed=32).scan(
        [network, *models], TRUTHS, options.toys, workers=options.workers
    )
    figures: dict[str, dict] = {name: {} for name in toys}
    for value in (0.0, *AWAY):
        ordered = {name: [e[TRUTHS.index(value)], *e] for name, e in toys.items()}
        for ratio in information_ratios(ordered, network.name, n_bootstrap=options.bootstrap):
            own = figures[ratio.name]
            if value:
                own.setdefault("info_over_network_away", {})[str(value)] = [
                    ratio.ratio,
                    ratio.error,
                ]
            else:
                own |= {
                    "info_over_network": ratio.ratio,
                    "info_over_network_error": ratio.error,
                    **at_zero(ordered[ratio.name], toys[ratio.name]),
                }
    for name, own in figures.items():
        print(n_events, name, own, file=sys.stderr)
    refilled = filled_anew(n_events // 2, train, observable, evaluation, options)
    return {"methods": figures, "not_available": failures, "filled_anew": refilled}


def at_zero(ordered, toys) -> dict:
    """Information at 0, and coverage at all values."""
    own = information(ordered[0], ordered, n_bootstrap=2)
    rows = [coverage(e, None, CL, warn_of_pool=False) for e in toys]
    return {
        "info_eff": own.info_eff,
        "info_eff_error": own.info_eff_error,
        "response": own.response,
        "response_error": own.response_error,
        "coverage": [row.coverage for row in rows],
        "coverage_error": [row.error for row in rows],
        "coverage_pool_error": [row.pool_error for row in rows],
    }


def filled_anew(n_events, train, observable, evaluation, options) -> dict:
    """Coverage at 0 of histograms filled with other events each time, with the same bins.

    Toys of one histogram measure the coverage of this histogram.  The mean over histograms is what
    an analysis can expect before it fills its histogram; the scatter is how much they differ.
    """
    rows = []
    for k in range(options.fillings):
        templates = fill(vbf_samples(n_events, 100 + k), train, observable, options.bins, 4)
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
    first, second = (vbf_samples(n_events // len(POINTS), seed) for seed in (71, 72))
    observable = first.feature_names[0]
    start = time.perf_counter()
    edges = fisher_bins(first, observable, bins, AT, weight_degree=4)
    mil.Templates.from_samples(second, observable, bins=edges, weight_degree=4)
    return time.perf_counter() - start


class Exact:
    """Exact likelihood ratio of the problem with two parameters."""

    name, parameters, interpolation = "exact", ("c1", "c2"), BOX

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        chunks = np.array_split(sample.features, max(1, len(sample) // 50_000))
        return np.concatenate([quadratic.log_likelihood_ratio(x, BOX.grid) for x in chunks])


def two_parameters(n_events: int, evaluation: EventPool, options: argparse.Namespace) -> dict:
    """Figures of all methods in two parameters for a number of simulated events a point."""
    train, rest = quadratic.samples(n_events, CORNERS, seed=41).split([0.5, 0.5], seed=42)
    model = mil.BagLikelihood(head="polynomial", labels="joint", order=1, seed=1)
    network = small(model, options.quick).fit(train)
    settings = {"at": ZERO, "n_events": 1000, "bins": (options.bins_2, options.bins_2)}
    yields = event_yields(train, 2), event_yields(rest, 2)
    best = score_templates(network, train, rest, **settings, weight_degree=2)
    observables = tuple(axis.observable for axis in best.axes)
    one = chosen_templates(*yields, observables[0], options.bins, ZERO, n_events=1000)
    templates = {
        "two scores": best,
        "two scores, quantiles": mil.Templates.from_samples(
            rest, observables, bins=settings["bins"], weight_degree=2, yields=yields[1]
        ),
        "two exact scores": score_templates(Exact(), train, rest, **settings, weight_degree=2),
    }
    models = [BinnedLLR(name, t, ("c1", "c2"), BOX) for name, t in templates.items()]
    exact = quadratic.fisher_information(1, 2)
    near = [(name, point) for name, place in PLACES.items() for point in neighbours(place)]
    thrown = mil.Toys(evaluation, 1000, seed=61).scan(
        [Exact(), network, *models],
        [point for _, point in near],
        options.toys_2,
        workers=options.workers,
    )
    return {
        "places": {
            place: at_place(
                {
                    name: [e for e, (own, _) in zip(toys, near, strict=True) if own == place]
                    for name, toys in thrown.items()
                },
                network.name,
                options.bootstrap,
            )
            for place in PLACES
        },
        "expected_on_c1": {
            name: {
                "c2_known": float(own[0, 0] / exact[0, 0]),
                "c2_fitted": float(np.linalg.inv(exact)[0, 0] / np.linalg.inv(own)[0, 0]),
            }
            for name, own in {
                name: t.information(ZERO) for name, t in [*templates.items(), ("one score", one)]
            }.items()
        },
    }


def neighbours(point):
    """A point, and two on both sides of it in each parameter."""
    sides = [{**point, name: point[name] + step} for name in point for step in (-0.15, 0.15)]
    return [point, *sides]


def at_place(toys, network: str, n_bootstrap: int) -> dict:
    """Information and coverage at a point; the toys of its neighbours give the response."""
    figures = {}
    for method, own in toys.items():
        matrix = information_matrix(own, n_bootstrap=n_bootstrap)
        covered = coverage(own[0], None, CL, warn_of_pool=False)
        figures[method] = {
            "info_eff": matrix.info_eff.tolist(),
            "info_eff_error": matrix.info_eff_error.tolist(),
            "response": matrix.response.tolist(),
            "response_error": matrix.response_error.tolist(),
            "coverage": covered.coverage,
            "coverage_error": covered.error,
            "coverage_pool_error": covered.pool_error,
        }
        for name, reference in (("exact", "exact"), ("network", network)):
            ratio = relative_information(own, toys[reference], n_bootstrap=n_bootstrap)
            figures[method][f"info_over_{name}"] = ratio.ratio
            figures[method][f"info_over_{name}_error"] = ratio.ratio_error
        print(method, figures[method], file=sys.stderr, flush=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--problems",
        nargs="+",
        choices=["vbf_hww", "quadratic2"],
        default=["vbf_hww", "quadratic2"],
    )
    parser.add_argument(
        "--events",
        type=int,
        nargs="+",
        default=[10_000, 2000],
        help="simulated events of vbf_hww at each point",
    )
    parser.add_argument(
        "--events-2",
        type=int,
        nargs="+",
        default=[20_000, 2000],
        help="simulated events of quadratic2 at each point",
    )
    parser.add_argument("--toys", type=int, default=2000, help="toys of vbf_hww at each true value")
    parser.add_argument(
        "--toys-2", type=int, default=2000, help="toys of quadratic2 at each true value"
    )
    parser.add_argument(
        "--pool",
        type=int,
        default=500_000,
        help="events from which the toys that measure are drawn",
    )
    parser.add_argument("--bins", type=int, default=20, help="bins of a histogram of one score")
    parser.add_argument("--bins-2", type=int, default=8, help="bins of each of the two scores")
    parser.add_argument(
        "--fillings", type=int, default=20, help="how many histograms are filled with new events"
    )
    parser.add_argument(
        "--timed", type=int, default=200_000, help="events for the timing of filling"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=50, help="number of bootstrap samples for the errors"
    )
    parser.add_argument("--workers", type=int, default=1)
    options = parse(parser, QUICK, arguments)
    # Poor bins are part of what is measured.
    warnings.simplefilter("ignore", MilinferWarning)
    figures: dict[str, object] = {}
    if "vbf_hww" in options.problems:
        evaluation = EventPool(vbf_samples(options.pool // len(POINTS), 22), 4)
        rows = {str(n): measure(n, evaluation, options) for n in options.events}
        figures = {"rows": rows, "truths": TRUTHS, "seconds": seconds(options.timed, options.bins)}
    if "quadratic2" in options.problems:
        events = quadratic.samples(options.pool // len(CORNERS), CORNERS, seed=51)
        evaluation = EventPool(events, 2)
        figures["two_parameters"] = {
            str(n): two_parameters(n, evaluation, options) for n in options.events_2
        }
    print(json.dumps(figures | {"short": short("histograms", figures)}))


if __name__ == "__main__":
    main()
