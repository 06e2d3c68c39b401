"""The same figures for every package, from the tables of log-ratios that its script has written.

Calibrations come from the events of calibration.npz, and all figures from those of evaluation.npz;
no package was trained on either.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from efficiency import Score
from labelled_bags import score
from peers import plain
from peers.data import samples_of

import milinfer as mil
from milinfer.exceptions import CalibrationError
from milinfer.intervals.coverage import coverage
from milinfer.intervals.information import relative_information
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.tabulated_model import Tabulated
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool

CL = 0.6827
# Distance on both sides of 0 over which the response is measured.
NEAR = {"quadratic": 0.4, "vbf_hww": 0.2}
EVALUATE_AT = tuple(float(v) + 0.0 for v in np.linspace(-0.4, 0.4, 9).round(9))
CALIBRATE_AT = tuple(float(v) + 0.0 for v in np.linspace(-0.6, 0.6, 13).round(9))
EXACT_GRID = np.linspace(-1, 1, 81)


@dataclass(frozen=True)
class Sizes:
    """Toys at each truth that measure and that calibrate, and the truths."""

    toys: int = 2000
    tuning_toys: int = 3000
    evaluate_at: tuple[float, ...] = EVALUATE_AT
    calibrate_at: tuple[float, ...] = CALIBRATE_AT


QUICK = Sizes(200, 200, (-0.4, -0.2, 0.0, 0.2, 0.4), (-0.4, 0.0, 0.4))


def _tabulated(
    name: str,
    parameter: str,
    samples: Sequence[mil.Sample],
    curve: Interpolation,
    table: np.ndarray,
) -> Tabulated:
    """The rows of a table belong to the samples in order of their points, as in the arrays."""
    ends = np.cumsum([len(s) for s in samples])[:-1]
    parts = tuple(np.split(table.astype(np.float64), ends))
    return Tabulated(name, (parameter,), curve, tuple(samples), parts)


def _of_record(
    name: str, parameter: str, part: str, samples: Sequence[mil.Sample], record: Mapping[str, Any],
    file: Path,
) -> Tabulated:  # fmt: skip
    with np.load(file) as arrays:
        grid, table = arrays["grid"], arrays[part]
    # A spline has no degree, but its grid must be long enough for the default one.
    degree = min(int(record["degree"]), len(grid) - 1)
    return _tabulated(name, parameter, samples, Interpolation(grid, record["kind"], degree), table)


def problem_rows(
    folder: Path, records: Mapping[str, tuple[Mapping[str, Any], Path]], sizes: Sizes
) -> list[dict[str, Any]]:
    """One row for each method, and one for the exact likelihood ratio.

    Parameters
    ----------
    folder
        Arrays of the problem.
    records
        What the script of the package has recorded, and its table, by the name of the method.
    sizes
        Toys and truths.
    """
    problem = plain.read(folder)
    name, parameter = problem.facts["problem"], problem.facts["parameter"]
    degree, n_events = problem.facts["degree"], problem.facts["n_events"]
    pools = {
        part: samples_of(problem.facts, getattr(problem, part).arrays)
        for part in ("calibration", "evaluation")
    }
    models = {
        part: [
            _of_record(method, parameter, part, samples.samples, *record)
            for method, record in records.items()
        ]
        for part, samples in pools.items()
    }
    powers = np.vander(EXACT_GRID, problem.evaluation.exact.shape[1], increasing=True)
    exact = np.log(problem.evaluation.exact @ powers.T) - np.log(
        powers @ problem.facts["exact_total"]
    )
    spline = Interpolation(EXACT_GRID, "spline")
    evaluated: list[Any] = [
        _tabulated("exact", parameter, pools["evaluation"].samples, spline, exact),
        *models["evaluation"],
    ]
    # Of the sum of exact scores the information is known without toys.
    reference, efficiency = "exact", 1.0
    if name == "quadratic":
        best = Score(1)
        evaluated.append(best)
        reference, efficiency = best.name, best.efficiency(NEAR[name])
    toys = mil.Toys(EventPool(pools["evaluation"], degree), n_events, seed=2).scan(
        evaluated, [{parameter: v} for v in sizes.evaluate_at], sizes.toys
    )
    tuning = mil.Toys(EventPool(pools["calibration"], degree), n_events, seed=3).scan(
        models["calibration"], [{parameter: v} for v in sizes.calibrate_at], sizes.tuning_toys
    )
    order = [sizes.evaluate_at.index(v) for v in (0.0, -NEAR[name], NEAR[name])]
    rows = []
    for method in ("exact", *records):
        own = toys[method]
        information = relative_information(
            [own[k] for k in order], [toys[reference][k] for k in order], n_bootstrap=100
        )
        row: dict[str, Any] = {
            "problem": name,
            "method": method,
            "info_over_bound": information.ratio * efficiency,
            "info_over_bound_error": information.ratio_error * efficiency,
            "response": information.response,
            "response_error": information.response_error,
            "bartlett_ratio": information.bartlett_ratio,
            "bartlett_ratio_error": information.bartlett_ratio_error,
            "at_edge": float(max(e.extremum.at_edge.mean() for e in own)),
            "as_trained": _coverage(own, None),
        }
        if method in records:
            try:
                calibration = mil.calibrate(tuning[method], cl=CL)
                row["calibrated"] = _coverage(own, calibration)
            except CalibrationError as error:
                row["not_calibrated"] = str(error)
            row |= dict(records[method][0])
            row["toys_per_s"] = _toys_per_second(
                pools["evaluation"], degree, n_events, models["evaluation"], method, sizes
            )
        rows.append(row)
    return rows


def _coverage(ensembles: Sequence[ToyEnsemble], method: Any) -> dict[str, list[float]]:
    """Coverage at each truth with its binomial error and that of the pool."""
    rows = [coverage(e, method, CL, warn_of_pool=False) for e in ensembles]
    return {
        "coverage": [r.coverage for r in rows],
        "error": [r.error for r in rows],
        "pool_error": [r.pool_error for r in rows],
    }


def _toys_per_second(
    pool: mil.SampleSet, degree: int, n_events: int, models: Sequence[Tabulated], name: str,
    sizes: Sizes,
) -> float:  # fmt: skip
    """Toys with estimates and test statistics from the table, a processor second."""
    (model,) = (m for m in models if m.name == name)
    truth = {model.parameters[0]: 0.0}
    toys = mil.Toys(EventPool(pool, degree), n_events, seed=4)
    toys.run([model], truth, 100)
    start = time.process_time()
    toys.run([model], truth, sizes.toys)[name].test_statistic(0.0)
    return sizes.toys / (time.process_time() - start)


def bag_row(
    task: str, method: str, runs: Sequence[tuple[Path, Mapping[str, Any], Path]]
) -> dict[str, Any]:
    """Mean over seeds of the score, accuracy or R², with the error of the mean."""
    scores, losses = [], []
    for folder, _, file in runs:
        _, truth = plain.read_bags(folder / "evaluation.npz")
        with np.load(file) as arrays:
            found = np.asarray(arrays["prediction"], dtype=np.float64)
        value, loss = score(task, truth, found)
        scores.append(value)
        losses.append(loss)
    records = [record for _, record, _ in runs]
    n = len(scores)
    row: dict[str, Any] = {
        "task": task,
        "method": method,
        "seeds": n,
        "score": float(np.mean(scores)),
        "scores": scores,
        "loss": float(np.mean(losses)),
        "settings": records[0]["settings"],
        "versions": records[0]["versions"],
    }
    if n > 1:
        row["score_error"] = float(np.std(scores, ddof=1) / np.sqrt(n))
    for key in ("train_cpu_s", "evaluate_cpu_us_per_bag", "peak_mb"):
        row[key] = float(np.mean([r[key] for r in records]))
    return row


def interval_row(
    method: str, folder: Path, record: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """Share of intervals with the truth, with its binomial error, and their mean width."""
    with np.load(folder / "datasets.npz") as arrays:
        truth = arrays["truth"]
    with np.load(file) as arrays:
        low, high = arrays["interval"].T
    covered = float(np.mean((low <= truth) & (truth <= high)))
    return {
        "method": method,
        "coverage": covered,
        "coverage_error": float(np.sqrt(covered * (1 - covered) / len(truth))),
        "width": float(np.mean(high - low)),
        "intervals": len(truth),
        **record,
    }
