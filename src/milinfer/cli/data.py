"""Commands on files: ``generate``, ``convert``, ``features``, ``inspect``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milinfer.cli.options import (
    FileOrAddress,
    events_option,
    json_option,
    output_option,
    points_options,
    seed_option,
    tree_option,
    weights_notice,
    workers_option,
    write_json,
)
from milinfer.cli.printing import echo, show_table
from milinfer.utils.points import format_point, parse_point

if TYPE_CHECKING:
    from milinfer.io.event_range import EventRange

__all__ = ["convert", "features", "generate", "inspect"]

_PROCESSES = ("vbf_hww", "vbf_hzz")
_MOST_LEFT_OUT = 24  # that are named in one line


@click.command()
@click.option(
    "--process",
    type=click.Choice(_PROCESSES),
    default="vbf_hww",
    show_default=True,
    help="Process to generate: vbf_hww is VBF H → WW* → ℓνℓν, vbf_hzz is its background VBF H → "
    "ZZ*.",
)
@click.option(
    "--point",
    "points",
    multiple=True,
    help="Value of a parameter, such as c_HW=0.5; repeat the option for several operators.",
)
@click.option(
    "--events", "n_events", type=click.IntRange(1), required=True, help="Number of events."
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    help="Parameter point at which each event gets a weight; repeatable. Default for vbf_hww: the "
    "smallest number of points that determine the weights at every other point (5 for one "
    "operator, 15 for two).",
)
@output_option("LHE (.lhe, .lhe.gz), ROOT or Parquet file to write.")
@seed_option
@workers_option
@json_option
def generate(
    process: str,
    points: tuple[str, ...],
    n_events: int,
    weights: tuple[str, ...],
    out: Path,
    seed: int,
    workers: int,
    json_path: Path | None,
) -> None:
    """Generate events from an embedded generator whose likelihood is known exactly.

    \b
    milinfer generate --process vbf_hww --point c_HW=0.5 --events 1000 --out f.lhe.gz

    \b
    milinfer generate --point c_HW=0.5 --point c_HWtil=-0.3 --events 1000 --out f.lhe.gz
    """
    from importlib import import_module

    from milinfer.datasets import vbf_hww
    from milinfer.io import events as event_files

    module = import_module(f"milinfer.datasets.{process}")
    start = time.perf_counter()
    generated = module.generate(
        n_events, parse_point(",".join(points)) if points else None, seed=seed, workers=workers
    )
    seconds = time.perf_counter() - start
    default = vbf_hww.default_weights(tuple(generated.point)) if generated.point else ()
    events, info = generated.to_events([parse_point(w) for w in weights] if weights else default)
    event_files.write(out, events, info)
    echo(
        f"{out}: {len(generated)} events of {process}"
        + (f" at {format_point(generated.point)}" if generated.point else "")
        + f", σ = {generated.cross_section:.4g} ± {generated.cross_section_error:.1g} pb, "
        f"{len(generated) / seconds:.0f} events/s"
    )
    write_json(
        json_path,
        {
            "file": out,
            "process": process,
            "point": dict(generated.point),
            "n_events": len(generated),
            "cross_section": generated.cross_section,
            "cross_section_error": generated.cross_section_error,
            "overshoot": generated.overshoot,
            "events_per_s": len(generated) / seconds,
            "seed": seed,
        },
    )


@click.command()
@click.argument("source", type=FileOrAddress())
@output_option("File to write; its suffix (.root, .parquet, .lhe, .lhe.gz) selects the format.")
@click.option(
    "--ntuple",
    type=click.Choice(["ttree", "rntuple"]),
    default="ttree",
    show_default=True,
    help="Kind of ROOT file.",
)
@click.option(
    "--size-limit",
    type=click.IntRange(1),
    metavar="MIB",
    help="Largest allowed size in MiB of the header, an event and a line of an LHE file; default: "
    "64, 16 and 1.",
)
@tree_option
@workers_option
@json_option
def convert(
    source: Path | str,
    out: Path,
    ntuple: str,
    size_limit: int | None,
    tree: str | None,
    workers: int,
    json_path: Path | None,
) -> None:
    """Convert event files between LHE, ROOT and Parquet.

    All numbers that describe an event, weights included, are kept to the last bit. The header, the
    init block, and the ids, descriptions and groups of the weights are kept, too. Everything else
    in an LHE file (comments outside the header, <generator>, <mgrwt>, <scales>, lines such as #pdf)
    is left out. The command lists what it leaves out.

    From NanoAOD files, only generator particles and weights are converted. The command lists the
    columns that it leaves out.

    \b
    milinfer convert events.lhe.gz --out events.root
    """
    from milinfer.features.feature_set import check_event_counts
    from milinfer.io.convert import convert as convert_file
    from milinfer.io.events import kind_of
    from milinfer.io.lhe.header import Limits
    from milinfer.utils.display import shortened

    limits = None if size_limit is None else Limits(*3 * [size_limit << 20])
    done = convert_file(
        source,
        out,
        ntuple=ntuple,  # type: ignore[arg-type]  # click has checked the choice
        tree=tree or "Events",
        workers=workers,
        limits=limits,
    )
    echo(
        f"{source} → {out}: "
        f"{check_event_counts(done.n_events_in, done.n_events_out, {}, str(source))}, "
        f"{done.n_events_in / done.seconds:.0f} events/s"
    )
    if done.left_out and kind_of(source) == "lhe":  # of other files a warning says it
        echo(f"not converted: {shortened(done.left_out, _MOST_LEFT_OUT)}")
    write_json(json_path, done._asdict())


@click.command()
@click.argument("source", type=FileOrAddress())
@output_option("Parquet or ROOT file to write.")
@click.option(
    "--feature-set",
    default="vbf_2l2j",
    show_default=True,
    help="Name of the set of features to compute.",
)
@click.option("--point", default=None, help="Parameter point, if the file does not record it.")
@click.option("--process", default=None, help="Process name, if the file does not record it.")
@points_options
@click.option(
    "--on-missing",
    type=click.Choice(["raise", "reject"]),
    default="raise",
    show_default=True,
    help="What to do with events that lack particles needed for the features: stop with an error, "
    "or reject and count them.",
)
@click.option(
    "--keep-weights",
    is_flag=True,
    help="Also write the weights at other points, as columns weight:ID.",
)
@tree_option
@events_option
@click.option(
    "--invisible",
    type=int,
    multiple=True,
    metavar="PDG_ID",
    help="PDG id of a final-state particle that escapes the detector, if it is not in the PDG "
    "numbering; repeatable.",
)
@click.option(
    "--visible",
    type=int,
    multiple=True,
    metavar="PDG_ID",
    help="PDG id of a final-state particle that the detector measures, if it is not in the PDG "
    "numbering; repeatable.",
)
@workers_option
@json_option
def features(
    source: Path | str,
    out: Path,
    feature_set: str,
    point: str | None,
    process: str | None,
    points: dict[str, Any],
    on_missing: str,
    keep_weights: bool,
    tree: str | None,
    events: EventRange | None,
    invisible: tuple[int, ...],
    visible: tuple[int, ...],
    workers: int,
    json_path: Path | None,
) -> None:
    """Compute kinematic features of the events of a file.

    \b
    milinfer features events.lhe.gz --out features.parquet
    """
    from milinfer.samples.file_points import POINT_NOTE
    from milinfer.samples.sample import Sample, check_sample_counts

    start = time.perf_counter()
    sample = Sample.from_file(
        source,
        features=feature_set,
        point=None if point is None else parse_point(point),
        process=process,
        on_missing=on_missing,
        keep_reweights=keep_weights,
        tree=tree,
        workers=workers,
        events=events,
        invisible=invisible,
        visible=visible,
        missing_point={},  # features need none; what trains on them asks for it
        **points,
    )
    seconds = time.perf_counter() - start
    sample.to_file(out)
    rejected = sample.provenance.get("rejected", {})
    echo(
        f"{source} → {out}: {check_sample_counts(sample, str(source))}; {sample.label}, "
        f"{len(sample.feature_names)} features and the weight, {len(sample) / seconds:.0f} events/s"
    )
    if POINT_NOTE in sample.provenance:
        echo("the file records no parameter point; give a point when you train on its events")
    for line in weights_notice(sample):
        echo(line)
    if not keep_weights:
        echo("weights at other points, if any, were not written; use --keep-weights to keep them")
    write_json(
        json_path,
        {
            "file": out,
            "n_events": len(sample),
            "n_rejected": sum(rejected.values()),
            "rejected": dict(rejected),
            "features": list(sample.feature_names),
            "point": dict(sample.point),
            "process": sample.process,
            "sum_of_weights": sample.weights.sum(),
            "n_negative_weights": int((sample.weights < 0).sum()),
            "events_per_s": len(sample) / seconds,
        },
    )


@click.command()
@click.argument("path", type=FileOrAddress(dir_okay=True))
@points_options
@tree_option
@json_option
def inspect(
    path: Path | str, points: dict[str, Any], tree: str | None, json_path: Path | None
) -> None:
    """Show what a file contains: events, features, model, calibration, workspace, results.

    \b
    milinfer inspect events.root
    milinfer inspect root://host//store/nano.root --tree Events

    \b
    milinfer inspect events.lhe.gz --parameter c_HW="SMEFT 7"
    """
    from milinfer.utils.display import rich_table
    from milinfer.workflow.inspection import inspect_file

    facts = inspect_file(path, tree=tree, **points)
    rows = [[key, _text(value)] for key, value in facts.items()]
    header = ("fact", "value")
    show_table(rich_table(str(path), header, rows, left=["value"], show_header=False))
    write_json(json_path, facts)


def _text(value: object) -> str:
    """Text of a fact: lists without brackets, ranges in square brackets."""
    if isinstance(value, (list, tuple)):
        parts = [_text(v[0]) if isinstance(v, list) and len(v) == 1 else v for v in value]
        return ", ".join(
            f"[{_text(list(v))}]" if isinstance(v, (list, tuple)) else _text(v) for v in parts
        )
    return f"{value:g}" if isinstance(value, float) else str(value)
