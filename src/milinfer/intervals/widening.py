r"""Widen intervals by the error of their own calibration.

A calibration is measured with toys from a finite pool of simulated events.  The measured mean
estimate m(θ) is therefore wrong by δm, which is the same for every dataset.  If an interval treats
m as known, its coverage averaged over pools is lower than claimed.  With
q = 2c [Λ(θ̂) − Λ(m(θ))], √q is wrong by √(cI) δm, where I is the curvature of Λ, and by
√q δ(ln c)/2.  Without these errors √q is a standard normal variable.  With them, its variance is

.. math:: D(\theta) = 1 + c(\theta)\,I\,[\sigma_m^2(\theta) - \rho^2]
          + \tfrac14\,x\,\sigma_{\ln c}^2(\theta),

where x is the quantile of χ² for the confidence level, and ρ² is the mean squared difference
between the means of the toys and the fitted m(θ).  (c(θ) is measured with respect to m(θ), so it
already contains ρ².)  Intervals from q/D have the claimed coverage.  For a Gaussian likelihood,
they have the variance :math:`\sigma^2 = \sigma_\mathrm{stat}^2 + \sigma_m^2` and the same estimate.

For several parameters, the second term is the mean over the parameters of σ_m² in units of the
variance of each estimate.  This is a good approximation, because pools and data both consist of
events, so that their errors have nearly the same correlations.  The variance of an estimate is
taken from the curvature of Λ, divided by the c(θ) for intervals of this parameter.  This is also
done for joint regions: if the correlations of Λ are wrong, the constant of the region does not
describe the variances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from milinfer.typing import FloatArray
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = ["Widening", "inverse_variances"]


def inverse_variances(curvature: ArrayLike, interest: int | None = None) -> FloatArray:
    """Compute the factor on the squared error of each component of m(θ) in D(θ), without c(θ).

    Parameters
    ----------
    curvature
        Curvature −d²Λ/dθ² at the maximum of each surface, shape (n,) or (n, n_parameters,
        n_parameters).
    interest
        Number of the parameter whose intervals are computed; None: joint regions of all parameters.

    Returns
    -------
    ndarray
        Shape (n, n_parameters); zeros if a surface has no maximum inside its range.

    Examples
    --------
    >>> inverse_variances([100.0, -3.0])
    array([[100.],
           [  0.]])
    >>> inverse_variances([[[100.0, 0.0], [0.0, 50.0]]])
    array([[50., 25.]])
    >>> inverse_variances([[[100.0, 0.0], [0.0, 50.0]]], interest=1)
    array([[ 0., 50.]])
    """
    matrices = np.asarray(curvature, dtype=np.float64)
    if matrices.ndim == 1:
        matrices = matrices[:, None, None]
    n, p, _ = matrices.shape
    weights = np.zeros((n, p))
    good = np.linalg.eigvalsh(matrices).min(axis=1) > 0
    variances = np.diagonal(np.linalg.inv(matrices[good]), axis1=1, axis2=2)
    if interest is None:
        weights[good] = 1 / variances / p
    else:
        weights[good, interest] = 1 / variances[:, interest]
    return weights


@dataclass(frozen=True, eq=False)
class Widening:
    """Divisor D(θ) of the calibrated statistic q: the variance of √q including calibration errors.

    Parameters
    ----------
    shifts
        m(θ) − θ of each component, with errors; empty if the bias is not corrected.
    log_scale
        ln c(θ) with its error; None if it is not applied.
    own_scales
        ln c(θ) for intervals of each parameter; empty if it is not applied.
    weights
        Result of :func:`inverse_variances`, shape (n_surfaces, n_parameters).
    contained
        Mean ρ² of each component, shape (n_parameters,): the part of σ_m² that c(θ) contains.
    quantile
        Quantile x of χ² for the confidence level.

    Examples
    --------
    The bias is known to 0.1, the statistical error is 0.1 (curvature 100), so that D is 1 + 1:

    >>> from milinfer.utils.smooth_polynomials import fit_smooth
    >>> shift = fit_smooth(("mu",), np.zeros((1, 1)), np.zeros(1), np.array([[0.01]]),
    ...                    beyond="tangent")
    >>> widening = Widening(shifts=(shift,), log_scale=None, own_scales=(), quantile=1.0,
    ...                     weights=inverse_variances([100.0]), contained=np.zeros(1))
    >>> widening.variance([0.0])
    array([2.])
    """

    shifts: Sequence[SmoothPolynomial]
    log_scale: SmoothPolynomial | None
    own_scales: Sequence[SmoothPolynomial]
    weights: FloatArray
    contained: FloatArray
    quantile: float

    def variance(self, point: ArrayLike) -> FloatArray:
        """Return D at one point (n_parameters,), shape (n_surfaces,)."""
        added = self._scales(point) * self._shift_variances(point)
        total: FloatArray = 1.0 + self.weights @ added
        if self.log_scale is not None:
            total = total + self.quantile / 4 * self.log_scale.variance(point)[0]
        return total

    def gradient(self, point: ArrayLike) -> FloatArray:
        """Return dD/dθ at one point, shape (n_surfaces, n_parameters)."""
        scales, shift_variances = self._scales(point), self._shift_variances(point)
        slopes = np.zeros((len(scales), np.size(point)))
        for k, (shift, more) in enumerate(zip(self.shifts, shift_variances, strict=False)):
            slopes[k] = scales[k] * shift.variance_gradient(point)[0] * (more > 0)
        for k, log_scale in enumerate(self.own_scales):
            slopes[k] += scales[k] * shift_variances[k] * log_scale.gradient(point)[0]
        total: FloatArray = self.weights @ slopes
        if self.log_scale is not None:
            total = total + self.quantile / 4 * self.log_scale.variance_gradient(point)[0]
        return total

    def _scales(self, point: ArrayLike) -> FloatArray:
        if not self.own_scales:
            return np.ones(self.weights.shape[1])
        return np.exp([s(point)[0] for s in self.own_scales])

    def _shift_variances(self, point: ArrayLike) -> FloatArray:
        if not self.shifts:
            return np.zeros(self.weights.shape[1])
        variances = np.array([s.variance(point)[0] for s in self.shifts])
        return np.maximum(variances - self.contained, 0.0)
