"""Networks with random weights instead of trained ones.

To trace the graph of a training takes longer than all that most tests look at afterwards: files,
ensembles, normalisation, exports.  What trainings do is tested in networks/test_training.py, and
what they learn in test_fitting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from milinfer.learning.networks.configs import TrainingConfig

if TYPE_CHECKING:
    from milinfer.learning.networks.network import BagNetwork

__all__ = ["random_networks"]


@contextmanager
def random_networks() -> Iterator[None]:
    """Replace each training by a random step from the initial weights, which the seed decides.

    Moments of batch normalisation become different from zero and one, too.
    """
    from milinfer.learning.networks import training

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_network", _one_random_step)
        yield


def _one_random_step(
    network: BagNetwork,
    train: object,
    validation: object,
    config: TrainingConfig,
    seed: np.random.SeedSequence,
    *,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    **_: Any,
) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    learned = {id(v) for v in network.bag_model.trainable_variables}
    for variable in network.bag_model.variables:
        if id(variable) in learned or "moving" in variable.path:
            moved = np.asarray(variable) + rng.normal(0, 0.1, variable.shape)
            variable.assign(np.abs(moved) if "variance" in variable.path else moved)
    logs = {"loss": 1.0, "val_loss": 1.0, "learning_rate": config.learning_rate}
    for epoch in range(config.epochs):
        if on_epoch is not None:
            on_epoch(epoch, logs)
    return {name: [value] * config.epochs for name, value in logs.items()}
