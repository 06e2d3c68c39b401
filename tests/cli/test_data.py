"""Files without milinfer's own block: points of weights, and features without a point."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from lhe_text import document, event
from madgraph import madgraph_file
from milinfer import cli as cli_module
from milinfer.datasets import vbf_hww
from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.reweighting import reweight_polynomial
from milinfer.samples.sample import Sample, read_data
from milinfer.utils.polynomials import PolynomialBasis


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli_module.cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return madgraph_file(tmp_path_factory.mktemp("madgraph") / "events.lhe.gz", 60, seed=1)


def test_inspect_shows_points_of_weights(source, tmp_path):
    facts = tmp_path / "facts.json"
    call("inspect", source, "--json", facts)
    content = json.loads(facts.read_text())
    assert content["point"] == "not given"
    assert content["weights change"] == "SMEFT 7 (chw) = 0, SMEFT 8 (chb) = 0"
    call(
        *("inspect", source, "--parameter", "c_HW=SMEFT 7", "--parameter", "cHB"),
        *("--json", facts),
    )
    content = json.loads(facts.read_text())
    assert content["point"] == "c_HW=0,cHB=0"
    assert content["weight rwgt_6"] == "c_HW=1,cHB=1"
    call("inspect", source, "--parameter", "c_HW=SMEFT 7", "--json", facts)
    content = json.loads(facts.read_text())
    assert content["no point: it changes others"] == "rwgt_4, rwgt_5, rwgt_6"


def test_features_keep_the_points_of_weights(source, tmp_path):
    out = tmp_path / "features.parquet"
    text = call(
        *("features", source, "--out", out, "--keep-weights"),
        *("--parameter", "c_HW=SMEFT 7", "--parameter", "c_HB=SMEFT 8"),
    )
    assert "weights at 6 points of c_HW, c_HB" in text
    sample = Sample.from_file(out)
    assert sample.point == {"c_HW": 0.0, "c_HB": 0.0}
    assert sample.reweight_points["rwgt_6"] == {"c_HW": 1.0, "c_HB": 1.0}


def test_convert_says_what_it_leaves_out(tmp_path):
    # POWHEG writes its settings into a comment before <init>.
    source, facts = tmp_path / "a.lhe", tmp_path / "facts.json"
    text = document(event(after="#rwgt 1 1 9.8\n"), before_init="<!--\n numevts 10\n-->\n")
    source.write_text(text)
    out = call("convert", source, "--out", tmp_path / "a.root", "--json", facts)
    assert "not converted: comments before <init>, lines #rwgt" in out
    assert json.loads(facts.read_text())["left_out"] == ["comments before <init>", "lines #rwgt"]
    assert "not converted" not in call("convert", tmp_path / "a.root", "--out", tmp_path / "b.lhe")


def test_features_need_no_point(source, tmp_path):
    """They ended with an error; training, which needs a point, asks for it."""
    out = tmp_path / "features.parquet"
    assert "the file records no parameter point" in call("features", source, "--out", out)
    assert "│ point │ not given" in call("inspect", out)
    with pytest.raises(ParameterError, match=r"features\.parquet does not say at which parameter"):
        Sample.from_file(out)
    assert Sample.from_file(out, point={"c_HW": 0.0}).point == {"c_HW": 0.0}
    assert read_data(out).point == {}
    assert Sample.from_file(out, point={}).point == {}
    text = call("train", out, "--out", tmp_path / "model", code=2)
    assert "does not say at which parameter point" in text
    # a second file made from it says no more than the first
    read_data(out).to_file(tmp_path / "again.root")
    with pytest.raises(ParameterError, match="does not say at which parameter point"):
        Sample.from_file(tmp_path / "again.root")


def test_weights_without_a_point_are_named_with_the_remedy(source, tmp_path):
    """Labels from weights whose points nobody knows: the message listed none of them."""
    arguments = ("train", "--head", "polynomial", "--labels", "joint", "--order", 1)
    text = call(*arguments, f"cX=0:{source}", "--out", tmp_path / "model", code=2)
    assert "3 weights have no point (it also changes SMEFT 7 (chw)): rwgt_2, rwgt_3, rwgt_6" in text
    sample = Sample.from_file(source, point={"cX": 0.0})
    with pytest.raises(SampleError) as error:
        reweight_polynomial(sample, PolynomialBasis(("cX",), 2))
    text = str(error.value)
    assert "weights at 1 values of cX, but a polynomial of degree 2 needs 3" in text
    assert (
        "5 weights have no parameter point; 'rwgt_2', 'rwgt_3', 'rwgt_6': it also changes" in text
    )
    assert "--parameter" in text
    assert "reweight_points=" in text


def test_points_of_weights_by_option(source, tmp_path):
    out = tmp_path / "features.parquet"
    call(
        *("features", source, "--out", out, "--keep-weights", "--point", "cX=0"),
        *("--reweight-point", "rwgt_2:cX=1", "--reweight-point", "rwgt_3:cX=-1"),
    )
    sample = Sample.from_file(out)
    assert sample.reweight_points["rwgt_3"] == {"cX": -1.0}
    card = tmp_path / "reweight_card.dat"
    card.write_text("".join(f"launch\n set smeft 7 {v}\n" for v in (0, 1, -1)))
    text = call(
        *("features", source, "--out", out, "--keep-weights", "--parameter", "c=SMEFT 7"),
        *("--reweight-card", card),
    )
    assert "weights at 3 points of c" in text
    np.testing.assert_array_equal(sample.weights, Sample.from_file(out).weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parameter", "=SMEFT 7"), "'=SMEFT 7' is not a name"),
        (("--reweight-point", "rwgt_2"), "is not an id and a point"),
        (("--parameter", "c_HW=SMEFT 9"), "the block has SMEFT 5 (chdd)"),
    ],
)
def test_wrong_options(source, tmp_path, options, message):
    text = call("features", source, "--out", tmp_path / "f.parquet", *options, code=2)
    assert message in text


def test_two_operators_from_lhe_to_a_contour(source, tmp_path):
    """A file that MadGraph has reweighted, without a line of Python."""
    places = ("--parameter", "c_HW=SMEFT 7", "--parameter", "c_HB=SMEFT 8")
    model, figure, figures = tmp_path / "model", tmp_path / "contour.svg", tmp_path / "fit.json"
    simulation = madgraph_file(tmp_path / "simulation.lhe.gz", 4000, seed=2)
    text = call(
        *("train", simulation, "--out", model, *places, "--head", "polynomial"),
        *("--labels", "joint", "--order", 1, "--epochs", 5, "--batch-events", 250),
    )
    assert "weights at 6 points of c_HW, c_HB" in text
    data = madgraph_file(tmp_path / "data.lhe", 1000, seed=3)
    text = call("fit", data, "--model", model, "--out", figure, "--json", figures)
    content = json.loads(figures.read_text())
    assert content["n_events"] == 1000
    assert figure.read_text().startswith("<?xml")
    for name in ("c_HW", "c_HB"):
        assert name in text


def test_the_command_line_takes_a_point_for_each_operator(tmp_path):
    path, figures = tmp_path / "a.lhe.gz", tmp_path / "a.json"
    text = call(
        *("generate", "--events", 50, "--out", path, "--json", figures, "--seed", 5),
        *("--point", "c_HWtil=-0.3", "--point", "c_HW=0.5"),
    )
    assert "at c_HW=0.5,c_HWtil=-0.3" in text
    assert json.loads(figures.read_text("utf-8"))["point"] == {"c_HW": 0.5, "c_HWtil": -0.3}
    read = Sample.from_file(path, features="vbf_2l2j")
    assert read.point == {"c_HW": 0.5, "c_HWtil": -0.3}
    assert len(read.reweight_points) == 15
    events = vbf_hww.generate(50, {"c_HW": 0.5, "c_HWtil": -0.3}, seed=5)
    polynomial = reweight_polynomial(read, events.basis)
    np.testing.assert_allclose(
        polynomial / polynomial[:, :1], events.coefficients, rtol=1e-6, atol=1e-9
    )
    twice = call(
        *("generate", "--events", 5, "--out", path, "--point", "c_HW=0", "--point", "c_HW=1"),
        code=2,
    )
    assert "twice" in twice
