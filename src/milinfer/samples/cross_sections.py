"""Find the cross-section of one file, or of several files of one point.

For one file, the Les Houches accord applies (hep-ph/0109068): IDWTUP says what the weights of an
LHE file mean.  For ±4, the mean of all weights is the cross-section in pb.  For ±1, the mean of the
weights of a process is the cross-section of this process.  For ±2, the weights of each process have
their own normalisation.  For ±3, the weights are equal up to the sign.  If XSECUP is given, it is
the cross-section, whatever IDWTUP is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ConfigurationError, LHEError, MilinferWarning, SampleError
from milinfer.samples.weights import WeightSums
from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.arguments import short_repr

if TYPE_CHECKING:
    from milinfer.io.event_record.info import LHEInfo

__all__ = [
    "Combine",
    "JoinedCrossSection",
    "Part",
    "cross_section_of_events",
    "cross_section_source",
    "differ",
    "join_cross_sections",
    "mean_cross_section",
    "needs_mixing",
    "process_factors",
    "require_combine",
    "selected_cross_section",
    "varied_cross_section",
    "warn_of_mean_weight",
]

Combine: TypeAlias = Literal["sum", "mean"]
"""How to join files of one point: add slices of a process, average runs of a process."""


def cross_section_source(info: LHEInfo) -> Literal["init", "weights", "unknown"]:
    """Tell where the cross-section of a file comes from: ``<init>``, its weights, or nowhere.

    Examples
    --------
    >>> from milinfer.io.lhe import LHEInfo, LHEProcess
    >>> not_given = (LHEProcess(-1.0, 0.0, 1.0, 1),)
    >>> [cross_section_source(LHEInfo(not_given, weighting_strategy=k)) for k in (3, -4)]
    ['unknown', 'weights']
    """
    if not math.isnan(info.cross_section):
        return "init"
    return "weights" if info.processes and abs(info.weighting_strategy) in (1, 4) else "unknown"


def cross_section_of_events(
    info: LHEInfo, n_events: int, total: float, square: float
) -> tuple[float, float]:
    """Return the cross-section in pb of all events of a file, with its error; NaN if unknown.

    If ``<init>`` gives no cross-section and IDWTUP defines the mean weight as the cross-section,
    the result is Σw/n with the error √(Σw²)/n.

    Parameters
    ----------
    info
        Header and ``<init>`` of the file.
    n_events, total, square
        Number of events, Σw and Σw².

    Examples
    --------
    >>> from milinfer.io.lhe import LHEInfo, LHEProcess
    >>> info = LHEInfo((LHEProcess(0.0, 0.0, 1.0, 1),), weighting_strategy=-4)
    >>> cross_section_of_events(info, 100, 200.0, 400.0)
    (2.0, 0.2)
    """
    if cross_section_source(info) == "weights" and n_events:
        return total / n_events, math.sqrt(square) / n_events
    return info.cross_section, info.cross_section_error


def warn_of_mean_weight(
    info: LHEInfo, n_events: int, total: float, square: float, source: str
) -> None:
    """Warn if IDWTUP is ±4 and the mean weight is not the cross-section of ``<init>``.

    There is no warning if the difference is at most five standard errors plus one permille.

    Parameters
    ----------
    info, n_events, total, square
        As for :func:`cross_section_of_events`.
    source
        Name of the file.

    Warns
    -----
    MilinferWarning
        If the difference is larger.  The message gives the mean weight and the cross-section.
    """
    sigma, error = info.cross_section, info.cross_section_error
    if abs(info.weighting_strategy) != 4 or not n_events or math.isnan(sigma):
        return
    mean = total / n_events
    scatter = math.sqrt(max(square / n_events - mean**2, 0.0) / n_events)
    if abs(mean - sigma) > 5 * math.hypot(scatter, error) + 1e-3 * abs(sigma):
        msg = (
            f"{source}: <init> gives the cross-section {sigma:.6g} ± {error:.2g} pb, but with "
            f"IDWTUP {info.weighting_strategy} it is the mean weight, {mean:.6g} ± {scatter:.2g} "
            "pb; <init> is used, so give cross_section= if it is wrong"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=2)


def needs_mixing(info: LHEInfo) -> bool:
    """Whether the weights of each process of a file have a separate normalisation.

    This is the case for files of several processes with IDWTUP ±1 or ±2.  For these values of
    IDWTUP, the parton shower chooses the process of each event.

    Examples
    --------
    >>> from milinfer.io.lhe import LHEInfo, LHEProcess
    >>> two = (LHEProcess(1.0, 0.1, 1.0, 1), LHEProcess(3.0, 0.1, 1.0, 2))
    >>> needs_mixing(LHEInfo(two, weighting_strategy=2)), needs_mixing(LHEInfo(two))
    (True, False)
    """
    return len(info.processes) > 1 and abs(info.weighting_strategy) in (1, 2)


class ProcessMixture(NamedTuple):
    """Factors of the weights of each process, by its id, and the total cross-section."""

    factors: dict[int, float]
    cross_section: float
    error: float


def process_factors(
    info: LHEInfo, process_ids: IntArray, weights: FloatArray, source: str
) -> ProcessMixture:
    """Return factors for the weights of the processes of a file with IDWTUP ±1 or ±2.

    With these factors, the sum of the weights of a process divided by the number of all events is
    the cross-section of the process: its XSECUP or, for ±1 without XSECUP, its mean weight.

    Parameters
    ----------
    info
        Header and ``<init>`` of the file.
    process_ids, weights
        IDPRUP and XWGTUP of all events, each of shape (n_events,).
    source
        Name of the file, for messages.

    Raises
    ------
    LHEError
        If ``<init>`` does not list the process of an event, or if a cross-section is missing.

    Examples
    --------
    >>> from milinfer.io.lhe import LHEInfo, LHEProcess
    >>> two = (LHEProcess(1.0, 0.1, 1.0, 1), LHEProcess(3.0, 0.1, 1.0, 2))
    >>> info = LHEInfo(two, weighting_strategy=2)
    >>> mixture = process_factors(info, np.array([1, 1, 2, 2]), np.array([5.0, 5, 7, 7]), "a.lhe")
    >>> mixture.factors[1] * 10 / 4, round(mixture.factors[2] * 14 / 4, 12), mixture.cross_section
    (1.0, 3.0, 4.0)
    """
    strategy = info.weighting_strategy
    unknown = set(np.unique(process_ids).tolist()) - {p.process_id for p in info.processes}
    if unknown:
        msg = (
            f"{source}: there are events of the process {min(unknown)}, which <init> does not "
            f"list; add its line, which IDWTUP {strategy} needs to normalise its weights"
        )
        raise LHEError(msg)
    factors: dict[int, float] = {}
    pairs: list[tuple[float, float]] = []
    for process in info.processes:
        own = weights[process_ids == process.process_id]
        total, number = float(own.sum()), len(own)
        sigma, error = process.cross_section, process.error
        if math.isnan(info.cross_section) and abs(strategy) == 1 and number:
            sigma, error = total / number, math.sqrt(float(np.square(own).sum())) / number
        elif math.isnan(info.cross_section):
            msg = (
                f"{source}: XSECUP of the process {process.process_id} is {sigma:g}, but IDWTUP "
                f"{strategy} needs it to mix the {len(info.processes)} processes; write the "
                "cross-section into <init>"
            )
            raise LHEError(msg)
        pairs.append((sigma, error))
        if number:
            if not sigma * total > 0:
                msg = (
                    f"{source}: the weights of the process {process.process_id} add up to "
                    f"{total:g}, but its cross-section is {sigma:g} pb; correct <init>"
                )
                raise LHEError(msg)
            factors[process.process_id] = sigma * len(weights) / total
    return ProcessMixture(
        factors=factors,
        cross_section=math.fsum(p[0] for p in pairs),
        error=math.hypot(*(p[1] for p in pairs)),
    )


class Part(NamedTuple):
    """What must be known about a sample to join it with other samples of the same point.

    Parameters
    ----------
    source
        File or sample, for messages.
    cross_section, error
        Cross-section and its error in pb; NaN if unknown.
    n_events, weights
        Number of events, and sums of their weights.
    origin
        Identifier of the run; parts with the same origin and cross-section are events of one run.
    n_generated
        Number of events before a selection, if known.
    """

    source: str
    cross_section: float
    error: float
    n_events: int
    weights: WeightSums
    origin: object = None
    n_generated: int | None = None


class JoinedCrossSection(NamedTuple):
    """Cross-section of joined samples in pb, its error, and factors on the weights of the samples.

    There is one factor for each sample.
    """

    cross_section: float
    error: float
    factors: tuple[float, ...]


def cross_section_in_pb(value: object, name: str, label: str) -> float:
    """Check a cross-section or its error given by the user; NaN if it is unknown.

    Raises
    ------
    SampleError
        If it is not a number.

    Examples
    --------
    >>> cross_section_in_pb(2, "cross_section", "signal")
    2.0
    >>> cross_section_in_pb("2 pb", "cross_section", "signal")
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: signal: cross_section='2 pb' is not a number; give it in pb
    """
    try:
        if not isinstance(value, str | bytes | bool):
            return float(value)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        pass
    msg = f"{label}: {name}={short_repr(value)} is not a number; give it in pb"
    raise SampleError(msg)


def require_combine(combine: str | None) -> None:
    """Raise unless `combine` is a way to join samples, or None.

    Raises
    ------
    ConfigurationError
        If `combine` is neither.  The message lists the possible values.

    Examples
    --------
    >>> require_combine("sum")
    """
    given: object = combine
    if given is not None and not (isinstance(given, str) and given in get_args(Combine)):
        msg = (
            f"combine is {short_repr(given)}; it can be 'sum' (slices) or 'mean' (runs of one "
            "process)"
        )
        raise ConfigurationError(msg)


def join_cross_sections(
    parts: Sequence[Part], combine: Combine | None = None
) -> JoinedCrossSection:
    """Return the cross-section of several samples of one point, and factors on their weights.

    The result does not depend on the order of the samples.

    Parameters
    ----------
    parts
        The samples.
    combine
        ``"sum"``: disjoint slices of one process.  The cross-sections add up.  The weights of each
        slice are scaled so that their sum is in proportion to the cross-section of the slice.

        ``"mean"``: runs of one process.  The cross-sections are averaged
        (:func:`mean_cross_section`).  If the mean weights of the runs differ by more than their
        errors, the weights are scaled so that all runs have the same mean weight.

        Default: ``"mean"``, if the cross-sections agree within their errors (:func:`differ`); an
        error if they do not agree.

    Raises
    ------
    SampleError
        If `combine` is None and the cross-sections differ, or if cross-sections are missing or
        contradict the weights.  The message names the samples.
    ConfigurationError
        If `combine` is neither ``"sum"`` nor ``"mean"`` nor None.

    Examples
    --------
    >>> import numpy as np
    >>> low = Part("low", 1.0, 0.01, 2, WeightSums.over(np.ones(2)))
    >>> high = Part("high", 0.1, 0.001, 2, WeightSums.over(np.ones(2)))
    >>> joined = join_cross_sections([low, high], "sum")
    >>> joined.cross_section, [round(f, 3) for f in joined.factors]
    (1.1, [1.818, 0.182])
    """
    require_combine(combine)
    same = len({(repr(p.cross_section), repr(p.error)) for p in parts}) == 1
    one_run = same and all(p.origin == parts[0].origin for p in parts) and combine is None
    if len(parts) == 1 or one_run:
        return JoinedCrossSection(parts[0].cross_section, parts[0].error, (1.0,) * len(parts))
    pairs = np.array([(p.cross_section, p.error) for p in parts])
    known = np.isfinite(pairs[:, 0])
    listed = "; ".join(
        f"{p.source}: {f'{p.cross_section:g} ± {p.error:g} pb' if k else 'unknown'}"
        for p, k in sorted(zip(parts, known.tolist(), strict=True), key=lambda pair: pair[0].source)
    )
    if combine == "sum":
        if not known.all():
            msg = (
                f"slices can be added only if all cross-sections are known ({listed}); give "
                "cross_section= in pb for the others"
            )
            raise SampleError(msg)
        return _join_slices(parts)
    if combine is None and known.any() and not known.all():
        msg = (
            f"some of these cross-sections are unknown ({listed}); give cross_section= in pb for "
            "them, or combine='mean' if all are runs of one process, so that the known ones are "
            "used"
        )
        raise SampleError(msg)
    if combine is None and known.all() and differ(pairs).any():
        msg = (
            f"the cross-sections differ by more than their errors ({listed}); give combine='sum' "
            "if these are slices of one process, which add up, or combine='mean' if they are runs "
            "of one process, to take their mean"
        )
        raise SampleError(msg)
    if not known.any():
        factors = _run_factors(parts) if combine else (1.0,) * len(parts)
        return JoinedCrossSection(math.nan, math.nan, factors)
    numbers = [p.n_events if p.n_generated is None else p.n_generated for p in parts]
    chosen = [n for n, k in zip(numbers, known.tolist(), strict=True) if k]
    return JoinedCrossSection(*mean_cross_section(pairs[known], chosen), _run_factors(parts))


def differ(pairs: NDArray[np.float64]) -> BoolArray:
    """Tell which cross-sections are too far from their mean to be those of runs of one process.

    `pairs` contains the cross-sections and their errors, shape (n, 2).  Runs of one process differ
    by their Monte-Carlo errors, a few permille at most.  A cross-section is too far from the mean
    if the difference is more than five standard deviations plus one permille.

    Examples
    --------
    >>> import numpy as np
    >>> differ(np.array([[1.0, 0.01], [1.01, 0.01]])), differ(np.array([[1.0, 0.01], [2.0, 0.01]]))
    (array([False, False]), array([ True,  True]))
    """
    values, errors = pairs[:, 0], np.nan_to_num(pairs[:, 1])
    mean = math.fsum(values) / len(values)
    tolerance = 5 * np.hypot(errors, math.hypot(*errors) / len(errors)) + 1e-3 * abs(mean)
    far: BoolArray = np.abs(values - mean) > tolerance
    return far


def mean_cross_section(
    pairs: NDArray[np.float64], n_events: Sequence[int] | None = None
) -> tuple[float, float]:
    """Average the cross-sections of runs of one process, and return the mean and its error.

    Runs are weighted by their numbers of events.  If all runs have equal cross-sections and errors,
    they come from one integration (one grid), and the mean has the error of one run.  If runs
    differ by more than their errors, the error of the mean is computed from the scatter of the
    runs.

    Parameters
    ----------
    pairs
        Cross-section and error of each run, shape (n, 2).
    n_events
        Number of events of each run; default: all runs have equal numbers.

    Examples
    --------
    >>> import numpy as np
    >>> mean_cross_section(np.array([[1.0, 0.3], [1.1, 0.4]]))
    (1.05, 0.25)
    >>> mean_cross_section(np.array([[1.0, 0.1], [1.0, 0.1]]))
    (1.0, 0.1)
    """
    values, errors = pairs[:, 0].tolist(), pairs[:, 1].tolist()
    if (pairs == pairs[0]).all():
        return values[0], errors[0]
    numbers = [1] * len(values) if n_events is None or not sum(n_events) else n_events
    total = sum(numbers)
    mean = math.fsum(v * n for v, n in zip(values, numbers, strict=True)) / total
    error = math.hypot(*(e * n for e, n in zip(errors, numbers, strict=True))) / total
    if differ(pairs).any():
        scatter = math.hypot(*((v - mean) * n for v, n in zip(values, numbers, strict=True)))
        error = max(error, scatter / total * math.sqrt(len(values) / (len(values) - 1)))
    return mean, error


def _join_slices(parts: Sequence[Part]) -> JoinedCrossSection:
    """Add up cross-sections; the sum of ``|Σw|`` over the slices does not change."""
    for p in parts:
        if (p.n_events or p.cross_section) and not p.cross_section * p.weights.total > 0:
            msg = (
                f"{p.source}: its {p.n_events} weights add up to {float(p.weights.total):g} and "
                f"cannot be scaled to its cross-section of {p.cross_section:g} pb; correct the "
                "weights or the cross-section, or remove this file"
            )
            raise SampleError(msg)
    scale = math.fsum(abs(float(p.weights.total)) for p in parts) / (
        math.fsum(abs(p.cross_section) for p in parts) or 1.0
    )
    return JoinedCrossSection(
        math.fsum(p.cross_section for p in parts),
        math.hypot(*(p.error for p in parts)),
        _rounded([scale * p.cross_section / (float(p.weights.total) or 1.0) for p in parts]),
    )


def _run_factors(parts: Sequence[Part]) -> tuple[float, ...]:
    """Factors that make the mean weights of runs equal, or 1 where they agree."""
    filled = [p for p in parts if p.n_events]
    if len(filled) < 2:
        return (1.0,) * len(parts)
    means = {id(p): float(p.weights.total) / p.n_events for p in filled}
    errors = []
    for p in filled:
        mean = means[id(p)]
        spread = max(float(p.weights.square) / p.n_events - mean**2, 0.0) / p.n_events
        # Weights whose mean is the cross-section have its error in common.
        of_sigma = mean * p.error / p.cross_section if p.error > 0 and p.cross_section else 0.0
        errors.append(math.hypot(math.sqrt(spread), of_sigma))
    if not differ(np.array(list(zip(means.values(), errors, strict=True)))).any():
        return (1.0,) * len(parts)
    for p in filled:
        if not means[id(p)] > 0:
            msg = (
                f"{p.source}: its weights add up to {float(p.weights.total):g}, so they cannot be "
                "scaled to the weights of the other runs; remove this file"
            )
            raise SampleError(msg)
    total = math.fsum(float(p.weights.total) for p in filled) / sum(p.n_events for p in filled)
    return _rounded([total / means[id(p)] if p.n_events else 1.0 for p in parts])


def _rounded(factors: Sequence[float]) -> tuple[float, ...]:
    """Round factors close to 1 to 1, so that correct weights are not changed in their last bits."""
    if all(math.isclose(f, 1.0, rel_tol=1e-12) for f in factors):
        return (1.0,) * len(factors)
    return tuple(factors)


def selected_cross_section(
    cross_section: float,
    error: float,
    all_events: tuple[float, float],
    selected: tuple[float, float],
) -> tuple[float, float]:
    """Compute the cross-section in pb after a selection, and its error.

    Parameters
    ----------
    cross_section, error
        Cross-section of all events before the selection, with its error.
    all_events, selected
        Sum of weights and sum of squared weights: of all events, and of the selected events.

    Examples
    --------
    >>> value, error = selected_cross_section(2.0, 0.0, (100.0, 100.0), (50.0, 50.0))
    >>> value, round(error, 12)
    (1.0, 0.1)
    """
    total, squares = all_events
    passed, squares_passed = selected
    if all_events == selected or total == 0:
        return cross_section, error
    fraction = passed / total
    rest = max(squares - squares_passed, 0.0)
    variance = ((1 - fraction) ** 2 * squares_passed + fraction**2 * rest) / total**2
    return cross_section * fraction, math.hypot(error * fraction, cross_section * variance**0.5)


def varied_cross_section(
    cross_section: float, error: float, nominal: FloatArray, varied: FloatArray
) -> tuple[float, float]:
    """Compute the cross-section of varied events in pb, and its error.

    Parameters
    ----------
    cross_section, error
        Cross-section of the nominal events, with its error.
    nominal, varied
        Weights of the nominal and of the varied events, with the same normalisation.

    Examples
    --------
    >>> varied_cross_section(2.0, 0.2, np.ones(4), np.ones(5))
    (2.5, 0.25)
    """
    total = float(nominal.sum())
    ratio = float(varied.sum()) / total if total else math.nan
    return cross_section * ratio, error * abs(ratio)
