"""The coffea processor: the same result whatever executor, mode and schema."""

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import awkward as ak
import cloudpickle
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory

import milinfer as mil
from clusters import cluster_of_threads
from milinfer.datasets import vbf_hww
from milinfer.exceptions import ConfigurationError, FeatureError, ParameterError, SampleError
from milinfer.features.feature_set import FeatureSet, feature_set
from milinfer.features.objects import Collection
from milinfer.features.processor import EventSchema, FeatureProcessor
from milinfer.io import events as event_files
from milinfer.io import lhe
from milinfer.io.convert import convert
from milinfer.io.event_record.info import LHEInfo, LHEProcess, LHEWeight
from milinfer.io.event_record.record import make_events
from milinfer.samples.run_features import make_executor, run_features

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests

INFO = LHEInfo(
    processes=(LHEProcess(2.0, 0.1, 1.0, 1),),
    weights=(LHEWeight("rw-1", "c_HW=1"),),
    process="vbf",
    point={"c_HW": 0.5},
)


def event_record(n, seed, short=0):
    rng = np.random.default_rng(seed)
    ids = np.tile([11, -13, -12, 14, 1, 2], (n, 1))
    if short:
        ids[:short, 5] = 22
    flat = (rng.normal(size=(n, 6, 3)) * 70).reshape(-1, 3)
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
    weights = rng.normal(1, 0.5, n)
    return make_events(
        np.full(n, 6),
        particles,
        {"genWeight": weights, "LHE_processId": np.ones(n)},
        {"rw-1": weights * 2},
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, seed, n in (("b", 1, 70), ("a", 2, 45)):
        event_files.write(folder / f"{name}.root", event_record(n, seed), INFO)
    return [str(folder / "b.root"), str(folder / "a.root")]


@pytest.fixture(scope="module")
def expected(files):
    return mil.Sample.concatenate([mil.Sample.from_file(path) for path in sorted(files)])


def hard(events):
    """A selection like a user's, in a module of the user's."""
    return {"even": events.event % 2 == 0, "weight": events.genWeight > 0.5}


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def check(sample, expected):
    np.testing.assert_array_equal(sample.features, expected.features)
    np.testing.assert_array_equal(sample.weights, expected.weights)
    np.testing.assert_array_equal(sample.reweights["rw-1"], expected.reweights["rw-1"])


def test_iterative(files, expected):
    result = run_features({"vbf": files}, chunksize=20)
    sample = result["vbf"]
    check(sample, expected)
    assert (sample.process, sample.point) == ("vbf", {"c_HW": 0.5})
    assert sample.reweight_points == {"rw-1": {"c_HW": 1.0}}
    assert sample.cross_section == 2.0
    # Equal cross-sections with equal errors are of one integration, whose error stays.
    assert sample.cross_section_error == pytest.approx(0.1)
    assert sample.provenance["files"] == ["a.root", "b.root"]
    assert sample.provenance["cutflow"]["all"]["n_events"] == 115


def test_from_lhe_to_samples_bit_by_bit(tmp_path):
    """Generated LHE files, converted to ROOT: coffea gives what the files give directly."""
    paths = []
    for seed in (1, 2):
        generated = vbf_hww.generate(800, {"c_HW": 0.5}, seed=seed)
        lhe.write(tmp_path / f"{seed}.lhe", *generated.to_events(vbf_hww.DEFAULT_WEIGHTS))
        convert(tmp_path / f"{seed}.lhe", tmp_path / f"{seed}.root")
        paths.append(tmp_path / f"{seed}.root")
    result = run_features({"vbf": paths}, chunksize=300)["vbf"]
    for suffix in (".root", ".lhe"):
        parts = [mil.Sample.from_file(path.with_suffix(suffix)) for path in paths]
        direct = mil.Sample.concatenate(parts)
        assert len(result) == 1600
        assert result.features.tobytes() == direct.features.tobytes()
        assert result.weights.tobytes() == direct.weights.tobytes()
        assert list(result.reweights) == list(direct.reweights)
        for name, column in direct.reweights.items():
            assert result.reweights[name].tobytes() == column.tobytes()
        assert result.reweight_points == direct.reweight_points
        assert len(result.reweight_points) == len(vbf_hww.DEFAULT_WEIGHTS)
        assert (result.point, result.process) == (direct.point, direct.process)
        mean = np.mean([part.cross_section for part in parts])
        assert result.cross_section == pytest.approx(mean, rel=1e-12)


def test_futures(files, expected):
    options = {"selection": hard, "chunksize": 20}
    one = run_features({"vbf": files, "a": files[1:]}, **options)
    two = run_features({"vbf": files, "a": files[1:]}, workers=2, **options)
    for name in one:
        check(two[name], one[name])
        assert two[name].provenance == one[name].provenance
    assert 0 < len(one["a"]) < len(one["vbf"]) < len(expected)


def test_errors_in_a_pool_come_back(files):
    with ThreadPoolExecutor(2) as pool:  # processes would take seconds to start
        executor = processor.FuturesExecutor(pool=pool, status=False)
        with pytest.raises(FeatureError, match="fewer than 4 leptons") as raised:
            run_features({"vbf": files}, features=four_leptons(), executor=executor)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_dask(files, client, expected):
    check(
        run_features({"vbf": files}, executor="dask", client=client, chunksize=20)["vbf"], expected
    )
    selected = run_features(
        {"vbf": files}, executor="dask", client=client, chunksize=33, selection=hard
    )
    check(selected["vbf"], run_features({"vbf": files}, selection=hard)["vbf"])


def test_a_client_is_enough(files, client, expected):
    check(run_features({"vbf": files}, client=client, chunksize=20)["vbf"], expected)
    for options in ({"workers": 2}, {"executor": "futures"}, {"executor": make_executor()}):
        with pytest.raises(ConfigurationError, match="client= "):
            run_features({"vbf": files}, client=client, **options)
    with pytest.raises(ConfigurationError, match=r"not a distributed\.Client"):
        run_features({"vbf": files}, client="tcp://localhost:8786")
    with pytest.raises(FeatureError, match="fewer than 4 leptons"):
        run_features({"vbf": files}, features=four_leptons(), client=client)


class DiesOnce:
    """A selection of everything, for which the first worker that meets it is killed."""

    def __init__(self, path):
        self.path = path

    def __call__(self, events):
        if events.event[0] > 40:
            with contextlib.suppress(FileExistsError):
                self.path.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return events.event > 0


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(files, tmp_path, expected):
    """It is the only one, so that all chunks wait for the worker that takes its place."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        selection = DiesOnce(tmp_path / "killed")
        result = run_features({"vbf": files}, client=client, chunksize=5, selection=selection)
    assert (tmp_path / "killed").exists()
    check(result["vbf"], expected)


class Shows:
    """A selection of everything that takes its time, and shows that it is asked."""

    def __init__(self, path):
        self.path = path

    def __call__(self, events):
        self.path.touch()
        time.sleep(0.1)
        return events.event > 0


def test_a_lost_scheduler_is_an_error(files, tmp_path):
    distributed = pytest.importorskip("distributed")
    shown = tmp_path / "shown"
    with (
        cluster_of_threads() as cluster,
        distributed.Client(cluster.scheduler_address, timeout=1) as client,
    ):

        def close():
            while not shown.exists():
                time.sleep(0.02)
            cluster.close()

        thread = threading.Thread(target=close, daemon=True)
        thread.start()
        with pytest.raises(ConfigurationError, match="cluster has lost its work"):
            run_features({"vbf": files}, client=client, chunksize=1, selection=Shows(shown))
        thread.join()


def four_leptons():
    leptons = Collection("leptons", "l", 4, frozenset({11, 13}))
    return FeatureSet("4l", {"m": lambda o: o.llll.mass}, (leptons,))


@pytest.mark.parametrize("mode", ["virtual", "eager"])
@pytest.mark.parametrize("schema", [EventSchema, NanoAODSchema, BaseSchema])
def test_modes_and_schemas(files, expected, mode, schema, tmp_path, monkeypatch):
    path = files[0]
    if schema is BaseSchema:
        path = tmp_path / "flat.root"
        mil.Sample.from_file(files[0]).to_file(path)
    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)
    factory = NanoEventsFactory.from_root(
        {str(path): "Features" if schema is BaseSchema else "Events"},
        schemaclass=schema,
        mode=mode,
        metadata={"dataset": "d"},
    )
    work = FeatureProcessor()
    output = work.postprocess(work.process(factory.events()))["d"]
    array = np.stack([c.value for c in output["columns"].values()], axis=1)
    np.testing.assert_array_equal(array, expected.features[45:])
    np.testing.assert_array_equal(output["weight"].value, expected.weights[45:])
    (reweight,) = output["reweights"].values()
    np.testing.assert_array_equal(reweight.value, expected.reweights["rw-1"][45:])


def test_schema_switches_stay_local():
    assert NanoAODSchema.error_missing_event_ids
    assert NanoAODSchema.event_ids


def test_flat_samples_through_the_runner(files, expected, tmp_path):
    for i, path in enumerate(sorted(files)):
        mil.Sample.from_file(path).to_file(tmp_path / f"{i}.root")
    paths = [tmp_path / "1.root", tmp_path / "0.root"]
    sample = run_features({"x": paths}, schema=BaseSchema, treename="Features")["x"]
    check(sample, expected)
    assert (sample.point, sample.process) == ({"c_HW": 0.5}, "vbf")


def test_files_without_event_numbers(files, tmp_path):
    path = tmp_path / "bare.root"
    with uproot.open(files[0]) as file:
        arrays = file["Events"].arrays(
            ["LHEPart_pt", "LHEPart_eta", "LHEPart_phi", "LHEPart_mass", "LHEPart_pdgId",
             "LHEPart_status"]
        )  # fmt: skip
    part = ak.zip({name.removeprefix("LHEPart_"): arrays[name] for name in ak.fields(arrays)})
    with uproot.recreate(path) as file:
        file["Events"] = {"LHEPart": part}
    fileset = {"bare": {"files": [path], "metadata": {"point": {}}}}
    with pytest.raises(SampleError, match="no weight genWeight or weight"):
        run_features(fileset)
    sample = run_features(fileset, weight=None)["bare"]
    assert sample.process == "bare"
    np.testing.assert_allclose(
        sample.features, mil.Sample.from_file(files[0]).features, rtol=1e-5, atol=2e-5
    )


def test_cutflow_and_cross_section(files):
    out = run_features({"vbf": files}, selection=hard, chunksize=50)["vbf"]
    records = ak.concatenate([event_files.read(path).events for path in sorted(files)])
    numbers = np.concatenate([np.arange(1, 46), np.arange(1, 71)])
    weights = ak.to_numpy(records.genWeight)
    even = numbers % 2 == 0
    both = even & (weights > 0.5)
    flow = out.provenance["cutflow"]
    assert list(flow) == ["all", "even", "weight", "features"]
    for step, mask in (("even", even), ("weight", both), ("features", both)):
        assert flow[step]["n_events"] == mask.sum()
        assert flow[step]["sum_of_weights"] == pytest.approx(weights[mask].sum())
        assert flow[step]["sum_of_squared_weights"] == pytest.approx((weights[mask] ** 2).sum())
        assert flow[step]["n_negative"] == (weights[mask] < 0).sum()
    assert out.provenance["rejected"] == {
        "even": (~even).sum(),
        "weight": even.sum() - both.sum(),
    }
    assert out.cross_section == pytest.approx(2.0 * weights[both].sum() / weights.sum())
    write_sample_roundtrip(out)


def write_sample_roundtrip(sample):
    import json

    assert json.loads(json.dumps(sample.provenance)) == sample.provenance


def test_missing_objects(tmp_path):
    path = tmp_path / "short.root"
    event_files.write(path, event_record(30, 3, short=4), INFO)
    fileset = {"short": [path]}
    with pytest.raises(FeatureError, match=r"event 0 of .*short\.root has fewer than 2 jets"):
        run_features(fileset)
    with pytest.raises(FeatureError, match=r"event 1 of"):
        run_features(fileset, selection=lambda events: events.event > 1)
    sample = run_features(fileset, on_missing="reject", chunksize=3)["short"]
    assert len(sample) == 26
    assert sample.provenance["rejected"] == {"fewer than 2 jets": 4}
    nothing = run_features(fileset, selection=lambda events: events.event < 0)["short"]
    assert len(nothing) == 0


def objects(events):
    """Leptons and jets of a detector-level NanoAOD."""
    electrons, muons = events.Electron, events.Muon
    leptons = ak.concatenate([electrons, muons], axis=1)
    return leptons[leptons.pt > 10], events.Jet[events.Jet.pt > 20], events.MET


def nano_file(path, n=40):
    rng = np.random.default_rng(11)

    def collection(count, ids):
        counts = rng.integers(0, count, n)
        total = counts.sum()
        fields = {
            "pt": rng.uniform(5, 100, total).astype(np.float32),
            "eta": rng.normal(size=total).astype(np.float32),
            "phi": rng.uniform(-3, 3, total).astype(np.float32),
            "mass": rng.uniform(0, 5, total).astype(np.float32),
            ids[0]: rng.choice(ids[1], total).astype(np.int32),
        }
        return ak.zip({name: ak.unflatten(column, counts) for name, column in fields.items()})

    branches = {
        "Electron": collection(4, ("pdgId", [11, -11])),
        "Muon": collection(4, ("pdgId", [13, -13])),
        "Jet": collection(6, ("partonFlavour", [-5, 1, 2, 21])),
        "MET_pt": rng.uniform(0, 100, n).astype(np.float32),
        "MET_phi": rng.uniform(-3, 3, n).astype(np.float32),
        "genWeight": rng.normal(1, 0.1, n).astype(np.float32),
        "run": np.ones(n, np.uint32),
        "luminosityBlock": np.ones(n, np.uint32),
        "event": np.arange(n, dtype=np.uint64),
    }
    with uproot.recreate(path) as file:
        file["Events"] = branches
    return branches


def test_detector_level_with_own_objects(tmp_path):
    path = tmp_path / "nano.root"
    branches = nano_file(path)
    fileset = {"data": {"files": {str(path): "Events"}, "metadata": {"point": {"mu": 1.0}}}}
    with pytest.raises(FeatureError, match="give objects= of FeatureProcessor"):
        run_features(fileset)
    own = {"features": "vbf_2l2j_reco", "objects": objects, "on_missing": "reject"}
    with pytest.raises(FeatureError, match=r"no field 'pdgId'.*\*_reco"):
        run_features(fileset, **{**own, "features": "vbf_2l2j"})
    sample = run_features(fileset, **own, chunksize=15)["data"]
    counts = len(sample), sample.provenance["rejected"]
    leptons = ak.concatenate([branches["Electron"], branches["Muon"]], axis=1)
    leptons, jets = leptons[leptons.pt > 10], branches["Jet"][branches["Jet"].pt > 20]
    good_leptons, good_jets = ak.num(leptons) >= 2, ak.num(jets) >= 2
    good = ak.to_numpy(good_leptons & good_jets)
    assert counts[0] == good.sum() > 5
    assert counts[1]["fewer than 2 leptons"] == ak.sum(~good_leptons)
    np.testing.assert_allclose(sample.column("met_et"), branches["MET_pt"][good], rtol=1e-6)
    lead = ak.to_numpy(ak.max(jets.pt, axis=1)[good])
    np.testing.assert_array_equal(sample.column("q0_pt"), lead)


def test_three_lines_in_a_users_processor(tmp_path):
    path = tmp_path / "nano.root"
    branches = nano_file(path)

    class MyProcessor(processor.ProcessorABC):
        def process(self, events):
            leptons, jets, _ = objects(events)
            good = (ak.num(leptons) >= 2) & (ak.num(jets) >= 2)
            table = mil.feature_set("vbf_2l2j_reco")(leptons[good], jets[good], events[good])
            return {"features": table.accumulate(events.genWeight[good])}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)
        runner = processor.Runner(
            processor.IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=15
        )
        result = runner({"d": [str(path)]}, MyProcessor(), treename="Events")["features"]
    sample = run_features(
        {"d": {"files": [path], "metadata": {"point": {}}}},
        features="vbf_2l2j_reco",
        objects=objects,
        on_missing="reject",
    )["d"]
    assert result["n_events"] == len(sample)
    assert result["sum_of_weights"] == pytest.approx(sample.weights.sum())
    for name in sample.feature_names:
        np.testing.assert_array_equal(result["columns"][name].value, sample.column(name))
    assert branches["Jet"].ndim == 2


def test_datasets_that_do_not_fit(files, tmp_path):
    other = tmp_path / "other.root"
    event_files.write(other, event_record(5, 1), LHEInfo(INFO.processes, point={"c_HW": 1.0}))
    with pytest.raises(ParameterError, match=r"other\.root is at c_HW=1"):
        run_features({"x": [files[0], other]})
    with pytest.raises(ParameterError, match="but point= is c_HW=0"):
        run_features({"x": {"files": files, "metadata": {"point": {"c_HW": 0.0}}}})
    bare = tmp_path / "bare.root"
    event_files.write(bare, event_record(5, 1), LHEInfo(INFO.processes))
    with pytest.raises(ParameterError, match="dataset 'x' does not say"):
        run_features({"x": bare})
    zz = tmp_path / "zz.root"
    event_files.write(
        zz, event_record(5, 1), LHEInfo(INFO.processes, process="zz", point={"c_HW": 0.5})
    )
    with pytest.raises(SampleError, match="process zz"):
        run_features({"x": [files[0], zz]})
    with pytest.raises(SampleError, match="lists a file twice"):
        run_features({"x": [files[0], files[0]]})
    with pytest.raises(FileNotFoundError):
        run_features({"x": [tmp_path / "none.root"]})
    with pytest.raises(ConfigurationError, match="unknown executor"):
        run_features({"x": files}, executor="spark")
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"nothing")
    with pytest.raises(SampleError, match=r"broken\.root"):
        run_features({"x": [broken]})


def test_a_chunk_never_counts_twice(files):
    factory = NanoEventsFactory.from_root(
        {files[0]: "Events"},
        schemaclass=EventSchema,
        metadata={"dataset": "d", "filename": files[0], "entrystart": 0},
    )
    work = FeatureProcessor("vbf_2l2j")
    output = work.process(factory.events())
    with pytest.raises(SampleError, match="appear twice"):
        processor.accumulate([output, output])


def test_bad_selections(files):
    events = event_files.read(files[0]).events
    for selection, message in (
        (lambda e: e.genWeight, "returns float64"),
        (lambda _: ak.Array([True]), "of shape"),
        (lambda e: {"all": e.genWeight > 0}, "rename the selection"),
    ):
        with pytest.raises(SampleError, match=message):
            FeatureProcessor(selection=selection).process(events)
    named = feature_set("vbf_2l2j")
    assert FeatureProcessor(named).features is named
