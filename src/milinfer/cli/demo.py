"""``milinfer demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milinfer.cli.options import (
    json_option,
    output_option,
    seed_option,
    workers_option,
    write_json,
)
from milinfer.cli.printing import echo, show_table

__all__ = ["demo"]


@click.command()
@output_option("Directory for files, figures, summary.json and report.html.")
@click.option(
    "--events",
    type=click.IntRange(2500),
    default=10_000,
    show_default=True,
    help="Training events at each of 21 parameter values (5 values with --systematics, 17 points "
    "with --operators 2). With too few events the network cannot be calibrated.",
)
@click.option(
    "--data-events",
    type=click.IntRange(50),
    default=1000,
    show_default=True,
    help="Events in the dataset, and in every toy.",
)
@click.option(
    "--pool-events",
    type=click.IntRange(1000),
    show_default="40000, or 20000 for the other two demos",
    help="Simulated events at each true value from which the toys for the calibration are drawn, "
    "and as many others for the toys that measure coverage.",
)
@click.option(
    "--truth", type=float, default=0.0, show_default=True, help="True value of c_HW in the data."
)
@click.option(
    "--toys",
    "n_toys",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    help="Number of toys at each true value.",
)
@click.option(
    "--systematics",
    is_flag=True,
    help="Run a fit with nuisance parameters instead (two energy scales and a theory weight), and "
    "compare it with the exact fit and with a fit that ignores them.",
)
@click.option(
    "--operators",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="2: fit c_HW and the CP-odd c_HWtil together, with contours and regions.",
)
@seed_option
@workers_option
@json_option
def demo(
    out: Path,
    events: int,
    data_events: int,
    pool_events: int | None,
    truth: float,
    n_toys: int,
    systematics: bool,
    operators: int,
    seed: int,
    workers: int,
    json_path: Path | None,
) -> None:
    """Run a complete analysis of embedded data, from LHE files to calibrated intervals and report.

    \b
    milinfer demo --out demo
    milinfer demo --systematics --out demo_systematics
    milinfer demo --operators 2 --toys 1000 --out demo_operators
    """
    from milinfer.workflow.analysis_result import summary_table
    from milinfer.workflow.demo import DemoConfig, run_demo
    from milinfer.workflow.operators_demo import OperatorsDemoConfig, run_operators_demo
    from milinfer.workflow.systematics import systematics_table
    from milinfer.workflow.systematics_demo import SystematicsDemoConfig, run_systematics_demo

    sizes: dict[str, Any] = {
        "events": events,
        "data_events": data_events,
        "truth": truth,
        "n_toys": n_toys,
        "seed": seed,
        "workers": workers,
    }
    if pool_events is not None:
        sizes["pool_events"] = pool_events
    if systematics and operators > 1:
        msg = "--systematics works only with one operator; omit --operators or --systematics"
        raise click.UsageError(msg)
    if operators > 1:
        summary = run_operators_demo(out, OperatorsDemoConfig(**sizes), echo=echo)
    elif systematics:
        summary = run_systematics_demo(out, SystematicsDemoConfig(**sizes), echo=echo)
    else:
        summary = run_demo(out, DemoConfig(**sizes), echo=echo)
    show_table(summary_table(summary))
    if "systematics" in summary:
        show_table(systematics_table(summary["systematics"]))
    echo(f"report: {out / 'report.html'}")
    write_json(json_path, summary)
