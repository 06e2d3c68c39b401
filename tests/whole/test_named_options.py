"""Options and keywords that messages name exist."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import click
import pytest

import milinfer
from milinfer.cli import cli
from sources import tree_of

SOURCE = Path(milinfer.__file__).parent
# Of other programs, which the texts name.
OF_OTHERS = {
    "--logdir": "tensorboard",
    "--scheduler-file": "dask",
    "--rwgt_name": "the reweight card of MadGraph",
}
# HTML and SVG have attributes, and programs keywords; pandas has format=, and coffea savemetrics=.
NO_MESSAGES = {
    "workflow/html_report.py",
    "workflow/report_terms.py",
    "utils/display.py",
    "likelihood/smefit_template.py",
}
KEYWORDS_OF_OTHERS = {"format", "savemetrics"}


@cache
def texts():
    """Every string of the package with its place, docstrings of commands included."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        nodes = list(ast.walk(tree_of(path)))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docstrings = {
            id(node.body[0].value)
            for node in nodes
            if isinstance(node, documented) and isinstance(node.body[0], ast.Expr)
        }
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                file = path.relative_to(SOURCE).as_posix()
                found.append((f"{file}:{node.lineno}", node.value, id(node) in docstrings))
    return found


def options_of(command: click.Command) -> set[str]:
    names = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    return names | {"--help"}


COMMANDS = {name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(None)}
OPTIONS = {name: options_of(command) for name, command in COMMANDS.items()}
ALL_OPTIONS = set.union(options_of(cli), *OPTIONS.values())
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]*[a-z]")
OF_COMMAND = re.compile(rf"\b({'|'.join(OPTIONS)}) (--[a-z][a-z_-]*[a-z])")


def wrong_options(text: str) -> list[str]:
    wrong = [o for o in OPTION.findall(text) if o not in ALL_OPTIONS | set(OF_OTHERS)]
    return wrong + [
        f"{command} {option}"
        for command, option in OF_COMMAND.findall(text)
        if option not in OPTIONS[command]
    ]


def test_options_that_texts_name_exist():
    found = {place: wrong_options(text) for place, text, _ in texts()}
    assert {place: wrong for place, wrong in found.items() if wrong} == {}
    # They are looked for: the package names options in many places.
    assert sum(bool(OPTION.search(text)) for _, text, _ in texts()) > 50


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("give --pionts", ["--pionts"]),
        ("milinfer inspect --belt", ["inspect --belt"]),
        ("milinfer fit --belt takes intervals", []),
    ],
)
def test_wrong_options_are_found(text, wrong):
    assert wrong_options(text) == wrong


def keywords() -> set[str]:
    """Names of the arguments of every function and class of the package, and of its commands."""
    names = {p.name for command in COMMANDS.values() for p in command.params}
    for module in walk_packages(milinfer.__path__, "milinfer."):
        if module.name == "milinfer.__main__":
            continue
        for item in vars(import_module(module.name)).values():
            if getattr(item, "__module__", "") == module.name and callable(item):
                members = vars(item).values() if inspect.isclass(item) else ()
                functions = [getattr(m, "__func__", m) for m in members]
                for function in (item, *(f for f in functions if inspect.isfunction(f))):
                    try:
                        names |= set(inspect.signature(function).parameters)
                    except (TypeError, ValueError):  # of an alias of a type
                        continue
    return names


KEYWORD = re.compile(r"(?<![\w.<{'\"-])([a-z_][a-z_0-9]*)=(?![=>])")


def test_keywords_that_messages_name_exist():
    known = keywords() | KEYWORDS_OF_OTHERS
    wrong = {
        place: unknown
        for place, text, is_docstring in texts()
        if not is_docstring and place.partition(":")[0] not in NO_MESSAGES
        if (unknown := set(KEYWORD.findall(text)) - known)
    }
    assert wrong == {}
    assert "points" in known
    assert "pionts" not in known
