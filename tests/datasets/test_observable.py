"""The likelihood ratio of the visible final state: brute force, the joint one, symmetries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import brentq

from milinfer.datasets import observable, vbf_hww, vbf_hzz
from milinfer.datasets.amplitude import (
    M_H,
    decay_ww,
    decay_zz,
    mean_decay_zz,
    production,
    quadratic_of_invariants,
)
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.observable import integrands, observable_coefficients
from milinfer.datasets.phase_space import SQRT_S, boost, parton_densities
from milinfer.exceptions import ParameterError, SampleError
from milinfer.likelihood.oracle import Oracle, reweight_coefficients
from milinfer.samples.sample import Sample
from milinfer.utils.points import point_id

N_EVENTS = 5_000
POINTS = (-1.0, 0.0, 1.0)
ENERGY_FIRST = [3, 0, 1, 2]


@pytest.fixture(scope="module")
def generated():
    return {c: vbf_hww.generate(N_EVENTS, {"c_HW": c}, seed=23) for c in POINTS}


@pytest.fixture(scope="module")
def marginal(generated):
    return {c: observable_coefficients(events) for c, events in generated.items()}


@pytest.fixture(scope="module")
def few(generated):
    return generated[0.0].take(slice(0, 150))


def pull(x):
    return x.mean() / (x.std() / np.sqrt(len(x)))


def twice(a, b):
    return 2 * (a[:, 0] * b[:, 0] - np.sum(a[:, 1:] * b[:, 1:], axis=1))


def test_invariants_give_the_amplitudes(few):
    p = few.momenta[..., ENERGY_FIRST]
    u_first = (few.pdg_ids[:, 0] == 2)[:, None]
    u, d = np.where(u_first, p[:, 0], p[:, 1]), np.where(u_first, p[:, 1], p[:, 0])
    for sign, function, (k1, k2, k3, k4) in (
        (1, decay_ww, (p[:, 5], p[:, 6], p[:, 7], p[:, 8])),
        (-1, production, (u, p[:, 9], p[:, 10], d)),
    ):
        expected = function(np.stack([u, d, p[:, 9], p[:, 10]], 1) if sign < 0 else p[:, 5:9])
        found = np.stack(
            quadratic_of_invariants(
                *(sign * twice(a, b) for a, b in ((k1, k2), (k3, k4), (k1, k3), (k2, k4))),
                twice(k1, k4),
                twice(k2, k3),
            ),
            axis=1,
        )
        expected, found = expected / expected[:, :1], found / found[:, :1]
        np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-9)
        np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-5)


def reference(event, y, direction):
    """Weighted |M|² by four-vectors and spinors at y_H (n,), νe along `direction` (n, 3) at rest.

    None of it where q² < 0 or a momentum fraction is above one.
    """
    positron, electron, down, up = event
    recoil, n = -(down + up), len(y)
    mt, one, zero = np.sqrt(M_H**2 + recoil[1] ** 2 + recoil[2] ** 2), np.ones(n), np.zeros(n)
    higgs = np.stack([mt * np.cosh(y), recoil[1] * one, recoil[2] * one, mt * np.sinh(y)], 1)
    q = higgs - positron - electron
    q2 = q[:, 0] ** 2 - np.sum(q[:, 1:] ** 2, axis=1)
    x1, x2 = np.array([[1, 1], [1, -1]]) @ (higgs + down + up)[:, [0, 3]].T / SQRT_S
    allowed = (q2 > 0) & (q[:, 0] > 0) & (x1 < 1) & (x2 < 1)
    q, half = np.where(allowed[:, None], q, [1.0, 0, 0, 0]), np.sqrt(np.where(allowed, q2, 1)) / 2
    x1, x2 = np.where(allowed, x1, 0.5), np.where(allowed, x2, 0.5)
    neutrino = boost(np.column_stack([half, direction * half[:, None]])[:, None], q)[:, 0]
    e_plus, e_minus, d_out, u_out = (np.broadcast_to(k, (n, 4)) for k in event)
    decayed = decay_ww(np.stack([e_plus, neutrino, e_minus, q - neutrino], axis=1))
    beams = [np.stack([e, zero, zero, s * e], 1) * SQRT_S / 2 for e, s in ((x1, 1), (x2, -1))]
    produced = np.zeros((n, 3))
    for x_up, x_down, u, d in ((x1, x2, *beams), (x2, x1, *beams[::-1])):
        weight = parton_densities(x_up, x_down) / (x1 * x2) ** 2
        produced += production(np.stack([u, d, d_out, u_out], axis=1)) * weight[:, None]
    return produced * allowed[:, None], decayed * allowed[:, None]


def visible(events):
    return events.momenta[:, [5, 7, 9, 10]][..., ENERGY_FIRST]


def test_integrands_are_the_amplitudes_at_each_rapidity(few):
    # One event: the next test has others, by fewer points.
    seen = visible(few.take(slice(0, 1)))
    z = np.linspace(-0.8, 0.8, 3)
    rng = np.random.default_rng(2)
    shape = (len(seen), len(z))
    produced, decayed, _ = integrands(seen, z[None], rng.random((3, *shape)), 1_000)
    # A product grid around the x axis, finer than the Breit–Wigner peaks.
    cos, phi = (np.arange(500) + 0.5) / 250 - 1, 2 * np.pi * (np.arange(500) + 0.5) / 500
    cos, phi = (k.ravel() for k in np.meshgrid(cos, phi))
    sin = np.sqrt(1 - cos**2)
    direction = np.stack([cos, sin * np.cos(phi), sin * np.sin(phi)], axis=1)
    for k, event in enumerate(seen):
        pair, recoil = event[0] + event[1], -(event[2] + event[3])[1:3]
        y_pair, mt = np.arctanh(pair[3] / pair[0]), np.sqrt(M_H**2 + recoil @ recoil)

        def q2(y, pair=pair, recoil=recoil, mt=mt):
            q = np.array([mt * np.cosh(y), *recoil, mt * np.sinh(y)]) - pair
            return q[0] ** 2 - q[1:] @ q[1:]

        low, high = brentq(q2, y_pair - 4, y_pair), brentq(q2, y_pair, y_pair + 4)
        y = (low + high) / 2 + z * (high - low) / 2
        parts = [reference(event, np.full(len(direction), v), direction) for v in y]
        for found, part in ((produced, 0), (decayed, 1)):
            values = np.array([x[k] for x in found]).T
            expected = np.array([p[part].mean(axis=0) for p in parts])
            middle = len(z) // 2, 0
            difference = values / values[middle] - expected / expected[middle]
            scale = np.abs(expected / expected[middle]).max(axis=0)
            assert (np.abs(difference) < 3e-3 * scale).all()


def test_brute_force_agrees(few):
    """Uniform points in y_H and in neutrino directions."""
    events = few.take(slice(0, 3))
    found = observable_coefficients(events)
    rng, n = np.random.default_rng(4), 200_000
    for k, event in enumerate(visible(events)):
        direction = rng.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        produced, decayed = reference(event, rng.uniform(-6, 6, n), direction)
        quartic = np.zeros((n, 5))
        for i in range(3):
            for j in range(3):
                quartic[:, i + j] += produced[:, i] * decayed[:, j]
        total = quartic.sum(axis=0)
        ratio = total / total[0]
        error = (quartic - ratio * quartic[:, :1]).std(axis=0) * np.sqrt(n) / total[0]
        error = np.hypot(error, found.errors[k])[1:]
        assert error[0] < 0.05
        assert np.abs((ratio - found.coefficients[k])[1:] / error).max() < 4


def test_densities_are_positive_and_normalised_to_the_standard_model(marginal):
    for ratio in marginal.values():
        np.testing.assert_array_equal(ratio.coefficients[:, 0], 1)
        np.testing.assert_array_equal(ratio.errors[:, 0], 0)
        values = np.polynomial.polynomial.polyval(np.linspace(-1, 1, 81), ratio.coefficients.T)
        assert (values > 0).all()


def test_integration_errors_are_small(generated, marginal):
    spread = generated[0.0].coefficients[:, 1].std()
    assert np.quantile(marginal[0.0].errors[:, 1], 0.99) < 0.01 * spread
    assert np.median(marginal[0.0].errors[:, 1]) < 0.001 * spread


def test_the_mean_joint_score_given_the_visible_is_the_marginal_score(generated, marginal):
    """E[t(x, z) | x] = t(x): slope 1, and residuals that know nothing about x."""
    joint, found = generated[0.0].coefficients[:, 1], marginal[0.0].coefficients[:, 1]
    residual = joint - found
    assert abs(pull(residual)) < 4
    slope = np.cov(joint, found)[0, 1] / found.var(ddof=1)
    influence = residual * (found - found.mean())
    error = influence.std() / np.sqrt(N_EVENTS) / found.var()
    assert error < 0.05
    assert abs(slope - 1) < 4 * error
    for part in np.array_split(np.argsort(found), 4):
        assert abs(pull(residual[part])) < 4.5


def test_every_coefficient_is_the_mean_of_the_joint_one_given_the_visible(generated, marginal):
    """E[a_j/m | x] = a_j(x)/m(x) for events of density m.

    Under the standard model alone a_2 has an infinite variance, as |M|² vanishes in places; with
    three points nothing diverges.  Tails stay long, hence few bins, and ranks.
    """
    sigma = np.array([generated[c].cross_section for c in POINTS])
    share = np.polynomial.polynomial.polyvander(np.array(POINTS), 4).T @ (sigma[1] / sigma)
    joint = np.concatenate([generated[c].coefficients for c in POINTS])
    found = np.concatenate([marginal[c].coefficients for c in POINTS])
    joint, found = joint / (joint @ share)[:, None], found / (found @ share)[:, None]
    for j in range(5):
        residual = joint[:, j] - found[:, j]
        rank = np.argsort(np.argsort(found[:, j])) / len(found) - 0.5
        assert abs(pull(residual)) < 4.5
        assert abs(pull(residual * rank)) < 4.5
        if j in {1, 2}:
            p = np.concatenate([generated[c].momenta for c in POINTS])
            for known in (rank, p[:, 5, 3], np.abs(p[:, 9, 2]), np.hypot(*p[:, 10, :2].T)):
                for part in np.array_split(np.argsort(known), 4):
                    assert abs(pull(residual[part])) < 4.5


def test_hidden_variables_carry_information(generated, marginal):
    joint, found = generated[0.0].coefficients[:, 1], marginal[0.0].coefficients[:, 1]
    lost = (joint - joint.mean()) ** 2 - (found - found.mean()) ** 2
    assert pull(lost) > -2
    # E[t(x, z)²] = E[t(x)²] + E[(t(x, z) − t(x))²].
    square = (joint - found) ** 2
    assert abs(pull(lost - square)) < 4


def test_only_the_visible_is_read(few):
    momenta, ids = np.full_like(few.momenta, np.nan), np.zeros_like(few.pdg_ids)
    momenta[:, [5, 7, 9, 10]] = few.momenta[:, [5, 7, 9, 10]]
    blind = dataclasses.replace(
        few, momenta=momenta, pdg_ids=ids, coefficients=np.full((len(few), 5), np.nan)
    )
    found, expected = observable_coefficients(blind), observable_coefficients(few)
    np.testing.assert_array_equal(found.coefficients, expected.coefficients)


def turned(events: GeneratedEvents, matrix) -> GeneratedEvents:
    momenta = events.momenta.copy()
    momenta[..., :3] = momenta[..., :3] @ np.array(matrix).T
    return dataclasses.replace(events, momenta=momenta)


def test_the_azimuth_does_not_matter(few):
    cos, sin = np.cos(1.1), np.sin(1.1)
    rotated = turned(few, [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    found, expected = observable_coefficients(rotated), observable_coefficients(few)
    np.testing.assert_allclose(found.coefficients, expected.coefficients, rtol=1e-5, atol=1e-8)


def within_errors(found, expected):
    error = np.hypot(found.errors, expected.errors)[:, 1:]
    pulls = (found.coefficients - expected.coefficients)[:, 1:] / error
    # Errors are themselves estimated, from n_rapidity/2 pairs, a few of which dominate.
    return (np.abs(pulls) < 2).mean() > 0.88 and 0.7 < pulls.std() < 1.5


def test_the_proton_beams_and_mirrors_do_not_matter(few):
    expected = observable_coefficients(few)
    for matrix in (np.diag([1, -1, -1]), np.diag([1, 1, -1]), np.diag([-1, 1, 1])):
        assert within_errors(observable_coefficients(turned(few, matrix), seed=6), expected)


def test_seeds_and_numbers_of_points_agree_within_errors(few):
    expected = observable_coefficients(few)
    other = observable_coefficients(few, seed=1)
    assert not np.array_equal(other.coefficients, expected.coefficients)
    assert within_errors(other, expected)
    fine = observable_coefficients(few, n_rapidity=512, n_angles=16, seed=2)
    assert within_errors(fine, expected)
    assert np.median(fine.errors[:, 1]) < 0.4 * np.median(expected.errors[:, 1])


def test_workers_and_blocks_change_no_digit(few, monkeypatch):
    expected = observable_coefficients(few, n_rapidity=32, seed=3)
    shared = observable_coefficients(few, n_rapidity=32, seed=3, workers=2)
    start = observable_coefficients(few.take(slice(0, 77)), n_rapidity=32, seed=3)
    monkeypatch.setattr(observable, "_BLOCK", 13)
    blocks = observable_coefficients(few, n_rapidity=32, seed=3)
    for k in range(2):
        np.testing.assert_array_equal(shared[k], expected[k])
        np.testing.assert_array_equal(blocks[k], expected[k])
        np.testing.assert_array_equal(start[k], expected[k][:77])


def as_sample(events):
    return Sample(np.zeros((len(events), 1)), ("x",), point=events.point, process=events.process)


def with_observable_weights(sample, coefficients):
    """The sample with weights of the visible final state, at five points that fix the quartic."""
    points = {point_id(point): point for point in vbf_hww.DEFAULT_WEIGHTS}
    own = np.polynomial.polynomial.polyval(sample.point["c_HW"], coefficients.T)
    return dataclasses.replace(
        sample,
        reweights={
            name: np.polynomial.polynomial.polyval(point["c_HW"], coefficients.T) / own
            for name, point in points.items()
        },
        reweight_points=points,
    )


def test_the_oracle_runs_on_the_visible(generated, marginal):
    grid = np.linspace(-0.5, 0.5, 11)
    oracles = {}
    for c in (0.0, 1.0):
        a = marginal[c].coefficients
        sample = with_observable_weights(as_sample(generated[c]), a)
        own = np.polynomial.polynomial.polyval(c, a.T)[:, None]
        np.testing.assert_allclose(reweight_coefficients(sample, "c_HW"), a / own, atol=1e-10)
        oracles[c] = Oracle.from_sample(sample, "c_HW", grid)
    at_zero = with_observable_weights(as_sample(generated[0.0]), marginal[0.0].coefficients)
    llr = oracles[0.0].event_llr(at_zero)
    powers = np.polynomial.polynomial.polyvander(grid, 4)
    a = marginal[0.0].coefficients
    np.testing.assert_allclose(llr, np.log(a @ powers.T / (a.mean(0) @ powers.T)), atol=1e-9)
    # Cross-sections are the same for joint and marginal ratios, and from events of any point.
    for c, oracle in oracles.items():
        ratio = powers @ oracle.total / oracle.total[0]
        expected = generated[0.0].coefficients.mean(0) @ powers.T
        np.testing.assert_allclose(ratio, expected, rtol=0.06, err_msg=str(c))


def test_no_events_give_no_rows(few):
    empty = observable_coefficients(few.take(slice(0, 0)))
    assert empty.coefficients.shape == (0, 5)
    assert empty.background.shape == (0,)


def test_the_mean_over_neutrinos_is_that_of_the_amplitude(few):
    """Directions uniform in the rest frame of the neutrino pair, by spinors."""
    rng, n = np.random.default_rng(7), 200_000
    for e_plus, _, e_minus, _ in few.momenta[:3, 5:9][..., ENERGY_FIRST]:
        direction = rng.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        q = np.broadcast_to(np.array([70.0, 10.0, -20.0, 30.0]), (n, 4))
        q2 = q[0, 0] ** 2 - np.sum(q[0, 1:] ** 2)
        half = np.full((n, 1), np.sqrt(q2) / 2)
        neutrino = boost(np.concatenate([half, half * direction], axis=1)[:, None], q)[:, 0]
        leptons = [np.broadcast_to(p, (n, 4)) for p in (e_plus, e_minus)]
        squared = decay_zz(np.stack([*leptons, neutrino, q - neutrino], axis=1))
        of_q = [twice(p, q[:1])[0] for p in (e_plus[None], e_minus[None])]
        expected = mean_decay_zz(twice(e_plus[None], e_minus[None])[0], np.float64(q2), *of_q)
        assert abs(squared.mean() - expected) < 4 * squared.std() / np.sqrt(n)


def test_densities_of_signal_and_background_are_normalised():
    """p_b/(f p_s + p_b), bounded, has the mean of f p_s/(f p_s + p_b) over the other process.

    It is the same integral; a factor between the two densities would tear them apart.
    """
    signal, background = vbf_hww.generate(12_000, seed=31), vbf_hzz.generate(12_000, seed=32)
    scale = signal.cross_section / background.cross_section
    of_signal, of_background = (
        scale * observable_coefficients(e, n_rapidity=32).background for e in (signal, background)
    )
    for f in (0.03, 0.3, 3.0, 30.0):
        first, second = of_signal / (f + of_signal), 1 / (f + of_background)
        error = np.hypot(first.std(), second.std()) / np.sqrt(12_000)
        assert abs(first.mean() - second.mean()) < 4 * error
        assert error < 0.04 * first.mean()


def test_errors_of_the_background_are_those_of_the_integration(few):
    one, two = (observable_coefficients(few, seed=s) for s in (1, 2))
    pulls = (one.background - two.background) / np.hypot(one.background_error, two.background_error)
    assert 0.7 < pulls.std() < 1.5
    assert np.median(one.background_error / one.background) < 0.02


def test_where_the_operator_acts_is_known_for_background_events_too():
    """E of p_s(c)/p_s(0) over a mixture of both, weighted to the signal, is the cross-section."""
    events = vbf_hzz.generate(4_000, seed=33)
    found = observable_coefficients(events)
    assert (found.coefficients[:, 0] == 1).all()
    weights = 1 / found.background
    mean = np.average(found.coefficients[:, 1], weights=weights)
    effective = weights.sum() ** 2 / np.sum(weights**2)
    expected = vbf_hww.generate(4_000, seed=34).coefficients[:, 1]
    spread = np.sqrt(np.average((found.coefficients[:, 1] - mean) ** 2, weights=weights))
    error = np.hypot(spread / np.sqrt(effective), expected.std() / np.sqrt(len(expected)))
    assert abs(mean - expected.mean()) < 4 * error


def test_errors_say_what_is_wrong(few):
    other = dataclasses.replace(few, process="other")
    with pytest.raises(SampleError, match=r"no observable ratio of other events"):
        observable_coefficients(other)
    with pytest.raises(ParameterError, match="n_rapidity = 5 must be even"):
        observable_coefficients(few, n_rapidity=5)
    with pytest.raises(ParameterError, match="n_angles = 0"):
        observable_coefficients(few, n_angles=0)
