"""Normalisations of backgrounds, profiled for many θ at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from milinfer.exceptions import FitError
from milinfer.typing import BoolArray, FloatArray

__all__ = ["Profile", "profile_norms"]

_STEPS = 100
# Newton decrement squared, twice the gain in ln L that is left before the last step, which leaves
# no more than twice the square of it.
_TOLERANCE = 1e-5
# Rows multiplied before a logarithm is taken, which costs more than all the rest.
_ROWS = 4


class Profile(NamedTuple):
    """Likelihood at its maximum over the normalisations.

    Parameters
    ----------
    values
        ln L at each θ, shape (K,).
    norms
        Where the maximum is, shape (n_backgrounds, K).
    """

    values: FloatArray
    norms: FloatArray


def profile_norms(
    signal: FloatArray,
    backgrounds: FloatArray,
    expected: FloatArray,
    measured: FloatArray,
    precision: FloatArray,
) -> Profile:
    r"""Maximum over normalisations :math:`n \ge 0` of a likelihood that is concave in them.

    .. math:: \sum_i \ln\Big[s_{ik} + \sum_b n_b t_{ib}\Big] - \sum_b n_b \nu_b
              - \tfrac12 \sum_b \pi_b (n_b - a_b)^2

    by Newton's method for all k together.  With one background the slope is a falling convex
    function of n, which pure Newton steps approach from below: it cannot fail.  With several, steps
    are damped by 1/(1 + δ) with the Newton decrement δ, as self-concordant functions allow
    (Nesterov and Nemirovskii, 1994).

    Parameters
    ----------
    signal
        s, shape (n_events, K), positive.
    backgrounds
        t, shape (n_events, n_backgrounds).
    expected
        ν, shape (n_backgrounds,).
    measured, precision
        a and π of Gaussian measurements, shape (n_backgrounds,); π = 0: not measured.

    Raises
    ------
    FitError
        If the steps do not converge.

    Examples
    --------
    >>> found = profile_norms(np.full((30, 1), 1e-9), np.full((30, 1), 20.0), np.array([20.0]),
    ...                       np.ones(1), np.zeros(1))
    >>> found.norms.round(6)
    array([[1.5]])
    """
    n_backgrounds, k = backgrounds.shape[1], signal.shape[1]
    norms = np.repeat(measured.clip(min=0.0)[:, None], k, axis=1)
    products = (backgrounds[:, :, None] * backgrounds[:, None, :]).reshape(-1, n_backgrounds**2)
    # Keeps directions that no event constrains from dividing by zero.
    floor = precision + 1e-12 * (1.0 + expected) ** 2
    for _ in range(_STEPS):
        inverse = backgrounds @ norms
        inverse += signal
        np.reciprocal(inverse, out=inverse)
        slope = backgrounds.T @ inverse - expected[:, None]
        slope -= precision[:, None] * (norms - measured[:, None])
        np.square(inverse, out=inverse)
        bend = (products.T @ inverse).T.reshape(k, n_backgrounds, n_backgrounds)
        bend[:, range(n_backgrounds), range(n_backgrounds)] += floor
        held = (norms <= 0) & (slope <= 0)
        slope = np.where(held, 0.0, slope)
        step = _solve(bend, slope, held)
        decrement = np.sum(step * slope, axis=0)
        if n_backgrounds > 1:
            root = np.sqrt(decrement)
            step /= np.where(root > 0.25, 1.0 + root, 1.0)
        norms = np.maximum(norms + step, 0.0)
        if decrement.max(initial=0.0) < _TOLERANCE:
            break
    else:
        msg = (
            f"the normalisations did not converge in {_STEPS} steps; check the yields and the "
            "ratios of the backgrounds"
        )
        raise FitError(msg)
    values = _log_sum(signal + backgrounds @ norms) - expected @ norms
    values -= 0.5 * precision @ (norms - measured[:, None]) ** 2
    return Profile(values, norms)


def _solve(bend: FloatArray, slope: FloatArray, held: BoolArray) -> FloatArray:
    """Newton steps (n_backgrounds, K), zero where held."""
    if len(slope) == 1:
        alone: FloatArray = slope / bend[:, 0].T
        return alone
    free = ~held.T
    matrix = np.where(free[:, :, None] & free[:, None, :], bend, np.eye(len(slope)))
    steps = np.linalg.solve(matrix, slope.T[:, :, None])[:, :, 0].T
    return np.asarray(steps, dtype=np.float64)


def _log_sum(densities: FloatArray) -> FloatArray:
    """Sum of the logarithms of each column, (K,)."""
    n = len(densities) - len(densities) % _ROWS
    # Relative to the reference densities are of order one; those that are not go one by one.
    usual = n and densities.min() > 1e-70 and densities.max() < 1e70
    if not usual:
        return np.asarray(np.log(densities).sum(axis=0))
    together = densities[:n].reshape(_ROWS, n // _ROWS, -1)
    product = together[0] * together[1]
    product *= together[2]
    product *= together[3]
    return np.asarray(np.log(product).sum(axis=0) + np.log(densities[n:]).sum(axis=0))
