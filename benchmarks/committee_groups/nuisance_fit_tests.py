"""p-values of a fit with nuisance parameters under the model.

The signal is a Gaussian whose mean is the parameter of interest.  Its mean also depends on the
nuisance parameter ``shift``, and its efficiency is uncertain.  The background is another Gaussian
with an uncertain normalisation.  All four parameters are fitted to each dataset and to each toy of
its tests, and all auxiliary measurements fluctuate.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from committee_groups.fit_tests import add_p_values, message, summaries

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.diagnostics import goodness_of_systematic_fit
from milinfer.exceptions import MilinferError
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.systematics import NormalisationUncertainty, SystematicTerms

TESTS = Path(__file__).parents[2] / "tests"
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from shifted_gaussian import SHIFT, Shift, quantiles  # noqa: E402

SIGNAL, BACKGROUND = 800.0, 200.0
# Simulated events for each event expected in the data.
SIMULATED = 10
TRUTH = 0.2


def density_ratio(sample: mil.Sample) -> np.ndarray:
    """The logarithm of the density of the background over that of the signal."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def likelihood() -> SystematicTerms:
    """The likelihood of the model."""
    # With random events, their fluctuation in the yield at shift = 3 would attract fits.
    response = Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), quantiles())
    return mil.systematic_terms(
        gaussian.MeanModel(),
        rate=SIGNAL,
        responses={"signal": response},
        reference=0.0,
        backgrounds={"far": (density_ratio, BACKGROUND)},
        uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.95, 1.05)})],
        norm_constraints={"far": 0.2},
    )


def nuisance_results(options: argparse.Namespace) -> dict[str, Any]:
    """How often each test has p < 5 %, and whether its p-values are uniform.

    Each dataset has simulated events of its own, and other true values of the nuisance parameters.
    They are drawn within half of their uncertainties, so that few fits end at the end of a range.
    """
    terms = likelihood()
    p_values: dict[str, list[float]] = {}
    failed = 0
    for k in range(options.nuisance_datasets):
        rng = np.random.default_rng([61, k])
        shift, efficiency = rng.normal(0.0, 0.5, size=2)
        norm = rng.normal(1.0, 0.1)
        # Auxiliary measurements are about these values.
        measured = {
            "shift": rng.normal(shift),
            "efficiency": rng.normal(efficiency),
            "far_norm": rng.normal(norm, 0.2),
        }
        signal = SIGNAL * (1.05**efficiency if efficiency > 0 else 0.95**-efficiency)
        x = np.concatenate(
            [
                rng.normal(TRUTH + SHIFT * shift, 1.0, rng.poisson(signal)),
                rng.normal(2.0, 1.0, rng.poisson(BACKGROUND * norm)),
            ]
        )
        data = mil.Sample(x[:, None].astype(np.float32), ("x0",)).as_data()
        simulation = {
            "signal": gaussian.generate(int(SIGNAL * SIMULATED), 0.0, seed=100_000 + k),
            "far": gaussian.generate(int(BACKGROUND * SIMULATED), 2.0, seed=200_000 + k),
        }
        cost = terms.cost(data).measuring(**measured)
        try:
            result = goodness_of_systematic_fit(cost, data, simulation, n_toys=options.toys, seed=k)
        except MilinferError as error:
            message(f"with nuisance parameters: {error}")
            failed += 1
            continue
        add_p_values(p_values, result)
    return {"datasets": options.nuisance_datasets, "failed": failed, "tests": summaries(p_values)}
