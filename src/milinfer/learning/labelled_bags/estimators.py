"""Classify labelled bags, or predict a number for each bag, with scikit-learn's interface.

A bag of instances has one label, as in multiple-instance learning.  Pass bags as a list of tables,
a ragged awkward array or an array of three dimensions.  A plain table is also accepted, and each of
its rows is then a bag of one instance.  So scikit-learn's tools that pass plain tables work with
these estimators, too.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from scipy.special import expit, log_expit, log_softmax, logsumexp, softmax

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
    compute_class_weight,
)
from milinfer.learning.labelled_bags.weights import (
    TrainingBags,
    bag_weights,
    distinct_bags,
    weighted_moments,
)
from milinfer.typing import FloatArray, IntArray

__all__ = ["BagClassifier", "BagEstimator", "BagRegressor"]


_WEIGHTED = ("attention", "gated-attention", "noisy-or")
_ADDITIVE = ("mean", "sum", "attention", "gated-attention")


class BagEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base class of estimators of labelled bags: checks, training and key instances.

    The settings are described in :class:`milinfer.BagClassifier`.  `_rank_by` of a subclass is the
    default of the argument `by` of :meth:`key_instances`.
    """

    _rank_by: Literal["weights", "contributions"]

    def __init__(
        self,
        pooling: str = "attention",
        *,
        hidden: tuple[int, ...] = (64, 64),
        activation: str = "gelu",
        dropout: float = 0.0,
        l2: float = 1e-5,
        attention_width: int = 32,
        sharpness: float = 1.0,
        bag_hidden: tuple[int, ...] = (),
        epochs: int = 200,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        patience: int = 20,
        validation_fraction: float = 0.2,
        ensemble: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.pooling = pooling
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.l2 = l2
        self.attention_width = attention_width
        self.sharpness = sharpness
        self.bag_hidden = bag_hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.ensemble = ensemble
        self.random_state = random_state

    def _bags(self, X: Any, y: Any = None, *, reset: bool = False) -> RaggedBags:
        """Check bags, or a table of which each row is a bag; used in training and prediction."""
        bags = checked_bags(self, X, y, reset=reset)
        if reset and len(bags.sizes) < 2:
            msg = "X has one bag; training needs two bags or more, one of them for early stopping"
            raise SampleError(msg)
        return bags

    def _train(self, data: TrainingBags, n_outputs: int, loss: str) -> None:
        from milinfer.learning.labelled_bags.network import (
            BagFit,
            LabelledNetworkSpec,
            train_on_labels,
        )

        self._check_settings()
        self.mean_, self.scale_ = data.moments()
        bags = self._standardise(data.bags)
        fit = BagFit(
            loss=loss,
            epochs=int(self.epochs),
            patience=int(self.patience),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            l2=float(self.l2),
        )
        self.networks_, self.histories_ = [], []
        # Two seeds for each member; they do not depend on the number of members.
        seeds = np.random.SeedSequence(self._entropy()).spawn(2 * int(self.ensemble))
        for bags_seed, network_seed in zip(seeds[::2], seeds[1::2], strict=True):
            rng = np.random.default_rng(bags_seed)
            train, validation = self._split(data.targets, rng)
            spec = LabelledNetworkSpec(
                n_inputs=bags.instances.shape[1],
                n_outputs=n_outputs,
                hidden=tuple(int(w) for w in self.hidden),
                activation=self.activation,
                dropout=float(self.dropout),
                pooling=self.pooling,
                attention_width=int(self.attention_width),
                sharpness=float(self.sharpness),
                seed=int(network_seed.generate_state(1)[0]),
                bag_hidden=tuple(int(w) for w in self.bag_hidden),
            )
            network, history = train_on_labels(
                spec, bags, data.targets, train, validation, fit, rng, data.weights
            )
            self.networks_.append(network)
            self.histories_.append(history)
        self.n_iter_ = max(len(history["loss"]) for history in self.histories_)

    def _check_settings(self) -> None:
        """Raise if a setting has a value that is not allowed."""
        fraction = self.validation_fraction
        problems = [
            (
                any(w < 1 for w in self.hidden),
                f"hidden={self.hidden!r} must contain positive widths",
            ),
            (
                any(w < 1 for w in self.bag_hidden),
                f"bag_hidden={self.bag_hidden!r} must contain positive widths",
            ),
            (
                bool(self.bag_hidden) and self.pooling == "noisy-or",
                "noisy-or pooling allows no layers after it; leave bag_hidden empty",
            ),
            (not 0 <= self.dropout < 1, f"dropout={self.dropout} must be in [0, 1)"),
            (not self.l2 >= 0, f"l2={self.l2} must not be negative"),
            (not self.learning_rate > 0, f"learning_rate={self.learning_rate} must be positive"),
            (not 0 < fraction < 1, f"validation_fraction={fraction} must be between 0 and 1"),
            (self.epochs < 1, f"epochs={self.epochs} must be at least 1"),
            (self.batch_size < 1, f"batch_size={self.batch_size} must be at least 1"),
            (self.patience < 1, f"patience={self.patience} must be at least 1"),
            (self.ensemble < 1, f"ensemble={self.ensemble} must be at least 1"),
        ]
        for wrong, message in problems:
            if wrong:
                raise ConfigurationError(message)
        from milinfer.learning.networks.backend import keras

        try:
            keras.activations.get(self.activation)
        except ValueError as error:
            msg = f"Keras has no activation={self.activation!r}; use 'gelu' or 'relu'"
            raise ConfigurationError(msg) from error

    def _entropy(self) -> int:
        """Return a number from the random state, as scikit-learn uses it, or from a Generator."""
        if isinstance(self.random_state, np.random.Generator):
            return int(self.random_state.integers(2**31))
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _split(self, strata: FloatArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Split bags for training and early stopping, with similar labels in both parts.

        Bags of equal label are selected at random.
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
        """Return the outputs of every member, shape (ensemble, n_bags, n_outputs)."""
        check_is_fitted(self)
        scaled = self._standardise(self._bags(X))
        return np.stack([network.outputs(scaled) for network in self.networks_])

    def instance_weights(self, X: Any) -> list[FloatArray]:
        """Return the weight of every instance in the pooling.

        Parameters
        ----------
        X
            Bags.

        Returns
        -------
        list of ndarray
            One array of shape (n_instances,) for each bag.  With attention pooling, the weights of
            the instances of a bag add up to one.  With noisy-or pooling, the weight of an instance
            is the probability that the instance is positive.  For an ensemble, weights are means
            over the members.

        Raises
        ------
        ConfigurationError
            If the pooling has no instance weights.
        """
        check_is_fitted(self)
        pooling = self.networks_[0].spec.pooling
        if pooling not in _WEIGHTED:
            msg = (
                f"{pooling} pooling gives instances no weights; use pooling= "
                f"one of {', '.join(_WEIGHTED)}"
            )
            raise ConfigurationError(msg)
        bags = self._bags(X)
        scaled = self._standardise(bags)
        members = [network.instance_weights(scaled) for network in self.networks_]
        return bags.split(np.mean(members, axis=0))

    def instance_contributions(self, X: Any) -> list[FloatArray]:
        """Return the contribution of each instance: its weight times its output of the last layer.

        The prediction of a regressor, or the decision function of a classifier, is the sum of the
        contributions of the bag plus a constant that is the same for all bags.  For an ensemble the
        contributions are means over the members.  An ensemble of classifiers averages
        probabilities.  The sum of its contributions is therefore not its own decision function but
        the mean of the decision functions of the members (without the constant).

        Parameters
        ----------
        X
            Bags.

        Returns
        -------
        list of ndarray
            One array for each bag, of shape (n_instances,), or (n_instances, n_classes) for three
            or more classes.

        Raises
        ------
        ConfigurationError
            If the prediction is not a sum over instances: for noisy-or, max and log-sum-exp
            pooling, and with `bag_hidden`.
        """
        check_is_fitted(self)
        pooling = self.networks_[0].spec.pooling
        if self.networks_[0].spec.bag_hidden:
            msg = "with bag_hidden a prediction is not a sum over instances; leave it empty"
            raise ConfigurationError(msg)
        if pooling not in _ADDITIVE:
            msg = (
                f"with {pooling} pooling a prediction is not a sum over instances; "
                f"use pooling= one of {', '.join(_ADDITIVE)}"
            )
            raise ConfigurationError(msg)
        bags = self._bags(X)
        scaled = self._standardise(bags)
        members = [
            network.instance_weights(scaled)[:, None] * network.instance_outputs(scaled)
            for network in self.networks_
        ]
        parts = np.mean(members, axis=0) * self._unit()
        return bags.split(parts[:, 0] if parts.shape[1] == 1 else parts)

    def _unit(self) -> float:
        return 1.0

    def key_instances(
        self, X: Any, by: Literal["weights", "contributions"] | None = None
    ) -> list[IntArray]:
        """Rank the instances of each bag, the most important instance first.

        Parameters
        ----------
        X
            Bags.
        by
            Measure of importance: ``"weights"`` (:meth:`instance_weights`), the default of a
            classifier, or ``"contributions"`` (:meth:`instance_contributions`), the default of a
            regressor. (The weights of a regressor do not tell how much an instance contributes.)

        Returns
        -------
        list of ndarray
            Indices of the instances in each bag, shape (n_instances,).  Instances of equal
            importance keep their order.

        Raises
        ------
        ConfigurationError
            If the pooling has no weights or contributions, or `by` is unknown.
        """
        by = self._rank_by if by is None else by
        if by not in {"weights", "contributions"}:
            msg = f"by={by!r} is neither 'weights' nor 'contributions'; use one of these"
            raise ConfigurationError(msg)
        values = self.instance_weights(X) if by == "weights" else self.instance_contributions(X)
        if values[0].ndim > 1:
            msg = "contributions differ from class to class; rank by='weights'"
            raise ConfigurationError(msg)
        return [np.argsort(-v, kind="stable") for v in values]


class BagClassifier(ClassifierMixin, BagEstimator):  # type: ignore[misc]  # as above
    """Classify bags with a neural network and a choice of poolings, such as attention or noisy-or.

    Parameters
    ----------
    pooling
        Rule that combines the instances of a bag, a name in
        :data:`milinfer.learning.networks.pooling.POOLINGS`.  Noisy-or allows two classes only.
    hidden, activation, dropout
        Widths, activation function and dropout rate of the layers that process an instance before
        the pooling.
    l2
        Factor on the sum of squared weights in the loss.
    attention_width, sharpness
        See :class:`milinfer.learning.networks.pooling.BagPooling`.
    bag_hidden
        Widths of layers between the pooling and the last layer.  Use them if the label depends on a
        combination of instances, for example if a bag is positive when it contains one of two kinds
        of instances but not both.
    epochs
        Largest number of epochs.
    batch_size
        Number of bags in a batch.
    learning_rate
        Initial learning rate of the Adam optimiser.
    patience
        Number of epochs without a lower validation loss after which the learning rate is halved.
        The training stops after twice this number of epochs, and the best weights are restored.
    validation_fraction
        Fraction of the bags used for early stopping.
    ensemble
        Number of networks, whose probabilities are averaged.  Each network has its own initial
        weights, order of bags, and bags for early stopping.
    class_weight
        Weights of the classes in the loss: a dictionary from label to weight, or ``"balanced"`` for
        equal total weight of all classes.  They multiply the weights of the bags.
    random_state
        Seed (int), ``numpy.random.RandomState`` or ``Generator``.  None: the global state of numpy,
        as in scikit-learn.  The same seed gives the same result for any order of the bags.  The
        first networks of a large ensemble are those of a smaller ensemble with the same seed.

    Attributes
    ----------
    classes_
        Labels in sorted order.  If there are two, the second is the positive class.
    n_features_in_
        Number of features of an instance.
    mean_
        Weighted mean of each feature over the instances of all bags.
    scale_
        Standard deviation of each feature; 1 for a constant feature.
    histories_
        ``loss`` and ``val_loss`` of every epoch, one dictionary for each network.
    n_iter_
        Number of epochs of the network that was trained longest.
    networks_
        :class:`milinfer.learning.labelled_bags.network.LabelledNetwork` of each ensemble member.

    Examples
    --------
    The bags contain one to five numbers, and are positive if one of them is large:

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

    def __init__(
        self,
        pooling: str = "attention",
        *,
        hidden: tuple[int, ...] = (64, 64),
        activation: str = "gelu",
        dropout: float = 0.0,
        l2: float = 1e-3,
        attention_width: int = 32,
        sharpness: float = 1.0,
        bag_hidden: tuple[int, ...] = (),
        epochs: int = 200,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        patience: int = 20,
        validation_fraction: float = 0.2,
        ensemble: int = 1,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(
            pooling,
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            l2=l2,
            attention_width=attention_width,
            sharpness=sharpness,
            bag_hidden=bag_hidden,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            validation_fraction=validation_fraction,
            ensemble=ensemble,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BagClassifier:
        """Train the classifier.

        Parameters
        ----------
        X
            Bags: a list of tables of shape (n_instances, n_features), a ragged awkward array, or an
            array of shape (n_bags, n_instances, n_features).  In a plain table of shape (n_bags,
            n_features) each row is a bag of one instance.
        y
            Labels, shape (n_bags,).
        sample_weight
            Weight of each bag in the loss, in early stopping and in the standardisation of the
            features, shape (n_bags,).  None: all bags have weight 1.  Weight 3 has the same effect
            as three copies of the bag; weight 0 has the same effect as leaving the bag out.
            Identical bags with the same label are merged into one bag, which gets the sum of their
            weights.

        Raises
        ------
        SampleError
            If a bag is empty, contains numbers that are not finite, or has a negative weight; the
            message names the bag.
        ConfigurationError
            If a setting has a value that is not allowed.
        ModelError
            If all bags have the same label, or the loss is not finite.
        """
        bags = self._bags(X, y, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(bags.sizes, y)
        check_classification_targets(y)
        weights = bag_weights(sample_weight, len(y))
        self.classes_, targets = np.unique(y[weights > 0], return_inverse=True)
        n_classes = len(self.classes_)
        if n_classes < 2:
            msg = f"all bags are of one class ({self.classes_[0]!r}); a classifier needs two"
            raise ModelError(msg)
        if n_classes > 2 and self.pooling == "noisy-or":
            msg = (
                "Only binary classification is supported. noisy-or pooling works for two classes, "
                f"not {n_classes}; use 'attention'"
            )
            raise ConfigurationError(msg)
        counted = np.flatnonzero(weights > 0)
        data = distinct_bags(bags.take(counted), targets.astype(np.float64), weights[counted])
        data = data.reweighted(self._class_weights(data)[data.targets.astype(np.int64)])
        self._train(data, *((1, "binary") if n_classes == 2 else (n_classes, "classes")))
        return self

    def _class_weights(self, data: TrainingBags) -> FloatArray:
        """Return the weight of each class, shape (n_classes,)."""
        if self.class_weight is None:
            return np.ones(len(self.classes_))
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                msg = f"class_weight={self.class_weight!r} is neither 'balanced' nor a dictionary"
                raise ConfigurationError(msg)
            totals = np.bincount(data.targets.astype(np.int64), data.weights)
            return np.asarray(totals.sum() / (len(totals) * totals))
        try:
            weights = compute_class_weight(
                dict(self.class_weight), classes=self.classes_, y=self.classes_
            )
        except (TypeError, ValueError) as error:
            msg = f"class_weight={self.class_weight!r}: {error}"
            raise ConfigurationError(msg) from error
        if not np.all((weights > 0) & np.isfinite(weights)):
            msg = f"class_weight={self.class_weight!r} must contain positive, finite weights"
            raise ConfigurationError(msg)
        return np.asarray(weights, dtype=np.float64)

    def decision_function(self, X: Any) -> FloatArray:
        """Return the decision function of each bag.

        With two classes, it is the log-odds of the positive class, shape (n_bags,).  With more
        classes, it is the logit of each class, shape (n_bags, n_classes).
        """
        outputs = self._outputs(X)
        binary = outputs.shape[-1] == 1
        if len(outputs) == 1:
            return outputs[0, :, 0] if binary else outputs[0]
        # Logarithms of mean probabilities, without computing 1 - p.
        if binary:
            positive, negative = log_expit(outputs[..., 0]), log_expit(-outputs[..., 0])
            return np.asarray(logsumexp(positive, axis=0) - logsumexp(negative, axis=0))
        return np.asarray(logsumexp(log_softmax(outputs, axis=2), axis=0) - np.log(len(outputs)))

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each class, shape (n_bags, n_classes)."""
        logits = self.decision_function(X)
        if logits.ndim > 1:
            return np.asarray(softmax(logits, axis=1))
        return np.stack([expit(-logits), expit(logits)], axis=1)

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each bag, shape (n_bags,)."""
        logits = self.decision_function(X)
        chosen = np.argmax(logits, axis=1) if logits.ndim > 1 else (logits > 0).astype(np.int64)
        return self.classes_[chosen]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.pooling != "noisy-or"
        return tags


class BagRegressor(RegressorMixin, BagEstimator):  # type: ignore[misc]  # as above
    """Predict a number for each bag with a neural network.

    Parameters
    ----------
    pooling
        Rule that combines the instances of a bag, a name in
        :data:`milinfer.learning.networks.pooling.POOLINGS` except noisy-or.
    hidden, activation, dropout, l2, attention_width, sharpness, bag_hidden
        Layers and pooling, as for :class:`BagClassifier`.
    epochs, batch_size, learning_rate, patience, validation_fraction
        Settings of the training, as for :class:`BagClassifier`.
    ensemble
        Number of networks, whose predictions are averaged.
    random_state
        Random seed or generator, as for :class:`BagClassifier`.

    Attributes
    ----------
    n_features_in_
        Number of features of an instance.
    mean_
        Weighted mean of each feature over the instances of all bags.
    scale_
        Standard deviation of each feature; 1 for a constant feature.
    y_mean_
        Weighted mean of the training targets `y`.
    y_scale_
        Standard deviation of the training targets; 1 if they are all equal.
    histories_
        ``loss`` and ``val_loss`` of every epoch, one dictionary for each network.  The loss is the
        mean squared error in units of the variance of the targets.
    n_iter_
        Number of epochs of the network that was trained longest.
    networks_
        :class:`milinfer.learning.labelled_bags.network.LabelledNetwork` of each ensemble member.

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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BagRegressor:
        """Train the regressor.

        Parameters
        ----------
        X
            Bags, as for :meth:`BagClassifier.fit`.
        y
            Number to predict for each bag, shape (n_bags,).
        sample_weight
            Weights of the bags, as for :meth:`BagClassifier.fit`.

        Raises
        ------
        SampleError
            If a bag or its number is invalid; the message names the bag.
        ConfigurationError
            If a setting has a value that is not allowed.
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
            msg = f"y of bag {wrong[0]} is {y[wrong[0]]}; fix or remove bags with NaN or infinity"
            raise SampleError(msg)
        weights = bag_weights(sample_weight, len(y))
        counted = np.flatnonzero(weights > 0)
        data = distinct_bags(bags.take(counted), y[counted], weights[counted])
        self.y_mean_, self.y_scale_ = (
            float(moment[0]) for moment in weighted_moments(data.targets[:, None], data.weights)
        )
        targets = (data.targets - self.y_mean_) / self.y_scale_
        self._train(data._replace(targets=targets), 1, "squared")
        return self

    def _unit(self) -> float:
        return float(self.y_scale_)

    def predict(self, X: Any) -> FloatArray:
        """Return the predicted number of each bag, shape (n_bags,)."""
        return np.asarray(self._outputs(X).mean(axis=0)[:, 0] * self.y_scale_ + self.y_mean_)
