"""Members of an ensemble: their seeds, and what normalises them."""

from __future__ import annotations

import numpy as np

from milinfer.datasets import quadratic
from milinfer.learning import fitting as members
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.fitting import member_seeds
from milinfer.learning.networks.training import TrainingConfig


def states(seeds):
    streams = (*seeds.weights, *seeds.bags)
    return [seeds.split, *(int(s.generate_state(1)[0]) for s in streams)]


def test_seeds_of_a_member_do_not_depend_on_how_many_others_there_are():
    two, five = (
        [states(s) for s in member_seeds(BagLikelihood(seed=3, ensemble=n))] for n in (2, 5)
    )
    assert two == five[:2]


def test_no_two_streams_of_an_ensemble_are_the_same():
    found = [state for s in member_seeds(BagLikelihood(seed=3, ensemble=3)) for state in states(s)]
    assert len(set(found)) == len(found)


def test_the_held_out_scale_knows_which_mixture_its_events_are(monkeypatch):
    """Regression: Z at the samples' points once came from weights of the training points."""
    seen = []

    def spy(ratios, weights, values):
        seen.append(weights)
        return bennett(ratios, weights, values)

    bennett = members.bennett
    monkeypatch.setattr(members, "bennett", spy)
    sample = quadratic.samples(2000, [{"c1": 0.0}], seed=1)
    settings = {"head": "polynomial", "labels": "joint", "points": ((0.0,), (1.0,)), "order": 1}
    BagLikelihood(**settings, bag_size=1, seed=1, training=TrainingConfig(1, 1000)).fit(sample)
    assert seen
    for weights in seen:  # unweighted events of one sample
        np.testing.assert_allclose(weights, 1 / len(weights))
