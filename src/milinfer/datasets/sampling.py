"""Unweighted production and decay of a Higgs boson in weak-boson fusion.

Production and decay are sampled and unweighted apart, which is exact for a scalar.  Each process
is explored once (a few hundred thousand weighted points); that gives the cross-section and the
largest weight for any value of c_HW, because the weights are known as quadratics in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from milinfer.datasets import amplitude
from milinfer.datasets.vegas import Grid, adapt
from milinfer.typing import FloatArray

__all__ = ["JET_ETA", "JET_PT", "SQRT_S", "Channel", "decay_channel", "production_channel"]

SQRT_S = 13_000.0
JET_PT, JET_ETA = 20.0, 5.0
_GEV2_TO_PB = 0.3893793721e9
_PT_MAX = 3000.0
_MAX_RAPIDITY, _MAX_DISTANCE = 5.0, 8.0
_EXPLORE = 1_000_000
_OVERSHOOT = 1e-3


class Weighted(NamedTuple):
    """Phase-space points with their weights as quadratics in c_HW."""

    momenta: FloatArray
    coefficients: FloatArray


@dataclass(frozen=True, eq=False)
class Channel:
    """A process that can be sampled by acceptance and rejection for any c_HW.

    Parameters
    ----------
    name
        For messages.
    grids, evaluate
        Importance sampling with a mixture of grids; points of the unit cube → momenta and weight
        coefficients.
    explored
        Weight coefficients of the exploration, shape (n, 3).
    """

    name: str
    grids: tuple[Grid, ...]
    evaluate: Callable[[FloatArray], Weighted]
    explored: FloatArray

    def weighted(self, n: int, rng: np.random.Generator) -> Weighted:
        """Weighted points; the mean of the weights is the integral."""
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
        momenta, coefficients = self.evaluate(points)
        return Weighted(momenta, coefficients / density[:, None])

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
        momenta, coefficients, found = [], [], 0
        total = above = 0.0
        while found < n:
            batch = self.weighted(40_000, rng)
            weights = batch.coefficients @ powers
            total += float(weights.sum())
            above += float(np.maximum(weights - largest, 0).sum())
            copies = (weights / largest + rng.random(len(weights))).astype(np.int64)
            # The points come grid by grid; the cut at n must not prefer one of them.
            keep = rng.permutation(np.repeat(np.arange(len(weights)), copies))
            momenta.append(batch.momenta[keep])
            coefficients.append(batch.coefficients[keep])
            found += len(keep)
        return np.concatenate(momenta)[:n], np.concatenate(coefficients)[:n], above / total


def _powers(c: float) -> FloatArray:
    return np.array([1.0, c, c * c])


def _explore(
    name: str, evaluate: Callable[[FloatArray], Weighted], n_dim: int, operators: tuple[int, ...]
) -> Channel:
    # A fixed seed: the exploration is part of the method, not of the sample.
    rng = np.random.default_rng(np.random.SeedSequence([20_230_501, n_dim]))
    # One grid for the standard model and one for the operator squared, which prefers harder jets;
    # their mixture serves every value of c_HW.
    grids = tuple(
        adapt(lambda x, k=k: evaluate(x).coefficients[:, k], n_dim, rng)  # type: ignore[misc]
        for k in operators
    )
    channel = Channel(name, grids, evaluate, np.empty((0, 3)))
    explored = np.concatenate(
        [channel.weighted(50_000, rng).coefficients for _ in range(_EXPLORE // 50_000)]
    )
    return Channel(name, grids, evaluate, explored)


@lru_cache(maxsize=1)
def production_channel() -> Channel:
    """U d → d u H at 13 TeV with toy parton densities and jet cuts; the integral is in pb."""
    return _explore("production", _production_weights, 6, (0, 2))


@lru_cache(maxsize=2)
def decay_channel(boson: Literal["W", "Z"]) -> Channel:
    """H → 4 leptons through a pair of W or Z bosons; the integral is the partial width in GeV."""

    def evaluate(x: FloatArray) -> Weighted:
        return _decay_weights(x, boson)

    return _explore(f"H → {boson}{boson}*", evaluate, 7, (0, 2) if boson == "W" else (0,))


def parton_densities(x_up: FloatArray, x_down: FloatArray) -> FloatArray:
    """Toy densities x u(x) · x d(x) of a u and a d with these fractions of their momenta.

    Examples
    --------
    >>> import numpy as np
    >>> parton_densities(np.array([0.1]), np.array([0.1])).round(2)
    array([5.52])
    """
    densities: FloatArray = (
        2.0 * x_up**-0.35 * (1 - x_up) ** 3.2 * 1.2 * x_down**-0.35 * (1 - x_down) ** 4.2
    )
    return densities


def _production_weights(x: FloatArray) -> Weighted:
    """Sample ln pT, η of both jets, their Δφ and the rapidity of H; the partons follow.

    dσ = x1 f(x1) x2 f(x2) |M|² / (8 (2π)^5 ŝ²) d²pT1 d²pT2 dy1 dy2 dyH.
    """
    span = np.log(_PT_MAX / JET_PT)
    pt = JET_PT * np.exp(span * x[:, 0:2])
    # |M|² depends on the distances of the jets from H, the parton densities on the common boost.
    distance = _MAX_DISTANCE * (2 * x[:, 2:4] - 1)
    phi = 2 * np.pi * x[:, 4]
    rapidity = _MAX_RAPIDITY * (2 * x[:, 5] - 1)
    eta = rapidity[:, None] + (distance - 0.5 * np.log(pt / 60.0)) * np.array([1.0, -1.0])
    momenta = np.zeros((len(x), 5, 4))
    px1, px2, py2 = pt[:, 0], pt[:, 1] * np.cos(phi), pt[:, 1] * np.sin(phi)
    momenta[:, 2] = np.stack(
        [pt[:, 0] * np.cosh(eta[:, 0]), px1, 0 * px1, pt[:, 0] * np.sinh(eta[:, 0])], 1
    )
    momenta[:, 3] = np.stack(
        [pt[:, 1] * np.cosh(eta[:, 1]), px2, py2, pt[:, 1] * np.sinh(eta[:, 1])], 1
    )
    mt = np.sqrt(amplitude.M_H**2 + (px1 + px2) ** 2 + py2**2)
    momenta[:, 4] = np.stack([mt * np.cosh(rapidity), -px1 - px2, -py2, mt * np.sinh(rapidity)], 1)
    energy, pz = momenta[:, 2:, 0].sum(1), momenta[:, 2:, 3].sum(1)
    x1, x2 = (energy + pz) / SQRT_S, (energy - pz) / SQRT_S
    inside = (x1 < 1) & (x2 < 1) & np.all(np.abs(eta) < JET_ETA, axis=1)
    momenta[:, 0, 0] = momenta[:, 0, 3] = x1 * SQRT_S / 2
    momenta[:, 1, 0] = x2 * SQRT_S / 2
    momenta[:, 1, 3] = -momenta[:, 1, 0]
    s_hat = x1 * x2 * SQRT_S**2
    r1, r2 = np.where(inside, x1, 0.5), np.where(inside, x2, 0.5)
    densities = parton_densities(r1, r2)
    # d²pT1 d²pT2 = 2π (overall azimuth) · pT1² pT2² dln pT1 dln pT2 dΔφ.
    volume = (
        (2 * np.pi) ** 2
        * span**2
        * (2 * _MAX_DISTANCE) ** 2
        * 2
        * _MAX_RAPIDITY
        * (pt[:, 0] * pt[:, 1]) ** 2
    )
    factor = np.where(inside, densities * volume / (8 * (2 * np.pi) ** 5 * s_hat**2), 0.0)
    # Both beam assignments: u from either proton.
    factor *= 2 * _GEV2_TO_PB
    coefficients = np.zeros((len(x), 3))
    coefficients[inside] = amplitude.production(momenta[inside]) * factor[inside, None]
    return Weighted(momenta, coefficients)


def _decay_weights(x: FloatArray, boson: Literal["W", "Z"]) -> Weighted:
    """Sample both virtualities (the larger first, Breit–Wigner) and the decay angles.

    dΓ = |M|² / (2 m_H) · Φ2(H → V V*) Φ2(V) Φ2(V*) ds1 ds2 / (2π)².
    """
    mass, width = (
        (amplitude.M_W, amplitude.WIDTH_W) if boson == "W" else (amplitude.M_Z, amplitude.WIDTH_Z)
    )
    m_h, gamma = amplitude.M_H, mass * width
    s1, density1 = _breit_wigner(x[:, 0], np.full(len(x), m_h**2), mass, gamma)
    upper = np.minimum(s1, (m_h - np.sqrt(s1)) ** 2)
    # Which boson is the heavier one: folded into the second number.
    swap = x[:, 1] < 0.5
    s2, density2 = _breit_wigner(np.where(swap, 2 * x[:, 1], 2 * x[:, 1] - 1), upper, mass, gamma)
    sa, sb = np.where(swap, s2, s1), np.where(swap, s1, s2)
    cos = 2 * x[:, 2:5] - 1
    phi = 2 * np.pi * x[:, 5:7]
    kallen = np.maximum((m_h**2 - sa - sb) ** 2 - 4 * sa * sb, 0.0)
    momentum = np.sqrt(kallen) / (2 * m_h)
    # The axis of the pair and one azimuth may be fixed: H has no spin, a rotation comes later.
    axis = np.zeros((len(x), 3))
    axis[:, 2] = 1.0
    first = _two_body(sa, cos[:, 0], phi[:, 0])
    second = _two_body(sb, cos[:, 1], phi[:, 1])
    energy_a, energy_b = np.sqrt(sa + momentum**2), np.sqrt(sb + momentum**2)
    momenta = np.concatenate(
        [
            boost(first, np.stack([energy_a, *(axis * momentum[:, None]).T], 1)),
            boost(second, np.stack([energy_b, *(-axis * momentum[:, None]).T], 1)),
        ],
        axis=1,
    )
    # Φ2 = |p| / (4π m) for each step, angles uniform; massless pairs give 1/(8π).
    phase_space = momentum / (4 * np.pi * m_h) / (8 * np.pi) ** 2 / (2 * np.pi) ** 2
    factor = 2 * phase_space / (2 * m_h) / (density1 * density2)
    if boson == "W":
        coefficients = amplitude.decay_ww(momenta) * factor[:, None]
    else:
        coefficients = np.zeros((len(x), 3))
        coefficients[:, 0] = amplitude.decay_zz(momenta) * factor
    return Weighted(momenta, coefficients)


def _breit_wigner(
    u: FloatArray, upper: FloatArray, mass: float, gamma: float
) -> tuple[FloatArray, FloatArray]:
    """Virtuality from a Breit–Wigner density on (0, upper), and that density."""
    low = np.arctan(-(mass**2) / gamma)
    high = np.arctan((upper - mass**2) / gamma)
    s = np.clip(mass**2 + gamma * np.tan(low + u * (high - low)), 1e-6, upper)
    return s, gamma / ((s - mass**2) ** 2 + gamma**2) / (high - low)


def _two_body(s: FloatArray, cos: FloatArray, phi: FloatArray) -> FloatArray:
    """Two massless momenta back to back with invariant mass² s, shape (n, 2, 4)."""
    half, sin = np.sqrt(s) / 2, np.sqrt(1 - cos**2)
    direction = np.stack([sin * np.cos(phi), sin * np.sin(phi), cos], axis=1) * half[:, None]
    return np.stack(
        [np.column_stack([half, direction]), np.column_stack([half, -direction])], axis=1
    )


def boost(p: FloatArray, frame: FloatArray) -> FloatArray:
    """Boost momenta (n, k, 4) from the rest frame of `frame` (n, 4) to where it has that momentum.

    Examples
    --------
    >>> import numpy as np
    >>> boost(np.array([[[1.0, 0.0, 0.0, 0.0]]]), np.array([[5.0, 0.0, 0.0, 3.0]])).round(6)
    array([[[1.25, 0.  , 0.  , 0.75]]])
    """
    mass = np.sqrt(frame[:, 0] ** 2 - np.sum(frame[:, 1:] ** 2, axis=1))[:, None]
    along = np.einsum("nkj,nj->nk", p[..., 1:], frame[:, 1:])
    energy = (frame[:, :1] * p[..., 0] + along) / mass
    factor = (p[..., 0] + energy) / (frame[:, :1] + mass)
    return np.concatenate(
        [energy[..., None], p[..., 1:] + factor[..., None] * frame[:, None, 1:]], axis=-1
    )
