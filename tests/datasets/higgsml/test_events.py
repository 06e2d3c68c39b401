"""Shifts, selection and features of HiggsML events, compared with the organisers' package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from milinfer.datasets import higgsml
from milinfer.exceptions import ConfigurationError, FeatureError, SampleError

REFERENCE = json.loads(Path(__file__).with_name("data").joinpath("reference.json").read_text())
# Numbers are rounded to three decimals, of single or of double precision.
ROUNDING = 1.01e-3


def given() -> higgsml.HiggsEvents:
    """Events of the reference."""
    columns = {n: np.array(v, dtype=np.float32) for n, v in REFERENCE["events"].items()}
    n = len(columns["PRI_met"])
    return higgsml.HiggsEvents(columns, np.zeros(n, dtype=np.int64), np.ones(n), np.arange(n))


def require_same(events, theirs):
    """Compare with columns of the package; returns how many events it derives from no jet."""
    assert events.rows.tolist() == [int(row) for row in theirs["row"]]
    for name in higgsml.COLUMNS:
        assert events.columns[name] == pytest.approx(theirs[name], abs=ROUNDING), name
    # Where a jet is gone and still counted, the package takes -25 for its momentum.
    n_jets = events.columns["PRI_n_jets"]
    counted = (n_jets >= 2) & ~events.has_jet("subleading")
    counted |= (n_jets >= 1) & ~events.has_jet("leading")
    for name, values in higgsml.derived(events).items():
        ours, other = np.nan_to_num(values, nan=higgsml.MISSING), np.array(theirs[name])
        # Theirs is of single precision: the mass is a difference of large numbers.
        loose = 0.15 if "mass" in name else 2e-3
        assert ours[~counted] == pytest.approx(other[~counted], abs=loose, rel=2e-4), name
    return int(counted.sum())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_agrees_with_the_package(number):
    of_shift = REFERENCE["shifted"][number]
    found = higgsml.shifted(given(), **of_shift["shift"], noise=of_shift["noise"])
    assert require_same(found, of_shift["columns"]) < 8
    assert 12 < len(found) <= 24


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # the package uses it
def test_agrees_with_the_installed_package():
    systematics = pytest.importorskip("HiggsML.systematics").systematics
    pandas = pytest.importorskip("pandas")
    events = higgsml.generate(500, seed=8)
    rng = np.random.RandomState(31415)
    noise = [rng.normal(size=len(events)) for _ in range(2)]
    shift = {"tes": 0.98, "jes": 1.03, "soft_met": 3.0}
    frame = pandas.DataFrame({n: events.columns[n] for n in higgsml.COLUMNS})
    theirs = systematics(frame.assign(row=events.rows), **shift)
    require_same(higgsml.shifted(events, **shift, noise=noise), theirs)


def test_soft_momentum_needs_its_random_numbers():
    with pytest.raises(SampleError, match=r"soft_met needs two random numbers .* \(2, 24\)"):
        higgsml.shifted(given(), soft_met=1.0, noise=np.zeros((2, 3)))
    with pytest.raises(ConfigurationError, match="tes must be positive"):
        higgsml.shifted(given(), tes=0.0)


def test_features_of_missing_jets_are_zero_and_say_so():
    events = given()
    names = ("has_subleading", "jet_subleading_eta", "DER_mass_jet_jet", "has_leading")
    has, eta, mass, has_leading = higgsml.feature_matrix(events, names).T
    two = np.array(REFERENCE["events"]["PRI_jet_subleading_pt"]) > 0
    assert np.array_equal(has == 1, two)
    assert not eta[~two].any()
    assert not mass[~two].any()
    assert (mass[two] > 0).all()
    assert has_leading.sum() > has.sum()
    assert np.isfinite(higgsml.feature_matrix(events)).all()
    with pytest.raises(FeatureError, match="did you mean DER_mass_vis"):
        higgsml.feature_matrix(events, ["DER_mas_vis"])


def test_azimuths_are_relative_to_the_lepton():
    events = given()
    turned = dict(events.columns)
    for name in ("lep", "had", "met", "jet_leading", "jet_subleading"):
        turned[f"PRI_{name}_phi"] = turned[f"PRI_{name}_phi"] + np.float32(0.5)
    rotated = higgsml.HiggsEvents(turned, events.processes, events.weights, events.rows)
    # At −π and π is the same direction.
    columns = [k for k, name in enumerate(higgsml.FEATURES) if "dphi" not in name]
    one, other = (higgsml.feature_matrix(e) for e in (events, rotated))
    assert other[:, columns] == pytest.approx(one[:, columns], abs=2e-4, rel=2e-4)
    angles = [k for k, name in enumerate(higgsml.FEATURES) if "dphi" in name]
    turn = np.abs(one - other)[:, angles]
    assert np.minimum(turn, 2 * np.pi - turn).max() < 1e-5


def test_events_name_what_is_missing():
    events = given()
    columns = {n: v for n, v in events.columns.items() if n != "PRI_met"}
    with pytest.raises(SampleError, match="no column PRI_met"):
        higgsml.HiggsEvents(columns, events.processes, events.weights, events.rows)
    with pytest.raises(SampleError, match=r"weights has the shape \(3,\) for 24 events"):
        higgsml.HiggsEvents(events.columns, events.processes, np.ones(3), events.rows)
    with pytest.raises(SampleError, match="none of the 24 events is of the process ttbar"):
        events.of("ttbar")
    with pytest.raises(SampleError, match="'tt' is not one of the processes htautau"):
        events.of("tt")
