r"""Integrands over what a detector does not see of VBF H → WW* → e+ νe e− ν̄e, and of ZZ*.

Given the charged leptons and the jets, those are the rapidity y_H of the Higgs boson, whose
transverse momentum balances the jets, the direction of the νe in the rest frame of the neutrino
pair, of momentum q = p_H − p_ℓℓ, and which proton gave the u.

All is a function of invariants.  Around the axis of a charged lepton, s of its W is linear in
cos θ*.  With :math:`B_i^{-1} = (s_i - m_W^2)^2 + m_W^2 Γ_W^2` the product of both propagators is
split into two parts,

.. math:: B_1 B_2 = \frac{B_1 + B_2}{B_1^{-1} + B_2^{-1}},

and s_i is sampled as B_i in part i.  What remains is smooth, as the two W cannot both be on shell.
The propagators of Z Z* → e+ e− ν ν̄ do not depend on the direction, and its integral is elementary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.datasets.amplitude import (
    COUPLING_WW,
    M_H,
    M_W,
    WIDTH_W,
    mean_decay_zz,
    quadratic_of_invariants,
)
from milinfer.datasets.phase_space import SQRT_S, parton_densities
from milinfer.typing import FloatArray

__all__ = ["integrands"]

_GAMMA = M_W * WIDTH_W
_GOLDEN = (np.sqrt(5) - 1) / 2
_FLAVOURS = 3  # of the neutrinos from a Z


def integrands(
    seen: FloatArray, z: FloatArray, shifts: Sequence[FloatArray], n_angles: int
) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
    """|M|² of production and decay, summed over protons and directions, with all weights.

    Parameters
    ----------
    seen
        [E, px, py, pz] of e+, e−, d and u, shape (n, 4, 4), GeV.
    z
        Place of y_H between the ends of its range (q² = 0), −1 to 1, shape (n, m).
    shifts
        Three numbers in [0, 1) for each y_H: of cos θ* around either lepton, and of the azimuth,
        each of shape (n, m).
    n_angles
        Directions of the neutrino around each lepton.

    Returns
    -------
    produced, decayed
        Coefficients of 1, c_HW, c_HW², each of shape (n, m), up to a factor for each event; the
        mean of their products over z is proportional to p(x|c).
    background
        What takes the place of `decayed` for H → Z Z* → e+ e− ν ν̄, with the same factor, so that
        cross-sections can be compared; shape (n, m).

    Examples
    --------
    >>> from milinfer.datasets import vbf_hww
    >>> momenta = vbf_hww.generate(4, seed=1).momenta
    >>> seen = momenta[:, [5, 7, 9, 10]][..., [3, 0, 1, 2]]
    >>> z, shifts = np.zeros((4, 1)), [np.full((4, 1), 0.5)] * 3
    >>> produced, decayed, background = integrands(seen, z, shifts, 8)
    >>> len(produced), decayed[0].shape, background.shape
    (3, (4, 1), (4, 1))
    """
    # All that depends on the event alone has the shape (n, 1).
    positron, electron, down, up = np.moveaxis(seen, 1, 0)[..., None]
    pair, recoil = positron + electron, -(down + up)
    m_ll2 = _twice(positron, electron)
    transverse = 2 * (recoil[:, 1] * pair[:, 1] + recoil[:, 2] * pair[:, 2])
    mt_h = np.sqrt(M_H**2 + recoil[:, 1] ** 2 + recoil[:, 2] ** 2)
    mt_ll = np.sqrt(m_ll2 + pair[:, 1] ** 2 + pair[:, 2] ** 2)
    # q² = m_H² + m_ℓℓ² + 2 pT_H·pT_ℓℓ − 2 mT_H mT_ℓℓ cosh(y_H − y_ℓℓ) > 0.
    most = M_H**2 + m_ll2 + transverse
    distance = np.arccosh(np.maximum(most / (2 * mt_h * mt_ll), 1.0)) * z
    q2 = np.maximum(most - 2 * mt_h * mt_ll * np.cosh(distance), 0.0)
    growth = np.sqrt((pair[:, 0] + pair[:, 3]) / (pair[:, 0] - pair[:, 3])) * np.exp(distance)
    h_plus, h_minus = mt_h * growth, mt_h / growth

    def twice_q(lepton: FloatArray) -> FloatArray:
        along = recoil[:, 1] * lepton[:, 1] + recoil[:, 2] * lepton[:, 2]
        plus, minus = lepton[:, 0] + lepton[:, 3], lepton[:, 0] - lepton[:, 3]
        product: FloatArray = h_plus * minus + h_minus * plus - 2 * along - m_ll2
        return np.maximum(product, 1e-6)

    produced = _production(down, up, h_plus, h_minus)
    positron_q, electron_q = twice_q(positron), twice_q(electron)
    decayed = _decay(m_ll2, q2, positron_q, electron_q, shifts, n_angles)
    # Of the W there, |M|² is without constants (4: spinors), and times the width of B_i.
    in_the_units_of_decayed = _FLAVOURS * _GAMMA / (4 * COUPLING_WW)
    background = in_the_units_of_decayed * mean_decay_zz(m_ll2, q2, positron_q, electron_q)
    return produced, decayed, background


def _production(
    down: FloatArray, up: FloatArray, h_plus: FloatArray, h_minus: FloatArray
) -> list[FloatArray]:
    """Σ over both protons of x1 f(x1) x2 f(x2) |M|²/ŝ²; E ± pz of the jets and H fix the rest."""
    d_plus, d_minus = down[:, 0] + down[:, 3], down[:, 0] - down[:, 3]
    u_plus, u_minus = up[:, 0] + up[:, 3], up[:, 0] - up[:, 3]
    forward, backward = d_plus + u_plus + h_plus, d_minus + u_minus + h_minus
    inside = (forward < SQRT_S) & (backward < SQRT_S)
    forward, backward = (np.where(inside, p, SQRT_S / 2) for p in (forward, backward))
    s_hat, m_jj2 = forward * backward, _twice(down, up)
    total = [np.zeros(h_plus.shape) for _ in range(3)]
    for p_up, p_down, jets in (
        (forward, backward, (d_minus, u_plus, u_minus, d_plus)),
        (backward, forward, (d_plus, u_minus, u_plus, d_minus)),
    ):
        s12, s34 = -p_up * jets[0], -p_down * jets[1]
        s13, s24 = -p_up * jets[2], -p_down * jets[3]
        propagators = (s12 - M_W**2) * (s34 - M_W**2) * s_hat
        weight = inside * parton_densities(p_up / SQRT_S, p_down / SQRT_S) / propagators**2
        for k, part in enumerate(quadratic_of_invariants(s12, s34, s13, s24, s_hat, m_jj2)):
            total[k] += weight * part
    return total


def _decay(
    m_ll2: FloatArray,
    q2: FloatArray,
    positron_q: FloatArray,
    electron_q: FloatArray,
    shifts: Sequence[FloatArray],
    n_angles: int,
) -> list[FloatArray]:
    """∫ dΩ*/4π |M|² up to a constant, given 2 p·q of both leptons."""
    shift, other_shift, shift_phi = shifts
    cos = np.clip(1 - 2 * m_ll2 * q2 / (positron_q * electron_q), -1.0, 1.0)
    sin = np.sqrt(1 - cos**2)
    total = [np.zeros(q2.shape) for _ in range(3)]
    cosines = [np.cos(2 * np.pi * (k * _GOLDEN + shift_phi)) for k in range(n_angles)]
    for own_q, other_q, offset in (
        (positron_q, electron_q, shift),
        (electron_q, positron_q, other_shift),
    ):
        low, high = np.arctan(-(M_W**2) / _GAMMA), np.arctan((own_q - M_W**2) / _GAMMA)
        norm = (high - low) / (own_q * n_angles)
        for k, cos_phi in enumerate(cosines):
            angle = low + (high - low) * (k + offset) / n_angles
            s_own = np.clip(M_W**2 + _GAMMA * np.tan(angle), 0.0, own_q)
            cos_own = 1 - 2 * s_own / own_q
            projection = cos_own * cos + np.sqrt(1 - cos_own**2) * sin * cos_phi
            s_other = np.maximum(0.5 * other_q * (1 + projection), 0.0)
            weight = norm / ((s_own - M_W**2) ** 2 + (s_other - M_W**2) ** 2 + 2 * _GAMMA**2)
            # |M|² is even under e+ ↔ e− and νe ↔ ν̄e (CP), so that either lepton may be the first.
            for j, part in enumerate(
                quadratic_of_invariants(s_own, s_other, m_ll2, q2, own_q - s_own, other_q - s_other)
            ):
                total[j] += weight * part
    return total


def _twice(a: FloatArray, b: FloatArray) -> FloatArray:
    """2 a·b of momenta (n, 4, 1)."""
    space: FloatArray = np.sum(a[:, 1:] * b[:, 1:], axis=1)
    return 2 * (a[:, 0] * b[:, 0] - space)
