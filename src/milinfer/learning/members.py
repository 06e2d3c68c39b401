"""Build the members of an ensemble: seeds, untrained networks, and training bags of each head.

Importing this module does not import Keras; building networks does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import log_softmax, softmax

from milinfer.exceptions import ModelError
from milinfer.learning.bootstrap import bootstrap_groups
from milinfer.learning.fitted import trained_log_ratios
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.settings import LikelihoodSettings, is_normalised, loss_name
from milinfer.learning.training_data import (
    on_disk,
    streamed_event_weights,
    streamed_joint_total,
    streamed_normalisation,
    streamed_weights,
)
from milinfer.learning.training_points import ModelPoints
from milinfer.samples.reweighting import JointTargets, bennett, class_points, joint_targets
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.samples.weights import effective_number
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.parallel import read_ahead

if TYPE_CHECKING:
    from milinfer.learning.networks.network import BagNetwork
    from milinfer.learning.networks.training_bags import StreamedBags, TrainingBags

__all__ = [
    "MemberLayout",
    "MemberSeeds",
    "MemberTask",
    "Normalisation",
    "build_member",
    "member_seeds",
]

# Factors to try on the log-ratios of a network that is under-confident or over-confident.
_SCALES = (0.1, 100.0)
# Number of networks with seeds: more than any member has.  A seed does not depend on this number.
_MOST_NETWORKS = 64
_NO_MEANS = (
    "the ratios of the trained network have no positive, finite means over the training events, so "
    "they cannot be normalised; train with a smaller learning rate, remove outliers of the "
    "features, or set normalise=False"
)


class MemberSeeds(NamedTuple):
    """Random seeds of one member of an ensemble.

    `weights` and `bags` contain a seed for each network of the member.  Twins have the same seed
    `bootstrap`; see :func:`milinfer.learning.bootstrap.bootstrap_groups`.
    """

    split: int
    weights: tuple[np.random.SeedSequence, ...]
    bags: tuple[np.random.SeedSequence, ...]
    bootstrap: np.random.SeedSequence


def member_seeds(settings: LikelihoodSettings) -> list[MemberSeeds]:
    """Return the seeds of each member, from the seed of the settings and the member's number."""
    members: list[MemberSeeds] = []
    groups = bootstrap_groups(settings.ensemble)
    for number, seed in enumerate(np.random.SeedSequence(settings.seed).spawn(settings.ensemble)):
        # The first three seeds of a member are the same with and without a bootstrap.
        split, weights, bags, bootstrap = seed.spawn(4)
        twin = int(np.argmax(groups == groups[number]))
        members.append(
            MemberSeeds(
                split=int(split.generate_state(1)[0]),
                weights=tuple(weights.spawn(_MOST_NETWORKS)),
                bags=tuple(bags.spawn(_MOST_NETWORKS)),
                bootstrap=bootstrap if twin == number else members[twin].bootstrap,
            )
        )
    return members


class MemberLayout(NamedTuple):
    """Architecture and inputs that are common to the networks of a member.

    Parameters
    ----------
    config
        Architecture.
    head
        Meaning of the outputs as a function of θ.
    n_networks
        Number of networks: one, or one for each training point except the reference.
    mean, variance
        Means and variances of the inputs: of the features, and of θ if it is an input.
    """

    config: NetworkConfig
    head: LinearHead | PolynomialHead
    n_networks: int
    mean: FloatArray
    variance: FloatArray

    @classmethod
    def of(
        cls,
        settings: LikelihoodSettings,
        model_points: ModelPoints,
        mean: FloatArray,
        variance: FloatArray,
    ) -> MemberLayout:
        """Return the layout for a head; `mean` and `variance` have the shape (n_features,)."""
        head: LinearHead | PolynomialHead
        n_networks = 1
        if settings.head == "polynomial":
            head = model_points.polynomial
        elif settings.head == "multiclass":
            head = model_points.linear_at(model_points.points)
        else:
            head = LinearHead(np.eye(1))
            if settings.head == "binary":
                n_networks = len(model_points.points) - 1
            else:
                # θ is already scaled to [−1, 1], and needs no normalisation.
                n = len(model_points.parameters)
                mean, variance = np.append(mean, np.zeros(n)), np.append(variance, np.ones(n))
        return cls(
            config=settings.network or settings.default_network,
            head=head,
            n_networks=n_networks,
            mean=mean,
            variance=variance,
        )

    def trained(self, networks: Sequence[BagNetwork]) -> tuple[TrainedNetwork, ...]:
        """Convert the networks of a member, after a training or a load, to ``TrainedNetwork``."""
        return tuple(TrainedNetwork.of(n, self.mean, self.variance) for n in networks)


def build_member(
    settings: LikelihoodSettings,
    model_points: ModelPoints,
    layout: MemberLayout,
    seeds: MemberSeeds,
    task: MemberTask | None = None,
) -> tuple[BagNetwork, ...]:
    """Build the untrained networks of one member; their weights depend only on its seeds.

    Parameters
    ----------
    settings
        Settings of the likelihood, with ``network``.
    model_points
        Training points and heads.
    layout
        Layout of the networks.
    seeds
        Seeds of the member.
    task
        Training of the member.  It provides ln Z, and is needed for joint labels only.
    """
    from milinfer.learning.networks.network import build_network

    options: dict[str, Any] = {"pooling": settings.pooling}
    if settings.head == "polynomial":
        options = {"points": model_points.points}
        if task is not None:
            options |= {"log_z": task.log_z, "score_offset": task.score_offset}
    return tuple(
        build_network(
            layout.config,
            layout.head,
            settings.events_in_bag,
            layout.mean,
            layout.variance,
            seed,
            **options,
        )
        for seed in seeds.weights[: layout.n_networks]
    )


class Normalisation(NamedTuple):
    """Constants that turn the outputs of a trained member into ratios of densities.

    Parameters
    ----------
    z
        For a polynomial head, coefficients of the normalisation Z(θ).  Empty for other heads.
    log_z
        For other heads, ln Z at the points at which Λ is computed, or empty if the ratios are not
        normalised.  Empty for a polynomial head.
    scale
        Factor on the outputs of a polynomial head, or on the log-ratios of any other head.
    """

    z: FloatArray
    log_z: FloatArray
    scale: float


class MemberTask:
    """Training of the networks of a member: bags, joint targets and normalisation.

    Parameters
    ----------
    settings
        Settings of the likelihood, with ``network`` and ``training``.
    model_points
        Training points and heads.
    train
        Events to train on.
    validation
        Held-out events.  They decide when the training stops, and determine the scale of the
        outputs.

    Attributes
    ----------
    effective_events
        Number of events of weight one with the same statistical power as the training events.
    log_z, score_offset
        `log_z` is ln Z at the points if a polynomial head is trained with joint labels or a score
        weight.  `score_offset` is the gradient of ln Z if it is trained with a score weight.  Both
        are None in all other cases.

    Raises
    ------
    SampleError
        If events have no weights at the points, or weights from which no ratio can be computed.
    """

    def __init__(
        self,
        settings: LikelihoodSettings,
        model_points: ModelPoints,
        train: SampleSet | StreamedSamples,
        validation: SampleSet,
    ) -> None:
        self._settings, self._model_points = settings, model_points
        self._train, self._validation = train, validation
        # Joint ratios, if any, and the cross section of all events, which normalises these ratios.
        self._held_out_joint: Sequence[JointTargets] | None = None
        self._train_joint: Sequence[JointTargets] | None = None  # of samples in memory
        self._total: FloatArray | None = None
        self.log_z: FloatArray | None = None
        self.score_offset: FloatArray | None = None
        n, degree = settings.events_in_bag, 2 * settings.order
        joint = settings.labels == "joint" or bool(settings.score_weight)
        if isinstance(train, StreamedSamples):
            self._weights = streamed_weights(train)
            self.effective_events = n * float(self._weights.effective_number(n).sum())
            if joint:
                self._total, self.effective_events = streamed_joint_total(
                    train, self._weights, model_points.points, degree
                )
        else:
            self.effective_events = sum(n * effective_number(s.weights, n) for s in train)
            if joint:
                joint_train = joint_targets(train, model_points.points, degree)
                self._total = joint_train.total
                self.effective_events = joint_train.effective_events
                self._train_joint = joint_train.targets
        if joint:
            joint_rest = joint_targets(validation, model_points.points, degree, total=self._total)
            self._held_out_joint = joint_rest.targets
            if settings.head == "polynomial":
                self.log_z = joint_rest.log_sigma
                self.score_offset = joint_rest.log_sigma_gradient if settings.score_weight else None

    def train(
        self,
        network: BagNetwork,
        k: int,
        seed: np.random.SeedSequence,
        on_epoch: Callable[[int, dict[str, float]], None],
    ) -> dict[str, list[float]]:
        """Train network number `k` of the member; return its losses and learning rates."""
        from milinfer.learning.networks.training import train_network

        settings = self._settings
        return train_network(
            network,
            self._training_bags(k),
            self._bags(self._validation, self._held_out_joint, k),
            settings.training,  # type: ignore[arg-type]  # filled by fit
            seed,
            loss_name=loss_name(settings),
            score_weight=settings.score_weight,
            on_epoch=on_epoch,
        )

    def _training_bags(self, k: int) -> TrainingBags | StreamedBags:
        from milinfer.learning.networks.training_bags import StreamedBags

        train = self._train
        if not isinstance(train, StreamedSamples):
            return self._bags(train, self._train_joint, k)
        joint = self._total is not None
        points, degree = self._model_points.points, 2 * self._settings.order

        def bags_of(piece: SampleSet) -> TrainingBags:
            targets = (
                joint_targets(piece, points, degree, total=self._total).targets if joint else None
            )
            return self._bags(piece, targets, k)

        def pieces(rng: np.random.Generator) -> Iterator[TrainingBags]:
            return read_ahead(map(bags_of, train.pieces(rng, keep_reweights=joint)))

        n_bags = train.n_events // self._settings.events_in_bag
        return StreamedBags(train.n_pieces, n_bags, pieces)

    def _bags(
        self, samples: SampleSet, joint: Sequence[JointTargets] | None, k: int
    ) -> TrainingBags:
        from milinfer.learning.networks.training_bags import ClassBags, PairBags

        settings, reference = self._settings, self._model_points.reference_index
        n = settings.events_in_bag
        if settings.head == "parametrised":
            points = self._model_points.scaled(self._model_points.points)
            return PairBags(samples, points, reference, n, symmetric=settings.symmetric)
        if settings.head == "binary":
            other = [i for i in range(len(samples)) if i != reference][k]
            return ClassBags(SampleSet((samples[reference], samples[other])), n)
        scores = bool(settings.score_weight)
        return ClassBags(samples, n, joint, scores=scores, hard=settings.labels == "hard")

    def normalisation(self, member: Sequence[TrainedNetwork]) -> Normalisation:
        """Determine the scale from held-out events, and the constants that make E_θ0[r] = 1.

        A network trained on labels is slightly over-confident, or under-confident if its training
        stopped early.  This changes the curvature of Λ.  The scale is one factor on all amplitudes
        or log-ratios.  It is the factor that maximises the likelihood of the held-out events.  It
        corrects only what is common to all events.

        Raises
        ------
        ModelError
            If a ratio r is not finite.
        """
        if self._settings.head == "polynomial":
            return self._of_polynomials(member)
        if is_normalised(self._settings):
            return self._of_log_ratios(member)
        return Normalisation(z=np.empty(0), log_z=np.empty(0), scale=1.0)

    def _of_polynomials(self, member: Sequence[TrainedNetwork]) -> Normalisation:
        """Return the coefficients of Z(θ), and the scale of the amplitudes."""
        from scipy.optimize import minimize_scalar

        head = self._model_points.polynomial
        train = self._train
        outputs, weights, sample_points = self._outputs(member, self._validation)
        targets, counts, points = self._held_out_targets()
        exact_outputs = outputs.astype(np.float64)

        def cross_entropy(scale: float) -> float:
            scaled = scale * exact_outputs
            z = bennett(head.ratios(scaled, sample_points), weights, head.coefficients(scaled))
            logits = head.log_ratio(scaled, points, z)
            return -float(counts @ np.sum(targets * log_softmax(logits, axis=1), axis=1))

        scale = float(minimize_scalar(cross_entropy, bounds=(0.3, 2.0), method="bounded").x)
        if isinstance(train, StreamedSamples):

            def scaled_outputs(features: Float32Array) -> Float32Array:
                return np.float32(scale) * member[0].outputs(features)

            rest = (np.float32(scale) * outputs, weights)
            z = streamed_normalisation(train, self._weights, scaled_outputs, head, rest)
            return Normalisation(z=z, log_z=np.empty(0), scale=scale)
        train_outputs, train_weights, _ = self._outputs(member, train)
        all_outputs = np.float32(scale) * np.concatenate([train_outputs, outputs])
        all_weights = np.concatenate([train_weights * len(train_outputs), weights * len(outputs)])
        all_weights /= all_weights.sum()
        z = bennett(
            head.ratios(all_outputs, sample_points), all_weights, head.coefficients(all_outputs)
        )
        return Normalisation(z=z, log_z=np.empty(0), scale=scale)

    def _of_log_ratios(self, member: Sequence[TrainedNetwork]) -> Normalisation:
        """Return ln E_θ0[r] at the points where Λ is computed, and the scale, for other heads.

        The training determines the constants of the logits like all other weights, but their errors
        add up over the events of a dataset.  As means of ratios they are known with the precision
        of all events, from the equations that also normalise a polynomial head.  An under-confident
        network has ratios that are too flat, while its constants belong to the correct ratios.  It
        needs the scale as much as the means.
        """
        scale = self._held_out_scale(member)
        where, reference = self._model_points, self._model_points.reference_index
        k, alone = len(where.points), len(where.parameters) == 1
        # In one parameter Λ is computed at the training points.
        points = where.points if alone else np.concatenate([where.points, where.nodes])
        # The first mean is that of the ratio at the reference, a column of ones.
        ones = 0 if alone else k
        n = self._train.n_events + self._validation.n_events
        with ExitStack() as stack:
            if isinstance(self._train, StreamedSamples):
                table, w = stack.enter_context(on_disk(n, len(points) + 1))
            else:
                table, w = np.empty((n, len(points) + 1)), np.empty((n, 1))
            start = 0
            for features, weights in self._mixture():
                rows = slice(start, start + len(features))
                llr = trained_log_ratios(self._settings, where, member, features, points)
                ratios = _finite_exp(scale * (llr - llr[:, reference, None]))
                table[rows], w[rows, 0] = np.insert(ratios, ones, 1.0, axis=1), weights
                start = rows.stop
            at_points = table[:, 1:] if alone else table[:, :k]
            log_z = _log_means(at_points, w[:, 0], table[:, ones:])
        return Normalisation(z=np.empty(0), log_z=log_z, scale=scale)

    def _held_out_scale(self, member: Sequence[TrainedNetwork]) -> float:
        """Return the factor on the log-ratios that describes the held-out events best."""
        from scipy.optimize import minimize_scalar

        where = self._model_points
        features = np.concatenate([s.features for s in self._validation])
        llr = trained_log_ratios(self._settings, where, member, features, where.points)
        llr -= llr[:, where.reference_index, None]
        targets, weights, _ = self._held_out_targets()

        def cross_entropy(scale: float) -> float:
            ratios = _finite_exp(scale * llr)
            logits = scale * llr - _log_means(ratios, weights, np.insert(ratios, 0, 1.0, axis=1))
            return -float(weights @ np.sum(targets * log_softmax(logits, axis=1), axis=1))

        # The factor may be large: a network whose training stopped early is too flat.
        found = minimize_scalar(
            lambda log_scale: cross_entropy(np.exp(log_scale)),
            bounds=np.log(_SCALES),
            method="bounded",
        )
        return float(np.exp(found.x))

    def _held_out_targets(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return class probabilities of held-out events, their weights, and the points."""
        held_out, joint = self._validation, self._held_out_joint
        if joint is None or self._settings.labels == "hard":
            targets = np.repeat(np.eye(len(held_out)), [len(s) for s in held_out], axis=0)
            return targets, np.concatenate(_even_weights(held_out)), class_points(held_out)
        # The mixture of the training points has its own weights.
        weights = np.concatenate([t.weights for t in joint])
        targets = softmax(np.concatenate([t.log_ratio for t in joint]), axis=1)
        return targets, weights, self._model_points.points

    def _mixture(self) -> Iterator[tuple[Float32Array, FloatArray]]:
        """Yield features of all events, and weights of the equal mixture of the points."""
        train, rest = self._train, self._validation
        n = train.n_events + rest.n_events
        parts: list[tuple[SampleSet, Sequence[JointTargets] | None]] = []
        if isinstance(train, StreamedSamples):
            joint = None
            if self._total is not None:
                joint = self._model_points.points, 2 * self._settings.order, self._total
            for features, weights in streamed_event_weights(train, self._weights, joint):
                yield features, weights * (train.n_events / n)
        else:
            parts.append((train, self._train_joint))
        parts.append((rest, self._held_out_joint))
        for samples, targets in parts:
            each = _even_weights(samples) if targets is None else [t.weights for t in targets]
            for sample, weights in zip(samples, each, strict=True):
                yield sample.features, weights * (samples.n_events / n)

    def _outputs(
        self, member: Sequence[TrainedNetwork], samples: SampleSet
    ) -> tuple[Float32Array, FloatArray, FloatArray]:
        """Return outputs for events, weights with equal sums for all samples, and the points."""
        features = np.concatenate([s.features for s in samples])
        weights = np.concatenate(_even_weights(samples))
        return member[0].outputs(features), weights, class_points(samples)


def _even_weights(samples: SampleSet) -> list[FloatArray]:
    """Return weights of the events with equal sums for all samples and a total of one."""
    return [s.weights / s.weights.sum() / len(samples) for s in samples]


def _log_means(ratios: FloatArray, weights: FloatArray, values: FloatArray) -> FloatArray:
    """Return logarithms of the means at θ0 of all values but the first, which is always one.

    Raises
    ------
    ModelError
        If a mean is not positive, which negative weights can cause.
    """
    means = bennett(ratios, weights, values)[1:]
    if not np.all(means > 0):
        raise ModelError(_NO_MEANS)
    log_means: FloatArray = np.log(means)
    return log_means


def _finite_exp(llr: FloatArray) -> FloatArray:
    """Return ratios from log-ratios, of the same shape.

    Raises
    ------
    ModelError
        If a ratio is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        ratios: FloatArray = np.exp(llr)
    if not np.isfinite(ratios).all():
        raise ModelError(_NO_MEANS)
    return ratios
