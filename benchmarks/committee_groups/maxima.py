r"""Maxima of data and of toys, for a likelihood with two maxima.

Events have :math:`p(x|c) = [1 + \epsilon\,c\,(2x - 1) + 2x\,c^2]/(1 + c^2)` with x between 0 and 1:
a quadratic EFT whose interference ε is so small that ±c hardly differ.  Each toy is fitted as a toy
(:class:`milinfer.Toys`) and as data (:func:`milinfer.profile_interval`), and both have to find the
same maximum.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np

import milinfer as mil
from milinfer.exceptions import FitError, SecondMinimumWarning
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.models import EventModel
from milinfer.likelihood.surface import Interpolation

INTERFERENCE = 0.1
RANGE = (-2.0, 2.0)
TRUTHS = (-0.8, -0.3, 0.0, 0.3, 0.8)
N_EVENTS = 200
CL = 0.6827


def weights(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """p(x|c)/p(x|0)."""
    return (1 + INTERFERENCE * c * (2 * x - 1) + 2 * x * c**2) / (1 + c**2)


class Quadratic(EventModel):
    """The exact ratio."""

    name, parameters = "exact", ("c",)
    interpolation = Interpolation(np.linspace(*RANGE, 161), "spline")

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        return np.log(weights(sample.column("x")[:, None], self.interpolation.grid[None, :]))


def generate(n_events: int, c: float, seed: int) -> mil.Sample:
    """Events at one value of c, by rejection."""
    rng = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < n_events:
        x = rng.random(2 * n_events)
        # Weights are at most those at an end of x.
        most = max(weights(np.array([0.0, 1.0]), np.array(c)))
        kept.append(x[rng.random(len(x)) * most < weights(x, np.array(c))])
    x = np.concatenate(kept)[:n_events]
    return mil.Sample(x[:, None].astype(np.float32), ("x",), point={"c": c})


def maximum_results(options: argparse.Namespace) -> dict[str, Any]:
    """How often data and toys disagree, and what is said of the second maximum.

    ``disagreement`` is the fraction of toys for which −2 ln L at the one estimate is higher by more
    than 0.01 than at the other.  ``warns`` and ``raises`` are the fractions for which the interval
    names a second minimum, or is refused.  ``silent_and_wrong`` is the fraction of all toys whose
    interval does not contain the truth although nothing is said.  ``set_coverage`` is the coverage
    of all values below the threshold, which coverages of toys refer to.
    """
    model = Quadratic()
    n_pool = N_EVENTS * min(500, 10 * options.intervals)
    rows = {}
    for k, truth in enumerate(TRUTHS):
        pool = mil.SampleSet((generate(n_pool, truth, 60 + k),))
        toys = mil.Toys(pool, N_EVENTS, seed=70 + k)
        ensemble = toys.run([model], truth, options.intervals)["exact"]
        draws = toys.draws({"c": truth}, options.intervals)
        apart, wrong, raises, warns = 0, 0, 0, 0
        for toy in range(options.intervals):
            cost = dataset_cost(model, draws.dataset(toy).as_data(), reference=0.0)
            with warnings.catch_warnings():
                warnings.simplefilter("error", SecondMinimumWarning)
                try:
                    interval = mil.profile_interval(cost, "c", CL)
                except FitError:
                    raises += 1
                    continue
                except SecondMinimumWarning:
                    warnings.simplefilter("ignore", SecondMinimumWarning)
                    interval = mil.profile_interval(cost, "c", CL)
                    warns += 1
                else:
                    wrong += not interval.low <= truth <= interval.high
            difference = abs(cost(interval.estimate) - cost(float(ensemble.theta_hat[toy])))
            apart += difference > 0.01
        n = options.intervals
        in_set = ensemble.test_statistic(truth) <= 1
        rows[f"c = {truth:g}"] = {
            "disagreement": apart / n,
            "warns": warns / n,
            "raises": raises / n,
            "silent_and_wrong": wrong / n,
            "set_coverage": float(np.mean(in_set)),
            "set_coverage_error": float(np.sqrt(CL * (1 - CL) / n)),
        }
    return rows
