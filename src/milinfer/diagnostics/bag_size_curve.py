r"""How the effective information depends on the bag size ([AS], eq. 15), and a fit of that.

.. math:: I_\text{eff}(N_B) = \frac{I_\text{true}}{1 + g(N_B)},\qquad
          g(N_B) = \frac{\sigma^2_\epsilon(N_B)}{N_B\,I_1\,\Delta\theta^2}

The error variance σ²_ε of a bag's log-likelihood ratio is known by an ansatz only.  Its size C and
the information of one event enter as the product :math:`k = C/(I_1 \Delta\theta^2)` alone, so k is
what a fit gives; :math:`C = k\,\Delta\theta^2 I_\text{true}/N` for datasets of N events.

=========== ======================================= =============================== =============
ansatz      :math:`\sigma^2_\epsilon`               g                               parameters
=========== ======================================= =============================== =============
"sqrt"      C √N_B (eq. 15, fig. 2)                 k/√N_B                          k
"constant"  C                                       k/N_B                           k
"power"     C N_B^a, a < 1                          k N_B^(a − 1)                   k, exponent
"linear"    C √N_B + C₂ N_B (§C.6)                  k/√N_B + k₂                     k, k_linear
=========== ======================================= =============================== =============

The curves of "linear" are those of "sqrt" with I_true/(1 + k₂) for I_true and k/(1 + k₂) for k:
not alike but the same, so that no scan of bag sizes, however precise, can tell them apart.  What a
scan alone gives is the information at infinite bags; that this is the true one is an assumption,
unless the true one is known from elsewhere (`bound`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.typing import FloatArray
from milinfer.utils.display import html_facts, measured
from milinfer.utils.tables import arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Ansatz", "BagSizeFit"]

Ansatz = Literal["sqrt", "constant", "linear", "power"]


class _Form(NamedTuple):
    """g(N_B) and its derivatives by the parameters after I_true."""

    parameters: tuple[str, ...]
    excess: Callable[[FloatArray, FloatArray], FloatArray]
    derivatives: Callable[[FloatArray, FloatArray], list[FloatArray]]
    starts: tuple[float, ...] = ()  # of the exponent


def _power(n: FloatArray, p: FloatArray) -> list[FloatArray]:
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
# Beyond, the exponent is a straight line in N_B and k/I_true is all that a fit can see.
EXPONENTS = (-3.0, 0.98)


class BagSizeFit(NamedTuple):
    """Fit of one ansatz to effective informations at several bag sizes.

    Made by :func:`milinfer.diagnostics.bag_size.fit_bag_sizes`.

    Parameters
    ----------
    ansatz
        See :mod:`milinfer.diagnostics.bag_size_curve`.
    parameters
        Names: ``info_true``, ``k``, and what else the ansatz has.
    values
        Shape (P,).
    errors
        Downward and upward error of each, shape (P, 2), both positive: from MINOS where it is
        valid, else from HESSE.  An error that meets a physical limit ends there.
    covariance
        From HESSE, shape (P, P); zero for parameters at a limit.
    minos
        Whether MINOS was valid, for each parameter.
    at_limit
        Parameters at the limit 0.
    chi2, ndf, p_value
        Of the fit; p is NaN where there are no degrees of freedom.
    growth
        √(χ²(k = 0) − χ²): by how many standard deviations the information grows with the bag.

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
        """Whether k is at its limit 0: the information does not grow over the sizes of the scan.

        The result is then the weighted mean of the points, and extrapolates nothing.
        """
        return "k" in self.at_limit

    @property
    def info_true(self) -> float:
        """Information of a perfect estimator, if the ansatz holds."""
        return float(self.values[0])

    @property
    def info_true_error(self) -> float:
        """Mean of the downward and the upward error of :attr:`info_true`."""
        return float(self.errors[0].mean())

    @property
    def asymptote(self) -> float:
        """Information at infinite bags; below :attr:`info_true` for ``"linear"`` alone."""
        return float(self.info(np.inf))

    @property
    def asymptote_error(self) -> float:
        """Standard error of :attr:`asymptote`."""
        return float(self.info_error(np.inf))

    @property
    def aic(self) -> float:
        """Akaike's criterion, χ² + 2P."""
        return self.chi2 + 2 * len(self.parameters)

    def info(self, size: ArrayLike) -> FloatArray:
        """Effective information at any bag size, of the shape of `size`."""
        return np.asarray(np.exp(log_info(self.ansatz, np.asarray(size, float), self.values)))

    def info_error(self, size: ArrayLike) -> FloatArray:
        """Standard error of :meth:`info` from the covariance, of the shape of `size`."""
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
        """One row.

        Columns: ``ansatz``; of each parameter its value, and ``_error_down`` and ``_error_up``;
        ``asymptote``, ``asymptote_error``, ``plateau``, ``growth``, ``chi2``, ``ndf``, ``p_value``
        and ``aic``.
        """
        row: dict[str, Any] = {"ansatz": self.ansatz}
        for name, value, (down, up) in zip(self.parameters, self.values, self.errors, strict=True):
            row |= {name: value, f"{name}_error_down": down, f"{name}_error_up": up}
        types = {"ansatz": str, **dict.fromkeys(list(row)[1:], float)}
        own = ("asymptote", "asymptote_error", "plateau", "growth", "chi2", "ndf", "p_value", "aic")
        types |= {n: {"plateau": bool, "ndf": int}.get(n, float) for n in own}
        return arrow_table(types, [row | {n: getattr(self, n) for n in own}])

    def to_dict(self) -> dict[str, Any]:
        """Figures by name, for JSON."""
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
