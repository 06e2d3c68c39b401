"""Intervals of many toys."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.exceptions import ParameterError
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import coverage
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

N_EVENTS, N_TOYS = 100, 1000
TRUTHS = [-0.3, 0.0, 0.3]


def test_toy_intervals_are_those_of_minos():
    model = GaussianMean(0.7, shift=0.05)
    thrower = Toys(gaussian_samples(TRUTHS, 200_000, 1), N_EVENTS, seed=5)
    calibration = calibrate([thrower.run([model], t, N_TOYS)["gaussian"] for t in TRUTHS])
    other = Toys(gaussian_samples([0.1], 200_000, 2), N_EVENTS, seed=6)
    toys = other.run([model], 0.1, N_TOYS)["gaussian"]
    many = toy_intervals(toys, calibration)
    assert many.covers.mean() == coverage(toys, calibration).coverage
    inside = (many.low <= 0.1) & (many.high >= 0.1)
    assert np.mean(inside == many.covers) > 0.999
    for k in range(5):
        surface = toys.interpolation.surface(toys.values[k])
        cost = LikelihoodCost(surface, "mu", n_events=N_EVENTS)
        one = profile_interval(calibration(cost), "mu")
        assert one.low == pytest.approx(many.low[k], abs=1e-3)
        assert one.high == pytest.approx(many.high[k], abs=1e-3)
        assert one.estimate == pytest.approx(many.estimate[k], abs=1e-4)


def test_intervals_of_one_of_several_parameters_profile_the_others():
    """Of a Gaussian Λ with a correlation of 0.6; the last interval leaves the range."""
    covariance = np.array([[0.04, 0.012], [0.012, 0.01]])
    box = ChebyshevBox(-np.ones(2), np.ones(2), 3)
    best = np.array([[0.1, -0.2], [-0.25, 0.0], [0.9, 0.1]])
    d = box.grid - best[:, None, :]
    values = -np.einsum("tij,jk,tik->ti", d, np.linalg.inv(covariance), d) / 2
    toys = ToyEnsemble(ModelTag("m"), {"a": 0.0, "b": 0.0}, box, values, 100, False, 1000, "", 0)
    found = toy_intervals(toys, parameter="a")
    np.testing.assert_allclose(found.estimate, best[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.low, best[:, 0] - 0.2, atol=1e-3)
    np.testing.assert_allclose(found.high, [0.3, -0.05, 1.0], atol=1e-3)
    np.testing.assert_array_equal(found.covers, [True, False, False])
    assert found.truth == 0.0
    first = toy_intervals(toys.first(2), parameter="b")
    np.testing.assert_allclose(first.low, best[:2, 1] - 0.1, atol=1e-3)
    with pytest.raises(ParameterError, match="'c' is not one of the parameters a, b"):
        toy_intervals(toys, parameter="c")
    with pytest.raises(ParameterError):
        toy_intervals(toys)
