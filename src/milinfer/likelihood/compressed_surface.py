r"""Store Λ(θ) of a dataset without its events: Chebyshev series on boxes, with an error bound.

:math:`\Lambda(\theta) = \sum_i w_i \ln p_i(\theta)` is a sum over logarithms of positive
polynomials.  One Chebyshev series for the whole range converges slowly, because an event whose
density nearly vanishes makes a narrow dip.  The range is therefore halved in one parameter after
the other, until every polynomial is far from zero on every box.  "Far from zero" means the
following.  Let u be the distance from the centre of the box in half-widths of the box, and write a
polynomial as :math:`p = \sum_m c_m u^m`.  Then it must fulfil

.. math:: \sum_{m \ne 0} |c_m|\,R^{|m|} \le q\,c_0

with R = 2 and q = 0.9.  This condition implies :math:`|p/c_0 - 1| \le q` and :math:`|\ln p/c_0| \le
M = -\ln(1 - q)` for all complex :math:`|u_k| \le R`, and in particular on the Bernstein ellipses of
semi-axis R, whose parameter is :math:`\rho = R + \sqrt{R^2 - 1}`.

In one parameter the error of the interpolation of a logarithm in n + 1 Chebyshev points is at most
:math:`4 M\,\rho^{-n}/(\rho - 1)` (Trefethen, Approximation Theory and Approximation Practice,
theorem 8.2).  If several parameters are interpolated one after the other, the error is at most this
bound times :math:`\sum_k L^k`, where :math:`L = 1 + 2/\pi \ln(n + 1)` bounds the Lebesgue constant
(theorem 15.2).  The error of Λ is at most :math:`\sum_i |w_i|` times the error of one logarithm.
The degree n is the smallest degree for which this bound is below the requested error.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.published_parts import ArrayStore
from milinfer.typing import FloatArray

__all__ = ["CompressedSurface", "compressed_surface", "interpolation_bound"]

# R and q.  Up to these values, larger boxes need fewer numbers in total.
_RADIUS, _FAR = 2.0, 0.9
_MOST_PARAMETERS = 2
_MOST_BOXES = 5_000
_MOST_DEGREE = 40
# Largest number of elements of a temporary array.
_CHUNK = 1 << 21


def interpolation_bound(degree: int, n_parameters: int) -> float:
    """Return the upper bound of the interpolation error of the logarithm of one polynomial.

    The docstring of the module contains the formula.

    Examples
    --------
    >>> interpolation_bound(20, 1) < 2e-11
    True
    """
    rho = _RADIUS + np.sqrt(_RADIUS**2 - 1)
    of_one = -4 * np.log(1 - _FAR) * rho**-degree / (rho - 1)
    lebesgue = 1 + 2 / np.pi * np.log(degree + 1)
    return float(of_one * sum(lebesgue**k for k in range(n_parameters)))


@dataclass(frozen=True, eq=False)
class CompressedSurface:
    """Λ(θ) of a dataset as Chebyshev series on boxes.

    Parameters
    ----------
    low, high
        Lower and upper corners of the boxes, shape (n_boxes, n_parameters).
    coefficients
        Coefficients of the series, shape (n_boxes, degree + 1, …), with one index of length
        degree + 1 for each parameter.
    bound
        Upper bound of the error of Λ, without rounding errors.
    """

    low: FloatArray
    high: FloatArray
    coefficients: FloatArray
    bound: float

    def published(self, arrays: ArrayStore) -> dict[str, Any]:
        """Return Λ(θ) as JSON content of a published likelihood."""
        return {
            "kind": "pieces",
            "low": arrays.add("low", self.low),
            "high": arrays.add("high", self.high),
            "coefficients": arrays.add("coefficients", self.coefficients),
            "bound": self.bound,
        }


def compressed_surface(sums: LogPolynomials, error: float) -> CompressedSurface:
    """Replace a sum over events by Chebyshev series on boxes.

    Parameters
    ----------
    sums
        Λ of a dataset as a sum over its events.
    error
        Largest allowed error of Λ.

    Raises
    ------
    ConfigurationError
        If there are more than two parameters, or if `error` is so small that the degree or the
        number of boxes would become too large.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> data = quadratic.generate(50, {"c1": 0.0}, seed=1)
    >>> oracle = Oracle.from_sample(data, "c1", np.linspace(-1, 1, 9), degree=2)
    >>> surface = compressed_surface(oracle.log_polynomials(data), 1e-6)
    >>> surface.bound < 1e-6, surface.low.min(), surface.high.max()
    (True, np.float64(-1.0), np.float64(1.0))
    """
    n = sums.n_parameters
    if n > _MOST_PARAMETERS:
        msg = (
            f"a likelihood in {n} parameters cannot be published without events, because its "
            "surface would have too many pieces; publish with events=True, or a milinfer.constraint"
        )
        raise ConfigurationError(msg)
    weight = float(np.abs(sums.weights).sum())
    degree = 2
    while weight * interpolation_bound(degree, n) > error:
        degree += 1
        if degree > _MOST_DEGREE:
            least = 2 * weight * interpolation_bound(_MOST_DEGREE, n)
            msg = (
                f"no series approximates −2 ln L within {2 * error:g}; the smallest reachable "
                f"bound is {least:.1g}: allow this error, or publish with events=True"
            )
            raise ConfigurationError(msg)
    boxes = _boxes(sums)
    series = [_series(sums, _local_coefficients(sums, *box), degree) for box in boxes]
    lows, highs, coefficients = (np.stack(x) for x in (*zip(*boxes, strict=True), series))
    offset = float(sums.weights @ np.log(sums.at(sums.reference)))
    coefficients = np.ascontiguousarray(coefficients)  # so that the constants are a view of it
    coefficients.reshape(len(coefficients), -1)[:, 0] -= offset
    bound = weight * interpolation_bound(degree, n)
    return CompressedSurface(lows, highs, coefficients, bound)


def _boxes(sums: LogPolynomials) -> list[tuple[FloatArray, FloatArray]]:
    """Return boxes on which all polynomials are far from zero."""
    left, boxes = [(sums.low, sums.high)], []
    while left:
        low, high = left.pop()
        local = _local_coefficients(sums, low, high)
        if _all_far(sums, local):
            boxes.append((low, high))
        else:
            left += _halves(sums, local, low, high)
        if len(boxes) + len(left) > _MOST_BOXES:
            where = ", ".join(
                f"{name} = {x:.4g}"
                for name, x in zip(sums.basis.parameters, (low + high) / 2, strict=True)
            )
            msg = (
                f"the density of an event almost vanishes near {where}, so a surface without "
                f"events needs more than {_MOST_BOXES} pieces; publish with events=True"
            )
            raise ConfigurationError(msg)
    return boxes


def _local_coefficients(sums: LogPolynomials, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the coefficients in the distance from the centre of a box, in half-widths."""
    centre, half = (low + high) / 2, (high - low) / 2
    shift = sums.basis.shift((centre - sums.centre) / sums.half, half / sums.half)
    return np.asarray(sums.coefficients @ shift.T, dtype=np.float64)


def _all_far(sums: LogPolynomials, local: FloatArray) -> bool:
    """Return whether all polynomials are far from zero on a box."""
    reach = _RADIUS ** sums.basis.exponents[1:].sum(axis=1)
    rest = np.abs(local[:, 1:]) @ reach
    return bool(np.all(rest <= _FAR * local[:, 0]))


def _halves(
    sums: LogPolynomials, local: FloatArray, low: FloatArray, high: FloatArray
) -> list[tuple[FloatArray, FloatArray]]:
    """Return both halves of a box, divided in the parameter in which polynomials change most."""
    changes = np.abs(local[:, 1:]) / local[:, :1]
    worst = changes[int(np.argmax(changes.sum(axis=1)))]
    k = int(np.argmax(worst @ sums.basis.exponents[1:]))
    middle = (low[k] + high[k]) / 2
    left_high, right_low = high.copy(), low.copy()
    left_high[k] = right_low[k] = middle
    return [(low, left_high), (right_low, high)]


def _series(sums: LogPolynomials, local: FloatArray, degree: int) -> FloatArray:
    """Return the Chebyshev coefficients of the sum on a box, (degree + 1, …)."""
    n, nodes = sums.n_parameters, chebyshev.chebpts1(degree + 1)
    points = np.array(list(product(nodes, repeat=n)))
    monomials = sums.basis.design(points)
    values = np.zeros(len(points))
    step = max(1, _CHUNK // len(points))
    for start in range(0, len(local), step):
        rows = slice(start, start + step)
        values += sums.weights[rows] @ np.log(local[rows] @ monomials.T)
    matrix = np.linalg.inv(chebyshev.chebvander(nodes, degree))
    tensor = values.reshape((degree + 1,) * n)
    for axis in range(n):
        tensor = np.moveaxis(np.tensordot(matrix, tensor, axes=(1, axis)), 0, axis)
    return np.asarray(tensor, dtype=np.float64)
