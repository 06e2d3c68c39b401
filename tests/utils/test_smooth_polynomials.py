"""Polynomials through noisy points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import CalibrationError
from milinfer.utils.smooth_polynomials import SmoothPolynomial, fit_smooth

X = np.linspace(-0.5, 0.5, 9)[:, None]


def fit(values, error=0.01, **options):
    covariance = np.eye(len(values)) * error**2
    return fit_smooth(("c",), X[: len(values)], values, covariance, **{"beyond": "flat"} | options)


def test_the_lowest_degree_that_describes_the_points_is_taken():
    rng = np.random.default_rng(1)
    x = X[:, 0]
    shapes = {0: 0 * x + 1, 1: 1 + x, 2: 1 + x - 2 * x**2, 3: x**3 * 5}
    for degree, shape in shapes.items():
        chosen = [fit(shape + 0.01 * rng.normal(size=9)).basis.degree for _ in range(200)]
        # One in twenty has a p-value below 5 % by chance.
        assert np.mean(np.array(chosen) == degree) > 0.85, degree


def test_pulls_have_unit_width_with_correlated_errors():
    rng = np.random.default_rng(2)
    common = 0.05
    covariance = np.eye(9) * 0.02**2 + common**2
    pulls = []
    for _ in range(400):
        noise = 0.02 * rng.normal(size=9) + common * rng.normal()
        p = fit_smooth(("c",), X, 2 * X[:, 0] + noise, covariance, beyond="tangent", degree=1)
        pulls.append((p([0.2])[0] - 0.4) / p.error([0.2])[0])
    assert abs(np.mean(pulls)) < 4 / 20
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(800))


@given(st.floats(-2, 2), st.sampled_from(["flat", "tangent"]))
def test_the_gradient_is_the_derivative_everywhere(theta, beyond):
    if abs(abs(theta) - 0.5) < 1e-3:
        return
    p = fit(np.exp(X[:, 0]), beyond=beyond, degree=3)
    h = 1e-5
    numeric = (p([theta + h])[0] - p([theta - h])[0]) / (2 * h)
    assert p.gradient([theta])[0, 0] == pytest.approx(numeric, abs=1e-6)
    if beyond == "flat" and theta > 0.5:
        assert p([theta])[0] == p([0.5])[0]


def test_it_survives_json():
    p = fit(np.sin(X[:, 0]), degree=3)
    back = SmoothPolynomial.from_dict(p.to_dict())
    theta = np.linspace(-1, 1, 7)
    np.testing.assert_array_equal(back(theta), p(theta))
    np.testing.assert_array_equal(back.error(theta), p.error(theta))


def test_too_few_points_are_named():
    with pytest.raises(CalibrationError, match="needs toys at 3 true values"):
        fit(np.array([0.0, 1.0]), degree=2)
    assert fit(np.array([0.0, 1.0])).basis.degree == 1


def test_errors_of_very_different_size_are_no_obstacle():
    """Regression: estimates that are constant at one truth made the fit a singular matrix."""
    x = np.array([[-1.0], [0.0], [1.0]])
    errors = np.array([1e-12, 0.3, 0.4])
    line = fit_smooth(("c",), x, np.array([0.5, 0.2, -0.3]), np.diag(errors**2), beyond="tangent")
    assert line([-1.0])[0] == pytest.approx(0.5, abs=1e-9)
    assert np.isfinite(line.covariance).all()
