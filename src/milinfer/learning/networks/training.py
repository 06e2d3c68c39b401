"""Training of bag networks with dynamic bags.

Importing this module imports Keras.

A small network trains in less time than TensorFlow and XLA need for its graph.  Networks that
differ in nothing but their variables (members of an ensemble, other data) are therefore trained by
one graph, and the last few graphs are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.learning.networks.configs import BATCH_EVENTS, TrainingConfig
from milinfer.learning.networks.losses import loss
from milinfer.learning.networks.network import BagNetwork
from milinfer.learning.networks.targets import EpochBags, StreamedBags, TrainingBags
from milinfer.learning.networks.training_loop import TrainingLoop, copy_variables, total_loss

__all__ = ["TrainingConfig", "train_network"]

_KEPT = 8
"""Kinds of networks whose graphs are kept."""

_SHAPES = 16
"""Sizes of batches beyond which what was compiled for a kind is not kept."""


def train_network(
    network: BagNetwork,
    train: TrainingBags | StreamedBags,
    validation: TrainingBags,
    config: TrainingConfig,
    seed: np.random.SeedSequence,
    *,
    loss_name: str = "cross-entropy",
    score_weight: float = 0.0,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, list[float]]:
    """Train a bag network and restore its best weights.

    Parameters
    ----------
    network
        From :func:`milinfer.learning.networks.network.build_network`.
    train, validation
        Disjoint events; those to train on may come in pieces, each of which then trains with the
        optimiser as the one before has left it.
    config
        Optimiser settings.
    seed
        Source of the grouping into bags; every epoch has a stream of its own.
    loss_name
        One of :data:`milinfer.learning.networks.losses.LOSSES`, or ``"score"`` for the error of the score alone.
    score_weight
        Weight of the squared error of the score, where the targets have scores.
    on_epoch
        Called as ``on_epoch(epoch, logs)`` after every epoch.

    Returns
    -------
    dict
        The history: one value an epoch for each of ``loss``, ``val_loss``, ``learning_rate``.

    Raises
    ------
    ModelError
        If the loss is not finite, or the network ends with one output for all bags.
    """
    train_seed, validation_seed = seed.spawn(2)
    held_out = validation.draw(np.random.default_rng(validation_seed))
    idle = _idle(_kind(network, validation, loss_name, score_weight))
    try:
        loop = idle.pop()
    except IndexError:
        ratio_loss = None if loss_name == "score" else loss(loss_name)
        combined = total_loss(ratio_loss, validation.n_classes, score_weight)
        loop = TrainingLoop(network.twin(np.random.SeedSequence(0)).bag_model, combined)
    loop.start(network.bag_model, config.learning_rate)
    model, optimizer = loop.model, loop.optimizer
    history: dict[str, list[float]] = {"loss": [], "val_loss": [], "learning_rate": []}
    best, best_weights, waited = np.inf, model.get_weights(), 0
    for epoch in range(config.epochs):
        rates = _rates(config, epoch, float(optimizer.learning_rate.numpy()))
        value = _one_epoch(loop, train, config, rates, train_seed.spawn(1)[0])
        val_loss = loop.evaluate(validation, held_out, config.batch_events or BATCH_EVENTS[1])
        logs = {"loss": value, "val_loss": val_loss, "learning_rate": rates[1]}
        for name, number in logs.items():
            history[name].append(number)
        if not np.isfinite(value) or not np.isfinite(val_loss):
            msg = (
                f"the training loss became {value} (validation: {val_loss}) in epoch {epoch + 1}; "
                "look for outliers in the features, or lower learning_rate"
            )
            raise ModelError(msg)
        if on_epoch is not None:
            copy_variables(model, network.bag_model)
            on_epoch(epoch, logs)
        if val_loss < best:
            best, best_weights, waited = val_loss, model.get_weights(), 0
            continue
        waited += 1
        if config.schedule == "plateau":
            if waited >= 2 * config.patience:
                break
            if waited % config.patience == 0:
                optimizer.learning_rate.assign(max(rates[1] / 2, config.min_learning_rate))
        elif config.schedule == "anneal" and waited >= config.patience:
            if rates[1] / 3 < config.min_learning_rate:
                break
            model.set_weights(best_weights)
            optimizer.learning_rate.assign(rates[1] / 3)
            waited = 0
    model.set_weights(best_weights)
    copy_variables(model, network.bag_model)
    _require_alive(network, validation, held_out)
    if loop.n_shapes <= _SHAPES:
        idle.append(loop)
    return history


def _require_alive(network: BagNetwork, bags: TrainingBags, drawn: EpochBags) -> None:
    """Refuse a network for which all bags are the same: its likelihood would be flat."""
    index, labels, _, theta = (x[:64] for x in drawn)
    # The same θ for all, where it is an input: the output is to depend on the events.
    inputs, _ = bags.batch(index, labels, np.full_like(theta, theta[0]))
    outputs = np.asarray(network.bag_model(inputs, training=False))
    if len(outputs) > 1 and not np.ptp(outputs, axis=0).any():
        msg = (
            "the network is dead: it gives all bags the same output; lower learning_rate, choose "
            "another activation or seed, or a weaker regularisation"
        )
        raise ModelError(msg)


@lru_cache(maxsize=_KEPT)
def _idle(kind: Hashable) -> list[TrainingLoop]:
    """Loops of one kind with which nothing is trained now; who trains takes one out."""
    del kind
    return []


def _kind(network: BagNetwork, bags: TrainingBags, loss_name: str, score_weight: float) -> Hashable:
    """All that a graph has inside: what is equal here, one graph can train."""
    twin: Any = network.twin
    places = [(tuple(v.shape), str(v.dtype), v.value.device) for v in network.bag_model.variables]
    data = (type(bags).__name__, sorted(bags.data), bags.n_classes, bags.bag_size)
    return _plain((twin.args, twin.keywords, places, data, loss_name, score_weight))


def _plain(value: Any) -> Hashable:
    """The content of settings, to compare and to look up."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if dataclasses.is_dataclass(value):
        # Its fields, and not what it has computed since it was made.
        fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return type(value).__qualname__, _plain(fields)
    if isinstance(value, Mapping):
        return tuple((key, _plain(v)) for key, v in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_plain(v) for v in value)
    kept: Hashable = value
    return kept


def _rates(config: TrainingConfig, epoch: int, current: float) -> tuple[float, float]:
    """Learning rate at the start and the end of an epoch."""
    if config.schedule != "cosine":
        return current, current
    low, high = config.min_learning_rate, config.learning_rate
    start, end = (np.cos(np.pi * np.array([epoch, epoch + 1]) / config.epochs) + 1) / 2
    return float(low + (high - low) * start), float(low + (high - low) * end)


def _one_epoch(
    loop: TrainingLoop,
    train: TrainingBags | StreamedBags,
    config: TrainingConfig,
    rates: tuple[float, float],
    seed: np.random.SeedSequence,
) -> float:
    """Train on all pieces of an epoch; returns the mean loss."""
    rng = np.random.default_rng(seed)
    if not isinstance(train, StreamedBags):
        drawn = train.draw(rng)
        return loop.train(train, drawn, config.batch_for(*drawn.index.shape), rates)[0]
    stops = np.linspace(*rates, train.n_pieces + 1)
    losses, sizes = [], []
    # Pieces are read ahead in another thread: they have a source of randomness of their own.
    pieces = train.pieces(np.random.default_rng(seed.spawn(1)[0]))
    for bags, start, stop in zip(pieces, stops[:-1], stops[1:], strict=True):
        drawn = bags.draw(rng)
        batch_events = config.batch_for(train.n_pieces * len(drawn.index), bags.bag_size)
        value, n_batches = loop.train(bags, drawn, batch_events, (start, stop))
        losses.append(value)
        sizes.append(n_batches)
    return float(np.average(losses, weights=sizes))
