"""Adaptive one-dimensional grids for importance sampling (VEGAS)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from milinfer.typing import FloatArray, IntArray

__all__ = ["Grid", "adapt"]

_PARTS = 4096  # of each dimension, for looking up cells


@dataclass(frozen=True, eq=False)
class Grid:
    """Product of piecewise-constant densities on the unit cube.

    Parameters
    ----------
    edges
        Cell edges of each dimension, shape (n_dim, n_cells + 1), from 0 to 1; each cell is hit
        with the same probability.

    Examples
    --------
    >>> import numpy as np
    >>> grid = Grid.uniform(2, 10)
    >>> x, jacobian = grid.map(np.array([[0.25, 0.5]]))
    >>> x, jacobian
    (array([[0.25, 0.5 ]]), array([1.]))
    """

    edges: FloatArray

    @classmethod
    def uniform(cls, n_dim: int, n_cells: int = 64) -> Grid:
        """A grid that changes nothing."""
        return cls(np.tile(np.linspace(0, 1, n_cells + 1), (n_dim, 1)))

    @cached_property
    def _widths(self) -> FloatArray:
        return np.diff(self.edges)

    @cached_property
    def _first(self) -> IntArray:
        """First cell that meets each of many equal parts of a dimension, (n_dim, _PARTS)."""
        starts = np.arange(_PARTS) / _PARTS
        return np.stack([np.searchsorted(e, starts, side="right") - 1 for e in self.edges])

    def map(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Map uniform numbers (n, n_dim) to points and the Jacobian (n,)."""
        n_cells = self.edges.shape[1] - 1
        points, jacobian = np.empty_like(uniform), np.ones(len(uniform))
        for d, (edges, widths) in enumerate(zip(self.edges, self._widths, strict=True)):
            scaled = uniform[:, d] * n_cells
            cell = np.minimum(scaled.astype(np.int64), n_cells - 1)
            width = widths[cell]
            points[:, d] = edges[cell] + (scaled - cell) * width
            jacobian *= width * n_cells
        return points, jacobian

    def density(self, points: FloatArray) -> FloatArray:
        """Probability density of mapped points, shape (n,); the inverse of the Jacobian."""
        n_cells = self.edges.shape[1] - 1
        out = np.ones(len(points))
        for d, (edges, widths) in enumerate(zip(self.edges, self._widths, strict=True)):
            x = np.ascontiguousarray(points[:, d])
            # From the first cell of its part of the axis a point is a few cells away at most: most
            # parts have one edge or none, which is much faster than a search.
            cell = self._first[d][np.minimum((x * _PARTS).astype(np.int64), _PARTS - 1)]
            while np.any(late := (x >= edges[cell + 1]) & (cell < n_cells - 1)):
                cell[late] += 1
            out /= widths[cell] * n_cells
        return out

    def refined(self, uniform: FloatArray, values: FloatArray, damping: float = 0.7) -> Grid:
        """Move the edges so that each cell carries about the same Σ values² ."""
        n_cells = self.edges.shape[1] - 1
        edges = np.empty_like(self.edges)
        for d in range(len(edges)):
            cell = np.minimum((uniform[:, d] * n_cells).astype(np.int64), n_cells - 1)
            raw = np.bincount(cell, values**2, n_cells)
            mass = np.convolve(np.pad(raw, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
            mass = (mass / mass.sum() + 1e-4) ** damping
            cumulative = np.concatenate([[0], np.cumsum(mass)]) / mass.sum()
            edges[d] = np.interp(np.linspace(0, 1, n_cells + 1), cumulative, self.edges[d])
            edges[d, [0, -1]] = 0, 1
        return Grid(edges)


def adapt(
    integrand: Callable[[FloatArray], FloatArray],
    n_dim: int,
    rng: np.random.Generator,
    *,
    n_iterations: int = 6,
    n_points: int = 20_000,
) -> Grid:
    """Adapt a grid to a positive integrand on the unit cube.

    Examples
    --------
    >>> import numpy as np
    >>> peak = lambda x: np.exp(-0.5 * ((x[:, 0] - 0.5) / 0.01) ** 2)
    >>> grid = adapt(peak, 1, np.random.default_rng(1))
    >>> u = np.random.default_rng(2).random((10_000, 1))
    >>> x, jacobian = grid.map(u)
    >>> w = peak(x) * jacobian
    >>> bool(abs(w.mean() / (0.01 * np.sqrt(2 * np.pi)) - 1) < 0.03)
    True
    """
    grid = Grid.uniform(n_dim)
    for _ in range(n_iterations):
        uniform = rng.random((n_points, n_dim))
        points, jacobian = grid.map(uniform)
        grid = grid.refined(uniform, integrand(points) * jacobian)
    return grid
