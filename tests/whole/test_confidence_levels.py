"""Every function that takes a confidence level refuses a percentage, and says what it is."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, MilinferError, ParameterError
from milinfer.intervals.conditional_coverage import conditional_coverage, coverage_function
from milinfer.intervals.counting import belt_from_outcomes
from milinfer.intervals.critical_values import critical_value
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.posterior import Posterior
from milinfer.plotting.coverage import plot_belt
from milinfer.plotting.likelihood import plot_contour, plot_posterior
from milinfer.utils.confidence_levels import levels_of, require_level

TRUTHS = [-0.2, 0.0, 0.2]


@pytest.fixture(scope="module")
def toys():
    samples = gaussian.samples(20_000, TRUTHS, seed=1)
    return mil.Toys(samples, n_events=100, seed=2).scan([gaussian.MeanModel()], TRUTHS, 300)["mean"]


@pytest.fixture(scope="module")
def belt(toys):
    return mil.neyman(toys)


@pytest.fixture(scope="module")
def calibration(toys):
    return mil.calibrate(toys)


@pytest.fixture(scope="module")
def others():
    samples = gaussian.samples(20_000, TRUTHS, seed=3)
    return mil.Toys(samples, n_events=100, seed=4).scan([gaussian.MeanModel()], TRUTHS, 300)["mean"]


CALLS = {
    "profile_interval": lambda cl, **_: mil.profile_interval(
        NormalConstraint("mu", 0.0, 1.0), "mu", cl
    ),
    "upper_limit": lambda cl, **_: mil.intervals.upper_limit(
        None, NormalConstraint("mu", 0.0, 1.0), "mu", cl
    ),
    "upper_limit_of_toys": lambda cl, toys, **_: mil.intervals.upper_limit_of_toys(
        toys, None, cl, null=-0.2
    ),
    "expected_interval": lambda cl, toys, **_: mil.intervals.expected_interval(
        toys[1], NormalConstraint("mu", 0.0, 0.1), cl=cl
    ),
    "calibrate": lambda cl, toys, **_: mil.calibrate(toys, cl=cl),
    "neyman": lambda cl, toys, **_: mil.neyman(toys, cl=cl),
    "neyman with two levels": lambda cl, toys, **_: mil.neyman(toys, cl=(0.6827, cl)),
    "regression_belt": lambda cl, toys, **_: mil.regression_belt(toys, cl=cl),
    "feldman_cousins": lambda cl, **_: mil.feldman_cousins(3, 1.0, cl),
    "coverage": lambda cl, others, **_: mil.coverage(others[0], None, cl),
    "coverage_scan": lambda cl, others, **_: mil.coverage_scan(others, {"raw": None}, [cl]),
    "conditional_coverage": lambda cl, others, **_: conditional_coverage(others, None, cl),
    "coverage_function": lambda cl, others, **_: coverage_function(others, None, cl),
    "toy_intervals": lambda cl, others, **_: toy_intervals(others[0], None, cl),
    "critical_value": lambda cl, **_: critical_value(np.arange(100.0), cl),
    "belt_from_outcomes": lambda cl, **_: belt_from_outcomes(
        np.zeros(1), np.zeros((1, 1)), np.zeros(1), np.ones((1, 1)), cl
    ),
    "Belt.critical": lambda cl, belt, **_: belt.critical(cl),
    "Belt.contains_truth": lambda cl, belt, others, **_: belt.contains_truth(others[0], cl),
    "Calibration.scale_at": lambda cl, calibration, **_: calibration.scale_at(0.0, cl),
    "Calibration.contains_truth": lambda cl, calibration, others, **_: calibration.contains_truth(
        others[0], cl
    ),
    "Posterior.interval": lambda cl, **_: flat_posterior().interval(cl),
    "plot_belt": lambda cl, belt, **_: plot_belt(belt, cl),
    "plot_contour": lambda cl, **_: plot_contour({}, "a", "b", (cl,)),
    "plot_posterior": lambda cl, **_: plot_posterior({"flat": flat_posterior()}, "mu", cl),
}


def flat_posterior():
    theta = np.linspace(-1, 1, 101)
    return Posterior.from_log_ratios(theta, -50 * theta**2)


@pytest.mark.parametrize("name", CALLS)
def test_a_percentage_is_no_confidence_level(name, toys, others, belt, calibration):
    given = {"toys": toys, "others": others, "belt": belt, "calibration": calibration}
    with pytest.raises(MilinferError, match=r" = 68 is not .* 0 and 1: 68 % is \w+=0\.68"):
        CALLS[name](68, **given)
    with pytest.raises(MilinferError, match=r" = 1 is not .* between 0 and 1$"):
        CALLS[name](1.0, **given)


@pytest.mark.parametrize("cl", [0, 1, -0.5, 100, np.nan, "0.68", None, [0.68]])
def test_what_is_no_level(cl):
    with pytest.raises(ParameterError, match=r"is not a confidence level; .* 0 and 1$"):
        require_level(cl, ParameterError)


def test_levels():
    assert levels_of(0.9) == levels_of([0.9]) == (0.9,)
    assert levels_of(np.float32(0.5)) == (0.5,)
    with pytest.raises(CalibrationError, match="cl is empty"):
        levels_of(())
