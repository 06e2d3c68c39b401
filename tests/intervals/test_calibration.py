"""Calibration against closed forms: surfaces that are wrong by a known factor and bias."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint
from scipy.stats import chi2, ncx2

from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, MilinferWarning, ParameterError
from milinfer.intervals.calibration import Calibration, calibrated_toys
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import coverage
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.models import ModelTag, dataset_surface
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.pool import Background
from milinfer.toys.toys import Toys
from milinfer.workflow.comparison import compare
from models import GRID, GaussianMean, gaussian_samples

N_EVENTS, N_TOYS = 100, 2000
TRUTHS = [-0.3, 0.0, 0.3]
CALIBRATION_POOL = gaussian_samples(TRUTHS, 300_000, 1)
EVALUATION_POOL = gaussian_samples([0.1], 300_000, 2)


def throw(model):
    calibration = Toys(CALIBRATION_POOL, N_EVENTS, seed=5)
    return [calibration.run([model], t, N_TOYS)["gaussian"] for t in TRUTHS]


@cache
def thrown(scale=1.0, shift=0.0):
    """The same toys for all tests of the same model."""
    return throw(GaussianMean(scale, shift))


def evaluate(model, seed=6):
    return Toys(EVALUATION_POOL, N_EVENTS, seed=seed).run([model], 0.1, N_TOYS)["gaussian"]


@pytest.mark.parametrize("kind", ["coverage", "bartlett"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_known_factor_is_recovered(kind, scale):
    calibration = calibrate(thrown(scale), kind=kind)
    assert abs(calibration.scale - 1 / scale) < 3.5 * calibration.scale_error
    # A sensible error: a variance from 3 × 2000 toys, or a quantile of them.
    assert calibration.scale_error * scale < 0.05


def test_a_known_bias_is_recovered():
    calibration = calibrate(thrown(1.0, shift=0.1))
    for t in TRUTHS:
        bias, error = calibration.bias(t)
        assert abs(bias - 0.1) < 4 * error
    mapped = calibration.response.mean([0.17])
    np.testing.assert_allclose(calibration.correct_estimate(mapped), 0.17, atol=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.4, 0.05), (2.5, -0.1)])
def test_calibrated_intervals_cover_on_other_events(scale, shift):
    model = GaussianMean(scale, shift)
    calibration = calibrate(thrown(scale, shift))
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
    toys = thrown()
    with pytest.raises(CalibrationError, match="used for the calibration"):
        coverage(toys[0], calibrate(toys))
    with pytest.raises(CalibrationError, match="used for the calibration"):
        compare({"gaussian": toys}, {"gaussian": toys[1]})


def test_the_calibrated_cost_has_the_corrected_estimate_and_width():
    model = GaussianMean(0.5, shift=0.1)
    calibration = calibrate(thrown(0.5, 0.1))
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
    with pytest.raises(CalibrationError, match=r"97\.\d% .*edge.* No other toys could be used"):
        calibrate(throw(narrow))


def test_the_reason_for_maxima_at_the_edge_is_said():
    """Near the end of a range it is the range; far from it, Λ of the model."""
    grid = Interpolation(np.linspace(-0.45, 0.45, 9), "polynomial", 2)
    near = throw(GaussianMean(interpolation=grid))  # 1.5 standard deviations from the end
    match = r"Neyman belt .*The toys at mu=0 could be used for a calibration"
    with pytest.raises(CalibrationError, match=match) as refused:
        calibrate(near)
    assert "so do too many toys at" in str(refused.value)
    wrong = GaussianMean(shift=0.6, interpolation=Interpolation(np.linspace(-0.6, 0.6, 9)))
    match = r"The truth is more than 3 standard deviations .* Λ of the model is wrong there"
    with pytest.raises(CalibrationError, match=match):
        calibrate(throw(wrong)[1:2])


def test_a_calibration_survives_its_file(tmp_path):
    calibration = calibrate(thrown(0.5, 0.1))
    calibration.save(tmp_path / "c.json")
    back = Calibration.load(tmp_path / "c.json")
    for theta, cl in ((-0.4, 0.6827), (0.1, 0.9545), (0.9, 0.9545)):
        assert back.scale_at(theta, cl) == calibration.scale_at(theta, cl)
        assert back.bias(theta) == calibration.bias(theta)
    assert back.pool_ids == calibration.pool_ids
    assert (back.tag, back.limits, back.cls) == (
        calibration.tag,
        calibration.limits,
        calibration.cls,
    )
    for content in ('{"milinfer_calibration": 2}', '{"milinfer_calibration": 1}', "[1]", "no"):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(CalibrationError, match="calibrate again"):
            Calibration.load(tmp_path / "x.json")
    with pytest.raises(CalibrationError, match="there is no calibration"):
        Calibration.load(tmp_path / "nowhere.json")


def test_a_calibration_is_kept_with_its_model(tmp_path):
    calibration = calibrate(thrown())
    calibration.save(tmp_path)
    assert (tmp_path / "calibration.json").exists()
    assert Calibration.load(tmp_path).scale == calibration.scale


def test_the_constant_follows_theta():
    """The curvature is wrong by 1 + θ/2: so must be what mends it, at θ and not on average."""
    wide = Interpolation(np.linspace(-1, 1, 9), "polynomial", 4)

    def skewed(pool, truth, seed):
        exact = Toys(pool, N_EVENTS, seed=seed).run([GaussianMean()], truth, N_TOYS)["gaussian"]
        distance = exact.theta_hat[:, None] - wide.grid
        values = -(1 + wide.grid / 2) * N_EVENTS * distance**2 / 2
        return replace(exact, values=values, interpolation=wide)

    truths = [-0.4, -0.2, 0.0, 0.2, 0.4]
    tuning, other = (gaussian_samples(truths, 300_000, s) for s in (11, 12))
    calibrating = [skewed(tuning, t, 5) for t in truths]
    calibration = calibrate(calibrating)
    for cl in (0.6827, 0.9545):
        assert calibration.log_scale(cl).basis.degree >= 1
        for t in truths:
            c, error = calibration.scale_at(t, cl)
            assert abs(c - 1 / (1 + t / 2)) < 4 * error
    toys = [skewed(other, t, 6) for t in truths]
    pulls = [coverage(e, calibration, cl).pull for e in toys for cl in (0.6827, 0.9545)]
    # Ten pulls, with the error of the calibration (as many toys at five points) on top.
    assert np.abs(pulls).max() < 4
    assert np.sum(np.square(pulls)) < 30
    # One constant for all θ does not do.
    constant = calibrate(calibrating, scale_degree=0)
    worst = max(abs(coverage(e, constant).pull) for e in toys)
    assert worst > 5


def test_the_error_of_the_ends_is_the_spread_between_calibrations():
    """Ends of one dataset's interval by many calibrations, each from events of its own."""
    model = GaussianMean(0.5, shift=0.1)
    data = gaussian_samples([0.1], N_EVENTS, 5)[0]
    cost = LikelihoodCost(dataset_surface(model, data), "mu", n_events=N_EVENTS)
    ends, errors = [], []
    for seed in range(40):
        pool = gaussian_samples(TRUTHS, 3000, 900 + seed)
        toys = Toys(pool, N_EVENTS, seed=seed).scan([model], TRUTHS, 300)["gaussian"]
        calibration = calibrate(toys, n_bootstrap=50)
        found = profile_interval(calibration(cost), "mu")
        ends.append([found.low, found.high])
        errors.append(calibration.end_errors(found.estimate, ends[-1]))
    # A spread of forty is known to 11 %, and the ends share half of theirs.
    np.testing.assert_allclose(np.std(ends, axis=0), np.mean(errors, axis=0), rtol=0.4)


def test_each_confidence_level_has_its_constant():
    toys = thrown()
    calibration = calibrate(toys, cl=(0.6827, 0.9))
    assert calibration.c_coverage.shape == (3, 2)
    assert calibration.scale_at(0.0, 0.9) != calibration.scale_at(0.0, 0.6827)
    with pytest.raises(CalibrationError, match=r"not for 0\.9545"):
        coverage(evaluate(GaussianMean()), calibration, 0.9545)
    bartlett = calibrate(toys, kind="bartlett")
    assert bartlett.scale_at(0.0, 0.9) == bartlett.scale_at(0.0, 0.6827)


def test_scale_and_bias_can_be_corrected_alone():
    model = GaussianMean(0.5, shift=0.1)
    toys = thrown(0.5, 0.1)
    only_bias, only_scale = (calibrate(toys, correct=c) for c in ("bias", "scale"))
    both = calibrate(toys)
    e = evaluate(model)
    np.testing.assert_allclose(
        only_bias.statistic(e, 0.1, 0.6827) * both.scale_at(0.1, 0.6827)[0],
        both.statistic(e, 0.1, 0.6827),
    )
    assert only_bias.scale_at(0.3) == (1.0, 0.0)
    np.testing.assert_array_equal(only_scale.correct_estimate(e.theta_hat), e.theta_hat)
    # Shifted by one standard deviation, the interval must grow to cover: c < the 2 it should be.
    assert only_scale.scale < 1.5
    assert abs(coverage(e, only_scale).pull) < 4


def test_a_calibration_refuses_what_it_was_not_made_for():
    calibration = calibrate(thrown())
    surface = GRID.surface(np.zeros(9))

    def cost(tag):
        return LikelihoodCost(surface, "mu", n_events=N_EVENTS, tag=tag)

    tag = calibration.tag
    for other, what in (
        (tag._replace(name="other"), "another model"),
        (tag._replace(events_in_bag=50), "another bag size"),
        (tag._replace(feature_names=("y",)), "another features"),
        (tag._replace(digest="ab"), "another training"),
    ):
        with pytest.raises(CalibrationError, match=what):
            calibration(cost(other))
    assert calibration(cost(tag)).correction is not None
    toys = Toys(EVALUATION_POOL, 50, seed=1).run([GaussianMean()], 0.1, 100)["gaussian"]
    with pytest.raises(CalibrationError, match="100 events"):
        coverage(toys, calibration)


def test_a_single_truth_corrects_the_shift_alone():
    calibration = calibrate(thrown(shift=0.1)[1:2])
    assert calibration.response.slope(0.3) == (1.0, 0.0)
    assert abs(calibration.bias(0.0)[0] - 0.1) < 4 * calibration.bias(0.0)[1]


BOX = ChebyshevBox(-np.ones(2), np.ones(2), 3)


@dataclass(frozen=True)
class TwoMeans:
    """x ~ N((θ1, θ2), 1): the surface is wrong by known factors and shifts."""

    scale: float = 0.5
    shift: tuple[float, float] = (0.05, -0.1)
    name: str = "two"
    parameters: tuple[str, ...] = ("a", "b")
    interpolation: ChebyshevBox = BOX

    def event_llr(self, sample):
        theta = self.interpolation.grid - np.array(self.shift)
        return self.scale * (sample.features.astype(float) @ theta.T - (theta**2).sum(axis=1) / 2)


def two_samples(points, n_events, seed):
    rng = np.random.default_rng(seed)
    return SampleSet(
        tuple(
            Sample(rng.normal(p, 1, (n_events, 2)), ("x", "y"), point={"a": p[0], "b": p[1]})
            for p in points
        )
    )


def test_two_parameters_are_calibrated_together():
    model, points = TwoMeans(), [(0, 0), (0.3, 0), (-0.3, 0), (0, 0.3), (0, -0.3)]
    toys = Toys(two_samples(points, 200_000, 1), N_EVENTS, seed=3)
    calibration = calibrate(
        [toys.run([model], {"a": p[0], "b": p[1]}, N_TOYS)["two"] for p in points]
    )
    assert abs(calibration.scale - 2) < 4 * calibration.scale_error
    bias, error = (
        f([[0.1, 0.1]])[0] for f in (calibration.response.bias, calibration.response.bias_error)
    )
    assert np.all(np.abs(bias - model.shift) < 4 * error)
    truth = {"a": 0.2, "b": 0.1}
    other = two_samples([(0.2, 0.1)], 300_000, 2)
    e = Toys(other, N_EVENTS, seed=4).run([model], truth, N_TOYS)["two"]
    # Half the curvature and a shift: q/2 is a non-central χ² with two degrees of freedom.
    expected = ncx2.cdf(
        chi2.ppf(0.6827, 2) / model.scale, 2, N_EVENTS * np.sum(np.square(model.shift))
    )
    assert abs(coverage(e).coverage - expected) < 4 * np.sqrt(expected * (1 - expected) / N_TOYS)
    for cl in (0.6827, 0.9545):
        assert abs(coverage(e, calibration, cl).pull) < 4
    data = other[0].take(slice(0, N_EVENTS))
    cost = LikelihoodCost(dataset_surface(model, data), model.parameters, n_events=N_EVENTS)
    calibrated = calibration(cost)
    # Not at ±0.3, where the continuation of c(θ) has a kink.
    for theta in ((0.0, 0.0), (0.2, -0.28), (0.35, 0.1)):
        step = 1e-6
        numeric = [
            (calibrated(*(np.array(theta) + h)) - calibrated(*(np.array(theta) - h))) / (2 * step)
            for h in step * np.eye(2)
        ]
        np.testing.assert_allclose(calibrated.grad(*theta), numeric, rtol=1e-5, atol=1e-5)
    m = Minuit(calibrated, a=0.0, b=0.0).migrad().hesse()
    assert m.valid
    mean = data.features.astype(float).mean(axis=0)
    np.testing.assert_allclose(m.values, mean, atol=4 * error.max() + 1e-3)
    np.testing.assert_allclose(m.errors, 0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cl": 68.27}, "between 0 and 1"),
        ({"cl": 1.0}, "between 0 and 1"),
        ({"cl": ()}, "between 0 and 1"),
        ({"n_bootstrap": 1}, "2 or more"),
        ({"cl": 0.9999}, "generate 10000 or more"),
    ],
)
def test_what_gives_no_constant_is_an_error(options, match):
    """Regression: these were errors of linear algebra."""
    with pytest.raises(CalibrationError, match=match):
        calibrate(thrown(), **options)


def test_too_few_toys_are_an_error():
    for n in (1, 2, 21):
        toys = Toys(CALIBRATION_POOL, N_EVENTS, seed=5).run([GaussianMean()], 0.0, n)["gaussian"]
        with pytest.raises(CalibrationError, match="generate 22 or more"):
            calibrate([toys])


def test_coverage_where_no_calibrated_interval_reaches_is_an_error():
    """Regression: the surface was extrapolated, and toys covered that cannot."""
    calibration = calibrate(thrown(shift=0.3))
    assert calibration.limits[0][1] == pytest.approx(0.7, abs=0.02)
    pool = gaussian_samples([0.6, 0.75], 50_000, 3)
    inside, outside = (
        Toys(pool, N_EVENTS, seed=1).run([GaussianMean(shift=0.3)], t, 200)["gaussian"]
        for t in (0.6, 0.75)
    )
    assert abs(coverage(inside, calibration).pull) < 4
    with pytest.raises(CalibrationError, match=r"mu=0\.75 is outside"):
        coverage(outside, calibration)


def test_a_rate_without_the_backgrounds_of_the_toys_is_an_error():
    """Regression: all 60 intervals of signal plus background missed the truth, without a word."""
    model, truth, n_background = GaussianMean(), 0.1, 50.0
    yields = SampleSet(
        tuple(
            Sample(
                np.zeros((1, 1)),
                ("x",),
                point={"mu": v},
                cross_section=1 + 0.3 * v,
                cross_section_error=0.0,
            )
            for v in (-1.0, 1.0)
        )
    )
    rate = Rate.from_samples(yields, luminosity=0.1, degree=1)
    rng = np.random.default_rng(4)

    def toys(pool, seed):
        extra = Background(Sample(rng.normal(size=(100_000, 1)), ("x",)), n_background)
        return Toys(pool, None, seed=seed, rate=rate, background=(extra,))

    tuning = toys(CALIBRATION_POOL, 5).scan([model], TRUTHS, 1000)["gaussian"]
    calibration = calibrate(tuning)
    evaluating = toys(EVALUATION_POOL, 6)
    found = evaluating.run([model], truth, 6)["gaussian"]
    covers = calibration.contains_truth(found, 0.6827)
    for k in range(6):
        data = evaluating.dataset({"mu": truth}, k)
        cost = dataset_cost(model, data, reference=0.0, rate=rate.with_background(n_background))
        interval = profile_interval(calibration(cost), "mu")
        assert (interval.low <= truth <= interval.high) == covers[k]
    with pytest.raises(CalibrationError, match=r"with_background"):
        calibration(dataset_cost(model, data, reference=0.0, rate=rate))


def test_a_pool_smaller_than_its_toys_is_warned_of():
    small = gaussian_samples(TRUTHS, 300, 5)
    toys = Toys(small, N_EVENTS, seed=1).scan([GaussianMean()], TRUTHS, 300)["gaussian"]
    with pytest.warns(MilinferWarning, match=r"100 events from a pool of effectively 300:"):
        calibrate(toys)


def test_a_pool_that_costs_a_percent_of_coverage_is_warned_of():
    """Regression: nothing was said below 6 %, and a pool of 5 N events cost 4 %."""
    toys = Toys(gaussian_samples(TRUTHS, 500, 5), N_EVENTS, seed=1).scan(
        [GaussianMean()], TRUTHS, 300
    )["gaussian"]
    # φ of a width of √(1 + 1/5) within ±1.
    with pytest.warns(MilinferWarning, match=r"cover 4.4% less on average; use 2500 events"):
        calibrate(toys)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate([replace(e, n_effective=2600.0) for e in toys])


def calibrated(**options):
    """A calibration, and the cost of a dataset that it serves."""
    model = GaussianMean(0.5)
    calibration = calibrate(thrown(0.5), **options)
    data = EVALUATION_POOL.at(mu=0.1).take(slice(0, N_EVENTS))
    return calibration, LikelihoodCost(dataset_surface(model, data), "mu", n_events=N_EVENTS)


def test_a_cost_calibrated_for_one_level_serves_no_other():
    calibration, cost = calibrated()
    inner = calibration(cost)
    message = r"of 68\.27%, not of 95\.45% .*; use calibration\(cost, 0\.9545\)"
    with pytest.raises(CalibrationError, match=message):
        profile_interval(inner, "mu", 0.9545)
    with pytest.raises(
        CalibrationError, match=r"calibrate with cl=\(0\.6827, 0\.9545, 0\.9\), then"
    ):
        profile_interval(inner + NormalConstraint("mu", 0.0, 1.0), "mu", 0.9)
    outer = profile_interval(calibration(cost, 0.9545), "mu", 0.9545)
    assert outer.width > 1.5 * profile_interval(inner, "mu").width


@pytest.mark.parametrize("options", [{"kind": "bartlett"}, {"correct": "bias"}])
def test_one_constant_for_all_levels_serves_all(options):
    calibration, cost = calibrated(**options)
    assert profile_interval(calibration(cost), "mu", 0.9).cl == 0.9


WIDE_BOX = ChebyshevBox(-np.ones(2), np.ones(2), 4)


def gaussian_ensembles(truths, curvature, response, n_toys, seed, n_events=100):
    """Toys whose estimates scatter as they should, and whose surfaces claim another curvature."""
    rng = np.random.default_rng(seed)
    ensembles = []
    for k, truth in enumerate(truths):
        estimates = rng.normal(response @ truth, n_events**-0.5, (n_toys, 2))
        d = WIDE_BOX.grid[None] - estimates[:, None]
        ensembles.append(
            ToyEnsemble(
                tag=ModelTag("two"),
                point={"a": truth[0], "b": truth[1]},
                interpolation=WIDE_BOX,
                values=-n_events / 2 * np.einsum("nki,ij,nkj->nk", d, curvature, d),
                n_events=n_events,
                poisson=False,
                pool_events=10**9,
                pool_id=f"pool-{seed}-{k}",
                seed=seed,
            )
        )
    return ensembles


CORNERS = np.array([(0, 0), (0.2, 0.2), (-0.2, 0.2), (0.2, -0.2), (-0.2, -0.2)], dtype=float)
# The referee's two surfaces: curvature wrong by (4, 1/4), and by 0.5 with a response that mixes.
WRONG_SURFACES = {
    "stretched": (np.diag([4.0, 0.25]), np.eye(2)),
    "mixed": (
        0.5 * np.linalg.inv(np.array([[0.9, 0.1], [0, 1.1]]) @ [[0.9, 0], [0.1, 1.1]]),
        np.array([[0.9, 0.1], [0.0, 1.1]]),
    ),
    "correlated": (np.array([[2.0, -0.9], [-0.9, 0.6]]), np.eye(2)),
}


@pytest.mark.parametrize(
    ("surface", "kind"),
    [("correlated", "coverage"), ("mixed", "bartlett")],
)
def test_intervals_of_one_of_two_parameters_cover(surface, kind):
    """Regression: they had the constant of the joint region, and covered 50 % and 99 %."""
    curvature, response = WRONG_SURFACES[surface]
    calibration = calibrate(
        gaussian_ensembles(CORNERS, curvature, response, 4000, seed=1), kind=kind
    )
    (other,) = gaussian_ensembles([(0.1, -0.1)], curvature, response, 10_000, seed=2)
    inverse = np.linalg.inv(response)
    spread = inverse @ inverse.T
    claimed = np.linalg.inv(response.T @ curvature @ response)
    for k, name in enumerate(other.point):
        own = calibration.profiled(name)
        # The variance that the surface claims over the one that there is.
        assert abs(own.scale - claimed[k, k] / spread[k, k]) < 4 * own.scale_error
        for cl in (0.6827, 0.9545):
            share = np.mean(own.contains_truth(other, cl))
            assert abs(share - cl) < min(0.015, 4 * np.sqrt(cl * (1 - cl) / other.n_toys))
    assert coverage(other, own, cl).coverage == share


def test_the_interval_of_a_cost_is_that_of_the_toys():
    """MINOS contains the truth just where `contains_truth` says so."""
    curvature, response = WRONG_SURFACES["correlated"]
    calibration = calibrate(gaussian_ensembles(CORNERS, curvature, response, 2000, seed=1))
    (other,) = gaussian_ensembles([(0.1, -0.1)], curvature, response, 60, seed=2)
    for name, truth in other.point.items():
        own = calibration.profiled(name)
        contained = own.contains_truth(other, 0.6827)
        # The two inside and the two outside whose truth is nearest to the end of the interval: a
        # constant that is wrong by 5 % moves one of them to the other side.
        by_distance = np.argsort(np.abs(own.statistic(other, (0.1, -0.1), 0.6827) - 1))
        nearest = [
            k for side in (True, False) for k in by_distance[contained[by_distance] == side][:2]
        ]
        for k in nearest:
            cost = LikelihoodCost(WIDE_BOX.surface(other.values[k]), ("a", "b"), n_events=100)
            interval = profile_interval(calibration(cost, parameter=name), name)
            assert (interval.low <= truth <= interval.high) == contained[k]


def test_a_joint_calibration_gives_no_interval_of_one_parameter():
    """Regression: MINOS of a cost that was calibrated for joint regions said nothing."""
    curvature, response = WRONG_SURFACES["stretched"]
    (toy,) = gaussian_ensembles([(0.1, -0.1)], curvature, response, 1, seed=2)
    calibration = calibrate(gaussian_ensembles(CORNERS, curvature, response, 500, seed=1))
    cost = LikelihoodCost(WIDE_BOX.surface(toy.values[0]), ("a", "b"), n_events=100)
    with pytest.raises(CalibrationError, match=r'calibration\(cost, 0.68\d*, parameter="a"\)'):
        profile_interval(calibration(cost), "a")
    with pytest.raises(CalibrationError, match=r'intervals of b.*parameter="a"'):
        profile_interval(calibration(cost, parameter="b"), "a")
    with pytest.raises(CalibrationError, match="b would be fixed"):
        profile_interval(calibration(cost, parameter="a"), "a", fixed=["b"])
    with pytest.raises(ParameterError, match="'c' is not one of the parameters a, b"):
        calibration(cost, parameter="c")
    with pytest.raises(CalibrationError, match=r"intervals of a, .* without profiled\(\)"):
        calibrated_toys(calibration.profiled("a"), toy)
    # A constraint of something else leaves the check as it is.
    both = calibration(cost) + NormalConstraint("nuisance", 0.0, 1.0)
    with pytest.raises(CalibrationError, match="joint regions of a, b"):
        profile_interval(both, "a")


def test_constants_of_single_parameters_survive_the_file(tmp_path):
    curvature, response = WRONG_SURFACES["mixed"]
    calibration = calibrate(gaussian_ensembles(CORNERS, curvature, response, 500, seed=1))
    calibration.save(tmp_path / "joint.json")
    joint = Calibration.load(tmp_path / "joint.json")
    assert joint.scale == calibration.scale
    assert joint.interest is None
    own = calibration.profiled("b")
    assert joint.profiled("b").scale == own.scale
    own.save(tmp_path / "b.json")
    assert Calibration.load(tmp_path / "b.json").interest == "b"
    # A file of an earlier milinfer has none.
    content = json.loads((tmp_path / "joint.json").read_text())
    del content["profiles"]
    with pytest.raises(CalibrationError, match="calibrate again"):
        Calibration.from_content(content).profiled("b")
    content = json.loads((tmp_path / "joint.json").read_text())
    content["profiles"][0]["parameter"] = "c"
    with pytest.raises(ValueError, match="not one of each"):
        Calibration.from_content(content)


@pytest.mark.parametrize("same", [True, False], ids=["same density", "another density"])
def test_toys_of_negative_weights_calibrate_intervals_of_data(same):
    """Regression: c was 0.7 in the place of 1, and data were covered 76 % instead of 68 %."""
    samples = []
    for k, mu in enumerate((-0.2, 0.0, 0.2)):
        rng = np.random.default_rng(20 + k)
        n = 200_000
        # 15 % of the weight is negative, and the weighted density is N(mu, 1).
        kind = rng.choice(3, n, p=[0.7, 0.15, 0.15])
        # Events of opposite weight cancel wherever they are.
        x = rng.normal(np.where((kind == 0) | same, mu, 0.5))[:, None]
        weights = np.where(kind == 2, -1.0, 1.0)
        samples.append(Sample(x, ("x",), weights=weights, point={"mu": mu}))
    ensembles = Toys(SampleSet(tuple(samples)), 100, seed=3).scan(
        [GaussianMean()], [-0.2, 0.0, 0.2], 3000
    )
    calibration = calibrate(ensembles["gaussian"])
    assert abs(calibration.scale - 1) < 4 * calibration.scale_error
    assert calibration.scale_error < 0.03
    # Data have positive weights.
    other = Toys(gaussian_samples([0.1], 300_000, 2), 100, seed=6).run([GaussianMean()], 0.1, 4000)
    share = calibration.contains_truth(other["gaussian"], 0.6827).mean()
    assert abs(share - 0.6827) < 0.03


def test_constants_that_no_calibration_has_are_refused(tmp_path):
    """Regression: a file whose constants overflow was read, and failed where it was shown."""
    pool = gaussian.samples(20_000, [-0.3, 0.0, 0.3], seed=1)
    toys = Toys(pool, 100, seed=2).scan([gaussian.MeanModel()], [-0.3, 0.0, 0.3], 300)["mean"]
    file = tmp_path / "calibration.json"
    calibrate(toys).save(file)
    content = json.loads(file.read_text(encoding="utf-8"))
    content["log_scales"][0]["coefficients"][0] = 1e6
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CalibrationError, match="log_scales give constants"):
        Calibration.load(file)
