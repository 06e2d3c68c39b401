"""Settings of networks and of their training, and whether a training had enough epochs.

Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from milinfer.exceptions import ConfigurationError

__all__ = ["BATCH_EVENTS", "NetworkConfig", "TrainingConfig", "still_falling"]

# Steps of an epoch, bags in a batch, and events in it, where no number of events is given.
_STEPS, _BATCH_BAGS, BATCH_EVENTS = 20, 20, (64, 10_000)

# Of 24 trainings of the default network (two problems, three sizes, bags of 10 and 50) those of 20
# epochs have lowered their loss by 6 to 16 % in the last six, those of up to 60 by 3 % or less.
_FALLING = 0.05

_SCHEDULES = ("plateau", "anneal", "cosine")


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of the event embedding and its regularisation.

    Parameters
    ----------
    hidden, activation, batch_norm, dropout, l2
        Of the layers of the event embedding.
    bag_hidden
        Widths of layers between pooling and head (the F of deep sets); with any, Λ of a bag is no
        sum over events.

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
        Events in a batch, whatever the bag size.  None: as many as make 20 steps of an epoch, but
        at least 20 bags, and at most 10 000 events or one bag.  (The paper's 80 000 belong to its
        13 million.)
    learning_rate, min_learning_rate
        Adam's, first and last.
    patience
        Epochs without a better validation loss before the learning rate is lowered.
    schedule
        ``"plateau"`` ([AS], §B.2.2): halved on each plateau; training stops after
        ``2 * patience``.  ``"anneal"``: on each plateau the best weights come back, and the rate is
        lowered by a factor of three until it is below its minimum; this neither undertrains where
        there are many events nor overtrains where there are few.  ``"cosine"``: the rate falls to
        its minimum over all epochs as half a cosine.

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

    def __post_init__(self) -> None:
        rates = (self.min_learning_rate, self.learning_rate)
        problems = {
            f"epochs={self.epochs} must be at least 1": self.epochs < 1,
            f"batch_events={self.batch_events} must be at least 1": self.batch_events is not None
            and self.batch_events < 1,
            f"patience={self.patience} must be at least 1": self.patience < 1,
            f"learning_rate={rates[1]:g} must not be below min_learning_rate={rates[0]:g}, and "
            "neither below 0": not 0 <= rates[0] <= rates[1],
            f"schedule={self.schedule!r} is not one of {', '.join(_SCHEDULES)}": self.schedule
            not in _SCHEDULES,
        }
        for problem, found in problems.items():
            if found:
                raise ConfigurationError(problem)

    def batch_for(self, n_bags: int, bag_size: int) -> int:
        """Events in a batch, for so many bags of a size in an epoch.

        Examples
        --------
        >>> config = TrainingConfig()
        >>> config.batch_for(1_000_000, 1), config.batch_for(800, 50), config.batch_for(160, 250)
        (10000, 2000, 5000)
        """
        if self.batch_events is not None:
            return self.batch_events
        least, most = BATCH_EVENTS[0], max(BATCH_EVENTS[1], bag_size)
        wanted = max(n_bags * bag_size // _STEPS, _BATCH_BAGS * bag_size, least)
        return min(wanted, most)


def still_falling(history: Mapping[str, Sequence[float]], config: TrainingConfig) -> bool:
    """Whether a training ended by its number of epochs while its validation loss was falling.

    That is so if the last `patience` epochs have lowered it by more than 5 % of what all have.  A
    cosine ends where it shall.

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
    if len(losses) == 1:  # nobody knows
        return True
    before = min(losses[: -config.patience], default=losses[0])
    return before - min(losses) > _FALLING * (losses[0] - min(losses))
