"""Adaptive grids: integrals, densities and Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.datasets.generator import Grid, adapt


def peak(x):
    return np.exp(-0.5 * np.sum(((x - 0.3) / 0.05) ** 2, axis=1))


@pytest.fixture(scope="module")
def adapted():
    return adapt(peak, 3, np.random.default_rng(1))


def test_integral_of_a_known_function_with_less_variance(adapted):
    uniform = np.random.default_rng(2).random((50_000, 3))
    exact = (0.05 * np.sqrt(2 * np.pi)) ** 3  # the cube ends 6 σ from the peak
    x, jacobian = adapted.map(uniform)
    weights = peak(x) * jacobian
    error = weights.std() / np.sqrt(len(weights))
    assert abs(weights.mean() - exact) < 3 * error
    assert error < 0.1 * peak(uniform).std() / np.sqrt(len(weights))


def test_density_is_the_inverse_of_the_jacobian(adapted):
    x, jacobian = adapted.map(np.random.default_rng(3).random((5_000, 3)))
    np.testing.assert_allclose(adapted.density(x) * jacobian, 1.0, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 40))
def test_densities_of_any_grid_integrate_to_one(seed, n_dim, n_cells):
    rng = np.random.default_rng(seed)
    inner = np.sort(rng.random((n_dim, n_cells - 1)), axis=1)
    edges = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    grid = Grid(edges)
    uniform = rng.random((200, n_dim))
    x, jacobian = grid.map(uniform)
    assert ((x >= 0) & (x <= 1)).all()
    np.testing.assert_allclose(grid.density(x) * jacobian, 1.0, rtol=1e-9)
    # Midpoints of all cells, weighted with their width, in one dimension at a time.
    for d in range(n_dim):
        one = Grid(edges[d : d + 1])
        middle = (edges[d, 1:] + edges[d, :-1]) / 2
        total = one.density(middle[:, None]) @ np.diff(edges[d])
        assert total == pytest.approx(1.0, rel=1e-12)


def test_the_ends_of_the_cube_are_mapped_onto_themselves(adapted):
    x, _ = adapted.map(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(x, [[0, 0, 0], [1, 1, 1]])
    assert np.isfinite(adapted.density(x)).all()


def test_refinement_keeps_edges_ascending_even_where_nothing_was_hit():
    uniform = np.random.default_rng(4).random((1_000, 2))
    values = np.where(uniform[:, 0] < 0.01, 1.0, 0.0)
    grid = Grid.uniform(2)
    for _ in range(5):
        grid = grid.refined(uniform, values)
    assert (np.diff(grid.edges, axis=1) > 0).all()
    np.testing.assert_array_equal(grid.edges[:, [0, -1]], [[0, 1], [0, 1]])
