"""Single points are the same functions as arrays of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.utils.polynomials import PiecewiseCubic, Series
from milinfer.utils.smooth_polynomials import fit_smooth

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
