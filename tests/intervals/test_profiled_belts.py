"""Belts and Feldman–Cousins intervals with profiled nuisance parameters.

Few events, a background of uncertain normalisation, an efficiency, and a mean that cannot be
negative.  Toys of the belt are thrown at the values of `truth`, or at those that the data prefer
at each true value of the mean.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, SampleError
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_terms
from milinfer.toys.ensemble import profiled_ranges
from milinfer.utils.confidence_levels import CL68, CL95

SIGNAL, TOP = 20.0, 15.0
GRID = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7)
TRUTHS = (0.0, 0.2, 0.5)
N_BELT = 2500
"""Toys of the belt at each of its points."""


def ratio_of_top(sample):
    """Of the background N(1, 1) to the signal at mu = 0."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 1.0)


TERMS = systematic_terms(
    gaussian.MeanModel(),
    rate=SIGNAL,
    responses={},
    reference=0.0,
    backgrounds={"top": (ratio_of_top, TOP)},
    norm_constraints={"top": 0.4},
    uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.8, 1.25)})],
)


def throw(truths, n_toys, seed, *, top_norm=1.0, trigger=0.0):
    """Toys at true values of the mean, and of the nuisance parameters."""
    signal = gaussian.samples(30_000, truths, seed=seed)
    top = mil.Sample(gaussian.generate(30_000, 1.0, seed=seed + 1).features, ("x0",), process="top")
    toys = mil.Toys(
        signal,
        round(SIGNAL * 1.25**trigger),
        seed=seed + 2,
        poisson=True,
        background=(mil.Background(top, TOP * top_norm),),
    )
    truth = {"top_norm": top_norm, "trigger": trigger}
    model = mil.ProfiledSystematics(TERMS, truth=truth)
    return toys.scan([model], truths, n_toys)["profiled"]


@pytest.fixture(scope="module")
def belt():
    """Thrown where nothing is known of the data: at the nominal values."""
    return mil.neyman(throw(GRID, N_BELT, 1), bounds=(0.0, 1.0))


@pytest.mark.parametrize(
    "place",
    [{}, {"top_norm": 1.4}, {"top_norm": 0.6, "trigger": 1.0}],
    ids=["where it was thrown", "more top", "less top, more signal"],
)
def test_the_belt_covers(belt, place):
    """Where it was thrown by construction; elsewhere as the profile hardly depends on α."""
    n = 1000
    for ensemble in throw(TRUTHS, n, 50, **place):
        for cl in (CL68, CL95):
            found = mil.coverage(ensemble, belt, cl)
            assert abs(found.coverage - cl) < 3 * np.sqrt(cl * (1 - cl) * (1 / n + 1 / N_BELT))


def test_toys_belts_and_calibrations_record_where_they_were_thrown(belt, tmp_path):
    nominal, shifted = throw((0.2,), 20, 50), throw((0.2,), 20, 50, top_norm=1.4)
    assert shifted[0].profiled_truth == {"trigger": 0.0, "top_norm": 1.4}
    assert "top_norm=1.4" in repr(shifted[0])
    assert "top_norm" in shifted[0]._repr_html_()
    with pytest.raises(SampleError, match="alike in all but the seed"):
        nominal[0] + throw((0.2,), 20, 60, top_norm=1.4)[0]
    # A belt may be made where the data prefer the nuisance parameters, at each point another value.
    moving = replace(belt, profiled_truth=profiled_ranges([*nominal, *shifted]))
    assert "toys with trigger = 0, top_norm from 1 to 1.4" in repr(moving)
    for record in (belt, moving):
        record.save(tmp_path / "belt.json")
        assert mil.Belt.load(tmp_path / "belt.json").profiled_truth == record.profiled_truth
    assert belt.profiled_truth == {"trigger": (0.0, 0.0), "top_norm": (1.0, 1.0)}
    calibration = mil.calibrate(throw((0.0, 0.2), 300, 50, top_norm=1.4))
    calibration.save(tmp_path / "calibration.json")
    again = mil.Calibration.load(tmp_path / "calibration.json")
    assert again.profiled_truth == {"trigger": (0.0, 0.0), "top_norm": (1.4, 1.4)}
    assert repr(again).endswith("toys with trigger = 0, top_norm = 1.4)")


def test_a_damaged_range_of_true_values_is_named(belt, tmp_path):
    belt.save(tmp_path / "belt.json")
    content = json.loads((tmp_path / "belt.json").read_text("utf-8"))
    for damaged in ([1.0], {"trigger": [1.0]}, {"trigger": ["a", 1.0]}):
        content["profiled_truth"] = damaged
        (tmp_path / "belt.json").write_text(json.dumps(content), "utf-8")
        with pytest.raises(CalibrationError, match="profiled_truth"):
            mil.Belt.load(tmp_path / "belt.json")


def test_without_a_belt_the_bound_is_overcovered(belt):
    """The asymptotic interval ignores that half of the estimates are at the bound."""
    ensemble = throw(TRUTHS[:1], 2500, 50)[0]
    bounded = np.maximum(ensemble.theta_hat, 0.0)
    drop = ensemble.interpolation.evaluate(ensemble.values, bounded)
    at_zero = ensemble.interpolation.values_at(ensemble.values, np.array([0.0]))[:, 0]
    assert np.mean(2 * (drop - at_zero) <= 1.0) > CL68 + 0.1
    assert abs(mil.coverage(ensemble, belt, CL68).coverage - CL68) < 0.03


def data():
    parts = [gaussian.generate(n, mu, seed=s).features for n, mu, s in ((22, 0.3, 7), (20, 1.0, 8))]
    return mil.Sample(np.concatenate(parts), ("x0",), process="data")


def test_toys_at_what_the_data_prefer(belt):
    """The profile construction: other nuisance parameters at each true value, one belt."""
    model = mil.ProfiledSystematics(TERMS)
    profile = model.profile(data())
    # Asymptotic intervals at the bound, which cover 16 % too often, are 8 standard deviations off.
    ensembles, n = [], 1200
    for k, mu in enumerate(GRID):
        place = dict(zip(profile.names, _at(profile, mu), strict=True))
        # At a lower mean of the signal more of the large values have to be of top.
        assert mu > 0 or place["top_norm"] > 1.05
        ensembles += throw([mu], n, 200 + 10 * k, **place)
    at_data = mil.neyman(ensembles, bounds=(0.0, 1.0))
    cost = model.cost(data())
    here, nominal = (b.interval(cost, CL68).intervals for b in (at_data, belt))
    np.testing.assert_allclose(here, nominal, atol=0.05)
    # It covers where it was thrown.
    place = dict(zip(profile.names, _at(profile, 0.2), strict=True))
    found = mil.coverage(throw([0.2], n, 300, **place)[0], at_data, CL68)
    assert abs(found.coverage - CL68) < 3 * np.sqrt(2 * CL68 * (1 - CL68) / n)


def _at(profile, mu):
    """Nuisance parameters that the data prefer at a value of the mean."""
    return [float(np.interp(mu, profile.points[:, 0], v)) for v in profile.places.T]
