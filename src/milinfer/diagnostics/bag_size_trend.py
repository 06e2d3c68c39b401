"""Whether information rises with the bag size, without an ansatz.

The ansätze of :mod:`milinfer.diagnostics.bag_size_curve` can only rise.  The question whether anything rises
needs a curve that may fall as well: a straight line of ln I against log₂ N_B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.stats import chi2 as chi2_distribution

from milinfer.diagnostics.bag_size import log_points
from milinfer.exceptions import FitError
from milinfer.utils.display import html_facts, measured
from milinfer.utils.tables import tuples_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BagSizeTrend", "bag_size_slope"]


class BagSizeTrend(NamedTuple):
    """A straight line through ln I against log₂ N_B.

    Made by :func:`bag_size_slope`.

    Parameters
    ----------
    slope, slope_error
        Change of ln I with each doubling of the bag: 0.02 is 2 %.
    level
        I at bags of one event.
    chi2, ndf, p_value
        Of the straight line; p is NaN where there are no degrees of freedom.
    """

    slope: float
    slope_error: float
    level: float
    chi2: float
    ndf: int
    p_value: float

    def _repr_html_(self) -> str:
        facts = {
            "change of ln I with each doubling": measured(self.slope, self.slope_error),
            "I at bags of one event": measured(self.level),
            "χ²/ndf": f"{self.chi2:.1f}/{self.ndf}, p = {measured(self.p_value)}",
        }
        return html_facts("Information against bag size", facts)

    def to_table(self) -> pa.Table:
        """One row with the fields as columns."""
        return tuples_table(BagSizeTrend, [self])

    @property
    def sigmas(self) -> float:
        """The slope in units of its error; negative where the information falls."""
        return self.slope / self.slope_error


def bag_size_slope(
    sizes: ArrayLike,
    info: ArrayLike,
    info_error: ArrayLike | None = None,
    *,
    covariance: ArrayLike | None = None,
) -> BagSizeTrend:
    """Fit a straight line to ln I against log₂ N_B.

    Parameters
    ----------
    sizes
        Bag sizes, shape (S,).
    info
        Information at each: I_MLE, I_eff or a ratio of either to a reference.
    info_error
        Standard errors, independent of each other.
    covariance
        Of the informations, shape (S, S), instead of `info_error`.

    Raises
    ------
    ConfigurationError
        If the points are not informations with errors.
    FitError
        If there are fewer than two sizes.

    Examples
    --------
    >>> sizes = np.array([1, 4, 16, 64])
    >>> trend = bag_size_slope(sizes, 100 * 1.05 ** np.log2(sizes), np.full(4, 1.0))
    >>> round(float(np.exp(trend.slope)), 3), round(trend.level)
    (1.05, 100)
    """
    n, y, cholesky = log_points(sizes, info, info_error, covariance)
    if len(np.unique(n)) < 2:
        msg = f"a slope needs two bag sizes or more, not {n.tolist()}"
        raise FitError(msg)
    design = np.column_stack([np.ones(len(n)), np.log2(n)])
    whitened = solve_triangular(cholesky, np.column_stack([design, y]), lower=True)
    design, target = whitened[:, :2], whitened[:, 2]
    normal = np.linalg.inv(design.T @ design)
    intercept, slope = (float(v) for v in normal @ (design.T @ target))
    chi2 = float(np.sum((target - design @ np.array([intercept, slope])) ** 2))
    ndf = len(n) - 2
    return BagSizeTrend(
        slope,
        float(np.sqrt(normal[1, 1])),
        float(np.exp(intercept)),
        chi2,
        ndf,
        float(chi2_distribution.sf(chi2, ndf)) if ndf > 0 else float("nan"),
    )
