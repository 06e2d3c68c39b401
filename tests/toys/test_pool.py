"""Pools of events: weights at any point, effective numbers, and whether they share events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.datasets import quadratic
from milinfer.exceptions import ParameterError, SampleError
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.fingerprints import overlap, share_events, sketch
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number
from milinfer.toys.ensemble import GROUPS, pool_influence
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from models import GRID, GaussianMean, gaussian_samples


def variance_error(*args):
    found = pool_influence(*args)
    return np.nan if found is None else found.variance_error


def quadratic_pool(numbers, seed=1):
    return SampleSet(
        tuple(
            quadratic.generate(n, {"c1": c}, seed=seed + k)
            for k, (c, n) in enumerate(numbers.items())
        )
    )


UNEVEN = quadratic_pool({-1.0: 5_000, 0.0: 20_000, 1.0: 40_000})
POOL = EventPool(UNEVEN, degree=2)
BETWEEN = {"c1": 0.6}


def mean_and_error(values, weights):
    share = weights / weights.sum()
    mean = share @ values
    return mean, np.sqrt(share**2 @ (values - mean) ** 2)


def observables(sample):
    """Functions of the features whose means depend on θ: score-like, and a square."""
    x = sample.features.astype(np.float64)
    return np.column_stack([np.sin(np.pi * x[:, :4] / 4), np.sin(x[:, 5] * x[:, 6]), x[:, :3] ** 2])


def union(pool, observable):
    return np.concatenate([observable(s) for s in pool.samples])


@pytest.mark.parametrize("c", [-1.0, -0.4, 0.6, 1.0])
def test_reweighted_means_are_those_of_events_generated_there(c):
    at = POOL.at({"c1": c})
    direct = observables(quadratic.generate(60_000, {"c1": c}, seed=99))
    mean, error = mean_and_error(union(at, observables), at.weights)
    expected, spread = direct.mean(axis=0), direct.std(axis=0) / np.sqrt(len(direct))
    assert np.abs((mean - expected) / np.hypot(error, spread)).max() < 4


def test_the_means_do_depend_on_the_point():
    # Else the test above could not fail.
    means = [
        mean_and_error(union(POOL.at({"c1": c}), observables), POOL.at({"c1": c}).weights)
        for c in (-0.4, 0.6)
    ]
    (low, error), (high, _) = means
    assert np.abs((high - low) / error).max() > 20


def test_all_samples_serve_a_point_better_than_its_own():
    own = EventPool(UNEVEN).at({"c1": 0.0})
    assert own.n_effective == pytest.approx(20_000)
    assert len(own.samples) == 1
    assert POOL.at({"c1": 0.0}).n_effective > 1.5 * own.n_effective


def test_shares_follow_the_numbers_of_events():
    # At a sample's point its weights are p/mixture: with one sample 1, and never more than N/n.
    for point, n in ((-1.0, 5_000), (0.0, 20_000), (1.0, 40_000)):
        weights = POOL.at({"c1": point}).weights
        assert weights.sum() == pytest.approx(1, rel=0.02)
        # The balance heuristic bounds each weight by one over the number of events there.
        assert weights.max() * n < 1 + 1e-9


def test_a_split_sample_is_as_good_as_a_whole_one():
    # The same events at two almost equal points: their shares must not matter.
    whole = quadratic.generate(12_000, {"c1": 0.5}, seed=4)
    other = quadratic.generate(6_000, {"c1": -0.5}, seed=5)
    first, second = whole.take(slice(0, 2_000)), whole.take(slice(2_000, None))
    second = replace(second, point={"c1": 0.5 + 1e-7})
    two = EventPool(SampleSet((whole, other)), 2).at({"c1": 0.2})
    three = EventPool(SampleSet((first, second, other)), 2).at({"c1": 0.2})
    np.testing.assert_allclose(three.weights, two.weights, rtol=1e-5)


def test_effective_numbers_fall_beyond_the_samples():
    pool = EventPool(quadratic_pool({0.0: 20_000}), 2)
    numbers = [pool.at({"c1": c}).n_effective for c in (0.0, 0.3, 0.6, 1.0)]
    assert numbers[0] == pytest.approx(20_000)
    assert np.all(np.diff(numbers) < 0)
    assert effective_number(np.abs([2.0, -2.0, 2.0, 2.0])) == 4


def test_toys_at_a_point_between_are_those_of_events_generated_there():
    oracle = Oracle.from_sample(UNEVEN[1], "c1", np.linspace(-1, 1, 21), degree=2)
    direct = SampleSet((quadratic.generate(60_000, BETWEEN, seed=98),))
    toys = Toys(POOL, 400, seed=1).run([oracle], BETWEEN, 2000)["oracle"]
    there = Toys(direct, 400, seed=1).run([oracle], BETWEEN, 2000)["oracle"]
    assert toys.n_effective == POOL.at(BETWEEN).n_effective
    difference = toys.theta_hat.mean() - there.theta_hat.mean()
    assert abs(difference) < 4 * np.hypot(toys.mean_error, there.mean_error)
    ratio = np.log(toys.theta_hat.var() / there.theta_hat.var())
    # 2/n for a Gaussian and either set of toys; doubled for heavier tails.
    error = np.sqrt(8 / 2000 + toys.pool_variance_error**2 + there.pool_variance_error**2)
    assert abs(ratio) < 4 * error


def test_negative_weights_keep_their_sign():
    sample = UNEVEN[1]
    sign = np.where(np.arange(len(sample)) % 10 == 0, -1.0, 1.0)
    signed = replace(
        sample, weights=sign, reweights={k: sign * w for k, w in sample.reweights.items()}
    )
    at = EventPool(SampleSet((signed, UNEVEN[2])), 2).at(BETWEEN)
    np.testing.assert_array_equal(np.sign(at.weights[: len(sample)]), sign)
    plain = EventPool(SampleSet((sample, UNEVEN[2])), 2).at(BETWEEN)
    # A tenth of random events subtracted changes no mean.
    (mean, error), (expected, _) = (
        mean_and_error(union(p, observables), p.weights) for p in (at, plain)
    )
    assert np.abs((mean - expected) / error).max() < 4


def linear_pool(slope):
    names = {"w0": 0.0, "w1": 1.0}
    weights = {"w0": np.ones(3), "w1": 1 + slope}
    points = {k: {"c": v} for k, v in names.items()}
    return SampleSet(
        (
            Sample(
                np.arange(3.0)[:, None],
                ("x",),
                point={"c": 0.0},
                reweights=weights,
                reweight_points=points,
            ),
        )
    )


def test_a_density_that_changes_sign_is_an_error():
    pool = EventPool(linear_pool(np.array([0.5, -0.8, 0.1])), degree=1)
    assert pool.at({"c": 1.0}).weights.shape == (3,)
    with pytest.raises(SampleError, match=r"signal at c=0: event 1 has weight .* at c=2"):
        pool.at({"c": 2.0})


def test_points_that_cannot_be_served_are_errors():
    with pytest.raises(ParameterError, match=r"no sample at c1=0\.6"):
        EventPool(UNEVEN).at(BETWEEN)
    with pytest.raises(ParameterError, match="parameters of the samples"):
        POOL.at({"c2": 0.0})
    with pytest.raises(SampleError, match="no weights at other points"):
        EventPool(gaussian_samples([0.0], 10, 1), 2).at({"mu": 0.0})


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(500, 5000), st.floats(0.0, 1.0))
def test_the_overlap_is_the_jaccard_index(seed, n, share):
    x = np.random.default_rng(seed).normal(size=(2 * n, 3))
    both = round(share * n)
    a, b = sketch(x[:n]), sketch(x[n - both : 2 * n - both])
    expected = both / (2 * n - both)
    assert abs(overlap(a, b) - expected) <= 5 * np.sqrt(expected * (1 - expected) / 128) + 1e-12
    assert overlap(a, b) == overlap(b, a)
    assert sketch(x[:n][::-1]) == a


def test_shared_events_are_found_in_unions_and_subsets():
    a, b, c = (gaussian_samples([0.0], 20_000, seed)[0] for seed in (1, 2, 3))
    assert share_events(sketch([a, b]), sketch(b))
    assert share_events(sketch(a.take(slice(0, 2000))), sketch(a))
    assert not share_events(sketch([a, b]), sketch(c))
    assert not share_events(sketch(a), sketch(b))
    weighted = replace(a, weights=np.full(len(a), 0.3))
    assert share_events(sketch(weighted), sketch(a))


def test_discrete_events_are_compared_as_a_whole():
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 5, (1000, 2)).astype(float) for _ in range(2))
    assert share_events(sketch(a), sketch(a[::-1]))
    assert not share_events(sketch(a), sketch(b))
    # In a union with others, too, of whatever kind.
    first, second = (Sample(x, ("x", "y")) for x in (a, b))
    smooth = Sample(rng.normal(size=(20_000, 2)), ("x", "y"))
    assert share_events(sketch([first, second]), sketch(b))
    assert share_events(sketch([smooth, second]), sketch(b))
    assert share_events(sketch([smooth, second]), sketch(smooth))
    assert not share_events(sketch([smooth, second]), sketch(a))
    assert sketch(np.array([[0.0], [1.0]])) == sketch(np.array([[-0.0], [1.0]]))


def test_a_pool_knows_its_events_at_every_point():
    assert POOL.at(BETWEEN).pool_id == POOL.at({"c1": 0.0}).pool_id == sketch(UNEVEN)
    assert share_events(POOL.at(BETWEEN).pool_id, EventPool(UNEVEN).at({"c1": 1.0}).pool_id)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_of_the_variance_is_that_over_many_pools(weighted):
    # Var(θ̂) of a Gaussian mean is σ² of the pool over n: measured on pools of their own.
    rng = np.random.default_rng(8)
    n, ratios, errors = 2000, [], []
    for _ in range(1000):
        # Weights that go with x: a pool in which w matters more than the kurtosis says.
        x = rng.normal(size=n)
        w = np.exp(x**2 / 6) if weighted else np.ones(n)
        theta = GRID.grid
        table = theta * x[:, None] - theta**2 / 2
        share = w / w.sum()
        ratios.append(np.log(share @ (x - share @ x) ** 2))
        errors.append(variance_error(GRID, table, w, np.zeros(1)))
    # Gaussian: the spread of 1000 is known to 2.2 %, that of weighted ones (heavier tails) less so.
    tolerance = 4 * (0.05 if weighted else 0.0224)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=tolerance)
    if not weighted:
        assert np.mean(errors) == pytest.approx(np.sqrt(2 / n), rel=0.02)


@pytest.mark.parametrize(
    "interpolation",
    [
        Interpolation(np.linspace(-1, 1, 9), "spline"),
        Interpolation(np.linspace(-1, 1, 9), "polynomial", 4),
        Interpolation(np.linspace(-1, 1, 9), "parabola", window=0.6),
    ],
)
def test_every_continuation_has_the_slope_of_its_surfaces(interpolation):
    x = np.random.default_rng(3).normal(size=20_000)
    table = interpolation.grid * x[:, None] - interpolation.grid**2 / 2
    error = variance_error(interpolation, table, np.ones(len(x)), np.array([0.3]))
    y = (x - x.mean()) ** 2
    assert error == pytest.approx(np.sqrt((np.mean(y**2) / y.mean() ** 2 - 1) / len(x)), rel=1e-6)


def test_with_a_rate_the_number_of_events_fluctuates_too():
    # A sum of a Poisson number of y has the variance ν E[y²], with y = dλ/dθ + d ln ν/dθ.
    x = np.random.default_rng(3).exponential(size=20_000) - 1
    table = GRID.grid * x[:, None] - GRID.grid**2 / 2
    error = variance_error(GRID, table, np.ones(len(x)), np.zeros(1), 0.5 * GRID.grid)
    y = (x + 0.5) ** 2
    assert error == pytest.approx(y.std() / y.mean() / np.sqrt(len(x)), rel=1e-6)


def test_several_parameters_give_the_largest_error():
    rng = np.random.default_rng(3)
    light, heavy = rng.uniform(-1, 1, 20_000), rng.standard_t(6, 20_000)
    box = ChebyshevBox(np.array([-1.0, -1.0]), np.array([1.0, 1.0]), 2)
    a, b = box.grid.T

    def error(first, second):
        table = a * first[:, None] + b * second[:, None]
        return variance_error(box, table, np.ones(len(first)), np.zeros(2))

    alone = error(heavy, heavy)
    assert error(light, heavy) == pytest.approx(alone) == error(heavy, light)
    assert error(light, light) < 0.6 * alone


def test_points_alone_have_no_slope():
    points = Interpolation(np.array([-1.0, 1.0]), "points")
    table = GaussianMean(interpolation=points).event_llr(gaussian_samples([0.0], 50, 1)[0])
    assert np.isnan(variance_error(points, table, np.ones(50), np.zeros(1)))


@pytest.mark.parametrize("n", [500, 5000])
def test_groups_keep_the_correlation_of_influences(n):
    """Of all events one by one, up to what cross terms between 1024 groups leave."""
    x = np.random.default_rng(3).normal(size=n)
    table = GRID.grid * x[:, None] - GRID.grid**2 / 2
    tilted = np.exp(0.3 * x)
    one, two = (pool_influence(GRID, table, w, np.zeros(1)) for w in (np.ones(n), tilted))
    assert one.shift.shape == (GROUPS, 1)
    shares = [np.full(n, 1 / n), tilted / tilted.sum()]
    exact = [s * (x - s @ x) / np.sqrt(s @ (x - s @ x) ** 2) for s in shares]
    wanted = exact[0] @ exact[1] / np.linalg.norm(exact[0]) / np.linalg.norm(exact[1])
    a, b = one.shift[:, 0], two.shift[:, 0]
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(wanted, abs=0.02)
    assert (a @ a) / (exact[0] @ exact[0]) == pytest.approx(1, abs=4 * np.sqrt(2 / GROUPS))
