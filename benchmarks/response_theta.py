"""Bias of a fit whose response ignores the parameter of interest; no network is involved.

The exact response S of vbf_hww to the energy scale of jets depends on c_HW.  From the exact
densities at some values of c_HW two approximations of it are computed: ``constant``, the ratio of
the mixtures of all these values, which is what a response without θ learns; and ``linear``, the
straight line in c_HW that is closest to ln S under these densities.  Weighted events of one truth
are fitted with each of them, and with the exact likelihood.

The last line on standard output is one line of JSON.  ``fits`` has for each truth and response the
difference to the exact fit in c_HW and in jet_scale, in standard deviations of a dataset of
`--expected` events.

python benchmarks/response_theta.py [--events 4000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from quick_size import parse
from scipy.optimize import minimize

from milinfer.datasets import vbf_hww_systematics
from milinfer.datasets.observable_systematics import EventDensities
from milinfer.datasets.selected_cross_section import SelectedCrossSection

LIMIT = vbf_hww_systematics.LIMIT
RANGES = {"-1 to 1": (-1.0, -0.5, 0.0, 0.5, 1.0), "-0.4 to 0.4": (-0.4, -0.2, 0.0, 0.2, 0.4)}
TRUTHS = ((0.2, -2.0), (0.0, 2.0), (0.0, -1.0))
QUICK = {"events": 300, "nominal": 400, "simulated": 5000, "truths": 1, "iterations": 20}


def log_response(densities: EventDensities, c_hw: float, jet_scale: float) -> np.ndarray:
    """Exact ln S of each event."""
    at = [densities.log_density(np.array([c_hw, a, 0.0, 0.0])) for a in (jet_scale, 0.0)]
    return at[0] - at[1]


def perfect(
    densities: EventDensities,
    sigma: SelectedCrossSection,
    points: Sequence[float],
    c_hw: float,
    jet_scale: float,
    *,
    linear: bool,
) -> np.ndarray:
    """Ln S of each event by a response that is constant or linear in c_HW."""
    logs = [
        densities.log_density(np.array([c, 0.0, 0.0, 0.0])) - np.log(sigma.value(c)) for c in points
    ]
    weights = np.exp(np.array(logs) - np.max(logs, axis=0))
    weights /= weights.sum(axis=0)
    ratios = np.array([log_response(densities, c, jet_scale) for c in points])
    if not linear:
        constant: np.ndarray = np.log(np.sum(weights * np.exp(ratios), axis=0))
        return constant
    c = np.array(points)[:, None]
    centre, mean = np.sum(weights * c, axis=0), np.sum(weights * ratios, axis=0)
    slope = np.sum(weights * (c - centre) * (ratios - mean), axis=0)
    slope /= np.sum(weights * (c - centre) ** 2, axis=0)
    line: np.ndarray = mean + slope * (c_hw - centre)
    return line


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=4000, help="events at each truth")
    parser.add_argument("--nominal", type=int, default=12_000, help="events for expected yields")
    parser.add_argument(
        "--simulated", type=int, default=100_000, help="events that give the cross-section"
    )
    parser.add_argument("--truths", type=int, default=len(TRUTHS), help="number of truths")
    parser.add_argument(
        "--iterations", type=int, default=200, help="largest number of iterations of a fit"
    )
    parser.add_argument(
        "--expected", type=float, default=1000.0, help="expected events of a dataset"
    )
    options = parse(parser, QUICK, arguments)
    numbers = {"nodes": (5, 2), "n_rapidity": 64, "n_angles": 6}
    sigma = SelectedCrossSection.simulate(options.simulated, seed=3)
    luminosity = options.expected / sigma.value(0.0)
    events = vbf_hww_systematics.generate(options.nominal, {"c_HW": 0.0}, seed=991)
    nominal = EventDensities.from_events(events, **numbers)
    information = nominal.information(round(options.expected))
    sizes = np.sqrt(np.diag(np.linalg.inv(information)))[:2]
    at_zero = nominal.log_density(np.zeros(4))
    result: dict[str, Any] = {"fits": {}, "options": vars(options)}
    for c_true, jet_true in TRUTHS[: options.truths]:
        data = EventDensities.from_events(
            vbf_hww_systematics.generate(
                options.events, {"c_HW": c_true}, {"jet_scale": jet_true}, seed=555
            ),
            **numbers,
        )
        weight = luminosity * sigma.value(c_true, {"jet_scale": jet_true}) / len(data)

        def fit(
            points: Sequence[float] | None,
            *,
            linear: bool = False,
            data: EventDensities = data,
            weight: float = weight,
            truth: tuple[float, float] = (c_true, jet_true),
        ) -> np.ndarray:
            def cost(at: np.ndarray) -> float:
                c, jet = at
                expected = luminosity * sigma.value(c, {"jet_scale": jet})
                if points is None:
                    ratio = log_response(data, c, jet)
                else:
                    ratio = perfect(data, sigma, points, c, jet, linear=linear)
                    # The yield that belongs to this response, from the same events as the exact.
                    own = perfect(nominal, sigma, points, c, jet, linear=linear)
                    at_c = np.exp(nominal.log_density(np.array([c, 0.0, 0.0, 0.0])) - at_zero)
                    exact = log_response(nominal, c, jet)
                    expected *= np.sum(at_c * np.exp(own)) / np.sum(at_c * np.exp(exact))
                total = data.log_density(np.array([c, 0.0, 0.0, 0.0])) + ratio
                return float(2 * (expected - weight * total.sum()) + (jet - truth[1]) ** 2)

            start = np.array(truth)
            simplex = [start, *(start + 0.5 * np.diag(sizes))]
            found = minimize(
                cost,
                start,
                method="Nelder-Mead",
                bounds=[(-sigma.largest, sigma.largest), (-LIMIT, LIMIT)],
                options={
                    "initial_simplex": simplex,
                    "xatol": 1e-3,
                    "fatol": 1e-3,
                    "maxiter": options.iterations,
                },
            )
            return np.asarray(found.x)

        exact = fit(None)
        figures = {}
        for label, points in RANGES.items():
            for kind in ("constant", "linear"):
                shift = (fit(points, linear=kind == "linear") - exact) / sizes
                figures[f"{kind}, {label}"] = {
                    "c_HW": float(shift[0]),
                    "jet_scale": float(shift[1]),
                }
        result["fits"][f"c_HW={c_true:g},jet_scale={jet_true:g}"] = figures
        print(json.dumps(figures), file=sys.stderr, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
