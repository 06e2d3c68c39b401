"""Compiled sums of the likelihood with nuisance parameters, against the formula in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from milinfer.datasets import gaussian
from milinfer.likelihood.code4 import CODE4_COEFFICIENTS
from milinfer.likelihood.expected_response import ExpectedResponse
from milinfer.likelihood.nuisance_kernels import exponential
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.systematics import (
    MixtureEvents,
    NormalisationUncertainty,
    SystematicCost,
    systematic_cost,
    systematic_terms,
)
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Float32Array
from shifted_gaussian import Shift

MEANS = {"far": 2.0, "wide": -1.5}
YIELDS = {"far": 60.0, "wide": 25.0}
UNCERTAINTIES = (
    NormalisationUncertainty("other", {"signal": (0.97, 1.04)}),
    NormalisationUncertainty("efficiency", {"signal": (0.98, 1.02), "far": (0.9, 1.2)}),
)


@dataclass(frozen=True, eq=False)
class Waves(Shift):
    """As many made-up coefficients as the terms need."""

    def event_columns(self, sample: Sample) -> Float32Array:
        x = sample.column("x0").astype(np.float64)[:, None]
        k = np.arange(1, self.terms.n_columns + 1)
        return (0.2 / k * np.sin(0.7 * k * x + k)).astype(np.float32)


def events() -> Sample:
    parts = (gaussian.generate(n, m, seed=n).features for n, m in ((301, 0.2), (60, 2.0), (29, -1)))
    return Sample(np.concatenate(list(parts)), ("x0",))


def costs(kind: str, *, backgrounds: int = 2, extended: bool = True) -> SystematicCost:
    """Signal whose response depends on the parameter of interest, and backgrounds."""
    at_points = gaussian.samples(4000, [-1.0, 0.0, 1.0], seed=1)
    own = {"parameters": {"mu": (-1.0, 1.0)}}
    if kind == "code4":
        first = ResponseTerms.of(["shift", "other"], interpolation="code4", **own)
    else:
        first = ResponseTerms.of(["shift", "other"], cross_terms=True, degree=3, **own)
    second = ResponseTerms.of(["tilt", "shift"], interpolation=kind)
    names = list(MEANS)[:backgrounds]
    responses = {"signal": Waves(first, at_points)}
    if names:
        nominal = SampleSet((gaussian.generate(4000, 2.0, seed=9),))
        responses[names[0]] = Waves(second, nominal, names[0])
    return systematic_cost(
        gaussian.MeanModel(),
        events(),
        rate=300.0,
        reference=0.0,
        backgrounds={n: (_ratio(MEANS[n]), YIELDS[n]) for n in names},
        responses=responses,
        uncertainties=[
            u._replace(factors={k: v for k, v in u.factors.items() if k in ("signal", *names)})
            for u in UNCERTAINTIES
        ],
        luminosity_uncertainty=0.02,
        extended=extended,
    )


def _ratio(mean: float):
    return lambda sample: gaussian.log_likelihood_ratio(sample.column("x0"), mean)


def code4(alpha, up, down):
    """Logarithm of interpolation code 4; any of the arguments may be complex."""
    if np.real(alpha) >= 1:
        return alpha * up
    if np.real(alpha) <= -1:
        return -alpha * down
    high, low = np.exp(up), np.exp(down)
    sides = [high - 1, low - 1, high * up, -low * down, high * up**2, low * down**2]
    coefficients = np.tensordot(CODE4_COEFFICIENTS, np.array(sides), axes=1)
    return np.log(1 + sum(c * alpha ** (k + 1) for k, c in enumerate(coefficients)))


def log_kappa(expected: ExpectedResponse, alpha, theta):
    """Splines of single nuisance parameters, and polynomials of pairs."""
    exponents = expected.basis.exponents if expected.basis is not None else np.zeros((1, 1), int)
    monomials = np.prod(np.asarray(theta)[None] ** exponents, axis=1)
    n_cells = expected.singles.shape[2]
    unit = np.asarray(alpha) / expected.limits
    total = 0.0
    for k, u in enumerate(unit):
        cell = min(max(int(np.floor((u.real + 1) * n_cells / 2)), 0), n_cells - 1)
        t = u + 1 - cell * 2 / n_cells
        total += (t ** np.array([3, 2, 1, 0])) @ expected.singles[0, k, cell] @ monomials
    vector = np.concatenate([unit, unit**2])
    return total + vector @ np.tensordot(monomials, expected.pairs[0], 1) @ vector


def plain(cost: SystematicCost, values, *, extended: bool = True):
    """−2 ln L as one would write it first; values may be complex."""
    at = dict(zip(cost.terms.names, values, strict=True))
    x = events().column("x0").astype(np.float64)
    density, expected, start = 0.0, 0.0, 0.0
    at_start = 0.0
    for process in cost.terms.processes:
        mean = MEANS.get(process, 0.0)
        total = YIELDS.get(process, 300.0)
        log_ratio = mean * x - mean**2 / 2
        at_start = at_start + total * np.exp(log_ratio)
        start += total
        if process == "signal":
            log_ratio = at["mu"] * x - at["mu"] ** 2 / 2
        norm = at.get(f"{process}_norm", 1.0)
        for u in UNCERTAINTIES:
            down, up = np.log(u.factors.get(process, (1.0, 1.0)))
            norm = norm * np.exp(code4(at[u.name], up, down))
        log_s, log_k = 0.0, 0.0
        response = cost.terms.responses.get(process)
        if response is not None:
            terms = response.terms
            alpha = np.array([at[n] for n in terms.nuisances])
            mixing = np.array([1.0, *(at[n] for n in terms.parameters)])
            columns = response.event_columns(events()).astype(np.float64)
            columns = np.tensordot(columns.reshape(len(x), len(mixing), -1), mixing, axes=(1, 0))
            if terms.interpolation == "code4":
                n = len(alpha)
                for k, a in enumerate(alpha):
                    log_s = log_s + code4(a, columns[:, k], columns[:, n + k])
            else:
                log_s = columns @ np.prod(alpha[None] ** terms.exponents, axis=1)
            theta = np.array([at[n] for n in response.expected.parameters or ("mu",)])
            log_k = log_kappa(response.expected, alpha, theta)
        density = density + norm * total * np.exp(log_ratio + log_s)
        expected = expected + norm * total * np.exp(log_k)
    value = np.sum(np.log(density / at_start))
    if extended:
        value += len(x) * np.log(at["lumi"]) - at["lumi"] * expected + start
    else:
        value -= len(x) * np.log(expected / start)
    pulls = sum(((at[c.name] - c.measured) / c.error) ** 2 for c in cost.terms.constraints)
    return -2 * value + pulls


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("backgrounds", [0, 1, 2])
@pytest.mark.parametrize("kind", ["polynomial", "code4"])
def test_cost_and_gradient_are_those_of_the_plain_formula(
    kind: str, backgrounds: int, *, extended: bool
) -> None:
    cost = costs(kind, backgrounds=backgrounds, extended=extended)
    names = cost.terms.names
    rng = np.random.default_rng(2)
    for scale in (0.1, 0.7, 1.6):
        at = {n: scale * rng.normal() for n in names}
        at |= {n: 1 + 0.1 * abs(at[n]) for n in names if n.endswith("_norm") or n == "lumi"}
        at["mu"] = np.clip(at["mu"], -0.9, 0.9)
        values = np.array([np.clip(at[n], *cost.terms.limits[n]) for n in names])
        value = plain(cost, values, extended=extended)
        # The scale of rounding: the cost is a difference of sums over hundreds of events.
        assert cost(*values.tolist()) == pytest.approx(value, rel=1e-12, abs=1e-9)
        gradient = cost.grad(*values.tolist())
        for k, name in enumerate(names):
            step = values.astype(complex)
            step[k] += 1e-30j
            slope = plain(cost, step, extended=extended).imag / 1e-30
            assert gradient[k] == pytest.approx(slope, rel=1e-11, abs=1e-9), name


def test_a_normalisation_of_zero_has_a_gradient() -> None:
    cost = costs("polynomial")
    at = cost.start | {"far_norm": 0.0, "shift": 0.4, "mu": 0.1}
    values = np.array(list(at.values()))
    assert cost(*values.tolist()) == pytest.approx(plain(cost, values), rel=1e-12)
    step = values.astype(complex)
    k = cost.terms.names.index("far_norm")
    step[k] += 1e-30j
    assert cost.grad(*values.tolist())[k] == pytest.approx(
        plain(cost, step).imag / 1e-30, rel=1e-11
    )


@pytest.mark.parametrize("log_ratio", [-2000.0, -300.0, 300.0, 2000.0])
@pytest.mark.parametrize("others", [0, 1])
def test_densities_that_no_float_holds(log_ratio: float, others: int) -> None:
    backgrounds = {"far": (lambda s: np.where(s.column("x0") > 0, log_ratio, 0.0), 60.0)}
    backgrounds |= {"flat": (lambda s: np.zeros(len(s)), 5.0)} if others else {}
    terms = systematic_terms(
        gaussian.MeanModel(),
        rate=300.0,
        backgrounds=backgrounds,
        responses={},
        reference=0.0,
        uncertainties=[NormalisationUncertainty("e", {"signal": (0.9, 1.1)})],
    )
    data = events()
    cost = SystematicCost(terms, MixtureEvents.of(terms, data))
    x = data.column("x0").astype(np.float64)
    rows = [np.log(300) + 0.3 * x - 0.045, np.log(1.2 * 60) + np.where(x > 0, log_ratio, 0.0)]
    start = [np.full(len(x), np.log(300)), np.log(60) + np.where(x > 0, log_ratio, 0.0)]
    if others:
        rows.append(np.full(len(x), np.log(5)))
        start.append(np.full(len(x), np.log(5)))
    log_density = np.logaddexp.reduce(rows, axis=0) - np.logaddexp.reduce(start, axis=0)
    at = cost.start | {"mu": 0.3, "far_norm": 1.2}
    expected = -2 * (np.sum(log_density) - 0.2 * 60)
    assert cost(*at.values()) == pytest.approx(expected, rel=1e-11)
    assert np.isfinite(cost.grad(*at.values())).all()


def test_the_exponential_function() -> None:
    x = np.random.default_rng(1).uniform(-708, 709, 100_000)
    np.testing.assert_allclose(exponential(x), np.exp(x), rtol=4e-16, atol=0)
    small = np.random.default_rng(2).normal(size=10_000)
    np.testing.assert_allclose(exponential(small), np.exp(small), rtol=4e-16, atol=0)
    ends = exponential(np.array([-np.inf, np.inf, 0.0, np.nan]))
    assert ends[:3].tolist() == pytest.approx([np.exp(-708), np.exp(709), 1.0], rel=1e-13)
    assert np.isnan(ends[3])


@pytest.mark.parametrize("rate", [1e-40, 300.0, 1e40])
def test_weights_that_are_not_one_and_rates_of_any_size(rate: float) -> None:
    terms = systematic_terms(
        gaussian.MeanModel(),
        rate=rate,
        backgrounds={"far": (_ratio(2.0), 0.1 * rate)},
        responses={},
        reference=0.0,
    )
    data = events()
    x = data.column("x0").astype(np.float64)
    density = (np.exp(0.3 * x - 0.045) + 0.12 * np.exp(2 * x - 2)) / (1 + 0.1 * np.exp(2 * x - 2))
    weighted = Sample(data.features, ("x0",), weights=np.where(x > 0, 1.0, -1.0))
    for sample in (data, weighted):
        cost = SystematicCost(terms, MixtureEvents.of(terms, sample))
        expected = -2 * (sample.weights @ np.log(density) - 0.02 * rate)
        assert cost(mu=0.3, far_norm=1.2) == pytest.approx(expected, rel=1e-11)


def test_the_order_of_calls_does_not_matter() -> None:
    cost = costs("polynomial")
    here, there = list(cost.start.values()), [0.3, 1.1, 0.9, 0.5, -0.2, 0.1, 0.4, 1.01]
    value, gradient = cost(*there), cost.grad(*there)
    again = costs("polynomial")
    assert np.array_equal(again.grad(*there), gradient)
    assert again(*here) == cost(*here)
    assert np.array_equal(again.grad(*there), gradient)
    assert again(*there) == value
