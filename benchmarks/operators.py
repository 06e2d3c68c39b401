"""Information in VBF H → WW* events about c_HW, the CP-odd c_HWtil and c_Hbox.

The Fisher information matrix of the shape at the standard model is the covariance of the score.  It
is computed for 1000 events after the cuts, from the partons (``parton_level``) and from what a
detector sees (``observables``).  If an amplitude vanishes, the score has no bound, and the mean of
its square over standard-model events converges slowly.  Events of five points are therefore mixed
and weighted, so that events with the largest scores have small weights.  Errors come from batches
of events.  By parity the elements between c_HWtil and the others are zero, and c_Hbox changes no
shape.

``networks`` learns c_HW and c_HWtil from events with joint labels.  On the same toys of 1000
events, at nine true points, it tests the network, the exact ratio of observables, and histograms of
the scores of the network: one-dimensional in c_HW, and two-dimensional in both.  Their bins are
chosen on the training events and filled with other events.

``score_bins`` measures how much of the information about c_HW alone is kept by bins of the exact
score of observables, with the default minimum of events in a bin and with nearly empty bins.

python benchmarks/operators.py [--parts parton_level observables score_bins networks]
                               [--events 20000] [--toys 2000] [--quick]

The last line on standard output is one line of JSON.  ``networks`` has for each method the root of
the determinant of the effective information I_eff at the standard model, divided by that of the
exact ratio; the response matrix; the median areas of 68.27 % and 95.45 % regions; and their
coverage at each point, for the network also after a calibration with toys from other events.
``short`` lists the goals that were missed.  ``parton_level`` and ``observables`` have the
information matrix and its errors, and the relative slope of the cross-section in each operator
(1000 times its outer product is the information in the number of events).  For the observables,
``retained`` is the fraction of the partons' information about c_HW and c_HWtil that is left, on the
same events.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from bars import short
from numpy.typing import NDArray
from quick_size import parse, small
from scipy.stats import chi2

import milinfer as mil
from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.chosen_templates import chosen_templates, score_templates
from milinfer.binned.weighted_templates import event_yields
from milinfer.datasets import vbf_hww
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.observable import observable_coefficients
from milinfer.exceptions import MilinferWarning, TemplateError
from milinfer.intervals.coverage import coverage
from milinfer.intervals.information import information_matrix, relative_information
from milinfer.likelihood.observables import score_observable
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.reweighting import bennett
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool
from milinfer.utils.polynomials import PolynomialBasis

OPERATORS = vbf_hww.OPERATORS
BASIS = PolynomialBasis(OPERATORS, 4)
# The standard model, and either operator so large that its square makes a good part of the events.
POINTS = np.array([[0, 0, 0], [1.5, 0, 0], [-1.5, 0, 0], [0, 1.5, 0], [0, -1.5, 0]], dtype=float)
N_EXPECTED = 1000
N_BATCHES = 50

Array = NDArray[np.float64]


class Scores(NamedTuple):
    """Scores of events of the mixture, weighted to the standard model.

    Parameters
    ----------
    scores
        Of the shape, shape (n_events, n_operators).
    weights
        Mean one, shape (n_events,).
    slopes
        d ln σ/dθ, shape (n_operators,).
    """

    scores: Array
    weights: Array
    slopes: Array

    def batches(self) -> Array:
        """Information of `N_EXPECTED` events from batches of events, (n_batches, n, n)."""
        products = self.scores[:, :, None] * self.scores[:, None, :] * self.weights[:, None, None]
        return N_EXPECTED * np.array([products[k::N_BATCHES].mean(0) for k in range(N_BATCHES)])

    def slope_batches(self) -> Array:
        """The slopes from batches of events, (n_batches, n_operators)."""
        # To first order, as those of the ratio of two means.
        terms = self.weights[:, None] * self.scores
        return self.slopes + np.array([terms[k::N_BATCHES].mean(0) for k in range(N_BATCHES)])


def generated(n_events: int) -> Iterator[GeneratedEvents]:
    """Events at each point in turn, with their polynomial in all operators."""
    for k, point in enumerate(POINTS):
        yield vbf_hww.generate(n_events, dict(zip(OPERATORS, point, strict=True)), seed=700 + k)


def scores(coefficients: Sequence[Array]) -> Scores:
    """Scores at the standard model from polynomials of events of all points."""
    everything = np.concatenate(coefficients)
    design = BASIS.design(POINTS)
    ratios = everything @ design.T
    share = np.array([len(c) / len(everything) for c in coefficients])
    total = bennett(ratios, np.full(len(ratios), 1 / len(ratios)), everything, share)
    weights = 1 / (ratios / (design @ total) @ share)
    linear = [BASIS.exponents.tolist().index(row) for row in np.eye(len(OPERATORS)).tolist()]
    slopes = total[linear]
    return Scores(everything[:, linear] - slopes, weights / weights.mean(), slopes)


def with_errors(batches: Array) -> dict[str, Any]:
    """Mean over batches, and its standard error."""
    error = batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
    return {"value": batches.mean(axis=0).tolist(), "error": error.tolist()}


def figures(found: Scores) -> dict[str, Any]:
    """Information and slopes of the cross-section."""
    return {
        "operators": list(OPERATORS),
        "information": with_errors(found.batches()),
        "slopes": with_errors(found.slope_batches()),
    }


def parton_level(quick: bool) -> dict[str, Any]:
    """Information of everything that was generated, neutrinos and protons' partons included."""
    n_events = 1_000 if quick else 200_000
    found = scores([events.coefficients for events in generated(n_events)])
    return {"events": n_events * len(POINTS), **figures(found)}


def observables(quick: bool) -> dict[str, Any]:
    """Information of the leptons, the jets and the missing transverse momentum."""
    n_events = 200 if quick else 40_000
    events = list(generated(n_events))
    start = time.perf_counter()
    ratios = [observable_coefficients(e, n_rapidity=64 if quick else 128) for e in events]
    seconds = time.perf_counter() - start
    seen = scores([ratio.coefficients for ratio in ratios])
    partons = scores([e.coefficients for e in events])
    left, all_of_it = (np.einsum("bkk->bk", s.batches())[:, :2] for s in (seen, partons))
    # To first order, as the ratio of means: batches are too small for their own ratios.
    ratio = left.mean(0) / all_of_it.mean(0)
    spread = (left - ratio * all_of_it) / all_of_it.mean(0)
    return {
        "events": n_events * len(POINTS),
        "events_per_s": n_events * len(POINTS) / seconds,
        **figures(seen),
        "retained": with_errors(ratio + spread),
    }


def by_observables(events: GeneratedEvents, names: tuple[str, ...]) -> tuple[mil.Sample, Array]:
    """Events with weights by the ratio of observables, and the polynomials of this ratio."""
    weights = vbf_hww.default_weights(names)
    sample = events.to_sample("vbf_2l2j_invariant", weights)
    basis = PolynomialBasis(names, 4)
    coefficients = observable_coefficients(events).coefficients
    ratios = coefficients @ basis.design(np.array([list(p.values()) for p in weights])).T
    own = coefficients @ basis.design(np.array([list(sample.point.values())]))[0]
    ids = list(sample.reweights)
    reweighted = replace(
        sample,
        reweights={name: ratios[:, j] / own for j, name in enumerate(ids)},
        reweight_points=dict(zip(ids, weights, strict=True)),
    )
    return reweighted, coefficients


# --- bins of the exact score in one operator ------------------------------------------------------

ONE = "c_HW"
ONE_POINTS = (0.0, -0.5, 0.5, -1.5, 1.5)


def scored(n_events: int, seed: int, points: Sequence[float]) -> mil.SampleSet:
    """Events with the score of observables at zero as their feature, and weights that fix Λ."""
    made = []
    for k, value in enumerate(points):
        events = vbf_hww.generate(n_events, {ONE: value}, seed=seed + k)
        sample, coefficients = by_observables(events, (ONE,))
        score = (coefficients[:, 1] / coefficients[:, 0]).astype(np.float32)
        made.append(replace(sample, features=score[:, None], feature_names=("score",)))
    return mil.SampleSet(tuple(made))


def score_bins(quick: bool) -> dict[str, Any]:
    """Information on one operator that the best bins of its score keep."""
    n_events, points = (500, ONE_POINTS[::2]) if quick else (10_000, ONE_POINTS)
    choosing, filling = (event_yields(scored(n_events, seed, points), 4) for seed in (820, 840))
    score = np.concatenate([s.column("score").astype(np.float64) for s in filling.samples])
    weights = filling.at(filling.basis.array({ONE: 0.0}))
    weights = weights / weights.sum()
    exact = weights @ (score - weights @ score) ** 2
    rows = []
    # Ten events in each bin, or half of an even share, and nearly empty bins.
    for bins, least in ((20, min(10.0, N_EXPECTED / 40)), (20, 0.01), (40, 0.01)):
        templates = chosen_templates(
            choosing, filling, "score", bins, {ONE: 0.0}, n_events=N_EXPECTED, min_expected=least
        )
        kept = templates.information({ONE: 0.0})[0, 0] / exact
        rows.append({"bins": bins, "min_expected": least, "kept": float(kept)})
    return {"events": 2 * n_events * len(points), "rows": rows}


# --- two operators, learned ---------------------------------------------------------------------

TWO = ("c_HW", "c_HWtil")
ZERO = dict.fromkeys(TWO, 0.0)
EDGE = 0.8
BOX = ChebyshevBox(np.full(2, -EDGE), np.full(2, EDGE), 12)
# Two squares: with the outer one alone Λ near the standard model is too flat by 20 %.
TRAINED = (EDGE, 0.3)
STEP = 0.2
CLS = (0.6827, 0.9545)


def square(edge: float) -> list[dict[str, float]]:
    """Nine points: the middle of a square first, then its edges and corners."""
    sides = (0.0, -edge, edge)
    return [dict(zip(TWO, (a, b), strict=True)) for a in sides for b in sides]


TRUTHS = square(STEP)


def two_operator_samples(n_events: int, edges: Sequence[float], seed: int) -> mil.SampleSet:
    """Events at points of squares, with the weights that fix their polynomial."""
    points = [ZERO, *(p for edge in edges for p in square(edge)[1:])]
    seeds = np.random.SeedSequence(seed).generate_state(len(points))
    weights = vbf_hww.default_weights(TWO)
    return mil.SampleSet(
        tuple(
            vbf_hww.generate(n_events, p, seed=int(k)).to_sample("vbf_2l2j_invariant", weights)
            for p, k in zip(points, seeds, strict=True)
        )
    )


def observable_samples(n_events: int, seed: int) -> mil.SampleSet:
    """The same, with weights by the ratio of observables: exact for whatever uses these alone."""
    return mil.SampleSet(
        tuple(
            by_observables(vbf_hww.generate(n_events, point, seed=seed + k), TWO)[0]
            for k, point in enumerate(TRUTHS[:5:2])
        )
    )


def area(ensemble: ToyEnsemble, cl: float) -> float:
    """Median area of the regions of toys, as far as they are inside the range."""
    axis = np.linspace(-EDGE, EDGE, 81)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = []
    for start in range(0, min(ensemble.n_toys, 300), 50):
        values = ensemble.interpolation.values_at(ensemble.values[start : start + 50], points)
        drop = 2 * (ensemble.extremum.maximum[start : start + 50, None] - values)
        inside.append(np.mean(drop < chi2.ppf(cl, 2), axis=1))
    return float(np.median(np.concatenate(inside)) * (2 * EDGE) ** 2)


def of_method(toys: list[ToyEnsemble], reference: list[ToyEnsemble]) -> dict[str, Any]:
    """Figures of one method from toys at all points."""
    near = [toys[TRUTHS.index(p)] for p in neighbours()]
    exact = [reference[TRUTHS.index(p)] for p in neighbours()]
    matrix = information_matrix(near, n_bootstrap=50)
    ratio = relative_information(near, exact, n_bootstrap=50)
    return {
        "info_eff": matrix.info_eff.tolist(),
        "info_eff_error": matrix.info_eff_error.tolist(),
        "response": matrix.response.tolist(),
        "response_error": matrix.response_error.tolist(),
        "info_over_exact": ratio.ratio,
        "info_over_exact_error": ratio.ratio_error,
        "areas": [area(toys[0], cl) for cl in CLS],
        "coverage": covered(toys, None),
    }


def covered(toys: list[ToyEnsemble], calibration: mil.Calibration | None) -> list[dict[str, Any]]:
    """Coverage of regions at each point."""
    rows = []
    for ensemble in toys:
        for cl in CLS:
            row = coverage(ensemble, calibration, cl, warn_of_pool=False)
            rows.append(
                {
                    "point": dict(ensemble.point),
                    "cl": cl,
                    "coverage": row.coverage,
                    "error": row.error,
                    "pool_error": row.pool_error,
                }
            )
    return rows


def neighbours() -> list[dict[str, float]]:
    """The standard model, and two points on both sides of it in each operator."""
    return [ZERO, *({**ZERO, name: step} for name in TWO for step in (-STEP, STEP))]


def networks(options: argparse.Namespace) -> dict[str, Any]:
    """A network, the exact ratio and histograms on the same toys."""
    start = time.perf_counter()
    edges = TRAINED[:1] if options.quick else TRAINED
    train = two_operator_samples(options.events, edges, 801)
    other = two_operator_samples(options.events, edges, 802)
    model = mil.BagLikelihood(
        head="polynomial", labels="joint", ensemble=1 if options.quick else options.members, seed=1
    )
    print(f"generated: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    start = time.perf_counter()
    network = small(model, options.quick).fit(train)
    seconds = time.perf_counter() - start
    print(f"trained: {seconds:.0f} s", file=sys.stderr, flush=True)
    settings = {"at": ZERO, "n_events": N_EXPECTED, "weight_degree": 4}
    both: dict[str, mil.Templates] = {}
    failures: dict[str, str] = {}
    # Much of the information is in few events, with scores far from zero.
    kinds = (("", 10.0), (", some nearly empty", 0.01))
    for n, (kind, wanted) in product(options.bins_2, kinds):
        # Where there are not as many events, half of an even share.
        least = min(wanted, 0.5 * N_EXPECTED / n**2)
        name = f"two scores, {n} × {n} bins{kind}"
        try:
            both[name] = score_templates(
                network, train, other, bins=(n, n), min_expected=least, **settings
            )
        except TemplateError as error:  # too few events for so many bins
            failures[name] = str(error)
    one = chosen_templates(
        event_yields(train, 4),
        event_yields(other, 4),
        score_observable(network, [0.0, 0.0], parameter="c_HW"),
        options.bins,
        ZERO,
        n_events=N_EXPECTED,
    )
    evaluation = observable_samples(options.pool, 803)
    oracle = mil.Oracle.from_sample(evaluation, TWO, BOX)
    models = [
        oracle,
        network,
        *(BinnedLLR(name, templates, TWO, BOX) for name, templates in both.items()),
        BinnedLLR("one score", one, TWO, BOX),
    ]
    toys = mil.Toys(EventPool(evaluation, 4), N_EXPECTED, seed=804).scan(
        models, TRUTHS, options.toys
    )
    print(f"toys: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    exact = toys[oracle.name]
    figures = {name: of_method(own, exact) for name, own in toys.items() if name != "one score"}
    # Nothing in it measures c_HWtil but its square.
    figures["one score"] = {
        "areas": [area(toys["one score"][0], cl) for cl in CLS],
        "coverage": covered(toys["one score"], None),
    }
    tune = two_operator_samples(options.pool, (0.4,), 805)
    calibrating = mil.Toys(EventPool(tune, 4), N_EXPECTED, seed=806).scan(
        [network], square(options.calibrate_at), options.toys
    )
    calibration = mil.calibrate(calibrating[network.name], cl=CLS)
    figures[network.name]["calibrated_coverage"] = covered(toys[network.name], calibration)
    return {
        "events_per_point": options.events,
        "train_seconds": seconds,
        "n_toys": options.toys,
        "network": network.name,
        "methods": figures,
        "not_available": failures,
    }


PARTS = ("parton_level", "observables", "score_bins", "networks")
QUICK = {
    "events": 500,
    "pool": 400,
    "toys": 40,
    "bins": 6,
    "bins_2": [4],
    "calibrate_at": 0.25,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--events", type=int, default=20_000, help="training events at each parameter point"
    )
    parser.add_argument(
        "--pool", type=int, default=60_000, help="events at each point from which toys are drawn"
    )
    parser.add_argument("--toys", type=int, default=2000, help="toys at each true point")
    parser.add_argument(
        "--calibrate-at",
        type=float,
        default=0.35,
        help="largest value of each operator in the calibration",
    )
    parser.add_argument("--members", type=int, default=3, help="networks in the ensemble")
    parser.add_argument("--bins", type=int, default=20, help="bins of a histogram of one score")
    parser.add_argument(
        "--bins-2",
        type=int,
        nargs="+",
        default=[8, 12, 16, 24],
        help="bins of each of the two scores",
    )
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    result: dict[str, Any] = {}
    if "parton_level" in options.parts:
        result["parton_level"] = parton_level(options.quick)
    if "observables" in options.parts:
        result["observables"] = observables(options.quick)
    if "score_bins" in options.parts:
        result["score_bins"] = score_bins(options.quick)
    if "networks" in options.parts:
        result["networks"] = networks(options)
        result["short"] = short("operators", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
