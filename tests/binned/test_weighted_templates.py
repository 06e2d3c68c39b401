"""Bins filled through the weights of events, against bins known in closed form.

The first problem has the density φ(z) ((1 + cz)² + c²) / (1 + 2c²) of one observable z at c: a bin
is a quadratic in c with known coefficients.  In the second a hidden number h ∈ {−4, 0, 4} gives an
event the weight 1 + ch, which changes its sign, as interference terms do.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.binning import fisher_bins
from milinfer.binned.templates import Templates
from milinfer.binned.weighted_templates import event_yields
from milinfer.binned.workspace_export import export_workspace, import_workspace
from milinfer.datasets import quadratic
from milinfer.exceptions import SampleError, TemplateError
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

EDGES = np.array([-9.0, -1.2, -0.4, 0.3, 1.1, 9.0])
WEIGHTS_AT = (-1.0, 0.0, 1.0)


def exact_bins(edges: np.ndarray = EDGES) -> np.ndarray:
    """Coefficients of the bins in pb, shape (3, n_bins)."""
    share, slope = np.diff(norm.cdf(edges)), -np.diff(norm.pdf(edges))
    return np.stack([share, 2 * slope, 2 * share - np.diff(edges * norm.pdf(edges))])


def generate(n: int, c: float, seed: int, *, negative: float = 0.0) -> Sample:
    """Events of the first problem; a fraction of them has the weight −1."""
    rng = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < n:
        wide = rng.random(4 * n) < 2 * c**2 / (2 + 3 * c**2)
        z = rng.normal(size=4 * n)
        z = np.where(wide, np.sign(z) * np.sqrt(rng.chisquare(3, 4 * n)), z)
        bound = 2 + c**2 + 2 * c**2 * z**2
        kept.append(z[rng.random(4 * n) * bound < (1 + c * z) ** 2 + c**2])
    z = np.concatenate(kept)[:n].astype(np.float32).astype(np.float64)
    sign = np.where(rng.random(n) < negative, -1.0, 1.0)
    # Weights in units of their own for each event: only their ratios mean something.
    units = sign * rng.uniform(0.5, 2.0, n)
    return Sample(
        z[:, None],
        ("z",),
        weights=sign,
        point={"c": c},
        cross_section=1 + 2 * c**2,
        reweights={f"w{k}": units * ((1 + a * z) ** 2 + a**2) for k, a in enumerate(WEIGHTS_AT)},
        reweight_points={f"w{k}": {"c": a} for k, a in enumerate(WEIGHTS_AT)},
    )


def changing(n: int, c: float, seed: int) -> Sample:
    """Events of the second problem, with weights ±1."""
    rng = np.random.default_rng(seed)
    hidden = np.array([-4.0, 0.0, 4.0])
    chance = np.abs(1 + c * hidden)
    h = rng.choice(hidden, n, p=chance / chance.sum())
    z = rng.normal(0.3 * h, 1.0)
    sign = np.sign(1 + c * h)
    return Sample(
        z[:, None],
        ("z",),
        weights=sign,
        point={"c": c},
        cross_section=1.0,
        reweights={"a": sign * (1 + h) / (1 + c * h), "b": sign / (1 + c * h)},
        reweight_points={"a": {"c": 1.0}, "b": {"c": 0.0}},
    )


def exact_changing(edges: np.ndarray = EDGES) -> np.ndarray:
    """Coefficients of the bins of the second problem, shape (2, n_bins)."""
    shares = {h: np.diff(norm.cdf(edges, 0.3 * h)) / 3 for h in (-4.0, 0.0, 4.0)}
    return np.stack([sum(shares.values()), sum(h * s for h, s in shares.items())])


def fill(samples: SampleSet, degree: int = 2, edges: np.ndarray = EDGES):
    yields = event_yields(samples, degree)
    bins = [np.searchsorted(edges, s.column("z")) - 1 for s in samples]
    return yields.fill(bins, len(edges) - 1)


def chi2(fit, exact: np.ndarray) -> float:
    """χ² of all bins, each with the covariance of its coefficients."""
    pulls = (fit.coefficients - exact).T
    return float(np.einsum("bi,bij,bj->", pulls, np.linalg.inv(fit.covariance), pulls))


@pytest.mark.parametrize(
    "points", [(0.0,), (0.5,), (-0.5, 0.5), (-1.0, 0.0, 0.5)], ids=lambda p: f"at{p}"
)
def test_coefficients_are_those_of_the_closed_form(points):
    """Over 40 fillings: the mean χ² of 15 coefficients is 15, its sum has an error of √(2·600)."""
    values = [
        chi2(
            fill(SampleSet([generate(3000, c, 100 * k + j) for j, c in enumerate(points)])),
            exact_bins(),
        )
        for k in range(40)
    ]
    # Normalised by the cross-sections, bins fluctuate a little less than the covariance says.
    assert 11.0 < np.mean(values) < 15 + 3 * np.sqrt(2 * 15 / 40)


@pytest.mark.parametrize("negative", [0.0, 0.2])
def test_covariance_is_the_scatter_of_fillings(negative):
    n = 1000
    fits = [fill(SampleSet([generate(n, 0.3, k, negative=negative)])) for k in range(400)]
    scatter = np.stack([np.cov(np.stack([f.coefficients[:, b] for f in fits]).T) for b in range(5)])
    covariance = np.mean([f.covariance for f in fits], axis=0)
    # The total at the point of the sample is its cross-section, which takes away part of it.
    exact = exact_bins()
    expected = covariance - np.einsum("ib,jb->bij", exact, exact) / (n * (1 - 2 * negative) ** 2)
    ratio = np.diagonal(scatter, axis1=1, axis2=2) / np.diagonal(expected, axis1=1, axis2=2)
    # Variances from 400 fillings have errors of 7 %, those of heavy tails larger ones.
    assert np.all(np.abs(ratio - 1) < 0.28)
    assert abs(ratio.mean() - 1) < 0.07


def test_covariance_of_a_mixture_is_the_scatter_at_all_points():
    points, theta = (-0.6, 0.0, 0.6), np.linspace(-1, 1, 9)[:, None]
    fits, basis = [], None
    for seed in range(300):
        samples = SampleSet([generate(400, c, 1000 * seed + j) for j, c in enumerate(points)])
        basis = event_yields(samples, 2).basis
        fits.append(fill(samples))
    scatter = np.var(np.stack([basis.value(f, theta) for f in fits]), axis=0)
    variance = np.mean([basis.variance(f, theta) for f in fits], axis=0)
    total = np.stack([basis.value(f, theta) for f in fits]).mean(axis=0)
    # At most the variance of the total number of events, which the cross-sections fix, is missing.
    assert np.all(scatter < 1.3 * variance)
    assert np.all(scatter > 0.7 * (variance - total**2 / 1200))


@pytest.mark.parametrize("points", [(0.5,), (-0.5, 0.5), (-0.4, 0.0, 0.5)])
def test_weights_that_change_sign(points):
    """Sums need no densities: samples are averaged, and the χ² of ten coefficients is ten."""
    values = []
    for k in range(60):
        samples = SampleSet([changing(2000, c, 100 * k + j) for j, c in enumerate(points)])
        fit = fill(samples, 1)
        values.append(chi2(fit, exact_changing()))
    assert 7.0 < np.mean(values) < 10 + 3 * np.sqrt(2 * 10 / 60)


def test_average_of_samples_is_better_than_each():
    samples = SampleSet([changing(4000, c, j) for j, c in enumerate((-0.5, 0.5))])
    basis = event_yields(samples, 1).basis
    theta = np.array([[-0.5], [0.0], [0.5]])
    both = basis.variance(fill(samples, 1), theta)
    for sample in samples:
        assert np.all(both < basis.variance(fill(SampleSet([sample]), 1), theta))


def test_one_sample_and_several_agree():
    one = Templates.from_samples(
        SampleSet([generate(30_000, 0.0, 1)]), "z", bins=EDGES, weight_degree=2
    )
    several = Templates.from_samples(
        SampleSet([generate(10_000, c, 2 + j) for j, c in enumerate((-0.8, 0.1, 0.8))]),
        "z",
        bins=EDGES,
        weight_degree=2,
    )
    for c in (-1.0, -0.5, 0.0, 0.5, 1.0):
        a, b = one.cross_sections({"c": c}), several.cross_sections({"c": c})
        error = np.hypot(a * one.relative_errors({"c": c}), b * several.relative_errors({"c": c}))
        assert np.all(np.abs(a - b) < 3.5 * error)
    # In the tails at c = 1 the events of the sample at 0.8 count, whose weights differ less.
    tails = [0, -1]
    errors = several.relative_errors({"c": 1.0})[tails]
    assert np.all(errors < 0.9 * one.relative_errors({"c": 1.0})[tails])


def test_bins_sum_to_the_cross_section():
    sample = quadratic.samples(20_000, [{"c1": 0.0}], seed=1)
    templates = Templates.from_samples(sample, "x0", bins=6, weight_degree=2)
    assert templates.cross_sections({"c1": 0.0}).sum() == pytest.approx(1.0, rel=1e-12)
    for c in (-1.0, -0.4, 0.4, 1.0):
        at = {"c1": c}
        sigma = templates.cross_sections(at)
        error = np.sqrt(np.sum((sigma * templates.relative_errors(at)) ** 2))
        assert abs(sigma.sum() - quadratic.normalisation(np.array([c]))) < 3 * error


def test_two_parameters():
    corner = quadratic.samples(20_000, [{"c1": 0.3, "c2": -0.2}], seed=4)
    templates = Templates.from_samples(corner, ("x0", "x1"), bins=3, weight_degree=2)
    assert templates.basis_points.shape == (6, 2)
    at = {"c1": -0.5, "c2": 0.4}
    sigma = templates.cross_sections(at)
    error = np.sqrt(np.sum((sigma * templates.relative_errors(at)) ** 2))
    assert abs(sigma.sum() - quadratic.normalisation(np.array([-0.5, 0.4]))) < 3 * error


def test_points_and_histograms_are_those_of_weights_and_samples():
    samples = SampleSet([generate(2000, 0.4, 1)])
    templates = Templates.from_samples(samples, "z", bins=EDGES, weight_degree=2)
    assert templates.points.ravel().tolist() == [-1.0, 0.0, 0.4, 1.0]
    assert templates.limits == {"c": (-1.0, 1.0)}
    assert templates.reference == {"c": 0.0}
    own = np.histogram(samples[0].column("z"), EDGES)[0] * (1 + 2 * 0.4**2) / 2000
    np.testing.assert_allclose(templates.histograms[2].values(), own, rtol=1e-12)
    np.testing.assert_allclose(
        templates.histograms[2].variances(), own * (1 + 2 * 0.4**2) / 2000, rtol=1e-12
    )
    table = templates.to_table()
    np.testing.assert_allclose(table["cross_section"], table["fitted"], rtol=1e-12)
    np.testing.assert_allclose(table["cross_section_error"], table["fitted_error"], rtol=1e-9)


def test_background_adds_to_the_constant():
    samples = SampleSet([generate(2000, 0.0, 1)])
    background = Sample(np.linspace(-2, 2, 100)[:, None], ("z",), process="tt", cross_section=0.5)
    alone, both = (
        Templates.from_samples(samples, "z", bins=EDGES, weight_degree=2, background=b)
        for b in (None, background)
    )
    for c in (-0.5, 0.0, 0.5):
        more = both.cross_sections({"c": c}) - alone.cross_sections({"c": c})
        np.testing.assert_allclose(more, both.background.values(), rtol=1e-9)


def test_workspace_has_the_same_likelihood():
    samples = SampleSet([generate(5000, 0.0, 1)])
    templates = Templates.from_samples(samples, "z", bins=EDGES, weight_degree=2, luminosity=0.5)
    counts = np.round(templates.expected({"c": 0.3}))
    cost = import_workspace(export_workspace(templates, counts, mc_stat=False))
    by_hand = templates.cost(counts, rate=True, mc_stat=False)
    names = list(cost.limits)
    assert names == ["c"]
    for c in (-0.2, 0.1, 0.6):
        assert cost(c) - cost(0.3) == pytest.approx(by_hand(c) - by_hand(0.3), abs=1e-8)


# --- diagnosis -----------------------------------------------------------------------------------


def test_one_sample_is_not_compared_with_itself():
    samples = SampleSet([generate(2000, 0.4, 1)])
    diagnosis = Templates.from_samples(samples, "z", bins=EDGES, weight_degree=2).diagnose()
    assert diagnosis.passed
    assert all(np.isnan(row.p_value) for row in diagnosis)


def test_closure_of_several_samples_is_uniform_or_more_cautious():
    p_values = []
    for k in range(100):
        samples = SampleSet([generate(500, c, 100 * k + j) for j, c in enumerate((-0.6, 0.1, 0.7))])
        yields = event_yields(samples, 2)
        bins = [np.searchsorted(EDGES, s.column("z")) - 1 for s in samples]
        p_values.append(yields.closure(bins, yields.fill(bins, 5)))
    values = np.concatenate(p_values)
    assert np.all(np.isfinite(values))
    # 500 p-values, five for each set of samples: errors 1 % and 0.4 %.
    assert 0.01 < np.mean(values < 0.05) < 0.08
    assert np.mean(values < 0.005) < 0.02
    assert values.min() > 1e-5


@pytest.mark.parametrize("fault", ["cross-section", "weights"])
def test_closure_finds_samples_that_contradict_the_weights(fault):
    samples = [generate(20_000, c, j) for j, c in enumerate((-0.6, 0.7))]
    if fault == "cross-section":
        samples[1] = replace(samples[1], cross_section=1.1 * samples[1].cross_section)
    else:  # weights with the wrong sign of c
        samples[1] = replace(
            samples[1], reweight_points={f"w{k}": {"c": -a} for k, a in enumerate(WEIGHTS_AT)}
        )
    with pytest.warns(match="histograms of the samples differ from the histogram of all events"):
        templates = Templates.from_samples(SampleSet(samples), "z", bins=EDGES, weight_degree=2)
    assert "check the weights and the cross-sections" in templates.diagnose().problems[0]


def test_error_of_a_cross_section_counts_in_the_closure():
    samples = [generate(20_000, c, j) for j, c in enumerate((-0.6, 0.7))]
    wrong = 1.1 * samples[1].cross_section
    samples[1] = replace(samples[1], cross_section=wrong, cross_section_error=0.1 * wrong)
    templates = Templates.from_samples(SampleSet(samples), "z", bins=EDGES, weight_degree=2)
    assert templates.diagnose().passed
    # The other cross-section is exact, and decides.
    sigma = templates.cross_sections({"c": -0.6}).sum()
    assert sigma == pytest.approx(1 + 2 * 0.6**2, rel=0.02)


# --- what is refused -----------------------------------------------------------------------------


def test_degrees_that_differ():
    with pytest.raises(TemplateError, match="omit degree"):
        Templates.from_samples(
            SampleSet([generate(100, 0.0, 1)]), "z", bins=EDGES, degree=4, weight_degree=2
        )


def test_events_without_weights():
    bare = replace(generate(100, 0.0, 1), reweights={}, reweight_points={})
    with pytest.raises(SampleError, match="no weights at other points"):
        Templates.from_samples(SampleSet([bare]), "z", bins=EDGES, weight_degree=2)


def test_an_event_without_weight_at_its_own_point():
    sample = changing(100, 0.5, 1)
    weights = {"a": np.full(100, -3.0), "b": np.ones(100)}
    broken = replace(sample, point={"c": 0.25}, reweights=weights)
    with pytest.raises(SampleError, match=r"event 0 are zero at c=0.25, where it was generated"):
        Templates.from_samples(SampleSet([broken]), "z", bins=EDGES, weight_degree=1)


def test_a_bin_without_events():
    with pytest.raises(TemplateError, match="has no events"):
        Templates.from_samples(
            SampleSet([generate(100, 0.0, 1)]), "z", bins=[-9, 0, 20, 30], weight_degree=2
        )


def test_a_bin_that_one_sample_does_not_fill():
    """Every event fills every θ, so that no sample has to reach every bin."""
    low, high = generate(2000, -0.6, 1), generate(2000, 0.6, 2)
    low = low.take(np.flatnonzero(low.column("z") < 0.3))
    low = replace(low, cross_section=low.cross_section * len(low) / 2000)
    samples = SampleSet([low, high])
    with pytest.raises(TemplateError, match="is empty at"):
        Templates.from_samples(samples, "z", bins=EDGES, degree=1)
    with pytest.warns(
        match="histograms of the samples differ"
    ):  # as low lacks its events above 0.3
        Templates.from_samples(samples, "z", bins=EDGES, weight_degree=2)


# --- edges of most information -------------------------------------------------------------------


def test_fisher_bins_of_one_sample():
    """Ten bins keep nearly the information of the exact shape, 4·Var(z) = 4 at c = 0."""
    samples, others = (SampleSet([generate(40_000, 0.0, seed)]) for seed in (1, 2))
    edges = fisher_bins(others, "z", 10, {"c": 0.0}, weight_degree=2)
    exact = exact_bins(np.concatenate([[-20.0], edges[1:-1], [20.0]]))
    assert 3.7 < np.sum(exact[1] ** 2 / exact[0]) < 4.0
    templates = Templates.from_samples(samples, "z", bins=edges, weight_degree=2)
    assert templates.information({"c": 0.0})[0, 0] == pytest.approx(
        np.sum(exact[1] ** 2 / exact[0]), rel=0.03
    )


def test_bins_have_a_least_share():
    samples = SampleSet([generate(40_000, 0.0, 1)])
    shares = []
    for least in (0.0, 0.03):
        edges = fisher_bins(samples, "z", 20, {"c": 0.0}, weight_degree=2, min_share=least)
        plain = np.asarray(edges)  # the shares are those of the very events that chose
        templates = Templates.from_samples(samples, "z", bins=plain, weight_degree=2)
        shares.append(templates.fractions({"c": 0.0}).min())
    assert shares[0] < 0.02
    assert shares[1] >= 0.03 * (1 - 1e-9)
    with pytest.raises(TemplateError, match=r"and a share of at least 0\.06 there"):
        fisher_bins(samples, "z", 20, {"c": 0.0}, weight_degree=2, min_share=0.06)


def test_merged_bins_have_enough_events_at_every_sample():
    samples = SampleSet([generate(1000, c, 1 + j) for j, c in enumerate((0.0, 0.8))])
    templates = Templates.from_samples(samples, "z", bins=100, weight_degree=2, min_effective=50.0)
    assert 5 < templates.n_bins < 40
    for c in (0.0, 0.8):
        assert np.all(templates.relative_errors({"c": c}) <= 1 / np.sqrt(50) * (1 + 1e-9))


# --- inference -----------------------------------------------------------------------------------


def test_response_and_coverage():
    """Templates of 4000 events at 0, data of the exact bins at several truths, many templates."""
    edges = np.array([-9.0, -1.8, -1.0, -0.4, 0.3, 1.1, 1.8, 9.0])
    grid = Interpolation(np.linspace(-0.6, 0.6, 121), "spline")
    rng, n, truths = np.random.default_rng(7), 400, (-0.15, 0.0, 0.15)
    estimates = {t: [] for t in truths}
    covered = []
    for seed in range(60):
        samples = SampleSet([generate(4000, 0.0, seed)])
        templates = Templates.from_samples(samples, "z", bins=edges, weight_degree=2)
        model = BinnedLLR("z", templates, "c", grid)
        for t in truths:
            p = exact_bins(edges).T @ [1.0, t, t**2]
            llr = model.counts_llr(rng.multinomial(n, p / p.sum(), 50).astype(float))
            best = np.argmax(llr, axis=1)
            estimates[t] += grid.grid[best].tolist()
            at_truth = llr[:, np.argmin(np.abs(grid.grid - t))]
            covered += (2 * (llr.max(axis=1) - at_truth) < 1.0).tolist()
    means = [np.mean(estimates[t]) for t in truths]
    # 3000 toys of error 0.026 at each truth, 60 templates of error 0.008.
    assert (means[2] - means[0]) / 0.3 == pytest.approx(1.0, abs=0.03)
    # 9000 toys, of 60 templates: 0.5 % and about 1 %.
    assert np.mean(covered) == pytest.approx(0.683, abs=0.03)
