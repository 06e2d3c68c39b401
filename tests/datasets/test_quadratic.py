"""The quadratic problem against its closed forms, by Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import ParameterError
from milinfer.utils.polynomials import PolynomialBasis

N, SIGMAS = 40_000, 4
FIVE = (0.3, -0.6, 0.0, 0.4, -0.2)
THETAS = [(-1.0,), (0.4,), (0.7, -1.0), (-0.3, 0.2), FIVE, (*FIVE[::-1], 0.1, 0.5, -0.3, 0.2, -0.4)]


def point(theta):
    return {f"c{k + 1}": value for k, value in enumerate(theta)}


def zero(theta):
    return point([0.0] * len(theta))


def functions(x):
    """Bounded functions of the observables, among them those that the amplitudes are made of."""
    return np.column_stack(
        [
            np.sin(np.pi * x / 4),
            *(np.sin(x[:, i] * x[:, j]) for i, j in quadratic._PAIRS),
            np.cos(x[:, :3]),
            np.ones(len(x)),
        ]
    ).astype(float)


def agree(values, expected):
    """Means over events within errors of what is expected."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.all(np.abs(values.mean(axis=0) - expected) < SIGMAS * error + 1e-12)


def joint_ratio(sample, theta):
    """p(z|θ) Z(θ)/p(z|0) of each event, from the weights at θ and at 0."""
    names = {tuple(p.values()): k for k, p in sample.reweight_points.items()}
    return sample.reweights[names[tuple(theta)]] / sample.reweights[names[(0.0,) * len(theta)]]


@pytest.mark.parametrize("theta", THETAS)
def test_normalisation_is_the_mean_weight(theta):
    sample = quadratic.generate(N, zero(theta), seed=1, weights=[zero(theta), point(theta)])
    z = quadratic.normalisation(np.array(theta))
    assert agree(joint_ratio(sample, theta)[:, None], z)
    x = sample.features
    assert agree(np.exp(quadratic.log_likelihood_ratio(x, [theta])), 1)
    assert quadratic.generate(5, point(theta), seed=1).cross_section == z


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_fisher_information_is_the_variance_of_the_score(n):
    x = quadratic.generate(N, point([0.0] * n), seed=2).features
    h = 1e-4 * np.eye(n)
    up, down = (quadratic.log_likelihood_ratio(x, s * h) for s in (1, -1))
    score = (up - down) / 2e-4
    products = np.einsum("nj,nk->njk", score, score).reshape(N, -1)
    assert agree(score, 0)
    assert agree(products, quadratic.fisher_information(1, n).ravel())
    np.testing.assert_allclose(
        quadratic.fisher_information(500, n), 500 * quadratic.fisher_information(1, n)
    )


@pytest.mark.parametrize("theta", THETAS)
def test_events_follow_the_density_of_their_point(theta):
    at_zero = quadratic.generate(N, zero(theta), seed=3).features
    at_theta = functions(quadratic.generate(N, point(theta), seed=4).features)
    ratio = np.exp(quadratic.log_likelihood_ratio(at_zero, [theta]))
    weighted = functions(at_zero) * ratio
    error = np.sqrt((at_theta.var(axis=0) + weighted.var(axis=0)) / N)
    assert np.all(np.abs(at_theta.mean(axis=0) - weighted.mean(axis=0)) < SIGMAS * error)
    # They would not follow that of θ = 0.
    plain = functions(at_zero)
    assert (
        np.max(np.abs(at_theta.mean(axis=0) - plain.mean(axis=0)) / error.clip(1e-9)) > 2 * SIGMAS
    )


@pytest.mark.parametrize("theta", THETAS)
def test_joint_ratios_average_to_those_of_the_observables(theta):
    sample = quadratic.generate(N, zero(theta), seed=5, weights=[zero(theta), point(theta)])
    joint = joint_ratio(sample, theta) / quadratic.normalisation(np.array(theta))
    ratio = np.exp(quadratic.log_likelihood_ratio(sample.features, [theta])[:, 0])
    assert agree((joint - ratio)[:, None] * functions(sample.features), 0)
    assert np.mean((joint - ratio) ** 2) > 1e-4  # the phase does hide something


def test_weights_at_the_own_point_are_the_cross_section():
    p = {"c1": 0.5, "c2": -0.25}
    sample = quadratic.generate(100, p, seed=6, weights=[p])
    (weights,) = sample.reweights.values()
    np.testing.assert_allclose(weights, quadratic.normalisation(np.array([0.5, -0.25])))


def test_seeds():
    one, same, other = (quadratic.generate(50, {"c1": 0.1}, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.features, same.features)
    assert not np.array_equal(one.features, other.features)
    samples = quadratic.samples(50, [{"c1": 0.0}, {"c1": 1e-4}], seed=1)
    assert not np.allclose(samples[0].features, samples[1].features, atol=0.01)


def test_parameters_come_in_any_order():
    one = quadratic.generate(20, {"c1": 0.5, "c2": -1.0}, seed=1)
    other = quadratic.generate(20, {"c2": -1.0, "c1": 0.5}, seed=1)
    np.testing.assert_array_equal(one.features, other.features)
    assert other.point == {"c1": 0.5, "c2": -1.0}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"c1": 1.5}, r"c1=1\.5 is not a point of c1 within"),
        ({"c1": float("nan")}, "c1=nan is not a point"),
        ({"c1": 0.0, "c2": float("nan")}, "c2=nan is not a point of c1 and c2"),
        ({"mu": 0.0}, "mu=0 is not a point of c1"),
        ({}, "one to ten parameters, c1 to c10, not 0"),
        (point([0.0] * 11), "not 11"),
        ({"c1": 0.0, "c2": 0.0, "c4": 0.0}, "is not a point of c1 and c2 and c3"),
    ],
)
def test_points_elsewhere_are_refused(bad, message):
    with pytest.raises(ParameterError, match=message):
        quadratic.generate(5, bad, seed=1)


def test_weights_in_other_parameters_are_refused():
    with pytest.raises(ParameterError, match="c1=1 is not a point of c1 and c2"):
        quadratic.generate(5, {"c1": 0.0, "c2": 0.0}, seed=1, weights=[{"c1": 1.0}])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_weights_of_many_parameters_determine_the_quadratic(n):
    points = quadratic.default_weights(n)
    basis = PolynomialBasis(tuple(points[0]), 2)
    theta = np.array([list(p.values()) for p in points])
    assert len(points) == len(basis)
    basis.require_determined(theta, "weights")
    sample = quadratic.generate(200, points[0], seed=1)
    assert len(sample.reweights) == len(points)
    # Any other point follows from them.
    other = point(THETAS[-1][:n])
    (wanted,) = quadratic.generate(200, points[0], seed=1, weights=[other]).reweights.values()
    weights = basis.weights([list(other.values())], theta)[0]
    np.testing.assert_allclose(weights @ list(sample.reweights.values()), wanted, rtol=1e-9)


def test_information_of_many_parameters_is_well_conditioned():
    for n in range(1, 11):
        assert np.linalg.cond(quadratic.fisher_information(1, n)) < 9


def test_the_first_parameters_are_those_of_the_problem_with_fewer():
    theta = np.array([0.2, -0.1, 0.0, 0.0, 0.0])
    x = quadratic.generate(50, point(theta), seed=1).features
    two = quadratic.log_likelihood_ratio(x, theta[None, :2])
    np.testing.assert_allclose(quadratic.log_likelihood_ratio(x, theta[None]), two, atol=1e-14)


def test_numbers_of_one_and_two_parameters_have_not_changed():
    """Published figures rest on them."""
    x = quadratic.generate(3, {"c1": 0.7, "c2": -1.0}, seed=3)
    features = [1.68182552, 0.75277859, 0.75356382, 1.13788128, 0.34922656, -0.63924658]
    np.testing.assert_allclose(x.features[2, :6], features, rtol=1e-7)
    weights = [
        *(0.45236705854377707, 0.3449690756380465, 0.2521033873723751),
        *(0.7844219588269582, 0.6406950531425157, 0.5115004420981322),
        *(1.2072946317297193, 1.027238803266565, 0.861715269443469),
    ]
    np.testing.assert_allclose([w[2] for w in x.reweights.values()], weights, rtol=1e-13)
    wanted = [0.2227993310674436, -0.17334586009766803, 0.15584363973043228]
    found = quadratic.log_likelihood_ratio(x.features, [[0.3, -0.2]])[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
