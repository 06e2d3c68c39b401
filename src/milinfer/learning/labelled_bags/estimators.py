"""`BagClassifier` and `BagRegressor`: labelled bags with the interface of scikit-learn.

A bag of instances has one label, as in multiple-instance learning.  Bags are a list of tables, a
ragged awkward array or an array of three dimensions.  A plain table has one instance in each bag,
so that everything that works with estimators of scikit-learn works with these.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError, SampleError
from milinfer.learning.labelled_bags.checks import checked_bags
from milinfer.learning.labelled_bags.ragged import RaggedBags
from milinfer.learning.labelled_bags.scikit import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    check_classification_targets,
    check_consistent_length,
    check_is_fitted,
    check_random_state,
    column_or_1d,
)
from milinfer.typing import FloatArray, IntArray

if TYPE_CHECKING:
    from milinfer.learning.labelled_bags.network import LabelledNetwork

__all__ = ["BagClassifier", "BagEstimator", "BagRegressor"]


_WEIGHTED = ("attention", "gated-attention", "noisy-or")
_ADDITIVE = ("mean", "sum", "attention", "gated-attention")


class BagEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base class of estimators of labelled bags: checks, training and key instances.

    :class:`milinfer.BagClassifier` describes the settings.  `_rank_by` of a subclass is the default
    of :meth:`key_instances`.
    """

    _rank_by: Literal["weights", "contributions"]

    def __init__(
        self,
        pooling: str = "attention",
        *,
        hidden: tuple[int, ...] = (64, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        l2: float = 1e-5,
        attention_width: int = 32,
        sharpness: float = 1.0,
        epochs: int = 200,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        patience: int = 5,
        validation_fraction: float = 0.2,
        random_state: Any = 0,
    ) -> None:
        self.pooling = pooling
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.l2 = l2
        self.attention_width = attention_width
        self.sharpness = sharpness
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _bags(self, X: Any, y: Any = None, *, reset: bool = False) -> RaggedBags:
        """Check bags, or a table as bags of one; the same checks in training and prediction."""
        bags = checked_bags(self, X, y, reset=reset)
        if reset and len(bags.sizes) < 2:
            msg = "X has one bag; training needs two bags or more, one of them to stop by"
            raise SampleError(msg)
        return bags

    def _train(
        self, bags: RaggedBags, targets: FloatArray, strata: FloatArray, n_outputs: int, loss: str
    ) -> None:
        from milinfer.learning.labelled_bags.network import (
            BagFit,
            LabelledNetworkSpec,
            train_on_labels,
        )

        self._check_settings()
        seeds = np.random.SeedSequence(self._entropy()).spawn(2)
        rng = np.random.default_rng(seeds[0])
        train, validation = self._split(strata, rng)
        instances = np.concatenate([bags.instances[a:b] for a, b in _spans(bags.offsets, train)])
        self.mean_ = instances.mean(axis=0)
        scale = instances.std(axis=0)
        self.scale_ = np.where(scale > 0, scale, 1.0)
        spec = LabelledNetworkSpec(
            n_inputs=bags.instances.shape[1],
            n_outputs=n_outputs,
            hidden=tuple(int(w) for w in self.hidden),
            activation=self.activation,
            dropout=float(self.dropout),
            pooling=self.pooling,
            attention_width=int(self.attention_width),
            sharpness=float(self.sharpness),
            seed=int(seeds[1].generate_state(1)[0]),
        )
        fit = BagFit(
            loss=loss,
            epochs=int(self.epochs),
            patience=int(self.patience),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            l2=float(self.l2),
        )
        self.network_, self.history_ = train_on_labels(
            spec, self._standardise(bags), targets, train, validation, fit, rng
        )
        self.n_iter_ = len(self.history_["loss"])

    def _check_settings(self) -> None:
        """Refuse settings that cannot work."""
        fraction = self.validation_fraction
        problems = [
            (any(w < 1 for w in self.hidden), f"hidden={self.hidden!r} must hold positive widths"),
            (not 0 <= self.dropout < 1, f"dropout={self.dropout} must be in [0, 1)"),
            (not self.l2 >= 0, f"l2={self.l2} must not be negative"),
            (not self.learning_rate > 0, f"learning_rate={self.learning_rate} must be positive"),
            (not 0 < fraction < 1, f"validation_fraction={fraction} must be between 0 and 1"),
            (self.epochs < 1, f"epochs={self.epochs} must be at least 1"),
            (self.batch_size < 1, f"batch_size={self.batch_size} must be at least 1"),
            (self.patience < 1, f"patience={self.patience} must be at least 1"),
        ]
        for wrong, message in problems:
            if wrong:
                raise ConfigurationError(message)
        from milinfer.learning.networks.backend import keras

        try:
            keras.activations.get(self.activation)
        except ValueError as error:
            msg = f"Keras does not know activation={self.activation!r}; take 'relu' or 'elu'"
            raise ConfigurationError(msg) from error

    def _entropy(self) -> int:
        """A number from the random state, as scikit-learn takes it, or from a Generator."""
        if isinstance(self.random_state, np.random.Generator):
            return int(self.random_state.integers(2**31))
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _split(self, strata: FloatArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Split bags for training and early stopping, evenly along the labels.

        Bags of equal label are taken at random.
        """
        n = len(strata)
        order = rng.permutation(n)
        order = order[np.argsort(strata[order], kind="stable")]
        n_validation = min(n - 1, max(1, round(self.validation_fraction * n)))
        steps = (np.arange(n_validation) + rng.random()) * n / n_validation
        held_out = np.zeros(n, bool)
        held_out[np.floor(steps).astype(np.int64)] = True
        return np.sort(order[~held_out]), np.sort(order[held_out])

    def _standardise(self, bags: RaggedBags) -> RaggedBags:
        return RaggedBags((bags.instances - self.mean_) / self.scale_, bags.offsets)

    def _outputs(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        network: LabelledNetwork = self.network_
        return network.outputs(self._standardise(self._bags(X)))

    def instance_weights(self, X: Any) -> list[FloatArray]:
        """Weight of every instance.

        Parameters
        ----------
        X
            Bags.

        Returns
        -------
        list of ndarray
            One array of shape (n_instances,) for each bag: the attention paid to each instance,
            which sums to one, or with noisy-or pooling the probability that it is positive.

        Raises
        ------
        ConfigurationError
            If the pooling has no weights.
        """
        check_is_fitted(self)
        if self.network_.spec.pooling not in _WEIGHTED:
            msg = (
                f"{self.network_.spec.pooling} pooling gives instances no weights; use pooling= "
                f"one of {', '.join(_WEIGHTED)}"
            )
            raise ConfigurationError(msg)
        bags = self._bags(X)
        return bags.split(self.network_.instance_weights(self._standardise(bags)))

    def instance_contributions(self, X: Any) -> list[FloatArray]:
        """Contributions to the prediction: instance weight times output of the last layer.

        Their sum over a bag is the prediction (of a classifier: its decision function) minus a
        constant that is the same for all bags.

        Parameters
        ----------
        X
            Bags.

        Returns
        -------
        list of ndarray
            One array for each bag: shape (n_instances,), and (n_instances, n_classes) with three
            or more classes.

        Raises
        ------
        ConfigurationError
            If the prediction is not such a sum (noisy-or, max, log-sum-exp).
        """
        check_is_fitted(self)
        network = self.network_
        if network.spec.pooling not in _ADDITIVE:
            msg = (
                f"with {network.spec.pooling} pooling a prediction is not a sum over instances; "
                f"use pooling= one of {', '.join(_ADDITIVE)}"
            )
            raise ConfigurationError(msg)
        bags = self._bags(X)
        scaled = self._standardise(bags)
        weights = network.instance_weights(scaled)[:, None]
        parts = weights * network.instance_outputs(scaled) * self._unit()
        return bags.split(parts[:, 0] if parts.shape[1] == 1 else parts)

    def _unit(self) -> float:
        return 1.0

    def key_instances(
        self, X: Any, by: Literal["weights", "contributions"] | None = None
    ) -> list[IntArray]:
        """Instances of each bag, the most important one first.

        Parameters
        ----------
        X
            Bags.
        by
            ``"weights"`` (:meth:`instance_weights`; the default of a classifier) or
            ``"contributions"`` (:meth:`instance_contributions`; the default of a regressor, whose
            weights measure how much an instance counts, but not how large it is).

        Returns
        -------
        list of ndarray
            Numbers of the instances in each bag, shape (n_instances,); equal ones keep their order.

        Raises
        ------
        ConfigurationError
            If the pooling has no such weights or contributions, or `by` is unknown.
        """
        by = self._rank_by if by is None else by
        if by not in {"weights", "contributions"}:
            msg = f"by={by!r} is neither 'weights' nor 'contributions'"
            raise ConfigurationError(msg)
        values = self.instance_weights(X) if by == "weights" else self.instance_contributions(X)
        if values[0].ndim > 1:
            msg = "contributions differ from class to class; rank by='weights'"
            raise ConfigurationError(msg)
        return [np.argsort(-v, kind="stable") for v in values]


def _spans(offsets: IntArray, chosen: IntArray) -> list[tuple[int, int]]:
    return [(int(offsets[b]), int(offsets[b + 1])) for b in chosen]


# isort: split


class BagClassifier(ClassifierMixin, BagEstimator):  # type: ignore[misc]  # as above
    """Classifier of bags, with attention, noisy-or or any other pooling.

    Parameters
    ----------
    pooling
        One of :data:`milinfer.learning.networks.pooling.POOLINGS`; noisy-or is for two classes.
    hidden, activation, dropout
        Layers of the embedding of an instance.
    l2
        Factor of the sum of squared weights in the loss.
    attention_width, sharpness
        See :class:`milinfer.learning.networks.pooling.BagPooling`.
    epochs
        Largest number of epochs.
    batch_size
        Bags in a batch.
    learning_rate
        Learning rate of Adam at the start.
    patience
        Epochs without a better validation loss before the learning rate is halved; training stops
        after twice as many, and the best weights are restored.
    validation_fraction
        Fraction of the bags used for early stopping.
    random_state
        Seed (int), ``numpy.random.RandomState`` or ``Generator``; None uses the global state of
        numpy, as everywhere in scikit-learn.  The same seed gives the same result.

    Attributes
    ----------
    classes_
        Labels, sorted; the last of two is the positive one.
    n_features_in_
        Features of an instance.
    mean_
        Mean of each feature over the instances trained on.
    scale_
        Their standard deviations; 1 for a constant feature.
    history_
        ``loss`` and ``val_loss`` of every epoch.
    n_iter_
        Number of epochs.
    network_
        :class:`milinfer.learning.labelled_bags.network.LabelledNetwork`.

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
            If a bag is empty or has wrong numbers; names the bag.
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
        One of :data:`milinfer.learning.networks.pooling.POOLINGS` except noisy-or.
    hidden, activation, dropout, l2, attention_width, sharpness
        Layers and pooling, as for :class:`BagClassifier`.
    epochs, batch_size, learning_rate, patience, validation_fraction
        Training, as for :class:`BagClassifier`.
    random_state
        Source of randomness, as for :class:`BagClassifier`.

    Attributes
    ----------
    n_features_in_
        Features of an instance.
    mean_
        Mean of each feature over the instances trained on.
    scale_
        Their standard deviations; 1 for a constant feature.
    y_mean_
        Mean of the numbers to learn.
    y_scale_
        Their standard deviation; 1 if all are equal.
    history_
        ``loss`` and ``val_loss`` of every epoch, in units of the variance.
    n_iter_
        Number of epochs.
    network_
        :class:`milinfer.learning.labelled_bags.network.LabelledNetwork`.

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
            If a bag or its number is wrong; names the bag.
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
            msg = (
                f"y of bag {wrong[0]} is {y[wrong[0]]}; fix or leave out bags with NaN or infinity"
            )
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
