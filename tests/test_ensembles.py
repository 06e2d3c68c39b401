"""Members of an ensemble as models of their own."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ModelError
from milinfer.learning.bag_likelihood import BagLikelihood, single_models
from milinfer.learning.networks.network import NetworkConfig
from milinfer.learning.networks.training import TrainingConfig

NETWORK = NetworkConfig(hidden=(8,), batch_norm=False, dropout=0.0, l2=0.0)
TRAINING = TrainingConfig(epochs=2, batch_events=500)
POINTS = [{"c1": c} for c in (-1.0, -0.5, 0.0, 0.5, 1.0)]


@pytest.mark.parametrize(
    ("head", "bag_size", "average"),
    [
        ("multiclass", 5, "log-ratio"),
        ("polynomial", 1, "log-ratio"),
        ("polynomial", 1, "ratio"),
        ("parametrised", 5, "log-ratio"),
        ("binary", 5, "log-ratio"),
    ],
)
def test_members_make_the_ensemble(head, bag_size, average):
    samples = quadratic.samples(400, POINTS, seed=1)
    model = BagLikelihood(
        head=head,
        bag_size=bag_size,
        average=average,
        ensemble=2,
        order=1,
        network=NETWORK,
        training=TRAINING,
    ).fit(samples)
    parts = [m.event_llr(samples[0]) for m in single_models(model)]
    assert np.abs(parts[0] - parts[1]).max() > 1e-3
    together = np.mean(parts, axis=0)
    if average == "ratio":
        together = np.log(np.mean(np.exp(parts), axis=0))
    np.testing.assert_allclose(model.event_llr(samples[0]), together, atol=1e-6)


def test_members_are_whole_models():
    samples = gaussian.samples(300, [-0.5, 0.0, 0.5], seed=1)
    model = BagLikelihood(ensemble=3, bag_size=5, network=NETWORK, training=TRAINING).fit(samples)
    members = single_models(model)
    assert len({m.digest for m in members} | {model.digest}) == 4
    for k, member in enumerate(members):
        assert member.ensemble == 1
        assert member.fitted.history == [model.fitted.history[k]]
        # A sum over the same events, in an order that is numpy's business.
        np.testing.assert_allclose(
            member.surface(samples[0]).values,
            model.member_surfaces(samples[0])[k].values,
            rtol=1e-12,
        )


def test_an_untrained_model_has_no_members():
    with pytest.raises(ModelError, match="not trained"):
        single_models(BagLikelihood())
