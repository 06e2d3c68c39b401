"""Calibration, information, coverage and intervals against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint

from milinfer.calibration import calibrate
from milinfer.calibration_files import load_calibration, save_calibration
from milinfer.compare import compare
from milinfer.cost import LikelihoodCost
from milinfer.exceptions import CalibrationError, FitError
from milinfer.information import MeanResponse, mean_response
from milinfer.intervals import coverage, profile_interval, toy_intervals
from milinfer.llr import dataset_surface
from milinfer.surface import Interpolation
from milinfer.toys import Toys
from models import GaussianMean, gaussian_samples

N_EVENTS, N_TOYS = 100, 2000
TRUTHS = [-0.3, 0.0, 0.3]
CALIBRATION_POOL = gaussian_samples(TRUTHS, 300_000, 1)
EVALUATION_POOL = gaussian_samples([0.1], 300_000, 2)


def throw(model):
    calibration = Toys(CALIBRATION_POOL, N_EVENTS, seed=5)
    return [calibration.run([model], t, N_TOYS)["gaussian"] for t in TRUTHS]


def evaluate(model, seed=6):
    return Toys(EVALUATION_POOL, N_EVENTS, seed=seed).run([model], 0.1, N_TOYS)["gaussian"]


@pytest.mark.parametrize("kind", ["coverage", "bartlett"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_known_factor_is_recovered(kind, scale):
    calibration = calibrate(throw(GaussianMean(scale)), kind=kind)
    assert abs(calibration.scale - 1 / scale) < 3.5 * calibration.scale_error
    # A sensible error: a variance from 3 × 2000 toys, or a quantile of them.
    assert calibration.scale_error * scale < 0.05


def test_a_known_bias_is_recovered():
    calibration = calibrate(throw(GaussianMean(1.0, shift=0.1)))
    for t in TRUTHS:
        bias, error = calibration.bias(t)
        assert abs(bias - 0.1) < 4 * error
    np.testing.assert_allclose(
        calibration.correct(np.array([calibration.forward(0.17)])), 0.17, atol=1e-6
    )


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.4, 0.05), (2.5, -0.1)])
def test_calibrated_intervals_cover_on_other_events(scale, shift):
    model = GaussianMean(scale, shift)
    calibration = calibrate(throw(model))
    toys = evaluate(model)
    for cl in (0.6827, 0.9545):
        measured = coverage(toys, calibration, cl)
        expected_error = np.sqrt(cl * (1 - cl) / N_TOYS)
        # Binomial error, and that of the constant: dP/dln c = √q φ(√q).
        z = {0.6827: 1.0, 0.9545: 2.0}[cl]
        slope = z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        error = np.hypot(expected_error, slope * calibration.scale_error / calibration.scale)
        assert abs(measured.coverage - cl) < 3 * error
        assert measured.low < measured.coverage < measured.high


def test_uncalibrated_surfaces_miscover_by_the_known_amount():
    toys = evaluate(GaussianMean(0.25))
    # A quarter of the curvature doubles the interval: 95.45 % instead of 68.27 %.
    measured = coverage(toys)
    assert abs(measured.coverage - 0.9545) < 4 * np.sqrt(0.9545 * 0.0455 / N_TOYS)


def test_coverage_on_tuning_events_is_refused():
    toys = throw(GaussianMean())
    with pytest.raises(CalibrationError, match="tuned the calibration"):
        coverage(toys[0], calibrate(toys))
    with pytest.raises(CalibrationError, match="same events"):
        compare({"gaussian": toys}, {"gaussian": toys[1]})


def test_the_calibrated_cost_has_the_corrected_estimate_and_width():
    model = GaussianMean(0.5, shift=0.1)
    calibration = calibrate(throw(model))
    data = EVALUATION_POOL.at(mu=0.1).take(slice(0, N_EVENTS))
    cost = LikelihoodCost(dataset_surface(model, data), "mu", n_events=N_EVENTS)
    interval = profile_interval(calibration(cost), "mu")
    mean = data.column("x").astype(float).mean()
    tolerance = 4 * max(calibration.bias(t)[1] for t in TRUTHS)
    assert abs(interval.estimate - mean) < tolerance
    assert interval.width / 2 == pytest.approx(0.1, rel=0.1)
    with pytest.raises(CalibrationError, match="already"):
        calibration(calibration(cost))
    with pytest.raises(CalibrationError, match="n_events=500"):
        calibration(LikelihoodCost(cost.surface, "mu", n_events=500))
    with pytest.raises(CalibrationError, match="c_HW"):
        calibration(LikelihoodCost(cost.surface, "c_HW", n_events=N_EVENTS))


def test_toys_at_the_edge_of_the_range_are_refused():
    narrow = GaussianMean(interpolation=Interpolation(np.linspace(-0.1, 0.1, 5), "polynomial", 2))
    with pytest.raises(CalibrationError, match="edge"):
        calibrate(throw(narrow))


def test_a_calibration_survives_its_file(tmp_path):
    calibration = calibrate(throw(GaussianMean(0.5, 0.1)))
    save_calibration(calibration, tmp_path / "c.json")
    back = load_calibration(tmp_path / "c.json")
    theta_hat = np.linspace(-0.5, 0.5, 11)
    np.testing.assert_array_equal(back.scales(theta_hat), calibration.scales(theta_hat))
    assert back.bias(0.2) == calibration.bias(0.2)
    assert back.pool_ids == calibration.pool_ids
    (tmp_path / "x.json").write_text('{"milinfer_calibration": 1}')
    with pytest.raises(CalibrationError, match="calibrate again"):
        load_calibration(tmp_path / "x.json")


def test_profile_interval_is_the_exact_one():
    for cl, z in ((0.6827, 1.0), (0.9545, 2.0)):
        interval = profile_interval(NormalConstraint("mu", 0.3, 0.2), "mu", cl)
        assert interval.low == pytest.approx(0.3 - 0.2 * z, abs=2e-4)
        assert interval.high == pytest.approx(0.3 + 0.2 * z, abs=2e-4)


def test_an_interval_beyond_the_limits_is_an_error():
    grid = np.linspace(-1, 1, 9)
    surface = Interpolation(grid, "polynomial", 2).surface(-0.1 * (grid - 0.2) ** 2)
    with pytest.raises(FitError, match="MINOS"):
        profile_interval(LikelihoodCost(surface, "mu", n_events=1), "mu")


def test_toy_intervals_are_those_of_minos():
    model = GaussianMean(0.7, shift=0.05)
    calibration, toys = calibrate(throw(model)), evaluate(model)
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


def test_the_response_needs_toys_that_belong_together():
    other = Toys(EVALUATION_POOL, 50, seed=1).run([GaussianMean()], 0.1, 100)["gaussian"]
    with pytest.raises(CalibrationError, match="one dataset size"):
        mean_response([*throw(GaussianMean()), other])
    with pytest.raises(CalibrationError, match="4 true values"):
        mean_response(throw(GaussianMean()), degree=3)
    with pytest.raises(CalibrationError, match="no toys"):
        calibrate([])


def test_a_single_truth_corrects_the_shift_alone():
    calibration = calibrate(throw(GaussianMean(shift=0.1))[1:2])
    assert calibration.derivative(0.3) == 1.0
    assert abs(calibration.bias(0.0)[0] - 0.1) < 4 * calibration.bias(0.0)[1]


def test_comparison_has_the_keys_of_the_contract():
    model = GaussianMean()
    toys, evaluation = throw(model), evaluate(model)
    data = EVALUATION_POOL.at(mu=0.1).take(slice(0, N_EVENTS))
    cost = LikelihoodCost(dataset_surface(model, data), "mu", n_events=N_EVENTS)
    comparison = compare({"gaussian": toys}, {"gaussian": evaluation}, {"gaussian": cost})
    figures = comparison.to_dict()["gaussian"]
    keys = "estimate interval68 interval95 c_cicc c_cicc_error bias info_mle response info_eff "
    keys += "info_eff_error info_curv bartlett_ratio coverage68 coverage68_error n_toys"
    assert set(keys.split()) <= set(figures)
    assert figures["interval95"][0] < figures["interval68"][0] < figures["estimate"]
    assert len(comparison.rows()[0]) == len(comparison.header)
    assert comparison.to_rich().row_count == 1
    with pytest.raises(KeyError, match="gaussian"):
        comparison["pyhf"]


def test_the_response_does_not_turn_around_beyond_the_toys():
    """Regression: a parabola through three noisy means cut the range of the parameter."""
    response = MeanResponse(np.array([0.0, 0.5, -0.7]), np.eye(3) * 1e-4, (-0.3, 0.3))
    theta = np.linspace(-1, 1, 401)
    assert np.all(np.diff(response.means(theta)) > 0)
    assert response.mean(0.3) == pytest.approx(0.5 * 0.3 - 0.7 * 0.09)
    assert response.mean(0.5) == pytest.approx(response.mean(0.3) + 0.2 * (0.5 - 1.4 * 0.3))
    assert response.slope(0.9) == response.slope(0.3)
    assert response.mean_error(0.9) > response.mean_error(0.3)
