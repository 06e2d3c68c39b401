"""Reading: what is in the file is what comes out, or an error says where and why."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pylhe
import pytest

from milinfer.exceptions import ConfigurationError, LHEError, MilinferError, MilinferWarning
from milinfer.io import lhe
from milinfer.io.event_record.record import EVENT_FIELDS, PARTICLE_FIELDS

MADGRAPH = """
<!--
#*********************************************************************
#  MadGraph5_aMC@NLO  < with > characters -- and & in comments
-->
<MGVersion>
3.5.4
</MGVersion>
<MG5ProcCard>
<![CDATA[
generate p p > w+ w- j j QCD=0 NP<=1 & more
]]>
</MG5ProcCard>
<MGRunCard>
  0.5 < x < 2 & y >= 3 = cut  ! R&D <not a tag
</MGRunCard>
<slha>
Block SMEFT
    7 5.000000e-01 # cHW
</slha>
<initrwgt>
<weightgroup name='mg_reweighting' weight_name_strategy='includeIdInWeightName'>
<weight id='a'>set param_card SMEFT 7 -1.0 # orig: 0.0 & x<y
</weight>
</weightgroup>
<weightgroup name="scale" combine="envelope">
<weight id='b' MUR="0.5" MUF="2.0"> </weight>
</weightgroup>
</initrwgt>
<MGGenerationInfo>
#  Number of Events        :       3
#  Integrated weight (pb)  :       2.0
</MGGenerationInfo>
"""


def same(a: ak.Array, b: ak.Array) -> None:
    assert str(a.type) == str(b.type)
    for field in a.fields:
        assert ak.array_equal(a[field], b[field]), field


@pytest.fixture
def good(maker):
    return maker.document(*[maker.event(after=maker.rwgt)] * 5)


def test_numbers_and_fields(maker, good):
    events, info = lhe.read(maker.file(good))
    assert len(events) == 5
    part = events.LHEPart
    assert part.fields == list(PARTICLE_FIELDS)
    for name, dtype in {**PARTICLE_FIELDS, **EVENT_FIELDS}.items():
        column = ak.flatten(part[name]) if name in part.fields else events[name]
        assert ak.to_numpy(column).dtype == dtype, name
    assert part["px"][4].tolist() == [0.0, 0.0, 300.0, -300.0]
    assert part["mass"][0, 2] == 5.11e-4
    assert part.color2[0].tolist() == [0, 501, 0, 0]
    assert part.pt[0].tolist() == [0.0, 0.0, 500.0, 500.0]
    assert (part[:, 2] + part[:, 3]).mass.tolist() == [1000.0] * 5
    assert events.genWeight.tolist() == [2.0] * 5
    assert events.LHE_processId.tolist() == [1] * 5
    assert events.LHE_scale[0] == 91.18
    assert events.LHEWeight.b.tolist() == [-0.25] * 5
    assert info.cross_section == 2.0
    assert info.weighting_strategy == -4
    assert info.pdf_sets == (247000, 247000)
    assert [w.id for w in info.weights] == ["a", "b"]
    assert lhe.read_info(maker.file(good)) == info


def test_no_weights_no_field(maker):
    events, info = lhe.read(maker.file(maker.document(maker.event())))
    assert "LHEWeight" not in events.fields
    assert info.weights == ()


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 100])
def test_chunks(maker, good, chunk_size):
    file = maker.file(good)
    chunks = list(lhe.iterate(file, chunk_size))
    assert max(map(len, chunks)) <= chunk_size
    same(ak.concatenate(chunks), lhe.read(file).events)


def test_chunk_size_must_be_positive(maker, good):
    with pytest.raises(ConfigurationError, match="chunk_size"):
        list(lhe.iterate(maker.file(good), 0))


def test_many_blocks(maker):
    n = 2000
    events = [maker.event(weight=f"{i}.0", after=maker.rwgt) for i in range(n)]
    read = lhe.read(maker.file(maker.document(*events)), chunk_size=300).events
    assert read.genWeight.tolist() == list(range(n))


def test_gz(maker, good):
    packed = lhe.read(maker.file(gzip.compress(good.encode()), "in.lhe.gz"))
    same(packed.events, lhe.read(maker.file(good)).events)


def test_madgraph_header_is_read_and_kept(maker):
    text = maker.document(*[maker.event(after=maker.rwgt)] * 3, header=MADGRAPH)
    events, info = lhe.read(maker.file(text))
    assert len(events) == 3
    assert "0.5 < x < 2 & y >= 3 = cut  ! R&D <not a tag" in info.header
    assert "initrwgt" not in info.header
    assert info.weights == (
        lhe.LHEWeight("a", "set param_card SMEFT 7 -1.0 # orig: 0.0 & x<y", "mg_reweighting"),
        lhe.LHEWeight("b", "MUR=0.5 MUF=2.0", "scale"),
    )


@pytest.mark.parametrize("where", ["before", "after"])
def test_mgrwt_is_left_out(maker, where):
    block = (
        "<mgrwt>\n<rscale>  2 0.9e+02</rscale>\n<asrwt>0</asrwt>\n"
        "<pdfrwt beam=1>  1 2 0.1E+00 0.9E+02</pdfrwt>\n<totfact> 0.4E+01</totfact>\n</mgrwt>\n"
    )
    other = maker.event(**{where: block})
    events = lhe.read(maker.file(maker.document(maker.event(), other))).events
    assert ak.num(events.LHEPart).tolist() == [4, 4]
    assert "LHEWeight" not in events.fields


def test_comments_and_hashes(maker):
    odd = maker.event(before="# before\n", after="# a < b & c\n#pdf 1 2\n<scales muf='9'/>\n")
    text = maker.document(
        "<!-- one -->\n", odd, "<!-- <event> no </event> -->", maker.event(after=maker.rwgt[:0])
    )
    text = text.replace("<init>", "<!-- a -- b -->\n<!-- c -->\n<init>\n<!-- d -->\n# e")
    assert len(lhe.read(maker.file(text)).events) == 2


# HEJ fixed-order generator ("Reversed HEJ", 0.0.1), shortened to three particles
HEJ = """<LesHouchesEvents version="3.0">
<init testattribute='testvalue'>
     2212     2212           6500           6500    0    0 230000 230000    2    1
   0.0054619959   0.0018721916  0.00098642556      1
<generator name="Reversed HEJ" version="0.0.1"/>
</init>
<event attr0="t0" attr1="" >
    3      1  0.00054376005      149.45237      0.0078125              0
       -1 -1    0    0   -1   -1              0              0     -264.79674      264.79674              0 9 9
        1 -1    0    0   -1   -1              0              0      1110.4582      1110.4582              0 9 9
       25  2    1    2    0    0      30.440559      57.963492     -117.32052      183.50783       124.9985 9 9
<weights></weights>
<scales mups="-1"/>
</event>
<event>
    3      1   0.0009445204       38.46585      0.0078125              0
       21 -1    0    0   -1   -1              0              0     -153.53879      153.53879              0 9 9
       21 -1    0    0   -1   -1              0              0      1110.4582      1110.4582              0 9 9
       25  2    1    2    0    0      30.440559      57.963492     -117.32052      183.50783       124.9985 9 9
<weights>
</weights>
<scales mups="-1"/>
</event>
</LesHouchesEvents>
"""  # noqa: E501


@pytest.mark.parametrize("empty", ["<weights></weights>", "<weights/>", "<rwgt></rwgt>"])
def test_an_empty_list_of_weights_is_no_weights(maker, empty):
    """Regression: pylhe's ValueError about a block without text made the file unreadable."""
    events, info = lhe.read(maker.file(HEJ.replace("<weights></weights>", empty)))
    assert events.genWeight.tolist() == [0.00054376005, 0.0009445204]
    assert "LHEWeight" not in events.fields
    assert info.weights == ()


@pytest.mark.parametrize("first", [0, 1])
def test_an_empty_list_where_there_are_weights_is_an_error(maker, first):
    declared = "<initrwgt><weight id='a'/><weight id='b'/></initrwgt>"
    events = [maker.event(after="<weights>1 2</weights>")] * 3
    events[first] = maker.event(after="<weights></weights>")
    text = maker.document(*events, header=declared)
    with pytest.raises(LHEError, match=f"event {first} .*0 numbers in <weights>.* declares 2"):
        lhe.read(maker.file(text))


# MadGraph5_aMC@NLO 3.5.5, muons on electrons at rest: a scale at which there is no strong coupling
MUON_ON_ELECTRON = """<LesHouchesEvents version="3.0">
<init>
-13 11 5.020000e+01 5.110000e-04 0 0 0 0 -4 1
6.858600e+07 3.641512e+05 6.858600e+07 1
<generator name='MadGraph5_aMC@NLO' version='3.5.5'>please cite 1405.0301 </generator>
</init>
<event>
 2      1 +6.8586000e+07 2.49937400e-01 7.54677100e-03            nan
      -13 -1    0    0    0    0 +0.0000000000e+00 +0.0000000000e+00 +5.0199888804e+01 5.0200000000e+01 1.0566000000e-01 0.0000e+00 -1.0000e+00
       11 -1    0    0    0    0 -0.0000000000e+00 -0.0000000000e+00 +0.0000000000e+00 5.1100000000e-04 5.1100000000e-04 0.0000e+00 -1.0000e+00
</event>
</LesHouchesEvents>
"""  # noqa: E501


def test_a_coupling_may_be_nan(maker):
    """Regression: files in which every event has this could not be read at all."""
    file = maker.file(MUON_ON_ELECTRON)
    with pytest.warns(MilinferWarning, match=r"LHE_alphaQCD in 1 \(of 1 events\);") as warned:
        events = lhe.read(file).events
    assert len(warned) == 1
    assert np.isnan(events.LHE_alphaQCD.to_numpy()).all()
    assert events.LHE_scale.tolist() == [0.2499374]
    assert events.genWeight.tolist() == [68586000.0]


@pytest.mark.parametrize("workers", [1, 2])
def test_nan_is_counted_in_all_events_and_said_once(maker, workers):
    plain, spoilt = maker.event(), maker.event().replace("9.118e+01 7.8e-03", "-nan NaN")
    file = maker.file(maker.document(*[plain] * 4000, *[spoilt] * 3, *[plain] * 2000))
    said = r"LHE_scale in 3, LHE_alphaQED in 3 \(of 6003 events\);"
    with pytest.warns(MilinferWarning, match=said) as warned:
        events = lhe.read(file, chunk_size=100, workers=workers).events
    assert len(warned) == 1
    scale = events.LHE_scale.to_numpy()
    assert np.flatnonzero(np.isnan(scale)).tolist() == [4000, 4001, 4002]
    assert np.signbit(scale[4000:4003]).all()
    assert events.LHE_alphaQCD.tolist() == [0.118] * 6003


def test_crlf_and_blank_lines(maker, good):
    crlf = good.replace("\n", "\r\n")
    same(lhe.read(maker.file(crlf)).events, lhe.read(maker.file(good, "b.lhe")).events)
    blank = good.replace("<event>\n", "<event>\n\n").replace("</event>", "\n  \n</event>")
    same(lhe.read(maker.file(blank)).events, lhe.read(maker.file(good, "b.lhe")).events)


def test_element_before_init_is_skipped(maker):
    text = maker.document(maker.event(), before_init="<xsecinfo neve='3'/>\n<other> & </other>\n")
    assert len(lhe.read(maker.file(text)).events) == 1


def test_generator_in_init_and_prolog(maker):
    init = maker.init.replace("</init>", "<generator name='x' version='1'>y</generator>\n</init>")
    text = "<?xml version='1.0'?>\n<!-- c -->\n" + maker.document(maker.event(), init=init)
    assert len(lhe.read(maker.file(b"\xef\xbb\xbf" + text.encode())).info.processes) == 2


def test_init_with_other_text_and_weights(maker):
    extra = (
        "<initrwgt>\n<weight id='a'> up </weight>\n<weight id='b'/>\n</initrwgt>\n"
        "Just some & random < text\n</init>"
    )
    init = maker.init.replace("</init>", extra)
    info = lhe.read(maker.file(maker.document(maker.event(after=maker.rwgt), init=init))).info
    assert len(info.processes) == 2
    assert info.weights == (lhe.LHEWeight("a", "up"), lhe.LHEWeight("b"))


GENERATORS = sorted(Path(__file__).with_name("generators").glob("*.lhe.gz"))


def further_files():
    """The larger files of pylhe's own tests, where they have been downloaded already."""
    if importlib.util.find_spec("skhep_testdata") is None:
        return []
    import skhep_testdata

    found = skhep_testdata.data.cache_path(None).glob("pylhe-test*.lhe*")
    here = {path.name.partition(".lhe")[0] for path in GENERATORS}
    return sorted(f for f in found if f.name.partition(".lhe")[0].split("-", 2)[-1] not in here)


def test_there_are_files_of_generators():
    assert len(GENERATORS) == 7


@pytest.mark.parametrize("path", [*GENERATORS, *further_files()], ids=lambda path: path.name)
def test_files_of_generators(path):
    """Sherpa, POWHEG, Pythia, Whizard and MadGraph files agree with what pylhe finds in them."""
    if "pr29" in path.name:
        with pytest.raises(LHEError, match="announces 8 processes but has 0"):
            lhe.read(path)
        return
    events = lhe.read(path).events
    plain = list(pylhe.LHEFile.fromfile(path).events)
    assert len(events) == len(plain) > 0
    for name in ("px", "py", "pz", "e", "m", "id", "status"):
        ours = {"e": "energy", "m": "mass", "id": "pdgId"}.get(name, name)
        expected = [getattr(x, name) for e in plain for x in e.particles]
        assert ak.flatten(events.LHEPart[ours]).tolist() == expected, name
    assert ak.to_list(events.genWeight) == [e.eventinfo.weight for e in plain]


@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: path.name)
def test_files_of_generators_survive_conversion(tmp_path, path):
    from milinfer.io.convert import convert

    convert(path, tmp_path / "a.root")
    convert(tmp_path / "a.root", tmp_path / "b.parquet")
    convert(tmp_path / "b.parquet", tmp_path / "c.lhe")
    before, after = lhe.read(path), lhe.read(tmp_path / "c.lhe")
    assert after.events.fields == before.events.fields
    for name in before.events.fields:
        assert ak.array_equal(after.events[name], before.events[name]), name
    assert after.info.processes == before.info.processes
    assert after.info.beams == before.info.beams


def test_latin_1_header(maker):
    text = maker.document(maker.event(), header="Müller").encode("latin-1")
    assert lhe.read(maker.file(text)).info.header == "Müller"


def test_event_attributes_groups_and_trailing_text(maker):
    text = maker.document(
        "<eventgroup>\n",
        maker.event().replace("<event>", "<event npLO='1'>"),
        "</eventgroup>\n# random numbers 1 2\n",
        end="</LesHouchesEvents>\n # POWHEG writes here\n",
    )
    assert len(lhe.read(maker.file(text)).events) == 1


def test_weights_element(maker):
    header = "<initrwgt><weight id='x'/><weight id='y'/></initrwgt>"
    text = maker.document(maker.event(after="<weights> 1.0 2.0 </weights>\n"), header=header)
    assert lhe.read(maker.file(text)).events.LHEWeight.y.tolist() == [2.0]


def test_blanks_around_the_id_of_a_weight(maker):
    """The declared weight ' a ' and the weight 'a' of the events were taken for two."""
    declared = "<initrwgt><weight id=' a '>up</weight><weight id='b'>down</weight></initrwgt>"
    path = maker.file(maker.document(maker.event(after=maker.rwgt), header=declared))
    weights = lhe.read(path).info.weights
    assert [(w.id, w.description) for w in weights] == [("a", "up"), ("b", "down")]


def test_weights_in_another_order(maker):
    other = "<rwgt>\n<wgt id='b'>2</wgt>\n<wgt id='a'>1</wgt>\n</rwgt>\n"
    text = maker.document(maker.event(after=maker.rwgt), maker.event(after=other))
    assert lhe.read(maker.file(text)).events.LHEWeight.a.tolist() == [1.0, 1.0]


def test_raw_and_in_a_weight_id(maker):
    text = maker.document(maker.event(after=maker.rwgt.replace("'a'", "'a&b'")))
    assert lhe.read(maker.file(text)).events.LHEWeight.fields == ["a&b", "b"]


def test_event_without_particles(maker):
    events = lhe.read(maker.file(maker.document(maker.event(particles=())))).events
    assert ak.num(events.LHEPart).tolist() == [0]


def particle(maker, column: int, value: str) -> tuple[str, ...]:
    numbers = maker.particles[2].split()
    numbers[column] = value
    return (*maker.particles[:2], " ".join(numbers), maker.particles[3])


def damaged(maker) -> dict[str, tuple[str, str]]:
    """Text of each damaged file, and what the error has to say."""
    e, d = maker.event(), maker.document
    w = maker.event(after=maker.rwgt)
    nine = maker.event(nup=9)
    only_a = "<rwgt>\n<wgt id='a'>1</wgt>\n</rwgt>\n"
    twice = "<rwgt>\n<wgt id='a'>1</wgt>\n<wgt id='a'>2</wgt>\n</rwgt>\n"
    nan_weight = maker.event(after=maker.rwgt.replace("+1.0e+00", "NaN"))
    ids = "<initrwgt><weight id='a'/><weight id='a'/></initrwgt>"
    return {
        "truncated between events": (d(e, e, end=""), "after 2 whole events"),
        "truncated in an event": (d(e, e, e[:80], end=""), "inside event 2 "),
        "truncated in the header": (d(header="abc & d")[:50], "never closed"),
        "header not closed": (d(e, header="abc").replace("</header>", ""), "<header> is never"),
        "NUP too large": (d(e, nine), "event 1 .* claims 9 particles but has 4"),
        "NUP too small": (d(e, e, maker.event(nup=3)), "event 2 .* claims 3 particles but has 4"),
        "event without lines": (d(e, "<event>\n</event>\n"), "event 1 .* has no event line"),
        "text for NUP": (d(e, e.replace(" 4 1", " four 1")), "event 1 .* begins with 'four'"),
        "short particle line": (d(e, maker.event(particles=("1 2 3",))), "event 1 "),
        "text for a number": (
            d(e, maker.event(particles=particle(maker, 6, "x"))),
            "event 1 .*could not convert",
        ),
        "NaN momentum": (
            d(e, maker.event(particles=particle(maker, 7, "nan"))),
            "event 1 .* py of a particle is nan",
        ),
        "infinite energy": (
            d(maker.event(particles=particle(maker, 9, "1e999"))),
            "event 0 .* energy of a particle is inf",
        ),
        "NaN weight": (d(e, e, maker.event(weight="nan")), "event 2 .*event weight .* is nan"),
        "infinite weight": (d(maker.event(weight="-inf")), "event 0 .*event weight .* is -inf"),
        "NaN reweight": (d(w, nan_weight), "event 1 .* weight 'a' is nan"),
        "missing id": (d(w, maker.event(after=only_a)), "event 1 .* lacks the weight 'b'"),
        "additional id": (d(maker.event(after=only_a), w), "event 1 .* has.* the weight 'b'"),
        "weights missing": (d(w, w, e), "event 2 .* lacks the weight 'a'"),
        "weights appear": (d(e, w), "event 1 .* the weight 'a'"),
        "id twice in an event": (d(maker.event(after=twice)), "event 0 .* 2 <wgt> but 1 different"),
        "id twice declared": (d(w, header=ids), "'a' more than once"),
        "weight without id": (d(w, header="<initrwgt><weight/></initrwgt>"), "has no id"),
        "empty": ("", "is empty"),
        "blank": ("\n \n", "is empty"),
        "not LHE": ("px,py\n1,2\n", "not an LHE file"),
        "another XML": ("<html><body/></html>", "not an LHE file"),
        "zero events": (d(), "no events"),
        "no init": (d(e, init=""), "no <init> block"),
        "no init, no events": (d(init=""), "no <init> block"),
        "init cut": (d(e, init=maker.init.replace("</init>\n", "")), "<init> is never closed"),
        "init of words": (d(e, init="<init>\na b\n</init>\n"), "<init> block cannot be read"),
        "process missing": (
            d(e, init=maker.init.replace("0.5e+00 2.0e-02 1.0e+00 2\n", "")),
            "announces 2 processes but has 1",
        ),
        "joined files": (d(e) + d(e), "after </LesHouchesEvents>"),
        "event not closed": (d(e.replace("</event>", ""), e), "event 0 .* not closed"),
        "event not opened": (d(e, e.replace("<event>", "")), "event 1 .*"),
        "event tag damaged": (d(e, e.replace("<event>", "<evnt>")), "event 1 .* no <event>"),
        "lines outside events": (d(e, maker.particles[0], e), "event 1 .* outside any event"),
        "stray less": (d(e, maker.event(after="<half\n")), "event 1 .* not a complete element"),
        "too large an integer": (
            d(e, maker.event(particles=particle(maker, 0, "99999999999"))),
            "not a 32-bit integer",
        ),
        "end with another tag": (
            d(e, e).replace("</LesHouchesEvents>", "</LesHouchesEvent>"),
            r"ends with </LesHouchesEvent> instead of </LesHouchesEvents>; correct",
        ),
        "last event closed by another tag": (
            "</events>".join(d(e, e).rsplit("</event>", 1)),
            r"event 1 .* ends with </events> instead of </event>; correct the tag",
        ),
        "header closed by another tag": (
            d(e, header="abc").replace("</header>", "</headers>"),
            "<header> is closed by </headers>; correct the tag",
        ),
        "comment not closed": (d(e, "<!-- ", e), "event 1 .* outside any event"),
    }


CASES = [
    "truncated between events", "truncated in an event", "truncated in the header",
    "header not closed", "NUP too large", "NUP too small", "event without lines", "text for NUP",
    "short particle line", "text for a number", "NaN momentum", "infinite energy", "NaN weight",
    "infinite weight", "NaN reweight", "missing id", "additional id", "weights missing",
    "weights appear", "id twice in an event", "id twice declared", "weight without id", "empty",
    "blank", "not LHE", "another XML", "zero events", "no init", "no init, no events", "init cut",
    "init of words", "process missing", "joined files", "event not closed", "event not opened",
    "event tag damaged", "lines outside events", "stray less", "too large an integer",
    "comment not closed", "end with another tag", "last event closed by another tag",
    "header closed by another tag",
]  # fmt: skip


def test_all_damages_are_tested(maker):
    assert set(damaged(maker)) == set(CASES)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("case", CASES)
def test_damage_is_an_error(maker, case, packed):
    text, message = damaged(maker)[case]
    data = gzip.compress(text.encode()) if packed else text.encode()
    file = maker.file(data, "broken.lhe.gz" if packed else "broken.lhe")
    with pytest.raises(LHEError, match=message) as caught:
        lhe.read(file)
    assert str(file) in str(caught.value)
    with pytest.raises(LHEError, match=message):
        list(lhe.iterate(file, chunk_size=1))


def test_every_cut_is_noticed(maker):
    text = maker.document(*[maker.event(after=maker.rwgt)] * 3, header=MADGRAPH).encode()
    whole = text.index(b"</LesHouchesEvents>") + len(b"</LesHouchesEvents>")
    for length in range(0, whole, 7):
        with pytest.raises(LHEError):
            lhe.read(maker.file(text[:length]))


def test_gz_cut_or_corrupt(maker, good):
    rng = np.random.default_rng(1)
    noise = "".join(f"# {x}\n" for x in rng.random(20000))
    data = gzip.compress(maker.document(*[maker.event(after=noise)] * 5).encode())
    for length in (15, len(data) // 2, len(data) - 9, len(data) - 1):
        with pytest.raises(LHEError, match="truncated"):
            lhe.read(maker.file(data[:length], "cut.lhe.gz"))
    middle = len(data) // 2
    corrupt = data[:middle] + bytes(100) + data[middle + 100 :]
    with pytest.raises(LHEError, match=r"corrupt|begins|cannot"):
        lhe.read(maker.file(corrupt, "corrupt.lhe.gz"))
    checksum = data[:-8] + b"\0\0\0\0" + data[-4:]
    with pytest.raises(LHEError, match="corrupt"):
        lhe.read(maker.file(checksum, "checksum.lhe.gz"))


def test_missing_file_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        lhe.read(tmp_path / "none.lhe")


def test_info_does_not_need_whole_events(maker):
    text = maker.document(maker.event(after=maker.rwgt), maker.event(nup=9), end="")
    assert [w.id for w in lhe.read_info(maker.file(text)).weights] == ["a", "b"]
    assert lhe.read_info(maker.file(maker.document())).cross_section == 2.0


def test_memory_is_bounded(maker):
    import tracemalloc

    text = maker.document(*[maker.event(after=maker.rwgt)] * 4000)
    file = maker.file(text)
    next(lhe.iterate(file, 10))
    tracemalloc.start()
    assert sum(len(chunk) for chunk in lhe.iterate(file, 100)) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(text) / 2


def test_errors_are_milinfer_errors(maker):
    with pytest.raises(MilinferError):
        lhe.read(maker.file("x"))


def test_importing_is_light():
    code = (
        "import sys, milinfer.io.lhe, milinfer.io.events, milinfer.io.convert\n"
        "heavy = {'awkward', 'pylhe', 'vector', 'uproot', 'pyarrow', 'rich', 'tensorflow'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert not done.stderr.strip()
