"""The command ``combine``."""

from __future__ import annotations

from pathlib import Path

import click

from milinfer.cli.options import output_option
from milinfer.cli.printing import echo, show_table

__all__ = ["combine"]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@output_option("Folder for combination.json and a figure of each parameter of interest.")
def combine(file: Path, out: Path) -> None:
    """Fit published likelihoods, pyhf workspaces and Gaussian constraints together.

    FILE (TOML) lists these inputs and the parameters that they share.

    \b
    milinfer combine combination.toml --out combined
    """
    from milinfer.workflow.combination import combine as combine_inputs

    combination = combine_inputs(file)
    show_table(combination.parameters_to_rich())
    show_table(combination.to_rich())
    for line in (*combination.notes, *combination.problems):
        echo(line)
    for path in combination.save(out):
        echo(f"{path} written")
