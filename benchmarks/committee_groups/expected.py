"""Expected results beside toys: Asimov data, bands, luminosity, CLs limits and belts."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pyhf
from iminuit.cost import NormalConstraint
from scipy.stats import norm

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.intervals.expected import BANDS, expected_interval
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.intervals.upper_limits import upper_limit, upper_limit_of_toys
from milinfer.likelihood.asimov import asimov_cost
from milinfer.likelihood.systematics import SystematicTerms

RATE, BACKGROUND = 800.0, 200.0
LUMINOSITY = 4.0
# Events of a dataset of bands and limits, whose estimate has the error 1/√N.
N_EVENTS = 200
LIMIT_TRUTHS = (0.0, 0.06, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3, 0.36, 0.44, 0.5)
N_LIMIT = 100
# CLs of pyhf is computed so far from our limits, relative to them.
NEARBY = 0.005


def density_ratio(sample: mil.Sample) -> np.ndarray:
    """The logarithm of the density of the background over that of the signal."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def terms_with_background() -> SystematicTerms:
    """A mean, an uncertain background, and an uncertain trigger efficiency."""
    return mil.systematic_terms(
        gaussian.MeanModel(),
        rate=RATE,
        responses={},
        reference=0.0,
        backgrounds={"top": (density_ratio, BACKGROUND)},
        norm_constraints={"top": 0.2},
        uncertainties=[mil.NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})],
    )


def expected_results(options: argparse.Namespace) -> dict[str, Any]:
    """Asimov data of a likelihood with nuisance parameters, beside toys."""
    terms = terms_with_background()
    signal = gaussian.generate(40_000, 0.0, seed=31)
    top = mil.Sample(gaussian.generate(10_000, 2.0, seed=32).features, ("x0",), process="top")
    processes = {"signal": signal, "top": top}
    asimov = asimov_cost(terms, processes, mu=0.1, trigger=0.5)
    point = {"mu": 0.1, "top_norm": 1.0, "trigger": 0.5}
    slopes = asimov.grad(*(point[name] for name in terms.names))

    def toys_of(luminosity: float) -> mil.Toys:
        return mil.Toys(
            mil.SampleSet((signal,)),
            RATE * luminosity,
            seed=33,
            poisson=True,
            background=(mil.Background(top, BACKGROUND * luminosity),),
        )

    toys = toys_of(1.0)
    toys.run([mil.ProfiledSystematics(terms)], 0.0, 10)  # compiles
    start = time.process_time()
    ensemble = toys.run([mil.ProfiledSystematics(terms)], 0.0, options.toys)["profiled"]
    seconds = time.process_time() - start
    expected = expected_interval(ensemble, asimov_cost(terms, processes))
    scaled = terms.scaled(LUMINOSITY)
    many = toys_of(LUMINOSITY).run([mil.ProfiledSystematics(scaled)], 0.0, options.toys)
    of_many = expected_interval(many["profiled"], asimov_cost(scaled, processes))
    return {
        "largest_slope_at_the_point": float(np.max(np.abs(slopes))),
        "width_over_median_toy": expected.width / float(expected.widths[2]),
        "profiled_toys_per_second": options.toys / seconds,
        "width_over_median_toy_at_4_times_the_luminosity": of_many.width / float(of_many.widths[2]),
        "width_at_4_times_the_luminosity_over_width": of_many.width / expected.width,
    }


def band_results(options: argparse.Namespace) -> dict[str, float]:
    """Bands of ±1σ and ±2σ of the mean of a Gaussian, whose quantiles are known.

    ``largest_pull`` is the largest deviation of a quantile in units of its error, which is that of
    the finite number of toys and of the finite pool of events.
    """
    sigma = 1 / np.sqrt(N_EVENTS)
    n_pool = 200_000
    events = gaussian.samples(n_pool, [0.0], seed=34)
    ensemble = mil.Toys(events, N_EVENTS, seed=35).run([gaussian.MeanModel()], 0.0, options.toys)[
        "mean"
    ]
    terms = mil.systematic_terms(
        gaussian.MeanModel(), rate=float(N_EVENTS), responses={}, reference=0.0
    )
    expected = expected_interval(
        ensemble, asimov_cost(terms, gaussian.generate(8000, 0.0, seed=36))
    )
    bands = np.array(BANDS)
    shares = norm.cdf(bands)
    of_toys = np.sqrt(shares * (1 - shares) / options.toys) / norm.pdf(bands)
    errors = sigma * np.hypot(of_toys, np.sqrt(N_EVENTS / n_pool))
    found = {
        "estimates": expected.estimates - sigma * bands,
        "lows": expected.lows - sigma * (bands - 1),
        "highs": expected.highs - sigma * (bands + 1),
    }
    pulls = [np.max(np.abs(difference) / errors) for difference in found.values()]
    return {
        "largest_pull": float(np.max(pulls)),
        "width_over_exact": expected.width / (2 * sigma),
    }


def limit_results(options: argparse.Namespace) -> dict[str, float]:
    """CLs limits of pyhf, of a Gaussian in closed form and of toys, and a belt of upper limits.

    Limits of a Gaussian are in units of its standard deviation σ: the median of the expected limit
    is 1.96 with CLs, and 1.64 from a belt, because CLs divides by 1 − p of the background.  A belt
    that accepts no value has the limit 0.
    """
    return _limits_of_pyhf() | _limits_of_toys(options)


def _limits_of_pyhf() -> dict[str, float]:
    model = pyhf.simplemodels.uncorrelated_background([6.0, 9.0], [50.0, 40.0], [5.0, 6.0])
    cost = mil.PyhfCost(model, [53.0, 44.0])
    best = mil.minuit(cost)
    best.fixed["mu"] = True
    best.values["mu"] = 0.0
    best.migrad()
    # pyhf takes nuisance parameters from a fit of the data without a signal.
    asimov = cost.asimov(**best.values.to_dict())
    ours = upper_limit(cost, asimov, "mu", values=[1.5])
    limits = np.array([ours.observed, *ours.expected])
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-5))
    try:

        def log_cls(mu: float) -> np.ndarray:
            observed, expected = pyhf.infer.hypotest(
                mu, cost.data, model, test_stat="qtilde", return_expected_set=True
            )
            return np.log(np.array([float(observed), *map(float, expected)]))

        theirs = [
            mu * (1 + _root([log_cls(mu * (1 + side))[k] for side in (-NEARBY, NEARBY)]))
            for k, mu in enumerate(limits)
        ]
        cls = np.exp(log_cls(1.5)[0])
    finally:
        pyhf.set_backend("numpy", "scipy")
    return {
        "limits_to_pyhf": float(np.max(np.abs(limits / theirs - 1))),
        "cls_to_pyhf": abs(float(ours.observed_cls[0] / cls) - 1),
    }


def _root(log_cls: list[float]) -> float:
    """Where CLs of pyhf is 5 %, relative to our limit, from its values at both sides of it."""
    below, above = log_cls
    return NEARBY * (below + above - 2 * np.log(0.05)) / (below - above)


def _limits_of_toys(options: argparse.Namespace) -> dict[str, float]:
    sigma = 1 / np.sqrt(N_LIMIT)
    # arXiv:1007.1727, eq. 89
    exact = sigma * (norm.ppf(1 - 0.05 * norm.cdf(BANDS)) + np.array(BANDS))
    asymptotic = upper_limit(None, NormalConstraint("mu", 0.0, sigma), "mu")
    n_pool = 20_000 if options.quick else 200_000
    samples = gaussian.samples(n_pool, LIMIT_TRUTHS, seed=37)
    ensembles = mil.Toys(samples, n_events=N_LIMIT, seed=38).scan(
        [gaussian.MeanModel()], LIMIT_TRUTHS, max(100, 4 * options.toys)
    )["mean"]
    of_toys = upper_limit_of_toys(ensembles)
    pull = (of_toys.expected - exact) / np.hypot(
        of_toys.expected_errors, sigma * np.sqrt(N_LIMIT / n_pool)
    )
    belt = mil.neyman(ensembles, cl=0.95, ordering="upper")
    of_belt = toy_intervals(ensembles[0], cl=0.95, belt=belt)
    bands = np.quantile(np.nan_to_num(of_belt.high, nan=0.0), norm.cdf(BANDS))
    return {
        "asymptotic_to_closed_form": float(np.max(np.abs(asymptotic.expected / exact - 1))),
        "largest_pull_of_toys": float(np.max(np.abs(pull))),
        "median_with_cls_in_sigma": float(of_toys.expected[2]) / sigma,
        "median_of_belt_in_sigma": float(bands[2]) / sigma,
        "belt_above_cls_in_sigma": float(np.max(bands - of_toys.expected)) / sigma,
    }
