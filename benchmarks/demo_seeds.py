"""Run the demo over several seeds: do its intervals contain the truth as often as they claim?

    python benchmarks/demo_seeds.py --seeds 10 --table docs/demo_seeds.md
    python benchmarks/demo_seeds.py --seeds 8 --first-seed 101 --events 2500 --toys 300 \\
        --golden demo.json
    python benchmarks/demo_seeds.py --quick

The second line keeps the mean and the standard deviation over seeds of each figure; the third does
what the demo does after its files, in this process and at a size that it does not have.  A method
that a seed has not, or not calibrated (see ``not_available`` and ``problems`` of its summary),
counts where it is there.

Prints one JSON line last: how often the 68.27 % and 95.45 % interval of each method contained the
truth, and the mean of the coverages measured on toys.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from quick_size import parse, small

GOLDEN = ("estimate", "info_eff", "response", "c_cicc", "coverage68", "coverage95")


QUICK = {"seeds": 1, "events": 1000, "toys": 100}


def demo_arguments(folder: Path, seed: int, events: int, truth: float, toys: int) -> list[str]:
    """What to write behind ``milinfer demo``."""
    arguments = ["--out", str(folder / "d"), "--json", str(folder / "s.json"), "--seed", str(seed)]
    return [*arguments, "--events", str(events), "--truth", str(truth), "--toys", str(toys)]


def run(seed: int, events: int, truth: float, toys: int) -> dict:
    """Run the command, and return its summary."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = demo_arguments(folder, seed, events, truth, toys)
        subprocess.run(
            [sys.executable, "-m", "milinfer", "demo", *arguments], check=True, stdout=sys.stderr
        )
        return json.loads((folder / "s.json").read_text(encoding="utf-8"))


def run_here(seed: int, events: int, truth: float, toys: int) -> dict:
    """What the demo does between its files and its report, with one network."""
    import milinfer as mil
    from milinfer.datasets import vbf_hww
    from milinfer.workflow.analysis import analyse
    from milinfer.workflow.analysis_settings import Analysis

    around = (truth - 0.3, truth, truth + 0.3)
    sizes = {
        "train": (events, (-1.0, -0.5, 0.0, 0.5, 1.0)),
        "calibration": (4_000, around),
        "evaluation": (4_000, around),
        "data": (200, (truth,)),
    }
    samples = {
        name: vbf_hww.samples(n, points, seed=10 * seed + k, features="vbf_2l2j")
        for k, (name, (n, points)) in enumerate(sizes.items())
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
            n_toys=toys,
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


def summary_table(results: list[dict]) -> str:
    lines = [
        (
            "| method | truth in 68.27 % interval | truth in 95.45 % interval "
            "| coverage on toys (68.27 %) | coverage on toys (95.45 %) | half width | I_eff |"
        ),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {m} | {f['inside68']} of {f['n']} | {f['inside95']} of {f['n']} "
        f"| {f['mean_coverage68']:.1%} | {f['mean_coverage95']:.1%} "
        f"| {f['mean_half_width68']:.3f} | {f['mean_info_eff']:.0f} |"
        for m, f in summary(results).items()
    ]
    return "\n".join(lines) + "\n"


def table(results: list[dict]) -> str:
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
    for r in results:
        for m in methods([r]):
            f = r[m]
            low, high = f["interval68"]
            # None of a method that stays as it is.
            uncalibrated = f["c_cicc"] is None
            scale = "—" if uncalibrated else f"{f['c_cicc']:.2f} ± {f['c_cicc_error']:.2f}"
            marks = " / ".join(
                "yes" if inside(f[k], r["truth"]) else "no" for k in ("interval68", "interval95")
            )
            lines.append(
                f"| {r['provenance']['seed']} | {m} | {f['estimate']:+.3f} "
                f"| [{low:+.3f}, {high:+.3f}] | {marks} "
                f"| {f['info_eff']:.0f} ± {f['info_eff_error']:.0f} | {f['response']:.2f} "
                f"| {scale} "
                f"| {f['coverage68']:.1%} ± {f['coverage68_error']:.1%} |"
            )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--toys", type=int, default=2_000)
    parser.add_argument("--truth", type=float, default=0.0)
    parser.add_argument("--table", type=Path, default=None)
    parser.add_argument("--golden", type=Path, default=None)
    options = parse(parser, QUICK, arguments)
    results = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        sizes = (seed, options.events, options.truth, options.toys)
        start = time.perf_counter()
        summary_of_seed = (run_here if options.quick else run)(*sizes)
        results.append(summary_of_seed | {"wall": time.perf_counter() - start})
        if options.table is not None:
            text = summary_table(results) + "\n<!-- seeds -->\n\n" + table(results)
            options.table.write_text(text, encoding="utf-8")
    n = len(results)
    out: dict = {"n_seeds": n, "first_seed": options.first_seed}
    out |= {"events": options.events, "truth": options.truth, "toys": options.toys}
    if options.golden is not None:
        content = out | {"mean_and_deviation": golden(results)}
        options.golden.parent.mkdir(parents=True, exist_ok=True)
        options.golden.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    out |= summary(results)
    out["mean_seconds"] = sum(r["wall"] for r in results) / n
    print(json.dumps(out))


if __name__ == "__main__":
    main()
