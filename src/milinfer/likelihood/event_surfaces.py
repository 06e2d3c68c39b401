"""Λ_i(θ) of every event of a dataset at once: rows compressed to coefficients when made.

A sum over events needs only the sum of their rows.  A likelihood with a background needs each
event by itself at every call, so that what a call costs is one product with a small vector.
"""

from __future__ import annotations

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.typing import FloatArray
from milinfer.utils.series import chebyshev_terms

__all__ = ["EventPolynomials", "EventSurfaces", "require_linear"]


def require_linear(interpolation: Interpolation | ChebyshevBox, name: str) -> None:
    """Refuse continuations that are not linear in the values at the points.

    Parameters
    ----------
    interpolation
        Points and continuation.
    name
        Of the model, for the message.

    Raises
    ------
    ParameterError
        For ``"parabola"``, which is drawn about the maximum of a whole dataset and says nothing
        of one event, and ``"points"``, which knows nothing between the points.

    Examples
    --------
    >>> require_linear(Interpolation(np.linspace(-1, 1, 5), "parabola"), "histogram")
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: histogram continues Λ by 'parabola', which is not defined
    for single events; use a model with interpolation_kind='polynomial' or 'spline'
    """
    if isinstance(interpolation, Interpolation) and interpolation.kind in ("parabola", "points"):
        msg = (
            f"{name} continues Λ by {interpolation.kind!r}, which is not defined for single "
            "events; use a model with interpolation_kind='polynomial' or 'spline'"
        )
        raise ParameterError(msg)


class EventSurfaces:
    """Log-likelihood ratios of many events as functions of θ.

    Parameters
    ----------
    interpolation
        Points and continuation, linear in the values.
    values
        Λ_i at the points, shape (n_events, K).

    Raises
    ------
    ParameterError
        If the continuation is not defined for single events.

    Examples
    --------
    >>> grid = np.linspace(-1, 1, 9)
    >>> events = EventSurfaces(Interpolation(grid, "spline"), grid * np.array([[1.0], [2.0]]))
    >>> events.value(np.array([0.3])).round(12)
    array([0.3, 0.6])
    >>> events.gradient(np.array([0.3])).round(12)
    array([[1., 2.]])
    """

    def __init__(self, interpolation: Interpolation | ChebyshevBox, values: FloatArray) -> None:
        require_linear(interpolation, "the model")
        self.interpolation = interpolation
        values = np.asarray(values, dtype=np.float64)
        self._cells: FloatArray | None = None
        if isinstance(interpolation, ChebyshevBox):
            by_event = interpolation.coefficients(values).reshape(len(values), -1)
            self._low, self._high = interpolation.low, interpolation.high
            self._degree = interpolation.degree
        else:
            self._low, self._high = (np.array([end]) for end in interpolation.range)
            if interpolation.kind == "spline":
                by_event = self._b_spline(interpolation.grid, values)
            else:
                self._degree = interpolation.degree
                by_event = interpolation._coefficients(values)
        # One row for each coefficient: a call adds a few long rows.
        self._coefficients = np.ascontiguousarray(by_event.T)

    def _b_spline(self, grid: FloatArray, values: FloatArray) -> FloatArray:
        """Coefficients of B-splines, of which four are not zero at any θ, (n_events, K)."""
        from scipy.interpolate import BSpline, make_interp_spline

        # The same cubic as CubicSpline, whose ends are not knots either.
        spline = make_interp_spline(grid, values.T, k=3)
        unit = BSpline(spline.t, np.eye(len(grid)), 3)
        self._knots = spline.t[3 : len(grid)]
        # Taylor coefficients at the left of each cell, highest power first.
        taylor = [unit(self._knots, m) / factor for m, factor in ((3, 6), (2, 2), (1, 1), (0, 1))]
        self._cells = np.stack(
            [[part[j, j : j + 4] for part in taylor] for j in range(len(self._knots))]
        )
        coefficients: FloatArray = spline.c.T
        return coefficients

    def value(self, theta: FloatArray) -> FloatArray:
        """Λ_i at one point (n_parameters,), shape (n_events,)."""
        rows, basis = self._basis(theta, (0,) * len(self._low))
        return np.asarray(basis @ self._coefficients[rows], dtype=np.float64)

    def gradient(self, theta: FloatArray) -> FloatArray:
        """dΛ_i/dθ at one point (n_parameters,), shape (n_parameters, n_events)."""
        n = len(self._low)
        found = [self._basis(theta, tuple(int(j == k) for j in range(n))) for k in range(n)]
        basis = np.stack([b for _, b in found])
        return np.asarray(basis @ self._coefficients[found[0][0]], dtype=np.float64)

    def _basis(self, theta: FloatArray, orders: tuple[int, ...]) -> tuple[slice, FloatArray]:
        """Coefficients in use, and their factors."""
        if self._cells is not None:
            cell = int(np.searchsorted(self._knots, theta[0], side="right")) - 1
            offset = float(theta[0] - self._knots[cell])
            c3, c2, c1, c0 = self._cells[cell]
            if orders[0]:
                return slice(cell, cell + 4), (3 * c3 * offset + 2 * c2) * offset + c1
            return slice(cell, cell + 4), ((c3 * offset + c2) * offset + c1) * offset + c0
        basis = np.ones(1)
        for t, low, high, order in zip(theta, self._low, self._high, orders, strict=True):
            scaled = float((2 * t - low - high) / (high - low))
            along = np.array(chebyshev_terms(scaled, self._degree + 1)[order])
            if order:
                along = along * (2 / (high - low))
            basis = (basis[:, None] * along).ravel()
        return slice(None), basis


class EventPolynomials:
    """Log-ratios of events that are logarithms of polynomials, without an interpolation.

    Parameters
    ----------
    interpolation
        Its limits are those of the parameters.
    sums
        Λ of the dataset: rows of each event and of the common denominator, member by member.
    n_events
        Events of the dataset.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> data = quadratic.generate(4, {"c1": 0.0}, seed=1)
    >>> oracle = Oracle.from_sample(data, "c1", np.linspace(-1, 1, 9), degree=2)
    >>> events = EventPolynomials(oracle.interpolation, oracle.log_polynomials(data), 4)
    >>> np.allclose(events.value(np.array([0.5])), oracle.event_llr(data)[:, 6])
    True
    """

    def __init__(
        self, interpolation: Interpolation | ChebyshevBox, sums: LogPolynomials, n_events: int
    ) -> None:
        self.interpolation = interpolation
        self._sums, self._shape = sums, (-1, n_events + 1)
        self._at_reference = self._ratios(np.log(sums.at(sums.reference)))

    def _ratios(self, rows: FloatArray) -> FloatArray:
        """Of events to the denominator, averaged over the members, shape (n_events,)."""
        members = rows.reshape(self._shape)
        mean: FloatArray = np.mean(members[:, :-1] - members[:, -1:], axis=0)
        return mean

    def value(self, theta: FloatArray) -> FloatArray:
        """Λ_i at one point (n_parameters,), shape (n_events,)."""
        return self._ratios(np.log(self._sums.at(theta))) - self._at_reference

    def gradient(self, theta: FloatArray) -> FloatArray:
        """dΛ_i/dθ at one point (n_parameters,), shape (n_parameters, n_events)."""
        relative = self._sums.slopes_at(theta) / self._sums.at(theta)[:, None]
        return np.stack([self._ratios(column) for column in relative.T])
