"""Make bags from one table with a row for every instance and a column that identifies its bag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.typing import IntArray

__all__ = ["GroupedBags", "group_bags"]


class GroupedBags(NamedTuple):
    """Bags made from a table by :func:`group_bags`.

    Parameters
    ----------
    bags
        One table for each bag, with the feature columns.
    keys
        Value of the column `by` for each bag.
    labels
        Label of each bag; None if no label column was given.
    """

    bags: list[Any]
    keys: Any
    labels: Any


def group_bags(
    table: Any, by: str, *, label: str | None = None, features: Sequence[str] | None = None
) -> GroupedBags:
    """Group the rows of a table into bags by the value of a column.

    The bags have the order in which they first appear in the table, and the instances of a bag have
    the order of the rows.  The rows of a bag need not be adjacent.

    Parameters
    ----------
    table
        ``pandas.DataFrame`` with one row for each instance.
    by
        Name of the column that identifies the bag of a row.
    label
        Name of the column with the label of the bag, which must be equal in all rows of a bag.
    features
        Names of the feature columns, in the order in which the bags contain them.  None: all
        columns except `by` and `label`.

    Raises
    ------
    SampleError
        If `table` is not a pandas table or lacks one of these columns, if a row has no value of
        `by` or `label`, or if the rows of a bag have different labels.

    Examples
    --------
    >>> import pandas as pd
    >>> jets = pd.DataFrame(
    ...     {"event": [7, 7, 3], "pt": [50.0, 30.0, 80.0], "signal": [True, True, False]}
    ... )
    >>> bags, keys, labels = group_bags(jets, "event", label="signal")
    >>> keys, labels
    (array([7, 3]), array([ True, False]))
    >>> bags[0]
         pt
    0  50.0
    1  30.0
    """
    if not (hasattr(table, "groupby") and hasattr(table, "columns") and hasattr(table, "iloc")):
        msg = f"{type(table).__name__} is not a pandas.DataFrame; convert it with .to_pandas()"
        raise SampleError(msg)
    special = [by] if label is None else [by, label]
    chosen = [c for c in table.columns if c not in special] if features is None else list(features)
    for column in [*special, *chosen]:
        count = list(table.columns).count(column)
        if count != 1:
            have = "no column" if count == 0 else f"{count} columns"
            msg = f"the table has {have} {column!r}; it has {', '.join(map(str, table.columns))}"
            raise SampleError(msg)
    if not chosen:
        msg = (
            f"the table has no columns except {' and '.join(map(repr, special))}; add columns with "
            "features"
        )
        raise SampleError(msg)
    if len(table) == 0:
        msg = "the table has no rows; give a table with at least one row"
        raise SampleError(msg)
    for column in special:
        missing = np.flatnonzero(np.asarray(table[column].isna()))
        if len(missing):
            msg = f"row {missing[0]} has no {column!r}; fill it in, or remove such rows"
            raise SampleError(msg)
    # Grouping by position returns the rows of every bag, in order.
    numbers = table.groupby(by, sort=False, observed=True).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    first = order[starts]
    labels = None if label is None else _labels(table, by, label, numbers, first)
    columns = table[chosen]
    bags = [columns.iloc[rows] for rows in np.split(order, starts[1:])]
    return GroupedBags(bags, table[by].to_numpy()[first], labels)


def _labels(table: Any, by: str, label: str, numbers: IntArray, first: IntArray) -> Any:
    """Return the label of each bag, or raise if the rows of a bag have different labels."""
    values = table[label].to_numpy()
    differing = np.flatnonzero(values != values[first][numbers])
    if len(differing):
        row = differing[0]
        msg = (
            f"the bag {table[by].iloc[row]!r} has several values of {label!r}, such as "
            f"{values[first[numbers[row]]]!r} and {values[row]!r}; give all rows of a bag the same "
            "label"
        )
        raise SampleError(msg)
    return values[first]
