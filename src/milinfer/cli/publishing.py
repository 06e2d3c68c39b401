"""The command ``publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milinfer.cli.dataset_cost import cost_options, read_cost
from milinfer.cli.options import FILES_HELP, json_option, output_option, write_json
from milinfer.cli.printing import echo

__all__ = ["publish"]


@click.command(epilog=FILES_HELP)
@click.argument("data")
@cost_options
@click.option(
    "--cl",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="With --calibration: confidence level for which the published likelihood is calibrated; "
    "default: the first level of the calibration.",
)
@click.option(
    "--interval-of",
    "parameter",
    metavar="PARAMETER",
    help="With a --calibration of several parameters: calibrate for the interval of this "
    "parameter, with the others profiled; default: joint regions.",
)
@click.option("--title", default="", help="One line that describes the measurement.")
@click.option(
    "--without-events",
    is_flag=True,
    help="Write only the sum of Λ over all events, without single events.",
)
@click.option(
    "--error",
    type=click.FloatRange(0, min_open=True),
    default=1e-6,
    show_default=True,
    help="With --without-events: largest allowed error of −2 ln L; the error is proven to be "
    "below it.",
)
@click.option(
    "--hepdata",
    type=click.Path(path_type=Path),
    help="Also write a submission for HEPData to this folder: intervals, covariance, profiles, and "
    "the published likelihood; it needs milinfer[hepdata].",
)
@output_option("Folder to write.")
@json_option
def publish(
    data: str,
    cl: float | None,
    parameter: str | None,
    title: str,
    without_events: bool,
    error: float,
    hepdata: Path | None,
    out: Path,
    json_path: Path | None,
    **options: Any,
) -> None:
    """Write the likelihood of a dataset for publication; numpy and iminuit are enough to read it.

    \b
    milinfer publish data.lhe.gz --model model --calibration calibration.json --out published
    """
    from milinfer.likelihood.published_cost import load_published
    from milinfer.likelihood.publishing import publish as write
    from milinfer.workflow.hepdata import require_hepdata_lib, write_hepdata

    if options["calibration_path"] is None and (cl is not None or parameter is not None):
        msg = "--cl and --interval-of select constants of a calibration; give --calibration, too"
        raise click.UsageError(msg)
    if hepdata is not None:
        require_hepdata_lib()
    made = read_cost(data, **options)
    cost = made.cost
    if made.calibration is not None:
        cost = made.calibration(cost, cl, parameter=parameter)
    write(
        cost,
        out,
        title=title,
        provenance={
            "model": made.model.name,
            "data": {"events": len(made.data)},
            "terms": options["terms"],
            "calibrated": made.calibration is not None,
        },
        events=not without_events,
        error=error,
    )
    published = load_published(out)
    size = sum(path.stat().st_size for path in out.iterdir())
    bound = float(published.content["bound"])
    echo(
        f"{out}: −2 ln L of {len(made.data)} events in {', '.join(published.parameters)}, "
        f"{size / 1e6:.3g} MB, "
        + (f"without events, within {bound:.1g}" if without_events else "exact")
        + f"; {out / 'read_likelihood.py'} reads it"
    )
    calibrated_for = [str(made) for made in published.calibrated_for]
    for text in calibrated_for:
        echo(f"calibrated for {text}; other intervals from this likelihood are not calibrated")
    if hepdata is not None:
        write_hepdata(out, hepdata)
        echo(
            f"{hepdata}: a submission for HEPData, checked against its schema; zip the folder and "
            "upload it"
        )
    write_json(
        json_path,
        {
            "folder": out,
            "hepdata": hepdata,
            "parameters": published.parameters,
            "n_events": len(made.data),
            "calibrated": made.calibration is not None,
            "calibrated_for": calibrated_for,
            "bound": bound,
            "bytes": size,
        },
    )
