r"""Fit the effective information as a function of the bag size N_B ([AS], eq. 15, fig. 2).

.. math:: I_\text{eff}(N_B) = \frac{I_\text{true}}{1 + g(N_B)},\qquad
          g(N_B) = \frac{\sigma^2_\epsilon(N_B)}{N_B\,I_1\,\Delta\theta^2}

I_true is the information of a perfect estimator for datasets of N events, :math:`I_1 =
I_\text{true}/N` is the information of one event, and Δθ is the distance between the two points of a
log-likelihood ratio.  σ²_ε is the variance of the error of the log-likelihood ratio of a bag.  It
is not known how σ²_ε depends on N_B, so an ansatz is needed.  The constant C of the ansatz and I₁
enter only as :math:`k = C/(I_1 \Delta\theta^2)`.  A fit therefore gives k; from it follows :math:`C
= k\,\Delta\theta^2 I_\text{true}/N`.

=========== ======================================= =============================== =============
ansatz      :math:`\sigma^2_\epsilon`               g                               parameters
=========== ======================================= =============================== =============
"sqrt"      C √N_B (eq. 15, fig. 2)                 k/√N_B                          k
"constant"  C                                       k/N_B                           k
"power"     C N_B^a, a < 1                          k N_B^(a − 1)                   k, exponent
"linear"    C √N_B + C₂ N_B (§C.6)                  k/√N_B + k₂                     k, k_linear
=========== ======================================= =============================== =============

The curve of "linear" with I_true, k and k₂ is identical to the curve of "sqrt" with I_true/(1 + k₂)
and k/(1 + k₂).  Therefore even a perfectly precise scan of bag sizes cannot distinguish these two
ansätze.  A scan measures the information at infinite bags.  It is an assumption that this is the
true information, unless the true information is known from elsewhere (argument `bound`).

:func:`fit_bag_sizes` fits one ansatz, and :func:`compare_ansaetze` fits several ansätze to the same
measurements (§C.6).  With every ansatz, the information can only rise with the bag size.
:func:`bag_size_slope` fits a straight line to ln I as a function of log₂ N_B, which may also fall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.optimize import brentq
from scipy.stats import chi2 as chi2_distribution

from milinfer.exceptions import ConfigurationError, FitError
from milinfer.typing import FloatArray
from milinfer.utils.display import (
    arrow_table,
    html_facts,
    html_table,
    measured,
    rich_table,
    tuples_table,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from iminuit import Minuit
    from rich.table import Table

__all__ = [
    "Ansatz",
    "AnsatzComparison",
    "BagSizeFit",
    "BagSizeTrend",
    "bag_size_slope",
    "compare_ansaetze",
    "fit_bag_sizes",
    "log_points",
]


# A fit with a parameter at its limit is preferred unless its χ² is larger by more than this.
_AT_LIMIT = 1e-3


def fit_bag_sizes(
    sizes: ArrayLike,
    info: ArrayLike,
    info_error: ArrayLike | None = None,
    *,
    ansatz: Ansatz = "sqrt",
    covariance: ArrayLike | None = None,
    bound: tuple[float, float] | None = None,
) -> BagSizeFit:
    """Fit I_true and k to the effective information measured at several bag sizes.

    The curve is fitted to ln I_eff and not to I_eff.  The error of I_eff is proportional to I_eff,
    and values from the same toys fluctuate by a common factor.  A fit to I_eff would therefore be
    drawn to the low values (Peelle's puzzle).  Example with errors of 10 % and a correlation of
    0.9: I_true from a fit to I_eff is 5 % too low; I_true from a fit to ln I_eff is 1 % too high.
    Without a correlation both fits are right to 1 %.

    Parameters
    ----------
    sizes
        Bag sizes, shape (S,).
    info
        Effective information at each bag size, shape (S,).
    info_error
        Standard errors of `info`, shape (S,), if the values are independent of each other.
    ansatz
        Assumption about how the variance σ²_ε of the error of a bag's log-likelihood ratio depends
        on the bag size; see :mod:`milinfer.diagnostics.bag_size`.
    covariance
        Covariance matrix of `info`, shape (S, S), instead of `info_error`.  It is needed if the
        values were measured with the same toys, because they then fluctuate together.
    bound
        True information and its error (0 if exact), if it is known from elsewhere.  I_true is then
        constrained to it in the fit.  ``"linear"`` needs it.

    Returns
    -------
    BagSizeFit
        I_true, k, their errors, the quality of the fit, and the fitted curve with its error.

    Raises
    ------
    ConfigurationError
        If `info` is not positive, if errors are missing or wrong, or if ``"linear"`` is fitted
        without `bound`.
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
            'no scan can measure the linear term, since "sqrt" with another I_true gives the '
            'same curve; give the true information, bound=(I_true, error), or fit "sqrt"'
        )
        raise ConfigurationError(msg)
    names = ("info_true", *FORMS[ansatz].parameters)
    if bound is not None and not (bound[0] > 0 and bound[1] >= 0):
        msg = f"bound {bound} is not a positive information with an error of 0 or more"
        raise ConfigurationError(msg)
    n_points = len(n) + (bound is not None)
    if len(np.unique(n)) + (bound is not None) < len(names):
        msg = (
            f"{len(np.unique(n))} bag sizes cannot determine {', '.join(names)}; scan at least "
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

    def minuit(values: Sequence[float], fixed_names: Sequence[str]) -> Minuit:
        m = Minuit(cost, **dict(zip(names, values, strict=True)))
        m.limits["info_true"] = (1e-9, None)
        for name in names[1:]:
            m.limits[name] = EXPONENTS if name == "exponent" else (0, None)
        for name in fixed_names:
            m.fixed[name] = True
        m.strategy, m.tol = 2, 1e-3
        # MIGRAD refuses a fit without free parameters; the value of the cost is then χ².
        return m.migrad() if len(fixed_names) < len(names) else m

    exact = ("info_true",) if bound is not None and bound[1] == 0 else ()

    def minimise(zero: tuple[str, ...]) -> Minuit:
        candidates = []
        for start in _starts(ansatz, n, y, bound):
            values = [0.0 if name in zero else v for name, v in zip(names, start, strict=True)]
            # Without k, its exponent has no effect.
            unused = ("exponent",) if "k" in zero and "exponent" in names else ()
            candidates.append(minuit(values, (*exact, *zero, *unused)))
        return max(candidates, key=lambda m: (m.valid, -_chi2(m)))

    positive = [name for name in names if name.startswith("k")]
    choices = [c for r in range(len(positive) + 1) for c in combinations(positive, r)]
    fits = {zero: minimise(zero) for zero in choices}
    lowest = min(_chi2(m) for m in fits.values())
    # Minuit approaches a limit but does not reach it; if the limit is as good, take the limit.
    zero = next(z for z in reversed(choices) if _chi2(fits[z]) <= lowest + _AT_LIMIT)
    m = fits[zero]
    free = [name for name in names if not m.fixed[name]]
    if free and not m.valid:
        msg = (
            f"the fit of {ansatz!r} to the information at bag sizes {n.tolist()} did not converge "
            f"({m.fmin.reduced_chi2:.3g} for χ²/ndf): scan more sizes, or use a simpler ansatz"
        )
        raise FitError(msg)
    chi2, ndf = _chi2(m), n_points - len(names)
    errors, minos = np.zeros((len(names), 2)), [False] * len(names)
    for i, name in enumerate(names):
        if name in zero:
            fixed_names = [other for other in names if m.fixed[other]]

            def profiled(k: float, i: int = i, fixed_names: Sequence[str] = fixed_names) -> float:
                return _chi2(minuit([*m.values[:i], k, *m.values[i + 1 :]], fixed_names))

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
        ansatz=ansatz,
        parameters=names,
        values=np.array(m.values, dtype=np.float64),
        errors=errors,
        covariance=covariance_out,
        minos=tuple(minos),
        at_limit=zero,
        chi2=chi2,
        ndf=ndf,
        p_value=float(chi2_distribution.sf(chi2, ndf)) if ndf > 0 else float("nan"),
        growth=float(np.sqrt(max(flat - chi2, 0.0))),
    )


def log_points(
    sizes: ArrayLike, info: ArrayLike, error: ArrayLike | None, covariance: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return bag sizes, ln I, and the Cholesky factor of the covariance matrix of ln I.

    Parameters
    ----------
    sizes, info, error, covariance
        As for :func:`fit_bag_sizes`.

    Raises
    ------
    ConfigurationError
        If `info` is not positive, or errors are missing or wrong.

    Examples
    --------
    >>> n, y, cholesky = log_points([1, 10], [100.0, 200.0], [5.0, 10.0], None)
    >>> y.round(2), np.diag(cholesky)
    (array([4.61, 5.3 ]), array([0.05, 0.05]))
    """
    n, value = (np.asarray(a, dtype=np.float64) for a in (sizes, info))
    if (error is None) == (covariance is None):
        msg = (
            "give either the errors of the informations or their covariance, exactly one of the two"
        )
        raise ConfigurationError(msg)
    matrix = np.asarray(covariance, float) if error is None else np.diag(np.square(error))
    if n.ndim != 1 or value.shape != n.shape or matrix.shape != (len(n), len(n)):
        msg = (
            f"{n.shape} bag sizes, {value.shape} informations and a covariance of shape "
            f"{matrix.shape} do not match; give one information and one error for every size"
        )
        raise ConfigurationError(msg)
    if not (np.all(n >= 1) and np.all(value > 0) and np.all(np.isfinite(value))):
        msg = (
            f"bag sizes {n.tolist()} must be at least 1, and informations {value.tolist()} above 0"
        )
        raise ConfigurationError(msg)
    try:
        cholesky = np.linalg.cholesky(matrix / np.outer(value, value))
    except np.linalg.LinAlgError:
        msg = (
            "the errors of the informations are not positive, or the covariance is not positive "
            "definite; a covariance from a bootstrap needs more bootstrap samples than bag sizes"
        )
        raise ConfigurationError(msg) from None
    return n, np.log(value), np.asarray(cholesky, dtype=np.float64)


def _starts(
    ansatz: Ansatz, n: FloatArray, y: FloatArray, bound: tuple[float, float] | None
) -> list[list[float]]:
    """Start values of the fit: 1/I_eff is a straight line in the term of g."""
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
    """Downward and upward error of a free parameter, and whether MINOS was valid for both."""
    value, (low, high) = m.values[name], m.limits[name]
    out = np.full(2, m.errors[name])
    try:
        # MINOS would change the fit whose quality is read below, so run it on a copy.
        minos_error = copy(m).minos(name).merrors[name]
    except RuntimeError:  # the minimum is not good enough for MINOS
        return out, False
    if minos_error.at_lower_limit:
        out[0] = value - low
    elif minos_error.lower_valid:
        out[0] = -minos_error.lower
    if minos_error.at_upper_limit:
        out[1] = high - value
    elif minos_error.upper_valid:
        out[1] = minos_error.upper
    return out, bool(minos_error.lower_valid and minos_error.upper_valid)


def _upper_error(chi2: Callable[[float], float], lowest: float) -> float:
    """Upper error of a parameter at 0: where its profiled χ² has risen by one."""
    high = 1e-3
    while chi2(high) < lowest + 1:
        high *= 4
        if high > 1e6:
            return float("inf")
    return float(brentq(lambda value: chi2(value) - lowest - 1, 0.0, high, rtol=1e-4))


Ansatz = Literal["sqrt", "constant", "linear", "power"]


class _Form(NamedTuple):
    """g(N_B) and its derivatives with respect to the parameters after I_true."""

    parameters: tuple[str, ...]
    excess: Callable[[FloatArray, FloatArray], FloatArray]
    derivatives: Callable[[FloatArray, FloatArray], list[FloatArray]]
    starts: tuple[float, ...] = ()  # start values of the exponent


def _power(n: FloatArray, p: FloatArray) -> list[FloatArray]:
    """Derivatives of k N_B^(a − 1) with respect to k and a."""
    basis = np.power(n, p[1] - 1)
    return [basis, p[0] * basis * np.log(n)]


FORMS = {
    "sqrt": _Form(("k",), lambda n, p: p[0] / np.sqrt(n), lambda n, _: [1 / np.sqrt(n)]),
    "constant": _Form(("k",), lambda n, p: p[0] / n, lambda n, _: [1 / n]),
    "linear": _Form(
        ("k", "k_linear"),
        lambda n, p: p[0] / np.sqrt(n) + p[1],
        lambda n, _: [1 / np.sqrt(n), np.ones_like(n)],
    ),
    "power": _Form(
        ("k", "exponent"), lambda n, p: p[0] * np.power(n, p[1] - 1), _power, (0.5, 0.0, 0.8)
    ),
}
# Limits of the exponent: near 1 the term no longer depends on N_B, and cannot be fitted.
EXPONENTS = (-3.0, 0.98)


class BagSizeFit(NamedTuple):
    """Result of the fit of one ansatz to the effective information at several bag sizes.

    :func:`milinfer.diagnostics.bag_size.fit_bag_sizes` makes it.

    Parameters
    ----------
    ansatz
        Name of the ansatz; see :mod:`milinfer.diagnostics.bag_size`.
    parameters
        Names of the P fitted parameters: ``info_true``, ``k``, and any further parameters of the
        ansatz.
    values
        Fitted values, shape (P,).
    errors
        Downward and upward error of each parameter, shape (P, 2).  Both are positive numbers.  They
        come from MINOS if MINOS is valid for the parameter, else from HESSE.  An error does not
        extend beyond a physical limit.
    covariance
        Covariance matrix from HESSE, shape (P, P).  The elements of a parameter at a limit are
        zero.
    minos
        For each parameter, whether the MINOS error is valid.
    at_limit
        Names of the parameters that are at their limit 0.
    chi2, ndf, p_value
        χ² of the fit, degrees of freedom, and p-value.  The p-value is NaN if there are no degrees
        of freedom.
    growth
        √(χ²(k = 0) − χ²).  It is the significance, in standard deviations, with which the
        information grows with the bag size.

    Examples
    --------
    >>> fit = BagSizeFit("sqrt", ("info_true", "k"), np.array([100.0, 1.0]), np.ones((2, 2)),
    ...                  np.diag([1.0, 0.01]), (True, True), (), 3.0, 4, 0.56, 9.0)
    >>> print(fit.info(4).round(1), fit.info_error(4).round(1), round(fit.asymptote))
    66.7 2.3 100
    """

    ansatz: Ansatz
    parameters: tuple[str, ...]
    values: FloatArray
    errors: FloatArray
    covariance: FloatArray
    minos: tuple[bool, ...]
    at_limit: tuple[str, ...]
    chi2: float
    ndf: int
    p_value: float
    growth: float

    @property
    def plateau(self) -> bool:
        """Whether k is at its limit 0: the information does not grow with the bag size.

        The result is then the weighted mean of the points, without an extrapolation.
        """
        return "k" in self.at_limit

    @property
    def info_true(self) -> float:
        """Information of a perfect estimator, if the ansatz is right."""
        return float(self.values[0])

    @property
    def info_true_error(self) -> float:
        """Mean of the downward and the upward error of :attr:`info_true`."""
        return float(self.errors[0].mean())

    @property
    def asymptote(self) -> float:
        """Information at infinite bags; for ``"linear"`` it can be below :attr:`info_true`."""
        return float(self.info(np.inf))

    @property
    def asymptote_error(self) -> float:
        """Standard error of :attr:`asymptote`."""
        return float(self.info_error(np.inf))

    @property
    def aic(self) -> float:
        """Akaike's information criterion (AIC): χ² + 2P with P parameters."""
        return self.chi2 + 2 * len(self.parameters)

    def info(self, size: ArrayLike) -> FloatArray:
        """Return the fitted effective information at bag sizes, in the shape of `size`."""
        return np.asarray(np.exp(log_info(self.ansatz, np.asarray(size, float), self.values)))

    def info_error(self, size: ArrayLike) -> FloatArray:
        """Return the standard error of :meth:`info`, in the shape of `size`."""
        n = np.asarray(size, dtype=np.float64)
        form = FORMS[self.ansatz]
        with np.errstate(invalid="ignore"):
            slopes = form.derivatives(n, self.values[1:])
            excess = form.excess(n, self.values[1:])
        # ln N_B / N_B^(1 − a) is 0 at infinity, not the product of infinity and zero.
        rows = [np.full(n.shape, 1 / self.values[0])]
        rows += [-np.nan_to_num(s, nan=0.0) / (1 + excess) for s in slopes]
        gradient = np.stack(rows, axis=-1)
        variance = np.einsum("...i,ij,...j->...", gradient, self.covariance, gradient)
        return np.asarray(self.info(n) * np.sqrt(np.maximum(variance, 0.0)))

    def __repr__(self) -> str:
        return (
            f"BagSizeFit({self.ansatz}, I_true = {measured(self.info_true, self.info_true_error)}, "
            f"k = {measured(float(self.values[1]), float(self.errors[1].mean()))}, "
            f"χ²/ndf = {self.chi2:.1f}/{self.ndf})"
        )

    def _repr_html_(self) -> str:
        errors = self.errors.mean(axis=1)
        facts: dict[str, Any] = {
            name: measured(float(value), float(error)) + (" at its limit" * (name in self.at_limit))
            for name, value, error in zip(self.parameters, self.values, errors, strict=True)
        }
        facts["I at infinity"] = measured(self.asymptote, self.asymptote_error)
        facts["χ²/ndf"] = f"{self.chi2:.1f}/{self.ndf}, p = {measured(self.p_value)}"
        facts["growth"] = "none" if self.plateau else f"{self.growth:.1f}σ"
        return html_facts(f"Effective information against bag size: {self.ansatz}", facts)

    def to_table(self) -> pa.Table:
        """Return a table with one row.

        Columns: ``ansatz``; for each parameter its value (for example ``k``) and its errors
        (``k_error_down``, ``k_error_up``); ``asymptote``, ``asymptote_error``, ``plateau``,
        ``growth``, ``chi2``, ``ndf``, ``p_value`` and ``aic``.
        """
        row: dict[str, Any] = {"ansatz": self.ansatz}
        for name, value, (down, up) in zip(self.parameters, self.values, self.errors, strict=True):
            row |= {name: value, f"{name}_error_down": down, f"{name}_error_up": up}
        types = {"ansatz": str, **dict.fromkeys(list(row)[1:], float)}
        figures = (
            "asymptote",
            "asymptote_error",
            "plateau",
            "growth",
            "chi2",
            "ndf",
            "p_value",
            "aic",
        )
        types |= {n: {"plateau": bool, "ndf": int}.get(n, float) for n in figures}
        return arrow_table(types, [row | {n: getattr(self, n) for n in figures}])

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name, for JSON."""
        return {
            "ansatz": self.ansatz,
            "values": dict(zip(self.parameters, self.values.tolist(), strict=True)),
            "errors": dict(zip(self.parameters, self.errors.tolist(), strict=True)),
            "asymptote": self.asymptote,
            "asymptote_error": self.asymptote_error,
            "plateau": self.plateau,
            "growth": self.growth,
            "chi2": self.chi2,
            "ndf": self.ndf,
            "p_value": None if np.isnan(self.p_value) else self.p_value,
            "aic": self.aic,
        }


def log_info(ansatz: Ansatz, size: FloatArray, values: FloatArray) -> FloatArray:
    """Ln I_eff at any bag size, of the shape of `size`; `values` start with I_true.

    Examples
    --------
    >>> log_info("sqrt", np.array([1.0, 4.0]), np.array([1.0, 2.0])).round(3)
    array([-1.099, -0.693])
    """
    return np.asarray(np.log(values[0]) - np.log1p(FORMS[ansatz].excess(size, values[1:])))


@dataclass(frozen=True)
class AnsatzComparison:
    """Fits of several ansätze to the same measurements of the information.

    Parameters
    ----------
    fits
        One fit for each ansatz, the fit with the lowest AIC first.
    left_out
        For each ansatz that could not be fitted, the reason.
    """

    fits: tuple[BagSizeFit, ...]
    left_out: Mapping[str, str]

    header: ClassVar = (
        "ansatz",
        "I_true",
        "k",
        "others",
        "I at infinity",
        "χ²/ndf",
        "p",
        "ΔAIC",
        "growth",
    )

    def allowed(self, delta: float = 4.0) -> tuple[BagSizeFit, ...]:
        """Return the fits whose AIC is at most `delta` above the lowest AIC."""
        return tuple(f for f in self.fits if f.aic <= self.fits[0].aic + delta)

    @property
    def asymptotes(self) -> tuple[float, float]:
        """Return the lowest and the highest information at infinite bags among the allowed fits.

        The difference between the two numbers is the error of the extrapolation due to the choice
        of the ansatz.  The allowed fits are those of :meth:`allowed`.
        """
        values = [f.asymptote for f in self.allowed()]
        return min(values), max(values)

    def rows(self) -> list[list[str]]:
        """Cells of the table, as text."""
        return [
            [
                f.ansatz,
                *(_cell(v, e) for v, e in zip(f.values[:2], f.errors[:2], strict=True)),
                ", ".join(
                    f"{n} {_cell(v, e)}"
                    for n, v, e in zip(f.parameters[2:], f.values[2:], f.errors[2:], strict=True)
                )
                or "—",
                f"{f.asymptote:.4g} ± {f.asymptote_error:.2g}",
                f"{f.chi2:.1f}/{f.ndf}",
                "—" if np.isnan(f.p_value) else f"{f.p_value:.2g}",
                f"{f.aic - self.fits[0].aic:.1f}",
                "none" if f.plateau else f"{f.growth:.1f}σ",
            ]
            for f in self.fits
        ]

    def to_rich(self) -> Table:
        """Table for the terminal."""
        return rich_table(self._title, self.header, self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows(), title=self._title)

    def __repr__(self) -> str:
        return f"AnsatzComparison({', '.join(f.ansatz for f in self.fits)})"

    _title: ClassVar = "Effective information against bag size"

    def to_table(self) -> pa.Table:
        """Return a table with a row for each ansatz; columns as in :meth:`BagSizeFit.to_table`."""
        import pyarrow as pa

        tables = [f.to_table() for f in self.fits]
        return pa.concat_tables(tables, promote_options="default")

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name, for JSON."""
        return {
            "fits": [f.to_dict() for f in self.fits],
            "allowed": [f.ansatz for f in self.allowed()],
            "left_out": dict(self.left_out),
        }


def compare_ansaetze(
    sizes: ArrayLike,
    info: ArrayLike,
    info_error: ArrayLike | None = None,
    *,
    ansaetze: Sequence[Ansatz] = ("sqrt", "constant", "power", "linear"),
    covariance: ArrayLike | None = None,
    bound: tuple[float, float] | None = None,
) -> AnsatzComparison:
    """Fit several ansätze to the same measurements, to see whether these can distinguish them.

    Parameters
    ----------
    sizes, info, info_error, covariance, bound
        See :func:`fit_bag_sizes`.
    ansaetze
        Ansätze to fit.

    Raises
    ------
    FitError
        If no ansatz can be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> sizes = np.array([1, 5, 25, 100, 400])
    >>> comparison = compare_ansaetze(sizes, 300 / (1 + 1.5 / np.sqrt(sizes)), np.full(5, 3.0))
    >>> [f.ansatz for f in comparison.fits], list(comparison.left_out)
    (['sqrt', 'power', 'constant'], ['linear'])
    >>> [f.ansatz for f in comparison.allowed()]
    ['sqrt', 'power']
    """
    fits: list[BagSizeFit] = []
    left_out: dict[str, str] = {}
    for ansatz in ansaetze:
        if ansatz == "linear" and bound is None:
            left_out[ansatz] = 'the same curves as "sqrt" unless the true information is given'
            continue
        try:
            fit = fit_bag_sizes(
                sizes, info, info_error, ansatz=ansatz, covariance=covariance, bound=bound
            )
        except FitError as error:
            left_out[ansatz] = str(error)
        else:
            fits.append(fit)
    if not fits:
        msg = f"no ansatz can be fitted: {left_out}"
        raise FitError(msg)
    return AnsatzComparison(tuple(sorted(fits, key=lambda f: f.aic)), left_out)


def _cell(value: float, error: FloatArray) -> str:
    low, high = error
    if np.isnan(low):
        return "—"
    if low == high == 0:
        return f"{value:.4g}"
    if abs(high - low) < 0.1 * (high + low):
        return f"{value:.4g} ± {(low + high) / 2:.2g}"
    return f"{value:.4g} −{low:.2g} +{high:.2g}"


class BagSizeTrend(NamedTuple):
    """A straight line fitted to ln I as a function of log₂ N_B, with the bag size N_B.

    :func:`bag_size_slope` makes it.

    Parameters
    ----------
    slope, slope_error
        Change of ln I if the bag size is doubled, and its error.  A slope of 0.02 means that the
        information grows by 2 %.
    level
        Information I at bags of one event, according to the straight line.
    chi2, ndf, p_value
        χ² of the fit, degrees of freedom, and p-value.  The p-value is NaN if there are no degrees
        of freedom.
    """

    slope: float
    slope_error: float
    level: float
    chi2: float
    ndf: int
    p_value: float

    def _repr_html_(self) -> str:
        facts = {
            "change of ln I with each doubling": measured(self.slope, self.slope_error),
            "I at bags of one event": measured(self.level),
            "χ²/ndf": f"{self.chi2:.1f}/{self.ndf}, p = {measured(self.p_value)}",
        }
        return html_facts("Information against bag size", facts)

    def to_table(self) -> pa.Table:
        """Return a table with one row, whose columns are the fields."""
        return tuples_table(BagSizeTrend, [self])

    @property
    def sigmas(self) -> float:
        """Slope divided by its error; negative if the information falls with the bag size."""
        return self.slope / self.slope_error


def bag_size_slope(
    sizes: ArrayLike,
    info: ArrayLike,
    info_error: ArrayLike | None = None,
    *,
    covariance: ArrayLike | None = None,
) -> BagSizeTrend:
    """Fit a straight line to ln I as a function of log₂ N_B.

    Parameters
    ----------
    sizes
        Bag sizes, shape (S,).
    info
        Information I at each bag size N_B, shape (S,).  It can be I_MLE, I_eff, or the ratio of one
        of these to a reference.
    info_error
        Standard errors of `info`, shape (S,), if the values are independent of each other.
    covariance
        Covariance matrix of `info`, shape (S, S), instead of `info_error`.

    Raises
    ------
    ConfigurationError
        If `info` is not positive, or errors are missing or wrong.
    FitError
        If there are fewer than two sizes.

    Examples
    --------
    >>> sizes = np.array([1, 4, 16, 64])
    >>> trend = bag_size_slope(sizes, 100 * 1.05 ** np.log2(sizes), np.full(4, 1.0))
    >>> round(float(np.exp(trend.slope)), 3), round(trend.level)
    (1.05, 100)
    """
    n, y, cholesky = log_points(sizes, info, info_error, covariance)
    if len(np.unique(n)) < 2:
        msg = f"a slope needs two bag sizes or more, not {n.tolist()}"
        raise FitError(msg)
    design = np.column_stack([np.ones(len(n)), np.log2(n)])
    whitened = solve_triangular(cholesky, np.column_stack([design, y]), lower=True)
    design, target = whitened[:, :2], whitened[:, 2]
    normal = np.linalg.inv(design.T @ design)
    intercept, slope = (float(v) for v in normal @ (design.T @ target))
    chi2 = float(np.sum((target - design @ np.array([intercept, slope])) ** 2))
    ndf = len(n) - 2
    return BagSizeTrend(
        slope=slope,
        slope_error=float(np.sqrt(normal[1, 1])),
        level=float(np.exp(intercept)),
        chi2=chi2,
        ndf=ndf,
        p_value=float(chi2_distribution.sf(chi2, ndf)) if ndf > 0 else float("nan"),
    )
