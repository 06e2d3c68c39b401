"""Whether information rises with the bag size: slopes with honest errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from milinfer.diagnostics.bag_size import bag_size_slope
from milinfer.exceptions import ConfigurationError, FitError

SIZES = np.array([1, 10, 20, 25, 50, 100, 125, 200, 250])


@pytest.mark.parametrize("slope", [-0.05, 0.0, 0.04])
def test_slopes_are_recovered_with_honest_errors(slope):
    rng, n = np.random.default_rng(7), 400
    covariance = np.full((9, 9), 0.02**2) + np.diag(np.full(9, 0.01**2))
    pulls, p_values = [], []
    for _ in range(n):
        info = 200 * np.exp(
            slope * np.log2(SIZES) + rng.multivariate_normal(np.zeros(9), covariance)
        )
        trend = bag_size_slope(SIZES, info, covariance=covariance * np.outer(info, info))
        pulls.append((trend.slope - slope) / trend.slope_error)
        p_values.append(trend.p_value)
    assert abs(np.mean(pulls)) < 3.5 / np.sqrt(n)
    assert abs(np.std(pulls) - 1) < 3.5 / np.sqrt(2 * n)
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_what_all_sizes_share_does_not_enter_the_slope():
    info = 200 * np.exp(0.03 * np.log2(SIZES))
    own = np.diag((0.01 * info) ** 2)
    alone = bag_size_slope(SIZES, info, 0.01 * info)
    shared = bag_size_slope(SIZES, info, covariance=own + 0.05**2 * np.outer(info, info))
    assert shared.slope == pytest.approx(0.03)
    assert shared.slope_error == pytest.approx(alone.slope_error, rel=1e-6)
    assert shared.level == pytest.approx(200)
    assert shared.sigmas == pytest.approx(0.03 / shared.slope_error)


def test_two_sizes_leave_no_degrees_of_freedom():
    trend = bag_size_slope([1, 4], [100.0, 121.0], [1.0, 1.0])
    assert np.exp(trend.slope) == pytest.approx(1.1)
    assert trend.ndf == 0
    assert np.isnan(trend.p_value)


def test_one_size_has_no_slope():
    with pytest.raises(FitError, match="two bag sizes"):
        bag_size_slope([5, 5], [100.0, 101.0], [1.0, 1.0])
    with pytest.raises(ConfigurationError):
        bag_size_slope([1, 5], [100.0, -1.0], [1.0, 1.0])
