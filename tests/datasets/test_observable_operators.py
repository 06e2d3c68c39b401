"""The likelihood ratio of the visible final state in several operators."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.datasets.amplitude import M_H, decay_ww, production
from milinfer.datasets.observable import observable_coefficients
from milinfer.datasets.operators import quartic
from milinfer.datasets.phase_space import SQRT_S, boost, parton_densities
from milinfer.exceptions import ParameterError
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.utils.polynomials import PolynomialBasis

N_EVENTS = 4_000
TWO = ("c_HW", "c_HWtil")
POINTS = ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
BASIS = PolynomialBasis(TWO, 4)
ODD = BASIS.exponents[:, 1] % 2 == 1
ENERGY_FIRST = [3, 0, 1, 2]


@pytest.fixture(scope="module")
def generated():
    return [
        vbf_hww.generate(N_EVENTS, dict(zip(TWO, p, strict=True)), seed=60 + k)
        for k, p in enumerate(POINTS)
    ]


@pytest.fixture(scope="module")
def marginal(generated):
    return [observable_coefficients(events) for events in generated]


@pytest.fixture(scope="module")
def few(generated):
    return generated[0].take(slice(0, 150))


def pull(x):
    return x.mean() / (x.std() / np.sqrt(len(x)))


def weighted_amplitudes(event, n, rng):
    """Quartics by four-vectors and spinors at random y_H and neutrino directions, (n, 15)."""
    y, direction = rng.uniform(-6, 6, n), rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    positron, electron, down, up = event
    recoil, one, zero = -(down + up), np.ones(n), np.zeros(n)
    mt = np.sqrt(M_H**2 + recoil[1] ** 2 + recoil[2] ** 2)
    higgs = np.stack([mt * np.cosh(y), recoil[1] * one, recoil[2] * one, mt * np.sinh(y)], 1)
    q = higgs - positron - electron
    q2 = q[:, 0] ** 2 - np.sum(q[:, 1:] ** 2, axis=1)
    x1, x2 = np.array([[1, 1], [1, -1]]) @ (higgs + down + up)[:, [0, 3]].T / SQRT_S
    allowed = (q2 > 0) & (q[:, 0] > 0) & (x1 < 1) & (x2 < 1)
    q, half, x1, x2 = q[allowed], np.sqrt(q2[allowed]) / 2, x1[allowed], x2[allowed]
    m, one, zero = len(q), one[allowed], zero[allowed]
    rest = np.column_stack([half, direction[allowed] * half[:, None]])[:, None]
    neutrino = boost(rest, q)[:, 0]
    e_plus, e_minus, d_out, u_out = (np.broadcast_to(k, (m, 4)) for k in event)
    decayed = decay_ww(np.stack([e_plus, neutrino, e_minus, q - neutrino], axis=1), TWO)
    beams = [np.stack([e, zero, zero, s * e], 1) * SQRT_S / 2 for e, s in ((x1, 1), (x2, -1))]
    produced = np.zeros((m, 6))
    for x_up, x_down, u, d in ((x1, x2, *beams), (x2, x1, *beams[::-1])):
        weight = parton_densities(x_up, x_down) / (x1 * x2) ** 2
        produced += production(np.stack([u, d, d_out, u_out], axis=1), TWO) * weight[:, None]
    out = np.zeros((n, 15))
    out[allowed] = quartic(produced, decayed) * (produced[:, :1] * decayed[:, :1])
    return out


def test_brute_force_agrees(few):
    """Uniform points in y_H and in neutrino directions, amplitudes by spinors."""
    events, n = few.take(slice(0, 3)), 200_000
    found = observable_coefficients(events)
    rng = np.random.default_rng(4)
    for k, event in enumerate(events.momenta[:, [5, 7, 9, 10]][..., ENERGY_FIRST]):
        weights = weighted_amplitudes(event, n, rng)
        total = weights.sum(axis=0)
        ratio = total / total[0]
        error = (weights - ratio * weights[:, :1]).std(axis=0) * np.sqrt(n) / total[0]
        error = np.hypot(error, found.errors[k])[1:]
        assert error[0] < 0.05
        assert np.abs((ratio - found.coefficients[k])[1:] / error).max() < 4.5


def mixed(generated, values):
    """Values (n, 15) of all samples over the density of their mixture, which is bounded."""
    sigma = np.array([g.cross_section for g in generated])
    share = BASIS.design(np.array(POINTS)).T @ (sigma[0] / sigma)
    all_values = np.concatenate(values)
    return all_values / (all_values @ share)[:, None]


def test_every_coefficient_is_the_mean_of_the_joint_one_given_the_visible(generated, marginal):
    """E[a_j/m | x] = a_j(x)/m(x) for events of density m, in bins of what is seen.

    The points of the mixture make everything bounded.
    """
    joint = mixed(generated, [g.coefficients for g in generated])
    found = mixed(generated, [m.coefficients for m in marginal])
    p = np.concatenate([g.momenta for g in generated])
    known = (p[:, 5, 3], np.abs(p[:, 9, 2]), np.hypot(*p[:, 10, :2].T))
    for j in range(15):
        residual = joint[:, j] - found[:, j]
        assert abs(pull(residual)) < 4.5, j
        rank = np.argsort(np.argsort(found[:, j])) / len(found) - 0.5
        assert abs(pull(residual * rank)) < 4.5, j
        if sum(BASIS.exponents[j]) <= 2:
            for order in (rank, *known):
                for part in np.array_split(np.argsort(order), 4):
                    assert abs(pull(residual[part])) < 4.5, j


def test_the_mean_joint_score_given_the_visible_is_the_marginal_score(generated, marginal):
    """Slope 1 of both scores, and the residual of either knows nothing of the other."""
    joint, found = generated[0].coefficients[:, 1:3], marginal[0].coefficients[:, 1:3]
    for k in range(2):
        residual = joint[:, k] - found[:, k]
        for other in range(2):
            assert abs(pull(residual * (found[:, other] - found[:, other].mean()))) < 4
        influence = residual * (found[:, k] - found[:, k].mean())
        error = influence.std() / np.sqrt(N_EVENTS) / found[:, k].var()
        slope = np.cov(joint[:, k], found[:, k])[0, 1] / found[:, k].var(ddof=1)
        assert error < 0.05
        assert abs(slope - 1) < 4 * error


def test_densities_are_positive(marginal):
    theta = np.random.default_rng(5).uniform(-1.5, 1.5, (200, 2))
    for ratio in marginal:
        assert (ratio.coefficients @ BASIS.design(theta).T > 0).all()
        np.testing.assert_array_equal(ratio.coefficients[:, 0], 1)
        np.testing.assert_array_equal(ratio.errors[:, 0], 0)


def test_one_operator_has_the_same_ratio_alone_and_among_others(generated, few):
    several = observable_coefficients(few, vbf_hww.OPERATORS)
    basis = PolynomialBasis(vbf_hww.OPERATORS, 4)
    for name in ("c_HW", "c_HWtil", "c_Hbox"):
        alone = observable_coefficients(few, [name])
        others = [k for k, other in enumerate(vbf_hww.OPERATORS) if other != name]
        chosen = (basis.exponents[:, others] == 0).all(axis=1)
        np.testing.assert_allclose(several.coefficients[:, chosen], alone.coefficients, rtol=1e-9)
        # Differences of nearly equal numbers, where the ratio is the same at all points.
        np.testing.assert_allclose(several.errors[:, chosen], alone.errors, rtol=1e-6, atol=1e-12)
    box = observable_coefficients(few, ["c_Hbox"])
    np.testing.assert_allclose(box.coefficients, box.coefficients[:1].repeat(len(few), 0))
    assert box.errors.max() < 1e-10


def test_reflected_events_have_the_opposite_odd_coefficients(few):
    momenta = few.momenta * np.array([1.0, -1.0, 1.0, 1.0])
    reflected = observable_coefficients(dataclasses.replace(few, momenta=momenta))
    found = observable_coefficients(few)
    sign = np.where(ODD, -1.0, 1.0)
    scale = np.abs(found.coefficients).max(axis=0)
    np.testing.assert_allclose(
        reflected.coefficients / scale, sign * found.coefficients / scale, rtol=1e-6, atol=1e-9
    )


def within_errors(found, expected):
    error = np.hypot(found.errors, expected.errors)[:, 1:]
    pulls = (found.coefficients - expected.coefficients)[:, 1:] / error
    # Errors are themselves estimated, from n_rapidity/2 pairs, a few of which dominate.
    return (np.abs(pulls) < 2).mean() > 0.88 and 0.7 < pulls.std() < 1.5


def test_errors_are_those_of_the_integration(few):
    expected = observable_coefficients(few)
    assert within_errors(observable_coefficients(few, seed=1), expected)
    fine = observable_coefficients(few, n_rapidity=512, n_angles=16, seed=2)
    assert within_errors(fine, expected)
    odd = (fine.coefficients - expected.coefficients)[:, 1]
    pulls = odd / np.hypot(fine.errors, expected.errors)[:, 1]
    assert 0.6 < pulls.std() < 1.6


def test_integration_errors_are_small(generated, marginal):
    """What the docstring says of a_1 of c_HW, for both scores."""
    for k in (1, 2):
        spread = generated[0].coefficients[:, k].std()
        assert np.quantile(marginal[0].errors[:, k], 0.99) < 0.01 * spread
        assert np.median(marginal[0].errors[:, k]) < 0.001 * spread


def test_the_oracle_has_both_parameters(generated, marginal):
    """The exact joint ratio from weights, and that of the visible, in one model each."""
    events = generated[0].take(slice(0, 2_000))
    sample = events.to_sample(weights=vbf_hww.default_weights(TWO))
    box = ChebyshevBox(np.full(2, -0.4), np.full(2, 0.4), 6)
    oracle = Oracle.from_sample(sample, TWO, box)
    design = BASIS.design(box.grid)
    for coefficients, of in (
        (events.coefficients, sample),
        (
            marginal[0].coefficients[:2_000],
            dataclasses.replace(
                sample,
                reweights={
                    name: marginal[0].coefficients[:2_000] @ BASIS.design(list(p.values()))[0]
                    for name, p in sample.reweight_points.items()
                },
            ),
        ),
    ):
        total = coefficients.mean(axis=0)
        expected = np.log(coefficients @ design.T) - np.log(design @ total)
        own = Oracle.from_sample(of, TWO, box)
        np.testing.assert_allclose(own.event_llr(of), expected, atol=1e-7)
    cost = oracle.cost(sample.as_data())
    assert cost.parameters == TWO
    values = [cost(0.2, c) - cost(0.0, 0.0) for c in (-0.2, 0.2)]
    assert np.isfinite(values).all()


def test_operators_of_events_and_chosen_ones(few):
    assert observable_coefficients(few.take(slice(0, 5))).coefficients.shape == (5, 15)
    background = vbf_hzz.generate(5, seed=1)
    assert observable_coefficients(background).coefficients.shape == (5, 5)
    assert observable_coefficients(background, TWO).coefficients.shape == (5, 15)
    with pytest.raises(ParameterError, match="are not operators"):
        observable_coefficients(few, ["c_W"])
