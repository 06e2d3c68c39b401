"""Feldman-Cousins intervals of the mean μ ≥ 0 of a Gaussian, by enumerated outcomes.

G. J. Feldman and R. D. Cousins, Phys. Rev. D 57 (1998) 3873, §IV.B and table X: an exact answer
with a physical bound, to compare belts with.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from milinfer.intervals.confidence_sets import confidence_set
from milinfer.intervals.counting import belt_from_outcomes

# Step and half-width of the outcomes that stand for a continuous one.
STEP, REACH = 1e-3, 7.0


def bounded_gaussian(x, cl=0.9):
    """Confidence interval of a measured value `x`, in units of the width."""
    edges = np.arange(-REACH, REACH + STEP, STEP)
    middle = (edges[1:] + edges[:-1]) / 2
    probability = np.diff(norm.cdf(edges))[None]

    def excess(mu):
        outcomes = mu + middle
        belt = belt_from_outcomes(
            np.array([mu]),
            -(middle[:, None] ** 2) / 2,
            -(np.minimum(outcomes, 0.0) ** 2) / 2,
            probability,
            cl,
        )
        q = (x - mu) ** 2 - min(x, 0.0) ** 2
        return float(q - belt.critical[0])

    best = max(x, 0.0)
    reach = float(norm.ppf((1 + cl) / 2)) + 1
    grid = np.linspace(max(best - reach, 0.0), best + reach, 41)
    return confidence_set(excess, grid, parameter="mu", cl=cl, estimate=best, error=lambda _: 0.0)
