"""Tests of the fit to VBF H → WW*: uniform p-values, and the power for what the model lacks.

A network learns the log-likelihood ratio Λ(c_HW).  Datasets are simulated at c_HW = 0.1 and fitted.
:func:`milinfer.diagnostics.goodness_of_fit` tests each dataset against simulated events, which
event weights reweight to the fit.  No two datasets of a kind share events, and the datasets are
compared with several independent simulations in turn: datasets or a simulation in common would move
all p-values together.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from quick_size import small
from scipy.stats import kstest, norm

import milinfer as mil
from milinfer.datasets import vbf_hww_systematics
from milinfer.diagnostics.fit_tests import GoodnessOfFit, goodness_of_fit
from milinfer.exceptions import MilinferError

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TRUTH = 0.1
SIZE = 0.05
# jet_scale = 1 is 3 %
# Simulated samples come with variations; one of weights alone costs nothing.
CHEAP = ({"theory": 1.0},)
TWO_PERCENT = {"jet_scale": 2.0 / 3.0}
# Fraction of the events whose azimuths are flat.
FLAT_SHARE = 0.1
FLAT = {"jets": ("d_phi_qq",), "jets and leptons": ("d_phi_qq", "d_phi_ll")}


def message(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class FittedModel:
    """The network and the simulations, for several kinds of datasets."""

    options: argparse.Namespace

    @cached_property
    def model(self) -> Any:
        """The network for Λ(c_HW)."""
        options = self.options
        process = self._simulated(21)
        begin = time.process_time()
        model = small(
            mil.BagLikelihood(head="polynomial", labels="joint", seed=1), options.quick
        ).fit(process)
        message(f"trained: {time.process_time() - begin:.0f} s of CPU")
        return model

    @cached_property
    def simulations(self) -> list[mil.SampleSet]:
        """Independent simulations with which the datasets are compared."""
        return [self._simulated(100 + k) for k in range(self.options.simulations)]

    def _simulated(self, seed: int) -> mil.SampleSet:
        return vbf_hww_systematics.variations(
            self.options.events, POINTS, CHEAP, seed=seed, features="vbf_2l2j",
            workers=self.options.workers,
        ).nominal  # fmt: skip

    def sample(
        self,
        value: float,
        seed: int,
        nuisances: Mapping[str, float] | None = None,
        *,
        times: int = 1,
    ) -> mil.Sample:
        """Selected events at a value of c_HW, `times` as many as all datasets of a kind have."""
        events = vbf_hww_systematics.generate(
            times * self.options.datasets * self.options.data,
            {"c_HW": value},
            nuisances,
            seed=seed,
            workers=self.options.workers,
        )
        return events.to_sample("vbf_2l2j")

    @cached_property
    def true(self) -> mil.Sample:
        """Events at the true value, which the model describes."""
        return self.sample(TRUTH, 24)

    def part(self, sample: mil.Sample, k: int, n: int) -> mil.Sample:
        """The first `n` events of those for dataset `k`."""
        start = k * self.options.data
        return sample.take(slice(start, start + n)).as_data()

    def tested(self, name: str, make: Callable[[int], mil.Sample]) -> dict[str, Any]:
        """How often each test has p < 5 %, and whether its p-values are uniform."""
        options = self.options
        p_values: dict[str, list[float]] = {}
        failed = 0
        for k in range(options.datasets):
            data = make(k)
            simulation = self.simulations[k % options.simulations]
            try:
                result = goodness_of_fit(
                    self.model, data, simulation, degree=4, n_toys=options.toys, seed=k
                )
            except MilinferError as error:
                message(f"{name}: {error}")
                failed += 1
                continue
            add_p_values(p_values, result)
        figures = {"datasets": options.datasets, "failed": failed, "tests": summaries(p_values)}
        message(f"{name}: {json.dumps(figures)}")
        return figures


def add_p_values(p_values: dict[str, list[float]], result: GoodnessOfFit) -> None:
    """Append the p-values of all tests of a dataset, by their names."""
    p_values.setdefault("all tests", []).append(result.p_value)
    for test in result.tests:
        p_values.setdefault(test.name, []).append(test.p_value)


def summaries(p_values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Fraction of p-values below 5 %, its binomial error, and a test that they are uniform."""
    figures = {}
    for name, values in p_values.items():
        share = float(np.mean(np.array(values) < SIZE))
        figures[name] = {
            "below_5_percent": share,
            "error": float(np.sqrt(share * (1 - share) / len(values))),
            "uniform_p_value": float(kstest(values, "uniform").pvalue),
        }
    return figures


def goodness_of_fit_results(fitted: FittedModel) -> dict[str, Any]:
    """Three kinds of datasets: as simulated, another jet scale, and an unknown background."""
    options = fitted.options
    rng = np.random.default_rng(23)
    moved = fitted.sample(TRUTH, 25, TWO_PERCENT)
    other = unknown(fitted.sample(0.0, 26), rng)

    def mixed(k: int) -> mil.Sample:
        n = int(rng.binomial(options.data, 0.05))
        return joined(fitted.part(fitted.true, k, options.data - n), fitted.part(other, k, n))

    cases: dict[str, Callable[[int], mil.Sample]] = {
        "as simulated": lambda k: fitted.part(fitted.true, k, options.data),
        "jet scale +2 %": lambda k: fitted.part(moved, k, options.data),
        "background 5 %": mixed,
    }
    return {name: fitted.tested(name, make) for name, make in cases.items()}


def flat_azimuth_results(fitted: FittedModel) -> dict[str, Any]:
    """Datasets in which 10 % of the events have flat azimuths between the jets, and the leptons.

    The other features of these events are as those of the model at the same azimuths.
    ``largest_power`` is that of the best test for a known c_HW, which is the likelihood ratio of
    data with and without these events (Neyman and Pearson).
    """
    options = fitted.options
    rng = np.random.default_rng(29)
    pool = fitted.sample(TRUTH, 28, times=2)
    figures = {}
    for name, azimuths in FLAT.items():
        flat, distance = flattened(pool, azimuths, 4 if options.quick else 8, rng)
        numbers = rng.binomial(options.data, FLAT_SHARE, options.datasets)
        if numbers.sum() > len(flat):
            msg = f"{len(flat)} flat events are fewer than {numbers.sum()}; generate more"
            raise ValueError(msg)
        ends = np.cumsum(numbers)

        def mixed(k: int, flat=flat, numbers=numbers, ends=ends) -> mil.Sample:
            extra = flat.take(slice(int(ends[k] - numbers[k]), int(ends[k]))).as_data()
            return joined(fitted.part(fitted.true, k, options.data - int(numbers[k])), extra)

        sigmas = np.sqrt(options.data) * FLAT_SHARE * distance
        largest = float(norm.cdf(sigmas - norm.ppf(1 - SIZE)))
        figures[name] = fitted.tested(f"flat {name}", mixed) | {"largest_power": largest}
    return figures


def joined(first: mil.Sample, second: mil.Sample) -> mil.Sample:
    """Data with the events of both."""
    features = np.concatenate([first.features, second.features])
    return mil.Sample(features, first.feature_names).as_data()


def unknown(sample: mil.Sample, rng: np.random.Generator) -> mil.Sample:
    """Events whose leptons and jets are of different events."""
    features = np.array(sample.features)
    of_leptons = [k for k, name in enumerate(sample.feature_names) if "q" not in name]
    features[:, of_leptons] = features[rng.permutation(len(features))][:, of_leptons]
    return replace(sample, features=features)


def flattened(
    sample: mil.Sample, azimuths: Sequence[str], n_bins: int, rng: np.random.Generator
) -> tuple[mil.Sample, float]:
    """Drop events until their distribution in all of these azimuths is flat.

    Also returns how far the densities are apart: the standard deviation of the ratio of the flat
    density to the density of the sample.
    """
    edges = np.linspace(-np.pi, np.pi, n_bins + 1)
    columns = np.stack([sample.column(name) for name in azimuths], axis=1)
    counts, _ = np.histogramdd(columns, bins=[edges] * len(azimuths))
    if not counts.all():
        msg = f"no events in {np.sum(counts == 0)} bins of {', '.join(azimuths)}; use more events"
        raise ValueError(msg)
    places = tuple(np.digitize(columns, edges[1:-1]).T)
    kept = rng.random(len(columns)) < counts.min() / counts[places]
    share = counts / counts.sum()
    distance = float(np.sqrt(np.sum(1 / (counts.size**2 * share)) - 1))
    return sample.take(np.flatnonzero(kept)), distance
