"""Options and helpers shared by the commands."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.io.event_range import EventRange
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.utils.arguments import is_address, local_path
from milinfer.utils.display import shortened
from milinfer.utils.files import write_whole
from milinfer.utils.points import format_point, parse_point

if TYPE_CHECKING:
    from milinfer.samples.cross_sections import Combine
    from milinfer.samples.streaming import StreamedSamples

__all__ = [
    "FILES_HELP",
    "FileOrAddress",
    "at_option",
    "calibration_option",
    "combine_option",
    "events_option",
    "feature_set_option",
    "figure_option",
    "json_option",
    "model_option",
    "n_events_option",
    "n_toys_option",
    "output_option",
    "points_options",
    "points_spec",
    "read_samples",
    "require_point",
    "scheduler_option",
    "seed_option",
    "split_spec",
    "streamed_samples",
    "tree_option",
    "truth_spec",
    "values_spec",
    "weights_notice",
    "workers_option",
    "write_json",
]

F = TypeVar("F", bound=Callable[..., Any])

FILES_HELP = (
    "Files can be LHE, ROOT or Parquet files with events or features. If a file does not record "
    "its parameter point, write c_HW=-1:FILE. FILE may be an address, such as "
    "root://host//file.root or s3://bucket/file.parquet."
)


class FileOrAddress(click.Path):
    """An existing path, or the address of a file on a network, which is not checked.

    Parameters
    ----------
    dir_okay
        Whether the path may be a folder.

    Examples
    --------
    >>> FileOrAddress()("root://host//a.root")
    'root://host//a.root'
    """

    def __init__(self, *, dir_okay: bool = False) -> None:
        super().__init__(exists=True, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check a path; see :class:`click.Path`."""
        return value if is_address(value) else super().convert(local_path(value), param, ctx)


def model_option(function: F) -> F:
    """Add the option ``--model DIR`` to a command."""
    return click.option(
        "--model",
        "model_path",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        required=True,
        help="Directory of a trained model.",
    )(function)


def calibration_option(function: F) -> F:
    """Add the option ``--calibration FILE`` to a command."""
    return click.option(
        "--calibration",
        "calibration_path",
        type=click.Path(exists=True, path_type=Path),
        default=None,
        help="Calibration to apply: its JSON file, or the directory of a model that contains it.",
    )(function)


def feature_set_option(function: F) -> F:
    """Add the option ``--feature-set NAME`` to a command."""
    return click.option(
        "--feature-set",
        default=None,
        help="Features to compute; default: vbf_2l2j for files of events, all columns for files "
        "of features.",
    )(function)


def n_toys_option(function: F) -> F:
    """Add the option ``--toys N`` to a command."""
    return click.option(
        "--toys",
        "n_toys",
        type=click.IntRange(100),
        default=1000,
        show_default=True,
        help="Number of toys at each true value.",
    )(function)


def n_events_option(function: F) -> F:
    """Add the option ``--events-per-toy N`` to a command."""
    return click.option(
        "--events-per-toy",
        type=click.IntRange(1),
        required=True,
        help="Number of events in a toy: the number of events in the data.",
    )(function)


def json_option(function: F) -> F:
    """Add the option ``--json PATH`` to a command."""
    return click.option(
        "--json",
        "json_path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the numeric results of this command to a JSON file.",
    )(function)


def output_option(help_text: str) -> Callable[[F], F]:
    """Return a decorator that adds the option ``--out PATH`` to a command."""
    return click.option("--out", type=click.Path(path_type=Path), required=True, help=help_text)


_FIGURES = (".svg", ".pdf", ".png")


def figure_option(help_text: str) -> Callable[[F], F]:
    """Return a decorator that adds the option ``--out FIGURE`` to a command.

    If FIGURE is not an .svg, .pdf or .png file, the command stops with an error before it begins
    its work.
    """

    def check_suffix(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() not in _FIGURES:
            msg = f"{path}: a figure is written as {', '.join(_FIGURES)}; choose another suffix"
            raise click.BadParameter(msg)
        return path

    return click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=check_suffix,
        help=f"{help_text} ({', '.join(_FIGURES)}).",
    )


def seed_option(function: F) -> F:
    """Add the option ``--seed N`` to a command."""
    return click.option(
        "--seed", type=click.IntRange(0), default=1, show_default=True, help="Random seed."
    )(function)


def ensemble_option(function: F) -> F:
    """Add the option ``--ensemble N`` to a command."""
    return click.option(
        "--ensemble",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Number of networks to train and average.",
    )(function)


def workers_option(function: F) -> F:
    """Add the option ``--workers N`` to a command."""
    return click.option(
        "--workers",
        type=click.IntRange(1),
        default=2,
        show_default=True,
        help="Number of parallel workers.",
    )(function)


def tree_option(function: F) -> F:
    """Add the option ``--tree NAME`` to a command."""
    return click.option(
        "--tree",
        default=None,
        metavar="NAME",
        help="Tree in ROOT files; default: Features, Events, or the only one.",
    )(function)


def points_options(function: F) -> F:
    """Add the options ``--parameter``, ``--reweight-point`` and ``--reweight-card`` to a command.

    The command receives them as one argument `points`, a dictionary with keyword arguments of
    :meth:`milinfer.Sample.from_file`.
    """
    options = [
        click.option(
            "--parameter",
            "parameter_places",
            multiple=True,
            metavar="NAME[=PLACE]",
            help="Name of a parameter, and its place in the parameter card of the header (block "
            'and number, or the name in the card), such as c_HW="SMEFT 7" or c_HW=chw; '
            "repeatable. The points of the events and of their weights are then read from the "
            "file.",
        ),
        click.option(
            "--reweight-point",
            "weight_points",
            multiple=True,
            metavar="ID:POINT",
            help="Parameter point of a weight, if the file does not record it, such as "
            "rwgt_7:c_HW=0.5; repeatable.",
        ),
        click.option(
            "--reweight-card",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Reweight card of MadGraph that lists the points of the weights.",
        ),
    ]

    @functools.wraps(function)
    def command(
        *arguments: Any,
        parameter_places: tuple[str, ...],
        weight_points: tuple[str, ...],
        reweight_card: Path | None,
        **keywords: Any,
    ) -> Any:
        points = point_keywords(parameter_places, weight_points, reweight_card)
        return function(*arguments, points=points, **keywords)

    for option in reversed(options):
        command = option(command)
    return command  # type: ignore[return-value]  # a command of other options


def point_keywords(
    parameter_places: Sequence[str], weight_points: Sequence[str], reweight_card: Path | None
) -> dict[str, Any]:
    """Read ``--parameter`` and ``--reweight-point`` as keyword arguments of ``Sample.from_file``.

    Raises
    ------
    ParameterError
        If a text does not have the form ``NAME=PLACE`` or ``ID:POINT``.

    Examples
    --------
    >>> point_keywords(["c_HW=SMEFT 7", "cHB"], ["w1:cHB=2"], None)
    {'parameters': {'c_HW': 'SMEFT 7', 'cHB': 'cHB'}, 'reweight_points': {'w1': {'cHB': 2.0}}}
    """
    keywords: dict[str, Any] = {}
    for text in parameter_places:
        name, separator, place = text.partition("=")
        if not name.strip() or (separator and not place.strip()):
            msg = f"--parameter {text!r} is not a name, or a name and its place as c_HW='SMEFT 7'"
            raise ParameterError(msg)
        keywords.setdefault("parameters", {})[name.strip()] = (place or name).strip()
    if reweight_card is not None and weight_points:
        msg = (
            "--reweight-card and --reweight-point both set the points of the weights; give only "
            "one of the two options"
        )
        raise ParameterError(msg)
    if reweight_card is not None:
        keywords["reweight_points"] = reweight_card
    for text in weight_points:
        identity, separator, point = text.rpartition(":")
        if not separator:
            msg = f"--reweight-point {text!r} is not an id and a point, as in rwgt_7:c_HW=0.5"
            raise ParameterError(msg)
        keywords.setdefault("reweight_points", {})[identity] = parse_point(point)
    return keywords


def scheduler_option(help_text: str) -> Callable[[F], F]:
    """Return a decorator that adds the option ``--scheduler ADDRESS`` to a command."""
    return click.option(
        "--scheduler",
        default=None,
        metavar="ADDRESS",
        help=f"Dask scheduler (its address, or the path of its --scheduler-file) {help_text}",
    )


def events_option(function: F) -> F:
    """Add the option ``--events N|START:STOP`` to a command."""

    def parse(_: click.Context, __: click.Parameter, text: str | None) -> EventRange | None:
        return None if text is None else EventRange.parse(text)

    return click.option(
        "--events",
        default=None,
        callback=parse,
        metavar="N|START:STOP",
        help="Read the first N events of a file, or events START to STOP-1, counted from 0; "
        "default: all.",
    )(function)


def combine_option(function: F) -> F:
    """Add the option ``--combine sum|mean`` to a command."""
    return click.option(
        "--combine",
        type=click.Choice(["sum", "mean"]),
        default=None,
        help="How to join several files of one point: sum for slices of a process, whose "
        "cross-sections add up; mean for runs of the same process. Default: mean, if the "
        "cross-sections agree.",
    )(function)


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the numbers of a command to the file of ``--json``, if it is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(_plain(figures), indent=2) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Path):
        return str(value)
    return value


def split_spec(spec: str) -> tuple[dict[str, float] | None, Path | str]:
    """Split ``c_HW=-1:FILE`` into point and file; the point of a bare ``FILE`` is None.

    Examples
    --------
    >>> split_spec("c_HW=-1:events.root")
    ({'c_HW': -1.0}, PosixPath('events.root'))
    >>> split_spec("c_HW=-1:root://host//events.root")
    ({'c_HW': -1.0}, 'root://host//events.root')
    """
    head, separator, tail = spec.partition(":")
    if separator and "=" in head and not Path(spec).exists():
        return parse_point(head), _place(tail)
    return None, _place(spec)


def _place(text: str) -> Path | str:
    """Path of a file, or an address, which stays as it is."""
    return text if is_address(text) else Path(local_path(text))


def values_spec(spec: str) -> list[float]:
    """Return values of a parameter, given as ``a,b,c`` or evenly spaced as ``first:last:number``.

    Raises
    ------
    ParameterError
        If the text has neither form.

    Examples
    --------
    >>> values_spec("-0.5:0.5:5"), values_spec("0,0.3")
    ([-0.5, -0.25, 0.0, 0.25, 0.5], [0.0, 0.3])
    """
    try:
        if ":" in spec:
            first, last, number = spec.split(":")
            # Rounding makes 0.1 equal the 0.1 of a sample, in spite of the arithmetic of linspace.
            return [
                float(round(v, 10)) + 0.0
                for v in np.linspace(float(first), float(last), int(number))
            ]
        return [float(v) for v in spec.split(",")]
    except ValueError as error:
        msg = f"{spec!r} is not a list of values; write -0.3,0,0.3 or first:last:number"
        raise ParameterError(msg) from error


def points_spec(specs: Sequence[str]) -> list[dict[str, float]]:
    """Return parameter points, given as ``c1=0.5,c2=0`` or as a grid ``c1=first:last:number``.

    Raises
    ------
    ParameterError
        If a text has neither form.

    Examples
    --------
    >>> points_spec(["c1=0.5,c2=0", "c1=0:1:2,c2=0:1:2"])[:3]
    [{'c1': 0.5, 'c2': 0.0}, {'c1': 0.0, 'c2': 0.0}, {'c1': 0.0, 'c2': 1.0}]
    """
    points: list[dict[str, float]] = []
    for spec in specs:
        axes: dict[str, list[float]] = {}
        for item in spec.split(","):
            name, _, values = item.partition("=")
            if ":" in values:
                axes[name.strip()] = values_spec(values)
            else:
                axes |= {n: [v] for n, v in parse_point(item).items() if n not in axes}
        if len(axes) != len(spec.split(",")):
            msg = f"{spec!r} gives a parameter twice; write a point as c_HW=0.5,c_HB=0"
            raise ParameterError(msg)
        points += [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return points


def truth_spec(spec: str | None, names: Sequence[str]) -> dict[str, float] | None:
    """Return a point, given as ``c1=0.5,c2=0``, or as a number if there is only one parameter.

    Raises
    ------
    ParameterError
        If the text has neither form, or the point has other parameters than `names`.

    Examples
    --------
    >>> truth_spec("0.5", ["c1"]), truth_spec("c1=0.5,c2=0", ["c1", "c2"])
    ({'c1': 0.5}, {'c1': 0.5, 'c2': 0.0})
    """
    if spec is None:
        return None
    if "=" not in spec and len(names) == 1:
        return {names[0]: values_spec(spec)[0]}
    return require_point(parse_point(spec), names)


def require_point(point: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Return a point with its parameters in the order of `names`.

    Raises
    ------
    ParameterError
        If the point has other parameters.

    Examples
    --------
    >>> require_point({"b": 1.0, "a": 0.0}, ["a", "b"])
    {'a': 0.0, 'b': 1.0}
    """
    if set(point) != set(names):
        msg = (
            f"{format_point(point)} is not a point in {', '.join(names)}; give a value for each of "
            "these parameters"
        )
        raise ParameterError(msg)
    return {name: float(point[name]) for name in names}


def at_option(name: str, argument: str, help_text: str) -> Callable[[F], F]:
    """Return a decorator that adds the repeatable option ``--at POINT`` to a command."""
    return click.option(name, argument, multiple=True, metavar="POINT", help=help_text)


def streamed_samples(specs: Sequence[str], events_in_memory: int) -> StreamedSamples:
    """Return the samples in Parquet files given on the command line, to be read in pieces."""
    from milinfer.samples.streaming import StreamedSample, StreamedSamples

    parts = [split_spec(spec) for spec in specs]
    return StreamedSamples(
        tuple(StreamedSample.from_file(path, point=point) for point, path in parts),
        events_in_memory,
    )


def weights_notice(sample: Sample) -> list[str]:
    """Return a line about the points of the weights, and lines about weights without a point.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> weights_notice(quadratic.samples(10, [{"c1": 0.0}], seed=1)[0])
    ['weights at 3 points of c1']
    """
    from milinfer.samples.file_points import WEIGHTS_NOTE

    lines = []
    if sample.reweight_points:
        lines.append(
            f"weights at {len(sample.reweight_points)} points of {', '.join(sample.point)}"
        )
    for reason, ids in sample.provenance.get(WEIGHTS_NOTE, {}).items():
        lines.append(f"{len(ids)} weights have no point ({reason}): {shortened(ids)}")
    return lines


def read_samples(
    specs: Sequence[str],
    *,
    features: str | None = None,
    parameter: str | None = None,
    points: Mapping[str, Any] | None = None,
    tree: str | None = None,
    events: EventRange | None = None,
    combine: Combine | None = None,
    on_file: Callable[[Path | str, Sample], None] = lambda _path, _sample: None,
) -> SampleSet:
    """Read samples given on the command line; several files of one point are joined.

    `points` contains the keyword arguments made by :func:`points_options`. `events` selects the
    events to read from each file. `combine` is the way to join files of one point. After each file,
    `on_file` is called with the file and its sample.
    """
    parts: list[Sample] = []
    for spec in specs:
        point, path = split_spec(spec)
        sample = Sample.from_file(
            path, point=point, features=features, tree=tree, events=events, **(points or {})
        )
        on_file(path, sample)
        parts.append(sample)
    samples = SampleSet.by_point(parts, combine)
    if parameter is not None and parameter not in samples.parameters:
        msg = f"the samples have the parameters {samples.parameters}, not {parameter!r}"
        raise ParameterError(msg)
    return samples
