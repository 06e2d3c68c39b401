"""Event files of all kinds: the same events and the same information, bit by bit."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from milinfer.exceptions import ConfigurationError, LHEError, SampleError
from milinfer.io import events, lhe
from milinfer.io.event_record.branches import FileMetadata
from milinfer.io.event_record.record import EVENT_FIELDS, PARTICLE_FIELDS

IDS = ("c_HW=0.5", "c_HW-0.5", "1")
INFO = lhe.LHEInfo(
    processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1), lhe.LHEProcess(0.1, 1 / 3, 1.0, 2)),
    weights=tuple(lhe.LHEWeight(i, f"weight {i}", "eft") for i in IDS),
    header="<MGRunCard>\n a & b < c\n</MGRunCard>\n",
    process="vbf_hww",
    point={"c_HW": 0.5, "c_W": -1 / 3},
)
KINDS = [
    ("a.root", "ttree"),
    ("a.root", "rntuple"),
    ("a.parquet", "ttree"),
    ("a.lhe", "ttree"),
    ("a.lhe.gz", "ttree"),
]


def make(n: int = 20, ids: tuple[str, ...] = IDS, seed: int = 1):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, n)
    total = counts.sum()
    part = {
        name: rng.normal(size=total) * 100 if dtype == np.float64 else rng.integers(-30, 600, total)
        for name, dtype in PARTICLE_FIELDS.items()
    }
    part["status"] = rng.choice([-1, 1, 2], total)
    part["px"][::3] = part["py"][::3] = 0.0
    event = {name: rng.normal(size=n) * 10 for name in EVENT_FIELDS}
    event["LHE_processId"] = np.rint(event["LHE_processId"])
    return lhe.make_events(counts, part, event, {key: rng.normal(size=n) for key in ids})


def same(a: ak.Array, b: ak.Array) -> None:
    assert str(a.type) == str(b.type)
    for field in a.fields:
        assert ak.array_equal(a[field], b[field]), field


@pytest.mark.parametrize(("name", "ntuple"), KINDS)
@pytest.mark.parametrize("ids", [IDS, ()], ids=["weights", "no weights"])
def test_round_trip(tmp_path, name, ntuple, ids):
    record = make(ids=ids)
    info = INFO if ids else lhe.LHEInfo(processes=INFO.processes)
    file = tmp_path / name
    events.write(file, record, info, ntuple=ntuple)
    back = events.read(file, chunk_size=7)
    same(back.events, record)
    assert back.info == info
    assert events.count(file) == len(record)
    chunks = list(events.iterate(file, chunk_size=7))
    assert [len(c) for c in chunks] == [7, 7, 6]
    same(ak.concatenate(chunks), record)
    assert ak.all(back.events.LHEPart.pt >= 0)


@pytest.mark.parametrize(("name", "ntuple"), KINDS)
def test_chunked_writing(tmp_path, name, ntuple):
    record = make(ids=IDS)
    with events.open_writer(tmp_path / name, INFO, ntuple=ntuple) as writer:
        for start in (0, 7, 14):
            writer.write(record[start : start + 7])
        writer.write(record[:0])
    same(events.read(tmp_path / name).events, record)


def test_not_finite_numbers_survive_outside_lhe(tmp_path):
    record = ak.with_field(make(2), np.array([np.nan, -0.0]), "LHE_scale")
    for name, ntuple in KINDS[:3]:
        events.write(tmp_path / name, record, INFO, ntuple=ntuple)
        scale = ak.to_numpy(events.read(tmp_path / name).events.LHE_scale)
        assert scale.tobytes() == ak.to_numpy(record.LHE_scale).tobytes()


@pytest.mark.parametrize("ntuple", ["ttree", "rntuple"])
def test_branches_are_those_of_nanoaod(tmp_path, ntuple):
    file = tmp_path / "a.root"
    record = make()
    events.write(file, record, INFO, ntuple=ntuple)
    with uproot.open(file) as root:
        tree = root["Events"]
        names = {"run", "luminosityBlock", "event", "genWeight", "nLHEPart", "LHE_processId"}
        names |= {f"LHEPart_{x}" for x in ("pt", "eta", "phi", "mass", "pdgId", "status", "spin")}
        names |= {"LHEPart_incomingpz", "LHEWeight_c_HW_0_5", "LHEWeight_c_HW_0_5_2", "LHEWeight_1"}
        assert names <= set(tree.keys())
        arrays = tree.arrays()
    assert arrays["event"].tolist() == list(range(1, 21))
    assert arrays["nLHEPart"].tolist() == ak.num(record.LHEPart).tolist()
    outgoing = record.LHEPart.status != -1
    np.testing.assert_allclose(
        ak.flatten(arrays["LHEPart_pt"][outgoing]), ak.flatten(record.LHEPart.pt[outgoing])
    )
    moving = outgoing & (record.LHEPart.pt > 0)
    np.testing.assert_allclose(
        ak.flatten(arrays["LHEPart_eta"][moving]), ak.flatten(record.LHEPart.eta[moving])
    )
    np.testing.assert_array_equal(
        ak.flatten(arrays["LHEPart_incomingpz"][~outgoing]),
        ak.flatten(record.LHEPart["pz"][~outgoing]),
    )


@pytest.mark.parametrize("mode", ["virtual", "eager"])
@pytest.mark.parametrize("ntuple", ["ttree", "rntuple"])
def test_coffea_opens_it(tmp_path, monkeypatch, ntuple, mode):
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)
    file = tmp_path / "a.root"
    record = make()
    events.write(file, record, INFO, ntuple=ntuple)
    nano = NanoEventsFactory.from_root(
        {str(file): "Events"}, schemaclass=NanoAODSchema, mode=mode
    ).events()
    assert len(nano) == 20
    final = record.LHEPart.status == 1
    moving = final & (record.LHEPart.pt > 0)
    for axis in ("px", "py", "pz"):
        np.testing.assert_allclose(
            ak.flatten(getattr(nano.LHEPart, axis)[moving]),
            ak.flatten(record.LHEPart[axis][moving]),
            atol=1e-9,
        )
        exact = ak.flatten(nano.LHEPart[f"exact_{axis}"])
        assert exact.tolist() == ak.flatten(record.LHEPart[axis]).tolist()
    assert ak.flatten(nano.LHEPart.pdgId).tolist() == ak.flatten(record.LHEPart.pdgId).tolist()
    assert nano.genWeight.tolist() == record.genWeight.tolist()
    assert nano.LHEWeight.c_HW_0_5.tolist() == record.LHEWeight["c_HW=0.5"].tolist()
    assert nano.LHE.alphaQCD.tolist() == record.LHE_alphaQCD.tolist()


def foreign(path):
    with uproot.recreate(path) as root:
        root["Events"] = {"Jet_pt": np.ones(3), "genWeight": np.ones(3)}
    return path


def test_foreign_root_file(tmp_path):
    file = foreign(tmp_path / "nano.root")
    with pytest.raises(SampleError, match=r"nano\.root: .* has no LHEPart, .*objects="):
        events.read(file)
    with pytest.raises(SampleError, match=r"nano\.root: .*no tree 'tree'.* only Events"):
        events.read(file, tree="tree")


def test_nanoaod_of_others_is_read_as_far_as_it_goes(tmp_path):
    part = ak.Array(
        [
            [
                {"pt": 0.0, "eta": 0.0, "phi": 0.0, "mass": 0.0, "incomingpz": -50.0, "status": -1},
                {"pt": 30.0, "eta": 1.0, "phi": 2.0, "mass": 1.5, "incomingpz": 0.0, "status": 1},
            ],
            [],
        ]
    )
    part = ak.values_astype(part, np.float32)
    for name in ("status", "pdgId"):
        part = ak.with_field(part, ak.values_astype(part.status, np.int32), name)
    zipped = ak.zip({name: part[name] for name in part.fields})
    with uproot.recreate(tmp_path / "nano.root") as root:
        root.mktree("Events", {"LHEPart": zipped.type.content, "genWeight": np.float32})
        root["Events"].extend({"LHEPart": zipped, "genWeight": np.ones(2, np.float32)})
    record, info = events.read(tmp_path / "nano.root")
    assert record.LHEPart["pz"][0, 0] == -50.0
    assert record.LHEPart["energy"][0, 0] == 50.0
    assert record.LHEPart.pt[0, 1] == pytest.approx(30.0)
    assert record.LHEPart.eta[0, 1] == pytest.approx(1.0)
    assert record.LHEPart.mass[0, 1] == pytest.approx(1.5, abs=1e-4)
    # Beams and cross-sections of the run are not invented.
    assert info == lhe.LHEInfo.unknown()
    with pytest.raises(LHEError, match=r"a\.lhe: .* beams and processes .* give an LHEInfo"):
        events.write(tmp_path / "a.lhe", record, info)
    assert not (tmp_path / "a.lhe").exists()
    info = lhe.LHEInfo(processes=(), energies=(7000.0, 7000.0))
    events.write(tmp_path / "a.lhe", record, info)
    same(events.read(tmp_path / "a.lhe").events, record)


def test_headers_are_not_counted(tmp_path):
    info = lhe.LHEInfo(processes=(), header="<event> </event>\n</event>")
    events.write(tmp_path / "a.lhe", make(), info)
    assert events.count(tmp_path / "a.lhe") == 20
    assert events.read(tmp_path / "a.lhe").info == info.with_weights(IDS)


def test_foreign_parquet_file(tmp_path):
    ak.to_parquet(ak.Array({"x": [1.0]}), str(tmp_path / "a.parquet"))
    with pytest.raises(SampleError, match=r"a\.parquet: the branches LHEPart_exact_px"):
        events.read(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.root", "a.parquet"])
def test_damaged_files(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"")
    with pytest.raises(SampleError, match="a\\."):
        events.read(file)
    file.write_text("this is something else\n" * 100)
    with pytest.raises(SampleError, match="a\\."):
        events.read(file)
    events.write(file, make(2000), INFO)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(SampleError, match="a\\."):
        events.read(file)


@pytest.mark.parametrize("name", ["a.root", "a.parquet", "a.lhe"])
def test_missing_file_keeps_its_own_error(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        events.read(tmp_path / name)


@pytest.mark.parametrize(("name", "ntuple"), KINDS)
def test_nothing_is_left_after_an_error(tmp_path, name, ntuple):
    file = tmp_path / name
    file.write_text("older")

    def interrupted():
        with events.open_writer(file, INFO, ntuple=ntuple) as writer:
            writer.write(make())
            raise KeyboardInterrupt

    def other_weights():
        with events.open_writer(file, INFO, ntuple=ntuple) as writer:
            writer.write(make())
            writer.write(make(ids=("x",)))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ValueError, match="from event 20") as caught:
        other_weights()
    assert str(file) in str(caught.value)
    with pytest.raises(ValueError, match="no events"):
        events.write(file, make()[:0], INFO, ntuple=ntuple)
    with pytest.raises(ValueError, match="LHE_processId"):
        events.write(file, make()[["LHEPart", "genWeight"]], INFO, ntuple=ntuple)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert file.read_text() == "older"


def test_wrong_options(tmp_path):
    with pytest.raises(ConfigurationError, match=r"name it \.lhe"):
        events.read(tmp_path / "a.txt")
    with pytest.raises(ConfigurationError, match="'ttree' or 'rntuple'"):
        events.write(tmp_path / "a.root", make(), INFO, ntuple="tuple")
    with pytest.raises(ConfigurationError, match="chunk_size"):
        list(events.iterate(tmp_path / "a.root", 0))


def test_metadata_of_others():
    with pytest.raises(SampleError, match=r"a\.root: its milinfer metadata"):
        FileMetadata.from_json("[]", "a.root")


@pytest.mark.parametrize(("name", "ntuple"), KINDS)
@pytest.mark.parametrize("workers", [1, 3])
def test_flat_columns_are_those_of_the_record(tmp_path, name, ntuple, workers):
    record = make(50)
    file = tmp_path / name
    events.write(file, record, INFO, ntuple=ntuple)
    with events.open_reader(file, workers=workers) as reader:
        parts = [part.record() for part in reader.columns(7)]
    same(ak.concatenate(parts), record)
    assert [len(c) for c in events.iterate(file, 7, workers=workers)] == [7] * 7 + [1]


@pytest.mark.parametrize("ntuple", ["ttree", "rntuple"])
def test_only_what_is_asked_for_is_read_and_once(tmp_path, ntuple, monkeypatch):
    from milinfer.io.root import RootReader

    file = tmp_path / "a.root"
    with events.open_writer(file, INFO, ntuple=ntuple) as writer:
        for seed in range(3):
            writer.write(make(40, seed=seed))
    read = []
    array = RootReader._array
    monkeypatch.setattr(RootReader, "_array", lambda *args: read.append(args[1:]) or array(*args))
    with events.open_reader(file) as reader:
        for part in reader.columns(1):
            assert len(part.particles["px"]) == part.counts.sum() == len(part.particles["px"])
            assert "spin" in part.particles
            assert len(part.particles) == len(PARTICLE_FIELDS)
    names = {name for name, _, _ in read}
    assert names == {"LHEPart_pdgId", "LHEPart_exact_px"}
    assert len(read) == len(set(read))
    ranges = sorted({(start, stop) for _, start, stop in read})
    assert ranges == [(0, 40), (40, 80), (80, 120)]
