"""`InstanceTransformer`: transformers of scikit-learn applied to the instances of bags.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.learning.labelled_bags.ragged import RaggedBags, is_bags, ragged_bags
from milinfer.learning.labelled_bags.scikit import (
    BaseEstimator,
    TransformerMixin,
    check_is_fitted,
    clone,
)
from milinfer.typing import FloatArray

__all__ = ["InstanceTransformer"]


class InstanceTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # as above
    """Transformer of scikit-learn applied to the instances of bags, for pipelines.

    Parameters
    ----------
    transformer
        Such as ``StandardScaler()`` or ``PCA(8)``; it is cloned, and fitted to all instances of the
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
        self.transformer_ = clone(self.transformer).fit(_require_bags(X).instances)
        return self

    def transform(self, X: Any) -> list[FloatArray]:
        """Bags with their instances transformed, as a list of tables."""
        check_is_fitted(self)
        bags = _require_bags(X)
        return bags.split(np.asarray(self.transformer_.transform(bags.instances)))


def _require_bags(data: Any) -> RaggedBags:
    if not is_bags(data):
        msg = "X is a plain table; use the transformer without InstanceTransformer, or pass bags"
        raise SampleError(msg)
    return ragged_bags(data)
