"""Gaussian examples with closed-form likelihood ratios ([NT], §III).

Events have one or more independent Gaussian features of unit variance.  The mean of the first
feature is the parameter ``mu``, the mean of all others is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from milinfer.likelihood.models import EventModel
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray

__all__ = [
    "MeanModel",
    "fisher_information",
    "generate",
    "log_likelihood_ratio",
    "samples",
    "two_gaussians",
]


def generate(n_events: int, mu: float, *, seed: int, n_features: int = 1) -> Sample:
    """Generate events: ``x0`` has the mean `mu` and unit variance, ``x1``, ``x2``, … are noise.

    Examples
    --------
    >>> generate(5, 0.5, seed=1)
    Sample(5 events, 1 feature, gaussian at mu=0.5)
    """
    x = np.random.default_rng(seed).normal(size=(n_events, n_features))
    x[:, 0] += mu
    return Sample(
        x.astype(np.float32),
        tuple(f"x{k}" for k in range(n_features)),
        point={"mu": mu},
        process="gaussian",
        cross_section=1.0,
        cross_section_error=0.0,
        provenance={"generator": "milinfer.datasets.gaussian", "seed": seed},
    )


def samples(n_events: int, values: Sequence[float], *, seed: int, n_features: int = 1) -> SampleSet:
    """Generate one sample for each mean.

    Examples
    --------
    >>> samples(5, [-0.1, 0.1], seed=1)
    SampleSet(2 points in mu, 10 events, 1 features)
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(values))
    return SampleSet(
        tuple(
            generate(n_events, v, seed=int(s), n_features=n_features)
            for v, s in zip(values, seeds, strict=True)
        )
    )


def two_gaussians(n_events: int, *, epsilon: float = 0.1, seed: int) -> SampleSet:
    """Generate samples of the two Gaussians N(±ε, 1) of [NT], §III A 1.

    Examples
    --------
    >>> two_gaussians(5, seed=1).values("mu")
    array([-0.1,  0.1])
    """
    return samples(n_events, [-epsilon, epsilon], seed=seed)


def log_likelihood_ratio(x: ArrayLike, mu: ArrayLike, reference: float = 0.0) -> FloatArray:
    """Compute the exact log-likelihood ratio ln p(x|mu)/p(x|reference).

    Parameters
    ----------
    x
        Values of ``x0``, shape (n,).
    mu
        Means, an array of shape (m,) or a number.

    Returns
    -------
    ndarray
        Log-likelihood ratios, shape (n, m), or (n,) if `mu` is a number.

    Examples
    --------
    >>> log_likelihood_ratio([1.0], 1.0)
    array([0.5])
    """
    values, means = np.asarray(x, dtype=np.float64), np.asarray(mu, dtype=np.float64)
    shaped = values[:, None] if means.ndim else values
    out: FloatArray = (means - reference) * shaped - (means**2 - reference**2) / 2
    return out


def fisher_information(n_events: int) -> float:
    """Return the exact Fisher information of `n_events` events about the mean: 1 for each event.

    Examples
    --------
    >>> fisher_information(100)
    100.0
    """
    return float(n_events)


@dataclass(frozen=True)
class MeanModel(EventModel):
    r"""Model for the mean of a Gaussian: exact, or wrong by known numbers to test calibrations.

    Its log-likelihood ratio for N events with mean :math:`\bar x` is
    :math:`\Lambda(\mu) = c\,N\,[(r\bar x + b)\,\mu - \mu^2/2]`.

    Parameters
    ----------
    scale
        Factor c on Λ; 1 for the exact ratio.
    response, shift
        Numbers r and b in the estimate r·x̄ + b; 1 and 0 for the exact ratio.
    name
        Name of the model.

    Examples
    --------
    >>> model = MeanModel(scale=0.5)
    >>> model.event_llr(generate(3, 0.0, seed=1)).shape
    (3, 9)
    """

    scale: float = 1.0
    response: float = 1.0
    shift: float = 0.0
    name: str = "mean"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter."""
        return ("mu",)

    @property
    def interpolation(self) -> Interpolation:
        """Parabolas in μ, through 9 points from −1 to 1."""
        return Interpolation(np.linspace(-1, 1, 9), "polynomial", 2)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratios of the events to μ = 0, at 9 values of μ, shape (n_events, 9)."""
        x = self.response * sample.column("x0").astype(np.float64) + self.shift
        return self.scale * log_likelihood_ratio(x, self.interpolation.grid)
