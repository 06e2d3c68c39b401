"""Sums of logarithms of polynomials: compressed or not, the same to their bound."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

from milinfer.datasets import quadratic
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.models import Renamed, dataset_surface
from milinfer.likelihood.oracle import Oracle
from milinfer.utils.polynomials import PolynomialBasis

ONE = np.ones(1)


def amplitudes(n, seed, smallest=1e-3):
    """Squares of amplitudes, some of which nearly vanish at some θ."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 2, n), smallest + np.abs(rng.normal(0, 0.5, n))
    return np.column_stack([np.ones(n), 2 * a, a**2 + b**2])


def make(n, seed=1, **options):
    rows = amplitudes(n, seed, **options)
    weights = np.random.default_rng(seed + 1).uniform(-0.2, 1.0, n)
    rows = np.concatenate([rows, rows.mean(axis=0, keepdims=True)])
    weights = np.append(weights, -weights.sum())
    return LogPolynomials(
        PolynomialBasis(("c",), 2), 0.1 * ONE, 0.9 * ONE, rows, weights, -ONE, ONE, 0 * ONE
    )


def exact(sums, points):
    """As it is written, with numbers of twice the precision."""
    u = ((points - sums.centre) / sums.half).astype(np.longdouble)
    at = sums.coefficients.astype(np.longdouble) @ (u ** np.arange(3)).T
    at0 = sums.coefficients @ ((-sums.centre / sums.half) ** np.arange(3)).astype(np.longdouble)
    return sums.weights.astype(np.longdouble) @ (np.log(at) - np.log(at0)[:, None])


@pytest.mark.parametrize("n", [1, 500, 3000, 40_000])
def test_values_are_exact_within_the_bound(n):
    sums = make(n)
    points = np.random.default_rng(3).uniform(-1, 1, (200, 1))
    wanted = exact(sums, points)
    found = np.array([sums.value(p) for p in points])
    rounding = 1e-12 * float(np.abs(sums.weights).sum()) + 1e-12
    assert np.abs(found - wanted).max() <= sums.bound + rounding
    assert sums.bound < 1e-9 * max(1.0, float(np.abs(sums.weights).sum()))
    assert (sums.bound > 0) == (n > 1500)
    np.testing.assert_allclose(sums.values_at(points), wanted.astype(float), rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-8, -1), st.floats(-1, 1))
def test_the_bound_holds_however_near_zero_an_amplitude_comes(seed, exponent, x):
    sums = make(2000, seed, smallest=10**exponent)
    point = np.array([x])
    error = abs(sums.value(point) - float(exact(sums, point[None])[0]))
    # Where an amplitude of size δ is left, its square has lost 1e-16/δ² to cancellation.
    lowest = float(sums._raw(point[None]).min())
    assert error <= sums.bound + 1e-12 * 2000 + 1e-14 / lowest


def test_intervals_meet():
    sums = make(5000)
    middle, radius = sums._interval(0.0, sums._halvings)
    edge = middle + radius
    below, above = (np.array([edge + s * 1e-12]) for s in (-1, 1))
    assert sums.value(below) == pytest.approx(sums.value(above), abs=2 * sums.bound + 1e-8)
    assert len(sums._cells) == 2


@pytest.mark.parametrize("n", [500, 5000])
def test_derivatives(n):
    sums = make(n, smallest=0.05)
    h = 1e-5
    for x in (-0.7, 0.013, 0.4):
        point = np.array([x])
        slope = (sums.value(point + h) - sums.value(point - h)) / (2 * h)
        assert sums.gradient(point)[0] == pytest.approx(slope, rel=1e-5, abs=1e-4)
        bend = (sums.gradient(point + h)[0] - sums.gradient(point - h)[0]) / (2 * h)
        assert sums.hessian(point)[0, 0] == pytest.approx(bend, rel=1e-4, abs=1e-3)


def test_two_parameters():
    rng = np.random.default_rng(5)
    basis = PolynomialBasis(("a", "b"), 2)
    a, b = rng.normal(size=(2, 300, 2))
    linear = np.zeros((300, 3))
    linear[:, 0], linear[:, 1:] = 1, a
    rows = np.zeros((300, len(basis)))
    where = {tuple(e): k for k, e in enumerate(basis.exponents.tolist())}
    for part in (linear, np.column_stack([np.zeros(300), b])):
        for j, ej in enumerate([(0, 0), (0, 1), (1, 0)]):
            for k, ek in enumerate([(0, 0), (0, 1), (1, 0)]):
                rows[:, where[(ej[0] + ek[0], ej[1] + ek[1])]] += part[:, j] * part[:, k]
    two = np.ones(2)
    sums = LogPolynomials(basis, 0 * two, two, rows, np.ones(300), -two, two, 0 * two)
    points = rng.uniform(-1, 1, (20, 2))
    direct = [np.log((1 + a @ p[::-1]) ** 2 + (b @ p[::-1]) ** 2).sum() for p in points]
    np.testing.assert_allclose(sums.values_at(points), direct, rtol=1e-10)
    np.testing.assert_allclose([sums.value(p) for p in points], direct, rtol=1e-10)
    h = 1e-6 * np.eye(2)
    for p in points[:5]:
        slope = [(sums.value(p + e) - sums.value(p - e)) / 2e-6 for e in h]
        np.testing.assert_allclose(sums.gradient(p), slope, rtol=1e-4, atol=1e-4)
        bend = [(sums.gradient(p + e) - sums.gradient(p - e)) / 2e-6 for e in h]
        np.testing.assert_allclose(sums.hessian(p), bend, rtol=1e-4, atol=1e-2)


def oracle_and_data(n):
    samples = quadratic.samples(n, [{"c1": 0.0}, {"c1": 0.3}], seed=4)
    # Few points: what lies between them is not to matter.
    return Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 6), degree=2), samples[1]


@pytest.mark.parametrize("n", [300, 3000])
def test_the_surface_of_an_oracle_is_exact_between_its_points(n):
    oracle, data = oracle_and_data(n)
    surface = dataset_surface(oracle, data.as_data())
    fine = Oracle(oracle.parameter, type(oracle.interpolation)(
        np.linspace(-0.93, 0.93, 31), "points"), oracle.total)  # fmt: skip
    wanted = fine.event_llr(data).sum(axis=0)
    np.testing.assert_allclose(surface(fine.interpolation.grid), wanted, rtol=1e-9, atol=1e-9)
    for x, value in zip(fine.interpolation.grid, wanted, strict=True):
        assert surface.value(np.array([x])) == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(surface.values, oracle.event_llr(data).sum(axis=0), atol=1e-9)
    rough = minimize_scalar(
        lambda x: -surface.value(np.array([x])), bounds=(-1, 1), method="bounded"
    )
    found = surface.extremum
    # Values tell where a maximum is to 1e-7 and no better: the zero of the slope does.
    best = brentq(lambda x: float(surface(x, 1)), rough.x - 1e-3, rough.x + 1e-3, xtol=1e-12)
    assert found.theta_hat[0] == pytest.approx(best, abs=1e-7)
    assert found.maximum[0] >= -rough.fun - 1e-9
    assert found.curvature[0] == pytest.approx(-float(surface(best, 2)), rel=1e-4)
    assert not found.at_edge[0]


def test_other_names_and_pickles_keep_it():
    oracle, data = oracle_and_data(300)
    cost = oracle.cost(data.as_data())
    again = pickle.loads(pickle.dumps(cost))
    assert again(0.37) == cost(0.37)
    renamed = dataset_surface(Renamed(oracle, "bound"), data.as_data())
    assert renamed.exact is not None
    assert renamed.value(np.array([0.37])) == pytest.approx(-0.5 * cost(0.37), abs=1e-12)


def test_a_maximum_at_the_edge():
    rows = np.array([[1.0, 0.5, 0.1]])
    sums = LogPolynomials(PolynomialBasis(("c",), 2), 0 * ONE, ONE, rows, ONE, -ONE, ONE, 0 * ONE)
    np.testing.assert_array_equal(sums.maximum_near(np.array([0.9])), [1.0])
