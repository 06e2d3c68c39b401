"""Committed results of benchmarks have the keys that are promised, and pages quote them."""

from __future__ import annotations

import copy
import json

import pytest

from benchmark_keys import BAR, KEYS, RESULTS, missing
from scripts import load_script

bars = load_script(RESULTS.parent / "bars.py")
FILES = {path.stem: path for path in sorted(RESULTS.glob("*.json"))}


def read(name):
    return json.loads(FILES[name].read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_committed_result_has_its_keys(name):
    assert missing(name, read(name)) == []


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_key_that_is_absent_is_named(name):
    """Each key in turn is taken out of the result."""
    record = read(name)
    for key in KEYS[name]:
        damaged = copy.deepcopy(record)
        *steps, last = key.split("/")
        holder, place = damaged, []
        for step in steps:
            first = next(iter(holder)) if isinstance(holder, dict) else 0
            place.append(str(first if step == "*" else step))
            holder = holder[first if step == "*" else step]
        del holder[last]
        assert "/".join([*place, last]) in missing(name, damaged)


@pytest.mark.parametrize("name", sorted(bars.BARS))
def test_bars_that_were_not_met_are_listed(name):
    short = read(name)["short"]
    assert all(set(bar) == BAR for bar in short)
    assert short == bars.short(name, read(name)), "python benchmarks/bars.py --write"


def test_figures_of_other_results_are_repeated():
    others = load_script(RESULTS.parent / "committee_groups" / "other_results.py").other_results()
    assert read("committee")["from_other_results"] == others, (
        "python benchmarks/committee.py --groups from_other_results "
        "--json benchmarks/results/committee.json"
    )
    assert all(row["method"] == "calibrated" for row in others["combination.json"]["rows"])
    assert len(others["combination.json"]["rows"]) == 9
    assert len(others["systematics.json"]["coverage"]) == 9


@pytest.mark.parametrize(
    ("group", "steps", "value", "message"),
    [
        ("bands", ["largest_pull"], 9.0, "largest pull of a band of toys"),
        ("maxima", ["c = 0", "disagreement"], 0.01, "c = 0: fraction of toys whose maximum"),
        ("blinding", ["changed_by_other_data"], 1, "blind analysis: changed by other data"),
        ("limits", ["limits_to_pyhf"], 0.002, "CLs limits to those of pyhf"),
        ("impacts", ["closed_form", "prefit"], 0.01, "prefit to its closed form"),
        ("expected_of_network", ["c1 = 0", "high_in_band"], 0.9, "c1 = 0: fraction of data whose"),
        (
            "from_other_results",
            ["simulation_error.json", "problems", "vbf", "llr", "ratio"],
            1.5,
            "vbf: error of the llr over its scatter",
        ),
    ],
)
def test_bars_of_the_committee_are_listed(group, steps, value, message):
    record = read("committee")
    holder = record[group]
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    (entry,) = [b for b in bars.short("committee", record) if b["bar"].startswith(message)]
    assert entry["measured"] == value


def test_a_bar_that_is_missed_is_listed_with_its_error():
    record = read("systematics")
    truth = next(iter(record["fits"]))
    record["fits"][truth]["learned"] |= {"error_over_exact": 1.2, "error_over_exact_error": 0.01}
    entry = {"bar": f"{truth}: error over that of the exact fit", "goal": 1.05}
    assert entry | {"measured": 1.2, "error": 0.01} in bars.short("systematics", record)
    record["fits"][truth]["learned"]["error_over_exact"] = float("nan")
    assert entry["bar"] in [b["bar"] for b in bars.short("systematics", record)]


def test_without_a_score_histogram_the_reason_is_listed():
    record = read("histograms")
    for row in record["rows"].values():
        del row["methods"]["weighted"]
        row["not_available"]["weighted"] = "no events in bin 3"
    listed = bars.short("histograms", record)
    assert any("no events in bin 3" in bar["bar"] for bar in listed)
