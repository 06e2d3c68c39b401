"""Made-up HiggsML events."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import higgsml
from milinfer.datasets.higgsml.generator import EXPECTED


def test_same_seed_gives_the_same_events():
    one, again, other = (higgsml.generate(100, seed=s) for s in (1, 1, 2))
    assert all(np.array_equal(one.columns[n], again.columns[n]) for n in higgsml.COLUMNS)
    assert not np.array_equal(one.columns["PRI_met"], other.columns["PRI_met"])


def test_weights_are_the_expected_events():
    events = higgsml.generate(100, seed=1, expected=EXPECTED | {"ttbar": 7.0})
    yields = {p: events.of(p).weights.sum() for p in higgsml.PROCESSES}
    assert yields == pytest.approx(EXPECTED | {"ttbar": 7.0})
    assert len(np.unique(events.processes[:100])) == 4  # in random order


def test_events_are_as_in_the_files():
    events = higgsml.generate(2000, seed=1)
    c = events.columns
    one, two = (events.has_jet(jet) for jet in ("leading", "subleading"))
    assert np.array_equal(one, c["PRI_n_jets"] >= 1)
    assert np.array_equal(two, c["PRI_n_jets"] >= 2)
    assert (c["PRI_jet_leading_pt"][two] >= c["PRI_jet_subleading_pt"][two]).all()
    assert (c["PRI_jet_subleading_phi"][~two] == higgsml.MISSING).all()
    assert min(c["PRI_lep_pt"].min(), c["PRI_had_pt"].min()) >= 20
    assert not c["PRI_jet_all_pt"][~one].any()
    mass = {p: np.median(higgsml.derived(events.of(p))["DER_mass_vis"]) for p in EXPECTED}
    assert 50 < mass["ztautau"] < mass["htautau"] < 125
