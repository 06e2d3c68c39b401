"""The members of an ensemble: their seeds, networks, targets and normalisation.

Importing this module does not import Keras; making networks does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from milinfer.learning.fitted import event_outputs
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.learning.streamed_sums import (
    streamed_joint_total,
    streamed_normalisation,
    streamed_weights,
)
from milinfer.learning.training_points import ModelPoints
from milinfer.samples.bags import effective_sample_size
from milinfer.samples.reweighting import JointTargets, bennett, class_points, joint_targets
from milinfer.samples.samples import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.threads import read_ahead

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.network import BagNetwork
    from milinfer.learning.networks.targets import StreamedBags, TrainingBags

__all__ = ["MemberSeeds", "MemberTask", "build_member", "build_members", "member_seeds"]


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
            self.effective_events = self._weights.effective(n)
            if joint:
                self._total, self.effective_events = streamed_joint_total(
                    train, self._weights, where.points, degree
                )
        else:
            self.effective_events = sum(n * effective_sample_size(s.weights, n) for s in train)
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
