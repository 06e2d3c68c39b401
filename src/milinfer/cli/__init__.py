"""Command line.  Every command takes ``--json PATH`` for its figures."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from milinfer import __version__
from milinfer.exceptions import MilinferError

__all__ = ["cli", "main"]

# Commands by module; a module is imported when one of its commands is called or listed.
_COMMANDS = {
    "demo": "demo",
    "init": "workflow",
    "run": "workflow",
    "generate": "data",
    "convert": "data",
    "features": "data",
    "inspect": "data",
    "train": "inference",
    "fit": "inference",
    "calibrate": "intervals",
    "neyman": "intervals",
    "coverage": "intervals",
    "compare": "inference",
    "report": "inference",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"milinfer.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="milinfer")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    r"""Learned likelihoods for collider data, with intervals that cover.

    \b
    milinfer demo --out demo            the whole job on embedded data
    milinfer init, milinfer run         the whole job on your files, from analysis.toml
    milinfer COMMAND --help             each step by itself, with an example
    """
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run the command line; errors that milinfer knows end with code 2 and one message."""
    # --debug is read here too, because an error may come before click has parsed anything.
    try:
        cli(standalone_mode=True)
    except MilinferError as error:
        if "--debug" in sys.argv:
            raise
        click.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(2)
