"""A blind analysis from files to report: with two datasets, and after its data are opened."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError
from milinfer.workflow.run import unblind_analysis

POINTS = (-1.0, 0.0, 1.0)
N_DATA = 200
CONFIGURATION = """
[samples]
features = ["x0", "x1"]
[[samples.train]]
path = "mc/*.parquet"
[data]
path = "data.parquet"
blind = true
[[model]]
head = "multiclass"
bag_size = 10
epochs = {epochs}
[toys]
number = {toys}
[templates]
observable = "x0"
bins = 4
degree = 2
"""
# These say when and from which files a result was made.
NO_RESULT = ("provenance", "blinding", "fit_seconds")


def numbers(record: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a summary by their keys."""
    if isinstance(record, Mapping):
        for key, value in record.items():
            if key not in NO_RESULT:
                yield from numbers(value, f"{name}/{key}")
    elif isinstance(record, list):
        for k, value in enumerate(record):
            yield from numbers(value, f"{name}/{k}")
    elif isinstance(record, int | float):
        yield name, float(record)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Keys of the numbers that are not the same, or that only one summary has."""
    first, second = dict(numbers(before)), dict(numbers(after))
    return {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}


def blinding_results(options: argparse.Namespace) -> dict[str, Any]:
    """What changes in the summary if the data change, and what if they are opened.

    ``changed_by_other_data`` counts the numbers of the blind summary that are not the same for
    another dataset.  ``coverages_changed_by_opening`` counts coverages, which were final.
    ``estimates_changed_by_opening`` are those of the methods, which are of the data now.
    ``changed_steps`` are the steps that are not as they were frozen, and ``openings`` is how often
    the data could be opened.
    """
    epochs, toys = (2, 100) if options.quick else (10, 500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mc").mkdir()
        n_events = 1000 if options.quick else 5000
        for k, sample in enumerate(gaussian.samples(n_events, POINTS, seed=1, n_features=2)):
            sample.to_file(folder / "mc" / f"mu{k}.parquet")
        file = folder / "analysis.toml"
        file.write_text(CONFIGURATION.format(epochs=epochs, toys=toys), encoding="utf-8")

        def data(mu: float, seed: int) -> None:
            sample = gaussian.generate(N_DATA, mu, seed=seed, n_features=2)
            sample.to_file(folder / "data.parquet")

        data(0.3, 9)
        blind = mil.run_analysis(file)
        data(0.1, 10)
        other = mil.run_analysis(file)
        openings = 0
        for _ in range(2):
            try:
                unblind_analysis(file, "benchmark")
            except ConfigurationError:
                continue
            openings += 1
        opened = mil.run_analysis(file)
    by_opening = changed(other, opened)
    return {
        "numbers": len(dict(numbers(blind))),
        "changed_by_other_data": len(changed(blind, other)),
        "coverages_changed_by_opening": sum("/coverage" in key for key in by_opening),
        "estimates_changed_by_opening": sum(key.endswith("/estimate") for key in by_opening),
        "changed_steps": len(opened["blinding"]["changed_since"]),
        "openings": openings,
    }
