"""The exact likelihood ratio from reweights."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.exceptions import SampleError
from milinfer.oracle import Oracle, reweight_coefficients
from milinfer.samples import Sample

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
