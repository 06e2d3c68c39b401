r"""Exact tree-level amplitudes of u d → d u H and H → 4 leptons, with SMEFT operators.

All fermions are massless and couple to the W with left-handed currents
:math:`J^\mu(a, b) = \chi^\dagger(a)\,\bar\sigma^\mu\,\chi(b)`, so that only one helicity
configuration contributes.  The hWW vertex is

.. math:: \frac{2 m_W^2}{v}\Big[\Big(1 + \frac{c_{H\Box} v^2}{\Lambda^2}\Big) g^{\mu\nu}
          + \frac{2 v^2}{\Lambda^2 m_W^2} \Big(
          c_{HW} (q_2^\mu q_1^\nu - q_1\!\cdot q_2\, g^{\mu\nu})
          + c_{H\tilde W}\, \epsilon^{\mu\nu\rho\sigma} q_{1\rho} q_{2\sigma} \Big)\Big]

with all momenta incoming, Λ = 1 TeV, and :math:`\epsilon^{0123} = -1` as in SMEFTsim and MadGraph.
The production and the decay have the same vertex.  Because the Higgs boson is a scalar, ``|M|²`` is
the product of two quadratic polynomials in the coefficients, one of the production and one of the
decay.  It is therefore a quartic polynomial (:mod:`milinfer.datasets.operators`).  Momenta are
[E, px, py, pz].

A reflection of all momenta is equivalent to a change of the sign of :math:`c_{H\tilde W}`.  With a
positive :math:`c_{H\tilde W}`, events with :math:`\sin(\phi_a - \phi_b) > 0` are more likely, where
a is the jet with the larger pseudorapidity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from milinfer.datasets.operators import LAMBDA, VEV, check_operators, expand, has_odd
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
    "odd_forms_of_invariants",
    "odd_square_of_invariants",
    "production",
    "production_of_invariants",
    "quadratic_of_invariants",
]

M_W, WIDTH_W = 80.387, 2.085  # GeV
M_Z, WIDTH_Z = 91.1876, 2.4952
M_H = 125.0
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


def _determinant(a: Complex, b: Complex, c: FloatArray, d: FloatArray) -> Complex:
    """Determinants of the matrices with these rows, shape (n,)."""
    matrices = np.stack([a, b, c.astype(complex), d.astype(complex)], axis=-2)
    determinants: Complex = np.linalg.det(matrices)
    return determinants


def _forms(j1: Complex, j2: Complex, q1: FloatArray, q2: FloatArray, odd: bool) -> list[FloatArray]:
    """|S|², 2 Re S*T, |T|² and with `odd` 2 Re S*T̃, 2 Re T*T̃, |T̃|², each of shape (n,)."""
    standard = _dot(j1, j2)
    operator = _OPERATOR * (_dot(q1, q2).real * standard - _dot(q2, j1) * _dot(q1, j2))
    forms = [
        np.abs(standard) ** 2,
        2 * (np.conj(standard) * operator).real,
        np.abs(operator) ** 2,
    ]
    if odd:
        twisted = -_OPERATOR * _determinant(j1, j2, q1, q2)
        forms += [
            2 * (np.conj(standard) * twisted).real,
            2 * (np.conj(operator) * twisted).real,
            np.abs(twisted) ** 2,
        ]
    return forms


def _quadratic(
    j1: Complex, j2: Complex, q1: FloatArray, q2: FloatArray, operators: Sequence[str]
) -> FloatArray:
    """|M|² as coefficients of the monomials in the operators, shape (n, n_monomials)."""
    names = check_operators(operators)
    return np.stack(expand(_forms(j1, j2, q1, q2, has_odd(names)), names), axis=-1)


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
    """Compute ``|M|²`` without propagators and constants, from s_ij = (p_i + p_j)² alone.

    The polynomial holds for the production and for the decay to W bosons.  It is much faster than
    :func:`production` and :func:`decay_ww`, which compute spinors from the momenta.

    Parameters
    ----------
    s12, s34, s13, s24, s14, s23
        Invariants in GeV², broadcast against each other.  For the decay, particles 1 to 4 are e+,
        νe, e−, ν̄e.  For the production, they are the incoming u, the outgoing d (from the u), the
        outgoing u (from the d) and the incoming d.  The momenta of incoming particles are taken
        with a minus sign, so that s12, s34, s13 and s24 are negative.

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


def odd_forms_of_invariants(
    s: Invariants, determinant: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Compute the terms with the CP-odd structure T̃ that belong to `quadratic_of_invariants`.

    S, T and T̃ are the structures of the hWW vertex in :mod:`milinfer.datasets.operators`.  With
    the determinant D of the momenta and
    :math:`z = (s_{14} s_{23} + s_{12} s_{34} - s_{13} s_{24})/2 + 2 i D`, T/S is proportional to
    :math:`s_{14} z + s_{23} z^*`, and T̃/S to :math:`i (s_{14} z - s_{23} z^*)`.  The real factor
    of proportionality of T/S is also that of T̃/S.

    Parameters
    ----------
    s
        Invariants, as for :func:`quadratic_of_invariants`.
    determinant
        Determinant D of the matrix whose rows are the momenta [E, px, py, pz] of particles 1 to 4,
        GeV⁴.  A reflection changes its sign, so that only its square follows from the invariants.

    Returns
    -------
    tuple of ndarray
        2 Re S*T̃, 2 Re T*T̃ and |T̃|², GeV⁴.  They are the coefficients of c_HWtil, of
        c_HW c_HWtil and of c_HWtil².

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [20, 0, 0, -20], [20, -20, 0, 0]]])
    >>> s = Invariants(*np.array([1800.0, 800, 2400, 1200, 1200, 1200]))
    >>> found = odd_forms_of_invariants(s, np.linalg.det(p[0]))
    >>> expected = decay_ww(p, ["c_HWtil"])[0] / decay_ww(p)[0, 0]
    >>> bool(np.allclose(np.array([found[0], found[2]]) / (s.s14 * s.s23), expected[1:]))
    True
    """
    standard, pairs = s.s14 * s.s23, s.s12 * s.s34
    trace = 0.5 * (standard + s.s13 * s.s24 - pairs)
    imaginary = 2 * determinant
    return (
        -_OPERATOR * (s.s14 + s.s23) * imaginary,
        -2 * _OPERATOR**2 * (standard - trace) * imaginary,
        _OPERATOR**2 * (0.25 * (s.s14 - s.s23) ** 2 * pairs + imaginary**2),
    )


def odd_square_of_invariants(s: Invariants) -> FloatArray:
    """Compute |T̃|², the coefficient of c_HWtil², without the determinant.

    It is equal to the last result of :func:`odd_forms_of_invariants`.

    Examples
    --------
    >>> s = Invariants(*np.array([1800.0, 800, 2400, 1200, 1200, 1200]))
    >>> trace = 0.5 * (s.s14 * s.s23 + s.s13 * s.s24 - s.s12 * s.s34)
    >>> determinant = np.sqrt(s.s14 * s.s23 * s.s13 * s.s24 - trace**2) / 2
    >>> bool(np.isclose(odd_square_of_invariants(s), odd_forms_of_invariants(s, determinant)[2]))
    True
    """
    standard, other, pairs = s.s14 * s.s23, s.s13 * s.s24, s.s12 * s.s34
    trace = 0.5 * (standard + other - pairs)
    gram = np.maximum(standard * other - trace**2, 0.0)
    square: FloatArray = _OPERATOR**2 * (0.25 * (s.s14 - s.s23) ** 2 * pairs + gram)
    return square


def _square(p: FloatArray) -> FloatArray:
    out: FloatArray = _dot(p, p).real
    return out


def production(p: FloatArray, operators: Sequence[str] = ("c_HW",)) -> FloatArray:
    """Compute ``|M|²`` of u d → d u H, summed and averaged over colours and spins.

    Parameters
    ----------
    p
        Momenta of u, d (incoming), d (from the u), u (from the d) and optionally H,
        shape (n, 4 or 5, 4), GeV.
    operators
        Names of operators; see :data:`milinfer.datasets.operators.OPERATORS`.

    Returns
    -------
    ndarray
        Coefficients of ``|M|²``, a polynomial of degree 2 in the operators: for c_HW, the
        coefficients of 1, c_HW and c_HW².  They are in the order of
        :class:`milinfer.utils.polynomials.PolynomialBasis`, with the shape (n, n_monomials) and the
        dimension GeV⁻².

    Raises
    ------
    ParameterError
        If an operator is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[100.0, 0, 0, 100], [100, 0, 0, -100], [50, 0, 30, 40], [30, 0, -18, -24]]])
    >>> bool((production(p)[:, 0] > 0).all())
    True
    """
    q1, q2 = p[:, 0] - p[:, 2], p[:, 1] - p[:, 3]
    quadratic = _quadratic(
        _current(p[:, 2], p[:, 0]), _current(p[:, 3], p[:, 1]), q1, q2, operators
    )
    propagators = ((_square(q1) - M_W**2) * (_square(q2) - M_W**2)) ** 2
    squared: FloatArray = quadratic * (COUPLING_WW / 4 / propagators)[:, None]
    return squared


def production_of_invariants(
    s: Invariants, determinant: FloatArray | None = None
) -> tuple[FloatArray, ...]:
    """Compute :func:`production` from invariants alone.

    Parameters
    ----------
    s
        Invariants.
    determinant
        As for :func:`odd_forms_of_invariants`.  If it is given, the result also has the three
        coefficients of that function, after those of 1, c_HW and c_HW².

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[100.0, 0, 0, 100], [100, 0, 0, -100], [50, 0, 30, 40], [30, 0, -18, -24]]])
    >>> s = np.array([-2000.0, -1200, -10800, -18000, 40000, 6000])
    >>> bool(np.allclose(production_of_invariants(Invariants(*s)), production(p)[0]))
    True
    """
    factor = COUPLING_WW / ((s.s12 - M_W**2) * (s.s34 - M_W**2)) ** 2
    return tuple(form * factor for form in _forms_of_invariants(s, determinant))


def _forms_of_invariants(s: Invariants, determinant: FloatArray | None) -> tuple[FloatArray, ...]:
    even = quadratic_of_invariants(*s)
    return even if determinant is None else (*even, *odd_forms_of_invariants(s, determinant))


def decay_ww(p: FloatArray, operators: Sequence[str] = ("c_HW",)) -> FloatArray:
    """Compute ``|M|²`` of H → W W* → e+ νe e− ν̄e.

    Parameters
    ----------
    p
        Momenta of e+, νe, e−, ν̄e, shape (n, 4, 4), GeV.
    operators
        As for :func:`production`.

    Returns
    -------
    ndarray
        Coefficients as :func:`production` returns them, shape (n, n_monomials), dimension GeV⁻².

    Raises
    ------
    ParameterError
        If an operator is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> decay_ww(p).shape
    (1, 3)
    """
    q1, q2 = p[:, 0] + p[:, 1], p[:, 2] + p[:, 3]
    quadratic = _quadratic(
        _current(p[:, 1], p[:, 0]), _current(p[:, 2], p[:, 3]), q1, q2, operators
    )
    breit_wigners = _breit_wigners(_square(q1), _square(q2), M_W, WIDTH_W)
    squared: FloatArray = quadratic * (COUPLING_WW * breit_wigners)[:, None]
    return squared


def decay_ww_of_invariants(
    s: Invariants, determinant: FloatArray | None = None
) -> tuple[FloatArray, ...]:
    """Compute :func:`decay_ww` from invariants alone; see :func:`production_of_invariants`.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[30.0, 0, 0, 30], [30, 0, 30, 0], [30, 0, 0, -30], [30, 0, -30, 0]]])
    >>> s = np.array([1800.0, 1800, 3600, 3600, 1800, 1800])
    >>> bool(np.allclose(decay_ww_of_invariants(Invariants(*s)), decay_ww(p)[0]))
    True
    """
    factor = 4 * COUPLING_WW * _breit_wigners(s.s12, s.s34, M_W, WIDTH_W)
    return tuple(form * factor for form in _forms_of_invariants(s, determinant))


def decay_zz(p: FloatArray) -> FloatArray:
    """Compute ``|M|²`` of H → Z Z* → e+ e− ν ν̄ for one neutrino flavour.

    The result is summed over the helicities of the electrons.

    Parameters
    ----------
    p
        Momenta of e+, e−, ν, ν̄, shape (n, 4, 4), GeV.

    Returns
    -------
    ndarray
        ``|M|²`` of each event, shape (n,).

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
    r"""Average ``|M|²`` of H → Z Z* → e+ e− ν ν̄ over the directions of ν in the ν ν̄ rest frame.

    ``|M|²`` is bilinear in the momenta ν and ν̄.  With :math:`q = ν + ν̄`, the mean of
    :math:`ν^μ ν̄^ν` over the directions is :math:`(q^2 g^{μν} + 2 q^μ q^ν)/12`.

    Parameters
    ----------
    m_ll2, q2
        Squared invariant masses of e+ e− and of ν ν̄, GeV².
    positron_q, electron_q
        2 p·q, where p is the momentum of e+ or of e−, GeV².  All four arguments are broadcast
        against each other.

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
