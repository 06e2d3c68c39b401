"""Belts from one toy at each of many truths, against closed forms and belts from many toys."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import chi2, norm

import milinfer
from milinfer.datasets import quadratic
from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.belt import Belt
from milinfer.intervals.coverage import coverage
from milinfer.intervals.neyman import neyman, regression_belt
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.plotting.coverage import plot_belt
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from models import GRID

N_EVENTS, SIGMA = 100, 0.1
BOX = ChebyshevBox(np.array([-1.0, -1.0]), np.array([1.0, 1.0]), 2)
TRUTHS = [-0.38, -0.2, 0.0, 0.11, 0.25, 0.38]
ORDERINGS = ["likelihood-ratio", "central", "upper", "lower"]


def exact(theta):
    return 1.0


def wrong(theta):
    """What a poor training does to the curvature: a factor that depends on θ."""
    return np.exp(1.2 * theta[0] - 0.8 * theta[0] ** 2)


def gaussian_ensembles(points, n_toys, seed, scale=exact, n_effective=np.inf):
    """Toys of N events of a Gaussian of unit width, in one or two dimensions."""
    rng = np.random.default_rng(seed)
    out = []
    for point in np.reshape(points, (len(points), -1)):
        grid = GRID.grid[:, None] if len(point) == 1 else BOX.grid
        mean = rng.normal(point, SIGMA, (n_toys, len(point)))
        first = ToyEnsemble(
            ModelTag("gaussian"),
            dict(zip(("a", "b") if len(point) > 1 else ("mu",), point.tolist(), strict=True)),
            GRID if len(point) == 1 else BOX,
            N_EVENTS * (mean @ grid.T - (grid**2).sum(axis=1) / 2),
            N_EVENTS,
            False,
            1000,
            f"{seed:016x}",
            seed,
            n_effective=n_effective,
        )
        out.append(replace(first, values=scale(point) * first.values))
    return out


@cache
def many(n, seed, scale=exact, n_parameters=1, **options):
    truths = np.random.default_rng(seed).uniform(-0.4, 0.4, (n, n_parameters))
    return gaussian_ensembles(truths, 1, seed + 1, scale, **options)


@pytest.fixture(scope="module", params=[exact, wrong], ids=["exact", "wrong"])
def scale(request):
    return request.param


@pytest.fixture(scope="module")
def ensembles(scale):
    return many(2000, 1, scale)


@pytest.fixture(scope="module")
def belt(ensembles):
    return regression_belt(ensembles)


def test_2000_toys_give_the_critical_values_everywhere(belt, scale):
    for cl in belt.cl:
        curve = belt.critical(cl)
        true = np.array([scale([t]) for t in TRUTHS]) * chi2.ppf(cl, 1)
        assert np.abs((curve(TRUTHS) - true) / curve.error(TRUTHS)).max() < 4
        # Less than twice the error of 2000 toys at this one point, in the middle of the range.
        density = chi2.pdf(chi2.ppf(cl, 1), 1) / scale([0.0])
        of_one_point = np.sqrt(cl * (1 - cl) / 2000) / density
        assert curve.error(0.0)[0] < 2 * of_one_point


@pytest.mark.parametrize("cl", [0.6827, 0.9545])
def test_they_agree_with_a_belt_of_nine_times_as_many_toys(belt, scale, cl):
    truths = np.linspace(-0.38, 0.38, 9)
    grid = neyman(gaussian_ensembles(truths, 2000, 5, scale), smooth=None).critical(cl)
    few = belt.critical(cl)
    pulls = (few(truths) - grid(truths)) / np.hypot(few.error(truths), grid.error(truths))
    assert np.abs(pulls).max() < 4
    # The price of nine times fewer toys.
    assert np.mean(few.error(truths)) < 2.5 * np.mean(grid.error(truths))


def test_coverage_on_other_toys(belt, scale):
    n_toys = 4000
    for other in gaussian_ensembles(TRUTHS, n_toys, 7, scale):
        for cl in belt.cl:
            inside = belt.contains_truth(other, cl)
            error = belt.critical(cl).error(other.truth)[0] / scale([other.truth])
            of_belt = error * chi2.pdf(chi2.ppf(cl, 1), 1)
            assert abs(inside.mean() - cl) < 4 * np.hypot(np.sqrt(cl * (1 - cl) / n_toys), of_belt)


@pytest.mark.parametrize("ordering", ["central", "upper", "lower"])
def test_orderings_by_the_estimate(ordering):
    belt = regression_belt(many(2000, 11, n_effective=1e6), cl=(0.6827, 0.9), ordering=ordering)
    for cl in belt.cl:
        tail = (1 - cl) / 2 if ordering == "central" else 1 - cl
        z = norm.ppf(1 - tail) * SIGMA
        for curve, sign in zip(belt.acceptance(cl), (-1, 1), strict=True):
            if curve is not None:
                distance = curve(TRUTHS) - TRUTHS - sign * z
                assert np.abs(distance / curve.error(TRUTHS)).max() < 4
        for other in gaussian_ensembles(TRUTHS, 4000, 12):
            inside = belt.contains_truth(other, cl)
            ends = [c for c in belt.acceptance(cl) if c is not None]
            of_belt = np.sqrt(sum(c.error(other.truth)[0] ** 2 for c in ends))
            of_belt *= norm.pdf(z / SIGMA) / SIGMA
            assert abs(inside.mean() - cl) < 4 * np.hypot(np.sqrt(cl * (1 - cl) / 4000), of_belt)


def test_the_pool_enters_errors_of_estimates():
    without, with_pool = (
        regression_belt(many(2000, 11, n_effective=n), cl=0.9, ordering="upper", degree=1)
        for n in (np.inf, 4 * N_EVENTS)
    )
    errors = [b.acceptance(0.9)[0].error(TRUTHS) for b in (without, with_pool)]
    np.testing.assert_allclose(np.sqrt(errors[1] ** 2 - errors[0] ** 2), SIGMA / 2, rtol=0.1)


def test_a_physical_bound():
    truths = np.random.default_rng(21).uniform(0, 0.5, 4000)
    belt = regression_belt(
        gaussian_ensembles(np.append(truths, [0.0, 0.5]), 1, 22), cl=0.9, bounds=(0.0, np.inf)
    )
    curve = belt.critical(0.9)
    assert abs(curve(0.5)[0] - chi2.ppf(0.9, 1)) < 4 * curve.error(0.5)[0]
    for other in gaussian_ensembles([0.0, 0.03, 0.06, 0.12, 0.2, 0.35, 0.5], 4000, 23):
        inside = belt.contains_truth(other, 0.9)
        c, error = curve(other.truth)[0], curve.error(other.truth)[0]
        # Above the bound by more than the interval, both sides count.
        density = chi2.pdf(c, 1) / (2 if other.truth < 0.1 else 1)
        of_belt = density * error
        assert abs(inside.mean() - 0.9) < 4 * np.hypot(np.sqrt(0.09 / 4000), of_belt)


def test_two_parameters():
    belt = regression_belt(many(3000, 31, wrong, 2))
    points = np.array([[0.0, 0.0], [0.3, -0.3], [-0.3, 0.2], [-0.35, -0.35], [0.2, 0.35]])
    for cl in belt.cl:
        curve = belt.critical(cl)
        true = np.array([wrong(p) for p in points]) * chi2.ppf(cl, 2)
        assert np.abs((curve(points) - true) / curve.error(points)).max() < 4
    for other in gaussian_ensembles(points, 2000, 33, wrong):
        point = np.array([tuple(other.point.values())])
        for cl in belt.cl:
            error = belt.critical(cl).error(point)[0] / wrong(point[0])
            of_belt = error * chi2.pdf(chi2.ppf(cl, 2), 2)
            inside = belt.contains_truth(other, cl)
            assert abs(inside.mean() - cl) < 4 * np.hypot(np.sqrt(cl * (1 - cl) / 2000), of_belt)
    observed = BOX.surface(gaussian_ensembles([[0.05, -0.02]], 1, 34)[0].values[0])
    region = belt.region(observed, 0.6827)
    assert 0 < region.area < 0.64
    assert plot_belt(belt).axes
    with pytest.raises(ParameterError, match="two parameters"):
        regression_belt(many(2000, 1), degree=0).region(observed)


def test_toys_of_reweighted_events_end_to_end():
    """The whole chain: one toy at each truth from a pool that serves any, intervals, coverage."""
    values = [{"c1": c} for c in (-0.5, 0.0, 0.5)]
    # Each of the many truths of the belt reads the whole first pool.
    pools = [
        EventPool(quadratic.samples(n, values, seed=s), degree=2)
        for n, s in ((4000, 1), (8000, 101))
    ]
    oracle = Oracle.from_sample(pools[0].samples[1], "c1", np.linspace(-1, 1, 21), degree=2)
    truths = np.random.default_rng(3).uniform(-0.4, 0.4, 1000)
    found = Toys(pools[0], 100, seed=2).scan([oracle], truths.tolist(), n_toys=1)["oracle"]
    belt = regression_belt(found, cl=0.6827)
    assert len(belt.pool_ids) == 1
    other = Toys(pools[1], 100, seed=4).scan([oracle], [-0.3, 0.0, 0.2], 1000)["oracle"]
    for toys in other:
        measured = coverage(toys, belt, 0.6827)
        c, error = belt.critical()(toys.truth)[0], belt.critical().error(toys.truth)[0]
        of_belt = chi2.pdf(c, 1) * error
        allowed = np.linalg.norm([measured.error, measured.pool_error, of_belt])
        assert abs(measured.coverage - 0.6827) < 4 * allowed
    inside = belt.contains_truth(other[1], 0.6827)
    for k in range(5):
        interval = belt.interval(other[1].interpolation.surface(other[1].values[k]))
        assert (0.0 in interval) == inside[k]
    with pytest.raises(CalibrationError, match="same events"):
        coverage(found[0], belt, 0.6827)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_it_survives_its_file_and_is_drawn(ordering, tmp_path):
    belt = regression_belt(many(2000, 1), ordering=ordering, bounds=(-0.9, 0.95))
    belt.save(tmp_path / "belt.json")
    again = Belt.load(tmp_path / "belt.json")
    observed = GRID.surface(gaussian_ensembles([0.1], 1, 41)[0].values[0])
    for cl in belt.cl:
        assert again.interval(observed, cl) == belt.interval(observed, cl)
        assert not again.interval(observed, cl).empty
    for name, value in vars(belt).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), value)
        elif name != "regression":
            assert getattr(again, name) == value, name
    # Of all orderings, and without data, pictures are drawn in test_belt.py.
    if ordering == "central":
        assert plot_belt(again, 0.6827, observed).axes


def test_several_toys_at_each_truth_count_as_so_many():
    truths = np.random.default_rng(1).uniform(-0.4, 0.4, 500)
    belt = regression_belt(gaussian_ensembles(truths, 4, 51), degree=0)
    assert belt.n_toys == (2000,)
    curve = belt.critical(0.6827)
    assert abs(curve(0.0)[0] - chi2.ppf(0.6827, 1)) < 4 * curve.error(0.0)[0]


def test_what_makes_no_belt_is_refused(ensembles):
    with pytest.raises(CalibrationError, match="too few"):
        regression_belt(ensembles[:100])
    with pytest.raises(CalibrationError, match="2 true values are too few"):
        regression_belt(gaussian_ensembles([-0.1, 0.1], 1000, 1), degree=2)
    with pytest.raises(CalibrationError, match="outside bounds"):
        regression_belt(ensembles, bounds=(0.0, 1.0))
    with pytest.raises(CalibrationError, match="list of toys is empty"):
        regression_belt([])
    finer = Interpolation(np.linspace(-1, 1, 11), "polynomial", 2)
    other = replace(ensembles[0], interpolation=finer, values=np.zeros((1, 11)))
    with pytest.raises(CalibrationError, match="different values of the parameters"):
        regression_belt([*ensembles, other])
    with pytest.raises(ParameterError, match="not defined"):
        regression_belt(ensembles).critical()(0.5)


def test_steps_are_no_polynomial():
    def step(theta):
        return 1.0 if theta[0] < 0 else 6.0

    with pytest.raises(CalibrationError, match="no polynomial below degree 6"):
        regression_belt(many(6000, 61, step), cl=0.6827)


def test_the_name_is_exported():
    assert milinfer.regression_belt is regression_belt
