"""Weights of events are one finite number for each; others are named by file, event and branch."""

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema

import milinfer as mil
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.features.event_weights import event_weights
from milinfer.features.feature_set import FeatureSet, FeatureTable
from milinfer.features.objects import Collection
from milinfer.features.processor import EventSchema, FeatureProcessor
from milinfer.samples.run_features import run_features
from nanoaod_files import TITLES, nano_branches, write_nano

POINT = {"c_HW": 0.0}
FLAT = FeatureSet("flat", {"x": lambda o: o.x}, collections=())
BAD = {
    "missing": ([1.0, None, 2.0], r"event 11 .*: w is missing"),
    "nan": ([1.0, 2.0, np.nan], r"event 12 .*: w is nan"),
    "masked": (np.ma.masked_array([1.0, 2.0], [False, True]), r"event 11 .*: w is missing"),
    "lists": ([[1.0], [1.0, 2.0]], r"event 11 .*: w is a list of length 2"),
    "list or nothing": ([[1.0], None], r"event 11 .*: w is a list of length 0"),
    "two each": (np.ones((3, 2)), r"event 10 .*: w is a list of length 2"),
    "deeper lists": (ak.Array([[[1.0]]]), "w is not a list of one number"),
    "texts": (["a", "b"], "w contains .*, not numbers; give a branch"),
    "records": (ak.Array([{"x": 1.0}]), "w contains .*, not numbers; give a branch"),
    "several kinds": (ak.Array([1.0, "a"]), "w contains .*, not numbers; give a branch"),
    "one number": (1.0, "w is not an array of numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_weight_is_named(name):
    values, message = BAD[name]
    values = values if isinstance(values, np.ndarray | ak.Array | float) else ak.Array(values)
    with pytest.raises(SampleError, match=f"^a.root: {message}"):
        event_weights(values, "w", "a.root", first_event=10)
    with pytest.raises(SampleError, match=message.replace("11", "18").replace("12", "6")):
        event_weights(values, "w", first_event=np.array([10, 18, 6]))


def test_what_is_a_weight():
    for values in ([1, 2], np.array([1, 2], np.int8), ak.Array([1.0, 2.0])):
        np.testing.assert_array_equal(event_weights(values, "w"), [1.0, 2.0])
    assert event_weights([], "w").shape == (0,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None, 2.0], "event 1 .*weight is missing"),
        ([1.0, np.nan, 2.0], "event 1 .*weight is nan"),
        ([[1.0], [2.0, 3.0], [4.0]], "event 1 .*weight is a list of length 2"),
    ],
)
def test_the_processor_refuses_them(values, message):
    """Regression: missing weights became zero or what lay in memory, NaN came through."""
    processor = FeatureProcessor(FLAT)
    with pytest.raises(SampleError, match=message):
        processor.process(ak.Array({"x": [1.0, 2.0, 3.0], "weight": values}))
    other = ak.Array({"x": [1.0, 2.0, 3.0], "weight": [1.0] * 3, "LHEWeight_up": values})
    with pytest.raises(SampleError, match=message.replace("weight", "LHEWeight_up")):
        processor.process(other)
    assert FeatureProcessor(FLAT, reweights=False).process(other)["dataset"]["n_events"] == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ak.Array([1.0, None]), "event 1 .*weight is missing"),
        ([1.0, np.inf], "event 1 .*weight is inf"),
        (np.ones((2, 2)), "event 0 .*weight is a list of length 2"),
    ],
)
def test_tables_refuse_them(values, message):
    table = FeatureTable({"x": np.ones(2, np.float32)}, kept=np.ones(2, bool))
    for use in (table.weights, table.accumulate, lambda w: mil.Sample.from_table(table, w)):
        with pytest.raises(SampleError, match=message):
            use(values)


@pytest.fixture(name="nano", scope="module")
def _nano(tmp_path_factory):
    branches = nano_branches(40)
    return write_nano(tmp_path_factory.mktemp("nano") / "nano.root", branches), branches


def fileset(*paths):
    return {"nano": {"files": list(paths), "metadata": {"point": POINT}}}


def test_a_branch_with_several_weights_is_no_weight(nano):
    """Regression: the weights of each event were added up to one sum of weights."""
    for branch in ("LHEReweightingWeight", "LHEPdfWeight"):
        with pytest.raises(SampleError, match=rf"nano\.root: event 0 .*: {branch} is a list of"):
            run_features(fileset(nano[0]), weight=branch)


@pytest.mark.parametrize("schema", [NanoAODSchema, EventSchema, BaseSchema])
def test_weights_that_share_a_branch_come_along(nano, schema, monkeypatch):
    """Regression: the processor dropped them and said nothing."""
    path, branches = nano
    for name in ("error_missing_event_ids", "warn_missing_crossrefs"):
        monkeypatch.setattr(NanoAODSchema, name, False)
    monkeypatch.setattr(NanoAODSchema, "event_ids", [])
    columns = FeatureSet("w", {"run": None}, collections=())
    options = {"features": columns} if schema is BaseSchema else {}
    sample = run_features(fileset(path), schema=schema, chunksize=15, **options)["nano"]
    assert len(sample.reweights) == 7
    nominal = branches["genWeight"].astype(np.float64)
    for name in ("LHEReweightingWeight", "LHEPdfWeight"):
        for i in range(len(branches[name][0])):
            expected = nominal * np.asarray(branches[name][:, i], np.float64)
            np.testing.assert_array_equal(sample.reweights[f"{name}[{i}]"], expected)
    assert sample.reweight_points["LHEReweightingWeight[1]"] == {"c_HW": -0.5}
    assert len(sample.reweight_points) == 5
    read = mil.Sample.from_file(path, point=POINT)
    assert read.reweights.keys() == sample.reweights.keys()
    assert read.reweight_points == sample.reweight_points


def test_they_are_relative_to_the_weight_that_is_chosen(nano):
    ones = run_features(fileset(nano[0]), weight=None)["nano"]
    expected = np.asarray(nano[1]["LHEReweightingWeight"][:, 2], np.float64)
    np.testing.assert_array_equal(ones.reweights["LHEReweightingWeight[2]"], expected)
    assert run_features(fileset(nano[0]), reweights=False)["nano"].reweights == {}


def test_named_weights_of_nanoaod_are_relative(tmp_path):
    branches = nano_branches(20) | {"LHEWeight_sm": np.full(20, 2.0, np.float32)}
    sample = run_features(fileset(write_nano(tmp_path / "a.root", branches)))["nano"]
    np.testing.assert_array_equal(sample.reweights["sm"], 2.0 * branches["genWeight"])
    assert "originalXWGTUP" not in sample.reweights


def without_weights(branches, events):
    lists = branches["LHEReweightingWeight"].to_list()
    for event in events:
        lists[event] = []
    return branches | {"LHEReweightingWeight": ak.values_astype(ak.Array(lists), np.float32)}


def test_a_changing_number_of_weights(tmp_path, nano):
    branches = without_weights(nano[1], [20, 33]) | {"run": np.arange(40, dtype=np.uint32)}
    path = write_nano(tmp_path / "some.root", branches)
    with pytest.raises(SampleError, match=r"some\.root: event 20 .* 0 numbers in LHEReweighting"):
        run_features(fileset(path))
    chosen = run_features(fileset(path), selection=lambda e: ak.num(e.LHEReweightingWeight) > 0)
    assert (len(chosen["nano"]), len(chosen["nano"].reweights)) == (38, 7)
    # Chunks without selected events have nothing to say about weights.
    early = run_features(fileset(path), selection=lambda e: e.run < 15, chunksize=10)["nano"]
    assert (len(early), len(early.reweights)) == (15, 7)
    other = write_nano(tmp_path / "none.root", without_weights(nano[1], range(40)))
    with pytest.raises(SampleError, match=r"nano\.root.*none\.root.*LHEReweightingWeight\[0\]"):
        run_features(fileset(nano[0], other))


def test_titles_that_differ_between_files(tmp_path, nano):
    titles = TITLES | {"LHEReweightingWeight": "[0] is c_HW=1; [1] is c_HW=0.5"}
    other = write_nano(tmp_path / "other.root", nano[1], titles=titles)
    with pytest.raises(SampleError, match=r"title of LHEReweightingWeight\[0\] in .*other\.root"):
        run_features(fileset(nano[0], other))


@pytest.mark.parametrize("options", [{"status": False}, {"lhe": False}])
def test_objects_are_needed_without_generated_particles(tmp_path, options):
    path = write_nano(tmp_path / "nano.root", nano_branches(20, reco=True, **options))
    with pytest.raises(mil.exceptions.FeatureError, match="give objects= of Feature") as told:
        run_features(fileset(path))
    assert len(str(told.value)) < 1000
    jet = FeatureSet("jet", {"pt": lambda o: o.get("j0", "pt")}, (Collection("jets", "j", 1),))
    own = {"objects": lambda e: (e.Jet,), "features": jet}
    assert len(run_features(fileset(path), **own)["nano"]) == 20


def test_a_tree_of_another_name(tmp_path):
    path = write_nano(tmp_path / "nano.root", nano_branches(20), tree="Skim")
    with pytest.raises(SampleError, match=r"nano\.root.*no tree 'Events'.*Skim.*treename="):
        run_features(fileset(path))
    assert len(run_features(fileset(path), treename="Skim")["nano"]) == 20


def test_names_that_coffea_cannot_take(nano, tmp_path):
    """Regression: an error of Python about a codec."""
    path = tmp_path / "jürgen.root"
    path.symlink_to(nano[0])
    with pytest.raises(ConfigurationError, match=r"the file .*jürgen\.root: .* of a link to it"):
        run_features(fileset(path))
    with pytest.raises(ConfigurationError, match=r"the dataset Z→ττ: .* rename it$"):
        run_features({"Z→ττ": fileset(nano[0])["nano"]})
