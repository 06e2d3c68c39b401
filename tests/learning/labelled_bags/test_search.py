"""Searches for settings: against the full grid, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor

import milinfer as mil
from milinfer.exceptions import ConfigurationError, ModelError

RNG = np.random.default_rng(1)
X = RNG.normal(size=(120, 4))
Y = X @ [1.0, 2.0, 0.0, 0.0] + RNG.normal(0, 0.5, 120)
GRID = {"n_neighbors": [1, 5, 20], "weights": ["uniform", "distance"], "p": [1, 2, 5]}


def score(seed=0, **settings):
    folds = KFold(3, shuffle=True, random_state=seed)
    return np.mean(cross_val_score(KNeighborsRegressor(**settings), X, Y, cv=folds))


def test_one_parameter_after_the_other():
    """The path of the search, by hand."""
    result = mil.learning.stepwise_search(KNeighborsRegressor(), X, Y, GRID)
    current = {"n_neighbors": 5, "weights": "uniform", "p": 2}
    for name, values in GRID.items():
        current = max(({**current, name: v} for v in values), key=lambda s: score(**s))
    assert result.best_settings == current
    assert result.best_score == pytest.approx(score(**current), rel=1e-12)
    # The start, and every value but the one that is already there.
    assert [step.parameter for step in result.history] == [
        "", "n_neighbors", "n_neighbors", "weights", "p", "p",
    ]  # fmt: skip
    for step in result.history:
        assert step.score == pytest.approx(score(**step.settings), rel=1e-12)
        assert step.error > 0


def test_optuna_finds_the_best_of_the_grid():
    result = mil.learning.optuna_search(KNeighborsRegressor(), X, Y, GRID, trials=60, seed=2)
    every = [dict(zip(GRID, v, strict=True)) for v in itertools.product(*GRID.values())]
    assert result.best_score == pytest.approx(max(score(2, **s) for s in every), rel=1e-12)
    tried = [tuple(step.settings.values()) for step in result.history[1:]]
    assert len(set(tried)) == len(tried)


@pytest.mark.parametrize(
    "search",
    [mil.learning.stepwise_search, lambda *a, **k: mil.learning.optuna_search(*a, trials=5, **k)],
)
def test_the_seed_fixes_the_folds_and_the_start_is_never_beaten_by_worse(search):
    one, two, other = (search(Ridge(), X, Y, {"alpha": [1e5, 1e6]}, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one.best_score != other.best_score
    assert one.best_settings == {"alpha": 1.0}


def test_bags_are_searched_too():
    rng = np.random.default_rng(3)
    bags = [rng.uniform(size=(n, 1)) for n in rng.integers(1, 5, 150)]
    labels = np.array([bag.max() > 0.7 for bag in bags])
    model = mil.BagClassifier("noisy-or", hidden=(8,), epochs=1, learning_rate=0.03)
    result = mil.learning.stepwise_search(model, bags, labels, {"epochs": [1, 30]})
    assert result.best_settings["epochs"] == 30
    assert result.best_score > 0.85
    assert model.epochs == 1


def test_folds_of_ones_own():
    """Groups stay together: the search scores on what no training of it has seen."""
    groups = np.arange(len(X)) % 4
    folds = list(GroupKFold(4).split(X, Y, groups))
    result = mil.learning.stepwise_search(KNeighborsRegressor(), X, Y, GRID, folds=folds)
    for step in result.history:
        model = KNeighborsRegressor(**step.settings)
        scores = cross_val_score(model, X, Y, cv=GroupKFold(4), groups=groups)
        assert step.score == pytest.approx(np.mean(scores), rel=1e-12)
    with pytest.raises(ConfigurationError, match="folds=1"):
        mil.learning.stepwise_search(Ridge(), X, Y, {"alpha": [1.0]}, folds=folds[:1])


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ConfigurationError, match="Ridge has no parameter beta"):
        mil.learning.stepwise_search(Ridge(), X, Y, {"beta": [1]})
    with pytest.raises(ConfigurationError, match="no values to try for alpha"):
        mil.learning.stepwise_search(Ridge(), X, Y, {"alpha": []})
    with pytest.raises(ConfigurationError, match="no values to try for any"):
        mil.learning.stepwise_search(Ridge(), X, Y, {})
    with pytest.raises(ConfigurationError, match="folds=1"):
        mil.learning.stepwise_search(Ridge(), X, Y, {"alpha": [1.0]}, folds=1)
    with pytest.raises(ConfigurationError, match="trials=0"):
        mil.learning.optuna_search(Ridge(), X, Y, {"alpha": [1.0]}, trials=0)


def test_scores_that_are_not_finite_are_refused():
    def undefined(*_):
        return np.nan

    with pytest.raises(ModelError, match="the scores with"):
        mil.learning.stepwise_search(Ridge(), X, Y, {"alpha": [1.0, 2.0]}, scoring=undefined)


def test_classes_are_spread_over_the_folds():
    labels = np.repeat([0, 1], [114, 6])
    grid = {"C": [1.0, 10.0]}
    result = mil.learning.stepwise_search(LogisticRegression(), X, labels, grid, scoring="roc_auc")
    assert all(np.isfinite(step.score) for step in result.history)
