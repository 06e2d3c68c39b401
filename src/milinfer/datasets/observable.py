r"""Compute the exact likelihood ratio of the observables in VBF H → WW* → e+ νe e− ν̄e.

The joint likelihood ratio of an event depends on both neutrinos and on the proton from which each
quark came.  The observables x (leptons, jets with their flavours, missing transverse momentum) do
not determine these hidden variables.  The density of x is therefore an integral over them:

.. math:: p(x|c) \propto \int\! dy_H \sum_\text{protons} \frac{x_1 f(x_1)\,x_2 f(x_2)}{\hat s^2}
          \,|M_\text{prod}(c)|^2 \int\! \frac{d\Omega^*}{4\pi}\, |M_\text{dec}(c)|^2\;\Theta(q^2)

Here y_H is the rapidity of the Higgs boson, and Ω* is the direction of the νe in the rest frame of
the neutrino pair, which has the momentum q = p_H − p_ℓℓ.  The transverse momentum of the Higgs
boson balances the jets.  No estimator that uses x can do better than the ratio of p(x|c) to p(x|0).
With the decay through Z Z*, the integral gives the density of the background
:mod:`milinfer.datasets.vbf_hzz`, in the units of the density of the signal.

With several operators, c stands for all of them.  A detector can only see CP violation of the
production: at given y_H, the CP-odd terms of the decay change sign if Ω* is reflected at the plane
of the leptons, so that the integral of these terms is zero.

The integrands are functions of invariants and of the sign of a determinant.  If θ* is the angle to
a charged lepton, the invariant s of the W that decays to this lepton is linear in cos θ*.  Let
:math:`B_i^{-1} = (s_i - m_W^2)^2 + m_W^2 Γ_W^2`, for the W bosons i = 1 and 2.  The product of
their propagators is split into two parts, one with the numerator B_1 and one with B_2:

.. math:: B_1 B_2 = \frac{B_1 + B_2}{B_1^{-1} + B_2^{-1}}

In part i, s_i is sampled in proportion to B_i.  The remaining integrand is smooth, because the two
W bosons cannot both be on shell.  For Z Z* → e+ e− ν ν̄ the propagators do not depend on Ω*, and
the integral over Ω* has a closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from milinfer.datasets import vbf_hzz
from milinfer.datasets.amplitude import (
    COUPLING_WW,
    M_H,
    M_W,
    WIDTH_W,
    Invariants,
    mean_decay_zz,
    odd_forms_of_invariants,
    odd_square_of_invariants,
    quadratic_of_invariants,
)
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.operators import check_operators, expand, has_odd, product_table
from milinfer.datasets.phase_space import SQRT_S, parton_densities
from milinfer.datasets.vbf_hww import PROCESS
from milinfer.exceptions import ParameterError, SampleError
from milinfer.typing import FloatArray

__all__ = [
    "ObservableRatio",
    "densities_in_rapidity",
    "in_parts",
    "integrands",
    "observable_coefficients",
    "require_points",
]

N = TypeVar("N")


_BLOCK = 64
_LEPTONS = {PROCESS: [5, 7], vbf_hzz.PROCESS: [5, 6]}  # e+ and e− among the particles


class ObservableRatio(NamedTuple):
    """Differential cross-section dσ/dx of each event, relative to the signal at c = 0.

    Errors are one standard deviation of the numerical integration.

    Parameters
    ----------
    coefficients, errors
        Coefficients a_j of p(x|c)/p(x|0) · σ(c)/σ(0) = Σ_j a_j c^j and their errors, shape (n, 5),
        lowest power first, with a_0 = 1.  For several operators the shape is (n, n_monomials), in
        the order of :class:`milinfer.utils.polynomials.PolynomialBasis`.
    background, background_error
        dσ/dx of the ZZ background divided by dσ/dx of the signal at c = 0, and the error of this
        ratio, each of shape (n,).  Multiply by σ(0)/σ_b to get p_b(x)/p(x|0).
    """

    coefficients: FloatArray
    errors: FloatArray
    background: FloatArray
    background_error: FloatArray


def observable_coefficients(
    events: GeneratedEvents,
    operators: Sequence[str] | None = None,
    *,
    n_rapidity: int = 128,
    n_angles: int = 8,
    seed: int = 0,
    workers: int = 1,
) -> ObservableRatio:
    """Compute the likelihood ratio of the observables, integrated over the hidden variables.

    With the default settings, the error of the linear coefficient a_1 is below 0.6 % of the spread
    of a_1 for 99 % of the events, and below 0.06 % for half of the events, for c_HW and for
    c_HWtil.  2000 events take 0.65 s on one core with one operator, 0.75 s with c_HW and c_HWtil.

    Parameters
    ----------
    events
        Events of :mod:`milinfer.datasets.vbf_hww`, at any point, or of
        :mod:`milinfer.datasets.vbf_hzz`.  Only the charged leptons and the quarks are used.
    operators
        Operators of the polynomial; default: the operators of the events, c_HW for the background.
    n_rapidity
        Number of values of y_H, even.  The range is divided into n_rapidity/2 intervals with two
        values each, whose difference gives the error.
    n_angles
        Number of directions of the neutrino for each y_H and around each charged lepton.
    seed
        Random seed of the points of the integration.  The points also depend on the number of the
        event.
    workers
        Number of processes; it does not change the result.

    Raises
    ------
    SampleError
        If the events do not belong to one of these processes.
    ParameterError
        If a number of points is not positive, if n_rapidity is odd, or if an operator is unknown.

    Examples
    --------
    >>> from milinfer.datasets import vbf_hww
    >>> events = vbf_hww.generate(20, seed=1)
    >>> observable_coefficients(events, ["c_HW", "c_HWtil"]).coefficients.shape
    (20, 15)
    >>> ratio = observable_coefficients(events)
    >>> ratio.coefficients.shape, bool((ratio.coefficients[:, 0] == 1).all())
    ((20, 5), True)
    >>> bool(np.median(ratio.errors[:, 1]) < 0.001 * events.coefficients[:, 1].std())
    True
    """
    if events.process not in _LEPTONS:
        msg = (
            f"there is no observable ratio of {events.process} events; give events of "
            f"{' or '.join(_LEPTONS)}"
        )
        raise SampleError(msg)
    require_points(n_rapidity, n_angles)
    # e+, e−, d and u as [E, px, py, pz].
    seen = events.momenta[:, [*_LEPTONS[events.process], 9, 10]][..., [3, 0, 1, 2]]
    names = check_operators(operators if operators is not None else events.operators or None)
    numbers = (n_rapidity, n_angles, seed, names)
    return ObservableRatio(*in_parts(_integrate, seen, numbers, workers))


def require_points(n_rapidity: int, n_angles: int) -> None:
    """Raise unless an integral can be done with these numbers of points.

    Raises
    ------
    ParameterError
        If a number is not positive, or if n_rapidity is odd.
    """
    if n_rapidity < 2 or n_rapidity % 2 or n_angles < 1:
        msg = f"n_rapidity = {n_rapidity} must be even and positive, n_angles = {n_angles} positive"
        raise ParameterError(msg)


def in_parts(
    integrate: Callable[[FloatArray, int, N], tuple[FloatArray, ...]],
    seen: FloatArray,
    numbers: N,
    workers: int,
) -> tuple[FloatArray, ...]:
    """Compute columns for all events, in one process or in several that share the events.

    Parameters
    ----------
    integrate
        Function at the top level of a module.  It takes visible momenta, the number of their first
        event, and `numbers`.
    seen
        Visible momenta, shape (n, 4, 4).
    numbers
        Settings for `integrate`.
    workers
        Number of processes.
    """
    starts = range(0, len(seen), -(-len(seen) // max(workers, 1))) if len(seen) else range(1)
    parts = [seen[a : a + starts.step] for a in starts]
    if len(parts) > 1:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(len(parts), mp_context=context) as pool:
            integrals = list(pool.map(integrate, parts, starts, [numbers] * len(parts)))
    else:
        integrals = [integrate(parts[0], 0, numbers)]
    return tuple(np.concatenate(column) for column in zip(*integrals, strict=True))


def _integrate(
    seen: FloatArray, start: int, numbers: tuple[int, int, int, tuple[str, ...]]
) -> tuple[FloatArray, ...]:
    """Columns of an :class:`ObservableRatio` of events start, start + 1, ..., block by block."""
    blocks = [
        _block(seen[a : a + _BLOCK], start + a, *numbers)
        for a in range(0, max(len(seen), 1), _BLOCK)
    ]
    return tuple(np.concatenate(column) for column in zip(*blocks, strict=True))


def _block(
    seen: FloatArray,
    start: int,
    n_rapidity: int,
    n_angles: int,
    seed: int,
    operators: tuple[str, ...],
) -> tuple[FloatArray, ...]:
    densities = densities_in_rapidity(seen, start, n_rapidity, n_angles, seed, operators)
    total = densities.sum(axis=2)
    ratios = total / total[0]
    # Both points of a stratum are independent: error of the ratio to first order.
    residual = densities - ratios[..., None] * densities[0]
    errors = np.sqrt(((residual[..., ::2] - residual[..., 1::2]) ** 2).sum(axis=2)) / total[0]
    return ratios[:-1].T, errors[:-1].T, ratios[-1], errors[-1]


def densities_in_rapidity(
    seen: FloatArray,
    start: int,
    n_rapidity: int,
    n_angles: int,
    seed: int,
    operators: tuple[str, ...] = ("c_HW",),
) -> FloatArray:
    """Compute signal coefficients and background at random rapidities of the Higgs boson.

    The random numbers depend only on the seed and on the number of the event.  If the momenta of an
    event are scaled, the error of its integral is therefore nearly the same as before.

    Parameters
    ----------
    seen
        As for :func:`integrands`.
    start
        Number of the first event.
    n_rapidity, n_angles, seed
        As for :func:`observable_coefficients`.
    operators
        Names of the operators, in order.

    Returns
    -------
    ndarray
        Coefficients of the quartic polynomial, followed by the background, shape
        (n_monomials + 1, n, n_rapidity), with n_monomials = 5 for one operator.  The mean over the
        rapidities, times the range of the rapidities, is dσ/dx up to a factor that is the same for
        all events.

    Examples
    --------
    >>> from milinfer.datasets import vbf_hww
    >>> seen = vbf_hww.generate(4, seed=1).momenta[:, [5, 7, 9, 10]][..., [3, 0, 1, 2]]
    >>> densities_in_rapidity(seen, 0, 32, 4, seed=0).shape
    (6, 4, 32)
    """
    # Four numbers for each point are one step of Philox's counter, so that each event has its own
    # stream of numbers, independent of the blocks.
    generator = np.random.Generator(np.random.Philox(seed).advance(start * n_rapidity))
    jitter, *shifts = np.moveaxis(generator.random((len(seen), n_rapidity, 4)), -1, 0)
    stratum = np.repeat(np.arange(n_rapidity // 2), 2)
    z = 4 * (stratum + jitter) / n_rapidity - 1
    produced, decayed, other = integrands(seen, z, shifts, n_angles, operators)
    # The quartic, and the background.
    table = product_table(len(operators))
    densities = np.zeros((table.max() + 2, len(seen), n_rapidity))
    for i, p in enumerate(produced):
        for j, d in enumerate(decayed):
            densities[table[i, j]] += p * d
    densities[-1] = produced[0] * other
    return densities


_GAMMA = M_W * WIDTH_W
_GOLDEN = (np.sqrt(5) - 1) / 2
_FLAVOURS = 3  # of the neutrinos from a Z


def integrands(
    seen: FloatArray,
    z: FloatArray,
    shifts: Sequence[FloatArray],
    n_angles: int,
    operators: tuple[str, ...] = ("c_HW",),
) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
    """Compute the factors of the integrand in y_H: sums over protons and neutrino directions.

    Parameters
    ----------
    seen
        [E, px, py, pz] of e+, e−, d and u, shape (n, 4, 4), GeV.
    z
        Position of y_H in its allowed range, from −1 to 1, shape (n, m).  At the ends of the range,
        the invariant mass of the neutrino pair is zero.
    shifts
        Three random numbers in [0, 1) for each y_H, each of shape (n, m): two for cos θ* (one
        around each lepton), and one for the azimuth.
    n_angles
        Number of directions of the neutrino around each lepton.
    operators
        Names of the operators, in order.

    Returns
    -------
    produced, decayed
        Coefficients of the monomials of degree 2 or less in the operators (for c_HW: 1, c_HW,
        c_HW²), each of shape (n, m).  One factor that differs between events is left out: half the
        range of y_H.  The product of both polynomials, averaged over z and multiplied by this
        factor, is proportional to p(x|c).
    background
        Takes the place of `decayed` for H → Z Z* → e+ e− ν ν̄, shape (n, m).  Its normalisation is
        that of `decayed`, so that cross-sections can be compared.

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
    # Whatever depends only on the event has the shape (n, 1).
    positron, electron, down, up = np.moveaxis(seen, 1, 0)[..., None]
    pair, recoil = positron + electron, -(down + up)
    m_ll2 = _twice_product(positron, electron)
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

    odd = has_odd(operators)
    produced = expand(_production(down, up, h_plus, h_minus, odd), operators)
    positron_q, electron_q = twice_q(positron), twice_q(electron)
    decayed = expand(_decay(m_ll2, q2, positron_q, electron_q, shifts, n_angles, odd), operators)
    # Of the W there, |M|² is without constants (4: spinors), and times the width of B_i.
    in_the_units_of_decayed = _FLAVOURS * _GAMMA / (4 * COUPLING_WW)
    background = in_the_units_of_decayed * mean_decay_zz(m_ll2, q2, positron_q, electron_q)
    return produced, decayed, background


def _production(
    down: FloatArray, up: FloatArray, h_plus: FloatArray, h_minus: FloatArray, odd: bool
) -> list[FloatArray]:
    """Σ over both protons of x1 f(x1) x2 f(x2) |M|²/ŝ²; E ± pz of the jets and H fix the rest."""
    d_plus, d_minus = down[:, 0] + down[:, 3], down[:, 0] - down[:, 3]
    u_plus, u_minus = up[:, 0] + up[:, 3], up[:, 0] - up[:, 3]
    forward, backward = d_plus + u_plus + h_plus, d_minus + u_minus + h_minus
    inside = (forward < SQRT_S) & (backward < SQRT_S)
    forward, backward = (np.where(inside, p, SQRT_S / 2) for p in (forward, backward))
    s_hat, m_jj2 = forward * backward, _twice_product(down, up)
    total = [np.zeros(h_plus.shape) for _ in range(6 if odd else 3)]
    # Determinant of the four partons if the incoming u flies along +z.
    twist = s_hat / 2 * (down[:, 2] * up[:, 1] - down[:, 1] * up[:, 2])
    for p_up, p_down, jets, determinant in (
        (forward, backward, (d_minus, u_plus, u_minus, d_plus), twist),
        (backward, forward, (d_plus, u_minus, u_plus, d_minus), -twist),
    ):
        s12, s34 = -p_up * jets[0], -p_down * jets[1]
        s13, s24 = -p_up * jets[2], -p_down * jets[3]
        propagators = (s12 - M_W**2) * (s34 - M_W**2) * s_hat
        weight = inside * parton_densities(p_up / SQRT_S, p_down / SQRT_S) / propagators**2
        s = Invariants(s12=s12, s34=s34, s13=s13, s24=s24, s14=s_hat, s23=m_jj2)
        for k, part in enumerate(quadratic_of_invariants(*s)):
            total[k] += weight * part
        if odd:
            for k, part in enumerate(odd_forms_of_invariants(s, determinant), start=3):
                total[k] += weight * part
    return total


def _decay(
    m_ll2: FloatArray,
    q2: FloatArray,
    positron_q: FloatArray,
    electron_q: FloatArray,
    shifts: Sequence[FloatArray],
    n_angles: int,
    odd: bool,
) -> list[FloatArray]:
    """∫ dΩ*/4π |M|² up to a constant, given 2 p·q of both leptons; interference with T̃ vanishes."""
    shift, other_shift, shift_phi = shifts
    cos = np.clip(1 - 2 * m_ll2 * q2 / (positron_q * electron_q), -1.0, 1.0)
    sin = np.sqrt(1 - cos**2)
    total = [np.zeros(q2.shape) for _ in range(6 if odd else 3)]
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
            s = Invariants(
                s12=s_own,
                s34=s_other,
                s13=m_ll2,
                s24=q2,
                s14=own_q - s_own,
                s23=other_q - s_other,
            )
            for j, part in enumerate(quadratic_of_invariants(*s)):
                total[j] += weight * part
            if odd:
                total[5] += weight * odd_square_of_invariants(s)
    return total


def _twice_product(a: FloatArray, b: FloatArray) -> FloatArray:
    """2 a·b of momenta (n, 4, 1)."""
    space: FloatArray = np.sum(a[:, 1:] * b[:, 1:], axis=1)
    return 2 * (a[:, 0] * b[:, 0] - space)
