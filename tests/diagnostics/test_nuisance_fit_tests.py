"""Goodness of fits with nuisance parameters, of Gaussians in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from milinfer.datasets import gaussian
from milinfer.diagnostics.nuisance_fit_tests import goodness_of_systematic_fit
from milinfer.exceptions import SampleError
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
from milinfer.samples.sample import Sample
from shifted_gaussian import SHIFT, exact_shift

N, FAR = 200, 60
SIMULATION = {
    "signal": gaussian.generate(12_000, 0.0, seed=31),
    "far": gaussian.generate(12_000, 2.0, seed=32),
}


def far(sample):
    """ln of N(2, 1) over N(0, 1)."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def result_of(x, seed, n_toys=150, *, shifted=True, **options):
    data = Sample(np.asarray(x, dtype=np.float32)[:, None], ("x0",)).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(),
        data,
        rate=float(N),
        backgrounds={"far": (far, float(FAR))},
        responses={"signal": exact_shift()} if shifted else {},
        uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.95, 1.05)})],
        norm_constraints={"far": 0.2},
        reference=0.0,
        **options,
    )
    measured = dict(zip(("shift", "efficiency"), rng_of(seed).normal(size=2), strict=True))
    cost = cost.measuring(**{name: measured[name] for name in cost.terms.nuisances})
    return goodness_of_systematic_fit(cost, data, SIMULATION, n_toys=n_toys, seed=seed)


def rng_of(seed):
    return np.random.default_rng(seed)


def simulated(seed, mu=0.2, shift=0.0, width=1.0):
    rng = rng_of(1000 + seed)
    signal = rng.normal(mu + SHIFT * shift, width, rng.poisson(N))
    return np.concatenate([signal, rng.normal(2.0, 1.0, rng.poisson(FAR))])


@pytest.mark.parametrize("extended", [True, False])
def test_p_values_are_uniform_with_nuisance_parameters(extended):
    # Of a shape alone, a shift and the mean are the same.
    results = [result_of(simulated(k), k, shifted=extended, extended=extended) for k in range(50)]
    columns = {name: [r[name].p_value for r in results] for name in ("x0", "score of mu")}
    columns["all"] = [r.p_value for r in results]
    assert all(("number of events" in [t.name for t in r.tests]) == extended for r in results)
    if extended:
        columns["number"] = [r["number of events"].p_value for r in results]
    for name, values in columns.items():
        assert kstest(values, "uniform").pvalue > 5e-4, name


def test_what_no_parameter_describes_is_found():
    """Nuisance parameters move the mean of the signal, not its width."""
    assert result_of(simulated(1, shift=1.0), 1).p_value > 0.01
    assert result_of(simulated(1, width=0.35), 1, n_toys=1000).p_value < 0.01


def test_bad_input_is_refused():
    data = Sample(simulated(1)[:, None], ("x0",)).as_data()
    cost = systematic_cost(gaussian.MeanModel(), data, rate=float(N), responses={}, reference=0.0)
    with pytest.raises(SampleError, match="has events of signal, far, and the fit has signal"):
        goodness_of_systematic_fit(cost, data, SIMULATION)
    with pytest.raises(SampleError, match="share events"):
        goodness_of_systematic_fit(cost, data, {"signal": data})
