"""Error of a learned likelihood from finite simulation: the quoted error and the true one.

For each of several independent simulations an ensemble of networks is trained on bootstrap samples
of its events.  All ensembles are tested on the same toys, from another simulation:

* the scatter between simulations of the estimate, and of Λ(θ) at a fixed point, is compared with
  the error that `simulation_error` computes from one simulation;
* the coverage, averaged over simulations, is measured for intervals of the networks as trained, for
  intervals with this error included, for calibrated intervals, and for calibrated intervals that
  include the error of the calibration.

A further test without networks calibrates a Gaussian likelihood many times, each time with five
times as many events as a dataset has.

python benchmarks/simulation_error.py [--problems quadratic vbf] [--simulations 20] [--quick]

The last line on standard output is one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from bars import short
from quick_size import parse, small
from vbf_samples import vbf_samples

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import MilinferWarning
from milinfer.learning.bag_likelihood import single_models
from milinfer.learning.bootstrap import bootstrap_groups
from milinfer.learning.finite_simulation import member_variances
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool
from milinfer.typing import FloatArray
from milinfer.utils.confidence_levels import CL68

N_EVENTS = 1000
TRUTH = 0.15
POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
CALIBRATE_AT = (-0.3, -0.15, 0.0, 0.15, 0.3, 0.45)
# Small, as many are trained.
NETWORK = mil.NetworkConfig((32, 32), "gelu", batch_norm=False, dropout=0.0, l2=0.0)
TRAINING = mil.TrainingConfig(20, 1024, 3e-3, 3e-5, schedule="cosine")
QUICK = {"events": 500, "simulations": 3, "members": 4, "toys": 40, "pool": 4000, "pools": 5}


class Problem(NamedTuple):
    """A process with one parameter; `order` is that of the amplitude."""

    name: str
    parameter: str
    order: int

    def samples(self, n_events: int, seed: int, points: Sequence[float] = POINTS) -> mil.SampleSet:
        """As many events at each of several points."""
        if self.name == "vbf":
            return vbf_samples(n_events, seed, points)
        return quadratic.samples(n_events, [{"c1": v} for v in points], seed=seed)


PROBLEMS = {
    "quadratic": Problem("quadratic", "c1", 1),
    "vbf": Problem("vbf", "c_HW", 2),
}


class Measured(NamedTuple):
    """Of each toy: by all members together, and the error that they quote."""

    estimate: FloatArray
    estimate_error: FloatArray
    data_share: FloatArray
    llr: FloatArray
    llr_error: FloatArray
    covers: FloatArray
    toys: ToyEnsemble


def measure(toys: mil.Toys, model: mil.BagLikelihood, n_toys: int, step: float) -> Measured:
    """What the ensemble gives for each toy; Λ is that at `step` from the truth, less that at it."""
    members = [replace(m, label=f"member {k}") for k, m in enumerate(single_models(model))]
    ensembles = {
        name: own[0] for name, own in toys.scan([model, *members], [TRUTH], n_toys).items()
    }
    own = ensembles[model.name]
    parts = [ensembles[m.name] for m in members]
    groups = bootstrap_groups(len(members))
    at = np.array([TRUTH, TRUTH + step])
    llr = np.stack([e.interpolation.values_at(e.values, at) for e in (own, *parts)])
    differences = llr[:, :, 1] - llr[:, :, 0]
    # As `add_simulation_error` has it: relative to the estimate.
    drop = np.stack([_at(e, own.theta_hat) - llr[1 + k, :, 0] for k, e in enumerate(parts)])
    estimates = np.stack([e.theta_hat for e in parts])
    q = own.test_statistic(TRUTH)
    quoted = []
    for toy in range(n_toys):
        of_estimate = member_variances(estimates[:, toy], groups)
        of_llr = member_variances(differences[1:, toy], groups)
        of_drop = member_variances(drop[:, toy], groups)
        quoted.append(
            (
                of_estimate.of_mean,
                of_estimate.data_share,
                of_llr.total * of_estimate.factor,
                of_drop.total * of_estimate.factor,
            )
        )
    variance, share, llr_variance, s2 = np.array(quoted, dtype=np.float64).T
    widened = q**2 / np.maximum(q + s2, 1e-300)
    return Measured(
        estimate=own.theta_hat,
        estimate_error=np.sqrt(variance),
        data_share=share,
        llr=differences[0],
        llr_error=np.sqrt(llr_variance),
        covers=np.stack([q <= 1, widened <= 1]).mean(axis=1),
        toys=own,
    )


def _at(ensemble: ToyEnsemble, theta: FloatArray) -> FloatArray:
    return ensemble.interpolation.evaluate(ensemble.values, theta)


def compare(values: FloatArray, errors: FloatArray) -> dict[str, float]:
    """Scatter between simulations against the quoted errors, both (n_simulations, n_toys)."""
    n = len(values)
    truth = float(np.sqrt(values.var(axis=0, ddof=1).mean()))
    quoted = np.sqrt((errors**2).mean(axis=1))
    return {
        "scatter": truth,
        "scatter_error": truth / float(np.sqrt(2 * (n - 1))),
        "quoted": float(np.sqrt((errors**2).mean())),
        "quoted_scatter": float(quoted.std(ddof=1)),
        "ratio": float(np.sqrt((errors**2).mean())) / truth,
        "statistics": float(values.std(axis=1, ddof=1).mean()),
    }


def networks(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of networks from independent simulations."""
    toys = mil.Toys(problem.samples(options.pool, 22, (TRUTH,)), N_EVENTS, seed=1)
    rows: list[Measured] = []
    calibrated: list[tuple[float, float]] = []
    start = time.perf_counter()
    for k in range(options.simulations):
        train, tune = (problem.samples(options.events, 1000 + 2 * k + j) for j in range(2))
        model = mil.BagLikelihood(
            head="polynomial", labels="joint", order=problem.order, seed=k,
            ensemble=options.members, bootstrap=True, network=NETWORK, training=TRAINING,
        )  # fmt: skip
        model = small(model, options.quick).fit(train)
        rows.append(measure(toys, model, options.toys, options.step))
        calibration = mil.calibrate(
            mil.Toys(EventPool(tune, 2 * problem.order), N_EVENTS, seed=k).scan(
                [model], CALIBRATE_AT, options.toys
            )[model.name],
            n_bootstrap=50,
        )
        calibrated.append(
            tuple(
                float(c.contains_truth(rows[-1].toys, CL68).mean())
                for c in (calibration, calibration.widened())
            )
        )
        print(problem.name, k, rows[-1].covers, calibrated[-1], file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    covers = np.column_stack([[r.covers for r in rows], calibrated])
    names = ("as trained", "with the error", "calibrated", "calibrated, with its error")
    return {
        "estimate": compare(
            np.stack([r.estimate for r in rows]), np.stack([r.estimate_error for r in rows])
        ),
        "llr": compare(np.stack([r.llr for r in rows]), np.stack([r.llr_error for r in rows])),
        "data_share": float(np.mean([r.data_share.mean() for r in rows])),
        "coverage": {
            name: {
                "mean": float(share.mean()),
                "error": float(share.std(ddof=1) / np.sqrt(len(share))),
            }
            for name, share in zip(names, covers.T, strict=True)
        },
        "seconds": seconds,
    }


def pools(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Coverage of a wrong Gaussian surface, averaged over calibrations with small pools."""
    model = gaussian.MeanModel(scale=0.6, response=0.85, shift=0.03)
    n_events = 100
    data = mil.Toys(gaussian.samples(10 * options.pool, [0.0], seed=9), n_events, seed=3)
    evaluation = data.run([model], 0.0, 20 * options.toys)["mean"]
    covered = []
    for k in range(options.pools):
        small_pool = gaussian.samples(5 * n_events, [0.0], seed=10_000 + k)
        toys = mil.Toys(small_pool, n_events, seed=k).run([model], 0.0, 1000)["mean"]
        calibration = mil.calibrate([toys], n_bootstrap=50)
        covered.append(
            [
                c.contains_truth(evaluation, CL68).mean()
                for c in (calibration, calibration.widened())
            ]
        )
    shares = np.array(covered)
    return {
        name: {"mean": float(s.mean()), "error": float(s.std(ddof=1) / np.sqrt(len(s)))}
        for name, s in zip(("calibrated", "calibrated, with its error"), shares.T, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="*", choices=tuple(PROBLEMS), default=["quadratic"])
    parser.add_argument(
        "--events",
        type=int,
        default=2000,
        help="simulated events at each point, for each of two purposes",
    )
    parser.add_argument(
        "--simulations", type=int, default=20, help="number of independent simulations"
    )
    parser.add_argument("--members", type=int, default=8, help="networks in an ensemble")
    parser.add_argument("--toys", type=int, default=500, help="toys for each simulation")
    parser.add_argument(
        "--step",
        type=float,
        default=0.1,
        help="shift of the parameter for the change of Λ; about one standard error",
    )
    parser.add_argument(
        "--pool", type=int, default=60_000, help="events from which the toys that measure are drawn"
    )
    parser.add_argument(
        "--pools", type=int, default=150, help="number of small pools that calibrate"
    )
    options = parse(parser, QUICK, arguments)
    # Small pools are what is measured.
    warnings.simplefilter("ignore", MilinferWarning)
    figures = {name: networks(PROBLEMS[name], options) for name in options.problems}
    record = {
        "events": options.events,
        "simulations": options.simulations,
        "members": options.members,
        "problems": figures,
        "pools": pools(options),
    }
    print(json.dumps(record | {"short": short("simulation_error", record)}))


if __name__ == "__main__":
    main()
