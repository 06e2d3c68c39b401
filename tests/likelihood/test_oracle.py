"""The exact likelihood ratio from reweights."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import ParameterError, SampleError
from milinfer.likelihood.oracle import Oracle, reweight_coefficients
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.utils.polynomials import PolynomialBasis

VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)


def sample(coefficients, n=None):
    coefficients = np.asarray(coefficients)
    powers = np.polynomial.polynomial.polyvander(np.array(VALUES), 4)
    weights = coefficients @ powers.T
    return Sample(
        np.zeros((len(coefficients), 1)),
        ("x",),
        point={"c": 0.0},
        reweights={f"w{k}": weights[:, k] for k in range(n or 5)},
        reweight_points={f"w{k}": {"c": VALUES[k]} for k in range(n or 5)},
    )


def test_coefficients_come_back():
    a = np.random.default_rng(1).normal(size=(50, 5))
    np.testing.assert_allclose(reweight_coefficients(sample(a), "c"), a, atol=1e-12)


def test_too_few_weights_are_named():
    with pytest.raises(SampleError, match="4 values of c"):
        reweight_coefficients(sample(np.ones((2, 5)), n=4), "c")


def test_weights_that_are_no_polynomial_name_the_event():
    a = np.random.default_rng(1).normal(size=(5, 5))
    a[:, 0] += 5
    a[:, 3:] = 0
    s = sample(a)
    s.reweights["w3"][2] *= 1.1
    with pytest.raises(SampleError, match="event 2"):
        reweight_coefficients(s, "c", degree=2)


def test_llr_is_the_log_ratio_over_the_ratio_of_cross_sections():
    rng = np.random.default_rng(2)
    a = np.column_stack([np.full(400, 2.0), *rng.uniform(-0.2, 0.2, (4, 400))])
    s = sample(a)
    grid = np.linspace(-1, 1, 9)
    oracle = Oracle.from_sample(s, "c", grid)
    powers = np.polynomial.polynomial.polyvander(grid, 4)
    expected = np.log(a @ powers.T / a[:, :1]) - np.log(a.mean(0) @ powers.T / a[:, 0].mean())
    np.testing.assert_allclose(oracle.event_llr(s), expected, atol=1e-10)
    # E_0[r] = 1 on the sample that normalises it.
    np.testing.assert_allclose(np.exp(oracle.event_llr(s)).mean(axis=0), 1, rtol=1e-10)
    assert oracle.cost(s).n_events == 400


def test_negative_weights_have_no_log():
    with pytest.raises(SampleError, match="event 1 has weight"):
        Oracle.from_sample(sample([[2.0, 0, 0, 0, 0]] * 2), "c", np.linspace(-1, 1, 5)).event_llr(
            sample([[2.0, 0, 0, 0, 0], [-1.0, 0, 0, 0, 0]])
        )


def test_samples_at_several_points_normalise_as_one():
    """Regression: far from the point of a small sample the ratio had the noise of few events."""
    values = [{"c1": c} for c in (-0.6, 0.0, 0.6)]
    grid = np.linspace(-0.6, 0.6, 13)
    truth = quadratic.samples(400_000, [{"c1": 0.0}], seed=1)[0]
    exact = Oracle.from_sample(truth, "c1", grid, degree=2)

    def errors(choose):
        found = []
        for seed in range(20):
            samples = quadratic.samples(500, values, seed=100 + seed)
            oracle = Oracle.from_sample(choose(samples), "c1", grid, degree=2)
            sigma = [np.polynomial.polynomial.polyval(grid, o.total) for o in (oracle, exact)]
            sigma = [v / v[6] for v in sigma]
            found.append(np.log(sigma[0] / sigma[1])[[0, -1]])
        return np.array(found)

    together, edge = errors(lambda s: s), errors(lambda s: s[0])
    assert np.all(np.abs(together.mean(axis=0)) < 4 * together.std(axis=0) / np.sqrt(20))
    assert together[:, 1].std() < 0.7 * edge[:, 1].std()


def test_two_parameters():
    """Λ between the points is that of the weights, and E_0[r] = 1 on the normalising sample."""
    names = ("c1", "c2")
    points = [dict(zip(names, p, strict=True)) for p in ((0.0, 0.0), (0.4, 0.0), (0.0, 0.4))]
    samples = quadratic.samples(4000, points, seed=3)
    box = ChebyshevBox(np.full(2, -0.5), np.full(2, 0.5), 6)
    alone = Oracle.from_sample(samples[0], names, box, degree=2)
    assert alone.parameters == names
    np.testing.assert_allclose(np.exp(alone.event_llr(samples[0])).mean(axis=0), 1, rtol=1e-10)
    oracle = Oracle.from_sample(samples, names, box, degree=2, reference=(0.0, 0.1))
    # E[joint ratio | x] is the ratio of what is seen.
    truth = np.exp(quadratic.log_likelihood_ratio(samples[0].features, box.grid[:1])[:, 0])
    residual = np.exp(alone.event_llr(samples[0])[:, 0]) - truth
    for x in (residual, residual * (truth - truth.mean())):
        assert abs(x.mean()) < 4 * x.std() / np.sqrt(len(x))
    cost = oracle.cost(samples[0].as_data())
    at = np.array([0.13, -0.21])
    coefficients = reweight_coefficients(samples[0], names, 2)
    basis = PolynomialBasis(names, 2)
    expected = [
        np.sum(np.log(coefficients @ basis.design(x)[0] / (oracle.total @ basis.design(x)[0])))
        for x in (at, np.array([0.0, 0.1]))
    ]
    assert cost(*at) == pytest.approx(-2 * (expected[0] - expected[1]), rel=1e-9)


def test_points_of_other_parameters_are_refused():
    samples = quadratic.samples(50, [{"c1": 0.0, "c2": 0.0}], seed=3)
    box = ChebyshevBox(-np.ones(2), np.ones(2), 4)
    with pytest.raises(ParameterError, match="give a ChebyshevBox for several"):
        Oracle.from_sample(samples[0], ("c1", "c2"), np.linspace(-1, 1, 5), degree=2)
    with pytest.raises(ParameterError, match="points have 2 parameters, not c1"):
        Oracle("c1", box, np.ones(3))
    with pytest.raises(ParameterError, match="4 coefficients are not a polynomial"):
        Oracle(("c1", "c2"), box, np.ones(4))
    with pytest.raises(ParameterError, match="the samples have the parameters c1, c2, not c1"):
        Oracle.from_sample(samples, "c1", np.linspace(-1, 1, 5), degree=2)
    for weights in samples[0].reweights.values():
        weights[7] *= -1
    with pytest.raises(SampleError, match=r"event 7 has weight -.* at c1="):
        Oracle.from_sample(samples[0], ("c1", "c2"), box, degree=2).event_llr(samples[0])
