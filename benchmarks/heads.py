"""How good are the heads without event weights, and does their normalisation help?

There are four problems with a known likelihood whose parameter is no Wilson coefficient: the mean
of a Gaussian, the mass of a peak, the fraction of a signal, and a polarisation P with the density
(1 + P c)/2.  The fifth is c_HW in VBF H → WW* → ℓνℓν (``vbf_hww``), for which exact means the
likelihood ratio at parton level, which no estimator from measured quantities can reach.  Each head
learns from samples at several points without weights.  Networks are compared as trained
(``normalise=False``) and normalised (``normalise=True``: log-ratios multiplied by a factor from
held-out events, and ratios divided by their means over the training events), on the same toys of
500 events.

python benchmarks/heads.py [--problems mean mass fraction polarisation vbf_hww] [--events 8000]
                           [--seeds 1 2 3] [--toys 1000] [--json FILE] [--table FILE] [--quick]

The last line on standard output is one line of JSON, with a row for each problem, head, bag size,
seed and normalisation.  A row has the effective information I_eff divided by I_eff of the exact
ratio (``info_over_exact``, with the error from the toys), the response, the largest bias in
standard deviations of the estimates, and the largest fraction of toys whose estimate is at the edge
of the range.  It also has the range of the coverage of calibrated 68.27 % intervals on other
events, or the reason why there is no calibration.  ``--table`` prints means over problems and
seeds, ``--table FILE --problems vbf_hww`` those of one problem.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from quick_size import parse, small
from vbf_samples import vbf_sample

import milinfer as mil
from milinfer.datasets import gaussian, peak, vbf_hww
from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.intervals.coverage import coverage
from milinfer.intervals.information import relative_information
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.ensemble import ToyEnsemble

N_EVENTS = 500
# Heads and sizes of their bags.
HEADS: dict[str, dict[str, Any]] = {
    "polynomial, order 1": {"head": "polynomial", "order": 1},
    "polynomial, order 2": {"head": "polynomial", "order": 2},
    "multi-class, bags of 1": {"head": "multiclass", "bag_size": 1},
    "multi-class, bags of 10": {"head": "multiclass", "bag_size": 10},
    "multi-class, free logits, bags of 10": {"head": "multiclass", "degree": None, "bag_size": 10},
    "parametrised, bags of 10": {"head": "parametrised", "bag_size": 10},
}
QUICK = {
    "problems": ["fraction"],
    "events": 800,
    "pool": 4000,
    "toys": 200,
    "seeds": [1],
    "heads": ["polynomial, order 1", "multi-class, bags of 1"],
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Exact:
    """Exact ratio of a density in one parameter."""

    parameter: str
    interpolation: Interpolation
    log_density: Callable[[mil.Sample, float], Array]
    reference: float
    name: str = "exact"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter."""
        return (self.parameter,)

    def event_llr(self, sample: mil.Sample) -> Array:
        """Log-ratios of events to θ0."""
        at_reference = self.log_density(sample, self.reference)
        return np.stack(
            [self.log_density(sample, v) - at_reference for v in self.interpolation.grid.tolist()],
            axis=1,
        )


@dataclass(frozen=True)
class Problem:
    """A parameter with a known likelihood.

    Parameters
    ----------
    parameter
        Its name.
    points
        Points of the training; θ0 is the one in the middle.
    truths
        True values of the toys.
    generate
        Function of the number of events, the value and the seed.
    log_density
        Logarithm of the density of events at a value, up to a constant for each event; None if
        their weights determine the exact ratio.
    """

    parameter: str
    points: tuple[float, ...]
    truths: tuple[float, ...]
    generate: Callable[[int, float, int], mil.Sample]
    log_density: Callable[[mil.Sample, float], Array] | None = None

    @property
    def reference(self) -> float:
        """θ0."""
        return self.points[len(self.points) // 2]

    def samples(self, n_events: int, seed: int, values: Sequence[float]) -> mil.SampleSet:
        """Samples at values of the parameter."""
        seeds = np.random.SeedSequence(seed).generate_state(len(values)).tolist()
        pairs = zip(values, seeds, strict=True)
        return mil.SampleSet(tuple(self.generate(n_events, v, s) for v, s in pairs))

    def exact(self) -> Exact | Oracle:
        """Exact ratio on a fine grid."""
        grid = np.linspace(self.points[0], self.points[-1], 41)
        if self.log_density is None:
            normalising = self.generate(100_000, self.reference, 0)
            return Oracle.from_sample(normalising, self.parameter, grid, degree=4)
        return Exact(
            self.parameter, Interpolation(grid, "spline"), self.log_density, self.reference
        )


def polarised(n_events: int, value: float, seed: int) -> mil.Sample:
    """Angles with the density (1 + P c)/2, and a column of noise."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(-1, 1, n_events)
    c = np.where(rng.random(n_events) < (1 + value * c) / 2, c, -c)
    columns = np.column_stack([c, rng.normal(size=n_events)]).astype(np.float32)
    return mil.Sample(columns, ("cos_theta", "noise"), point={"P": value})


def of_peak(name: str) -> dict[str, Any]:
    """Events and density of the peak in one of its parameters."""

    def log_density(sample: mil.Sample, value: float) -> Array:
        m, d = (sample.column(n).astype(np.float64) for n in ("m_rec", "d"))
        return np.log(peak.density(m, d, {name: value}))

    return {
        "parameter": name,
        "generate": lambda n, v, s: peak.generate(n, {name: v}, seed=s),
        "log_density": log_density,
    }


PROBLEMS = {
    "mean": Problem(
        parameter="mu",
        points=tuple(np.linspace(-1, 1, 11).round(9).tolist()),
        truths=(-0.4, 0.0, 0.4),
        generate=lambda n, v, s: gaussian.generate(n, v, seed=s),
        log_density=lambda s, v: -0.5 * (s.column("x0").astype(np.float64) - v) ** 2,
    ),
    "mass": Problem(
        points=(165.0, 167.5, 170.0, 172.5, 175.0, 177.5, 180.0),
        truths=(170.0, 172.5, 175.0),
        **of_peak("mass"),
    ),
    "fraction": Problem(
        points=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), truths=(0.2, 0.3, 0.4), **of_peak("fraction")
    ),
    "polarisation": Problem(
        parameter="P",
        points=(-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9),
        truths=(-0.4, 0.0, 0.4),
        generate=polarised,
        log_density=lambda s, v: np.log1p(v * s.column("cos_theta").astype(np.float64)),
    ),
    "vbf_hww": Problem(
        parameter="c_HW",
        points=(-1.0, -0.5, 0.0, 0.5, 1.0),
        truths=(-0.2, 0.0, 0.2),
        generate=lambda n, v, s: vbf_sample(vbf_hww.generate(n, {"c_HW": v}, seed=s), v),
    ),
}


def as_trained(model: mil.BagLikelihood) -> mil.BagLikelihood:
    """The same networks without the scale and the division by means."""
    none = (np.empty(0),) * len(model.fitted.members)
    return dataclasses.replace(
        model,
        normalise=False,
        label=f"{model.name}, as trained",
        _fitted=dataclasses.replace(model.fitted, log_z=none, scale=(1.0,) * len(none)),
    )


def networks(
    problem: Problem, train: mil.SampleSet, options: argparse.Namespace, seed: int
) -> list[mil.BagLikelihood]:
    """All heads, and those that have a choice also as they were trained."""
    models = []
    for name in options.heads:
        settings = mil.BagLikelihood(
            label=name, reference=problem.reference, seed=seed, normalise=True, **HEADS[name]
        )
        model = small(settings, options.quick).fit(train)
        models.append(model)
        if HEADS[name]["head"] != "polynomial":
            models.append(as_trained(model))
        print(f"{problem.parameter}, seed {seed}: {name}", file=sys.stderr, flush=True)
    return models


def row_of(
    problem: Problem,
    toys: Sequence[ToyEnsemble],
    calibrating: Sequence[ToyEnsemble],
    exact: Sequence[ToyEnsemble],
) -> dict[str, Any]:
    """Figures of one model."""
    ratio = relative_information(toys, exact, n_bootstrap=50)
    estimates = np.stack([e.theta_hat.ravel() for e in toys])
    bias = (estimates.mean(axis=1) - problem.truths) / estimates.std(axis=1)
    row: dict[str, Any] = {
        "info_over_exact": ratio.ratio,
        "info_over_exact_error": ratio.ratio_error,
        "response": ratio.response,
        "bias": float(np.abs(bias).max()),
        "edge": float(max(e.extremum.at_edge.mean() for e in toys)),
    }
    try:
        calibration = mil.calibrate(calibrating, cl=0.6827)
    except CalibrationError as error:
        return row | {"not_calibrated": str(error)}
    covered = [coverage(e, calibration, 0.6827, warn_of_pool=False) for e in toys]
    return row | {
        "coverage": [c.coverage for c in covered],
        "coverage_error": [float(np.hypot(c.error, c.pool_error)) for c in covered],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over problems and seeds of each head, as Markdown."""
    lines = [
        "| head | I_eff over the exact one | largest bias, σ | not calibrated |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(r["model"] for r in rows):
        own = [r for r in rows if r["model"] == name]
        info, bias = (np.array([r[k] for r in own]) for k in ("info_over_exact", "bias"))
        error = info.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else float("nan")
        failed = sum("not_calibrated" in r for r in own)
        lines.append(
            f"| {name} | {info.mean():.2f} ± {error:.2f} | {bias.mean():.2f} "
            f"| {failed} of {len(own)} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "vbf_hww": lambda record: table([r for r in record["rows"] if r["problem"] == "vbf_hww"]),
    "other": lambda record: table([r for r in record["rows"] if r["problem"] != "vbf_hww"]),
}
"""Tables of the documentation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS))
    parser.add_argument(
        "--events", type=int, default=8000, help="training events at each parameter point"
    )
    parser.add_argument(
        "--pool",
        type=int,
        default=50_000,
        help="events at each true value from which toys are drawn",
    )
    parser.add_argument("--toys", type=int, default=1000, help="number of toys at each true value")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of events and trainings"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the rows to this file"
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="print a table of the result in this file, and stop",
    )
    options = parse(parser, QUICK, arguments)
    if options.table:
        rows = json.loads(options.table.read_text(encoding="utf-8"))["rows"]
        print(table([r for r in rows if r["problem"] in options.problems]))
        return
    warnings.simplefilter("ignore", MilinferWarning)
    rows = []
    for title in options.problems:
        problem = PROBLEMS[title]
        for seed in options.seeds:
            train = problem.samples(options.events, 100 * seed, problem.points)
            models = [problem.exact(), *networks(problem, train, options, seed)]
            points = [{problem.parameter: t} for t in problem.truths]
            toys, calibrating = (
                mil.Toys(
                    problem.samples(options.pool, 100 * seed + k, problem.truths), N_EVENTS, seed=k
                ).scan(models, points, options.toys)
                for k in (1, 2)
            )
            rows += [
                {"problem": title, "seed": seed, "model": m.name}
                | row_of(problem, toys[m.name], calibrating[m.name], toys[models[0].name])
                for m in models[1:]
            ]
    record = {
        "benchmark": "heads",
        "events_per_point": options.events,
        "toys": options.toys,
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
