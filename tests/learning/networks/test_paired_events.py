"""The loss of many pairs at once, and the events that it is trained on."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.heads import LinearHead
from milinfer.learning.networks.losses import loss, paired_cross_entropy
from milinfer.learning.networks.network import build_network
from milinfer.learning.networks.training import train_network
from milinfer.learning.networks.training_bags import PairedEvents
from milinfer.learning.response_events import ResponseEvents, base_points
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations


def stacked(n: int = 50) -> ResponseEvents:
    rng = np.random.default_rng(1)
    nominal = Sample(rng.normal(size=(n, 2)), ("x", "y"), rng.uniform(0.5, 2, n))
    process = ProcessVariations(
        nominal,
        (
            Variation.of_features(nominal, {"jes": 1.0}, nominal.features + 0.1),
            Variation.of_weights(nominal, {"muR": 1.0}, nominal.weights * rng.uniform(1, 2, n)),
        ),
    )
    terms = ResponseTerms.of(process.nuisances, degree=1)
    return ResponseEvents.of(process, base_points(process, terms), terms.nuisances)


def test_it_is_the_sum_of_the_losses_of_pairs():
    rng = np.random.default_rng(2)
    outputs = rng.normal(size=(5, 3)).astype(np.float32)
    weights = rng.normal(size=(5, 6)).astype(np.float32)
    bce = loss("bce")
    expected = sum(np.asarray(bce(outputs[:, k : k + 1], weights[:, [k, 3 + k]])) for k in range(3))
    assert np.asarray(paired_cross_entropy(outputs, weights)) == pytest.approx(expected, rel=1e-5)


def test_batches_have_the_weights_of_the_events():
    events = stacked()
    bags = PairedEvents(events)
    drawn = bags.draw(np.random.default_rng(3))
    rows = drawn.index[:, 0]
    assert np.array_equal(np.sort(rows), np.arange(len(events)))
    # Moved copies come right after, or before, their nominal events.
    groups = events.groups[rows]
    assert np.count_nonzero(np.diff(groups)) == len(np.unique(groups)) - 1
    inputs, targets = bags.batch(drawn.index, drawn.labels, drawn.theta)
    assert np.array_equal(inputs[:, 0], events.features[rows])
    expected = np.concatenate(events.dense(slice(None)), axis=1)[rows]
    assert np.asarray(targets) == pytest.approx(expected, rel=1e-5)


def test_the_last_weights_are_kept_on_request_with_a_cosine_schedule():
    events = PairedEvents(stacked())
    config = TrainingConfig(6, 20, 0.5, 0.01, schedule="cosine")  # too fast: the loss goes up

    def trained(*, keep_last: bool) -> tuple[dict[str, list[float]], list[np.ndarray], list]:
        network = build_network(
            NetworkConfig((4,), "silu", batch_norm=False, dropout=0.0, l2=0.0),
            LinearHead(np.eye(2)),
            1,
            np.zeros(2),
            np.ones(2),
            np.random.SeedSequence(1),
        )
        seen: list[list[np.ndarray]] = []
        history = train_network(
            network,
            events,
            events,
            config,
            np.random.SeedSequence(2),
            loss_name="pairs",
            keep_last=keep_last,
            on_epoch=lambda *_: seen.append(network.event_model.get_weights()),
        )
        return history, network.event_model.get_weights(), seen

    for keep_last in (True, False):
        history, weights, seen = trained(keep_last=keep_last)
        best = int(np.argmin(history["val_loss"]))
        assert best < 5
        expected = seen[-1 if keep_last else best]
        assert all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))
