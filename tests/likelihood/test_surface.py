"""Interpolation and extrema of LLR surfaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import ParameterError
from milinfer.likelihood.surface import Interpolation, parabola_error

GRID = np.linspace(-1, 1, 21)
FINE = np.linspace(-0.99, 0.99, 57)


@pytest.mark.parametrize(
    ("kind", "degree", "power"), [("spline", 0, 3), ("polynomial", 4, 4), ("parabola", 0, 2)]
)
def test_each_kind_is_exact_for_what_it_can_represent(kind, degree, power):
    polynomial = np.polynomial.Polynomial(np.random.default_rng(1).normal(size=power + 1))
    surface = Interpolation(GRID, kind, degree).surface(polynomial(GRID))
    for k in range(3):
        np.testing.assert_allclose(surface(FINE, k), polynomial.deriv(k)(FINE), atol=1e-9)


@pytest.mark.parametrize(("kind", "degree"), [("spline", 0), ("polynomial", 6), ("parabola", 0)])
def test_extrema_are_those_of_brute_force(kind, degree):
    rng = np.random.default_rng(2)
    centre = rng.uniform(-0.6, 0.6, 300)
    values = -rng.uniform(20, 200, 300)[:, None] * (GRID - centre[:, None]) ** 2
    values += rng.normal(size=values.shape)
    interpolation = Interpolation(GRID, kind, degree)
    found = interpolation.extrema(values)
    fine = np.linspace(-1, 1, 20_001)
    for i in range(300):
        curve = interpolation.surface(values[i])(fine)
        assert found.maximum[i] >= curve.max() - 1e-6
        assert abs(found.theta_hat[i] - fine[np.argmax(curve)]) < 2e-3 or np.isclose(
            found.maximum[i], curve.max(), atol=1e-4
        )
    slope = interpolation.evaluate(values, found.theta_hat, 1)
    bend = interpolation.evaluate(values, found.theta_hat, 2)
    assert np.abs(slope[~found.at_edge] / bend[~found.at_edge]).max() < 1e-6
    np.testing.assert_allclose(found.curvature, -bend)


def test_many_surfaces_at_once_equal_one_by_one():
    values = np.random.default_rng(3).normal(size=(5, 21))
    theta = np.random.default_rng(4).uniform(-1, 1, (5, 7))
    for kind in ("spline", "polynomial", "parabola"):
        interpolation = Interpolation(GRID, kind, 5)
        together = interpolation.evaluate(values, theta)
        for row, t, v in zip(values, theta, together, strict=True):
            np.testing.assert_allclose(interpolation.surface(row)(t), v, atol=1e-12)


def test_a_maximum_at_the_edge_is_marked():
    assert Interpolation(GRID, "spline").extrema((10 * GRID)[None]).at_edge[0]


def test_outside_the_range_is_an_error():
    surface = Interpolation(GRID, "spline").surface(GRID)
    with pytest.raises(ParameterError, match="outside"):
        surface(1.2)


@pytest.mark.parametrize(
    ("grid", "kind"),
    [([0.0, 1.0], "spline"), ([0.0, 2.0, 1.0, 3.0], "spline"), ([0.0, 1.0, 2.0], "wavelet")],
)
def test_grids_that_cannot_work_are_refused(grid, kind):
    with pytest.raises(ParameterError):
        Interpolation(np.array(grid), kind)


@pytest.mark.parametrize("kind", ["spline", "polynomial", "parabola"])
def test_maxima_between_bounds_are_those_of_brute_force(kind):
    rng = np.random.default_rng(5)
    values = -100 * (GRID - rng.uniform(-0.6, 0.6, (200, 1))) ** 2 + rng.normal(size=(200, 21))
    interpolation = Interpolation(GRID, kind, 6)
    found = interpolation.extrema(values, (0.0, 0.33))
    fine = np.linspace(0, 0.33, 2001)
    curves = interpolation.values_at(values, fine)
    np.testing.assert_allclose(found.maximum, curves.max(axis=1), atol=1e-3)
    assert np.all(found.maximum >= curves.max(axis=1) - 1e-9)
    assert np.all((found.theta_hat >= 0) & (found.theta_hat <= 0.33))
    at_bound = (found.theta_hat == 0.0) | (found.theta_hat == 0.33)
    assert np.all(found.at_edge[at_bound])
    assert 50 < at_bound.sum() < 190


def test_common_points_give_what_each_own_point_gives():
    values = np.random.default_rng(6).normal(size=(5, 21))
    for kind in ("spline", "polynomial", "parabola"):
        interpolation = Interpolation(GRID, kind, 5)
        each = interpolation.evaluate(values, np.tile(FINE, (5, 1)))
        np.testing.assert_allclose(interpolation.values_at(values, FINE), each, atol=1e-12)


def test_blocks_do_not_change_the_maxima(monkeypatch):
    values = -50 * (GRID - np.random.default_rng(7).uniform(-0.5, 0.5, (25, 1))) ** 2
    interpolation = Interpolation(GRID, "polynomial", 4)
    whole = interpolation.extrema(values)
    monkeypatch.setattr("milinfer.likelihood.surface._BLOCK", 10)
    for a, b in zip(whole, interpolation.extrema(values), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("bounds", [(-2.0, 0.5), (0.5, 0.5), (0.3, 0.1), ((0.0, 1.0), (0.0, 1.0))])
def test_bounds_that_cannot_work_are_refused(bounds):
    with pytest.raises(ParameterError, match="bounds"):
        Interpolation(GRID, "spline").extrema(GRID[None], bounds)


FIT = Interpolation(GRID, "parabola", window=0.4)


@given(st.floats(-0.9, 0.9), st.floats(1.0, 400.0), st.floats(-5, 5), st.integers(0, 2**32 - 1))
def test_a_parabola_has_none_and_a_constant_does_not_matter(centre, curvature, level, seed):
    exact = -curvature / 2 * (GRID - centre) ** 2
    assert parabola_error(FIT, exact[None])[0] == pytest.approx(0, abs=1e-16 * curvature**2 + 1e-20)
    rough = np.random.default_rng(seed).normal(0, 1e-3, 21)
    plain, moved = parabola_error(FIT, np.stack([exact + rough, exact + rough + level]))
    assert moved == pytest.approx(plain, rel=1e-6)


def test_it_is_the_variance_of_the_noise_without_what_the_parabola_takes():
    rng, sigma = np.random.default_rng(3), 0.05
    values = -50 * (GRID - 0.02) ** 2 + rng.normal(0, sigma, (4000, 21))
    # Nine points, three of whose degrees of freedom are fitted; of −2Λ, twice the noise.
    expected = 4 * sigma**2 * 6 / 9
    assert parabola_error(FIT, values).mean() == pytest.approx(expected, rel=0.03)


def test_it_agrees_with_a_fit_by_hand():
    rng = np.random.default_rng(4)
    values = -30 * (GRID - 0.35) ** 2 + rng.normal(0, 0.3, 21)
    near = np.abs(GRID - GRID[np.argmax(values)]) < 0.45
    y = -2 * values[near]
    by_hand = np.mean((np.polyval(np.polyfit(GRID[near], y, 2), GRID[near]) - y) ** 2)
    assert parabola_error(FIT, values[None])[0] == pytest.approx(by_hand)


def test_other_continuations_have_no_parabola():
    with pytest.raises(ParameterError, match="polynomial"):
        parabola_error(Interpolation(GRID, "polynomial"), np.zeros((1, 21)))
