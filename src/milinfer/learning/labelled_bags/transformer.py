"""Apply transformers of scikit-learn to the instances of bags.

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


# The inner transformer makes the tables of `set_output`; scikit-learn must not wrap the list.
class InstanceTransformer(  # type: ignore[call-arg]  # scikit-learn is untyped
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
    auto_wrap_output_keys=None,
):
    """Apply a transformer of scikit-learn to the instances of bags, as a step of a pipeline.

    Parameters
    ----------
    transformer
        Transformer such as ``StandardScaler()`` or ``PCA(8)``.  It is cloned, and fitted to one
        table with the instances of all bags.  If the features have names, this is a pandas table,
        so that a ``ColumnTransformer`` can select columns by name.

    Attributes
    ----------
    transformer_
        The fitted transformer.
    n_features_in_
        Number of features of an instance.
    feature_names_in_
        Names of the features, if the bags are tables with column names.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> bags = [np.array([[1.0], [3.0]]), np.array([[2.0]])]
    >>> InstanceTransformer(MinMaxScaler()).fit_transform(bags)
    [array([[0.], [1.]]), array([[0.5]])]

    Bags that are tables with column names, and tables as the result:

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
        """Fit the transformer to the instances of bags, or to one table; labels are not used."""
        bags = checked_bags(self, X, reset=True, least=1)
        transformer = clone(self.transformer)
        self._set_inner_output(transformer)
        self.transformer_ = transformer.fit(self._named(bags.instances))
        return self

    def transform(self, X: Any) -> Any:
        """Return the transformed instances: a list of tables, or one table if `X` is one table."""
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
        """Return the instances in the form that the inner transformer needs."""
        names = getattr(self, "feature_names_in_", None)
        # Names of polars or pyarrow need no pandas; the inner transformer then uses column numbers.
        if names is None or find_spec("pandas") is None:
            return instances
        import pandas as pd

        return pd.DataFrame(instances, columns=names)

    def set_output(self, *, transform: str | None = None) -> InstanceTransformer:
        """Choose the type of the tables that :meth:`transform` returns, as in scikit-learn.

        Parameters
        ----------
        transform
            ``"default"`` (arrays), ``"pandas"`` or ``"polars"``; None leaves the type unchanged.

        Raises
        ------
        ConfigurationError
            If `transformer` has no ``set_output``.  Before a fit, the error comes later, in
            :meth:`fit`.
        """
        if transform is not None:
            # `clone` keeps the attribute with this name.
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
                f"{type(transformer).__name__} has no set_output, so it cannot return named "
                "tables; use another transformer, or omit set_output"
            )
            raise ConfigurationError(msg)
        transformer.set_output(**config)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the features after the transformation."""
        check_is_fitted(self)
        return self.transformer_.get_feature_names_out(input_features)


def _with_index(values: Any, original: Any) -> Any:
    """Give a pandas table the index of the table from which it was made."""
    if not hasattr(values, "iloc"):
        return values
    index = getattr(original, "index", None)
    known = hasattr(original, "iloc") and index is not None
    return values.set_axis(index if known else np.arange(len(values)), axis="index")
