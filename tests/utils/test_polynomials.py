"""Polynomial bases, their fits and morphing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from milinfer.exceptions import ParameterError
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.utils.polynomials import PiecewiseCubic, PolynomialBasis, Series, point_matrix
from milinfer.utils.smooth_polynomials import fit_smooth

cases = given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 2))


@settings(max_examples=40, deadline=None)
@cases
def test_morphing_reproduces_polynomials(seed, degree, n_parameters):
    rng = np.random.default_rng(seed)
    basis = PolynomialBasis(tuple("ab"[:n_parameters]), degree)
    coefficients = rng.normal(size=len(basis))
    points = basis.choose_points(rng.uniform(-1, 1, (60, n_parameters)))
    assert len(points) == len(basis)
    theta = rng.uniform(-1, 1, (5, n_parameters))
    weights = basis.design(theta) @ basis.morphing_matrix(points)
    expected = basis.design(theta) @ coefficients
    np.testing.assert_allclose(weights @ (basis.design(points) @ coefficients), expected, atol=1e-9)
    # The weights of a constant add up to one; at a basis point one weight is 1, the others 0.
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-9)
    own = basis.design(points) @ basis.morphing_matrix(points)
    np.testing.assert_allclose(own, np.eye(len(basis)), atol=1e-9)


@settings(max_examples=40, deadline=None)
@cases
def test_gradient_is_the_derivative(seed, degree, n_parameters):
    theta = np.random.default_rng(seed).uniform(-1, 1, n_parameters)
    basis = PolynomialBasis(tuple("ab"[:n_parameters]), degree)
    h = 1e-5
    for k, step in enumerate(h * np.eye(n_parameters)):
        numeric = (basis.design(theta + step) - basis.design(theta - step))[0] / (2 * h)
        np.testing.assert_allclose(basis.design_gradient(theta)[k], numeric, atol=1e-8)


def test_gradient_at_zero_has_the_linear_terms_alone():
    basis = PolynomialBasis(("a", "b"), 3)
    gradient = basis.design_gradient([0.0, 0.0])
    assert [basis.exponents[int(np.flatnonzero(g)[0])].tolist() for g in gradient] == [
        [1, 0],
        [0, 1],
    ]
    np.testing.assert_array_equal(gradient.sum(axis=1), 1.0)


@pytest.mark.parametrize(("n_parameters", "degree", "n"), [(1, 4, 5), (2, 2, 6), (2, 4, 15)])
def test_number_of_coefficients(n_parameters, degree, n):
    basis = PolynomialBasis(tuple("ab"[:n_parameters]), degree)
    assert len(basis) == n
    assert len({tuple(e) for e in basis.exponents.tolist()}) == n


@settings(max_examples=40, deadline=None)
@cases
def test_fits_of_exact_values_return_the_polynomial(seed, degree, n_parameters):
    rng = np.random.default_rng(seed)
    basis = PolynomialBasis(tuple("ab"[:n_parameters]), degree)
    theta = rng.uniform(-3, 3, (60, n_parameters))
    truth = rng.normal(size=(len(basis), 3))
    values = basis.design(theta) @ truth
    fit = basis.fit(theta, values, rng.uniform(0.5, 2, values.shape))
    np.testing.assert_allclose(fit.coefficients, truth, atol=1e-8)
    assert fit.chi2.max() < 1e-12
    assert fit.ndf == 60 - len(basis)


def test_fits_of_noise_have_unit_pulls():
    rng = np.random.default_rng(3)
    n = 400
    basis = PolynomialBasis(("a", "b"), 2)
    theta = rng.uniform(-1, 1, (20, 2))
    truth = np.array([1.0, -0.5, 0.3, 0.2, -0.7, 0.4])
    errors = np.tile(rng.uniform(0.05, 0.3, (20, 1)), n)
    values = (basis.design(theta) @ truth)[:, None] + errors * rng.normal(size=(20, n))
    fit = basis.fit(theta, values, errors)
    assert abs(fit.chi2.mean() - fit.ndf) < 3 * np.sqrt(2 * fit.ndf / n)
    assert abs(fit.chi2.var() / (2 * fit.ndf) - 1) < 0.3
    shift = fit.coefficients.T - truth
    pulls = shift / np.sqrt(np.diagonal(fit.covariance, axis1=1, axis2=2))
    assert np.abs(pulls.mean(axis=0)).max() < 3.5 / np.sqrt(n)
    assert np.abs(pulls.std(axis=0) - 1).max() < 3.5 / np.sqrt(2 * n)
    # Correlations count too.
    mahalanobis = np.einsum("qi,qij,qj->q", shift, np.linalg.inv(fit.covariance), shift)
    assert abs(mahalanobis.mean() - 6) < 3 * np.sqrt(12 / n)


def test_parameters_of_very_different_size_are_fitted_alike():
    basis = PolynomialBasis(("a", "b"), 2)
    theta = np.random.default_rng(1).uniform(-1, 1, (12, 2)) * [1e-5, 1e4]
    truth = np.array([1.0, 1e-4, 1e5, 1e-8, 10.0, 1e10])
    fit = basis.fit(theta, (basis.design(theta) @ truth)[:, None], np.ones((12, 1)))
    np.testing.assert_allclose(fit.coefficients[:, 0], truth, rtol=1e-8)


def test_points_that_cannot_determine_are_refused():
    basis = PolynomialBasis(("a", "b"), 2)
    with pytest.raises(
        ParameterError, match="6 coefficients and needs as many points, but there are 3"
    ):
        basis.morphing_matrix(np.arange(6.0).reshape(3, 2))
    with pytest.raises(ParameterError, match="there are 1"):
        basis.choose_points(np.zeros((9, 2)))
    line = np.column_stack([np.linspace(-1, 1, 6)] * 2)
    for use in (basis.morphing_matrix, basis.choose_points):
        with pytest.raises(ParameterError, match="spread them"):
            use(line)
    circle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    theta = np.column_stack([np.cos(circle), np.sin(circle)])
    with pytest.raises(ParameterError, match=r"polynomial fit.*spread them"):
        basis.fit(theta, np.ones((8, 1)), np.ones((8, 1)))


def test_points_must_have_the_parameters_of_the_basis():
    basis = PolynomialBasis(("a", "b"), 2)
    np.testing.assert_array_equal(basis.array({"b": 2.0, "a": 1.0}), [1.0, 2.0])
    for point in ({"a": 1.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, {}):
        with pytest.raises(ParameterError, match="; give "):
            basis.array(point)
    matrix = point_matrix(("b", "a"), [{"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}])
    np.testing.assert_array_equal(matrix, [[2.0, 1.0], [4.0, 3.0]])


VALUES = st.floats(-1e3, 1e3)


@given(hnp.arrays(np.float64, 9, elements=VALUES), st.floats(-2.0, 3.0))
def test_one_parameter_is_numpys_series(values, x):
    surface = Interpolation(np.linspace(-2.0, 3.0, 9), "polynomial", 6).surface(values)
    scale = 1e-9 * (1 + np.abs(values).max())
    assert surface.value(np.array([x])) == pytest.approx(float(surface(x)), abs=scale)
    assert surface.gradient(np.array([x]))[0] == pytest.approx(float(surface(x, 1)), abs=50 * scale)


@given(hnp.arrays(np.float64, 9, elements=VALUES), st.floats(-2.0, 3.0))
def test_splines_are_scipys(values, x):
    surface = Interpolation(np.linspace(-2.0, 3.0, 9), "spline").surface(values)
    scale = 1e-9 * (1 + np.abs(values).max())
    assert surface.value(np.array([x])) == pytest.approx(float(surface(x)), abs=scale)
    assert surface.gradient(np.array([x]))[0] == pytest.approx(float(surface(x, 1)), abs=scale)


def test_splines_go_on_at_both_ends_and_at_knots():
    knots = np.linspace(-1, 1, 5)
    cubic = PiecewiseCubic(knots, np.array([[1.0] * 4, [0.0] * 4, [0.0] * 4, [5.0, 6, 7, 8]]))
    assert [cubic.value([x]) for x in (-1.0, -0.5, 0.0, 1.0)] == [5.0, 6.0, 7.0, 8.0 + 0.5**3]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_several_parameters_are_the_box(n):
    rng = np.random.default_rng(n)
    box = ChebyshevBox(rng.uniform(-3, -1, n), rng.uniform(1, 3, n), 4)
    values = rng.normal(size=len(box.grid))
    surface = box.surface(values)
    for point in rng.uniform(0.99 * box.low, 0.99 * box.high, (20, n)):
        whole = box.values_at(values[None], point[None])[0, 0]
        assert surface.value(point) == pytest.approx(whole, abs=1e-12)
        h = 1e-6
        numeric = [
            (surface.value(point + h * e) - surface.value(point - h * e)) / (2 * h)
            for e in np.eye(n)
        ]
        np.testing.assert_allclose(surface.gradient(point), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["chebyshev", "power"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_constants_and_lines(kind, n):
    one = np.ones(1)
    series = Series(np.arange(1.0, n + 1), -one, one, kind)
    assert series.value([1.0]) == sum(range(1, n + 1))
    assert series.gradient([0.0])[0] == (2.0 if n > 1 else 0.0)


@pytest.mark.parametrize("beyond", ["tangent", "flat"])
@given(x=st.floats(-2.0, 2.0), y=st.floats(-2.0, 2.0))
def test_smooth_polynomials_at_one_point_inside_and_beyond(beyond, x, y):
    rng = np.random.default_rng(1)
    points = rng.uniform([-1.0, 0.0], [0.5, 1.0], (20, 2))
    values = points[:, 0] ** 2 - points.prod(axis=1)
    smooth = fit_smooth(("a", "b"), points, values, np.eye(20), beyond=beyond, degree=2)
    point = np.array([x, y])
    assert smooth.at(point) == pytest.approx(float(smooth(point)[0]), abs=1e-12)
    np.testing.assert_allclose(smooth.gradient_at(point), smooth.gradient(point)[0], atol=1e-12)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (None, "None is not a point"),
        ("a=1", "'a=1' is not a point"),
        ({"a": "x"}, "the value of a is not a number"),
        ({"a": None}, "the value of a is not a number"),
        ({"a": 10**400}, "the value of a is not a number"),
        ({"a": [1.0, 2.0]}, "the value of a is not a number"),
        ({"a": float("nan")}, "a = nan; give a finite value"),
        ({"a": float("inf")}, "a = inf; give a finite value"),
        ({"b": 1.0}, "the point has the parameters"),
    ],
)
def test_what_is_no_point(point, message):
    with pytest.raises(ParameterError, match=message):
        PolynomialBasis(("a",), 2).array(point)
