"""Expected intervals of a trained network at five true values, and how often data are in the bands.

The problem is that of :mod:`milinfer.datasets.quadratic`.  Training, Asimov data, toys of the bands
and data come from separate simulations.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from quick_size import small

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.intervals.expected import expected_interval
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.asimov import asimov_cost
from milinfer.toys.pool import EventPool

TRUTHS = (-0.3, -0.15, 0.0, 0.15, 0.3)
TRAINING_POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
N_EVENTS = 1000.0


def simulated(n_events: int, points: tuple[float, ...], seed: int) -> mil.SampleSet:
    """Events at each of several points."""
    return quadratic.samples(n_events, [{"c1": v} for v in points], seed=seed)


def network_results(options: argparse.Namespace) -> dict[str, Any]:
    """Widths and bands at each true value.

    ``width_over_median_toy`` compares the interval of the Asimov data with those of the toys; its
    error is that of the median.  ``low_in_band``, ``high_in_band`` and ``estimate_in_band`` are the
    fractions of datasets that are between the quantiles of the toys at −2σ and +2σ.  ``error`` is
    their binomial error for the expected 95.45 %.
    """
    model = small(
        mil.BagLikelihood(head="polynomial", order=1, labels="joint", seed=1), options.quick
    ).fit(simulated(options.network_events, TRAINING_POINTS, 51))
    terms = mil.systematic_terms(model, rate=N_EVENTS, responses={}, reference=0.0)
    asimov_events = quadratic.generate(options.network_pool // 4, {"c1": 0.0}, seed=52)
    pools = [
        EventPool(simulated(options.network_pool, (-1.0, 0.0, 1.0), seed), 2) for seed in (53, 54)
    ]
    bands, data = (
        mil.Toys(pool, N_EVENTS, seed=seed, poisson=True).scan([model], TRUTHS, options.toys)[
            model.name
        ]
        for pool, seed in zip(pools, (55, 56), strict=True)
    )
    rows = {}
    for ensemble, observed in zip(bands, data, strict=True):
        truth = ensemble.truth
        asimov = asimov_cost(terms, asimov_events, {"c1": truth})
        expected = expected_interval(ensemble, asimov)
        widths = toy_intervals(ensemble)
        of_data = toy_intervals(observed)
        median = float(expected.widths[2])
        # Error of the median of Gaussian numbers.
        error = 1.25 * float(np.std(widths.high - widths.low)) / np.sqrt(options.toys)
        rows[f"c1 = {truth:g}"] = {
            "width_over_median_toy": expected.width / median,
            "width_over_median_toy_error": float(error / median),
            "low_in_band": _inside(of_data.low, expected.lows),
            "high_in_band": _inside(of_data.high, expected.highs),
            "estimate_in_band": _inside(of_data.estimate, expected.estimates),
            "error": float(np.sqrt(0.9545 * 0.0455 / options.toys)),
        }
    return rows


def _inside(values: np.ndarray, quantiles: np.ndarray) -> float:
    """Fraction of values between the first and the last quantile."""
    return float(np.mean((values >= quantiles[0]) & (values <= quantiles[-1])))
