"""Boosted trees: settings, weighted events for XGBoost, and the search for hyperparameters.

XGBoost and Optuna are optional and loaded only here, when they are needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.samples.bags import effective_sample_size
from milinfer.samples.samples import SampleSet

__all__ = [
    "BoostedSettings",
    "TrialReport",
    "event_matrix",
    "grow",
    "grow_to_best",
    "require",
    "search",
    "to_int",
]


@dataclass(frozen=True)
class BoostedSettings:
    """Hyperparameters of boosted trees; names and meaning are those of XGBoost.

    Parameters
    ----------
    n_estimators
        Largest number of rounds, each of one tree (two classes) or K; a search stays below it.
    max_depth, learning_rate, min_child_weight, subsample, reg_lambda
        What a search replaces.  `min_child_weight` and `reg_lambda` count effective events,
        whatever the scale of the weights of the samples.
    early_stopping
        Training stops after so many rounds without a better log loss on the validation events.
    folds
        Parts of the cross-validation of a search.
    n_jobs
        Threads.  Another number may change the last digits of sums, and with them the trees.

    Raises
    ------
    ConfigurationError
        If a value cannot work.
    """

    n_estimators: int = 1000
    max_depth: int = 3
    learning_rate: float = 0.05
    min_child_weight: float = 10.0
    subsample: float = 0.8
    reg_lambda: float = 10.0
    early_stopping: int = 30
    folds: int = 3
    n_jobs: int = 1

    def __post_init__(self) -> None:
        least = {"n_estimators": 1, "max_depth": 1, "early_stopping": 1, "folds": 2, "n_jobs": 1}
        for name, value in dataclasses.asdict(self).items():
            fraction = name in ("learning_rate", "subsample")
            if not (0 < value <= 1 if fraction else value >= least.get(name, 0)):
                need = "in (0, 1]" if fraction else f"at least {least.get(name, 0)}"
                msg = f"{name} = {value} must be {need}"
                raise ConfigurationError(msg)


@dataclass(frozen=True)
class TrialReport:
    """What a progress display needs to know after a trial of a search.

    Parameters
    ----------
    number, n_trials
        Trials are counted from 0.
    value, best
        Area under the ROC curve (two classes) or log loss (more), of this and of the best trial.
    parameters
        What was tried.
    """

    number: int
    n_trials: int
    value: float
    best: float
    parameters: dict[str, float]


def require(module: str) -> Any:
    """Import ``xgboost`` or ``optuna``.

    Raises
    ------
    ConfigurationError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'boosted trees need {module}; install it with: pip install "milinfer[boosted]"'
        raise ConfigurationError(msg) from error


def event_matrix(samples: SampleSet, reference: int, n_jobs: int) -> Any:
    """Events with labels and weights, as ``xgboost.DMatrix``.

    The weights of every class sum to the mean effective number of events of the classes.  Labels
    count the samples; of two samples, the reference has label 0.

    Raises
    ------
    ModelError
        If weights are negative, or there are no events with weight.
    """
    for sample in samples:
        negative = int(np.sum(sample.weights < 0))
        if negative:
            msg = (
                f"{sample.label}: {negative} of {len(sample)} event weights are negative, and "
                "XGBoost cannot train on them; train a BagLikelihood, which takes signed weights, "
                "or use a sample with positive weights"
            )
            raise ModelError(msg)
        if not sample.weights.sum() > 0:
            msg = f"{sample.label}: no events with weight to train or validate on; add events"
            raise ModelError(msg)
    total = np.mean([effective_sample_size(s.weights) for s in samples])
    label = np.repeat(np.arange(len(samples)), [len(s) for s in samples])
    return require("xgboost").DMatrix(
        np.concatenate([s.features for s in samples]),
        label != reference if len(samples) == 2 else label,
        weight=np.concatenate([s.weights * (total / s.weights.sum()) for s in samples]),
        nthread=n_jobs,
    )


def grow(
    train: Any,
    settings: BoostedSettings,
    n_classes: int,
    seed: int,
    metric: str,
    **options: Any,
) -> Any:
    """Train with the histogram method; `options` go to ``xgboost.train``."""
    parameters: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("max_depth", "learning_rate", "min_child_weight", "subsample", "reg_lambda")
    } | {
        "tree_method": "hist",
        "objective": "binary:logistic" if n_classes == 2 else "multi:softprob",
        "base_score": 0.5,  # classes of equal weight: no preference for any
        "eval_metric": metric,
        "nthread": settings.n_jobs,
        "seed": seed,
    }
    if n_classes > 2:
        parameters["num_class"] = n_classes
    xgb = require("xgboost")
    try:
        return xgb.train(parameters, train, settings.n_estimators, **options)
    except xgb.core.XGBoostError as error:
        msg = f"XGBoost cannot train with {settings}: {error}"
        raise ModelError(msg) from error


def grow_to_best(
    train: Any, validation: Any, settings: BoostedSettings, n_classes: int, seed: int
) -> tuple[Any, dict[str, list[float]]]:
    """Train until the log loss on `validation` is best; trees and the loss after every round."""
    metric = "logloss" if n_classes == 2 else "mlogloss"
    stop = require("xgboost").callback.EarlyStopping(rounds=settings.early_stopping, save_best=True)
    history: dict[str, dict[str, list[float]]] = {}
    booster = grow(
        train,
        settings,
        n_classes,
        seed,
        metric,
        evals=[(train, "loss"), (validation, "val_loss")],
        evals_result=history,
        verbose_eval=False,
        callbacks=[stop],
    )
    return booster, {name: losses[metric] for name, losses in history.items()}


def search(
    samples: SampleSet,
    reference: int,
    settings: BoostedSettings,
    trials: int,
    seed: np.random.SeedSequence,
    on_trial: Callable[[TrialReport], None] | None,
) -> tuple[BoostedSettings, list[dict[str, float]]]:
    """Search hyperparameters by stratified cross-validation ([AS], §B.2.3).

    Two samples maximise the area under the ROC curve, as in the paper; more minimise the log loss.

    Returns
    -------
    tuple
        The best settings, and value and hyperparameters of every trial.
    """
    optuna = require("optuna")
    fold_seed, sampler_seed, tree_seed = (to_int(s) for s in seed.spawn(3))
    rng = np.random.default_rng(fold_seed)
    parts = [rng.permutation(len(s)) % settings.folds for s in samples]

    def matrix(fold: int, *, inside: bool) -> Any:
        chosen = (
            s.take(np.flatnonzero((part == fold) == inside))
            for s, part in zip(samples, parts, strict=True)
        )
        return event_matrix(SampleSet(tuple(chosen)), reference, settings.n_jobs)

    folds = [(matrix(f, inside=False), matrix(f, inside=True)) for f in range(settings.folds)]
    metric, direction = ("auc", "maximize") if len(samples) == 2 else ("mlogloss", "minimize")
    tried: list[dict[str, float]] = []

    def objective(trial: Any) -> float:
        rounds = (min(50, settings.n_estimators), settings.n_estimators)
        chosen = dataclasses.replace(
            settings,
            n_estimators=trial.suggest_int("n_estimators", *rounds),
            max_depth=trial.suggest_int("max_depth", 1, 8),
            learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            min_child_weight=trial.suggest_float("min_child_weight", 1.0, 300.0, log=True),
            subsample=trial.suggest_float("subsample", 0.5, 1.0),
            reg_lambda=trial.suggest_float("reg_lambda", 0.1, 300.0, log=True),
        )
        values = []
        for train, test in folds:
            booster = grow(train, chosen, len(samples), tree_seed, metric)
            # A text such as "[0]\teval-auc:0.789".
            values.append(float(booster.eval(test).rpartition(":")[2]))
        return float(np.mean(values))

    def report(study: Any, trial: Any) -> None:
        tried.append({"value": trial.value, **trial.params})
        if on_trial is not None:
            best = study.best_value
            on_trial(TrialReport(trial.number, trials, trial.value, best, trial.params))

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=sampler_seed)
        study = optuna.create_study(direction=direction, sampler=sampler)
        study.optimize(objective, n_trials=trials, callbacks=[report])
    finally:
        optuna.logging.set_verbosity(verbosity)
    return dataclasses.replace(settings, **study.best_params), tried


def to_int(seed: np.random.SeedSequence) -> int:
    """A seed of 31 bits, which XGBoost and Optuna take."""
    return int(seed.generate_state(1)[0] >> 1)
