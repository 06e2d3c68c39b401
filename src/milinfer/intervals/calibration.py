"""Correct the curvature and the bias of Λ(θ) = ln L(θ)/L(θ0) with pseudo-experiments (toys).

The calibrated surface is c(θ)·[Λ(m(θ)) − Λ(θ̂)], in which θ̂ is the estimate at the maximum of Λ.
m(θ), the mean estimate at the true value θ, corrects the bias and the response.  c(θ) scales the
curvature, either by the Bartlett ratio ([AS], eq. 34) or so that the interval covers θ as often as
it claims.  [AS] uses one number c and one number for the bias, measured at θ = 0.  In milinfer c
and m are functions of θ, the value that is tested, and not of the estimate θ̂.  The coverage is
then right at every θ at which toys were generated, and iminuit can still minimise the calibrated
cost.

:func:`milinfer.calibrate`, in :mod:`milinfer.intervals.calibration_fit`, makes calibrations.
Calibrate with one set of simulated events and measure coverage with another:
:func:`milinfer.coverage` refuses events that were used for the calibration.

:func:`calibrated_toys` applies a calibration to the surfaces of toys.  A belt can also be made from
surfaces that are not calibrated, but its critical values then contain the bias of the estimates,
which shifts with the statistical fluctuation of the pool of simulated events.  For calibrated
surfaces, the critical values are close to the quantiles of χ².
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.dataset_checks import require_rate_of_toys, size_differs
from milinfer.intervals.profile_constants import ProfileConstants, profile_statistic
from milinfer.intervals.response import Response
from milinfer.intervals.saved_files import (
    calibration_content,
    calibration_fields,
    calibration_file,
    fields_of,
    require_levels,
    require_points,
    require_shapes,
)
from milinfer.intervals.widening import Widening, inverse_variances
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.published_parts import ArrayStore, published_correction, published_smooth
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox, fine_degree
from milinfer.toys.ensemble import ToyEnsemble, toys_with, truths
from milinfer.typing import BoolArray, FloatArray, PathLikeStr
from milinfer.utils.confidence_levels import chi2_quantile, require_level, same_level
from milinfer.utils.display import arrow_table, html_table, measured, point_cells, point_types
from milinfer.utils.files import parse_json, write_whole
from milinfer.utils.points import format_point, only
from milinfer.utils.smooth_polynomials import SmoothPolynomial

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Calibration", "Correct", "Kind", "calibrated_toys"]

# Points at which a calibrated surface in one parameter is tabulated.
_POINTS = 161

Kind = Literal["coverage", "bartlett"]
Correct = Literal["both", "scale", "bias"]


# Of a constant: exp(50) is 5·10²¹.
_LARGEST_LOG = 50.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of the curvature and bias of one model, for datasets of one size.

    :func:`milinfer.calibrate` makes it.  Call it with the cost of a dataset to get the calibrated
    cost.  Λ(θ) is ln L(θ)/L(θ0), θ̂ is the estimate at its maximum, m(θ) = E[θ̂] is the mean
    estimate at the true value θ, and c(θ) is the factor on Λ.

    Parameters
    ----------
    tag
        Identity of the calibrated model.
    parameters
        Names of the parameters.
    kind
        Which constant is used as c(θ): ``"coverage"`` for the constant with which intervals have
        the claimed coverage, ``"bartlett"`` for the Bartlett ratio.
    correct
        What is corrected: ``"both"``, ``"scale"`` (only the curvature) or ``"bias"`` (only the
        bias).
    points
        True values of the parameters at which toys were generated, shape (n, n_parameters).
    c_bartlett, c_bartlett_error
        Bartlett ratio at each point and its bootstrap error, shape (n,).  For one parameter, it is
        the inverse variance of the estimates (I_MLE) divided by the mean curvature of Λ at its
        maximum (I_curv).  For d parameters, I_MLE and I_curv are matrices, and it is the d-th root
        of the ratio of their determinants.
    cls
        Confidence levels.  Each level has its own constant in `c_coverage`.
    c_coverage, c_coverage_error
        Constants with which the intervals of toys have the coverage `cls`, and their bootstrap
        errors, at each point for each level; shape (n, n_cls).
    log_scales
        The functions ln c(θ) that are applied.  With ``kind="coverage"`` there is one function for
        each of `cls`; with ``kind="bartlett"`` there is a single function for all levels.
    response
        The fitted mean estimate m(θ).
    n_events
        Expected number of events of a dataset.  With the rate term it depends on θ, and this is the
        number at the first of `points`.
    extended
        Whether Λ contains the rate term (the Poisson term of the number of events).
    n_toys
        Number of toys at each point.
    pool_ids
        Fingerprints of the simulated events from which the toys were drawn.
    limits
        Range of each parameter in which the calibrated surface is defined.
    profiles
        For several parameters: the constants for intervals of one parameter, with all other
        parameters profiled.  There is one entry for each parameter; :meth:`profiled` applies it.
    interest
        The parameter whose intervals are calibrated.  None: the joint regions of all parameters are
        calibrated.
    widen
        Whether intervals include the error of the calibration; see :meth:`widened`.
    residuals
        Mean estimate of the toys minus the fitted m(θ) at each point, shape (n, n_parameters).
        Where the fit misses the mean estimate, c(θ) makes intervals wider.  None in files of
        earlier versions.
    profiled_truth
        For each profiled parameter (nuisance parameters and normalisations), the lowest and the
        highest true value at which toys were generated.  Empty if no parameter was profiled, and in
        files of earlier versions.
    """

    tag: ModelTag
    parameters: tuple[str, ...]
    kind: Kind
    correct: Correct
    points: FloatArray
    c_bartlett: FloatArray
    c_bartlett_error: FloatArray
    cls: tuple[float, ...]
    c_coverage: FloatArray
    c_coverage_error: FloatArray
    log_scales: tuple[SmoothPolynomial, ...]
    response: Response
    n_events: float
    extended: bool
    n_toys: int
    pool_ids: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    profiles: tuple[ProfileConstants, ...] = ()
    interest: str | None = None
    widen: bool = False
    residuals: FloatArray | None = None
    profiled_truth: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        target = "" if self.interest is None else f"intervals of {self.interest}, "
        return (
            f"Calibration({self.model}, {self.kind}, {target}{len(self.points)} points in "
            f"{', '.join(self.parameters)}, c = {measured(self.scale, self.scale_error)}, "
            f"{self.n_events:g} events{', widened' if self.widen else ''}"
            f"{toys_with(self.profiled_truth)})"
        )

    def _repr_html_(self) -> str:
        names = self.parameters
        levels = [f"{100 * cl:.4g}" for cl in self.cls]
        header = (
            "true value",
            *(f"bias of {name}" for name in names),
            "c by Bartlett",
            *(f"c for {level} %" for level in levels),
        )
        rows = [
            [
                format_point({n: row[f"point.{n}"] for n in names}),
                *(measured(row[f"bias.{n}"], row[f"bias.{n}_error"]) for n in names),
                measured(row["c_bartlett"], row["c_bartlett_error"]),
                *(measured(row[f"c_coverage.{x}"], row[f"c_coverage.{x}_error"]) for x in levels),
            ]
            for row in self.to_table().to_pylist()
        ]
        target = "" if self.interest is None else f" for intervals of {self.interest}"
        title = (
            f"Calibration of {self.model} by {self.kind}{target}, {self.n_events:g} "
            f"events, {self.n_toys} toys at each point{toys_with(self.profiled_truth)}"
        )
        return html_table(header, rows, title=title)

    def to_table(self) -> pa.Table:
        """Return an Arrow table with one row for each point at which toys were generated.

        Columns: ``point.PARAMETER``; ``bias.PARAMETER`` and ``bias.PARAMETER_error``, computed from
        the fitted m(θ); ``c_bartlett`` and ``c_bartlett_error``.  Each confidence level, for
        example ``68.27``, has three more columns: ``c_coverage.LEVEL`` and
        ``c_coverage.LEVEL_error`` are measured at the point, and ``c.LEVEL`` is the value of the
        fitted function that is applied.

        Examples
        --------
        >>> from milinfer.intervals.calibration_fit import calibrate
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.toys.toys import Toys
        >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.0, 0.2], seed=1), n_events=100, seed=2)
        >>> ensembles = toys.scan([gaussian.MeanModel()], [-0.2, 0.0, 0.2], 500)["mean"]
        >>> calibration = calibrate(ensembles)
        >>> table = calibration.to_table()
        >>> table.column_names[:4], table.num_rows
        (['point.mu', 'bias.mu', 'bias.mu_error', 'c_bartlett'], 3)
        >>> calibration._repr_html_().count("<tr>")
        4
        """
        names = self.parameters
        n = len(names)
        bias = np.asarray(self.response.bias(self.points)).reshape(-1, n)
        bias_error = np.asarray(self.response.bias_error(self.points)).reshape(-1, n)
        types = point_types(names)
        rows = []
        for i, point in enumerate(self.points):
            row = point_cells(dict(zip(names, point.tolist(), strict=True)))
            for k, name in enumerate(names):
                row |= {f"bias.{name}": bias[i, k], f"bias.{name}_error": bias_error[i, k]}
            row["c_bartlett"] = self.c_bartlett[i]
            row["c_bartlett_error"] = self.c_bartlett_error[i]
            for k, cl in enumerate(self.cls):
                level = f"{100 * cl:.4g}"
                row[f"c_coverage.{level}"] = self.c_coverage[i, k]
                row[f"c_coverage.{level}_error"] = self.c_coverage_error[i, k]
                row[f"c.{level}"] = self.scale_at(point, cl)[0]
            types = dict.fromkeys(row, float)
            rows.append(row)
        return arrow_table(types, rows)

    def save(self, path: PathLikeStr) -> None:
        """Write the calibration to a JSON file, without loss.

        Parameters
        ----------
        path
            File to write.  If it is the directory of a saved model, the calibration is stored
            there, together with the model.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from milinfer.intervals.calibration_fit import calibrate
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.toys.toys import Toys
        >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.2], seed=1), n_events=100, seed=2)
        >>> calibration = calibrate(toys.scan([gaussian.MeanModel()], [-0.2, 0.2], 500)["mean"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     calibration.save(Path(folder, "calibration.json"))
        ...     again = Calibration.load(folder)
        >>> again.scale == calibration.scale
        True
        """
        content = calibration_content(fields_of(self))
        write_whole(calibration_file(path), json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: PathLikeStr) -> Calibration:
        """Read a calibration that :meth:`save` has written.

        Parameters
        ----------
        path
            The file, or the directory of the model with which the calibration was saved.

        Raises
        ------
        CalibrationError
            If the file does not exist, or is not a calibration in this format.
        """
        file = calibration_file(path)
        try:
            return cls.from_content(parse_json(file.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            msg = f"there is no calibration {file}; make one with milinfer.calibrate"
            raise CalibrationError(msg) from error
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            msg = f"{file} is not a calibration written by milinfer ({error}); calibrate again"
            raise CalibrationError(msg) from error

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Calibration:
        """Make a calibration from the content of the file of a calibration or of a belt.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the content is no calibration, or has another format.
        """
        calibration = cls(**calibration_fields(content))
        calibration._require_consistent()
        return calibration

    def _require_consistent(self) -> None:
        """Raise ``ValueError`` unless the sizes of arrays and functions agree."""
        n, p, n_cl = len(self.points), len(self.parameters), len(self.cls)
        require_shapes(
            {
                "points": (self.points, (n, p)),
                "c_bartlett": (self.c_bartlett, (n,)),
                "c_bartlett_error": (self.c_bartlett_error, (n,)),
                "c_coverage": (self.c_coverage, (n, n_cl)),
                "c_coverage_error": (self.c_coverage_error, (n, n_cl)),
                "limits": (np.array(self.limits), (p, 2)),
                "response": (np.zeros(len(self.response.shifts)), (p,)),
            }
        )
        if self.residuals is not None:
            require_shapes({"residuals": (self.residuals, (n, p))})
        if self.kind not in get_args(Kind) or self.correct not in get_args(Correct):
            msg = f"the kind {self.kind!r} or correction {self.correct!r} is unknown"
            raise ValueError(msg)
        require_points(
            self.points, {"log_scales": self.log_scales, "response": self.response.shifts}
        )
        require_levels("cls", self.cls)
        with np.errstate(all="ignore"):
            logs = np.array([[log(point)[0] for point in self.points] for log in self.log_scales])
        if not np.all(np.abs(logs) < _LARGEST_LOG):
            msg = "log_scales give constants that no calibration has"
            raise ValueError(msg)
        numbers = {1} if self.kind == "bartlett" else {n_cl}
        if self.correct == "bias":
            numbers = {0, 1, n_cl}
        if len(self.log_scales) not in numbers:
            msg = f"there are {len(self.log_scales)} log_scales for {n_cl} levels"
            raise ValueError(msg)
        if self.profiles and tuple(x.parameter for x in self.profiles) != self.parameters:
            msg = f"there are profiles of {[x.parameter for x in self.profiles]}, not one of each"
            raise ValueError(msg)
        if self.interest not in {None, *self.parameters}:
            msg = f"interest is {self.interest!r}, which is not one of the parameters"
            raise ValueError(msg)
        for constants in self.profiles:
            what = f"profiles of {constants.parameter}"
            require_shapes(
                {
                    f"c_bartlett in {what}": (constants.c_bartlett, (n,)),
                    f"c_bartlett_error in {what}": (constants.c_bartlett_error, (n,)),
                    f"c_coverage in {what}": (constants.c_coverage, (n, n_cl)),
                    f"c_coverage_error in {what}": (constants.c_coverage_error, (n, n_cl)),
                }
            )
            require_points(self.points, {f"log_scales in {what}": constants.log_scales})
            if len(constants.log_scales) not in numbers:
                msg = f"there are {len(constants.log_scales)} log_scales in {what}"
                raise ValueError(msg)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.tag.name

    @property
    def parameter(self) -> str:
        """Name of the parameter; a ParameterError if there are several."""
        return only(self.parameters)

    @property
    def thetas(self) -> FloatArray:
        """True values of the one parameter, shape (n,); a ParameterError if there are several."""
        only(self.parameters)
        return self.points[:, 0]

    def profiled(self, parameter: str) -> Calibration:
        """Return the calibration for intervals of one parameter, with the others profiled.

        With the returned calibration, the intervals of this parameter have the claimed coverage;
        with the original calibration, the joint regions of all parameters have it.  The correction
        of the bias is the same.  A calibration with only one parameter is returned unchanged.

        Parameters
        ----------
        parameter
            Name of the parameter.

        Raises
        ------
        ParameterError
            If `parameter` is not one of the parameters.
        CalibrationError
            If the calibration was saved by an old version of milinfer, which did not store the
            constants of single parameters.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.intervals.calibration_fit import calibrate
        >>> from milinfer.toys.toys import Toys
        >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.2], seed=1), n_events=100, seed=2)
        >>> calibration = calibrate(toys.scan([gaussian.MeanModel()], [-0.2, 0.2], 500)["mean"])
        >>> calibration.profiled("mu") is calibration
        True
        """
        if parameter not in self.parameters:
            msg = f"{parameter!r} is not one of the parameters {', '.join(self.parameters)}"
            raise ParameterError(msg)
        if len(self.parameters) == 1:
            return self
        for constants in self.profiles:
            if constants.parameter == parameter:
                return replace(
                    self,
                    interest=parameter,
                    c_bartlett=constants.c_bartlett,
                    c_bartlett_error=constants.c_bartlett_error,
                    c_coverage=constants.c_coverage,
                    c_coverage_error=constants.c_coverage_error,
                    log_scales=constants.log_scales,
                )
        msg = (
            f"this calibration of {self.model} was made by an earlier version of milinfer: it has "
            f"constants for joint regions of {', '.join(self.parameters)}, but not for intervals "
            f"of {parameter} alone; calibrate again with milinfer.calibrate"
        )
        raise CalibrationError(msg)

    def widened(self) -> Calibration:
        r"""Return a calibration with which intervals include the error of the calibration.

        The toys of a calibration are drawn from a finite pool of simulated events.  The statistical
        fluctuation of this pool shifts the measured m(θ), and so it shifts the intervals of all
        datasets in the same direction.  If the pool has five times as many events as a dataset, the
        coverage of 68.3 % intervals is only 64 %, averaged over pools.  The widened calibration
        divides −2ΔlnL by :math:`D(\theta) = 1 + c I \sigma_m^2 + x \sigma_{\ln c}^2 / 4`.  Here I
        is the curvature of Λ, :math:`\sigma_m` and :math:`\sigma_{\ln c}` are the errors of m(θ)
        and ln c(θ), and x is the quantile of χ² for the confidence level
        (:mod:`milinfer.intervals.widening`).  The intervals then have the claimed coverage.  Apart
        from the term with :math:`\sigma_{\ln c}`, the squared half-width of a 68.3 % interval is
        :math:`\sigma^2 = \sigma_\mathrm{stat}^2 + \sigma_m^2`, in which
        :math:`\sigma_\mathrm{stat}` is the half-width without the error of the calibration.  The
        estimate does not change.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.intervals.calibration_fit import calibrate
        >>> from milinfer.likelihood.cost import dataset_cost
        >>> from milinfer.likelihood.fits import profile_interval
        >>> from milinfer.toys.toys import Toys
        >>> model = gaussian.MeanModel()
        >>> toys = Toys(gaussian.samples(4000, [-0.2, 0.2], seed=1), n_events=100, seed=2)
        >>> calibration = calibrate(toys.scan([model], [-0.2, 0.2], 500)["mean"])
        >>> cost = dataset_cost(model, gaussian.generate(100, 0.1, seed=3), reference=0.0)
        >>> narrow = profile_interval(calibration(cost), "mu")
        >>> wide = profile_interval(calibration.widened()(cost), "mu")
        >>> abs(wide.estimate - narrow.estimate) < 1e-3, bool(wide.width > narrow.width)
        (True, True)
        """
        return replace(self, widen=True)

    def _widening(self, curvature: ArrayLike, cl: float) -> Widening:
        """D(θ) of surfaces with these curvatures at their maxima."""
        interest = None if self.interest is None else self.parameters.index(self.interest)
        n = len(self.parameters)
        log_scale = None if self.correct == "bias" else self.log_scale(cl)
        own_scales = () if log_scale is None else (log_scale,) * n
        if log_scale is not None and interest is None and n > 1 and self.profiles:
            # A calibration of an earlier milinfer has no constants of profiles; use the region's.
            own_scales = tuple(self.profiled(name).log_scale(cl) for name in self.parameters)
        return Widening(
            shifts=() if self.correct == "scale" else self.response.shifts,
            log_scale=log_scale,
            own_scales=own_scales,
            weights=inverse_variances(curvature, interest),
            contained=np.zeros(n) if self.residuals is None else np.mean(self.residuals**2, axis=0),
            quantile=float(chi2_quantile(cl, n if interest is None else 1)),
        )

    @property
    def scale(self) -> float:
        """The constant c(θ) of the first confidence level, at the mean of `points`."""
        return self.scale_at(self.points.mean(axis=0))[0]

    @property
    def scale_error(self) -> float:
        """Error of :attr:`scale`."""
        return self.scale_at(self.points.mean(axis=0))[1]

    def scale_at(self, theta: ArrayLike, cl: float | None = None) -> tuple[float, float]:
        """Return c(θ) for a confidence level (default: the first level), and the error of c(θ).

        Raises
        ------
        CalibrationError
            If this level was not calibrated.
        """
        if cl is not None:
            require_level(cl)
        if self.correct == "bias":
            return 1.0, 0.0
        log_scale = self.log_scale(cl)
        c = float(np.exp(log_scale(theta)[0]))
        return c, c * float(log_scale.error(theta)[0])

    def log_scale(self, cl: float | None = None) -> SmoothPolynomial:
        """Return the fitted function ln c(θ) for a confidence level (default: the first).

        Raises
        ------
        CalibrationError
            If this level was not calibrated.
        """
        if cl is not None:
            require_level(cl)
        if len(self.log_scales) == 1 and self.kind == "bartlett":
            return self.log_scales[0]
        if cl is None:
            return self.log_scales[0]
        for level, log_scale in zip(self.cls, self.log_scales, strict=True):
            if same_level(level, cl):
                return log_scale
        msg = (
            f"{self.model} was calibrated for the confidence levels "
            f"{', '.join(f'{level:g}' for level in self.cls)}, not for {cl:g}; calibrate with "
            f"cl=({cl:g},)"
        )
        raise CalibrationError(msg)

    def bias(self, theta: float) -> tuple[float, float]:
        """Return the bias b(θ) = E[θ̂] − θ of a single parameter, and its error."""
        only(self.parameters)
        return float(self.response.bias([theta])[0]), float(self.response.bias_error([theta])[0])

    def correct_estimate(self, theta_hat: ArrayLike) -> FloatArray:
        """Return the corrected estimates m⁻¹(θ̂), inside `limits`, in the shape of `theta_hat`."""
        if self.correct == "scale":
            return np.asarray(theta_hat, dtype=np.float64)
        return self.response.invert(theta_hat, self.limits)

    def estimate_error(self, theta: float) -> float:
        """Return the standard error that the bias correction adds to an estimate θ."""
        only(self.parameters)
        if self.correct == "scale":
            return 0.0
        return self.bias(theta)[1] / abs(self.response.slope(theta)[0])

    def end_errors(
        self, estimate: float, ends: Sequence[float], cl: float | None = None
    ) -> tuple[float, ...]:
        """Compute the standard errors of the ends of an interval due to the calibration.

        A calibration has statistical errors from the finite number of toys and from the finite pool
        of simulated events.  The error of the bias shifts both ends of the interval.  If c has a
        relative error of 2 %, the distance of an end from the estimate has a relative error of 1 %.

        Parameters
        ----------
        estimate
            Corrected estimate.
        ends
            Ends of the interval.
        cl
            Confidence level of the interval.
        """
        errors = []
        for end in ends:
            c, c_error = self.scale_at(end, cl)
            stretch = (end - estimate) * c_error / (2 * c)
            errors.append(float(np.hypot(self.estimate_error(end), stretch)))
        return tuple(errors)

    def statistic(self, ensemble: ToyEnsemble, theta: ArrayLike, cl: float) -> FloatArray:
        """Compute the calibrated statistic 2 c(θ) [Λ(θ̂) − Λ(m(θ))] of each toy, shape (n_toys,).

        A calibration from :meth:`widened` divides the statistic by D(θ).  For a calibration from
        :meth:`profiled`, which is for intervals of a single parameter, the statistic is minimised
        over the other parameters.

        Raises
        ------
        CalibrationError
            If the toys belong to another model or another kind of dataset, or θ is outside
            :attr:`limits`.
        """
        self.require_like(ensemble)
        point = np.asarray(theta, dtype=np.float64).reshape(1, -1)
        low, high = np.array(self.limits).T
        slack = 1e-9 * (high - low)
        if np.any((point < low - slack) | (point > high + slack)):
            place = format_point(dict(zip(self.parameters, point[0].tolist(), strict=True)))
            msg = (
                f"the calibration of {self.model} is valid for {self.parameters} in {self.limits}, "
                f"and {place} is outside: no calibrated interval can contain it; stay inside this "
                "range, or train over a wider range"
            )
            raise CalibrationError(msg)
        divisor: FloatArray | float = 1.0
        if self.widen:
            # Of profiles too: the errors hardly change along the parameters that are profiled.
            divisor = self._widening(ensemble.extremum.curvature, cl).variance(point[0])
        if self.interest is not None:
            k = self.parameters.index(self.interest)
            log_scale = None if self.correct == "bias" else self.log_scale(cl)
            profile = profile_statistic(
                ensemble,
                k,
                float(point[0, k]),
                self.limits,
                None if self.correct == "scale" else self.response.mean,
                None if log_scale is None else lambda at: np.exp(log_scale(at)),
            )
            return profile / divisor
        mapped = point if self.correct == "scale" else self.response.mean(point).reshape(1, -1)
        argument = mapped[0, 0] if len(self.parameters) == 1 else mapped[0]
        return self.scale_at(point, cl)[0] * ensemble.test_statistic(argument) / divisor

    def contains_truth(self, ensemble: ToyEnsemble, cl: float) -> BoolArray:
        """Tell for each toy whether its calibrated interval contains the truth, shape (n_toys,)."""
        truth = truths([ensemble])[0]
        threshold = chi2_quantile(cl, len(self.parameters) if self.interest is None else 1)
        return np.asarray(self.statistic(ensemble, truth, cl) <= threshold)

    def require_like(self, ensemble: ToyEnsemble) -> None:
        """Raise an error unless the toys have the model and kind of dataset of the calibration.

        Raises
        ------
        CalibrationError
            If the model of the toys, their number of events, or the use of the rate term differs.
        """
        if ensemble.tag != self.tag:
            raise CalibrationError(_another_model(self.tag, ensemble.tag, "toys"))
        same_size = ensemble.n_events == self.n_events or self.extended
        if not same_size or ensemble.extended != self.extended:
            msg = (
                f"a calibration of {self.model} for {self.n_events:g} events "
                f"{'with' if self.extended else 'without'} rate term cannot be used for toys of "
                f"{ensemble.n_events:g} events "
                f"{'with' if ensemble.extended else 'without'} rate term; calibrate with toys of "
                "the same kind"
            )
            raise CalibrationError(msg)

    def __call__(
        self,
        cost: LikelihoodCost,
        cl: float | None = None,
        *,
        parameter: str | None = None,
        widen: bool | None = None,
    ) -> LikelihoodCost:
        """Calibrate the cost of a dataset.

        Parameters
        ----------
        cost
            Cost of the dataset, not calibrated.
        cl
            Confidence level of the intervals for which the cost is to be used; default: the first
            level of the calibration.
        parameter
            With several parameters: the parameter whose interval is wanted, with the others
            profiled (:meth:`profiled`); default: joint regions of all parameters.
        widen
            Whether the intervals include the error of the calibration (:meth:`widened`); default:
            the attribute `widen` of the calibration, which is False unless it was widened.

        Raises
        ------
        ParameterError
            If `parameter` is not one of the parameters.
        CalibrationError
            If the cost has other parameters, belongs to another model (another training, bag size
            or set of features) or is calibrated already; if it has no rate term but the toys had
            one, or its rate differs from the rate of the toys by more than 0.1 %; or if its number
            of events differs from that of the toys by more than a quarter and by more than five
            standard deviations.
        """
        if widen is not None and widen != self.widen:
            return replace(self, widen=widen)(cost, cl, parameter=parameter)
        if parameter is not None and parameter != self.interest:
            return self.profiled(parameter)(cost, cl)
        if cost.parameters != self.parameters:
            msg = (
                f"a calibration of {self.parameters} cannot be used for a cost of {cost.parameters}"
            )
            raise CalibrationError(msg)
        if cost.correction is not None:
            msg = "this cost is calibrated already; give the cost without calibration"
            raise CalibrationError(msg)
        if cost.tag is not None and cost.tag != self.tag:
            raise CalibrationError(_another_model(self.tag, cost.tag, "a dataset"))
        expected = self.n_events
        if self.extended and cost.rate is None:
            msg = (
                "the toys of this calibration have the rate term, but the cost has none; make the "
                "cost with rate="
            )
            raise CalibrationError(msg)
        if self.extended and cost.rate is not None:
            require_rate_of_toys(
                "calibration", cost.rate, self.parameters, self.points[0], expected
            )
        if not self.extended and size_differs(cost.n_events, expected):
            msg = (
                f"calibrated on toys of {expected:g} events, but the dataset has "
                f"{cost.n_events:g}; calibrate with n_events={cost.n_events:g}"
            )
            raise CalibrationError(msg)
        log_scale = None if self.correct == "bias" else self.log_scale(cl)
        level = self.cls[0] if cl is None else float(cl)
        corrected = cost.corrected(_Correction(self, log_scale, level), with_rate=self.extended)
        if not self.widen:
            return corrected
        # If the toys had the rate term, the surface with the rate term is corrected.
        widening = self._widening(corrected.surface.extremum.curvature, level)
        return corrected.corrected(_Correction(self, log_scale, level, widening))


@dataclass(frozen=True, eq=False)
class _Correction:
    """Functions that a calibrated cost evaluates, at one point of shape (n_parameters,)."""

    calibration: Calibration
    log_scale: SmoothPolynomial | None
    level: float
    widening: Widening | None = None

    def require_interval(self, parameter: str, cl: float, fixed: Sequence[str]) -> None:
        names, interest = self.calibration.parameters, self.calibration.interest
        if len(names) > 1 and parameter in names and self.log_scale is not None:
            together = f"joint regions of {', '.join(names)}"
            target = together if interest is None else f"intervals of {interest}"
            if interest != parameter:
                msg = (
                    f"this cost is calibrated for {target}, so an interval of {parameter} from it "
                    "has a wrong coverage; use profile_interval(calibration(cost, "
                    f'{cl:g}, parameter="{parameter}"), "{parameter}", {cl:g})'
                )
                raise CalibrationError(msg)
            kept = [name for name in fixed if name in names]
            if kept:
                msg = (
                    f"this cost is calibrated for {target} with the other parameters profiled, but "
                    f"{', '.join(kept)} would be fixed; leave all parameters free, or use the cost "
                    "without calibration"
                )
                raise CalibrationError(msg)
        self._require_level(cl)

    @property
    def target(self) -> list[str] | None:
        """Parameter, or parameters of a joint region, whose intervals are calibrated; None: all."""
        names, interest = self.calibration.parameters, self.calibration.interest
        if self.log_scale is None:
            return None
        return [*names] if interest is None else [interest]

    @property
    def serves_all_levels(self) -> bool:
        """Whether the cost is the same for all levels: of the bias alone, or by Bartlett."""
        # The error of c(θ) widens by the quantile of one level.
        by_bartlett = self.calibration.kind == "bartlett" and self.widening is None
        return self.log_scale is None or by_bartlett

    def _require_level(self, cl: float) -> None:
        if self.serves_all_levels:
            return
        if not same_level(cl, self.level):
            made = ", ".join(f"{level:g}" for level in self.calibration.cls)
            remedy = f"use calibration(cost, {cl:g})"
            if self.calibration.kind == "coverage" and not any(
                same_level(cl, level) for level in self.calibration.cls
            ):
                remedy = f"calibrate with cl=({made}, {cl:g}), then {remedy}"
            msg = (
                f"this cost is calibrated for intervals of {self.level:.2%}, not of {cl:.2%} (the "
                f"calibration has the levels {made}); {remedy}"
            )
            raise CalibrationError(msg)

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        return self.calibration.limits

    def forward(self, theta: FloatArray) -> FloatArray:
        if self.calibration.correct == "scale":
            return theta
        return self.calibration.response.mean_at(theta)

    def jacobian(self, theta: FloatArray) -> FloatArray:
        if self.calibration.correct == "scale":
            return np.eye(len(theta))
        return self.calibration.response.jacobian_at(theta)

    def scale(self, theta: FloatArray) -> float:
        scale = 1.0 if self.log_scale is None else math.exp(self.log_scale.at(theta))
        return scale if self.widening is None else scale / float(self.widening.variance(theta)[0])

    def scale_gradient(self, theta: FloatArray) -> FloatArray:
        slope = np.zeros(len(theta))  # of the logarithm
        if self.log_scale is not None:
            slope = slope + self.log_scale.gradient_at(theta)
        if self.widening is not None:
            slope -= self.widening.gradient(theta)[0] / self.widening.variance(theta)[0]
        return self.scale(theta) * slope


@published_correction.register
def _(correction: _Correction, arrays: ArrayStore) -> dict[str, Any]:
    calibration, widening = correction.calibration, correction.widening

    def smooth(polynomial: SmoothPolynomial, name: str) -> dict[str, Any]:
        return published_smooth(polynomial, arrays.within(name))

    def of_each(functions: Sequence[SmoothPolynomial], name: str) -> list[dict[str, Any]]:
        return [smooth(f, f"{name}{k}") for k, f in enumerate(functions)]

    return {
        "kind": "calibration",
        "calibrated_for": {
            "parameters": correction.target,
            "confidence_level": None if correction.serves_all_levels else correction.level,
        },
        "shifts": (
            [] if calibration.correct == "scale" else of_each(calibration.response.shifts, "shift")
        ),
        "log_scale": (
            None if correction.log_scale is None else smooth(correction.log_scale, "log_scale")
        ),
        "widening": (
            None
            if widening is None
            else {
                "weights": widening.weights[0].tolist(),
                "contained": widening.contained.tolist(),
                "quantile": widening.quantile,
                "own_scales": of_each(widening.own_scales, "own_scale"),
            }
        ),
    }


def _another_model(mine: ModelTag, other: ModelTag, what: str) -> str:
    """Write the message that a calibration belongs to another model, with the first difference."""
    differences = {
        "model": (mine.name, other.name),
        "bag size": (mine.events_in_bag, other.events_in_bag),
        "features": (", ".join(mine.feature_names), ", ".join(other.feature_names)),
        "training": (mine.digest, other.digest),
    }
    name, (a, b) = next((k, v) for k, v in differences.items() if v[0] != v[1])
    return (
        f"a calibration of {mine.name} cannot be used for {what} of another {name}: it was made "
        f"for {a!r}, not for {b!r}; calibrate this model with its own toys"
    )


def calibrated_toys(
    calibration: Calibration, ensemble: ToyEnsemble, cl: float | None = None
) -> ToyEnsemble:
    """Replace Λ(θ) of each toy by the calibrated surface c(θ) [Λ(m(θ)) − Λ(θ̂)].

    Parameters
    ----------
    calibration
        Calibration that was made for the same model and for datasets of the same size.
    ensemble
        Toys with the surfaces of the model.
    cl
        Confidence level whose constant is used; default: the first level of the calibration.

    Returns
    -------
    ToyEnsemble
        The toys with calibrated surfaces, defined inside the limits of the calibration.

    Raises
    ------
    CalibrationError
        If the toys belong to another model or another kind of dataset than the calibration, or the
        calibration comes from :meth:`Calibration.widened` or :meth:`Calibration.profiled`.

    Examples
    --------
    >>> from milinfer.intervals.calibration_fit import calibrate
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel(scale=0.5, shift=0.1)
    >>> toys = Toys(gaussian.samples(50_000, [-0.3, 0.3], seed=1), n_events=100, seed=2)
    >>> ensembles = toys.scan([model], [-0.3, 0.3], 500)["mean"]
    >>> corrected = calibrated_toys(calibrate(ensembles), ensembles[0])
    >>> bool(abs(corrected.theta_hat.mean() + 0.3) < 0.01), corrected.n_toys
    (True, 500)
    """
    calibration.require_like(ensemble)
    if calibration.widen:
        msg = (
            "this calibration is widened, but a belt made from calibrated toys already includes "
            "the error of the calibration; give the calibration without widened()"
        )
        raise CalibrationError(msg)
    if calibration.interest is not None:
        msg = (
            f"this calibration is for intervals of {calibration.interest}, but calibrated surfaces "
            "depend on all parameters; give the calibration without profiled()"
        )
        raise CalibrationError(msg)
    low, high = np.array(calibration.limits).T
    number = len(low)
    grid: Interpolation | ChebyshevBox
    if number == 1:
        grid = Interpolation(np.linspace(low[0], high[0], _POINTS), "spline")
    else:
        grid = ChebyshevBox(low, high, fine_degree(number))
    points = grid.grid.reshape(-1, number)
    scale = np.ones(len(points))
    if calibration.correct != "bias":
        scale = np.exp(calibration.log_scale(cl)(points))
    mapped = points
    if calibration.correct != "scale":
        edges = np.array(ensemble.interpolation.limits).T
        mapped = np.clip(calibration.response.mean(points).reshape(points.shape), *edges)
    at = mapped[:, 0] if number == 1 else mapped
    values = ensemble.interpolation.values_at(ensemble.values, at)
    values = scale * (values - ensemble.extremum.maximum[:, None])
    return replace(ensemble, interpolation=grid, values=values)
