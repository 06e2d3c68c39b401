"""Training of a multi-class bag network with dynamic bags.

Batches are made by index from one feature array: no Python per event, and nothing is copied but
the batch itself.  Importing this module imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milinfer.bags import draw_bags
from milinfer.exceptions import ModelError
from milinfer.networks import BagNetwork, keras  # type: ignore[attr-defined]  # with its backend set
from milinfer.samples import SampleSet
from milinfer.typing import Float32Array, FloatArray, IntArray

__all__ = ["BagDataset", "TrainingConfig", "train_network"]


@dataclass(frozen=True)
class TrainingConfig:
    """Optimiser settings of seed 001, §B.2.2.

    Parameters
    ----------
    epochs
        Upper limit; early stopping usually ends sooner.
    batch_events
        Events in a batch, whatever the bag size.  The paper's 80 000 belong to its 13 million
        events; the default keeps about 20 steps an epoch for samples a hundred times smaller.
    learning_rate, min_learning_rate
        Adam's, reduced by half on each plateau.
    patience
        Epochs without a better validation loss before the learning rate falls; training stops
        after ``2 * patience``.

    Examples
    --------
    >>> TrainingConfig().learning_rate
    0.001
    """

    epochs: int = 60
    batch_events: int = 10_000
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    patience: int = 6


class BagDataset(keras.utils.PyDataset):  # type: ignore[misc]  # keras has no type information
    """Labelled bags of several classes; the bags are drawn anew after every epoch.

    Parameters
    ----------
    samples
        One class for each sample.
    bag_size, batch_events
        Events in a bag, and about how many in a batch.
    seed
        Source of the grouping; epoch ``k`` has its own stream, so that a run can be repeated.
    dynamic
        If false the first grouping is kept (validation).
    """

    def __init__(
        self,
        samples: SampleSet,
        bag_size: int,
        batch_events: int,
        seed: np.random.SeedSequence,
        *,
        dynamic: bool = True,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._features: Float32Array = np.concatenate([s.features for s in samples])
        self._weights = [s.weights for s in samples]
        self._offsets = np.concatenate([[0], np.cumsum([len(s) for s in samples])])
        self._bag_size = bag_size
        self._batch_bags = max(1, batch_events // bag_size)
        self._seed = seed
        self._dynamic = dynamic
        self._draw()

    def _draw(self) -> None:
        rng = np.random.default_rng(self._seed.spawn(1)[0])
        index: list[IntArray] = []
        labels: list[IntArray] = []
        weights: list[FloatArray] = []
        for k, (event_weights, offset) in enumerate(
            zip(self._weights, self._offsets[:-1], strict=True)
        ):
            draw = draw_bags(event_weights, self._bag_size, rng)
            index.append(draw.index + offset)
            labels.append(np.full(len(draw.index), k))
            # Every class counts alike, however many events it has: flat prior over the points.
            weights.append(draw.weights / len(draw.weights))
        order = rng.permutation(sum(len(w) for w in weights))
        self._index = np.concatenate(index)[order]
        self._labels = np.concatenate(labels)[order].astype(np.int32)
        flat = np.concatenate(weights)[order]
        self._bag_weights = (flat * len(flat) / len(self._weights)).astype(np.float32)

    @property
    def n_bags(self) -> int:
        """Bags in an epoch."""
        return len(self._labels)

    def __len__(self) -> int:
        return max(1, self.n_bags // self._batch_bags)

    def __getitem__(self, batch: int) -> tuple[Float32Array, Any, Float32Array]:
        """One batch: bags (n, bag_size, n_features), labels (n,) and bag weights (n,)."""
        # The remainder goes into the last batch, so that no bag is lost.
        stop = None if batch == len(self) - 1 else (batch + 1) * self._batch_bags
        rows = slice(batch * self._batch_bags, stop)
        return self._features[self._index[rows]], self._labels[rows], self._bag_weights[rows]

    def on_epoch_end(self) -> None:
        """Draw new bags."""
        if self._dynamic:
            self._draw()


def train_network(
    network: BagNetwork,
    train: SampleSet,
    validation: SampleSet,
    bag_size: int,
    config: TrainingConfig,
    seed: np.random.SeedSequence,
    *,
    callbacks: Sequence[Any] = (),
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, list[float]]:
    """Train a multi-class bag network and restore its best weights.

    Parameters
    ----------
    network
        From :func:`milinfer.networks.build_network`, with one output for each sample.
    train, validation
        Disjoint samples at the same points.
    bag_size
        Events in a bag.
    config
        Optimiser settings.
    seed
        Source of the grouping into bags.
    callbacks
        Further Keras callbacks.
    on_epoch
        Called as ``on_epoch(epoch, logs)`` after every epoch.

    Returns
    -------
    dict
        The history: one value an epoch for each of ``loss``, ``val_loss``, ``learning_rate``.

    Raises
    ------
    ModelError
        If the loss is not finite.
    """
    train_seed, validation_seed = seed.spawn(2)
    data = BagDataset(train, bag_size, config.batch_events, train_seed)
    held_out = BagDataset(
        validation, bag_size, 4 * config.batch_events, validation_seed, dynamic=False
    )
    network.bag_model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[],
    )
    hooks: list[Any] = [
        keras.callbacks.ReduceLROnPlateau(
            factor=0.5, patience=config.patience, min_lr=config.min_learning_rate
        ),
        keras.callbacks.EarlyStopping(patience=2 * config.patience, restore_best_weights=True),
        keras.callbacks.TerminateOnNaN(),
        *callbacks,
    ]
    if on_epoch is not None:
        hooks.append(keras.callbacks.LambdaCallback(on_epoch_end=on_epoch))
    result = network.bag_model.fit(
        data,
        validation_data=held_out,
        epochs=config.epochs,
        callbacks=hooks,
        # The bags are shuffled already, from our seed; Keras would take a global one.
        shuffle=False,
        verbose=0,
    )
    history = {k: [float(x) for x in v] for k, v in result.history.items()}
    if not np.isfinite(history["loss"][-1]):
        msg = (
            f"the training loss became {history['loss'][-1]} in epoch {len(history['loss'])}; "
            "look for outliers in the features, or lower learning_rate"
        )
        raise ModelError(msg)
    return history
