"""Training sets of networks: bags of events and their labels.

* :class:`ClassBags`: bags from K samples.  The label is the number of the sample, or the joint
  likelihood ratio of the events (and the joint score).
* :class:`PairBags`: bags, each with a value of θ.  The label says whether the bag was simulated at
  this θ.  This is the training set of the parametrised network.

Importing this module imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from milinfer.learning.networks.backend import keras
from milinfer.samples.bags import draw_bags
from milinfer.samples.reweighting import JointTargets
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Float32Array, FloatArray, IntArray

__all__ = ["ClassBags", "EpochBags", "PairBags", "PairedEvents", "StreamedBags", "TrainingBags"]

ops = keras.ops

# Fraction of negative bags at θ0 from the nearest and second-nearest neighbours on either side
# ([AS], §C.5).
_NEIGHBOURS = (0.3, 0.2)


class EpochBags(NamedTuple):
    """Shuffled bags of an epoch.

    Parameters
    ----------
    index
        Event indices, shape (n_bags, bag_size).
    labels
        Number of the sample of each bag; for pairs of bag and θ, 1 if they belong together, else 0.
    weights
        Weights of the bags, shape (n_bags,), float32, of mean one.
    theta
        Index of the parameter point θ of each bag; zeros if bags have no θ.
    """

    index: IntArray  # type: ignore[assignment]  # shadows tuple.index
    labels: IntArray
    weights: Float32Array
    theta: IntArray


class TrainingBags(Protocol):
    """Source of labelled bags."""

    bag_size: int
    n_classes: int
    data: dict[str, Any]
    """Tensors that batches are gathered from; they stay on the device of the network."""

    def draw(self, rng: np.random.Generator) -> EpochBags:
        """Draw the bags of an epoch."""

    def batch(
        self, index: Any, labels: Any, theta: Any, data: Mapping[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Return the tensors of a batch, given the index, labels and theta of its bags.

        If `data` is given, the events are selected from it, so that one graph serves all pieces of
        a stream.

        The result is a pair.  The inputs of the network have the shape (n, bag_size, n_inputs).
        The targets of the loss have the shape (n, n_classes) or, with scores, (n, n_classes · (1 +
        n_parameters)).
        """


class StreamedBags(NamedTuple):
    """Source of labelled bags that are not all in memory.

    Parameters
    ----------
    n_pieces
        Number of pieces of an epoch.
    n_bags
        Approximate number of bags of all pieces together.
    pieces
        Function that yields the pieces of an epoch.  Every epoch has other pieces, in another
        order.
    """

    n_pieces: int
    n_bags: int
    pieces: Callable[[np.random.Generator], Iterator[TrainingBags]]


class ClassBags:
    """Bags from samples at K points; the bags of every point have the same total weight.

    Parameters
    ----------
    samples
        Events.
    bag_size
        Number of events in a bag.
    joint
        Joint ratios of the events of each sample; None: the label is the number of the sample.
    hard
        Use the number of the sample as label even if `joint` is given.  Only the joint scores of
        `joint` are then used.
    scores
        Whether the targets contain the joint scores after the labels.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import gaussian
    >>> bags = ClassBags(gaussian.samples(10, [0.0, 0.5], seed=1), 5)
    >>> epoch = bags.draw(np.random.default_rng(1))
    >>> inputs, targets = bags.batch(epoch.index, epoch.labels, epoch.theta)
    >>> inputs.shape, targets.shape
    (TensorShape([4, 5, 1]), TensorShape([4, 2]))
    """

    def __init__(
        self,
        samples: SampleSet,
        bag_size: int,
        joint: Sequence[JointTargets] | None = None,
        *,
        scores: bool = False,
        hard: bool = False,
    ) -> None:
        self.bag_size = bag_size
        self.data: dict[str, Any] = {"features": _features(samples)}
        self._offsets = np.concatenate([[0], np.cumsum([len(s) for s in samples])])
        self._weights: list[FloatArray] = [s.weights for s in samples]
        self._importance = False
        self.n_classes = len(samples)
        if joint is not None and scores:
            flat = np.concatenate([t.score.reshape(len(t.score), -1) for t in joint])
            self.data["scores"] = _constant(flat)
        if joint is not None and not hard:
            log_ratio = np.concatenate([t.log_ratio for t in joint])
            # The largest ratio of an event cancels in the softmax; its subtraction saves digits.
            self.data["log_ratio"] = _constant(log_ratio - log_ratio.max(axis=1, keepdims=True))
            self.n_classes = log_ratio.shape[1]
            # Single events have weights in the equal mixture of the K points.  The events of a bag
            # must all come from one point, and the bags are already a mixture of the samples.
            self._importance = bag_size == 1
            if self._importance:
                self._weights = [t.weights for t in joint]

    def draw(self, rng: np.random.Generator) -> EpochBags:
        """Draw the bags of an epoch."""
        index: list[IntArray] = []
        labels: list[IntArray] = []
        weights: list[FloatArray] = []
        for k, (event_weights, offset) in enumerate(
            zip(self._weights, self._offsets[:-1], strict=True)
        ):
            draw = draw_bags(event_weights, self.bag_size, rng)
            index.append(draw.index + offset)
            labels.append(np.full(len(draw.index), k))
            share = event_weights.sum() if self._importance else 1.0
            weights.append(share * draw.weights / len(draw.weights))
        return _shuffle(index, labels, weights, [np.zeros_like(x) for x in labels], rng)

    def batch(
        self, index: Any, labels: Any, theta: Any, data: Mapping[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Return features, shape (n, bag_size, n_features), and class probabilities and scores."""
        del theta
        data = self.data if data is None else data
        inputs = ops.take(data["features"], index, axis=0)
        if "log_ratio" in data:
            targets = ops.softmax(ops.sum(ops.take(data["log_ratio"], index, axis=0), axis=1))
        else:
            targets = ops.one_hot(labels, self.n_classes)
        if "scores" in data:
            scores = ops.sum(ops.take(data["scores"], index, axis=0), axis=1)
            targets = ops.concatenate([targets, scores], axis=1)
        return inputs, targets


class PairBags:
    """Pairs of a bag and a value of θ; a pair is positive if the bag was simulated at this θ.

    Negative pairs are bags of the reference with every other θ.  If ``symmetric`` is set, bags of
    neighbouring points with the θ of the reference are also negative pairs (30 % from each nearest
    point, 20 % from each second-nearest point: [AS], §C.5), so that θ alone never determines the
    label.

    Parameters
    ----------
    samples
        One sample for each point.
    points
        Values of θ for the input of the network, shape (K, n_parameters).
    reference
        Index of the reference among the points.
    bag_size
        Number of events in a bag.
    symmetric
        Whether to include pairs with the θ of the reference.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(10, [-0.5, 0.0, 0.5], seed=1)
    >>> bags = PairBags(samples, np.array([[-1.0], [0.0], [1.0]]), 1, 5)
    >>> epoch = bags.draw(np.random.default_rng(1))
    >>> inputs, targets = bags.batch(epoch.index, epoch.labels, epoch.theta)
    >>> inputs.shape, float(epoch.labels.mean())
    (TensorShape([12, 5, 2]), 0.5)
    """

    n_classes = 2

    def __init__(
        self,
        samples: SampleSet,
        points: FloatArray,
        reference: int,
        bag_size: int,
        *,
        symmetric: bool = True,
    ) -> None:
        self.bag_size = bag_size
        self.data = {"features": _features(samples), "points": _constant(points)}
        self._offsets = np.concatenate([[0], np.cumsum([len(s) for s in samples])])
        self._weights = [s.weights for s in samples]
        self._reference = reference
        self._symmetric = symmetric
        distance = np.linalg.norm(points - points[reference], axis=1)
        others = np.argsort(distance, kind="stable")[1:]
        shares = [s for s in _NEIGHBOURS for _ in range(2)][: len(others)]
        self._near = [(int(k), s / sum(shares)) for k, s in zip(others, shares, strict=False)]

    def draw(self, rng: np.random.Generator) -> EpochBags:
        """Draw the bags of an epoch."""
        parts: list[tuple[IntArray, int, FloatArray, int]] = []

        def add(sample: int, theta: int, label: int, share: float = 1.0) -> None:
            draw = draw_bags(self._weights[sample], self.bag_size, rng)
            keep = max(1, round(share * len(draw.index)))
            weights = share * draw.weights[:keep] / keep
            parts.append((draw.index[:keep] + self._offsets[sample], label, weights, theta))

        for k in range(len(self._weights)):
            if k != self._reference:
                add(k, k, 1)
                add(self._reference, k, 0)
        if self._symmetric:
            add(self._reference, self._reference, 1)
            for k, share in self._near:
                add(k, self._reference, 0, share)
        return _shuffle(
            [p[0] for p in parts],
            [np.full(len(p[0]), p[1]) for p in parts],
            [p[2] for p in parts],
            [np.full(len(p[0]), p[3]) for p in parts],
            rng,
        )

    def batch(
        self, index: Any, labels: Any, theta: Any, data: Mapping[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Return features and θ of each event, and the label as two probabilities, shape (n, 2)."""
        data = self.data if data is None else data
        features = ops.take(data["features"], index, axis=0)
        point = ops.expand_dims(ops.take(data["points"], theta, axis=0), axis=1)
        inputs = ops.concatenate([features, ops.repeat(point, self.bag_size, axis=1)], axis=2)
        return inputs, ops.one_hot(labels, 2)


class WeightedPairs(Protocol):
    """Nominal and varied events in the form of :mod:`milinfer.learning.response_events`."""

    @property
    def features(self) -> Float32Array:
        """Features of the events, shape (n, n_features)."""

    @property
    def weights(self) -> FloatArray:
        """Weights at each parameter point, shape (n, n_points)."""

    @property
    def labels(self) -> IntArray:
        """Number of the sample of each event, shape (n,)."""

    @property
    def groups(self) -> IntArray:
        """Number that an event and its varied copies have in common, shape (n,)."""

    @property
    def factors(self) -> FloatArray:
        """Factors on the weights of nominal samples, shape (n_labels, n_base)."""

    @property
    def varied(self) -> FloatArray:
        """Factors on the weights of varied samples, shape (n_labels, n_base)."""

    @property
    def soft(self) -> FloatArray:
        """Varied weights of the nominal events, which come first, shape (n_nominal, n_soft)."""

    @property
    def soft_places(self) -> FloatArray:
        """1 at the base point of each column of `soft`, else 0, shape (n_soft, n_base)."""


class PairedEvents:
    """Nominal and varied events as bags of one event, for ``loss_name="pairs"``.

    An event and its varied copies follow each other in an epoch.  Most of the noise of a training
    step is common to an event and its copies, and cancels in the gradient.

    Parameters
    ----------
    events
        Events and their weights.
    n_drawn
        Number of events of an epoch; None: all events.
    """

    bag_size = 1

    def __init__(self, events: WeightedPairs, n_drawn: int | None = None) -> None:
        self._n_drawn = n_drawn
        self.n_classes = events.factors.shape[1]
        self._labels, self._groups = events.labels, events.groups
        self._n_shifts = self.n_classes // events.weights.shape[1]
        none = np.zeros((1, events.soft.shape[1]))  # of varied events, which have no other weights
        self.data: dict[str, Any] = {
            "features": _constant(events.features),
            "weights": _constant(events.weights),
            "factors": _constant(np.concatenate([events.factors, events.varied], axis=1)),
            "soft": _constant(np.concatenate([events.soft, none])),
            "soft_places": _constant(events.soft_places),
        }

    def draw(self, rng: np.random.Generator) -> EpochBags:
        """Draw the events of an epoch; an event and its varied copies follow each other."""
        place = rng.permutation(int(self._groups.max()) + 1)
        order = np.argsort(place[self._groups], kind="stable")[: self._n_drawn]
        n = len(order)
        return EpochBags(
            order[:, None], self._labels[order], np.ones(n, np.float32), np.zeros(n, np.int64)
        )

    def batch(
        self, index: Any, labels: Any, theta: Any, data: Mapping[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Return features, shape (n, 1, n_features), and weights, shape (n, 2 n_base).

        The nominal weights come first, then the varied weights.
        """
        del theta
        data = self.data if data is None else data
        weights = ops.repeat(ops.take(data["weights"], index[:, 0], axis=0), self._n_shifts, axis=1)
        factors = ops.take(data["factors"], labels, axis=0)
        nominal = weights * factors[:, : self.n_classes]
        varied = weights * factors[:, self.n_classes :]
        if data["soft"].shape[1]:
            last = ops.cast(ops.shape(data["soft"])[0] - 1, index.dtype)
            rows = ops.take(data["soft"], ops.minimum(index[:, 0], last), axis=0)
            varied = varied + ops.matmul(rows, data["soft_places"])
        return ops.take(data["features"], index, axis=0), ops.concatenate([nominal, varied], axis=1)


def _features(samples: SampleSet) -> Any:
    """Features of all samples as one tensor."""
    return _constant(np.concatenate([s.features for s in samples]))


def _constant(values: FloatArray | Float32Array) -> Any:
    return ops.convert_to_tensor(values, dtype="float32")


def _shuffle(
    index: Sequence[IntArray],
    labels: Sequence[IntArray],
    weights: Sequence[FloatArray],
    theta: Sequence[IntArray],
    rng: np.random.Generator,
) -> EpochBags:
    flat = np.concatenate(weights)
    order = rng.permutation(len(flat))
    mean_one = flat * (len(flat) / flat.sum())
    return EpochBags(
        np.concatenate(index)[order],
        np.concatenate(labels)[order],
        mean_one[order].astype(np.float32),
        np.concatenate(theta)[order],
    )
