"""What tests of the whole have in common."""

from __future__ import annotations

import pytest

import milinfer as mil
from milinfer.learning import systematic_response
from milinfer.learning.settings import LikelihoodSettings


@pytest.fixture
def small_defaults(monkeypatch):
    """Networks of one small layer, trained for few steps, where code names no other.

    Most of a short training is the translation of the layers into a graph, and pages ask for a
    dozen of them; the usual ones are trained in tests/learning.
    """
    network = mil.NetworkConfig((16,), "gelu", batch_norm=False, dropout=0.0, l2=0.0)
    training = mil.TrainingConfig(10, 500, 1e-2, 1e-3, schedule="cosine")
    monkeypatch.setattr(LikelihoodSettings, "default_network", network)
    monkeypatch.setattr(LikelihoodSettings, "default_training", training)
    monkeypatch.setattr(systematic_response, "default_training", lambda _: training)
