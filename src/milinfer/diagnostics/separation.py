r"""Measure how well two hypotheses can be separated: with scores summed over bags, and divergences.

*Distances.* For large N, the sum T of a score t over a bag of N independent events has a normal
distribution.  The means of T under the two hypotheses are :math:`d\sqrt N` standard deviations
apart, with

.. math:: d^2 = \frac{(E_1[t] - E_0[t])^2}{\tfrac12 (\mathrm{Var}_1[t] + \mathrm{Var}_0[t])},

where d does not depend on N.  With the exact log-ratio λ of an event, the score :math:`g =
2\tanh(λ/2)` has the largest possible d².  If the two hypotheses are close to each other, g is equal
to λ and :math:`d^2 = I_1 Δθ^2`, with the Fisher information :math:`I_1` of one event.  In this case
a learned score has the fraction :math:`1/(1 + σ_ε^2/(N_B I_1 Δθ^2))` of this d², where
:math:`σ_ε^2` is the variance of the error of the log-ratio of a bag of :math:`N_B` events ([AS],
eq. 15).  The area under the ROC curve of bags is :math:`Φ(d \sqrt{N/2})`.  (If the hypotheses are
far apart and bags are small, sums are not normal, and the sum of λ separates better than the sum of
g.)

If λ is known for every event, :math:`E_1[t] - E_0[t]` can be computed as the covariance of t and g
in an even mixture of events from both hypotheses.  For a weak signal, its statistical error is much
smaller than the error of a difference of two means.

*Divergences.*  The value of a loss at its minimum is a divergence of the two densities ([NT], eq. 9
and table I):

==================== ============================================= ==============================
kind                 definition                                    loss, A(f) and B(f)
==================== ============================================= ==============================
kullback-leibler     :math:`\int p_1 \ln(p_1/p_0)`                 maximum likelihood classifier
jensen-shannon       :math:`\frac12\int p_1\ln\frac{2p_1}{p_0+p_1}
                     + \frac12\int p_0\ln\frac{2p_0}{p_0+p_1}`     binary cross-entropy
triangular           :math:`\frac12\int (p_1-p_0)^2/(p_1+p_0)`     mean squared error
squared-hellinger    :math:`1-\int\sqrt{p_1 p_0}`                  square root
==================== ============================================= ==============================

The loss is smallest for the exact ratio.  Therefore a learned ratio gives an estimate whose
expectation is at most the divergence: a lower bound, apart from the statistical error.  This is
only true for events that were *not* used to train the ratio.

The mutual information of two sets of columns is the Kullback–Leibler divergence of their joint
density from the product of their two densities (eq. 30).  :func:`joint_and_product` makes a sample
of the joint density and a sample of the product, on which a classifier can be trained.  A special
case is a column that is the label of two equally likely samples: the mutual information is then the
Jensen–Shannon divergence of the two samples, and an ordinary classifier between the samples gives
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, ndtr

from milinfer.diagnostics.roc import Estimate
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import weighted_mean
from milinfer.typing import FloatArray, Seed

__all__ = [
    "Divergence",
    "DivergenceKind",
    "area_of_bags",
    "divergence",
    "joint_and_product",
    "largest_distance",
    "relative_distance",
    "squared_distance",
]


def squared_distance(score: ArrayLike, llr: ArrayLike) -> Estimate:
    """Compute the squared distance d² per event with which a score separates two hypotheses.

    d² is defined in :mod:`milinfer.diagnostics.separation`.

    Parameters
    ----------
    score
        Scores of events from an even mixture (as many events of one hypothesis as of the other),
        shape (n_events,).
    llr
        Exact log-ratio λ of the same events.

    Returns
    -------
    Estimate
        d² and its error.

    Raises
    ------
    SampleError
        If shapes disagree, numbers are not finite, or the score is constant.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=20_000) + np.repeat([-0.1, 0.1], 10_000)
    >>> distance = squared_distance(x, 0.2 * x)  # exact: (0.2)²
    >>> abs(distance.value - 0.04) < 4 * distance.error, distance.error < 0.0005
    (True, True)
    """
    value, influence = _distance_and_influence(*_score_and_llr(score, llr))
    return Estimate(value, _error(influence))


def largest_distance(llr: ArrayLike) -> Estimate:
    """Compute the largest squared distance d² per event that any score can reach.

    Parameters
    ----------
    llr
        Exact log-ratio λ of events from an even mixture (as many events of one hypothesis as of the
        other), shape (n_events,).

    Raises
    ------
    SampleError
        As for :func:`squared_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=20_000) + np.repeat([-0.1, 0.1], 10_000)
    >>> distance = largest_distance(0.2 * x)
    >>> abs(distance.value - 0.04) < 4 * distance.error
    True
    """
    exact, _ = _score_and_llr(llr, llr)
    value, influence = _distance_and_influence(_best_score(exact), exact)
    return Estimate(value, _error(influence))


def relative_distance(score: ArrayLike, llr: ArrayLike) -> Estimate:
    """Compute the squared distance d² of a score, divided by the largest possible d².

    This ratio is the fraction of the information that the score keeps.

    Parameters
    ----------
    score, llr
        As for :func:`squared_distance`.

    Returns
    -------
    Estimate
        The ratio, and its error due to the finite number of events.  The error does not include the
        spread between trainings of the score.

    Raises
    ------
    SampleError
        As for :func:`squared_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=20_000) + np.repeat([-0.1, 0.1], 10_000)
    >>> noisy = x + rng.normal(size=20_000)  # half of the information is lost
    >>> distance = relative_distance(noisy, 0.2 * x)
    >>> abs(distance.value - 0.5) < 4 * distance.error, distance.error < 0.01
    (True, True)
    """
    t, exact = _score_and_llr(score, llr)
    value, influence = _distance_and_influence(t, exact)
    largest, of_largest = _distance_and_influence(_best_score(exact), exact)
    ratio = value / largest
    return Estimate(ratio, _error((influence - ratio * of_largest) / largest))


def area_of_bags(squared: ArrayLike, bag_size: int) -> FloatArray:
    """Compute the area under the ROC curve of sums over large bags, Φ(d√(N/2)).

    Parameters
    ----------
    squared
        Squared distance d² per event, of any shape.
    bag_size
        Number N of events in a bag.

    Examples
    --------
    >>> area_of_bags(0.04, 100).round(3)
    np.float64(0.921)
    """
    area: FloatArray = ndtr(np.sqrt(np.asarray(squared, dtype=np.float64) * bag_size / 2))
    return area


def _distance_and_influence(t: FloatArray, llr: FloatArray) -> tuple[float, FloatArray]:
    """d², and the first-order contribution of each event to it."""
    g = _best_score(llr)
    t, g = t - t.mean(), g - g.mean()
    difference = float(np.mean(t * g))
    # The variance of the mixture contains that between the hypotheses.
    within = float(np.mean(t * t)) - difference**2 / 4
    value = difference**2 / within
    slope = 2 * difference / within + value * difference / (2 * within)
    influence = slope * (t * g - difference) - value / within * (t * t - np.mean(t * t))
    return value, influence


def _best_score(llr: FloatArray) -> FloatArray:
    g: FloatArray = 2 * np.tanh(llr / 2)
    return g


def _error(influence: FloatArray) -> float:
    return float(influence.std(ddof=1) / np.sqrt(len(influence)))


def _score_and_llr(score: ArrayLike, llr: ArrayLike) -> tuple[FloatArray, FloatArray]:
    t, exact = np.asarray(score, dtype=np.float64), np.asarray(llr, dtype=np.float64)
    if t.ndim != 1 or t.shape != exact.shape or len(t) < 2:
        msg = (
            f"scores of shape {t.shape} with log-ratios of shape {exact.shape}; give "
            "one-dimensional arrays with one entry for every event"
        )
        raise SampleError(msg)
    for name, values in (("score", t), ("log-ratio", exact)):
        if not np.isfinite(values).all():
            msg = f"the {name} of event {int(np.argmin(np.isfinite(values)))} is not finite"
            raise SampleError(msg)
        if np.ptp(values) == 0:
            msg = f"the {name} is the same for all events, so it cannot separate them"
            raise SampleError(msg)
    return t, exact


DivergenceKind = Literal["kullback-leibler", "jensen-shannon", "triangular", "squared-hellinger"]


class Divergence(NamedTuple):
    """Lower bound of a divergence, and its standard error.

    Divergences that contain a logarithm are in nats.

    The error is computed from the fluctuation of the events.  For the Kullback–Leibler divergence,
    which contains the mean of the ratio itself, the error can be too small if some ratios are
    large.
    """

    value: float
    error: float


class _Terms(NamedTuple):
    """Terms to average over events of numerator and reference, with factor and offset."""

    numerator: FloatArray
    reference: FloatArray
    factor: float
    offset: float


def divergence(
    kind: DivergenceKind,
    numerator: ArrayLike,
    reference: ArrayLike,
    numerator_weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
) -> Divergence:
    """Estimate a divergence of two densities with the log-ratio of held-out events.

    Parameters
    ----------
    kind
        Name of the divergence: ``"kullback-leibler"``, ``"jensen-shannon"``, ``"triangular"`` or
        ``"squared-hellinger"``; see :mod:`milinfer.diagnostics.separation`.
    numerator, reference
        Log-ratio ln[p₁(x)/p₀(x)] of events from p₁, shape (n₁,), and of events from p₀, shape
        (n₀,).  For example, it can be a column of ``model.event_llr(held_out)``.  The events must
        not have been used to train the model.
    numerator_weights, reference_weights
        Weights of these events.  They may be negative.  Default: all 1.

    Raises
    ------
    ConfigurationError
        If there is no divergence of this name.
    SampleError
        If shapes disagree, a ratio is not finite, or the sum of the weights is not positive.

    Examples
    --------
    The Gaussians N(±0.5, 1) and their exact ratio; the divergence is 0.5:

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> one, zero = rng.normal(0.5, 1, 10_000), rng.normal(-0.5, 1, 10_000)
    >>> bound = divergence("kullback-leibler", one, zero)
    >>> round(bound.value, 2), round(bound.error, 2)
    (0.51, 0.02)
    """
    both = [
        _events(name, ratio, weights)
        for name, ratio, weights in (
            ("numerator", numerator, numerator_weights),
            ("reference", reference, reference_weights),
        )
    ]
    (r1, w1), (r0, w0) = both
    terms = _terms(kind, r1, r0)
    value1, error1 = weighted_mean(terms.numerator, w1)
    value0, error0 = weighted_mean(terms.reference, w0)
    return Divergence(
        terms.offset + terms.factor * float(value1 + value0),
        terms.factor * float(np.hypot(error1, error0)),
    )


def joint_and_product(sample: Sample, columns: Sequence[str], *, seed: Seed) -> SampleSet:
    """Make a sample of the joint density p(x, y) and a sample of the product p(x) p(y).

    Here y are the features in `columns`, and x are all other features.  The events of `sample`
    follow p(x, y).  After a random exchange of the values y between events, they follow p(x) p(y).
    The Kullback–Leibler divergence of p(x, y) from p(x) p(y) is the mutual information of x and y.

    Parameters
    ----------
    sample
        Events with equal weights.
    columns
        Names of the features y, which are exchanged between events, all with the same permutation.
    seed
        Seed of the permutation.

    Returns
    -------
    SampleSet
        Two samples with the parameter ``joint``: the product is at ``joint = 0``, the joint density
        at ``joint = 1``.  If you need training and held-out events, split `sample` before the call:
        both returned samples contain all its events.

    Raises
    ------
    SampleError
        If the weights are not equal, if a feature is missing, or if `columns` contains no feature
        or all features.

    Examples
    --------
    >>> import numpy as np
    >>> label = np.repeat([0.0, 1.0], 3)
    >>> events = Sample(np.column_stack([label + 10, label]), ("x", "label"))
    >>> product, joint = joint_and_product(events, ["label"], seed=1)
    >>> bool(np.all(joint.column("x") - joint.column("label") == 10))
    True
    >>> bool(np.all(product.column("x") - product.column("label") == 10))
    False
    """
    if not np.all(sample.weights == sample.weights[:1]):
        msg = (
            f"{sample.label}: columns cannot be exchanged between events of different weights; "
            "give equal weights"
        )
        raise SampleError(msg)
    chosen = [name in columns for name in sample.feature_names]
    if sum(chosen) != len(set(columns)) or all(chosen) or not any(chosen):
        msg = (
            f"{sample.label}: columns {list(columns)} cannot be exchanged; give some, but not all, "
            f"of {', '.join(sample.feature_names)}"
        )
        raise SampleError(msg)
    order = np.random.default_rng(seed).permutation(len(sample))
    features = np.where(chosen, sample.features[order], sample.features)
    joint = dataclasses.replace(sample, point={"joint": 1.0}, reweights={}, reweight_points={})
    product = dataclasses.replace(joint, features=features, point={"joint": 0.0})
    return SampleSet((product, joint))


def _terms(kind: str, r1: FloatArray, r0: FloatArray) -> _Terms:
    if kind == "kullback-leibler":
        return _Terms(r1, 1 - np.exp(r0), 1, 0)
    if kind == "jensen-shannon":
        return _Terms(log_expit(r1), log_expit(-r0), 0.5, np.log(2))
    if kind == "triangular":
        return _Terms(-(expit(-r1) ** 2), -(expit(r0) ** 2), 2, 1)
    if kind == "squared-hellinger":
        return _Terms(-np.exp(-r1 / 2), -np.exp(r0 / 2), 0.5, 1)
    kinds = ", ".join(get_args(DivergenceKind))
    msg = f"there is no divergence {kind!r}; choose one of {kinds}"
    raise ConfigurationError(msg)


def _events(
    name: str, ratio: ArrayLike, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    values = np.asarray(ratio, dtype=np.float64)
    w = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or w.shape != values.shape:
        msg = (
            f"log-ratios of the {name} have shape {values.shape}, weights {w.shape}; give both as "
            "one-dimensional arrays for two events or more"
        )
        raise SampleError(msg)
    good = np.isfinite(values) & np.isfinite(w)
    if not good.all() or not w.sum() > 0:
        what = (
            "the sum of the weights is not positive"
            if good.all()
            else f"value or weight of event {int(np.argmin(good))} is not finite"
        )
        msg = f"log-ratios of the {name}: {what}"
        raise SampleError(msg)
    return values, w
