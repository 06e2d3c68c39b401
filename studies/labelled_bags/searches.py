"""Settings of a bag classifier on few bags: stepwise search, Optuna and chance at equal cost.

python -m studies.labelled_bags.searches [--size quick|full] [--seed 0] [--out DIR] [--page JSON]

Every setting of a grid is cross-validated once, and trained on all bags and tested once, on bags
whose exact posterior is known.  The searches then run on that table, with the package's own
functions, from many starting points: they see what they would have seen, and their chance is
averaged away.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.model_selection import StratifiedKFold, cross_val_score

import milinfer as mil
from studies.common.frame import Study, markdown, pair, require, run
from studies.labelled_bags.pooling import TASKS, score

BAGS, FOLDS, EPOCHS = 150, 3, 40
TASK = TASKS["witness"]
CHANCES = 500  # random searches; they cost nothing
GRIDS: dict[str, dict[str, list[Any]]] = {
    "quick": {
        "pooling": ["mean", "noisy-or"],
        "hidden": [(4,)],
        "learning_rate": [3e-3, 3e-2],
    },
    "full": {
        "pooling": ["mean", "attention", "noisy-or", "max"],
        "hidden": [(4,), (32,), (32, 32)],
        "learning_rate": [3e-3, 1e-2, 3e-2],
    },
}


class Sizes(NamedTuple):
    """Data sets, searches of each kind in each of them, bags to test with."""

    data_sets: int
    searches: int
    test: int


SIZES = {"quick": Sizes(1, 4, 2000), "full": Sizes(6, 36, 10_000)}


class Tabulated(BaseEstimator):
    """An estimator whose scores are known: it is not trained."""

    def __init__(self, pooling: Any = None, hidden: Any = None, learning_rate: Any = None) -> None:
        self.pooling, self.hidden, self.learning_rate = pooling, hidden, learning_rate

    def fit(self, X: Any, y: Any) -> Tabulated:  # noqa: ARG002
        return self

    def settings(self) -> tuple[Any, ...]:
        return (self.pooling, self.hidden, self.learning_rate)


class Table(NamedTuple):
    """Scores of every setting in each fold, and on test bags after training on all bags."""

    folds: dict[tuple[Any, ...], list[float]]
    tested: dict[tuple[Any, ...], float]


def tabulate(grid: Mapping[str, list[Any]], sizes: Sizes, rng: np.random.Generator) -> Table:
    data, test = TASK.make(BAGS, rng), TASK.make(sizes.test, rng)
    splits = list(StratifiedKFold(FOLDS).split(np.zeros(BAGS), data.labels))
    table = Table({}, {})
    for settings in product(*grid.values()):
        model = mil.BagClassifier(
            activation="relu",
            l2=1e-5,
            epochs=EPOCHS,
            patience=5,
            batch_size=32,
            **dict(zip(grid, settings, strict=True)),
        )
        scores = cross_val_score(model, data.bags, data.labels, cv=splits, scoring="neg_log_loss")
        table.folds[settings] = scores.tolist()
        predictions = model.fit(data.bags, data.labels).predict_proba(test.bags)[:, 1]
        table.tested[settings] = score(TASK, test, predictions)[0]
    return table


def search(kind: str, table: Table, grid: Mapping[str, list[Any]], seed: int) -> list[Any]:
    """Settings in the order in which a search tried them."""
    rng = np.random.default_rng(seed)
    names = tuple(grid)
    every = list(table.folds)
    start = every[rng.integers(len(every))]
    budget = 1 + sum(len(values) - 1 for values in grid.values())
    if kind == "chance":
        return [every[i] for i in rng.permutation(len(every))[:budget]]
    # What the folds hold are their own numbers: a score is then looked up.
    number = np.repeat(np.arange(FOLDS), 2)
    folds = [(np.flatnonzero(number != f), np.flatnonzero(number == f)) for f in range(FOLDS)]
    estimator = Tabulated(**dict(zip(names, start, strict=True)))

    def known(model: Tabulated, X: Any, _: Any) -> float:
        return table.folds[model.settings()][int(X[0, 0])]

    common: dict[str, Any] = {"folds": folds, "scoring": known, "seed": seed}
    X, y = number[:, None], np.zeros(len(number))
    if kind == "stepwise":
        orders = list(permutations(names))
        order = orders[rng.integers(len(orders))]
        result = mil.learning.stepwise_search(
            estimator, X, y, {n: grid[n] for n in order}, **common
        )
    else:
        result = mil.learning.optuna_search(estimator, X, y, grid, trials=3 * budget, **common)
    tried = [tuple(step.settings[n] for n in names) for step in result.history]
    return list(dict.fromkeys(tried))[:budget]  # what comes again costs nothing


def outcome(table: Table, tried: list[Any]) -> tuple[float, float, float]:
    """Distance to the best score of the grid, its own test score, and whether it is the best."""
    means = {settings: float(np.mean(scores)) for settings, scores in table.folds.items()}
    chosen = max(tried, key=means.__getitem__)
    gap = max(means.values()) - means[chosen]
    return gap, table.tested[chosen], float(gap == 0)


def study(size: str, seed: int) -> dict[str, Any]:
    grid, sizes = GRIDS[size], SIZES[size]
    budget = 1 + sum(len(values) - 1 for values in grid.values())
    result: dict[str, Any] = {
        "sizes": sizes._asdict(),
        "settings": {n: [str(v) for v in values] for n, values in grid.items()},
        "tried": budget,
        "all": int(np.prod([len(v) for v in grid.values()])),
        "outcomes": {"no search": [], "chance": [], "Optuna": [], "stepwise": [], "all": []},
    }
    for number in range(sizes.data_sets):
        table = tabulate(grid, sizes, np.random.default_rng([seed, number]))
        every = list(table.folds)
        found = result["outcomes"]
        found["no search"].append(_mean([outcome(table, [settings]) for settings in every]))
        found["all"].append(outcome(table, every))
        for kind in ("chance", "Optuna", "stepwise"):
            n = CHANCES if kind == "chance" else sizes.searches
            seeds = range(1000 * seed, 1000 * seed + n)
            found[kind].append(_mean([outcome(table, search(kind, table, grid, s)) for s in seeds]))
    return result


def _mean(outcomes: list[tuple[float, float, float]]) -> list[float]:
    return np.mean(outcomes, axis=0).tolist()


def check(results: Mapping[str, Any]) -> None:
    """A search is better than none, and no better than all settings; on what it scores by."""
    gaps = {kind: np.mean(rows, axis=0)[0] for kind, rows in results["outcomes"].items()}
    for kind in ("chance", "Optuna", "stepwise"):
        require(0 <= gaps[kind] < gaps["no search"] / 2, f"{kind} finds little: {gaps}")
    if results["sizes"]["data_sets"] > 1:
        rows = results["outcomes"]
        better = np.array(rows["chance"])[:, 0] - np.array(rows["stepwise"])[:, 0]
        error = better.std(ddof=1) / np.sqrt(len(better))
        require(better.mean() > -2 * error, f"stepwise is behind chance by {-better.mean():.4f}")


def conclusions(results: Mapping[str, Any]) -> None:
    rows = {kind: np.array(v, dtype=float) for kind, v in results["outcomes"].items()}
    behind, share, best = ({kind: v[:, k].mean() for kind, v in rows.items()} for k in range(3))
    require(behind["stepwise"] < 0.7 * behind["chance"], "stepwise is as far behind as chance")
    require(best["stepwise"] > 1.5 * best["chance"], "stepwise finds the best as rarely as chance")
    gap = rows["Optuna"][:, 0] - rows["chance"][:, 0]
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    require(abs(gap.mean()) < 3 * error + 0.002, "Optuna and chance differ at this cost")
    found = [share[kind] for kind in ("chance", "Optuna", "stepwise", "all")]
    require(max(found) - min(found) < 0.015, f"test bags tell searches apart: {np.round(found, 3)}")
    require(min(found) > share["no search"] + 0.1, "searching is not what counts")


def tables(results: Mapping[str, Any]) -> str:
    titles = {
        "no search": ("one setting drawn at random", 1),
        "chance": ("settings drawn at random", results["tried"]),
        "Optuna": ("`optuna_search`", results["tried"]),
        "stepwise": ("`stepwise_search`", results["tried"]),
        "all": ("all settings", results["all"]),
    }
    rows = []
    for kind, (title, tried) in titles.items():
        values = np.array(results["outcomes"][kind], dtype=float)
        if len(values) > 1:
            errors = values.std(axis=0, ddof=1) / np.sqrt(len(values))
            cells = [pair(m, e) for m, e in zip(values.mean(axis=0), errors, strict=True)]
        else:
            cells = [f"{m:.3f}" for m in values[0]]
        rows.append([title, tried, *cells])
    heads = [
        "search",
        "settings tried",
        "distance to the best score [nats]",
        "information on test bags",
        "best setting found",
    ]
    text = (
        f"The numbers are means over {results['sizes']['data_sets']} data sets of {BAGS} bags with "
        f"{FOLDS} folds. *Distance to the best score*: cross-validated log-likelihood per "
        "bag of the best setting of the grid, minus that of the setting found. *Information on "
        "test bags*: fraction of the information of the exact posterior that the setting found "
        "keeps. *Best setting found*: fraction of searches that find the best setting of the grid."
    )
    return f"{markdown(heads, rows)}\n\n{text}"


def figures(_: Mapping[str, Any]) -> dict[str, Figure]:
    """None: the table says it all."""
    return {}


def made_with(size: str) -> dict[str, Any]:
    return {
        "bags, folds, epochs": (BAGS, FOLDS, EPOCHS),
        "chances": CHANCES,
        "grid": GRIDS[size],
        "size": SIZES[size],
    }


STUDY = Study(
    name="searches",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
