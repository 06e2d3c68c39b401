"""From a trained likelihood to an interval that covers, with the coverage measured.

Uses the analytic problem ``datasets.quadratic``, whose events know their weight at any value of the
coefficient c1: one pool of events then serves toys at every truth.

python examples/honest_intervals.py [--quick]
"""

from __future__ import annotations

import sys

import numpy as np

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.intervals.conditional_coverage import conditional_coverage

N_EVENTS = 1000
POOL = [{"c1": c} for c in (-0.6, 0.0, 0.6)]


def main(*, quick: bool) -> None:
    # The quick size is for tests of the package.
    n_pool, n_toys, n_belt = (10_000, 400, 5) if quick else (50_000, 4000, 15)
    # A quick training on few events: good enough to be useful, bad enough to need calibration.
    values = [{"c1": round(float(c), 1) + 0.0} for c in np.linspace(-1, 1, 11)]
    train = quadratic.samples(1_000, values, seed=1)
    model = mil.BagLikelihood(head="polynomial", order=1, seed=1).fit(train)

    # Two pools that share no event with each other or with the training.
    tuning = mil.EventPool(quadratic.samples(n_pool, POOL, seed=2), degree=2)
    other = mil.EventPool(quadratic.samples(n_pool, POOL, seed=3), degree=2)

    # Calibration: curvature and bias as functions of c1.
    toys = mil.Toys(tuning, N_EVENTS, seed=4)
    truths = [round(float(c), 2) + 0.0 for c in np.linspace(-0.3, 0.3, 7)]
    calibration = mil.calibrate(toys.scan([model], truths, n_toys, workers=2)[model.name])
    print(f"c_cicc = {calibration.scale:.2f} ± {calibration.scale_error:.2f}, ", end="")
    print("bias", ", ".join(f"{calibration.bias(t)[0]:+.3f} at {t:g}" for t in (-0.3, 0.0, 0.3)))

    # A Neyman belt with Feldman-Cousins ordering: the critical values come from toys alone.
    grid = [round(float(c), 3) + 0.0 for c in np.linspace(-0.3, 0.3, n_belt)]
    belt_toys = mil.Toys(tuning, N_EVENTS, seed=5).scan([model], grid, n_toys // 2, workers=2)
    belt = mil.neyman(belt_toys[model.name], calibration=calibration)

    # One dataset: the interval as trained, calibrated with MINOS, and from the belt.
    data = quadratic.generate(N_EVENTS, {"c1": 0.2}, seed=6).as_data()
    cost = model.cost(data)
    for name, interval in (
        ("as trained", mil.profile_interval(cost, "c1")),
        ("calibrated", mil.profile_interval(calibration(cost), "c1")),
        ("Neyman belt", belt.interval(cost)),
    ):
        print(f"{name:<12} {interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]")

    # Coverage at truths that the calibration has not seen, on events that tuned nothing.
    evaluation = mil.Toys(other, N_EVENTS, seed=7)
    ensembles = evaluation.scan([model], [-0.25, -0.15, 0.05, 0.15, 0.25], n_toys // 2)[model.name]
    methods = {"as trained": None, "calibrated": calibration, "Neyman belt": belt}
    scan = mil.coverage_scan(ensembles, methods)
    for row in scan.table_rows():
        print("  ".join(f"{cell:>12}" for cell in row))
    for name, method in methods.items():
        conditional = conditional_coverage(ensembles, method, by="curvature")
        low, high = conditional.coverage[[0, -1]]
        print(f"{name}: {low:.0%} where the curvature is smallest, {high:.0%} where largest")


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
