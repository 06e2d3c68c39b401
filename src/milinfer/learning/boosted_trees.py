"""`BoostedLikelihood`: a likelihood ratio of single events, learned by boosted trees.

The event-level baseline of [AS] (§B.2.3 and §C.3): XGBoost tells apart single events, and Λ of
a bag or a dataset is the sum over its events, the composition f_{1→N} of [NT] (eq. 13).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.learning import trees
from milinfer.learning.trees import BoostedSettings, TrialReport
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.segments import dataset_surface
from milinfer.likelihood.surface import Interpolation, Kind, Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample import as_features
from milinfer.samples.samples import Sample, SampleSet
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.display import brief

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.likelihood.rate import Rate

__all__ = ["BoostedLikelihood", "BoostedSettings", "TrialReport"]


@dataclass(frozen=True, eq=False)
class BoostedLikelihood:
    """Log-likelihood ratio of single events in one parameter, by gradient-boosted trees.

    Two samples make a binary classifier, more a multi-class one.  Every sample counts alike, and
    an event of weight two is worth two events, except to the regularisation, which goes by the
    effective number of events.  Regularisation and early stopping make λ too small, by some per
    cent where the classes overlap, and a search for the best AUC does not see the scale of λ at
    all: calibrate (:func:`milinfer.calibrate`) before reading a width from Λ(θ).

    Parameters
    ----------
    reference
        Parameter value θ0; must be one of the training points.
    trials
        Trials of a search for hyperparameters with Optuna (50 in [AS]); see
        :func:`milinfer.learning.trees.search`.  0: `settings` as they are.
    seed
        Fixes splits, search and subsamples.
    interpolation_kind, window
        Between the classes: ``"polynomial"`` (of degree 4, or half the number of intervals where
        that is less), ``"spline"`` or ``"parabola"``; see
        :class:`~milinfer.likelihood.surface.Interpolation`.
    settings
        Hyperparameters; what a search chose is in ``fitted.settings``.
    validation_fraction
        Fraction of the events of each sample held out for early stopping.

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
        """Train, and return the trained likelihood (``self`` is not changed).

        Parameters
        ----------
        samples
            One sample for each point of one parameter, the reference among them.
        validation
            Held-out samples for early stopping; default: a split of `samples` by event.
        on_trial
            Called with a :class:`TrialReport` after every trial of a search.

        Raises
        ------
        ModelError
            If the samples do not fit the model, or weights are negative.
        ConfigurationError
            If XGBoost or Optuna is not installed.
        """
        samples = self._sorted(samples)
        grid = samples.values(samples.parameters[0])
        if len(grid) > 2:
            self._interpolation(grid)  # complains now rather than after the training
        # The split is the one of a BagLikelihood with this seed.
        split_seed, search_seed, tree_seed = np.random.SeedSequence(self.seed).spawn(3)
        train = samples
        if validation is None:
            held_out = self.validation_fraction
            train, validation = samples.split(
                [1 - held_out, held_out], seed=int(split_seed.generate_state(1)[0])
            )
        else:
            validation = self._sorted(validation.with_features(samples.feature_names))
            if not np.array_equal(validation.values(samples.parameters[0]), grid):
                msg = f"the validation samples are not at the points of the training, {grid}"
                raise ModelError(msg)
        settings, tried = self.settings or BoostedSettings(), list[dict[str, float]]()
        reference = self._reference_index(grid)
        # First of all, since it checks the weights.
        matrix, test = (
            trees.event_matrix(s, reference, settings.n_jobs) for s in (train, validation)
        )
        if self.trials:
            settings, tried = trees.search(
                train, reference, settings, self.trials, search_seed, on_trial
            )
        booster, history = trees.grow_to_best(
            matrix, test, settings, len(grid), trees.to_int(tree_seed)
        )
        fitted = _Fitted(
            booster,
            settings,
            grid,
            samples.parameters[0],
            samples.feature_names,
            history,
            tried,
            {s.label: len(s) for s in samples},
            sketch_each(samples),
        )
        return dataclasses.replace(self, _fitted=fitted)

    def _sorted(self, samples: SampleSet) -> SampleSet:
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
        degree = max(2, min(4, (len(grid) - 1) // 2))  # smooths: every class is rough by itself
        return Interpolation(grid, self.interpolation_kind, degree, self.window)

    @property
    def fitted(self) -> _Fitted:
        """What training produced.

        Raises
        ------
        ModelError
            Before :meth:`fit`.
        """
        if self._fitted is None:
            msg = (
                "this BoostedLikelihood is not trained; call .fit(samples) and use what it returns"
            )
            raise ModelError(msg)
        return self._fitted

    @property
    def name(self) -> str:
        """Name of the method."""
        return "xgboost"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter, as a tuple."""
        return (self.parameter,)

    @property
    def parameter(self) -> str:
        """Name of the parameter."""
        return self.fitted.parameter

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model expects."""
        return self.fitted.feature_names

    @property
    def digest(self) -> str:
        """Hash of the trees, the same after saving and loading."""
        return hashlib.blake2b(self.fitted.booster.save_raw("ubj"), digest_size=8).hexdigest()

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Sketches of the events of training and early stopping; toys need others."""
        return self.fitted.trained_on

    @property
    def interpolation(self) -> Interpolation:
        """Grid of training points and the continuation between them.

        Raises
        ------
        ModelError
            With two points, through which there is no curve in the parameter.
        """
        if len(self.fitted.grid) == 2:
            msg = (
                f"a classifier of two points has no curve in {self.parameter}; train with three "
                "or more samples, or use log_ratio(sample)"
            )
            raise ModelError(msg)
        return self._interpolation(self.fitted.grid)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at the training points.

        Parameters
        ----------
        sample
            Events with the features that the model was trained on.

        Returns
        -------
        ndarray
            Shape (n_events, K), float64, zero at the reference.
        """
        fitted = self.fitted
        features = as_features(sample, fitted.feature_names)
        reference = self._reference_index(fitted.grid)
        out = np.zeros((len(features), len(fitted.grid)))
        if len(features):
            matrix = trees.require("xgboost").DMatrix(features, nthread=fitted.settings.n_jobs)
            margin = fitted.booster.predict(matrix, output_margin=True)
            if len(fitted.grid) == 2:
                out[:, 1 - reference] = margin
            else:
                out[:] = margin
                out -= out[:, reference : reference + 1].copy()
        return out

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Values of ln p(x|θ1)/p(x|θ0) of a classifier of two points, shape (n_events,).

        Raises
        ------
        ModelError
            If there are more points than two.
        """
        if len(self.fitted.grid) != 2:
            msg = f"{self!r} has more than one log-ratio; use event_llr(sample)"
            raise ModelError(msg)
        return self.event_llr(sample)[:, 1 - self._reference_index(self.fitted.grid)]

    def surface(self, data: Sample) -> Surface | BoxSurface:
        """Surface Λ(θ) of a dataset (shape term)."""
        return dataset_surface(self, data)

    def cost(self, data: Sample, *, rate: Rate | None = None) -> LikelihoodCost:
        """Cost −2 ln L of a dataset for iminuit, with the rate term if `rate` is given."""
        return dataset_cost(self, data, reference=self.reference, rate=rate)

    def save(self, path: PathLikeStr) -> None:
        """Save to a directory; see :func:`milinfer.learning.boosted_files.save_boosted`."""
        from milinfer.learning.boosted_files import save_boosted

        save_boosted(self, path)

    @staticmethod
    def load(path: PathLikeStr) -> BoostedLikelihood:
        """Load from a directory; see :func:`milinfer.learning.boosted_files.load_boosted`."""
        from milinfer.learning.boosted_files import load_boosted

        return load_boosted(path)

    def __repr__(self) -> str:
        f = self._fitted
        if f is None:
            return "BoostedLikelihood(not trained)"
        rounds = f.booster.num_boosted_rounds()
        return f"BoostedLikelihood({len(f.grid)} points in {f.parameter}, {rounds} rounds)"

    def _repr_html_(self) -> str:
        from milinfer.learning.model_display import html_boosted

        return html_boosted(self)


@dataclass(frozen=True, eq=False)
class _Fitted:
    booster: Any
    settings: BoostedSettings
    grid: FloatArray
    parameter: str
    feature_names: tuple[str, ...]
    history: dict[str, list[float]]
    tried: list[dict[str, float]]
    n_events: dict[str, int]
    trained_on: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self, leave_out=("booster", "trained_on"))

    def to_table(self) -> pa.Table:
        """Validation loss of every round; see :func:`milinfer.learning.model_display.history_table`."""
        from milinfer.learning.model_display import history_table

        return history_table([self.history])
