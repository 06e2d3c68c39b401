"""The pyhf likelihood with Monte-Carlo errors: by hand, by Minuit, and for many toys at once."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit
from scipy.stats import norm, poisson

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.template_cost import profile_bins, profile_log_likelihood, staterror_name
from milinfer.binned.templates import Templates
from milinfer.datasets import gaussian
from milinfer.exceptions import FitError, MilinferWarning, TemplateError
from milinfer.intervals.neyman import neyman
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.models import CountModel, Renamed, dataset_surface
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.toys import Toys

MEANS = [-0.6, -0.3, 0.0, 0.3, 0.6]
GRID = Interpolation(np.linspace(-0.6, 0.6, 41), "spline")


@pytest.fixture(scope="module")
def few():
    """Templates with errors of some percent."""
    samples = gaussian.samples(2000, MEANS, seed=3)
    return Templates.from_samples(samples, "x0", bins=8, degree=2, luminosity=1.0)


@pytest.mark.parametrize("rate", [True, False])
def test_the_likelihood_is_poisson_times_gaussian(few, rate):
    counts = few.counts(gaussian.generate(900, 0.1, seed=6))
    cost = few.cost(counts, rate=rate)
    delta = few.relative_errors(few.reference)
    assert 0.02 < delta.min() < delta.max() < 0.1
    for mu in (-0.4, 0.0, 0.33):
        gammas = cost.gammas(mu)
        expected = few.expected({"mu": mu}) if rate else few.fractions({"mu": mu})
        expected = gammas * expected
        if not rate:
            expected *= counts.sum() / expected.sum()
        by_hand = poisson.logpmf(counts, expected).sum() + norm.logpdf(1, gammas, delta).sum()
        assert cost(mu) == pytest.approx(-2 * by_hand, rel=1e-10)
        np.testing.assert_allclose(cost.expected(mu), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "name", ["a/b", "score_c/L2", "/", "a//b/", "a~1b", "a.b[0]", "[/b]", "a%2Fb"]
)
def test_names_may_have_any_character(few, name):
    """Regression: pyhf splits some names at a slash, and the cost ended with a KeyError."""
    counts = few.counts(gaussian.generate(900, 0.1, seed=6))
    cost, plain = few.cost(counts, name=name), few.cost(counts)
    assert cost(0.1) == plain(0.1)
    assert cost.gammas(0.1).tolist() == plain.gammas(0.1).tolist()
    model = pyhf.Workspace(few.workspace(counts, name=name)).model()
    assert model.config.channels == [name]


def test_names_that_differ_have_factors_that_differ():
    assert len({staterror_name(n) for n in ("a/b", "a_b", "a b", "a:b", "ab")}) == 5


@pytest.mark.parametrize("rate", [True, False])
def test_minuit_finds_the_same_factors(few, rate):
    """All factors as parameters of Minuit, as pyhf fits them."""
    data = gaussian.generate(900, 0.1, seed=6)
    cost = few.cost(data, rate=rate)
    theta = 0.2
    start = cost.pyhf_parameters(theta)
    weights = few.basis.weights([[theta]], few.basis_points)[0]
    slices = [cost.model.config.par_slice(f"w_{k}") for k in range(len(weights))]
    stat = cost.model.config.par_slice("staterror_x0")
    per_weight = start[slices[0]][0] / weights[0]

    def full(x):
        pars = start.copy()
        for k, where in enumerate(slices):
            pars[where] = weights[k] * (per_weight if rate else x[-1])
        pars[stat] = x[: few.n_bins]
        return -2 * cost.model.logpdf(pars, cost.pyhf_data)[0]

    first = np.append(np.ones(few.n_bins), per_weight)
    m = Minuit(full, first)
    m.errordef, m.tol, m.strategy = 1, 1e-7, 2
    if rate:
        m.fixed[few.n_bins] = True
    m.migrad()
    assert m.valid
    assert cost(theta) == pytest.approx(m.fval, abs=1e-6)
    np.testing.assert_allclose(cost.gammas(theta), m.values[: few.n_bins], atol=1e-4)


def test_the_vectorised_profile_is_the_cost(few):
    rng = np.random.default_rng(4)
    counts = rng.poisson(900 * few.fractions({"mu": 0.1}), (20, few.n_bins)).astype(float)
    model = BinnedLLR("h", few, "mu", GRID)
    values = model.counts_llr(counts)
    for n, row in zip(counts[:5], values, strict=False):
        cost = few.cost(n)
        expected = [cost(t) - cost(0.0) for t in GRID.grid]
        np.testing.assert_allclose(-2 * row, expected, atol=1e-6)


def test_errors_that_vanish_leave_the_multinomial(few):
    counts = few.counts(gaussian.generate(900, 0.1, seed=6))[None]
    shares = np.stack([few.fractions({"mu": t}) for t in (0.0, 0.3)])
    plain = profile_log_likelihood(counts, shares, np.zeros(8), rate=False)
    tiny = profile_log_likelihood(counts, shares, np.full(8, 1e-6), rate=False)
    np.testing.assert_allclose(np.diff(tiny), np.diff(plain), atol=1e-6)
    exact = counts @ np.log(shares[1] / shares[0])
    np.testing.assert_allclose(np.diff(plain)[0], exact, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 200), min_size=3, max_size=3).filter(any),
    shares=st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3),
    delta=st.lists(st.floats(0.001, 0.4), min_size=3, max_size=3),
    scale=st.floats(0.01, 100.0),
    rate=st.booleans(),
)
def test_factors_solve_their_equations(counts, shares, delta, scale, rate):
    n, f, d = (np.array(v, dtype=float) for v in (counts, shares, delta))
    expected = f * (n.sum() if rate else 1.0)
    gammas, found = (v[0, 0] for v in profile_bins(n[None], expected[None], d, rate=rate))
    y = found * expected
    # d ln L / dγ_b = 0 where γ_b > 0.
    slope = n - gammas * y - gammas * (gammas - 1) / d**2
    np.testing.assert_allclose(slope, 0, atol=1e-6 * (1 + n.sum() + 1 / d.min() ** 2))
    if not rate:
        assert gammas @ y == pytest.approx(n.sum(), rel=1e-9)
        # The scale of the templates is nothing.
        again = profile_bins(n[None], scale * expected[None], d, rate=rate)
        np.testing.assert_allclose(again.gammas[0, 0], gammas, atol=1e-8)


def test_errors_near_one_are_refused():
    with pytest.raises(FitError, match="wider bins"):
        profile_bins(np.array([[1000.0, 0.0]]), np.array([[0.001, 0.999]]), np.full(2, 30.0),
                     rate=False)  # fmt: skip


def test_monte_carlo_errors_widen_the_interval(few):
    data = gaussian.generate(2000, 0.1, seed=6)
    plain = profile_interval(few.cost(data, mc_stat=False), "mu")
    wide = profile_interval(few.cost(data, name="signal"), "mu")
    assert 1.02 * plain.width < wide.width < 2 * plain.width
    # (1/N + 1/M) of a template at one point; morphing borrows from all samples.
    assert few.cost(data, name="signal").model.config.channels == ["signal"]


def test_intervals_cover_on_average_over_templates():
    """One set of templates is off by one amount; over many sets the factors make up for it."""
    covered = {True: [], False: []}
    rng = np.random.default_rng(11)
    for seed in range(60):
        samples = gaussian.samples(250, MEANS, seed=100 + seed)
        templates = Templates.from_samples(samples, "x0", bins=[-9, -1, -0.3, 0.3, 1, 9], degree=2)
        edges = norm.cdf(templates.edges, 0.0)
        counts = rng.multinomial(1000, np.diff(edges), 100).astype(float)
        for mc_stat, found in covered.items():
            values = BinnedLLR("h", templates, "mu", GRID, mc_stat=mc_stat).counts_llr(counts)
            q = 2 * (GRID.extrema(values).maximum - GRID.values_at(values, 0.0)[:, 0])
            found.append(np.mean(q <= 1))
    errors = {k: np.std(v) / np.sqrt(60) for k, v in covered.items()}
    assert abs(np.mean(covered[True]) - 0.6827) < 3 * errors[True] + 0.02
    assert np.mean(covered[False]) < 0.6827 - 4 * errors[False]


def test_toys_of_a_histogram_are_those_of_every_model(few):
    samples = gaussian.samples(5000, [0.0], seed=9)
    model = BinnedLLR("h", few, "mu", GRID)
    assert isinstance(model, CountModel)
    assert not model.additive
    toys = Toys(samples, n_events=300, seed=2)
    fixed = BinnedLLR("fixed", few, "mu", GRID, mc_stat=False)
    found = toys.run([model, Renamed(model, "again"), fixed, gaussian.MeanModel()], 0.0, 30)
    np.testing.assert_array_equal(found["h"].values, found["again"].values)
    data = toys.dataset({"mu": 0.0}, toy=7)
    np.testing.assert_allclose(found["h"].values[7], dataset_surface(model, data).values)
    np.testing.assert_allclose(found["fixed"].values[7], dataset_surface(fixed, data).values)
    cost = few.cost(data)
    assert found["h"].values[7][3] == pytest.approx((cost(0.0) - cost(GRID.grid[3])) / 2, abs=1e-9)


def test_an_empty_toy_says_nothing(few):
    model = BinnedLLR("h", few, "mu", GRID)
    np.testing.assert_array_equal(model.counts_llr(np.zeros((1, 8))), 0)


def test_negative_counts_are_refused(few):
    with pytest.raises(TemplateError, match=r"-1 events in bin 2 x0 \[.*of set 1"):
        BinnedLLR("h", few, "mu", GRID).counts_llr(
            np.array([np.full(8, 9.0), [3, 3, -1, 3, 3, 3, 3, 3]])
        )
    with pytest.raises(TemplateError, match="not negative"):
        few.cost(np.full(8, -1.0))
    with pytest.warns(
        MilinferWarning, match=r"x0: the information on mu comes from effectively \d"
    ):
        few.cost(np.ones(8))


@pytest.mark.parametrize("mc_stat", [True, False])
def test_workspace_is_the_templates(few, mc_stat):
    spec = few.workspace(mc_stat=mc_stat)
    pyhf.schema.validate(spec, "workspace.json")
    model = pyhf.Workspace(spec).model(poi_name=None)
    pars = np.array(model.config.suggested_init())
    for k, weight in enumerate(few.basis.weights([[0.2]], few.basis_points)[0]):
        pars[model.config.par_slice(f"w_{k}")] = weight
    expected = model.expected_actualdata(pars)
    np.testing.assert_allclose(expected, few.expected({"mu": 0.2}), rtol=1e-10)
    if mc_stat:
        widths = np.ravel(model.constraint_model.constraints_gaussian.sigmas)
        np.testing.assert_allclose(widths, few.relative_errors(few.reference), rtol=1e-6)
    with pytest.raises(TemplateError, match="8 numbers"):
        few.workspace(np.ones(3))


def test_two_parameters():
    rng = np.random.default_rng(1)
    points = [(a, b) for a in (-0.4, 0.0, 0.4) for b in (-0.4, 0.0, 0.4)]
    samples = SampleSet(
        tuple(
            Sample(
                rng.normal(p, 1, (6000, 2)).astype(np.float32),
                ("x", "y"),
                point={"a": p[0], "b": p[1]},
                cross_section=1.0,
            )
            for p in points
        )
    )
    templates = Templates.from_samples(samples, ("x", "y"), bins=4, degree=2)
    data = samples.at(a=0.0, b=0.0).take(slice(1500))
    cost = templates.cost(data)
    m = Minuit(cost, a=0.1, b=-0.1).migrad()
    assert m.valid
    for k, name in enumerate(("x", "y")):
        at = m.values[k]
        assert abs(at - data.column(name).mean()) < 2 * m.errors[k]
        assert m.errors[k] * np.sqrt(1500) == pytest.approx(1 / np.sqrt(0.86), rel=0.15)
    box = ChebyshevBox(np.full(2, -0.4), np.full(2, 0.4), 6)
    model = BinnedLLR("h", templates, ("a", "b"), box)
    surface = dataset_surface(model, data)
    best = np.array(m.values)
    assert surface.value(best) == pytest.approx((cost(0.0, 0.0) - m.fval) / 2, abs=1e-3)


def test_asymptotic_and_toy_intervals_agree_where_they_must():
    """Many events in each bin: MINOS on pyhf's likelihood and a Neyman belt of its toys."""
    truths = [round(float(t), 2) + 0.0 for t in np.linspace(-0.2, 0.2, 9)]
    samples = gaussian.samples(100_000, [-0.5, -0.25, 0.0, 0.25, 0.5], seed=1)
    templates = Templates.from_samples(samples, "x0", bins=12, degree=4)
    model = BinnedLLR(
        "pyhf", templates, "mu", Interpolation(np.linspace(-0.5, 0.5, 41), "spline"), mc_stat=False
    )
    pool = gaussian.samples(100_000, truths, seed=2)
    belt = neyman(Toys(pool, 1000, seed=3).scan([model], truths, 2000)["pyhf"])
    data = gaussian.generate(1000, 0.03, seed=4).as_data()
    for cl in (0.6827, 0.9545):
        by_toys = belt.interval(dataset_surface(model, data), cl)
        asymptotic = profile_interval(templates.cost(data, mc_stat=False), "mu", cl)
        # A critical value of 9 × 2000 toys is known to 2 %, an end so to 1 % of the half-width.
        tolerance = 4 * max(max(e) for e in by_toys.errors) + 1e-3
        assert by_toys.low == pytest.approx(asymptotic.low, abs=tolerance)
        assert by_toys.high == pytest.approx(asymptotic.high, abs=tolerance)
        assert tolerance < 0.15 * asymptotic.width


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([97, 167, 0, 20], [0.999094, 0.0001, 0.000737, 0.000469]),
        ([161, 0, 104, 64], [0.00644, 0.088946, 0.000119, 0.904895]),
        ([137, 0, 1, 195], [0.971237, 0.005457, 0.023604, 0.000102]),
    ],
)
def test_factors_far_from_the_data_converge(counts, expected):
    """Steps went back and forth between two scales, and one histogram ended a whole analysis."""
    n, f, v = np.array(counts, dtype=float), np.array(expected), 0.06**2
    profiled = profile_bins(n[None], f[None], np.full(4, 0.06), rate=False)
    gamma, scale = profiled.gammas[0, 0], profiled.scale[0, 0]
    assert np.sum(scale * f * gamma) == pytest.approx(n.sum(), rel=1e-9)
    # the factors are stationary: n/gamma - y - (gamma - 1)/v = 0
    np.testing.assert_allclose(n - scale * f * gamma - gamma * (gamma - 1) / v, 0, atol=1e-6)

    def cost(x):
        y = np.exp(x) * f
        g = ((1 - y * v) + np.sqrt((1 - y * v) ** 2 + 4 * n * v)) / 2
        mean = np.maximum(y * g, 1e-300)
        return float(np.sum(mean - n * np.log(mean) + (g - 1) ** 2 / (2 * v)))

    nearby = [cost(np.log(scale) + d) for d in (-1e-3, 0.0, 1e-3)]
    assert nearby[1] <= min(nearby)
