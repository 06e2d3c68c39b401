"""Measure coverage: how often the intervals of a method contain the true value.

Coverage must be measured with toys from events that were not used to calibrate the method; toys
from calibration events are refused.  Every coverage has two errors: a binomial error due to the
number of toys, and an error due to the finite pool of simulated events from which the toys are
drawn.  Judge a method by its coverage at all true values together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, chi2

from milinfer.exceptions import CalibrationError, MilinferWarning, ParameterError
from milinfer.intervals.profile_constants import profile_statistic
from milinfer.samples.fingerprints import share_events
from milinfer.toys.ensemble import ToyEnsemble, require_one_kind, require_unseen_toys
from milinfer.typing import BoolArray, FloatArray, Point
from milinfer.utils.confidence_levels import CL68, CL95, chi2_quantile, require_level, same_level
from milinfer.utils.display import html_facts, html_table, percent, rich_table, tuples_table
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = [
    "Asymptotic",
    "Coverage",
    "CoverageScan",
    "IntervalMethod",
    "binomial_errors",
    "coverage",
    "coverage_scan",
    "require_other_events",
    "warn_of_pools",
]


# Step of the truth that gives the slope of the coverage, in standard deviations of θ̂.
_STEP = 0.25


class IntervalMethod(Protocol):
    """Method that makes intervals: a calibration, a belt, or the asymptotic formula."""

    @property
    def pool_ids(self) -> tuple[str, ...]:
        """Fingerprints of the events used for the calibration."""

    def contains_truth(self, ensemble: ToyEnsemble, cl: float) -> BoolArray:
        """Tell whether the interval of each toy contains the true value, shape (n_toys,)."""


class Asymptotic:
    """Asymptotic intervals: all θ with 2 [Λ(θ̂) − Λ(θ)] up to the quantile of χ² (Wilks).

    Λ(θ) is the log-likelihood ratio ln L(θ)/L(θ0), with its maximum at θ̂.

    Parameters
    ----------
    parameter
        With several parameters: the parameter for which profile-likelihood intervals are made.
        None: joint regions of all parameters.

    Examples
    --------
    >>> Asymptotic().pool_ids
    ()
    """

    def __init__(self, parameter: str | None = None) -> None:
        self.parameter = parameter

    @property
    def pool_ids(self) -> tuple[str, ...]:
        """Empty, because no events were used for a calibration."""
        return ()

    def contains_truth(self, ensemble: ToyEnsemble, cl: float) -> BoolArray:
        """Tell whether the interval of each toy contains the true value, shape (n_toys,)."""
        names, values = list(ensemble.point), list(ensemble.point.values())
        if self.parameter is not None and len(names) > 1:
            if self.parameter not in names:
                msg = f"{self.parameter!r} is not one of the parameters {', '.join(names)}"
                raise ParameterError(msg)
            k = names.index(self.parameter)
            limits = ensemble.interpolation.limits
            profile = profile_statistic(ensemble, k, values[k], limits)
            return np.asarray(profile <= chi2_quantile(cl, 1))
        theta = values[0] if len(values) == 1 else values
        return np.asarray(ensemble.test_statistic(theta) <= chi2_quantile(cl, len(values)))


def coverage(
    ensemble: ToyEnsemble,
    method: IntervalMethod | None = None,
    cl: float = CL68,
    *,
    name: str | None = None,
    warn_of_pool: bool = True,
) -> Coverage:
    """Measure how often the intervals of toys contain the true value.

    Parameters
    ----------
    ensemble
        Toys of one model at one true value.
    method
        Calibration or belt that makes the intervals.  It must have been made with other simulated
        events than the toys.  None: asymptotic intervals (Wilks).
    cl
        Claimed confidence level.
    name
        Name of the method in the result; default: the name of its class.
    warn_of_pool
        Whether to warn if the pool of simulated events, from which the toys are drawn, is too
        small.

    Raises
    ------
    CalibrationError
        If the toys come from events that were used to calibrate the method, or `cl` is not between
        0 and 1.

    Warns
    -----
    MilinferWarning
        If the error due to the finite pool of events is larger than the error due to the number of
        toys.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(100_000, [0.1], seed=1), n_events=100, seed=2)
    >>> measured = coverage(toys.run([model], 0.1, 1000)["mean"])
    >>> abs(measured.pull) < 4
    True
    """
    require_level(cl)
    given: object = ensemble
    if not isinstance(given, ToyEnsemble) or isinstance(method, Mapping):
        msg = (
            "coverage() takes toys at one true point, toys.run([model], truth, "
            "n_toys)[model.name], and one calibration or belt; use "
            "milinfer.coverage_scan(ensembles, methods) for several points or methods"
        )
        raise CalibrationError(msg)
    interval_method = Asymptotic() if method is None else method
    label = name or ("as it is" if method is None else type(method).__name__.lower())
    require_other_events(ensemble, interval_method.pool_ids, label)
    inside = interval_method.contains_truth(ensemble, cl)
    n, k = len(inside), int(inside.sum())
    p = k / n
    exact = binomtest(k, n).proportion_ci(CL68, method="exact")
    shift = _pool_shift(ensemble, interval_method, cl)
    measured = Coverage(
        model=ensemble.model,
        method=label,
        point=ensemble.point,
        cl=cl,
        coverage=p,
        error=float(np.sqrt(p * (1 - p) / n)),
        low=float(exact.low),
        high=float(exact.high),
        n_toys=n,
        pool_error=float(np.hypot(ensemble.pool_coverage_error(cl), shift)),
    )
    if warn_of_pool:
        warn_of_pools([measured])
    return measured


def _pool_shift(ensemble: ToyEnsemble, method: IntervalMethod, cl: float) -> float:
    """Change of the coverage if the fluctuation of the pool shifts all estimates by one sigma.

    If intervals are biased, their coverage depends on θ, and the change is of first order.
    """
    estimates = ensemble.theta_hat.reshape(ensemble.n_toys, -1)
    spread = estimates.std(axis=0, ddof=1)
    slope = np.zeros(len(spread))
    for k, name in enumerate(ensemble.point):
        ends = []
        for step in (-_STEP * spread[k], _STEP * spread[k]):
            point = {**ensemble.point, name: ensemble.point[name] + step}
            moved = ensemble.with_truth(point)
            try:
                ends.append((step, float(method.contains_truth(moved, cl).mean())))
            except (CalibrationError, ParameterError):
                # Outside the range of a belt or a calibration: take the slope to the other side.
                ends.append((0.0, float(method.contains_truth(ensemble, cl).mean())))
        (left, low), (right, high) = ends
        slope[k] = (high - low) / (right - left) if right > left else np.nan
    covariance = np.atleast_2d(np.cov(estimates.T)) * ensemble.reuse / ensemble.n_toys
    return float(np.sqrt(slope @ covariance @ slope))


def coverage_scan(
    ensembles: Sequence[ToyEnsemble],
    methods: Mapping[str, IntervalMethod | None],
    cls: Sequence[float] = (CL68, CL95),
    *,
    warn_of_pool: bool = True,
    on_row: Callable[[int], None] | None = None,
) -> CoverageScan:
    """Measure the coverage of several methods with the same toys at several true values.

    Parameters
    ----------
    ensembles
        Toys of one model: one :class:`~milinfer.toys.ensemble.ToyEnsemble` for each true value.
    methods
        Interval methods by name; None: asymptotic intervals (Wilks).
    cls
        Confidence levels.
    warn_of_pool
        Whether to warn, once, if pools of simulated events are too small; see :func:`coverage`.
    on_row
        Function that is called with 1 after each measured coverage.

    Raises
    ------
    CalibrationError
        If the toys are of different kinds, or simulated events of the toys were used to calibrate a
        method.

    Examples
    --------
    See :func:`coverage` for one true value, and ``benchmarks/interval_coverage.py`` for a scan.
    """
    require_one_kind(ensembles)
    rows = []
    for name, method in methods.items():
        for cl in cls:
            for ensemble in ensembles:
                rows.append(coverage(ensemble, method, cl, name=name, warn_of_pool=False))
                if on_row is not None:
                    on_row(1)
    if warn_of_pool:
        warn_of_pools(rows)
    return CoverageScan(tuple(rows))


def warn_of_pools(rows: Sequence[Coverage]) -> None:
    """Warn, once, if errors due to finite pools are larger than errors due to the number of toys.

    Examples
    --------
    >>> row = Coverage("m", "belt", {"mu": 0.0}, 0.6827, 0.70, 0.01, 0.69, 0.71, 2000, 0.002)
    >>> warn_of_pools([row])
    """
    claimed = np.array([binomial_errors(r.cl, r.n_toys) for r in rows])
    # The pool error of models of bags is unknown (NaN), and never compares as larger.
    excess = np.array([r.pool_error for r in rows]) / claimed
    bad = np.flatnonzero(excess > 1)
    if not len(bad):
        return
    k = int(bad[np.argmax(excess[bad])])
    worst = rows[k]
    msg = (
        f"{worst.model}, {worst.method} at {format_point(worst.point)}: the statistical error of "
        f"the coverage from {worst.n_toys} toys is {claimed[k]:.2%}, but the shared pool of events "
        f"adds up to {worst.pool_error:.2%} ({len(bad)} of {len(rows)} coverages affected); use a "
        "larger pool"
    )
    warnings.warn(msg, MilinferWarning, stacklevel=3)


def require_other_events(ensemble: ToyEnsemble, pool_ids: Sequence[str], method: str) -> None:
    """Raise an error if toys contain events used to train a model or to calibrate a method.

    Raises
    ------
    CalibrationError
        If the toys contain such events.
    """
    require_unseen_toys([ensemble])
    if any(share_events(ensemble.pool_id, other) for other in pool_ids):
        msg = (
            f"these toys of {ensemble.model} at {format_point(ensemble.point)} were drawn from "
            f"the same events that were used for the calibration ({method}), so they cannot test "
            "it; draw them from other events"
        )
        raise CalibrationError(msg)


def binomial_errors(cl: float, n: ArrayLike) -> FloatArray:
    """Compute the binomial standard error of a coverage that equals the claimed level.

    Examples
    --------
    >>> binomial_errors(0.6827, np.array([2000.0])).round(4)
    array([0.0104])
    """
    error: FloatArray = np.sqrt(cl * (1 - cl) / np.asarray(n, dtype=np.float64))
    return error


class Coverage(NamedTuple):
    """Measured coverage: the fraction of the toys whose interval contains the true value.

    Parameters
    ----------
    model, method
        Names of the model and of the interval method.
    point
        The true values of the parameters.
    cl
        Claimed confidence level.
    coverage, error
        Measured coverage p, with the binomial error sqrt(p(1−p)/n).
    low, high
        Clopper–Pearson 68.27 % interval of the coverage.
    n_toys
        Number n of toys.
    pool_error
        Error of the coverage due to the finite pool of simulated events from which the toys are
        drawn; NaN if unknown.
    """

    model: str
    method: str
    point: Point
    cl: float
    coverage: float
    error: float
    low: float
    high: float
    n_toys: int
    pool_error: float

    @property
    def theta(self) -> float:
        """The true value of the only parameter."""
        return self.point[only(tuple(self.point))]

    @property
    def known_pool_error(self) -> float | None:
        """The error `pool_error`, but None instead of NaN if it is unknown."""
        return None if np.isnan(self.pool_error) else self.pool_error

    @property
    def pull(self) -> float:
        """Coverage minus claimed level, divided by the binomial error of the claimed level."""
        return (self.coverage - self.cl) / float(binomial_errors(self.cl, self.n_toys))

    @property
    def total_error(self) -> float:
        """Errors due to the toys and, if known, due to the pool, added in quadrature."""
        return (
            self.error
            if np.isnan(self.pool_error)
            else float(np.hypot(self.error, self.pool_error))
        )

    @property
    def total_pull(self) -> float:
        """Coverage minus claimed level, divided by the error due to toys and, if known, pool."""
        toys = float(binomial_errors(self.cl, self.n_toys))
        pool = 0.0 if np.isnan(self.pool_error) else self.pool_error
        return (self.coverage - self.cl) / float(np.hypot(toys, pool))

    def with_errors(self, places: int = 1, *, both: bool = False) -> str:
        """Write the coverage with its binomial error and, if larger, the error due to the pool.

        Parameters
        ----------
        places
            Decimal places of the percentages.
        both
            Whether to write the error due to the event pool even if it is smaller than the binomial
            error.

        Examples
        --------
        >>> row = Coverage("m", "belt", {"mu": 0.0}, 0.6827, 0.7, 0.01, 0.69, 0.71, 2000, 0.002)
        >>> row.with_errors(), row._replace(pool_error=0.03).with_errors()
        ('70.0% ± 1.0%', '70.0% ± 1.0% ± 3.0% (event pool)')
        """
        text = f"{self.coverage:.{places}%} ± {self.error:.{places}%}"
        quoted = not np.isnan(self.pool_error) if both else self.pool_error > self.error
        return f"{text} ± {self.pool_error:.{places}%} (event pool)" if quoted else text

    def __str__(self) -> str:
        return (
            f"{self.method} of {self.model} at {format_point(self.point)}: "
            f"{self.with_errors(2, both=True)} (claimed {self.cl:.2%}, {self.n_toys} toys)"
        )

    def _repr_html_(self) -> str:
        facts = {
            "truth": format_point(self.point),
            "coverage": f"{self.coverage:.2%} ± {self.error:.2%}",
            "claimed": f"{self.cl:.2%}",
            "pull": f"{self.pull:+.1f}",
            "toys": self.n_toys,
            "error of the pool": "" if np.isnan(self.pool_error) else f"{self.pool_error:.2%}",
        }
        return html_facts(f"Coverage of {self.method}, {self.model}", facts)

    def to_table(self) -> pa.Table:
        """Return an Arrow table with one row; see :meth:`CoverageScan.to_table`."""
        return CoverageScan((self,)).to_table()


@dataclass(frozen=True)
class CoverageScan:
    """Measured coverages of several methods at several true values.

    :func:`milinfer.coverage_scan` makes it.

    Examples
    --------
    >>> row = Coverage("m", "belt", {"mu": 0.0}, 0.6827, 0.70, 0.01, 0.69, 0.71, 2000, 0.0)
    >>> scan = CoverageScan((row,))
    >>> round(row.pull, 2), round(scan.chi2("belt", 0.6827)[2], 3)
    (1.66, 0.096)
    """

    rows: tuple[Coverage, ...]

    def __iter__(self) -> Iterator[Coverage]:
        return iter(self.rows)

    def __add__(self, other: CoverageScan) -> CoverageScan:
        return CoverageScan(self.rows + other.rows)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in order."""
        return tuple(dict.fromkeys(r.method for r in self.rows))

    @property
    def cls(self) -> tuple[float, ...]:
        """Confidence levels, in order."""
        return tuple(dict.fromkeys(r.cl for r in self.rows))

    def of(self, method: str, cl: float) -> tuple[Coverage, ...]:
        """Return the coverages of one method at one level.

        Raises
        ------
        KeyError
            If there are no coverages of this method and level.
        """
        rows = tuple(r for r in self.rows if r.method == method and same_level(r.cl, cl))
        if not rows:
            msg = f"no coverage of {method!r} at {cl:g}; there are {self.methods} at {self.cls}"
            raise KeyError(msg)
        return rows

    def chi2(self, method: str, cl: float) -> tuple[float, int, float]:
        """Compare the coverages at all true values with the claimed level by a χ² test.

        The errors are those due to the number of toys and, if known, due to the pool of events.  If
        toys at several true values are drawn from one pool, the fluctuation of the pool is common
        to their coverages.  The mean of χ²/n is then still one, but χ² varies more than for
        independent coverages.

        Returns
        -------
        tuple
            χ², number of degrees of freedom, and p-value.
        """
        pulls = np.array([r.total_pull for r in self.of(method, cl)])
        value = float(pulls @ pulls)
        return value, len(pulls), float(chi2.sf(value, len(pulls)))

    def outside(self, method: str, cl: float, sigmas: float = 2.0) -> tuple[Coverage, ...]:
        """Return the coverages that deviate by more than `sigmas` errors from the claimed level."""
        return tuple(r for r in self.of(method, cl) if abs(r.total_pull) > sigmas)

    header = ("method", "level", "truths", "lowest", "highest", "χ²/n", "p-value", "beyond 2σ")

    def table_rows(self) -> list[list[str]]:
        """Return the cells of the table as text: one row for each method and level."""
        out = []
        for method in self.methods:
            for cl in self.cls:
                rows = sorted(self.of(method, cl), key=lambda r: r.coverage)
                value, n, p = self.chi2(method, cl)
                out.append(
                    [
                        method,
                        f"{cl:.2%}",
                        str(n),
                        *(percent(r.coverage, r.total_error) for r in (rows[0], rows[-1])),
                        f"{value / n:.2f}",
                        f"{p:.2g}",
                        str(len(self.outside(method, cl))),
                    ]
                )
        return out

    def __repr__(self) -> str:
        return f"CoverageScan({len(self.rows)} rows of {', '.join(self.methods) or 'no method'})"

    def to_rich(self) -> Table:
        """Make a table for the terminal."""
        from rich.box import SIMPLE_HEAD

        return rich_table(
            self._title,
            self.header,
            self.table_rows(),
            no_wrap=True,
            caption=self._errors,
            box=SIMPLE_HEAD,
            collapse_padding=True,
        )

    def _repr_html_(self) -> str:
        title = f"{self._title}; {self._errors}"
        return html_table(self.header, self.table_rows(), title=title)

    _title: ClassVar = "Coverage at all truths"
    _errors: ClassVar = "± is the error from the toys and from the event pool, added in quadrature"

    def to_table(self) -> pa.Table:
        """Return an Arrow table with one row for each method, level and true value.

        Columns: the fields of :class:`Coverage`, with the true value as ``point.PARAMETER``, and
        ``pull`` and ``total_pull``.
        """
        return tuples_table(Coverage, self.rows, ["pull", "total_pull"])

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain numbers, for JSON; None if the error of the pool is unknown."""
        return [
            {
                **r._asdict(),
                "point": dict(r.point),
                "pull": r.pull,
                "total_pull": r.total_pull,
                "pool_error": r.known_pool_error,
            }
            for r in self.rows
        ]
