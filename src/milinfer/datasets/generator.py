"""Generate unweighted events of a Higgs boson in weak-boson fusion: production, decay and cuts.

Production and decay are sampled and unweighted separately, which is exact for a scalar.  For each
process, a million weighted phase-space points are computed once.  They give the cross-section and
the largest weight at any parameter point, because weights are quadratic polynomials in the
operators.  Phase-space points are drawn by importance sampling with adaptive one-dimensional grids
(VEGAS).  Events are generated in chunks of fixed size, each with its own seed, so that the events
do not depend on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np

from milinfer.datasets import amplitude, phase_space
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.operators import (
    check_operators,
    form_weights,
    has_odd,
    quartic,
)
from milinfer.datasets.phase_space import JET_PT, boost
from milinfer.exceptions import SampleError
from milinfer.typing import BoolArray, FloatArray, IntArray, Point

__all__ = [
    "Channel",
    "Grid",
    "Phase",
    "adapt",
    "decay_channel",
    "generate",
    "passes_cuts",
    "production_channel",
]


LEPTON_PT, LEPTON_ETA, DELTA_R = 10.0, 2.5, 0.4
HIGGS_WIDTH = 4.07e-3  # GeV
_CHUNK = 5_000
_BATCH = 8_192
_IDS = {
    "W": np.array([25, 24, -24, -11, 12, 11, -12]),
    "Z": np.array([25, 23, 23, -11, 11, 12, -12]),
}


class _Chunk(NamedTuple):
    momenta: FloatArray
    pdg_ids: IntArray
    coefficients: FloatArray
    tried: int
    passed: int
    overshoot: float


def generate(
    process: str,
    boson: Literal["W", "Z"],
    n_events: int,
    point: Point,
    seed: int,
    workers: int,
) -> GeneratedEvents:
    """Generate unweighted events after cuts; see :mod:`milinfer.datasets.vbf_hww`.

    Raises
    ------
    SampleError
        If `n_events` is less than one.
    """
    if n_events < 1:
        msg = f"cannot generate {n_events} events; ask for at least one"
        raise SampleError(msg)
    n_chunks = -(-n_events // _CHUNK)
    seeds = np.random.SeedSequence(seed).spawn(n_chunks)
    sizes = [min(_CHUNK, n_events - k * _CHUNK) for k in range(n_chunks)]
    if workers > 1 and n_chunks > 1:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, n_chunks), mp_context=context) as pool:
            chunks = list(
                pool.map(_chunk, [boson] * n_chunks, sizes, [point] * n_chunks, seeds, chunksize=4)
            )
    else:
        chunks = [_chunk(boson, size, point, s) for size, s in zip(sizes, seeds, strict=True)]
    tried, passed = sum(k.tried for k in chunks), sum(k.passed for k in chunks)
    acceptance = passed / tried
    odd = has_odd(tuple(point))
    sigma, sigma_error = production_channel(odd).integral(point)
    width, width_error = decay_channel(boson, odd).integral(point)
    # The cross-section includes three neutrino flavours for ν ν̄, which have the same kinematics.
    flavours = 3 if boson == "Z" else 1
    cross_section = sigma * flavours * width / HIGGS_WIDTH * acceptance
    relative = np.sqrt(
        (sigma_error / sigma) ** 2 + (width_error / width) ** 2 + (1 - acceptance) / passed
    )
    return GeneratedEvents(
        momenta=np.concatenate([k.momenta for k in chunks]),
        pdg_ids=np.concatenate([k.pdg_ids for k in chunks]),
        coefficients=np.concatenate([k.coefficients for k in chunks]),
        cross_section=cross_section,
        cross_section_error=float(cross_section * relative),
        point=dict(point),
        process=process,
        seed=seed,
        overshoot=float(np.mean([k.overshoot for k in chunks])),
    )


def passes_cuts(momenta: FloatArray) -> BoolArray:
    """Apply the cuts on two charged leptons and two jets.

    Parameters
    ----------
    momenta
        [px, py, pz, E] of the two leptons and the two jets, shape (n, 4, 4), massless.

    Returns
    -------
    ndarray
        Mask of shape (n,): pT > 10 GeV and ``|η| < 2.5`` for leptons, pT > 20 GeV for jets,
        ΔR > 0.4 between all of them.  (All generated jets have ``|η| < 5``.)

    Examples
    --------
    >>> import numpy as np
    >>> passes_cuts(np.zeros((1, 4, 4)))
    array([False])
    """
    pt = np.hypot(momenta[..., 0], momenta[..., 1])
    safe = np.maximum(pt, 1e-9)
    eta = np.arcsinh(momenta[..., 2] / safe)
    phi = np.arctan2(momenta[..., 1], momenta[..., 0])
    ok: BoolArray = np.asarray(
        (pt[:, :2] > LEPTON_PT).all(1)
        & (np.abs(eta[:, :2]) < LEPTON_ETA).all(1)
        & (pt[:, 2:] > JET_PT).all(1)
    )
    for i in range(4):
        for j in range(i):
            d_phi = np.remainder(phi[:, i] - phi[:, j] + np.pi, 2 * np.pi) - np.pi
            ok &= np.hypot(eta[:, i] - eta[:, j], d_phi) > DELTA_R
    return ok


def _chunk(
    boson: Literal["W", "Z"], size: int, point: Point, seed: np.random.SeedSequence
) -> _Chunk:
    rng = np.random.default_rng(seed)
    # Events without a point have no operators, and the polynomial of c_HW is a constant.
    operators = check_operators(tuple(point) or None)
    odd = has_odd(operators)
    production, decay = production_channel(odd), decay_channel(boson, odd)
    kept: list[tuple[FloatArray, IntArray, FloatArray]] = []
    n_kept = tried = passed = 0
    overshoot = 0.0
    while n_kept < size:
        n = min(_BATCH, 3 * (size - n_kept) + 100)
        produced, p_coefficients, p_over = production.unweighted(n, point, operators, rng)
        decayed, d_coefficients, d_over = decay.unweighted(n, point, operators, rng)
        momenta, ids = _assemble(
            _rotate(produced, rng), _rotate_isotropically(decayed, rng), boson, rng
        )
        leptons = [5, 7] if boson == "W" else [5, 6]
        ok = np.flatnonzero(passes_cuts(momenta[:, [*leptons, 9, 10]]))
        tried, passed = tried + n, passed + len(ok)
        ok = ok[: size - n_kept]
        n_kept += len(ok)
        if boson == "Z":  # no operator in this process
            p_coefficients, d_coefficients = (np.eye(3)[[0] * n] for _ in range(2))
        coefficients = quartic(p_coefficients[ok], d_coefficients[ok])
        kept.append((momenta[ok], ids[ok], coefficients))
        overshoot = max(overshoot, p_over + d_over)
    momenta, ids, coefficients = (np.concatenate(x) for x in zip(*kept, strict=True))
    return _Chunk(
        momenta=momenta,
        pdg_ids=ids,
        coefficients=coefficients,
        tried=tried,
        passed=passed,
        overshoot=overshoot,
    )


def _rotate(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate by a random azimuth, and half of the events by π about x, which swaps the beams."""
    phi = 2 * np.pi * rng.random(len(p))[:, None]
    cos, sin = np.cos(phi), np.sin(phi)
    swap = np.where(rng.random(len(p)) < 0.5, -1.0, 1.0)[:, None]
    energy, x, y, z = np.moveaxis(p, -1, 0)
    y, z = swap * y, swap * z
    return np.stack([energy, cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def _rotate_isotropically(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate each event at random, because H has no spin."""
    q = rng.normal(size=(len(p), 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.concatenate([p[..., :1], np.einsum("ijn,nkj->nki", rotation, p[..., 1:])], axis=-1)


def _assemble(
    produced: FloatArray, decayed: FloatArray, boson: str, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Particle list in LHE order, [px, py, pz, E]; beam 1 is the parton with positive pz."""
    leptons = boost(decayed, produced[:, 4])
    first, second = leptons[:, 0] + leptons[:, 1], leptons[:, 2] + leptons[:, 3]
    u_first = produced[:, 0, 3] > 0
    beams = np.where(u_first[:, None, None], produced[:, [0, 1]], produced[:, [1, 0]])
    everything = np.concatenate(
        [
            beams,
            produced[:, 4:5],
            first[:, None],
            second[:, None],
            leptons,
            produced[:, [2, 3]],
        ],
        axis=1,
    )
    ids = np.empty((len(produced), 11), dtype=np.int64)
    ids[:, 0], ids[:, 1] = np.where(u_first, 2, 1), np.where(u_first, 1, 2)
    ids[:, 2:9] = _IDS[boson]
    ids[:, 9], ids[:, 10] = 1, 2
    if boson == "Z":  # all three neutrino flavours, equally often
        flavour = np.array([12, 14, 16])[rng.integers(3, size=len(ids))]
        ids[:, 7], ids[:, 8] = flavour, -flavour
    return everything[..., [1, 2, 3, 0]], ids


_EXPLORE = 1_000_000
_OVERSHOOT = 1e-3
_LARGEST = 20_000


class Phase(NamedTuple):
    """A process whose phase space is mapped to the unit cube.

    Parameters
    ----------
    n_dim
        Dimension of the cube.
    weigh
        Function that gives the weights of points of the cube.  The points have the shape
        (n, n_dim).  The weights have the shape (n, n_forms), with one column for each product of
        amplitudes (:func:`milinfer.datasets.operators.form_weights`).  The integral of a weight
        over the cube is a cross-section or a width.
    momenta
        Function that gives the momenta at points of the cube, shape (n, n_particles, 4).
    squared
        Function that takes momenta and operators, and gives the coefficients of ``|M|²``, shape
        (n, n_monomials).  ``|M|²`` is a quadratic polynomial in the operators.
    """

    n_dim: int
    weigh: Callable[[FloatArray], FloatArray]
    momenta: Callable[[FloatArray], FloatArray]
    squared: Callable[[FloatArray, Sequence[str]], FloatArray]


class _Found(NamedTuple):
    """Integral at a parameter point, its error, and the weight above which 1e-3 of it lies."""

    integral: float
    error: float
    largest: float


@dataclass(frozen=True, eq=False)
class Channel:
    """A process that can be sampled by acceptance and rejection at any parameter point.

    Parameters
    ----------
    name
        Name in messages.
    phase
        The process.
    grids
        Grids whose mixture is used for importance sampling.
    explored
        Weights of the phase-space points that were computed first, shape (n, n_forms).
    """

    name: str
    phase: Phase
    grids: tuple[Grid, ...]
    explored: FloatArray

    def weighted(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Draw points, shape (n, n_dim), and their weights, shape (n, n_forms).

        The mean of the weights is the integral.
        """
        uniform = rng.random((n, len(self.grids[0].edges)))
        parts = np.array_split(uniform, len(self.grids))
        mapped = [grid.map(part) for grid, part in zip(self.grids, parts, strict=True)]
        points = np.concatenate([m[0] for m in mapped])
        # Density of the mixture; for the grid that a point comes from it is 1/Jacobian.
        density = np.concatenate(
            [
                sum(
                    len(part) / n * (1 / jacobian if other is grid else other.density(x))
                    for other, part in zip(self.grids, parts, strict=True)
                )
                for grid, (x, jacobian) in zip(self.grids, mapped, strict=True)
            ]
        )
        return points, self.phase.weigh(points) / density[:, None]

    def integral(self, point: Point | float) -> tuple[float, float]:
        """Return the cross-section (pb) or the width (GeV) at a parameter point, and its error.

        A number for `point` is a value of c_HW.
        """
        found = self._found(tuple(self._factors(point).tolist()))
        return found.integral, found.error

    def _factors(self, point: Point | float) -> FloatArray:
        """Factors of the forms, shape (n_forms,)."""
        at = {"c_HW": point} if isinstance(point, int | float) else point
        return form_weights(at, self.explored.shape[1])

    # Cached: it uses a million weights, and events of a point are often generated several times.
    @lru_cache(maxsize=256)  # noqa: B019 - there are few channels, which live as long as this
    def _found(self, factors: tuple[float, ...]) -> _Found:
        """Integral and largest weight at a parameter point."""
        weights = self.explored @ np.array(factors)
        error = float(weights.std() / np.sqrt(len(weights)))
        integral = float(weights.mean())
        allowed = _OVERSHOOT * integral * len(weights)
        # Only few weights are so large, so the others need not be sorted.
        for n in (min(_LARGEST, len(weights)), len(weights)):
            few = np.sort(np.partition(weights, len(weights) - n)[-n:])[::-1]
            # Overshoot Σ (w − w_max)+ for w_max at each of the largest weights.
            overshoot = np.cumsum(few) - few * np.arange(1, n + 1)
            if overshoot[-1] >= allowed:
                break
        k = int(np.searchsorted(overshoot, allowed))
        return _Found(integral, error, float(few[max(k - 1, 0)]))

    def unweighted(
        self, n: int, point: Point, operators: Sequence[str], rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, float]:
        """Draw phase-space points in proportion to ``|M|²`` at a parameter point.

        A phase-space point whose weight exceeds the maximum is used more than once.  Production and
        decay are unweighted separately and rotated at random, so that two events with the same
        production or the same decay still differ.

        Returns
        -------
        momenta
            Momenta, shape (n, n_particles, 4).
        coefficients
            Coefficients of ``|M|²`` of each phase-space point, shape (n, n_monomials), up to a
            factor.
        overshoot
            Fraction of the integral that is above the maximum weight.  It comes from repeated
            points.
        """
        factors = self._factors(point)
        largest = self._found(tuple(factors.tolist())).largest
        chosen, n_chosen = [], 0
        total = above = 0.0
        while n_chosen < n:
            points, forms = self.weighted(40_000, rng)
            weights = forms @ factors
            total += float(weights.sum())
            above += float(np.maximum(weights - largest, 0).sum())
            copies = (weights / largest + rng.random(len(weights))).astype(np.int64)
            # Points are ordered by grid: shuffle them, so that the first n are from all grids.
            keep = rng.permutation(np.repeat(np.arange(len(weights)), copies))
            chosen.append(points[keep])
            n_chosen += len(keep)
        momenta = self.phase.momenta(np.concatenate(chosen)[:n])
        return momenta, self.phase.squared(momenta, operators), above / total


def _explore(name: str, phase: Phase, forms: tuple[int, ...]) -> Channel:
    # A fixed seed, because the grids are part of the method and not of the sample.
    rng = np.random.default_rng(np.random.SeedSequence([20_230_501, phase.n_dim]))
    # One grid for the standard model and one for each other structure squared, which has harder
    # jets; their mixture is good for all parameter points.
    grids = tuple(
        adapt(lambda x, k=k: phase.weigh(x)[:, k], phase.n_dim, rng)  # type: ignore[misc]
        for k in forms
    )
    channel = Channel(name, phase, grids, np.empty((0, 3)))
    explored = np.concatenate([channel.weighted(50_000, rng)[1] for _ in range(_EXPLORE // 50_000)])
    return Channel(name, phase, grids, explored)


# Forms |S|², |T|² and |T̃|².
_EVEN, _ODD = (0, 2), (0, 2, 5)


def production_channel(odd: bool = False) -> Channel:
    """Make the channel u d → d u H at 13 TeV with invented parton densities and jet cuts, in pb.

    Parameters
    ----------
    odd
        Whether one of the operators is odd under CP.
    """
    return _production_channel(odd)


def decay_channel(boson: Literal["W", "Z"], odd: bool = False) -> Channel:
    """Make the channel H → 4 leptons through W or Z bosons; the integral is the width in GeV."""
    return _decay_channel(boson, odd)


@lru_cache(maxsize=2)
def _production_channel(odd: bool) -> Channel:
    phase = Phase(
        6,
        partial(phase_space.production_weights, odd=odd),
        phase_space.production_momenta,
        amplitude.production,
    )
    return _explore("production", phase, _ODD if odd else _EVEN)


@lru_cache(maxsize=3)
def _decay_channel(boson: Literal["W", "Z"], odd: bool) -> Channel:
    def squared(p: FloatArray, operators: Sequence[str]) -> FloatArray:
        if boson == "W":
            return amplitude.decay_ww(p, operators)
        zz = amplitude.decay_zz(p)
        return np.stack([zz, 0 * zz, 0 * zz], axis=1)

    phase = Phase(
        7,
        partial(phase_space.decay_weights, boson=boson, odd=odd),
        partial(phase_space.decay_momenta, boson=boson),
        squared,
    )
    of_w = _ODD if odd else _EVEN
    return _explore(f"H → {boson}{boson}*", phase, of_w if boson == "W" else (0,))


# Equal parts of each dimension, for looking up cells.
_PARTS = 4096


@dataclass(frozen=True, eq=False)
class Grid:
    """Product of piecewise-constant densities on the unit cube.

    Parameters
    ----------
    edges
        Edges of the cells in each dimension, from 0 to 1, shape (n_dim, n_cells + 1).  All cells
        have the same probability.

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
        """Make a grid of equal cells, which maps every point to itself."""
        return cls(np.tile(np.linspace(0, 1, n_cells + 1), (n_dim, 1)))

    @cached_property
    def _widths(self) -> FloatArray:
        return np.diff(self.edges)

    @cached_property
    def _first_cells(self) -> IntArray:
        """First cell in each of many equal parts of a dimension, shape (n_dim, _PARTS)."""
        starts = np.arange(_PARTS) / _PARTS
        return np.stack([np.searchsorted(e, starts, side="right") - 1 for e in self.edges])

    def map(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Map uniform numbers, shape (n, n_dim), to points; return the points and their Jacobians.

        The array of Jacobians has the shape (n,).
        """
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
        """Return the probability density of mapped points, shape (n,): the inverse Jacobian."""
        n_cells = self.edges.shape[1] - 1
        out = np.ones(len(points))
        for d, (edges, widths) in enumerate(zip(self.edges, self._widths, strict=True)):
            x = np.ascontiguousarray(points[:, d])
            # A point is at most a few cells away from the first cell of its part of the axis, and
            # most parts have at most one edge: this is much faster than a search.
            cell = self._first_cells[d][np.minimum((x * _PARTS).astype(np.int64), _PARTS - 1)]
            while np.any(late := (x >= edges[cell + 1]) & (cell < n_cells - 1)):
                cell[late] += 1
            out /= widths[cell] * n_cells
        return out

    def refined(self, uniform: FloatArray, values: FloatArray, damping: float = 0.7) -> Grid:
        """Move the edges so that the sum of `values` squared is about equal in all cells."""
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
