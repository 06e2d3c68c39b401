"""Figures of benchmarks that pages quote, read from ``benchmarks/results``.

In the source of a page a comment follows a figure and says what it is: a template of Jinja, with
the results by the names of their files, and the functions of :data:`FUNCTIONS`::

    765 000<!-- {{ digits(training.events_per_s_n1, 3) }} --> events/s
    5 to 8<!-- {{ places(cost.call_us) }} to {{ places(cost.grad_us) }} --> µs

The template of a whole table, or of anything of several lines, stands before it, which ends with
``<!-- end -->``; an empty line is on each side::

    <!-- {{ table("heads") }} -->

    | head | …

    <!-- end -->

One of several tables of a benchmark is ``table("compare_peers", part="bags", record=peers)``.

So the source of a page is plain Markdown with its figures in it, which a forge can show.  When
Sphinx reads a page, each figure becomes what the result says, and the comment goes; a key that no
result has ends the build.  A forge ends a cell of a table at a vertical bar, also in a comment.

    python docs/quoted.py            # names pages that say otherwise than results, and fails
    python docs/quoted.py --write    # writes into the pages what results say
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import jinja2

__all__ = ["FUNCTIONS", "ROOT", "QuoteError", "filled", "pages", "plain", "results"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

_NUMBER = r"(?<![\w.])[-−+]?\d+(?: \d{3})*(?:\.\d+)?"
_AFTER = re.compile(r"<!-- (?P<template>\{\{[^\n]*?\}\}) -->")
_EXPRESSION = re.compile(r"\{\{.*?\}\}")
_BEFORE = re.compile(
    r"^<!-- (?P<template>\{[{%].*?[%}]\}) -->\n\n(?P<text>.*?)\n\n<!-- end -->$",
    flags=re.MULTILINE | re.DOTALL,
)
_LEFT = re.compile(r"<!--\s*\{[{%].*?-->|<!-- end -->", flags=re.DOTALL)
_THOUSANDS = 10_000
_FAR = 200  # a template and its figures stand together


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
    text = f"{_number(value):.{n}f}"
    if abs(float(text)) >= _THOUSANDS:
        text = f"{float(text):,.{n}f}".replace(",", " ")
    return text.replace("-", "−") if text.strip("-0.") else text.removeprefix("-")


def digits(value: Any, n: int) -> str:
    """Rounded to so many significant digits, without a power of ten."""
    rounded = float(f"{_number(value):.{n - 1}e}")
    exponent = math.floor(math.log10(abs(rounded))) if rounded else 0
    return places(rounded, max(0, n - 1 - exponent))


def with_error(row: Mapping[str, Any], key: str, n: int, factor: float = 1.0) -> str:
    """A figure and its error, under the key with ``_error``, rounded to so many places."""
    return " ± ".join(places(factor * _number(row[k]), n) for k in (key, f"{key}_error"))


def only(rows: Iterable[Mapping[str, Any]], **values: Any) -> Mapping[str, Any]:
    """The one row that has these values."""
    found = [row for row in rows if all(row.get(k) == v for k, v in values.items())]
    if len(found) != 1:
        message = f"{len(found)} rows have {values}, and there must be one"
        raise QuoteError(message)
    return found[0]


def column(rows: Any, keys: str) -> list[float]:
    """Numbers of all rows of a list or of a dictionary, each by keys separated by ``/``."""
    numbers = []
    for row in rows.values() if isinstance(rows, Mapping) else rows:
        value = row
        for key in keys.split("/"):
            value = value[key]
        numbers.append(_number(value))
    return numbers


def beyond(values: Sequence[float], errors: Sequence[float], best: float, sigmas: float) -> int:
    """How many values are off by more than so many of their errors."""
    pairs = zip(values, errors, strict=True)
    return sum(abs(value - best) > sigmas * error for value, error in pairs)


def over_seeds(
    rows: Iterable[Mapping[str, Any]], key: str, method: str, other: str | None = None
) -> dict[str, float]:
    """Mean over seeds of a figure of a method, or of its ratio to another, with its error."""
    of = {(row["method"], row["seed"]): row[key] for row in rows}
    found = [
        x / of[other, seed] if other else x for (name, seed), x in of.items() if name == method
    ]
    return {"value": mean(found), "value_error": stdev(found) / math.sqrt(len(found))}


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (places, digits, with_error, only, column, beyond, over_seeds)},
    **{f.__name__: f for f in (min, max, len, abs)},
    # Rounded once: sums of Python 3.12 and later differ from those of 3.11 in the last bit.
    "mean": statistics.fmean,
}


@cache
def results(folder: Path = RESULTS) -> Mapping[str, Any]:
    """Each result by the name of its file."""
    return {p.stem: json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json"))}


def table(
    name: str,
    found: Mapping[str, Any],
    part: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> str:
    """Rows of a result as the benchmark of that name prints them with ``--table``.

    A benchmark with several tables has functions of a record in ``TABLES``, by part.
    """
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"quoted_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # of the modules that benchmarks share
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    if part is None:
        text: str = module.table(found[name]["rows"])
    else:
        text = module.TABLES[part](record)
    return text


def _before(source: str, template: str) -> str | None:
    """The figures that a template stands behind, with the text of the template between them."""
    between = map(re.escape, _EXPRESSION.split(template))
    figures = re.compile(rf"{_NUMBER}(?: ± {_NUMBER})?".join(between) + r"\Z")
    match = figures.search(source, max(0, len(source) - _FAR))
    return match[0] if match else None


def _each(page: str, source: str, change: Callable[[str, str], str], *, keep: bool) -> str:
    """A source in which `change` has replaced all figures, given their text and their template."""

    def of_block(match: re.Match[str]) -> str:
        new = change(match["text"], match["template"])
        start, end = (place - match.start() for place in match.span("text"))
        return match[0][:start] + new + match[0][end:] if keep else new

    done, rest = "", _BEFORE.sub(of_block, source)
    while match := _AFTER.search(rest):
        done += rest[: match.start()]
        rest = rest[match.end() :]
        if done[-1:] in ("", "\n"):
            done += match[0]  # of a block, which is done
            continue
        text = _before(done, match["template"])
        in_table = done.rpartition("\n")[2].startswith("|")
        if text is None or (in_table and "|" in match["template"]):
            what = "no such figures before it" if text is None else "a bar, which ends the cell"
            message = f"{page}: {match[0]} has {what}"
            raise QuoteError(message)
        new = change(text, match["template"])
        done = done[: len(done) - len(text)] + new + (match[0] if keep else "")
    return done + rest


def filled(
    page: str, source: str, found: Mapping[str, Any] | None = None, *, keep: bool = True
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
        If a template asks for a key that no result has, or has no figures beside it.
    """
    found = results() if found is None else found
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.globals |= {**FUNCTIONS, **found, "table": partial(table, found=found)}

    def change(_text: str, template: str) -> str:
        try:
            return environment.from_string(template).render().strip()
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            message = f"{page} quotes {template}, but in benchmarks/results: {error!r}"
            raise QuoteError(message) from error

    new = _each(page, source, change, keep=keep)
    if left := _LEFT.search(plain(page, new)):
        message = f"{page}: {left[0]} is no template of one line after figures, or ends none"
        raise QuoteError(message)
    return new


def plain(page: str, source: str, *, instead: str | None = None) -> str:
    """The source without templates, and with `instead` in place of their figures."""
    return _each(page, source, lambda text, _: text if instead is None else instead, keep=False)


def pages() -> dict[str, Path]:
    """Pages that may quote results, by their path from the root."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {p.relative_to(ROOT).as_posix(): p for p in paths if "_build" not in p.parts}


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
        old_lines, new_lines = (text.splitlines(keepends=True) for text in (source, new))
        sys.stdout.writelines(difflib.unified_diff(old_lines, new_lines, name, "results", n=0))
        differ |= new != source
        if options.write and new != source:
            path.write_text(new, encoding="utf-8")
    return int(differ and not options.write)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""

    def read(app: Any, name: str, source: list[str]) -> None:
        new = filled(f"docs/{name}.md", source[0], keep=False)
        if new != source[0]:
            # Else a page is not read again if a result alone changes.
            for path in RESULTS.glob("*.json"):
                app.env.note_dependency(str(path))
        source[0] = new

    app.connect("source-read", read)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    sys.exit(main())
