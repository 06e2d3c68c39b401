"""What a polynomial head learns about two, five and ten operators at once, and how long it takes.

python benchmarks/many_operators.py [--quick] [--json FILE]

The problem is the quadratic one in two, five or ten parameters, whose information is known.  There
is one sample at θ = 0, with weights at the points that determine the quadratic.  The last line on
standard output is one line of JSON, with these entries for each number of parameters:

``train_s``, ``events``, ``epochs``, ``outputs`` of the network;
``info_ratio`` and ``info_ratio_error``: the n-th root of the determinant of the effective
information JᵀV⁻¹J, divided by that of the exact information, from events that were not trained on.
J is the covariance of the learned and the exact score at θ = 0, V the variance of the learned
score;
``response``, ``response_off`` and ``response_error``: the response H⁻¹J with the mean second
derivative H of −Λ, the largest difference of its elements from the unit matrix, and the largest
error of an element;
``errors``: errors from MIGRAD divided by errors from the exact information, mean over toys;
``coverage_joint`` and ``coverage_c1`` with their errors: how often the joint 68.27 % region and the
profile interval of c1 contain the truth, in ``toys`` toys of 1000 events; ``failed`` is the number
of failed fits among them;
``made_ms``, ``call_us``, ``grad_us``: times to make the cost of 1000 events, of its value and of
its gradient;
``migrad_ms``, ``minos_ms`` (c1), ``contour_s`` (c1 and c2 with the rest profiled, 30 points),
``constraint_s`` and ``constraint_error``: time and error of ``milinfer.constraint`` (degree 4);
``one_square``: training, information and response of a head with one further square of amplitudes
(``squares=1``), which is what this problem has;
``monomials_us`` and ``amplitudes_us``: time of the sum of logarithms of 1000 events in numpy, from
the polynomials of the events and from the amplitudes of which the polynomials are made;
``rank_one_us``: the same, if one further square of amplitudes is enough;
``peak_mb``: largest memory of the process so far.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cost import microseconds
from iminuit import Minuit
from quick_size import parse, small
from scipy.stats import chi2

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.utils.confidence_levels import CL68

N_EVENTS = 1000
QUICK = {"parameters": [2, 5], "events": 4000, "toys": 12, "test": 4000, "seconds": 0.002}
# Of the events: each left out once gives the errors.
GROUPS = 40


def exact_score(x: np.ndarray, n: int) -> np.ndarray:
    """Derivatives of the exact ln r at θ = 0, shape (n_events, n)."""
    steps = 1e-4 * np.eye(n)
    up, down = (quadratic.log_likelihood_ratio(x, s * steps) for s in (1, -1))
    return (up - down) / 2e-4


def information(model: mil.BagLikelihood, n: int, n_test: int) -> dict[str, Any]:
    """Information and response at θ = 0, from independent events and a jackknife over them."""
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    test = quadratic.generate(n_test, zero, seed=11, weights=[zero])
    sums = model.log_polynomials(test.as_data())
    assert sums is not None
    origin = np.zeros(n)
    relative = sums.slopes_at(origin) / sums.at(origin)[:, None]
    score, of_z = relative[:-1], relative[-1]
    learned, exact = score - of_z, exact_score(test.features, n)
    bends = np.zeros((GROUPS, n, n))
    groups = np.arange(n_test) % GROUPS
    # −∂²Λ of each group: the sum over its events, with the denominator in its share.
    rows = sums.coefficients
    for g in range(GROUPS):
        chosen = np.append(np.flatnonzero(groups == g), n_test)
        weights = np.ones(len(chosen))
        weights[-1] = -(len(chosen) - 1)
        part = type(sums)(
            sums.basis, sums.centre, sums.half, rows[chosen], weights, sums.low, sums.high, origin
        )
        bends[g] = -part.hessian(origin) / (len(chosen) - 1)

    def figures(left_out: int | None) -> tuple[float, np.ndarray]:
        kept = groups != (-1 if left_out is None else left_out)
        t, s = learned[kept], exact[kept]
        t = t - t.mean(axis=0)
        j, v = t.T @ s / len(t), t.T @ t / len(t)
        effective = j.T @ np.linalg.solve(v, j)
        known = quadratic.fisher_information(1, n)
        ratio = (np.linalg.det(effective) / np.linalg.det(known)) ** (1 / n)
        curvature = bends[[g for g in range(GROUPS) if g != left_out]].mean(axis=0)
        return float(ratio), np.linalg.solve(curvature, j)

    ratio, response = figures(None)
    without = [figures(g) for g in range(GROUPS)]
    factor = np.sqrt((GROUPS - 1) / GROUPS)
    ratio_error = factor * np.sqrt(np.sum((np.array([r for r, _ in without]) - ratio) ** 2))
    matrices = np.array([m for _, m in without])
    response_error = factor * np.sqrt(np.sum((matrices - response) ** 2, axis=0))
    return {
        "info_ratio": ratio,
        "info_ratio_error": float(ratio_error),
        "response": response.round(4).tolist(),
        "response_off": float(np.abs(response - np.eye(n)).max()),
        "response_error": float(response_error.max()),
    }


def toys(model: mil.BagLikelihood, n: int, n_toys: int) -> dict[str, Any]:
    """Fits of toys at θ = 0; each toy has newly generated events."""
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    bound = np.sqrt(np.diag(np.linalg.inv(quadratic.fisher_information(N_EVENTS, n))))
    pool = quadratic.generate(N_EVENTS * n_toys, zero, seed=12, weights=[zero])
    inside, covered, errors, failed = 0, 0, [], 0
    threshold = chi2.ppf(CL68, n)
    for k in range(n_toys):
        data = pool.take(slice(k * N_EVENTS, (k + 1) * N_EVENTS)).as_data()
        m = Minuit(model.cost(data), **zero).migrad().hesse()
        at_zero = m.fcn(np.zeros(n)) - m.fval
        m.minos("c1")
        if not (m.valid and m.merrors["c1"].is_valid):
            failed += 1
            continue
        inside += bool(at_zero <= threshold)
        low, high = (m.values["c1"] + e for e in (m.merrors["c1"].lower, m.merrors["c1"].upper))
        covered += bool(low <= 0 <= high)
        errors.append(np.array(m.errors) / bound)
    fitted = n_toys - failed
    share = {"coverage_joint": inside / fitted, "coverage_c1": covered / fitted}
    return {
        "toys": n_toys,
        "failed": failed,
        **share,
        "coverage_error": float(np.sqrt(CL68 * (1 - CL68) / fitted)),
        "errors": np.mean(errors, axis=0).round(4).tolist(),
    }


def evaluations(model: mil.BagLikelihood, data: mil.Sample, seconds: float) -> dict[str, float]:
    """Plain sums in numpy, from the polynomials of events and from their amplitudes."""
    from milinfer.samples.sample import as_features

    fitted = model.fitted
    head, n = fitted.polynomial, len(fitted.parameters)
    features = as_features(data, fitted.feature_names)
    outputs = fitted.members[0][0].outputs(features)
    amplitudes = (fitted.scale[0] * outputs).astype(np.float64).reshape(len(features), -1, n)
    polynomials = head.polynomials(fitted.scale[0] * outputs)
    theta = np.full(n, 0.05)
    # Parameters first: a product of one matrix and one vector.
    flat, few = (np.ascontiguousarray(a) for a in (amplitudes, amplitudes[:, :2]))

    def of_polynomials() -> float:
        return float(np.log(polynomials @ head.basis.design(theta)[0]).sum())

    def of_amplitudes(a: np.ndarray) -> float:
        at = a @ theta
        at[:, 0] += 1
        return float(np.log(np.einsum("ij,ij->i", at, at)).sum())

    assert abs(of_polynomials() - of_amplitudes(flat)) < 1e-3
    return {
        "monomials": len(head.basis),
        "amplitudes": int(flat[0].size),
        "monomials_us": microseconds(of_polynomials, seconds),
        "amplitudes_us": microseconds(lambda: of_amplitudes(flat), seconds),
        "rank_one_us": microseconds(lambda: of_amplitudes(few), seconds),
    }


def trained(
    n: int, args: argparse.Namespace, squares: int | None
) -> tuple[mil.BagLikelihood, dict[str, Any]]:
    """A model, and figures of its training."""
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    samples = quadratic.samples(args.events, [zero], seed=1)
    model = mil.BagLikelihood(
        squares=squares,
        head="polynomial",
        labels="joint",
        order=1,
        seed=1,
        network=NetworkConfig((128, 128), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(args.epochs, 2048, 2e-3, 2e-5, schedule="cosine"),
    )
    start = time.perf_counter()
    model = small(model, args.quick).fit(samples)
    return model, {
        "train_s": time.perf_counter() - start,
        "events": args.events,
        "epochs": len(model.fitted.history[0]["loss"]),
        "outputs": model.fitted.polynomial.n_outputs,
        **information(model, n, args.test),
    }


def measure(n: int, args: argparse.Namespace) -> dict[str, Any]:
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    model, row = trained(n, args, None)
    row |= toys(model, n, args.toys)
    row["one_square"] = trained(n, args, 1)[1]
    data = quadratic.generate(N_EVENTS, zero | {"c1": 0.1}, seed=13).as_data()
    start = time.perf_counter()
    cost = model.cost(data)
    row["made_ms"] = 1e3 * (time.perf_counter() - start)
    point = np.full(n, 0.03).tolist()
    row["call_us"] = microseconds(lambda: cost(*point), args.seconds)
    row["grad_us"] = microseconds(lambda: cost.grad(*point), args.seconds)

    def fit() -> Minuit:
        return Minuit(cost, **zero).migrad()

    row["migrad_ms"] = microseconds(fit, args.seconds) / 1e3
    m = fit().hesse()
    row["minos_ms"] = microseconds(lambda: m.minos("c1"), args.seconds) / 1e3
    start = time.perf_counter()
    m.mncontour("c1", "c2", cl=CL68, size=30)
    row["contour_s"] = time.perf_counter() - start
    start = time.perf_counter()
    row["constraint_error"] = mil.constraint(m, n_tests=200).error
    row["constraint_s"] = time.perf_counter() - start
    row |= evaluations(model, data, args.seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row["peak_mb"] = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--parameters", type=int, nargs="+", default=[2, 5, 10], help="numbers of parameters"
    )
    parser.add_argument("--events", type=int, default=200_000, help="training events")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument(
        "--test", type=int, default=200_000, help="events from which the information is computed"
    )
    parser.add_argument("--toys", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.2, help="seconds for each timing")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parse(parser, QUICK, arguments)
    start = time.perf_counter()
    rows = {}
    for n in args.parameters:
        rows[str(n)] = measure(n, args)
        print(n, rows[str(n)], file=sys.stderr)
    record = {"rows": rows, "seconds": time.perf_counter() - start}
    if args.json:
        args.json.write_text(json.dumps(record) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
