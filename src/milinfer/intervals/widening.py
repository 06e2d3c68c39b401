r"""Widen intervals by the error of their own calibration.

A calibration is measured with toys from a finite pool of simulated events.  The measured mean
estimate m(θ) therefore has an error δm, which is the same for every dataset.  If intervals ignore
this error, their coverage, averaged over pools, is lower than claimed.  Consider √q with q = 2c
[Λ(θ̂) − Λ(m(θ))].  The error of m changes √q by √(cI) δm, where I is the curvature of Λ; the error
of ln c changes it by √q δ(ln c)/2.  Without these two errors √q would be a standard normal
variable.  With them, its variance is

.. math:: D(\theta) = 1 + c(\theta)\,I\,[\sigma_m^2(\theta) - \rho^2]
          + \tfrac14\,x\,\sigma_{\ln c}^2(\theta),

where σ_m and σ_ln c are the errors of m(θ) and ln c(θ), and x is the quantile of χ² for the
confidence level.  ρ² is the mean squared difference between the mean estimates of the toys and the
fitted m(θ).  It is subtracted because c(θ), which is measured with the fitted m(θ), already
contains it.  Intervals from q/D have the claimed coverage.  For a Gaussian likelihood, the estimate
does not change, and its variance becomes :math:`\sigma^2 = \sigma_\mathrm{stat}^2 + \sigma_m^2`.

For several parameters, the second term of D is a mean over the parameters: for each parameter, σ_m²
− ρ² is divided by the variance of the estimate of this parameter.  This is a good approximation,
because the errors due to the pool and due to the data have nearly the same correlations: both come
from the fluctuation of events.  The variance of an estimate is computed from the curvature of Λ and
is divided by c(θ) for intervals of this parameter.  This c(θ) is also used for joint regions,
because the constant of the joint region does not describe the variances if the correlations
according to Λ are wrong.
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
    """Compute the factors with which the variances of m(θ) enter D(θ), apart from c(θ).

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
        Factor for each surface and each component of m(θ), shape (n, n_parameters).  It is zero if
        a surface has no maximum inside its range.

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
    """Divisor D(θ) of the calibrated statistic q, which includes the errors of the calibration.

    Parameters
    ----------
    shifts
        For each component of the estimate, m(θ) − θ with its error.  Empty if the bias is not
        corrected.
    log_scale
        ln c(θ) with its error.  None if c(θ) is not applied.
    own_scales
        For each parameter, ln c(θ) for intervals of this parameter.  Empty if c(θ) is not applied.
    weights
        Result of :func:`inverse_variances`, shape (n_surfaces, n_parameters).
    contained
        For each component, the mean squared difference ρ² between the mean estimates of the toys
        and the fitted m(θ), shape (n_parameters,).  This part of σ_m² is already contained in c(θ).
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
        """Return D at a point of shape (n_parameters,).  The result has the shape (n_surfaces,)."""
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
