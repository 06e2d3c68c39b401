"""Quantiles of χ² without scipy.stats."""

import numpy as np
import pytest
from scipy.stats import chi2

from milinfer.utils.confidence_levels import CL68, CL95, chi2_quantile


@pytest.mark.parametrize("ndf", [1, 2, 10])
def test_quantiles_have_the_bits_of_scipy(ndf):
    levels = np.concatenate([[CL68, CL95, 1e-12, 1 - 1e-12], np.linspace(0.01, 0.99, 99)])
    np.testing.assert_array_equal(chi2_quantile(levels, ndf), chi2.ppf(levels, ndf))
    assert float(chi2_quantile(CL68, ndf)) == float(chi2.ppf(CL68, ndf))
