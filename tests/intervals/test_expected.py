"""Expected intervals: of Asimov data, with bands of toys, profiled, calibrated, of belts."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint
from scipy.stats import norm

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.expected import BANDS, expected_interval
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.likelihood.asimov import asimov_cost
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_terms
from shifted_gaussian import SHIFT, Shift, quantiles

N = 200
TRUTHS = [-0.4, -0.2, 0.0, 0.2, 0.4]


@pytest.fixture(scope="module")
def toys():
    samples = gaussian.samples(100_000, TRUTHS, seed=1)
    return mil.Toys(samples, N, seed=2).scan([gaussian.MeanModel()], TRUTHS, 1000)["mean"]


TERMS = systematic_terms(gaussian.MeanModel(), rate=float(N), responses={}, reference=0.0)


@pytest.fixture(scope="module")
def events():
    return gaussian.generate(8000, 0.0, seed=3)


@pytest.fixture(scope="module")
def asimov(events):
    return asimov_cost(TERMS, events)


def test_bands_are_quantiles_of_a_gaussian(toys, asimov):
    expected = expected_interval(toys[2], asimov)
    sigma = 1 / np.sqrt(N)
    assert (expected.low, expected.high) == pytest.approx((-sigma, sigma), rel=2e-3)
    # 1000 toys know a quantile at 2σ to 9 % of σ, and the median to 4 %.
    np.testing.assert_allclose(expected.estimates, sigma * np.array(BANDS), atol=0.25 * sigma)
    np.testing.assert_allclose(expected.highs, sigma * (1 + np.array(BANDS)), atol=0.25 * sigma)
    np.testing.assert_allclose(expected.widths, 2 * sigma, rtol=2e-3)
    assert (expected.n_cut, expected.n_empty) == (0, 0)
    assert expected.to_table().column("of").to_pylist()[0] == "Asimov"
    assert "median of 1000 toys" in str(expected)


def test_data_are_in_the_bands_at_five_true_values(events):
    """Of a trained network: ``expected_of_network`` in benchmarks/committee.py."""
    bands, data = (
        mil.Toys(gaussian.samples(100_000, TRUTHS, seed=seed), N, seed=seed + 1).scan(
            [gaussian.MeanModel()], TRUTHS, 2000
        )["mean"]
        for seed in (11, 13)
    )
    for ensemble, observed in zip(bands, data, strict=True):
        expected = expected_interval(ensemble, asimov_cost(TERMS, events, mu=ensemble.truth))
        assert expected.width == pytest.approx(expected.widths[2], rel=0.02)
        intervals = toy_intervals(observed)
        for ends, band in ((intervals.low, expected.lows), (intervals.high, expected.highs)):
            assert 0.93 < np.mean((ends > band[0]) & (ends < band[-1])) < 0.97


def test_two_sigma_intervals_are_twice_as_wide(toys, asimov):
    one, two = (expected_interval(toys[2], asimov, cl=cl) for cl in (0.6827, 0.9545))
    assert two.width == pytest.approx(2 * one.width, rel=2e-3)


@pytest.fixture(scope="module")
def profiled():
    response = Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), quantiles())
    terms = systematic_terms(
        gaussian.MeanModel(),
        rate=float(N),
        responses={"signal": response},
        uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})],
        reference=0.0,
    )
    model = mil.ProfiledSystematics(terms)
    thrower = mil.Toys(gaussian.samples(20_000, TRUTHS, seed=4), N, seed=5, poisson=True)
    return model, thrower.scan([model], TRUTHS, 300)["profiled"]


def test_nuisance_parameters_are_profiled(profiled):
    model, toys = profiled
    cost = asimov_cost(model.terms, gaussian.generate(8000, 0.0, seed=3))
    expected = expected_interval(toys[2], cost)
    sigma = np.hypot(1 / np.sqrt(N), SHIFT)
    assert expected.width / 2 == pytest.approx(sigma, rel=2e-3)
    assert expected.width == pytest.approx(expected.widths[2], rel=0.02)
    # Auxiliary measurements scatter: 300 toys know a quantile at 1σ to 9 % of σ.
    np.testing.assert_allclose(expected.estimates[[1, 3]], [-sigma, sigma], atol=0.3 * sigma)
    # The profile by Minuit is the same likelihood, which calibrations and belts take.
    alone = model.profiled(cost)
    assert mil.profile_interval(alone, "mu").width == pytest.approx(expected.width, rel=5e-3)
    calibrated = expected_interval(toys[2], alone, calibration=mil.calibrate(toys[1:4]))
    assert calibrated.width == pytest.approx(expected.width, rel=0.15)
    belt = mil.neyman(toys, smooth=2)
    of_belt = expected_interval(toys[2], alone, belt=belt)
    assert of_belt.width == pytest.approx(expected.width, rel=0.15)
    # The belt ends at ±0.4, where intervals of half of the toys are cut off.
    assert of_belt.n_cut > 100
    with pytest.raises(CalibrationError, match=r"use profiled\.profiled\(cost\)"):
        expected_interval(toys[2], cost, belt=belt)
    other = systematic_terms(gaussian.MeanModel(), rate=float(N), responses={}, reference=0.0)
    with pytest.raises(ParameterError, match="make both from the same terms"):
        model.profiled(asimov_cost(other, gaussian.generate(8000, 0.0, seed=3)))


def test_a_belt_gives_the_sets_of_its_toys(toys):
    """What it says of one data set it says of toys."""
    belt = mil.neyman(toys, ordering="central", smooth=1)
    many = toy_intervals(toys[2], belt=belt)
    for k in range(5):
        one = belt.interval(toys[2].interpolation.surface(toys[2].values[k]))
        assert (many.low[k], many.high[k]) == pytest.approx(one.intervals[0], abs=2e-3)
    ratio = mil.neyman(toys)
    many = toy_intervals(toys[2], belt=ratio)
    one = ratio.interval(toys[2].interpolation.surface(toys[2].values[0]))
    assert (many.low[0], many.high[0]) == pytest.approx(one.intervals[0], abs=2e-3)
    assert many.covers.mean() == pytest.approx(0.6827, abs=0.05)


def test_intervals_that_are_cut_off_are_counted(asimov):
    samples = gaussian.samples(20_000, [0.95], seed=1)
    at_edge = mil.Toys(samples, N, seed=2).run([gaussian.MeanModel()], 0.95, 100)["mean"]
    expected = expected_interval(at_edge, asimov)
    assert expected.n_cut == pytest.approx(100 * norm.sf(-0.3), abs=20)


def test_what_does_not_go_together_is_refused(toys, asimov):
    thrower = mil.Toys(gaussian.samples(2000, [0.0], seed=1), N, seed=2)
    few = thrower.run([gaussian.MeanModel()], 0.0, 10)["mean"]
    with pytest.raises(CalibrationError, match="generate 40 or more"):
        expected_interval(few, asimov)
    with pytest.raises(CalibrationError, match="give a belt or a calibration, not both"):
        expected_interval(
            toys[2],
            NormalConstraint("mu", 0.0, 0.1),
            belt=mil.neyman(toys),
            calibration=mil.calibrate(toys),
        )
    with pytest.raises(ParameterError, match="between 0 and 1"):
        expected_interval(toys[2], asimov, cl=68.0)
