"""Store bags of different sizes as one table of instances, with the offset of each bag."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.typing import BoolArray, FloatArray, IntArray

__all__ = ["RaggedBags", "bag_rows", "feature_names", "is_bags", "ragged_bags"]


class RaggedBags(NamedTuple):
    """Instances of all bags, one bag after the other.

    Parameters
    ----------
    instances
        Features of all instances, shape (n_instances, n_features), float64.
    offsets
        Bag ``b`` has the rows ``offsets[b]`` to ``offsets[b + 1] - 1``; shape (n_bags + 1,).
    """

    instances: FloatArray
    offsets: IntArray

    @property
    def sizes(self) -> IntArray:
        """Number of instances in each bag, shape (n_bags,)."""
        return np.diff(self.offsets)

    def take(self, chosen: IntArray) -> RaggedBags:
        """Return the bags with the indices `chosen`, in this order.

        Examples
        --------
        >>> import numpy as np
        >>> ragged_bags([[[1.0], [2.0]], [[3.0]]]).take(np.array([1, 0])).instances
        array([[3.],
               [1.],
               [2.]])
        """
        sizes = self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][chosen] - offsets[:-1], sizes)
        return RaggedBags(self.instances[rows], offsets)

    def split(self, values: FloatArray) -> list[FloatArray]:
        """Split an array with one row for each instance into one array for each bag.

        Examples
        --------
        >>> import numpy as np
        >>> ragged_bags([[[1.0], [2.0]], [[3.0]]]).split(np.array([5.0, 6.0, 7.0]))
        [array([5., 6.]), array([7.])]
        """
        return [values[a:b] for a, b in pairwise(self.offsets.tolist())]


def _is_awkward(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "awkward"


def is_bags(data: Any) -> bool:
    """Return whether the data are bags (True) or a plain table of numbers (False).

    Bags are a numpy or awkward array of three dimensions, or a list, tuple or array of tables. The
    tables may be those of pandas, polars or pyarrow.

    Examples
    --------
    >>> import numpy as np
    >>> is_bags([np.zeros((2, 3)), np.zeros((1, 3))]), is_bags([[1.0, 2.0], [3.0, 4.0]])
    (True, False)
    """
    if _is_awkward(data):
        return True
    if isinstance(data, np.ndarray) and data.dtype != object:
        return data.ndim == 3
    if not isinstance(data, list | tuple | np.ndarray) or len(data) == 0:
        return False
    return _depth(data[0]) >= 2


def _depth(item: Any) -> int:
    """Return the number of dimensions of a bag; nested lists may be ragged, unlike numpy arrays."""
    if hasattr(item, "ndim"):
        return int(item.ndim)
    if hasattr(item, "shape"):  # tables of polars and pyarrow
        return len(item.shape)
    if isinstance(item, list | tuple):
        return 1 + (_depth(item[0]) if len(item) else 0)
    return 0


def feature_names(bag: Any) -> list[Any] | None:
    """Return the column names of a pandas, polars or pyarrow table; None for any other table.

    Examples
    --------
    >>> import pandas as pd
    >>> feature_names(pd.DataFrame({"pt": [1.0], "eta": [2.0]}))
    ['pt', 'eta']
    """
    for names in ("column_names", "columns"):
        if hasattr(bag, "shape") and hasattr(bag, names):
            return list(getattr(bag, names))
    return None


def ragged_bags(data: Any) -> RaggedBags:
    """Put the instances of all bags into one table.

    Parameters
    ----------
    data
        Bags of shape (n_bags, n_instances, n_features), in a form that :func:`is_bags` accepts; the
        number of instances may differ from bag to bag.

    Raises
    ------
    SampleError
        If there are no bags. Also if a bag is empty, is not a table of numbers, contains NaN or
        infinity, or has features that differ from those of the first bag in name, number or order;
        the message names this bag.

    Examples
    --------
    >>> import awkward as ak
    >>> bags = ragged_bags(ak.Array([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]))
    >>> bags.instances.shape, bags.offsets
    ((3, 2), array([0, 1, 3]))
    """
    tables = [_table(bag, b) for b, bag in enumerate(data)]
    if not tables:
        msg = "no bags; X has length 0"
        raise SampleError(msg)
    width = tables[0].shape[1]
    for b, table in enumerate(tables):
        if table.shape[1] != width:
            msg = (
                f"bag {b} has {table.shape[1]} features, but bag 0 has {width}; all bags need the "
                "same features"
            )
            raise SampleError(msg)
    _require_same_names(data)
    # All tables get one memory order, because it affects the last bit of sums.
    instances = np.ascontiguousarray(np.concatenate(tables))
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in tables])]).astype(np.int64)
    wrong = np.argwhere(~np.isfinite(instances))
    if len(wrong):
        row, feature = wrong[0]
        b = int(np.searchsorted(offsets, row, side="right")) - 1
        msg = (
            f"bag {b}, instance {row - offsets[b]}: feature {feature} is "
            f"{instances[row, feature]}; fix or remove instances with NaN or infinity"
        )
        raise SampleError(msg)
    return RaggedBags(instances, offsets)


def _require_same_names(data: Any) -> None:
    """Raise if the columns of a bag have other names than those of the first bag."""
    first = feature_names(data[0])
    for b, bag in enumerate(data):
        names = feature_names(bag)
        if names == first:
            continue
        if names is None or first is None:
            with_names, without = (b, 0) if first is None else (0, b)
            msg = (
                f"the features of bag {with_names} have names, but those of bag {without} have "
                "none; give all bags as tables with names, or all as arrays"
            )
        else:
            msg = (
                f"bag {b} has the features {', '.join(map(str, names))}, but bag 0 has "
                f"{', '.join(map(str, first))}; all bags need the same features in the same order: "
                "bag[names] puts the columns of a table in order"
            )
        raise SampleError(msg)


def _table(bag: Any, b: int) -> FloatArray:
    if hasattr(bag, "__len__") and len(bag) == 0:
        msg = f"bag {b} is empty; remove such bags"
        raise SampleError(msg)
    try:
        table = np.asarray(bag)
        if table.dtype.kind not in "biuf":
            msg = f"numbers of type {table.dtype}"
            raise TypeError(msg)
        table = table.astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = (
            f"bag {b} is not a table of real numbers ({error}); use shape (n_instances, "
            "n_features), with the same features for every instance"
        )
        raise SampleError(msg) from error
    if table.ndim != 2 or table.shape[1] == 0:
        msg = f"bag {b} has shape {table.shape}; use (n_instances, n_features)"
        raise SampleError(msg)
    return table


def bag_rows(offsets: IntArray) -> tuple[IntArray, BoolArray]:
    """Return the row numbers of the instances of each bag, padded with 0, and a mask.

    Returns
    -------
    tuple
        Row numbers, and a mask that is False for padding: two arrays of shape (n_bags, size of the
        largest bag).

    Examples
    --------
    >>> import numpy as np
    >>> rows, present = bag_rows(np.array([0, 1, 3]))
    >>> rows
    array([[0, 0],
           [1, 2]])
    >>> present
    array([[ True, False],
           [ True,  True]])
    """
    sizes = np.diff(offsets)
    position = np.arange(sizes.max())
    present = position < sizes[:, None]
    return np.where(present, offsets[:-1, None] + position, 0), present
