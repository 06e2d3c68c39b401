"""Trained networks, and the log-ratios of events that they give.

Whatever the head, the result is one table: ln p(x|θ_k)/p(x|θ0) of each event at the points of the
surface, zero at the reference.  Importing this module does not import Keras.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, logsumexp

from milinfer.exceptions import ModelError
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.learning.networks.losses import loss
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.settings import LikelihoodSettings, loss_name
from milinfer.learning.tracking import history_table
from milinfer.learning.training_points import ModelPoints
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample, as_features
from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.display import brief

if TYPE_CHECKING:
    import pyarrow as pa


__all__ = [
    "Fitted",
    "average_log_ratio",
    "bag_llr",
    "event_summary",
    "log_polynomials",
    "member_log_ratios",
    "trained_log_ratios",
    "weights_digest",
]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Result of a training: networks, their normalisation, and what they were trained on.

    Parameters
    ----------
    where
        Points, heads and the interpolation between points.
    members
        Networks of each member of the ensemble; one, or one for each point of a binary head.
    z
        Coefficients of Z(θ) of each member (polynomial head), else empty.
    log_z
        ln Z of each member at the points of the surface, zero at the reference; empty for a
        polynomial head, which has `z`, and for ratios that are not normalised.
    scale
        Held-out scale of the outputs (polynomial head) or of the log-ratios (other heads, if they
        are normalised) of each member, else 1.
    feature_names, mean, variance
        Names and moments of the features over the training set.
    network, training
        Settings in use.
    history
        Losses and learning rate of each network, one value per epoch.
    n_events
        Number of events of each sample.
    effective_events
        Events without weights that have the same statistical power: with joint labels, of the even
        mixture of the training points.  Negative weights lower it, the more the larger the bags.
    trained_on
        Fingerprints of the events used for training and early stopping, of each sample and of all;
        see :func:`milinfer.samples.fingerprints.sketch_each`.
    """

    where: ModelPoints
    members: tuple[tuple[TrainedNetwork, ...], ...]
    z: tuple[FloatArray, ...]
    log_z: tuple[FloatArray, ...]
    scale: tuple[float, ...]
    feature_names: tuple[str, ...]
    mean: FloatArray
    variance: FloatArray
    network: NetworkConfig
    training: TrainingConfig
    history: list[dict[str, list[float]]]
    n_events: dict[str, int]
    effective_events: float
    trained_on: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self, leave_out=("where", "members", "z", "log_z", "history", "trained_on"))

    def to_table(self) -> pa.Table:
        """Losses of every network and epoch, one row each."""
        return history_table(self.history)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.where.parameters

    @property
    def points(self) -> FloatArray:
        """Training points, shape (K, n_parameters)."""
        return self.where.points

    @property
    def grid(self) -> FloatArray:
        """Training points of one parameter, shape (K,)."""
        return self.where.points[:, 0]

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Points of the surface, and the interpolation between them."""
        return self.where.interpolation

    @property
    def at_reference(self) -> FloatArray:
        """Weights that give the value at θ0 from those at the points of the surface, (K,)."""
        return self.where.at_reference

    @property
    def reference_index(self) -> int:
        """Number of the reference among the training points."""
        return self.where.reference_index

    @property
    def linear(self) -> LinearHead:
        """Head of a multi-class network, at the points of the surface."""
        return self.where.linear_at(self.where.nodes)

    @property
    def polynomial(self) -> PolynomialHead:
        """Head of a polynomial network."""
        return self.where.polynomial

    def scaled(self, theta: FloatArray) -> FloatArray:
        """θ scaled for the input of a parametrised network, shape (m, n_parameters)."""
        return self.where.scaled(theta)

    @property
    def additive(self) -> bool:
        """Whether Λ is a sum over events, for any grouping into bags."""
        return self.members[0][0].bag_head is None

    @cached_property
    def n_networks(self) -> int:
        """Number of networks."""
        return sum(len(m) for m in self.members)


def member_log_ratios(
    settings: LikelihoodSettings, fitted: Fitted, sample: Sample
) -> Iterator[FloatArray]:
    """Log-ratios of every event from each member of an ensemble, shape (n_events, K) each.

    Raises
    ------
    ModelError
        If the pooling scores bags as a whole.
    """
    if not fitted.additive:
        msg = (
            f"{settings.pooling} pooling with bag layers {fitted.network.bag_hidden} scores bags "
            "as a whole: there is no ratio of single events; use surface(), cost() and Toys, which "
            "form bags, or pooling='mean'"
        )
        raise ModelError(msg)
    features = as_features(sample, fitted.feature_names)
    nodes = fitted.where.nodes
    for number, member in enumerate(fitted.members):
        if settings.head == "polynomial":
            outputs = fitted.scale[number] * member[0].outputs(features)
            ratios = fitted.polynomial.log_ratio(outputs, nodes, fitted.z[number])
        else:
            ratios = trained_log_ratios(settings, fitted.where, member, features, nodes)
            if len(fitted.log_z[number]):
                ratios = fitted.scale[number] * ratios - fitted.log_z[number]
        yield ratios - ratios @ fitted.at_reference[:, None]


def trained_log_ratios(
    settings: LikelihoodSettings,
    where: ModelPoints,
    member: Sequence[TrainedNetwork],
    features: Float32Array,
    points: FloatArray,
) -> FloatArray:
    """Log-ratios by one member as it was trained, up to a constant for each point.

    Parameters
    ----------
    settings, where, member
        Settings and normalisation of a head that is not polynomial.
    features
        Features of the events, shape (n_events, n_features).
    points
        Shape (m, n_parameters); those of the training, for free logits and a binary head.

    Returns
    -------
    ndarray
        Shape (n_events, m).
    """
    # A bag's logits are the mean over its events, so an event's share is its own over N_B.
    share = 1.0 if settings.pooling == "sum" else 1.0 / settings.events_in_bag
    if settings.head == "multiclass":
        outputs = member[0].outputs(features)
        return where.linear_at(points).log_ratio(outputs) * share
    ratio = loss(loss_name(settings))
    out = np.zeros((len(features), len(points)))
    if settings.head == "binary":
        others = (k for k in range(len(points)) if k != where.reference_index)
        for k, network in zip(others, member, strict=True):
            out[:, k] = ratio.log_ratio(network.outputs(features)) * share
        return out
    for k, theta in enumerate(where.scaled(points)):
        tiled = np.broadcast_to(theta.astype(np.float32), (len(features), len(theta)))
        inputs = np.concatenate([features, tiled], axis=1)
        out[:, k] = ratio.log_ratio(member[0].outputs(inputs)) * share
    return out


def log_polynomials(
    settings: LikelihoodSettings, fitted: Fitted, sample: Sample
) -> LogPolynomials | None:
    """Λ of a dataset by a polynomial head, exact between the points too.

    None for other heads, and for ensembles whose members are not averaged as log-ratios.
    """
    n_members = len(fitted.members)
    if settings.head != "polynomial" or (n_members > 1 and settings.average != "log-ratio"):
        return None
    features = as_features(sample, fitted.feature_names)
    head = fitted.polynomial
    rows: list[FloatArray] = []
    weights: list[FloatArray] = []
    for (network, *_), scale, z in zip(fitted.members, fitted.scale, fitted.z, strict=True):
        rows += [head.polynomials(scale * network.outputs(features)), z[None]]
        weights += [sample.weights, -sample.weights.sum(keepdims=True)]
    low, high = np.array(fitted.interpolation.limits).T
    return LogPolynomials(
        basis=head.basis,
        centre=head.reference,
        half=head.scale,
        coefficients=np.concatenate(rows),
        weights=np.concatenate(weights) / n_members,
        low=low,
        high=high,
        reference=head.reference,
    )


def average_log_ratio(ratios: Sequence[FloatArray], average: str) -> FloatArray:
    """Average of the members of an ensemble, shape (n_events, K), zero at the reference.

    Parameters
    ----------
    ratios
        Log-ratios from each member, zero at the reference.
    average
        ``"log-ratio"``, ``"ratio"`` or ``"probability"`` (of the points as classes).

    Examples
    --------
    >>> import numpy as np
    >>> members = [np.array([[0.0, 1.0]]), np.array([[0.0, 3.0]])]
    >>> for average in ("log-ratio", "ratio", "probability"):
    ...     print(average, average_log_ratio(members, average).round(3))
    log-ratio [[0. 2.]]
    ratio [[0.    2.434]]
    probability [[0.    1.672]]
    """
    stacked = np.stack(ratios)
    if average == "log-ratio":
        mean: FloatArray = stacked.mean(axis=0)
        return mean
    if average == "ratio":
        return np.asarray(logsumexp(stacked, axis=0) - np.log(len(stacked)))
    # Ratios are one at θ0, so that its probability is one over their sum, whichever point it is.
    at_reference = logsumexp(-logsumexp(stacked, axis=2), axis=0)
    return np.asarray(logsumexp(log_softmax(stacked, axis=2), axis=0) - at_reference[:, None])


def event_summary(fitted: Fitted, sample: Sample) -> Float32Array:
    """Summaries of events by all members, side by side, shape (n_events, n_members · S)."""
    features = as_features(sample, fitted.feature_names)
    parts = [m[0].outputs(features) for m in fitted.members]
    return np.concatenate(parts, axis=1)


def bag_llr(
    settings: LikelihoodSettings, fitted: Fitted, reduced: FloatArray, counts: IntArray
) -> FloatArray:
    """Log-ratios of bags, averaged over the members, shape (n_bags, K)."""
    from milinfer.learning.networks.evaluation import evaluate

    parts = np.split(np.asarray(reduced, dtype=np.float32), len(fitted.members), axis=1)
    n = np.asarray(counts, dtype=np.float32)
    ratios = []
    for (network, *_), part in zip(fitted.members, parts, strict=True):
        outputs = evaluate(network.bag_head, part, n)
        llr = fitted.linear.log_ratio(outputs)
        ratios.append(llr - llr @ fitted.at_reference[:, None])
    return average_log_ratio(ratios, settings.average)


def weights_digest(fitted: Fitted) -> str:
    """Hash of everything that training determined: weights, normalisation Z(θ), scale."""
    digest = hashlib.blake2b(digest_size=8)
    for member in fitted.members:
        for network in member:
            for weight in network.weights:
                digest.update(np.ascontiguousarray(weight).tobytes())
    # Models that were saved before there was ln Z keep their hash.
    log_z = [values for values in fitted.log_z if len(values)]
    for number in (*fitted.z, *log_z, fitted.scale, fitted.points):
        digest.update(np.asarray(number, dtype=np.float64).tobytes())
    return digest.hexdigest()
