"""Coverage where it is not the same for all datasets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from milinfer.exceptions import CalibrationError, FitError
from milinfer.intervals.conditional_coverage import conditional_coverage, coverage_function
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

TRUTHS = [round(float(t), 2) + 0.0 for t in np.linspace(-0.4, 0.4, 17)]
POOL = gaussian_samples(TRUTHS, 50_000, 2)


def throw(n_toys=400, **options):
    toys = Toys(POOL, 100, seed=3, **options)
    return toys.scan([GaussianMean()], TRUTHS, n_toys)["gaussian"]


class Narrow:
    """Intervals of a wrong size that depends on the truth, or on the dataset."""

    pool_ids = ()

    def __init__(self, factor):
        self.factor = factor

    def contains_truth(self, ensemble, cl):
        q = ensemble.test_statistic(ensemble.truth)
        return q * self.factor(ensemble) <= chi2.ppf(cl, 1)


def test_a_right_interval_covers_whatever_the_data_show():
    toys = throw(poisson=True)
    for by in ("events", "curvature"):
        result = conditional_coverage(toys, by=by)
        assert result.p_value > 1e-3
        assert np.all((result.low < result.coverage) & (result.coverage < result.high))
        assert result.n_toys.sum() == 400 * 17
        assert np.all(np.diff(result.centres) > 0)


def test_an_interval_that_fails_for_large_datasets_is_found():
    toys = throw(poisson=True)
    wrong = Narrow(lambda e: np.where(e.counts > 100, 2.0, 1.0))
    result = conditional_coverage(toys, wrong, by="events", n_bins=4, name="wrong")
    assert result.p_value < 1e-6
    assert result.coverage[-1] < 0.56
    assert result.coverage[0] > 0.66
    assert result.method == "wrong"
    # Binned by something that has nothing to do with it, nothing is to be seen.
    noise = np.random.default_rng(1)
    blind = conditional_coverage(toys, wrong, by=lambda e: noise.normal(size=e.n_toys))
    assert blind.p_value > 1e-3


def test_nothing_to_bin_by_is_an_error():
    with pytest.raises(CalibrationError, match="the same events"):
        conditional_coverage(throw(100), by="events")


def test_the_coverage_function_is_the_known_one():
    factor = Narrow(lambda e: np.full(e.n_toys, 1.0 + 1.5 * e.truth))
    fitted = coverage_function(throw(), factor, degree=2)
    theta = np.array([-0.4, -0.2, 0.0, 0.3])
    value, low, high = fitted.at(theta)
    exact = chi2.cdf(chi2.ppf(0.6827, 1) / (1 + 1.5 * theta), 1)
    error = (high - low) / 2
    assert np.all(np.abs(value - exact) < 4 * error)
    assert np.all(error < 0.02)
    assert fitted.logit.p_value > 1e-4


def test_pulls_of_the_coverage_function_have_unit_width():
    truths, pulls = TRUTHS[::2], []
    pool = gaussian_samples(truths, 10_000, 2)
    for seed in range(80):
        toys = Toys(pool, 100, seed=seed).scan([GaussianMean()], truths, 60)["gaussian"]
        value, low, high = coverage_function(toys, degree=1).at(np.array([0.1]))
        pulls.append((value[0] - 0.6827) / ((high - low)[0] / 2))
    assert abs(np.mean(pulls)) < 4 / np.sqrt(80)
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(160))


def test_a_fit_that_is_not_determined_is_an_error():
    with pytest.raises(FitError, match="too few for a polynomial"):
        coverage_function(throw(100)[:2], degree=2)
    with pytest.raises(FitError, match="1700 of 1700"):
        coverage_function(throw(100), Narrow(lambda e: np.zeros(e.n_toys)), degree=1)


@pytest.mark.parametrize("seed", range(20))
def test_whole_numbers_make_no_empty_bins(seed):
    """Regression: quantiles between whole numbers made bins without toys, and a crash."""
    toys = Toys(POOL, 3, seed=seed, poisson=True).run([GaussianMean()], 0.0, 10 + seed)["gaussian"]
    result = conditional_coverage([toys], by="events", n_bins=9)
    assert np.all(result.n_toys > 0)
    assert result.n_toys.sum() == 10 + seed
    assert result.edges[0] == toys.counts.min()
    assert result.edges[-1] == toys.counts.max()
    assert np.all(np.diff(result.centres) > 0)


def test_a_property_may_be_any_callable():
    toys = Toys(POOL, 100, seed=3).run([GaussianMean()], 0.0, 200)["gaussian"]
    result = conditional_coverage([toys], by=Estimate())
    assert result.by == "Estimate"


class Estimate:
    def __call__(self, ensemble):
        return ensemble.theta_hat


def test_a_separable_coverage_is_an_error():
    """Regression: all toys cover on one side of a truth and none on the other."""
    step = Narrow(lambda e: np.full(e.n_toys, 0.0 if e.truth <= 0 else 1e9))
    with pytest.raises(FitError, match="infinite coefficients"):
        coverage_function(throw(100), step, degree=1)
