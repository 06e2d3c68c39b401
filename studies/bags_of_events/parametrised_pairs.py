"""Parametrised networks on three sets of pairs; importing this imports Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import milinfer as mil
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.heads import LinearHead
from milinfer.learning.networks.network import build_network
from milinfer.learning.networks.trained_network import keras_outputs
from milinfer.learning.networks.training import train_network
from milinfer.learning.networks.training_bags import EpochBags, PairBags
from milinfer.samples.bags import draw_bags

SYMMETRIC, NO_REFERENCE, POSITIVE = "symmetric", "no pairs at θ = 0", "only positives at θ = 0"

Logits = Callable[[mil.Sample, Sequence[float]], np.ndarray]
"""Of each event, shape (n_events, m): those of a bag are their mean."""


class PositiveBags(PairBags):
    """Bags of the reference beside θ = 0 as well, but nothing that does not belong there."""

    def draw(self, rng: np.random.Generator) -> EpochBags:
        rest = super().draw(rng)
        k = self._reference
        own = draw_bags(self._weights[k], self.bag_size, rng)
        n = len(own.index)
        # As much as the positives at any other θ.
        weight = np.full(n, np.mean(rest.weights))
        order = rng.permutation(len(rest.labels) + n)
        joined = (
            (rest.index, own.index + self._offsets[k]),
            (rest.labels, np.ones(n, dtype=rest.labels.dtype)),
            (rest.weights, weight.astype(np.float32)),
            (rest.theta, np.full(n, k, dtype=rest.theta.dtype)),
        )
        return EpochBags(*(np.concatenate(parts)[order] for parts in joined))


def train_pairs(
    kind: str,
    n: int,
    samples: mil.SampleSet,
    thetas: np.ndarray,
    training: TrainingConfig,
    hidden: tuple[int, ...],
    seed: int,
) -> Logits:
    """Train a parametrised network on one of the sets of pairs."""
    split, weights, bags = np.random.SeedSequence(seed).spawn(3)
    train, rest = samples.split([0.8, 0.2], seed=int(split.generate_state(1)[0]))
    features = np.concatenate([s.features for s in samples]).astype(np.float64)
    reach = float(np.abs(thetas).max())
    scaled = thetas[:, None] / reach
    reference = int(np.argmin(np.abs(thetas)))
    # θ comes scaled to [−1, 1], and needs no normalisation.
    mean, variance = np.append(features.mean(axis=0), 0.0), np.append(features.var(axis=0), 1.0)
    variance[variance == 0] = 1.0
    network = build_network(
        NetworkConfig(hidden), LinearHead(np.eye(1)), n, mean, variance, weights
    )

    def pairs(events: mil.SampleSet) -> PairBags:
        if kind == POSITIVE:
            return PositiveBags(events, scaled, reference, n, symmetric=False)
        return PairBags(events, scaled, reference, n, symmetric=kind == SYMMETRIC)

    train_network(network, pairs(train), pairs(rest), training, bags, loss_name="bce")

    def logits(sample: mil.Sample, at: Sequence[float]) -> np.ndarray:
        columns = []
        for theta in at:
            column = np.full((len(sample), 1), theta / reach, dtype=np.float32)
            inputs = np.concatenate([sample.features, column], axis=1)
            columns.append(keras_outputs(network.event_model, inputs)[:, 0])
        return np.stack(columns, axis=1).astype(np.float64)

    return logits
