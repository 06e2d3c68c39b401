"""Writing: what has been written reads back to the same bits, with milinfer and with pylhe."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pylhe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milinfer.exceptions import LHEError
from milinfer.io import lhe
from milinfer.io.event_record.record import EVENT_FIELDS, PARTICLE_FIELDS

FINITE = st.floats(allow_nan=False, allow_infinity=False)
INT = st.integers(-(2**31), 2**31 - 1)
XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
TEXT = XML_TEXT.filter(lambda s: s == s.strip() and s.isprintable())
HEADERS = st.lists(
    st.sampled_from(
        ["a", "&", "<", ">", "\n", "\r\n", " ", "]]>", "<b>", "</b>", "<![CDATA[", "é"]
    ),
    max_size=8,
).map("".join)


def same(a: ak.Array, b: ak.Array) -> None:
    assert a.fields == b.fields
    for field in a.fields:
        assert str(a[field].type) == str(b[field].type), field
        assert ak.array_equal(a[field], b[field], equal_nan=True), field
    for name in a.LHEPart.fields:  # −0.0 and 0.0 are equal, but their bits differ
        one, two = (
            ak.to_numpy(ak.flatten(a.LHEPart[name])),
            ak.to_numpy(ak.flatten(b.LHEPart[name])),
        )
        assert one.tobytes() == two.tobytes(), name


def make(n: int = 3, n_particles: int = 2, weights: tuple[str, ...] = (), seed: int = 1):
    rng = np.random.default_rng(seed)
    total = n * n_particles
    part = {
        name: rng.normal(size=total) * 100 if dtype == np.float64 else rng.integers(-30, 600, total)
        for name, dtype in PARTICLE_FIELDS.items()
    }
    event = {"genWeight": rng.normal(size=n), "LHE_processId": np.ones(n), "LHE_scale": np.ones(n)}
    return lhe.make_events(
        np.full(n, n_particles), part, event, {key: rng.normal(size=n) for key in weights}
    )


INFO = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),))


@st.composite
def event_records(draw):
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    total, n = sum(counts), len(counts)
    kinds = {np.float64: FINITE, np.int32: INT}

    def column(dtype, length):
        return np.array(draw(st.lists(kinds[dtype], min_size=length, max_size=length)), dtype)

    ids = draw(st.lists(TEXT.filter(bool), unique=True, max_size=3))
    return lhe.make_events(
        counts,
        {k: column(d, total) for k, d in PARTICLE_FIELDS.items()},
        {k: column(d, n) for k, d in EVENT_FIELDS.items()},
        {key: column(np.float64, n) for key in ids},
    )


@st.composite
def infos(draw):
    ids = draw(st.lists(TEXT.filter(bool), unique=True, max_size=3))
    process = st.builds(lhe.LHEProcess, FINITE, FINITE, FINITE, INT)
    pair = st.tuples(INT, INT)
    return lhe.LHEInfo(
        processes=tuple(draw(st.lists(process, max_size=2))),
        beams=draw(pair.filter(any)),  # (0, 0): not known, and not written
        energies=draw(st.tuples(FINITE, FINITE)),
        pdf_groups=draw(pair),
        pdf_sets=draw(pair),
        weighting_strategy=draw(st.integers(-4, 4)),
        weights=tuple(lhe.LHEWeight(i, draw(TEXT), draw(TEXT)) for i in ids),
        header=draw(HEADERS),
        process=draw(st.none() | TEXT),
        point=draw(st.none() | st.dictionaries(TEXT, FINITE, max_size=2)),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=event_records(), info=infos())
def test_round_trip(tmp_path_factory, events, info):
    file = tmp_path_factory.mktemp("lhe") / "a.lhe"
    lhe.write(file, events, info)
    back = lhe.read(file)
    same(back.events, events)
    assert back.info == info.with_weights(
        back.events.LHEWeight.fields if "LHEWeight" in back.events.fields else ()
    )
    again = file.with_name("b.lhe")
    lhe.write(again, *back)
    assert again.read_bytes() == file.read_bytes()


def test_pylhe_reads_what_we_write(tmp_path):
    events = make(weights=("a<b&'\"c", "d"))
    info = lhe.LHEInfo(
        processes=INFO.processes,
        weights=(lhe.LHEWeight("d", "x < 1 & y", "group"), lhe.LHEWeight("e")),
        header="raw & <text\n",
        process="signal",
        point={"c_HW": 0.5},
    )
    file = tmp_path / "a.lhe.gz"
    lhe.write(file, events, info)
    parsed = pylhe.LHEFile.fromfile(file)
    read = list(parsed.events)
    assert len(read) == 3
    assert list(read[0].weights) == ["a<b&'\"c", "d"]
    assert [p.px for e in read for p in e.particles] == ak.flatten(events.LHEPart["px"]).tolist()
    assert lhe.read(file).info == info.with_weights(["a<b&'\"c"])


def test_gz_is_reproducible(tmp_path):
    for name in ("a.lhe.gz", "b.lhe.gz"):
        lhe.write(tmp_path / name, make(), INFO)
    assert (tmp_path / "a.lhe.gz").read_bytes() == (tmp_path / "b.lhe.gz").read_bytes()


def test_chunks_and_slices(tmp_path):
    events = make(10, weights=("a", "b"))
    with lhe.LHEWriter(tmp_path / "a.lhe", INFO) as writer:
        writer.write(events[:4])
        writer.write(events[4:4])
        writer.write(events[4:])
        assert writer.n_events == 10
    lhe.write(tmp_path / "b.lhe", events, INFO)
    assert (tmp_path / "a.lhe").read_bytes() == (tmp_path / "b.lhe").read_bytes()
    lhe.write(tmp_path / "c.lhe", events[::-2], INFO)
    same(lhe.read(tmp_path / "c.lhe").events, ak.to_packed(events[::-2]))


@pytest.mark.parametrize("name", ["a.lhe", "a.lhe.gz"])
def test_nothing_is_left_after_an_error(tmp_path, name):
    file = tmp_path / name
    file.write_text("older")

    def fail():
        with lhe.LHEWriter(file, INFO) as writer:
            writer.write(make())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert file.read_text() == "older"


def nan(field: str):
    events = make()
    if field == "weight":
        return ak.with_field(events, [1.0, np.nan, 1.0], "genWeight")
    values = ak.unflatten(np.array([0, 0, 0, np.inf, 0, 0]), 2)
    return ak.with_field(events, values, ("LHEPart", field))


@pytest.mark.parametrize(
    ("events", "info", "message"),
    [
        (make()[:0], INFO, "no events"),
        (nan("weight"), INFO, "event 1 .*genWeight is nan"),
        (nan("px"), INFO, "event 1 .*px of a particle is inf"),
        (make()[["LHEPart", "genWeight"]], INFO, "LHE_processId"),
        (make()[["genWeight"]], INFO, "no LHEPart"),
        (make(), lhe.LHEInfo(processes=(), header="</header>"), "</header"),
        (make(), lhe.LHEInfo(processes=(), header="<milinfer>"), "<milinfer"),
        (make(), lhe.LHEInfo(processes=(), header="\0"), "XML does not allow"),
        (
            ak.with_field(
                make(),
                ak.values_astype(make().LHEPart.pdgId, np.int64) + 2**40,
                ("LHEPart", "pdgId"),
            ),
            INFO,
            "32-bit",
        ),
    ],
)
def test_what_cannot_be_written(tmp_path, events, info, message):
    file = tmp_path / "a.lhe"
    with pytest.raises(LHEError, match=message) as caught:
        lhe.write(file, events, info)
    assert str(file) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_weights_must_stay(tmp_path):
    def fail():
        with lhe.LHEWriter(tmp_path / "a.lhe", INFO) as writer:
            writer.write(make(weights=("a",)))
            writer.write(make(weights=("b",)))

    with pytest.raises(LHEError, match="from event 3"):
        fail()
    assert not list(tmp_path.iterdir())


def test_writer_outside_with(tmp_path):
    with pytest.raises(LHEError, match="with statement"):
        lhe.LHEWriter(tmp_path / "a.lhe", INFO).write(make())


def test_directory_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="make it first"):
        lhe.write(tmp_path / "none" / "a.lhe", make(), INFO)


def test_defaults_of_unknown_values(tmp_path):
    names = ["px", "py", "pz", "energy", "mass", "pdgId", "status", "mother1", "mother2"]
    bare = {"LHEPart": make().LHEPart[names], "genWeight": np.ones(3), "LHE_processId": np.ones(3)}
    lhe.write(tmp_path / "a.lhe", ak.zip(bare, depth_limit=1), INFO)
    back = lhe.read(tmp_path / "a.lhe").events
    assert back.LHEPart.spin[0].tolist() == [9.0, 9.0]
    assert back.LHE_alphaQCD.tolist() == [-1.0] * 3


def test_info_json():
    info = lhe.LHEInfo(
        processes=INFO.processes, weights=(lhe.LHEWeight("a", "b", "c"),), point={"x": 0.1}
    )
    assert lhe.LHEInfo.from_json(info.to_json()) == info
    with pytest.raises(LHEError, match="no description"):
        lhe.LHEInfo.from_json("{}")


def test_vector_behaviour():
    part = make().LHEPart
    total = part[:, 0] + part[:, 1]
    np.testing.assert_allclose(total.px, part["px"][:, 0] + part["px"][:, 1])
    np.testing.assert_allclose(ak.sum(part, axis=1).pt, total.pt)
    assert part[0, 0].pt == pytest.approx(np.hypot(part["px"][0, 0], part["py"][0, 0]))
    assert ak.all(part[part.pt > 50].pt > 50)
    mixed = total + part[:, 0]
    np.testing.assert_allclose(mixed.px, total.px + part["px"][:, 0])
