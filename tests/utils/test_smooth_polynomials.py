"""Polynomials through noisy points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import CalibrationError
from milinfer.utils.smooth_polynomials import SPARE_DEGREES, SmoothPolynomial, fit_smooth

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


@pytest.mark.parametrize(
    ("lowest", "curve"),
    [
        (0, lambda u: 0 * u),
        (0, lambda u: u),
        (0, lambda u: 2 * u**2),
        (1, lambda u: u),
        (1, lambda u: 2 * u**2),
        (1, lambda u: 2 * u**3),
    ],
    ids=["constant", "line", "parabola", "line from 1", "parabola from 1", "cubic from 1"],
)
def test_errors_contain_terms_that_the_points_cannot_show(lowest, curve):
    """Regression: terms of one to three errors were left out, and 14 % were within one error."""
    rng = np.random.default_rng(4)
    x = np.linspace(-0.3, 0.3, 7)
    at = np.array([-0.3, -0.15, 0.0, 0.15, 0.3])
    n = 600
    within = np.zeros(len(at))
    for values in curve(x / 0.3) + rng.normal(size=(n, len(x))):
        fitted = fit_smooth(
            ("c",),
            x[:, None],
            values,
            np.eye(len(x)),
            beyond="flat",
            lowest=lowest,
            spare=SPARE_DEGREES,
        )
        within += np.abs(fitted(at) - curve(at / 0.3)) < fitted.error(at)
    # Binomial errors are 1.9 %.
    assert np.all(within / n > 0.6)
    assert np.all(within / n < 0.6827 + 4 * 0.019)


def test_spare_degrees_leave_a_degree_of_freedom():
    """A parabola through three noisy values would only follow their noise."""
    x = np.linspace(-1, 1, 3)[:, None]
    line = fit_smooth(("c",), x, x[:, 0], np.eye(3), beyond="tangent", lowest=1, spare=2)
    assert (line.basis.degree, line.ndf) == (1, 1)
    given = fit_smooth(("c",), x, x[:, 0], np.eye(3), beyond="tangent", degree=2, spare=2)
    assert given.basis.degree == 2
