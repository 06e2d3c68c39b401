"""Intervals with the error from finite simulation cover, averaged over simulations."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import CalibrationError, ModelError, ParameterError
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.simulation_widening import add_simulation_error
from milinfer.learning.bootstrap import bootstrap_groups
from milinfer.learning.finite_simulation import SimulationError, member_variances
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.toys import Toys

GRID = Interpolation(np.linspace(-1, 1, 9), "polynomial", 4)
GROUPS = bootstrap_groups(16)


def error_of(shifts, curvature=100.0):
    return SimulationError(
        parameters=("mu",),
        interpolation=GRID,
        values=-curvature / 2 * (GRID.grid - shifts[:, None]) ** 2,
        estimate=np.array([shifts.mean()]),
        estimates=shifts[:, None],
        groups=GROUPS,
    )


def cost_of(estimate, curvature=100.0, **options):
    values = -curvature / 2 * (GRID.grid - estimate) ** 2
    return LikelihoodCost(GRID.surface(values), "mu", n_events=100, **options)


def test_coverage_over_simulations_is_nominal():
    """Errors of 0.1 by the data and 0.06 by the simulation: 60 % become 68 %."""
    rng, n = np.random.default_rng(1), 20_000
    common = rng.normal(0, 0.1, n) + rng.normal(0, 0.06, n)
    members = common + rng.normal(0, 0.06, (GROUPS.max() + 1, n))[GROUPS]
    estimate, variance = members.mean(axis=0), member_variances(members, GROUPS).of_mean
    assert abs(np.mean(estimate**2 <= 0.01) - 0.604) < 0.015
    covers = estimate**2 <= 0.01 + variance
    assert abs(np.mean(covers) - 0.6827) < 0.015
    # The cost says the same of each dataset.
    for k in range(100):
        cost = add_simulation_error(cost_of(estimate[k]), error_of(members[:, k]))
        assert (cost(0.0) <= 1) == covers[k]


def test_the_interval_is_the_sum_in_quadrature():
    shifts = np.random.default_rng(2).normal(0.1, 0.05, 16)
    error = error_of(shifts)
    interval = profile_interval(add_simulation_error(cost_of(shifts.mean()), error), "mu")
    assert interval.estimate == pytest.approx(shifts.mean(), abs=1e-4)
    expected = np.hypot(0.1, error.estimate_error[0])
    assert interval.width / 2 == pytest.approx(expected, rel=1e-3)
    assert interval.error == pytest.approx(expected, rel=1e-2)


def test_the_gradient_is_that_of_the_cost():
    rng = np.random.default_rng(3)
    values = -50 * (GRID.grid - 0.1) ** 2 - 30 * (GRID.grid - 0.1) ** 3
    cost = LikelihoodCost(GRID.surface(values), "mu", n_events=100)
    error = error_of(rng.normal(0.1, 0.05, 16), curvature=120.0)
    widened = add_simulation_error(cost, error)
    for theta in (-0.4, 0.05, 0.1, 0.13, 0.5):
        step = 1e-6
        numeric = (widened(theta + step) - widened(theta - step)) / (2 * step)
        assert widened.grad(theta)[0] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_it_is_never_narrower_and_has_one_minimum():
    """Even where the error grows faster than −2ΔlnL."""
    rng = np.random.default_rng(4)
    theta = np.linspace(-1, 1, 101)
    error = error_of(rng.normal(0, 0.3, 16))
    cost = cost_of(0.0)
    widened = add_simulation_error(cost, error)
    plain, wide = (np.array([c(t) for t in theta]) for c in (cost, widened))
    assert np.all(wide <= plain + 1e-9)
    assert np.all(np.diff(wide[50:]) > 0)
    assert np.all(np.diff(wide[:51]) < 0)


def test_the_rate_term_is_measured_along():
    """The simulation of the shape does not move what the number of events says."""
    samples = SampleSet(
        tuple(
            Sample(
                np.zeros((1, 1)),
                ("x",),
                point={"mu": v},
                cross_section=0.1 + 0.05 * v,
                cross_section_error=0.0,
            )
            for v in (-1.0, 0.0, 1.0)
        )
    )
    rate = Rate.from_samples(samples, luminosity=1.0, degree=1)  # 100 events at 0
    shifts = np.random.default_rng(5).normal(0, 0.05, 16)
    cost = cost_of(shifts.mean(), rate=rate)
    plain = profile_interval(cost, "mu")
    wide = profile_interval(add_simulation_error(cost, error_of(shifts)), "mu")
    assert wide.estimate == pytest.approx(plain.estimate, abs=1e-3)
    # An error of the score is one of the estimate in units of the whole information.
    shape = 100 * error_of(shifts).estimate_error[0]
    total = (2 / plain.width) ** 2
    assert wide.width / 2 == pytest.approx(np.hypot(plain.width / 2, shape / total), rel=0.02)


def test_several_parameters_are_widened_along_each_direction():
    box = ChebyshevBox(-np.ones(2), np.ones(2), 4)
    shifts = np.random.default_rng(6).normal(0, [0.06, 0.01], (16, 2))
    values = -50 * np.sum((box.grid - shifts[:, None]) ** 2, axis=2)
    error = SimulationError(
        parameters=("a", "b"),
        interpolation=box,
        values=values,
        estimate=shifts.mean(axis=0),
        estimates=shifts,
        groups=GROUPS,
    )
    cost = LikelihoodCost(box.surface(values.mean(axis=0)), ("a", "b"), n_events=100)
    widened = add_simulation_error(cost, error)
    for k, name in enumerate(("a", "b")):
        expected = np.hypot(0.1, error.estimate_error[k])
        assert profile_interval(widened, name).width / 2 == pytest.approx(expected, rel=0.02)


def test_what_has_another_error_is_refused():
    shifts = np.random.default_rng(7).normal(0, 0.05, 16)
    cost = cost_of(0.0)
    with pytest.raises(CalibrationError, match="already widened"):
        add_simulation_error(add_simulation_error(cost, error_of(shifts)), error_of(shifts))
    model = gaussian.MeanModel()
    toys = Toys(gaussian.samples(20_000, [-0.2, 0.2], seed=1), n_events=100, seed=2)
    calibration = calibrate(toys.scan([model], [-0.2, 0.2], 300)["mean"])
    calibrated = calibration(
        dataset_cost(model, gaussian.generate(100, 0.0, seed=3), reference=0.0)
    )
    with pytest.raises(CalibrationError, match="widen=True"):
        add_simulation_error(calibrated, error_of(shifts))
    other = LikelihoodCost(cost.surface, "c_HW", n_events=100)
    with pytest.raises(ParameterError, match="the cost depends on c_HW"):
        add_simulation_error(other, error_of(shifts))


def test_the_error_of_all_terms_is_not_that_of_the_linear_ones():
    """Regression: a cost of linear terms took the error of the whole Λ without a word."""
    samples = quadratic.samples(300, [{"c1": v} for v in (-0.2, 0.0, 0.2)], seed=1)
    data = quadratic.generate(300, {"c1": 0.0}, seed=2)
    small = mil.NetworkConfig((4,), "gelu", batch_norm=False, dropout=0.0, l2=0.0)
    short = mil.TrainingConfig(2, 300, 1e-2, 1e-3, schedule="cosine")
    model, other = (
        mil.BagLikelihood(
            head="polynomial", labels="joint", order=1, ensemble=4, bootstrap=True, seed=seed,
            network=small, training=short,
        ).fit(samples)
        for seed in (1, 2)
    )  # fmt: skip
    error = mil.simulation_error(model, data)
    add_simulation_error(model.cost(data), error)
    with pytest.raises(ModelError, match=r"linear terms .* use model.cost\(data\) with all terms"):
        add_simulation_error(model.cost(data, terms="linear"), error)
    with pytest.raises(ModelError, match="the same trained model"):
        add_simulation_error(other.cost(data), error)
