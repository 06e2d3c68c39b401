"""Figures of benchmarks that pages quote, read from ``benchmarks/results``.

In the source of a page a comment follows a figure and says what it is, as a template of Jinja with
the results by the names of their files::

    765 000<!-- {{ training.events_per_s_n1 | digits(3) }} --> events/s
    0.998 ± 0.003<!-- {{ row.info_ratio | places(3) }} ± {{ row.info_ratio_error | places(3) }} -->

A template of several lines, or of a whole table, stands before it, and the table ends with
``<!-- end -->``, each with an empty line between::

    <!-- {{ table("heads") }} -->

    | head | …

    <!-- end -->

So the source of a page is plain Markdown with its figures in it, which a forge can show.  When
Sphinx reads a page, each figure becomes what the result says, and the comment goes; a key that no
result has ends the build.

    python docs/quoted.py            # names what pages say otherwise than results, and fails
    python docs/quoted.py --write    # writes into the pages what results say
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

__all__ = ["ROOT", "QuoteError", "filled", "pages", "plain", "results"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

_NUMBER = r"[-−+]?\d+(?: \d{3})*(?:\.\d+)?"
_AFTER = re.compile(rf"(?P<text>{_NUMBER}(?: ± {_NUMBER})*)<!-- (?P<template>\{{\{{.*?\}}\}}) -->")
_BEFORE = re.compile(
    r"^<!-- (?P<template>\{[{%].*?[%}]\}) -->\n\n(?P<text>.*?)\n\n<!-- end -->$",
    flags=re.MULTILINE | re.DOTALL,
)
_ANY = re.compile(r"<!--\s*\{[{%].*?-->|<!-- end -->", flags=re.DOTALL)
_THOUSANDS = 10_000


class QuoteError(ValueError):
    """A page quotes what no result says."""


def _number(value: Any) -> float:
    """A finite number; what is undefined says so itself."""
    if isinstance(value, bool | str) or not math.isfinite(number := float(value)):
        message = f"{value!r} is no finite number"
        raise QuoteError(message)
    return number


def places(value: Any, n: int = 0) -> str:
    """Rounded to so many decimal places; thousands are separated from 10 000 on."""
    number = _number(value)
    text = f"{number:.{n}f}"
    if abs(float(text)) >= _THOUSANDS:
        text = f"{number:,.{n}f}".replace(",", " ")
    return text.replace("-", "−") if float(text.replace(" ", "")) else text.removeprefix("-")


def digits(value: Any, n: int) -> str:
    """Rounded to so many significant digits, without a power of ten."""
    rounded = float(f"{_number(value):.{n - 1}e}")
    exponent = math.floor(math.log10(abs(rounded))) if rounded else 0
    return places(rounded, max(0, n - 1 - exponent))


def where(rows: Iterable[Mapping[str, Any]], **values: Any) -> Mapping[str, Any]:
    """The one row that has these values."""
    found = [row for row in rows if all(row.get(k) == v for k, v in values.items())]
    if len(found) != 1:
        message = f"{len(found)} rows have {values}, and there must be one"
        raise QuoteError(message)
    return found[0]


@cache
def results(folder: Path = RESULTS) -> Mapping[str, Any]:
    """Each result by the name of its file."""
    return {p.stem: json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json"))}


def table(name: str, found: Mapping[str, Any]) -> str:
    """Rows of a result as the benchmark of that name prints them with ``--table``."""
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"quoted_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # of the modules that benchmarks share
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    text: str = module.table(found[name]["rows"])
    return text


def _environment(found: Mapping[str, Any]) -> jinja2.Environment:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters |= {"places": places, "digits": digits, "where": where}
    environment.globals |= {**found, "table": lambda name: table(name, found)}
    return environment


def _each(page: str, source: str, change: Callable[[re.Match[str]], str]) -> str:
    """A source whose figures with a template are changed; none may be left over."""
    for form in (_BEFORE, _AFTER):
        left = form.sub("", source)
        source = form.sub(change, source)
    left = _ANY.search(_AFTER.sub("", _BEFORE.sub("", left)))
    if left:
        message = (
            f"{page}: {left[0]} has no number before it, or no figures and <!-- end --> after it"
        )
        raise QuoteError(message)
    return source


def filled(
    page: str,
    source: str,
    found: Mapping[str, Any] | None = None,
    *,
    keep: bool = True,
) -> str:
    """The source of a page with the figures that results say.

    Parameters
    ----------
    page
        Name of the page, for messages.
    source
        Its Markdown.
    found
        Results by the names of their files; those of this repository by default.
    keep
        Whether templates stay.

    Raises
    ------
    QuoteError
        If a template asks for a key that no result has, or says a figure that is no number.
    """
    environment = _environment(results() if found is None else found)

    def change(match: re.Match[str]) -> str:
        template = match["template"]
        try:
            text = environment.from_string(template).render().strip()
        except (jinja2.TemplateError, KeyError, TypeError, ZeroDivisionError, QuoteError) as error:
            message = f"{page} quotes {template}, which benchmarks/results does not have: {error}"
            raise QuoteError(message) from error
        if not keep:
            return text
        start, end = (place - match.start() for place in match.span("text"))
        return match[0][:start] + text + match[0][end:]

    return _each(page, source, change)


def plain(page: str, source: str, *, without: str = "") -> str:
    """The source without templates, and with `without` in place of the figures they are of."""
    return _each(page, source, lambda match: without or match["text"])


def pages() -> dict[str, Path]:
    """Pages that may quote results, by their path from the root."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {
        path.relative_to(ROOT).as_posix(): path
        for path in paths
        if "_build" not in path.parts and path != ROOT / "docs" / "changelog.md"
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare pages with results, or write into them what results say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write into pages what results say")
    options = parser.parse_args(arguments)
    differ = False
    for name, path in pages().items():
        source = path.read_text("utf-8")
        new = filled(name, source)
        lines = (text.splitlines(keepends=True) for text in (source, new))
        sys.stdout.writelines(difflib.unified_diff(*lines, name, "results", n=0))
        differ |= new != source
        if options.write and new != source:
            path.write_text(new, encoding="utf-8")
    return int(differ and not options.write)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""

    def read(_app: Any, name: str, source: list[str]) -> None:
        source[0] = filled(f"docs/{name}.md", source[0], keep=False)

    app.connect("source-read", read)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    sys.exit(main())
