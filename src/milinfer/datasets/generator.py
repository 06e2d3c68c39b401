"""Unweighted events of a Higgs boson in weak-boson fusion: production, decay and cuts.

Production and decay are sampled and unweighted separately, which is exact for a scalar.  Each
process is explored once (a million weighted points); that gives the cross-section and the largest
weight for any value of c_HW, because the weights are quadratics in it.  Points are drawn by
importance sampling with adaptive one-dimensional grids (VEGAS).  Events are generated in chunks of
fixed size with their own seeds, so that the number of workers does not change them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np

from milinfer.datasets import amplitude, phase_space
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.phase_space import JET_PT, boost
from milinfer.exceptions import ParameterError, SampleError
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
        If fewer than one event is asked for.
    """
    if n_events < 1:
        msg = f"cannot generate {n_events} events; ask for at least one"
        raise SampleError(msg)
    c = point.get("c_HW", 0.0)
    n_chunks = -(-n_events // _CHUNK)
    seeds = np.random.SeedSequence(seed).spawn(n_chunks)
    sizes = [min(_CHUNK, n_events - k * _CHUNK) for k in range(n_chunks)]
    if workers > 1 and n_chunks > 1:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, n_chunks), mp_context=context) as pool:
            chunks = list(
                pool.map(_chunk, [boson] * n_chunks, sizes, [c] * n_chunks, seeds, chunksize=4)
            )
    else:
        chunks = [_chunk(boson, size, c, s) for size, s in zip(sizes, seeds, strict=True)]
    tried, passed = sum(k.tried for k in chunks), sum(k.passed for k in chunks)
    acceptance = passed / tried
    sigma, sigma_error = production_channel().integral(c)
    width, width_error = decay_channel(boson).integral(c)
    # The cross-section counts three neutrino flavours for ν ν̄; their kinematics are the same.
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


def check_point(point: Point | None) -> dict[str, float]:
    """Check a point; None stands for c_HW = 0.

    Raises
    ------
    ParameterError
        If it has another parameter, or |c_HW| > 5, for which the sampling has not been explored.

    Examples
    --------
    >>> check_point(None)
    {'c_HW': 0.0}
    """
    values = {"c_HW": 0.0} if point is None else dict(point)
    if set(values) != {"c_HW"} or not abs(values["c_HW"]) <= 5:
        msg = f"{values} is not a point of this process; give c_HW between -5 and 5"
        raise ParameterError(msg)
    return values


def passes_cuts(momenta: FloatArray) -> BoolArray:
    """Cuts on two charged leptons and two jets.

    Parameters
    ----------
    momenta
        [px, py, pz, E] of the two leptons and the two jets, shape (n, 4, 4), massless.

    Returns
    -------
    ndarray
        Shape (n,): pT > 10 GeV and |η| < 2.5 for leptons, pT > 20 GeV for jets, ΔR > 0.4 among
        all (|η| < 5 holds for jets as generated).

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


def _chunk(boson: Literal["W", "Z"], size: int, c: float, seed: np.random.SeedSequence) -> _Chunk:
    rng = np.random.default_rng(seed)
    kept: list[tuple[FloatArray, IntArray, FloatArray]] = []
    n_kept = tried = passed = 0
    overshoot = 0.0
    while n_kept < size:
        n = min(_BATCH, 3 * (size - n_kept) + 100)
        produced, p_coefficients, p_over = production_channel().unweighted(n, c, rng)
        decayed, d_coefficients, d_over = decay_channel(boson).unweighted(n, c, rng)
        momenta, ids = _assemble(
            _rotate(produced, rng), _rotate_isotropically(decayed, rng), boson, rng
        )
        leptons = [5, 7] if boson == "W" else [5, 6]
        ok = np.flatnonzero(passes_cuts(momenta[:, [*leptons, 9, 10]]))
        tried, passed = tried + n, passed + len(ok)
        ok = ok[: size - n_kept]
        n_kept += len(ok)
        coefficients = _quartic(p_coefficients[ok], d_coefficients[ok], boson)
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


def _quartic(p: FloatArray, d: FloatArray, boson: str) -> FloatArray:
    """Quartic of |M(c)|²/|M(0)|² from the two quadratics, shape (n, 5)."""
    out = np.zeros((len(p), 5))
    if boson == "Z":  # no operator in this process
        out[:, 0] = 1.0
        return out
    p, d = p / p[:, :1], d / d[:, :1]
    for i in range(3):
        for j in range(3):
            out[:, i + j] += p[:, i] * d[:, j]
    return out


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


class Phase(NamedTuple):
    """A process on the unit cube.

    Parameters
    ----------
    n_dim
        Dimension of the cube.
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
        Name in messages.
    phase
        The process.
    grids
        Grids whose mixture is used for importance sampling.
    explored
        Weights of the exploration as quadratics in c_HW, shape (n, 3).
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

        A point whose weight exceeds the maximum is used more than once, so that its excess is not
        lost.  Production and decay are unweighted separately and rotated at random, so that two
        events that share one of them still differ.

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
        chosen, n_chosen = [], 0
        total = above = 0.0
        while n_chosen < n:
            points, coefficients = self.weighted(40_000, rng)
            weights = coefficients @ powers
            total += float(weights.sum())
            above += float(np.maximum(weights - largest, 0).sum())
            copies = (weights / largest + rng.random(len(weights))).astype(np.int64)
            # Points are ordered by grid; shuffled, the cut at n does not prefer one of the grids.
            keep = rng.permutation(np.repeat(np.arange(len(weights)), copies))
            chosen.append(points[keep])
            n_chosen += len(keep)
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
    """Channel of u d → d u H at 13 TeV with toy parton densities and jet cuts, in pb."""
    phase = Phase(
        6, phase_space.production_weights, phase_space.production_momenta, amplitude.production
    )
    return _explore("production", phase, (0, 2))


@lru_cache(maxsize=2)
def decay_channel(boson: Literal["W", "Z"]) -> Channel:
    """Channel of H → 4 leptons through W or Z bosons; its integral is the partial width in GeV."""

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


# Equal parts of each dimension, for looking up cells.
_PARTS = 4096


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
        """Grid of equal cells, which maps every point to itself."""
        return cls(np.tile(np.linspace(0, 1, n_cells + 1), (n_dim, 1)))

    @cached_property
    def _widths(self) -> FloatArray:
        return np.diff(self.edges)

    @cached_property
    def _first_cells(self) -> IntArray:
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
            cell = self._first_cells[d][np.minimum((x * _PARTS).astype(np.int64), _PARTS - 1)]
            while np.any(late := (x >= edges[cell + 1]) & (cell < n_cells - 1)):
                cell[late] += 1
            out /= widths[cell] * n_cells
        return out

    def refined(self, uniform: FloatArray, values: FloatArray, damping: float = 0.7) -> Grid:
        """Move the edges so that each cell carries about the same Σ values²."""
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
