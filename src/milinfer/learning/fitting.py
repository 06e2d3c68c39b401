"""From samples to trained networks: settings checked, members trained, here or on a cluster.

Importing this module does not import Keras; :func:`fit` does.

The members of an ensemble: their seeds, networks, targets and normalisation.

Importing this module does not import Keras; making networks does.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from milinfer.exceptions import ConfigurationError, ConvergenceWarning
from milinfer.learning.fitted import event_outputs
from milinfer.learning.networks.configs import TrainingConfig, still_falling
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.learning.tracking import tracked_epochs
from milinfer.learning.training_data import (
    matching,
    moments,
    ordered,
    require_bags,
    require_weights,
    seen,
    streamed_joint_total,
    streamed_normalisation,
    streamed_weights,
)
from milinfer.learning.training_points import (
    ModelPoints,
    logit_degree,
    require_consistent,
    warn_of_free_coefficients,
)
from milinfer.samples.reweighting import JointTargets, bennett, class_points, joint_targets
from milinfer.samples.sample import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.samples.weights import effective_number
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.display import brief
from milinfer.utils.parallel import Workers, read_ahead

if TYPE_CHECKING:
    import pyarrow as pa
    from distributed import Client

    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.network import BagNetwork, NetworkConfig
    from milinfer.learning.networks.targets import StreamedBags, TrainingBags
    from milinfer.learning.tracking import Tracker
    from milinfer.likelihood.surface import Interpolation
    from milinfer.likelihood.surface_box import ChebyshevBox

__all__ = [
    "EpochReport",
    "Fitted",
    "MemberSeeds",
    "MemberTask",
    "build_member",
    "build_members",
    "fit",
    "member_seeds",
]


# Of every epoch.
_LOGGED = ("loss", "val_loss", "learning_rate")


@dataclass(frozen=True)
class EpochReport:
    """How far a training is after an epoch.

    Parameters
    ----------
    member, n_members
        Number of the network, and of all: a binary head has several in each member of the ensemble.
    epoch, n_epochs
        Number of the epoch, and the largest possible.
    loss, val_loss, learning_rate
        Of this epoch.
    network
        The network as it is now, to look at before training goes on; None where a cluster trains.
    """

    member: int
    n_members: int
    epoch: int
    n_epochs: int
    loss: float
    val_loss: float
    learning_rate: float
    network: BagNetwork | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What training produced.

    Parameters
    ----------
    where
        Points, heads and the continuation between points.
    members
        Networks of each member of the ensemble; one, or one for each point of a binary head.
    z
        Coefficients of Z(θ) of each member (polynomial head), else empty.
    scale
        Held-out scale of the outputs of each member (polynomial head), else 1.
    feature_names, mean, variance
        Of the features over the training set.
    network, training
        Settings in use.
    history
        Of each network: one value an epoch for each quantity.
    n_events
        Events of each sample.
    effective_events
        Events without weights that have the same statistical power: with joint labels, of the even
        mixture of the training points.  Negative weights lower it, the more the larger the bags.
    trained_on
        Sketches of the events that training and early stopping have seen, of each sample and of
        all; see :func:`milinfer.samples.fingerprints.sketch_each`.
    """

    where: ModelPoints
    members: tuple[tuple[BagNetwork, ...], ...]
    z: tuple[FloatArray, ...]
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
        return brief(self, leave_out=("where", "members", "z", "history", "trained_on"))

    def to_table(self) -> pa.Table:
        """Losses of every network and epoch.

        See :func:`milinfer.learning.bag_likelihood.history_table`.
        """
        from milinfer.learning.bag_likelihood import history_table

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
        """Points of the surface, and the continuation between them."""
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
        """θ as a parametrised network sees it, shape (m, n_parameters)."""
        return self.where.scaled(theta)

    @cached_property
    def n_networks(self) -> int:
        """Number of networks."""
        return sum(len(m) for m in self.members)


def fit(
    model: BagLikelihood,
    samples: SampleSet | StreamedSamples,
    validation: SampleSet | None,
    on_epoch: Callable[[EpochReport], None] | None,
    client: Client | None = None,
    tracker: Tracker | None = None,
) -> tuple[BagLikelihood, Fitted]:
    """Train all members; see :meth:`milinfer.learning.bag_likelihood.BagLikelihood.fit`."""
    require_consistent(model)
    if validation is not None and not isinstance(validation, SampleSet):
        # Typed callers cannot come here.
        msg = "validation= must be in memory: give a SampleSet"  # type: ignore[unreachable]
        raise ConfigurationError(msg)
    if model.loss == "score" and not model.score_weight:
        model = dataclasses.replace(model, score_weight=1.0)
    samples = ordered(samples)
    model = dataclasses.replace(model, degree=logit_degree(model, samples))
    where = ModelPoints.of(model, samples)
    network = model.network or model.default_network
    training = model.training or model.default_training
    # What a default is may change; what was trained may not.
    size = model.events_in_bag
    model = dataclasses.replace(model, network=network, training=training, bag_size=size)
    given = None if validation is None else (samples, matching(ordered(validation), samples))
    require_weights(samples)
    warn_of_free_coefficients(model, where)
    job = _Job(model, where, samples, given, *moments(samples), seen(samples, validation))
    if tracker is not None:
        on_epoch = tracked_epochs(tracker, model, on_epoch)
    train = partial(_train_member, on_epoch=on_epoch) if client is None else _train_member
    members: list[Fitted] = []
    for member in Workers(client=client).map(train, range(model.ensemble), job):
        if client is not None:
            _report_member(on_epoch, model, len(members), member.fitted)
        members.append(member.fitted)
    _warn_of_short_training(training, [h for m in members for h in m.history])
    fitted = dataclasses.replace(
        members[-1],
        members=tuple(m.members[0] for m in members),
        z=tuple(m.z[0] for m in members),
        scale=tuple(m.scale[0] for m in members),
        history=[h for m in members for h in m.history],
    )
    return model, fitted


class _Job(NamedTuple):
    """What all members have in common."""

    model: BagLikelihood
    where: ModelPoints
    samples: SampleSet | StreamedSamples
    given: tuple[SampleSet | StreamedSamples, SampleSet] | None
    mean: FloatArray
    variance: FloatArray
    trained_on: tuple[str, ...]


def _train_member(
    number: int, job: _Job, on_epoch: Callable[[EpochReport], None] | None = None
) -> BagLikelihood:
    """Train one member, as an ensemble of its own."""
    model, where, samples, given, mean, variance, trained_on = job
    assert model.network is not None
    assert model.training is not None
    seeds = member_seeds(model)[number]
    # Every member holds out events of its own, so that together they see all.
    held_out = model.validation_fraction
    train, rest = given or _split(samples, held_out, seeds.split)
    for events, purpose in ((train, "train on"), (rest, "validate with")):
        require_bags(events, model.events_in_bag, purpose)
    task = MemberTask(model, where, train, rest)
    member = build_member(model, where, mean, variance, seeds, task)
    history = []
    for k, part in enumerate(member):
        n_networks = model.ensemble * len(member)
        report = _reporter(on_epoch, number * len(member) + k, n_networks, model.training, part)
        history.append(task.train(part, k, seeds.bags[k], report))
    z, scale = task.normalisation(member)
    fitted = Fitted(
        where=where,
        members=(member,),
        z=(z,),
        scale=(scale,),
        feature_names=samples.feature_names,
        mean=mean,
        variance=variance,
        network=model.network,
        training=model.training,
        history=history,
        n_events={s.label: len(s) for s in samples},
        effective_events=task.effective_events,
        trained_on=trained_on,
    )
    return dataclasses.replace(model, ensemble=1, _fitted=fitted)


def _split(
    samples: SampleSet | StreamedSamples, held_out: float, seed: int
) -> tuple[SampleSet | StreamedSamples, SampleSet]:
    """Events to train on and to validate on."""
    train, rest = samples.split([1 - held_out, held_out], seed=seed)
    return train, rest


def _reporter(
    on_epoch: Callable[[EpochReport], None] | None,
    number: int,
    n_networks: int,
    training: TrainingConfig,
    network: BagNetwork | None = None,
) -> Callable[[int, dict[str, float]], None]:
    def report(epoch: int, logs: dict[str, float]) -> None:
        if on_epoch is not None:
            loss, val_loss, rate = (float(logs[name]) for name in _LOGGED)
            where = (number, n_networks, epoch, training.epochs)
            on_epoch(EpochReport(*where, loss, val_loss, rate, network))

    return report


def _report_member(
    on_epoch: Callable[[EpochReport], None] | None,
    model: BagLikelihood,
    number: int,
    fitted: Fitted,
) -> None:
    """Reports of all epochs of a member that was trained elsewhere."""
    for k, history in enumerate(fitted.history):
        n = len(fitted.history)
        report = _reporter(on_epoch, number * n + k, model.ensemble * n, fitted.training)
        for epoch, numbers in enumerate(zip(*(history[n] for n in _LOGGED), strict=True)):
            report(epoch, dict(zip(_LOGGED, numbers, strict=True)))


def _warn_of_short_training(
    training: TrainingConfig, history: Sequence[Mapping[str, Sequence[float]]]
) -> None:
    """Say that networks would have learned more in more epochs.

    Warns
    -----
    ConvergenceWarning
        If the loss of one was falling when its epochs were over.
    """
    short = sum(still_falling(h, training) for h in history)
    if short:
        msg = (
            f"the validation loss of {short} of {len(history)} networks was still falling after "
            f"{training.epochs} epochs; train for more: TrainingConfig(epochs=…), --epochs, or "
            "epochs of [[model]]"
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=4)


class MemberSeeds(NamedTuple):
    """Sources of randomness of one member; weights and bags have one for each network."""

    split: int
    weights: tuple[np.random.SeedSequence, ...]
    bags: tuple[np.random.SeedSequence, ...]


def member_seeds(model: BagLikelihood) -> list[MemberSeeds]:
    """Seeds of each member, which follow from that of the model and the number of the member."""
    members = []
    for seed in np.random.SeedSequence(model.seed).spawn(model.ensemble):
        split, weights, bags = seed.spawn(3)
        n = 64  # more networks than any member has; spawning is cheap, and independent of n
        members.append(
            MemberSeeds(
                int(split.generate_state(1)[0]), tuple(weights.spawn(n)), tuple(bags.spawn(n))
            )
        )
    return members


def build_members(
    model: BagLikelihood, where: ModelPoints, mean: FloatArray, variance: FloatArray
) -> tuple[tuple[BagNetwork, ...], ...]:
    """Networks of all members, to load weights into."""
    return tuple(build_member(model, where, mean, variance, seeds) for seeds in member_seeds(model))


def build_member(
    model: BagLikelihood,
    where: ModelPoints,
    mean: FloatArray,
    variance: FloatArray,
    seeds: MemberSeeds,
    task: MemberTask | None = None,
) -> tuple[BagNetwork, ...]:
    """Untrained networks of one member; weights follow from the seed alone.

    Parameters
    ----------
    model
        Settings, with ``network``.
    where
        Points and heads.
    mean, variance
        Of the features, shape (n_features,).
    seeds
        Of the member.
    task
        Knows ln Z, with joint labels.
    """
    from milinfer.learning.networks.network import build_network

    options: dict[str, Any] = {"pooling": model.pooling}
    head: LinearHead | PolynomialHead
    n_networks = 1
    if model.head == "polynomial":
        head = where.polynomial
        options = {"points": where.points}
        if task is not None:
            options |= {"log_z": task.log_z, "score_offset": task.score_offset}
    elif model.head == "multiclass":
        head = where.linear_at(where.points)
    else:
        head = LinearHead(np.eye(1))
        if model.head == "binary":
            n_networks = len(where.points) - 1
        else:
            # θ comes scaled to [−1, 1], and needs no normalisation.
            n = len(where.parameters)
            mean, variance = np.append(mean, np.zeros(n)), np.append(variance, np.ones(n))
    config = model.network or model.default_network
    return tuple(
        build_network(config, head, model.events_in_bag, mean, variance, seed, **options)
        for seed in seeds.weights[:n_networks]
    )


class MemberTask:
    """What the networks of a member are trained on, and with what.

    Parameters
    ----------
    model
        Settings, with ``network`` and ``training``.
    where
        Points and heads.
    train
        Events to train on.
    validation
        Events held out: they stop the training and set the scale of the outputs.

    Attributes
    ----------
    effective_events
        Events without weights that have the same statistical power.
    log_z, score_offset
        ln Z at the points and its gradient, which joint labels give; else None.

    Raises
    ------
    SampleError
        If weights at other points are needed and missing, or have no ratio.
    """

    def __init__(
        self,
        model: BagLikelihood,
        where: ModelPoints,
        train: SampleSet | StreamedSamples,
        validation: SampleSet,
    ) -> None:
        self._model, self._where = model, where
        self._train, self._validation = train, validation
        # Joint ratios, if any, and what they need to know of all events.
        self._held_out_joint: Sequence[JointTargets] | None = None
        self._train_joint: Sequence[JointTargets] | None = None  # of samples in memory
        self._total: FloatArray | None = None
        self.log_z: FloatArray | None = None
        self.score_offset: FloatArray | None = None
        n, degree = model.events_in_bag, 2 * model.order
        joint = model.labels == "joint" or bool(model.score_weight)
        if isinstance(train, StreamedSamples):
            self._weights = streamed_weights(train)
            self.effective_events = n * float(self._weights.effective_number(n).sum())
            if joint:
                self._total, self.effective_events = streamed_joint_total(
                    train, self._weights, where.points, degree
                )
        else:
            self.effective_events = sum(n * effective_number(s.weights, n) for s in train)
            if joint:
                found = joint_targets(train, where.points, degree)
                self._total, self.effective_events = found.total, found.effective_events
                self._train_joint = found.targets
        if joint:
            rest = joint_targets(validation, where.points, degree, total=self._total)
            self._held_out_joint = rest.targets
            if model.head == "polynomial":
                self.log_z = rest.log_sigma
                self.score_offset = rest.log_sigma_gradient if model.score_weight else None

    def train(
        self,
        network: BagNetwork,
        k: int,
        seed: np.random.SeedSequence,
        on_epoch: Callable[[int, dict[str, float]], None],
    ) -> dict[str, list[float]]:
        """Train one network, the k-th of its member."""
        from milinfer.learning.networks.training import train_network

        model = self._model
        two = model.head in ("binary", "parametrised")
        return train_network(
            network,
            self._training_bags(k),
            self._bags(self._validation, self._held_out_joint, k),
            model.training,  # type: ignore[arg-type]  # filled by fit
            seed,
            loss_name=model.loss or ("bce" if two else "cross-entropy"),
            score_weight=model.score_weight,
            on_epoch=on_epoch,
        )

    def _training_bags(self, k: int) -> TrainingBags | StreamedBags:
        from milinfer.learning.networks.targets import StreamedBags

        train = self._train
        if not isinstance(train, StreamedSamples):
            return self._bags(train, self._train_joint, k)
        joint = self._total is not None
        points, degree = self._where.points, 2 * self._model.order

        def made(piece: SampleSet) -> TrainingBags:
            targets = (
                joint_targets(piece, points, degree, total=self._total).targets if joint else None
            )
            return self._bags(piece, targets, k)

        def pieces(rng: np.random.Generator) -> Iterator[TrainingBags]:
            return read_ahead(map(made, train.pieces(rng, keep_reweights=joint)))

        return StreamedBags(train.n_pieces, pieces)

    def _bags(
        self, samples: SampleSet, joint: Sequence[JointTargets] | None, k: int
    ) -> TrainingBags:
        from milinfer.learning.networks.targets import ClassBags, PairBags

        model, reference = self._model, self._where.reference_index
        n = model.events_in_bag
        if model.head == "parametrised":
            points = self._where.scaled(self._where.points)
            return PairBags(samples, points, reference, n, symmetric=model.symmetric)
        if model.head == "binary":
            other = [i for i in range(len(samples)) if i != reference][k]
            return ClassBags(SampleSet((samples[reference], samples[other])), n)
        scores = bool(model.score_weight)
        return ClassBags(samples, n, joint, scores=scores, hard=model.labels == "hard")

    def normalisation(self, member: Sequence[BagNetwork]) -> tuple[FloatArray, float]:
        """Coefficients of Z(θ) from all events, so that E_θ0[r] = 1, and the held-out scale.

        A network trained on labels is a little too sure of what it has seen, or too unsure if it
        stopped early; either spoils the curvature of Λ.  One factor on all amplitudes, chosen by
        the likelihood of the held-out events, undoes the common part of it.
        """
        if self._model.head != "polynomial":
            return np.empty(0), 1.0
        head = self._where.polynomial
        train, held_out, joint = self._train, self._validation, self._held_out_joint
        outputs, weights, own = self._outputs(member, held_out)
        counts = weights  # of the samples; the mixture of the training points has its own
        if joint is None or self._model.labels == "hard":
            targets = np.concatenate(
                [np.tile(np.eye(len(own))[k], (len(s), 1)) for k, s in enumerate(held_out)]
            )
            points = own
        else:
            log_ratio = np.concatenate([t.log_ratio for t in joint])
            targets, points = softmax(log_ratio, axis=1), self._where.points
            counts = np.concatenate([t.weights for t in joint])

        def cross_entropy(scale: float) -> float:
            z = bennett(
                head.ratios(scale * outputs, own), weights, head.coefficients(scale * outputs)
            )
            logits = head.log_ratio(scale * outputs, points, z)
            return -float(counts @ np.sum(targets * log_softmax(logits, axis=1), axis=1))

        scale = float(minimize_scalar(cross_entropy, bounds=(0.3, 2.0), method="bounded").x)
        if isinstance(train, StreamedSamples):

            def scaled(features: Float32Array) -> Float32Array:
                return np.float32(scale) * event_outputs(member[0].event_model, features)

            rest = (np.float32(scale) * outputs, weights)
            return streamed_normalisation(train, self._weights, scaled, head, rest), scale
        seen, seen_weights, _ = self._outputs(member, train)
        everything = np.float32(scale) * np.concatenate([seen, outputs])
        both = np.concatenate([seen_weights * len(seen), weights * len(outputs)])
        both /= both.sum()
        return bennett(head.ratios(everything, own), both, head.coefficients(everything)), scale

    def _outputs(
        self, member: Sequence[BagNetwork], samples: SampleSet
    ) -> tuple[Float32Array, FloatArray, FloatArray]:
        """Outputs for events, weights with every sample alike, and the samples' points."""
        features = np.concatenate([s.features for s in samples])
        weights = np.concatenate([s.weights / s.weights.sum() / len(samples) for s in samples])
        return event_outputs(member[0].event_model, features), weights, class_points(samples)
