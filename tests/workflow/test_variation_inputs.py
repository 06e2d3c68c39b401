"""Variations of the files of an analysis: scaled, weighted, in other files, and saved."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import gaussian_systematics, vbf_hww
from milinfer.exceptions import ConfigurationError
from milinfer.io import lhe
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.inputs import AnalysisInputs
from milinfer.workflow.variation_inputs import VariationInputs

FLAT = """
[samples]
features = ["x0"]
[[samples.train]]
path = "folder/nominal_0.parquet"
[[samples.train]]
path = "other.parquet"
[data]
path = "data.parquet"
[templates]
observable = "x0"
degree = 1
"""
SAVED = '[[systematics]]\nname = "shift"\nkind = "saved"\n'
FILES = """
[[systematics]]
name = "shower"
kind = "files"
files = [{ of = "other.parquet", up = "up.parquet", down = "down.parquet" }]
"""


def inputs(folder, text):
    (folder / "analysis.toml").write_text(text, encoding="utf-8")
    config = AnalysisConfig.from_file(folder / "analysis.toml")
    nominal = AnalysisInputs(config, lambda _: None)
    return nominal, VariationInputs(config, nominal)


def read(nominal, varied):
    for source in nominal.unique():
        nominal.make_features(source)
    return [varied.make(v) for v in varied.sources], varied.split()


@pytest.fixture
def flat(tmp_path):
    sample = gaussian_systematics.generate(400, mu=0.0, seed=1)
    moved = [gaussian_systematics.generate(400, nuisances={"shift": s}, seed=1) for s in (-1, 1)]
    ProcessVariations(
        SampleSet((sample,)),
        [Variation({"shift": s}, m, np.arange(400)) for s, m in zip((-1, 1), moved, strict=True)],
    ).save(tmp_path / "folder")
    for name, seed in (("other", 2), ("up", 3), ("down", 4)):
        made = gaussian_systematics.generate(400, mu=1.0, seed=seed)
        made.to_file(tmp_path / f"{name}.parquet")
    gaussian_systematics.generate(50, seed=5).to_file(tmp_path / "data.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ('folders = "folder"', "there is only one folder, .*; give two or more"),
        ('folders = ["folder", "absent"]', r"no file 'absent/variations\.json'"),
        ('folders = "f*"\nevents_in_memory = 100', "events_in_memory=100 is too small"),
        (
            "events_in_memory = 100",
            "events_in_memory is only for events that are read in pieces; give",
        ),
        ('folders = "f*"\n' + SAVED.replace("shift", "other"), "folders lacks other, shift"),
    ],
)
def test_folders_that_do_not_fit_are_named(flat, response, words):
    sample = gaussian_systematics.generate(300, mu=0.0, seed=7)
    moved = [gaussian_systematics.generate(300, nuisances={"shift": s}, seed=7) for s in (-1, 1)]
    ProcessVariations(
        SampleSet((sample,)),
        [Variation({"shift": s}, m, np.arange(300)) for s, m in zip((-1, 1), moved, strict=True)],
    ).save(flat / "fourth")
    saved = "" if "systematics" in response else SAVED
    with pytest.raises(ConfigurationError, match=words):
        inputs(flat, FLAT + "[response]\n" + response + "\n" + saved)


def test_varied_events_go_where_their_nominal_ones_go(flat):
    text = FLAT.replace('[[samples.train]]\npath = "other.parquet"\n', "")
    text = text.replace('path = "data.parquet"', 'path = "data.parquet"\n[toys]\nweight_degree = 2')
    text += '[[model]]\nhead = "polynomial"\nlabels = "joint"\n' + SAVED
    nominal, varied = inputs(flat, text)
    (line,), parts = read(nominal, varied)
    assert line == "400 events; yields over the nominal one at shift=-1: 1.000, shift=1: 1.000"
    expected = nominal.split()
    for part in ("train", "held_out", "evaluate"):
        process, samples = getattr(parts, part), getattr(expected, part)
        (one,) = process.nominal
        np.testing.assert_array_equal(np.sort(one.column("x0")), np.sort(samples[0].column("x0")))
        for variation in process.variations:
            shift = 0.3 * variation.nuisances["shift"]
            partners = one.features[variation.partners]
            np.testing.assert_allclose(variation.sample.features, partners + shift, atol=1e-5)


def test_files_of_other_events_are_split_in_the_same_shares(flat):
    text = FLAT.replace("folder/nominal_0", "up")
    text = text.replace('"up.parquet"', '"folder/nominal_0.parquet"') + FILES
    nominal, varied = inputs(flat, text)
    assert [v.source.path.name for v in varied.sources] == ["other.parquet"]
    _, parts = read(nominal, varied)
    sizes = [len(v.sample) for v in parts.train.variations]
    assert sizes == [round(400 * 0.6 * 0.8)] * 2
    assert all(v.partners is None for v in parts.train.variations)
    assert parts.evaluate is not None
    assert [len(v.sample) for v in parts.evaluate.variations] == [80, 80]
    assert [v.sample.point for v in parts.train.variations] == [{"mu": 1.0}] * 2


def test_momenta_are_scaled_and_weights_are_taken_from_a_file_of_events(tmp_path):
    events = vbf_hww.generate(300, {"c_HW": 0.0}, seed=1).to_events(vbf_hww.DEFAULT_WEIGHTS)
    lhe.write(tmp_path / "sm.lhe.gz", *events)
    lhe.write(tmp_path / "data.lhe.gz", *vbf_hww.generate(40, seed=2).to_events(()))
    up, down = (weight.id for weight in events[1].weights[:2])
    text = f"""
[samples]
features = "vbf_2l2j"
[[samples.train]]
path = "sm.lhe.gz"
[data]
path = "data.lhe.gz"
[[model]]
head = "polynomial"
labels = "joint"
[toys]
weight_degree = 4
[[systematics]]
name = "jes"
kind = "scale"
up = 1.1
down = 0.9
[[systematics]]
name = "theory"
kind = "weight"
up = "{up}"
down = "{down}"
"""
    nominal, varied = inputs(tmp_path, text)
    _, parts = read(nominal, varied)
    by_shift = {
        (name, value): v for v in parts.train.variations for name, value in v.nuisances.items()
    }
    assert set(by_shift) == {(n, s) for n in ("jes", "theory") for s in (-1.0, 1.0)}
    (one,) = parts.train.nominal
    scaled = by_shift["jes", 1.0]
    np.testing.assert_allclose(
        scaled.sample.column("m_qq"), 1.1 * one.column("m_qq")[scaled.partners], rtol=1e-4
    )
    assert by_shift["theory", -1.0].weights_only


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FLAT + SAVED, "other.parquet has no variations.json in the same folder"),
        (FLAT + FILES.replace("up.parquet", "missing.parquet"), "no file 'missing.parquet'"),
        (
            FLAT + FILES.replace('of = "other', 'of = "data'),
            "systematics[1]: shower: 'data.parquet' is not one of the files of samples.train",
        ),
    ],
)
def test_what_is_missing_is_named_before_anything_runs(flat, text, words):
    with pytest.raises(ConfigurationError) as error:
        inputs(flat, text)
    assert words in str(error.value)
