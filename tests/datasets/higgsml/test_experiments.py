"""Variations and pseudo-experiments of HiggsML."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import higgsml
from milinfer.datasets.higgsml.experiments import NORMALISATION_ERRORS, PACKAGE_SCALE_ERROR
from milinfer.exceptions import ParameterError, SampleError

EVENTS = higgsml.generate(1500, seed=1)


def test_variations_are_the_same_events_at_the_shifts():
    of = higgsml.process_variations(EVENTS, seed=2, scale_error=0.05, features=["PRI_had_pt"])
    assert tuple(of) == higgsml.PROCESSES
    process = of["ztautau"]
    nominal = process.nominal[0]
    assert nominal.cross_section * 1e4 == pytest.approx(nominal.weights.sum())
    up = next(v for v in process.variations if v.nuisances == {"tes": 1.0})
    paired = up.partners >= 0
    ratio = up.sample.features[paired, 0] / nominal.features[up.partners[paired], 0]
    assert ratio == pytest.approx(1.05, abs=1e-4)
    assert (~paired).any()  # events that are selected at the shift alone
    assert (up.sample.features[~paired, 0] < 1.05 * 26).all()
    jes = next(v for v in process.variations if v.nuisances == {"jes": 1.0})
    assert np.array_equal(jes.partners, np.arange(len(nominal)))


def test_nominal_events_have_a_soft_momentum_of_one_gev():
    """And the same random directions at all shifts."""
    events = higgsml.generate(400, seed=1)
    shifts = [{"soft_met": -20.0}, {"soft_met": 2.0}]
    of = higgsml.process_variations(
        events, seed=2, shifts=shifts, features=["PRI_met", "dphi_met", "PRI_lep_pt"]
    )
    nominal = of["htautau"].nominal[0]
    met = {}
    for name, sample in (
        ("one", nominal),
        ("none", of["htautau"].variations[0].sample),
        ("more", of["htautau"].variations[1].sample),
    ):
        size, angle, _ = sample.features.T.astype(np.float64)
        met[name] = size * np.stack([np.cos(angle), np.sin(angle)])
    one, more = met["one"] - met["none"], met["more"] - met["none"]
    assert one.std() == pytest.approx(1.0, abs=0.06)
    # Sizes and angles are rounded to three decimals.
    rounding = 5e-4 * (1 + max(np.abs(m).max() for m in met.values())) * 2 * (1 + np.exp(2))
    assert more == pytest.approx(np.exp(2) * one, abs=rounding)
    assert rounding < 0.3 * more.std()


def test_drawn_nuisances_have_the_distributions_of_the_challenge():
    rng = np.random.default_rng(1)
    drawn = [higgsml.draw_nuisances(rng) for _ in range(4000)]
    values = {name: np.array([d[name] for d in drawn]) for name in higgsml.NUISANCES}
    errors = {"tes": 0.01, "jes": 0.01, **NORMALISATION_ERRORS}
    for name, error in errors.items():
        assert values[name].mean() == pytest.approx(1.0, abs=4 * error / 4000**0.5)
        assert values[name].std() == pytest.approx(error, rel=0.05)
    assert np.log(np.median(values["soft_met"])) == pytest.approx(0.0, abs=0.08)
    # ln 5 is at 1.61 standard deviations.
    assert (values["soft_met"] == 5).mean() == pytest.approx(0.0538, abs=0.015)
    small = [higgsml.draw_nuisances(rng, scale_error=PACKAGE_SCALE_ERROR)["tes"] for _ in range(99)]
    assert np.std(small) < 0.002


def test_pseudo_experiments_have_the_expected_events():
    rng = np.random.default_rng(1)
    nominal = {p: higgsml.shifted(EVENTS.of(p)).weights.sum() for p in higgsml.PROCESSES}
    nuisances = {"ttbar_scale": 0.0, "diboson_scale": 2.0, "bkg_scale": 0.5}
    counts = [len(higgsml.pseudo_experiment(EVENTS, 3.0, nuisances, rng=rng)) for _ in range(100)]
    expected = 3 * nominal["htautau"] + 0.5 * nominal["ztautau"] + nominal["diboson"]
    assert np.mean(counts) == pytest.approx(expected, abs=4 * (expected / 100) ** 0.5)


def test_wrong_names_and_factors():
    rng = np.random.default_rng(1)
    with pytest.raises(ParameterError, match=r"'tess' is not one of .*did you mean tes"):
        higgsml.pseudo_experiment(EVENTS, 1.0, {"tess": 1.0}, rng=rng)
    with pytest.raises(ParameterError, match="the factor on htautau is -1"):
        higgsml.pseudo_experiment(EVENTS, -1.0, rng=rng)
    with pytest.raises(ParameterError, match=r"'bkg_scale' is not one of .* tes, jes, soft_met"):
        higgsml.shape_values({"bkg_scale": 1.0})
    with pytest.raises(SampleError, match="no column PRI_lep_eta"):
        higgsml.data_sample({"PRI_lep_pt": [30.0]})


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # the package uses it
def test_reads_pseudo_experiments_of_the_package():
    systematics = pytest.importorskip("HiggsML.systematics")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({n: EVENTS.columns[n] for n in higgsml.COLUMNS})
    parts = {
        p: frame.assign(weights=EVENTS.weights)[EVENTS.processes == k]
        for k, p in enumerate(higgsml.PROCESSES)
    }
    switches = dict.fromkeys(higgsml.NUISANCES, True)
    theirs = systematics.generate_pseudo_exp_data(parts, 1.0, switches, seed=1)["data"]
    data = higgsml.data_sample(theirs, ["DER_mass_vis"])
    assert data.features[:, 0] == pytest.approx(theirs["DER_mass_vis"], rel=1e-3)
    nominal = higgsml.shifted(EVENTS).weights.sum()
    assert len(data) == pytest.approx(nominal, abs=5 * nominal**0.5)
