"""A trained likelihood as columns of a processor, loaded once in each worker."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import ModelError, ParameterError, SampleError
from milinfer.features.feature_set import FeatureTable
from milinfer.learning import model_columns
from milinfer.learning.networks.configs import TrainingConfig
from random_networks import random_networks


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    samples = gaussian.samples(500, [-0.5, 0.0, 0.5], seed=1, n_features=2)
    settings = mil.BagLikelihood(
        head="multiclass", bag_size=1, training=TrainingConfig(epochs=1), seed=1
    )
    with random_networks():
        model = settings.fit(samples)
    model.save(folder)
    return folder, model


def table(sample):
    columns = {n: sample.column(n) for n in sample.feature_names}
    return FeatureTable(columns, kept=np.ones(len(sample), bool))


EVENTS = gaussian.generate(20, 0.0, seed=2, n_features=2)


def test_columns_are_what_the_model_says(saved):
    folder, model = saved
    columns = mil.ModelColumns(folder, points=[{"mu": 0.5}, {"mu": -0.25}], score_at=0.0)
    assert columns.names == ("llr:mu=0.5", "llr:mu=-0.25", "score:mu=0")
    found = columns(table(EVENTS))
    assert tuple(found) == columns.names
    llr = model.event_llr(EVENTS)
    assert found["llr:mu=0.5"] == pytest.approx(llr[:, 2], abs=1e-9)
    expected = model.interpolation.values_at(llr, [-0.25])[:, 0]
    assert found["llr:mu=-0.25"] == pytest.approx(expected, abs=1e-12)
    step = 1e-4
    near = model.interpolation.values_at(llr, [-step, step])
    assert found["score:mu=0"] == pytest.approx((near[:, 1] - near[:, 0]) / (2 * step), abs=1e-5)


def test_a_point_of_one_parameter_is_a_number(saved):
    """Regression: a TypeError of Python."""
    folder, _ = saved
    columns = mil.ModelColumns(folder, points=[0.5, -0.25])
    assert columns.points == ({"mu": 0.5}, {"mu": -0.25})
    assert columns.names == ("llr:mu=0.5", "llr:mu=-0.25")


def test_a_processor_carries_a_place_and_not_a_model(saved, monkeypatch):
    folder, _ = saved
    columns = mil.ModelColumns(folder, score_at=0.0)
    expected = columns(EVENTS)["score:mu=0"]
    travelled = pickle.dumps(columns)
    assert len(travelled) < 1000
    loads = []
    load = mil.BagLikelihood.load
    monkeypatch.setattr(mil.BagLikelihood, "load", lambda p: loads.append(p) or load(p))
    model_columns._load.cache_clear()
    for _ in range(3):  # three chunks
        found = pickle.loads(travelled)(EVENTS)["score:mu=0"]
        np.testing.assert_array_equal(found, expected)
    assert len(loads) == 1


def test_an_embedded_model_needs_no_file(saved, tmp_path):
    folder, _ = saved
    copy = shutil.copytree(folder, tmp_path / "model")
    columns = mil.ModelColumns(copy, score_at=0.0, embed=True)
    expected = columns(EVENTS)["score:mu=0"]
    travelled = pickle.dumps(columns)
    shutil.rmtree(copy)
    model_columns._load.cache_clear()
    np.testing.assert_array_equal(pickle.loads(travelled)(EVENTS)["score:mu=0"], expected)


def test_a_model_that_was_replaced_is_refused(saved, tmp_path):
    folder, _ = saved
    copy = shutil.copytree(folder, tmp_path / "model")
    columns = mil.ModelColumns(copy, score_at=0.0)
    text = (copy / "model.json").read_text()
    (copy / "model.json").write_text(text + " ")
    model_columns._load.cache_clear()
    with pytest.raises(ModelError, match="has changed since the columns"):
        columns(EVENTS)


def test_variations_shift_the_columns(saved):
    folder, model = saved
    columns = mil.ModelColumns(folder, points=[{"mu": 0.5}])
    moved = {n: EVENTS.column(n) + np.float32(0.1 * (n == "x0")) for n in EVENTS.feature_names}
    up = FeatureTable(moved, kept=np.ones(20, bool))
    found = columns.shifts(table(EVENTS), {"scale_up": up, "scale_same": table(EVENTS)})
    assert set(found) == {"llr:mu=0.5:scale_up", "llr:mu=0.5:scale_same"}
    assert np.all(found["llr:mu=0.5:scale_same"] == 0)
    expected = model.event_llr(mil.Sample.from_table(up))[:, 2] - model.event_llr(EVENTS)[:, 2]
    assert found["llr:mu=0.5:scale_up"] == pytest.approx(expected, abs=1e-9)
    fewer = FeatureTable(moved, kept=np.r_[np.ones(20, bool), False])
    with pytest.raises(ModelError, match="variation 'scale_up'"):
        columns.shifts(table(EVENTS), {"scale_up": fewer})


def test_bad_input_is_named(saved, tmp_path):
    folder, _ = saved
    with pytest.raises(ParameterError, match="no columns to compute"):
        mil.ModelColumns(folder)
    with pytest.raises(ParameterError, match="points= has c_HW=1"):
        mil.ModelColumns(folder, points=[{"c_HW": 1.0}])
    for wrong in ({"points": [{"mu": 3.0}]}, {"score_at": 3.0}):
        with pytest.raises(ParameterError, match="3"):
            mil.ModelColumns(folder, **wrong)
    with pytest.raises(ModelError, match=r"no model\.json"):
        mil.ModelColumns(tmp_path, score_at=0.0)
    with pytest.raises(SampleError, match="x1"):
        mil.ModelColumns(folder, score_at=0.0)(gaussian.generate(3, 0.0, seed=1))
