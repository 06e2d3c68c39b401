"""True values of an analysis: numbers with one parameter, points with several parameters.

In ``analysis.toml`` a true value is a number if there is one parameter.  If there are several, it
is a table with a value for each parameter, or the number ``0.0`` if all parameters are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.surface import Limits
from milinfer.utils.keywords import did_you_mean
from milinfer.workflow.configuration import AnalysisConfig, ModelSection, TruePoint

__all__ = [
    "configuration_error",
    "cross",
    "lattice",
    "model_fields",
    "number_of",
    "point_of",
    "require_names",
    "require_several_parameters",
]

# Of the distance from the middle of the range to its ends.
_REACH = 0.5
# With more parameters a lattice has too many points for toys at each.
_MOST_CORNERS = 4
# With more, no table holds Λ (`UntabulatedBox`).
_MOST_PARAMETERS = 4


def number_of(value: TruePoint) -> float:
    """True value of the only parameter as a number; it may be given as a table with one entry.

    Raises
    ------
    ConfigurationError
        If the value is a table with several entries.

    Examples
    --------
    >>> number_of(0.5), number_of({"c_HW": 0.5})
    (0.5, 0.5)
    """
    if not isinstance(value, Mapping):
        return value
    if len(value) != 1:
        msg = f"give a value of one parameter, not of {', '.join(value) or 'none'}"
        raise ConfigurationError(msg)
    return next(iter(value.values()))


def point_of(value: TruePoint, names: Sequence[str]) -> dict[str, float]:
    """Make a point of a true value, with the parameters in the given order.

    Parameters
    ----------
    value
        Number or table.
    names
        Names of the parameters.

    Raises
    ------
    ConfigurationError
        If there are several parameters and the value is a number other than 0, or a table has other
        names.

    Examples
    --------
    >>> point_of({"b": 0.5, "a": 1.0}, ("a", "b")), point_of(0.0, ("a", "b"))
    ({'a': 1.0, 'b': 0.5}, {'a': 0.0, 'b': 0.0})
    >>> point_of(0.5, ("a", "b"))
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: 0.5 is one number, but the parameters are a, b; write a
    table with a value for each, such as { a = 0.5, b = 0.0 }
    """
    if not isinstance(value, Mapping):
        if len(names) == 1 or value == 0:
            return dict.fromkeys(names, float(value))
        table = ", ".join(f"{n} = {value if k == 0 else 0.0}" for k, n in enumerate(names))
        msg = (
            f"{value:g} is one number, but the parameters are {', '.join(names)}; write a table "
            f"with a value for each, such as {{ {table} }}"
        )
        raise ConfigurationError(msg)
    unknown = [name for name in value if name not in names]
    missing = [name for name in names if name not in value]
    if unknown:
        msg = f"{unknown[0]} is not one of the parameters {', '.join(names)}"
        raise ConfigurationError(msg + did_you_mean(unknown[0], names))
    if missing:
        msg = f"{missing[0]} has no value; give a value for each of {', '.join(names)}"
        raise ConfigurationError(msg)
    return {name: float(value[name]) for name in names}


def require_names(config: AnalysisConfig, names: Sequence[str]) -> None:
    """Check that true values and references have the parameters of the samples.

    Raises
    ------
    ConfigurationError
        If one of them has other parameters.  The message names the keys of the configuration.
    """
    toys = config.toys
    given = {"toys.truth": [toys.truth]} | {
        f"toys.{key}": getattr(toys, key) for key in ("calibrate_at", "cover_at", "belt_at")
    }
    if toys.oracle_at is not None:
        given["toys.oracle_at"] = [toys.oracle_at]
    given |= {f"model[{k + 1}].reference": [m.reference] for k, m in enumerate(config.model)}
    problems = []
    for key, values in given.items():
        for value in values:
            try:
                point_of(value, names)
            except ConfigurationError as error:
                problems.append(f"{key}: {error}")
    if problems:
        raise configuration_error(config, problems)


def require_several_parameters(config: AnalysisConfig, names: Sequence[str]) -> None:
    """Check that all settings are allowed in an analysis with several parameters.

    Raises
    ------
    ConfigurationError
        If a setting is not allowed.  The message names its key.
    """
    require_names(config, names)
    problems = []
    if len(names) > _MOST_PARAMETERS:
        problems.append(
            f"samples.train: the samples vary {', '.join(names)}, but `milinfer run` handles at "
            f"most {_MOST_PARAMETERS} parameters, because its toys need a table of Λ; use samples "
            "that vary fewer, or `milinfer train` and `milinfer fit`, which need no toys"
        )
    if config.has_nuisances:
        problems.append(
            "systematics: fits with nuisance parameters have one parameter of interest, but the "
            f"samples have {', '.join(names)}; omit [[systematics]] and "
            "data.luminosity_uncertainty, or fit from Python: mil.systematic_cost"
        )
    if config.data.luminosity is not None:
        problems.append(
            f"data.luminosity: with several parameters ({', '.join(names)}) only the shape is "
            "fitted; omit data.luminosity, or fit shape and rate from Python: model.cost(data, "
            "rate=mil.Rate.from_samples(…))"
        )
    if config.toys.belt_at and len(names) != 2:
        problems.append(
            "toys.belt_at: a belt gives regions of two parameters, but the samples have "
            f"{', '.join(names)}; omit toys.belt_at"
        )
    if problems:
        raise configuration_error(config, problems)


def configuration_error(config: AnalysisConfig, problems: Sequence[str]) -> ConfigurationError:
    """Make an error whose message has the name of the file and a line for each problem.

    Examples
    --------
    >>> from milinfer.workflow.configuration import DataSection, FilesSection, SamplesSection
    >>> train = SamplesSection(train=[FilesSection(path="mc.root")])
    >>> config = AnalysisConfig(samples=train, data=DataSection(path="data.root"))
    >>> print(configuration_error(config, ["toys.truth: too large"]))
    toys.truth: too large
    """
    of = "" if config.source is None else f"{config.source}:\n  "
    return ConfigurationError(of + "\n  ".join(problems))


def model_fields(section: ModelSection, names: Sequence[str]) -> dict[str, Any]:
    """Arguments of :class:`milinfer.BagLikelihood` from the settings of a model.

    Parameters
    ----------
    section
        Section ``[[model]]`` of the configuration.
    names
        Names of the parameters.  A reference with several values is returned in this order.

    Raises
    ------
    ConfigurationError
        If the reference has other parameters.

    Examples
    --------
    >>> section = ModelSection(reference={"b": 0.5, "a": 0.0})
    >>> model_fields(section, ("a", "b"))["reference"], model_fields(section, ("a", "b"))["head"]
    ((0.0, 0.5), 'multiclass')
    """
    fields = section.model_dump(exclude={"name", "epochs", "batch_events"})
    if isinstance(section.reference, Mapping):
        values = tuple(point_of(section.reference, names).values())
        fields["reference"] = values[0] if len(values) == 1 else values
    return fields


def cross(limits: Limits, reach: float = _REACH) -> tuple[tuple[float, ...], ...]:
    """The middle of a box and, for each parameter, one point on each side of the middle.

    Parameters
    ----------
    limits
        Range of each parameter.
    reach
        Distance of the points from the middle, divided by half of the range of the parameter.

    Examples
    --------
    >>> cross(((-1.0, 1.0), (0.0, 2.0)))
    ((0.0, 1.0), (-0.5, 1.0), (0.5, 1.0), (0.0, 0.5), (0.0, 1.5))
    """
    n = len(limits)
    shifts = [(0,) * n]
    shifts += [tuple(s * (i == k) for i in range(n)) for k in range(n) for s in (-1, 1)]
    return _points(limits, shifts, reach)


def lattice(limits: Limits, reach: float = _REACH) -> tuple[tuple[float, ...], ...]:
    """The points of the cross, and the corners of the box that surrounds the cross.

    With two parameters these are 3 × 3 points.  With more than four parameters the corners are left
    out.

    Parameters
    ----------
    limits, reach
        As for :func:`cross`.

    Examples
    --------
    >>> len(lattice(((-1.0, 1.0), (-1.0, 1.0)))), len(lattice(((-1.0, 1.0),) * 3))
    (9, 15)
    """
    n = len(limits)
    corners = list(product((-1, 1), repeat=n)) if n <= _MOST_CORNERS else []
    return cross(limits, reach) + _points(limits, corners, reach)


def _points(
    limits: Limits, shifts: Sequence[Sequence[int]], reach: float
) -> tuple[tuple[float, ...], ...]:
    low, high = np.array(limits).T
    centre, half = (low + high) / 2, (high - low) / 2
    # Rounding makes 0.1 equal the 0.1 of a sample.
    return tuple(
        tuple(((centre + reach * half * np.array(s)).round(10) + 0.0).tolist()) for s in shifts
    )
