"""What `milinfer inspect` says of every kind of file."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

import milinfer as mil
import varied_gaussian
from histogram_files import write_histograms
from milinfer.datasets import gaussian, vbf_hww
from milinfer.exceptions import ConfigurationError, MilinferError, ModelError, SampleError
from milinfer.io import events as event_files
from milinfer.workflow.configuration import init_analysis
from milinfer.workflow.inspection import inspect_file
from nanoaod_files import TITLES, nano_branches, write_nano


def nano(path, **more):
    pt = ak.Array([[30.0, 20.0], [], [50.0]])
    columns = {"Jet": ak.zip({"pt": pt, "eta": pt / 10}), "MET_pt": np.ones(3), **more}
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {k: ak.type(v).content for k, v in columns.items()})
        tree.extend(columns)
    return path


def test_reconstructed_events_of_others(tmp_path):
    facts = inspect_file(nano(tmp_path / "data.root"))
    assert facts["kind"] == "events of reconstructed objects (NanoAOD)"
    assert (facts["events"], facts["collections"], facts["missing momentum"]) == (3, "Jet", "MET")
    assert facts["generator weights"] == "none"
    simulated = inspect_file(nano(tmp_path / "mc.root", genWeight=np.ones(3)))
    assert simulated["generator weights"] == "genWeight"


def test_nanoaod_in_parquet_is_described_as_in_root(tmp_path):
    """Regression: an error that listed all branches."""
    scales = ak.Array([[1.0, 0.5], [1.0, 2.0], [1.0, 1.5]])
    numbers = {name: np.arange(3) for name in ("run", "event", "genWeight")}
    root = nano(tmp_path / "a.root", LHEScaleWeight=scales, **numbers)
    with uproot.open(root) as file:
        arrays = file["Events"].arrays()
    for name, n in (("a.parquet", 3), ("none.parquet", 0)):
        table = {field: ak.to_arrow(arrays[field][:n]) for field in arrays.fields}
        pq.write_table(pa.table(table), tmp_path / name)
    facts = inspect_file(tmp_path / "a.parquet")
    assert (facts["events"], facts["collections"]) == (3, "Jet")
    assert facts["weights"].startswith("2 in LHEScaleWeight")
    assert facts == inspect_file(root)
    empty = inspect_file(tmp_path / "none.parquet")
    assert (empty["events"], empty["collections"], empty["weights"]) == (0, "Jet", "none")


def test_features_with_names_as_in_nanoaod_are_features(tmp_path):
    columns = {"nJet": np.array([1.0, 2.0]), "Jet_pt": np.array([30.0, 40.0])}
    sample = mil.Sample.from_arrays(columns, point={"c_HW": 0.5}, process="signal")
    sample.to_file(tmp_path / "a.parquet")
    facts = inspect_file(tmp_path / "a.parquet")
    assert (facts["kind"], facts["features"]) == ("features", "nJet, Jet_pt")


@pytest.mark.parametrize("name", ["a.lhe", "a.lhe.gz", "a.root", "a.parquet"])
def test_events(tmp_path, name):
    made = vbf_hww.generate(30, {"c_HW": 0.5}, seed=1)
    event_files.write(tmp_path / name, *made.to_events())
    facts = inspect_file(tmp_path / name)
    assert (facts["kind"], facts["events"], facts["point"]) == ("events", 30, "c_HW=0.5")
    assert facts["beams"] == "2212 at 6500 GeV, 2212 at 6500 GeV"
    assert "not given" not in facts.values()


@pytest.mark.parametrize("name", ["a.lhe", "a.root", "a.parquet"])
def test_couplings_that_are_nan_are_counted(tmp_path, name):
    record, info = vbf_hww.generate(30, {"c_HW": 0.5}, seed=1).to_events()
    coupling = np.where(np.arange(30) < 4, np.nan, 0.118)
    record = ak.with_field(record, coupling, "LHE_alphaQCD")
    event_files.write(tmp_path / name, record, info)
    facts = inspect_file(tmp_path / name)
    assert {k: v for k, v in facts.items() if "NaN" in k} == {"events where LHE_alphaQCD is NaN": 4}


def test_what_a_file_does_not_say_is_not_given(tmp_path):
    """Regression: beams and cross-section of NanoAOD were 2212 at 6500 GeV, and 0 ± 0 pb."""
    record, _ = vbf_hww.generate(30, {"c_HW": 0.5}, seed=1).to_events()
    with uproot.recreate(tmp_path / "a.root") as file:
        parts = record.LHEPart
        names = ("pt", "eta", "phi", "mass", "pdgId", "status")
        incoming = parts.status == -1
        columns = {n: getattr(parts, n) for n in names}
        columns["eta"] = ak.where(incoming, 0.0, columns["eta"])
        columns["incomingpz"] = ak.where(incoming, parts.pz, 0.0)
        zipped = ak.zip(columns)
        tree = file.mktree("Events", {"LHEPart": zipped.type.content, "genWeight": "f4"})
        tree.extend({"LHEPart": zipped, "genWeight": np.ones(30, np.float32)})
    facts = inspect_file(tmp_path / "a.root")
    assert facts["events"] == 30
    assert facts["beams"] == facts["cross_section_pb"] == facts["point"] == "not given"
    # Of generated particles alone: nothing for features of reconstructed objects.
    assert "collections" not in facts


@pytest.mark.parametrize("options", [{}, {"lhe": False}, {"status": False}])
def test_weights_that_share_a_branch_are_counted_and_described(tmp_path, options):
    """Regression: the file had "weights none"."""
    branches = nano_branches(reco=True, **options)
    facts = inspect_file(write_nano(tmp_path / "nano.root", branches))
    assert facts["weights"] == (
        "5 in LHEReweightingWeight ([0] c_HW=-1, [1] c_HW=-0.5, [2] c_HW=0, [3] c_HW=0.5, "
        f"[4] c_HW=1), 2 in LHEPdfWeight ({TITLES['LHEPdfWeight']})"
    )
    facts = inspect_file(write_nano(tmp_path / "bare.root", branches, titles={}))
    assert facts["weights"] == (
        "5 in LHEReweightingWeight (other parameter points), 2 in LHEPdfWeight (members of a PDF "
        "set)"
    )


def test_weights_of_a_sample_that_share_a_branch(tmp_path):
    path = write_nano(tmp_path / "nano.root", nano_branches())
    mil.Sample.from_file(path, point={"c_HW": 0.0}).to_file(tmp_path / "a.parquet")
    facts = inspect_file(tmp_path / "a.parquet")
    assert "5 in LHEReweightingWeight" in str(facts["weights_at_other_points"])


def test_a_tree_of_another_name(tmp_path):
    path = write_nano(tmp_path / "nano.root", nano_branches(), tree="Skim")
    with uproot.update(path) as file:
        file["Other"] = {"x": np.ones(3)}
    with pytest.raises(SampleError, match="Skim, Other"):
        inspect_file(path)
    assert inspect_file(path, tree="Skim")["events"] == 30


def test_no_events(tmp_path):
    branches = {k: v[:0] for k, v in nano_branches(reco=True, status=False).items()}
    facts = inspect_file(write_nano(tmp_path / "nano.root", branches))
    assert (facts["events"], facts["weights"]) == (0, "none")


@pytest.mark.parametrize("name", ["report.html", "scan.SVG", "scan.pdf", "scan.png"])
def test_pictures_are_not_inspected(tmp_path, name):
    (tmp_path / name).write_text("<html>")
    with pytest.raises(SampleError, match=r"is a figure or a report.*summary\.json"):
        inspect_file(tmp_path / name)


def test_xml_of_histfactory_is_sent_to_pyhf(tmp_path):
    # the first lines of the example of ROOT's hist2workspace
    (tmp_path / "example.xml").write_text(
        '<!DOCTYPE Combination  SYSTEM "HistFactorySchema.dtd">\n'
        '<Combination OutputFilePrefix="./results/example">\n'
        "  <Input>./config/example_channel.xml</Input>\n</Combination>\n"
    )
    with pytest.raises(SampleError, match="pyhf xml2json"):
        inspect_file(tmp_path / "example.xml")


def test_facts_are_printed_in_words():
    from milinfer.cli.data import _text

    assert _text([[-0.30000000000000004], [0.0]]) == "-0.3, 0"
    assert _text(((-1.0, 1.0), (-2.0, 2.5))) == "[-1, 1], [-2, 2.5]"
    assert (_text([3, 4]), _text(0.5), _text("none")) == ("3, 4", "0.5", "none")


def test_models(tmp_path):
    samples = gaussian.samples(600, [-0.5, 0.5], seed=1)
    boosted = mil.BoostedLikelihood(reference=-0.5).fit(samples)
    boosted.save(tmp_path / "trees")
    facts = inspect_file(tmp_path / "trees")
    assert facts["kind"] == "model (xgboost)"
    assert (facts["parameters"], facts["training_events"]) == ("mu", 1200)
    ratio = mil.BackgroundRatio(mil.BoostedLikelihood(), seed=1).fit(*samples)
    ratio.save(tmp_path / "ratio")
    facts = inspect_file(tmp_path / "ratio")
    assert facts["kind"].startswith("density ratio of a background")
    assert f"{ratio.fitted.slope:.4f}" in facts["slope"]


def test_responses(tmp_path):
    process = varied_gaussian.variations(800, seed=1)
    response = mil.SystematicResponse(classifier="trees", seed=1).fit(process)
    response.save(tmp_path / "response")
    facts = inspect_file(tmp_path / "response")
    assert facts["kind"] == "response of background to nuisance parameters"
    assert facts["nuisance parameters"].startswith("shift in [-3, 3], width in [-3, 3]")
    assert facts["depends on"] == "no parameter of interest"
    kappa = response.expected.log_yield(np.array([1.0, 0.0, 0.0])).value
    assert facts["yield at shift=1"].startswith(f"{np.exp(kappa):.4f} ± 0.0")


def test_folders_of_variations(tmp_path):
    """Regression: the folder was said to be neither a saved model nor a folder of results."""
    process = varied_gaussian.variations(800, seed=1)
    process.save(tmp_path / "process")
    facts = inspect_file(tmp_path / "process")
    assert facts["kind"] == "variations of background by nuisance parameters"
    assert (facts["nominal events"], facts["features"], facts["variations"]) == ("800", "x", 6)
    same = "1.0000 ± 0.0000"
    assert facts["yield by shift (the same events, other features)"] == (
        f"{same} at shift=-1, {same} at shift=1"
    )
    theory = process.yield_ratio(next(v for v in process.variations if "theory" in v.nuisances))
    assert facts["yield by theory (other weights)"].startswith(
        f"{theory.value:.4f} ± {theory.error:.4f} at theory=-1, "
    )
    assert inspect_file(tmp_path / "process" / "variations.json") == facts


def test_variations_by_events_of_another_simulation(tmp_path):
    nominal = mil.Sample(np.zeros((3, 1)), ("x",), point={"mu": 0.5})
    other = mil.Sample(np.ones((4, 1)), ("x",), point={"mu": 0.5})
    both = {"jes": 1.0, "jer": -1.0}
    mil.ProcessVariations(nominal, [mil.Variation(both, other)]).save(tmp_path / "a")
    facts = inspect_file(tmp_path / "a")
    assert facts["nominal events"] == "3 at mu=0.5"
    assert facts["yield by jes, jer (other events)"] == "not known at jes=1,jer=-1,mu=0.5"
    (tmp_path / "a" / "nominal_0.parquet").unlink()
    with pytest.raises(SampleError, match=r"nominal_0\.parquet is missing"):
        inspect_file(tmp_path / "a")


def test_histograms(tmp_path):
    samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    templates = mil.Templates.from_samples(samples, "x0", bins=4, degree=2)
    write_histograms(templates, tmp_path / "h.json")
    facts = inspect_file(tmp_path / "h.json")
    assert (facts["kind"], facts["names"], facts["bins"]) == (
        "histograms",
        "mu_m0p5, mu_0, mu_0p5",
        "4",
    )


def test_results(tmp_path):
    method = {
        "estimate": 0.1,
        "interval68": [0.0, 0.2],
        "coverage68": 0.68,
        "coverage68_error": 0.01,
    }
    content = {"poi": "mu", "n_events": 100, "network": method, "seconds": {"train": 1.0}}
    (tmp_path / "summary.json").write_text(json.dumps(content))
    expected = {
        "kind": "results",
        "parameter": "mu",
        "events": 100,
        "network": "mu = 0.1, 68.3 % in [0, 0.2], coverage 68.0 ± 1.0 %",
    }
    assert inspect_file(tmp_path) == inspect_file(tmp_path / "summary.json") == expected
    method["coverage68_pool_error"] = 0.023
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert inspect_file(tmp_path)["network"].endswith("coverage 68.0 ± 1.0 ± 2.3 %")
    del method["estimate"]
    (tmp_path / "summary.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"summary\.json is an incomplete summary .*'estimate'"):
        inspect_file(tmp_path)


def test_analysis(tmp_path):
    init_analysis(tmp_path / "analysis.toml")
    with pytest.raises(ConfigurationError, match=r"no file 'samples/cHW_m1\.lhe\.gz'"):
        inspect_file(tmp_path / "analysis.toml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", r"a\.json is not a JSON file"),
        ("a.json", "[1]", r"a\.json contains no JSON object"),
        (
            "a.json",
            "{}",
            r"a\.json is not a JSON file of a kind that .* .* has nothing",
        ),
        ("a.json", '{"weights": 1}', r"a\.json is not a JSON file .* it has weights; correct"),
        ("a.onnx", "no graph", r"a\.onnx is not an ONNX file"),
        ("a.root", "no file", r"a\.root: this cannot be opened"),
        ("a.txt", "text", r"a\.txt: unknown kind"),
    ],
)
def test_what_is_none_of_these(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(MilinferError, match=message):
        inspect_file(tmp_path / name)


def test_likelihoods_in_the_hs3_format_and_patches(tmp_path):
    content = {"metadata": {"hs3_version": "0.2.0"}, "distributions": [{}], "likelihoods": []}
    (tmp_path / "hs3.json").write_text(json.dumps(content))
    facts = inspect_file(tmp_path / "hs3.json")
    assert facts["kind"] == "likelihood in the HS3 format, which milinfer does not read"
    assert (facts["hs3 version"], facts["distributions"]) == ("0.2.0", 1)
    assert "pyhf" in facts["what to do"]
    (tmp_path / "signal.json").write_text('[{"op": "remove", "path": "/channels/0"}]')
    assert inspect_file(tmp_path / "signal.json")["kind"] == "JSON patch of a workspace"


def test_an_empty_folder(tmp_path):
    with pytest.raises(ModelError, match=r"no model\.json.*no summary\.json"):
        inspect_file(Path(tmp_path))
