"""Compare methods with the same data and the same toys, also if some of the methods fail."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from milinfer.exceptions import (
    CalibrationError,
    FitError,
    MilinferError,
    MilinferWarning,
    SecondMinimumWarning,
)
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import Coverage, coverage, require_other_events
from milinfer.intervals.information import Information, information
from milinfer.likelihood.fits import Interval, profile_interval
from milinfer.toys.ensemble import ToyEnsemble, require_unseen_toys
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import arrow_table, html_table, measured, rich_table

if TYPE_CHECKING:
    import pyarrow as pa
    from iminuit.cost import Cost
    from rich.table import Table

__all__ = [
    "Attempts",
    "Comparison",
    "MethodResult",
    "Stage",
    "Unavailable",
    "advice",
    "assess",
    "compare",
]


@dataclass(frozen=True, eq=False)
class MethodResult:
    """Intervals of one method for the data, and its information and coverage from toys.

    Parameters
    ----------
    name
        Name of the method.
    intervals
        68.27 % and 95.45 % intervals for the data; they are calibrated if `calibrated` is True.
        None if there are none.
    calibrated
        Whether the calibration (c_cicc and bias) was applied to `intervals` and `coverages`.
    calibration
        Calibration constants and bias from the calibration toys, also if they were not applied.
        None if the method cannot be calibrated.
    information
        Information and response, computed with the evaluation toys.
    coverages, coverages_raw
        Coverage of the 68.27 % and 95.45 % intervals of the evaluation toys.  In `coverages` the
        intervals are calibrated if `calibrated` is True; in `coverages_raw` they are never
        calibrated.
    fit_seconds
        Time in seconds to compute `intervals` (MIGRAD, HESSE and MINOS, twice); NaN if there are
        none.
    problems
        Sentences that say which results (calibration, belt or intervals for the data) are missing
        or incomplete, and why.
    """

    name: str
    intervals: tuple[Interval, Interval] | None
    calibrated: bool
    calibration: Calibration | None
    information: Information
    coverages: tuple[Coverage, Coverage]
    coverages_raw: tuple[Coverage, Coverage]
    fit_seconds: float = float("nan")
    problems: tuple[str, ...] = ()

    @property
    def applied(self) -> Calibration | None:
        """The calibration that was applied; None if no calibration was applied."""
        return self.calibration if self.calibrated else None

    def __repr__(self) -> str:
        info_eff = measured(self.information.info_eff, self.information.info_eff_error)
        return (
            f"MethodResult({self.name}, I_eff = {info_eff}, "
            f"coverage {self.coverages[0].with_errors()})"
        )

    def _repr_html_(self) -> str:
        return Comparison((self,))._repr_html_()

    def to_table(self) -> pa.Table:
        """Make a table with one row; for its columns see :meth:`Comparison.to_table`."""
        return Comparison((self,)).to_table()

    def to_dict(self) -> dict[str, Any]:
        """Results under the names that they have in ``summary.json``."""
        fitted: dict[str, Any] = {}
        if self.intervals is not None:
            inner, outer = self.intervals
            fitted = {
                "estimate": inner.estimate,
                **inner.entries("interval68"),
                **outer.entries("interval95"),
                "fit_seconds": self.fit_seconds,
            }
            if self.applied is not None:
                fitted["estimate_calibration_error"] = self.applied.estimate_error(inner.estimate)
                for key, interval in (("interval68", inner), ("interval95", outer)):
                    ends = (interval.low, interval.high)
                    fitted[f"{key}_calibration_error"] = list(
                        self.applied.end_errors(interval.estimate, ends, interval.cl)
                    )
        constants: dict[str, float | None] = dict.fromkeys(_CONSTANTS)
        if self.calibration is not None:
            bias = self.calibration.bias(self.information.theta)
            scale = self.calibration.scale, self.calibration.scale_error
            constants = dict(zip(_CONSTANTS, (*scale, *bias), strict=True))
        return {
            **fitted,
            "calibrated": self.calibrated,
            "widened": self.applied is not None and self.applied.widen,
            **constants,
            "info_mle": self.information.info_mle,
            "info_mle_error": self.information.info_mle_error,
            "response": self.information.response,
            "response_error": self.information.response_error,
            "info_eff": self.information.info_eff,
            "info_eff_error": self.information.info_eff_error,
            "info_per_event": self.information.info_eff / self.information.n_events,
            "info_width": self.information.info_width,
            "info_width_error": self.information.info_width_error,
            "info_score": self.information.info_score,
            "info_score_error": self.information.info_score_error,
            "info_curv": self.information.info_curv,
            "info_curv_error": self.information.info_curv_error,
            "bartlett_ratio": self.information.bartlett_ratio,
            "bartlett_ratio_error": self.information.bartlett_ratio_error,
            "coverage68": self.coverages[0].coverage,
            "coverage68_error": self.coverages[0].error,
            "coverage68_pool_error": self.coverages[0].known_pool_error,
            "coverage95": self.coverages[1].coverage,
            "coverage95_error": self.coverages[1].error,
            "coverage95_pool_error": self.coverages[1].known_pool_error,
            "coverage68_uncalibrated": self.coverages_raw[0].coverage,
            "coverage68_uncalibrated_error": self.coverages_raw[0].error,
            "coverage68_uncalibrated_pool_error": self.coverages_raw[0].known_pool_error,
            "n_toys": self.coverages[0].n_toys,
        }


_CONSTANTS = ("c_cicc", "c_cicc_error", "bias", "bias_error")
_PAIRS = tuple(f"interval{k}{error}" for k in (68, 95) for error in ("", "_calibration_error"))
_FITTED = ("estimate", "estimate_calibration_error", "fit_seconds")
_WITH_ERROR = (
    *("c_cicc", "bias", "info_mle", "response", "info_eff", "info_width", "info_score"),
    *("info_curv", "bartlett_ratio", "coverage68", "coverage95", "coverage68_uncalibrated"),
)
_WITH_POOL_ERROR = tuple(
    f"{name}_pool_error" for name in ("coverage68", "coverage95", "coverage68_uncalibrated")
)
_TYPES: Mapping[str, type] = {
    "method": str,
    **dict.fromkeys(_FITTED, float),
    **{f"{pair}.{end}": float for pair in _PAIRS for end in ("low", "high")},
    "calibrated": bool,
    "widened": bool,
    **{f"{name}{error}": float for name in _WITH_ERROR for error in ("", "_error")},
    "info_per_event": float,
    **dict.fromkeys(_WITH_POOL_ERROR, float),
    "n_toys": int,
}


def _columns(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with two columns for each pair."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name in _PAIRS:
            flat[f"{name}.low"], flat[f"{name}.high"] = value
        else:
            flat[name] = value
    return flat


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results of several methods with the same data and the same toys, made by :func:`compare`."""

    methods: tuple[MethodResult, ...]

    def __iter__(self) -> Iterator[MethodResult]:
        return iter(self.methods)

    def __getitem__(self, name: str) -> MethodResult:
        for method in self.methods:
            if method.name == name:
                return method
        msg = f"no method {name!r}; there are {', '.join(m.name for m in self.methods)}"
        raise KeyError(msg)

    header = (
        "method",
        "estimate",
        "68.27% interval",
        "I_eff",
        "response",
        "Bartlett",
        "c_cicc",
        "applied",
        "coverage 68.27%",
        "coverage 95.45%",
        "ms",
    )

    def rows(self) -> list[list[str]]:
        """Rows of the table, each a list of texts."""
        return [
            [
                m.name,
                *(
                    ["—", "—"]
                    if m.intervals is None
                    else [
                        f"{m.intervals[0].estimate:+.3f}",
                        f"[{m.intervals[0].low:+.3f}, {m.intervals[0].high:+.3f}]",
                    ]
                ),
                f"{m.information.info_eff:.0f} ± {m.information.info_eff_error:.0f}",
                f"{m.information.response:.2f} ± {m.information.response_error:.2f}",
                f"{m.information.bartlett_ratio:.2f} ± {m.information.bartlett_ratio_error:.2f}",
                "—"
                if m.calibration is None
                else f"{m.calibration.scale:.2f} ± {m.calibration.scale_error:.2f}",
                "yes" if m.calibrated else "no",
                m.coverages[0].with_errors(),
                m.coverages[1].with_errors(),
                "—" if math.isnan(m.fit_seconds) else f"{1000 * m.fit_seconds:.0f}",
            ]
            for m in self.methods
        ]

    def __repr__(self) -> str:
        return f"Comparison({', '.join(m.name for m in self.methods)})"

    def to_rich(self) -> Table:
        """Make a table for the terminal."""
        return rich_table(self._title, self.header, self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows(), title=self._title)

    _title: ClassVar = "The same data and the same toys, fitted with each method"

    def to_table(self) -> pa.Table:
        """Make a table with one row for each method.

        The columns are ``method`` and the entries of :meth:`MethodResult.to_dict`.  A pair of
        numbers has two columns: the interval ``interval68`` becomes ``interval68.low`` and
        ``interval68.high``.
        """
        return arrow_table(
            _TYPES, [{"method": m.name, **_columns(m.to_dict())} for m in self.methods]
        )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Results of each method, by its name; see :meth:`MethodResult.to_dict`."""
        return {m.name: m.to_dict() for m in self.methods}

    def to_json(self) -> str:
        """Results of :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def assess(
    name: str,
    calibration_toys: Sequence[ToyEnsemble],
    evaluation_toys: ToyEnsemble,
    *,
    cost: Cost | None = None,
    calibrated: bool = True,
    widen: bool = False,
    required: bool = True,
    seed: int = 0,
) -> MethodResult:
    """Calibrate a method on one set of toys, test it on another set, and fit the data.

    Parameters
    ----------
    name
        Name of the method.
    calibration_toys
        Toys of this method at several true values.
    evaluation_toys
        Toys of this method at the true value at which it is tested, drawn from other events than
        `calibration_toys`.
    cost
        Cost of the data, without calibration.  None: no data are fitted.
    calibrated
        Whether to apply the calibration to intervals and coverage.  False for methods that are
        usually not calibrated: pyhf with asymptotic intervals, and the exact likelihood ratio.
    widen
        Whether calibrated intervals are widened by the error of the calibration.
    required
        True: raise an error if the calibration or the fit fails.  False: a method that cannot be
        calibrated stays uncalibrated, a method that cannot be fitted has no intervals, and
        ``problems`` of the result gives the reasons.  If an interval is only a part of the
        confidence set, because of a second minimum, ``problems`` then says this too.
    seed
        Seed of the bootstrap.

    Raises
    ------
    CalibrationError
        If toys contain training events, if calibration and evaluation toys share events, if all
        estimates are equal, or if `required` is True and the method cannot be calibrated.
    FitError
        If `required` is True and there is no interval for the data inside the range.
    """
    require_unseen_toys(calibration_toys)
    require_other_events(evaluation_toys, [e.pool_id for e in calibration_toys], name)
    problems: list[str] = []
    calibration: Calibration | None = None
    raw = covered = _coverages(evaluation_toys, None)
    with warnings.catch_warnings():
        if not calibrated:
            # The calibration is reported only: the response of a histogram of few events may turn
            # around, and a straight line then describes it.
            warnings.simplefilter("ignore", MilinferWarning)
        try:
            calibration = calibrate(calibration_toys, seed=seed)
            if calibrated:
                calibration = replace(calibration, widen=widen)
                covered = _coverages(evaluation_toys, calibration)
        except CalibrationError as error:
            if required:
                raise
            calibration = None
            if calibrated:  # else the calibration is not applied, and its absence is no problem
                problems.append(f"not calibrated: {str(error).removeprefix(f'{name}: ')}")
        measured = information(evaluation_toys, [*calibration_toys, evaluation_toys])
    applied = calibration if calibrated else None
    intervals, seconds = None, float("nan")
    if cost is not None:
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                intervals = fitted_intervals(name, cost, evaluation_toys.parameter, applied)
        except FitError as error:
            if required:
                raise
            problems.append(f"no interval of the data: {error}")
        else:
            seconds = time.perf_counter() - start
        for warning in caught:
            if issubclass(warning.category, SecondMinimumWarning) and not required:
                problems.append(
                    "the interval of the data is only a part of the confidence set, but the "
                    f"coverage given is that of the whole set: {warning.message}"
                )
            else:
                warnings.warn(warning.message, warning.category, stacklevel=2)

    return MethodResult(
        name=name,
        intervals=intervals,
        calibrated=applied is not None,
        calibration=calibration,
        information=measured,
        coverages=covered,
        coverages_raw=raw,
        fit_seconds=seconds,
        problems=tuple(problems),
    )


def _coverages(toys: ToyEnsemble, applied: Calibration | None) -> tuple[Coverage, Coverage]:
    # No warning of pool errors: they are in the result.
    inner, outer = (coverage(toys, applied, cl, warn_of_pool=False) for cl in (CL68, CL95))
    return inner, outer


def fitted_intervals(
    name: str, cost: Cost, parameter: str, applied: Calibration | None
) -> tuple[Interval, Interval]:
    """Intervals of the data at 68.27 % and 95.45 %."""
    from milinfer.likelihood.cost import LikelihoodCost

    if applied is None:
        inner, outer = (profile_interval(cost, parameter, cl) for cl in (CL68, CL95))
    elif isinstance(cost, LikelihoodCost):
        inner, outer = (profile_interval(applied(cost, cl), parameter, cl) for cl in (CL68, CL95))
    else:
        msg = f"{name}: only a LikelihoodCost can be calibrated, not {type(cost).__name__}"
        raise CalibrationError(msg)
    return inner, outer


def compare(
    calibration_toys: Mapping[str, Sequence[ToyEnsemble]],
    evaluation_toys: Mapping[str, ToyEnsemble],
    costs: Mapping[str, Cost] | None = None,
    *,
    uncalibrated: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Calibrate several methods, test them on the same toys, and fit the same data with each.

    Parameters
    ----------
    calibration_toys, evaluation_toys
        Results of :meth:`milinfer.Toys.run`, by name of the method.  For the calibration give a
        list of results at several true values for each method.  For the evaluation give one result
        for each method, with toys that are drawn from other events.  :meth:`milinfer.Toys.run` uses
        the same toys for all methods.
    costs
        Cost of the data for each method, by its name.  A method without a cost is only tested on
        toys.
    uncalibrated
        Names of methods whose calibration is reported, but not applied.
    seed
        Seed of the bootstrap.

    Returns
    -------
    Comparison
        Results of the methods, in the order of `evaluation_toys`.
    """
    return Comparison(
        tuple(
            assess(
                name,
                calibration_toys[name],
                evaluation_toys[name],
                cost=(costs or {}).get(name),
                calibrated=name not in uncalibrated,
                seed=seed,
            )
            for name in evaluation_toys
        )
    )


Stage = Literal["templates", "fit", "oracle", "calibration", "toys"]

# Settings of an analysis that can help if a stage fails.
_SETTINGS: dict[Stage, str] = {
    "templates": "observable, bins, bins_2d, degree, held_out, and the sizes of the samples",
    "fit": "observable, bins, mc_stat, and the range of the training points",
    "oracle": "oracle",
    "calibration": "calibrate_at, belt_at, number of toys, and the range of the training points",
    "toys": "truth, cover_at, number of toys, and the range of the training points",
}


def advice(stage: Stage) -> str:
    """Text that lists the settings that affect a stage of a method.

    Examples
    --------
    >>> advice("oracle")
    'settings that affect the oracle: oracle'
    """
    return f"settings that affect the {stage}: {_SETTINGS[stage]}"


class Unavailable(NamedTuple):
    """A method that has no result because it failed.

    Parameters
    ----------
    name
        Name of the method.
    stage
        Stage that failed.
    reason
        Message of the error.
    """

    name: str
    stage: Stage
    reason: str

    @property
    def advice(self) -> str:
        """Text that lists the settings that affect the stage that failed."""
        return advice(self.stage)


class Attempts:
    """Catch and keep errors, so that a method that fails does not stop the other methods.

    Parameters
    ----------
    required
        Names of methods whose errors are not caught.  These errors get a note that lists settings
        that may help.

    Attributes
    ----------
    failed
        The failures, by name of the method.

    Examples
    --------
    >>> from milinfer.exceptions import TemplateError
    >>> attempts = Attempts(required=["learned"])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with attempts("pyhf", "templates"):
    ...         raise TemplateError("bin 3 is empty")
    >>> attempts.failed["pyhf"].reason
    'bin 3 is empty'
    """

    def __init__(self, required: Collection[str]) -> None:
        self.required = frozenset(required)
        self.failed: dict[str, Unavailable] = {}

    @contextmanager
    def __call__(self, name: str, stage: Stage) -> Iterator[None]:
        """Make a ``with`` block in which a stage of a method runs.

        Raises
        ------
        MilinferError
            If the method is required and the stage fails.

        Warns
        -----
        MilinferWarning
            If the stage fails and the method is not required.  The failure is then in ``failed``.
        """
        try:
            yield
        except MilinferError as error:
            failure = Unavailable(name, stage, str(error).removeprefix(f"{name}: "))
            if name in self.required:
                error.add_note(failure.advice)
                raise
            self.failed[name] = failure
            msg = f"{name} is not available: {failure.reason} ({failure.advice})"
            warnings.warn(msg, MilinferWarning, stacklevel=3)
