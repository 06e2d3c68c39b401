"""Settings of a learned likelihood, and checks that they are compatible."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.losses import loss
from milinfer.likelihood.surface import Kind
from milinfer.typing import Point
from milinfer.utils.keywords import did_you_mean

__all__ = [
    "LikelihoodSettings",
    "is_normalised",
    "loss_name",
    "require_consistent",
    "settings_by_name",
    "two_classes",
]

_CHOICES = {
    "head": ("multiclass", "polynomial", "binary", "parametrised"),
    "labels": ("hard", "joint"),
    "average": ("log-ratio", "ratio", "probability"),
}


@dataclass(frozen=True, eq=False)
class LikelihoodSettings:
    """Settings of the networks and of their training.

    :class:`~milinfer.learning.bag_likelihood.BagLikelihood` has the same settings and describes
    each of them. In addition, it contains the result of the training.

    Examples
    --------
    >>> LikelihoodSettings(head="polynomial", labels="joint").events_in_bag
    1
    """

    head: Literal["multiclass", "polynomial", "binary", "parametrised"] = "multiclass"
    labels: Literal["hard", "joint"] = "hard"
    score_weight: float = 0.0
    points: Sequence[Point | Sequence[float]] | None = None
    bag_size: int | None = None
    ensemble: int = 1
    bootstrap: bool = False
    average: Literal["log-ratio", "ratio", "probability"] = "log-ratio"
    order: int = 2
    squares: int | None = None
    degree: int | Literal["auto"] | None = "auto"
    interpolation_kind: Kind = "polynomial"
    window: float = 0.4
    normalise: bool = True
    pooling: str = "mean"
    loss: str | None = None
    symmetric: bool = True
    reference: float | tuple[float, ...] = 0.0
    validation_fraction: float = 0.2
    seed: int = 0
    label: str | None = None
    network: NetworkConfig | None = None
    training: TrainingConfig | None = None

    def __post_init__(self) -> None:
        _require_choices(self)
        _require_points(self.points)

    @property
    def events_in_bag(self) -> int:
        """Number of events in a training bag."""
        if self.bag_size is None:
            return 1 if self.head == "polynomial" else 10
        return self.bag_size

    @property
    def name(self) -> str:
        """Name of the method: its label, or the name of the head."""
        if self.label is not None:
            return self.label
        return self.head if self.labels == "hard" else f"{self.head}-joint"

    @property
    def default_network(self) -> NetworkConfig:
        """Return the architecture that is used if ``network`` is None."""
        if self.head != "polynomial":
            return NetworkConfig()
        # Joint labels are precise enough to train without regularisation, which shrinks estimates.
        dropout = 0.1 if self.labels == "hard" else 0.0
        activation = "silu" if self.labels == "hard" else "gelu"
        return NetworkConfig((64, 64, 64), activation, batch_norm=False, dropout=dropout, l2=0.0)

    @property
    def default_training(self) -> TrainingConfig:
        """Return the optimiser settings that are used if ``training`` is None."""
        if self.head != "polynomial":
            return TrainingConfig()
        if self.labels == "hard":
            return TrainingConfig(16, 8192, 4e-3, 4e-5, schedule="cosine")
        return TrainingConfig(40, 2048, 2e-3, 2e-5, schedule="cosine")


def settings_by_name(settings: LikelihoodSettings) -> dict[str, Any]:
    """Return all settings by name, without results of the training.

    Examples
    --------
    >>> settings_by_name(LikelihoodSettings(bag_size=20))["bag_size"]
    20
    """
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(LikelihoodSettings)}


def require_consistent(settings: LikelihoodSettings) -> None:
    """Raise if a setting is unknown, or settings exclude each other.

    Raises
    ------
    ConfigurationError
        If one of these is the case; the message names the setting and the allowed values.

    Examples
    --------
    >>> require_consistent(LikelihoodSettings(head="binary", pooling="attention"))
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: head='binary' takes only pooling='mean' or 'sum'
    """
    pairs = two_classes(settings)
    by_score = settings.loss == "score"
    n_classes = None if by_score else loss(loss_name(settings)).n_classes
    polynomial = settings.head == "polynomial"
    bags = settings.events_in_bag != 1
    network = settings.network or settings.default_network
    problems = [
        (
            (n_classes == 2) is not pairs,
            f"loss={settings.loss!r} does not fit head={settings.head!r}; omit loss=",
        ),
        (
            polynomial and settings.pooling != "mean",
            "a polynomial head is a sum over events and takes no pooling=; set head='multiclass'",
        ),
        (
            pairs and settings.pooling not in ("mean", "sum"),
            f"head={settings.head!r} takes only pooling='mean' or 'sum'",
        ),
        (
            pairs and settings.labels == "joint",
            f"labels='joint' needs head='multiclass' or 'polynomial', not {settings.head!r}",
        ),
        (
            (by_score or settings.score_weight != 0) and not polynomial,
            "loss='score' and score_weight= need head='polynomial'",
        ),
        (
            settings.points is not None and settings.labels != "joint",
            "points= needs labels='joint'",
        ),
        (
            settings.points is not None and bags,
            "points= needs bag_size=1: bags are simulated at the samples' points",
        ),
        (
            type(settings.normalise) is not bool,
            f"normalise={settings.normalise!r} must be True or False",
        ),
        (
            settings.loss == "mlc-linear" and bags,
            "loss='mlc-linear' gives a Λ that is not a sum over events; use bag_size=1",
        ),
        (
            min(settings.ensemble, settings.events_in_bag) < 1,
            "ensemble= and bag_size= must be at least 1",
        ),
        (
            settings.bootstrap and settings.ensemble < 4,
            f"bootstrap=True needs 4 members or more, better 16, not ensemble={settings.ensemble}",
        ),
        (settings.order < 1, f"order={settings.order} must be at least 1"),
        (
            settings.squares is not None and not polynomial,
            "squares= needs head='polynomial'",
        ),
        (
            settings.squares is not None
            and (type(settings.squares) is not int or settings.squares < 1),
            f"squares={settings.squares!r} must be a whole number of at least 1",
        ),
        (
            not settings.score_weight >= 0,
            f"score_weight={settings.score_weight:g} must not be negative",
        ),
        (
            not 0 < settings.validation_fraction < 1,
            f"validation_fraction={settings.validation_fraction:g} must be between 0 and 1",
        ),
        (
            settings.head != "multiclass" and bool(network.bag_hidden),
            "bag_hidden= of the network needs head='multiclass'",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise ConfigurationError(message)


def _require_choices(settings: LikelihoodSettings) -> None:
    """Raise unless head, labels and average have known values."""
    for option, choices in _CHOICES.items():
        value = getattr(settings, option)
        if not isinstance(value, str) or value not in choices:
            msg = f"{option}={value!r} is not one of {', '.join(map(repr, choices))}"
            raise ConfigurationError(msg + did_you_mean(str(value), choices))


def _require_points(points: object) -> None:
    """Raise unless ``points=`` is a list of points: dictionaries, lists of numbers, or numbers."""
    if points is None:
        return
    try:
        rows = [p.values() if isinstance(p, Mapping) else np.ravel(p) for p in points]  # type: ignore[attr-defined]  # else a TypeError
        numbers = [float(v) for row in rows for v in row]
    except (TypeError, ValueError) as error:
        msg = (
            f"points={points!r} is not a list of parameter points ({error}); write "
            "points=[{'c_HW': -0.5}, {'c_HW': 0.0}, ...]"
        )
        raise ConfigurationError(msg) from error
    if not np.isfinite(numbers).all():
        msg = f"points={points!r} has values that are not finite; correct them"
        raise ConfigurationError(msg)


def is_normalised(settings: LikelihoodSettings) -> bool:
    """Return whether the ratios of a head are divided by their means.

    The result is False for a polynomial head, which has its own normalisation Z(θ).

    Examples
    --------
    >>> heads = ("multiclass", "polynomial")
    >>> [is_normalised(LikelihoodSettings(head)) for head in heads]
    [True, False]
    """
    return settings.normalise and is_additive(settings) and settings.head != "polynomial"


def is_additive(settings: LikelihoodSettings) -> bool:
    """Return whether Λ of a dataset is a sum over its events, so that bags do not matter.

    Examples
    --------
    >>> is_additive(LikelihoodSettings()), is_additive(LikelihoodSettings(pooling="attention"))
    (True, False)
    """
    network = settings.network or settings.default_network
    only_mean = settings.pooling in ("mean", "sum") and not network.bag_hidden
    return settings.head == "polynomial" or only_mean


def two_classes(settings: LikelihoodSettings) -> bool:
    """Return whether each network separates two classes (True) or all points (False)."""
    return settings.head in ("binary", "parametrised")


def loss_name(settings: LikelihoodSettings) -> str:
    """Return the name of the loss; its default depends on the head.

    Examples
    --------
    >>> loss_name(LikelihoodSettings(head="parametrised"))
    'bce'
    """
    return settings.loss or ("bce" if two_classes(settings) else "cross-entropy")
