"""`BagClassifier` and `BagRegressor`: labelled bags with the interface of scikit-learn.

One label belongs to a bag of instances, as in multiple-instance learning.  Bags come as a list of
tables, as a ragged awkward array or as an array of three dimensions.  A plain table has one
instance in each bag, so that whatever works with estimators of scikit-learn works with these.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from milinfer.bag_estimator_base import BagEstimator  # first: it says what to install
from milinfer.exceptions import ConfigurationError, ModelError, SampleError
from milinfer.ragged import RaggedBags, is_bags, ragged_bags
from milinfer.typing import FloatArray

# isort: split
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

__all__ = ["BagClassifier", "BagRegressor", "InstanceTransformer"]


class BagClassifier(ClassifierMixin, BagEstimator):  # type: ignore[misc]  # as above
    """Classifier of bags, with attention, noisy-or or any other pooling.

    Parameters
    ----------
    pooling
        One of :data:`milinfer.pooling.POOLINGS`; noisy-or is for two classes.
    hidden, activation, dropout
        Layers of the embedding of an instance.
    l2
        Factor of the sum of squared weights in the loss.
    attention_width, sharpness
        See :class:`milinfer.pooling.BagPooling`.
    epochs
        Upper limit.
    batch_size
        Bags in a batch.
    learning_rate
        Adam's, at the start.
    patience
        Epochs without a better validation loss before the learning rate is halved; training stops
        after twice as many, and the best weights come back.
    validation_fraction
        Fraction of the bags that the training stops by.
    random_state
        Seed (int), ``numpy.random.RandomState`` or ``Generator``; None is the global state of
        numpy, as everywhere in scikit-learn.  The same seed gives the same result.

    Attributes
    ----------
    classes_
        Labels, sorted; the last of two is the positive one.
    n_features_in_
        Features of an instance.
    mean_
        Of the features, over the instances trained on.
    scale_
        Their standard deviations; 1 where all instances are alike.
    history_
        ``loss`` and ``val_loss`` of every epoch.
    n_iter_
        Number of epochs.
    network_
        :class:`milinfer.bag_network.LabelledNetwork`.

    Examples
    --------
    Bags of one to five numbers, positive if one of them is large:

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bags = [rng.uniform(size=(n, 1)) for n in rng.integers(1, 6, 400)]
    >>> labels = np.array([bag.max() > 0.8 for bag in bags])
    >>> model = BagClassifier("noisy-or", hidden=(16,), random_state=1)
    >>> model = model.fit(bags[:300], labels[:300])
    >>> model.score(bags[300:], labels[300:]) > 0.9
    True
    >>> model.key_instances([np.array([[0.1], [0.95], [0.2]])])[0][0]
    np.int64(1)
    """

    _rank_by = "weights"

    def fit(self, X: Any, y: Any) -> BagClassifier:
        """Train.

        Parameters
        ----------
        X
            Bags: a list of tables (n_instances, n_features), a ragged awkward array, or an array
            (n_bags, n_instances, n_features); a table (n_bags, n_features) has bags of one.
        y
            Labels, shape (n_bags,).

        Raises
        ------
        SampleError
            If the bags are not right; names the bag.
        ConfigurationError
            If a setting cannot work.
        ModelError
            If there is one class only, or the loss is not finite.
        """
        bags = self._bags(X, y, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(bags.sizes, y)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        n_classes = len(self.classes_)
        if n_classes < 2:
            msg = f"all bags are of one class ({self.classes_[0]!r}); a classifier needs two"
            raise ModelError(msg)
        if n_classes > 2 and self.pooling == "noisy-or":
            msg = f"noisy-or pooling tells two classes apart, not {n_classes}; use 'attention'"
            raise ConfigurationError(msg)
        binary = n_classes == 2
        values = targets.astype(np.float64)
        n_outputs, loss = (1, "binary") if binary else (n_classes, "classes")
        self._train(bags, values, values, n_outputs, loss)
        return self

    def decision_function(self, X: Any) -> FloatArray:
        """Log-odds of the positive class (n_bags,), or logits (n_bags, n_classes) of more."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict_proba(self, X: Any) -> FloatArray:
        """Probability of each class, shape (n_bags, n_classes)."""
        from scipy.special import expit, softmax

        outputs = self._outputs(X)
        if outputs.shape[1] > 1:
            return np.asarray(softmax(outputs, axis=1))
        return np.concatenate([expit(-outputs), expit(outputs)], axis=1)

    def predict(self, X: Any) -> Any:
        """Most probable class of each bag, shape (n_bags,)."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            return self.classes_[(outputs[:, 0] > 0).astype(np.int64)]
        return self.classes_[np.argmax(outputs, axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.pooling != "noisy-or"
        return tags


class BagRegressor(RegressorMixin, BagEstimator):  # type: ignore[misc]  # as above
    """Regression of a number that belongs to a bag.

    Parameters
    ----------
    pooling
        One of :data:`milinfer.pooling.POOLINGS` but noisy-or.
    hidden, activation, dropout
        Layers of the embedding of an instance.
    l2
        Factor of the sum of squared weights in the loss.
    attention_width, sharpness
        See :class:`milinfer.pooling.BagPooling`.
    epochs
        Upper limit.
    batch_size
        Bags in a batch.
    learning_rate
        Adam's, at the start.
    patience
        Epochs without a better validation loss before the learning rate is halved; training stops
        after twice as many, and the best weights come back.
    validation_fraction
        Fraction of the bags that the training stops by.
    random_state
        Seed (int), ``numpy.random.RandomState`` or ``Generator``; None is the global state of
        numpy, as everywhere in scikit-learn.  The same seed gives the same result.

    Attributes
    ----------
    n_features_in_
        Features of an instance.
    mean_
        Of the features, over the instances trained on.
    scale_
        Their standard deviations; 1 where all instances are alike.
    y_mean_
        Of the numbers to learn.
    y_scale_
        Their standard deviation; 1 where all are alike.
    history_
        ``loss`` and ``val_loss`` of every epoch, in units of the variance.
    n_iter_
        Number of epochs.
    network_
        :class:`milinfer.bag_network.LabelledNetwork`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bags = [rng.uniform(size=(n, 1)) for n in rng.integers(1, 6, 400)]
    >>> means = np.array([bag.mean() for bag in bags])
    >>> model = BagRegressor("mean", hidden=(16,), random_state=1).fit(bags[:300], means[:300])
    >>> model.score(bags[300:], means[300:]) > 0.95
    True
    >>> model.key_instances([np.array([[0.1], [0.95], [0.2]])])
    [array([1, 2, 0])]
    """

    _rank_by = "contributions"

    def fit(self, X: Any, y: Any) -> BagRegressor:
        """Train.

        Parameters
        ----------
        X
            Bags, as for :meth:`BagClassifier.fit`.
        y
            Numbers, shape (n_bags,).

        Raises
        ------
        SampleError
            If the bags or the numbers are not right; names the bag.
        ConfigurationError
            If a setting cannot work.
        ModelError
            If the loss is not finite.
        """
        if self.pooling == "noisy-or":
            msg = "noisy-or pooling gives probabilities; use 'mean' or 'attention' for regression"
            raise ConfigurationError(msg)
        bags = self._bags(X, y, reset=True)
        y = column_or_1d(y, warn=True).astype(np.float64)
        check_consistent_length(bags.sizes, y)
        wrong = np.flatnonzero(~np.isfinite(y))
        if len(wrong):
            msg = f"y of bag {wrong[0]} is {y[wrong[0]]}; mend or leave out what is NaN or infinity"
            raise SampleError(msg)
        self.y_mean_, spread = float(y.mean()), float(y.std())
        self.y_scale_ = spread if spread > 0 else 1.0
        self._train(bags, (y - self.y_mean_) / self.y_scale_, y, 1, "squared")
        return self

    def _unit(self) -> float:
        return float(self.y_scale_)

    def predict(self, X: Any) -> FloatArray:
        """Predicted number of each bag, shape (n_bags,)."""
        return self._outputs(X)[:, 0] * self.y_scale_ + self.y_mean_


class InstanceTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # as above
    """A transformer of scikit-learn applied to the instances of bags, for pipelines.

    Parameters
    ----------
    transformer
        Such as ``StandardScaler()`` or ``PCA(8)``; it is cloned, and sees all instances of the
        bags as one table.

    Attributes
    ----------
    transformer_
        The fitted one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> bags = [np.array([[1.0], [3.0]]), np.array([[2.0]])]
    >>> InstanceTransformer(MinMaxScaler()).fit_transform(bags)
    [array([[0.], [1.]]), array([[0.5]])]
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def fit(self, X: Any, y: Any = None) -> InstanceTransformer:  # noqa: ARG002
        """Fit to the instances of bags; labels belong to bags and are not used."""
        self.transformer_ = clone(self.transformer).fit(_only_bags(X).instances)
        return self

    def transform(self, X: Any) -> list[FloatArray]:
        """Bags with their instances transformed, as a list of tables."""
        check_is_fitted(self)
        bags = _only_bags(X)
        return bags.split(np.asarray(self.transformer_.transform(bags.instances)))


def _only_bags(data: Any) -> RaggedBags:
    if not is_bags(data):
        msg = "X is a plain table; use the transformer without InstanceTransformer, or pass bags"
        raise SampleError(msg)
    return ragged_bags(data)
