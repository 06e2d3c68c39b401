"""Critical values and quantile regression against known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2

from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.critical_values import (
    InterpolatedCurve,
    critical_value,
    quantile_regression,
    smooth_curve,
)

LEVELS = [0.6827, 0.9, 0.9545]


@pytest.mark.parametrize("cl", LEVELS)
@pytest.mark.parametrize("n", [200, 5000])
def test_the_error_is_the_spread_of_the_quantile(cl, n):
    rng = np.random.default_rng(1)
    found = [critical_value(rng.chisquare(1, n), cl) for _ in range(400)]
    pulls = np.array([(c.value - chi2.ppf(cl, 1)) / c.error for c in found])
    values, errors = np.array(found).T
    # The rank is rounded up: a bias of up to one rank, in units of sqrt(n cl (1 - cl)) ranks.
    rounding = 1 / np.sqrt(n * cl * (1 - cl))
    assert abs(pulls.mean()) < 4 / np.sqrt(400) + rounding
    assert abs(np.mean(errors) / values.std(ddof=1) - 1) < 4 / np.sqrt(2 * 400)


def test_enumerated_outcomes_are_exact_and_conservative():
    outcomes = np.arange(11)
    p = binom.pmf(outcomes, 10, 0.3)
    q = (outcomes - 3.0) ** 2
    for cl in (*LEVELS, 0.1):
        c = critical_value(q, cl, p)
        assert c.error == 0
        assert p[q <= c.value].sum() >= cl - 1e-12
        assert p[q < c.value].sum() < cl
    # A level that is reached exactly needs no more.
    assert critical_value([0.0, 1.0, 2.0], 0.75, [0.5, 0.25, 0.25]).value == 1.0


def test_the_smallest_value_that_suffices():
    q = np.arange(1.0, 101.0)
    assert critical_value(q, 0.9).value == 90
    assert critical_value(q, 0.901).value == 91


@pytest.mark.parametrize(
    ("q", "cl", "weights"),
    [
        (np.ones(10), 0.99, None),
        ([], 0.5, None),
        ([np.nan, 1.0], 0.5, None),
        (np.ones(99), 1.0, None),
        (np.ones(3), 0.5, [0, 0, 0]),
        (np.ones(3), 0.5, [-1, 2, 0]),
        (np.ones(3), 0.5, [1, 1]),
    ],
)
def test_what_has_no_quantile_is_refused(q, cl, weights):
    with pytest.raises(CalibrationError):
        critical_value(q, cl, weights)


def test_linear_interpolation_in_one_and_two_parameters():
    x = np.array([0.3, -1.0, 1.0])[:, None]
    curve = InterpolatedCurve(x, 2 + x[:, 0], np.array([0.1, 0.2, 0.3]))
    assert curve.limits == ((-1.0, 1.0),)
    np.testing.assert_allclose(curve([-0.5, 0.9]), [1.5, 2.9])
    np.testing.assert_allclose(curve.error([0.3, 0.65]), [0.1, 0.2])
    with pytest.raises(ParameterError, match="not defined"):
        curve(1.1)
    grid = np.stack(np.meshgrid([0.0, 1.0, 2.0], [0.0, 1.0]), -1).reshape(-1, 2)
    plane = InterpolatedCurve(grid, 1 + grid @ [1.0, 2.0], np.full(6, 0.1))
    np.testing.assert_allclose(plane([[0.5, 0.2], [1.9, 1.0]]), [1.9, 4.9])
    np.testing.assert_allclose(plane.error([[0.5, 0.2]]), 0.1)
    with pytest.raises(CalibrationError, match="twice"):
        InterpolatedCurve(np.zeros((2, 1)), np.ones(2), np.ones(2))


@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_smooth_curve_has_the_errors_of_a_fit(logarithmic):
    rng = np.random.default_rng(2)
    theta = np.linspace(-2, 2, 17)[:, None]
    true = np.exp(0.1 + 0.2 * theta[:, 0]) if logarithmic else 1 + 0.2 * theta[:, 0]
    pulls, chi2s = [], []
    for _ in range(300):
        values = true * (1 + 0.02 * rng.normal(size=17))
        curve = smooth_curve(("mu",), theta, values, 0.02 * values, 1, logarithmic=logarithmic)
        pulls.append((curve(theta[3])[0] - true[3]) / curve.error(theta[3])[0])
        chi2s.append(curve.polynomial.chi2)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(600)
    assert curve.polynomial.ndf == 15
    assert abs(np.mean(chi2s) - 15) < 4 * np.sqrt(30 / 300) + 0.1
    with pytest.raises(CalibrationError, match="toys at 20 true"):
        smooth_curve(("mu",), theta, true, 0.02 * true, 19)
    with pytest.raises(CalibrationError, match="above 0"):
        smooth_curve(("mu",), theta, true, 0 * true, 1)


@pytest.mark.parametrize("cl", [0.6827, 0.9545])
def test_quantile_regression_recovers_a_constant_within_its_error(cl):
    rng = np.random.default_rng(3)
    at = np.array([-0.9, 0.0, 0.6])
    fits = [
        quantile_regression(("mu",), rng.uniform(-1, 1, 1200), rng.chisquare(1, 1200), cl, 2)
        for _ in range(60)
    ]
    values = np.array([f(at) for f in fits])
    errors = np.array([f.error(at) for f in fits])
    pulls = (values - chi2.ppf(cl, 1)) / errors
    assert np.all(np.abs(pulls.mean(axis=0)) < 4.5 / np.sqrt(60))
    # The density behind the error is estimated, to 10 % or so.
    assert np.all(np.abs(errors.mean(axis=0) / values.std(axis=0, ddof=1) - 1) < 0.35)


def test_quantile_regression_follows_a_scale_in_one_and_two_parameters():
    rng = np.random.default_rng(4)
    n = 12_000
    theta = rng.uniform(-1, 1, (n, 2))
    scale = 1 + 0.5 * theta[:, 0] + 0.3 * theta[:, 0] * theta[:, 1]
    curve = quantile_regression(("a", "b"), theta, scale * rng.chisquare(2, n), 0.6827, 2)
    at = np.array([[0.0, 0.0], [0.8, 0.5], [-0.7, -0.7], [0.5, -0.9]])
    expected = chi2.ppf(0.6827, 2) * (1 + 0.5 * at[:, 0] + 0.3 * at[:, 0] * at[:, 1])
    assert np.all(np.abs(curve(at) - expected) < 4 * curve.error(at))
    assert np.all(curve.error(at) < 0.15)
    one = quantile_regression(
        ("a",), theta[:, 0], (2 + theta[:, 0]) * rng.chisquare(1, n), 0.9545, 1
    )
    at1 = np.array([-0.8, 0.0, 0.8])
    assert np.all(np.abs(one(at1) - chi2.ppf(0.9545, 1) * (2 + at1)) < 4 * one.error(at1))


def test_quantile_regression_refuses_what_it_cannot_do():
    with pytest.raises(CalibrationError, match="too few"):
        quantile_regression(("mu",), np.linspace(0, 1, 50), np.ones(50), 0.99, 3)
    with pytest.raises(CalibrationError, match="do not match"):
        quantile_regression(("mu",), np.ones(50), np.ones(49), 0.68, 1)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        quantile_regression(("mu",), np.ones(50), np.ones(50), 68, 1)
