"""Fraction of the information in the events that each head finds.

It is the effective information I_eff of every estimator divided by the true information, for
problems with a known likelihood:

* ``quadratic``: one parameter, with an exact bound; ``quadratic2``: two parameters with a cross
  term;
* ``vbf_hww``: compared with the exact parton-level likelihood ratio (oracle) on the same toys.

python benchmarks/efficiency.py [--quick]

The last line on standard output is one line of JSON.  For the analytic problems the reference on
the same toys is the sum of exact scores, an estimator whose information is known without toys.  So
``info_ratio`` is I_eff divided by the exact bound, and the fluctuation of the toys cancels.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from quick_size import parse, small
from vbf_samples import vbf_sample

import milinfer as mil
from milinfer.datasets import quadratic, vbf_hww
from milinfer.datasets.observable import observable_coefficients
from milinfer.intervals.information import relative_information
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.ensemble import ToyEnsemble

GRID = tuple(float(v) + 0.0 for v in np.round(np.linspace(-1, 1, 21), 1))
SIZES = (5_000, 20_000, 80_000)
QUICK = {
    "bootstrap": 20,
    "heads": ["polynomial-joint"],
    "sizes": [500],
    "toys": 100,
    "pool": 2_000,
    "members": 1,
    "points": 5,
    "workers": 1,
}


@dataclass(frozen=True)
class Problem:
    """Samples, pools for toys and the best possible estimators, the first being the reference."""

    name: str
    train: Callable[[int], mil.SampleSet]
    pools: mil.SampleSet
    points: tuple[dict[str, float], ...]
    best: tuple[object, ...]
    order: int
    n_events: int
    reference_efficiency: float = 1.0


class Score:
    """Estimator from the exact score at θ = 0: linear in the sums, its information is known."""

    name = "score"

    def __init__(self, n_parameters: int) -> None:
        self.parameters = ("c1", "c2")[:n_parameters]
        self.interpolation = (
            Interpolation(np.linspace(-1, 1, 3), "polynomial", 2)
            if n_parameters == 1
            else ChebyshevBox(-np.ones(2), np.ones(2), 2)
        )
        self._fisher = quadratic.fisher_information(1, n_parameters)

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        nodes = self.interpolation.grid.reshape(-1, len(self.parameters))
        steps = 1e-4 * np.eye(len(self.parameters))
        exact = [quadratic.log_likelihood_ratio(sample.features, s * steps) for s in (1, -1)]
        score = (exact[0] - exact[1]) / 2e-4
        return score @ nodes.T - np.einsum("kp,pq,kq->k", nodes, self._fisher, nodes) / 2

    def efficiency(self, distance: float) -> float:
        """Its I_eff over the Fisher information, with the response over ±distance: 1/Z²."""
        p = len(self.parameters)
        z = [quadratic.normalisation(distance * e) for e in np.eye(p)]
        return float(np.prod(z) ** (-2 / p))


class Exact:
    """Exact likelihood ratio of the quadratic problem."""

    name = "oracle"

    def __init__(self, n_parameters: int) -> None:
        self.parameters = ("c1", "c2")[:n_parameters]
        self.interpolation = (
            Interpolation(np.linspace(-1, 1, 81), "spline")
            if n_parameters == 1
            else ChebyshevBox(-np.ones(2), np.ones(2), 16)
        )

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        nodes = self.interpolation.grid.reshape(-1, len(self.parameters))
        chunks = np.array_split(sample.features, max(1, len(sample) // 50_000))
        return np.concatenate([quadratic.log_likelihood_ratio(x, nodes) for x in chunks])


def analytic(n_parameters: int, pool_events: int) -> Problem:
    names = ("c1", "c2")[:n_parameters]
    zero = dict.fromkeys(names, 0.0)
    near = [zero | {n: s} for n in names for s in (-0.4, 0.4)]
    if n_parameters == 1:
        points = [{"c1": c} for c in GRID]
    else:
        rings = [
            (r * np.cos(a), r * np.sin(a)) for r in (0.5, 1.0) for a in np.arange(10) * np.pi / 5
        ]
        points = [zero] + [
            {"c1": round(float(x), 6) + 0.0, "c2": round(float(y), 6) + 0.0} for x, y in rings
        ]
    return Problem(
        "quadratic" if n_parameters == 1 else "quadratic2",
        lambda n: quadratic.samples(n, points, seed=11),
        quadratic.samples(pool_events, [zero, *near], seed=12),
        (zero, *near),
        (Score(n_parameters), Exact(n_parameters)),
        1,
        1000,
        Score(n_parameters).efficiency(0.4),
    )


class Observable:
    """Exact likelihood ratio of what a detector sees, with the neutrinos integrated out."""

    name = "oracle-observable"
    parameters = ("c_HW",)
    interpolation = Interpolation(np.linspace(-1, 1, 81), "spline")

    def __init__(self, coefficients: dict[float, np.ndarray]) -> None:
        self._coefficients = coefficients
        self._total = coefficients[0.0].mean(axis=0)

    def event_llr(self, sample: mil.Sample) -> np.ndarray:
        powers = np.vander(self.interpolation.grid, 5, increasing=True).T
        own = self._coefficients[sample.point["c_HW"]]
        return np.log(own @ powers) - np.log(self._total @ powers)


def _generate(job: tuple[float, int, int, bool]) -> tuple[mil.Sample, np.ndarray | None]:
    """Events as they come out of the feature step, without the detour through files."""
    value, n, seed, observable = job
    generated = vbf_hww.generate(n, {"c_HW": value}, seed=seed)
    sample = vbf_sample(generated, value)
    return sample, observable_coefficients(generated).coefficients if observable else None


def hww(pool_events: int, largest: int, n_points: int, workers: int) -> Problem:
    wanted = [(v, pool_events, True) for v in (0.0, -0.2, 0.2)]
    wanted += [(v, largest, False) for v in GRID[:: (len(GRID) - 1) // (n_points - 1)]]
    seeds = np.random.SeedSequence(13).generate_state(len(wanted))
    jobs = [(v, n, int(s), o) for (v, n, o), s in zip(wanted, seeds, strict=True)]
    if workers == 1:
        made = [_generate(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers) as pool:
            made = list(pool.map(_generate, jobs))
    train = mil.SampleSet(tuple(s for s, c in made if c is None))
    pools = mil.SampleSet(tuple(s for s, c in made if c is not None))
    observable = Observable({s.point["c_HW"]: c for s, c in made if c is not None})
    grid = np.linspace(-1, 1, 81)
    oracle = mil.Oracle.from_sample(pools[0], "c_HW", grid)
    return Problem(
        "vbf_hww",
        lambda n: mil.SampleSet(tuple(s.take(slice(0, n)) for s in train)),
        pools,
        tuple(dict(p.point) for p in pools),
        (oracle, observable),
        2,
        500,
    )


# Of the hard labels, chosen by the validation loss: the quadratic problems are smooth, and take a
# larger network and longer training than the default, which suits vbf_hww.
SMOOTH = {
    "network": NetworkConfig((128, 128, 128), "gelu", batch_norm=False, dropout=0.05, l2=0.0),
    "training": TrainingConfig(24, 2048, 2e-3, 2e-5, schedule="cosine"),
}


def heads(problem: Problem, n: int, members: int) -> dict[str, mil.BagLikelihood]:
    """Every head at n events a point; ensembles where training is short."""
    members = members if n <= 20_000 else 1
    joint = mil.BagLikelihood(
        head="polynomial", labels="joint", order=problem.order, ensemble=members, seed=1
    )
    smooth = SMOOTH if problem.order == 1 else {}
    hard = replace(joint, labels="hard", validation_fraction=0.1, **smooth)
    out = {"polynomial-joint": joint, "polynomial": hard}
    out |= {
        f"multiclass-{k}": mil.BagLikelihood(head="multiclass", bag_size=k, normalise=False, seed=1)
        for k in (1, 10, 50)
    }
    return out


def run(problem: Problem, models: Sequence[object], n_toys: int) -> dict[str, list[ToyEnsemble]]:
    toys = mil.Toys(problem.pools, problem.n_events, seed=14)
    thrown = [toys.run(models, p, n_toys) for p in problem.points]
    return {m.name: [t[m.name] for t in thrown] for m in models}


def row(
    problem: Problem,
    head: str,
    n: int,
    ensembles: list[ToyEnsemble],
    reference: list[ToyEnsemble],
    seconds: float,
    n_bootstrap: int,
) -> dict[str, object]:
    r = relative_information(ensembles, reference, n_bootstrap=n_bootstrap)
    scale = problem.reference_efficiency
    figures = {
        "problem": problem.name,
        "head": head,
        "events_per_point": n,
        "info_ratio": round(r.ratio * scale, 4),
        "info_ratio_error": round(r.ratio_error * scale, 4),
        "width_ratio": round(r.width_ratio * scale, 4),
        "width_ratio_error": round(r.width_ratio_error * scale, 4),
        "response": round(r.response, 4),
        "response_error": round(r.response_error, 4),
        "bartlett_ratio": round(r.bartlett_ratio, 4),
        "bartlett_ratio_error": round(r.bartlett_ratio_error, 4),
        "bartlett_minus_reference": round(r.bartlett_difference, 4),
        "bartlett_minus_reference_error": round(r.bartlett_difference_error, 4),
        "train_seconds": round(seconds, 1),
    }
    print(figures, file=sys.stderr, flush=True)
    return figures


def table(rows: list[dict[str, object]]) -> str:
    """Rows as a Markdown table."""

    def pair(r: dict[str, object], key: str) -> str:
        return f"{r[key]:.3f} ± {r[key + '_error']:.3f}"

    lines = [
        (
            "| problem | estimator | events a point | I_eff ratio | by 68 % width | response | "
            "Bartlett ratio | training, s |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        figures = [pair(r, k) for k in ("info_ratio", "width_ratio", "response", "bartlett_ratio")]
        n = r["events_per_point"] or "—"
        seconds = f"{r['train_seconds']:.0f}" if r["events_per_point"] else "—"
        cells = [r["problem"], r["head"], n, *figures, seconds]
        lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=["quadratic", "quadratic2", "vbf_hww"])
    parser.add_argument("--heads", nargs="+", help="heads to train; default: all")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=list(SIZES),
        help="training events at each parameter point",
    )
    parser.add_argument("--toys", type=int, default=2000)
    parser.add_argument(
        "--pool", type=int, default=200_000, help="events from which toys are drawn"
    )
    parser.add_argument(
        "--table", metavar="FILE", help="print a table of the result in this file, and stop"
    )
    parser.add_argument(
        "--members", type=int, default=3, help="networks in an ensemble, for up to 20 000 events"
    )
    parser.add_argument(
        "--points", type=int, default=len(GRID), help="number of training points of vbf_hww"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that generate events")
    parser.add_argument(
        "--bootstrap", type=int, default=200, help="number of bootstrap samples for the errors"
    )
    options = parse(parser, QUICK, arguments)
    if options.table:
        print(table(json.loads(Path(options.table).read_text(encoding="utf-8"))["rows"]))
        return
    rows = []
    for title in options.problems:
        problem = (
            hww(options.pool, max(options.sizes), options.points, options.workers)
            if title == "vbf_hww"
            else analytic(1 if title == "quadratic" else 2, options.pool)
        )
        thrown = run(problem, problem.best, options.toys)
        reference = thrown[problem.best[0].name]
        exact = {k: v for k, v in thrown.items() if k != "score"}
        resamplings = options.bootstrap
        rows += [row(problem, k, 0, v, reference, 0.0, resamplings) for k, v in exact.items()]
        for n in options.sizes:
            train = problem.train(n)
            for head, settings in heads(problem, n, options.members).items():
                if options.heads and head not in options.heads:
                    continue
                start = time.perf_counter()
                model = small(settings, options.quick).fit(train)
                seconds = time.perf_counter() - start
                (ensembles,) = run(problem, [model], options.toys).values()
                rows.append(row(problem, head, n, ensembles, reference, seconds, resamplings))
    print(json.dumps({"benchmark": "efficiency", "rows": rows}))


if __name__ == "__main__":
    main()
