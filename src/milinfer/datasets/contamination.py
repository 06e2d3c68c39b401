r"""Make bags of signal and background events for training and tests, with exact likelihood ratios.

A contaminated bag contains :math:`n_s` events of a signal that depends on θ, and :math:`n_b` events
of a background that does not.  Let :math:`b = p_b(x)/p_s(x|\theta_0)`, and let :math:`\lambda` be
the log-likelihood ratio of a signal event between θ and θ0.  The exact log-likelihood ratio of a
bag depends on the information about the bag:

* If it is known which events are signal, the ratio is the sum of the λ of these events.  The
  background events have no effect.
* If only the number of signal events is known, the ratio is the logarithm of a sum over all choices
  of the signal events (:func:`composition_llr`).
* If each event may be signal or background, the ratio is the sum of :func:`mixture_llr` over the
  events.  This is exact if the number of signal events fluctuates binomially.

The first ratio is no useful bound for classifiers: if signal and background overlap, no function of
the features can reach it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.bags import draw_bags
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray, Seed

__all__ = [
    "ContaminatedBags",
    "composition_llr",
    "contaminate",
    "contaminated_bags",
    "mixture_llr",
]


def contaminate(
    samples: SampleSet, background: Sample, ratio: float, *, seed: int = 0
) -> SampleSet:
    """Add background to every signal sample: `ratio` background events for each signal event.

    The background events are distributed at random, and no background event is in two samples.  A
    bag of N events of a mixture has N/(1 + ratio) signal events on average.

    Parameters
    ----------
    samples
        Signal samples, one at each parameter point.
    background
        Background with the same features.
    ratio
        Number of background events for each signal event, not negative.  For each sample, the
        number of background events is rounded.
    seed
        Random seed of the distribution of the background events.

    Returns
    -------
    SampleSet
        The mixtures, one at the point of each signal sample.  In each mixture, the weights of the
        signal events are scaled to the mean one, and so are the weights of the background events.
        Weights at other points are not kept.

    Raises
    ------
    ParameterError
        If the ratio is negative, infinite or not a number.
    SampleError
        If signal and background have different features, if there are too few background events, or
        if a mean weight is not positive.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> background = gaussian.generate(60, 3.0, seed=1)
    >>> mixed = contaminate(gaussian.samples(50, [0.0, 0.5], seed=2), background, 0.4)
    >>> [len(sample) for sample in mixed]
    [70, 70]
    """
    if not 0 <= ratio < np.inf:
        msg = f"ratio={ratio} of background to signal events must be a number of 0 or more"
        raise ParameterError(msg)
    if background.feature_names != samples.feature_names:
        msg = (
            f"{background.label} has features {background.feature_names}, the signal has "
            f"{samples.feature_names}; give both the same, in the same order"
        )
        raise SampleError(msg)
    n_background = [round(ratio * len(s)) for s in samples]
    if sum(n_background) > len(background):
        msg = (
            f"{background.label}: {sum(n_background)} events are needed, {ratio:g} for each of "
            f"{samples.n_events} signal events, but there are {len(background)}"
        )
        raise SampleError(msg)
    order = np.random.default_rng(seed).permutation(len(background))
    stops = np.cumsum(n_background)
    return SampleSet(
        tuple(
            _mixture(signal, background.take(order[stop - n : stop]))
            for signal, stop, n in zip(samples, stops, n_background, strict=True)
        )
    )


def _mixture(signal: Sample, background: Sample) -> Sample:
    parts = (signal, background) if len(background) else (signal,)
    weights = []
    for part in parts:
        mean = part.weights.mean()
        if not mean > 0:
            msg = (
                f"{part.label}: the mean weight is {mean:g}; a mixture needs a positive mean weight"
            )
            raise SampleError(msg)
        weights.append(part.weights / mean)
    return Sample(
        features=np.concatenate([p.features for p in parts]),
        feature_names=signal.feature_names,
        weights=np.concatenate(weights),
        point=signal.point,
        process=" + ".join(p.process for p in parts),
        provenance={"mixture": {p.label: len(p) for p in parts}},
    )


class ContaminatedBags(NamedTuple):
    """Bags with fixed numbers of signal and of background events.

    Parameters
    ----------
    signal
        Row numbers of the events in the signal sample, shape (n_bags, n_signal).
    background
        Row numbers of the events in the background sample, shape (n_bags, n_background).
    weights
        Weight of each bag, shape (n_bags,); all 1 if the events have equal weights.
    """

    signal: IntArray
    background: IntArray
    weights: FloatArray

    def with_background(self, n_background: int) -> ContaminatedBags:
        """Keep only the first `n_background` background events of each bag.

        Raises
        ------
        ParameterError
            If the bags have fewer than `n_background` background events.
        """
        if not 0 <= n_background <= self.background.shape[1]:
            most = self.background.shape[1]
            msg = f"these bags have {most} background events each, not {n_background}"
            raise ParameterError(msg)
        return self._replace(background=self.background[:, :n_background])

    def gather(self, signal: FloatArray, background: FloatArray) -> FloatArray:
        """Take the values of the events of each bag, with the shape (n_bags, n).

        The arguments have one value for each event of the signal sample and of the background
        sample.  In each bag of n events, the signal events are first.
        """
        return np.concatenate([signal[self.signal], background[self.background]], axis=1)


def contaminated_bags(
    signal: Sample,
    background: Sample,
    n_signal: int,
    n_background: int,
    *,
    n_bags: int | None = None,
    seed: Seed = 0,
) -> ContaminatedBags:
    """Group events into bags of `n_signal` signal and `n_background` background events.

    If all weights are equal, each event is in at most one bag.
    :func:`milinfer.samples.bags.draw_bags` describes how events with different weights are drawn.

    Parameters
    ----------
    signal, background
        Events that were not used to train a classifier.
    n_signal, n_background
        Numbers of signal and background events in each bag; `n_background` may be 0.
    n_bags
        Number of bags; default: the largest number for which both samples have enough events.
    seed
        Random seed of the grouping.

    Raises
    ------
    SampleError
        If there are too few events.
    ParameterError
        If a number of events or bags is too small.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> signal, background = gaussian.samples(100, [0.0, 3.0], seed=1)
    >>> bags = contaminated_bags(signal, background, 10, 20)
    >>> bags.signal.shape, bags.background.shape
    ((5, 10), (5, 20))
    >>> bags.gather(signal.features[:, 0], background.features[:, 0]).shape
    (5, 30)
    """
    if n_signal < 1 or n_background < 0 or (n_bags is not None and n_bags < 1):
        msg = (
            f"bags of n_signal={n_signal} and n_background={n_background} events, n_bags={n_bags}: "
            "give at least one bag and one signal event, and no negative background"
        )
        raise ParameterError(msg)
    numbers = [(signal, n_signal), *([(background, n_background)] if n_background else [])]
    if n_bags is None:
        n_bags = max(min(len(sample) // n for sample, n in numbers), 1)
    for sample, n in numbers:
        if n_bags * n > len(sample):
            msg = (
                f"{sample.label}: {len(sample)} events do not fill {n_bags} bags with {n} each; "
                "use more events or fewer bags"
            )
            raise SampleError(msg)
    rng = np.random.default_rng(seed)
    first = draw_bags(signal.weights, n_signal, rng, n_bags=n_bags)
    empty = np.zeros((n_bags, 0), dtype=np.int64)
    if not n_background:
        return ContaminatedBags(first.index, empty, first.weights)
    second = draw_bags(background.weights, n_background, rng, n_bags=n_bags)
    return ContaminatedBags(first.index, second.index, first.weights * second.weights)


def mixture_llr(llr: ArrayLike, log_background: ArrayLike, ratio: float) -> FloatArray:
    r"""Compute the log-likelihood ratio of an event of a mixture, ln[(e^λ + f b)/(1 + f b)].

    Parameters
    ----------
    llr
        Log-likelihood ratio of the signal, λ = ln p_s(x|θ)/p_s(x|θ0), an array of any shape.
    log_background
        ln b = ln p_b(x)/p_s(x|θ0), with the shape of `llr`.
    ratio
        Expected number f of background events for each signal event.

    Returns
    -------
    ndarray
        Log-likelihood ratio of each event of the mixture, with the shape of `llr`.

    Examples
    --------
    >>> mixture_llr([0.5, 0.5], [-9.0, 0.0], 1.0).round(3)
    array([0.5  , 0.281])
    """
    signal, other = np.asarray(llr, dtype=np.float64), np.asarray(log_background, dtype=np.float64)
    if ratio == 0:
        return signal.copy()
    shifted = other + np.log(ratio)
    out: FloatArray = np.logaddexp(signal, shifted) - np.logaddexp(0.0, shifted)
    return out


def composition_llr(llr: ArrayLike, log_background: ArrayLike, n_signal: int) -> FloatArray:
    r"""Compute the exact log-likelihood ratio of bags with a known number of signal events.

    All choices of the :math:`n_s` signal events are equally likely.  The likelihood of a bag is
    therefore proportional to the elementary symmetric polynomial :math:`e_{n_s}` of the ratios
    :math:`p_s(x_i|\theta)/p_b(x_i)`.  The polynomial is computed event by event.

    Parameters
    ----------
    llr, log_background
        As for :func:`mixture_llr`.  For bags of n events, the shape is (n_bags, n).
    n_signal
        Number of signal events in each bag, from 1 to n.

    Returns
    -------
    ndarray
        Log-likelihood ratio of each bag, shape (n_bags,).

    Raises
    ------
    ParameterError
        If the shapes do not agree, or if `n_signal` is not between 1 and n.

    Examples
    --------
    One of two events is signal.  For both events, p_b(x) is equal to p_s(x|θ0):

    >>> composition_llr([[1.0, -1.0]], [[0.0, 0.0]], 1).round(4)  # ln cosh 1
    array([0.4338])
    """
    signal, other = np.asarray(llr, dtype=np.float64), np.asarray(log_background, dtype=np.float64)
    if signal.ndim != 2 or signal.shape != other.shape or not 1 <= n_signal <= signal.shape[1]:
        msg = (
            f"log-ratios of shape {signal.shape} and backgrounds of shape {other.shape} with "
            f"{n_signal} signal events; give (n_bags, n) twice, and a number from 1 to n"
        )
        raise ParameterError(msg)
    return _log_symmetric(signal - other, n_signal) - _log_symmetric(-other, n_signal)


def _log_symmetric(log_values: FloatArray, degree: int) -> FloatArray:
    """Logarithm of the elementary symmetric polynomial of each row, shape (n_rows,)."""
    n_rows, n = log_values.shape
    powers: FloatArray = np.full((degree + 1, n_rows), -np.inf)
    powers[0] = 0.0
    for k in range(n):
        # From the highest degree down, so that lower degrees do not contain this value yet.
        top = min(k + 1, degree)
        np.logaddexp(powers[1 : top + 1], powers[:top] + log_values[:, k], out=powers[1 : top + 1])
    logs: FloatArray = powers[degree]
    return logs
