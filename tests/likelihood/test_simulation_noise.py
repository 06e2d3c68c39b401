"""Monte-Carlo errors of expected yields, and how far they move a fit."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.simulation_noise import yield_noise
from milinfer.likelihood.systematics import SystematicCost, systematic_terms
from shifted_gaussian import SHIFT, Shift

N, N_SIMULATED = 100, 50_000


def cost_of(seed: int, *, extended: bool = True) -> SystematicCost:
    """A mean and a shift of it, which the number of events and the constraint tell apart."""
    nominal = gaussian.samples(N_SIMULATED // 5, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=seed)
    terms = ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)})
    whole = systematic_terms(
        gaussian.MeanModel(),
        rate=float(N),
        responses={"signal": Shift(terms, nominal)},
        reference=0.0,
    )
    return whole.cost(gaussian.generate(N, 0.1, seed=3).as_data(), extended=extended)


def test_the_noise_is_the_spread_over_simulations() -> None:
    found, told = [], []
    for seed in range(40):
        cost = cost_of(10 * seed)
        m = mil.minuit(cost).migrad()
        m.hesse()
        found.append([m.values[n] / m.errors[n] for n in ("mu", "shift")])
        told.append([yield_noise(cost, m)[n] for n in ("mu", "shift")])
    spread, mean = np.std(found, axis=0, ddof=1), np.sqrt(np.mean(np.square(told), axis=0))
    assert spread == pytest.approx(mean, rel=0.4)
    # Nothing but the constraint tells both apart: far more than the root of the ratio of events.
    assert mean[1] > N * SHIFT / N_SIMULATED**0.5
    assert mean[1] > 4 * (N / N_SIMULATED) ** 0.5


def test_more_events_have_less_noise_and_a_fixed_parameter_none() -> None:
    cost = cost_of(1)
    m = mil.minuit(cost).migrad()
    whole = yield_noise(cost, m)
    m.fixed["shift"] = True
    m.migrad()
    fixed = yield_noise(cost, m)
    assert set(whole) == {"mu", "shift"}
    assert set(fixed) == {"mu"}
    assert fixed["mu"] < whole["mu"] / 4


def test_wrong_use_is_named() -> None:
    cost = cost_of(1)
    m = mil.minuit(cost)
    with pytest.raises(FitError, match="no covariance matrix"):
        yield_noise(cost, m)
    with pytest.raises(ParameterError, match="takes a SystematicCost and its Minuit"):
        yield_noise(lambda mu: mu**2, m)  # type: ignore[arg-type]
