"""Fit results in the form that cabinetry draws, of any likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from iminuit import Minuit

from milinfer.exceptions import FitError
from milinfer.typing import FloatArray
from milinfer.utils.display import html_table, measured
from milinfer.utils.tables import arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FitResults", "fit_results"]


class FitResults(NamedTuple):
    """Result of a fit, with the fields of ``cabinetry.fit.FitResults`` (0.6).

    ``cabinetry.visualize.pulls`` and ``correlation_matrix`` take it as it is, so that a likelihood
    made elsewhere, unbinned or not, has cabinetry's figures.

    Parameters
    ----------
    bestfit, uncertainty
        Shape (n_parameters,); the uncertainty of a fixed parameter is 0.
    labels
        Names.
    corr_mat
        Shape (n_parameters, n_parameters); rows and columns of fixed parameters are 0.
    best_twice_nll
        Cost at the minimum.
    goodness_of_fit
        p-value; −1 where there is none.
    minos_uncertainty
        Name → (lower, upper), the lower one negative, of the parameters with MINOS errors.
    """

    bestfit: FloatArray
    uncertainty: FloatArray
    labels: list[str]
    corr_mat: FloatArray
    best_twice_nll: float
    goodness_of_fit: float = -1.0
    minos_uncertainty: Mapping[str, tuple[float, float]] = {}

    def _repr_html_(self) -> str:
        rows = [
            [name, measured(float(value), float(error)), self._minos(name)]
            for name, value, error in zip(self.labels, self.bestfit, self.uncertainty, strict=True)
        ]
        title = f"−2 ln L = {self.best_twice_nll:.4f} at the minimum"
        return html_table(("parameter", "value", "MINOS"), rows, title=title)

    def _minos(self, name: str) -> str:
        if name not in self.minos_uncertainty:
            return ""
        down, up = self.minos_uncertainty[name]
        return f"{down:+.3g} {up:+.3g}"

    def to_table(self) -> pa.Table:
        """One row for each parameter.

        Columns: ``parameter``, ``value``, ``error``, ``minos_down`` (negative) and ``minos_up``.
        """
        types = {"parameter": str, "value": float, "error": float}
        rows = []
        for name, value, error in zip(self.labels, self.bestfit, self.uncertainty, strict=True):
            down, up = self.minos_uncertainty.get(name, (None, None))
            row = {"parameter": name, "value": value, "error": error}
            rows.append(row | {"minos_down": down, "minos_up": up})
        return arrow_table({**types, "minos_down": float, "minos_up": float}, rows)


def fit_results(m: Minuit) -> FitResults:
    """Collect the result of a fit.

    Parameters
    ----------
    m
        After ``migrad`` and ``hesse``; ``minos`` if wanted.

    Raises
    ------
    FitError
        If the fit is not valid or has no covariance, or a MINOS error is not valid.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> results = fit_results(Minuit(NormalConstraint("mu", 1.0, 0.5), mu=0.0).migrad().hesse())
    >>> results.labels, results.bestfit.round(3).tolist(), results.uncertainty.round(3).tolist()
    (['mu'], [1.0], [0.5])
    """
    if not m.valid or m.covariance is None:
        msg = (
            "the fit has no valid minimum with a covariance; call migrad() and hesse(), and look "
            f"at starting values and limits: {m.fmin}"
        )
        raise FitError(msg)
    labels = list(m.parameters)
    free = ~np.array([m.fixed[name] for name in labels])
    covariance = np.asarray(m.covariance)
    sigma = np.sqrt(np.diag(covariance))
    scale = np.where(sigma > 0, sigma, 1.0)
    corr = np.where(np.outer(free, free), covariance / np.outer(scale, scale), 0.0)
    minos = {}
    for name, error in m.merrors.items():
        if not error.is_valid:
            msg = f"the MINOS error of {name} is not valid; look at its limits and at m.merrors"
            raise FitError(msg)
        minos[name] = (float(error.lower), float(error.upper))
    return FitResults(
        np.array([m.values[name] for name in labels], dtype=np.float64),
        # Of parameters with limits these are not the roots of the covariance; cabinetry's too.
        np.where(free, np.array([m.errors[name] for name in labels]), 0.0),
        labels,
        corr,
        float(m.fval),
        minos_uncertainty=minos,
    )
