"""Measure the mean estimate as a function of the true value: response and bias of an estimator.

Estimates are biased for two reasons: a regularised network pulls them towards the middle of the
range, and the estimate of a nonlinear model has a bias of order 1/N for N events.  With toys at
several true values θ, the mean estimate m(θ) = E[θ̂] is measured.  The response is dm/dθ and the
bias is m(θ) − θ.  The inverse function m⁻¹ corrects both response and bias at every θ; [AS], eq.
35, corrects only at θ = 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import TurningResponseWarning
from milinfer.toys.ensemble import ToyEnsemble, require_one_kind, truths
from milinfer.typing import FloatArray
from milinfer.utils.smooth_polynomials import SPARE_DEGREES, SmoothPolynomial, fit_smooth

__all__ = ["Response", "mean_response", "pool_covariance", "spread_covariance"]

_NEWTON_STEPS = 50


@dataclass(frozen=True, eq=False)
class Response:
    """Mean estimate m(θ) = E[θ̂] at the true value θ, as a smooth function of θ.

    :func:`mean_response` fits it to toys.  The methods take arrays of parameter values, with the
    shape (m,) for one parameter or (m, n_parameters) for several.  Their results have the same
    shape, unless another shape is given.

    Parameters
    ----------
    shifts
        For each component of the estimate, its bias m(θ) − θ as a polynomial in θ.
    """

    shifts: tuple[SmoothPolynomial, ...]

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return len(self.shifts)

    def bias(self, theta: ArrayLike) -> FloatArray:
        """Return the bias E[θ̂] − θ."""
        return self._shape(np.stack([s(theta) for s in self.shifts], axis=1))

    def bias_error(self, theta: ArrayLike) -> FloatArray:
        """Return the standard error of :meth:`bias`."""
        return self._shape(np.stack([s.error(theta) for s in self.shifts], axis=1))

    def mean(self, theta: ArrayLike) -> FloatArray:
        """Return the mean estimate E[θ̂] at true values θ."""
        points = np.asarray(theta, dtype=np.float64).reshape(-1, self.n_parameters)
        return self._shape(points) + self.bias(points)

    def jacobian(self, theta: ArrayLike) -> FloatArray:
        """Return the response matrix dE[θ̂_j]/dθ_k, shape (m, n_parameters, n_parameters)."""
        slopes = np.stack([s.gradient(theta) for s in self.shifts], axis=1)
        return slopes + np.eye(self.n_parameters)

    def mean_at(self, point: FloatArray) -> FloatArray:
        """Return E[θ̂] at a single point, shape (n_parameters,).  Faster than :meth:`mean`."""
        mean: FloatArray = point + np.array([s.at(point) for s in self.shifts])
        return mean

    def jacobian_at(self, point: FloatArray) -> FloatArray:
        """Return dE[θ̂_j]/dθ_k at a single point, shape (n_parameters, n_parameters)."""
        slopes: FloatArray = np.array([s.gradient_at(point) for s in self.shifts])
        return slopes + np.eye(len(point))

    def slope(self, theta: float) -> tuple[float, float]:
        """Return the response dE[θ̂]/dθ of a single parameter, and its error."""
        (shift,) = self.shifts
        return (
            1.0 + float(shift.gradient([theta])[0, 0]),
            float(shift.gradient_error([theta])[0, 0]),
        )

    def invert(self, theta_hat: ArrayLike, limits: Sequence[tuple[float, float]]) -> FloatArray:
        """Correct estimates for the bias: return m⁻¹(θ̂) inside `limits`."""
        target = np.asarray(theta_hat, dtype=np.float64).reshape(-1, self.n_parameters)
        low, high = np.array(limits, dtype=np.float64).T
        theta = np.clip(target, low, high)
        for _ in range(_NEWTON_STEPS):
            residual = target - self.mean(theta).reshape(target.shape)
            step = np.linalg.solve(self.jacobian(theta), residual[:, :, None])[:, :, 0]
            next_theta = np.clip(theta + step, low, high)
            settled = np.abs(next_theta - theta).max(initial=0.0) < 1e-12 * np.max(high - low)
            theta = next_theta
            if settled:
                break
        return self._shape(theta)

    def _shape(self, values: FloatArray) -> FloatArray:
        return values[:, 0] if self.n_parameters == 1 else values


def mean_response(ensembles: Sequence[ToyEnsemble], degree: int | None = None) -> Response:
    """Fit the mean estimate E[θ̂] of toys as a function of the true value θ.

    The fit is weighted with the errors of the mean estimates.  These errors include the statistical
    fluctuation of the finite pools of simulated events.

    Parameters
    ----------
    ensembles
        Toys of one model at different true points.
    degree
        The bias is fitted by a polynomial in θ; this is the degree of the polynomial.  Default: two
        more than the lowest degree that describes the toys (1 or higher), if there are enough true
        values.  With the two additional degrees, the error includes terms that are too small to be
        seen in the toys.  With toys at only one true value, the response is assumed to be 1, and
        only a constant bias is fitted ([AS], eq. 35).

    Raises
    ------
    CalibrationError
        If the toys are of different models, or there are too few true values for the degree.

    Warns
    -----
    TurningResponseWarning
        If the fitted m(θ) is not monotonic in the range of the true values.  In this case a linear
        function is fitted instead.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.2], seed=1), n_events=100, seed=2)
    >>> response = mean_response([toys.run([model], t, 500)["mean"] for t in (-0.2, 0.2)])
    >>> slope, error = response.slope(0.0)
    >>> abs(slope - 1) < 4 * error
    True
    """
    require_one_kind(ensembles)
    points = truths(ensembles)
    single = len(np.unique(points, axis=0)) == 1
    if degree is not None or single:
        return _fitted_response(ensembles, degree, spare=0)
    for spare in range(SPARE_DEGREES, -1, -1):
        response = _fitted_response(ensembles, None, spare)
        curved = max(s.basis.degree for s in response.shifts) > 1
        if not curved or np.linalg.det(response.jacobian(points)).min() > 0:
            return response
    msg = (
        f"{ensembles[0].model}: the mean estimate is not a monotonic function of the true value "
        f"between the points {points.tolist()}, so a linear function is fitted instead; use larger "
        "pools of events, which make the means more precise"
    )
    warnings.warn(msg, TurningResponseWarning, stacklevel=2)
    return _fitted_response(ensembles, 1, spare=0)


def _fitted_response(ensembles: Sequence[ToyEnsemble], degree: int | None, spare: int) -> Response:
    points = truths(ensembles)
    names = tuple(ensembles[0].point)
    estimates = [e.theta_hat.reshape(e.n_toys, -1) for e in ensembles]
    single = len(np.unique(points, axis=0)) == 1
    shifts = []
    for k in range(len(names)):
        values = np.array([t[:, k].mean() for t in estimates]) - points[:, k]
        spread = np.array([t[:, k].std(ddof=1) for t in estimates])
        # If estimates differ only by rounding, their spread is not an error.
        floor = 1e-12 * (1 + np.abs(points[:, k]))
        toy_variance = spread**2 / [e.n_toys for e in ensembles] + floor**2
        shifts.append(
            fit_smooth(
                names,
                points,
                values,
                np.diag(toy_variance) + pool_covariance(ensembles, k),
                beyond="tangent",
                degree=0 if single and degree is None else degree,
                lowest=1,
                spare=spare,
            )
        )
    return Response(tuple(shifts))


def pool_covariance(ensembles: Sequence[ToyEnsemble], component: int) -> FloatArray:
    """Compute the covariance matrix of the mean estimates due to the finite pools.

    The mean estimate of each of `ensembles` has an error due to the finite pool of simulated events
    from which its toys are drawn.  The matrix has the shape (n_ensembles, n_ensembles).

    If toys at two true values are drawn from one pool, their mean estimates are correlated, because
    they use the same events; see :mod:`milinfer.toys.ensemble`.  For models of bags and of whole
    datasets, it is not known how much a single event changes the mean estimate.  The function then
    assumes that the pool shifts all its mean estimates together (an error of the bias), and also
    each mean estimate independently (an error of the response).  Each of these two shifts is
    assumed to be as large as the total error due to the pool.

    Parameters
    ----------
    ensembles
        Toys of one model at different true values.
    component
        Number of the component of the estimate, counted from 0.
    """
    spread = np.array(
        [e.theta_hat.reshape(e.n_toys, -1)[:, component].std(ddof=1) for e in ensembles]
    )
    scale = spread * np.sqrt([e.n_events for e in ensembles])
    shifts = [None if e.pool_influence is None else e.pool_influence.shift for e in ensembles]
    correlated = _influence_products(ensembles, shifts, component)
    unknown = _common_and_own(ensembles, np.array([1 / e.n_effective for e in ensembles]))
    covariance: FloatArray = np.where(np.isnan(correlated), unknown, correlated)
    return np.outer(scale, scale) * covariance


def spread_covariance(ensembles: Sequence[ToyEnsemble], component: int | None = None) -> FloatArray:
    """Compute the covariance matrix of the relative errors of Var(θ̂) due to the finite pools.

    See :func:`pool_covariance`.  The matrix is computed for one component of the estimate, or, by
    default, averaged over all components.  If it is not known how much a single event changes
    Var(θ̂), the estimates are assumed to be Gaussian (:attr:`ToyEnsemble.variance_error
    <milinfer.toys.ensemble.ToyEnsemble.variance_error>`).
    """
    spreads = [None if e.pool_influence is None else e.pool_influence.spread for e in ensembles]
    number = len(ensembles[0].point)
    components = range(number) if component is None else [component]
    products = [_influence_products(ensembles, spreads, k) for k in components]
    correlated = np.stack(products).mean(axis=0)
    unknown = _common_and_own(ensembles, np.array([e.variance_error**2 for e in ensembles]))
    covariance: FloatArray = np.where(np.isnan(correlated), unknown, correlated)
    return covariance


def _common_and_own(ensembles: Sequence[ToyEnsemble], variance: FloatArray) -> FloatArray:
    """Covariance of a common shift of all true values of a pool and equal independent shifts."""
    pools = np.array([e.pool_id for e in ensembles])
    same = pools[:, None] == pools
    common = np.sqrt(np.outer(variance, variance)) * same
    # If a pool is used for only one true value, there is only one shift.
    own = np.where(same.sum(axis=1) > 1, variance, 0.0)
    covariance: FloatArray = np.diag(own) + common
    return covariance


def _influence_products(
    ensembles: Sequence[ToyEnsemble], influences: Sequence[FloatArray | None], component: int
) -> FloatArray:
    """Sums of products of influences of events; 0 between different pools, NaN if unknown."""
    n = len(ensembles)
    out = np.zeros((n, n))
    for a, b in product(range(n), repeat=2):
        first, second = influences[a], influences[b]
        if first is None or second is None:
            out[a, b] = np.nan
        elif ensembles[a].pool_id == ensembles[b].pool_id:
            out[a, b] = first[:, component] @ second[:, component]
    return out
