"""What models are, and what is known of them without an event."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.exceptions import ParameterError
from milinfer.likelihood.models import (
    Renamed,
    bag_model,
    count_model,
    curve,
    dataset_model,
    is_additive,
    model_tag,
    scores_bags,
)
from milinfer.likelihood.surface_box import ChebyshevBox
from models import GRID, Bags, GaussianMean


@pytest.mark.parametrize("called", [lambda model: model, lambda model: Renamed(model, "other")])
def test_bags_are_told_from_events_whatever_they_are_called(called):
    events, bags = called(GaussianMean()), called(Bags())
    assert is_additive(events)
    assert not scores_bags(events)
    assert bag_model(events) is None
    assert not is_additive(bags)
    assert scores_bags(bags)
    assert bag_model(bags) is bags
    for model in (events, bags):
        assert count_model(model) is None
        assert dataset_model(model) is None


def test_a_curve_needs_one_parameter():
    assert curve(GaussianMean()) is GRID
    with pytest.raises(ParameterError, match="exactly one parameter, not a, b"):
        curve(Bags(parameters=("a", "b")))
    with pytest.raises(ParameterError, match="bags has a box of one parameter, mu"):
        curve(Bags(interpolation=ChebyshevBox(np.zeros(1), np.ones(1), 4)))


def test_a_tag_tells_models_apart_and_survives_saving(tmp_path):
    from milinfer.datasets import gaussian
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.training import TrainingConfig

    samples = gaussian.samples(300, [-0.5, 0.0, 0.5], seed=1)
    training = TrainingConfig(epochs=1)
    one, other = (
        BagLikelihood(bag_size=10, seed=s, training=training).fit(samples) for s in (1, 2)
    )
    one.save(tmp_path / "model")
    again = BagLikelihood.load(tmp_path / "model")
    assert model_tag(one) == model_tag(again)
    assert model_tag(one) != model_tag(other)
    assert model_tag(one)[:3] == ("multiclass", 10, ("x0",))
