"""`InstanceTransformer`: transformers of scikit-learn applied to the instances of bags.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import issparse

from milinfer.exceptions import ConfigurationError
from milinfer.learning.labelled_bags.checks import checked_bags
from milinfer.learning.labelled_bags.ragged import is_bags
from milinfer.learning.labelled_bags.scikit import (
    BaseEstimator,
    TransformerMixin,
    check_is_fitted,
    clone,
)
from milinfer.typing import FloatArray

__all__ = ["InstanceTransformer"]


# The inner transformer makes the tables that `set_output` asks for: no wrapping of lists of them.
class InstanceTransformer(  # type: ignore[call-arg]  # scikit-learn is untyped
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
    auto_wrap_output_keys=None,
):
    """Transformer of scikit-learn applied to the instances of bags, for pipelines.

    Parameters
    ----------
    transformer
        Such as ``StandardScaler()`` or ``PCA(8)``; it is cloned, and fitted to all instances of the
        bags as one table: one of pandas where features have names, so that a ``ColumnTransformer``
        can choose columns by name.

    Attributes
    ----------
    transformer_
        The fitted one.
    n_features_in_
        Features of an instance.
    feature_names_in_
        Their names, if bags are tables with names.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> bags = [np.array([[1.0], [3.0]]), np.array([[2.0]])]
    >>> InstanceTransformer(MinMaxScaler()).fit_transform(bags)
    [array([[0.], [1.]]), array([[0.5]])]

    With names, and tables as the result:

    >>> import pandas as pd
    >>> tables = [pd.DataFrame(bag, columns=["pt"]) for bag in bags]
    >>> scaler = InstanceTransformer(MinMaxScaler()).set_output(transform="pandas")
    >>> scaler.fit_transform(tables)[0]
        pt
    0  0.0
    1  1.0
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def fit(self, X: Any, y: Any = None) -> InstanceTransformer:  # noqa: ARG002
        """Fit to the instances of bags, or to a table; labels belong to bags and are not used."""
        bags = checked_bags(self, X, reset=True, least=1)
        transformer = clone(self.transformer)
        self._set_inner_output(transformer)
        self.transformer_ = transformer.fit(self._named(bags.instances))
        return self

    def transform(self, X: Any) -> Any:
        """Bags with their instances transformed, as a list of tables; of a table, a table."""
        check_is_fitted(self)
        bags = checked_bags(self, X)
        values = self.transformer_.transform(self._named(bags.instances))
        if issparse(values):
            values = values.toarray()
        if not is_bags(X):
            return _with_index(values, X)
        rows = getattr(values, "iloc", values)
        parts = [rows[a:b] for a, b in pairwise(bags.offsets.tolist())]
        return [_with_index(part, bag) for part, bag in zip(parts, X, strict=True)]

    def _named(self, instances: FloatArray) -> Any:
        """Instances as the inner transformer gets them."""
        names = getattr(self, "feature_names_in_", None)
        # Names of polars or pyarrow need no pandas; then the inner transformer works by number.
        if names is None or find_spec("pandas") is None:
            return instances
        import pandas as pd

        return pd.DataFrame(instances, columns=names)

    def set_output(self, *, transform: str | None = None) -> InstanceTransformer:
        """Choose what tables :meth:`transform` gives, as in all transformers of scikit-learn.

        Parameters
        ----------
        transform
            ``"default"`` (arrays), ``"pandas"`` or ``"polars"``; None changes nothing.

        Raises
        ------
        ConfigurationError
            If the inner transformer cannot; in :meth:`fit`, if it was not fitted.
        """
        if transform is not None:
            # Under this name `clone` keeps it.
            self._sklearn_output_config = {"transform": transform}
            if hasattr(self, "transformer_"):
                self._set_inner_output(self.transformer_)
        return self

    def _set_inner_output(self, transformer: Any) -> None:
        config = getattr(self, "_sklearn_output_config", {})
        if not config:
            return
        if not hasattr(transformer, "set_output"):
            msg = (
                f"{type(transformer).__name__} has no set_output, so it cannot return named tables"
            )
            raise ConfigurationError(msg)
        transformer.set_output(**config)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the features after the transformation."""
        check_is_fitted(self)
        return self.transformer_.get_feature_names_out(input_features)


def _with_index(values: Any, original: Any) -> Any:
    """Give a table of pandas the index of the one that it was made of."""
    if not hasattr(values, "iloc"):
        return values
    index = getattr(original, "index", None)
    known = hasattr(original, "iloc") and index is not None
    return values.set_axis(index if known else np.arange(len(values)), axis="index")
