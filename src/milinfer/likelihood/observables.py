"""Observables of single events: features, functions of a sample, and outputs of a model.

Every observable can be histogrammed.  The derivative of a log-ratio at θ0 (the score) is the
optimal observable for values near θ0.  The log-ratio between two points is the optimal observable
for a test of one point against the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, TemplateError
from milinfer.likelihood.models import LLRModel, as_model
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray

__all__ = [
    "Observable",
    "independent_scores",
    "log_ratio_observable",
    "observable_name",
    "observable_values",
    "score_observable",
]


# Smallest eigenvalue of a correlation matrix that is not rounding.
_ROUNDING = 1e-10

Observable = str | Callable[[Sample], FloatArray]
"""Name of a feature, or a function of a sample that returns one number for each event."""


@dataclass(frozen=True, eq=False)
class _LogRatio:
    """Log-ratio between two points; a class, because a closure could not be pickled."""

    model: LLRModel
    low: FloatArray
    high: FloatArray
    __name__: str

    def __call__(self, sample: Sample) -> FloatArray:
        both = self.model.interpolation.values_at(
            np.asarray(self.model.event_llr(sample), dtype=np.float64),
            np.stack([self.low, self.high]) if len(self.low) > 1 else [self.low[0], self.high[0]],
        )
        ratio: FloatArray = both[:, 1] - both[:, 0]
        return ratio


@dataclass(frozen=True, eq=False)
class _Score:
    """Derivative of the log-ratio in one parameter."""

    model: LLRModel
    theta0: float
    __name__: str

    def __call__(self, sample: Sample) -> FloatArray:
        llr = np.asarray(self.model.event_llr(sample), dtype=np.float64)
        interpolation = self.model.interpolation
        assert isinstance(interpolation, Interpolation)
        return interpolation.values_at(llr, self.theta0, 1)[:, 0]


@dataclass(frozen=True, eq=False)
class _PartialScore:
    """Derivative of the log-ratio in one of several parameters."""

    model: LLRModel
    point: FloatArray
    number: int
    __name__: str

    def __call__(self, sample: Sample) -> FloatArray:
        polynomials = as_model(self.model).log_polynomials(sample)
        if polynomials is None:
            return self._difference(sample)
        slopes = polynomials.slopes_at(self.point)[:, self.number] / polynomials.at(self.point)
        # Each member of an ensemble has a row for each event, and one for their common total.
        members = slopes.reshape(-1, len(sample) + 1)
        score: FloatArray = np.mean(members[:, :-1] - members[:, -1:], axis=0)
        return score

    def _difference(self, sample: Sample) -> FloatArray:
        """A central difference: the box is smooth, so that it is exact to 1e-8 of its range."""
        low, high = self.model.interpolation.limits[self.number]
        step = np.zeros(len(self.point))
        step[self.number] = 1e-4 * (high - low)
        ratio = _LogRatio(
            model=self.model,
            low=self.point - step,
            high=self.point + step,
            __name__=self.__name__,
        )
        score: FloatArray = ratio(sample) / (2 * step[self.number])
        return score


@dataclass(frozen=True, eq=False)
class _Combination:
    """Sum of observables with coefficients; a class, because a closure could not be pickled."""

    observables: tuple[Callable[[Sample], FloatArray], ...]
    coefficients: FloatArray
    __name__: str

    def __call__(self, sample: Sample) -> FloatArray:
        total: FloatArray = np.sum(
            [c * o(sample) for c, o in zip(self.coefficients, self.observables, strict=True)],
            axis=0,
        )
        return total


def log_ratio_observable(
    model: LLRModel, low: ArrayLike, high: ArrayLike, *, name: str = "log_ratio"
) -> Callable[[Sample], FloatArray]:
    """Return a function that computes ln p(x|high)/p(x|low) of each event with a model.

    A classifier that is trained to separate the two points learns this function.

    Parameters
    ----------
    model
        Model of single events.
    low, high
        Parameter points: one number for all parameters, or one number for each.
    name
        Name of the observable in axes and messages.

    Returns
    -------
    callable
        Function that takes a sample and returns an array of shape (n_events,).

    Raises
    ------
    ParameterError
        If a point is outside the range of the model.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> sample = gaussian.generate(3, 0.0, seed=1)
    >>> observable = log_ratio_observable(gaussian.MeanModel(), -0.5, 0.5)
    >>> bool(np.allclose(observable(sample), sample.column("x0"), atol=1e-5))
    True
    """
    return _LogRatio(model=model, low=_inside(model, low), high=_inside(model, high), __name__=name)


def score_observable(
    model: LLRModel, theta0: ArrayLike, *, parameter: str | None = None, name: str | None = None
) -> Callable[[Sample], FloatArray]:
    """Return a function that computes the score of each event: the derivative of ln p(x|θ) at θ0.

    The score is the optimal observable for small deviations from θ0.

    Parameters
    ----------
    model
        Model of single events.
    theta0
        Parameter point θ0: one number for all parameters, or one number for each.
    parameter
        Name of the parameter of the derivative; needed if the model has several parameters.
    name
        Name of the observable in axes and messages; default: ``score_PARAMETER``.

    Raises
    ------
    ParameterError
        If θ0 is outside the range of the model, or `parameter` is needed and missing.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> sample = gaussian.generate(3, 0.0, seed=1)
    >>> observable = score_observable(gaussian.MeanModel(), 0.0)
    >>> observable.__name__, bool(np.allclose(observable(sample), sample.column("x0"), atol=1e-5))
    ('score_mu', True)
    """
    names = model.parameters
    chosen = names[0] if parameter is None and len(names) == 1 else parameter
    if chosen not in names:
        msg = (
            f"{model.name} has the parameters {', '.join(names)}; give one of them as parameter= "
            f"for the score, not {parameter!r}"
        )
        raise ParameterError(msg)
    title = name or f"score_{chosen}"
    point = _inside(model, theta0)
    if len(names) == 1:
        return _Score(model, float(point[0]), title)
    return _PartialScore(model=model, point=point, number=names.index(chosen), __name__=title)


def independent_scores(
    model: LLRModel, theta0: ArrayLike, information: ArrayLike
) -> tuple[Callable[[Sample], FloatArray], ...]:
    """Return functions that compute uncorrelated scores of several parameters at θ0.

    The first function computes the score of the first parameter.  Each of the following functions
    computes the score of its parameter minus the part that is correlated with the scores of the
    previous parameters.  This is the score that remains if the previous parameters are also fitted.
    Together, the functions contain the same information as the original scores, and a histogram of
    them in several dimensions has no empty corners.

    Parameters
    ----------
    model
        Model of single events.
    theta0
        Parameter point θ0: one number for all parameters, or one number for each.
    information
        Covariance matrix of the scores at θ0, shape (n_parameters, n_parameters).  It is the Fisher
        information of one event if the model is correct.

    Raises
    ------
    ParameterError
        If θ0 is outside the range of the model, or `information` has a wrong shape or is not
        positive definite.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> (score,) = independent_scores(gaussian.MeanModel(), 0.0, [[1.0]])
    >>> score.__name__
    'score_mu'
    """
    names = model.parameters
    matrix = np.asarray(information, dtype=np.float64)
    if not (matrix.shape == (len(names), len(names)) and _is_covariance(matrix)):
        msg = (
            f"the information must be a positive-definite matrix in {', '.join(names)}, not "
            f"{matrix.tolist()}; parameters with the same score cannot be distinguished"
        )
        raise ParameterError(msg)
    scores = tuple(score_observable(model, theta0, parameter=name) for name in names)
    independent = [scores[0]]
    for k in range(1, len(names)):
        known = np.linalg.solve(matrix[:k, :k], matrix[:k, k])
        title = f"score_{names[k]}_given_{'_'.join(names[:k])}"
        independent.append(_Combination(scores[: k + 1], np.array([*-known, 1.0]), title))
    return tuple(independent)


def observable_name(observable: Observable) -> str:
    """Return the name of an observable for axes and messages.

    Examples
    --------
    >>> observable_name("d_phi_qq")
    'd_phi_qq'
    """
    if isinstance(observable, str):
        return observable
    return str(getattr(observable, "__name__", type(observable).__name__))


def observable_values(sample: Sample, observable: Observable, name: str) -> FloatArray:
    """Return the observable of each event, shape (n_events,).

    Raises
    ------
    TemplateError
        If a value is not finite, or there is not one value for each event.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> sample = gaussian.generate(3, 0.0, seed=1)
    >>> observable_values(sample, lambda s: 2.0 * s.column("x0"), "twice").shape
    (3,)
    """
    values = np.asarray(
        sample.column(observable) if isinstance(observable, str) else observable(sample),
        dtype=np.float64,
    )
    if values.shape != (len(sample),) or not np.isfinite(values).all():
        msg = f"{name} of {sample.label} must be finite and of shape ({len(sample)},)"
        raise TemplateError(msg)
    return values


def _is_covariance(matrix: FloatArray) -> bool:
    """Whether a matrix is symmetric, finite and positive definite beyond rounding."""
    if not (np.isfinite(matrix).all() and np.all(np.diag(matrix) > 0)):
        return False
    size = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(size, size)
    return bool(
        np.allclose(correlation, correlation.T) and np.linalg.eigvalsh(correlation)[0] > _ROUNDING
    )


def _inside(model: LLRModel, theta: ArrayLike) -> FloatArray:
    """Parameter point inside the range of a model, shape (n_parameters,)."""
    point = np.atleast_1d(np.asarray(theta, dtype=np.float64))
    limits = model.interpolation.limits
    if point.shape != (len(limits),) or not all(
        low <= t <= high for t, (low, high) in zip(point.tolist(), limits, strict=True)
    ):
        ranges = dict(zip(model.parameters, limits, strict=True))
        msg = (
            f"θ = {point.tolist()} is not inside {ranges}, the range of {model.name}; choose a "
            "point inside"
        )
        raise ParameterError(msg)
    return point
