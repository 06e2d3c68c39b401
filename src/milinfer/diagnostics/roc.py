r"""ROC curves of weighted scores with errors, for one classifier and for comparing two.

A score separates a signal (large scores) from a background (small scores).  The errors are computed
from the effect of each event on the result, to first order.  For the area under the curve, this is
the error of DeLong, DeLong and Clarke-Pearson (1988).  Two classifiers are compared event by event
on the *same* events, so that the common fluctuation of the events cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.weights import weighted_mean
from milinfer.typing import FloatArray
from milinfer.utils.display import html_facts, measured

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Estimate",
    "Roc",
    "auc_difference",
    "false_positive_difference",
    "false_positive_rate",
    "mean_over_trainings",
    "roc_curve",
    "weighted_auc",
]

Scores: TypeAlias = tuple[ArrayLike, ArrayLike]
"""Scores of the signal and of the background."""

Weights: TypeAlias = tuple[ArrayLike, ArrayLike] | None
"""Weights of the signal and of the background; None: all 1."""

# Half width in the true positive rate for the slope of a curve: at most the first number, and at
# most the second times the distance from 0 or 1, where curves bend.
_WINDOW, _PART = 0.05, 0.25
_RANGE = (0.01, 0.99)


class Estimate(NamedTuple):
    """A measured number and its standard error."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve (receiver operating characteristic), and the area under it.

    Parameters
    ----------
    false_positive, true_positive
        Fraction of the background, and fraction of the signal, with a score at or above each
        threshold, shape (n_thresholds + 1,).  The thresholds are in descending order, so both
        fractions rise from 0 to 1.  Events with equal scores have a common threshold.
    auc, auc_error
        Area under the curve and its standard error.  The area is the probability that a signal
        event has a larger score than a background event; a pair with equal scores counts one half.
    """

    false_positive: FloatArray
    true_positive: FloatArray
    auc: float
    auc_error: float

    def __repr__(self) -> str:
        return f"Roc({len(self.false_positive)} points, AUC {measured(self.auc, self.auc_error)})"

    def _repr_html_(self) -> str:
        facts = {
            "area under the curve": measured(self.auc, self.auc_error),
            "points": len(self.false_positive),
        }
        return html_facts("ROC curve", facts)

    def to_table(self) -> pa.Table:
        """Return a table with a row for each point: ``false_positive``, ``true_positive``."""
        import pyarrow as pa

        rates = (self.false_positive, self.true_positive)
        return pa.table(dict(zip(("false_positive", "true_positive"), rates, strict=True)))

    def at(self, true_positive: ArrayLike) -> FloatArray:
        """Return the false positive rate at each true positive rate (any shape, between 0 and 1).

        Raises
        ------
        SampleError
            If the true positive rate is not a rising function of the false positive rate, because
            of negative weights.
        ParameterError
            If a rate is outside [0, 1].
        """
        rates = np.asarray(true_positive, dtype=np.float64)
        if not np.all((rates >= 0) & (rates <= 1)):
            msg = f"true positive rates must be between 0 and 1, not {rates}"
            raise ParameterError(msg)
        if np.any(np.diff(self.true_positive) < 0):
            msg = (
                "because of negative weights, several thresholds give the same true positive rate; "
                "read the curve from false_positive and true_positive instead"
            )
            raise SampleError(msg)
        return np.asarray(np.interp(rates, self.true_positive, self.false_positive))


def roc_curve(
    signal: ArrayLike,
    background: ArrayLike,
    signal_weights: ArrayLike | None = None,
    background_weights: ArrayLike | None = None,
) -> Roc:
    """Compute the ROC curve (receiver operating characteristic) of weighted scores.

    Parameters
    ----------
    signal, background
        Scores of the signal, shape (n_signal,), and of the background, shape (n_background,).
        Signal should have the larger scores.
    signal_weights, background_weights
        Weights of the same shapes.  They may be negative.  Default: all 1.

    Raises
    ------
    SampleError
        If shapes disagree, if a score is NaN, or if the sum of the weights is not positive.

    Examples
    --------
    >>> roc = roc_curve([2.0, 1.0], [2.0, 0.0])
    >>> roc.false_positive, roc.true_positive, roc.auc
    (array([0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 1. , 1. ]), 0.625)
    >>> roc.at(0.25)
    array(0.25)
    """
    first, second = (
        _sample("signal", signal, signal_weights),
        _sample("background", background, background_weights),
    )
    thresholds = np.unique(np.concatenate([first[0], second[0]]))[::-1]
    rates = []
    for scores, weights in (second, first):
        order = np.argsort(-scores, kind="stable")
        cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
        passed = np.searchsorted(-scores[order], -thresholds, side="right")
        rates.append(np.concatenate([[0.0], cumulative[passed] / cumulative[-1]]))
    return Roc(rates[0], rates[1], *weighted_auc(*first, *second))


def weighted_auc(
    signal: FloatArray,
    signal_weights: FloatArray,
    background: FloatArray,
    background_weights: FloatArray,
) -> tuple[float, float]:
    """Compute the area under the ROC curve of weighted events, and its error (DeLong et al. 1988).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(2)
    >>> weighted_auc(np.array([1.0, 2.0]), one, np.array([0.0, 2.0]), one)[0]
    0.625
    """
    below, above = _placements(signal, signal_weights, background, background_weights)
    auc, error = weighted_mean(below, signal_weights)
    _, other = weighted_mean(above, background_weights)
    return float(auc), float(np.hypot(error, other))


def auc_difference(first: Scores, second: Scores, weights: Weights = None) -> Estimate:
    """Compare the areas under the ROC curves of two classifiers (DeLong et al. 1988).

    Parameters
    ----------
    first, second
        Scores from the first classifier, and scores from the second classifier.  Each is a pair of
        arrays: scores of the signal events and scores of the background events.  Both classifiers
        must score the same events in the same order.
    weights
        Pair of arrays: weights of the signal events and of the background events.  Default: all 1.

    Returns
    -------
    Estimate
        Area of the first classifier minus area of the second, and the error of this difference.
        The error takes into account that the two areas are correlated.

    Raises
    ------
    SampleError
        As for :func:`roc_curve`, or if the classifiers scored different numbers of events.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> one, zero = rng.normal(0.5, 1, 9000), rng.normal(0, 1, 9000)
    >>> noisy = (one + rng.normal(0, 0.5, 9000), zero + rng.normal(0, 0.5, 9000))
    >>> difference = auc_difference((one, zero), noisy)
    >>> 0.01 < difference.value < 0.03, difference.error < 0.6 * roc_curve(one, zero).auc_error
    (True, True)
    """
    pairs, (w1, w0) = _paired_scores(first, second, weights)
    (below, above), (other_below, other_above) = (_placements(s, w1, b, w0) for s, b in pairs)
    value, error = weighted_mean(below - other_below, w1)
    _, rest = weighted_mean(above - other_above, w0)
    return Estimate(float(value), float(np.hypot(error, rest)))


def false_positive_rate(
    scores: Scores, true_positive: float = 0.5, weights: Weights = None
) -> Estimate:
    """Compute the false positive rate at a given true positive rate.

    The error has two parts: the fluctuation of the background above the threshold, and the
    fluctuation of the threshold, which the signal determines.

    Parameters
    ----------
    scores
        Pair of arrays: scores of the signal events and scores of the background events.
    true_positive
        True positive rate between 0.01 and 0.99.  About ten signal events or more are needed on
        each side of the threshold, because the error depends on the slope of the curve at the
        threshold.
    weights
        Pair of arrays: weights of the signal events and of the background events.  They must not be
        negative.  Default: all 1.

    Raises
    ------
    SampleError
        As for :func:`roc_curve`, or if a weight is negative.
    ParameterError
        If the true positive rate is not between 0.01 and 0.99.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 1001)
    >>> rate = false_positive_rate((np.sqrt(x), x), 0.5)  # exact: 1 − √½
    >>> round(rate.value, 3), round(rate.error, 3)
    (0.293, 0.018)
    """
    parts, rate = _rate_parts(scores, true_positive, weights)
    return Estimate(rate, float(np.hypot(*(weighted_mean(p, w)[1] for p, w in parts))))


def false_positive_difference(
    first: Scores, second: Scores, true_positive: float = 0.5, weights: Weights = None
) -> Estimate:
    """Compare the false positive rates of two classifiers on the same events.

    The result is the rate of the first classifier minus the rate of the second, both at the same
    true positive rate.

    Parameters
    ----------
    first, second
        As for :func:`auc_difference`.
    true_positive, weights
        As for :func:`false_positive_rate`.

    Raises
    ------
    SampleError, ParameterError
        As for :func:`false_positive_rate`, or if the classifiers scored different numbers of
        events.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 1001)
    >>> round(false_positive_difference((np.sqrt(x), x), (x, x)).value, 3)
    -0.207
    """
    pairs, both = _paired_scores(first, second, weights)
    (one, rate), (two, other) = (_rate_parts(pair, true_positive, both) for pair in pairs)
    errors = (weighted_mean(a - b, w)[1] for (a, w), (b, _) in zip(one, two, strict=True))
    return Estimate(rate - other, float(np.hypot(*errors)))


def mean_over_trainings(estimates: Sequence[Estimate]) -> Estimate:
    """Average the results of several trainings with different seeds on the same test events.

    The error has two parts: the spread between the trainings divided by the square root of their
    number, and the error due to the finite number of test events.  More trainings do not reduce the
    second part.

    Raises
    ------
    SampleError
        If there are fewer than two estimates.

    Examples
    --------
    >>> mean = mean_over_trainings([Estimate(0.7, 0.003), Estimate(0.708, 0.003)])
    >>> round(mean.value, 3), round(mean.error, 3)
    (0.704, 0.005)
    """
    if len(estimates) < 2:
        msg = f"the spread of {len(estimates)} trainings is undefined; give two or more"
        raise SampleError(msg)
    values, errors = np.array(estimates, dtype=np.float64).T
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return Estimate(float(values.mean()), float(np.hypot(spread, errors.mean())))


def _rate_parts(
    scores: Scores, true_positive: float, weights: Weights
) -> tuple[tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]], float]:
    """Contribution of each event of signal and background to the rate, its weight, and the rate."""
    if not _RANGE[0] <= true_positive <= _RANGE[1]:
        msg = f"true_positive={true_positive} is not between {_RANGE[0]} and {_RANGE[1]}"
        raise ParameterError(msg)
    w1, w0 = (None, None) if weights is None else weights
    (s, w1), (b, w0) = _sample("signal", scores[0], w1), _sample("background", scores[1], w0)
    if min(w1.min(), w0.min()) < 0:
        msg = (
            "some weights are negative, so several thresholds can give this rate; use "
            "auc_difference"
        )
        raise SampleError(msg)
    roc = roc_curve(s, b, w1, w0)
    window = min(_WINDOW, _PART * true_positive, _PART * (1 - true_positive))
    low, high = roc.at([true_positive - window, true_positive + window])
    slope = (high - low) / (2 * window)
    order = np.argsort(-s, kind="stable")
    above = np.searchsorted(np.cumsum(w1[order]) / w1.sum(), true_positive)
    threshold = s[order[min(int(above), len(s) - 1)]]
    passed = [np.asarray(x >= threshold, dtype=np.float64) for x in (s, b)]
    return ((-slope * passed[0], w1), (passed[1], w0)), float(roc.at(true_positive))


def _placements(
    signal: FloatArray,
    signal_weights: FloatArray,
    background: FloatArray,
    background_weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Fractions of background below each signal event, and of signal above each background one."""
    below = _fraction_below(signal, background, background_weights)
    return below, 1 - _fraction_below(background, signal, signal_weights)


def _fraction_below(values: FloatArray, others: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted fraction of `others` below each value; equal values count half."""
    order = np.argsort(others)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    # Neighbours are looked up one after the other: at random, most of the time is memory's.
    by_size = np.argsort(values)
    ordered, looked_up = others[order], values[by_size]
    ranks = [np.searchsorted(ordered, looked_up, side=side) for side in ("left", "right")]
    mean = np.empty(len(values))
    mean[by_size] = (cumulative[ranks[0]] + cumulative[ranks[1]]) / 2
    return mean


def _paired_scores(
    first: Scores, second: Scores, weights: Weights
) -> tuple[list[tuple[FloatArray, FloatArray]], tuple[FloatArray, FloatArray]]:
    """Checked scores by both classifiers, and their common weights."""
    w1, w0 = (None, None) if weights is None else weights
    samples = [(_sample("signal", s, w1), _sample("background", b, w0)) for s, b in (first, second)]
    sizes = [[len(scores) for scores, _ in pair] for pair in samples]
    if sizes[0] != sizes[1]:
        msg = (
            f"the classifiers scored {sizes[0]} and {sizes[1]} events of signal and background; a "
            "paired comparison needs scores of the same events in the same order"
        )
        raise SampleError(msg)
    return [(s[0], b[0]) for s, b in samples], (samples[0][0][1], samples[0][1][1])


def _sample(
    name: str, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    values = np.asarray(scores, dtype=np.float64)
    w = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or w.shape != values.shape:
        msg = (
            f"scores of the {name} have shape {values.shape}, its weights {w.shape}; give scores "
            "and weights as "
            "one-dimensional arrays for two events or more"
        )
        raise SampleError(msg)
    if np.isnan(values).any():
        msg = f"the score of {name} event {int(np.argmax(np.isnan(values)))} is NaN"
        raise SampleError(msg)
    if not (np.isfinite(w).all() and w.sum() > 0):
        msg = f"the weights of the {name} sum to {w.sum():g}; the sum must be positive"
        raise SampleError(msg)
    return values, w
