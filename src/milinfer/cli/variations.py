"""Commands of nuisance parameters: ``variations`` and ``response``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from milinfer.cli.options import (
    combine_option,
    ensemble_option,
    json_option,
    output_option,
    scheduler_option,
    seed_option,
    write_json,
)
from milinfer.cli.printing import echo
from milinfer.utils.points import format_point, parse_point

if TYPE_CHECKING:
    from milinfer.samples.cross_sections import Combine

__all__ = ["response", "variations"]

_Varied = TypeVar("_Varied")

_memory_option = click.option(
    "--events-in-memory",
    type=click.IntRange(1),
    help="Largest number of nominal and varied events in memory; a folder may have a quarter of "
    "this number.  [default: 2 million]",
)


@click.command()
@click.argument("nominal", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--varied",
    type=(str, click.Path(dir_okay=False, path_type=Path)),
    multiple=True,
    metavar="NAME=VALUE FILE",
    help="Values of nuisance parameters, such as jes=1, and the file of events with these values; "
    "repeatable.",
)
@click.option(
    "--weight-variation",
    type=(str, str),
    multiple=True,
    metavar="NAME=VALUE COLUMN",
    help="Values of nuisance parameters, such as muR=1, and the column of the nominal file with "
    "the weights for these values; repeatable.",
)
@click.option(
    "--event",
    multiple=True,
    default=["event"],
    show_default=True,
    metavar="COLUMN",
    help="Column of whole numbers, such as an event number, that identifies the same event in all "
    "files; repeatable.",
)
@click.option("--weights", metavar="COLUMN", help="Column of event weights, in all files.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="COLUMN",
    help="Column of a feature; repeatable. Default: all other columns.",
)
@click.option("--point", metavar="POINT", help="Parameter point, such as c_HW=0.5.")
@click.option("--process", help="Name of the process.  [default: signal]")
@click.option("--cross-section", type=float, help="Cross-section of the nominal events in pb.")
@_memory_option
@output_option("New folder, in which a folder for each part of the events is made.")
@json_option
def variations(
    nominal: Path,
    varied: tuple[tuple[str, Path], ...],
    weight_variation: tuple[tuple[str, str], ...],
    event: tuple[str, ...],
    weights: str | None,
    features: tuple[str, ...],
    point: str | None,
    process: str | None,
    cross_section: float | None,
    events_in_memory: int | None,
    out: Path,
    json_path: Path | None,
) -> None:
    """Split Parquet files of nominal and varied events into folders for training a response.

    `milinfer response` reads these folders one after the other, so that it never has all events in
    memory.

    \b
    milinfer variations nominal.parquet --varied jes=1 up.parquet --varied jes=-1 down.parquet \\
        --weight-variation muR=1 weight_muR_up --out parts
    milinfer response parts/* --out response
    """
    from milinfer.samples.streamed_variations import StreamedVariations

    given = {
        "point": None if point is None else parse_point(point),
        "process": process,
        "cross_section": cross_section,
    }
    options: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    streamed = StreamedVariations.from_files(
        out,
        nominal,
        _by_shift(varied, "--varied"),
        list(features) or None,
        event=list(event),
        weights=weights,
        weight_variations=_by_shift(weight_variation, "--weight-variation"),
        **_memory(events_in_memory),
        **options,
    )
    echo(f"{out}: {streamed!r}")
    folders = [str(folder.path) for folder in streamed.folders]
    write_json(json_path, {"folders": folders, "n_events": streamed.n_events})


def _memory(events: int | None) -> dict[str, int]:
    """The keyword of the library, if the option is given."""
    return {} if events is None else {"events_in_memory": events}


def _by_shift(
    given: tuple[tuple[str, _Varied], ...], option: str
) -> dict[tuple[tuple[str, float], ...], _Varied]:
    """What is given for each shift, such as ``jes=1`` or ``jes=1,jer=-1``, by its values."""
    found: dict[tuple[tuple[str, float], ...], _Varied] = {}
    for shift, varied in given:
        values = parse_point(shift)
        if not values:
            msg = f"{option} names no nuisance parameter in {shift!r}; write name=value"
            raise click.UsageError(msg)
        key = tuple(sorted(values.items()))
        if key in found:
            msg = f"{option} is given twice for {format_point(dict(key))}; omit one of the two"
            raise click.UsageError(msg)
        found[key] = varied
    return found


@click.command()
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path)
)
@output_option("Folder of the response.")
@click.option(
    "--degree",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Degree of the logarithm of the response in each nuisance parameter.",
)
@click.option(
    "--theta-dependent",
    is_flag=True,
    help="Let the response depend linearly on the parameters of interest.",
)
@click.option(
    "--theta-range",
    type=(str, float, float),
    multiple=True,
    metavar="NAME LOW HIGH",
    help="With --theta-dependent: range of a parameter of interest in which the response is "
    "linear. Events at points outside are not used for training. Repeatable.  [default: all "
    "points]",
)
@ensemble_option
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Number of epochs; default: as many as give 2500 steps.",
)
@click.option("--batch-events", type=click.IntRange(1), help="Number of events in a batch.")
@_memory_option
@combine_option
@seed_option
@scheduler_option("whose workers train the networks of the ensemble.")
@json_option
def response(
    folders: tuple[Path, ...],
    out: Path,
    degree: int,
    theta_dependent: bool,
    theta_range: tuple[tuple[str, float, float], ...],
    ensemble: int,
    epochs: int | None,
    batch_events: int | None,
    events_in_memory: int | None,
    combine: Combine | None,
    seed: int,
    scheduler: str | None,
    json_path: Path | None,
) -> None:
    """Learn the response of a process to nuisance parameters from folders of varied events.

    The response of an event is the ratio of the differential cross-section at shifted nuisance
    parameters to the nominal one. `milinfer variations` or ProcessVariations.save write the
    FOLDERS, which are read in pieces.

    \b
    milinfer response parts/* --out response
    """
    from dataclasses import replace

    ranges = _ranges(theta_range)
    if ranges and not theta_dependent:
        msg = "the response does not depend on parameters of interest; add --theta-dependent"
        raise click.BadParameter(msg, param_hint="--theta-range")

    from milinfer.learning.systematic_response import SystematicResponse, default_training
    from milinfer.samples.streamed_variations import StreamedVariations
    from milinfer.utils.progress import progress
    from milinfer.utils.scheduler import connected

    streamed = StreamedVariations.from_folders(
        folders, combine=combine, **_memory(events_in_memory)
    )
    echo(f"{streamed!r}")
    options = {"epochs": epochs, "batch_events": batch_events}
    chosen: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    training = replace(default_training(streamed.n_events), **chosen)
    model = SystematicResponse(
        degree=degree,
        theta_dependent=theta_dependent,
        theta_range=ranges,
        ensemble=ensemble,
        training=training,
        seed=seed,
    )
    start = time.perf_counter()
    with (
        connected(scheduler) as client,
        progress("training response", ensemble * training.epochs) as advance,
    ):
        model = model.fit(streamed, on_epoch=lambda _: advance(1), client=client)
    model.save(out)
    pulls = model.fitted.closure.pulls
    largest = float(abs(pulls).max())
    echo(
        f"{out}: {model!r}, largest deviation of a yield {largest:.1f} errors, "
        f"{time.perf_counter() - start:.0f} s"
    )
    write_json(
        json_path,
        {
            "process": model.process,
            "nuisances": list(model.nuisances),
            "terms": list(model.terms.names),
            "n_events": model.fitted.n_events,
            "largest_pull_of_yields": largest,
            "history": model.fitted.history,
            "digest": model.digest,
        },
    )


def _ranges(given: tuple[tuple[str, float, float], ...]) -> dict[str, tuple[float, float]] | None:
    ranges: dict[str, tuple[float, float]] = {}
    for name, low, high in given:
        if name in ranges:
            msg = f"--theta-range is given twice for {name}; give one range"
            raise click.BadParameter(msg, param_hint="--theta-range")
        ranges[name] = low, high
    return ranges or None
