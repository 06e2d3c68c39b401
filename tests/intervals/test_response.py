"""The mean estimate as a function of the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import CalibrationError
from milinfer.intervals.information import information_matrix
from milinfer.intervals.response import (
    Response,
    mean_response,
    pool_covariance,
    spread_covariance,
)
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from milinfer.utils.smooth_polynomials import fit_smooth
from models import GaussianMean, gaussian_samples

TRUTHS = [-0.3, 0.0, 0.3]
# σ(c1)/σ(0) of the quadratic problem, exact.
TOTAL = np.array(
    [
        1.0,
        *np.linalg.solve(
            [[-1.0, 1.0], [1.0, 1.0]],
            [quadratic.normalisation(np.array([c])) - 1 for c in (-1.0, 1.0)],
        ),
    ]
)
POOL = gaussian_samples(TRUTHS, 100_000, 1)


def throw(model, n_events=100):
    toys = Toys(POOL, n_events, seed=5)
    return [toys.run([model], t, 1000)["gaussian"] for t in TRUTHS]


def test_the_response_needs_toys_that_belong_together():
    other = throw(GaussianMean(), 50)[0]
    with pytest.raises(CalibrationError, match="one dataset size"):
        mean_response([*throw(GaussianMean()), other])
    with pytest.raises(CalibrationError, match="4 true values"):
        mean_response(throw(GaussianMean()), degree=3)
    with pytest.raises(CalibrationError, match="the list of toys is empty"):
        mean_response([])


def test_the_response_does_not_turn_around_beyond_the_toys():
    """Regression: a parabola through three noisy means cut the range of the parameter."""
    x = np.array([-0.3, 0.0, 0.3])
    shift = -0.5 * x - 0.7 * x**2
    smooth = fit_smooth(("c",), x[:, None], shift, np.eye(3) * 1e-8, beyond="tangent", degree=2)
    response = Response((smooth,))
    theta = np.linspace(-1, 1, 401)
    assert np.all(np.diff(response.mean(theta)) > 0)
    inner = response.mean([0.3])[0]
    assert inner == pytest.approx(0.5 * 0.3 - 0.7 * 0.09)
    assert response.mean([0.5])[0] == pytest.approx(inner + 0.2 * (0.5 - 1.4 * 0.3))
    assert response.slope(0.9) == pytest.approx(response.slope(0.3))
    assert response.bias_error([0.9])[0] > response.bias_error([0.3])[0]


def test_the_inverse_undoes_the_mean():
    x = np.linspace(-0.5, 0.5, 5)
    grid = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    a, b = grid.T
    shifts = tuple(
        fit_smooth(("a", "b"), grid, s, np.eye(25) * 1e-8, beyond="tangent", degree=2)
        for s in (0.1 - 0.2 * a + 0.1 * a * b, 0.05 * a**2 - 0.1 * b)
    )
    response = Response(shifts)
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (50, 2))
    back = response.invert(response.mean(points), [(-1, 1), (-1, 1)])
    np.testing.assert_allclose(back, points, atol=1e-9)
    step = 1e-6
    numeric = np.stack(
        [
            (response.mean(points + h) - response.mean(points - h)) / (2 * step)
            for h in step * np.eye(2)
        ],
        axis=2,
    )
    np.testing.assert_allclose(response.jacobian(points), numeric, atol=1e-7)


def test_errors_contain_the_finite_pool():
    """Many small pools: the spread of the fitted bias is the error that is quoted."""
    biases, errors = [], []
    for seed in range(60):
        toys = Toys(gaussian_samples([0.0], 1000, 100 + seed), 100, seed=seed)
        response = mean_response([toys.run([GaussianMean()], 0.0, 400)["gaussian"]])
        biases.append(response.bias([0.0])[0])
        errors.append(response.bias_error([0.0])[0])
    # A spread from 60 has an error of 9 %.
    assert np.std(biases) == pytest.approx(np.mean(errors), rel=0.3)
    assert np.mean(errors) > 2 * 0.1 / np.sqrt(400)


def reweighted(seed, n_pool=3000):
    """Toys at five truths from one pool, by the exact ratio."""
    samples = quadratic.samples(n_pool // 3, [{"c1": c} for c in (-0.5, 0.0, 0.5)], seed=seed)
    oracle = Oracle("c1", Interpolation(np.linspace(-1, 1, 21), "spline"), TOTAL)
    toys = Toys(EventPool(samples, 2), 300, seed=seed)
    return toys.scan([oracle], [-0.3, -0.15, 0.0, 0.15, 0.3], 250)["oracle"]


def test_the_error_of_the_slope_is_the_spread_between_shared_pools():
    """Regression: truths of one pool were taken as moving together entirely, or not at all."""
    slopes, errors, matrix, matrix_errors = [], [], [], []
    for seed in range(40):
        toys = reweighted(1000 + seed)
        slope, error = mean_response(toys, degree=1).slope(0.0)
        slopes.append(slope)
        errors.append(error)
        if seed < 8:
            measured = information_matrix(toys, n_bootstrap=100)
            matrix_errors.append(measured.response_error[0, 0])
        else:
            measured = information_matrix(toys, n_bootstrap=2)
        matrix.append(measured.response[0, 0])
    # A spread of forty is known to 11 %.
    assert np.std(slopes, ddof=1) == pytest.approx(np.mean(errors), rel=0.4)
    assert np.std(matrix, ddof=1) == pytest.approx(np.mean(matrix_errors), rel=0.45)


def test_the_error_of_the_level_is_the_spread_between_pools_without_influences():
    """Regression: the truths of one pool were taken as independent; the error was a third."""
    levels, errors, slopes, slope_errors = [], [], [], []
    for seed in range(40):
        toys = [
            replace(e, pool_influence=None, pool_variance_error=float("nan"))
            for e in reweighted(2000 + seed)
        ]
        response = mean_response(toys, degree=1)
        levels.append(response.bias([0.0])[0])
        errors.append(response.bias_error([0.0])[0])
        slopes.append(response.slope(0.0)[0])
        slope_errors.append(response.slope(0.0)[1])
    # A spread of forty is known to 11 %.  Which events count at each truth is not known.
    assert np.std(levels, ddof=1) == pytest.approx(np.mean(errors), rel=0.4)
    assert np.std(slopes, ddof=1) < 1.4 * np.mean(slope_errors)


def test_pools_in_common_and_of_each_truth_without_influences():
    (one, *_) = throw(GaussianMean())
    unknown = replace(
        one,
        pool_influence=None,
        pool_variance_error=float("nan"),
        values=one.values[:100],
        counts=one.counts[:100],
        pieces=(),
        n_effective=10_000.0,
    )
    shared = [replace(unknown, point={"mu": t}) for t in TRUTHS]
    apart = [replace(e, pool_id=f"pool-{k}") for k, e in enumerate(shared)]
    variance = float(np.var(unknown.theta_hat, ddof=1)) * 100 / 10_000
    np.testing.assert_allclose(pool_covariance(apart, 0), variance * np.eye(3), atol=1e-15)
    np.testing.assert_allclose(pool_covariance(shared, 0), variance * (np.ones(3) + np.eye(3)))
    # Regression: an unknown error of Var(θ̂) counted as none.
    np.testing.assert_allclose(spread_covariance(apart), 2 / 10_000 * np.eye(3), atol=1e-15)
    np.testing.assert_allclose(spread_covariance(shared), 2e-4 * (np.ones(3) + np.eye(3)))
    disjoint = [replace(e, n_effective=np.inf) for e in shared]
    assert not spread_covariance(disjoint).any()
