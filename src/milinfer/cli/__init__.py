"""The command line: the list of its commands, and how errors are shown."""

from __future__ import annotations

import errno
import io
import re
import sys
import warnings
from importlib import import_module
from typing import IO, Any

import click

from milinfer.cli.printing import lost_output
from milinfer.exceptions import MilinferError, MilinferWarning
from milinfer.utils.display import printable
from milinfer.version import __version__

__all__ = ["cli", "main"]

# Modules of the commands; a module is imported when one of its commands is called or listed.
_COMMANDS = {
    "demo": "demo",
    "init": "workflow",
    "run": "workflow",
    "unblind": "workflow",
    "generate": "data",
    "convert": "data",
    "features": "data",
    "variations": "variations",
    "inspect": "data",
    "train": "inference",
    "response": "variations",
    "fit": "inference",
    "publish": "publishing",
    "combine": "combining",
    "calibrate": "intervals",
    "neyman": "intervals",
    "coverage": "intervals",
    "compare": "inference",
    "report": "inference",
}


class _Failure(click.ClickException):
    """An error of milinfer: shown as one message, with exit code 2 as for wrong options."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.secho(f"Error: {printable(self.message)}", file=file, fg="red", err=file is None)


def _one_line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> str:
    kind = "Warning" if issubclass(category, MilinferWarning) else category.__name__
    return f"{kind}: {printable(str(message))}\n"


# Arguments of functions that a command offers under other names.
_ALIASES = {
    "n_events": "events_per_toy",
    "client": "scheduler",
    "n_toys": "toys",
    "points": "points_spec",
}


def _in_options(text: str, command: click.Command) -> str:
    """Replace names of arguments in a message by the options of a command.

    Examples
    --------
    >>> command = click.Command("fit", params=[click.Option(["--bag-size"])])
    >>> _in_options("use bag_size=1, or another seed=", command)
    'use --bag-size=1, or another seed='
    """
    options = {p.name: max(p.opts, key=len) for p in command.params if isinstance(p, click.Option)}
    options |= {name: options[other] for name, other in _ALIASES.items() if other in options}

    def in_options(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in options:
            return match[0]
        return options[name] if value in ("", "True") else f"{options[name]}={value}"

    return re.sub(r"(?<![\w-])([a-z_]+)=(?!=)([^\s,;:.)]*)", in_options, text)


class _LazyGroup(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        # Users of a command need no file and line of the package that a warning comes from.
        format_before, warnings.formatwarning = warnings.formatwarning, _one_line
        try:
            value = super().invoke(ctx)
            if lost := lost_output():
                text = (
                    f"standard output cannot be written ({lost.strerror}): the printed text is "
                    "lost, but all files are complete"
                )
                raise _Failure(text)
            return value
        except (MilinferError, OSError) as error:
            if ctx.params["debug"] or getattr(error, "errno", None) == errno.EPIPE:
                raise
            text = "\n".join([str(error), *getattr(error, "__notes__", [])])
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            text = text if command is None else _in_options(text, command)
            if not isinstance(error, MilinferError):  # permissions, a full disk
                text = f"{text}; check that file or folder, and try again"
            raise _Failure(text) from error
        finally:
            warnings.formatwarning = format_before
            lost_output()  # the next command in this process has nothing to do with it

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"milinfer.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        # The list of commands shows whole sentences; click would cut them at the width of a line.
        command.short_help = " ".join((command.help or "").split("\n\n")[0].split())
        return command


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="milinfer")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Learned likelihoods for collider data, with intervals that cover.

    \b
    milinfer demo --out demo      # a complete analysis of embedded data
    milinfer init analysis.toml   # a configuration file to edit for your data
    milinfer run analysis.toml    # the complete analysis that it describes
    milinfer COMMAND --help       # one step, with an example
    """
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run a command; if milinfer raises an error, print one message and exit with code 2."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files and symbols such as σ are no reason to fail where only ASCII is printed.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    cli()
