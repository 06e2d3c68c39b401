"""Compare milinfer with other packages on the same events.

milinfer writes events, features, splits and toys as plain arrays (``peers/data.py``).  For each
package a script reads them, trains with the settings that the authors of the package recommend, and
writes log-ratios of all events (``peers/peer_*.py``).  milinfer then evaluates all packages in the
same way (``peers/figures.py``).  Each package needs its own environment, which ``nox -s peers``
makes.

python benchmarks/compare_peers.py [--peer NAME ...] [--python NAME=PATH ...] [--work FOLDER]
                                   [--json FILE] [--keep] [--quick]

``--peer`` chooses packages.  ``--python madminer=PATH`` gives the interpreter of the environment of
a package; without it the package is looked for in this environment.  The result lists packages that
are not found as not measured.  ``--keep`` uses tables that are already in ``--work``.  The last
line on standard output is one line of JSON.  docs/comparison.md quotes the tables
(``python docs/quoted.py --write``).

Every package runs in a process of its own, with the same number of threads (``--threads``).  Times
are seconds of processor time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quick_size import parse

from milinfer.exceptions import MilinferWarning

HERE = Path(__file__).parent / "peers"
PROBLEMS = ("quadratic", "vbf_hww")
TASKS = ("moons", "corner", "means")
PEERS = ("milinfer", "madminer", "sbi", "xgboost", "pyhf", "hepstats", "torchmil", "mikit")
QUICK: dict[str, Any] = {
    "peer": ["milinfer", "xgboost", "pyhf"],
    "problems": ["quadratic"],
    "tasks": ["moons"],
    "seeds": [0],
    "methods": [
        *("polynomial head, joint labels", "BagClassifier and BagRegressor", "asymptotic interval"),
        *("trees, a class a point", "pyhf, bins of a score", "cabinetry, bins of a score"),
    ],
}
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


class Peer:
    """The script of a package, and the interpreter that runs it."""

    def __init__(self, name: str, python: str | None, threads: int, here: bool) -> None:
        self.name = name
        self._script = HERE / f"peer_{name}.py"
        self._python = python or sys.executable
        self._environment = os.environ | dict.fromkeys(THREADS, str(threads))
        if python is not None:
            # It is another environment: what this one adds to the path is not meant for it.
            self._environment.pop("PYTHONPATH", None)
        self._here = here and python is None

    def run(self, *arguments: object) -> str:
        """Standard output of the script; raises with its messages if it fails."""
        texts = list(map(str, arguments))
        if self._here:
            return _in_this_process(self._script, texts)
        command = [self._python, str(self._script), *texts]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"it ended with {done.returncode}")
        return done.stdout


def _in_this_process(script: Path, arguments: Sequence[str]) -> str:
    """As the command, but without importing everything again: for the quick size."""
    from contextlib import redirect_stdout
    from io import StringIO

    before, path = sys.argv, list(sys.path)
    output = StringIO()
    sys.argv, sys.path[:0] = [str(script), *arguments], [str(HERE)]
    try:
        with redirect_stdout(output):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before, path
    return output.getvalue()


def _recorded(
    peer: Peer, method: str, folder: Path, out: Path, seed: int, options: argparse.Namespace
) -> tuple[dict[str, Any], Path]:
    """Record and table of a method on a problem, made now or kept from an earlier run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    record, table = out.with_suffix(".json"), out.with_suffix(".npz")
    if not (options.keep and record.exists() and table.exists()):
        print(f"{peer.name}: {method}, {folder.name}", file=sys.stderr, flush=True)
        quick = ["--quick"] if options.quick else []
        peer.run("--folder", folder, "--out", out, "--method", method, "--seed", seed, *quick)
    return json.loads(record.read_text(encoding="utf-8")), table


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def measure(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run all packages and collect their figures."""
    from peers import data, figures

    arrays, tables = work / "arrays", work / "tables"
    bags = [(task, seed) for task in options.tasks for seed in options.seeds]
    data.write(arrays, options.problems, bags, quick=options.quick, keep=options.keep)
    pythons = dict(item.split("=", 1) for item in options.python)
    not_measured = {name: "not chosen" for name in PEERS if name not in options.peer}
    versions: dict[str, dict[str, str]] = {}
    records: dict[str, dict[str, tuple[dict[str, Any], Path]]] = {p: {} for p in options.problems}
    owner: dict[str, str] = {}
    runs: dict[tuple[str, str], list[Any]] = {}
    intervals: list[dict[str, Any]] = []
    for name in options.peer:
        peer = Peer(name, pythons.get(name), options.threads, here=options.quick)
        try:
            listed = json.loads(peer.run("--list").splitlines()[-1])
        except (RuntimeError, ImportError, OSError) as error:
            not_measured[name] = str(error)
            continue
        versions[name] = listed["versions"]
        chosen = {kind: [] for kind in ("methods", "bag_methods", "interval_methods")}
        for kind, methods in chosen.items():
            for method in listed[kind]:
                if not options.methods or method in options.methods:
                    methods.append(method)
                else:
                    not_measured[f"{name}: {method}"] = "not chosen"
        for method in chosen["methods"]:
            owner[method] = name
            for problem in options.problems:
                out = tables / problem / _slug(method)
                try:
                    records[problem][method] = _recorded(
                        peer, method, arrays / problem, out, 1, options
                    )
                except RuntimeError as error:
                    not_measured[f"{name}: {method}, {problem}"] = str(error)
        for method in chosen["bag_methods"]:
            owner[method] = name
            for task, seed in bags:
                folder = arrays / "bags" / f"{task}-{seed}"
                out = tables / f"bags-{task}-{seed}" / _slug(method)
                try:
                    record, table = _recorded(peer, method, folder, out, seed, options)
                except RuntimeError as error:
                    not_measured[f"{name}: {method}, {task}, seed {seed}"] = str(error)
                    continue
                runs.setdefault((task, method), []).append((folder, record, table))
        for method in chosen["interval_methods"]:
            out = tables / "intervals" / _slug(method + name)
            try:
                record, table = _recorded(peer, method, arrays / "intervals", out, 1, options)
            except RuntimeError as error:
                not_measured[f"{name}: {method}"] = str(error)
                continue
            intervals.append(
                figures.interval_row(method, arrays / "intervals", record, table) | {"peer": name}
            )
    sizes = figures.QUICK if options.quick else figures.Sizes()
    rows = [
        row | {"peer": owner.get(row["method"], "")}
        for problem in options.problems
        if records[problem]  # packages for labelled bags alone have no methods for these
        for row in figures.problem_rows(arrays / problem, records[problem], sizes)
    ]
    return {
        "benchmark": "peers",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": {"processor": processor(), "threads": options.threads},
        "versions": versions,
        "data": vars(data.QUICK if options.quick else data.Sizes()),
        "toys": {"evaluation": sizes.toys, "calibration": sizes.tuning_toys},
        "evaluate_at": list(sizes.evaluate_at),
        "rows": rows,
        "bags": [
            figures.bag_row(task, method, of) | {"peer": owner[method]}
            for (task, method), of in runs.items()
        ],
        "intervals": intervals,
        "not_measured": not_measured,
    }


def processor() -> str:
    """Name of the processor."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cells(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _title(row: Mapping[str, Any]) -> str:
    """Package and method; the exact ratio belongs to no package."""
    peer, method = row["peer"], row["method"].replace("a class a point", "a class for each point")
    if peer == "pyhf":  # its script measures two packages, whose names its methods begin with
        peer, method = method.split(", ", 1)
    return f"{peer}: {method}" if peer else method


def _pair(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.3f} ± {row[key + '_error']:.3f}"


def _range(covered: Mapping[str, list[float]]) -> str:
    """Lowest and highest coverage of all truths in per cent."""
    low, high = (100 * f(covered["coverage"]) for f in (min, max))
    return f"{low:.1f}–{high:.1f}"


def _likelihoods(record: Mapping[str, Any]) -> str:
    header = ("problem", "method", "I_eff over the bound", "response", "coverage as trained, %",
              "calibrated, %")  # fmt: skip
    rows = [
        [
            row["problem"],
            _title(row),
            _pair(row, "info_over_bound"),
            _pair(row, "response"),
            _range(row["as_trained"]),
            _range(row["calibrated"]) if "calibrated" in row else
            ("not possible" if "not_calibrated" in row else "—"),
        ]
        for row in record["rows"]
    ]  # fmt: skip
    return _cells(header, rows)


def _times(record: Mapping[str, Any]) -> str:
    header = ("problem", "method", "training, s", "evaluation, µs per event", "datasets per s",
              "toys per s from the table", "memory, MB")  # fmt: skip
    rows = [
        [
            row["problem"],
            _title(row),
            f"{row['train_cpu_s']:.0f}",
            f"{row['evaluate_cpu_us_per_event']:.1f}",
            f"{1000 / row['dataset_cpu_ms']:.3g}",
            f"{row['toys_per_s']:.0f}",
            f"{row['peak_mb']:.0f}",
        ]
        for row in record["rows"]
        if row["peer"]
    ]
    return _cells(header, rows)


def _bags(record: Mapping[str, Any]) -> str:
    header = ("task", "method", "accuracy or R²", "log loss or squared error", "training, s",
              "prediction, µs per bag", "memory, MB")  # fmt: skip
    rows = [
        [
            row["task"],
            _title(row),
            _pair(row, "score") if "score_error" in row else f"{row['score']:.3f}",
            f"{row['loss']:.4f}",
            f"{row['train_cpu_s']:.0f}",
            f"{row['evaluate_cpu_us_per_bag']:.0f}",
            f"{row['peak_mb']:.0f}",
        ]
        for row in record["bags"]
    ]
    return _cells(header, rows)


def _intervals(record: Mapping[str, Any]) -> str:
    header = ("package", "method", "coverage, %", "mean width", "preparation, s",
              "ms per interval")  # fmt: skip
    rows = [
        [
            row["peer"],
            row["method"],
            f"{100 * row['coverage']:.1f} ± {100 * row['coverage_error']:.1f}",
            f"{row['width']:.3f}",
            f"{row['train_cpu_s']:.1f}",
            f"{row['interval_cpu_ms']:.1f}",
        ]
        for row in record["intervals"]
    ]
    return _cells(header, rows)


def _made(record: Mapping[str, Any]) -> str:
    """When, on what, and how many events."""
    data, toys = record["data"], record["toys"]
    missing = record["not_measured"]
    covered = [
        row[key] for row in record["rows"] for key in ("as_trained", "calibrated") if key in row
    ]
    # Of a coverage near that which is claimed.
    errors = [
        (error**2 + pool**2) ** 0.5
        for c in covered
        for value, error, pool in zip(c["coverage"], c["error"], c["pool_error"], strict=True)
        if 0.6 < value < 0.75
    ]
    return (
        f"Measured on {record['date']} on one core of {record['machine']['processor']}, with "
        f"{data['train']} training events at each of {data['points']} points, pools of "
        f"{data['pool']} events for calibration and for evaluation, and {toys['evaluation']} toys "
        f"of 1000 events at each of {len(record['evaluate_at'])} true values. Coverages near the "
        f"claimed one have errors of {100 * min(errors):.1f} to {100 * max(errors):.1f} %, from "
        "the finite numbers of toys and of events in the pools. "
        + (
            "Not measured: " + "; ".join(f"{k} ({v})" for k, v in missing.items()) + "."
            if missing
            else "No package was left out."
        )
    )


def _settings(record: Mapping[str, Any]) -> str:
    """Settings of each method, where they are recommended, and versions."""
    lines = {}
    for row in [*record["rows"], *record["bags"], *record["intervals"]]:
        if not row["peer"]:
            continue
        versions = ", ".join(
            f"{name} {v}" for name, v in row["versions"].items() if name not in ("python", "numpy")
        )
        source = f" Source: {row['source']}." if "source" in row else ""
        lines[row["peer"], row["method"]] = (
            f"- **{_title(row)}** ({versions}): {row['settings'].rstrip('.')}.{source}"
        )
    return "\n".join(lines.values())


TABLES = {
    "made": _made,
    "likelihoods": _likelihoods,
    "times": _times,
    "bags": _bags,
    "intervals": _intervals,
    "settings": _settings,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--python", nargs="+", metavar="NAME=PATH", default=[])
    parser.add_argument("--problems", nargs="*", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        help="seeds of the tasks with labelled bags",
    )
    parser.add_argument(
        "--methods", nargs="+", default=[], help="methods of the packages; default: all"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of each package")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="folder for arrays and tables")
    parser.add_argument("--keep", action="store_true", help="use tables that are already in --work")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the result to this file"
    )
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    if options.work is None:
        with tempfile.TemporaryDirectory() as folder:
            record = measure(Path(folder), options)
    else:
        record = measure(options.work, options)
    for name, reason in record["not_measured"].items():
        print(f"not measured: {name} ({reason})", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
