"""Goodness of fits with nuisance parameters, of Gaussians in closed form."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from scipy.stats import kstest

from milinfer.datasets import gaussian
from milinfer.diagnostics.fitted_simulation import FittedSimulation
from milinfer.diagnostics.nuisance_fit_tests import goodness_of_systematic_fit
from milinfer.exceptions import ModelError, SampleError
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
from milinfer.samples.sample import Sample
from shifted_gaussian import SHIFT, exact_shift

N, FAR = 200, 60
SIMULATION = {
    "signal": gaussian.generate(3000, 0.0, seed=31),
    "far": gaussian.generate(3000, 2.0, seed=32),
}
RESPONSE = exact_shift()


def far(sample):
    """ln of N(2, 1) over N(0, 1)."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def result_of(x, seed, n_toys=150, *, shifted=True, simulation=None, **options):
    data = Sample(np.asarray(x, dtype=np.float32)[:, None], ("x0",)).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(),
        data,
        rate=float(N),
        backgrounds={"far": (far, float(FAR))},
        responses={"signal": RESPONSE} if shifted else {},
        uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.95, 1.05)})],
        norm_constraints={"far": 0.2},
        reference=0.0,
        **options,
    )
    rng = rng_of(seed)
    measured = dict(zip(("shift", "efficiency"), rng.normal(size=2), strict=True))
    measured = {name: measured[name] for name in cost.terms.nuisances}
    cost = cost.measuring(**measured, far_norm=rng.normal(1.0, 0.2))
    simulation = SIMULATION if simulation is None else simulation
    return goodness_of_systematic_fit(cost, data, simulation, n_toys=n_toys, seed=seed)


def rng_of(seed):
    return np.random.default_rng(seed)


def simulated(seed, mu=0.2, shift=0.0, width=1.0):
    rng = rng_of(1000 + seed)
    signal = rng.normal(mu + SHIFT * shift, width, rng.poisson(N))
    return np.concatenate([signal, rng.normal(2.0, 1.0, rng.poisson(FAR))])


@pytest.mark.parametrize("extended", [True, False])
def test_p_values_are_uniform_with_nuisance_parameters(extended):
    # Of a shape alone, a shift and the mean are the same.
    results = [result_of(simulated(k), k, shifted=extended, extended=extended) for k in range(35)]
    columns = {name: [r[name].p_value for r in results] for name in ("x0", "score of mu")}
    columns["all"] = [r.p_value for r in results]
    assert all(("number of events" in [t.name for t in r.tests]) == extended for r in results)
    if extended:
        columns["number"] = [r["number of events"].p_value for r in results]
    for name, values in columns.items():
        assert kstest(values, "uniform").pvalue > 5e-4, name


def test_p_values_are_uniform_where_parameters_do_the_same_and_events_are_few():
    """Regression: their mean was 0.62 for the classifier and 0.57 for all tests together.

    The mean of the signal and the shift do the same, and a fit moves both far against each other;
    and half of 700 and of 300 simulated events, of other ones for each dataset, stand for 260.
    """
    results = []
    for k in range(100):
        few = {
            "signal": gaussian.generate(700, 0.0, seed=50_000 + k),
            "far": gaussian.generate(300, 2.0, seed=90_000 + k),
        }
        # A fit at the end of a range is not tested.
        with contextlib.suppress(ModelError):
            results.append(result_of(simulated(k), k, simulation=few))
    assert len(results) > 95
    classifier = [r["classifier of data and simulation"].p_value for r in results]
    for values in (classifier, [r.p_value for r in results]):
        assert abs(np.mean(values) - 0.5) < 0.07
        assert kstest(values, "uniform").pvalue > 0.01


def shapes(numbers, seed, yields=(0.8, 0.2)):
    """Simulated events of two processes, whose yields do not depend on their numbers."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(mean, 1, n) for n, mean in zip(numbers, (0, 2), strict=True)])
    own = np.repeat(np.array(yields) / numbers, numbers)

    def weights_at(point):
        # Only a + b counts: what one does the other undoes.
        total = point["a"] + point["b"]
        return own * np.exp(total * (x - 1) / 2 + total**2 / 5)

    return FittedSimulation(
        sample=Sample(x[:, None].astype(np.float32), ("x",)),
        data=Sample(x[:1, None].astype(np.float32), ("x",)),
        point={"a": 0.1, "b": -0.1},
        covariance=np.eye(2),
        steps=np.array([0.05, 0.05]),
        weights_at=weights_at,
        log_density=lambda _: x,
        data_log_density=lambda _: x[:1],
        interest=("a",),
        processes=np.repeat([0, 1], numbers),
    )


def test_the_expansion_has_mixed_derivatives():
    """Regression: without them, moving two parameters against each other changed everything."""
    fitted = shapes((4000, 4000), 1)
    x = fitted.sample.column("x").astype(np.float64)
    mean, first, second = fitted.expansion(np.stack([x, x**2]))
    np.testing.assert_allclose(mean, np.stack([x, x**2]) @ fitted.weights)
    np.testing.assert_allclose(first[:, 0], first[:, 1], rtol=1e-6)
    for i, j in ((0, 0), (0, 1), (1, 0)):
        np.testing.assert_allclose(second[:, i, j], second[:, 1, 1], rtol=1e-2)
    against = np.array([1.0, -1.0])
    # A thousandth of what one parameter alone would do.
    assert np.all(np.abs(against @ second @ against) < 0.02 * np.abs(second[:, 0, 0]))


def test_the_covariance_of_simulation_is_the_scatter_of_pools():
    """With events of each process by themselves: the effective number of all together is wrong."""
    numbers = (300, 150)
    pools = [shapes(numbers, seed) for seed in range(2000)]
    means = [float(p.sample.column("x").astype(float) @ p.weights) for p in pools]
    quoted = np.mean(
        [p.covariance_of_means(p.sample.features.T.astype(float))[0, 0] for p in pools[:200]]
    )
    assert quoted == pytest.approx(np.var(means), rel=0.1)
    all_together = np.mean(
        [
            np.sum(p.weights**2 * (p.sample.column("x") - m) ** 2)
            for p, m in zip(pools[:200], means, strict=False)
        ]
    )
    assert all_together > 1.2 * np.var(means)


def test_part_of_the_events_has_the_same_yields():
    fitted = shapes((300, 100), 1)
    half = fitted.restricted(np.arange(0, 400, 3))
    for part in (fitted, half):
        of_first = [part.weights[part.processes == k].sum() for k in (0, 1)]
        assert of_first[0] / of_first[1] == pytest.approx(
            fitted.weights[:300].sum() / fitted.weights[300:].sum()
        )
    with pytest.raises(SampleError, match="more events of each process"):
        _ = fitted.restricted(np.arange(200)).weights


def test_what_no_parameter_describes_is_found():
    """Nuisance parameters move the mean of the signal, not its width."""
    assert result_of(simulated(1, shift=1.0), 1).p_value > 0.01
    assert result_of(simulated(1, width=0.35), 1, n_toys=1000).p_value < 0.01


def test_bad_input_is_refused():
    data = Sample(simulated(1)[:, None], ("x0",)).as_data()
    cost = systematic_cost(gaussian.MeanModel(), data, rate=float(N), responses={}, reference=0.0)
    with pytest.raises(SampleError, match="has events of signal, far, but the fit has signal"):
        goodness_of_systematic_fit(cost, data, SIMULATION)
    with pytest.raises(SampleError, match="share events"):
        goodness_of_systematic_fit(cost, data, {"signal": data})
