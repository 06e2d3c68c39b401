"""Tables of computed features, and their accumulators for coffea."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import FeatureError
from milinfer.samples.samples import Sample
from milinfer.typing import AwkwardArray, BoolArray, Float32Array, FloatArray

__all__ = ["FeatureTable", "side_by_side", "weight_sums"]


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Columns of features, and which events they belong to.

    Parameters
    ----------
    columns
        Name to float32 array of shape (n_events,), in order; GeV and radians.
    kept
        Which of the input events have a row, of shape (n_input,).
    rejected
        Number of events without a row, by reason.
    """

    columns: Mapping[str, Float32Array]
    kept: BoolArray
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)

    @property
    def array(self) -> Float32Array:
        """The columns as one array of shape (n_events, n_features), float32."""
        return side_by_side(list(self.columns.values()), len(self))

    def __len__(self) -> int:
        return int(np.count_nonzero(self.kept))

    def weights(self, weights: ArrayLike | AwkwardArray | None) -> FloatArray:
        """Weights of the rows, of shape (n_events,), from those of the rows or of all events.

        Raises
        ------
        FeatureError
            If the number of weights is neither.
        """
        if weights is None:
            return np.ones(len(self))
        array = np.asarray(weights, dtype=np.float64)
        if array.shape == self.kept.shape:
            return array if len(self) == len(array) else array[self.kept]
        if array.shape != (len(self),):
            msg = f"{array.shape} weights given for {len(self)} of {len(self.kept)} events"
            raise FeatureError(msg)
        return array

    def accumulate(self, weights: ArrayLike | AwkwardArray | None = None) -> dict[str, Any]:
        """Accumulator for a coffea processor: columns, weights and their sums.

        Parameters
        ----------
        weights
            Of the events given to the feature set, or of the rows; default: all 1.

        Returns
        -------
        dict
            ``columns`` (name to ``column_accumulator``), ``weight`` (the same), ``n_events``,
            ``n_negative``, ``sum_of_weights``, ``sum_of_squared_weights``, ``rejected``.

        Examples
        --------
        >>> import numpy as np
        >>> table = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))
        >>> output = table.accumulate([1.0, 2.0, -1.0])
        >>> output["n_events"], output["n_negative"], output["sum_of_weights"]
        (3, 1, 2.0)
        """
        from coffea.processor import column_accumulator

        w = self.weights(weights)
        return {
            "columns": {name: column_accumulator(c) for name, c in self.columns.items()},
            "weight": column_accumulator(w),
            **weight_sums(w),
            "rejected": dict(self.rejected),
        }

    def to_sample(self, weights: ArrayLike | None = None, **options: Any) -> Sample:
        """Make a :class:`~milinfer.samples.samples.Sample` (``point=``, ``process=``, … are passed on)."""
        return Sample(self.array, self.names, self.weights(weights), **options)


def side_by_side(columns: Sequence[Float32Array], n: int) -> Float32Array:
    """Columns of shape (n,) as one array of shape (n, n_columns), float32.

    Examples
    --------
    >>> import numpy as np
    >>> side_by_side([np.zeros(2, np.float32), np.ones(2, np.float32)], 2)
    array([[0., 1.],
           [0., 1.]], dtype=float32)
    """
    array: Float32Array = np.empty((n, len(columns)), dtype=np.float32)
    for start in range(0, n, 8192):  # blocks of rows stay in the cache
        for i, column in enumerate(columns):
            array[start : start + 8192, i] = column[start : start + 8192]
    return array


def weight_sums(weights: FloatArray) -> dict[str, float | int]:
    """Sums that a coffea accumulator adds up: counts and moments of weights.

    Examples
    --------
    >>> import numpy as np
    >>> weight_sums(np.array([1.0, -2.0]))["sum_of_squared_weights"]
    5.0
    """
    return {
        "n_events": len(weights),
        "n_negative": int(np.count_nonzero(weights < 0)),
        "sum_of_weights": float(weights.sum()),
        "sum_of_squared_weights": float((weights * weights).sum()),
    }
