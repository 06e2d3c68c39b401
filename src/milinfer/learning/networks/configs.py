"""Settings of networks and of their training, and whether a training had enough epochs.

Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from milinfer.exceptions import ConfigurationError

__all__ = ["BATCH_EVENTS", "NetworkConfig", "TrainingConfig", "still_falling"]

# Defaults: steps of an epoch, least bags in a batch, least and most events in a batch.
_STEPS, _BATCH_BAGS, BATCH_EVENTS = 20, 20, (64, 10_000)

# In 24 trainings of the default network (two problems, three sizes, bags of 10 and 50) those of 20
# epochs lowered their loss by 6 to 16 % in the last six, those of up to 60 by 3 % or less.
_FALLING = 0.05

_SCHEDULES = ("plateau", "anneal", "cosine")


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of the event embedding and its regularisation.

    Parameters
    ----------
    hidden, activation, batch_norm, dropout, l2
        Widths, activation and regularisation of the layers of the event embedding.
    bag_hidden
        Widths of layers between pooling and head (the F of deep sets); with any, Λ of a bag is not
        a sum over events.

    Examples
    --------
    >>> NetworkConfig().hidden
    (64, 64, 64)
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    activation: str = "elu"
    batch_norm: bool = True
    dropout: float = 0.1
    l2: float = 1e-3
    bag_hidden: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrainingConfig:
    """Optimiser settings.

    Parameters
    ----------
    epochs
        Upper limit; with ``schedule="plateau"`` early stopping usually ends sooner.
    batch_events
        Events in a batch, for any bag size.  None: as many as give 20 steps per epoch, but at least
        20 bags, and at most 10 000 events or one bag.  (The paper takes 80 000 of its 13 million.)
    learning_rate, min_learning_rate
        First and last learning rate of Adam.
    patience
        Epochs without a better validation loss before the learning rate is lowered.
    schedule
        ``"plateau"`` ([AS], §B.2.2): halved on each plateau; training stops after
        ``2 * patience``.  ``"anneal"``: on each plateau the best weights come back, and the rate is
        lowered by a factor of three until it is below its minimum; this neither undertrains with
        many events nor overtrains with few.  ``"cosine"``: the rate falls to
        its minimum over all epochs as half a cosine.
    weight_decay
        Every step shrinks the kernels by this number times the learning rate (AdamW).  Unlike an
        L2 penalty, it acts equally on small and on large effects.

    Raises
    ------
    ConfigurationError
        If a value cannot work.

    Examples
    --------
    >>> TrainingConfig().learning_rate
    0.001
    """

    epochs: int = 60
    batch_events: int | None = None
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    patience: int = 6
    schedule: Literal["plateau", "anneal", "cosine"] = "plateau"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        first = f"learning_rate={self.learning_rate:g}"
        last = f"min_learning_rate={self.min_learning_rate:g}"
        problems = [
            (self.epochs < 1, f"epochs={self.epochs} must be at least 1"),
            (
                self.batch_events is not None and self.batch_events < 1,
                f"batch_events={self.batch_events} must be at least 1",
            ),
            (self.patience < 1, f"patience={self.patience} must be at least 1"),
            (
                not 0 <= self.min_learning_rate <= self.learning_rate,
                f"{first} must not be below {last}, and neither below 0",
            ),
            (
                not 0 <= self.weight_decay * self.learning_rate < 1,
                f"weight_decay={self.weight_decay:g} must be 0 or more, below 1/learning_rate",
            ),
            (
                self.schedule not in _SCHEDULES,
                f"schedule={self.schedule!r} is not one of {', '.join(_SCHEDULES)}",
            ),
        ]
        for wrong, message in problems:
            if wrong:
                raise ConfigurationError(message)

    def batch_for(self, n_bags: int, bag_size: int) -> int:
        """Events in a batch, for an epoch of `n_bags` bags.

        Examples
        --------
        >>> config = TrainingConfig()
        >>> config.batch_for(1_000_000, 1), config.batch_for(800, 50), config.batch_for(160, 250)
        (10000, 2000, 5000)
        """
        if self.batch_events is not None:
            return self.batch_events
        least, most = BATCH_EVENTS[0], max(BATCH_EVENTS[1], bag_size)
        return min(max(n_bags * bag_size // _STEPS, _BATCH_BAGS * bag_size, least), most)


def still_falling(history: Mapping[str, Sequence[float]], config: TrainingConfig) -> bool:
    """Whether a training reached its number of epochs while its validation loss was still falling.

    True if the last `patience` epochs account for more than 5 % of the total decrease.  Always
    False for the cosine schedule.

    Examples
    --------
    >>> config = TrainingConfig(epochs=12)
    >>> still_falling({"val_loss": [1 / n for n in range(1, 13)]}, config)
    True
    >>> still_falling({"val_loss": [1 / n**3 for n in range(1, 13)]}, config)
    False
    """
    losses = history["val_loss"]
    if config.schedule == "cosine" or len(losses) < config.epochs:
        return False
    if len(losses) == 1:  # one epoch shows no decrease, but is never enough
        return True
    before = min(losses[: -config.patience], default=losses[0])
    return before - min(losses) > _FALLING * (losses[0] - min(losses))
