"""Settings of networks and of their training, and a check of the number of epochs.

Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from milinfer.exceptions import ConfigurationError

__all__ = ["BATCH_EVENTS", "NetworkConfig", "TrainingConfig", "still_falling"]

# Defaults: steps of an epoch, smallest number of bags, smallest and largest number of events.
_STEPS, _BATCH_BAGS, BATCH_EVENTS = 20, 20, (64, 10_000)

# In 24 trainings of the default network (two problems, three sizes, bags of 10 and 50), 20 epochs
# lowered the loss by 6 to 16 % in the last six epochs, and up to 60 epochs by 3 % or less.
_FALLING = 0.05

_SCHEDULES = ("plateau", "anneal", "cosine")


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture and regularisation of a network that learns from events or bags.

    Parameters
    ----------
    hidden
        Widths of the hidden layers that process each event.
    activation
        Keras name of the activation function of these layers.
    batch_norm
        Whether each hidden layer is followed by batch normalisation.
    dropout
        Dropout rate after each hidden layer, from 0 (no dropout) to below 1.
    l2
        Factor on the sum of squared weights in the loss; 0 for none.
    bag_hidden
        Widths of layers between the pooling and the output (the function F of deep sets).  With
        such layers, Λ of a bag is not a sum over events.

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
    """Settings of the optimiser and of early stopping.

    Parameters
    ----------
    epochs
        Largest number of epochs.  With ``schedule="plateau"`` the training usually stops earlier.
    batch_events
        Number of events in a batch, for any bag size.  None: 20 batches in an epoch, but at least
        20 bags in a batch, and at most 10 000 events in a batch (or one bag, if a bag is larger).
        (Azakli and Stelzer [AS] take 80 000 of their 13 million events.)
    learning_rate, min_learning_rate
        First and last learning rate of the Adam optimiser.
    patience
        Number of epochs without a lower validation loss (a plateau) after which the learning rate
        is lowered.
    schedule
        ``"plateau"`` ([AS], §B.2.2): the learning rate is halved on each plateau, and the training
        stops after ``2 * patience`` epochs without a lower validation loss.  ``"anneal"``: on each
        plateau the best weights are restored, and the learning rate is divided by three until it is
        below its minimum.  This schedule does not stop too early if there are many events, and does
        not overtrain if there are few.  ``"cosine"``: the learning rate falls to its minimum over
        all epochs as half a cosine.
    weight_decay
        Every training step shrinks the weights of dense layers by this number times the learning
        rate (AdamW).  Unlike an L2 penalty, this shrinking acts equally on small and on large
        effects.

    Raises
    ------
    ConfigurationError
        If a value is not allowed.

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
        """Return the number of events in a batch, for an epoch of `n_bags` bags.

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
    """Return whether a training used all its epochs while its validation loss was still falling.

    The result is True if the last `patience` epochs account for more than 5 % of the total decrease
    of the loss.  It is always False for the cosine schedule.

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
