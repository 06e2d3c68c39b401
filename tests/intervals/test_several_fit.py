"""Fits in several parameters against closed forms of a Gaussian likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint
from scipy.stats import chi2

from milinfer.exceptions import CalibrationError
from milinfer.intervals.coverage import Asymptotic
from milinfer.intervals.several_fit import joint_fit
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.utils.confidence_levels import CL68, CL95

NAMES = ("a", "b", "c")


def gaussian(information, best, box=1.0):
    """Cost of Λ = −(θ − best)ᵀ information (θ − best)/2."""
    matrix, centre = np.array(information), np.array(best)
    n = len(centre)
    grid = ChebyshevBox(np.full(n, -box), np.full(n, box), 4)
    x = grid.grid - centre
    values = -np.einsum("ij,jk,ik->i", x, matrix, x) / 2
    return LikelihoodCost(grid.surface(values), NAMES[:n], n_events=100)


COVARIANCE = np.array([[0.04, 0.012], [0.012, 0.01]])  # correlation 0.6


@pytest.fixture(scope="module")
def fit():
    return joint_fit(gaussian(np.linalg.inv(COVARIANCE), (0.1, -0.2)))


def test_profile_and_fixed_intervals_of_a_gaussian(fit):
    assert fit.problems == ()
    assert fit.unconstrained == ()
    for k, (name, centre) in enumerate({"a": 0.1, "b": -0.2}.items()):
        sigma = np.sqrt(COVARIANCE[k, k])
        conditional = sigma * np.sqrt(1 - 0.6**2)
        for own, width in ((fit.as_trained[name], sigma), (fit.others_fixed[name], conditional)):
            assert own.estimate == pytest.approx(centre, abs=1e-4)
            for interval, cl in ((own.inner, CL68), (own.outer, CL95)):
                reach = width * np.sqrt(chi2.ppf(cl, 1))
                ends = (interval.low, interval.high)
                assert ends == pytest.approx((centre - reach, centre + reach), abs=1e-3)
    assert fit.correlations() == {"a,b": pytest.approx(0.6, abs=1e-3)}
    assert fit.calibrated is None
    assert fit.applied is fit.as_trained


def test_contours_are_ellipses(fit):
    inverse = np.linalg.inv(COVARIANCE)
    for cl in (CL68, CL95):
        x = fit.contours["a", "b"][cl] - [0.1, -0.2]
        rise = np.einsum("ij,jk,ik->i", x, inverse, x)
        np.testing.assert_allclose(rise, chi2.ppf(cl, 2), rtol=0.02)
    content = fit.to_dict()
    assert content["a"]["as_trained"] == fit.as_trained["a"].to_dict()
    assert len(content["contours"]["a,b"]["0.6827"]) == len(fit.contours["a", "b"][CL68])


def test_a_degenerate_pair_is_named_and_the_third_parameter_fitted():
    """Only a + b and c are known."""
    information = np.array([[100.0, 100.0, 0.0], [100.0, 100.0, 0.0], [0.0, 0.0, 25.0]])
    fit = joint_fit(gaussian(information, (0.1, 0.1, -0.1)))
    (flat,) = (d for d in fit.directions if d.flat)
    assert flat.combination == "a − b"
    assert fit.as_trained["a"].inner is None
    assert fit.as_trained["b"].outer is None
    assert fit.as_trained["c"].inner.low == pytest.approx(-0.3, abs=1e-3)
    assert fit.contours["a", "b"] == {}
    assert fit.correlation is None
    # With the others fixed, a is known.
    fixed = fit.others_fixed["a"].inner
    assert fixed.high - fixed.low == pytest.approx(0.2, abs=1e-3)
    (sentence,) = fit.to_dict()["not_constrained"]
    assert "the data do not constrain" in sentence


def test_only_a_likelihood_can_be_calibrated():
    with pytest.raises(CalibrationError, match="only a LikelihoodCost"):
        joint_fit(NormalConstraint(["a"], [0.0], [1.0]), object())


def test_profile_coverage_as_it_is_claims_one_degree_of_freedom():
    """Estimates with the spread that the surfaces claim: 68 % of profile intervals cover."""
    rng = np.random.default_rng(1)
    inverse, n = np.linalg.inv(COVARIANCE), 2000
    grid = ChebyshevBox(-np.ones(2), np.ones(2), 4)
    centres = rng.multivariate_normal([0, 0], COVARIANCE, n)
    x = grid.grid[None] - centres[:, None]
    values = -np.einsum("nij,jk,nik->ni", x, inverse, x) / 2
    toys = ToyEnsemble(ModelTag("m"), {"a": 0.0, "b": 0.0}, grid, values, 100, False, 10_000, "", 0)
    error = np.sqrt(CL68 * (1 - CL68) / n)
    for method in (Asymptotic("a"), Asymptotic("b"), Asymptotic()):
        assert abs(method.contains_truth(toys, CL68).mean() - CL68) < 4 * error
    # The set of one parameter is not the region of both.
    assert np.any(
        Asymptotic("a").contains_truth(toys, CL68) != Asymptotic("b").contains_truth(toys, CL68)
    )
