"""Search for settings of an estimator by cross-validation: stepwise, or with Optuna.

The searches work with every estimator of scikit-learn, including :class:`milinfer.BagClassifier`
and :class:`milinfer.BagRegressor`.  Both searches use the same folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.typing import IntArray
from milinfer.utils.display import arrow_table, html_table, measured

Folds = Sequence[tuple[IntArray, IntArray]]
"""Numbers of the bags to train on and to score with, for each fold."""

# Number of settings displayed in a notebook.
_MOST_ROWS = 10

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SearchResult", "SearchStep", "optuna_search", "stepwise_search"]


@dataclass(frozen=True)
class SearchStep:
    """Settings that a search has tried, with their score.

    Parameters
    ----------
    parameter
        Name of the parameter that was varied; empty for the first settings, and if all parameters
        vary at once.
    settings
        Values of all parameters in the search.
    score, error
        Mean score over the folds, and its standard error.
    """

    parameter: str
    settings: Mapping[str, Any]
    score: float
    error: float


@dataclass(frozen=True)
class SearchResult:
    """Best settings of a search, and all settings that it has tried.

    Parameters
    ----------
    best_settings
        Settings with the best score; apply them with ``estimator.set_params(**best_settings)``.
    best_score
        Mean score of these settings over the folds.  It is the best of many scores.  The score on
        new data is therefore lower on average.
    history
        All settings that were tried, in order.
    """

    best_settings: Mapping[str, Any]
    best_score: float
    history: tuple[SearchStep, ...]

    def __repr__(self) -> str:
        return (
            f"SearchResult({dict(self.best_settings)}, score {self.best_score:.4g}, "
            f"{len(self.history)} tried)"
        )

    def _repr_html_(self) -> str:
        names = list(self.best_settings)
        best = sorted(self.history, key=lambda s: -s.score)[:_MOST_ROWS]
        rows = [[*(str(s.settings[n]) for n in names), measured(s.score, s.error)] for s in best]
        title = f"Best {len(rows)} of {len(self.history)} settings"
        return html_table((*names, "score"), rows, title=title)

    def to_table(self) -> pa.Table:
        """Return a table with one row for each setting that was tried, in order.

        The columns are ``varied`` (name of the parameter that was varied), ``settings.PARAMETER``
        (numbers if all values are numbers of one type, otherwise text), ``score`` and ``error``.
        """
        types: dict[str, type] = {"varied": str}
        for name in self.best_settings:
            kinds = {type(s.settings[name]) for s in self.history}
            (kind,) = kinds if len(kinds) == 1 else (str,)
            types[f"settings.{name}"] = kind if kind in (bool, int, float) else str
        rows = [
            {
                "varied": s.parameter,
                **{f"settings.{n}": s.settings[n] for n in self.best_settings},
                "score": s.score,
                "error": s.error,
            }
            for s in self.history
        ]
        return arrow_table({**types, "score": float, "error": float}, rows)


def stepwise_search(
    estimator: Any,
    X: Any,
    y: Any,
    grid: Mapping[str, Sequence[Any]],
    *,
    folds: int | Folds = 3,
    scoring: str | Callable[..., float] | None = None,
    seed: int = 0,
) -> SearchResult:
    """Search for the best settings of an estimator, one parameter after the other.

    This is the search of milearn (arXiv:2512.01287).  It tries all values of the first parameter,
    keeps the value with the best score, and continues with the second parameter.  The number of
    trials is the sum of the numbers of values of all parameters; a full grid would need the product
    of these numbers.  The search misses an optimum that is reached only by changing several
    parameters together, so list the most important parameter first.  The settings of `estimator`
    are tried first.  On these folds, the result is therefore never worse than the settings of
    `estimator`.

    Parameters
    ----------
    estimator
        Estimator; it is cloned and not changed.
    X, y
        Bags, or other input of the estimator, and labels.
    grid
        Values to try for each parameter, in the order of the search.
    folds
        Number of folds of the cross-validation (stratified for classifiers), or a list of folds.  A
        fold is a pair: the indices of the bags for the training, and the indices of the bags for
        the score.  Bags that share instances (for example, parts of one image) must be on the same
        side of a fold; if they are not, the search prefers settings that memorise the instances.
    scoring
        As for ``sklearn.model_selection.cross_val_score``.  None: ``estimator.score``.
    seed
        Random seed of the folds.  It does not change the seed of the estimator.

    Raises
    ------
    ConfigurationError
        If scikit-learn is not installed, the grid is empty or has a parameter that the estimator
        does not have, or there are fewer than two folds.
    ModelError
        If a score is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> x = np.random.default_rng(1).normal(size=(40, 3))
    >>> grid = {"alpha": [1e-3, 100.0], "fit_intercept": [True, False]}
    >>> result = stepwise_search(Ridge(), x, x.sum(axis=1), grid)
    >>> result.best_settings["alpha"], len(result.history)
    (0.001, 4)
    """
    score = _Scorer(estimator, X, y, grid, folds, scoring, seed)
    best = score.start()
    for name, values in grid.items():
        settings = best.settings
        for value in values:
            if _same(value, settings[name]):
                continue
            step = score(name, {**settings, name: value})
            if step.score > best.score:
                best = step
    return SearchResult(best.settings, best.score, tuple(score.history))


def optuna_search(
    estimator: Any,
    X: Any,
    y: Any,
    grid: Mapping[str, Sequence[Any]],
    *,
    trials: int,
    folds: int | Folds = 3,
    scoring: str | Callable[..., float] | None = None,
    seed: int = 0,
) -> SearchResult:
    """Search for the best settings of an estimator in a grid with Optuna.

    The search uses the tree-structured Parzen estimator and varies all parameters at once.  It can
    therefore find an optimum that :func:`stepwise_search` misses, but needs more trials.  The
    settings of `estimator` are tried first.

    Parameters
    ----------
    estimator, X, y, grid, folds, scoring
        As for :func:`stepwise_search`.
    trials
        Number of settings to try, in addition to the settings of `estimator`.  Settings that Optuna
        proposes a second time are not computed again.
    seed
        Random seed of the folds and of Optuna.

    Raises
    ------
    ConfigurationError, ModelError
        As for :func:`stepwise_search`, or if Optuna is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> x = np.random.default_rng(1).normal(size=(40, 3))
    >>> result = optuna_search(Ridge(), x, x.sum(axis=1), {"alpha": [1e-3, 100.0]}, trials=4)
    >>> result.best_settings
    {'alpha': 0.001}
    """
    optuna = _require("optuna", "boosted")
    if trials < 1:
        msg = f"trials={trials} must be at least 1"
        raise ConfigurationError(msg)
    score = _Scorer(estimator, X, y, grid, folds, scoring, seed)
    best = score.start()
    steps: dict[tuple[int, ...], SearchStep] = {}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        for _ in range(trials):
            trial = study.ask()
            # Indices of the values, because Optuna stores no tuples.
            chosen = {n: trial.suggest_categorical(n, range(len(v))) for n, v in grid.items()}
            key = tuple(chosen.values())
            if key not in steps:
                steps[key] = score("", {name: grid[name][i] for name, i in chosen.items()})
            study.tell(trial, steps[key].score)
            best = max(best, steps[key], key=lambda step: step.score)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return SearchResult(best.settings, best.score, tuple(score.history))


class _Scorer:
    """Cross-validation of settings on fixed folds, with a record of all settings and scores."""

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        grid: Mapping[str, Sequence[Any]],
        folds: int | Folds,
        scoring: str | Callable[..., float] | None,
        seed: int,
    ) -> None:
        self._selection = _require("sklearn.model_selection", "sklearn")
        self._base = _require("sklearn.base", "sklearn")
        unknown = sorted(set(grid) - set(estimator.get_params()))
        if unknown:
            msg = (
                f"{type(estimator).__name__} has no parameter {', '.join(unknown)}; "
                "get_params() lists all parameters"
            )
            raise ConfigurationError(msg)
        empty = [name for name, values in grid.items() if len(values) == 0]
        if not grid or empty:
            msg = f"no values to try for {', '.join(empty) or 'any parameter'}; fill the grid"
            raise ConfigurationError(msg)
        self._splits = self._folds(estimator, y, folds, seed)
        self._estimator, self._X, self._y, self._scoring = estimator, X, y, scoring
        self._start = {name: estimator.get_params()[name] for name in grid}
        self.history: list[SearchStep] = []

    def _folds(self, estimator: Any, y: Any, folds: int | Folds, seed: int) -> list[Any]:
        n_folds = folds if isinstance(folds, int) else len(folds)
        if n_folds < 2:
            msg = f"folds={n_folds} must be at least 2"
            raise ConfigurationError(msg)
        if not isinstance(folds, int):
            return list(folds)
        kind = "StratifiedKFold" if self._base.is_classifier(estimator) else "KFold"
        splitter = getattr(self._selection, kind)(folds, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(y)), y))

    def start(self) -> SearchStep:
        """Score the current settings of the estimator."""
        return self("", self._start)

    def __call__(self, parameter: str, settings: dict[str, Any]) -> SearchStep:
        model = self._base.clone(self._estimator).set_params(**settings)
        scores = self._selection.cross_val_score(
            model,
            self._X,
            self._y,
            cv=self._splits,
            scoring=self._scoring,
            error_score="raise",  # a setting that cannot work is to be taken out of the grid
        )
        if not np.all(np.isfinite(scores)):
            msg = f"the scores with {settings} are {scores}; use another scoring or other values"
            raise ModelError(msg)
        error = float(np.std(scores, ddof=1) / np.sqrt(len(scores)))
        self.history.append(SearchStep(parameter, settings, float(np.mean(scores)), error))
        return self.history[-1]


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _require(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(extra, module)
        msg = f'this search needs {package}; install it with: pip install "milinfer[{extra}]"'
        raise ConfigurationError(msg) from error
