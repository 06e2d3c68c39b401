"""Intervals of many toys."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import coverage
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import profile_interval
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
