"""Check the settings and train each member of the ensemble, in this process or on a cluster.

Importing this module does not import Keras; :func:`fit` does.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from milinfer.exceptions import ConfigurationError, ConvergenceWarning
from milinfer.learning.bootstrap import bootstrap_samples, bootstrap_split, multiplicities
from milinfer.learning.fitted import Fitted
from milinfer.learning.members import (
    MemberLayout,
    MemberSeeds,
    MemberTask,
    build_member,
    member_seeds,
)
from milinfer.learning.model_files import pack_model, unpack_model
from milinfer.learning.networks.configs import TrainingConfig, still_falling
from milinfer.learning.settings import LikelihoodSettings, require_consistent
from milinfer.learning.tracking import EpochReport, tracked_epochs
from milinfer.learning.training_data import (
    moments,
    require_bags,
    require_matching,
    require_weights,
    sort_by_point,
    training_sketches,
)
from milinfer.learning.training_points import (
    ModelPoints,
    logit_degree,
    ordered_points,
    warn_of_free_coefficients,
)
from milinfer.samples.argument_checks import require_samples
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray
from milinfer.utils.parallel import Workers

if TYPE_CHECKING:
    from distributed import Client

    from milinfer.learning.networks.network import BagNetwork
    from milinfer.learning.tracking import Tracker

__all__ = ["epoch_reporter", "fit", "report_histories", "warn_of_short_training"]


# Reported after every epoch.
_LOGGED = ("loss", "val_loss", "learning_rate")


def fit(
    settings: LikelihoodSettings,
    samples: SampleSet | StreamedSamples,
    validation: SampleSet | None,
    on_epoch: Callable[[EpochReport], None] | None,
    client: Client | None = None,
    tracker: Tracker | None = None,
) -> tuple[LikelihoodSettings, Fitted]:
    """Train all members of the ensemble.

    See :meth:`milinfer.learning.bag_likelihood.BagLikelihood.fit`.

    Returns
    -------
    tuple
        The settings with all defaults filled in, and the result of the training.
    """
    require_samples(samples, "BagLikelihood.fit()", streamed=True)
    require_consistent(settings)
    if validation is not None and not isinstance(validation, SampleSet):
        # Typed callers cannot come here.
        msg = "validation= must be in memory: give a SampleSet"  # type: ignore[unreachable]
        raise ConfigurationError(msg)
    if settings.bootstrap and isinstance(samples, StreamedSamples):
        msg = (
            "bootstrap=True resamples events in memory, but these are streamed from files; read a "
            "part of them with SampleSet.from_files(…), or train without bootstrap="
        )
        raise ConfigurationError(msg)
    if settings.loss == "score" and not settings.score_weight:
        settings = dataclasses.replace(settings, score_weight=1.0)
    samples = sort_by_point(samples)
    settings = dataclasses.replace(
        settings,
        degree=logit_degree(settings, samples),
        points=ordered_points(settings.points, samples.parameters),
    )
    model_points = ModelPoints.of(settings, samples)
    network = settings.network or settings.default_network
    training = settings.training or settings.default_training
    # A model keeps the defaults it was trained with, even if later versions change them.
    settings = dataclasses.replace(
        settings, network=network, training=training, bag_size=settings.events_in_bag
    )
    split = None
    if validation is not None:
        split = samples, require_matching(sort_by_point(validation), samples)
    require_weights(samples)
    warn_of_free_coefficients(settings, model_points)
    mean, variance = moments(samples)
    job = _Job(
        settings=settings,
        model_points=model_points,
        samples=samples,
        split=split,
        mean=mean,
        variance=variance,
        trained_on=training_sketches(samples, validation),
    )
    if tracker is not None:
        on_epoch = tracked_epochs(tracker, settings, on_epoch)
    members = list(_trained_members(job, on_epoch, client))
    warn_of_short_training(training, [h for m in members for h in m.history])
    fitted = dataclasses.replace(
        members[-1],
        members=tuple(m.members[0] for m in members),
        z=tuple(m.z[0] for m in members),
        log_z=tuple(m.log_z[0] for m in members),
        scale=tuple(m.scale[0] for m in members),
        history=[h for m in members for h in m.history],
    )
    return settings, fitted


class _Job(NamedTuple):
    """Settings and events that are common to all members.

    `split` contains the events to train on and to validate with, if all members use the same.
    """

    settings: LikelihoodSettings
    model_points: ModelPoints
    samples: SampleSet | StreamedSamples
    split: tuple[SampleSet | StreamedSamples, SampleSet] | None
    mean: FloatArray
    variance: FloatArray
    trained_on: tuple[str, ...]


def _trained_members(
    job: _Job, on_epoch: Callable[[EpochReport], None] | None, client: Client | None
) -> Iterator[Fitted]:
    """Yield each member as an ensemble of one, in order, and report it to `on_epoch`."""
    numbers = range(job.settings.ensemble)
    if client is None:
        for number in numbers:
            yield _train_member(number, job, on_epoch)
        return
    for number, files in enumerate(Workers(client=client).map(_train_packed, numbers, job)):
        _, fitted = unpack_model(files)
        report_histories(on_epoch, number, job.settings.ensemble, fitted.training, fitted.history)
        yield fitted


def _train_packed(number: int, job: _Job) -> dict[str, bytes]:
    """Train one member on a worker, and return its files: Keras networks cannot be pickled."""
    fitted = _train_member(number, job)
    return pack_model(dataclasses.replace(job.settings, ensemble=1), fitted)


def _train_member(
    number: int, job: _Job, on_epoch: Callable[[EpochReport], None] | None = None
) -> Fitted:
    """Train one member, as an ensemble of one."""
    settings, model_points = job.settings, job.model_points
    assert settings.network is not None
    assert settings.training is not None
    seeds = member_seeds(settings)[number]
    # Every member holds out different events, so that the ensemble as a whole uses all events.
    train, rest = _events_of(job, seeds)
    for events, purpose in ((train, "train on"), (rest, "validate with")):
        require_bags(events, settings.events_in_bag, purpose)
    task = MemberTask(settings, model_points, train, rest)
    layout = MemberLayout.of(settings, model_points, job.mean, job.variance)
    networks = build_member(settings, model_points, layout, seeds, task)
    history = []
    for k, network in enumerate(networks):
        n_networks = settings.ensemble * len(networks)
        report = epoch_reporter(
            on_epoch, number * len(networks) + k, n_networks, settings.training, network
        )
        history.append(task.train(network, k, seeds.bags[k], report))
    member = layout.trained(networks)
    normalisation = task.normalisation(member)
    return Fitted(
        where=model_points,
        members=(member,),
        z=(normalisation.z,),
        log_z=(normalisation.log_z,),
        scale=(normalisation.scale,),
        feature_names=job.samples.feature_names,
        mean=job.mean,
        variance=job.variance,
        network=settings.network,
        training=settings.training,
        history=history,
        n_events={s.label: len(s) for s in job.samples},
        effective_events=task.effective_events,
        trained_on=job.trained_on,
    )


def _events_of(job: _Job, seeds: MemberSeeds) -> tuple[SampleSet | StreamedSamples, SampleSet]:
    """Return the events that a member trains on and validates with."""
    samples, held_out = job.samples, job.settings.validation_fraction
    fractions = [1 - held_out, held_out]
    if not job.settings.bootstrap or isinstance(samples, StreamedSamples):
        if job.split is not None:
            return job.split
        train, rest = samples.split(fractions, seed=seeds.split)
        return train, rest
    numbers = multiplicities(samples, seeds.bootstrap)
    if job.split is None:
        both = bootstrap_split(samples, numbers, fractions, seeds.split)
        return both[0], both[1]
    rest = job.split[1]
    held_out_numbers = multiplicities(rest, seeds.bootstrap, part=1)
    return bootstrap_samples(samples, numbers), bootstrap_samples(rest, held_out_numbers)


def epoch_reporter(
    on_epoch: Callable[[EpochReport], None] | None,
    number: int,
    n_networks: int,
    training: TrainingConfig,
    network: BagNetwork | None = None,
) -> Callable[[int, dict[str, float]], None]:
    """Return a function that turns the log of a training loop into reports."""

    def report(epoch: int, logs: dict[str, float]) -> None:
        if on_epoch is not None:
            on_epoch(
                EpochReport(
                    member=number,
                    n_members=n_networks,
                    epoch=epoch,
                    n_epochs=training.epochs,
                    **{name: float(logs[name]) for name in _LOGGED},
                    network=network,
                )
            )

    return report


def report_histories(
    on_epoch: Callable[[EpochReport], None] | None,
    member: int,
    n_members: int,
    training: TrainingConfig,
    histories: Sequence[Mapping[str, Sequence[float]]],
) -> None:
    """Report all epochs of an ensemble member that a worker of a cluster has trained."""
    n_networks = len(histories)
    for k, history in enumerate(histories):
        report = epoch_reporter(on_epoch, member * n_networks + k, n_members * n_networks, training)
        for epoch, numbers in enumerate(zip(*(history[n] for n in _LOGGED), strict=True)):
            report(epoch, dict(zip(_LOGGED, numbers, strict=True)))


def warn_of_short_training(
    training: TrainingConfig, history: Sequence[Mapping[str, Sequence[float]]]
) -> None:
    """Warn if the loss of a network was still falling at the last epoch.

    Warns
    -----
    ConvergenceWarning
        If the loss of a network was still falling in its last epochs.
    """
    short = sum(still_falling(h, training) for h in history)
    if short:
        msg = (
            f"the validation loss of {short} of {len(history)} networks was still falling after "
            f"{training.epochs} epochs; train for more epochs (TrainingConfig(epochs=…), --epochs, "
            "or epochs of [[model]])"
        )
        warnings.warn(msg, ConvergenceWarning, stacklevel=4)
