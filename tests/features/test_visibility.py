"""Which particles escape a detector."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import milinfer as mil
from lhe_text import document, event
from milinfer.exceptions import FeatureError
from milinfer.features.feature_set import FeatureSet
from milinfer.features.objects import Collection
from milinfer.features.visibility import INVISIBLE, UNKNOWN, VISIBLE, classify, visibility
from milinfer.io import events as event_files
from milinfer.samples.run_features import run_features
from milinfer.samples.sample import Sample

MONOJET = FeatureSet(
    "monojet",
    {"met": lambda o: o.met.pt},
    (Collection("jets", "j", 1, frozenset({1, 2, 3, 4, 5, 21})),),
)


def monojet(pdg_id):
    """A jet of (80, 90) GeV against two particles."""
    return document(
        event(
            particles=(
                "1 -1 0 0 501 0 0 0 600 600 0 0 9",
                "-1 -1 0 0 0 502 0 0 -500 500 0 0 9",
                f"{pdg_id} 1 1 2 0 0 -60 -80 50 150 0 0 9",
                f"{-pdg_id} 1 1 2 0 0 -20 -10 30 110 0 0 9",
                "21 1 1 2 501 502 80 90 20 122.06555615733702 0 0 9",
            )
        )
    )


def read(folder, pdg_id, features=MONOJET, **options):
    path = folder / "a.lhe"
    path.write_text(monojet(pdg_id))
    return float(Sample.from_file(path, point={}, features=features, **options).features[0, 0])


NEUTRAL = (12, 14, 16, 18, 39, 51, 52, 53, 1000022, 1000023, 1000012, 1000014, 1000016, 2000012)
OTHERS = (1000039, 5000039, 9900012, 9900014, 9900016, 5000012)


@pytest.mark.parametrize("pdg_id", NEUTRAL + OTHERS)
def test_invisible_particles_are_missing_momentum(tmp_path, pdg_id):
    """Regression: all but neutrinos were visible, and the missing momentum 0."""
    assert classify(pdg_id) == classify(-pdg_id) == INVISIBLE
    assert read(tmp_path, pdg_id) == pytest.approx(math.hypot(80, 90))


@pytest.mark.parametrize(
    "pdg_id",
    [
        *(11, 13, 15, 17),  # leptons
        *(1, 5, 6, 21),  # quarks and gluons
        *(22, 23, 24, 25, 32, 34, 35, 36, 37),  # gauge and Higgs bosons
        *(111, 211, 130, 310, 521, 443, 2112, 2212, 3122, 1000010020),  # hadrons and nuclei
        1103,  # diquarks
        *(1000011, 1000015, 1000024, 1000021, 1000006),  # superpartners with charge or colour
        1009213,  # R-hadrons
    ],
)
def test_visible_particles(tmp_path, pdg_id):
    assert classify(pdg_id) == classify(-pdg_id) == VISIBLE
    if pdg_id not in (1, 5, 21):
        assert read(tmp_path, pdg_id) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("pdg_id", [54, 55, 9000005, 72, 4000012, 4900101, 4900111, 6000005, 81, 0])
def test_unknown_particles_are_named_with_the_remedy(tmp_path, pdg_id):
    assert classify(pdg_id) == UNKNOWN
    with pytest.raises(FeatureError) as error:
        read(tmp_path, pdg_id)
    assert f"event 0 of {tmp_path / 'a.lhe'} has a final-state particle with the PDG id " in str(
        error.value
    )
    assert f"invisible={{{pdg_id}}}" in str(error.value)
    assert f"visible={{{pdg_id}}}" in str(error.value)
    met = math.hypot(80, 90)
    assert read(tmp_path, pdg_id, invisible=[-pdg_id]) == pytest.approx(met)
    assert read(tmp_path, pdg_id, visible=[pdg_id]) == pytest.approx(0.0, abs=1e-9)
    own = FeatureSet("own", MONOJET.columns, MONOJET.collections, invisible=frozenset({pdg_id}))
    assert read(tmp_path, pdg_id, own) == pytest.approx(met)


def test_a_user_overrules_the_numbering(tmp_path):
    """A long-lived neutralino that decays in the detector, and a photon that is lost."""
    assert read(tmp_path, 1000022, visible=[1000022]) == pytest.approx(0.0, abs=1e-9)
    assert read(tmp_path, 22, invisible=[22]) == pytest.approx(math.hypot(80, 90))
    with pytest.raises(FeatureError, match=r"\[22\] are both visible and invisible"):
        FeatureSet("own", MONOJET.columns, invisible=frozenset({22}), visible=frozenset({-22}))
    with pytest.raises(FeatureError, match="give PDG ids"):
        MONOJET.with_visibility(invisible=["nu"])
    both = MONOJET.with_visibility(invisible=[22]).with_visibility(visible=[22])
    assert (both.invisible, both.visible) == (frozenset(), frozenset({22}))


def test_the_event_is_that_of_the_file(tmp_path):
    path = tmp_path / "a.lhe"
    good, bad = monojet(12), monojet(9000005)
    events = [t[t.index("<event>") : t.index("</LesHouches")] for t in (good, good, bad)]
    path.write_text(document(*events))
    for options in ({}, {"chunk_size": 1}, {"workers": 2, "chunk_size": 1}):
        with pytest.raises(FeatureError, match="event 2 of"):
            Sample.from_file(path, point={}, features=MONOJET, **options)
    event_files.write(tmp_path / "a.root", *event_files.read(path))
    with pytest.raises(FeatureError, match=r"event 2 of .*a\.root"):
        run_features({"x": {"files": [tmp_path / "a.root"], "metadata": {"point": {}}}})
    record = event_files.read(path).events
    jets = record.LHEPart[record.LHEPart.pdgId == 21]
    with pytest.raises(FeatureError, match="event 2 of the events"):
        MONOJET(jets, record)
    named = MONOJET.with_visibility(invisible=[9000005])
    met = named(jets, record).array[:, 0]
    np.testing.assert_allclose(met, math.hypot(80, 90), rtol=1e-6)


def test_kinds_are_looked_up_once(monkeypatch):
    asked = []

    def count(number):
        asked.append(number)
        return classify(number)

    monkeypatch.setattr("milinfer.features.visibility.classify", count)
    ids = np.tile(np.array([11, 12, 9_900_012, 1_000_022, 5122, 9999, 10_000, 10_001]), 1000)
    first = visibility(ids)
    n_asked = len(asked)
    np.testing.assert_array_equal(first, visibility(ids))
    assert n_asked <= 8
    assert len(asked) - n_asked <= 5  # only ids too large for the table
    np.testing.assert_array_equal(first[:8], [classify(int(i)) for i in ids[:8]])


def test_the_tables_of_particles_are_not_imported_with_milinfer():
    code = "import sys, milinfer, milinfer.samples.sample; sys.exit('particle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sets_with_named_particles_can_be_pickled():
    own = mil.feature_set("vbf_2l2j").with_visibility(invisible=[52], visible=[54])
    copy = pickle.loads(pickle.dumps(own))
    assert (copy.invisible, copy.visible) == (own.invisible, own.visible)
    assert own.select(["m_ll"]).invisible == own.with_columns(x=lambda o: o.l0.pt).invisible
