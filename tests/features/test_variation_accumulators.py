"""Variations inside coffea: whatever the executor and the chunks, every event is accounted for."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import awkward as ak
import cloudpickle
import correctionlib.schemav2 as schema
import numpy as np
import pytest
from coffea import processor
from coffea.analysis_tools import Weights
from coffea.jetmet_tools import CorrectedJetsFactory
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from coffea.util import load, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import milinfer as mil
from milinfer.exceptions import FeatureError, SampleError
from milinfer.features.feature_set import FeatureSet
from nanoaod_files import write_nano

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests

N = 120
FEATURES = mil.feature_set("vbf_2l2j_reco").select(["q0_pt", "m_qq", "m_ll", "met_et"])


class NanoSchema(NanoAODSchema):
    warn_missing_crossrefs = False


def write(path, seed, n=N):
    rng = np.random.default_rng(seed)

    def collection(counts, scale, **more):
        total = counts.sum()
        fields = {
            "pt": rng.exponential(scale, total) + 15,
            "eta": rng.normal(size=total),
            "phi": rng.uniform(-3, 3, total),
            "mass": rng.uniform(0, 5, total),
        }
        fields = {k: v.astype(np.float32) for k, v in fields.items()} | {
            k: rng.choice(v, total).astype(np.int32) for k, v in more.items()
        }
        return ak.zip({k: ak.unflatten(v, counts) for k, v in fields.items()})

    size = np.ones(n, np.int64)
    branches = {
        "Muon": collection(rng.integers(2, 4, n), 20, pdgId=[13, -13], charge=[1, -1]),
        "Jet": collection(rng.integers(1, 6, n), 20),
        "MET_pt": rng.uniform(0, 100, n).astype(np.float32),
        "MET_phi": rng.uniform(-3, 3, n).astype(np.float32),
        "genWeight": rng.choice([1.0, 2.0, -0.5], n).astype(np.float32),
        "LHEScaleWeight": ak.from_regular(rng.normal(1, 0.2, (n, 2)).astype(np.float32)),
        "cHW": rng.uniform(0.5, 2, n).astype(np.float32),
        "run": size.astype(np.uint32),
        "luminosityBlock": size.astype(np.uint32),
        "event": (1000 * seed + np.arange(n)).astype(np.uint64),
    }
    return write_nano(path, branches, titles={})


def objects(events):
    return events.Muon, events.Jet[events.Jet.pt > 30], events.MET


def enough(events):
    return {"two jets": ak.sum(events.Jet.pt > 30, axis=1) >= 2, "met": events.MET.pt < 80}


def both_sides(pt):
    return pt[:, None] * np.array([1.1, 0.9], np.float32)


def systematics(events):
    jets, met = events.Jet, events.MET
    jets.add_systematic("jes", "UpDownSystematic", "pt", both_sides)
    met.add_systematic("jes", "UpDownSystematic", "pt", both_sides)
    return {"jes": {"Jet": jets.systematics.jes, "MET": met.systematics.jes}}


def event_weights(events, size=None):
    weights = Weights(len(events))
    weights.add("gen", ak.to_numpy(events.genWeight))
    scales = ak.to_numpy(events.LHEScaleWeight)
    one = np.ones(len(events))
    weights.add("muR", one, scales[:, 0].astype(float), scales[:, 1].astype(float))
    return weights


class MyProcessor(processor.ProcessorABC):
    def process(self, events):
        output = mil.accumulate_variations(
            FEATURES,
            events,
            systematics(events),
            weights=event_weights(events),
            objects=objects,
            selection=enough,
            reweights={"c_HW_1": events.genWeight * events.cHW},
        )
        return {events.metadata["dataset"]: output}

    def postprocess(self, accumulator):
        return accumulator


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    return [str(write(folder / f"{seed}.root", seed)) for seed in (1, 2)]


def run(fileset, executor=None, chunksize=35):
    runner = processor.Runner(
        executor=executor or processor.IterativeExecutor(status=False),
        schema=NanoSchema,
        chunksize=chunksize,
    )
    return runner(fileset, MyProcessor(), treename="Events")


def samples(output, **options):
    return mil.ProcessVariations.from_accumulator(
        output, **({"point": {"c_HW": 0.0}, "process": "ww", "cross_section": 2.0} | options)
    )


def check(process, events, *, reweighted=True):
    """Against one analysis of all events, by hand."""
    nominal = process.nominal[0]
    weights = ak.to_numpy(events.genWeight).astype(float)
    hard = {
        s: ak.to_numpy(ak.sum(events.Jet.pt * np.float32(s) > 30, axis=1) >= 2)
        for s in (1, 1.1, 0.9)
    }
    met = {s: ak.to_numpy(events.MET.pt * np.float32(s) < 80) for s in (1, 1.1, 0.9)}
    kept = {s: hard[s] & met[s] for s in hard}
    assert len(nominal) == kept[1].sum() > 30
    np.testing.assert_array_equal(nominal.weights, weights[kept[1]])
    number = np.where(kept[1], np.cumsum(kept[1]) - 1, -1)
    shifts = {tuple(v.nuisances.items()): v for v in process.variations}
    assert list(shifts) == [(("jes", 1.0),), (("jes", -1.0),), (("muR", 1.0),), (("muR", -1.0),)]
    for side, factor in ((1.0, 1.1), (-1.0, 0.9)):
        variation = shifts[(("jes", side),)]
        own = kept[factor]
        assert np.any(own & ~kept[1])
        assert np.any(kept[1] & ~own)
        np.testing.assert_array_equal(variation.partners, number[own])
        np.testing.assert_array_equal(variation.sample.weights, weights[own])
        leading = ak.to_numpy(ak.max(events.Jet.pt, axis=1))[own]
        np.testing.assert_allclose(variation.sample.column("q0_pt"), factor * leading, rtol=1e-6)
        np.testing.assert_allclose(
            variation.sample.column("met_et"), factor * ak.to_numpy(events.MET.pt)[own], rtol=1e-5
        )
        if reweighted:
            np.testing.assert_allclose(
                variation.sample.reweights["c_HW_1"],
                weights[own] * ak.to_numpy(events.cHW)[own],
                rtol=1e-6,
            )
        rejected = variation.sample.provenance["rejected"]
        assert rejected["two jets"] == np.sum(~hard[factor])
        assert sum(rejected.values()) + own.sum() == len(events)
        ratio = weights[own].sum() / weights[kept[1]].sum()
        assert variation.sample.cross_section == pytest.approx(nominal.cross_section * ratio)
        scale = shifts[(("muR", side),)]
        assert scale.weights_only
        column = ak.to_numpy(events.LHEScaleWeight)[:, 0 if side > 0 else 1]
        np.testing.assert_allclose(scale.sample.weights, (weights * column)[kept[1]], rtol=1e-6)
    assert nominal.cross_section == pytest.approx(2 * weights[kept[1]].sum() / weights.sum())


def read(paths):
    return ak.concatenate([factory(path).events() for path in paths])


def factory(path):
    return NanoEventsFactory.from_root({path: "Events"}, schemaclass=NanoSchema, mode="eager")


def pairs(process, variation):
    """Mass and weight of each varied event, and mass of its partner."""
    masses = process.nominal[0].column("m_ll")
    sample = variation.sample
    rows = zip(sample.column("m_ll"), sample.weights, variation.partners, strict=True)
    return sorted((mass, w, masses[k] if k >= 0 else -1.0) for mass, w, k in rows)


@pytest.mark.parametrize("kind", ["iterative", "futures"])
def test_chunks_and_datasets_add_up(files, tmp_path, kind):
    fileset = {"ww": files, "first": files[:1], "second": files[1:]}
    if kind == "futures":  # the next test has processes, which take seconds to start
        with ThreadPoolExecutor(2) as pool:
            output = run(fileset, processor.FuturesExecutor(pool=pool, status=False))
    else:
        output = run(fileset)
    save(output, tmp_path / "output.coffea")
    output = load(tmp_path / "output.coffea")
    events = read(files)
    process = samples(output["ww"])
    if kind == "iterative":
        check(process, events)
    else:  # chunks come in any order: the events are the same, with the same partners
        whole = samples(run({"ww": files}, chunksize=1000)["ww"])
        for mine, other in zip(process.variations, whole.variations, strict=True):
            assert pairs(process, mine) == pairs(whole, other)
    parts = [samples(output[name], cross_section=np.nan) for name in ("first", "second")]
    joined = mil.ProcessVariations.concatenate(parts)
    assert len(joined.nominal[0]) == len(process.nominal[0])
    for mine, other in zip(joined.variations, process.variations, strict=True):
        assert len(mine.sample) == len(other.sample)
        assert np.sum(mine.partners < 0) == np.sum(other.partners < 0)


def one_pass(paths, **options):
    metadata = {"point": {"c_HW": 0.0}, "process": "ww", "cross_section": 2.0}
    given = {"weight": event_weights, "variations": systematics, "objects": objects}
    return mil.run_features(
        {"ww": {"files": paths, "metadata": metadata}},
        features=FEATURES,
        schema=NanoSchema,
        selection=enough,
        **(given | options),
    )["ww"]


def same(one, other):
    for mine, theirs in zip(
        (one.nominal[0], *(v.sample for v in one.variations)),
        (other.nominal[0], *(v.sample for v in other.variations)),
        strict=True,
    ):
        assert mine.features.tobytes() == theirs.features.tobytes()
        assert mine.weights.tobytes() == theirs.weights.tobytes()
        assert mine.provenance == theirs.provenance
    for mine, theirs in zip(one.variations, other.variations, strict=True):
        assert mine.nuisances == theirs.nuisances
        np.testing.assert_array_equal(mine.partners, theirs.partners)


def test_nominal_and_varied_events_come_from_one_pass(files):
    whole = one_pass(files[:1])
    check(whole, read(files[:1]), reweighted=False)
    same(one_pass(files[:1], chunksize=60), whole)
    both = one_pass(files[::-1], chunksize=35)
    check(both, read(files), reweighted=False)
    same(one_pass(files, chunksize=50, workers=2), both)
    assert both.nominal[0].provenance["files"] == ["1.root", "2.root"]
    assert list(both.nominal[0].reweights) == ["LHEScaleWeight[0]", "LHEScaleWeight[1]"]
    # Events in = events out, of every variation.
    for sample in (both.nominal[0], *(v.sample for v in both.variations if not v.weights_only)):
        provenance = sample.provenance
        assert provenance["n_events"] == 2 * N
        assert len(sample) + sum(provenance["rejected"].values()) == 2 * N
    alone = one_pass(files, variations=None)
    assert alone.features.tobytes() == both.nominal[0].features.tobytes()
    assert alone.weights.tobytes() == both.nominal[0].weights.tobytes()
    assert alone.cross_section == pytest.approx(both.nominal[0].cross_section)


def test_the_processor_alone_gives_the_accumulator(files):
    mine = mil.FeatureProcessor(
        FEATURES,
        objects=objects,
        selection=enough,
        weight=event_weights,
        variations=systematics,
        reweights=False,
    )
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=NanoSchema, chunksize=60
    )
    output = runner({"ww": files}, mine, treename="Events")
    check(samples(output["ww"]), read(files), reweighted=False)
    # Joined once, it stays as it is.
    assert mine.postprocess(output) is output
    with pytest.raises(SampleError, match="lists a file twice"):
        one_pass(files[:1] * 2)
    once = mine.process(factory(files[0]).events())
    with pytest.raises(SampleError, match="appear twice in one dataset"):
        processor.accumulate([once, once])


def sometimes(events):
    return systematics(events) if events.event[0] < 2000 else {}


def one_side(events):
    (both,) = systematics(events).values()
    return {"jes": {1: {name: s["up"] for name, s in both.items()}}}


def test_wrong_variations_of_a_pass(files):
    with pytest.raises(SampleError, match=r"not all chunks have the variation jes=.*2\.root"):
        one_pass(files, variations=sometimes)
    with pytest.raises(SampleError, match=r"varied to \+1 but not to -1"):
        one_pass(files, variations=one_side)
    process = one_pass(files, variations=one_side, one_sided=["jes"])
    assert process.variations[0].nuisances == {"jes": 1.0}
    with pytest.raises(SampleError, match="function of the events of a chunk, not dict"):
        one_pass(files, variations={"jes": {}})
    with pytest.raises(SampleError, match="the weight has 3 entries for 120 events"):
        one_pass(files, weight=lambda _: np.ones(3))


FLAT = FeatureSet("flat", {"x": lambda o: o.x}, collections=())


def flat(n, first=0):
    rng = np.random.default_rng(n + first)
    return ak.Array(
        {"x": rng.normal(size=n), "w": rng.uniform(0.5, 1, n), "event": first + np.arange(n)}
    )


def moved(events, by):
    return ak.with_field(events, events.x + by, "x")


def accumulated(events, by=0.3, weights="w", **options):
    sides = {"s": {1: moved(events, by), -1: moved(events, -by)}}
    return mil.accumulate_variations(
        FLAT, events, sides, weights=events[weights], selection=lambda e: e.x > 0, **options
    )


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    by=st.floats(0.01, 2.0),
)
def test_any_chunks_in_any_order(sizes, order, by):
    starts = np.cumsum([100, *sizes])
    chunks = [flat(n, int(k)) for n, k in zip(sizes, starts, strict=False)]
    order.shuffle(chunks)
    output = processor.accumulate([accumulated(c, by) for c in chunks])
    events = ak.concatenate(chunks)
    x, w = ak.to_numpy(events.x), ak.to_numpy(events.w)
    if not (x > by).any():
        with pytest.raises(SampleError, match="yield must be positive"):
            samples(output)
        return
    process = samples(output)
    nominal = process.nominal[0]
    np.testing.assert_array_equal(nominal.weights, w[x > 0])
    for variation, shift in zip(process.variations, (by, -by), strict=True):
        own = x + shift > 0
        np.testing.assert_array_equal(variation.sample.weights, w[own])
        common = variation.partners >= 0
        np.testing.assert_array_equal(
            nominal.weights[variation.partners[common]], variation.sample.weights[common]
        )
        assert common.sum() == np.sum(own & (x > 0))
        assert sum(variation.sample.provenance["rejected"].values()) == np.sum(~own)
        assert variation.sample.provenance["n_events"] == len(events)


def test_weights_that_depend_on_the_objects():
    events = flat(30)

    def weights(e):
        made = Weights(len(e))
        made.add("sf", np.exp(ak.to_numpy(e.x)), 2 * np.exp(ak.to_numpy(e.x)))
        return made

    def process(given, **options):
        sides = {"s": {1: moved(events, 0.1), -1: moved(events, -0.1)}}
        output = mil.accumulate_variations(FLAT, events, sides, weights=given, **options)
        return samples(output)

    by_function = process(weights, reweights={"c_HW=1": 3 * np.exp(events.x)})
    x = ak.to_numpy(events.x)
    up, _, sf_up, sf_down = by_function.variations
    np.testing.assert_allclose(up.sample.weights, np.exp(x + 0.1))
    np.testing.assert_allclose(up.sample.reweights["c_HW=1"], 3 * np.exp(x + 0.1))
    # coffea's choice where only the weight up is given: down is 1 over up
    np.testing.assert_allclose(sf_up.sample.weights, 2 * np.exp(x))
    np.testing.assert_allclose(sf_down.sample.weights, np.exp(x) / 2)
    plain = process(weights(events)).variations[0]
    np.testing.assert_allclose(plain.sample.weights, np.exp(x))


def test_corrections_of_correctionlib(files):
    """Jets and missing momentum of coffea's factories, with an uncertainty from correctionlib."""
    adapters = pytest.importorskip("coffea.jetmet_tools.correctionlib_adapters")
    edges = [0.0, 50.0, 1e5]
    table = schema.Binning.model_validate(
        {"nodetype": "binning", "input": "JetPt", "edges": edges, "content": [0.2, 0.05],
         "flow": "clamp"}
    )  # fmt: skip
    total = schema.Correction(
        name="Total",
        version=1,
        inputs=[schema.Variable(name="JetPt", type="real")],
        output=schema.Variable(name="delta", type="real"),
        data=table,
    ).to_evaluator()
    names = {"JetPt": "pt", "JetMass": "mass", "JetPhi": "phi", "ptRaw": "pt", "massRaw": "mass"}
    names |= {"METpt": "pt", "METphi": "phi"}
    stack = adapters.CorrectionLibJECStack(junc=adapters.CorrectionLibJUNC([("Total", total)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        factory_of_jets = CorrectedJetsFactory(names, stack)
    events = factory(files[0]).events()
    jets = factory_of_jets.build(events.Jet)
    varied = {"Jet": jets.JES_Total}
    output = mil.accumulate_variations(
        FEATURES, events, {"jes": varied}, weights=None, objects=objects, on_missing="reject"
    )
    process = samples(output)
    before = ak.to_numpy(ak.max(events.Jet.pt, axis=1))
    for variation, sign in zip(process.variations, (1, -1), strict=True):
        scaled = events.Jet.pt * (1 + sign * ak.where(events.Jet.pt < 50, 0.2, 0.05))
        kept = ak.to_numpy(ak.sum(scaled > 30, axis=1) >= 2)
        np.testing.assert_allclose(
            variation.sample.column("q0_pt"), ak.to_numpy(ak.max(scaled, axis=1))[kept], rtol=1e-6
        )
        assert not np.array_equal(variation.sample.column("q0_pt"), before[kept])


def test_several_nuisances_and_one_side():
    events = flat(30)
    both = {(("a", 1), ("b", -1)): moved(events, 0.1), "a": {2: moved(events, 0.2)}}
    options = {"weights": None}
    with pytest.raises(SampleError, match=r"a is varied to \+2 but not to -2; .*one_sided=\['a'\]"):
        mil.accumulate_variations(FLAT, events, both, **options)
    output = mil.accumulate_variations(FLAT, events, both, one_sided=["a"], **options)
    assert [v.nuisances for v in samples(output).variations] == [{"a": 1.0, "b": -1.0}, {"a": 2.0}]


def one_sided_weights(n):
    weights = Weights(n)
    weights.add("muF", np.ones(n), weightDown=np.full(n, 0.9))
    return weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {"variations": {"s": {1: moved(e, 1)}}}, "s is varied to .1 but not to -1"),
        (
            lambda e: {"variations": {"s": {1: e[:-1], -1: e}}},
            "s=1: there are 29 varied but 30 nominal",
        ),
        (
            lambda e: {"variations": {"s": {1: e[::-1], -1: e}}},
            "s=1: event of entry 0 is 29, but 0",
        ),
        (lambda e: {"variations": {"s": {1: {"Jet": e.x}, -1: e}}}, "s=1: .* no collection 'Jet'"),
        (lambda e: {"variations": {"s": {1: {"x": e.x[1:]}, -1: e}}}, "s=1: x has 29 events"),
        (
            lambda e: {"variations": {"s": {1: [1.0], -1: e}}},
            "s=1: give events as an awkward array, not list",
        ),
        (lambda e: {"variations": {"s": {"x": e}}}, "'s': x has no up and down, only"),
        (lambda e: {"variations": {"s": e}}, "'s': give events by value"),
        (lambda e: {"variations": {"s": {0: e}}}, "no nuisance parameter is shifted"),
        (lambda e: {"variations": {"s": {1: e, -1: e}, ("s", 1): e}}, "s=1 is given twice"),
        (lambda e: {"weights": one_sided_weights(len(e))}, "muF is varied to -1 but not to .1"),
        (lambda _: {"weights": np.ones(3)}, "the weight has 3 entries for 30 events"),
        (lambda e: {"weights": ak.mask(e.w, e.event != 4)}, r"event 4 .* is missing"),
        (lambda _: {"reweights": {"c": np.ones(3)}}, "the weight 'c' has 3 entries"),
        (lambda _: {"one_sided": ["t"]}, "one_sided contains t, which is not varied"),
    ],
)
def test_bad_input_is_named(change, message):
    events = flat(30)
    with pytest.raises(SampleError, match=message):
        mil.accumulate_variations(FLAT, events, **({"weights": None} | change(events)))


def test_weights_that_are_missing_name_the_event_of_the_file(files):
    place = {"filename": files[0], "entrystart": 20}
    reader = NanoEventsFactory.from_root(
        {files[0]: "Events"}, schemaclass=NanoSchema, mode="eager", entry_start=20, metadata=place
    )
    events = reader.events()
    weights = ak.where(events.event == 1031, np.nan, events.genWeight)
    with pytest.raises(SampleError, match=r"1\.root: event 31 .* the weight is nan"):
        mil.accumulate_variations(FEATURES, events, weights=weights, objects=objects)


def test_a_name_with_two_meanings():
    events, weights = flat(5), Weights(5)
    weights.add("s", np.ones(5), np.full(5, 1.1))
    with pytest.raises(SampleError, match="s is used both to change events and to vary weights"):
        mil.accumulate_variations(
            FLAT, events, {"s": {1: moved(events, 1), -1: moved(events, -1)}}, weights=weights
        )


def test_lost_features_name_file_event_and_variation(files):
    path = files[1]

    def run_it(change, side, **options):
        factory = NanoEventsFactory.from_root(
            {path: "Events"},
            schemaclass=NanoSchema,
            mode="eager",
            entry_start=20,
            metadata={"filename": path, "entrystart": 20},
        )
        events = factory.events()
        bad = FEATURES.with_columns(bad=lambda o: np.where(o.q0.pt > 1e4, np.nan, 1.0))
        pt = ak.where((events.event == 2031)[:, None], change * events.Jet.pt, events.Jet.pt)
        jets = ak.with_field(events.Jet, pt, "pt")
        given = {1: {"Jet": events.Jet}, -1: {"Jet": events.Jet}, side: {"Jet": jets}}
        options = {"objects": objects, "on_missing": "reject"} | options
        mil.accumulate_variations(bad, events, {"jes": given}, weights=None, **options)

    message = rf"variation jes=-1: {path}: the feature 'bad' is nan in event 31 \(counted from 0\)"
    with pytest.raises(FeatureError, match=message):
        run_it(1e4, -1)
    # of the nominal events too, and of what a variation has lost
    with pytest.raises(FeatureError, match=r"^event \d+ of .*2\.root has fewer than 2 jets"):
        run_it(1.0, 1, on_missing="raise")
    lost = {"objects": lambda e: (e.Muon, e.Jet[e.Jet.pt > 0], e.MET), "on_missing": "raise"}
    with pytest.raises(FeatureError, match=r"jes=1: event 31 of .*2\.root has fewer than 2 jets"):
        run_it(-1.0, 1, selection=lambda e: ak.num(e.Jet) >= 2, **lost)


def test_accumulators_that_do_not_fit():
    events = flat(20)
    output = accumulated(events)
    with pytest.raises(SampleError, match=r"dataset 'ww': .*; give output\['ww'\]"):
        samples({"ww": output}, dataset="ww")
    with pytest.raises(SampleError, match="no accumulator of variations, which has 'nominal'"):
        samples(output["nominal"])
    more = mil.accumulate_variations(FLAT, flat(9), {}, weights=None)
    with pytest.raises(
        SampleError, match=r"s=1 has \d+ events, but the nominal sample has \d+; make"
    ):
        samples(processor.accumulate([accumulated(events), more]))
    weights = Weights(9)
    weights.add("t", np.ones(9), np.full(9, 1.1))
    third = mil.accumulate_variations(FLAT, flat(9), {}, weights=weights)
    with pytest.raises(SampleError, match=r"variation t=1 has 9 weights for 18 events"):
        samples(processor.accumulate([third, more]))
    twice = accumulated(events)
    twice["chunks"] = {("a.root", 0): 2}
    with pytest.raises(SampleError, match=r"events from 0 of a.root appear twice"):
        samples(twice)
    none = mil.accumulate_variations(
        FLAT, events, {"s": {1: moved(events, 1), -1: moved(events, -9)}},
        weights=None, selection=lambda e: e.x > -2,
    )  # fmt: skip
    with pytest.raises(SampleError, match=r"s=-1 .*its yield must be positive"):
        samples(none)
