"""What all studies have in common: the command line, the result as JSON, figures and the page.

A study is a module with six functions, which it hands to :func:`run`:

``study(size, seed)``
    does the work and returns figures as plain numbers and lists;
``check(results)``
    raises :class:`StudyError` where a statement does not hold that is true of every size; tests
    call it on the quick size, run afresh, and on the committed result of the full one;
``conclusions(results)``
    the same for what the page concludes from the full size, a requirement or more for each bullet;
    tests reverse the main results of a copy of the JSON, and see it refused;
``settings(size)``
    all numbers, names and defaults of milinfer's classes that determine the results of a size.  A
    record keeps them, and a test finds a page that was made with others;
``tables(results)``
    Markdown;
``figures(results)``
    a :class:`matplotlib.figure.Figure` for each name.

The last two see nothing but the results, so a page, ``docs/studies/NAME.md``, is redrawn from its
JSON without a new run::

    python -m studies.PACKAGE.NAME --size full --out DIR   # DIR/NAME-full.json and figures
    python -m studies.PACKAGE.NAME --page RESULT.json      # figures, and block of the page
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from milinfer.workflow.html_report import laid_out

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "studies"
RESULTS = ROOT / "studies" / "results"
SIZES = ("quick", "full")
_PACKAGES = ("milinfer", "numpy", "tensorflow", "keras", "scikit-learn", "xgboost-cpu", "optuna")
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


class StudyError(AssertionError):
    """A statement of the page does not hold for these results."""


def require(statement: bool, message: str) -> None:
    """Raise :class:`StudyError` unless a statement of the page holds."""
    if not statement:
        raise StudyError(message)


def no_quotes(results: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG001
    """Of a page whose prose has no number that its tables lack."""
    return ()


class Study(NamedTuple):
    """The six functions; see the module.

    `quotes` are pieces of the prose under the tables, made of the results: a test finds each of
    them there, and no decimal number that is neither in one nor in the tables.
    Raise `version` when the results of the same settings change, because the study or something in
    milinfer computes them otherwise: the record has that which it was made by.
    `needs` is an environment variable with the folder of public files that a study reads and the
    package does not have; without it the study does not run.
    """

    name: str
    study: Callable[[str, int], dict[str, Any]]
    check: Callable[[Mapping[str, Any]], None]
    conclusions: Callable[[Mapping[str, Any]], None]
    settings: Callable[[str], Mapping[str, Any]]
    tables: Callable[[Mapping[str, Any]], str]
    figures: Callable[[Mapping[str, Any]], dict[str, Figure]]
    needs: str = ""
    version: int = 1
    quotes: Callable[[Mapping[str, Any]], Sequence[str]] = no_quotes


def modules() -> dict[str, str]:
    """Modules of all studies by the names of these."""
    return {
        path.stem: f"studies.{path.parent.name}.{path.stem}"
        for path in sorted((ROOT / "studies").glob("*/*.py"))
        if "STUDY = Study(" in path.read_text(encoding="utf-8") and path != Path(__file__)
    }


def load(name: str) -> Study:
    """A study by its name."""
    study: Study = importlib.import_module(modules()[name]).STUDY
    return study


def hold(study: Study, record: Mapping[str, Any]) -> None:
    """Raise :class:`StudyError` unless all that the page says holds of a result."""
    study.check(record["results"])
    if record["size"] == "full":
        study.conclusions(record["results"])


_SPEED = ("workers", "folder")  # settings on which no result depends


def plain(value: Any) -> Any:
    """Settings as JSON has them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if k not in _SPEED}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def older(study: Study, record: Mapping[str, Any]) -> str:
    """What a record was made with that is otherwise today; empty if it is up to date."""
    if record["version"] != study.version:
        return (
            f"the result is from version {record['version']} of the study, and the code has "
            f"version {study.version}"
        )
    differ = changed(record["settings"], plain(study.settings(record["size"])))
    return f"these settings have changed: {'; '.join(differ)}" if differ else ""


def changed(then: Any, now: Any, name: str = "") -> list[str]:
    """What differs in settings of a record from those of today, by name.

    A setting that the record lacks has been added since, with a default that leaves results as
    they were; if it does not, the version of the study has to be raised.
    """
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            line
            for key, value in then.items()
            for line in (
                changed(value, now[key], f"{name}, {key}".lstrip(", "))
                if key in now
                else [f"{name}, {key}".lstrip(", ")]
            )
        ]
    return [] if then == now else [name]


def markdown(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        "| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines
    )


def pair(value: float, error: float, digits: int = 3) -> str:
    """A value with its error."""
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def command(name: str, size: str, seed: int) -> str:
    """What to type in the root of the repository to run a study."""
    places = list((ROOT / "studies").glob(f"*/{name}.py"))
    if len(places) != 1:
        msg = f"{len(places)} modules in the packages of studies/ are called {name}; give it one"
        raise StudyError(msg)
    return f"python -m studies.{places[0].parent.name}.{name} --size {size} --seed {seed}"


def execute(study: Study, size: str, seed: int) -> dict[str, Any]:
    """Run a study: its results with command, time and versions."""
    if study.needs and not os.environ.get(study.needs):
        msg = f"{study.name} reads public files; set the variable {study.needs} to their folder"
        raise StudyError(msg)
    began, worked = time.perf_counter(), _processor_seconds()
    results = study.study(size, seed)
    return {
        "study": study.name,
        "command": command(study.name, size, seed),
        "size": size,
        "seed": seed,
        "version": study.version,
        "settings": plain(study.settings(size)),
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(_processor_seconds() - worked, 1),
        "versions": _versions(),
        "results": results,
    }


def committed(name: str) -> dict[str, Any]:
    """Result that a page is made from: of the full size, or of the quick one until there is one."""
    files = [RESULTS / f"{name}-{size}.json" for size in reversed(SIZES)]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        msg = f"{name} has no result in {RESULTS.name}; run it, and put its JSON file there"
        raise StudyError(msg)
    record: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return record


def closing(name: str) -> str:
    """Prose under the block of a page, its lines joined."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    return " ".join(text.partition(_END)[2].split())


def block(study: Study, record: Mapping[str, Any]) -> str:
    """The part of a page that comes from a result."""
    # Of the processor, which other work on the machine does not lengthen.
    seconds = record["processor_seconds"]
    taken = f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
    # As a study is run today, whatever it was called when it made the record.
    how = command(record["study"], record["size"], record["seed"])
    lines = [f"`{how}` (seed {record['seed']}, {taken} of processor time)", ""]
    if older(study, record):
        lines += [f"**Older than the code:** {older(study, record)}. Run the study again.", ""]
    lines += [study.tables(record["results"]).strip(), ""]
    for title in study.figures(record["results"]):
        lines += [f"![{title}](../figures/studies/{_file(study, title)})", ""]
    return "\n".join(lines)


def page(study: Study, record: Mapping[str, Any]) -> str:
    """The page with its block renewed."""
    text = (PAGES / f"{study.name}.md").read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        msg = f"docs/studies/{study.name}.md lacks {_BEGIN} or {_END}; add both"
        raise StudyError(msg)
    return f"{before}{begin}\n{block(study, record)}{end}{after}"


def run(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Command line of a study."""
    about = (sys.modules["__main__"].__doc__ or study.name).partition("\n")[0]
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder for the JSON file and the figures"
    )
    parser.add_argument(
        "--page", type=Path, metavar="JSON", help="update the page from this result, and stop"
    )
    options = parser.parse_args(arguments)
    if options.page:
        record = json.loads(options.page.read_text(encoding="utf-8"))
        _draw(study, record, ROOT / "docs" / "figures" / "studies")
        (PAGES / f"{study.name}.md").write_text(page(study, record), encoding="utf-8")
        return
    record = execute(study, options.size, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, allow_nan=False)
    target = options.out / f"{study.name}-{options.size}.json"
    target.write_text(text + "\n", encoding="utf-8")
    _draw(study, record, options.out)
    print(study.tables(record["results"]), file=sys.stderr)
    print(json.dumps(record, allow_nan=False))
    hold(study, record)


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def _draw(study: Study, record: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Without a date and without random ids the same results give the same file.
    with mpl.rc_context({"svg.hashsalt": study.name}):
        for title, figure in study.figures(record["results"]).items():
            with laid_out(figure):
                figure.savefig(folder / _file(study, title), metadata={"Date": None})


def _file(study: Study, title: str) -> str:
    return f"{study.name}-{title.replace(' ', '-')}.svg"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
