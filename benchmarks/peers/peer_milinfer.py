"""milinfer, from the same arrays as its peers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plain import Events, Fitted, Problem, main

sys.path.append(str(Path(__file__).parents[1]))

SMOOTH = "three layers of 128, rate 0.002, 24 passes (SMOOTH of benchmarks/efficiency.py)"
SETTINGS = {
    "polynomial head, joint labels": "defaults",
    "polynomial head": "defaults, and for quadratic " + SMOOTH,
    "multi-class head, single events": "defaults",
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


if __name__ == "__main__":
    main(
        ["milinfer", "tensorflow", "keras", "numpy"],
        {name: _method(name) for name in SETTINGS},
        {"BagClassifier and BagRegressor": bags},
    )
