"""Models with closed-form answers, shared by the tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milinfer.likelihood.models import BagModel, EventModel
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray

GRID = Interpolation(np.linspace(-1, 1, 9), "polynomial", 2)


@dataclass(frozen=True)
class GaussianMean(EventModel):
    """x ~ N(θ, 1): λ(θ) = s [(θ − b) x − (θ − b)²/2], exact for s = 1 and b = 0.

    `scale` makes the curvature wrong by a known factor, `shift` the estimate by a known bias.
    """

    scale: float = 1.0
    shift: float = 0.0
    interpolation: Interpolation = GRID
    parameter: str = "mu"
    name: str = "gaussian"

    @property
    def parameters(self) -> tuple[str, ...]:
        return (self.parameter,)

    def event_llr(self, sample: Sample) -> FloatArray:
        theta = self.interpolation.grid - self.shift
        x = sample.column("x").astype(np.float64)[:, None]
        return self.scale * (theta * x - theta**2 / 2)


@dataclass(frozen=True)
class Bags(BagModel):
    """Λ of a bag is (reduced summary of x and x²) · θ-functions + the number of events."""

    reduction: str = "sum"
    events_in_bag: int = 3
    interpolation: Interpolation = GRID
    parameters: tuple[str, ...] = ("mu",)
    name: str = "bags"

    def event_summary(self, sample: Sample) -> FloatArray:
        x = sample.column("x")
        return np.stack([x, x**2], axis=1)

    def bag_llr(self, reduced: FloatArray, counts: IntArray) -> FloatArray:
        theta = self.interpolation.grid
        return np.tanh(reduced) @ np.stack([theta, theta**2]) + counts[:, None]


def gaussian_samples(values: list[float], n_events: int, seed: int) -> SampleSet:
    rng = np.random.default_rng(seed)
    return SampleSet(
        tuple(
            Sample(rng.normal(v, 1, (n_events, 1)), ("x",), point={"mu": v}, cross_section=1.0)
            for v in values
        )
    )


def linear_rate() -> Rate:
    """ν(μ) = 100 (1 + μ/2)."""
    samples = tuple(
        Sample(
            np.zeros((1, 1)),
            ("x",),
            point={"mu": m},
            cross_section=0.1 * (1 + m / 2),
            cross_section_error=0.0,
        )
        for m in (-1.0, 0.0, 1.0)
    )
    return Rate.from_samples(SampleSet(samples), luminosity=1.0, degree=1)
