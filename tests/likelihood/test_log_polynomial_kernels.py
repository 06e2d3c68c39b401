"""Compiled sums of logarithms are those of numpy, whatever the weights and the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.likelihood.log_polynomial_boxes import LogSums
from milinfer.likelihood.log_polynomial_kernels import BLOCK
from milinfer.utils.polynomials import PolynomialBasis

KINDS = ("one", "two", "any")


def weights_of(kind, n, rng):
    if kind == "one":
        return np.ones(n)
    return rng.choice([0.5, -0.5], n) if kind == "two" else rng.uniform(-1, 1, n)


def problem(n_parameters, degree, n, kind, seed, decades=0.0):
    rng = np.random.default_rng(seed)
    basis = PolynomialBasis(tuple("abcdefghij"[:n_parameters]), degree)
    rows = rng.normal(0, 0.3 / len(basis), (n, len(basis)))
    rows[:, 0] = 1
    rows *= 10 ** rng.uniform(-decades, decades, (n, 1))
    u = rng.uniform(-1, 1, n_parameters)
    return basis, rows, weights_of(kind, n, rng), u


def plain(basis, rows, weights, u):
    """Sum, gradient, and the size of what is added."""
    rows = rows.astype(np.longdouble)
    at = rows @ basis.design(u)[0]
    slopes = weights / at @ (rows @ basis.design_gradient(u).T)
    logs = weights * np.log(at)
    return float(logs.sum()), slopes.astype(float), float(np.abs(logs).sum())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 5),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0, 1, 7, BLOCK, BLOCK + 1, 3 * BLOCK - 1, 4 * BLOCK]),
    st.sampled_from(KINDS),
    st.floats(0, 300),
    st.integers(0, 2**31),
)
def test_sums_are_those_of_numpy(n_parameters, degree, n, kind, decades, seed):
    basis, rows, weights, u = problem(n_parameters, degree, n, kind, seed, decades)
    sums = LogSums(basis, rows, weights, np.zeros(n_parameters))
    value, gradient, size = plain(basis, rows, weights, u)
    assert sums.value(u) == pytest.approx(value, rel=1e-12, abs=1e-14 * size + 1e-14)
    np.testing.assert_allclose(sums.gradient(u), gradient, rtol=1e-10, atol=1e-12 * max(n, 1))
    np.testing.assert_allclose(
        sums.values_at(np.array([u, u])), value, rtol=1e-12, atol=1e-14 * size + 1e-14
    )
    assert sums.bound == 0


@pytest.mark.parametrize("smallest", [5e-324, 1e-310, 1e308, np.inf, 0.0, -1.0])
def test_numbers_beyond_the_normal_ones_are_those_of_numpy(smallest):
    """Subnormal, infinite, zero and negative: as numpy has it, in a block of equal weights too."""
    basis = PolynomialBasis(("a", "b"), 1)
    rows = np.zeros((2 * BLOCK, 3))
    rows[:, 0] = 2.0
    rows[5, 0] = smallest
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log(rows[:, 0]).sum()
    found = LogSums(basis, rows, np.ones(len(rows)), np.zeros(2)).value(np.zeros(2))
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_products_of_small_and_large_numbers_do_not_overflow(scale):
    basis = PolynomialBasis(("a", "b"), 1)
    rows = np.zeros((BLOCK, 3))
    rows[:, 0] = scale
    sums = LogSums(basis, rows, np.ones(BLOCK), np.zeros(2))
    assert sums.value(np.zeros(2)) == pytest.approx(BLOCK * np.log(scale), rel=1e-13)


@pytest.mark.parametrize(("n_parameters", "degree"), [(2, 2), (2, 4), (3, 4), (10, 2)])
def test_gradients_are_derivatives_of_values(n_parameters, degree):
    basis, rows, weights, u = problem(n_parameters, degree, 2000, "any", 1)
    sums = LogSums(basis, rows, weights, np.zeros(n_parameters))
    complex_rows = rows.astype(complex)
    step = 1e-30

    def along(k):
        """By a complex step, which has no error of cancellation."""
        point = u.astype(complex)
        point[k] += 1j * step
        at = complex_rows @ np.prod(point[None] ** basis.exponents, axis=1)
        return (weights @ np.log(at)).imag / step

    wanted = [along(k) for k in range(n_parameters)]
    np.testing.assert_allclose(sums.gradient(u), wanted, rtol=1e-11, atol=1e-10)
