"""Keys that a benchmark prints at least, which scripts and pages rely on.

Add keys as you like; take one away, or give it another meaning, only with the changelog.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

_CLUSTER_JOBS = ("toys", "toys of bags", "ensemble of 2")

# The rate of profiled toys, which has a bar.
RATE = "speed/profiled toys of 1000 events per second, 5 nuisances, 11 points to 0.25"
# Keys from the top, separated by /; * is every key or row, of which there has to be one.
KEYS: dict[str, tuple[str, ...]] = {
    "training": (
        *(f"ratio_n{n}" for n in (1, 50, 250)),
        *(f"gemm_fraction_n{n}" for n in (1, 50)),
        "events_per_s_n1",
    ),
    "toys": ("ratio_predict", "ratio_pyhf", "toys_per_s_per_core", "belt_seconds"),
    "cost": ("call_us", "grad_us", "migrad_minos_ms", "million_events_ms"),
    "efficiency": tuple(
        f"rows/*/{key}"
        for key in (
            *("problem", "head", "events_per_point", "info_ratio", "info_ratio_error"),
            *("response", "bartlett_ratio", "bartlett_ratio_error", "train_seconds"),
        )
    ),
    "labelled_bags": tuple(
        f"rows/*/{key}" for key in ("task", "setting", "score", "scores", "loss", "epochs", "cpu_s")
    ),
    "published_combination": (
        *(f"rows/*/{key}" for key in ("method", "c1", "efficiency", "coverage", "error")),
        *(f"mean/*/{key}" for key in ("coverage", "error")),
    ),
    "reading": ("ratio_pylhe", "lhe_events_per_s", "features_per_s"),
    "histograms": (
        *(
            f"rows/*/methods/*/{key}"
            for key in (
                *("info_over_network", "info_over_network_error", "response", "response_error"),
                *("coverage", "coverage_error", "coverage_pool_error", "info_over_network_away"),
            )
        ),
        "rows/*/filled_anew/coverage",
        "short",
    ),
    "systematics": (
        *(f"fits/*/learned/{key}" for key in ("error_over_exact", "error_over_exact_error")),
        *(f"coverage/*/learned_{key}" for key in ("68.27", "95.45", "error")),
        "speed/10 nuisances, 1000 events/cost_and_gradient_us",
        "speed/10 nuisances, 1000 events/straightforward_value_us",
        RATE,
        "short",
    ),
    # The quick size has one worker, whose number is in the other keys.
    "cluster": ("seconds/one task", *(f"seconds/{job}, here" for job in _CLUSTER_JOBS)),
    "cluster_hosts": tuple(f"seconds/{job}, 2 hosts" for job in _CLUSTER_JOBS),
    "committee": (
        *(f"goodness_of_fit/*/tests/*/{key}" for key in ("below_5_percent", "error")),
        *(f"flat_azimuth/*/tests/*/{key}" for key in ("below_5_percent", "error")),
        "flat_azimuth/*/largest_power",
        "goodness_of_fit_with_nuisances/tests/*/uniform_p_value",
        *(f"expected/{k}" for k in ("largest_slope_at_the_point", "profiled_toys_per_second")),
        "expected/width_over_median_toy_at_4_times_the_luminosity",
        "bands/largest_pull",
        *(f"limits/{key}" for key in ("limits_to_pyhf", "cls_to_pyhf", "largest_pull_of_toys")),
        *(f"limits/median_{of}_in_sigma" for of in ("with_cls", "of_belt")),
        *(
            f"expected_of_network/*/{key}"
            for key in ("width_over_median_toy", "low_in_band", "high_in_band")
        ),
        *(f"impacts/{key}" for key in ("ranking_to_cabinetry", "observables_to_pyhf")),
        *(f"impacts/closed_form/{kind}" for kind in ("observable", "postfit", "prefit", "groups")),
        "impacts/nuisance_at_a_limit",
        *(f"maxima/*/{key}" for key in ("disagreement", "raises", "warns", "coverage")),
        *(f"blinding/{key}" for key in ("changed_by_other_data", "changed_steps", "openings")),
        *(
            f"from_other_results/{key}"
            for key in (
                "systematics.json/coverage/*/learned_68.27",
                "systematics.json/coverage/*/ignoring_bias_in_sigmas",
                f"systematics.json/{RATE}",
                "combination.json/rows/*/coverage",
                "simulation_error.json/problems/*/llr/ratio",
                "simulation_error.json/problems/*/coverage",
            )
        ),
        "commands/goodness_of_fit",
        "short",
    ),
    "combination": (
        *(f"rows/*/{key}" for key in ("method", "coverage", "error", "pool_error")),
        "short",
    ),
    "simulation_error": (
        *(f"problems/*/{of}/ratio" for of in ("estimate", "llr")),
        "pools/calibrated, with its error/mean",
        "short",
    ),
    "operators": (
        "networks/methods/*/areas",
        *(
            f"networks/methods/polynomial-joint/{key}"
            for key in ("info_over_exact", "info_over_exact_error", "calibrated_coverage")
        ),
        "observables/retained/value",
        "short",
    ),
}
# Each bar that was not met.
BAR = {"bar", "goal", "measured", "error"}
# Ends of keys that --quick has not: it trains bags of one size, has fewer nuisance parameters, and
# runs the demo with one network.
NOT_QUICK = {
    "systematics": ("cost_and_gradient_us", "straightforward_value_us"),
    "training": ("_n1", "_n250"),
    "demo_seeds": ("polynomial", "multiclass", "pyhf_2d", "pyhf_classifier", "pyhf_score"),
}


def absent(record: Any, key: str) -> Iterator[str]:
    """Where a key is absent, by the keys down to that place."""
    step, _, rest = key.partition("/")
    if step == "*":
        values = dict(enumerate(record)) if isinstance(record, list) else record
        if not values:
            yield key
        for name, value in values.items() if isinstance(values, Mapping) else ():
            yield from (f"{name}/{place}" for place in absent(value, rest))
    elif not isinstance(record, Mapping) or step not in record:
        yield key
    elif rest:
        yield from (f"{step}/{place}" for place in absent(record[step], rest))


def missing(name: str, record: Any, *, quick: bool = False) -> list[str]:
    """Keys that a benchmark has to print, or had in its committed result, and that are absent."""
    left_out = NOT_QUICK.get(name, ()) if quick else ()
    keys = list(KEYS.get(name, ()))
    committed = RESULTS / f"{name}.json"
    if committed.is_file():
        keys += json.loads(committed.read_text("utf-8")).keys() - {"note"}  # written by hand
    wanted = (key for key in keys if not key.endswith(left_out or "\0"))
    return sorted({place for key in wanted for place in absent(record, key)})
