"""Coverage of one network, and mean coverage of many networks trained on independent events.

Toys of one network measure how often the intervals of *this* network contain the truth.  Another
analysis would have other simulated events, and so another network and another histogram.  This
benchmark trains networks on independent events, makes a calibration and a histogram of the score
for each network, and generates the same number of toys for each:

* ``network``: asymptotic intervals of the network as trained;
* ``calibrated``: intervals after a calibration with toys of other simulated events;
* ``score``: histogram of the score of the network, filled with other events, with Monte-Carlo
  errors.

python benchmarks/retrained.py [--events 2000] [--networks 20] [--toys 500] [--quick]

The last line on standard output is one line of JSON.  For each method and true value it has the
coverage of the first network with its errors, the mean over all networks with its error, and the
scatter between networks without its binomial part.  The variance of an estimate is the variance
over toys of one network plus the variance of the mean between networks; both standard deviations
are given.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from quick_size import parse, small
from vbf_samples import vbf_samples

import milinfer as mil
from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.chosen_templates import score_templates
from milinfer.exceptions import MilinferWarning
from milinfer.intervals.coverage import Coverage, coverage
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool

TRUTHS = (0.0, 0.3)
CALIBRATE_AT = tuple(float(v) for v in np.linspace(-0.6, 0.6, 7).round(1) + 0.0)
GRID = Interpolation(np.linspace(-1, 1, 81), "spline")
CL = 0.6827
N_EVENTS = 1000
QUICK = {"events": 400, "networks": 3, "toys": 60, "pool": 2000, "bins": 5}


def trained(k: int, options: argparse.Namespace) -> tuple[list[object], mil.Calibration]:
    """Network, histogram of its score, and calibration of the network.

    Each of the three is made from different events, of the same number.
    """
    train, rest, tune = (vbf_samples(options.events, 1000 + 3 * k + j) for j in range(3))
    model = mil.BagLikelihood(head="polynomial", labels="joint", seed=k)
    network = small(model, options.quick).fit(train)
    templates = score_templates(
        network, train, rest, at={"c_HW": 0.0}, n_events=N_EVENTS, bins=options.bins,
        weight_degree=4,
    )  # fmt: skip
    toys = mil.Toys(EventPool(tune, 4), N_EVENTS, seed=k)
    ensembles = toys.scan([network], CALIBRATE_AT, options.toys, workers=options.workers)
    calibration = mil.calibrate(ensembles[network.name])
    return [network, BinnedLLR("score", templates, "c_HW", GRID)], calibration


def summary(covered: Sequence[Coverage], toys: Sequence[ToyEnsemble]) -> dict[str, float | int]:
    """One network, and all of them."""
    share = np.array([c.coverage for c in covered])
    binomial = share * (1 - share) / np.array([len(e.theta_hat) for e in toys])
    variance = float(np.var(share, ddof=1))
    means = np.array([e.theta_hat.mean() for e in toys])
    within = float(np.mean([e.theta_hat.var(ddof=1) for e in toys]))
    # The means of toys fluctuate by themselves: what is left is that of networks.
    of_toys = within / len(toys[0].theta_hat)
    return {
        "one": covered[0].coverage,
        "one_error": covered[0].error,
        "one_pool_error": covered[0].pool_error,
        "networks": len(share),
        "mean": float(share.mean()),
        "mean_error": float(np.sqrt(variance / len(share))),
        "least": float(share.min()),
        "most": float(share.max()),
        "binomial": float(np.sqrt(binomial.mean())),
        "between": float(np.sqrt(max(0.0, variance - binomial.mean()))),
        "estimate_within": float(np.sqrt(within)),
        "estimate_between": float(np.sqrt(max(0.0, means.var(ddof=1) - of_toys))),
    }


def measure(options: argparse.Namespace) -> Mapping[str, dict[str, dict[str, float | int]]]:
    """Figures of each method at each true value."""
    evaluation = EventPool(vbf_samples(options.pool // 5, 22), 4)
    covered: dict[tuple[str, float], list[Coverage]] = {}
    thrown: dict[tuple[str, float], list[ToyEnsemble]] = {}
    for k in range(options.networks):
        models, calibration = trained(k, options)
        toys = mil.Toys(evaluation, N_EVENTS, seed=500 + k)
        ensembles = toys.scan(models, TRUTHS, options.toys, workers=options.workers)
        for name, source, method in (
            ("network", models[0].name, None),
            ("calibrated", models[0].name, calibration),
            ("score", "score", None),
        ):
            for truth, own in zip(TRUTHS, ensembles[source], strict=True):
                figure = coverage(own, method, CL, warn_of_pool=False)
                covered.setdefault((name, truth), []).append(figure)
                thrown.setdefault((name, truth), []).append(own)
        print(k, {key: values[-1].coverage for key, values in covered.items()}, file=sys.stderr)
    figures: dict[str, dict[str, dict[str, float | int]]] = {}
    for (name, truth), values in covered.items():
        figures.setdefault(name, {})[str(truth)] = summary(values, thrown[name, truth])
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events",
        type=int,
        default=2000,
        help="simulated events at each point, for each of three purposes",
    )
    parser.add_argument("--networks", type=int, default=20, help="number of networks")
    parser.add_argument("--toys", type=int, default=500, help="toys for each truth and network")
    parser.add_argument(
        "--pool",
        type=int,
        default=200_000,
        help="events from which the toys that measure are drawn",
    )
    parser.add_argument("--bins", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    options = parse(parser, QUICK, arguments)
    # Poor bins and small pools are part of what is measured.
    warnings.simplefilter("ignore", MilinferWarning)
    print(json.dumps({"events": options.events, "methods": measure(options)}))


if __name__ == "__main__":
    main()
