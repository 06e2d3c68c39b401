"""Make a submission for HEPData from a published likelihood.

:func:`write_hepdata` computes the tables (intervals, covariance, profiles) from the published
likelihood itself.  A reader who evaluates this likelihood therefore finds the same numbers.  The
package hepdata_lib writes the tables, and hepdata_validator checks them against the schema of
HEPData.
"""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from iminuit import Minuit
from scipy.interpolate import CubicSpline

from milinfer.exceptions import (
    CalibrationError,
    ConfigurationError,
    MilinferWarning,
    ParameterError,
)
from milinfer.likelihood.fits import Interval, fit_results
from milinfer.likelihood.published_cost import PublishedCost, load_published
from milinfer.likelihood.publishing import JSON, READER
from milinfer.likelihood.scans import ProfileScan
from milinfer.plotting.results import plot_scans
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.confidence_levels import CL68, CL95, levels_of
from milinfer.utils.files import atomic_folder, portable_name
from milinfer.utils.keywords import did_you_mean
from milinfer.workflow.profile_fits import profile_about, profile_fits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["require_hepdata_lib", "write_hepdata"]

# Of a float64: all of them.
_DIGITS = 17
# What HEPData writes where there is no number.
_NONE = "-"
# A profile goes so many errors from the best fit, inside the limits.
_REACH = 3.0
# Of the range: a best fit so near to its end is there.
_AT_LIMIT = 1e-6
# Of an error: to either side, for second derivatives.
_STEP = 1e-3
_DPI = 200
# Width of the small picture, in pixels.
_THUMBNAIL = 240
_LONGEST_NAME = 64
_PROFILED = "profile likelihood (MINOS)"


@dataclass(frozen=True, eq=False)
class _Result:
    """What the tables say."""

    likelihood: PublishedCost
    best: Mapping[str, float]
    covariance: FloatArray
    free: tuple[str, ...]
    intervals: Mapping[str, Sequence[Interval | None]]
    levels: tuple[float, ...]
    method: str
    profiles: Mapping[str, ProfileScan]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return self.likelihood.title or f"Likelihood of {', '.join(self.intervals)}"

    @property
    def ends(self) -> list[str]:
        """Parameters whose best fit is at the end of their range."""
        found = []
        for name in self.free:
            low, high = self.likelihood.likelihood.limits[name]
            near = _AT_LIMIT * (high - low) if np.isfinite(high - low) else _AT_LIMIT
            if not low + near < self.best[name] < high - near:
                found.append(name)
        return found

    def unit(self, parameter: str) -> str:
        return self.likelihood.likelihood.units[parameter] or ""


def write_hepdata(
    published: PathLikeStr,
    folder: PathLikeStr,
    *,
    cl: float | Sequence[float] | None = None,
    intervals: Sequence[Interval] = (),
    method: str = "",
    comment: str = "",
    keywords: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write a submission for HEPData from a published likelihood.

    The submission has these tables: the intervals, with confidence level and method; the covariance
    and the correlation of all fitted parameters; and, for each parameter of interest, −2 ln L with
    all other parameters profiled, also as a picture.  ``likelihood.zip`` contains the published
    likelihood.  The submission is validated before the folder is written.  To submit it, zip the
    folder and upload it.

    Parameters
    ----------
    published
        Folder that :func:`milinfer.publish` has written.
    folder
        Folder to write; an existing folder of this name is replaced.
    cl
        Confidence levels of the intervals.  Default: the levels for which the likelihood is
        calibrated.  If it is not calibrated, or calibrated for all levels, 68.27 % and 95.45 %.
    intervals
        Intervals for the table, for example calibrated intervals of several parameters.  All
        parameters need the same levels.  Default: the intervals are computed from the likelihood.
    method
        Text that says how `intervals` were made; needed if `intervals` is given.
    comment
        Introduction to the submission, such as the abstract; default: the title of the likelihood.
    keywords
        Keywords of the tables: a list for each of HEPData's kinds, which are ``reactions``,
        ``observables``, ``cmenergies`` and ``phrases``.

    Returns
    -------
    Path
        Folder of the submission.

    Raises
    ------
    ModelError
        If `published` is not a published likelihood.
    CalibrationError
        If the likelihood is calibrated, but not for these intervals, or does not say for which
        intervals it is calibrated.
    ConfigurationError
        If hepdata_lib is not installed, `intervals` are given without a method or with different
        levels for different parameters, or HEPData would refuse the submission.
    ParameterError
        If an entry of `intervals` is not for a parameter of interest.
    FitError
        If the fit of the likelihood has no valid minimum.

    Warns
    -----
    MilinferWarning
        If an interval does not end inside the range of its parameter.  The table then says this
        too.

    Examples
    --------
    >>> import tempfile
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.cost import dataset_cost
    >>> from milinfer.likelihood.publishing import publish
    >>> cost = dataset_cost(
    ...     gaussian.MeanModel(), gaussian.generate(100, 0.1, seed=1).as_data(), reference=0.0)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     published = publish(cost, f"{parent}/published", title="mean of a Gaussian")
    ...     folder = write_hepdata(published, f"{parent}/hepdata")  # doctest: +SKIP
    ...     names = sorted(path.name for path in folder.iterdir())  # doctest: +SKIP
    >>> names[:3]  # doctest: +SKIP
    ['correlation.yaml', 'covariance.yaml', 'intervals.yaml']
    """
    lib = require_hepdata_lib()  # before the fits
    source = as_path(published)
    likelihood = load_published(source)
    result = _result(likelihood, cl, intervals, method)
    with (
        tempfile.TemporaryDirectory() as scratch,
        atomic_folder(folder) as target,
    ):
        _write(lib, result, source, Path(scratch), target, comment, keywords or {})
        _validate(target)
    return Path(folder)


def require_hepdata_lib() -> Any:
    """Import the package hepdata_lib; if it is missing, the error says how to install it.

    Raises
    ------
    ConfigurationError
        If it is not installed.

    Examples
    --------
    >>> require_hepdata_lib().Submission.get_license()["name"]  # doctest: +SKIP
    'CC0'
    """
    try:
        import_module("hepdata_validator.full_submission_validator")
        lib = import_module("hepdata_lib")
    except ImportError as error:
        msg = 'a submission needs hepdata_lib; install it with: pip install "milinfer[hepdata]"'
        raise ConfigurationError(msg) from error
    # hepdata_lib 0.21 sets a constructor that fails on all mappings, for the whole process.
    getattr(yaml, "CLoader", yaml.Loader).add_constructor(
        yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
        yaml.constructor.SafeConstructor.construct_yaml_map,
    )
    return lib


def _result(
    likelihood: PublishedCost,
    cl: float | Sequence[float] | None,
    given: Sequence[Interval],
    method: str,
) -> _Result:
    roles = likelihood.likelihood.roles
    interest = [n for n, role in roles.items() if role == "interest" and n not in likelihood.fixed]
    if not interest:
        msg = "this likelihood has no parameter of interest, so there is no result for HEPData"
        raise ConfigurationError(msg)
    # Profiles show what there is, whatever it is calibrated for.
    free = likelihood.for_any_interval()
    reasons: list[str] = []
    if given:
        levels, intervals = _given(given, interest, cl, method)
        m, _ = profile_fits(free, dict.fromkeys(interest, (CL68,)), problems=[])
    else:
        if method:
            msg = f"method={method!r} describes intervals=, but no intervals are given; omit it"
            raise ConfigurationError(msg)
        levels, method = _levels(likelihood, cl), _PROFILED
        if likelihood.calibrated:
            made = "; ".join(str(c) for c in likelihood.calibrated_for)
            method += f" of the likelihood calibrated with toys for {made}"
        targets = _targets(likelihood, interest)
        m, intervals = profile_fits(likelihood, dict.fromkeys(targets, levels), problems=reasons)
    # There may be others: of a second minimum, whose values belong to the confidence set, too.
    missing = [
        (f"{level:.2%} interval of {name}", name)
        for name, own in intervals.items()
        for level, interval in zip(levels, own, strict=True)
        if interval is None
    ]
    notes = [
        "No {} ends inside its range [{:g}, {:g}].".format(what, *m.limits[name])
        for what, name in missing
    ]
    for reason in reasons:
        if any(reason.startswith(f"no {what}") for what, _ in missing):
            reason = f"{reason}; the table will say that the interval is missing"  # noqa: PLW2901
        else:
            notes.append(f"{reason.removesuffix('.')}.")
        warnings.warn(reason, MilinferWarning, stacklevel=3)
    return _Result(
        likelihood=likelihood,
        best=m.values.to_dict(),
        covariance=_covariance(free, m),
        free=tuple(name for name in m.parameters if not m.fixed[name]),
        intervals=intervals,
        levels=levels,
        method=method,
        profiles={name: _profile_of(free, m, name) for name in interest},
        notes=tuple(notes),
    )


def _covariance(cost: PublishedCost, best: Minuit) -> FloatArray:
    """Covariance of the free parameters, from the second derivatives of −2 ln L.

    Those of HESSE can be off by a percent.  With a gradient there are better ones.
    """
    free = np.flatnonzero(~np.array(best.fixed))
    fit_results(best)  # or an error: there is no minimum with a covariance
    of_minuit = np.asarray(best.covariance)[np.ix_(free, free)]
    values, steps = np.array(best.values), _STEP * np.array(best.errors)
    low, high = np.array(best.limits)[free].T
    inside = np.all((values[free] - steps[free] > low) & (values[free] + steps[free] < high))
    if not cost.has_grad or not inside:
        return of_minuit
    slopes = []
    for k in free:
        step = np.zeros(len(values))
        step[k] = steps[k]
        change = cost.grad(*(values + step)) - cost.grad(*(values - step))
        slopes.append(np.asarray(change)[free] / (2 * steps[k]))
    hessian = np.array(slopes)
    covariance: FloatArray = np.linalg.inv((hessian + hessian.T) / 4)
    return covariance


def _profile_of(cost: PublishedCost, best: Minuit, name: str) -> ProfileScan:
    """Profile of a parameter about the best fit, or in all of its range if there is no error."""
    (low, high), estimate = best.limits[name], float(best.values[name])
    reach = _REACH * float(best.errors[name])
    window = max(estimate - reach, low), min(estimate + reach, high)
    return profile_about(cost, best, name, window, "the profile for HEPData")


def _given(
    given: Sequence[Interval],
    interest: Sequence[str],
    cl: float | Sequence[float] | None,
    method: str,
) -> tuple[tuple[float, ...], dict[str, list[Interval | None]]]:
    """Levels and intervals of the caller, by parameter."""
    if not method:
        msg = "with intervals=, give method=, which says how they were made"
        raise ConfigurationError(msg)
    if cl is not None:
        msg = (
            "cl= selects intervals of the likelihood itself, intervals= replaces them; give only "
            "one"
        )
        raise ConfigurationError(msg)
    by_name: dict[str, dict[float, Interval]] = {}
    for interval in given:
        if interval.parameter not in interest:
            msg = (
                f"an interval is for {interval.parameter}, but the parameters of interest are "
                f"{', '.join(interest)}"
            )
            raise ParameterError(msg + did_you_mean(interval.parameter, interest))
        by_name.setdefault(interval.parameter, {})[interval.cl] = interval
    levels = tuple(sorted({i.cl for i in given}))
    for name, own in by_name.items():
        if missing := [cl for cl in levels if cl not in own]:
            msg = f"intervals= has no {missing[0]:.2%} interval of {name}; give the same levels"
            raise ConfigurationError(msg)
    return levels, {name: [own[cl] for cl in levels] for name, own in by_name.items()}


def _levels(likelihood: PublishedCost, cl: float | Sequence[float] | None) -> tuple[float, ...]:
    if cl is not None:
        return tuple(sorted(levels_of(cl)))
    made = likelihood.calibrated_for
    if any(not c.recorded for c in made):
        msg = (
            "this likelihood is calibrated for one confidence level, but does not record which; "
            "give "
            "this level as cl="
        )
        raise CalibrationError(msg)
    levels = {c.confidence_level for c in made if c.confidence_level is not None}
    return tuple(sorted(levels)) or (CL68, CL95)


def _targets(likelihood: PublishedCost, interest: Sequence[str]) -> list[str]:
    """Parameters whose own intervals the likelihood has."""
    targets = list(interest)
    for made in likelihood.calibrated_for:
        if made.parameters is None:
            continue
        if len(made.parameters) > 1:
            msg = (
                f"this likelihood is calibrated for {made}, not for intervals of one "
                "parameter; publish it without calibration, and give calibrated intervals of each "
                "parameter as intervals="
            )
            raise CalibrationError(msg)
        targets = [name for name in targets if name in made.parameters]
    return targets


def _write(
    lib: Any,
    result: _Result,
    source: Path,
    scratch: Path,
    target: Path,
    comment: str,
    keywords: Mapping[str, Sequence[str]],
) -> None:
    """Write all files.

    ``Submission.create_files`` would leave an archive in the working directory.
    """
    submission = lib.Submission()
    archive = scratch / "likelihood.zip"
    _zip(source, result.likelihood.content["files"], archive)
    try:
        submission.add_additional_resource(
            "Likelihood of the data, for Python. Its file read_likelihood.py gives −2 ln L as a "
            "function of the parameters and needs only numpy; likelihood.json describes the format",
            str(archive),
            copy_file=True,
        )
    except RuntimeError as error:
        msg = (
            f"the published likelihood is too large for HEPData ({error}); publish it without "
            "events, or store it elsewhere and describe it with mil.constraint"
        )
        raise ConfigurationError(msg) from error
    header = {
        "data_license": submission.get_license(),
        "comment": comment or f"{result.title}. {result.likelihood.content['description']}",
        "additional_resources": submission.additional_resources,
    }
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, explicit_start=True)
    (target / "submission.yaml").write_text(text, encoding="utf-8")
    submission.copy_files(str(target))
    names: set[str] = set()
    for table in (
        _intervals(lib, result),
        _matrix(lib, result, "Covariance"),
        _matrix(lib, result, "Correlation"),
        *(_profile(lib, result, scan, names, scratch) for scan in result.profiles.values()),
    ):
        table.location = ""
        table.keywords = {kind: [*words] for kind, words in keywords.items()}
        table.copy_files(str(target))
        table.write_yaml(str(target))


def _zip(source: Path, files: Mapping[str, Any], archive: Path) -> None:
    """The files that make up a published likelihood, and not what else lies beside them."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stored:
        for name in (JSON, READER, *files):
            if (source / name).is_file():
                stored.write(source / name, f"likelihood/{name}")


def _variable(
    lib: Any, name: str, values: Sequence[Any], *, dependent: bool, unit: str = ""
) -> Any:
    variable = lib.Variable(
        name, is_independent=not dependent, is_binned=False, units=unit, values=[*values]
    )
    variable.digits = _DIGITS
    return variable


def _intervals(lib: Any, result: _Result) -> Any:
    """Estimate, and both ends of each interval; a row for each parameter."""
    table = lib.Table("Intervals")
    names = [*result.intervals]
    table.description = (
        f"{result.title}: best fit and confidence intervals of each parameter, with all others "
        f"profiled. Method: {result.method}. {' '.join(result.notes)}"
    ).strip()
    table.add_variable(_variable(lib, "parameter", names, dependent=False))
    units = {result.unit(name) for name in names}
    common = units.pop() if len(units) == 1 else ""
    if units:
        texts = [result.unit(name) or _NONE for name in names]
        table.add_variable(_variable(lib, "unit", texts, dependent=False))
    estimates = [
        result.best[name] if first is None else first.estimate
        for name, (first, *_) in result.intervals.items()
    ]
    estimate = _variable(lib, "best fit", estimates, dependent=True, unit=common)
    estimate.add_qualifier("method", result.method)
    table.add_variable(estimate)
    for k, cl in enumerate(result.levels):
        found = [own[k] for own in result.intervals.values()]
        for end in ("low", "high"):
            values = [_NONE if i is None else getattr(i, end) for i in found]
            variable = _variable(
                lib, f"{end} end of the {cl:.2%} interval", values, dependent=True, unit=common
            )
            variable.add_qualifier("confidence level", cl)
            variable.add_qualifier("method", result.method)
            table.add_variable(variable)
    return table


def _matrix(lib: Any, result: _Result, name: str) -> Any:
    """Covariance or correlation of the parameters that are fitted; a row for each pair."""
    labels, matrix = result.free, result.covariance
    if name == "Correlation":
        sigma = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(sigma, sigma)
    table = lib.Table(name)
    of = "calibrated likelihood" if result.likelihood.calibrated else "likelihood"
    units = [f"{n} is in {result.unit(n)}." for n in labels if result.unit(n)]
    limited = [
        f"{n} is at the end of its range, so its error is not reliable." for n in result.ends
    ]
    table.description = (
        f"{result.title}: {name.lower()} of all parameters at the best fit, from the second "
        f"derivatives of −2 ln L of the {of}. {' '.join((*limited, *units))}"
    ).strip()
    for k in (0, 1):
        pairs = [(a, b)[k] for a in labels for b in labels]
        table.add_variable(_variable(lib, f"parameter {k + 1}", pairs, dependent=False))
    table.add_variable(_variable(lib, name.lower(), matrix.ravel().tolist(), dependent=True))
    return table


def _profile(lib: Any, result: _Result, scan: ProfileScan, names: set[str], scratch: Path) -> Any:
    """−2 ln L along a parameter, with its picture."""
    name = f"Profile of {portable_name(scan.parameter)}"[: _LONGEST_NAME - 4]
    # Files are named after tables, in small letters.
    if name.lower() in names:
        name = f"{name} {len(names) + 1}"
    names.add(name.lower())
    table = lib.Table(name)
    calibrated = "".join(f" It is calibrated for {c}." for c in result.likelihood.calibrated_for)
    table.description = (
        f"{result.title}: −2 ln L above its minimum as a function of {scan.parameter}, with all "
        f"other parameters fitted at each value.{calibrated}"
    )
    unit = result.unit(scan.parameter)
    table.add_variable(
        _variable(lib, scan.parameter, scan.values.tolist(), dependent=False, unit=unit)
    )
    rises = _variable(lib, "-2 Delta ln L", scan.rises.tolist(), dependent=True)
    table.add_variable(rises)
    curves = {"profile likelihood": CubicSpline(scan.values, scan.rises)}
    window = (float(scan.values[0]), float(scan.values[-1]))
    figure = plot_scans(curves, scan.parameter, window)
    _add_picture(table, figure, scratch / f"{name.lower().replace(' ', '_')}.png")
    return table


def _add_picture(table: Any, figure: Figure, path: Path) -> None:
    """Add a picture and its small one; ``Table.add_image`` needs ImageMagick for that."""
    from PIL import Image

    figure.savefig(path, dpi=_DPI)
    small = path.with_name(f"thumb_{path.name}")
    with Image.open(path) as picture:
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        picture.save(small)
    table.add_additional_resource("Image file", str(path), copy_file=True)
    table.add_additional_resource("Thumbnail image file", str(small), copy_file=True)


def _validate(folder: Path) -> None:
    """Compare a submission with the schema of HEPData, which is in hepdata_validator."""
    from hepdata_validator.full_submission_validator import FullSubmissionValidator

    validator = FullSubmissionValidator(autoload_remote_schemas=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
        valid = validator.validate(directory=str(folder))
    if not valid:
        texts = [m.message for own in validator.get_messages().values() for m in own]
        msg = f"HEPData would refuse this submission: {'; '.join(texts)}"
        raise ConfigurationError(msg)
