"""List what became slower or less precise since the last release, by more than its error.

    python benchmarks/trend.py [--against VERSION] [--sigmas 1] [--runs FOLDER ...] [--json FILE]
    python benchmarks/trend.py --record VERSION --runs FOLDER FOLDER [FOLDER ...]

``FIGURES`` lists the keys of ``benchmarks/results`` that are compared, and whether more or less is
better.  Machines differ, so times are divided by a reference time of the same run.  The first
command compares the figures with those of the last release (``results/releases/VERSION.json``).  It
prints a table of what is worse by more than ``--sigmas`` standard errors of the difference, of what
vanished, and of what has no error; then one line of JSON.  Its exit status is 1 if anything is
worse or vanished.

The second command keeps the figures of a release.  If a result has no error, such as a time, the
error is the standard deviation over repeated runs of the same benchmark; their JSON lines are in
other folders (``--runs``) under the same names.  Make these runs on one machine that does nothing
else.  Without such runs a change of a time is listed, but not judged.  ``--quick`` compares the
last release with itself, made worse by five errors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from packaging.version import Version
from rich.console import Console
from rich.table import Table
from rich.text import Text

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """Which numbers of a result count.

    Parameters
    ----------
    file
        Name of the result.
    key
        Keys down to the number, separated by ``/``; ``*`` is every key of a level, and
        ``rows[head,size=20]`` every row of a list whose ``size`` is 20, named by its ``head``.
    better
        ``"higher"``, ``"lower"``, or the number that is best; a word in place of that is the key
        beside the figure that has it.
    error
        Keys beside the figure whose squares add up to that of its error; by default its own name
        with ``_error``.  Empty if runs have to be repeated.
    over
        What it is divided by: a key beside it, or one from the top of the result if that has a
        ``/``.
    """

    file: str
    key: str
    better: str | float = "higher"
    error: tuple[str, ...] | None = None
    over: str = ""


LEVELS = {"68": 0.6827, "95": 0.9545}
BY_RUNS: tuple[str, ...] = ()

FIGURES = (
    # Speed.
    *(Figure("training", f"ratio_{n}", error=BY_RUNS) for n in ("n1", "n50", "n250")),
    *(
        Figure("training", f"gemm_fraction_{n}", error=BY_RUNS)
        for n in ("n1", "n50", "n250", "joint")
    ),
    *(Figure("toys", f"ratio_{of}", error=BY_RUNS) for of in ("predict", "pyhf")),
    *(Figure("cost", key, error=BY_RUNS) for key in ("ratio_plain", "ratio_plain_many")),
    *(
        Figure("cost", f"several/*/*/{kind}_us", "lower", BY_RUNS, f"plain_{over}us")
        for kind, over in (("call", ""), ("grad", "grad_"))
    ),
    *(
        Figure("reading", f"{kind}/ratio_pylhe", error=BY_RUNS)
        for kind in ("own", "own_weights", "madgraph", "madgraph_weights", "gzip")
    ),
    Figure("reading", "ratio_pylhe_to_awkward", error=BY_RUNS),
    # There is no other reader of these: relative to pylhe, of the same run.
    Figure("reading", "features_per_s", error=BY_RUNS, over="own/pylhe_events_per_s"),
    Figure(
        "systematics",
        "speed/*/cost_and_gradient_us",
        "lower",
        BY_RUNS,
        "straightforward_value_us",
    ),
    Figure("evaluation", "network/ratio", error=BY_RUNS),
    Figure(
        "evaluation",
        "cold_start/fit/processor_s",
        "lower",
        BY_RUNS,
        "cold_start/import_of_tensorflow/processor_s",
    ),
    # Information, bias and scale.
    Figure("efficiency", "rows[problem,head,events_per_point]/info_ratio"),
    Figure("efficiency", "rows[problem,head,events_per_point]/response", 1.0),
    Figure("efficiency", "rows[problem,head,events_per_point]/bartlett_minus_reference", 0.0),
    Figure("heads", "rows[model,problem,seed]/info_over_exact"),
    Figure("many_operators", "rows/*/info_ratio"),
    Figure("many_operators", "rows/*/response_off", "lower", ("response_error",)),
    Figure("many_operators", "rows/*/one_square/info_ratio"),
    Figure("operators", "networks/methods/*/info_over_exact"),
    Figure("histograms", "rows/*/methods/*/info_over_network"),
    Figure("histograms", "rows/*/methods/*/response", 1.0),
    Figure("histograms_away", "rows/*/methods/*/info_over_network"),
    Figure("histograms_two_parameters", "two_parameters/*/places/*/*/info_over_exact"),
    Figure("systematics", "fits/*/learned/error_over_exact", "lower"),
    Figure("background", "rows[treatment]/info_eff"),
    Figure("background", "rows[treatment]/bias", 0.0),
    # Coverage.
    *(Figure("background", f"rows[treatment]/coverage{of}", LEVELS[of]) for of in LEVELS),
    Figure("systematics", "coverage/*/learned_68.27", LEVELS["68"], ("learned_error",)),
    *(
        Figure(
            "interval_coverage",
            f"rows[problem,model,method={method},point,cl]/coverage",
            "cl",
            ("error", "pool_error"),
        )
        for method in ("calibrated", "Neyman belt")
    ),
    Figure("retrained", "methods/*/*/mean", LEVELS["68"]),
    Figure("simulation_error", "problems/*/coverage/*/mean", LEVELS["68"], ("error",)),
    Figure("simulation_error", "pools/*/mean", LEVELS["68"], ("error",)),
    Figure(
        "combination", "rows[method,c1,efficiency]/coverage", LEVELS["68"], ("error", "pool_error")
    ),
    Figure("published_combination", "mean/*/coverage", LEVELS["68"], ("error",)),
    # How often tests of a fit see nothing where there is nothing, and something where it is.
    Figure("committee", "goodness_of_fit/as simulated/tests/*/below_5_percent", 0.05, ("error",)),
    Figure("committee", "goodness_of_fit_with_nuisances/tests/*/below_5_percent", 0.05, ("error",)),
    Figure("committee", "flat_azimuth/*/tests/all tests/below_5_percent", error=("error",)),
    *(
        Figure(
            "committee",
            f"goodness_of_fit/{data}/tests/all tests/below_5_percent",
            error=("error",),
        )
        for data in ("jet scale +2 %", "background 5 %")
    ),
)


class Measured(NamedTuple):
    """A figure of a result or a release; `error` is None if it is not known."""

    value: float
    error: float | None
    better: str | float = "higher"


class Change(NamedTuple):
    """A figure then and now; `worse` is in its own units, `sigmas` None without an error."""

    name: str
    then: Measured
    now: Measured
    worse: float
    sigmas: float | None


def walk(value: Any, steps: Sequence[str], name: str = "") -> Iterator[tuple[str, Any]]:
    """What holds each number of a key, by name: all steps but the last, which is the number's."""
    if len(steps) == 1:
        if isinstance(value, Mapping) and steps[0] in value:
            yield f"{name}/{steps[0]}", value
        return
    step, *rest = steps
    if step.endswith("]"):
        step, _, columns = step[:-1].partition("[")
        named = [column.partition("=") for column in columns.split(",")]
        for row in value.get(step, []):
            if all(not equal or str(row[key]) == wanted for key, equal, wanted in named):
                labels = ", ".join(
                    " ".join(f"{k}={v}" for k, v in row[key].items())
                    if isinstance(row[key], Mapping)
                    else str(row[key])
                    for key, _, _ in named
                )
                yield from walk(row, rest, f"{name}/{step}[{labels}]")
        return
    for key in [step] if step != "*" else list(value):
        if isinstance(value, Mapping) and key in value:
            yield from walk(value[key], rest, f"{name}/{key}")


def number(holder: Mapping[str, Any], key: str, name: str) -> float:
    """A number by keys separated by ``/``."""
    value: Any = holder
    try:
        for step in key.split("/"):
            value = value[step]
        return float(value)
    except (KeyError, TypeError, ValueError) as error:
        message = f"benchmarks/results: {name} needs the number {key!r}, which is not there"
        raise LookupError(message) from error


def measured(results: Mapping[str, Any]) -> dict[str, Measured]:
    """All figures that count, by name, of results by the names of their files."""
    found: dict[str, Measured] = {}
    for figure in FIGURES:
        record = results.get(figure.file, {})
        *_, last = steps = figure.key.split("/")
        for name, holder in walk(record, steps, figure.file):
            value = number(holder, last, name)
            if figure.over:
                value /= number(record if "/" in figure.over else holder, figure.over, name)
            keys = (f"{last}_error",) if figure.error is None else figure.error
            error = math.hypot(*(number(holder, key, name) for key in keys)) if keys else None
            best = figure.better
            if isinstance(best, str) and best not in ("higher", "lower"):
                best = number(holder, best, name)
            title = f"{name} / {figure.over.rpartition('/')[2]}" if figure.over else name
            found[title] = Measured(value, error, best)
    return found


def worse_by(then: float, now: float, better: str | float) -> float:
    """How much worse a figure is now, negative if it is better, in its own units."""
    if better == "higher":
        return then - now
    if better == "lower":
        return now - then
    assert not isinstance(better, str)
    return abs(now - better) - abs(then - better)


def changes(then: Mapping[str, Measured], now: Mapping[str, Measured]) -> list[Change]:
    """Figures that are in both, and differ.

    If a figure has an error in only one of them, this error is taken for both.
    """
    rows = []
    for name in then.keys() & now.keys():
        old, new = then[name], now[name]
        if old.value == new.value:
            continue
        worse = worse_by(old.value, new.value, new.better)
        errors = [e for e in (old.error, new.error) if e is not None]
        sigmas = None
        if errors:
            error = math.hypot(errors[0], errors[-1])
            sigmas = worse / error if error else math.copysign(math.inf, worse)
        rows.append(Change(name, old, new, worse, sigmas))
    return sorted(rows, key=lambda row: (-(row.sigmas or 0.0), row.name))


def compare(
    then: Mapping[str, Measured], now: Mapping[str, Measured], least: float
) -> dict[str, Any]:
    """What is worse by more than `least` errors, what vanished, and what cannot be compared."""
    rows = changes(then, now)

    def told(row: Change) -> dict[str, Any]:
        return {
            "figure": row.name,
            "then": row.then.value,
            "now": row.now.value,
            "better": row.now.better,
            "worse_by": row.worse,
        }

    return {
        "compared": len(then.keys() & now.keys()),
        "measured_again": len(rows),
        "worse": [
            # JSON has no infinity, of a figure without any scatter.
            told(row) | {"sigmas": min(row.sigmas, sys.float_info.max)}
            for row in rows
            if row.sigmas is not None and row.sigmas > least
        ],
        "without_error": [told(row) for row in rows if row.sigmas is None],
        "vanished": sorted(then.keys() - now.keys()),
        "new": sorted(now.keys() - then.keys()),
    }


def read(folder: Path) -> dict[str, Any]:
    """Results of a folder by the names of their files."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}


def releases(folder: Path = RESULTS / "releases") -> dict[str, Path]:
    """Files of all releases, the last one last."""
    files = {path.stem: path for path in folder.glob("*.json")}
    return {version: files[version] for version in sorted(files, key=Version)}


def of_release(path: Path) -> dict[str, Measured]:
    figures = json.loads(path.read_text("utf-8"))["figures"]
    return {
        name: Measured(row["value"], row["error"], row["better"]) for name, row in figures.items()
    }


def with_runs(
    figures: Mapping[str, Measured], runs: Sequence[Mapping[str, Measured]]
) -> dict[str, Measured]:
    """Figures, with the scatter of repeated runs as the error of those that have none.

    It is relative: the result itself may be of another machine, and counts as a run only if it is
    among them.
    """
    found = dict(figures)
    for name, figure in figures.items():
        values = [run[name].value for run in runs if name in run]
        if figure.error is None and len(values) > 1:
            scatter = statistics.stdev(values) / abs(statistics.mean(values))
            found[name] = figure._replace(error=scatter * abs(figure.value))
    return found


def record(version: str, figures: Mapping[str, Measured]) -> dict[str, Any]:
    """What is kept of a release."""
    return {
        "version": str(Version(version)),
        "recorded": date.today().isoformat(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "figures": {name: figure._asdict() for name, figure in figures.items()},
    }


def write(release: Mapping[str, Any], path: Path) -> None:
    """One line a figure, so that a difference of two releases can be read."""
    head = {key: value for key, value in release.items() if key != "figures"}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    rows = [
        f"    {json.dumps(name, ensure_ascii=False)}: {json.dumps(row)}"
        for name, row in release["figures"].items()
    ]
    text = ["{", *lines, '  "figures": {', ",\n".join(rows), "  }", "}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def show(found: Mapping[str, Any], version: str, least: float) -> None:
    """Print what to look at, on standard error: standard output is for JSON."""
    console = Console(stderr=True)
    for key, title in (("worse", "Worse"), ("without_error", "Changed, without an error (--runs)")):
        if not found[key]:
            continue
        table = Table("figure", version, "now", "best", title=title)
        if key == "worse":
            table.add_column("worse by, σ", justify="right")
        for row in found[key]:
            numbers = [f"{row[name]:.4g}" for name in ("then", "now")]
            sigmas = [f"{row['sigmas']:.1f}"] if key == "worse" else []
            # As text: brackets in a name are no markup.
            table.add_row(Text(row["figure"]), *numbers, str(row["better"]), *sigmas)
        console.print(table)
    for key, text in (
        ("vanished", f"{version} has it, and results do not"),
        ("new", f"not in {version}"),
    ):
        for name in found[key]:
            console.print(Text(f"{name}: {text}"))
    judged = found["measured_again"] - len(found["without_error"])
    chance = statistics.NormalDist().cdf(-least) * judged
    console.print(
        Text(
            f"{found['compared']} figures compared with {version}. {judged} were measured again "
            f"and have errors: {len(found['worse'])} are worse by more than {least:g} σ "
            f"(by chance: {chance:.0f})."
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument(
        "--against", metavar="VERSION", help="release to compare with; default: the last one"
    )
    parser.add_argument(
        "--sigmas",
        type=float,
        default=1.0,
        help="list what is worse by more than this many standard errors",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the JSON line to this file"
    )
    parser.add_argument(
        "--record", metavar="VERSION", help="keep the present figures as those of this release"
    )
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="folders of repeated runs")
    parser.add_argument(
        "--quick", action="store_true", help="made-up figures, only to see that the command runs"
    )
    options = parser.parse_args(arguments)
    kept = releases()
    now = with_runs(measured(read(options.results)), [measured(read(f)) for f in options.runs])
    if options.record:
        version = str(Version(options.record))
        if version in kept:
            parser.error(f"the figures of {version} are kept already: {kept[version]}")
        release = record(version, now)
        write(release, RESULTS / "releases" / f"{version}.json")
        print(json.dumps(release))
        return 0
    if not kept:
        parser.error("no release is kept; --record VERSION keeps one")
    version = options.against or list(kept)[-1]
    if version not in kept:
        parser.error(f"{version} is not kept; there are {', '.join(kept)}")
    then = of_release(kept[version])
    if options.quick:
        now = made_worse(then, 5.0)
    found = {"release": version, "sigmas": options.sigmas, **compare(then, now, options.sigmas)}
    show(found, version, options.sigmas)
    text = json.dumps(found)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return int(bool(found["worse"] or found["vanished"]))


def made_worse(figures: Mapping[str, Measured], sigmas: float) -> dict[str, Measured]:
    """Each figure worse by so many errors of a difference; without an error as it is."""
    changed = {}
    for name, (value, error, better) in figures.items():
        step = sigmas * math.sqrt(2) * (error or 0.0)
        up = better == "lower" or (not isinstance(better, str) and value >= better)
        changed[name] = Measured(value + step if up else value - step, error, better)
    return changed


if __name__ == "__main__":
    sys.exit(main())
