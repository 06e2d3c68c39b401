"""Weights of labelled bags: a bag with weight 3 has the same effect as three copies of it.

Equal bags with equal labels are merged into one bag with the sum of their weights.  Copies are
therefore never on both sides of a split, and a training gives the same result for a weighted and
for a repeated bag.  The order of the bags depends on their contents, and not on their order in the
input.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.learning.labelled_bags.ragged import RaggedBags
from milinfer.typing import FloatArray

__all__ = ["TrainingBags", "bag_weights", "distinct_bags", "weighted_moments"]


class TrainingBags(NamedTuple):
    """Bags for a training; equal bags with equal targets have been merged.

    Parameters
    ----------
    bags, targets, weights
        Bags, and training target and positive weight of each bag.
    """

    bags: RaggedBags
    targets: FloatArray
    weights: FloatArray

    def reweighted(self, factors: FloatArray) -> TrainingBags:
        """Return the bags, with the weight of each bag multiplied by a given factor."""
        return self._replace(weights=self.weights * factors)

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of each feature; see :func:`weighted_moments`."""
        weights = np.repeat(self.weights, self.bags.sizes)
        return weighted_moments(self.bags.instances, weights)


def bag_weights(weights: Any, n_bags: int) -> FloatArray:
    """Check the weights of bags and return them as an array; None means that all weights are 1.

    Raises
    ------
    SampleError
        If there is not one finite, non-negative weight for each bag, or all are zero.

    Examples
    --------
    >>> bag_weights([1, 0, 2.5], 3)
    array([1. , 0. , 2.5])
    """
    if weights is None:
        return np.ones(n_bags)
    try:
        values = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"sample_weight is not a list of numbers: {error}"
        raise SampleError(msg) from error
    if values.shape != (n_bags,):
        msg = f"sample_weight has shape {values.shape}; {n_bags} bags need ({n_bags},)"
        raise SampleError(msg)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        msg = f"sample_weight of bag {wrong[0]} is {values[wrong[0]]}; use 0 or a positive number"
        raise SampleError(msg)
    if not values.any():
        msg = "sample_weight is zero for all bags; give at least two bags a positive weight"
        raise SampleError(msg)
    return values


def distinct_bags(bags: RaggedBags, targets: FloatArray, weights: FloatArray) -> TrainingBags:
    """Merge equal bags with equal targets, and order all bags by their contents.

    Raises
    ------
    SampleError
        If there are fewer than two different bags.

    Examples
    --------
    >>> from milinfer.learning.labelled_bags.ragged import ragged_bags
    >>> bags = ragged_bags([[[1.0]], [[2.0], [3.0]], [[1.0]]])
    >>> distinct = distinct_bags(bags, np.array([0.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0]))
    >>> distinct.weights.tolist()
    [1.0, 3.0]
    """
    instances = bags.instances + 0.0  # -0.0 is 0.0
    digests = b"".join(
        blake2b(instances[a:b].tobytes() + target.tobytes(), digest_size=16).digest()
        for (a, b), target in zip(pairwise(bags.offsets.tolist()), targets + 0.0, strict=True)
    )
    keys = np.frombuffer(digests, ">u8").reshape(len(targets), 2)
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    if len(first) < 2:
        msg = (
            "X has one bag, not counting copies and bags of weight zero; training needs two or more"
        )
        raise SampleError(msg)
    totals = np.bincount(number.ravel(), weights).astype(np.float64)
    return TrainingBags(bags.take(first), targets[first], totals)


def weighted_moments(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each column; 1 is the deviation of a constant column.

    Examples
    --------
    >>> mean, deviation = weighted_moments(np.array([[0.0, 0.1], [4.0, 0.1]]), np.array([3.0, 1.0]))
    >>> mean, deviation
    (array([1. , 0.1]), array([1.73205081, 1.        ]))
    """
    mean = np.average(values, axis=0, weights=weights)
    deviation = np.sqrt(np.average(np.square(values - mean), axis=0, weights=weights))
    # A deviation due to rounding of the mean must not become the unit of a constant feature.
    constant = values.min(axis=0) == values.max(axis=0)
    mean = np.where(constant, values[0], mean)
    return mean, np.where(constant | ~(deviation > 0), 1.0, deviation)
