"""The exact likelihood ratio from reweights."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import SampleError
from milinfer.likelihood.oracle import Oracle, reweight_coefficients
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

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


def test_the_exact_ratio_in_two_parameters():
    """Weights of the events at other points are what the ratio of cross-sections times it gives."""
    origin, point = {"c1": 0.0, "c2": 0.0}, {"c1": 0.3, "c2": -0.2}
    sample = quadratic.generate(
        4000, origin, seed=3, weights=[*quadratic.default_weights(2), point]
    )
    box = ChebyshevBox(np.full(2, -0.4), np.full(2, 0.4), 16)
    oracle = Oracle.from_sample(SampleSet((sample,)), ("c1", "c2"), box, degree=2)
    assert oracle.parameters == ("c1", "c2")
    weights = sample.reweights["c1_0p3_c2_m0p2"]
    ratio = np.log(weights) - np.log(np.mean(weights))
    data = sample.as_data()
    expected = ratio.sum()
    assert oracle.log_polynomials(data).value(np.array([0.3, -0.2])) == pytest.approx(expected)
    # Between the nodes of the box, where the ratios of single events are sharper than it.
    of_events = box.values_at(oracle.event_llr(data).sum(axis=0)[None], [[0.3, -0.2]])
    assert of_events[0, 0] == pytest.approx(expected, abs=0.02)
    cost = oracle.cost(data)
    assert cost(0.3, -0.2) == pytest.approx(-2 * expected)
