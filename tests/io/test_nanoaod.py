"""Files in the layout of NanoAOD: weights that share a branch, and what is not an event record."""

from __future__ import annotations

import functools
import http.server
import importlib
import re
import sys
import threading
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

import milinfer as mil
from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ParameterError,
    SampleError,
)
from milinfer.io import events
from milinfer.io.convert import convert
from milinfer.io.event_record.nanoaod import entry_description
from nanoaod_files import TITLES, nano_branches, write_nano

SCREEN = 1000  # characters
IDS = [f"LHEReweightingWeight[{i}]" for i in range(5)] + [f"LHEPdfWeight[{i}]" for i in range(2)]


@pytest.fixture(name="nano")
def _nano(tmp_path):
    branches = nano_branches()
    return write_nano(tmp_path / "nano.root", branches), branches


def absolute(branches):
    nominal = branches["genWeight"].astype(np.float64)
    return {
        f"{name}[{i}]": nominal * np.asarray(branches[name][:, i], np.float64)
        for name, n in (("LHEReweightingWeight", 5), ("LHEPdfWeight", 2))
        for i in range(n)
    }


def test_weights_that_share_a_branch_are_absolute_weights_of_their_own(nano):
    """Regression: the events had no weights, and nobody was told."""
    path, branches = nano
    record, info = events.read(path)
    expected = absolute(branches)
    assert ak.fields(record.LHEWeight) == IDS == [w.id for w in info.weights]
    for name, values in expected.items():
        np.testing.assert_array_equal(record.LHEWeight[name], values)
    told = {w.id: w.description for w in info.weights}
    assert told["LHEReweightingWeight[3]"] == "c_HW=0.5"
    assert told["LHEPdfWeight[1]"] == TITLES["LHEPdfWeight"]
    assert {w.group for w in info.weights} == {"LHEReweightingWeight", "LHEPdfWeight"}


@pytest.mark.parametrize("target", ["a.root", "a.parquet", "rntuple.root"])
def test_convert_gives_the_exact_weights_back(nano, tmp_path, target):
    path, branches = nano
    kind = "rntuple" if target.startswith("rntuple") else "ttree"
    with pytest.warns(
        MilinferWarning, match=r"nano\.root: 2 branches .*not converted: LHEWeight, run"
    ):
        done = convert(path, tmp_path / target, ntuple=kind)
    assert done.left_out == ("LHEWeight_originalXWGTUP", "run")
    record, info = events.read(tmp_path / target)
    for name, values in absolute(branches).items():
        np.testing.assert_array_equal(record.LHEWeight[name], values)
        branch, position = name.rstrip("]").split("[")
        relative = np.asarray(record.LHEWeight[name] / record.genWeight)
        np.testing.assert_array_equal(relative, branches[branch][:, int(position)])
    assert [w.description for w in info.weights][3] == "c_HW=0.5"


def test_nothing_is_left_out_of_files_of_milinfer(nano, tmp_path, recwarn):
    with pytest.warns(MilinferWarning):
        convert(nano[0], tmp_path / "a.root")
    recwarn.clear()
    for source, target in (("a.root", "b.parquet"), ("b.parquet", "c.root")):
        assert convert(tmp_path / source, tmp_path / target).left_out == ()
    assert not recwarn.list


def test_reconstructed_objects_and_other_trees_are_named(tmp_path):
    path = write_nano(tmp_path / "nano.root", nano_branches(reco=True))
    with uproot.update(path) as file:
        file["Runs"] = {"genEventSumw": np.ones(1)}
    with pytest.warns(MilinferWarning, match="Jet, FatJet, run, the tree Runs"):
        done = convert(path, tmp_path / "a.parquet")
    assert {"Jet_pt", "FatJet_phi", "the tree Runs"} <= set(done.left_out)
    assert "nJet" not in done.left_out


def test_no_lhe_without_a_description_of_the_run(nano, tmp_path):
    with pytest.raises((SampleError, mil.exceptions.LHEError), match=r"nano\.root"):
        convert(nano[0], tmp_path / "a.lhe")
    assert not (tmp_path / "a.lhe").exists()


def test_a_sample_has_the_points_of_the_titles(nano, tmp_path):
    sample = mil.Sample.from_file(nano[0], point={"c_HW": 0.0})
    assert list(sample.reweights) == IDS
    assert sample.reweight_points["LHEReweightingWeight[3]"] == {"c_HW": 0.5}
    assert len(sample.reweight_points) == 5
    for name in ("s.root", "s.parquet"):
        sample.to_file(tmp_path / name)
        back = mil.Sample.from_file(tmp_path / name)
        assert back.reweight_points == sample.reweight_points
        for key, values in sample.reweights.items():
            np.testing.assert_array_equal(back.reweights[key], values)


def test_parquet_in_the_layout_of_nanoaod(nano, tmp_path):
    _, branches = nano
    flat = {f"LHEPart_{k}": branches["LHEPart"][k] for k in branches["LHEPart"].fields}
    table = ak.zip({**flat, **{k: v for k, v in branches.items() if k != "LHEPart"}}, depth_limit=1)
    ak.to_parquet(table, tmp_path / "nano.parquet")
    record, info = events.read(tmp_path / "nano.parquet")
    np.testing.assert_array_equal(record.LHEWeight[IDS[4]], absolute(branches)[IDS[4]])
    assert [w.id for w in info.weights] == IDS
    assert pq.read_schema(tmp_path / "nano.parquet").metadata.get(b"milinfer") is None


def test_named_weights_of_nanoaod_are_relative(tmp_path):
    """Regression: the processor took weights relative to the nominal one for weights."""
    branches = nano_branches() | {"LHEWeight_sm": np.full(30, 2.0, np.float32)}
    record, _ = events.read(write_nano(tmp_path / "nano.root", branches))
    np.testing.assert_array_equal(record.LHEWeight["sm"], 2.0 * branches["genWeight"])
    del branches["LHEWeight_originalXWGTUP"]  # then it is not a file of CMS
    record, _ = events.read(write_nano(tmp_path / "other.root", branches))
    np.testing.assert_array_equal(record.LHEWeight["sm"], 2.0)


@pytest.mark.parametrize("changed", [0, 20])
@pytest.mark.parametrize("left", [0, 4])
def test_a_changing_number_of_weights_names_the_event(tmp_path, changed, left):
    branches = nano_branches()
    lists = branches["LHEReweightingWeight"].to_list()
    lists[changed] = lists[changed][:left]
    branches["LHEReweightingWeight"] = ak.Array(ak.values_astype(lists, np.float32))
    path = write_nano(tmp_path / "nano.root", branches)
    event = 1 if changed == 0 and left else changed
    message = (
        rf"nano\.root: event {event} \(counted from 0\) has \d numbers in LHEReweightingWeight"
    )
    with pytest.raises(SampleError, match=message):
        mil.Sample.from_file(path, point={"c_HW": 0.0})
    with pytest.raises(SampleError, match=message):
        convert(path, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()
    assert mil.Sample.from_file(path, point={}, keep_reweights=False).reweights == {}


def test_an_event_without_weights_in_all_events_has_none(tmp_path):
    branches = nano_branches()
    branches["LHEPdfWeight"] = branches["LHEPdfWeight"][:, :0]
    assert len(events.read(write_nano(tmp_path / "nano.root", branches)).info.weights) == 5


def test_a_weight_that_is_not_finite_names_file_event_and_branch(tmp_path):
    branches = nano_branches()
    values = np.array(branches["LHEPdfWeight"].to_list(), np.float32)
    values[17, 1] = np.nan
    branches["LHEPdfWeight"] = ak.from_regular(values)
    path = write_nano(tmp_path / "nano.root", branches)
    with pytest.raises(SampleError, match=r"nano\.root: event 17 .*'LHEPdfWeight\[1\]' is nan"):
        mil.Sample.from_file(path, point={})


def test_mothers_of_newer_nanoaod(tmp_path):
    branches = nano_branches()
    first = ak.local_index(branches["LHEPart"].pt) - 1  # -1: none
    parts = ak.with_field(branches["LHEPart"], ak.values_astype(first, np.int16), "firstMotherIdx")
    branches["LHEPart"] = ak.zip({k: parts[k] for k in parts.fields})
    record, _ = events.read(write_nano(tmp_path / "nano.root", branches))
    assert record.LHEPart.mother1[0].tolist() == list(range(len(first[0])))
    assert record.LHEPart.mother2[0].tolist() == [0] * len(first[0])


def many(n=400):
    return {f"HLT_a_path_with_a_long_name_as_real_ones_have_{i}": np.ones(30) for i in range(n)}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"status": False}, "LHEPart have no status, as in older NanoAOD"),
        ({"lhe": False}, "it has no LHEPart"),
    ],
)
def test_what_has_no_generated_events_says_what_to_do_on_a_screen(tmp_path, options, problem):
    branches = nano_branches(reco=True, **options) | many(100)
    path = write_nano(tmp_path / "nano.root", branches)
    for read in (
        events.read,
        functools.partial(convert, dst=tmp_path / "a.parquet"),
    ):
        with pytest.raises(SampleError, match=rf"{problem}.*objects=") as caught:
            read(path)
        assert len(str(caught.value)) < SCREEN
    for options_of_file in ({}, {"features": "vbf_2l2j"}):
        with pytest.raises((SampleError, ParameterError), match="objects=") as failed:
            mil.Sample.from_file(path, point={}, **options_of_file)
        assert len(str(failed.value)) < SCREEN


def test_physlite_says_what_to_do_on_a_screen(tmp_path):
    path = tmp_path / "DAOD_PHYSLITE.root"
    branches = {f"AnalysisElectronsAuxDyn.x{i}": np.ones(3) for i in range(400)}
    with uproot.recreate(path) as file:
        file["CollectionTree"] = branches
    with pytest.raises(SampleError, match=r"no tree 'Events'.*tree=.*PHYSLITESchema") as caught:
        events.read(path)
    with pytest.raises(ParameterError, match=r"objects=.*PHYSLITESchema") as unnamed:
        mil.Sample.from_file(path)
    assert max(len(str(caught.value)), len(str(unnamed.value))) < SCREEN


def test_flat_files_with_many_columns_are_described_on_a_screen(tmp_path):
    path = tmp_path / "flat.root"
    with uproot.recreate(path) as file:
        file["t"] = many()
    for options in ({}, {"features": ["x"]}, {"features": [next(iter(many(1)))], "weight": "w"}):
        with pytest.raises((SampleError, ParameterError), match="more") as caught:
            mil.Sample.from_file(path, point={}, **options)
        assert len(str(caught.value)) < SCREEN


def test_titles():
    title = 'LHE scale weights (w_var / w_nominal); [0] is MUF="0.5" MUR="0.5"; [1] is MUF="1" '
    assert entry_description(title, 0) == 'MUF="0.5" MUR="0.5"'
    assert entry_description(title, 1) == 'MUF="1"'
    assert entry_description(title, 2) == ""
    assert entry_description("LHEPdfWeight/F", 2) == ""


def test_file_addresses_are_paths(nano, tmp_path):
    path, _ = nano
    address = path.as_uri()
    assert events.count(address) == 30
    assert len(mil.Sample.from_file(address, point={})) == 30
    with pytest.warns(MilinferWarning):
        convert(address, tmp_path / "a.parquet")
    assert len(mil.Sample.from_file((tmp_path / "a.parquet").as_uri(), point={})) == 30
    with pytest.raises(ConfigurationError, match="own conversion"):
        convert((tmp_path / "a.parquet").as_uri(), tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("address", "module", "package"),
    [
        ("root://eos.example//store/nano.root", "fsspec_xrootd", "pip install fsspec-xrootd"),
        ("https://example.invalid/nano.root", "aiohttp", "pip install aiohttp"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, address, module, package):
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "fsspec.implementations.http", None)
    monkeypatch.setattr(registry, "_registry", {})
    monkeypatch.setattr(registry, "registry", {})
    with pytest.raises(ConfigurationError, match=f"{re.escape(address)}.*{package}"):
        events.read(address)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Server of files that answers requests for parts of them, as storage does."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None or not (path := self.translate_path(self.path)).endswith(".root"):
            super().do_GET()
            return
        content = Path(path).read_bytes()
        start, stop = int(match[1]), min(int(match[2]) + 1, len(content))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(content[start:stop])


@pytest.fixture(name="server")
def _server(tmp_path):
    handler = functools.partial(_Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_addresses_are_read(nano, server, tmp_path):
    pytest.importorskip("aiohttp")
    address = f"{server}/nano.root"
    sample = mil.Sample.from_file(address, point={"c_HW": 0.0})
    local = mil.Sample.from_file(nano[0], point={"c_HW": 0.0})
    np.testing.assert_array_equal(sample.features, local.features)
    assert sample.provenance["files"] == ["nano.root"]
    with pytest.warns(MilinferWarning, match="not converted"):
        assert convert(address, tmp_path / "a.parquet").n_events_out == 30
    made = mil.run_features({"d": {"files": [address], "metadata": {"point": {"c_HW": 0.0}}}})["d"]
    # coffea computes in single precision what the file has in single precision
    np.testing.assert_allclose(made.features, local.features, rtol=1e-4, atol=1e-3)
    with pytest.raises(SampleError, match=r"cannot be read .*correct the address"):
        events.read(f"{server}/absent.root")


def test_weights_of_a_range_of_events(nano):
    path, branches = nano
    sample = mil.Sample.from_file(path, point={"c_HW": 0.0}, events=(10, 20))
    for name, values in absolute(branches).items():
        np.testing.assert_array_equal(sample.reweights[name], values[10:20])


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_events_of_a_range_are_counted_in_the_file(tmp_path, suffix):
    path = tmp_path / f"flat.{suffix}"
    columns = {"x": np.ones(6), "w": np.array([1.0, 1.0, 1.0, 1.0, np.nan, 1.0])}
    if suffix == "root":
        with uproot.recreate(path) as file:
            file["t"] = columns
    else:
        ak.to_parquet(ak.zip(columns), path)
    options = {"features": ["x"], "weight": "w", "point": {}}
    assert len(mil.Sample.from_file(path, events=(0, 3), **options)) == 3
    with pytest.raises(SampleError, match=rf"flat\.{suffix}: event 4 .*'w' is nan"):
        mil.Sample.from_file(path, events=(3, 6), **options)


def test_a_skim_without_the_weight_of_the_generator_says_so(tmp_path):
    """Regression: the error named branches that NanoAOD never has."""
    branches = nano_branches()
    del branches["genWeight"]
    path = write_nano(tmp_path / "nano.root", branches)
    with pytest.raises(SampleError, match=r"nano\.root: .* there is no genWeight; keep this"):
        events.read(path)
