"""Intervals that contain the error of their calibration cover, averaged over pools."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.intervals.calibration import Calibration, calibrated_toys
from milinfer.intervals.calibration_fit import calibrate
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.fits import profile_interval
from milinfer.toys.toys import Toys

N_EVENTS = 100
WRONG = gaussian.MeanModel(scale=0.6, response=0.85, shift=0.03)


def small_pool(seed, truths=(0.0,), factor=5, n_toys=1000, **options):
    """Calibration with a pool of five times the events of a dataset, at each truth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MilinferWarning)
        toys = [
            Toys(gaussian.samples(factor * N_EVENTS, [t], seed=100 * seed + k), N_EVENTS, seed=seed)
            .run([WRONG], t, n_toys)["mean"]
            for k, t in enumerate(truths)
        ]  # fmt: skip
        return calibrate(toys, n_bootstrap=50, **options)


@pytest.fixture(scope="module")
def evaluation():
    events = gaussian.samples(500_000, [0.0], seed=99)
    return Toys(events, N_EVENTS, seed=3).run([WRONG], 0.0, 8000)["mean"]


def data_cost(seed=5):
    return dataset_cost(WRONG, gaussian.generate(N_EVENTS, 0.0, seed=seed), reference=0.0)


def test_coverage_over_small_pools_is_nominal(evaluation):
    """Regression: with pools of 5 N events, intervals of 68.3 % covered 64 % on average."""
    calibrations = [small_pool(seed) for seed in range(1, 101)]
    for cl in (0.6827, 0.9545):
        plain, wide = (
            np.mean([c.contains_truth(evaluation, cl).mean() for c in chosen])
            for chosen in (calibrations, [c.widened() for c in calibrations])
        )
        assert plain < cl - 0.015
        assert abs(wide - cl) < 0.02


def test_what_residuals_put_into_the_constants_counts_once(evaluation):
    """Independent pools at three truths scatter about m(θ), which makes c(θ) smaller already."""
    calibrations = [small_pool(seed, (-0.2, 0.0, 0.2), bias_degree=1) for seed in range(1, 41)]
    assert np.mean([np.mean(c.residuals**2) for c in calibrations]) > 0
    assert (
        abs(
            np.mean([c.widened().contains_truth(evaluation, 0.6827).mean() for c in calibrations])
            - 0.6827
        )
        < 0.03
    )
    # Without the residuals it would be counted twice.
    twice = replace(calibrations[0], residuals=None).widened()
    once = calibrations[0].widened()
    assert np.all(
        twice.statistic(evaluation, 0.0, 0.6827) <= once.statistic(evaluation, 0.0, 0.6827)
    )


def test_the_interval_is_the_sum_in_quadrature():
    calibration = small_pool(1, correct="bias")
    cost = data_cost()
    narrow, wide = (profile_interval(calibration(cost, widen=w), "mu") for w in (False, True))
    assert wide.estimate == pytest.approx(narrow.estimate, abs=1e-5)
    expected = np.hypot(narrow.width / 2, calibration.estimate_error(0.0))
    assert wide.width / 2 == pytest.approx(expected, rel=1e-3)


def test_the_default_is_not_widened():
    calibration, cost = small_pool(1), data_cost()
    assert not calibration.widen
    at = np.linspace(-0.2, 0.2, 5)
    plain, explicit, wide, by_method = (
        np.array([c(t) for t in at])
        for c in (
            calibration(cost),
            calibration.widened()(cost, widen=False),
            calibration(cost, widen=True),
            calibration.widened()(cost),
        )
    )
    np.testing.assert_array_equal(plain, explicit)
    np.testing.assert_array_equal(wide, by_method)
    assert np.all(wide <= plain)


@pytest.mark.parametrize("correct", ["both", "scale", "bias"])
@pytest.mark.parametrize("truths", [(0.0,), (-0.3, -0.1, 0.1, 0.3)])
def test_toys_and_costs_agree(evaluation, correct, truths):
    calibration = small_pool(2, truths, correct=correct).widened()
    for values in evaluation.values[:5]:
        one = replace(evaluation, values=values[None], counts=None, pieces=(), pool_influence=None)
        own = LikelihoodCost(
            evaluation.interpolation.surface(values), "mu", n_events=N_EVENTS, tag=evaluation.tag
        )
        cost = calibration(own, 0.6827)
        for theta in (-0.05, 0.0, 0.11):
            expected = calibration.statistic(one, theta, 0.6827)[0]
            assert cost(theta) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_the_gradient_is_that_of_the_cost():
    calibration = small_pool(3, (-0.3, -0.1, 0.1, 0.3), scale_degree=2, bias_degree=2)
    cost = calibration(data_cost(), widen=True)
    for theta in (-0.2, -0.03, 0.02, 0.25):
        step = 1e-6
        numeric = (cost(theta + step) - cost(theta - step)) / (2 * step)
        assert cost.grad(theta)[0] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_it_survives_its_file(tmp_path):
    calibration = small_pool(4, (-0.2, 0.0, 0.2), bias_degree=1).widened()
    calibration.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again.widen
    np.testing.assert_array_equal(again.residuals, calibration.residuals)
    assert "widened" in repr(again)


def test_a_file_without_residuals_is_read(tmp_path):
    """Those of earlier versions have none."""
    calibration = replace(small_pool(4), residuals=None)
    calibration.save(tmp_path / "calibration.json")
    assert "residuals" not in (tmp_path / "calibration.json").read_text()
    assert Calibration.load(tmp_path / "calibration.json").residuals is None


def test_a_belt_needs_no_widened_calibration(evaluation):
    with pytest.raises(CalibrationError, match=r"without widened\(\)"):
        calibrated_toys(small_pool(1).widened(), evaluation)
