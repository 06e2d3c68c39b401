"""Unweighted production and decay of a Higgs boson in weak-boson fusion.

Production and decay are sampled and unweighted apart, which is exact for a scalar.  Each process
is explored once (a few hundred thousand weighted points); that gives the cross-section and the
largest weight for any value of c_HW, because the weights are known as quadratics in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np

from milinfer.datasets import amplitude, phase_space
from milinfer.datasets.vegas import Grid, adapt
from milinfer.typing import FloatArray

__all__ = ["Channel", "Phase", "decay_channel", "production_channel"]

_EXPLORE = 1_000_000
_OVERSHOOT = 1e-3


class Phase(NamedTuple):
    """A process on the unit cube.

    Parameters
    ----------
    n_dim
        Of the cube.
    weigh
        Points (n, n_dim) → weights as quadratics in c_HW, shape (n, 3); their integral over the
        cube is that of the process.
    momenta
        Points → momenta, shape (n, n_particles, 4).
    squared
        Momenta → |M|² as a quadratic in c_HW, shape (n, 3).
    """

    n_dim: int
    weigh: Callable[[FloatArray], FloatArray]
    momenta: Callable[[FloatArray], FloatArray]
    squared: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Channel:
    """A process that can be sampled by acceptance and rejection for any c_HW.

    Parameters
    ----------
    name
        For messages.
    phase
        The process.
    grids
        Importance sampling with a mixture of them.
    explored
        Weight coefficients of the exploration, shape (n, 3).
    """

    name: str
    phase: Phase
    grids: tuple[Grid, ...]
    explored: FloatArray

    def weighted(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Points (n, n_dim) and their weights (n, 3), whose mean is the integral."""
        uniform = rng.random((n, len(self.grids[0].edges)))
        parts = np.array_split(uniform, len(self.grids))
        mapped = [grid.map(part) for grid, part in zip(self.grids, parts, strict=True)]
        points = np.concatenate([m[0] for m in mapped])
        # The density of the mixture; the grid that a point comes from knows its own already.
        density = np.concatenate(
            [
                sum(
                    len(part) / n * (1 / jacobian if other is own else other.density(x))
                    for other, part in zip(self.grids, parts, strict=True)
                )
                for own, (x, jacobian) in zip(self.grids, mapped, strict=True)
            ]
        )
        return points, self.phase.weigh(points) / density[:, None]

    def integral(self, c: float) -> tuple[float, float]:
        """Cross-section (pb) or width (GeV) and its Monte-Carlo error."""
        weights = self.explored @ _powers(c)
        return float(weights.mean()), float(weights.std() / np.sqrt(len(weights)))

    @lru_cache(maxsize=64)  # noqa: B019 - there are three channels, which live as long as this
    def largest(self, c: float) -> float:
        """Weight above which only 1e-3 of the integral lies; see :meth:`unweighted`."""
        weights = np.sort(self.explored @ _powers(c))[::-1]
        # Overshoot Σ (w − w_max)+ for w_max at each of the largest weights.
        overshoot = np.cumsum(weights) - weights * np.arange(1, len(weights) + 1)
        k = int(np.searchsorted(overshoot, _OVERSHOOT * weights.sum()))
        return float(weights[max(k - 1, 0)])

    def unweighted(
        self, n: int, c: float, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, float]:
        """Points distributed as |M(c)|².

        A point whose weight exceeds the maximum is used more than once, so that nothing is lost:
        production and decay are unweighted apart and rotated at random, hence two events that
        share one of them are not alike.

        Returns
        -------
        momenta
            Shape (n, n_particles, 4).
        coefficients
            |M|² of each point as a quadratic in c, shape (n, 3), up to a factor.
        overshoot
            Share of the integral that lies above the maximum weight, carried by repetitions.
        """
        largest, powers = self.largest(c), _powers(c)
        chosen, found = [], 0
        total = above = 0.0
        while found < n:
            points, coefficients = self.weighted(40_000, rng)
            weights = coefficients @ powers
            total += float(weights.sum())
            above += float(np.maximum(weights - largest, 0).sum())
            copies = (weights / largest + rng.random(len(weights))).astype(np.int64)
            # The points come grid by grid; the cut at n must not prefer one of them.
            keep = rng.permutation(np.repeat(np.arange(len(weights)), copies))
            chosen.append(points[keep])
            found += len(keep)
        momenta = self.phase.momenta(np.concatenate(chosen)[:n])
        return momenta, self.phase.squared(momenta), above / total


def _powers(c: float) -> FloatArray:
    return np.array([1.0, c, c * c])


def _explore(name: str, phase: Phase, operators: tuple[int, ...]) -> Channel:
    # A fixed seed: the exploration is part of the method, not of the sample.
    rng = np.random.default_rng(np.random.SeedSequence([20_230_501, phase.n_dim]))
    # One grid for the standard model and one for the operator squared, which prefers harder jets;
    # their mixture serves every value of c_HW.
    grids = tuple(
        adapt(lambda x, k=k: phase.weigh(x)[:, k], phase.n_dim, rng)  # type: ignore[misc]
        for k in operators
    )
    channel = Channel(name, phase, grids, np.empty((0, 3)))
    explored = np.concatenate([channel.weighted(50_000, rng)[1] for _ in range(_EXPLORE // 50_000)])
    return Channel(name, phase, grids, explored)


@lru_cache(maxsize=1)
def production_channel() -> Channel:
    """U d → d u H at 13 TeV with toy parton densities and jet cuts; the integral is in pb."""
    phase = Phase(
        6, phase_space.production_weights, phase_space.production_momenta, amplitude.production
    )
    return _explore("production", phase, (0, 2))


@lru_cache(maxsize=2)
def decay_channel(boson: Literal["W", "Z"]) -> Channel:
    """H → 4 leptons through a pair of W or Z bosons; the integral is the partial width in GeV."""

    def squared(p: FloatArray) -> FloatArray:
        if boson == "W":
            return amplitude.decay_ww(p)
        zz = amplitude.decay_zz(p)
        return np.stack([zz, 0 * zz, 0 * zz], axis=1)

    phase = Phase(
        7,
        partial(phase_space.decay_weights, boson=boson),
        partial(phase_space.decay_momenta, boson=boson),
        squared,
    )
    return _explore(f"H → {boson}{boson}*", phase, (0, 2) if boson == "W" else (0,))
