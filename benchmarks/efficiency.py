"""How much of the information in the events each head finds.

Effective information of every estimator over the true one, on problems whose truth is known:

* ``quadratic``: one parameter, exact bound; ``quadratic2``: two parameters with a cross term;
* ``vbf_hww``: beside the oracle (exact parton-level likelihood ratio) on the same toys.

python benchmarks/efficiency.py [--quick]

The last line on standard output is one line of JSON.  On the analytic problems ``info_ratio`` is
the estimator's I_eff over that of the exact likelihood ratio on the same toys, times I_eff of the
exact one over the Fisher information, from toys that share no events.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

import milinfer as mil
from milinfer.datasets import quadratic, vbf_hww
from milinfer.information_matrix import RelativeInformation, relative_information
from milinfer.networks import NetworkConfig
from milinfer.surface import Interpolation
from milinfer.surface_box import ChebyshevBox
from milinfer.toys import ToyEnsemble
from milinfer.training import TrainingConfig

GRID = tuple(float(v) + 0.0 for v in np.round(np.linspace(-1, 1, 21), 1))
SIZES = (5_000, 20_000, 80_000)


@dataclass(frozen=True)
class Problem:
    """Samples, pools for toys and the best possible estimator."""

    name: str
    train: Callable[[int], mil.SampleSet]
    pools: mil.SampleSet
    points: tuple[dict[str, float], ...]
    best: object
    order: int
    n_events: int
    bound: float | None = None


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
        rings = [(r * np.cos(a), r * np.sin(a)) for r in (0.5, 1.0) for a in np.arange(10) * np.pi / 5]
        points = [zero] + [
            {"c1": round(float(x), 6) + 0.0, "c2": round(float(y), 6) + 0.0} for x, y in rings
        ]
    return Problem(
        "quadratic" if n_parameters == 1 else "quadratic2",
        lambda n: quadratic.samples(n, points, seed=11),
        quadratic.samples(pool_events, [zero, *near], seed=12),
        (zero, *near),
        Exact(n_parameters),
        1,
        1000,
        float(np.linalg.det(quadratic.fisher_information(1000, n_parameters)) ** (1 / n_parameters)),
    )


def _generate(job: tuple[float, int, int]) -> mil.Sample:
    """Events as they come out of the feature step, without the detour through files."""
    value, n, seed = job
    generated = vbf_hww.generate(n, {"c_HW": value}, seed=seed)
    table = mil.feature_set("vbf_2l2j_invariant").from_lhe(generated.to_events()[0])
    own = generated.joint_ratio(value)
    weights = vbf_hww.DEFAULT_WEIGHTS
    return mil.Sample(
        table.array,
        table.names,
        point={"c_HW": value},
        process="vbf_hww",
        cross_section=generated.cross_section,
        cross_section_error=generated.cross_section_error,
        reweights={f"w{k}": generated.joint_ratio(p["c_HW"]) / own for k, p in enumerate(weights)},
        reweight_points={f"w{k}": p for k, p in enumerate(weights)},
    )


def hww(pool_events: int, largest: int) -> Problem:
    values = [(v, largest) for v in GRID] + [(v, pool_events) for v in (0.0, -0.2, 0.2)]
    seeds = np.random.SeedSequence(13).generate_state(len(values))
    jobs = [(v, n, int(s)) for (v, n), s in zip(values, seeds, strict=True)]
    with ProcessPoolExecutor(2) as pool:
        samples = list(pool.map(_generate, jobs))
    train, pools = mil.SampleSet(tuple(samples[:21])), mil.SampleSet(tuple(samples[21:]))
    oracle = mil.Oracle.from_sample(pools[0], "c_HW", np.linspace(-1, 1, 81))
    return Problem(
        "vbf_hww",
        lambda n: mil.SampleSet(tuple(s.take(slice(0, n)) for s in train)),
        pools,
        tuple(dict(p.point) for p in pools),
        oracle,
        2,
        500,
    )


def heads(order: int) -> dict[str, mil.BagLikelihood]:
    """Every head, with the settings that its documentation recommends."""
    polynomial = mil.BagLikelihood(head="polynomial", order=order, seed=1)
    return {
        "polynomial-joint": replace(polynomial, labels="joint", ensemble=2),
        "polynomial": replace(polynomial, ensemble=4),
        "multiclass": mil.BagLikelihood(bag_size=50, seed=1),
        "multiclass-1": mil.BagLikelihood(bag_size=1, seed=1),
    }


def run(
    problem: Problem, models: Sequence[object], n_toys: int
) -> dict[str, list[ToyEnsemble]]:
    toys = mil.Toys(problem.pools, problem.n_events, seed=14)
    thrown = [toys.run(models, p, n_toys) for p in problem.points]
    return {m.name: [t[m.name] for t in thrown] for m in models}


def exact_efficiency(problem: Problem, n_toys: int) -> tuple[float, float]:
    """I_eff of the exact likelihood ratio over the bound, from toys that share no events."""
    from milinfer.information_matrix import information_matrix

    ensembles = []
    for k, point in enumerate(problem.points):
        values = []
        for chunk in range(n_toys // 50):
            sample = quadratic.generate(50 * problem.n_events, point, seed=10_000 + 1000 * k + chunk)
            llr = problem.best.event_llr(sample)
            values.append(llr.reshape(50, problem.n_events, -1).sum(axis=1))
        ensembles.append(
            ToyEnsemble(
                "oracle", point, problem.best.interpolation, np.concatenate(values),
                problem.n_events, False, n_toys * problem.n_events, f"disjoint {k}", 14,
            )
        )
    result = information_matrix(ensembles)
    p = len(problem.points[0])
    size = np.linalg.det(result.info_eff) ** (1 / p) / problem.bound
    # Relative errors of the diagonal stand for that of the determinant's root.
    error = np.sqrt(np.sum((np.diag(result.info_eff_error) / np.diag(result.info_eff)) ** 2)) / p
    return float(size), float(size * error)


def row(
    problem: Problem, head: str, n: int, r: RelativeInformation, exact: tuple[float, float],
    seconds: float,
) -> dict[str, object]:
    ratio = r.ratio * exact[0]
    return {
        "problem": problem.name,
        "head": head,
        "events_per_point": n,
        "info_ratio": round(ratio, 4),
        "info_ratio_error": round(float(ratio * np.hypot(r.ratio_error / r.ratio, exact[1] / exact[0])), 4),
        "same_toys_ratio": round(r.ratio, 4),
        "same_toys_ratio_error": round(r.ratio_error, 4),
        "width_ratio": round(r.width_ratio, 4),
        "width_ratio_error": round(r.width_ratio_error, 4),
        "response": round(r.response, 4),
        "response_error": round(r.response_error, 4),
        "bartlett_ratio": round(r.bartlett_ratio, 4),
        "bartlett_ratio_error": round(r.bartlett_ratio_error, 4),
        "bartlett_minus_oracle": round(r.bartlett_difference, 4),
        "bartlett_minus_oracle_error": round(r.bartlett_difference_error, 4),
        "train_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 000 events a point only")
    parser.add_argument("--problems", nargs="+", default=["quadratic", "quadratic2", "vbf_hww"])
    parser.add_argument("--heads", nargs="+", help="default: all")
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--toys", type=int, default=2000)
    parser.add_argument("--pool", type=int, default=200_000)
    options = parser.parse_args()
    sizes = options.sizes or ((20_000,) if options.quick else SIZES)
    rows = []
    for name in options.problems:
        problem = (
            hww(options.pool, max(sizes))
            if name == "vbf_hww"
            else analytic(1 if name == "quadratic" else 2, options.pool)
        )
        exact = (1.0, 0.0) if problem.bound is None else exact_efficiency(problem, options.toys)
        reference = run(problem, [problem.best], options.toys)["oracle"]
        rows.append(row(problem, "oracle", 0, relative_information(reference, reference), exact, 0.0))
        print(rows[-1], file=sys.stderr, flush=True)
        for n in sizes:
            train = problem.train(n)
            for head, settings in heads(problem.order).items():
                if options.heads and head not in options.heads:
                    continue
                start = time.perf_counter()
                model = settings.fit(train)
                seconds = time.perf_counter() - start
                (ensembles,) = run(problem, [model], options.toys).values()
                rows.append(
                    row(problem, head, n, relative_information(ensembles, reference), exact, seconds)
                )
                print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"benchmark": "efficiency", "rows": rows}))


if __name__ == "__main__":
    main()
