"""Sum only a few columns of a table of log-likelihood ratios; the other columns follow from them.

The log-likelihood ratio λ(θ) of an event is a smooth function of θ, so that its values at most grid
points follow from its values at a few of them.  Most of the time of a toy is needed to read its
events from the table, which does not fit into the caches of the processor.  This time is in
proportion to the number of columns.

Importing this module imports numba.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from milinfer.likelihood.models import Table, event_sums
from milinfer.typing import FloatArray, IntArray

__all__ = ["ColumnSums", "choose_columns"]

# Largest error of λ of an event, as a fraction of the largest |λ|: sums of thousands of events are
# then as good as their own rounding.
_TOLERANCE = 1e-11
# Tables with fewer columns are gathered as they are.
_FEWEST = 24
# Events that choose the columns at first, and that each further attempt adds.
_FIRST, _MORE = 1000, 200
_ATTEMPTS = 6
# Largest fraction of events that keep all their columns.
_HARD = 0.05


@dataclass(frozen=True, eq=False)
class ColumnSums:
    """Sum rows of a table with K columns, by means of a smaller table with k of these columns.

    Parameters
    ----------
    columns
        Numbers of the columns that the smaller table contains, shape (k,).
    factors
        Each of the K columns as a linear combination of the k columns, shape (k, K).
    hard
        −1 for each event whose K columns follow from the k columns, shape (n_events,).  For a hard
        event, whose columns do not follow, it is the row of this event in `rest`.  The density of a
        hard event almost vanishes somewhere on the grid.
    rest
        What must be added to the combinations of the hard events, shape (n_hard, K).
    """

    columns: IntArray
    factors: FloatArray
    hard: IntArray
    rest: FloatArray

    def table(self, full: Table) -> Table:
        """Return the smaller table, shape (n_events, k)."""
        return full.take(self.columns, axis=1)

    def __call__(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return the sums, shape (n_segments, K).

        Parameters
        ----------
        table
            The smaller table.
        index, signs, offsets
            As for :func:`milinfer.likelihood.models.event_sums`.
        """
        few = event_sums(table, index, signs, offsets)
        k = len(self.factors)
        # Not by BLAS: the last bits of a toy would depend on the number of toys beside it.
        rows = np.tile(np.arange(k), len(few))
        sums = event_sums(self.factors, rows, few.ravel(), np.arange(0, len(rows) + 1, k))
        if len(self.rest):
            hard = self.hard[index]
            terms = np.flatnonzero(hard >= 0)
            edges = np.searchsorted(terms, offsets)
            sums += event_sums(self.rest, hard[terms], signs[terms], edges)
        return sums


def choose_columns(table: Table) -> ColumnSums | None:
    """Choose columns of a table from which all other columns follow.

    The columns are chosen by an interpolative decomposition of some rows of the table (Cheng,
    Gimbutas, Martinsson and Rokhlin, SIAM J. Sci. Comput. 26 (2005) 1389).  The errors are then
    computed for all events.  Events whose error is larger than 1e-11 of the largest value of the
    table keep all their columns.  If there are many of these events, the decomposition is repeated
    with more rows: the rows with the largest errors are added.

    Parameters
    ----------
    table
        Log-likelihood ratios of events at the grid points, shape (n_events, K).

    Returns
    -------
    ColumnSums or None
        None if the table has few columns, or more than half of them would be needed.

    Examples
    --------
    >>> theta = np.linspace(-1, 1, 41)
    >>> slopes = np.random.default_rng(1).uniform(-0.3, 0.3, (2000, 1))
    >>> chosen = choose_columns(np.log1p(slopes * theta))
    >>> len(chosen.columns), len(chosen.rest)
    (10, 0)
    """
    n_events, n_columns = table.shape
    if n_columns < _FEWEST or not n_events:
        return None
    scale = float(max(table.max(), -table.min()))
    if not (np.isfinite(scale) and scale > 0):
        return None
    import scipy.linalg.interpolative as decomposition  # takes half a second to import

    rows = np.arange(0, n_events, max(1, n_events // _FIRST))
    for _ in range(_ATTEMPTS):
        part = np.asfortranarray(table[rows])
        k, order, rest = decomposition.interp_decomp(part, _TOLERANCE, rand=False)
        if not 0 < k <= n_columns // 2:
            return None
        columns = np.asarray(order[:k], dtype=np.int64)
        factors = np.ascontiguousarray(decomposition.reconstruct_interp_matrix(order, rest))
        errors = _largest_errors(table, columns, factors)
        hard = np.flatnonzero(errors > _TOLERANCE * scale)
        if len(hard) <= _HARD * n_events:
            numbers = np.full(n_events, -1)
            numbers[hard] = np.arange(len(hard))
            missing = table[hard] - table[np.ix_(hard, columns)] @ factors
            return ColumnSums(columns, factors, hard=numbers, rest=missing)
        rows = np.union1d(rows, np.argsort(errors)[-_MORE:])
    return None


def _largest_errors(table: Table, columns: IntArray, factors: FloatArray) -> FloatArray:
    """Largest error of each event over all columns, shape (n_events,)."""
    errors = np.empty(len(table))
    # Not by BLAS, whose threads wait for each other longer than such narrow products take.
    _errors(table, columns, factors, errors)
    return errors


@njit(cache=True, nogil=True)
def _errors(table, columns, factors, errors):  # type: ignore[no-untyped-def]
    difference = np.empty(table.shape[1])
    for i in range(len(table)):
        row = table[i]
        difference[:] = row
        for k in range(len(columns)):
            value, factor = row[columns[k]], factors[k]
            for j in range(len(difference)):
                difference[j] -= value * factor[j]
        errors[i] = np.abs(difference).max()
