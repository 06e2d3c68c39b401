"""Settings of the study of bag sizes, and of the code that the authors of [AS] published.

Theirs is https://github.com/aaa327OpenReview/MIL_for_HEP.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import milinfer as mil

CL = 0.6827
N_EVENTS = 1000  # in a dataset
ALL_SIZES = (1, 10, 20, 25, 50, 100, 125, 200, 250)
INVARIANT = "vbf_2l2j_invariant"
OURS = ", invariant features"  # what such a family's name ends in
WINDOW_OF_SINGLES = 0.7
TRAINED = 0.8  # part of the events that weights are trained on; the rest is for the validation loss

# A fifth of 10⁶ events is for tests, a fifth of the rest for the validation loss.
TRAINED_BY_AUTHORS = 0.8 * 0.8 * 1e6
_AUTHORS_OF_BOTH = {
    "training events of a class": f"{TRAINED_BY_AUTHORS:g}",
    "events in a batch": "80000",
    "optimiser": "AdamW, weight decay 0.004 (default of Keras)",
    "learning rate": "0.001; a tenth after 5 epochs without a better validation loss",
    "epochs": "until 10 epochs without a better validation loss; no limit (100 000)",
    "ensemble": "20, mean of probabilities",
}
AUTHORS = {
    "multi-class": {
        **_AUTHORS_OF_BOTH,
        "L2": "0.001",
        "window of the parabola": "±0.4, ±0.7 at bags of one",
    },
    "parametrised": {
        **_AUTHORS_OF_BOTH,
        "L2": "none",
        "window of the parabola": "±0.4 in the paper; ±0.7 at bags of one in the code",
    },
}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    features: str
    reach: float
    points: int
    train: int
    pool: tuple[int, int, int]
    toys: int
    tuning_toys: int
    bags: dict[str, tuple[int, ...]]
    members: dict[str, int]
    short: dict[str, Any]
    window: float
    integration: tuple[int, int]
    workers: int


SIZES = {
    "quick": Size(
        features=INVARIANT,
        reach=0.8,
        points=9,
        train=1_500,
        pool=(3_000, 8_000, 3_000),
        toys=100,
        tuning_toys=100,
        bags={
            "multi-class": (10,),
            "multi-class, polynomial logits": (10, 25),
            "polynomial, joint": (1,),
        },
        members={"multi-class, polynomial logits": 2},
        short={
            "epochs": 8,
            "batch_events": 1_000,
            "schedule": "cosine",
            "learning_rate": 2e-3,
            "min_learning_rate": 2e-5,
        },
        window=0.7,
        integration=(32, 4),
        workers=1,
    ),
    "full": Size(
        features="vbf_2l2j",
        reach=1.0,
        points=21,
        train=20_000,
        pool=(100_000, 200_000, 100_000),
        toys=4_000,
        tuning_toys=4_000,
        bags={
            "multi-class": ALL_SIZES,
            "parametrised": ALL_SIZES,
            "multi-class, polynomial logits": (1, 10, 50, 250),
            "multi-class, invariant features": (1, 50),
            "polynomial": (1,),
            "polynomial, joint": (1,),
            "polynomial, invariant features": (1,),
            "polynomial, joint, invariant features": (1,),
        },
        members={"multi-class": 3, "parametrised": 2},
        short={},
        window=0.4,
        integration=(128, 8),
        workers=2,
    ),
}
HIDDEN = {"quick": (16,), "full": (64, 64, 64)}  # layers of all networks


def window(family: str, n: int, size: Size) -> float:
    """Half width of the parabola; §C.4 takes a wider one for multi-class networks of events."""
    return WINDOW_OF_SINGLES if (family, n) == ("multi-class", 1) else size.window


def settings(
    family: str, n: int, size: Size, hidden: tuple[int, ...], seed: int
) -> mil.BagLikelihood:
    """The estimator of a family at a bag size."""
    base = mil.BagLikelihood(
        head="multiclass",
        bag_size=n,
        # As the paper has them: the constants of free logits are one of the things to look at.
        normalise=False,
        seed=seed,
        ensemble=size.members.get(family, 1),
    )
    paper: dict[str, Any] = {
        "degree": None,
        "interpolation_kind": "parabola",
        "window": size.window,
    }
    chosen = {
        "multi-class": {**paper, "window": window("multi-class", n, size)},
        "parametrised": {**paper, "head": "parametrised"},
        "multi-class, polynomial logits": {},
        "polynomial": {"head": "polynomial"},
        "polynomial, joint": {"head": "polynomial", "labels": "joint"},
    }[family.removesuffix(OURS)]
    model = dataclasses.replace(base, **chosen)
    training = model.default_training
    if family == "parametrised":
        # Its epochs are twice as long: every bag of the reference comes once for each θ.
        training = dataclasses.replace(training, epochs=40)
    training = dataclasses.replace(training, **size.short)
    network = dataclasses.replace(model.default_network, hidden=hidden)
    return dataclasses.replace(model, training=training, network=network)
