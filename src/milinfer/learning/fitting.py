"""From samples to trained networks: settings checked, members trained, here or on a cluster.

Importing this module does not import Keras; :func:`fit` does.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from milinfer.exceptions import (
    ConfigurationError,
    ConvergenceWarning,
)
from milinfer.learning.fit_settings import (
    logit_degree,
    require_consistent,
    warn_of_free_coefficients,
)
from milinfer.learning.members import MemberTask, build_member, member_seeds
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
)
from milinfer.learning.training_points import ModelPoints
from milinfer.samples.samples import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray
from milinfer.utils.display import brief
from milinfer.utils.parallel import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    from distributed import Client

    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.network import BagNetwork, NetworkConfig
    from milinfer.learning.tracking import Tracker
    from milinfer.likelihood.surface import Interpolation
    from milinfer.likelihood.surface_box import ChebyshevBox

__all__ = ["EpochReport", "Fitted", "fit"]

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
        """Losses of every network and epoch; see :func:`milinfer.learning.model_display.history_table`."""
        from milinfer.learning.model_display import history_table

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
        where,
        (member,),
        (z,),
        (scale,),
        samples.feature_names,
        mean,
        variance,
        model.network,
        model.training,
        history,
        {s.label: len(s) for s in samples},
        task.effective_events,
        trained_on,
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
