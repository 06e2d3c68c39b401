"""Figures that other benchmarks measure, repeated from their result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def other_results(results: Path = RESULTS) -> dict[str, Any]:
    """Coverages at nine points, the rate of profiled toys, and finite simulation, by file.

    ``coverage`` of ``systematics.json`` is a table of stress tests: its toys are simulated with
    other energy scales and another theory than the nominal simulation.  ``learned`` is fitted with
    nuisance parameters, ``ignoring`` without.
    """
    systematics, combination, simulation_error = (
        json.loads((results / f"{name}.json").read_text("utf-8"))
        for name in ("systematics", "combination", "simulation_error")
    )
    return {
        "systematics.json": {
            "coverage": systematics["coverage"],
            "speed": {k: v for k, v in systematics["speed"].items() if k.startswith("profiled")},
        },
        "combination.json": {
            "n_toys": combination["n_toys"],
            "rows": [row for row in combination["rows"] if row["method"] == "calibrated"],
        },
        "simulation_error.json": {
            "problems": {
                name: {k: figures[k] for k in ("estimate", "llr", "coverage")}
                for name, figures in simulation_error["problems"].items()
            },
            "pools": simulation_error["pools"],
        },
    }
