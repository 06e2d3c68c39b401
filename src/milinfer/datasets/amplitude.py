r"""Exact tree-level amplitudes of u d → d u H and H → 4 leptons, with one SMEFT operator.

All fermions are massless and couple to the W with left-handed currents
:math:`J^\mu(a, b) = \chi^\dagger(a)\,\bar\sigma^\mu\,\chi(b)`, so that one helicity configuration
contributes.  The hWW vertex is

.. math:: \frac{2 m_W^2}{v}\Big[g^{\mu\nu} - \frac{2 c_{HW} v^2}{\Lambda^2 m_W^2}
          (q_1\!\cdot q_2\, g^{\mu\nu} - q_2^\mu q_1^\nu)\Big]

(all momenta incoming, Λ = 1 TeV), the same in production and decay.  A scalar Higgs boson makes
|M|² the product of two quadratics in c_HW, a quartic.  Momenta have the order [E, px, py, pz].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from milinfer.typing import FloatArray

__all__ = [
    "COUPLING_WW",
    "Invariants",
    "M_H",
    "M_W",
    "M_Z",
    "VEV",
    "WIDTH_W",
    "WIDTH_Z",
    "decay_ww",
    "decay_ww_of_invariants",
    "decay_zz",
    "decay_zz_of_invariants",
    "mean_decay_zz",
    "production",
    "production_of_invariants",
    "quadratic_of_invariants",
]

G_F = 1.166379e-5  # GeV^-2
M_W, WIDTH_W = 80.387, 2.085  # GeV
M_Z, WIDTH_Z = 91.1876, 2.4952
M_H = 125.0
VEV = (np.sqrt(2) * G_F) ** -0.5
LAMBDA = 1000.0
G_W = 2 * M_W / VEV
_OPERATOR = -2 * VEV**2 / (LAMBDA**2 * M_W**2)
COUPLING_WW = (G_W**2 / 2) ** 2 * (2 * M_W**2 / VEV) ** 2
_SIN2 = 1 - M_W**2 / M_Z**2
# Charged leptons of either helicity; the neutrinos' coupling is 1/2.
_COUPLING_ZZ = ((2 * M_Z / VEV) ** 2 / 2) ** 2 * (2 * M_Z**2 / VEV) ** 2
_ZZ_LEFT, _ZZ_RIGHT = _COUPLING_ZZ * (_SIN2 - 0.5) ** 2, _COUPLING_ZZ * _SIN2**2

Complex = NDArray[np.complex128]
_METRIC = np.array([1.0, -1.0, -1.0, -1.0])


def _spinor(p: FloatArray) -> Complex:
    """Left-handed two-spinor of a massless momentum, shape (n, 2), normalised to 2E."""
    energy, px, py, pz = np.moveaxis(p, -1, 0)
    plus, minus = np.maximum(energy + pz, 0.0), np.maximum(energy - pz, 0.0)
    pt2 = px**2 + py**2
    # The larger of E ± pz is exact; the other follows from (E + pz)(E − pz) = pT².
    forward = pz > 0
    large = np.sqrt(np.where(forward, plus, minus))
    small = np.sqrt(pt2) / large
    pt = np.sqrt(pt2)
    phase = np.where(pt > 0, (px - 1j * py) / np.where(pt > 0, pt, 1.0), 1.0)
    return np.stack(
        [-np.where(forward, small, large) * phase, np.where(forward, large, small)], axis=-1
    )


def _current(a: FloatArray, b: FloatArray) -> Complex:
    """χ†(a) σ̄^μ χ(b), shape (n, 4)."""
    x, y = np.conj(_spinor(a)), _spinor(b)
    dd, uu = x[..., 1] * y[..., 1], x[..., 0] * y[..., 0]
    ud, du = x[..., 0] * y[..., 1], x[..., 1] * y[..., 0]
    return np.stack([uu + dd, -(ud + du), 1j * (ud - du), -(uu - dd)], axis=-1)


def _dot(a: Complex | FloatArray, b: Complex | FloatArray) -> Complex:
    product: Complex = np.einsum("...m,...m,m->...", a, b, _METRIC)
    return product


def _quadratic(j1: Complex, j2: Complex, q1: FloatArray, q2: FloatArray) -> FloatArray:
    """|S + c T|² as coefficients of 1, c, c², shape (n, 3)."""
    standard = _dot(j1, j2)
    operator = _OPERATOR * (_dot(q1, q2).real * standard - _dot(q2, j1) * _dot(q1, j2))
    return np.stack(
        [
            np.abs(standard) ** 2,
            2 * (np.conj(standard) * operator).real,
            np.abs(operator) ** 2,
        ],
        axis=-1,
    )


class Invariants(NamedTuple):
    """Invariants s_ij in GeV², numbered as in :func:`quadratic_of_invariants`."""

    s12: FloatArray
    s34: FloatArray
    s13: FloatArray
    s24: FloatArray
    s14: FloatArray
    s23: FloatArray


def quadratic_of_invariants(
    s12: FloatArray,
    s34: FloatArray,
    s13: FloatArray,
    s24: FloatArray,
    s14: FloatArray,
    s23: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """|M|² without propagators and constants, from the invariants s_ij = (p_i + p_j)² alone.

    Much cheaper than spinors if the momenta themselves are not needed.

    Parameters
    ----------
    s12, s34, s13, s24, s14, s23
        In GeV², broadcast against each other.  Decay: 1 to 4 are e+, νe, e−, ν̄e.  Production: u
        (incoming), d (from the u), u (from the d), d (incoming), the incoming ones with negative
        momenta, so that s12, s34, s13 and s24 are negative there.

    Returns
    -------
    tuple of ndarray
        Coefficients of 1, c_HW, c_HW², in GeV⁴.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> a0, a1, _ = quadratic_of_invariants(*np.array([1800.0, 1800, 3600, 3600, 1800, 1800]))
    >>> bool(np.isclose(a1 / a0, decay_ww(p)[0, 1] / decay_ww(p)[0, 0]))
    True
    """
    # With S = 2[23]⟨14⟩, both terms of the operator are traces of four momenta over S; the square
    # of the imaginary part of a trace follows from its modulus, s13 s24 s14 s23.
    standard, other, pairs, total = s14 * s23, s13 * s24, s12 * s34, s14 + s23
    trace = 0.5 * (standard + other - pairs)
    operator = 0.25 * total**2 * pairs + trace**2 - standard * other
    return standard, _OPERATOR * total * (standard - trace), _OPERATOR**2 * operator


def _square(p: FloatArray) -> FloatArray:
    out: FloatArray = _dot(p, p).real
    return out


def production(p: FloatArray) -> FloatArray:
    """|M|² of u d → d u H, summed and averaged over colours and spins.

    Parameters
    ----------
    p
        Momenta of u, d (incoming), d (from the u), u (from the d) and optionally H,
        shape (n, 4 or 5, 4), GeV.

    Returns
    -------
    ndarray
        Coefficients of 1, c_HW, c_HW², shape (n, 3), dimension GeV⁻².

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[100.0, 0, 0, 100], [100, 0, 0, -100], [50, 0, 30, 40], [30, 0, -18, -24]]])
    >>> bool((production(p)[:, 0] > 0).all())
    True
    """
    q1, q2 = p[:, 0] - p[:, 2], p[:, 1] - p[:, 3]
    quadratic = _quadratic(_current(p[:, 2], p[:, 0]), _current(p[:, 3], p[:, 1]), q1, q2)
    propagators = ((_square(q1) - M_W**2) * (_square(q2) - M_W**2)) ** 2
    squared: FloatArray = quadratic * (COUPLING_WW / 4 / propagators)[:, None]
    return squared


def production_of_invariants(s: Invariants) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute :func:`production` from invariants alone.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[100.0, 0, 0, 100], [100, 0, 0, -100], [50, 0, 30, 40], [30, 0, -18, -24]]])
    >>> s = np.array([-2000.0, -1200, -10800, -18000, 40000, 6000])
    >>> bool(np.allclose(production_of_invariants(Invariants(*s)), production(p)[0]))
    True
    """
    factor = COUPLING_WW / ((s.s12 - M_W**2) * (s.s34 - M_W**2)) ** 2
    a0, a1, a2 = quadratic_of_invariants(*s)
    return a0 * factor, a1 * factor, a2 * factor


def decay_ww(p: FloatArray) -> FloatArray:
    """|M|² of H → W W* → e+ νe e− ν̄e.

    Parameters
    ----------
    p
        Momenta of e+, νe, e−, ν̄e, shape (n, 4, 4), GeV.

    Returns
    -------
    ndarray
        Coefficients of 1, c_HW, c_HW², shape (n, 3), dimension GeV⁻².

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> decay_ww(p).shape
    (1, 3)
    """
    q1, q2 = p[:, 0] + p[:, 1], p[:, 2] + p[:, 3]
    quadratic = _quadratic(_current(p[:, 1], p[:, 0]), _current(p[:, 2], p[:, 3]), q1, q2)
    breit_wigners = _breit_wigners(_square(q1), _square(q2), M_W, WIDTH_W)
    squared: FloatArray = quadratic * (COUPLING_WW * breit_wigners)[:, None]
    return squared


def decay_ww_of_invariants(s: Invariants) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute :func:`decay_ww` from invariants alone.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> s = np.array([1800.0, 1800, 3600, 3600, 1800, 1800])
    >>> bool(np.allclose(decay_ww_of_invariants(Invariants(*s)), decay_ww(p)[0]))
    True
    """
    factor = 4 * COUPLING_WW * _breit_wigners(s.s12, s.s34, M_W, WIDTH_W)
    a0, a1, a2 = quadratic_of_invariants(*s)
    return a0 * factor, a1 * factor, a2 * factor


def decay_zz(p: FloatArray) -> FloatArray:
    """|M|² of H → Z Z* → e+ e− ν ν̄ for one neutrino flavour, summed over electron helicities.

    Parameters
    ----------
    p
        Momenta of e+, e−, ν, ν̄, shape (n, 4, 4), GeV.

    Returns
    -------
    ndarray
        Shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> bool(decay_zz(p)[0] > 0)
    True
    """
    q1, q2 = p[:, 0] + p[:, 1], p[:, 2] + p[:, 3]
    neutrinos = _current(p[:, 2], p[:, 3])
    left = np.abs(_dot(_current(p[:, 1], p[:, 0]), neutrinos)) ** 2
    right = np.abs(_dot(_current(p[:, 0], p[:, 1]), neutrinos)) ** 2
    out: FloatArray = (_ZZ_LEFT * left + _ZZ_RIGHT * right) * _breit_wigners(
        _square(q1), _square(q2), M_Z, WIDTH_Z
    )
    return out


def decay_zz_of_invariants(s: Invariants) -> FloatArray:
    """Compute :func:`decay_zz` from invariants alone.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> s = np.array([1800.0, 1800, 3600, 3600, 1800, 1800])
    >>> bool(np.allclose(decay_zz_of_invariants(Invariants(*s)), decay_zz(p)))
    True
    """
    helicities = _ZZ_LEFT * s.s14 * s.s23 + _ZZ_RIGHT * s.s13 * s.s24
    out: FloatArray = 4 * helicities * _breit_wigners(s.s12, s.s34, M_Z, WIDTH_Z)
    return out


def mean_decay_zz(
    m_ll2: FloatArray, q2: FloatArray, positron_q: FloatArray, electron_q: FloatArray
) -> FloatArray:
    r"""|M|² of H → Z Z* → e+ e− ν ν̄, the mean over directions of ν in the rest frame of ν ν̄.

    With :math:`q = ν + ν̄`, the mean of :math:`ν^μ ν̄^ν` is
    :math:`(q^2 g^{μν} + 2 q^μ q^ν)/12`, and |M|² is bilinear in ν and ν̄.

    Parameters
    ----------
    m_ll2, q2
        Squared masses of e+ e− and of ν ν̄, GeV².
    positron_q, electron_q
        2 p·q of e+ and of e−, GeV²; all broadcast against each other.

    Returns
    -------
    ndarray
        Mean of :func:`decay_zz`, for one neutrino flavour.

    Examples
    --------
    >>> import numpy as np
    >>> bool(mean_decay_zz(*np.array([400.0, 900.0, 2000.0, 3000.0])) > 0)
    True
    """
    bilinear = (_ZZ_LEFT + _ZZ_RIGHT) * (q2 * m_ll2 + positron_q * electron_q) * 2 / 3
    out: FloatArray = bilinear * _breit_wigners(m_ll2, q2, M_Z, WIDTH_Z)
    return out


def _breit_wigners(s1: FloatArray, s2: FloatArray, mass: float, width: float) -> FloatArray:
    gamma2 = (mass * width) ** 2
    product: FloatArray = 1 / (((s1 - mass**2) ** 2 + gamma2) * ((s2 - mass**2) ** 2 + gamma2))
    return product
