"""Regions and intervals of two parameters that contain the error of their calibration.

The means of a Gaussian, by surfaces with a wrong width, wrong correlations, or a response that
mixes the parameters: the error of a pool of M events over that of a dataset of N is √(N/M).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import chi2

from milinfer.exceptions import MilinferWarning
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.several_fit import joint_fit
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.toys import Toys

N_EVENTS, FACTOR = 100, 5
BOX = ChebyshevBox(-np.ones(2), np.ones(2), 3)
MIXING = np.array([[0.9, 0.1], [0.0, 1.1]])
CORRELATED = np.array([[1.0, 0.7], [0.7, 1.0]])
FIVE = ((0.0, 0.0), (0.2, 0.2), (-0.2, 0.2), (0.2, -0.2), (-0.2, -0.2))


@dataclass(frozen=True)
class Means:
    """Surface with its maximum at R x̄ + shift, and any curvature."""

    curvature: np.ndarray
    response: np.ndarray
    name: str = "means"
    parameters: tuple[str, ...] = ("a", "b")
    interpolation: ChebyshevBox = BOX

    def event_llr(self, sample):
        d = self.interpolation.grid - np.array([0.05, -0.1])
        x = sample.features.astype(float) @ self.response.T
        return x @ self.curvature @ d.T - np.einsum("ki,ij,kj->k", d, self.curvature, d) / 2


# Curvature and response of the surface, and covariance of an event.
CASES = {
    "halved": (0.5 * np.eye(2), np.eye(2), np.eye(2)),
    "correlated": (np.linalg.inv(CORRELATED), np.eye(2), CORRELATED),
    "stretched": (np.diag([4.0, 0.25]), np.eye(2), np.eye(2)),
    "wrong correlation": (np.array([[2.0, -0.9], [-0.9, 0.6]]), np.eye(2), np.eye(2)),
    "mixing": (0.5 * np.linalg.inv(MIXING @ MIXING.T), MIXING, np.eye(2)),
}


def events(points, n_events, covariance, seed):
    rng = np.random.default_rng(seed)
    return SampleSet(
        tuple(
            Sample(
                rng.multivariate_normal(p, covariance, n_events),
                ("x", "y"),
                point={"a": p[0], "b": p[1]},
            )
            for p in points
        )
    )


def small_pool(case, seed, points=FIVE[:1], n_toys=600, **options):
    """Calibration with a pool of five times the events of a dataset, at each point."""
    curvature, response, covariance = CASES[case]
    model = Means(curvature, response)
    pools = events(points, FACTOR * N_EVENTS, covariance, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MilinferWarning)
        toys = [
            Toys(SampleSet((s,)), N_EVENTS, seed=seed).run([model], s.point, n_toys)["means"]
            for s in pools
        ]
        return calibrate(toys, n_bootstrap=20, **options)


def evaluation(case, n_toys, truth=(0.0, 0.0)):
    curvature, response, covariance = CASES[case]
    pool = events([truth], 200_000, covariance, 99)
    toys = Toys(pool, N_EVENTS, seed=3)
    return toys.run([Means(curvature, response)], pool[0].point, n_toys)["means"]


@pytest.mark.parametrize("case", CASES)
def test_the_variance_is_that_of_data_and_pool(case):
    """Regression: with a wrong correlation in the surface it was a third of what it had to be."""
    calibration = small_pool(case, 1, n_toys=2000)
    other = evaluation(case, 200)
    # The toys of the calibration are finite too; ln c(θ) has an error beside that of m(θ).
    for target in (None, "a", "b"):
        own = calibration if target is None else calibration.profiled(target)
        ratio = own.statistic(other, [0, 0], 0.6827) / own.widened().statistic(
            other, [0, 0], 0.6827
        )
        scale_error = own.log_scale(0.6827).variance([0.0, 0.0])[0]
        quantile = chi2.ppf(0.6827, 2 if target is None else 1)
        expected = 1 + 1 / FACTOR + 1 / 2000 + quantile / 4 * scale_error
        np.testing.assert_allclose(ratio, expected, rtol=0.03)


def test_coverage_over_small_pools_is_nominal():
    """Of regions, and of intervals of one parameter with the other profiled.

    For the surface for which both differ most; the test before has all surfaces.
    """
    case = "wrong correlation"
    other = evaluation(case, 4000)
    covered = {(target, wide): [] for target in (None, "a", "b") for wide in (False, True)}
    for seed in range(100, 140):
        calibration = small_pool(case, seed)
        for (target, wide), values in covered.items():
            own = calibration if target is None else calibration.profiled(target)
            values.append(replace(own, widen=wide).contains_truth(other, 0.6827).mean())
    for target in (None, "a", "b"):
        assert np.mean(covered[target, False]) < 0.6827 - 0.025
        assert abs(np.mean(covered[target, True]) - 0.6827) < 0.02


def costs(ensemble, n):
    for values in ensemble.values[:n]:
        one = replace(ensemble, values=values[None], counts=None, pieces=(), pool_influence=None)
        yield (
            one,
            LikelihoodCost(BOX.surface(values), ("a", "b"), n_events=N_EVENTS, tag=ensemble.tag),
        )


@pytest.mark.parametrize(
    ("case", "correct"),
    [("wrong correlation", "both"), ("mixing", "scale"), ("mixing", "bias")],
)
def test_toys_and_costs_agree(case, correct):
    """MINOS contains the truth just where the toys say so, and the region likewise."""
    truth = (0.1, -0.1)
    other = evaluation(case, 8, truth)
    calibration = small_pool(case, 2, FIVE, correct=correct).widened()
    contained = {n: calibration.profiled(n).contains_truth(other, 0.6827) for n in "ab"}
    plain = replace(calibration, widen=False)
    many = {n: toy_intervals(other, plain, parameter=n) for n in "ab"}
    for k, (one, cost) in enumerate(costs(other, 8)):
        expected = calibration.statistic(one, truth, 0.6827)[0]
        joint = calibration(cost, 0.6827)
        lowest = joint(*joint_minimum(joint))
        assert joint(*truth) - lowest == pytest.approx(expected, rel=2e-3, abs=1e-4)
        if k < 4:
            for name, value in zip("ab", truth, strict=True):
                interval = profile_interval(calibration(cost, parameter=name), name)
                assert (interval.low <= value <= interval.high) == contained[name][k]
                exact, of_toys = profile_interval(plain(cost, parameter=name), name), many[name]
                assert (exact.low <= value <= exact.high) == of_toys.covers[k]
                ends = (of_toys.low[k], of_toys.high[k], of_toys.estimate[k])
                assert ends == pytest.approx((exact.low, exact.high, exact.estimate), abs=3e-3)


def joint_minimum(cost):
    from milinfer.likelihood.fits import minuit

    return minuit(cost).migrad().values


def test_intervals_are_sums_in_quadrature():
    calibration = small_pool("wrong correlation", 3, correct="bias")
    for _, cost in costs(evaluation("wrong correlation", 2), 2):
        for k, name in enumerate("ab"):
            narrow, wide = (
                profile_interval(calibration(cost, parameter=name, widen=w), name)
                for w in (False, True)
            )
            assert wide.estimate == pytest.approx(narrow.estimate, abs=1e-4)
            error = calibration.response.bias_error([[0.0, 0.0]])[0, k]
            assert wide.width / 2 == pytest.approx(np.hypot(narrow.width / 2, error), rel=2e-3)


@pytest.mark.parametrize("parameter", [None, "a", "b"])
def test_the_gradient_is_that_of_the_cost(parameter):
    calibration = small_pool("wrong correlation", 4, FIVE, scale_degree=1, bias_degree=1).widened()
    ((_, cost),) = costs(evaluation("wrong correlation", 1), 1)
    widened = calibration(cost, parameter=parameter)
    for theta in ((0.02, -0.1), (0.1, 0.13), (-0.12, 0.05)):
        step = 1e-6
        numeric = [
            (widened(*(np.array(theta) + h)) - widened(*(np.array(theta) - h))) / (2 * step)
            for h in step * np.eye(2)
        ]
        np.testing.assert_allclose(widened.grad(*theta), numeric, rtol=1e-4, atol=1e-4)


def test_it_survives_its_file_and_fits(tmp_path):
    calibration = small_pool("correlated", 5, FIVE).widened()
    calibration.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again.widen
    other = evaluation("correlated", 20)
    np.testing.assert_array_equal(
        again.statistic(other, [0, 0], 0.6827), calibration.statistic(other, [0, 0], 0.6827)
    )
    ((_, cost),) = costs(other, 1)
    wide, narrow = (joint_fit(cost, c) for c in (again, replace(again, widen=False)))
    for name in "ab":
        assert wide.applied[name].inner.width > narrow.applied[name].inner.width
    # Regions too: contours are calibrated in two parameters.
    areas = [np.ptp(f.calibrated_contours["a", "b"][0.6827], axis=0) for f in (wide, narrow)]
    assert np.all(areas[0] > areas[1])


def test_a_calibration_without_constants_of_single_parameters_takes_that_of_the_region():
    """Those of earlier versions have none."""
    calibration = replace(small_pool("halved", 6), profiles=()).widened()
    other = evaluation("halved", 50)
    ratio = replace(calibration, widen=False).statistic(other, [0, 0], 0.6827)
    ratio = ratio / calibration.statistic(other, [0, 0], 0.6827)
    np.testing.assert_allclose(ratio, 1 + 1 / FACTOR, rtol=0.05)
