r"""Compute the posterior density of a parameter from likelihood ratios.

A direct regression estimates the same posterior.  If a network is trained on bags of known θ with
the squared error, it learns the mean of the posterior; with the absolute error, it learns the
median.  The prior is then the distribution of θ in the training (Nachman and Thaler [NT], eqs. 28
and 29).  The posterior also follows from any learned Λ(θ) for a dataset D, without training a
regression:

.. math:: p(\theta|D) = \frac{e^{\Lambda(\theta)}\,p(\theta)}
          {\int e^{\Lambda(\theta')}\,p(\theta')\,d\theta'}.

Λ of any number of events is the sum of their log-ratios, so more events need no new training.

Λ must be the uncalibrated surface of the model.  A calibration makes intervals cover, but a prior
cannot be multiplied with a calibrated surface, because a calibrated surface is not a likelihood.
The default prior is uniform over the range of the training points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError
from milinfer.likelihood.surface import Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.typing import FloatArray
from milinfer.utils.confidence_levels import CL68, require_level
from milinfer.utils.display import brief

__all__ = ["Posterior", "Prior"]

Prior: TypeAlias = ArrayLike | Callable[[FloatArray], ArrayLike] | None
"""Density of θ at the points, or a function of them, up to a factor; None: uniform."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior density of one parameter, for one dataset or for several.

    Parameters
    ----------
    theta
        Parameter values in ascending order, shape (m,).
    density
        Posterior density at these values, normalised to an integral of one, shape (m,), or (n, m)
        for n datasets.  Mean, median etc. have shape () or (n,).

    Examples
    --------
    The dataset has 100 events of N(μ, 1) with the mean 0.48, and μ is uniform in [−0.5, 0.5]:

    >>> import numpy as np
    >>> theta = np.linspace(-0.5, 0.5, 201)
    >>> posterior = Posterior.from_log_ratios(theta, -50 * (theta - 0.48) ** 2)
    >>> posterior.mean.round(3), posterior.median.round(3)
    (np.float64(0.413), np.float64(0.425))
    >>> posterior.interval(0.6827).round(3)
    array([0.347, 0.477])
    """

    theta: FloatArray
    density: FloatArray

    def __repr__(self) -> str:
        return brief(self)

    @classmethod
    def from_log_ratios(
        cls, theta: ArrayLike, log_ratios: ArrayLike, prior: Prior = None
    ) -> Posterior:
        """Compute the posterior from Λ at given parameter values, with the trapezoidal rule.

        Parameters
        ----------
        theta
            Parameter values in ascending order, shape (m,).
        log_ratios
            Λ at these values: shape (m,) for one dataset, or (n, m) for n datasets.  A constant
            that is added to Λ of a dataset has no effect.
        prior
            Prior density at `theta`, shape (m,), or a function of θ; default: uniform over the
            range of `theta`.

        Raises
        ------
        ParameterError
            If shapes disagree, a value is not finite, the prior is negative or zero everywhere, or
            the posterior is narrower than the distance between two values of `theta`.
        """
        points, ratios = np.asarray(theta, np.float64), np.asarray(log_ratios, np.float64)
        _validate(points, ratios)
        density = np.exp(ratios - ratios.max(axis=-1, keepdims=True)) * _prior(prior, points)
        total = np.trapezoid(density, points, axis=-1)
        if not np.all(total > 0):
            msg = (
                "the prior is zero at all points with a finite likelihood; widen the range of the "
                "prior"
            )
            raise ParameterError(msg)
        posterior = cls(points, density / np.expand_dims(total, -1))
        posterior._require_resolved()
        return posterior

    @classmethod
    def from_surface(
        cls, surface: Surface | BoxSurface, prior: Prior = None, *, n_points: int = 1001
    ) -> Posterior:
        """Compute the posterior over the whole range of a surface Λ(θ) of one parameter.

        Parameters
        ----------
        surface
            Surface of a dataset, such as ``model.surface(data)``.
        prior
            Prior density at `n_points` equally spaced values, or a function of θ; default: uniform.
        n_points
            Number of parameter values at which Λ is evaluated.

        Raises
        ------
        ParameterError
            If the surface has several parameters, and under the conditions of
            :meth:`from_log_ratios`.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.likelihood.models import dataset_surface
        >>> data = gaussian.generate(400, 0.1, seed=1)
        >>> posterior = Posterior.from_surface(dataset_surface(gaussian.MeanModel(), data))
        >>> bool(abs(posterior.mean - data.column("x0").mean()) < 1e-6)
        True
        >>> posterior.standard_deviation.round(4)
        np.float64(0.05)
        """
        if isinstance(surface, BoxSurface):
            msg = f"the surface has {len(surface.limits)} parameters; fix all but one of them"
            raise ParameterError(msg)
        theta = np.linspace(*surface.limits[0], n_points)
        return cls.from_log_ratios(theta, surface(theta), prior)

    def expectation(self, values: ArrayLike) -> FloatArray:
        """Return the posterior mean of a function of θ.

        The argument contains the values of the function at `theta`, shape (m,).
        """
        moments = self.density * np.asarray(values, dtype=np.float64)
        return np.asarray(np.trapezoid(moments, self.theta, axis=-1), dtype=np.float64)

    @property
    def mean(self) -> FloatArray:
        """Posterior mean, which a regression with the squared error learns."""
        return self.expectation(self.theta)

    @property
    def standard_deviation(self) -> FloatArray:
        """Posterior standard deviation."""
        centred = self.theta - np.expand_dims(self.mean, -1)
        variance = np.trapezoid(self.density * centred**2, self.theta, axis=-1)
        return np.sqrt(np.asarray(variance, dtype=np.float64))

    @property
    def median(self) -> FloatArray:
        """Posterior median, which a regression with the absolute error learns."""
        return self.quantile(0.5)

    def quantile(self, probability: float) -> FloatArray:
        """Return the value of θ at which the cumulative posterior probability has a given value.

        Raises
        ------
        ParameterError
            If `probability` is not between 0 and 1.
        """
        if not 0 <= probability <= 1:
            msg = f"a probability must be between 0 and 1, not {probability}"
            raise ParameterError(msg)
        rows = self.density.reshape(-1, len(self.theta))
        steps = np.diff(self.theta)
        below = np.cumsum((rows[:, 1:] + rows[:, :-1]) / 2 * steps, axis=1)
        below = np.concatenate([np.zeros((len(rows), 1)), below], axis=1) / below[:, -1:]
        cell = np.minimum((below < probability).sum(axis=1), len(steps)) - 1
        cell = np.maximum(cell, 0)
        row = np.arange(len(rows))
        # Inside a step the density is a straight line, so the quantile is the root of a parabola,
        # written in a form that is stable also for a constant density.
        start, end = rows[row, cell], rows[row, cell + 1]
        slope = (end - start) / steps[cell]
        rest = np.maximum(probability - below[row, cell], 0)
        root = np.sqrt(np.maximum(start**2 + 2 * slope * rest, 0))
        inside = 2 * rest / np.where(start + root > 0, start + root, 1)
        quantiles = self.theta[cell] + np.clip(inside, 0, steps[cell])
        return np.asarray(quantiles.reshape(self.density.shape[:-1])[()], dtype=np.float64)

    def interval(self, probability: float = CL68) -> FloatArray:
        """Return the central credible interval, shape (2,) or (2, n), with equal tails.

        If θ is drawn from the prior, the interval has the right coverage on average, but not at
        every θ.  For intervals that cover at every θ see :mod:`milinfer.intervals.calibration_fit`
        and :mod:`milinfer.intervals.belt`.
        """
        require_level(probability, ParameterError, "probability")
        tail = (1 - probability) / 2
        return np.stack([self.quantile(tail), self.quantile(1 - tail)])

    def _require_resolved(self) -> None:
        """Raise if a posterior is narrower than the distance between two points."""
        width = np.atleast_1d(self.standard_deviation)
        centre = np.atleast_1d(self.mean)
        cell = np.clip(np.searchsorted(self.theta, centre), 1, len(self.theta) - 1)
        step = self.theta[cell] - self.theta[cell - 1]
        if np.any(width < step):
            worst = int(np.argmin(width / step))
            msg = (
                f"the posterior of dataset {worst} has a standard deviation of {width[worst]:.2g} "
                f"at θ = {centre[worst]:.4g}, but the points are {step[worst]:.2g} apart; give "
                "Λ at more points"
            )
            raise ParameterError(msg)


def _validate(points: FloatArray, ratios: FloatArray) -> None:
    """Raise unless log-ratios are finite and the points are ascending."""
    if points.ndim != 1 or len(points) < 3 or not np.all(np.diff(points) > 0):
        msg = f"a posterior needs three ascending points or more, not {points}"
        raise ParameterError(msg)
    if ratios.ndim not in (1, 2) or ratios.shape[-1] != len(points):
        msg = f"log-ratios have shape {ratios.shape}; {len(points)} points need (…, m)"
        raise ParameterError(msg)
    if not np.isfinite(ratios).all():
        position = np.argwhere(~np.isfinite(ratios))[0]
        dataset = int(position[0]) if ratios.ndim == 2 else 0
        msg = f"the log-ratio of dataset {dataset} at θ = {points[position[-1]]:g} is not finite"
        raise ParameterError(msg)


def _prior(prior: Prior, theta: FloatArray) -> FloatArray:
    """Return the prior density at the points, shape (m,)."""
    values = np.ones(len(theta)) if prior is None else prior(theta) if callable(prior) else prior
    density = np.asarray(values, dtype=np.float64)
    if density.shape != theta.shape or not np.all(np.isfinite(density) & (density >= 0)):
        msg = (
            f"the prior has shape {density.shape}; it must be finite, not negative, and of shape "
            f"{theta.shape}"
        )
        raise ParameterError(msg)
    return density
