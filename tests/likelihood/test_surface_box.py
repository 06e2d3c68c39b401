"""Surfaces in several parameters."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit
from scipy.optimize import minimize

from milinfer.datasets import quadratic
from milinfer.exceptions import ParameterError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface_box import BoxSurface, ChebyshevBox, UntabulatedBox, finer
from milinfer.samples.reweighting import reweight_polynomial
from milinfer.utils.polynomials import PolynomialBasis

LOW, HIGH = np.array([-1.0, 0.5, 10.0]), np.array([1.0, 0.9, 30.0])
few_examples = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def box_of(n, degree):
    return ChebyshevBox(LOW[:n], HIGH[:n], degree)


def inside(box, n, seed):
    unit = np.random.default_rng(seed).random((n, box.n_parameters))
    return box.low + unit * (box.high - box.low)


def random_polynomial(box, seed):
    """All products of powers up to the degree of the box, in each parameter."""
    powers = np.array(list(product(range(box.degree + 1), repeat=box.n_parameters)))
    coefficients = np.random.default_rng(seed).normal(size=len(powers))

    def value(theta):
        unit = (2 * theta - box.low - box.high) / (box.high - box.low)
        return np.prod(unit[..., None, :] ** powers, axis=-1) @ coefficients

    return value


def random_parabolas(box, n, seed, reach):
    """Concave, with maxima up to `reach` half-widths from the centre of the box."""
    rng, p = np.random.default_rng(seed), box.n_parameters
    half = (box.high - box.low) / 2
    factors = rng.normal(size=(n, p, p))
    bend = (factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(p)) / np.outer(half, half)
    bend *= np.exp(rng.uniform(0, 8, n))[:, None, None]
    top = (box.low + box.high) / 2 + reach * half * rng.uniform(-1, 1, (n, p))
    away = box.grid[None] - top[:, None]
    return top, bend, -0.5 * np.einsum("nki,nij,nkj->nk", away, bend, away)


def best_of_many_starts(surface, box, seed, n_starts=6):
    """Maximum by a method of scipy, from several starts."""
    starts = inside(box, n_starts, seed)
    span = box.high - box.low
    found = [
        minimize(
            lambda u: -surface.value(np.clip(box.low + u * span, box.low, box.high)),
            (start - box.low) / span,
            jac=lambda u: -surface.gradient(np.clip(box.low + u * span, box.low, box.high)) * span,
            bounds=[(0, 1)] * len(span),
            method="L-BFGS-B",
            options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
        )
        for start in starts
    ]
    best = min(found, key=lambda r: r.fun)
    return box.low + best.x * span, -best.fun


@pytest.mark.parametrize(("n", "degree"), [(1, 2), (1, 9), (2, 3), (2, 6), (3, 4)])
@few_examples
@given(seed=seeds)
def test_polynomials_of_the_degree_are_exact(n, degree, seed):
    box = box_of(n, degree)
    polynomial = random_polynomial(box, seed)
    surface, theta = box.surface(polynomial(box.grid)), inside(box, 10, seed + 1)
    found = [surface.value(t) for t in theta]
    size = np.abs(surface.values).max()
    np.testing.assert_allclose(found, polynomial(theta), rtol=1e-9, atol=1e-11 * size)
    np.testing.assert_allclose(
        [surface.value(t) for t in box.grid], surface.values, rtol=1e-9, atol=1e-11 * size
    )
    h = 1e-6 * (box.high - box.low)
    for t in box.low + 0.1 * (box.high - box.low) + 0.8 * (theta - box.low):
        slope = [
            (surface.value(t + h[k] * e) - surface.value(t - h[k] * e)) / (2 * h[k])
            for k, e in enumerate(np.eye(n))
        ]
        np.testing.assert_allclose(
            surface.gradient(t) * (box.high - box.low),
            slope * (box.high - box.low),
            rtol=1e-5,
            atol=1e-7 * size,
        )


def test_nodes_vary_the_last_parameter_fastest():
    box = box_of(2, 3)
    assert box.grid.shape == (16, 2)
    np.testing.assert_array_equal(box.grid[:4, 0], box.grid[0, 0])
    assert np.all((box.grid > box.low) & (box.grid < box.high))
    assert box.limits == ((-1.0, 1.0), (0.5, 0.9))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_maxima_of_parabolas_come_out(n):
    box = box_of(n, 3)
    top, bend, values = random_parabolas(box, 200, 1, 0.95)
    found = box.extrema(values)
    span = box.high - box.low
    assert found.theta_hat.shape == (200, n)
    np.testing.assert_allclose((found.theta_hat - top) / span, 0, atol=1e-6)
    np.testing.assert_allclose(found.maximum, 0, atol=1e-9 * np.abs(values).max())
    units = np.outer(span, span)
    np.testing.assert_allclose(found.curvature * units, bend * units, rtol=1e-5, atol=1e-6)
    assert not found.at_edge.any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_maxima_at_the_edge_are_those_in_the_box_and_flagged(n):
    box = box_of(n, 3)
    top, _, values = random_parabolas(box, 60, 2, 2.5)
    found = box.extrema(values)
    outside = np.any((top < box.low) | (top > box.high), axis=1)
    np.testing.assert_array_equal(found.at_edge, outside)
    assert outside.sum() > 20
    assert np.all((found.theta_hat >= box.low) & (found.theta_hat <= box.high))
    for k in range(60):
        _, maximum = best_of_many_starts(box.surface(values[k]), box, k, 1)
        scale = np.ptp(values[k])
        assert found.maximum[k] == pytest.approx(maximum, abs=1e-7 * scale)


@pytest.mark.parametrize("n", [1, 2])
def test_many_surfaces_at_once_are_one_by_one(n):
    box = box_of(n, 5)
    values = random_parabolas(box, 20, 3, 1.5)[2]
    values += 0.01 * np.random.default_rng(4).normal(size=values.shape)
    together, theta = box.extrema(values), inside(box, 20, 5)
    at = box.evaluate(values, theta)
    for k in range(20):
        surface = box.surface(values[k])
        alone = surface.extremum
        np.testing.assert_allclose(alone.maximum[0], together.maximum[k], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(alone.theta_hat[0], together.theta_hat[k], rtol=1e-6, atol=1e-6)
        assert alone.at_edge[0] == together.at_edge[k]
        assert surface.value(theta[k]) == pytest.approx(at[k], rel=1e-10, abs=1e-10)


# --- the likelihood ratio of the quadratic problem ---------------------------------------------

BOX = ChebyshevBox(-np.ones(2), np.ones(2), 16)


def dataset(truth, n_events, seed):
    return quadratic.generate(n_events, {"c1": truth[0], "c2": truth[1]}, seed=seed).features


def exact(x, theta):
    return quadratic.log_likelihood_ratio(x, theta).sum(axis=0)


@pytest.mark.parametrize("truth", [(0.0, 0.0), (0.5, -0.3), (-0.9, 0.9)])
def test_degree_16_holds_the_likelihood_ratio_of_1000_events(truth):
    x = dataset(truth, 1000, 1)
    surface = BOX.surface(exact(x, BOX.grid))
    theta = inside(BOX, 500, 2)
    found = np.array([surface.value(t) for t in theta])
    # Within 10⁻⁶ everywhere, 10⁻⁸ where it counts: within 4 σ of the maximum.
    expected = exact(x, theta)
    near = expected > surface.extremum.maximum - 8
    assert near.sum() > 5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[near], expected[near], rtol=0, atol=1e-8)


@pytest.mark.parametrize("n_events", [20, 300])
def test_maxima_of_likelihood_ratios_are_the_highest(n_events):
    truths = np.random.default_rng(3).uniform(-1, 1, (12, 2))
    values = np.stack([exact(dataset(t, n_events, k), BOX.grid) for k, t in enumerate(truths)])
    found = BOX.extrema(values)
    for k in range(12):
        theta, maximum = best_of_many_starts(BOX.surface(values[k]), BOX, k)
        assert found.maximum[k] == pytest.approx(maximum, abs=1e-6)
        np.testing.assert_allclose(found.theta_hat[k], theta, atol=2e-4)
    if n_events == 20:
        assert found.at_edge.any()


def test_minuit_fits_scans_and_draws_contours():
    truth, n = (0.2, -0.1), 3000
    x = dataset(truth, n, 7)
    cost = LikelihoodCost(BOX.surface(exact(x, BOX.grid)), ("c1", "c2"), n_events=n)
    m = Minuit(cost, c1=0.0, c2=0.0)
    m.migrad().minos()
    assert m.valid
    assert tuple(m.limits["c1"]) == (-1.0, 1.0)
    best = cost.surface.extremum
    np.testing.assert_allclose(m.values, best.theta_hat[0], atol=2e-4)
    errors = np.sqrt(np.diag(np.linalg.inv(best.curvature[0])))
    np.testing.assert_allclose(m.errors, errors, rtol=1e-2)
    for name, error in zip(("c1", "c2"), errors, strict=True):
        assert m.merrors[name].is_valid
        assert m.merrors[name].upper == pytest.approx(error, rel=0.2)
        assert m.merrors[name].lower == pytest.approx(-error, rel=0.2)
        assert abs(m.values[name] - {"c1": 0.2, "c2": -0.1}[name]) < 4 * error
    contour = m.mncontour("c1", "c2", cl=0.68, size=12)
    heights = [cost(*p) - m.fval for p in contour]
    np.testing.assert_allclose(heights, -2 * np.log(1 - 0.68), rtol=2e-2)


# --- what is refused ---------------------------------------------------------------------------


def test_the_cost_names_the_parameter_that_is_out_of_range():
    cost = LikelihoodCost(BOX.surface(np.zeros(289)), ("c_HW", "c_W"), n_events=1)
    with pytest.raises(ParameterError, match=r"c_W = 1\.2 is outside \[-1, 1\]"):
        cost(0.3, 1.2)
    with pytest.raises(ParameterError, match=r"c_HW = nan is outside"):
        cost.grad(np.nan, 0.0)


@pytest.mark.parametrize("theta", [[0.0, 1.1], [np.nan, 0.0], [0.0], [0.0, 0.0, 0.0]])
def test_surfaces_do_not_extrapolate(theta):
    surface = BOX.surface(np.zeros(289))
    assert isinstance(surface, BoxSurface)
    for call in (surface.value, surface.gradient):
        with pytest.raises(ParameterError, match="outside the box"):
            call(np.array(theta))


def test_values_at_other_points_are_refused():
    with pytest.raises(ParameterError, match="Λ is given at 578 points, but the box has 289 nodes"):
        BOX.surface(np.zeros(578)).value(np.zeros(2))
    with pytest.raises(ParameterError, match="Λ is given at 17 points"):
        BOX.extrema(np.zeros((17, 17)))


@pytest.mark.parametrize(
    ("low", "high", "degree"),
    [([0.0], [0.0], 4), ([0.0, 0.0], [1.0], 4), ([0.0], [np.nan], 4), ([0.0], [1.0], 1), (0, 1, 4)],
)
def test_corners_must_span_a_box(low, high, degree):
    with pytest.raises(ParameterError, match="not corners of a box, or degree"):
        ChebyshevBox(np.array(low), np.array(high), degree)


def test_maxima_between_bounds_and_common_points():
    rng = np.random.default_rng(11)
    box = ChebyshevBox(np.array([-1.0, -1.0]), np.array([1.0, 1.0]), 4)
    x, y = box.grid.T
    centre = rng.uniform(-0.7, 0.7, (300, 2, 1))
    values = -50 * (x - centre[:, 0]) ** 2 - 20 * (y - centre[:, 1]) ** 2
    found = box.extrema(values, ((0.0, np.inf), (-0.2, 0.3)))
    # Without correlation the bounded maximum is the free one, moved to the bounds.
    expected = np.clip(centre[:, :, 0], [0.0, -0.2], [1.0, 0.3])
    np.testing.assert_allclose(found.theta_hat, expected, atol=1e-6)
    points = rng.uniform(-1, 1, (7, 2))
    together = box.values_at(values, points)
    for k, point in enumerate(points):
        each = box.evaluate(values, np.tile(point, (300, 1)))
        np.testing.assert_allclose(together[:, k], each, atol=1e-9)


def many_parameters(n=6):
    """Λ of 200 events, (1 + a·θ)² + (b·θ)² over its mean, in so many parameters."""
    rng = np.random.default_rng(3)
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    sample = quadratic.generate(200, zero, seed=3)
    basis = PolynomialBasis(tuple(zero), 2)
    rows = reweight_polynomial(sample, basis)
    rows = np.concatenate([rows, rows.mean(axis=0)[None]])
    ends, weights = np.ones(n), np.append(np.ones(200), -200.0)
    exact = LogPolynomials(basis, 0 * ends, ends, rows, weights, -ends, ends, 0 * ends)
    return exact, rng.uniform(-0.3, 0.3, n)


def test_a_box_without_nodes_has_surfaces_of_what_is_exact():
    exact, point = many_parameters()
    box = UntabulatedBox(-np.ones(6), np.ones(6))
    surface = box.exact_surface(exact)
    assert surface.limits == ((-1.0, 1.0),) * 6
    assert surface.value(point) == exact.value(point)
    np.testing.assert_array_equal(surface.gradient(point), exact.gradient(point))
    best = surface.extremum
    np.testing.assert_allclose(exact.gradient(best.theta_hat[0]), 0, atol=1e-5)
    assert best.maximum[0] > surface.value(point)
    assert np.linalg.eigvalsh(best.curvature[0]).min() > 0
    assert finer(box) is box


def test_a_box_without_nodes_says_what_needs_them():
    box = UntabulatedBox(-np.ones(6), np.ones(6))
    for use in (
        lambda: box.grid,
        lambda: box.evaluate(np.zeros((1, 1)), np.zeros((1, 6))),
        lambda: box.values_at(np.zeros((1, 1)), np.zeros((1, 6))),
        lambda: box.extrema(np.zeros((1, 1))),
        lambda: box.surface(np.zeros(3)).value(np.zeros(6)),
    ):
        with pytest.raises(ParameterError, match=r"in 6 parameters, but toys.*fix some"):
            use()
