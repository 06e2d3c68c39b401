"""Effect of a background on an unbinned fit that ignores it, or profiles it with its density ratio.

python benchmarks/background.py [--toys 2000] [--quick]

A toy has 160 expected signal events at μ = 0 from N(μ, 1), whose yield depends on μ, and 40
background events from N(2, 1.5), whose yield is known to 20 %.  The density ratio is exact or
learned.  The last line on standard output is one line of JSON.  It has for each treatment of the
background the bias of the estimate, its standard deviation, the effective information I_eff and the
coverage, with errors, from the same toys.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

import numpy as np
from quick_size import parse, small
from scipy.stats import norm

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.learning.background_ratio import default_classifier
from milinfer.likelihood.models import Renamed
from milinfer.utils.polynomials import PolynomialBasis

MODEL = gaussian.MeanModel()
SIGNAL, BACKGROUND, WIDTH = 160.0, 40.0, 0.2
TRUTHS = (0.0, -0.2, 0.2)
QUICK = {"toys": 100, "train": 5000, "pool": 20_000}


def exact(sample: mil.Sample) -> np.ndarray:
    """Log-ratio of N(2, 1.5) to N(0, 1)."""
    x = sample.column("x0").astype(np.float64)
    return norm.logpdf(x, 2, 1.5) - norm.logpdf(x)


def background(n: int, seed: int) -> mil.Sample:
    x = np.random.default_rng(seed).normal(2, 1.5, (n, 1))
    return mil.Sample(x, ("x0",), process="background")


def rate() -> mil.Rate:
    """Yield of the signal, 160 (1 + 0.3 μ + 0.2 μ²)."""
    basis = PolynomialBasis(("mu",), 2)
    theta = np.linspace(-1, 1, 5)[:, None]
    values = SIGNAL * (1 + 0.3 * theta + 0.2 * theta**2)
    return mil.Rate(basis, basis.fit(theta, values, np.ones_like(values)), 1.0)


class Ignored:
    """The signal model with the rate of all events: background is taken for signal."""

    name, parameters, interpolation = "ignored", MODEL.parameters, MODEL.interpolation
    event_llr = staticmethod(MODEL.event_llr)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toys", type=int, default=2000, help="number of toys")
    parser.add_argument(
        "--train",
        type=int,
        default=50_000,
        help="training events of the signal, and as many of the background",
    )
    parser.add_argument(
        "--pool", type=int, default=400_000, help="events from which toys are drawn"
    )
    options = parse(parser, QUICK, arguments)
    seconds = {}
    ratios: dict[str, object] = {"exact": exact}
    signal, other = gaussian.generate(options.train, 0.0, seed=1), background(options.train, 2)
    network = small(default_classifier(1), options.quick)
    for name, classifier in (("network", network), ("trees", mil.BoostedLikelihood())):
        start = time.perf_counter()
        ratios[name] = mil.BackgroundRatio(classifier, seed=1).fit(signal, other)
        seconds[name] = time.perf_counter() - start
    models: list[object] = [
        Renamed(
            mil.ProfiledMixture(
                MODEL, rate(), {"bkg": (ratio, BACKGROUND)}, {"bkg": WIDTH}, reference=0.0
            ),
            name,
        )
        for name, ratio in ratios.items()
    ]
    pool = gaussian.samples(options.pool, list(TRUTHS), seed=3)
    beside = (mil.Background(background(options.pool, 4), BACKGROUND),)
    toys = mil.Toys(pool, n_events=None, seed=5, rate=rate(), background=beside)
    thrown = toys.scan([*models, Ignored()], TRUTHS, options.toys)
    rows = []
    for name, ensembles in thrown.items():
        at = ensembles[0]
        info = mil.information(at, ensembles)
        coverages = [mil.coverage(at, cl=cl, warn_of_pool=False) for cl in (0.6827, 0.9545)]
        rows.append(
            {
                "treatment": name,
                "bias": float(at.theta_hat.mean()),
                "bias_error": at.mean_error,
                "standard_deviation": float(at.theta_hat.std(ddof=1)),
                "info_eff": info.info_eff,
                "info_eff_error": info.info_eff_error,
                "coverage68": coverages[0].coverage,
                "coverage68_error": coverages[0].error,
                "coverage95": coverages[1].coverage,
                "coverage95_error": coverages[1].error,
                "train_seconds": seconds.get(name, 0.0),
            }
        )
        print(rows[-1], file=sys.stderr)
    print(json.dumps({"rows": rows, "n_toys": options.toys}))


if __name__ == "__main__":
    main()
