"""Commands of a whole analysis: ``init``, ``run``, ``unblind``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from milinfer.cli.options import json_option, write_json
from milinfer.cli.printing import echo, show_table

if TYPE_CHECKING:
    from rich.table import Table

    from milinfer.workflow.run import AnalysisPlan

__all__ = ["init", "run", "unblind"]


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="analysis.toml")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def init(path: Path, overwrite: bool) -> None:
    """Write a configuration file with comments, which you then edit for your analysis.

    \b
    milinfer init analysis.toml
    """
    from milinfer.workflow.configuration import init_analysis

    echo(f"{init_analysis(path, overwrite=overwrite)}: edit it, then `milinfer run {path}`")


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--dry-run", is_flag=True, help="Show which steps would run and why, without running them."
)
@json_option
def run(path: Path, dry_run: bool, json_path: Path | None) -> None:
    """Run an analysis from its configuration file, without repeating finished steps.

    After an interruption, the next run continues after the last finished step. The results are the
    same as without the interruption.

    \b
    milinfer run analysis.toml --dry-run
    milinfer run analysis.toml
    """
    from milinfer.workflow.analysis_result import summary_table
    from milinfer.workflow.configuration import AnalysisConfig
    from milinfer.workflow.run import plan_analysis, run_analysis
    from milinfer.workflow.systematics import systematics_table

    config = AnalysisConfig.from_file(path)
    if dry_run:
        plan = plan_analysis(config)
        show_table(plan_table(plan))
        steps = [
            {"step": step.name, "state": state.kind, "why": state.why}
            for step, state in plan.planned()
        ]
        write_json(json_path, {"steps": steps})
        return
    try:
        summary = run_analysis(config, echo=echo)
    except KeyboardInterrupt:
        echo(
            "stopped; run the same command again to continue after the last finished step", err=True
        )
        raise
    show_table(summary_table(summary))
    if "systematics" in summary:
        show_table(systematics_table(summary["systematics"]))
    echo(f"report: {config.out / 'report.html'}")
    write_json(json_path, summary)


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--reason", required=True, help="Reason for opening the data, such as who approved it."
)
def unblind(path: Path, reason: str) -> None:
    """Open the data of a blind analysis, and keep a record. This can be done only once.

    The blind analysis ([data] has blind = true) must be complete. The record, unblinding.json in
    the folder of the results, contains the time, the reason, and hashes of all frozen settings and
    results.

    \b
    milinfer unblind analysis.toml --reason "approved on 1 March"
    milinfer run analysis.toml
    """
    from milinfer.workflow.configuration import AnalysisConfig
    from milinfer.workflow.run import unblind_analysis

    config = AnalysisConfig.from_file(path)
    record = unblind_analysis(config, reason)
    echo(
        f"{config.out / 'unblinding.json'}: the data were opened at {record.time}; "
        f"run `milinfer run {path}` to fit them"
    )


def plan_table(plan: AnalysisPlan) -> Table:
    """Terminal table of a plan."""
    from rich.box import SIMPLE_HEAD

    from milinfer.utils.display import rich_table

    words = {"done": "done", "new": "to do", "changed": "again: changed", "damaged": "again"}
    rows = [[step.name, words[state.kind], state.why] for step, state in plan.planned()]
    header = ("step", "state", "why")
    return rich_table(str(plan.config.out), header, rows, left=header, box=SIMPLE_HEAD)
