"""Confidence belts: accepted values of a statistic at a grid of true points (Neyman construction).

At each true point, toys determine which values of a statistic are accepted.  The confidence set of
a dataset consists of the true points at which the statistic of the dataset is accepted.  Such sets
have the claimed coverage even if Λ of the model is wrong or has several maxima, and near physical
bounds.  A threshold from χ² fails in these cases.

:mod:`milinfer.intervals.neyman` makes belts.  The functions below :class:`Belt` compute the
statistic and its accepted values from the toys of one true point.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.calibration import Calibration, calibrated_toys
from milinfer.intervals.confidence_sets import (
    ConfidenceRegion,
    ConfidenceSet,
    bounded_minimum,
    confidence_region,
    confidence_set,
    cost_value,
)
from milinfer.intervals.critical_values import (
    CriticalCurve,
    InterpolatedCurve,
    PolynomialCurve,
    critical_value,
    smooth_curve,
)
from milinfer.intervals.dataset_checks import require_rate_of_toys, size_differs
from milinfer.intervals.saved_files import (
    belt_content,
    belt_fields,
    calibration_content,
    fields_of,
    require_levels,
    require_points,
    require_shapes,
)
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.surface import Bounds, Limits, Surface, restricted
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.toys.ensemble import (
    ToyEnsemble,
    require_one_kind,
    require_unseen_toys,
    toys_with,
)
from milinfer.typing import BoolArray, FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.confidence_levels import CL68, require_level, same_level
from milinfer.utils.display import arrow_table, html_table, measured, point_cells, point_types
from milinfer.utils.files import parse_json, write_whole
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Belt",
    "Ordering",
    "Smooth",
    "accepted_ends",
    "bounded_estimates",
    "bounded_statistic",
    "require_alike",
    "true_points",
]


Ordering = Literal["likelihood-ratio", "central", "upper", "lower"]
Smooth = int | Literal["auto"] | None

# Points between the ends of a belt at which an observed statistic is evaluated.
_FINE = 1001
# Rows of the table in a notebook.
_SHOWN = 30


@dataclass(frozen=True, eq=False)
class Belt:
    """Confidence belt: the accepted values of a statistic at a grid of true points.

    :func:`milinfer.neyman` makes belts from toys, and :meth:`interval` reads the confidence set of
    a dataset from the belt.  Λ(θ) is ln L(θ)/L(θ0), and θ̂ is the estimate at its maximum.

    Parameters
    ----------
    tag
        Identity of the model.  The belt was made from toys of this model.
    parameters
        Names of the parameters.
    ordering
        ``"likelihood-ratio"``: values of q(θ) = 2 [max Λ − Λ(θ)] up to ``upper`` are accepted.
        ``"central"``, ``"lower"`` and ``"upper"``: values of θ̂ from ``lower`` to ``upper`` are
        accepted.  With ``"lower"``, ``lower`` is −∞; with ``"upper"``, ``upper`` is +∞.
    points
        True values of the parameters at which toys were generated, shape (n, n_parameters).
    cl
        Confidence levels.
    lower, lower_error, upper, upper_error
        Lower and upper end of the accepted values of the statistic, and the standard errors of
        these ends, at each of `points` for each level.  The arrays have the shape (n, n_cl).
    bounds
        For each parameter, the lowest and highest θ̂ that is allowed: physical bounds, or the range
        in which Λ is defined.
    smooth
        How the ends are continued between the points: a number is the degree of a polynomial in θ
        that is fitted to the ends, with ``"auto"`` the degree is chosen by milinfer, and None means
        linear interpolation.
    n_events
        Mean number of events of a toy.
    extended
        Whether Λ of the toys contains the rate term (the Poisson term of the number of events).
    n_toys, pool_ids
        For each point, the number of toys and the fingerprint of the simulated events from which
        they were drawn.  For a belt by regression, ``n_toys`` is the total number of toys.
    regression
        For belts made by :func:`~milinfer.intervals.neyman.regression_belt`: for each level, the
        lower and the upper end as functions of θ.  For all other belts: None.
    calibration
        Calibration that was applied to Λ of the toys, or None.  The belt applies the same
        calibration to Λ of a dataset.
    poisson
        Whether the size of the toys fluctuates.
    profiled_truth
        For each profiled parameter (nuisance parameters and normalisations), the lowest and the
        highest true value at which toys were generated.  Empty if no parameter was profiled, and in
        files of earlier versions.
    """

    tag: ModelTag
    parameters: tuple[str, ...]
    ordering: Ordering
    points: FloatArray
    cl: tuple[float, ...]
    lower: FloatArray
    lower_error: FloatArray
    upper: FloatArray
    upper_error: FloatArray
    bounds: Limits
    smooth: Smooth
    n_events: float
    extended: bool
    n_toys: tuple[int, ...]
    pool_ids: tuple[str, ...]
    regression: tuple[tuple[PolynomialCurve | None, PolynomialCurve | None], ...] = ()
    calibration: Calibration | None = None
    poisson: bool = True
    profiled_truth: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Belt({self.tag.name}, {self.ordering} in {', '.join(self.parameters)}, "
            f"{len(self.points)} points, {', '.join(f'{cl:.2%}' for cl in self.cl)}"
            f"{toys_with(self.profiled_truth)})"
        )

    def _repr_html_(self) -> str:
        rows = [
            [
                format_point({n: row[f"point.{n}"] for n in self.parameters}),
                f"{row['cl']:.2%}",
                *(measured(row[end], row[f"{end}_error"]) for end in ("lower", "upper")),
            ]
            for row in self.to_table().to_pylist()
        ]
        what = "q" if self.ordering == "likelihood-ratio" else "θ̂"
        first_rows = rows[:_SHOWN]
        more = f" (first {_SHOWN} of {len(rows)})" if len(rows) > _SHOWN else ""
        title = (
            f"Accepted {what} of {self.tag.name} by {self.ordering}, {self.n_events:g} events, "
            f"{sum(self.n_toys)} toys{more}{toys_with(self.profiled_truth)}"
        )
        return html_table(("true value", "level", "from", "to"), first_rows, title=title)

    def to_table(self) -> pa.Table:
        """Return the belt as an Arrow table with one row for each point and level.

        Columns: ``point.PARAMETER``, ``cl``, ``lower``, ``lower_error``, ``upper``,
        ``upper_error``; an end that does not exist is infinite.
        """
        names = ("lower", "lower_error", "upper", "upper_error")
        types = {**point_types(self.parameters), "cl": float, **dict.fromkeys(names, float)}
        rows = [
            {
                **point_cells(dict(zip(self.parameters, point, strict=True))),
                "cl": cl,
                **{n: getattr(self, n)[i, k] for n in names},
            }
            for i, point in enumerate(self.points.tolist())
            for k, cl in enumerate(self.cl)
        ]
        return arrow_table(types, rows)

    def save(self, path: PathLikeStr) -> None:
        """Write the belt to a JSON file, without loss.

        Parameters
        ----------
        path
            File to write.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.intervals.neyman import neyman
        >>> from milinfer.toys.toys import Toys
        >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.2], seed=1), n_events=100, seed=2)
        >>> belt = neyman(toys.scan([gaussian.MeanModel()], [-0.2, 0.2], 500)["mean"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     belt.save(Path(folder, "belt.json"))
        ...     again = Belt.load(Path(folder, "belt.json"))
        >>> bool(np.all(again.upper == belt.upper))
        True
        """
        fields = fields_of(self)
        if self.calibration is not None:
            fields["calibration"] = calibration_content(fields_of(self.calibration))
        write_whole(path, json.dumps(belt_content(fields), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: PathLikeStr) -> Belt:
        """Read a belt that :meth:`save` has written.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        CalibrationError
            If the file does not exist, or is not a belt in this format.
        """
        try:
            fields = belt_fields(parse_json(as_path(path).read_text(encoding="utf-8")))
            if fields["calibration"] is not None:
                fields["calibration"] = Calibration.from_content(fields["calibration"])
            belt = cls(**fields)
            belt._require_consistent()
            return belt
        except FileNotFoundError as error:
            msg = f"there is no belt {path}; make one with milinfer.neyman"
            raise CalibrationError(msg) from error
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            msg = f"{path} is not a belt written by milinfer ({error}); make it again"
            raise CalibrationError(msg) from error

    def _require_consistent(self) -> None:
        """Raise ``ValueError`` unless the sizes of arrays agree."""
        n, p, n_cl = len(self.points), len(self.parameters), len(self.cl)
        require_shapes(
            {
                "points": (self.points, (n, p)),
                "lower": (self.lower, (n, n_cl)),
                "lower_error": (self.lower_error, (n, n_cl)),
                "upper": (self.upper, (n, n_cl)),
                "upper_error": (self.upper_error, (n, n_cl)),
                "bounds": (np.array(self.bounds), (p, 2)),
            }
        )
        if self.ordering not in get_args(Ordering):
            msg = f"the ordering {self.ordering!r} does not exist"
            raise ValueError(msg)
        curves = [curve.polynomial for level in self.regression for curve in level if curve]
        require_points(self.points, {"regression": curves})
        require_levels("cl", self.cl)
        if len(self.regression) not in {0, n_cl}:
            msg = f"regression has {len(self.regression)} entries for {n_cl} levels"
            raise ValueError(msg)

    @property
    def limits(self) -> Limits:
        """Range of the points in each parameter; the belt makes no statement outside this range."""
        low, high = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        return tuple(zip(low, high, strict=True))

    def critical(self, cl: float = CL68) -> CriticalCurve:
        """Return the critical value of q(θ) as a function of θ; only for likelihood-ratio order."""
        if self.ordering != "likelihood-ratio":
            msg = f"a belt of ordering {self.ordering!r} has no critical value; use acceptance(cl)"
            raise CalibrationError(msg)
        curve = self._curve(1, cl)
        assert curve is not None
        return curve

    def acceptance(self, cl: float = CL68) -> tuple[CriticalCurve | None, CriticalCurve | None]:
        """Return the lowest and highest accepted θ̂ as functions of θ; None for an infinite end."""
        if self.ordering == "likelihood-ratio":
            msg = "a belt of likelihood-ratio ordering accepts no range of estimates; use critical"
            raise CalibrationError(msg)
        return (
            None if self.ordering == "lower" else self._curve(0, cl),
            None if self.ordering == "upper" else self._curve(1, cl),
        )

    def _curve(self, end: int, cl: float) -> CriticalCurve | None:
        require_level(cl)
        match = [k for k, level in enumerate(self.cl) if same_level(level, cl)]
        if not match:
            msg = f"this belt was made for cl in {self.cl}, not {cl}; make it with cl=({cl},)"
            raise CalibrationError(msg)
        k = match[0]
        if self.regression:
            return self.regression[k][end]
        values = (self.lower, self.upper)[end][:, k]
        errors = (self.lower_error, self.upper_error)[end][:, k]
        ends = self.points, values, errors
        if self.smooth is None or (self.smooth == "auto" and not np.all(errors > 0)):
            if self.ordering == "likelihood-ratio":
                return InterpolatedCurve(*ends)
            # Many estimates lie exactly at a bound: an end at the bound accepts all of them, and an
            # end slightly beside it none.
            return InterpolatedCurve(*ends, piled_up=values == self.bounds[0][end])
        positive = self.ordering == "likelihood-ratio" and bool(np.all(values > 0))
        degree = None if self.smooth == "auto" else self.smooth
        curve = smooth_curve(self.parameters, *ends, degree, logarithmic=positive)
        described = degree is not None or (curve.polynomial.good and curve.polynomial.ndf > 0)
        return curve if described else InterpolatedCurve(*ends)

    def interval(self, observed: LikelihoodCost | Surface, cl: float = CL68) -> ConfidenceSet:
        """Read the confidence set of one dataset in one parameter from the belt.

        Parameters
        ----------
        observed
            Cost of the dataset, not calibrated.  A surface Λ(θ) also works, but then the belt
            cannot check whether the model and the number of events are right.
        cl
            One of the belt's levels.

        Returns
        -------
        ConfidenceSet
            One interval, several intervals, or no interval.

        Raises
        ------
        CalibrationError
            If the cost belongs to another model than the belt; if the cost is calibrated; if the
            number of events of the dataset differs from the number in the toys by more than 25 %
            (5 % for the orderings ``"central"``, ``"lower"`` and ``"upper"``); or if `cl` is not
            one of the belt's levels.
        ParameterError
            If the belt has several parameters; use :meth:`region`.
        """
        parameter = only(self.parameters)
        statistic = self.statistic_of(observed)
        best = bounded_minimum(statistic, self.bounds)
        estimate = float(best.theta[0])
        (low, high), fine = self.limits[0], self.points[:, 0]
        inside = [estimate] if low <= estimate <= high else []
        grid = np.unique(np.concatenate([np.linspace(low, high, _FINE), fine, inside]))
        if self.ordering == "likelihood-ratio":
            curve = self.critical(cl)

            def excess(theta: float) -> float:
                q = cost_value(statistic, np.array([theta])) - best.value
                return max(q, 0.0) - float(curve(theta)[0])

            def error(theta: float) -> float:
                return float(curve.error(theta)[0])

        else:
            ends = self.acceptance(cl)

            def distances(theta: float) -> list[tuple[float, CriticalCurve]]:
                return [
                    (sign * (estimate - float(c(theta)[0])), c)
                    for c, sign in zip(ends, (-1, 1), strict=True)
                    if c is not None
                ]

            def excess(theta: float) -> float:
                return max(d for d, _ in distances(theta))

            def error(theta: float) -> float:
                return float(max(distances(theta), key=lambda pair: pair[0])[1].error(theta)[0])

        return confidence_set(
            excess, grid, parameter=parameter, cl=cl, estimate=estimate, error=error
        )

    def region(
        self, observed: LikelihoodCost | BoxSurface, cl: float = CL68, n_grid: int = 101
    ) -> ConfidenceRegion:
        """Read the confidence region of one dataset in two parameters from the belt.

        Parameters
        ----------
        observed
            As for :meth:`interval`.
        cl
            One of the belt's levels.
        n_grid
            Number of points of the grid in each parameter.  The grid is narrowed to the region.

        Raises
        ------
        CalibrationError
            As for :meth:`interval`.
        ParameterError
            If the number of parameters is not two.
        """
        if len(self.parameters) != 2:
            msg = f"a region needs two parameters, not {', '.join(self.parameters)}; use interval"
            raise ParameterError(msg)
        statistic = self.statistic_of(observed)
        best = bounded_minimum(statistic, self.bounds)
        return confidence_region(
            lambda theta: cost_value(statistic, theta) - best.value,
            self.critical(cl),
            (self.parameters[0], self.parameters[1]),
            best.theta,
            cl=cl,
            n_grid=n_grid,
        )

    def contains_truth(self, ensemble: ToyEnsemble, cl: float = CL68) -> BoolArray:
        """Tell for each toy whether its confidence set contains the true value, shape (n_toys,).

        Use it to measure coverage.  The toys must not be drawn from the simulated events with which
        the belt was made.  This method does not check it; compare ``ensemble.pool_id`` with
        :attr:`pool_ids`.  The true value may be anywhere in the range of the belt, also between its
        points.

        Raises
        ------
        CalibrationError
            If the toys belong to another model than the belt, or their number of events differs.
        ParameterError
            If the true value is outside the range of the belt.
        """
        if ensemble.tag != self.tag or tuple(ensemble.point) != self.parameters:
            msg = (
                f"a belt of {self.tag} cannot be used for toys of {ensemble.tag}; make a belt for "
                f"that "
                "model"
            )
            raise CalibrationError(msg)
        self._require_size(ensemble.n_events, ensemble.extended)
        if self.calibration is not None:
            ensemble = calibrated_toys(self.calibration, ensemble)
        truth = np.array([tuple(ensemble.point.values())])
        if self.ordering == "likelihood-ratio":
            q = bounded_statistic(ensemble, self.bounds)
            return np.asarray(q <= self.critical(cl)(truth)[0])
        lower, upper = self.acceptance(cl)
        theta_hat = bounded_estimates(ensemble, self.bounds)
        accepted = np.ones(len(theta_hat), dtype=np.bool_)
        if lower is not None:
            accepted &= theta_hat >= lower(truth)[0]
        if upper is not None:
            accepted &= theta_hat <= upper(truth)[0]
        return accepted

    def statistic_of(
        self, observed: LikelihoodCost | Surface | BoxSurface
    ) -> LikelihoodCost | Surface | BoxSurface:
        """Check that a cost belongs to the belt; calibrate the cost if the belt has a calibration.

        Parameters
        ----------
        observed
            Cost of a dataset, not calibrated.  If the belt has no calibration, a surface Λ(θ) also
            works.

        Raises
        ------
        CalibrationError
            If the cost does not belong to the belt (see :meth:`interval`), if a surface is narrower
            than the range in which the toys were fitted, or if a surface is given to a belt with a
            calibration.
        """
        if isinstance(observed, LikelihoodCost):
            self._require_cost(observed)
        if self.calibration is None:
            self._require_range(observed)
            return observed
        if not isinstance(observed, LikelihoodCost):
            msg = (
                "the toys of this belt are calibrated, but a surface cannot be calibrated; give "
                "the cost of the data"
            )
            raise CalibrationError(msg)
        return self.calibration(observed)

    def _require_cost(self, cost: LikelihoodCost) -> None:
        """Raise unless a cost is of the belt's model and of a dataset as its toys are."""
        if cost.parameters != self.parameters:
            msg = f"a belt of {self.parameters} cannot be used for a cost of {cost.parameters}"
            raise CalibrationError(msg)
        if cost.tag is not None and cost.tag != self.tag:
            msg = f"a belt of {self.tag} cannot be used for {cost.tag}; make a belt of that model"
            raise CalibrationError(msg)
        if cost.correction is not None:
            msg = (
                "this cost is calibrated: give the cost without calibration; a belt made with "
                "calibration= calibrates it itself"
            )
            raise CalibrationError(msg)
        self._require_size(cost.n_events, cost.rate is not None)
        # The toys of a regression are not at the points that the belt lists.
        if self.extended and cost.rate is not None and not self.regression:
            require_rate_of_toys("belt", cost.rate, self.parameters, self.points[0], self.n_events)

    def _require_range(self, observed: LikelihoodCost | Surface | BoxSurface) -> None:
        """Raise unless the surface covers the range in which the toys were fitted."""
        surface = observed.surface if isinstance(observed, LikelihoodCost) else observed
        limits: Limits = surface.interpolation.limits
        if len(limits) != len(self.parameters) or any(
            low < start - 1e-9 or high > stop + 1e-9
            for (low, high), (start, stop) in zip(self.bounds, limits, strict=True)
        ):
            msg = (
                f"the surface is defined only in {limits}, but the toys were fitted in "
                f"{self.bounds}"
            )
            raise CalibrationError(msg)

    def _require_size(self, n_events: float, extended: bool) -> None:
        # With the rate term the number of events is part of the measurement.
        estimates = self.ordering != "likelihood-ratio"
        differs = size_differs(n_events, self.n_events, estimates=estimates, poisson=self.poisson)
        if not self.extended and differs:
            msg = (
                f"the toys of this belt have {self.n_events:g} events, but the belt is "
                f"applied to data of {n_events:g}; make a belt with n_events={n_events:g}"
            )
            if estimates:
                msg += (
                    f", because the spread of estimates (ordering {self.ordering!r}) depends on "
                    "it, or let the number of events of the toys fluctuate (poisson=True)"
                )
            raise CalibrationError(msg)
        if extended != self.extended:
            msg = (
                f"the belt was made from toys {'with' if self.extended else 'without'} the rate "
                f"term, but is applied {'with' if extended else 'without'} it; use the rate term "
                "for both or for neither"
            )
            raise CalibrationError(msg)


def require_alike(ensembles: Sequence[ToyEnsemble], ordering: str) -> None:
    """Raise an error unless one belt with this ordering can be made from all these toys.

    Raises
    ------
    CalibrationError
        If the toys are of different kinds, if they contain training events of the model, if the
        ordering is unknown, or if the ordering needs a single parameter and the toys have several.
    """
    if ordering not in get_args(Ordering):
        msg = f"ordering {ordering!r} is not one of {', '.join(map(repr, get_args(Ordering)))}"
        raise CalibrationError(msg)
    require_one_kind(ensembles)
    require_unseen_toys(ensembles)
    first = ensembles[0]
    for e in ensembles:
        if e.interpolation.limits != first.interpolation.limits:
            msg = (
                f"toys of {e.model} at {format_point(e.point)} have Λ in {e.interpolation.limits}, "
                f"but toys at {format_point(first.point)} in {first.interpolation.limits}; make a "
                "belt from toys with the same range"
            )
            raise CalibrationError(msg)
    if ordering != "likelihood-ratio" and len(first.point) > 1:
        msg = f"ordering {ordering!r} needs one parameter, not {', '.join(first.point)}"
        raise CalibrationError(msg)


def true_points(
    ensembles: Sequence[ToyEnsemble], ordering: str, bounds: Bounds | None
) -> tuple[FloatArray, Limits]:
    """Return the true values of the toys, shape (n, n_parameters), and the bounds of θ̂.

    Raises
    ------
    CalibrationError
        If no belt can be made from the toys together, or a true value is outside the bounds.
    """
    require_alike(ensembles, ordering)
    allowed = restricted(ensembles[0].interpolation.limits, bounds)
    points = np.array([tuple(e.point.values()) for e in ensembles], dtype=np.float64)
    low, high = np.array(allowed).T
    outside = ~np.all((points >= low) & (points <= high), axis=1)
    if outside.any():
        point = format_point(ensembles[int(np.argmax(outside))].point)
        msg = f"toys at {point} are outside bounds = {allowed}; remove that point"
        raise CalibrationError(msg)
    return points, allowed


def _maximum(ensemble: ToyEnsemble, bounds: Limits) -> tuple[FloatArray, FloatArray]:
    """Estimate between the bounds, and Λ at the estimate, for each toy."""
    if bounds == ensemble.interpolation.limits:
        extremum = ensemble.extremum
    else:
        extremum = ensemble.interpolation.extrema(ensemble.values, bounds)
    return extremum.theta_hat, extremum.maximum


def bounded_statistic(ensemble: ToyEnsemble, bounds: Limits) -> FloatArray:
    """Compute q = 2 [max Λ − Λ(truth)] of each toy, shape (n_toys,); maximum inside bounds."""
    _, maximum = _maximum(ensemble, bounds)
    truth = np.array([tuple(ensemble.point.values())])
    truth = truth[0] if truth.shape[1] == 1 else truth
    at = ensemble.interpolation.values_at(ensemble.values, truth)[:, 0]
    return np.maximum(2 * (maximum - at), 0.0)


def bounded_estimates(ensemble: ToyEnsemble, bounds: Limits) -> FloatArray:
    """Find θ̂ of each toy inside bounds; shape (n_toys,), or (n_toys, n_parameters) for several."""
    return _maximum(ensemble, bounds)[0]


def accepted_ends(
    ensemble: ToyEnsemble, levels: Sequence[float], ordering: str, bounds: Limits
) -> list[tuple[float, float, float, float]]:
    """Find the lowest and the highest accepted value of the statistic at one true point.

    Returns
    -------
    list
        One row for each level: lower end, error of the lower end, upper end, error of the upper
        end.
    """
    if ordering == "likelihood-ratio":
        statistic = bounded_statistic(ensemble, bounds)
        critical_values = [critical_value(statistic, level) for level in levels]
        return [(0.0, 0.0, c.value, c.error) for c in critical_values]
    theta_hat = bounded_estimates(ensemble, bounds)
    quantile = partial(_quantile, theta_hat, _pool_error(ensemble))
    rows = []
    for level in levels:
        tail = (1 - level) / 2 if ordering == "central" else 1 - level
        lower = (-np.inf, 0.0) if ordering == "lower" else quantile(tail)
        upper = (np.inf, 0.0) if ordering == "upper" else quantile(1 - tail)
        rows.append((*lower, *upper))
    return rows


def _quantile(theta_hat: FloatArray, pool_error: float, share: float) -> tuple[float, float]:
    """Quantile of the estimates, and its error, which includes the finite pool of events."""
    # A low quantile is rounded down, so that at most the fraction `share` of the toys is outside.
    quantile = (
        critical_value(theta_hat, share) if share > 0.5 else critical_value(-theta_hat, 1 - share)
    )
    value = quantile.value if share > 0.5 else -quantile.value
    # No error of the quantile: the estimates there are all at a bound, which the pool cannot move.
    pool_part = pool_error if quantile.error > 0 else 0.0
    return value, float(np.hypot(quantile.error, pool_part))


def _pool_error(ensemble: ToyEnsemble) -> float:
    """Standard error of the mean estimate that comes from the fluctuation of the finite pool."""
    of_toys = float(np.var(ensemble.theta_hat, ddof=1)) / ensemble.n_toys
    return float(np.sqrt(max(ensemble.mean_error**2 - of_toys, 0.0)))
