"""How precisely are scores of nuisance parameters learned, as a function of the number of events?

Responses of vbf_hww to an energy scale of jets, an energy scale of leptons and a theory weight are
learned from more and more events.  On other events, at c_HW = 0, the slopes of the responses in the
nuisance parameters are compared with the exact slopes of the visible final state.  This takes
seconds, while fits of toys take an hour and show the same.

The last line on standard output is one line of JSON.  For each number of events and each nuisance
parameter it has the squared correlation of the learned with the exact slope (``correlation2``), and
the slope of a straight line through both (``slope``; 1 if the learned slope is a conditional mean).
``reported_over_exact`` and ``error_over_exact`` compare the errors of all parameters in a fit of
`--expected` events, with all others profiled, with the errors of the exact likelihood: the errors
that the fit reports, and the spread of its estimates, each divided by the exact error.  Both
likelihoods have the exact slope in c_HW, so that only the response matters.  ``cpu`` has the
seconds of the training.

With `--pool` a signal model is learned as well.  So many other events at each of several truths are
fitted, with weights that sum to `--expected`.  For each truth, ``shifts`` is the distance of the
minimum from the truth in units of the errors, and ``yield_noise`` the part of it that comes from
the simulated events of the expected yield.

python benchmarks/response_events.py [--events 5000 10000 20000] [--features vbf_2l2j]
    [--theta-dependent] [--weight-decay 0.3] [--l2 1e-5] [--dropout 0.1] [--hidden 128 128]
    [--steps 0.5] [--pool 120000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from quick_size import parse, small
from systematics import exact_rate

import milinfer as mil
from milinfer.datasets import vbf_hww_systematics
from milinfer.datasets.observable_systematics import EventDensities
from milinfer.datasets.selected_cross_section import SelectedCrossSection
from milinfer.exceptions import MilinferWarning
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.systematic_response import default_training
from milinfer.likelihood.simulation_noise import yield_noise
from milinfer.likelihood.systematics import MixtureEvents, SystematicCost

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
NUISANCES = vbf_hww_systematics.NUISANCES
STEP = 0.05
TRUTHS: tuple[tuple[float, dict[str, float]], ...] = (
    (0.0, {}),
    (0.0, {"jet_scale": 2.0}),
    (0.0, {"theory": 1.0}),
    (0.0, {"lepton_scale": 2.0}),
    (0.2, {"jet_scale": -2.0}),
)
QUICK = {"events": [300, 600], "held_out": 100, "pool": 400, "simulated": 2000}


def shares(process: mil.ProcessVariations, n_events: int) -> mil.ProcessVariations:
    """The variations of a part of the events."""
    share = n_events / len(process.nominal[0])
    return process.split([share, 1 - share], seed=1)[0] if share < 1 else process


def slopes(response: mil.SystematicResponse, sample: mil.Sample) -> np.ndarray:
    """Learned slope of ln S in each nuisance parameter at 0, shape (n_nuisances, n_events)."""
    table, terms = response.table(sample), response.terms
    theta = np.zeros(1) if terms.parameters else None
    out = []
    for name in NUISANCES:
        up, down = (table.log_response(terms.array({name: side * STEP}), theta) for side in (1, -1))
        out.append((up - down) / (2 * STEP))
    return np.stack(out)


def errors(information: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Errors of all parameters by the sandwich of an estimating function."""
    inverse = np.linalg.inv(information)
    return np.sqrt(np.diag(inverse @ covariance @ inverse.T))


def compared(learned: np.ndarray, exact: np.ndarray, expected: float) -> dict[str, Any]:
    """Figures of learned slopes; `exact` has that in c_HW first."""
    out: dict[str, Any] = {"correlation2": {}, "slope": {}}
    for k, name in enumerate(NUISANCES):
        both = np.cov(learned[k], exact[1 + k])
        out["correlation2"][name] = float(both[0, 1] ** 2 / (both[0, 0] * both[1, 1]))
        out["slope"][name] = float(both[0, 1] / both[0, 0])
    used = np.concatenate([exact[:1], learned])
    constraints = np.diag([0.0, 1.0, 1.0, 1.0])
    outer = [
        expected * a @ b.T / exact.shape[1] + constraints
        for a, b in ((exact, exact), (used, used), (used, exact))
    ]
    best = errors(outer[0], outer[0])
    for key, value in (
        ("reported_over_exact", errors(outer[1], outer[1])),
        ("error_over_exact", errors(outer[2], outer[1])),
    ):
        out[key] = dict(zip(("c_HW", *NUISANCES), (value / best).tolist(), strict=True))
    return out


def trained(
    part: mil.ProcessVariations, options: argparse.Namespace
) -> tuple[mil.SystematicResponse, float]:
    """The response, and seconds of CPU of its training."""
    start = time.process_time()
    response = mil.SystematicResponse(
        seed=2,
        ensemble=options.ensemble,
        theta_dependent=options.theta_dependent,
        theta_range={"c_HW": (-0.5, 0.5)} if options.theta_dependent else None,
    )
    rows = sum(len(s) for s in part.nominal)
    rows += sum(len(v.sample) for v in part.variations if not v.weights_only)
    training = default_training(round((1 - response.validation_fraction) * rows))
    training = replace(training, epochs=max(1, round(options.steps * training.epochs)))
    if options.learning_rate is not None:
        training = replace(training, learning_rate=options.learning_rate)
    if options.weight_decay is not None:
        training = replace(training, weight_decay=options.weight_decay)
    network = NetworkConfig(
        tuple(options.hidden), "silu", batch_norm=False, dropout=options.dropout, l2=options.l2
    )
    response = small(replace(response, training=training, network=network), options.quick)
    return response.fit(part), time.process_time() - start


class Pools:
    """Other events at each truth, and what else fits need."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cross_section = SelectedCrossSection.simulate(options.simulated, seed=3)
        self.luminosity = options.expected / self.cross_section.value(0.0) / 1000
        self.samples = []
        for k, (point, nuisances) in enumerate(TRUTHS):
            events = vbf_hww_systematics.generate(
                options.pool, {"c_HW": point}, nuisances, seed=700 + k
            )
            expected = 1000 * self.luminosity * self.cross_section.value(point, nuisances)
            sample = events.to_sample(options.features).as_data()
            weights = np.full(len(sample), expected / len(sample))
            self.samples.append(replace(sample, weights=weights))

    def fits(
        self, process: mil.ProcessVariations, response: mil.SystematicResponse
    ) -> dict[str, Any]:
        """Shifts of weighted fits at each truth, and the part of the expected yield in them."""
        model = mil.BagLikelihood(head="polynomial", labels="joint", seed=1)
        model = small(model, self.options.quick, learns=True).fit(process.nominal)
        rate = exact_rate(process.nominal, self.cross_section, self.luminosity)
        terms = mil.systematic_terms(model, rate=rate, responses={"signal": response})
        out: dict[str, Any] = {"shifts": {}, "errors": {}}
        for (point, nuisances), sample in zip(TRUTHS, self.samples, strict=True):
            truth = {"c_HW": point, **dict.fromkeys(NUISANCES, 0.0), **nuisances}
            cost = SystematicCost(terms, MixtureEvents.of(terms, sample))
            cost = cost.measuring(**{n: truth[n] for n in NUISANCES})
            m = mil.minuit(cost).migrad()
            m.hesse()
            label = ",".join(f"{n}={x:g}" for n, x in truth.items() if x) or "nominal"
            off = {n: (m.values[n] - truth[n]) / m.errors[n] for n in truth}
            out["shifts"][label] = off
            out["errors"][label] = {n: m.errors[n] for n in truth}
            if label == "nominal":
                out["yield_noise"] = yield_noise(cost, m)
        return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events",
        type=int,
        nargs="+",
        default=[5_000, 10_000, 20_000],
        help="numbers of training events",
    )
    parser.add_argument(
        "--held-out", type=int, default=10_000, help="events on which slopes are compared"
    )
    parser.add_argument("--features", default="vbf_2l2j")
    parser.add_argument(
        "--shifts",
        type=float,
        nargs="+",
        default=[1.0, 2.0],
        help="simulated values of each nuisance parameter, up and down",
    )
    parser.add_argument("--ensemble", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, help="learning rate, if not the default")
    parser.add_argument("--weight-decay", type=float, help="weight decay, if not the default")
    parser.add_argument(
        "--theta-dependent",
        action="store_true",
        help="response that is linear in c_HW, from -0.5 to 0.5",
    )
    parser.add_argument("--l2", type=float, default=0.0)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64])
    parser.add_argument(
        "--steps", type=float, default=1.0, help="training steps, relative to the default"
    )
    parser.add_argument(
        "--pool", type=int, default=0, help="events at each truth for weighted fits; 0: no fits"
    )
    parser.add_argument(
        "--simulated", type=int, default=200_000, help="events that give the cross-section"
    )
    parser.add_argument("--expected", type=float, default=1000.0, help="expected events of the fit")
    parser.add_argument("--seed", type=int, default=11)
    options = parse(parser, QUICK, arguments)
    warnings.simplefilter("ignore", MilinferWarning)
    held_out = vbf_hww_systematics.generate(options.held_out, {"c_HW": 0.0}, seed=991)
    sample = held_out.to_sample(options.features)
    densities = EventDensities.from_events(held_out, nodes=(5, 3), n_rapidity=96, n_angles=6)
    _, exact = densities.log_density_and_gradient(np.zeros(4))
    shifts = [{n: s * side} for n in NUISANCES for s in options.shifts for side in (-1, 1)]
    process = vbf_hww_systematics.variations(
        max(options.events), POINTS, shifts, seed=options.seed, features=options.features
    )
    result: dict[str, Any] = {"events": {}, "options": vars(options)}
    pools = Pools(options) if options.pool else None
    for n_events in options.events:
        part = shares(process, n_events)
        response, cpu = trained(part, options)
        figures = compared(slopes(response, sample), exact, options.expected) | {"cpu": cpu}
        if pools is not None:
            figures |= pools.fits(part, response)
        result["events"][str(n_events)] = figures
        print(f"{n_events}: {json.dumps(figures)}", file=sys.stderr, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
