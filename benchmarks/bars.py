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
    yield from of_coverages_and_rates(found)
    speed = found.get("speed", {})
    for job, goal in (
        ("10 nuisances, 1000 events", 200.0),
        ("50 nuisances, 10000 events", 20_000.0),
    ):
        if job in speed:
            yield from below(
                f"{job}: µs for cost and gradient", goal, speed[job]["cost_and_gradient_us"]
            )


def of_coverages_and_rates(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Coverage with profiled nuisance parameters, and how many toys are profiled per second."""
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
    for job, rate in found.get("speed", {}).items():
        if job.startswith("profiled toys"):
            yield from above(job, 1000.0, rate)


def of_combination(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Coverage of calibrated fits of learned and binned terms together, at nine points."""
    for row in found["rows"]:
        if row["method"] == "calibrated":
            error = math.hypot(row["error"], row["pool_error"])
            title = f"c1 = {row['c1']:g}, efficiency = {row['efficiency']:g}: calibrated coverage"
            yield from covers(title, CL68, row["coverage"], error)


def of_simulation_error(found: Mapping[str, Any]) -> Iterator[Missed]:
    """The quoted error over the scatter of independent simulations, and coverage over them."""
    for problem, figures in found["problems"].items():
        for what in ("estimate", "llr"):
            scatter = figures[what]
            error = scatter["ratio"] * scatter["scatter_error"] / scatter["scatter"]
            title = f"{problem}: error of the {what} over its scatter between simulations"
            yield from near(title, 1.0, 0.2, scatter["ratio"], error)
        for method in ("with the error", "calibrated, with its error"):
            coverage = figures["coverage"][method]
            title = f"{problem}: coverage over simulations, {method}"
            yield from covers(title, CL68, coverage["mean"], coverage["error"])
    pools = found["pools"]["calibrated, with its error"]
    yield from covers("coverage over small pools", CL68, pools["mean"], pools["error"])


def of_committee(found: Mapping[str, Any]) -> Iterator[Missed]:
    """All groups of questions that a result has."""
    for group, check in COMMITTEE.items():
        if group in found:
            yield from check(found[group])


def of_expected(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Asimov data beside toys."""
    slope = abs(found["largest_slope_at_the_point"])
    yield from below("slope of Asimov data at their point", 1e-6, slope)
    for key, title in (
        ("width_over_median_toy", "expected width over the median toy"),
        (
            "width_over_median_toy_at_4_times_the_luminosity",
            "expected width over the median toy, 4 times the luminosity",
        ),
    ):
        yield from near(title, 1.0, 0.02, found[key])
    rate = found["profiled_toys_per_second"]
    yield from above("profiled toys per second, two nuisance parameters", 1000.0, rate)


def of_bands(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Quantiles of toys beside their values in closed form."""
    # The largest of fifteen, of which five are independent.
    yield from below("largest pull of a band of toys", 3.5, found["largest_pull"])
    yield from near("expected width over the exact one", 1.0, 0.02, found["width_over_exact"])


def of_limits(found: Mapping[str, Any]) -> Iterator[Missed]:
    """CLs limits beside pyhf, closed forms, toys and belts."""
    yield from below("CLs limits to those of pyhf, relative", 1e-3, found["limits_to_pyhf"])
    yield from below("CLs to that of pyhf, relative", 1e-3, found["cls_to_pyhf"])
    yield from below(
        "asymptotic CLs limits to the closed form, relative",
        1e-4,
        found["asymptotic_to_closed_form"],
    )
    yield from below("largest pull of a CLs limit of toys", 3.5, found["largest_pull_of_toys"])
    belt = found["median_of_belt_in_sigma"]
    yield from near("median limit of the belt, in sigmas", 1.645, 0.1, belt)
    cls = found["median_with_cls_in_sigma"]
    yield from near("median CLs limit of toys, in sigmas", 1.96, 0.1, cls)
    yield from below(
        "limits of the belt above those with CLs, in sigmas", 0.1, found["belt_above_cls_in_sigma"]
    )


def of_expected_of_network(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Widths at five true values, and how often other data are in the bands."""
    for truth, row in found.items():
        width, error = row["width_over_median_toy"], row["width_over_median_toy_error"]
        yield from near(f"{truth}: expected width over the median toy", 1.0, 0.02, width, error)
        for of in ("low", "high", "estimate"):
            title = f"{truth}: fraction of data whose {of} is in the 95 % band"
            yield from near(title, 0.95, 0.02, row[f"{of}_in_band"], row["error"])


def of_impacts(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Impacts beside closed forms, pyhf and cabinetry."""
    whole = found["quadrature_over_whole"]
    yield from near("parts of the error in quadrature over the whole", 1.0, 0.01, whole)
    for to in ("ranking_to_cabinetry", "observables_to_pyhf"):
        other = to.rpartition("_")[2]
        yield from below(f"impacts to those of {other}, in errors", 1e-3, found[to])
    for name, difference in found["closed_form"].items():
        yield from below(f"{name} to its closed form", 1e-3, difference)


def of_tests(found: Mapping[str, Any]) -> Iterator[Missed]:
    """p-values under the model are uniform."""
    for name, row in found["tests"].items():
        # Of some forty tests one is below by chance.
        uniform = row["uniform_p_value"]
        yield from above(f"p-value that the p-values of {name} are uniform", 0.02, uniform)


def of_flat_azimuth(found: Mapping[str, Any]) -> Iterator[Missed]:
    """The power of all tests together, where any test can have it."""
    for name, row in found.items():
        power = row["tests"]["all tests"]
        title = f"power for 10 % of events with flat azimuths of {name}"
        if row["largest_power"] > 0.9:
            yield from above(title, 0.9, power["below_5_percent"], power["error"])


def of_maxima(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Data and toys have the same maximum, and a second one is said."""
    for truth, row in found.items():
        title = f"{truth}: fraction of toys whose maximum is another if they are fitted as data"
        yield from below(title, 0.0, row["disagreement"])
        title = f"{truth}: fraction of intervals that are wrong and silent of a second maximum"
        yield from below(title, 1 - 0.667, row["silent_and_wrong"])


def of_blinding(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Nothing depends on blind data, and opening them is one act that changes nothing else."""
    for key in ("changed_by_other_data", "coverages_changed_by_opening", "changed_steps"):
        yield from below(f"blind analysis: {key.replace('_', ' ')}", 0.0, found[key])
    yield from near("blind analysis: openings", 1.0, 0.0, found["openings"])


def of_other_results(found: Mapping[str, Any]) -> Iterator[Missed]:
    """Bars of the figures that are repeated from other results."""
    yield from of_coverages_and_rates(found["systematics.json"])
    for truth, row in found["systematics.json"]["coverage"].items():
        title = f"{truth}: bias with nuisance parameters, in sigmas"
        bias, error = abs(row["learned_bias_in_sigmas"]), row["pool_error_of_bias"]
        yield from below(title, 0.2, bias, error)
    yield from of_combination(found["combination.json"])
    yield from of_simulation_error(found["simulation_error.json"])


COMMITTEE: dict[str, Callable[[Mapping[str, Any]], Iterator[Missed]]] = {
    "goodness_of_fit": lambda found: of_tests(found["as simulated"]),
    "flat_azimuth": of_flat_azimuth,
    "goodness_of_fit_with_nuisances": of_tests,
    "expected": of_expected,
    "bands": of_bands,
    "limits": of_limits,
    "expected_of_network": of_expected_of_network,
    "impacts": of_impacts,
    "maxima": of_maxima,
    "blinding": of_blinding,
    "from_other_results": of_other_results,
}


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
    "combination": of_combination,
    "simulation_error": of_simulation_error,
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
