r"""Heads: how the outputs of a network determine the log-ratio as a function of θ.

* :class:`LinearHead`: log-ratios at the K training points, which are the outputs times a fixed
  matrix.  If the matrix is the identity, each point has its own logit (multi-class network of
  Azakli and Stelzer [AS], §B.2.4).  If the matrix contains the values of polynomials in θ, Λ(θ) is
  smooth.
* :class:`PolynomialHead`: the ratio of squared amplitudes itself,

  .. math:: r(x|\theta) = \Big[\big(1 + \sum_k \theta^k a_k(x)\big)^2
            + \sum_m \big(\sum_k \theta^k b_{mk}(x)\big)^2\Big] / Z(\theta),

  which is always positive.  The outputs of the network are :math:`a_k(x)` and :math:`b_{mk}(x)`,
  :math:`\theta^k` are the monomials of the amplitude (order 1 or 2, including cross terms), and Z
  is the polynomial that makes :math:`E_{\theta_0}[r] = 1` (Chen, Glioti, Panico, Wulzer,
  arXiv:2007.10356, for amplitudes of order 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["SMALLEST_RATIO", "LinearHead", "PolynomialHead"]

Outputs: TypeAlias = FloatArray | Float32Array

# Added to every ratio, because amplitudes can cancel; float32 does not resolve smaller ratios.
SMALLEST_RATIO = 1e-7


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Compute log-ratios as sums of fixed functions of θ times the outputs of a network.

    Parameters
    ----------
    functions
        Values of the functions at K points in θ, shape (n_functions, K).

    Examples
    --------
    >>> import numpy as np
    >>> LinearHead(np.eye(3)).log_ratio(np.array([[1.0, 2.0, 3.0]]))
    array([[1., 2., 3.]])
    """

    functions: FloatArray

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""
        return len(self.functions)

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.functions.shape[1])

    def log_ratio(self, outputs: Outputs) -> FloatArray:
        """Return log-ratios, shape (n, K), of outputs of shape (n, n_functions), in float64."""
        ratio: FloatArray = np.asarray(outputs, dtype=np.float64) @ self.functions
        return ratio

    def tensor(self, outputs: Any) -> Any:
        """Return the log-ratios of output tensors with any leading shape."""
        from milinfer.learning.networks.backend import keras

        ops = keras.ops
        return ops.matmul(outputs, self.functions.astype(np.float32))


@dataclass(frozen=True, eq=False)
class PolynomialHead:
    """Compute a ratio of squared amplitudes that are polynomials in θ.

    The formula is in :mod:`milinfer.learning.networks.heads`.

    Parameters
    ----------
    parameters
        Names of the parameters.
    order
        Order of the amplitude in the parameters: 1 for one operator insertion, 2 for two.
    reference
        Reference point θ0, shape (n_parameters,).
    scale
        Unit of each parameter, shape (n_parameters,): the monomials are products of (θ − θ0)/scale.
    n_squares
        Number of squares m in addition to the first (``squares=``).  With one parameter, one square
        is enough for any positive polynomial; several parameters need as many squares as there are
        monomials.

    Examples
    --------
    >>> import numpy as np
    >>> head = PolynomialHead(("c",), 1, np.zeros(1), np.ones(1), 1)
    >>> theta, z = np.array([[0.0], [1.0]]), np.array([1.0, 0.0, 0.0])
    >>> head.log_ratio(np.array([[0.5, 0.0]]), theta, z).round(4)
    array([[0.    , 0.8109]])
    """

    parameters: tuple[str, ...]
    order: int
    reference: FloatArray
    scale: FloatArray
    n_squares: int

    @cached_property
    def _monomials(self) -> PolynomialBasis:
        return PolynomialBasis(self.parameters, self.order)

    @cached_property
    def basis(self) -> PolynomialBasis:
        """Monomials of the squared amplitude, in (θ − θ0)/scale."""
        return PolynomialBasis(self.parameters, 2 * self.order)

    @property
    def n_monomials(self) -> int:
        """Number of monomials of the amplitude without the constant."""
        return len(self._monomials) - 1

    @property
    def amplitude_exponents(self) -> IntArray:
        """Exponents of the monomials of the amplitude, shape (n_monomials, n_parameters)."""
        return self._monomials.exponents[1:]

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network: a_k, then b_mk for each m."""
        return (1 + self.n_squares) * self.n_monomials

    def _scaled_theta(self, theta: FloatArray) -> FloatArray:
        return (np.asarray(theta, dtype=np.float64) - self.reference) / self.scale

    def design(self, theta: FloatArray) -> FloatArray:
        """Return the J monomials of the amplitude without the constant, shape (K, J)."""
        return self._monomials.design(self._scaled_theta(theta))[:, 1:]

    def normaliser(self, theta: FloatArray, z: FloatArray) -> FloatArray:
        """Return ln Z at K points `theta`, shape (K,), from the coefficients `z` of Z."""
        log_z: FloatArray = np.log(self.basis.design(self._scaled_theta(theta)) @ z)
        return log_z

    def log_ratio(self, outputs: Outputs, theta: FloatArray, z: FloatArray) -> FloatArray:
        """Return ln r of events at parameter points.

        Parameters
        ----------
        outputs
            Outputs of the network, shape (n_events, n_outputs).
        theta
            Parameter points, shape (K, n_parameters).
        z
            Coefficients of Z(θ) in ``basis``.

        Returns
        -------
        ndarray
            Values of ln r, shape (n_events, K), float64.
        """
        return self._unnormalised(outputs, theta) - self.normaliser(theta, z)

    def _unnormalised(self, outputs: Outputs, theta: FloatArray) -> FloatArray:
        design = self.design(theta)
        amplitudes = np.asarray(outputs, dtype=np.float64).reshape(
            len(outputs), 1 + self.n_squares, self.n_monomials
        )
        total = np.square(1 + amplitudes[:, 0] @ design.T)
        for m in range(1, 1 + self.n_squares):
            total += np.square(amplitudes[:, m] @ design.T)
        logarithm: FloatArray = np.log(total + SMALLEST_RATIO)
        return logarithm

    def ratios(self, outputs: Outputs, theta: FloatArray) -> FloatArray:
        """Return the ratios before they are divided by Z(θ), shape (n_events, K)."""
        ratio: FloatArray = np.exp(self._unnormalised(outputs, theta))
        return ratio

    def coefficients(self, outputs: Outputs) -> FloatArray:
        """Return the coefficients of Z·r in ``basis``, shape (n_events, n_coefficients)."""
        amplitudes = np.asarray(outputs, dtype=np.float64).reshape(
            len(outputs), 1 + self.n_squares, self.n_monomials
        )
        constants = np.zeros((len(outputs), 1 + self.n_squares, 1))
        constants[:, 0] = 1
        full = np.concatenate([constants, amplitudes], axis=2)
        exponents = self._monomials.exponents
        positions = {tuple(e): i for i, e in enumerate(self.basis.exponents.tolist())}
        out = np.zeros((len(outputs), len(self.basis)))
        for j, k in product(range(len(exponents)), repeat=2):
            target = positions[tuple((exponents[j] + exponents[k]).tolist())]
            out[:, target] += np.sum(full[:, :, j] * full[:, :, k], axis=1)
        return out

    def polynomials(self, outputs: Outputs) -> FloatArray:
        """Return the coefficients of Z·r as in :meth:`log_ratio`, shape (n_events, n_coefficients).

        They are those of :meth:`coefficients` plus a small constant that keeps the ratios above
        zero.
        """
        coefficients = self.coefficients(outputs)
        coefficients[:, 0] += SMALLEST_RATIO  # degree zero: the basis begins with the constant
        return coefficients

    def tensor(self, theta: FloatArray) -> Callable[[Any], Any]:
        """Return a function that computes ln Z·r at K points from a tensor of outputs.

        The outputs have the shape (…, n_outputs), and the result has the shape (…, K).
        """
        from milinfer.learning.networks.backend import keras

        ops = keras.ops
        design = self.design(theta).T.astype(np.float32)
        j = self.n_monomials

        def log_ratio(outputs: Any) -> Any:
            total = ops.square(1.0 + ops.matmul(outputs[..., :j], design))
            for m in range(1, 1 + self.n_squares):
                total = total + ops.square(ops.matmul(outputs[..., m * j : (m + 1) * j], design))
            return ops.log(total + SMALLEST_RATIO)

        return log_ratio

    def score_tensor(self, theta: FloatArray) -> Callable[[Any], Any]:
        """Return a function that computes ∇ ln Z·r at K points from a tensor of outputs.

        The outputs have the shape (…, n_outputs), the result the shape (…, K · n_parameters).
        """
        from milinfer.learning.networks.backend import keras

        ops = keras.ops
        points = np.atleast_2d(theta)
        design = self.design(points).T.astype(np.float32)
        slopes = np.stack(
            [
                self._monomials.design_gradient(p)[:, 1:] / self.scale[:, None]
                for p in self._scaled_theta(points)
            ]
        )  # (K, P, J)
        flat = slopes.reshape(-1, self.n_monomials).T.astype(np.float32)
        j, n_parameters = self.n_monomials, slopes.shape[1]

        def score(outputs: Any) -> Any:
            total: Any = 0.0
            slope: Any = 0.0
            for m in range(1 + self.n_squares):
                part = outputs[..., m * j : (m + 1) * j]
                amplitude = ops.matmul(part, design) + (1.0 if m == 0 else 0.0)
                total = total + ops.square(amplitude)
                slope = slope + 2.0 * ops.repeat(amplitude, n_parameters, axis=-1) * ops.matmul(
                    part, flat
                )
            return slope / ops.repeat(total + SMALLEST_RATIO, n_parameters, axis=-1)

        return score
