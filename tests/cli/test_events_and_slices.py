"""Events of files, slices of a point and invisible particles on the command line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from lhe_text import PARTICLES, document, event
from milinfer import cli as cli_module
from milinfer.datasets import vbf_hww
from milinfer.io import events as event_files
from milinfer.samples.sample import Sample

TRAIN = ("--epochs", 1, "--head", "polynomial", "--order", 1)


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli_module.cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Samples of 600 events at five points, and two slices of each."""
    folder = tmp_path_factory.mktemp("samples")
    for k, c in enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)):
        path = folder / f"{k}.lhe"
        event_files.write(path, *vbf_hww.generate(600, {"c_HW": c}, seed=k).to_events(()))
        one = dataclasses.replace(
            Sample.from_file(path), cross_section=2.0 + c, cross_section_error=0.01
        )
        one.to_file(folder / f"{k}.parquet")
        for name, part in (("low", slice(0, 450)), ("high", slice(450, 600))):
            share = (part.stop - part.start) / 600
            dataclasses.replace(
                one.take(part),
                cross_section=share * one.cross_section,
                provenance={"files": [f"{k}-{name}.parquet"]},
            ).to_file(folder / f"{k}-{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    call("train", *(folder / f"{k}.parquet" for k in range(5)), "--out", folder / "model", *TRAIN)
    return folder / "model"


@pytest.mark.parametrize(("text", "expected"), [("20", slice(0, 20)), ("20:50", slice(20, 50))])
def test_features_of_some_events(folder, tmp_path, text, expected):
    out = tmp_path / "f.parquet"
    call("features", folder / "0.lhe", "--out", out, "--events", text)
    whole = Sample.from_file(folder / "0.lhe")
    np.testing.assert_array_equal(Sample.from_file(out).features, whole.features[expected])


def test_events_that_are_not_there(folder, tmp_path):
    out = tmp_path / "f.parquet"
    text = call("features", folder / "0.lhe", "--out", out, "--events", 601, code=2)
    assert "0.lhe has 600 events, but --events asks for events up to 601" in text
    text = call("features", folder / "0.lhe", "--out", out, "--events", "5:x", code=2)
    assert "--events='5:x': give the number N" in text
    assert not out.exists()


def rate_of(folder, *names):
    return [part for name in names for part in ("--rate", folder / f"{name}.parquet")]


def test_fit_of_some_events(folder, model, tmp_path):
    figures = tmp_path / "fit.json"
    rate = rate_of(folder, *range(5))
    call(
        *("fit", folder / "2.parquet", "--model", model, *rate, "--luminosity", 0.2),
        *("--events", "100:500", "--json", figures),
    )
    assert json.loads(figures.read_text())["n_events"] == 400


def test_training_on_some_events_and_on_slices(folder, tmp_path):
    figures = tmp_path / "train.json"
    files = [folder / f"{k}.parquet" for k in range(4)]
    call("train", *files, "--out", tmp_path / "a", *TRAIN, "--events", 200, "--json", figures)
    assert json.loads(figures.read_text())["n_events"] == 4 * 200
    slices = [*files, folder / "4-low.parquet", folder / "4-high.parquet"]
    text = call("train", *slices, "--out", tmp_path / "b", *TRAIN, code=2)
    assert "4-high.parquet: 0.75 ± 0.01 pb; 4-low.parquet: 2.25 ± 0.01 pb" in text
    assert "--combine='sum'" in text
    call("train", *slices, "--out", tmp_path / "b", *TRAIN, "--combine", "sum", "--json", figures)
    assert json.loads(figures.read_text())["n_events"] == 5 * 600
    text = call(
        *("train", *files, "--out", tmp_path / "c", *TRAIN),
        *("--events", 5, "--events-in-memory", 10_000),
        code=2,
    )
    assert "omit --events and --combine" in text


def test_the_rate_of_slices(folder, model, tmp_path):
    options = ("fit", folder / "2.parquet", "--model", model, "--luminosity", 0.3)
    whole = rate_of(folder, *range(5))
    slices = rate_of(folder, *(f"{k}-{name}" for k in range(5) for name in ("low", "high")))
    call(*options, *slices, code=2)
    text = call(*options[:4], "--combine", "sum", code=2)
    assert "--combine joins the files of --rate, but there are no such files" in text
    results = []
    for rate in (whole, [*slices, "--combine", "sum"]):
        call(*options, *rate, "--json", tmp_path / "fit.json")
        content = json.loads((tmp_path / "fit.json").read_text())
        results.append(next(v for v in content.values() if isinstance(v, dict))["estimate"])
    assert results[1] == pytest.approx(results[0], abs=2e-3)


def test_particles_that_a_user_names(tmp_path):
    path, out = tmp_path / "a.lhe", tmp_path / "f.parquet"
    quarks = ("1 1 1 2 0 0 100 0 50 111.80339887 0 0 9", "2 1 1 2 0 0 -90 0 50 102.9563 0 0 9")
    unknown = "9000005 1 1 2 0 0 -10 0 0 10 0 0 9"
    path.write_text(document(event(particles=(*PARTICLES, *quarks, unknown))))
    options = ("features", path, "--out", out, "--point", "c_HW=0")
    text = call(*options, code=2)
    assert "event 0 of" in text
    assert "PDG id 9000005" in text
    assert "--invisible={9000005}" in text
    for option, met in (("--invisible", 10.0), ("--visible", 0.0)):
        call(*options, option, 9000005)
        column = Sample.from_file(out).column("met_et")
        np.testing.assert_allclose(column, [met], atol=1e-5)
