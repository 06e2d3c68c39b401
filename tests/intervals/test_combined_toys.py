"""Toys of sums of learned and binned costs, with shared nuisance parameters."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from iminuit.cost import CostSum, NormalConstraint

import milinfer as mil
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, ConfigurationError, ModelError, ParameterError
from milinfer.intervals.combined_toys import CombinedToys, EventTerm
from milinfer.intervals.coverage import coverage
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_terms
from milinfer.toys.toys import Toys
from milinfer.utils.confidence_levels import CL68, CL95

GRID = Interpolation(np.linspace(-0.6, 0.6, 5), "spline")
N_EVENTS, S, B, SLOPE, ERROR = 100, 200.0, 100.0, 0.8, 0.05


def channel(*, constrained: bool = True) -> PyhfCost:
    """One bin with b + s (1 + SLOPE mu) events times an efficiency, by a tied factor."""
    modifiers = [
        {"name": "efficiency", "type": "normsys", "data": {"lo": 1 - ERROR, "hi": 1 + ERROR}}
    ]
    factor = [{"name": "w", "type": "normfactor", "data": None}]
    spec = {
        "channels": [
            {
                "name": "A",
                "samples": [
                    {"name": "signal", "data": [S], "modifiers": modifiers + factor},
                    {"name": "background", "data": [B], "modifiers": modifiers},
                ],
            }
        ]
    }
    cost = PyhfCost.tied(
        pyhf.Model(spec, poi_name=None),
        [S + B],
        parameters=("mu",),
        weights=lambda theta: {"w": 1 + SLOPE * float(theta[0])},
        limits={"mu": (-1.0, 1.0)},
        start={"mu": 0.0},
    )
    return cost if constrained else cost.without_constraints(["efficiency"])


def events(model: gaussian.MeanModel, seed: int) -> EventTerm:
    samples = gaussian.samples(40_000, [-0.3, 0.0, 0.3], seed=seed)
    return EventTerm(model, Toys(samples, n_events=N_EVENTS, seed=seed))


def test_errors_add_as_information_does() -> None:
    """The channel measures mu with the error of counts and of the efficiency together."""
    toys = CombinedToys([events(gaussian.MeanModel(), 1), channel()], "mu", GRID, seed=3)
    n = 200
    ensemble = toys.scan([0.0], n)[0]
    total = S + B
    relative = np.hypot(1 / np.sqrt(total), ERROR)
    of_channel = (S * SLOPE / total / relative) ** 2
    expected = (N_EVENTS + of_channel) ** -0.5
    spread = ensemble.theta_hat.std(ddof=1)
    # The efficiency is log-normal, and toys have an error of their own.
    assert abs(spread / expected - 1) < 3 / np.sqrt(2 * n) + 0.01
    assert abs(ensemble.theta_hat.mean()) < 4 * expected / np.sqrt(n)
    assert ensemble.n_events == N_EVENTS + total
    assert ensemble.n_effective / ensemble.n_events == pytest.approx(40_000 / N_EVENTS)


def test_a_shared_nuisance_parameter_is_drawn_and_fitted_once() -> None:
    """Counts of both terms move together with the efficiency; counting it twice undercovers."""
    terms = systematic_terms(
        gaussian.MeanModel(),
        rate=float(N_EVENTS),
        responses={},
        reference=0.0,
        uncertainties=[NormalisationUncertainty("efficiency", {"signal": (1 - ERROR, 1 + ERROR)})],
    )
    pool = Toys(gaussian.samples(40_000, [0.0], seed=1), n_events=N_EVENTS, seed=2, poisson=True)
    parts = [EventTerm(terms, pool), channel(constrained=False)]
    toys = CombinedToys(parts, "mu", GRID, seed=5)
    n = 150
    ensemble = toys.scan([0.0], n)[0]
    total = S + B
    # The events measure the efficiency too, with their number.
    of_efficiency = 1 / (ERROR**-2 + N_EVENTS)
    relative2 = 1 / total + of_efficiency
    expected = (N_EVENTS + (S * SLOPE / total) ** 2 / relative2) ** -0.5
    assert abs(ensemble.theta_hat.std(ddof=1) / expected - 1) < 3 / np.sqrt(2 * n) + 0.01
    share = np.mean(ensemble.test_statistic(0.0) < 1)
    assert abs(share - CL68) < 3 * np.sqrt(CL68 * (1 - CL68) / n)


def test_a_combination_is_calibrated_and_then_covers() -> None:
    """A model whose likelihood is too narrow and biased spoils the sum until this is measured."""
    # As trained it covers 38 %, and 49 % if the bias alone is corrected: 5 standard deviations of
    # 150 toys below 68 %.
    wrong = gaussian.MeanModel(scale=2.5, shift=0.08)
    at = [-0.3, 0.0, 0.3]
    calibrating = CombinedToys([events(wrong, 11), channel()], "mu", GRID, seed=6)
    calibration = mil.calibrate(calibrating.scan(at, 70))
    testing = CombinedToys([events(wrong, 12), channel()], "mu", GRID, seed=7)
    ensemble = testing.scan([0.0], 150)[0]
    trained = coverage(ensemble, None, CL68, name="as trained")
    calibrated = coverage(ensemble, calibration, CL68, name="calibrated")
    assert trained.coverage < CL68 - 4 * trained.error
    assert abs(calibrated.coverage - CL68) < 3 * calibrated.total_error
    with pytest.raises(CalibrationError, match="used for"):
        coverage(calibrating.scan([0.0], 10)[0], calibration, CL68)
    # The data: the sum that Minuit fits, and the calibrated one of the parameter of interest.
    data = testing.dataset(0.0, 3)
    both = calibration(testing.profiled(data))
    inner = mil.profile_interval(both, "mu", CL68)
    estimate = float(testing.scan([0.0], 1, start=3)[0].theta_hat[0])
    assert inner.estimate == pytest.approx(
        float(calibration.correct_estimate([estimate])[0]), abs=2e-3
    )
    bare = mil.profile_interval(testing.profiled(data), "mu", CL95)
    assert bare.estimate == pytest.approx(estimate, abs=1e-3)


def test_toys_are_those_of_their_seed() -> None:
    toys = CombinedToys([events(gaussian.MeanModel(), 1), channel()], "mu", GRID, seed=3)
    whole = toys.scan([0.3], 6)[0].values
    np.testing.assert_array_equal(whole[4:], toys.scan([0.3], 2, start=4, workers=2)[0].values)
    others = CombinedToys([events(gaussian.MeanModel(), 1), channel()], "mu", GRID, seed=4)
    assert not np.array_equal(whole, others.scan([0.3], 6)[0].values)


def test_a_measurement_of_the_parameter_of_interest_is_drawn() -> None:
    """Two Gaussian measurements: errors add in quadrature exactly."""
    other = NormalConstraint("mu", 0.7, 0.1)
    toys = CombinedToys([events(gaussian.MeanModel(), 1), other], "mu", GRID, seed=3)
    ensemble = toys.scan([0.0], 400)[0]
    expected = (N_EVENTS + 100.0) ** -0.5
    assert abs(ensemble.theta_hat.mean()) < 4 * expected / 20
    assert abs(ensemble.theta_hat.std() / expected - 1) < 3 / np.sqrt(800)


def test_counts_of_auxiliary_measurements_are_poisson() -> None:
    model = pyhf.simplemodels.uncorrelated_background([20.0], [50.0], [5.0])
    cost = PyhfCost(model, [60.0])
    assert cost.auxiliary_widths == (None,)
    toys = CombinedToys([cost], "mu", Interpolation(np.linspace(0, 4, 9), "spline"), seed=1)
    drawn = np.array([toys.dataset(1.0, k).data for k in range(400)])
    assert np.all(drawn == np.round(drawn))
    for column, mean in zip(drawn.T, (70.0, 100.0), strict=True):
        assert abs(column.mean() - mean) < 4 * np.sqrt(mean / 400)
        assert abs(column.var() / mean - 1) < 4 * np.sqrt(2 / 400)
    truth = {"mu": 1.0, "uncorr_bkguncrt[0]": 1.2}
    moved = np.array([toys.dataset(truth, k).data for k in range(100)])
    assert abs(moved[:, 1].mean() - 120) < 4 * np.sqrt(1.2)


@pytest.mark.parametrize(
    ("terms", "parameters", "error", "words"),
    [
        ([NormalConstraint("mu", 0.0, 1.0)], "mu", ConfigurationError, "no data to generate"),
        ([gaussian.MeanModel()], "mu", ModelError, "not MeanModel"),
        ([channel()], "efficency", ParameterError, "did you mean"),
    ],
)
def test_bad_terms_are_refused(terms, parameters, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        CombinedToys(terms, parameters, GRID, seed=1)


def test_bad_truths_and_costs_are_refused() -> None:
    toys = CombinedToys([channel()], "mu", GRID, seed=1)
    with pytest.raises(ParameterError, match="did you mean"):
        toys.scan([{"mu": 0.0, "eficiency": 1.0}], 1)
    with pytest.raises(ParameterError, match="no value of the parameter of interest mu"):
        toys.dataset({"efficiency": 1.0})
    with pytest.raises(ConfigurationError, match="positive"):
        toys.scan([0.0], 0)
    with pytest.raises(ParameterError, match="different parameters"):
        toys.profiled(CostSum(channel(), NormalConstraint("lumi", 1.0, 0.1)))
