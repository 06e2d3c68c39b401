"""Fit one dataset in several parameters: intervals, contours and unconstrained directions.

:func:`joint_fit` takes a cost and optionally a calibration.  It computes: profile intervals of each
parameter at two levels, without and with the calibration; intervals of each parameter with the
other parameters fixed at their fitted values; correlations; contours of each pair of parameters;
and the directions in the space of the parameters that the data do not constrain
(:mod:`milinfer.likelihood.flat_directions`).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost

from milinfer.exceptions import (
    CalibrationError,
    FitError,
    MilinferWarning,
    ParameterError,
    SecondMinimumWarning,
)
from milinfer.intervals.calibration import Calibration
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import Interval, contour, minuit, profile_interval
from milinfer.likelihood.flat_directions import Direction, directions
from milinfer.typing import FloatArray, Point
from milinfer.utils.confidence_levels import CL68, CL95

__all__ = ["JointFit", "ParameterFit", "interval_or_reason", "joint_fit", "parameter_fit"]

_LEVELS = (CL68, CL95)
_KEYS = {CL68: "interval68", CL95: "interval95"}


class ParameterFit(NamedTuple):
    """Estimate and profile intervals of one parameter.

    Parameters
    ----------
    estimate, error
        Estimate, and its error from the second derivatives of −2 ln L.  The error is None if the
        interval is missing.
    inner, outer
        Profile intervals of 68.27 % (inner) and 95.45 % (outer).  An interval is None if one of its
        ends is outside the range of the parameter.
    """

    estimate: float
    error: float | None
    inner: Interval | None
    outer: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "estimate": self.estimate,
            "error": self.error,
            **{
                key: None if interval is None else [interval.low, interval.high]
                for key, interval in zip(_KEYS.values(), (self.inner, self.outer), strict=True)
            },
        }


@dataclass(frozen=True, eq=False)
class JointFit:
    """Result of a fit of one dataset in several parameters.

    :func:`joint_fit` makes it.

    Parameters
    ----------
    parameters
        Names of the parameters.
    best
        Parameter values at the minimum of the uncalibrated cost, by name.
    minimum
        −2 ln L at the minimum.
    as_trained
        For each parameter (by name), its profile intervals from the uncalibrated cost.
    others_fixed
        For each parameter, its intervals from the uncalibrated cost, with the other parameters
        fixed at their values at the minimum.
    calibrated
        For each parameter, its profile intervals from the calibrated cost.  None without a
        calibration.
    correlation
        Correlation matrix of the estimates, from the second derivatives of −2 ln L, shape
        (n_parameters, n_parameters).  None if the matrix of second derivatives has no inverse.
    contours
        Contours from the uncalibrated cost: for each pair of parameters and each confidence level,
        the points of the contour.  A contour that leaves the range of the parameters is missing.
    calibrated_contours
        Contours from the calibrated cost, in the same form.  None without a calibration, or if
        there are more than two parameters.
    directions
        Directions in the space of the parameters, and how well the data constrain each of them.
        The direction that is constrained least is the first.
    seconds
        Duration of all fits together.
    problems
        Sentences that say which results are missing and why.  Unconstrained directions are not
        included; see ``directions``.
    """

    parameters: tuple[str, ...]
    best: Point
    minimum: float
    as_trained: dict[str, ParameterFit]
    others_fixed: dict[str, ParameterFit]
    calibrated: dict[str, ParameterFit] | None
    correlation: FloatArray | None
    contours: dict[tuple[str, str], dict[float, FloatArray]]
    calibrated_contours: dict[tuple[str, str], dict[float, FloatArray]] | None
    directions: tuple[Direction, ...]
    seconds: float
    problems: tuple[str, ...] = ()

    @property
    def applied(self) -> dict[str, ParameterFit]:
        """Intervals to quote: ``calibrated`` if there is a calibration, else ``as_trained``."""
        return self.as_trained if self.calibrated is None else self.calibrated

    @property
    def estimate(self) -> dict[str, float]:
        """Estimate of each parameter, corrected by the calibration if there is one."""
        return {name: fit.estimate for name, fit in self.applied.items()}

    @property
    def applied_contours(self) -> dict[tuple[str, str], dict[float, FloatArray]]:
        """Contours to quote: ``calibrated_contours`` if there are any, else ``contours``."""
        return self.contours if self.calibrated_contours is None else self.calibrated_contours

    @property
    def unconstrained(self) -> tuple[Direction, ...]:
        """Directions of :attr:`directions` in which the data do not limit the parameters."""
        return tuple(d for d in self.directions if d.open)

    def correlations(self) -> dict[str, float] | None:
        """Return the correlation of each pair of parameters, with keys such as ``"c1,c2"``."""
        if self.correlation is None:
            return None
        k = {name: i for i, name in enumerate(self.parameters)}
        return {
            f"{a},{b}": float(self.correlation[k[a], k[b]])
            for a, b in combinations(self.parameters, 2)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        own = {}
        for name in self.parameters:
            own[name] = {
                **self.applied[name].to_dict(),
                "as_trained": self.as_trained[name].to_dict(),
                "others_fixed": self.others_fixed[name].to_dict(),
            }
        content: dict[str, Any] = {
            **own,
            "estimate": self.estimate,
            "correlation": self.correlations(),
            "contours": _lines(self.applied_contours),
            "directions": [d.to_dict() for d in self.directions],
            "not_constrained": [d.sentence for d in self.unconstrained],
            "minus_two_log_likelihood": self.minimum,
            "fit_seconds": self.seconds,
            "calibrated": self.calibrated is not None,
        }
        if self.calibrated_contours is not None:
            content["contours_as_trained"] = _lines(self.contours)
        return content


def _lines(contours: dict[tuple[str, str], dict[float, FloatArray]]) -> dict[str, Any]:
    return {
        f"{x},{y}": {f"{cl:.4f}": lines[cl].tolist() if cl in lines else None for cl in _LEVELS}
        for (x, y), lines in contours.items()
    }


def joint_fit(cost: Cost, calibration: Calibration | None = None) -> JointFit:
    """Fit a dataset in several parameters: intervals, correlations and contours.

    If an interval or a contour leaves the range of a parameter, it is missing, and
    :attr:`JointFit.problems` says so.  It can happen that the data do not constrain a direction in
    the space of the parameters at all.  Such directions are listed in
    :attr:`JointFit.unconstrained`.  A parameter that changes along such a direction has no interval
    and no contour.

    Parameters
    ----------
    cost
        Cost −2 ln L of the dataset, not calibrated, with a range for each parameter.
    calibration
        Calibration of the model of the cost.  Default: only intervals and contours without
        calibration.

    Returns
    -------
    JointFit
        Intervals, correlations, contours and unconstrained directions.

    Raises
    ------
    FitError
        If the minimum is not valid.
    CalibrationError
        If the calibration belongs to another model, or the cost is of a type that cannot be
        calibrated.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> from milinfer.likelihood.surface_box import ChebyshevBox
    >>> data = quadratic.generate(500, {"c1": 0.0, "c2": 0.0}, seed=1)
    >>> box = ChebyshevBox(np.full(2, -0.8), np.full(2, 0.8), 16)
    >>> fit = joint_fit(Oracle.from_sample(data, ("c1", "c2"), box, degree=2).cost(data))
    >>> fit.parameters, fit.problems, [d.open for d in fit.directions]
    (('c1', 'c2'), (), [False, False])
    """
    began = time.perf_counter()
    if calibration is not None and not isinstance(cost, LikelihoodCost):
        msg = f"only a LikelihoodCost can be calibrated, not {type(cost).__name__}; omit it"
        raise CalibrationError(msg)
    problems: list[str] = []
    m = _lowest(cost)
    names = tuple(m.parameters)
    best = {name: float(m.values[name]) for name in names}
    made = directions(cost, best)
    flat = [d for d in made if d.flat]
    m.hesse()
    if not flat and not m.valid:
        msg = f"the fit of {', '.join(names)} has no valid minimum; check the range: {m.fmin}"
        raise FitError(msg)

    loose = {name for name in names if any(d.involves(name) for d in flat)}

    held = _held(flat)
    # Fixing others does not help a parameter that is flat by itself.
    alone = {name for d in flat for name in names if [n for n in names if d.involves(n)] == [name]}

    def fits(costs: Sequence[Cost], start: Point, words: str, *, fix: bool) -> Any:
        fitted = {}
        for name in names:
            others = tuple(n for n in names if n != name) if fix else held
            if name in (alone if fix else loose):
                fitted[name] = ParameterFit(start[name], None, None, None)
                continue
            fitted[name] = parameter_fit(
                costs, name, start, fixed=others, words=words, problems=problems
            )
        return fitted

    as_trained = fits([cost] * 2, best, "", fix=False)
    others_fixed = fits([cost] * 2, best, " with the others fixed", fix=True)
    correlation = None
    if m.covariance is not None and not flat:
        covariance = np.asarray(m.covariance)
        sigma = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(sigma, sigma)
    contours = {(x, y): _contours([m] * 2, x, y, "", problems) for x, y in combinations(names, 2)}
    calibrated = calibrated_contours = None
    if calibration is not None:
        assert isinstance(cost, LikelihoodCost)
        calibrated, calibrated_contours = _calibrated(cost, calibration, best, as_trained, problems)
    return JointFit(
        parameters=names,
        best=best,
        minimum=float(m.fval),
        as_trained=as_trained,
        others_fixed=others_fixed,
        calibrated=calibrated,
        correlation=correlation,
        contours=contours,
        calibrated_contours=calibrated_contours,
        directions=made,
        seconds=time.perf_counter() - began,
        problems=tuple(dict.fromkeys(problems)),
    )


def _held(flat: Sequence[Direction]) -> tuple[str, ...]:
    """Choose one parameter for each flat direction; with these fixed, no direction is flat."""
    held: list[str] = []
    for direction in flat:
        share = np.abs(direction.coefficients * direction.step)
        for k in np.argsort(share)[::-1]:
            if direction.parameters[k] not in held:
                held.append(direction.parameters[k])
                break
    return tuple(held)


def _lowest(cost: Cost) -> Minuit:
    """Fit from the highest point of Λ on a grid, if the cost has a surface."""
    start: dict[str, float] = {}
    if isinstance(cost, LikelihoodCost) and cost.rate is None and cost.correction is None:
        highest = np.ravel(cost.surface.extremum.theta_hat)
        # At a limit, MIGRAD computes a slope of zero.
        low, high = np.array(cost.box).T
        inside = np.clip(highest, low + 1e-3 * (high - low), high - 1e-3 * (high - low))
        start = dict(zip(cost.parameters, inside.tolist(), strict=True))
    m = minuit(cost, start=start)
    m.tol = 1e-4  # with the default, estimates are wrong by up to a percent of their error
    m.migrad()
    return m


def parameter_fit(
    costs: Sequence[Cost],
    name: str,
    start: Point,
    *,
    problems: list[str],
    fixed: Sequence[str] = (),
    words: str = "",
) -> ParameterFit:
    """Compute the 68.27 % and the 95.45 % profile interval of one parameter.

    Parameters
    ----------
    costs
        Cost for the 68.27 % interval and cost for the 95.45 % interval.  They differ only if they
        are calibrated, because the calibration depends on the level.
    name
        The parameter.
    start
        Parameter values at the minimum of the cost, by name.
    problems
        List of sentences.  If an interval is missing, the function adds a sentence that says why.
    fixed
        Names of parameters that are fixed at their values in `start`.
    words
        Text that is added to the name of the interval in the sentences of `problems`.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> problems = []
    >>> cost = NormalConstraint("mu", 1.0, 0.5)
    >>> fit = parameter_fit([cost, cost], "mu", {"mu": 1.0}, problems=problems)
    >>> round(fit.inner.low, 3), round(fit.outer.high, 3), problems
    (0.5, 2.0, [])
    """
    inner, outer = (
        interval_or_reason(cost, name, cl, start, fixed=fixed, words=words, problems=problems)
        for cost, cl in zip(costs, _LEVELS, strict=True)
    )
    return ParameterFit(
        estimate=start[name] if inner is None else inner.estimate,
        error=None if inner is None else inner.error,
        inner=inner,
        outer=outer,
    )


def interval_or_reason(
    cost: Cost,
    name: str,
    cl: float,
    start: Point,
    *,
    problems: list[str],
    fixed: Sequence[str] = (),
    words: str = "",
) -> Interval | None:
    """Compute the profile interval of one parameter; if it fails, add the reason to `problems`.

    Parameters
    ----------
    cost
        Cost −2 ln L.
    name
        The parameter.
    cl
        Confidence level.
    start, problems, fixed, words
        As for :func:`parameter_fit`.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.cost import dataset_cost
    >>> few = dataset_cost(gaussian.MeanModel(), gaussian.generate(3, 0.0, seed=1), reference=0.0)
    >>> problems = []
    >>> interval_or_reason(few, "mu", 0.9, {"mu": 0.0}, problems=problems) is None
    True
    >>> problems
    ['no 90.00% interval of mu: ... no 90.00% interval of mu inside its limits ...']
    """
    found = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = profile_interval(cost, name, cl, start=start, fixed=fixed)
        except (FitError, ParameterError) as error:  # at limits MINUIT evaluates the cost at nan
            problems.append(f"no {cl:.2%} interval of {name}{words}: {error}")
    for warning in caught:
        if issubclass(warning.category, SecondMinimumWarning):
            problems.append(str(warning.message))
        elif issubclass(warning.category, MilinferWarning):
            # A fit of several parameters starts at its minimum; if it finds a lower one, use that.
            continue
        else:
            warnings.warn(warning.message, warning.category, stacklevel=2)
    return found


def _contours(
    fits: Sequence[Minuit], x: str, y: str, words: str, problems: list[str]
) -> dict[float, FloatArray]:
    """Contours of a pair of parameters at each level, and sentences about missing contours."""
    lines = {}
    for m, cl in zip(fits, _LEVELS, strict=True):
        try:
            lines[cl] = contour(m, x, y, cl)
        except FitError as error:
            problems.append(f"{error}{words}")
    return lines


def _calibrated(
    cost: LikelihoodCost,
    calibration: Calibration,
    best: Point,
    as_trained: dict[str, ParameterFit],
    problems: list[str],
) -> tuple[dict[str, ParameterFit], dict[tuple[str, str], dict[float, FloatArray]] | None]:
    """Calibrated intervals of each parameter and, for two parameters, calibrated contours."""
    names = cost.parameters
    corrected = np.ravel(calibration.correct_estimate(np.array([[best[n] for n in names]])))
    low, high = np.array(calibration.limits).T
    start = dict(zip(names, np.clip(corrected, low, high).tolist(), strict=True))
    fitted = {}
    for name in names:
        if as_trained[name].error is None:
            fitted[name] = ParameterFit(start[name], None, None, None)
            continue
        costs = [calibration(cost, cl, parameter=name) for cl in _LEVELS]
        fitted[name] = parameter_fit(costs, name, start, words=", calibrated", problems=problems)
    if len(names) != 2:
        # The constants are those of the joint region of all parameters, not of a pair.
        return fitted, None
    fits = []
    for cl in _LEVELS:
        m = minuit(calibration(cost, cl), start=start)
        m.tol = 1e-4
        fits.append(m.migrad())
    x, y = names
    inside = all(as_trained[name].error is not None for name in names)
    lines = _contours(fits, x, y, ", calibrated", problems) if inside else {}
    return fitted, {(x, y): lines}
