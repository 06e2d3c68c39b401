"""Import scikit-learn for estimators of labelled bags, or say how to install it."""

from milinfer.exceptions import ConfigurationError

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        MetaEstimatorMixin,
        RegressorMixin,
        TransformerMixin,
        clone,
        is_classifier,
    )
    from sklearn.utils import check_random_state, column_or_1d, compute_class_weight, get_tags
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        check_consistent_length,
        check_is_fitted,
        has_fit_parameter,
        validate_data,
    )
except ImportError as error:
    msg = (
        "estimators of labelled bags need scikit-learn 1.6 or later; install it with: "
        'pip install "milinfer[sklearn]"'
    )
    raise ConfigurationError(msg) from error

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "MetaEstimatorMixin",
    "RegressorMixin",
    "TransformerMixin",
    "available_if",
    "check_classification_targets",
    "check_consistent_length",
    "check_is_fitted",
    "check_random_state",
    "clone",
    "column_or_1d",
    "compute_class_weight",
    "get_tags",
    "has_fit_parameter",
    "is_classifier",
    "validate_data",
]
