"""Surfaces Λ(θ) in one parameter: values at K points, with an interpolation between them.

A multi-class network, a histogram or an exact likelihood ratio gives the log-likelihood ratio of
each event at K points θ_k, and sums over events give Λ(D|θ_k) of a dataset D.  An
:class:`Interpolation` turns these K numbers into a function of θ, and finds its maximum, for one
dataset (:class:`Surface`) or for thousands of pseudo-experiments at once.

If every class has an independent (free) logit, the values of Λ at neighbouring points are learned
independently, and Λ is rough.  Azakli and Stelzer ([AS], §C.4) determine estimate, interval and
information from a parabola through the points near the highest one.  They quote the mean squared
distance of Λ at these points from the parabola.  :func:`parabola_error` gives this distance for
−2Λ, which is four times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import brief
from milinfer.utils.polynomials import PiecewiseCubic, Series

__all__ = [
    "Bounds",
    "Extremum",
    "Interpolation",
    "Limits",
    "Surface",
    "blocks",
    "parabola_error",
    "restricted",
]


Kind = Literal["spline", "polynomial", "parabola", "points"]
# Number of points at which a surface with few grid points is searched for its maximum.
_FINE = 320
# Number of Newton steps, and the step in units of point distances after which all is rounding.
_CONVERGED = 1e-10


@dataclass(frozen=True)
class Interpolation:
    """Parameter points at which Λ(θ) is known, and the interpolation between them.

    Parameters
    ----------
    grid
        The K parameter values, in ascending order.
    kind
        ``"spline"``: cubic spline through all points.  ``"polynomial"``: Chebyshev polynomial of
        degree `degree`, fitted to all points by least squares, which smooths rough values of a
        classifier.  ``"parabola"``: parabola fitted by least squares to the points within `window`
        of the highest point (Azakli and Stelzer [AS], §C.4).  ``"points"``: no interpolation, Λ is
        known only at the points.
    degree
        Degree of the polynomial, for ``kind="polynomial"``.
    window
        Largest distance from the highest point, for ``kind="parabola"``, in units of the parameter.

    Raises
    ------
    ParameterError
        If `grid` is not ascending or has too few points.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.linspace(-1, 1, 21)
    >>> surface = Interpolation(grid, "spline").surface(-50 * (grid - 0.12) ** 2)
    >>> print(surface.extremum.theta_hat.round(6), surface.extremum.curvature.round(4))
    [0.12] [100.]
    """

    grid: FloatArray
    kind: Kind = "polynomial"
    degree: int = 6
    window: float = 0.4

    def __post_init__(self) -> None:
        grid = np.asarray(self.grid, dtype=np.float64)
        object.__setattr__(self, "grid", grid)
        needs = {"spline": 4, "polynomial": self.degree + 1, "parabola": 3, "points": 1}
        if self.kind not in needs:
            msg = f"interpolation {self.kind!r} is not one of {', '.join(map(repr, needs))}"
            raise ParameterError(msg)
        need = needs[self.kind]
        if grid.ndim != 1 or len(grid) < need or not np.all(np.diff(grid) > 0):
            msg = f"a {self.kind} needs at least {need} ascending parameter values, not {grid}"
            raise ParameterError(msg)

    @property
    def range(self) -> tuple[float, float]:
        """Parameter range in which the surface is valid."""
        return float(self.grid[0]), float(self.grid[-1])

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Range of the only parameter: a tuple that contains one pair ``(low, high)``."""
        return (self.range,)

    def surface(self, values: ArrayLike, exact: LogPolynomials | None = None) -> Surface:
        """Return a surface from Λ at the K points, shape (K,), or from `exact` if it is given."""
        return Surface(self, np.asarray(values, dtype=np.float64), exact)

    def exact_surface(self, exact: LogPolynomials) -> Surface:
        """Return the surface of a function that gives Λ at every θ."""
        return self.surface(exact.values_at(self.grid.reshape(-1, 1)), exact)

    def extrema(self, values: FloatArray, bounds: Bounds | None = None) -> Extremum:
        """Find the maxima of many surfaces Λ(θ) at once.

        Parameters
        ----------
        values
            Λ at the K points, shape (n_surfaces, K).
        bounds
            Physical bounds ``(low, high)`` of the parameter inside the range.  The maximum is
            searched between them.  An infinite bound means the end of the range.

        Raises
        ------
        ParameterError
            For ``kind="points"``, which has no maximum between the points, and for bounds outside
            the range.
        """
        low, high = restricted(self.limits, bounds)[0]
        share = (high - low) / (self.range[1] - self.range[0])
        # A few fine points between grid points separate one maximum from the next.
        n_points = len(self.grid)
        n_fine = min(16 * n_points, max(4 * n_points, _FINE)) * share
        fine = np.linspace(low, high, max(int(np.ceil(n_fine)), 16) + 1)
        # In blocks: the fine table of 100 000 surfaces would not fit into memory.
        parts = [self._maximise(v, fine) for v in blocks(np.asarray(values))]
        return Extremum(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _maximise(self, values: FloatArray, fine: FloatArray) -> Extremum:
        coefficients = self._coefficients(values)
        best = np.argmax(self._on_common(coefficients, fine), axis=1)
        theta = fine[best]
        # Newton's method from the highest fine point, kept between its neighbours.
        step = fine[1] - fine[0]
        low, high = np.maximum(theta - step, fine[0]), np.minimum(theta + step, fine[-1])
        for _ in range(8):
            slope = self._evaluate(coefficients, theta[:, None], 1)[:, 0]
            bend = self._evaluate(coefficients, theta[:, None], 2)[:, 0]
            safe = np.where(bend < 0, bend, -np.inf)
            before, theta = theta, np.clip(theta - slope / safe, low, high)
            if np.all(np.abs(theta - before) <= _CONVERGED * step):
                break
        curvature = -self._evaluate(coefficients, theta[:, None], 2)[:, 0]
        maximum = self._evaluate(coefficients, theta[:, None])[:, 0]
        return Extremum(theta, maximum, curvature, (best == 0) | (best == len(fine) - 1))

    def values_at(self, values: FloatArray, theta: ArrayLike, derivative: int = 0) -> FloatArray:
        """Return Λ of many surfaces, or a derivative of it, at common parameter values.

        Parameters
        ----------
        values
            Λ at the K points, shape (n_surfaces, K).
        theta
            Parameter values, shape (m,).
        derivative
            Order of the derivative: 0, 1 or 2.

        Returns
        -------
        ndarray
            Λ or its derivative, shape (n_surfaces, m).

        Examples
        --------
        >>> import numpy as np
        >>> grid = np.linspace(-1, 1, 21)
        >>> Interpolation(grid, "spline").values_at(grid[None] ** 2, [0.5], 1).round(12)
        array([[1.]])
        """
        points = np.atleast_1d(np.asarray(theta, np.float64))
        values = np.asarray(values)
        if self.kind == "parabola":  # which points it goes through, the values decide
            return self._on_common(self._coefficients(values), points, derivative)
        # Linear in Λ at the K points: one matrix product, without coefficients of each surface.
        unit = self._on_common(self._unit_coefficients, points, derivative)
        return np.asarray(values @ unit, dtype=np.float64)

    def evaluate(self, values: FloatArray, theta: FloatArray, derivative: int = 0) -> FloatArray:
        """Return Λ of each surface, or a derivative of it, at its own parameter values.

        Parameters
        ----------
        values
            Λ at the K points, shape (n_surfaces, K).
        theta
            Parameter values of each surface, shape (n_surfaces,) or (n_surfaces, m).
        derivative
            Order of the derivative: 0, 1 or 2.

        Returns
        -------
        ndarray
            Λ or its derivative, in the shape of `theta`.
        """
        theta = np.asarray(theta, dtype=np.float64)
        flat = theta[:, None] if theta.ndim == 1 else theta
        return self._evaluate(self._coefficients(values), flat, derivative).reshape(theta.shape)

    # The three kinds differ in their coefficients: (n, degree + 1) Chebyshev coefficients on the
    # scaled range, or (4, K − 1, n) of a piecewise cubic.

    def _unit_interval(self, theta: FloatArray) -> FloatArray:
        """Return the parameter values scaled to [−1, 1]."""
        low, high = self.range
        return (2 * theta - (low + high)) / (high - low)

    @cached_property
    def _chebyshev_fit(self) -> FloatArray:
        vander = chebyshev.chebvander(self._unit_interval(self.grid), self.degree)
        return np.asarray(np.linalg.pinv(vander).T, dtype=np.float64)

    @cached_property
    def _unit_coefficients(self) -> FloatArray:
        """Coefficients of surfaces that are one at a single point, because toys use many values."""
        return self._coefficients(np.eye(len(self.grid)))

    def _coefficients(self, values: FloatArray) -> FloatArray:
        if self.kind == "points":
            msg = (
                f"Λ is defined only at {self.grid} (two hypotheses); a curve in the parameter "
                "needs samples at more points, or head='polynomial'"
            )
            raise ParameterError(msg)
        if self.kind == "polynomial":
            return values @ self._chebyshev_fit
        if self.kind == "spline":
            from scipy.interpolate import CubicSpline

            coefficients: FloatArray = CubicSpline(self.grid, values, axis=1).c
            return coefficients
        out = np.empty((len(values), 3))
        best = np.argmax(values, axis=1)
        for centre in np.unique(best):
            near = np.abs(self.grid - self.grid[centre]) <= self.window * (1 + 1e-9)
            if near.sum() < 3:
                msg = (
                    f"only {near.sum()} points are within {self.window} of {self.grid[centre]:g}, "
                    "but a parabola needs three; widen the window or train at more points"
                )
                raise ParameterError(msg)
            rows = best == centre
            vander = chebyshev.chebvander(self._unit_interval(self.grid[near]), 2)
            out[rows] = values[rows][:, near] @ np.linalg.pinv(vander).T
        return out

    def _on_common(
        self, coefficients: FloatArray, theta: FloatArray, derivative: int = 0
    ) -> FloatArray:
        """Return surfaces at common points (m,), as one matrix product."""
        if self.kind == "spline":
            cell, offset = self._cells(theta)
            return _cubic(coefficients[:, cell], offset[:, None], derivative).T
        coefficients = self._derivative_coefficients(coefficients, derivative)
        basis = chebyshev.chebvander(self._unit_interval(theta), coefficients.shape[1] - 1)
        return np.asarray(coefficients @ basis.T, dtype=np.float64)

    def _evaluate(
        self, coefficients: FloatArray, theta: FloatArray, derivative: int = 0
    ) -> FloatArray:
        """Return surfaces, each at its own points (n, m)."""
        if self.kind == "spline":
            cell, offset = self._cells(theta)
            return _cubic(coefficients[:, cell, np.arange(len(theta))[:, None]], offset, derivative)
        coefficients = self._derivative_coefficients(coefficients, derivative)
        basis = chebyshev.chebvander(self._unit_interval(theta), coefficients.shape[1] - 1)
        total: FloatArray = np.einsum("nj,nmj->nm", coefficients, basis)
        return total

    def _cells(self, theta: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the intervals of the grid, and the distances from their left ends."""
        cell = np.clip(np.searchsorted(self.grid, theta) - 1, 0, len(self.grid) - 2)
        return cell, theta - self.grid[cell]

    def _derivative_coefficients(self, coefficients: FloatArray, derivative: int) -> FloatArray:
        """Return the Chebyshev coefficients of a derivative with respect to θ."""
        if not derivative:
            return coefficients
        low, high = self.range
        slopes = chebyshev.chebder(coefficients, derivative, axis=1)
        return np.asarray(slopes * (2 / (high - low)) ** derivative, dtype=np.float64)


def _cubic(coefficients: FloatArray, offset: FloatArray, derivative: int) -> FloatArray:
    """Return a piecewise cubic, or a derivative of it, at distances from the left ends."""
    c3, c2, c1, c0 = coefficients
    value: FloatArray
    if derivative == 0:
        value = ((c3 * offset + c2) * offset + c1) * offset + c0
    elif derivative == 1:
        value = (3 * c3 * offset + 2 * c2) * offset + c1
    else:
        value = 6 * c3 * offset + 2 * c2
    return value


@dataclass(frozen=True, eq=False)
class Surface:
    """Log-likelihood ratio Λ(θ) of one dataset in one parameter, with derivatives.

    Parameters
    ----------
    interpolation
        Parameter points, and the interpolation between them.
    values
        Λ at the points, shape (K,).
    exact
        Function that gives Λ at every θ.  If there is one, it is used instead of `values`.
    """

    interpolation: Interpolation
    values: FloatArray
    exact: LogPolynomials | None = None

    def __repr__(self) -> str:
        return brief(self)

    @property
    def range(self) -> tuple[float, float]:
        """Parameter range in which the surface is valid."""
        return self.interpolation.range

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Range of the only parameter: a tuple that contains one pair ``(low, high)``."""
        return (self.range,)

    def value(self, theta: FloatArray) -> float:
        """Return Λ at one point, shape (1,).

        Raises
        ------
        ParameterError
            If the point is outside the range.
        """
        return self._within(theta).value(theta)

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return dΛ/dθ at one point, shape (1,).

        Raises
        ------
        ParameterError
            If the point is outside the range.
        """
        return self._within(theta).gradient(theta)

    @property
    def function(self) -> Series | PiecewiseCubic | LogPolynomials:
        """Function that computes Λ at one point inside the range."""
        return self._series

    @cached_property
    def _local(self) -> FloatArray:
        return self.interpolation._coefficients(self.values[None])

    def _within(self, theta: FloatArray) -> Series | PiecewiseCubic | LogPolynomials:
        """Return the function to evaluate at one point, which must be inside the range."""
        low, high = self._ends
        if not low <= theta[0] <= high:
            self._require_inside(theta)
        return self._series

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return self.range

    @cached_property
    def _series(self) -> Series | PiecewiseCubic | LogPolynomials:
        if self.exact is not None:
            return self.exact
        if self.interpolation.kind == "spline":
            return PiecewiseCubic(self.interpolation.grid, self._local[:, :, 0])
        low, high = self.range
        return Series(self._local[0], np.array([low]), np.array([high]))

    def _require_inside(self, theta: FloatArray) -> None:
        low, high = self.range
        if not np.all((theta >= low) & (theta <= high)):
            msg = (
                f"θ = {theta} is outside [{low:g}, {high:g}], the range of this surface; stay "
                "inside it"
            )
            raise ParameterError(msg)

    def __call__(self, theta: ArrayLike, derivative: int = 0) -> FloatArray:
        """Return Λ or a derivative at `theta` (any shape).

        Raises
        ------
        ParameterError
            If a value is outside the range.
        """
        theta = np.asarray(theta, dtype=np.float64)
        self._require_inside(theta)
        if self.exact is None:
            flat = self.interpolation._evaluate(self._local, theta.reshape(1, -1), derivative)
        else:
            flat = self.exact.derivatives_at(theta.reshape(-1, 1), derivative)
        return flat.reshape(theta.shape)

    @cached_property
    def extremum(self) -> Extremum:
        """Maximum of the surface; the arrays have the length one."""
        extremum = self.interpolation.extrema(self.values[None])
        if self.exact is None:
            return extremum
        theta = self.exact.maximum_near(extremum.theta_hat)
        maximum, curvature = self.exact.value(theta), -self.exact.hessian(theta)[0]
        return Extremum(theta, np.array([maximum]), curvature, np.isin(theta, self.range))


Limits: TypeAlias = tuple[tuple[float, float], ...]
Bounds: TypeAlias = tuple[float, float] | Sequence[tuple[float, float]]

# Number of surfaces whose maxima are searched at once.
_BLOCK = 10_000


class Extremum(NamedTuple):
    """Maxima of many surfaces; every array has shape (n_surfaces,) for one parameter.

    Parameters
    ----------
    theta_hat
        Position of the maximum.
    maximum
        Λ at the maximum.
    curvature
        −d²Λ/dθ² at the maximum.
    at_edge
        Whether the maximum is at an end of the range, so that the true maximum may be beyond it.
    """

    theta_hat: FloatArray
    maximum: FloatArray
    curvature: FloatArray
    at_edge: np.ndarray[tuple[int], np.dtype[np.bool_]]


def restricted(limits: Limits, bounds: Bounds | None) -> Limits:
    """Return the limits of each parameter of a surface Λ(θ), restricted to physical bounds.

    Parameters
    ----------
    limits
        Range of each parameter.
    bounds
        ``(low, high)`` of the only parameter, or of each parameter.  An infinite bound means the
        end of the range; None means no bounds.

    Raises
    ------
    ParameterError
        If the number of bounds is wrong, or bounds are empty or outside the range.

    Examples
    --------
    >>> restricted(((-1.0, 1.0),), (0.0, np.inf))
    ((0.0, 1.0),)
    """
    if bounds is None:
        return limits
    ends = np.asarray(bounds, dtype=np.float64)
    if ends.size != 2 * len(limits):
        msg = f"bounds = {bounds} are not (low, high) of each of {len(limits)} parameter(s)"
        raise ParameterError(msg)
    out = []
    for (low, high), (start, stop) in zip(ends.reshape(-1, 2).tolist(), limits, strict=True):
        first = start if low == -np.inf else low
        last = stop if high == np.inf else high
        if not start <= first < last <= stop:
            msg = (
                f"bounds ({low:g}, {high:g}) are not inside [{start:g}, {stop:g}], the range of "
                "the surface; use an infinite value for an open end"
            )
            raise ParameterError(msg)
        out.append((first, last))
    return tuple(out)


def blocks(values: FloatArray) -> list[FloatArray]:
    """Split surfaces, shape (n, K), into blocks whose maxima are searched together."""
    return [values[i : i + _BLOCK] for i in range(0, max(len(values), 1), _BLOCK)]


def parabola_error(interpolation: Interpolation, values: FloatArray) -> FloatArray:
    """Return the mean squared distance of −2Λ from a parabola, shape (n_surfaces,).

    The parabola is a least-squares fit to the points within ``window`` of the highest point, as for
    ``kind="parabola"``.  The mean is taken over these points.  A quarter of the result is the mean
    squared distance of Λ, which Azakli and Stelzer ([AS]) quote in their tables 2 and 3.

    Parameters
    ----------
    interpolation
        Interpolation of the kind ``"parabola"``.
    values
        Λ at the K points, shape (n_surfaces, K).

    Raises
    ------
    ParameterError
        If the interpolation is of another kind.

    Examples
    --------
    >>> grid = np.linspace(-1, 1, 21)
    >>> fit = Interpolation(grid, "parabola", window=0.4)
    >>> rough = np.where(np.arange(21) % 2, 0.5, -0.5)
    >>> exact = -50 * (grid - 0.1) ** 2
    >>> parabola_error(fit, np.stack([exact, exact + 0.1 * rough])).round(4)
    array([0.    , 0.0092])
    """
    if interpolation.kind != "parabola":
        msg = f"a surface of kind {interpolation.kind!r} has no parabola; use kind='parabola'"
        raise ParameterError(msg)
    grid = interpolation.grid
    points = np.asarray(values, dtype=np.float64)
    parabola = interpolation.values_at(points, grid)
    highest = grid[np.argmax(points, axis=1)]
    near = np.abs(grid - highest[:, None]) <= interpolation.window * (1 + 1e-9)
    square = 4 * (points - parabola) ** 2
    mean: FloatArray = np.sum(square, axis=1, where=near) / near.sum(axis=1)
    return mean
