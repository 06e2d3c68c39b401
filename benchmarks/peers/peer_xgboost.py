"""XGBoost: a class for each point of the training, whose log-ratios are joined by a polynomial."""

from __future__ import annotations

import numpy as np
import xgboost
from plain import Events, Fitted, Problem, cores, main

SETTINGS = (
    "multi:softprob over the training points, defaults (depth 6, rate 0.3, hist), a fifth held "
    "out, up to 1000 rounds, until 10 rounds without improvement; a polynomial of the fourth "
    "degree through the classes"
)
SOURCE = (
    "defaults of XGBoost and early stopping as in its Python introduction; the polynomial is that "
    "of milinfer.BoostedLikelihood"
)


def classes(problem: Problem, seed: int, quick: bool) -> Fitted:
    grid = problem.grid
    labels = np.argmin(np.abs(problem.train.theta[:, None] - grid), axis=1)
    held_out = np.random.default_rng(seed).random(len(labels)) < 0.2
    train, test = (
        xgboost.DMatrix(problem.train.x[rows], label=labels[rows], nthread=cores())
        for rows in (~held_out, held_out)
    )
    booster = xgboost.train(
        {
            "objective": "multi:softprob",
            "num_class": len(grid),
            "nthread": cores(),
            "seed": seed,
        },
        train,
        num_boost_round=2 if quick else 1000,
        evals=[(test, "validation")],
        early_stopping_rounds=10,
        verbose_eval=False,
    )
    rounds = booster.best_iteration + 1
    centre = int(np.argmin(np.abs(grid)))

    def evaluate(events: Events) -> np.ndarray:
        margins = booster.predict(
            xgboost.DMatrix(events.x, nthread=cores()),
            output_margin=True,
            iteration_range=(0, rounds),
        )
        return margins - margins[:, [centre]]

    return Fitted(evaluate, SETTINGS, SOURCE, kind="polynomial", facts={"rounds": rounds})


if __name__ == "__main__":
    # The distribution has another name where it has no part for GPUs.
    versions = {"xgboost": xgboost.__version__, "numpy": np.__version__}
    main(versions, {"trees, a class a point": classes})
