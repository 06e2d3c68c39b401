"""``milinfer publish``: the likelihood that ``milinfer fit`` minimises, for others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from saved_formats import FOLDER, events_of

MODEL = FOLDER / "polynomial"


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.parquet"
    events = events_of(mil.BagLikelihood.load(MODEL))
    mil.Sample(events.features, events.feature_names).to_file(path)
    return path


def test_the_folder_is_the_cost_of_the_model(data, tmp_path):
    model = mil.BagLikelihood.load(MODEL)
    out, figures = tmp_path / "published", tmp_path / "f.json"
    printed = call(
        *("publish", data, "--model", MODEL, "--out", out, "--title", "a test", "--json", figures)
    )
    assert "read_likelihood.py reads it" in printed
    assert "exact" in printed
    published = mil.load_published(out)
    assert published.title == "a test"
    cost = model.cost(mil.Sample.from_file(data, point={}).as_data())
    (low, high), *_ = published.likelihood.limits.values()
    for theta in np.linspace(low, high, 20).tolist():
        assert published(theta) == pytest.approx(cost(theta), abs=1e-8)
    facts = json.loads(figures.read_text())
    assert facts["parameters"] == [*model.parameters]
    assert facts["bound"] == 0
    assert facts["n_events"] == 7


def test_without_events(data, tmp_path):
    out = tmp_path / "published"
    printed = call(
        *("publish", data, "--model", MODEL, "--out", out, "--without-events", "--error", 1e-4)
    )
    assert "without events, within" in printed
    assert 0 < mil.load_published(out).content["bound"] <= 1e-4


def test_levels_without_a_calibration_are_refused(data, tmp_path):
    printed = call(
        *("publish", data, "--model", MODEL, "--out", tmp_path / "p", "--cl", 0.9), code=2
    )
    assert "--cl and --interval-of select constants of a calibration" in printed
    printed = call(
        *("publish", data, "--model", MODEL, "--out", tmp_path / "p", "--luminosity", 1), code=2
    )
    assert "(in 1/fb) together, or neither" in printed
