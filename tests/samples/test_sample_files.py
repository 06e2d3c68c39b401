"""Samples to files and back, and features from event files."""

import json
import os
import sys

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import milinfer as mil
from milinfer.datasets import gaussian, vbf_hww
from milinfer.exceptions import (
    ConfigurationError,
    FeatureError,
    ParameterError,
    SampleError,
)
from milinfer.features.feature_set import feature_set
from milinfer.io import events as event_files
from milinfer.io.event_record.info import LHEInfo, LHEProcess, LHEWeight
from milinfer.io.event_record.record import make_events
from milinfer.samples.sample import Sample
from milinfer.samples.sample_files import RowGroups

NAMES = ("l0_pt", "l0_id_e-", "l0_id_e+", "a/b:c.d", "n", "Δφ")
finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def any_sample(draw):
    n, f = draw(st.integers(0, 6)), draw(st.integers(0, len(NAMES)))
    ids = draw(st.lists(st.sampled_from(["up", "c_HW_m1", "w=1:2", "x y"]), unique=True))

    def weights():
        return draw(hnp.arrays(np.float64, n, elements=finite))

    return Sample(
        draw(hnp.arrays(np.float32, (n, f), elements=numbers)),
        NAMES[:f],
        weights(),
        point=draw(st.dictionaries(st.sampled_from(["c_HW", "c_W"]), finite)),
        process=draw(st.text(max_size=5)),
        cross_section=draw(finite | st.just(float("nan"))),
        cross_section_error=draw(finite.map(abs) | st.just(float("nan"))),
        reweights={name: weights() for name in ids},
        reweight_points={name: {"c_HW": draw(finite)} for name in ids[:1]},
        provenance=draw(st.dictionaries(st.text(max_size=3), finite | st.text() | st.none())),
    )


def assert_same(a, b):
    for name in ("feature_names", "process", "point", "reweight_points", "provenance"):
        assert getattr(a, name) == getattr(b, name), name
    assert list(a.point) == list(b.point)
    assert list(a.reweights) == list(b.reweights)
    assert a.features.tobytes() == b.features.tobytes()
    assert a.features.shape == b.features.shape
    assert a.weights.tobytes() == b.weights.tobytes()
    for name in a.reweights:
        assert a.reweights[name].tobytes() == b.reweights[name].tobytes()
    for name in ("cross_section", "cross_section_error"):
        np.testing.assert_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
@given(sample=any_sample())
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_nothing_is_lost(tmp_path, suffix, sample):
    path = tmp_path / f"sample{suffix}"
    sample.to_file(path)
    assert_same(Sample.from_file(path), sample)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def small(**options):
    rng = np.random.default_rng(1)
    return Sample(
        rng.normal(size=(5, 2)), ("x", "y"), rng.normal(size=5), point={"mu": 0.5}, **options
    )


def test_parquet_columns_are_as_documented(tmp_path):
    sample = small(reweights={"up": np.ones(5)}, reweight_points={"up": {"mu": 1.0}})
    sample.to_file(tmp_path / "a.parquet")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.names == ["x", "y", "weight", "weight:up"]
    assert [str(t) for t in schema.types] == ["float", "float", "double", "double"]
    metadata = json.loads(schema.metadata[b"milinfer"])
    assert metadata["point"] == {"mu": 0.5}
    assert metadata["reweight_points"] == {"up": {"mu": 1.0}}
    small().to_file(tmp_path / "b.parquet")
    assert pq.read_schema(tmp_path / "b.parquet").names == ["x", "y", "weight"]


def test_part_of_the_features(tmp_path):
    small().to_file(tmp_path / "a.root")
    sample = Sample.from_file(tmp_path / "a.root", features=["y"])
    np.testing.assert_array_equal(sample.features[:, 0], small().column("y"))
    with pytest.raises(SampleError, match=r"a\.root has no columns z;"):
        Sample.from_file(tmp_path / "a.root", features=["z"])
    with pytest.raises(SampleError, match="twice"):
        Sample.from_file(tmp_path / "a.root", features=["y", "y"])


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_point_must_agree(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    small().to_file(path)
    assert Sample.from_file(path, point={"mu": 0.5}).point == {"mu": 0.5}
    with pytest.raises(ParameterError, match=r"is at mu=0\.5, but point= is mu=1"):
        Sample.from_file(path, point={"mu": 1.0})
    with pytest.raises(ParameterError, match=r"is at mu=0\.5, but point= is no point"):
        Sample.from_file(path, point={})
    given = Sample.from_file(path, process="other", cross_section=2.0)
    assert (given.process, given.cross_section) == ("other", 2.0)


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_reweights_can_stay_behind(tmp_path, suffix):
    sample = small(reweights={"up": np.ones(5)}, reweight_points={"up": {"mu": 1.0}})
    sample.to_file(tmp_path / f"a{suffix}")
    event_files.write(tmp_path / f"events{suffix}", event_record(5), INFO)
    for name in ("a", "events"):
        path = tmp_path / f"{name}{suffix}"
        assert Sample.from_file(path).reweight_points
        without = Sample.from_file(path, keep_reweights=False)
        assert (without.reweights, without.reweight_points) == ({}, {})
        np.testing.assert_array_equal(without.features, Sample.from_file(path).features)
        np.testing.assert_array_equal(without.weights, Sample.from_file(path).weights)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.parquet"
    small().to_file(path)
    before = path.read_bytes()
    for bad in (small(provenance={"x": np.nan}), small(provenance={"x": object()})):
        with pytest.raises(SampleError, match="cannot be written"):
            bad.to_file(path)
    with pytest.raises(SampleError, match="features have the names of weights"):
        Sample(np.zeros((1, 1)), ("weight",)).to_file(path)
    with pytest.raises(ConfigurationError, match="choose one of these"):
        small().to_file(tmp_path / "a.csv")
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".lhe"])
def test_damaged_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises((SampleError, mil.exceptions.LHEError), match=f"a{suffix}"):
        Sample.from_file(path, point={})
    with pytest.raises(FileNotFoundError):
        Sample.from_file(tmp_path / f"none{suffix}", point={})


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_flat_files_of_ones_own(tmp_path, suffix):
    path = tmp_path / f"own{suffix}"
    columns = {"x": np.arange(3.0), "k": np.arange(3), "w": np.array([1.0, 2.0, -1.0])}
    if suffix == ".root":
        with uproot.recreate(path) as file:
            file.mktree("tree", {name: column.dtype for name, column in columns.items()})
            file["tree"].extend(columns)
    else:
        pq.write_table(pa.table(columns), path)
    sample = Sample.from_file(path, features=["k", "x"], weight="w", point={"mu": 1.0})
    assert sample.features.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert sample.weights.tolist() == [1.0, 2.0, -1.0]
    assert (
        Sample.from_file(path, features=["x"], weight=None, point={}).weights.tolist() == [1.0] * 3
    )
    with pytest.raises(SampleError, match=r"no weight column 'weight'; it has .*weight=None"):
        Sample.from_file(path, features=["x"], point={})
    with pytest.raises(ParameterError, match="does not record which of its columns"):
        Sample.from_file(path, weight="w", point={})
    with pytest.raises(ParameterError, match="does not say at which parameter point"):
        Sample.from_file(path, features=["x"], weight="w")


def test_not_numbers(tmp_path):
    path = tmp_path / "own.parquet"
    table = pa.table({"s": ["a", "b"], "v": [[1.0], [2.0, 3.0]], "x": [1.0, None], "w": [1, 1]})
    pq.write_table(table, path)
    for name, message in {
        "s": "not one number",
        "v": "not one number",
        "x": "not finite in event 1",
    }.items():
        with pytest.raises(SampleError, match=message):
            Sample.from_file(path, features=[name], weight="w", point={})


def event_record(n, short=0):
    """Events with two leptons, two jets; the last ``short`` lack a jet."""
    rng = np.random.default_rng(5)
    counts = np.full(n, 6)
    ids = np.tile([11, -13, -12, 14, 1, 2], (n, 1))
    if short:
        ids[-short:, 5] = 22
    p = rng.normal(size=(n, 6, 3)) * 70
    flat = p.reshape(-1, 3)
    particles = {
        "px": flat[:, 0],
        "py": flat[:, 1],
        "pz": flat[:, 2],
        "energy": np.sqrt((flat**2).sum(axis=1)),
        "mass": np.zeros(6 * n),
        "pdgId": ids.ravel(),
        "status": np.ones(6 * n),
        "mother1": np.zeros(6 * n),
        "mother2": np.zeros(6 * n),
    }
    weights = np.round(rng.normal(1, 0.5, n), 3)
    return make_events(
        counts,
        particles,
        {"genWeight": weights, "LHE_processId": np.ones(n)},
        {"rw-1": weights * 2, "scale": weights / 2, "c_HW=-1": weights * 3},
    )


INFO = LHEInfo(
    processes=(LHEProcess(2.0, 0.1, 1.0, 1),),
    weights=(LHEWeight("rw-1", "c_HW=1"), LHEWeight("scale", "muR=2"), LHEWeight("c_HW=-1")),
    process="vbf",
    point={"c_HW": 0.5},
)


@pytest.mark.parametrize("suffix", [".lhe", ".lhe.gz", ".root", ".parquet"])
def test_features_from_events(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    record = event_record(25)
    event_files.write(path, record, INFO)
    sample = Sample.from_file(path, chunk_size=10)
    np.testing.assert_array_equal(sample.features, feature_set("vbf_2l2j").from_lhe(record).array)
    np.testing.assert_array_equal(sample.weights, ak.to_numpy(record.genWeight))
    np.testing.assert_array_equal(sample.reweights["rw-1"], 2 * sample.weights)
    assert list(sample.reweights) == ["rw-1", "scale", "c_HW=-1"]
    assert sample.reweight_points == {"rw-1": {"c_HW": 1.0}, "c_HW=-1": {"c_HW": -1.0}}
    assert (sample.cross_section, sample.cross_section_error) == (2.0, 0.1)
    assert (sample.process, sample.point) == ("vbf", {"c_HW": 0.5})
    assert sample.provenance["files"] == [path.name]
    assert sample.provenance["n_events"] == 25
    sample.to_file(tmp_path / "out.parquet")
    assert_same(Sample.from_file(tmp_path / "out.parquet"), sample)
    with pytest.raises(ParameterError, match="but point= is c_HW=0"):
        Sample.from_file(path, point={"c_HW": 0.0})
    one = Sample.from_file(path, features=["m_ll"])
    np.testing.assert_array_equal(one.features[:, 0], sample.column("m_ll"))
    own = feature_set("vbf_2l2j").with_columns(ht=lambda o: o.q0.pt + o.q1.pt)
    assert Sample.from_file(path, features=own).feature_names[-1] == "ht"


def test_events_without_what_features_need(tmp_path):
    path = tmp_path / "events.root"
    record = event_record(20, short=4)
    event_files.write(path, record, INFO)
    with pytest.raises(FeatureError, match=r"event 16 of .*events\.root has fewer than 2 jets"):
        Sample.from_file(path, chunk_size=10)
    sample = Sample.from_file(path, chunk_size=10, on_missing="reject")
    assert len(sample) == 16
    assert sample.provenance["rejected"] == {"fewer than 2 jets": 4}
    weights = ak.to_numpy(record.genWeight)
    assert sample.cross_section == pytest.approx(2.0 * weights[:16].sum() / weights.sum())
    assert sample.cross_section_error > 0.1 * sample.cross_section / 2.0


def test_point_of_other_files(tmp_path):
    path = tmp_path / "events.lhe"
    bare = LHEInfo(processes=INFO.processes)
    event_files.write(path, event_record(3), bare)
    with pytest.raises(ParameterError, match="does not say at which parameter point"):
        Sample.from_file(path)
    assert Sample.from_file(path, point={"c_HW": 1.0}).point == {"c_HW": 1.0}
    background = LHEInfo(processes=INFO.processes, process="zz")
    event_files.write(path, event_record(3), background)
    sample = Sample.from_file(path)
    assert (sample.point, sample.process, sample.reweight_points) == ({}, "zz", {})


def test_sample_set_from_files(tmp_path):
    for value in (-1.0, 1.0):
        small_one = Sample(np.full((2, 1), value), ("x",), point={"mu": value})
        small_one.to_file(tmp_path / f"{value}.parquet")
    files = {value: tmp_path / f"{value}.parquet" for value in (-1.0, 1.0)}
    samples = mil.SampleSet.from_files(files, parameter="mu")
    assert samples.values("mu").tolist() == [-1.0, 1.0]
    with pytest.raises(ParameterError, match="but point= is mu=-1"):
        mil.SampleSet.from_files({-1.0: files[1.0]}, parameter="mu")


@pytest.mark.parametrize("name", ["e.lhe", "e.lhe.gz", "e.root", "e.parquet"])
def test_the_number_of_workers_changes_nothing(tmp_path, name):
    path = tmp_path / name
    event_files.write(path, event_record(200), INFO)
    one = Sample.from_file(path, chunk_size=17)
    for workers in (2, 4):
        assert_same(Sample.from_file(path, chunk_size=17, workers=workers), one)
    short = tmp_path / f"short{name}"
    event_files.write(short, event_record(200, short=3), INFO)
    messages = set()
    for workers in (1, 2, 4):
        with pytest.raises(FeatureError) as caught:
            Sample.from_file(short, chunk_size=17, workers=workers)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert "event 197" in messages.pop()


@pytest.mark.skipif(sys.platform != "linux", reason="others have names of Unicode only")
@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_names_that_are_not_utf8(tmp_path, suffix):
    """Regression: pyarrow takes such names as bytes only."""
    folder = tmp_path / os.fsdecode(b"f\xff")
    folder.mkdir()
    file = folder / (os.fsdecode(b"s\xfe") + suffix)
    sample = gaussian.generate(100, 0.1, seed=1)
    sample.to_file(file)
    again = Sample.from_file(file)
    assert np.array_equal(again.features, sample.features)
    assert again.point == sample.point
    if suffix == ".parquet":
        assert RowGroups(file).read(0).features.shape == sample.features.shape
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize("suffix", ["root", "parquet"])
@pytest.mark.parametrize("column", ["genWeight", "LHEWeight"])
@pytest.mark.parametrize("event", [0, 7])
def test_a_weight_that_is_nan_is_an_error_even_of_an_event_that_is_rejected(
    tmp_path, suffix, column, event
):
    """Regression: its NaN became that of the cross-section, which then counted as unknown."""
    from milinfer.datasets import vbf_hww

    record, info = vbf_hww.generate(10, {"c_HW": 0.0}, seed=1).to_events(vbf_hww.DEFAULT_WEIGHTS)
    spoilt = np.arange(len(record)) == event
    if column == "genWeight":
        record = ak.with_field(record, np.where(spoilt, np.nan, record.genWeight), "genWeight")
        name = "genWeight"
    else:
        name = ak.fields(record.LHEWeight)[0]
        weights = np.where(spoilt, np.nan, record.LHEWeight[name])
        record = ak.with_field(record, ak.with_field(record.LHEWeight, weights, name), "LHEWeight")
    # Without its leptons the event is rejected by the features.
    record = ak.with_field(
        record,
        ak.where(
            (np.arange(len(record)) == 0) & (record.LHEPart.pdgId < 20), 5, record.LHEPart.pdgId
        ),
        ("LHEPart", "pdgId"),
    )
    file = tmp_path / f"a.{suffix}"
    event_files.write(file, record, info)
    with pytest.raises(SampleError, match=rf"event {event} .*{name}.* is nan; correct it"):
        Sample.from_file(file, features="vbf_2l2j", on_missing="reject", chunk_size=4)


@pytest.mark.parametrize("kind", ["parquet", "root"])
def test_a_weight_column_that_is_no_weight_is_named(tmp_path, kind):
    """Regression: the message named no column, and no event of lists."""
    path = tmp_path / f"own.{kind}"
    columns = {"x": np.ones(3), "nan": np.array([1.0, np.nan, 1.0])}
    lists = ak.Array([[1.0], [2.0, 3.0], [4.0]])
    if kind == "root":
        with uproot.recreate(path) as file:
            file["t"] = {**columns, "v": lists}
    else:
        own = {**columns, "v": lists.to_list(), "none": [1.0, 1.0, None], "whole": [1, None, 2]}
        pq.write_table(pa.table(own), path, row_group_size=2)
    messages = {"nan": "event 1 .*'nan' is nan", "v": "'v' is not one number in event 1 .* but 2"}
    if kind == "parquet":
        messages |= {"none": "'none' .*event 2 .*missing", "whole": "'whole' .*event 1 .*missing"}
    for weight, message in messages.items():
        with pytest.raises(SampleError, match=rf"own\.{kind}: .*{message}"):
            Sample.from_file(path, features=["x"], weight=weight, point={})


def test_events_of_a_row_group_are_counted_in_the_file(tmp_path):
    path = tmp_path / "own.parquet"
    pq.write_table(pa.table({"x": [1.0] * 3, "weight": [1.0, 1.0, None]}), path, row_group_size=2)
    groups = RowGroups(path, features=["x"], point={})
    assert groups.read(0).features.shape == (2, 1)
    with pytest.raises(SampleError, match=r"own\.parquet: .*event 2 .*missing"):
        groups.read(1)


@pytest.mark.parametrize("weight", [None, "LHEReweightingWeight", "x"])
def test_the_weight_of_events_cannot_be_chosen(tmp_path, weight):
    """Regression: weight= was ignored for files of events."""
    path = tmp_path / "events.parquet"
    event_files.write(path, *vbf_hww.generate(5, {"c_HW": 0.5}, seed=1).to_events())
    assert len(Sample.from_file(path, weight="genWeight")) == 5
    with pytest.raises(SampleError, match=r"events\.parquet: weight=.*run_features"):
        Sample.from_file(path, weight=weight)
