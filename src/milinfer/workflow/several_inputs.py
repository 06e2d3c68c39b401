"""Check an analysis with several parameters, and choose the points of its toys.

The points in a configuration are checked against the box of the training points before anything is
trained.  The default points are in the inner half of the box.  If the event weights allow toys at
any point, the default points for calibrations form a lattice (3 × 3 points with two parameters),
and those for coverage a cross (the middle, and for each parameter one point on each side of it).
If they do not, the default points are those points of the samples that are in the inner half of the
box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError, ParameterError, SampleError
from milinfer.likelihood.surface import Limits
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import EventPool
from milinfer.typing import Point
from milinfer.utils.points import format_point
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.true_points import (
    configuration_error,
    cross,
    lattice,
    model_fields,
    point_of,
    require_several_parameters,
)

if TYPE_CHECKING:
    from milinfer.workflow.analysis_settings import Analysis

__all__ = ["PointsOfToys", "comparison_points", "default_points", "points_of_toys", "training_box"]


class PointsOfToys(NamedTuple):
    """Points of the toys of an analysis with several parameters.

    Parameters
    ----------
    truth
        Point at which the methods are compared.
    calibrate_at, cover_at, belt_at
        Points of the toys for the calibrations, for the coverage, and for the belts.
    """

    truth: Point
    calibrate_at: tuple[Point, ...]
    cover_at: tuple[Point, ...]
    belt_at: tuple[Point, ...] = ()


def training_box(config: AnalysisConfig, train: SampleSet) -> Limits:
    """Range of each parameter in which every model is trained.

    Raises
    ------
    ConfigurationError
        If settings cannot be used with several parameters, or the training points of a model do not
        span the space of the parameters.
    """
    from milinfer.learning.settings import LikelihoodSettings
    from milinfer.learning.training_points import training_points

    names = train.parameters
    require_several_parameters(config, names)
    low, high = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    for k, model in enumerate(config.model):
        try:
            points = training_points(LikelihoodSettings(**model_fields(model, names)), train)
        except (ConfigurationError, ModelError) as error:
            raise configuration_error(config, [f"model[{k + 1}]: {error}"]) from error
        low, high = np.maximum(low, points.min(axis=0)), np.minimum(high, points.max(axis=0))
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def points_of_toys(
    config: AnalysisConfig, limits: Limits, tune: SampleSet, evaluate: SampleSet
) -> PointsOfToys:
    """Points of the toys: those in the configuration, or the default points.

    Parameters
    ----------
    config
        Configuration of the analysis.
    limits
        Range of each parameter in which every model is trained.
    tune, evaluate
        Events for the toys of calibrations and belts, and events for the toys of coverages.

    Raises
    ------
    ConfigurationError
        If a point is outside the range, there are no events or no density for it, or the points do
        not span the space of the parameters.  The message names the key and the point.
    """
    toys, names = config.toys, tune.parameters
    problems: list[str] = []
    points: dict[str, tuple[Point, ...]] = {"truth": (point_of(toys.truth, names),)}
    pools: dict[str, EventPool] = {}
    for role, samples in (("tune", tune), ("evaluate", evaluate)):
        try:
            pools[role] = EventPool(samples, toys.weight_degree)
        except SampleError as error:
            degree = f"toys.weight_degree = {toys.weight_degree}"
            problems.append(f"{degree}, events to {role} with: {error}")
    if problems:
        raise configuration_error(config, problems)
    for key, samples in (("calibrate_at", tune), ("cover_at", evaluate), ("belt_at", tune)):
        points[key] = tuple(point_of(value, names) for value in getattr(toys, key))
        if not points[key] and key != "belt_at":
            points[key] = default_points(key, limits, samples, weighted=_weighted(config))
            if not points[key]:
                problems.append(
                    f"toys.{key}: no sample is in the inner half of {_box(names, limits)}; give "
                    f"toys.{key}, or toys.weight_degree"
                )
    for key, own in points.items():
        role = "evaluate" if key in ("truth", "cover_at") else "tune"
        for point in own:
            if not _inside(point, limits):
                problems.append(
                    f"toys.{key}: {format_point(point)} is outside the range of the training "
                    "points, "
                    f"{_box(names, limits)}"
                )
                continue
            try:
                pools[role].at(point)
            except (ParameterError, SampleError) as error:
                problems.append(f"toys.{key}, toys at {format_point(point)}: {error}")
    for key in ("calibrate_at", "belt_at"):
        array = np.array([list(p.values()) for p in points[key]])
        if len(array) and np.linalg.matrix_rank(array - array[0]) < len(names):
            problems.append(
                f"toys.{key}: the points {', '.join(format_point(p) for p in points[key])} do not "
                f"span {', '.join(names)}; give points on both sides in each parameter"
            )
    if toys.oracle_at is not None:
        try:
            tune.at(**point_of(toys.oracle_at, names))
        except ParameterError as error:
            problems.append(f"toys.oracle_at, events to tune with: {error}")
    if problems:
        raise configuration_error(config, list(dict.fromkeys(problems)))
    return PointsOfToys(
        truth=points["truth"][0],
        calibrate_at=points["calibrate_at"],
        cover_at=points["cover_at"],
        belt_at=points["belt_at"],
    )


def comparison_points(
    analysis: Analysis,
    truth: Point | None,
    at: Sequence[Point],
    belt_at: Sequence[Point],
) -> PointsOfToys:
    """Points of the toys of ``milinfer compare``.

    Parameters
    ----------
    analysis
        Samples and models.
    truth
        Point at which the methods are compared; default: the point of the evaluation sample, if
        there is only one.
    at, belt_at
        Points of the toys for calibration and coverage (`at`), and for belts (`belt_at`).  Default
        of `at`: if events have weights, a lattice for calibration and a cross for coverage; if they
        have none, the points of the samples.  Default of `belt_at`: no belt is made.

    Raises
    ------
    SampleError
        If there are several evaluation samples and `truth` is not given.
    """
    evaluation, limits = analysis.evaluation, analysis.model.interpolation.limits
    weighted = analysis.weight_degree is not None
    if truth is None and len(evaluation) != 1:
        msg = (
            f"evaluation samples are at {'; '.join(format_point(s.point) for s in evaluation)}: "
            "give the point at which to compare the methods, as --truth c_HW=0,c_HB=0"
        )
        raise SampleError(msg)

    def points(key: str, samples: SampleSet) -> tuple[Point, ...]:
        if at:
            return tuple(at)
        if weighted:
            return default_points(key, limits, samples, weighted=True)
        return tuple({name: s.point[name] for name in samples.parameters} for s in samples)

    return PointsOfToys(
        truth=dict(evaluation[0].point) if truth is None else truth,
        calibrate_at=points("calibrate_at", analysis.calibration),
        cover_at=points("cover_at", evaluation),
        belt_at=tuple(belt_at),
    )


def default_points(
    key: str, limits: Limits, samples: SampleSet, *, weighted: bool
) -> tuple[Point, ...]:
    """Default points of toys in the inner half of the range; empty if no sample is there.

    Parameters
    ----------
    key
        With weights: ``"calibrate_at"`` gives a lattice, ``"cover_at"`` gives a cross.
    limits
        Range of each parameter.
    samples
        Events for the toys.
    weighted
        Whether the event weights allow toys at any point.  If not, the result has points of the
        samples.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(10, [{"c1": 0.0, "c2": 0.0}], seed=1)
    >>> box = ((-1.0, 1.0), (-1.0, 1.0))
    >>> len(default_points("calibrate_at", box, samples, weighted=True))
    9
    >>> default_points("cover_at", box, samples, weighted=True)[:2]
    ({'c1': 0.0, 'c2': 0.0}, {'c1': -0.5, 'c2': 0.0})
    >>> default_points("cover_at", box, samples, weighted=False)
    ({'c1': 0.0, 'c2': 0.0},)
    """
    names = samples.parameters
    if weighted:
        chosen = lattice(limits) if key == "calibrate_at" else cross(limits)
        return tuple(dict(zip(names, values, strict=True)) for values in chosen)
    low, high = np.array(limits).T
    centre, reach = (low + high) / 2, (high - low) / 4
    inner = tuple(zip((centre - reach).tolist(), (centre + reach).tolist(), strict=True))
    own = [{name: s.point[name] for name in names} for s in samples]
    return tuple(p for p in own if _inside(p, inner))


def _weighted(config: AnalysisConfig) -> bool:
    return config.toys.weight_degree is not None


def _inside(point: Point, limits: Limits) -> bool:
    return all(
        low - 1e-9 * (high - low) <= value <= high + 1e-9 * (high - low)
        for value, (low, high) in zip(point.values(), limits, strict=True)
    )


def _box(names: Sequence[str], limits: Limits) -> str:
    return ", ".join(
        f"{name} from {low:g} to {high:g}" for name, (low, high) in zip(names, limits, strict=True)
    )
