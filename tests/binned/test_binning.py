"""Edges of bins: quantiles, enough events, and the most information."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.binning import bins_with_enough, checked_edges, fisher_bins, quantile_bins
from milinfer.binned.templates import Templates
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import MilinferWarning, TemplateError
from milinfer.likelihood.surface import Interpolation
from milinfer.utils.polynomials import PolynomialBasis, point_matrix

# Share of the information about a Gaussian mean that the best n bins keep: one minus the distortion
# of Lloyd and Max's quantiser (Max 1960, table I).
LLOYD_MAX = {2: 0.6366, 4: 0.8825, 8: 0.96546}


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(100_000, [-0.3, 0.0, 0.3], seed=1)


def exact(edges):
    """Information of bins about the mean of a Gaussian at 0, for one event."""
    inner = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    return np.sum(np.diff(norm.pdf(inner)) ** 2 / np.diff(norm.cdf(inner)))


def binned_information(samples, name, edges, at, degree):
    """Information of the shape of a histogram for one event, shape (n_parameters, n_parameters).

    All bins are fitted with the same errors: contents of merged bins are then the sums of the fits.
    """
    basis = PolynomialBasis(samples.parameters, degree)
    contents, errors = [], []
    for sample in samples:
        weights = sample.weights * sample.cross_section / sample.weights.sum()
        inside = np.clip(sample.column(name), edges[0], np.nextafter(edges[-1], -np.inf))
        contents.append(np.histogram(inside, edges, weights=weights)[0])
        errors.append(np.full(len(edges) - 1, np.sqrt(np.sum(weights**2))))
    points = point_matrix(samples.parameters, [s.point for s in samples])
    fit = basis.fit(points, np.array(contents), np.array(errors))
    sigma = (basis.design(basis.array(at)) @ fit.coefficients)[0]
    slope = basis.design_gradient(basis.array(at)) @ fit.coefficients
    total = sigma.sum()
    slope = slope / total - np.outer(slope.sum(axis=1), sigma) / total**2
    assert np.all(sigma > 0)
    return slope @ np.diag(total / sigma) @ slope.T


@pytest.mark.parametrize("n_bins", LLOYD_MAX)
def test_few_bins_are_those_of_lloyd_and_max(samples, n_bins):
    edges = fisher_bins(samples, "x0", n_bins, {"mu": 0.0}, degree=2)
    assert len(edges) == n_bins + 1
    assert exact(edges) <= LLOYD_MAX[n_bins] + 1e-4
    assert exact(edges) > LLOYD_MAX[n_bins] - 0.02
    found = binned_information(samples, "x0", edges, {"mu": 0.0}, degree=2)[0, 0]
    assert found == pytest.approx(exact(edges), abs=0.03)


@pytest.mark.parametrize("mu", [-0.2, 0.0, 0.15])
def test_never_worse_than_quantiles_and_better_with_more(samples, mu):
    last = 0.0
    values = [s.column("x0").astype(float) for s in samples]
    for n in (2, 3, 6, 12, 24):
        options = {"at": {"mu": mu}, "degree": 2}
        best = fisher_bins(samples, "x0", n, **options)
        found, quantiles = (
            binned_information(samples, "x0", e, **options)[0, 0]
            for e in (best, quantile_bins(values, n, "x0"))
        )
        assert found >= quantiles - 1e-12
        assert found >= last
        last = found
    # All of the unbinned information, which is one for each event; `found` has the errors of the
    # polynomials, the edges themselves are known to be good from the exact Gaussian.
    assert exact(best - mu) == pytest.approx(1.0, abs=0.02)
    assert last == pytest.approx(1.0, abs=0.1)


def test_the_optimum_is_that_of_all_choices(samples):
    at = {"mu": 0.1}
    best = fisher_bins(samples, "x0", 3, at, degree=2, n_fine=12)
    fine = quantile_bins([s.column("x0").astype(float) for s in samples], 12, "x0")
    found = [
        binned_information(samples, "x0", fine[[0, i, j, 12]], at, degree=2)[0, 0]
        for i, j in combinations(range(1, 12), 2)
    ]
    assert binned_information(samples, "x0", best, at, degree=2)[0, 0] == pytest.approx(max(found))


def test_several_parameters_share_the_bins():
    points = [{"c1": a, "c2": b} for a in (-0.5, 0.0, 0.5) for b in (-0.5, 0.0, 0.5)]
    samples = quadratic.samples(20_000, points, seed=3)
    name, at = samples.feature_names[0], {"c1": 0.2, "c2": -0.2}
    edges = fisher_bins(samples, name, 6, at, degree=2, n_fine=60)
    matrix = binned_information(samples, name, edges, at, degree=2)
    assert matrix.shape == (2, 2)
    fine = binned_information(
        samples,
        name,
        quantile_bins([s.column(name).astype(float) for s in samples], 60, name),
        at,
        degree=2,
    )
    kept = np.trace(np.linalg.solve(fine, matrix)) / 2
    assert 0.5 < kept <= 1 + 1e-9


def test_no_bin_is_built_from_a_handful_of_events():
    samples = gaussian.samples(3000, [-0.3, 0.0, 0.3], seed=4)
    edges = fisher_bins(samples, "x0", 8, {"mu": 0.0}, degree=2, min_effective=200)
    for s in samples:
        counts, _ = np.histogram(np.clip(s.column("x0"), edges[0], edges[-1]), edges)
        assert counts.min() >= 200
    with pytest.raises(TemplateError, match="no 8 bins with 2000 effective"):
        fisher_bins(samples, "x0", 8, {"mu": 0.0}, degree=2, min_effective=2000)


def test_poor_bins_are_merged_with_neighbours():
    samples = gaussian.samples(2000, [-0.5, 0.0, 0.5], seed=5)
    wanted = np.linspace(-5, 5, 41)
    templates = Templates.from_samples(samples, "x0", bins=wanted, degree=2, min_effective=20)
    assert set(templates.edges) <= set(wanted)
    assert templates.edges[[0, -1]].tolist() == [-5, 5]
    assert templates.diagnose().passed
    # Bins in the middle are as they were.
    assert {-0.25, 0.0, 0.25} <= set(templates.edges)
    with pytest.raises(TemplateError, match="no two bins have"):
        bins_with_enough(np.array([0.0, 1, 2]), [np.zeros(5)], [np.ones(5)], 1.0, "x")
    # Weights that cancel are not events.
    edges = bins_with_enough(
        np.array([0.0, 1, 2, 3]),
        [np.array([0.5, 0.5, 1.5, 1.5, 2.5, 2.5, 2.5])],
        [np.array([1.0, 1, 1, -1, 1, 1, 1])],
        1.0,
        "x",
    )
    assert len(edges) == 3


def test_bins_that_make_no_sense_are_refused(samples):
    with pytest.raises(TemplateError, match="give the edges"):
        quantile_bins([np.zeros(10)], 3, "x")
    with pytest.raises(TemplateError, match="ascending"):
        checked_edges([1.0, 1.0, 2.0], "x0")


def test_few_events_have_fewer_fine_bins():
    """Regression: fine bins of a few hundred events were empty, and the error named an option."""
    few = gaussian.samples(300, [-0.3, 0.0, 0.3], seed=3)
    edges = fisher_bins(few, "x0", 4, {"mu": 0.0}, degree=2)
    assert len(edges) == 5
    assert np.all(np.diff(edges) > 0)


def test_edges_know_the_events_that_chose_them():
    """The same events chose the bins and filled them; the diagnosis called such bins sound."""
    first, second = (gaussian.samples(2000, [-0.3, 0.0, 0.3], seed=s) for s in (1, 2))
    edges = fisher_bins(first, "x0", 6, {"mu": 0.0}, degree=2)
    assert edges.shape == (7,)
    assert edges[1:].chosen_on == edges.chosen_on  # a part was chosen on the same events
    assert type(np.asarray(edges)) is np.ndarray
    sound = Templates.from_samples(second, "x0", bins=edges, degree=2)
    assert sound.diagnose().passed
    interpolation = Interpolation(np.linspace(-0.3, 0.3, 21), "spline")
    BinnedLLR("sound", sound, "mu", interpolation)
    with pytest.warns(MilinferWarning, match="the edges of x0 were chosen on the events that fill"):
        circular = Templates.from_samples(first, "x0", bins=edges, degree=2)
    assert circular.circular == ("x0",)
    assert not circular.diagnose().passed
    assert "choose the edges on other events" in str(circular.diagnose())
    with pytest.raises(TemplateError, match="circular: the edges of x0 were chosen on the events"):
        BinnedLLR("circular", circular, "mu", interpolation)
    # a part of the events is recognised too, and one sample of several
    with pytest.warns(MilinferWarning, match="the edges of x0"):
        Templates.from_samples(first.split([0.5], 1)[0], "x0", bins=edges, degree=2)


def test_edges_of_the_same_events_bias_the_slope():
    """Twenty bins of 1500 events a point: estimates are pulled to the reference more strongly.

    With the slopes s and shares f of templates, and the true slopes t, the mean estimate of a small
    mu is mu Σ st/f / Σ s²/f.
    """
    at, responses = {"mu": 0.0}, {"own": [], "others": []}
    for seed in range(40):
        fill, other = (gaussian.samples(1500, [-0.3, 0.0, 0.3], seed=2 * seed + k) for k in (0, 1))
        for name, choosing in (("own", fill), ("others", other)):
            edges = np.asarray(fisher_bins(choosing, "x0", 20, at, degree=2))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MilinferWarning)  # of few events
                templates = Templates.from_samples(fill, "x0", bins=edges, degree=2)
            outer = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
            share = templates.fractions(at)
            (slope,) = templates.basis.design_gradient(np.array([0.0])) @ templates.fit.coefficients
            true_slope = -np.diff(norm.pdf(outer))
            responses[name].append(np.sum(slope * true_slope / share) / np.sum(slope**2 / share))
    difference = np.array(responses["others"]) - np.array(responses["own"])
    assert difference.mean() > 3 * difference.std() / np.sqrt(len(difference))
