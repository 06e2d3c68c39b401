"""Pseudo-experiments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from milinfer.datasets import quadratic
from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.models import BagModel, CountModel, dataset_surface
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.fingerprints import share_events, sketch
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.draws import Draws, WeightedSearch
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import Background, EventPool
from milinfer.toys.toys import Toys
from models import GRID, GaussianMean, gaussian_samples, linear_rate

POOL = gaussian_samples([0.0, 0.2], 50_000, 3)
MODEL = GaussianMean()
GOLDEN_ROWS = [[6806, 8815, 383], [8038, 4739, 8257]]
GOLDEN_WEIGHTED = [7052, 6917, 3300]


def run(truth=0.2, n_toys=200, pool=POOL, **options):
    return Toys(pool, options.pop("n_events", 100), **{"seed": 1, **options}).run(
        [MODEL], truth, n_toys
    )["gaussian"]


def test_another_truth_keeps_the_surfaces_and_their_maxima():
    toys = run(0.2, 50)
    moved = toys.with_truth({"mu": 0.3})
    assert (moved.truth, toys.truth) == (0.3, 0.2)
    assert moved.extremum is toys.extremum
    assert moved.values is toys.values
    assert moved.tag == toys.tag


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
    # Λ(θ) = θ Σ x − θ² N / 2 of 440 events, whose mean is −4000/36 000.
    mean = -4_000 / 36_000
    slope = MODEL.interpolation.evaluate(toys.values, np.zeros(2000), 1)
    error = np.sqrt(440) * (1 / 2000**0.5 + np.sqrt(440 / toys.n_effective))
    assert abs(slope.mean() - 440 * mean) < 4 * error
    np.testing.assert_allclose(toys.extremum.curvature.mean(), 440, rtol=0.01)
    # Var(x) = ⟨x²⟩ − mean² of the difference of the two Gaussians.
    variance = (40_000 - 2 * 4_000) / 36_000 - mean**2
    assert slope.var() / 440 == pytest.approx(variance, rel=4 * (2 / 2000) ** 0.5 + 0.02)


class TwoBins(CountModel):
    """A histogram of two bins, as if its templates had errors."""

    name, parameters, interpolation, additive = "two bins", ("mu",), MODEL.interpolation, False
    n_bins = 2
    bin_llr = np.log(norm.cdf(np.outer([-1, 1], MODEL.interpolation.grid)) * 2)

    def event_bins(self, sample):
        return (sample.features[:, 0] > 0).astype(int)

    def counts_llr(self, counts):
        return counts @ self.bin_llr


def test_toys_that_cannot_follow_data_are_warned_of():
    rng = np.random.default_rng(7)
    x = rng.normal(0, 1, (2000, 1))
    w = np.where(np.arange(2000) % 10 == 0, -1.0, 1.0)
    pool = SampleSet((Sample(x, ("x",), weights=w, point={"mu": 0.0}),))
    with pytest.warns(MilinferWarning, match=r"10\.0% of the weight is negative.*with 1\.25 times"):
        Toys(pool, 50, seed=1).run([TwoBins()], 0.0, 100)
    cancelled = SampleSet((Sample(x, ("x",), weights=-w, point={"mu": 0.0}),))
    with pytest.raises(SampleError, match="no toys can be drawn"):
        Toys(cancelled, 50, seed=1).run([MODEL], 0.0, 100)


def test_ensembles_of_different_seeds_join():
    both = run() + run(seed=2)
    assert both.n_toys == 400
    assert both.pieces == ((1, 0, 200), (2, 0, 200))
    with pytest.raises(SampleError, match="all but the seed"):
        run() + run()
    with pytest.raises(SampleError, match="all but the seed"):
        both + run(seed=2)
    with pytest.raises(SampleError, match="all but the seed"):
        run() + run(seed=2, n_events=50)


def test_disjoint_toys_of_several_seeds_do_not_join():
    """Regression: the same events were used twice, and the sum said that none was."""
    one, two = (run(disjoint=True, seed=s) for s in (1, 2))
    for first, second in ((one, two), (one, run(seed=2)), (run(seed=2), one)):
        with pytest.raises(SampleError, match="generate more toys with one seed"):
            first + second


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


def same(a, b):
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.counts, b.counts)
    assert (a.start, a.pieces, a.n_effective) == (b.start, b.pieces, b.n_effective)
    return True


def background(n_expected=30.0, n_events=20_000, mean=3.0):
    x = np.random.default_rng(11).normal(mean, 1, (n_events, 1))
    return Background(Sample(x, ("x",), process="background"), n_expected)


KINDS = {
    "plain": {},
    "poisson": {"poisson": True},
    "background": {"background": (background(),)},
    "rate": {"n_events": None, "rate": linear_rate(), "background": (background(),)},
    "disjoint": {"disjoint": True, "poisson": True, "background": (background(),)},
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 250), st.integers(1, 150), st.integers(0, 130))
def test_pieces_of_a_sequence_join_to_the_same_toys(kind, first, second, start):
    options = {"n_events": 50, **KINDS[kind]}
    toys = Toys(POOL, **options, seed=4)
    whole = toys.run([MODEL], 0.2, first + second, start=start)["gaussian"]
    head = toys.run([MODEL], 0.2, first, start=start)["gaussian"]
    tail = toys.run([MODEL], 0.2, second, start=start + first)["gaussian"]
    assert same(head + tail, whole)
    with pytest.raises(SampleError, match="consecutive toys"):
        tail + head


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_workers_changes_nothing(kind):
    options = {"n_events": 50, **KINDS[kind]}
    toys = Toys(POOL, **options, seed=4)
    one, three = (toys.run([MODEL], 0.2, 450, start=30, workers=w)["gaussian"] for w in (1, 3))
    assert same(one, three)
    done = []
    toys.run([MODEL], 0.2, 450, start=30, workers=3, on_toys=done.append)
    assert done == [70, 100, 100, 100, 80]


def test_a_model_must_speak_of_every_event():
    class Broken(GaussianMean):
        def event_llr(self, sample):
            return super().event_llr(sample)[:100]

    with pytest.raises(ModelError, match="returned 100 rows for the 50000 events of signal at"):
        Toys(POOL, 50, seed=1).run([Broken()], 0.2, 400)


def test_an_error_between_threads_stops_them():
    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Toys(POOL, 50, seed=1).run([MODEL], 0.2, 5000, workers=2, on_toys=interrupt)


@dataclass(frozen=True)
class Bags(BagModel):
    """The sum of x over bags of ten: Λ as GaussianMean's, by the road of bags."""

    interpolation: Interpolation = GRID
    parameters: tuple[str, ...] = ("mu",)
    name: str = "bags"
    events_in_bag: int = 10
    reduction: str = "sum"
    additive: bool = False

    def event_summary(self, sample):
        return sample.features

    def bag_llr(self, reduced, counts):
        theta = self.interpolation.grid
        return reduced * theta - counts[:, None] * theta**2 / 2


def test_bags_get_the_same_toys_and_know_no_error_of_the_pool():
    found = Toys(POOL, 95, seed=4, poisson=True).run([MODEL, Bags()], 0.2, 250, workers=2)
    np.testing.assert_allclose(found["bags"].values, found["gaussian"].values, atol=1e-9)
    assert np.isnan(found["bags"].pool_variance_error)
    assert np.isnan(found["bags"].pool_coverage_error())
    assert found["gaussian"].pool_coverage_error() > 0


class Matrix(Bags):
    """Λ of a bag by a product of matrices, which rounds differently with other numbers of bags."""

    def bag_llr(self, reduced, counts):
        hidden = np.tanh(reduced @ np.linspace(-1, 1, 64)[None])
        return hidden @ np.outer(np.linspace(0, 1, 64), self.interpolation.grid) + counts[:, None]


@pytest.mark.parametrize("start", [0, 37, 250])
def test_pieces_of_a_sequence_are_the_same_bits_for_models_of_bags(start):
    toys = Toys(POOL, 97, seed=4, poisson=True)
    whole = toys.run([Matrix()], 0.2, 310)["bags"]
    part = toys.run([Matrix()], 0.2, 60, start=start)["bags"]
    np.testing.assert_array_equal(part.values, whole.values[start : start + 60])


def test_a_scan_is_its_runs_and_shows_each_event_to_the_model_once():
    seen = []

    class Counting(GaussianMean):
        def event_llr(self, sample):
            seen.append(sample.label)
            return super().event_llr(sample)

    toys = Toys(POOL, 50, seed=1, background=(background(),))
    truths = [0.0, 0.2, 0.2]
    found = toys.scan([Counting()], truths, 120)["gaussian"]
    assert seen == ["signal at mu=0", "background", "signal at mu=0.2"]
    for truth, ensemble in zip(truths, found, strict=True):
        assert same(ensemble, toys.run([MODEL], truth, 120)["gaussian"])


def test_a_scan_of_a_reweighted_pool_shows_events_once():
    samples = quadratic.samples(3000, [{"c1": -1.0}, {"c1": 1.0}], seed=1)
    oracle = Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 21), degree=2)
    seen = []

    class Counting(Oracle):
        def event_llr(self, sample):
            seen.append(sample.label)
            return super().event_llr(sample)

    counting = Counting(oracle.parameter, oracle.interpolation, oracle.total)
    toys = Toys(EventPool(samples, 2), 200, seed=1)
    found = toys.scan([counting], [-0.3, 0.4], 50)["oracle"]
    assert seen == ["quadratic at c1=-1", "quadratic at c1=1"]
    # The events of a toy carry what the exact likelihood needs, whichever sample they are from.
    surface = dataset_surface(oracle, toys.dataset({"c1": 0.4}, 7))
    np.testing.assert_allclose(surface.values, found[1].values[7], atol=1e-9)
    assert found[0].pool_id == found[1].pool_id == sketch(samples)


def test_counts_are_poisson():
    counts = run(n_toys=3000, poisson=True).counts
    assert abs(counts.mean() - 100) < 4 * 10 / np.sqrt(3000)
    assert abs(counts.var(ddof=1) - 100) < 4 * 100 * np.sqrt(2 / 3000)
    np.testing.assert_array_equal(run().counts, np.full(200, 100))


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("poisson", [False, True])
def test_backgrounds_have_their_share(poisson, disjoint):
    far = background(25.5, mean=100.0)
    toys = Toys(POOL, 75, seed=3, poisson=poisson, background=(far,), disjoint=disjoint)
    n_toys = 500
    parts = [toys.dataset({"mu": 0.2}, k).features[:, 0] > 50 for k in range(0, n_toys, 5)]
    numbers = np.array([p.sum() for p in parts])
    total = 100.5 if poisson else 100  # 75 + 25.5, rounded
    share = 25.5 / 100.5
    mean, variance = (25.5, 25.5) if poisson else (total * share, total * share * (1 - share))
    n = len(numbers)
    assert abs(numbers.mean() - mean) < 4 * np.sqrt(variance / n)
    assert abs(numbers.var(ddof=1) - variance) < 4 * variance * np.sqrt(2 / n)
    # Processes come in random order: no more background in the first half than in the second.
    halves = np.array([[p[: len(p) // 2].sum(), p[len(p) // 2 :].sum()] for p in parts])
    difference = np.diff(halves, axis=1)
    assert abs(difference.mean()) < 4 * np.sqrt(mean / n)
    ensemble = toys.run([MODEL], 0.2, 100)["gaussian"]
    assert ensemble.n_events == total
    assert ensemble.pool_events == 70_000
    assert share_events(ensemble.pool_id, sketch(far.sample))


def test_a_mixture_has_its_effective_number():
    # Half of the expectation from 50 000 events and half from 20 000 as from 4/(1/50 + 1/20); the
    # unit of the weights of a process does not matter.
    sample, expected = background(100.0)
    light = Background(replace(sample, weights=np.full(len(sample), 0.3)), expected)
    ensemble = run(background=(light,))
    np.testing.assert_allclose(ensemble.values, run(background=(background(100.0),)).values)
    assert ensemble.n_effective == pytest.approx(4 / (1 / 50_000 + 1 / 20_000))
    assert ensemble.reuse == pytest.approx(200 * 200 / ensemble.n_effective)


def test_the_rate_term_is_that_of_the_cost():
    """Of a shape that is a parabola, and so on few points: ln ν is none."""
    rate, model = linear_rate(), GaussianMean()
    toys = Toys(POOL, None, seed=5, rate=rate)
    ensemble = toys.run([model], 0.2, 150)["gaussian"]
    assert ensemble.extended
    assert ensemble.poisson
    assert ensemble.n_events == pytest.approx(110)
    for k in (0, 120):
        data = toys.dataset({"mu": 0.2}, k)
        assert len(data) == ensemble.counts[k]
        cost = dataset_cost(model, data, reference=0.0, rate=rate)
        expected = np.array([-0.5 * cost(t) for t in ensemble.interpolation.grid])
        shift = ensemble.values[k] - expected
        np.testing.assert_allclose(shift, shift[0], atol=1e-8)


def test_backgrounds_enter_the_rate():
    rate, fixed = linear_rate(), background(30.0)
    toys = Toys(POOL, None, seed=5, rate=rate, background=(fixed,))
    ensemble = toys.run([MODEL], 0.2, 2000)["gaussian"]
    grid = ensemble.interpolation.grid
    shape = dataset_surface(MODEL, toys.dataset({"mu": 0.2}, 9))(grid)
    nu = rate.value(grid) + 30
    expected = 130 - nu + ensemble.counts[9] * np.log(nu / 130)
    np.testing.assert_allclose(ensemble.values[9], shape + expected, atol=1e-8)
    assert abs(ensemble.counts.mean() - 140) < 4 * np.sqrt(140 / 2000)


def test_the_rate_adds_information():
    spline = GaussianMean(interpolation=Interpolation(np.linspace(-1, 1, 21), "spline"))
    ensemble = Toys(POOL, None, seed=5, rate=linear_rate()).run([spline], 0.0, 4000)["gaussian"]
    # I = ν + ν'²/ν = 100 + 25.
    variance = ensemble.theta_hat.var(ddof=1)
    error = np.sqrt(2 / 4000 + ensemble.pool_variance_error**2)
    assert abs(variance * 125 - 1) < 4 * error + 0.01
    assert abs(ensemble.theta_hat.mean()) < 4 * ensemble.mean_error + 0.005


def numbered(n, n_points=1):
    return SampleSet(
        tuple(
            Sample(np.arange(n)[:, None], ("x",), point={"mu": float(k)}) for k in range(n_points)
        )
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans())
def test_disjoint_toys_share_no_event(seed, n_events, poisson):
    extra = Background(Sample(-1.0 - np.arange(3000)[:, None], ("x",)), 2.0)
    for backgrounds in ((), (extra,)):
        toys = Toys(numbered(3000), n_events, seed, poisson, background=backgrounds, disjoint=True)
        found = [toys.dataset({"mu": 0.0}, k).features[:, 0] for k in range(130)]
        used = np.concatenate(found)
        assert len(np.unique(used)) == len(used)
        ensemble = toys.run([MODEL], 0.0, 130)["gaussian"]
        np.testing.assert_array_equal(ensemble.counts, [len(f) for f in found])
        # In random order: neighbours in the pool are not neighbours in toys.
        assert np.mean(np.abs(np.diff(used)) == 1) < 0.2


def test_disjoint_toys_fluctuate_independently():
    # The same pool serves 500 toys once or 2000 several times over.
    pool = gaussian_samples([0.0], 50_000, 9)
    toys = run(truth=0.0, n_toys=500, pool=pool, disjoint=True)
    assert toys.reuse == toys.pool_variance_error == toys.pool_coverage_error() == 0
    assert toys.mean_error == pytest.approx(toys.theta_hat.std(ddof=1) / np.sqrt(500))
    # All events are used: the mean over toys is that of the pool.
    everything = pool[0].features.astype(np.float64).mean()
    assert toys.theta_hat.mean() == pytest.approx(everything, abs=1e-6)


def test_a_pool_too_small_for_disjoint_toys_says_how_many_it_serves():
    toys = Toys(numbered(1000), 30, seed=1, disjoint=True)
    with pytest.raises(SampleError, match=r"enough for 33 toys"):
        toys.run([MODEL], 0.0, 34)
    assert toys.run([MODEL], 0.0, 13, start=20)["gaussian"].n_toys == 13
    pool, x = weighted_pool(np.ones(1000))
    pool = SampleSet((replace(pool[0], weights=np.exp(x)),))
    with pytest.raises(SampleError, match="events of equal positive weights"):
        run(truth=0.0, pool=pool, disjoint=True, n_toys=2)


def test_the_finite_pool_moves_the_variance_as_much_as_it_says():
    # σ²(θ̂) of 80 pools of 400 events; 4000 toys of each measure it to 2.2 %, the pool to 7.1 %.
    n_toys, measured, predicted = 4000, [], []
    for seed in range(80):
        toys = run(truth=0.0, n_toys=n_toys, pool=gaussian_samples([0.0], 400, seed), n_events=20)
        measured.append(np.log(toys.theta_hat.var(ddof=1)))
        predicted.append(toys.pool_variance_error)
    spread = np.sqrt(np.var(measured, ddof=1) - 2 / n_toys)
    assert np.mean(predicted) == pytest.approx(spread, rel=4 / np.sqrt(2 * 80))
    assert np.mean(predicted) == pytest.approx(np.sqrt(2 / 400), rel=0.05)


def test_the_finite_pool_moves_the_coverage_as_much_as_it_says():
    cl, n_toys, inside, predicted = 0.6827, 4000, [], []
    for seed in range(80):
        toys = run(truth=0.0, n_toys=n_toys, pool=gaussian_samples([0.0], 400, seed), n_events=40)
        inside.append(np.mean(toys.test_statistic(0.0) < 1))
        predicted.append(toys.pool_coverage_error(cl))
    # On average zφ(z) n/n_eff is lost, with z = 1 and a tenth of the pool in each toy.
    loss = np.exp(-0.5) / np.sqrt(2 * np.pi) * 40 / 400
    assert abs(cl - np.mean(inside) - loss) < 4 * np.std(inside) / np.sqrt(80) + 0.1 * loss
    # Root mean square distance from the claim, less what the number of toys explains; the loss of
    # a pool follows χ²₁, whose mean square is three times, not once, the square of its mean.
    distance = np.sqrt(np.mean((np.array(inside) - cl) ** 2) - cl * (1 - cl) / n_toys)
    expected = np.sqrt(np.mean(predicted) ** 2 + 2 * loss**2)
    assert expected == pytest.approx(distance, rel=5 / np.sqrt(2 * 80))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(0.0, 12.0))
def test_the_guide_table_finds_what_bisection_finds(seed, n, spread):
    rng = np.random.default_rng(seed)
    weights = np.exp(spread * rng.normal(size=n)) * rng.integers(0, 2, n)
    weights[rng.integers(n)] = 1.0
    uniforms = np.append(rng.random(2000), [0.0, 1 - 2**-53])
    cumulative = np.cumsum(weights)
    expected = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    np.testing.assert_array_equal(
        WeightedSearch(weights).find(uniforms), np.minimum(expected, n - 1)
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("poisson", [False, True])
def test_the_first_toys_of_a_stream_are_the_same_without_the_others(weighted, poisson):
    rng = np.random.default_rng(1)
    weights = rng.uniform(1, 2, 5000) if weighted else np.ones(5000)
    pool = SampleSet((replace(numbered(5000)[0], weights=weights),))
    draws = Draws(
        EventPool(pool).at({"mu": 0.0}), {"mu": 0.0}, 1, np.array([50.0]), np.array([5000]), poisson
    )
    whole, counts = draws.stream(3)
    for last in (1, 7, 100):
        rows, same = draws.stream(3, last)
        np.testing.assert_array_equal(same, counts)
        np.testing.assert_array_equal(rows, whole[: counts[:last].sum()])


def test_the_events_of_a_toy_never_change():
    # Published results name a seed: these rows are what it meant when they were made.
    index = Toys(numbered(10_000), 3, seed=1)
    weighted = SampleSet((replace(numbered(10_000)[0], weights=1 + np.arange(10_000.0)),))
    rows = [index.dataset({"mu": 0.0}, k).features[:, 0].astype(int).tolist() for k in (0, 101)]
    heavy = Toys(weighted, 3, seed=1, poisson=True).dataset({"mu": 0.0}, 101).features[:, 0]
    assert rows == GOLDEN_ROWS
    assert heavy.astype(int).tolist() == GOLDEN_WEIGHTED


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"rate": linear_rate()}, ConfigurationError, "one of the two"),
        ({"n_events": None}, ConfigurationError, "one of the two"),
        ({"n_events": 0}, ConfigurationError, "must be positive"),
        ({"background": (background(0.0),)}, ConfigurationError, "n_expected must be positive"),
        (
            {"background": (Background(Sample(np.zeros((5, 1)), ("y",)), 1.0),)},
            SampleError,
            r"different features \(x, y\)",
        ),
    ],
)
def test_nonsense_is_an_error(options, error, match):
    with pytest.raises(error, match=match):
        Toys(POOL, **{"n_events": 100, "seed": 1, **options})


def test_a_rate_of_other_parameters_is_an_error():
    with pytest.raises(ParameterError, match="same order"):
        Toys(quadratic.samples(5, [{"c1": 0.0}], seed=1), None, seed=1, rate=linear_rate())


def test_negative_weights_cannot_be_mixed_or_counted():
    pool, _ = weighted_pool(np.where(np.arange(100) % 10 == 7, -1.0, 1.0))
    with pytest.raises(SampleError, match="event 7 has a negative weight"):
        run(truth=0.0, pool=pool, background=(background(),))
    with pytest.raises(SampleError, match="not Poisson"):
        run(truth=0.0, pool=pool, n_events=None, rate=linear_rate())


@pytest.mark.parametrize("options", [{"n_toys": 0}, {"start": -1}, {"workers": 0}])
def test_numbers_of_toys_are_checked(options):
    with pytest.raises(ConfigurationError, match=r"must be (positive|at least 1)"):
        Toys(POOL, 10, seed=1).run([MODEL], 0.0, **{"n_toys": 10, **options})


def test_an_ensemble_has_one_number_for_each_surface():
    good = run(n_toys=3)
    with pytest.raises(SampleError, match="one number of events for each toy"):
        replace(good, counts=np.array([100, 100]))
    made = ToyEnsemble(good.tag, good.point, GRID, good.values, 100, False, 500, "", 1)
    assert made.n_effective == 500
    assert made.counts.tolist() == [100, 100, 100]
