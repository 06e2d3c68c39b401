"""Gaussian events whose mean, width and weights nuisance parameters change, in closed form."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.systematic_response import SystematicResponse
from milinfer.samples.sample import Sample
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations

__all__ = ["NUISANCES", "SMALL", "log_ratio", "relative_error", "variations"]

NUISANCES = ("shift", "width", "theory")
SMALL = {
    "network": NetworkConfig((16,), "silu", batch_norm=False, dropout=0.0, l2=0.0),
    "training": TrainingConfig(6, 1024, 2e-2, 1e-4, schedule="cosine"),
    "seed": 3,
}


def log_ratio(x, shift=0.0, width=0.0, theory=0.0):
    """Exact ln S of x ~ N(0.3 shift, 1 + 0.1 width), with a weight exp(0.1 theory x)."""
    return norm.logpdf(x, 0.3 * shift, 1 + 0.1 * width) - norm.logpdf(x) + 0.1 * theory * x


def variations(n: int, seed: int, *, soft: bool = False, together: bool = False):
    """Events moved from the same z, or (soft) weights of the same densities."""
    z = np.random.default_rng(seed).normal(size=(n, 1))
    nominal = Sample(z, ("x",), process="background")
    x = nominal.column("x").astype(np.float64)
    points = [{name: s} for s in (-1.0, 1.0) for name in NUISANCES]
    if together:
        points.append({"shift": 1.0, "width": 1.0})
    out = []
    for point in points:
        if soft or "theory" in point:
            out.append(Variation.of_weights(nominal, point, np.exp(log_ratio(x, **point))))
        else:
            moved = 0.3 * point.get("shift", 0) + (1 + 0.1 * point.get("width", 0)) * z
            out.append(Variation.of_features(nominal, point, moved))
    return ProcessVariations(nominal, tuple(out))


def relative_error(response: SystematicResponse, **alpha: float) -> float:
    """RMS error of ln S over the density, in units of the spread of ln S."""
    x = norm.ppf((np.arange(2000) + 0.5) / 2000)
    table = response.table(Sample(x[:, None], ("x",)))
    exact = log_ratio(x, **alpha)
    error = table.log_response(response.terms.array(alpha)) - exact
    return float(np.sqrt(np.mean(error**2)) / exact.std())
