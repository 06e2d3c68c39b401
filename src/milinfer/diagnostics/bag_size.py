"""Fits of effective information against bag size ([AS], eq. 15, fig. 2).

The curves are in :mod:`milinfer.diagnostics.bag_size_curve`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.optimize import brentq
from scipy.stats import chi2 as chi2_distribution

from milinfer.diagnostics.bag_size_curve import EXPONENTS, FORMS, Ansatz, BagSizeFit, log_info
from milinfer.exceptions import ConfigurationError, FitError
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from iminuit import Minuit

__all__ = ["fit_bag_sizes", "log_points"]

_AT_LIMIT = 1e-3  # in χ²


def fit_bag_sizes(
    sizes: ArrayLike,
    info: ArrayLike,
    info_error: ArrayLike | None = None,
    *,
    ansatz: Ansatz = "sqrt",
    covariance: ArrayLike | None = None,
    bound: tuple[float, float] | None = None,
) -> BagSizeFit:
    """Fit I_true and k to effective informations at several bag sizes.

    The fit is of ln I_eff.  Errors of an information are in proportion to it, and points from the
    same toys fluctuate by a common factor: a fit of I_eff itself would follow the low ones
    (Peelle's puzzle; with errors of 10 % and a correlation of 0.9, I_true comes out 5 % low,
    here 1 % high; without correlation both are right to 1 %).

    Parameters
    ----------
    sizes
        Bag sizes, shape (S,).
    info
        Effective information at each.
    info_error
        Standard errors; independent of each other.
    ansatz
        How the error variance of a bag's log-likelihood ratio depends on the bag size.
    covariance
        Of the informations, shape (S, S), instead of `info_error`: sizes measured on the same toys
        fluctuate together.
    bound
        True information and its error (0 where exact), known from elsewhere.  ``"linear"`` needs
        it; any other ansatz then fits k to points that must lead to the bound.

    Returns
    -------
    BagSizeFit
        I_true, k, errors, goodness and the curve with its band.

    Raises
    ------
    ConfigurationError
        If the points are not informations with errors, or ``"linear"`` is fitted without a bound.
    FitError
        If there are fewer sizes than parameters, or the fit does not converge.

    Examples
    --------
    >>> import numpy as np
    >>> sizes = np.array([1, 5, 25, 100, 400])
    >>> fit = fit_bag_sizes(sizes, 300 / (1 + 1.5 / np.sqrt(sizes)), np.full(5, 3.0))
    >>> fit.parameters, fit.values.round(2)
    (('info_true', 'k'), array([300. ,   1.5]))
    >>> print(fit.info(10_000).round(1))
    295.6
    """
    from iminuit import Minuit
    from iminuit.cost import LeastSquares, NormalConstraint

    n, y, cholesky = log_points(sizes, info, info_error, covariance)
    if ansatz not in FORMS:
        msg = f"ansatz {ansatz!r} is not one of {', '.join(map(repr, FORMS))}"
        raise ConfigurationError(msg)
    if ansatz == "linear" and bound is None:
        msg = (
            'a term linear in the bag size makes the curves of "sqrt" with I_true/(1 + k_linear) '
            'for I_true: no scan tells it. Give bound=(I_true, error), or fit "sqrt"'
        )
        raise ConfigurationError(msg)
    names = ("info_true", *FORMS[ansatz].parameters)
    if bound is not None and not (bound[0] > 0 and bound[1] >= 0):
        msg = f"bound {bound} is not a positive information with an error of 0 or more"
        raise ConfigurationError(msg)
    n_points = len(n) + (bound is not None)
    if len(np.unique(n)) + (bound is not None) < len(names):
        msg = (
            f"{len(np.unique(n))} bag sizes cannot fix {', '.join(names)}; scan at least "
            f"{len(names) - (bound is not None)}"
        )
        raise FitError(msg)

    def whitened(size: FloatArray, *values: float) -> FloatArray:
        curve = log_info(ansatz, size, np.array(values))
        return np.asarray(solve_triangular(cholesky, curve, lower=True))

    measured = solve_triangular(cholesky, y, lower=True)
    cost: Any = LeastSquares(n, measured, 1.0, whitened, name=names)
    if bound is not None and bound[1] > 0:
        cost = cost + NormalConstraint("info_true", *bound)

    def minuit(values: Sequence[float], held: Sequence[str]) -> Minuit:
        m = Minuit(cost, **dict(zip(names, values, strict=True)))
        m.limits["info_true"] = (1e-9, None)
        for name in names[1:]:
            m.limits[name] = EXPONENTS if name == "exponent" else (0, None)
        for name in held:
            m.fixed[name] = True
        m.strategy, m.tol = 2, 1e-3
        # Without anything free, MIGRAD refuses; a call of the cost gives χ² as well.
        return m.migrad() if len(held) < len(names) else m

    exact = ("info_true",) if bound is not None and bound[1] == 0 else ()

    def minimise(zero: tuple[str, ...]) -> Minuit:
        found = []
        for start in _starts(ansatz, n, y, bound):
            values = [0.0 if name in zero else v for name, v in zip(names, start, strict=True)]
            # Without k, its exponent means nothing.
            idle = ("exponent",) if "k" in zero and "exponent" in names else ()
            found.append(minuit(values, (*exact, *zero, *idle)))
        return max(found, key=lambda m: (m.valid, -_chi2(m)))

    positive = [name for name in names if name.startswith("k")]
    choices = [c for r in range(len(positive) + 1) for c in combinations(positive, r)]
    fits = {zero: minimise(zero) for zero in choices}
    lowest = min(_chi2(m) for m in fits.values())
    # Minuit approaches a limit but does not reach it; where the limit is as good, it is the answer.
    zero = next(z for z in reversed(choices) if _chi2(fits[z]) <= lowest + _AT_LIMIT)
    m = fits[zero]
    free = [name for name in names if not m.fixed[name]]
    if free and not m.valid:
        msg = (
            f"the fit of {ansatz!r} to the information at bag sizes {n.tolist()} did not converge "
            f"({m.fmin.reduced_chi2:.3g} for χ²/ndf): scan more sizes, or take a simpler ansatz"
        )
        raise FitError(msg)
    chi2, ndf = _chi2(m), n_points - len(names)
    errors, minos = np.zeros((len(names), 2)), [False] * len(names)
    for i, name in enumerate(names):
        if name in zero:
            held = [other for other in names if m.fixed[other]]

            def profiled(k: float, i: int = i, held: Sequence[str] = held) -> float:
                return _chi2(minuit([*m.values[:i], k, *m.values[i + 1 :]], held))

            errors[i, 1] = _upper_error(profiled, chi2)
        elif m.fixed[name]:
            # An exponent has no meaning where k is 0; a bound without an error has none.
            errors[i] = np.nan if name == "exponent" else 0.0
        else:
            errors[i], minos[i] = _minos(m, name)
    covariance_out = np.zeros((len(names), len(names)))
    if free:
        covariance_out = np.asarray(m.covariance, dtype=np.float64)
    flat = min(_chi2(m) for z, m in fits.items() if "k" in z)
    return BagSizeFit(
        ansatz,
        names,
        np.array(m.values, dtype=np.float64),
        errors,
        covariance_out,
        tuple(minos),
        zero,
        chi2,
        ndf,
        float(chi2_distribution.sf(chi2, ndf)) if ndf > 0 else float("nan"),
        float(np.sqrt(max(flat - chi2, 0.0))),
    )


def log_points(
    sizes: ArrayLike, info: ArrayLike, error: ArrayLike | None, covariance: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Bag sizes, ln I, and the Cholesky factor of the covariance of ln I.

    Parameters
    ----------
    sizes, info, error, covariance
        As of :func:`fit_bag_sizes`.

    Raises
    ------
    ConfigurationError
        If they are not informations with errors.

    Examples
    --------
    >>> n, y, cholesky = log_points([1, 10], [100.0, 200.0], [5.0, 10.0], None)
    >>> y.round(2), np.diag(cholesky)
    (array([4.61, 5.3 ]), array([0.05, 0.05]))
    """
    n, value = (np.asarray(a, dtype=np.float64) for a in (sizes, info))
    if (error is None) == (covariance is None):
        msg = "give the errors of the informations, or their covariance, and not both"
        raise ConfigurationError(msg)
    matrix = np.asarray(covariance, float) if error is None else np.diag(np.square(error))
    if n.ndim != 1 or value.shape != n.shape or matrix.shape != (len(n), len(n)):
        msg = (
            f"{n.shape} bag sizes, {value.shape} informations and a covariance of shape "
            f"{matrix.shape} do not belong together"
        )
        raise ConfigurationError(msg)
    if not (np.all(n >= 1) and np.all(value > 0) and np.all(np.isfinite(value))):
        msg = f"bag sizes {n.tolist()} from 1 and informations {value.tolist()} above 0 are needed"
        raise ConfigurationError(msg)
    try:
        cholesky = np.linalg.cholesky(matrix / np.outer(value, value))
    except np.linalg.LinAlgError:
        msg = (
            "the errors of the informations are not positive, or their covariance is not that of "
            "anything; more bootstrap samples than sizes are needed"
        )
        raise ConfigurationError(msg) from None
    return n, np.log(value), np.asarray(cholesky, dtype=np.float64)


def _starts(
    ansatz: Ansatz, n: FloatArray, y: FloatArray, bound: tuple[float, float] | None
) -> list[list[float]]:
    """Where to start: 1/I_eff is a straight line in the term of g."""
    form = FORMS[ansatz]
    starts = []
    for exponent in form.starts or (0.0 if ansatz == "constant" else 0.5,):
        slope, level = np.polyfit(np.power(n, exponent - 1), np.exp(-y), 1)
        level = max(level, 0.3 * np.exp(-y).min())
        truth = 1 / level if bound is None else bound[0]
        start = [truth, max(slope / level, 0.1)]
        if ansatz == "linear":
            start.append(max(truth * level - 1, 0.01))
        elif ansatz == "power":
            start.append(exponent)
        starts.append(start)
    return starts


def _chi2(m: Minuit) -> float:
    """χ² at the values of a fit, also of one in which nothing was free."""
    return float(m.fcn(tuple(m.values)) if m.fval is None else m.fval)


def _minos(m: Minuit, name: str) -> tuple[FloatArray, bool]:
    """Downward and upward error of a free parameter, and whether both are MINOS'."""
    value, (low, high) = m.values[name], m.limits[name]
    out = np.full(2, m.errors[name])
    try:
        # The merits of a fit are read after this: MINOS may not move it.
        found = copy(m).minos(name).merrors[name]
    except RuntimeError:  # the minimum is not good enough for MINOS
        return out, False
    if found.at_lower_limit:
        out[0] = value - low
    elif found.lower_valid:
        out[0] = -found.lower
    if found.at_upper_limit:
        out[1] = high - value
    elif found.upper_valid:
        out[1] = found.upper
    return out, bool(found.lower_valid and found.upper_valid)


def _upper_error(chi2: Callable[[float], float], lowest: float) -> float:
    """Where the profiled χ² of a parameter at 0 has risen by one."""
    high = 1e-3
    while chi2(high) < lowest + 1:
        high *= 4
        if high > 1e6:
            return float("inf")
    return float(brentq(lambda value: chi2(value) - lowest - 1, 0.0, high, rtol=1e-4))
