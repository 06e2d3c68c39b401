"""Use estimators of scikit-learn for labelled bags, by summaries of bags or instance by instance.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.learning.labelled_bags.checks import checked_bags
from milinfer.learning.labelled_bags.ragged import RaggedBags
from milinfer.learning.labelled_bags.scikit import (
    BaseEstimator,
    MetaEstimatorMixin,
    TransformerMixin,
    available_if,
    check_classification_targets,
    check_consistent_length,
    check_is_fitted,
    clone,
    column_or_1d,
    get_tags,
    has_fit_parameter,
    is_classifier,
)
from milinfer.learning.labelled_bags.weights import bag_weights
from milinfer.typing import FloatArray

__all__ = ["BagSummary", "InstanceWrapper"]


def _mean(bags: RaggedBags) -> FloatArray:
    return np.asarray(
        np.add.reduceat(bags.instances, bags.offsets[:-1], axis=0) / bags.sizes[:, None]
    )


def _deviation(bags: RaggedBags) -> FloatArray:
    centred = bags.instances - np.repeat(_mean(bags), bags.sizes, axis=0)
    return np.sqrt(_mean(RaggedBags(np.square(centred), bags.offsets)))


def _extreme(function: np.ufunc) -> Callable[[RaggedBags], FloatArray]:
    return lambda bags: function.reduceat(bags.instances, bags.offsets[:-1], axis=0)


_SUMMARIES: dict[str, Callable[[RaggedBags], FloatArray]] = {
    "mean": _mean,
    "max": _extreme(np.maximum),
    "min": _extreme(np.minimum),
    "std": _deviation,
}
_SIZE = "size"


class BagSummary(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Turn bags into a table with one row for each bag, for any estimator of scikit-learn.

    Parameters
    ----------
    summaries
        Columns of the table: ``"mean"``, ``"max"``, ``"min"`` and ``"std"`` of each feature over
        the instances of a bag, and ``"size"``, the number of instances.

    Attributes
    ----------
    n_features_in_
        Number of features of an instance.
    feature_names_in_
        Names of the features, if the bags are tables with column names.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> bags = [np.array([[1.0], [5.0]]), np.array([[2.0]])]
    >>> BagSummary(("mean", "max", "size")).fit_transform(bags)
    array([[3., 5., 2.],
           [2., 2., 1.]])
    >>> make_pipeline(BagSummary(), LogisticRegression()).fit(bags, [1, 0]).predict(bags)
    array([1, 0])
    """

    def __init__(self, summaries: Sequence[str] = ("mean", "max", "min", "std", "size")) -> None:
        self.summaries = summaries

    def fit(self, X: Any, y: Any = None) -> BagSummary:  # noqa: ARG002
        """Store the names of the features; nothing is trained."""
        known = (*_SUMMARIES, _SIZE)
        unknown = [name for name in self.summaries if name not in known]
        if unknown or not len(self.summaries) or isinstance(self.summaries, str):
            msg = f"summaries={self.summaries!r} must list some of {', '.join(known)}"
            raise ConfigurationError(msg)
        checked_bags(self, X, reset=True, least=1)
        return self

    def transform(self, X: Any) -> FloatArray:
        """Return a table with one row for each bag."""
        check_is_fitted(self, "n_features_in_")
        bags = checked_bags(self, X)
        columns = [
            bags.sizes[:, None].astype(np.float64) if name == _SIZE else _SUMMARIES[name](bags)
            for name in self.summaries
        ]
        return np.concatenate(columns, axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the columns, such as ``mean_pt``; unnamed features are x0, x1 etc.

        Raises
        ------
        ConfigurationError
            If `input_features` differ from the names in the fit.
        """
        check_is_fitted(self, "n_features_in_")
        fitted = getattr(self, "feature_names_in_", None)
        names = [f"x{i}" for i in range(self.n_features_in_)] if fitted is None else list(fitted)
        if input_features is not None:
            given = list(input_features)
            if fitted is not None and given != names:
                msg = f"input_features is not equal to feature_names_in_ ({', '.join(names)})"
                raise ConfigurationError(msg)
            if len(given) != len(names):
                msg = f"input_features should have length equal to number of features, {len(names)}"
                raise ConfigurationError(msg)
            names = given
        columns = [
            [_SIZE] if summary == _SIZE else [f"{summary}_{name}" for name in names]
            for summary in self.summaries
        ]
        return np.array([name for some in columns for name in some], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")


_POOLS = ("mean", "max", "min")


class InstanceWrapper(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]  # as above
    """Apply a classifier or regressor of scikit-learn to bags, instance by instance.

    The estimator is trained on all instances, and each instance gets the label and the weight of
    its bag.  The predictions for the instances of a bag are combined (pooled) to a prediction for
    the bag.

    Parameters
    ----------
    estimator
        Classifier with ``predict_proba``, or regressor; it is cloned.
    pooling
        How probabilities or predictions are combined: ``"mean"``, ``"max"`` or ``"min"``.  For a
        classifier, maximum and minimum refer to the probability of the positive class, which is the
        second of two classes.

    Attributes
    ----------
    estimator_
        The fitted estimator.
    classes_
        Labels, if the estimator is a classifier.
    n_features_in_
        Number of features of an instance.
    feature_names_in_
        Names of the features, if the bags are tables with column names.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> bags = [np.array([[1.0], [5.0]]), np.array([[2.0]]), np.array([[1.0], [2.0], [1.0]])]
    >>> model = InstanceWrapper(DecisionTreeClassifier(), "max").fit(bags, [1, 0, 0])
    >>> model.predict(bags)
    array([1, 0, 0])
    >>> model.instance_predictions(bags)[0]
    array([0.33333333, 1.        ])
    """

    def __init__(self, estimator: Any, pooling: str = "mean") -> None:
        self.estimator = estimator
        self.pooling = pooling

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> InstanceWrapper:
        """Train the estimator on all instances.

        Parameters
        ----------
        X
            Bags, as for :meth:`milinfer.BagClassifier.fit`.
        y
            Labels or numbers of the bags, shape (n_bags,).
        sample_weight
            Weight of each bag, which is also the weight of each of its instances, shape (n_bags,).
            None: all bags have weight 1.

        Raises
        ------
        SampleError
            If a bag is invalid; the message names the bag.
        ConfigurationError
            If the pooling is unknown, or the estimator does not accept weights or does not compute
            probabilities.
        """
        if self.pooling not in _POOLS:
            msg = f"pooling={self.pooling!r} is not one of {', '.join(_POOLS)}"
            raise ConfigurationError(msg)
        classifier = is_classifier(self.estimator)
        name = type(self.estimator).__name__
        if classifier and not hasattr(self.estimator, "predict_proba"):
            msg = f"{name} has no predict_proba to pool; wrap it in CalibratedClassifierCV"
            raise ConfigurationError(msg)
        bags = checked_bags(self, X, y, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(bags.sizes, y)
        if classifier:
            check_classification_targets(y)
        options = {}
        if sample_weight is not None:
            if not has_fit_parameter(self.estimator, "sample_weight"):
                msg = f"{name} accepts no sample_weight; omit it, or use another estimator"
                raise ConfigurationError(msg)
            options["sample_weight"] = np.repeat(bag_weights(sample_weight, len(y)), bags.sizes)
        labels = np.repeat(y, bags.sizes)
        self.estimator_ = clone(self.estimator).fit(bags.instances, labels, **options)
        if classifier:
            self.classes_ = self.estimator_.classes_
            if len(self.classes_) > 2 and self.pooling != "mean":
                msg = (
                    f"pooling={self.pooling!r} needs two classes, but there are "
                    f"{len(self.classes_)} classes; use pooling='mean'"
                )
                raise ConfigurationError(msg)
        return self

    def _of_instances(self, bags: RaggedBags) -> FloatArray:
        """Return predictions to pool (n_instances, n); for two classes only the positive one."""
        if not is_classifier(self.estimator):
            return np.asarray(self.estimator_.predict(bags.instances), np.float64)[:, None]
        probabilities = np.asarray(self.estimator_.predict_proba(bags.instances), np.float64)
        return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities

    def instance_predictions(self, X: Any) -> list[FloatArray]:
        """Return the prediction for each instance, before pooling.

        Returns
        -------
        list of ndarray
            One array for each bag.  For a regressor: the predicted numbers, shape (n_instances,).
            For a classifier with two classes: the probabilities of the positive class, shape
            (n_instances,).  For any other number of classes: the probabilities of all classes,
            shape (n_instances, n_classes).
        """
        check_is_fitted(self)
        bags = checked_bags(self, X)
        values = self._of_instances(bags)
        return bags.split(values[:, 0] if values.shape[1] == 1 else values)

    def _pooled(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        bags = checked_bags(self, X)
        values = RaggedBags(self._of_instances(bags), bags.offsets)
        return _SUMMARIES[self.pooling](values)

    def predict(self, X: Any) -> Any:
        """Return the predicted class or number of each bag, shape (n_bags,)."""
        check_is_fitted(self)
        if is_classifier(self.estimator):
            return self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return self._pooled(X)[:, 0]

    @available_if(lambda self: is_classifier(self.estimator))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each class, shape (n_bags, n_classes); classifiers only."""
        pooled = self._pooled(X)
        return np.hstack([1 - pooled, pooled]) if len(self.classes_) == 2 else pooled

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of a classifier, or R² of a regressor."""
        from sklearn.metrics import accuracy_score, r2_score

        measure = accuracy_score if is_classifier(self.estimator) else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        tags.target_tags.required = True
        return tags
