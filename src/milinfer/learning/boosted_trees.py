"""Learn a likelihood ratio of single events with boosted trees.

XGBoost classifies single events, and Λ of a bag or of a dataset is the sum over its events.  This
is the baseline of Azakli and Stelzer ([AS], §B.2.3 and §C.3), and the composition f_{1→N} of
Nachman and Thaler ([NT], eq. 13).

This module also contains the settings of the trees, the weighted events in the format of XGBoost,
and the search for hyperparameters.  XGBoost and Optuna are optional packages, which are imported
when they are needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferError, ModelError
from milinfer.learning.model_files import (
    complete_content,
    event_numbers,
    history_entry,
    new_model_folder,
    read_content,
    require_unchanged,
    write_content,
)
from milinfer.learning.tracking import history_table
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.models import EventModel, dataset_surface
from milinfer.likelihood.surface import Interpolation, Kind, Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.samples.argument_checks import require_samples
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample import Sample, as_features
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.display import brief, html_facts, shortened
from milinfer.utils.files import file_hash
from milinfer.utils.json_fields import (
    array_field,
    list_field,
    number_field,
    seed_field,
    text_field,
    whole_field,
)
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.likelihood.rate import Rate

__all__ = [
    "BoostedLikelihood",
    "BoostedSettings",
    "TrialReport",
    "boosted_settings",
    "event_matrix",
    "grow",
    "grow_to_best",
    "read_booster",
    "require",
    "search",
    "to_int",
]

_FORMAT = "xgboost-2"
_TREES = "trees.ubj"
# Settings of the estimator and results of the training that model.json contains unchanged.
_SETTINGS = ("reference", "trials", "seed", "interpolation_kind", "window", "validation_fraction")
_PLAIN = ("parameter", "feature_names", "history", "tried", "n_events", "trained_on")


@dataclass(frozen=True, eq=False)
class BoostedLikelihood(EventModel):
    """Learn the log-likelihood ratio of single events in one parameter with boosted trees.

    Samples at two points train a binary classifier, and samples at more points a multi-class
    classifier.  Event weights are scaled so that they add up to the same number for every sample.
    An event of weight two counts as two events, except in the regularisation, which uses the
    effective number of events.

    Calibrate the model (:func:`milinfer.calibrate`) before you read a width from Λ(θ):
    regularisation and early stopping make the log-ratio of an event too small, by some per cent if
    the classes overlap.  A search for the best area under the ROC curve does not correct this,
    because this area does not depend on the scale of the log-ratio.

    Parameters
    ----------
    reference
        Parameter value θ0 at which Λ is zero; must be a training point.
    trials
        Number of trials of a search for hyperparameters with Optuna (Azakli and Stelzer [AS] use
        50); see :func:`milinfer.learning.boosted_trees.search`.  0: no search, train with
        `settings`.
    seed
        Random seed of splits, search and subsamples.
    interpolation_kind, window
        Curve through the values at the training points: ``"polynomial"`` (of degree 4, or half the
        number of intervals if that is less), ``"spline"`` or ``"parabola"``, and the window of the
        parabola; see :class:`~milinfer.likelihood.surface.Interpolation`.
    settings
        Hyperparameters.  After a search, ``fitted.settings`` contains the chosen values.
    validation_fraction
        Fraction of the events of each sample that is held out for early stopping.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.two_gaussians(500, epsilon=0.5, seed=1)
    >>> model = BoostedLikelihood(reference=-0.5).fit(samples)
    >>> model
    BoostedLikelihood(2 points in mu, ... rounds)
    >>> model.log_ratio(gaussian.generate(3, 0.5, seed=2)).shape
    (3,)
    """

    reference: float = 0.0
    trials: int = 0
    seed: int = 0
    interpolation_kind: Kind = "polynomial"
    settings: BoostedSettings | None = None
    window: float = 0.4
    validation_fraction: float = 0.2
    _fitted: _Fitted | None = field(default=None, repr=False)

    def fit(
        self,
        samples: SampleSet,
        validation: SampleSet | None = None,
        on_trial: Callable[[TrialReport], None] | None = None,
    ) -> BoostedLikelihood:
        """Train the trees and return the trained likelihood; the object itself is not changed.

        Parameters
        ----------
        samples
            One sample at each value of one parameter, including the reference.
        validation
            Held-out samples for early stopping.  Default: a fraction `validation_fraction` of the
            events of `samples`.
        on_trial
            Function that is called with a :class:`TrialReport` after every trial of a search.

        Raises
        ------
        ModelError
            If the samples do not fit the model, or events have negative weights.
        ConfigurationError
            If XGBoost or Optuna is not installed.
        """
        require_samples(samples, "BoostedLikelihood.fit()")
        if validation is not None:
            require_samples(validation, "validation= of BoostedLikelihood.fit()")
        samples = self._sort_by_point(samples)
        grid = samples.values(samples.parameters[0])
        if len(grid) > 2:
            self._interpolation(grid)  # raises now rather than after the training
        # The same split as for a BagLikelihood with this seed.
        split_seed, search_seed, tree_seed = np.random.SeedSequence(self.seed).spawn(3)
        train = samples
        if validation is None:
            held_out = self.validation_fraction
            train, validation = samples.split(
                [1 - held_out, held_out], seed=int(split_seed.generate_state(1)[0])
            )
        else:
            validation = self._sort_by_point(validation.with_features(samples.feature_names))
            if not np.array_equal(validation.values(samples.parameters[0]), grid):
                msg = f"the validation samples must be at the training points {grid}"
                raise ModelError(msg)
        settings, tried = self.settings or BoostedSettings(), list[dict[str, float]]()
        reference = self._reference_index(grid)
        # Before the search, since this checks the weights.
        matrix, test = (event_matrix(s, reference, settings.n_jobs) for s in (train, validation))
        if self.trials:
            settings, tried = search(train, reference, settings, self.trials, search_seed, on_trial)
        booster, history = grow_to_best(matrix, test, settings, len(grid), to_int(tree_seed))
        fitted = _Fitted(
            booster=booster,
            trees=bytes(booster.save_raw("ubj")),
            settings=settings,
            grid=grid,
            parameter=samples.parameters[0],
            feature_names=samples.feature_names,
            history=history,
            tried=tried,
            n_events={s.label: len(s) for s in samples},
            trained_on=sketch_each(samples),
        )
        return dataclasses.replace(self, _fitted=fitted)

    def _sort_by_point(self, samples: SampleSet) -> SampleSet:
        if len(samples.parameters) != 1 or len(samples) < 2:
            msg = f"BoostedLikelihood learns one parameter from two or more points, not {samples!r}"
            raise ModelError(msg)
        values = samples.values(samples.parameters[0])
        if not np.any(np.isclose(values, self.reference, rtol=0, atol=1e-9)):
            msg = (
                f"no sample at the reference {samples.parameters[0]} = {self.reference:g}; "
                "add one or set reference="
            )
            raise ModelError(msg)
        return SampleSet(tuple(samples[int(i)] for i in np.argsort(values)))

    def _reference_index(self, grid: FloatArray) -> int:
        return int(np.argmin(np.abs(grid - self.reference)))

    def _interpolation(self, grid: FloatArray) -> Interpolation:
        # Fewer coefficients than points, as the values at single points are rough.
        degree = max(2, min(4, (len(grid) - 1) // 2))
        return Interpolation(grid, self.interpolation_kind, degree, self.window)

    @property
    def fitted(self) -> _Fitted:
        """Result of the training: trees, settings in use and history.

        Raises
        ------
        ModelError
            If the model is not trained; call :meth:`fit` and use the object that it returns.
        """
        if self._fitted is None:
            msg = (
                "this BoostedLikelihood is not trained; call .fit(samples) and use the object it "
                "returns"
            )
            raise ModelError(msg)
        return self._fitted

    @property
    def name(self) -> str:
        """Name of the method."""
        return "xgboost"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the only parameter, as a tuple."""
        return (self.parameter,)

    @property
    def parameter(self) -> str:
        """Name of the parameter."""
        return self.fitted.parameter

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model needs."""
        return self.fitted.feature_names

    @property
    def digest(self) -> str:
        """Hash of the trees; it does not change when the model is saved and loaded."""
        return hashlib.blake2b(self.fitted.trees, digest_size=8).hexdigest()

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the events of training and early stopping; toys must use other events."""
        return self.fitted.trained_on

    @property
    def interpolation(self) -> Interpolation:
        """Training points, and the interpolation of Λ between them.

        Raises
        ------
        ModelError
            If the model was trained at two points: two points do not determine a curve Λ(θ).
        """
        if len(self.fitted.grid) == 2:
            msg = (
                f"a classifier trained at two points has no curve in {self.parameter}; train with "
                "three or more samples, or use log_ratio(sample)"
            )
            raise ModelError(msg)
        return self._interpolation(self.fitted.grid)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event at the K training points.

        Parameters
        ----------
        sample
            Events with the features on which the model was trained.

        Returns
        -------
        ndarray
            Log-ratios, shape (n_events, K), float64; zero at the reference.
        """
        fitted = self.fitted
        features = as_features(sample, fitted.feature_names)
        reference = self._reference_index(fitted.grid)
        out = np.zeros((len(features), len(fitted.grid)))
        if len(features):
            matrix = require("xgboost").DMatrix(features, nthread=fitted.settings.n_jobs)
            margin = fitted.booster.predict(matrix, output_margin=True)
            if len(fitted.grid) == 2:
                out[:, 1 - reference] = margin
            else:
                out[:] = margin
                out -= out[:, reference : reference + 1].copy()
        return out

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Return ln p(x|θ1)/p(x|θ0) of each event for a model of two points, shape (n_events,).

        Raises
        ------
        ModelError
            If the model was trained at more than two points.
        """
        if len(self.fitted.grid) != 2:
            msg = f"{self!r} has more than one log-ratio for each event; use event_llr(sample)"
            raise ModelError(msg)
        return self.event_llr(sample)[:, 1 - self._reference_index(self.fitted.grid)]

    def surface(self, data: Sample) -> Surface | BoxSurface:
        """Return the surface Λ(θ) of a dataset: the shape term, without the number of events."""
        return dataset_surface(self, data)

    def cost(self, data: Sample, *, rate: Rate | None = None) -> LikelihoodCost:
        """Return the cost −2 ln L of a dataset for iminuit.

        Parameters
        ----------
        data
            Events of the dataset.
        rate
            Expected number of events ν(θ), including all backgrounds.  With `rate`, the cost also
            contains the Poisson term of the number of events.  Without `rate`, it contains the
            shape term only.
        """
        return dataset_cost(self, data, reference=self.reference, rate=rate)

    def save(self, path: PathLikeStr) -> None:
        """Save the model to a directory: the trees in the format of XGBoost, and ``model.json``.

        The directory is written under a temporary name and renamed at the end.  If the program is
        interrupted, no incomplete model is left under `path`.

        Raises
        ------
        ModelError
            If the model is not trained, or `path` exists and is not a saved model.
        """
        fitted = self.fitted
        with new_model_folder(path) as folder:
            (folder / _TREES).write_bytes(fitted.trees)
            content = {
                "format": _FORMAT,
                "head": self.name,
                "settings": {name: getattr(self, name) for name in _SETTINGS},
                "given": self.settings and dataclasses.asdict(self.settings),
                "used": dataclasses.asdict(fitted.settings),
                "grid": fitted.grid.tolist(),
                **{name: getattr(fitted, name) for name in _PLAIN},
                "weights": {_TREES: file_hash(folder / _TREES)},
                "versions": {
                    "milinfer": version("milinfer"),
                    "numpy": np.__version__,
                    "xgboost": require("xgboost").__version__,
                },
            }
            write_content(folder, content)

    @staticmethod
    def load(path: PathLikeStr) -> BoostedLikelihood:
        """Load a likelihood that :meth:`save` has written to a directory.

        Raises
        ------
        ModelError
            If a file is missing, was changed or has another format; the message names the file.
        """
        folder = as_path(path)
        content = read_content(folder, _FORMAT, "BoostedLikelihood")
        with complete_content(folder):
            file = folder / _TREES
            require_unchanged(file, content["weights"][_TREES])
            try:
                return _loaded(content, file)
            except MilinferError as error:
                msg = f"{folder} is not a valid model: {error}; train again"
                raise ModelError(msg) from error

    def __repr__(self) -> str:
        f = self._fitted
        if f is None:
            return "BoostedLikelihood(not trained)"
        rounds = f.booster.num_boosted_rounds()
        return f"BoostedLikelihood({len(f.grid)} points in {f.parameter}, {rounds} rounds)"

    def _repr_html_(self) -> str:
        if self._fitted is None:
            return html_facts("BoostedLikelihood, not trained", {"reference": self.reference})
        fitted = self.fitted
        points = [format_point({fitted.parameter: value}) for value in fitted.grid.tolist()]
        settings = fitted.settings
        facts = {
            "reference": self.reference,
            "points": f"{len(points)}: {shortened(points)}",
            "features": f"{len(fitted.feature_names)}: {shortened(fitted.feature_names)}",
            "events": sum(fitted.n_events.values()),
            "rounds": fitted.booster.num_boosted_rounds(),
            "trees": f"depth {settings.max_depth}, learning rate {settings.learning_rate:g}",
            "trials": len(fitted.tried) or "",
            **{
                f"lowest {name.replace('_', ' ')}": f"{min(values):.5f}"
                for name, values in fitted.history.items()
            },
        }
        return html_facts("BoostedLikelihood", facts)


@dataclass(frozen=True, eq=False)
class _Fitted:
    booster: Any
    # The bytes of the first save are kept, because versions of XGBoost write the same trees as
    # different bytes.
    trees: bytes
    settings: BoostedSettings
    grid: FloatArray
    parameter: str
    feature_names: tuple[str, ...]
    history: dict[str, list[float]]
    tried: list[dict[str, float]]
    n_events: dict[str, int]
    trained_on: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self, leave_out=("booster", "trees", "trained_on"))

    def to_table(self) -> pa.Table:
        """Return a table of losses; see :func:`milinfer.learning.tracking.history_table`."""
        return history_table([self.history])


@dataclass(frozen=True)
class BoostedSettings:
    """Hyperparameters of boosted trees, with the names and meanings of XGBoost.

    Parameters
    ----------
    n_estimators
        Largest number of boosting rounds.  A round adds one tree for two classes, and K trees for K
        classes.  A search chooses at most this number.
    max_depth, learning_rate, min_child_weight, subsample, reg_lambda
        Hyperparameters that a search varies.  `min_child_weight` and `reg_lambda` are in units of
        effective events, whatever the scale of the sample weights.
    early_stopping
        Number of rounds after which the training stops if the log loss on the validation events has
        not decreased.
    folds
        Number of folds of the cross-validation in a search.
    n_jobs
        Number of threads.  A different number may change the last digits of sums, and thereby the
        trees.

    Raises
    ------
    ConfigurationError
        If a value is not allowed.
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


def _loaded(content: Mapping[str, Any], file: Path) -> BoostedLikelihood:
    """Build a model from the content of a file, after a check of every entry."""
    given, used = content["given"], boosted_settings(content["used"])
    feature_names = _texts("feature_names", content["feature_names"])
    trees = file.read_bytes()
    booster = read_booster(used.n_jobs, bytearray(trees))
    grid = array_field("grid", content["grid"], (len(content["grid"]),))
    n_classes = max(booster.inplace_predict(np.zeros((1, len(feature_names)))).size, 2)
    if len(grid) != n_classes or np.any(np.diff(grid) <= 0):
        msg = f"grid is {grid.tolist()}, but needs {n_classes} ascending values"
        raise ValueError(msg)
    tried = list_field("tried", content["tried"])
    if not all(isinstance(trial, dict) for trial in tried):
        msg = "an entry of tried is not a trial of a search"
        raise ValueError(msg)
    fitted = _Fitted(
        booster=booster,
        trees=trees,
        settings=used,
        grid=grid,
        parameter=text_field("parameter", content["parameter"]),
        feature_names=feature_names,
        history=history_entry("history", content["history"]),
        tried=tried,
        n_events=event_numbers(content)[0],
        trained_on=_texts("trained_on", content["trained_on"]),
    )
    settings = content["settings"]
    for name in ("reference", "window", "validation_fraction"):
        number_field(name, settings[name])
    whole_field("trials", settings["trials"])
    seed_field("seed", settings["seed"])
    text_field("interpolation_kind", settings["interpolation_kind"])
    model = BoostedLikelihood(
        **settings, settings=given and boosted_settings(given), _fitted=fitted
    )
    if len(grid) > 2:  # two points have no curve
        _ = model.interpolation
    return model


def _texts(name: str, entries: Any) -> tuple[str, ...]:
    return tuple(text_field(name, text) for text in list_field(name, entries))


def read_booster(n_jobs: int, model: bytearray) -> Any:
    """Read trees from the bytes of a model file.

    This function takes bytes because XGBoost cannot open files whose names are not UTF-8.

    Raises
    ------
    ModelError
        If the bytes are not trees of XGBoost.

    Examples
    --------
    >>> read_booster(1, bytearray(b"no trees"))
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: XGBoost cannot read the trees: ...
    """
    xgboost = require("xgboost")
    try:
        return xgboost.Booster({"nthread": n_jobs}, model_file=model)
    except xgboost.core.XGBoostError as error:
        msg = f"XGBoost cannot read the trees: {str(error).splitlines()[0]}"
        raise ModelError(msg) from error


def boosted_settings(entries: Mapping[str, Any]) -> BoostedSettings:
    """Build settings from the entries of a file, after a check of their types and values.

    Raises
    ------
    ValueError, TypeError, ConfigurationError
        If an entry is unknown or has a wrong value; the message names it.

    Examples
    --------
    >>> boosted_settings({"max_depth": 2}).max_depth
    2
    """
    kinds = {f.name: f.type for f in dataclasses.fields(BoostedSettings)}
    for name, value in entries.items():
        label = f"{name} of the trees"
        if kinds.get(name) == "int":
            whole_field(label, value)
        else:
            number_field(label, value)
    return BoostedSettings(**entries)


@dataclass(frozen=True)
class TrialReport:
    """Progress of a search for hyperparameters, reported after a trial.

    Parameters
    ----------
    number, n_trials
        Number of this trial, counted from 0, and number of all trials.
    value, best
        Value of this trial and the best value so far.  The value is the area under the ROC curve
        for two classes, and the log loss for more than two classes.
    parameters
        Hyperparameters of this trial.
    """

    number: int
    n_trials: int
    value: float
    best: float
    parameters: dict[str, float]


def require(module: str) -> Any:
    """Import ``xgboost`` or ``optuna`` and return the module.

    Raises
    ------
    ConfigurationError
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'boosted trees need {module}; install it with: pip install "milinfer[boosted]"'
        raise ConfigurationError(msg) from error


def event_matrix(samples: SampleSet, reference: int, n_jobs: int) -> Any:
    """Return events with labels and weights as ``xgboost.DMatrix``.

    Each class (sample) has an effective number of events.  The weights of every class are scaled so
    that their sum is the mean of these numbers.  The label of an event is the number of its sample;
    if there are two samples, the reference has label 0.

    Raises
    ------
    ModelError
        If an event weight is negative, or no event has a positive weight.
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
            msg = f"{sample.label}: no event to train or validate on has a weight; add events"
            raise ModelError(msg)
    total = np.mean([effective_number(s.weights) for s in samples])
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
    """Train trees with the histogram method; `options` are passed to ``xgboost.train``."""
    parameters: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("max_depth", "learning_rate", "min_child_weight", "subsample", "reg_lambda")
    } | {
        "tree_method": "hist",
        "objective": "binary:logistic" if n_classes == 2 else "multi:softprob",
        "base_score": 0.5,  # the classes have equal weight
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
    """Train trees until the log loss on `validation` no longer decreases.

    Returns
    -------
    tuple
        The trees up to the best round, and the losses after every round.
    """
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
    """Search for the best hyperparameters by stratified cross-validation ([AS], §B.2.3).

    The search maximises the area under the ROC curve if there are two samples, as [AS] do, and
    minimises the log loss if there are more.

    Returns
    -------
    tuple
        The best settings, and a list with the value and the hyperparameters of every trial.
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
            on_trial(
                TrialReport(
                    number=trial.number,
                    n_trials=trials,
                    value=trial.value,
                    best=best,
                    parameters=trial.params,
                )
            )

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
    """Return a seed of 31 bits, as XGBoost and Optuna need it."""
    return int(seed.generate_state(1)[0] >> 1)
