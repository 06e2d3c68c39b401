"""Run the demo with several seeds: do its intervals contain the truth as often as they claim?

    python benchmarks/demo_seeds.py --seeds 10 --json benchmarks/results/demo_seeds.json
    python benchmarks/demo_seeds.py --seeds 8 --first-seed 101 --events 2500 --pool-events 20000 \\
        --toys 300 --golden tests/golden/demo.json
    python benchmarks/demo_seeds.py --quick

The second command writes the mean and the standard deviation over seeds of each figure to
``--golden``.  The third command runs the analysis of the demo in this process, without its files
and with a tiny size.  For some seeds a method may be missing or not calibrated (``not_available``
and ``problems`` in the summary); means are then over the other seeds.

The last line on standard output is one line of JSON.  It has how often the 68.27 % and 95.45 %
intervals of each method contained the truth, the mean of the coverages measured on toys, and in
``rows`` the figures of each seed.  ``--json`` writes the result after every seed; ``--table``
prints the rows of a result as Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from quick_size import parse, small

GOLDEN = ("estimate", "info_eff", "response", "c_cicc", "coverage68", "coverage95")


SIZES = ("events", "data_events", "pool_events", "truth", "toys")
QUICK = {"seeds": 1, "events": 1000, "data_events": 200, "pool_events": 4000, "toys": 100}


def demo_arguments(folder: Path, seed: int, sizes: Mapping[str, float]) -> list[str]:
    """What to write behind ``milinfer demo``."""
    arguments = ["--out", str(folder / "d"), "--json", str(folder / "s.json"), "--seed", str(seed)]
    for name, value in sizes.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def run(seed: int, sizes: Mapping[str, float]) -> dict:
    """Run the command, and return its summary."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = demo_arguments(folder, seed, sizes)
        subprocess.run(
            [sys.executable, "-m", "milinfer", "demo", *arguments], check=True, stdout=sys.stderr
        )
        return json.loads((folder / "s.json").read_text(encoding="utf-8"))


def run_here(seed: int, sizes: Mapping[str, float]) -> dict:
    """What the demo does between its files and its report, with one network."""
    import milinfer as mil
    from milinfer.datasets import vbf_hww
    from milinfer.workflow.analysis import analyse
    from milinfer.workflow.analysis_settings import Analysis

    truth = sizes["truth"]
    around = (truth - 0.3, truth, truth + 0.3)
    generated = {
        "train": (sizes["events"], (-1.0, -0.5, 0.0, 0.5, 1.0)),
        "calibration": (sizes["pool_events"], around),
        "evaluation": (sizes["pool_events"], around),
        "data": (sizes["data_events"], (truth,)),
    }
    samples = {
        name: vbf_hww.samples(int(n), points, seed=10 * seed + k, features="vbf_2l2j")
        for k, (name, (n, points)) in enumerate(generated.items())
    }
    network = mil.BagLikelihood(head="polynomial", labels="joint", seed=seed)
    model = small(network, quick=True, learns=True).fit(samples["train"])
    result = analyse(
        Analysis(
            models=(model,),
            data=samples["data"][0].as_data(),
            templates=samples["train"],
            calibration=samples["calibration"],
            evaluation=samples["evaluation"],
            truth=truth,
            simulated=True,
            second_observable=None,
            weight_degree=4,
            calibrate_at=around,
            cover_at=around,
            oracle_pool=samples["calibration"],
            n_toys=int(sizes["toys"]),
            seed=seed,
            bins=5,
        )
    )
    return result.summary()


def inside(interval: list[float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def methods(results: list[dict]) -> list[str]:
    names = [k for r in results for k, v in r.items() if isinstance(v, dict) and "coverage68" in v]
    return [name for name in dict.fromkeys(names) if having(results, name)]


def having(results: list[dict], method: str) -> list[dict]:
    lacks = ("not calibrated", "no interval")
    return [
        r
        for r in results
        if method in r and not any(p.startswith(lacks) for p in r[method].get("problems", ()))
    ]


def half_width(figures: dict) -> float:
    low, high = figures["interval68"]
    return (high - low) / 2


def mean(results: list[dict], method: str, key: str) -> float:
    return statistics.mean(r[method][key] for r in having(results, method))


def summary(results: list[dict]) -> dict[str, dict]:
    return {
        m: {
            "n": len(having(results, m)),
            "inside68": sum(inside(r[m]["interval68"], r["truth"]) for r in having(results, m)),
            "inside95": sum(inside(r[m]["interval95"], r["truth"]) for r in having(results, m)),
            "mean_coverage68": mean(results, m, "coverage68"),
            "mean_coverage95": mean(results, m, "coverage95"),
            "mean_info_eff": mean(results, m, "info_eff"),
            "mean_half_width68": statistics.mean(half_width(r[m]) for r in having(results, m)),
        }
        for m in methods(results)
    }


def golden(results: list[dict]) -> dict[str, dict]:
    """Mean and standard deviation of every figure of every method."""
    found: dict[str, dict] = {}
    for m in methods(results):
        there = having(results, m)
        if len(there) < 2:  # no deviation
            continue
        columns = {key: [r[m][key] for r in there if r[m][key] is not None] for key in GOLDEN}
        columns["half_width68"] = [half_width(r[m]) for r in there]
        found[m] = {
            key: [round(statistics.mean(v), 6), round(statistics.stdev(v), 6)]
            for key, v in columns.items()
            if len(v) > 1
        } | {"n_seeds": len(there)}
    return found


def rows(results: list[dict]) -> list[dict]:
    """Figures of each seed and method."""
    kept = ("estimate", "interval68", "info_eff", "info_eff_error", "response")
    kept += ("c_cicc", "c_cicc_error", "coverage68", "coverage68_error")
    kept += ("coverage68_pool_error",)
    return [
        {"seed": r["provenance"]["seed"], "method": m}
        | {key: r[m].get(key) for key in kept}
        | {"half_width68": half_width(r[m])}
        | {f"inside{cl}": inside(r[m][f"interval{cl}"], r["truth"]) for cl in (68, 95)}
        for r in results
        for m in methods([r])
    ]


def coverage(row: Mapping[str, float | None]) -> str:
    """Coverage with the error from the toys and, if it is known, that from their pool of events."""
    text = f"{row['coverage68']:.1%} ± {row['coverage68_error']:.1%}"
    pool = row.get("coverage68_pool_error")
    return text if pool is None else f"{text} ± {pool:.1%}"


def table(rows: list[dict]) -> str:
    columns = (
        "seed",
        "method",
        "estimate",
        "68.27 % interval",
        "truth inside 68 / 95 %",
        "I_eff",
        "response",
        "c_cicc",
        "coverage on toys (68.27 %)",
    )
    lines = ["| " + " | ".join(columns) + " |", "| ---: | --- |" + " ---: |" * 7]
    for r in rows:
        low, high = r["interval68"]
        # None of a method that stays as it is.
        uncalibrated = r["c_cicc"] is None
        scale = "—" if uncalibrated else f"{r['c_cicc']:.2f} ± {r['c_cicc_error']:.2f}"
        marks = " / ".join("yes" if r[k] else "no" for k in ("inside68", "inside95"))
        lines.append(
            f"| {r['seed']} | {r['method']} | {r['estimate']:+.3f} "
            f"| [{low:+.3f}, {high:+.3f}] | {marks} "
            f"| {r['info_eff']:.0f} ± {r['info_eff_error']:.0f} | {r['response']:.2f} "
            f"| {scale} "
            f"| {coverage(r)} |"
        )
    return "\n".join(lines)


def figures(results: list[dict], options: argparse.Namespace, seconds: list[float]) -> dict:
    """What is printed."""
    return {
        "n_seeds": len(results),
        "first_seed": options.first_seed,
        **{name: getattr(options, name) for name in SIZES},
        **summary(results),
        "rows": rows(results),
        "mean_seconds": statistics.mean(seconds),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=1, help="first of the seeds")
    parser.add_argument(
        "--events", type=int, default=10_000, help="training events at each parameter point"
    )
    parser.add_argument("--data-events", type=int, default=1_000, help="events in a dataset or toy")
    parser.add_argument(
        "--pool-events",
        type=int,
        default=40_000,
        help="events at each true value from which toys are drawn",
    )
    parser.add_argument("--toys", type=int, default=2_000, help="number of toys at each true value")
    parser.add_argument("--truth", type=float, default=0.0, help="true value of c_HW")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the result to this file after each seed"
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="print a table of the result in this file, and stop",
    )
    parser.add_argument(
        "--golden",
        type=Path,
        default=None,
        help="write mean and standard deviation over seeds of every figure to this file",
    )
    options = parse(parser, QUICK, arguments)
    if options.table:
        print(table(json.loads(options.table.read_text(encoding="utf-8"))["rows"]))
        return
    results, seconds = [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        sizes = {name: getattr(options, name) for name in SIZES}
        start = time.perf_counter()
        results.append((run_here if options.quick else run)(seed, sizes))
        seconds.append(time.perf_counter() - start)
        record = figures(results, options, seconds)
        if options.json is not None:
            options.json.write_text(json.dumps(record) + "\n", encoding="utf-8")
    if options.golden is not None:
        content = {key: record[key] for key in ("n_seeds", "first_seed", *SIZES)}
        content["mean_and_deviation"] = golden(results)
        options.golden.parent.mkdir(parents=True, exist_ok=True)
        options.golden.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
