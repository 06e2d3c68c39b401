"""Measure how well instances are ranked, for bags whose important instances are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from milinfer.exceptions import SampleError
from milinfer.typing import FloatArray

__all__ = ["KeyAccuracy", "first_accuracy", "rank_accuracy"]


class KeyAccuracy(NamedTuple):
    """Accuracy of the ranking of instances, averaged over bags.

    Parameters
    ----------
    value, error
        Mean accuracy of the bags, and its standard error, which is computed from their spread.
    of_bags
        Accuracy of each bag, shape (n_bags,); NaN if all instances of the bag have the same true
        importance, so that no ranking is better than another.
    """

    value: float
    error: float
    of_bags: FloatArray


def rank_accuracy(values: Sequence[Any], truth: Sequence[Any]) -> KeyAccuracy:
    """Return Spearman's rank correlation of values and true importance, averaged over bags.

    milearn calls this number ``kid_ranking_accuracy`` (for a regression).  The correlation of a bag
    is zero if all its values are equal.  It is NaN, and not included in the mean, if all instances
    of the bag have the same true importance, for example if the bag has only one instance.

    Parameters
    ----------
    values
        Values by which instances are ranked, one array for each bag, such as the results of
        :meth:`milinfer.BagRegressor.instance_weights` and
        :meth:`~milinfer.BagRegressor.instance_contributions`.
    truth
        True importance of each instance, one array for each bag.

    Raises
    ------
    SampleError
        If `values` and `truth` have different shapes, if a number is not finite, or if the result
        of every bag is NaN.

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
    """Return the fraction of bags whose first-ranked instance is among the most important ones.

    A bag does not count, and its result is NaN, if all its instances have the same true importance.
    If several instances of a bag have the largest value, the first of them is ranked first, as in
    :meth:`milinfer.BagClassifier.key_instances`.

    Parameters
    ----------
    values, truth
        As for :func:`rank_accuracy`.  If instances are either key instances or not, pass 1 and 0 as
        the true importance.

    Raises
    ------
    SampleError
        Under the same conditions as for :func:`rank_accuracy`.

    Examples
    --------
    >>> first_accuracy([[0.1, 0.7, 0.2], [0.6, 0.4]], [[0, 1, 1], [0, 1]]).value
    0.5
    """
    return _over_bags(lambda v, t: float(t[np.argmax(v)] == t.max()), values, truth)


def _over_bags(judge: Any, values: Sequence[Any], truth: Sequence[Any]) -> KeyAccuracy:
    if len(values) != len(truth):
        msg = f"values has {len(values)} bags, but truth has {len(truth)}; pass the same bags"
        raise SampleError(msg)
    of_bags = np.full(len(values), np.nan)
    for b, (one, other) in enumerate(zip(values, truth, strict=True)):
        value, true = (np.asarray(part, dtype=np.float64) for part in (one, other))
        if value.ndim != 1 or value.shape != true.shape or len(value) == 0:
            msg = (
                f"bag {b}: values has shape {value.shape} and truth has shape {true.shape}; "
                "both need one number for each instance"
            )
            raise SampleError(msg)
        if not (np.isfinite(value).all() and np.isfinite(true).all()):
            msg = f"bag {b}: a number in values or truth is NaN or infinite; remove such bags"
            raise SampleError(msg)
        if np.ptp(true) > 0:
            of_bags[b] = judge(value, true)
    judged = of_bags[np.isfinite(of_bags)]
    if len(judged) == 0:
        msg = (
            "truth has the same value for all instances of every bag, so the ranking cannot be "
            "evaluated; pass bags with important and unimportant instances"
        )
        raise SampleError(msg)
    error = judged.std(ddof=1) / np.sqrt(len(judged)) if len(judged) > 1 else np.nan
    return KeyAccuracy(float(judged.mean()), float(error), of_bags)


def _rank_correlation(values: FloatArray, truth: FloatArray) -> float:
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])
