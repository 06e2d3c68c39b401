r"""Group events into bags.  A network makes one prediction for all events of a bag.

Split the events first (:meth:`milinfer.SampleSet.split`) and group them into bags afterwards, so
that no event is in both parts of the split.  *Dynamic* bags are drawn anew in every epoch ([AS],
§B.2.2).

For independent events the likelihood ratio of a bag is the product of the likelihood ratios of its
events ([NT], eq. 2).  A classifier of events can therefore be converted into a classifier of bags,
and the other way round:

:math:`f_{1\to N}` ([NT], eq. 13; [AS], §C.3)
    From a classifier of single events to a classifier of bags: :func:`bag_log_ratio` sums the
    log-ratios of the events over each bag.  The output of the classifier for a bag is
    ``scipy.special.expit`` of the sum ([AS], eq. 38).

:math:`f_{N\to 1}` ([NT], eqs. 14 and 32)
    From a classifier of bags whose logit is a sum over events, Σφ(x_i), to a classifier of single
    events: φ(x_i) is the log-ratio of the event.  A
    :class:`~milinfer.learning.bag_likelihood.BagLikelihood` has this form for every class k: with
    the mean embedding and a linear last layer of weights W and biases b, the log-ratio of a bag is
    :math:`\sum_i [(W_k - W_0)\phi(x_i) + b_k - b_0] / N_B`.  Its ``event_llr`` returns the term of
    event i in this sum, and is therefore :math:`f_{N\to 1}`.

Both kinds of classifiers give log-ratios of events, shape (n_events, K), so that they can be
compared on the same bags.

The likelihood ratio of a bag does not depend on the order of its events.  :func:`listed_bags` makes
one row of each bag, for classifiers whose output may depend on this order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, IntArray

__all__ = ["BagDraw", "bag_log_ratio", "bag_offsets", "draw_bags", "listed_bags"]


@dataclass(frozen=True, eq=False)
class BagDraw:
    """Bags of one size.

    Parameters
    ----------
    index
        Indices of the events of each bag, shape (n_bags, bag_size).
    weights
        One weight for each bag, shape (n_bags,).
    """

    index: IntArray
    weights: FloatArray


def draw_bags(
    weights: FloatArray, bag_size: int, rng: np.random.Generator, *, n_bags: int | None = None
) -> BagDraw:
    r"""Group the events of one sample into bags at random.

    * If all weights are equal, the events are put in random order and cut into bags.  Every event
      is used at most once, and ``n_events % bag_size`` events are left over, different ones in
      every draw.
    * If the weights differ and a bag has one event, every event is used at most once.  The weight
      of the bag is the weight of its event divided by the mean weight.
    * If the weights differ and a bag has more than one event, events are drawn with replacement,
      with the probability :math:`|w_i| / \sum |w|`.  The weight of the bag is
      :math:`\prod_i \mathrm{sign}(w_i)\,(\sum|w| / \sum w)^{N_B}`.  The weighted bags therefore
      follow :math:`\prod_i p(x_i)`, even if some weights are negative.

    If `n_bags` is larger than its default, events are always drawn with replacement.  With negative
    weights the variance grows with the bag size; see
    :func:`milinfer.samples.weights.effective_number`.

    Parameters
    ----------
    weights
        Event weights, shape (n_events,).
    bag_size
        Events in a bag.
    rng
        Random generator.
    n_bags
        Number of bags; default ``n_events // bag_size``.

    Raises
    ------
    SampleError
        If there are fewer events than fit into one bag, or if the weights do not sum to a positive
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
    """Cut a dataset into consecutive bags: return where they begin, and where the last bag ends.

    The result has the shape (n_bags + 1,).  The last bag may be smaller than `bag_size`.

    Examples
    --------
    >>> bag_offsets(7, 3)
    array([0, 3, 6, 7])
    """
    offsets = np.arange(0, n_events + bag_size, bag_size, dtype=np.int64)
    offsets = offsets[: int(np.ceil(n_events / bag_size)) + 1]
    offsets[-1] = n_events
    return offsets


def bag_log_ratio(event_log_ratio: ArrayLike, offsets: ArrayLike) -> FloatArray:
    """Sum the log-likelihood ratios of events over bags.

    Parameters
    ----------
    event_log_ratio
        Log-likelihood ratios of shape (n_events,) or (n_events, K), such as the result of
        ``event_llr`` of any model.
    offsets
        Where each bag begins, and where the last bag ends: shape (n_bags + 1,), ascending.  Bag b
        holds the events from ``offsets[b]`` up to but not including ``offsets[b + 1]``; a bag may
        be empty.  :func:`milinfer.samples.bags.bag_offsets` makes offsets.

    Returns
    -------
    ndarray
        Log-likelihood ratios of the bags, shape (n_bags,) or (n_bags, K), summed in float64.

    Raises
    ------
    ParameterError
        If the offsets descend or point beyond the events.

    Examples
    --------
    >>> from milinfer.samples.bags import bag_offsets
    >>> bag_log_ratio([0.1, 0.2, -0.1, 0.4], bag_offsets(4, 3)).round(6)
    array([0.2, 0.4])
    """
    ratios = np.asarray(event_log_ratio, dtype=np.float64)
    edges = np.asarray(offsets)
    good = ratios.ndim in (1, 2) and edges.ndim == 1 and len(edges) > 0
    if not good or not np.issubdtype(edges.dtype, np.integer):
        msg = (
            f"log-ratios of shape {ratios.shape} with offsets of shape {edges.shape} and type "
            f"{edges.dtype}; give (n_events,) or (n_events, K), and n_bags + 1 integers"
        )
        raise ParameterError(msg)
    if edges[0] < 0 or edges[-1] > len(ratios) or np.any(np.diff(edges) < 0):
        msg = f"offsets of bags must ascend from 0 or more to at most {len(ratios)} events"
        raise ParameterError(msg)
    bags = np.zeros((len(edges) - 1, *ratios.shape[1:]))
    # Between the starts of two bags with events there are only empty bags, which add nothing.
    filled = np.flatnonzero(np.diff(edges))
    if len(filled):
        bags[filled] = np.add.reduceat(ratios[: edges[-1]], edges[filled], axis=0)
    return bags


def listed_bags(sample: Sample, bag_size: int, sort_by: str | None = None) -> Sample:
    """Make one row of each bag of consecutive events, with their features side by side.

    A network that is trained with these rows is a classifier of bags whose output may depend on the
    order of the events.  It is the list classifier of [NT], or with `sort_by` the sorted classifier
    of [NT].

    Parameters
    ----------
    sample
        Events of equal weights.
    bag_size
        Number of events in a bag.  Events that do not fill a last bag are left out.
    sort_by
        Feature by which the events of each bag are sorted, in descending order; default: the order
        of the sample.

    Returns
    -------
    Sample
        One row with the weight one for each bag.  For the feature ``x`` of the events, the row has
        the features ``x[0]``, ``x[1]``, …

    Raises
    ------
    SampleError
        If the weights differ, if there are too few events for one bag, or if there is no feature
        `sort_by`.

    Examples
    --------
    >>> events = Sample(np.array([[1.0], [3.0], [2.0], [5.0], [4.0]]), ("x",))
    >>> bags = listed_bags(events, 2, sort_by="x")
    >>> bags.feature_names
    ('x[0]', 'x[1]')
    >>> bags.features
    array([[3., 1.],
           [5., 2.]], dtype=float32)
    """
    n_bags = len(sample) // bag_size if bag_size > 0 else 0
    if n_bags == 0:
        msg = f"{sample.label}: {len(sample)} events do not fill one bag of {bag_size}"
        raise SampleError(msg)
    if not np.all(sample.weights == sample.weights[0]):
        msg = (
            f"{sample.label}: the weights of the events differ; use a sample of equal weights, "
            "because the list classifier takes no weights"
        )
        raise SampleError(msg)
    shape = (n_bags, bag_size, len(sample.feature_names))
    bags = sample.features[: n_bags * bag_size].reshape(shape)
    if sort_by is not None:
        keys = sample.column(sort_by)[: n_bags * bag_size].reshape(shape[:2])
        order = np.argsort(-keys, axis=1, kind="stable")
        bags = np.take_along_axis(bags, order[:, :, None], axis=1)
    return replace(
        sample,
        features=bags.reshape(n_bags, -1),
        feature_names=tuple(f"{n}[{i}]" for i in range(bag_size) for n in sample.feature_names),
        weights=np.ones(n_bags),
        reweights={},
        reweight_points={},
    )
