"""Compute expected intervals from Asimov data, and their fluctuation from toys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from iminuit.cost import Cost
from scipy.special import ndtr

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import Interval, profile_interval
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.typing import FloatArray
from milinfer.utils.confidence_levels import CL68, require_level
from milinfer.utils.display import arrow_table, html_table
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BANDS", "ExpectedInterval", "expected_interval"]

BANDS = (-2, -1, 0, 1, 2)
"""Quantiles of the toys, in standard deviations of a Gaussian."""

# Fewer toys do not determine the outer bands.
_FEWEST = 40


class _Ends(NamedTuple):
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class ExpectedInterval:
    """Expected interval: interval of the Asimov data, and quantiles of the intervals of toys.

    Parameters
    ----------
    parameter, truth
        Parameter of interest, and its value in the toys.
    cl
        Confidence level.
    estimate, low, high
        Estimate, and lower and upper end of the interval, of the Asimov data.
    estimates, lows, highs, widths
        For estimate, lower end, upper end and width of the intervals of the toys: the quantiles at
        −2σ, −1σ, the median, +1σ and +2σ.  Each array has the shape (5,).
    n_toys
        Number of toys.
    n_cut
        Number of toys whose interval ends at an end of the allowed range.
    n_empty
        Number of toys whose confidence set is empty.  They are not contained in the quantiles.
    """

    parameter: str
    truth: float
    cl: float
    estimate: float
    low: float
    high: float
    estimates: FloatArray
    lows: FloatArray
    highs: FloatArray
    widths: FloatArray
    n_toys: int
    n_cut: int = 0
    n_empty: int = 0

    def __str__(self) -> str:
        return (
            f"{self.parameter} = {self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}] expected "
            f"at {self.cl:.2%} CL; median of {self.n_toys} toys "
            f"[{self.lows[2]:.4g}, {self.highs[2]:.4g}]"
        )

    @property
    def width(self) -> float:
        """Full width of the interval of the Asimov data."""
        return self.high - self.low

    def to_table(self) -> pa.Table:
        """Return a table with a row for the Asimov data and one for each quantile of the toys.

        Columns: ``of``, ``estimate``, ``low``, ``high``, ``width``.
        """
        names = ("estimate", "low", "high", "width")
        rows = [{"of": "Asimov", **{n: getattr(self, n) for n in names}}]
        for k, band in enumerate(BANDS):
            quantiles = {n: float(getattr(self, f"{n}s")[k]) for n in names}
            rows.append({"of": f"{band:+d}σ" if band else "median", **quantiles})
        return arrow_table({"of": str, **dict.fromkeys(names, float)}, rows)

    def _repr_html_(self) -> str:
        rows = [
            [row["of"], *(f"{row[n]:.4g}" for n in ("estimate", "low", "high", "width"))]
            for row in self.to_table().to_pylist()
        ]
        return html_table(("of", "estimate", "from", "to", "width"), rows, title=str(self))


def expected_interval(
    ensemble: ToyEnsemble,
    asimov: Cost,
    *,
    cl: float = CL68,
    calibration: Calibration | None = None,
    belt: Belt | None = None,
) -> ExpectedInterval:
    """Compute the expected interval from Asimov data, with ±1σ and ±2σ bands from toys.

    Parameters
    ----------
    ensemble
        Toys at the point of the Asimov data, evaluated with any model;
        :class:`~milinfer.ProfiledSystematics` profiles nuisance parameters.
    asimov
        Cost of the Asimov data, which may depend on nuisance parameters.  With a calibration or a
        belt it must depend only on the parameter of interest
        (:meth:`milinfer.ProfiledSystematics.profiled`).
    cl
        Confidence level.
    calibration, belt
        Calibration or belt that makes the intervals.  Default: intervals of the profile likelihood,
        without calibration.

    Returns
    -------
    ExpectedInterval
        Interval of the Asimov data, and bands: quantiles of the intervals of the toys.

    Raises
    ------
    ParameterError
        If the toys have several parameters, the cost does not have the parameter of the toys, or
        `cl` is not between 0 and 1.
    CalibrationError
        If there are fewer than 40 toys, if both a calibration and a belt are given, or if the
        calibration or the belt belongs to another model than the cost.
    FitError
        If the Asimov data have no interval.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.asimov import asimov_cost
    >>> terms = mil.systematic_terms(gaussian.MeanModel(), rate=100.0, responses={}, reference=0.0)
    >>> toys = mil.Toys(gaussian.samples(20_000, [0.0], seed=1), 100, seed=2, poisson=True)
    >>> ensemble = toys.run([gaussian.MeanModel()], 0.0, 500)["mean"]
    >>> events = gaussian.generate(10_000, 0.0, seed=3)
    >>> expected = expected_interval(ensemble, asimov_cost(terms, events))
    >>> round(expected.width / 2, 3), round(float(expected.widths[2]) / 2, 2)
    (0.1, 0.1)
    """
    require_level(cl, ParameterError)
    parameter = only(tuple(ensemble.point))
    if ensemble.n_toys < _FEWEST:
        msg = (
            f"{ensemble.n_toys} toys of {ensemble.model} at {format_point(ensemble.point)} are too "
            f"few for the ±2σ band; generate {_FEWEST} or more"
        )
        raise CalibrationError(msg)
    toys = toy_intervals(ensemble, calibration, cl, belt=belt)
    own = _ends(asimov, parameter, cl, calibration, belt)
    there = np.isfinite(toys.low) & np.isfinite(toys.high)
    if not there.any():
        msg = f"the confidence set of each of the {ensemble.n_toys} toys is empty; widen the belt"
        raise CalibrationError(msg)
    limits = ensemble.range
    if calibration is not None or belt is not None:
        limits = calibration.limits[0] if calibration is not None else belt.limits[0]  # type: ignore[union-attr]
    cut = (toys.low <= limits[0]) | (toys.high >= limits[1])
    low, high = toys.low[there], toys.high[there]
    shares = ndtr(BANDS)
    return ExpectedInterval(
        parameter=parameter,
        truth=ensemble.truth,
        cl=cl,
        estimate=own.estimate,
        low=own.low,
        high=own.high,
        estimates=np.quantile(toys.estimate, shares),
        lows=np.quantile(low, shares),
        highs=np.quantile(high, shares),
        widths=np.quantile(high - low, shares),
        n_toys=ensemble.n_toys,
        n_cut=int(np.sum(cut[there])),
        n_empty=int(np.sum(~there)),
    )


def _ends(
    asimov: Cost,
    parameter: str,
    cl: float,
    calibration: Calibration | None,
    belt: Belt | None,
) -> _Ends:
    """Estimate and interval of the Asimov data."""
    if calibration is None and belt is None:
        return _of_interval(profile_interval(asimov, parameter, cl))
    if not isinstance(asimov, LikelihoodCost):
        msg = (
            f"a calibration or a belt needs the cost of the Asimov data in {parameter} alone, not "
            f"a {type(asimov).__name__}; use profiled.profiled(cost) of ProfiledSystematics"
        )
        raise CalibrationError(msg)
    if belt is None:
        assert calibration is not None
        return _of_interval(profile_interval(calibration(asimov, cl), parameter, cl))
    accepted = belt.interval(asimov, cl)
    if not accepted.intervals:
        msg = f"the belt accepts no value of {parameter} for the Asimov data; widen its range"
        raise CalibrationError(msg)
    return _Ends(accepted.estimate, accepted.intervals[0][0], accepted.intervals[-1][1])


def _of_interval(interval: Interval) -> _Ends:
    return _Ends(interval.estimate, interval.low, interval.high)
