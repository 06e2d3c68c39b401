"""Pseudo-experiments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.exceptions import SampleError
from milinfer.llr import dataset_surface
from milinfer.samples import Sample, SampleSet
from milinfer.toys import Toys
from models import GaussianMean, gaussian_samples

POOL = gaussian_samples([0.0, 0.2], 50_000, 3)
MODEL = GaussianMean()


def run(truth=0.2, n_toys=200, pool=POOL, **options):
    return Toys(pool, options.pop("n_events", 100), **{"seed": 1, **options}).run(
        [MODEL], truth, n_toys
    )["gaussian"]


def test_the_same_seed_gives_the_same_toys():
    np.testing.assert_array_equal(run().values, run().values)
    assert not np.array_equal(run(seed=2).values, run().values)


def test_the_first_toys_do_not_depend_on_how_many_follow():
    np.testing.assert_array_equal(run(n_toys=130).values, run(n_toys=300).values[:130])


def test_estimates_follow_the_closed_form():
    toys = run(n_toys=2000)
    error = np.hypot(0.1 / np.sqrt(2000), 1 / np.sqrt(50_000))
    assert abs(toys.theta_hat.mean() - 0.2) < 4 * error
    assert toys.mean_error == pytest.approx(error, rel=0.1)
    np.testing.assert_allclose(toys.extremum.curvature, 100, rtol=1e-6)
    variance = toys.theta_hat.var(ddof=1)
    assert abs(variance - 0.01) < 4 * 0.01 * np.sqrt(2 / 2000)
    assert toys.reuse == pytest.approx(4.0)


def test_a_dataset_is_the_toy_of_that_number():
    toys = Toys(POOL, 100, seed=1)
    ensemble = run(n_toys=150)
    for k in (0, 99, 120):
        surface = dataset_surface(MODEL, toys.dataset({"mu": 0.2}, k))
        np.testing.assert_allclose(surface.values, ensemble.values[k], atol=1e-9)


def test_numbers_fluctuate_like_poisson():
    toys = run(truth=0.0, n_toys=2000, poisson=True)
    # The curvature of a Gaussian toy is its number of events.
    n = toys.extremum.curvature
    assert abs(n.mean() - 100) < 4 * 10 / np.sqrt(2000)
    assert abs(n.var() - 100) < 4 * 100 * np.sqrt(2 / 2000)


def weighted_pool(weights):
    x = np.random.default_rng(5).normal(size=(len(weights), 1))
    return SampleSet((Sample(x, ("x",), weights=weights, point={"mu": 0.0}),)), x[:, 0]


def test_weighted_events_are_drawn_by_weight():
    rng = np.random.default_rng(6)
    pool, x = weighted_pool(np.ones(20_000))
    # exp(0.3 x) makes N(0, 1) into N(0.3, 1).
    pool = SampleSet((replace(pool[0], weights=np.exp(0.3 * x) * rng.choice([2.0], len(x))),))
    toys = run(truth=0.0, n_toys=1000, pool=pool)
    error = 0.1 / np.sqrt(1000) + 1.2 / np.sqrt(20_000)
    assert abs(toys.theta_hat.mean() - 0.3) < 4 * error


def test_negative_weights_subtract():
    rng = np.random.default_rng(7)
    # N(0, 1) events with weight 1, and a tenth with weight −1 from N(1, 1): the mean of Σ w x.
    x = np.concatenate([rng.normal(0, 1, 40_000), rng.normal(1, 1, 4_000)])[:, None]
    w = np.concatenate([np.ones(40_000), -np.ones(4_000)])
    pool = SampleSet((Sample(x, ("x",), weights=w, point={"mu": 0.0}),))
    toys = Toys(pool, 440, seed=1).run([MODEL], 0.0, 2000)["gaussian"]
    # Λ(θ) = θ Σ w x − θ² Σ w / 2; for 440 draws Σ w x = −40 and Σ w = 360 on average.
    slope = MODEL.interpolation.evaluate(toys.values, np.zeros(2000), 1)
    assert abs(slope.mean() + 40) < 4 * np.sqrt(440 * 1.1) * (1 / 2000**0.5 + 1 / 100**0.5)
    assert abs(toys.extremum.curvature.mean() - 360) < 4 * 2 * np.sqrt(440) / np.sqrt(2000)


def test_ensembles_of_different_seeds_join():
    both = run() + run(seed=2)
    assert both.n_toys == 400
    with pytest.raises(SampleError, match="all but the seed"):
        run() + run()


def test_models_must_have_different_names():
    with pytest.raises(SampleError, match="different names"):
        Toys(POOL, 10, seed=1).run([MODEL, MODEL], 0.0, 10)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10.0))
def test_a_dataset_surface_is_a_weighted_sum(seed, factor):
    data = POOL.at(mu=0.0).take(slice(0, 60))
    order = np.random.default_rng(seed).permutation(60)
    whole = dataset_surface(MODEL, data).values
    np.testing.assert_allclose(dataset_surface(MODEL, data.take(order)).values, whole, atol=1e-9)
    parts = [
        dataset_surface(MODEL, data.take(order[i])).values for i in (slice(0, 23), slice(23, None))
    ]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-9)
    scaled = replace(data, weights=factor * data.weights)
    np.testing.assert_allclose(dataset_surface(MODEL, scaled).values, factor * whole, rtol=1e-9)
