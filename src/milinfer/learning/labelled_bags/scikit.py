"""What estimators of labelled bags take from scikit-learn, or the extra to install it with."""

from milinfer.exceptions import ConfigurationError

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        RegressorMixin,
        TransformerMixin,
        clone,
    )
    from sklearn.utils import check_random_state, column_or_1d, compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        check_consistent_length,
        check_is_fitted,
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
    "RegressorMixin",
    "TransformerMixin",
    "check_classification_targets",
    "check_consistent_length",
    "check_is_fitted",
    "check_random_state",
    "clone",
    "column_or_1d",
    "compute_class_weight",
    "validate_data",
]
