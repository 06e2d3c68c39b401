"""Bags: groups of events that one prediction is made for.

Splits come first (:meth:`milinfer.SampleSet.split`, by event), bags second, so that no event is
ever on both sides.  *Dynamic* bags are drawn anew in every epoch ([AS], §B.2.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.typing import FloatArray, IntArray

__all__ = ["BagDraw", "bag_offsets", "draw_bags", "effective_sample_size"]


class BagDraw(NamedTuple):
    """Bags of one size.

    Parameters
    ----------
    index
        Event indices, shape (n_bags, bag_size).
    weights
        One weight for each bag, shape (n_bags,).
    """

    index: IntArray  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    weights: FloatArray


def draw_bags(
    weights: FloatArray, bag_size: int, rng: np.random.Generator, *, n_bags: int | None = None
) -> BagDraw:
    r"""Group the events of one sample into bags at random.

    Events of equal weight are permuted and cut into bags: every event is used once, and the
    ``n_events % bag_size`` left over by this draw get their turn in the next one.  Bags of one
    event are the events, each with its weight over the mean weight.  Otherwise events are drawn
    with replacement, with probability :math:`|w_i| / \sum |w|`, and the bag carries the weight
    :math:`\prod_i \mathrm{sign}(w_i)\,(\sum|w| / \sum w)^{N_B}`, so that the
    weighted bags follow :math:`\prod_i p(x_i)` also where weights are negative.  The price of
    negative weights is the growth of the variance with the bag size; see
    :func:`effective_sample_size`.

    Parameters
    ----------
    weights
        Event weights, shape (n_events,).
    bag_size
        Events in a bag.
    rng
        Source of randomness.
    n_bags
        Number of bags; default ``n_events // bag_size``.

    Raises
    ------
    SampleError
        If there are fewer events than fit into one bag, or the weights do not sum to a positive
        number.

    Examples
    --------
    >>> import numpy as np
    >>> draw = draw_bags(np.ones(10), 3, np.random.default_rng(1))
    >>> draw.index.shape, draw.weights
    ((3, 3), array([1., 1., 1.]))
    """
    n_events = len(weights)
    available = n_events // bag_size
    if available == 0:
        msg = (
            f"{n_events} events cannot fill one bag of {bag_size}; use more events or smaller bags"
        )
        raise SampleError(msg)
    count = available if n_bags is None else n_bags
    uniform = bool(np.all(weights == weights[0])) and weights[0] > 0
    if uniform and count <= available:
        index = rng.permutation(n_events)[: count * bag_size].reshape(count, bag_size)
        return BagDraw(index, np.ones(count))
    absolute = np.abs(weights)
    total = weights.sum()
    if bag_size == 1 and count <= available and total > 0:
        index = rng.permutation(n_events)[:count, None]
        return BagDraw(index, weights[index[:, 0]] * (n_events / total))
    if not total > 0:
        msg = f"the event weights sum to {total:g}; a sample needs a positive sum of weights"
        raise SampleError(msg)
    cumulative = np.cumsum(absolute)
    uniforms = rng.random(count * bag_size) * cumulative[-1]
    index = np.searchsorted(cumulative, uniforms, side="right").reshape(count, bag_size)
    np.minimum(index, n_events - 1, out=index)
    signs = np.prod(np.sign(weights)[index], axis=1)
    return BagDraw(index, signs * (cumulative[-1] / total) ** bag_size)


def bag_offsets(n_events: int, bag_size: int) -> IntArray:
    """Offsets of consecutive bags in a dataset, shape (n_bags + 1,); the last may be smaller.

    Examples
    --------
    >>> bag_offsets(7, 3)
    array([0, 3, 6, 7])
    """
    offsets = np.arange(0, n_events + bag_size, bag_size, dtype=np.int64)
    offsets = offsets[: int(np.ceil(n_events / bag_size)) + 1]
    offsets[-1] = n_events
    return offsets


def effective_sample_size(weights: FloatArray, bag_size: int = 1) -> float:
    r"""Number of unweighted events (bags) with the same statistical power.

    For events :math:`(\sum w)^2 / \sum w^2`; for bags of signed weights the number of bags times
    :math:`(\sum w / \sum |w|)^{2 N_B}`.

    Examples
    --------
    >>> import numpy as np
    >>> effective_sample_size(np.array([1.0, 1.0, 1.0, -1.0]))
    1.0
    """
    total = weights.sum()
    events = float(total**2 / np.sum(weights**2))
    if bag_size == 1:
        return events
    dilution = float(total / np.abs(weights).sum()) ** (2 * bag_size)
    return float(np.abs(weights).sum() ** 2 / np.sum(weights**2)) / bag_size * dilution
