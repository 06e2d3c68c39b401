"""A nuisance parameter that shifts the mean of a Gaussian: its response is known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from milinfer.datasets import gaussian
from milinfer.likelihood.expected_response import ExpectedResponse, expected_response
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Float32Array

SHIFT = 0.3


@dataclass(frozen=True, eq=False)
class Shift(Response):
    """Exact response of N(mu, 1) to a shift of its mean by SHIFT α."""

    terms: ResponseTerms
    nominal: SampleSet
    process: str = "signal"
    feature_names: tuple[str, ...] = ("x0",)
    digest: str = ""
    trained_on: tuple[str, ...] = ()
    expected: ExpectedResponse = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", expected_response(self.table, self.nominal))

    def event_columns(self, sample: Sample) -> Float32Array:
        """0.3 (x − mu) α − 0.045 α², and no more."""
        x = sample.column("x0").astype(np.float64)
        ones = np.ones(len(x))
        if self.terms.interpolation == "code4":
            first, second = SHIFT * x, -(SHIFT**2) / 2 * ones
            columns = [first + second, second - first]
            if self.terms.parameters:
                slope = SHIFT * self.terms.half[0] * ones
                columns += [-slope, slope]
            return np.stack(columns, axis=1).astype(np.float32)
        columns = [SHIFT * x, -(SHIFT**2) / 2 * ones]
        if self.terms.parameters:
            columns += [-SHIFT * self.terms.half[0] * ones, 0 * ones]
        return np.stack(columns, axis=1).astype(np.float32)


def nominal() -> SampleSet:
    return gaussian.samples(20_000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1)


def quantiles() -> SampleSet:
    """Events at the quantiles of the distribution, in random order: means without noise."""
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    order = np.random.default_rng(1)
    return SampleSet(
        tuple(
            Sample((order.permutation(z) + mu)[:, None], ("x0",), point={"mu": mu})
            for mu in (-1.0, -0.5, 0.0, 0.5, 1.0)
        )
    )


def exact_shift() -> Shift:
    return Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), nominal())
