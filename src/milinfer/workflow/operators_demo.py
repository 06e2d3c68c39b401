"""The demonstration with two operators, c_HW and the CP-odd c_HWtil, from files to contours.

It is like :mod:`milinfer.workflow.demo`, but with two parameters.  The events in the LHE files have
weights at 15 points, which determine the polynomial of an event in the two parameters.
``milinfer run`` analyses the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from milinfer.exceptions import ConfigurationError
from milinfer.typing import PathLikeStr, Point
from milinfer.utils.files import write_whole
from milinfer.workflow.demo import DemoFile, demo_command, demo_files, paths_by_role, run_on_files

__all__ = ["OperatorsDemoConfig", "run_operators_demo"]

_NAMES = ("c_HW", "c_HWtil")
# Half of the sides of squares: of the training samples (one near the standard model, where the
# likelihood is wanted), of the pools, and of the points of calibration and of coverage.
_TRAINED, _INNER, _POOLS, _CALIBRATED, _COVERED = 0.8, 0.3, 0.3, 0.3, 0.2


@dataclass(frozen=True)
class OperatorsDemoConfig:
    """Size of the demonstration with two operators.

    Parameters
    ----------
    events
        Number of simulated training events at each of 17 points in c_HW and c_HWtil.  The points
        form two squares around zero.
    pool_events
        Number of simulated events, at the truth and at each of four points around it, from which
        the toys for the calibration are drawn.  The same number of other events is simulated for
        the toys that measure coverage.  The events are reweighted to the points between the five.
    data_events
        Number of events in the dataset.
    truth
        Value of c_HW at which the dataset is simulated.  The value of c_HWtil is zero.
    seed
        Seed for generating events, splitting them, training, and toys.
    workers
        Number of processes.
    n_toys
        Number of toys at each true point.

    Examples
    --------
    >>> OperatorsDemoConfig().training_points[0]
    {'c_HW': 0.0, 'c_HWtil': 0.0}
    """

    events: int = 10_000
    pool_events: int = 20_000
    data_events: int = 1_000
    truth: float = 0.0
    seed: int = 1
    workers: int = 2
    n_toys: int = 1_000

    @property
    def training_points(self) -> tuple[Point, ...]:
        """Points at which the training samples are simulated."""
        return _square(0.0, _TRAINED) + _square(0.0, _INNER)[1:]

    @property
    def pool_points(self) -> tuple[Point, ...]:
        """Points at which events for toys are simulated: the truth, and four corners around it."""
        corners = [
            p for p in _square(self.truth, _POOLS) if p["c_HWtil"] and p["c_HW"] != self.truth
        ]
        return (self.true_point, *corners)

    @property
    def true_point(self) -> Point:
        """Point at which the dataset is simulated."""
        return {"c_HW": self.truth, "c_HWtil": 0.0}


def _square(centre: float, edge: float) -> tuple[Point, ...]:
    """Nine points: the middle of a square first, then its edges and corners."""
    sides = (0.0, -edge, edge)
    return tuple(
        {"c_HW": round(centre + a, 6) + 0.0, "c_HWtil": b + 0.0} for a in sides for b in sides
    )


def _cross(centre: float, reach: float) -> tuple[Point, ...]:
    """The middle of a square, and the middle of each edge: every point costs toys."""
    return tuple(p for p in _square(centre, reach) if p["c_HW"] == centre or p["c_HWtil"] == 0)


_ANALYSIS = """\
# The analysis of the demo, for `milinfer run`; see `milinfer init` for every key.
# The toys here are centred on the true point, which is known only in a demo; in an analysis, cover
# the full range that the data may prefer.
[analysis]
title = "c_HW and c_HWtil"
out = "."
seed = {seed}
workers = {workers}

[samples]
held_out = 0.2
[[samples.train]]
path = {train}
[[samples.tune]]
path = {calib}
[[samples.evaluate]]
path = {eval}

[data]
path = {data}
simulated = true

[[model]]
head = "polynomial"
labels = "joint"

[toys]
number = {n_toys}
truth = {truth}
weight_degree = 4
calibrate_at = {calibrate_at}
cover_at = {cover_at}
oracle = true
oracle_at = {truth}

[templates]
second_observable = "q0_pt"
held_out = true
"""


def _table(point: Point) -> str:
    """A point as an inline table."""
    return "{ " + ", ".join(f"{name} = {value!r}" for name, value in point.items()) + " }"


def _tables(points: tuple[Point, ...]) -> str:
    return "[" + ", ".join(_table(p) for p in points) + "]"


def _write_analysis(directory: Path, config: OperatorsDemoConfig, files: list[DemoFile]) -> Path:
    """Write the ``analysis.toml`` of the demo, over the features of all files."""
    # Texts, numbers and lists of these are the same in JSON and TOML.
    values = {k: json.dumps(v) for k, v in (paths_by_role(files) | asdict(config)).items()}
    values |= {
        "truth": _table(config.true_point),
        "calibrate_at": _tables(_square(config.truth, _CALIBRATED)),
        "cover_at": _tables(_cross(config.truth, _COVERED)),
    }
    path = directory / "analysis.toml"
    write_whole(path, _ANALYSIS.format(**values))
    return path


def run_operators_demo(
    out: PathLikeStr, config: OperatorsDemoConfig, *, echo: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Simulate files of events with two operators and analyse them.

    Parameters
    ----------
    out
        Folder to write.  It gets the same files as in :func:`milinfer.workflow.demo.run_demo`.
    config
        Numbers of events and other sizes, and the seed.
    echo
        Function that gets a line of text for each finished step.

    Returns
    -------
    dict
        Content of ``summary.json``.

    Raises
    ------
    ConfigurationError
        If the truth is so close to an end of the training range that the calibration has no room.
    """
    if abs(config.truth) > _TRAINED - _CALIBRATED - 0.2:
        msg = (
            f"truth {config.truth:g} is too close to the ends of the training range "
            f"[-{_TRAINED:g}, {_TRAINED:g}]; with two operators give one between -0.3 and 0.3"
        )
        raise ConfigurationError(msg)
    sizes = [("train", p, config.events) for p in config.training_points]
    sizes += [("calib", p, config.pool_events) for p in config.pool_points]
    sizes += [("eval", p, config.pool_events) for p in config.pool_points]
    sizes += [("data", config.true_point, config.data_events)]
    directory = Path(out)
    return run_on_files(
        directory,
        demo_files(sizes, config.seed),
        partial(_write_analysis, directory, config),
        command=demo_command(asdict(config), "--operators 2 "),
        settings=asdict(config),
        echo=echo,
    )
