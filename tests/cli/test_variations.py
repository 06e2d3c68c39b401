"""`milinfer variations` and `milinfer response`: from Parquet files to a saved response."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import gaussian_systematics
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations

N, SHIFT = 6000, 0.3


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def files(tmp_path):
    x = np.random.default_rng(1).normal(size=N)
    event = np.arange(N)
    for name, side in (("nominal", 0), ("up", 1), ("down", -1)):
        columns = {"event": event, "x": x + SHIFT * side, "w": np.ones(N)}
        columns |= {"high": np.exp(0.1 * x), "low": np.exp(-0.1 * x)}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return tmp_path


def test_files_become_folders_and_folders_a_response(files):
    division = [
        *("variations", files / "nominal.parquet", "--out", files / "parts", "--weights", "w"),
        *("--varied", "shift=1", files / "up.parquet"),
        *("--varied", "shift=-1", files / "down.parquet"),
        *("--weight-variation", "theory=1", "high", "--weight-variation", "theory=-1", "low"),
        *("--feature", "x", "--process", "top", "--events-in-memory", 24_000),
    ]
    text = call(*division, "--json", files / "parts.json")
    assert "top: 4 variations by shift, theory, 18000 events in 4 folders" in " ".join(text.split())
    written = json.loads((files / "parts.json").read_text(encoding="utf-8"))
    assert written["n_events"] == 3 * N
    out, figures = files / "response", files / "response.json"
    training = ["--epochs", 8, "--batch-events", 256, "--events-in-memory", 24_000]
    text = call("response", *written["folders"], "--out", out, *training, "--json", figures)
    assert "largest deviation of a yield" in text
    response = mil.SystematicResponse.load(out)
    content = json.loads(figures.read_text(encoding="utf-8"))
    assert content["digest"] == response.digest
    assert content["terms"] == ["shift", "shift^2", "theory", "theory^2"]
    table = response.table(Sample(np.array([[-1.0], [1.0]]), ("x",)))
    log_response = table.log_response(response.terms.array({"shift": 1.0}))
    assert log_response == pytest.approx([-SHIFT - SHIFT**2 / 2, SHIFT - SHIFT**2 / 2], abs=0.12)
    again = call("response", *written["folders"], "--out", out, *training)
    assert mil.SystematicResponse.load(out).digest == response.digest, again


def test_wrong_options_are_named(files):
    start = ("variations", files / "nominal.parquet", "--out", files / "parts")
    up = files / "up.parquet"
    twice = call(*start, "--varied", "shift=1", up, "--varied", "shift=1", up, code=2)
    assert "--varied is given twice for shift=1" in twice
    assert "'shift' is not a parameter point" in call(*start, "--varied", "shift", up, code=2)
    text = " ".join(call(*start, "--varied", "shift=1", up, "--event", "number", code=2).split())
    assert "number" in text
    text = " ".join(call("response", files, "--out", files / "r", code=2).split())
    assert "has no variations.json" in text
    one = ("response", files, "--out", files / "r", "--theta-range", "mu", -0.5, 0.5)
    text = " ".join(call(*one, code=2).split())
    assert "--theta-range" in text
    assert "add --theta-dependent" in text
    two = ("--theta-dependent", "--theta-range", "mu", 0, 1)
    assert "--theta-range is given twice for mu" in " ".join(call(*one, *two, code=2).split())


def test_a_response_depends_on_a_parameter_in_a_range(tmp_path):
    nominal, varied = [], []
    for k, mu in enumerate((-1.0, 0.0, 0.5, 1.0)):
        nominal.append(gaussian_systematics.generate(100, mu=mu, seed=k))
        for side in (-1.0, 1.0):
            shift = {"shift": side}
            moved = gaussian_systematics.generate(100, mu=mu, nuisances=shift, seed=k)
            varied.append(Variation(shift, moved, np.arange(100)))
    ProcessVariations(SampleSet(tuple(nominal)), tuple(varied)).save(tmp_path / "parts")
    start = ("response", tmp_path / "parts", "--out", tmp_path / "r", "--theta-dependent")
    call(*start, "--epochs", 1, "--theta-range", "mu", -0.2, 0.7)
    response = mil.SystematicResponse.load(tmp_path / "r")
    assert response.theta_range == {"mu": (-0.2, 0.7)}
    # The points for which there are events within it.
    assert (response.terms.centre, response.terms.half) == (0.25, 0.25)
    text = " ".join(call(*start, "--theta-range", "nu", 0, 1, code=2).split())
    assert "nu; the parameters of signal are mu" in text
