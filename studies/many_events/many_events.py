"""Classifiers of many events at once, as the studies of [NT] train and score them.

All are a :class:`milinfer.BagLikelihood` between two points; what differs is what it sees:

``single``
    f_1: single events.
``list``, ``sorted``
    f_N: the features of N events side by side, as they come or in the order of one feature.
``set``
    f_N: deep sets, a sum over the events and layers after it.
``additive``
    f̃_N: a sum over the events and a fixed function of it (eq. 32); contains f_{N→1}.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import milinfer as mil
from milinfer.diagnostics.roc import Estimate, Roc, auc_difference, mean_over_trainings
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.network import BagNetwork
from milinfer.learning.networks.trained_network import keras_outputs
from milinfer.likelihood.models import as_model
from milinfer.samples.bags import bag_offsets, listed_bags

RATES = np.linspace(0, 1, 101)  # true positive rates at which curves are kept


class Setup(NamedTuple):
    """What all classifiers of a study have in common, and where they differ.

    A batch has as many events, and an epoch as many batches, for single events as for bags.
    """

    bag_size: int
    hidden: dict[str, tuple[int, ...]]  # by kind
    bag_hidden: tuple[int, ...]
    epochs: int
    batches: int  # in an epoch
    learning_rate: float
    sort_by: str | None = None


def train(
    kind: str, samples: mil.SampleSet, setup: Setup, seed: int, on_epoch: Any = None
) -> mil.BagLikelihood:
    """A trained classifier of one kind, its epochs reported."""
    listed = kind in ("list", "sorted")
    seen = as_seen(kind, samples, setup)
    size = 1 if listed or kind == "single" else setup.bag_size
    head = "multiclass" if kind == "set" else "binary"
    network = NetworkConfig(
        setup.hidden[kind],
        "relu",
        batch_norm=False,
        dropout=0.0,
        l2=0.0,
        bag_hidden=setup.bag_hidden if kind == "set" else (),
    )
    rate = setup.learning_rate
    batch = int(0.8 * seen.n_events / setup.batches)  # a fifth is held out for early stopping
    return mil.BagLikelihood(
        head=head,
        normalise=False,
        degree=None,
        pooling="mean" if size == 1 else "sum",
        bag_size=size,
        reference=float(samples.values(samples.parameters[0]).min()),
        network=network,
        training=TrainingConfig(setup.epochs, batch, rate, rate / 100, schedule="cosine"),
        seed=seed,
    ).fit(seen, on_epoch=on_epoch)


def as_seen(kind: str, samples: mil.SampleSet, setup: Setup) -> mil.SampleSet:
    """Samples of lists of events for the classifiers that see lists."""
    if kind not in ("list", "sorted"):
        return samples
    key = setup.sort_by if kind == "sorted" else None
    return mil.SampleSet(tuple(listed_bags(s, setup.bag_size, key) for s in samples))


def bag_scores(kind: str, model, samples: mil.SampleSet, setup: Setup) -> tuple[np.ndarray, ...]:
    """Log-ratio of consecutive bags of N events: of the signal, then of the background."""
    scores = []
    for sample in as_seen(kind, samples, setup):
        size = 1 if kind in ("list", "sorted") else setup.bag_size
        n = len(sample) // size * size
        table = as_model(model).event_table(sample)
        llr = as_model(model).segment_llr(table, np.arange(n), np.ones(n), bag_offsets(n, size))
        scores.append(llr[:, -1] - llr[:, 0])
    return scores[1], scores[0]


def network_scores(
    network: BagNetwork, samples: mil.SampleSet, setup: Setup
) -> tuple[np.ndarray, ...]:
    """The same from the network of a set, or of single events, in the midst of its training."""
    scores = []
    for sample in samples:
        n_bags = len(sample) // setup.bag_size
        out = keras_outputs(network.event_model, sample.features[: n_bags * setup.bag_size])
        sums = out.astype(np.float64).reshape(n_bags, setup.bag_size, -1).sum(axis=1)
        if network.bag_head is not None:
            counts = np.full(n_bags, setup.bag_size, np.float32)
            classes = network.bag_head([sums.astype(np.float32), counts], training=False)
            sums = np.diff(np.asarray(classes, dtype=np.float64), axis=1)
        scores.append(sums[:, 0])
    return scores[1], scores[0]


def event_scores(model, samples: mil.SampleSet) -> tuple[np.ndarray, ...]:
    """Log-ratio of single events: of the signal, then of the background."""
    background, signal = (model.event_llr(s) for s in samples)
    return signal[:, -1] - signal[:, 0], background[:, -1] - background[:, 0]


def compared(scores: list[tuple], reference: tuple | list[tuple]) -> dict:
    """Area minus that of a reference on the same bags: mean over trainings, and each of them."""
    references = reference if isinstance(reference, list) else [reference] * len(scores)
    return over_trainings([auc_difference(s, r) for s, r in zip(scores, references, strict=True)])


def over_trainings(estimates: list[Estimate]) -> dict:
    """Mean over trainings with its error, each of them, and their spread."""
    mean = mean_over_trainings(estimates)
    each = [e.value for e in estimates]
    spread = float(np.std(each, ddof=1))
    return {"difference": mean.value, "error": mean.error, "trainings": each, "spread": spread}


def pulls(entry: dict) -> float:
    """Difference in standard errors."""
    return entry["difference"] / entry["error"]


def curve(rocs: list[Roc]) -> dict:
    """Mean of the curves of several trainings, and the mean of their areas."""
    area = mean_over_trainings([Estimate(r.auc, r.auc_error) for r in rocs])
    mean = np.mean([r.at(RATES) for r in rocs], axis=0)
    return {"auc": area.value, "error": area.error, "false_positive": mean.round(6).tolist()}
