"""Fit with Minuit: several costs in one fit, impacts, intervals, results for cabinetry.

- :func:`minuit` creates a Minuit object for a sum of costs, and :func:`shared_parameters` checks
  which parameters the costs share.
- :func:`impacts` computes how much each nuisance parameter shifts the parameter of interest.
- :func:`profile_interval` computes the profile-likelihood interval of one parameter with MINOS.
- :func:`fit_results` returns the result of a fit in the form that cabinetry draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from iminuit import Minuit, describe
from iminuit.cost import Cost, NormalConstraint

from milinfer.exceptions import (
    FitError,
    MilinferError,
    MilinferWarning,
    ParameterError,
    SecondMinimumWarning,
)
from milinfer.likelihood.auxiliary import terms_of
from milinfer.likelihood.other_ranges import other_ranges
from milinfer.typing import FloatArray, Point
from milinfer.utils.confidence_levels import CL68, CL95, chi2_quantile, require_level
from milinfer.utils.display import (
    arrow_table,
    brief,
    html_facts,
    html_table,
    measured,
    shortened,
    tuples_table,
)
from milinfer.utils.keywords import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FitResults",
    "Impact",
    "Interval",
    "contour",
    "fit_results",
    "impacts",
    "minuit",
    "profile_interval",
    "shared_parameters",
]


def shared_parameters(*costs: Cost, expected: Iterable[str] = ()) -> dict[str, tuple[int, ...]]:
    """Return which costs contain each parameter, and check the parameters that must be shared.

    Costs can be added (``unbinned + binned + constraint``), and parameters with the same name are
    then the same parameter.  A typo in a name creates a second parameter without an error.  To get
    an error, list the names that must be shared in `expected`.

    Parameters
    ----------
    costs
        Any iminuit costs.  The terms of a sum count as separate costs.
    expected
        Names of parameters that at least two costs must contain.

    Returns
    -------
    dict
        For each name of a parameter, the positions of the costs that contain the parameter.

    Raises
    ------
    ParameterError
        If an expected name is in fewer than two costs, if two costs have limits of a parameter that
        exclude each other, or if two costs contain the constraint of the same parameter.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> a = NormalConstraint(["mu", "norm"], [0.0, 1.0], [1.0, 0.1])
    >>> shared_parameters(a, NormalConstraint("norm", 1.0, 0.2))
    {'mu': (0,), 'norm': (0, 1)}
    >>> shared_parameters(a, NormalConstraint("nrom", 1.0, 0.2), expected=["norm"])
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: norm is in 1 of 2 costs (number 0), and was expected to be
    shared; did you mean nrom?
    """
    terms = _terms(costs)
    positions: dict[str, tuple[int, ...]] = {}
    for k, term in enumerate(terms):
        for name in describe(term):
            positions[name] = (*positions.get(name, ()), k)
    for name in expected:
        _require_shared(name, positions, len(terms))
    _common_limits(terms)
    _require_constrained_once(terms)
    return positions


def _require_shared(name: str, positions: Mapping[str, tuple[int, ...]], n_costs: int) -> None:
    """Raise unless two costs have a parameter; the message suggests similar names."""
    numbers = positions.get(name, ())
    if len(numbers) >= 2:
        return
    suggestion = did_you_mean(name, [n for n in positions if n != name])
    msg = (
        f"{name} is in {len(numbers)} of {n_costs} costs"
        + (f" (number {', '.join(map(str, numbers))})" if numbers else "")
        + ", and was expected to be shared"
        + (suggestion or "; check its name")
    )
    raise ParameterError(msg)


def minuit(cost: Cost, *, start: Point | None = None, **values: float) -> Minuit:
    """Create a Minuit object with the starting values, limits and fixed parameters of a cost.

    In a sum of costs, the limits of a parameter are the range that all terms allow (iminuit itself
    takes the limits of the first term).  A parameter that one term fixes is fixed at its starting
    value.

    A cost may contain constraints of nuisance parameters, whose names are in ``cost.constrained``.
    A sum may contain each constraint only once; ``cost.without_constraints(names)`` removes it from
    a cost.

    Parameters
    ----------
    cost
        Any iminuit cost, or a sum of costs.
    start
        Starting values by name.  They replace the starting values of the costs (``cost.start``).
        Default for a parameter without starting value: 0, or a value inside its limits if 0 is
        outside.
    **values
        Starting values as keywords, such as ``mu=0.3``, instead of `start`.

    Raises
    ------
    ParameterError
        If a name is unknown or has two values, if a value is outside the limits, if limits exclude
        each other, or if two terms contain the constraint of the same parameter.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> m = minuit(NormalConstraint("mu", 1.0, 0.5), mu=0.3)
    >>> print(f"{m.values['mu']:.3f}, {m.migrad().values['mu']:.3f}")
    0.300, 1.000
    """
    terms = _terms([cost])
    limits = _common_limits(terms)
    _require_constrained_once(terms)
    given = _starting_values(start, values)
    _validate_start(given, limits)
    defaults: dict[str, float] = {}
    fixed: set[str] = set()
    for term in terms:
        # Costs of other classes may use these names for something else.
        of_term, fixed_names = getattr(term, "start", {}), getattr(term, "fixed", ())
        defaults = (dict(of_term) if isinstance(of_term, Mapping) else {}) | defaults
        fixed |= set(fixed_names) if isinstance(fixed_names, tuple) else set()
    starts = {}
    for name, (low, high) in limits.items():
        value = float(given.get(name, defaults.get(name, 0.0)))
        if not low <= value <= high:
            value = (
                (low + high) / 2 if np.isfinite(low + high) else float(np.clip(value, low, high))
            )
        starts[name] = value
    # By position, because a parameter may have the name of an argument of Minuit.
    m = Minuit(cost, *starts.values(), name=list(starts))
    for name, pair in limits.items():
        m.limits[name] = pair
        m.fixed[name] = name in fixed
        m.errors[name] = max(m.errors[name], _least_step(starts[name], *pair))
    return m


# Fraction of the range: a value nearer to zero is the result of a fit where zero was meant.
_NEARLY_ZERO, _STEP = 1e-6, 1e-4


def _least_step(value: float, low: float, high: float) -> float:
    """Return the smallest first step for Minuit; 0 if the default step is sufficient.

    The default is a hundredth of the value.  For a value of −1e-14 this is so small that the fit
    ends where it started.
    """
    scale = high - low if np.isfinite(high - low) else 1.0
    return _STEP * scale if 0 < abs(value) < _NEARLY_ZERO * scale else 0.0


def _starting_values(start: object, values: Point) -> dict[str, float]:
    """Return the starting values, given as a dictionary or as keywords."""
    named = {} if start is None else start
    if not isinstance(named, Mapping):
        msg = f"start={start!r} has no names; write start={{'c_HW': 0.1}}, or c_HW=0.1"
        raise ParameterError(msg)
    twice = sorted(set(named) & set(values))
    if twice:
        msg = f"{twice[0]} has two starting values, in start= and as a keyword; give only one"
        raise ParameterError(msg)
    return {**named, **values}


def _validate_start(start: Mapping[str, float], limits: Mapping[str, tuple[float, float]]) -> None:
    """Raise unless starting values have names of parameters and are inside their limits."""
    unknown = [n for n in start if n not in limits]
    if unknown:
        raise ParameterError(_unknown_parameter(unknown[0], limits))
    for name, value in start.items():
        low, high = limits[name]
        if not low <= value <= high:
            msg = f"{name} = {value:g} is outside its limits [{low:g}, {high:g}]; start inside them"
            raise ParameterError(msg)


def _unknown_parameter(name: str, names: Iterable[str]) -> str:
    """Return the message that a cost does not have a parameter, with similar names."""
    known = list(names)
    message = f"{name} is not a parameter of this cost; it has {', '.join(known)}"
    return message + did_you_mean(name, known)


def _terms(costs: Iterable[Cost]) -> list[Cost]:
    return [t for cost in costs for t in terms_of(cost)]


def _require_constrained_once(terms: Iterable[Cost]) -> None:
    """Raise if a cost contains the constraint of a parameter that another term also constrains.

    Two separate constraint terms are allowed, because the user has written both of them.  A
    constraint inside a likelihood is easily forgotten.
    """
    each = [(term, _constrained(term)) for term in terms]
    for (one, names), (other, more) in combinations(each, 2):
        twice = [name for name in names if name in more]
        if not twice or (isinstance(one, NormalConstraint) and isinstance(other, NormalConstraint)):
            continue
        inside, second = (other, one) if isinstance(one, NormalConstraint) else (one, other)
        where = type(inside).__name__
        remedy = f"add cost.without_constraints({twice}) instead of "
        if isinstance(second, NormalConstraint):
            remedy = f"remove the NormalConstraint, or {remedy}the {where}"
        else:
            remedy += "one of the costs"
        msg = (
            f"the constraint of {', '.join(twice)} would be applied twice: the {where} contains "
            f"it, and so does the {type(second).__name__}; {remedy}"
        )
        raise ParameterError(msg)


def _constrained(term: Cost) -> tuple[str, ...]:
    """Return the names of parameters whose constraint a cost contains."""
    if isinstance(term, NormalConstraint):
        return tuple(describe(term))
    names = getattr(term, "constrained", ())
    # Costs of other classes may use the name for something else.
    return names if isinstance(names, tuple) else ()


def _common_limits(terms: Iterable[Cost]) -> dict[str, tuple[float, float]]:
    """Return the range of each parameter that all costs allow."""
    common: dict[str, tuple[float, float]] = {}
    for term in terms:
        for name, pair in describe(term, annotations=True).items():
            low, high = (-np.inf, np.inf) if pair is None else (float(x) for x in pair)
            before = common.get(name, (-np.inf, np.inf))
            common[name] = (max(low, before[0]), min(high, before[1]))
            if not common[name][0] < common[name][1]:
                msg = (
                    f"{name} is limited to [{before[0]:g}, {before[1]:g}] by one cost and to "
                    f"[{low:g}, {high:g}] by another; they cannot be the same parameter: rename one"
                )
                raise ParameterError(msg)
    return common


class Impact(NamedTuple):
    """Impact of one nuisance parameter on the parameter of interest.

    Parameters
    ----------
    name
        Name of the nuisance parameter.
    value, lower, upper
        Fitted value of the nuisance parameter, and its MINOS errors; `lower` is negative.
    down, up
        Shifts of the parameter of interest if the nuisance parameter is fixed at ``value + lower``
        and at ``value + upper``, and all other parameters are refitted.
    """

    name: str
    value: float
    lower: float
    upper: float
    down: float
    up: float

    @property
    def size(self) -> float:
        """Absolute value of the larger shift of the parameter of interest (`down` or `up`)."""
        return max(abs(self.down), abs(self.up))


def impacts(
    cost: Cost, parameter: str, *, start: Point | None = None, **values: float
) -> tuple[Impact, ...]:
    """Compute the impacts of all other parameters of a cost on one parameter, the largest first.

    Each of these parameters is fixed at the ends of its MINOS interval.  For impacts from shifts of
    auxiliary measurements, impacts before the fit, impacts of groups, or impacts on several
    parameters, use :func:`milinfer.intervals.nuisance_impacts`.

    Parameters
    ----------
    cost
        Cost, including the constraints of its nuisance parameters.
    parameter
        Name of the parameter of interest.
    start, **values
        Starting values, as for :func:`milinfer.minuit`.

    Raises
    ------
    ParameterError
        If the cost does not have this parameter, or has no other free parameter.
    FitError
        If a fit is not valid; the message names the fit.

    Examples
    --------
    The correlation shifts mu by half of the shift of norm, whose error is 0.2:

    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["mu", "norm"], [1.0, 1.0], [[0.05, 0.02], [0.02, 0.04]])
    >>> (impact,) = impacts(both, "mu", mu=1.0, norm=1.0)
    >>> impact.name, round(impact.upper, 3), round(impact.up, 3)
    ('norm', 0.2, 0.1)
    """
    best = minuit(cost, start=start, **values)
    others = [name for name in best.parameters if name != parameter and not best.fixed[name]]
    if parameter not in best.parameters or not others:
        msg = (
            f"impacts on {parameter} need a cost with it and with others; this one has "
            f"{', '.join(best.parameters)}"
        )
        raise ParameterError(msg)
    best.migrad()
    _require_valid(best, "at its minimum")
    # A MIGRAD that starts at the minimum makes no step, and MINOS cannot use its covariance.
    best.hesse()
    _minos(best, others)
    centre = best.values.to_dict()
    results = []
    for name in others:
        error = best.merrors[name]
        if not error.is_valid:
            msg = f"the MINOS error of {name} is not valid; look at its limits and its constraint"
            raise FitError(msg)
        shifts = []
        for side in (error.lower, error.upper):
            m = minuit(cost, start=centre)
            # The first step of Minuit is a hundredth of the value, even for a value of -1e-14.
            m.errors = best.errors
            m.values[name] = centre[name] + side
            m.fixed[name] = True
            m.migrad()
            _require_valid(m, f"with {name} = {centre[name] + side:.4g}")
            shifts.append(float(m.values[parameter] - centre[parameter]))
        down, up = shifts
        results.append(
            Impact(
                name=name,
                value=float(centre[name]),
                lower=float(error.lower),
                upper=float(error.upper),
                down=down,
                up=up,
            )
        )
    return tuple(sorted(results, key=lambda i: -i.size))


def _require_valid(m: Minuit, which: str) -> None:
    if not m.valid:
        msg = f"the fit {which} is not valid; look at starting values and limits: {m.fmin}"
        raise FitError(msg)


class FitResults(NamedTuple):
    """Result of a fit, with the fields of ``cabinetry.fit.FitResults`` (0.6).

    Pass it to ``cabinetry.visualize.pulls`` and ``correlation_matrix`` to draw the figures of
    cabinetry for any likelihood, binned or unbinned.

    Parameters
    ----------
    bestfit, uncertainty
        Fitted values and their errors, shape (n_parameters,); the error of a fixed parameter is 0.
    labels
        Names of the parameters.
    corr_mat
        Correlation matrix, shape (n_parameters, n_parameters); rows and columns of fixed parameters
        are 0.
    best_twice_nll
        Value of the cost at the minimum.
    goodness_of_fit
        p-value of the goodness of fit; −1 if it was not computed.
    minos_uncertainty
        MINOS errors (lower, upper) by name, for the parameters that have them; the lower error is
        negative.
    """

    bestfit: FloatArray
    uncertainty: FloatArray
    labels: list[str]
    corr_mat: FloatArray
    best_twice_nll: float
    goodness_of_fit: float = -1.0
    minos_uncertainty: Mapping[str, tuple[float, float]] = {}

    def _repr_html_(self) -> str:
        rows = [
            [name, measured(float(value), float(error)), self._minos(name)]
            for name, value, error in zip(self.labels, self.bestfit, self.uncertainty, strict=True)
        ]
        title = f"−2 ln L = {self.best_twice_nll:.4f} at the minimum"
        return html_table(("parameter", "value", "MINOS"), rows, title=title)

    def _minos(self, name: str) -> str:
        if name not in self.minos_uncertainty:
            return ""
        down, up = self.minos_uncertainty[name]
        return f"{down:+.3g} {up:+.3g}"

    def to_table(self) -> pa.Table:
        """Return a table with one row for each parameter.

        The columns are ``parameter``, ``value``, ``error``, ``minos_down`` (negative) and
        ``minos_up``.
        """
        types = {"parameter": str, "value": float, "error": float}
        rows = []
        for name, value, error in zip(self.labels, self.bestfit, self.uncertainty, strict=True):
            down, up = self.minos_uncertainty.get(name, (None, None))
            row = {"parameter": name, "value": value, "error": error}
            rows.append(row | {"minos_down": down, "minos_up": up})
        return arrow_table({**types, "minos_down": float, "minos_up": float}, rows)

    def to_cabinetry(self) -> Any:
        """Return the same numbers as a ``cabinetry.fit.FitResults``, for code that needs the class.

        Raises
        ------
        ImportError
            If cabinetry is not installed.
        """
        from cabinetry.fit import FitResults as OfCabinetry

        return OfCabinetry(**self._asdict())


def fit_results(m: Minuit) -> FitResults:
    """Collect the result of a fit in the form that cabinetry draws.

    Parameters
    ----------
    m
        Minuit object after ``migrad`` and ``hesse``, and optionally after ``minos``.

    Raises
    ------
    FitError
        If the fit is not valid or has no covariance, or a MINOS error is not valid.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> results = fit_results(Minuit(NormalConstraint("mu", 1.0, 0.5), mu=0.0).migrad().hesse())
    >>> results.labels, results.bestfit.round(3).tolist(), results.uncertainty.round(3).tolist()
    (['mu'], [1.0], [0.5])
    """
    if not m.valid or m.covariance is None:
        msg = (
            "the fit has no valid minimum with a covariance; call migrad() and hesse(), and look "
            f"at starting values and limits: {m.fmin}"
        )
        raise FitError(msg)
    labels = list(m.parameters)
    free = ~np.array([m.fixed[name] for name in labels])
    covariance = np.asarray(m.covariance)
    sigma = np.sqrt(np.diag(covariance))
    scale = np.where(sigma > 0, sigma, 1.0)
    corr = np.where(np.outer(free, free), covariance / np.outer(scale, scale), 0.0)
    minos = {}
    for name, error in m.merrors.items():
        if not error.is_valid:
            msg = f"the MINOS error of {name} is not valid; look at its limits and at m.merrors"
            raise FitError(msg)
        minos[name] = (float(error.lower), float(error.upper))
    return FitResults(
        bestfit=np.array([m.values[name] for name in labels], dtype=np.float64),
        # For parameters with limits these are not the roots of the covariance, as in cabinetry.
        uncertainty=np.where(free, np.array([m.errors[name] for name in labels]), 0.0),
        labels=labels,
        corr_mat=corr,
        best_twice_nll=float(m.fval),
        minos_uncertainty=minos,
    )


class Interval(NamedTuple):
    """Estimate and profile-likelihood interval of one parameter, from :func:`profile_interval`.

    Parameters
    ----------
    parameter
        Name of the parameter.
    estimate
        Value of the parameter at the minimum.
    low, high
        Ends of the interval.
    cl
        Confidence level of the interval.
    error
        Standard error of the parameter from HESSE.
    minuit
        Minuit object of the fit.
    others
        Ends of the other ranges of the confidence set, around other minima of the cost.  Usually
        there are none.
    """

    parameter: str
    estimate: float
    low: float
    high: float
    cl: float
    error: float
    minuit: Minuit
    others: tuple[tuple[float, float], ...] = ()

    def contains(self, value: float) -> bool:
        """Return whether the confidence set, with its other ranges, contains a value."""
        return any(low <= value <= high for low, high in ((self.low, self.high), *self.others))

    def entries(self, key: str) -> dict[str, Any]:
        """Return the ends for a JSON file, and the other ranges as ``{key}_others`` if any exist.

        Parameters
        ----------
        key
            Key of the ends, such as ``"interval68"``.
        """
        others = {f"{key}_others": [list(ends) for ends in self.others]} if self.others else {}
        return {key: [self.low, self.high], **others}

    @property
    def width(self) -> float:
        """Full width of the interval."""
        return self.high - self.low

    def __str__(self) -> str:
        down, up = self.low - self.estimate, self.high - self.estimate
        return f"{self.parameter} = {self.estimate:.4g} {down:+.2g} {up:+.2g} at {self.cl:.2%} CL"

    def __repr__(self) -> str:
        # Without the tables of Minuit; `interval.minuit` shows them.
        return brief(self, leave_out=("minuit",))

    def _repr_html_(self) -> str:
        facts = {
            "estimate": measured(self.estimate, self.error),
            f"{self.cl:.2%} interval": _ranges_text([(self.low, self.high), *self.others]),
            "minimum": "valid" if self.minuit.valid else "not valid",
            "fitted": shortened(list(self.minuit.parameters)),
        }
        return html_facts(self.parameter, facts)

    def to_table(self) -> pa.Table:
        """Return a table with one row.

        The columns are ``parameter``, ``estimate``, ``low``, ``high``, ``cl`` and ``error``.
        """
        return tuples_table(Interval, [self])


def profile_interval(
    cost: Cost,
    parameter: str,
    cl: float = CL68,
    *,
    start: Point | None = None,
    fixed: Sequence[str] = (),
    **values: float,
) -> Interval:
    """Minimise a cost and compute the profile-likelihood interval of one parameter with MINOS.

    The cost may have several minima.  It is therefore scanned at 201 values of the parameter of
    interest inside its limits (without limits: within five standard errors).  The other parameters
    keep the values that MIGRAD found.  The lowest minimum is used.  If the confidence set also
    contains values around another minimum, ``others`` of the result has their ranges, and a warning
    names them.

    Parameters
    ----------
    cost
        Any iminuit cost, or a sum of costs.
    parameter
        Name of the parameter of interest.  All other parameters are profiled, except those that the
        cost fixes.
    cl
        Confidence level of the interval.  At the ends of the interval, −2 ln L is larger than at
        the minimum by the quantile of χ² with one degree of freedom.  A calibrated cost is valid
        for one level: ``profile_interval(calibration(cost, 0.95), "c_HW", 0.95)``.
    start
        Starting values of MIGRAD by name; default: as for :func:`minuit`.
    fixed
        Names of parameters that are fixed at their starting values.  If you fix the nuisance
        parameters at their fitted values, the interval contains the statistical error only.
    **values
        Starting values as keywords, such as ``c_HW=0.1``, instead of `start`.

    Raises
    ------
    FitError
        If MIGRAD, HESSE or MINOS is not valid, or the interval reaches a limit of the parameter.
    ParameterError
        If `parameter`, or a name in `fixed`, `start` or `values`, is not a parameter of the cost,
        or if `cl` is not between 0 and 1.
    CalibrationError
        If the cost is calibrated for another confidence level, for another parameter or for joint
        regions of several parameters; use ``calibration(cost, cl, parameter=…)``.

    Warns
    -----
    SecondMinimumWarning
        If the confidence set also contains values around another minimum, outside the interval.
    MilinferWarning
        If another minimum is lower than the minimum reached from the starting values you gave.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> interval = profile_interval(NormalConstraint("mu", 1.0, 0.5), "mu")
    >>> print(f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]")
    1.00 [0.50, 1.50]
    """
    require_level(cl, ParameterError)
    _require_calibrated(cost, parameter, cl, fixed)
    given = _starting_values(start, values)
    m = minuit(cost, start=given)
    for name in fixed:
        if name not in m.parameters:
            raise ParameterError(_unknown_parameter(name, m.parameters))
        m.fixed[name] = True
    _require_free(m, parameter)
    for name in m.parameters:
        low, high = m.limits[name]
        # At a limit, MIGRAD sees no slope.
        if (
            name not in given
            and not m.fixed[name]
            and m.values[name] in (low, high)
            and np.isfinite(low + high)
        ):
            m.values[name] = (low + high) / 2
    # With the default of 0.1, estimates are off by up to a per cent of their error.
    m.tol = 1e-4
    m.migrad()
    scan = _find_lowest(m, parameter, given)
    m.hesse()
    _require_interval(m.valid, m, f"HESSE failed for {parameter}")
    _minos(m, [parameter], cl)
    merror = m.merrors[parameter]
    _require_interval(
        bool(merror.is_valid and not merror.at_lower_limit and not merror.at_upper_limit),
        m,
        f"MINOS found no {cl:.2%} interval of {parameter} inside its limits {m.limits[parameter]}",
    )
    estimate = float(m.values[parameter])
    interval = Interval(
        parameter=parameter,
        estimate=estimate,
        low=estimate + float(merror.lower),
        high=estimate + float(merror.upper),
        cl=cl,
        error=float(m.errors[parameter]),
        minuit=m,
    )
    rise = scan[1] - m.fval

    def fit_at(value: float) -> Minuit:
        again = minuit(cost, start={**m.values.to_dict(), parameter: value})
        for name in m.parameters:
            again.fixed[name] = m.fixed[name]
        again.tol = m.tol
        return again

    others = other_ranges(
        parameter,
        (interval.low, interval.high),
        scan[0],
        rise,
        float(chi2_quantile(cl, 1)),
        fit_at,
        float(m.fval),
    )
    if others:
        _warn_of_other_minima(interval, others, scan[0], rise)
    return interval._replace(others=others)


# Levels that iminuit takes from scipy.stats, whose import takes longer than a fit, as numbers of
# standard deviations.
_DEVIATIONS = {cl: float(np.sqrt(chi2_quantile(cl, 1))) for cl in (CL68, CL95)}


def _minos(m: Minuit, names: Sequence[str], cl: float | None = None) -> None:
    """Run MINOS, and again with smaller steps if it has evaluated the cost at nan.

    If another parameter is at its minimum for all values of this one, such as an uncorrelated
    nuisance parameter, there is no slope to follow, and Minuit divides by zero.
    """
    level = cl if cl is None else _DEVIATIONS.get(cl, cl)
    try:
        m.minos(*names, cl=level)
    except ParameterError:
        m.strategy = 2
        m.minos(*names, cl=level)
        m.strategy = 1


def _require_calibrated(cost: Cost, parameter: str, cl: float, fixed: Sequence[str]) -> None:
    """Raise if a term of a cost is calibrated for intervals of another kind."""
    for term in _terms([cost]):
        correction = getattr(term, "correction", None)
        if correction is not None:
            correction.require_interval(parameter, cl, fixed)


def _require_free(m: Minuit, parameter: str) -> None:
    """Raise unless a fit has a parameter that is not fixed."""
    if parameter not in m.parameters:
        raise ParameterError(_unknown_parameter(parameter, m.parameters))
    if m.fixed[parameter]:
        msg = (
            f"the cost fixes {parameter}, so it has no interval; choose one of the free parameters"
        )
        raise ParameterError(msg)


# Number of values of the parameter of interest at which other minima are searched for.
_N_SCAN = 201
# Two minima differ only by rounding if neither is lower by more than this.
_LOWER = 1e-3
# Number of times the fit may start again from a point lower than the minimum that it has found.
_RESTARTS = 5


def _scan(m: Minuit, parameter: str) -> tuple[FloatArray, FloatArray]:
    """Return values of a parameter inside its limits, and the cost there with others unchanged."""
    centre, error = float(m.values[parameter]), float(m.errors[parameter])
    low, high = m.limits[parameter]
    low = low if np.isfinite(low) else centre - 5 * error
    high = high if np.isfinite(high) else centre + 5 * error
    values = np.linspace(low, high, _N_SCAN)
    point = np.array(m.values, dtype=np.float64)
    k = m.parameters.index(parameter)
    costs = np.full(_N_SCAN, np.inf)
    for i, value in enumerate(values):
        point[k] = value
        try:
            costs[i] = m.fcn(point)
        except MilinferError:
            # The yield is below zero, so the model is not defined and there is no minimum.
            continue
    return values, np.where(np.isnan(costs), np.inf, costs)


def _find_lowest(m: Minuit, parameter: str, given: Point) -> tuple[FloatArray, FloatArray]:
    """Restart a fit at the lowest point of a scan of its parameter; return the last scan.

    Raises
    ------
    FitError
        If MIGRAD does not converge, or not to a cost as low as the lowest value of the scan.
    """
    first, first_cost = float(m.values[parameter]), float(m.fval)
    converged = m.valid
    for n_restarts in range(_RESTARTS + 1):
        _require_steps(m)
        values, costs = _scan(m, parameter)
        best = int(np.argmin(costs))
        lowest = bool(costs[best] >= m.fval - _LOWER)
        if m.valid and lowest:
            break
        if n_restarts == _RESTARTS or not np.isfinite(costs[best]):
            _require_interval(m.valid, m, f"MIGRAD did not converge for {parameter}")
            below = f"{m.fval - costs[best]:.3g} below it, at {parameter} = {values[best]:.4g}"
            _require_interval(lowest, m, f"MIGRAD finds a minimum, but −2 ln L is {below}")
        m.values[parameter] = values[best]
        m.migrad()
    if parameter in given and converged and m.fval < first_cost - _LOWER:
        warnings.warn(
            f"from {parameter} = {given[parameter]:g} MIGRAD reached the minimum at {first:.4g}, "
            f"but −2 ln L is lower by {first_cost - m.fval:.3g} at {m.values[parameter]:.4g}; the "
            "interval is given for the lower minimum",
            MilinferWarning,
            stacklevel=3,
        )
    return values, costs


def _require_steps(m: Minuit) -> None:
    """Replace errors that are nan, which the next fit would use as its first steps.

    MIGRAD leaves them if it started near a maximum of the cost.
    """
    for name in m.parameters:
        if not np.isfinite(m.errors[name]):
            m.errors[name] = abs(m.values[name]) / 100 or 0.1  # as iminuit does at first


def _warn_of_other_minima(
    interval: Interval,
    others: tuple[tuple[float, float], ...],
    values: FloatArray,
    rise: FloatArray,
) -> None:
    """Warn that ranges outside an interval belong to the confidence set as well."""
    step = values[1] - values[0]
    missed = np.any(
        [(values >= low - step) & (values <= high + step) for low, high in others], axis=0
    )
    k = int(np.argmin(np.where(missed, rise, np.inf)))
    warnings.warn(
        f"{interval.parameter} has a second minimum near {values[k]:.3g}, where −2 ln L is higher "
        f"by {rise[k]:.3g}: the {interval.cl:.2%} confidence set also contains "
        f"{_ranges_text(others)}, outside the interval [{interval.low:.4g}, {interval.high:.4g}]; "
        "quote all ranges, or use the set from a Neyman belt (milinfer.neyman)",
        SecondMinimumWarning,
        stacklevel=3,
    )


def _ranges_text(ranges: Sequence[tuple[float, float]]) -> str:
    return " and ".join(f"[{low:.4g}, {high:.4g}]" for low, high in ranges)


# Fraction of the range of a parameter: a contour nearer to a limit is cut off there.
_MARGIN = 1e-3


def contour(m: Minuit, x: str, y: str, cl: float = CL68, *, interpolated: int = 0) -> FloatArray:
    """Return points of a confidence contour of two parameters; all other parameters are profiled.

    Parameters
    ----------
    m
        Minuit object after ``migrad``.
    x, y
        Names of the two parameters.
    cl
        Joint confidence level of both parameters.  On the contour −2 ln L is larger than at the
        minimum by the quantile of χ² with two degrees of freedom.
    interpolated
        Number of points on a smooth curve through the 60 computed points.  0: return the computed
        points.

    Returns
    -------
    ndarray
        Values of `x` and `y`, shape (n, 2).

    Raises
    ------
    FitError
        If MINUIT finds no contour, or the contour leaves the limits of a parameter (MINUIT then
        follows the limits).
    ParameterError
        If `cl` is not between 0 and 1.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["c1", "c2"], [0.1, 0.2], [0.2, 0.1])
    >>> contour(Minuit(both, 0.0, 0.0).migrad(), "c1", "c2").max(axis=0).round(1)
    array([0.4, 0.4])
    """
    require_level(cl, ParameterError)
    what = f"contour of {x} and {y} at {cl:.2%}"
    try:
        line = np.asarray(m.mncontour(x, y, cl=cl, size=60, interpolated=interpolated), np.float64)
    except (RuntimeError, ParameterError) as error:  # the latter: at its limits MINUIT asks for nan
        msg = f"there is no {what} ({error}); look at the fit and its limits"
        raise FitError(msg) from error
    if line.ndim != 2 or len(line) < 4:  # MINUIT has found no points, and does not say why
        msg = f"there is no {what}: MINUIT finds {len(line)} points; look at the fit and its limits"
        raise FitError(msg)
    low, high = np.array([m.limits[x], m.limits[y]], dtype=np.float64).T
    reach = np.where(np.isfinite(high - low), high - low, 0.0) * _MARGIN
    if not np.all((line > low + reach) & (line < high - reach)):
        limits = ", ".join(f"{p} from {m.limits[p][0]:g} to {m.limits[p][1]:g}" for p in (x, y))
        msg = f"the {what} leaves the limits, {limits}; use more events, or a wider range"
        raise FitError(msg)
    return line


def _require_interval(valid: bool, m: Minuit, what: str) -> None:
    if not valid:
        msg = (
            f"{what} ({m.nfcn} calls, EDM {m.fmin.edm:.2g} for a goal of {m.fmin.edm_goal:.2g}); "
            "look at the surface, its range and the starting values"
        )
        raise FitError(msg)
