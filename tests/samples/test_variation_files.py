"""Variations of files: every event is accounted for, and folders give back what was saved."""

import hashlib
import json
import shutil

import awkward as ak
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lhe_text
import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.exceptions import ConfigurationError, FeatureError, MissingFileError, SampleError
from milinfer.features.feature_set import FeatureSet, feature_set
from milinfer.io import events as event_files
from milinfer.samples.sample import check_sample_counts
from nanoaod_files import nano_branches, write_nano

N = 300
CUT = 40.0  # GeV
JES = mil.up_and_down(mil.ScaleVariation, "jes", 1.1, 0.9, objects="jets")


def hard_jets(events):
    """Leptons, and jets above a threshold: events migrate over it."""
    parts = events.LHEPart[events.LHEPart.status == 1]
    ids = abs(parts.pdgId)
    jets = parts[((ids <= 5) | (ids == 21)) & (parts.pt > CUT)]
    return {"leptons": parts[(ids == 11) | (ids == 13) | (ids == 15)], "jets": jets}


def selected(columns=("q0_pt", "q1_pt", "m_ll")):
    few = feature_set("vbf_2l2j").select(columns)
    return FeatureSet("hard", few.columns, few.collections, selector=hard_jets)


def events_of(seed, c_hw=0.0, n=N):
    """Events with weights of both signs and different sizes."""
    record, info = vbf_hww.generate(n, {"c_HW": c_hw}, seed=seed).to_events(vbf_hww.DEFAULT_WEIGHTS)
    size = np.random.default_rng(seed).choice([1.0, 0.5, 2.0, -0.5], n)
    record = ak.with_field(record, record.genWeight * size, "genWeight")
    for name in record.LHEWeight.fields:
        record["LHEWeight", name] = record.LHEWeight[name] * size
    return record, info


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    for name, seed, c_hw in (("sm.lhe", 1, 0.0), ("more.root", 2, 0.0), ("bsm.parquet", 3, 0.5)):
        event_files.write(folder / name, *events_of(seed, c_hw))
    return folder


def read(path, variations=JES, **options):
    options = {"features": selected(), "on_missing": "reject", "cross_section": 2.0} | options
    return mil.ProcessVariations.from_file(path, variations=variations, **options)


@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
@pytest.mark.parametrize("name", ["sm.lhe", "more.root", "bsm.parquet"])
@pytest.mark.parametrize("chunk_size", [50_000, 70])
def test_each_event_is_in_its_place(folder, name, chunk_size):
    process = read(folder / name, chunk_size=chunk_size)
    nominal = process.nominal[0]
    plain = mil.Sample.from_file(
        folder / name, features=selected(), on_missing="reject", cross_section=2.0
    )
    np.testing.assert_array_equal(nominal.features, plain.features)
    np.testing.assert_array_equal(nominal.weights, plain.weights)
    assert nominal.provenance == plain.provenance
    assert list(nominal.reweights) == list(plain.reweights)

    record = event_files.read(folder / name).events
    jets = hard_jets(record)["jets"]
    all_jets = record.LHEPart[(record.LHEPart.status == 1) & (abs(record.LHEPart.pdgId) <= 5)]
    kept = ak.to_numpy(ak.num(jets) >= 2)
    assert 20 < kept.sum() < N - 20
    for variation, factor in zip(process.variations, (1.1, 0.9), strict=True):
        own = ak.to_numpy(ak.sum(all_jets.pt * factor > CUT, axis=1) >= 2)
        sample = variation.sample
        assert len(sample) == own.sum() != kept.sum()
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        np.testing.assert_array_equal(variation.partners, number[own])
        np.testing.assert_array_equal(sample.weights, ak.to_numpy(record.genWeight)[own])
        leading = ak.to_numpy(ak.max(all_jets.pt, axis=1))[own]
        np.testing.assert_allclose(sample.column("q0_pt"), factor * leading, rtol=1e-5)
        for weight in record.LHEWeight.fields:
            np.testing.assert_array_equal(
                sample.reweights[weight], ak.to_numpy(record.LHEWeight[weight])[own]
            )
        assert sample.reweight_points == nominal.reweight_points
        # events in = events out, in this variation, and over the union of both selections
        assert sample.provenance["rejected"] == {"fewer than 2 jets": N - own.sum()}
        check_sample_counts(sample, name)
        common = variation.partners >= 0
        assert len(nominal) + np.sum(~common) == np.sum(kept | own)
        total = sample.weights[~common].sum() + nominal.weights.sum()
        assert total == pytest.approx(ak.to_numpy(record.genWeight)[kept | own].sum())
        ratio = sample.weights.sum() / nominal.weights.sum()
        assert sample.cross_section == pytest.approx(2.0 * ratio)
        assert process.yield_ratio(variation).value == pytest.approx(ratio)
        assert sample.provenance["nuisances"] == variation.nuisances


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    factor=st.floats(0.5, 2.0).filter(lambda x: x != 1),
    chunk_size=st.sampled_from([7, 30, 1000]),
    window=st.tuples(st.integers(0, 100), st.integers(40, 150)),
)
def test_events_in_are_events_out(folder, factor, chunk_size, window):
    start, n = window
    process = read(
        folder / "sm.lhe",
        [mil.ScaleVariation({"jes": 1.0}, factor)],
        chunk_size=chunk_size,
        events=(start, start + n),
    )
    nominal, variation = process.nominal[0], process.variations[0]
    for sample in (nominal, variation.sample):
        assert len(sample) + sum(sample.provenance.get("rejected", {}).values()) == n
    common = variation.partners >= 0
    assert len(np.unique(variation.partners[common])) == common.sum()
    np.testing.assert_array_equal(
        nominal.weights[variation.partners[common]], variation.sample.weights[common]
    )
    # larger factors only gain events, smaller ones only lose them
    if factor > 1:
        np.testing.assert_array_equal(variation.partners[common], np.arange(len(nominal)))
    else:
        assert common.all()


@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
def test_several_files_are_joined_by_point(folder):
    paths = [folder / name for name in ("sm.lhe", "bsm.parquet", "more.root")]
    weight = mil.WeightVariation({"t": 1.0}, lambda e: 1 + e.LHEPart.pt[:, -1] / 1000)
    process = read(paths, [*JES, weight])
    assert [s.point for s in process.nominal] == [{"c_HW": 0.0}, {"c_HW": 0.5}]
    assert len(process.variations) == 6
    alone = [read(path, [*JES, weight]) for path in (paths[0], paths[2])]
    n = len(alone[0].nominal[0])
    up = process.variations[0]
    assert up.nuisances == {"jes": 1.0}
    first, second = (p.variations[0] for p in alone)
    expected = np.where(second.partners >= 0, second.partners + n, -1)
    np.testing.assert_array_equal(up.partners, [*first.partners, *expected])
    factors = process.nominal[0].weights[[0, n]] / [p.nominal[0].weights[0] for p in alone]
    np.testing.assert_allclose(
        up.sample.weights,
        [*(first.sample.weights * factors[0]), *(second.sample.weights * factors[1])],
    )
    assert up.sample.provenance["n_events"] == 2 * N
    check_sample_counts(up.sample, "joined")
    assert process.variations[2].weights_only
    with pytest.raises(SampleError, match=r"more.root: there is no variation jes=-1, which other"):
        mil.ProcessVariations.concatenate([read(paths[0]), read(paths[2], JES[:1])])
    with pytest.raises(SampleError, match="the list of variations is empty"):
        mil.ProcessVariations.concatenate([])


def test_weights_of_nanoaod(tmp_path):
    branches = nano_branches(30)
    path = write_nano(tmp_path / "nano.root", branches)
    muf = mil.up_and_down(mil.WeightVariation, "pdf", "LHEPdfWeight[0]", "LHEPdfWeight[1]")
    process = mil.ProcessVariations.from_file(
        path, variations=muf, parameters=["c_HW"], point={"c_HW": 0.0}, features="vbf_2l2j"
    )
    relative = ak.to_numpy(branches["LHEPdfWeight"]).astype(float)
    for k, variation in enumerate(process.variations):
        assert variation.weights_only
        np.testing.assert_allclose(
            variation.sample.weights, branches["genWeight"].astype(float) * relative[:, k]
        )
        # The weights of other points come along, in proportion; those of the PDF do not.
        assert list(variation.sample.reweights) == [f"LHEReweightingWeight[{i}]" for i in range(5)]
        np.testing.assert_allclose(
            variation.sample.reweights["LHEReweightingWeight[3]"],
            process.nominal[0].reweights["LHEReweightingWeight[3]"] * relative[:, k],
        )


def test_threads_change_nothing(folder):
    weight = mil.WeightVariation({"t": 1.0}, lambda e: 1 + e.LHEPart.pt[:, -1] / 1000)
    one, four = (
        read(folder / "sm.lhe", [*JES, weight], chunk_size=40, workers=workers)
        for workers in (1, 4)
    )
    for mine, other in zip(one.variations, four.variations, strict=True):
        assert_same(mine.sample, other.sample)
        np.testing.assert_array_equal(mine.partners, other.partners)


def test_processes_with_scales_of_their_own(tmp_path):
    """For IDWTUP 2 all weights of a process get its factor: those of variations, too."""
    block = "<init>\n2212 2212 6500 6500 0 0 0 0 2 2\n1.0 0.1 1.0 1\n3.0 0.1 1.0 2\n</init>\n"
    numbers, weights = [1, 1, 1, 2, 2], [0.5, 1.5, 1.0, 2.0, 4.0]
    events = [
        lhe_text.event(weight=f"{w!r}").replace(" 4 1 ", f" 4 {k} ", 1)
        for k, w in zip(numbers, weights, strict=True)
    ]
    (tmp_path / "a.lhe").write_text(lhe_text.document(*events, init=block))

    def lost(first):
        def function(events):
            charges = ak.where(events.event == first, 0, 1) * events.LHEPart.status
            return ak.with_field(events, events.LHEPart[charges != 0], "LHEPart")

        return function

    electron = mil.Collection("leptons", "l", 1, frozenset({11}))
    process = mil.ProcessVariations.from_file(
        tmp_path / "a.lhe",
        variations=[
            mil.FunctionVariation({"a": 1.0}, lost(0)),
            mil.FunctionVariation({"b": 1.0}, lost(3)),
            mil.WeightVariation({"t": 1.0}, lambda e: 1.0 + 0.1 * e.event),
        ],
        features=mil.FeatureSet("lepton", {"pt": lambda o: o.l0.pt}, (electron,)),
        on_missing="reject",
        point={},
    )
    nominal = process.nominal[0].weights
    assert nominal[3:].sum() / nominal[:3].sum() == pytest.approx(3.0)
    a, b, t = process.variations
    np.testing.assert_array_equal(a.sample.weights, nominal[1:])
    np.testing.assert_array_equal(b.sample.weights, np.delete(nominal, 3))
    assert b.partners.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(t.sample.weights, nominal * (1 + 0.1 * np.arange(5)))


def test_mistakes_name_file_and_variation(folder):
    path = folder / "sm.lhe"
    for variations, options, error, message in (
        (
            [mil.WeightVariation({"t": 1}, "muR")],
            {},
            SampleError,
            "variation t=1 of .*sm.lhe: there",
        ),
        (
            [mil.ScaleVariation({"pes": 1}, 1.1, "photons")],
            {},
            SampleError,
            "sm.lhe: the variation pes=1 scales photons, but no event has any",
        ),
        (
            JES,
            {"on_missing": "raise"},
            FeatureError,
            "event .* of .*sm.lhe has fewer than 2 jets",
        ),
        (
            [mil.ScaleVariation({"jes": 1}, 0.01)],
            {},
            SampleError,
            "sm.lhe: variation jes=1 .*weights of 0 events sum to 0",
        ),
        (
            [mil.WeightVariation({"t": 1}, lambda e: 0 * e.genWeight - 1)],
            {},
            SampleError,
            "sm.lhe: variation t=1 .*its yield must be positive",
        ),
        ([*JES, JES[0]], {}, SampleError, "sm.lhe: two variations for jes=1"),
        ([], {}, SampleError, "sm.lhe: .*there are no variations"),
        (JES, {"feature": "x"}, ConfigurationError, "no keyword feature"),
    ):
        with pytest.raises(error, match=message):
            read(path, variations, **options)


def test_files_of_features_have_weights_alone(folder, tmp_path):
    sample = read(folder / "sm.lhe").nominal[0]
    sample.to_file(tmp_path / "a.parquet")
    name = next(iter(sample.reweights))
    process = mil.ProcessVariations.from_file(
        tmp_path / "a.parquet", variations=[mil.WeightVariation({"t": 1}, name)]
    )
    np.testing.assert_array_equal(process.variations[0].sample.weights, sample.reweights[name])
    with pytest.raises(SampleError, match=r"jes=1 of .*a\.parquet: the file has features but no"):
        mil.ProcessVariations.from_file(tmp_path / "a.parquet", variations=JES)


def saved(folder, path):
    weight = mil.WeightVariation({"t": 1.0}, lambda e: 1 + e.LHEPart.pt[:, -1] / 1000)
    process = read([folder / "sm.lhe", folder / "bsm.parquet"], [*JES, weight])
    process.save(path)
    return process


def assert_same(a, b):
    for name in a.fields._fields:
        mine, other = getattr(a, name), getattr(b, name)
        if isinstance(mine, np.ndarray):
            assert mine.tobytes() == other.tobytes(), name
        elif name == "reweights":
            assert list(mine) == list(other)
            assert all(mine[k].tobytes() == other[k].tobytes() for k in mine)
        else:
            np.testing.assert_equal(mine, other)


def test_a_folder_gives_back_what_was_saved(folder, tmp_path):
    process = saved(folder, tmp_path / "signal")
    again = mil.ProcessVariations.load(tmp_path / "signal")
    for mine, other in zip(process.nominal, again.nominal, strict=True):
        assert_same(mine, other)
    for mine, other in zip(process.variations, again.variations, strict=True):
        assert_same(mine.sample, other.sample)
        assert mine.nuisances == other.nuisances
        assert mine.weights_only == other.weights_only
        np.testing.assert_array_equal(mine.partners, other.partners)
    assert_same(mil.Sample.from_file(tmp_path / "signal/nominal_0.parquet"), process.nominal[0])
    other = mil.Sample(np.ones((2, 1)), ("x",), cross_section=1.0)
    bare = mil.ProcessVariations(other, [mil.Variation({"shower": 1.0}, other)])
    bare.save(tmp_path / "bare")
    assert mil.ProcessVariations.load(tmp_path / "bare").variations[0].partners is None


def test_a_damaged_folder(folder, tmp_path):
    saved(folder, tmp_path / "whole")

    def broken(change, message, error=SampleError):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", copy)
        change(copy)
        with pytest.raises(error, match=message):
            mil.ProcessVariations.load(copy)

    def manifest(**change):
        def apply(copy):
            file = copy / "variations.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | change))

        return apply

    def fewer(copy):
        file = copy / "variations.json"
        content = json.loads(file.read_text())
        content["nominal"][0]["n_events"] += 1
        file.write_text(json.dumps(content))

    broken(lambda f: (f / "variation_1.parquet").unlink(), "variation_1.parquet is missing")
    broken(lambda f: (f / "partners_0.npy").unlink(), "partners_0.npy is missing")
    broken(
        lambda f: shutil.copy(f / "variation_0.parquet", f / "variation_1.parquet"),
        "variation_1.parquet has changed since it was written",
    )
    broken(fewer, r"nominal_0.parquet has \d+ events, but variations.json records")
    broken(lambda f: (f / "variations.json").unlink(), "has no variations.json", MissingFileError)
    broken(lambda f: (f / "variations.json").write_text("{"), "is not JSON")
    broken(manifest(kind="model"), "lists no variations")
    broken(manifest(format=2), "has the format 2")
    broken(manifest(nominal=[{}]), "variations.json is damaged")

    def entry(*place, value):
        def apply(copy):
            file = copy / "variations.json"
            content = owner = json.loads(file.read_text())
            for key in place[:-1]:
                owner = owner[key]
            owner[place[-1]] = value
            file.write_text(json.dumps(content))

        return apply

    def partners(data):
        def apply(copy):
            file = copy / "partners_0.npy"
            if isinstance(data, bytes):
                file.write_bytes(data)
            else:
                np.save(file, data)
            hash_ = hashlib.sha256(file.read_bytes()).hexdigest()
            entry("variations", 0, "partners", "sha256", value=hash_)(copy)

        return apply

    # Regression: these were errors of Python, or files outside the folder.
    broken(entry("nominal", 0, "file", value="x" * 400), "variations.json names 'xxx")
    broken(entry("nominal", 0, "file", value="../x.parquet"), "not a file in the same folder")
    broken(entry("nominal", 0, "file", value=1), "file is 1, and not a text")
    broken(entry("variations", 0, "nuisances", "jes", value=10**400), "jes is a number of too many")
    broken(entry("variations", 0, "nuisances", "jes", value=float("nan")), "jes is nan")
    broken(entry("variations", 0, "weights_only", value="no"), "weights_only is 'no'")
    broken(partners(b""), "partners_0.npy does not contain numbers of events")
    broken(partners(b"\x93NUMPY\x01\x00"), "partners_0.npy does not contain numbers of events")
    broken(partners(np.array([0.5])), "partners_0.npy contains float64 of shape")
    broken(partners(np.array([[1]])), r"partners_0.npy contains int64 of shape \(1, 1\)")
