"""Goals ("bars") that the figures of a benchmark have to reach, and a list of those not reached.

A benchmark adds this list to its result.  For an older result, or after a bar has changed, write
the list again:

    python benchmarks/bars.py            # print the bars that committed results do not reach
    python benchmarks/bars.py --write    # also write them into these results
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["BARS", "Missed", "below", "short"]

RESULTS = Path(__file__).parent / "results"
CL68, CL95 = 0.6827, 0.9545
SIGMAS = 2.0  # coverages may be that many errors away from the level

Missed = dict[str, Any]
"""A bar that was not met: ``bar``, ``goal``, ``measured``, and its ``error`` (None: unknown)."""


def missed(bar: str, goal: float, measured: float, error: float | None = None) -> Missed:
    """One entry of the list."""
    return {"bar": bar, "goal": goal, "measured": float(measured), "error": error}


def below(bar: str, goal: float, measured: float, error: float | None = None) -> Iterator[Missed]:
    """Yield the bar if the figure is above the goal."""
    if not measured <= goal:
        yield missed(bar, goal, measured, error)


def above(bar: str, goal: float, measured: float, error: float | None = None) -> Iterator[Missed]:
    """Yield the bar if the figure is below the goal."""
    if not measured >= goal:
        yield missed(bar, goal, measured, error)


def near(
    bar: str, goal: float, width: float, measured: float, error: float | None = None
) -> Iterator[Missed]:
    """Yield the bar if the figure differs from the goal by more than `width`."""
    if not abs(measured - goal) <= width:
        yield missed(bar, goal, measured, error)


def covers(
    bar: str, level: float, measured: float, error: float, sigmas: float = SIGMAS
) -> Iterator[Missed]:
    """Yield the bar if the coverage differs from its level by more than `sigmas` errors."""
    yield from near(bar, level, sigmas * error, measured, error)


def of_histograms(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Score histogram of vbf_hww with weights, at every number of training events."""
    for events, row in found.get("rows", {}).items():
        best = row["methods"].get("weighted")
        if best is None:
            reason = row["not_available"].get("weighted", "not measured")
            yield {"bar": f"score histogram, {events} events: {reason}"} | dict.fromkeys(
                ("goal", "measured", "error")
            )
            continue
        title = f"score histogram, {events} events a point"
        share, error = best["info_over_network"], best["info_over_network_error"]
        yield from above(f"{title}: I_eff over the network's", 0.93, share, error)
        response, error = best["response"], best["response_error"]
        yield from near(f"{title}: response", 1.0, 0.03, response, error)
        # Toys of one filling share its fluctuation: the bar is for many fillings.
        anew = row["filled_anew"]
        title += f", filled {anew['n']} times: coverage"
        yield from covers(title, CL68, anew["coverage"], anew["coverage_error"])
    if "seconds" in found:
        yield from below("seconds for bins and templates of 200 000 events", 5.0, found["seconds"])


def of_systematics(found: Mapping[str, Any]) -> Iterator[Missed]:
    """The fit with learned responses beside the exact one, its coverage, and its speed."""
    for truth, methods in found.get("fits", {}).items():
        learned = methods["learned"]
        yield from below(
            f"{truth}: error over that of the exact fit",
            1.05,
            learned["error_over_exact"],
            learned["error_over_exact_error"],
        )
        bias, error = learned["bias_to_exact"], learned["bias_to_exact_error"]
        yield from below(f"{truth}: bias to the exact fit, in sigmas", 0.1, abs(bias), error)
        for key, value in learned.items():
            if key.startswith("pull_to_exact_"):
                name = key.removeprefix("pull_to_exact_")
                yield from below(f"{truth}: pull of {name} to the exact fit", 0.1, abs(value))
            if key.startswith("constraint_over_exact_"):
                name = key.removeprefix("constraint_over_exact_")
                yield from near(
                    f"{truth}: constraint of {name} over the exact one", 1.0, 0.05, value
                )
    for truth, row in found.get("coverage", {}).items():
        n = row["learned_error"] ** 2 / (CL68 * (1 - CL68))  # one over the number of toys
        for method in ("learned", "calibrated", "belt"):
            for level in (CL68, CL95):
                yield from covers(
                    f"{truth}: coverage {100 * level:.2f}, {method}",
                    level,
                    row[f"{method}_{100 * level:.2f}"],
                    math.sqrt(n * level * (1 - level)),
                )
    speed = found.get("speed", {})
    for job, goal in (
        ("10 nuisances, 1000 events", 200.0),
        ("50 nuisances, 10000 events", 20_000.0),
    ):
        if job in speed:
            yield from below(
                f"{job}: µs for cost and gradient", goal, speed[job]["cost_and_gradient_us"]
            )
    for job, rate in speed.items():
        if job.startswith("profiled toys"):
            yield from above(job, 1000.0, rate)


def of_committee(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Expected results, impacts, and tests of the data if the model is right."""
    expected, impacts = found["expected"], found["impacts"]
    yield from below(
        "slope of Asimov data at their point", 1e-6, abs(expected["largest_slope_at_the_point"])
    )
    yield from near(
        "expected width over the median toy", 1.0, 0.02, expected["width_over_median_toy"]
    )
    yield from above("profiled toys per second", 1000.0, expected["profiled_toys_per_second"])
    yield from near(
        "parts of the error in quadrature over the whole",
        1.0,
        0.01,
        impacts["quadrature_over_whole"],
    )
    yield from below(
        "impacts to those of cabinetry, in errors", 1e-3, impacts["ranking_to_cabinetry"]
    )
    for name, row in found["goodness_of_fit"]["as simulated"]["tests"].items():
        # Of some forty tests one is below by chance.
        uniform = row["uniform_p_value"]
        yield from above(f"p-value that the p-values of {name} are uniform", 0.02, uniform)


def of_operators(found: Mapping[str, Any]) -> Iterator[Missed]:
    """The network for two operators beside the exact ratio of observables."""
    if "networks" not in found:
        return
    of_network = found["networks"]["methods"][found["networks"]["network"]]
    yield from above(
        "information of the network over that of the exact ratio of observables",
        0.97,
        of_network["info_over_exact"],
        of_network["info_over_exact_error"],
    )
    away, error = max(
        (abs(value - (i == j)), of_network["response_error"][i][j])
        for i, row in enumerate(of_network["response"])
        for j, value in enumerate(row)
    )
    yield from below("largest element of the response matrix minus one", 0.03, away, error)
    for row in of_network["calibrated_coverage"]:
        error = math.hypot(row["error"], row["pool_error"])
        title = f"calibrated coverage at {row['point']}"
        yield from covers(title, row["cl"], row["coverage"], error, sigmas=3.0)


BARS: dict[str, Callable[[Mapping[str, Any]], Iterator[Missed]]] = {
    "histograms": of_histograms,
    "systematics": of_systematics,
    "committee": of_committee,
    "operators": of_operators,
}


def short(name: str, found: Mapping[str, Any]) -> list[Missed]:
    """Bars that the result of a benchmark does not reach."""
    return list(BARS[name](found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the bars that were not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the list into the results")
    options = parser.parse_args(arguments)
    for name in BARS:
        path = RESULTS / f"{name}.json"
        text = path.read_text("utf-8")
        found = json.loads(text)
        listed = short(name, found)
        for bar in listed:
            print(f"{name}: {bar['bar']}: {bar['measured']} ± {bar['error']}, goal {bar['goal']}")
        if options.write:
            path.write_text(_written(found | {"short": listed}, text), encoding="utf-8")


def _written(found: Mapping[str, Any], before: str) -> str:
    """The result in the form that the file has."""
    indent = 1 if "\n " in before else None
    return json.dumps(found, indent=indent, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
