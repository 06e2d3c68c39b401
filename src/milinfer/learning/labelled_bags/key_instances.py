"""Quality of the ranking of instances, for bags with known important instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from milinfer.exceptions import SampleError
from milinfer.typing import FloatArray

__all__ = ["KeyAccuracy", "first_accuracy", "rank_accuracy"]


class KeyAccuracy(NamedTuple):
    """Mean over the bags that can be judged.

    Parameters
    ----------
    value, error
        Mean, and its standard error from the spread of the bags.
    of_bags
        Result of each bag, shape (n_bags,); NaN if all of its instances have the same truth.
    """

    value: float
    error: float
    of_bags: FloatArray


def rank_accuracy(values: Sequence[Any], truth: Sequence[Any]) -> KeyAccuracy:
    """Mean over bags of Spearman's rank correlation between values of instances and the truth.

    milearn's ``kid_ranking_accuracy`` of a regression.  A bag whose values are all equal ranks
    nothing, and gives zero.  A bag whose truth is all equal (also one of a single instance) cannot
    be judged, gives NaN and is not in the mean.

    Parameters
    ----------
    values
        One array for each bag, as :meth:`milinfer.BagRegressor.instance_weights` and
        :meth:`~milinfer.BagRegressor.instance_contributions` give them.
    truth
        Importance of each instance, in the same form.

    Raises
    ------
    SampleError
        If the two do not belong together, a number is not finite, or no bag can be judged.

    Examples
    --------
    >>> import numpy as np
    >>> weights = [np.array([0.1, 0.7, 0.2]), np.array([0.6, 0.4]), np.array([1.0])]
    >>> rank_accuracy(weights, [[0, 9, 4], [1, 2], [3]]).of_bags
    array([ 1., -1., nan])
    >>> rank_accuracy(weights[:1], [[0, 9, 4]]).value
    1.0
    """
    return _over_bags(_rank_correlation, values, truth)


def first_accuracy(values: Sequence[Any], truth: Sequence[Any]) -> KeyAccuracy:
    """Fraction of bags in which the top-ranked instance is among the most important ones.

    Bags are judged as in :func:`rank_accuracy`.  If several values are the largest, the first
    counts, as in :meth:`milinfer.BagClassifier.key_instances`.

    Parameters
    ----------
    values, truth
        As for :func:`rank_accuracy`; key instances and others are ones and zeros.

    Raises
    ------
    SampleError
        As :func:`rank_accuracy`.

    Examples
    --------
    >>> first_accuracy([[0.1, 0.7, 0.2], [0.6, 0.4]], [[0, 1, 1], [0, 1]]).value
    0.5
    """
    return _over_bags(lambda v, t: float(t[np.argmax(v)] == t.max()), values, truth)


def _over_bags(judge: Any, values: Sequence[Any], truth: Sequence[Any]) -> KeyAccuracy:
    if len(values) != len(truth):
        msg = f"there are values for {len(values)} bags, but the truth for {len(truth)}"
        raise SampleError(msg)
    of_bags = np.full(len(values), np.nan)
    for b, (one, other) in enumerate(zip(values, truth, strict=True)):
        value, true = (np.asarray(part, dtype=np.float64) for part in (one, other))
        if value.ndim != 1 or value.shape != true.shape or len(value) == 0:
            msg = (
                f"bag {b} has values of shape {value.shape} and a truth of shape {true.shape}; "
                "both need one number for each instance"
            )
            raise SampleError(msg)
        if not (np.isfinite(value).all() and np.isfinite(true).all()):
            msg = f"bag {b} has a value or a truth that is NaN or infinite"
            raise SampleError(msg)
        if np.ptp(true) > 0:
            of_bags[b] = judge(value, true)
    judged = of_bags[np.isfinite(of_bags)]
    if len(judged) == 0:
        msg = (
            "the truth has the same value for all instances of every bag, so the ranking cannot be "
            "evaluated"
        )
        raise SampleError(msg)
    error = judged.std(ddof=1) / np.sqrt(len(judged)) if len(judged) > 1 else np.nan
    return KeyAccuracy(float(judged.mean()), float(error), of_bags)


def _rank_correlation(values: FloatArray, truth: FloatArray) -> float:
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])
