"""XGBoost: a class for each point of the training, whose log-ratios are joined by a polynomial."""

from __future__ import annotations

import numpy as np
import xgboost
from plain import Events, Fitted, Problem, cores, main

SETTINGS = (
    "multi:softprob over the training points, depth 3, rate 0.1, half of the events and of the "
    "features for each tree, hist, a fifth held out, up to 1000 rounds, until 50 rounds without "
    "improvement; a polynomial of the fourth degree joins the log-ratios of the classes"
)
SOURCE = (
    "its Notes on Parameter Tuning, section on overfitting (with its defaults, depth 6 and rate "
    "0.3, the held-out loss rises after two rounds, as the classes overlap); early stopping as in "
    "its Python introduction; the polynomial is that of milinfer.BoostedLikelihood"
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
            "max_depth": 3,
            "eta": 0.1,
            "subsample": 0.5,
            "colsample_bytree": 0.5,
            "nthread": cores(),
            "seed": seed,
        },
        train,
        num_boost_round=2 if quick else 1000,
        evals=[(test, "validation")],
        early_stopping_rounds=50,
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
