"""milinfer, from the same arrays as its peers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plain import Events, Fitted, Interval, Problem, main

sys.path.append(str(Path(__file__).parents[1]))

SMOOTH = "three layers of 128, rate 0.002, 24 passes (SMOOTH of benchmarks/efficiency.py)"
SETTINGS = {
    "polynomial head, joint labels": "defaults",
    "polynomial head": "defaults, and for quadratic " + SMOOTH,
    "multi-class head, single events": "bags of one event (bag_size=1), otherwise defaults",
}
SOURCE = "docs/heads.md"


def _model(name: str, problem: Problem, seed: int) -> Any:
    import milinfer as mil

    if name.startswith("multi-class"):
        return mil.BagLikelihood(head="multiclass", bag_size=1, seed=seed, normalise=True)
    order = problem.facts["degree"] // 2
    if "joint" in name:
        return mil.BagLikelihood(head="polynomial", labels="joint", order=order, seed=seed)
    import efficiency

    options = efficiency.SMOOTH if problem.facts["problem"] == "quadratic" else {}
    return mil.BagLikelihood(head="polynomial", order=order, seed=seed, **options)


def _method(name: str) -> Callable[[Problem, int, bool], Fitted]:
    def method(problem: Problem, seed: int, quick: bool) -> Fitted:
        from peers.data import samples_of
        from quick_size import small

        import milinfer as mil

        train = samples_of(problem.facts, problem.train.arrays)
        model = small(_model(name, problem, seed), quick).fit(train)
        features = tuple(problem.facts["features"])

        def evaluate(events: Events) -> np.ndarray:
            return model.event_llr(mil.Sample(events.x, features))

        curve = model.interpolation
        return Fitted(
            evaluate, SETTINGS[name], SOURCE, np.asarray(curve.grid), curve.kind, curve.degree
        )

    return method


def bags(
    task: str, train: list[np.ndarray], labels: np.ndarray, seed: int, quick: bool
) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Defaults of BagClassifier and BagRegressor."""
    import milinfer as mil

    options = {"epochs": 2} if quick else {}
    kind = mil.BagRegressor if task == "means" else mil.BagClassifier
    model = kind(random_state=seed, **options).fit(train, labels)
    return model.predict if task == "means" else lambda b: model.predict_proba(b)[:, 1]


def _mean(x: np.ndarray) -> Any:
    """The exact surface of a dataset of the Gaussian."""
    import milinfer as mil
    from milinfer.datasets.gaussian import MeanModel
    from milinfer.likelihood import dataset_surface

    return dataset_surface(MeanModel(), mil.Sample(x[:, None], ("x0",)))


def asymptotic(facts: dict, seed: int, quick: bool) -> Interval:  # noqa: ARG001
    """milinfer.profile_interval of the exact likelihood."""
    import milinfer as mil
    from milinfer.datasets.gaussian import MeanModel
    from milinfer.likelihood.cost import dataset_cost

    def interval(x: np.ndarray) -> tuple[float, float]:
        cost = dataset_cost(MeanModel(), mil.Sample(x[:, None], ("x0",)), reference=0.0)
        found = mil.profile_interval(cost, "mu", facts["cl"])
        return found.low, found.high

    return interval


def feldman_cousins(facts: dict, seed: int, quick: bool) -> Interval:
    """Belt from 2000 toys of the exact likelihood at each of 41 means, smoothed."""
    import milinfer as mil
    from milinfer.datasets import gaussian

    values = np.linspace(-0.8, 0.8, 5 if quick else 41).tolist()
    pool = gaussian.samples(2000 if quick else 50_000, values, seed=seed)
    toys = mil.Toys(pool, facts["n_events"], seed=seed).scan(
        [gaussian.MeanModel()], [{"mu": v} for v in values], 100 if quick else 2000
    )
    belt = mil.neyman(toys["mean"], cl=facts["cl"])

    def interval(x: np.ndarray) -> tuple[float, float]:
        found = belt.interval(_mean(x), facts["cl"])
        return found.low, found.high

    return interval


if __name__ == "__main__":
    main(
        ["milinfer", "tensorflow", "keras", "numpy"],
        {name: _method(name) for name in SETTINGS},
        {"BagClassifier and BagRegressor": bags},
        {"asymptotic interval": asymptotic, "Feldman–Cousins belt": feldman_cousins},
    )
