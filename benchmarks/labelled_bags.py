"""Scores of `BagClassifier` and `BagRegressor` with their defaults and with other settings.

There are four tasks.  *moons*: bags of 40 points of one of two moons, smeared by 0.1, with six
columns of noise; in positive bags each point is from the other moon with a probability of 5 %, at
least one point.  *faint*: like *moons*, with noise of width 0.3 instead of 1.  *corner*: bags of 1
to 50 instances of five numbers; in positive bags one instance lies in a corner of the first two.
*means*: bags of the same sizes; the label is the mean of sin 2x₀ + x₁²/2, with a noise of 0.05.

python benchmarks/labelled_bags.py [--tasks moons faint corner means] [--settings default old ...]
                                   [--seeds 0 1 2] [--bags 1000] [--quick]

``--settings milearn`` is the additive attention of mikit-learn, if it is installed, with its
defaults except for at most 100 epochs; its features are not standardised.  The last line on
standard output is one line of JSON.  For each task and setting it has the scores of all seeds
(accuracy or R²) on 2000 other bags, the mean log loss or squared error, epochs, and processor
seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import milinfer as mil

Bags = tuple[Any, np.ndarray]
# Those of earlier defaults that are named.
_LARGE = {"batch_size": 32, "patience": 10}
_OLD = {"activation": "relu", "patience": 5, "l2": 1e-5, "batch_size": 32}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "large": _LARGE,
    "relu": {"activation": "relu"},
    "l2": {"l2": 1e-5},
    "patience": {"patience": 5},
    "old": _OLD,
    "ensemble": {"ensemble": 5},
}


def moons(n: int, seed: Sequence[int], noise: float = 1.0) -> Bags:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    witness = (rng.uniform(size=(n, 40)) < 0.05) & (labels[:, None] == 1)
    place = rng.integers(40, size=n)
    alone = (labels == 1) & ~witness.any(axis=1)
    witness[alone, place[alone]] = True
    angle = rng.uniform(0, np.pi, (n, 40))
    x = np.where(witness, 1 - np.cos(angle), np.cos(angle))
    y = np.where(witness, 0.5 - np.sin(angle), np.sin(angle))
    points = np.stack([x, y], axis=-1) + rng.normal(0, 0.1, (n, 40, 2))
    columns = noise * rng.normal(size=(n, 40, 6))
    return list(np.concatenate([points, columns], axis=-1)), labels


def _ragged(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.normal(size=(size, 5)) for size in rng.integers(1, 51, n)]


def corner(n: int, seed: Sequence[int]) -> Bags:
    rng = np.random.default_rng(seed)
    labels, bags = np.arange(n) % 2, []
    for raw, label in zip(_ragged(n, rng), labels, strict=True):
        outside = ~((raw[:, 0] > 1) & (raw[:, 1] > 1))
        bag = raw[outside] if outside.any() else -np.abs(raw[:1])
        if label:
            bag[rng.integers(len(bag)), :2] = 1 + 0.8 * np.abs(rng.normal(size=2))
        bags.append(bag)
    return bags, labels


def means(n: int, seed: Sequence[int]) -> Bags:
    rng = np.random.default_rng(seed)
    bags = _ragged(n, rng)
    values = [np.mean(np.sin(2 * bag[:, 0]) + bag[:, 1] ** 2 / 2) for bag in bags]
    return bags, np.array(values) + rng.normal(0, 0.05, n)


TASKS: dict[str, Callable[[int, Sequence[int]], Bags]] = {
    "moons": moons,
    "faint": partial(moons, noise=0.3),
    "corner": corner,
    "means": means,
}


def fitted(
    task: str, setting: str, train: Bags, bags: Any, seed: int, **options: Any
) -> tuple[np.ndarray, int]:
    """Predictions for other bags (probabilities of positive ones), and the number of epochs."""
    if setting == "milearn":
        return peer(task, train, bags, seed)
    kind = mil.BagRegressor if task == "means" else mil.BagClassifier
    model = kind(random_state=seed, **{**SETTINGS[setting], **options}).fit(*train)
    found = model.predict(bags) if task == "means" else model.predict_proba(bags)[:, 1]
    return found, model.n_iter_


def peer(task: str, train: Bags, bags: Any, seed: int) -> tuple[np.ndarray, int]:
    """The same of mikit-learn."""
    if task == "means":
        from milearn.network.regressor import AdditiveAttentionNetworkRegressor as Network
    else:
        from milearn.network.classifier import AdditiveAttentionNetworkClassifier as Network
    model = Network(max_epochs=100, random_seed=seed).fit(train[0], train[1].tolist())
    return model.predict(bags), model._trainer.current_epoch


def score(task: str, truth: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Accuracy and log loss, or R² and squared error."""
    from sklearn.metrics import log_loss, r2_score

    if task == "means":
        return float(r2_score(truth, found)), float(np.mean((found - truth) ** 2))
    return float(np.mean((found > 0.5) == truth)), float(log_loss(truth, found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each task and setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    known = [*SETTINGS, "milearn"]
    parser.add_argument("--settings", nargs="+", choices=known, default=list(SETTINGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--bags", type=int, default=1000, help="number of training bags")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="60 bags, one seed and few epochs, only to see that the benchmark runs",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.bags, options.seeds, options.settings = 60, [0], ["default"]
    more = {"epochs": 5, "hidden": (8,)} if options.quick else {}
    rows = []
    for task in options.tasks:
        make = TASKS[task]
        data = {
            seed: (
                make(options.bags, [seed, 1]),
                make(200 if options.quick else 2000, [seed, 2]),
            )
            for seed in options.seeds
        }
        for setting in options.settings:
            scores, losses, epochs, start = [], [], [], time.process_time()
            for seed, (train, (bags, truth)) in data.items():
                found, n_epochs = fitted(task, setting, train, bags, seed, **more)
                value, loss = score(task, truth, found)
                scores.append(value)
                losses.append(loss)
                epochs.append(n_epochs)
            rows.append(
                {
                    "task": task,
                    "setting": setting,
                    "score": float(np.mean(scores)),
                    "scores": scores,
                    "loss": float(np.mean(losses)),
                    "epochs": float(np.mean(epochs)),
                    "cpu_s": (time.process_time() - start) / len(scores),
                }
            )
            print(task, setting, f"{rows[-1]['score']:.4f} {rows[-1]['loss']:.4f}", flush=True)
    print(json.dumps({"benchmark": "labelled_bags", "bags": options.bags, "rows": rows}))


if __name__ == "__main__":
    main()
