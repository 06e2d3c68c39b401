"""What every broken input has to do: one typed error, with file, place and remedy; nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from milinfer.cli import cli
from milinfer.exceptions import MilinferError


@dataclass(frozen=True)
class Case:
    """One broken input.

    ``build`` makes it in an empty folder and gives its path (or any value, for Python's arrays);
    ``call`` hands it to milinfer with an empty folder for outputs; ``command`` likewise gives the
    arguments of the command line.
    """

    name: str
    build: Callable[[Path], Any]
    call: Callable[[Any, Path], object]
    error: type[MilinferError]
    place: str
    remedy: str
    command: Callable[[Any, Path], list[object]] | None = None


def check_message(case: Case, given: Any, text: str) -> None:
    if isinstance(given, Path):
        assert given.name in text, text
    assert re.search(case.place, text, re.DOTALL), text
    assert re.search(case.remedy, text, re.DOTALL), text
    assert ".partial-" not in text, text


def prepare(case: Case, folder: Path) -> tuple[Any, Path]:
    source, out = folder / "in", folder / "out"
    source.mkdir()
    out.mkdir()
    return case.build(source), out


def check_call(case: Case, folder: Path) -> None:
    given, out = prepare(case, folder)
    with pytest.raises(MilinferError) as caught:
        case.call(given, out)
    assert type(caught.value) is case.error, repr(caught.value)
    check_message(case, given, str(caught.value))
    assert list(out.rglob("*")) == []


def check_command(case: Case, folder: Path) -> None:
    given, out = prepare(case, folder)
    assert case.command is not None
    arguments = [str(a) for a in case.command(given, out)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output
    check_message(case, given, result.stderr)
    assert list(out.rglob("*")) == []


def check_debug(case: Case, folder: Path) -> None:
    given, out = prepare(case, folder)
    assert case.command is not None
    result = CliRunner().invoke(cli, ["--debug", *(str(a) for a in case.command(given, out))])
    assert type(result.exception) is case.error
