"""Check the input of estimators of labelled bags: bags and names of features.

Importing this module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.learning.labelled_bags.ragged import (
    RaggedBags,
    feature_names,
    is_bags,
    ragged_bags,
)
from milinfer.learning.labelled_bags.scikit import validate_data

__all__ = ["checked_bags"]


def checked_bags(
    estimator: Any, data: Any, labels: Any = None, *, reset: bool = False, least: int = 2
) -> RaggedBags:
    """Check the bags, or the table in which each row is a bag, that an estimator gets.

    Parameters
    ----------
    estimator
        Estimator. In a fit, this function sets its ``n_features_in_``, and its
        ``feature_names_in_`` if the features have names. After the fit, the function compares the
        bags with them.
    data
        Bags or a table.
    labels
        Labels of the bags in a fit, else None.
    reset
        Whether the bags are those of a fit.
    least
        Smallest number of rows that a table may have in a fit.

    Raises
    ------
    SampleError
        If a bag is invalid, or its features differ in number, name or order from those of the fit.
    """
    _refuse_groups(data)
    if is_bags(data):
        bags = ragged_bags(data)
        named = data[0] if feature_names(data[0]) is not None else bags.instances
        try:
            validate_data(estimator, named, reset=reset, skip_check_array=True)
        except ValueError as error:
            raise SampleError(str(error).strip()) from error
        return bags
    if reset:
        _refuse_long_table(data, labels)
        # Without labels scikit-learn stops the fit, if the estimator needs labels.
        checked = validate_data(estimator, data, labels, dtype=np.float64, ensure_min_samples=least)
        table = checked if labels is None else checked[0]
    else:
        table = validate_data(estimator, data, dtype=np.float64, reset=False)
    return RaggedBags(table, np.arange(len(table) + 1))


_GROUP = "group a table by a column with mil.learning.group_bags(table, by=...)"


def _refuse_groups(data: Any) -> None:
    """Raise for ``table.groupby(column)`` of pandas, also as a list of pairs."""
    first = data[0] if isinstance(data, list | tuple) and data else None
    pairs = isinstance(first, tuple) and len(first) == 2 and hasattr(first[1], "columns")
    if pairs or "GroupBy" in type(data).__name__:
        msg = f"X is a table grouped by a column, but the order of its labels is unknown; {_GROUP}"
        raise SampleError(msg)


def _refuse_long_table(data: Any, labels: Any) -> None:
    shape = getattr(data, "shape", None)
    n_labels = len(labels) if hasattr(labels, "__len__") else None
    if shape is None or len(shape) != 2 or n_labels in {None, shape[0]}:
        return
    msg = (
        f"X is one table of {shape[0]} rows, each of which is a bag of one instance, but y has "
        f"{n_labels} labels (inconsistent numbers of samples); if rows belong together in bags, "
        f"{_GROUP}"
    )
    raise SampleError(msg)
