"""Templates and their pyhf likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint
from scipy.stats import poisson

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.templates import Templates
from milinfer.datasets import gaussian
from milinfer.exceptions import TemplateError
from milinfer.likelihood.models import dataset_surface
from milinfer.likelihood.surface import Interpolation

MEANS = [-0.6, -0.3, 0.0, 0.3, 0.6]


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(60_000, MEANS, seed=1)


@pytest.fixture(scope="module")
def templates(samples):
    return Templates.from_samples(samples, "x0", bins=12, degree=4, luminosity=0.5)


def test_nothing_is_lost_in_the_outer_bins(samples):
    templates = Templates.from_samples(samples, "x0", bins=[-1.0, 0.0, 1.0], degree=2)
    for h, s in zip(templates.histograms, samples, strict=True):
        assert h.sum().value == pytest.approx(s.cross_section)
    data = gaussian.generate(1000, 0.1, seed=5)
    assert templates.counts(data).sum() == 1000
    assert templates.fractions({"mu": 0.11}).sum() == pytest.approx(1)


def test_fractions_are_those_of_the_gaussian(samples):
    from scipy.stats import norm

    templates = Templates.from_samples(samples, "x0", bins=[-9.0, -0.5, 0.5, 9.0], degree=4)
    for mu in (-0.45, 0.1):
        expected = np.diff(norm.cdf([-9, -0.5, 0.5, 9], loc=mu))
        np.testing.assert_allclose(templates.fractions({"mu": mu}), expected, atol=0.006)


def test_the_likelihood_is_poisson_in_each_bin(templates):
    counts = templates.counts(gaussian.generate(500, 0.1, seed=6))
    cost = templates.cost(counts, rate=True, mc_stat=False)
    for mu in (-0.4, 0.0, 0.33):
        expected = templates.expected({"mu": mu})
        by_hand = -2 * poisson.logpmf(counts, expected).sum()
        assert cost(mu) == pytest.approx(by_hand, rel=1e-10)


def test_the_shape_likelihood_is_multinomial(templates):
    counts = templates.counts(gaussian.generate(500, 0.1, seed=6))
    cost = templates.cost(counts, mc_stat=False)
    reference = cost(0.0)
    for mu in (-0.4, 0.33):
        ratio = templates.fractions({"mu": mu}) / templates.fractions({"mu": 0.0})
        assert cost(mu) - reference == pytest.approx(-2 * counts @ np.log(ratio), abs=1e-8)


@pytest.mark.parametrize("rate", [True, False])
@pytest.mark.parametrize("mc_stat", [True, False])
def test_gradient_is_the_derivative(templates, rate, mc_stat):
    cost = templates.cost(gaussian.generate(500, 0.1, seed=6), rate=rate, mc_stat=mc_stat)
    for mu in (-0.5, 0.1):
        h = 1e-5
        numeric = (cost(mu + h) - cost(mu - h)) / (2 * h)
        assert cost.grad(mu)[0] == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_fits_pull_like_a_standard_normal(templates):
    pulls = []
    for seed in range(100):
        m = Minuit(templates.cost(gaussian.generate(500, 0.1, seed=1000 + seed)), mu=0.0).migrad()
        assert m.valid
        pulls.append((m.values["mu"] - 0.1) / m.errors["mu"])
    # The templates' own statistics shift all fits together, by 0.1 of the error or so.
    assert abs(np.mean(pulls)) < 4 / np.sqrt(100) + 0.1
    # A cost that is wrong by a factor of two is 6 standard deviations off.
    assert abs(np.std(pulls, ddof=1) - 1) < 4 / np.sqrt(200)


def test_many_bins_reach_the_unbinned_information(samples):
    errors = {}
    for bins in (2, 40):
        templates = Templates.from_samples(samples, "x0", bins=bins, degree=4)
        asimov = 1000 * templates.fractions({"mu": 0.0})
        m = Minuit(templates.cost(asimov), mu=0.0).migrad().hesse()
        errors[bins] = m.errors["mu"] * np.sqrt(1000)
    # Two bins at the median keep 2/π of the information, many bins all of it.
    assert errors[2] == pytest.approx(np.sqrt(np.pi / 2), rel=0.03)
    assert errors[40] == pytest.approx(1.0, rel=0.03)


def test_it_works_with_minos_and_constraints(templates):
    cost = templates.cost(gaussian.generate(500, 0.1, seed=6))
    m = Minuit(cost + NormalConstraint("mu", 0.0, 0.1), mu=0.0)
    assert tuple(m.limits["mu"]) == (-0.6, 0.6)
    m.migrad().minos()
    assert m.valid
    assert m.merrors["mu"].is_valid


@pytest.mark.parametrize("mc_stat", [True, False])
def test_the_llr_of_a_histogram_is_its_pyhf_likelihood(templates, mc_stat):
    grid = Interpolation(np.linspace(-0.6, 0.6, 41), "spline")
    model = BinnedLLR("h", templates, "mu", grid, mc_stat=mc_stat)
    data = gaussian.generate(400, 0.1, seed=8)
    surface, cost = dataset_surface(model, data), templates.cost(data, mc_stat=mc_stat)
    for mu in (-0.3, 0.15, 0.45):
        assert surface(mu) == pytest.approx(-(cost(mu) - cost(0.0)) / 2, abs=1e-4)


def test_errors_name_bin_and_point(samples):
    with pytest.raises(TemplateError, match=r"bin 1 .* is empty"):
        Templates.from_samples(samples, "x0", bins=[-1.0, 6.0, 7.0], degree=2)
    with pytest.raises(TemplateError, match="ascending"):
        Templates.from_samples(samples, "x0", bins=[1.0, 0.0, 2.0], degree=2)
    templates = Templates.from_samples(samples, "x0", bins=8, degree=4)
    with pytest.raises(TemplateError, match=r"bin \d+ .*mu=9"):
        templates.cross_sections({"mu": 9.0})
    with pytest.raises(TemplateError, match="luminosity"):
        templates.expected({"mu": 0.0})
    with pytest.raises(TemplateError, match="luminosity"):
        templates.cost(np.ones(8), rate=True)
    with pytest.raises(TemplateError, match="the counts must be"):
        templates.cost(np.ones(3))
