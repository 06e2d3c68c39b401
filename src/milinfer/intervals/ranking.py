r"""Compute impacts of nuisance parameters on parameters of interest, and components of errors.

An impact is the shift of a parameter of interest in the fit.  Three definitions are in use; they
answer different questions:

``"observable"``
    Shift the auxiliary measurement of the nuisance parameter (its global observable) up and down by
    its error, and repeat the fit.  Auxiliary measurements and data are independent.  Therefore
    these impacts and the statistical error, added in quadrature, give the total error.  This is not
    so for the other two definitions (Pinto et al., arXiv:2307.04007).
``"postfit"``
    Fix the nuisance parameter at its fitted value plus and minus its fitted error.  If the fitted
    values of nuisance parameters are correlated, their common effect is contained in the impact of
    each of them.
``"prefit"``
    Fix the nuisance parameter at its fitted value plus and minus the error of its auxiliary
    measurement.  The nuisance parameter would have this impact if the data did not constrain it.

If the likelihood is a Gaussian, the three impacts of a nuisance parameter :math:`\alpha` on a
parameter :math:`\theta` follow from the covariance :math:`C` of the fit and the error
:math:`\sigma_\mathrm{pre}` of the auxiliary measurement, in the order above:
:math:`C_{\theta\alpha}/\sigma_\mathrm{pre}`, :math:`C_{\theta\alpha}/\sqrt{C_{\alpha\alpha}}` and
:math:`\sigma_\mathrm{pre}\,C_{\theta\alpha}/C_{\alpha\alpha}`
(:meth:`NuisanceImpacts.from_covariance`).  The components of an error are always computed from the
covariance, as is the error itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from iminuit import Minuit, describe
from iminuit.cost import Cost

from milinfer.exceptions import FitError, MilinferWarning, ParameterError
from milinfer.likelihood.auxiliary import (
    AuxiliaryMeasurement,
    auxiliary_measurements,
    measuring,
    without_constraints,
)
from milinfer.likelihood.fits import FitResults, Impact, fit_results, minuit
from milinfer.typing import FloatArray, Point
from milinfer.utils.display import arrow_table, html_table, measured
from milinfer.utils.keywords import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ErrorPart", "Kind", "NuisanceImpacts", "NuisancePull", "nuisance_impacts"]

Kind = Literal["observable", "postfit", "prefit"]
"""Definition of an impact."""

STATISTICAL, SYSTEMATIC, TOTAL = "statistical", "systematic", "total"
"""Names of the standard parts of an error."""

# With Minuit's default of 0.1, shifts are wrong by up to a percent of the error.
_TOLERANCE = 1e-4
# Step along the direction in which estimates move with the data, in units of their error.
_STEP = 0.1


class NuisancePull(NamedTuple):
    """Fitted value and auxiliary measurement of a nuisance parameter.

    Parameters
    ----------
    name
        Name of the parameter.
    value, error
        Fitted value, and its error from HESSE.
    measured, prefit_error
        Value and error of the auxiliary measurement; NaN if there is none.
    at_limit
        Which limits of the parameter are reached by the fitted value plus or minus its error:
        ``"lower"``, ``"upper"``, ``"both"``, or an empty string.  If a limit is reached, it
        determines the impact.
    """

    name: str
    value: float
    error: float
    measured: float
    prefit_error: float
    at_limit: str

    @property
    def pull(self) -> float:
        """(value − measured) / prefit_error; NaN without an auxiliary measurement."""
        return (self.value - self.measured) / self.prefit_error

    @property
    def constraint(self) -> float:
        """``error`` divided by ``prefit_error``; NaN without an auxiliary measurement."""
        return self.error / self.prefit_error


class ErrorPart(NamedTuple):
    """One component of the error of a parameter of interest.

    Parameters
    ----------
    name
        What causes this component: the name of a nuisance parameter or of a group of them,
        ``"statistical"``, ``"systematic"`` (all auxiliary measurements) or ``"total"``.
    error
        Size of the component.  The components of all nuisance parameters (or groups) and the
        statistical component, added in quadrature, give the total error.
    """

    name: str
    error: float


@dataclass(frozen=True, eq=False)
class NuisanceImpacts:
    """Impacts of nuisance parameters on parameters of interest.

    :func:`nuisance_impacts` computes them.

    Parameters
    ----------
    parameters
        Names of the parameters of interest.
    estimates, errors
        Fitted values and HESSE errors of the parameters of interest, shape (n_parameters,).
    statistical
        Statistical component of `errors`, which the fluctuation of the data causes, shape
        (n_parameters,).
    nuisances
        Fitted values and auxiliary measurements of the nuisance parameters, in the order of the
        cost.
    shifts
        Impacts for each requested definition (``"observable"``, ``"postfit"``, ``"prefit"``): the
        shifts of the parameters of interest for the downward and for the upward variation of a
        nuisance parameter, shape (n_nuisances, n_parameters, 2).  A shift is NaN if the definition
        needs an auxiliary measurement and there is none.
    covariance
        Covariance matrix of all parameters from HESSE, in the order of ``fit.labels``.
    correlation
        Correlation matrix of the auxiliary measurements, shape (n_nuisances, n_nuisances).
    fit
        Result of the fit without shifts.
    """

    parameters: tuple[str, ...]
    estimates: FloatArray
    errors: FloatArray
    statistical: FloatArray
    nuisances: tuple[NuisancePull, ...]
    shifts: Mapping[Kind, FloatArray]
    covariance: FloatArray
    correlation: FloatArray
    fit: FitResults

    def __repr__(self) -> str:
        return (
            f"NuisanceImpacts({len(self.nuisances)} nuisance parameters on "
            f"{', '.join(self.parameters)}; {', '.join(self.shifts)})"
        )

    def _repr_html_(self) -> str:
        rows = [
            [
                p.name,
                measured(p.value, p.error),
                f"{p.pull:+.2f} ± {p.constraint:.2f}",
                *(
                    f"{down:+.3g} {up:+.3g}"
                    for kind in self.shifts
                    for down, up in self.shifts[kind][k]
                ),
            ]
            for k, p in enumerate(self.nuisances)
        ]
        columns = [f"{kind}, {name}" for kind in self.shifts for name in self.parameters]
        return html_table(("nuisance parameter", "value", "pull", *columns), rows, title=repr(self))

    def to_table(self) -> pa.Table:
        """Return a table with one row for each pair of a nuisance and a parameter of interest.

        Columns: ``nuisance``, ``parameter``, ``value``, ``error``, ``pull``, ``constraint`` and
        ``at_limit``; and, for each definition of an impact, ``DEFINITION_down`` and
        ``DEFINITION_up``, for example ``postfit_down``.
        """
        types: dict[str, type] = {"nuisance": str, "parameter": str}
        types |= dict.fromkeys(("value", "error", "pull", "constraint"), float)
        types |= {"at_limit": str}
        for kind in self.shifts:
            types |= {f"{kind}_down": float, f"{kind}_up": float}
        rows = []
        for k, p in enumerate(self.nuisances):
            for j, name in enumerate(self.parameters):
                row: dict[str, Any] = {"nuisance": p.name, "parameter": name, "value": p.value}
                row |= {"error": p.error, "pull": p.pull, "constraint": p.constraint}
                row |= {"at_limit": p.at_limit}
                for kind, shifts in self.shifts.items():
                    row |= {f"{kind}_{s}": shifts[k, j, i] for i, s in enumerate(("down", "up"))}
                rows.append(row)
        return arrow_table(types, rows)

    def of(self, parameter: str | None = None, kind: Kind | None = None) -> tuple[Impact, ...]:
        """Return the impacts on one parameter of interest for one definition, the largest first.

        Nuisance parameters that have no impact for this definition are left out (those without an
        auxiliary measurement, except for ``"postfit"``).

        Parameters
        ----------
        parameter
            Parameter of interest; default: the first.
        kind
            Definition of the impact; default: the first definition that was computed.

        Raises
        ------
        ParameterError
            If the parameter is not a parameter of interest, or the definition was not computed.
        """
        j, shifts = self._place(parameter), self._of_kind(kind)[1]
        found = [
            Impact(
                name=p.name,
                value=p.value,
                lower=-p.error,
                upper=p.error,
                down=float(shifts[k, j, 0]),
                up=float(shifts[k, j, 1]),
            )
            for k, p in enumerate(self.nuisances)
            if np.isfinite(shifts[k, j]).all()
        ]
        return tuple(sorted(found, key=lambda i: -i.size))

    def pulls(self) -> tuple[Impact, ...]:
        """Return the pulls of the nuisance parameters, for ``plot_pulls``.

        Nuisance parameters without an auxiliary measurement are left out.
        """
        return tuple(
            Impact(
                name=p.name,
                value=p.pull,
                lower=-p.constraint,
                upper=p.constraint,
                down=float("nan"),
                up=float("nan"),
            )
            for p in self.nuisances
            if np.isfinite(p.pull)
        )

    def from_covariance(self, kind: Kind, parameter: str | None = None) -> FloatArray:
        """Compute the impacts of upward variations from the covariance; shape (n_nuisances,).

        Parameters
        ----------
        kind
            Definition of the impact.
        parameter
            Parameter of interest; default: the first.
        """
        _require_kinds([kind])
        labels = self.fit.labels
        row = self.covariance[labels.index(self.parameters[self._place(parameter)])]
        places = [labels.index(p.name) for p in self.nuisances]
        shared = row[places]
        before = np.array([p.prefit_error for p in self.nuisances])
        after = np.diag(self.covariance)[places]
        there = np.isfinite(before)
        observable = np.full(len(before), np.nan)
        # Correlated measurements count with the inverse of their covariance.
        among = self.correlation[np.ix_(there, there)]
        observable[there] = np.linalg.solve(among, shared[there] / before[there])
        by_kind = {
            "observable": observable,
            "postfit": shared / np.sqrt(after),
            "prefit": before * shared / after,
        }
        return np.asarray(by_kind[kind], dtype=np.float64)

    def part(self, names: Sequence[str], parameter: str | None = None) -> float:
        """Compute the component of an error that a group of auxiliary measurements causes.

        The component is computed from the covariance of the fit, which HESSE takes from the
        curvature at the minimum.  :meth:`of` instead returns impacts for shifts by one full error.
        Added in quadrature, the ``"observable"`` impacts of the group give this component only if
        the likelihood is a Gaussian.

        Parameters
        ----------
        names
            Nuisance parameters.
        parameter
            Parameter of interest; default: the first.

        Raises
        ------
        ParameterError
            If a nuisance parameter is unknown or has no auxiliary measurement.
        """
        j = self._place(parameter)
        known = [p.name for p in self.nuisances]
        for name in names:
            if name not in known:
                msg = f"there is no nuisance parameter {name}; there are {', '.join(known)}"
                raise ParameterError(msg + did_you_mean(name, known))
            if np.isnan(self.nuisances[known.index(name)].prefit_error):
                msg = (
                    f"{name} has no auxiliary measurement: its uncertainty comes from the data and "
                    "is in the statistical component; remove it from the names"
                )
                raise ParameterError(msg)
        places = [known.index(name) for name in dict.fromkeys(names)]
        sizes = self.from_covariance("observable", self.parameters[j])[places]
        square = float(sizes @ self.correlation[np.ix_(places, places)] @ sizes)
        return float(np.sqrt(max(square, 0.0)))

    def breakdown(
        self, parameter: str | None = None, groups: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[ErrorPart, ...]:
        """Split the error of a parameter into components.

        Parameters
        ----------
        parameter
            Parameter of interest; default: the first.
        groups
            For each group (by name), its nuisance parameters.  Nuisance parameters that are in none
            of these groups form the group ``"others"``.  Default: each nuisance parameter is a
            group of its own.

        Returns
        -------
        tuple
            The components of the groups, the largest first; then three components named
            ``"statistical"``, ``"systematic"`` (all auxiliary measurements together) and
            ``"total"`` (the error of the fit).

        Raises
        ------
        ParameterError
            If a nuisance parameter is in two groups, is unknown, or has no auxiliary measurement;
            or if a group has the name of a standard component.
        """
        j = self._place(parameter)
        name = self.parameters[j]
        constrained = [p.name for p in self.nuisances if np.isfinite(p.prefit_error)]
        chosen = {n: [n] for n in constrained} if groups is None else _groups(groups, constrained)
        parts = [ErrorPart(key, self.part(members, name)) for key, members in chosen.items()]
        return (
            *sorted(parts, key=lambda p: -p.error),
            ErrorPart(STATISTICAL, float(self.statistical[j])),
            ErrorPart(SYSTEMATIC, self.part(constrained, name)),
            ErrorPart(TOTAL, float(self.errors[j])),
        )

    def to_cabinetry(self, parameter: str | None = None) -> Any:
        """Convert the impacts to a ranking, for ``cabinetry.visualize.ranking``.

        Parameters
        ----------
        parameter
            Parameter of interest; default: the first.

        Returns
        -------
        cabinetry.fit.RankingResults
            The ranking.  As is usual in cabinetry, the prefit impact of a nuisance parameter
            without an auxiliary measurement is zero.

        Raises
        ------
        ParameterError
            If prefit impacts or postfit impacts were not computed.
        ImportError
            If cabinetry is not installed.
        """
        from cabinetry.fit import RankingResults

        j = self._place(parameter)
        before, after = (
            np.nan_to_num(self._of_kind(kind)[1][:, j]) for kind in ("prefit", "postfit")
        )
        return RankingResults(
            bestfit=np.array([p.value for p in self.nuisances]),
            uncertainty=np.array([p.error for p in self.nuisances]),
            labels=[p.name for p in self.nuisances],
            prefit_up=before[:, 1],
            prefit_down=before[:, 0],
            postfit_up=after[:, 1],
            postfit_down=after[:, 0],
        )

    def _place(self, parameter: str | None) -> int:
        if parameter is None:
            return 0
        if parameter not in self.parameters:
            msg = f"impacts were computed on {', '.join(self.parameters)}, not on {parameter}"
            raise ParameterError(msg + did_you_mean(parameter, list(self.parameters)))
        return self.parameters.index(parameter)

    def _of_kind(self, kind: str | None) -> tuple[Kind, FloatArray]:
        for name, shifts in self.shifts.items():
            if kind in (None, name):
                return name, shifts
        msg = (
            f"{kind!r} impacts were not computed (only {', '.join(self.shifts)}); add {kind!r} to "
            "kinds= of nuisance_impacts"
        )
        raise ParameterError(msg)


def _groups(
    groups: Mapping[str, Sequence[str]], constrained: Sequence[str]
) -> dict[str, list[str]]:
    """Groups, with one for the remaining parameters; each nuisance parameter at most once."""
    chosen = {key: list(members) for key, members in groups.items()}
    listed = [n for members in chosen.values() for n in members]
    for name in listed:
        if listed.count(name) > 1:
            msg = (
                f"{name} is listed twice in the groups, so the parts of the error would count it "
                "twice; list it once"
            )
            raise ParameterError(msg)
    taken = sorted(set(chosen) & {STATISTICAL, SYSTEMATIC, TOTAL, "others"})
    if taken:
        msg = (
            f"{taken[0]!r} cannot be the name of a group: it is the name of a standard part of the "
            "error"
        )
        raise ParameterError(msg)
    others = [n for n in constrained if n not in listed]
    return chosen | ({"others": others} if others else {})


def nuisance_impacts(
    cost: Cost,
    parameters: str | Sequence[str],
    *,
    kinds: Sequence[Kind] = ("observable", "postfit", "prefit"),
    start: Point | None = None,
    fixed: Sequence[str] = (),
) -> NuisanceImpacts:
    """Compute the impact of each nuisance parameter on the parameters of interest.

    Parameters
    ----------
    cost
        Any iminuit cost or sum of costs that contains the constraints of the nuisance parameters:
        for example a ``SystematicCost``, a ``PyhfCost``, or a sum with a ``NormalConstraint`` of
        iminuit.
    parameters
        Parameters of interest.  All other free parameters are nuisance parameters.  A nuisance
        parameter without an auxiliary measurement, such as a free normalisation, has only a postfit
        impact.
    kinds
        Definitions of impacts to compute (``"observable"``, ``"postfit"``, ``"prefit"``; see
        :mod:`milinfer.intervals.ranking`).  Each definition needs two fits for every nuisance
        parameter.
    start
        Starting values by name, as for :func:`milinfer.minuit`.
    fixed
        Parameters that stay at their starting values in all fits.

    Returns
    -------
    NuisanceImpacts
        The impacts, with pulls and components of errors.

    Raises
    ------
    ParameterError
        If a parameter of interest is unknown or fixed, if no other parameter is free, or if two
        terms of the cost contain an auxiliary measurement of the same parameter.
    FitError
        If a fit is not valid; the message names the fit.

    Warns
    -----
    MilinferWarning
        If a nuisance parameter reaches a limit.  Its impact is then determined by the limit.

    Examples
    --------
    The energy scale contributes 0.3 to the error of mu:

    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.datasets import gaussian_systematics as gaussian
    >>> data = gaussian.dataset(0.1, signal=1000, background=0, seed=1)
    >>> cost = gaussian.GaussianCost(data, signal=1000, background=0, constrained=False)
    >>> impacts = nuisance_impacts(
    ...     cost + NormalConstraint(["shift", "width", "rate"], [0.0] * 3, [1.0] * 3),
    ...     "mu", start={"background_norm": 1.0}, fixed=["background_norm"])
    >>> [p.name for p in impacts.breakdown() if p.error > 0.01]
    ['shift', 'statistical', 'systematic', 'total']
    >>> round(impacts.part(["shift"]), 3)
    0.3
    """
    names = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    _require_kinds(kinds)
    auxiliary = auxiliary_measurements(cost, names)
    best = minuit(cost, start=start)
    for name in fixed:
        _require_parameter(best, name)
        best.fixed[name] = True
    _fit(best, "at its minimum")
    best.hesse()
    others = _others(best, names)
    centre = best.values.to_dict()
    results = fit_results(best)
    pulls = tuple(_pull(best, name, auxiliary.by_name.get(name)) for name in others)
    _warn_of_limits(pulls)
    shifts: dict[Kind, FloatArray] = {}
    at_centre = np.array([centre[n] for n in names])
    for kind in kinds:
        table = np.full((len(others), len(names), 2), np.nan)
        for k, p in enumerate(pulls):
            for side, sign in enumerate((-1.0, 1.0)):
                shifted = _shifted(cost, best, p, kind, sign, names)
                if shifted is not None:
                    table[k, :, side] = [shifted.values[n] for n in names] - at_centre
        shifts[kind] = table
    known = [c.name for c in auxiliary.constraints]
    correlation = np.eye(len(others))
    for i, a in enumerate(others):
        for j, b in enumerate(others):
            if a in known and b in known:
                correlation[i, j] = auxiliary.correlation[known.index(a), known.index(b)]
    covariance = np.asarray(best.covariance, dtype=np.float64)
    data = without_constraints(cost, names)
    return NuisanceImpacts(
        parameters=names,
        estimates=at_centre,
        errors=np.array([best.errors[n] for n in names]),
        statistical=np.array([_statistical(data, best, covariance, n) for n in names]),
        nuisances=pulls,
        shifts=shifts,
        covariance=covariance,
        correlation=correlation,
        fit=results,
    )


def _require_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in get_args(Kind):
            msg = (
                f"there are no impacts of kind {kind!r}; choose one of {', '.join(get_args(Kind))}"
            )
            raise ParameterError(msg + did_you_mean(kind, list(get_args(Kind))))


def _require_parameter(m: Minuit, name: str) -> None:
    if name not in m.parameters:
        known = list(m.parameters)
        msg = f"{name} is not a parameter of this cost; it has {', '.join(known)}"
        raise ParameterError(msg + did_you_mean(name, known))


def _others(best: Minuit, names: Sequence[str]) -> list[str]:
    for name in names:
        _require_parameter(best, name)
        if best.fixed[name]:
            msg = f"the cost fixes {name}; choose free parameters of interest"
            raise ParameterError(msg)
    others = [n for n in best.parameters if n not in names and not best.fixed[n]]
    if not others:
        msg = (
            f"there are no impacts on {', '.join(names)}, because no other parameter of the cost "
            "is free; leave nuisance parameters free"
        )
        raise ParameterError(msg)
    return others


def _fit(m: Minuit, which: str) -> None:
    m.tol = _TOLERANCE
    m.migrad()
    if not m.valid:
        msg = f"the fit {which} is not valid; check starting values and limits: {m.fmin}"
        raise FitError(msg)


def _shifted(
    cost: Cost,
    best: Minuit,
    pull: NuisancePull,
    kind: Kind,
    sign: float,
    interest: Sequence[str],
) -> Minuit | None:
    """Fit with a nuisance parameter or its measurement shifted; None without a measurement."""
    name = pull.name
    size = pull.error if kind == "postfit" else pull.prefit_error
    if np.isnan(size):
        return None
    if kind == "observable":
        cost = measuring(cost, {name: pull.measured + sign * size}, interest)
    m = minuit(cost, start=best.values.to_dict())
    # Minuit takes a hundredth of the value as the first step, of -1e-14 too.
    m.errors = best.errors
    for other in best.parameters:
        m.fixed[other] = best.fixed[other]
    if kind != "observable":
        m.values[name] = float(np.clip(pull.value + sign * size, *best.limits[name]))
        m.fixed[name] = True
    _fit(m, f"for the {kind} impact of {name}")
    return m


def _pull(best: Minuit, name: str, constraint: AuxiliaryMeasurement | None) -> NuisancePull:
    value, error = float(best.values[name]), float(best.errors[name])
    low, high = best.limits[name]
    reach = [error] if constraint is None else [error, constraint.error]
    sides = [
        side
        for side, outside in (
            ("lower", value - max(reach) < low),
            ("upper", value + max(reach) > high),
        )
        if outside
    ]
    nan = float("nan")
    return NuisancePull(
        name=name,
        value=value,
        error=error,
        measured=nan if constraint is None else constraint.measured,
        prefit_error=nan if constraint is None else constraint.error,
        at_limit="both" if len(sides) == 2 else "".join(sides),
    )


def _warn_of_limits(pulls: Sequence[NuisancePull]) -> None:
    for p in pulls:
        if p.at_limit:
            ends = "both limits" if p.at_limit == "both" else f"the {p.at_limit} limit"
            warnings.warn(
                f"{p.name} = {p.value:.4g} ± {p.error:.2g} reaches {ends} of its range, so that "
                "its impact comes from the limit and its error is not Gaussian; widen the limits "
                "if the model allows this",
                MilinferWarning,
                stacklevel=3,
            )


def _statistical(data: Cost | None, best: Minuit, covariance: FloatArray, name: str) -> float:
    r"""Error of a parameter from the fluctuation of the data.

    It is :math:`\sqrt{c^T H c}`.  Here c is the column of the parameter in the covariance C, and H
    is half of the second derivatives of the cost of the data alone.  (Estimates change by C times
    the fluctuation of the score, and the variance of the score is H.)  One second derivative along
    c is enough.
    """
    if data is None:
        return 0.0
    column = covariance[best.parameters.index(name)]
    point = np.array(best.values, dtype=np.float64)
    error = float(best.errors[name])
    # c / σ is the way the minimum goes when the parameter moves by one standard deviation.
    direction = column / error
    low, high = np.array([best.limits[n] for n in best.parameters]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(
            direction == 0, np.inf, np.minimum(high - point, point - low) / np.abs(direction)
        )
    step = min(_STEP, 0.5 * float(room.min()))
    if not step > 0:
        return float("nan")
    places = [best.parameters.index(n) for n in describe(data)]

    def value(t: float) -> float:
        return float(data(*(point + t * direction)[places]))

    second = (value(step) - 2 * value(0.0) + value(-step)) / step**2
    return float(np.sqrt(max(second / 2, 0.0)) * error)
