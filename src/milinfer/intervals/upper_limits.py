r"""Compute CLs upper limits with expected bands, by asymptotic formulas or from toys.

The test statistic is :math:`\tilde q_\mu` (Cowan et al., arXiv:1007.1727, eq. 16): −2 ln of the
likelihood at μ divided by the largest likelihood at or above the null value (the value of μ without
a signal).  If the estimate is above μ, it is zero.  A value of μ is excluded at 95 % if
:math:`\mathrm{CL_s} = p_{s+b}/(1 - p_b) < 5\,\%`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, ndtr, ndtri

from milinfer.exceptions import CalibrationError, FitError, ParameterError
from milinfer.intervals.expected import BANDS
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import minuit
from milinfer.toys.ensemble import ToyEnsemble, require_one_kind, require_unseen_toys
from milinfer.typing import FloatArray, Point
from milinfer.utils.confidence_levels import require_level
from milinfer.utils.display import arrow_table, html_table
from milinfer.utils.points import only

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["UpperLimit", "upper_limit", "upper_limit_of_toys"]

_TOLERANCE = 1e-4
# Values of μ at which CLs is listed.
_LISTED = 21
# How often the search for a limit doubles its range.
_DOUBLINGS = 60
_ACCURACY = 1e-6
_FEWEST = 100


@dataclass(frozen=True, eq=False)
class UpperLimit:
    """Upper limit on one parameter, with the limit expected without a signal.

    Parameters
    ----------
    parameter, null
        Parameter of interest, and its value without a signal.
    cl
        Confidence level: values with CLs below 1 − `cl` are excluded.
    observed
        Limit of the data; NaN if no data were given.
    expected
        Expected limits without a signal: the quantiles at −2σ, −1σ, the median, +1σ and +2σ of the
        distribution of limits, shape (5,).
    values
        Values of the parameter at which CLs is computed for tables and figures, shape (n,).
    observed_cls, expected_cls
        CLs at each of `values`: of the data, shape (n,), and its five quantiles without a signal,
        shape (n, 5).
    method
        ``"asymptotic"`` or ``"toys"``.
    observed_error, expected_errors
        Errors of `observed` and `expected` due to the finite number of toys; 0 for asymptotic
        limits.
    """

    parameter: str
    null: float
    cl: float
    observed: float
    expected: FloatArray
    values: FloatArray
    observed_cls: FloatArray
    expected_cls: FloatArray
    method: str
    observed_error: float = 0.0
    expected_errors: FloatArray = field(default_factory=lambda: np.zeros(len(BANDS)))

    def __str__(self) -> str:
        down, median, up = self.expected[1:4]
        observed = "" if np.isnan(self.observed) else f" < {self.observed:.4g} observed,"
        return (
            f"{self.parameter}{observed} < {median:.4g} expected [{down:.4g}, {up:.4g}] "
            f"at {self.cl:.2%} CL ({self.method})"
        )

    def to_table(self) -> pa.Table:
        """Return a table of CLs with one row for each of `values`.

        Columns: the name of the parameter, ``observed``, ``expected_-2``, ``expected_-1``,
        ``expected``, ``expected_+1`` and ``expected_+2``.
        """
        names = [f"expected_{band:+d}" if band else "expected" for band in BANDS]
        rows = [
            {self.parameter: v, "observed": o, **dict(zip(names, e, strict=True))}
            for v, o, e in zip(self.values, self.observed_cls, self.expected_cls, strict=True)
        ]
        return arrow_table(dict.fromkeys((self.parameter, "observed", *names), float), rows)

    def _repr_html_(self) -> str:
        rows = [["observed", "—" if np.isnan(self.observed) else f"{self.observed:.4g}"]]
        rows += [
            [f"expected {band:+d}σ" if band else "expected", f"{value:.4g}"]
            for band, value in zip(BANDS, self.expected, strict=True)
        ]
        return html_table(("limit", self.parameter), rows, title=str(self))

    def to_cabinetry(self) -> Any:
        """Convert the limits to an object that ``cabinetry.visualize.limit`` draws.

        Returns
        -------
        cabinetry.fit.LimitResults
            The limits and CLs.

        Raises
        ------
        ImportError
            If cabinetry is not installed.
        """
        from cabinetry.fit import LimitResults

        return LimitResults(
            observed_limit=self.observed,
            expected_limit=self.expected,
            observed_CLs=self.observed_cls,
            expected_CLs=self.expected_cls,
            poi_values=self.values,
            confidence_level=self.cl,
        )


def upper_limit(
    cost: Cost | None,
    asimov: Cost,
    parameter: str,
    cl: float = 0.95,
    *,
    null: float = 0.0,
    values: ArrayLike | None = None,
    start: Point | None = None,
) -> UpperLimit:
    r"""Compute a CLs upper limit with asymptotic formulas, from any iminuit cost.

    The test statistic is :math:`\tilde q_\mu` of Cowan et al., arXiv:1007.1727, eq. 16.  Its
    distribution (eq. 65 of this paper) follows from the Asimov data, which give :math:`\sqrt{q_A} =
    (\mu - \mu_0)/\sigma` for the null value :math:`\mu_0`.  For the expected limits, the quantile
    at N standard deviations (N = −2, …, 2) is the value μ at which :math:`\mathrm{CL_s} = \Phi(N -
    \sqrt{q_A})/\Phi(N)` is equal to 1 − `cl`, where Φ is the distribution function of the standard
    normal distribution.

    Parameters
    ----------
    cost
        Cost of the data; None for only the expected limits.
    asimov
        Cost of the Asimov data at the null value, with the same parameters:
        :func:`~milinfer.likelihood.asimov.asimov_cost`, or ``cost.asimov(mu=0.0)`` of a
        ``PyhfCost``.  pyhf uses Asimov data whose nuisance parameters come from a fit to the data
        at the null value.
    parameter
        Parameter of interest; all others are profiled.
    cl
        Confidence level.
    null
        Value of the parameter without a signal.  Limits are above this value.
    values
        Values of the parameter at which CLs is computed for tables and figures.  Default: 21 values
        from the null value up to 1.3 times the highest limit.
    start
        Starting values of the other parameters.

    Raises
    ------
    ParameterError
        If a cost does not have this parameter, the null value is outside the limits of the
        parameter, or `cl` is not between 0 and 1.
    FitError
        If a fit is not valid, or a limit is outside the range of the parameter.

    Examples
    --------
    The upper limit at 95 % for a measurement of 0.3 ± 0.5 without other parameters:

    >>> from iminuit.cost import NormalConstraint
    >>> limit = upper_limit(
    ...     NormalConstraint("mu", 0.3, 0.5), NormalConstraint("mu", 0.0, 0.5), "mu")
    >>> round(limit.observed, 3), limit.expected.round(2).tolist()
    (1.198, [0.53, 0.71, 0.98, 1.36, 1.83])
    """
    require_level(cl, ParameterError)
    expected_q = _Profile(asimov, parameter, null, start)
    observed_q = None if cost is None else _Profile(cost, parameter, null, start)
    high = expected_q.highest
    if observed_q is not None:
        high = min(high, observed_q.highest)

    def of_band(band: float, mu: float) -> float:
        root = np.sqrt(expected_q.statistic(mu))
        return float(np.exp(log_ndtr(band - root) - log_ndtr(band)))

    def of_data(mu: float) -> float:
        assert observed_q is not None
        return _cls(observed_q.statistic(mu), expected_q.statistic(mu))

    def limit(cls: Callable[[float], float]) -> float:
        return _root(lambda mu: cls(mu) - (1 - cl), null, high, expected_q.error, parameter)

    expected = np.array([limit(partial(of_band, b)) for b in BANDS])
    observed = float("nan") if observed_q is None else limit(of_data)
    if values is None:
        top = null + 1.3 * (float(np.nanmax([*expected, observed])) - null)
        values = np.linspace(null, min(top, high), _LISTED)
    grid = np.asarray(values, dtype=np.float64)
    return UpperLimit(
        parameter=parameter,
        null=null,
        cl=cl,
        observed=observed,
        expected=expected,
        values=grid,
        observed_cls=np.array(
            [np.nan if observed_q is None else of_data(float(mu)) for mu in grid], dtype=np.float64
        ),
        expected_cls=np.array([[of_band(b, float(mu)) for b in BANDS] for mu in grid]),
        method="asymptotic",
    )


def _cls(q: float, q_asimov: float) -> float:
    r"""CLs of a value of :math:`\tilde q_\mu`."""
    root, of_asimov = np.sqrt(q), np.sqrt(q_asimov)
    if of_asimov == 0:
        return 1.0
    if q > q_asimov:
        signal, background = (q + q_asimov) / (2 * of_asimov), (q - q_asimov) / (2 * of_asimov)
    else:
        signal, background = root, root - of_asimov
    # Φ(−x) in logarithms, because it is the ratio of two very small numbers at large x.
    return float(np.exp(log_ndtr(-signal) - log_ndtr(-background)))


def _root(
    excess: Callable[[float], float], null: float, high: float, guess: float, parameter: str
) -> float:
    """Value at which CLs falls below its threshold: the upper limit."""
    from scipy.optimize import brentq

    low, far = null, null + guess
    for _ in range(_DOUBLINGS):
        if far >= high or excess(far) < 0:
            break
        low, far = far, null + 2 * (far - null)
    far = min(far, high)
    if excess(far) >= 0:
        msg = (
            f"no limit on {parameter}: CLs is still above the threshold at {far:g}, the end of its "
            "range; train over a wider range, or widen the limits"
        )
        raise FitError(msg)
    return float(brentq(excess, low, far, xtol=_ACCURACY * guess, rtol=_ACCURACY))


class _Profile:
    r""":math:`\tilde q_\mu` of a cost; every value of μ is fitted once."""

    def __init__(self, cost: Cost, parameter: str, null: float, start: Point | None) -> None:
        self._parameter, self._null = parameter, null
        m = minuit(cost, start=start)
        if parameter not in m.parameters or m.fixed[parameter]:
            msg = (
                f"{parameter} is not a free parameter of this cost, whose parameters are "
                f"{', '.join(m.parameters)}; choose a free parameter for the upper limit"
            )
            raise ParameterError(msg)
        low, self.highest = (float(x) for x in m.limits[parameter])
        if not low <= null < self.highest:
            msg = (
                f"null = {null:g} is outside the range of {parameter}, "
                f"[{low:g}, {self.highest:g}); give null= inside this range"
            )
            raise ParameterError(msg)
        m.tol = _TOLERANCE
        self._m = m
        m.values[parameter] = null if low < null else null + 1e-3
        self._fit("of all parameters")
        m.hesse()
        self.error = float(m.errors[parameter])
        self._best, self._lowest = float(m.values[parameter]), float(m.fval)
        self._values: dict[float, float] = {}
        if self._best < null:
            self._lowest = self._at(null)

    def statistic(self, mu: float) -> float:
        r""":math:`\tilde q_\mu`; 0 at the null value, and if the estimate is above μ."""
        if mu <= max(self._best, self._null):
            return 0.0
        return max(self._at(mu) - self._lowest, 0.0)

    def _at(self, mu: float) -> float:
        if mu not in self._values:
            m = self._m
            m.fixed[self._parameter] = True
            m.values[self._parameter] = mu
            if all(m.fixed):  # MIGRAD finds no valid minimum of no parameters
                self._values[mu] = float(m.fcn(m.values))
            else:
                self._fit(f"at {self._parameter} = {mu:.4g}")
                self._values[mu] = float(m.fval)
        return self._values[mu]

    def _fit(self, where: str) -> None:
        m: Minuit = self._m
        m.migrad()
        if not m.valid:
            msg = f"the fit {where} is not valid; check starting values and limits: {m.fmin}"
            raise FitError(msg)


def upper_limit_of_toys(
    ensembles: Sequence[ToyEnsemble],
    cost: LikelihoodCost | None = None,
    cl: float = 0.95,
    *,
    null: float = 0.0,
) -> UpperLimit:
    r"""Compute a CLs upper limit from toys.

    The test statistic is :math:`\tilde q_\mu` of Cowan et al., arXiv:1007.1727, eq. 16.  Its
    distributions are taken from the toys.

    Parameters
    ----------
    ensembles
        Toys of one model at the value without a signal and at values above it, from ``Toys.scan``.
        With nuisance parameters, use toys of a :class:`~milinfer.ProfiledSystematics` model.  CLs
        is interpolated between the values of the toys, so several values should be near the limits.
    cost
        Cost of the data from the same model, not calibrated.  None: only the expected limits are
        computed.
    cl
        Confidence level.
    null
        Value of the parameter without a signal.

    Returns
    -------
    UpperLimit
        Limits, with errors due to the finite number of toys.

    Raises
    ------
    CalibrationError
        If toys are of different kinds; if there are fewer than 100 toys at a value, or no toys at
        the null value; if a limit is above the highest value of the toys; or if the cost belongs to
        another model.
    ParameterError
        If there are several parameters, or `cl` is not between 0 and 1.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> truths = [0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
    >>> toys = Toys(gaussian.samples(20_000, truths, seed=1), n_events=100, seed=2)
    >>> limit = upper_limit_of_toys(toys.scan([gaussian.MeanModel()], truths, 500)["mean"])
    >>> bool(abs(limit.expected[2] - 0.196) < 0.03)
    True
    """
    require_level(cl, ParameterError)
    require_one_kind(ensembles)
    require_unseen_toys(ensembles)
    parameter = only(tuple(ensembles[0].point))
    ordered = sorted(ensembles, key=lambda e: e.truth)
    nulls = [e for e in ordered if np.isclose(e.truth, null)]
    above = [e for e in ordered if e.truth > null and e not in nulls]
    if not nulls or not above:
        msg = (
            f"limits above {parameter} = {null:g} need toys at this value and at higher values, "
            f"but the toys are at {', '.join(f'{e.truth:g}' for e in ordered)}; add the others"
        )
        raise CalibrationError(msg)
    for e in (nulls[0], *above):
        if e.n_toys < _FEWEST:
            msg = (
                f"{e.n_toys} toys of {e.model} at {parameter} = {e.truth:g} are too few for the "
                f"tails of the distribution; generate {_FEWEST} or more"
            )
            raise CalibrationError(msg)
    _require_model(cost, ordered[0])
    background = _Surfaces.of(nulls[0], null)
    own = None if cost is None else _surface_of(cost, null)
    grid = np.array([null, *(e.truth for e in above)])
    observed = np.full(len(grid), np.nan)
    bands = np.ones((len(grid), len(BANDS)))
    errors = np.zeros(len(grid)), np.zeros((len(grid), len(BANDS)))
    observed[0] = np.nan if own is None else 1.0
    shares = ndtr(BANDS)
    for k, signal in enumerate(above, start=1):
        mu = signal.truth
        of_signal = np.sort(_Surfaces.of(signal, null).statistic(mu))
        of_background = np.sort(background.statistic(mu))
        # A small statistic gives a high limit.
        q = np.quantile(of_background, 1 - shares, method="inverted_cdf")
        bands[k], error = _cls_of_toys(q, of_signal, of_background)
        errors[1][k] = np.hypot(error, _error_of_quantiles(shares, of_signal, of_background))
        if own is not None:
            at = np.array([own.statistic(mu)[0]])
            one, error = _cls_of_toys(at, of_signal, of_background)
            observed[k], errors[0][k] = one[0], error[0]
    alpha = 1 - cl
    n_toys = min(e.n_toys for e in above)
    limits = [
        _crossing(grid, bands[:, b], errors[1][:, b], alpha, float(shares[b]), n_toys, parameter)
        for b in range(5)
    ]
    of_data = (float("nan"), 0.0)
    if own is not None:
        estimate = float(own.estimates[0])
        # A Gaussian estimate has the same share of toys below it for all values of μ.
        below = float(np.mean(background.estimates <= estimate))
        size = 1 / (2 * len(background.estimates))
        share = min(max(below, size), 1 - size)
        of_data = _crossing(grid, observed, errors[0], alpha, share, n_toys, parameter)
    return UpperLimit(
        parameter=parameter,
        null=null,
        cl=cl,
        observed=of_data[0],
        expected=np.array([v for v, _ in limits]),
        values=grid,
        observed_cls=observed,
        expected_cls=bands,
        method="toys",
        observed_error=of_data[1],
        expected_errors=np.array([e for _, e in limits]),
    )


def _require_model(cost: LikelihoodCost | None, toys: ToyEnsemble) -> None:
    if cost is None:
        return
    if cost.tag != toys.tag or cost.correction is not None:
        msg = (
            f"the toys are of {toys.model}, but the cost is "
            f"{'calibrated' if cost.correction is not None else f'of {cost.tag}'}; give the cost "
            "of the same model, not calibrated"
        )
        raise CalibrationError(msg)
    extended = cost.rate is not None
    if extended != toys.extended:
        msg = (
            f"the toys were fitted {'with' if toys.extended else 'without'} the rate term, but "
            f"the cost is {'with' if extended else 'without'} it; use the rate term for both or "
            "for neither"
        )
        raise CalibrationError(msg)


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """Λ of toys, or of data, with the maximum above the null value."""

    at: Callable[[float], FloatArray]
    estimates: FloatArray
    maximum: FloatArray

    @classmethod
    def of(cls, toys: ToyEnsemble, null: float) -> _Surfaces:
        best = toys.interpolation.extrema(toys.values, (null, toys.range[1]))
        return cls(
            lambda mu: toys.interpolation.values_at(toys.values, np.array([mu]))[:, 0],
            best.theta_hat,
            best.maximum,
        )

    def statistic(self, mu: float) -> FloatArray:
        q = np.maximum(2 * (self.maximum - self.at(mu)), 0.0)
        return np.where(self.estimates > mu, 0.0, q)


def _surface_of(cost: LikelihoodCost, null: float) -> _Surfaces:
    """Use the data as one toy, with the rate term of the cost added to the surface."""
    from milinfer.intervals.confidence_sets import bounded_minimum

    best = bounded_minimum(cost, ((null, cost.limits[1]),))
    return _Surfaces(lambda mu: np.array([-cost(mu) / 2]), best.theta, np.array([-best.value / 2]))


def _cls_of_toys(
    q: FloatArray, of_signal: FloatArray, of_background: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """CLs and its error for values of the statistic, from sorted statistics of toys."""
    n, m = len(of_signal), len(of_background)
    signal = (n - np.searchsorted(of_signal, q, side="left")) / n
    background = (m - np.searchsorted(of_background, q, side="left")) / m
    background = np.maximum(background, 1 / m)
    ratio = signal / background
    relative = (1 - signal) / np.maximum(signal, 1 / n) / n + (1 - background) / background / m
    return np.minimum(ratio, 1.0), np.maximum(ratio, 1 / n) * np.sqrt(relative)


def _error_of_quantiles(
    shares: FloatArray, of_signal: FloatArray, of_background: FloatArray
) -> FloatArray:
    """Error of CLs because the quantiles of the background are those of a finite number of toys."""
    size = np.sqrt(shares * (1 - shares) / len(of_background))
    ends = [
        np.quantile(of_background, np.clip(1 - shares + sign * size, 0, 1), method="inverted_cdf")
        for sign in (-1, 1)
    ]
    signal = [1 - np.searchsorted(of_signal, q, side="left") / len(of_signal) for q in ends]
    out: FloatArray = np.abs(signal[0] - signal[1]) / 2 / shares
    return out


def _crossing(
    grid: FloatArray,
    cls: FloatArray,
    errors: FloatArray,
    alpha: float,
    share: float,
    n_toys: int,
    parameter: str,
) -> tuple[float, float]:
    r"""Value at which CLs falls below α, and its error; `share` is 1 − p_b of the background.

    Interpolated is :math:`\Phi^{-1}(p_{s+b})`, which is a line if estimates are Gaussian.  With CLs
    itself limits would be too high, and with ln CLs too low.
    """
    below = np.flatnonzero(cls < alpha)
    if not len(below):
        msg = (
            f"no limit on {parameter}: CLs is {cls[-1]:.3g} at {grid[-1]:g}, the highest value of "
            "the toys; generate toys at higher values"
        )
        raise CalibrationError(msg)
    k = int(below[0])
    # If no toy is left there, half a toy: 0 has no quantile.
    p = share * np.maximum(cls[k - 1 : k + 1], min(1 / (2 * n_toys), alpha / 2))
    ends = ndtri(p)
    sizes = share * errors[k - 1 : k + 1] * np.sqrt(2 * np.pi) * np.exp(ends**2 / 2)
    slope = (ends[1] - ends[0]) / (grid[k] - grid[k - 1])
    place = grid[k - 1] + (ndtri(share * alpha) - ends[0]) / slope
    return float(place), float(np.hypot(*sizes) / abs(slope) / np.sqrt(2))
