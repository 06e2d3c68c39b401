"""Map points of the unit cube to weights and momenta of production and decay.

Weights are computed from invariants, which is much faster than spinors.  Only one in twenty points
becomes an event, and momenta are only computed for these.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from milinfer.datasets import amplitude
from milinfer.typing import BoolArray, FloatArray

__all__ = [
    "JET_ETA",
    "JET_PT",
    "SQRT_S",
    "boost",
    "decay_momenta",
    "decay_weights",
    "parton_densities",
    "production_momenta",
    "production_weights",
]

SQRT_S = 13_000.0
JET_PT, JET_ETA = 20.0, 5.0
_GEV2_TO_PB = 0.3893793721e9
_PT_MAX = 3000.0
_SPAN = np.log(_PT_MAX / JET_PT)
_MAX_RAPIDITY, _MAX_DISTANCE = 5.0, 8.0


class _Jets(NamedTuple):
    """Kinematic variables of two jets and a Higgs boson, and momentum fractions of the partons.

    Parameters
    ----------
    pt, exp_eta
        pT in GeV and exp(η) of each jet, shape (n,) each.
    cos, sin
        Cosine and sine of Δφ.
    exp_y, mt
        Exponential of the rapidity, and transverse mass, of H.
    x1, x2
        Fractions of the beams' momenta.
    """

    pt: tuple[FloatArray, FloatArray]
    exp_eta: tuple[FloatArray, FloatArray]
    cos: FloatArray
    sin: FloatArray
    exp_y: FloatArray
    mt: FloatArray
    x1: FloatArray
    x2: FloatArray

    @property
    def allowed(self) -> BoolArray:
        """Whether the beams have enough energy and both jets |η| < 5, shape (n,)."""
        largest = np.exp(JET_ETA)
        first, second = self.exp_eta
        inside: BoolArray = (
            (np.maximum(self.x1, self.x2) < 1)
            & (np.maximum(first, second) < largest)
            & (np.minimum(first, second) > 1 / largest)
        )
        return inside


def _jets(x: FloatArray) -> _Jets:
    """Sample ln pT, η of both jets, their Δφ and the rapidity of H; the partons follow."""
    u = np.ascontiguousarray(x.T)
    pt = JET_PT * np.exp(_SPAN * u[0]), JET_PT * np.exp(_SPAN * u[1])
    # |M|² depends on the distances of the jets from H, the parton densities on the common boost.
    exp_y = np.exp(_MAX_RAPIDITY * (2 * u[5] - 1))
    away = [
        np.exp(_MAX_DISTANCE * (2 * d - 1)) * np.sqrt(60.0 / p)
        for d, p in zip(u[2:4], pt, strict=True)
    ]
    exp_eta = exp_y * away[0], exp_y / away[1]
    phi = 2 * np.pi * u[4]
    cos, sin = np.cos(phi), np.sin(phi)
    mt = np.sqrt(amplitude.M_H**2 + pt[0] ** 2 + pt[1] ** 2 + 2 * pt[0] * pt[1] * cos)
    x1 = (pt[0] * exp_eta[0] + pt[1] * exp_eta[1] + mt * exp_y) / SQRT_S
    x2 = (pt[0] / exp_eta[0] + pt[1] / exp_eta[1] + mt / exp_y) / SQRT_S
    return _Jets(pt=pt, exp_eta=exp_eta, cos=cos, sin=sin, exp_y=exp_y, mt=mt, x1=x1, x2=x2)


def production_weights(x: FloatArray, odd: bool = False) -> FloatArray:
    """Compute weights of u d → d u H on the unit cube, for each product of amplitudes, in pb.

    dσ = x1 f(x1) x2 f(x2) |M|² / (8 (2π)^5 ŝ²) d²pT1 d²pT2 dy1 dy2 dyH.

    Parameters
    ----------
    x
        Points, shape (n, 6).
    odd
        Whether to include the products with the CP-odd structure.

    Returns
    -------
    ndarray
        Weights for the products in :func:`milinfer.datasets.operators.form_weights`, shape (n, 3),
        or (n, 6) with `odd`.  The first three are the coefficients of a quadratic polynomial in
        c_HW.  Weights are zero for points that fail the cuts on jets.

    Examples
    --------
    >>> import numpy as np
    >>> production_weights(np.full((1, 6), 0.5)).shape
    (1, 3)
    """
    every = _jets(x)
    allowed = np.flatnonzero(every.allowed)
    (pt1, pt2), (e1, e2) = (tuple(a[allowed] for a in pair) for pair in every[:2])
    cos, x1, x2 = every.cos[allowed], every.x1[allowed], every.x2[allowed]
    # The u flies along +z.
    twist = x1 * x2 * SQRT_S**2 * pt1 * pt2 * every.sin[allowed] / 2 if odd else None
    # Numbers as in `quadratic_of_invariants`: u, d from it, u from the d, d.
    s12, s13 = -x1 * SQRT_S * pt1 / e1, -x1 * SQRT_S * pt2 / e2
    s24, s34 = -x2 * SQRT_S * pt1 * e1, -x2 * SQRT_S * pt2 * e2
    s14, s23 = x1 * x2 * SQRT_S**2, pt1 * pt2 * (e1 / e2 + e2 / e1 - 2 * cos)
    forms = amplitude.production_of_invariants(
        amplitude.Invariants(s12=s12, s34=s34, s13=s13, s24=s24, s14=s14, s23=s23),
        None if twist is None else -twist,
    )
    # d²pT1 d²pT2 = 2π (overall azimuth) · pT1² pT2² dln pT1 dln pT2 dΔφ.
    volume = (2 * np.pi) ** 2 * _SPAN**2 * (2 * _MAX_DISTANCE) ** 2 * 2 * _MAX_RAPIDITY
    # Both beam assignments: u from either proton.
    constant = 2 * _GEV2_TO_PB * volume / (8 * (2 * np.pi) ** 5)
    factor = constant * parton_densities(x1, x2) * (pt1 * pt2 / s14) ** 2
    weights = np.zeros((len(x), len(forms)))
    for k, term in enumerate(forms):
        weights[allowed, k] = term * factor
    return weights


def production_momenta(x: FloatArray) -> FloatArray:
    """Compute momenta of u, d, d, u and H at points of the unit cube, in GeV.

    The points have the shape (n, 6), the momenta the shape (n, 5, 4).

    Examples
    --------
    >>> import numpy as np
    >>> p = production_momenta(np.full((1, 6), 0.5))
    >>> bool(np.allclose(p[:, :2].sum(axis=1), p[:, 2:].sum(axis=1)))
    True
    """
    jets = _jets(x)
    momenta = np.zeros((len(x), 5, 4))
    momenta[:, 0, 0] = momenta[:, 0, 3] = jets.x1 * SQRT_S / 2
    momenta[:, 1, 0] = jets.x2 * SQRT_S / 2
    momenta[:, 1, 3] = -momenta[:, 1, 0]
    momenta[:, 2, 1] = jets.pt[0]
    momenta[:, 3, 1], momenta[:, 3, 2] = jets.pt[1] * jets.cos, jets.pt[1] * jets.sin
    momenta[:, 4, 1:3] = -momenta[:, 2, 1:3] - momenta[:, 3, 1:3]
    boosts = (*jets.exp_eta, jets.exp_y)
    for k, (pt, e) in enumerate(zip((*jets.pt, jets.mt), boosts, strict=True), start=2):
        momenta[:, k, 0], momenta[:, k, 3] = pt * (e + 1 / e) / 2, pt * (e - 1 / e) / 2
    return momenta


def parton_densities(x_up: FloatArray, x_down: FloatArray) -> FloatArray:
    """Compute the product x1 u(x1) · x2 d(x2) of the invented densities of u and d quarks.

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


class _Pairs(NamedTuple):
    """Two bosons in the rest frame of H, along z, and the angles of their leptons.

    Parameters
    ----------
    s
        Virtualities (squared masses) of both bosons.
    density
        Density with which the virtualities were sampled.
    momentum
        Absolute momentum of each boson.
    cos, phi
        Angles of the first lepton of each pair in the rest frame of its boson, shape (n,) each.
    """

    s: tuple[FloatArray, FloatArray]
    density: FloatArray
    momentum: FloatArray
    cos: tuple[FloatArray, FloatArray]
    phi: tuple[FloatArray, FloatArray]


def _pairs(x: FloatArray, boson: Literal["W", "Z"]) -> _Pairs:
    """Sample both virtualities (the larger first, Breit–Wigner) and the decay angles.

    The fifth number is not used; it is kept so that events with a given seed do not change.
    """
    mass, width = (
        (amplitude.M_W, amplitude.WIDTH_W) if boson == "W" else (amplitude.M_Z, amplitude.WIDTH_Z)
    )
    m_h, gamma = amplitude.M_H, mass * width
    u = np.ascontiguousarray(x.T)
    s1, density1 = _breit_wigner(u[0], np.full(len(x), m_h**2), mass, gamma)
    upper = np.minimum(s1, (m_h - np.sqrt(s1)) ** 2)
    # The second number also decides which boson is the heavier one.
    swap = u[1] < 0.5
    s2, density2 = _breit_wigner(np.where(swap, 2 * u[1], 2 * u[1] - 1), upper, mass, gamma)
    sa, sb = np.where(swap, s2, s1), np.where(swap, s1, s2)
    kallen = np.maximum((m_h**2 - sa - sb) ** 2 - 4 * sa * sb, 0.0)
    return _Pairs(
        s=(sa, sb),
        density=density1 * density2,
        momentum=np.sqrt(kallen) / (2 * m_h),
        cos=(2 * u[2] - 1, 2 * u[3] - 1),
        phi=(2 * np.pi * u[5], 2 * np.pi * u[6]),
    )


def decay_weights(x: FloatArray, boson: Literal["W", "Z"], odd: bool = False) -> FloatArray:
    """Compute weights of H → 4 leptons on the unit cube, for each product of amplitudes, in GeV.

    dΓ = |M|² / (2 m_H) · Φ2(H → V V*) Φ2(V) Φ2(V*) ds1 ds2 / (2π)².

    Parameters
    ----------
    x
        Points, shape (n, 7).
    boson
        Kind of the two bosons.
    odd
        As for :func:`production_weights`.

    Returns
    -------
    ndarray
        Weights, shape (n, 3), or (n, 6) with `odd`.  For Z bosons only the first column is not
        zero, because the operators have no effect.

    Examples
    --------
    >>> import numpy as np
    >>> decay_weights(np.full((1, 7), 0.4), "Z")[:, 1:]
    array([[0., 0.]])
    """
    (sa, sb), density, momentum, cos, phi = _pairs(x, boson)
    m_h = amplitude.M_H
    # Light-cone components E ± pz of the first and second lepton of each pair, which go along ±z:
    # (1 ± cos)/2 of E ± p of the boson.
    plus_a, plus_b = np.sqrt(sa + momentum**2) + momentum, np.sqrt(sb + momentum**2) + momentum
    minus_a, minus_b = sa / plus_a, sb / plus_b
    up, down = [(1 + c) / 2 for c in cos], [(1 - c) / 2 for c in cos]
    transverse = np.sqrt(sa * sb * up[0] * down[0] * up[1] * down[1])
    angle = 2 * transverse * np.cos(phi[0] - phi[1])
    # s_ij = (E+pz)_i (E−pz)_j + (E−pz)_i (E+pz)_j − 2 pT_i · pT_j; the second pair goes along −z.
    one, two = (plus_a * plus_b, minus_a * minus_b)
    s13 = one * up[0] * down[1] + two * down[0] * up[1] - angle
    s14 = one * up[0] * up[1] + two * down[0] * down[1] + angle
    s23 = one * down[0] * down[1] + two * up[0] * up[1] + angle
    s24 = one * down[0] * up[1] + two * up[0] * down[1] - angle
    # Φ2 = |p| / (4π m) for each step, angles uniform; massless pairs give 1/(8π).
    phase_space = momentum / (4 * np.pi * m_h) / (8 * np.pi) ** 2 / (2 * np.pi) ** 2
    factor = 2 * phase_space / (2 * m_h) / density
    invariants = amplitude.Invariants(s12=sa, s34=sb, s13=s13, s24=s24, s14=s14, s23=s23)
    weights = np.zeros((len(x), 6 if odd else 3))
    if boson == "W":
        determinant = None
        if odd:
            determinant = momentum * m_h * transverse * np.sin(phi[1] - phi[0])
        for k, term in enumerate(amplitude.decay_ww_of_invariants(invariants, determinant)):
            weights[:, k] = term * factor
    else:
        weights[:, 0] = amplitude.decay_zz_of_invariants(invariants) * factor
    return weights


def decay_momenta(x: FloatArray, boson: Literal["W", "Z"]) -> FloatArray:
    """Compute the four lepton momenta in the rest frame of H, at points of the unit cube.

    The points have the shape (n, 7).  The axis of the boson pair and one azimuth are fixed.  Events
    are rotated at random later; this is exact, because H has no spin.

    Returns
    -------
    ndarray
        Momenta [E, px, py, pz], shape (n, 4, 4), in GeV.

    Examples
    --------
    >>> import numpy as np
    >>> decay_momenta(np.full((1, 7), 0.4), "W").sum(axis=1).round(9) + 0.0
    array([[125.,   0.,   0.,   0.]])
    """
    pairs = _pairs(x, boson)
    leptons = []
    for s, cos, phi, sign in zip(pairs.s, pairs.cos, pairs.phi, (1.0, -1.0), strict=True):
        frame = np.zeros((len(x), 4))
        frame[:, 0], frame[:, 3] = np.sqrt(s + pairs.momentum**2), sign * pairs.momentum
        leptons.append(boost(_two_body(s, cos, phi), frame))
    return np.concatenate(leptons, axis=1)


def _breit_wigner(
    u: FloatArray, upper: FloatArray, mass: float, gamma: float
) -> tuple[FloatArray, FloatArray]:
    """Draw a virtuality from a Breit–Wigner density on (0, upper), and return the density."""
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
    """Boost momenta from the rest frame of a particle to the frame in which it moves.

    The momenta have the shape (n, k, 4).  `frame` is the momentum of the particle in the new frame,
    shape (n, 4).

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
