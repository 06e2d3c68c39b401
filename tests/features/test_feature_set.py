"""Features against a hand computation with single vector objects, one event at a time."""

from __future__ import annotations

import pickle
import re

import awkward as ak
import numpy as np
import pytest
import vector
from click.testing import CliRunner
from coffea.processor import accumulate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import milinfer as mil
from milinfer.cli import cli
from milinfer.exceptions import FeatureError, SampleError
from milinfer.features.feature_set import (
    FeatureSet,
    FeatureTable,
    check_event_counts,
    feature_set,
    weight_sums,
)
from milinfer.features.objects import Collection
from milinfer.features.processor import FeatureProcessor
from milinfer.io import lhe
from milinfer.io.convert import convert
from milinfer.io.event_record.record import EventColumns, flatten_events, make_events
from milinfer.samples.sample import check_sample_counts

NAMES = (
    "l0_pt l1_pt q0_pt q1_pt l0_phi l1_phi q0_phi q1_phi l0_eta l1_eta q0_eta q1_eta "
    "l0_m l1_m q0_m q1_m l0_e l1_e q0_e q1_e met_et met_phi m_ll m_qq pt_ll pt_qq "
    "d_phi_ll d_phi_qq l0_id_e- l0_id_e+ l1_id_e- l1_id_e+ q0_id_dq q0_id_uq q1_id_dq q1_id_uq"
)


def particles(n, seed=1, extra_jets=False, masses=True):
    """Random events with two incoming partons, leptons, neutrinos and jets, in random order."""
    rng = np.random.default_rng(seed)
    events = []
    for _ in range(n):
        ids = [-11, 13, 12, -14, int(rng.choice([1, 2, 3, 4, 5])), int(rng.choice([-1, -2, 21]))]
        if extra_jets:
            ids += [21] * int(rng.integers(0, 4)) + [15] * int(rng.integers(0, 2))
        rng.shuffle(ids)
        event = [
            {"pdgId": i, "status": -1, "p": np.array([0, 0, 500.0 * s]), "mass": 0.0}
            for i, s in ((2, 1), (1, -1))
        ]
        event += [
            {
                "pdgId": i,
                "status": 1,
                "p": rng.normal(size=3) * [60, 60, 150],
                "mass": float(rng.choice([0.0, 0.1, 4.7])) if masses else 0.0,
            }
            for i in ids
        ]
        events.append(event)
    return events


def record(events, weights=None, reweights=None):
    flat = [p for event in events for p in event]
    momenta = np.array([p["p"] for p in flat])
    mass = np.array([p["mass"] for p in flat])
    n = len(events)
    return make_events(
        [len(event) for event in events],
        {
            "px": momenta[:, 0],
            "py": momenta[:, 1],
            "pz": momenta[:, 2],
            "energy": np.sqrt((momenta**2).sum(axis=1) + mass**2),
            "mass": mass,
            "pdgId": [p["pdgId"] for p in flat],
            "status": [p["status"] for p in flat],
            "mother1": np.zeros(len(flat)),
            "mother2": np.zeros(len(flat)),
        },
        {
            "genWeight": np.arange(1.0, n + 1) if weights is None else weights,
            "LHE_processId": np.ones(n),
        },
        reweights,
    )


def by_hand(event):
    """The 36 features of one event, from the definitions, with vector objects."""
    final = [p for p in event if p["status"] == 1]

    def momentum(p):
        return vector.obj(px=p["p"][0], py=p["p"][1], pz=p["p"][2], mass=p["mass"])

    def hardest(ids):
        chosen = [p for p in final if abs(p["pdgId"]) in ids]
        return sorted(chosen, key=lambda p: -np.hypot(*p["p"][:2]))[:2]

    leptons, jets = hardest((11, 13, 15)), hardest((1, 2, 3, 4, 5, 21))
    l0, l1, q0, q1 = four = [momentum(p) for p in (*leptons, *jets)]
    visible = [p["p"] for p in final if abs(p["pdgId"]) not in (12, 14, 16)]
    met_x, met_y = -sum(p[0] for p in visible), -sum(p[1] for p in visible)

    def d_phi(a, b):
        if a.eta < b.eta:
            a, b = b, a
        d = a.phi - b.phi
        while d > np.pi:
            d -= 2 * np.pi
        while d <= -np.pi:
            d += 2 * np.pi
        return d

    values = [p.pt for p in four] + [p.phi for p in four] + [p.eta for p in four]
    values += [p["mass"] for p in (*leptons, *jets)] + [p.E for p in four]
    values += [np.hypot(met_x, met_y), np.arctan2(met_y, met_x)]
    values += [(l0 + l1).mass, (q0 + q1).mass, (l0 + l1).pt, (q0 + q1).pt]
    values += [d_phi(l0, l1), d_phi(q0, q1)]
    for p in leptons:
        values += [p["pdgId"] == 11, p["pdgId"] == -11]
    for p in jets:
        values += [abs(p["pdgId"]) in (1, 3, 5), abs(p["pdgId"]) in (2, 4)]
    return values


def pick(events, ids, kind=None):
    """Leptons or jets as jagged arrays of different kinds."""
    part = events.LHEPart
    keep = part.status == 1
    match = part.pdgId * 0 == 1
    for i in ids:
        match = match | (abs(part.pdgId) == i)
    part = part[keep & match]
    if kind == "cartesian":
        axes = {k: part[k] for k in ("px", "py", "pz", "energy")}
    else:
        axes = {"pt": part.pt, "eta": part.eta, "phi": part.phi, "mass": part["mass"]}
    fields = {**axes, "pdgId": part.pdgId}
    if kind == "coffea":
        from coffea.nanoevents.methods import candidate

        return ak.zip(fields, with_name="PtEtaPhiMLorentzVector", behavior=candidate.behavior)
    return ak.zip(fields, with_name="Momentum4D")


LEPTONS, JETS = (11, 13, 15), (1, 2, 3, 4, 5, 21)


def test_names_and_order():
    assert " ".join(feature_set("vbf_2l2j").names) == NAMES


@pytest.mark.parametrize("extra_jets", [False, True])
def test_from_lhe_against_single_objects(extra_jets):
    events = particles(60, extra_jets=extra_jets)
    table = feature_set("vbf_2l2j").from_lhe(record(events))
    expected = np.array([by_hand(event) for event in events], dtype=np.float64)
    assert table.array.dtype == np.float32
    np.testing.assert_allclose(table.array, expected, rtol=3e-7, atol=3e-7)
    assert table.kept.all()
    assert table.rejected == {}


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_any_events_against_single_objects(seed):
    events = particles(3, seed=seed, extra_jets=True)
    table = feature_set("vbf_2l2j").from_lhe(record(events))
    expected = np.array([by_hand(event) for event in events], dtype=np.float64)
    np.testing.assert_allclose(table.array, expected, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("kind", ["cartesian", "polar", "coffea"])
def test_jagged_and_paired_vectors_of_any_kind(kind):
    events = record(particles(40))
    reference = feature_set("vbf_2l2j").from_lhe(events).array
    leptons, jets = pick(events, LEPTONS, kind), pick(events, JETS, kind)
    fs = feature_set("vbf_2l2j")
    tolerance = {"rtol": 1e-6, "atol": 2e-5 if kind == "cartesian" else 1e-6}
    np.testing.assert_allclose(fs(leptons, jets).array, reference, **tolerance)
    regular = fs(ak.to_regular(leptons), ak.to_regular(jets))
    np.testing.assert_allclose(regular.array, reference, **tolerance)
    paired = fs((leptons[:, 1], leptons[:, 0]), (jets[:, 0], jets[:, 1]))
    np.testing.assert_allclose(paired.array, reference, **tolerance)
    optional = fs((ak.firsts(leptons), ak.firsts(leptons[:, 1:])), ak.mask(jets, jets.pt > 0))
    np.testing.assert_allclose(optional.array, reference, **tolerance)


def test_more_than_two_count_in_met_only():
    events = record(particles(50, extra_jets=True))
    fs = feature_set("vbf_2l2j")
    expected = fs.from_lhe(events).array
    np.testing.assert_allclose(
        fs(pick(events, LEPTONS), pick(events, JETS)).array, expected, rtol=1e-5, atol=1e-5
    )


def test_many_particles_take_another_path():
    rng = np.random.default_rng(3)
    counts = rng.integers(2, 60, size=30)
    jets = ak.zip(
        {
            "pt": ak.unflatten(rng.uniform(20, 200, counts.sum()), counts),
            "eta": ak.unflatten(rng.normal(size=counts.sum()), counts),
            "phi": ak.unflatten(rng.uniform(-3, 3, counts.sum()), counts),
        }
    )
    fs = FeatureSet("two", {"a": lambda o: o.j0.pt, "b": lambda o: o.j1.pt}, (jet(2),))
    expected = ak.to_numpy(ak.sort(jets.pt, ascending=False)[:, :2])
    np.testing.assert_array_equal(fs(jets).array, expected.astype(np.float32))


def jet(count):
    return Collection("jets", "j", count)


def test_met_given_as_record_or_events():
    events = record(particles(20))
    fs = feature_set("vbf_2l2j").select(["met_et", "met_phi"])
    leptons, jets = pick(events, LEPTONS), pick(events, JETS)
    met = ak.zip({"pt": np.full(20, 33.0), "phi": np.full(20, 0.5)})
    for given_met in (met, ak.zip({"MET": met, "x": np.zeros(20)}, depth_limit=1)):
        table = fs(leptons, jets, given_met)
        np.testing.assert_allclose(table.array, [[33.0, 0.5]] * 20, rtol=1e-6)
    cartesian = ak.zip({"px": np.zeros(20), "py": np.full(20, 5.0)}, with_name="Momentum2D")
    np.testing.assert_allclose(fs(leptons, jets, cartesian).array, [[5.0, np.pi / 2]] * 20)
    table = fs(leptons[:, :1], jets, events, on_missing="reject")
    assert len(table) == 0
    fewer = fs(leptons, jets[:, :2], events).array
    np.testing.assert_allclose(fewer, fs.from_lhe(events).array, rtol=1e-6)
    with pytest.raises(FeatureError, match="MET has 19 events"):
        fs(leptons, jets, met[:19])


@given(angle=st.floats(-3, 3), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_rotation_about_the_beam(angle, seed):
    events = particles(5, seed=seed, extra_jets=True)
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    turned = [[{**p, "p": matrix @ p["p"]} for p in event] for event in events]
    before = feature_set("vbf_2l2j").from_lhe(record(events))
    after = feature_set("vbf_2l2j").from_lhe(record(turned))
    for name in before.names:
        a, b = (t.columns[name].astype(np.float64) for t in (before, after))
        if name.endswith("phi") and not name.startswith("d_"):
            b = b - angle
        if "phi" in name:
            a, b = np.exp(1j * a), np.exp(1j * b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-5, err_msg=name)


@given(st.floats(-np.pi, np.pi), st.floats(-np.pi, np.pi), st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=100, deadline=None)
def test_signed_delta_phi_is_wrapped_and_ignores_order(phi_a, phi_b, eta_a, eta_b):
    pair = [{"pt": 30.0, "eta": eta_a, "phi": phi_a}, {"pt": 20.0, "eta": eta_b, "phi": phi_b}]
    other = [dict(pair[0], pt=20.0), dict(pair[1], pt=30.0)]
    array = ak.Array([pair, other])
    fs = feature_set("vbf_2l2j").select(["d_phi_qq"])
    first, second = fs(array, array).array[:, 0]
    assert -np.float32(np.pi) <= first <= np.float32(np.pi)
    if eta_a != eta_b:
        assert first == second
        expected = phi_a - phi_b if eta_a > eta_b else phi_b - phi_a
        assert np.cos(first) == pytest.approx(np.cos(expected), abs=1e-6)
        assert np.sin(first) == pytest.approx(np.sin(expected), abs=1e-6)


def test_no_minus_pi_from_signed_zeros():
    objects = ak.Array([[{"px": 1.0, "py": 0.0, "pz": 0.0, "mass": 0.0}] * 2])
    table = feature_set("vbf_2l2j").select(["met_phi", "met_et"])(objects, objects)
    assert table.array[0, 0] == np.float32(np.pi)


def test_a_missing_momentum_of_none_or_of_another_kind_is_refused():
    objects = ak.Array([[{"px": 1.0, "py": 0.0, "pz": 0.0, "mass": 0.0}] * 2])
    fs = feature_set("vbf_2l2j").select(["met_et"])
    with pytest.raises(FeatureError, match=r"missing momentum is None; give a record of pt and"):
        fs(objects, objects, None)
    with pytest.raises(FeatureError, match=r"jets is None; give an array of momenta"):
        fs(objects, None)
    for arguments in ((objects,), (objects,) * 4):
        with pytest.raises(
            FeatureError, match=rf"takes leptons, jets and .* not {len(arguments)} "
        ):
            fs(*arguments)
    with pytest.raises(FeatureError, match=r"the missing momentum has sumEt, not pt and phi"):
        fs(objects, objects, ak.Array([{"sumEt": 1.0}]))


def test_missing_particles_are_named_or_counted():
    events = particles(10)
    leptons_of = [p for p in events[7] if abs(p["pdgId"]) in LEPTONS]
    events[7] = [p for p in events[7] if p is not leptons_of[0]]
    events[8] = events[8][:2]
    jet = next(p for p in events[9] if p["status"] == 1 and abs(p["pdgId"]) in JETS)
    jet["p"] = np.array([np.nan, 1.0, 1.0])
    array = record(events)
    fs = feature_set("vbf_2l2j")
    with pytest.raises(FeatureError, match=r"event 107 of a\.lhe has fewer than 2 leptons .2 of"):
        fs.from_lhe(array, source="a.lhe", first_event=100)
    table = fs.from_lhe(array, on_missing="reject")
    assert table.kept.tolist() == [True] * 7 + [False] * 3
    assert table.rejected == {"fewer than 2 leptons": 2, "momenta that are not finite": 1}
    np.testing.assert_array_equal(table.array, fs.from_lhe(array[:7]).array)
    assert table.weights(array.genWeight).tolist() == list(range(1, 8))
    assert len(fs.from_lhe(array[8:9], on_missing="reject").array) == 0
    with pytest.raises(FeatureError, match="can be 'raise' or 'reject'"):
        fs.from_lhe(array, on_missing="ignore")


def test_unusable_input_says_what_to_do():
    events = record(particles(4))
    leptons, jets = pick(events, LEPTONS), pick(events, JETS)
    fs = feature_set("vbf_2l2j")
    with pytest.raises(FeatureError, match="takes leptons, jets"):
        fs(leptons)
    with pytest.raises(FeatureError, match="different numbers"):
        fs(leptons[:3], jets)
    with pytest.raises(FeatureError, match="give px, py, pz"):
        fs(leptons, ak.Array([[{"x": 1}]] * 4))
    with pytest.raises(FeatureError, match="one entry for each event"):
        fs(leptons, jets[:, 0])
    with pytest.raises(FeatureError, match="must be an awkward array"):
        fs(leptons, [1.0, 2.0][0])
    with pytest.raises(FeatureError, match="no LHEPart"):
        fs.from_lhe(events[["genWeight"]])
    bare = jets[["pt", "eta", "phi", "mass"]]
    with pytest.raises(FeatureError, match="no field 'pdgId'"):
        fs(leptons, bare)
    with pytest.raises(FeatureError, match="unknown feature set"):
        feature_set("vbf")
    with pytest.raises(FeatureError, match="has shape"):
        fs.with_columns(bad=lambda _: 1.0)(leptons, jets)
    with pytest.raises(FeatureError, match="there is no object 'a0'"):
        fs.with_columns(bad=lambda o: o.a0.pt)(leptons, jets)
    # The flavour that a generator knows is none that a detector sees.
    flavoured = ak.with_field(bare, jets.pdgId, "partonFlavour")
    with pytest.raises(FeatureError, match=r"no field 'pdgId'.*\*_reco"):
        fs(leptons, flavoured)


@pytest.mark.parametrize("name", ["vbf_2l2j", "vbf_2l2j_invariant"])
def test_reconstructed_objects_have_no_flavour_of_jets(name):
    events = record(particles(30))
    whole, reco = mil.feature_set(name), mil.feature_set(f"{name}_reco")
    left = set(whole.names) - set(reco.names)
    assert left == {"q0_id_dq", "q0_id_uq", "q1_id_dq", "q1_id_uq"}
    np.testing.assert_array_equal(
        reco.from_lhe(events).array, whole.select(reco.names).from_lhe(events).array
    )


def test_a_user_extends_and_selects():
    events = record(particles(30))
    fs = mil.feature_set("vbf_2l2j").with_columns(ht=lambda o: o.q0.pt + o.q1.pt)
    table = fs.from_lhe(events)
    np.testing.assert_allclose(
        table.columns["ht"], table.columns["q0_pt"] + table.columns["q1_pt"], rtol=1e-6
    )
    chosen = fs.select(["ht", "m_ll"]).from_lhe(events)
    assert chosen.names == ("ht", "m_ll")
    np.testing.assert_array_equal(chosen.array[:, 1], table.columns["m_ll"])
    vectors = fs.with_columns(dr=lambda o: o.l0.deltaR(o.q0)).from_lhe(events)
    assert (vectors.columns["dr"] > 0).all()


def test_own_set_with_own_selector():
    def selector(events):
        part = events.LHEPart
        return {"neutrinos": part[(abs(part.pdgId) == 12) | (abs(part.pdgId) == 14)]}

    fs = FeatureSet(
        "invisible",
        {"m_nn": lambda o: o.nn.mass, "met": lambda o: o.met.pt},
        (Collection("neutrinos", "n", 2),),
        selector,
    )
    events = particles(10)
    table = fs.from_lhe(record(events))
    for event, row in zip(events, table.array, strict=True):
        first, second = (
            vector.obj(px=p["p"][0], py=p["p"][1], pz=p["p"][2], mass=p["mass"])
            for p in event
            if abs(p["pdgId"]) in (12, 14)
        )
        assert row[0] == pytest.approx((first + second).mass, rel=1e-6)
        assert row[1] == pytest.approx(by_hand(event)[20], rel=1e-6)


def test_sets_can_be_pickled():
    fs = pickle.loads(pickle.dumps(feature_set("vbf_2l2j")))
    events = record(particles(5))
    np.testing.assert_array_equal(
        fs.from_lhe(events).array, feature_set("vbf_2l2j").from_lhe(events).array
    )


def test_sample_of_a_table_and_its_weights():
    events = record(particles(6))
    table = feature_set("vbf_2l2j").from_lhe(events)
    sample = mil.Sample.from_table(table, events.genWeight, point={"c_HW": 0.5}, process="vbf")
    assert " ".join(sample.feature_names) == NAMES
    assert sample.weights.tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(FeatureError, match="each of the 6 rows or of all 6 events"):
        table.weights([1.0])


@pytest.mark.parametrize("kind", ["cartesian", "energy", "polar", "massless"])
def test_plain_arrays_agree_with_the_vectors(kind):
    """``o.get`` computes what ``o.q0``, ``o.qq`` and ``o.met`` say, for any coordinates."""
    rng = np.random.default_rng(4)
    n = 200
    p = rng.normal(size=(n, 2, 3)) * 50
    p[:5, :, :2] = 0.0  # along the beam
    p[3, 0] = 0.0
    p[3, 1] = 1.0
    mass = rng.choice([0.0, 4.7], (n, 2))
    px, py, pz = np.moveaxis(p, 2, 0)
    directions = {"pt": np.hypot(px, py) + 1, "eta": pz / 50, "phi": np.arctan2(py, px)}
    fields = {
        "cartesian": {"px": px, "py": py, "pz": pz, "mass": mass},
        "energy": {"px": px, "py": py, "pz": pz, "energy": np.sqrt((p**2).sum(2) + mass**2)},
        "polar": {**directions, "mass": mass},
        "massless": directions,
    }[kind]
    jets = ak.zip({name: ak.from_regular(ak.Array(column)) for name, column in fields.items()})
    axes = ("px", "py", "pz", "pt", "eta", "phi", "mass", "energy")
    seen = {}

    def compare(o):
        for name in ("q0", "q1", "qq", "met"):
            for axis in axes[:2] + axes[3:4] + axes[5:6] if name == "met" else axes:
                seen[name, axis] = o.get(name, axis), np.asarray(getattr(getattr(o, name), axis))
        return np.zeros(n)

    FeatureSet("x", {"x": compare}, (Collection("jets", "q", 2),))(jets)
    assert len(seen) == 3 * 8 + 4
    for key, (ours, vectors) in seen.items():
        np.testing.assert_allclose(ours, vectors, rtol=1e-9, atol=2e-5, err_msg=str(key))


def test_flat_columns_give_the_same_table():
    events = record(particles(50, extra_jets=True))
    columns = EventColumns(*flatten_events(events))
    for name in ("vbf_2l2j", "vbf_2l2j_invariant"):
        table = feature_set(name).from_columns(columns)
        np.testing.assert_array_equal(table.array, feature_set(name).from_lhe(events).array)
    selected = FeatureSet(
        "own", {"n": lambda o: o.l0.pt}, selector=lambda e: {"leptons": e.LHEPart[:, 4:6],
        "jets": e.LHEPart[:, 6:8]}, collections=(Collection("leptons", "l", 1),
        Collection("jets", "q", 1)),
    )  # fmt: skip
    np.testing.assert_array_equal(
        selected.from_columns(columns).array, selected.from_lhe(events).array
    )


INFO = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),), process="p", point={"c": 0.0})
reuse = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(
    n_out=st.integers(0, 10**9),
    rejected=st.dictionaries(st.text(max_size=5), st.integers(0, 10**6), max_size=4),
    error=st.integers(-3, 3),
)
def test_what_is_said_adds_up(n_out, rejected, error):
    n_in = n_out + sum(rejected.values()) + error
    if error:
        with pytest.raises(SampleError, match=r"a\.lhe: "):
            check_event_counts(n_in, n_out, rejected, "a.lhe")
        return
    said = check_event_counts(n_in, n_out, rejected, "a.lhe")
    numbers = re.match(r"(\d+) events in, (\d+) out, (\d+) rejected", said)
    assert [int(x) for x in numbers.groups()] == [n_in, n_out, sum(rejected.values())]


def make(contents: list[list[int]], seed: int) -> ak.Array:
    """Events of particles of these kinds."""
    rng = np.random.default_rng(seed)
    counts = [len(c) for c in contents]
    n = sum(counts)
    momenta = rng.normal(0, 50, (3, n))
    part = dict(zip(("px", "py", "pz"), momenta, strict=True))
    part |= {"energy": np.sqrt((momenta**2).sum(axis=0)), "mass": np.zeros(n)}
    part |= {"pdgId": np.array([i for c in contents for i in c], dtype=np.int32)}
    part |= {name: np.zeros(n, dtype=np.int32) for name in ("mother1", "mother2")}
    part["status"] = np.ones(n, dtype=np.int32)
    event = {"genWeight": rng.normal(size=len(counts)), "LHE_processId": np.ones(len(counts))}
    return lhe.make_events(counts, part, event)


kinds = st.lists(
    st.lists(st.sampled_from([11, -13, 12, 1, -2, 21, 25]), max_size=7), min_size=1, max_size=12
)


@reuse
@given(contents=kinds, seed=st.integers(0, 10), suffix=st.sampled_from([".lhe", ".root"]))
def test_events_in_are_events_out_and_rejected(tmp_path, contents, seed, suffix):
    file, other = tmp_path / "a.lhe", tmp_path / f"b{suffix}"
    lhe.write(file, make(contents, seed), INFO)
    done = convert(file, other)
    assert (done.n_events_in, done.n_events_out) == (len(contents), len(contents))
    sample = mil.Sample.from_file(other, features="vbf_2l2j", on_missing="reject", chunk_size=5)
    good = [
        sum(abs(i) in (11, 13) for i in c) >= 2 and sum(abs(i) in (1, 2, 21) for i in c) >= 2
        for c in contents
    ]
    assert len(sample) == sum(good)
    assert sum(sample.provenance.get("rejected", {}).values()) == len(contents) - sum(good)
    assert check_sample_counts(sample, "b").startswith(
        f"{len(contents)} events in, {sum(good)} out"
    )


@reuse
@given(contents=kinds, seed=st.integers(0, 10), cut=st.floats(-1, 1))
def test_a_processor_counts_what_its_selection_takes_away(contents, seed, cut):
    events = make(contents, seed)
    processor = FeatureProcessor(
        feature_set("vbf_2l2j"),
        selection=lambda e: {"weight": e.genWeight > cut},
        on_missing="reject",
    )
    output = processor.postprocess(processor.process(events))["dataset"]
    n_out = len(output["weight"].value)
    assert n_out + sum(output["rejected"].values()) == len(contents)
    assert output["rejected"].get("weight", 0) == int((events.genWeight <= cut).to_numpy().sum())


def test_the_command_line_says_it_by_reason(tmp_path):
    file = tmp_path / "a.lhe"
    lhe.write(file, make([[11, -11, 1, 2], [11, 1, 2], [11, -11, 1]], 1), INFO)
    said = CliRunner().invoke(
        cli, ["features", str(file), "--out", str(tmp_path / "f.parquet"), "--on-missing", "reject"]
    )
    assert said.exit_code == 0, said.output
    what = "3 events in, 1 out, 2 rejected (fewer than 2 leptons: 1, fewer than 2 jets: 1)"
    assert what in said.output
    said = CliRunner().invoke(cli, ["convert", str(file), "--out", str(tmp_path / "a.root")])
    assert "3 events in, 3 out, 0 rejected" in said.output


def table(kept):
    kept = np.asarray(kept, dtype=bool)
    x = np.flatnonzero(kept).astype(np.float32)
    return FeatureTable({"x": x, "y": -x}, kept, {"few": int((~kept).sum())})


def test_rows_in_column_order():
    rows = table([True, False, True])
    assert (rows.names, len(rows)) == (("x", "y"), 2)
    assert rows.array.dtype == np.float32
    assert rows.array.tolist() == [[0, 0], [2, -2]]


def test_blocks_lose_nothing():
    n = 20_000  # more than two blocks of rows
    rows = table(np.ones(n))
    np.testing.assert_array_equal(rows.array[:, 0], np.arange(n))
    np.testing.assert_array_equal(rows.array[:, 1], -np.arange(n))


def test_weights_of_rows_or_of_all_events():
    rows = table([True, False, True])
    assert rows.weights(None).tolist() == [1.0, 1.0]
    assert rows.weights([1.0, 2.0, 3.0]).tolist() == [1.0, 3.0]
    assert rows.weights([4.0, 5.0]).tolist() == [4.0, 5.0]
    with pytest.raises(FeatureError, match="each of the 2 rows or of all 3 events"):
        rows.weights([1.0])


def test_no_rows():
    rows = table([False, False])
    assert rows.array.shape == (0, 2)
    assert rows.accumulate([1.0, 2.0])["sum_of_weights"] == 0.0


def test_accumulators_add_up():
    parts = [table([True, False]), table([True, True, False])]
    weights = [[1.0, 7.0], [-2.0, 3.0, 7.0]]
    total = accumulate([p.accumulate(w) for p, w in zip(parts, weights, strict=True)])
    assert total["columns"]["x"].value.tolist() == [0, 0, 1]
    assert total["weight"].value.tolist() == [1.0, -2.0, 3.0]
    assert (total["n_events"], total["n_negative"]) == (3, 1)
    assert (total["sum_of_weights"], total["sum_of_squared_weights"]) == (2.0, 14.0)
    assert total["rejected"] == {"few": 2}


def test_sample_from_table():
    sample = mil.Sample.from_table(table([True, False, True]), [1.0, 2.0, 3.0], point={"mu": 1.0})
    assert (sample.feature_names, sample.point) == (("x", "y"), {"mu": 1.0})
    assert sample.weights.tolist() == [1.0, 3.0]


@given(st.lists(st.integers(-100, 100)))
def test_sums(values):
    sums = weight_sums(np.array(values, dtype=np.float64))
    assert sums["n_events"] == len(values)
    assert sums["n_negative"] == sum(v < 0 for v in values)
    assert sums["sum_of_weights"] == sum(values)
    assert sums["sum_of_squared_weights"] == sum(v * v for v in values)
