"""Compute the log-ratios of events with trained networks.

For every head the result is one table: ln p(x|θ_k)/p(x|θ0) of each event, at the parameter points
θ_k at which Λ is computed.  The log-ratio is zero at the reference θ0.  Importing this module does
not import Keras.
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
    """Result of a training: networks, their normalisation, and the events used for the training.

    Parameters
    ----------
    where
        Training points, head, and parameter points at which Λ is computed, with the interpolation
        between them.
    members
        Networks of each member of the ensemble: one network, or one for each point of a binary
        head.
    z
        For a polynomial head, coefficients of the normalisation Z(θ) of each member.  Empty for
        other heads.
    log_z
        ln Z of each member at the points at which Λ is computed, zero at the reference.  Empty for
        a polynomial head, which has `z`, and for ratios that are not normalised.
    scale
        Factor of each member, determined with held-out events.  It multiplies the outputs of a
        polynomial head, or the log-ratios of any other head.  It is 1 if the head is not polynomial
        and its log-ratios are not normalised.
    feature_names, mean, variance
        Names of the features, and their means and variances over the training set.
    network, training
        Settings in use.
    history
        Losses and learning rate of each network, one value per epoch.
    n_events
        Number of events of each sample.
    effective_events
        Number of events of weight one with the same statistical power as the training events.  With
        joint labels, the weights are those of the equal mixture of all training points.  Negative
        weights reduce the number, and more so for larger bags.
    trained_on
        Fingerprints of the events used for training and early stopping, one for each sample and one
        for all samples; see :func:`milinfer.samples.fingerprints.sketch_each`.
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
        """Return a table of the losses, with one row for each network and epoch."""
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
        """Parameter points at which Λ is computed, and the interpolation between them."""
        return self.where.interpolation

    @property
    def at_reference(self) -> FloatArray:
        """Weights, shape (K,), that interpolate Λ at θ0 from its values at the K points."""
        return self.where.at_reference

    @property
    def reference_index(self) -> int:
        """Index of the reference among the training points."""
        return self.where.reference_index

    @property
    def linear(self) -> LinearHead:
        """Head of a multi-class network at the points at which Λ is computed."""
        return self.where.linear_at(self.where.nodes)

    @property
    def polynomial(self) -> PolynomialHead:
        """Head of a polynomial network."""
        return self.where.polynomial

    def scaled(self, theta: FloatArray) -> FloatArray:
        """Scale θ for the input of a parametrised network, shape (m, n_parameters)."""
        return self.where.scaled(theta)

    @property
    def additive(self) -> bool:
        """Whether Λ of a dataset is a sum over its events, so that bags do not matter."""
        return self.members[0][0].bag_head is None

    @cached_property
    def n_networks(self) -> int:
        """Number of networks."""
        return sum(len(m) for m in self.members)


def member_log_ratios(
    settings: LikelihoodSettings, fitted: Fitted, sample: Sample
) -> Iterator[FloatArray]:
    """For each member of the ensemble, yield the log-ratios of all events, shape (n_events, K).

    Raises
    ------
    ModelError
        If the pooling scores whole bags, so that there is no ratio of single events.
    """
    if not fitted.additive:
        msg = (
            f"{settings.pooling} pooling with bag layers {fitted.network.bag_hidden} scores bags "
            "as a whole, so single events have no ratio; use surface(), cost() and Toys, which "
            "form bags, or train with pooling='mean'"
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
    """Return the log-ratios of one member before normalisation, up to a constant for each point.

    Parameters
    ----------
    settings, where, member
        Settings, points and networks of the member; the head is not polynomial.
    features
        Features of the events, shape (n_events, n_features).
    points
        Parameter points, shape (m, n_parameters).  For free logits and a binary head these must be
        the training points.

    Returns
    -------
    ndarray
        Log-ratios, shape (n_events, m).
    """
    # The logits of a bag are the mean over its events, so an event contributes its own over N_B.
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
    """Return Λ of a dataset from a polynomial head, without interpolation between points.

    The result is None for other heads, and for ensembles that do not average log-ratios.
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
    """Average the log-ratios of the members of an ensemble, shape (n_events, K).

    The result is zero at the reference.

    Parameters
    ----------
    ratios
        Log-ratios of each member, shape (n_events, K), zero at the reference.
    average
        Quantity to average: ``"log-ratio"``, ``"ratio"`` or ``"probability"`` (of each class, if
        every point is a class).

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
    # Ratios are one at θ0, so the probability of θ0 is one over their sum, for any index of θ0.
    at_reference = logsumexp(-logsumexp(stacked, axis=2), axis=0)
    return np.asarray(logsumexp(log_softmax(stacked, axis=2), axis=0) - at_reference[:, None])


def event_summary(fitted: Fitted, sample: Sample) -> Float32Array:
    """Return the summaries of events from all members, shape (n_events, n_members · S)."""
    features = as_features(sample, fitted.feature_names)
    parts = [m[0].outputs(features) for m in fitted.members]
    return np.concatenate(parts, axis=1)


def bag_llr(
    settings: LikelihoodSettings, fitted: Fitted, reduced: FloatArray, counts: IntArray
) -> FloatArray:
    """Return the log-ratios of bags, averaged over the members, shape (n_bags, K)."""
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
    """Return a hash of everything that training determined: weights, normalisation, scale."""
    digest = hashlib.blake2b(digest_size=8)
    for member in fitted.members:
        for network in member:
            for weight in network.weights:
                digest.update(np.ascontiguousarray(weight).tobytes())
    # Models that were saved before ln Z existed keep their hash.
    log_z = [values for values in fitted.log_z if len(values)]
    for number in (*fitted.z, *log_z, fitted.scale, fitted.points):
        digest.update(np.asarray(number, dtype=np.float64).tobytes())
    return digest.hexdigest()
